"""`sendmail` as scripts, cron and mail programs call it."""
import os
import re
import subprocess

import pytest

from harness import PATIENCE, SENDMAIL, free_port, message, route, wait_for


def run(server, *args, stdin=b"", program=SENDMAIL):
    return subprocess.run([str(program), "-C", str(server.conf), *args], input=stdin, capture_output=True,
                          timeout=2 * PATIENCE, check=False, cwd=server.folder)


def sendmail(server, *args, stdin=b"", status=0):
    done = run(server, *args, stdin=stdin)
    assert done.returncode == status, (args, done)
    return done


TEXT = b"From: me@example.org\nTo: alice@example.com\nSubject: from a script\n\nHello.\n.\nafter a dot\n..two\n"


def test_recipients_as_arguments_and_i(server):
    sendmail(server, "-i", "-f", "me@example.org", "alice@example.com", "bob@example.com", stdin=TEXT)
    for mailbox in ("alice", "bob"):
        mail, = server.wait_mail(mailbox)
        assert mail.field("Return-Path") == "<me@example.org>"
        assert mail.content.endswith(b"\r\n\r\nHello.\r\n.\r\nafter a dot\r\n..two\r\n")


@pytest.mark.parametrize("option", ["-i", "-oi"])
def test_both_names_of_i(server, option):
    sendmail(server, option, "alice@example.com", stdin=TEXT)
    assert b"after a dot" in server.wait_mail()[0].raw


def test_a_dot_ends_the_message_without_i(server):
    sendmail(server, "alice@example.com", stdin=TEXT)
    mail, = server.wait_mail()
    assert mail.content.endswith(b"Hello.\r\n")


def test_t_takes_the_recipients_from_the_header_and_bcc_away(server):
    text = (b"From: me@example.org\nTo: Alice <alice@example.com>,\n  \"B, O\" <bob@example.com>\n"
            b"Cc: group: carol@example.com;\nBcc: postmaster@example.com\nSubject: t\n\nbody\n")
    sendmail(server, "-t", "-i", stdin=text)
    for mailbox in ("alice", "bob", "carol", "postmaster"):
        mail, = server.wait_mail(mailbox)
        assert b"Bcc" not in mail.raw and b"postmaster@example.com" not in mail.content


def test_t_without_recipients_is_refused(server):
    done = sendmail(server, "-t", stdin=b"Subject: x\n\nbody\n", status=64)
    assert b"recipient" in done.stderr


def test_missing_fields_are_added(server):
    sendmail(server, "-f", "me@example.org", "alice@example.com", stdin=b"Subject: bare\n\nx\n")
    parsed = server.wait_mail()[0].parsed()
    assert parsed["Date"] and parsed["Message-ID"] and parsed["From"]


def test_a_message_without_any_header(server):
    sendmail(server, "-i", "alice@example.com", stdin=b"just text, as cron writes it\n")
    mail, = server.wait_mail()
    assert mail.content.endswith(b"\r\n\r\njust text, as cron writes it\r\n")


def test_the_null_sender(server):
    sendmail(server, "-f", "<>", "alice@example.com", stdin=TEXT)
    assert server.wait_mail()[0].field("Return-Path") == "<>"


def test_a_local_user_may_relay(make_server, make_peer):
    peer = make_peer()
    server = make_server(extra=route(peer.port)).start()
    server.conf.write_text(server.conf.read_text().replace("127.0.0.1/32", "192.0.2.0/24"))
    assert server.stop() == 0
    server.start()
    sendmail(server, "-i", "-f", "me@example.org", "x@elsewhere.example", stdin=TEXT)
    peer.wait_messages()


def test_an_unknown_recipient_is_told(server):
    done = run(server, "nobody@example.com", stdin=TEXT)
    assert done.returncode in (67, 68, 69), done
    assert b"nobody@example.com" in done.stderr


def test_bs_speaks_smtp(server):
    said = sendmail(server, "-bs", stdin=b"EHLO me\r\nMAIL FROM:<me@example.org>\r\nRCPT TO:<alice@example.com>\r\n"
                    b"DATA\r\nSubject: bs\r\n\r\nx\r\n.\r\nQUIT\r\n").stdout.decode()
    codes = re.findall(r"(?m)^(\d{3})[ \r]", said)
    assert codes == ["220", "250", "250", "250", "354", "250", "221"], said
    server.wait_mail()


def test_bp_lists_the_queue(make_server):
    server = make_server(extra=route(free_port())).start()
    id_ = server.submit(to="x@example.net")
    assert id_ in sendmail(server, "-bp").stdout.decode()


@pytest.mark.parametrize("name, args", [("mailq", []), ("sendmail", ["-bp"])])
def test_mailq_is_a_name_of_it(server, tmp_path, name, args):
    link = tmp_path / name
    os.symlink(SENDMAIL, link)
    done = run(server, *args, program=link)
    assert done.returncode == 0, done


def test_with_the_server_down_it_is_a_temporary_failure(make_server):
    done = run(make_server(), "alice@example.com", stdin=TEXT)
    assert done.returncode == 75, done
    assert done.stderr


@pytest.mark.parametrize("args", [["-x-no-such"], ["-f"], []], ids=" ".join)
def test_wrong_use(server, args):
    sendmail(server, *args, stdin=b"", status=64)


def test_e7_an_address_is_never_an_option(server):
    done = run(server, "--", "-bp", stdin=TEXT)
    assert done.returncode != 0


def test_options_of_old_that_mean_nothing_here_are_taken(server):
    sendmail(server, "-oi", "-oem", "-odb", "-B8BITMIME", "-F", "Full Name", "-f", "me@example.org", "--",
             "alice@example.com", stdin=TEXT)
    server.wait_mail()


def test_30_megabytes(server):
    body = b"the quick brown fox jumps over the lazy dog; 0123456789 0123456789\n" * 460000
    sendmail(server, "-i", "-f", "me@example.org", "alice@example.com", stdin=b"Subject: large\n\n" + body)
    mail, = server.wait_mail()
    assert mail.content.endswith(body.replace(b"\n", b"\r\n"))


def test_utf8_recipients(make_server):
    server = make_server(extra='domain "bücher.example" {\n  mailboxes = {"jörg"}\n}\n').start()
    sendmail(server, "-i", "-f", "me@example.org", "jörg@bücher.example", stdin=message("x").replace(b"\r\n", b"\n"))
    wait_for(lambda: list((server.data / "mail").glob("xn--bcher-kva.example/*/new/*")), "the message")
