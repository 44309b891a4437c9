#include "test.h"

#include "codes/reply.h"

static struct slice format(struct buf *out, struct reply reply)
{
	buf_reset(out);
	assert_true(reply_format(out, &reply));
	return buf_slice(out);
}

static void a_reply_is_its_row_with_the_arguments_filled_in(void **state)
{
	(void)state;
	struct buf out;

	buf_init(&out, 10000);
	assert_slice(format(&out, (struct reply){.id = REPLY_OK}), "250 2.0.0 OK\r\n");
	assert_slice(format(&out, (struct reply){REPLY_GREETING, {SLICE("mx.example.com")}}),
		     "220 mx.example.com ESMTP Postrider ready\r\n");
	assert_slice(format(&out, (struct reply){REPLY_EHLO, {SLICE("a.example"), SLICE("b.example")}}),
		     "250 a.example greets b.example\r\n");
	assert_slice(format(&out, (struct reply){REPLY_RCPT_UNKNOWN, {SLICE("x@example.com")}}),
		     "550 5.1.1 <x@example.com>: no such mailbox here\r\n");
	assert_slice(format(&out, (struct reply){.id = REPLY_DATA_GO}),
		     "354 Send the message, end with a dot on a line of its own\r\n");
	buf_free(&out);
}

static void arguments_cannot_break_the_reply(void **state)
{
	(void)state;
	struct buf out;

	buf_init(&out, 10000);
	assert_slice(format(&out, (struct reply){REPLY_RCPT_UNKNOWN, {SLICE("a\r\n250 ok\0\x7f\xc3\xbc%2\t%")}}),
		     "550 5.1.1 <a??250 ok????%2\t%>: no such mailbox here\r\n");
	assert_slice(format(&out, (struct reply){.id = REPLY_RCPT_UNKNOWN}), "550 5.1.1 <>: no such mailbox here\r\n");
	buf_free(&out);
}

static void lines_follow_the_text(void **state)
{
	(void)state;
	struct buf out;
	const struct slice lines[] = {SLICE("SIZE 1000"), SLICE("8BIT\rMIME"), SLICE_NONE};
	const struct reply ehlo = {REPLY_EHLO, {SLICE("a"), SLICE("b")}}, help = {.id = REPLY_HELP};

	buf_init(&out, 10000);
	assert_true(reply_format_lines(&out, &ehlo, lines, 3));
	assert_slice(buf_slice(&out), "250-a greets b\r\n250-SIZE 1000\r\n250-8BIT?MIME\r\n250 \r\n");
	buf_reset(&out);
	assert_true(reply_format_lines(&out, &help, lines, 1));
	assert_slice(buf_slice(&out), "214-2.0.0 Commands of this server:\r\n214 2.0.0 SIZE 1000\r\n");
	buf_reset(&out);
	assert_true(reply_format_lines(&out, &help, NULL, 0));
	assert_slice(buf_slice(&out), "214 2.0.0 Commands of this server:\r\n");
	buf_free(&out);
}

/* Every line within 512 octets, every line with both codes, one reply, and all that came in is in it. */
static void check_lines(struct slice all, const struct reply_row *row)
{
	struct smtpcodes_reply reply;
	char status[10];
	size_t n = smtpcodes_status_format(row->status, status);

	assert_int_equal(smtpcodes_reply_parse(all.p, all.n, SMTPCODES_STRICT, &reply), SMTPCODES_OK);
	assert_int_equal(reply.octets, all.n);
	assert_int_equal(reply.code, row->code);
	assert_int_equal(reply.status.klass, row->status.klass);
	assert_int_equal(reply.status.subject, row->status.subject);
	assert_int_equal(reply.status.detail, row->status.detail);
	for (struct slice rest = all; rest.n;) {
		size_t line = slice_find(rest, '\n') + 1;
		assert_true(line <= 512);
		assert_true(slice_starts(slice_skip(rest, 4), slice_of(status, n)));
		rest = slice_skip(rest, line);
	}
}

static size_t count(struct slice s, char c)
{
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == c;
	return n;
}

static void every_row_with_the_longest_arguments_keeps_the_limits(void **state)
{
	(void)state;
	struct buf out;
	char word[REPLY_ARG_MAX + 500];

	buf_init(&out, 100000);
	for (int pass = 0; pass < 2; pass++) {
		memset(word, '#', sizeof word);
		for (size_t i = 9; pass == 1 && i < sizeof word; i += 10)
			word[i] = ' ';
		for (enum reply_id id = 0; id < REPLY_COUNT; id++) {
			const struct reply_row *row = reply_row(id);
			struct slice all = format(&out, (struct reply){id, {SLICE(word), SLICE(word), SLICE(word)}});
			size_t arguments = count(slice_from_cstr(row->text), '%');
			check_lines(all, row);
			assert_int_equal(count(all, '#'), arguments * (pass ? REPLY_ARG_MAX / 10 * 9 : REPLY_ARG_MAX));
		}
	}
	buf_free(&out);
}

static void every_length_of_an_argument_keeps_the_limits(void **state)
{
	(void)state;
	struct buf out;
	char word[REPLY_ARG_MAX];

	memset(word, '#', sizeof word);
	buf_init(&out, 10000);
	for (size_t n = 0; n <= sizeof word; n++) {
		struct slice all = format(&out, (struct reply){REPLY_RCPT_UNKNOWN, {slice_of(word, n)}});
		check_lines(all, reply_row(REPLY_RCPT_UNKNOWN));
		assert_int_equal(count(all, '#'), n);
		assert_true((count(all, '\n') == 1) == (n <= 510 - strlen("550 5.1.1 <>: no such mailbox here")));
	}
	buf_free(&out);
}

static void a_reply_that_does_not_fit_leaves_nothing_behind(void **state)
{
	(void)state;
	char word[600];
	struct slice lines[2] = {SLICE(word), SLICE(word)};
	struct reply reply = {REPLY_RCPT_UNKNOWN, {SLICE(word)}};
	const size_t prefix = strlen("550-5.1.1 \r\n"), text = strlen("<>: no such mailbox here") + sizeof word - 1;
	/* Two lines for the text, broken at no space, and two for the lines. */
	const size_t whole = 4 * prefix + text + 2 * REPLY_LINE_MAX - 1;
	struct buf out;

	memset(word, '#', sizeof word);
	word[300] = ' '; /* where the text is broken: the space goes away */
	for (size_t max = 3; max < whole + 10; max++) {
		buf_init(&out, max);
		assert_true(buf_add_lit(&out, "pre"));
		bool fits = reply_format_lines(&out, &reply, lines, 2);
		assert_int_equal(fits, max >= 3 + whole);
		assert_int_equal(buf_len(&out), fits ? 3 + whole : 3);
		buf_free(&out);
	}
}

static void a_line_is_cut_at_its_maximum(void **state)
{
	(void)state;
	char word[REPLY_LINE_MAX + 1];
	struct slice line = SLICE(word);
	struct buf out;
	const struct reply help = {.id = REPLY_HELP};

	memset(word, '#', sizeof word);
	buf_init(&out, 10000);
	assert_true(reply_format_lines(&out, &help, &line, 1));
	assert_int_equal(count(buf_slice(&out), '#'), REPLY_LINE_MAX);
	check_lines(buf_slice(&out), reply_row(REPLY_HELP));
	buf_free(&out);
}

/* ---- the table itself ------------------------------------------------------------------------------------------ */

static bool may_lack_status(enum reply_id id)
{
	return id == REPLY_EHLO || id == REPLY_HELO || id == REPLY_GREETING || id == REPLY_GREETING_LMTP;
}

static void each_row_has_the_status_that_its_code_asks_for(void **state)
{
	(void)state;
	for (enum reply_id id = 0; id < REPLY_COUNT; id++) {
		const struct reply_row *row = reply_row(id);
		unsigned first = row->code / 100;
		if (first == 3 && row->status.klass != 0)
			fail_msg("%s: 3yz with an enhanced code", row->name);
		if (first != 3 && row->status.klass == 0 && !may_lack_status(id))
			fail_msg("%s: an enhanced code is missing", row->name);
		if (row->status.klass != 0 && row->status.klass != first)
			fail_msg("%s: the class is not that of the code", row->name);
	}
	assert_int_equal(reply_row(REPLY_EHLO)->status.klass, 0);
	assert_int_equal(reply_row(REPLY_HELO)->status.klass, 0);
	assert_int_equal(reply_row(REPLY_GREETING)->status.klass, 0);
}

static void each_row_is_well_formed(void **state)
{
	(void)state;
	for (enum reply_id id = 0; id < REPLY_COUNT; id++) {
		const struct reply_row *row = reply_row(id);
		assert_true(row->code >= 200 && row->code <= 559 && row->code / 10 % 10 <= 5);
		assert_true(strlen(row->name) > 0);
		assert_true(strlen(row->situation) > 0);
		assert_in_range(strlen(row->text), 1, REPLY_LINE_MAX);
		for (const char *p = row->text; *p; p++) {
			if (!ascii_is_print(*p))
				fail_msg("%s: the text is not printable ASCII", row->name);
			if (*p == '%' && (p[1] < '1' || p[1] > '3'))
				fail_msg("%s: no such argument", row->name);
		}
	}
}

/* What a row says of its arguments: each one that the text uses is named in the situation. */
static void each_argument_is_described(void **state)
{
	(void)state;
	for (enum reply_id id = 0; id < REPLY_COUNT; id++) {
		const struct reply_row *row = reply_row(id);
		for (char digit = '1'; digit <= '3'; digit++) {
			const char argument[] = {'%', digit, '\0'};
			if (strstr(row->text, argument) && !strstr(row->situation, argument))
				fail_msg("%s: the situation does not say what %s is", row->name, argument);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reply_is_its_row_with_the_arguments_filled_in),
		cmocka_unit_test(arguments_cannot_break_the_reply),
		cmocka_unit_test(lines_follow_the_text),
		cmocka_unit_test(every_row_with_the_longest_arguments_keeps_the_limits),
		cmocka_unit_test(every_length_of_an_argument_keeps_the_limits),
		cmocka_unit_test(a_reply_that_does_not_fit_leaves_nothing_behind),
		cmocka_unit_test(a_line_is_cut_at_its_maximum),
		cmocka_unit_test(each_row_has_the_status_that_its_code_asks_for),
		cmocka_unit_test(each_row_is_well_formed),
		cmocka_unit_test(each_argument_is_described),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
