#include "test.h"

#include "mail/field.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

static void what_could_end_a_line_or_a_string_does_not_come_out(void **state)
{
	(void)state;
	static const struct {
		struct slice in;
		size_t max;
		bool utf8;
		const char *out;
	} rows[] = {
		{{"plain text ~", 12}, 100, false, "plain text ~"},
		{{"a\r\nBcc: x", 9}, 100, false, "a Bcc: x"},
		{{"a\rb\nc\td\0e\x1b[m\x7f", 13}, 100, true, "a b c d?e?[m?"},
		{{"\r\n\r\n\r\n", 6}, 100, true, "   "},
		{{"j\xc3\xbcrgen", 7}, 100, true, "j\xc3\xbcrgen"},
		{{"j\xc3\xbcrgen", 7}, 100, false, "j??rgen"},
		{{"\xc3", 1}, 100, true, "?"},
		{{"\xe2\x82\xac\xf0\x9f\x98\x80\xff", 8}, 100, true, "\xe2\x82\xac\xf0\x9f\x98\x80?"},
		{{"a\xc2\x85"
		  "b\xe2\x80\xa8"
		  "c\xe2\x80\xae"
		  "d\xe2\x81\xa6\xef\xbb\xbf\xd8\x9c",
		  20},
		 100,
		 true,
		 "a?b?c?d\?\?\?"},
		{{"12345678", 8}, 8, false, "12345678"},
		{{"123456789", 9}, 8, false, "12345..."},
		{{"1234\xc3\xbc"
		  "789",
		  9},
		 8,
		 true,
		 "1234..."},
		{{"", 0}, 8, true, ""},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		char *copy = test_exact_copy(rows[i].in);
		struct buf out;

		buf_init(&out, 200);
		assert_true(mail_field_safe(&out, slice_of(copy, rows[i].in.n), rows[i].max, rows[i].utf8));
		assert_slice(buf_slice(&out), rows[i].out);
		buf_free(&out);
		free(copy);
	}
}

static void paths_are_addresses_or_defused(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		bool utf8;
		const char *out;
	} rows[] = {
		{"a@b.example", false, "<a@b.example>"},
		{"\"a>b; c\"@b.example", false, "<\"a>b; c\"@b.example>"},
		{"", false, "<>"},
		{"postmaster", false, "<postmaster>"},
		{"j\xc3\xbcrgen@b.example", true, "<j\xc3\xbcrgen@b.example>"},
		{"j\xc3\xbcrgen@b.example", false, "<j??rgen@b.example>"},
		{"a@b>\r\nX: y", false, "<a@b\?\?\?X:?y>"},
		{"a\\(\"", false, "<a\?\?\?>"},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out;

		buf_init(&out, 300);
		assert_true(mail_field_path(&out, slice_from_cstr(rows[i].in), rows[i].utf8));
		assert_slice(buf_slice(&out), rows[i].out);
		buf_free(&out);
	}
}

static void lines_are_folded_between_words(void **state)
{
	(void)state;
	struct mail_fold f;
	struct buf out;

	buf_init(&out, 1000);
	mail_fold_begin(&f, &out, "Name");
	for (int i = 0; i < 30; i++)
		mail_fold_word(&f, SLICE("word"));
	mail_fold_break(&f);
	mail_fold_word(&f, SLICE("end"));
	assert_true(mail_fold_end(&f));
	assert_slice(buf_slice(&out), "Name: word word word word word word word word word word word word word word\r\n"
				      "\tword word word word word word word word word word word word word word word\r\n"
				      "\tword\r\n"
				      "\tend\r\n");
	buf_free(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_could_end_a_line_or_a_string_does_not_come_out),
		cmocka_unit_test(paths_are_addresses_or_defused),
		cmocka_unit_test(lines_are_folded_between_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
