"""Never an open relay: every address that once fooled a server, from a client that may not relay (attacks 1.E)."""
import pytest

from harness import message, route

# 127.0.0.2 is no listed network.
STRANGER = "127.0.0.2"

SENDERS = ["", "u@example.com", "u@localhost", "u@[127.0.0.1]", "postmaster@example.com", "spam@f.example",
           '"u@example.com"@f.example']

CORPUS = [
    "<u@f.example>", "<u%f.example@example.com>", "<u%f.example@[127.0.0.1]>", '<"u@f.example">',
    '<"u@f.example"@example.com>', '<"u%f.example"@example.com>', "<@example.com:u@f.example>",
    "<@example.com,@f.example:u@f.example>", "<u@f.example@example.com>", "<f.example!u>",
    "<f.example!u@example.com>", "<example.com!u@f.example>", "<u@f.example@[127.0.0.1]>",
    '<"\\"u@f.example\\""@example.com>', "<u@example.com@>", "<@>", "<@example.com>", "<postmaster@>", "<>",
    "u@f.example", "<u%40f.example@example.com>", "<u@f.example,v@example.com>", "<u@[f.example]>", "<u@0x7f000001>",
    "<u@2130706433>", "<u@[IPv6:::ffff:10.0.0.1]>", "<u@[10.0.0.1]>", "<SRS0=forged=xx=f.example=u@example.com>",
    "<alice@example.com@f.example>", "<alice@example.com.f.example>", "<alice@f.example(example.com)>",
    "<u@f.example> NOTIFY=NEVER", "<u@xn--f-example>", "<alice%f.example@example.com>", "< u@f.example>",
    "<u@f.example >", "<u@f.example\t>", "<alice@example.com;u@f.example>", "<alice@example.com u@f.example>",
    "<alice@example.com>,<u@f.example>", "<alice@example.com> <u@f.example>", "<\"alice@example.com,u\"@f.example>",
    # attacks E3, E4, E5: words for shells, expansions and databases are no mailboxes of ours
    "<;id;@example.com>", "<|id@example.com>", "<`id`@example.com>", "<$(id)@example.com>",
    "<${run{/bin/sh}}@example.com>",
    '<"x\'/**/UNION/**/SELECT 1--"@example.com>', "<../../etc/passwd@example.com>", "<-oQ/tmp@example.com>",
    "<alice/../bob@example.com>", "<.@example.com>", "<..@example.com>", "<alice.@example.com>", "<.alice@example.com>",
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from harness import Postrider
    server = Postrider(tmp_path_factory.mktemp("relay")).configure(
        extra=route(9), listen="  errors_max = 1000\n  idle_commands_max = 10000\n").start()
    yield server
    server.finish()


@pytest.mark.parametrize("sender", SENDERS, ids=[s or "null" for s in SENDERS])
def test_every_form_is_refused_for_good_and_nothing_is_queued(shared, sender):
    with shared.dialog(source=STRANGER) as d:
        d.hello()
        for form in CORPUS:
            d.expect(250, f"MAIL FROM:<{sender}>")
            reply = d.command(f"RCPT TO:{form}")
            assert reply.code in (501, 550, 551, 553, 554, 555), f"{form}: {reply}"
            assert reply.status[:3] in ("5.1", "5.4", "5.5", "5.7"), f"{form}: {reply}"
            # And nothing can be sent to it all the same.
            assert d.command("DATA").code in (503, 554), form
            d.expect(250, "RSET")
    assert not shared.queued()


def test_nothing_was_written_for_any_of_them(shared):
    assert not shared.queued()
    assert not list((shared.data / "mail").glob("**/new/*"))


def test_the_refusal_says_why(shared):
    with shared.dialog(source=STRANGER) as d:
        d.hello()
        d.expect(250, "MAIL FROM:<u@example.com>")
        reply = d.expect(550, "RCPT TO:<u@f.example>")
        assert reply.status == "5.7.1"
        assert "u@f.example" in reply.text and "relay" in reply.text


def test_a_listed_client_may_relay_and_a_stranger_may_write_to_us(make_server, make_peer):
    peer = make_peer()
    server = make_server(extra=route(peer.port)).start()
    server.submit(message("listed"), to="u@f.example")
    server.submit(message("stranger"), to="alice@example.com", source=STRANGER)
    peer.wait_messages()
    server.wait_mail("alice")


def test_from_anybody_opens_one_domain_only(make_server, make_peer):
    peer = make_peer()
    server = make_server(extra=route(peer.port, name="backup.example", keys="  from_anybody = yes\n")).start()
    server.submit(message("backup"), to="u@backup.example", source=STRANGER)
    peer.wait_messages()
    with server.dialog(source=STRANGER) as d:
        d.hello()
        d.expect(250, "MAIL FROM:<a@b.example>")
        for form in ("<u@other.example>", "<u@sub.backup.example>", "<u@xbackup.example>",
                     "<u%other.example@example.com>"):
            assert d.command(f"RCPT TO:{form}").code == 550, form


def test_postmaster_is_always_accepted(server):
    for to in ("postmaster@example.com", "Postmaster", "POSTMASTER@EXAMPLE.COM", "postmaster@[127.0.0.1]",
               "postmaster@mx.example.com"):
        server.submit(message("to postmaster"), to=to, source=STRANGER)
    server.wait_mail("postmaster", 5)


def test_addresses_are_compared_by_meaning(server):
    for to in ("Alice@Example.COM", '"alice"@example.com', '"al\\ice"@example.com', "alice+list@example.com",
               "@relay.example:alice@example.com", "@a.example,@b.example:alice@example.com"):
        server.submit(message(to), to=to, source=STRANGER)
    server.wait_mail("alice", 6)


def test_no_address_reaches_outside_of_the_mail_directory(make_server):
    """E6: a catch-all takes any local part, and none of them becomes a path."""
    server = make_server(domain='  catch_all = "bob"\n').start()
    evil = ['"../../../x"', '"/etc/x"', '".."', '"."', '"a/b"', '"a\\\\b"', "x" * 64, "-rf", "'x'", "*", "~",
            "`x`", "${x}"]
    before = {p for p in server.data.parent.rglob("*") if "mail" not in p.parts}
    for local in evil:
        server.submit(message("path"), to=f"{local}@example.com", source=STRANGER)
    server.wait_mail("bob", len(evil))
    assert {p.name for p in (server.data / "mail").iterdir()} == {"example.com"}
    after = {p for p in server.data.parent.rglob("*") if "mail" not in p.parts and "spool" not in p.parts}
    assert after - before <= {p for p in after if p.parent == server.data}
