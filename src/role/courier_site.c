#include "role/courier_private.h"

#include "base/heap.h"

#include <string.h>

static void free_site_if_empty(struct site *site)
{
	struct courier *c = site->courier;
	struct site **at = &c->sites[site->hash % COURIER_BUCKETS];

	if (site->busy > 0 || site->link_count > 0 || !TAILQ_EMPTY(&site->waiting))
		return;
	while (*at != site)
		at = &(*at)->next;
	*at = site->next;
	heap_free(site->name);
	heap_free(site);
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
	while (waiting > opening && site->link_count < site->allowed && c->link_count < c->conf->connections_max &&
	       !c->stopping && (job = TAILQ_FIRST(&site->waiting))) {
		unsigned before = site->link_count;
		opening++;
		courier_open_link(site, job->queue.route.hosts);
		if (site->link_count <= before)
			break;
	}
	site->busy--;
	free_site_if_empty(site);
}

struct site *courier_find_site(struct courier *c, struct slice name)
{
	uint64_t hash = hash_slice(loop_hash_key(c->loop), name);
	struct site **at = &c->sites[hash % COURIER_BUCKETS];

	for (; *at; at = &(*at)->next)
		if ((*at)->hash == hash && slice_eq(slice_of((*at)->name, (*at)->name_n), name))
			return *at;
	struct site *site = heap_new(struct site);
	char *copy = heap_alloc(name.n + 1);
	if (!site || !copy) {
		heap_free(site);
		heap_free(copy);
		return NULL;
	}
	memcpy(copy, name.p, name.n);
	*site = (struct site){.hash = hash, .courier = c, .name = copy, .name_n = name.n};
	TAILQ_INIT(&site->waiting);
	TAILQ_INIT(&site->links);
	*at = site;
	return site;
}
