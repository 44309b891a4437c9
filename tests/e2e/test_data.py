"""A data directory: `postrider check --data` tells a sound one from a damaged one."""
import contextlib
import json
import sqlite3
import subprocess

from harness import PATIENCE, POSTRIDER, message, route, free_port

EX_DATAERR, EX_NOINPUT, EX_TEMPFAIL, EX_CONFIG = 65, 66, 75, 78
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
