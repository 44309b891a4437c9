"""What is measured: each workload measures one server once, and gives a dict of figures."""
import json
import os
import socket
import time

from benchmark import scale
from benchmark.scale import Goal
from benchmark.tools import PATIENCE, TICK, Skipped, Strace, end, greets, own, proportional_memory, sink, source, \
    ticks, wait_for

MEMORY_SESSIONS = {"postfix": 80, "postrider": 1000}


class Round:
    """Time and processor of a measured part, and the syncs when they are counted."""

    def __init__(self, server, messages, trace):
        self.server, self.messages = server, messages
        self.strace = Strace(server.process.pid) if trace else None
        self.ticks = ticks(server.process.pid)
        self.since = time.monotonic()

    def end(self, per_second=None):
        took = time.monotonic() - self.since
        used = ticks(self.server.process.pid) - self.ticks
        figures = {"rate": (per_second or self.messages) / took, "cpu_us": used / TICK * 1e6 / self.messages}
        if self.strace:
            calls = self.strace.finish()
            figures = {"syncs": sum(calls.values()) / self.messages, "calls": calls}
        return figures


def per_second(count, size):
    """What a rate counts: octets for what is large."""
    return count * size / 1e6 if size > 1 << 20 else count


def accept(server, count, sessions, trace, size=4096, options=("-d",)):
    end(source(server.port, max(count // 10, sessions), sessions, size, options=options), "smtp-source")
    r = Round(server, count, trace)
    end(source(server.port, count, sessions, size, options=options), "smtp-source")
    return r.end(per_second(count, size))


def accept_pipelined(server, count, sessions, trace):
    """The same by our own load: MAIL, RCPT and DATA in one write, and the next ones behind the last dot."""
    args = ["--sessions", sessions, f"127.0.0.1:{server.port}"]
    end(own("--messages", max(count // 10, sessions), *args), "bench")
    r = Round(server, count, trace)
    end(own("--messages", count, *args), "bench")
    return r.end()


def relay(server, count, sessions, trace, size=4096, options=("-d",)):
    warm = max(count // 10, sessions)
    last = sink(server.sink, warm + count)
    end(source(server.port, warm, sessions, size, options=options), "smtp-source")
    wait_for(server.is_empty, "an empty queue", PATIENCE)
    r = Round(server, count, trace)
    sent = source(server.port, count, sessions, size, options=options)
    end(last, "smtp-sink")
    figures = r.end(per_second(count, size))
    end(sent, "smtp-source")
    return figures


def in_maildir(server):
    try:
        return len(os.listdir(server.maildir))
    except FileNotFoundError:
        return 0


def maildir(server, count, sessions, trace):
    warm = max(count // 10, sessions)
    end(source(server.port, warm, sessions, 4096, "alice@example.com"), "smtp-source")
    wait_for(lambda: in_maildir(server) >= warm, "the Maildir to fill", PATIENCE, 0.05)
    r = Round(server, count, trace)
    end(source(server.port, count, sessions, 4096, "alice@example.com"), "smtp-source")
    wait_for(lambda: in_maildir(server) >= warm + count, "the Maildir to fill", PATIENCE, 0.02)
    return r.end()


def many_recipients(server, count, sessions, trace):
    recipients = 1000
    last = own("--sink", f"127.0.0.1:{server.sink}", "--recipients", (count + 1) * recipients)
    wait_for(lambda: greets(server.sink), "the sink to greet")
    end(source(server.port, 1, 1, 4096, options=["-r", recipients]), "smtp-source")
    wait_for(server.is_empty, "an empty queue", PATIENCE)
    r = Round(server, count, trace)
    sent = source(server.port, count, sessions, 4096, options=["-r", recipients])
    end(last, "the sink")
    figures = r.end(count * recipients)
    end(sent, "smtp-source")
    return figures


def latency(server, count, sessions, trace, rate=None):
    """Open loop at half of what the server accepts from as many sessions."""
    end(source(server.port, max(count // 10, sessions), sessions, 4096), "smtp-source")
    if rate is None:
        full = json.loads(end(own("--sessions", sessions, "--messages", count, f"127.0.0.1:{server.port}"), "bench"))
        rate = max(1, int(full["rate"] / 2))
    out = json.loads(end(own("--sessions", sessions, "--messages", max(count, rate), "--rate", rate,
                             f"127.0.0.1:{server.port}"), "bench"))
    return {"offered": rate, "p50_ms": out["latency_ms"]["p50"], "p99_ms": out["latency_ms"]["p99"],
            "max_ms": out["latency_ms"]["max"]}


def handshakes(server, count, sessions, trace, options=()):
    """TLS from the first octet, one connection after the other; each ends with the first word in it."""
    args = ["--tls", "--handshakes", "--sessions", sessions, *options, f"127.0.0.1:{server.tls_port}"]
    end(own("--messages", max(count // 10, sessions), *args), "bench")
    r = Round(server, count, trace)
    out = json.loads(end(own("--messages", count, *args), "bench"))
    figures = r.end()
    return {**figures, "rate": out["rate"], "p50_ms": out["handshake_ms"]["p50"], "resumed": out["resumed"] / count}


def relay_by(server, count, sessions, trace, tls, options=()):
    """In and out, by TLS on both sides or on neither; with the very same tools."""
    warm = max(count // 10, sessions)
    args = ["--sessions", sessions, *options, *(["--starttls"] if tls else []), f"127.0.0.1:{server.port}"]
    offer = ["--certificate", server.certificate, "--key", server.key] if tls else []
    last = own("--sink", "--messages", warm + count, *offer, f"127.0.0.1:{server.sink}")
    wait_for(lambda: greets(server.sink), "the sink to greet")
    end(own("--messages", warm, *args), "bench")
    wait_for(server.is_empty, "an empty queue", PATIENCE)
    r = Round(server, count, trace)
    sent = own("--messages", count, *args)
    out = json.loads(end(last, "the sink"))
    figures = r.end()
    source_out = json.loads(end(sent, "bench"))
    if tls and (out["handshakes"] < 1 or not source_out["secured"].startswith("TLSv1.3")):
        raise Skipped(f"not by TLS 1.3: {source_out['secured']}, {out['handshakes']} handshakes out")
    return {**figures, "handshakes_in": source_out["handshakes"] / count, "resumed_in": source_out["resumed"] / count,
            "handshakes_out": out["handshakes"] / count}


def idle_memory(server, count, sessions, trace):
    """KiB for each connection that says nothing, its greeting taken."""
    wanted = MEMORY_SESSIONS[server.name]
    greets(server.port)
    before = proportional_memory(server.process.pid)
    held = []
    try:
        for _ in range(wanted):
            held.append(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            held[-1].recv(512)
        return {"kib": (proportional_memory(server.process.pid) - before) / wanted, "sessions": wanted}
    finally:
        for s in held:
            s.close()


class Workload:
    """`count` messages for Postfix; Postrider gets `factor` times as many, so that both run for a while."""

    def __init__(self, title, run, count, sessions, unit="/s", keep=False, factor=8, figure="rate", trace=True,
                 beside=None, ceiling=False, goals=(), conf=None, **more):
        """
        `beside`: a workload of the same run by whose rate this one's is divided; Postrider alone does such.
        `ceiling`: what the tools alone come to is measured, too: smtp-source straight into smtp-sink.
        `goals`: of those at scale, which run once: see benchmark/scale.py. `conf`: from the count to how Postrider is
        configured for it.
        """
        self.beside, self.ceiling, self.goals, self.conf = beside, ceiling, goals, conf
        self.alone = beside is not None or bool(goals) or run in (handshakes, relay_by)
        self.title, self.run, self.count, self.sessions, self.unit = title, run, count, sessions, unit
        self.keep, self.factor, self.figure, self.trace, self.more = keep, factor, figure, trace, more


def at_scale(title, run, count, **more):
    """One that is measured once, of Postrider alone, without counting syncs. The title is filled with the figures."""
    return Workload(title, run, count, 1, keep=True, factor=1, trace=False, **more)


WORKLOADS = {
    "accept-1": Workload("durable accept, 1 session", accept, 500, 1, keep=True, factor=4, ceiling=True),
    "accept-20": Workload("durable accept, 20 sessions", accept, 3000, 20, keep=True, ceiling=True),
    "accept-100": Workload("durable accept, 100 sessions", accept, 3000, 100, keep=True, factor=12,
                           ceiling=True),
    "accept-pipelined-100": Workload("durable accept, 100 sessions that pipeline", accept_pipelined, 3000, 100,
                                     keep=True, factor=12),
    "relay-20": Workload("relay end to end, 20 sessions", relay, 3000, 20, ceiling=True),
    "relay-100": Workload("relay end to end, 100 sessions", relay, 3000, 100, factor=12, ceiling=True),
    "maildir-20": Workload("delivery to Maildir, 20 sessions", maildir, 2000, 20, factor=4),
    "recipients-1000": Workload("one message to 1,000 recipients", many_recipients, 5, 1, "recipients/s", factor=4),
    "big-4": Workload("10 MB messages, 4 sessions", relay, 20, 4, "MB/s", factor=2, ceiling=True,
                      size=10 << 20),
    "connections-20": Workload("connection for each message, 20", relay, 3000, 20, ceiling=True, options=()),
    "handshakes-full-20": Workload("whole handshakes of TLS 1.3, 20 sessions", handshakes, 500, 20, keep=True,
                                   trace=False, options=["--fresh"]),
    "handshakes-resumed-20": Workload("resumed handshakes of TLS 1.3, 20 sessions", handshakes, 500, 20, keep=True,
                                      trace=False, beside="handshakes-full-20"),
    "relay-clear-20": Workload("relay in the clear, 20 sessions", relay_by, 3000, 20, tls=False),
    "relay-tls-20": Workload("relay by TLS 1.3 in and out, 20 sessions", relay_by, 3000, 20, tls=True,
                             beside="relay-clear-20"),
    "relay-clear-10": Workload("10 messages for each connection, in the clear", relay_by, 3000, 20, tls=False,
                               options=["--per-connection", 10]),
    "relay-tls-10": Workload("10 messages for each connection, resumed TLS 1.3", relay_by, 3000, 20, tls=True,
                             options=["--per-connection", 10], beside="relay-clear-10"),
    "relay-clear-1": Workload("connection for each message, in the clear", relay_by, 1000, 20, tls=False,
                              options=["--per-connection", 1]),
    "relay-tls-1": Workload("connection for each message, resumed TLS 1.3", relay_by, 1000, 20, tls=True,
                            options=["--per-connection", 1], beside="relay-clear-1"),
    "latency-20": Workload("dot to 250 at half load, p99", latency, 2000, 20, "ms", keep=True, figure="p99_ms",
                           trace=False),
    "idle-memory": Workload("memory of an idle connection", idle_memory, 1, 1, "KiB", keep=True, figure="kib",
                            trace=False),
    "held-100000": at_scale("{count:,.0f} idle connections", scale.held, 100000, conf=scale.conf_for_sessions, goals=[
        Goal("connections that are held", "open", "≥", 100000, grows=True),
        Goal("memory of each", "kib", "≤", 8, "KiB"),
        Goal("memory of all processes", "mib", "≤", 1024, "MiB")]),
    "deferred-1000000": at_scale(
        "{count:,.0f} recipients deferred over {sites:,.0f} sites", scale.deferred, 1000000, conf=scale.conf_for_sites,
        goals=[Goal("memory of the queue role", "queue_mib", "≤", 200, "MiB"),
               Goal("from the restart to the first delivery of what waited", "restart_s", "≤", 2, "s"),
               Goal("from the restart to the first delivery of new mail", "restart_new_s", "≤", 2, "s"),
               Goal("mail to a living site takes longer by, p99, just after they came", "filling_more_ms",
                    "≤", 50, "ms"),
               Goal("the same when they are deferred", "more_ms", "≤", 50, "ms"),
               Goal("the same from the moment of the restart", "starting_more_ms", "≤", 50, "ms"),
               Goal("the same after that", "after_more_ms", "≤", 50, "ms")]),
    "silent-5000": at_scale(
        "mail for {sites:,.0f} sites where nobody answers", scale.silent_sites, 5000, conf=scale.conf_for_silent,
        goals=[Goal("mail to a living site that is there within 10 s", "arrived_percent", "≥", 100, "%"),
               Goal("mail to a living site takes longer by, p99", "more_ms", "≤", 50, "ms")]),
    "dead-1000000": at_scale(
        "{count:,.0f} messages for one dead site", scale.dead, 1000000, conf=scale.conf_for_dead,
        goals=[Goal("memory of the queue role", "queue_mib", "≤", 200, "MiB"),
               Goal("mail to a living site takes longer by, p99", "more_ms", "≤", 50, "ms")]),
    "overload-3": at_scale("{offered:,.0f} messages offered in a second, three times the peak", scale.overload, 50000,
                           goals=[Goal("accepted, of the peak", "percent", "≥", 90, "%")]),
    "slow-50000": at_scale("{open:,.0f} clients that say an octet each 10 s", scale.slow, 50000,
                           conf=scale.conf_for_sessions,
                           goals=[Goal("dot to 250 for others, p99, of that without them", "times", "≤", 2, "×")]),
}
