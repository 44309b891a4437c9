#include "test.h"

#include "mail/unitext.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

static void addresses_take_the_seven_bit_form(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out; /* NULL: refused */
	} rows[] = {
		{"a@b.example", "a@b.example"},
		{"j\xc3\xbcrgen@b.example", "j\\x{FC}rgen@b.example"},
		{"\"a b\"+c=d@x", "\"a\\x{20}b\"\\x{2B}c\\x{3D}d@x"},
		{"\xe2\x82\xac\xf0\x9f\x98\x80@x", "\\x{20AC}\\x{1F600}@x"},
		{"\\", "\\x{5C}"},
		{"a\r\nb", NULL},
		{"a\x7f", NULL},
		{"\xff", NULL},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct buf out;

		buf_init(&out, 200);
		assert_int_equal(mail_unitext_encode(slice_from_cstr(rows[i].in), &out), rows[i].out != NULL);
		assert_slice(buf_slice(&out), rows[i].out ? rows[i].out : "");
		buf_free(&out);
	}
}

static void only_what_stands_for_an_address_is_decoded(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"a@b.example", "a@b.example"},
		{"j\\x{FC}rgen@b.example", "j\xc3\xbcrgen@b.example"},
		{"j\\x{fc}rgen@b.example", "j\xc3\xbcrgen@b.example"},
		{"j\xc3\xbcrgen@b.example", "j\xc3\xbcrgen@b.example"},
		{"\"a\\x{20}b\"\\x{2B}c@x", NULL},
		{"\"a\\x{20}b\"@x", "\"a b\"@x"},
		{"a\\x{2B}b@x", "a+b@x"},
		{"\\x{1F600}\\x{20AC}@x", "\xf0\x9f\x98\x80\xe2\x82\xac@x"},
		{"a\\x{0D}b@x", NULL},
		{"a\\x{0A}b@x", NULL},
		{"a\\x{00}b@x", NULL},
		{"a\\x{7F}b@x", NULL},
		{"a\\x{41}b@x", NULL},
		{"a\\x{D800}b@x", NULL},
		{"a\\x{110000}b@x", NULL},
		{"a\\x{FFFFFFFFF}b@x", NULL},
		{"a\\x{}b@x", NULL},
		{"a\\x{FC", NULL},
		{"a\\b@x", NULL},
		{"a\\", NULL},
		{"not an address", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct slice in = slice_from_cstr(rows[i].in);
		char *copy = test_exact_copy(in);
		struct buf out;

		buf_init(&out, 200);
		if (mail_unitext_decode(slice_of(copy, in.n), &out) != (rows[i].out != NULL))
			fail_msg("wrong verdict: %s", rows[i].in);
		assert_slice(buf_slice(&out), rows[i].out ? rows[i].out : "");
		buf_free(&out);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_take_the_seven_bit_form),
		cmocka_unit_test(only_what_stands_for_an_address_is_decoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
