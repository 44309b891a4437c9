"""A small disk of its own: it fills, an accident makes it read-only, and it recovers; nothing is lost.

As root the disk is an ext4 image on a loop device, or a tmpfs where there are none. Others run this file again as root
of a user namespace of their own, on a tmpfs. Where even that is refused (a container without any right to mount), the
one test that is left says so in a warning.
"""
import contextlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import warnings

import pytest

from harness import PATIENCE, Closed, free_port, message, route, wait_for

MIB = 1 << 20
LARGE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n" * 5000
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]
PATIENT = "  messages_max = 100000\n  errors_max = 1000\n  idle_commands_max = 10000\n"


def run(*command, check=True):
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=check)


def mounts(*prefix):
    """Whether a file system can be mounted here; behind this command, if one is given."""
    with tempfile.TemporaryDirectory() as folder:
        script = f"mount -t tmpfs none {folder} && umount {folder}"
        return run(*prefix, "sh", "-c", script, check=False).returncode == 0


MOUNTS = os.geteuid() == 0 and mounts()


class Disk:
    """A file system of a few MiB."""

    def __init__(self, folder, megabytes):
        self.folder = folder
        self.path = folder / "disk"
        self.path.mkdir()
        self.image = folder / "image"
        self.megabytes = megabytes
        self.loop = None
        if not self._mount_ext4():
            run("mount", "-t", "tmpfs", "-o", f"size={megabytes}M", "none", self.path)

    def _mount_ext4(self):
        with open(self.image, "wb") as file:
            file.truncate(self.megabytes * MIB)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-e", "remount-ro", self.image)
        found = run("losetup", "--find", "--show", self.image, check=False)
        if found.returncode != 0:
            return False
        self.loop = found.stdout.strip()
        if run("mount", self.loop, self.path, check=False).returncode != 0:
            self._free_loop()
        return self.loop is not None

    def _free_loop(self):
        run("losetup", "--detach", self.loop, check=False)
        self.loop = None

    def free(self):
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave=0):
        """Somebody else takes all the space but this."""
        with open(self.path / "filler", "ab", buffering=0) as file, contextlib.suppress(OSError):
            while self.free() > leave:
                file.write(b"\0" * min(max(self.free() - leave, 4096), MIB))

    def empty(self):
        (self.path / "filler").unlink(missing_ok=True)

    def _trigger(self):
        return pathlib.Path(f"/sys/fs/ext4/{pathlib.Path(self.loop or 'none').name}/trigger_fs_error")

    def can_break_down(self):
        return os.access(self._trigger(), os.W_OK)

    def break_down(self):
        """The file system meets an error of its own, and becomes read-only under the running server."""
        self._trigger().write_text("a test")

    def repair(self):
        """As an operator would: nobody uses it."""
        run("umount", self.path)
        run("fsck.ext4", "-f", "-y", self.image, check=False)
        run("mount", self.loop, self.path)

    def remount(self, how):
        run("mount", "-o", f"remount,bind,{how}", self.path)

    def close(self):
        run("umount", "-l", self.path, check=False)
        if self.loop:
            self._free_loop()


@pytest.fixture
def make_disk(tmp_path):
    made = []

    def make(megabytes=64):
        made.append(Disk(tmp_path, megabytes))
        return made[-1]
    yield make
    for disk in made:
        disk.close()


@pytest.fixture
def lab(make_disk, make_server):
    """The disk comes first, so that the server ends before it."""
    disk = make_disk()
    server = make_server()
    server.data = disk.path / "data"
    return disk, server


class Load:
    """Sends and sends: what got its 250, and what was refused how."""

    def __init__(self, server, sessions=3, to="x@example.net"):
        self.server, self.to = server, to
        self.promised, self.refused = {}, []
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(sessions)]
        for thread in self.threads:
            thread.start()

    def _run(self, session):
        number = 0
        while not self.stopping.is_set():
            with contextlib.suppress(OSError, Closed), self.server.dialog(timeout=20) as d:
                d.hello()
                while not self.stopping.is_set():
                    number += 1
                    self._send(d, f"f{session}-{number}", number)

    def _send(self, d, subject, number):
        for command in (f"MAIL FROM:<{subject}@example.org>", f"RCPT TO:<{self.to}>", "DATA"):
            reply = d.command(command)
            if reply.code >= 400:
                return self._refuse(d, command, reply)
        body = LARGE if number % 4 == 0 else b"small\r\n" * 200
        d.send(message(subject, body) + b".\r\n")
        reply = d.reply()
        if reply.code == 250:
            self.promised[subject] = re.search(r"\b([0-9A-Z]{12})\b", reply.text).group(1)
            return None
        return self._refuse(d, "the end of the data", reply)

    def _refuse(self, d, command, reply):
        self.refused.append((command, reply))
        d.command("RSET")
        self.stopping.wait(0.05)

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


def subjects(octets_list):
    return [re.search(rb"Subject: (f\d+-\d+)\r?\n", o).group(1).decode() for o in octets_list]


def nothing_is_lost(server, peer, load):
    server.cli("queue", "retry", "--all")
    wait_for(lambda: not server.queued(), lambda: f"an empty queue:\n{server.cli('queue')[:2000]}", timeout=90,
             every=0.5)
    arrived = subjects(body for sender, _, body in peer.messages if "<>" not in sender)
    assert set(load.promised) <= set(arrived), sorted(set(load.promised) - set(arrived))[:5]
    return arrived


if not MOUNTS:
    @pytest.mark.timeout(600)
    def test_in_a_user_namespace(tmp_path):
        """This file, by root of a namespace."""
        if not mounts(*NAMESPACE):
            warnings.warn("nothing can be mounted here: the server was not tried on a small disk (the simulator does)")
            return
        done = run(*NAMESPACE, sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                   f"--basetemp={tmp_path / 'inside'}", __file__, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
else:
    @pytest.mark.timeout(240)
    def test_a_disk_that_fills_up_under_load(lab, make_peer):
        """452 before it is too late; what is queued is delivered and reported from the reserve; mail is taken again."""
        disk, server = lab
        reserve = 16 * MIB
        peer = make_peer()
        server.configure(extra=route(free_port()), queue='  disk_reserve = "16M"\n', listen=PATIENT).start()
        load = Load(server)
        wait_for(lambda: len(load.refused) > 30, lambda: f"refusals; free: {disk.free() // MIB} MiB", timeout=120)
        free = disk.free()
        load.stop()
        assert {(r.code, r.status) for _, r in load.refused} == {(452, "4.3.1")}, load.refused[:5]
        assert any(command.startswith("MAIL") for command, _ in load.refused), "refused before the message was sent"
        # What comes beside the reserve is the log, and what was under way.
        assert reserve / 4 < free < reserve + 8 * MIB, f"{free / MIB:.1f} MiB free"
        # The destination is there at last, while others take half of the reserve: it delivers and reports all the same.
        server.configure(extra=route(peer.port), queue='  disk_reserve = "16M"\n', listen=PATIENT)
        disk.fill(leave=reserve // 2)
        server.signal(1)
        server.wait_log("event=reloaded")
        some = list(load.promised.values())[:3]
        server.cli("queue", "bounce", *some)
        server.cli("queue", "retry", "--all")
        wait_for(lambda: len([1 for s, _, b in peer.messages if "<>" in s]) == 3, "three reports", timeout=60)
        bounced = {s for s, i in load.promised.items() if i in some}
        for subject in bounced:
            del load.promised[subject]
        arrived = nothing_is_lost(server, peer, load)
        assert len(arrived) == len(set(arrived)), "something came twice"
        # The space that messages leave is used again; a disk with room takes mail.
        disk.empty()
        wait_for(lambda: serves(server), "mail to be taken again", timeout=30, every=0.2)
        assert server.stop() == 0

    def serves(server):
        with contextlib.suppress(AssertionError, OSError, Closed):
            return server.submit()
        return None

    @pytest.mark.timeout(240)
    def test_a_disk_without_a_single_free_block(lab, make_peer):
        """Somebody else fills it to the last octet under load: nothing is lost, and it goes on once there is space."""
        disk, server = lab
        peer = make_peer()
        server.configure(extra=route(peer.port), queue='  disk_reserve = "1M"\n', listen=PATIENT).start()
        load = Load(server)
        for _ in range(3):
            before = len(load.promised)
            wait_for(lambda: len(load.promised) > before + 30, "the load to go on", timeout=60)
            seen = len(load.refused)
            disk.fill()
            wait_for(lambda: len(load.refused) > seen + 20, "refusals", timeout=60)
            assert all(r.code in (451, 452) for _, r in load.refused), load.refused[-5:]
            disk.empty()
        before = len(load.promised)
        wait_for(lambda: len(load.promised) > before + 30, "the load to go on", timeout=60)
        load.stop()
        arrived = nothing_is_lost(server, peer, load)
        twice = len(arrived) - len(set(arrived))
        assert twice == 0, f"{twice} came twice though nobody died"
        assert server.stop() == 0
        assert server.cli_run("check", "--data").returncode == 0

    @pytest.mark.timeout(240)
    def test_a_file_system_that_becomes_read_only(lab, make_peer):
        """An error of the file system under load: 4yz until it is repaired, then everything is there."""
        disk, server = lab
        if not disk.can_break_down():
            return becomes_read_only_between_runs(disk, server)
        peer = make_peer()
        dead = free_port()
        configuration = {"listen": PATIENT, "queue": '  disk_reserve = "1M"\n'}
        server.configure(extra=route(dead), **configuration).start()
        load = Load(server)
        wait_for(lambda: len(load.promised) > 60, "a queue", timeout=60)
        # In the very moment in which ext4 gives up its journal, its fdatasync may succeed and sync nothing (Linux 6.18:
        # a loop of pwrite and fdatasync loses its last record once in thirty times). What was promised before is safe.
        before = dict(load.promised)
        disk.break_down()
        seen = len(load.refused)
        wait_for(lambda: len(load.refused) > seen + 20, "refusals", timeout=60)
        then = len(load.promised)
        wait_for(lambda: len(load.refused) > seen + 40, "more refusals", timeout=60)
        load.stop()
        assert len(load.promised) == then, "a message was promised on a disk that is read-only"
        assert all(400 <= r.code < 500 for _, r in load.refused), load.refused[-5:]
        server.wait_log("event=store-failed")
        server.stop()
        # A start on it is refused in words.
        server.spawn()
        assert server.process.wait(PATIENCE) != 0
        server.wait_log(r"event=start-failed.*(read-only|Read-only|readonly)")
        disk.repair()
        server.configure(extra=route(peer.port), **configuration).start()
        load.promised = before
        arrived = nothing_is_lost(server, peer, load)
        assert len(arrived) == len(set(arrived)), "something came twice"

    def becomes_read_only_between_runs(disk, server):
        """A tmpfs knows no errors, and cannot be remounted while it is written to."""
        server.configure(extra=route(free_port()), queue='  disk_reserve = "1M"\n').start()
        id_ = server.submit(message("f0-0"), to="x@example.net")
        assert server.stop() == 0
        disk.remount("ro")
        server.spawn()
        assert server.process.wait(PATIENCE) != 0
        server.wait_log("event=start-failed")
        disk.remount("rw")
        server.start()
        assert [row["id"] for row in server.queued()] == [id_]
