"""TLS out: STARTTLS and TLS from the first octet with servers of many kinds, good certificates and bad ones, handshakes
that break. Rows C1 to C7 of the attacks, from the client's side."""
import contextlib
import os
import re
import socket
import ssl
import threading

import pytest

from certificates import CA, RSA, WEAK, Authority
from harness import RawPeer, message, wait_for
from relay import NAME, Relay
from servers import Exim, Postfix


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A good certificate of an authority that nobody knows."""
    return Authority(tmp_path_factory.mktemp("foreign"), "Nobody").make("peer", [f"DNS:{NAME}"])


@pytest.fixture(scope="module")
def relay(tmp_path_factory, authority):
    made = Relay(tmp_path_factory.mktemp("relay"))
    # The authority that the system believes.
    made.write().start(env={"SSL_CERT_FILE": str(authority.root.pem), "SSL_CERT_DIR": "/nonexistent"})
    yield made
    made.finish()


# ---- TLS that is had -----------------------------------------------------------------------------------------------

def test_what_is_offered_is_used_without_being_asked_for(relay, make_peer, foreign):
    """Opportunistic is the default: encrypted, whoever it is."""
    peer = make_peer(tls=foreign.context())
    number = relay.send(relay.add(peer.port))
    peer.wait_messages()
    assert peer.versions == ["TLSv1.3"]
    # RFC 3207 4.2: nothing of what was said before TLS, and nothing before EHLO.
    assert peer.commands[:3] == ["EHLO mx.example.com", "STARTTLS", "EHLO mx.example.com"]
    assert peer.commands.count("STARTTLS") == 1
    relay.wait_log(rf"event=tls-out remote=\[127\.0\.0\.1\]:{peer.port} version=TLSv1\.3 cipher=TLS_AES_256_GCM_SHA384 "
                   r"group=x25519 resumed=no verified=no reason=\"unable to get local issuer certificate\" "
                   r"name=127\.0\.0\.1 certificate=mx\.peer\.example")
    relay.wait_log(rf"event=delivered id={number} .* secured=\"TLSv1\.3 TLS_AES_256_GCM_SHA384, not verified: unable")
    story = relay.trace(number)
    assert "the session: TLSv1.3 TLS_AES_256_GCM_SHA384, not verified: unable to get local issuer certificate" in story
    last = relay.json("trace", number)["recipients"][0]["last"]
    assert last["secured"].startswith("TLSv1.3 TLS_AES_256_GCM_SHA384, not verified")


def test_servers_that_are_who_they_should_be(relay, make_peer, authority, good):
    """By STARTTLS and from the first octet, with both versions of TLS; by the authorities of a file or the system's."""
    cases = []
    for version in ("TLSv1.2", "TLSv1.3"):
        for implicit in (False, True):
            context = good.context(maximum_version=getattr(ssl.TLSVersion, version.replace(".", "_")))
            names = []
            context.sni_callback = lambda _socket, name, _context, names=names: names.append(name)
            peer = make_peer(tls=context, implicit=implicit)
            keys = {"tls_first": "yes"} if implicit else {}
            if version == "TLSv1.2":
                keys["tls_ca"] = authority.root.pem
            cases.append((peer, relay.add(peer.port, tls="verify", tls_name=NAME, **keys), version, implicit, names))
    found = relay.tried(relay.send(*[domain for _, domain, *_ in cases]))
    for peer, domain, version, implicit, names in cases:
        assert peer.versions == [version]
        assert names == [NAME]
        assert ("STARTTLS" in peer.commands) != implicit
        assert re.fullmatch(rf"{re.escape(version)} \w[\w-]+, verified as {re.escape(NAME)}",
                            found[domain]["last"]["secured"]), found[domain]


def test_a_session_is_resumed(relay, make_peer, good):
    peer = make_peer(tls=good.context())
    domain = relay.add(peer.port, tls="verify", tls_name=NAME)
    relay.reload()
    for count in (1, 2, 3):
        relay.submit(to=f"a@{domain}")
        peer.wait_messages(count)
        wait_for(lambda: peer.commands.count("QUIT") == count, "the end of the session")
    assert peer.versions == ["TLSv1.3"] * 3
    assert [re.findall(r"(?:resumed|verified)=(\w+)", line) for line in relay.lines(peer.port, "tls-out")] == \
        [["no", "yes"], ["yes", "yes"], ["yes", "yes"]]


def test_large_messages_and_many_go_through(relay, make_peer, good):
    body = b"".join(b"%08d of a long message, line by line\r\n" % n for n in range(100000))
    peer = make_peer(tls=good.context())
    domain = relay.add(peer.port, tls="verify", tls_name=NAME)
    relay.send(domain, raw=message("long", body=body))
    for _ in range(20):
        relay.submit(to=f"a@{domain}")
    peer.wait_messages(21)
    assert set(peer.versions) == {"TLSv1.3"}
    assert max(peer.messages, key=lambda m: len(m[2]))[2].endswith(body)


def test_C3_what_was_offered_in_the_clear_does_not_count(relay, make_peer, good):
    """PIPELINING, CHUNKING and SIZE were anybody's words."""
    class Liar:
        said = 0

        def __call__(self, _argument):
            self.said += 1
            offers = "250-PIPELINING\r\n250-CHUNKING\r\n250-SIZE 1\r\n250-STARTTLS\r\n" if self.said == 1 else ""
            return f"250-p\r\n{offers}250 ENHANCEDSTATUSCODES"
    peer = make_peer(tls=good.context(), EHLO=Liar())
    relay.send(relay.add(peer.port))
    peer.wait_messages()
    assert "DATA" in peer.commands and peer.versions == ["TLSv1.3"]
    assert not any(c.startswith("BDAT") or "SIZE=" in c for c in peer.commands)


# ---- servers of others ---------------------------------------------------------------------------------------------

BODY = b"".join(b"%06d line of a message\r\n" % n for n in range(20000)) + b".\r\n..\r\nend\r\n"


def test_exim_takes_mail_by_tls(relay, good):
    """With GnuTLS, by STARTTLS and from the first octet."""
    exims = [Exim(good), Exim(good, implicit=True)]
    try:
        domains = [relay.add(exim.port, tls="verify", tls_name=NAME, tls_first=first)
                   for exim, first in zip(exims, ("no", "yes"))]
        for text in (b"one\r\n", BODY, b"three\r\n"):
            found = relay.tried(relay.send(*domains, raw=message("to Exim", text)))
            for domain in domains:
                assert found[domain]["state"] == "delivered", found
                assert found[domain]["last"]["secured"].endswith(f", verified as {NAME}"), found
        for exim in exims:
            assert exim.log().count(" P=esmtps X=TLS1.3:") == 3, exim.log()
            assert sorted(exim.bodies()) == sorted(t.replace(b"\r\n", b"\n") for t in (b"one\r\n", BODY, b"three\r\n"))
    finally:
        for exim in exims:
            exim.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="not here: Postfix runs only as root")
def test_postfix_takes_mail_by_tls(relay, good):
    """It wants TLS (smtpd_tls_security_level = encrypt)."""
    postfix = Postfix(good)
    try:
        domains = [relay.add(postfix.port, tls="opportunistic"),
                   relay.add(postfix.port_first, tls="verify", tls_name=NAME, tls_first="yes"),
                   relay.add(postfix.port, tls="off")]
        found = relay.tried(relay.send(*domains, raw=message("to Postfix", BODY)))
        assert [found[d]["state"] for d in domains[:2]] == ["delivered"] * 2, found
        assert "Must issue a STARTTLS command first" in found[domains[2]]["last"]["text"], found
        assert postfix.log().count("Anonymous TLS connection established from localhost[127.0.0.1]: TLSv1.3") == 2
        assert [m.endswith(BODY.replace(b"\r\n", b"\n")) for m in postfix.messages()] == [True] * 2
    finally:
        postfix.stop()


# ---- certificates that are no good ---------------------------------------------------------------------------------

def der_name(text):
    """subjectAltName with one DNS name of any octets."""
    octets = bytes([0x82, len(text)]) + text
    octets = bytes([0x30, len(octets)]) + octets
    return "subjectAltName=DER:" + ":".join(f"{b:02x}" for b in octets)


def bad_certificates(a):
    """What is wrong, and the words for it: (name, certificate, pattern, other keys of the route)."""
    other = Authority(a.folder / "other", "Root") # of the same name as ours
    right = [f"DNS:{NAME}"]
    rsa = a.between("RSA", key=RSA)
    rsa_weak = a.between("weak", key=WEAK)
    revoked, stale, unlisted = (a.make("x", right) for _ in range(3))
    below = a.between("revoked")
    permitted = a.between("names", [*CA, "nameConstraints=critical,permitted;DNS:good.example"])
    excluded = a.between("not these", [*CA, "nameConstraints=critical,excluded;DNS:peer.example"])
    short = a.between("short", ["basicConstraints=critical,CA:TRUE,pathlen:0", CA[1]])
    wrong_name = "for another name than"
    return [
        ("expired", a.make("x", right, since=-10, days=5), "expired", ""),
        ("not yet valid", a.make("x", right, since=5), "not yet valid", ""),
        ("another name", a.make("x", ["DNS:mx.other.example"]), wrong_name, ""),
        ("the parent's name", a.make("x", ["DNS:peer.example"]), wrong_name, ""),
        ("a name below", a.make("x", [f"DNS:a.{NAME}"]), wrong_name, ""),
        ("a name that ours is a part of", a.make("x", [f"DNS:{NAME}.evil.example"]), wrong_name, ""),
        ("a wildcard for one more label", a.make("x", ["DNS:*.example"]), wrong_name, ""),
        ("a wildcard below our name", a.make("x", [f"DNS:*.{NAME}"]), wrong_name, ""),
        ("a wildcard for a whole top level", a.make("x", ["DNS:*.example"]), wrong_name, "peer.example"),
        ("a wildcard for everything", a.make("x", ["DNS:*"]), wrong_name, ""),
        ("half a wildcard", a.make("x", ["DNS:m*.peer.example"]), wrong_name, ""),
        ("a wildcard in the middle", a.make("x", ["DNS:mx.*.example"]), wrong_name, ""),
        ("two wildcards", a.make("x", ["DNS:*.*.example"]), wrong_name, ""),
        ("a name with a dot in front", a.make("x", ["DNS:.peer.example"]), wrong_name, ""),
        ("the common name alone", a.make(NAME), wrong_name, ""),
        ("the common name beside others", a.make(NAME, ["DNS:mx.other.example"]), wrong_name, ""),
        ("a mail address", a.make("x", [f"email:a@{NAME}"]), wrong_name, ""),
        ("an URI", a.make("x", [f"URI:smtp://{NAME}"]), wrong_name, ""),
        ("an address for a name", a.make("x", ["IP:127.0.0.1"]), wrong_name, ""),
        ("a name for an address", a.make("x", ["DNS:127.0.0.1"]), wrong_name, "127.0.0.1"),
        ("another address", a.make("x", ["IP:127.0.0.2"]), wrong_name, "127.0.0.1"),
        ("no name", a.make("x", extensions=["subjectAltName=DER:30:00"]), wrong_name, ""),
        ("a NUL in the name", a.make("x", extensions=[der_name(NAME.encode() + b"\0.evil.example")]), wrong_name, ""),
        ("a NUL behind the name", a.make("x", extensions=[der_name(NAME.encode() + b"\0")]), wrong_name, ""),
        ("signed by itself", a.make("x", right, issuer=None), "self-signed certificate", ""),
        ("an authority that nobody knows", Authority(a.folder / "unknown", "Nobody").make("x", right),
         "unable to get local issuer", ""),
        ("an authority that calls itself as ours does", other.make("x", right), "signature failure|local issuer", ""),
        ("a chain that is not whole", a.make("x", right, issuer=a.between("missing"), incomplete=True),
         "unable to get local issuer", ""),
        ("a signature that is not right", a.make("x", right, broken=True), "signature failure", ""),
        ("an authority that has expired", a.make("x", right, issuer=a.between("old", since=-10, days=5)), "expired",
         ""),
        ("an authority without its flag", a.make("x", right, issuer=a.between(
            "no flag", ["basicConstraints=critical,CA:FALSE", CA[1]])), "invalid CA certificate", ""),
        ("an authority without constraints", a.make("x", right, issuer=a.between("no constraints", [CA[1]])),
         "is no authority|invalid CA", ""),
        ("a server's certificate as authority", a.make("x", right, issuer=a.make("y", ["DNS:y.example"])),
         "invalid CA certificate", ""),
        ("an authority that may not sign", a.make("x", right, issuer=a.between(
            "no signing", [CA[0], "keyUsage=critical,digitalSignature"])), "invalid CA|key usage", ""),
        ("a path that is too long", a.make("x", right, issuer=a.between("third", issuer=short)), "path length", ""),
        ("for clients", a.make("x", right, ["extendedKeyUsage=clientAuth"]), "purpose", ""),
        ("for code", a.make("x", right, ["extendedKeyUsage=codeSigning"]), "purpose", ""),
        ("an authority for clients", a.make("x", right, issuer=a.between(
            "clients", [*CA, "extendedKeyUsage=clientAuth"])), "purpose|invalid CA", ""),
        ("a key for lists alone", a.make("x", right, ["keyUsage=critical,cRLSign"]), "purpose", ""),
        ("names that its authority may not give", a.make("x", right, issuer=permitted), "permitted subtree", ""),
        ("names that its authority must not give", a.make("x", right, issuer=excluded), "excluded subtree", ""),
        ("a weak key", a.make("x", right, key=WEAK), "key too (small|weak)", ""),
        ("a weak key of its authority", a.make("x", right, issuer=rsa_weak), "key too (small|weak)", ""),
        ("SHA-1", a.make("x", right, issuer=rsa, digest="sha1"), "digest algorithm too weak|md too weak", ""),
        ("MD5", a.make("x", right, issuer=rsa, digest="md5"), "digest algorithm too weak|md too weak", ""),
        ("SHA-1 above", a.make("x", right, issuer=a.between("sha1", issuer=rsa, digest="sha1")), "too weak", ""),
        ("something critical that nobody knows", a.make("x", right, ["1.2.3.4=critical,ASN1:UTF8String:x"]),
         "unhandled critical extension", ""),
        ("revoked", revoked, "revoked", a.revocations(revoked)),
        ("an authority that is revoked", a.make("x", right, issuer=below), "revoked",
         a.revocations(below, issuer=a.root)),
        ("a list of the revoked that is old", stale, "CRL has expired", a.revocations(since=-10, days=5)),
        ("no list of its authority", unlisted, "unable to get certificate CRL",
         other.revocations(issuer=other.make("Other", extensions=CA, issuer=None))),
    ]


def crl_of_both(a, crl, issuer):
    """RFC 5280 6.3: every authority of a chain has its own list."""
    both = crl.with_suffix(".both")
    both.write_text(crl.read_text() + a.revocations(issuer=issuer).read_text())
    return both


@pytest.mark.timeout(300)
def test_C7_certificates_that_are_no_good(relay, make_peer, authority):
    """Each is refused under verify, and passed and told of under opportunistic."""
    cases = []
    for what, certificate, pattern, more in bad_certificates(authority):
        peer = make_peer(tls=certificate.context())
        keys = {"tls_name": more if isinstance(more, str) and more else NAME, "tls_ca": authority.root.pem}
        if not isinstance(more, str):
            if certificate.issuer is not authority.root:
                more = crl_of_both(authority, more, certificate.issuer)
            keys["tls_crl"] = more
        cases.append((what, peer, pattern, relay.add(peer.port, tls="verify", **keys),
                      relay.add(peer.port, tls="opportunistic", **keys)))
    assert len(cases) >= 40
    relay.reload()
    numbers = [relay.submit(to=[f"a@{case[i]}" for case in cases]) for i in (3, 4)]
    refused, passed = (relay.tried(number) for number in numbers)
    for what, peer, pattern, verify, opportunistic in cases:
        last = refused[verify]["last"]
        assert last["verdict"] == "deferred" and last["stage"] == "TLS" and last["status"] == "4.7.5", (what, last)
        assert re.search(f"the server's certificate could not be verified: .*({pattern})", last["text"]), (what, last)
        last = passed[opportunistic]["last"]
        assert last["verdict"] == "delivered", (what, last)
        assert re.search(rf"^TLSv1\.3 \w+, not verified: .*({pattern})", last["secured"]), (what, last)
        assert [m[1] for m in peer.messages] == [[f"TO:<a@{opportunistic}>"]] and peer.versions == ["TLSv1.3"], what
        found = relay.lines(peer.port, "tls-out")
        assert len(found) == 2, (what, found)
        assert all("verified=no" in line and re.search(f"reason=.*({pattern})", line) for line in found), (what, found)
        assert ["status=4.7.5" in line for line in relay.lines(peer.port, "tls-out-failed")] == [True], what


def test_C7_certificates_that_are_good_all_the_same(relay, make_peer, authority):
    """What the bad ones are beside."""
    a, right = authority, [f"DNS:{NAME}"]
    constrained = a.between("names", [*CA, "nameConstraints=critical,permitted;DNS:peer.example"])
    first = a.between("first", ["basicConstraints=critical,CA:TRUE,pathlen:1", CA[1]])
    revoked = a.make("x", right)
    itself = a.make("x", right, issuer=None)
    cases = [
        (a.make("x", ["DNS:*.peer.example"]), {}),
        (a.make("", [f"DNS:{NAME.upper()}"]), {}),
        (a.make("x", ["DNS:one.example", f"DNS:{NAME}", "IP:127.0.0.9"]), {}),
        (a.make("x", right, issuer=a.between("between")), {}),
        (a.make("x", right, issuer=a.between("second", issuer=first)), {}),
        (a.make("x", right, issuer=constrained), {}),
        (a.make("x", right, ["extendedKeyUsage=serverAuth"]), {}),
        (a.make("x", right, key=RSA), {}),
        (a.make("x", right), {"tls_crl": a.revocations(revoked)}),
        # A server's own certificate may be what is trusted.
        (itself, {"tls_ca": itself.pem}),
        # The name of the route's host, which is an address; and one in Unicode.
        (a.make("", ["IP:127.0.0.1"]), {"tls_name": "none"}),
        (a.make("", ["DNS:mx.xn--bcher-kva.example"]), {"tls_name": "MX.B\u00dcCHER.example"}),
    ]
    peers, domains = [], []
    for certificate, keys in cases:
        peers.append(make_peer(tls=certificate.context()))
        domains.append(relay.add(peers[-1].port, tls="verify", **{"tls_ca": a.root.pem, "tls_name": NAME, **keys}))
    found = relay.tried(relay.send(*domains))
    assert [found[d]["last"]["verdict"] for d in domains] == ["delivered"] * len(cases), found
    assert all(peer.versions == ["TLSv1.3"] for peer in peers)


# ---- TLS that cannot be had ----------------------------------------------------------------------------------------

def broken_peer(how):
    """A script for RawPeer: it offers TLS and breaks it in one of several ways; without TLS it takes mail."""
    def script(c, _number):
        c.send("220 peer ESMTP\r\n")
        while True:
            line = c.line()
            verb = line.split()[0].upper()
            if verb == "EHLO":
                c.send("250-peer\r\n250 STARTTLS\r\n")
            elif verb == "STARTTLS":
                how(c)
                return
            elif verb == "DATA":
                c.send("354 go\r\n")
                c.data()
                c.send("250 taken\r\n")
            else:
                c.send("221 bye\r\n" if verb == "QUIT" else "250 ok\r\n")
                if verb == "QUIT":
                    return
    return script


def reset(c):
    c.send("220 go\r\n")
    c.socket.recv(5)
    c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def alert(c):
    c.send("220 go\r\n")
    c.socket.recv(65536)
    c.send(b"\x15\x03\x03\x00\x02\x02\x28")
    c.wait_close()


def silence(c):
    c.send("220 go\r\n")
    c.wait_close()


BREAKS = {
    "hangs up": lambda c: c.send("220 go\r\n"),
    "hangs up before its reply": lambda c: None,
    "resets": reset,
    "alert": alert,
    "silent": silence,
    "speaks on in the clear": lambda c: (c.send("220 go\r\n"), c.socket.recv(65536), c.send("250 what?\r\n"),
                                         c.wait_close()),
    "speaks HTTP": lambda c: (c.send("220 go\r\n"), c.socket.recv(65536), c.send("HTTP/1.1 400 Bad Request\r\n\r\n"),
                              c.wait_close()),
    "half a record": lambda c: (c.send("220 go\r\n"), c.socket.recv(65536), c.send(b"\x16\x03\x03\x01"),
                                c.wait_close()),
}


def test_a_broken_handshake_leaves_only_an_opportunistic_route_in_the_clear(relay, make_raw_peer):
    """On a new connection, and it is told. Where TLS is required, mail waits."""
    cases = {}
    for what, how in BREAKS.items():
        for tls in ("opportunistic", "required", "verify"):
            peer = make_raw_peer(broken_peer(how))
            cases[relay.add(peer.port, tls=tls)] = what, tls, peer
    relay.tls_timeout = "1s" # some of them wait for it; whoever is cut off by it has broken down, too
    try:
        found = relay.tried(relay.send(*cases))
    finally:
        relay.tls_timeout = "1m"
    for domain, (what, tls, peer) in cases.items():
        r = found[domain]
        failed = relay.lines(peer.port, "tls-out-failed")
        assert r["attempts"] == 1 and len(failed) == 1, (what, r, failed)
        if tls == "opportunistic":
            assert r["state"] == "delivered" and r["last"]["secured"].startswith("in the clear: "), (what, r)
            assert 'then="in the clear"' in failed[0], (what, failed)
            assert peer.connections == 2, what
            continue
        before_reply = "reply to STARTTLS" in r["last"]["text"]
        assert r["last"]["verdict"] == "deferred" and r["last"]["stage"] == "TLS", (what, r)
        assert r["last"]["status"] == ("4.4.2" if before_reply else "4.7.5"), (what, r)
        assert before_reply or r["last"]["text"].startswith("the handshake of TLS failed: "), (what, r)
        assert 'then="in the clear"' not in failed[0], (what, failed)
        assert peer.connections == 1, what


def test_C4_without_an_offer_mail_waits_where_tls_is_required(relay, make_peer):
    """Nothing of it leaves; and the words say why."""
    peers = [make_peer(),
             make_peer(STARTTLS="454 4.7.0 TLS not available due to temporary reason", extensions=("STARTTLS",)),
             make_peer(STARTTLS="502 5.5.1 not here", extensions=("STARTTLS",)),
             make_peer(EHLO="502 5.5.1 what?")]
    strict = [relay.add(peer.port, tls=tls) for peer in peers for tls in ("required", "verify")]
    lenient = [relay.add(peer.port, tls="opportunistic") for peer in peers]
    number = relay.send(*strict)
    for r in relay.tried(number).values():
        assert r["last"]["verdict"] == "deferred" and r["last"]["status"] == "4.7.10" and r["last"]["stage"] == "TLS", r
        assert "mail may only go there encrypted" in r["last"]["text"], r
    assert not any(c.startswith("MAIL") for peer in peers for c in peer.commands)
    assert all(peer.commands[-1] == "QUIT" for peer in peers)
    listed = relay.cli("queue", "show", number)
    assert "failed at TLS" in listed
    assert "the server refused STARTTLS, and mail may only go there encrypted: 454" in listed
    # In the clear, in the same session, where that will do.
    found = relay.tried(relay.send(*lenient))
    assert all(r["state"] == "delivered" for r in found.values())
    assert found[lenient[1]]["last"]["secured"] == "in the clear: the server refused STARTTLS"


def test_C2_octets_behind_the_220_are_refused(relay, make_raw_peer):
    """Somebody who sits between puts replies in; nothing is taken from them, and nothing is sent."""
    seen = []

    def script(c, _number):
        c.send("220 peer ESMTP\r\n")
        seen.append(c.line())
        c.send("250-peer\r\n250 STARTTLS\r\n")
        seen.append(c.line())
        c.send("220 go\r\n250 fake\r\n250 fake\r\n250 fake\r\n")
        with contextlib.suppress(EOFError):
            while True:
                seen.append(c.line())
    peer = make_raw_peer(script)
    for r in relay.tried(relay.send(relay.add(peer.port))).values():
        assert r["last"]["verdict"] == "deferred" and r["last"]["status"] == "4.7.0", r
        assert "octets in the clear came behind the reply to STARTTLS" in r["last"]["text"], r
    assert seen == ["EHLO mx.example.com", "STARTTLS"]


class Cutter:
    """A proxy that lets so many octets of the server through on each connection, and then cuts it."""

    def __init__(self, port):
        self.port = port
        self.limit = 0

    def __call__(self, c, _number):
        upstream = socket.create_connection(("127.0.0.1", self.port))
        ahead = threading.Thread(target=self._pump, args=(c.socket, upstream), daemon=True)
        ahead.start()
        left = self.limit
        while left > 0 and (octets := upstream.recv(min(left, 65536))):
            c.socket.sendall(octets)
            left -= len(octets)
        for s in (c.socket, upstream):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
        ahead.join()
        upstream.close()

    @staticmethod
    def _pump(source, target):
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                target.sendall(octets)


def test_a_connection_may_be_cut_at_any_octet_of_a_handshake(relay, make_peer, good):
    """Under `required`, mail waits and goes through when it can; none of it is seen in the clear."""
    peer = make_peer(tls=good.context())
    cutters, domains = [], []
    for limit in [*range(0, 200, 40), *range(200, 1600, 140)]:
        cutters.append(Cutter(peer.port))
        cutters[-1].limit = limit
        cutters[-1].peer = RawPeer(cutters[-1])
        domains.append(relay.add(cutters[-1].peer.port, tls="required"))
    number = relay.send(*domains)
    assert all(r["last"]["verdict"] == "deferred" for r in relay.tried(number).values())
    assert not peer.messages
    for cutter in cutters:
        cutter.limit = 1 << 30

    def is_over():
        relay.cli_run("queue", "retry", number) # a host that failed twice is left alone for half a minute
        return all(r["state"] == "delivered" for r in relay.json("trace", number)["recipients"])
    wait_for(is_over, lambda: f"delivery to each:\n{relay.trace(number)}", every=0.5)
    assert set(peer.versions) == {"TLSv1.3"}
    for cutter in cutters:
        cutter.peer.stop()


def test_under_verify_the_next_host_is_tried(relay, make_peer, foreign, good):
    bad, plain, right = make_peer(tls=foreign.context()), make_peer(), make_peer(tls=good.context())
    relay.send(relay.add(bad.port, plain.port, right.port, tls="verify", tls_name=NAME))
    right.wait_messages()
    assert not bad.messages and not plain.messages
    assert bad.commands[-1] == "QUIT" and plain.commands[-1] == "QUIT"


def test_tls_is_not_used_where_it_is_switched_off(relay, make_peer, good):
    peer = make_peer(tls=good.context())
    relay.send(relay.add(peer.port, tls="off"))
    peer.wait_messages()
    assert peer.versions == [None] and "STARTTLS" not in peer.commands


def test_implicit_tls_never_falls_back(relay, make_raw_peer):
    """What listens there speaks TLS or nothing: there is no clear to fall back to."""
    heard = []

    def script(c, _number):
        heard.append(c.socket.recv(1))
        c.send("220 plain peer ESMTP\r\n")
        c.wait_close()
    peer = make_raw_peer(script)
    for r in relay.tried(relay.send(relay.add(peer.port, tls_first="yes"))).values():
        assert r["last"]["verdict"] == "deferred" and r["last"]["status"] == "4.7.5", r
    assert heard == [b"\x16"]


# ---- files ---------------------------------------------------------------------------------------------------------

def test_authorities_are_read_again_on_sighup(relay, make_peer, foreign, tmp_path):
    """And then, not when they are first needed."""
    peer = make_peer(tls=foreign.context())
    trusted = tmp_path / "trusted.pem"
    number = relay.send(relay.add(peer.port, tls="verify", tls_name=NAME, tls_ca=trusted))
    said = relay.cli_run("check")
    assert said.returncode == 0 and "the authorities cannot be read: No such file or directory" in said.stderr
    for r in relay.tried(number).values():
        assert r["last"]["status"] == "4.7.5", r
        assert "the authorities cannot be read: No such file or directory (" in r["last"]["text"], r
    relay.wait_log(r"event=trust-failed reason=\"the authorities cannot be read: ")
    trusted.write_text(foreign.issuer.pem.read_text())
    relay.reload()
    trusted.unlink()
    relay.cli("queue", "retry", number)
    peer.wait_messages()
    assert peer.versions == ["TLSv1.3"]


def test_tls_first_and_off_contradict_each_other(relay):
    relay.add(465)
    relay.write()
    assert "tls_first = auto" in relay.cli("check", "--dump")
    before = relay.routes
    relay.add(465, tls="off", tls_first="yes")
    relay.write()
    relay.routes = before
    assert "tls is off, so that it cannot come first" in relay.cli_run("check").stderr
    relay.write()
