#include "test.h"

#include "mail/mime.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

static void fields_are_split_off_with_their_folds(void **state)
{
	(void)state;
	struct slice rest = SLICE("A: 1\r\nB :\r\n\t2\r\n 3\r\nno field\r\nC:4");
	struct mail_header_field f;

	assert_true(mail_header_next(&rest, &f));
	assert_slice(f.name, "A");
	assert_slice(f.value, " 1\r\n");
	assert_slice(f.whole, "A: 1\r\n");
	assert_true(mail_header_next(&rest, &f));
	assert_slice(f.name, "B");
	assert_slice(f.value, "\r\n\t2\r\n 3\r\n");
	assert_true(mail_header_next(&rest, &f));
	assert_slice(f.name, "");
	assert_slice(f.whole, "no field\r\n");
	assert_true(mail_header_next(&rest, &f));
	assert_slice(f.name, "C");
	assert_slice(f.value, "4");
	assert_false(mail_header_next(&rest, &f));
}

static void content_types_are_read_as_they_are_written_in_mail(void **state)
{
	(void)state;
	static const struct {
		const char *value, *type, *subtype, *boundary; /* type NULL: refused */
	} rows[] = {
		{" text/plain; charset=utf-8", "text", "plain", ""},
		{" multipart/mixed; boundary=b", "multipart", "mixed", "b"},
		{" Multipart/Mixed;\r\n\tBOUNDARY=\"a b ' \" \r\n", "Multipart", "Mixed", "a b '"},
		{" multipart / mixed (a (nested\\)) comment) ; (x) boundary = (y) \"q\\\"uote\"", "multipart", "mixed",
		 "q\"uote"},
		{" multipart/mixed; boundary=----=_Part_1/2:3;", "multipart", "mixed", "----=_Part_1/2:3"},
		{" multipart/mixed; x=y; boundary=b; ; z=\"\"", "multipart", "mixed", "b"},
		{" multipart/mixed; boundary=b; boundary=c", "multipart", "mixed", ""},
		{" multipart/mixed; boundary*=us-ascii''b", "multipart", "mixed", ""},
		{" multipart/mixed; boundary=b; garbage", "multipart", "mixed", ""},
		{" multipart/mixed; boundary=\"b", "multipart", "mixed", ""},
		{" multipart/mixed; boundary=\"\"", "multipart", "mixed", ""},
		{" multipart/mixed boundary=b", "multipart", "mixed", ""},
		{" multipart/mixed", "multipart", "mixed", ""},
		{" text", NULL, NULL, ""},
		{" /plain", NULL, NULL, ""},
		{" text/", NULL, NULL, ""},
		{"", NULL, NULL, ""},
		{" (((((((((((((((((((((((((((((((((((((((((((((((((((text/plain", NULL, NULL, ""},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct slice in = slice_from_cstr(rows[i].value);
		char *copy = test_exact_copy(in);
		struct mail_mime_type type;

		if (mail_mime_type_parse(slice_of(copy, in.n), &type) != (rows[i].type != NULL))
			fail_msg("wrong verdict: %s", rows[i].value);
		assert_slice(type.type, rows[i].type ? rows[i].type : "");
		assert_slice(type.subtype, rows[i].subtype ? rows[i].subtype : "");
		assert_slice(slice_of(type.boundary, type.boundary_n), rows[i].boundary);
		free(copy);
	}
}

/* Attack G4: a boundary over the limit is none, whatever its first octets. */
static void attack_G4_boundaries_over_the_limit_are_none(void **state)
{
	(void)state;
	for (size_t n = MAIL_MIME_BOUNDARY_MAX - 1; n < MAIL_MIME_BOUNDARY_MAX + 3000; n += n < 260 ? 1 : 997) {
		char text[4000] = "multipart/mixed; boundary=";
		size_t at = strlen(text);
		struct mail_mime_type type;

		memset(text + at, 'b', n);
		assert_true(mail_mime_type_parse(slice_of(text, at + n), &type));
		assert_int_equal(type.boundary_n, n <= MAIL_MIME_BOUNDARY_MAX ? n : 0);
	}
}

static void encodings_are_known_by_name(void **state)
{
	(void)state;
	static const struct {
		const char *value;
		enum mail_mime_encoding encoding;
	} rows[] = {
		{" 7bit\r\n", MAIL_MIME_7BIT},
		{" 8Bit", MAIL_MIME_8BIT},
		{"binary (really)", MAIL_MIME_BINARY},
		{" Quoted-Printable", MAIL_MIME_QUOTED_PRINTABLE},
		{"\r\n base64\r\n", MAIL_MIME_BASE64},
		{" x-uuencode", MAIL_MIME_UNKNOWN},
		{" 8bit 7bit", MAIL_MIME_UNKNOWN},
		{" \"8bit\"", MAIL_MIME_UNKNOWN},
		{"", MAIL_MIME_UNKNOWN},
	};

	for (size_t i = 0; i < ROWS(rows); i++)
		assert_int_equal(mail_mime_encoding_parse(slice_from_cstr(rows[i].value)), rows[i].encoding);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_are_split_off_with_their_folds),
		cmocka_unit_test(content_types_are_read_as_they_are_written_in_mail),
		cmocka_unit_test(attack_G4_boundaries_over_the_limit_are_none),
		cmocka_unit_test(encodings_are_known_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
