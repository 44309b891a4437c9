"""Servers of others in folders of their own, with TLS, that keep what they are given: Exim and Postfix."""
import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess

from harness import PATIENCE, PEERS, RawPeer, free_port, listening, open_folder, postfix_env, wait_for


def copy_keys(certificate, folder, owner):
    """The server's own user reads them."""
    for source, name in ((certificate.chain, "chain.pem"), (certificate.key, "key.pem")):
        shutil.copy(source, folder / name)
        (folder / name).chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(folder / name, owner)


class Exim:
    """Exim, started for each connection as inetd would. Its TLS is GnuTLS. What it takes stays in its spool."""

    def __init__(self, certificate, implicit=False):
        self.folder = open_folder()
        copy_keys(certificate, self.folder, "nobody")
        self.conf = self.folder / "exim.conf"
        for part in ("spool", "log"):
            (self.folder / part).mkdir()
            (self.folder / part).chmod(0o777)
        nobody = pwd.getpwnam("nobody")
        uid, gid = (nobody.pw_uid, nobody.pw_gid) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
        self.conf.write_text(f"""\
primary_hostname = exim.example
spool_directory = {self.folder}/spool
log_file_path = {self.folder}/log/%slog
keep_environment =
tls_certificate = {self.folder}/chain.pem
tls_privatekey = {self.folder}/key.pem
tls_advertise_hosts = *
chunking_advertise_hosts = *
queue_only
acl_smtp_rcpt = accept
acl_smtp_data = accept
""")
        self.conf.chmod(0o644)
        self.command = [str(PEERS / "usr/sbin/exim4"), "-C", str(self.conf), "-bs",
                        *(["-tls-on-connect"] if implicit else [])]
        # The user and group whose names it has compiled in are made by its installation alone.
        (self.folder / "passwd").write_text(f"Debian-exim:x:{uid}:{gid}::/:/bin/false\nroot:x:0:0::/:/bin/false\n")
        (self.folder / "group").write_text(f"Debian-exim:x:{gid}:\nroot:x:0:\n")
        library, = PEERS.glob("usr/lib/*/libnss_wrapper.so")
        self.env = dict(os.environ, LD_PRELOAD=str(library), NSS_WRAPPER_PASSWD=str(self.folder / "passwd"),
                        NSS_WRAPPER_GROUP=str(self.folder / "group"))
        self.peer = RawPeer(self._serve)
        self.port = self.peer.port

    def _serve(self, connection, _number):
        # Exim waits itself; a time limit of ours would make the socket one that does not block.
        connection.socket.settimeout(None)
        subprocess.run(self.command, stdin=connection.socket, stdout=connection.socket, stderr=subprocess.DEVNULL,
                       env=self.env, check=False)

    def log(self):
        return "".join(path.read_text() for path in (self.folder / "log").iterdir())

    def bodies(self):
        """Of each message in the spool; its first line is Exim's."""
        return [path.read_bytes().partition(b"\n")[2] for path in self.folder.glob("spool/input/*-D")]

    def stop(self):
        self.peer.stop()
        for thread in self.peer.threads:
            thread.join(PATIENCE)
        shutil.rmtree(self.folder)


class Postfix:
    """Postfix, all of it; only as root. Everything goes to its hold queue."""

    folders = ("active bounce corrupt defer deferred flush hold incoming private saved trace public maildrop "
               "pid").split()

    def __init__(self, certificate):
        names = {p.pw_name for p in pwd.getpwall()}
        owner, group = ("postfix", "postdrop") if "postfix" in names else ("daemon", "mail")
        self.folder = open_folder()
        self.folder.chmod(0o755)
        self.port, self.port_first = free_port(), free_port()
        lib, conf = PEERS / "usr/lib/postfix", self.folder / "conf"
        for part in ["conf", "queue", "data", *(f"queue/{f}" for f in self.folders)]:
            (self.folder / part).mkdir()
            shutil.chown(self.folder / part, "root" if part in ("conf", "queue", "queue/pid") else owner)
        (self.folder / "queue/public").chmod(0o710)
        (self.folder / "queue/maildrop").chmod(0o730)
        for part in ("public", "maildrop"):
            shutil.chown(self.folder / "queue" / part, group=group)
        copy_keys(certificate, conf, "root")
        (conf / "main.cf").write_text(f"""
compatibility_level = 3.6
queue_directory = {self.folder}/queue
data_directory = {self.folder}/data
daemon_directory = {lib}/sbin
command_directory = {PEERS}/usr/sbin
shlib_directory = {lib}
meta_directory = {conf}
mail_owner = {owner}
setgid_group = {group}
import_environment = MAIL_CONFIG MAIL_DEBUG MAIL_LOGTAG TZ LD_LIBRARY_PATH
maillog_file = {self.folder}/maillog
maillog_file_prefixes = {self.folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
smtpd_client_restrictions = static:HOLD
smtpd_tls_chain_files = {conf}/key.pem, {conf}/chain.pem
smtpd_tls_security_level = encrypt
smtpd_tls_loglevel = 1
""")
        services = (PEERS / "usr/share/postfix/master.cf.dist").read_text()
        # Debian's services as they are, but for our ports and without a chroot, which was not filled.
        services = re.sub(r"(?m)^smtp +inet (.*)$", rf"{self.port} inet \1\n"
                          rf"{self.port_first} inet \1\n  -o smtpd_tls_wrappermode=yes", services)
        services = re.sub(r"(?m)^(\S+ +(?:inet|unix|unix-dgram) +\S+ +\S+ +)y ", r"\1n ", services)
        (conf / "master.cf").write_text(services)
        self.process = subprocess.Popen(
            [str(lib / "sbin/master"), "-d", "-c", str(conf)], cwd=self.folder, start_new_session=True,
            env=dict(postfix_env(), MAIL_CONFIG=str(conf)), stdin=subprocess.DEVNULL,
            stdout=open(self.folder / "out", "wb"), stderr=subprocess.STDOUT)
        wait_for(self._ready, lambda: f"Postfix to listen; log:\n{self.log()}")

    def _ready(self):
        assert self.process.poll() is None, (self.folder / "out").read_text() + self.log()
        return listening(self.port) and listening(self.port_first)

    def log(self):
        path = self.folder / "maillog"
        return path.read_text() if path.exists() else ""

    def messages(self):
        """Those in the hold queue, as postcat tells them."""
        return [subprocess.run([str(PEERS / "usr/sbin/postcat"), "-bh", str(path)], capture_output=True, check=True,
                               env=dict(postfix_env(), MAIL_CONFIG=str(self.folder / "conf"))).stdout
                for path in self.folder.glob("queue/hold/*")]

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        wait_for(self._is_gone, "the end of Postfix's processes")
        shutil.rmtree(self.folder)

    def _is_gone(self):
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False
