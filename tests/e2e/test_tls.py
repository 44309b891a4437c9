"""TLS in: STARTTLS and TLS from the first octet, with clients of many kinds, broken handshakes, certificates that
change, and a keys role that dies. Rows C of the attacks."""
import concurrent.futures
import email.message
import itertools
import os
import re
import signal
import smtplib
import socket
import ssl
import struct
import subprocess
import time

import pytest

from harness import (PATIENCE, PEERS, SANITIZED, Closed, Dialog, free_port, give, listening, message, postfix_env,
                     tls_context, wait_for)

PAGE = os.sysconf("SC_PAGE_SIZE")

# ---- certificates and servers --------------------------------------------------------------------------------------


class Authority:
    """Certificates made with openssl's own tool."""

    def __init__(self, folder):
        self.folder = folder
        self.numbers = itertools.count(1)

    def make(self, *names, key="ec", days=30):
        """A certificate signed by itself: (chain, key)."""
        at = self.folder / f"c{next(self.numbers)}"
        kind = ["-newkey", "rsa:2048"] if key == "rsa" else ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
        subprocess.run(["openssl", "req", "-x509", *kind, "-nodes", "-keyout", f"{at}.key", "-out", f"{at}.pem",
                        "-days", str(days), "-subj", f"/CN={names[0]}", "-addext",
                        "subjectAltName=" + ",".join(f"DNS:{n}" for n in names)], check=True, capture_output=True)
        return str(give(f"{at}.pem")), str(give(f"{at}.key"))


def section(name, chain, key):
    return f'certificate "{name}" {{\n  chain = "{chain}"\n  key = "{key}"\n}}\n'


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def make_tls_server(make_server, authority):
    """A server with a certificate for mx.example.com, and a second listener with TLS from the first octet."""
    def make(extra="", listen="", implicit="", start=True):
        port = free_port()
        chain, key = authority.make("mx.example.com", key="rsa")
        server = make_server(listen=listen, extra=section("mx.example.com", chain, key) + extra + f"""
listen smtps {{
  address = "127.0.0.1"
  port = {port}
  tls = implicit
{implicit}
}}
""")
        server.tls_port, server.chain, server.key = port, chain, key
        return server.start() if start else server
    return make


@pytest.fixture
def server(make_tls_server):
    return make_tls_server()


def deliver(d, subject="over tls"):
    """A message over a dialog; returns its id."""
    d.hello()
    d.envelope()
    reply = d.data(message(subject))
    assert reply.code == 250, reply
    return reply.text.split()[-1]


def common_name(d):
    text = ssl.DER_cert_to_PEM_cert(d.socket.getpeercert(binary_form=True))
    done = subprocess.run(["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline"], input=text, text=True,
                          capture_output=True, check=True)
    return re.search(r"commonName\s*= (.*)", done.stdout).group(1)


# ---- a message under TLS -------------------------------------------------------------------------------------------

def test_a_message_by_starttls_and_one_by_implicit_tls(server):
    with server.dialog() as d:
        d.hello("early.example.org")
        d.starttls(tls_context(verify=server.chain), "mx.example.com")
        assert "STARTTLS" not in d.extensions()
        first = deliver(d)
    with Dialog(server.tls_port, tls=tls_context(verify=server.chain), name="mx.example.com") as d:
        assert d.greeting.code == 220
        second = deliver(d)
    mails = {mail.id: mail for mail in server.wait_mail(count=2)}
    for number in (first, second):
        mail = mails[number]
        received = mail.field("Received")
        # RFC 3848 and RFC 8314 4.3
        assert re.search(r" with ESMTPS id \w+ for <alice@example.com> tls TLS_AES_256_GCM_SHA384 group \w+; ",
                         received)
        assert "early.example.org" not in received
        assert re.search(r"by ESMTPS \(TLSv1\.3, TLS_AES_256_GCM_SHA384, \w+, for mx\.example\.com\)",
                         server.trace(number))
    log = server.log()
    assert len(re.findall(r"event=tls .* version=TLSv1.3 cipher=TLS_AES_256_GCM_SHA384 group=\w+ resumed=no "
                          r"name=mx.example.com", log)) == 2
    wait_for(lambda: len(re.findall(r"event=accepted .* tls=yes", server.log())) == 2, "two lines of the log")


def test_a_message_of_20_megabytes_both_ways_of_sending(server):
    body = b"".join(b"%08d of a long message, line by line\r\n" % n for n in range(450000))
    with server.dialog() as d:
        d.hello()
        d.starttls()
        d.hello()
        d.envelope()
        raw = message("long", body=body)
        assert d.data(raw).code == 250
        d.envelope()
        assert d.bdat(raw).code == 250
    for mail in server.wait_mail(count=2, timeout=60):
        assert mail.content == raw


def test_a_client_that_does_not_read_gets_every_reply_in_the_end(make_tls_server):
    """More replies than the sockets hold, sealed as they go out."""
    server = make_tls_server(listen="  idle_commands_max = 10000")
    count = 4000
    with server.dialog() as d:
        d.hello()
        d.starttls()
        d.hello()
        d.send(b"HELP\r\n" * count)
        for _ in range(count):
            assert d.reply().code == 214
        deliver(d)


def test_implicit_tls_says_nothing_in_the_clear(server):
    with socket.create_connection(("127.0.0.1", server.tls_port), timeout=PATIENCE) as s:
        s.sendall(b"EHLO client.example.org\r\n")
        answer = s.recv(1000)
        assert not re.match(rb"\d\d\d", answer), answer
    server.wait_log("event=tls-failed .* reason=")


def test_tls_is_required_where_the_listener_says_so(make_server):
    server = make_server(listen="  tls = require").spawn()
    wait_for(lambda: listening(server.port), "the port")
    with server.dialog() as d:
        d.hello()
        reply = d.command("MAIL FROM:<sender@example.org>")
        assert (reply.code, reply.status) == (530, "5.7.0")
        d.starttls()
        deliver(d)
    server.wait_mail()


def test_tls_can_be_switched_off(make_server):
    server = make_server(listen="  tls = off").start()
    with server.dialog() as d:
        assert "STARTTLS" not in d.extensions()
        assert d.command("STARTTLS").code == 502
    assert not list((server.data / "tls").iterdir()), "there is a key that nobody wants"


def test_the_certificate_of_the_first_start_is_ours_alone(make_server):
    server = make_server().start()
    key, chain = server.data / "tls/self-signed.key", server.data / "tls/self-signed.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    assert (server.data / "tls").stat().st_mode & 0o777 == 0o700
    before = key.read_bytes()
    with server.dialog() as d:
        d.hello()
        d.starttls(tls_context(verify=chain), "mx.example.com")
        deliver(d)
    server.stop()
    server.start()
    assert key.read_bytes() == before
    server.wait_log("event=certificate name=mx.example.com expires=36[45]. self-signed=yes")


# ---- clients -------------------------------------------------------------------------------------------------------

def run(command, **kw):
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE * 2, check=False, **kw)
    return done, done.stdout + done.stderr


def test_client_swaks(server):
    for port, option in ((server.port, "--tls"), (server.tls_port, "--tlsc")):
        done, text = run(["swaks", option, "--server", f"127.0.0.1:{port}", "--from", "sender@example.org", "--to",
                          "alice@example.com", "--tls-sni", "mx.example.com"])
        assert done.returncode == 0 and "TLS started with cipher TLSv1.3" in text, text
    server.wait_mail(count=2)


def test_client_curl(server, tmp_path):
    (tmp_path / "m").write_bytes(message())
    for url in (f"smtp://mx.example.com:{server.port}", f"smtps://mx.example.com:{server.tls_port}"):
        done, text = run(["curl", "-sS", url, "--ssl-reqd", "--cacert", server.chain, "--resolve",
                          f"mx.example.com:{url.rsplit(':', 1)[1]}:127.0.0.1", "--mail-from", "sender@example.org",
                          "--mail-rcpt", "alice@example.com", "-T", str(tmp_path / "m")])
        assert done.returncode == 0, text
    server.wait_mail(count=2)


def test_client_smtplib(server):
    mail = email.message.EmailMessage()
    mail["From"], mail["To"] = "sender@example.org", "alice@example.com"
    mail.set_content("Hello.\n")
    context = tls_context(verify=server.chain)
    context.check_hostname = False
    with smtplib.SMTP("127.0.0.1", server.port, timeout=PATIENCE) as client:
        client.starttls(context=context)
        assert not client.has_extn("starttls")
        client.send_message(mail)
    with smtplib.SMTP_SSL("127.0.0.1", server.tls_port, timeout=PATIENCE, context=context) as client:
        client.send_message(mail)
    server.wait_mail(count=2)


def test_client_msmtp(server):
    for port, starttls in ((server.port, "on"), (server.tls_port, "off")):
        done, text = run(["msmtp", "-C", "/dev/null", "--host=127.0.0.1", f"--port={port}", "--from=sender@example.org",
                          "--tls=on", f"--tls-starttls={starttls}", "--tls-certcheck=off", "alice@example.com"],
                         input=message().decode())
        assert done.returncode == 0, text
    server.wait_mail(count=2)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_client_openssl(server, version):
    done, text = run(["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{server.port}", version,
                      "-servername", "mx.example.com", "-verify_return_error", "-CAfile", server.chain,
                      "-verify_hostname", "mx.example.com", "-crlf", "-quiet"], input="NOOP\nQUIT\n")
    assert done.returncode == 0 and "221 2.0.0" in text, text


@pytest.mark.parametrize("flag", [["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "kRSA:@SECLEVEL=0"],
                                  ["-tls1_2", "-cipher", "DHE:@SECLEVEL=0"],
                                  ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-SHA:@SECLEVEL=0"]])
def test_what_is_old_or_weak_is_refused(server, flag):
    flag = flag if "-cipher" in flag else [*flag, "-cipher", "ALL:@SECLEVEL=0"]
    done, text = run(["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{server.port}", *flag],
                     input="")
    assert done.returncode != 0 and "Cipher is (NONE)" in text, text
    assert server.submit()


def test_client_posttls_finger(server, tmp_path):
    (tmp_path / "main.cf").write_text("")
    for port, options in ((server.port, ["-c"]), (server.tls_port, ["-c", "-w"])):
        done, text = run([str(PEERS / "usr/sbin/posttls-finger"), *options, "-l", "secure", "-F", server.chain, "-o",
                          "inet_protocols=ipv4", f"[127.0.0.1]:{port}", "mx.example.com"],
                         env=dict(postfix_env(), MAIL_CONFIG=str(tmp_path)))
        assert done.returncode == 0 and "Verified TLS connection established" in text and "TLSv1.3" in text, text


def test_sslscan_finds_nothing_weak(server):
    for port, option in ((server.port, ["--starttls-smtp"]), (server.tls_port, [])):
        done, text = run(["sslscan", "--no-colour", "--timeout=60", *option, f"127.0.0.1:{port}"])
        assert done.returncode == 0, text
        for name in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
            assert re.search(rf"{name}\s+disabled", text), text
        for name in ("TLSv1.2", "TLSv1.3"):
            assert re.search(rf"{name}\s+enabled", text), text
        assert "Session renegotiation not supported" in text and "Compression enabled" not in text, text
        ciphers = re.findall(r"(?:Preferred|Accepted)\s+TLSv1\.\d\s+\d+ bits\s+(\S+)", text)
        assert ciphers and all(re.match(r"TLS_|ECDHE-.*(GCM|CHACHA20)", c) for c in ciphers), ciphers
        assert "vulnerable to heartbleed" not in text.replace("not vulnerable", "")


# ---- names and certificates ----------------------------------------------------------------------------------------

def test_each_name_has_its_certificate(make_tls_server, authority):
    server = make_tls_server(section("*.example.org", *authority.make("*.example.org")) +
                             section("mail.example.net", *authority.make("mail.example.net")))
    for name, given in (("mx.example.com", "mx.example.com"), ("a.example.org", "*.example.org"),
                        ("mail.example.net", "mail.example.net"), ("other.example.net", "mx.example.com"),
                        (None, "mx.example.com")):
        with server.dialog() as d:
            d.hello()
            d.starttls(name=name)
            assert common_name(d) == given
            assert d.command("NOOP").code == 250


def test_a_new_certificate_comes_into_force_and_no_session_ends(make_tls_server, authority):
    server = make_tls_server()
    with server.dialog() as plain, server.dialog() as secure:
        plain.hello()
        secure.hello()
        secure.starttls()
        secure.hello()
        secure.envelope()
        chain, key = authority.make("new.example.com")
        for old, new in ((server.chain, chain), (server.key, key)):
            os.replace(new, old)
        server.signal(signal.SIGHUP)

        def renewed():
            with server.dialog() as d:
                d.hello()
                d.starttls()
                return common_name(d) == "new.example.com"
        wait_for(renewed, "the new certificate")
        assert secure.data(message("old session")).code == 250
        plain.starttls()
        assert common_name(plain) == "new.example.com"
        deliver(plain)
    server.wait_mail(count=2)
    server.wait_log("event=reloaded")


@pytest.mark.parametrize("fault, said", [("garbage", "there is no certificate in it"), ("missing", "No such file"),
                                         ("mismatch", "the private key is not that of the certificate"),
                                         ("open", "everybody may read this private key")])
def test_a_broken_certificate_leaves_the_old_one_in_force(make_tls_server, authority, fault, said):
    server = make_tls_server()
    if fault == "garbage":
        with open(server.chain, "w", encoding="ascii") as f:
            f.write("this is no certificate\n")
    elif fault == "missing":
        os.unlink(server.chain)
    elif fault == "mismatch":
        os.replace(authority.make("mx.example.com")[1], server.key)
    else:
        os.chmod(server.key, 0o644)
    server.signal(signal.SIGHUP)
    server.wait_log(f"event=certificate-failed name=mx.example.com reason=.*{said}")
    server.wait_log("event=reloaded")
    with server.dialog() as d:
        d.hello()
        d.starttls()
        assert common_name(d) == "mx.example.com"
        deliver(d)
    # Started with it, the server takes mail without TLS, and says why.
    server.stop()
    server.start()
    with server.dialog() as d:
        d.hello()
        reply = d.command("STARTTLS")
        assert (reply.code, reply.status) == (454, "4.7.0")
        deliver(d)
    with Dialog(server.tls_port, greet=False) as d:
        assert d.is_closed()


def test_check_warns_of_a_certificate_that_cannot_be_used(make_tls_server, authority):
    server = make_tls_server(start=False)
    assert "good" in server.cli("check")
    os.replace(authority.make("mx.example.com")[1], server.key)
    text = server.cli_run("check").stderr
    assert re.search(r'warning: certificate "mx.example.com": .*: the private key is not that of the certificate', text)


def test_an_expired_certificate_is_said(make_server, authority):
    server = make_server(extra=section("mx.example.com", *authority.make("mx.example.com", days=2))).start()
    server.wait_log("event=certificate-expires name=mx.example.com expires=[12]")


# ---- resumption ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_c8_a_session_is_resumed_at_its_listener_alone(make_tls_server, version):
    # Two receivers at least: each opens the tickets of the other.
    server = make_tls_server("receivers = 3\n")
    context = tls_context(maximum_version=version)
    with server.dialog() as d:
        d.hello()
        d.starttls(context, "mx.example.com")
        assert d.command("NOOP").code == 250
        session = d.socket.session
        assert not d.socket.session_reused
    for _ in range(9):
        with server.dialog() as d:
            d.hello()
            d.starttls(context, "mx.example.com", session)
            assert d.socket.session_reused
            assert d.command("NOOP").code == 250
    with server.dialog() as d:
        d.hello()
        d.starttls(context, "other.example.com", session)
        assert not d.socket.session_reused
    with Dialog(server.tls_port, greet=False) as d:
        d.secure(context, "mx.example.com", session)
        assert not d.socket.session_reused
        assert d.reply().code == 220
    assert server.log().count("resumed=yes") == 9


def test_a_session_is_not_resumed_where_there_are_no_tickets(make_tls_server):
    server = make_tls_server('tls {\n  ticket_lifetime = "never"\n}\n')
    with server.dialog() as d:
        d.hello()
        d.starttls()
        assert d.command("NOOP").code == 250
        assert not d.socket.session or not d.socket.session.has_ticket


# ---- attacks -------------------------------------------------------------------------------------------------------

INJECTED = b"STARTTLS\r\nRSET\r\nEHLO evil.example\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<alice@example.com>\r\n"


@pytest.mark.parametrize("early", ["yes", "no"])
def test_c1_clear_text_behind_starttls_is_refused_wherever_it_is_cut(make_tls_server, early):
    """CVE-2011-0411: every cut of the same octets over two segments; nothing of them is ever run."""
    server = make_tls_server(listen=f"  refuse_early = {early}")
    context = tls_context()
    for cut in range(1, len(INJECTED), 1 if early == "yes" else 5):
        with server.dialog() as d:
            d.hello()
            d.send(INJECTED[:cut])
            d.send(INJECTED[cut:])
            try:
                reply = d.reply()
                if reply.code == 220:
                    # The rest came behind our 220: it is what the handshake begins with, or it was seen in time.
                    if not d.buffer:
                        d.secure(context)
                        raise AssertionError("a handshake behind octets in the clear")
                    reply = d.reply()
                assert (reply.code, reply.status) == (554, "5.5.1"), reply
            except (Closed, ssl.SSLError, OSError):
                pass
    assert "evil" not in server.log()
    assert server.mail_count() == 0


def test_c3_nothing_of_before_counts_behind_starttls(server):
    with server.dialog() as d:
        d.hello()
        d.envelope()
        d.starttls()
        for command in ("MAIL FROM:<a@example.org>", "RCPT TO:<alice@example.com>", "DATA"):
            assert d.command(command).code == 503
        deliver(d)
    assert len(server.wait_mail()) == 1


def test_c5_http_inside_of_tls(server):
    with Dialog(server.tls_port, tls=tls_context()) as d:
        reply = d.command("GET / HTTP/1.1")
        assert reply.code == 421 and d.is_closed()
    context = tls_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with pytest.raises(ssl.SSLError):
        Dialog(server.tls_port, tls=context, greet=False)
    context.set_alpn_protocols(["smtp"])
    with Dialog(server.tls_port, tls=context) as d:
        assert d.socket.selected_alpn_protocol() == "smtp"


def test_garbage_in_place_of_a_handshake_ends_in_an_alert(server):
    for port, begin in ((server.port, True), (server.tls_port, False)):
        for garbage in (b"\x00" * 100, b"EHLO x\r\n" * 20, os.urandom(5000), b"\x16\x03\x01\xff\xff" + b"x" * 70000):
            with Dialog(port, greet=begin) as d:
                if begin:
                    d.hello()
                    d.expect(220, "STARTTLS")
                try:
                    d.send(garbage)
                except OSError:
                    continue
                d.socket.shutdown(socket.SHUT_WR)
                assert d.is_closed()
    server.wait_log("event=tls-failed")
    assert server.submit()


def hello_of_a_client():
    """The octets of a ClientHello."""
    out = ssl.MemoryBIO()
    client = tls_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="mx.example.com")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def test_a_handshake_cut_at_any_octet_frees_its_session(make_tls_server):
    server = make_tls_server("receivers = 1\n")
    hello = hello_of_a_client()
    before = open_files(server)
    for cut in range(0, len(hello), 1 if not SANITIZED else 7):
        with Dialog(server.tls_port, greet=False) as d:
            d.send(hello[:cut])
            if cut % 2:
                d.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    # The whole of it, and away before or after the answer.
    for wait in (False, True) * 20:
        with Dialog(server.tls_port, greet=False) as d:
            d.send(hello)
            if wait:
                d.socket.recv(100)
    wait_for(lambda: open_files(server) <= before, lambda: f"{open_files(server)} open files to be {before}")
    assert server.submit()


def open_files(server):
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in server.role_pids("receiver"))


def test_a_handshake_in_pieces_and_slowly(server):
    """Each octet of the client is a segment of its own."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = tls_context().wrap_bio(incoming, outgoing, server_hostname="mx.example.com")
    with Dialog(server.tls_port, greet=False) as d:
        done = False
        while not done:
            try:
                client.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            for octet in outgoing.read():
                d.send(bytes([octet]))
            if not done:
                incoming.write(d.socket.recv(65536))
        greeting = b""
        while b"\r\n" not in greeting:
            try:
                greeting += client.read(1000)
            except ssl.SSLWantReadError:
                incoming.write(d.socket.recv(65536))
        assert greeting.startswith(b"220 mx.example.com")


def test_an_idle_handshake_is_ended_in_time(make_tls_server):
    server = make_tls_server(listen='  tls_timeout = "1s"', implicit='  tls_timeout = "1s"')
    hello = hello_of_a_client()
    with server.dialog() as a, Dialog(server.tls_port, greet=False) as b, Dialog(server.tls_port, greet=False) as c:
        a.hello()
        a.expect(220, "STARTTLS")
        c.send(hello[:50])
        began = time.monotonic()
        for d in (a, b, c):
            assert d.is_closed(timeout=PATIENCE)
            assert not d.buffer
        assert time.monotonic() - began < PATIENCE
    server.wait_log("event=tls-failed .* reason=\"it took too long\"")


def test_c6_renegotiation_is_refused(server):
    _, text = run(["openssl", "s_client", "-starttls", "smtp", "-connect", f"127.0.0.1:{server.port}", "-tls1_2",
                   "-crlf"], input="R\n" * 50)
    assert "no renegotiation" in text, text
    assert server.submit()


def test_many_handshakes_at_once(server):
    def one(number):
        with server.dialog() as d:
            d.hello()
            d.starttls()
            return deliver(d, f"number {number}")
    count = 20 if SANITIZED else 60
    with concurrent.futures.ThreadPoolExecutor(max_workers=20) as pool:
        assert len(set(pool.map(one, range(count)))) == count
    server.wait_mail(count=count)


def test_a_client_that_is_gone_while_the_server_stops(make_tls_server):
    """Handshakes under way do not hold up the end of the server."""
    server = make_tls_server()
    with Dialog(server.tls_port, greet=False) as a, server.dialog() as b, server.dialog() as c:
        a.send(hello_of_a_client()[:30])
        b.hello()
        b.expect(220, "STARTTLS")
        c.hello()
        c.starttls()
        c.hello()
        assert server.stop() == 0
        assert c.reply().code == 421


# ---- the keys role -------------------------------------------------------------------------------------------------

def test_without_the_keys_sessions_go_on_and_new_ones_get_454(make_tls_server):
    server = make_tls_server("receivers = 1\n")
    with server.dialog() as secure, server.dialog() as shaking:
        secure.hello()
        secure.starttls()
        secure.hello()
        secure.envelope()
        shaking.hello()
        shaking.expect(220, "STARTTLS")
        (pid,) = server.role_pids("keys")
        os.kill(pid, signal.SIGSTOP)
        shaking.send(hello_of_a_client())
        # It waits for a signature now; all else goes on.
        with server.dialog() as d:
            deliver(d, "beside it")
        os.kill(pid, signal.SIGKILL)
        octets = shaking.socket.recv(65536)
        # An alert: internal_error, behind what was said already or alone.
        assert octets[-7:] == b"\x15\x03\x03\x00\x02\x02\x50" or octets[0] == 0x16, octets[:20]
        assert shaking.is_closed()
        assert secure.data(message("still here")).code == 250
        secure.envelope()
        assert secure.data(message("and again")).code == 250
    server.wait_log("event=role-died which=keys")

    def back():
        with server.dialog() as d:
            d.hello()
            reply = d.command("STARTTLS")
            assert reply.code in (220, 454), reply
            return reply.code == 220 and d.secure()
    wait_for(back, "TLS to be there again")
    server.wait_mail(count=3)


def test_no_other_process_holds_the_private_key(make_tls_server):
    """The secret number of the key, as it stands in memory, is in the keys role and nowhere else."""
    server = make_tls_server()
    for _ in range(3):
        with server.dialog() as d:
            d.hello()
            d.starttls()
            deliver(d)
    text = subprocess.run(["openssl", "rsa", "-in", server.key, "-noout", "-text"], capture_output=True, text=True,
                          check=True).stdout
    prime = bytes.fromhex(re.search(r"prime1:\s*([0-9a-f:\s]+)", text).group(1).replace(":", "").replace("\n", "")
                          .replace(" ", ""))[1:]
    found = {role for pid, role in processes(server) if holds(pid, (prime, prime[::-1]))}
    assert found == {"keys"}, found


def processes(server):
    for pid, words in server.processes().items():
        role = re.search(r"--role (\w+)", words)
        yield pid, role.group(1) if role else "supervisor"


def used(pages, first, last):
    """The runs of a mapping that have content: the sanitizers map much that they never touch."""
    start = None
    pages.seek(first // PAGE * 8)
    entries = pages.read((last - first) // PAGE * 8)
    for n, (entry,) in enumerate(struct.iter_unpack("=Q", entries)):
        if entry >> 62 and start is None: # in memory or swapped out
            start = first + n * PAGE
        elif not entry >> 62 and start is not None:
            yield start, first + n * PAGE
            start = None
    if start is not None:
        yield start, last


def holds(pid, secrets):
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb") as memory, \
         open(f"/proc/{pid}/pagemap", "rb") as pages:
        for line in maps:
            span, mode = line.split()[:2]
            first, last = (int(n, 16) for n in span.split("-"))
            if "w" not in mode or "[v" in line or last - first > 1 << 30:
                continue
            for start, end in used(pages, first, last):
                try:
                    memory.seek(start)
                    octets = memory.read(end - start)
                except OSError:
                    continue
                if any(secret in octets for secret in secrets):
                    return True
    return False
