#include "test.h"

#include "world.h"

/* ---- messages in, jobs out ------------------------------------------------------------------------------------- */

static void a_message_is_answered_and_handed_out_by_the_turn_that_commits_it(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct queue_action a;
	enum store_result r;

	world_put(w, 7, "a@b.test", "x@one.test");
	assert_false(queue_engine_next(w->e, &a));
	assert_true(queue_engine_deadline(w->e) <= world_now(w));
	world_turn(w);
	assert_true(world_answered(w, 7, &r));
	assert_int_equal(r, STORE_OK);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(w->jobs[0].id, 7);
	assert_int_equal(w->jobs[0].courier, 1);
	assert_string_equal(w->jobs[0].rcpt[0], "x@one.test");
	assert_string_equal(w->jobs[0].sender, "a@b.test");
	assert_true(w->jobs[0].body_n > 0);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_CLAIMED);
	assert_int_equal(queue_engine_under_way(w->e), 1);
	world_finish(w, &w->jobs[0], "250 2.0.0 queued");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DELIVERED), 1);
	assert_int_equal(queue_engine_under_way(w->e), 0);
	world_free(w);
}

static void recipients_of_one_site_form_one_job(void **state)
{
	(void)state;
	struct world *w = world_new();

	w->config.job_rcpts_max = 3;
	queue_engine_configure(w->e, &w->config);
	world_meet(w, "x@one.test");
	world_put(w, 7, "a@b.test",
		  "1@one.test 1@two.test 2@ONE.test 3@one.test 4@one.test l@local.test m@lmtp.test n@local.test");
	world_turn(w);
	size_t one = 0, others = 0;
	for (size_t i = 0; i < w->job_n; i++) {
		const struct world_job *job = &w->jobs[i];
		if (strcasecmp(job->site, "one.test") == 0) {
			assert_true(job->count == 3 || job->count == 1);
			assert_int_equal(job->courier, 1);
			one += job->count;
		} else if (strcmp(job->site, "local/local.test") == 0) {
			assert_int_equal(job->count, 2);
			assert_int_equal(job->courier, 2);
			assert_true(job->with_mailboxes);
			assert_int_equal(job->n[0], 5);
			assert_int_equal(job->n[1], 7);
			others++;
		} else {
			assert_int_equal(job->count, 1);
			assert_int_equal(job->courier, job->kind == ROUTE_LMTP ? 2 : 1);
			assert_false(job->with_mailboxes);
			others++;
		}
	}
	assert_int_equal(one, 4);
	assert_int_equal(others, 3);
	assert_int_equal(w->job_n, 5);
	world_free(w);
}

static void without_couriers_mail_waits(void **state)
{
	(void)state;
	struct world *w = world_new();

	queue_engine_courier_down(w->e, 1);
	world_put(w, 7, "a@b.test", "x@one.test l@local.test");
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	assert_string_equal(w->jobs[0].site, "local/local.test");
	queue_engine_courier_up(w->e, 9, QUEUE_COURIER_SENDER);
	world_turn(w);
	assert_int_equal(w->job_n, 2);
	assert_int_equal(w->jobs[1].courier, 9);
	world_free(w);
}

static void what_does_not_fit_the_window_waits_in_the_store_and_follows(void **state)
{
	(void)state;
	struct world *w = world_new();
	char rcpts[4000] = "";

	w->config.window_rcpts = 40;
	queue_engine_configure(w->e, &w->config);
	size_t n = 0;
	for (int i = 0; i < 100; i++)
		n = world_words(rcpts, sizeof rcpts, n, "%s%d@s%d.test", i ? " " : "", i, i % 10);
	world_put(w, 7, "a@b.test", rcpts);
	world_turn(w);
	assert_true(w->job_n <= 40);
	size_t delivered = 0;
	for (int round = 0; round < 100 && delivered < 100; round++) {
		world_pass(w, SECOND);
		for (struct world_job *job; (job = world_open_job(w)) != NULL;) {
			delivered += job->count;
			assert_true(job->body_n > 0);
			world_finish(w, job, "250 2.0.0 ok");
		}
	}
	assert_int_equal(delivered, 100);
	world_turn(w);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DELIVERED), 100);
	assert_int_equal(mem_store_message(w->mem, 7)->row.open, 0);
	world_free(w);
}

static void a_body_that_is_not_kept_comes_from_the_store(void **state)
{
	(void)state;
	struct world *w = world_new();

	w->config.window_octets = 10;
	queue_engine_configure(w->e, &w->config);
	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(w->jobs[0].body_n, mem_store_message(w->mem, 7)->body_n);
	world_free(w);
}

static void a_damaged_message_is_held_and_said(void **state)
{
	(void)state;
	struct world *w = world_new();

	w->config.window_octets = 10;
	queue_engine_configure(w->e, &w->config);
	mem_store_damage(w->mem, 7);
	world_put(w, 7, "a@b.test", "x@one.test y@two.test");
	world_put(w, 8, "a@b.test", "x@one.test");
	world_turn(w);
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_HELD);
	assert_int_equal(world_rcpt(w, 7, 1)->row.state, STORE_HELD);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_CORRUPT), 2);
	world_free(w);
}

/* What was accepted or refused before it was found stands. */
static void what_a_courier_finds_damaged_is_held(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@one.test");
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	struct queue_outcome refused = {.id = 7,
					.n = 1,
					.job = w->jobs[0].job,
					.outcome = {.verdict = SMTP_FAILED,
						    .stage = SMTP_STAGE_RCPT,
						    .code = 550,
						    .status = {5, 1, 1},
						    .text = SLICE("no")}};
	queue_engine_outcome(w->e, w->jobs[0].courier, &refused);
	queue_engine_job_damaged(w->e, w->jobs[0].courier, w->jobs[0].job);
	queue_engine_job_damaged(w->e, w->jobs[0].courier, w->jobs[0].job + 1); /* of no job */
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_HELD);
	assert_int_equal(world_rcpt(w, 7, 0)->row.attempts, 1);
	assert_slice(world_rcpt(w, 7, 0)->row.last.text, "held: the message is damaged in the store");
	assert_int_equal(world_rcpt(w, 7, 1)->row.state, STORE_FAILED);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_CORRUPT), 1);
	world_free(w);
}

static void an_unreadable_body_is_tried_later(void **state)
{
	(void)state;
	struct world *w = world_new();

	w->config.window_octets = 10;
	queue_engine_configure(w->e, &w->config);
	mem_store_fail(w->mem, MEM_BODY, STORE_IO, 0, 1);
	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_turn(w);
	assert_int_equal(w->job_n, 0);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_WAITING);
	assert_int_equal(world_rcpt(w, 7, 0)->row.attempts, 0);
	world_pass(w, 3 * MINUTE);
	assert_int_equal(w->job_n, 1);
	world_free(w);
}

static void puts_that_make_no_sense_are_refused_alone(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct mail_rcpt rcpt = {.address = SLICE("x@one.test")};
	struct mail_envelope envelope = {.rcpt = &rcpt, .rcpt_count = 0};
	struct queue_put put = {.id = 9, .envelope = &envelope};
	enum store_result r;

	world_put(w, 7, "a@b.test", "x@one.test");
	assert_true(queue_engine_put(w->e, 100, &put));
	envelope.rcpt_count = 1, put.id = 0;
	assert_true(queue_engine_put(w->e, 101, &put));
	put.id = 7; /* taken */
	assert_true(queue_engine_put(w->e, 102, &put));
	put.id = 9, put.content = STORE_CONTENT_MAX + 1;
	assert_true(queue_engine_put(w->e, 103, &put));
	world_turn(w);
	for (uint64_t tag = 100; tag <= 103; tag++) {
		assert_true(world_answered(w, tag, &r));
		assert_int_not_equal(r, STORE_OK);
	}
	assert_true(world_answered(w, 7, &r));
	assert_int_equal(r, STORE_OK);
	assert_int_equal(w->job_n, 1);
	world_free(w);
}

static void an_idle_turn_does_not_ask_the_store(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_turn(w);
	unsigned calls = mem_store_calls(w->mem), commits = mem_store_commits(w->mem);
	for (int i = 0; i < 1000; i++)
		world_turn(w);
	assert_int_equal(mem_store_calls(w->mem), calls);
	/* The clock is saved once a minute. */
	world_pass(w, 10 * MINUTE);
	assert_in_range(mem_store_commits(w->mem) - commits, 9, 11);
	world_free(w);
}

static void settled_messages_are_forgotten_after_the_retention(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_finish(w, &w->jobs[0], "250 2.0.0 ok");
	world_pass(w, 7 * DAY - HOUR);
	assert_non_null(mem_store_message(w->mem, 7));
	world_pass(w, 2 * HOUR);
	assert_null(mem_store_message(w->mem, 7));
	world_free(w);
}

/* ---- outcomes --------------------------------------------------------------------------------------------------- */

static void a_deferred_recipient_is_tried_again_when_due(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@one.test");
	world_turn(w);
	world_outcome(w, &w->jobs[0], 0, "250 2.0.0 ok");
	world_outcome(w, &w->jobs[0], 1, "451 4.3.0 later");
	queue_engine_job_done(w->e, 1, w->jobs[0].job);
	w->jobs[0].done = true;
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_rcpt(w, 7, 1)->row.state, STORE_WAITING);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DEFERRED), 1);
	world_pass(w, 4 * MINUTE);
	assert_int_equal(w->job_n, 1);
	world_pass(w, 2 * MINUTE);
	assert_int_equal(w->job_n, 2);
	assert_int_equal(w->jobs[1].count, 1);
	assert_int_equal(w->jobs[1].n[0], 1);
	world_finish(w, &w->jobs[1], "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(mem_store_message(w->mem, 7)->row.open, 0);
	assert_int_equal(world_reports(w, 7), 0);
	world_free(w);
}

static void a_courier_that_dies_leaves_its_mail_ambiguous_and_due_soon(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@one.test");
	world_turn(w);
	world_outcome(w, &w->jobs[0], 0, "250 2.0.0 ok");
	queue_engine_courier_down(w->e, 1);
	w->jobs[0].done = true;
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	const struct store_rcpt *row = &world_rcpt(w, 7, 1)->row;
	assert_int_equal(row->state, STORE_WAITING);
	assert_int_equal(row->attempts, 1);
	assert_true(row->last.ambiguous);
	assert_int_equal(row->last.stage, SMTP_STAGE_END);
	assert_slice(row->last.text, "the delivering process died");
	assert_int_equal(queue_engine_under_way(w->e), 0);
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	world_pass(w, 10 * SECOND);
	assert_int_equal(w->job_n, 2);
	world_free(w);
}

static void a_job_that_ends_without_all_outcomes_defers_the_rest(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@one.test");
	world_turn(w);
	world_outcome(w, &w->jobs[0], 1, "250 2.0.0 ok");
	queue_engine_job_done(w->e, 1, w->jobs[0].job);
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_WAITING);
	assert_int_equal(world_rcpt(w, 7, 1)->row.state, STORE_DELIVERED);
	assert_int_equal(queue_engine_under_way(w->e), 0);
	world_free(w);
}

static void made_up_words_of_couriers_change_nothing(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct world_job forged;

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	forged = w->jobs[0];
	forged.courier = 2; /* not his job */
	world_outcome(w, &forged, 0, "550 5.1.1 no");
	queue_engine_job_done(w->e, 2, forged.job);
	forged.id = 99; /* no such message */
	world_outcome(w, &forged, 0, "550 5.1.1 no");
	forged = w->jobs[0], forged.n[0] = 5; /* no such recipient */
	world_outcome(w, &forged, 0, "550 5.1.1 no");
	queue_engine_job_done(w->e, 1, 12345);
	world_put(w, 8, "a@b.test", "x@one.test");
	forged = w->jobs[0], forged.id = 8; /* not committed yet */
	world_outcome(w, &forged, 0, "550 5.1.1 no");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_CLAIMED);
	assert_int_equal(world_rcpt(w, 8, 0)->row.state, STORE_CLAIMED);
	world_finish(w, world_job_of(w, 7), "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_rcpt(w, 7, 0)->row.attempts, 1);
	world_free(w);
}

static void the_first_outcome_counts(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_outcome(w, &w->jobs[0], 0, "250 2.0.0 ok");
	world_outcome(w, &w->jobs[0], 0, "550 5.1.1 no");
	world_finish(w, &w->jobs[0], "550 5.1.1 no");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_rcpt(w, 7, 0)->row.attempts, 1);
	assert_int_equal(world_reports(w, 7), 0);
	world_free(w);
}

static void a_status_that_contradicts_its_verdict_is_mended(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct queue_outcome o = {.id = 7, .outcome = {.verdict = SMTP_DEFERRED, .code = 451, .status = {5, 1, 1}}};

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	o.job = w->jobs[0].job;
	queue_engine_outcome(w->e, 1, &o);
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_WAITING);
	assert_int_equal(world_rcpt(w, 7, 0)->row.last.status.klass, 4);
	world_free(w);
}

/* ---- restarts --------------------------------------------------------------------------------------------------- */

static void after_a_crash_everything_accepted_goes_out(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_put(w, 8, "a@b.test", "x@two.test l@local.test");
	world_turn(w);
	world_put(w, 9, "a@b.test", "x@one.test"); /* never answered */
	world_crash(w);
	assert_null(mem_store_message(w->mem, 9));
	world_pass(w, SECOND);
	assert_int_equal(world_open_jobs(w), 3);
	for (struct world_job *job; (job = world_open_job(w)) != NULL;)
		world_finish(w, job, "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(mem_store_message(w->mem, 7)->row.open + mem_store_message(w->mem, 8)->row.open, 0);
	world_free(w);
}

static void the_word_of_a_courier_outlives_the_queue(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	struct world_job old = w->jobs[0];
	old.job = 0;
	world_crash(w);
	world_outcome(w, &old, 0, "250 2.0.0 ok");
	world_pass(w, MINUTE);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DELIVERED), 1);
	world_free(w);
}

static bool has_note(const struct mem_message *m, const char *start)
{
	for (size_t i = 0; i < m->history_n; i++)
		if (m->history[i].event == STORE_EVENT_NOTE && strncmp(m->history[i].text, start, strlen(start)) == 0)
			return true;
	return false;
}

static void a_late_word_about_what_is_under_way_anew_is_noted(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	struct world_job old = w->jobs[0];
	old.job = 0;
	world_crash(w);
	world_pass(w, SECOND);
	struct world_job *again = world_job_of(w, 7);
	assert_non_null(again);
	world_outcome(w, &old, 0, "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_CLAIMED);
	assert_true(has_note(mem_store_message(w->mem, 7), "a former attempt ended late: delivered, 250"));
	world_finish(w, again, "250 2.0.0 ok");
	world_turn(w);
	/* And once more when all is over. */
	world_outcome(w, &old, 0, "451 4.3.0 later");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_true(has_note(mem_store_message(w->mem, 7), "a former attempt ended late: deferred, 451"));
	world_free(w);
}

/* Else it would be delivered a third time, with the second known. */
static void a_late_250_counts_when_the_attempt_under_way_comes_to_nothing(void **state)
{
	(void)state;

	for (int held_back = 0; held_back < 2; held_back++) {
		struct world *w = world_new();

		world_put(w, 7, "a@b.test", "x@one.test y@one.test");
		world_turn(w);
		struct world_job old = w->jobs[0];
		old.job = 0;
		world_crash(w);
		world_pass(w, SECOND);
		struct world_job again = *world_job_of(w, 7);
		if (held_back) /* its own word is there, and waits for the other recipient's */
			world_outcome(w, &again, 0, "451 4.3.0 later");
		world_outcome(w, &old, 0, "250 2.0.0 ok");
		world_turn(w);
		if (!held_back)
			world_outcome(w, &again, 0, "451 4.3.0 later");
		world_outcome(w, &again, 1, "250 2.0.0 ok");
		queue_engine_job_done(w->e, 1, again.job);
		world_pass(w, MINUTE);
		assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
		assert_int_equal(world_count_events(w, QUEUE_EVENT_DELIVERED), 2);
		assert_int_equal(world_count_events(w, QUEUE_EVENT_DEFERRED), 0);
		assert_true(has_note(mem_store_message(w->mem, 7), "a former attempt ended late: delivered, 250"));
		assert_true(has_note(mem_store_message(w->mem, 7), "another attempt ended: deferred, 451"));
		world_free(w);
	}
}

static void a_late_word_about_what_waits_in_memory_is_a_fact(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct world_job old = {.courier = 1, .id = 7};

	queue_engine_courier_down(w->e, 1);
	world_put(w, 7, "a@b.test", "x@one.test y@one.test");
	world_turn(w);
	world_outcome(w, &old, 0, "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(w->jobs[0].count, 1);
	assert_int_equal(w->jobs[0].n[0], 1);
	world_free(w);
}

static void an_orderly_end_puts_back_what_nobody_has(void **state)
{
	(void)state;
	struct world *w = world_new();

	queue_engine_courier_down(w->e, 2);
	world_put(w, 7, "a@b.test", "x@one.test l@local.test");
	world_turn(w);
	queue_engine_drain(w->e);
	world_put(w, 8, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(world_rcpt(w, 8, 0)->row.state, STORE_WAITING);
	assert_int_equal(queue_engine_under_way(w->e), 1);
	queue_engine_free(w->e, w->times);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_CLAIMED);
	assert_int_equal(world_rcpt(w, 7, 1)->row.state, STORE_WAITING);
	assert_int_equal(world_rcpt(w, 7, 1)->row.attempts, 0);
	assert_true(mem_store_clock(w->mem).n > 0);
	world_engine_up(w);
	world_free(w);
}

/* ---- configuration ---------------------------------------------------------------------------------------------- */

static void everything_to_a_smart_host(const void *arg, struct slice address, struct route *ret)
{
	(void)arg;
	(void)address;
	*ret = (struct route){.kind = ROUTE_SMTP, .site = SLICE("smarthost"), .hosts = SLICE("smarthost")};
}

static void a_new_configuration_finds_new_ways(void **state)
{
	(void)state;
	struct world *w = world_new();

	queue_engine_courier_down(w->e, 1);
	queue_engine_courier_down(w->e, 2);
	world_put(w, 7, "a@b.test", "x@one.test y@two.test l@local.test");
	world_turn(w);
	w->config.router.route = everything_to_a_smart_host;
	queue_engine_configure(w->e, &w->config);
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	queue_engine_courier_up(w->e, 2, QUEUE_COURIER_MAILBOX);
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(w->jobs[0].count, 3);
	assert_string_equal(w->jobs[0].site, "smarthost");
	world_free(w);
}

/* ---- operators -------------------------------------------------------------------------------------------------- */

static size_t operate(struct world *w, enum queue_verb verb, struct store_filter filter, size_t *busy)
{
	struct store_cursor cursor = {0};
	size_t all = 0, count, some_busy;

	*busy = 0;
	while (!cursor.end) {
		assert_int_equal(queue_engine_operate(w->e, verb, &filter, &cursor, 2, &count, &some_busy), STORE_OK);
		assert_true(count <= 2);
		all += count;
		*busy += some_busy;
	}
	world_turn(w);
	return all;
}

static const struct store_filter any = {.state = -1};

static void operators_hold_and_release(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t busy;

	queue_engine_courier_down(w->e, 1);
	world_put(w, 7, "a@b.test", "x@one.test l@local.test");
	world_put(w, 8, "c@d.test", "y@one.test");
	world_turn(w);
	/* l@local.test is under way. */
	assert_int_equal(operate(w, QUEUE_HOLD, any, &busy), 2);
	assert_int_equal(busy, 1);
	assert_int_equal(operate(w, QUEUE_HOLD, any, &busy), 0);
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	world_pass(w, DAY);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(operate(w, QUEUE_RETRY, any, &busy), 0);
	struct store_filter one = {.state = -1, .sender = SLICE("@D.test")};
	assert_int_equal(operate(w, QUEUE_RELEASE, one, &busy), 1);
	assert_int_equal(w->job_n, 2);
	assert_int_equal(w->jobs[1].id, 8);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_HELD);
	world_free(w);
}

static void a_route_holds_what_comes_until_it_is_released(void **state)
{
	(void)state;
	struct world *w = world_new();
	enum store_result result;
	size_t busy;

	world_put(w, 7, "a@b.test", "x@held.test");
	world_put(w, 8, "a@b.test", "y@one.test z@Held.Test");
	world_turn(w);
	assert_true(world_answered(w, 7, &result) && result == STORE_OK);
	assert_true(world_answered(w, 8, &result) && result == STORE_OK);
	world_pass(w, MINUTE);
	/* Who goes elsewhere does not wait with them. */
	assert_int_equal(w->job_n, 1);
	assert_string_equal(w->jobs[0].rcpt[0], "y@one.test");
	world_finish(w, &w->jobs[0], "250 2.0.0 ok");
	/* Neither warned of nor returned. */
	world_pass(w, 6 * DAY);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(world_reports(w, 7) + world_reports(w, 8), 0);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_HELD);
	assert_int_equal(world_rcpt(w, 8, 1)->row.state, STORE_HELD);
	struct store_filter seven = {.state = -1, .id = 7};
	assert_int_equal(operate(w, QUEUE_RELEASE, seven, &busy), 1);
	assert_int_equal(w->job_n, 2);
	assert_int_equal(w->jobs[1].id, 7);
	world_finish(w, &w->jobs[1], "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(world_rcpt(w, 8, 1)->row.state, STORE_HELD);
	world_free(w);
}

static void operators_remove_without_a_report(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t busy;

	queue_engine_courier_down(w->e, 1);
	world_put(w, 7, "a@b.test", "x@one.test y@two.test");
	world_turn(w);
	struct store_filter two = {.state = -1, .recipient = SLICE("@two.test")};
	assert_int_equal(operate(w, QUEUE_REMOVE, two, &busy), 1);
	assert_int_equal(world_rcpt(w, 7, 1)->row.state, STORE_REMOVED);
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	assert_int_equal(w->jobs[0].n[0], 0);
	assert_int_equal(world_reports(w, 7), 0);
	world_free(w);
}

static void operators_bounce_with_one_report(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t busy;

	queue_engine_courier_down(w->e, 1);
	world_put(w, 7, "a@b.test", "x@one.test y@two.test");
	world_turn(w);
	assert_int_equal(operate(w, QUEUE_BOUNCE, any, &busy), 2);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
	assert_int_equal(world_rcpt(w, 7, 1)->row.state, STORE_FAILED);
	assert_int_equal(world_rcpt(w, 7, 1)->row.attempts, 0);
	assert_int_equal(world_reports(w, 7), 1);
	assert_true(world_report_says(world_report(w, 7, 0), "Status: 5.7.0"));
	assert_true(world_report_says(world_report(w, 7, 0), "operator"));
	world_free(w);
}

static void operators_bounce_what_waits_in_the_store(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t busy;

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_finish(w, &w->jobs[0], "451 4.3.0 later");
	world_turn(w);
	assert_int_equal(operate(w, QUEUE_BOUNCE, any, &busy), 1);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
	assert_int_equal(world_reports(w, 7), 1);
	world_free(w);
}

static void operators_retry_at_once(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t busy;

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_finish(w, &w->jobs[0], "451 4.3.0 later");
	world_turn(w);
	assert_int_equal(operate(w, QUEUE_RETRY, any, &busy), 1);
	assert_int_equal(w->job_n, 2);
	assert_int_equal(world_rcpt(w, 7, 0)->row.attempts, 1);
	assert_int_equal(operate(w, QUEUE_RETRY, any, &busy), 0);
	world_free(w);
}

static void a_hold_outlives_the_attempt_of_a_former_life(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t busy;

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	struct world_job old = w->jobs[0];
	old.job = 0;
	world_crash(w);
	assert_int_equal(operate(w, QUEUE_HOLD, any, &busy), 1);
	world_outcome(w, &old, 0, "451 4.3.0 later");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_HELD);
	assert_int_equal(world_rcpt(w, 7, 0)->row.attempts, 1);
	world_free(w);
}

static void a_text_that_says_later_decides_over_a_5yz(void **state)
{
	(void)state;
	static const struct {
		const char *words;
		enum store_state next;
	} rows[] = {
		{"550 5.7.1 Greylisted, please try again in 5 minutes", STORE_WAITING},
		{"550 5.1.1 no such user", STORE_FAILED},
		{"450 4.1.1 no such user", STORE_WAITING},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world *w = world_new();
		world_put(w, 7, "a@b.test", "x@one.test");
		world_turn(w);
		world_finish(w, &w->jobs[0], rows[i].words);
		world_turn(w);
		assert_int_equal(world_rcpt(w, 7, 0)->row.state, rows[i].next);
		assert_int_equal(world_rcpt(w, 7, 0)->row.last.status.klass, rows[i].next == STORE_WAITING ? 4 : 5);
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_text_that_says_later_decides_over_a_5yz),
		cmocka_unit_test(a_message_is_answered_and_handed_out_by_the_turn_that_commits_it),
		cmocka_unit_test(recipients_of_one_site_form_one_job),
		cmocka_unit_test(without_couriers_mail_waits),
		cmocka_unit_test(what_does_not_fit_the_window_waits_in_the_store_and_follows),
		cmocka_unit_test(a_body_that_is_not_kept_comes_from_the_store),
		cmocka_unit_test(a_damaged_message_is_held_and_said),
		cmocka_unit_test(what_a_courier_finds_damaged_is_held),
		cmocka_unit_test(an_unreadable_body_is_tried_later),
		cmocka_unit_test(puts_that_make_no_sense_are_refused_alone),
		cmocka_unit_test(an_idle_turn_does_not_ask_the_store),
		cmocka_unit_test(settled_messages_are_forgotten_after_the_retention),
		cmocka_unit_test(a_deferred_recipient_is_tried_again_when_due),
		cmocka_unit_test(a_courier_that_dies_leaves_its_mail_ambiguous_and_due_soon),
		cmocka_unit_test(a_job_that_ends_without_all_outcomes_defers_the_rest),
		cmocka_unit_test(made_up_words_of_couriers_change_nothing),
		cmocka_unit_test(the_first_outcome_counts),
		cmocka_unit_test(a_status_that_contradicts_its_verdict_is_mended),
		cmocka_unit_test(after_a_crash_everything_accepted_goes_out),
		cmocka_unit_test(the_word_of_a_courier_outlives_the_queue),
		cmocka_unit_test(a_late_word_about_what_is_under_way_anew_is_noted),
		cmocka_unit_test(a_late_250_counts_when_the_attempt_under_way_comes_to_nothing),
		cmocka_unit_test(a_late_word_about_what_waits_in_memory_is_a_fact),
		cmocka_unit_test(an_orderly_end_puts_back_what_nobody_has),
		cmocka_unit_test(a_new_configuration_finds_new_ways),
		cmocka_unit_test(operators_hold_and_release),
		cmocka_unit_test(a_route_holds_what_comes_until_it_is_released),
		cmocka_unit_test(operators_remove_without_a_report),
		cmocka_unit_test(operators_bounce_with_one_report),
		cmocka_unit_test(operators_bounce_what_waits_in_the_store),
		cmocka_unit_test(operators_retry_at_once),
		cmocka_unit_test(a_hold_outlives_the_attempt_of_a_former_life),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
