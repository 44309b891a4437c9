#include "test.h"

#include "cli/compose.h"
#include "mail/address.h"

static const struct hash_key key = {1, 2};

/* The addresses of a list, one a line. */
static const char *collect(void *arg, struct slice address)
{
	buf_add(arg, address);
	buf_add_char(arg, '\n');
	return NULL;
}

static void assert_list(const char *list, const char *expected)
{
	struct buf out;
	char *exact = test_exact_copy(slice_from_cstr(list));
	const char *why;

	buf_init(&out, 65536);
	why = mail_address_list(slice_of(exact, strlen(list)), collect, &out);
	if (why)
		print_error("%s: %s\n", list, why);
	assert_null(why);
	assert_slice(buf_slice(&out), expected);
	buf_free(&out);
	free(exact);
}

static void assert_refused(struct slice list, const char *expected)
{
	struct buf out;
	char *exact = test_exact_copy(list);

	buf_init(&out, (size_t)1 << 20);
	const char *why = mail_address_list(slice_of(exact, list.n), collect, &out);
	if (!why)
		print_error("taken: %.*s\n", SLICE_ARGS(list));
	assert_non_null(why);
	assert_string_equal(why, expected);
	buf_free(&out);
	free(exact);
}

static void test_every_form_of_a_mailbox_gives_its_address(void **state)
{
	(void)state;
	assert_list("alice@example.com", "alice@example.com\n");
	assert_list("  alice@example.com  ", "alice@example.com\n");
	assert_list("Alice <alice@example.com>", "alice@example.com\n");
	assert_list("\"B, O; <x@y>\" <bob@example.com>", "bob@example.com\n");
	assert_list("J. R. Doe <j@example.com>", "j@example.com\n");
	assert_list("alice@example.com <alice@example.net>", "alice@example.net\n");
	assert_list("alice@example.com (Alice (or not), <x@y>)", "alice@example.com\n");
	assert_list("(a) alice (b) @ (c) example (d) . (e) com (f)", "alice@example.com\n");
	assert_list("\"quoted local\"@example.com", "\"quoted local\"@example.com\n");
	assert_list("\"a\\\"b\"@example.com", "\"a\\\"b\"@example.com\n");
	assert_list("root@[192.0.2.1], <root@[IPv6:2001:db8::1]>", "root@[192.0.2.1]\nroot@[IPv6:2001:db8::1]\n");
	assert_list("j\xc3\xb6rg@b\xc3\xbc"
		    "cher.example",
		    "j\xc3\xb6rg@b\xc3\xbc"
		    "cher.example\n");
	assert_list("root", "root\n");
	assert_list("<root>", "root\n");
}

static void test_lists_groups_routes_and_folding_are_understood(void **state)
{
	(void)state;
	assert_list("", "");
	assert_list(" \r\n\t(nobody) ", "");
	assert_list("a@x, b@y,c@z", "a@x\nb@y\nc@z\n");
	assert_list(",, a@x ,,, b@y,", "a@x\nb@y\n");
	assert_list("A <a@x>,\r\n\t\"B\" <b@y>", "a@x\nb@y\n");
	assert_list("undisclosed-recipients:;", "");
	assert_list("friends: a@x, B <b@y>;", "a@x\nb@y\n");
	assert_list("z@z, friends: a@x;, others:;, b@y", "z@z\na@x\nb@y\n");
	assert_list("<@relay.example,@other.example:user@example.com>", "user@example.com\n");
	assert_list("\"folded\r\n name\"@example.com", "\"folded name\"@example.com\n");
}

static void test_what_is_no_list_is_an_error_and_says_which(void **state)
{
	static const struct {
		const char *list, *why;
	} cases[] = {
		{"not an address", "words without an address"},
		{"alice@example.com bob@example.com", "words without an address"},
		{"<alice example.com>", "words without an address"},
		{"<a@x> b", "words follow an address"},
		{"<a@x> .", "words follow an address"},
		{"<a@x> <b@y>", "an angle bracket is out of place"},
		{"<a@x", "an angle bracket is not closed"},
		{"<a@x, b@y>", "an angle bracket is not closed"},
		{"a@x>", "an angle bracket is out of place"},
		{"<<a@x>>", "an angle bracket is out of place"},
		{"<@relay.example>", "an angle bracket is out of place"},
		{"<>", "an address is empty"},
		{"<><><>", "an address is empty"},
		{"a@x; b@y", "a semicolon is out of place"},
		{":;", "a colon is out of place"},
		{"a:b:c@x;", "a colon is out of place"},
		{"friends: a@x", "a group is not closed"},
		{"friends: a@x; b@y", "words follow an address"},
		{"a@x (comment", "a comment has no end"},
		{"a@x (comment\\", "a comment has no end"},
		{"a@x )", "a bracket or backslash is out of place"},
		{"a\\@x", "a bracket or backslash is out of place"},
		{"\"a@x", "a quoted string has no end"},
		{"\"a@x\\\"", "a quoted string has no end"},
		{"a@[192.0.2.1", "an address literal has no end"},
		{"a\x01@x", "a control character is in it"},
		{"a\x7f@x", "a control character is in it"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_refused(slice_from_cstr(cases[i].list), cases[i].why);
	assert_refused(SLICE("a\0b@x"), "a control character is in it");
	assert_refused(SLICE("\"a\0b\"@x"), "a control character is in it");
}

/* attacks.md E10: the family of prescan and crackaddr. */
static void test_e10_hostile_lists_are_bounded_and_linear(void **state)
{
	static const char *const pieces[] = {"<", "<>", "(", ")",   "((((", "\"", "\\", "\xff", "@",
					     ":", ";",  ",", "a:;", "a ",   ".",  "[",  "a@x,", "<@a:"};
	enum { COUNT = 100000 };

	(void)state;
	for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
		struct slice piece = slice_from_cstr(pieces[i]);
		struct buf list, out;

		buf_init(&list, COUNT * 8);
		buf_init(&out, COUNT * 8);
		for (size_t k = 0; k < COUNT; k++)
			buf_add(&list, piece);
		mail_address_list(buf_slice(&list), collect, &out);
		assert_true(buf_len(&out) <= buf_len(&list));
		buf_add_lit(&list, "Name <a@x>");
		mail_address_list(buf_slice(&list), collect, &out);
		buf_free(&list);
		buf_free(&out);
	}
}

static void test_e10_comments_nest_to_the_limit_and_no_deeper(void **state)
{
	struct buf list;

	(void)state;
	buf_init(&list, 1024);
	for (int i = 0; i < MAIL_COMMENT_DEPTH; i++)
		buf_add_char(&list, '(');
	for (int i = 0; i < MAIL_COMMENT_DEPTH; i++)
		buf_add_char(&list, ')');
	buf_add_lit(&list, "a@x");
	assert_list(buf_cstr(&list), "a@x\n");
	buf_reset(&list);
	for (int i = 0; i <= MAIL_COMMENT_DEPTH; i++)
		buf_add_char(&list, '(');
	assert_refused(buf_slice(&list), "comments are nested too deep");
	buf_free(&list);
}

static void test_an_address_too_long_for_any_is_refused_but_a_long_name_is_not(void **state)
{
	struct buf list;

	(void)state;
	buf_init(&list, 300000);
	for (int i = 0; i < 100000; i++)
		buf_add_char(&list, 'a');
	assert_refused(buf_slice(&list), "an address is too long");
	buf_add_lit(&list, " <a@x>");
	assert_list(buf_cstr(&list), "a@x\n");
	buf_free(&list);
}

/* ---- recipients -------------------------------------------------------------------------------------------- */

static const char *rcpts_of(struct compose_rcpts *r, const char *list, struct slice host)
{
	compose_rcpts_init(r, host, key);
	return compose_rcpts_add_list(r, slice_from_cstr(list));
}

static void assert_rcpts(const struct compose_rcpts *r, const char *expected)
{
	struct buf out;

	buf_init(&out, 65536);
	for (size_t i = 0; i < r->count; i++)
		buf_printf(&out, "%.*s\n", SLICE_ARGS(r->list[i].address));
	assert_slice(buf_slice(&out), expected);
	buf_free(&out);
}

static void test_addresses_without_domain_are_completed_and_postmaster_needs_none(void **state)
{
	struct compose_rcpts r;

	(void)state;
	assert_null(rcpts_of(&r, "root, Bob <bob>, alice@example.com, \"a@b\", Postmaster, postmaster@x",
			     SLICE("host.example")));
	assert_rcpts(&r, "root@host.example\nbob@host.example\nalice@example.com\n\"a@b\"@host."
			 "example\nPostmaster\npostmaster@x\n");
	compose_rcpts_free(&r);
}

static void test_each_recipient_stands_there_once_in_the_order_of_the_list(void **state)
{
	struct compose_rcpts r;

	(void)state;
	assert_null(rcpts_of(&r, "b@x, a@x, b@x, <a@x>, a, a@h, B@x", SLICE("h")));
	assert_rcpts(&r, "b@x\na@x\na@h\nB@x\n");
	compose_rcpts_free(&r);
}

static void test_thousands_of_recipients_are_kept_apart(void **state)
{
	struct compose_rcpts r;
	char text[32];

	(void)state;
	compose_rcpts_init(&r, SLICE("h"), key);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 5000; i++) {
			snprintf(text, sizeof text, "user%d@example.com", i);
			assert_null(compose_rcpts_add(&r, slice_from_cstr(text)));
		}
	assert_int_equal(r.count, 5000);
	assert_slice(r.list[4999].address, "user4999@example.com");
	compose_rcpts_free(&r);
}

static void test_what_smtp_cannot_carry_is_refused(void **state)
{
	static const char *const wrong[] = {"a@",   "@b",      "a@b@c",     "a..b@x", ".a@x",  "a@x..y",
					    "a@-x", "a@x_y z", "a@[1.2.3]", "\xff@x", "a@\xff"};
	struct compose_rcpts r;

	(void)state;
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		if (!rcpts_of(&r, wrong[i], SLICE("h")))
			fail_msg("taken: %s", wrong[i]);
		assert_int_equal(r.count, 0);
		compose_rcpts_free(&r);
	}
}

/* attacks.md E7: what begins with a hyphen is an address like any other; whether it exists is the server's to say. */
static void test_e7_a_leading_hyphen_is_part_of_the_address(void **state)
{
	struct compose_rcpts r;

	(void)state;
	assert_null(rcpts_of(&r, "-oQ/tmp@L, --help@L, -bp", SLICE("h")));
	assert_rcpts(&r, "-oQ/tmp@L\n--help@L\n-bp@h\n");
	compose_rcpts_free(&r);
}

static void test_the_header_gives_to_cc_and_bcc(void **state)
{
	struct compose_rcpts r;
	struct compose_field field;

	(void)state;
	compose_rcpts_init(&r, SLICE("h"), key);
	assert_null(compose_rcpts_add_fields(
		&r, SLICE("From: f@x\r\nTO: a@x,\r\n b@x\r\nReply-To: r@x\r\ncc: c@x\r\nBcc: d@x\r\nTo: e@x\r\n"),
		&field));
	assert_rcpts(&r, "a@x\nb@x\nc@x\nd@x\ne@x\n");
	compose_rcpts_free(&r);
}

static void test_resent_fields_take_the_place_of_the_others(void **state)
{
	struct compose_rcpts r;
	struct compose_field field;

	(void)state;
	compose_rcpts_init(&r, SLICE("h"), key);
	assert_null(compose_rcpts_add_fields(&r, SLICE("Resent-To: a@x\r\nResent-Bcc: b@x\r\nTo: c@x\r\nBcc: d@x\r\n"),
					     &field));
	assert_rcpts(&r, "a@x\nb@x\n");
	compose_rcpts_free(&r);
}

static void test_a_malformed_field_is_named(void **state)
{
	struct compose_rcpts r;
	struct compose_field field;

	(void)state;
	compose_rcpts_init(&r, SLICE("h"), key);
	assert_non_null(compose_rcpts_add_fields(&r, SLICE("To: a@x\r\nCc: b@x (\r\nBcc: c@x\r\n"), &field));
	assert_slice(field.name, "Cc");
	compose_rcpts_free(&r);
}

static void test_the_sender_is_one_address_or_none(void **state)
{
	static const struct {
		const char *text, *sender;
	} cases[] = {
		{"<>", ""}, {"", ""}, {" <> ", ""}, {"a@x", "a@x"}, {"a", "a@h"}, {"<a@x>", "a@x"}, {"A <a@x>", "a@x"},
	};
	static const char *const wrong[] = {"a@x, b@x", "a b", "(", "g:;", ",", "a@x\r\nRCPT TO:<b@x>"};
	struct buf out;

	(void)state;
	buf_init(&out, COMPOSE_ADDRESS_MAX);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		buf_reset(&out);
		assert_null(compose_sender(slice_from_cstr(cases[i].text), SLICE("h"), &out));
		assert_slice(buf_slice(&out), cases[i].sender);
	}
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		buf_reset(&out);
		assert_non_null(compose_sender(slice_from_cstr(wrong[i]), SLICE("h"), &out));
	}
	/* White space around it is no part of it. */
	buf_reset(&out);
	assert_null(compose_sender(SLICE("a\n"), SLICE("h"), &out));
	assert_slice(buf_slice(&out), "a@h");
	buf_free(&out);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_form_of_a_mailbox_gives_its_address),
		cmocka_unit_test(test_lists_groups_routes_and_folding_are_understood),
		cmocka_unit_test(test_what_is_no_list_is_an_error_and_says_which),
		cmocka_unit_test(test_e10_hostile_lists_are_bounded_and_linear),
		cmocka_unit_test(test_e10_comments_nest_to_the_limit_and_no_deeper),
		cmocka_unit_test(test_an_address_too_long_for_any_is_refused_but_a_long_name_is_not),
		cmocka_unit_test(test_addresses_without_domain_are_completed_and_postmaster_needs_none),
		cmocka_unit_test(test_each_recipient_stands_there_once_in_the_order_of_the_list),
		cmocka_unit_test(test_thousands_of_recipients_are_kept_apart),
		cmocka_unit_test(test_what_smtp_cannot_carry_is_refused),
		cmocka_unit_test(test_e7_a_leading_hyphen_is_part_of_the_address),
		cmocka_unit_test(test_the_header_gives_to_cc_and_bcc),
		cmocka_unit_test(test_resent_fields_take_the_place_of_the_others),
		cmocka_unit_test(test_a_malformed_field_is_named),
		cmocka_unit_test(test_the_sender_is_one_address_or_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
