/*
 * Random walks: messages, outcomes, deaths, disk errors, missing memory, operators and jumping clocks in any order,
 * against what must always hold:
 *
 *   no answer OK before the commit that holds the message, and no job for what is not committed
 *   no recipient in two jobs at once
 *   every accepted recipient is exactly one of waiting, claimed, held, delivered, failed, removed
 *   delivered only when a courier said so; removed only by an operator; failed with exactly one report, or said why not
 *   after all troubles ended, everything ends
 */
#include "test.h"

#include "base/heap.h"
#include "world.h"

/* ---- memory that is missing now and then ------------------------------------------------------------------------ */

static unsigned heap_odds; /* one in so many allocations fails; 0 = none */
static uint64_t heap_state = 1;

static bool missing(void)
{
	heap_state = heap_state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return heap_odds > 0 && (heap_state >> 33) % heap_odds == 0;
}

void *heap_alloc(size_t size)
{
	return missing() ? NULL : calloc(1, size);
}

void *heap_array(size_t count, size_t size)
{
	return missing() ? NULL : calloc(count, size);
}

void *heap_resize(void *block, size_t size)
{
	return missing() ? NULL : realloc(block, size);
}

void heap_free(void *block)
{
	free(block);
}

/* ---- the model -------------------------------------------------------------------------------------------------- */

#define MESSAGES_MAX 4000
#define RCPTS_MAX    6

struct fate {
	bool delivered_told; /* by a courier that had it */
	bool removed_told;   /* an operator did so */
	unsigned open_jobs;
};

struct message {
	bool accepted, refused;
	bool unknown; /* the queue died before it answered: it may be there or not */
	bool null_sender;
	uint32_t count;
	uint8_t notify[RCPTS_MAX];
	struct fate fate[RCPTS_MAX];
};

struct walk {
	struct world *w;
	uint64_t state;
	struct message *m; /* by id; id 0 unused */
	msg_id next;
	size_t answers_seen;
	size_t events_seen;
	bool troubled; /* faults and deaths happen */
	size_t dropped_bounces;
};

static unsigned below(struct walk *k, unsigned n)
{
	k->state = k->state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (unsigned)((k->state >> 33) % n);
}

static void on_job(struct world *w, struct world_job *job)
{
	struct walk *k = w->arg;

	/* Jobs are handed out after the commit. */
	assert_true(mem_store_is_clean(w->mem));
	assert_non_null(mem_store_message(w->mem, job->id));
	for (size_t i = 0; i < job->count; i++)
		assert_int_equal(world_rcpt(w, job->id, job->n[i])->row.state, STORE_CLAIMED);
	for (size_t j = 0; j < w->job_n; j++) {
		const struct world_job *other = &w->jobs[j];
		if (other == job || other->done || other->id != job->id)
			continue;
		for (size_t a = 0; a < job->count; a++)
			for (size_t b = 0; b < other->count; b++)
				assert_int_not_equal(job->n[a], other->n[b]);
	}
	if (job->id < k->next)
		assert_true(k->m[job->id].accepted || k->m[job->id].unknown);
}

static void check_answers(struct walk *k)
{
	struct world *w = k->w;

	for (; k->answers_seen < w->answer_n; k->answers_seen++) {
		const struct world_answer *a = &w->answers[k->answers_seen];
		struct message *m = &k->m[a->tag];
		assert_false(m->accepted || m->refused);
		m->accepted = a->result == STORE_OK;
		m->refused = !m->accepted;
		/* Refused means that it is not there; accepted, that it is committed. */
		assert_int_equal(m->accepted, mem_store_message(w->mem, a->tag) != NULL);
	}
	for (; k->events_seen < w->event_n; k->events_seen++)
		k->dropped_bounces += w->events[k->events_seen].event.type == QUEUE_EVENT_DROPPED_BOUNCE;
}

/* Answers come before jobs, so that the model must see them as they come. */
static void turn(struct walk *k)
{
	struct world *w = k->w;
	struct queue_action a;

	w->times.random += k->state;
	queue_engine_turn(w->e, w->times);
	assert_true(mem_store_is_clean(w->mem));
	while (queue_engine_next(w->e, &a)) {
		world_take(w, &a);
		check_answers(k);
	}
}

static void pass(struct walk *k, span_ms span)
{
	struct world *w = k->w;
	mono_ms end = w->times.mono + span;
	unsigned busy = 0;

	for (mono_ms at; (at = queue_engine_deadline(w->e)) <= end;) {
		busy = at <= w->times.mono ? busy + 1 : 0;
		assert_true(busy < 1000);
		if (at > w->times.mono) {
			w->times.wall += at - w->times.mono;
			w->times.mono = at;
		}
		turn(k);
	}
	w->times.wall += end - w->times.mono;
	w->times.mono = end;
}

static void put(struct walk *k)
{
	static const char *const domains[] = {"one.test",   "two.test",  "dead.test",
					      "local.test", "lmtp.test", "x.none.test"};
	char rcpts[400] = "";
	struct message *m = &k->m[k->next];

	if (k->next == MESSAGES_MAX)
		return;
	m->count = 1 + below(k, RCPTS_MAX);
	m->null_sender = below(k, 10) == 0;
	size_t at = 0;
	for (uint32_t n = 0; n < m->count; n++) {
		m->notify[n] = (uint8_t)(below(k, 3) ? 0 : below(k, 15));
		if (m->notify[n] & MAIL_NOTIFY_NEVER)
			m->notify[n] = MAIL_NOTIFY_NEVER;
		at = world_words(rcpts, sizeof rcpts, at, "%sr%u-%u@%s/%u", n ? " " : "", (unsigned)k->next, n,
				 domains[below(k, 6)], m->notify[n]);
	}
	heap_odds = k->troubled && below(k, 4) == 0 ? 20 : 0;
	if (!world_try_put(k->w, k->next, m->null_sender ? "" : "a@back.test", rcpts))
		m->refused = true;
	heap_odds = 0;
	k->next++;
}

static const char *outcome_for(struct walk *k, const struct world_job *job)
{
	static const char *const words[] = {"250 2.0.0 ok",    "250 2.0.0 ok",   "250 2.0.0 ok",     "+250 2.0.0 ok",
					    "451 4.3.0 later", "450 4.2.2 full", "550 5.1.1 nobody", "554 5.7.1 no",
					    "?4.4.2 lost",     "!4.4.1 no route"};

	if (k->troubled && strcmp(job->site, "dead.test") == 0)
		return "!4.4.1 dead";
	return words[below(k, k->troubled ? 10 : 4)];
}

static void told(struct walk *k, const struct world_job *job, size_t i, const char *words)
{
	bool delivered = strstr(words, "250 ") != NULL;

	if (job->id < k->next && delivered)
		k->m[job->id].fate[job->n[i]].delivered_told = true;
	world_outcome(k->w, job, i, words);
}

static void end_job(struct walk *k, struct world_job *job)
{
	bool all = !k->troubled || below(k, 20) > 0;

	job->done = true;
	for (size_t i = 0; i < job->count; i++)
		if (all || below(k, 2))
			told(k, job, i, outcome_for(k, job));
	queue_engine_job_done(k->w->e, job->courier, job->job);
}

static void end_some_jobs(struct walk *k, unsigned odds)
{
	for (size_t j = 0; j < k->w->job_n; j++)
		if (!k->w->jobs[j].done && below(k, odds) == 0)
			end_job(k, &k->w->jobs[j]);
}

static void courier_dies(struct walk *k)
{
	uint32_t id = 1 + below(k, 2);

	queue_engine_courier_down(k->w->e, id);
	for (size_t j = 0; j < k->w->job_n; j++)
		if (k->w->jobs[j].courier == id)
			k->w->jobs[j].done = true;
	queue_engine_courier_up(k->w->e, id, id == 1 ? QUEUE_COURIER_SENDER : QUEUE_COURIER_MAILBOX);
}

/* A courier that outlived the queue tells what it did. */
static void queue_dies(struct walk *k)
{
	struct world_job old = {0};
	struct world_job *job = world_open_job(k->w);

	if (job)
		old = *job;
	for (msg_id id = 1; id < k->next; id++)
		k->m[id].unknown |= !k->m[id].accepted && !k->m[id].refused;
	world_crash(k->w);
	old.job = 0;
	if (job && below(k, 2))
		for (size_t i = 0; i < old.count; i++)
			told(k, &old, i, "250 2.0.0 ok");
}

static void operator_acts(struct walk *k)
{
	struct store_filter filter = {.state = -1, .id = below(k, 2) ? 1 + below(k, (unsigned)k->next) : 0};
	struct store_cursor cursor = {0};
	enum queue_verb verb = (enum queue_verb)below(k, QUEUE_VERB_MAX + 1);
	size_t count, busy;

	if (verb != QUEUE_RETRY && verb != QUEUE_RELEASE && filter.id == 0)
		filter.id = 1 + below(k, (unsigned)k->next);
	if (verb == QUEUE_REMOVE && filter.id < k->next)
		for (uint32_t n = 0; n < RCPTS_MAX; n++)
			k->m[filter.id].fate[n].removed_told = true;
	while (!cursor.end &&
	       queue_engine_operate(k->w->e, verb, &filter, &cursor, 1 + below(k, 30), &count, &busy) == STORE_OK)
		;
	check_answers(k);
}

static void trouble(struct walk *k)
{
	static const enum mem_op ops[] = {MEM_PUT,  MEM_SETTLE,    MEM_NOTE, MEM_COMMIT,   MEM_CLAIM,
					  MEM_LOAD, MEM_LOAD_RCPT, MEM_BODY, MEM_ID_BLOCK, MEM_REOPEN};
	static const enum store_result results[] = {STORE_IO, STORE_FULL, STORE_NO_MEMORY};

	mem_store_fail(k->w->mem, ops[below(k, 10)], results[below(k, 3)], below(k, 5), 1 + below(k, 3));
}

static void step(struct walk *k)
{
	switch (below(k, 16)) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
		put(k);
		break;
	case 5:
		pass(k, below(k, 3) ? below(k, 1000) : below(k, 2 * HOUR));
		break;
	case 6:
		if (k->troubled && below(k, 5) == 0)
			courier_dies(k);
		break;
	case 7:
		if (k->troubled && below(k, 10) == 0)
			queue_dies(k);
		break;
	case 8:
		if (below(k, 3) == 0)
			operator_acts(k);
		break;
	case 9:
		if (k->troubled)
			trouble(k);
		break;
	case 10:
		k->w->times.wall += (span_ms)below(k, 1000) * DAY - 500 * DAY;
		break;
	case 11:
		heap_odds = k->troubled ? 1 + below(k, 60) : 0;
		turn(k);
		heap_odds = 0;
		break;
	default:
		turn(k);
		end_some_jobs(k, 3);
		break;
	}
}

/* ---- the end ---------------------------------------------------------------------------------------------------- */

/* Reports of failure about the message that name this recipient. */
static size_t named(struct walk *k, msg_id id, uint32_t n)
{
	char line[100];
	size_t count = 0;

	snprintf(line, sizeof line, "; %.*s\r\nAction: failed", SLICE_ARGS(world_rcpt(k->w, id, n)->row.rcpt.address));
	for (size_t i = 0; world_report(k->w, id, i); i++)
		count += world_report_says(world_report(k->w, id, i), line);
	return count;
}

static void check_fate(struct walk *k, msg_id id, uint32_t n)
{
	const struct message *m = &k->m[id];
	enum store_state s = world_rcpt(k->w, id, n)->row.state;
	bool wanted = !(m->notify[n] & MAIL_NOTIFY_NEVER) && (m->notify[n] == 0 || m->notify[n] & MAIL_NOTIFY_FAILURE);

	switch (s) {
	case STORE_DELIVERED:
		assert_true(m->fate[n].delivered_told);
		break;
	case STORE_REMOVED:
		assert_true(m->fate[n].removed_told);
		break;
	case STORE_FAILED:
		break;
	default:
		fail_msg("message %u recipient %u is left in state %d", (unsigned)id, n, s);
	}
	assert_int_equal(named(k, id, n), s == STORE_FAILED && wanted ? 1 : 0);
}

static void release_all(struct walk *k)
{
	struct store_filter all = {.state = -1};
	struct store_cursor cursor = {0};
	size_t count, busy;

	while (!cursor.end)
		assert_int_equal(queue_engine_operate(k->w->e, QUEUE_RELEASE, &all, &cursor, 1000, &count, &busy),
				 STORE_OK);
}

static void finish(struct walk *k)
{
	uint64_t counts[STORE_STATE_MAX + 1];

	k->troubled = false;
	for (int op = 0; op < MEM_OPS; op++)
		mem_store_fail(k->w->mem, (enum mem_op)op, STORE_OK, 0, 0);
	pass(k, MINUTE);
	release_all(k);
	for (int i = 0; i < 3000; i++) {
		turn(k);
		end_some_jobs(k, 1);
		k->w->store->ops->counts(k->w->store, counts);
		if (counts[STORE_WAITING] + counts[STORE_CLAIMED] + counts[STORE_HELD] == 0)
			break;
		pass(k, 10 * MINUTE);
	}
	turn(k);
	assert_int_equal(queue_engine_under_way(k->w->e), 0);
	for (msg_id id = 1; id < k->next; id++) {
		assert_true(k->m[id].accepted || k->m[id].refused || k->m[id].unknown);
		if (!mem_store_message(k->w->mem, id))
			assert_false(k->m[id].accepted);
		else
			for (uint32_t n = 0; n < k->m[id].count; n++)
				check_fate(k, id, n);
	}
}

static void walk(uint64_t seed, unsigned steps, bool troubled)
{
	struct walk k = {.state = seed, .next = 1, .troubled = troubled};

	k.m = calloc(MESSAGES_MAX, sizeof *k.m);
	k.w = world_new();
	k.w->arg = &k;
	k.w->on_job = on_job;
	k.w->config.window_rcpts = 50 + below(&k, 200);
	k.w->config.retention = 1000 * DAY;
	queue_engine_configure(k.w->e, &k.w->config);
	for (unsigned i = 0; i < steps; i++)
		step(&k);
	finish(&k);
	world_free(k.w);
	free(k.m);
}

static void walks_without_trouble_end_well(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 8; seed++)
		walk(seed * 7919, 1000, false);
}

static void walks_through_trouble_keep_every_promise(void **state)
{
	(void)state;
	const char *one = getenv("WALK_SEED");

	if (one) {
		walk(strtoull(one, NULL, 10), 1000, true);
		return;
	}
	for (uint64_t seed = 1; seed <= 40; seed++) {
		print_message("WALK_SEED=%llu\n", (unsigned long long)seed);
		walk(seed, 1000, true);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walks_without_trouble_end_well),
		cmocka_unit_test(walks_through_trouble_keep_every_promise),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
