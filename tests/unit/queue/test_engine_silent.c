/*
 * Sites where nobody answers, and what they leave to the others.
 */
#include "test.h"

#include "world.h"

#define HANGS (30 * SECOND)

static size_t open_jobs_of(struct world *w, const char *site)
{
	size_t count = 0;

	for (size_t i = 0; i < w->job_n; i++)
		count += !w->jobs[i].done && strcmp(w->jobs[i].site, site) == 0;
	return count;
}

static bool is_silent(const struct world_job *job)
{
	return strncmp(job->site, "silent", 6) == 0;
}

static size_t open_silent(struct world *w)
{
	size_t count = 0;

	for (size_t i = 0; i < w->job_n; i++)
		count += !w->jobs[i].done && is_silent(&w->jobs[i]);
	return count;
}

/* Sites that answer do so at once; attempts at others end when their time is over. */
static void end_jobs(struct world *w)
{
	for (size_t i = 0; i < w->job_n; i++) {
		struct world_job *job = &w->jobs[i];
		if (!job->done && !is_silent(job))
			world_finish(w, job, "250 2.0.0 ok");
		else if (!job->done && job->at + HANGS <= world_now(w))
			world_finish(w, job, "!!4.4.1 cannot connect: timed out");
	}
}

static void pass(struct world *w, span_ms span)
{
	for (mono_ms end = world_now(w) + span; world_now(w) < end;) {
		world_pass(w, 100);
		end_jobs(w);
	}
}

static void put_to_silent(struct world *w, msg_id first, unsigned sites)
{
	char rcpt[60];

	for (unsigned i = 0; i < sites; i++) {
		world_words(rcpt, sizeof rcpt, 0, "x@silent%u.test", (unsigned)first + i);
		world_put(w, first + i, "a@b.test", rcpt);
	}
}

static bool was_tried(const struct world *w, msg_id id)
{
	for (size_t i = 0; i < w->job_n; i++)
		if (w->jobs[i].id == id)
			return true;
	return false;
}

/* ---- one site --------------------------------------------------------------------------------------------------- */

static void a_site_has_one_job_until_it_has_answered(void **state)
{
	(void)state;
	static const struct {
		const char *words;
		size_t then;
	} rows[] = {
		{"250 2.0.0 ok", 10},
		{"451 4.3.0 later", 10},
		{"550 5.1.1 nobody", 10},
		/* It fails, which shrinks its window, but it is there, or says at once that it is not. */
		{"!421 4.3.2 busy", 4},
		{"!4.4.1 cannot connect: refused", 4},
		{"!!421 4.3.2 busy", 4},
		{"!!4.4.1 cannot connect: timed out", 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world *w = world_new();
		for (msg_id id = 1; id <= 50; id++)
			world_put(w, id, "a@b.test", "x@one.test");
		world_turn(w);
		world_pass(w, 10 * SECOND);
		assert_int_equal(open_jobs_of(w, "one.test"), 1);
		assert_int_equal(w->jobs[0].connections, 1);
		assert_true(w->jobs[0].silent);
		world_finish(w, world_open_job(w), rows[i].words);
		world_turn(w);
		assert_int_equal(open_jobs_of(w, "one.test"), rows[i].then);
		for (size_t k = 1; k < w->job_n; k++)
			assert_int_equal(w->jobs[k].silent, strcmp(w->jobs[k].site, "one.test") != 0);
		world_free(w);
	}
}

static void a_site_that_falls_silent_has_one_job_until_it_answers_again(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct queue_site_view view = {0};

	world_meet(w, "x@one.test");
	for (msg_id id = 1; id <= 100; id++)
		world_put(w, id, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 10);
	while (world_open_jobs(w) > 0)
		world_finish(w, world_open_job(w), "!!4.4.1 cannot connect: timed out");
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 1);
	world_finish(w, world_open_job(w), "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 4); /* half of its connections */
	/* Two silences in a row, and it is paused. */
	for (int i = 0; i < 2; i++) {
		while (world_open_jobs(w) > 0)
			world_finish(w, world_open_job(w), "!!4.4.1 cannot connect: timed out");
		world_turn(w);
	}
	assert_int_equal(world_open_jobs(w), 0);
	assert_true(queue_engine_site(w->e, queue_site_hash(SLICE("one.test")), &view));
	assert_true(view.paused > 0);
	world_free(w);
}

static void mailboxes_of_ours_have_nobody_to_wait_for(void **state)
{
	(void)state;
	struct world *w = world_new();

	for (msg_id id = 1; id <= 20; id++)
		world_put(w, id, "a@b.test", "x@local.test");
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 20);
	assert_false(w->jobs[0].silent);
	world_free(w);
}

/* ---- shares ----------------------------------------------------------------------------------------------------- */

static void silent_sites_have_half_of_a_courier_and_the_others_the_rest(void **state)
{
	(void)state;
	static const struct {
		unsigned jobs, connections;
		size_t most;
	} rows[] = {{40, 500, 20}, {1000, 30, 15}, {3, 3, 1}, {2, 500, 1}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world *w = world_new();
		size_t most = 0;
		w->config.courier_jobs_max = rows[i].jobs;
		w->config.courier_connections_max = rows[i].connections;
		queue_engine_configure(w->e, &w->config);
		world_meet(w, "x@alive.test");
		put_to_silent(w, 1, 200);
		for (unsigned k = 0; k < 300; k++) {
			msg_id id = 1000 + k;
			world_put(w, id, "a@b.test", "x@alive.test");
			world_turn(w);
			assert_non_null(world_job_of(w, id));
			size_t open = open_silent(w);
			most = open > most ? open : most;
			end_jobs(w);
			world_pass(w, 500);
			end_jobs(w);
		}
		assert_in_range(most, rows[i].most * 4 / 5, rows[i].most);
		world_free(w);
	}
}

static void couriers_share_silent_sites(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t of[4] = {0};

	w->config.courier_jobs_max = 80;
	queue_engine_configure(w->e, &w->config);
	queue_engine_courier_up(w->e, 3, QUEUE_COURIER_SENDER);
	put_to_silent(w, 1, 200);
	world_turn(w);
	world_pass(w, 20 * SECOND);
	for (size_t i = 0; i < w->job_n; i++)
		of[w->jobs[i].courier]++;
	assert_in_range(of[1], 30, 40);
	assert_in_range(of[3], 30, 40);
	/* What a courier had is free when it dies. */
	queue_engine_courier_down(w->e, 3);
	assert_true(queue_engine_courier_up(w->e, 3, QUEUE_COURIER_SENDER));
	size_t before = w->job_n;
	world_turn(w);
	assert_true(w->job_n >= before + 20);
	world_free(w);
}

static void sites_that_answer_leave_something_to_silent_ones(void **state)
{
	(void)state;
	struct world *w = world_new();
	char rcpt[40];

	w->config.courier_jobs_max = 40;
	queue_engine_configure(w->e, &w->config);
	for (unsigned i = 0; i < 20; i++) {
		world_words(rcpt, sizeof rcpt, 0, "x@busy%u.test", i);
		world_meet(w, rcpt);
	}
	for (unsigned i = 0; i < 20; i++) {
		world_words(rcpt, sizeof rcpt, 0, "x@busy%u.test", i);
		for (msg_id id = 1; id <= 20; id++)
			world_put(w, 1000 * (i + 1) + id, "a@b.test", rcpt);
	}
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 40);
	put_to_silent(w, 1, 30);
	world_turn(w);
	assert_int_equal(open_silent(w), 0);
	for (unsigned i = 0; i < 40; i++) {
		for (size_t k = 0; k < w->job_n; k++)
			if (!w->jobs[k].done && !is_silent(&w->jobs[k])) {
				world_finish(w, &w->jobs[k], "250 2.0.0 ok");
				break;
			}
		world_turn(w);
		assert_int_equal(world_open_jobs(w), 40);
	}
	/* A quarter of the half. */
	assert_int_equal(open_silent(w), 5);
	world_free(w);
}

/* ---- whose turn it is ------------------------------------------------------------------------------------------- */

/* Thousands were there before, and their attempts hang; whenever it comes, a site that is new is tried in a moment. */
static void a_new_site_does_not_wait_for_silent_ones(void **state)
{
	(void)state;
	struct world *w = world_new();
	span_ms longest = 0;
	char rcpt[40];

	w->config.window_rcpts = 4000;
	w->config.courier_connections_max = 200;
	queue_engine_configure(w->e, &w->config);
	put_to_silent(w, 1, 1800);
	for (unsigned k = 0; k < 40; k++) {
		msg_id id = 10000 + k;
		pass(w, 1700);
		world_words(rcpt, sizeof rcpt, 0, "x@new%u.test", k);
		world_put(w, id, "a@b.test", rcpt);
		mono_ms since = world_now(w);
		while (!was_tried(w, id) && world_now(w) < since + MINUTE)
			pass(w, 100);
		longest = world_now(w) - since > longest ? world_now(w) - since : longest;
	}
	assert_in_range(longest, 0, 5 * SECOND);
	world_free(w);
}

static void every_silent_site_has_its_turn(void **state)
{
	(void)state;
	struct world *w = world_new();
	const unsigned sites = 200;
	size_t untried = 0;

	w->config.courier_connections_max = 40;
	queue_engine_configure(w->e, &w->config);
	put_to_silent(w, 1, sites);
	pass(w, 10 * MINUTE);
	for (msg_id id = 1; id <= sites; id++)
		untried += !was_tried(w, id);
	assert_int_equal(untried, 0);
	world_free(w);
}

/* With what is left of the half it gets slower, but it is used up, and nothing asks for turns without end. */
static void the_last_quarter_is_given_out_slowly(void **state)
{
	(void)state;
	struct world *w = world_new();

	w->config.courier_connections_max = 80;
	queue_engine_configure(w->e, &w->config);
	put_to_silent(w, 1, 100);
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 30);
	world_pass(w, 5 * SECOND);
	assert_in_range(world_open_jobs(w), 31, 34);
	size_t turns = w->turns;
	world_pass(w, 10 * MINUTE);
	assert_int_equal(world_open_jobs(w), 40);
	assert_true(w->turns - turns < 100);
	world_free(w);
}

/* ---- memory ----------------------------------------------------------------------------------------------------- */

static void silent_sites_leave_half_of_the_window_of_recipients(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t late = 0;

	world_meet(w, "x@alive.test");
	put_to_silent(w, 1, 900);
	for (unsigned more = 0; more < 2; more++)
		for (unsigned i = 0; i < 900; i++) {
			char rcpt[40];
			world_words(rcpt, sizeof rcpt, 0, "y@silent%u.test", 1 + i);
			world_put(w, 2000 + 1000 * more + i, "a@b.test", rcpt);
		}
	world_turn(w);
	for (msg_id id = 10000; id < 10100; id++) {
		for (unsigned k = 0; k < 4; k++)
			world_put(w, id + 1000 * k, "a@b.test", "x@alive.test");
		world_turn(w);
		for (unsigned k = 0; k < 4; k++)
			late += !was_tried(w, id + 1000 * k);
		end_jobs(w);
		pass(w, 100);
	}
	assert_int_equal(late, 0);
	world_free(w);
}

/* A site that answers, of which nothing was known, had a thousand messages at once. */
static void what_was_put_back_while_a_site_was_new_comes_soon(void **state)
{
	(void)state;
	struct world *w = world_new();

	for (msg_id id = 1; id <= 1000; id++)
		world_put(w, id, "a@b.test", "x@alive.test");
	world_turn(w);
	pass(w, 30 * SECOND);
	for (msg_id id = 1; id <= 1000; id++)
		assert_int_equal(world_rcpt(w, id, 0)->row.state, STORE_DELIVERED);
	assert_int_equal(open_jobs_of(w, "alive.test"), 0);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_site_has_one_job_until_it_has_answered),
		cmocka_unit_test(a_site_that_falls_silent_has_one_job_until_it_answers_again),
		cmocka_unit_test(mailboxes_of_ours_have_nobody_to_wait_for),
		cmocka_unit_test(silent_sites_have_half_of_a_courier_and_the_others_the_rest),
		cmocka_unit_test(couriers_share_silent_sites),
		cmocka_unit_test(sites_that_answer_leave_something_to_silent_ones),
		cmocka_unit_test(a_new_site_does_not_wait_for_silent_ones),
		cmocka_unit_test(every_silent_site_has_its_turn),
		cmocka_unit_test(the_last_quarter_is_given_out_slowly),
		cmocka_unit_test(silent_sites_leave_half_of_the_window_of_recipients),
		cmocka_unit_test(what_was_put_back_while_a_site_was_new_comes_soon),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
