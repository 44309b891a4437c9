#include "test.h"

#include "policy/rate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void what_is_added_counts_and_says_when_it_is_enough(void **state)
{
	(void)state;
	assert_true(rate_add(&table, 7, RATE_ERRORS, 3, 5, 0));
	assert_false(rate_is_reached(&table, 7, RATE_ERRORS, 5, 0));
	assert_false(rate_add(&table, 7, RATE_ERRORS, 2, 5, 0));
	assert_true(rate_is_reached(&table, 7, RATE_ERRORS, 5, 0));
	assert_false(rate_is_reached(&table, 7, RATE_ERRORS, 0, 0));
	assert_false(rate_is_reached(&table, 8, RATE_ERRORS, 5, 0));
	/* What goes on beyond the limit is not forgotten after a minute. */
	assert_false(rate_add(&table, 7, RATE_ERRORS, 20, 5, 0));
	assert_true(rate_is_reached(&table, 7, RATE_ERRORS, 5, MINUTE + 30 * SECOND));
	assert_false(rate_is_reached(&table, 7, RATE_ERRORS, 5, 3 * MINUTE));
	assert_false(rate_add(&table, 7, RATE_ERRORS, UINT32_MAX, 5, 0));
	assert_false(rate_add(&table, 7, RATE_ERRORS, UINT32_MAX, 5, 0));
	assert_true(rate_is_reached(&table, 7, RATE_ERRORS, RATE_COUNT_MAX, 0));
	assert_int_equal(take(7, 1, 1, 0), 1);
}

static void a_clock_that_is_read_a_moment_later_loses_nothing(void **state)
{
	(void)state;
	assert_int_equal(take(7, 5, 5, MINUTE), 5);
	assert_int_equal(take(7, 5, 5, MINUTE - 1), 0);
	assert_int_equal(take(7, 5, 5, MINUTE + 1), 0);
}

static void minutes_go_round_after_thirty_years(void **state)
{
	mono_ms round = ((mono_ms)1 << 24) * MINUTE;

	(void)state;
	assert_int_equal(take(7, 9, 5, round - 1), 5);
	assert_int_equal(take(7, 9, 5, round), 0);
	assert_int_equal(take(7, 9, 5, round + 2 * MINUTE), 5);
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

static void sessions_of_all_sharers_count_together(void **state)
{
	struct rate_session a, b, c, d;

	(void)state;
	assert_true(rate_enter(&table, 7, 0, 3, 0, &a));
	assert_true(rate_enter(&table, 7, 1, 3, 0, &b));
	assert_true(rate_enter(&table, 7, RATE_SHARERS_MAX - 1, 3, 0, &c));
	assert_false(rate_enter(&table, 7, 1, 3, 0, &d));
	assert_true(rate_enter(&table, 8, 1, 3, 0, &d));
	rate_leave(&table, 1, &d);
	rate_leave(&table, 0, &a);
	assert_true(rate_enter(&table, 7, 1, 3, 0, &a));
	assert_false(rate_enter(&table, 7, 0, 3, 0, &d));
	rate_leave(&table, 0, &d); /* was not counted */
	assert_false(rate_enter(&table, 7, 0, 3, 0, &d));
	rate_leave(&table, 1, &a);
	rate_leave(&table, 1, &a); /* is over already */
	assert_true(rate_enter(&table, 7, 0, 3, 0, &a));
	assert_false(rate_enter(&table, 7, 0, 3, 0, &d));
}

static void who_dies_has_no_sessions_any_more(void **state)
{
	struct rate_session a, b, c;

	(void)state;
	assert_true(rate_enter(&table, 7, 0, 2, 0, &a));
	assert_true(rate_enter(&table, 7, 1, 2, 0, &b));
	rate_forget(&table, 0);
	assert_true(rate_enter(&table, 7, 0, 2, 0, &c));
	assert_false(rate_enter(&table, 7, 0, 2, 0, &a));
	rate_leave(&table, 0, &c);
	rate_leave(&table, 1, &b);
	assert_true(rate_enter(&table, 7, 0, 1, 0, &a));
}

static void a_session_of_long_ago_keeps_its_place_and_a_place_that_was_lost_is_not_left_twice(void **state)
{
	struct rate_session held, other, lost;

	(void)state;
	assert_true(rate_enter(&table, 7, 0, 1, 0, &held));
	assert_true(rate_enter(&table, RATE_PLACES + 7, 0, 1, 0, &lost));
	for (uint64_t n = 2; n < 1000; n++)
		assert_int_equal(take(n * RATE_PLACES + 7, 3, 3, HOUR), 3);
	assert_false(rate_enter(&table, 7, 1, 1, HOUR, &other));
	/* One that somebody else needed more: with as much on each neighbour's account, the first is given up. */
	for (uint64_t n = 2000; n < 2008; n++)
		for (unsigned i = 0; i < 9; i++)
			rate_enter(&table, n * RATE_PLACES + 7, 2, 9, HOUR, &other);
	rate_leave(&table, 0, &held);
	rate_leave(&table, 0, &lost);
	for (size_t i = 0; i < RATE_PLACES; i++)
		assert_int_equal(table.place[i].sessions[0], 0);
}

static void a_full_count_of_sessions_is_a_refusal(void **state)
{
	struct rate_session s;

	(void)state;
	for (unsigned i = 0; i < UINT16_MAX; i++)
		assert_true(rate_enter(&table, 7, 3, 100000, 0, &s));
	assert_false(rate_enter(&table, 7, 3, 100000, 0, &s));
	assert_true(rate_enter(&table, 7, 4, 100000, 0, &s));
}

/* ---- several processes ------------------------------------------------------------------------------------------- */

#define PROCESSES 4
#define TRIES     20000

struct shared {
	struct rate_table table;
	unsigned taken[PROCESSES], most[PROCESSES];
};

static void work(struct shared *s, unsigned n)
{
	for (unsigned i = 0; i < TRIES; i++) {
		struct rate_session session;

		s->taken[n] += rate_take(&s->table, 7, RATE_MESSAGES, 3 * TRIES, 0);
		rate_take(&s->table, i * 31 + n, RATE_RECIPIENTS, 10, i); /* a crowd that comes and goes */
		if (!rate_enter(&s->table, 9, n, 2, 0, &session))
			continue;
		rate_add(&s->table, 9, RATE_ERRORS, 1, 1, 0);
		rate_leave(&s->table, n, &session);
	}
}

static void processes_that_count_at_one_time_lose_nothing(void **state)
{
	pid_t pids[PROCESSES];
	struct rate_session session;
	unsigned sum = 0;

	(void)state;
	struct shared *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(s, MAP_FAILED);
	/* The places are there, and nobody of the crowd is heavier. */
	assert_true(rate_take(&s->table, 7, RATE_CONNECTIONS, RATE_COUNT_MAX, 0));
	rate_add(&s->table, 7, RATE_CONNECTIONS, RATE_COUNT_MAX, 1, 0);
	rate_add(&s->table, 9, RATE_CONNECTIONS, RATE_COUNT_MAX, 1, 0);
	for (unsigned n = 0; n < PROCESSES; n++) {
		pids[n] = fork();
		if (pids[n] == 0) {
			work(s, n);
			_exit(0);
		}
		assert_true(pids[n] > 0);
	}
	for (unsigned n = 0; n < PROCESSES; n++) {
		int status;
		assert_int_equal(waitpid(pids[n], &status, 0), pids[n]);
		assert_int_equal(status, 0);
		sum += s->taken[n];
	}
	assert_int_equal(sum, 3 * TRIES);
	assert_true(rate_enter(&s->table, 9, 0, 1, 0, &session));
	munmap(s, sizeof *s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(so_many_are_taken_in_a_minute_and_no_more, begin),
		cmocka_unit_test_setup(a_turn_of_the_minute_gives_nobody_twice_as_much, begin),
		cmocka_unit_test_setup(kinds_and_clients_do_not_share_a_count, begin),
		cmocka_unit_test_setup(no_limit_counts_nothing, begin),
		cmocka_unit_test_setup(a_crowd_does_not_drive_out_who_is_over_the_limit, begin),
		cmocka_unit_test_setup(what_is_added_counts_and_says_when_it_is_enough, begin),
		cmocka_unit_test_setup(a_clock_that_is_read_a_moment_later_loses_nothing, begin),
		cmocka_unit_test_setup(minutes_go_round_after_thirty_years, begin),
		cmocka_unit_test_setup(sessions_of_all_sharers_count_together, begin),
		cmocka_unit_test_setup(who_dies_has_no_sessions_any_more, begin),
		cmocka_unit_test_setup(
			a_session_of_long_ago_keeps_its_place_and_a_place_that_was_lost_is_not_left_twice, begin),
		cmocka_unit_test_setup(a_full_count_of_sessions_is_a_refusal, begin),
		cmocka_unit_test(processes_that_count_at_one_time_lose_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
