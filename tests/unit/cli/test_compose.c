#include "test.h"

#include "cli/compose.h"
#include "mail/scan.h"

/* ---- lines ------------------------------------------------------------------------------------------------- */

static void feed_pieces(struct compose_lines *l, struct slice in, size_t first, size_t rest)
{
	while (in.n) {
		assert_true(compose_lines_feed(l, slice_head(in, first)));
		in = slice_skip(in, first);
		first = rest;
	}
	assert_true(compose_lines_end(l));
}

/* Whole, octet by octet, and cut at every point: always the same. */
static void assert_lines(struct slice in, bool dot_ends, struct slice expected)
{
	struct buf out;

	buf_init(&out, 4096);
	for (size_t cut = 0; cut <= in.n; cut++) {
		struct compose_lines l = {.out = &out, .dot_ends = dot_ends};
		buf_reset(&out);
		feed_pieces(&l, in, cut ? cut : 1, cut ? in.n : 1);
		if (!slice_eq(buf_slice(&out), expected))
			fail_msg("cut at %zu: %.*s", cut, SLICE_ARGS(buf_slice(&out)));
	}
	buf_free(&out);
}

static void test_lines_end_in_crlf_whatever_they_ended_in(void **state)
{
	(void)state;
	assert_lines(SLICE(""), false, SLICE(""));
	assert_lines(SLICE("a"), false, SLICE("a\r\n"));
	assert_lines(SLICE("a\n"), false, SLICE("a\r\n"));
	assert_lines(SLICE("a\r\n"), false, SLICE("a\r\n"));
	assert_lines(SLICE("a\nb\r\nc"), false, SLICE("a\r\nb\r\nc\r\n"));
	assert_lines(SLICE("\n\n"), false, SLICE("\r\n\r\n"));
	assert_lines(SLICE("a\r\r\nb\rc\n"), false, SLICE("a\r\r\nb\rc\r\n"));
	assert_lines(SLICE("a\r"), false, SLICE("a\r\n"));
	assert_lines(SLICE("a\0b\n"), false, SLICE("a\0b\r\n"));
}

static void test_a_line_of_one_dot_ends_the_message_only_when_asked(void **state)
{
	(void)state;
	assert_lines(SLICE("a\n.\nb\n"), true, SLICE("a\r\n"));
	assert_lines(SLICE("a\r\n.\r\nb\r\n"), true, SLICE("a\r\n"));
	assert_lines(SLICE("a\n."), true, SLICE("a\r\n"));
	assert_lines(SLICE(".\nb"), true, SLICE(""));
	assert_lines(SLICE("a\n..\n.b\n. \nc.\n"), true, SLICE("a\r\n..\r\n.b\r\n. \r\nc.\r\n"));
	assert_lines(SLICE("a\n.\nb\n"), false, SLICE("a\r\n.\r\nb\r\n"));
}

/* The open line is looked at while the buffer moves: found by the fuzzer. */
static void test_lines_are_whole_while_their_buffer_grows(void **state)
{
	struct buf out;
	struct compose_lines l = {.out = &out, .dot_ends = true};
	size_t expected = 0;

	(void)state;
	buf_init(&out, 65536);
	for (size_t n = 0; n < 300; n++) {
		for (size_t i = 0; i < n; i++)
			assert_true(compose_lines_feed(&l, SLICE("x")));
		assert_true(compose_lines_feed(&l, SLICE("\n")));
		expected += n + 2;
		assert_int_equal(buf_len(&out), expected);
	}
	buf_free(&out);
}

static void test_a_message_over_the_limit_is_told(void **state)
{
	struct buf out;
	struct compose_lines l = {.out = &out};

	(void)state;
	buf_init(&out, 8);
	assert_true(compose_lines_feed(&l, SLICE("abc\ndef")));
	assert_false(compose_lines_end(&l));
	buf_free(&out);
}

/* ---- the header section ------------------------------------------------------------------------------------ */

static void assert_split(const char *message, const char *fields, const char *body)
{
	struct slice ret_fields, ret_body;
	char *exact = test_exact_copy(slice_from_cstr(message));

	compose_split(slice_of(exact, strlen(message)), &ret_fields, &ret_body);
	assert_slice(ret_fields, fields);
	assert_slice(ret_body, body);
	free(exact);
}

static void test_a_message_is_split_where_its_fields_end(void **state)
{
	(void)state;
	assert_split("", "", "");
	assert_split("A: b\r\n\r\nbody\r\n", "A: b\r\n", "body\r\n");
	assert_split("A: b\r\n c\r\n\td\r\nE:\r\n\r\n\r\nx", "A: b\r\n c\r\n\td\r\nE:\r\n", "\r\nx");
	assert_split("A: b\r\nno field\r\n", "A: b\r\n", "no field\r\n");
	assert_split("just text\r\n", "", "just text\r\n");
	assert_split("\r\nA: b\r\n", "", "A: b\r\n");
	assert_split("From me Mon Jan  1\r\nA: b\r\n\r\nx", "A: b\r\n", "x");
	assert_split("From: me\r\n\r\nx", "From: me\r\n", "x");
	assert_split("A: b", "A: b", "");
	assert_split("A : b\r\n", "", "A : b\r\n");
}

static void test_fields_come_whole_with_name_and_value(void **state)
{
	struct slice rest = SLICE("To: a,\r\n b\r\nX:\r\n");
	struct compose_field f;

	(void)state;
	assert_true(compose_field_next(&rest, &f));
	assert_slice(f.name, "To");
	assert_slice(f.value, " a,\r\n b");
	assert_slice(f.whole, "To: a,\r\n b\r\n");
	assert_true(compose_field_next(&rest, &f));
	assert_slice(f.value, "");
	assert_false(compose_field_next(&rest, &f));
}

/* ---- what is missing --------------------------------------------------------------------------------------- */

static const struct mail_rcpt two[] = {{.address = {"alice@example.com", 17}}, {.address = {"bob@example.com", 15}}};

static struct compose plain(void)
{
	return (struct compose){
		.from = SLICE("me@example.org"), .host = SLICE("host.example"), .now = 0, .chance = 0xabc};
}

static void assert_head(const struct compose *c, const char *fields, const char *expected)
{
	struct buf out;

	buf_init(&out, 65536);
	assert_true(compose_head(c, slice_from_cstr(fields), &out));
	assert_slice(buf_slice(&out), expected);
	buf_free(&out);
}

#define DATE "Date: Thu, 01 Jan 1970 00:00:00 +0000\r\n"
#define ID   "Message-ID: <0.0000000000000abc@host.example>\r\n"

static void test_missing_fields_are_added_and_others_left_alone(void **state)
{
	struct compose c = plain();

	(void)state;
	assert_head(&c, "", DATE "From: me@example.org\r\n" ID "\r\n");
	assert_head(&c, "Subject: x\r\n", DATE "From: me@example.org\r\n" ID "Subject: x\r\n\r\n");
	assert_head(&c, "date: d\r\nFROM: f\r\nmessage-id: i\r\n", "date: d\r\nFROM: f\r\nmessage-id: i\r\n\r\n");
	assert_head(&c, "Date: d\r\nFrom: f\r\nMessage-ID: i", "Date: d\r\nFrom: f\r\nMessage-ID: i\r\n\r\n");
	c.to = two;
	c.to_count = 2;
	c.subject = SLICE("hello");
	assert_head(&c, "",
		    DATE "From: me@example.org\r\nTo: <alice@example.com>, <bob@example.com>\r\nSubject: hello\r\n" ID
			 "\r\n");
	assert_head(&c, "Cc: x\r\nSubject: y\r\n", DATE "From: me@example.org\r\n" ID "Cc: x\r\nSubject: y\r\n\r\n");
}

static void test_bcc_goes_only_when_asked(void **state)
{
	struct compose c = plain();
	const char *fields = "Date: d\r\nFrom: f\r\nBcc: a,\r\n b\r\nMessage-ID: i\r\nRESENT-BCC: c\r\nBccx: d\r\n";

	(void)state;
	assert_head(&c, fields,
		    "Date: d\r\nFrom: f\r\nBcc: a,\r\n b\r\nMessage-ID: i\r\nRESENT-BCC: c\r\nBccx: d\r\n\r\n");
	c.drop_bcc = true;
	assert_head(&c, fields, "Date: d\r\nFrom: f\r\nMessage-ID: i\r\nBccx: d\r\n\r\n");
}

static void test_a_full_name_cannot_end_its_field(void **state)
{
	static const struct {
		const char *name, *field;
	} cases[] = {
		{"A Name", "From: \"A Name\" <me@example.org>\r\n"},
		{"a \"b\" \\c", "From: \"a \\\"b\\\" \\\\c\" <me@example.org>\r\n"},
		{"a\r\nBcc: x@y", "From: \"a Bcc: x@y\" <me@example.org>\r\n"},
		{"J\xc3\xb6rg", "From: =?utf-8?B?SsO2cmc=?= <me@example.org>\r\n"},
		{"\xff\x01", "From: \"??\" <me@example.org>\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct compose c = plain();
		char expected[200];
		c.full_name = slice_from_cstr(cases[i].name);
		snprintf(expected, sizeof expected, "%sDate: d\r\nMessage-ID: i\r\n\r\n", cases[i].field);
		assert_head(&c, "Date: d\r\nMessage-ID: i\r\n", expected);
	}
}

static void test_a_body_outside_ascii_gets_mime_fields_unless_it_has_them(void **state)
{
	struct compose c = plain();
	const char *all = "Date: d\r\nFrom: f\r\nMessage-ID: i\r\n";
	char fields[200], expected[400];

	(void)state;
	c.charset = SLICE("utf-8");
	snprintf(expected, sizeof expected,
		 "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
		 "8bit\r\n%s\r\n",
		 all);
	assert_head(&c, all, expected);
	snprintf(fields, sizeof fields, "%sContent-Type: text/html\r\n", all);
	snprintf(expected, sizeof expected, "MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n%s\r\n", fields);
	assert_head(&c, fields, expected);
	snprintf(fields, sizeof fields, "%sMIME-Version: 1.0\r\n", all);
	snprintf(expected, sizeof expected, "%s\r\n", fields);
	assert_head(&c, fields, expected);
}

static void assert_text(struct slice text, const char *expected)
{
	struct buf out;

	buf_init(&out, 65536);
	assert_true(compose_text_field(&out, "Subject", text));
	assert_slice(buf_slice(&out), expected);
	buf_free(&out);
}

static void test_a_subject_is_folded_encoded_and_cannot_end_its_field(void **state)
{
	(void)state;
	assert_text(SLICE("hello"), "Subject: hello\r\n");
	assert_text(SLICE("two  spaces "), "Subject: two  spaces\r\n");
	assert_text(SLICE("a\r\nBcc: x@y\r\n\r\nbody"), "Subject: a Bcc: x@y  body\r\n");
	assert_text(SLICE("Gr\xc3\xbc\xc3\x9f"
			  "e"),
		    "Subject: =?utf-8?B?R3LDvMOfZQ==?=\r\n");
	assert_text(SLICE("0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789"),
		    "Subject: 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789\r\n"
		    "\t0123456789 0123456789\r\n");
}

/* One "=?utf-8?B?...?=". */
static void decode_word(struct slice word, struct buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned value = 0, bits = 0;

	assert_true(slice_starts(word, SLICE("=?utf-8?B?")) && slice_ends(word, SLICE("?=")));
	for (size_t i = 10; i < word.n - 2 && word.p[i] != '='; i++) {
		const char *digit = strchr(digits, word.p[i]);
		assert_non_null(digit);
		value = value << 6 | (unsigned)(digit - digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			buf_add_char(out, (char)(value >> bits & 0xff));
		}
	}
}

static void test_encoded_words_are_short_and_hold_whole_characters(void **state)
{
	struct buf text, out, decoded;

	(void)state;
	buf_init(&text, 4096);
	buf_init(&decoded, 4096);
	buf_init(&out, 65536);
	for (int i = 0; i < 100; i++)
		buf_add_lit(&text, "a\xe2\x82\xac");
	assert_true(compose_text_field(&out, "Subject", buf_slice(&text)));
	struct slice rest = slice_skip(buf_slice(&out), 8);
	while (rest.n) {
		size_t end = slice_search(rest, SLICE("\r\n"));
		struct slice word = slice_trim(slice_head(rest, end));
		size_t before = buf_len(&decoded);
		assert_true(word.n <= 75);
		decode_word(word, &decoded);
		assert_true(slice_is_utf8(slice_skip(buf_slice(&decoded), before)));
		rest = slice_skip(rest, end + 2);
	}
	assert_true(slice_eq(buf_slice(&decoded), buf_slice(&text)));
	buf_free(&decoded);
	buf_free(&text);
	buf_free(&out);
}

/* Whatever the names and texts are: the section holds exactly the fields that were meant, and ends where it ends. */
static void test_a_header_is_one_header_section_whatever_is_put_into_it(void **state)
{
	struct compose c = plain();
	struct mail_scan scan;
	struct buf out;
	char all[256];

	(void)state;
	for (int i = 0; i < 256; i++)
		all[i] = (char)i;
	c.full_name = slice_of(all, 256);
	c.subject = slice_of(all, 256);
	c.to = two;
	c.to_count = 2;
	buf_init(&out, 65536);
	assert_true(compose_head(&c, SLICE_NONE, &out));
	mail_scan_init(&scan, SLICE_NONE);
	mail_scan_feed(&scan, buf_slice(&out));
	mail_scan_end(&scan);
	assert_int_equal(scan.flags,
			 MAIL_SCAN_ENDS_CRLF | MAIL_SCAN_HAS_FROM | MAIL_SCAN_HAS_DATE | MAIL_SCAN_HAS_MESSAGE_ID);
	assert_int_equal(scan.header_octets + 2, buf_len(&out));
	assert_true(scan.longest_line <= 998);
	buf_free(&out);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_end_in_crlf_whatever_they_ended_in),
		cmocka_unit_test(test_a_line_of_one_dot_ends_the_message_only_when_asked),
		cmocka_unit_test(test_lines_are_whole_while_their_buffer_grows),
		cmocka_unit_test(test_a_message_over_the_limit_is_told),
		cmocka_unit_test(test_a_message_is_split_where_its_fields_end),
		cmocka_unit_test(test_fields_come_whole_with_name_and_value),
		cmocka_unit_test(test_missing_fields_are_added_and_others_left_alone),
		cmocka_unit_test(test_bcc_goes_only_when_asked),
		cmocka_unit_test(test_a_full_name_cannot_end_its_field),
		cmocka_unit_test(test_a_body_outside_ascii_gets_mime_fields_unless_it_has_them),
		cmocka_unit_test(test_a_subject_is_folded_encoded_and_cannot_end_its_field),
		cmocka_unit_test(test_encoded_words_are_short_and_hold_whole_characters),
		cmocka_unit_test(test_a_header_is_one_header_section_whatever_is_put_into_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
