#include "test.h"

#include "world.h"

static enum store_result answer(struct world *w, uint64_t tag)
{
	enum store_result r = STORE_OK;

	assert_true(world_answered(w, tag, &r));
	return r;
}

static void a_failed_commit_is_told_to_everybody_in_it(void **state)
{
	(void)state;
	struct world *w = world_new();

	mem_store_fail(w->mem, MEM_COMMIT, STORE_IO, 0, 1);
	world_put(w, 7, "a@b.test", "x@one.test");
	world_put(w, 8, "a@b.test", "y@two.test");
	world_turn(w);
	assert_int_equal(answer(w, 7), STORE_IO);
	assert_int_equal(answer(w, 8), STORE_IO);
	assert_int_equal(w->job_n, 0);
	assert_null(mem_store_message(w->mem, 7));
	assert_int_equal(world_count_events(w, QUEUE_EVENT_STORE_FAILED), 1);
	world_pass(w, 2 * SECOND);
	assert_int_equal(w->job_n, 0);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_STORE_REOPENED), 1);
	world_put(w, 9, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(answer(w, 9), STORE_OK);
	assert_int_equal(w->job_n, 1);
	world_free(w);
}

static void while_the_store_is_down_answers_come_at_once(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct queue_action a;

	world_put(w, 6, "a@b.test", "x@one.test");
	mem_store_fail(w->mem, MEM_COMMIT, STORE_IO, 0, 1);
	mem_store_fail(w->mem, MEM_REOPEN, STORE_IO, 0, 5);
	world_turn(w);
	world_put(w, 7, "a@b.test", "x@one.test");
	assert_true(queue_engine_next(w->e, &a));
	assert_int_equal(a.type, QUEUE_ACTION_ANSWER);
	assert_int_equal(a.tag, 7);
	assert_int_equal(a.result, STORE_IO);
	/* It is opened anew once a second. */
	mono_ms at = queue_engine_deadline(w->e);
	assert_int_equal(at, world_now(w) + SECOND);
	world_pass(w, 5 * SECOND);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_STORE_REOPENED), 0);
	world_pass(w, 2 * SECOND);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_STORE_REOPENED), 1);
	world_free(w);
}

static void outcomes_of_a_failed_commit_are_settled_later(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_meet(w, "y@two.test");
	world_put(w, 7, "a@b.test", "x@one.test");
	world_put(w, 8, "a@b.test", "y@two.test");
	world_put(w, 9, "a@b.test", "y@two.test");
	world_turn(w);
	world_finish(w, world_job_of(w, 7), "250 2.0.0 ok");
	world_finish(w, world_job_of(w, 8), "550 5.1.1 no");
	mem_store_fail(w->mem, MEM_COMMIT, STORE_IO, 0, 1);
	mem_store_fail(w->mem, MEM_REOPEN, STORE_IO, 0, 3);
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_CLAIMED);
	assert_int_equal(world_reports(w, 8), 0);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DELIVERED), 0);
	/* Another one comes while the store is down. */
	world_finish(w, world_job_of(w, 9), "250 2.0.0 ok");
	world_pass(w, 10 * SECOND);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_rcpt(w, 7, 0)->row.attempts, 1);
	assert_int_equal(world_rcpt(w, 8, 0)->row.state, STORE_FAILED);
	assert_int_equal(world_rcpt(w, 9, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_reports(w, 8), 1);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DELIVERED), 2);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_REPORT), 1);
	world_free(w);
}

static void claims_of_a_failed_transaction_are_void(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_finish(w, &w->jobs[0], "451 4.3.0 later");
	world_turn(w);
	world_pass(w, 4 * MINUTE);
	mem_store_fail(w->mem, MEM_COMMIT, STORE_IO, 0, 1);
	world_pass(w, 2 * MINUTE);
	/* Claimed again after the reopen, and handed out once. */
	assert_int_equal(world_count_events(w, QUEUE_EVENT_STORE_REOPENED), 1);
	assert_int_equal(w->job_n, 2);
	world_finish(w, &w->jobs[1], "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	world_free(w);
}

static void no_job_is_handed_out_while_outcomes_cannot_be_kept(void **state)
{
	(void)state;
	struct world *w = world_new();

	queue_engine_courier_down(w->e, 1);
	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	mem_store_fail(w->mem, MEM_COMMIT, STORE_IO, 0, 1);
	world_put(w, 8, "a@b.test", "x@one.test");
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	world_turn(w);
	assert_int_equal(w->job_n, 0);
	world_pass(w, 2 * SECOND);
	assert_int_equal(w->job_n, 1);
	world_free(w);
}

static void a_job_that_comes_back_waits_again_without_an_attempt(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@one.test");
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	queue_engine_drain(w->e);
	queue_engine_job_returned(w->e, 1, w->jobs[0].job);
	queue_engine_job_returned(w->e, 1, 12345); /* nobody's */
	world_turn(w);
	assert_int_equal(queue_engine_under_way(w->e), 0);
	for (uint32_t n = 0; n < 2; n++) {
		assert_int_equal(world_rcpt(w, 7, n)->row.state, STORE_WAITING);
		assert_int_equal(world_rcpt(w, 7, n)->row.attempts, 0);
		assert_true(world_rcpt(w, 7, n)->row.due <= queue_engine_now(w->e));
	}
	world_free(w);
}

/* The second one is put back in the turn that claims the first one again, and is due by then. */
static void jobs_that_come_back_go_out_again(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_put(w, 8, "a@b.test", "y@two.test");
	world_turn(w);
	assert_int_equal(w->job_n, 2);
	for (int i = 0; i < 2; i++) {
		w->jobs[i].done = true;
		queue_engine_job_returned(w->e, 1, w->jobs[i].job);
		world_turn(w);
	}
	world_pass(w, SECOND);
	assert_int_equal(w->job_n, 4);
	world_free(w);
}

/* What comes back would go out to it again and again. */
static void a_courier_that_leaves_gets_no_more_jobs(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	queue_engine_courier_leaves(w->e, 1);
	w->jobs[0].done = true;
	queue_engine_job_returned(w->e, 1, w->jobs[0].job);
	world_put(w, 8, "a@b.test", "y@two.test");
	world_pass(w, MINUTE);
	assert_int_equal(w->job_n, 1);
	queue_engine_courier_down(w->e, 1);
	assert_true(queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER));
	world_turn(w);
	world_pass(w, SECOND);
	assert_int_equal(w->job_n, 3);
	world_free(w);
}

static void below_the_reserve_new_mail_is_refused_and_old_mail_leaves(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_put(w, 8, "a@b.test", "y@two.test");
	world_turn(w);
	mem_store_low_space(w->mem, true);
	world_put(w, 9, "a@b.test", "x@one.test");
	world_finish(w, world_job_of(w, 7), "250 2.0.0 ok");
	world_finish(w, world_job_of(w, 8), "550 5.1.1 no");
	world_turn(w);
	assert_int_equal(answer(w, 9), STORE_FULL);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_rcpt(w, 8, 0)->row.state, STORE_FAILED);
	assert_int_equal(world_reports(w, 8), 1);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_STORE_FAILED), 0);
	world_free(w);
}

static void a_full_disk_refuses_the_batch_but_settles(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	mem_store_fail(w->mem, MEM_COMMIT, STORE_FULL, 0, 1);
	world_put(w, 8, "a@b.test", "x@one.test");
	world_finish(w, world_job_of(w, 7), "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(answer(w, 8), STORE_FULL);
	assert_null(mem_store_message(w->mem, 8));
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_STORE_FAILED), 1);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_STORE_REOPENED), 0);
	world_free(w);
}

static void without_room_for_a_report_its_failure_waits_and_the_rest_is_settled(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_put(w, 8, "a@b.test", "y@two.test");
	world_turn(w);
	world_finish(w, world_job_of(w, 7), "550 5.1.1 no");
	world_finish(w, world_job_of(w, 8), "250 2.0.0 ok");
	mem_store_fail(w->mem, MEM_PUT, STORE_FULL, 0, 6);
	world_turn(w);
	assert_int_equal(world_rcpt(w, 8, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_CLAIMED);
	assert_int_equal(world_reports(w, 7), 0);
	world_pass(w, 10 * SECOND);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
	assert_int_equal(world_reports(w, 7), 1);
	world_free(w);
}

static void a_report_and_what_it_is_about_are_one_transaction(void **state)
{
	(void)state;
	/* The commit fails at each possible call of the turn: never one without the other. */
	static const enum mem_op ops[] = {MEM_PUT, MEM_SETTLE, MEM_NOTE, MEM_COMMIT, MEM_ID_BLOCK, MEM_BODY, MEM_CLAIM};

	for (size_t k = 0; k < sizeof ops / sizeof *ops; k++) {
		struct world *w = world_new();
		world_put(w, 7, "a@b.test", "x@one.test");
		world_turn(w);
		world_finish(w, world_job_of(w, 7), "550 5.1.1 no");
		mem_store_fail(w->mem, ops[k], STORE_IO, 0, 1);
		world_turn(w);
		assert_int_equal(world_rcpt(w, 7, 0)->row.state == STORE_FAILED, world_reports(w, 7) == 1);
		world_pass(w, 5 * SECOND);
		assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
		assert_int_equal(world_reports(w, 7), 1);
		world_free(w);
	}
}

static void a_damaged_message_does_not_keep_the_others_from_being_settled(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_meet(w, "x@one.test");
	for (msg_id id = 1; id <= 6; id++)
		world_put(w, id, "a@b.test", "x@one.test");
	world_turn(w);
	mem_store_break(w->mem, 4);
	for (msg_id id = 1; id <= 6; id++)
		world_finish(w, world_job_of(w, id), "250 2.0.0 ok");
	world_pass(w, MINUTE);
	for (msg_id id = 1; id <= 6; id++)
		if (id != 4)
			assert_int_equal(world_rcpt(w, id, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_CORRUPT), 1);
	world_put(w, 10, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(answer(w, 10), STORE_OK);
	world_free(w);
}

static void a_message_damaged_in_the_store_is_held_when_claimed(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_finish(w, &w->jobs[0], "451 4.3.0 later");
	world_turn(w);
	mem_store_fail(w->mem, MEM_LOAD_RCPT, STORE_CORRUPT, 0, 1);
	world_pass(w, 10 * MINUTE);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_HELD);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_CORRUPT), 1);
	world_free(w);
}

static void the_word_of_a_courier_outlives_a_store_that_cannot_be_read(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	struct world_job old = w->jobs[0];
	old.job = 0;
	world_crash(w);
	world_outcome(w, &old, 0, "250 2.0.0 ok");
	mem_store_fail(w->mem, MEM_LOAD_RCPT, STORE_IO, 0, 1);
	mem_store_fail(w->mem, MEM_CLAIM, STORE_IO, 0, 1);
	world_pass(w, 10 * SECOND);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(w->job_n, 1);
	world_free(w);
}

static void an_operator_is_told_when_the_store_fails(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct store_filter any = {.state = -1};
	struct store_cursor cursor = {0};
	size_t count, busy;

	queue_engine_courier_down(w->e, 1);
	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	mem_store_fail(w->mem, MEM_COMMIT, STORE_IO, 0, 1);
	assert_int_equal(queue_engine_operate(w->e, QUEUE_REMOVE, &any, &cursor, 10, &count, &busy), STORE_IO);
	assert_int_equal(count, 0);
	assert_int_equal(queue_engine_operate(w->e, QUEUE_REMOVE, &any, &cursor, 10, &count, &busy), STORE_IO);
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	world_pass(w, 2 * SECOND);
	/* Nothing was removed: it goes out. */
	assert_int_equal(w->job_n, 1);
	world_free(w);
}

static void an_operator_commits_what_came_before_him(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct store_filter any = {.state = -1};
	struct store_cursor cursor = {0};
	size_t count, busy;

	world_put(w, 7, "a@b.test", "x@one.test");
	assert_int_equal(queue_engine_operate(w->e, QUEUE_HOLD, &any, &cursor, 10, &count, &busy), STORE_OK);
	/* It was not committed when he looked. */
	assert_int_equal(count, 0);
	assert_int_equal(busy, 1);
	world_turn(w);
	assert_int_equal(answer(w, 7), STORE_OK);
	assert_int_equal(w->job_n, 1);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failed_commit_is_told_to_everybody_in_it),
		cmocka_unit_test(while_the_store_is_down_answers_come_at_once),
		cmocka_unit_test(outcomes_of_a_failed_commit_are_settled_later),
		cmocka_unit_test(claims_of_a_failed_transaction_are_void),
		cmocka_unit_test(no_job_is_handed_out_while_outcomes_cannot_be_kept),
		cmocka_unit_test(below_the_reserve_new_mail_is_refused_and_old_mail_leaves),
		cmocka_unit_test(a_full_disk_refuses_the_batch_but_settles),
		cmocka_unit_test(without_room_for_a_report_its_failure_waits_and_the_rest_is_settled),
		cmocka_unit_test(a_report_and_what_it_is_about_are_one_transaction),
		cmocka_unit_test(a_damaged_message_does_not_keep_the_others_from_being_settled),
		cmocka_unit_test(a_message_damaged_in_the_store_is_held_when_claimed),
		cmocka_unit_test(the_word_of_a_courier_outlives_a_store_that_cannot_be_read),
		cmocka_unit_test(an_operator_is_told_when_the_store_fails),
		cmocka_unit_test(an_operator_commits_what_came_before_him),
		cmocka_unit_test(a_job_that_comes_back_waits_again_without_an_attempt),
		cmocka_unit_test(jobs_that_come_back_go_out_again),
		cmocka_unit_test(a_courier_that_leaves_gets_no_more_jobs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
