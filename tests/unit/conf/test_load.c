#include "conf_test.h"

#include <sys/stat.h>
#include <unistd.h>

/* ---- what a configuration comes to --------------------------------------------------------------------------- */

static void the_embedded_default_is_what_make_run_starts(void **state)
{
	(void)state;
	struct buf text;
	struct route route;

	buf_init(&text, 4096);
	assert_true(conf_default_text(0, SLICE_NONE, &text));
	struct conf *c = load(buf_cstr(&text));
	assert_slice(c->hostname, "mx.test");
	assert_slice(c->data_dir, "./run");
	assert_slice(c->control_socket, "./run/control.sock");
	assert_int_equal(c->receivers, 3);
	assert_int_equal(c->senders, 3);
	assert_int_equal(c->listener_count, 2);
	assert_slice(c->listeners[0].name, "smtp");
	assert_slice(c->listeners[0].address, "127.0.0.1");
	assert_int_equal(c->listeners[0].port, 2525);
	assert_slice(c->listeners[0].server.name, "mx.test");
	assert_true(c->listeners[0].server.size_max == 50u << 20);
	assert_slice(c->listeners[1].socket, "./run/submit.sock");
	assert_int_equal(c->listeners[1].port, 0);
	assert_true(networks_contain_text(c->relay_networks, SLICE("127.0.0.1")));
	assert_true(networks_contain_text(c->relay_networks, SLICE("::1")));
	assert_false(networks_contain_text(c->relay_networks, SLICE("192.0.2.1")));
	assert_int_equal(c->route_count, 0);
	conf_route(c, SLICE("Alice@Example.com"), &route);
	assert_int_equal(route.kind, ROUTE_MAILBOX);
	assert_slice(route.mailbox, "example.com/alice");
	conf_route(c, SLICE("bob@example.com"), &route);
	assert_slice(route.mailbox, "example.com/bob");
	conf_route(c, SLICE("x@example.net"), &route);
	assert_int_equal(route.kind, ROUTE_NONE);
	assert_slice(c->queue.postmaster, "postmaster@example.com");
	conf_unref(c);

	buf_reset(&text);
	assert_true(conf_default_text(10025, SLICE("/tmp/a \"b\\${HOME}"), &text));
	c = load(buf_cstr(&text));
	assert_int_equal(c->listeners[0].port, 10025);
	assert_slice(c->data_dir, "/tmp/a \"b\\${HOME}");
	assert_slice(c->submit_socket, "/tmp/a \"b\\${HOME}/submit.sock");
	conf_unref(c);
	buf_free(&text);
}

static void an_empty_file_takes_mail_for_nobody_and_relays_for_no_network(void **state)
{
	(void)state;
	struct conf *c = load("");
	struct route route;

	assert_int_equal(c->domain_count, 0);
	assert_int_equal(c->relay_networks.count, 0);
	assert_int_equal(c->listener_count, 1);
	assert_slice(c->listeners[0].name, "submit");
	conf_route(c, SLICE("postmaster"), &route);
	assert_slice(route.mailbox, "mx.test/postmaster");
	assert_slice(c->queue.postmaster, "postmaster@mx.test");
	conf_route(c, c->queue.postmaster, &route);
	assert_int_equal(route.kind, ROUTE_MAILBOX);
	conf_unref(c);
}

static void the_machine_says_what_auto_is(void **state)
{
	(void)state;
	static const struct conf_host nameless = {.name = {"not a name", 10}, .cores = 0}, huge = {.cores = 100000};
	struct conf *c = conf_load_text(SLICE(""), "t", &nameless, &test_err);

	assert_non_null(c);
	assert_slice(c->hostname, "localhost");
	assert_int_equal(c->receivers, 1);
	conf_unref(c);
	c = conf_load_text(SLICE("hostname = \"B\xc3\xbc"
				 "cher.example.\""),
			   "t", &huge, &test_err);
	assert_non_null(c);
	assert_slice(c->hostname, "xn--bcher-kva.example");
	assert_int_equal(c->senders, CONF_PROCESS_MAX);
	conf_unref(c);
}

static void a_listener_starts_from_the_smtp_section_wherever_that_stands(void **state)
{
	(void)state;
	struct conf *c = load("listen submission { port = 587 size_max = 1M }\n"
			      "listen lmtp { socket = \"DATA_DIR/lmtp\" protocol = lmtp }\n"
			      "smtp { size_max = 2M errors_max = 7 offer_chunking = no }\n"
			      "data_dir = /srv/mail\n"
			      "vrfy = relay\n");

	assert_int_equal(c->listener_count, 3);
	assert_slice(c->listeners[0].address, "*");
	assert_int_equal(c->listeners[0].port, 587);
	assert_true(c->listeners[0].server.size_max == 1 << 20);
	assert_int_equal(c->listeners[0].server.errors_max, 7);
	assert_false(c->listeners[0].server.lmtp);
	assert_false(c->listeners[0].server.offer_binarymime); /* goes with CHUNKING */
	assert_true(c->listeners[0].server.offer_vrfy);
	assert_false(c->listeners[0].server.offer_expn);
	assert_slice(c->listeners[1].socket, "/srv/mail/lmtp");
	assert_slice(c->listeners[1].address, "");
	assert_int_equal(c->listeners[1].port, 0);
	assert_true(c->listeners[1].server.lmtp);
	assert_true(c->listeners[2].server.size_max == 2 << 20);
	conf_unref(c);
}

static void sections_fill_the_settings_of_queue_and_client(void **state)
{
	(void)state;
	struct conf *c = load(
		"queue { retry_first = 1m retry_longest = 1h warn_after = never lifetime = 2d retry_growth = 150\n"
		"retention = 1h recovery_grace = 3s site_connections = 4 return_full_max = 0 report_success = off }\n"
		"client { pipelining = no end_timeout = 15m idle_timeout = 500ms }\n"
		"mailbox { newlines = lf delimiter = \"none\" }\n"
		"log { format = json level = debug }\n"
		"submit_socket = none\n");

	assert_true(c->queue.retry.first == MINUTE);
	assert_true(c->queue.retry.longest == HOUR);
	assert_true(c->queue.retry.warn == 0);
	assert_true(c->queue.retry.lifetime == 2 * DAY);
	assert_int_equal(c->queue.retry.growth_percent, 150);
	assert_true(c->queue.retention == HOUR);
	assert_true(c->recovery_grace == 3 * SECOND);
	assert_int_equal(c->queue.site_connections, 4);
	assert_true(c->queue.report_full_max == 0);
	assert_false(c->queue.report_success);
	assert_slice(c->queue.name, "mx.test");
	assert_false(c->client.pipelining);
	assert_true(c->client.chunking);
	assert_false(c->client.lmtp);
	assert_true(c->client.end_timeout == 15 * MINUTE);
	assert_slice(c->client.name, "mx.test");
	assert_true(c->lmtp_client.lmtp);
	assert_true(c->lmtp_client.end_timeout == 15 * MINUTE);
	assert_true(c->idle_timeout == 500);
	assert_int_equal(c->newlines, CONF_NEWLINES_LF);
	assert_int_equal(c->delimiter, 0);
	assert_int_equal(c->log_format, CONF_LOG_JSON);
	assert_int_equal(c->log_level, CONF_LOG_DEBUG);
	assert_int_equal(c->listener_count, 0);
	conf_unref(c);
}

static void values_are_counted(void **state)
{
	(void)state;
	struct conf *c = load("");
	struct conf *same = conf_ref(c);

	conf_unref(c);
	assert_slice(same->hostname, "mx.test");
	conf_unref(same);
	conf_unref(NULL);
}

/* ---- what is refused ----------------------------------------------------------------------------------------- */

static void mistakes_of_form_are_refused_with_their_line(void **state)
{
	(void)state;
	static const struct {
		const char *text, *error;
	} rows[] = {
		{"\n\nhostname", "test.conf:3"},
		{"hostname = ", "test.conf:1"},
		{"hostname mx.test", "test.conf:1"},
		{"hostname = = mx.test", "test.conf:1"},
		{"# x\n// y\n/* z\n*/ bogus = 1", "test.conf:4: there is no \"bogus\" at the top"},
		{"listen {\n}", "missing title"},
		{"smtp title {\n}", "test.conf:1"},
		{"listen a\n", "test.conf"},
		{"listen a {\nport = 25\n", "test.conf:1: this { is not closed"},
		{"domain a.example { moved b {", "test.conf:1: this { is not closed"},
		{"\n}", "test.conf:2: this } closes nothing"},
		{"relay_networks = {\"10.0.0.0/8\"", "test.conf:1: this { is not closed"},
		{"relay_networks = {\"10.0.0.0/8\" \"::1\"}", "test.conf:1"},
		{"listen a { port = {25} }", "test.conf:1"},
		{"queue = 5", "test.conf:1"},
		{"\n/* never\nclosed", "test.conf:2: this comment is not closed"},
		{"hostname = \"mx\n.test\"", "test.conf:1: this quoted text does not end"},
		{"hostname = 'mx", "test.conf:1: this quoted text does not end"},
		{"hostname = \"mx\\n\"", "test.conf:1: in a quoted text, \\ may only"},
		{"hostname = \"mx\\", "test.conf:1"},
		{"hostname = \"a\tb\"", "control character 9"},
		{"hostname = \"${HOME}\"", "${...} is not looked up"},
		{"hostname = ${HOME}", "the character $"},
		{"\nmailboxes = *", "test.conf:2: the character *"},
		{"data_dir = a*", "has to stand in quotes: a"},
		{"data_dir = http://x", "has to stand in quotes: http://x"},
		{"postmaster = a+b@example.com", "the character +"},
		{"hostname = caf\xc3\xa9", "a character with code 195"},
		{"hostname = a;b", "the character ;"},
		{"hostname = a|b", "the character |"},
		{"hostname = \"a|b\"", "the character | cannot be used"},
		{"'listen|port' = 3", "the character | cannot be used"},
		{"\"\" = 3", "test.conf:1: this is not understood"},
		{"include \"x\"", "an include is written"},
		{"include(x)", "an include is written"},
		{"include(\"x\"", "an include is written"},
		{"smtp { include(\"x\") }", "an include is written"},
		{"include(\"x.conf\")", "not a file cannot include"},
		{"func(\"x\")", "the character ("},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		refuse(rows[i].text, rows[i].error);
	assert_null(conf_load_text(slice_of("a\0b", 3), "test.conf", &test_host, &test_err));
	assert_non_null(strstr(test_err.text, "test.conf:1: a character with code 0"));
}

static const struct {
	const char *text, *error;
} mistakes_of_meaning[] = {
	{"listen a { prt = 25 }", "there is no \"prt\" in listen; did you mean \"port\"?"},
	{"domian a {}", "there is no \"domian\" at the top; did you mean \"domain\"?"},
	{"queue { size_max = 5M }", "\"size_max\" does not belong in queue, but in section smtp"},
	{"queue { hostname = a }", "\"hostname\" does not belong in queue, but outside of all sections"},
	{"size_max = 5M", "\"size_max\" does not belong at the top, but in section smtp"},
	{"moved a { to = \"a@b\" }", "\"moved\" does not belong at the top, but in section domain"},
	{"xyzzyxyzzy = 1", "there is no \"xyzzyxyzzy\" at the top\n"},
	{"smtp {}\nsmtp {}", "test.conf:2: section smtp is there twice, before in test.conf line 1"},
	{"listen a { port = 1 }\nlisten a { port = 2 }", "test.conf:2: listen \"a\" is there twice"},
	{"listen a { port = 1 }\nlisten b { port = 1 }",
	 "test.conf:2: a listener at \"* port 1\" is there twice"},
	{"listen a { socket = \"DATA_DIR/submit.sock\" }", "is there twice"},
	{"listen submit { port = 1 }", "is not \"submit\""},
	{"listen '' { port = 1 }", "the name of a listener"},
	{"listen a { port = 25 socket = /tmp/s }", "a socket, or an address and port"},
	{"listen a { address = mx.test }", "address: \"mx.test\""},
	{"listen a { protocol = imap }", "protocol must be one of smtp, lmtp; it is \"imap\""},
	{"certificate a.example { chain = /a key = /a }\ncertificate a.example { chain = /b key = /b }\n"
	 "certificate A.Example { chain = /c key = /c }",
	 "test.conf:3: certificate \"a.example\" is there three times"},
	{"domain a.example {}\n\ndomain A.Example {}",
	 "test.conf:3: domain \"a.example\" is there twice, before in test.conf line 1"},
	{"domain 'a b' {}", "domain \"a b\": it is no domain name"},
	{"domain '' {}", "it is no domain name"},
	{"domain '[192.0.2.1]' {}", "it is no domain name"},
	{"domain '*' {}", "it is no domain name"},
	{"domain a.example {\nmailboxes = {x,\nX} }", "test.conf:3: the mailbox \"X\" is there twice"},
	{"domain a.example { mailboxes = {x} disabled = {x} }", "the mailbox \"x\" is there twice"},
	{"domain a.example { mailboxes = {x} moved x { to = \"a@b.example\" } }",
	 "the mailbox \"x\" is there twice"},
	{"domain a.example { mailboxes = {'../x'} }", "mailboxes: \"../x\""},
	{"domain a.example { mailboxes = {'a/b'} }", "mailboxes: \"a/b\""},
	{"domain a.example { mailboxes = {'*'} }", "only for domains with deliver = lmtp"},
	{"domain a.example { deliver = lmtp lmtp = 'unix:/s' mailboxes = {'*', x} }", "stands alone"},
	{"domain a.example { deliver = lmtp }", "needs lmtp"},
	{"domain a.example { lmtp = 'unix:/s' }", "has no effect"},
	{"domain a.example { deliver = lmtp lmtp = '/s' }", "an LMTP server is written"},
	{"domain a.example { disabled = {postmaster} }", "postmaster must not be suspended, disabled"},
	{"domain a.example { moved Postmaster { to = 'a@b.example' } }",
	 "postmaster must not be suspended, disabled, moved or a list"},
	{"domain a.example { catch_all = x }", "catch_all: \"x\" is no mailbox of this domain"},
	{"domain a.example { suspended = {postmaster} }", "postmaster must not be suspended"},
	{"domain a.example { suspended = {'*'} }", "\"*\" is no mailbox"},
	{"domain a.example { list postmaster { members = {'a@b.example'} } }", "postmaster must not be"},
	{"domain a.example { mailboxes = {x} list x { members = {'x@a.example'} } }",
	 "the mailbox \"x\" is there twice"},
	{"domain a.example { list x {} }", "list \"x\" needs members"},
	{"domain a.example { list x { members = {} } }", "list \"x\" has no members"},
	{"domain a.example { list x { members = {'x@a.example'} } }", "comes back to itself"},
	{"domain a.example { list x { members = {'y@a.example'} } list y { members = {'X@A.example'} } }",
	 "comes back to itself"},
	{"domain a.example { list x { members = {'y@a.example'} } moved y { to = 'x@a.example' forward = yes } "
	 "}",
	 "comes back to itself"},
	{"domain a.example { list x { members = {'z@a.example'} } }",
	 "stands for z@a.example, which takes no mail"},
	{"domain a.example { list x { members = {'z@b.example'} } }", "and no route leads there"},
	{"domain a.example { moved x { to = 'z@b.example' forward = yes } }", "and no route leads there"},
	{"resolver = 1.2.3.4@0", "resolver"},
	{"resolver = 1.2.3.4@65536", "resolver"},
	{"smtp { suspend_parameters = {SIZE} }", "none of BODY"},
	{"smtp { sender_domains = {'a@b.example'} }", "sender_domains"},
	{"smtp { refuse_media = {'image'} }", "a media type is written image/png"},
	{"smtp { refuse_media = {'*/*'} }", "a media type is written image/png"},
	{"smtp { refuse_media = {'image/png; x'} }", "a media type is written image/png"},
	{"smtp { refuse_attachments = {'.'} }", "an extension is written exe"},
	{"smtp { refuse_attachments = {'a/b'} }", "an extension is written exe"},
	{"domain a.example { message_max = 1 }", "message_max must be \"none\" or a size"},
	{"domain a.example { mailboxes = {x} limit y { message_max = 1M } }", "limit \"y\" is no mailbox"},
	{"domain a.example { mailboxes = {x} limit x { message_max = 1M }\nlimit X { message_max = 2M } }",
	 "limit \"X\" is there twice"},
	{"domain a.example { limit 'x y' { message_max = 1M } }", "limit \"x y\": "},
	{"domain a.example { quota_octets = 1k }", "quota_octets must be \"none\" or a size"},
	{"domain a.example { quota_messages = 2000000 }", "quota_messages must be \"none\" or a number"},
	{"domain a.example { deliver = lmtp lmtp = 'unix:/s' mailboxes = {'*'}\nquota_octets = 1M }",
	 "test.conf:2: a quota has no effect with deliver = lmtp"},
	{"domain a.example { deliver = lmtp lmtp = 'unix:/s' mailboxes = {'*'} limit b { message_max = 1M }\n"
	 "limit c {\nquota_messages = 1 } }",
	 "test.conf:3: a quota has no effect with deliver = lmtp"},
	{"rule x { text = {a} }", "rule \"x\" needs class"},
	{"rule x { class = policy }", "a rule needs at least one of codes, statuses and text"},
	{"rule x { class = polite text = {a} }", "class must be one of unknown, bad-mailbox"},
	{"rule x { class = policy verdict = maybe text = {a} }", "verdict must be one of code, temporary"},
	{"rule x { class = policy codes = {55} }", "codes: \"55\": a reply code has three digits"},
	{"rule x { class = policy codes = {'550,551'} }", "codes: \"550,551\": a reply code"},
	{"rule x { class = policy codes = {'*'} }", "codes: \"*\": a reply code"},
	{"rule x { class = policy statuses = {5.1} }", "statuses: \"5.1\": an enhanced code has three"},
	{"rule x { class = policy text = {'a | b'} }", "the character | cannot be used"},
	{"rule x { class = policy text = {' ... '} }", "text: \" ... \": words have"},
	{"rule x { class = policy text = {'a\tb'} }", "control character 9"},
	{"rule x { class = policy text = {a} }\nrule X { class = spam text = {b} }",
	 "rule \"X\" is there twice, before in test.conf line"},
	{"rule '' { class = policy text = {a} }", "the name of a rule has 1 to 64 octets"},
	{"domain a.example { moved x {} }", "moved \"x\" needs to"},
	{"domain a.example { moved x { to = none } }", "to must be a mail address"},
	{"domain a.example { moved 'x y' { to = 'a@b.example' } }", "moved \"x y\""},
	{"postmaster = alice@example.com",
	 "test.conf:1: postmaster is \"alice@example.com\", which is no mailbox here"},
	{"postmaster = alice", "postmaster: \"alice\""},
	{"relay_networks = {'10.0.0.1/8'}", "bits set behind the prefix"},
	{"relay_networks = {\n'10.0.0.0/8',\n'x'}", "test.conf:3: relay_networks: \"x\""},
	{"route b.example {}", "route \"b.example\" needs hosts"},
	{"route b.example { hosts = {} }", "a route has 1 to"},
	{"route b.example { hosts = {'unix:/s'} }", "not to unix sockets"},
	{"route b.example { hosts = {'mx:0'} }", "hosts: \"mx:0\": the port must be"},
	{"route '*' { hosts = {mx} from_anybody = yes }", "open relay"},
	{"route b.example { hosts = {mx} }\nroute B.example { hosts = {mx} }",
	 "test.conf:2: route \"b.example\" is there twice"},
	{"domain b.example {}\nroute b.example { hosts = {mx} }",
	 "test.conf:2: \"b.example\" is a domain of ours"},
	{"queue { retry_first = 2h retry_longest = 1h }", "retry_longest must not be less"},
	{"queue { lifetime = 1h }", "lifetime must be more than warn_after"},
	{"queue { site_connections = 30 }", "site_connections_max must not be less"},
	{"queue { window_octets = 1M inline_body_max = 2M }", "window_octets must not be less"},
	{"control_socket = none", "there must be a control_socket"},
	{"data_dir = ''", "a path has 1 to"},
	{"data_dir = "
	 "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	 "aaaaaaaaaaa",
	 "at most 107 octets"},
	{"hostname = '-x'", "hostname: \"-x\""},
};

static void mistakes_of_meaning_are_refused_with_their_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof mistakes_of_meaning / sizeof *mistakes_of_meaning; i++)
		refuse(mistakes_of_meaning[i].text, mistakes_of_meaning[i].error);
}

static void there_may_be_many_rules_but_not_any_number(void **state)
{
	(void)state;
	struct buf file;

	buf_init(&file, 1 << 20);
	for (int i = 0; i < CONF_RULES_MAX; i++)
		buf_printf(&file, "rule r%d { class = policy text = {'text %d'} }\n", i, i);
	struct conf *c = load(buf_cstr(&file));
	assert_int_equal(c->rules.count, CONF_RULES_MAX);
	assert_ptr_equal(c->queue.reply_rules, &c->rules);
	conf_unref(c);
	buf_add_lit(&file, "rule more { class = policy text = {a} }\n");
	refuse(buf_cstr(&file), "test.conf:1001: there are more than 1000 rules");
	buf_reset(&file);
	buf_add_lit(&file, "rule long { class = policy text = {");
	for (int i = 0; i < 1000; i++)
		buf_printf(&file, "%s'text that is long, number %d'", i ? ", " : "", i);
	buf_add_lit(&file, "} }\n");
	refuse(buf_cstr(&file), "a list of a rule has at most");
	buf_free(&file);
}

static void all_wrong_values_are_told_at_once(void **state)
{
	(void)state;
	refuse("hostname = '-'\nlisten a {\nport = 0 }\nqueue {\nlifetime = soon\n}\n", "test.conf:1: hostname");
	assert_int_equal(test_err.errors, 3);
	assert_non_null(strstr(test_err.text, "test.conf:3: port must be a number from 1 to 65535; it is \"0\""));
	assert_non_null(strstr(test_err.text, "test.conf:5: lifetime must be a time"));
}

static void errors_that_do_not_fit_are_counted(void **state)
{
	(void)state;
	struct buf text;

	buf_init(&text, 1 << 20);
	buf_add_lit(&text, "relay_networks = {");
	for (int i = 0; i < 1000; i++)
		buf_add_lit(&text, "x,\n");
	buf_add_lit(&text, "y}");
	refuse(buf_cstr(&text), "relay_networks");
	assert_int_equal(test_err.errors, 1001);
	assert_true(test_err.length < CONF_ERROR_TEXT_MAX);
	assert_int_equal(strlen(test_err.text), test_err.length);
	assert_true(test_err.text[test_err.length - 1] == '\n');
	buf_free(&text);
}

static void what_a_file_says_cannot_break_the_lines_of_its_errors(void **state)
{
	(void)state;
	refuse("hostname = \"a\x1b[31m\"", "control character 27");
	refuse("hostname = '\xff\xfe'", "hostname: ");
	refuse("hostname = '%s%n'", "hostname: \"%s%n\"");
}

static void many_sections_and_values_are_read_in_little_time(void **state)
{
	(void)state;
	struct buf text;
	struct route route;

	buf_init(&text, CONF_TEXT_MAX);
	for (int i = 0; i < 20000; i++)
		buf_printf(&text, "domain d%d.example { mailboxes = {a, b} moved c { to = \"c@example.net\" } }\n", i);
	buf_add_lit(&text, "domain big.example { mailboxes = {x");
	for (int i = 0; i < 20000; i++)
		buf_printf(&text, ", m%d", i);
	buf_add_lit(&text, "} }\n");
	struct conf *c = load(buf_cstr(&text));
	assert_int_equal(c->domain_count, 20001);
	conf_route(c, SLICE("b@d19999.example"), &route);
	assert_slice(route.mailbox, "d19999.example/b");
	conf_route(c, SLICE("m19999@big.example"), &route);
	assert_slice(route.mailbox, "big.example/m19999");
	conf_unref(c);
	buf_free(&text);
}

/* ---- files --------------------------------------------------------------------------------------------------- */

static char directory[] = "/tmp/postrider-conf-XXXXXX";
static char path_text[4][256];

static const char *path(const char *name)
{
	static size_t turn;
	char *p = path_text[turn++ % 4];

	snprintf(p, sizeof path_text[0], "%s/%s", directory, name);
	return p;
}

static void write_to(const char *name, const char *text)
{
	FILE *f = fopen(path(name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path(name), 0644), 0);
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? mkdir(path("d"), 0755) : -1;
}

static int remove_directory(void **state)
{
	static const char *const names[] = {"main.conf", "one.conf",   "two.conf", "d/a.conf",
					    "d/b.conf",  "loose.conf", "d"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		remove(path(names[i]));
	return rmdir(directory);
}

static struct conf *load_main(const char *text)
{
	write_to("main.conf", text);
	return conf_load_file(path("main.conf"), &test_host, &test_err);
}

static void refuse_main(const char *text, const char *error)
{
	assert_null(load_main(text));
	if (!strstr(test_err.text, error))
		fail_msg("the errors do not hold \"%s\" but: %s", error, test_err.text);
}

static void includes_are_read_relative_to_their_file(void **state)
{
	(void)state;
	write_to("one.conf", "domain one.example { mailboxes = {x} }\ninclude(\"d/*.conf\")\n");
	write_to("d/a.conf", "domain a.example {}\n");
	write_to("d/b.conf", "include('../two.conf')\nqueue { lifetime = 3d }");
	write_to("two.conf", "hostname = two.test");
	struct conf *c = load_main("include (\"one.conf\") # here\nsubmit_socket = none\ninclude(\"none/*.conf\")\n");
	if (!c)
		fail_msg("%s", test_err.text);
	assert_int_equal(c->domain_count, 2);
	assert_slice(c->hostname, "two.test");
	assert_true(c->queue.retry.lifetime == 3 * DAY);
	conf_unref(c);
}

static void a_mistake_in_an_included_file_is_told_with_its_place(void **state)
{
	(void)state;
	write_to("one.conf", "\nhostnam = x\n");
	refuse_main("include(\"one.conf\")\n", "/one.conf:2: there is no \"hostnam\"");
	write_to("one.conf", "\nhostname = x\n");
	refuse_main("hostname = y\ninclude(\"one.conf\")\n", "/one.conf:2: hostname is set twice");
	refuse_main("\ninclude(\"missing.conf\")\n", "/main.conf:2: there is no file");
	refuse_main("\ninclude(\"d\")\n", "/d: cannot be read: Is a directory");
	refuse_main("\ninclude(\"main.conf\")\n", "/main.conf:2: ");
	assert_non_null(strstr(test_err.text, "is included twice"));
	/* and the next reading starts afresh */
	struct conf *c = load_main("submit_socket = none");
	assert_non_null(c);
	conf_unref(c);
}

static void a_file_that_is_not_there_is_told(void **state)
{
	(void)state;
	assert_null(conf_load_file(path("missing.conf"), &test_host, &test_err));
	assert_non_null(strstr(test_err.text, "missing.conf: cannot be read: No such file"));
}

/* attacks.md L8 */
static void a_file_that_everybody_may_change_is_refused(void **state)
{
	(void)state;
	write_to("loose.conf", "submit_socket = none\n");
	assert_int_equal(chmod(path("loose.conf"), 0666), 0);
	assert_int_equal(conf_file_check(path("loose.conf")), CONF_FILE_WRITABLE);
	assert_null(conf_load_file(path("loose.conf"), &test_host, &test_err));
	assert_non_null(strstr(test_err.text, "can be changed by everybody"));
	refuse_main("include(\"loose.conf\")\n",
		    "/loose.conf: it, or a directory above it, can be changed by everybody");

	assert_int_equal(chmod(path("loose.conf"), 0644), 0);
	assert_int_equal(conf_file_check(path("loose.conf")), CONF_FILE_SAFE);
	assert_int_equal(chmod(directory, 0777), 0);
	assert_int_equal(conf_file_check(path("loose.conf")), CONF_FILE_WRITABLE);
	assert_int_equal(chmod(directory, 01777), 0);
	assert_int_equal(conf_file_check(path("loose.conf")), CONF_FILE_SAFE);
	assert_int_equal(chmod(directory, 0755), 0);
	assert_int_equal(conf_file_check(path("missing.conf")), CONF_FILE_MISSING);
}

static void the_file_of_another_user_is_warned_of(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	write_to("loose.conf", "submit_socket = none\n");
	assert_int_equal(chown(path("loose.conf"), 4711, 4711), 0);
	assert_int_equal(conf_file_check(path("loose.conf")), CONF_FILE_OWNER);
	struct conf *c = conf_load_file(path("loose.conf"), &test_host, &test_err);
	assert_non_null(c);
	assert_int_equal(test_err.warnings, 1);
	assert_non_null(strstr(test_err.text, "warning: "));
	conf_unref(c);
}

static void the_example_loads(void **state)
{
	(void)state;
	struct buf text;
	FILE *f = fopen(EXAMPLE, "r");
	char part[512];

	buf_init(&text, 1 << 16);
	assert_non_null(f);
	for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
		assert_true(buf_add(&text, slice_of(part, n)));
	fclose(f);
	conf_unref(load(buf_cstr(&text)));
	buf_free(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_embedded_default_is_what_make_run_starts),
		cmocka_unit_test(an_empty_file_takes_mail_for_nobody_and_relays_for_no_network),
		cmocka_unit_test(the_machine_says_what_auto_is),
		cmocka_unit_test(a_listener_starts_from_the_smtp_section_wherever_that_stands),
		cmocka_unit_test(sections_fill_the_settings_of_queue_and_client),
		cmocka_unit_test(values_are_counted),
		cmocka_unit_test(mistakes_of_form_are_refused_with_their_line),
		cmocka_unit_test(mistakes_of_meaning_are_refused_with_their_line),
		cmocka_unit_test(there_may_be_many_rules_but_not_any_number),
		cmocka_unit_test(all_wrong_values_are_told_at_once),
		cmocka_unit_test(errors_that_do_not_fit_are_counted),
		cmocka_unit_test(what_a_file_says_cannot_break_the_lines_of_its_errors),
		cmocka_unit_test(many_sections_and_values_are_read_in_little_time),
		cmocka_unit_test(includes_are_read_relative_to_their_file),
		cmocka_unit_test(a_mistake_in_an_included_file_is_told_with_its_place),
		cmocka_unit_test(a_file_that_is_not_there_is_told),
		cmocka_unit_test(a_file_that_everybody_may_change_is_refused),
		cmocka_unit_test(the_file_of_another_user_is_warned_of),
		cmocka_unit_test(the_example_loads),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
