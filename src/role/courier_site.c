#include "role/courier_private.h"

#include "base/heap.h"

#include <string.h>

/*
 * A site that answers at once is served by few connections whose jobs follow each other: the commands of one go out
 * with the message before it (RFC 2920 3.1), which saves either side half of its work. So an idle connection takes a
 * job only when more than so many wait for each one at work; and all of them do where the site is not quick after all.
 */
#define QUICK       (8 * 5) /* eighths of a millisecond */
#define IN_LINE     4
#define STALLED     ((span_ms)20)
#define PACE_MAX    (60 * SECOND)

/* Whether it stands in the line for a connection. */
static void set_starved(struct site *site, bool starved)
{
	struct courier *c = site->courier;

	if (site->is_starved == starved)
		return;
	if (starved)
		TAILQ_INSERT_TAIL(&c->starved[site->silent], site, starved);
	else
		TAILQ_REMOVE(&c->starved[site->silent], site, starved);
	site->is_starved = starved;
}

void courier_set_silent(struct site *site, bool silent)
{
	struct courier *c = site->courier;
	bool starved = site->is_starved;

	if (site->silent == silent)
		return;
	set_starved(site, false);
	site->silent = silent;
	set_starved(site, starved);
	if (silent)
		c->silent_links += site->link_count;
	else
		c->silent_links -= site->link_count;
}

/*
 * The queue gives out no more jobs for silent sites than these may have connections, and in what order. Here they are
 * bounded once more, because a site may fall silent that has many: nobody has to wait behind them.
 */
static size_t silent_share(const struct courier *c)
{
	return c->conf->connections_max > 1 ? c->conf->connections_max / 2 : 1;
}

/* So many of these they have before others. */
static size_t silent_least(const struct courier *c)
{
	return (silent_share(c) + 3) / 4;
}

bool courier_is_wanted(const struct link *k, bool has_job)
{
	const struct courier *c = k->courier;
	size_t most = has_job ? silent_least(c) : silent_share(c);

	if (has_job && k->site->link_count <= 1)
		return false;
	return !TAILQ_EMPTY(&c->starved[false]) || (!TAILQ_EMPTY(&c->starved[true]) && c->silent_links < most);
}

void courier_free_site(struct site *site)
{
	set_starved(site, false);
	loop_timer_free(site->stalled);
	heap_free(site->name);
	heap_free(site);
}

static void free_site_if_empty(struct site *site)
{
	struct courier *c = site->courier;
	struct site **at = &c->sites[site->hash % COURIER_BUCKETS];

	if (site->busy > 0 || site->link_count > 0 || !TAILQ_EMPTY(&site->waiting))
		return;
	while (*at != site)
		at = &(*at)->next;
	*at = site->next;
	courier_free_site(site);
}

/* A connection that has nothing to do makes room. */
static void end_an_idle_link(struct courier *c)
{
	for (size_t i = 0; i < COURIER_BUCKETS; i++)
		for (struct site *site = c->sites[i]; site; site = site->next) {
			struct link *k;
			TAILQ_FOREACH(k, &site->links, link)
			if (k->idle) {
				courier_quit_link(k);
				courier_pull_events(k);
				return;
			}
		}
}

/* Who has waited longest of those for whom there is room; NULL: nobody. */
static struct site *next_starved(const struct courier *c)
{
	struct site *answering = TAILQ_FIRST(&c->starved[false]), *silent = TAILQ_FIRST(&c->starved[true]);

	if (c->stopping || c->link_count >= c->conf->connections_max)
		return NULL;
	if (silent && c->silent_links < (answering ? silent_least(c) : silent_share(c)))
		return silent;
	return answering;
}

void courier_serve_starved(void *arg)
{
	struct courier *c = arg;
	struct site *site;

	while ((site = next_starved(c)) != NULL) {
		set_starved(site, false);
		c->turn = site;
		courier_serve_site(site);
		c->turn = NULL;
	}
}

/* While others wait in its line, there is one connection for the first of them, and none out of turn. */
static bool may_open(const struct site *site)
{
	const struct courier *c = site->courier;

	if (c->stopping || c->link_count >= c->conf->connections_max)
		return false;
	if (site->silent && c->silent_links >= silent_share(c))
		return false;
	return TAILQ_EMPTY(&c->starved[site->silent]) || (c->turn == site && site->link_count == 0);
}

void courier_note_pace(struct site *site, span_ms took)
{
	unsigned eighths = 8 * (unsigned)(took < PACE_MAX ? took : PACE_MAX);

	site->pace = site->pace == 0 ? eighths + 1 : site->pace - site->pace / 8 + eighths / 8;
}

static void on_stalled(void *arg)
{
	struct site *site = arg;

	site->in_line = false;
	if (TAILQ_EMPTY(&site->waiting))
		return;
	site->pace = 0;
	courier_serve_site(site);
}

bool courier_leaves_in_line(struct site *site)
{
	const struct courier_job *job;
	const struct link *k;
	size_t room = 0, waiting = 0;

	if (TAILQ_EMPTY(&site->waiting) || site->pace == 0 || site->pace > QUICK || !site->stalled)
		return false;
	TAILQ_FOREACH(k, &site->links, link)
	if (!k->idle && !k->quitting)
		room += IN_LINE;
	TAILQ_FOREACH(job, &site->waiting, link)
	if (++waiting > room)
		return false;
	if (!site->in_line)
		loop_timer_set(site->stalled, loop_mono(site->courier->loop) + STALLED);
	site->in_line = true;
	return true;
}

void courier_serve_site(struct site *site)
{
	struct courier *c = site->courier;
	struct link *k, *next;
	size_t opening = 0;

	if (courier_leaves_in_line(site))
		return;
	site->busy++;
	for (k = TAILQ_FIRST(&site->links); k; k = next) {
		next = TAILQ_NEXT(k, link);
		if (!TAILQ_EMPTY(&site->waiting) && k->idle && !courier_leaves_in_line(site)) {
			courier_give_job(k);
			courier_pull_events(k);
			/* The list may have changed under us. */
			next = TAILQ_FIRST(&site->links);
		} else if (!k->was_ready) {
			opening++;
		}
	}
	size_t waiting = 0;
	struct courier_job *job;
	TAILQ_FOREACH(job, &site->waiting, link)
	if (++waiting > site->allowed)
		break;
	while (waiting > opening && site->link_count < site->allowed && may_open(site) &&
	       !courier_leaves_in_line(site) && (job = TAILQ_FIRST(&site->waiting))) {
		unsigned before = site->link_count;
		opening++;
		courier_open_link(site, job->queue.route.hosts);
		if (site->link_count <= before)
			break;
	}
	/* One that has a connection is served by that. */
	bool starves = site->link_count == 0 && !TAILQ_EMPTY(&site->waiting) && !c->stopping;
	bool has_share = !site->silent || c->silent_links < silent_share(c);
	bool begins = starves && !site->is_starved && has_share;
	set_starved(site, starves);
	site->busy--;
	free_site_if_empty(site);
	if (begins)
		end_an_idle_link(c);
}

struct site *courier_find_site(struct courier *c, struct slice name, bool demands_tls)
{
	uint64_t hash = hash_slice(loop_hash_key(c->loop), name);
	struct site **at = &c->sites[hash % COURIER_BUCKETS];

	for (; *at; at = &(*at)->next)
		if ((*at)->hash == hash && (*at)->demands_tls == demands_tls &&
		    slice_eq(slice_of((*at)->name, (*at)->name_n), name))
			return *at;
	struct site *site = heap_new(struct site);
	char *copy = heap_alloc(name.n + 1);
	if (!site || !copy) {
		heap_free(site);
		heap_free(copy);
		return NULL;
	}
	memcpy(copy, name.p, name.n);
	*site = (struct site){.hash = hash, .courier = c, .name = copy, .name_n = name.n, .demands_tls = demands_tls};
	TAILQ_INIT(&site->waiting);
	TAILQ_INIT(&site->links);
	site->stalled = loop_timer_new(c->loop, on_stalled, site);
	*at = site;
	return site;
}
