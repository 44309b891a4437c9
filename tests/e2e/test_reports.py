"""What becomes of mail that cannot be delivered: a report that people and two independent programs read correctly."""
import email
import email.policy
import pathlib
import re
import subprocess

import pytest
from flufl.bounce import all_failures

from harness import free_port, message, route, wait_for

PERL = pathlib.Path(__file__).with_name("read_bounce.pl")


def refusing(make_peer, code="550 5.1.1 no such user here", verb="RCPT", **more):
    return make_peer(**{verb: code}, **more)


def by_flufl(mail):
    """(temporary, permanent) recipients, as flufl.bounce sees them."""
    temporary, permanent = all_failures(email.message_from_bytes(mail.wire))
    return ({a.decode() for a in temporary}, {a.decode() for a in permanent})


def by_perl(mail):
    done = subprocess.run(["/usr/bin/perl", str(PERL)], input=mail.wire, capture_output=True, check=False)
    assert done.returncode == 0, (done.stderr, mail.wire)
    return [tuple(line.split("\t")[:2]) for line in done.stdout.decode().splitlines()]


def parts(mail):
    """(message, text, per-message fields, [per-recipient fields], returned) of a report."""
    parsed = email.message_from_bytes(mail.wire, policy=email.policy.default)
    assert parsed.get_content_type() == "multipart/report"
    assert parsed.get_param("report-type") == "delivery-status"
    text, status, returned = parsed.get_payload()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() in ("message/delivery-status", "message/global-delivery-status")
    groups = status.get_payload()
    assert "Reporting-MTA" in groups[0]
    return parsed, text.get_content().replace("\r\n", "\n"), groups[0], groups[1:], returned


@pytest.mark.parametrize("code, status", [
    ("550 5.1.1 no such user here", "5.1.1"), ("552 5.2.2 mailbox is full", "5.2.2"),
    ("554 5.7.1 not from you", "5.7.1"), ("550 no enhanced code", "5.0.0"), ("553 5.1.3 bad address", "5.1.3"),
    ("550 5.7.999 a code nobody knows", "5.7.999")])
def test_a_refused_recipient_comes_back_and_both_parsers_read_it(make_server, make_peer, code, status):
    peer = refusing(make_peer, code)
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(message("returned"), sender="alice@example.com", to="gone@example.net")
    report, = server.wait_mail("alice")
    assert by_flufl(report) == (set(), {"gone@example.net"})
    (address, read), = by_perl(report)
    assert address == "gone@example.net"
    parsed, text, about, (rcpt,), _ = parts(report)
    got = rcpt["Status"].split()[0]
    assert read == got
    # 5.1.1 may stand for a bare 550 to RCPT; a code that was given is passed on as it is.
    assert got == status or (status == "5.0.0" and got.startswith("5."))
    assert rcpt["Action"] == "failed"
    assert rcpt["Final-Recipient"].replace(" ", "") == "rfc822;gone@example.net"
    assert rcpt["Diagnostic-Code"].startswith("smtp;")
    assert code.split(" ", 1)[1] in rcpt["Diagnostic-Code"] and code[:3] in rcpt["Diagnostic-Code"]
    assert rcpt["Remote-MTA"].replace(" ", "").startswith("dns;")
    assert about["Reporting-MTA"].replace(" ", "") == "dns;mx.example.com"
    assert report.field("Return-Path") == "<>"
    assert "alice@example.com" in parsed["To"]
    assert parsed["Auto-Submitted"].startswith("auto-replied") or parsed["Auto-Submitted"].startswith("auto-generated")
    assert "gone@example.net" in text
    assert id_ in report.raw.decode(errors="replace")


def test_a_report_is_in_plain_words_first(make_server, make_peer):
    peer = refusing(make_peer)
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("plain words"), sender="alice@example.com", to="gone@example.net")
    report, = server.wait_mail("alice")
    _, text, _, _, _ = parts(report)
    first = text.strip().split("\n\n")[0]
    assert not re.search(r"\b5\d\d\b|\b5\.\d\.\d\b", first), f"the first paragraph speaks in codes: {first!r}"
    assert "550" in text and "no such user here" in text


def test_only_the_recipients_that_failed_are_reported(make_server, make_peer):
    peer = make_peer(RCPT=lambda a: "550 5.1.1 no" if "bad" in a else "250 2.1.5 ok")
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("some"), sender="alice@example.com",
                  to=["good@example.net", "bad1@example.net", "bad2@example.net"])
    # Both may stand in one report or in two.
    both = {"bad1@example.net", "bad2@example.net"}
    wait_for(lambda: {a for m in server.mail("alice") for a in by_flufl(m)[1]} == both, "both failed recipients")
    assert all("good@" not in repr(by_perl(m)) for m in server.mail("alice"))


@pytest.mark.parametrize("verb", ["MAIL", "DATA", "END"])
def test_a_refusal_at_any_stage_is_reported(make_server, make_peer, verb):
    peer = refusing(make_peer, "554 5.6.0 not this message", verb, extensions=("PIPELINING",))
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("stage"), sender="alice@example.com", to="x@example.net")
    report, = server.wait_mail("alice")
    assert by_flufl(report) == (set(), {"x@example.net"})
    assert by_perl(report) == [("x@example.net", "5.6.0")]


def test_an_unknown_mailbox_is_refused_at_rcpt_and_makes_no_report(server):
    with server.dialog() as d:
        d.hello()
        d.expect(250, "MAIL FROM:<alice@example.com>")
        assert d.expect(550, "RCPT TO:<nobody@example.com>").status == "5.1.1"
    assert not server.mail("alice")


def test_mail_that_is_late_draws_one_delay_report(make_server):
    server = make_server(extra=route(free_port()), queue='warn_after = "2s"\n lifetime = "1h"\n').start()
    server.submit(message("late"), sender="alice@example.com", to="slow@example.net")
    report, = server.wait_mail("alice")
    assert by_flufl(report)[0] == {"slow@example.net"} and not by_flufl(report)[1]
    _, text, _, (rcpt,), _ = parts(report)
    assert rcpt["Action"] == "delayed"
    assert rcpt["Status"].startswith("4.")
    assert rcpt["Will-Retry-Until"]
    assert re.search(r"no need|need not|nothing|not.{0,20}again", text, re.I), text


def test_mail_that_is_too_old_comes_back_after_one_warning(make_server):
    server = make_server(extra=route(free_port()), queue='warn_after = "1s"\n lifetime = "4s"\n').start()
    server.submit(message("expires"), sender="alice@example.com", to="dead@example.net")
    reports = server.wait_mail("alice", 2)
    actions = [parts(r)[3][0]["Action"] for r in reports]
    assert actions == ["delayed", "failed"]
    _, text, _, (rcpt,), _ = parts(reports[1])
    assert rcpt["Status"].split()[0] in ("5.4.7", "4.4.7", "5.4.1", "4.4.1")
    assert by_flufl(reports[1])[1] == {"dead@example.net"} or by_flufl(reports[1])[0] == {"dead@example.net"}
    assert by_perl(reports[1])[0][0] == "dead@example.net"
    assert not server.queued()


def test_success_is_reported_where_it_was_asked_for(server):
    server.submit(message("asked"), sender="bob@example.com", to="alice@example.com",
                  mail_options=" ENVID=my+2Bid RET=HDRS",
                  rcpt_options=" NOTIFY=SUCCESS ORCPT=rfc822;Alice@example.com")
    report, = server.wait_mail("bob")
    _, _, about, (rcpt,), returned = parts(report)
    assert rcpt["Action"] == "delivered" and rcpt["Status"].startswith("2.")
    assert rcpt["Original-Recipient"].replace(" ", "") == "rfc822;Alice@example.com"
    assert about["Original-Envelope-Id"] == "my+id"
    assert returned.get_content_type() in ("text/rfc822-headers", "message/global-headers")
    assert by_flufl(report) == (set(), set()), "a success is no failure"
    server.wait_mail("alice")


def test_relayed_to_a_server_without_dsn_is_told(make_server, make_peer):
    """RFC 3461 5.2.2: what cannot be passed on is answered with "relayed"."""
    peer = make_peer(extensions=("8BITMIME",))
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("asked"), sender="bob@example.com", to="x@example.net", rcpt_options=" NOTIFY=SUCCESS")
    report, = server.wait_mail("bob")
    assert parts(report)[3][0]["Action"] == "relayed"


def test_a_server_with_dsn_is_left_to_report_success(make_server, make_peer):
    peer = make_peer()
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(message("asked"), sender="bob@example.com", to="x@example.net", rcpt_options=" NOTIFY=SUCCESS")
    server.wait_trace(id_, "deliver")
    wait_for(lambda: not server.queued(), "an empty queue")
    assert not server.mail("bob")


@pytest.mark.parametrize("options", [" NOTIFY=NEVER", " NOTIFY=SUCCESS", " NOTIFY=DELAY"])
def test_failure_is_not_reported_where_it_was_not_asked_for(make_server, make_peer, options):
    peer = refusing(make_peer)
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(message("quiet"), sender="alice@example.com", to="gone@example.net", rcpt_options=options)
    server.wait_trace(id_, "no such user")
    wait_for(lambda: not server.queued(), "an empty queue")
    assert not server.mail("alice")


def test_a_failed_report_goes_to_postmaster_and_no_further(make_server, make_peer):
    """A double bounce: the sender refuses the report about its own mail."""
    peer = refusing(make_peer)
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("lost"), sender="forged@elsewhere.example", to="gone@example.net")
    report, = server.wait_mail("postmaster")
    assert report.field("Return-Path") == "<>"
    assert b"forged@elsewhere.example" in report.raw
    wait_for(lambda: not server.queued(), "an empty queue")
    assert len(server.mail("postmaster")) == 1


def test_a_report_reaches_who_sent_under_a_forwarded_address_or_a_list(make_server, make_peer):
    peer = refusing(make_peer)
    server = make_server(extra=route(peer.port), domain="""
  moved "info" {
    to = "alice@example.com"
    forward = yes
  }
  list "sales" {
    members = {"alice@example.com", "bob@example.com"}
  }
  list "board" {
    members = {"bob@example.com"}
    post = "members"
  }
""").start()
    server.submit(message("from info"), sender="info@example.com", to="gone@example.net")
    report, = server.wait_mail("alice")
    assert report.field("Return-Path") == "<>" and b"gone@example.net" in report.raw
    server.submit(message("from sales"), sender="sales@example.com", to="gone@example.net")
    server.wait_mail("bob"), server.wait_mail("alice", 2)
    # Anybody may write this sender: nobody makes us write to all members of a closed list.
    server.submit(message("from board"), sender="board@example.com", to="gone@example.net")
    server.wait_mail("postmaster")
    wait_for(lambda: not server.queued(), "an empty queue")
    assert (len(server.mail("alice")), len(server.mail("bob"))) == (2, 1)


def test_a_failed_message_from_nobody_makes_no_report_to_its_sender(make_server, make_peer):
    peer = refusing(make_peer)
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("from <>"), sender="", to="gone@example.net")
    wait_for(lambda: not server.queued(), "an empty queue")
    assert all(c.split("FROM:")[1].startswith("<>") for c in peer.commands if c.startswith("MAIL"))
    assert not server.mail("alice")


@pytest.mark.parametrize("ret, size, whole", [("", 100, True), ("", 200000, False), (" RET=FULL", 200000, True),
                                              (" RET=HDRS", 100, False)])
def test_how_much_of_the_message_comes_back(make_server, make_peer, ret, size, whole):
    peer = refusing(make_peer)
    server = make_server(extra=route(peer.port)).start()
    body = b"0123456789abcdef0123456789abcdef\r\n" * (size // 34 + 1)
    raw = message("how much", body)
    server.submit(raw, sender="alice@example.com", to="gone@example.net", mail_options=ret)
    report, = server.wait_mail("alice")
    assert b"Subject: how much" in report.wire
    assert (body in report.wire) == whole
    returned = parts(report)[4]
    assert returned.get_content_type() == ("message/rfc822" if whole else "text/rfc822-headers")


def test_internationalised_addresses_are_reported_by_rfc_6533(make_server, make_peer):
    peer = refusing(make_peer)
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("UTF-8"), sender="alice@example.com", to="jörg@example.net", mail_options=" SMTPUTF8")
    report, = server.wait_mail("alice")
    assert b"message/global-delivery-status" in report.raw
    assert "Final-Recipient: utf-8;".encode() in report.raw.replace(b"utf-8; ", b"utf-8;") \
        or b"final-recipient: utf-8" in report.raw.lower()


def test_hostile_words_of_a_peer_cannot_forge_a_report(make_server, make_raw_peer):
    """F2, E8: octets of a remote reply land in the report as text, never as fields or parts of their own."""
    def script(c, _number):
        c.send("220 peer\r\n")
        while True:
            verb = c.line()[:4].upper()
            if verb == "RCPT":
                c.send(b"550-5.1.1 \r\n550-5.1.1 --boundary\r\n550-5.1.1 Final-Recipient: rfc822; boss@example.com\r\n"
                       b"550-5.1.1 \r\n550 5.1.1 %n%s \"quote\r\n")
            elif verb == "QUIT":
                c.send("221 bye\r\n")
                return
            else:
                c.send("250 ok\r\n")
    peer = make_raw_peer(script)
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("hostile"), sender="alice@example.com", to="gone@example.net")
    report, = server.wait_mail("alice")
    assert by_flufl(report) == (set(), {"gone@example.net"})
    assert [a for a, _ in by_perl(report)] == ["gone@example.net"]
    assert len(parts(report)[3]) == 1
