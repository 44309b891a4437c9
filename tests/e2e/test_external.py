"""AUTH EXTERNAL: who shows a good certificate logs in without a password, as whom it is for, and as nobody else."""
import re
import signal
import smtplib
import ssl
import subprocess

import pytest

from certificates import Authority
from harness import PATIENCE, Dialog, Peer, free_port, message, tls_context, wait_for
from test_auth import Office, b64, port_of, run

LISTENERS = {
    "submission": "submission = yes\n  ask_certificate = yes",
    "submissions": "submission = yes\n  tls = implicit\n  ask_certificate = yes",
    "mx": "auth = offer",
}


class Desk(Office):
    """A server that asks for certificates of `authority`."""

    def __init__(self, folder, authority, more="", **kw):
        super().__init__(folder, accounts="", listeners=LISTENERS, **kw)
        self.authority = authority
        text = self.conf.read_text()
        self.conf.write_text(text + f'tls {{\n  client_authorities = "{authority.root.pem}"\n{more}}}\n'
                             'certificate_login "joe" {\n  names = {"dns:printer.example.com"}\n}\n')


def shows(certificate, **keys):
    """A client's settings of TLS with a certificate."""
    context = tls_context(**keys)
    if certificate:
        context.load_cert_chain(certificate.chain, certificate.key)
    return context


def shown(server, certificate, listener="submissions", **keys):
    """A client that showed it and greeted."""
    context = shows(certificate, **keys)
    d = Dialog(server.ports[listener], tls=context if listener == "submissions" else None)
    d.hello()
    if listener != "submissions":
        d.starttls(context)
        d.hello()
    return d


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "Users")


@pytest.fixture(scope="module")
def desk(tmp_path_factory, authority):
    peer = Peer()
    server = Desk(tmp_path_factory.mktemp("desk"), authority, next_hop=peer.port).start()
    server.peer = peer
    server.alice = authority.make("Alice", ["email:alice@example.com"], ["extendedKeyUsage=clientAuth"])
    server.user("alice@example.com")
    server.user("bob@example.com", "--disabled")
    server.user("joe")
    yield server
    server.finish()
    peer.stop()


# ---- mail programs -------------------------------------------------------------------------------------------------

def curl(server, security, tmp):
    path = tmp / "message"
    path.write_bytes(message(sender="alice@example.com"))
    run(["curl", "-sS", "-k", "--ssl-reqd", "--cert", server.alice.pem, "--key", server.alice.key,
         f"{'smtps' if security == 'tls' else 'smtp'}://127.0.0.1:{port_of(server, security)}/client.example.org",
         "--login-options", "AUTH=EXTERNAL", "-u", "alice@example.com:", "--mail-from", "alice@example.com",
         "--mail-rcpt", "carol@example.net", "-T", path])


def msmtp(server, security, _tmp):
    run(["msmtp", "-C", "/dev/null", "--host=127.0.0.1",
         f"--port={port_of(server, security)}", "--from=alice@example.com", "--tls=on",
         f"--tls-starttls={'off' if security == 'tls' else 'on'}", "--tls-certcheck=off",
         f"--tls-cert-file={server.alice.pem}", f"--tls-key-file={server.alice.key}", "--auth=external",
         "--user=alice@example.com", "--", "carol@example.net"],
        message(sender="alice@example.com").replace(b"\r\n", b"\n"))


def s_nail(server, security, tmp):
    """It wants to know a user, whose name it leaves out."""
    run(["s-nail", "-:/", "-S", "v15-compat", "-S",
         f"mta={'smtps' if security == 'tls' else 'smtp'}://alice%40example.com@127.0.0.1:{port_of(server, security)}",
         "-S", "smtp-auth=external", "-S", "smtp-use-starttls" if security == "starttls" else "x=y", "-S",
         "tls-verify=ignore", "-S",
         f"tls-config-pairs=Certificate={server.alice.pem},PrivateKey={server.alice.key}", "-S",
         "from=alice@example.com", "-S", "hostname=client.example.org", "-S", "sendwait", "-r", "alice@example.com",
         "-s", "test", "carol@example.net"], b"Hello.\n", {"HOME": str(tmp)})


def python_smtplib(server, security, _tmp):
    """It has no such mechanism, but lets one be given."""
    port, context = port_of(server, security), shows(server.alice)
    client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=PATIENCE, context=context) if security == "tls" \
        else smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE)
    with client:
        if security == "starttls":
            client.starttls(context=context)
        client.ehlo()
        assert client.auth("EXTERNAL", lambda challenge=None: "alice@example.com")[0] == 235
        assert client.sendmail("alice@example.com", ["carol@example.net"], message(sender="alice@example.com")) == {}


@pytest.mark.parametrize("program", [curl, msmtp, s_nail, python_smtplib])
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_mail_programs_log_in_by_certificate(desk, tmp_path, program, security):
    seen, log = len(desk.peer.messages), len(desk.log())
    program(desk, security, tmp_path)
    desk.peer.wait_messages(seen + 1)
    assert re.search(r"authenticated .*login=alice@example.com .*mechanism=EXTERNAL\b", desk.log()[log:])


def test_gsasl_logs_in_by_certificate(desk):
    done = run(["gsasl", "--client", "--smtp", "--connect", f"127.0.0.1:{desk.ports['submission']}", "--starttls",
                "--x509-ca-file=", "--x509-cert-file", desk.alice.pem, "--x509-key-file", desk.alice.key, "--mechanism",
                "EXTERNAL", "--authorization-id", "alice@example.com", "--no-cb"])
    assert b"\n235 2.7.0 " in done.stdout


# ---- to whom it is offered -----------------------------------------------------------------------------------------

def test_external_is_offered_to_who_shows_a_good_certificate_and_to_nobody_else(desk, authority, tmp_path):
    stranger = Authority(tmp_path / "stranger", "Users")
    names = ["email:alice@example.com"]
    bad = {
        "none": None,
        "of another authority of the same name": stranger.make("Alice", names),
        "self-signed": authority.make("Alice", names, issuer=None),
        "expired": authority.make("Alice", names, since=-20, days=10),
        "not yet": authority.make("Alice", names, since=5),
        "for servers": authority.make("Alice", names, ["extendedKeyUsage=serverAuth"]),
        "broken": authority.make("Alice", names, broken=True),
    }
    for what, certificate in bad.items():
        log = len(desk.log())
        with shown(desk, certificate) as d:
            assert "EXTERNAL" not in d.extensions()["AUTH"], what
            assert d.command("AUTH EXTERNAL =").code == 504, what
            assert d.command("AUTH EXTERNAL " + b64("alice@example.com")).code == 504, what
        assert re.search(r"event=tls .*certificate=", desk.log()[log:]), what
        assert not re.search(r"event=tls .*certificate=good", desk.log()[log:]), what
    for listener in ("submission", "submissions"):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with shown(desk, desk.alice, listener, maximum_version=version) as d:
                assert d.extensions()["AUTH"][0] == "EXTERNAL"
    with shown(desk, desk.alice, "mx") as d:
        assert "EXTERNAL" not in d.extensions()["AUTH"]
        assert d.command("AUTH EXTERNAL =").code == 504
    with desk.call("submission", secure=False) as d:
        assert "AUTH" not in d.extensions()
        assert d.command("AUTH EXTERNAL =").code == 523


# ---- as whom -------------------------------------------------------------------------------------------------------

def test_the_certificate_says_who_it_is(desk, authority):
    other = authority.make("Dora", ["email:dora@example.com"])
    bob = authority.make("Bob", ["email:bob@example.com"])
    two = authority.make("Two", ["email:alice@example.com", "email:dora@example.com", "DNS:printer.example.com"])
    printer = authority.make("Printer", ["DNS:printer.example.com"])
    common = authority.make("alice@example.com", ["DNS:alice@example.com"])
    for certificate, identity, code, status in (
            (desk.alice, "", 235, "2.7.0"), (desk.alice, "alice@example.com", 235, "2.7.0"),
            (desk.alice, "ALICE@example.com", 235, "2.7.0"), (desk.alice, "joe", 535, "5.7.8"),
            (desk.alice, "bob@example.com", 535, "5.7.8"), (bob, "", 525, "5.7.13"), (other, "", 535, "5.7.8"),
            (printer, "", 235, "2.7.0"), (printer, "joe", 235, "2.7.0"), (printer, "alice@example.com", 535, "5.7.8"),
            (two, "alice@example.com", 235, "2.7.0"), (two, "joe", 235, "2.7.0"),
            (two, "dora@example.com", 535, "5.7.8"),
            (common, "", 535, "5.7.8"), (common, "alice@example.com", 535, "5.7.8")):
        with shown(desk, certificate) as d:
            reply = d.command("AUTH EXTERNAL " + (b64(identity) if identity else "="))
            assert (reply.code, reply.status) == (code, status), (identity, reply)
    with shown(desk, desk.alice) as d:
        assert d.command("AUTH EXTERNAL").lines == ["334 "]
        assert d.command("").code == 235
        assert d.command("MAIL FROM:<bob@example.com>").code == 553
        d.expect(250, "MAIL FROM:<alice@example.com>")


def test_a_session_with_a_certificate_is_not_resumed(desk):
    """Otherwise a certificate would be good for as long as somebody keeps its ticket."""
    context = shows(desk.alice, maximum_version=ssl.TLSVersion.TLSv1_2)
    with Dialog(desk.ports["submissions"], tls=context) as d:
        d.hello()
        session = d.socket.session
        assert not session.has_ticket
    d = Dialog(desk.ports["submission"])
    with d:
        d.hello()
        d.expect(220, "STARTTLS")
        d.secure(context)
        assert not d.socket.session_reused


# ---- files ---------------------------------------------------------------------------------------------------------

def test_revoked_certificates_count_from_the_next_reload(tmp_path, authority):
    lists = tmp_path / "revoked.pem"

    def revoke(*certificates):
        config, register = authority._config(tmp_path / "crl")  # pylint: disable=protected-access
        register.write_text("".join(
            f"R\t391231235959Z\t200101000000Z\t{c.serial()}\tunknown\t/CN=x\n" for c in certificates))
        subprocess.run(["openssl", "ca", "-config", config, "-gencrl", "-cert", authority.root.pem, "-keyfile",
                        authority.root.key, "-crldays", "7", "-out", lists], check=True, capture_output=True)
    alice, bob = (authority.make(n, [f"email:{n}@example.com"]) for n in ("alice", "bob"))
    revoke(bob)
    server = Desk(tmp_path / "p1", authority, more=f'  client_revoked = "{lists}"\n', next_hop=free_port()).start()
    server.user("alice@example.com")

    def offered(certificate):
        with shown(server, certificate) as d:
            return "EXTERNAL" in d.extensions()["AUTH"]
    assert offered(alice) and not offered(bob)
    revoke(alice)
    server.signal(signal.SIGHUP)
    wait_for(lambda: not offered(alice), "the new list")
    # What cannot be read leaves in force what was there; the log and `check` tell it.
    lists.write_text("nothing of use")
    server.signal(signal.SIGHUP)
    wait_for(lambda: "trust-failed" in server.log(), "the new list")
    assert not offered(alice)
    revoke()
    server.signal(signal.SIGHUP)
    wait_for(lambda: offered(alice), "the new list")
    lists.unlink()
    done = server.cli_run("check")
    assert "client_authorities: " in done.stdout + done.stderr
    server.finish()
