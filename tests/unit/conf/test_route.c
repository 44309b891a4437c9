#include "conf_test.h"

static const char text[] =
	"hostname = mx.test relay_networks = {10.0.0.0/8, \"2001:db8::/32\"}\n"
	"listen a { address = 192.0.2.25 port = 25 }\n"
	"domain local.example { mailboxes = {alice, bob} disabled = {dave} moved carol { to = \"c@new.example\" "
	"disclose = yes } }\n"
	"domain catch.example { mailboxes = {u} catch_all = u }\n"
	"domain lmtp.example { deliver = lmtp lmtp = 'unix:/run/lmtp' mailboxes = {'*'} }\n"
	"domain tcp.example { deliver = lmtp lmtp = 'inet:lmtp.test:2003' mailboxes = {x} }\n"
	"route later.example { hosts = {mx.later.example} hold = yes }\n"
	"route partner.example { hosts = {\"mx1.partner.example:2525\", \"[192.0.2.7]\", \"2001:db8::7\"} }\n"
	"route friend.example { hosts = {mx.friend.example} from_anybody = yes }\n";
static const char smart[] = "route \"*\" { hosts = {smart.test:587, spare.test} }\n";

static struct conf *load_routes(bool smarthost)
{
	char both[sizeof text + sizeof smart];

	snprintf(both, sizeof both, "%s%s", text, smarthost ? smart : "");
	return load(both);
}

static void each_recipient_has_its_way(void **state)
{
	(void)state;
	static const struct {
		const char *address;
		enum route_kind kind, with_smarthost;
		const char *site, *mailbox, *hosts;
	} rows[] = {
		{"alice@local.example", ROUTE_MAILBOX, ROUTE_MAILBOX, "local/local.example", "local.example/alice", ""},
		{"Alice+x@LOCAL.example", ROUTE_MAILBOX, ROUTE_MAILBOX, "local/local.example", "local.example/alice",
		 ""},
		{"\"alice\"@local.example", ROUTE_MAILBOX, ROUTE_MAILBOX, "local/local.example", "local.example/alice",
		 ""},
		{"any@catch.example", ROUTE_MAILBOX, ROUTE_MAILBOX, "local/catch.example", "catch.example/u", ""},
		{"nobody@local.example", ROUTE_UNKNOWN_MAILBOX, ROUTE_UNKNOWN_MAILBOX, "", "", ""},
		{"dave@local.example", ROUTE_UNKNOWN_MAILBOX, ROUTE_UNKNOWN_MAILBOX, "", "", ""},
		{"carol@local.example", ROUTE_UNKNOWN_MAILBOX, ROUTE_UNKNOWN_MAILBOX, "", "", ""},
		{"x@lmtp.example", ROUTE_LMTP, ROUTE_LMTP, "lmtp/lmtp.example", "", "lmtp/lmtp.example"},
		{"x@tcp.example", ROUTE_LMTP, ROUTE_LMTP, "lmtp/tcp.example", "", "lmtp/tcp.example"},
		{"y@tcp.example", ROUTE_UNKNOWN_MAILBOX, ROUTE_UNKNOWN_MAILBOX, "", "", ""},
		{"y@Partner.Example", ROUTE_SMTP, ROUTE_SMTP, "partner.example", "", "partner.example"},
		{"z@later.example", ROUTE_SMTP, ROUTE_SMTP, "later.example", "", "later.example"},
		{"postmaster", ROUTE_MAILBOX, ROUTE_MAILBOX, "local/local.example", "local.example/postmaster", ""},
		{"PostMaster", ROUTE_MAILBOX, ROUTE_MAILBOX, "local/local.example", "local.example/postmaster", ""},
		{"postmaster@[192.0.2.25]", ROUTE_MAILBOX, ROUTE_MAILBOX, "local/local.example",
		 "local.example/postmaster", ""},
		{"postmaster@mx.test", ROUTE_MAILBOX, ROUTE_MAILBOX, "local/local.example", "local.example/postmaster",
		 ""},
		{"alice@[192.0.2.25]", ROUTE_UNKNOWN_MAILBOX, ROUTE_UNKNOWN_MAILBOX, "", "", ""},
		{"alice@[192.0.2.26]", ROUTE_NONE, ROUTE_SMTP, NULL, "", NULL},
		{"alice@mx.test", ROUTE_NONE, ROUTE_SMTP, NULL, "", NULL},
		{"alice@example.net", ROUTE_NONE, ROUTE_SMTP, NULL, "", NULL},
		{"alice@sub.local.example", ROUTE_NONE, ROUTE_SMTP, NULL, "", NULL},
		{"alice", ROUTE_NONE, ROUTE_NONE, "", "", ""},
		{"", ROUTE_NONE, ROUTE_NONE, "", "", ""},
		{"@local.example", ROUTE_NONE, ROUTE_NONE, "", "", ""},
		{"alice@", ROUTE_NONE, ROUTE_NONE, "", "", ""},
		{"alice@local.example ", ROUTE_NONE, ROUTE_NONE, "", "", ""},
	};

	for (int with = 0; with < 2; with++) {
		struct conf *c = load_routes(with);

		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct route route;
			enum route_kind kind = with ? rows[i].with_smarthost : rows[i].kind;

			conf_route(c, slice_from_cstr(rows[i].address), &route);
			if (route.kind != kind)
				fail_msg("%s: %d, not %d", rows[i].address, route.kind, kind);
			assert_slice(route.site, rows[i].site ? rows[i].site : with ? "smarthost" : "");
			assert_slice(route.hosts, rows[i].hosts ? rows[i].hosts : with ? "*" : "");
			assert_slice(route.mailbox, rows[i].mailbox);
			assert_int_equal(route.hold, slice_eq(route.site, SLICE("later.example")));
			/* What leads to hosts leads to a group that is there. */
			assert_true(route.hosts.n == 0 || conf_hosts(c, route.hosts));
		}
		conf_unref(c);
	}
}

static void host_groups_hold_hosts_in_order_of_preference(void **state)
{
	(void)state;
	struct conf *c = load_routes(true);
	const struct route_group *g = conf_hosts(c, SLICE("partner.example"));

	assert_int_equal(g->count, 3);
	assert_false(g->lmtp);
	assert_slice(g->hosts[0].name, "mx1.partner.example");
	assert_int_equal(g->hosts[0].port, 2525);
	assert_int_equal(g->hosts[1].kind, ROUTE_HOST_ADDRESS);
	assert_slice(g->hosts[1].name, "192.0.2.7");
	assert_int_equal(g->hosts[1].port, 25);
	assert_slice(g->hosts[2].name, "2001:db8::7");
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(g->hosts[i].preference, i);
	g = conf_hosts(c, SLICE("lmtp/lmtp.example"));
	assert_true(g->lmtp);
	assert_int_equal(g->hosts[0].kind, ROUTE_HOST_UNIX);
	assert_slice(g->hosts[0].name, "/run/lmtp");
	g = conf_hosts(c, SLICE("lmtp/tcp.example"));
	assert_int_equal(g->hosts[0].port, 2003);
	assert_slice(g->hosts[0].name, "lmtp.test");
	assert_null(conf_hosts(c, SLICE("unknown.example")));
	conf_unref(c);
}

static void the_queue_asks_the_same_routes(void **state)
{
	(void)state;
	struct conf *c = load_routes(true);
	struct route route;

	c->queue.router.route(c->queue.router.arg, SLICE("bob@local.example"), &route);
	assert_int_equal(route.kind, ROUTE_MAILBOX);
	assert_slice(route.mailbox, "local.example/bob");
	conf_unref(c);
}

/* ---- relaying ------------------------------------------------------------------------------------------------ */

static struct relay_client client_of(const char *address)
{
	struct relay_client client = {0};

	if (strcmp(address, "unix") == 0)
		client.local_user = true;
	else
		assert_true(ip_parse(slice_from_cstr(address), &client.address));
	return client;
}

/* The answer to RCPT; false: it was refused for its syntax. */
static bool rcpt(const struct conf *c, const char *from, struct slice path, struct conf_recipient *ret)
{
	struct relay_client client = client_of(from);
	struct mail_address address;
	const char *why;
	size_t used;

	if (mail_path_parse(path, false, true, &address, &used, &why) != MAIL_ADDRESS_OK || used != path.n)
		return false;
	conf_recipient(c, &client, &address, ret);
	return true;
}

static void who_may_send_to_whom(void **state)
{
	(void)state;
	static const struct {
		const char *client, *path;
		enum relay_decision decision, with_smarthost;
	} rows[] = {
		{"203.0.113.1", "<alice@local.example>", RELAY_OURS, RELAY_OURS},
		{"203.0.113.1", "<postmaster>", RELAY_OURS, RELAY_OURS},
		{"203.0.113.1", "<x@lmtp.example>", RELAY_OURS, RELAY_OURS},
		{"203.0.113.1", "<nobody@local.example>", RELAY_UNKNOWN_MAILBOX, RELAY_UNKNOWN_MAILBOX},
		{"203.0.113.1", "<x@partner.example>", RELAY_DENIED, RELAY_DENIED},
		{"203.0.113.1", "<x@friend.example>", RELAY_ALLOWED, RELAY_ALLOWED},
		{"203.0.113.1", "<x@sub.friend.example>", RELAY_DENIED, RELAY_DENIED},
		{"203.0.113.1", "<x@f.example>", RELAY_DENIED, RELAY_DENIED},
		{"::1", "<x@f.example>", RELAY_DENIED, RELAY_DENIED},
		{"127.0.0.1", "<x@f.example>", RELAY_DENIED, RELAY_DENIED},
		{"11.0.0.1", "<x@f.example>", RELAY_DENIED, RELAY_DENIED},
		{"10.1.2.3", "<x@partner.example>", RELAY_ALLOWED, RELAY_ALLOWED},
		{"::ffff:10.1.2.3", "<x@partner.example>", RELAY_ALLOWED, RELAY_ALLOWED},
		{"2001:db8::5", "<x@partner.example>", RELAY_ALLOWED, RELAY_ALLOWED},
		{"10.1.2.3", "<x@f.example>", RELAY_NO_ROUTE, RELAY_ALLOWED},
		{"unix", "<x@f.example>", RELAY_NO_ROUTE, RELAY_ALLOWED},
		{"unix", "<x@partner.example>", RELAY_ALLOWED, RELAY_ALLOWED},
		{"unix", "<nobody@local.example>", RELAY_UNKNOWN_MAILBOX, RELAY_UNKNOWN_MAILBOX},
	};

	for (int with = 0; with < 2; with++) {
		struct conf *c = load_routes(with);

		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct conf_recipient r;

			assert_true(rcpt(c, rows[i].client, slice_from_cstr(rows[i].path), &r));
			if (r.decision != (with ? rows[i].with_smarthost : rows[i].decision))
				fail_msg("%s to %s: %d", rows[i].client, rows[i].path, r.decision);
		}
		conf_unref(c);
	}
}

/* How mail for a domain with this host goes; the warning stands in test_err. */
static bool leads_back(const char *listeners, const char *hosts)
{
	char file[1000];
	struct conf_recipient r;

	snprintf(file, sizeof file,
		 "address_literals = {192.0.2.9} relay_networks = {10.0.0.0/8} submit_socket = none\n"
		 "%s\nroute far.example { hosts = {%s} }",
		 listeners, hosts);
	struct conf *c = load(file);
	assert_true(rcpt(c, "10.1.2.3", SLICE("<x@far.example>"), &r));
	assert_int_equal(test_err.warnings, r.in_a_circle);
	assert_true(!r.in_a_circle || strstr(test_err.text, "leads back to this server"));
	conf_unref(c);
	return r.in_a_circle;
}

static void a_route_that_only_leads_back_to_us_is_known(void **state)
{
	(void)state;
	static const char
		any[] = "listen a { port = 25 }",
		one[] = "listen a { address = 192.0.2.25 port = 2525 }",
		four[] = "listen a { address = 0.0.0.0 port = 25 }", six[] = "listen a { address = '::' port = 25 }",
		both[] = "listen a { address = 192.0.2.25 port = 25 } listen b { address = '2001:db8::1' port = 26 }";
	static const struct {
		const char *listeners, *hosts;
		bool back;
	} rows[] = {
		{any, "127.0.0.1", true},
		{any, "'[::1]:25'", true},
		{any, "192.0.2.9", true}, /* address_literals */
		{any, "192.0.2.10", false},
		{any, "'127.0.0.1:26'", false},
		{any, "localhost", false}, /* who knows what it is */
		{any, "127.0.0.1, 192.0.2.10", false},
		{one, "'192.0.2.25:2525'", true},
		{one, "192.0.2.25", false},
		{one, "'127.0.0.1:2525'", false},
		{four, "127.0.0.1", true},
		{four, "'[::1]'", false},
		{six, "'[::1]'", true},
		{both, "192.0.2.25, '[2001:db8::1]:26'", true},
		{both, "192.0.2.25, '[2001:db8::1]:27'", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (leads_back(rows[i].listeners, rows[i].hosts) != rows[i].back)
			fail_msg("%s to %s", rows[i].listeners, rows[i].hosts);
}

static void an_lmtp_server_that_is_our_own_socket_is_known(void **state)
{
	(void)state;
	struct conf *c = load("listen a { socket = '/run/a' protocol = lmtp }\n"
			      "domain a.example { deliver = lmtp lmtp = 'unix:/run/a' mailboxes = {x} }\n"
			      "domain b.example { deliver = lmtp lmtp = 'unix:/run/b' mailboxes = {x} }");
	struct conf_recipient r;

	assert_int_equal(test_err.warnings, 1);
	assert_true(rcpt(c, "203.0.113.1", SLICE("<x@a.example>"), &r));
	assert_true(r.in_a_circle);
	assert_true(rcpt(c, "203.0.113.1", SLICE("<x@b.example>"), &r));
	assert_false(r.in_a_circle);
	conf_unref(c);
}

static void only_domains_without_a_route_of_their_own_go_by_the_dns(void **state)
{
	(void)state;
	static const struct {
		const char *path;
		bool by_dns;
	} rows[] = {
		{"<x@f.example>", true},     {"<x@partner.example>", false},    {"<alice@local.example>", false},
		{"<x@lmtp.example>", false}, {"<nobody@local.example>", false}, {"<postmaster>", false},
	};

	for (int with = 0; with < 2; with++) {
		struct conf *c = load_routes(with);
		struct conf_recipient r;

		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			assert_true(rcpt(c, "10.1.2.3", slice_from_cstr(rows[i].path), &r));
			if (r.by_dns != rows[i].by_dns)
				fail_msg("%s", rows[i].path);
		}
		conf_unref(c);
	}
}

static void only_what_asks_needs_the_dns(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool asks;
	} rows[] = {
		{"", false},
		{"check_null_mx = yes", true},
		{"check_domains = yes", true},
		{"listen a {} smtp { check_reverse_dns = yes }", true},
		{"listen a {} listen b { port = 26 check_reverse_dns = yes }", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct conf *c = load(rows[i].text);

		if (conf_asks_dns(c) != rows[i].asks)
			fail_msg("%s", rows[i].text);
		conf_unref(c);
	}
}

static void the_limits_of_mailboxes_are_known(void **state)
{
	(void)state;
	struct conf *c =
		load("domain a.example { mailboxes = {alice, bob, carl} suspended = {sue} message_max = 1M\n"
		     "limit BOB { message_max = 2M } limit carl { message_max = none } limit sue { message_max = 3M }\n"
		     "moved m { to = 'dora@b.example' forward = yes }\n"
		     "list all { members = {'bob@a.example', 'eve@b.example'} } list free { members = "
		     "{'carl@a.example'} } }\n"
		     "domain b.example { deliver = lmtp lmtp = 'unix:/s' mailboxes = {'*'} limit dora { message_max = "
		     "64k } }");
	static const struct {
		const char *path;
		uint64_t max;
	} rows[] = {
		{"<alice@a.example>", 1 << 20}, {"<alice+x@a.example>", 1 << 20}, {"<bob@a.example>", 2 << 20},
		{"<carl@a.example>", 0},        {"<sue@a.example>", 3 << 20},     {"<m@a.example>", 65536},
		{"<all@a.example>", 2 << 20},   {"<free@a.example>", 0},          {"<Dora@b.example>", 65536},
		{"<anybody@b.example>", 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct conf_recipient r;

		assert_true(rcpt(c, "203.0.113.1", slice_from_cstr(rows[i].path), &r));
		if (r.entry.message_max != rows[i].max)
			fail_msg("%s: %llu", rows[i].path, (unsigned long long)r.entry.message_max);
	}
	conf_unref(c);
}

static void the_quotas_of_mailboxes_are_known(void **state)
{
	(void)state;
	struct conf *c = load("domain a.example { mailboxes = {alice, Bob, \"o'hara\", carl} quota_octets = 1M\n"
			      "limit bob { quota_messages = 5 } limit \"o'hara\" { quota_octets = 2M }\n"
			      "limit carl { quota_octets = none } }\n"
			      "domain b.example { mailboxes = {alice} }");
	static const struct {
		const char *path;
		uint64_t octets, messages;
	} rows[] = {
		{"a.example/alice", 1 << 20, 0},
		{"a.example/bob", 1 << 20, 5},
		{"a.example/o=27hara", 2 << 20, 0},
		{"a.example/carl", 0, 0},
		{"a.example/postmaster", 1 << 20, 0},
		{"b.example/alice", 0, 0},
		{"c.example/alice", 0, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct conf_quota q = conf_quota_of(c, slice_from_cstr(rows[i].path));

		if (q.octets != rows[i].octets || q.messages != rows[i].messages)
			fail_msg("%s: %llu %u", rows[i].path, (unsigned long long)q.octets, q.messages);
	}
	conf_unref(c);
}

static void a_route_says_what_its_hosts_may_be(void **state)
{
	(void)state;
	struct conf *c = load("domain l.example { deliver = lmtp lmtp = 'unix:/s' mailboxes = {'*'} }\n"
			      "route a.example { hosts = {x.test} } route b.example { hosts = {x.test} convert = no "
			      "own_name = yes }");

	assert_true(conf_hosts(c, SLICE("a.example"))->convert);
	assert_false(conf_hosts(c, SLICE("a.example"))->own_name);
	assert_false(conf_hosts(c, SLICE("b.example"))->convert);
	assert_true(conf_hosts(c, SLICE("b.example"))->own_name);
	/* An LMTP server is often on this machine, and has its name. */
	assert_true(conf_hosts(c, SLICE("lmtp/l.example"))->convert);
	assert_true(conf_hosts(c, SLICE("lmtp/l.example"))->own_name);
	conf_unref(c);
}

static void disabled_and_moved_mailboxes_are_told_apart(void **state)
{
	(void)state;
	struct conf *c = load_routes(true);
	struct conf_recipient r;

	assert_true(rcpt(c, "203.0.113.1", SLICE("<dave@local.example>"), &r));
	assert_int_equal(r.decision, RELAY_UNKNOWN_MAILBOX);
	assert_int_equal(r.entry.result, DIRECTORY_DISABLED);
	assert_true(rcpt(c, "203.0.113.1", SLICE("<carol@local.example>"), &r));
	assert_int_equal(r.entry.result, DIRECTORY_MOVED);
	assert_slice(r.entry.moved_to, "c@new.example");
	assert_true(r.entry.disclose);
	conf_unref(c);
}

static const char lists[] =
	"hostname = mx.test relay_networks = {10.0.0.0/8}\n"
	"domain local.example { mailboxes = {alice, bob} suspended = {zoe}\n"
	" moved carol { to = \"c@new.example\" forward = yes }\n"
	" list everybody { members = {\"alice@local.example\", \"carol@local.example\"} }\n"
	" list relay { members = {\"alice@local.example\"} post = relay }\n"
	" list members { members = {\"Alice@local.example\", \"everybody@local.example\"} post = members }\n"
	" list nobody { members = {\"alice@local.example\"} post = nobody senders = {\"x@out.example\", .far.example} "
	"} }\n"
	"route new.example { hosts = {mx.new.example} }\n";

static void lists_and_forwarding_are_ours_and_suspended_mailboxes_keep_their_route(void **state)
{
	(void)state;
	struct conf *c = load(lists);
	struct conf_recipient r;
	struct route route;

	assert_true(rcpt(c, "203.0.113.1", SLICE("<carol@local.example>"), &r));
	assert_int_equal(r.decision, RELAY_OURS);
	assert_int_equal(r.entry.result, DIRECTORY_FORWARDED);
	assert_true(rcpt(c, "203.0.113.1", SLICE("<everybody@local.example>"), &r));
	assert_int_equal(r.decision, RELAY_OURS);
	assert_int_equal(r.entry.targets.count, 2);
	assert_true(rcpt(c, "203.0.113.1", SLICE("<zoe@local.example>"), &r));
	assert_int_equal(r.entry.result, DIRECTORY_SUSPENDED);
	conf_route(c, SLICE("zoe@local.example"), &route);
	assert_int_equal(route.kind, ROUTE_MAILBOX);
	assert_slice(route.mailbox, "local.example/zoe");
	conf_unref(c);
}

static void who_may_send_to_a_list(void **state)
{
	(void)state;
	static const struct {
		const char *list, *client, *sender;
		bool may;
	} rows[] = {
		{"<everybody@local.example>", "203.0.113.1", "x@any.example", true},
		{"<everybody@local.example>", "203.0.113.1", "", true},
		{"<relay@local.example>", "10.1.1.1", "x@any.example", true},
		{"<relay@local.example>", "unix", "", true},
		{"<relay@local.example>", "203.0.113.1", "alice@local.example", false},
		{"<members@local.example>", "203.0.113.1", "ALICE@LOCAL.example", true},
		{"<members@local.example>", "203.0.113.1", "c@new.example", true},
		{"<members@local.example>", "203.0.113.1", "carol@local.example", false},
		{"<members@local.example>", "10.1.1.1", "bob@local.example", false},
		{"<members@local.example>", "unix", "", false},
		{"<nobody@local.example>", "unix", "alice@local.example", false},
		{"<nobody@local.example>", "203.0.113.1", "X@out.example", true},
		{"<nobody@local.example>", "203.0.113.1", "y@very.far.example", true},
		{"<nobody@local.example>", "203.0.113.1", "y@far.example", false},
	};
	struct conf *c = load(lists);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct relay_client client = client_of(rows[i].client);
		struct mail_address sender = {.kind = MAIL_DOMAIN_NONE};
		struct conf_recipient r;
		const char *why;

		assert_true(rcpt(c, rows[i].client, slice_from_cstr(rows[i].list), &r));
		mail_address_parse(slice_from_cstr(rows[i].sender), &sender, &why);
		if (conf_may_post(c, &client, &r.entry, &sender) != rows[i].may)
			fail_msg("%s by %s from %s", rows[i].list, rows[i].sender, rows[i].client);
	}
	conf_unref(c);
}

static void reports_go_on_to_those_whom_an_open_address_stands_for(void **state)
{
	(void)state;
	static const struct {
		const char *address;
		size_t count;
		const char *first;
	} rows[] = {
		{"carol@local.example", 1, "c@new.example"},
		{"Everybody@LOCAL.example", 2, "alice@local.example"},
		{"relay@local.example", 0, ""},
		{"members@local.example", 0, ""},
		{"nobody@local.example", 0, ""},
		{"alice@local.example", 0, ""},
		{"unknown@local.example", 0, ""},
		{"x@elsewhere.example", 0, ""},
		{"no address", 0, ""},
		{"", 0, ""},
	};
	struct conf *c = load(lists);

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice address = slice_from_cstr(rows[i].address);
		struct directory_texts targets = conf_report_targets(c, address);
		const struct slice *asked;

		if (targets.count != rows[i].count)
			fail_msg("%s: %zu", rows[i].address, targets.count);
		if (targets.count > 0)
			assert_slice(targets.list[0], rows[i].first);
		assert_int_equal(c->queue.router.expand(c->queue.router.arg, address, &asked), targets.count);
	}
	conf_unref(c);
}

static void names_of_ours_are_known(void **state)
{
	(void)state;
	struct conf *c = load_routes(true);

	assert_true(conf_is_own_name(c, SLICE("MX.test")));
	assert_true(conf_is_own_name(c, SLICE("local.Example")));
	assert_true(conf_is_own_name(c, SLICE("[192.0.2.25]")));
	assert_false(conf_is_own_name(c, SLICE("[192.0.2.26]")));
	assert_false(conf_is_own_name(c, SLICE("other.test")));
	assert_false(conf_is_own_name(c, SLICE("partner.example")));
	assert_false(conf_is_own_name(c, SLICE("")));
	conf_unref(c);
}

/* L: a domain of ours; [ip]: our address. */
static const char *const corpus[] = {
	"<u@f.example>",
	"<u%f.example@L>",
	"<u%f.example@[ip]>",
	"<\"u@f.example\">",
	"<\"u@f.example\"@L>",
	"<\"u%f.example\"@L>",
	"<@L:u@f.example>",
	"<@L,@f.example:u@f.example>",
	"<u@f.example@L>",
	"<f.example!u>",
	"<f.example!u@L>",
	"<L!u@f.example>",
	"<u@f.example@[ip]>",
	"<\"\\\"u@f.example\\\"\"@L>",
	"<u@L.>",
	"<u@L@>",
	"<@>",
	"<@L>",
	"<postmaster@>",
	"<>",
	"u@f.example",
	"<u%40f.example@L>",
	"<u@f.example,v@L>",
	"<u@[f.example]>",
	"<u@0x7f000001>",
	"<u@[IPv6:::ffff:10.0.0.1]>",
	"<SRS0=forged=xx=f.example=u@L>",
	"<-oQ/tmp@f.example>",
	"<u@L@f.example>",
	"<u@f.example.>",
	"<u@L:u@f.example>",
	"<u@[192.0.2.99]>",
	"<u@localhost>",
	"<u@127.0.0.1>",
	"<postmaster@f.example>",
	"<postmaster%f.example@L>",
	"<u+f.example@L>",
	"<\"u\\@f.example\"@L>",
	"<u@L>u@f.example>",
	"<@[ip]:u@f.example>",
};

/* Puts a domain of ours and our address into a form of the corpus. */
static void fill_in(const char *form, const char *domain, struct buf *out)
{
	struct slice s = slice_from_cstr(form);

	buf_reset(out);
	while (s.n) {
		bool ip = slice_starts(s, SLICE("[ip]"));

		if (ip)
			buf_add_lit(out, "[192.0.2.25]");
		else if (s.p[0] == 'L')
			buf_add(out, slice_from_cstr(domain));
		else
			buf_add_char(out, s.p[0]);
		s = slice_skip(s, ip ? 4 : 1);
	}
}

/* attacks.md E1: from a client that may not relay, each form is refused, or its mail stays here. */
static void open_relay_corpus_E1(void **state)
{
	(void)state;
	static const char *const domains[] = {"local.example", "catch.example", "lmtp.example", "LOCAL.EXAMPLE"};
	struct conf *c = load_routes(true); /* with a smart host that would take everything */
	struct buf path;
	size_t refused = 0, stayed = 0;

	buf_init(&path, 1000);
	for (size_t d = 0; d < sizeof domains / sizeof *domains; d++)
		for (size_t i = 0; i < sizeof corpus / sizeof *corpus; i++) {
			struct conf_recipient r;

			fill_in(corpus[i], domains[d], &path);
			if (!rcpt(c, "203.0.113.66", buf_slice(&path), &r) || r.decision == RELAY_DENIED ||
			    r.decision == RELAY_UNKNOWN_MAILBOX) {
				refused++;
				continue;
			}
			/* Taken: then it is for a mailbox of the very domain that stands behind its last @. */
			assert_int_equal(r.decision, RELAY_OURS);
			if (r.route.kind == ROUTE_MAILBOX)
				assert_true(slice_eq(r.route.mailbox, SLICE("catch.example/u")));
			else
				assert_int_equal(r.route.kind, ROUTE_LMTP);
			assert_true(slice_eq(r.route.site, SLICE("local/catch.example")) ||
				    slice_eq(r.route.site, SLICE("lmtp/lmtp.example")));
			stayed++;
		}
	assert_true(refused > 80);
	assert_true(stayed > 0);
	buf_free(&path);
	conf_unref(c);
}

static void vrfy_tells_whom_the_configuration_names(void **state)
{
	(void)state;
	struct conf *c = load_routes(false);
	struct relay_client stranger = client_of("203.0.113.1"), inside = client_of("10.0.0.1");

	assert_false(conf_discloses(c, CONF_DISCLOSE_NOBODY, &inside));
	assert_true(conf_discloses(c, CONF_DISCLOSE_RELAY, &inside));
	assert_false(conf_discloses(c, CONF_DISCLOSE_RELAY, &stranger));
	assert_true(conf_discloses(c, CONF_DISCLOSE_EVERYBODY, &stranger));
	conf_unref(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_recipient_has_its_way),
		cmocka_unit_test(host_groups_hold_hosts_in_order_of_preference),
		cmocka_unit_test(the_queue_asks_the_same_routes),
		cmocka_unit_test(who_may_send_to_whom),
		cmocka_unit_test(the_quotas_of_mailboxes_are_known),
		cmocka_unit_test(a_route_says_what_its_hosts_may_be),
		cmocka_unit_test(disabled_and_moved_mailboxes_are_told_apart),
		cmocka_unit_test(a_route_that_only_leads_back_to_us_is_known),
		cmocka_unit_test(an_lmtp_server_that_is_our_own_socket_is_known),
		cmocka_unit_test(only_domains_without_a_route_of_their_own_go_by_the_dns),
		cmocka_unit_test(only_what_asks_needs_the_dns),
		cmocka_unit_test(the_limits_of_mailboxes_are_known),
		cmocka_unit_test(lists_and_forwarding_are_ours_and_suspended_mailboxes_keep_their_route),
		cmocka_unit_test(who_may_send_to_a_list),
		cmocka_unit_test(reports_go_on_to_those_whom_an_open_address_stands_for),
		cmocka_unit_test(names_of_ours_are_known),
		cmocka_unit_test(open_relay_corpus_E1),
		cmocka_unit_test(vrfy_tells_whom_the_configuration_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
