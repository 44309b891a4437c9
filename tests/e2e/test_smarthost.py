"""Mail for other domains goes to a smart host: it arrives whole, waits while that is down, leaves when it is back."""
import itertools
import re
import signal
import threading

import pytest
from aiosmtpd.controller import Controller

from harness import free_port, message, route, wait_for

ELSEWHERE = "dest@example.net"


class Keeper:
    """An aiosmtpd handler that keeps each envelope."""

    def __init__(self):
        self.envelopes = []

    async def handle_DATA(self, server, session, envelope):
        self.envelopes.append(envelope)
        return "250 2.0.0 kept"


@pytest.fixture
def aiosmtpd():
    keeper = Keeper()
    controller = Controller(keeper, hostname="127.0.0.1", port=free_port(), enable_SMTPUTF8=True)
    controller.start()
    yield keeper, controller.port
    controller.stop()


def relayed(octets, raw):
    """What arrived is what was sent, behind one Received field of ours."""
    octets = octets.replace(b"\r\n", b"\n")
    raw = raw.replace(b"\r\n", b"\n")
    assert octets.endswith(raw), (octets[-200:], raw[-200:])
    head = octets[:-len(raw)]
    assert len(re.findall(rb"(?m)^[A-Za-z-]+:", head)) == 1, head
    assert re.match(rb"Received: from ", head), head


def test_aiosmtpd_takes_a_message(make_server, aiosmtpd):
    keeper, port = aiosmtpd
    server = make_server(extra=route(port)).start()
    raw = message("to aiosmtpd", "Grüße\r\n.\r\n..\r\n".encode(), to=ELSEWHERE)
    server.submit(raw, to=[ELSEWHERE, "other@example.net"], mail_options=" BODY=8BITMIME")
    wait_for(lambda: keeper.envelopes, "the message at aiosmtpd")
    envelope, = keeper.envelopes
    assert envelope.mail_from == "sender@example.org"
    assert envelope.rcpt_tos == [ELSEWHERE, "other@example.net"]
    relayed(envelope.original_content, raw)


def test_aiosmtpd_takes_utf8_addresses(make_server, aiosmtpd):
    keeper, port = aiosmtpd
    server = make_server(extra=route(port)).start()
    raw = message("UTF-8", "Grüße\r\n".encode(), to="用户@例子.example")
    server.submit(raw, sender="gößer@xn--bcher-kva.example", to="用户@xn--fsqu00a.example",
                  mail_options=" SMTPUTF8 BODY=8BITMIME")
    wait_for(lambda: keeper.envelopes, "the message at aiosmtpd")
    assert keeper.envelopes[0].smtp_utf8
    assert keeper.envelopes[0].rcpt_tos[0].startswith("用户@")
    relayed(keeper.envelopes[0].original_content, raw)


@pytest.mark.timeout(240)
def test_smtp_sink_takes_a_thousand(make_server, make_sink):
    sink = make_sink()
    server = make_server(extra=route(sink.port)).start()
    with server.dialog() as d:
        d.hello()
        for n in range(500):
            d.envelope(to=[f"a{n}@example.net", f"b{n}@example.net"])
            assert d.data(message(f"number {n}", b"body %d.\r\n" % n)).code == 250
    wait_for(lambda: len(sink.messages()) >= 500, lambda: f"500 messages; there are {len(sink.messages())}")
    subjects = sorted(int(re.search(rb"Subject: number (\d+)", m).group(1)) for m in sink.messages())
    assert subjects == list(range(500)), "each once"
    wait_for(lambda: not server.queued(), "an empty queue")


def test_with_the_smart_host_down_it_waits_and_says_why_then_leaves(make_server, make_peer):
    port = free_port()
    server = make_server(extra=route(port)).start()
    id_ = server.submit(message("waits"), to=ELSEWHERE)
    wait_for(lambda: re.search("refused", server.cli("queue", "list"), re.I), lambda: server.cli("queue", "list"))
    listing = server.cli("queue", "list")
    assert id_ in listing
    assert ELSEWHERE in listing
    assert "127.0.0.1" in listing
    shown = server.cli("queue", "show", id_)
    assert re.search(r"connection refused", shown, re.I)
    assert server.json("queue", "list")
    peer = make_peer(port=port)
    peer.wait_messages(timeout=90) # a site that failed gets a rest
    wait_for(lambda: not server.queued(), "an empty queue")
    story = server.wait_trace(id_, "deliver")
    assert re.search(r"connection refused", story, re.I), story
    assert "peer.example.net" in story or "127.0.0.1" in story


def test_who_was_not_tried_because_of_another_message_is_told_why(make_server):
    """A dead site is left alone: what comes meanwhile has had no attempt of its own, but its reason is known."""
    server = make_server(extra=route(free_port()), queue='retry_first = "1h"\n retry_longest = "1h"\n').start()
    for n in range(40):
        server.submit(message(f"number {n}"), to=f"n{n}@example.net")
    wait_for(lambda: "paused for" in server.cli("queue", "status"), lambda: server.cli("queue", "status"))
    assert re.search(r"paused for.*\n.*connection refused", server.cli("queue", "status"), re.I)
    id_ = server.submit(message("late"), to=ELSEWHERE)
    story = server.wait_trace(id_, "not tried yet")
    assert re.search(r"left alone for .*\n.*connection refused", story, re.I), story
    row, = [r for r in server.json("queue", "list") if r["id"] == id_]
    assert row["attempts"] == 0 and row["last"] is None
    assert "refused" in row["destination_failed"]["text"].lower()
    assert re.search(r"left alone for .*\n.*connection refused", server.cli("queue", "list"), re.I)


def test_queue_retry_sends_at_once(make_server, make_peer):
    port = free_port()
    server = make_server(extra=route(port), queue='retry_first = "1h"\n retry_longest = "1h"\n').start()
    id_ = server.submit(message("waits"), to=ELSEWHERE)
    server.wait_trace(id_, "refused")
    peer = make_peer(port=port)
    server.cli("queue", "retry", id_)
    peer.wait_messages(timeout=10)


def test_queue_retry_by_filters(make_server, make_peer):
    port = free_port()
    server = make_server(extra=route(port), queue='retry_first = "1h"\n retry_longest = "1h"\n').start()
    ids = {name: server.submit(message(name), sender=f"{name}@example.org", to=f"{name}@{domain}.example")
           for name, domain in [("one", "a"), ("two", "b"), ("three", "a")]}
    server.wait_trace(ids["one"], "refused")
    peer = make_peer(port=port)
    server.cli("queue", "retry", "--sender", "two@example.org")
    assert "two" in peer.wait_messages()[0][0]
    server.cli("queue", "retry", "--recipient", "@a.example")
    peer.wait_messages(3)
    wait_for(lambda: not server.queued(), "an empty queue")


def test_hold_release_and_remove(make_server, make_peer):
    ready = threading.Event()
    peer = make_peer(RCPT=lambda _: "250 2.1.5 ok" if ready.is_set() else "450 4.2.1 later")
    server = make_server(extra=route(peer.port)).start()
    held, removed, kept = (server.submit(message(n), to=f"{n}@example.net") for n in ("held", "removed", "kept"))
    for id_ in held, removed, kept:
        server.wait_trace(id_, "450")

    def settled(verb, done, id_):
        """What is under way at that moment is left alone: then again."""
        server.cli("queue", verb, id_)
        return re.search(f"{done} by operator", server.trace(id_))
    wait_for(lambda: settled("hold", "held", held), "the hold")
    wait_for(lambda: settled("remove", "removed", removed), "the removal")
    ready.set()
    server.cli("queue", "retry", "--all")
    peer.wait_messages(1)
    assert "kept@" in peer.messages[0][1][0]
    wait_for(lambda: len(server.queued()) == 1, "the held one alone in the queue")
    server.cli("queue", "release", held)
    peer.wait_messages(2)
    assert "held@" in peer.messages[1][1][0]
    wait_for(lambda: not server.queued(), "an empty queue")
    assert "removed@" not in repr(peer.messages)


def test_a_route_that_holds(make_server, make_peer):
    later, now = make_peer(), make_peer()

    def routes(hold):
        return route(later.port, name="later.example", keys=f"  hold = {hold}\n") + route(now.port)
    server = make_server(extra=routes("yes")).start()
    both = server.submit(message("both"), to=["a@later.example", "b@example.net"])
    one = server.submit(message("one"), to="c@later.example")
    now.wait_messages(1)
    wait_for(lambda: {row["state"] for row in server.queued()} == {"held"}, "only held mail in the queue")
    assert "held until it is released, as a route says" in server.trace(one)
    server.cli("queue", "release", both)
    later.wait_messages(1)
    # What was held stays so when the route no longer holds.
    server.configure(extra=routes("no"))
    server.signal(signal.SIGHUP)
    wait_for(lambda: "event=reloaded" in server.log(), "the new configuration")
    server.submit(message("free"), to="d@later.example")
    later.wait_messages(2)
    assert [re.search("[a-z]@", rcpts[0]).group() for _, rcpts, _ in later.messages] == ["a@", "d@"]
    wait_for(lambda: [row["state"] for row in server.queued()] == ["held"], "one held recipient in the queue")


def test_the_next_host_takes_over_when_the_first_is_down(make_server, make_peer):
    second = make_peer()
    server = make_server(extra=route(free_port(), second.port)).start()
    server.submit(message("failover"), to=ELSEWHERE)
    second.wait_messages(timeout=15)


@pytest.mark.parametrize("greeting", ["421 4.3.2 too busy", "554 5.7.1 not you", "450 4.0.0 what?"])
def test_the_next_host_takes_over_when_the_first_refuses_to_greet(make_server, make_peer, greeting):
    first = make_peer(GREETING=greeting)
    second = make_peer()
    server = make_server(extra=route(first.port, second.port)).start()
    server.submit(message("failover"), to=ELSEWHERE)
    second.wait_messages(timeout=15)
    assert not first.messages


def test_the_first_host_is_preferred(make_server, make_peer):
    first, second = make_peer(), make_peer()
    server = make_server(extra=route(first.port, second.port)).start()
    for n in range(10):
        server.submit(message(f"{n}"), to=ELSEWHERE)
    first.wait_messages(10)
    assert not second.messages


def test_the_most_exact_route_counts(make_server, make_peer):
    star, below, exact = make_peer(), make_peer(), make_peer()
    server = make_server(extra=route(star.port) + route(below.port, name=".example.net")
                         + route(exact.port, name="mail.example.net")).start()
    for domain in ("example.net", "mail.example.net", "other.example.net", "elsewhere.example"):
        server.submit(message(domain), to=f"u@{domain}")
    star.wait_messages(2), below.wait_messages(1), exact.wait_messages(1)
    assert sorted(m[1][0].split("@")[1].split(">")[0] for m in star.messages) == ["elsewhere.example", "example.net"]
    assert "other.example.net" in below.messages[0][1][0]
    assert "mail.example.net" in exact.messages[0][1][0]


def test_recipients_of_one_site_share_a_transaction(make_server, make_peer):
    peer = make_peer()
    server = make_server(extra=route(peer.port)).start()
    to = [f"u{n}@example.net" for n in range(50)]
    server.submit(message("many"), to=to)
    peer.wait_messages()
    assert len(peer.messages) == 1
    assert [re.search(r"<(.*?)>", r).group(1) for r in peer.messages[0][1]] == to


def test_each_recipient_has_its_own_outcome(make_server, make_peer):
    """Some taken, some refused for now, some for good: the first do not come twice, the second come again."""
    tries = {}

    def rcpt(argument):
        name = re.search(r"<(\w+)@", argument).group(1)
        tries[name] = tries.get(name, 0) + 1
        if name == "later" and tries[name] < 3:
            return "450 4.2.1 try again later"
        return "550 5.1.1 no such user" if name == "never" else "250 2.1.5 ok"
    peer = make_peer(RCPT=rcpt)
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(message("mixed"), sender="alice@example.com",
                        to=["now@example.net", "later@example.net", "never@example.net"])
    peer.wait_messages(2)
    server.wait_mail("alice", 1)
    wait_for(lambda: not server.queued(), "an empty queue")
    assert tries == {"now": 1, "later": 3, "never": 1}
    assert "try again later" in server.trace(id_)
    assert "no such user" in server.trace(id_)


def test_connections_are_used_again(make_server, make_peer):
    peer = make_peer()
    server = make_server(extra="senders = 1\n" + route(peer.port)).start()
    for n in range(20):
        server.submit(message(f"{n}"), to=ELSEWHERE)
    peer.wait_messages(20)
    assert peer.peer.connections < 20


def test_who_stands_in_line_behind_a_stuck_message_is_sent_by_another_connection(make_server, make_peer):
    """All but the one whose commands went out behind it. The host was quick until then."""
    freed, ends = threading.Event(), itertools.count(1)

    def end(_rcpt):
        if next(ends) == 6:
            freed.wait(60)
        return "250 2.0.0 taken"
    peer = make_peer(END=end)
    server = make_server(extra="senders = 1\n" + route(peer.port)).start()
    for n in range(1, 6):
        server.submit(message(f"{n}"), to=ELSEWHERE)
        peer.wait_messages(n)
    try:
        with server.dialog() as d:
            d.hello()
            for n in range(6, 12):
                d.envelope(to=ELSEWHERE)
                assert d.data(message(f"{n}")).code == 250
        peer.wait_messages(5 + 4)
    finally:
        freed.set()
    peer.wait_messages(5 + 6)


def test_dsn_parameters_are_passed_on(make_server, make_peer):
    peer = make_peer()
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("dsn"), to=ELSEWHERE, mail_options=" RET=HDRS ENVID=QQ314159",
                  rcpt_options=" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;dest+2Bx@example.net")
    peer.wait_messages()
    mail = next(c for c in peer.commands if c.startswith("MAIL"))
    rcpt = next(c for c in peer.commands if c.startswith("RCPT"))
    assert "RET=HDRS" in mail and "ENVID=QQ314159" in mail
    assert "ORCPT=rfc822;dest+2Bx@example.net" in rcpt
    assert set(re.search(r"NOTIFY=(\S+)", rcpt).group(1).split(",")) == {"SUCCESS", "FAILURE"}


@pytest.mark.parametrize("extensions", [(), ("PIPELINING",), ("8BITMIME",), ("CHUNKING", "8BITMIME"),
                                        ("PIPELINING", "CHUNKING", "8BITMIME", "SIZE 50000000")])
def test_what_the_peer_offers_is_used_and_nothing_else(make_server, make_peer, extensions):
    peer = make_peer(extensions=extensions)
    server = make_server(extra=route(peer.port)).start()
    raw = message("plain", b".dots\r\n..\r\n" * 3000)
    server.submit(raw, to=ELSEWHERE)
    peer.wait_messages()
    relayed(peer.messages[0][2], raw)
    used = " ".join(peer.commands)
    assert ("BDAT" in used) == ("CHUNKING" in extensions)
    assert ("BODY=" in used) <= ("8BITMIME" in extensions)
    assert ("SIZE=" in used) <= any(e.startswith("SIZE") for e in extensions)


def test_helo_where_ehlo_is_unknown(make_server, make_peer):
    peer = make_peer(EHLO="500 5.5.1 what?")
    server = make_server(extra=route(peer.port)).start()
    raw = message("old")
    server.submit(raw, to=ELSEWHERE)
    peer.wait_messages()
    assert any(c.startswith("HELO") for c in peer.commands)
    relayed(peer.messages[0][2], raw)


def test_8_bit_is_converted_for_a_peer_without_8bitmime(make_server, make_peer):
    import email
    import email.policy
    peer = make_peer(extensions=("PIPELINING",))
    server = make_server(extra=route(peer.port)).start()
    text = "Grüße aus Köln\r\n"
    raw = message("8-bit", text.encode(), extra=b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
                                                b"Content-Transfer-Encoding: 8bit\r\n")
    server.submit(raw, to=ELSEWHERE, mail_options=" BODY=8BITMIME")
    peer.wait_messages()
    arrived = peer.messages[0][2]
    assert arrived.isascii()
    parsed = email.message_from_bytes(arrived, policy=email.policy.default)
    assert parsed.get_content().replace("\n", "\r\n").replace("\r\r", "\r") == text


def test_size_is_heeded_without_a_transaction(make_server, make_peer):
    peer = make_peer(extensions=("SIZE 1000",))
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("large", b"x" * 70 + b"\r\n" * 2000), sender="alice@example.com", to=ELSEWHERE)
    report, = server.wait_mail("alice")
    assert b"5.3.4" in report.raw
    assert not any(c.startswith("MAIL") for c in peer.commands)


def test_smtputf8_is_not_sent_to_a_peer_without_it(make_server, make_peer):
    peer = make_peer(extensions=("8BITMIME",))
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("UTF-8", to=ELSEWHERE), sender="alice@example.com", to="jörg@example.net",
                  mail_options=" SMTPUTF8")
    report, = server.wait_mail("alice")
    assert b"Status: 5.6.7" in report.raw
    assert not any(c.startswith("RCPT") for c in peer.commands)


def test_an_address_or_the_header_may_be_what_needs_smtputf8(make_server, make_peer):
    """RFC 6531 3.5: X.6.7 is about addresses, X.6.9 about the header section."""
    peer = make_peer(extensions=("8BITMIME",))
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("Grüße", to=ELSEWHERE), sender="alice@example.com", to=[ELSEWHERE, "jörg@example.net"],
                  mail_options=" SMTPUTF8 BODY=8BITMIME")
    report, = server.wait_mail("alice")
    assert re.findall(rb"(?m)^Status: (\S+)", report.wire) == [b"5.6.7", b"5.6.9"]
    assert not any(c.startswith("MAIL") for c in peer.commands)


def test_a_route_may_forbid_conversion(make_server, make_peer):
    peer = make_peer(extensions=("PIPELINING",))
    server = make_server(extra=route(peer.port, keys="  convert = no\n")).start()
    server.submit(message("8-bit", "Grüße\r\n".encode()), sender="alice@example.com", to=ELSEWHERE,
                  mail_options=" BODY=8BITMIME")
    report, = server.wait_mail("alice")
    assert b"Status: 5.6.2" in report.raw
    assert not any(c.startswith("MAIL") for c in peer.commands)
    server.submit(message("7-bit"), sender="alice@example.com", to=ELSEWHERE)
    peer.wait_messages()


def test_a_host_with_our_own_name_is_passed_over(make_server, make_peer):
    ours, other = make_peer(GREETING="220 mx.example.com ESMTP"), make_peer()
    server = make_server(extra=route(ours.port, other.port)).start()
    server.submit(to=ELSEWHERE)
    other.wait_messages()
    assert ours.commands == ["QUIT"]


def test_a_message_is_not_returned_while_another_host_may_take_it(make_server, make_peer):
    """One host is ourselves, the other is down: that is a reason to wait."""
    port = free_port()
    ours = make_peer(GREETING="220 mx.example.com ESMTP")
    server = make_server(extra=route(ours.port, port)).start()
    id_ = server.submit(sender="alice@example.com", to=ELSEWHERE)
    server.wait_trace(id_, "refused")
    other = make_peer(port=port)
    other.wait_messages(timeout=90)
    assert not server.mail("alice")


def test_a_server_with_our_own_name_may_be_allowed(make_server, make_peer):
    peer = make_peer(GREETING="220 mx.example.com ESMTP")
    server = make_server(extra=route(peer.port, keys="  own_name = yes\n")).start()
    server.submit(to=ELSEWHERE)
    peer.wait_messages()


def test_a_lost_connection_after_the_dot_is_retried_and_told(make_server, make_raw_peer):
    """RFC 5321 leaves no way to know: it is sent again, and the trace says that the first may have arrived."""
    kept = []

    def script(c, number):
        c.send("220 peer ESMTP\r\n")
        while True:
            verb = c.line()[:4].upper()
            if verb == "DATA":
                c.send("354 go\r\n")
                kept.append(c.data())
                if number == 1:
                    return # no reply, just gone
                c.send("250 2.0.0 ok\r\n")
            elif verb == "QUIT":
                c.send("221 bye\r\n")
                return
            else:
                c.send("250 ok\r\n")
    peer = make_raw_peer(script)
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(message("ambiguous"), to=ELSEWHERE)
    wait_for(lambda: len(kept) == 2, "the second attempt")
    story = server.wait_trace(id_, "deliver")
    assert re.search(r"ambiguous|may have|twice|duplicate", story, re.I), story
