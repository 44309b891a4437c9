"""`postrider bench`: its load against servers, its sink under load, and scripts/bench."""
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import pytest

from harness import BUILD, PATIENCE, POSTRIDER, ROOT, free_port, listening, postfix_env, route, \
    smtp_source, wait_for

EX_USAGE, EX_UNAVAILABLE, EX_TEMPFAIL = 64, 69, 75


def bench(*args, status=0):
    """The JSON that it prints."""
    done = subprocess.run([str(POSTRIDER), "bench", "--json", *map(str, args)], capture_output=True, text=True,
                          timeout=PATIENCE * 2, check=False)
    assert done.returncode == status, done
    return json.loads(done.stdout) if done.stdout else done.stderr


@pytest.fixture
def make_bench_sink():
    made = []

    def make(*args, port=None):
        port = port or free_port()
        made.append(subprocess.Popen([str(POSTRIDER), "bench", "--sink", "--json", *map(str, args),
                                      f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True))
        wait_for(lambda: listening(port), "the sink to listen")
        made[-1].port = port
        return made[-1]
    yield make
    for sink in made:
        sink.kill()
        sink.wait()


def next_object(process):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            break
    return json.loads("".join(lines))


def ended(sink):
    out, _ = sink.communicate(timeout=PATIENCE)
    assert sink.returncode == 0
    return json.loads(out)


def test_the_server_takes_every_message(make_server):
    server = make_server(extra=route(free_port())).start()
    found = bench("-s", 5, "-m", 60, "-r", 2, "-l", 3000, "-t", "lists@example.org", f"127.0.0.1:{server.port}")
    assert (found["accepted"], found["refused"], found["lost"], found["connections"]) == (60, 0, 0, 5)
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p99"] <= found["latency_ms"]["max"]
    # The client may have its reply before the receiver has written its line.
    wait_for(lambda: len(re.findall(r"event=accepted .*rcpts=2 ", server.log())) == 60, "60 messages in the log")


def test_what_a_mailbox_gets_is_a_message(server):
    bench("-m", 1, "-l", 2000, "-t", "alice@example.com", f"127.0.0.1:{server.port}")
    mail, = server.wait_mail("alice")
    assert mail.parsed()["Subject"] == "postrider bench"
    assert not mail.parsed().defects
    assert 1990 <= len(mail.content) <= 2002


def test_a_connection_for_each_message_without_pipelining(server):
    found = bench("-s", 3, "-m", 20, "-p", 1, "--no-pipelining", "-t", "bob@example.com", f"127.0.0.1:{server.port}")
    assert found["accepted"] == 20
    assert found["connections"] >= 20


def test_an_open_loop_keeps_its_pace(make_bench_sink):
    sink = make_bench_sink("-m", 100)
    found = bench("-s", 4, "-m", 100, "--rate", 100, f"127.0.0.1:{sink.port}")
    assert found["accepted"] == 100
    assert 0.9 <= found["seconds"] <= PATIENCE
    assert found["late_ms"]["p50"] >= found["latency_ms"]["p50"]
    assert ended(sink)["messages"] == 100


def test_what_waits_behind_a_slow_server_is_late(make_raw_peer):
    def slow(c, _):
        c.send("220 slow\r\n")
        while True:
            if c.line().startswith("DATA"):
                c.send("354 go on\r\n")
                while c.line() != ".":
                    pass
                time.sleep(0.1)
            c.send("250 ok\r\n")
    peer = make_raw_peer(slow)
    found = bench("-s", 1, "-m", 10, "--rate", 1000, f"127.0.0.1:{peer.port}")
    assert found["latency_ms"]["max"] < 900
    assert found["late_ms"]["max"] > 900


def test_refused_messages_are_told(server):
    found = bench("-m", 5, "-t", "nobody@example.com", f"127.0.0.1:{server.port}", status=EX_TEMPFAIL)
    assert (found["accepted"], found["refused"]) == (0, 5)


def test_a_server_that_is_not_there():
    found = bench("-m", 5, f"127.0.0.1:{free_port()}", status=EX_UNAVAILABLE)
    assert found["accepted"] == 0


@pytest.mark.parametrize("args", [[], ["-m", "0", "127.0.0.1:25"], ["-s", "many", "127.0.0.1:25"],
                                  ["127.0.0.1:25", "127.0.0.1:26"], ["mx.example.com:25"],
                                  ["--rate", "-1", "127.0.0.1"], ["--handshakes", "127.0.0.1:25"],
                                  ["--fresh", "127.0.0.1:25"], ["--drip", "0s", "127.0.0.1:25"],
                                  ["--again", "127.0.0.1:25"],
                                  ["--hold", "--tls", "127.0.0.1:25"], ["--domains", "0", "127.0.0.1:25"],
                                  ["--certificate", "x", "--sink", "127.0.0.1:25"],
                                  ["-f", "a\r\nRCPT TO:<b@example.com>", "127.0.0.1:25"]], ids=" ".join)
def test_wrong_arguments(args):
    assert "postrider bench" in bench(*args, status=EX_USAGE)


def test_the_sink_counts_what_others_send(make_bench_sink):
    """Both tools agree: what smtp-source sends is what the sink counts."""
    sink = make_bench_sink("-m", 200)
    subprocess.run(smtp_source(sink.port, 200, 7, 4000, options=["-d"]), env=postfix_env(), check=True,
                   timeout=PATIENCE)
    found = ended(sink)
    assert (found["messages"], found["recipients"]) == (200, 200)
    assert found["octets"] >= 200 * 4000


def test_the_sink_finds_the_end_of_data_wherever_it_is_cut(make_bench_sink):
    sink = make_bench_sink("-m", 3)
    with socket.create_connection(("127.0.0.1", sink.port), timeout=PATIENCE) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        replies = s.makefile("rb")
        assert replies.readline().startswith(b"220")
        for body in (b".\r\n", b"a\r\n..\r\n\r\n.\r.\n.\r\n\r\n.\r\n", b"x\r\r\n.\r\n"):
            s.sendall(b"MAIL FROM:<>\r\nRCPT TO:<a@b.example>\r\nDATA\r\n")
            assert [replies.readline()[:3] for _ in range(3)] == [b"250", b"250", b"354"]
            end = body.find(b"\r\n.\r\n")
            end = len(body) if end < 0 else end + 5
            for i in range(end):
                s.sendall(body[i:i + 1])
            assert replies.readline().startswith(b"250 2.0.0 Taken")
            s.sendall(b"RSET\r\n")
            assert replies.readline().startswith(b"250")
    assert ended(sink)["messages"] == 3


def test_from_load_to_sink_through_the_server(make_server, make_bench_sink):
    sink = make_bench_sink("-m", 300)
    server = make_server(extra=route(sink.port)).start()
    assert bench("-s", 10, "-m", 300, f"127.0.0.1:{server.port}")["accepted"] == 300
    assert ended(sink)["recipients"] == 300


def test_recipients_of_many_domains_and_the_way_of_messages(make_server, make_bench_sink):
    """Two recipients each, of three domains by turns; the sink tells how long they were on their way."""
    sink = make_bench_sink("-r", 12, "--again")
    server = make_server(extra=route(sink.port)).start()
    since = time.monotonic()
    assert bench("-m", 6, "-r", 2, "--domains", 3, "--no-pipelining", "-t", "dave@example.net",
                 f"127.0.0.1:{server.port}")["accepted"] == 6
    found = next_object(sink)
    assert found["recipients"] == 12 and found["timed"] == found["messages"], found
    assert since <= found["first_s"] <= time.monotonic()
    assert 0 < found["way_ms"]["p50"] <= found["way_ms"]["max"] < (time.monotonic() - since) * 1e3
    wait_for(lambda: len(re.findall("event=delivered", server.log())) == 12, "the log to say so")
    to = re.findall(r"event=delivered .* to=([^ ]+)", server.log())
    assert sorted(to) == sorted(2 * [f"{local}@{n}.example.net" for n in range(3) for local in ("dave", "1dave")])
    sink.terminate()
    assert ended(sink)["messages"] == 0


@pytest.fixture
def hold():
    """Starts sessions that are held; what it said of them when no more were to come."""
    made = []

    def start(port, *args):
        made.append(subprocess.Popen([str(POSTRIDER), "bench", "--json", *map(str, args), f"127.0.0.1:{port}"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return made[-1], next_object(made[-1])
    yield start
    for process in made:
        process.kill()
        process.communicate()


def let_go(process):
    process.terminate()
    out, err = process.communicate(timeout=PATIENCE)
    return json.loads(out), process.returncode, err


def test_sessions_that_are_held(make_server, hold):
    server = make_server(listen="  sessions_max = 4\n", extra="receivers = 1\n").start()
    process, found = hold(server.port, "--hold", "-s", 5)
    assert found == {"open": 4, "lost": 1, "octets": 0}
    assert server.dialog().greeting.code == 421
    found, status, err = let_go(process)
    assert (found["open"], found["lost"], status) == (4, 1, EX_TEMPFAIL)
    assert "421 4.3.2" in err


def test_sessions_that_say_one_octet_in_a_while(make_raw_peer, hold):
    heard = []

    def listen(c, _):
        c.send("220 hello\r\n")
        for _ in range(2):
            heard.append((c.file.read(1), time.monotonic()))
    peer = make_raw_peer(listen)
    since = time.monotonic()
    process, found = hold(peer.port, "--drip", "1s", "-s", 1)
    assert found == {"open": 1, "lost": 0, "octets": 0}
    wait_for(lambda: len(heard) == 2, "two octets")
    assert [octets for octets, _ in heard] == [b"E", b"H"]
    assert heard[1][1] - since >= 2
    found, _, _ = let_go(process)
    assert found["octets"] >= 2


def test_tls_from_load_to_sink_and_handshakes_alone(make_server, make_bench_sink):
    """Both sides of it: what was resumed and what was not is what the server's log says."""
    sink_port, implicit = free_port(), free_port()
    server = make_server(extra=route(sink_port) + f"""
listen smtps {{
	address = "127.0.0.1"
	port = {implicit}
	tls = implicit
}}
""").start()
    tls = server.data / "tls"
    sink = make_bench_sink("-m", 40, "--certificate", tls / "self-signed.pem", "--key", tls / "self-signed.key",
                           port=sink_port)
    found = bench("--starttls", "-s", 4, "-m", 40, "-p", 5, f"127.0.0.1:{server.port}")
    assert found["accepted"] == 40
    # Each session ends with a connection that the last message may leave without a handshake.
    assert found["connections"] - 4 <= found["handshakes"] <= found["connections"]
    assert found["secured"].startswith("TLSv1.3 ")
    assert found["resumed"] >= found["handshakes"] - 4
    assert ended(sink)["handshakes"] >= 1
    wait_for(lambda: len(re.findall("event=tls .*resumed=yes", server.log())) == found["resumed"], "the log to say so")
    fresh, again = (bench("--tls", "--handshakes", "-s", 2, "-m", 10, *how, f"127.0.0.1:{implicit}")
                    for how in (["--fresh"], []))
    assert [(f["accepted"], f["handshakes"]) for f in (fresh, again)] == [(10, 10), (10, 10)]
    assert (fresh["resumed"], again["resumed"]) == (0, 8)


@pytest.fixture
def short_folder():
    """Paths of unix sockets in it are short."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="postrider-test."))
    yield folder
    shutil.rmtree(folder)


def run_benchmark(tmp_path, folder, scale, *names):
    """scripts/bench itself, without Postfix: the figures, and what it printed."""
    done = subprocess.run([sys.executable, str(ROOT / "scripts/bench"), "--quick", "--scale", scale, "--only",
                           "postrider", "--no-syncs", "--build", str(BUILD), "--dir", str(folder), "--json",
                           str(tmp_path / "out.json"), *names],
                          capture_output=True, text=True, timeout=PATIENCE * 3, check=False)
    assert done.returncode == 0, done
    assert not list(folder.iterdir()), "it leaves nothing behind"
    return json.loads((tmp_path / "out.json").read_text()), done.stdout


def test_the_benchmark_runs(tmp_path, short_folder):
    """As short as can be."""
    workloads = ["relay-20", "maildir-20", "recipients-1000", "handshakes-resumed-20", "relay-clear-1", "relay-tls-1"]
    written, out = run_benchmark(tmp_path, short_folder, "0.01", *workloads, "unknown-users")
    assert {row["mechanism"] for row in written["unknown-users"]} >= {"SCRAM-SHA-256", "PLAIN"}
    found = written["results"]
    assert set(found) == set(workloads), out
    assert re.search(r"connection for each message, resumed TLS 1.3 \| /s \| [^|]+ \| \d+% \|", out)
    assert all(r["postrider"]["rounds"][0]["rate"] > 0 for r in found.values())


def test_the_benchmark_runs_at_scale(tmp_path, short_folder):
    """At a small one."""
    workloads = ["held-100000", "deferred-1000000", "silent-5000", "dead-1000000", "overload-3", "slow-50000"]
    written, out = run_benchmark(tmp_path, short_folder, "0.002", *workloads)
    assert set(written["results"]) == set(workloads), out
    found = {name: r["postrider"]["rounds"][0] for name, r in written["results"].items()}
    assert (found["held-100000"]["open"], found["slow-50000"]["open"]) == (200, 100)
    assert found["deferred-1000000"]["restart_new_s"] > 0 and found["overload-3"]["percent"] > 0
    assert all(found[name]["queue_mib"] > 0 for name in ("deferred-1000000", "dead-1000000", "silent-5000"))
    assert re.search(r"\| 200 idle connections \| connections that are held \| 200  \| ≥ 200 ", out)
