"""SIGTERM ends in order; SIGHUP puts a new configuration into force, and a broken one leaves the old in force."""
import os
import re
import signal
import time

import pytest

from harness import Closed, free_port, message, route, wait_for


# ---- SIGTERM ---------------------------------------------------------------------------------------------------------

def test_sigterm_says_421_to_open_sessions_and_ends_with_0(server):
    idle, greeted, sending = server.dialog(), server.dialog(), server.dialog()
    greeted.hello()
    sending.hello()
    sending.envelope()
    server.signal(signal.SIGTERM)
    for d in (idle, greeted, sending):
        reply = d.reply()
        assert reply.code == 421 and reply.status == "4.3.2", reply
        assert reply.text.split(" ")[1] == "mx.example.com", "the first word after the status is our name"
        with pytest.raises(Closed):
            d.reply()
    assert server.process.wait(20) == 0
    assert re.search(r"event=stopped|\"event\": ?\"stopped\"", server.log())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_both_signals_end_it(server, number):
    server.signal(number)
    assert server.process.wait(20) == 0
    assert not server.processes()


def test_a_message_in_the_middle_of_its_data_is_not_taken(server):
    d = server.dialog()
    d.hello()
    d.envelope()
    d.expect(354, "DATA")
    d.send(b"Subject: half\r\n\r\nhalf a mess")
    server.signal(signal.SIGTERM)
    assert d.reply().code == 421
    assert server.process.wait(20) == 0
    server.start()
    assert not server.mail("alice") and not server.queued()


def test_what_waits_is_there_after_the_next_start(make_server, make_peer):
    port = free_port()
    server = make_server(extra=route(port)).start()
    ids = [server.submit(message(f"{n}"), to="x@example.net") for n in range(5)]
    assert server.stop() == 0
    peer = make_peer(port=port)
    server.start()
    server.cli("queue", "retry", "--all") # a site that failed gets a rest
    peer.wait_messages(5)
    assert len(peer.messages) == 5
    for id_ in ids:
        server.wait_trace(id_, "deliver")


def test_a_delivery_under_way_is_deferred_and_done_later(make_server, make_raw_peer, make_peer):
    """A peer that never answers does not hold up the end."""
    reached = []

    def script(c, _number):
        reached.append(c)
        c.wait_close()
    slow = make_raw_peer(script)
    server = make_server(extra=route(slow.port)).start()
    server.submit(message("slow"), to="x@example.net")
    wait_for(lambda: reached, "the connection")
    assert server.stop(timeout=40) == 0
    slow.stop()
    peer = make_peer()
    server.configure(extra=route(peer.port)).start()
    peer.wait_messages()


# ---- SIGHUP ----------------------------------------------------------------------------------------------------------

def reload(server, event):
    before = len(re.findall(event, server.log()))
    server.signal(signal.SIGHUP)
    wait_for(lambda: len(re.findall(event, server.log())) > before,
             lambda: f"{event} in the log:\n{server.log()[-2000:]}")


def test_sighup_puts_new_keys_into_force_and_keeps_sessions(server):
    d = server.dialog()
    d.hello()
    d.envelope()
    assert d.command("RCPT TO:<dave@example.com>").code == 550
    server.configure(extra='domain "new.example" {\n  mailboxes = {"dave"}\n}\n')
    reload(server, "event=reloaded")
    # The open session goes on in the middle of its transaction; a new one sees the new domain.
    assert d.data(message("begun before")).code == 250
    server.submit(to="dave@new.example")
    server.wait_mail("alice")
    server.wait_mail("dave", domain="new.example")


def test_reloaded_is_said_when_every_role_has_the_new_configuration(server):
    """Whoever connects after that meets it, whichever process serves him."""
    slow = server.role_pids("receiver")[-1]
    before = server.log().count("event=reloaded")
    server.configure(extra='domain "new.example" {\n  mailboxes = {"dave"}\n}\n')
    os.kill(slow, signal.SIGSTOP)
    try:
        server.signal(signal.SIGHUP)
        # Too short a wait would see nothing wrong, and nothing else would come of it.
        time.sleep(0.5)
        assert server.log().count("event=reloaded") == before
    finally:
        os.kill(slow, signal.SIGCONT)
    wait_for(lambda: server.log().count("event=reloaded") > before, "the new configuration")


def test_sighup_loses_no_message_under_way(server):
    with server.dialog() as d:
        d.hello()
        for n in range(60):
            d.envelope()
            if n % 10 == 0:
                server.signal(signal.SIGHUP)
            assert d.data(message(f"{n}")).code == 250
    server.wait_mail("alice", 60)


@pytest.mark.parametrize("text, words", [
    ("hostname = \n", r":\d+"), ('mailboxs = {"x"}\n', "mailbox"), ('domain "x y" {\n}\n', ":"), ("}", ":1"),
    ('hostname = "other.example.com"\n', "restart|hostname|listen|data_dir")])
def test_a_broken_configuration_leaves_the_old_one_in_force(server, text, words):
    good = server.conf.read_text()
    d = server.dialog()
    d.hello()
    server.conf.write_text(text + "\n" + good if "hostname = \"" not in text else good.replace("mx.example.com",
                                                                                            "other.example.com"))
    reload(server, "event=reload-failed")
    line = [l for l in server.log().splitlines() if "reload-failed" in l][-1]
    assert re.search(words, line), line
    d.envelope()
    assert d.data(message("still")).code == 250
    server.submit(message("new session"))
    server.wait_mail("alice", 2)
    server.conf.write_text(good)
    reload(server, "event=reloaded")
    server.submit(message("after"))
    server.wait_mail("alice", 3)


def test_a_missing_configuration_leaves_the_old_one_in_force(server):
    server.conf.rename(server.conf.with_suffix(".away"))
    reload(server, "event=reload-failed")
    server.submit()
    server.wait_mail()
    server.conf.with_suffix(".away").rename(server.conf)
