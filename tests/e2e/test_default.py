"""Without a configuration file: the embedded default, and the journey that `make run` shows."""
import os
import re
import signal
import subprocess

from harness import BUILD, PATIENCE, ROOT, free_port, message, wait_for


def environment(server):
    return {"SMTP_PORT": str(server.port), "DATA_DIR": str(server.data)}


def test_it_serves_alice_and_bob_below_data_dir(make_server):
    server = make_server()
    server.start(args=[], env=environment(server))
    server.submit(message("default"), to=["alice@example.com", "bob@example.com"])
    server.wait_mail("alice"), server.wait_mail("bob")
    with server.dialog() as d:
        d.hello()
        d.expect(250, "MAIL FROM:<a@example.org>")
        assert d.command("RCPT TO:<carol@example.com>").code == 550


def test_a_stranger_cannot_relay_through_the_default(make_server):
    server = make_server()
    server.start(args=[], env=environment(server))
    with server.dialog(source="127.0.0.2") as d:
        d.hello()
        d.expect(250, "MAIL FROM:<a@example.org>")
        assert d.command("RCPT TO:<x@elsewhere.example>").code == 550


def run_script(folder, port):
    return subprocess.Popen([str(ROOT / "scripts/run"), str(BUILD)], cwd=folder, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                            env=dict(os.environ, SMTP_PORT=str(port), DATA_DIR=str(folder / "data")))


def what_it_proposes_works(text):
    commands = text.split("Try next")[1].splitlines()[1:]
    commands = [c.strip() for c in commands if c.strip()]
    assert len(commands) == 4 and any(c.startswith("curl ") for c in commands), text
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def test_make_run_shows_a_first_message_and_goes_on_serving(tmp_path):
    port = free_port()
    script = run_script(tmp_path, port)
    said = []
    try:
        for line in script.stdout:
            said.append(line)
            if "Try next" in line:
                break
        text = "".join(said)
        assert "Try next" in text, text
        id_ = re.search(r"\b([0-9A-Z]{12})\b", text).group(1)
        path = re.search(r"(\S+/mail/example\.com/alice/new/\S+)", text).group(1)
        with open(path, "rb") as file:
            mail = file.read()
        assert id_.encode() in mail
        assert "delivered" in text.lower()
        assert str(port) in text
        from harness import Dialog
        with Dialog(port) as d:
            d.hello()
            d.envelope()
            assert d.data(message("second")).code == 250
        wait_for(lambda: len(os.listdir(tmp_path / "data/mail/example.com/alice/new")) == 2, "a second message")
        for line in script.stdout:
            if "Serving until" in line:
                break
            said.append(line)
        what_it_proposes_works("".join(said))
    finally:
        script.send_signal(signal.SIGINT)
        status = script.wait(PATIENCE)
    assert status == 0, "".join(said) + script.stdout.read()


def test_make_run_says_what_to_do_when_the_port_is_taken(tmp_path, make_peer):
    peer = make_peer()
    script = run_script(tmp_path, peer.port)
    text, _ = script.communicate(timeout=PATIENCE)
    assert script.returncode not in (0, None)
    assert "SMTP_PORT" in text
