/*
 * The engine's life, messages in, the transaction of a turn, actions out. See engine.h and engine_private.h.
 *
 * A transaction that fails is tried again with less in it: first without the new messages and claims, which are told or
 * void, then without reports and what they are about. Settling must go through when nothing else does, so that a full
 * disk drains. What the disk itself refuses (STORE_IO) is not tried again before the store was reopened.
 */
#include "queue/engine.h"

#include "base/heap.h"
#include "queue/engine_private.h"

#include <assert.h>
#include <string.h>

#define ARENA_MAX     ((size_t)64 << 20)
#define REPORT_MAX    ((size_t)64 << 20) /* octets of a report */
#define BODY_KEEP     ((size_t)1 << 20)  /* octets of a buffer that is not given back */
#define ANSWERS_FIRST 256

static const struct hash_key flow_key = {UINT64_C(0x706f737472696465), UINT64_C(0x7220666c6f770001)};

/* ---- time and chance ------------------------------------------------------------------------------------------ */

/* SplitMix64 over the randomness that the role gives with each turn. */
uint64_t engine_random(struct queue_engine *e)
{
	uint64_t z = e->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

span_ms engine_random_below(struct queue_engine *e, span_ms below)
{
	assert(below >= 1);
	return (span_ms)(engine_random(e) % (uint64_t)below);
}

void queue_engine_wake(struct queue_engine *e, struct queue_times times)
{
	mono_ms before = e->times.mono;

	e->random ^= times.random;
	e->times = times;
	if (times.mono < before)
		e->times.mono = before;
	e->now = queue_clock_now(&e->clock, e->times.mono);
}

queue_ms queue_engine_now(const struct queue_engine *e)
{
	return e->now;
}

static struct queue_clock_world world(const struct queue_engine *e)
{
	return (struct queue_clock_world){
		.mono = e->times.mono, .wall = e->times.wall, .boot = e->times.boot, .boot_id = e->config.boot_id};
}

static bool newest(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	(void)r;
	*(queue_ms *)arg = m->arrived_queue;
	return false;
}

/* The saved clock is damaged: time goes on from the newest message. */
static enum store_result lift_clock(struct queue_engine *e)
{
	struct store_filter all = {.state = -2};
	struct store_cursor cursor = {0};
	queue_ms least = 0;
	/* Late enough that no message is from the future. */
	enum store_result r = e->store->ops->list(e->store, &all, INT64_MAX / 2, &cursor, newest, &least);

	queue_clock_lift(&e->clock, least + QUEUE_CLOCK_IDLE);
	return r;
}

static bool start_clock(struct queue_engine *e)
{
	struct queue_clock_world w = world(e);
	struct buf saved;

	buf_init(&saved, STORE_CLOCK_MAX);
	enum store_result r = e->store->ops->clock_load(e->store, &saved);
	if (r == STORE_OK && !queue_clock_start(&e->clock, buf_slice(&saved), &w))
		r = lift_clock(e);
	buf_free(&saved);
	e->now = queue_clock_now(&e->clock, e->times.mono);
	return r == STORE_OK;
}

static void save_clock(struct queue_engine *e)
{
	span_ms every = e->changed ? QUEUE_CLOCK_SAVE : QUEUE_CLOCK_IDLE;
	struct queue_clock_world w = world(e);
	struct buf out;

	if (e->times.mono - e->clock_saved < every || e->tx_error != STORE_OK)
		return;
	buf_init(&out, STORE_CLOCK_MAX);
	queue_clock_save(&e->clock, &w, &out);
	if (!out.failed && engine_did(e, e->store->ops->clock_save(e->store, buf_slice(&out))))
		e->clock_saved = e->times.mono;
	buf_free(&out);
}

/* ---- life ----------------------------------------------------------------------------------------------------- */

static void check(const struct queue_config *c)
{
	assert(retry_policy_valid(&c->retry));
	assert(c->router.route && c->router.expand);
	assert(c->window_rcpts >= 1);
	assert(c->site_connections >= 1);
	assert(c->site_connections <= c->site_connections_max);
	assert(c->jobs_per_connection >= 1);
	assert(c->job_rcpts_max >= 1);
	assert(c->courier_jobs_max >= 1);
	assert(c->courier_connections_max >= 1);
	(void)c;
}

static void init_lists(struct queue_engine *e)
{
	struct link *const lists[] = {&e->idle[0], &e->idle[1], &e->fresh, &e->settling, &e->reporting,
				      &e->done,    &e->strays,  &e->told,  &e->telling};

	for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
		list_init(lists[i]);
	for (size_t i = 0; i < ENGINE_KINDS * ENGINE_LINES; i++)
		list_init(&e->ring[i / ENGINE_LINES][i % ENGINE_LINES]);
	arena_init(&e->scratch, ARENA_MAX);
	arena_init(&e->loading, ARENA_MAX);
	arena_init(&e->reports, ARENA_MAX);
	arena_init(&e->lent, ARENA_MAX);
	buf_init(&e->body, ENGINE_BODY_MAX);
	buf_init(&e->original, ENGINE_BODY_MAX);
	buf_init(&e->composed, REPORT_MAX);
}

static bool init_tables(struct queue_engine *e)
{
	struct table *const tables[] = {&e->msgs, &e->items, &e->jobs, &e->sites, &e->flows};
	bool good = true;

	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		good &= table_init(tables[i], engine_random(e));
	return good;
}

static void free_memory(struct queue_engine *e)
{
	struct table *const tables[] = {&e->msgs, &e->items, &e->jobs, &e->sites, &e->flows};
	struct arena *const arenas[] = {&e->scratch, &e->loading, &e->reports, &e->lent};

	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		table_free(tables[i]);
	for (size_t i = 0; i < sizeof arenas / sizeof *arenas; i++)
		arena_free(arenas[i]);
	buf_free(&e->body);
	buf_free(&e->original);
	buf_free(&e->composed);
	heap_free(e->answers);
	heap_free(e);
}

struct queue_engine *queue_engine_new(const struct queue_config *config, struct store *store, struct queue_times times)
{
	struct queue_engine *e = heap_new(struct queue_engine);

	check(config);
	if (!e)
		return NULL;
	e->config = *config;
	e->store = store;
	e->times = times;
	e->random = times.random;
	crc32c_init(&e->crc);
	/* Jobs of a former life of the queue have other numbers. */
	e->next_job = engine_random(e);
	e->clock_saved = times.mono - QUEUE_CLOCK_IDLE;
	e->purge_at = times.mono;
	init_lists(e);
	if (!init_tables(e) || !start_clock(e)) {
		free_memory(e);
		return NULL;
	}
	e->next_due = e->now;
	return e;
}

static void unlend(struct queue_engine *e)
{
	if (e->lent_item)
		item_drop(e, e->lent_item);
	e->lent_item = NULL;
	heap_free(e->lent_told);
	e->lent_told = NULL;
	if (e->lent_body) {
		e->octets -= e->lent_body_n;
		heap_free(e->lent_body);
	}
	e->lent_body = NULL;
	e->lent_body_n = 0;
	arena_reset(&e->lent);
	if (e->body.cap > BODY_KEEP)
		buf_free(&e->body);
	else
		buf_reset(&e->body);
}

static void drop_list(struct queue_engine *e, struct link *items)
{
	while (!list_empty(items))
		item_drop(e, CONTAINER(items->next, struct item, link));
}

static void free_told(struct queue_engine *e, struct link *list)
{
	while (!list_empty(list)) {
		struct told *t = CONTAINER(list->next, struct told, link);
		list_remove(&t->link);
		heap_free(t);
		e->told_count--;
	}
}

static void put_back_now(struct queue_engine *e, struct item *i)
{
	item_unready(e, i);
	item_put_back(e, i, e->now);
}

static void settle_all(struct queue_engine *e)
{
	size_t before;

	do {
		before = e->item_count;
		e->retry_at = e->times.mono;
		engine_transaction(e);
	} while (!e->down && !list_empty(&e->settling) && e->item_count < before);
}

static void last_transactions(struct queue_engine *e)
{
	e->draining = true;
	if (e->down && e->store->ops->reopen(e->store) != STORE_OK)
		return;
	e->down = false;
	engine_release_held(e);
	settle_all(e);
	if (e->down)
		return;
	engine_each_ready(e, put_back_now);
	e->clock_saved = e->times.mono - QUEUE_CLOCK_IDLE;
	settle_all(e);
}

void queue_engine_free(struct queue_engine *e, struct queue_times times)
{
	if (!e)
		return;
	unlend(e);
	queue_engine_wake(e, times);
	last_transactions(e);
	engine_each_ready(e, put_back_now);
	engine_free_couriers(e);
	drop_list(e, &e->fresh);
	drop_list(e, &e->settling);
	drop_list(e, &e->done);
	while (!list_empty(&e->strays))
		stray_free(e, CONTAINER(e->strays.next, struct stray, link));
	free_told(e, &e->told);
	free_told(e, &e->telling);
	assert(e->item_count == 0);
	assert(e->octets == 0);
	for (struct table_node *node; (node = table_each(&e->sites, NULL)) != NULL;)
		site_free(e, CONTAINER(node, struct site, node));
	free_memory(e);
}

static void route_anew(struct queue_engine *e, struct item *i)
{
	item_unready(e, i);
	item_route(e, i);
	item_enqueue(e, i);
}

void queue_engine_configure(struct queue_engine *e, const struct queue_config *config)
{
	check(config);
	unlend(e);
	e->config = *config;
	for (struct table_node *node = table_each(&e->items, NULL); node; node = table_each(&e->items, node)) {
		struct item *i = CONTAINER(node, struct item, node);
		if (i->state == ITEM_NEW)
			item_route(e, i);
		else if (i->state != ITEM_READY)
			i->route = (struct route){.kind = i->route.kind};
	}
	for (struct table_node *node = table_each(&e->sites, NULL); node; node = table_each(&e->sites, node)) {
		struct site *s = CONTAINER(node, struct site, node);
		if (s->items > 0 || s->under_way > 0)
			site_configure(e, s);
		else
			window_set_max(&s->window,
				       s->maildir ? config->courier_jobs_max : config->site_connections_max);
	}
	engine_each_ready(e, route_anew);
}

void queue_engine_drain(struct queue_engine *e)
{
	e->draining = true;
}

/* ---- messages in ---------------------------------------------------------------------------------------------- */

bool engine_did(struct queue_engine *e, enum store_result result)
{
	if (result == STORE_OK) {
		e->changed = true;
		return true;
	}
	if (e->tx_error == STORE_OK)
		e->tx_error = result;
	return false;
}

static uint64_t flow_of(const struct store_origin *origin, struct slice sender)
{
	if (origin->user.n > 0)
		return hash_slice_lower(flow_key, origin->user);

	struct slice domain = slice_skip(sender, slice_rfind(sender, '@'));
	uint64_t client = hash_slice(flow_key, origin->client);
	return (client << 1 | client >> 63) ^ hash_slice_lower(flow_key, domain);
}

/* Routes, sites and due times of all recipients, in the scratch arena. Whether all of them may stay in memory. Who
 * cannot go soon waits in the store from the beginning, or is held there: no second transaction puts it back. */
static bool route_all(struct queue_engine *e, struct store_new *draft, struct route **ret_routes)
{
	const struct mail_envelope *envelope = draft->envelope;
	size_t count = envelope->rcpt_count;
	struct route *routes = arena_array(&e->scratch, count, sizeof *routes);
	uint64_t *sites = arena_array(&e->scratch, count, sizeof *sites);
	queue_ms *due = arena_array(&e->scratch, count, sizeof *due);
	bool *held = arena_array(&e->scratch, count, sizeof *held);
	bool may = !e->draining && count <= e->config.window_rcpts && e->item_count <= e->config.window_rcpts - count;

	*ret_routes = routes;
	draft->sites = sites;
	draft->due = due;
	draft->held = held;
	if (!routes || !sites || !due || !held)
		return false;
	for (size_t k = 0; k < count; k++) {
		e->config.router.route(e->config.router.arg, envelope->rcpt[k].address, &routes[k]);
		sites[k] = site_hash(routes[k].site);
		bool goes = routes[k].kind == ROUTE_SMTP || routes[k].kind == ROUTE_LMTP;
		struct site *s = site_find(e, sites[k]);
		due[k] = s || goes ? site_due(e, s) : e->now;
		held[k] = routes[k].hold;
		may &= due[k] <= e->now && !held[k];
		if (held[k] && !draft->note)
			draft->note = "held until it is released, as a route says";
	}
	return may;
}

static struct msg *message_of(struct queue_engine *e, const struct store_new *draft)
{
	const struct mail_envelope *envelope = draft->envelope;
	struct store_message from = {
		.id = draft->id,
		.arrived = draft->arrived,
		.arrived_queue = draft->now,
		.sender = envelope->sender,
		.envid = envelope->envid,
		.body = envelope->body,
		.ret = envelope->ret,
		.utf8 = envelope->utf8,
		.size = draft->size,
		.flow = draft->flow,
		.content = draft->content,
		.body_in_file = draft->body_in_file,
		.digest = draft->digest,
		.about = draft->about,
		.rcpt_count = (uint32_t)envelope->rcpt_count,
	};

	return msg_new(e, &from);
}

static void forget_message(struct queue_engine *e, struct msg *m, uint32_t made)
{
	for (uint32_t n = 0; n < made; n++) {
		bool last = m->items == 1;
		item_drop(e, item_find(e, m->id, n));
		if (last)
			return;
	}
	msg_unused(e, m);
}

/* NULL without memory or room at a site: then it waits in the store instead. */
static struct msg *into_memory(struct queue_engine *e, const struct store_new *draft, const struct route *routes)
{
	struct msg *m = message_of(e, draft);

	if (!m)
		return NULL;
	for (uint32_t n = 0; n < m->rcpt_count; n++) {
		struct item *i = item_new(e, m, n, &draft->envelope->rcpt[n]);
		if (!i) {
			forget_message(e, m, n);
			return NULL;
		}
		i->route = routes[n];
		i->site_hash = draft->sites[n];
		i->local = routes[n].kind == ROUTE_MAILBOX || routes[n].kind == ROUTE_LMTP;
		if (!item_count_fresh(e, i)) {
			forget_message(e, m, n + 1);
			return NULL;
		}
	}
	if (!draft->body_in_file)
		msg_keep_body(e, m, draft->body);
	return m;
}

enum store_result engine_admit(struct queue_engine *e, struct store_new *draft)
{
	struct route *routes;
	struct msg *m = NULL;

	if (msg_find(e, draft->id))
		return STORE_EXISTS;
	arena_reset(&e->scratch);
	bool may = route_all(e, draft, &routes);
	if (!routes || !draft->sites || !draft->due || !draft->held)
		return STORE_NO_MEMORY;
	draft->flow = flow_of(&draft->origin, draft->envelope->sender);
	if (may)
		m = into_memory(e, draft, routes);
	draft->claim = m != NULL;
	enum store_result r = e->store->ops->put(e->store, draft);
	/* Even a put that failed may have left something to roll back. */
	e->changed = true;
	if (r != STORE_OK && m)
		forget_message(e, m, m->rcpt_count);
	for (size_t k = 0; r == STORE_OK && !m && k < draft->envelope->rcpt_count; k++)
		if (!draft->held[k])
			engine_falls_due(e, draft->due[k]);
	return r;
}

static bool is_sound(const struct queue_put *put)
{
	const struct mail_envelope *v = put->envelope;
	const struct slice texts[] = {
		v->sender, v->envid, put->origin.client, put->origin.helo, put->origin.protocol, put->origin.user};

	if (put->id == 0 || put->id > MSG_ID_MAX || v->rcpt_count == 0 || v->rcpt_count > STORE_RCPT_MAX)
		return false;
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (texts[i].n > STORE_TEXT_MAX)
			return false;
	for (size_t i = 0; i < v->rcpt_count; i++)
		if (v->rcpt[i].address.n == 0 || v->rcpt[i].address.n > STORE_TEXT_MAX ||
		    v->rcpt[i].orcpt.n > STORE_TEXT_MAX)
			return false;
	return put->content <= STORE_CONTENT_MAX;
}

static struct answer *answer_new(struct queue_engine *e, uint64_t tag)
{
	if (e->answer_end == e->answer_cap && e->answer_first > 0) {
		memmove(e->answers, e->answers + e->answer_first,
			(e->answer_end - e->answer_first) * sizeof *e->answers);
		e->answer_open -= e->answer_first;
		e->answer_end -= e->answer_first;
		e->answer_first = 0;
	}
	if (e->answer_end == e->answer_cap) {
		size_t cap = e->answer_cap ? e->answer_cap * 2 : ANSWERS_FIRST;
		if (cap > QUEUE_ANSWERS_MAX)
			return NULL;
		struct answer *more = heap_resize(e->answers, cap * sizeof *more);
		if (!more)
			return NULL;
		e->answers = more;
		e->answer_cap = cap;
	}
	struct answer *a = &e->answers[e->answer_end++];
	*a = (struct answer){.tag = tag};
	return a;
}

bool queue_engine_put(struct queue_engine *e, uint64_t tag, const struct queue_put *put)
{
	bool alone = e->answer_open == e->answer_end;
	struct answer *a = answer_new(e, tag);
	struct store_new draft = {
		.id = put->id,
		.arrived = e->times.wall,
		.now = e->now,
		.envelope = put->envelope,
		.origin = put->origin,
		.size = put->size,
		.content = put->content,
		.body = put->body,
		.body_in_file = put->body_in_file,
		.digest = put->digest,
	};

	if (!a)
		return false;
	if (e->down)
		a->result = e->down_why;
	else if (!is_sound(put))
		a->result = STORE_IO;
	else
		a->result = engine_admit(e, &draft);
	a->fixed = a->result != STORE_OK;
	if (a->fixed && alone)
		e->answer_open = e->answer_end;
	return true;
}

/* ---- the transaction ------------------------------------------------------------------------------------------ */

static void answer_all(struct queue_engine *e, enum store_result result)
{
	for (; e->answer_open < e->answer_end; e->answer_open++)
		if (!e->answers[e->answer_open].fixed)
			e->answers[e->answer_open].result = result;
}

static void tell_store(struct queue_engine *e, enum queue_event_type type, enum store_result result)
{
	struct queue_event event = {.type = type, .result = result};

	engine_tell(e, &event);
	list_splice(&e->told, &e->telling);
}

static void purge(struct queue_engine *e)
{
	size_t count = 0;

	if (e->times.mono < e->purge_at || e->tx_error != STORE_OK)
		return;
	enum store_result r = e->store->ops->purge(e->store, e->now - e->config.retention, ENGINE_PURGE_BATCH, &count);
	if (r != STORE_OK || count > 0)
		engine_did(e, r);
	e->purge_at = e->times.mono + (count == ENGINE_PURGE_BATCH ? SECOND : ENGINE_PURGE);
}

static enum store_result commit(struct queue_engine *e)
{
	if (e->tx_error != STORE_OK) {
		/* The store may know nothing of our trouble, and would commit a part: throw it all away. */
		if (e->store->ops->reopen(e->store) != STORE_OK)
			return STORE_IO;
		return e->tx_error;
	}
	return e->changed ? e->store->ops->commit(e->store) : STORE_OK;
}

static void enqueue_fresh(struct queue_engine *e)
{
	size_t all = 0, back = 0;

	while (!list_empty(&e->fresh)) {
		struct item *i = CONTAINER(e->fresh.next, struct item, link);
		list_remove(&i->link);
		item_enqueue(e, i);
		all++;
		back += i->state == ITEM_SETTLING && i->settle == SETTLE_PUT_BACK;
	}
	/* Sites that cannot take more: do not spend the time on moving their recipients to and fro. */
	if (back > all / 2)
		e->claim_after = e->times.mono + ENGINE_CLAIM_PAUSE;
}

static void succeeded(struct queue_engine *e)
{
	e->changed = false;
	e->failure_told = false;
	answer_all(e, STORE_OK);
	engine_settled(e);
	if (e->failures < ENGINE_CORRUPT_AFTER || list_empty(&e->settling))
		e->failures = 0;
	enqueue_fresh(e);
	list_splice(&e->told, &e->telling);
}

static bool wants_reopen(enum store_result r)
{
	return r == STORE_IO || r == STORE_CORRUPT || r == STORE_LOCKED || r == STORE_VERSION;
}

static void failed(struct queue_engine *e, enum store_result r)
{
	e->changed = false;
	e->tx_error = STORE_OK;
	answer_all(e, r);
	drop_list(e, &e->fresh);
	engine_unsettled(e);
	free_told(e, &e->telling);
	engine_falls_due(e, e->now);
	e->clock_saved = e->times.mono - QUEUE_CLOCK_IDLE;
	if (!e->failure_told)
		tell_store(e, QUEUE_EVENT_STORE_FAILED, r);
	e->failure_told = true;
	e->down = wants_reopen(r);
	e->down_why = r;
	if (!e->down)
		return;
	e->retry_at = e->times.mono + ENGINE_REOPEN;
	if (e->failures >= ENGINE_CORRUPT_AFTER && r == STORE_CORRUPT) {
		engine_abandon_first(e);
		list_splice(&e->told, &e->telling);
	}
	e->failures++;
}

bool queue_engine_is_stuck(const struct queue_engine *e)
{
	return e->down && e->down_why == STORE_CORRUPT && e->failures >= ENGINE_STUCK_AFTER;
}

static enum store_result attempt(struct queue_engine *e, bool first, bool reports)
{
	if (e->times.mono >= e->retry_at) {
		if (first)
			engine_strays(e);
		/* Before anything is put back: what is put back leaves memory with this transaction, and a claim in the
		 * same one would be nobody's. */
		if (first && e->tx_error == STORE_OK)
			engine_claim(e);
		engine_settle(e, reports);
		if (first)
			purge(e);
	}
	save_clock(e);
	return commit(e);
}

enum store_result engine_transaction(struct queue_engine *e)
{
	static const bool reports[] = {true, true, false};
	enum store_result first = STORE_OK, r = STORE_OK;
	bool left = false;

	for (size_t k = 0; k < sizeof reports / sizeof *reports && !e->down; k++) {
		r = attempt(e, k == 0, reports[k]);
		if (k == 0)
			first = r;
		if (r == STORE_OK) {
			succeeded(e);
			/* Those whose reports do not go through now. */
			left = !reports[k] && !list_empty(&e->settling) && e->failures < ENGINE_CORRUPT_AFTER;
			break;
		}
		failed(e, r);
	}
	if (!e->down && (r != STORE_OK || left))
		e->retry_at = e->times.mono + ENGINE_REOPEN;
	return first;
}

static bool reopened(struct queue_engine *e)
{
	if (e->times.mono < e->retry_at)
		return false;
	if (e->store->ops->reopen(e->store) != STORE_OK) {
		e->retry_at = e->times.mono + ENGINE_REOPEN;
		return false;
	}
	e->down = false;
	tell_store(e, QUEUE_EVENT_STORE_REOPENED, STORE_OK);
	return true;
}

void queue_engine_turn(struct queue_engine *e, struct queue_times times)
{
	queue_engine_wake(e, times);
	if (!e->down || reopened(e))
		engine_transaction(e);
}

bool queue_engine_owes(const struct queue_engine *e)
{
	return !list_empty(&e->settling) || !list_empty(&e->strays);
}

mono_ms queue_engine_deadline(const struct queue_engine *e)
{
	mono_ms now = e->times.mono, at = NEVER;
	bool work = queue_engine_owes(e);

	if (e->down)
		return e->retry_at;
	if (e->changed || e->tx_error != STORE_OK || e->answer_open < e->answer_end)
		return now;
	if (work)
		at = e->retry_at > now ? e->retry_at : now;

	const mono_ms others[] = {engine_claim_at(e), engine_dispatch_at(e), e->clock_saved + QUEUE_CLOCK_IDLE,
				  e->purge_at};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		/* Those wait for the store to work again, too. */
		mono_ms other = others[i] > e->retry_at ? others[i] : e->retry_at;
		at = other < at ? other : at;
	}
	return at;
}

/* ---- actions out ---------------------------------------------------------------------------------------------- */

static bool next_answer(struct queue_engine *e, struct queue_action *ret)
{
	if (e->answer_first == e->answer_open)
		return false;

	const struct answer *a = &e->answers[e->answer_first++];
	*ret = (struct queue_action){.type = QUEUE_ACTION_ANSWER, .tag = a->tag, .result = a->result};
	if (e->answer_first == e->answer_end)
		e->answer_first = e->answer_open = e->answer_end = 0;
	return true;
}

static enum queue_event_type event_of(const struct item *i)
{
	switch (i->next) {
	case STORE_DELIVERED:
		return QUEUE_EVENT_DELIVERED;
	case STORE_FAILED:
		return QUEUE_EVENT_FAILED;
	case STORE_HELD:
		return i->settle == SETTLE_DAMAGED ? QUEUE_EVENT_CORRUPT : QUEUE_EVENT_DEFERRED;
	default:
		return QUEUE_EVENT_DEFERRED;
	}
}

static bool next_event(struct queue_engine *e, struct queue_action *ret)
{
	ret->type = QUEUE_ACTION_EVENT;
	if (!list_empty(&e->told)) {
		e->lent_told = CONTAINER(e->told.next, struct told, link);
		list_remove(&e->lent_told->link);
		e->told_count--;
		ret->event = e->lent_told->event;
		return true;
	}
	if (list_empty(&e->done))
		return false;

	struct item *i = e->lent_item = CONTAINER(e->done.next, struct item, link);
	list_remove(&i->link);
	ret->event = (struct queue_event){
		.type = event_of(i),
		.id = i->msg->id,
		.n = i->n,
		.rcpt = i->rcpt.address,
		.sender = i->msg->sender,
		.remote = i->found.remote,
		.outcome = i->found.outcome,
		.delay = i->next == STORE_DELIVERED ? e->now - i->msg->arrived_queue : i->delay,
	};
	return true;
}

bool queue_engine_next(struct queue_engine *e, struct queue_action *ret)
{
	unlend(e);
	*ret = (struct queue_action){0};
	if (next_answer(e, ret) || next_event(e, ret))
		return true;
	ret->type = QUEUE_ACTION_JOB;
	return engine_dispatch(e, &ret->job);
}
