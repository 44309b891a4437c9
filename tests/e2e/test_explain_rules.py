"""An operator's own rules about replies (section rule): in what the server does, in reports and in explanations."""
import json
import subprocess

import pytest

from harness import PATIENCE, POSTRIDER, route, wait_for

ELSEWHERE = "dest@example.net"
LATER = """\
rule "quux comes back" {
  codes = {"5xx"}
  text = {"the quux is ... out"}
  class = system
  verdict = temporary
  note = "their quux is repaired every morning"
}
"""
NEVER = """\
rule "zork is for good" {
  text = {"zork"}
  class = inactive-mailbox
  verdict = permanent
}
"""
WORDS = """\
rule "words alone" {
  statuses = {"5.9.x", "-"}
  text = {"_plugh_"}
  class = virus
}
"""


def explain(*words, stdin="", env=None):
    return subprocess.run([str(POSTRIDER), "explain", *map(str, words)], input=stdin, capture_output=True, text=True,
                          timeout=PATIENCE, check=False, env=env)


@pytest.fixture
def rules(tmp_path):
    """A configuration that holds them."""
    path = tmp_path / "postrider.conf"
    path.write_text(LATER + NEVER + WORDS)
    path.chmod(0o644)
    return path


def test_the_server_tries_again_where_a_rule_says_so(make_server, make_peer):
    answers = iter(["550 5.1.1 The quux is still out"])
    peer = make_peer(RCPT=lambda _: next(answers, "250 2.1.5 ok"))
    server = make_server(extra=route(peer.port) + LATER).start()
    id_ = server.submit(to=ELSEWHERE)
    server.wait_trace(id_, "delivered")
    story = server.trace(id_)
    assert "550 4.1.1 The quux is still out" in story
    assert "the receiving system has a fault" in story # the rule's class, not bad-mailbox
    assert server.mail_count("alice") == 0


def test_the_server_gives_up_where_a_rule_says_so(make_server, make_peer):
    peer = make_peer(RCPT="450 4.2.0 zork")
    server = make_server(extra=route(peer.port) + NEVER).start()
    server.submit(to=ELSEWHERE, sender="alice@example.com")
    report = server.wait_mail("alice")[0].content.decode()
    assert "Action: failed" in report
    assert "Status: 5.2.0" in report
    assert "450" in report
    assert "The mailbox is switched off" in report
    wait_for(lambda: not server.queued(), "an empty queue")


def test_a_reload_puts_rules_into_force(make_server, make_peer):
    import signal
    peer = make_peer(RCPT="450 4.2.0 zork")
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE, sender="alice@example.com")
    server.wait_trace(id_, "450")
    assert len(server.queued()) == 1
    server.configure(extra=route(peer.port) + NEVER)
    server.signal(signal.SIGHUP)
    server.wait_mail("alice")
    wait_for(lambda: not server.queued(), "an empty queue")


def test_explain_asks_them_first_and_says_which_decided(rules):
    found = json.loads(explain("--json", "-c", rules, "550 5.1.1 The quux is not out").stdout)
    assert (found["class"], found["verdict"], found["decided_by"]) == ("system", "temporary", "operator")
    assert found["rule"] == {"name": "quux comes back", "note": "their quux is repaired every morning"}
    assert found["disagreement"]
    assert found["codes_alone"] == {"class": "bad-mailbox", "verdict": "permanent"}
    words = explain("-c", rules, "550 5.1.1 The quux is not out").stdout
    assert "a rule of the configuration: quux comes back, their quux is repaired every morning" in words
    assert "the rule   system, temporary" in words and "the codes  bad-mailbox, permanent" in words


@pytest.mark.parametrize("text, klass", [
    ("550 5.9.9 plugh", "virus"), ("550 plugh", "virus"), ("plugh", "virus"), ("550 5.1.1 plugh", "bad-mailbox"),
    ("550 5.9.9 plughs", "unknown"), ("450 4.2.0 quux is out", "unknown")])
def test_all_conditions_of_a_rule_count(rules, text, klass):
    assert json.loads(explain("--json", "-c", rules, text).stdout)["class"] == klass


def test_they_count_for_bounces_too(rules):
    bounce = ("From: MAILER-DAEMON@example.net\n"
              "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n"
              "--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.net\n\n"
              "Final-Recipient: rfc822; bob@example.net\nAction: failed\nStatus: 5.9.0\n"
              "Diagnostic-Code: smtp; 550 5.9.0 plugh\n\n--b--\n")
    assert json.loads(explain("--json", "-c", rules, stdin=bounce).stdout)["recipients"][0]["class"] == "virus"
    assert json.loads(explain("--json", stdin=bounce).stdout)["recipients"][0]["class"] == "unknown"


def test_errors_name_file_and_line(rules):
    rules.write_text(LATER + 'rule "x" {\n  class = policy\n  codes = {"55"}\n}\n')
    done = explain("-c", rules, "550")
    assert done.returncode == 78
    assert f"{rules}:10: codes: \"55\"" in done.stderr
    check = subprocess.run([str(POSTRIDER), "check", str(rules)], capture_output=True, text=True, timeout=PATIENCE,
                           check=False)
    assert check.returncode == 78
    assert f"{rules}:10: codes: \"55\"" in check.stdout + check.stderr


def test_a_wrong_configuration_that_nobody_named_does_not_stop_explain(rules):
    import os
    rules.write_text("nonsense")
    done = explain("550 5.1.1 plugh", env=dict(os.environ, POSTRIDER_CONF=str(rules)))
    assert done.returncode == 0
    assert "bad-mailbox" in done.stdout
    assert "the rules of the configuration are left out" in done.stderr


def test_the_manual_knows_the_section():
    manual = (POSTRIDER.parents[1] / "conf/postrider.conf.5").read_text("utf-8")
    for word in ("SECTION rule", "codes", "statuses", "verdict", "greylisting"):
        assert word in manual
