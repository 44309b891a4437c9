"""Under a service manager: its sockets are taken over, it hears how the server does, and its units are strict."""
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

from harness import BUILD, POSTRIDERD, free_port, message, wait_for

UNITS = BUILD / "conf/systemd"
EXPOSURE_MAX = 1.5


# ---- units -------------------------------------------------------------------------------------------------------

def services():
    return sorted(UNITS.glob("*.service"))


def test_there_are_units():
    assert services()


@pytest.mark.skipif(not shutil.which("systemd-analyze"),
                    reason="systemd-analyze is missing: scripts/install-deps --test")
@pytest.mark.parametrize("unit", services(), ids=lambda p: p.name)
def test_systemd_rates_every_unit_as_well_locked_in(unit):
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", str(unit)], capture_output=True, text=True,
                          check=False, timeout=60)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found.group(1)) <= EXPOSURE_MAX, done.stdout


def settings(text):
    """Every setting of a unit, in order; the last one counts where one is set twice."""
    return dict(re.findall(r"(?m)^(\w+)=(.*)$", text))


def test_the_unit_lets_the_server_lock_itself_in():
    """A filter of systemd's that refused these would leave the roles without."""
    unit = services()[0].read_text()
    given = settings(unit)
    for call in ("seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "capset"):
        assert re.search(rf"(?m)^SystemCallFilter=(?!~).*\b{call}\b", unit), call
    assert given["User"] == "postrider" and given["Type"] == "notify" and int(given["WatchdogSec"].rstrip("s")) >= 10
    assert given["LimitCORE"] == "0" and given["CapabilityBoundingSet"] == ""


# ---- sockets -----------------------------------------------------------------------------------------------------

class Manager:
    """A service manager: gives sockets from descriptor 3 on, and hears what it is told."""

    def __init__(self, folder):
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.socket.settimeout(30)

    def environment(self, watchdog=None):
        result = {"NOTIFY_SOCKET": self.path}
        if watchdog:
            result["WATCHDOG_USEC"] = str(watchdog)
        return result

    def hear(self, pattern):
        """The next message that has this in it; those before it, too."""
        heard = []
        while True:
            heard.append(self.socket.recv(4096).decode())
            if re.search(pattern, heard[-1]):
                return heard

    def close(self):
        self.socket.close()


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path)
    yield made
    made.close()


def give_sockets(server, monkeypatch, sockets):
    """The server gets them as systemd gives them: from 3 on, for this very process."""
    wrapper = server.folder / "given"
    moves = " ".join(f"{3 + i}<&{s.fileno()}" for i, s in enumerate(sockets))
    closes = " ".join(f"{s.fileno()}<&-" for s in sockets if s.fileno() >= 3 + len(sockets))
    wrapper.write_text(f"#!/bin/bash\nexec {moves}\nexec {closes}\n"
                       f'LISTEN_PID=$$ LISTEN_FDS={len(sockets)} exec {POSTRIDERD} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr("harness.POSTRIDERD", wrapper)
    real = subprocess.Popen
    monkeypatch.setattr("harness.subprocess.Popen",
                        lambda *a, **kw: real(*a, **kw, pass_fds=[s.fileno() for s in sockets]))


def listening_socket(port):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", port))
    s.listen(100)
    # Out of the way of the numbers that they shall have.
    moved = os.dup2(s.fileno(), 100 + s.fileno())
    s.close()
    return socket.socket(fileno=moved)


def test_sockets_of_the_service_manager_are_taken_over(make_server, monkeypatch):
    server = make_server()
    ours, nobodys = listening_socket(server.port), listening_socket(free_port())
    with ours, nobodys:
        # Nobody loses a connection that came before the server: it waits in the socket.
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as early:
            give_sockets(server, monkeypatch, [ours, nobodys])
            server.start()
            assert early.makefile("rb").readline().startswith(b"220 ")
        server.submit(message("through its socket"))
        server.wait_mail("alice")
        server.wait_log(rf"event=listening listener=smtp address=127.0.0.1 port={server.port} from=\"service manager\"")
        assert len(re.findall("event=socket-unwanted", server.log())) == 1
        server.stop()
        # It stays the service manager's, and takes connections for the next server.
        socket.create_connection(("127.0.0.1", server.port), timeout=30).close()


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"),
                    reason="systemd-socket-activate is missing: scripts/install-deps --test")
def test_the_first_connection_starts_the_server(make_server, tmp_path):
    """By systemd's own tool, whose idea of the protocol is not ours."""
    server = make_server()
    with open(server.log_path, "ab") as log:
        activate = subprocess.Popen(["systemd-socket-activate", "-l", f"127.0.0.1:{server.port}", str(POSTRIDERD), "-c",
                                     str(server.conf)], stdout=log, stderr=log, cwd=server.folder)
    try:
        wait_for(lambda: "Listening on" in server.log(), "the tool")
        assert "event=" not in server.log()
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as first:
            assert first.makefile("rb").readline().startswith(b"220 ")
        server.submit(message("for a server that was asleep"))
        server.wait_mail("alice")
    finally:
        activate.send_signal(signal.SIGTERM)
        assert activate.wait(30) == 0


# ---- words -------------------------------------------------------------------------------------------------------

def test_the_service_manager_is_told_how_the_server_does(make_server, manager):
    server = make_server().spawn(env=manager.environment())
    ready = manager.hear("READY=1")
    assert len(ready) == 1 and "STATUS=Takes mail as mx.example.com" in ready[0]
    # It was true when it was said.
    assert server.serves()
    server.signal(signal.SIGHUP)
    words = manager.hear("READY=1")
    assert re.search(r"RELOADING=1\nMONOTONIC_USEC=\d+", words[0]) and len(words) == 2
    # A configuration that is wrong leaves the old one in force: the reload is over all the same.
    server.conf.write_text("nonsense")
    server.signal(signal.SIGHUP)
    assert "RELOADING=1" in manager.hear("READY=1")[0]
    assert server.stop() == 0
    assert manager.hear("STOPPING=1") == ["STOPPING=1\n"]


def test_a_service_manager_that_asks_for_it_hears_that_the_server_is_alive(make_server, manager):
    server = make_server().spawn(env=manager.environment(watchdog=400000))
    manager.hear("READY=1")
    assert set(manager.hear("WATCHDOG=1") + manager.hear("WATCHDOG=1")) == {"WATCHDOG=1\n"}
    assert server.stop() == 0

def test_a_service_manager_that_is_not_there_is_no_trouble(make_server, tmp_path):
    server = make_server().start(env={"NOTIFY_SOCKET": str(tmp_path / "gone"), "WATCHDOG_USEC": "1000000",
                                      "LISTEN_PID": "1", "LISTEN_FDS": "3"})
    server.submit(message("as ever"))
    server.wait_mail("alice")
