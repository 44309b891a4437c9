/*
 * Operators: retry, hold, release, remove, bounce.
 */
#include "queue/engine_private.h"

#include "base/heap.h"

#include <assert.h>

struct row {
	msg_id id;
	uint32_t n;
	enum store_state state;
	queue_ms due;
	uint64_t site;
	bool warned;
};

struct rows {
	struct row *p;
	size_t n, max;
};

static bool collect(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	struct rows *rows = arg;

	if (rows->n == rows->max)
		return false;
	rows->p[rows->n++] = (struct row){m->id, r->n, r->state, r->due, r->site, r->warned};
	return true;
}

static const struct verb {
	enum store_state next;
	int from; /* the state that it is for, -1 = any that is not final */
	struct slice note;
} verbs[] = {
	[QUEUE_RETRY] = {STORE_WAITING, STORE_WAITING, ENGINE_TEXT("to be tried now, by operator")},
	[QUEUE_HOLD] = {STORE_HELD, -1, ENGINE_TEXT("held by operator")},
	[QUEUE_RELEASE] = {STORE_WAITING, STORE_HELD, ENGINE_TEXT("released by operator")},
	[QUEUE_REMOVE] = {STORE_REMOVED, -1, ENGINE_TEXT("removed by operator")},
	[QUEUE_BOUNCE] = {STORE_FAILED, -1, ENGINE_TEXT("failed by operator")},
};

/* The state asked for and the state that the verb is for; false when they exclude each other. */
static bool narrow(enum queue_verb verb, struct store_filter *filter)
{
	int from = verbs[verb].from;

	if (filter->state < -1)
		filter->state = -1;
	if (from < 0)
		return filter->state < 0 || !store_state_is_final((enum store_state)filter->state);
	if (filter->state >= 0 && filter->state != from)
		return false;
	filter->state = from;
	return true;
}

static bool is_so_already(const struct queue_engine *e, enum queue_verb verb, const struct row *row)
{
	return (verb == QUEUE_HOLD && row->state == STORE_HELD) || (verb == QUEUE_RETRY && row->due <= e->now);
}

static bool change(struct queue_engine *e, enum queue_verb verb, const struct row *row)
{
	struct store_settle settle = {
		.id = row->id,
		.n = row->n,
		.next = verbs[verb].next,
		.now = e->now,
		.due = e->now,
		.site = row->site,
		.warned = row->warned,
		.at = e->times.wall,
		.note = verbs[verb].note,
	};
	enum store_result r = e->store->ops->settle(e->store, &settle);

	if (r == STORE_NOT_FOUND || !engine_did(e, r))
		return false;
	if (settle.next == STORE_WAITING)
		engine_falls_due(e, e->now);
	return true;
}

static bool bounce(struct queue_engine *e, const struct row *row, struct item *i)
{
	static const struct smtp_outcome by_operator = {.verdict = SMTP_FAILED,
							.stage = SMTP_STAGE_ROUTE,
							.status = {5, 7, 0},
							.text = ENGINE_TEXT("removed by operator")};
	struct store_rcpt rcpt;
	enum store_result r;

	if (i) {
		item_unready(e, i);
	} else {
		i = item_load(e, row->id, row->n, &rcpt, &r);
		if (!i) {
			/* A damaged one would be reported to somebody else, perhaps. */
			if (r != STORE_NOT_FOUND && r != STORE_CORRUPT)
				engine_did(e, r);
			return false;
		}
	}
	item_conclude(e, i, &by_operator);
	i->settle = SETTLE_BOUNCE;
	return true;
}

struct operation {
	enum queue_verb verb;
	struct link taken; /* items that leave memory with the commit */
	size_t count, busy;
};

static void apply(struct queue_engine *e, struct operation *op, const struct row *row)
{
	struct item *i = item_find(e, row->id, row->n);
	bool done = false;

	if (op->verb == QUEUE_RETRY) {
		struct site *s = site_find(e, row->site);
		if (s)
			site_open(e, s);
	}
	if (i && i->state != ITEM_READY) {
		op->busy++;
	} else if (i ? op->verb == QUEUE_RETRY : is_so_already(e, op->verb, row)) {
		return;
	} else if (op->verb == QUEUE_BOUNCE) {
		done = bounce(e, row, i);
	} else {
		done = change(e, op->verb, row);
		if (done && i) {
			item_unready(e, i);
			list_append(&op->taken, &i->link);
		}
	}
	op->count += done;
}

static void finish(struct queue_engine *e, struct operation *op, enum store_result r)
{
	while (!list_empty(&op->taken)) {
		struct item *i = CONTAINER(op->taken.next, struct item, link);
		list_remove(&i->link);
		if (r == STORE_OK)
			item_drop(e, i);
		else
			item_enqueue(e, i);
	}
	if (r != STORE_OK)
		op->count = 0;
}

enum store_result queue_engine_operate(struct queue_engine *e, enum queue_verb verb, const struct store_filter *filter,
				       struct store_cursor *cursor, size_t max, size_t *ret_count, size_t *ret_busy)
{
	struct store_filter narrowed = *filter;
	struct operation op = {.verb = verb};
	struct rows rows = {.max = max};

	assert(verb <= QUEUE_VERB_MAX);
	assert(max >= 1);
	assert(max <= QUEUE_OPERATE_MAX);
	list_init(&op.taken);
	*ret_count = *ret_busy = 0;
	if (e->down)
		return e->down_why;
	if (!narrow(verb, &narrowed)) {
		cursor->end = true;
		return STORE_OK;
	}
	rows.p = heap_array(max, sizeof *rows.p);
	if (!rows.p)
		return STORE_NO_MEMORY;
	enum store_result r = e->store->ops->list(e->store, &narrowed, e->now, cursor, collect, &rows);
	for (size_t k = 0; r == STORE_OK && k < rows.n && e->tx_error == STORE_OK; k++)
		apply(e, &op, &rows.p[k]);
	heap_free(rows.p);
	if (r == STORE_OK)
		r = engine_transaction(e);
	finish(e, &op, r);
	*ret_count = op.count;
	*ret_busy = op.busy;
	return r;
}
