/*
 * Jobs and couriers: outcomes coming back, couriers that die.
 */
#include "queue/engine_private.h"

#include "base/heap.h"

#include <assert.h>

/* ---- couriers ------------------------------------------------------------------------------------------------- */

bool queue_engine_courier_up(struct queue_engine *e, uint32_t id, enum queue_courier_kind kind)
{
	assert(kind < ENGINE_KINDS);
	queue_engine_courier_down(e, id);
	if (e->courier_count == QUEUE_COURIERS_MAX)
		return false;
	struct courier *c = heap_new(struct courier);
	if (!c)
		return false;
	c->id = id;
	c->kind = kind;
	list_init(&c->jobs);
	e->couriers[e->courier_count++] = c;
	return true;
}

void queue_engine_courier_leaves(struct queue_engine *e, uint32_t id)
{
	for (size_t i = 0; i < e->courier_count; i++)
		if (e->couriers[i]->id == id)
			e->couriers[i]->leaves = true;
}

static void courier_free(struct queue_engine *e, size_t index)
{
	assert(list_empty(&e->couriers[index]->jobs));
	heap_free(e->couriers[index]);
	e->couriers[index] = e->couriers[--e->courier_count];
	e->couriers[e->courier_count] = NULL;
}

/* ---- outcomes ------------------------------------------------------------------------------------------------- */

static struct job *job_find(const struct queue_engine *e, uint32_t courier, uint64_t id)
{
	struct table_node *node = table_find(&e->jobs, id);
	struct job *job = node ? CONTAINER(node, struct job, node) : NULL;

	return job && job->courier->id == courier ? job : NULL;
}

static void to_settle(struct queue_engine *e, struct item *i)
{
	item_set_state(i, ITEM_SETTLING);
	i->settle = SETTLE_OUTCOME;
	i->job = NULL;
	list_append(&e->settling, &i->link);
}

static void release_held(struct queue_engine *e, struct job *job)
{
	while (!list_empty(&job->held))
		to_settle(e, CONTAINER(job->held.next, struct item, link));
}

/* It stays so long as no memory for it is missing; then the recipient is simply tried again. */
static void stray(struct queue_engine *e, const struct queue_outcome *o, const char *note)
{
	if (e->stray_count >= ENGINE_STRAYS_MAX)
		return;
	struct stray *s = heap_new(struct stray);
	if (!s)
		return;
	s->id = o->id;
	s->n = o->n;
	s->note = note;
	finding_set(&s->found, &o->outcome, o->remote, o->took, e->times.wall);
	list_init(&s->link);
	list_append(&e->strays, &s->link);
	e->stray_count++;
}

/* This attempt came to nothing, but it is delivered. */
static void take_late(struct queue_engine *e, struct item *i)
{
	const struct queue_outcome own = {.id = i->msg->id,
					  .n = i->n,
					  .outcome = i->found.outcome,
					  .remote = i->found.remote,
					  .took = i->found.took};

	if (!i->late || i->found.outcome.verdict == SMTP_DELIVERED)
		return;
	stray(e, &own, "another attempt ended");
	finding_free(&i->found);
	i->found = *i->late;
	heap_free(i->late);
	i->late = NULL;
}

/* Without memory it is only noted, and may be delivered once more. */
static void remember_late(struct queue_engine *e, struct item *i, const struct queue_outcome *o)
{
	stray(e, o, "a former attempt ended late");
	if (o->outcome.verdict != SMTP_DELIVERED || i->late)
		return;
	i->late = heap_new(struct finding);
	if (!i->late)
		return;
	finding_set(i->late, &o->outcome, o->remote, o->took, e->times.wall);
	if (i->state != ITEM_UNDER_WAY)
		take_late(e, i);
}

/* What may cause a report waits for the others of its job, so that one report can speak of all. */
static void arrived(struct queue_engine *e, struct item *i)
{
	struct job *job = i->job;

	take_late(e, i);
	bool plain = i->found.outcome.verdict == SMTP_DELIVERED && report_wanted(e, i, REPORT_SUCCESS) == REPORT_NONE;

	job->count--;
	if (plain) {
		to_settle(e, i);
	} else {
		item_set_state(i, ITEM_HELD_BACK);
		list_append(&job->held, &i->link);
	}
	if (job->count == 0)
		release_held(e, job);
}

static void tell_window(struct queue_engine *e, const struct job *job, const struct item *i, bool failed)
{
	struct site *s = job->site;

	if (failed)
		site_failed(e, s, job->generation, &i->found);
	else if (i->found.outcome.verdict == SMTP_DELIVERED)
		window_delivered(&s->window);
	else
		window_alive(&s->window);
	if (!failed)
		site_answered(e, s);
	site_update(e, s);
}

void stray_free(struct queue_engine *e, struct stray *s)
{
	list_remove(&s->link);
	finding_free(&s->found);
	heap_free(s);
	e->stray_count--;
}

static void take_fact(struct queue_engine *e, struct item *i, const struct queue_outcome *o)
{
	finding_take(e, &i->found, o);
	if (i->state == ITEM_READY)
		item_unready(e, i);
	if (i->state == ITEM_SETTLING)
		i->settle = SETTLE_OUTCOME;
	else
		to_settle(e, i);
}

void queue_engine_outcome(struct queue_engine *e, uint32_t courier, const struct queue_outcome *o)
{
	struct item *i = item_find(e, o->id, o->n);
	struct job *job = job_find(e, courier, o->job);

	assert(o->outcome.verdict <= SMTP_VERDICT_MAX);
	if (!i) {
		stray(e, o, NULL);
	} else if (i->state == ITEM_UNDER_WAY && job && i->job == job) {
		finding_take(e, &i->found, o);
		tell_window(e, job, i, o->site_failed);
		arrived(e, i);
	} else if (i->state == ITEM_READY || (i->state == ITEM_SETTLING && i->settle != SETTLE_OUTCOME)) {
		take_fact(e, i, o);
	} else if (i->state != ITEM_NEW) {
		remember_late(e, i, o);
	}
	/* A message that is not committed was given to nobody: such a word is made up. */
}

static const struct smtp_outcome no_word = {
	.verdict = SMTP_DEFERRED,
	.stage = SMTP_STAGE_END,
	.status = {4, 3, 0},
	.ambiguous = true,
};

/* Its recipients are settled or about to be: its place in the window is free. */
static void job_close(struct queue_engine *e, struct job *job)
{
	struct site *s = job->site;

	assert(job->count == 0);
	release_held(e, job);
	list_remove(&job->link);
	table_remove(&e->jobs, &job->node);
	job->courier->under_way--;
	job->courier->silent -= job->silent;
	s->under_way--;
	e->under_way--;
	heap_free(job);
	site_update(e, s);
}

/* All of the job's recipients that have no outcome get this one. */
static void job_end(struct queue_engine *e, struct job *job, struct slice text)
{
	while (job->count > 0) {
		struct item *i = CONTAINER(job->items.next, struct item, link);
		struct smtp_outcome outcome = no_word;
		outcome.text = text;
		finding_set(&i->found, &outcome, SLICE_NONE, 0, e->times.wall);
		i->soon = true;
		arrived(e, i);
	}
	job_close(e, job);
}

void queue_engine_job_done(struct queue_engine *e, uint32_t courier, uint64_t id)
{
	struct job *job = job_find(e, courier, id);

	if (job)
		job_end(e, job, SLICE("the delivering process gave no result"));
}

void queue_engine_job_returned(struct queue_engine *e, uint32_t courier, uint64_t id)
{
	struct job *job = job_find(e, courier, id);

	if (!job)
		return;
	while (job->count > 0) {
		struct item *i = CONTAINER(job->items.next, struct item, link);
		job->count--;
		to_settle(e, i);
		i->settle = SETTLE_PUT_BACK;
		i->due = e->now;
	}
	job_close(e, job);
}

void queue_engine_job_damaged(struct queue_engine *e, uint32_t courier, uint64_t id)
{
	struct job *job = job_find(e, courier, id);

	if (!job)
		return;
	while (job->count > 0) {
		struct item *i = CONTAINER(job->items.next, struct item, link);
		job->count--;
		to_settle(e, i);
		item_damaged(e, i);
	}
	job_close(e, job);
}

void queue_engine_courier_down(struct queue_engine *e, uint32_t id)
{
	for (size_t i = 0; i < e->courier_count; i++) {
		struct courier *c = e->couriers[i];
		if (c->id != id)
			continue;
		while (!list_empty(&c->jobs))
			job_end(e, CONTAINER(c->jobs.next, struct job, link), SLICE("the delivering process died"));
		courier_free(e, i);
		return;
	}
}

void engine_release_held(struct queue_engine *e)
{
	for (size_t i = 0; i < e->courier_count; i++) {
		struct link *jobs = &e->couriers[i]->jobs;
		for (struct link *l = jobs->next; l != jobs; l = l->next)
			release_held(e, CONTAINER(l, struct job, link));
	}
}

static void abandon(struct queue_engine *e, struct job *job)
{
	struct site *s = job->site;

	while (!list_empty(&job->items))
		item_drop(e, CONTAINER(job->items.next, struct item, link));
	while (!list_empty(&job->held))
		item_drop(e, CONTAINER(job->held.next, struct item, link));
	list_remove(&job->link);
	table_remove(&e->jobs, &job->node);
	s->under_way--;
	heap_free(job);
}

void engine_free_couriers(struct queue_engine *e)
{
	while (e->courier_count > 0) {
		struct courier *c = e->couriers[0];
		while (!list_empty(&c->jobs))
			abandon(e, CONTAINER(c->jobs.next, struct job, link));
		courier_free(e, 0);
	}
}

/* ---- strays --------------------------------------------------------------------------------------------------- */

static void note_duplicate(struct queue_engine *e, const struct stray *s)
{
	struct buf text;

	buf_init(&text, STORE_TEXT_MAX);
	buf_printf(&text, "%s: %s, %u, ", s->note ? s->note : "a former attempt ended late",
		   s->found.outcome.verdict == SMTP_DELIVERED  ? "delivered"
		   : s->found.outcome.verdict == SMTP_DEFERRED ? "deferred"
							       : "failed",
		   s->found.outcome.code);
	buf_add(&text, s->found.outcome.text);
	struct store_history line = {.event = STORE_EVENT_NOTE,
				     .at = s->found.at,
				     .n = s->n,
				     .remote = s->found.remote,
				     .text = buf_slice(&text)};
	enum store_result r = e->store->ops->note(e->store, s->id, &line);
	if (r != STORE_NOT_FOUND)
		engine_did(e, r);
	buf_free(&text);
}

/* False: not now. */
static bool resolve(struct queue_engine *e, struct stray *s)
{
	struct store_rcpt rcpt;
	enum store_result r;

	if (s->note || item_find(e, s->id, s->n)) {
		note_duplicate(e, s);
		return true;
	}
	struct item *i = item_load(e, s->id, s->n, &rcpt, &r);
	if (!i)
		return r == STORE_NOT_FOUND || r == STORE_CORRUPT;
	if (store_state_is_final(rcpt.state)) {
		item_drop(e, i);
		note_duplicate(e, s);
		return true;
	}
	item_route(e, i);
	i->was_held = rcpt.state == STORE_HELD;
	i->found = s->found;
	s->found = (struct finding){0};
	to_settle(e, i);
	return true;
}

void engine_strays(struct queue_engine *e)
{
	while (!list_empty(&e->strays) && e->tx_error == STORE_OK) {
		struct stray *s = CONTAINER(e->strays.next, struct stray, link);
		if (!resolve(e, s)) {
			e->retry_at = e->times.mono + ENGINE_REOPEN;
			return;
		}
		stray_free(e, s);
	}
}

size_t queue_engine_under_way(const struct queue_engine *e)
{
	return e->under_way;
}
