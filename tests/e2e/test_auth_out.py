"""AUTH out: we log in to servers of many kinds by each mechanism, from files and the environment; what becomes of mail
where we are not let in; and who gets to see the secret."""
import base64
import contextlib
import json
import os
import re
import signal

import pytest

from certificates import RSA
from harness import Postrider, free_port, give, message, route, wait_for
from relay import NAME, Relay
from servers import Exim, OpenSMTPD, Postfix, Submission

PASSWORD = "wonderland 77"
VARIABLE = "POSTRIDER_TEST_SECRET"
FROM_ENVIRONMENT = "looking-glass 88"
USER = "alice@example.com"
EACH = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN".split()


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    path = tmp_path_factory.mktemp("secrets") / "password"
    path.write_text(PASSWORD + "\n")
    path.chmod(0o600)
    return give(path)


@pytest.fixture(scope="module")
def relay(tmp_path_factory, authority):
    made = Relay(tmp_path_factory.mktemp("relay"))
    made.add(9, auth_user=USER, auth_secret_env=VARIABLE) # the environment is read once
    made.write().start(env={"SSL_CERT_FILE": str(authority.root.pem), "SSL_CERT_DIR": "/nonexistent",
                            VARIABLE: FROM_ENVIRONMENT})
    yield made
    made.finish()


class Hop(Postrider):
    """A server of ours that takes mail from those alone who log in."""

    def __init__(self, folder, certificate):
        super().__init__(folder)
        give(certificate.key)
        self.first = free_port()
        self.configure(text=f"""\
hostname = "hop.example"
data_dir = "{self.data}"
smtp {{
  auth = require
}}
listen submission {{
  address = "127.0.0.1"
  port = {self.port}
}}
listen submissions {{
  address = "127.0.0.1"
  port = {self.first}
  tls = implicit
}}
certificate "{NAME}" {{
  chain = "{certificate.chain}"
  key = "{certificate.key}"
}}
accounts {{
  cram_md5 = yes
  mechanisms = {{{", ".join(f'"{m}"' for m in EACH)}}}
}}
domain "hop.example" {{
  mailboxes = {{"*"}}
  deliver = "lmtp"
  lmtp = "unix:/nonexistent"
}}
{route(9)}""")

    def serves(self):
        with contextlib.suppress(OSError):
            with self.dialog(timeout=5) as d:
                return d.greeting.code == 220
        return False


@pytest.fixture(scope="module")
def hop(tmp_path_factory, good):
    server = Hop(tmp_path_factory.mktemp("hop"), good).start()
    server.cli("user", "add", USER, "-a", "sender@example.org", stdin=PASSWORD + "\n")
    server.cli("user", "add", "carroll", "-a", "sender@example.org", stdin=FROM_ENVIRONMENT + "\n")
    yield server
    server.finish()


def log_in(secret, **more):
    return {"tls": "verify", "tls_name": NAME, "auth_user": USER, "auth_secret_file": secret, **more}


# ---- by each mechanism ---------------------------------------------------------------------------------------------

def test_each_mechanism_with_a_server_of_ours(relay, hop, secret):
    """By STARTTLS and from the first octet; the strongest first when nobody says which."""
    ways = [(hop.port, [m], m) for m in EACH] + [(hop.port, None, EACH[0]), (hop.first, None, EACH[0]),
                                                 (hop.port, ["XOAUTH2"], None)]
    routes = {}
    for port, mechanisms, expected in ways:
        keys = log_in(secret, tls_first="yes" if port == hop.first else "no")
        if mechanisms:
            keys["auth_mechanisms"] = mechanisms
        routes[relay.add(port, **keys)] = expected
    by_variable = relay.add(hop.port, tls="verify", tls_name=NAME, auth_user="carroll", auth_secret_env=VARIABLE)
    found = relay.tried(relay.send(*routes, by_variable))
    for domain, expected in routes.items():
        last = found[domain]["last"]
        if expected:
            assert found[domain]["state"] == "delivered", last
            assert re.fullmatch(rf"TLSv1\.3 \w+, verified as {NAME}; logged in as {USER} by {expected}",
                                last["secured"]), last
        else:
            assert last["status"] == "4.7.4" and "no mechanism of AUTH that may be used" in last["text"], last
    assert found[by_variable]["last"]["secured"].endswith("; logged in as carroll by SCRAM-SHA-256-PLUS")
    heard = re.findall(r"event=authenticated .* login=(\S+) mechanism=(\S+)", hop.log())
    assert sorted(heard) == sorted([(USER, m) for m in routes.values() if m] + [("carroll", EACH[0])])
    assert len(relay.lines(hop.port, "auth-out")) == len(EACH) + 2


# ---- servers of others ---------------------------------------------------------------------------------------------

def try_each(relay, secret, port, mechanisms, **keys):
    """One message by each mechanism; then one with a wrong password, which waits. `None`: the strongest of all."""
    wrong = secret.with_name("wrong")
    wrong.write_text("red queen")
    wrong.chmod(0o600)
    give(wrong)
    routes = {}
    for name, expected in mechanisms.items():
        more = {"auth_mechanisms": [name]} if name else {}
        routes[relay.add(port, **log_in(secret, **more, **keys))] = expected
    refused = {relay.add(port, **log_in(wrong, auth_mechanisms=[name], **keys)): name for name in mechanisms if name}
    found = relay.tried(relay.send(*routes, *refused))
    for domain, expected in routes.items():
        assert found[domain]["state"] == "delivered", found[domain]["last"]
        assert found[domain]["last"]["secured"].endswith(f"verified as {NAME}; logged in as {USER} by {expected}"), \
            found[domain]
    for domain, name in refused.items():
        last = found[domain]["last"]
        assert found[domain]["state"] == "waiting" and last["stage"] == "AUTH", last
        assert last["status"] in ("4.7.8", "4.7.0") and f"the server refused AUTH {name}: 5" in last["text"], last
    return routes


def test_dovecots_submission_and_postfix_with_its_sasl(relay, make_peer, good, secret):
    behind = make_peer()
    mechanisms = {m: m for m in ("SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN")}
    dovecot = Submission(good, behind.port, (USER, PASSWORD))
    postfix = None
    try:
        try_each(relay, secret, dovecot.port, {None: "SCRAM-SHA-256", **mechanisms})
        behind.wait_messages(6)
        if os.geteuid() == 0: # it does not run otherwise
            postfix = Postfix(good, sasl=dovecot.sasl)
            try_each(relay, secret, postfix.port, {None: "SCRAM-SHA-256", **mechanisms})
            heard = re.findall(r"sasl_method=(\S+), sasl_username=(\S+)", postfix.log())
            assert sorted(heard) == sorted((m, USER) for m in ("SCRAM-SHA-256", *mechanisms)), postfix.log()
    finally:
        if postfix:
            postfix.stop()
        dovecot.stop()


def test_exim(relay, good, secret):
    exim = Exim(good, login=(USER, PASSWORD))
    try:
        try_each(relay, secret, exim.port, {None: "CRAM-MD5", "CRAM-MD5": "CRAM-MD5", "PLAIN": "PLAIN",
                                            "LOGIN": "LOGIN"})
        heard = re.findall(r" P=esmtpsa X=TLS1.3:\S+ .*A=(\w+):(\S+)", exim.log())
        assert sorted(heard) == [("cram", USER)] * 2 + [("login", USER), ("plain", USER)], exim.log()
    finally:
        exim.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="OpenSMTPD runs only as root")
def test_opensmtpd(relay, authority, secret):
    # Its process for keys cannot sign with elliptic curves of OpenSSL 3.
    smtpd = OpenSMTPD(authority.make("peer", [f"DNS:{NAME}"], key=RSA), (USER, PASSWORD))
    try:
        try_each(relay, secret, smtpd.port, {None: "PLAIN", "PLAIN": "PLAIN", "LOGIN": "LOGIN"})
        assert smtpd.log().count(f"authentication user={USER} result=ok") == 3, smtpd.log()
    finally:
        smtpd.stop()


# ---- where we are not let in ---------------------------------------------------------------------------------------

def b64(text):
    return base64.b64encode(text.encode()).decode()


PLAIN = b64(f"\0{USER}\0{PASSWORD}")
# What AUTH PLAIN draws -> the status, and words of the explanation.
REFUSALS = {
    "535 5.7.8 bad username or password": ("4.7.8", "the server refused AUTH PLAIN: 535 bad username or password"),
    "535 no": ("4.7.8", "535 no"),
    "454 4.7.0 try later": ("4.7.0", "454 try later"),
    "534 5.7.9 too weak": ("4.7.9", "534 too weak"),
    "504 5.5.4 what is that?": ("4.7.4", "504 what is that?"),
    "538 5.7.11 not without encryption": ("4.7.11", "538 not without encryption"),
    "432 4.7.12 a transition is needed": ("4.7.12", "432 a transition is needed"),
    "525 5.7.13 switched off": ("4.7.13", "525 switched off"),
    "530 5.7.0 what?": ("4.7.0", "530 what?"),
    f"500 5.5.1 unknown command AUTH PLAIN {PLAIN}": ("4.7.8", "500 (words that repeat our answer)"),
    f"500 5.5.1 unknown command AUTH PLAIN {PLAIN[:20]}...": ("4.7.8", "500 (words that repeat our answer)"),
    f"535 5.7.8 {PASSWORD} is not the password": ("4.7.8", "the server repeats our secret"),
    "421 4.3.2 shutting down": ("4.3.2", "shutting down"),
    "250 2.0.0 ok": ("4.5.0", "unexpected reply to AUTH: 250"),
    "334 !": ("4.7.0", "AUTH PLAIN could not go on: the server's challenge is no base64"),
    "334 " + b64("and now?"): ("4.7.0", "AUTH PLAIN could not go on: the server goes on after its last word"),
}


def clear(secret, mechanism="PLAIN", **more):
    return {"auth_user": USER, "auth_secret_file": secret, "auth_in_clear": "all", "auth_mechanisms": [mechanism],
            **more}


def test_whatever_the_refusal_mail_waits_and_says_why(relay, make_peer, secret):
    cases = {}
    for says, expected in REFUSALS.items():
        peer = make_peer(extensions=("AUTH PLAIN",), AUTH=says)
        cases[relay.add(peer.port, **clear(secret))] = peer, says, expected
    number = relay.send(*cases)
    for domain, r in relay.tried(number).items():
        peer, says, (status, words) = cases[domain]
        assert r["state"] == "waiting" and r["last"]["verdict"] == "deferred", (says, r)
        assert r["last"]["stage"] == "AUTH" and r["last"]["status"] == status and words in r["last"]["text"], (says, r)
        assert f"AUTH PLAIN {PLAIN}" in peer.commands and not any(c.startswith("MAIL") for c in peer.commands)
        assert peer.commands.count(f"AUTH PLAIN {PLAIN}") == 1
        failed, = relay.lines(peer.port, "auth-out-failed")
        assert f"login={USER} status={status} " in failed and words.split(": ")[-1] in failed, failed
    assert "failed at AUTH" in relay.cli("queue", "show", number)
    assert "the server refused AUTH PLAIN: 535 bad username or password" in relay.trace(number)
    # Nothing went back to the sender, and the password is nowhere.
    assert "event=report" not in relay.log()[relay.mark:] and "event=failed" not in relay.log()[relay.mark:]


def test_what_a_server_lacks_is_for_the_route_to_judge(relay, make_peer, good, secret):
    none, foreign, scram = (make_peer(extensions=e) for e in ((), ("AUTH GSSAPI NTLM",), ("AUTH SCRAM-SHA-256",)))
    hidden = make_peer(extensions=("AUTH PLAIN",), tls=good.context(), AUTH="235 2.7.0 in")
    stripped = make_peer(extensions=("AUTH PLAIN",), AUTH="235 2.7.0 in")
    never = dict(clear(secret), auth_in_clear="never")
    expected = {
        relay.add(none.port, **clear(secret)): "4.7.4 the server offers no AUTH",
        relay.add(none.port, **clear(secret, auth_required="no")): None,
        relay.add(foreign.port, **clear(secret)): "4.7.4 the server offers no mechanism of AUTH",
        relay.add(foreign.port, **clear(secret, auth_required="no")): "4.7.4 the server offers no mechanism",
        relay.add(scram.port, **clear(secret)): "4.7.4 the server offers no mechanism",
        relay.add(stripped.port, **never): "4.7.11 the session is not encrypted, and our password may not go out",
        relay.add(hidden.port, **never): None,
    }
    for domain, r in relay.tried(relay.send(*expected)).items():
        if expected[domain]:
            assert r["state"] == "waiting", (expected[domain], r)
            assert f"{r['last']['status']} {r['last']['text']}".startswith(expected[domain]), (expected[domain], r)
        else:
            assert r["state"] == "delivered", r
    assert not any(c.startswith("AUTH") for peer in (none, foreign, scram, stripped) for c in peer.commands)
    # Not before TLS.
    assert hidden.commands[1:4] == ["STARTTLS", "EHLO mx.example.com", f"AUTH PLAIN {PLAIN}"]


def test_a_mechanism_that_is_not_wanted_is_followed_by_the_next(relay, make_peer, secret):
    """504 is about the mechanism. 535 is about the password, which is not tried twice."""
    picky = make_peer(extensions=("AUTH LOGIN PLAIN CRAM-MD5",), AUTH=lambda a: "235 2.7.0 in" if "PLAIN" in a else
                      "504 5.5.4 not any more")
    strict = make_peer(extensions=("AUTH LOGIN PLAIN CRAM-MD5",), AUTH="535 5.7.8 no")
    keys = dict(clear(secret), auth_mechanisms=["CRAM-MD5", "PLAIN", "LOGIN"])
    one, other = relay.add(picky.port, **keys), relay.add(strict.port, **keys)
    found = relay.tried(relay.send(one, other))
    assert found[one]["last"]["secured"] == f"in the clear; logged in as {USER} by PLAIN"
    assert found[other]["state"] == "waiting"
    assert [c for c in picky.commands if c.startswith("AUTH")] == ["AUTH CRAM-MD5", f"AUTH PLAIN {PLAIN}"]
    assert [c for c in strict.commands if c.startswith("AUTH")] == ["AUTH CRAM-MD5"]


def test_the_next_host_may_let_us_in(relay, make_peer, secret):
    shut, open_ = make_peer(extensions=("AUTH PLAIN",), AUTH="454 4.7.0 later"), \
        make_peer(extensions=("AUTH PLAIN",), AUTH="235 2.7.0 in")
    relay.send(relay.add(shut.port, open_.port, **clear(secret)))
    open_.wait_messages()
    assert not shut.messages


def test_a_token_that_is_refused_says_why(relay, make_raw_peer, secret):
    """XOAUTH2: the reason comes in a challenge, which is answered with nothing."""
    heard = []

    def script(c, _number):
        c.send("220 peer ESMTP\r\n")
        c.line()
        c.send("250-peer\r\n250 AUTH XOAUTH2\r\n")
        heard.append(c.line())
        c.send(f"334 {b64(json.dumps({'status': '401', 'scope': 'mail'}))}\r\n")
        heard.append(c.line())
        c.send("535 5.7.8 token expired\r\n")
        with contextlib.suppress(EOFError):
            c.line()
    peer = make_raw_peer(script)
    domain = relay.add(peer.port, **clear(secret, "XOAUTH2"))
    r = relay.tried(relay.send(domain))[domain]
    assert r["last"]["status"] == "4.7.8" and "535 token expired" in r["last"]["text"], r
    assert heard == ["AUTH XOAUTH2 " + b64(f"user={USER}\1auth=Bearer {PASSWORD}\1\1"), ""]
    failed, = relay.lines(peer.port, "auth-out-failed")
    assert 'the server says of our token: {' in failed and "401" in failed, failed


def test_C4_a_server_that_does_not_know_the_password_gets_neither_it_nor_mail(relay, make_raw_peer, secret):
    """It says 235 at once, or asks for a hash that is cheap to guess."""
    answers = {"235 2.7.0 welcome": "4.7.5", "cheap": "4.7.0", "another's": "4.7.0"}
    heard, cases = {}, {}

    def impostor(says):
        def script(c, _number):
            c.send("220 peer ESMTP\r\n")
            c.line()
            c.send("250-peer\r\n250 AUTH SCRAM-SHA-256\r\n")
            first = c.line()
            heard[says] = [first]
            nonce = base64.b64decode(first.split()[-1]).decode().partition("r=")[2]
            if says == "cheap":
                c.send(f"334 {b64(f'r={nonce}x,s=c2FsdA==,i=1')}\r\n")
            elif says == "another's":
                c.send(f"334 {b64(f'r={nonce}x,s=c2FsdA==,i=4096')}\r\n")
                heard[says].append(c.line())
                c.send(f"334 {b64('v=' + b64('x' * 32))}\r\n")
            else:
                c.send(says + "\r\n")
            with contextlib.suppress(EOFError):
                while True:
                    heard[says].append(c.line())
        return script
    for says in answers:
        peer = make_raw_peer(impostor(says))
        cases[relay.add(peer.port, **clear(secret, "SCRAM-SHA-256"))] = says
    for domain, r in relay.tried(relay.send(*cases)).items():
        says = cases[domain]
        assert r["last"]["stage"] == "AUTH" and r["last"]["status"] == answers[says], (says, r)
    assert heard["235 2.7.0 welcome"][1:] == ["QUIT"]
    assert heard["cheap"][1:] == ["*", "QUIT"]
    assert heard["another's"][2:] == ["*", "QUIT"]


# ---- secrets -------------------------------------------------------------------------------------------------------

def writable_memory(pid):
    """Of a process, as far as there is any."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, rights = line.split()[:2]
            start, end = (int(n, 16) for n in place.split("-"))
            # The shadow of the sanitizer is terabytes of nothing.
            if rights.startswith("rw") and end - start < 1 << 28 and "vsyscall" not in line:
                with contextlib.suppress(OSError, OverflowError, ValueError):
                    memory.seek(start)
                    yield memory.read(end - start)


def test_L_secrets_are_with_the_supervisor_and_the_senders_alone(relay, make_peer, secret):
    """Whoever takes over a process that faces clients finds no password there, nor in an environment; and none is in
    the log, the dump or the queue."""
    peer = make_peer(extensions=("AUTH PLAIN",), AUTH="235 2.7.0 in")
    relay.send(relay.add(peer.port, **clear(secret)),
               relay.add(peer.port, auth_user=USER, auth_secret_env=VARIABLE, auth_in_clear="all"))
    peer.wait_messages(2)
    words = [w.encode() for w in (PASSWORD, FROM_ENVIRONMENT, PLAIN)]
    assert len(relay.role_pids("sender")) == 1
    for pid, line in relay.processes().items():
        with open(f"/proc/{pid}/environ", "rb") as environ:
            assert FROM_ENVIRONMENT.encode() not in environ.read(), line
        found = any(w in piece for piece in writable_memory(pid) for w in words)
        assert found == (pid == relay.process.pid or "--role sender" in line), line
    everywhere = relay.log() + relay.cli("check", "--dump") + relay.conf.read_text()
    everywhere += "".join(p.read_text(errors="replace") for p in relay.data.rglob("*") if p.is_file())
    for word in (PASSWORD, FROM_ENVIRONMENT, PLAIN[:16]):
        assert word not in everywhere
    # A sender that is started anew has them again.
    os.kill(relay.role_pids("sender")[0], signal.SIGKILL)
    relay.send(relay.add(peer.port, auth_user=USER, auth_secret_env=VARIABLE, auth_in_clear="all"))
    peer.wait_messages(3)


def test_a_new_password_is_read_on_sighup(relay, make_peer, secret):
    path = secret.with_name("changing")
    path.write_text("first\r\n")
    path.chmod(0o640)
    give(path)
    peer = make_peer(extensions=("AUTH PLAIN",), AUTH=lambda a: "235 2.7.0 in" if a.endswith(b64(f"\0{USER}\0second"))
                     else "535 5.7.8 no")
    domain = relay.add(peer.port, **clear(path))
    number = relay.send(domain)
    assert relay.tried(number)[domain]["last"]["status"] == "4.7.8"
    path.write_text("second")
    relay.reload()
    relay.cli("queue", "retry", number)
    peer.wait_messages()


def test_what_is_wrong_with_a_secret_is_said(relay, tmp_path):
    """By check, and by a reload, which leaves everything as it was."""
    path = tmp_path / "secret"
    before = relay.routes

    def complaint(**keys):
        relay.add(9, tls="required", **keys)
        relay.write()
        said = relay.cli_run("check")
        relay.mark = len(relay.log())
        relay.signal(signal.SIGHUP)
        wait_for(lambda: re.search("event=(reload-failed|reloaded)", relay.log()[relay.mark:]), "a reload")
        assert "event=reloaded" not in relay.log()[relay.mark:]
        relay.routes = before
        assert said.returncode == 78, said
        return said.stderr

    keys = {"auth_user": USER, "auth_secret_file": path, "auth_mechanisms": ["SCRAM-SHA-256"]}
    assert f"{path}: the secret of route \"" in complaint(**keys)
    assert "cannot be read: No such file or directory" in complaint(**keys)
    for content, mode, words in (("x\n", 0o644, "it holds a secret, and can be read by everybody: chmod 600"),
                                 ("x\n", 0o620, "it holds a secret, and can be used by others: chmod 600"),
                                 ("", 0o600, "the secret is empty"), ("\n", 0o600, "the secret is empty"),
                                 ("a\nb\n", 0o600, "a secret is one line, and there are more"),
                                 ("a\tb", 0o600, "a secret has no control characters"),
                                 ("a" * 5000, 0o600, "it is too long for a secret")):
        path.write_text(content)
        path.chmod(mode)
        assert words in complaint(**keys), words
    path.write_text("x")
    path.chmod(0o600)
    give(path)
    assert "auth_user needs a secret" in complaint(auth_user=USER)
    assert "there is one secret" in complaint(**keys, auth_secret_env=VARIABLE)
    assert "is no name of a variable" in complaint(auth_user=USER, auth_secret_env="A-B")
    assert "is of no use without auth_user" in complaint(auth_secret_file=path)
    assert "the secret is a token or a password" in complaint(**{**keys, "auth_mechanisms": ["XOAUTH2", "PLAIN"]})
    assert "there is no such mechanism" in complaint(**{**keys, "auth_mechanisms": ["NTLM"]})
    assert "PLAIN is there twice" in complaint(**{**keys, "auth_mechanisms": ["PLAIN", "plain"]})
    # Where nothing is wrong, but unwise.
    relay.add(9, tls="required", auth_user=USER, auth_secret_file=path)
    relay.reload()
    assert "warning: whoever stands in for the server can get the secret" in relay.cli_run("check").stderr
    assert "event=conf-warning" in relay.log()[relay.mark:] and "event=reload-failed" not in relay.log()[relay.mark:]
    # What the server has from its environment is not in this one.
    relay.routes = before
    relay.write()
    said = relay.cli_run("check")
    assert said.returncode == 0 and f"{VARIABLE}: warning: the secret of route" in said.stderr, said
    relay.add(9, auth_user=USER, auth_secret_env="POSTRIDER_TEST_LATER")
    relay.mark = len(relay.log())
    relay.write().signal(signal.SIGHUP)
    relay.wait_log("POSTRIDER_TEST_LATER: the secret of route .* is not in the environment, which was read when the")
    relay.routes = before
    relay.reload()


def test_a_server_does_not_start_without_its_secrets(make_server, tmp_path):
    server = make_server(extra=route(9, keys=f'  auth_user = "u"\n  auth_secret_file = "{tmp_path / "none"}"\n'))
    server.spawn()
    assert server.process.wait(60) == 78
    assert f"the secret of route \\\"*\\\" cannot be read: No such file or directory" in server.log()
