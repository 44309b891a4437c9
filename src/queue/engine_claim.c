/*
 * Claims: recipients that fall due come from the store into memory, in rounds that give every site and sender a turn.
 */
#include "queue/engine_private.h"

#include <assert.h>

static size_t room(const struct queue_engine *e)
{
	/* The last quarter is for new messages, so that slow sites cannot take all. */
	size_t most = e->config.window_rcpts - e->config.window_rcpts / 4;

	return most > e->item_count ? most - e->item_count : 0;
}

/* Worth asking: not for each recipient that leaves. */
static bool room_is_worth_it(const struct queue_engine *e)
{
	size_t worth = e->config.window_rcpts / 8;

	if (worth > ENGINE_CLAIM_FLOW)
		worth = ENGINE_CLAIM_FLOW;
	return room(e) >= (worth > 0 ? worth : 1);
}

mono_ms engine_claim_at(const struct queue_engine *e)
{
	if (e->draining || e->next_due == NEVER || !room_is_worth_it(e))
		return NEVER;

	mono_ms at = e->times.mono + (e->next_due > e->now ? e->next_due - e->now : 0);
	return at > e->claim_after ? at : e->claim_after;
}

static void hold_damaged(struct queue_engine *e, const struct store_due *due)
{
	struct store_settle settle = {
		.id = due->id,
		.n = due->n,
		.next = STORE_HELD,
		.now = e->now,
		.site = due->site,
		.attempted = true,
		.outcome = engine_damaged,
		.at = e->times.wall,
	};
	struct queue_event event = {.type = QUEUE_EVENT_CORRUPT, .id = due->id, .n = due->n};
	enum store_result r = e->store->ops->settle(e->store, &settle);

	if (r != STORE_NOT_FOUND)
		engine_did(e, r);
	engine_tell(e, &event);
}

static void take(struct queue_engine *e, const struct store_due *due)
{
	struct store_rcpt rcpt;
	enum store_result r;

	if (item_find(e, due->id, due->n))
		return;
	struct item *i = item_load(e, due->id, due->n, &rcpt, &r);
	if (i)
		item_route(e, i);
	else if (r == STORE_CORRUPT)
		hold_damaged(e, due);
	else if (r != STORE_NOT_FOUND)
		engine_did(e, r);
}

void engine_claim(struct queue_engine *e)
{
	struct store_due due[ENGINE_CLAIM_BATCH];
	size_t max = room(e), count = 0;
	queue_ms next_due = NEVER;

	if (engine_claim_at(e) > e->times.mono)
		return;
	if (max > ENGINE_CLAIM_BATCH)
		max = ENGINE_CLAIM_BATCH;
	if (!engine_did(e, e->store->ops->claim(e->store, e->now, ENGINE_CLAIM_FLOW, due, max, &count, &next_due)))
		return;
	assert(count <= max);
	for (size_t k = 0; k < count && e->tx_error == STORE_OK; k++)
		take(e, &due[k]);
	e->next_due = count < max ? next_due : e->now;
}
