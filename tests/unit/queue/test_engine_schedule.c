#include "test.h"

#include "world.h"

/* ---- fairness --------------------------------------------------------------------------------------------------- */

static void one_site_with_ten_thousand_does_not_delay_another(void **state)
{
	(void)state;
	struct world *w = world_new();
	char rcpts[2000];
	uint64_t tag = 1;

	for (int k = 0; k < 100; k++) {
		rcpts[0] = '\0';
		size_t n = 0;
		for (int i = 0; i < 100; i++)
			n = world_words(rcpts, sizeof rcpts, n, "%sr%d@big.test", i ? " " : "", i);
		world_put(w, tag++, "a@b.test", rcpts);
	}
	world_turn(w);
	size_t before = w->job_n;
	assert_true(before <= 10);
	/* Memory is for others, too. */
	world_put(w, 9999, "c@d.test", "x@small.test");
	world_turn(w);
	assert_non_null(world_job_of(w, 9999));
	world_free(w);
}

/* Serves one job after the other at once; the order in which messages were handed out is the order of w->jobs. */
static void serve(struct world *w, size_t jobs)
{
	for (size_t i = 0; i < jobs; i++) {
		struct world_job *oldest = NULL;
		for (size_t k = 0; k < w->job_n && !oldest; k++)
			oldest = w->jobs[k].done ? NULL : &w->jobs[k];
		if (oldest)
			world_finish(w, oldest, "250 2.0.0 ok");
		world_turn(w);
	}
}

static void one_sender_of_many_does_not_delay_another(void **state)
{
	(void)state;
	struct world *w = world_new();

	w->config.site_connections = w->config.site_connections_max = 1;
	w->config.jobs_per_connection = 1;
	queue_engine_configure(w->e, &w->config);
	for (msg_id id = 1; id <= 60; id++)
		world_put(w, id, "bulk@b.test", "x@one.test");
	world_put(w, 100, "single@d.test", "y@one.test");
	world_turn(w);
	serve(w, 3);
	size_t place = 0;
	while (place < w->job_n && w->jobs[place].id != 100)
		place++;
	assert_true(place <= 2);
	world_free(w);
}

static void sites_take_turns(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_meet(w, "x@one.test x@two.test x@three.test");
	queue_engine_courier_down(w->e, 1);
	for (msg_id id = 1; id <= 30; id++)
		world_put(w, id, "a@b.test", id <= 20 ? "x@one.test" : id <= 25 ? "x@two.test" : "x@three.test");
	world_turn(w);
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	world_turn(w);
	/* Ten of one.test are its window; the first nine jobs are of each site in turn. */
	for (size_t i = 0; i + 3 <= 9; i += 3) {
		assert_string_not_equal(w->jobs[i].site, w->jobs[i + 1].site);
		assert_string_not_equal(w->jobs[i + 1].site, w->jobs[i + 2].site);
		assert_string_not_equal(w->jobs[i].site, w->jobs[i + 2].site);
	}
	world_free(w);
}

static void a_full_window_leaves_room_for_new_sites(void **state)
{
	(void)state;
	struct world *w = world_new();
	char rcpt[40];

	w->config.window_rcpts = 400;
	queue_engine_configure(w->e, &w->config);
	/* Slow sites that take all they may. */
	for (msg_id id = 1; id <= 2000; id++) {
		world_words(rcpt, sizeof rcpt, 0, "x@slow%u.test", (unsigned)(id % 20));
		world_put(w, id, "a@b.test", rcpt);
	}
	world_turn(w);
	world_pass(w, 10 * SECOND);
	size_t before = w->job_n;
	world_put(w, 5000, "a@b.test", "x@new.test");
	world_turn(w);
	assert_int_equal(w->job_n, before + 1);
	assert_int_equal(w->jobs[before].id, 5000);
	world_free(w);
}

/* ---- windows ---------------------------------------------------------------------------------------------------- */

static void jobs_under_way_keep_to_the_window(void **state)
{
	(void)state;
	struct world *w = world_new();
	size_t most = 0;

	world_meet(w, "x@one.test");
	for (msg_id id = 1; id <= 500; id++)
		world_put(w, id, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 10); /* 5 connections, 2 jobs each */
	assert_int_equal(w->jobs[0].connections, 5);
	for (int i = 0; i < 400; i++) {
		serve(w, 1);
		size_t open = world_open_jobs(w);
		most = open > most ? open : most;
		assert_true(open <= 40);
	}
	assert_int_equal(most, 40); /* grown to 20 connections */
	world_free(w);
}

static void maildirs_are_not_counted_as_connections(void **state)
{
	(void)state;
	struct world *w = world_new();

	for (msg_id id = 1; id <= 200; id++)
		world_put(w, id, "a@b.test", "x@local.test");
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 200);
	world_free(w);
}

static void a_courier_has_no_more_jobs_than_it_may(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_meet(w, "x@one.test y@two.test");
	w->config.courier_jobs_max = 7;
	queue_engine_configure(w->e, &w->config);
	for (msg_id id = 1; id <= 20; id++)
		world_put(w, id, "a@b.test", "x@one.test y@two.test");
	world_turn(w);
	assert_int_equal(world_open_jobs(w), 7);
	world_free(w);
}

static void couriers_share_jobs_and_connections(void **state)
{
	(void)state;
	struct world *w = world_new();
	unsigned jobs[4] = {0}, connections[4] = {0};

	world_meet(w, "x@one.test");
	queue_engine_courier_up(w->e, 3, QUEUE_COURIER_SENDER);
	for (msg_id id = 1; id <= 20; id++)
		world_put(w, id, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(w->job_n, 10);
	for (size_t i = 0; i < w->job_n; i++) {
		jobs[w->jobs[i].courier]++;
		connections[w->jobs[i].courier] = w->jobs[i].connections;
	}
	assert_int_equal(jobs[1], 5);
	assert_int_equal(jobs[3], 5);
	assert_int_equal(connections[1] + connections[3], 5);
	world_free(w);
}

/* Who is not taken has to know it, or it would wait for jobs for ever. */
static void a_courier_that_is_not_taken_is_told(void **state)
{
	(void)state;
	struct world *w = world_new();

	for (uint32_t id = 3; id <= QUEUE_COURIERS_MAX; id++)
		assert_true(queue_engine_courier_up(w->e, id, QUEUE_COURIER_SENDER));
	assert_false(queue_engine_courier_up(w->e, 1000, QUEUE_COURIER_SENDER));
	queue_engine_courier_down(w->e, 3);
	assert_true(queue_engine_courier_up(w->e, 1000, QUEUE_COURIER_SENDER));
	world_free(w);
}

static void a_window_of_one_has_one_courier(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_meet(w, "x@one.test");
	w->config.site_connections = w->config.site_connections_max = 1;
	w->config.jobs_per_connection = 8;
	queue_engine_configure(w->e, &w->config);
	queue_engine_courier_up(w->e, 3, QUEUE_COURIER_SENDER);
	for (msg_id id = 1; id <= 8; id++)
		world_put(w, id, "a@b.test", "x@one.test");
	world_turn(w);
	assert_int_equal(w->job_n, 8);
	for (size_t i = 1; i < 8; i++)
		assert_int_equal(w->jobs[i].courier, w->jobs[0].courier);
	world_free(w);
}

/* ---- dead sites ------------------------------------------------------------------------------------------------- */

struct dead {
	bool alive;
	size_t attempts;
};

static void on_job(struct world *w, struct world_job *job)
{
	struct dead *d = w->arg;

	if (strcmp(job->site, "dead.test") == 0)
		d->attempts++;
}

static void answer_all(struct world *w, const struct dead *d)
{
	for (struct world_job *job; (job = world_open_job(w)) != NULL;)
		world_finish(w, job,
			     d->alive || strcmp(job->site, "dead.test") != 0 ? "250 2.0.0 ok" : "!4.4.1 refused");
}

static bool find_dead(void *arg, const struct queue_site_view *v)
{
	if (slice_eq(v->site, SLICE("dead.test")))
		*(struct queue_site_view *)arg = *v;
	return true;
}

static void a_dead_site_is_paused_not_hammered_and_comes_back(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct dead d = {0};
	struct queue_site_view view = {0};

	w->on_job = on_job;
	w->arg = &d;
	for (msg_id id = 1; id <= 100; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (int i = 0; i < 10; i++) {
		world_turn(w);
		answer_all(w, &d);
	}
	world_turn(w);
	queue_engine_sites(w->e, find_dead, &view);
	assert_in_range(view.paused, 20 * SECOND, 40 * SECOND);
	assert_slice(view.last.text, "refused");
	struct queue_site_view same = {0};
	assert_true(queue_engine_site(w->e, queue_site_hash(SLICE("dead.test")), &same));
	assert_int_equal(same.paused, view.paused);
	assert_false(queue_engine_site(w->e, queue_site_hash(SLICE("unheard.test")), &same));
	/* 10 + 4 + 2 jobs met the dead site before it was paused; the rest waits without an attempt. */
	assert_true(d.attempts <= 20);
	unsigned untried = 0;
	for (msg_id id = 1; id <= 100; id++) {
		assert_int_equal(world_rcpt(w, id, 0)->row.state, STORE_WAITING);
		untried += world_rcpt(w, id, 0)->row.attempts == 0;
	}
	assert_true(untried >= 80);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DEFERRED), d.attempts);
	/* An hour of death: about one probe for each pause, so nine or ten. */
	size_t before = d.attempts;
	for (int i = 0; i < 3600; i++) {
		world_pass(w, SECOND);
		answer_all(w, &d);
	}
	assert_in_range(d.attempts - before, 5, 12);
	/* Life returns: all is delivered within the longest pause and its spread. */
	d.alive = true;
	for (int i = 0; i < 7200; i++) {
		world_pass(w, SECOND);
		answer_all(w, &d);
	}
	world_turn(w);
	for (msg_id id = 1; id <= 100; id++)
		assert_int_equal(world_rcpt(w, id, 0)->row.state, STORE_DELIVERED);
	world_free(w);
}

/* A site that takes dozens in a millisecond gets 3,000 at once: none waits for ten seconds because they were too
 * many at first. */
static void a_burst_for_a_fast_site_goes_at_its_pace(void **state)
{
	(void)state;
	const msg_id count = 3000;
	struct world *w = world_new();
	struct dead d = {.alive = true};

	world_meet(w, "x@fast.test");
	w->config.window_rcpts = 2000;
	queue_engine_configure(w->e, &w->config);
	w->on_job = on_job;
	w->arg = &d;
	for (msg_id id = 1; id <= count; id++)
		world_put(w, id, "a@b.test", "x@fast.test");
	for (int i = 0; i < 4000; i++) {
		world_pass(w, 1);
		answer_all(w, &d);
	}
	for (msg_id id = 1; id <= count; id++)
		assert_int_equal(world_rcpt(w, id, 0)->row.state, STORE_DELIVERED);
	world_free(w);
}

/* It waits in the store from its first commit: no second one takes it out of memory again. */
static void a_message_for_a_paused_site_costs_one_commit(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct dead d = {0};

	w->on_job = on_job;
	w->arg = &d;
	for (msg_id id = 1; id <= 100; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (int i = 0; i < 10; i++) {
		world_turn(w);
		answer_all(w, &d);
	}
	world_turn(w);
	size_t before = mem_store_commits(w->mem);
	world_put(w, 101, "a@b.test", "x@dead.test");
	for (int i = 0; i < 5; i++)
		world_turn(w);
	assert_int_equal(mem_store_commits(w->mem) - before, 1);
	assert_int_equal(world_rcpt(w, 101, 0)->row.state, STORE_WAITING);
	assert_in_range(world_rcpt(w, 101, 0)->row.due - queue_engine_now(w->e), 10 * SECOND, 3 * MINUTE);
	world_free(w);
}

static void after_a_pause_the_site_is_not_run_over(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct dead d = {0};

	w->on_job = on_job;
	w->arg = &d;
	for (msg_id id = 1; id <= 300; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (int i = 0; i < 10; i++) {
		world_turn(w);
		answer_all(w, &d);
	}
	size_t most = 0;
	bool first = true;
	for (int i = 0; i < 600; i++) {
		world_pass(w, SECOND);
		size_t open = world_open_jobs(w);
		if (open > 0 && first) {
			assert_int_equal(open, 1);
			first = false;
		}
		most = open > most ? open : most;
		struct world_job *job = world_open_job(w);
		if (job)
			world_finish(w, job, "250 2.0.0 ok");
	}
	assert_false(first);
	assert_true(most <= 40);
	world_free(w);
}

static void an_operator_opens_a_paused_site(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct dead d = {0};
	struct store_filter any = {.state = -1};
	struct store_cursor cursor = {0};
	size_t count, busy;

	for (msg_id id = 1; id <= 50; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (int i = 0; i < 10; i++) {
		world_turn(w);
		answer_all(w, &d);
	}
	world_turn(w);
	size_t before = w->job_n;
	assert_int_equal(queue_engine_operate(w->e, QUEUE_RETRY, &any, &cursor, 1000, &count, &busy), STORE_OK);
	assert_int_equal(count, 50);
	world_turn(w);
	assert_int_equal(w->job_n, before + 1);
	d.alive = true;
	for (int i = 0; i < 60; i++) {
		answer_all(w, &d);
		world_turn(w);
	}
	for (msg_id id = 1; id <= 50; id++)
		assert_int_equal(world_rcpt(w, id, 0)->row.state, STORE_DELIVERED);
	world_free(w);
}

static void a_dead_site_does_not_delay_the_living(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct dead d = {0};
	size_t late = 0;

	for (msg_id id = 1; id <= 3000; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (int i = 0; i < 10; i++) {
		world_turn(w);
		answer_all(w, &d);
	}
	for (msg_id id = 5001; id <= 5060; id++) {
		world_put(w, id, "a@b.test", "x@alive.test");
		world_turn(w);
		late += world_job_of(w, id) == NULL;
		answer_all(w, &d);
		world_pass(w, 10 * SECOND);
	}
	assert_int_equal(late, 0);
	world_free(w);
}

static size_t count_claimed(struct world *w, msg_id most)
{
	size_t n = 0;

	for (msg_id id = 1; id <= most; id++)
		n += world_rcpt(w, id, 0)->row.state == STORE_CLAIMED;
	return n;
}

static struct world *world_with_many(msg_id count)
{
	struct world *w = world_new();

	w->config.window_rcpts = 20000;
	w->config.courier_jobs_max = 20000;
	queue_engine_configure(w->e, &w->config);
	for (msg_id id = 1; id <= count; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	world_turn(w);
	assert_int_equal(count_claimed(w, count), count);
	return w;
}

/* What a turn may cost is bounded, whatever the site that dies had in memory. */
static void thousands_of_a_site_that_dies_go_a_part_in_each_turn(void **state)
{
	(void)state;
	const msg_id count = 4000;
	struct world *w = world_with_many(count);
	struct dead d = {0};
	size_t left = count, turns = 0;

	for (; left > 0 && turns < 50; turns++) {
		answer_all(w, &d);
		world_put(w, count + 1 + turns, "a@b.test", "x@alive.test");
		world_turn(w);
		assert_non_null(world_job_of(w, count + 1 + turns));
		size_t now = count_claimed(w, count);
		assert_in_range(left - now, 0, 1000);
		left = now;
	}
	assert_int_equal(left, 0);
	assert_in_range(turns, 4, 12);
	world_free(w);
}

static void a_stop_puts_all_back_however_many_they_are(void **state)
{
	(void)state;
	const msg_id count = 4000;
	static const enum store_result trouble[] = {STORE_OK, STORE_FULL};

	for (size_t k = 0; k < sizeof trouble / sizeof *trouble; k++) {
		struct world *w = world_with_many(count);
		struct dead d = {.alive = true};

		answer_all(w, &d);
		mem_store_fail(w->mem, MEM_COMMIT, trouble[k], 0, 1);
		queue_engine_free(w->e, w->times);
		w->e = NULL;
		assert_int_equal(count_claimed(w, count), 0);
		world_free(w);
	}
}

static void a_report_is_not_torn_where_a_turn_ends(void **state)
{
	(void)state;
	struct world *w = world_new();

	/* None of so many new sites waits for another. */
	w->config.courier_jobs_max = 20000;
	w->config.courier_connections_max = 20000;
	w->config.window_rcpts = 20000;
	queue_engine_configure(w->e, &w->config);
	for (msg_id id = 1; id <= 999; id++) {
		char to[40];
		world_words(to, sizeof to, 0, "x@s%u.test", (unsigned)id);
		world_put(w, id, "a@b.test", to);
	}
	world_put(w, 1000, "a@b.test", "x@bad.test y@bad.test z@bad.test");
	world_turn(w);
	for (msg_id id = 1; id <= 999; id++)
		world_finish(w, world_job_of(w, id), "250 2.0.0 ok");
	world_finish(w, world_job_of(w, 1000), "550 5.1.1 no");
	world_turn(w);
	world_turn(w);
	assert_int_equal(world_reports(w, 1000), 1);
	assert_true(world_report_says(world_report(w, 1000, 0), "z@bad.test"));
	world_free(w);
}

static void moving_what_cannot_go_costs_little(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct dead d = {0};

	for (msg_id id = 1; id <= 6000; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (int i = 0; i < 10; i++) {
		world_turn(w);
		answer_all(w, &d);
	}
	/* Thousands are due at a site that is paused: they move out of the way a few at a time. */
	size_t turns = w->turns;
	world_pass(w, 10 * SECOND);
	assert_true(w->turns - turns <= 120);
	world_free(w);
}

static void retries_of_a_dead_site_are_spread(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct dead d = {0};
	static unsigned seconds[4000];

	for (msg_id id = 1; id <= 2000; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (int i = 0; i < 30; i++) {
		world_pass(w, SECOND);
		answer_all(w, &d);
	}
	/* Where everybody stands now: due within the minutes to come, no second has a heap. */
	unsigned heap = 0, waiting = 0;
	queue_ms now = queue_engine_now(w->e);
	for (msg_id id = 1; id <= 2000; id++) {
		const struct store_rcpt *row = &world_rcpt(w, id, 0)->row;
		if (row->state != STORE_WAITING)
			continue;
		waiting++;
		int64_t second = (row->due - now) / SECOND;
		if (second >= 0 && second < 4000 && ++seconds[second] > heap)
			heap = seconds[second];
	}
	assert_true(waiting >= 1900);
	assert_true(heap <= 2000 / 60 * 3);
	world_free(w);
}

static bool has_job(const struct world *w, msg_id id)
{
	for (size_t i = 0; i < w->job_n; i++)
		if (w->jobs[i].id == id)
			return true;
	return false;
}

/* New mail for a dead site, ten messages in a second, is put back at once; what is due elsewhere goes all the same. */
static void new_mail_for_a_paused_site_keeps_nobody_waiting(void **state)
{
	(void)state;
	struct world *w = world_new();
	struct dead d = {0};
	struct queue_site_view view = {0};
	const msg_id other = 1000;

	w->on_job = on_job;
	w->arg = &d;
	for (msg_id id = 1; id <= 20; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (int i = 0; i < 10; i++) {
		world_turn(w);
		answer_all(w, &d);
	}
	queue_engine_sites(w->e, find_dead, &view);
	assert_true(view.paused > 0);
	world_put(w, other, "a@b.test", "x@other.test");
	world_turn(w);
	world_finish(w, world_open_job(w), "451 4.3.0 later");
	world_turn(w);
	size_t jobs = w->job_n;
	span_ms due = world_rcpt(w, other, 0)->row.due - queue_engine_now(w->e);
	for (span_ms at = 0; at < due + SECOND; at += 100) {
		world_put(w, other + 1 + (msg_id)(at / 100), "a@b.test", "x@dead.test");
		world_pass(w, 100);
		if (world_rcpt(w, other, 0)->row.state == STORE_CLAIMED)
			break;
		answer_all(w, &d);
	}
	assert_int_equal(world_rcpt(w, other, 0)->row.state, STORE_CLAIMED);
	assert_true(w->job_n > jobs && has_job(w, other));
	world_free(w);
}

/* Hours of death: however often they have come back, each hour finds them evenly spread. Minutes are compared, so that
 * chance does not decide. */
static void retries_stay_spread_however_long_a_site_is_dead(void **state)
{
	(void)state;
	enum { COUNT = 2500 };
	static queue_ms due[COUNT + 1];
	struct world *w = world_new();
	struct dead d = {0};

	w->config.retry.lifetime = 5 * DAY;
	w->config.retry.warn = 0;
	queue_engine_configure(w->e, &w->config);
	for (msg_id id = 1; id <= COUNT; id++)
		world_put(w, id, "a@b.test", "x@dead.test");
	for (unsigned hour = 0; hour < 5; hour++) {
		unsigned all = 0, busiest = 0;
		for (unsigned minute = 0; minute < 60; minute++) {
			unsigned count = 0;
			for (unsigned k = 0; k < 60; k++) {
				world_pass(w, SECOND);
				answer_all(w, &d);
			}
			/* Whoever waits until another time than before was taken up. */
			for (msg_id id = 1; id <= COUNT; id++) {
				queue_ms now_due = world_rcpt(w, id, 0)->row.due;
				count += now_due != due[id];
				due[id] = now_due;
			}
			all += count;
			busiest = count > busiest ? count : busiest;
		}
		/* The first two hours have the short pauses of the beginning in them. */
		if (hour >= 2)
			assert_true(busiest * 60 < 2 * all);
	}
	world_free(w);
}

/* ---- clocks ----------------------------------------------------------------------------------------------------- */

static void a_wall_clock_that_jumps_bounces_nothing_and_stalls_nothing(void **state)
{
	(void)state;
	static const span_ms jumps[] = {10 * 365 * DAY, -20 * 365 * DAY, 100 * DAY};

	for (size_t k = 0; k < sizeof jumps / sizeof *jumps; k++) {
		struct world *w = world_new();
		world_put(w, 7, "a@b.test", "x@one.test");
		world_turn(w);
		world_finish(w, &w->jobs[0], "451 4.3.0 later");
		world_turn(w);
		w->times.wall += jumps[k];
		world_pass(w, 7 * MINUTE);
		assert_int_equal(w->job_n, 2);
		world_finish(w, &w->jobs[1], "451 4.3.0 later");
		world_turn(w);
		/* And across a restart: an hour more at the most. */
		w->times.wall += jumps[k];
		world_crash(w);
		assert_in_range(queue_engine_now(w->e), 7 * MINUTE, HOUR + 8 * MINUTE);
		world_pass(w, HOUR);
		assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_CLAIMED);
		assert_int_equal(world_reports(w, 7), 0);
		world_free(w);
	}
}

static void downtime_counts_when_the_boot_clock_tells_it(void **state)
{
	(void)state;
	struct world *w = world_new();

	queue_engine_free(w->e, w->times);
	w->config.boot_id = SLICE("this-boot");
	w->times.boot = 50000;
	world_engine_up(w);
	world_put(w, 7, "a@b.test", "x@one.test/4");
	world_turn(w);
	world_finish(w, &w->jobs[0], "451 4.3.0 later");
	world_turn(w);
	queue_engine_free(w->e, w->times);
	w->times.boot += 6 * DAY;
	w->times.wall -= 365 * DAY;
	world_engine_up(w);
	world_turn(w);
	/* One last attempt, and then it is given up. */
	assert_int_equal(w->job_n, 2);
	world_finish(w, &w->jobs[1], "451 4.3.0 later");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
	assert_int_equal(world_reports(w, 7), 1);
	world_free(w);
}

static void a_damaged_clock_goes_on_from_the_newest_message(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_pass(w, 3 * DAY);
	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	queue_ms then = queue_engine_now(w->e);
	queue_engine_free(w->e, w->times);
	/* What the engine saved at its end is replaced. */
	struct slice saved = mem_store_clock(w->mem);
	char *damaged = test_exact_copy(saved);
	damaged[0]++;
	assert_int_equal(w->store->ops->clock_save(w->store, slice_of(damaged, saved.n)), STORE_OK);
	assert_int_equal(w->store->ops->commit(w->store), STORE_OK);
	free(damaged);
	world_engine_up(w);
	assert_in_range(queue_engine_now(w->e), then, then + 2 * MINUTE);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_site_with_ten_thousand_does_not_delay_another),
		cmocka_unit_test(one_sender_of_many_does_not_delay_another),
		cmocka_unit_test(sites_take_turns),
		cmocka_unit_test(a_full_window_leaves_room_for_new_sites),
		cmocka_unit_test(jobs_under_way_keep_to_the_window),
		cmocka_unit_test(maildirs_are_not_counted_as_connections),
		cmocka_unit_test(a_courier_has_no_more_jobs_than_it_may),
		cmocka_unit_test(couriers_share_jobs_and_connections),
		cmocka_unit_test(a_courier_that_is_not_taken_is_told),
		cmocka_unit_test(a_window_of_one_has_one_courier),
		cmocka_unit_test(a_dead_site_is_paused_not_hammered_and_comes_back),
		cmocka_unit_test(after_a_pause_the_site_is_not_run_over),
		cmocka_unit_test(an_operator_opens_a_paused_site),
		cmocka_unit_test(a_dead_site_does_not_delay_the_living),
		cmocka_unit_test(thousands_of_a_site_that_dies_go_a_part_in_each_turn),
		cmocka_unit_test(a_stop_puts_all_back_however_many_they_are),
		cmocka_unit_test(a_report_is_not_torn_where_a_turn_ends),
		cmocka_unit_test(moving_what_cannot_go_costs_little),
		cmocka_unit_test(a_burst_for_a_fast_site_goes_at_its_pace),
		cmocka_unit_test(a_message_for_a_paused_site_costs_one_commit),
		cmocka_unit_test(retries_of_a_dead_site_are_spread),
		cmocka_unit_test(new_mail_for_a_paused_site_keeps_nobody_waiting),
		cmocka_unit_test(retries_stay_spread_however_long_a_site_is_dead),
		cmocka_unit_test(a_wall_clock_that_jumps_bounces_nothing_and_stalls_nothing),
		cmocka_unit_test(downtime_counts_when_the_boot_clock_tells_it),
		cmocka_unit_test(a_damaged_clock_goes_on_from_the_newest_message),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
