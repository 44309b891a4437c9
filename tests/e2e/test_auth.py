"""AUTH and submission: mail programs log in by each mechanism over STARTTLS and TLS from the start, and hand in mail;
who is not who he says, or sends as another, does not. docs/codes.md has the test of each reply of AUTH.
"""
import base64
import hashlib
import hmac
import os
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import time

import pytest

from harness import PATIENCE, Closed, Dialog, Peer, Postrider, free_port, message, route, tls_context, wait_for

PASSWORD = "correct horse"
ALL = '"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"'
DEFAULT = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN".split()


def b64(text):
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def plain(login, password=PASSWORD, identity=""):
    return "AUTH PLAIN " + b64(f"{identity}\0{login}\0{password}")


class Office(Postrider):
    """A server for users: `ports` by the name of the listener, accounts in its database, a next hop that takes all."""

    LISTENERS = {
        "submission": "submission = yes",
        "submissions": "submission = yes\n  tls = implicit",
        "mx": "auth = offer",
        "scram": "auth = offer\n  auth_in_clear = scram",
        "clear": "auth = offer\n  auth_in_clear = all\n  tls = off",
    }

    def __init__(self, folder, accounts=f"  mechanisms = {{{ALL}}}\n  cram_md5 = yes\n", next_hop=None, listeners=None,
                 delay="10ms"):
        super().__init__(folder)
        listeners = listeners or self.LISTENERS
        self.ports = {name: free_port() for name in listeners}
        self.port = self.ports.get("mx") or free_port()
        text = ['hostname = "mx.example.com"', f'data_dir = "{self.data}"']
        if "mx" not in listeners:
            text.append(f'listen probe {{\n  address = "127.0.0.1"\n  port = {self.port}\n}}')
        for name, keys in listeners.items():
            text.append(f'listen {name} {{\n  address = "127.0.0.1"\n  port = {self.ports[name]}\n  {keys}\n}}')
        text.append(f'accounts {{\n  failure_delay = "{delay}"\n{accounts}}}')
        text.append('domain "example.com" {\n  mailboxes = {"alice", "bob", "postmaster"}\n}')
        text.append(route(next_hop or free_port()))
        text.append('queue {\n  recovery_grace = "1s"\n}')
        self.configure(text="\n".join(text) + "\n")

    def user(self, name, *options, password=PASSWORD):
        self.cli("user", "add", name, *options, stdin=password + "\n")

    def call(self, listener="submission", secure=True, greet=True, **kw):
        """A client that greeted, under TLS."""
        implicit = listener == "submissions"
        d = Dialog(self.ports[listener], tls=tls_context() if implicit else None, **kw)
        if greet:
            d.hello()
        if secure and not implicit:
            d.starttls()
            d.hello()
        return d

    def logged_in(self, login="alice@example.com", listener="submission", password=PASSWORD, **kw):
        d = self.call(listener, **kw)
        d.expect(235, plain(login, password))
        return d


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    peer = Peer()
    server = Office(tmp_path_factory.mktemp("office"), next_hop=peer.port).start()
    server.peer = peer
    server.user("alice@example.com", "-a", "sales@example.com", "-a", ".lists.example.com")
    server.user("bob@example.com", "--disabled")
    server.user("joe")
    server.user("jörg@example.com", password="Straße")
    yield server
    server.finish()
    peer.stop()


# ---- mail programs -------------------------------------------------------------------------------------------------

SECURITY = ["starttls", "tls"]


def run(command, stdin=b"", env=None):
    done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, timeout=PATIENCE * 3,
                          check=False, env=dict(os.environ, LC_ALL="C.UTF-8", **(env or {})))
    assert done.returncode == 0, (command[:8], done.returncode, done.stdout[-3000:], done.stderr[-2000:])
    return done


def port_of(server, security):
    return server.ports["submissions" if security == "tls" else "submission"]


def swaks(server, security, mechanism, _tmp):
    run(["swaks", "--server", "127.0.0.1", "--port", port_of(server, security), "--from", "alice@example.com", "--to",
         "carol@example.net", "--ehlo", "client.example.org", "--auth", mechanism, "--auth-user", "alice@example.com",
         "--auth-password", PASSWORD, "--tls-on-connect" if security == "tls" else "--tls"])


def curl(server, security, mechanism, tmp):
    path = tmp / "message"
    path.write_bytes(message(sender="alice@example.com"))
    scheme = "smtps" if security == "tls" else "smtp"
    run(["curl", "-sS", "-k", "--ssl-reqd", f"{scheme}://127.0.0.1:{port_of(server, security)}/client.example.org",
         "--login-options", f"AUTH={mechanism}", "-u", f"alice@example.com:{PASSWORD}", "--mail-from",
         "alice@example.com", "--mail-rcpt", "carol@example.net", "-T", path])


def msmtp(server, security, mechanism, _tmp):
    run(["msmtp", "-C", "/dev/null", "--host=127.0.0.1", f"--port={port_of(server, security)}",
         "--from=alice@example.com", "--tls=on", f"--tls-starttls={'off' if security == 'tls' else 'on'}",
         "--tls-certcheck=off", f"--auth={mechanism.lower()}", "--user=alice@example.com",
         f"--passwordeval=echo '{PASSWORD}'", "--", "carol@example.net"],
        message(sender="alice@example.com").replace(b"\r\n", b"\n"))


def s_nail(server, security, mechanism, tmp):
    scheme = "smtps" if security == "tls" else "smtp"
    user, password = "alice%40example.com", PASSWORD.replace(" ", "%20")
    run(["s-nail", "-:/", "-S", "v15-compat", "-S",
         f"mta={scheme}://{user}:{password}@127.0.0.1:{port_of(server, security)}", "-S",
         f"smtp-auth={mechanism.lower()}", "-S", "smtp-use-starttls" if security == "starttls" else "x=y", "-S",
         "tls-verify=ignore", "-S", "from=alice@example.com", "-S", "hostname=client.example.org", "-S", "sendwait",
         "-r", "alice@example.com", "-s", "test", "carol@example.net"], b"Hello.\n", {"HOME": str(tmp)})


def python_smtplib(server, security, mechanism, _tmp):
    port, context = port_of(server, security), ssl._create_unverified_context()  # pylint: disable=protected-access
    client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=PATIENCE, context=context) if security == "tls" \
        else smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE)
    with client:
        if security == "starttls":
            client.starttls(context=context)
        client.ehlo()
        client.user, client.password = "alice@example.com", PASSWORD
        method = getattr(client, "auth_" + mechanism.lower().replace("-", "_"))
        assert client.auth(mechanism, method)[0] == 235
        assert client.sendmail("alice@example.com", ["carol@example.net"], message(sender="alice@example.com")) == {}


CLIENTS = [(program, mechanism, security) for program, mechanisms in (
    (swaks, ["PLAIN", "LOGIN", "CRAM-MD5"]),
    (curl, ["PLAIN", "LOGIN", "CRAM-MD5"]),
    (msmtp, ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256"]),
    (s_nail, ["PLAIN", "LOGIN", "CRAM-MD5"]),
    (python_smtplib, ["PLAIN", "LOGIN", "CRAM-MD5"]),
) for mechanism in mechanisms for security in SECURITY]


@pytest.mark.parametrize("program, mechanism, security", CLIENTS,
                         ids=[f"{p.__name__}-{m}-{s}" for p, m, s in CLIENTS])
def test_mail_programs_log_in_and_send(office, tmp_path, program, mechanism, security):
    seen, log = len(office.peer.messages), len(office.log())
    program(office, security, mechanism, tmp_path)
    office.peer.wait_messages(seen + 1)
    assert re.search(rf"authenticated .*login=alice@example.com .*mechanism={mechanism}\b", office.log()[log:])


def gsasl(port, mechanism, *options):
    return subprocess.Popen(
        ["gsasl", "--client", "--smtp", "--connect", f"127.0.0.1:{port}", "--mechanism", mechanism,
         "--authentication-id", "alice@example.com", "--authorization-id", "", "--password", PASSWORD, *options],
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def opened(client):
    said, _ = client.communicate(timeout=PATIENCE * 3)
    assert client.returncode == 0 and "\n235 2.7.0 " in said, said


@pytest.mark.parametrize("mechanism", re.findall(r'"([^"]+)"', ALL))
def test_gsasl_logs_in_by_each_mechanism(office, mechanism):
    """C10: with -PLUS it binds to TLS 1.3. It sends no mail."""
    opened(gsasl(office.ports["submission"], mechanism, "--starttls", "--x509-ca-file=",
                 *([] if mechanism.endswith("-PLUS") else ["--no-cb"])))


@pytest.mark.parametrize("mechanism", [m for m in re.findall(r'"([^"]+)"', ALL) if not m.endswith("-PLUS")])
def test_gsasl_logs_in_under_tls_from_the_start(office, mechanism):
    """It knows no such TLS, so openssl carries it, whose session it cannot bind to."""
    with socket.create_server(("127.0.0.1", 0)) as carrier:
        carrier.settimeout(PATIENCE)
        client = gsasl(carrier.getsockname()[1], mechanism, "--no-starttls", "--no-cb")
        with carrier.accept()[0] as inside, subprocess.Popen(
                ["openssl", "s_client", "-quiet", "-connect", f"127.0.0.1:{office.ports['submissions']}"],
                stdin=inside, stdout=inside, stderr=subprocess.DEVNULL) as openssl:
            try:
                opened(client)
            finally:
                inside.shutdown(socket.SHUT_RDWR)
                client.kill()
                openssl.kill()


# ---- what EHLO says ------------------------------------------------------------------------------------------------

def test_mechanisms_are_listed_where_they_may_be_used(office):
    for listener, in_clear, under_tls in (
            ("submission", None, ALL), ("mx", None, ALL),
            ("scram", "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5", ALL),
            ("clear", "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN", None)):
        with office.call(listener, secure=False) as d:
            found = d.extensions().get("AUTH")
            assert found == (in_clear.split() if in_clear else None), listener
            if under_tls:
                d.starttls()
                assert d.extensions()["AUTH"] == re.findall(r'"([^"]+)"', under_tls)


def test_the_usual_mechanisms_are_listed_when_none_are_named(tmp_path):
    server = Office(tmp_path / "p1", accounts="").start()
    with server.call() as d:
        assert d.extensions()["AUTH"] == DEFAULT
        assert d.command("AUTH CRAM-MD5").code == 504
    server.finish()


# ---- who is there --------------------------------------------------------------------------------------------------

def test_the_password_opens_and_nothing_else(office):
    """U7, E5: what a login says is compared, and nothing of it is ever expanded or run."""
    for login, password, code, status in (
            ("alice@example.com", PASSWORD, 235, "2.7.0"), ("ALICE@Example.COM", PASSWORD, 235, "2.7.0"),
            ("joe", PASSWORD, 235, "2.7.0"), ("jörg@example.com", "Straße", 235, "2.7.0"),
            ("jörg@example.com", "Strasse", 535, "5.7.8"), ("alice@example.com", "wrong", 535, "5.7.8"),
            ("alice", PASSWORD, 535, "5.7.8"), ("nobody@example.com", PASSWORD, 535, "5.7.8"),
            ("bob@example.com", PASSWORD, 525, "5.7.13"), ("bob@example.com", "wrong", 535, "5.7.8"),
            ("%1000000u", PASSWORD, 535, "5.7.8"), ("${run{id}}@example.com", PASSWORD, 535, "5.7.8"),
            ("x' OR '1'='1", PASSWORD, 535, "5.7.8"), ("alic_@example.com", PASSWORD, 535, "5.7.8"),
            ("al%@example.com", PASSWORD, 535, "5.7.8")):
        with office.call("submissions") as d:
            reply = d.command(plain(login, password))
            assert (reply.code, reply.status) == (code, status), (login, password, reply)


def test_an_identity_of_another_is_not_taken(office):
    with office.call() as d:
        assert d.command(plain("alice@example.com", identity="joe")).code == 535
        assert d.command(plain("alice@example.com", identity="alice@example.com")).code == 235


def test_a_changed_password_counts_at_once(tmp_path):
    server = Office(tmp_path / "p1").start()
    server.user("alice@example.com")
    with server.call() as d:
        d.expect(235, plain("alice@example.com"))
    server.cli("user", "passwd", "alice@example.com", stdin="another one\n")
    with server.call() as d:
        d.expect(535, plain("alice@example.com"))
        d.expect(235, plain("alice@example.com", "another one"))
        d.expect(250, "MAIL FROM:<alice@example.com>")
        d.expect(250, "RSET")
        server.cli("user", "disable", "alice@example.com")
        assert d.command("MAIL FROM:<alice@example.com>").code == 550
    server.cli("user", "remove", "alice@example.com")
    with server.call() as d:
        d.expect(535, plain("alice@example.com", "another one"))
    server.finish()


# ---- SCRAM, by hand ------------------------------------------------------------------------------------------------

def scram(d, login, password, digest="sha256", header="n,,", binding=b"", mechanism=None, initial=True):
    """Returns the last reply."""
    mechanism = mechanism or f"SCRAM-{'SHA-256' if digest == 'sha256' else 'SHA-1'}"
    bare = f"n={login},r=abcdefghijklmnop"
    if initial:
        reply = d.command(f"AUTH {mechanism} {b64(header + bare)}")
    else:
        assert d.command(f"AUTH {mechanism}").lines == ["334 "]
        reply = d.command(b64(header + bare))
    if reply.code != 334:
        return reply
    first = base64.b64decode(reply.text).decode()
    parts = dict(part.split("=", 1) for part in first.split(","))
    assert parts["r"].startswith("abcdefghijklmnop")
    salted = hashlib.pbkdf2_hmac(digest, password.encode(), base64.b64decode(parts["s"]), int(parts["i"]))

    def sign(key, text):
        return hmac.new(key, text if isinstance(text, bytes) else text.encode(), digest).digest()
    client_key = sign(salted, "Client Key")
    final = f"c={b64(header.encode() + binding)},r={parts['r']}"
    everything = f"{bare},{first},{final}"
    signature = sign(hashlib.new(digest, client_key).digest(), everything)
    proof = bytes(a ^ b for a, b in zip(client_key, signature))
    reply = d.command(b64(f"{final},p={b64(proof)}"))
    if reply.code != 334:
        return reply
    assert base64.b64decode(reply.text).decode() == "v=" + b64(sign(sign(salted, "Server Key"), everything))
    return d.command("")


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
def test_scram_shows_no_password_and_proves_the_server(office, digest):
    with office.call("scram", secure=False) as d:
        assert scram(d, "alice@example.com", PASSWORD, digest).code == 235
    with office.call("submissions") as d:
        assert scram(d, "alice@example.com", "wrong", digest).code == 535
        assert scram(d, "nobody@example.com", PASSWORD, digest).code == 535
        assert scram(d, "bob@example.com", PASSWORD, digest).code == 525
        assert scram(d, "alice@example.com", PASSWORD, digest, initial=False).code == 235


def tls_unique(d):
    return d.socket.get_channel_binding("tls-unique")


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
def test_scram_binds_to_the_tls_session(office, digest):
    """C10: with the binding of this session it opens, with another's or none it does not, and a downgrade is found."""
    plus = f"SCRAM-{'SHA-256' if digest == 'sha256' else 'SHA-1'}-PLUS"
    old = tls_context(maximum_version=ssl.TLSVersion.TLSv1_2)

    def call():
        d = Dialog(office.ports["submissions"], tls=old)
        d.hello()
        return d
    with call() as d, call() as other:
        theirs = tls_unique(other)
        good = {"header": "p=tls-unique,,", "mechanism": plus}
        assert scram(d, "alice@example.com", PASSWORD, digest, binding=theirs, **good).code == 535
        assert scram(d, "alice@example.com", PASSWORD, digest, mechanism=plus).code == 535
        assert scram(d, "alice@example.com", PASSWORD, digest, header="y,,").code == 535
        assert scram(d, "alice@example.com", PASSWORD, digest, binding=tls_unique(d), **good).code == 235
    with office.call("scram", secure=False) as d:
        assert d.command(f"AUTH {plus} {b64('p=tls-unique,,n=a,r=b')}").code == 538


# ---- an exchange ---------------------------------------------------------------------------------------------------

def test_login_asks_in_the_words_that_programs_know(office):
    with office.call() as d:
        assert d.command("AUTH LOGIN").text == "VXNlcm5hbWU6"
        assert d.command(b64("alice@example.com")).text == "UGFzc3dvcmQ6"
        d.expect(235, b64(PASSWORD))


def test_an_exchange_is_cancelled_cut_and_begun_anew(office):
    with office.call() as d:
        assert d.command("AUTH LOGIN").code == 334
        reply = d.command("*")
        assert (reply.code, reply.status) == (501, "5.7.0")
        assert d.command("AUTH LOGIN").code == 334
        reply = d.command("QUIT not")
        assert (reply.code, reply.status) == (501, "5.5.2")
        assert d.command("AUTH CRAM-MD5").code == 334
        reply = d.command("A" * 12289)
        assert (reply.code, reply.status) == (500, "5.5.6")
        assert d.command("AUTH PLAIN " + "A" * 12284).code == 535
        d.expect(235, plain("alice@example.com"))
        assert d.command(plain("alice@example.com")).code == 503


def test_clients_that_go_within_an_exchange_leave_nothing_behind(office):
    for _ in range(20):
        with office.call() as d:
            d.expect(334, "AUTH CRAM-MD5")
        with office.call() as d:
            d.send(plain("alice@example.com") + "\r\n")
    with office.call() as d:
        d.expect(235, plain("alice@example.com"))


def test_what_comes_behind_plain_is_run_after_it(office):
    """RFC 4954 4: a mechanism of one step may have more behind it."""
    with office.call() as d:
        d.send(plain("alice@example.com") + "\r\nMAIL FROM:<alice@example.com>\r\nRCPT TO:<x@example.net>\r\n")
        assert [d.reply().code for _ in range(3)] == [235, 250, 250]
    with office.call() as d:
        d.send(f"AUTH LOGIN {b64('alice@example.com')}\r\nMAIL FROM:<alice@example.com>\r\n")
        assert [d.reply().code for _ in range(2)] == [334, 554]
        assert d.is_closed()


def test_starttls_forgets_who_was_there(office):
    """C3"""
    with office.call("scram", secure=False) as d:
        assert scram(d, "alice@example.com", PASSWORD).code == 235
        d.expect(250, "MAIL FROM:<alice@example.com>")
        d.expect(250, "RCPT TO:<x@example.net>")
        d.expect(250, "RSET")
        d.starttls()
        d.hello()
        d.expect(250, "MAIL FROM:<alice@example.com>")
        assert d.command("RCPT TO:<x@example.net>").code == 550


def test_no_password_is_ever_in_the_log(office):
    secret = "a password that nobody has"
    with office.call() as d:
        d.command(plain("alice@example.com", secret))
        d.command("AUTH " + b64(secret))
        d.command("AUTH LOGIN " + b64("alice@example.com"))
        d.command(b64(secret))
        d.command("AUTH PLAIN " + b64(secret) + " x")
    log = office.log()
    for text in (secret, b64(secret), b64(f"\0alice@example.com\0{secret}")):
        assert text not in log
    assert PASSWORD not in log and b64(PASSWORD) not in log


# ---- submission (RFC 6409) -----------------------------------------------------------------------------------------

def test_submission_wants_to_know_who_is_there(office):
    with office.call() as d:
        for command in ("MAIL FROM:<alice@example.com>", "RCPT TO:<bob@example.com>", "DATA", "VRFY bob", "EXPN staff",
                        "BDAT 6 LAST\r\nRSET"):
            reply = d.command(command)
            assert (reply.code, reply.status) == (530, "5.7.0"), command
        for command, code in (("NOOP", 250), ("RSET", 250), ("ETRN example.com", 502), ("HELO x.example", 250)):
            assert d.command(command).code == code
    with office.call(secure=False) as d:
        assert d.command(plain("alice@example.com")).code == 523


def test_users_may_send_everywhere_and_others_may_not(office):
    with office.call("mx") as d:
        d.expect(250, "MAIL FROM:<x@example.org>")
        assert d.command("RCPT TO:<carol@example.net>").code == 550
        d.expect(250, "RCPT TO:<alice@example.com>")
        d.expect(250, "RSET")
        d.expect(235, plain("alice@example.com"))
        d.expect(250, "MAIL FROM:<alice@example.com>")
        d.expect(250, "RCPT TO:<carol@example.net>")


def test_the_story_of_a_message_has_its_user(office):
    seen = len(office.peer.messages)
    with office.logged_in() as d:
        d.envelope("alice@example.com", ["carol@example.net", "bob@example.com"])
        reply = d.data(message(sender="alice@example.com"))
        assert reply.code == 250
    message_id = re.search(r"\b([0-9A-Z]{12})\b", reply.text).group(1)
    office.peer.wait_messages(seen + 1)
    story = office.trace(message_id)
    assert "alice@example.com" in story and "ESMTPSA" in story, story
    (mail,) = office.wait_mail("bob")[-1:]
    assert re.search(r"with ESMTPSA\b", dict(mail.trace()[0])["Received"])
    assert re.search(rf"accepted .*id={message_id} .*login=alice@example.com", office.log())


SENDERS = [
    ("alice@example.com", 250), ("ALICE@EXAMPLE.COM", 250), ("sales@example.com", 250), ("alice+list@example.com", 250),
    ("any@team.lists.example.com", 250), ("", 250), ("bob@example.com", 553), ("alice@example.org", 553),
    ("any@lists.example.com", 553), ("alicex@example.com", 553), ('"alice"@example.com', 250),
]


@pytest.mark.parametrize("sender, code", SENDERS)
def test_a_user_sends_as_himself_alone(office, sender, code):
    """U6, in the envelope."""
    with office.logged_in() as d:
        reply = d.command(f"MAIL FROM:<{sender}>")
        assert reply.code == code and reply.status == ("2.1.0" if code == 250 else "5.7.1"), reply


FROMS = [
    (b"From: alice@example.com", 250), (b"From: Alice <Alice@Example.COM>", 250),
    (b'From: "bob@example.com" <alice@example.com>', 250), (b"From: sales@example.com, alice@example.com", 250),
    (b"From: alice@example.com\r\nSender: sales@example.com", 250), (b"From: alice@example.com (bob@example.com)", 250),
    (b"From: bob@example.com", 550), (b"From: alice@example.com, bob@example.com", 550),
    (b"From: alice@example.com <bob@example.com>", 550), (b"From: alice@example.com\r\nFrom: bob@example.com", 550),
    (b"From: bob@example.com\r\nFrom: alice@example.com", 550), (b"from : bob@example.com", 550),
    (b"FROM:\r\n bob@example.com", 550), (b"From: <@example.com:bob@example.com>", 550),
    (b"From: alice@example.com\r\nSender: bob@example.com", 550), (b"From: alice", 550),
    (b"From: friends: alice@example.com, bob@example.com;", 550), (b"From: alice@example.com\r\n bob@example.com", 550),
    (b"From: \"alice@example.com", 550), (b"From: nobody:;", 250), (b"From: bob@[127.0.0.1]", 550),
    ("From: bob@exämple.com".encode(), 550),
]


@pytest.mark.parametrize("field, code", FROMS)
def test_the_from_field_is_the_users_own(office, field, code):
    """U6, in the message."""
    with office.logged_in() as d:
        d.envelope("alice@example.com", "alice@example.com")
        reply = d.data(b"Subject: x\r\n" + field + b"\r\nTo: you@example.com\r\n\r\nHello.\r\n")
        assert reply.code == code, reply
        if code == 550:
            assert reply.status == "5.7.1"
        d.envelope("alice@example.com", "alice@example.com")
        raw = b"Subject: x\r\n" + field + b"\r\n\r\nHello.\r\n"
        assert d.bdat(raw, 7, strict=code == 250).code == code


def test_the_from_field_is_found_in_a_large_message(office):
    body = b"x" * 70 + b"\r\n"
    with office.logged_in() as d:
        for sender, code in (("alice@example.com", 250), ("bob@example.com", 550)):
            head = b"X-Filler: " + b"y" * 900 + b"\r\n"
            raw = head * 200 + f"From: {sender}\r\n\r\n".encode() + body * 20000
            d.envelope("alice@example.com", "alice@example.com")
            assert d.data(raw).code == code


def test_date_and_message_id_are_added_where_they_are_missing(office):
    """RFC 6409 8.2, 8.3; and nowhere but on a listener for submission."""
    date, message_id = b"Date: Sat, 01 Nov 2025 10:00:00 +0000\r\n", b"Message-ID: <mine@example.com>\r\n"
    for n, (listener, head) in enumerate((listener, head) for listener in ("submission", "mx")
                                         for head in (b"", date, message_id, date + message_id)):
        raw = b"From: alice@example.com\r\n" + head + b"Subject: %d of those with fields\r\n\r\nHello.\r\n" % n
        with office.logged_in(listener=listener) as d:
            d.envelope("alice@example.com", "alice@example.com")
            assert d.data(raw).code == 250
        content = mail_that_ends_with(office, raw).content
        added = content.removesuffix(raw)
        wanted = listener == "submission"
        assert (b"Date: " in added) == (wanted and date not in head), content
        assert (b"Message-ID: <" in added) == (wanted and message_id not in head), content
        assert added.count(b"\r\n") == (2 - len(re.findall(rb"(?m)^(?:Date|Message-ID):", head)) if wanted else 0)


def mail_that_ends_with(server, raw):
    """Others may come in meanwhile, of tests before."""
    return wait_for(lambda: next((mail for mail in server.mail() if mail.content.endswith(raw)), None), "the mail")


def test_fields_are_added_to_a_large_message_too(office):
    raw = b"From: alice@example.com\r\n\r\n" + (b"z" * 70 + b"\r\n") * 20000
    with office.logged_in() as d:
        d.envelope("alice@example.com", "alice@example.com")
        assert d.bdat(raw, 100000).code == 250
    mail = mail_that_ends_with(office, raw)
    assert re.search(rb"(?m)^Date: .*\r\nMessage-ID: <.*>\r\nFrom: ", mail.content)


# ---- limits of users -----------------------------------------------------------------------------------------------

def test_users_have_limits_of_their_own(tmp_path):
    server = Office(tmp_path / "p1", accounts="  messages_per_hour = 3\n  recipients_per_hour = 6\n").start()
    server.user("alice@example.com")
    server.user("many@example.com", "--messages-per-hour", "none", "--recipients-per-hour", "none")
    server.user("few@example.com", "--messages-per-hour", "1")

    def send(d, sender, rcpts):
        reply = d.command(f"MAIL FROM:<{sender}>")
        codes = [d.command(f"RCPT TO:<{'alice' if i % 2 else 'bob'}@example.com>").code for i in range(rcpts)]
        if reply.code == 250 and 250 in codes:
            assert d.data(message(sender=sender)).code == 250
        return [(reply.code, reply.status), *codes]
    limited = (450, "4.7.1")
    with server.logged_in("alice@example.com") as d, server.logged_in("alice@example.com") as other:
        assert send(d, "alice@example.com", 4) == [(250, "2.1.0"), 250, 250, 250, 250]
        assert send(other, "alice@example.com", 4) == [(250, "2.1.0"), 250, 250, 450, 450]
        assert send(d, "alice@example.com", 1)[0] == limited
    with server.logged_in("few@example.com") as d:
        assert send(d, "few@example.com", 1)[0] == (250, "2.1.0")
        assert send(d, "few@example.com", 1)[0] == limited
    with server.logged_in("many@example.com") as d:
        for _ in range(8):
            assert send(d, "many@example.com", 2) == [(250, "2.1.0"), 250, 250]
    server.finish()


# ---- guessing ------------------------------------------------------------------------------------------------------

def test_guessing_is_slowed_and_then_ends(tmp_path):
    """U4: by the account, wherever it comes from; and its user is not locked out where he has logged in."""
    server = Office(tmp_path / "p1", accounts="  failures_per_account = 4\n  failures_per_network = 1000\n"
                    "  failures_span = \"1d\"\n").start()
    server.user("alice@example.com")
    with server.call(source="127.0.7.1") as d:
        d.expect(235, plain("alice@example.com"))
    for n in range(4):
        with server.call(source=f"127.0.{n}.1") as d:
            d.expect(535, plain("alice@example.com", "guess"))
    with server.call(source="127.0.9.1") as d:
        reply = d.command(plain("alice@example.com"))
        assert (reply.code, reply.status) == (454, "4.7.0")
        assert scram(d, "alice@example.com", PASSWORD).code == 454
        d.expect(535, plain("nobody@example.com"))
    with server.call(source="127.0.7.200") as d:
        d.expect(235, plain("alice@example.com"))
    server.expected_in_log = None
    server.finish()


def test_a_network_that_guesses_is_not_heard_for_any_account(tmp_path):
    server = Office(tmp_path / "p1", accounts="  failures_per_account = 1000\n  failures_per_network = 5\n"
                    "  failures_span = \"1d\"\n").start()
    server.user("alice@example.com")
    for n in range(5):
        with server.call(source=f"127.0.5.{n + 1}") as d:
            d.expect(535, plain(f"user{n}@example.com", "guess"))
    with server.call(source="127.0.5.99") as d:
        assert d.command(plain("alice@example.com")).code == 454
    with server.call(source="127.0.6.1") as d:
        d.expect(235, plain("alice@example.com"))
    server.finish()


def test_the_answer_to_a_failure_is_held_back(tmp_path):
    """U3, U4: the longer the more there were, and for those that nobody knows, too."""
    server = Office(tmp_path / "p1", delay="300ms").start()
    server.user("alice@example.com")
    with server.call() as d:
        for n, login in enumerate(["alice@example.com", "nobody@example.com", "alice@example.com"]):
            began = time.monotonic()
            d.expect(535, plain(login, "guess"))
            assert time.monotonic() - began >= 0.3 * (n + 1)
    server.finish()


# ---- accounts that came from elsewhere ------------------------------------------------------------------------------

def import_carol(server):
    """With a hash alone, such as crypt(3) makes."""
    made = subprocess.run(["openssl", "passwd", "-6", "-salt", "saltsalt", PASSWORD], capture_output=True, text=True,
                          check=True).stdout.strip()
    server.cli("user", "import", "-", stdin=f"carol@example.com:{made}\n")


def test_scram_works_after_a_first_login_that_shows_the_password(tmp_path):
    """432 where the configuration says so, and 535 where it does not."""
    for tells in (True, False):
        server = Office(tmp_path / f"p{tells}", accounts="  tell_transition = yes\n" if tells else "").start()
        import_carol(server)
        with server.call() as d:
            reply = scram(d, "carol@example.com", PASSWORD)
            assert (reply.code, reply.status) == ((432, "4.7.12") if tells else (535, "5.7.8"))
            assert scram(d, "nobody@example.com", PASSWORD).code == 535
            d.expect(235, plain("carol@example.com"))
        server.wait_log(r"account-renewed .*login=carol@example.com")
        with server.call() as d:
            assert scram(d, "carol@example.com", PASSWORD).code == 235
        server.finish()


def test_accounts_that_may_not_show_their_password(tmp_path):
    server = Office(tmp_path / "p1", accounts='  scram_only = {"admin@example.com", "strict.example"}\n').start()
    server.user("admin@example.com")
    with server.call() as d:
        for login in ("admin@example.com", "nobody@strict.example"):
            reply = d.command(plain(login))
            assert (reply.code, reply.status) == (534, "5.7.9")
        assert d.command("AUTH LOGIN " + b64("admin@example.com")).code == 334
        assert d.command(b64(PASSWORD)).code == 534
        assert scram(d, "admin@example.com", PASSWORD).code == 235
    server.finish()


# ---- trouble -------------------------------------------------------------------------------------------------------

def test_without_the_auth_role_there_is_a_later(tmp_path):
    """Who logged in stays so; who wants to hears 454 until the role is back; nothing waits for ever."""
    server = Office(tmp_path / "p1").start()
    server.user("alice@example.com")
    server.killed = True
    with server.logged_in() as user, server.call() as d, server.call() as between:
        between.expect(334, "AUTH LOGIN")
        (pid,) = server.role_pids("auth")
        os.kill(pid, 19)
        d.send(plain("alice@example.com") + "\r\n")
        user.send("MAIL FROM:<alice@example.com>\r\n")
        os.kill(pid, 9)
        reply = d.reply()
        assert (reply.code, reply.status) == (454, "4.7.0")
        reply = user.reply()
        assert (reply.code, reply.status) == (451, "4.3.0")
        wait_for(lambda: [p for p in server.role_pids("auth") if p != pid], "another auth role")
        assert between.command(b64("alice@example.com")).code == 454
        wait_for(lambda: d.command(plain("alice@example.com")).code == 235, "AUTH")
        user.envelope("alice@example.com", "alice@example.com")
        assert user.data(message(sender="alice@example.com")).code == 250
    server.finish()


def test_accounts_that_cannot_be_read_are_said_so(tmp_path):
    server = Office(tmp_path / "p1").start()
    server.user("alice@example.com")
    path = server.data / "accounts/directory.db"
    with server.logged_in() as d:
        kept = path.read_bytes()
        path.write_bytes(b"no database" * 1000)
        with server.call() as other:
            assert other.command(plain("alice@example.com")).code == 454
        assert d.command("MAIL FROM:<alice@example.com>").code == 451
        path.write_bytes(kept)
        wait_for(lambda: d.command("MAIL FROM:<alice@example.com>").code == 250, "accounts", every=0.2)
    server.finish()


def test_passwords_wait_in_line_and_the_line_is_bounded(tmp_path):
    """Many at once from one network: some are verified, the others hear "later", and all hear something."""
    server = Office(tmp_path / "p1").start()
    server.user("alice@example.com")
    sessions = [server.call("clear", secure=False) for _ in range(40)]
    try:
        for d in sessions:
            d.send(plain("alice@example.com") + "\r\n")
        codes = [d.reply().code for d in sessions]
        assert set(codes) <= {235, 454} and codes.count(235) >= 10, codes
    finally:
        for d in sessions:
            d.socket.close()
    server.finish()


def test_a_configuration_in_which_nobody_could_log_in_is_refused(tmp_path):
    server = Office(tmp_path / "p1", listeners={"a": "auth = require\n  tls = off"})
    done = server.cli_run("check")
    assert done.returncode != 0 and "nobody could authenticate there" in done.stdout + done.stderr
