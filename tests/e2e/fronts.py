"""Servers that stand before ours and tell it of their clients, from unpacked packages: HAProxy, nginx, Postfix."""
import contextlib
import http.server
import os
import pwd
import shutil
import subprocess
import threading

from harness import PATIENCE, PEERS, free_port, listening, open_folder, wait_for


class Front:
    """A process with a configuration in a folder of its own, that listens on `port`."""

    def __init__(self, folder, upstream, **keys):
        self.folder = folder
        self.folder.mkdir()
        self.port = free_port()
        self.upstream = upstream
        self.conf = self.folder / "conf"
        self.conf.write_text(self.configuration(**keys))
        self.process = subprocess.Popen(
            self.command(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=open(self.folder / "err", "wb"),
            env=dict(os.environ, LD_LIBRARY_PATH=str(PEERS / "usr/lib/x86_64-linux-gnu")))
        wait_for(self._ready, lambda: f"{type(self).__name__} to listen: {self.errors()}")

    def _ready(self):
        assert self.process.poll() is None, self.errors()
        return listening(self.port)

    def errors(self):
        return (self.folder / "err").read_text()

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)


class Haproxy(Front):
    """A TCP proxy; `server`: keywords of its server line, such as send-proxy-v2."""

    def configuration(self, server):
        return f"""
global
  maxconn 100
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen smtp
  bind 127.0.0.1:{self.port}
  unique-id-format %[uuid()]
  server ours 127.0.0.1:{self.upstream} {server}
"""

    def command(self):
        return [str(PEERS / "usr/sbin/haproxy"), "-db", "-f", str(self.conf)]


class Nginx(Front):
    """A mail proxy that hands each client of it on by XCLIENT, and (`stream`) a TCP proxy that sends PROXY."""

    def configuration(self):
        self.stream = free_port()
        self.judge = Judge(self.upstream)
        modules = PEERS / "usr/lib/nginx/modules"
        return f"""
load_module {modules}/ngx_mail_module.so;
load_module {modules}/ngx_stream_module.so;
daemon off;
master_process off;
pid {self.folder}/pid;
error_log stderr;
events {{
  worker_connections 100;
}}
mail {{
  server_name front.example.net;
  auth_http 127.0.0.1:{self.judge.port}/;
  server {{
    listen 127.0.0.1:{self.port};
    protocol smtp;
    smtp_auth none;
    xclient on;
  }}
}}
stream {{
  server {{
    listen 127.0.0.1:{self.stream};
    proxy_pass 127.0.0.1:{self.upstream};
    proxy_protocol on;
  }}
}}
"""

    def command(self):
        return [str(PEERS / "usr/sbin/nginx"), "-e", "stderr", "-p", str(self.folder), "-c", str(self.conf)]

    def stop(self):
        super().stop()
        self.judge.stop()


class Judge:
    """Tells nginx by HTTP where a session goes."""

    def __init__(self, upstream):
        class Handler(http.server.BaseHTTPRequestHandler):
            """Every session goes to our server."""

            def do_GET(self):
                """auth_http of nginx."""
                self.send_response(200)
                self.send_header("Auth-Status", "OK")
                self.send_header("Auth-Server", "127.0.0.1")
                self.send_header("Auth-Port", str(upstream))
                self.end_headers()

            def log_message(self, *_):
                """Nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def stop(self):
        with contextlib.suppress(OSError):
            self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Postfix:
    """A whole Postfix that takes mail on `port` and hands all of it to `upstream`, telling whom it has it from."""

    QUEUE = "active bounce corrupt defer deferred flush hold incoming maildrop pid private public saved trace".split()
    SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
relay unix - - n - - smtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
tlsmgr unix - - n 1000? 1 tlsmgr
postlog unix-dgram n - n - 1 postlogd
"""

    def __init__(self, upstream, keys=""):
        self.folder = open_folder()
        self.port = free_port()
        self.log_path = self.folder / "log"
        conf, data, queue = (self.folder / name for name in ("conf", "data", "queue"))
        for folder in (conf, data, queue, *(queue / name for name in self.QUEUE)):
            folder.mkdir()
        # Only root can be root; whoever else runs the tests is made to seem so, and the queue is his.
        root = os.geteuid() == 0
        owner = "nobody" if root else pwd.getpwuid(os.geteuid()).pw_name
        if root:
            for folder in (data, queue, *queue.iterdir()):
                shutil.chown(folder, owner)
        (conf / "master.cf").write_text(self.SERVICES.format(port=self.port))
        (conf / "main.cf").write_text(f"""\
compatibility_level = 3.6
daemon_directory = {PEERS}/usr/lib/postfix/sbin
command_directory = {PEERS}/usr/sbin
shlib_directory = {PEERS}/usr/lib/postfix
meta_directory = {conf}
data_directory = {data}
queue_directory = {queue}
maillog_file = {self.log_path}
maillog_file_prefixes = {self.folder}
mail_owner = {owner}
default_privs = games
setgid_group = mail
import_environment = MAIL_CONFIG LD_LIBRARY_PATH LD_PRELOAD
myhostname = front.example.net
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{upstream}
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_relay_restrictions = permit_mynetworks, reject
smtp_send_xforward_command = yes
{keys}
""")
        env = dict(os.environ, LD_LIBRARY_PATH=f"{PEERS}/usr/lib/postfix:{PEERS}/usr/lib/x86_64-linux-gnu")
        if not root:
            env["LD_PRELOAD"] = str(PEERS / "pretend.so")
        # It ends with its whole process group.
        self.process = subprocess.Popen([str(PEERS / "usr/lib/postfix/sbin/master"), "-c", str(conf), "-d"], env=env,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        start_new_session=True)
        wait_for(self._ready, lambda: f"Postfix to listen; log:\n{self.log()}")

    def _ready(self):
        assert self.process.poll() is None, self.log()
        return listening(self.port)

    def log(self):
        return self.log_path.read_text()[-4000:] if self.log_path.exists() else ""

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        shutil.rmtree(self.folder)
