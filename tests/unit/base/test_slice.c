#include "test.h"

#include "base/slice.h"

static void numbers_are_digits_within_bounds(void **state)
{
	(void)state;
	uint64_t value = 7;

	assert_true(slice_u64(SLICE("0"), UINT64_MAX, &value));
	assert_true(value == 0);
	assert_true(slice_u64(SLICE("18446744073709551615"), UINT64_MAX, &value));
	assert_true(value == UINT64_MAX);
	assert_false(slice_u64(SLICE("18446744073709551616"), UINT64_MAX, &value));
	assert_false(slice_u64(SLICE("99999999999999999999999"), UINT64_MAX, &value));
	assert_false(slice_u64(SLICE(""), 10, &value));
	assert_false(slice_u64(SLICE("-1"), 10, &value));
	assert_false(slice_u64(SLICE("+1"), 10, &value));
	assert_false(slice_u64(SLICE(" 1"), 10, &value));
	assert_false(slice_u64(SLICE("1 "), 10, &value));
	assert_false(slice_u64(SLICE("11"), 10, &value));
	assert_true(value == UINT64_MAX); /* untouched by what failed */
}

static void splitting_gives_every_part_once(void **state)
{
	(void)state;
	static const struct {
		const char *in;
		const char *parts[4];
		size_t count;
	} rows[] = {
		{"a,b,c", {"a", "b", "c"}, 3}, {"a", {"a"}, 1}, {"", {""}, 1}, {",", {"", ""}, 2}, {"a,", {"a", ""}, 2},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		size_t n = 0;
		for (struct slice rest = slice_from_cstr(rows[i].in); rest.p;)
			assert_slice(slice_split(&rest, ','), rows[i].parts[n++]);
		assert_int_equal(n, rows[i].count);
	}
}

static void searches_find_the_first_or_the_end(void **state)
{
	(void)state;
	struct slice s = SLICE("hello, World");

	assert_int_equal(slice_find(s, 'l'), 2);
	assert_int_equal(slice_rfind(s, 'l'), 10);
	assert_int_equal(slice_find(s, 'x'), s.n);
	assert_int_equal(slice_search(s, SLICE("World")), 7);
	assert_int_equal(slice_search(s, SLICE("world")), s.n);
	assert_int_equal(slice_isearch(s, SLICE("world")), 7);
	assert_int_equal(slice_isearch(s, SLICE("worlds")), s.n);
	assert_int_equal(slice_search(s, SLICE("")), 0);
	assert_int_equal(slice_search(SLICE_NONE, SLICE("a")), 0);
}

static void nothing_reads_beyond_the_end(void **state)
{
	(void)state;
	char *p = test_exact_copy(SLICE("ab\xe2\x82"));
	struct slice s = slice_of(p, 4);

	assert_false(slice_is_utf8(s)); /* a sequence cut off by the end */
	assert_int_equal(slice_skip(s, 9).n, 0);
	assert_int_equal(slice_head(s, 9).n, 4);
	assert_false(slice_starts(s, SLICE("abcdef")));
	assert_false(slice_ends(s, SLICE("abcdef")));
	free(p);
}

static void utf8_is_taken_only_well_formed(void **state)
{
	(void)state;
	static const char *const good[] = {"",
					   "plain",
					   "gr\xc3\xbc\xc3\x9f",
					   "\xe2\x82\xac",
					   "\xf0\x9f\x93\xa7",
					   "\xed\x9f\xbf",
					   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {"\x80",             /* a continuation alone */
					  "\xc0\xaf",         /* overlong */
					  "\xe0\x80\xaf",     /* overlong */
					  "\xf0\x80\x80\xaf", /* overlong */
					  "\xed\xa0\x80",     /* a surrogate */
					  "\xf4\x90\x80\x80", /* above U+10FFFF */
					  "\xf8\x88\x80\x80\x80",
					  "\xc3",
					  "\xe2\x82",
					  "\xff"};

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(slice_is_utf8(slice_from_cstr(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(slice_is_utf8(slice_from_cstr(bad[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_digits_within_bounds),   cmocka_unit_test(splitting_gives_every_part_once),
		cmocka_unit_test(searches_find_the_first_or_the_end), cmocka_unit_test(nothing_reads_beyond_the_end),
		cmocka_unit_test(utf8_is_taken_only_well_formed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
