"""Flat cost: many connections, a full queue, more load than there is capacity, slow clients. Postrider alone.

Each is measured once in a run. Their counts grow with --scale: what stands in the names of workloads is scale 1.
"""
import contextlib
import json
import pathlib
import re
import resource
import select
import shutil
import socket
import time
import typing

from benchmark.tools import PATIENCE, Skipped, end, family, free_port, greets, own, proportional_memory, wait_for

# A connection from one address to another needs a port of the client's: see ip_local_port_range.
PORTS = 25000
EX_TEMPFAIL = 75
# Descriptors that a process needs besides those of sessions.
SPARE = 100
# Clients do not spread evenly over the receivers: one was seen to get more than twice its share.
UNEVEN = 5
PROCESSES_MAX = 64
RECIPIENTS = 1000
SITES_EACH = 100
LIVING_EACH = 100
# Mail for a site that was dead is tried again after so long at the soonest; from then on some is always due.
DUE_AFTER = 45
# With fewer recipients the wait is not worth it: after the restart only new mail is looked at.
MANY = 50000
# Octets on the disk for a message of 512, with its log lines, and room to spare.
DISK_EACH = 6000


class Probed(typing.NamedTuple):
    first_s: float
    arrived: float
    p99_ms: float


class Goal(typing.NamedTuple):
    """What a figure has to reach. `grows`: with --scale."""
    words: str
    figure: str
    sign: str
    limit: float
    unit: str = ""
    grows: bool = False


# ---- connections -----------------------------------------------------------------------------------------------------

def descriptors():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def addresses_for(sessions):
    """As many processes hold them, each to another address of the server."""
    return -(-sessions // min(PORTS, descriptors() - SPARE))


def receivers_for(sessions):
    """How many it takes with this limit of descriptors. 0: as many as there are by themselves will do."""
    fit = descriptors() - SPARE
    if sessions * 2 <= fit:
        return 0
    count = -(-sessions * UNEVEN // fit)
    if count > PROCESSES_MAX:
        raise Skipped(f"{sessions:,} connections need more descriptors (ulimit -Hn) than {descriptors():,}")
    return count


def conf_for_sessions(count):
    receivers = receivers_for(count)
    return {"top": f"receivers = {receivers}\n" if receivers else "", "smtp": "\tcommand_timeout = 1h\n",
            "addresses": addresses_for(count)}


def read_object(process):
    """What `postrider bench` says while it runs."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("}"):
            return json.loads("".join(lines))
    raise Skipped(f"bench ended with {process.wait()}")


class Held:
    """Sessions that are held by processes of `postrider bench`."""

    def __init__(self, server, count, *options):
        parts = addresses_for(count)
        self.processes = []
        try:
            for n in range(parts):
                share = count // parts + (n < count % parts)
                self.processes.append(own(*options, "--sessions", share, f"{server.address(n)}:{server.port}"))
            self.found = [read_object(p) for p in self.processes]
        except BaseException:
            self.end()
            raise

    def sum(self, what):
        return sum(f[what] for f in self.found)

    def end(self):
        """From here on `sum` is of what was held at the end."""
        for p in self.processes:
            p.terminate()
        outs = [p.communicate()[0] for p in self.processes]
        self.found = [json.loads(out) for out in outs if out]


def held(server, count, sessions, trace):
    """The memory of all processes of the server, with them and without."""
    greets(server.port)
    before = proportional_memory(server.process.pid)
    since = time.monotonic()
    clients = Held(server, count, "--hold")
    try:
        took = time.monotonic() - since
        with_them = proportional_memory(server.process.pid)
    finally:
        clients.end()
    there = clients.sum("open")
    return {"count": count, "open": there, "kib": (with_them - before) / max(there, 1), "mib": with_them / 1024,
            "opened_per_s": count / took}


def honest(server, seconds, rate=200):
    """Open loop at a modest pace: ms from the last octet to the reply, p99."""
    out = json.loads(end(own("--sessions", 20, "--messages", int(seconds * rate), "--rate", rate,
                             f"127.0.0.1:{server.port}"), "bench"))
    return out["latency_ms"]["p99"]


def slow(server, count, sessions, trace):
    seconds = part_of(15, count / 50000)
    honest(server, min(1, seconds))
    alone = honest(server, seconds)
    clients = Held(server, count, "--drip", "10s")
    try:
        beside = honest(server, seconds)
    finally:
        clients.end()
    return {"open": clients.sum("open"), "alone_ms": alone, "beside_ms": beside, "times": beside / alone,
            "octets": clients.sum("octets")}


def overload(server, count, sessions, trace):
    """Three times the sessions, and messages due at three times the rate. The peak is that before and after it: a queue
    that grows, and what else the machine does, change it with time."""
    def at_peak():
        return json.loads(end(own("--messages", count, "--sessions", 100, f"127.0.0.1:{server.port}"), "bench"))["rate"]
    at_peak()
    before = at_peak()
    process = own("--messages", count, "--rate", int(3 * before), "--sessions", 300, f"127.0.0.1:{server.port}")
    out = json.loads(end(process, "bench", (0, EX_TEMPFAIL)))
    peak = (before + at_peak()) / 2
    return {"peak": peak, "offered": 3 * before, "rate": out["rate"], "percent": 100 * out["rate"] / peak,
            "refused": out["refused"], "lost": out["lost"], "p99_ms": out["latency_ms"]["p99"]}


# ---- a full queue ----------------------------------------------------------------------------------------------------

def part_of(seconds, scale):
    return max(0.2, min(seconds, seconds * scale * 4))


class Silent:
    """A port where connections are never made and never refused: its line of waiting ones is full."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.port = self.listener.getsockname()[1]
        self.waiting = []
        for _ in range(4):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", self.port))
            self.waiting.append(one)

    def close(self):
        for one in [self.listener, *self.waiting]:
            one.close()


def sites_for(count):
    return max(100, count // SITES_EACH)


def route(domain, host, port):
    return f'route "{domain}" {{\n\thosts = {{"{host}:{port}"}}\n}}\n'


def conf_for_sites(count):
    """One site in a hundred may live. The others refuse connections."""
    sites = sites_for(count)
    living, refusing = free_port(), free_port()

    def routes(sink):
        texts = [route("probe.example", "127.0.0.1", sink)]
        for n in range(sites):
            port = living if n % LIVING_EACH == 0 else refusing
            texts.append(route(f"{n}.example.net", "127.0.0.1", port))
        return "".join(texts)
    return {"routes": routes, "smtp": f"\trecipients_max = {RECIPIENTS}\n", "more": {"living": living}}


def conf_for_silent(count):
    silent = Silent()

    def routes(sink):
        return "".join([route("probe.example", "127.0.0.1", sink),
                        *(route(f"{n}.example.net", "127.0.0.1", silent.port) for n in range(count))])
    return {"routes": routes, "smtp": f"\trecipients_max = {RECIPIENTS}\n", "more": {"silent": silent}}


def conf_for_dead(count):
    return {"routes": lambda sink: route("probe.example", "127.0.0.1", sink) +
            route("example.net", "127.0.0.1", free_port())}


def queue_memory(server):
    """MiB of the queue role."""
    for pid in family(server.process.pid):
        with contextlib.suppress(OSError):
            if b"--role\0queue\0" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
                return int(re.search(r"^Pss:\s+(\d+)", text, re.M).group(1)) / 1024
    raise Skipped("there is no queue role")


def start_sink(port, *options):
    process = own("--sink", *options, f"127.0.0.1:{port}")
    wait_for(lambda: greets(port), "the sink to greet")
    return process


class Probe:
    """A site that lives all the time, and mail for it at a modest pace."""

    def __init__(self, server, seconds, rate=100):
        self.server, self.rate, self.count = server, rate, max(20, int(seconds * rate))
        self.sink = start_sink(server.sink, "--messages", self.count, "--again")
        try:
            self.run()
        except BaseException:
            self.close()
            raise

    def run(self, patience=PATIENCE):
        """When the first message came, what part of them in time, and ms on their way, p99. One that did not come is
        on its way still."""
        since = time.monotonic()
        end(own("--sessions", 4, "--messages", self.count, "--rate", self.rate, "--size", 2000, "--to",
                "probe@probe.example", f"127.0.0.1:{self.server.port}"), "bench")
        if not select.select([self.sink.stdout], [], [], patience)[0]:
            self.sink.terminate()
        found = read_object(self.sink)
        there = found["messages"] / self.count
        p99 = found["way_ms"]["p99"] if there > 0.99 else (time.monotonic() - since) * 1e3
        return Probed(found["first_s"], there, p99)

    def close(self):
        self.sink.kill()
        self.sink.wait()


def fill(server, messages, *options):
    """Seconds that it took."""
    since = time.monotonic()
    end(own("--messages", messages, "--size", 512, *options, f"127.0.0.1:{server.port}"), "bench")
    return time.monotonic() - since


def restart(server, probe, living):
    """Seconds from the start to the first delivery, of what waited and of new mail; and how the new mail fared."""
    server.stop()
    sink = start_sink(living)
    try:
        since = time.monotonic()
        server.run()
        new = probe.run()
        sink.terminate()
        old = read_object(sink)
    finally:
        sink.kill()
        sink.wait()
    return old["first_s"] - since if old["messages"] else None, new.first_s - since, new.p99_ms


def deferred(server, count, sessions, trace, living):
    """All sites are dead while it fills; one in a hundred lives when the server starts again."""
    with contextlib.closing(Probe(server, part_of(10, count / 1000000))) as probe:
        empty = probe.run().p99_ms
        began = time.monotonic()
        filled = fill(server, max(1, count // RECIPIENTS), "--sessions", 4, "--recipients", RECIPIENTS, "--domains",
                      sites_for(count), "--to", "u@example.net")
        # At first none of them is deferred yet: all sites are tried for the first time.
        filling = probe.run().p99_ms
        memory = queue_memory(server)
        if count >= MANY:
            time.sleep(max(0, began + DUE_AFTER - time.monotonic()))
        full = probe.run().p99_ms
        memory = max(memory, queue_memory(server))
        first, new, starting = restart(server, probe, living)
        after = probe.run().p99_ms
    memory = max(memory, queue_memory(server))
    figures = {"count": count, "sites": sites_for(count), "fill_per_s": count / filled, "queue_mib": memory,
               "empty_ms": empty, "filling_more_ms": filling - empty, "more_ms": full - empty,
               "starting_more_ms": starting - empty, "after_more_ms": after - empty, "restart_new_s": new}
    return figures if first is None else {**figures, "restart_s": first}


def silent_sites(server, count, sessions, trace, silent):
    """Connections to them are neither made nor refused: each attempt takes its time, and the site's place."""
    seconds = part_of(10, count / 5000)
    with contextlib.closing(silent), contextlib.closing(Probe(server, seconds)) as probe:
        empty = probe.run().p99_ms
        recipients = 10 * count
        fill(server, max(1, recipients // RECIPIENTS), "--sessions", 4, "--recipients", RECIPIENTS, "--domains", count,
             "--to", "u@example.net")
        full = probe.run(patience=seconds)
        return {"sites": count, "queue_mib": queue_memory(server), "empty_ms": empty, "full_ms": full.p99_ms,
                "more_ms": full.p99_ms - empty, "arrived_percent": 100 * full.arrived}


def dead(server, count, sessions, trace):
    if shutil.disk_usage(server.folder).free < count * DISK_EACH:
        raise Skipped(f"{count * DISK_EACH / 1e9:.1f} GB of disk are not free")
    with contextlib.closing(Probe(server, part_of(10, count / 1000000))) as probe:
        empty = probe.run().p99_ms
        filled = fill(server, count, "--sessions", 100, "--to", "u@example.net")
        full = probe.run().p99_ms
        return {"count": count, "fill_per_s": count / filled, "queue_mib": queue_memory(server), "empty_ms": empty,
                "full_ms": full, "more_ms": full - empty}
