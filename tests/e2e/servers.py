"""Servers of others in folders of their own, with TLS: Exim, Postfix and OpenSMTPD, which keep what they are given, and
Dovecot's submission, which passes it on."""
import contextlib
import grp
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


# Which mechanisms it has is its build's to say; these are in the light one.
EXIM_LOGIN = """
begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if and {{{{eq{{$auth2}}{{{0}}}}}{{eq{{$auth3}}{{{1}}}}}}}}}
  server_set_id = $auth2
  server_advertise_condition = ${{if def:tls_in_cipher}}
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if and {{{{eq{{$auth1}}{{{0}}}}}{{eq{{$auth2}}{{{1}}}}}}}}}
  server_set_id = $auth1
  server_advertise_condition = ${{if def:tls_in_cipher}}
cram:
  driver = cram_md5
  public_name = CRAM-MD5
  server_secret = ${{if eq{{$auth1}}{{{0}}}{{{1}}}fail}}
  server_set_id = $auth1
"""


class Exim:
    """Exim, started for each connection as inetd would. Its TLS is GnuTLS. What it takes stays in its spool."""

    def __init__(self, certificate, implicit=False, login=None):
        """`login`: (name, password) of the only client that may send."""
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
acl_smtp_rcpt = {"accept authenticated = *" if login else "accept"}
acl_smtp_data = accept
{EXIM_LOGIN.format(*login) if login else ""}""")
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


POSTFIX_LOGIN = """
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {}
smtpd_tls_auth_only = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
"""


class Postfix:
    """Postfix, all of it; only as root. Everything goes to its hold queue."""

    folders = ("active bounce corrupt defer deferred flush hold incoming private saved trace public maildrop "
               "pid").split()

    def __init__(self, certificate, sasl=None):
        """`sasl`: a socket of Dovecot's auth; only those who log in by it may send."""
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
{POSTFIX_LOGIN.format(sasl) if sasl else ""}""")
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


class Submission:
    """Dovecot's submission service: it takes mail from those who log in, and hands it to a relay. Its auth is there for
    Postfix, too (`sasl`)."""

    def __init__(self, certificate, relay, login):
        self.folder = open_folder()
        self.port, self.port_first = free_port(), free_port()
        self.sasl = self.folder / "run/sasl"
        user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
        copy_keys(certificate, self.folder, "root")
        library, conf = PEERS / "usr/lib/dovecot", self.folder / "dovecot.conf"
        (self.folder / "users").write_text("{}:{{PLAIN}}{}::::::\n".format(*login))
        (self.folder / "users").chmod(0o644)
        conf.write_text(f"""
base_dir = {self.folder}/run
libexec_dir = {library}
mail_plugin_dir = {library}/modules
login_plugin_dir = {library}/modules/login
import_environment = LD_LIBRARY_PATH LD_PRELOAD POSTRIDER_PEERS
log_path = {self.folder}/log
auth_verbose = yes
auth_failure_delay = 0
protocols = submission
ssl = required
ssl_cert = <{self.folder}/chain.pem
ssl_key = <{self.folder}/key.pem
auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256
hostname = dovecot.example
submission_relay_host = 127.0.0.1
submission_relay_port = {relay}
submission_relay_trusted = yes
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = 0
mail_location = maildir:{self.folder}/mail
passdb {{
  driver = passwd-file
  args = username_format=%u {self.folder}/users
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={self.folder}/mail
}}
service config {{
  executable = config -c {conf}
}}
service anvil {{
  chroot =
  # Nobody waits for having been wrong.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service auth {{
  unix_listener {self.sasl} {{
    mode = 0666
  }}
}}
service submission-login {{
  chroot =
  inet_listener submission {{
    address = 127.0.0.1
    port = {self.port}
  }}
  inet_listener submissions {{
    address = 127.0.0.1
    port = {self.port_first}
  }}
}}
""")
        (self.folder / "mail").mkdir()
        (self.folder / "mail").chmod(0o777)
        libraries = [library, library / "modules", library / "modules/old-stats", *PEERS.glob("usr/lib/*-linux-gnu")]
        env = dict(os.environ, POSTRIDER_PEERS=str(PEERS), LD_LIBRARY_PATH=":".join(map(str, libraries)),
                   LD_PRELOAD=str(PEERS / "relocate.so"))
        self.process = subprocess.Popen(
            [str(PEERS / "usr/bin/doveconf"), "-f", "service=master", "-c", str(conf), "-e",
             str(PEERS / "usr/sbin/dovecot"), "-F", "-c", str(conf)], env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(self.folder / "err", "wb"))
        wait_for(self._ready, lambda: f"Dovecot to listen; log:\n{self.log()}")

    def _ready(self):
        assert self.process.poll() is None, (self.folder / "err").read_text() + self.log()
        return self.sasl.exists() and listening(self.port) and listening(self.port_first)

    def log(self):
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)


class OpenSMTPD:
    """OpenSMTPD, which takes mail from those alone who log in (PLAIN, LOGIN) and keeps it in its queue; only as root.

    The folders of its queue and of its users are compiled in, so it has file systems of its own at these places.
    """

    START = r"""
set -e
mount -t tmpfs -o mode=755 tmpfs /var/spool
mount -t tmpfs -o mode=755 tmpfs /var/lib
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /var/lib/opensmtpd/empty /var/spool/smtpd
chmod 711 /var/spool/smtpd
cd "$1"
exec "$2" -d -f "$1/smtpd.conf"
"""

    def __init__(self, certificate, login):
        self.folder = open_folder()
        self.port, self.port_first = free_port(), free_port()
        copy_keys(certificate, self.folder, "root")
        nobody, daemon = pwd.getpwnam("nobody"), pwd.getpwnam("daemon")
        (self.folder / "passwd").write_text(f"""\
root:x:0:0::/root:/bin/sh
nobody:x:{nobody.pw_uid}:{nobody.pw_gid}::/nonexistent:/bin/false
opensmtpd:x:{nobody.pw_uid}:{nobody.pw_gid}::/var/lib/opensmtpd/empty:/bin/false
opensmtpq:x:{daemon.pw_uid}:{daemon.pw_gid}::/var/lib/opensmtpd/empty:/bin/false
""")
        (self.folder / "group").write_text(f"""\
root:x:0:
nogroup:x:{nobody.pw_gid}:
opensmtpd:x:{nobody.pw_gid}:
opensmtpq:x:{daemon.pw_gid}:
""")
        hashed = subprocess.run(["openssl", "passwd", "-6", "-stdin"], input=login[1], text=True, capture_output=True,
                                check=True).stdout.strip()
        (self.folder / "users").write_text(f"{login[0]} {hashed}\n")
        (self.folder / "smtpd.conf").write_text(f"""\
pki peer cert "{self.folder}/chain.pem"
pki peer key "{self.folder}/key.pem"
table users "{self.folder}/users"
listen on 127.0.0.1 port {self.port} tls-require pki peer auth <users> hostname opensmtpd.example
listen on 127.0.0.1 port {self.port_first} smtps pki peer auth <users> hostname opensmtpd.example
action "out" relay host "smtp://127.0.0.1:9"
match auth from any for any action "out"
""")
        library, = PEERS.glob("usr/lib/*/libnss_wrapper.so")
        env = dict(os.environ, LD_PRELOAD=f"{library}:{PEERS / 'legacy_key.so'}",
                   NSS_WRAPPER_PASSWD=str(self.folder / "passwd"), NSS_WRAPPER_GROUP=str(self.folder / "group"))
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", self.START, "sh", str(self.folder),
             str(PEERS / "usr/sbin/smtpd")], env=env, stdin=subprocess.DEVNULL, start_new_session=True,
            stdout=open(self.folder / "log", "wb"), stderr=subprocess.STDOUT)
        wait_for(self._ready, lambda: f"OpenSMTPD to listen; log:\n{self.log()}")

    def _ready(self):
        assert self.process.poll() is None, self.log()
        return listening(self.port) and listening(self.port_first)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def stop(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)
