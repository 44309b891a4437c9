#include "test.h"

#include "directory/directory.h"

/* SLICE for what is initialised at file scope. */
#define TEXT(literal)                          \
	{                                      \
		(literal), sizeof(literal) - 1 \
	}
#define B_UE "b\xc3\xbc"

static const struct directory_mailbox_config main_mailboxes[] = {
	{.name = TEXT("alice")},
	{.name = TEXT("Bob.Smith")},
	{.name = TEXT("plus+inside")},
	{.name = TEXT(B_UE "cher")},
	{.name = TEXT("dave"), .state = DIRECTORY_SWITCHED_OFF},
	{.name = TEXT("carol"), .state = DIRECTORY_GONE, .moved_to = TEXT("carol@example.net"), .disclose = true},
};
static const struct directory_mailbox_config catch_mailboxes[] = {{.name = TEXT("zoe")}, {.name = TEXT("postmaster")}};

static const struct directory_domain_config domains[] = {
	{.name = TEXT("Example.COM"), .mailboxes = main_mailboxes, .mailbox_count = 6},
	{.name = TEXT("catch.example"), .mailboxes = catch_mailboxes, .mailbox_count = 2, .catch_all = TEXT("zoe")},
	{.name = TEXT("lmtp.example"), .delivery = DIRECTORY_LMTP, .mailboxes = main_mailboxes, .mailbox_count = 1},
	{.name = TEXT("all.example"), .delivery = DIRECTORY_LMTP, .accept_all = true},
	{.name = TEXT(B_UE "cher.example")},
};

static struct ip_address literals[2];

static struct directory_config config(void)
{
	assert_true(ip_parse(SLICE("127.0.0.1"), &literals[0]));
	assert_true(ip_parse(SLICE("2001:db8::25"), &literals[1]));
	return (struct directory_config){
		.domains = domains,
		.domain_count = 5,
		.delimiter = '+',
		.hostname = SLICE("mx.test"),
		.literals = literals,
		.literal_count = 2,
	};
}

static struct arena arena;

static int begin(void **state)
{
	(void)state;
	arena_init(&arena, 1 << 20);
	return 0;
}

static int end(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static struct directory *make(const struct directory_config *c)
{
	const char *why = NULL;
	struct directory *d = directory_new(c, &arena, &why);

	if (!d)
		fail_msg("%s", why);
	return d;
}

/* `path` has its brackets. */
static struct directory_entry find(const struct directory *d, const char *path)
{
	struct mail_address address;
	struct directory_entry entry;
	const char *why = NULL;
	size_t used;

	if (mail_path_parse(slice_from_cstr(path), false, true, &address, &used, &why) != MAIL_ADDRESS_OK)
		fail_msg("%s: %s", path, why);
	directory_find(d, &address, &entry);
	return entry;
}

struct row {
	const char *path;
	enum directory_result result;
	const char *mailbox; /* FOUND */
};

static void check(const struct directory *d, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct directory_entry entry = find(d, rows[i].path);

		if (entry.result != rows[i].result)
			fail_msg("%s gives %d, not %d", rows[i].path, entry.result, rows[i].result);
		if (rows[i].mailbox)
			assert_slice(entry.mailbox, rows[i].mailbox);
	}
}

static void local_parts_are_compared_by_their_meaning(void **state)
{
	(void)state;
	struct directory_config c = config();
	static const struct row rows[] = {
		{"<alice@example.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<ALICE@EXAMPLE.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<\"alice\"@example.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<\"\\a\\l\\ice\"@example.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<bob.smith@example.com>", DIRECTORY_FOUND, "example.com/bob.smith"},
		{"<\"Bob.Smith\"@example.com>", DIRECTORY_FOUND, "example.com/bob.smith"},
		{"<bobsmith@example.com>", DIRECTORY_UNKNOWN, NULL},
		{"<al@example.com>", DIRECTORY_UNKNOWN, NULL},
		{"<alicea@example.com>", DIRECTORY_UNKNOWN, NULL},
		{"<\"alice \"@example.com>", DIRECTORY_UNKNOWN, NULL},
		{"<\"\"@example.com>", DIRECTORY_UNKNOWN, NULL},
		{"<" B_UE "cher@example.com>", DIRECTORY_FOUND, "example.com/b=C3=BCcher"},
		{"<B\xc3\xbc"
		 "CHER@example.com>",
		 DIRECTORY_FOUND, "example.com/b=C3=BCcher"},
		{"<bu\xcc\x88"
		 "cher@example.com>",
		 DIRECTORY_UNKNOWN, NULL},
		{"<alice@example.net>", DIRECTORY_NOT_OURS, NULL},
		{"<alice@sub.example.com>", DIRECTORY_NOT_OURS, NULL},
		{"<alice@com>", DIRECTORY_NOT_OURS, NULL},
		{"<alice@mx.test>", DIRECTORY_NOT_OURS, NULL},
		{"<alice@localhost>", DIRECTORY_NOT_OURS, NULL},
	};

	check(make(&c), rows, sizeof rows / sizeof *rows);
}

static void sub_addresses_end_at_the_delimiter(void **state)
{
	(void)state;
	struct directory_config c = config();
	static const struct row rows[] = {
		{"<alice+lists@example.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<alice+@example.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<alice+a+b@example.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<\"alice+a b\"@example.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<plus+inside@example.com>", DIRECTORY_FOUND, "example.com/plus+inside"},
		{"<plus+other@example.com>", DIRECTORY_UNKNOWN, NULL},
		{"<+alice@example.com>", DIRECTORY_UNKNOWN, NULL},
		{"<alice-lists@example.com>", DIRECTORY_UNKNOWN, NULL},
		{"<dave+x@example.com>", DIRECTORY_DISABLED, NULL},
	};
	static const struct row without[] = {{"<alice+lists@example.com>", DIRECTORY_UNKNOWN, NULL},
					     {"<postmaster+x@example.com>", DIRECTORY_UNKNOWN, NULL},
					     {"<postmaster@example.com>", DIRECTORY_FOUND, "example.com/postmaster"}};

	check(make(&c), rows, sizeof rows / sizeof *rows);
	c.delimiter = 0;
	check(make(&c), without, 3);
}

static void disabled_and_moved_mailboxes_say_so(void **state)
{
	(void)state;
	struct directory_config c = config();
	struct directory *d = make(&c);
	struct directory_entry entry = find(d, "<carol@example.com>");

	assert_int_equal(find(d, "<dave@example.com>").result, DIRECTORY_DISABLED);
	assert_int_equal(entry.result, DIRECTORY_MOVED);
	assert_slice(entry.moved_to, "carol@example.net");
	assert_true(entry.disclose);
	assert_slice(entry.domain, "example.com");
}

static void a_catch_all_takes_what_is_for_no_other(void **state)
{
	(void)state;
	struct directory_config c = config();
	static const struct row rows[] = {
		{"<zoe@catch.example>", DIRECTORY_FOUND, "catch.example/zoe"},
		{"<anything@catch.example>", DIRECTORY_FOUND, "catch.example/zoe"},
		{"<\"../x\"@catch.example>", DIRECTORY_FOUND, "catch.example/zoe"},
		{"<postmaster@catch.example>", DIRECTORY_FOUND, "catch.example/postmaster"},
	};

	check(make(&c), rows, 4);
}

static void lmtp_domains_are_found_without_a_maildir(void **state)
{
	(void)state;
	struct directory_config c = config();
	struct directory *d = make(&c);
	static const struct row rows[] = {
		{"<alice@lmtp.example>", DIRECTORY_FOUND, ""},
		{"<bob@lmtp.example>", DIRECTORY_UNKNOWN, NULL},
		{"<whoever@all.example>", DIRECTORY_FOUND, ""},
		{"<postmaster@all.example>", DIRECTORY_FOUND, ""},
		{"<postmaster@lmtp.example>", DIRECTORY_FOUND, "lmtp.example/postmaster"},
	};

	check(d, rows, 5);
	assert_int_equal(find(d, "<alice@lmtp.example>").delivery, DIRECTORY_LMTP);
	assert_slice(find(d, "<alice@lmtp.example>").site, "lmtp/lmtp.example");
	assert_slice(find(d, "<x@all.example>").site, "lmtp/all.example");
	assert_int_equal(find(d, "<postmaster@lmtp.example>").delivery, DIRECTORY_MAILDIR);
	assert_slice(find(d, "<postmaster@lmtp.example>").site, "local/lmtp.example");
}

static void postmaster_is_everywhere(void **state)
{
	(void)state;
	struct directory_config c = config();
	static const struct row rows[] = {
		{"<postmaster>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<PostMaster>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<postmaster@example.com>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<POSTMASTER@example.com>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<postmaster+x@example.com>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<postmaster@xn--bcher-kva.example>", DIRECTORY_FOUND, "xn--bcher-kva.example/postmaster"},
		{"<postmaster@" B_UE "cher.example>", DIRECTORY_FOUND, "xn--bcher-kva.example/postmaster"},
		{"<postmaster@mx.test>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<postmaster@[127.0.0.1]>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<postmaster@[IPv6:2001:db8::25]>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<postmaster@[IPv6:2001:DB8:0:0::25]>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<postmaster@[IPv6:::ffff:127.0.0.1]>", DIRECTORY_FOUND, "example.com/postmaster"},
		{"<alice@[127.0.0.1]>", DIRECTORY_UNKNOWN, NULL},
		{"<postmaster@[127.0.0.2]>", DIRECTORY_NOT_OURS, NULL},
		{"<postmaster@example.net>", DIRECTORY_NOT_OURS, NULL},
	};

	check(make(&c), rows, sizeof rows / sizeof *rows);
}

static void a_configured_postmaster_gets_it_all_but_where_one_is_listed(void **state)
{
	(void)state;
	struct directory_config c = config();
	static const struct row rows[] = {
		{"<postmaster>", DIRECTORY_FOUND, "example.com/alice"},
		{"<postmaster@example.com>", DIRECTORY_FOUND, "example.com/alice"},
		{"<postmaster@lmtp.example>", DIRECTORY_FOUND, "example.com/alice"},
		{"<postmaster@[127.0.0.1]>", DIRECTORY_FOUND, "example.com/alice"},
		{"<postmaster@catch.example>", DIRECTORY_FOUND, "catch.example/postmaster"},
	};

	c.postmaster = SLICE("alice@example.com");
	check(make(&c), rows, 5);
	c.postmaster = SLICE("postmaster@catch.example");
	assert_slice(find(make(&c), "<postmaster@example.com>").mailbox, "catch.example/postmaster");
	c.postmaster = SLICE("postmaster@example.com");
	assert_slice(find(make(&c), "<postmaster>").mailbox, "example.com/postmaster");
}

static void without_domains_postmaster_is_still_here(void **state)
{
	(void)state;
	struct directory_config c = {.hostname = SLICE("MX.test")}, nameless = {0};
	struct directory *d = make(&c);

	assert_int_equal(directory_domain_count(d), 0);
	assert_slice(directory_first_domain(d), "mx.test");
	assert_slice(find(d, "<postmaster>").mailbox, "mx.test/postmaster");
	assert_slice(find(d, "<postmaster@mx.test>").site, "local/mx.test");
	assert_int_equal(find(d, "<alice@mx.test>").result, DIRECTORY_NOT_OURS);
	assert_slice(find(make(&nameless), "<postmaster>").mailbox, "localhost/postmaster");
}

/* attacks.md E6 */
static void a_path_comes_from_the_configuration_and_is_one_safe_part(void **state)
{
	(void)state;
	struct directory_config c = config();
	struct directory *d = make(&c);
	static const char *const wire[] = {
		"<\"../x\"@example.com>",
		"<\"a/../../b\"@example.com>",
		"<\"/etc/x\"@example.com>",
		"<\".\"@example.com>",
		"<\"..\"@example.com>",
		"<\"\"@example.com>",
		"<\"alice/../bob\"@example.com>",
		"<\"../x\"@catch.example>",
		"<\"alice+/../../x\"@example.com>",
		"<alice+../../x@example.com>",
		"<aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@example.com>",
	};

	for (size_t i = 0; i < sizeof wire / sizeof *wire; i++) {
		struct mail_address address;
		struct directory_entry entry;
		const char *why;
		size_t used;

		if (mail_path_parse(slice_from_cstr(wire[i]), false, true, &address, &used, &why) != MAIL_ADDRESS_OK)
			continue;
		directory_find(d, &address, &entry);
		if (entry.result != DIRECTORY_FOUND)
			continue;
		if (!slice_eq(entry.mailbox, SLICE("example.com/alice")) &&
		    !slice_eq(entry.mailbox, SLICE("catch.example/zoe")))
			fail_msg("%s goes to %.*s", wire[i], SLICE_ARGS(entry.mailbox));
	}
}

static void names_that_are_no_safe_path_are_encoded_or_refused(void **state)
{
	(void)state;
	static const struct {
		const char *name, *part; /* NULL: refused */
	} rows[] = {
		{"alice", "alice"},
		{"Alice", "alice"},
		{"a.b-c_d+e", "a.b-c_d+e"},
		{"a=b", "a=3Db"},
		{"a=3Db", "a=3D3db"},
		{"o'hara", "o=27hara"},
		{"a%b", "a=25b"},
		{"\xc3\xa9", "=C3=A9"},
		{"", NULL},
		{".", NULL},
		{"..", NULL},
		{".hidden", NULL},
		{"-oQ", NULL},
		{"a/b", NULL},
		{"a b", NULL},
		{"a\"b", NULL},
		{"a\\b", NULL},
		{"a@b", NULL},
		{"a\nb", NULL},
		{"a\x7f", NULL},
		{"\xc3", NULL},
		{"\xff", NULL},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf out;
		const char *why = NULL;

		buf_init(&out, 1000);
		bool valid = directory_name_valid(slice_from_cstr(rows[i].name), &why);
		if (valid != (rows[i].part != NULL))
			fail_msg("\"%s\"", rows[i].name);
		assert_true(valid == (why == NULL));
		if (valid) {
			assert_true(directory_path_part(slice_from_cstr(rows[i].name), &out));
			assert_slice(buf_slice(&out), rows[i].part);
		}
		buf_free(&out);
	}
	const char *why;
	assert_false(directory_name_valid(slice_of("a\0b", 3), &why));
	/* Even a name that came another way stays one part. */
	struct buf out;
	buf_init(&out, 100);
	assert_true(directory_path_part(SLICE("../x"), &out));
	assert_slice(buf_slice(&out), "=2E.=2Fx");
	buf_free(&out);
}

static void refuse(const struct directory_config *c, const char *part)
{
	const char *why = NULL;

	assert_null(directory_new(c, &arena, &why));
	assert_non_null(why);
	if (!strstr(why, part))
		fail_msg("\"%s\" does not tell of \"%s\"", why, part);
}

static void a_wrong_configuration_is_refused_with_a_reason(void **state)
{
	(void)state;
	struct directory_mailbox_config twice[] = {{.name = SLICE("x")}, {.name = SLICE("X")}};
	struct directory_mailbox_config bad[] = {{.name = SLICE("a/b")}};
	struct directory_mailbox_config off[] = {{.name = SLICE("Postmaster"), .state = DIRECTORY_SWITCHED_OFF}};
	struct directory_domain_config d = {.name = SLICE("a.example"), .mailboxes = twice, .mailbox_count = 2};
	struct directory_domain_config two[] = {{.name = SLICE("a.example")}, {.name = SLICE("A.EXAMPLE.")}};
	struct directory_config c = {.domains = &d, .domain_count = 1};

	refuse(&c, "named twice");
	d.mailboxes = bad;
	d.mailbox_count = 1;
	refuse(&c, "no name for a mailbox");
	d.mailboxes = off;
	refuse(&c, "postmaster");
	d.mailbox_count = 0;
	d.catch_all = SLICE("nobody");
	refuse(&c, "catch_all");
	d.catch_all = SLICE_NONE;
	d.name = SLICE("not a domain");
	refuse(&c, "no domain name");
	d.name = SLICE("[192.0.2.1]");
	refuse(&c, "no domain name");
	c = (struct directory_config){.domains = two, .domain_count = 2};
	refuse(&c, "twice");
	c = config();
	c.postmaster = SLICE("nobody@example.com");
	refuse(&c, "postmaster");
	c.postmaster = SLICE("alice@example.net");
	refuse(&c, "postmaster");
	c.postmaster = SLICE("dave@example.com");
	refuse(&c, "postmaster");
}

static void without_memory_there_is_no_directory(void **state)
{
	(void)state;
	struct directory_config c = config();

	size_t made = 0, failed = 0;

	for (size_t max = 1; max < 12000; max += 7) {
		struct arena small;
		const char *why = NULL;

		arena_init(&small, max);
		struct directory *d = directory_new(&c, &small, &why);
		assert_true((d == NULL) == (why != NULL));
		*(d ? &made : &failed) += 1;
		if (d)
			assert_slice(find(d, "<alice@example.com>").mailbox, "example.com/alice");
		arena_free(&small);
	}
	assert_true(made > 0 && failed > 0);
}

/* ---- lists and forwarding ------------------------------------------------------------------------------------- */

static void check_targets(const struct directory_entry *entry, const char *expected)
{
	struct buf joined;

	buf_init(&joined, 4096);
	for (size_t i = 0; i < entry->targets.count; i++) {
		buf_add(&joined, i ? SLICE(" ") : SLICE(""));
		buf_add(&joined, entry->targets.list[i]);
	}
	assert_slice(buf_slice(&joined), expected);
	buf_free(&joined);
}

static void a_list_stands_for_its_members_through_lists_and_forwarding(void **state)
{
	(void)state;
	static const struct slice all[] = {TEXT("Ops@A.example"), TEXT("boss@example.net"), TEXT("gone@a.example"),
					   TEXT("boss@example.net"), TEXT("x+tag@a.example")};
	static const struct slice ops[] = {TEXT("x@a.example"), TEXT("boss@example.net")};
	static const struct slice senders[] = {TEXT("example.net")};
	static const struct directory_mailbox_config mailboxes[] = {
		{.name = TEXT("x")},
		{.name = TEXT("sleeping"), .state = DIRECTORY_PAUSED},
		{.name = TEXT("gone"), .state = DIRECTORY_GONE, .moved_to = TEXT("new@example.net"), .forward = true},
		{.name = TEXT("all"),
		 .state = DIRECTORY_GROUP,
		 .members = {all, 5},
		 .senders = {senders, 1},
		 .post = DIRECTORY_POST_NOBODY,
		 .disclose = true},
		{.name = TEXT("ops"), .state = DIRECTORY_GROUP, .members = {ops, 2}},
	};
	struct directory_domain_config d = {.name = SLICE("a.example"), .mailboxes = mailboxes, .mailbox_count = 5};
	struct directory_config c = {.domains = &d, .domain_count = 1, .delimiter = '+'};
	struct directory *directory = make(&c);

	struct directory_entry entry = find(directory, "<ALL+x@a.example>");
	assert_int_equal(entry.result, DIRECTORY_LIST);
	assert_int_equal(entry.members.count, 5);
	assert_int_equal(entry.post, DIRECTORY_POST_NOBODY);
	assert_slice(entry.senders.list[0], "example.net");
	assert_true(entry.disclose);
	check_targets(&entry, "boss@example.net new@example.net x+tag@a.example x@a.example");
	entry = find(directory, "<ops@a.example>");
	check_targets(&entry, "boss@example.net x@a.example");
	entry = find(directory, "<gone@a.example>");
	assert_int_equal(entry.result, DIRECTORY_FORWARDED);
	check_targets(&entry, "new@example.net");
	entry = find(directory, "<sleeping@a.example>");
	assert_int_equal(entry.result, DIRECTORY_SUSPENDED);
	assert_slice(entry.mailbox, "a.example/sleeping");
	entry = find(directory, "<x@a.example>");
	assert_int_equal(entry.targets.count, 0);
}

static void who_is_on_a_list_is_found_by_meaning(void **state)
{
	(void)state;
	static const struct slice members[] = {TEXT("Boss@Example.NET"), TEXT("x@" B_UE "cher.example")};
	static const struct directory_mailbox_config mailboxes[] = {
		{.name = TEXT("l"), .state = DIRECTORY_GROUP, .members = {members, 2}}};
	static const struct {
		const char *address;
		bool on;
	} rows[] = {
		{"<boss@example.net>", true},        {"<\"boss\"@EXAMPLE.net>", true},
		{"<x@xn--bcher-kva.example>", true}, {"<bos@example.net>", false},
		{"<boss@example.ne>", false},        {"<postmaster>", false},
		{"<boss@sub.example.net>", false},   {"<l@a.example>", false},
	};
	struct directory_domain_config d = {.name = SLICE("a.example"), .mailboxes = mailboxes, .mailbox_count = 1};
	struct directory_config c = {.domains = &d, .domain_count = 1};
	struct directory_entry entry = find(make(&c), "<l@a.example>");

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct mail_address address;
		const char *why;
		size_t used;

		mail_path_parse(slice_from_cstr(rows[i].address), false, true, &address, &used, &why);
		if (directory_list_has(&entry, &address) != rows[i].on)
			fail_msg("%s", rows[i].address);
	}
}

#define CHAIN (DIRECTORY_DEPTH_MAX + 1)

/* E9: neither circles nor depth nor number make an expansion grow without bound. */
static void circles_depth_and_number_of_members_are_refused(void **state)
{
	(void)state;
	static char names[CHAIN][8], addresses[CHAIN][24];
	static struct slice next[CHAIN][2];
	static struct directory_mailbox_config chain[CHAIN];
	struct directory_domain_config d = {.name = SLICE("a.example"), .mailboxes = chain};
	struct directory_config c = {.domains = &d, .domain_count = 1};

	for (unsigned i = 0; i < CHAIN; i++) {
		snprintf(names[i], sizeof names[i], "l%02u", i);
		snprintf(addresses[i], sizeof addresses[i], "l%02u@a.example", i);
	}
	for (unsigned i = 0; i < CHAIN; i++) {
		next[i][0] = i + 1 < CHAIN ? slice_from_cstr(addresses[i + 1]) : SLICE("end@example.net");
		chain[i] = (struct directory_mailbox_config){
			.name = slice_from_cstr(names[i]), .state = DIRECTORY_GROUP, .members = {next[i], 1}};
	}
	d.mailbox_count = CHAIN;
	refuse(&c, "more than 20 times over");
	d.mailboxes = chain + 1; /* one step less */
	d.mailbox_count = CHAIN - 1;
	struct directory_entry entry = find(make(&c), "<l01@a.example>");
	check_targets(&entry, "end@example.net");

	next[CHAIN - 1][0] = slice_from_cstr(addresses[1]);
	refuse(&c, "comes back to itself");

	/* Each list names the next one twice: 2^20 ways to the end. */
	next[CHAIN - 1][0] = SLICE("end@example.net");
	for (unsigned i = 1; i < CHAIN; i++) {
		next[i][1] = next[i][0];
		chain[i].members.count = 2;
	}
	refuse(&c, "more than 10000 addresses");
}

static void domains_with_a_name_are_counted(void **state)
{
	(void)state;
	struct directory_config c = config();
	struct slice names[1];
	struct directory *d = make(&c);

	assert_int_equal(directory_domains_with(d, SLICE("ALICE"), names, 1), 2);
	assert_slice(names[0], "example.com");
	assert_int_equal(directory_domains_with(d, SLICE("zoe"), names, 1), 1);
	assert_slice(names[0], "catch.example");
	assert_int_equal(directory_domains_with(d, SLICE("nobody"), names, 1), 0);
	assert_int_equal(directory_domains_with(d, SLICE(""), NULL, 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(local_parts_are_compared_by_their_meaning),
		TEST(sub_addresses_end_at_the_delimiter),
		TEST(disabled_and_moved_mailboxes_say_so),
		TEST(a_catch_all_takes_what_is_for_no_other),
		TEST(lmtp_domains_are_found_without_a_maildir),
		TEST(postmaster_is_everywhere),
		TEST(a_configured_postmaster_gets_it_all_but_where_one_is_listed),
		TEST(without_domains_postmaster_is_still_here),
		TEST(a_path_comes_from_the_configuration_and_is_one_safe_part),
		TEST(names_that_are_no_safe_path_are_encoded_or_refused),
		TEST(a_wrong_configuration_is_refused_with_a_reason),
		TEST(without_memory_there_is_no_directory),
		TEST(a_list_stands_for_its_members_through_lists_and_forwarding),
		TEST(who_is_on_a_list_is_found_by_meaning),
		TEST(circles_depth_and_number_of_members_are_refused),
		TEST(domains_with_a_name_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
