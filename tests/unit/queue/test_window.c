#include "test.h"

#include "queue/window.h"

#define MIDDLE 0x80000000u

static void deliveries_grow_it_by_one_per_round_up_to_the_maximum(void **state)
{
	(void)state;
	struct window w;

	window_init(&w, 2, 4);
	window_delivered(&w);
	assert_int_equal(w.connections, 2);
	window_delivered(&w);
	assert_int_equal(w.connections, 3);
	for (int i = 0; i < 3; i++)
		window_delivered(&w);
	assert_int_equal(w.connections, 4);
	for (int i = 0; i < 100; i++)
		window_delivered(&w);
	assert_int_equal(w.connections, 4);
	assert_int_equal(window_jobs(&w, 5, 0), 20);
}

static void failures_halve_it_and_then_pause_it(void **state)
{
	(void)state;
	struct window w;

	window_init(&w, 5, 20);
	assert_false(window_failed(&w, w.generation, false, 1000, MIDDLE));
	assert_int_equal(w.connections, 2);
	assert_false(window_failed(&w, w.generation, false, 1000, MIDDLE));
	assert_int_equal(w.connections, 1);
	assert_true(window_failed(&w, w.generation, false, 1000, MIDDLE));
	assert_int_equal(window_jobs(&w, 5, 1000), 0);
	assert_int_equal(window_paused(&w, 1000), WINDOW_PAUSE_FIRST);
	assert_int_equal(window_jobs(&w, 5, 1000 + WINDOW_PAUSE_FIRST), 1);
}

static void one_trouble_of_many_jobs_counts_once(void **state)
{
	(void)state;
	struct window w;

	window_init(&w, 8, 8);
	uint32_t then = w.generation;
	for (int i = 0; i < 30; i++)
		window_failed(&w, then, false, 0, MIDDLE);
	assert_int_equal(w.connections, 4);
}

static void pauses_grow_and_end_at_the_longest(void **state)
{
	(void)state;
	static const span_ms lengths[] = {30 * SECOND, MINUTE,      2 * MINUTE,  4 * MINUTE, 8 * MINUTE,
					  16 * MINUTE, 30 * MINUTE, 30 * MINUTE, 30 * MINUTE};
	struct window w;
	mono_ms now = 0;

	window_init(&w, 1, 8);
	for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		assert_true(window_failed(&w, w.generation, false, now, MIDDLE));
		assert_int_equal(window_paused(&w, now), lengths[i]);
		now += lengths[i];
	}
}

static void pauses_are_spread(void **state)
{
	(void)state;
	struct window a, b;

	window_init(&a, 1, 8);
	window_init(&b, 1, 8);
	window_failed(&a, 0, false, 0, 0);
	window_failed(&b, 0, false, 0, UINT32_MAX);
	assert_int_equal(window_paused(&a, 0), 30 * SECOND - 30 * SECOND / 8);
	assert_in_range(window_paused(&b, 0), 30 * SECOND + 30 * SECOND / 8 - 1, 30 * SECOND + 30 * SECOND / 8);
}

static void after_a_pause_it_starts_with_one_job_then_one_connection(void **state)
{
	(void)state;
	struct window w;

	window_init(&w, 1, 8);
	window_failed(&w, w.generation, false, 0, MIDDLE);
	mono_ms now = MINUTE;
	assert_int_equal(window_jobs(&w, 4, now), 1);
	window_alive(&w);
	assert_int_equal(window_jobs(&w, 4, now), 4);
	/* The pauses begin anew, too. */
	window_failed(&w, w.generation, false, now, MIDDLE);
	assert_int_equal(window_paused(&w, now), WINDOW_PAUSE_FIRST);
}

static void an_operator_opens_it_and_old_failures_do_not_close_it(void **state)
{
	(void)state;
	struct window w;

	window_init(&w, 1, 8);
	window_failed(&w, w.generation, false, 0, MIDDLE);
	uint32_t old = w.generation;
	window_open(&w);
	assert_int_equal(window_paused(&w, 0), 0);
	assert_int_equal(window_jobs(&w, 4, 0), 1);
	assert_false(window_failed(&w, old, false, 0, MIDDLE));
	assert_int_equal(window_jobs(&w, 4, 0), 1);
}

static void a_smaller_maximum_takes_hold_at_once(void **state)
{
	(void)state;
	struct window w;

	window_init(&w, 8, 8);
	window_set_max(&w, 3);
	assert_int_equal(w.connections, 3);
}

static void the_next_pause_is_known_ahead(void **state)
{
	(void)state;
	struct window w;
	mono_ms now = 0;

	window_init(&w, 1, 1);
	assert_true(window_failed(&w, w.generation, false, now, MIDDLE));
	for (uint32_t k = 1; k < 12; k++) {
		span_ms next = w.next_pause;
		assert_true(next > 0);
		now = w.paused_until;
		assert_true(window_failed(&w, w.generation, false, now, k * 0x12345677u));
		assert_int_equal(window_paused(&w, now), next);
	}
	window_alive(&w);
	assert_int_equal(w.next_pause, 0);
}

static void a_site_that_was_not_heard_has_one_job_until_it_was(void **state)
{
	(void)state;
	struct window w;

	window_init(&w, 4, 8);
	assert_int_equal(window_jobs(&w, 5, 0), 1);
	window_alive(&w);
	assert_int_equal(window_jobs(&w, 5, 0), 20);
	/* A failure that comes at once costs nobody anything: it only shrinks the window. */
	assert_false(window_failed(&w, w.generation, false, 0, MIDDLE));
	assert_int_equal(window_jobs(&w, 5, 0), 10);
}

static void silence_leaves_one_job_and_the_second_one_pauses(void **state)
{
	(void)state;
	struct window w;

	window_init(&w, 8, 8);
	window_alive(&w);
	assert_false(window_failed(&w, w.generation, true, 0, MIDDLE));
	assert_true(w.silent);
	assert_int_equal(window_jobs(&w, 5, 0), 1);
	window_alive(&w);
	assert_int_equal(window_jobs(&w, 5, 0), 20);
	assert_false(window_failed(&w, w.generation, true, 0, MIDDLE));
	assert_true(window_failed(&w, w.generation, true, 0, MIDDLE));
	assert_int_equal(window_paused(&w, 0), WINDOW_PAUSE_FIRST);
	/* One that was never heard had its first with the first attempt. */
	window_init(&w, 8, 8);
	assert_true(window_failed(&w, w.generation, true, 0, MIDDLE));
	assert_int_equal(window_paused(&w, 0), WINDOW_PAUSE_FIRST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deliveries_grow_it_by_one_per_round_up_to_the_maximum),
		cmocka_unit_test(failures_halve_it_and_then_pause_it),
		cmocka_unit_test(one_trouble_of_many_jobs_counts_once),
		cmocka_unit_test(pauses_grow_and_end_at_the_longest),
		cmocka_unit_test(the_next_pause_is_known_ahead),
		cmocka_unit_test(pauses_are_spread),
		cmocka_unit_test(after_a_pause_it_starts_with_one_job_then_one_connection),
		cmocka_unit_test(an_operator_opens_it_and_old_failures_do_not_close_it),
		cmocka_unit_test(a_smaller_maximum_takes_hold_at_once),
		cmocka_unit_test(a_site_that_was_not_heard_has_one_job_until_it_was),
		cmocka_unit_test(silence_leaves_one_job_and_the_second_one_pauses),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
