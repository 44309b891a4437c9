#include "test.h"

#include "codes/smtpcodes.h"

struct parse_case {
	const char *in;
	size_t n; /* 0: up to the NUL */
	enum smtpcodes_parse result;
	unsigned code;
	const char *status;
	size_t lines;
	size_t octets;
};

/* On an exact copy, so that a sanitizer sees each octet read too many. */
static enum smtpcodes_parse parse(const char *in, size_t n, enum smtpcodes_mode mode, struct smtpcodes_reply *ret)
{
	char *copy = test_exact_copy(slice_of(in, n));
	enum smtpcodes_parse result = smtpcodes_reply_parse(copy, n, mode, ret);

	free(copy);
	return result;
}

static void check(const struct parse_case *c, enum smtpcodes_mode mode)
{
	struct smtpcodes_reply reply;
	char status[10];
	size_t n = c->n ? c->n : strlen(c->in);

	if (parse(c->in, n, mode, &reply) != c->result)
		fail_msg("wrong result for: %s", c->in);
	if (c->result == SMTPCODES_BAD) {
		assert_non_null(reply.error);
		return;
	}
	assert_null(reply.error);
	smtpcodes_status_format(reply.status, status);
	if (reply.code != c->code || strcmp(status, c->status) != 0 || reply.lines != c->lines ||
	    (c->result == SMTPCODES_OK && reply.octets != c->octets))
		fail_msg("%s: got %u %s, %zu lines, %zu octets", c->in, reply.code, status, reply.lines, reply.octets);
}

/* clang-format off */
static const struct parse_case strict_cases[] = {
	{"250 OK\r\n", 0, SMTPCODES_OK, 250, "", 1, 8},
	{"250\r\n", 0, SMTPCODES_OK, 250, "", 1, 5},
	{"250 \r\n", 0, SMTPCODES_OK, 250, "", 1, 6},
	{"250 2.1.0 OK\r\n", 0, SMTPCODES_OK, 250, "2.1.0", 1, 14},
	{"250 2.1.0\r\n", 0, SMTPCODES_OK, 250, "2.1.0", 1, 11},
	{"250-\r\n250 x\r\n", 0, SMTPCODES_OK, 250, "", 2, 13},
	{"550-5.1.1 no\r\n550 5.1.1 way\r\n", 0, SMTPCODES_OK, 550, "5.1.1", 2, 29},
	{"550-5.1.1 no\r\n550 5.7.1 way\r\n", 0, SMTPCODES_OK, 550, "5.7.1", 2, 29},
	{"550-5.1.1 no\r\n550 way\r\n", 0, SMTPCODES_OK, 550, "5.1.1", 2, 23},
	{"550 4.1.1 class differs\r\n", 0, SMTPCODES_OK, 550, "", 1, 25},
	{"354 2.0.0 go\r\n", 0, SMTPCODES_OK, 354, "", 1, 14},
	{"250 a\r\n550 b\r\n", 0, SMTPCODES_OK, 250, "", 1, 7},
	{"250 \xc3\xa9\t~\r\n", 0, SMTPCODES_OK, 250, "", 1, 10},
	{"559 x\r\n", 0, SMTPCODES_OK, 559, "", 1, 7},
	{"", 0, SMTPCODES_MORE, 0, "", 0, 0},
	{"2", 0, SMTPCODES_MORE, 0, "", 0, 0},
	{"250", 0, SMTPCODES_MORE, 0, "", 0, 0},
	{"250 OK\r", 0, SMTPCODES_MORE, 0, "", 0, 0},
	{"250-OK\r\n", 0, SMTPCODES_MORE, 250, "", 1, 0},
	{"250-OK\r\n250", 0, SMTPCODES_MORE, 250, "", 1, 0},
	{"1", 0, SMTPCODES_BAD}, {"150 x\r\n", 0, SMTPCODES_BAD}, {"26", 0, SMTPCODES_BAD}, {"571 x\r\n", 0, SMTPCODES_BAD},
	{"25a", 0, SMTPCODES_BAD}, {"600 x\r\n", 0, SMTPCODES_BAD}, {"2500 x\r\n", 0, SMTPCODES_BAD},
	{"250\tx\r\n", 0, SMTPCODES_BAD}, {"250 OK\n", 0, SMTPCODES_BAD}, {"250 O\rK\r\n", 0, SMTPCODES_BAD},
	{"250\n", 0, SMTPCODES_BAD}, {"250 O\0K\r\n", 9, SMTPCODES_BAD}, {"250 \x7f\r\n", 0, SMTPCODES_BAD},
	{"250-a\r\n251 b\r\n", 0, SMTPCODES_BAD}, {"250-a\r\nb\r\n250 c\r\n", 0, SMTPCODES_BAD},
	{" 250 OK\r\n", 0, SMTPCODES_BAD}, {"\r\n", 0, SMTPCODES_BAD},
};

static const struct parse_case lenient_cases[] = {
	{"550", 0, SMTPCODES_OK, 550, "", 1, 3},
	{"571", 0, SMTPCODES_OK, 571, "", 1, 3},
	{"550 5.1.1 x", 0, SMTPCODES_OK, 550, "5.1.1", 1, 11},
	{"550 5.1.1 x\nmore", 0, SMTPCODES_OK, 550, "5.1.1", 1, 12},
	{"571 5.7.1 x\r\r\n", 0, SMTPCODES_OK, 571, "5.7.1", 1, 14},
	{"999 x\n", 0, SMTPCODES_OK, 999, "", 1, 6},
	{"100\t2.0.0 x\n", 0, SMTPCODES_OK, 100, "", 1, 12},
	{"250-4.2.0 a\n450 4.2.2 b", 0, SMTPCODES_OK, 450, "4.2.2", 2, 23},
	{"450-4.2.0 a\n550 b", 0, SMTPCODES_OK, 550, "", 2, 17},
	{"450-4.2.0 a\n550-5.0.0 b\n450 c", 0, SMTPCODES_OK, 450, "4.2.0", 3, 29},
	{"550-5.1.1 wrapped\nhere\n550 5.1.1 x\n", 0, SMTPCODES_OK, 550, "5.1.1", 3, 35},
	{"550: x", 0, SMTPCODES_OK, 550, "", 1, 6},
	{"550 O\0K\n", 8, SMTPCODES_OK, 550, "", 1, 8},
	{"250 O\rK\n", 0, SMTPCODES_OK, 250, "", 1, 8},
	{"", 0, SMTPCODES_MORE, 0, "", 0, 0},
	{"55", 0, SMTPCODES_MORE, 0, "", 0, 0},
	{"550-5.1.1 x", 0, SMTPCODES_MORE, 550, "5.1.1", 1, 0},
	{"550-x\n", 0, SMTPCODES_MORE, 550, "", 1, 0},
	{"050 x", 0, SMTPCODES_BAD}, {"55\n", 0, SMTPCODES_BAD}, {"550x", 0, SMTPCODES_BAD}, {"5501", 0, SMTPCODES_BAD},
	{"x", 0, SMTPCODES_BAD}, {"5.1.1 x", 0, SMTPCODES_BAD}, {"\n", 0, SMTPCODES_BAD},
};
/* clang-format on */

static void strict_replies_are_read_and_all_else_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof strict_cases / sizeof *strict_cases; i++)
		check(&strict_cases[i], SMTPCODES_STRICT);
}

static void lenient_replies_are_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof lenient_cases / sizeof *lenient_cases; i++)
		check(&lenient_cases[i], SMTPCODES_LENIENT);
}

static void every_strict_reply_means_the_same_to_the_lenient_reader(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof strict_cases / sizeof *strict_cases; i++)
		if (strict_cases[i].result == SMTPCODES_OK)
			check(&strict_cases[i], SMTPCODES_LENIENT);
}

static void a_good_reply_asks_for_more_at_every_cut(void **state)
{
	(void)state;
	static const char text[] = "250-2.1.0 one\r\n250-\r\n250 2.1.0 three\r\n";
	struct smtpcodes_reply reply;

	for (size_t n = 0; n < sizeof text - 1; n++)
		assert_int_equal(parse(text, n, SMTPCODES_STRICT, &reply), SMTPCODES_MORE);
	assert_int_equal(parse(text, sizeof text - 1, SMTPCODES_STRICT, &reply), SMTPCODES_OK);
}

static void ten_thousand_lines_are_one_reply(void **state)
{
	(void)state;
	enum { LINES = 10000, LINE = 14 };
	char *text = malloc(LINES * LINE);
	struct smtpcodes_reply reply;

	for (size_t i = 0; i < LINES; i++)
		memcpy(text + i * LINE, i + 1 < LINES ? "550-5.1.1 no\r\n" : "550 5.1.1 no\r\n", LINE);
	assert_int_equal(parse(text, LINES * LINE, SMTPCODES_STRICT, &reply), SMTPCODES_OK);
	assert_int_equal(reply.lines, LINES);
	assert_int_equal(reply.octets, LINES * LINE);
	free(text);
}

static void check_text(const char *in, enum smtpcodes_mode mode, const char *expected)
{
	char out[100];
	size_t n = smtpcodes_reply_text(in, strlen(in), mode, '|', out, sizeof out);

	assert_slice(slice_of(out, n), expected);
	/* Whatever the room, never more and always the start of the whole. */
	for (size_t cap = 0; cap < n; cap++) {
		char *small = malloc(cap ? cap : 1);
		assert_int_equal(smtpcodes_reply_text(in, strlen(in), mode, '|', small, cap), cap);
		assert_memory_equal(small, out, cap);
		free(small);
	}
}

static void text_comes_without_codes(void **state)
{
	(void)state;
	check_text("250 OK\r\n", SMTPCODES_STRICT, "OK");
	check_text("250\r\n", SMTPCODES_STRICT, "");
	check_text("550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1  user\r\n", SMTPCODES_STRICT, "no|such|user");
	check_text("550-5.1.1 no\r\n550 5.7.1 way\r\nQUIT", SMTPCODES_STRICT, "5.1.1 no|way");
	check_text("550 4.1.1 odd\r\n", SMTPCODES_STRICT, "4.1.1 odd");
	check_text("550 5.1.1\r\n", SMTPCODES_STRICT, "");
	check_text("550-5.1.1 a\nb\n550 c", SMTPCODES_LENIENT, "a|b|c");
	check_text("550-5.1.1 a", SMTPCODES_LENIENT, "a");
	check_text("nonsense", SMTPCODES_LENIENT, "");
}

struct status_case {
	const char *in;
	size_t taken;
	struct smtpcodes_status status;
};

static void enhanced_codes_are_read(void **state)
{
	(void)state;
	static const struct status_case cases[] = {
		{"2.0.0", 5, {2, 0, 0}},
		{"4.7.1 x", 5, {4, 7, 1}},
		{"5.999.999", 9, {5, 999, 999}},
		{"5.1.10:", 6, {5, 1, 10}},
		{"5.1.1)", 5, {5, 1, 1}},
		{"5.10.0\r\n", 6, {5, 10, 0}},
		{"3.0.0", 0, {0}},
		{"1.1.1", 0, {0}},
		{"5.01.1", 0, {0}},
		{"5.1.01", 0, {0}},
		{"5.1000.1", 0, {0}},
		{"5.1.1000", 0, {0}},
		{"5.1.1.1", 0, {0}},
		{"5.1.1a", 0, {0}},
		{"5.1.", 0, {0}},
		{"5.1", 0, {0}},
		{"5..1", 0, {0}},
		{"5", 0, {0}},
		{"", 0, {0}},
		{" 5.1.1", 0, {0}},
		{"55.1.1", 0, {0}},
		{"5.1.1.", 0, {0}},
		{"X.1.1", 0, {0}},
		{"5 .1.1", 0, {0}},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtpcodes_status status = {9, 9, 9};
		size_t n = strlen(cases[i].in);
		char *copy = test_exact_copy(slice_of(cases[i].in, n));
		if (smtpcodes_status_parse(copy, n, &status) != cases[i].taken)
			fail_msg("wrong length for: %s", cases[i].in);
		assert_int_equal(status.klass, cases[i].status.klass);
		assert_int_equal(status.subject, cases[i].status.subject);
		assert_int_equal(status.detail, cases[i].status.detail);
		free(copy);
	}
}

static void every_enhanced_code_survives_its_text(void **state)
{
	(void)state;
	static const uint16_t numbers[] = {0, 1, 9, 10, 11, 99, 100, 101, 110, 998, 999};
	const size_t count = sizeof numbers / sizeof *numbers;
	char text[10];

	for (size_t i = 0; i < count * count; i++) {
		struct smtpcodes_status in = {5, numbers[i % count], numbers[i / count]}, out;
		size_t n = smtpcodes_status_format(in, text);
		assert_int_equal(n, strlen(text));
		assert_int_equal(smtpcodes_status_parse(text, n, &out), n);
		assert_true(out.klass == in.klass && out.subject == in.subject && out.detail == in.detail);
	}
	assert_int_equal(smtpcodes_status_format((struct smtpcodes_status){0}, text), 0);
	assert_string_equal(text, "");
}

static void a_peer_may_use_any_second_digit_and_nothing_else_that_is_wrong(void **state)
{
	(void)state;
	static const char *const good[] = {"571 5.7.1 no\r\n", "561 no\r\n", "250 ok\r\n", "499-a\r\n499 b\r\n"};
	static const char *const bad[] = {"671 no\r\n", "171 no\r\n", "571 no\n", "571-a\r\n572 b\r\n", "57x no\r\n"};
	struct smtpcodes_reply reply;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_int_equal(smtpcodes_reply_parse(good[i], strlen(good[i]), SMTPCODES_PEER, &reply), SMTPCODES_OK);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_int_equal(smtpcodes_reply_parse(bad[i], strlen(bad[i]), SMTPCODES_PEER, &reply), SMTPCODES_BAD);
	assert_int_equal(smtpcodes_reply_parse(good[0], strlen(good[0]), SMTPCODES_STRICT, &reply), SMTPCODES_BAD);
}

#define TEXT(literal)                       \
	{                                   \
		literal, sizeof literal - 1 \
	}

/* A refusal is one whatever stands in its text; nothing of that can do harm in what is kept of it. */
static void control_characters_of_a_peer_are_replaced(void **state)
{
	(void)state;
	static const struct {
		struct smtpcodes_span in;
		const char *text;
	} rows[] = {
		{TEXT("550 5.1.1 a\0b\r\n"), "a?b"},
		{TEXT("550 \x1b[31mno\x7f\r\n"), "?[31mno?"},
		{TEXT("550 a\rb\r\r\n"), "a?b?"},
		{TEXT("550-5.1.1 \a\r\n550 5.1.1 b\tc\r\n"), "? b\tc"},
		{TEXT("550 gr\xfc\xdf\x81\r\n"), "gr\xfc\xdf\x81"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct smtpcodes_reply reply;
		char text[40];

		assert_int_equal(smtpcodes_reply_parse(rows[i].in.p, rows[i].in.n, SMTPCODES_PEER, &reply),
				 SMTPCODES_OK);
		assert_int_equal(reply.code, 550);
		assert_int_equal(reply.octets, rows[i].in.n);
		size_t n = smtpcodes_reply_text(rows[i].in.p, rows[i].in.n, SMTPCODES_PEER, ' ', text, sizeof text);
		assert_slice(slice_of(text, n), rows[i].text);
		for (size_t cut = 0; cut < rows[i].in.n; cut++)
			assert_int_equal(smtpcodes_reply_parse(rows[i].in.p, cut, SMTPCODES_PEER, &reply),
					 SMTPCODES_MORE);
		if (i < 4)
			assert_int_equal(smtpcodes_reply_parse(rows[i].in.p, rows[i].in.n, SMTPCODES_STRICT, &reply),
					 SMTPCODES_BAD);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_replies_are_read_and_all_else_is_refused),
		cmocka_unit_test(lenient_replies_are_read),
		cmocka_unit_test(every_strict_reply_means_the_same_to_the_lenient_reader),
		cmocka_unit_test(a_good_reply_asks_for_more_at_every_cut),
		cmocka_unit_test(ten_thousand_lines_are_one_reply),
		cmocka_unit_test(text_comes_without_codes),
		cmocka_unit_test(enhanced_codes_are_read),
		cmocka_unit_test(every_enhanced_code_survives_its_text),
		cmocka_unit_test(a_peer_may_use_any_second_digit_and_nothing_else_that_is_wrong),
		cmocka_unit_test(control_characters_of_a_peer_are_replaced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
