"""A wrong configuration is an error with file, line and the nearest right name; `postrider check` finds it first."""
import re
import subprocess

import pytest

from harness import POSTRIDERD, free_port, message

# A line to add to a good file, and what must be said about it besides its place.
WRONG = [
    ('hostnam = "mx.example.com"', "hostname"),
    ('relay_network = {"127.0.0.0/8"}', "relay_networks"),
    ('lisen smtp {\n}', "listen"),
    ('listen more {\n  prt = 26\n}', "port"),
    ('domain "b.example" {\n  mailboxs = {"x"}\n}', "mailboxes"),
    ('queue {\n  retry_frist = "5m"\n}', "retry_first"),
    ('hostname = 5 5', "."),
    ('hostname = "not a host name"', "hostname"),
    ('relay_networks = {"127.0.0.0/33"}', "127.0.0.0/33"),
    ('relay_networks = {"300.0.0.1"}', "300.0.0.1"),
    ('relay_networks = {"10.0.0.1/8"}', "10.0.0.1/8"),
    ('listen more {\n  port = 65536\n}', "65535"),
    ('listen more {\n  port = 0\n}', "1"),
    ('listen more {\n  port = "smtp"\n}', "port"),
    ('listen more {\n  address = "localhost"\n}', "localhost"),
    ('queue {\n  retry_first = "5 parsecs"\n}', "5 parsecs"),
    ('queue {\n  retry_first = "0s"\n}', "retry_first"),
    ('queue {\n  lifetime = "100000d"\n}', "lifetime"),
    ('smtp {\n  size_max = "1k"\n}', "size_max"),
    ('smtp {\n  size_max = "big"\n}', "big"),
    ('smtp {\n  recipients_max = 5\n}', "100"),
    ('smtp {\n  offer_dsn = perhaps\n}', "perhaps|yes"),
    ('vrfy = "sometimes"', "nobody"),
    ('domain "no domain" {\n}', "no domain"),
    ('domain "b.example" {\n  mailboxes = {"../x"}\n}', r"\.\./x"),
    ('domain "b.example" {\n  mailboxes = {"x", "X"}\n}', "X"),
    ('domain "b.example" {\n  deliver = "lmtp"\n}', "lmtp"),
    ('domain "b.example" {\n  catch_all = "nobody"\n}', "nobody"),
    ('domain "example.com" {\n}', "example.com"),
    ('route "*" {\n}', "hosts"),
    ('route "*" {\n  hosts = {}\n}', "hosts"),
    ('route "*" {\n  hosts = {"a:99999"}\n}', "a:99999"),
    ('route "*" {\n  hosts = {"a"}\n  from_anybody = yes\n}', "relay|from_anybody"),
    ('include("missing.conf")', "missing.conf"),
    ('listen more {', "."),
    ('hostname = "unterminated', "."),
    ("\0", "."),
]


def check(server):
    return server.cli_run("check")


@pytest.mark.parametrize("line, words", WRONG, ids=[w[0].split("\n")[0] if "\0" not in w[0] else "NUL" for w in WRONG])
def test_each_mistake_is_named_with_its_place(make_server, line, words):
    server = make_server()
    good = server.conf.read_text().rstrip("\n") + "\n"
    if line.startswith("queue"):
        good = re.sub(r"(?ms)^queue \{.*?^\}\n", "", good) # it may be there once
    if line.startswith("relay_networks"):
        good = re.sub(r"(?m)^relay_networks.*\n", "", good)
    server.conf.write_text(good + line + "\n")
    first = good.count("\n") + 1
    done = check(server)
    assert done.returncode == 78, done # EX_CONFIG
    said = done.stdout + done.stderr
    places = [int(n) for n in re.findall(rf"{re.escape(server.conf.name)}:(\d+):", said)]
    if "include" in line:
        places = places or [int(n) for n in re.findall(r":(\d+):", said)]
    assert places, said
    assert all(first - 25 <= n <= first + line.count("\n") + 1 for n in places), said
    if line.count("\n") == 0 and "example.com" not in line:
        assert first in places or first + 1 in places, said
    assert re.search(words, said), said
    # And the server does not start with it.
    server.spawn()
    assert server.process.wait(20) == 78
    server.wait_log(r"start-failed")


def test_a_good_configuration_is_said_to_be_good(make_server):
    server = make_server()
    done = check(server)
    assert done.returncode == 0, done


def test_a_missing_file(make_server):
    server = make_server()
    server.conf.unlink()
    done = check(server)
    assert done.returncode in (66, 78)
    assert str(server.conf.name) in done.stderr + done.stdout


def test_all_mistakes_are_named_at_once(make_server):
    server = make_server()
    server.conf.write_text(server.conf.read_text() + 'vrfy = "x"\nexpn = "y"\n')
    said = check(server)
    text = said.stdout + said.stderr
    assert "vrfy" in text and "expn" in text


def test_includes_are_read_and_their_mistakes_have_their_own_place(make_server):
    server = make_server(extra='include("domains.conf")\n')
    more = server.folder / "domains.conf"
    more.write_text('domain "b.example" {\n  mailboxes = {"x"}\n}\n')
    assert check(server).returncode == 0
    server.start()
    server.submit(to="x@b.example")
    server.wait_mail("x", domain="b.example")
    more.write_text('domain "b.example" {\n  mailboxs = {"x"}\n}\n')
    said = check(server)
    assert said.returncode == 78
    assert re.search(r"domains\.conf:2: ", said.stdout + said.stderr)


def test_l8_a_file_that_anybody_may_write_is_refused(make_server):
    server = make_server()
    server.conf.chmod(0o666)
    done = check(server)
    assert done.returncode == 78
    assert re.search("everybody", done.stdout + done.stderr)


def test_a_port_that_is_taken_is_said(make_server, make_peer):
    peer = make_peer()
    server = make_server()
    server.port = peer.port
    server.configure().spawn()
    assert server.process.wait(20) != 0
    server.wait_log(r"in use")


@pytest.mark.parametrize("args, status", [(["--help"], 0), (["--version"], 0), (["-x"], 64), (["-c"], 64),
                                          (["a", "b"], 64), (["-c", "/nonexistent/postrider.conf"], 78)])
def test_command_line_of_postriderd(args, status):
    done = subprocess.run([str(POSTRIDERD), *args], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == status, done
    assert done.stdout if status == 0 else done.stderr


def test_log_as_json(make_server):
    import json
    server = make_server(extra='log {\n  format = "json"\n  level = "debug"\n}\n').start()
    id_ = server.submit(sender='"a b\\"\\\\"@example.org')
    server.wait_mail()
    assert server.stop() == 0
    events = [json.loads(line) for line in server.log().splitlines()]
    assert any(e.get("event") == "accepted" and e.get("id") == id_ for e in events)
    assert {e["event"] for e in events} >= {"started", "accepted", "delivered", "stopped"}


def test_newlines_of_the_maildir(make_server):
    server = make_server(extra='mailbox {\n  newlines = "lf"\n}\n').start()
    server.submit()
    mail, = server.wait_mail()
    assert b"\r" not in mail.raw


@pytest.mark.parametrize("newlines", ["lf", "crlf"])
def test_what_looks_like_the_begin_of_a_message_is_text(make_server, newlines):
    """F6: lines that part messages in an mbox, and fields that claim another length, change nothing."""
    server = make_server(extra=f'mailbox {{\n  newlines = "{newlines}"\n}}\n').start()
    raw = message("one", b"From x@example.org Sat Nov 21 10:00:00 2026\r\n>From y\r\n\r\n"
                  b"From z Mon Jan  1 00:00:00 2001\r\nSubject: two\r\n\r\nend\r\n",
                  extra=b"Content-Length: 5\r\nLines: 1\r\n")
    server.submit(raw)
    mail, = server.wait_mail()
    assert mail.content == raw


def test_a_listener_on_a_unix_socket_and_lmtp(make_server):
    import socket
    port = free_port()
    server = make_server()
    path = server.data / "s"
    server.configure(extra=f'listen local {{\n  socket = "{path}"\n}}\n'
                           f'listen lmtp {{\n  address = "127.0.0.1"\n  port = {port}\n'
                           '  protocol = "lmtp"\n}\n').start()
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(path))
        assert s.recv(100).startswith(b"220")
    from harness import Dialog
    with Dialog(port) as d:
        assert d.command("EHLO x").code == 500
        d.hello(verb="LHLO")
        d.envelope(to=["alice@example.com", "bob@example.com"])
        assert d.data(b"Subject: lmtp\r\n\r\nx\r\n").code == 250
        assert d.reply().code == 250
    server.wait_mail("alice"), server.wait_mail("bob")
