"""OAUTHBEARER and XOAUTH2: mail programs log in with a token that an issuer signed, and with no other."""
import base64
import json
import re
import signal
import smtplib
import ssl
import time

import pytest

from certificates import openssl
from harness import PATIENCE, Peer, free_port, message, wait_for
from test_auth import SECURITY, Office, b64, port_of, run

ISSUER, AUDIENCE = "https://login.example.com", "mail.example.com"
REFUSED = {"OAUTHBEARER": {"status": "invalid_token", "scope": "smtp"},
           "XOAUTH2": {"status": "401", "schemes": "bearer", "scope": "smtp"}}


def url64(octets):
    return base64.urlsafe_b64encode(octets if isinstance(octets, bytes) else octets.encode()).decode().rstrip("=")


class Issuer:
    """Signs tokens with keys that openssl made: its own program does it, none of the server's code."""

    KINDS = {"RS256": ("RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
             "ES256": ("EC", "-pkeyopt", "ec_paramgen_curve:P-256"), "EdDSA": ("ED25519",)}

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.keys = {}
        for algorithm, kind in self.KINDS.items():
            self.keys[algorithm] = folder / f"{algorithm}.key"
            openssl("genpkey", "-algorithm", *kind, "-out", self.keys[algorithm])

    def _public(self, algorithm):
        der = self.folder / "public.der"
        openssl("pkey", "-in", self.keys[algorithm], "-pubout", "-outform", "DER", "-out", der)
        der = der.read_bytes()
        if algorithm == "EdDSA":
            return {"kty": "OKP", "crv": "Ed25519", "x": url64(der[-32:])}
        if algorithm == "ES256":
            return {"kty": "EC", "crv": "P-256", "x": url64(der[-64:-32]), "y": url64(der[-32:])}
        modulus = openssl("rsa", "-in", self.keys[algorithm], "-noout", "-modulus").strip().partition("=")[2]
        return {"kty": "RSA", "n": url64(bytes.fromhex(modulus)), "e": "AQAB"}

    def jwks(self, *algorithms):
        return json.dumps({"keys": [dict(self._public(a), kid=a, use="sig") for a in algorithms or self.KINDS]})

    def sign(self, octets, algorithm):
        text, signature = self.folder / "text", self.folder / "signature"
        text.write_bytes(octets)
        if algorithm == "EdDSA":
            openssl("pkeyutl", "-sign", "-rawin", "-in", text, "-inkey", self.keys[algorithm], "-out", signature)
            return signature.read_bytes()
        openssl("dgst", "-sha256", "-sign", self.keys[algorithm], "-out", signature, text)
        if algorithm == "RS256":
            return signature.read_bytes()
        numbers = re.findall(r"INTEGER\s*:([0-9A-F]+)", openssl("asn1parse", "-inform", "DER", "-in", signature))
        return b"".join(int(n, 16).to_bytes(32, "big") for n in numbers)

    def token(self, who="alice@example.com", algorithm="EdDSA", header=None, **claims):
        said = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "scope": "openid smtp", "email": who}
        said.update(claims)
        first = dict({"alg": algorithm, "kid": algorithm, "typ": "at+jwt"}, **(header or {}))
        text = url64(json.dumps(first)) + "." + url64(json.dumps({k: v for k, v in said.items() if v is not None}))
        return text + "." + url64(self.sign(text.encode(), algorithm))


def words(mechanism, token, who="alice@example.com"):
    head = f"user={who}" if mechanism == "XOAUTH2" else f"n,a={who}," if who else "n,,"
    return f"{head}\x01auth=Bearer {token}\x01\x01"


class Club(Office):
    """A server that takes tokens."""

    LISTENERS = {"submission": "submission = yes", "submissions": "submission = yes\n  tls = implicit",
                 "clear": "auth = offer\n  auth_in_clear = all"}

    def __init__(self, folder, keys, **kw):
        super().__init__(folder, **dict({"accounts": "  failures_per_network = 1000\n", "delay": "never"}, **kw))
        self.keys = folder / "keys.json"
        self.keys.write_text(keys)
        self.conf.write_text(self.conf.read_text() + f'oauth {{\n  keys = "{self.keys}"\n  issuer = "{ISSUER}"\n'
                             f'  audience = "{AUDIENCE}"\n  scope = "smtp"\n}}\n')

    def refused(self, mechanism, response, code=535, dummy=None):
        """Shows it, and returns what the server says before it refuses."""
        with self.call("submissions") as d:
            reply = d.command(f"AUTH {mechanism} {b64(response)}")
            said = None
            if reply.code == 334:
                said = json.loads(base64.b64decode(reply.text))
                reply = d.command(b64("\x01") if dummy is None else dummy)
            assert reply.code == code, reply
            return said


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    return Issuer(tmp_path_factory.mktemp("issuer"))


@pytest.fixture(scope="module")
def club(tmp_path_factory, issuer):
    peer = Peer()
    server = Club(tmp_path_factory.mktemp("club"), issuer.jwks(), next_hop=peer.port).start()
    server.peer = peer
    server.user("alice@example.com")
    server.user("bob@example.com", "--disabled")
    yield server
    server.finish()
    peer.stop()


# ---- mail programs -------------------------------------------------------------------------------------------------

def curl(server, security, mechanism, token, tmp):
    path = tmp / "message"
    path.write_bytes(message(sender="alice@example.com"))
    scheme = "smtps" if security == "tls" else "smtp"
    run(["curl", "-sS", "-k", "--ssl-reqd", f"{scheme}://127.0.0.1:{port_of(server, security)}/client.example.org",
         "--login-options", f"AUTH={mechanism}", "-u", "alice@example.com:", "--oauth2-bearer", token, "--mail-from",
         "alice@example.com", "--mail-rcpt", "carol@example.net", "-T", path])


def msmtp(server, security, mechanism, token, _tmp):
    run(["msmtp", "-C", "/dev/null", "--host=127.0.0.1", f"--port={port_of(server, security)}",
         "--from=alice@example.com", "--tls=on", f"--tls-starttls={'off' if security == 'tls' else 'on'}",
         "--tls-certcheck=off", f"--auth={mechanism.lower()}", "--user=alice@example.com",
         f"--passwordeval=echo '{token}'", "--", "carol@example.net"],
        message(sender="alice@example.com").replace(b"\r\n", b"\n"))


def s_nail(server, security, _mechanism, token, tmp):
    """What it calls oauthbearer is XOAUTH2."""
    scheme = "smtps" if security == "tls" else "smtp"
    run(["s-nail", "-:/", "-S", "v15-compat", "-S",
         f"mta={scheme}://alice%40example.com:{token}@127.0.0.1:{port_of(server, security)}", "-S",
         "smtp-auth=oauthbearer", "-S", "smtp-use-starttls" if security == "starttls" else "x=y", "-S",
         "tls-verify=ignore", "-S", "from=alice@example.com", "-S", "hostname=client.example.org", "-S", "sendwait",
         "-r", "alice@example.com", "-s", "test", "carol@example.net"], b"Hello.\n", {"HOME": str(tmp)})


def python_smtplib(server, security, mechanism, token, _tmp):
    port, context = port_of(server, security), ssl._create_unverified_context()  # pylint: disable=protected-access
    client = smtplib.SMTP_SSL("127.0.0.1", port, timeout=PATIENCE, context=context) if security == "tls" \
        else smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE)
    with client:
        if security == "starttls":
            client.starttls(context=context)
        client.ehlo()
        assert client.auth(mechanism, lambda challenge=None: words(mechanism, token) if not challenge else "")[0] == 235
        assert client.sendmail("alice@example.com", ["carol@example.net"], message(sender="alice@example.com")) == {}


CLIENTS = [(program, mechanism, algorithm, security) for program, mechanism, algorithm in (
    (curl, "OAUTHBEARER", "RS256"), (msmtp, "OAUTHBEARER", "ES256"), (msmtp, "XOAUTH2", "RS256"),
    (s_nail, "XOAUTH2", "EdDSA"), (python_smtplib, "OAUTHBEARER", "ES256"),
    (python_smtplib, "XOAUTH2", "RS256")) for security in SECURITY]


@pytest.mark.parametrize("program, mechanism, algorithm, security", CLIENTS,
                         ids=[f"{p.__name__}-{m}-{a}-{s}" for p, m, a, s in CLIENTS])
def test_mail_programs_log_in_with_a_token(club, issuer, tmp_path, program, mechanism, algorithm, security):
    seen, log = len(club.peer.messages), len(club.log())
    program(club, security, mechanism, issuer.token(algorithm=algorithm), tmp_path)
    club.peer.wait_messages(seen + 1)
    assert re.search(rf"authenticated .*login=alice@example.com .*mechanism={mechanism}\b", club.log()[log:]), \
        club.log()[log:]


def test_tokens_are_offered_under_tls_alone(club, issuer):
    with club.call() as d:
        assert d.extensions()["AUTH"][-2:] == ["OAUTHBEARER", "XOAUTH2"]
    with club.call("clear", secure=False) as d:
        assert not {"OAUTHBEARER", "XOAUTH2"} & set(d.extensions()["AUTH"])
        assert d.command("AUTH XOAUTH2 " + b64(words("XOAUTH2", issuer.token()))).code == 538


# ---- tokens --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_a_token_opens_its_account_and_no_other(club, issuer, mechanism):
    with club.call("submissions") as d:
        assert d.command(f"AUTH {mechanism}").lines == ["334 "]
        assert d.command(b64(words(mechanism, issuer.token(aud=["web", AUDIENCE], email_verified=True)))).code == 235
        assert d.command("MAIL FROM:<bob@example.com>").code == 553
    assert club.refused(mechanism, words(mechanism, issuer.token("bob@example.com"), "bob@example.com"), 525) is None
    for who, named in (("alice@example.com", "bob@example.com"), ("nobody@example.com", "nobody@example.com"),
                       ("alice@example.com", "alice")):
        assert club.refused(mechanism, words(mechanism, issuer.token(who), named)) == REFUSED[mechanism]
    said = club.refused(mechanism, words(mechanism, issuer.token(scope="imap")))
    assert said["status"] == ("403" if mechanism == "XOAUTH2" else "insufficient_scope")


def test_tokens_of_others_expired_and_forged_are_refused(club, issuer, tmp_path):
    stranger = Issuer(tmp_path / "stranger")
    good, now = issuer.token(), int(time.time())
    head, claims, signature = good.split(".")
    none = url64('{"alg":"none"}')
    hostile = {
        "alg none": f"{none}.{claims}.",
        "alg none with a signature": f"{none}.{claims}.{signature}",
        "alg confusion": issuer.token(header={"alg": "HS256"}),
        "the key of another alg": issuer.token(header={"kid": "RS256"}),
        "wrong kid": issuer.token(header={"kid": "unknown"}),
        "kid that is a path": issuer.token(header={"kid": "/dev/null"}),
        "keys of its own": stranger.token(header={"jku": "https://evil.example/", "jwk": {"kty": "oct", "k": "AAAA"}}),
        "crit": issuer.token(header={"crit": ["x"], "x": 1}),
        "typ": issuer.token(header={"typ": "logout+jwt"}),
        "stranger": stranger.token(),
        "stranger's RSA": stranger.token(algorithm="RS256"),
        "expired": issuer.token(exp=now - 120),
        "for ever": issuer.token(exp=None),
        "not yet": issuer.token(nbf=now + 300),
        "exp is no number": issuer.token(exp="9999999999"),
        "another issuer": issuer.token(iss="https://login.example.com/"),
        "another audience": issuer.token(aud="web"),
        "no audience": issuer.token(aud=None),
        "not verified": issuer.token(email_verified=False),
        "no account": issuer.token(email=None),
        "no text": issuer.token(email=["alice@example.com"]),
        "cut": good[:-1],
        "longer": good + "A",
        "bad base64url": f"{head}.{claims}.{signature[:-2]}+/",
        "padding": good + "==",
        "no signature": f"{head}.{claims}.",
        "two parts": f"{head}.{claims}",
        "encrypted": f"{head}.{claims}.{signature}.{head}.{head}",
        "opaque": "mF_9.B5f-4.1JqM",
    }
    for what, token in hostile.items():
        said = club.refused("OAUTHBEARER", words("OAUTHBEARER", token))
        assert said == REFUSED["OAUTHBEARER"], what
    twice = json.dumps({"iss": ISSUER, "aud": AUDIENCE, "exp": now + 600, "scope": "smtp", "email": "bob@example.com"})
    for payload in (twice[:-1] + ',"email":"alice@example.com"}', "[" * 4000, twice + "{}", '"alice@example.com"', ""):
        text = url64('{"alg":"EdDSA","kid":"EdDSA"}') + "." + url64(payload)
        token = f"{text}.{url64(issuer.sign(text.encode(), 'EdDSA'))}"
        assert club.refused("XOAUTH2", words("XOAUTH2", token)) == REFUSED["XOAUTH2"], payload[:100]
    assert club.refused("XOAUTH2", words("XOAUTH2", "A" * 8500)) == REFUSED["XOAUTH2"]
    # What is malformed is refused without a word about tokens.
    for response in ("", "\x01", good, f"n,,\x01auth={good}\x01\x01", f"p=tls-unique,,\x01auth=Bearer {good}\x01\x01",
                     f"n,,\x01auth=Bearer {good}\x01auth=Bearer {good}\x01\x01", f"n,,\x01auth=Bearer {good}\x01"):
        if response:
            assert club.refused("OAUTHBEARER", response) is None, response
    assert good not in club.log() and signature not in club.log()


def test_a_refusal_ends_whatever_the_client_says_to_it(club, issuer):
    bad, good = (words("OAUTHBEARER", token) for token in (issuer.token(aud="web"), issuer.token()))
    log = len(club.log())
    for dummy, code in ((b64("\x01"), 535), ("", 535), (b64(good), 535), ("*", 501), ("!", 501)):
        club.refused("OAUTHBEARER", bad, code, dummy)
    # Who does not wait for the end has failed as well.
    wait_for(lambda: club.log()[log:].count("it is for another audience") == 5, "five failures in the log")


# ---- keys ----------------------------------------------------------------------------------------------------------

def test_new_keys_come_into_force_with_a_reload_and_broken_ones_do_not(tmp_path, issuer):
    server = Club(tmp_path / "p1", "no keys", next_hop=free_port(), accounts="  failures_per_network = 3\n").start()
    server.user("alice@example.com")
    assert "token-keys-failed" in server.log()
    done = server.cli_run("check")
    assert "keys of section oauth: it is no JWK set" in done.stdout + done.stderr
    old, new = words("XOAUTH2", issuer.token(algorithm="RS256")), words("XOAUTH2", issuer.token(algorithm="ES256"))
    assert server.refused("XOAUTH2", old, 454) is None

    def works(response):
        with server.call("submissions") as d:
            return d.command("AUTH XOAUTH2 " + b64(response)).code == 235

    def reload(text, event):
        log = len(server.log())
        server.keys.write_text(text)
        server.signal(signal.SIGHUP)
        wait_for(lambda: f"event={event}" in server.log()[log:], event)
    reload(issuer.jwks("RS256"), "token-keys")
    assert works(old) and not works(new)
    reload('{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}', "token-keys-failed")
    assert works(old)
    reload(issuer.jwks("ES256"), "token-keys")
    assert works(new) and not works(old)
    # U4: bad tokens are counted, and then nothing is looked at any more.
    assert server.refused("XOAUTH2", old) is not None
    assert server.refused("XOAUTH2", new, 454) is None
    server.finish()
