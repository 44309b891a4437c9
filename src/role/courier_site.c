#include "role/courier_private.h"

#include "base/heap.h"

#include <string.h>

/* Whether it stands in the line for a connection. */
static void set_starved(struct site *site, bool starved)
{
	struct courier *c = site->courier;

	if (site->is_starved == starved)
		return;
	if (starved)
		TAILQ_INSERT_TAIL(&c->starved, site, starved);
	else
		TAILQ_REMOVE(&c->starved, site, starved);
	site->is_starved = starved;
}

void courier_free_site(struct site *site)
{
	set_starved(site, false);
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

void courier_serve_starved(void *arg)
{
	struct courier *c = arg;
	struct site *site;

	while ((site = TAILQ_FIRST(&c->starved)) && c->link_count < c->conf->connections_max && !c->stopping) {
		set_starved(site, false);
		c->turn = site;
		courier_serve_site(site);
		c->turn = NULL;
	}
}

/* While others wait in the line, there is one connection for the first of them, and none out of turn. */
static bool may_open(const struct site *site)
{
	const struct courier *c = site->courier;

	if (c->stopping || c->link_count >= c->conf->connections_max)
		return false;
	return TAILQ_EMPTY(&c->starved) || (c->turn == site && site->link_count == 0);
}

void courier_serve_site(struct site *site)
{
	struct courier *c = site->courier;
	struct link *k, *next;
	size_t opening = 0;

	site->busy++;
	for (k = TAILQ_FIRST(&site->links); k; k = next) {
		next = TAILQ_NEXT(k, link);
		if (!TAILQ_EMPTY(&site->waiting) && k->idle) {
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
	       (job = TAILQ_FIRST(&site->waiting))) {
		unsigned before = site->link_count;
		opening++;
		courier_open_link(site, job->queue.route.hosts);
		if (site->link_count <= before)
			break;
	}
	/* One that has a connection is served by that. */
	bool starves = site->link_count == 0 && !TAILQ_EMPTY(&site->waiting) && !c->stopping;
	bool begins = starves && !site->is_starved;
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
	*at = site;
	return site;
}
