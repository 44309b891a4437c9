"""The accounts: `postrider user` and `postrider domain`, with passwords from programs and from terminals, and files of
other servers."""
import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import sqlite3
import subprocess
import tempfile
import termios
import threading

import pytest

from harness import PATIENCE, PEERS, POSTRIDER, wait_for

EX_USAGE, EX_DATAERR, EX_NOINPUT, EX_NOUSER, EX_NOHOST, EX_CANTCREAT, EX_TEMPFAIL, EX_NOPERM = \
    64, 65, 66, 67, 68, 73, 75, 77
ALICE, BOB = "alice@example.com", "bob@example.com"


@pytest.fixture
def home(make_server):
    """A server that does not run: accounts need none."""
    return make_server()


def add(home, name, password="secret", *options):
    done = home.cli_run("user", "add", name, *options, stdin=password + "\n")
    assert done.returncode == 0, done
    return done


def opens(home, name, password):
    """Whether it is the password of an enabled account."""
    done = home.cli_run("user", "check", name, stdin=password + "\n")
    assert done.returncode in (0, EX_NOPERM), done
    return done.returncode == 0


def show(home, name):
    return home.json("user", "show", name)


def database(home):
    return home.data / "accounts/directory.db"


# ---- accounts --------------------------------------------------------------------------------------------------------

def test_the_life_of_an_account(home):
    assert "no accounts" in home.cli("user")
    assert home.json("user", "list") == []
    assert "is added" in add(home, "Alice@Example.COM").stdout
    assert home.cli("user") == ALICE + "\n"
    account = show(home, ALICE)
    assert account["name"] == ALICE and account["enabled"] and account["addresses"] == [ALICE]
    assert account["password"]["hash"] == "yescrypt"
    assert set(account["password"]["scram_iterations"]) == {"SCRAM-SHA-256", "SCRAM-SHA-1"}
    assert not account["password"]["outdated"] and not account["password"]["cram_md5"]
    assert account["mail"] == "here"
    assert opens(home, ALICE, "secret") and not opens(home, ALICE, "Secret")

    assert home.cli_run("user", "passwd", ALICE, stdin="another\n").returncode == 0
    assert opens(home, ALICE, "another") and not opens(home, ALICE, "secret")
    assert home.json("user", "disable", ALICE) == {"changed": 1}
    assert not opens(home, ALICE, "another")
    assert "disabled" in home.cli("user")
    home.cli("user", "enable", ALICE)
    assert opens(home, ALICE, "another")
    home.cli("user", "remove", ALICE)
    assert home.cli_run("user", "show", ALICE).returncode == EX_NOUSER
    assert home.json("user") == []


def test_nothing_of_a_password_is_in_the_files_and_only_their_owner_reads_them(home):
    add(home, ALICE, "a password that is kept nowhere")
    home.cli_run("user", "passwd", ALICE, stdin="nor this one\n")
    for path in database(home).parent.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert b"kept nowhere" not in path.read_bytes() and b"nor this" not in path.read_bytes()
    assert database(home).parent.stat().st_mode & 0o777 == 0o700
    # What was changed is gone, too: the file is what it is with the new password alone.
    assert database(home).read_bytes().count(b"$y$") == 1


def test_what_an_account_may_send_as_and_how_much(home):
    add(home, ALICE, "secret", "--address", "Sales@example.com", "-a", "example.net", "--messages-per-hour", "10",
        "--disabled")
    account = show(home, ALICE)
    assert account["addresses"] == [ALICE, "example.net", "sales@example.com"]
    assert (account["messages_per_hour"], account["recipients_per_hour"]) == (10, None)
    assert not account["enabled"]
    account = home.json("user", "set", ALICE, "--no-address", "example.net", "--recipients-per-hour", "none")
    assert account["addresses"] == [ALICE, "sales@example.com"]
    assert (account["messages_per_hour"], account["recipients_per_hour"]) == (10, "none")
    home.cli("domain", "set", "example.com", "--messages-per-hour", "99")
    assert home.json("user", "set", ALICE, "--messages-per-hour", "default")["messages_per_hour"] == 99
    # All of it or nothing.
    done = home.cli_run("user", "set", ALICE, "-a", "more@example.com", "--no-address", "other@example.com")
    assert done.returncode == EX_DATAERR and "other@example.com" in done.stderr
    assert show(home, ALICE)["addresses"] == [ALICE, "sales@example.com"]
    done = home.cli_run("user", "add", BOB, "-a", "no address@", stdin="secret\n")
    assert done.returncode == EX_DATAERR, done
    assert home.cli("user").startswith(ALICE) and BOB not in home.cli("user")


def test_a_note_tells_when_mail_for_an_account_does_not_come(home):
    assert "note" not in add(home, ALICE).stdout
    assert "no mailbox" in add(home, "dave@example.com").stdout
    assert "none of the configuration" in add(home, "erin@example.org").stdout
    assert "--address" in add(home, "frank").stdout
    assert [show(home, n)["mail"] for n in (ALICE, "dave@example.com", "erin@example.org", "frank")] == \
        ["here", "refused", "not-here", "no-address"]


@pytest.mark.parametrize("name", ["", "@example.com", "a b@example.com", "a@b@", "a@[127.0.0.1]", "x" * 300, "a\tb"])
def test_what_can_be_no_name_is_refused_before_a_password_is_asked_for(home, name):
    done = home.cli_run("user", "add", "--", name)
    assert done.returncode == EX_DATAERR and "can be no name" in done.stderr
    assert not database(home).exists() or home.json("user") == []


@pytest.mark.parametrize("stdin, status, why", [
    ("", EX_NOINPUT, "no password"), ("\n", EX_DATAERR, "empty"), ("x" * 501 + "\n", EX_DATAERR, "too long"),
    ("a\x07b\n", EX_DATAERR, "forbids"), ("\U0001f600\n", EX_DATAERR, "emoji"), ("one\ntwo\n", EX_DATAERR, "one line"),
    ("secret\r\n", EX_DATAERR, "forbids")])
def test_what_can_be_no_password_is_refused(home, stdin, status, why):
    done = home.cli_run("user", "add", ALICE, stdin=stdin)
    assert (done.returncode, home.json("user")) == (status, []), done
    assert why in done.stderr


def test_a_password_may_lack_its_end_of_line_and_is_the_same_in_every_form(home):
    home.cli_run("user", "add", ALICE, stdin="u\u0308ber")
    assert opens(home, ALICE, "\u00fcber")
    home.cli_run("user", "add", BOB, stdin="x" * 500)
    assert opens(home, BOB, "x" * 500) and not opens(home, BOB, "x" * 499)


@pytest.mark.parametrize("args, status", [
    (["no-such-verb"], EX_USAGE), (["show"], EX_USAGE), (["show", "a", "b"], EX_USAGE), (["list", "a"], EX_USAGE),
    (["disable"], EX_USAGE), (["set", ALICE], EX_USAGE), (["list", "--disabled"], EX_USAGE),
    (["show", ALICE, "--skip"], EX_USAGE), (["add", ALICE, "--no-address", "x.example"], EX_USAGE),
    (["add", ALICE, "--messages-per-hour", "0"], EX_USAGE), (["add", ALICE, "--messages-per-hour", "x"], EX_USAGE),
    (["import", "f", "--scheme", "SSHA"], EX_USAGE), (["add", ALICE], EX_CANTCREAT), (["show", BOB], EX_NOUSER),
    (["passwd", BOB], EX_NOUSER), (["set", BOB, "-a", "x.example"], EX_NOUSER), (["check", BOB], EX_NOUSER),
    (["disable", ALICE, BOB], EX_NOUSER), (["remove", BOB], EX_NOUSER), (["list", "-d", "no domain"], EX_DATAERR),
    (["import", "/nonexistent"], EX_NOINPUT)], ids=lambda a: " ".join(a)[:60] if isinstance(a, list) else str(a))
def test_exit_codes(home, args, status):
    add(home, ALICE)
    done = home.cli_run("user", *args)
    assert done.returncode == status, done
    assert done.stderr.startswith("postrider user: ") and not done.stdout
    assert opens(home, ALICE, "secret")


def test_without_a_database_nobody_has_an_account(home):
    for args in (["show", ALICE], ["disable", ALICE], ["remove", ALICE], ["passwd", ALICE], ["check", ALICE]):
        assert home.cli_run("user", *args).returncode == EX_NOUSER
    assert not database(home).exists()


def test_a_database_that_is_damaged_or_open_to_others_is_said(home):
    add(home, ALICE)
    database(home).chmod(0o644)
    done = home.cli_run("user", "list")
    assert done.returncode == EX_NOPERM and "0600" in done.stderr
    assert home.cli_run("user", "add", BOB, stdin="x\n").returncode == EX_NOPERM
    database(home).chmod(0o600)
    database(home).write_bytes(b"no database at all" * 1000)
    for args in (["list"], ["show", ALICE], ["add", BOB], ["remove", ALICE]):
        done = home.cli_run("user", *args, stdin="x\n")
        assert done.returncode == EX_DATAERR and str(database(home)) in done.stderr, done
    with contextlib.closing(sqlite3.connect(home.folder / "other.db")) as other, other:
        other.execute("CREATE TABLE account (name)")
    shutil.copyfile(home.folder / "other.db", database(home))
    done = home.cli_run("user", "list")
    assert done.returncode == EX_DATAERR and "no database of accounts" in done.stderr, done


def test_several_commands_at_one_time_wait_for_each_other(home):
    failed = []

    def some(number):
        for i in range(3):
            done = home.cli_run("user", "add", f"u{number}-{i}@example.com", stdin="secret\n")
            if done.returncode:
                failed.append(done)
    threads = [threading.Thread(target=some, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(home.json("user")) == 12


def test_somebody_who_writes_for_too_long_is_75(home):
    add(home, ALICE)
    with contextlib.closing(sqlite3.connect(database(home), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        done = home.cli_run("user", "disable", ALICE)
        assert done.returncode == EX_TEMPFAIL, done
        assert opens(home, ALICE, "secret") # who reads waits for nobody
        other.execute("ROLLBACK")
    assert home.cli_run("user", "disable", ALICE).returncode == 0


def test_what_root_adds_belongs_to_the_user_of_the_server():
    """As any other user, everything is one's own anyway."""
    folder = tempfile.mkdtemp(prefix="postrider-users-")
    try:
        os.chmod(folder, 0o755)
        data, conf = f"{folder}/data", f"{folder}/postrider.conf"
        os.mkdir(data, 0o700)
        owner = 65534 if os.getuid() == 0 else os.getuid()
        os.chown(data, owner, -1)
        with open(conf, "w", encoding="ascii") as f:
            f.write(f'data_dir = "{data}"\n')
        os.chmod(conf, 0o644)
        with open(f"{folder}/users", "w", encoding="ascii") as f:
            f.write("bob@example.com:{PLAIN}secret\n")
        os.chmod(f"{folder}/users", 0o600)
        for args in (["add", ALICE], ["import", f"{folder}/users"]):
            done = subprocess.run([str(POSTRIDER), "user", *args, "-c", conf], input="secret\n", text=True,
                                  capture_output=True, timeout=PATIENCE, check=False)
            assert done.returncode == 0, done
        for name in ("accounts", "accounts/directory.db", "accounts/directory.db-wal", "accounts/directory.db-shm"):
            assert os.stat(f"{data}/{name}").st_uid == owner, name
    finally:
        shutil.rmtree(folder)


def test_accounts_beside_a_server_that_runs(server):
    add(server, ALICE)
    server.stop()
    assert server.json("check", "--data")["sound"]
    server.start()
    assert opens(server, ALICE, "secret")


# ---- terminals -------------------------------------------------------------------------------------------------------

class Terminal:
    """postrider on a terminal of its own."""

    def __init__(self, home, *args):
        self.master, slave = pty.openpty()

        def own():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        self.process = subprocess.Popen([str(POSTRIDER), *args, "-c", str(home.conf)], stdin=slave, stdout=slave,
                                        stderr=slave, preexec_fn=own)
        os.close(slave)
        self.said = ""
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        with contextlib.suppress(OSError):
            while octets := os.read(self.master, 4096):
                self.said += octets.decode()

    def echoes(self):
        return bool(termios.tcgetattr(self.master)[3] & termios.ECHO)

    def answer(self, prompt, text):
        wait_for(lambda: prompt in self.said and not self.echoes(), f"{prompt!r} in {self.said!r}")
        self.said = ""
        os.write(self.master, text.encode())

    def end(self):
        status = self.process.wait(PATIENCE)
        wait_for(lambda: not self.reader.is_alive() or self.said.endswith("\n"), "the last words")
        os.close(self.master)
        self.reader.join(PATIENCE)
        return status


def test_a_terminal_is_asked_twice_and_shows_nothing(home):
    t = Terminal(home, "user", "add", ALICE)
    t.answer("New password of alice@example.com", "secret\n")
    t.answer("Once more", "secret\n")
    assert t.end() == 0
    assert "is added" in t.said and "secret" not in t.said
    t = Terminal(home, "user", "check", ALICE)
    t.answer("Password of", "secret\n")
    assert t.end() == 0 and "secret" not in t.said


def test_two_different_passwords_change_nothing(home):
    add(home, ALICE)
    t = Terminal(home, "user", "passwd", ALICE)
    t.answer("New password", "one\n")
    t.answer("Once more", "two\n")
    assert t.end() == EX_DATAERR
    assert "different" in t.said
    assert opens(home, ALICE, "secret")


def test_who_interrupts_gets_his_echo_back(home):
    add(home, ALICE)
    t = Terminal(home, "user", "passwd", ALICE)
    t.answer("New password", "secre\x03")
    assert t.process.wait(PATIENCE) == -2
    assert t.echoes()
    t.end()
    assert opens(home, ALICE, "secret")


# ---- import ----------------------------------------------------------------------------------------------------------

def doveadm(*args):
    """Dovecot's own tool; -O: without a configuration."""
    env = {**os.environ, "LD_LIBRARY_PATH": str(PEERS / "usr/lib/dovecot")}
    return subprocess.run([str(PEERS / "usr/bin/doveadm"), "-O", *args], env=env, capture_output=True, text=True,
                          timeout=PATIENCE, check=True).stdout.strip()


def write(home, text, name="users"):
    path = home.folder / name
    path.write_text(text)
    return path


TAKEN = ["PLAIN", "CLEAR", "CLEARTEXT", "CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "MD5",
         "SCRAM-SHA-256", "SCRAM-SHA-1"]


def test_every_scheme_of_dovecot_is_taken_or_refused_with_its_line(home):
    schemes = doveadm("pw", "-l").split() # OTP and DIGEST-MD5 want to know more than a password
    lines = [f"{scheme.lower()}{encoding.lower()}@example.com:{doveadm('pw', '-s', scheme + encoding, '-p', 'secret')}"
             for scheme in schemes if scheme not in ("OTP", "DIGEST-MD5") for encoding in ("", ".B64", ".HEX")]
    path = write(home, "\n".join(lines) + "\n")
    done = home.cli_run("user", "import", path, "--skip", "--json")
    assert done.returncode == EX_DATAERR
    said = json.loads(done.stdout)
    wrong = {p["line"]: p["text"] for p in said["problems"]}
    names = [line.split(":")[0] for line in lines]
    known = {"des-crypt"} | {s.lower() for s in TAKEN}
    for number, name in enumerate(names, 1):
        scheme = name.split("@")[0].split(".")[0]
        assert (number in wrong) == (scheme not in known), (name, wrong.get(number))
    there = {a["name"]: a for a in home.json("user", "list")}
    assert len(there) == said["imported"] == len(names) - len(wrong)
    for name in there:
        assert opens(home, name, "secret"), name
        assert not opens(home, name, "Secret"), name
    assert there["plain@example.com"]["password"]["hash"] == "yescrypt"
    assert not there["plain@example.com"]["password"]["outdated"]
    assert there["sha512-crypt@example.com"]["password"]["hash"] == "SHA512-CRYPT"
    assert there["scram-sha-256@example.com"]["password"]["scram_iterations"] == {"SCRAM-SHA-256": 4096}
    assert there["blf-crypt@example.com"]["password"]["outdated"]


def test_cram_md5_is_taken_where_it_is_kept(home, make_server):
    path = write(home, f"alice@example.com:{doveadm('pw', '-s', 'CRAM-MD5', '-p', 'secret')}\n")
    done = home.cli_run("user", "import", path)
    assert done.returncode == EX_DATAERR and "cram_md5 = yes" in done.stderr
    keeps = make_server(extra="accounts {\n  cram_md5 = yes\n}\n")
    assert keeps.json("user", "import", path)["imported"] == 1
    assert opens(keeps, ALICE, "secret") and show(keeps, ALICE)["password"]["cram_md5"]
    add(keeps, BOB)
    assert show(keeps, BOB)["password"]["cram_md5"] and not show(keeps, BOB)["password"]["outdated"]


def test_an_import_is_whole_or_nothing_and_names_each_wrong_line(home):
    add(home, BOB, "of bob")
    text = ("# users\n"
            "alice:{PLAIN}secret\n"
            "bob:{PLAIN}secret\n"
            "carol:secret\n"
            "alice@example.com:{PLAIN}again\n"
            "dave:{SSHA512}abc\n"
            "erin:{PLAIN}x::::::allow_nets=192.0.2.0/24\n"
            "nobody:*:::::\n"
            "no colon\n"
            "\n")
    path = write(home, text)
    done = home.cli_run("user", "import", path, "-d", "example.com")
    assert done.returncode == EX_DATAERR and not done.stdout
    for line, words in [(3, "--replace"), (4, "scheme"), (5, "a line before"), (6, "new password"), (7, "networks"),
                        (8, "note: nobody@example.com: it has no password"), (9, "no ':'")]:
        assert re.search(rf"(?m)^{re.escape(str(path))}:{line}: .*{re.escape(words)}", done.stderr), done.stderr
    assert "6 lines are wrong" in done.stderr
    assert [a["name"] for a in home.json("user")] == [BOB]

    said = json.loads(home.cli_run("user", "import", path, "-d", "example.com", "--skip", "--replace",
                                   "--json").stdout)
    assert (said["imported"], said["replaced"], said["wrong"], said["passed_over"]) == (2, 1, 5, 1)
    assert opens(home, ALICE, "secret") and opens(home, BOB, "secret")
    assert [a["name"] for a in home.json("user")] == [ALICE, BOB]


def test_a_shadow_file_is_imported(home):
    hashed = doveadm("pw", "-s", "SHA512-CRYPT", "-p", "secret").removeprefix("{SHA512-CRYPT}")
    text = (f"root:*:19000:0:99999:7:::\nalice:{hashed}:19000:0:99999:7:::\nbob:!{hashed}:19000:0:99999:7:::\n"
            f"games:!!:19000::::::\n")
    done = home.cli_run("user", "import", "-", "-d", "example.com", stdin=text)
    assert done.returncode == 0 and "2 accounts imported" in done.stdout, done
    assert opens(home, ALICE, "secret")
    assert not show(home, BOB)["enabled"]
    home.cli("user", "enable", BOB)
    assert opens(home, BOB, "secret")


def test_passwords_in_clear_without_a_mark_are_taken_when_they_are_said_to_be(home):
    path = write(home, "alice@example.com:secret\nbob@example.com:$6$not a hash\n")
    assert home.cli_run("user", "import", path).returncode == EX_DATAERR
    home.cli("user", "import", path, "--scheme", "plain")
    assert opens(home, ALICE, "secret") and opens(home, BOB, "$6$not a hash")


def test_a_dry_run_changes_nothing(home):
    path = write(home, "alice@example.com:{PLAIN}secret\nbob@example.com:{PLAIN}secret\n")
    assert "2 accounts would be imported" in home.cli("user", "import", path, "--dry-run")
    assert not database(home).exists()
    add(home, ALICE, "before")
    done = home.cli_run("user", "import", path, "-n", "--json")
    assert done.returncode == EX_DATAERR and not json.loads(done.stdout)["changed"]
    said = home.json("user", "import", path, "-n", "--replace")
    assert (said["changed"], said["imported"], said["replaced"]) == (False, 2, 1)
    assert opens(home, ALICE, "before") and len(home.json("user")) == 1


# ---- domains ---------------------------------------------------------------------------------------------------------

def test_domains_of_the_configuration_beside_those_of_the_accounts(home):
    row, = home.json("domain")
    assert (row["name"], row["mail"], row["mailboxes"], row["accounts"]) == ("example.com", "maildir", 4, 0)
    add(home, ALICE)
    add(home, "dave@example.com")
    add(home, "x@other.example")
    rows = {r["name"]: r for r in home.json("domain", "list")}
    assert list(rows) == ["example.com", "other.example"]
    assert rows["example.com"]["accounts"] == 2 and rows["other.example"]["mail"] == "none"
    domain = home.json("domain", "show", "Example.Com")
    assert domain["accounts_without_mailbox"] == ["dave@example.com"]
    assert domain["mailboxes_without_account"] == ["bob", "carol", "postmaster"]
    said = home.cli("domain", "show", "example.com")
    assert "dave@example.com" in said and "bob" in said
    assert "none of the configuration" in home.cli("domain")


def test_a_domain_is_switched_off_with_its_accounts(home):
    add(home, ALICE)
    add(home, "x@other.example")
    home.cli("domain", "disable", "example.com")
    assert not opens(home, ALICE, "secret") and opens(home, "x@other.example", "secret")
    account = show(home, ALICE)
    assert account["disabled_by_domain"] and not account["enabled"]
    assert "DISABLED" in home.cli("domain")
    home.cli("user", "disable", ALICE)
    home.cli("domain", "enable", "example.com")
    assert not opens(home, ALICE, "secret")
    home.cli("user", "enable", ALICE)
    assert opens(home, ALICE, "secret")


@pytest.mark.parametrize("args, status", [
    (["no-such-verb"], EX_USAGE), (["show"], EX_USAGE), (["list", "x"], EX_USAGE), (["set", "example.com"], EX_USAGE),
    (["disable"], EX_USAGE), (["list", "--messages-per-hour", "1"], EX_USAGE), (["--no-such-option"], EX_USAGE),
    (["set", "example.com", "--messages-per-hour", "-1"], EX_USAGE), (["show", "other.example"], EX_NOHOST),
    (["show", "no domain"], EX_DATAERR), (["disable", "example.com", "no domain"], EX_DATAERR)],
    ids=lambda a: " ".join(a) if isinstance(a, list) else str(a))
def test_exit_codes_of_domain(home, args, status):
    done = home.cli_run("domain", *args)
    assert done.returncode == status, done
    assert done.stderr.startswith("postrider domain: ") and not done.stdout
    assert all(r["enabled"] for r in home.json("domain"))
