"""The command line: help for everything, exit codes of sysexits.h, JSON that parses, and `explain`."""
import re
import subprocess

import pytest

from harness import PATIENCE, POSTRIDER, free_port, message, route

COMMANDS = ["queue", "trace", "explain", "codes", "send", "check", "backup", "user", "domain", "bench"]
EX_USAGE, EX_DATAERR, EX_UNAVAILABLE, EX_TEMPFAIL = 64, 65, 69, 75


def postrider(*args, stdin=""):
    return subprocess.run([str(POSTRIDER), *map(str, args)], input=stdin, capture_output=True, text=True,
                          timeout=PATIENCE, check=False)


# ---- help and usage --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("args", [["--help"], ["help"], *[[c, "--help"] for c in COMMANDS]], ids=" ".join)
def test_help_goes_to_standard_output(args):
    done = postrider(*args)
    assert done.returncode == 0, done
    assert re.search(r"usage", done.stdout, re.I)
    assert not done.stderr


def test_the_help_names_every_command():
    said = postrider("--help").stdout
    for command in COMMANDS:
        assert re.search(rf"(?m)^\s+{command}\b", said), command


@pytest.mark.parametrize("args", [[], ["no-such-command"], ["--no-such-option"], ["queue", "--no-such-option"],
                                  ["queue", "no-such-verb"], ["trace"], ["trace", "a", "b"]], ids=" ".join)
def test_wrong_use_is_64_and_says_so_on_standard_error(args):
    done = postrider(*args)
    assert done.returncode == EX_USAGE, done
    assert done.stderr
    assert not done.stdout


def test_a_mistyped_command_names_the_nearest_one():
    assert "queue" in postrider("queu").stderr
    assert "explain" in postrider("explian").stderr


def test_version():
    assert re.search(r"\d+\.\d+\.\d+", postrider("--version").stdout)


@pytest.mark.parametrize("args", [["queue", "list"], ["trace", "0123456789AB"], ["queue", "retry", "--all"]],
                         ids=" ".join)
def test_without_a_server_it_says_so(make_server, args):
    server = make_server()
    done = server.cli_run(*args)
    assert done.returncode in (EX_UNAVAILABLE, EX_TEMPFAIL), done
    assert re.search(r"not running|no server|connect", done.stderr)


# ---- queue -----------------------------------------------------------------------------------------------------------

def test_an_empty_queue(server):
    assert server.queued() == []
    assert server.cli("queue")
    assert server.cli("queue", "list") == server.cli("queue", "list")


def test_list_shows_what_a_person_wants_to_know(make_server):
    server = make_server(extra=route(free_port())).start()
    id_ = server.submit(message("x"), sender="carol@example.com", to="x@example.net")
    server.wait_trace(id_, "refused")
    text = server.cli("queue", "list")
    for word in (id_, "carol@example.com", "x@example.net", "refused"):
        assert word in text
    row, = server.queued()
    flat = repr(row)
    for word in (id_, "carol@example.com", "x@example.net"):
        assert word in flat


@pytest.mark.parametrize("options, count", [
    (["--sender", "a@example.org"], 2), (["--sender", "@example.org"], 3), (["--recipient", "x@one.example"], 2),
    (["--recipient", "@two.example"], 1), (["--older-than", "1h"], 0), (["--older-than", "0s"], 3),
    (["--sender", "a@example.org", "--recipient", "@two.example"], 1), (["--sender", "nobody@example.org"], 0)],
    ids=lambda o: " ".join(o) if isinstance(o, list) else str(o))
def test_filters(make_server, options, count):
    server = make_server(extra=route(free_port())).start()
    for sender, to in [("a", "x@one.example"), ("b", "x@one.example"), ("a", "y@two.example")]:
        server.submit(message("x"), sender=f"{sender}@example.org", to=to)
    found = server.json("queue", "list", *options)
    assert len(found) == count, found


@pytest.mark.parametrize("options", [["--older-than", "soon"], ["--sender"], ["--older-than", "-1s"]], ids=" ".join)
def test_bad_filters_are_usage_errors(server, options):
    assert server.cli_run("queue", "list", *options).returncode == EX_USAGE


def test_nothing_is_removed_without_being_named(make_server):
    """`remove` with no id and no filter is a mistake, not everything."""
    server = make_server(extra=route(free_port())).start()
    server.submit(message("x"), to="x@example.net")
    assert server.cli_run("queue", "remove").returncode == EX_USAGE
    assert len(server.queued()) == 1


# ---- send ------------------------------------------------------------------------------------------------------------

def test_send_is_a_real_client(server):
    done = postrider("send", "--server", f"127.0.0.1:{server.port}", "--from", "me@example.org", "--subject", "Grüße",
                     "alice@example.com", "bob@example.com", stdin="one\n.\n..two\nUmlaut ü\n")
    assert done.returncode == 0, done
    id_ = re.search(r"\b([0-9A-Z]{12})\b", done.stdout).group(1)
    mail, = server.wait_mail("alice")
    server.wait_mail("bob")
    assert mail.id == id_
    parsed = mail.parsed()
    assert parsed["Subject"] == "Grüße"
    assert parsed["From"] == "me@example.org"
    assert parsed["Date"] and parsed["Message-ID"]
    assert parsed.get_content().replace("\r\n", "\n") == "one\n.\n..two\nUmlaut ü\n"


@pytest.mark.parametrize("to, status", [("nobody@example.com", (67, 68, 69)), ("not an address", (64, 65)),
                                        ("x@elsewhere.example", (67, 68, 69, 77))])
def test_send_tells_a_refusal_by_its_exit_status(server, to, status):
    done = postrider("send", "--server", f"127.0.0.1:{server.port}", "--from", "me@example.org", to, stdin="x\n")
    assert done.returncode in status, done
    assert done.stderr


def test_send_with_nobody_there():
    done = postrider("send", "--server", f"127.0.0.1:{free_port()}", "--from", "me@example.org", "alice@example.com",
                     stdin="x\n")
    assert done.returncode in (EX_TEMPFAIL, EX_UNAVAILABLE, 68), done
    assert "refused" in done.stderr


# ---- explain ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, words", [
    ("550 5.1.1 no such user", "mailbox|address|recipient"), ("452 4.2.2 mailbox full", "full|again"),
    ("5.7.1", "permission|refus|policy|author"), ("421", "again|later|clos"), ("554 5.4.6 loop", "loop|route|routing"),
    ("250 2.1.5 ok", "."), ("535", "credential|password|authent")])
def test_explain(text, words):
    done = postrider("explain", text)
    assert done.returncode == 0, done
    assert re.search(words, done.stdout, re.I), done.stdout
    assert re.search(r"RFC ?\d+", done.stdout), "the standard that says so"


@pytest.mark.parametrize("text", ["550 5.1.1 no such user", "4.2.2"])
def test_explain_as_json(text):
    import json
    done = postrider("explain", "--json", text)
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[0] if "\n{" in done.stdout.strip() else done.stdout)


@pytest.mark.parametrize("text", ["hello", "", "999 what", "5.9.9.9", "\x1b[31m", "é" * 1000])
def test_explain_of_what_is_no_reply(text):
    done = postrider("explain", text)
    assert done.returncode in (0, 1, 64, 65), done
    assert "\x1b" not in done.stdout + done.stderr
