"""Dovecot takes mail from us by LMTP, over TCP and over a Unix socket; people read it by IMAP and by POP3."""
import imaplib
import poplib
import re

import pytest

from harness import message, wait_for


def domain(lmtp, mailboxes='"*"'):
    return f'domain "lists.example" {{\n  deliver = "lmtp"\n  lmtp = "{lmtp}"\n  mailboxes = {{{mailboxes}}}\n}}\n'


def imap(dovecot, user):
    """Every message of a user, by IMAP."""
    with imaplib.IMAP4("127.0.0.1", dovecot.imap) as box:
        box.login(user, "secret")
        if box.select()[0] != "OK":
            return [] # no mailbox yet
        _, (numbers,) = box.search(None, "ALL")
        return [box.fetch(n, "(BODY.PEEK[])")[1][0][1] for n in numbers.split()]


def pop3(dovecot, user):
    """Every message of a user, by POP3."""
    box = poplib.POP3("127.0.0.1", dovecot.pop3)
    box.user(user)
    box.pass_("secret")
    count, _ = box.stat()
    found = [b"\r\n".join(box.retr(n)[1]) + b"\r\n" for n in range(1, count + 1)]
    box.quit()
    return found


@pytest.mark.parametrize("way", ["inet", "unix"])
def test_dovecot_takes_it_and_imap_and_pop3_give_it_back(make_server, dovecot, way):
    where = f"inet:127.0.0.1:{dovecot.lmtp}" if way == "inet" else f"unix:{dovecot.socket}"
    server = make_server(extra=domain(where)).start()
    raw = message("by LMTP", "Grüße\r\n.\r\n..dots\r\n".encode(), to="dora@lists.example")
    id_ = server.submit(raw, to="dora@lists.example", mail_options=" BODY=8BITMIME")
    user = "dora@lists.example"
    wait_for(lambda: imap(dovecot, user), lambda: f"the message by IMAP:\n{dovecot.log()}\n{server.log()}")
    by_imap, = imap(dovecot, user)
    by_pop3, = pop3(dovecot, user)
    assert by_imap.endswith(raw)
    assert by_pop3.endswith(raw)
    assert id_.encode() in by_imap
    assert by_imap.startswith(b"Return-Path: <sender@example.org>")
    assert re.search("Saved|250", server.wait_trace(id_, "deliver"))


def test_many_recipients_and_messages(make_server, dovecot):
    server = make_server(extra=domain(f"inet:127.0.0.1:{dovecot.lmtp}")).start()
    users = [f"user{n}@lists.example" for n in range(10)]
    for n in range(20):
        server.submit(message(f"number {n}"), to=users)
    for user in users:
        wait_for(lambda: len(imap(dovecot, user)) >= 20, f"20 messages for {user}")
        assert len(imap(dovecot, user)) == 20
    wait_for(lambda: not server.queued(), "an empty queue")


def test_each_recipient_has_its_own_reply_after_the_data(make_server, make_peer):
    """RFC 2033 4.2: one reply for each recipient; each has its own outcome."""
    tries = {}

    def end(rcpt):
        name = re.search(r"<(\w+)@", rcpt).group(1)
        tries[name] = tries.get(name, 0) + 1
        if name == "full" and tries[name] == 1:
            return "452 4.2.2 mailbox is full"
        return "550 5.2.0 no" if name == "bad" else "250 2.0.0 saved"
    peer = make_peer(lmtp=True, END=end)
    server = make_server(extra=domain(f"inet:127.0.0.1:{peer.port}")).start()
    id_ = server.submit(message("per recipient"), sender="alice@example.com",
                        to=["good@lists.example", "full@lists.example", "bad@lists.example"])
    peer.wait_messages(2)
    report, = server.wait_mail("alice")
    assert b"bad@lists.example" in report.raw and b"full@lists.example" not in report.raw.split(b"message/rfc822")[0]
    assert tries == {"good": 1, "full": 2, "bad": 1}
    assert any(c.startswith("LHLO") for c in peer.commands)
    assert not any(c.startswith("EHLO") for c in peer.commands)
    story = server.trace(id_)
    assert "mailbox is full" in story


def test_it_waits_while_dovecot_is_down(make_server, make_peer):
    from harness import free_port
    port = free_port()
    server = make_server(extra=domain(f"inet:127.0.0.1:{port}")).start()
    id_ = server.submit(message("waits"), to="u@lists.example")
    server.wait_trace(id_, "refused")
    peer = make_peer(port=port, lmtp=True)
    peer.wait_messages(timeout=90) # a site that failed gets a rest


def test_a_mailbox_that_is_not_listed_is_refused_at_rcpt(make_server, make_peer):
    peer = make_peer(lmtp=True)
    server = make_server(extra=domain(f"inet:127.0.0.1:{peer.port}", '"known"')).start()
    with server.dialog() as d:
        d.hello()
        d.expect(250, "MAIL FROM:<a@example.org>")
        assert d.expect(550, "RCPT TO:<unknown@lists.example>").status == "5.1.1"
        d.expect(250, "RCPT TO:<known@lists.example>")
