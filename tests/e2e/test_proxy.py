"""The PROXY protocol: a listed proxy says who the client is, nobody else does (B8). Limits and rights are the client's.

What headers there are, and how they can be wrong, is tested octet by octet in tests/unit/net/test_proxy_header.c.
"""
import ipaddress
import socket
import ssl
import struct

import pytest

from fronts import Haproxy, Nginx
from harness import Closed, Dialog, PATIENCE, message, route, tls_context, wait_for
from test_conformance import House

PROXY = 'proxy = {"127.0.0.1/32"}'
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LISTENERS = {
    "plain": "",
    "patient": "refuse_early = no",
    "proxied": PROXY,
    "hasty": PROXY + '\n  proxy_timeout = "3s"',
    "early": PROXY + "\n  refuse_early = no",
    "members": PROXY + '\n  clients = {"192.0.2.0/24"}',
    "secure": PROXY + "\n  tls = implicit",
    "four": PROXY + "\n  connections_per_minute = 4",
    "four24": PROXY + "\n  connections_per_minute = 4\n  network_ipv4 = 24",
    "four48": PROXY + "\n  connections_per_minute = 4\n  network_ipv6 = 48",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    made = House(tmp_path_factory.mktemp("house"), listeners=LISTENERS, top="receivers = 3", rest=route(9))
    made.configure(text=made.conf.read_text().replace('{"127.0.0.1/32"}\n', '{"127.0.0.1/32", "192.0.2.33"}\n', 1))
    made.start()
    yield made
    made.finish()


def v1(client="192.0.2.9", port=56324):
    six = ":" in client
    return f"PROXY TCP{6 if six else 4} {client} {'2001:db8::25' if six else '198.51.100.25'} {port} 25\r\n".encode()


def v2(client="192.0.2.9", command=0x21, family=None, tlvs=b""):
    address = ipaddress.ip_address(client).packed
    block = address * 2 + struct.pack(">HH", 56324, 25) if family is None else b""
    family = {4: 0x11, 16: 0x21}[len(address)] if family is None else family
    return SIGNATURE + struct.pack(">BBH", command, family, len(block + tlvs)) + block + tlvs


def proxied(server, header, source="127.0.0.1", listener="proxied", greet=True):
    """A session behind a header, as its client would have it."""
    d = Dialog(server.ports[listener], source=source, greet=False)
    d.send(header)
    if greet:
        d.greeting = d.reply()
    return d


def relays(d):
    """What RCPT of somebody elsewhere draws."""
    d.hello()
    d.expect(250, "MAIL FROM:<sender@example.org>")
    return d.command("RCPT TO:<user@example.net>").code


# ---- who the client is -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("header, client, literal", [
    (v1(), "192.0.2.9", "[192.0.2.9]"), (v2(), "192.0.2.9", "[192.0.2.9]"),
    (v1("2001:db8::9"), "2001:db8::9", "[IPv6:2001:db8::9]"), (v2("2001:db8::9"), "2001:db8::9", "[IPv6:2001:db8::9]"),
    (v2("::ffff:192.0.2.9"), "192.0.2.9", "[192.0.2.9]"), (b"PROXY UNKNOWN\r\n", "unknown", "client.example.org by"),
    (v2(command=0x20), "127.0.0.1", "[127.0.0.1]"),
])
def test_the_client_is_the_one_that_the_proxy_tells_of(server, header, client, literal):
    with proxied(server, header) as d:
        d.hello()
        d.envelope()
        reply = d.data(message("proxied"))
        assert reply.code == 250
    mail = wait_for(lambda: [m for m in server.mail("alice") if m.id in reply.text], "the mail")[0]
    assert literal in mail.field("Received"), mail.field("Received")
    server.wait_log(rf"event=accepted id={mail.id} .*client={client.replace('.', '[.]')} ")
    assert f"from {client}, which called itself client.example.org, by ESMTP (by proxy 127.0.0.1)" \
        in server.cli("trace", mail.id)


@pytest.mark.parametrize("header, code", [
    (v1(), 550), (v2(), 550), (v1("192.0.2.33"), 250), (v2("192.0.2.33"), 250),
    # The proxy's own address may relay here; whoever comes through it without an address may not.
    (v2(command=0x20), 250), (b"PROXY UNKNOWN\r\n", 550), (v2(family=0), 550), (v2(family=0x31, tlvs=bytes(216)), 550),
    (v2(family=0x12, tlvs=bytes(12)), 550),
])
def test_rights_are_those_of_the_client(server, header, code):
    with proxied(server, header) as d:
        assert relays(d) == code


def test_clients_are_chosen_by_the_address_that_is_told(server):
    with proxied(server, v1("192.0.2.9"), listener="members") as d:
        assert d.greeting.code == 220
    with proxied(server, v1("198.51.100.9"), listener="members") as d:
        assert (d.greeting.code, d.greeting.status) == (554, "5.7.1")


def test_a_header_may_come_octet_by_octet(server):
    for header in (v1(), v2(tlvs=b"\x04\0\x02xx")):
        with proxied(server, b"", greet=False) as d:
            for n in range(len(header)):
                d.send(header[n:n + 1])
            assert d.reply().code == 220
            assert relays(d) == 550


def test_what_comes_in_one_segment_with_the_header_is_the_clients(server):
    octets = v1() + b"EHLO early.example.org\r\nMAIL FROM:<x@example.org>\r\n"
    with proxied(server, octets, greet=False) as d:
        codes = []
        with pytest.raises(Closed):
            while True:
                codes.append(d.reply().code)
        assert codes in ([554], [220, 554]), codes
    with proxied(server, octets, listener="early") as d:
        assert [d.greeting.code, d.reply().code, d.reply().code] == [220, 250, 250]
    # Who waits for the greeting is served all the same.
    with proxied(server, v1()) as d:
        d.hello()


# ---- who may tell ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("header", [v1("127.0.0.1"), v2("127.0.0.1"), b"PROXY UNKNOWN\r\n"])
@pytest.mark.parametrize("listener, source", [("proxied", "127.0.0.2"), ("plain", "127.0.0.1"), ("plain", "127.0.0.2"),
                                              ("patient", "127.0.0.1"), ("patient", "127.0.0.2")])
def test_b8_a_header_from_anybody_else_is_refused_and_nothing_of_it_applied(server, header, listener, source):
    """127.0.0.1 may relay: a stranger that could pass for it could send anything anywhere."""
    before = server.log().count("event=accepted")
    with proxied(server, header + b"EHLO x.example\r\nMAIL FROM:<x@example.org>\r\nRCPT TO:<y@example.net>\r\n",
                 source, listener, greet=False) as d:
        said = []
        with pytest.raises(Closed):
            while True:
                said.append(d.reply())
        assert said[-1].code in (421, 554) and not [r for r in said if r.code == 250], said
    assert server.log().count("event=accepted") == before


def test_b8_a_listener_for_proxies_is_for_nobody_else(server):
    with Dialog(server.ports["proxied"], source="127.0.0.2") as d:
        assert (d.greeting.code, d.greeting.status) == (554, "5.7.1")
        d.expect(503, "EHLO x")
        d.expect(421, v1().decode().strip())
        assert d.is_closed()


@pytest.mark.parametrize("header", [
    b"EHLO x\r\n", b"PROXY TCP4 192.0.2.9 192.0.2.8 1\r\n", b"PROXY TCP4 192.0.2.9 192.0.2.8 1 1\n", b"x",
    b"PROXY " + b"x" * 200, SIGNATURE + b"\x31\x11\0\x0c" + bytes(12), SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
    v2(tlvs=b"\x01\0\xff"), v2(tlvs=b"\x03\0\x04\0\0\0\0"), SIGNATURE + b"\x21\x11\xff\xff",
])
def test_a_proxy_that_says_something_else_is_told_and_cut_off(server, header):
    with proxied(server, header, greet=False) as d:
        reply = d.reply()
        assert (reply.code, reply.status) == (421, "4.5.2"), reply
        assert d.is_closed()
    server.wait_log("event=proxy-failed .*proxy=127.0.0.1 ")
    with proxied(server, v1()) as d:
        assert d.greeting.code == 220


def test_a_header_that_does_not_come_ends_the_connection(server):
    with proxied(server, b"PROXY TCP4 192.0.2.9", listener="hasty", greet=False) as d:
        reply = d.reply()
        assert (reply.code, reply.status) == (421, "4.4.2")
        assert d.is_closed()
    server.wait_log("event=proxy-failed .*in time")
    with proxied(server, b"PROXY", greet=False):
        pass
    server.wait_log("event=proxy-failed .*ended before")


def test_who_waits_for_a_header_does_not_keep_the_server_from_stopping(tmp_path):
    server = House(tmp_path / "house", listeners=LISTENERS).start()
    with proxied(server, b"PROXY", greet=False) as d, proxied(server, b"", listener="secure", greet=False) as secure:
        assert server.stop() == 0
        assert d.reply().code == 421
        with pytest.raises(Closed) as closed:
            secure.line()
        assert not closed.value.args[0]
    server.finish()


# ---- TLS -------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("together", [False, True])
def test_tls_from_the_first_octet_comes_behind_the_header(server, together):
    """In one segment with it, or not."""
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = tls_context().wrap_bio(theirs, ours, server_hostname="mx.example.com")
    with socket.create_connection(("127.0.0.1", server.ports["secure"]), timeout=PATIENCE) as s:
        pending = v2("192.0.2.44")
        if not together:
            s.sendall(pending)
            pending = b""

        def until(step):
            nonlocal pending
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    s.sendall(pending + ours.read())
                    pending = b""
                    theirs.write(s.recv(65536))
        until(tls.do_handshake)
        assert until(lambda: tls.read(4096)).startswith(b"220 mx.example.com")
    server.wait_log("event=tls .*client=192.0.2.44 ")


def test_where_tls_comes_first_a_bad_header_gets_no_word_in_the_clear(server):
    with proxied(server, b"EHLO x\r\n", listener="secure", greet=False) as d:
        with pytest.raises(Closed) as closed:
            d.line()
        assert not closed.value.args[0]


def test_starttls_behind_a_proxy_keeps_the_client(server):
    with proxied(server, v1()) as d:
        d.hello()
        d.starttls()
        assert relays(d) == 550


# ---- limits ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("listener, same, other", [
    ("four", ["203.0.113.1"], ["203.0.113.2", "2001:db8::1"]),
    ("four24", ["203.0.113.1", "203.0.113.255", "203.0.113.77"], ["203.0.112.1"]),
    ("four", ["2001:db8:1:2::1", "2001:db8:1:2:ffff::9"], ["2001:db8:1:3::1"]),
    ("four48", ["2001:db8:1::1", "2001:db8:1:ffff::9"], ["2001:db8:2::1"]),
])
def test_j2_limits_are_for_the_network_of_the_client(server, listener, same, other):
    """In all three receivers together."""
    codes = []
    for n in range(7):
        with proxied(server, v1(same[n % len(same)]), listener=listener) as d:
            codes.append(d.greeting.code)
    assert codes == [220] * 4 + [421] * 3
    for client in other:
        with proxied(server, v2(client), listener=listener) as d:
            assert d.greeting.code == 220


# ---- real proxies ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("keywords", [
    "send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl,cert-cn,authority",
    "send-proxy-v2 check check-send-proxy inter 200", "send-proxy check check-send-proxy inter 200"])
def test_haproxy(server, tmp_path, keywords):
    failures = server.log().count("event=proxy-failed")
    front = Haproxy(tmp_path / "haproxy", server.ports["proxied"], server=keywords)
    try:
        with Dialog(front.port, source="127.0.0.7") as d:
            assert d.greeting.code == 220
            assert relays(d) == 550
        with Dialog(front.port, source="127.0.0.7") as d:
            d.hello()
            d.starttls()
            d.hello()
            d.envelope()
            reply = d.data(message("by haproxy"))
            assert reply.code == 250
        with Dialog(front.port, source="127.0.0.1") as d:
            assert relays(d) == 250
    finally:
        front.stop()
    mail = wait_for(lambda: [m for m in server.mail("alice") if m.id in reply.text], "the mail")[0]
    assert "[127.0.0.7]" in mail.field("Received")
    assert server.log().count("event=proxy-failed") == failures


def test_nginx_as_a_tcp_proxy(server, tmp_path):
    front = Nginx(tmp_path / "nginx", server.ports["proxied"])
    try:
        with Dialog(front.stream, source="127.0.0.7") as d:
            assert relays(d) == 550
        with Dialog(front.stream, source="127.0.0.1") as d:
            assert relays(d) == 250
    finally:
        front.stop()
