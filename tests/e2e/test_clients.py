"""Mail programs that people use deliver into a Maildir through us, and every octet arrives as it was sent.

Each client talks through a recorder, so that what lies in the Maildir after the trace fields is compared with what the
client sent, whatever it made of the message.
"""
import os
import re
import smtplib
import subprocess

import pytest

from harness import PATIENCE, Dialog, message, postfix_env, smtp_source

MANY = [f"u{n}@example.com" for n in range(100)]
MEGABYTES_30 = 30 * 1024 * 1024

LISTEN = "  size_max = \"64M\"\n"
EXTRA = """
domain "bücher.example" {
  mailboxes = {"jörg", "地址"}
}
"""
DOMAIN = "  catch_all = \"bob\"\n"


def run(command, stdin=b"", env=None, timeout=PATIENCE * 3):
    done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, timeout=timeout, check=False,
                          env=dict(os.environ, LC_ALL="C.UTF-8", **(env or {})))
    assert done.returncode == 0, (command[:6], done.returncode, done.stdout[-2000:], done.stderr[-2000:])
    return done


def swaks(port, raw, sender, to, tmp, options=()):
    path = tmp / "message"
    path.write_bytes(raw.removesuffix(b"\r\n")) # swaks adds the last one
    run(["swaks", "--server", f"127.0.0.1:{port}", "--from", sender, "--to", ",".join(to), "--ehlo",
         "client.example.org", "--data", f"@{path}", "--suppress-data", *options])


def swaks_pipelined(port, raw, sender, to, tmp):
    swaks(port, raw, sender, to, tmp, ["--pipeline"])


def curl(port, raw, sender, to, tmp):
    path = tmp / "message"
    path.write_bytes(raw)
    run(["curl", "-sS", f"smtp://127.0.0.1:{port}/client.example.org", "--mail-from", sender,
         *[word for rcpt in to for word in ("--mail-rcpt", rcpt)], "-T", path])


def msmtp(port, raw, sender, to, tmp):
    run(["msmtp", "-C", "/dev/null", "--host=127.0.0.1", f"--port={port}", f"--from={sender}", "--tls=off",
         "--auth=off", "--set-date-header=off", "--set-msgid-header=off", "--", *to], raw.replace(b"\r\n", b"\n"))


def s_nail(port, raw, sender, to, tmp):
    """s-nail makes a message of its own from the subject and the body."""
    head, _, body = raw.partition(b"\r\n\r\n")
    subject = re.search(rb"(?m)^Subject: (.*)\r$", head).group(1).decode()
    run(["s-nail", "-:/", "-S", "v15-compat", "-S", f"mta=smtp://127.0.0.1:{port}", "-S", "smtp-auth=none",
         "-S", f"from={sender}", "-S", "hostname=client.example.org",
         "-S", "ttycharset=utf-8", "-S", "mime-encoding=8bit", "-S", "sendwait", "-r", sender, "-s", subject,
         *to], body.replace(b"\r\n", b"\n"),
        {"HOME": str(tmp)})


def python_smtplib(port, raw, sender, to, tmp):
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", timeout=PATIENCE) as client:
        assert client.sendmail(sender, to, raw, ["BODY=8BITMIME"]) == {}


def postfix_smtp_source(port, raw, sender, to, tmp):
    """smtp-source sends its own message, or the file that it is given; recipients are made from one by numbers."""
    path = tmp / "message"
    path.write_bytes(raw.replace(b"\r\n", b"\n"))
    many = ["-r", str(len(to))] if len(to) > 1 else []
    run(smtp_source(port, 1, 1, None, sender, to[0], ["-F", str(path), *many]), env=postfix_env())


def own_pipelined(port, raw, sender, to, tmp):
    """Everything that RFC 2920 lets a client send at once, in one write."""
    with Dialog(port) as d:
        d.hello()
        d.send("".join([f"MAIL FROM:<{sender}> BODY=8BITMIME\r\n", *[f"RCPT TO:<{r}>\r\n" for r in to], "DATA\r\n"]))
        for _ in range(len(to) + 1):
            assert d.reply().code == 250
        assert d.reply().code == 354
        d.send(re.sub(rb"(?m)^\.", b"..", raw) + b".\r\n")
        assert d.reply().code == 250
        d.expect(221, "QUIT")


def own_bdat(port, raw, sender, to, tmp):
    with Dialog(port) as d:
        assert "CHUNKING" in d.extensions()
        d.envelope(sender, to, " BODY=8BITMIME")
        d.bdat(raw, 100000)


def own_bdat_small(port, raw, sender, to, tmp):
    with Dialog(port) as d:
        d.hello()
        d.envelope(sender, to, " BODY=8BITMIME")
        d.bdat(raw, max(7, len(raw) // 1000))


CLIENTS = [swaks, swaks_pipelined, curl, msmtp, s_nail, python_smtplib, postfix_smtp_source, own_pipelined, own_bdat,
           own_bdat_small]
# s-nail makes its own message of what it is given and smtp-source adds an empty line; the others send it as it is.
FAITHFUL = [c for c in CLIENTS if c not in (s_nail, postfix_smtp_source)]


def names(clients):
    return [c.__name__.replace("_", "-") for c in clients]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One server for this file: each test empties the mailboxes it looks at."""
    from harness import Postrider
    server = Postrider(tmp_path_factory.mktemp("clients")).configure(listen=LISTEN, extra=EXTRA, domain=DOMAIN)
    server.start()
    yield server
    server.finish()


@pytest.fixture
def mailboxes(shared):
    for path in (shared.data / "mail").glob("*/*/new/*"):
        path.unlink()
    return shared


def deliver(client, server, make_recorder, tmp_path, raw, to=("alice@example.com",), sender="sender@example.org"):
    """Sends through a recorder; returns what the client sent."""
    recorder = make_recorder(server.port)
    client(recorder.port, raw, sender, list(to), tmp_path)
    sent = recorder.messages()
    assert len(sent) == 1, f"{len(sent)} messages on the wire"
    return sent[0]


def same(mail, sent):
    """The octets after the trace fields, without showing 30 MB when they differ."""
    content = mail.content
    if content != sent:
        at = next((i for i, (a, b) in enumerate(zip(content, sent)) if a != b), min(len(content), len(sent)))
        pytest.fail(f"{len(content)} octets in the Maildir, {len(sent)} were sent; the first difference is at {at}: "
                    f"{content[max(0, at - 40):at + 40]!r} for {sent[max(0, at - 40):at + 40]!r}")


def trace_names(mail):
    return [name for name, _ in mail.trace()[0]]


@pytest.mark.parametrize("client", CLIENTS, ids=names(CLIENTS))
def test_plain(client, mailboxes, make_recorder, tmp_path):
    raw = message("plain", b"Hello.\r\n.\r\n..two dots\r\n.one dot\r\n\r\n  spaces  \r\nFrom here\r\n")
    sent = deliver(client, mailboxes, make_recorder, tmp_path, raw)
    if client in FAITHFUL:
        assert sent == raw
    mail, = mailboxes.wait_mail("alice")
    same(mail, sent)
    assert trace_names(mail) == ["Return-Path", "Delivered-To", "Received"]
    assert mail.field("Return-Path") == "<sender@example.org>"
    assert mail.field("Delivered-To") == "alice@example.com"


@pytest.mark.parametrize("client", CLIENTS, ids=names(CLIENTS))
def test_many_recipients(client, mailboxes, make_recorder, tmp_path):
    """A hundred at once, RFC 5321 4.5.3.1.8; the catch-all mailbox takes them, each as a message of its own."""
    sent = deliver(client, mailboxes, make_recorder, tmp_path, message("many"), MANY)
    mails = mailboxes.wait_mail("bob", len(MANY))
    for mail in mails:
        same(mail, sent)
    got = {mail.field("Delivered-To") for mail in mails}
    assert len(got) == len(MANY)
    if client is not postfix_smtp_source:
        assert got == set(MANY)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("client", CLIENTS, ids=names(CLIENTS))
def test_30_megabytes(client, mailboxes, make_recorder, tmp_path):
    line = b".the quick brown fox jumps over the lazy dog; 0123456789 0123456789\r\n"
    body = line * (MEGABYTES_30 // len(line) + 1)
    sent = deliver(client, mailboxes, make_recorder, tmp_path, message("large", body))
    assert len(sent) >= MEGABYTES_30
    mail, = mailboxes.wait_mail("alice")
    same(mail, sent)


@pytest.mark.parametrize("client", CLIENTS, ids=names(CLIENTS))
def test_8_bit(client, mailboxes, make_recorder, tmp_path):
    body = "Grüße aus Köln, привет, 你好\r\n".encode()
    if client is not s_nail:
        body += bytes(range(0x80, 0x100)) + b"\r\n" # no UTF-8 at all; s-nail would not take it as text
    extra = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    sent = deliver(client, mailboxes, make_recorder, tmp_path, message("8-bit", body, extra=extra))
    mail, = mailboxes.wait_mail("alice")
    same(mail, sent)
    assert body in mail.wire


def smtplib_utf8(port, raw, sender, to, tmp):
    with smtplib.SMTP("127.0.0.1", port, "client.example.org", timeout=PATIENCE) as client:
        client.ehlo()
        client.command_encoding = "utf-8"
        assert client.sendmail(sender, to, raw, ["SMTPUTF8", "BODY=8BITMIME"]) == {}


def curl_utf8(port, raw, sender, to, tmp):
    curl(port, raw, sender, to, tmp)


def own_utf8_bdat(port, raw, sender, to, tmp):
    with Dialog(port) as d:
        assert "SMTPUTF8" in d.extensions()
        d.envelope(sender, to, " SMTPUTF8 BODY=8BITMIME")
        d.bdat(raw, 50)


UTF8 = [smtplib_utf8, curl_utf8, own_utf8_bdat]


@pytest.mark.parametrize("client", UTF8, ids=names(UTF8))
@pytest.mark.parametrize("address", ["jörg@bücher.example", "地址@bücher.example", "jörg@xn--bcher-kva.example"])
def test_utf8_addresses(client, address, mailboxes, make_recorder, tmp_path):
    raw = message("UTF-8", "Grüße\r\n".encode()).replace(b"Subject: UTF-8", "Subject: Grüße an 地址".encode())
    sent = deliver(client, mailboxes, make_recorder, tmp_path, raw, [address], "gößer@xn--bcher-kva.example")
    assert sent == raw
    found = wait_domain(mailboxes, 1)
    same(found[0], sent)
    # UTF8SMTP as the protocol's name (RFC 6531 4.3).
    assert "with UTF8SMTP" in found[0].field("Received")


def wait_domain(server, count):
    """Mail of the internationalised domain, whatever its folder is called."""
    from harness import Mail, wait_for
    where = server.data / "mail"
    wait_for(lambda: len(list(where.glob("xn--bcher-kva.example/*/new/*"))) >= count,
             lambda: f"mail below {sorted(p.name for p in where.glob('*/*'))}")
    return [Mail(p) for p in where.glob("xn--bcher-kva.example/*/new/*")]


def test_binary_by_bdat_is_kept_octet_by_octet(mailboxes):
    """BODY=BINARYMIME (RFC 3030 3): NUL, bare CR and LF, dots, no CRLF at the end."""
    body = bytes(range(256)) * 40 + b"\r\n.\r\n\n.\n\r.\r no end"
    raw = message("binary", body, extra=b"MIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
                                        b"Content-Transfer-Encoding: binary\r\n")
    with mailboxes.dialog() as d:
        d.hello()
        d.envelope(mail_options=" BODY=BINARYMIME")
        d.bdat(raw, 333)
    mail, = mailboxes.wait_mail("alice")
    assert mail.raw.endswith(raw) or mail.raw.endswith(raw.partition(b"\r\n\r\n")[2])


def test_the_received_field_says_how_it_came(mailboxes):
    for verb, protocol in [("EHLO", "ESMTP"), ("HELO", "SMTP")]:
        with mailboxes.dialog() as d:
            d.hello("me.example.net", verb)
            d.envelope()
            assert d.data(message(protocol)).code == 250
    first, second = mailboxes.wait_mail("alice", 2)
    for mail in (first, second):
        field = mail.field("Received")
        protocol = mail.parsed()["Subject"]
        assert re.match(r"from me\.example\.net \(\S*\s?\[127\.0\.0\.1\]\)", field), field
        assert "by mx.example.com" in field
        assert re.search(rf"with {protocol} id [0-9A-Z]{{12}}", field), field
        assert re.search(r"; \w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}", field), field


def test_a_message_of_no_octets_and_one_of_no_header(mailboxes):
    with mailboxes.dialog() as d:
        d.hello()
        for raw in (b"", b"\r\n", b"no header at all\r\n", b"\r\n\r\n\r\n"):
            d.envelope()
            d.expect(354, "DATA")
            d.send(raw + b".\r\n")
            assert d.reply().code == 250
    mails = mailboxes.wait_mail("alice", 4)
    # What was sent stands at the end; a message without a header section may get an empty line before its body.
    assert {m.wire.split(b"\r\n", 1)[0].split(b":")[0] for m in mails} == {b"Return-Path"}
    assert sum(m.wire.endswith(b"no header at all\r\n") for m in mails) == 1


def test_the_same_connection_carries_many_messages(mailboxes):
    with mailboxes.dialog() as d:
        d.hello()
        raws = [message(f"number {n}") for n in range(50)]
        for raw in raws:
            d.envelope()
            assert d.data(raw).code == 250
        d.expect(221, "QUIT")
        assert d.is_closed()
    assert sorted(m.content for m in mailboxes.wait_mail("alice", 50)) == sorted(raws)
