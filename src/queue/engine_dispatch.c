/*
 * Handing out: which site's job goes next, and to which courier.
 *
 * An attempt at a silent site mostly keeps a connection until its time is over, so what silent sites have of a courier
 * is bounded: half of its jobs or of its connections, whichever are fewer, and one job for each site. The others go
 * first, but for the first quarter of that half, which is there for silent ones at any time.
 *
 * Among silent sites those that were not tried yet have two turns of three: the one that has waited longest, then
 * the one that came last; the third is for those that were silent before. So nobody waits for ever.
 *
 * Attempts that begin together end together, and between that nothing would be free. So the last quarter of the half is
 * for the one that came last alone, and is given out ever more slowly, the less of it is left: a site that is new, and
 * answers, soon has its turn, whatever was queued before it.
 */
#include "queue/engine_private.h"

#include "base/heap.h"

#include <assert.h>

#define SILENT_LASTS (30 * SECOND) /* an attempt at a site that does not answer, by and large */

/* ---- couriers ------------------------------------------------------------------------------------------------- */

/* Most jobs of one courier that may be for silent sites. */
static unsigned silent_share(const struct queue_engine *e)
{
	size_t jobs = e->config.courier_jobs_max, connections = e->config.courier_connections_max;
	size_t share = (jobs < connections ? jobs : connections) / 2;

	return share > 0 ? (unsigned)share : 1;
}

/* What the couriers of a kind can take. */
struct room {
	unsigned couriers;
	bool any;
	unsigned silent, silent_share, silent_free; /* jobs for silent sites: under way, most, and most more of them */
};

static struct room room_of(const struct queue_engine *e, enum queue_courier_kind kind)
{
	unsigned share = silent_share(e);
	struct room room = {0};

	for (size_t i = 0; i < e->courier_count; i++) {
		const struct courier *c = e->couriers[i];
		if (c->kind != kind || c->leaves)
			continue;
		bool any = c->under_way < e->config.courier_jobs_max;
		room.couriers++;
		room.any |= any;
		room.silent += c->silent;
		room.silent_share += share;
		room.silent_free += any && c->silent < share ? share - c->silent : 0;
	}
	return room;
}

/*
 * A site's connections are shared out among its couriers: with a window of 3 and two couriers, one may have 2 and the
 * other 1, with a window of 1 the other gets no job at all. Which one is first depends on the site.
 */
struct choice {
	struct courier *courier;
	unsigned connections;
};

static struct choice choose_for_silent(const struct queue_engine *e, const struct site *s)
{
	unsigned share = silent_share(e);
	struct courier *best = NULL;

	for (size_t i = 0; i < e->courier_count; i++) {
		struct courier *c = e->couriers[i];
		if (c->kind != s->kind || c->leaves || c->silent >= share || c->under_way >= e->config.courier_jobs_max)
			continue;
		if (!best || c->silent < best->silent)
			best = c;
	}
	assert(best);
	return (struct choice){best, 1};
}

static struct choice choose(const struct queue_engine *e, const struct site *s, unsigned count)
{
	if (site_is_silent(s))
		return choose_for_silent(e, s);
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
	job->silent = site_is_silent(s);
	c->silent += job->silent;
	if (job->silent)
		e->silent_began[s->kind] = e->times.mono;
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
	ret->silent = job->silent;
	flow_had_its_turn(e, f);
	/* The site goes to the end of the ring. */
	list_remove(&s->ring);
	site_update(e, s);
	return true;
}

/* ---- whose turn it is ------------------------------------------------------------------------------------------ */

static bool is_scarce(const struct room *room)
{
	return room->silent_free <= room->silent_share / 4;
}

/* When the next silent site may be tried; NEVER: there is none, or no room for it. */
static mono_ms silent_at(const struct queue_engine *e, unsigned kind, const struct room *room)
{
	bool untried = !list_empty(&e->ring[kind][LINE_UNTRIED]), silent = !list_empty(&e->ring[kind][LINE_SILENT]);

	if (room->silent_free == 0 || !(untried || (silent && !is_scarce(room))))
		return NEVER;
	return is_scarce(room) ? e->silent_began[kind] + SILENT_LASTS / (span_ms)room->silent_free : e->times.mono;
}

static struct site *next_silent(struct queue_engine *e, unsigned kind, const struct room *room)
{
	struct link *untried = &e->ring[kind][LINE_UNTRIED], *silent = &e->ring[kind][LINE_SILENT];
	unsigned turn = is_scarce(room) ? 1 : e->turn_of_silent++ % 3;

	if (list_empty(untried) || (turn == 2 && !list_empty(silent)))
		return CONTAINER(silent->next, struct site, ring);
	return CONTAINER(turn == 1 ? untried->prev : untried->next, struct site, ring);
}

static struct site *next_site(struct queue_engine *e, unsigned kind, const struct room *room)
{
	struct link *answering = &e->ring[kind][LINE_ANSWERING];
	bool silent = silent_at(e, kind, room) <= e->times.mono;

	if (!room->any)
		return NULL;
	if (silent && (list_empty(answering) || room->silent < (room->silent_share + 3) / 4))
		return next_silent(e, kind, room);
	return list_empty(answering) ? NULL : CONTAINER(answering->next, struct site, ring);
}

bool engine_dispatch(struct queue_engine *e, struct queue_job *ret)
{
	if (e->draining || e->down)
		return false;
	for (unsigned tried = 0; tried < ENGINE_KINDS; tried++) {
		unsigned kind = e->turn_of_kind++ % ENGINE_KINDS;
		struct room room = room_of(e, (enum queue_courier_kind)kind);
		struct site *s;
		while ((s = next_site(e, kind, &room)) != NULL)
			if (dispatch_from(e, s, room.couriers, ret))
				return true;
	}
	return false;
}

mono_ms engine_dispatch_at(const struct queue_engine *e)
{
	mono_ms at = NEVER;

	for (unsigned kind = 0; kind < ENGINE_KINDS && !e->draining; kind++) {
		struct room room = room_of(e, (enum queue_courier_kind)kind);
		mono_ms silent = silent_at(e, kind, &room);
		at = silent < at ? silent : at;
	}
	return at;
}
