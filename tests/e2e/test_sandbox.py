"""What a burglar gets: each role tries what it may never do and is stopped, and a receiver in an attacker's hands finds
no queued message, no mailbox, no key and no password. The attacker's receiver is the product's server with the sessions
replaced (tests/attacker)."""
import contextlib
import errno
import json
import os
import pathlib
import re
import signal
import smtplib
import socket
import struct
import subprocess

import pytest

from harness import (BUILD, POSTRIDER, POSTRIDERD, SANITIZED, free_port, message, route, server_account, wait_for)

ATTACKER = BUILD / "tests/attacker/postriderd-attacker"


# ---- each role tries ---------------------------------------------------------------------------------------------

# What each role of design.md section 2 has to do, and no more; all else has to be stopped. A mailbox role with LMTP
# servers has more than one with Maildirs alone.
MAY = {
    "supervisor": {"read-queue", "read-large", "read-mailbox", "read-key", "read-passwords", "read-system",
                   "read-elsewhere", "signal"},
    "receiver": {"accept", "send-udp"},
    # All of the data directory: SQLite makes files beside the database and removes them.
    "queue": {"read-queue", "change-queue", "read-large", "read-mailbox", "write-mailbox", "read-key",
              "read-passwords"},
    "auth": {"read-passwords"},
    "sender": {"connect-tcp", "send-udp"},
    "mailbox": {"read-mailbox", "write-mailbox"},
    "admin": {"accept"},
    "keys": {"read-key"},
}
# Under the sanitizers a process may start the program that names functions in a report; and there is nothing else in
# its way but Landlock.
SANITIZER_MAY = {"signal", "start-process", "run-memory", "run-program", "read-system"}


def sandbox(tmp_path, text="", run=()):
    conf = tmp_path / "postrider.conf"
    conf.write_text(f'hostname = "mx.example.com"\ndata_dir = "{tmp_path}/data"\n{text}')
    done = subprocess.run([*run, str(POSTRIDER), "check", "--sandbox", "--json", "-c", str(conf)], capture_output=True,
                          text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    return sandbox(tmp_path_factory.mktemp("tried"))


def may(found):
    return {name for name, trial in found.items() if trial["outcome"] == "may"}


@pytest.fixture(scope="module")
def whole_kernel(tried):
    """On a machine without it the tests would prove nothing. Nothing that can be installed changes that."""
    if tried["landlock"] < 4 or not tried["seccomp"]:
        pytest.skip(f"not here: the kernel, or a container, gives Landlock {tried['landlock']} (4 is needed), seccomp "
                    f"{tried['seccomp']}")


locked_in = pytest.mark.usefixtures("whole_kernel")


def test_every_attempt_works_for_who_is_not_locked_in(tried):
    """Else that a role is stopped would say nothing about its lock."""
    stopped = set(tried["unconfined"]) - may(tried["unconfined"])
    # A container may forbid these to everybody.
    assert stopped <= {"new-namespace", "trace", "read-memory"}, stopped


@locked_in
@pytest.mark.parametrize("role", MAY)
def test_a_role_may_do_its_work_and_is_stopped_at_all_else(tried, role):
    found = tried["roles"][role]["tried"]
    assert not [name for name, trial in found.items() if trial["outcome"] == "unknown"]
    if SANITIZED:
        assert may(found) - SANITIZER_MAY == MAY[role] - SANITIZER_MAY
    else:
        assert may(found) == MAY[role]


@locked_in
@pytest.mark.parametrize("role", MAY)
def test_what_nobody_does_by_mistake_ends_the_process(tried, role):
    found = tried["roles"][role]["tried"]
    assert found["new-namespace"]["outcome"] == "ended"
    if not SANITIZED:
        assert {found[name]["outcome"] for name in ("run-program", "read-memory", "trace")} == {"ended"}


@locked_in
def test_a_mailbox_role_reaches_the_lmtp_servers_of_the_configuration_alone(tmp_path):
    domain = 'domain "%s" {\n  deliver = lmtp\n  lmtp = "%s"\n  mailboxes = {"*"}\n}\n'
    found = sandbox(tmp_path, domain % ("a.example", "inet:127.0.0.1:24"))["roles"]["mailbox"]
    assert found["ports"] == [24] and not found["all_ports"]
    assert found["tried"]["connect-tcp"] == {"outcome": "stopped", "error": "EACCES"}
    assert found["tried"]["connect-unix"]["outcome"] == found["tried"]["send-udp"]["outcome"] == "stopped"
    found = sandbox(tmp_path, domain % ("a.example", "unix:/run/lmtp"))["roles"]["mailbox"]
    assert found["ports"] == []
    assert may(found["tried"]) - SANITIZER_MAY == (MAY["mailbox"] | {"connect-unix"}) - SANITIZER_MAY
    # A host name has to be looked up.
    found = sandbox(tmp_path, domain % ("a.example", "inet:lmtp.example:2400"))["roles"]["mailbox"]
    assert found["ports"] == [2400] and found["tried"]["send-udp"]["outcome"] == "may"


@locked_in
def test_the_table_can_be_read_by_people(tmp_path):
    done = subprocess.run([str(POSTRIDER), "check", "--sandbox"], capture_output=True, text=True, check=False,
                          cwd=tmp_path, timeout=100)
    assert done.returncode == 0, done.stderr
    assert re.search(r"(?m)^receiver\n  may: .*\n  never: open a file", done.stdout)
    assert re.search(r"read a private key +stopped: ", done.stdout)
    assert not list(pathlib.Path("/tmp").glob("postrider-sandbox.*/data/.*"))


# ---- the processes of a server that runs -------------------------------------------------------------------------

def status_of(pid):
    return dict(re.findall(r"(?m)^(\w+):\s*(.*)$", pathlib.Path(f"/proc/{pid}/status").read_text()))


def everybody(server):
    """(name, pid) of each process."""
    for pid, words in server.processes().items():
        found = re.search(r"--role (\w+)", words)
        yield (found.group(1) if found else "supervisor"), pid


ASKED = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD}


def caught(status):
    return {n for n in range(1, 65) if int(status["SigCgt"], 16) >> (n - 1) & 1}


def kept(pid):
    """Descriptors that outlive execve."""
    flags = {int(path.name): int(re.search(r"flags:\s*(\d+)", path.read_text()).group(1), 8)
             for path in pathlib.Path(f"/proc/{pid}/fdinfo").iterdir()}
    assert flags
    return {fd for fd, value in flags.items() if not value & os.O_CLOEXEC}


@locked_in
def test_every_process_is_locked_in_and_nobody_is_root(make_server):
    server = make_server().start()
    names = set()
    for name, pid in everybody(server):
        names.add(name)
        status = status_of(pid)
        ids = {int(n) for n in status["Uid"].split() + status["Gid"].split()}
        assert os.geteuid() == 0 and 0 not in ids or os.geteuid() in ids, (name, ids)
        for sets in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[sets], 16) == 0, (name, sets)
        assert status["NoNewPrivs"] == "1", name
        assert status["Seccomp"] == "2", name
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits), name
        if name not in ("launcher",) and not SANITIZED:
            # Not dumpable: what /proc says of it belongs to root.
            assert pathlib.Path(f"/proc/{pid}/mem").stat().st_uid == 0, name
        if not SANITIZED:
            # L5: no handler but the one of refused calls; the supervisor's write the number to a pipe.
            asked = ASKED if name == "supervisor" else set()
            assert caught(status) <= {signal.SIGSYS} | asked, (name, caught(status))
        if os.geteuid() == 0:
            # L3: whatever a process might still start gets nothing of what is open.
            assert kept(pid) <= {0, 1, 2}, name
    assert names == {*MAY, "launcher"}
    server.wait_log(r"event=confined landlock=\d+ seccomp=yes")


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root can give root up")
def test_a_server_that_root_starts_runs_as_its_account(make_server, tmp_path):
    server = make_server(extra='user = "daemon"')
    server.owns_data = False
    server.start()
    uids = {int(status_of(pid)["Uid"].split()[0]) for _, pid in everybody(server)}
    assert uids == {1}
    assert server.data.stat().st_uid == 1
    server.wait_log("event=account user=daemon")
    server.submit(message("for alice"))
    assert server.wait_mail("alice")[0].path.stat().st_uid == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root can give root up")
@pytest.mark.parametrize("user", ["root", "no-such-account"])
def test_root_does_not_stay_root(make_server, user):
    server = make_server(extra=f'user = "{user}"').spawn()
    assert server.process.wait(30) == 78
    assert re.search(rf"event=start-failed user={user} reason=.*no such account", server.log())


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root can give root up")
def test_data_of_somebody_else_is_left_alone_and_said(make_server):
    server = make_server()
    server.owns_data = False
    server.data.mkdir(mode=0o700)
    (server.data / "file").write_text("root's")
    server.spawn()
    assert server.process.wait(30) == 78
    assert "chown -R" in server.log() and server.data.stat().st_uid == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root can give root up")
def test_a_data_directory_that_only_root_can_reach_will_do(make_server, tmp_path):
    """As with `make run` below /root: the roles begin in the data directory."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = make_server()
    server.owns_data = False
    server.data = closed / "data"
    submission = free_port()
    server.configure(extra=f'listen submission {{\n  address = "127.0.0.1"\n  port = {submission}\n  submission = yes\n'
                     "  tls = off\n  auth_in_clear = all\n}").start()
    server.submit(message("for alice"), to="alice@example.com")
    server.wait_mail("alice")
    pid, = server.role_pids("queue")
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: server.role_pids("queue") not in ([], [pid]), "a new queue")
    wait_for(server.serves, "service by the new queue")
    server.submit(message("for bob"), to="bob@example.com")
    server.wait_mail("bob")
    # Tools come to it as its owner, too, and the role that checks passwords.
    server.cli("user", "add", "alice@example.com", stdin="correct horse\n")
    with smtplib.SMTP("127.0.0.1", submission) as client:
        client.login("alice@example.com", "correct horse")
    assert server.stop() == 0
    assert not (server.data / "control.sock").exists() and not (server.data / "submit.sock").exists()


def test_a_launcher_that_dies_ends_the_server_in_order(make_server):
    server = make_server().start()
    launcher, = server.role_pids("launcher")
    os.kill(launcher, signal.SIGKILL)
    assert server.process.wait(30) == 70
    assert re.search(r"event=role-died which=launcher signal=9", server.log())


def test_a_new_lmtp_server_after_a_reload_is_reached(make_server, make_peer):
    """The mailbox role had locked itself in without any socket: it is started anew, in order, and loses nothing."""
    server = make_server().start()
    before, = server.role_pids("mailbox")
    peer = make_peer(lmtp=True)
    server.configure(extra=f'domain "lists.example" {{\n  deliver = lmtp\n  lmtp = "inet:127.0.0.1:{peer.port}"\n'
                     '  mailboxes = {"*"}\n}')
    server.signal(signal.SIGHUP)
    server.wait_log("event=reloaded")
    server.submit(message("for a list"), to="all@lists.example")
    server.submit(message("for alice"), to="alice@example.com")
    peer.wait_messages(1)
    server.wait_mail("alice")
    after, = server.role_pids("mailbox")
    assert after != before and "which=mailbox" not in server.log()
    # What it has is enough for the next configuration: it stays.
    server.signal(signal.SIGHUP)
    wait_for(lambda: len(re.findall("event=reloaded", server.log())) == 2, "the second reload")
    server.submit(message("once more"), to="all@lists.example")
    peer.wait_messages(2)
    assert server.role_pids("mailbox") == [after]


# ---- kernels without -----------------------------------------------------------------------------------------------

def spawn_without(server, *what):
    server.prefix = [str(BUILD / "tests/attacker/without"), *what]
    return server.spawn()


@locked_in
@pytest.mark.parametrize("without, says", [
    (["landlock"], "landlock=no seccomp=yes"), (["seccomp"], r"landlock=\d+ seccomp=no"),
    (["landlock", "seccomp"], "landlock=no seccomp=no"), (["landlock-use", "seccomp-use"], "landlock=no seccomp=no")])
def test_a_kernel_without_goes_on_with_the_rest_and_says_so_once(make_server, without, says):
    server = make_server()
    spawn_without(server, *without).wait_ready(0)
    server.submit(message("as ever"))
    server.wait_mail("alice")
    assert len(re.findall(f"level=warning role=supervisor event=confined-less {says}", server.log())) == 1
    assert len(re.findall("event=confined", server.log())) == 1


@locked_in
@pytest.mark.parametrize("without, lacks", [("landlock", "Landlock"), ("seccomp", "seccomp"),
                                            ("seccomp-use", "seccomp")])
def test_who_requires_the_lock_does_not_start_without(make_server, without, lacks):
    server = make_server(extra="sandbox = required")
    spawn_without(server, without)
    assert server.process.wait(30) == 78
    assert f'detail="{lacks} is required' in server.log() and "event=started" not in server.log()


@locked_in
def test_without_landlock_the_receiver_still_opens_nothing(tmp_path):
    found = sandbox(tmp_path, run=[str(BUILD / "tests/attacker/without"), "landlock"])
    assert found["landlock"] == 0
    receiver = found["roles"]["receiver"]["tried"]
    if not SANITIZED:
        assert not [name for name in may(receiver) if name.startswith(("read-", "write-", "change-"))]


# ---- the attacker --------------------------------------------------------------------------------------------------

SECRET_QUEUED = b"what stands in the queued message"
SECRET_LARGE = b"what stands in the large message"
SECRET_MAILBOX = b"what stands in the mailbox"
SECRET_PASSWORD = b"what the user's password is"
SECRET_HASH = b"$y$"  # what is kept of it, by yescrypt
SECRET_KEY = b"PRIVATE KEY"

# ENOSYS: it may read files (as a process of a build with sanitizers may), but not in this way.
REFUSED = (errno.EPERM, errno.EACCES, errno.ENOSYS)

AF_UNIX, AF_INET, SOCK_STREAM = socket.AF_UNIX, socket.AF_INET, socket.SOCK_STREAM


class Attacker:
    """Calls the kernel from inside of a receiver."""

    def __init__(self, port):
        self.port = port
        self.connect()

    def connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        self.file = self.socket.makefile("rb")
        self.base = int(self.ask("base").split()[0])

    def ask(self, line):
        self.socket.sendall(line.encode() + b"\n")
        answer = self.file.readline().decode()
        if not answer.endswith("\n"):
            raise EOFError("the receiver is gone")
        return answer[:-1]

    def poke(self, at, octets):
        self.ask(f"poke {at} {octets.hex()}")

    def peek(self, at, count):
        return bytes.fromhex(self.ask(f"peek {at} {count}"))

    def call(self, name, *args):
        """(result, errno); a text among the arguments is put into memory."""
        words, at = [name], 4096
        for arg in args:
            if isinstance(arg, (str, pathlib.Path, bytes)):
                octets = (arg if isinstance(arg, bytes) else str(arg).encode()) + b"\0"
                self.poke(at, octets)
                words.append(f"m+{at}")
                at += len(octets) + 8 & ~7
            else:
                words.append(str(arg))
        result, error = map(int, self.ask(" ".join(words)).split())
        return result, error

    def fails(self, name, *args):
        result, error = self.call(name, *args)
        assert result == -1, f"{name}{args} gave {result}"
        return errno.errorcode[error]

    def dies(self, name, *args):
        """A call that ends the receiver; the next one is connected to."""
        with pytest.raises((EOFError, ConnectionError)):
            self.call(name, *args)
        self.connect_again()

    def connect_again(self):
        self.socket.close()

        def again():
            with contextlib.suppress(OSError, EOFError):
                self.connect()
                return True
        wait_for(again, "the next receiver")

    def read(self, fd, count=65536):
        """What can be read from a descriptor; empty: nothing."""
        for call, rest in (("pread64", (0,)), ("read", ())):
            n, _ = self.call(call, fd, self.base + 100000, count, *rest)
            if n > 0:
                return self.peek(100000, n)
        return b""

    def descriptors(self):
        return [fd for fd in range(256) if self.call("fcntl", fd, 1, 0)[0] >= 0]

    def exchange(self, fd, kind, payload=b"", ms=100):
        """Sends a frame to another role; what comes back, octets and descriptors. An answer is not owed."""
        frame = struct.pack("<IHBB", len(payload), kind, 1, 0) + payload
        octets, *fds = self.ask(f"exchange {fd} {ms} {frame.hex()}").split(" ")
        return bytes.fromhex(octets), [int(n) for n in fds]


def fill(server):
    """A message of each kind in the queue, one in a mailbox, a key, a password."""
    server.start()
    server.submit(message("queued", SECRET_QUEUED + b"\r\n"), to="x@elsewhere.example")
    server.submit(message("large", (SECRET_LARGE + b"\r\n") * 100000), to="x@elsewhere.example")
    server.submit(message("here", SECRET_MAILBOX + b"\r\n"), to="alice@example.com")
    server.wait_mail("alice")
    wait_for(lambda: len(server.queued()) == 2, "two that wait")
    server.cli("user", "add", "alice@example.com", stdin=SECRET_PASSWORD.decode() + "\n")
    assert SECRET_HASH in (server.data / "accounts/directory.db").read_bytes()
    assert server.stop() == 0


@pytest.fixture
def attacked(make_server, monkeypatch, tmp_path):
    """A server whose receiver is an attacker's, with something to be found everywhere."""
    key, chain = tmp_path / "own.key", tmp_path / "own.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-subj", "/CN=mx.example.com", "-days", "30", "-keyout", str(key), "-out", str(chain)], check=True,
                   capture_output=True)
    for path in (key, chain):
        os.chown(path, *server_account())
    key.chmod(0o600)
    server = make_server(extra=route(free_port()) + f'receivers = 1\ncertificate "mx.example.com" {{\n'
                         f'  chain = "{chain}"\n  key = "{key}"\n}}', queue='retry_first = "1h"\nretry_longest = "2h"')
    server.key = key
    server.may_be_refused = True
    fill(server)
    monkeypatch.setattr("harness.POSTRIDERD", ATTACKER)
    server.spawn()
    server.wait_log(r"event=started.*\n(.*\n)*.*event=started")
    yield server, Attacker(server.port)


def secrets(octets):
    return [s for s in (SECRET_QUEUED, SECRET_LARGE, SECRET_MAILBOX, SECRET_PASSWORD, SECRET_HASH, SECRET_KEY)
            if s in octets]


def files_of(server):
    """Every file that holds something of worth, by whole paths and from the data directory, where the roles are."""
    found = [server.key, server.conf, pathlib.Path("/etc/passwd")]
    found += [p for p in server.data.rglob("*") if p.is_file()]
    assert any("queue.db" in p.name for p in found) and any("/mail/" in str(p) for p in found)
    assert any("/spool/" in str(p) for p in found) and any("/accounts/" in str(p) for p in found)
    return found + [p.relative_to(server.data) for p in found if p.is_relative_to(server.data)]


@locked_in
def test_an_attacker_in_the_receiver_opens_no_file(attacked):
    server, attacker = attacked
    for path in files_of(server):
        for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_PATH):
            result, error = attacker.call("openat", -100, path, flags, 0)
            # Under the sanitizers only Landlock is in the way, which a path alone does not interest.
            if not (SANITIZED and flags == os.O_PATH):
                assert (result, error in REFUSED) == (-1, True), (path, flags, result, error)
        assert attacker.fails("truncate", path, 0) in ("EPERM", "EACCES")
        assert attacker.fails("unlink", path) in ("EPERM", "EACCES")
    for directory in ("/", server.data, ".", "mail", "spool", "/proc"):
        result, error = attacker.call("openat", -100, directory, os.O_RDONLY | os.O_DIRECTORY, 0)
        if not (SANITIZED and directory == "/proc"):
            assert (result, error in REFUSED) == (-1, True), directory
    assert attacker.fails("openat2", -100, "queue.db", b"\0" * 24, 24) in ("EPERM", "EACCES", "ENOSYS")
    assert attacker.fails("openat", -100, server.data / "new", os.O_WRONLY | os.O_CREAT, 0o600) in ("EPERM", "EACCES",
                                                                                                     "ENOSYS")
    assert attacker.fails("rename", "queue.db", "mail/queue.db") in ("EPERM", "EACCES", "EXDEV")
    assert attacker.fails("linkat", -100, "queue.db", -100, "/tmp/queue.db", 0) in ("EPERM", "EACCES", "EXDEV")
    attacker.dies("open_by_handle_at", -100, b"\0" * 64, 0)
    attacker.dies("mount", "/", "/tmp", "none", 4096, 0)


@locked_in
def test_an_attacker_in_the_receiver_finds_nothing_in_what_is_open(attacked):
    server, attacker = attacked
    found = attacker.descriptors()
    assert len(found) > 5
    for fd in found:
        attacker.call("fcntl", fd, 4, os.O_NONBLOCK)
        octets = attacker.read(fd)
        assert not secrets(octets), (fd, octets[:200])
        # What is open cannot be had again for another purpose.
        path = f"/proc/self/fd/{fd}"
        result, error = attacker.call("openat", -100, path, os.O_RDONLY | os.O_NONBLOCK, 0)
        if result >= 0:
            assert SANITIZED, path
            assert not secrets(attacker.read(result))
        else:
            assert error in (errno.EPERM, errno.EACCES, errno.ENXIO, errno.ENOSYS), (path, error)


@locked_in
def test_an_attacker_in_the_receiver_does_not_reach_the_other_processes(attacked):
    server, attacker = attacked
    for name, pid in everybody(server):
        if name == "receiver":
            continue
        for what in ("mem", "environ", "maps", "cwd/queue.db", "root/etc/passwd", "fd/3"):
            path = f"/proc/{pid}/{what}"
            result, error = attacker.call("openat", -100, path, os.O_RDONLY, 0)
            assert (result, error in REFUSED) == (-1, True), (path, result, error)
        for number in (0, signal.SIGKILL, signal.SIGSTOP):
            assert attacker.fails("kill", pid, number) == "EPERM", name
        assert attacker.fails("tgkill", pid, pid, signal.SIGKILL) in ("EPERM", "ENOSYS")
    queue, = server.role_pids("queue")
    if not SANITIZED:
        attacker.dies("ptrace", 0x4206, queue, 0, 0)
        attacker.dies("process_vm_readv", queue, attacker.base, 1, attacker.base, 1, 0)
    attacker.dies("process_vm_writev", queue, attacker.base, 1, attacker.base, 1, 0)
    assert attacker.fails("pidfd_open", queue, 0) == "ENOSYS"
    # Each time it was the receiver alone.
    died = re.findall(r"event=role-died which=receiver index=0 pid=\d+ signal=31", server.log())
    assert len(died) == (1 if SANITIZED else 3)
    assert not re.search(r"event=role-died which=(?!receiver)", server.log())
    assert server.role_pids("queue") == [queue]


@locked_in
def test_an_attacker_in_the_receiver_makes_no_other_use_of_this_machine(attacked):
    server, attacker = attacked
    if not SANITIZED:
        attacker.dies("execve", "/bin/sh", 0, 0)
        assert attacker.fails("clone", 17, 0, 0, 0, 0) == "EPERM"
        assert attacker.fails("clone3", b"\0" * 88, 88) == "EPERM"
        assert attacker.fails("mmap", 0, 4096, 7, 0x22, -1, 0) == "ENOSYS"
        assert attacker.fails("prctl", 4, 1, 0, 0, 0) == "EPERM" # PR_SET_DUMPABLE
    attacker.dies("io_uring_setup", 8, b"\0" * 120)
    attacker.dies("setuid", 0)
    # Nobody is called up: the tools' socket, another server on this machine, a port of ours.
    assert attacker.fails("socket", AF_UNIX, SOCK_STREAM, 0) in ("EPERM", "ENOSYS")
    assert attacker.fails("socketpair", AF_UNIX, socket.SOCK_DGRAM, 0, attacker.base) == "EPERM"
    assert attacker.fails("socket", 17, 3, 0) in ("EPERM", "ENOSYS") # AF_PACKET, SOCK_RAW
    assert attacker.fails("socket", 16, 3, 0) in ("EPERM", "ENOSYS") # AF_NETLINK
    tcp, _ = attacker.call("socket", AF_INET, SOCK_STREAM, 0)
    assert tcp >= 0
    to = struct.pack("=H", AF_INET) + struct.pack("!H4s8x", server.port, b"\x7f\0\0\1")
    assert attacker.fails("connect", tcp, to, 16) == "EACCES"
    assert attacker.fails("bind", tcp, struct.pack("=H", AF_INET) + bytes(14), 16) == "EACCES"
    assert attacker.fails("listen", tcp, 10) == "EPERM"


# Frames of wire.h: to the queue from tools and couriers, to the keys, to auth, to the supervisor.
LIST, TRACE, BACKUP, OUTCOME, SPOOL_OPEN, SPOOL_DROP, SIGN, AUTH_BEGIN = 48, 49, 52, 33, 17, 18, 67, 80


def channels(attacker):
    """The sockets to other roles."""
    found = []
    for fd in attacker.descriptors():
        attacker.poke(2048, b"\xff" * 16 + struct.pack("I", 16))
        if attacker.call("getpeername", fd, attacker.base + 2048, attacker.base + 2064)[0] == 0:
            family, = struct.unpack("H", attacker.peek(2048, 2))
            if family == AF_UNIX:
                found.append(fd)
    return found


def every_channel(attacker):
    """Those to the supervisor, to the queue, to auth and to the keys, once they are there."""
    found = channels(attacker)
    return len(found) == 4 and found


@locked_in
def test_an_attacker_in_the_receiver_gets_nothing_out_of_the_other_roles(attacked):
    server, attacker = attacked
    spooled = next(p for p in (server.data / "spool").rglob("*") if p.is_file())
    stored = spooled.read_bytes()
    assert SECRET_LARGE in stored
    asked = 0
    number = struct.pack("<Q", 1)
    ids = [m["id"] for m in server.queued()]
    for kind, payload in [(LIST, bytes(64)), (TRACE, number), (BACKUP, bytes(9)), (OUTCOME, bytes(64)),
                          (SPOOL_DROP, number), (SIGN, bytes(300)), (AUTH_BEGIN, bytes(64))]:
        # The first one leads to the supervisor, who ends a role that says what it may not say; the others are closed.
        for fd in reversed(wait_for(lambda: every_channel(attacker), "the channels")):
            asked += 1
            try:
                octets, fds = attacker.exchange(fd, kind, payload)
                assert not secrets(octets), (fd, kind)
                for got in fds:
                    assert not secrets(attacker.read(got)), (fd, kind, got)
            except (EOFError, ConnectionError):
                attacker.connect_again()
    assert asked == 28 and ids
    # Files for large messages can be written, and not read.
    written = 0
    for fd in reversed(wait_for(lambda: every_channel(attacker), "the channels")):
        try:
            _, fds = attacker.exchange(fd, SPOOL_OPEN, struct.pack("<Q", (1 << 40) + 5), ms=3000)
        except (EOFError, ConnectionError):
            attacker.connect_again()
            continue
        for got in fds:
            written += attacker.call("write", got, b"mine", 4)[0]
            assert attacker.fails("pread64", got, attacker.base, 4, 0) == "EBADF"
            assert attacker.fails("mmap", 0, 4096, 1, 1, got, 0) == "EACCES"
            attacker.call("fcntl", got, 4, os.O_RDWR)
            assert attacker.fails("pread64", got, attacker.base, 4, 0) == "EBADF"
    assert written == 4
    assert spooled.read_bytes() == stored
    assert [m["id"] for m in server.queued()] == ids


def test_the_attackers_receiver_is_the_products_but_for_its_sessions():
    """Else the tests above would look at something that nobody runs."""
    assert ATTACKER.exists()
    attacker, product = (subprocess.run(["nm", str(p)], capture_output=True, text=True, check=True).stdout
                         for p in (ATTACKER, POSTRIDERD))
    functions = [set(re.findall(r" T (\w+)", text)) for text in (attacker, product)]
    assert {"sandbox_enter", "receiver_listen_if_ready", "confine_needs", "role_main"} <= functions[0] & functions[1]
    # What sessions alone have called.
    gone = functions[1] - functions[0]
    assert all(name.startswith(("session_", "smtp_server_", "smtp_attrs_", "server_", "mail_parts_", "mail_address_",
                                "proxy_header_", "rate_")) for name in gone), gone
    assert functions[0] <= functions[1]
