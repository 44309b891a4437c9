"""A data directory: `postrider check --data` tells a sound one from a damaged one, `postrider backup` copies it."""
import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import threading

import pytest

from harness import PATIENCE, POSTRIDER, free_port, message, route, wait_for

EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_UNAVAILABLE, EX_CANTCREAT, EX_TEMPFAIL, EX_CONFIG = 64, 65, 66, 69, 73, 75, 78
LARGE = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n" * 5000


def check(*args):
    return subprocess.run([str(POSTRIDER), "check", "--data", *map(str, args)], capture_output=True, text=True,
                          timeout=PATIENCE, check=False)


def doctor(server, sql):
    """Changes its database behind its back."""
    with contextlib.closing(sqlite3.connect(server.data / "queue.db")) as db, db:
        db.execute(sql)


def stopped(make_server):
    """A server that has stopped, with a small and a large message that wait; their ids."""
    server = make_server(extra=route(free_port())).start()
    small = server.submit(message("small"), to="x@example.net")
    large = server.submit(message("large", LARGE), to="x@example.net")
    assert server.stop() == 0
    return server, small, large


def test_a_stopped_server_is_sound(make_server):
    server, *_ = stopped(make_server)
    done = check(server.data)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert f"{server.data}: sound" in done.stdout
    by_conf = server.json("check", "--data")
    assert by_conf == json.loads(check(server.data, "--json").stdout)
    assert by_conf["sound"] and by_conf["messages"] == by_conf["open"] == by_conf["recipients"]["waiting"] == 2
    assert by_conf["bodies"]["count"] == by_conf["files"]["count"] == 1
    assert by_conf["files"]["octets"] > len(LARGE)
    server.start()


def test_a_killed_server_is_sound_and_its_log_stays(make_server):
    server = make_server(extra=route(free_port())).start()
    server.submit(message("x"), to="x@example.net")
    server.kill_all()
    log = server.data / "queue.db-wal"
    before = log.read_bytes()
    assert before
    done = check(server.data)
    assert done.returncode == 0, done
    assert log.read_bytes() == before
    server.start()
    assert len(server.queued()) == 1


def test_a_running_server_is_left_alone(server):
    done = check(server.data)
    assert done.returncode == EX_TEMPFAIL
    assert "stop it first" in done.stderr and not done.stdout
    server.submit()
    server.wait_mail()


def test_a_missing_file_and_a_wrong_row_are_told(make_server):
    server, small, large = stopped(make_server)
    file, = [p for p in (server.data / "spool").rglob("*") if p.is_file()]
    file.rename(server.folder / "aside")
    doctor(server, "UPDATE body SET digest = digest + 1 WHERE data IS NOT NULL")
    done = check(server.data)
    assert done.returncode == EX_DATAERR
    assert f"error: {large}: its body is in a file, which is missing\n" in done.stderr
    assert f"error: {small}: its body does not agree with its checksum or length\n" in done.stderr
    assert "2 errors" in done.stdout
    found = check(server.data, "--json")
    assert found.returncode == EX_DATAERR
    assert {p["id"] for p in json.loads(found.stdout)["problems"]} == {small, large}


def test_what_is_no_data_directory_is_said(tmp_path):
    assert check(tmp_path / "nowhere").returncode == EX_NOINPUT
    assert check(tmp_path).returncode == EX_NOINPUT
    (tmp_path / "queue.db").write_bytes(b"This is no database, however long it is.\n" * 100)
    done = check(tmp_path)
    assert done.returncode == EX_DATAERR
    assert str(tmp_path / "queue.db") in done.stderr
    assert check("--conf", tmp_path / "nowhere.conf").returncode == EX_CONFIG


# ---- backup ----------------------------------------------------------------------------------------------------------

class Load:
    """Submits to a destination that does not answer, one message in ten a large one, and keeps what got its 250."""

    def __init__(self, server, sessions=3):
        self.server = server
        self.promised = {} # subject -> id
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(sessions)]
        for thread in self.threads:
            thread.start()

    def _run(self, session):
        with self.server.dialog() as d:
            d.hello()
            for k in range(10000):
                if self.stopping.is_set():
                    return
                subject = f"b{session}-{k}"
                d.envelope(to="x@example.net")
                reply = d.data(message(subject, LARGE if k % 10 == 0 else b"small\r\n"))
                assert reply.code == 250, reply
                self.promised[subject] = re.search(r"\b([0-9A-Z]{12})\b", reply.text).group(1)

    def wait(self, count):
        wait_for(lambda: len(self.promised) >= count, lambda: f"{count} messages, there are {len(self.promised)}")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE)


def restore(make_server, backup, **configuration):
    """A new server on a copy of a backup."""
    server = make_server(**configuration)
    shutil.copytree(backup, server.data)
    return server.start()


def subjects(peer):
    return [re.search(rb"\r\nSubject: (\S+)\r\n", body).group(1).decode() for _, _, body in peer.messages]


@pytest.mark.timeout(240)
def test_a_backup_under_load_restores_to_a_server_that_delivers_everything(make_server, make_peer, tmp_path):
    server = make_server(extra=route(free_port()), listen="  messages_max = 100000\n").start()
    load = Load(server)
    load.wait(100)
    promised = dict(load.promised) # before the command begins
    said = server.json("backup", tmp_path / "backup")
    assert said["sound"] and said["open"] >= len(promised), said
    assert said["files"]["count"] >= sum(k.endswith("0") for k in promised)
    load.wait(len(load.promised) + 50) # it goes on as if nothing had been
    load.stop()
    assert server.stop() == 0
    assert check(server.data).returncode == 0

    peer = make_peer()
    restored = restore(make_server, tmp_path / "backup", extra=route(peer.port))
    restored.cli("queue", "retry", "--all") # its destination was dead: all would come one by one
    wait_for(lambda: not restored.queued(), "an empty queue", timeout=60, every=0.2)
    arrived = subjects(peer)
    assert sorted(arrived) == sorted(set(arrived)), "something came twice"
    assert set(promised) <= set(arrived) <= set(load.promised)
    for _, _, body in peer.messages:
        large = int(re.search(rb"Subject: b\d+-(\d+)", body).group(1)) % 10 == 0
        assert body.endswith(b"\r\n\r\n" + (LARGE if large else b"small\r\n"))
    # Its ids are new ones, beside those that were given after the backup.
    assert restored.submit() not in load.promised.values()
    server.wait_log("event=backup")


def test_only_what_was_delivered_after_the_backup_is_delivered_again(make_server, make_peer, tmp_path):
    refuse = ["450 4.2.1 not yet"]
    peer = make_peer(RCPT=lambda argument: refuse[0] if "later" in argument else "250 ok")
    server = make_server(extra=route(peer.port)).start()
    before = server.submit(message("before"), to="now@example.net")
    peer.wait_messages(1)
    server.wait_trace(before, "delivered")
    late = server.submit(message("late"), to="later@example.net")
    server.wait_trace(late, "not yet")
    server.cli("backup", tmp_path / "backup")
    refuse[0] = "250 ok"
    server.cli("queue", "retry", late)
    peer.wait_messages(2)
    server.wait_trace(late, "250 ")
    assert server.stop() == 0

    restored = restore(make_server, tmp_path / "backup", extra=route(peer.port))
    peer.wait_messages(3)
    wait_for(lambda: not restored.queued(), "an empty queue")
    assert subjects(peer) == ["before", "late", "late"]
    assert "not yet" in restored.trace(late) # the history came along


def test_a_backup_is_written_over_nothing(server, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/something").write_text("mine")
    done = server.cli_run("backup", tmp_path / "full")
    assert done.returncode == EX_CANTCREAT and "not empty" in done.stderr, done
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["something"]
    assert server.cli_run("backup", server.conf).returncode == EX_CANTCREAT
    server.cli("backup", tmp_path / "deep/er")
    assert server.cli_run("backup", tmp_path / "deep/er").returncode == EX_CANTCREAT
    assert server.cli_run("backup").returncode == EX_USAGE
    assert server.cli_run("backup", "one", "two").returncode == EX_USAGE
    assert server.stop() == 0
    assert server.cli_run("backup", tmp_path / "other").returncode == EX_UNAVAILABLE
    assert not (tmp_path / "other").exists()


def test_a_body_that_is_missing_makes_no_backup(make_server, tmp_path):
    server = make_server(extra=route(free_port())).start()
    large = server.submit(message("large", LARGE), to="x@example.net")
    file, = [p for p in (server.data / "spool").rglob("*") if p.is_file()]
    file.rename(tmp_path / "aside")
    done = server.cli_run("backup", tmp_path / "backup")
    assert done.returncode == EX_DATAERR and large in done.stderr, done
    assert not (tmp_path / "backup/queue.db").exists()
    (tmp_path / "aside").rename(file)
    server.cli("backup", tmp_path / "again") # the hold of the failed one is over
