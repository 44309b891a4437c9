#include "test.h"

#include "queue/retry.h"

static const struct retry_policy policy = {
	.first = 5 * MINUTE,
	.longest = 4 * HOUR,
	.warn = 4 * HOUR,
	.lifetime = 5 * DAY,
	.growth_percent = 200,
};

#define MIDDLE 0x80000000u /* no spread */

static struct retry_decision decide(uint32_t attempts, span_ms age, bool warned, enum retry_pace pace, uint32_t random)
{
	struct retry_attempt a = {.attempts = attempts, .age = age, .warned = warned, .pace = pace, .random = random};

	return retry_decide(&policy, &a);
}

static void delays_double_up_to_the_longest(void **state)
{
	(void)state;
	static const struct {
		uint32_t attempts;
		span_ms low, high;
	} rows[] = {
		{1, 5 * MINUTE, 5 * MINUTE}, {2, 10 * MINUTE, 10 * MINUTE + 10}, {3, 20 * MINUTE, 20 * MINUTE + 10},
		{7, 4 * HOUR, 4 * HOUR},     {4000000000u, 4 * HOUR, 4 * HOUR},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct retry_decision d = decide(rows[i].attempts, 0, true, RETRY_PACE_NORMAL, MIDDLE);
		assert_int_equal(d.verdict, RETRY_LATER);
		assert_in_range(d.delay, rows[i].low, rows[i].high);
	}
}

static void without_growth_the_delay_stays(void **state)
{
	(void)state;
	struct retry_policy even = policy;
	struct retry_attempt a = {.attempts = 4000000000u, .random = MIDDLE};
	even.growth_percent = 100;
	assert_int_equal(retry_decide(&even, &a).delay, 5 * MINUTE);
}

static void spread_stays_within_an_eighth(void **state)
{
	(void)state;
	assert_int_equal(decide(20, 0, true, RETRY_PACE_NORMAL, 0).delay, 4 * HOUR - HOUR / 2);
	assert_in_range(decide(20, 0, true, RETRY_PACE_NORMAL, UINT32_MAX).delay, 4 * HOUR + HOUR / 2 - 1,
			4 * HOUR + HOUR / 2);
}

static void our_own_trouble_is_tried_again_soon_but_not_for_ever(void **state)
{
	(void)state;
	static const struct {
		uint32_t attempts;
		span_ms low, high;
	} rows[] = {
		{1, 5 * SECOND, 5 * SECOND},
		{2, 10 * SECOND, 10 * SECOND + 5},
		{4, 40 * SECOND, 40 * SECOND + 20},
		{40, 4 * HOUR, 4 * HOUR},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_in_range(decide(rows[i].attempts, 0, true, RETRY_PACE_SOON, MIDDLE).delay, rows[i].low,
				rows[i].high);
}

static void a_full_mailbox_gets_time(void **state)
{
	(void)state;
	struct smtp_outcome full = {.verdict = SMTP_DEFERRED, .status = {4, 2, 2}};
	struct smtp_outcome other = {.verdict = SMTP_DEFERRED, .status = {4, 2, 1}};

	assert_int_equal(retry_pace_of(&full), RETRY_PACE_SLOW);
	assert_int_equal(retry_pace_of(&other), RETRY_PACE_NORMAL);
	assert_int_equal(decide(1, 0, true, RETRY_PACE_SLOW, MIDDLE).delay, HOUR);
	assert_int_equal(decide(30, 0, true, RETRY_PACE_SLOW, MIDDLE).delay, 4 * HOUR);
}

static void the_sender_is_told_once(void **state)
{
	(void)state;
	assert_int_equal(decide(9, 4 * HOUR - 1, false, RETRY_PACE_NORMAL, MIDDLE).verdict, RETRY_LATER);
	assert_int_equal(decide(9, 4 * HOUR, false, RETRY_PACE_NORMAL, MIDDLE).verdict, RETRY_WARN);
	assert_int_equal(decide(9, 4 * HOUR, true, RETRY_PACE_NORMAL, MIDDLE).verdict, RETRY_LATER);
}

static void the_last_attempt_falls_on_the_end_and_then_we_give_up(void **state)
{
	(void)state;
	assert_int_equal(decide(30, 5 * DAY - MINUTE, true, RETRY_PACE_NORMAL, MIDDLE).delay, MINUTE);
	assert_int_equal(decide(30, 5 * DAY, true, RETRY_PACE_NORMAL, MIDDLE).verdict, RETRY_GIVE_UP);
	assert_int_equal(decide(30, 5 * DAY, true, RETRY_PACE_NORMAL, MIDDLE).delay, 0);
}

static void an_age_below_zero_is_young(void **state)
{
	(void)state;
	assert_int_equal(decide(1, INT64_MIN / 2, false, RETRY_PACE_NORMAL, MIDDLE).verdict, RETRY_LATER);
}

static void a_policy_out_of_bounds_is_refused(void **state)
{
	(void)state;
	struct retry_policy p;

	assert_true(retry_policy_valid(&policy));
	p = policy, p.first = 0;
	assert_false(retry_policy_valid(&p));
	p = policy, p.longest = p.first - 1;
	assert_false(retry_policy_valid(&p));
	p = policy, p.lifetime = p.warn;
	assert_false(retry_policy_valid(&p));
	p = policy, p.growth_percent = 99;
	assert_false(retry_policy_valid(&p));
	p = policy, p.growth_percent = 401;
	assert_false(retry_policy_valid(&p));
}

static void a_wave_of_failures_does_not_come_back_as_a_wave(void **state)
{
	(void)state;
	/* 1,000 recipients deferred together at their third attempt: no second of the 5 minutes' spread gets three
	 * times the mean of 3.3. */
	unsigned seconds[400] = {0};
	for (uint32_t i = 0; i < 1000; i++) {
		struct retry_decision d = decide(3, 0, true, RETRY_PACE_NORMAL, i * 2654435761u);
		seconds[(d.delay - 17 * MINUTE) / SECOND]++;
	}
	for (size_t i = 0; i < 400; i++)
		assert_true(seconds[i] < 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(delays_double_up_to_the_longest),
		cmocka_unit_test(without_growth_the_delay_stays),
		cmocka_unit_test(spread_stays_within_an_eighth),
		cmocka_unit_test(our_own_trouble_is_tried_again_soon_but_not_for_ever),
		cmocka_unit_test(a_full_mailbox_gets_time),
		cmocka_unit_test(the_sender_is_told_once),
		cmocka_unit_test(the_last_attempt_falls_on_the_end_and_then_we_give_up),
		cmocka_unit_test(an_age_below_zero_is_young),
		cmocka_unit_test(a_policy_out_of_bounds_is_refused),
		cmocka_unit_test(a_wave_of_failures_does_not_come_back_as_a_wave),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
