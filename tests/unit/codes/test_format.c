#include "test.h"

#include "codes/smtpcodes.h"

static const struct smtpcodes_status NONE, UNKNOWN = {5, 1, 1};

static void check(unsigned code, struct smtpcodes_status status, const char *text, unsigned flags, const char *expected)
{
	char out[2000];
	size_t n = smtpcodes_reply_format(code, status, text, strlen(text), flags, out, sizeof out);

	assert_slice(slice_of(out, n), expected);
	for (size_t cap = 0; cap < n; cap++) {
		char *small = malloc(cap ? cap : 1);
		assert_int_equal(smtpcodes_reply_format(code, status, text, strlen(text), flags, small, cap), n);
		free(small);
	}
}

static void each_line_carries_both_codes(void **state)
{
	(void)state;
	check(250, NONE, "", 0, "250 \r\n");
	check(250, NONE, "OK", 0, "250 OK\r\n");
	check(550, UNKNOWN, "no", 0, "550 5.1.1 no\r\n");
	check(550, UNKNOWN, "no\nsuch\nuser", 0, "550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n");
	check(550, UNKNOWN, "no\n", 0, "550-5.1.1 no\r\n550 5.1.1 \r\n");
	check(554, UNKNOWN, "mx.example.com no", SMTPCODES_NO_STATUS, "554 mx.example.com no\r\n");
	check(354, NONE, "go", 0, "354 go\r\n");
}

static void what_may_not_stand_in_a_reply_becomes_a_question_mark(void **state)
{
	(void)state;
	check(250, NONE, "a\rb\x01\x7f\tc", 0, "250 a?b??\tc\r\n");
	check(250, NONE, "gr\xc3\xbc\xc3\x9f", 0, "250 gr????\r\n");
	check(250, NONE, "gr\xc3\xbc\xc3\x9f", SMTPCODES_UTF8, "250 gr\xc3\xbc\xc3\x9f\r\n");
	check(250, NONE, "\xe2\x82\xac \xf0\x9f\x93\xa7", SMTPCODES_UTF8, "250 \xe2\x82\xac \xf0\x9f\x93\xa7\r\n");
	check(250, NONE, "\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82", SMTPCODES_UTF8, "250 ?? ??? ???? ??\r\n");
	check(250, NONE, "\xe0\x80\xaf \xf0\x80\x80\xaf \xff \x80", SMTPCODES_UTF8, "250 ??? ???? ? ?\r\n");
}

static void codes_that_break_the_rules_give_nothing(void **state)
{
	(void)state;
	char out[100];
	static const unsigned bad[] = {0, 99, 150, 199, 260, 299, 471, 560, 571, 600, 999, 1250};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(smtpcodes_reply_format(bad[i], NONE, "x", 1, 0, out, sizeof out), 0);
	assert_int_equal(smtpcodes_reply_format(450, UNKNOWN, "x", 1, 0, out, sizeof out), 0);
	assert_int_equal(smtpcodes_reply_format(354, (struct smtpcodes_status){3, 0, 0}, "x", 1, 0, out, sizeof out),
			 0);
	assert_int_equal(smtpcodes_reply_format(550, (struct smtpcodes_status){5, 1000, 0}, "x", 1, 0, out, sizeof out),
			 0);
	assert_int_equal(smtpcodes_reply_format(550, (struct smtpcodes_status){5, 0, 1000}, "x", 1, 0, out, sizeof out),
			 0);
}

static void no_line_is_longer_than_512_octets(void **state)
{
	(void)state;
	static const char *const words[] = {
		"x", "word ", "\xc3\xbc", "\xf0\x9f\x93\xa7", "\n", "verylongwordwithoutanyspace"};
	char text[3000], out[40000];

	for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
		for (size_t n = 480; n < 2000; n += 7) {
			size_t word = strlen(words[w]), used = 0;
			while (used + word <= n) {
				memcpy(text + used, words[w], word);
				used += word;
			}
			size_t length =
				smtpcodes_reply_format(550, UNKNOWN, text, used, SMTPCODES_UTF8, out, sizeof out);
			struct smtpcodes_reply reply;
			assert_int_equal(smtpcodes_reply_parse(out, length, SMTPCODES_STRICT, &reply), SMTPCODES_OK);
			assert_int_equal(reply.octets, length);
			assert_true(slice_is_utf8(slice_of(out, length)));
			assert_null(memchr(out, '?', length));
			for (struct slice rest = slice_of(out, length); rest.n;) {
				size_t line = slice_find(rest, '\n') + 1;
				assert_true(line <= 512);
				assert_true(slice_starts(slice_skip(rest, 4), SLICE("5.1.1 ")));
				rest = slice_skip(rest, line);
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_line_carries_both_codes),
		cmocka_unit_test(what_may_not_stand_in_a_reply_becomes_a_question_mark),
		cmocka_unit_test(codes_that_break_the_rules_give_nothing),
		cmocka_unit_test(no_line_is_longer_than_512_octets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
