#!/usr/bin/python3
"""Kills each role at each system call of a message's life, and asks what became of every message that got its 250.

    tests/torture/torture.py                 half a minute of points, by chance
    tests/torture/torture.py --all           every point of every scenario and role
    tests/torture/torture.py --only large:queue:17

A point is (scenario, role, n): while one message goes its way, the role is stopped when it enters its n-th system call,
the world is looked at, and SIGKILL falls. The supervisor starts the role again, the client comes again until it has its
250, and when the queue is empty the ledger is asked, which knows nothing of the server's insides but its tables:

- what got its 250 has exactly one end for each recipient: delivered, octet by octet, or reported to the sender;
- what the client never finished is nowhere; what it finished without hearing 250 is nowhere or everywhere, once;
- a second delivery is there only when the kill fell between the act and its settling: the database, as it was at the
  kill, does not have the recipient as settled, and the role that acted, or the queue that it told, is the dead one;
- no report comes twice, none is missing.

Prints its figures; the last line is "N points, N violations". Exits 1 when there is a violation.
"""
import argparse
import base64
import collections
import contextlib
import ctypes
import email
import email.policy
import functools
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/e2e"))

from harness import BUILD, PATIENCE, POSTRIDER, Closed, Mail, Peer, Postrider, message, route, wait_for # noqa: E402

KILL_AT = BUILD / "tests/torture/kill_at"
ROLES = ["receiver", "queue", "sender", "mailbox"]
SENDER, PASSWORD = "carol@example.com", "correct horse"
LARGE = (b"0123456789" * 90 + b"\r\n") * 230 # 200 KiB: beyond the database

# Recipients: those of example.com are mailboxes here, the others are at the peer: ok is taken, no is refused for good,
# later is refused once for the time being. TAG stands for the attempt of the client.
SCENARIOS = {
    "inline": {"rcpts": ["alice@example.com", "ok-TAG@example.net"]},
    "large": {"rcpts": ["alice@example.com", "ok-TAG@example.net"], "body": LARGE},
    "mixed": {"rcpts": ["alice@example.com", "ok-TAG@example.net", "no-TAG@example.net", "later-TAG@example.net"]},
    # The client logs in, and what is kept of its password is renewed with that.
    "login": {"rcpts": ["alice@example.com", "ok-TAG@example.net"], "login": True, "roles": ["auth", "receiver"]},
    "report": {"rcpts": ["alice@example.com", "no-TAG@example.net"], "notify": {"alice@example.com": "SUCCESS"}},
}
DRY_RUNS = 2 # count the calls of a message's life; their number varies a little
MARGIN = 3 # points beyond the longest of them


def roles_of(scenario):
    """Those that have a part in it which they have in no other."""
    return SCENARIOS[scenario].get("roles", ROLES)


def switches(pid):
    """How often a process went to sleep."""
    return re.search(r"voluntary_ctxt_switches:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)


@functools.cache
def call_names():
    """Numbers of system calls -> names, where the headers are."""
    with contextlib.suppress(OSError):
        text = pathlib.Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h").read_text()
        return {int(n): name for name, n in re.findall(r"#define __NR_(\w+) (\d+)", text)}
    return {}


class Killer:
    """kill_at at work on one process."""

    def __init__(self, pid, n):
        self.process = subprocess.Popen([str(KILL_AT), str(pid), str(n)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.call = None
        self.killed = False
        self.counted = 0
        first = self.process.stdout.readline()
        assert first == "following\n", first
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        line = self.process.stdout.readline().split()
        if line and line[0] == "at":
            self.call = int(line[1])
        if line and line[0] == "counted":
            self.counted = int(line[1])

    def stands(self):
        return self.call is not None and not self.killed

    def kill(self):
        """Once it stands."""
        self.process.stdin.write("kill\n")
        self.process.stdin.flush()
        assert self.process.wait(PATIENCE) == 0
        self.killed = True
        self._end()

    def let_go(self):
        """Lets the process live on, unless it stands by now."""
        if self.stands():
            return False
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        self.call = None
        self._end()
        return True

    def _end(self):
        self.process.stdin.close()
        self.process.stdout.close()


class NumberedPeer(Peer):
    """A peer that knows on which connection each message came, and answers by the recipient's name."""

    def __init__(self):
        self.local = threading.local()
        self.arrivals = [] # (recipients, octets, connection)
        self.seen = set()
        super().__init__(RCPT=self._rcpt)

    def _rcpt(self, argument):
        address = re.search(r"<([^>]*)>", argument).group(1)
        if address.startswith("no-"):
            return "550 5.1.1 nobody of this name"
        if address.startswith("later-") and address not in self.seen:
            self.seen.add(address)
            return "450 4.2.1 not now"
        return "250 2.1.5 ok"

    def _serve(self, c, number):
        self.local.number = number
        super()._serve(c, number)

    def _end(self, c, sender, rcpts, body):
        addresses = [re.search(r"<([^>]*)>", r).group(1) for r in rcpts]
        self.arrivals.append((addresses, body, self.local.number))
        super()._end(c, sender, rcpts, body)


class Attempt:
    """What a client knows of one transaction."""

    def __init__(self, tag, scenario):
        self.tag = tag
        self.state = "unfinished" # then "ambiguous" once the end is sent, then "accepted"
        self.notify = SCENARIOS[scenario].get("notify", {})
        self.rcpts = [r.replace("TAG", tag) for r in SCENARIOS[scenario]["rcpts"]]
        self.raw = message(f"torture {tag}", SCENARIOS[scenario].get("body", b"A short body.\r\n.\r\n..\r\nEnd.\r\n"),
                           sender=SENDER)

    def delivered(self):
        return [r for r in self.rcpts if not r.startswith("no-")]

    def reports(self):
        return [(r, "failed") for r in self.rcpts if r.startswith("no-")] + [
            (r, "delivered") for r, notify in self.notify.items() if notify == "SUCCESS"]


class Client(threading.Thread):
    """Comes again until one attempt is accepted."""

    def __init__(self, server, tag, scenario):
        super().__init__(daemon=True)
        self.server, self.name_, self.scenario = server, tag, scenario
        self.attempts = []
        self.start()

    def run(self):
        end = time.monotonic() + 2 * PATIENCE
        for k in itertools.count(1):
            attempt = Attempt(f"{self.name_}.{k}", self.scenario)
            self.attempts.append(attempt)
            with contextlib.suppress(OSError, Closed, AssertionError):
                self._try(attempt)
                return
            if time.monotonic() > end:
                return
            time.sleep(0.03)

    def _try(self, attempt):
        with self.server.dialog(timeout=10) as d:
            d.hello()
            if SCENARIOS[self.scenario].get("login"):
                d.expect(334, "AUTH LOGIN")
                d.expect(334, base64.b64encode(SENDER.encode()).decode())
                d.expect(235, base64.b64encode(PASSWORD.encode()).decode())
            d.expect(250, f"MAIL FROM:<{SENDER}> ENVID={attempt.tag}")
            for rcpt in attempt.rcpts:
                notify = attempt.notify.get(rcpt)
                d.expect(250, f"RCPT TO:<{rcpt}>" + (f" NOTIFY={notify}" if notify else ""))
            d.expect(354, "DATA")
            d.send(re.sub(rb"(?m)^\.", b"..", attempt.raw))
            attempt.state = "ambiguous"
            d.send(b".\r\n")
            reply = d.reply()
            assert reply.code == 250, reply
            attempt.state = "accepted"


class Moment:
    """The world as it was when a role stood still before its end: what was delivered, and what the database knew."""

    def __init__(self, lab):
        self.mail = lab.take_mail()
        self.connections = lab.peer.peer.connections
        self.settled = self._settled(lab.server.data)

    @staticmethod
    def _settled(data):
        """(envelope id, recipient) -> whether it is settled; of a report, the envelope id of what it is about."""
        with tempfile.TemporaryDirectory() as folder:
            for name in ("queue.db", "queue.db-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy(data / name, pathlib.Path(folder) / name)
            with contextlib.closing(sqlite3.connect(pathlib.Path(folder) / "queue.db")) as db:
                rows = db.execute(
                    "SELECT coalesce(a.envid, m.envid), m.about <> 0, r.address, r.state >= 3 FROM recipient r"
                    " JOIN message m ON m.id = r.msg LEFT JOIN message a ON a.id = m.about").fetchall()
        return {(envid.decode(), bool(report), address.decode()): bool(settled)
                for envid, report, address, settled in rows}


class Violation(Exception):
    pass


class Lab:
    """A server with a peer, in which points are played one after the other."""

    def __init__(self, folder):
        self.peer = NumberedPeer()
        self.server = Postrider(folder).configure(
            text=None, extra="receivers = \"1\"\nsenders = \"1\"\n" + route(self.peer.port),
            listen="  messages_max = 100000\n  errors_max = 1000\n  auth = offer\n  auth_in_clear = all\n").start()
        self.server.cli("user", "add", SENDER, stdin=PASSWORD + "\n")
        self.deliveries = [] # of the point that is played
        self.duplicates = collections.Counter()
        self.numbers = itertools.count(1)

    def close(self):
        self.server.finish()
        self.peer.stop()

    def take_mail(self):
        """Takes what lies in the mailboxes, as a reader would: so a second delivery is another file."""
        taken = []
        for mailbox in ("alice", "carol"):
            new = self.server.maildir(mailbox) / "new"
            for path in sorted(new.iterdir()) if new.exists() else []:
                taken.append((f"{mailbox}@example.com", Mail(path)))
                path.unlink()
        return taken

    def pid_of(self, role):
        """The process of a role that serves: a child of the supervisor."""
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            with contextlib.suppress(OSError):
                fields = pathlib.Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
                if int(fields[1]) == self.server.process.pid and fields[0] != "Z":
                    if f"\0{role}\0".encode() in pathlib.Path(f"/proc/{entry}/cmdline").read_bytes():
                        return int(entry)
        return None

    def resting(self, role):
        """The process of a role once it has started up and waits for something to do."""
        def rests():
            pid = self.pid_of(role)
            with contextlib.suppress(OSError, IndexError):
                before = switches(pid)
                if not self._waits(pid):
                    return None
                time.sleep(0.02)
                return pid if self._waits(pid) and switches(pid) == before else None
            return None
        return wait_for(rests, f"a {role} that rests")

    @staticmethod
    def _waits(pid):
        call = pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0] # or "running"
        return call.isdigit() and call_names().get(int(call), "epoll").startswith("epoll")

    def idle(self, killer):
        """Whether the queue is empty. A role that comes to stand meanwhile may be the one that would have answered."""
        with subprocess.Popen([str(POSTRIDER), "queue", "status", "--json", "-c", str(self.server.conf)], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as asked:
            while asked.poll() is None:
                if killer.stands():
                    asked.kill()
                time.sleep(0.002)
            if asked.returncode != 0:
                return False
            recipients = json.loads(asked.stdout.read())["recipients"]
        return recipients["waiting"] + recipients["underway"] + recipients["held"] == 0

    def count(self, scenario, role):
        """The calls of one message's life, nobody being killed."""
        killer = Killer(self.resting(role), 1 << 30)
        self._live(scenario, role, 0, killer)
        return killer.counted

    def play(self, scenario, role, n):
        """One point. Returns the number of the call, or None when the message's life was shorter."""
        killer = Killer(self.resting(role), n)
        return self._live(scenario, role, n, killer)

    def _forget_renewal(self):
        """As if the account had just been taken over from elsewhere."""
        with contextlib.closing(sqlite3.connect(self.server.data / "accounts/directory.db", timeout=PATIENCE)) as db:
            with db:
                assert db.execute("UPDATE account SET is_foreign = 1").rowcount == 1

    def _live(self, scenario, role, n, killer):
        if SCENARIOS[scenario].get("login"):
            self._forget_renewal()
        client = Client(self.server, f"{scenario}-{role}-{n}-{next(self.numbers)}", scenario)
        moment = None
        end = time.monotonic() + 3 * PATIENCE
        while True:
            if not moment and killer.stands():
                moment = Moment(self)
                killer.kill()
            if not client.is_alive() and self.idle(killer) and (moment or killer.let_go()):
                break
            if time.monotonic() > end:
                raise Violation(f"the queue is not empty after {3 * PATIENCE:.0f} s:\n{self.server.cli('queue')}"
                                f"{self.server.log()[-4000:]}")
            time.sleep(0.01)
        self._judge(client, role, moment)
        return killer.call if moment else None

    # -- the ledger

    def _judge(self, client, role, moment):
        first = moment.mail if moment else []
        mail = first + self.take_mail()
        arrivals, self.peer.arrivals[:] = list(self.peer.arrivals), []
        attempts = {a.tag: a for a in client.attempts}
        if client.attempts[-1].state != "accepted":
            raise Violation(f"the client never got its 250:\n{self.server.log()[-4000:]}")
        copies, reports = self._sort(mail, arrivals, attempts)
        for attempt in client.attempts:
            self._judge_attempt(attempt, copies, reports, role, moment)

    def _sort(self, mail, arrivals, attempts):
        """(tag, recipient) -> deliveries; (tag, recipient, action) -> ids of reports."""
        copies, reports = collections.defaultdict(list), collections.defaultdict(list)
        for address, found in mail:
            if address == SENDER:
                tag, parts = self._report(found)
                if tag not in attempts:
                    raise Violation(f"a report on what is of no attempt: {found}")
                copies[tag, SENDER, found.id].append(None)
                for rcpt, action in parts:
                    if found.id not in reports[tag, rcpt, action]:
                        reports[tag, rcpt, action].append(found.id)
                continue
            self._keep(copies, attempts, address, found.content, None)
        for addresses, octets, connection in arrivals:
            for address in addresses:
                self._keep(copies, attempts, address, content_of(octets), connection)
        return copies, reports

    @staticmethod
    def _keep(copies, attempts, address, content, connection):
        found = re.search(rb"Subject: torture (\S+)\r\n", content)
        tag = found.group(1).decode() if found else None
        if tag not in attempts:
            raise Violation(f"a delivery of what is of no attempt: {address} {content[:200]}")
        if content != attempts[tag].raw:
            raise Violation(f"{tag} for {address} was changed on its way: {len(content)} octets instead of "
                            f"{len(attempts[tag].raw)}")
        copies[tag, address].append(connection)

    @staticmethod
    def _report(mail):
        parsed = email.message_from_bytes(mail.wire, policy=email.policy.default)
        envid, parts = None, []
        for part in parsed.walk():
            if part.get_content_type() != "message/delivery-status":
                continue
            for block in part.get_payload():
                envid = block.get("Original-Envelope-Id", envid)
                if block.get("Final-Recipient"):
                    parts.append((block["Final-Recipient"].split(";")[1].strip(), block["Action"].strip()))
        return envid, parts

    def _judge_attempt(self, attempt, copies, reports, role, moment):
        tag = attempt.tag
        counts = {r: len(copies[tag, r]) for r in attempt.delivered()}
        told = {(r, action): len(reports[tag, r, action]) for r, action in attempt.reports()}
        ends = [*counts.values(), *told.values()]
        if attempt.state == "unfinished" and any(ends):
            raise Violation(f"{tag} was never finished by the client, but: {counts} {told}")
        if attempt.state == "accepted" and not all(ends):
            raise Violation(f"{tag} got its 250, but there is no end for all: {counts} {told}\n"
                            f"{self.server.log()[-6000:]}")
        if attempt.state == "ambiguous" and any(ends) and not all(ends):
            raise Violation(f"{tag} was taken in part: {counts} {told}")
        if attempt.state == "ambiguous" and all(ends):
            self.duplicates["taken, but the client did not hear of it"] += 1
        if any(n > 1 for n in told.values()):
            raise Violation(f"{tag}: a failure was reported more than once: {told}")
        unknown = [k for k in reports if k[0] == tag and (k[1], k[2]) not in told]
        if unknown:
            raise Violation(f"{tag}: reports that nobody asked for: {unknown}")
        for key, found in copies.items():
            if key[0] == tag and len(found) > 1:
                self._judge_duplicate(key, found, role, moment)

    def _judge_duplicate(self, key, found, role, moment):
        tag, address = key[:2]
        what = f"{key} was delivered {len(found)} times"
        if not moment:
            raise Violation(f"{what}, and nobody was killed")
        if moment.settled.get((tag, address == SENDER, address)):
            raise Violation(f"{what}, though it was settled when the {role} was killed")
        local = address.endswith("@example.com")
        actor = "mailbox" if local else "sender"
        if role not in (actor, "queue"):
            raise Violation(f"{what}, though only the {role} was killed")
        if role == "sender" and min(found) > moment.connections:
            raise Violation(f"{what}, though none was on a connection from before the kill")
        if role == "mailbox" and not any(address == to and re.search(rb"torture " + tag.encode(), mail.wire) for
                                         to, mail in moment.mail):
            raise Violation(f"{what}, though none was there at the kill")
        self.duplicates[f"the {role} died between the delivery and its settling"] += len(found) - 1


def content_of(octets):
    """Without our Received field."""
    return re.sub(rb"\AReceived:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", b"", octets)


# ---- many labs ---------------------------------------------------------------------------------------------------

def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def work(number, folder, tasks, results):
    """A process: a lab of its own, and points until there are no more."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lab = Lab(pathlib.Path(folder) / f"lab{number}")
    try:
        for task in iter(tasks.get, None):
            scenario, role, n = task
            try:
                found = lab.count(scenario, role) if n == 0 else lab.play(scenario, role, n)
                results.put((task, found, None))
            except Exception as fault: # pylint: disable=broad-except
                results.put((task, None, f"{type(fault).__name__}: {fault}"))
        results.put(("duplicates", lab.duplicates, None))
    finally:
        try:
            lab.close()
        except AssertionError as fault:
            results.put((("end", f"lab{number}", 0), None, str(fault)))
        results.put(("over", number, None))


class Torture:
    def __init__(self, args):
        self.args = args
        self.tasks, self.results = multiprocessing.Queue(), multiprocessing.Queue()
        self.folder = tempfile.mkdtemp(prefix="postrider-torture.")
        self.lengths = collections.defaultdict(int)
        self.killed = collections.Counter() # (scenario, role)
        self.calls = collections.defaultdict(collections.Counter) # role -> call
        self.later = collections.Counter() # points that a message's life did not reach
        self.violations = []
        self.duplicates = collections.Counter()
        self.workers = [multiprocessing.Process(target=work, args=(n, self.folder, self.tasks, self.results))
                        for n in range(args.workers)]
        for worker in self.workers:
            worker.start()

    def play(self, tasks, until=None):
        """Hands out tasks, two for each worker ahead, until they or the time are over."""
        rest, open_ = iter(tasks), 0
        for task in itertools.islice(rest, 2 * len(self.workers)):
            self.tasks.put(task)
            open_ += 1
        while open_:
            self._took(*self.results.get(timeout=20 * PATIENCE))
            open_ -= 1
            task = next(rest, None) if until is None or time.monotonic() < until else None
            if task:
                self.tasks.put(task)
                open_ += 1

    def _took(self, task, found, fault):
        scenario, role, n = task
        if fault:
            self.violations.append((task, fault))
            print(f"VIOLATION at {scenario}:{role}:{n}: {fault}", flush=True)
        elif n == 0:
            self.lengths[scenario, role] = max(self.lengths[scenario, role], found)
        elif found is None:
            self.later[scenario, role] += 1
        else:
            self.killed[scenario, role] += 1
            self.calls[role][found] += 1

    def points(self):
        """Every point: roles take turns, so that one that was just started again is left alone for a while."""
        for n in range(1, max(self.lengths.values()) + MARGIN + 1):
            for scenario in self.args.scenarios:
                for role in roles_of(scenario):
                    if n <= self.lengths[scenario, role] + MARGIN:
                        yield scenario, role, n

    def run(self):
        args = self.args
        if args.only:
            scenario, role, n = args.only.split(":")
            self.play([(scenario, role, int(n))])
            return
        self.play([(s, r, 0) for _ in range(DRY_RUNS) for s in args.scenarios for r in roles_of(s)])
        if args.all:
            self.play(self.points())
            return
        # The same seed gives the same points, as far as the time goes.
        points = list(self.points())
        random.Random(args.seed).shuffle(points)
        self.play(points, time.monotonic() + args.seconds)

    def close(self):
        for _ in self.workers:
            self.tasks.put(None)
        over = 0
        while over < len(self.workers):
            what, found, fault = self.results.get(timeout=10 * PATIENCE)
            if what == "over":
                over += 1
            elif what == "duplicates":
                self.duplicates += found
            elif fault:
                self.violations.append((what, fault))
                print(f"VIOLATION at the end of {what[1]}: {fault}", flush=True)
        for worker in self.workers:
            worker.join(PATIENCE)
        if not self.violations:
            shutil.rmtree(self.folder)

    def figures(self, took):
        names = call_names()
        total = sum(self.lengths.values())
        roles = [*ROLES, "auth"]
        if total:
            print(f"{'':10}" + "".join(f"{role:>18}" for role in roles))
        for scenario in self.args.scenarios if total else []:
            print(f"{scenario:10}" + "".join(
                f"{self.killed[scenario, role]:>8} of {self.lengths[scenario, role]:>6}" for role in roles))
        for role, calls in sorted(self.calls.items()):
            print(f"{role}: " + ", ".join(f"{names.get(c, c)} {k}" for c, k in calls.most_common()))
        for cause, count in sorted(self.duplicates.items()):
            print(f"duplicate: {cause}: {count}")
        killed = sum(self.killed.values())
        print(f"{total} system calls in {len(self.args.scenarios)} scenarios; killed at {killed} points, "
              f"{sum(self.later.values())} not reached; {took:.0f} s, seed {self.args.seed}"
              + (f"; left in {self.folder}" if self.violations else ""))
        print(f"{killed} points, {len(self.violations)} violations")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every point; takes minutes")
    parser.add_argument("--seconds", type=float, default=30, help="how long points are played (default 30)")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="which points come first")
    parser.add_argument("--workers", type=int, default=8, help="servers at one time (default 8)")
    parser.add_argument("--only", metavar="SCENARIO:ROLE:N", help="one point")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    args = parser.parse_args()
    args.workers = 1 if args.only else args.workers
    began = time.monotonic()
    torture = Torture(args)
    try:
        torture.run()
    finally:
        torture.close()
    torture.figures(time.monotonic() - began)
    sys.exit(1 if torture.violations else 0)


if __name__ == "__main__":
    main()
