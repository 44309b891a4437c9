"""kill -9 of any role, and of all, at any moment under load: what got its 250 is delivered or queued afterwards.

Duplicates are allowed here and nowhere else: a delivery whose outcome was lost with its process is done again.
"""
import base64
import collections
import ctypes
import os
import random
import re
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import Closed, Dialog, message, postfix_env, route, smtp_source, wait_for

LARGE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n" * 5000 # beyond what the database holds


LOGIN = "AUTH PLAIN " + base64.b64encode(b"\0load@example.org\0correct horse").decode()


class Load:
    """Clients that send as fast as they can, come back when they are cut off, and know what got its 250. One in two
    logs in, and its messages are a user's."""

    def __init__(self, port, sessions=4):
        self.port = port
        self.source = subprocess.Popen(smtp_source(port, 100000, 4, to="carol@example.com"), env=postfix_env(),
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.promised = {} # subject -> id
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(n,), daemon=True) for n in range(sessions)]
        for thread in self.threads:
            thread.start()

    def _client(self, n):
        number = 0
        while not self.stopping.is_set():
            try:
                with Dialog(self.port, timeout=20) as d:
                    d.hello()
                    if n % 2:
                        d.expect(235, LOGIN)
                    while not self.stopping.is_set():
                        number += 1
                        self._send(d, f"s{n}-{number}", number)
            except (OSError, Closed, AssertionError):
                # Cut off, or refused for the moment: a client tries again.
                self.stopping.wait(0.05)

    def _send(self, d, subject, number):
        to = ["alice@example.com", "dest@example.net", "bob@example.com"][number % 3]
        d.envelope(f"{subject}@example.org", to)
        body = LARGE if number % 20 == 0 else b"body of %s\r\n" % subject.encode()
        reply = d.data(f"From: load@example.org\r\nSubject: {subject}\r\n\r\n".encode() + body)
        assert reply.code == 250, reply
        self.promised[subject] = re.search(r"\b([0-9A-Z]{12})\b", reply.text).group(1)

    def stop(self):
        self.stopping.set()
        self.source.kill()
        self.source.wait()
        for thread in self.threads:
            thread.join(30)
            assert not thread.is_alive()


def subjects(octets):
    return re.findall(rb"(?m)^Subject: (s\d+-\d+)\r?$", octets)


def arrived(server, peer):
    """How often each subject arrived: in the Maildirs and at the smart host."""
    found = collections.Counter()
    for mailbox in ("alice", "bob"):
        folder = server.maildir(mailbox) / "new"
        for path in folder.iterdir() if folder.exists() else []:
            with open(path, "rb") as file:
                found.update(s.decode() for s in subjects(file.read(4096)))
    for _, _, body in list(peer.messages):
        found.update(s.decode() for s in subjects(body[:4096]))
    return found


def nothing_is_lost(server, peer, load):
    assert len(load.promised) > 20, "there was no load to speak of"

    def missing():
        found = arrived(server, peer)
        return [s for s in load.promised if s not in found]
    wait_for(lambda: not missing(),
             lambda: f"{len(missing())} of {len(load.promised)} messages that got their 250, such as "
                     f"{[(s, load.promised[s]) for s in missing()[:5]]}; log:\n{server.log()[-3000:]}",
             timeout=90, every=0.5)
    wait_for(lambda: not server.queued(), "an empty queue", timeout=60, every=0.5)
    # A file is whole or not there at all.
    for mailbox in ("alice", "bob"):
        for mail in server.mail(mailbox):
            subject = subjects(mail.raw[:4096])
            if subject:
                end = LARGE if int(subject[0].decode().split("-")[1]) % 20 == 0 else b"body of %s\r\n" % subject[0]
                assert mail.wire.endswith(end), mail


@pytest.fixture
def loaded(make_server, make_peer):
    peer = make_peer()
    server = make_server(listen="  messages_max = 100000\n  auth = offer\n  auth_in_clear = all\n",
                         extra=route(peer.port) + "accounts {\n  messages_per_hour = none\n"
                                                  "  recipients_per_hour = none\n}\n").start()
    server.cli("user", "add", "load@example.org", "-a", "example.org", stdin="correct horse\n")
    load = Load(server.port)
    yield server, peer, load
    load.stop()


def under_load(load, least):
    """Waits until so many more messages were promised: the middle of things."""
    before = len(load.promised)
    wait_for(lambda: len(load.promised) >= before + least, "the load to go on", timeout=60)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["receiver", "queue", "sender", "mailbox", "admin", "keys", "auth"])
def test_a_killed_role_is_started_again_and_nothing_is_lost(loaded, role):
    server, peer, load = loaded
    chance = random.Random(role)
    for _ in range(4):
        under_load(load, 30)
        time.sleep(chance.random() / 20) # any moment will do
        victims = wait_for(lambda: server.role_pids(role), lambda: f"a {role}: {server.processes()}")
        killed = chance.choice(victims)
        os.kill(killed, signal.SIGKILL)
        # There may be more than before: one that was killed the last time, or that has only just been started.
        wait_for(lambda: killed not in (now := server.role_pids(role)) and len(now) >= len(victims),
                 lambda: f"a new {role}: {server.processes()}")
    under_load(load, 30)
    load.stop()
    nothing_is_lost(server, peer, load)
    assert server.process.poll() is None
    server.wait_log("role-died")


@pytest.mark.timeout(300)
def test_all_killed_at_once_and_nothing_is_lost(loaded):
    server, peer, load = loaded
    for _ in range(4):
        under_load(load, 40)
        server.kill_all()
        server.start()
    under_load(load, 20)
    load.stop()
    nothing_is_lost(server, peer, load)


@pytest.mark.timeout(300)
def test_every_role_killed_at_once(loaded):
    """But for the launcher, without which the server ends: test_sandbox.py."""
    server, peer, load = loaded
    for _ in range(3):
        under_load(load, 30)
        for pid in set(server.processes()) - {server.process.pid, *server.role_pids("launcher")}:
            os.kill(pid, signal.SIGKILL)
        wait_for(server.serves, "service")
    under_load(load, 20)
    load.stop()
    nothing_is_lost(server, peer, load)


@pytest.mark.timeout(300)
def test_a_killed_supervisor_takes_its_roles_along_and_a_new_one_starts(loaded):
    server, peer, load = loaded
    under_load(load, 40)
    server.process.kill()
    server.killed = True
    server.process.wait()
    wait_for(lambda: not server.processes(), lambda: f"the roles to end: {server.processes()}")
    server.start()
    under_load(load, 20)
    load.stop()
    nothing_is_lost(server, peer, load)


def test_orphans_of_an_unfinished_upload_are_cleaned_up(make_server):
    """A large message that never ended leaves no file behind after the next start."""
    server = make_server().start()
    d = server.dialog()
    d.hello()
    d.envelope()
    d.expect(354, "DATA")
    d.send(b"Subject: unfinished\r\n\r\n" + LARGE)
    spool = server.data / "spool"
    wait_for(lambda: [p for p in spool.rglob("*") if p.is_file()], "a file in the spool")
    server.kill_all()
    server.start()
    wait_for(lambda: not [p for p in spool.rglob("*") if p.is_file()], "an empty spool")
    assert not server.queued()
    assert not server.mail("alice")


def test_a_second_server_on_the_same_data_is_refused(make_server):
    first = make_server().start()
    second = make_server()
    second.data = first.data
    second.configure().spawn()
    assert second.process.wait(30) != 0
    assert "another server" in second.log()
    first.submit()
    first.wait_mail()


def test_what_no_session_has_taken_is_given_out_by_the_next_queue_alone(make_server, make_peer):
    """The queue dies while the other server does not greet yet: nothing is in doubt, and nothing comes twice."""
    gate = threading.Event()

    def greeting(_):
        assert gate.wait(60)
        return "220 peer.example.net ESMTP"
    peer = make_peer(GREETING=greeting)
    server = make_server(extra=route(peer.port)).start()
    for n in range(20):
        server.submit(message(f"w{n}"), to="x@example.net")
    wait_for(lambda: peer.peer.connections, "a connection")
    queue, = server.role_pids("queue")
    os.kill(queue, signal.SIGKILL)
    wait_for(lambda: server.cli_run("queue", "status").returncode == 0, "a new queue")
    gate.set()
    server.cli("queue", "retry", "--all")
    wait_for(lambda: not server.queued(), "an empty queue", timeout=60, every=0.2)
    came = [re.search(rb"Subject: (w\d+)\r\n", body).group(1) for _, _, body in peer.messages]
    assert sorted(came) == sorted(b"w%d" % n for n in range(20))


def test_without_its_queue_the_server_gives_no_totals(server):
    """Zeros would read like an empty queue."""
    queue, = server.role_pids("queue")
    os.kill(server.process.pid, signal.SIGSTOP) # nobody starts it again
    os.kill(queue, signal.SIGKILL)
    wait_for(lambda: server.cli_run("queue", "status").returncode != 0, "the queue to be missed")
    done = server.cli_run("queue", "status", "--json")
    os.kill(server.process.pid, signal.SIGCONT)
    assert done.returncode == 75 and "does not answer" in done.stderr and not done.stdout, done
    wait_for(lambda: server.cli_run("queue", "status").returncode == 0, "a new queue")


class Lingering:
    """A process that is held at the moment of its end, as a big one holds itself: killed, but not gone."""

    SEIZE, DETACH, TRACE_EXIT, EVENT_EXIT = 0x4206, 17, 0x40, 6

    def __init__(self, pid):
        self.pid = pid
        os.kill(pid, signal.SIGSTOP) # it would end by itself when it finds its channel closed
        self.libc = ctypes.CDLL(None, use_errno=True)
        self._ptrace(self.SEIZE, self.TRACE_EXIT)

    def _ptrace(self, request, data):
        result = self.libc.ptrace(ctypes.c_long(request), ctypes.c_long(self.pid), None, ctypes.c_void_p(data))
        assert result == 0, os.strerror(ctypes.get_errno())

    def wait_killed(self):
        status = 0
        while status >> 16 != self.EVENT_EXIT:
            pid, status = os.waitpid(self.pid, 0x40000000) # __WALL: it is another process's child
            assert pid == self.pid and os.WIFSTOPPED(status)

    def release(self):
        self._ptrace(self.DETACH, 0)


def close_channel(pid, fd):
    """Ends a role's channel under its feet, in both directions."""
    pidfd_getfd = 438
    holder = os.pidfd_open(pid)
    copy = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(pidfd_getfd), holder, fd, 0)
    assert copy >= 0, os.strerror(ctypes.get_errno())
    with socket.socket(fileno=copy) as channel:
        channel.shutdown(socket.SHUT_RDWR)
    os.close(holder)


@pytest.mark.parametrize("role", ["mailbox", "sender", "receiver", "admin"])
def test_a_channel_that_closes_before_its_process_is_gone(make_server, role):
    """Nothing is sent over it when the queue comes back in between."""
    server = make_server(extra="receivers = 1\nsenders = 1\n").start()
    pid, = server.role_pids(role)
    queue, = server.role_pids("queue")
    lingering = Lingering(pid)
    try:
        close_channel(pid, 3) # its channel to the supervisor
        lingering.wait_killed()
        os.kill(queue, signal.SIGKILL)
        wait_for(lambda: server.role_pids("queue") not in ([], [queue]), "a new queue")
    finally:
        lingering.release()
    wait_for(lambda: server.role_pids(role) not in ([], [pid]), "a new role")
    assert server.process.poll() is None
    id_ = server.submit()
    server.wait_trace(id_, "delivered")
