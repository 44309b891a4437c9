"""REQUIRETLS and TLS-Required (RFC 8689): what a sender demands of TLS on the whole way of his message, from his client
over us to the next hop, and what becomes of the report when it cannot be had."""
import contextlib
import re
import socket
import ssl
import tempfile
import threading

import pytest

from harness import give, message, tls_context, wait_for
from relay import NAME, Relay

EXTENSIONS = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "REQUIRETLS")


class Demanding(Relay):
    """One whose clients demand TLS of it, and of whoever comes behind it."""

    def __init__(self, folder, authority):
        super().__init__(folder)
        self.ca = authority.root.pem
        mine = authority.make("mx.example.com", ["DNS:mx.example.com"])
        give(mine.key)
        self.extra = f'certificate "mx.example.com" {{\n  chain = "{mine.chain}"\n  key = "{mine.key}"\n}}\n'

    def route(self, *ports, keys=""):
        """A domain whose mail goes to these ports, with the name in their certificates."""
        name = self.add(*ports, keys=keys, tls_name=NAME, tls_ca=self.ca)
        self.reload()
        return name

    def domain(self, lmtp):
        """A domain of ours whose mail goes to an LMTP server."""
        name = f"d{next(self.names)}.example"
        self.routes += f'domain "{name}" {{\n  deliver = lmtp\n  lmtp = "{lmtp}"\n  mailboxes = {{"*"}}\n}}\n'
        self.reload()
        return name

    def secure(self):
        """A session under TLS."""
        d = self.dialog()
        d.hello()
        d.starttls(tls_context(verify=self.ca), "mx.example.com")
        d.hello()
        return d

    def send(self, to, options=" REQUIRETLS", raw=None, sender="alice@example.com", rcpt_options=""):
        with self.secure() as d:
            d.expect(250, f"MAIL FROM:<{sender}>{options}")
            d.expect(250, f"RCPT TO:<{to}>{rcpt_options}")
            reply = d.data(raw or message("secret"))
            assert reply.code == 250, reply
            return reply.text.split()[-1]

    def report(self, number):
        """That about a message, which is alone."""
        def about():
            return [m for m in self.mail() if f"message {number}".encode() in m.wire or number.encode() in m.wire]
        found, = wait_for(about, lambda: f"a report about {number}:\n{self.trace(number)}")
        return found


@pytest.fixture(scope="module")
def relay(tmp_path_factory, authority):
    made = Demanding(tmp_path_factory.mktemp("relay"), authority)
    yield made.write().start()
    made.finish()


# ---- in --------------------------------------------------------------------------------------------------------------

def test_it_is_offered_under_tls_alone(relay):
    with relay.dialog() as d:
        assert "REQUIRETLS" not in d.extensions()
        reply = d.command("MAIL FROM:<a@example.org> REQUIRETLS")
        assert (reply.code, reply.status) == (555, "5.5.4")
    with relay.secure() as d:
        assert "REQUIRETLS" in d.extensions()
        reply = d.command("MAIL FROM:<a@example.org> REQUIRETLS=1")
        assert (reply.code, reply.status) == (501, "5.5.4")


def test_a_mailbox_here_is_the_end_of_the_way(relay):
    number = relay.send("bob@example.com")
    relay.wait_mail("bob")
    assert "with REQUIRETLS: it goes to no server without" in relay.trace(number)
    assert relay.json("trace", number)["tls"] == "required"


# ---- out -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("keys, implicit", [("", False), ("  tls = off\n", False), ("  tls_first = yes\n", True)])
def test_it_is_passed_on_to_who_promises_the_same(relay, make_peer, good, keys, implicit):
    """Whatever the route is content with."""
    peer = make_peer(tls=good.context(), extensions=EXTENSIONS, implicit=implicit)
    number = relay.send("x@" + relay.route(peer.port, keys=keys))
    (sender, _, _), = peer.wait_messages()
    assert sender.split()[0] == "FROM:<alice@example.com>" and "REQUIRETLS" in sender.split()
    assert peer.versions == ["TLSv1.3"]
    relay.wait_log(rf"event=delivered id={number} .*verified as {NAME}")


def test_the_next_host_is_tried_until_one_will_do(relay, make_peer, good, authority):
    other = authority.make("other", ["DNS:other.example"])
    peers = [make_peer(), make_peer(tls=other.context(), extensions=EXTENSIONS), make_peer(tls=good.context()),
             make_peer(tls=good.context(), extensions=EXTENSIONS)]
    relay.send("x@" + relay.route(*(p.port for p in peers)))
    peers[3].wait_messages()
    for peer in peers[:3]:
        wait_for(lambda peer=peer: "QUIT" in peer.commands, "QUIT (RFC 8689 4.2.1)")
        assert not peer.messages and not [c for c in peer.commands if c.startswith("MAIL")]


BROKEN = {
    "no TLS": (dict(extensions=EXTENSIONS), None, "5.7.10"),
    "refused": (dict(STARTTLS="554 5.7.0 not today", extensions=EXTENSIONS), "good", "5.7.10"),
    "unverified": (dict(extensions=EXTENSIONS), "other", "5.7.10"),
    "not offered": ({}, "good", "5.7.30"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_where_it_cannot_be_had_the_mail_is_returned_and_others_go_on(relay, make_peer, good, authority, fault):
    keys, who, status = BROKEN[fault]
    tls = {None: None, "good": good, "other": authority.make("other", ["DNS:other.example"])}[who]
    peer = make_peer(tls=tls and tls.context(), **keys)
    domain = relay.route(peer.port)
    number = relay.send(f"x@{domain}", options=" RET=FULL REQUIRETLS",
                        raw=message("returned", body=b"the secret itself\r\n"))
    report = relay.report(number)
    assert re.findall(rb"(?m)^Status: (\S+)", report.wire) == [status.encode()]
    # RFC 8689 5: the header section alone, whatever RET says; and the report is as well protected.
    assert b"Subject: returned" in report.wire and b"the secret itself" not in report.wire
    assert relay.json("trace", report.id)["tls"] == "required"
    assert not peer.messages
    # Neither the site nor its host is to blame: other mail goes there at once.
    relay.send(f"x@{domain}", options="")
    (sender, _, _), = peer.wait_messages()
    assert "REQUIRETLS" not in sender


def test_what_may_be_over_soon_is_waited_for(relay, make_peer, good):
    peer = make_peer(tls=good.context(), extensions=EXTENSIONS, STARTTLS="454 4.7.0 later")
    number = relay.send("x@" + relay.route(peer.port))
    relay.wait_log(rf"event=deferred id={number} .*status=4\.7\.10")
    assert not peer.messages


def test_both_kinds_of_mail_for_one_site_go_each_by_its_own_session(relay, make_peer, good):
    """A server that promises nothing gets the one and not the other, at the same time."""
    peer = make_peer(tls=good.context(maximum_version=ssl.TLSVersion.TLSv1_2))
    domain = relay.route(peer.port)
    numbers = [relay.send(f"x{n}@{domain}", options=" REQUIRETLS" if n % 2 else "") for n in range(6)]
    for number in numbers[1::2]:
        relay.report(number)
    assert sorted(rcpt for _, (rcpt,), _ in peer.wait_messages(3)) == [f"TO:<x{n}@{domain}>" for n in (0, 2, 4)]


def test_an_lmtp_server_behind_a_unix_socket_gets_it_and_one_by_tcp_does_not(relay, make_peer):
    """No network lies before the one; the other has to offer what every server has to."""
    peer = make_peer(lmtp=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        door = stack.enter_context(socket.socket(socket.AF_UNIX))
        door.bind(f"{folder}/lmtp")
        give(folder)
        door.listen()
        threading.Thread(target=lead_through, args=(door, peer.port), daemon=True).start()
        stack.callback(door.shutdown, socket.SHUT_RDWR)
        near = relay.domain(f"unix:{folder}/lmtp")
        relay.send(f"x@{near}")
        (sender, _, _), = peer.wait_messages()
        assert "REQUIRETLS" not in sender
    number = relay.send("x@" + relay.domain(f"inet:127.0.0.1:{peer.port}"))
    assert b"Status: 5.7.10" in relay.report(number).wire
    assert len(peer.messages) == 1


def lead_through(door, port):
    """One connection of the socket, to a port."""
    with contextlib.suppress(OSError):
        near, _ = door.accept()
        with near, socket.create_connection(("127.0.0.1", port)) as far:
            back = threading.Thread(target=pump, args=(far, near), daemon=True)
            back.start()
            pump(near, far)
            back.join()


def pump(source, target):
    with contextlib.suppress(OSError):
        while octets := source.recv(65536):
            target.sendall(octets)
        target.shutdown(socket.SHUT_WR)


# ---- reports on the way back -----------------------------------------------------------------------------------------

def test_a_report_goes_back_with_it_where_it_is_offered_and_else_without(relay, make_peer, good):
    refusing = make_peer(tls=good.context(), extensions=EXTENSIONS, RCPT="550 5.1.1 no such user")
    away = relay.route(refusing.port)
    for extensions, wanted in ((EXTENSIONS, True), (("8BITMIME",), False)):
        home = make_peer(tls=good.context(), extensions=extensions)
        relay.send(f"x@{away}", sender=f"s@{relay.route(home.port)}")
        (sender, _, body), = home.wait_messages()
        assert sender.startswith("FROM:<>") and ("REQUIRETLS" in sender) == wanted
        assert b"5.1.1" in body


# ---- TLS-Required: No ------------------------------------------------------------------------------------------------

def test_tls_required_no_is_kept_passed_on_and_stands_in_the_report(relay, make_peer):
    peer = make_peer(RCPT=lambda to: "550 5.1.1 no" if "bad" in to else "250 2.1.5 ok")
    domain = relay.route(peer.port)
    raw = message("expired", extra=b"TLS-Required: No\r\n")
    number = relay.send(f"x@{domain}", options="", raw=raw)
    (_, _, body), = peer.wait_messages()
    assert b"\r\nTLS-Required: No\r\n" in body
    assert "which says TLS-Required: No" in relay.trace(number)
    assert relay.json("trace", number)["tls"] == "optional"
    report = relay.report(relay.send(f"bad@{domain}", options="", raw=raw))
    assert b"\r\nTLS-Required: No\r\n" in report.wire.partition(b"\r\n\r\n")[0] + b"\r\n"


def test_the_parameter_counts_more_than_the_field(relay, make_peer):
    peer = make_peer()
    number = relay.send("x@" + relay.route(peer.port), raw=message("both", extra=b"TLS-Required: No\r\n"))
    assert b"Status: 5.7.10" in relay.report(number).wire
    assert not peer.messages
