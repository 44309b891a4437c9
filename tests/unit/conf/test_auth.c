#include "conf_test.h"

static const char listeners[] = "listen a { port = 25 }\n"
				"listen b { port = 587 submission = yes }\n"
				"listen c { port = 26 auth = offer auth_in_clear = scram }\n"
				"listen d { port = 27 auth = require auth_in_clear = all tls = off }\n"
				"submit_socket = /run/submit\n";

static const struct smtp_server_config *listener(const struct conf *c, const char *name)
{
	for (size_t i = 0; i < c->listener_count; i++)
		if (slice_eq(c->listeners[i].name, slice_from_cstr(name)))
			return &c->listeners[i].server;
	fail_msg("no listener %s", name);
	return NULL;
}

/* Each with '+' when it may be used in the clear. */
static void assert_mechanisms(const struct smtp_server_config *server, const char *expected)
{
	struct buf text;

	buf_init(&text, 1024);
	for (size_t i = 0; i < server->mechanism_count; i++)
		buf_printf(&text, "%.*s%s ", SLICE_ARGS(server->mechanisms[i].name),
			   server->mechanisms[i].in_clear ? "+" : "");
	assert_slice(buf_slice(&text), expected);
	buf_free(&text);
}

static void listeners_offer_what_they_may(void **state)
{
	struct conf *c = load(listeners);

	(void)state;
	assert_mechanisms(listener(c, "a"), "");
	assert_mechanisms(listener(c, "b"),
			  "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN ");
	assert_mechanisms(listener(c, "c"),
			  "SCRAM-SHA-256-PLUS SCRAM-SHA-256+ SCRAM-SHA-1-PLUS SCRAM-SHA-1+ PLAIN LOGIN ");
	assert_mechanisms(listener(c, "d"),
			  "SCRAM-SHA-256-PLUS SCRAM-SHA-256+ SCRAM-SHA-1-PLUS SCRAM-SHA-1+ PLAIN+ LOGIN+ ");
	assert_mechanisms(listener(c, "submit"), "");
	assert_true(listener(c, "b")->auth_required);
	assert_false(listener(c, "c")->auth_required);
	assert_true(listener(c, "d")->auth_required);
	assert_false(listener(c, "submit")->auth_required);
	assert_true(conf_has_auth(c));
	conf_unref(c);
	c = load("");
	assert_false(conf_has_auth(c));
	conf_unref(c);
}

static void mechanisms_come_in_the_order_of_the_file(void **state)
{
	struct conf *c = load("listen b { port = 587 submission = yes }\n"
			      "accounts { mechanisms = {\"login\", \"CRAM-MD5\", \"SCRAM-SHA-1\"} }");

	(void)state;
	assert_mechanisms(listener(c, "b"), "LOGIN CRAM-MD5 SCRAM-SHA-1 ");
	assert_true(listener(c, "b")->mechanisms[1].server_first);
	conf_unref(c);
	refuse("accounts { mechanisms = {\"NTLM\"} }", "NTLM");
	refuse("accounts { mechanisms = {\"PLAIN\", \"LOGIN\", \"plain\"} }", "PLAIN is there twice");
}

static void a_listener_where_nobody_could_log_in_is_refused(void **state)
{
	(void)state;
	refuse("listen a { port = 25 auth = offer tls = off }", "nobody could authenticate there");
	refuse("listen a { port = 25 submission = yes tls = off auth_in_clear = scram }\n"
	       "accounts { mechanisms = {\"PLAIN\", \"SCRAM-SHA-256-PLUS\"} }",
	       "nobody could authenticate there");
	conf_unref(load("listen a { port = 25 submission = yes tls = off auth_in_clear = all }\n"
			"accounts { mechanisms = {\"PLAIN\", \"SCRAM-SHA-256-PLUS\"} }"));
}

#define TRUST "tls { client_authorities = /etc/clients.pem }\n"

static void external_is_there_where_certificates_are_asked_for(void **state)
{
	(void)state;
	struct conf *c = load(TRUST "listen a { port = 25 auth = offer auth_in_clear = all ask_certificate = yes }\n"
				    "listen b { port = 587 submission = yes }\n");

	assert_mechanisms(listener(c, "a"),
			  "EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-256+ SCRAM-SHA-1-PLUS SCRAM-SHA-1+ PLAIN+ LOGIN+ ");
	assert_mechanisms(listener(c, "b"),
			  "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN ");
	assert_true(conf_asks_certificates(c));
	assert_true(c->accounts.external.by_email);
	conf_unref(c);
	c = load("smtp { ask_certificate = yes }\n" TRUST "accounts { mechanisms = {\"PLAIN\", \"EXTERNAL\"} }\n"
		 "listen b { port = 587 submission = yes }\nsubmit_socket = /run/submit\n");
	assert_mechanisms(listener(c, "b"), "PLAIN EXTERNAL ");
	conf_unref(c);
	refuse("listen a { port = 25 ask_certificate = yes }", "there are no client_authorities");
	refuse(TRUST "listen a { port = 25 tls = off ask_certificate = yes }", "there is no TLS there");
}

static void who_logs_in_by_certificate(void **state)
{
	(void)state;
	struct conf *c = load("certificate_login \"Printer@Example.COM\" {\n"
			      "  names = {\"dns:printer.example.com\", \"email:p@example.org\"}\n}\n");
	struct external_map *map = &c->accounts.external;

	assert_int_equal(map->count, 1);
	assert_slice(map->rules[0].login, "printer@example.com");
	assert_int_equal(map->rules[0].count, 2);
	assert_slice(map->rules[0].names[1], "email:p@example.org");
	conf_unref(c);
	refuse("certificate_login \"a\" { }", "names");
	refuse("certificate_login \"a\" { names = {\"printer\"} }", "names");
	refuse("certificate_login \"a\" { names = {\"key:00\"} }", "names");
	refuse("certificate_login \"\" { names = {\"dns:a\"} }", "certificate_login");
	refuse("certificate_login \"a\" { names = {\"dns:a\"} }\ncertificate_login \"A\" { names = {\"dns:b\"} }",
	       "is there twice");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listeners_offer_what_they_may),
		cmocka_unit_test(mechanisms_come_in_the_order_of_the_file),
		cmocka_unit_test(a_listener_where_nobody_could_log_in_is_refused),
		cmocka_unit_test(external_is_there_where_certificates_are_asked_for),
		cmocka_unit_test(who_logs_in_by_certificate),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
