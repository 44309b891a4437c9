#include "test.h"

#include "policy/rate.h"

static struct rate_table table;

static int begin(void **state)
{
	(void)state;
	table = (struct rate_table){0};
	return 0;
}

static unsigned take(uint64_t who, unsigned tries, uint32_t max, mono_ms now)
{
	unsigned taken = 0;

	for (unsigned i = 0; i < tries; i++)
		taken += rate_take(&table, who, RATE_MESSAGES, max, now);
	return taken;
}

static void so_many_are_taken_in_a_minute_and_no_more(void **state)
{
	(void)state;
	assert_int_equal(take(7, 20, 5, 0), 5);
	assert_int_equal(take(7, 20, 5, 59999), 0);
	assert_int_equal(take(7, 20, 5, 10 * MINUTE), 5);
}

static void a_turn_of_the_minute_gives_nobody_twice_as_much(void **state)
{
	(void)state;
	assert_int_equal(take(7, 60, 60, MINUTE - 1), 60);
	assert_int_equal(take(7, 60, 60, MINUTE), 0);
	/* With half of the next minute gone, half of the last one's count has too. */
	assert_int_equal(take(7, 60, 60, MINUTE + 30 * SECOND), 30);
	assert_int_equal(take(7, 60, 60, 2 * MINUTE - 1), 29);
	assert_int_equal(take(7, 100, 60, 2 * MINUTE + 1), 1);
	assert_int_equal(take(7, 100, 60, 9 * MINUTE), 60);
}

static void kinds_and_clients_do_not_share_a_count(void **state)
{
	(void)state;
	assert_int_equal(take(7, 9, 3, 0), 3);
	assert_int_equal(take(8, 9, 3, 0), 3);
	assert_true(rate_take(&table, 7, RATE_RECIPIENTS, 3, 0));
	assert_true(rate_take(&table, 7, RATE_CONNECTIONS, 3, 0));
}

static void no_limit_counts_nothing(void **state)
{
	(void)state;
	assert_int_equal(take(7, 1000, 0, 0), 1000);
	assert_int_equal(take(7, 5, 3, 0), 3);
}

static void a_crowd_does_not_drive_out_who_is_over_the_limit(void **state)
{
	(void)state;
	assert_int_equal(take(7, 100, 50, 0), 50);
	for (uint64_t who = 1; who < 100000; who++)
		if (who % RATE_PLACES != 7 || who > RATE_PLACES)
			rate_take(&table, who * RATE_PLACES + 7, RATE_MESSAGES, 50, 1000);
	assert_int_equal(take(7, 1, 50, 2000), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(so_many_are_taken_in_a_minute_and_no_more, begin),
		cmocka_unit_test_setup(a_turn_of_the_minute_gives_nobody_twice_as_much, begin),
		cmocka_unit_test_setup(kinds_and_clients_do_not_share_a_count, begin),
		cmocka_unit_test_setup(no_limit_counts_nothing, begin),
		cmocka_unit_test_setup(a_crowd_does_not_drive_out_who_is_over_the_limit, begin),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
