#include "test.h"

#include "queue/clock.h"

#define BOOT_A SLICE("3f0c6a5e-0000-4000-8000-00000000000a")
#define BOOT_B SLICE("3f0c6a5e-0000-4000-8000-00000000000b")
#define WALL   ((wall_ms)1700000000 * 1000)

/* Runs for `ran`, is saved, and starts again in the world `after`: by how much the clock went on while it was down. */
static span_ms gap(struct queue_clock_world before, span_ms ran, struct queue_clock_world after)
{
	struct queue_clock c;
	struct buf saved;

	buf_init(&saved, 1000);
	assert_true(queue_clock_start(&c, SLICE_NONE, &before));
	before.mono += ran;
	before.wall += ran;
	before.boot += before.boot ? ran : 0;
	queue_ms then = queue_clock_now(&c, before.mono);
	assert_int_equal(then, ran);
	queue_clock_save(&c, &before, &saved);
	assert_true(queue_clock_start(&c, buf_slice(&saved), &after));
	buf_free(&saved);
	return queue_clock_now(&c, after.mono) - then;
}

static void it_follows_the_monotonic_clock_and_never_goes_back(void **state)
{
	(void)state;
	struct queue_clock_world w = {.mono = 5000, .wall = WALL};
	struct queue_clock c;

	assert_true(queue_clock_start(&c, SLICE_NONE, &w));
	assert_int_equal(queue_clock_now(&c, 5000), 0);
	assert_int_equal(queue_clock_now(&c, 6500), 1500);
	assert_int_equal(queue_clock_now(&c, 100), 1500);
	assert_int_equal(queue_clock_now(&c, 7000), 2000);
}

static void downtime_is_counted_by_the_boot_clock_whatever_the_wall_says(void **state)
{
	(void)state;
	static const span_ms jumps[] = {0, 10 * 365 * DAY, -10 * 365 * DAY, INT64_MAX / 2};
	struct queue_clock_world before = {.mono = 1, .wall = WALL, .boot = 900000, .boot_id = BOOT_A};

	for (size_t i = 0; i < sizeof jumps / sizeof *jumps; i++) {
		struct queue_clock_world after = {
			.mono = 77, .wall = WALL + jumps[i], .boot = 900000 + MINUTE + 3 * DAY, .boot_id = BOOT_A};
		assert_int_equal(gap(before, MINUTE, after), 3 * DAY);
	}
}

static void after_a_reboot_the_wall_clock_is_believed_up_to_an_hour(void **state)
{
	(void)state;
	static const struct {
		span_ms wall, gap;
	} rows[] = {
		{10 * MINUTE, 10 * MINUTE},
		{HOUR, HOUR},
		{3 * DAY, HOUR},
		{10 * 365 * DAY, HOUR},
		{-10 * 365 * DAY, QUEUE_CLOCK_SAVE},
		{0, QUEUE_CLOCK_SAVE},
		{INT64_MAX - WALL - MINUTE, HOUR},
	};
	struct queue_clock_world before = {.mono = 1, .wall = WALL, .boot = 900000, .boot_id = BOOT_A};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct queue_clock_world after = {
			.mono = 5, .wall = WALL + MINUTE + rows[i].wall, .boot = 40000, .boot_id = BOOT_B};
		assert_int_equal(gap(before, MINUTE, after), rows[i].gap);
		after.boot_id = SLICE_NONE;
		assert_int_equal(gap(before, MINUTE, after), rows[i].gap);
	}
}

static void a_boot_clock_that_went_back_is_no_witness(void **state)
{
	(void)state;
	struct queue_clock_world before = {.mono = 1, .wall = WALL, .boot = 900000, .boot_id = BOOT_A};
	struct queue_clock_world after = {.mono = 1, .wall = WALL + 2 * MINUTE, .boot = 10, .boot_id = BOOT_A};

	assert_int_equal(gap(before, MINUTE, after), MINUTE);
}

static void extreme_walls_do_no_harm(void **state)
{
	(void)state;
	struct queue_clock_world before = {.mono = 0, .wall = INT64_MIN};
	struct queue_clock_world after = {.mono = 0, .wall = INT64_MAX};

	assert_int_equal(gap(before, 0, after), HOUR);
	before.wall = INT64_MAX, after.wall = INT64_MIN;
	assert_int_equal(gap(before, 0, after), QUEUE_CLOCK_SAVE);
}

static void damaged_octets_are_refused_and_it_can_be_lifted(void **state)
{
	(void)state;
	struct queue_clock_world w = {.mono = 10, .wall = WALL, .boot = 5, .boot_id = BOOT_A};
	struct queue_clock c;
	struct buf saved;

	buf_init(&saved, 1000);
	queue_clock_start(&c, SLICE_NONE, &w);
	queue_clock_save(&c, &w, &saved);
	for (size_t n = 1; n < buf_len(&saved); n++) {
		assert_false(queue_clock_start(&c, slice_head(buf_slice(&saved), n), &w));
		assert_int_equal(queue_clock_now(&c, 10), 0);
	}
	saved.p[saved.start]++;
	assert_false(queue_clock_start(&c, buf_slice(&saved), &w));
	queue_clock_lift(&c, DAY);
	assert_int_equal(queue_clock_now(&c, 10), DAY);
	queue_clock_lift(&c, HOUR);
	assert_int_equal(queue_clock_now(&c, 12), DAY + 2);
	buf_free(&saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_follows_the_monotonic_clock_and_never_goes_back),
		cmocka_unit_test(downtime_is_counted_by_the_boot_clock_whatever_the_wall_says),
		cmocka_unit_test(after_a_reboot_the_wall_clock_is_believed_up_to_an_hour),
		cmocka_unit_test(a_boot_clock_that_went_back_is_no_witness),
		cmocka_unit_test(extreme_walls_do_no_harm),
		cmocka_unit_test(damaged_octets_are_refused_and_it_can_be_lifted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
