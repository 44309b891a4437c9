"""What clients are given with TLS: a certificate of the kind that they can use, and what its issuer says of it; and
what testssl.sh, which tries out all that is known to be weak, says of all of it."""
import json
import re
import signal
import subprocess

import pytest

from certificates import EC, RSA, Authority, openssl
from harness import PATIENCE, Postrider, SANITIZED, free_port, give, wait_for


# Nobody asks the responder: what it says is in a file.
EXTENSIONS = ("extendedKeyUsage=serverAuth", "authorityInfoAccess=OCSP;URI:http://ocsp.example.com/")


class House(Postrider):
    """A server with an RSA and an EC certificate of one name, each with a response of OCSP beside it."""

    def __init__(self, folder):
        super().__init__(folder)
        self.authority = Authority(folder / "ca")
        self.kinds = {kind: self.authority.make("mx.example.com", ["DNS:mx.example.com"], key=key, owner=kind,
                                                days=90, extensions=EXTENSIONS)
                      for kind, key in (("EC", EC), ("RSA", RSA))}
        self.ca = self.authority.root
        for made in self.kinds.values(): # with its issuer, who signs the responses
            made.chain.write_text(made.pem.read_text() + self.ca.pem.read_text())
            give(made.key)
        self.ocsp = folder / "EC.ocsp"
        for kind in self.kinds:
            self.respond(kind)
        self.tls_port = free_port()
        self.configure(extra="".join(
            f'certificate "mx.example.com" {{\n chain = "{c.chain}"\n key = "{c.key}"\n'
            f' ocsp = "{folder}/{kind}.ocsp"\n}}\n' for kind, c in self.kinds.items()) + f"""
listen smtps {{
  address = "127.0.0.1"
  port = {self.tls_port}
  tls = implicit
}}
""")

    def respond(self, kind="EC", state="V", signer=None):
        """Writes what the issuer says of a certificate."""
        leaf, signer = self.kinds[kind], signer or self.ca
        revoked = "251101000000Z" if state == "R" else ""
        register = self.folder / "register"
        register.write_text(f"{state}\t351101000000Z\t{revoked}\t{leaf.serial()}\tunknown\t/CN=mx.example.com\n")
        openssl("ocsp", "-index", register, "-CA", self.ca.pem, "-rsigner", signer.pem, "-rkey", signer.key, "-issuer",
                self.ca.pem, "-cert", leaf.pem, "-respout", self.folder / f"{kind}.ocsp", "-ndays", 2, "-noverify")

    def renew(self):
        reloads = self.log().count("event=reloaded")
        self.signal(signal.SIGHUP)
        wait_for(lambda: self.log().count("event=reloaded") > reloads, "the new configuration")

    def look(self, *options):
        """What openssl says of a handshake that it did."""
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{self.tls_port}", "-CAfile",
                               str(self.ca.pem), "-verify_return_error", "-verify_hostname", "mx.example.com",
                               "-servername", "mx.example.com", "-status", *options], input="QUIT\r\n", text=True,
                              capture_output=True, timeout=PATIENCE, check=False)
        assert done.returncode == 0 and "Verify return code: 0" in done.stdout, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house"))
    yield made.start()
    made.finish()


# ---- one name, two kinds of keys -----------------------------------------------------------------------------------

@pytest.mark.parametrize("options, kind", [
    ((), "EC"), (("-tls1_2",), "EC"), (("-sigalgs", "RSA-PSS+SHA256"), "RSA"),
    (("-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"), "RSA")])
def test_a_client_gets_the_certificate_that_it_can_use(house, options, kind):
    text = house.look(*options)
    assert re.search(rf"Peer signature type: {'ECDSA' if kind == 'EC' else 'RSA'}", text), text
    assert "OCSP Response Status: successful" in text and "Cert Status: good" in text, text
    assert int(re.search(r"Serial Number: (\w+)", text).group(1), 16) == int(house.kinds[kind].serial(), 16)


def test_both_are_in_force_and_the_check_says_nothing(house):
    for kind in house.kinds:
        house.wait_log(f"event=certificate name=mx.example.com .* key={kind} ocsp=yes")
    assert "good\n" in house.cli("check")


# ---- stapling ------------------------------------------------------------------------------------------------------

def test_a_response_is_read_again_with_the_certificates(house):
    before = re.search(r"Produced At: (.*)", house.look()).group(1)
    # It tells the time in whole seconds.
    wait_for(lambda: house.respond() or re.search(
        r"Produced At: (.*)", openssl("ocsp", "-respin", house.ocsp, "-noverify", "-text")).group(1) != before,
        "a later response", every=0.3)
    house.renew()
    wait_for(lambda: re.search(r"Produced At: (.*)", house.look()).group(1) != before, "the new response")


@pytest.mark.parametrize("fault, said", [
    ("revoked", "the certificate is revoked"), ("signer", "not signed by the certificate's issuer"),
    ("garbage", "no response of OCSP in DER"), ("missing", "No such file")])
def test_a_bad_response_leaves_the_last_good_one_stapled(house, fault, said):
    if fault == "revoked":
        house.respond(state="R")
    elif fault == "signer":
        other = Authority(house.folder / "other").root
        house.respond(signer=other)
    elif fault == "garbage":
        house.ocsp.write_bytes(b"\x30\x03abc")
    else:
        house.ocsp.unlink()
    house.renew()
    house.wait_log(f"event=staple-failed name=mx.example.com reason=.*{said}")
    assert f"warning: certificate \"mx.example.com\": {house.ocsp}: " in house.cli_run(
        "check").stderr
    assert "Cert Status: good" in house.look()
    house.respond()
    house.renew()


# ---- our own -------------------------------------------------------------------------------------------------------

def test_a_certificate_of_ours_that_ends_soon_is_made_anew_at_the_start(make_server):
    server = make_server()
    folder = server.data / "tls"
    folder.mkdir(parents=True, mode=0o700)
    key, chain = folder / "self-signed.key", folder / "self-signed.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out",
            chain, "-days", 10, "-subj", "/CN=mx.example.com", "-addext", "subjectAltName=DNS:mx.example.com")
    key.chmod(0o600)
    before = chain.read_text(), key.read_text()
    server.start()
    server.wait_log("event=certificate name=mx.example.com expires=36[45]. self-signed=yes")
    assert chain.read_text() != before[0] and key.read_text() == before[1]
    with server.dialog() as d:
        d.hello()
        d.starttls()


# ---- testssl.sh ----------------------------------------------------------------------------------------------------

# What it says of itself: it would like another openssl, and cannot resume sessions with this one.
OF_ITSELF = {"engine_problem", "sessionresumption_ticket", "sessionresumption_ID"}


def look_with_testssl(house, tmp_path):
    """It takes half a minute, most of which its shell needs for itself: so it is run with one build alone, and the port
    for implicit TLS, where the same code does the handshakes, is asked for protocols and ciphers only. Simulated
    clients, lists of ciphers one by one, and what belongs to HTTP are left out."""
    runs = []
    for port, options in ((house.port, ["--starttls", "smtp", "-p", "-s", "-S", "-U"]), (house.tls_port, ["-p", "-s"])):
        out = tmp_path / f"{port}.json"
        runs.append((out, subprocess.Popen(
            ["testssl", *options, "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--openssl",
             "/usr/bin/openssl", "--add-ca", str(house.ca.pem), "--ip", "127.0.0.1", "--jsonfile", str(out),
             f"mx.example.com:{port}"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True)))
    found = []
    for out, process in runs:
        text, _ = process.communicate(timeout=PATIENCE * 5)
        rows = {row["id"]: row for row in json.loads(out.read_text())}
        for name in ("SSLv2", "SSLv3", "TLS1", "TLS1_1"):
            assert rows[name]["finding"].startswith("not offered"), text
        for name in ("TLS1_2", "TLS1_3", "cipherlist_STRONG"):
            assert rows[name]["severity"] == "OK" and rows[name]["finding"].startswith("offered"), text
        for name in ("NULL", "aNULL", "EXPORT", "LOW", "3DES_IDEA", "AVERAGE"):
            assert rows[f"cipherlist_{name}"]["finding"] == "not offered", text
        found += [(row["id"], row["severity"], row["finding"]) for row in rows.values()
                  if row["id"] not in OF_ITSELF and (
                      row["severity"] not in ("OK", "INFO", "DEBUG") or
                      "vulnerable" in row["finding"].replace("not vulnerable", ""))]
    assert not found, "\n".join(map(str, found))


# Which TLS there is depends on settings of OpenSSL and not on how we are built.
if not SANITIZED:
    @pytest.mark.timeout(400)
    def test_testssl_finds_nothing_weak(house, tmp_path):
        look_with_testssl(house, tmp_path)
