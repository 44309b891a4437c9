/*
 * Settling: what becomes of a recipient after an attempt, and writing it down.
 *
 * Everything decided here is decided anew when a transaction failed; only what the courier said is kept.
 */
#include "queue/engine_private.h"

#include <assert.h>

static span_ms age_of(const struct queue_engine *e, const struct item *i)
{
	return e->now - i->msg->arrived_queue;
}

/* ---- deciding ------------------------------------------------------------------------------------------------- */

static void wait_until(struct queue_engine *e, struct item *i, queue_ms due)
{
	/* An operator's hold outlives the attempt that was under way. */
	i->next = i->was_held ? STORE_HELD : STORE_WAITING;
	i->due = due;
	i->delay = due > e->now ? due - e->now : 0;
}

static void give_up(struct queue_engine *e, struct item *i)
{
	i->next = STORE_FAILED;
	i->given_up = true;
	i->report_kind = report_wanted(e, i, REPORT_FAILED);
}

static void decide_deferred(struct queue_engine *e, struct item *i)
{
	struct retry_attempt attempt = {
		.attempts = i->attempts + 1,
		.age = age_of(e, i),
		.warned = i->warned,
		.pace = i->soon ? RETRY_PACE_SOON : retry_pace_of(&i->found.outcome),
		.random = engine_random32(e),
	};
	struct retry_decision d = retry_decide(&e->config.retry, &attempt);

	if (d.verdict == RETRY_GIVE_UP) {
		give_up(e, i);
		return;
	}
	wait_until(e, i, e->now + d.delay);
	if (d.verdict == RETRY_WARN)
		i->report_kind = report_wanted(e, i, REPORT_DELAYED);
}

/* For a recipient that was put back without an attempt: why it could not go is what its last attempt found, or what
 * others found at its site. */
static void recall(struct queue_engine *e, struct item *i)
{
	static const struct smtp_outcome unknown = {
		.verdict = SMTP_DEFERRED, .stage = SMTP_STAGE_CONNECT, .status = {4, 4, 7}};
	struct store_rcpt rcpt;
	enum store_result r;

	arena_reset(&e->loading);
	r = e->store->ops->load_rcpt(e->store, i->msg->id, i->n, &e->loading, &rcpt);
	if (r == STORE_OK && rcpt.attempts > 0)
		finding_set(&i->found, &rcpt.last, rcpt.last_remote, 0, rcpt.last_at);
	else if (i->site && i->site->last.outcome.status.klass > 0)
		finding_set(&i->found, &i->site->last.outcome, i->site->last.remote, 0, i->site->last.at);
	else
		finding_set(&i->found, &unknown, SLICE_NONE, 0, e->times.wall);
}

/* A site that is dead for days has few attempts for many recipients: their time ends all the same. */
static void decide_put_back(struct queue_engine *e, struct item *i)
{
	const struct retry_policy *p = &e->config.retry;
	span_ms age = age_of(e, i);

	if (i->expires && age >= p->lifetime) {
		recall(e, i);
		give_up(e, i);
		return;
	}
	queue_ms end = i->msg->arrived_queue + p->lifetime;
	wait_until(e, i, i->expires && i->due > end ? end : i->due);
	if (i->expires && p->warn > 0 && age >= p->warn && !i->warned) {
		recall(e, i);
		i->report_kind = report_wanted(e, i, REPORT_DELAYED);
	}
}

static void decide_outcome(struct queue_engine *e, struct item *i)
{
	switch (i->found.outcome.verdict) {
	case SMTP_DELIVERED:
		i->next = STORE_DELIVERED;
		i->report_kind = report_wanted(e, i, REPORT_SUCCESS);
		break;
	case SMTP_FAILED:
		i->next = STORE_FAILED;
		i->report_kind = report_wanted(e, i, REPORT_FAILED);
		break;
	case SMTP_DEFERRED:
		decide_deferred(e, i);
		break;
	}
}

static void decide(struct queue_engine *e, struct item *i)
{
	i->given_up = false;
	i->delay = 0;
	i->report_kind = REPORT_NONE;
	switch (i->settle) {
	case SETTLE_OUTCOME:
		decide_outcome(e, i);
		break;
	case SETTLE_PUT_BACK:
		decide_put_back(e, i);
		break;
	case SETTLE_DAMAGED:
		i->next = STORE_HELD;
		break;
	case SETTLE_BOUNCE:
		i->next = STORE_FAILED;
		i->report_kind = report_wanted(e, i, REPORT_FAILED);
		break;
	}
}

/* ---- writing it down ------------------------------------------------------------------------------------------ */

static struct slice note_on(const struct item *i)
{
	if (i->settle == SETTLE_BOUNCE)
		return SLICE("failed by operator");
	if (i->settle == SETTLE_PUT_BACK && i->given_up)
		return SLICE("given up: its site did not answer for too long");
	return SLICE_NONE;
}

/* RFC 3463 3.7: X.6.6 is for content that is not there to be delivered. */
const struct smtp_outcome engine_damaged = {
	.verdict = SMTP_DEFERRED,
	.stage = SMTP_STAGE_ROUTE,
	.status = {4, 6, 6},
	.text = ENGINE_TEXT("held: the message is damaged in the store"),
};

void item_damaged(struct queue_engine *e, struct item *i)
{
	finding_set(&i->found, &engine_damaged, SLICE_NONE, 0, e->times.wall);
	i->settle = SETTLE_DAMAGED;
}

void item_settle(struct queue_engine *e, struct item *i)
{
	struct store_settle settle = {
		.id = i->msg->id,
		.n = i->n,
		.next = i->next,
		.now = e->now,
		.due = i->due,
		.site = i->site_hash,
		.warned = i->warned || i->report_kind == REPORT_DELAYED,
		.attempted = i->settle == SETTLE_OUTCOME || i->settle == SETTLE_DAMAGED,
		.outcome = i->found.outcome,
		.remote = i->found.remote,
		.at = i->settle == SETTLE_OUTCOME ? i->found.at : e->times.wall,
		.took = i->found.took,
		.note = note_on(i),
	};
	enum store_result r = e->store->ops->settle(e->store, &settle);

	i->gone = r == STORE_NOT_FOUND;
	if (!i->gone && !engine_did(e, r))
		return;
	i->in_tx = true;
	e->changed = true;
}

static void report_all(struct queue_engine *e)
{
	while (!list_empty(&e->reporting)) {
		struct msg *m = CONTAINER(e->reporting.next, struct msg, reporting);
		if (e->tx_error == STORE_OK)
			engine_report(e, m);
		while (!list_empty(&m->reports))
			list_remove(m->reports.next);
		list_remove(&m->reporting);
	}
}

void engine_settle(struct queue_engine *e, bool reports)
{
	/* After repeated failures one message at a time, to find the one that is damaged. */
	size_t most = e->failures >= ENGINE_CORRUPT_AFTER ? 1 : ENGINE_SETTLE_BATCH, count = 0;
	const struct msg *last = NULL;

	for (struct link *l = e->settling.next; l != &e->settling && e->tx_error == STORE_OK; l = l->next) {
		struct item *i = CONTAINER(l, struct item, link);
		/* A site may have thousands here when it dies: new mail does not wait for all of them. What one report
		 * could speak of stays together. */
		if (count++ >= most && i->msg != last)
			break;
		last = i->msg;
		assert(i->state == ITEM_SETTLING);
		decide(e, i);
		if (i->report_kind == REPORT_NONE) {
			item_settle(e, i);
		} else if (reports) {
			list_append(&i->msg->reports, &i->report);
			list_append(&e->reporting, &i->msg->reporting);
		}
	}
	report_all(e);
}

static void settled(struct queue_engine *e, struct item *i)
{
	i->in_tx = false;
	if (i->next == STORE_WAITING && !i->gone)
		engine_falls_due(e, i->due);
	if (i->gone || (i->settle == SETTLE_PUT_BACK && !i->given_up)) {
		item_drop(e, i);
		return;
	}
	item_forget(e, i);
	item_set_state(i, ITEM_DONE);
	list_append(&e->done, &i->link);
}

void engine_settled(struct queue_engine *e)
{
	for (struct link *l = e->settling.next, *next; l != &e->settling; l = next) {
		struct item *i = CONTAINER(l, struct item, link);
		next = l->next;
		if (i->in_tx)
			settled(e, i);
	}
}

void engine_unsettled(struct queue_engine *e)
{
	for (struct link *l = e->settling.next; l != &e->settling; l = l->next)
		CONTAINER(l, struct item, link)->in_tx = false;
}

void engine_abandon_first(struct queue_engine *e)
{
	if (list_empty(&e->settling))
		return;
	const struct msg *m = CONTAINER(e->settling.next, struct item, link)->msg;
	struct queue_event event = {.type = QUEUE_EVENT_CORRUPT, .id = m->id, .sender = m->sender};

	engine_tell(e, &event);
	while (!list_empty(&e->settling)) {
		struct item *i = CONTAINER(e->settling.next, struct item, link);
		if (i->msg != m)
			break;
		bool last = m->items == 1;
		item_drop(e, i);
		if (last)
			break;
	}
}
