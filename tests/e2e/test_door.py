"""What is refused at the door: by the DNS, by size, by content, by congestion, and what is no SMTP at all. The replies
are drawn by the conformance matrix; here stands who else notices, and what is let in."""
import email.message
import email.policy
import socket
import ssl
import subprocess

import dns.rcode
import pytest

from harness import Dialog, Peer, free_port, message, route, wait_for
from test_conformance import House, NAMELESS, NameServer, PRETENDER, PROVEN, STRANGER, UNKNOWN

DOMAIN = """
domain "example.com" {
  mailboxes = {"alice", "bob", "postmaster"}
  limit "bob" {
    message_max = "4k"
  }
  list "both" {
    members = {"alice@example.com", "bob@example.com"}
  }
}
"""
LARGE = b"x" * 70 + b"\r\n"
LARGE *= 80


@pytest.fixture
def make_house(tmp_path):
    made = []

    def make(**kw):
        made.append(House(tmp_path / f"house{len(made)}", **{"domains": DOMAIN, **kw}))
        return made[-1].start()
    yield make
    for server in made:
        server.finish()


@pytest.fixture
def names():
    made = NameServer()
    yield made
    made.stop()


# ---- size ------------------------------------------------------------------------------------------------------------

def test_who_declares_the_size_hears_at_rcpt_who_takes_it(make_house):
    server = make_house()
    with server.mailed(options=" SIZE=6000") as d:
        d.expect(250, "RCPT TO:<alice@example.com>")
        assert d.expect(552, "RCPT TO:<bob@example.com>").status == "5.2.3"
        assert d.expect(552, "RCPT TO:<both@example.com>").status == "5.2.3"
        assert d.data(message("declared", LARGE)).code == 250
    with server.mailed(options=" SIZE=4096") as d:
        d.expect(250, "RCPT TO:<both@example.com>")
        assert d.data(message("small")).code == 250
    assert len(server.wait_mail("alice", 2)) == 2
    bob, = server.wait_mail("bob")
    assert b"Subject: small\r\n" in bob.wire
    # The next transaction begins anew.
    with server.ready(to="bob@example.com") as d:
        d.expect(250, "RSET")
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(250, "RCPT TO:<alice@example.com>")
        assert d.data(message("again", LARGE)).code == 250


@pytest.mark.parametrize("to", ["bob", "both"])
def test_a_message_that_one_recipient_does_not_take_is_taken_for_none_by_smtp(make_house, to):
    server = make_house()
    with server.ready() as d:
        d.expect(250, f"RCPT TO:<{to}@example.com>")
        reply = d.data(message("too large", LARGE))
        assert (reply.code, reply.status) == (552, "5.2.3") and f"<{to}@example.com>" in reply.text, reply
        assert "4096" in reply.text
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(250, f"RCPT TO:<{to}@example.com>")
        assert d.data(message("fits")).code == 250
    assert b"Subject: fits" in server.wait_mail("bob")[0].wire
    wait_for(lambda: not server.queued(), "an empty queue")
    assert not [mail for mail in server.mail("alice") if b"too large" in mail.wire]


def test_lmtp_answers_for_each_recipient_by_its_own_limit(make_house):
    server = make_house(listeners={"plain": "", "lmtp": "protocol = lmtp"})
    with server.greeted("lmtp") as d:
        d.expect(250, "MAIL FROM:<sender@example.org>")
        for to in ("bob", "alice", "both"):
            d.expect(250, f"RCPT TO:<{to}@example.com>")
        first = d.data(message("three", LARGE))
        assert [(r.code, r.status) for r in (first, d.reply(), d.reply())] == [
            (552, "5.2.3"), (250, "2.1.5"), (552, "5.2.3")]
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(250, "RCPT TO:<bob@example.com>")
        d.expect(250, "RCPT TO:<both@example.com>")
        assert [d.data(message("none", LARGE)).code, d.reply().code] == [552, 552]
        d.expect(250, "NOOP")
    server.wait_mail("alice")
    wait_for(lambda: not server.queued(), "an empty queue")
    assert [len(server.mail(name)) for name in ("alice", "bob")] == [1, 0]
    server.wait_log(r"event=accepted .*rcpts=1 ")


# ---- congestion ------------------------------------------------------------------------------------------------------

def test_mail_is_taken_again_when_the_queue_is_shorter(make_house):
    server = make_house(queue="  congested_recipients = 3", rest=route(free_port()),
                        top="status = relay\nreceivers = 1")

    def answer():
        with server.greeted() as d:
            return d.command("MAIL FROM:<sender@example.org>").code
    server.submit(to=["one@example.net", "two@example.net"])
    assert answer() == 250
    id_ = server.submit(to=["three@example.net"])
    wait_for(lambda: answer() == 451, "congestion")
    with server.greeted() as d:
        assert "Queue: congested" in d.expect(211, "HELP STATUS").text
    server.cli("queue", "remove", id_)
    wait_for(lambda: answer() == 250, "the end of it")
    # A receiver that is new to the queue hears of it, too.
    server.submit(to=["four@example.net"])
    pid, = server.role_pids("receiver")
    wait_for(lambda: answer() == 451, "congestion")
    subprocess.run(["kill", "-9", str(pid)], check=True)
    wait_for(lambda: server.role_pids("receiver") not in ([], [pid]), "another receiver")
    wait_for(lambda: answer() == 451, "congestion")


# ---- other protocols -------------------------------------------------------------------------------------------------

COMMANDS = (b"EHLO a.example\r\nMAIL FROM:<x@example.org>\r\nRCPT TO:<alice@example.com>\r\n"
            b"DATA\r\n\r\nsmuggled\r\n.\r\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "SEARCH", "MAIL"])
def test_commands_in_the_body_of_a_web_request_are_not_run(make_house, method):
    server = make_house(listeners={"plain": "refuse_early = no"})
    request = (f"{method} / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(COMMANDS)}\r\n\r\n").encode() + COMMANDS
    with server.call() as d:
        d.send(request)
        reply = d.reply()
        assert (reply.code, reply.status) == (421, "4.5.5"), reply
        assert d.is_closed()
    server.submit(message("honest"))
    mail, = server.wait_mail("alice")
    assert b"honest" in mail.wire


def test_curl_and_openssl_are_told_and_let_go_at_once(make_house):
    server = make_house()
    done = subprocess.run(["curl", "-s", "--http0.9", "-m", "20", f"http://127.0.0.1:{server.port}/"],
                          capture_output=True)
    assert b"220 mx.example.com" in done.stdout, done
    assert done.stdout.splitlines()[-1][:4] in (b"421 ", b"554 "), done
    context = ssl.create_default_context()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="mx.example.com")
    with server.call() as d:
        d.send(b"\x16")
        d.send(b"\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        reply = d.reply()
        assert (reply.code, reply.status) == (421, "4.5.5") and "TLS" in reply.text, reply
        assert d.is_closed()


# ---- content ---------------------------------------------------------------------------------------------------------

RULES = 'refuse_media = {"application/x-msdownload", "message/partial"}\n  refuse_attachments = {"exe", ".JS"}'


def mail_with(*attachments, subject="attached"):
    """A message by Python's email package, with (file name, media type, octets)."""
    made = email.message.EmailMessage(policy=email.policy.SMTP)
    made["From"], made["To"], made["Subject"] = "sender@example.org", "alice@example.com", subject
    made["Date"] = "Sat, 01 Nov 2025 10:00:00 +0000"
    made.set_content("Hello.\n")
    for name, kind, octets in attachments:
        made.add_attachment(octets, *kind.split("/"), filename=name)
    return made


@pytest.mark.parametrize("attachments, words", [
    ([("a.txt", "application/octet-stream", b"x"), ("Setup.EXE", "application/octet-stream", b"MZ")], "Setup.EXE"),
    ([("größe" + "n" * 90 + ".exe", "application/octet-stream", b"MZ")], "a file named"),
    ([("x.bin", "application/x-msdownload", b"MZ")], "application/x-msdownload"),
    ([("run.js", "text/javascript", b"x" * 3_000_000)], "run.js"),
    ([("fine.zip", "application/zip", b"PK")], None),
    ([("exe", "application/octet-stream", b"x" * 3_000_000), ("a.exe.txt", "text/html", b"<p>")], None),
])
def test_attachments_are_refused_by_type_and_by_name(make_house, attachments, words):
    server = make_house(listeners={"plain": RULES, "open": ""})
    raw = mail_with(*attachments).as_bytes()
    with server.ready() as d:
        reply = d.data(raw)
        assert (reply.code, reply.status) == ((554, "5.6.1") if words else (250, "2.6.0")), reply
        assert not words or words in reply.text
        if words:
            assert words in server.wait_log(r"event=message-refused .*status=5\.6\.1 .*about=(.*)").group(1)
        # By BDAT, too; and the session goes on.
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(250, "RCPT TO:<alice@example.com>")
        d.send(f"BDAT {len(raw)} LAST\r\n".encode() + raw)
        assert d.reply().code == (554 if words else 250)
    server.wait_mail("alice", 0 if words else 2)
    with server.ready("open") as d:
        assert d.data(raw).code == 250


def test_what_is_inside_of_a_forwarded_message_counts(make_house):
    server = make_house(listeners={"plain": RULES})
    inner, outer = mail_with(("x.js", "text/plain", b"x")), mail_with()
    outer.add_attachment(inner)
    with server.ready() as d:
        assert "x.js" in d.data(outer.as_bytes()).text
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(250, "RCPT TO:<alice@example.com>")
        quoted = b"Content-Disposition: attachment; filename=x.exe\r\n"
        assert d.data(message("only talks about it", b"--b\r\n" + quoted)).code == 250


# ---- the DNS ---------------------------------------------------------------------------------------------------------

def dns_keys(names, keys):
    return f'resolver = "127.0.0.1@{names.port}"\nresolver_timeout = "1s"\n{keys}'


def test_domains_that_do_not_exist_are_refused_where_the_dns_decides(make_house, names):
    peer = Peer()
    try:
        server = make_house(top=dns_keys(names, "check_domains = yes"),
                            rest=route(peer.port) + route(peer.port, name="nothing.example"))
        with server.greeted() as d:
            # A route of its own says that it is there, and where.
            d.expect(250, "MAIL FROM:<x@nothing.example>")
            d.expect(250, "RCPT TO:<x@nothing.example>")
            assert "nothing.example." not in names.asked
            d.expect(250, "RCPT TO:<x@null.example>")
            d.expect(250, "RCPT TO:<x@silent.example>")
            d.expect(250, "RSET")
            d.expect(250, "MAIL FROM:<x@null.example>")
    finally:
        peer.stop()
    server = make_house(top=dns_keys(names, "check_domains = yes"), rest=route(free_port()))
    with server.greeted() as d:
        assert d.expect(550, "MAIL FROM:<x@Nothing.Example>").status == "5.1.8"
        d.expect(250, "MAIL FROM:<>")
        assert d.expect(550, "RCPT TO:<x@nothing.example>").status == "5.1.2"
        d.expect(250, "RCPT TO:<x@good.example>")


@pytest.mark.parametrize("mode", ["yes", "strict"])
def test_reverse_dns_is_asked_once_of_strangers(make_house, names, mode):
    server = make_house(listeners={"plain": f"check_reverse_dns = {mode}"}, top=dns_keys(names, ""))
    with server.greeted(source=PROVEN) as d:
        for _ in range(3):
            d.expect(250, "MAIL FROM:<sender@example.org>")
            d.expect(250, "RSET")
    assert names.asked.count("21.0.0.127.in-addr.arpa.") == 1
    assert names.asked.count("proven.client.example.") == 1
    for source in (PRETENDER, NAMELESS):
        with server.greeted(source=source) as d:
            for _ in range(2):
                reply = d.expect(550, "MAIL FROM:<sender@example.org>")
                assert reply.status == "5.7.25" and source in reply.text
            d.expect(503, "RCPT TO:<alice@example.com>")
    with server.greeted(source=UNKNOWN) as d:
        reply = d.command("MAIL FROM:<sender@example.org>")
        assert (reply.code, reply.status) == ((451, "4.4.3") if mode == "strict" else (250, "2.1.0"))
    asked = set(names.asked)
    with server.mailed() as d: # a client that may relay
        d.expect(250, "RCPT TO:<alice@example.com>")
    assert set(names.asked) == asked # the same again: what was never answered


def test_reverse_dns_comes_before_the_domain_of_the_sender(make_house, names):
    server = make_house(listeners={"plain": "check_reverse_dns = yes"},
                        top=dns_keys(names, "check_null_mx = yes\ncheck_domains = yes"))
    with server.greeted(source=PROVEN) as d:
        d.send("MAIL FROM:<x@null.example>\r\nMAIL FROM:<x@nothing.example>\r\nMAIL FROM:<x@good.example>\r\n"
               "RCPT TO:<alice@example.com>\r\n")
        assert [d.reply().status for _ in range(4)] == ["5.7.27", "5.1.8", "2.1.0", "2.1.5"]
        assert d.data(message("proven")).code == 250
    with server.greeted(source=NAMELESS) as d:
        assert d.expect(550, "MAIL FROM:<x@null.example>").status == "5.7.25"


def test_clients_that_leave_while_their_name_is_asked_for_leave_nothing_behind(make_house, names):
    server = make_house(listeners={"plain": "check_reverse_dns = strict"}, top=dns_keys(names, ""))
    for _ in range(10):
        with server.greeted(source=UNKNOWN) as d:
            d.send("MAIL FROM:<sender@example.org>\r\n")
    with server.greeted(source=UNKNOWN) as d:
        d.expect(451, "MAIL FROM:<sender@example.org>")
        server.signal(1) # a reload answers who waits
        d.send("MAIL FROM:<sender@example.org>\r\n")
        assert d.reply().code == 451


def test_a_domain_that_no_server_answers_for_delays_nobody_else(make_house, names):
    """N3: who waits for the DNS waits alone, though one role serves all."""
    server = make_house(top=f'receivers = 1\nresolver = "127.0.0.1@{names.port}"\nresolver_timeout = "20s"\n'
                            "check_domains = yes")
    with server.greeted() as waits:
        waits.send("MAIL FROM:<x@silent.example>\r\n")
        wait_for(lambda: "silent.example." in names.asked, "the question")
        with server.greeted() as d:
            d.expect(250, "MAIL FROM:<x@good.example>")
            d.expect(250, "RCPT TO:<alice@example.com>")
            assert d.data(message("meanwhile")).code == 250
        server.wait_mail("alice")
        waits.socket.settimeout(0.05)
        with pytest.raises(TimeoutError):
            waits.socket.recv(1, socket.MSG_PEEK)


@pytest.mark.parametrize("mode", ["yes", "strict"])
@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.NOTIMP, dns.rcode.FORMERR,
                                   dns.rcode.NOTAUTH])
def test_no_error_of_the_dns_is_a_final_answer(make_house, rcode, mode):
    """N5: what cannot be told now is not what does not exist, whoever asks."""
    names = NameServer(rcodes={"broken.example.": rcode, "25.0.0.127.in-addr.arpa.": rcode,
                               "half.client.example.": rcode},
                       records={("26.0.0.127.in-addr.arpa.", "PTR"): ["half.client.example."]})
    try:
        server = make_house(top=dns_keys(names, f"check_null_mx = {mode}\ncheck_domains = {mode}"),
                            listeners={"plain": "", "reverse": f"check_reverse_dns = {mode}"}, rest=route(free_port()))
        taken = [250] if mode == "yes" else [451]
        with server.greeted() as d:
            assert [d.command("MAIL FROM:<x@broken.example>").code] == taken
            d.expect(250, "RSET")
            d.expect(250, "MAIL FROM:<>")
            assert [d.command("RCPT TO:<x@broken.example>").code] == taken
        for source in ("127.0.0.25", "127.0.0.26"):
            with server.greeted("reverse", source=source) as d:
                assert [d.command("MAIL FROM:<x@good.example>").code] == taken, source
    finally:
        names.stop()


@pytest.mark.parametrize("name", [r"a\032b.strange.example.", r"a\013\010Received:\032x.strange.example.",
                                  r"\000.strange.example.", "a_\\;b.strange.example."])
def test_a_name_that_no_host_can_have_proves_nothing_and_stands_nowhere(make_house, name):
    """N6: the text of a PTR record reaches no reply, no field and no line of the log as it is."""
    names = NameServer(records={("25.0.0.127.in-addr.arpa.", "PTR"): [name], (name.lower(), "A"): ["127.0.0.25"]})
    try:
        server = make_house(listeners={"plain": "check_reverse_dns = yes", "open": ""}, top=dns_keys(names, ""))
        with server.greeted(source="127.0.0.25") as d:
            reply = d.expect(550, "MAIL FROM:<sender@example.org>")
            assert reply.status == "5.7.25" and "strange.example" not in reply.text
        with server.ready("open", source="127.0.0.25") as d:
            assert d.data(message("from there")).code == 250
        mail, = server.wait_mail("alice")
        assert "strange.example" not in str(mail.trace()[0]) and "strange.example" not in server.log()
    finally:
        names.stop()


def test_who_is_here_is_not_told_to_strangers(make_house):
    """B7: the same answer for a user who is here and one who is not, where VRFY and EXPN disclose nothing."""
    server = make_house()
    with server.greeted(source=STRANGER) as d:
        for verb in ("VRFY", "EXPN"):
            known, unknown = (d.command(f"{verb} {user}@example.com") for user in ("alice", "nobody"))
            assert known.code == unknown.code and known.status == unknown.status
            assert known.text.replace("alice", "nobody") == unknown.text


# ---- routes ----------------------------------------------------------------------------------------------------------

def test_a_route_back_to_us_is_told_by_the_check_and_refused_for_later(make_house):
    server = make_house(rest='route "circle.example" {\n  hosts = {"127.0.0.1:PLAIN"}\n  from_anybody = yes\n}\n'
                             'route "spare.example" {\n  hosts = {"127.0.0.1:PLAIN", "192.0.2.1"}\n}')
    for source in (None, STRANGER):
        with Dialog(server.port, source=source) as d:
            d.hello()
            d.expect(250, "MAIL FROM:<sender@example.org>")
            assert d.expect(451, "RCPT TO:<x@circle.example>").status == "4.3.5"
    with server.mailed() as d:
        d.expect(250, "RCPT TO:<x@spare.example>")
    done = server.cli_run("check")
    assert done.returncode == 0 and '"circle.example" leads back to this server' in done.stdout + done.stderr
    assert "spare" not in done.stdout + done.stderr


def test_addresses_that_no_host_has_are_told_from_those_without_a_route(make_house):
    server = make_house(rest=route(free_port()))
    with server.mailed() as d:
        for literal in ("[0.0.0.0]", "[255.255.255.255]", "[239.1.2.3]", "[IPv6:::]", "[IPv6:ff02::1]", "[x400:a]"):
            assert d.expect(550, f"RCPT TO:<user@{literal}>").status == "5.1.2"
        d.expect(250, "RCPT TO:<user@[192.0.2.1]>")
    with server.mailed(source=STRANGER) as d:
        assert d.expect(550, "RCPT TO:<user@[224.0.0.1]>").status == "5.7.1"
    server = make_house()
    with server.mailed() as d:
        assert d.expect(550, "RCPT TO:<user@[192.0.2.1]>").status == "5.4.4"
        assert d.expect(550, "RCPT TO:<user@[224.0.0.1]>").status == "5.1.2"


