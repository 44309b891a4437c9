"""The two servers, each in a folder of its own."""
import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess

from benchmark import tools
from benchmark.tools import PEERS, Skipped, faults, free_port, greets, peers_env, wait_for


class Server:
    """A server in a folder of its own. What it must not deliver it keeps; the rest goes to 127.0.0.1:sink."""

    def __init__(self, folder, keep=False):
        self.folder = pathlib.Path(folder)
        self.port, self.tls_port, self.sink, self.keep = free_port(), free_port(), free_port(), keep
        self.process = None

    def start(self, command, env):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([str(c) for c in command], cwd=self.folder, env=env, stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, start_new_session=True)
        wait_for(lambda: self.process.poll() is not None or greets(self.port), f"{self.name} to greet", every=0.1)
        if self.process.poll() is not None:
            raise Skipped(f"{self.name} does not start: {(self.folder / 'log').read_text()[-2000:]}")
        return self

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        wait_for(lambda: not self.left(), f"the end of {self.name}")

    def left(self):
        """Processes of the session that we made for it."""
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                    if int(stat[3]) == self.process.pid and stat[0] != "Z":
                        return True
        return False


class Postrider(Server):
    name = "postrider"

    def __init__(self, folder, keep=False, top="", smtp="", addresses=1, routes=None):
        """`addresses`: at how many of loopback it listens; `routes`: from the port of the sink to their text."""
        super().__init__(folder, keep)
        listeners = "".join(f"""
listen smtp{n or ""} {{
	address = "{self.address(n)}"
	port = {self.port}
}}""" for n in range(addresses))
        default = f"""
route "*" {{
	hosts = {{"127.0.0.1:{self.sink}"}}
	hold = {"yes" if keep else "no"}
}}
"""
        (self.folder / "postrider.conf").write_text(f"""
hostname = "mx.example.com"
data_dir = "{self.folder}/data"
relay_networks = {{"127.0.0.1/32"}}
{top}smtp {{
	size_max = 50M
	messages_max = 1000000
	sessions_max = 100000
	sessions_per_client_max = 100000
{smtp}}}{listeners}
listen smtps {{
	address = "127.0.0.1"
	port = {self.tls_port}
	tls = implicit
}}
domain "example.com" {{
	mailboxes = {{"alice"}}
}}
{routes(self.sink) if routes else default}""")
        self.maildir = self.folder / "data/mail/example.com/alice/new"
        self.certificate, self.key = (self.folder / "data/tls" / f"self-signed.{end}" for end in ("pem", "key"))
        self.run()

    @staticmethod
    def address(n):
        return f"127.0.0.{n + 1}"

    def run(self):
        """Starts it, for the first time or once more."""
        self.start([tools.BUILD / "src/role/postriderd", "-c", self.folder / "postrider.conf"], dict(os.environ))

    def is_empty(self):
        done = subprocess.run([str(tools.BUILD / "src/cli/postrider"), "queue", "list", "--json", "-n", "1", "-c",
                               str(self.folder / "postrider.conf")], capture_output=True, text=True, check=False)
        return done.returncode == 0 and '"id"' not in done.stdout


class Postfix(Server):
    name = "postfix"
    folders = ("active bounce corrupt defer deferred flush hold incoming private saved trace public maildrop "
               "pid").split()

    def __init__(self, folder, keep=False):
        super().__init__(folder, keep)
        self.owner, group = self.identities()
        lib, conf = PEERS / "usr/lib/postfix", self.folder / "conf"
        for part in ["conf", "queue", "data", "mail", *(f"queue/{f}" for f in self.folders)]:
            (self.folder / part).mkdir()
            shutil.chown(self.folder / part, "root" if part in ("conf", "queue", "queue/pid") else self.owner)
        (self.folder / "queue/public").chmod(0o710)
        (self.folder / "queue/maildrop").chmod(0o730)
        for part in ("public", "maildrop"):
            shutil.chown(self.folder / "queue" / part, group=group)
        # What is kept goes to the hold queue, as Postrider holds it: the least work that either can have with it.
        hold = "smtpd_client_restrictions = static:HOLD" if keep else ""
        (conf / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {self.folder}/queue
data_directory = {self.folder}/data
daemon_directory = {lib}/sbin
command_directory = {PEERS}/usr/sbin
shlib_directory = {lib}
meta_directory = {conf}
mail_owner = {self.owner}
setgid_group = {group}
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LD_LIBRARY_PATH
maillog_file = {self.folder}/maillog
maillog_file_prefixes = {self.folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mx.example.com
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
message_size_limit = 51200000
relayhost = [127.0.0.1]:{self.sink}
virtual_mailbox_domains = example.com
virtual_mailbox_base = {self.folder}/mail
virtual_mailbox_maps = inline:{{alice@example.com=alice/}}
virtual_minimum_uid = 1
virtual_uid_maps = static:{pwd.getpwnam(self.owner).pw_uid}
virtual_gid_maps = static:{pwd.getpwnam(self.owner).pw_gid}
{hold}
""")
        services = (PEERS / "usr/share/postfix/master.cf.dist").read_text()
        # Debian's services as they are, but for our port and without a chroot, which was not filled.
        services = re.sub(r"(?m)^smtp +inet ", f"{self.port} inet ", services)
        services = re.sub(r"(?m)^(\S+ +(?:inet|unix|unix-dgram) +\S+ +\S+ +)y ", r"\1n ", services)
        (conf / "master.cf").write_text(services)
        self.maildir = self.folder / "mail/alice/new"
        self.start([lib / "sbin/master", "-d", "-c", conf], peers_env(MAIL_CONFIG=str(conf)))

    def is_empty(self):
        return not any(path.is_file() for part in ("incoming", "active", "deferred")
                       for path in (self.folder / "queue" / part).rglob("*"))

    @staticmethod
    def identities():
        """The user and group that it runs as: its own where it is installed, or others that Debian always has."""
        if os.geteuid() != 0:
            raise Skipped("Postfix runs only as root")
        if not (PEERS / "usr/lib/postfix/sbin/master").exists():
            raise Skipped("Postfix is not in build/peers: run scripts/install-peers")
        names = {p.pw_name for p in pwd.getpwall()}
        return ("postfix", "postdrop") if "postfix" in names else ("daemon", "mail")

    def stop(self):
        super().stop()
        words = faults(self.folder / "maillog")
        if words:
            raise Skipped(f"Postfix had trouble: {words}")


class Tools(Server):
    """No server: smtp-sink, to tell what the tools alone come to, without a queue and without a disk."""
    name = "tools"

    def __init__(self, folder, keep=False):
        super().__init__(folder, keep)
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        self.start([PEERS / "usr/sbin/smtp-sink", *user, f"127.0.0.1:{self.port}", 1000], peers_env())


SERVERS = {"postfix": Postfix, "postrider": Postrider}
CEILING = {"tools": Tools}
