#include "test.h"

#include "policy/bucket.h"

static struct bucket_table table;
static const struct bucket_size ten_a_minute = {10, MINUTE};

static int begin(void **state)
{
	(void)state;
	table = (struct bucket_table){0};
	return 0;
}

static unsigned take(uint64_t who, unsigned tries, mono_ms now)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < tries; i++)
		taken += bucket_take(&table, who, ten_a_minute, 1, now);
	return taken;
}

static void a_full_bucket_drains_evenly(void **state)
{
	(void)state;
	assert_int_equal(take(7, 20, 1000), 10);
	assert_int_equal(take(7, 20, 1000), 0);
	assert_int_equal(take(7, 20, 1000 + 6 * SECOND - 1), 0);
	assert_int_equal(take(7, 20, 1000 + 6 * SECOND), 1);
	assert_int_equal(take(7, 20, 1000 + 36 * SECOND), 5);
	assert_int_equal(take(7, 20, 1000 + HOUR), 10);
}

static void nobody_gets_more_than_it_holds_and_what_drains(void **state)
{
	(void)state;
	unsigned taken = 0;

	for (mono_ms now = 0; now < HOUR; now += 77)
		taken += take(7, 3, now);
	assert_in_range(taken, 608, 610); /* 10 and 600 */
}

static void several_are_taken_at_once_or_not_at_all(void **state)
{
	(void)state;
	assert_false(bucket_take(&table, 7, ten_a_minute, 11, 0));
	assert_true(bucket_take(&table, 7, ten_a_minute, 7, 0));
	assert_int_equal(bucket_room(&table, 7, ten_a_minute, 0), 3);
	assert_int_equal(bucket_used(&table, 7, ten_a_minute, 0), 7);
	assert_false(bucket_take(&table, 7, ten_a_minute, 4, 0));
	assert_true(bucket_take(&table, 7, ten_a_minute, 3, 0));
	assert_int_equal(bucket_room(&table, 7, ten_a_minute, 0), 0);
	assert_false(bucket_take(&table, 7, ten_a_minute, UINT32_MAX, 0));
}

static void what_is_added_may_run_over(void **state)
{
	(void)state;
	for (int i = 0; i < 50; i++)
		bucket_add(&table, 7, ten_a_minute, 1, 0);
	assert_int_equal(bucket_used(&table, 7, ten_a_minute, 0), 20);
	assert_int_equal(bucket_room(&table, 7, ten_a_minute, MINUTE - 1), 0);
	assert_int_equal(bucket_room(&table, 7, ten_a_minute, MINUTE + 6 * SECOND), 1);
	bucket_add(&table, 8, ten_a_minute, UINT32_MAX, 0);
	assert_int_equal(bucket_used(&table, 8, ten_a_minute, 0), 20);
	bucket_empty(&table, 7);
	bucket_empty(&table, 9);
	assert_int_equal(bucket_used(&table, 7, ten_a_minute, 0), 0);
	assert_int_equal(bucket_used(&table, 8, ten_a_minute, 0), 20);
}

static void the_extremes_do_not_overflow(void **state)
{
	(void)state;
	static const struct bucket_size most = {BUCKET_MAX, BUCKET_SPAN_MAX}, least = {1, 1};

	assert_true(bucket_take(&table, 7, most, BUCKET_MAX, 0));
	assert_false(bucket_take(&table, 7, most, 1, 100));
	assert_int_equal(bucket_room(&table, 7, most, BUCKET_SPAN_MAX / 2), BUCKET_MAX / 2);
	assert_int_equal(bucket_room(&table, 7, most, INT64_MAX), BUCKET_MAX);
	assert_int_equal(bucket_room(&table, 7, most, 3 * BUCKET_SPAN_MAX), BUCKET_MAX);
	bucket_add(&table, 7, most, UINT32_MAX, 0);
	assert_int_equal(bucket_room(&table, 7, most, 2 * BUCKET_SPAN_MAX - 1), BUCKET_MAX - 1);
	assert_true(bucket_take(&table, 8, least, 1, 0));
	assert_false(bucket_take(&table, 8, least, 1, 0));
	assert_true(bucket_take(&table, 8, least, 1, 1));
	/* A clock that stands, or that was ahead. */
	assert_true(bucket_take(&table, 9, most, 1, HOUR));
	assert_int_equal(bucket_used(&table, 9, most, 0), 1);
}

static void another_size_leaves_it_as_full_as_it_was(void **state)
{
	(void)state;
	static const struct bucket_size twenty = {20, MINUTE};

	assert_true(bucket_take(&table, 7, ten_a_minute, 5, 0));
	assert_int_equal(bucket_used(&table, 7, twenty, 0), 10);
}

static void who_is_at_his_limit_is_kept_when_strangers_come(void **state)
{
	(void)state;
	assert_int_equal(take(7, 20, 0), 10);
	for (uint64_t who = 0; who < 100000; who++)
		take(who * 2654435761u + 1, 1, 1);
	assert_int_equal(take(7, 1, 1), 0);
}

static void nobody_is_somebody(void **state)
{
	(void)state;
	assert_int_equal(take(0, 20, 0), 10);
	assert_int_equal(bucket_used(&table, 0, ten_a_minute, 0), 10);
	assert_int_equal(bucket_used(&table, 12345, ten_a_minute, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_full_bucket_drains_evenly, begin),
		cmocka_unit_test_setup(nobody_gets_more_than_it_holds_and_what_drains, begin),
		cmocka_unit_test_setup(several_are_taken_at_once_or_not_at_all, begin),
		cmocka_unit_test_setup(what_is_added_may_run_over, begin),
		cmocka_unit_test_setup(the_extremes_do_not_overflow, begin),
		cmocka_unit_test_setup(another_size_leaves_it_as_full_as_it_was, begin),
		cmocka_unit_test_setup(who_is_at_his_limit_is_kept_when_strangers_come, begin),
		cmocka_unit_test_setup(nobody_is_somebody, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
