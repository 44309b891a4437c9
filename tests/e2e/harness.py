"""What the end-to-end tests are made with: a Postrider in a folder of its own, clients, and peers to talk to.

Nothing here sleeps to give something time: wait_for polls until a thing is so, or fails and says what it waited for.
Nothing here ends a process that it did not start.
"""
import collections
import contextlib
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("POSTRIDER_BUILD", ROOT / "build")).resolve()
PEERS = ROOT / "build/peers"
POSTRIDERD = BUILD / "src/role/postriderd"
POSTRIDER = BUILD / "src/cli/postrider"
SENDMAIL = BUILD / "src/cli/sendmail"

# Sanitizers and a loaded machine make everything slower; a test that passes does not wait for these.
PATIENCE = float(os.environ.get("POSTRIDER_TEST_PATIENCE", "60"))

# Built with AddressSanitizer: what is freed stays in memory for a while.
SANITIZED = POSTRIDERD.exists() and b"__asan_init" in POSTRIDERD.read_bytes()

# Words of a broken program: none may stand in any log.
BROKEN = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|Assertion .* failed|assertion failed|"
                    r"stack smashing|SUMMARY: Undefined", re.I)


def wait_for(check, what, timeout=None, every=0.02):
    """Polls check() until it gives something true, and returns that. `what` is a text, or a function that makes one.
    A check that takes long leaves as long a pause: it starts a program, as a rule."""
    end = time.monotonic() + (timeout or PATIENCE)
    while True:
        began = time.monotonic()
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout or PATIENCE:.0f} s for {what() if callable(what) else what}")
        time.sleep(max(every, time.monotonic() - began))


_given = set()
_given_lock = threading.Lock()
# Sockets that keep the latest ports from other tests and from outgoing connections until their server is there: who
# asks for any port gets none of these, and who asks for one of them by number, with SO_REUSEADDR as all servers do,
# gets it.
_kept = collections.deque(maxlen=200)


def free_port():
    """A TCP port of 127.0.0.1 that nobody listens on, never the same twice."""
    with _given_lock:
        while True:
            s = socket.socket()
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
            if port in _given:
                s.close()
                continue
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _given.add(port)
            if len(_kept) == _kept.maxlen:
                _kept.popleft().close()
            _kept.append(s)
            return port


def listening(port, host="127.0.0.1"):
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=1).close()
        return True
    return False


# ---- folders and accounts --------------------------------------------------------------------------------------------

def new_folder(prefix="postrider-test."):
    """A new folder that other accounts can pass, as pytest's own cannot: a server that root starts is not root."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    return folder


def server_account():
    """(uid, gid) of a server that we start, by the key `user`: ours, unless we are root."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    try:
        entry = pwd.getpwnam("postrider")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid


def limit(pid, which, soft):
    """Sets a soft limit of a process of our server, as its own user: root of a container may not do that to others."""
    user, group = server_account()
    program = f"import resource; resource.prlimit({pid}, {which}, ({soft}, resource.prlimit({pid}, {which})[1]))"
    subprocess.run([sys.executable, "-c", program], check=True, user=user, group=group,
                   extra_groups=[] if os.geteuid() == 0 else None)


def give(path):
    """Makes a file, or a folder with all that is in it, the server's own. Returns it."""
    path = pathlib.Path(path)
    account = server_account()
    for found in [path, *path.rglob("*")] if path.exists() else []:
        if (found.lstat().st_uid, found.lstat().st_gid) != account:
            os.chown(found, *account, follow_symlinks=False)
    return path


# ---- messages ------------------------------------------------------------------------------------------------------

def message(subject="test", body=b"Hello.\r\n", sender="sender@example.org", to="alice@example.com", extra=b""):
    """A message in octets, with CRLF."""
    head = f"From: {sender}\r\nTo: {to}\r\nSubject: {subject}\r\n".encode() + extra
    head += f"Message-ID: <{time.time_ns()}.{os.getpid()}@example.org>\r\n".encode()
    head += b"Date: Sat, 01 Nov 2025 10:00:00 +0000\r\n"
    return head + b"\r\n" + body


TRACE_FIELDS = (b"return-path", b"delivered-to", b"received")


class Mail:
    """A file of a Maildir."""

    def __init__(self, path):
        self.path = path
        self.raw = path.read_bytes()

    def __repr__(self):
        return f"<Mail {self.path}: {len(self.raw)} octets, {self.raw[:200]!r}>"

    @property
    def wire(self):
        """As it was on the wire: with CRLF, whatever the Maildir keeps."""
        return self.raw if b"\r\n" in self.raw else self.raw.replace(b"\n", b"\r\n")

    def trace(self):
        """The trace fields at the top as (name, unfolded value), and the octets after them.

        A Received field ends them when `Received` stood in the message already: we add one.
        """
        rest, fields, seen = self.wire, [], set()
        while True:
            match = re.match(rb"([!-9;-~]+):((?:[^\r\n]*\r\n)(?:[ \t][^\r\n]*\r\n)*)", rest)
            name = match.group(1).lower() if match else b""
            if name not in TRACE_FIELDS or name in seen:
                return fields, rest
            seen.add(name)
            fields.append((match.group(1).decode(), re.sub(rb"\r\n[ \t]+", b" ", match.group(2)).strip().decode()))
            rest = rest[match.end():]

    @property
    def content(self):
        return self.trace()[1]

    def field(self, name):
        """The value of a trace field that we added."""
        return dict((n.lower(), v) for n, v in self.trace()[0])[name.lower()]

    @property
    def id(self):
        """Our id, from the name of the file."""
        return re.search(r"\.([0-9A-Z]{12})-", self.path.name).group(1)

    def parsed(self):
        import email
        import email.policy
        return email.message_from_bytes(self.wire, policy=email.policy.default)


# ---- the server ----------------------------------------------------------------------------------------------------

# Retries come within seconds, so that a test sees several; everything else is as it comes.
CONFIG = """\
hostname = "mx.example.com"
data_dir = "{data}"
relay_networks = {{"127.0.0.1/32"}}
listen smtp {{
  address = "127.0.0.1"
  port = {port}
{listen}
}}
domain "example.com" {{
  mailboxes = {{"alice", "bob", "carol", "postmaster"}}
{domain}
}}
queue {{
{queue}
}}
{extra}
"""
FAST = {"retry_first": "1s", "retry_longest": "2s", "recovery_grace": "1s"}


def route(*ports, name="*", keys=""):
    """A route of the configuration to peers on this machine, in order of preference."""
    hosts = ", ".join(f'"127.0.0.1:{port}"' for port in ports)
    return f'route "{name}" {{\n  hosts = {{{hosts}}}\n{keys}}}\n'


class Postrider:
    """A server of our own with its configuration, data and log in one folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.conf = self.folder / "postrider.conf"
        self.log_path = self.folder / "log"
        self.port = free_port()
        self.process = None
        self.expected_in_log = None
        self.killed = False
        self.may_be_refused = False
        self.owns_data = True
        self.prefix = []

    # -- life

    def configure(self, extra="", listen="", domain="", queue="", text=None):
        """Writes the configuration; keys in `queue` stand in place of ours."""
        given = set(re.findall(r"(?m)^\s*(\w+) =", queue))
        queue += "\n".join(f'  {key} = "{value}"' for key, value in FAST.items() if key not in given)
        self.conf.write_text(text if text is not None else CONFIG.format(
            data=self.data, port=self.port, extra=extra, listen=listen, domain=domain, queue=queue))
        self.conf.chmod(0o644)
        return self

    def spawn(self, args=None, env=None):
        """Starts it without waiting. What a test has put into its data directory is the server's."""
        if os.geteuid() == 0 and self.owns_data:
            give(self.data)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.prefix, str(POSTRIDERD), *(args if args is not None else ["-c", str(self.conf)])],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True,
                env=dict(os.environ, **(env or {})))
        return self

    def start(self, args=None, env=None):
        """Starts it and waits until it serves."""
        starts = self.starts()
        self.spawn(args, env)
        self.wait_ready(starts)
        return self

    def starts(self):
        """How often its log says that every process was ready."""
        return len(re.findall(r'event(=|": ?")started', self.log()))

    def wait_ready(self, starts):
        quiet = re.search(r'level = "(warning|error)"', self.conf.read_text()) if self.conf.exists() else None

        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"postriderd ended with {self.process.returncode}:\n{self.log()[-4000:]}")
            return (quiet or self.starts() > starts) and self.serves()
        wait_for(ready, lambda: f"service on port {self.port}; log:\n{self.log()[-2000:]}")

    def serves(self):
        """Whether it takes a sender now: it greets, and the queue is there."""
        with contextlib.suppress(OSError, Closed):
            with self.dialog(timeout=5) as d:
                return d.greeting.code == 220 and d.command("HELO probe").code == 250 \
                    and d.command("MAIL FROM:<>").code == 250 and d.command("QUIT").code == 221
        return False

    def signal(self, number):
        self.process.send_signal(number)

    def stop(self, timeout=None):
        """SIGTERM; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout or PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise AssertionError(f"SIGTERM did not end it; log:\n{self.log()[-4000:]}") from None

    def processes(self, dying=False):
        """Every process of this server: pid -> command line. They share the session that we made for it."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                # One that is a zombie, or on the way to be one, has no command line any more. On the way it still has
                # its files, and their locks.
                if int(stat[3]) == self.process.pid and stat[0] not in "ZX" and (words or dying):
                    found[int(entry.name)] = words
        return found

    def role_pids(self, role):
        """The processes of one role: its name stands in their command line."""
        return [pid for pid, words in self.processes().items()
                if pid != self.process.pid and re.search(rf"--role {role}\b", words)]

    def kill_all(self):
        """SIGKILL to all of it at once."""
        self.killed = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        wait_for(lambda: not self.processes(dying=True), "all its processes to end")

    def finish(self):
        """The end of every test: it stops in order, leaves no process behind and has said nothing unheard of."""
        if self.process is None:
            return
        running = self.process.poll() is None
        status = self.stop() if running else self.process.returncode
        # LeakSanitizer looks at a process from another one, which may end a moment later.
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not self.processes(), "the end of its processes", timeout=3)
        left = self.processes()
        if left:
            self.kill_all()
        log = self.log()
        broken = BROKEN.search(log)
        assert not broken, f"the log speaks of a fault:\n{log[max(0, broken.start() - 3000):broken.end() + 6000]}"
        refused = re.search("^.*call-refused.*$", log, re.M)
        assert self.may_be_refused or not refused, f"a role may not do what it needs: {refused.group()}"
        if running:
            assert status == 0, f"SIGTERM ended it with {status}; log:\n{log[-4000:]}"
            assert not left, f"these processes outlived it: {left}"

    # -- looking at it

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_log(self, pattern, timeout=None):
        return wait_for(lambda: re.search(pattern, self.log()),
                        lambda: f"/{pattern}/ in the log:\n{self.log()[-3000:]}", timeout)

    def maildir(self, mailbox="alice", domain="example.com"):
        return self.data / "mail" / domain / mailbox

    def mail(self, mailbox="alice", domain="example.com"):
        """What lies in a mailbox, oldest first."""
        files = [p for d in ("new", "cur") for p in (self.maildir(mailbox, domain) / d).glob("*")]
        return [Mail(p) for p in sorted(files, key=lambda p: (p.stat().st_mtime_ns, p.name))]

    def mail_count(self, mailbox="alice", domain="example.com"):
        folder = self.maildir(mailbox, domain) / "new"
        return len(os.listdir(folder)) if folder.exists() else 0

    def wait_mail(self, mailbox="alice", count=1, domain="example.com", timeout=None):
        """Waits until `count` messages lie there, and no more; returns them."""
        wait_for(lambda: self.mail_count(mailbox, domain) >= count,
                 lambda: f"{count} messages for {mailbox}@{domain}; there are {self.mail_count(mailbox, domain)}. "
                 f"Log:\n{self.log()[-3000:]}", timeout)
        found = self.mail(mailbox, domain)
        assert len(found) == count, f"{len(found)} messages for {mailbox}@{domain}, expected {count}: {found}"
        return found

    # -- the command line

    def cli(self, *args, status=0, stdin=None):
        """Runs postrider with our configuration; asserts its exit status, gives its output."""
        done = self.cli_run(*args, stdin=stdin)
        assert done.returncode == status, (f"postrider {' '.join(map(str, args))}: exit {done.returncode}, expected "
                                           f"{status}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def cli_run(self, *args, stdin=None):
        command, *rest = [str(a) for a in args]
        return subprocess.run([str(POSTRIDER), command, "-c", str(self.conf), *rest], input=stdin or "",
                              capture_output=True, text=True, errors="replace", timeout=PATIENCE * 2, cwd=self.folder,
                              check=False)

    def json(self, *args):
        """The output of a command with --json; several lines are several values."""
        text = self.cli(*args, "--json")
        try:
            return json.loads(text)
        except ValueError:
            return [json.loads(line) for line in text.splitlines()]

    def trace(self, message_id):
        return self.cli("trace", message_id)

    def wait_trace(self, message_id, pattern, timeout=None):
        """Waits until the story of a message has these words."""
        wait_for(lambda: re.search(pattern, self.trace(message_id), re.I | re.S),
                 lambda: f"/{pattern}/ in the trace:\n{self.trace(message_id)}", timeout, every=0.1)
        return self.trace(message_id)

    def queued(self):
        """How many recipients wait, by `postrider queue list --json`."""
        found = self.json("queue", "list")
        if isinstance(found, dict):
            found = found.get("recipients", found.get("queue", found.get("messages", [found])))
        return found

    # -- the network

    def dialog(self, **kw):
        return Dialog(self.port, **kw)

    def submit(self, raw=None, sender="sender@example.org", to=("alice@example.com",), mail_options="", rcpt_options="",
               source=None, secure=False):
        """Sends one message over a socket of our own, under TLS if `secure`; returns its id from the 250."""
        raw = message() if raw is None else raw
        to = [to] if isinstance(to, str) else to
        with self.dialog(source=source) as d:
            d.hello()
            if secure:
                d.starttls()
                d.hello()
            d.expect(250, f"MAIL FROM:<{sender}>{mail_options}")
            for rcpt in to:
                d.expect(250, f"RCPT TO:<{rcpt}>{rcpt_options}")
            reply = d.data(raw)
            assert reply.code == 250, reply
            return message_id(reply)


def message_id(reply):
    """Our id from a 250 to the end of the data."""
    found = re.search(r"\b([0-9A-Z]{12})\b", reply.text)
    assert found, f"no id in {reply}"
    return found.group(1)


# ---- a client ------------------------------------------------------------------------------------------------------

class Reply:
    def __init__(self, lines):
        self.lines = lines
        self.code = int(lines[0][:3])
        self.text = "\n".join(line[4:] for line in lines)
        match = re.match(r"([245]\.\d{1,3}\.\d{1,3}) ", self.text)
        self.status = match.group(1) if match else ""

    def __repr__(self):
        return f"<Reply {self.lines!r}>"


class Closed(Exception):
    """The server closed the connection where a reply was due."""


def tls_context(verify=None, **keys):
    """A client's settings of TLS: any certificate, or one that `verify` (a file) vouches for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = verify is not None
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    if verify:
        context.load_verify_locations(verify)
    for key, value in keys.items():
        setattr(context, key, value)
    return context


class Dialog:
    """An SMTP client that does just what it is told, octet by octet; `tls` is a context for TLS from the start."""

    def __init__(self, port, host="127.0.0.1", source=None, greet=True, timeout=None, tls=None, name=None):
        self.socket = socket.create_connection((host, port), timeout=timeout or PATIENCE,
                                               source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        if tls:
            self.secure(tls, name)
        self.greeting = self.reply() if greet else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets if isinstance(octets, bytes) else octets.encode())

    def secure(self, context=None, name=None, session=None):
        """The handshake, for a host name (SNI), perhaps with a session to be resumed."""
        assert not self.buffer, self.buffer
        self.socket = (context or tls_context()).wrap_socket(self.socket, server_hostname=name, session=session)
        return self

    def starttls(self, context=None, name=None, session=None):
        self.expect(220, "STARTTLS")
        return self.secure(context, name, session)

    def line(self):
        while b"\r\n" not in self.buffer:
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                raise Closed(self.buffer)
            self.buffer += more
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line.decode(errors="replace")

    def reply(self):
        lines = [self.line()]
        while lines[-1][3:4] == "-":
            lines.append(self.line())
        for line in lines:
            assert re.match(r"[2-5][0-5][0-9]([ -]|$)", line), f"not a reply line: {line!r}"
            assert len(line) + 2 <= 512, f"a reply line of {len(line) + 2} octets: {line!r}"
        assert len({line[:3] for line in lines}) == 1, lines
        return Reply(lines)

    def command(self, text):
        self.send((text if isinstance(text, bytes) else text.encode()) + b"\r\n")
        return self.reply()

    def expect(self, code, text):
        reply = self.command(text)
        assert reply.code == code, f"{text!r}: expected {code}, got {reply}"
        return reply

    def hello(self, name="client.example.org", verb="EHLO"):
        return self.expect(250, f"{verb} {name}")

    def extensions(self):
        return {line[4:].split(" ")[0].upper(): line[4:].split(" ")[1:] for line in self.hello().lines[1:]}

    def envelope(self, sender="sender@example.org", to="alice@example.com", mail_options=""):
        self.expect(250, f"MAIL FROM:<{sender}>{mail_options}")
        for rcpt in [to] if isinstance(to, str) else to:
            self.expect(250, f"RCPT TO:<{rcpt}>")

    def data(self, raw):
        """DATA with dots doubled; the reply to the end."""
        self.expect(354, "DATA")
        self.send(re.sub(rb"(?m)^\.", b"..", raw) + (b"" if raw.endswith(b"\r\n") else b"\r\n") + b".\r\n")
        return self.reply()

    def bdat(self, raw, chunk=65536, strict=True):
        """BDAT in chunks, all sent before the first reply is read; the last reply, or if not strict the first bad."""
        chunks = [raw[i:i + chunk] for i in range(0, len(raw), chunk)] or [b""]
        sender = threading.Thread(target=lambda: [self.send(
            f"BDAT {len(c)}{' LAST' if i == len(chunks) - 1 else ''}\r\n".encode() + c) for i, c in enumerate(chunks)])
        sender.start()
        # Python's TLS does not read while it writes; the replies to some thousand chunks fit into the socket.
        if isinstance(self.socket, ssl.SSLSocket):
            sender.join()
        replies = [self.reply() for _ in chunks]
        sender.join()
        bad = [reply for reply in replies if reply.code != 250]
        assert not (strict and bad), bad[0]
        return bad[0] if bad else replies[-1]

    def is_closed(self, timeout=None):
        """Whether the server closes now; what it still says is read away."""
        self.socket.settimeout(timeout or PATIENCE)
        try:
            while self.socket.recv(65536):
                pass
            return True
        except (ConnectionResetError, ssl.SSLEOFError):
            return True
        except TimeoutError:
            return False


# ---- peers ---------------------------------------------------------------------------------------------------------

def open_folder():
    """A folder in which a peer who runs as nobody can write."""
    folder = new_folder("postrider-peer.")
    folder.chmod(0o777)
    return folder


class Sink:
    """Postfix's smtp-sink: takes everything, keeps each message in a file."""

    def __init__(self, port=None, options=()):
        self.folder = open_folder()
        self.port = port or free_port()
        command = [str(PEERS / "usr/sbin/smtp-sink"), *options, "-d", str(self.folder / "%Y%m%d%H%M%S.")]
        if os.geteuid() == 0:
            command += ["-u", "nobody"]
        self.process = subprocess.Popen([*command, f"127.0.0.1:{self.port}", "200"], stdin=subprocess.DEVNULL,
                                        env=postfix_env(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(lambda: self._alive() and listening(self.port), "smtp-sink to listen")

    def _alive(self):
        assert self.process.poll() is None, self.process.stderr.read()
        return True

    def messages(self):
        """Whole messages as smtp-sink writes them: its own X- fields, then the octets with LF."""
        found = []
        for path in sorted(self.folder.iterdir()):
            raw = path.read_bytes()
            # smtp-sink ends a file with an empty line once the message is whole.
            if raw.endswith(b"\n\n") or raw.endswith(b"\n"):
                found.append(raw)
        return found

    def stop(self):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder)


def postfix_env():
    return dict(os.environ, LD_LIBRARY_PATH=f"{PEERS}/usr/lib/postfix:{PEERS}/usr/lib/x86_64-linux-gnu",
                MAIL_CONFIG="/nonexistent")


def smtp_source(port, count, sessions=5, length=1000, sender="sender@example.org", to="alice@example.com", options=()):
    """The command line of Postfix's smtp-source."""
    size = ["-l", str(length)] if length else []
    return [str(PEERS / "usr/sbin/smtp-source"), "-f", sender, "-t", to, "-m", str(count), "-s", str(sessions), *size,
            *options, f"127.0.0.1:{port}"]


class RawPeer:
    """A server whose every octet is ours: `script(connection, number)` runs in a thread for each connection."""

    def __init__(self, script, port=0, host="127.0.0.1"):
        self.script = script
        self.errors = []
        self.connections = 0
        self.listener = socket.create_server((host, port))
        self.port = self.listener.getsockname()[1]
        self.threads = []
        self.closing = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.settimeout(PATIENCE)
            thread = threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, connection, number):
        with connection:
            try:
                self.script(Connection(connection), number)
            except (OSError, EOFError):
                pass # the other side may go at any time
            except Exception as fault: # pylint: disable=broad-except
                self.errors.append(fault)

    def stop(self):
        self.closing = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        assert not self.errors, self.errors


class Connection:
    """One side of a connection, by lines."""

    def __init__(self, connection):
        self.socket = connection
        self.file = connection.makefile("rb")
        self.tls = None

    def secure(self, context):
        """The server's side of a handshake; what came before it in the clear is none."""
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.file = self.socket.makefile("rb")
        self.tls = self.socket.version()

    def send(self, text):
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def line(self):
        line = self.file.readline(1 << 20)
        if not line:
            raise EOFError
        return line.rstrip(b"\r\n").decode(errors="replace")

    def data(self):
        """Up to the final dot, dots undone."""
        lines = []
        while True:
            line = self.file.readline(1 << 26)
            if not line:
                raise EOFError
            if line == b".\r\n":
                return b"".join(lines)
            lines.append(line[1:] if line.startswith(b".") else line)

    def wait_close(self):
        with contextlib.suppress(OSError):
            while self.file.read(65536):
                pass


class Peer:
    """A well-behaved server with programmable replies: answers[verb] = a reply, or a function of the argument.

    Verbs: GREETING, EHLO (its lines), HELO, STARTTLS, MAIL, RCPT, DATA, END, RSET, QUIT, NOOP. It keeps each message as
    (sender, recipients, octets) and each command line. With `tls`, a context of ssl, it has TLS: by STARTTLS, or from
    the first octet (`implicit`). How each message came stands in `versions`, what handshakes came to in `handshakes`.
    """

    def __init__(self, port=0, extensions=("PIPELINING", "8BITMIME", "SIZE 100000000", "ENHANCEDSTATUSCODES", "DSN",
                                           "SMTPUTF8", "CHUNKING"), lmtp=False, tls=None, implicit=False, **answers):
        self.extensions = extensions
        self.answers = answers
        self.lmtp = lmtp
        self.tls = tls
        self.implicit = implicit
        self.commands = []
        self.messages = []
        self.versions = []
        self.handshakes = []
        self.peer = RawPeer(self._serve, port)
        self.port = self.peer.port

    def stop(self):
        self.peer.stop()

    def _answer(self, verb, argument, default):
        answer = self.answers.get(verb, default)
        return answer(argument) if callable(answer) else answer

    def _secure(self, c):
        try:
            c.secure(self.tls)
        except OSError as fault:
            self.handshakes.append(str(fault))
            raise
        self.handshakes.append(c.tls)

    def _serve(self, c, _number):
        if self.implicit:
            self._secure(c)
        c.send(self._answer("GREETING", "", "220 peer.example.net ESMTP") + "\r\n")
        sender, rcpts, body = None, [], b""
        while True:
            line = c.line()
            self.commands.append(line)
            verb, _, argument = line.partition(" ")
            verb = verb.upper()
            if verb in ("EHLO", "LHLO"):
                lines = self._answer("EHLO", argument, None)
                if lines is None:
                    names = ["peer.example.net", *self.extensions, *(["STARTTLS"] if self.tls and not c.tls else [])]
                    lines = "\r\n".join(f"250{'-' if i < len(names) - 1 else ' '}{n}" for i, n in enumerate(names))
                c.send(lines + "\r\n")
            elif verb == "HELO":
                c.send(self._answer("HELO", argument, "250 peer.example.net") + "\r\n")
            elif verb == "MAIL":
                reply = self._answer("MAIL", argument, "250 2.1.0 ok")
                if reply.startswith("2"):
                    sender, rcpts, body = argument, [], b""
                c.send(reply + "\r\n")
            elif verb == "RCPT":
                reply = self._answer("RCPT", argument, "250 2.1.5 ok")
                if reply.startswith("2"):
                    rcpts.append(argument)
                c.send(reply + "\r\n")
            elif verb == "DATA":
                reply = self._answer("DATA", argument, "354 go on" if rcpts else "503 5.5.1 no recipient")
                c.send(reply + "\r\n")
                if reply.startswith("354"):
                    body = c.data()
                    self._end(c, sender, rcpts, body)
                    sender, rcpts = None, []
            elif verb == "BDAT":
                size, _, last = argument.partition(" ")
                body += c.file.read(int(size))
                if last.upper() == "LAST":
                    self._end(c, sender, rcpts, body)
                    sender, rcpts, body = None, [], b""
                else:
                    c.send("250 2.0.0 chunk\r\n")
            elif verb == "STARTTLS" and self.tls:
                reply = self._answer("STARTTLS", argument, "220 2.0.0 go ahead")
                c.send(reply + "\r\n")
                if reply.startswith("220"):
                    self._secure(c)
                    sender, rcpts = None, []
            elif verb == "QUIT":
                c.send(self._answer("QUIT", "", "221 2.0.0 bye") + "\r\n")
                return
            else:
                sender, rcpts = (None, []) if verb == "RSET" else (sender, rcpts)
                c.send(self._answer(verb, argument, "250 2.0.0 ok") + "\r\n")

    def _end(self, c, sender, rcpts, body):
        for rcpt in rcpts if self.lmtp else [None]:
            reply = self._answer("END", rcpt, "250 2.0.0 taken")
            if reply.startswith("2"):
                self.versions.append(c.tls)
                self.messages.append((sender, [rcpt] if self.lmtp else list(rcpts), body))
            c.send(reply + "\r\n")

    def wait_messages(self, count=1, timeout=None):
        wait_for(lambda: len(self.messages) >= count,
                 lambda: f"{count} messages at the peer; commands: {self.commands[-20:]}", timeout)
        return self.messages


class Dovecot:
    """Dovecot with LMTP, IMAP and POP3 on loopback; every user exists, with the password `secret`."""

    def __init__(self):
        # Short as well: a Unix socket's path holds at most 107 octets.
        self.folder = open_folder()
        self.lmtp, self.imap, self.pop3 = free_port(), free_port(), free_port()
        user = "nobody" if os.geteuid() == 0 else subprocess.check_output(["id", "-un"], text=True).strip()
        group = subprocess.check_output(["id", "-gn", user], text=True).strip()
        mail = self.folder / "mail"
        mail.mkdir()
        mail.chmod(0o777)
        library = PEERS / "usr/lib/dovecot"
        conf = self.folder / "dovecot.conf"
        self.socket = self.folder / "run/lmtp"
        conf.write_text(f"""
base_dir = {self.folder}/run
libexec_dir = {library}
mail_plugin_dir = {library}/modules
login_plugin_dir = {library}/modules/login
import_environment = LD_LIBRARY_PATH LD_PRELOAD POSTRIDER_PEERS
log_path = {self.folder}/log
protocols = lmtp imap pop3
ssl = no
disable_plaintext_auth = no
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 0
mail_location = maildir:{mail}/%u
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={mail}/%u
}}
service config {{
  executable = config -c {conf}
}}
service anvil {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {self.imap}
  }}
}}
service pop3-login {{
  chroot =
  inet_listener pop3 {{
    address = 127.0.0.1
    port = {self.pop3}
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {self.lmtp}
  }}
}}
""")
        libraries = [library, library / "modules", library / "modules/old-stats", PEERS / "usr/lib/x86_64-linux-gnu"]
        env = dict(os.environ, POSTRIDER_PEERS=str(PEERS), LD_LIBRARY_PATH=":".join(map(str, libraries)),
                   LD_PRELOAD=str(PEERS / "relocate.so"))
        self.process = subprocess.Popen(
            [str(PEERS / "usr/bin/doveconf"), "-f", "service=master", "-c", str(conf), "-e",
             str(PEERS / "usr/sbin/dovecot"), "-F", "-c", str(conf)], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(self.folder / "err", "wb"))
        wait_for(self._ready, lambda: f"Dovecot to listen; log:\n{self.log()}")

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "err").read_text() + self.log())
        return self.socket.exists() and all(listening(p) for p in (self.lmtp, self.imap, self.pop3))

    def log(self):
        path = self.folder / "log"
        return path.read_text()[-3000:] if path.exists() else ""

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)


class Recorder:
    """A TCP proxy before a server that keeps what each client sent, so that any client's octets can be compared."""

    def __init__(self, port):
        self.sent = []
        self.upstream = port
        self.peer = RawPeer(self._serve)
        self.port = self.peer.port

    def stop(self):
        self.peer.stop()

    def _serve(self, connection, _number):
        kept = bytearray()
        self.sent.append(kept)
        upstream = socket.create_connection(("127.0.0.1", self.upstream))
        back = threading.Thread(target=self._pump, args=(upstream, connection.socket, None), daemon=True)
        back.start()
        self._pump(connection.socket, upstream, kept)
        back.join()
        upstream.close()

    @staticmethod
    def _pump(source, target, kept):
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                if kept is not None:
                    kept += octets
                target.sendall(octets)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def messages(self):
        """The messages in what the clients sent, dots undone."""
        return [found for kept in self.sent for found in sent_messages(bytes(kept))]


def sent_messages(octets):
    """The messages in the octets of an SMTP client whose every DATA and BDAT was accepted."""
    found, chunks = [], []
    while octets:
        line, _, octets = octets.partition(b"\r\n")
        verb = line[:4].upper()
        if verb == b"DATA":
            body, _, octets = (b"\r\n" + octets).partition(b"\r\n.\r\n")
            found.append(body.replace(b"\r\n.", b"\r\n")[2:] + b"\r\n")
        elif verb == b"BDAT":
            size = int(line.split()[1])
            chunks.append(octets[:size])
            octets = octets[size:]
            if line.upper().endswith(b"LAST"):
                found.append(b"".join(chunks))
                chunks = []
    return found
