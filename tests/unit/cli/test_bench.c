#include "test.h"

#include "cli/bench.h"

static struct bench_histogram h;

static int forget(void **state)
{
	(void)state;
	h = (struct bench_histogram){0};
	return 0;
}

static void an_empty_histogram_knows_no_time(void **state)
{
	(void)state;
	assert_int_equal(bench_histogram_at(&h, 500), 0);
	assert_int_equal(bench_histogram_at(&h, 1000), 0);
}

static void short_times_are_exact(void **state)
{
	(void)state;
	for (int64_t us = 1; us <= 30; us++)
		bench_histogram_add(&h, us);
	assert_int_equal(bench_histogram_at(&h, 500), 15);
	assert_int_equal(bench_histogram_at(&h, 1000), 30);
	assert_int_equal(h.max, 30);
}

static void every_time_is_known_to_three_percent(void **state)
{
	(void)state;
	for (uint64_t us = 1; us < UINT64_C(1) << 38; us += us / 7 + 1) {
		h = (struct bench_histogram){0};
		bench_histogram_add(&h, (int64_t)us);
		bench_histogram_add(&h, INT64_C(1) << 39);
		uint64_t found = bench_histogram_at(&h, 500);
		assert_true(found >= us);
		assert_true(found <= us + us / 32);
	}
}

static void the_slowest_of_ten_is_their_p99(void **state)
{
	(void)state;
	for (int i = 0; i < 9; i++)
		bench_histogram_add(&h, 1000);
	bench_histogram_add(&h, 500000);
	assert_in_range(bench_histogram_at(&h, 900), 1000, 1031);
	assert_int_equal(bench_histogram_at(&h, 990), 500000);
}

static void a_clock_that_went_back_counts_as_no_time_and_ages_as_the_longest(void **state)
{
	(void)state;
	bench_histogram_add(&h, -5);
	assert_int_equal(bench_histogram_at(&h, 1000), 0);
	bench_histogram_add(&h, INT64_MAX);
	assert_int_equal(h.count, 2);
	assert_true(bench_histogram_at(&h, 1000) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_histogram_knows_no_time, forget),
		cmocka_unit_test_setup(short_times_are_exact, forget),
		cmocka_unit_test_setup(every_time_is_known_to_three_percent, forget),
		cmocka_unit_test_setup(the_slowest_of_ten_is_their_p99, forget),
		cmocka_unit_test_setup(a_clock_that_went_back_counts_as_no_time_and_ages_as_the_longest, forget),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
