/*
 * Clients that are held, or sent away.
 */
#include "test.h"

#include "server_desk.h"

#define NAME "mx.example.com"

static struct desk d;

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

static void who_is_held_hears_nothing_and_is_not_heard(void **state)
{
	(void)state;
	desk_init(&d);
	start();
	desk_feed(&d, SLICE("EHLO a.example\r\n"));
	desk_flush(&d);
	buf_reset(&d.out);
	desk_feed(&d, SLICE("XYZZY\r\n"));
	assert_int_equal(smtp_server_errors(d.s), 1);
	smtp_server_hold(d.s, d.now + 5000);
	assert_true(smtp_server_is_held(d.s));
	assert_int_equal(smtp_server_output(d.s).n, 0);
	assert_int_equal(smtp_server_feed(d.s, SLICE("NOOP\r\n"), d.now + 10), 0);
	assert_int_equal(smtp_server_deadline(d.s), d.now + 5000);
	smtp_server_tick(d.s, d.now + 4999);
	assert_true(smtp_server_is_held(d.s));
	smtp_server_tick(d.s, d.now + 5000);
	assert_false(smtp_server_is_held(d.s));
	/* The client's own time begins now. */
	assert_int_equal(smtp_server_deadline(d.s), d.now + 5000 + d.config.command_timeout);
	d.now += 5000;
	ask("NOOP\r\n",
	    "500 5.5.1 Command not recognized; HELP lists what this server understands\r\n250 2.0.0 OK\r\n");
	desk_free(&d);
}

static void nobody_is_held_before_a_handshake(void **state)
{
	(void)state;
	desk_init(&d);
	d.config.tls = SMTP_TLS_OFFER;
	start();
	desk_feed(&d, SLICE("XYZZY\r\nSTARTTLS\r\n"));
	smtp_server_hold(d.s, d.now + 5000);
	assert_false(smtp_server_is_held(d.s));
	desk_flush(&d);
	desk_secure(&d);
	ask("NOOP\r\n", "500 5.5.1 Command not recognized; HELP lists what this server understands\r\n"
		       "220 2.0.0 Begin the TLS handshake\r\n250 2.0.0 OK\r\n");
	desk_free(&d);
}

static void a_hold_ends_with_the_session(void **state)
{
	(void)state;
	desk_init(&d);
	start();
	desk_feed(&d, SLICE("XYZZY\r\n"));
	smtp_server_hold(d.s, d.now + 5000);
	smtp_server_lost(d.s);
	desk_pull(&d);
	assert_true(d.closed);
	assert_false(smtp_server_is_held(d.s));
	smtp_server_hold(d.s, d.now + 5000);
	assert_false(smtp_server_is_held(d.s));
	desk_free(&d);

	desk_init(&d);
	start();
	desk_feed(&d, SLICE("XYZZY\r\n"));
	smtp_server_hold(d.s, d.now + 5000);
	smtp_server_shutdown(d.s);
	desk_pull(&d);
	desk_flush(&d);
	expect(&d.out, "500 5.5.1 Command not recognized; HELP lists what this server understands\r\n"
		       "421 4.3.2 " NAME " Service is shutting down, try again later\r\n");
	desk_free(&d);
}

static void who_is_dismissed_hears_why(void **state)
{
	(void)state;
	desk_init(&d);
	start();
	say("EHLO a.example\r\n");
	say("MAIL FROM:<a@example.org>\r\n");
	say("MAIL FROM:<a@example.org>\r\n");
	buf_reset(&d.out);
	smtp_server_dismiss(d.s, REPLY_ERRORS_RATE);
	desk_pull(&d);
	desk_flush(&d);
	expect(&d.out, "421 4.7.0 " NAME " Too many errors from your network within a minute, try again later\r\n");
	assert_true(d.closed);
	desk_free(&d);

	/* Before it was greeted, too. */
	desk_init(&d);
	d.silent = true;
	desk_start(&d);
	smtp_server_dismiss(d.s, REPLY_ERRORS_RATE);
	desk_answer_now(&d);
	desk_pull(&d);
	desk_flush(&d);
	expect(&d.out, "421 4.7.0 " NAME " Too many errors from your network within a minute, try again later\r\n");
	desk_free(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_held_hears_nothing_and_is_not_heard),
		cmocka_unit_test(nobody_is_held_before_a_handshake),
		cmocka_unit_test(a_hold_ends_with_the_session),
		cmocka_unit_test(who_is_dismissed_hears_why),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
