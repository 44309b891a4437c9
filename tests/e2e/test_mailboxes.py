"""Mailboxes that cannot take a message for the time being, and messages that cannot be had any more."""
import re

import pytest

from harness import free_port, message, route, wait_for

LARGE = message("large", b"x" * 70 + b"\r\n" * 4000)


def wait_size_file(server, limit, octets, messages, mailbox="bob"):
    """Waits until maildirsize has this limit and these sums."""
    def sums():
        path = server.maildir(mailbox) / "maildirsize"
        first, *lines = path.read_text().splitlines() if path.exists() else [""]
        return first, *(sum(int(line.split()[n]) for line in lines) for n in (0, 1))
    wait_for(lambda: sums() == (limit, octets, messages), lambda: f"{octets} octets, {messages} messages: {sums()}")


def test_a_full_mailbox_takes_mail_again_when_its_owner_made_room(make_server):
    """An IMAP server that keeps the same file says what it deleted."""
    server = make_server(domain='  quota_octets = "1M"\n  limit "bob" {\n    quota_messages = 2\n  }').start()
    for subject in "one", "two":
        server.submit(message(subject, to="bob@example.com"), to="bob@example.com")
    wait_for(lambda: server.mail_count("bob") == 2, "two messages")
    server.submit(message("three", to="bob@example.com"), to="bob@example.com")
    id_ = server.submit(message("for all", to="bob@example.com"), to=["bob@example.com", "alice@example.com"])
    # The others of a message do not wait for the one that is full.
    server.wait_mail("alice")
    story = server.wait_trace(id_, "the mailbox is full")
    assert "4.2.2" in story
    first, second = server.mail("bob")
    size = first.path.stat().st_size
    assert first.path.name.endswith(f",S={size}")
    wait_size_file(server, "1048576S,2C", size + second.path.stat().st_size, 2)
    first.path.unlink()
    with open(server.maildir("bob") / "maildirsize", "a", encoding="ascii") as file:
        file.write(f"-{size} -1\n")
    wait_for(lambda: server.mail_count("bob") == 2, "room used by one of those that waited")
    wait_size_file(server, "1048576S,2C", sum(m.path.stat().st_size for m in server.mail("bob")), 2)


def test_what_lies_in_a_mailbox_counts_though_nobody_wrote_it_down(make_server):
    server = make_server(domain='  quota_octets = "64k"')
    for folder in "cur", ".Archive/cur":
        (server.maildir("bob") / folder).mkdir(parents=True)
        (server.maildir("bob") / folder / "1.a.host:2,S").write_bytes(b"x" * 30000)
    server.start()
    id_ = server.submit(message("no room", b"y" * 70 + b"\r\n" * 3000), to="bob@example.com")
    server.wait_trace(id_, "the mailbox is full")
    server.submit(message("room"), to="bob@example.com")
    wait_for(lambda: server.mail_count("bob") == 1, "the small one")
    new, = (server.maildir("bob") / "new").iterdir()
    wait_size_file(server, "65536S", 60000 + new.stat().st_size, 3)


def test_a_reload_changes_a_quota(make_server):
    server = make_server(domain='  quota_messages = 1').start()
    server.submit(to="bob@example.com")
    wait_for(lambda: server.mail_count("bob") == 1, "the first")
    id_ = server.submit(to="bob@example.com")
    server.wait_trace(id_, "the mailbox is full")
    server.conf.write_text(server.conf.read_text().replace("quota_messages = 1", "quota_messages = 2"))
    server.signal(1)
    server.wait_log("event=reloaded")
    wait_for(lambda: server.mail_count("bob") == 2, "the second")


def test_a_mailbox_that_is_a_file_is_told_of_and_waited_for(make_server):
    server = make_server()
    server.maildir("bob").parent.mkdir(parents=True)
    server.maildir("bob").write_text("no directory")
    server.start()
    id_ = server.submit(to="bob@example.com")
    story = server.wait_trace(id_, "Not a directory")
    assert "4.2.0" in story
    server.maildir("bob").unlink()
    wait_for(lambda: server.mail_count("bob") == 1, "the message")


DAMAGE = {
    "gone": lambda file: file.unlink(),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-10]),
    "empty": lambda file: file.write_bytes(b""),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x\r\n"),
}


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("rcpt", ["bob@example.com", "user@example.net"])
def test_a_message_whose_content_is_not_what_it_was_goes_nowhere(make_server, make_peer, kind, rcpt):
    """Neither empty nor short: it waits, the log says why, and it goes when the file is back."""
    port = free_port()
    server = make_server(extra=route(port), queue='  inline_body_max = "4k"\n')
    server.maildir("bob").parent.mkdir(parents=True)
    server.maildir("bob").write_text("no directory")
    server.start()
    id_ = server.submit(LARGE, to=rcpt)
    server.wait_log("event=deferred")
    file, = (server.data / "spool").glob("*/*")
    content = file.read_bytes()
    DAMAGE[kind](file)
    server.maildir("bob").unlink()
    peer = make_peer(port=port)
    server.cli("queue", "retry", id_)
    server.wait_log(f"level=error .*event=content-missing id={id_}")
    assert "4.6.6" in server.wait_trace(id_, "cannot be read from our disk")
    assert not peer.messages
    assert server.mail_count("bob") == 0
    file.write_bytes(content)
    server.cli("queue", "retry", id_)
    wait_for(lambda: peer.messages or server.mail_count("bob"), "the message as it was")
    arrived = peer.messages[0][2] if peer.messages else server.mail("bob")[0].content
    assert arrived.endswith(LARGE)
    assert not re.search("role-died", server.log())
