"""What the situations of the conformance matrix do besides their replies: who gets the mail, who is told what, and what
others notice of it."""
import concurrent.futures
import re
import time

import pytest

from harness import message, route, wait_for
from test_conformance import House, NameServer, STRANGER

DOMAIN = """
domain "example.com" {
  mailboxes = {"alice", "bob", "postmaster"}
  suspended = {"paused"}
  disabled = {"former"}
  moved "follow" {
    to = "Follow@example.net"
    disclose = yes
    forward = yes
  }
  moved "quiet" {
    to = "bob@example.com"
    forward = yes
  }
  moved "gone" {
    to = "gone@example.net"
    disclose = yes
  }
  moved "hidden" {
    to = "hidden@example.net"
  }
  list "staff" {
    members = {"alice@example.com", "more@example.com"}
    disclose = yes
  }
  list "more" {
    members = {"quiet@example.com", "follow@example.com", "alice@example.com"}
  }
  list "locals" {
    members = {"alice@example.com", "bob@example.com"}
  }
  list "board" {
    members = {"alice@example.com"}
    post = members
    senders = {"chair@example.org"}
  }
}
domain "example.org" {
  mailboxes = {"alice"}
}
"""


@pytest.fixture
def make_house(tmp_path, make_peer):
    """Servers with these domains, and a next hop that takes everything unless a test brings its own."""
    made = []

    def make(**kw):
        rest = kw.pop("rest", None) or route(make_peer().port)
        made.append(House(tmp_path / f"house{len(made)}", **{"domains": DOMAIN, "rest": rest, **kw}))
        return made[-1].start()
    yield make
    for server in made:
        server.finish()


@pytest.fixture
def names():
    made = NameServer()
    yield made
    made.stop()


# ---- forwarding and lists --------------------------------------------------------------------------------------------

def test_mail_for_who_moved_goes_to_the_new_address_and_tells_whom_it_was_for(make_house, make_peer):
    peer = make_peer()
    server = make_house(rest=route(peer.port))
    with server.greeted(source=STRANGER) as d:
        d.expect(250, "MAIL FROM:<sender@example.org>")
        assert d.expect(251, "RCPT TO:<follow+x@example.com> NOTIFY=NEVER").text.endswith("<Follow@example.net>")
        assert "bob" not in d.expect(250, "RCPT TO:<quiet@example.com>").text
        assert d.data(message("on its way")).code == 250
    (_, rcpts, body), = peer.wait_messages()
    assert rcpts == ["TO:<Follow@example.net> NOTIFY=NEVER ORCPT=rfc822;follow+2Bx@example.com"]
    assert b"Subject: on its way\r\n" in body
    bob, = server.wait_mail("bob")
    assert b"Subject: on its way\r\n" in bob.wire


def test_an_original_recipient_that_the_client_gave_is_kept(make_house, make_peer):
    peer = make_peer()
    server = make_house(rest=route(peer.port))
    with server.mailed() as d:
        d.expect(251, "RCPT TO:<follow@example.com> ORCPT=rfc822;first@example.org")
        assert d.data(message("forwarded before")).code == 250
    (_, rcpts, _), = peer.wait_messages()
    assert rcpts[0].endswith("ORCPT=rfc822;first@example.org")


def test_every_member_of_a_list_gets_one_copy_whatever_names_him(make_house, make_peer):
    peer = make_peer()
    server = make_house(rest=route(peer.port))
    id_ = server.submit(message("to all"), to=["staff@example.com", "alice@example.com", "more@example.com"])
    (_, rcpts, _), = peer.wait_messages()
    assert len(rcpts) == 1 and rcpts[0].startswith("TO:<Follow@example.net>")
    server.wait_mail("bob")
    server.wait_mail("alice")
    wait_for(lambda: not server.queued(), "an empty queue")
    assert len(server.mail("alice")) == len(server.mail("bob")) == len(peer.messages) == 1
    assert "bob@example.com" in server.trace(id_)


@pytest.mark.parametrize("to, actions", [("locals@example.com", [b"delivered"]), ("more@example.com", [b"failed"])])
def test_a_list_reports_success_once_and_each_failure(make_house, make_peer, to, actions):
    """RFC 3461 5.2.7.3 b: one of the members stands for the success of the list."""
    peer = make_peer(RCPT="550 5.1.1 no such user")
    server = make_house(rest=route(peer.port))
    server.submit(sender="postmaster@example.com", to=to, rcpt_options=" NOTIFY=SUCCESS,FAILURE")
    wait_for(lambda: not server.queued(), "an empty queue")
    report, = server.wait_mail("postmaster")
    assert re.findall(rb"(?m)^Action: (\w+)", report.wire) == actions
    assert f"Original-Recipient: rfc822;{to}".encode() in report.wire.replace(b"; ", b";")


@pytest.mark.parametrize("sender, code", [
    ("alice@example.com", 250), ("Chair@Example.ORG", 250), ("bob@example.com", 550), ("", 550),
    ("other@example.org", 550)])
def test_a_closed_list_takes_mail_from_its_members_and_named_senders(make_house, sender, code):
    server = make_house()
    with server.mailed(sender=sender) as d:
        assert d.command("RCPT TO:<board@example.com>").code == code


def test_a_circle_of_lists_is_told_by_the_check_and_never_served(tmp_path):
    server = House(tmp_path / "h", domains="""
domain "example.com" {
  list "a" { members = {"b@example.com"} }
  list "b" { members = {"a@example.com"} }
}""")
    done = server.cli_run("check")
    assert done.returncode != 0
    assert "comes back to itself" in done.stdout + done.stderr


# ---- VRFY, EXPN, HELP STATUS -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("argument, code, words", [
    ("alice@example.com", 250, "<alice@example.com>"), ("<alice@example.com>", 250, "<alice@example.com>"),
    ("bob", 250, "<bob@example.com>"), ("\"bob\"@example.com", 250, "<\"bob\"@example.com>"),
    ("alice", 553, "<alice@example.com>\n5.1.4 <alice@example.org>"),
    ("paused@example.com", 250, "<paused@example.com>"),
    ("former@example.com", 550, "5.2.1"), ("nobody@example.com", 550, "5.1.1"), ("follow@example.com", 251,
                                                                                 "<Follow@example.net>"),
    ("quiet@example.com", 252, "2.5.0"), ("gone@example.com", 551, "<gone@example.net>"),
    ("hidden@example.com", 550, "5.1.1"), ("staff@example.com", 252, "2.5.0"), ("user@example.net", 252, "2.5.0"),
    ("postmaster", 250, "<postmaster@example.com>"), ("<postmaster>", 250, "<postmaster@"),
    ("alice@", 501, "5.1.3"), ("<alice", 501, "5.1.3"), ("<alice@example.com>x", 501, "5.1.3"), ("a,b", 501, "5.1.3"),
    ("alice@example.com SMTPUTF8", 250, "<alice@example.com>"), ("alice FOO", 504, "5.5.4"),
    ("Alice Smith", 504, "5.5.4")])
def test_vrfy(make_house, argument, code, words):
    server = make_house(top="vrfy = relay")
    with server.greeted() as d:
        reply = d.command(f"VRFY {argument}")
        assert reply.code == code and words in reply.text, reply
        assert "hidden@example.net" not in reply.text and "bob@" not in reply.text.replace("bob@example.com", "")


def test_what_is_not_disclosed_is_the_same_for_all(make_house):
    server = make_house(top="vrfy = relay\nexpn = relay\nstatus = relay")
    with server.greeted(source=STRANGER) as d:
        for verb, lines in (("VRFY", ("alice@example.com", "nobody@example.com", "gone@example.com", "x@example.net")),
                            ("EXPN", ("staff@example.com", "nobody@example.com", "alice@example.com"))):
            assert len({tuple(d.expect(252, f"{verb} {line}").lines) for line in lines}) == 1
        assert d.expect(504, "HELP STATUS").text == d.expect(504, "HELP status").text


def test_expn_shows_the_members_as_they_are_configured(make_house):
    server = make_house(top="expn = relay")
    with server.greeted() as d:
        assert d.command("EXPN staff").lines == [
            "250-2.1.5 List staff@example.com", "250-2.1.5 <alice@example.com>", "250 2.1.5 <more@example.com>"]
        d.expect(252, "EXPN more@example.com")
        d.expect(550, "EXPN alice@example.com")
        d.expect(550, "EXPN nobody@example.com")


def test_help_status_tells_what_is_so(make_house):
    server = make_house(top="status = relay\nreceivers = 1")
    server.submit(message("one"), to="bob@example.com")
    with server.greeted() as d, server.greeted() as _:
        reply = d.expect(211, "HELP STATUS")
        facts = dict(line[10:].split(": ") for line in reply.lines if ": " in line)
        assert facts["Messages accepted"] == "1"
        assert facts["Sessions"] == "2 of 1000"
        assert facts["Queue"] == "takes mail"
        assert re.search(r"mx\.example\.com Postrider \d+\.\d+\.\d+$", reply.lines[0]), reply


# ---- listeners -------------------------------------------------------------------------------------------------------

def test_a_patient_client_is_greeted_after_the_delay_and_relay_clients_at_once(make_house):
    server = make_house(listeners={"plain": 'greeting_delay = "700ms"'})
    begin = time.monotonic()
    with server.call(source=STRANGER) as d:
        assert d.greeting.code == 220
        assert time.monotonic() - begin >= 0.7
        d.hello()
    begin = time.monotonic()
    with server.call() as d:
        assert d.greeting.code == 220
        assert time.monotonic() - begin < 0.7


def test_a_stop_does_not_wait_for_clients_that_wait_for_their_greeting(make_house):
    server = make_house(listeners={"plain": 'greeting_delay = "1m"'})
    with server.call(source=STRANGER, greet=False) as d:
        begin = time.monotonic()
        server.process.terminate()
        assert d.reply().code == 421
        server.process.wait(30)
        assert time.monotonic() - begin < 20


def test_limits_of_one_network_are_nobody_elses_and_none_for_relay_clients(make_house):
    server = make_house(listeners={"plain": "messages_per_minute = 1\n  recipients_per_minute = 1\n"
                                            "  connections_per_minute = 2"}, top="receivers = 1")
    for source in ("127.0.0.7", "127.0.0.8"):
        with server.mailed(source=source) as d:
            d.expect(250, "RCPT TO:<alice@example.com>")
            d.expect(452, "RCPT TO:<bob@example.com>")
            # What was taken is served all the same.
            assert d.data(message("within")).code == 250
            d.expect(450, "MAIL FROM:<sender@example.org>")
        with server.call(source=source) as d:
            assert d.greeting.code == 220
        with server.call(source=source) as d:
            assert d.greeting.code == 421
    for _ in range(5):
        server.submit(message("relay"), to=["alice@example.com", "bob@example.com"])


def test_a_suspended_parameter_is_offered_and_the_message_goes_without_it(make_house):
    server = make_house(listeners={"plain": 'suspend_parameters = {"SMTPUTF8", "NOTIFY"}'})
    with server.call() as d:
        assert {"SMTPUTF8", "DSN"} <= set(d.extensions())
        d.expect(455, "MAIL FROM:<sender@example.org> SMTPUTF8")
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(455, "RCPT TO:<alice@example.com> NOTIFY=NEVER")
        d.expect(250, "RCPT TO:<alice@example.com>")
        assert d.data(message("plain")).code == 250


def test_rules_for_senders_and_names_leave_the_others_alone(make_house):
    server = make_house(listeners={"plain": 'refuse_senders = {".spam.example"}\n  refuse_own_name = yes\n'
                                            "  bounce_single_recipient = yes\n  require_from = yes"})
    with server.greeted(source=STRANGER) as d:
        d.expect(550, "EHLO [127.0.0.1]")
        d.expect(550, "EHLO example.com")
        d.expect(550, "MAIL FROM:<x@deep.spam.example>")
        d.expect(250, "MAIL FROM:<x@spam.example>")
        d.expect(250, "RCPT TO:<alice@example.com>")
        d.expect(250, "RCPT TO:<bob@example.com>")
        assert d.data(message("whole")).code == 250
        d.expect(250, "MAIL FROM:<>")
        d.expect(250, "RCPT TO:<alice@example.com>")
        d.expect(550, "RCPT TO:<bob@example.com>")
        assert d.data(message("bounce")).code == 250
        d.expect(250, "MAIL FROM:<x@example.org>")
        d.expect(250, "RCPT TO:<alice@example.com>")
        assert d.data(b"From: x@example.org\r\nSubject: no date\r\n\r\n").code == 550
    with server.call() as d:
        d.hello("mx.example.com")
    assert len(server.wait_mail("alice", 2)) == 2


# ---- the DNS ---------------------------------------------------------------------------------------------------------

def dns_keys(names, mode="yes", timeout="1s"):
    return f'resolver = "127.0.0.1@{names.port}"\nresolver_timeout = "{timeout}"\ncheck_null_mx = {mode}'


def test_null_mx_is_refused_and_a_silent_dns_costs_no_mail(make_house, names):
    server = make_house(top=dns_keys(names))
    with server.greeted() as d:
        assert d.expect(550, "MAIL FROM:<x@null.example>").status == "5.7.27"
        d.expect(250, "MAIL FROM:<x@silent.example>")
        assert d.expect(556, "RCPT TO:<x@Null.Example>").status == "5.1.10"
        d.expect(250, "RCPT TO:<x@silent.example>")
        d.expect(250, "RCPT TO:<x@good.example>")
        d.expect(250, "RCPT TO:<alice@example.com>")
        assert d.data(message("after questions")).code == 250
    # Our own domains are ours to know, and strangers cannot make us ask about recipients.
    assert not [name for name in names.asked if name.startswith("example.com")]
    with server.mailed(source=STRANGER) as d:
        d.expect(550, "RCPT TO:<x@other.example>")
    assert "other.example." not in names.asked


def test_pipelined_commands_wait_for_the_dns_in_their_order(make_house, names):
    server = make_house(top=dns_keys(names))
    with server.greeted() as d:
        d.send("MAIL FROM:<x@good.example>\r\nRCPT TO:<x@null.example>\r\nRCPT TO:<x@silent.example>\r\n"
               "RCPT TO:<alice@example.com>\r\nRSET\r\nNOOP\r\n")
        assert [d.reply().code for _ in range(6)] == [250, 556, 250, 250, 250, 250]


def test_clients_that_leave_while_the_dns_is_asked_leave_nothing_behind(make_house, names):
    server = make_house(top=dns_keys(names, "strict"))

    def leave(_):
        with server.greeted() as d:
            d.send("MAIL FROM:<x@silent.example>\r\n")
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(leave, range(50)))
    with server.greeted() as d:
        assert d.expect(451, "MAIL FROM:<x@silent.example>").status == "4.4.3"
        d.expect(250, "MAIL FROM:<x@good.example>")


def test_a_reload_answers_who_waits_for_the_dns(make_house, names):
    server = make_house(top=dns_keys(names, "strict", "30s"))
    with server.greeted() as d:
        d.send("MAIL FROM:<x@silent.example>\r\n")
        wait_for(lambda: "silent.example." in names.asked, "the question")
        server.signal(1)
        assert d.reply().code == 451
        d.expect(250, "MAIL FROM:<x@good.example>")


def test_a_stop_while_the_dns_is_asked_waits_for_no_answer(make_house, names):
    server = make_house(top=dns_keys(names, "strict", "1m"))
    with server.greeted() as d:
        d.send("MAIL FROM:<x@silent.example>\r\n")
        wait_for(lambda: "silent.example." in names.asked, "the question")
        server.process.terminate()
        assert d.reply().code in (421, 451)
        assert server.process.wait(30) == 0
