/*
 * Jobs and couriers: handing out, outcomes coming back, couriers that die.
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

/*
 * A site's connections are shared out among its couriers: with a window of 3 and two couriers, one may have 2 and the
 * other 1, with a window of 1 the other gets no job at all. Which one is first depends on the site.
 */
struct choice {
	struct courier *courier;
	unsigned connections;
};

static unsigned couriers_of(const struct queue_engine *e, enum queue_courier_kind kind, bool *ret_free)
{
	unsigned count = 0;

	*ret_free = false;
	for (size_t i = 0; i < e->courier_count; i++) {
		const struct courier *c = e->couriers[i];
		if (c->kind != kind || c->leaves)
			continue;
		count++;
		*ret_free |= c->under_way < e->config.courier_jobs_max;
	}
	return count;
}

static struct choice choose(const struct queue_engine *e, const struct site *s, unsigned count)
{
	unsigned home = (unsigned)(s->hash % count), place = 0, connections = s->window.connections;
	struct choice best = {0};
	bool best_shares = false;

	for (size_t i = 0; i < e->courier_count; i++) {
		struct courier *c = e->couriers[i];
		if (c->kind != s->kind || c->leaves)
			continue;
		unsigned rank = (place++ + count - home) % count;
		unsigned share = connections / count + (rank < connections % count);
		if (c->under_way >= e->config.courier_jobs_max)
			continue;
		/* One without a share is taken only when all that have one are full. */
		bool better = !best.courier || (share > 0) > best_shares ||
			      ((share > 0) == best_shares && c->under_way < best.courier->under_way);
		if (better) {
			best = (struct choice){c, share > 0 ? share : 1};
			best_shares = share > 0;
		}
	}
	assert(best.courier);
	return best;
}

/* ---- handing out ---------------------------------------------------------------------------------------------- */

static void put_back_later(struct queue_engine *e, struct item *i)
{
	item_unready(e, i);
	item_put_back(e, i, e->now + MINUTE + engine_random_below(e, MINUTE));
}

static void hold_damaged(struct queue_engine *e, struct item *i)
{
	item_unready(e, i);
	item_set_state(i, ITEM_SETTLING);
	item_damaged(e, i);
	list_append(&e->settling, &i->link);
}

static void each_item(struct queue_engine *e, struct job *job, void (*each)(struct queue_engine *e, struct item *i))
{
	/* The job is freed with its last item. */
	for (unsigned left = job->count; left > 0; left--)
		each(e, CONTAINER(job->items.next, struct item, link));
}

/* The body in memory or from the store. False: the job cannot go. */
static bool body_of(struct queue_engine *e, struct job *job, struct slice *ret)
{
	struct msg *m = job->msg;

	*ret = slice_of(m->body, m->body_n);
	if (m->body || m->body_in_file || m->size == 0)
		return true;
	enum store_result r = e->store->ops->body(e->store, m->id, &e->body);
	*ret = buf_slice(&e->body);
	if (r == STORE_OK && e->body.failed)
		r = STORE_NO_MEMORY;
	if (r == STORE_OK)
		return true;
	each_item(e, job, r == STORE_CORRUPT || r == STORE_NOT_FOUND ? hold_damaged : put_back_later);
	return false;
}

/* The arrays of a job, lent until the next action. False without memory. */
static bool lend_rcpts(struct queue_engine *e, const struct job *job, struct queue_job *ret)
{
	const struct item *first = CONTAINER(job->items.next, struct item, link);
	struct mail_rcpt *rcpt = arena_array(&e->lent, job->count, sizeof *rcpt);
	uint32_t *n = arena_array(&e->lent, job->count, sizeof *n);
	struct slice *mailboxes = arena_array(&e->lent, job->count, sizeof *mailboxes);
	size_t count = 0;

	if (!rcpt || !n || !mailboxes)
		return false;
	for (struct link *l = job->items.next; l != &job->items; l = l->next) {
		const struct item *i = CONTAINER(l, struct item, link);
		rcpt[count] = i->rcpt;
		n[count] = i->n;
		mailboxes[count++] = i->route.mailbox;
	}
	assert(count == job->count);
	ret->envelope.rcpt = rcpt;
	ret->envelope.rcpt_count = count;
	ret->n = n;
	ret->mailboxes = first->route.kind == ROUTE_MAILBOX ? mailboxes : NULL;
	ret->route = first->route;
	return true;
}

static bool describe(struct queue_engine *e, struct job *job, struct queue_job *ret)
{
	const struct msg *m = job->msg;

	*ret = (struct queue_job){
		.id = m->id,
		.size = m->size,
		.content = m->content,
		.arrived = m->arrived,
		.age = e->now > m->arrived_queue ? e->now - m->arrived_queue : 0,
		.body_in_file = m->body_in_file,
		.digest = m->digest,
		.envelope =
			{
				.sender = m->sender,
				.envid = m->envid,
				.body = m->body_type,
				.ret = m->ret,
				.utf8 = m->utf8,
				.declared = m->size,
			},
	};
	if (!lend_rcpts(e, job, ret)) {
		each_item(e, job, put_back_later);
		return false;
	}
	return body_of(e, job, &ret->body);
}

/* The body is lent once more, and then no longer needed. */
static void release_body(struct queue_engine *e, struct msg *m)
{
	if (m->unsent > 0 || !m->body)
		return;
	assert(!e->lent_body);
	e->lent_body = m->body;
	e->lent_body_n = m->body_n;
	m->body = NULL;
	m->body_n = 0;
}

static void start(struct queue_engine *e, struct job *job, struct courier *c)
{
	struct site *s = job->site;

	for (struct link *l = job->items.next; l != &job->items; l = l->next)
		item_set_state(CONTAINER(l, struct item, link), ITEM_UNDER_WAY);
	s->ready -= job->count;
	site_begins(e, s);
	s->under_way++;
	c->under_way++;
	e->under_way++;
	job->id = e->next_job++;
	if (job->id == 0)
		job->id = e->next_job++;
	job->generation = s->window.generation;
	job->courier = c;
	list_append(&c->jobs, &job->link);
	table_insert(&e->jobs, &job->node, job->id);
	release_body(e, job->msg);
}

/* The flow goes to the end of its site's line, or away when that was its last job. */
static void flow_had_its_turn(struct queue_engine *e, struct flow *f)
{
	if (!list_empty(&f->jobs)) {
		list_append(&f->site->flows, &f->link);
		return;
	}
	list_remove(&f->link);
	table_remove(&e->flows, &f->node);
	heap_free(f);
}

static bool dispatch_from(struct queue_engine *e, struct site *s, unsigned count, struct queue_job *ret)
{
	struct flow *f = CONTAINER(s->flows.next, struct flow, link);
	struct job *job = CONTAINER(f->jobs.next, struct job, link);

	if (!describe(e, job, ret))
		return false;
	struct choice choice = choose(e, s, count);
	start(e, job, choice.courier);
	job->flow = NULL;
	ret->job = job->id;
	ret->courier = choice.courier->id;
	ret->connections = choice.connections;
	flow_had_its_turn(e, f);
	/* The site goes to the end of the ring. */
	list_remove(&s->ring);
	site_update(e, s);
	return true;
}

bool engine_dispatch(struct queue_engine *e, struct queue_job *ret)
{
	if (e->draining || e->down)
		return false;
	for (unsigned tried = 0; tried < ENGINE_KINDS; tried++) {
		unsigned kind = e->turn_of_kind++ % ENGINE_KINDS;
		bool any_free;
		unsigned count = couriers_of(e, (enum queue_courier_kind)kind, &any_free);
		while (any_free && !list_empty(&e->ring[kind])) {
			struct site *s = CONTAINER(e->ring[kind].next, struct site, ring);
			if (dispatch_from(e, s, count, ret))
				return true;
		}
	}
	return false;
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
