#include "test.h"

#include "base/base64.h"

static bool decode(struct slice text, struct buf *out)
{
	char *copy = test_exact_copy(text);

	buf_reset(out);
	bool good = base64_decode(slice_of(copy, text.n), out);
	free(copy);
	return good;
}

static void vectors_of_the_standard(void **state)
{
	(void)state;
	static const struct {
		struct slice octets;
		const char *text;
	} rows[] = {
		/* RFC 4648 10 */
		{{"", 0}, ""},
		{{"f", 1}, "Zg=="},
		{{"fo", 2}, "Zm8="},
		{{"foo", 3}, "Zm9v"},
		{{"foob", 4}, "Zm9vYg=="},
		{{"fooba", 5}, "Zm9vYmE="},
		{{"foobar", 6}, "Zm9vYmFy"},
		/* RFC 4954 4.1 */
		{{"test\0test\0001234", 14}, "dGVzdAB0ZXN0ADEyMzQ="},
		{{"\0", 1}, "AA=="},
		{{"\xff\xff\xff", 3}, "////"},
		{{"\xfb\xef\xbe", 3}, "++++"},
	};
	struct buf out;

	buf_init(&out, 64);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		buf_reset(&out);
		assert_true(base64_encode(rows[i].octets, &out));
		assert_slice(buf_slice(&out), rows[i].text);
		assert_int_equal(buf_len(&out), BASE64_LENGTH(rows[i].octets.n));
		assert_true(decode(slice_from_cstr(rows[i].text), &out));
		assert_true(slice_eq(buf_slice(&out), rows[i].octets));
	}
	buf_free(&out);
}

static void the_other_alphabet_has_no_padding(void **state)
{
	(void)state;
	static const struct {
		struct slice octets;
		const char *text;
	} rows[] = {
		{{"", 0}, ""},
		{{"f", 1}, "Zg"},
		{{"fo", 2}, "Zm8"},
		{{"foo", 3}, "Zm9v"},
		{{"foob", 4}, "Zm9vYg"},
		{{"\xff\xff\xff", 3}, "____"},
		{{"\xfb\xef\xbe", 3}, "----"},
	};
	static const struct slice bad[] = {{"Zg==", 4}, {"Zm8=", 4},   {"++++", 4},  {"////", 4},
					   {"Z", 1},    {"Zm9vY", 5},  {"Zh", 2},    {"Zm9", 3},
					   {"Zm 9", 4}, {"Zm9v\n", 5}, {"Zm\0v", 4}, {"=", 1}};
	struct buf out;

	buf_init(&out, 64);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		buf_reset(&out);
		assert_true(base64url_decode(slice_from_cstr(rows[i].text), &out));
		assert_true(slice_eq(buf_slice(&out), rows[i].octets));
	}
	buf_reset(&out);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char *copy = test_exact_copy(bad[i]);
		assert_false(base64url_decode(slice_of(copy, bad[i].n), &out));
		assert_int_equal(buf_len(&out), 0);
		free(copy);
	}
	buf_free(&out);
}

static void what_is_no_base64_is_refused(void **state)
{
	(void)state;
	static const struct slice rows[] = {
		/* RFC 4954 4: padding elsewhere than at the end */
		{"=AAA", 4},
		{"AAA=BBB", 7},
		{"AAA=BBBB", 8},
		{"A=AA", 4},
		{"AA=A", 4},
		{"Zg==Zg==", 8},
		{"=", 1},
		{"====", 4},
		{"A===", 4},
		{"Zm9v====", 8},
		{"Zm9v=", 5},
		{"Zm9v==", 6},
		/* lengths (attacks U1) */
		{"A", 1},
		{"AA", 2},
		{"AAA", 3},
		{"AAAAA", 5},
		{"AAAAAA", 6},
		{"AAAAAAA", 7},
		{"Zg=", 3},
		{"Zg", 2},
		/* characters that are not of the alphabet */
		{"Zm9 ", 4},
		{" Zm9v", 5},
		{"Zm9v\r\n", 6},
		{"Zm9v\n", 5},
		{"Zm\r\nOv", 6},
		{"Zm9\0", 4},
		{"Zm-_", 4},
		{"Zm9*", 4},
		{"*", 1},
		{"Zm9,", 4},
		{"\xff\xff\xff\xff", 4},
		{"Zm9\x80", 4},
		{"@@@@", 4},
		{"[[[[", 4},
		{"````", 4},
		{"{{{{", 4},
		{"::::", 4},
		{"....", 4},
		/* bits behind the last octet */
		{"Zh==", 4},
		{"Zm9=", 4},
		{"AB==", 4},
		{"AAB=", 4},
		{"//==", 4},
		{"///=", 4},
	};
	struct buf out;

	buf_init(&out, 64);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_false(decode(rows[i], &out));
		assert_int_equal(buf_len(&out), 0);
		assert_false(out.failed);
	}
	buf_free(&out);
}

static void every_character_stands_for_its_value_or_for_none(void **state)
{
	(void)state;
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct buf out;

	buf_init(&out, 3);
	for (unsigned c = 0; c < 256; c++) {
		const char *at = c ? strchr(alphabet, (int)c) : NULL;
		char text[4] = {(char)c, 'A', 'A', 'A'};

		assert_int_equal(decode(slice_of(text, 4), &out), at != NULL);
		if (at)
			assert_int_equal((unsigned char)out.p[0], (at - alphabet) << 2);
	}
	buf_free(&out);
}

static void what_does_not_fit_leaves_nothing(void **state)
{
	(void)state;
	struct buf out;

	buf_init(&out, 5);
	assert_true(buf_add_lit(&out, "ab"));
	assert_false(base64_decode(SLICE("Zm9vYg=="), &out));
	assert_true(out.failed);
	assert_slice(buf_slice(&out), "ab");
	out.failed = false;
	assert_false(base64_encode(SLICE("x"), &out));
	assert_true(out.failed);
	assert_slice(buf_slice(&out), "ab");
	out.failed = false;
	assert_true(base64_decode(SLICE("Zm9v"), &out));
	assert_slice(buf_slice(&out), "abfoo");
	buf_free(&out);
}

static void secrets_are_overwritten(void **state)
{
	(void)state;
	struct buf out;

	buf_init(&out, 64);
	buf_wipe(&out);
	assert_true(buf_add_lit(&out, "secret"));
	buf_wipe(&out);
	assert_null(out.p);
	assert_int_equal(out.max, 64);
	assert_true(buf_add_lit(&out, "again"));
	buf_wipe(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(vectors_of_the_standard),
		cmocka_unit_test(the_other_alphabet_has_no_padding),
		cmocka_unit_test(what_is_no_base64_is_refused),
		cmocka_unit_test(every_character_stands_for_its_value_or_for_none),
		cmocka_unit_test(what_does_not_fit_leaves_nothing),
		cmocka_unit_test(secrets_are_overwritten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
