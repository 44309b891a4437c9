/*
 * Sites and flows: who goes next.
 *
 * A site is in a ring of its kind of courier, in its line, exactly while it has a job that its window lets go. Within a
 * site the flows take turns, one job each. Nothing here walks over more than what changes.
 *
 * Silent sites have a share of the window of recipients, since each of theirs stays in memory for long:
 *
 *	up to 1/4 of it   a silent site has here what any other has
 *	up to 3/8         those of which nothing was tried yet have a few,
 *	up to 1/2         one each: the first message of a site that answers is not kept waiting by those that do not
 *	beyond            theirs wait in the store
 */
#include "queue/engine_private.h"

#include "base/heap.h"

#include <assert.h>
#include <string.h>

/* Not secret: the hash stands in the store and must be the same after a restart. */
static const struct hash_key site_key = {UINT64_C(0x706f737472696465), UINT64_C(0x7220736974650001)};

#define LONG_JOBS    32 /* recipients in memory for each job that the site's window allows, */
#define LONG_SHARE   4  /* but at most this part of the window of recipients, which it has while half of it is empty, */
#define LONG_LEAST   64 /* and at least so many, */
#define LONG_CROWDED 8  /* or so few when it is crowded */

#define SILENT_SHARE(window) ((window) / 4)
#define SILENT_FEW(window)   ((window) / 4 + (window) / 8)
#define SILENT_MOST(window)  ((window) / 2)

#define SPREAD_LEAST (10 * SECOND)
#define SPREAD_EACH  100    /* ms: a site that has too much here gets ten back in a second, or as many as it takes */
#define SPREAD_SILENT 10    /* all silent sites together get a hundred */
#define SPREAD_DEAD  SECOND /* one that is dead gets one, until the pause is full of them */
#define SPREAD_LONG  (10 * MINUTE)
#define PACE_SPAN    (8 * SECOND) /* over which a site's pace is known */

uint64_t site_hash(struct slice name)
{
	return hash_slice_lower(site_key, name);
}

uint64_t queue_site_hash(struct slice site)
{
	return site_hash(site);
}

struct site *site_find(const struct queue_engine *e, uint64_t hash)
{
	struct table_node *node = table_find(&e->sites, hash);

	return node ? CONTAINER(node, struct site, node) : NULL;
}

static enum queue_courier_kind kind_of(enum route_kind kind)
{
	return kind == ROUTE_SMTP ? QUEUE_COURIER_SENDER : QUEUE_COURIER_MAILBOX;
}

static void init_window(const struct queue_engine *e, struct site *s)
{
	if (s->maildir)
		window_init(&s->window, e->config.courier_jobs_max, e->config.courier_jobs_max);
	else
		window_init(&s->window, e->config.site_connections, e->config.site_connections_max);
	/* There is nobody who would have to answer. */
	s->window.silent = !s->maildir;
}

void site_configure(struct queue_engine *e, struct site *s)
{
	window_set_max(&s->window, s->maildir ? e->config.courier_jobs_max : e->config.site_connections_max);
	site_update(e, s);
}

static enum site_line line_of(const struct site *s)
{
	if (!site_is_silent(s))
		return LINE_ANSWERING;
	return s->window.pauses > 0 ? LINE_SILENT : LINE_UNTRIED;
}

static struct site *site_get(struct queue_engine *e, const struct route *route, uint64_t hash)
{
	struct site *s = site_find(e, hash);

	if (s && s->kind == kind_of(route->kind))
		return s;
	if (s) {
		/* The configuration gave the name another meaning: nothing of the old one may be under way. */
		if (s->items > 0 || s->under_way > 0)
			return NULL;
		site_free(e, s);
	}
	s = heap_alloc(sizeof *s + route->site.n);
	if (!s)
		return NULL;
	s->name_n = route->site.n;
	if (s->name_n)
		memcpy(s->name, route->site.p, s->name_n);
	s->hash = hash;
	s->kind = kind_of(route->kind);
	s->taken_since = e->times.mono - 2 * PACE_SPAN - 1;
	list_init(&s->ring);
	list_init(&s->idle);
	list_init(&s->flows);
	s->maildir = route->kind == ROUTE_MAILBOX;
	init_window(e, s);
	s->line = line_of(s);
	table_insert(&e->sites, &s->node, hash);
	return s;
}

void site_free(struct queue_engine *e, struct site *s)
{
	assert(s->items == 0);
	assert(s->under_way == 0);
	assert(s->silent_items == 0);
	if (!list_empty(&s->idle)) {
		list_remove(&s->idle);
		e->idle_count[s->idles_silent]--;
	}
	list_remove(&s->ring);
	table_remove(&e->sites, &s->node);
	finding_free(&s->last);
	heap_free(s);
}

/* Whether silent sites have so much in memory that one of them may have no more; s: NULL for one that is not known. */
static bool silence_is_long(const struct queue_engine *e, const struct site *s)
{
	size_t window = e->config.window_rcpts, most;

	if (e->silent_items < SILENT_SHARE(window) || e->silent_items >= SILENT_MOST(window))
		return e->silent_items >= SILENT_MOST(window);
	most = e->silent_items < SILENT_FEW(window) ? LONG_CROWDED : 1;
	return s && (line_of(s) != LINE_UNTRIED || s->ready + s->fresh >= most);
}

bool site_is_long(const struct queue_engine *e, const struct site *s)
{
	if (site_is_silent(s) && silence_is_long(e, s))
		return true;
	size_t share = e->config.window_rcpts / LONG_SHARE;
	size_t useful = (size_t)s->window.connections * e->config.jobs_per_connection * LONG_JOBS;
	size_t most = useful < share ? useful : share;

	if (engine_is_crowded(e))
		most = LONG_CROWDED;
	else if (e->item_count < e->config.window_rcpts / 2)
		most = share > LONG_LEAST ? share : LONG_LEAST;
	else if (most < LONG_LEAST)
		most = LONG_LEAST;
	return s->ready + s->fresh >= most;
}

/* Silent ones and others do not push each other out. */
static void site_update_idle(struct queue_engine *e, struct site *s)
{
	bool idle = s->items == 0 && s->under_way == 0;

	if (idle == !list_empty(&s->idle))
		return;
	if (!idle) {
		list_remove(&s->idle);
		e->idle_count[s->idles_silent]--;
		return;
	}
	bool silent = s->idles_silent = site_is_silent(s);
	list_append(&e->idle[silent], &s->idle);
	e->idle_count[silent]++;
	if (e->idle_count[silent] > ENGINE_SITES_IDLE_MAX)
		site_free(e, CONTAINER(e->idle[silent].next, struct site, idle));
}

static void count_silent(struct queue_engine *e, struct site *s)
{
	size_t now = site_is_silent(s) ? s->ready + s->fresh : 0;

	e->silent_items = e->silent_items - s->silent_items + now;
	s->silent_items = now;
	if (e->silent_items < SILENT_SHARE(e->config.window_rcpts) / 2)
		e->silent_put_backs = 0;
}

void site_update(struct queue_engine *e, struct site *s)
{
	bool may = s->ready > 0 && s->under_way < window_jobs(&s->window, e->config.jobs_per_connection, e->times.mono);
	enum site_line line = line_of(s);

	count_silent(e, s);
	if (s->line != line)
		list_remove(&s->ring);
	s->line = line;
	if (may && list_empty(&s->ring))
		list_append(&e->ring[s->kind][line], &s->ring);
	else if (!may)
		list_remove(&s->ring);
	/* Between two pauses without a word from the site it is still known how many they are. */
	if (s->ready == 0 && s->window.next_pause == 0)
		s->put_backs = s->put_before = 0;
	site_update_idle(e, s);
}

void site_uncount(struct queue_engine *e, struct site *s)
{
	assert(s->items > 0);
	s->items--;
	site_update_idle(e, s);
}

/* ---- flows ---------------------------------------------------------------------------------------------------- */

static struct flow *flow_get(struct queue_engine *e, struct site *s, uint64_t hash)
{
	uint64_t key = s->hash ^ (hash << 1 | hash >> 63);

	for (struct table_node *node = table_find(&e->flows, key); node; node = table_again(node)) {
		struct flow *f = CONTAINER(node, struct flow, node);
		if (f->site == s && f->hash == hash)
			return f;
	}
	struct flow *f = heap_new(struct flow);
	if (!f)
		return NULL;
	f->site = s;
	f->hash = hash;
	list_init(&f->link);
	list_init(&f->jobs);
	list_append(&s->flows, &f->link);
	table_insert(&e->flows, &f->node, key);
	return f;
}

static void flow_free_if_empty(struct queue_engine *e, struct flow *f)
{
	if (!list_empty(&f->jobs))
		return;
	list_remove(&f->link);
	table_remove(&e->flows, &f->node);
	heap_free(f);
}

/* ---- items ---------------------------------------------------------------------------------------------------- */

void item_route(struct queue_engine *e, struct item *i)
{
	e->config.router.route(e->config.router.arg, i->rcpt.address, &i->route);
	assert(i->route.kind <= ROUTE_KIND_MAX);
	i->site_hash = site_hash(i->route.site);
	i->local = i->route.kind == ROUTE_MAILBOX || i->route.kind == ROUTE_LMTP;
}

static void settle(struct queue_engine *e, struct item *i, enum settle_kind kind)
{
	item_set_state(i, ITEM_SETTLING);
	i->settle = kind;
	list_append(&e->settling, &i->link);
}

void item_put_back(struct queue_engine *e, struct item *i, queue_ms due)
{
	i->due = due;
	settle(e, i, SETTLE_PUT_BACK);
}

void item_conclude(struct queue_engine *e, struct item *i, const struct smtp_outcome *outcome)
{
	finding_set(&i->found, outcome, SLICE_NONE, 0, e->times.wall);
	settle(e, i, SETTLE_OUTCOME);
}

static const struct smtp_outcome no_way[] = {
	[ROUTE_UNKNOWN_MAILBOX] = {.verdict = SMTP_FAILED,
				   .stage = SMTP_STAGE_ROUTE,
				   .status = {5, 1, 1},
				   .text = ENGINE_TEXT("there is no such mailbox here")},
	[ROUTE_NONE] = {.verdict = SMTP_FAILED,
			.stage = SMTP_STAGE_ROUTE,
			.status = {5, 4, 4},
			.text = ENGINE_TEXT("no route leads to this domain")},
};

static bool is_unknown(const struct queue_engine *e, const struct site *s)
{
	return s->under_way == 0 && e->times.mono - s->taken_since > 2 * PACE_SPAN;
}

void site_begins(const struct queue_engine *e, struct site *s)
{
	if (!is_unknown(e, s))
		return;
	s->taken = 0;
	s->taken_since = e->times.mono;
}

void site_answered(const struct queue_engine *e, struct site *s)
{
	span_ms span = e->times.mono - s->taken_since;

	s->taken++;
	/* What was long ago counts less and less. */
	if (span > PACE_SPAN) {
		s->taken = (s->taken + 1) / 2;
		s->taken_since += span / 2;
	}
}

/* How long the site needs for so many recipients, at the pace of the last seconds; it is believed to be fast until it
 * was seen to be slow. */
static span_ms time_for(const struct queue_engine *e, const struct site *s, size_t count)
{
	span_ms span = is_unknown(e, s) ? 1 : e->times.mono - s->taken_since + 1;
	span_ms slowest = (span_ms)count * SPREAD_EACH;

	if (span > HOUR)
		return slowest;
	span_ms at_its_pace = (span_ms)count * span / (s->taken > 0 ? (span_ms)s->taken : 1);
	return at_its_pace < slowest ? at_its_pace : slowest;
}

/* They come back when what is in memory is about to be through, and no faster than the site takes them. */
static queue_ms due_after_others(struct queue_engine *e, struct site *s)
{
	span_ms wait = time_for(e, s, s->ready / 2), width = time_for(e, s, s->put_backs) + 1;

	if (s->put_backs < UINT32_MAX / 2)
		s->put_backs++;
	if (wait > SPREAD_LEAST)
		wait = SPREAD_LEAST;
	if (width > SPREAD_LONG)
		width = SPREAD_LONG;
	return e->now + wait + 1 + engine_random_below(e, width);
}

/* Room for recipients of silent sites comes slowly, and for all of them together. */
static queue_ms due_after_silent(struct queue_engine *e)
{
	span_ms width = 1 + (span_ms)e->silent_put_backs * SPREAD_SILENT;

	if (e->silent_put_backs < UINT32_MAX / 2)
		e->silent_put_backs++;
	if (width > SPREAD_LONG)
		width = SPREAD_LONG;
	return e->now + SECOND + engine_random_below(e, width);
}

/*
 * Few come back soon after the pause, one by one; many are spread over just the pause that follows if the site is still
 * dead. So each pause finds them as evenly spread as the one before, and no second has a heap of them.
 */
static queue_ms due_after_pause(struct queue_engine *e, struct site *s)
{
	span_ms widest = s->window.next_pause > MINUTE ? s->window.next_pause : MINUTE;
	unsigned count = s->put_backs > s->put_before ? s->put_backs : s->put_before;
	span_ms width = SPREAD_LEAST + (span_ms)count * SPREAD_DEAD;

	if (s->put_backs < UINT32_MAX / 2)
		s->put_backs++;
	if (width > widest)
		width = widest;
	return e->now + window_paused(&s->window, e->times.mono) + 1 + engine_random_below(e, width);
}

/* The site has as much in memory as it may. */
static queue_ms due_when_long(struct queue_engine *e, struct site *s)
{
	return site_is_silent(s) ? due_after_silent(e) : due_after_others(e, s);
}

queue_ms site_due(struct queue_engine *e, struct site *s)
{
	if (!s)
		return silence_is_long(e, NULL) ? due_after_silent(e) : e->now;
	if (window_paused(&s->window, e->times.mono) > 0)
		return due_after_pause(e, s);
	return site_is_long(e, s) ? due_when_long(e, s) : e->now;
}

static void put_back_paused(struct queue_engine *e, struct item *i, struct site *s)
{
	i->expires = true;
	item_put_back(e, i, due_after_pause(e, s));
}

static bool same_way(const struct job *job, const struct item *i)
{
	const struct item *first = CONTAINER(job->items.next, struct item, link);

	return job->msg == i->msg && first->route.kind == i->route.kind && slice_eq(first->route.hosts, i->route.hosts);
}

/* The flow's last job when the item may join it, else a new one. NULL without memory. */
static struct job *job_for(struct queue_engine *e, struct flow *f, const struct item *i)
{
	if (!list_empty(&f->jobs)) {
		struct job *last = CONTAINER(f->jobs.prev, struct job, link);
		if (last->count < e->config.job_rcpts_max && same_way(last, i))
			return last;
	}
	struct job *job = heap_new(struct job);
	if (!job)
		return NULL;
	list_init(&job->link);
	list_init(&job->items);
	list_init(&job->held);
	job->msg = i->msg;
	job->site = f->site;
	job->flow = f;
	list_append(&f->jobs, &job->link);
	return job;
}

static bool join_job(struct queue_engine *e, struct site *s, struct item *i)
{
	struct flow *f = flow_get(e, s, i->msg->flow);

	if (!f)
		return false;
	struct job *job = job_for(e, f, i);
	if (!job) {
		flow_free_if_empty(e, f);
		return false;
	}
	item_set_state(i, ITEM_READY);
	i->job = job;
	list_append(&job->items, &i->link);
	job->count++;
	s->ready++;
	return true;
}

static void count_at(struct queue_engine *e, struct item *i, struct site *s)
{
	if (i->site == s)
		return;
	s->items++;
	if (i->site)
		site_uncount(e, i->site);
	i->site = s;
}

bool item_count_fresh(struct queue_engine *e, struct item *i)
{
	if (i->route.kind == ROUTE_UNKNOWN_MAILBOX || i->route.kind == ROUTE_NONE)
		return true;
	struct site *s = site_get(e, &i->route, i->site_hash);
	if (!s || site_is_long(e, s))
		return false;
	count_at(e, i, s);
	i->is_fresh = true;
	s->fresh++;
	count_silent(e, s);
	site_update_idle(e, s);
	return true;
}

void item_uncount_fresh(struct queue_engine *e, struct item *i)
{
	if (!i->is_fresh)
		return;
	i->is_fresh = false;
	i->site->fresh--;
	count_silent(e, i->site);
}

void item_enqueue(struct queue_engine *e, struct item *i)
{
	assert(i->state == ITEM_NEW);
	item_uncount_fresh(e, i);
	if (i->route.kind == ROUTE_UNKNOWN_MAILBOX || i->route.kind == ROUTE_NONE) {
		item_conclude(e, i, &no_way[i->route.kind]);
		return;
	}
	struct site *s = site_get(e, &i->route, i->site_hash);
	if (!s) {
		item_put_back(e, i, e->now + MINUTE);
		return;
	}
	count_at(e, i, s);
	if (window_paused(&s->window, e->times.mono) > 0)
		put_back_paused(e, i, s);
	else if (site_is_long(e, s))
		item_put_back(e, i, due_when_long(e, s));
	else if (!join_job(e, s, i))
		item_put_back(e, i, e->now + MINUTE);
	site_update(e, s);
}

void item_unready(struct queue_engine *e, struct item *i)
{
	struct job *job = i->job;
	struct site *s = job->site;

	assert(i->state == ITEM_READY);
	list_remove(&i->link);
	item_set_state(i, ITEM_NEW);
	i->job = NULL;
	s->ready--;
	if (--job->count == 0) {
		struct flow *f = job->flow;
		list_remove(&job->link);
		heap_free(job);
		flow_free_if_empty(e, f);
	}
	site_update(e, s);
}

/* ---- windows -------------------------------------------------------------------------------------------------- */

static void each_ready_of(struct queue_engine *e, struct site *s, void (*each)(struct queue_engine *e, struct item *i))
{
	struct link all;

	list_init(&all);
	for (struct link *f = s->flows.next; f != &s->flows; f = f->next) {
		struct flow *flow = CONTAINER(f, struct flow, link);
		for (struct link *j = flow->jobs.next; j != &flow->jobs; j = j->next) {
			struct job *job = CONTAINER(j, struct job, link);
			for (struct link *i = job->items.next; i != &job->items; i = i->next)
				list_append(&all, &CONTAINER(i, struct item, link)->report);
		}
	}
	while (!list_empty(&all)) {
		struct item *i = CONTAINER(all.next, struct item, report);
		list_remove(&i->report);
		each(e, i);
	}
}

void engine_each_ready(struct queue_engine *e, void (*each)(struct queue_engine *e, struct item *i))
{
	struct link sites;

	/* Collected first: `each` may make new sites. */
	list_init(&sites);
	for (struct table_node *node = table_each(&e->sites, NULL); node; node = table_each(&e->sites, node)) {
		struct site *s = CONTAINER(node, struct site, node);
		if (s->ready > 0)
			list_append(&sites, &s->ring);
	}
	while (!list_empty(&sites)) {
		struct site *s = CONTAINER(sites.next, struct site, ring);
		uint64_t hash = s->hash;
		list_remove(&s->ring);
		each_ready_of(e, s, each);
		/* It may be gone with its last item. */
		if (site_find(e, hash) == s)
			site_update(e, s);
	}
}

static void put_back_ready(struct queue_engine *e, struct item *i)
{
	struct site *s = i->site;

	item_unready(e, i);
	put_back_paused(e, i, s);
}

void site_failed(struct queue_engine *e, struct site *s, uint32_t generation, const struct finding *why)
{
	bool silent = !s->maildir && why->outcome.code == 0 && why->took >= ENGINE_SILENCE;

	finding_set(&s->last, &why->outcome, why->remote, why->took, why->at);
	if (window_failed(&s->window, generation, silent, e->times.mono, engine_random32(e))) {
		s->put_before = s->put_backs;
		s->put_backs = 0;
		each_ready_of(e, s, put_back_ready);
	}
	site_update(e, s);
}

void site_open(struct queue_engine *e, struct site *s)
{
	if (window_paused(&s->window, e->times.mono) == 0)
		return;
	window_open(&s->window);
	s->put_backs = s->put_before = 0;
	site_update(e, s);
}

static struct queue_site_view view_of(const struct queue_engine *e, const struct site *s)
{
	struct queue_site_view view = {
		.site = slice_of(s->name, s->name_n),
		.window = s->window.connections,
		.under_way = s->under_way,
		.waiting = s->ready,
		.paused = window_paused(&s->window, e->times.mono),
	};

	if (view.paused > 0) {
		view.last = s->last.outcome;
		view.last_remote = s->last.remote;
	}
	return view;
}

bool queue_engine_site(const struct queue_engine *e, uint64_t hash, struct queue_site_view *ret)
{
	const struct site *s = site_find(e, hash);

	if (s)
		*ret = view_of(e, s);
	return s != NULL;
}

void queue_engine_sites(const struct queue_engine *e, bool (*each)(void *arg, const struct queue_site_view *v),
			void *arg)
{
	for (struct table_node *node = table_each(&e->sites, NULL); node; node = table_each(&e->sites, node)) {
		const struct site *s = CONTAINER(node, struct site, node);
		struct queue_site_view view = view_of(e, s);
		if ((s->items > 0 || s->under_way > 0 || view.paused > 0) && !each(arg, &view))
			return;
	}
}
