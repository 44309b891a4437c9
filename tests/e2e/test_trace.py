"""`postrider trace ID` tells the whole story of a message, from who gave it to the last outcome."""
import re

import pytest

from harness import free_port, route, wait_for


def in_order(text, *patterns):
    """Each pattern is found behind the one before it."""
    at = 0
    for pattern in patterns:
        found = re.compile(pattern, re.I | re.S).search(text, at)
        assert found, f"no /{pattern}/ behind octet {at} of:\n{text}"
        at = found.start() + 1


def test_delivered_into_a_mailbox(server):
    id_ = server.submit()
    story = server.wait_trace(id_, "delivered")
    in_order(story, id_, "sender@example\\.org", "127\\.0\\.0\\.1", "alice@example\\.com", "delivered")
    mail, = server.wait_mail()
    assert f"id {id_}" in mail.field("Received"), "the id of the 250 stands in the Received field"
    assert mail.id == id_
    server.wait_log(id_)
    assert mail.path.name in story, "the trace names the file"


def test_many_recipients_each_with_its_end(make_server, make_peer):
    peer = make_peer(RCPT=lambda a: "550 5.1.1 no such user" if "bad" in a else "250 2.1.5 ok")
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(sender="bob@example.com", to=["alice@example.com", "good@example.net", "bad@example.net"])
    wait_for(lambda: not server.queued(), "an empty queue")
    story = server.trace(id_)
    for address in ("alice@example.com", "good@example.net", "bad@example.net"):
        assert address in story
    assert "no such user" in story
    report, = server.wait_mail("bob")
    assert report.id in story, "the trace names the report"
    # And the report's own trace leads back.
    assert id_ in server.trace(report.id)


def test_what_the_remote_said_and_what_it_means(make_server, make_peer):
    peer = make_peer(RCPT="452 4.2.2 mailbox is full")
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to="x@example.net")
    story = server.wait_trace(id_, "mailbox is full")
    assert "4.2.2" in story and "452" in story
    assert "peer.example.net" in story or "127.0.0.1" in story
    # In words that do not come from the peer: that it is tried again.
    assert re.search(r"again|retry|retried|next attempt", story, re.I)


def test_deferred_then_delivered(make_server, make_peer):
    port = free_port()
    server = make_server(extra=route(port)).start()
    id_ = server.submit(to="x@example.net")
    server.wait_trace(id_, "connection refused")
    peer = make_peer(port=port)
    peer.wait_messages(timeout=90) # a site that failed gets a rest
    story = server.wait_trace(id_, "delivered")
    in_order(story, "connection refused", "delivered")


def test_expired(make_server):
    server = make_server(extra=route(free_port()), queue='warn_after = "never"\n lifetime = "2s"\n').start()
    id_ = server.submit(sender="alice@example.com", to="x@example.net")
    report, = server.wait_mail("alice")
    story = server.trace(id_)
    in_order(story, "connection refused", report.id)


def test_operators_stand_in_the_story(make_server):
    server = make_server(extra=route(free_port())).start()
    id_ = server.submit(to="x@example.net")

    def done(verb, words):
        server.cli("queue", verb, id_)
        return re.search(words, server.trace(id_), re.I)
    wait_for(lambda: done("hold", "held"), "the hold")
    server.cli("queue", "release", id_)
    assert re.search("released", server.trace(id_), re.I)
    wait_for(lambda: done("remove", "removed"), "the removal")


def test_the_history_outlives_a_restart(server):
    id_ = server.submit()
    before = server.wait_trace(id_, "delivered")
    assert server.stop() == 0
    server.start()
    assert re.sub(r"\d+ ?(s|seconds?|ms|m|minutes?)\b", "", server.trace(id_)) == \
        re.sub(r"\d+ ?(s|seconds?|ms|m|minutes?)\b", "", before)


def test_as_json(server):
    id_ = server.submit()
    server.wait_trace(id_, "delivered")
    story = server.json("trace", id_)
    flat = repr(story)
    for word in (id_, "sender@example.org", "alice@example.com", "delivered"):
        assert word in flat


def test_ids_are_taken_as_people_type_them(server):
    id_ = server.submit()
    server.wait_trace(id_, "delivered")
    assert id_ in server.trace(id_.lower())


@pytest.mark.parametrize("id_", ["000000000001", "ZZZZZZZZZZZZ"])
def test_an_unknown_id_is_said_to_be_unknown(server, id_):
    done = server.cli_run("trace", id_)
    assert done.returncode in (1, 66, 65, 68)
    assert re.search(r"no (such )?message|unknown|not known", done.stderr, re.I)


@pytest.mark.parametrize("id_", ["x", "", "not-an-id-at-all", "../../etc", "é" * 12])
def test_a_malformed_id_is_a_usage_error(server, id_):
    done = server.cli_run("trace", id_)
    assert done.returncode in (64, 65)
    assert done.stderr


def test_hostile_text_cannot_write_to_the_terminal(make_server, make_raw_peer):
    def script(c, _number):
        c.send("220 peer\r\n")
        while True:
            verb = c.line()[:4].upper()
            if verb == "RCPT":
                c.send(b"450 4.0.0 \x1b[2J\x07 \x9b31m \xe2\x80\xae rtl\r\n")
            elif verb == "QUIT":
                return
            else:
                c.send("250 ok\r\n")
    peer = make_raw_peer(script)
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to="x@example.net")
    server.wait_trace(id_, "rtl|4\\.0\\.0|4\\.5")
    for text in (server.trace(id_), server.cli("queue", "list"), server.log()):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\x9b\u202e]", text), repr(text)
