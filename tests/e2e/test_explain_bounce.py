"""`postrider explain` of whole messages: bounces, complaints, automatic replies and letters, from files and pipes."""
import json
import subprocess

import pytest

from harness import PATIENCE, POSTRIDER

REPORT = """\
From: MAILER-DAEMON@mx.example.net
To: alice@example.com
Subject: Undelivered mail
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; bob@example.net
Action: failed
Status: 5.2.2
Remote-MTA: dns; mx.example.org
Diagnostic-Code: smtp; 552 5.2.2 Mailbox \x1b[31mfull

Final-Recipient: rfc822; carol@example.net
Action: delayed
Status: 4.4.1

--b
Content-Type: text/rfc822-headers

Message-ID: <1@example.com>

--b--
"""
COMPLAINT = """\
From: fbl@example.net
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
Original-Rcpt-To: <bob@example.net>

--b--
"""
VACATION = "From: bob@example.net\nAuto-Submitted: auto-replied\nSubject: Away\n\n550 5.1.1 is not my problem.\n"
LETTER = "From: bob@example.net\nSubject: Lunch\n\n550 5.1.1 is what I got.\n"


def explain(*words, stdin=None):
    return subprocess.run([str(POSTRIDER), "explain", *words], input=stdin, capture_output=True, text=True,
                          timeout=PATIENCE, check=False)


def test_a_bounce_in_a_file(tmp_path):
    path = tmp_path / "bounce.eml"
    path.write_text(REPORT)
    done = explain("--json", "--details", str(path))
    assert done.returncode == 0, done
    found = json.loads(done.stdout)
    assert found["kind"] == "bounce"
    assert found["message_id"] == "<1@example.com>"
    bob, carol = found["recipients"]
    assert bob["address"] == "bob@example.net"
    assert bob["diagnostic"] == "552 5.2.2 Mailbox ?[31mfull"
    assert {k: bob[k] for k in ("action", "reply", "remote", "class", "verdict")} == {
        "action": "failed", "reply": 552, "remote": "mx.example.org", "class": "full-mailbox",
        "verdict": "permanent"}
    assert {k: carol[k] for k in ("action", "reply", "diagnostic", "remote", "class", "verdict")} == {
        "action": "delayed", "reply": None, "diagnostic": None, "remote": None, "class": "network",
        "verdict": "temporary"}
    exact = json.loads(explain("--json", str(path)).stdout)
    assert set(exact) == {"kind", "recipients"}
    assert set(exact["recipients"][0]) == {"address", "action", "status", "reply", "diagnostic", "remote", "class",
                                           "verdict"}


def test_a_bounce_for_people_to_read():
    done = explain(stdin=REPORT)
    assert done.returncode == 0, done
    for word in ("bounce", "bob@example.net", "full-mailbox", "permanent", "carol@example.net", "temporary"):
        assert word in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("message, kind, recipients", [
    (COMPLAINT, "complaint", ["bob@example.net"]), (VACATION, "auto-reply", []), (LETTER, "other", [])])
def test_what_is_no_bounce(message, kind, recipients):
    found = json.loads(explain("--json", stdin=message).stdout)
    assert found["kind"] == kind
    assert [r["address"] for r in found["recipients"]] == recipients


@pytest.mark.parametrize("text", [
    "550 5.1.1 no such user",
    "Diagnostic-Code: smtp; 550 5.1.1 no such user",
    "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user",
    "Nov 22 10:00:00 mx postfix/smtp[1]: 4F: status=bounced (host a said: 550 5.1.1 no such user)"])
def test_texts_that_only_look_like_fields_are_explained_as_texts(text):
    for done in (explain("--json", stdin=text + "\n"), explain("--json", text)):
        found = json.loads(done.stdout)
        assert found["class"] == "bad-mailbox", done
        assert "kind" not in found
