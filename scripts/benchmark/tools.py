"""What the benchmark is made with: processes and what they use, and the programs that give load and take mail."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PEERS = ROOT / "build/peers"
PATIENCE = 240
TICK = os.sysconf("SC_CLK_TCK")
SYNCS = "fsync,fdatasync,syncfs,sync_file_range,sync,msync"
# The build that is measured, and its programs: set by scripts/bench.
BUILD = ROOT / "build"


class Skipped(Exception):
    """This cannot be measured here; the words say why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(check, what, timeout=60, every=0.01):
    end = time.monotonic() + timeout
    while not check():
        if time.monotonic() > end:
            raise Skipped(f"waited {timeout} s for {what}")
        time.sleep(every)


def faults(log):
    """The first words of trouble in Postfix's log."""
    with contextlib.suppress(FileNotFoundError):
        return "; ".join(re.findall(r"^.*(?:fatal|panic): .*$", log.read_text(errors="replace"), re.M)[:3])
    return ""


def greets(port):
    with contextlib.suppress(OSError):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
            s.settimeout(5)
            return s.recv(512).startswith(b"220") and s.sendall(b"QUIT\r\n") is None and bool(s.recv(512))
    return False


def peers_env(**more):
    libraries = f"{PEERS}/usr/lib/postfix:{PEERS}/usr/lib/x86_64-linux-gnu"
    return dict(os.environ, **{"LD_LIBRARY_PATH": libraries, "MAIL_CONFIG": "/nonexistent", **more})


# ---- processes -----------------------------------------------------------------------------------------------------

def family(pid):
    """A process and everything it started, as pid -> (parent, ticks of processor with those of children that ended)."""
    every = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                every[int(entry.name)] = (int(stat[1]), sum(map(int, stat[11:15])))
    found, todo = {}, [pid]
    while todo:
        one = todo.pop()
        if one in every:
            found[one] = every[one]
            todo += [p for p, (parent, _) in every.items() if parent == one]
    return found


def ticks(pid):
    return sum(t for _, t in family(pid).values())


def proportional_memory(pid):
    """KiB of memory, shared pages counted in proportion, of a process and all it started."""
    total = 0
    for one in family(pid):
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{one}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1))
    return total


class Strace:
    """Counts the syncs of a running server and of what it starts."""

    def __init__(self, pid):
        if not shutil.which("strace"):
            raise Skipped("strace is not installed")
        self.out = tempfile.NamedTemporaryFile(mode="r", prefix="postrider-syncs.")
        pids = [w for p in family(pid) for w in ("-p", str(p))]
        self.process = subprocess.Popen(["strace", "-f", "-qq", "-c", "-U", "calls,name", "-e", f"trace={SYNCS}",
                                         "-o", self.out.name, *pids], stderr=subprocess.PIPE, text=True)
        traced = [f"/proc/{p}/status" for p in family(pid)]
        wait_for(lambda: self.process.poll() is not None or
                 all(re.search(r"^TracerPid:\t[1-9]", pathlib.Path(t).read_text(), re.M) for t in traced), "strace")
        if self.process.poll() is not None:
            raise Skipped(f"strace cannot attach: {self.process.stderr.read().strip()}")

    def finish(self):
        """How often each was called."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)
        return {name: int(calls) for calls, name in re.findall(r"^\s*(\d+)\s+(\w+)$", self.out.read(), re.M)
                if name != "total"}


# ---- tools ---------------------------------------------------------------------------------------------------------

def source(port, count, sessions, size, to="carol@example.net", options=("-d",)):
    """Starts smtp-source; -d: a session sends many messages."""
    command = [PEERS / "usr/sbin/smtp-source", "-m", count, "-s", sessions, "-l", size, "-f", "sender@example.org",
               "-t", to, *options, f"127.0.0.1:{port}"]
    return subprocess.Popen([str(c) for c in command], env=peers_env(), stdin=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, text=True)


def sink(port, messages):
    """Starts smtp-sink, which ends when it has that many messages."""
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    command = [PEERS / "usr/sbin/smtp-sink", *user, "-M", messages, f"127.0.0.1:{port}", 1000]
    process = subprocess.Popen([str(c) for c in command], env=peers_env(), stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: greets(port), "smtp-sink to greet")
    return process


def own(*args):
    """Starts `postrider bench`; its last line of output is JSON."""
    return subprocess.Popen([str(BUILD / "src/cli/postrider"), "bench", "--json", *map(str, args)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def end(process, what, good=(0,)):
    """Waits for one of the tools, which must end with one of these; what it wrote."""
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        raise Skipped(f"{what} did not end in {PATIENCE} s") from None
    if process.returncode not in good:
        raise Skipped(f"{what} failed: {(err or '').strip()[-300:]}")
    return out
