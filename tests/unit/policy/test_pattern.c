#include "test.h"

#include "policy/pattern.h"

static bool matches(const char *pattern, const char *address)
{
	struct mail_address parsed;
	struct buf canonical;
	const char *why = NULL;

	buf_init(&canonical, 1000);
	if (!pattern_canonical(slice_from_cstr(pattern), &canonical, &why))
		fail_msg("%s: %s", pattern, why);
	assert_int_equal(mail_address_parse(slice_from_cstr(address), &parsed, &why), MAIL_ADDRESS_OK);
	bool found = pattern_matches(buf_slice(&canonical), &parsed);
	buf_free(&canonical);
	return found;
}

static void a_pattern_is_an_address_a_domain_or_all_below_one(void **state)
{
	(void)state;
	static const struct {
		const char *pattern, *address;
		bool found;
	} rows[] = {
		{"a@example.com", "a@example.com", true},
		{"a@example.com", "A@EXAMPLE.COM", true},
		{"a@example.com", "\"a\"@example.com", true},
		{"a@example.com", "\"\\a\"@example.com", true},
		{"a@example.com", "ab@example.com", false},
		{"a@example.com", "a@sub.example.com", false},
		{"\"a b\"@example.com", "\"a b\"@example.com", true},
		{"\"a@b\"@example.com", "\"a@b\"@example.com", true},
		{"example.com", "a@example.com", true},
		{"Example.COM", "a@example.com", true},
		{"example.com", "a@sub.example.com", false},
		{"example.com", "a@notexample.com", false},
		{".example.com", "a@sub.example.com", true},
		{".example.com", "a@deep.sub.EXAMPLE.com", true},
		{".example.com", "a@example.com", false},
		{".example.com", "a@notexample.com", false},
		{"b\xc3\xbc"
		 "cher.example",
		 "a@xn--bcher-kva.example", true},
		{"example.com", "a@[192.0.2.1]", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (matches(rows[i].pattern, rows[i].address) != rows[i].found)
			fail_msg("%s and %s", rows[i].pattern, rows[i].address);
}

static void an_address_without_a_domain_matches_nothing(void **state)
{
	(void)state;
	struct mail_address null_path = {.kind = MAIL_DOMAIN_NONE};
	struct mail_address postmaster = {.kind = MAIL_DOMAIN_NONE, .local = SLICE("postmaster")};

	assert_false(pattern_matches(SLICE("example.com"), &null_path));
	assert_false(pattern_matches(SLICE("postmaster@example.com"), &postmaster));
}

static void what_is_neither_address_nor_domain_is_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {"",      ".",           "..a",          "@example.com", "a@",
					    "a b@c", "[192.0.2.1]", "a@@b.example", "-x.example",   "a@b@c"};
	struct buf out;
	const char *why;

	buf_init(&out, 1000);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		buf_reset(&out);
		if (pattern_canonical(slice_from_cstr(wrong[i]), &out, &why))
			fail_msg("taken: %s", wrong[i]);
		assert_non_null(why);
	}
	buf_reset(&out);
	assert_false(pattern_domain_canonical(SLICE("a@example.com"), &out, &why));
	buf_free(&out);
}

static void one_of_several_is_enough(void **state)
{
	(void)state;
	struct slice patterns[] = {SLICE("x@example.org"), SLICE("example.com")};
	struct mail_address address;
	const char *why;

	mail_address_parse(SLICE("a@example.com"), &address, &why);
	assert_true(pattern_any_matches(patterns, 2, &address));
	assert_false(pattern_any_matches(patterns, 1, &address));
	assert_false(pattern_any_matches(NULL, 0, &address));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_pattern_is_an_address_a_domain_or_all_below_one),
		cmocka_unit_test(an_address_without_a_domain_matches_nothing),
		cmocka_unit_test(what_is_neither_address_nor_domain_is_refused),
		cmocka_unit_test(one_of_several_is_enough),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
