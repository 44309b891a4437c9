#include "policy/bucket.h"

#include <assert.h>

/* Places that one may take: a newcomer looks no further. */
#define NEIGHBOURS 8
#define FULL       ((uint64_t)1 << 32)

/* How full one is that holds n of max, which is twice as full at most. */
static uint64_t share(struct bucket_size size, uint32_t n)
{
	assert(size.max > 0 && size.max <= BUCKET_MAX);
	assert(size.span > 0 && size.span <= BUCKET_SPAN_MAX);
	if (n > 2 * size.max)
		n = 2 * size.max;
	return (uint64_t)n * FULL / size.max;
}

/* How full it is now. */
static uint64_t level(const struct bucket_place *p, span_ms span, mono_ms now)
{
	uint64_t passed = now > p->at ? (uint64_t)(now - p->at) : 0, drained = passed * FULL / (uint64_t)span;

	if (passed >= 2 * (uint64_t)span)
		return 0;
	return p->used > drained ? p->used - drained : 0;
}

static uint64_t key(uint64_t who)
{
	return who ? who : 1;
}

static size_t find(const struct bucket_table *t, uint64_t who)
{
	for (size_t i = 0; i < NEIGHBOURS; i++)
		if (t->place[(who + i) % BUCKET_PLACES].who == who)
			return (who + i) % BUCKET_PLACES;
	return BUCKET_PLACES;
}

/* By the span of the newcomer: others may have another one, which makes the choice a worse one and no more. */
static struct bucket_place *take_place(struct bucket_table *t, uint64_t who, span_ms span, mono_ms now)
{
	size_t found = find(t, who);
	struct bucket_place *least = NULL;

	if (found < BUCKET_PLACES)
		return &t->place[found];
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		struct bucket_place *p = &t->place[(who + i) % BUCKET_PLACES];
		if (p->who == 0)
			p->used = 0;
		if (!least || level(p, span, now) < level(least, span, now))
			least = p;
	}
	*least = (struct bucket_place){.who = who, .at = now};
	return least;
}

static uint64_t level_of(const struct bucket_table *t, uint64_t who, struct bucket_size size, mono_ms now)
{
	size_t found = find(t, key(who));

	return found < BUCKET_PLACES ? level(&t->place[found], size.span, now) : 0;
}

static void put(struct bucket_table *t, uint64_t who, struct bucket_size size, uint64_t used, mono_ms now)
{
	struct bucket_place *p = take_place(t, key(who), size.span, now);

	p->at = now;
	p->used = used;
}

bool bucket_take(struct bucket_table *t, uint64_t who, struct bucket_size size, uint32_t n, mono_ms now)
{
	uint64_t used = level_of(t, who, size, now) + share(size, n);

	if (used > FULL)
		return false;
	put(t, who, size, used, now);
	return true;
}

void bucket_add(struct bucket_table *t, uint64_t who, struct bucket_size size, uint32_t n, mono_ms now)
{
	uint64_t used = level_of(t, who, size, now) + share(size, n);

	put(t, who, size, used < 2 * FULL ? used : 2 * FULL, now);
}

uint32_t bucket_room(const struct bucket_table *t, uint64_t who, struct bucket_size size, mono_ms now)
{
	uint64_t used = level_of(t, who, size, now);

	/* The most whose share, which is rounded down, is not more than what is free. */
	return used >= FULL ? 0 : (uint32_t)(((FULL - used + 1) * size.max - 1) / FULL);
}

uint32_t bucket_used(const struct bucket_table *t, uint64_t who, struct bucket_size size, mono_ms now)
{
	return (uint32_t)((level_of(t, who, size, now) * size.max + FULL - 1) / FULL);
}

void bucket_empty(struct bucket_table *t, uint64_t who)
{
	size_t found = find(t, key(who));

	if (found < BUCKET_PLACES)
		t->place[found] = (struct bucket_place){0};
}
