"""A database damaged on purpose: put aside, said loudly, the rest still served; nothing accepted goes unsaid."""
import contextlib
import os
import random
import re
import signal
import subprocess

import pytest

from harness import PATIENCE, POSTRIDER, free_port, message, route, wait_for

LARGE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n" * 5000
PAGE = 4096


def fill(server, count=40):
    """Messages for a destination that does not answer, every tenth large; id -> subject."""
    promised = {}
    with server.dialog() as d:
        d.hello()
        for k in range(count):
            d.envelope(to=f"x{k}@example.net")
            reply = d.data(message(f"d{k}", LARGE if k % 10 == 9 else b"small %d\r\n" % k))
            assert reply.code == 250, reply
            promised[re.search(r"\b([0-9A-Z]{12})\b", reply.text).group(1)] = f"d{k}"
    return promised


@pytest.fixture
def lab(make_server, make_peer):
    """A server with mail that waits, stopped or killed: to be damaged, and started with a destination that answers."""
    peer = make_peer()
    server = make_server(extra=route(free_port()), listen="  messages_max = 100000\n").start()
    promised = fill(server)

    class Lab:
        database = server.data / "queue.db"
        log = server.data / "queue.db-wal"

        def stop(self):
            assert server.stop() == 0
            server.configure(extra=route(peer.port))

        def kill(self):
            server.kill_all()
            server.configure(extra=route(peer.port))

        def start(self):
            server.start()
            # Whatever it takes to come through: mail is taken, and delivered.
            id_ = wait_for(lambda: self.takes_mail(), "mail to be taken", timeout=60, every=0.2)
            server.wait_trace(id_, "delivered into the mailbox", timeout=60)

        @staticmethod
        def takes_mail():
            with contextlib.suppress(AssertionError, OSError):
                return server.submit()
            return None

        def judge(self, silent_max=0):
            """Each promised message arrived once, or it is in the queue, or the log names it."""
            self.server.cli("queue", "retry", "--all") # the former destination's rest is over

            def settled():
                return all(row["state"] == "held" for row in server.queued())
            wait_for(settled, lambda: f"a queue of held messages alone: {server.cli('queue')}", timeout=60, every=0.5)
            # An address has no checksum: a damaged one may be returned to its sender.
            bodies = [body for sender, _, body in peer.messages if not sender.startswith("FROM:<>")]
            returned = [body for sender, _, body in peer.messages if sender.startswith("FROM:<>")]
            arrived = [re.search(rb"Subject: (d\d+)\r\n", body).group(1).decode() for body in bodies]
            held = {row["id"] for row in server.queued()}
            told = set(re.findall(r"event=store-(?:lost|corrupt) id=([0-9A-Z]{12})", server.log()))
            # What was delivered, and could not be written down as such in what was damaged, goes out once more.
            twice = {id_ for id_, subject in promised.items() if arrived.count(subject) > 1}
            assert twice <= told, f"came twice without a word: {twice - told}"
            silent = [id_ for id_, subject in promised.items() if subject not in arrived and id_ not in told
                      and not any(f"Subject: {subject}\r\n".encode() in body for body in returned)]
            assert len(silent) <= silent_max, f"without a word: {silent}\n{server.log()[-6000:]}"
            assert held <= told, f"held without a word: {held - told}"
            for body in bodies:
                k = int(re.search(rb"Subject: d(\d+)\r\n", body).group(1))
                assert body.endswith(b"\r\n\r\n" + (LARGE if k % 10 == 9 else b"small %d\r\n" % k))
            return len(arrived)

    result = Lab()
    result.server, result.peer, result.promised = server, peer, promised
    return result


def overwrite(path, at, octets):
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(octets)


def quarantine(server):
    place, = (server.data / "quarantine").iterdir()
    return place


@pytest.mark.parametrize("octets", [100, PAGE])
def test_a_destroyed_header_loses_nothing(lab, octets):
    lab.stop()
    before = lab.database.read_bytes()
    overwrite(lab.database, 0, os.urandom(octets))
    damaged = lab.database.read_bytes()
    lab.start()
    assert lab.judge() == len(lab.promised)
    log = lab.server.log()
    assert "event=store-suspect" in log and "event=store-quarantined" in log and "lost=0" in log
    assert (quarantine(lab.server) / "queue.db").read_bytes() == damaged != before
    assert lab.server.stop() == 0
    assert subprocess.run([str(POSTRIDER), "check", "--data", str(lab.server.data)], check=False, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL, capture_output=True).returncode == 0


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", range(4))
def test_flipped_octets_in_pages_at_several_places(lab, seed):
    lab.stop()
    chance = random.Random(seed)
    pages = lab.database.stat().st_size // PAGE
    for _ in range(1 + seed):
        page = chance.randrange(1, pages)
        for _ in range(30):
            overwrite(lab.database, page * PAGE + chance.randrange(PAGE), bytes([chance.randrange(256)]))
    lab.start()
    # Damage that is found by an operator's check alone: the next start salvages then.
    arrived = len(lab.peer.messages)
    assert lab.server.stop() == 0
    done = lab.server.cli_run("check", "--data", "--salvage")
    assert done.returncode in (0, 65), f"check ended with {done.returncode}: {done.stderr}"
    lab.start()
    assert lab.judge(silent_max=seed) >= arrived


def test_a_truncated_database(lab):
    lab.stop()
    os.truncate(lab.database, lab.database.stat().st_size // 2)
    lab.start()
    lab.server.wait_log("event=store-quarantined")
    lab.judge(silent_max=len(lab.promised) // 2)
    lab.server.wait_log(r"event=store-(lost|quarantined)")


@pytest.mark.parametrize("empty", [False, True])
def test_a_database_that_is_gone_is_missed(lab, empty):
    lab.stop()
    lab.database.unlink()
    if empty:
        lab.database.touch()
    lab.start()
    log = lab.server.log()
    assert "event=store-quarantined" in log and "missing or empty" in log
    # Large bodies are saved for people.
    bodies = [p for p in quarantine(lab.server).iterdir() if p.stat().st_size > len(LARGE)]
    assert {p.name for p in bodies} == {i for i, s in lab.promised.items() if s.endswith("9")}


@pytest.mark.parametrize("where", ["header", "middle", "many"])
def test_a_damaged_log(lab, where):
    lab.kill()
    size = lab.log.stat().st_size
    assert size > 20 * PAGE
    for at in {"header": [5], "middle": [size // 2], "many": range(100, size - 30000, 5000)}[where]:
        overwrite(lab.log, at, bytes([lab.log.read_bytes()[at] ^ 0x21]))
    lab.start()
    log = lab.server.log()
    assert "the log is damaged" in log and "event=store-quarantined" in log
    assert (quarantine(lab.server) / "queue.db-wal").stat().st_size == size


def test_damage_while_it_runs_is_said_and_gone_after(make_server, make_peer):
    """Every page but the first destroyed under a running server: it serves again by itself, on what it finds."""
    peer = make_peer()
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("before"), to="x@example.net")
    peer.wait_messages(1)
    server.kill_all()
    server.start() # the log is in the file now
    size = (server.data / "queue.db").stat().st_size
    for page in range(2, size // PAGE):
        overwrite(server.data / "queue.db", page * PAGE, b"\xff" * PAGE)
    queue, = server.role_pids("queue")
    os.kill(queue, signal.SIGKILL) # what it had in its cache is gone

    def again():
        with contextlib.suppress(AssertionError, OSError):
            return server.submit(message("after"))
        return None
    id_ = wait_for(again, lambda: f"mail to be taken; log:\n{server.log()[-3000:]}", timeout=90, every=0.5)
    server.wait_trace(id_, "delivered into the mailbox", timeout=60)
    server.wait_log("event=store-quarantined")


def test_a_body_that_is_damaged_is_held_and_the_rest_goes_on(lab):
    lab.stop()
    for found in re.finditer(rb"small 3\r\n", lab.database.read_bytes()): # free space may hold a former copy
        overwrite(lab.database, found.start(), b"SMALL")
    lab.start()
    victim, = [i for i, s in lab.promised.items() if s == "d3"]
    assert lab.judge() == len(lab.promised) - 1
    assert [row["id"] for row in lab.server.queued()] == [victim]
    assert "event=store-quarantined" not in lab.server.log()


def flip(path, at, bit=1):
    with open(path, "r+b") as file:
        file.seek(at)
        octet = file.read(1)[0]
        file.seek(at)
        file.write(bytes([octet ^ bit]))


def spool_file(server, id_):
    path, = server.data.glob(f"spool/*/{id_}")
    return path


@pytest.mark.parametrize("to", ["alice@example.com", "x@example.net"])
def test_a_flipped_bit_in_the_file_of_a_large_body_is_found_before_it_is_delivered(make_server, make_peer, to):
    """In the middle, and in the last octet: no end of data is sent, no file appears; the message is held and said."""
    peer = make_peer(extensions=("PIPELINING", "8BITMIME")) # no chunks: what it is sent has to be lines
    server = make_server(extra=route(free_port()), listen="  messages_max = 100000\n").start()
    obstacle = server.maildir() # the mailbox cannot be made: it waits, too
    obstacle.parent.mkdir(parents=True, exist_ok=True)
    obstacle.write_bytes(b"")
    large = [server.submit(message(f"large {k}", b"0123456789\r\n" * 20000), to=to) for k in range(3)]
    for id_ in large:
        server.wait_trace(id_, "attempt", timeout=60)
    assert server.stop() == 0
    octets = spool_file(server, large[0]).read_bytes()
    flip(spool_file(server, large[0]), octets.index(b"\r\n", len(octets) // 2)) # a bare LF, as nobody sent it
    flip(spool_file(server, large[1]), len(octets) - 1, 8)
    checked = server.cli_run("check", "--data")
    assert checked.returncode != 0
    said = [line for line in (checked.stdout + checked.stderr).splitlines() if "checksum" in line]
    assert sorted(id_ for id_ in large for line in said if id_ in line) == sorted(large[:2]), said
    obstacle.unlink()
    server.configure(extra=route(peer.port)).start()
    server.cli("queue", "retry", "--all")
    wait_for(lambda: {row["id"] for row in server.queued()} == set(large[:2]), "the sound one to be delivered",
             timeout=60, every=0.2)
    wait_for(lambda: [row["state"] for row in server.queued()] == ["held", "held"], "the others to be held", timeout=60,
             every=0.2)
    if to == "alice@example.com":
        assert b"Subject: large 2\r\n" in server.wait_mail()[0].wire
    else:
        assert [b"Subject: large 2\r\n" in body for _, _, body in peer.messages] == [True]
    assert server.log().count("event=store-corrupt") == 2
    for id_ in large[:2]:
        assert "damaged" in server.cli("queue", "show", id_)
        assert "damaged" in server.cli("trace", id_)


def test_a_flipped_bit_in_an_address_sends_nothing_elsewhere(lab):
    lab.stop()
    for found in re.finditer(rb"x5@example\.net", lab.database.read_bytes()): # free space may hold a former copy
        flip(lab.database, found.start())
    lab.start()
    lab.server.cli("queue", "retry", "--all") # its destination was dead: all would come one by one
    victim, = [i for i, s in lab.promised.items() if s == "d5"]
    wait_for(lambda: [(row["id"], row["state"], row["damaged"]) for row in lab.server.queued()] ==
             [(victim, "held", True)], lambda: f"one held message: {lab.server.queued()}", timeout=60, every=0.2)
    lab.server.wait_log(f"event=store-corrupt id={victim}")
    assert "held, damaged" in lab.server.cli("queue")
    assert "DAMAGED" in lab.server.cli("trace", victim)
    lab.server.cli("queue", "release", victim)
    wait_for(lambda: [row["state"] for row in lab.server.queued()] == ["held"], "it to be held again", timeout=60)
    lab.server.cli("queue", "bounce", victim)
    assert [row["id"] for row in lab.server.queued()] == [victim], "its sender is not known: no report"
    lab.server.cli("queue", "remove", victim)
    assert lab.server.queued() == []


def test_two_servers_on_one_data_directory(make_server):
    """The second ends, says why, and leaves the first alone."""
    first = make_server().start()
    second = make_server()
    second.data = first.data
    second.configure().spawn()
    assert second.process.wait(PATIENCE) != 0
    assert "another server" in second.log()
    first.submit()
    first.wait_mail()
    wait_for(lambda: first.queued() == [], "an answer on its control socket: nothing is left")
    assert not (first.data / "quarantine").exists()
