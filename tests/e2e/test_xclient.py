"""XCLIENT and XFORWARD: a listed client says whose mail it brings. Postfix's README of each is the standard."""
import json
import re
import shutil
import subprocess

import pytest

from fronts import Nginx, Postfix
from harness import Dialog, message, route, wait_for
from test_conformance import House, NameServer, PROVEN

TRUST = 'xclient = {"127.0.0.1/32"}\n  xforward = {"127.0.0.1/32"}'
FRONT = "127.0.0.1"
LISTENERS = {
    "plain": "",
    "front": TRUST,
    "four": TRUST + "\n  connections_per_minute = 4\n  sessions_per_client_max = 2",
    "members": TRUST + '\n  clients = {"127.0.0.1/32", "192.0.2.0/24"}',
    "reverse": TRUST + "\n  check_reverse_dns = yes",
    "strict": TRUST + "\n  require_from = yes",
    "lmtp": TRUST + "\n  protocol = lmtp",
}


@pytest.fixture(scope="module")
def names():
    made = NameServer()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory, names):
    made = House(tmp_path_factory.mktemp("house"), listeners=LISTENERS, rest=route(9),
                 top=f'resolver = "127.0.0.1@{names.port}"\nresolver_timeout = "2s"\nreceivers = 2')
    made.configure(text=made.conf.read_text().replace('{"127.0.0.1/32"}\n', '{"127.0.0.1/32", "192.0.2.33"}\n', 1))
    made.start()
    yield made
    made.finish()


def accepted(server, d, subject="x"):
    """Sends a message; its file, its line in the log and its trace."""
    d.envelope()
    reply = d.data(message(subject))
    assert reply.code == 250, reply
    mail = wait_for(lambda: [m for m in server.mail("alice") if m.id in reply.text], "the mail")[0]
    line = server.wait_log(rf"event=accepted id={mail.id} .*").group(0)
    return mail, line, server.cli("trace", mail.id)


# ---- XCLIENT ---------------------------------------------------------------------------------------------------------

def test_the_client_is_the_one_that_is_told_of(server):
    with server.greeted("front") as d:
        assert d.extensions()["XCLIENT"] == "NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT".split()
        assert d.expect(220, "XCLIENT NAME=spike.example ADDR=192.0.2.7 PORT=4711").lines == \
            ["220 mx.example.com ESMTP Postrider ready"]
        d.expect(503, "MAIL FROM:<sender@example.org>")
        d.hello("spike.example")
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(550, "RCPT TO:<user@example.net>")
        d.expect(503, "XCLIENT ADDR=127.0.0.1")
        d.expect(250, "RSET")
        mail, line, trace = accepted(server, d)
        assert "from spike.example ([192.0.2.7])" in mail.field("Received")
        assert " client=192.0.2.7 " in line
        assert "from 192.0.2.7, which called itself spike.example, by ESMTP (XCLIENT NAME=spike.example " \
            "ADDR=192.0.2.7 PORT=4711)" in trace
        server.wait_log(r'event=xclient .*client=127.0.0.1 told="NAME=spike.example ADDR=192.0.2.7 PORT=4711"')
        # The front may go on to speak for somebody else, and rights are his.
        d.expect(220, "XCLIENT ADDR=192.0.2.33 NAME=[UNAVAILABLE]")
        d.hello()
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(250, "RCPT TO:<user@example.net>")


@pytest.mark.parametrize("address, literal", [
    ("IPV6:2001:db8::7", "[IPv6:2001:db8::7]"), ("2001:db8::8", "[IPv6:2001:db8::8]"),
    ("IPv6:::ffff:192.0.2.9", "[192.0.2.9]"), ("[UNAVAILABLE]", "client.example.org by")])
def test_addresses_in_every_form(server, address, literal):
    with server.greeted("front") as d:
        d.expect(220, f"XCLIENT ADDR={address}")
        d.hello()
        # Who is not known may nothing, though the front's own address may relay.
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(550, "RCPT TO:<user@example.net>")
        d.expect(250, "RSET")
        mail, _, _ = accepted(server, d)
        assert literal in mail.field("Received")


def test_b8_who_is_not_listed_is_refused_and_nothing_is_applied(server):
    for source, listener, code in ((("127.0.0.2"), "front", 550), (FRONT, "plain", 500), ("127.0.0.2", "plain", 500)):
        with server.greeted(listener, source) as d:
            assert not {"XCLIENT", "XFORWARD"} & set(d.extensions())
            assert d.expect(code, f"XCLIENT ADDR={FRONT}").status == ("5.7.0" if code == 550 else "5.5.1")
            d.expect(code, "XFORWARD ADDR=192.0.2.7")
            _, line, trace = accepted(server, d)
            assert f" client={source} " in line and "192.0.2.7" not in trace
            if source != FRONT:
                d.expect(250, "MAIL FROM:<sender@example.org>")
                d.expect(550, "RCPT TO:<user@example.net>")


@pytest.mark.parametrize("text, named", [
    ("ADDR=192.0.2.7 ADDR=192.0.2.7", "ADDR=192.0.2.7"), ("ADDR=192.0.2.7 PORT=smtp", "PORT=smtp"),
    ("ADDR=192.0.2.7 IDENT=x", "IDENT=x"), ("NAME=a+0Db", "NAME=a+0Db"), ("ADDR=[192.0.2.7]", r"ADDR=[192.0.2.7]"),
    ("ADDR=192.0.2.7 LOGIN=a+0Ab", "LOGIN=a+0Ab"), ("ADDR", "ADDR"), ("ADDR=192.0.2.7 NAME=" + "x" * 256, "NAME=x")])
def test_b8_a_command_that_is_wrong_in_part_is_not_applied_at_all(server, text, named):
    with server.greeted("front") as d:
        reply = d.expect(501, f"XCLIENT {text}")
        assert reply.status == "5.5.4" and named in reply.text
        _, line, _ = accepted(server, d)
        assert f" client={FRONT} " in line


def test_clients_are_judged_at_the_door(server):
    with server.greeted("members") as d:
        d.expect(554, "XCLIENT ADDR=198.51.100.7")
        d.expect(503, "EHLO x")
        d.expect(221, "QUIT")
    with server.greeted("members") as d:
        d.expect(220, "XCLIENT ADDR=192.0.2.7")
    # Connections and sessions are counted for whom they are: one session can bring many clients, each with his limit.
    with server.greeted("four") as d:
        for _ in range(4):
            d.expect(220, "XCLIENT ADDR=192.0.2.50")
        for n in range(51, 59):
            d.expect(220, f"XCLIENT ADDR=192.0.2.{n}")
        assert d.expect(421, "XCLIENT ADDR=192.0.2.50").status == "4.7.0"
        assert d.is_closed()
    with server.greeted("four") as one, server.greeted("four") as two, server.greeted("four", "127.0.0.3") as three:
        three.expect(550, "XCLIENT ADDR=192.0.2.60")
        one.expect(220, "XCLIENT ADDR=192.0.2.60")
        two.expect(220, "XCLIENT ADDR=192.0.2.60")
        with server.greeted("four") as other:
            assert other.expect(421, "XCLIENT ADDR=192.0.2.60").status == "4.3.2"


def test_a_name_that_is_told_is_believed_and_one_that_is_not_is_asked_for(server, names):
    with server.greeted("reverse") as d:
        asked = len(names.asked)
        for name, code in (("proven.example", 250), ("[UNAVAILABLE]", 550)):
            d.expect(220, f"XCLIENT ADDR=192.0.2.7 NAME={name}")
            d.hello()
            d.expect(code, "MAIL FROM:<sender@example.org>")
            d.command("RSET")
        assert len(names.asked) == asked
        d.expect(220, f"XCLIENT ADDR={PROVEN} NAME=[TEMPUNAVAIL]")
        d.hello()
        d.expect(250, "MAIL FROM:<sender@example.org>")
        assert len(names.asked) > asked


def test_the_client_stays_behind_starttls(server):
    """Without him, whoever comes through the front would have the front's rights."""
    with server.greeted("front") as d:
        d.expect(220, "XCLIENT ADDR=192.0.2.7 LOGIN=joe+40example.org")
        d.hello()
        d.starttls()
        d.hello()
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(550, "RCPT TO:<user@example.net>")
        d.expect(250, "RSET")
        mail, _, trace = accepted(server, d)
        assert "with ESMTPSA id" in mail.field("Received")
        assert "(XCLIENT ADDR=192.0.2.7 LOGIN=joe@example.org)" in trace


def test_commands_behind_it_may_be_sent_at_once(server):
    """The README lets a client pipeline it, and asks that it comes last."""
    with server.greeted("front") as d:
        d.send("XCLIENT HELO=spike.example PROTO=ESMTP\r\nXCLIENT ADDR=192.0.2.7\r\nEHLO spike.example\r\n")
        assert [d.reply().code for _ in range(3)] == [220, 220, 250]


def test_lmtp_takes_it_too(server):
    with server.greeted("lmtp") as d:
        d.expect(220, "XCLIENT ADDR=192.0.2.7")
        d.hello(verb="LHLO")
        d.expect(250, "XFORWARD ADDR=198.51.100.7")
        _, line, _ = accepted(server, d)
        assert " client=192.0.2.7 " in line and 'forwarded="ADDR=198.51.100.7"' in line


# ---- XFORWARD --------------------------------------------------------------------------------------------------------

def test_what_is_forwarded_stands_in_log_and_trace_and_nowhere_else(server):
    with server.greeted("front") as d:
        assert d.extensions()["XFORWARD"] == "NAME ADDR PORT PROTO HELO IDENT SOURCE".split()
        d.expect(250, "XFORWARD NAME=spike.example ADDR=192.0.2.7 PORT=4711")
        d.expect(250, "XFORWARD HELO=<evil>+0Aspike IDENT=4bQ SOURCE=REMOTE")
        told = "NAME=spike.example ADDR=192.0.2.7 PORT=4711 HELO=?evil??spike IDENT=4bQ SOURCE=REMOTE"
        mail, line, trace = accepted(server, d)
        assert f" client={FRONT} " in line and f'forwarded="{told}"' in line
        assert f"by ESMTP (XFORWARD {told})" in trace
        assert f"([{FRONT}])" in mail.field("Received") and "192.0.2.7" not in mail.field("Received")
        assert told in json.loads(server.cli("trace", "--json", mail.id))["protocol"]
        # It may relay as the front does, whoever stands behind it; and it was for one message.
        d.expect(250, "XFORWARD ADDR=192.0.2.7")
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(250, "RCPT TO:<user@example.net>")
        d.expect(503, "XFORWARD ADDR=192.0.2.8")
        d.expect(250, "RSET")
        _, line, trace = accepted(server, d)
        assert "forwarded=" not in line and "XFORWARD" not in trace


def test_what_is_refused_names_whom_it_is_from(server):
    with server.greeted("strict") as d:
        d.expect(250, "XFORWARD ADDR=192.0.2.99 NAME=[UNAVAILABLE]")
        d.envelope()
        d.expect(550, "RCPT TO:<nobody@example.com>")
        assert d.data(b"Subject: no sender\r\n\r\nx\r\n").code == 550
    server.wait_log("event=recipient-refused .*forwarded=\"ADDR=192.0.2.99\"")
    server.wait_log("event=message-refused .*forwarded=\"ADDR=192.0.2.99\"")


# ---- real clients ----------------------------------------------------------------------------------------------------

def test_swaks(server):
    done = subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{server.ports['front']}", "--from", "sender@example.org", "--to",
         "alice@example.com", "--ehlo", "swaks.example.org", "--xclient-name", "spike.example.net", "--xclient-addr",
         "192.0.2.77", "--xclient-port", "4711", "--xclient-proto", "ESMTP", "--xclient-helo", "helo.example.net",
         "--xclient-login", "joe", "--xclient-destaddr", "198.51.100.25", "--xclient-destport", "25",
         "--xclient-reverse-name", "spike.example.net", "--tls", "--xclient-delim", "--xclient-addr", "192.0.2.78"],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    server.wait_log("event=accepted .*client=192.0.2.78 ")
    server.wait_log('event=xclient .*told="NAME=spike.example.net REVERSE_NAME=spike.example.net ADDR=192.0.2.78 '
                    'PORT=4711 PROTO=ESMTP HELO=helo.example.net LOGIN=joe DESTADDR=198.51.100.25 DESTPORT=25"')


def test_nginx_hands_its_clients_on(server, tmp_path):
    front = Nginx(tmp_path / "nginx", server.ports["front"])
    try:
        with Dialog(front.port, source="127.0.0.7") as d:
            assert "front.example.net" in d.greeting.text
            d.hello("client.example.org")
            d.expect(250, "MAIL FROM:<sender@example.org>")
            d.expect(250, "RCPT TO:<alice@example.com>")
            reply = d.data(message("by nginx"))
            assert reply.code == 250
        with Dialog(front.port, source="127.0.0.7") as d:
            d.hello("client.example.org")
            d.expect(250, "MAIL FROM:<sender@example.org>")
            assert d.command("RCPT TO:<user@example.net>").code == 550
    finally:
        front.stop()
    mail = wait_for(lambda: [m for m in server.mail("alice") if m.id in reply.text], "the mail")[0]
    assert "from client.example.org ([127.0.0.7])" in mail.field("Received")


def test_postfix_tells_whom_it_has_the_mail_from_and_speaks_tls(server):
    """Its client trusts our certificate alone, and sends nothing to who has another one or none."""
    front = Postfix(server.ports["front"], f"""\
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = mx.example.com
smtp_tls_CAfile = {shutil.copy(server.data / "tls/self-signed.pem", server.folder)}
smtp_tls_loglevel = 1
""")
    try:
        with Dialog(front.port, source="127.0.0.7") as d:
            d.hello("client.example.org")
            d.envelope()
            queued = d.data(message("by Postfix"))
            assert queued.code == 250
        ident = re.search(r"queued as (\w+)", queued.text).group(1)
        line = server.wait_log(rf"event=accepted .*IDENT={ident}.*").group(0)
        assert " client=127.0.0.1 " in line
        wait_for(lambda: re.search(r"Verified TLS connection established to 127\.0\.0\.1\S+: TLSv1\.3 ", front.log()),
                 front.log)
        assert re.search(rf"event=tls .*version=TLSv1.3", server.log())
        assert re.search(r'forwarded="(NAME=\S+ )?ADDR=127.0.0.7 PORT=\d+ PROTO=ESMTP HELO=client.example.org '
                         rf'IDENT={ident} SOURCE=(LOCAL|REMOTE)"', line), line
        id_ = re.search(r" id=(\w+)", line).group(1)
        assert f"IDENT={ident}" in server.cli("trace", id_)
        wait_for(lambda: "status=sent" in front.log(), front.log)
    finally:
        front.stop()
