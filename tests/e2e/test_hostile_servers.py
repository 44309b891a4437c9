"""The remote server is the attacker (attacks 1.N): whatever it says, each recipient has one outcome, we stay well."""
import contextlib
import re
import socket
import threading

import pytest

from harness import message, route, wait_for

ELSEWHERE = "dest@example.net"


def session(**says):
    """A script of a server that says something else at some verbs: a text, octets, or None for closing at once."""
    def script(c, _number):
        def say(verb, default):
            words = says.get(verb, default)
            if words is None:
                raise EOFError
            c.send(words)
        say("GREETING", "220 peer.example.net ESMTP\r\n")
        while True:
            verb = c.line()[:4].upper()
            if verb == "DATA":
                say("DATA", "354 go on\r\n")
                if not str(says.get("DATA", "354")).startswith("354"):
                    continue
                c.data()
                say("END", "250 2.0.0 ok\r\n")
            elif verb == "QUIT":
                say("QUIT", "221 bye\r\n")
                return
            else:
                say(verb, "250 ok\r\n")
    return script


def resident(server, role):
    total = 0
    for pid in server.role_pids(role):
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            total = max(total, int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)))
    return total


def stays_queued(server, id_, words):
    story = server.wait_trace(id_, words)
    assert len(server.queued()) == 1
    assert not re.search(r"role-died", server.log())
    return story


ENDLESS = [("one line without an end", b"2" * (1 << 20)), ("lines without an end", b"250-again and again\r\n" * 50000)]


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "END"])
@pytest.mark.parametrize("octets", [o for _, o in ENDLESS], ids=[n for n, _ in ENDLESS])
def test_endless_replies_are_cut_off(make_server, make_raw_peer, verb, octets):
    given_up = threading.Event()

    def script(c, number):
        try:
            session(**{verb: octets * 20})(c, number)
        finally:
            given_up.set()
    peer = make_raw_peer(script)
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE)
    stays_queued(server, id_, "too long|too many|line|reply")
    assert resident(server, "sender") < 300000
    wait_for(given_up.is_set, "the connection to be given up")


NONSENSE = [b"\r\n", b"abc\r\n", b"25\r\n", b"999 what\r\n", b"150 not of SMTP\r\n",
            b"250-never\r\n251 the same\r\n", b"\0\0\0\0\r\n", b"250\tok\r\n", b"\xff\xff\xff\r\n",
            b"HTTP/1.1 200 OK\r\n\r\n", b"-50 x\r\n", b"2500 x\r\n"]


@pytest.mark.parametrize("octets", NONSENSE, ids=repr)
@pytest.mark.parametrize("verb", ["GREETING", "MAIL", "END"])
def test_nonsense_for_a_reply_defers(make_server, make_raw_peer, verb, octets):
    peer = make_raw_peer(session(**{verb: octets}))
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE)
    wait_for(lambda: peer.connections >= 2, "a second attempt", timeout=60)
    assert len(server.queued()) == 1
    assert not server.mail("postmaster")
    assert "role-died" not in server.log()
    assert id_ in server.cli("queue", "list")


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END"])
def test_a_close_at_each_stage_defers(make_server, make_raw_peer, verb):
    peer = make_raw_peer(session(**{verb: None}))
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE)
    wait_for(lambda: peer.connections >= 2, "a second attempt", timeout=60)
    stays_queued(server, id_, "clos|lost|connection")


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END"])
def test_421_at_each_stage_defers(make_server, make_raw_peer, verb):
    peer = make_raw_peer(session(**{verb: "421 4.3.2 going down\r\n"}))
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE)
    wait_for(lambda: peer.connections >= 2, "a second attempt", timeout=60)
    stays_queued(server, id_, "going down")


@pytest.mark.parametrize("verb", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "END"])
def test_silence_at_each_stage_ends(make_server, make_raw_peer, verb):
    timeouts = "client {\n" + "".join(f'  {t} = "1s"\n' for t in (
        "greeting_timeout", "command_timeout", "data_timeout", "block_timeout", "end_timeout")) + "}\n"

    def script(c, _number):
        def silence(_text):
            c.wait_close()
            raise EOFError
        if verb == "GREETING":
            silence("")
        c.send("220 peer\r\n")
        while True:
            said = c.line()[:4].upper()
            if said == verb:
                silence("")
            if said == "DATA":
                c.send("354 go\r\n")
                c.data()
                if verb == "END":
                    silence("")
            c.send("250 ok\r\n")
    peer = make_raw_peer(script)
    server = make_server(extra=timeouts + route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE)
    stays_queued(server, id_, "silen|time|wait|answer")


@pytest.fixture
def hanging_port():
    """Connections to it are neither made nor refused: its line of those that wait is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_sites_where_nobody_answers_leave_room_for_the_others(make_server, make_peer, hanging_port):
    """They are more than there may be jobs, and none of their attempts ends while the test runs."""
    peer = make_peer()
    sites = "".join(route(hanging_port, name=f"{n}.example.org") for n in range(20))
    client = 'senders = 1\nclient {\n  connect_timeout = "10m"\n}\n'
    server = make_server(queue="jobs_per_sender = 6\n", extra=client + sites + route(peer.port)).start()
    server.submit(to=ELSEWHERE)
    wait_for(lambda: not server.queued(), "the site to be known")
    for n in range(20):
        server.submit(to=f"x@{n}.example.org")
    for count in range(2, 6):
        server.submit(to=ELSEWHERE)
        wait_for(lambda count=count: len(peer.messages) == count, "a message to come through")
    assert len(server.queued()) == 20


def test_a_250_to_data_is_not_a_go_ahead(make_server, make_raw_peer):
    """250 where 354 is due: nothing was handed over."""
    peer = make_raw_peer(session(DATA="250 2.0.0 sure, thanks\r\n"))
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE)
    wait_for(lambda: peer.connections >= 2, "a second attempt", timeout=60)
    assert len(server.queued()) == 1
    assert "delivered" not in server.trace(id_).lower().replace("not delivered", "")


def test_replies_that_nobody_asked_for_deliver_nothing(make_server, make_raw_peer):
    """C2's cousin in clear text: a heap of 250s sent in advance is not an answer to commands that come later."""
    def script(c, _number):
        c.send("220 peer\r\n250-peer\r\n250 PIPELINING\r\n250 ok\r\n250 ok\r\n354 go\r\n250 2.0.0 taken\r\n")
        c.wait_close()
    peer = make_raw_peer(script)
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE)
    wait_for(lambda: peer.connections >= 2 or not server.queued(), "an end", timeout=60)
    assert len(server.queued()) == 1, server.trace(id_)


def test_pipelined_replies_are_matched_by_count(make_server, make_peer):
    """N: refused and taken recipients mixed, each reply is that of its own command."""
    peer = make_peer(RCPT=lambda a: {"0": "250 2.1.5 ok", "1": "550 5.1.1 no", "2": "450 4.2.1 later"}[
        str(int(re.search(r"u(\d+)@", a).group(1)) % 3)])
    server = make_server(extra=route(peer.port), queue='retry_first = "1h"\n retry_longest = "1h"\n').start()
    to = [f"u{n}@example.net" for n in range(30)]
    server.submit(sender="alice@example.com", to=to)
    peer.wait_messages()
    taken = {re.search(r"<(.*?)>", r).group(1) for r in peer.messages[0][1]}
    assert taken == {f"u{n}@example.net" for n in range(0, 30, 3)}
    wait_for(lambda: len(server.queued()) == 10, "ten that wait")
    wait_for(lambda: server.mail("alice"), "the report")
    failed = b"".join(m.raw for m in server.mail("alice"))
    for n in range(30):
        assert (f"u{n}@example.net".encode() in failed.split(b"message/rfc822")[0]) == (n % 3 == 1), n


def test_ehlo_words_that_contradict_each_other(make_server, make_raw_peer):
    lines = ["peer", "SIZE 18446744073709551616", "SIZE -1", "SIZE", "PIPELINING", "pipelining", "8BITMIME 8BITMIME",
             "", " ", "X" * 400, "DSN DSN", "\t", "SIZE 10000000", "CHUNKING=1", "AUTH=LOGIN", "250 250"]
    ehlo = "\r\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{line}" for i, line in enumerate(lines)) + "\r\n"
    peer = make_raw_peer(session(EHLO=ehlo))
    server = make_server(extra=route(peer.port)).start()
    id_ = server.submit(to=ELSEWHERE)
    server.wait_trace(id_, "deliver|line|keyword")
    assert "role-died" not in server.log()


def test_n_lines_of_a_reply_do_not_become_lines_of_the_log(make_server, make_raw_peer):
    """F1, E8: one event is one line, whatever the peer says."""
    peer = make_raw_peer(session(RCPT=b"550-5.1.1 one\n\nevent=forged id=1\r\n"
                                      b"550 5.1.1 \rtwo\x00three\x1b[0m event=forged\r\n"))
    server = make_server(extra=route(peer.port)).start()
    server.submit(sender="alice@example.com", to=ELSEWHERE)
    wait_for(lambda: re.search("event=(failed|deferred)", server.log()), "the outcome in the log")
    for line in server.log().splitlines():
        assert re.match(r"(time=)?\S*\d{4}-\d\d-\d\dT", line) or line.startswith("ts="), line
        assert not re.search(r"^event=forged", line)
        assert line.count("event=") == 1 or re.search(r'"[^"]*event=forged[^"]*"', line), line


def test_a_refusal_with_control_characters_is_a_refusal(make_server, make_raw_peer):
    """What its first digit says counts, and none of its octets reach the report as they were."""
    peer = make_raw_peer(session(RCPT=b"550-5.1.1 \x1b]0;title\x07\r\n550 5.1.1 no\x00 \rsuch \xfc user\x7f\r\n"))
    server = make_server(extra=route(peer.port)).start()
    server.submit(sender="alice@example.com", to=ELSEWHERE)
    report, = server.wait_mail("alice")
    assert b"Status: 5.1.1" in report.wire
    assert not re.search(rb"[^\t\r\n -~]", report.wire)
    assert b"?]0;title? no? ?such" in report.wire


def test_one_dead_site_delays_no_other(make_server, make_raw_peer, make_peer):
    """The schedule is fair: a site that swallows connections and says nothing holds up nobody."""
    def script(c, _number):
        c.wait_close()
    dead = make_raw_peer(script)
    good = make_peer()
    server = make_server(extra=route(dead.port, name="dead.example") + route(good.port)).start()
    with server.dialog() as d:
        d.hello()
        for n in range(200):
            d.envelope(to=f"u{n}@dead.example")
            assert d.data(message("dead")).code == 250
    wait_for(lambda: dead.connections, "a connection to the dead site")
    server.submit(to="u@good.example")
    good.wait_messages(timeout=10)


def test_a_burst_of_connections_stays_within_the_window(make_server, make_raw_peer):
    """D9: no more parallel connections than site_connections_max."""
    open_now, most, lock = [0], [0], threading.Lock()

    def script(c, number):
        with lock:
            open_now[0] += 1
            most[0] = max(most[0], open_now[0])
        try:
            session()(c, number)
        finally:
            with lock:
                open_now[0] -= 1
    peer = make_raw_peer(script)
    server = make_server(extra=route(peer.port), queue="site_connections_max = 5\n").start()
    with server.dialog() as d:
        d.hello()
        for n in range(300):
            d.envelope(to=f"u{n}@example.net")
            assert d.data(message("burst")).code == 250
    wait_for(lambda: not server.queued(), "an empty queue")
    assert 1 <= most[0] <= 5, most


def test_a_site_that_found_no_connection_free_is_served_when_one_is(make_server, make_peer):
    """connections_max is reached by one that rests, and later by one that has mail without end."""
    one, two, three = make_peer(), make_peer(), make_peer()
    server = make_server(extra="senders = \"1\"\nclient {\n  connections_max = 1\n  idle_timeout = \"5m\"\n}\n" +
                         route(one.port, name="one.example") + route(two.port, name="two.example") +
                         route(three.port, name="three.example")).start()
    server.submit(to="u@one.example")
    one.wait_messages()
    server.submit(to="u@two.example") # the only connection there may be is idle at the first
    two.wait_messages(timeout=20)
    with server.dialog() as d:
        d.hello()
        for n in range(30):
            d.envelope(to=f"u{n}@{'three' if n == 10 else 'one' if n % 2 else 'two'}.example")
            assert d.data(message("many")).code == 250
    three.wait_messages(timeout=20)
    wait_for(lambda: not server.queued(), "an empty queue")
