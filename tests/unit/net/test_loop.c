/*
 * Timers, and what the functions that they call may do to them.
 */
#include "test.h"

#include "net/loop.h"

struct world {
	struct loop *loop;
	struct loop_timer *one, *other, *over;
	unsigned fired;
};

static void stop(void *arg)
{
	loop_stop(((struct world *)arg)->loop);
}

/* With two timers that call `fired`; both are due when the loop runs. */
static void run(struct world *w, void (*fired)(void *arg))
{
	*w = (struct world){.loop = loop_new()};
	assert_non_null(w->loop);
	w->one = loop_timer_new(w->loop, fired, w);
	w->other = loop_timer_new(w->loop, fired, w);
	w->over = loop_timer_new(w->loop, stop, w);
	mono_ms now = loop_mono(w->loop);
	loop_timer_set(w->one, now);
	loop_timer_set(w->other, now);
	loop_timer_set(w->over, now + 20);
	loop_run(w->loop);
	loop_timer_free(w->one);
	loop_timer_free(w->other);
	loop_timer_free(w->over);
	loop_free(w->loop);
}

static void free_both(void *arg)
{
	struct world *w = arg;

	w->fired++;
	loop_timer_free(w->one);
	loop_timer_free(w->other);
	w->one = w->other = NULL;
}

/* Under AddressSanitizer, whoever looks at one afterwards is caught. */
static void a_timer_may_be_freed_by_what_it_calls_and_others_with_it(void **state)
{
	(void)state;
	struct world w;

	run(&w, free_both);
	assert_int_equal(w.fired, 1);
}

static void stop_both(void *arg)
{
	struct world *w = arg;

	w->fired++;
	loop_timer_set(w->one, NEVER);
	loop_timer_set(w->other, NEVER);
}

static void one_that_is_stopped_fires_no_more_in_that_turn(void **state)
{
	(void)state;
	struct world w;

	run(&w, stop_both);
	assert_int_equal(w.fired, 1);
}

static void set_again(void *arg)
{
	struct world *w = arg;

	loop_timer_set(w->other, NEVER);
	if (++w->fired < 3)
		loop_timer_set(w->one, loop_mono(w->loop));
}

static void a_timer_may_be_set_again_by_what_it_calls(void **state)
{
	(void)state;
	struct world w;

	run(&w, set_again);
	assert_int_equal(w.fired, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_timer_may_be_freed_by_what_it_calls_and_others_with_it),
		cmocka_unit_test(one_that_is_stopped_fires_no_more_in_that_turn),
		cmocka_unit_test(a_timer_may_be_set_again_by_what_it_calls),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
