/*
 * XCLIENT, XFORWARD, and PROXY headers in the wrong place.
 */
#include "test.h"

#include "server_desk.h"

static struct desk d;

static void begin(bool xclient, bool xforward)
{
	desk_init(&d);
	d.config.knows_xclient = d.config.knows_xforward = true;
	d.trust = (struct smtp_server_trust){xclient, xforward};
}

static void start(void)
{
	desk_start(&d);
	desk_flush(&d);
	buf_reset(&d.out);
	buf_reset(&d.log);
}

static void say(const char *text)
{
	desk_feed(&d, slice_from_cstr(text));
	desk_flush(&d);
}

static void expect(struct buf *b, const char *text)
{
	assert_string_equal(buf_len(b) ? buf_cstr(b) : "", text);
	buf_reset(b);
}

/* What the server answers to `text`. */
static void ask(const char *text, const char *answer)
{
	say(text);
	expect(&d.out, answer);
}

static bool offers(const char *keyword)
{
	say("EHLO a.example\r\n");
	bool found = slice_search(buf_slice(&d.out), slice_from_cstr(keyword)) < buf_len(&d.out);
	buf_reset(&d.out);
	buf_reset(&d.log);
	return found;
}

#define NAME "mx.example.com"

static void the_session_begins_anew_with_the_client_that_is_told_of(void **state)
{
	(void)state;
	begin(true, false);
	start();
	assert_true(offers("250-XCLIENT NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n") ||
		    offers("250 XCLIENT NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"));
	ask("XCLIENT NAME=spike.example ADDR=192.0.2.7\r\n", "220 " NAME " ESMTP Postrider ready\r\n");
	expect(&d.log, "XCLIENT NAME=spike.example ADDR=192.0.2.7\n");
	assert_int_equal(smtp_server_peer_name(d.s).n, 0);
	ask("MAIL FROM:<a@example.org>\r\n", "503 5.5.1 Bad sequence of commands: EHLO first\r\n");
	assert_true(offers("XCLIENT"));
	ask("MAIL FROM:<a@example.org>\r\n", "250 2.1.0 Sender ok\r\n");
	ask("XCLIENT ADDR=192.0.2.8\r\n", "503 5.5.1 A transaction is open; send RSET first\r\n");
	ask("RSET\r\nXCLIENT PORT=25\r\n", "250 2.0.0 OK\r\n220 " NAME " ESMTP Postrider ready\r\n");
	expect(&d.log, "MAIL a@example.org\nRESET\nXCLIENT NAME=spike.example ADDR=192.0.2.7 PORT=25\n");
	desk_free(&d);
}

static void errors_and_commands_of_the_client_before_do_not_count(void **state)
{
	(void)state;
	begin(true, false);
	d.config.errors_max = 3;
	d.config.idle_commands_max = 10;
	start();
	for (unsigned i = 0; i < 30; i++) {
		ask("XYZZY\r\nXYZZY\r\n",
		    "500 5.5.1 Command not recognized; HELP lists what this server understands\r\n"
		    "500 5.5.1 Command not recognized; HELP lists what this server understands\r\n");
		ask("XCLIENT PORT=25\r\n", "220 " NAME " ESMTP Postrider ready\r\n");
		assert_int_equal(smtp_server_errors(d.s), 0);
	}
	desk_free(&d);
}

static void a_client_that_is_not_welcome_hears_what_he_would_have_heard_himself(void **state)
{
	(void)state;
	begin(true, false);
	start();
	ask("XCLIENT NAME=refused.example\r\n", "554 5.7.1 " NAME " No SMTP service here for your address\r\n");
	ask("XCLIENT NAME=good.example\r\n", "503 5.5.1 No service here; only QUIT is allowed\r\n");
	ask("QUIT\r\n", "221 2.0.0 " NAME " closing connection\r\n");
	assert_true(d.closed);
	desk_free(&d);

	begin(true, false);
	start();
	ask("XCLIENT NAME=busy.example\r\nNOOP\r\n", "421 4.3.2 " NAME " Too many connections, try again later\r\n");
	assert_true(d.closed);
	desk_free(&d);
}

static void who_is_not_listed_is_told_so_and_nothing_is_read(void **state)
{
	(void)state;
	begin(false, false);
	start();
	assert_false(offers("XCLIENT"));
	assert_false(offers("XFORWARD"));
	ask("XCLIENT ADDR=192.0.2.7\r\n", "550 5.7.0 XCLIENT is for listed clients, and you are none of them\r\n");
	ask("XFORWARD ADDR=x +\r\n", "550 5.7.0 XFORWARD is for listed clients, and you are none of them\r\n");
	ask("HELP XCLIENT\r\n", "504 5.5.4 No help for XCLIENT\r\n");
	assert_null(smtp_server_client(d.s));
	assert_null(smtp_server_forwarded(d.s));
	desk_free(&d);

	/* Where nobody may, it is no command at all. */
	begin(true, true);
	d.config.knows_xclient = d.config.knows_xforward = false;
	start();
	assert_false(offers("XCLIENT"));
	ask("XCLIENT ADDR=192.0.2.7\r\n",
	    "500 5.5.1 Command not recognized; HELP lists what this server understands\r\n");
	desk_free(&d);
}

static void a_bad_attribute_is_named_and_nothing_is_applied(void **state)
{
	(void)state;
	begin(true, true);
	start();
	say("EHLO a.example\r\n");
	say("XCLIENT ADDR=192.0.2.7\r\n");
	buf_reset(&d.out);
	ask("XCLIENT NAME=x.example ADDR=192.0.2\r\n",
	    "501 5.5.4 Attribute ADDR=192.0.2 is not good: it is no IP address\r\n");
	ask("XCLIENT\r\n", "501 5.5.4 XCLIENT needs an argument: XCLIENT attribute=value ...\r\n");
	assert_int_equal(smtp_attrs_get(smtp_server_client(d.s), SMTP_ATTR_NAME).n, 0);
	assert_true(slice_eq(smtp_attrs_get(smtp_server_client(d.s), SMTP_ATTR_ADDR), SLICE("192.0.2.7")));
	/* Octets that a reply may not hold are replaced. */
	ask("XFORWARD NAME=\xff+\r\n",
	    "501 5.5.4 Attribute NAME=?+ is not good: it has to be 1 to 255 octets in xtext\r\n");
	desk_free(&d);
}

static void what_is_forwarded_is_good_for_one_transaction(void **state)
{
	static const char transaction[] = "MAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nBDAT 2 LAST\r\n\r\n";

	(void)state;
	begin(false, true);
	start();
	assert_true(offers("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"));
	ask("XFORWARD NAME=spike.example ADDR=192.0.2.7\r\nXFORWARD HELO=spike IDENT=4bQ\r\n",
	    "250 2.0.0 OK\r\n250 2.0.0 OK\r\n");
	say(transaction);
	expect(&d.log, "MAIL a@example.org forwarded for NAME=spike.example ADDR=192.0.2.7 HELO=spike IDENT=4bQ\n"
		       "RCPT b@example.com\nDATA\nEND a@example.org -> b@example.com: \\r\\n\n");
	assert_null(smtp_server_forwarded(d.s));
	buf_reset(&d.out);
	ask("XFORWARD NAME=two\r\nRSET\r\n", "250 2.0.0 OK\r\n250 2.0.0 OK\r\n");
	assert_null(smtp_server_forwarded(d.s));
	/* A sender that is refused is no transaction yet. */
	ask("XFORWARD NAME=three\r\nMAIL FROM:<refused@example.org>\r\n",
	    "250 2.0.0 OK\r\n550 5.7.1 Sender refused: policy\r\n");
	assert_non_null(smtp_server_forwarded(d.s));
	ask("MAIL FROM:<a@example.org>\r\nXFORWARD NAME=four\r\n",
	    "250 2.1.0 Sender ok\r\n503 5.5.1 A transaction is open; send RSET first\r\n");
	say("RSET\r\n");
	assert_null(smtp_server_forwarded(d.s));
	/* A faulty message ends it, too. */
	say("XFORWARD NAME=five\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n");
	say("bare\rCR\r\n.\r\n");
	assert_null(smtp_server_forwarded(d.s));
	say("XFORWARD NAME=six\r\n");
	assert_non_null(smtp_server_forwarded(d.s));
	assert_false(offers("nothing"));
	assert_null(smtp_server_forwarded(d.s));
	desk_free(&d);
}

static void the_told_client_stays_behind_the_handshake(void **state)
{
	(void)state;
	begin(true, false);
	d.config.tls = SMTP_TLS_OFFER;
	start();
	say("EHLO a.example\r\n");
	say("XCLIENT ADDR=192.0.2.7\r\n");
	say("EHLO a.example\r\n");
	say("STARTTLS\r\n");
	desk_secure(&d);
	assert_true(slice_eq(smtp_attrs_get(smtp_server_client(d.s), SMTP_ATTR_ADDR), SLICE("192.0.2.7")));
	buf_reset(&d.out);
	ask("XCLIENT PORT=25\r\n", "220 " NAME " ESMTP Postrider ready\r\n");
	assert_true(smtp_server_is_secure(d.s));
	desk_free(&d);

	/* And where TLS is required it comes first. */
	begin(true, true);
	d.config.tls = SMTP_TLS_REQUIRE;
	start();
	ask("XCLIENT ADDR=192.0.2.7\r\n", "530 5.7.0 Must issue a STARTTLS command first\r\n");
	desk_free(&d);
}

/* Cut anywhere, and octet by octet, the same is told and answered. */
static void cutting_changes_nothing(void **state)
{
	static const char text[] = "EHLO a.example\r\nXCLIENT NAME=spike.example ADDR=IPv6:2001:db8::1 LOGIN=a+20b\r\n"
				   "XFORWARD NAME=x SOURCE=LOCAL\r\nEHLO b.example\r\nXFORWARD NAME=y\r\n"
				   "MAIL FROM:<a@example.org>\r\nXCLIENT ADDR=1.2.3.4 ADDR=1.2.3.4\r\nRSET\r\n"
				   "XCLIENT ADDR=1.2.3.4 ADDR=1.2.3.4\r\nXCLIENT NAME=refused\r\nQUIT\r\n";
	size_t n = sizeof text - 1;
	struct desk whole;

	(void)state;
	for (size_t cut = 0; cut <= n + 1; cut++) {
		begin(true, true);
		d.config.refuse_early = false;
		desk_start(&d);
		if (cut > n) {
			for (size_t i = 0; i < n; i++)
				desk_feed(&d, slice_of(text + i, 1));
		} else {
			desk_feed(&d, slice_of(text, cut));
			desk_feed(&d, slice_of(text + cut, n - cut));
		}
		desk_flush(&d);
		assert_true(d.closed);
		if (cut == 0) {
			whole = d;
			continue;
		}
		assert_true(slice_eq(buf_slice(&d.out), buf_slice(&whole.out)));
		assert_true(slice_eq(buf_slice(&d.log), buf_slice(&whole.log)));
		desk_free(&d);
	}
	assert_true(slice_search(buf_slice(&whole.out),
				 SLICE("501 5.5.4 Attribute ADDR=1.2.3.4 is not good: it is there twice\r\n")) <
		    buf_len(&whole.out));
	desk_free(&whole);
}

/* ---- PROXY where none is awaited --------------------------------------------------------------------------------- */

#define DENIED "421 4.7.0 " NAME " The PROXY protocol is for listed proxies, closing connection\r\n"

static void b8_a_proxy_header_from_anybody_ends_the_session(void **state)
{
	static const char two[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\1\x7f\0\0\1\0\1\0\x19NOOP\r\n";
	static const char five[] = "500 5.5.1 Command not recognized; HELP lists what this server understands\r\n";
	char expected[512];

	(void)state;
	begin(true, true);
	start();
	ask("PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\nEHLO a.example\r\n", DENIED);
	assert_true(d.closed);
	desk_free(&d);

	begin(false, false);
	d.greeting = REPLY_GREETING_REFUSED;
	start();
	ask("PROXY UNKNOWN\r\n", DENIED);
	desk_free(&d);

	for (size_t cut = 0; cut < sizeof two - 1; cut++) {
		begin(false, false);
		start();
		desk_feed(&d, slice_of(two, cut));
		desk_feed(&d, slice_of(two + cut, sizeof two - 1 - cut));
		desk_flush(&d);
		snprintf(expected, sizeof expected, "%s%s" DENIED, five, five);
		expect(&d.out, expected);
		assert_true(d.closed);
		desk_free(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_session_begins_anew_with_the_client_that_is_told_of),
		cmocka_unit_test(errors_and_commands_of_the_client_before_do_not_count),
		cmocka_unit_test(a_client_that_is_not_welcome_hears_what_he_would_have_heard_himself),
		cmocka_unit_test(who_is_not_listed_is_told_so_and_nothing_is_read),
		cmocka_unit_test(a_bad_attribute_is_named_and_nothing_is_applied),
		cmocka_unit_test(what_is_forwarded_is_good_for_one_transaction),
		cmocka_unit_test(the_told_client_stays_behind_the_handshake),
		cmocka_unit_test(cutting_changes_nothing),
		cmocka_unit_test(b8_a_proxy_header_from_anybody_ends_the_session),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
