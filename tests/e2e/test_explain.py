"""`postrider explain` and `postrider codes` as typed: codes, replies, lines of logs, ids, files, nonsense."""
import json
import os
import re
import resource
import subprocess

import pytest

from harness import PATIENCE, POSTRIDER, route

POSTFIX = ("Nov 22 10:20:30 mx postfix/smtp[2210]: 4F2A01C0: to=<ann@example.net>, relay=mx.example.net[192.0.2.1]:25, "
           "delay=1.2, dsn=5.1.1, status=bounced (host mx.example.net[192.0.2.1] said: 550 5.1.1 <ann@example.net>: "
           "Recipient address rejected: User unknown (in reply to RCPT TO command))")
EXIM = ("2026-11-22 10:20:30 1vMabc-000001-2B ** ann@example.net R=dnslookup T=remote_smtp H=mx.example.net "
        "[192.0.2.1]: SMTP error from remote mail server after RCPT TO:<ann@example.net>: 550 5.1.1 User unknown")
SENDMAIL = ("Nov 22 10:20:30 mx sm-mta[33]: 5ALAKU01: to=<ann@example.net>, delay=00:00:02, mailer=esmtp, "
            "relay=mx.example.net. [192.0.2.1], dsn=5.1.1, stat=User unknown")
LOGFMT = ('time=2026-11-22T10:20:30.123Z level=info role=queue event=failed id=0123456789AB to=ann@example.net '
          'remote="mx.example.net [192.0.2.1]:25" stage="RCPT TO" code=550 status=5.1.1 text="User \\"ann\\" unknown"')
JSON = ('{"time":"2026-11-22T10:20:30.123Z","level":"info","role":"queue","event":"deferred","id":"0123456789AB",'
        '"to":"ann@example.net","remote":"mx.example.net","stage":"RCPT TO","code":450,"status":"4.2.2",'
        '"text":"mailbox \\u0022full\\u0022"}')


def run(*words, stdin="", env=None):
    return subprocess.run([str(POSTRIDER), *map(str, words)], input=stdin, capture_output=True, text=True,
                          timeout=PATIENCE, check=False, env=env)


def explain(*words, stdin=""):
    return run("explain", *words, stdin=stdin)


def found(*words, stdin=""):
    done = explain("--json", *words, stdin=stdin)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


# ---- codes and replies -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, code, status, klass, verdict", [
    ("550", 550, None, "unknown", "permanent"), ("4.7.1", None, "4.7.1", "policy", "temporary"),
    ("421 4.7.0 text", 421, "4.7.0", "policy", "temporary"), ("571", 571, None, "policy", "permanent"),
    ("X.2.2", None, None, "full-mailbox", "unknown"), ("250 2.1.5 ok", 250, "2.1.5", "unknown", "success"),
    ("550 5.1.1 <x@y>: Recipient address rejected: User unknown in local recipient table", 550, "5.1.1", "bad-mailbox",
     "permanent")])
def test_a_code_or_a_reply(text, code, status, klass, verdict):
    for got in (found(text), found(*text.split()), found(stdin=text + "\n")):
        assert (got["code"], got["status"], got["class"], got["verdict"]) == (code, status, klass, verdict)
        assert got["advice"]
        assert got["reply_code"] is None or got["reply_code"]["source"]
        assert got["enhanced_code"] is None or got["enhanced_code"]["source"]


def test_the_words_say_who_has_to_do_what():
    out = explain("550 5.1.1 <x@y>: Recipient address rejected: User unknown in local recipient table").stdout
    for words in ("bad-mailbox", "permanent", "Who acts     sender", "Correct the address", "RFC 3463",
                  "the text: mailbox-unknown"):
        assert words in out
    out = explain("4.7.1").stdout
    assert "4.7.1: Delivery not authorized" in out and "4.X.X: Persistent Transient Failure" in out


@pytest.mark.parametrize("text, klass, verdict, alone", [
    ("550 5.0.0 Please try again later", "system", "temporary", {"class": None, "verdict": "permanent"}),
    ("550 5.1.1 your host is on the blocklist", "reputation", "permanent",
     {"class": "bad-mailbox", "verdict": "permanent"}),
    ("571 <ann@example.net> User unknown", "bad-mailbox", "permanent", {"class": "policy", "verdict": "permanent"}),
    ("421 4.7.0 will be permanently deferred", "reputation", "permanent",
     {"class": "policy", "verdict": "temporary"})])
def test_where_code_and_text_disagree_the_text_decides_and_it_says_so(text, klass, verdict, alone):
    got = found(text)
    assert (got["class"], got["verdict"], got["decided_by"]) == (klass, verdict, "text")
    assert got["disagreement"] and got["codes_alone"] == alone
    out = explain(text).stdout
    assert f"But          {got['disagreement']}" in out
    assert re.search(rf"the codes +{alone['class'] or 'no class'}, {alone['verdict']}", out)
    assert re.search(rf"the text +{klass}, {verdict}: this decides", out)


def test_where_they_agree_nothing_of_the_kind_is_said():
    got = found("550 5.1.1 User unknown")
    assert got["disagreement"] is None
    assert "\nBut " not in explain("550 5.1.1 User unknown").stdout


def test_several_codes_are_explained_one_by_one():
    assert [g["code"] for g in found("550", "421")] == [550, 421]
    assert [g["status"] for g in found("4.7.1", "5.1.1", "5.2.2")] == ["4.7.1", "5.1.1", "5.2.2"]
    assert found("550", "5.1.1")["status"] == "5.1.1" # a code and its enhanced code are one reply
    done = explain("--json", "5.1.1", "5.9.9.9")
    assert done.returncode == 65 and "5.9.9.9" in done.stderr


# ---- lines of logs ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("line", [POSTFIX, EXIM, SENDMAIL, LOGFMT], ids=["postfix", "exim", "sendmail", "ours"])
def test_a_line_of_a_log(line):
    for got in (found(line), found(stdin=line + "\n")):
        assert (got["class"], got["verdict"], got["status"]) == ("bad-mailbox", "permanent", "5.1.1")


def test_a_line_of_our_log_is_told_with_its_event():
    got = found(LOGFMT)
    assert (got["event"], got["code"], got["text"]) == ("failed", 550, '550 5.1.1 User "ann" unknown')
    assert got["fields"]["remote"] == "mx.example.net [192.0.2.1]:25"
    out = explain(LOGFMT).stdout
    for words in ("failed: a recipient failed for good", "ann@example.net", "postrider trace 0123456789AB"):
        assert words in out
    got = found(JSON)
    assert (got["event"], got["class"], got["verdict"]) == ("deferred", "full-mailbox", "temporary")
    assert got["text"] == '450 4.2.2 mailbox "full"'
    behind_a_journal = found("Nov 22 10:20:30 mx postriderd[7]: " + JSON)
    assert behind_a_journal["event"] == "deferred"


def test_a_line_of_our_log_without_a_reply():
    got = found("time=2026-11-22T10:20:30.123Z level=error role=queue event=store-failed reason=\"disk full\"")
    assert got["event_meaning"].startswith("a commit failed")
    assert got["fields"]["reason"] == "disk full"


def test_each_line_of_a_log_for_itself():
    lines = "\n".join([POSTFIX, "", SENDMAIL, "Nov 22 10:20:31 mx postfix/qmgr[1]: 4F2A01C0: removed", LOGFMT, JSON])
    done = explain("--json", stdin=lines)
    assert done.returncode == 0
    assert [g["class"] for g in json.loads(done.stdout)] == ["bad-mailbox"] * 3 + ["full-mailbox"]
    assert "1 of 5 lines" in done.stderr
    assert explain(stdin="Nov 22 10:20:31 mx a: b\nNov 22 10:20:31 mx c: d\n").returncode == 65


def test_the_log_of_a_server_is_understood_line_by_line(make_server, make_peer):
    peer = make_peer(RCPT="550 5.1.1 no such user")
    server = make_server(extra=route(peer.port)).start()
    server.submit(to="dest@example.net", sender="alice@example.com")
    server.wait_mail("alice")
    server.wait_log("event=failed")
    done = explain("--json", stdin=server.log())
    assert done.returncode == 0, done
    events = [g["event"] for g in json.loads(done.stdout)]
    assert {"started", "accepted", "failed"} <= set(events)
    assert not done.stderr


def test_the_id_of_a_message_gives_its_story(make_server):
    server = make_server().start()
    id_ = server.submit()
    server.wait_trace(id_, "0 not settled")
    assert server.cli("explain", id_) == server.cli("trace", id_)
    assert json.loads(server.cli("explain", "--json", id_))["id"] == id_
    assert server.cli_run("explain", "ZZZZZZZZZZZZ").returncode == 66
    server.stop()
    done = server.cli_run("explain", id_)
    assert done.returncode == 69 and "control.sock" in done.stderr


# ---- files, and what is nothing --------------------------------------------------------------------------------------

def test_files(tmp_path):
    one, two = tmp_path / "one.txt", tmp_path / "two.eml"
    one.write_text("550-5.1.1 no such\n550 5.1.1 user\n")
    two.write_text("From: bob@example.net\nSubject: Lunch\n\nHello\n")
    assert found(one)["class"] == "bad-mailbox"
    first, second = found(one, two)
    assert (first["class"], second) == ("bad-mailbox", {"kind": "other", "recipients": []})
    out = explain(one, two).stdout
    assert f"File         {one}" in out and f"File         {two}" in out


@pytest.mark.parametrize("words, stdin, status, says", [
    (["hello"], "", 65, "nothing in it is understood"), ([""], "", 65, "nothing"), ([], "", 65, "nothing to explain"),
    ([], "\n \n", 65, "nothing to explain"), ([], "\0\1\2\n", 65, "nothing in it is understood"),
    (["no/such/file"], "", 66, "no/such/file: there is no such file"),
    (["bounce.eml"], "", 66, "bounce.eml: there is no such file"),
    (["/"], "", 66, "Is a directory"), (["--nonsense"], "", 64, "unknown option"), (["7.1.1"], "", 65, "understood"),
    (["--json", "hello"], "", 65, "nothing in it is understood")])
def test_nonsense_has_a_clear_error(words, stdin, status, says):
    done = explain(*words, stdin=stdin)
    assert done.returncode == status, done
    assert says in done.stderr and not done.stdout


def test_a_file_that_may_not_be_read(tmp_path):
    if os.geteuid() == 0:
        path = tmp_path / "gone"
        path.symlink_to("nowhere")
        assert explain(path).returncode == 66
        return
    path = tmp_path / "secret"
    path.write_text("550")
    path.chmod(0)
    assert explain(path).returncode == 77


def test_what_comes_from_outside_cannot_move_the_cursor():
    out = explain("550 5.1.1 \x1b[2Jno \x9b1m\u202e user").stdout
    assert "\x1b" not in out and "\u202e" not in out


# AddressSanitizer maps terabytes.
SANITIZED = b"__asan_init" in POSTRIDER.read_bytes()


def explain_within(mebibytes, words, path):
    """Exit status of explain, with the file as standard input, when it may not map more memory than that."""
    def limit():
        if not SANITIZED:
            resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))
    with open(path, "rb") as stdin:
        return subprocess.run([str(POSTRIDER), "explain", *words], stdin=stdin, stdout=subprocess.DEVNULL,
                              timeout=PATIENCE * 2, check=False, preexec_fn=limit).returncode


def test_a_bounce_of_50_mb_takes_bounded_memory(tmp_path):
    head = ("From: MAILER-DAEMON@example.net\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n"
            "\n--b\n\nYour message could not be delivered.\n\n--b\nContent-Type: message/delivery-status\n\n"
            "Reporting-MTA: dns; mx.example.net\n\n")
    row = "Final-Recipient: rfc822; u{}@example.net\nAction: failed\nStatus: 5.1.1\n\n"
    path = tmp_path / "huge.eml"
    with open(path, "w", encoding="ascii") as f:
        f.write(head)
        f.writelines(row.format(i) for i in range(5000))
        f.write("--b\nContent-Type: message/rfc822\n\nSubject: x\n\n")
        line = "x" * 70 + "\n"
        while f.tell() < 50 << 20:
            f.write(line * 1000)
        f.write("--b--\n")
    for words in ([str(path)], [], ["--json"]):
        # The message itself, the reader's 2 x 8 MiB, and the program with its libraries; a pipe's length is not known
        # before its end, so that the buffer has to grow.
        assert explain_within(130, words, path) == 0


def test_a_reply_of_10000_lines_takes_bounded_memory(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("550-5.1.1 no such user here at all\n" * 9999 + "550 5.1.1 go away\n")
    for words in ([str(path)], [], ["--json"]):
        assert explain_within(60, words, path) == 0
    out = explain(path).stdout
    assert "... and 9980 more lines" in out and len(out) < 10000
    assert found(path)["class"] == "bad-mailbox"


def test_more_than_the_limit_is_refused(tmp_path):
    path = tmp_path / "endless"
    with open(path, "wb") as f:
        f.truncate((64 << 20) + 1)
    done = explain(path)
    assert done.returncode == 65 and "67108864" in done.stderr


# ---- the catalogue ---------------------------------------------------------------------------------------------------

def codes(*words):
    done = run("codes", "--json", *words)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_codes_lists_everything():
    rows = codes()
    assert len([r for r in rows if r["kind"] == "reply"]) == 99
    assert len([r for r in rows if r["kind"] == "enhanced" and r["standing"] == "registered"]) >= 81 + 8 + 3
    assert all(r["meaning"] and r["source"] and r["advice"] and r["actor"] for r in rows)
    out = run("codes").stdout
    assert len(out.splitlines()) == len(rows)
    assert "\n550 " in out and "\nX.1.1 " in out


@pytest.mark.parametrize("words, expected", [
    (["550"], ["550"]), (["5.1.1"], ["X.1.1"]), (["X.7.26"], ["X.7.26"]),
    (["x.2", "--class", "full-mailbox"], ["X.2.2"]),
    (["--class", "loop"], ["446", "546", "X.4.6"]), (["greeting", "--verdict", "success"], ["220"]),
    (["--verdict", "intermediate"], ["334", "345", "354", "355"])])
def test_codes_searches(words, expected):
    got = [r["code"] for r in codes(*words)]
    assert set(got) & set(expected) == set(expected), got
    assert len(got) <= len(expected) + 2, got


def test_codes_by_part_word_and_actor():
    assert all(r["code"].startswith("55") for r in codes("55"))
    assert [r["code"] for r in codes("55x")] == [r["code"] for r in codes("55")]
    assert {r["actor"] for r in codes("--who", "operator")} == {"operator"}
    assert all("dmarc" in json.dumps(r).lower() for r in codes("DMARC"))
    assert all(r["code"].startswith("X.4") for r in codes("4.4"))
    assert {r["standing"] for r in codes("--standing", "historic")} == {"historic"}


def test_a_single_code_is_shown_whole():
    out = run("codes", "452").stdout
    for words in ("Reply code   452", "RFC 5321", "Who acts", "Advice", "Class        storage"):
        assert words in out
    assert "temporary with 4, permanent with 5" in run("codes", "x.4.7").stdout


def test_classes_are_listed():
    rows = codes("--classes")
    assert len(rows) == 23 and {"bad-mailbox", "greylisting", "unknown"} <= {r["class"] for r in rows}
    assert "greylisting" in run("codes", "--classes").stdout


@pytest.mark.parametrize("words, status, says", [
    (["no such words"], 65, "there is no such code"), (["--class", "full-mailbax"], 64, "Did you mean full-mailbox"),
    (["--who", "me"], 64, "there is no actor me"), (["--class"], 64, "needs CLASS"), (["999"], 65, "no such code")])
def test_codes_that_are_not_there(words, status, says):
    done = run("codes", *words)
    assert done.returncode == status and says in done.stderr, done


def test_the_page_of_codes_is_installed(tmp_path):
    build = POSTRIDER.parents[2]
    subprocess.run(["meson", "install", "-C", str(build), "--no-rebuild", "--quiet", "--destdir", str(tmp_path)],
                   check=True, timeout=PATIENCE * 4, stdout=subprocess.DEVNULL)
    pages = list(tmp_path.glob("**/share/doc/postrider/codes.html"))
    assert len(pages) == 1
    assert pages[0].read_text("utf-8").count("<article ") == len(codes())
    assert list(tmp_path.glob("**/man1/postrider-codes.1*"))
