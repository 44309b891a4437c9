"""The conformance matrix: every row of src/codes/replies.def is drawn from a live server over a socket.

Each function below with @draws(ROW) brings a server into the row's situation and returns the reply. test_row then
checks the code, the enhanced code, the text, the grammar of RFC 5321 4.2 and RFC 2034 4, and what state the session is
in afterwards. A row that nobody draws fails, unless LATER names the feature that will draw it; so does a row that LATER
names and somebody draws.

docs/codes.md says for each standard reply code and each registered enhanced code which situation and which test draws
it; it comes from these tests by scripts/gen-codes-doc.py.
"""
import base64
import contextlib
import importlib.util
import itertools
import os
import pathlib
import re
import resource
import signal
import socket
import sys
import tempfile
import threading

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest

from certificates import Authority
from harness import Dialog, Peer, Postrider, ROOT, RawPeer, free_port, give, limit, message, route

_spec = importlib.util.spec_from_file_location("gen_codes_doc", ROOT / "scripts/gen-codes-doc.py")
doc = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(doc)

ROWS = {row.name: row for row in doc.read_rows()}

# ---- what is not drawn yet -----------------------------------------------------------------------------------------

# Rows of replies.def -> the feature that will draw them.
LATER = {}

SPF, DKIM = "SPF (RFC 7208)", "DKIM (RFC 6376)"
# Reply codes and enhanced codes that no row has yet -> the feature that will have one.
CODES_LATER = {
    253: "ETRN (RFC 1985)", 355: "CHECKPOINT (RFC 1845)", 453: "ATRN (RFC 2645)", 458: "ETRN (RFC 1985)",
    459: "ETRN (RFC 1985)",
}
STATUSES_LATER = {
    "X.3.6": "priorities (RFC 6710)",
    "X.6.10": "never: deprecated by the registry, X.6.8 is sent",
    "X.7.3": "never: mail is not converted from one kind of encryption to another",
    "X.7.6": DKIM, "X.7.7": DKIM,
    "X.7.14": "BURL (RFC 4468)", "X.7.15": "priorities (RFC 6710)", "X.7.16": "priorities (RFC 6710)",
    "X.7.17": "RRVS (RFC 7293)", "X.7.18": "RRVS (RFC 7293)", "X.7.19": "RRVS (RFC 7293)", "X.7.20": DKIM,
    "X.7.21": DKIM, "X.7.22": DKIM, "X.7.23": SPF, "X.7.24": SPF,
    "X.7.26": "several checks of authentication (RFC 7372)",
    "X.7.29": "ARC (RFC 8617)",
}

# Enhanced codes of delivery reports: X.Y.Z -> [(situation, test)]; REPORTED below says how they are drawn.
REPORTS = {}

# ---- the table of draws --------------------------------------------------------------------------------------------

OPEN, CLOSED, REFUSED, DATA, TLS, EXCHANGE = "open", "closed", "refused", "data", "tls", "exchange"
DRAWS = {}


def draws(name, after=OPEN, lines=False):
    """Registers who draws a row. `after`: the state of the session behind the reply. `lines`: the row's text is the
    first line of several, as in EHLO, HELP and EXPN."""
    def register(function):
        assert name not in DRAWS, f"{name} has two tests"
        DRAWS[name] = (function, after, lines)
        return function
    return register


# ---- the servers ---------------------------------------------------------------------------------------------------

RELAY, STRANGER = "127.0.0.1", "127.0.0.2"

DOMAINS = """
domain "example.com" {
  mailboxes = {"alice", "bob", "postmaster"}
  limit "bob" {
    message_max = "4k"
  }
  disabled = {"former"}
  suspended = {"paused"}
  moved "gone" {
    to = "gone@example.net"
    disclose = yes
  }
  moved "fort" {
    to = "jörg@example.net"
    disclose = yes
  }
  moved "secret" {
    to = "secret@example.net"
  }
  moved "follow" {
    to = "bob@example.org"
    disclose = yes
    forward = yes
  }
  moved "quiet" {
    to = "bob@example.org"
    forward = yes
  }
  list "staff" {
    members = {"alice@example.com", "follow@example.com"}
    disclose = yes
  }
  list "board" {
    members = {"alice@example.com"}
    post = members
    senders = {"chair@example.org"}
  }
  list "world" {
    members = {"jörg@example.org"}
    disclose = yes
  }
}
domain "example.org" {
  mailboxes = {"alice", "bob", "jörg", "crowd"}
  catch_all = "crowd"
}
"""

# The list everybody stands for 10000 addresses, as many as a message may be expanded to. Every role reads it, so only
# one server has it.
CROWD = """
domain "crowd.example" {
  list "everybody" {
    members = {%s}
  }
  %s
}
""" % (", ".join(f'"crowd{n}@crowd.example"' for n in range(10)), "\n".join(
    'list "crowd%d" {\nmembers = {%s}\n}' % (n, ", ".join(f'"u{n}-{m}@example.org"' for m in range(1000)))
    for n in range(10)))

# Name of a listener -> its keys.
LISTENERS = {
    "plain": "",
    "lmtp": "protocol = lmtp",
    "busy": "sessions_per_client_max = 1",
    "hasty": 'command_timeout = "1s"',
    "strict": "errors_max = 3",
    "brief": "idle_commands_max = 10",
    "single": "messages_max = 1",
    "never": "takes_mail = no",
    "members": 'clients = {"127.0.0.1/32"}',
    "slow": 'greeting_delay = "500ms"',
    "rate": "connections_per_minute = 3\n  messages_per_minute = 2\n  recipients_per_minute = 2",
    "rules": 'refuse_own_name = yes\n  refuse_senders = {"spam.example", "pest@example.org"}\n'
             '  bounce_single_recipient = yes\n  require_from = yes',
    "ours": 'sender_domains = {"example.com"}',
    "paused": 'suspend_parameters = {"SMTPUTF8"}',
    "parts": 'refuse_media = {"video/*"}\n  refuse_attachments = {"exe"}',
    "tls": "tls = require",
    "errors": "errors_per_minute = 2",
    "proxied": 'proxy = {"127.0.0.1/32"}',
    "trusting": 'xclient = {"127.0.0.1/32"}\n  xforward = {"127.0.0.1/32"}',
    "small": 'size_max = "64k"\n  header_max = "8k"\n  line_max = 1000\n  recipients_max = 100\n  hops_max = 25\n'
             "  own_hops_max = 2",
}


class House(Postrider):
    """A server with one listener for each entry of `listeners`. PLAIN in `rest` is the port of that one."""

    def __init__(self, folder, listeners=None, top="", queue="", rest="", domains=DOMAINS, prefix=()):
        super().__init__(folder)
        self.prefix = list(prefix)
        self.ports = {name: free_port() for name in listeners or {"plain": ""}}
        self.port = self.ports["plain"]
        text = ['hostname = "mx.example.com"', f'data_dir = "{self.data}"', 'relay_networks = {"127.0.0.1/32"}', top]
        for name, keys in (listeners or {"plain": ""}).items():
            text.append(f"listen {name} {{\n  address = \"127.0.0.1\"\n  port = {self.ports[name]}\n  {keys}\n}}")
        text += [domains, f"queue {{\n  recovery_grace = \"1s\"\n{queue}\n}}", rest.replace("PLAIN", str(self.port))]
        self.configure(text="\n".join(text) + "\n")

    def call(self, listener="plain", source=RELAY, **kw):
        return Dialog(self.ports[listener], source=source, **kw)

    def greeted(self, listener="plain", source=RELAY):
        d = self.call(listener, source)
        d.hello(verb="LHLO" if listener == "lmtp" else "EHLO")
        return d

    def mailed(self, listener="plain", source=RELAY, options="", sender="sender@example.org"):
        d = self.greeted(listener, source)
        d.expect(250, f"MAIL FROM:<{sender}>{options}")
        return d

    def ready(self, listener="plain", source=RELAY, options="", to="alice@example.com"):
        d = self.mailed(listener, source, options)
        d.expect(250, f"RCPT TO:<{to}>")
        return d


# Listeners of a server with users, and who they are.
OFFICE = {
    "plain": "auth = offer\n  auth_in_clear = all",
    "scram": "auth = offer\n  auth_in_clear = scram",
    "never": "auth = offer",
    "submission": "submission = yes",
}
ACCOUNTS = """accounts {
  mechanisms = {"SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"}
  scram_only = {"strict@example.com"}
  tell_transition = yes
  failures_per_network = 5
  failure_delay = "10ms"
}"""
PASSWORD = "correct horse"
# Of crypt(3).
HASH = ("$6$saltsalt$8RWsOfwR6M6PpnoeQiEiWzNTPo1f0HjVYjDnLZ"
        "hGx16aBFRkeqiHAzfXP/LgrOWMBMXqiU2pLrXsSOHNUyUm91")
USERS = [("alice",), ("bob", "--disabled"), ("strict",), ("leaver",), ("few", "--messages-per-hour", "1"),
         ("narrow", "--recipients-per-hour", "1")]


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


def plain(name, password=PASSWORD):
    return "AUTH PLAIN " + base64_of(f"\0{name}@example.com\0{password}")


class World:
    """Servers that are started when first asked for, and shared by the tests that leave them as they were."""

    def __init__(self, folder):
        self.folder = folder
        self.shared = {}
        self.peers = []
        self.stack = contextlib.ExitStack()
        self.numbers = itertools.count(1)

    def own(self, **kw):
        """A server for one test alone."""
        server = House(self.folder / f"own{next(self.numbers)}", **kw)
        self.stack.callback(server.finish)
        return server

    def _share(self, name, **kw):
        if name not in self.shared:
            self.shared[name] = House(self.folder / name, **kw).start()
        return self.shared[name]

    @property
    def house(self):
        return self._share("house", listeners=LISTENERS,
                           top="receivers = 1\nvrfy = relay\nexpn = relay\nstatus = relay",
                           rest='route "circle.example" {\n  hosts = {"127.0.0.1:PLAIN"}\n}')

    @property
    def closed(self):
        """One that discloses nothing."""
        return self._share("closed", top="vrfy = off")

    @property
    def strict(self):
        """One that asks the DNS and insists on an answer."""
        if "strict" not in self.shared:
            names = NameServer(rcodes=dict.fromkeys(NameServer.SILENT, dns.rcode.SERVFAIL))
            self.peers.append(names)
            self._share("strict", listeners={"plain": "", "reverse": "check_reverse_dns = strict"},
                        top=f"""resolver = "127.0.0.1@{names.port}"
resolver_timeout = "1m"
check_null_mx = strict
check_domains = strict""", rest='route "*" {\n  hosts = {"127.0.0.1:9"}\n}')
        return self.shared["strict"]

    @property
    def office(self):
        """One with users."""
        if "office" not in self.shared:
            server = self._share("office", listeners=OFFICE, top=ACCOUNTS,
                                 rest='route "*" {\n  hosts = {"127.0.0.1:9"}\n}')
            for name, *options in USERS:
                server.cli("user", "add", f"{name}@example.com", *options, stdin=PASSWORD + "\n")
            server.cli("user", "import", "-", stdin=f"new@example.com:{HASH}\n")
        return self.shared["office"]

    def finish(self):
        for peer in self.peers:
            self.stack.callback(peer.stop)
        for server in self.shared.values():
            self.stack.callback(server.finish)
        self.stack.close()


# Clients by what their reverse DNS is like: as it should be; a name that is another's; none; a DNS that says nothing.
PROVEN, PRETENDER, NAMELESS, UNKNOWN = "127.0.0.21", "127.0.0.22", "127.0.0.23", "127.0.0.24"


class NameServer:
    """Answers every question for MX: null.example has a null MX, nothing.example does not exist, silent.example gets no
    answer, all else has a server. For addresses and names of clients see above. `records` stand besides, and `rcodes`
    are given for names instead of an answer."""

    RECORDS = {
        ("21.0.0.127.in-addr.arpa.", "PTR"): ["other.client.example.", "proven.client.example."],
        ("22.0.0.127.in-addr.arpa.", "PTR"): ["proven.client.example."],
        ("proven.client.example.", "A"): ["192.0.2.1", PROVEN],
        ("other.client.example.", "A"): ["192.0.2.2"],
    }
    SILENT = ("silent.example.", "24.0.0.127.in-addr.arpa.")

    def __init__(self, records=None, rcodes=None):
        self.records = {**self.RECORDS, **(records or {})}
        self.rcodes = rcodes or {}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.asked = []
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _records(self, name, kind):
        if kind == "MX":
            return ["0 ." if name == "null.example." else "10 mx.example."]
        return self.records.get((name, kind), [])

    def _serve(self):
        while True:
            octets, sender = self.socket.recvfrom(65536)
            if not octets:
                return
            query = dns.message.from_wire(octets)
            question = query.question[0]
            name = question.name.to_text().lower()
            self.asked.append(name)
            if name in self.SILENT and name not in self.rcodes:
                continue
            answer = dns.message.make_response(query)
            kind = dns.rdatatype.to_text(question.rdtype)
            if name in self.rcodes:
                answer.set_rcode(self.rcodes[name])
            elif name == "nothing.example." or (kind == "PTR" and not self._records(name, kind)):
                answer.set_rcode(dns.rcode.NXDOMAIN)
            elif records := self._records(name, kind):
                answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
            self.socket.sendto(answer.to_wire(), sender)

    def stop(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"", ("127.0.0.1", self.port))
        self.thread.join()
        self.socket.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.finish()


def simple(name, command, listener="plain", source=RELAY, stage="greeted", after=OPEN, lines=False, **kw):
    """A row that one command draws."""
    def draw(world):
        d = getattr(world.house, stage)(listener, source, **kw)
        return d, d.command(command)
    draws(name, after, lines)(draw)


# ---- greeting and end of session -----------------------------------------------------------------------------------

@draws("GREETING")
def greeting(world):
    d = world.house.call()
    return d, d.greeting


@draws("GREETING_LMTP")
def greeting_lmtp(world):
    d = world.house.call("lmtp")
    return d, d.greeting


@draws("GREETING_BUSY", CLOSED)
def greeting_busy(world):
    with world.house.call("busy"):
        d = world.house.call("busy")
        return d, d.greeting


@draws("GREETING_REFUSED", REFUSED)
def greeting_refused(world):
    d = world.house.call("members", STRANGER)
    return d, d.greeting


simple("ONLY_QUIT", "EHLO client.example.org", "members", STRANGER, "call", REFUSED)


@draws("GREETING_NO_MAIL", REFUSED)
def greeting_no_mail(world):
    d = world.house.call("never")
    return d, d.greeting


simple("NO_MAIL", "EHLO client.example.org", "never", stage="call", after=REFUSED)


@draws("GREETING_EARLY", CLOSED)
def greeting_early(world):
    d = world.house.call("slow", STRANGER, greet=False)
    d.send("EHLO client.example.org\r\n")
    return d, d.reply()


@draws("GREETING_RATE", CLOSED)
def greeting_rate(world):
    for _ in range(3):
        with world.house.call("rate", "127.0.0.3") as d:
            assert d.greeting.code == 220
    d = world.house.call("rate", "127.0.0.3")
    return d, d.greeting


@draws("ERRORS_RATE", CLOSED)
def errors_rate(world):
    d = world.house.greeted("errors", "127.0.0.6")
    d.expect(500, "FOO")
    d.send("FOO\r\n")
    assert d.reply().code == 500
    return d, d.reply()


@draws("PROXY_DENIED", CLOSED)
def proxy_denied(world):
    d = world.house.call()
    return d, d.command("PROXY TCP4 192.0.2.1 192.0.2.2 56324 25")


@draws("PROXY_BAD", CLOSED)
def proxy_bad(world):
    d = world.house.call("proxied", greet=False)
    d.send("PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n")
    return d, d.reply()


@draws("SHUTDOWN", CLOSED)
def shutdown(world):
    server = world.own().start()
    d = server.greeted()
    server.signal(signal.SIGTERM)
    return d, d.reply()


@draws("TIMEOUT", CLOSED)
def timeout(world):
    d = world.house.greeted("hasty")
    return d, d.reply()


@draws("TOO_MANY_ERRORS", CLOSED)
def too_many_errors(world):
    d = world.house.greeted("strict")
    for _ in range(3):
        d.expect(500, "FOO")
    return d, d.command("NOOP")


@draws("TOO_MANY_COMMANDS", CLOSED)
def too_many_commands(world):
    d = world.house.greeted("brief")
    for _ in range(9):
        d.expect(250, "NOOP")
    return d, d.command("NOOP")


@draws("SESSION_FULL", CLOSED)
def session_full(world):
    d = world.house.ready("single")
    assert d.data(message("only")).code == 250
    return d, d.command("MAIL FROM:<sender@example.org>")


@draws("INTERNAL", CLOSED)
def internal(world):
    """The receiver may not have one page more: recipients are refused the memory that they need."""
    server = world.own(listeners={"plain": "recipients_max = 10000\n  idle_commands_max = 10000"}, top="receivers = 1",
                       domains='domain "example.com" {\n  mailboxes = {"alice"}\n  catch_all = "alice"\n}')
    server.start(env={"ASAN_OPTIONS": "allocator_may_return_null=1"})
    d = server.mailed()
    pid, = server.role_pids("receiver")
    pages = int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit(pid, resource.RLIMIT_AS, pages * resource.getpagesize())
    for n in range(10000):
        reply = d.command(f"RCPT TO:<{n}{'x' * 50}@example.com> ORCPT=rfc822;{'y' * 480}")
        if reply.code != 250:
            break
    limit(pid, resource.RLIMIT_AS, resource.RLIM_INFINITY)
    return d, reply


@draws("EARLY_TALKER", CLOSED)
def early_talker(world):
    d = world.house.call()
    d.send("EHLO client.example.org\r\nNOOP\r\n")
    reply = d.reply()
    return d, reply if reply.code == 554 else d.reply()


simple("BYE", "QUIT", after=CLOSED)

# ---- commands in general -------------------------------------------------------------------------------------------

simple("OK", "NOOP")
simple("COMMAND_UNKNOWN", "FOO")
simple("LINE_TOO_LONG", "NOOP " + "x" * 3000)
simple("LINE_NUL", b"NOOP\0x")
simple("NOT_ASCII", b"VRFY \xff")
simple("ARGUMENT_MISSING", "RCPT", stage="mailed")
simple("ARGUMENT_UNEXPECTED", "RSET now")
simple("SYNTAX", "MAIL alice@example.com")
simple("NOT_IMPLEMENTED", "TURN")
simple("SEQUENCE", "RCPT TO:<alice@example.com>")
simple("OTHER_PROTOCOL", "POST / HTTP/1.1", stage="call", after=CLOSED)


@draws("LINE_BARE")
def line_bare(world):
    d = world.house.greeted()
    d.send(b"NOOP\nQUIT\r\n")
    return d, d.reply()


@draws("LINE_ENDLESS", CLOSED)
def line_endless(world):
    d = world.house.greeted()
    d.send(b"x" * (2048 + 65536 + 2))
    return d, d.reply()


# ---- XCLIENT and XFORWARD ------------------------------------------------------------------------------------------

simple("NOT_TRUSTED", "XCLIENT ADDR=192.0.2.1", "trusting", STRANGER)
simple("ATTRIBUTE", "XFORWARD NAME=client.example PORT=smtp", "trusting")


# ---- STARTTLS ------------------------------------------------------------------------------------------------------

simple("STARTTLS", "STARTTLS", after=TLS)
simple("STARTTLS_FIRST", "MAIL FROM:<sender@example.org>", "tls")


@draws("STARTTLS_AGAIN")
def starttls_again(world):
    d = world.house.greeted().starttls()
    d.hello()
    return d, d.command("STARTTLS")


@draws("STARTTLS_UNAVAILABLE")
def starttls_unavailable(world):
    missing = 'certificate "mx.example.com" {\n  chain = "/nonexistent"\n  key = "/nonexistent"\n}'
    server = world.own(rest=missing).start()
    server.wait_log("certificate-failed .*/nonexistent: No such file")
    d = server.greeted()
    assert "STARTTLS" in d.extensions()
    return d, d.command("STARTTLS")


@draws("STARTTLS_EARLY", CLOSED)
def starttls_early(world):
    d = world.house.greeted()
    return d, d.command("STARTTLS\r\nRSET")


# ---- AUTH ----------------------------------------------------------------------------------------------------------

def at_office(name, line, listener="plain", after=OPEN):
    @draws(name, after)
    def draw(world):
        d = world.office.greeted(listener)
        return d, d.command(line)
    return draw


def known(world, name="alice"):
    d = world.office.greeted()
    d.expect(235, plain(name))
    return d


at_office("AUTH_OK", plain("alice"))
at_office("AUTH_CHALLENGE", "AUTH LOGIN", after=EXCHANGE)
at_office("AUTH_TRANSITION", "AUTH SCRAM-SHA-256 " + base64_of("n,,n=new@example.com,r=abcdefghijkl"))
at_office("AUTH_INITIAL", "AUTH CRAM-MD5 YWxpY2U=")
at_office("AUTH_BASE64", "AUTH PLAIN AGFs=ZQ=")
at_office("AUTH_MECHANISM", "AUTH NTLM")
at_office("AUTH_NEEDS_TLS", plain("alice"), "never")
at_office("AUTH_MECHANISM_NEEDS_TLS", plain("alice"), "scram")
at_office("AUTH_DISABLED", plain("bob"))
at_office("AUTH_WEAK", plain("strict"))
at_office("AUTH_CREDENTIALS", plain("alice", "wrong"))
at_office("AUTH_REQUIRED", "MAIL FROM:<alice@example.com>", "submission")


@draws("AUTH_TEMPORARY")
def auth_temporary(world):
    server = world.own(listeners={"plain": "auth = offer\n  auth_in_clear = all"})
    (server.data / "accounts").mkdir(parents=True)
    (server.data / "accounts/directory.db").write_bytes(b"no database" * 1000)
    d = server.start().greeted()
    return d, d.command(plain("alice"))


@draws("AUTH_RATE")
def auth_rate(world):
    d = world.office.greeted(source="127.0.99.1")
    for n in range(5):
        d.expect(535, plain(f"guess{n}"))
    return d, d.command(plain("alice"))


@draws("AUTH_CANCELLED")
def auth_cancelled(world):
    d = world.office.greeted()
    d.expect(334, "AUTH PLAIN")
    return d, d.command("*")


@draws("AUTH_LINE_TOO_LONG")
def auth_line_too_long(world):
    d = world.office.greeted()
    d.expect(334, "AUTH PLAIN")
    return d, d.command("A" * 12289)


@draws("AUTH_AGAIN")
def auth_again(world):
    d = known(world)
    return d, d.command(plain("alice"))


@draws("AUTH_NESTED")
def auth_nested(world):
    d = world.office.mailed()
    return d, d.command(plain("alice"))


@draws("MAIL_NOT_OWN")
def mail_not_own(world):
    d = known(world)
    return d, d.command("MAIL FROM:<bob@example.com>")


@draws("MAIL_NO_ACCOUNT")
def mail_no_account(world):
    d = known(world, "leaver")
    world.office.cli("user", "disable", "leaver@example.com")
    return d, d.command("MAIL FROM:<leaver@example.com>")


@draws("MAIL_USER_RATE")
def mail_user_rate(world):
    d = known(world, "few")
    d.expect(250, "MAIL FROM:<few@example.com>")
    d.expect(250, "RSET")
    return d, d.command("MAIL FROM:<few@example.com>")


@draws("RCPT_USER_RATE")
def rcpt_user_rate(world):
    d = known(world, "narrow")
    d.expect(250, "MAIL FROM:<narrow@example.com>")
    d.expect(250, "RCPT TO:<alice@example.com>")
    return d, d.command("RCPT TO:<bob@example.com>")


@draws("DATA_NOT_OWN")
def data_not_own(world):
    d = known(world)
    d.envelope("alice@example.com", "alice@example.com")
    return d, d.data(message(sender="bob@example.com"))


# ---- EHLO, HELO, LHLO ----------------------------------------------------------------------------------------------

simple("EHLO", "EHLO client.example.org", stage="call", lines=True)
simple("HELO", "HELO client.example.org", stage="call")
simple("HELO_SYNTAX", "EHLO not_a_name", stage="call")
simple("HELO_REFUSED", "EHLO MX.example.com", "rules", STRANGER, "call")
simple("LMTP_ONLY", "EHLO client.example.org", "lmtp", stage="call")
simple("SMTP_ONLY", "LHLO client.example.org", stage="call")

# ---- MAIL ----------------------------------------------------------------------------------------------------------

LONG_LOCAL, LONG_DOMAIN = "x" * 65, ".".join(["d" * 63] * 4) + ".example"

simple("MAIL_OK", "MAIL FROM:<sender@example.org>")
simple("MAIL_NESTED", "MAIL FROM:<sender@example.org>", stage="mailed")
simple("MAIL_SYNTAX", "MAIL FROM:<sender@>")
simple("MAIL_PATH_TOO_LONG", f"MAIL FROM:<{LONG_LOCAL}@example.org>")
simple("MAIL_UTF8", "MAIL FROM:<jörg@example.org>")
simple("MAIL_TOO_BIG", "MAIL FROM:<sender@example.org> SIZE=65537", "small")


simple("MAIL_REFUSED", "MAIL FROM:<pest@example.org>", "rules")
simple("MAIL_NOT_LOCAL_USER", "MAIL FROM:<sender@example.org>", "ours")


@draws("MAIL_RATE")
def mail_rate(world):
    d = world.house.greeted("rate", "127.0.0.4")
    for _ in range(2):
        d.expect(250, "MAIL FROM:<sender@example.org>")
        d.expect(250, "RSET")
    return d, d.command("MAIL FROM:<sender@example.org>")


@draws("MAIL_NULL_MX")
def mail_null_mx(world):
    d = world.strict.greeted()
    return d, d.command("MAIL FROM:<sender@null.example>")


@draws("MAIL_DNS")
def mail_dns(world):
    d = world.strict.greeted()
    return d, d.command("MAIL FROM:<sender@silent.example>")


@draws("MAIL_NO_DOMAIN")
def mail_no_domain(world):
    d = world.strict.greeted()
    return d, d.command("MAIL FROM:<sender@nothing.example>")


@draws("MAIL_REVERSE")
def mail_reverse(world):
    d = world.strict.greeted("reverse", NAMELESS)
    return d, d.command("MAIL FROM:<sender@example.org>")


@draws("MAIL_REVERSE_DNS")
def mail_reverse_dns(world):
    d = world.strict.greeted("reverse", UNKNOWN)
    return d, d.command("MAIL FROM:<sender@example.org>")


@draws("MAIL_CONGESTED")
def mail_congested(world):
    server = world.own(queue="  congested_recipients = 2", rest=route(free_port())).start()
    server.submit(to=["one@example.net", "two@example.net"])
    d = server.greeted()
    reply = d.command("MAIL FROM:<sender@example.org>")
    while reply.code == 250:
        d.expect(250, "RSET")
        reply = d.command("MAIL FROM:<sender@example.org>")
    return d, reply


@draws("MAIL_NO_SPACE")
def mail_no_space(world):
    d, _ = data_no_space(world)
    return d, d.command("MAIL FROM:<sender@example.org>")


@draws("MAIL_TEMPORARY")
def mail_temporary(world):
    d, _ = data_store(world)
    return d, d.command("MAIL FROM:<sender@example.org>")


# ---- parameters ----------------------------------------------------------------------------------------------------

simple("PARAM_UNKNOWN", "MAIL FROM:<sender@example.org> FOO=1")
simple("PARAM_SYNTAX", "MAIL FROM:<sender@example.org> SIZE=big")
simple("PARAM_SUSPENDED", "MAIL FROM:<sender@example.org> SMTPUTF8", "paused")
simple("PARAM_TWICE", "MAIL FROM:<sender@example.org> SIZE=1 SIZE=1")


@draws("PARAM_NEEDS_EHLO")
def param_needs_ehlo(world):
    d = world.house.call()
    d.hello(verb="HELO")
    return d, d.command("MAIL FROM:<sender@example.org> SIZE=1")


# ---- RCPT ----------------------------------------------------------------------------------------------------------

def rcpt(name, address, options="", **kw):
    simple(name, f"RCPT TO:<{address}>{options}", stage="mailed", **kw)


rcpt("RCPT_OK", "alice@example.com")
rcpt("RCPT_SYNTAX", "alice@@example.com")
rcpt("RCPT_PATH_TOO_LONG", f"alice@{LONG_DOMAIN}")
rcpt("RCPT_UTF8", "jörg@example.com")
rcpt("RCPT_UNKNOWN", "nobody@example.com")
rcpt("RCPT_RELAY", "user@example.net", source=STRANGER)
rcpt("RCPT_DISABLED", "former@example.com")
rcpt("RCPT_NO_ROUTE", "user@unrouted.example")
rcpt("RCPT_MOVED", "gone@example.com")
rcpt("RCPT_MOVED_HIDDEN", "fort@example.com")


rcpt("RCPT_FORWARD", "follow@example.com")
rcpt("RCPT_SUSPENDED", "paused@example.com")
rcpt("RCPT_LIST_CLOSED", "board@example.com")


rcpt("RCPT_NO_HOST", "user@[224.0.0.1]")
rcpt("RCPT_MISROUTED", "user@circle.example")
simple("RCPT_TOO_BIG", "RCPT TO:<bob@example.com>", stage="mailed", options=" SIZE=4097")


@draws("RCPT_NO_DOMAIN")
def rcpt_no_domain(world):
    d = world.strict.mailed()
    return d, d.command("RCPT TO:<user@nothing.example>")


@draws("RCPT_LIST_FULL")
def rcpt_list_full(world):
    d = world.own(domains=DOMAINS + CROWD).start().mailed()
    d.expect(250, "RCPT TO:<staff@example.com>")
    return d, d.command("RCPT TO:<everybody@crowd.example>")


@draws("RCPT_NULL_MX")
def rcpt_null_mx(world):
    d = world.strict.mailed()
    return d, d.command("RCPT TO:<user@null.example>")


@draws("RCPT_DNS")
def rcpt_dns(world):
    d = world.strict.mailed()
    return d, d.command("RCPT TO:<user@silent.example>")


@draws("RCPT_RATE")
def rcpt_rate(world):
    d = world.house.mailed("rate", "127.0.0.5")
    for _ in range(2):
        d.expect(250, "RCPT TO:<alice@example.com>")
    return d, d.command("RCPT TO:<bob@example.com>")


@draws("RCPT_DUPLICATE_BOUNCE")
def rcpt_duplicate_bounce(world):
    d = world.house.mailed("rules", sender="")
    d.expect(250, "RCPT TO:<alice@example.com>")
    return d, d.command("RCPT TO:<bob@example.com>")


@draws("RCPT_TOO_MANY")
def rcpt_too_many(world):
    d = world.house.mailed("small")
    for _ in range(100):
        d.expect(250, "RCPT TO:<alice@example.com>")
    return d, d.command("RCPT TO:<alice@example.com>")


# ---- DATA and BDAT -------------------------------------------------------------------------------------------------

simple("DATA_GO", "DATA", stage="ready", after=DATA)
simple("DATA_BINARY", "DATA", stage="ready", options=" BODY=BINARYMIME")
simple("BDAT_AFTER_LAST", "BDAT 0 LAST")
simple("BDAT_SYNTAX", "BDAT many", stage="ready")


@draws("NO_RECIPIENT")
def no_recipient(world):
    d = world.house.mailed()
    d.expect(550, "RCPT TO:<nobody@example.com>")
    return d, d.command("DATA")


@draws("BDAT_OK")
def bdat_ok(world):
    d = world.house.ready()
    d.send("BDAT 5\r\nA: b\n")
    return d, d.reply()


@draws("DATA_AFTER_BDAT")
def data_after_bdat(world):
    d, _ = bdat_ok(world)
    return d, d.command("DATA")


@draws("BDAT_FAILED")
def bdat_failed(world):
    d = world.house.mailed()
    d.send("BDAT 1\r\nx")
    assert d.reply().code == 503
    d.send("BDAT 1\r\nx")
    return d, d.reply()


# ---- after the data ------------------------------------------------------------------------------------------------

def data(name, body, listener="plain", head=b"Subject: x\r\n", **kw):
    @draws(name)
    def draw(world):
        d = world.house.ready(listener, **kw)
        return d, d.data(head + b"\r\n" + body)


data("ACCEPTED", b"Hello.\r\n")
data("ACCEPTED_RCPT", b"Hello.\r\n", "lmtp")
data("DATA_TOO_BIG", (b"x" * 62 + b"\r\n") * 1100, "small")
data("DATA_BARE", b"one\ntwo\r\n")
data("DATA_NUL", b"zero \0\r\n")
data("DATA_LINE_TOO_LONG", b"x" * 1500 + b"\r\n", "small")
data("DATA_HEADER_TOO_BIG", b"", "small", b"".join(b"X-%d: %s\r\n" % (n, b"x" * 900) for n in range(12)))
data("DATA_LOOP", b"", "small", b"Received: by a.example; Sat, 1 Nov 2025 10:00:00 +0000\r\n" * 26)


data("DATA_LOOP_SELF", b"", "small", b"Received: by mx.example.com; Sat, 1 Nov 2025 10:00:00 +0000\r\n" * 3)
data("DATA_RCPT_TOO_BIG", (b"x" * 62 + b"\r\n") * 64, to="bob@example.com")
data("DATA_MEDIA", b"", "parts", b"Content-Type: video/mp4\r\n")
data("DATA_POLICY", b"", "rules")


@draws("DATA_NO_SPACE")
def data_no_space(world):
    server = world.own(queue='  disk_reserve = "1024G"').start()
    d = server.ready()
    return d, d.data(message("no space"))


@draws("DATA_STORE")
def data_store(world):
    """The files of the queue may not grow: every commit fails."""
    server = world.own(prefix=["/bin/sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"]).start()
    d = server.ready()
    pid, = server.role_pids("queue")
    limit(pid, resource.RLIMIT_FSIZE, 0)
    return d, d.data(message("no store"))


@draws("DATA_NO_QUEUE")
def data_no_queue(world):
    """The queue is dead and the supervisor stopped, so that nobody starts it again."""
    server = world.own().start()
    d = server.ready()
    server.signal(signal.SIGSTOP)
    world.stack.callback(server.signal, signal.SIGCONT)
    pid, = server.role_pids("queue")
    os.kill(pid, signal.SIGKILL)
    server.wait_log("event=peer-lost")
    return d, d.command("DATA")


# ---- VRFY, EXPN, HELP ----------------------------------------------------------------------------------------------

simple("VRFY_OK", "VRFY alice@example.com")
simple("VRFY_MAYBE", "VRFY alice@example.com", source=STRANGER)
simple("VRFY_UNKNOWN", "VRFY nobody@example.com")
simple("VRFY_AMBIGUOUS", "VRFY alice", lines=True)
simple("VRFY_SYNTAX", "VRFY <alice@>")
simple("VRFY_PARAM", "VRFY alice@example.com FOO=1")
simple("VRFY_UTF8", "EXPN world@example.com")
simple("EXPN_OK", "EXPN staff", lines=True)
simple("EXPN_HIDDEN", "EXPN board@example.com")
simple("STATUS", "HELP STATUS", lines=True)
simple("EXPN_UNKNOWN", "EXPN nobody@example.com")
simple("HELP", "HELP", lines=True)
simple("HELP_TOPIC", "HELP MAIL")
simple("HELP_UNKNOWN", "HELP me")


@draws("VRFY_OFF")
def vrfy_off(world):
    d = world.closed.greeted()
    return d, d.command("VRFY alice@example.com")


@draws("EXPN_OFF")
def expn_off(world):
    d = world.closed.greeted()
    return d, d.command("EXPN staff@example.com")


# ---- delivery reports ----------------------------------------------------------------------------------------------

REPORTED = {}


class Situation:
    """A delivery that ends in a report to alice: who listens at the next hop, and whatever else is out of the ordinary.

    prepare(server) runs before the server starts, disturb(server) when the message has been taken.
    """

    def __init__(self, peer=None, to="user@example.net", raw=None, mail_options="",
                 rcpt_options=" NOTIFY=SUCCESS,FAILURE", keys="", domain="", extra="", queue='lifetime = "2s"',
                 warn="never", prepare=None, disturb=None, secure=False,
                 folder=None):
        self.peer, self.to, self.raw, self.keys, self.domain, self.extra = peer, to, raw, keys, domain, extra
        self.options = mail_options, rcpt_options
        self.secure = secure # the message comes under TLS
        self.folder = folder # goes away at the end
        self.queue = f'  {queue}\n  warn_after = "{warn}"\n'
        self.prepare, self.disturb = prepare or (lambda server: None), disturb or (lambda server: None)

    def report(self, make_server):
        """The report, as it arrives."""
        mail_options, rcpt_options = self.options
        server = make_server(extra=route(self.peer.port if self.peer else free_port(), keys=self.keys) + self.extra,
                             domain=self.domain, queue=self.queue)
        self.prepare(server)
        server.start()
        server.submit(self.raw, sender="alice@example.com", to=self.to, mail_options=mail_options,
                      rcpt_options=rcpt_options, secure=self.secure)
        self.disturb(server)
        report, = server.wait_mail("alice")
        return report


def reports(status, situation):
    """Registers who brings about a report with this status. The function gives what listens at the next hop (or None:
    nobody does), or a Situation."""
    def register(function):
        assert status not in REPORTED
        REPORTED[status] = function
        REPORTS.setdefault(re.sub("^.", "X", status), []).append((situation, f"test_report[{status}]"))
        return function
    return register


def speaking(*replies):
    """A next hop that says these, one for each line that it hears, and then closes."""
    def script(connection, _number):
        for reply in replies:
            connection.send(reply + "\r\n")
            connection.line()
    return RawPeer(script)


@reports("5.0.0", "a next hop that refuses without an enhanced code")
def bare_refusal():
    return Peer(MAIL="550 go away")


@reports("2.0.0", "a report of success, from a mailbox here")
def success():
    return Situation(to="bob@example.com")


@reports("2.1.9", "a report of success, from a next hop that reports nothing itself (RFC 3461 5.2.2)")
def relayed():
    return Peer(extensions=("PIPELINING",))


@reports("5.1.1", "a next hop that refuses the recipient, with control characters in its words")
def control_characters():
    return Peer(RCPT="550 5.1.1 \x1b[31mno\x00 such\x7f user")


@reports("4.4.0", "a socket of an LMTP server that is not there, until the lifetime of the message is over")
def no_socket():
    return Situation(to="bob@example.org", extra="""domain "example.org" {
  deliver = lmtp
  lmtp = "unix:/nonexistent/lmtp"
  mailboxes = {"bob"}
}
""")


@reports("4.4.1", "a next hop that nobody answers at, until the lifetime of the message is over")
def nobody():
    return None


@reports("4.4.2", "a next hop that closes the connection, until the lifetime of the message is over")
def hanging_up():
    return speaking("220 peer.example.net ESMTP")


@reports("4.4.7", "a next hop that says 450 without a reason, until the lifetime of the message is over")
def later():
    return Peer(RCPT="450 later")


@reports("4.5.0", "a next hop whose replies are no replies, until the lifetime of the message is over")
def babbling():
    return speaking("220 peer.example.net ESMTP", "what?")


@reports("5.3.5", "a next hop that greets with our own name")
def ourselves():
    return Peer(GREETING="220 mx.example.com ESMTP")


# ---- mailboxes

@reports("4.2.0", "a mailbox that is a file, until the lifetime of the message is over")
def no_directory():
    def prepare(server):
        server.maildir("bob").parent.mkdir(parents=True)
        server.maildir("bob").write_text("not a directory")
    return Situation(to="bob@example.com", prepare=prepare)


def full(**kw):
    """bob has one message, and may have no more."""
    def prepare(server):
        (server.maildir("bob") / "new").mkdir(parents=True)
        (server.maildir("bob") / "new" / "1.a.host").write_text("From: nobody\n\n")
    return Situation(to="bob@example.com", domain='  limit "bob" {\n    quota_messages = 1\n  }', prepare=prepare, **kw)


@reports("4.2.2", "a report of delay, from a full mailbox")
def full_for_now():
    return full(queue='lifetime = "1h"', warn="1s", rcpt_options=" NOTIFY=DELAY")


@reports("5.2.2", "a full mailbox that mail does not wait for any longer")
def full_for_good():
    return full(extra='mailbox {\n  full_wait = "0s"\n}\n')


@reports("5.2.3", "a message larger than all that the mailbox may hold")
def larger_than_the_mailbox():
    return Situation(to="bob@example.com", domain='  quota_octets = "64k"', raw=message("large", b"x" * 60 + b"\r\n"
                     b"y" * 900 + b"\r\n" * 32000))


# ---- content

def eight_bit(body, header, **kw):
    """A message of eight bits for a next hop that takes seven."""
    return Situation(Peer(extensions=("PIPELINING",)), mail_options=" BODY=8BITMIME",
                     raw=message("8-bit", body, extra=b"MIME-Version: 1.0\r\n" + header + b"\r\n"), **kw)


PART = b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ncaf\xc3\xa9\r\n--b--\r\n"


@reports("5.6.2", "a signed message of eight bits for a next hop without 8BITMIME: the signature would break")
def signed():
    return eight_bit(PART, b"Content-Type: multipart/signed; boundary=b")


@reports("5.6.3", "a part of eight bits that must not be encoded, for a next hop without 8BITMIME")
def not_convertible():
    return eight_bit(b"caf\xc3\xa9\r\n", b'Content-Type: message/partial; id="a@b"; number=1')


@reports("2.6.4", "a report of success, from a next hop without 8BITMIME: octets between the parts were lost")
def lossy():
    return eight_bit(b"pr\xc3\xa9ambule\r\n" + PART, b"Content-Type: multipart/mixed; boundary=b")


@reports("5.6.5", "a malformed message of eight bits for a next hop without 8BITMIME: it cannot be converted")
def malformed():
    return eight_bit(PART, b"Content-Type: multipart/mixed")


@reports("4.6.6", "a message whose file is gone from the disk of the queue, until its lifetime is over")
def content_gone():
    def disturb(server):
        server.wait_log("event=deferred")
        file, = (server.data / "spool").glob("*/*")
        file.unlink()
    return Situation(Peer(RCPT="450 4.3.0 later"), raw=message("large", b"x" * 70 + b"\r\n" * 4000),
                     queue='inline_body_max = "4k"\n  lifetime = "3s"', disturb=disturb)


@reports("5.6.7", "an address outside ASCII for a next hop without SMTPUTF8 (RFC 6531 3.5)")
def address_outside_ascii():
    return Situation(Peer(extensions=("8BITMIME",)), to="jörg@example.net", mail_options=" SMTPUTF8")


@reports("5.6.9", "a header section outside ASCII for a next hop without SMTPUTF8 (RFC 6531 3.5)")
def header_outside_ascii():
    return Situation(Peer(extensions=("8BITMIME",)), raw=message("Grüße"), mail_options=" SMTPUTF8 BODY=8BITMIME")


@reports("4.7.5", "a next hop whose handshake fails where TLS is required, until the lifetime of the message is over")
def broken_handshake():
    def script(connection, _number):
        for reply in "220 peer.example.net ESMTP", "250-peer.example.net\r\n250 STARTTLS":
            connection.send(reply + "\r\n")
            connection.line()
        connection.send("220 2.0.0 go ahead\r\n")
        connection.socket.recv(5)
    return Situation(RawPeer(script), keys="  tls = required\n")


@reports("4.7.10", "a next hop that offers no TLS where TLS is required, until the lifetime of the message is over")
def no_tls():
    return Situation(Peer(), keys="  tls = required\n")


@reports("4.7.4", "a next hop that offers no AUTH where the route logs in, until the lifetime of the message is over")
def no_auth():
    folder = tempfile.TemporaryDirectory(prefix="postrider-secret.")
    os.chmod(folder.name, 0o755) # the server reads it as its own user
    secret = pathlib.Path(folder.name, "secret")
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD)
    give(secret)
    return Situation(Peer(), folder=folder, keys=f"""
  auth_user = "alice@example.com"
  auth_secret_file = "{secret}"
  auth_in_clear = all
""")


@reports("5.7.10", "a next hop that offers no TLS, for a message with REQUIRETLS (RFC 8689 4.2.1)")
def no_tls_demanded():
    return Situation(Peer(extensions=("REQUIRETLS",)), mail_options=" REQUIRETLS", secure=True)


@reports("5.7.30", "a next hop that offers no REQUIRETLS, for a message that demands it (RFC 8689 4.2.1)")
def no_requiretls():
    folder = tempfile.TemporaryDirectory(prefix="postrider-ca.")
    os.chmod(folder.name, 0o755) # the server reads them as its own user
    authority = Authority(folder.name)
    return Situation(Peer(tls=authority.make("peer", ["IP:127.0.0.1"]).context()), mail_options=" REQUIRETLS",
                     secure=True, keys=f'  tls_ca = "{authority.root.pem}"\n', folder=folder)


@pytest.mark.parametrize("status", REPORTED)
def test_report(make_server, status):
    situation = REPORTED[status]()
    if not isinstance(situation, Situation):
        situation = Situation(situation)
    try:
        report = situation.report(make_server)
        assert re.findall(rb"(?m)^Status: (\S+)", report.wire) == [status.encode()]
    finally:
        if situation.peer:
            situation.peer.stop()
        if situation.folder:
            situation.folder.cleanup()


# ---- the checks ----------------------------------------------------------------------------------------------------

NO_STATUS_ROWS = {"GREETING", "GREETING_LMTP", "EHLO", "HELO"}


def check_grammar(row, reply):
    """RFC 5321 4.2 and 4.5.3.1.5, RFC 2034 4."""
    for n, line in enumerate(reply.lines):
        raw = line.encode()
        assert len(raw) + 2 <= 512, f"a reply line of {len(raw) + 2} octets"
        assert re.fullmatch(rb"[2-5][0-5][0-9][ -][\t -~]+", raw), f"not a reply line: {line!r}"
        assert line[:3] == str(row.code), f"{line!r} in a reply {row.code}"
        assert (line[3] == "-") == (n < len(reply.lines) - 1), f"separators of {reply.lines}"
        status = re.match(r"([245])\.(0|[1-9]\d{0,2})\.(0|[1-9]\d{0,2}) +\S", line[4:])
        if row.status:
            assert status, f"no enhanced code in {line!r}"
            assert status.group(1) == line[0], f"class and first digit differ in {line!r}"
            assert status.group(0).split()[0] == row.status, f"{line!r} is not {row.status}"
        else:
            assert not status, f"an enhanced code in {line!r}"
    assert bool(row.status) == (row.code // 100 != 3 and row.name not in NO_STATUS_ROWS)


def check_text(row, reply, lines):
    """The row's text with anything for its arguments; a long one may go on in further lines."""
    parts = [line[4:].removeprefix(row.status).strip() for line in reply.lines]
    text = parts[0] if lines else " ".join(parts)
    pattern = "".join(".+" if re.fullmatch("%[1-3]", part) else re.escape(part)
                      for part in re.split("(%[1-3])", row.text))
    assert re.fullmatch(pattern, text), f"{text!r} is not {row.text!r}"
    # The name of our host is what machines read (RFC 5321 4.2.3).
    if row.code in (220, 221, 421) and row.name != "STARTTLS":
        assert text.split()[0] == "mx.example.com"


def check_state(d, after):
    if after == CLOSED:
        assert d.is_closed(), "the server did not close"
    elif after == OPEN:
        assert d.command("NOOP").code == 250
    elif after == REFUSED:
        assert d.command("NOOP").code in (503, 521)
        assert d.command("QUIT").code == 221
        assert d.is_closed()
    elif after == TLS:
        d.secure()
        assert d.command("MAIL FROM:<sender@example.org>").code == 503, "EHLO counts behind the handshake"
        assert "STARTTLS" not in d.extensions()
    elif after == DATA:
        d.send(b"Subject: x\r\n\r\n.\r\n")
        assert d.reply().code == 250
        assert d.command("NOOP").code == 250
    elif after == EXCHANGE:
        assert d.command("*").code == 501
        assert d.command("NOOP").code == 250


@pytest.mark.parametrize("name", ROWS)
def test_row(world, name):
    row = ROWS[name]
    if name in LATER:
        assert name not in DRAWS, f"{name} is drawn: LATER must not name it"
        return
    assert name in DRAWS, f"no test draws {name} ({row.situation}), and LATER does not name it"
    function, after, lines = DRAWS[name]
    d, reply = function(world)
    with d:
        assert reply.code == row.code, f"{reply} is not {row}"
        assert reply.status == row.status, f"{reply} is not {row}"
        check_grammar(row, reply)
        check_text(row, reply, lines)
        check_state(d, after)


def test_only_rows_are_drawn():
    assert not set(DRAWS) - set(ROWS)
    assert not set(LATER) - set(ROWS)
    assert set(DRAWS) | set(LATER) == set(ROWS)


def test_what_is_not_drawn_is_named_once_and_for_a_reason():
    codes, statuses = {row.code for row in ROWS.values()}, {re.sub("^.", "X", row.status) for row in ROWS.values()}
    assert not codes & set(CODES_LATER)
    assert not (statuses | set(REPORTS)) & set(STATUSES_LATER)
    assert set(CODES_LATER) <= {code for code, _, _ in doc.standard_codes()}
    assert set(STATUSES_LATER) <= {status for status, _, _ in doc.registered_statuses()}


def test_the_page_of_codes_is_what_this_file_draws():
    """docs/codes.md; scripts/gen-codes-doc.py writes it anew."""
    assert (ROOT / "docs/codes.md").read_text() == doc.render(sys.modules[__name__])
