#include "conf_test.h"

#include "conf/keys.h"

static const char everything[] =
	"hostname = mail.example.com data_dir = \"/srv/a \\\"quoted\\\" \\\\ \\${dir}\" receivers = 2 senders = 5\n"
	"control_socket = /run/c submit_socket = none postmaster = \"bob@example.com\" vrfy = everybody expn = relay\n"
	"relay_networks = {\"10.0.0.0/8\", \"2001:db8::/32\"} address_literals = {192.0.2.1, \"[IPv6:2001:DB8::1]\"}\n"
	"resolver = 192.0.2.53 check_null_mx = strict check_domains = yes status = relay\n"
	"smtp { connections_per_minute = 5 clients = {10.0.0.0/8} suspend_parameters = {smtputf8} size_max = 7M "
	"refuse_media = {'Video/*', \"message/partial\"} refuse_attachments = {\".EXE\", tar.gz} "
	"check_reverse_dns = strict "
	"offer_dsn = no command_timeout = 1m30s }\n"
	"listen one { address = 127.0.0.1 port = 2525 size_max = 3M tls = implicit }\n"
	"listen two { address = \"::1\" protocol = lmtp port = 24 }\n"
	"listen three { socket = '/run/it' }\n"
	"tls { ticket_lifetime = never } accounts { cram_md5 = yes }\n"
	"certificate \"*.Example.COM\" { chain = /srv/chain.pem key = '/srv/key \"1\".pem' }\n"
	"certificate_login alice { names = {'uri:a\"b', \"dns:a\"} }\n"
	"certificate mx.example.com { chain = /srv/mx.pem key = /srv/mx.pem }\n"
	"certificate MX.example.com { chain = /srv/ec.pem key = /srv/ec.pem ocsp = /srv/ec.ocsp }\n"
	"domain \"B\xc3\xbc"
	"cher.example\" { mailboxes = {'b\xc3\xbc"
	"cher', \"o'hara\", \"a$b\"} disabled = {d, e} catch_all = \"o'hara\" message_max = 3M "
	"quota_octets = 1G limit \"O'Hara\" { message_max = none quota_messages = 7 } }\n"
	"domain example.com { mailboxes = {alice, bob} moved carol { to = \"c@example.net\" disclose = on }\n"
	"moved \"d\" { to = \"\\\"d d\\\"@example.net\" forward = yes } suspended = {s}\n"
	"list \"st$ff\" { members = {\"alice@example.com\", \"bob@example.net\"} post = members senders = "
	"{Example.ORG, "
	"\"x@Y.example\"} } list two { members = {\"st$ff@example.com\"} disclose = yes } }\n"
	"domain lmtp.example { deliver = lmtp lmtp = 'unix:/run/lmtp' mailboxes = {\"*\"} }\n"
	"domain tcp.example { deliver = lmtp lmtp = 'inet:[::1]:24' mailboxes = {x} }\n"
	"route Example.NET { hosts = {\"mx.example.net\", \"[192.0.2.1]:2525\"} from_anybody = yes convert = no "
	"own_name = yes }\n"
	"route \".Example.ORG\" { hosts = {mx.example.org} }\n"
	"route \"*\" { hosts = {smart.example:587} }\n"
	"rule \"it's $5\" { codes = {550, 45x, \"-\"} statuses = {\"x.7.1\"}\n"
	"text = {'No \"such\" one', \"a ... _b_\"}\n"
	"class = rate-limit verdict = temporary note = 'a + b' } rule two { codes = {421} class = unknown }\n"
	"queue { warn_after = never retry_first = 1500ms lifetime = 36h window_octets = 1G return_full_max = 0 }\n"
	"client { chunking = no idle_timeout = 250ms }\n"
	"mailbox { newlines = lf full_wait = 3h delimiter = \"#\" }\n"
	"log { format = json level = error }\n";

static void dump(const struct conf *c, struct buf *out)
{
	buf_reset(out);
	assert_true(conf_dump(c, out));
	assert_non_null(buf_cstr(out));
}

static void a_dump_is_read_back_to_the_same_on_any_machine(void **state)
{
	(void)state;
	static const struct conf_host other = {.name = {"other.test", 10}, .cores = 17};
	static const char *const texts[] = {"", "domain example.com {}", "listen a { socket = /run/a }"};
	struct buf first, second;

	buf_init(&first, CONF_TEXT_MAX);
	buf_init(&second, CONF_TEXT_MAX);
	for (size_t i = 0; i < 4; i++) {
		struct conf *c = load(i < 3 ? texts[i] : everything);

		dump(c, &first);
		struct conf *again = conf_load_text(buf_slice(&first), "dump", &other, &test_err);
		if (!again)
			fail_msg("%s%s", buf_cstr(&first), test_err.text);
		dump(again, &second);
		assert_string_equal(buf_cstr(&first), buf_cstr(&second));
		assert_slice(again->hostname, c->hostname.p);
		assert_int_equal(again->receivers, c->receivers);
		assert_int_equal(again->listener_count, c->listener_count);
		const char *which;
		assert_false(conf_needs_restart(c, again, &which));
		conf_unref(again);
		conf_unref(c);
	}
	buf_free(&second);
	buf_free(&first);
}

static size_t lines_of(const char *text, const char *line)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
		n++;
	return n;
}

static void a_short_dump_says_the_same(void **state)
{
	(void)state;
	static const struct conf_host other = {.name = {"other.test", 10}, .cores = 17};
	static const char *const texts[] = {
		"", everything,
		"domain example.com { mailboxes = {a, b} message_max = 5M\n"
		"limit a { message_max = none } limit b { quota_octets = 1G } }\n"
		"route a.example { hosts = {mx} auth_user = u auth_secret_file = /s auth_required = no tls = verify\n"
		"auth_mechanisms = {PLAIN} tls_ca = /ca tls_name = n.example }\n"
		"route b.example { hosts = {mx} tls = off auth_required = no auth_in_clear = all }"};
	struct buf whole, part, again;

	buf_init(&whole, CONF_TEXT_MAX);
	buf_init(&part, CONF_TEXT_MAX);
	buf_init(&again, CONF_TEXT_MAX);
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct conf *c = load(texts[i]);

		dump(c, &whole);
		buf_reset(&part);
		assert_true(conf_dump_short(c, &part));
		struct conf *read = conf_load_text(buf_slice(&part), "dump", &other, &test_err);
		if (!read)
			fail_msg("%s%s", buf_cstr(&part), test_err.text);
		dump(read, &again);
		assert_string_equal(buf_cstr(&whole), buf_cstr(&again));
		conf_unref(read);
		conf_unref(c);
	}
	buf_free(&again);
	buf_free(&part);
	buf_free(&whole);
}

static void what_routes_and_domains_have_by_themselves_is_not_in_a_short_dump(void **state)
{
	(void)state;
	struct buf text;
	struct conf *c = load("domain a.example { mailboxes = {a} } domain b.example {}\n"
			      "route c.example { hosts = {mx} } route d.example { hosts = {mx} convert = no }");

	buf_init(&text, CONF_TEXT_MAX);
	assert_true(conf_dump_short(c, &text));
	assert_non_null(strstr(buf_cstr(&text), "route \"c.example\" {\n\thosts = {\"mx\"}\n}\n"));
	assert_non_null(strstr(buf_cstr(&text), "route \"d.example\" {\n\thosts = {\"mx\"}\n\tconvert = no\n}\n"));
	assert_non_null(strstr(buf_cstr(&text), "domain \"a.example\" {\n\tmailboxes = {\"a\"}\n}\n"));
	assert_non_null(strstr(buf_cstr(&text), "domain \"b.example\" {\n}\n"));
	/* What is there once depends on the host, or on other keys. */
	assert_int_equal(lines_of(buf_cstr(&text), "receivers = "), 1);
	conf_unref(c);
	buf_free(&text);
}

static void values_survive_the_dump(void **state)
{
	(void)state;
	struct buf text;
	struct conf *c = load(everything);

	buf_init(&text, CONF_TEXT_MAX);
	dump(c, &text);
	conf_unref(c);
	c = load(buf_cstr(&text));
	assert_slice(c->data_dir, "/srv/a \"quoted\" \\ ${dir}");
	assert_slice(c->submit_socket, "");
	assert_int_equal(c->listener_count, 3);
	assert_true(c->listeners[0].server.size_max == 3 << 20);
	assert_true(c->listeners[1].server.size_max == 7 << 20);
	assert_true(c->listeners[1].server.lmtp);
	assert_false(c->listeners[1].server.offer_dsn);
	assert_true(c->listeners[1].server.command_timeout == 90 * SECOND);
	assert_slice(c->listeners[2].socket, "/run/it");
	assert_slice(c->domains[0].name, "xn--bcher-kva.example");
	assert_int_equal(c->domains[0].mailboxes.count, 3);
	assert_slice(c->domains[0].mailboxes.list[2], "a$b");
	assert_slice(c->domains[0].catch_all, "o'hara");
	assert_int_equal(c->domains[1].moved_count, 2);
	assert_slice(c->domains[1].moved[0].name, "carol");
	assert_slice(c->domains[1].moved[1].to, "\"d d\"@example.net");
	assert_true(c->domains[1].moved[1].forward);
	assert_int_equal(c->domains[1].list_count, 2);
	assert_slice(c->domains[1].lists[0].name, "st$ff");
	assert_slice(c->domains[1].lists[0].members.list[1], "bob@example.net");
	assert_int_equal(c->domains[1].lists[0].post, DIRECTORY_POST_MEMBERS);
	assert_slice(c->domains[1].lists[0].senders.list[0], "example.org");
	assert_slice(c->domains[1].lists[0].senders.list[1], "x@y.example");
	assert_true(c->domains[1].lists[1].disclose);
	assert_slice(c->domains[1].suspended.list[0], "s");
	assert_slice(c->resolver, "192.0.2.53@53");
	assert_int_equal(c->check_null_mx, CONF_CHECK_STRICT);
	assert_int_equal(c->check_domains, CONF_CHECK_YES);
	assert_int_equal(c->listeners[1].check_reverse_dns, CONF_CHECK_STRICT);
	assert_slice(c->listeners[0].refuse_media.list[0], "video/*");
	assert_slice(c->listeners[0].refuse_attachments.list[0], "exe");
	assert_slice(c->listeners[0].refuse_attachments.list[1], "tar.gz");
	assert_int_equal(c->domains[0].message_max, 3 << 20);
	assert_int_equal(c->domains[0].limit_count, 1);
	assert_slice(c->domains[0].limits[0].name, "O'Hara");
	assert_int_equal(c->domains[0].limits[0].message_max, 0);
	assert_int_equal(c->domains[0].quota.octets, 1 << 30);
	assert_int_equal(c->domains[0].limits[0].quota.octets, 1 << 30);
	assert_int_equal(c->domains[0].limits[0].quota.messages, 7);
	assert_int_equal(c->full_wait, 3 * HOUR);
	assert_int_equal(c->ticket_lifetime, 0);
	assert_true(c->keep_cram_md5);
	assert_int_equal(c->certificate_count, 3);
	assert_slice(c->certificates[0].name, "*.example.com");
	assert_slice(c->certificates[0].key, "/srv/key \"1\".pem");
	assert_int_equal(c->certificates[0].ocsp.n, 0);
	assert_slice(c->certificates[2].name, "mx.example.com");
	assert_slice(c->certificates[2].ocsp, "/srv/ec.ocsp");
	assert_int_equal(c->listeners[0].server.tls, SMTP_TLS_IMPLICIT);
	assert_int_equal(c->listeners[1].server.tls, SMTP_TLS_OFFER);
	assert_int_equal(c->listeners[2].server.tls, SMTP_TLS_OFF); /* a unix socket */
	assert_int_equal(c->status, CONF_DISCLOSE_RELAY);
	assert_int_equal(c->listeners[0].connections_per_minute, 5);
	assert_int_equal(c->listeners[0].messages_per_minute, 0);
	assert_int_equal(c->listeners[1].clients.count, 1);
	assert_int_equal(c->listeners[1].server.suspended_count, 1);
	assert_slice(c->listeners[1].server.suspended[0], "SMTPUTF8");
	assert_true(c->queue.retry.warn == 0);
	assert_true(c->queue.retry.first == 1500);
	assert_slice(c->queue.postmaster, "bob@example.com");
	assert_int_equal(c->delimiter, '#');
	assert_true(c->routes[0].from_anybody);
	assert_false(c->routes[0].convert);
	assert_true(c->routes[0].own_name);
	assert_slice(c->literal_texts.list[1], "2001:db8::1");
	assert_int_equal(c->rules.count, 2);
	assert_slice(c->rule_keys[0].note, "a + b");
	assert_int_equal(c->rules.rule[0].klass, SMTPCODES_RATE_LIMIT);
	assert_int_equal(c->rules.rule[0].verdict, SMTPCODES_TEMPORARY);
	assert_slice(slice_of(c->rules.rule[0].name.p, c->rules.rule[0].name.n), "it's $5");
	assert_slice(slice_of(c->rules.rule[0].codes.p, c->rules.rule[0].codes.n), "550,45x,-");
	assert_slice(slice_of(c->rules.rule[0].statuses.p, c->rules.rule[0].statuses.n), "x.7.1");
	assert_slice(slice_of(c->rules.rule[0].text.p, c->rules.rule[0].text.n), "No \"such\" one | a ... _b_");
	assert_slice(slice_of(c->rules.rule[1].text.p, c->rules.rule[1].text.n), "*");
	assert_int_equal(c->rules.rule[1].verdict, SMTPCODES_UNKNOWN);
	conf_unref(c);
	buf_free(&text);
}

static void a_dump_holds_every_key(void **state)
{
	(void)state;
	struct buf text;
	struct conf *c = load(everything);

	buf_init(&text, CONF_TEXT_MAX);
	dump(c, &text);
	for (size_t i = 0; i < conf_key_count; i++) {
		char line[100];

		snprintf(line, sizeof line, "%s = ", conf_keys[i].name);
		if (!strstr(buf_cstr(&text), line))
			fail_msg("%s is not in the dump", conf_keys[i].name);
	}
	conf_unref(c);
	buf_free(&text);
}

static void a_dump_that_does_not_fit_says_so(void **state)
{
	(void)state;
	struct buf small;
	struct conf *c = load("");

	buf_init(&small, 500);
	assert_false(conf_dump(c, &small));
	buf_free(&small);
	conf_unref(c);
}

static void keys_that_only_a_start_puts_into_force_are_named(void **state)
{
	(void)state;
	static const struct {
		const char *from, *to, *which;
	} rows[] = {
		{"data_dir = /a submit_socket = none control_socket = /c",
		 "data_dir = /b submit_socket = none control_socket = /c", "data_dir"},
		{"", "hostname = b.test", "hostname"},
		{"receivers = 1", "receivers = 2", "receivers"},
		{"", "submit_socket = none", "submit_socket"},
		{"listen a { port = 1 }", "listen a { port = 2 }", "port"},
		{"listen a { port = 1 }", "listen a { socket = /s }", "address"},
		{"listen a { port = 1 }", "listen a { port = 1 } listen b { port = 2 }", "listen"},
		{"", "queue { inline_body_max = 64k }", "inline_body_max"},
		{"listen a { port = 1 }", "listen b { port = 1 size_max = 1M }", NULL},
		{"", "domain example.com { mailboxes = {x} }", NULL},
		{"", "relay_networks = {::1} log { level = debug } queue { lifetime = 2d } smtp { errors_max = 5 }",
		 NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct conf *from = load(rows[i].from), *to = load(rows[i].to);
		const char *which = "?";

		assert_int_equal(conf_needs_restart(from, to, &which), rows[i].which != NULL);
		if (rows[i].which)
			assert_string_equal(which, rows[i].which);
		else
			assert_null(which);
		conf_unref(from);
		conf_unref(to);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dump_is_read_back_to_the_same_on_any_machine),
		cmocka_unit_test(a_short_dump_says_the_same),
		cmocka_unit_test(what_routes_and_domains_have_by_themselves_is_not_in_a_short_dump),
		cmocka_unit_test(values_survive_the_dump),
		cmocka_unit_test(a_dump_holds_every_key),
		cmocka_unit_test(a_dump_that_does_not_fit_says_so),
		cmocka_unit_test(keys_that_only_a_start_puts_into_force_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
