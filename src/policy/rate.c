#include "policy/rate.h"

#include <assert.h>

/* Places that one may take: a newcomer looks no further. */
#define NEIGHBOURS  8

/* A session under way weighs as much as so much that is over: the count of it would not come back by itself. */
#define SESSION     1000

#define COUNT_BITS  20
#define MINUTE_MASK UINT32_C(0xffffff)

static_assert(RATE_COUNT_MAX == (UINT32_C(1) << COUNT_BITS) - 1, "a count fills its bits");

/* What is counted of one kind. */
struct count {
	uint32_t minute, now, before;
};

static uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static bool swap(uint64_t *p, uint64_t *old, uint64_t new)
{
	return __atomic_compare_exchange_n(p, old, new, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

static uint32_t minute_of(mono_ms now)
{
	assert(now >= 0);
	return (uint32_t)(now / MINUTE) & MINUTE_MASK;
}

static uint64_t pack(struct count c)
{
	return (uint64_t)c.minute << 2 * COUNT_BITS | (uint64_t)c.now << COUNT_BITS | c.before;
}

/* The count as it is in that minute. One that is a minute ahead was written by a process that heard the clock strike
 * a moment before us. */
static struct count unpack(uint64_t word, uint32_t minute)
{
	struct count c = {(uint32_t)(word >> 2 * COUNT_BITS), word >> COUNT_BITS & RATE_COUNT_MAX,
			  word & RATE_COUNT_MAX};

	if (c.minute == minute || c.minute == ((minute + 1) & MINUTE_MASK))
		return c;
	return (struct count){minute, 0, ((c.minute + 1) & MINUTE_MASK) == minute ? c.now : 0};
}

static uint32_t sessions_at(const struct rate_place *p)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < RATE_SHARERS_MAX; i++)
		sum += __atomic_load_n(&p->sessions[i], __ATOMIC_RELAXED);
	return sum;
}

static uint64_t weight(const struct rate_place *p, uint32_t minute)
{
	uint64_t sum = (uint64_t)sessions_at(p) * SESSION;

	for (size_t i = 0; i < RATE_KINDS; i++) {
		struct count c = unpack(load(&p->count[i]), minute);
		sum += (uint64_t)c.now + c.before;
	}
	return sum;
}

/* Takes the place from who has it; whoever else wants it at the same moment may get it instead, and then both count
 * there. */
static void take_over(struct rate_place *p, uint64_t from, uint64_t who)
{
	if (!swap(&p->who, &from, who))
		return;
	for (size_t i = 0; i < RATE_KINDS; i++)
		__atomic_store_n(&p->count[i], 0, __ATOMIC_RELAXED);
	for (size_t i = 0; i < RATE_SHARERS_MAX; i++)
		__atomic_store_n(&p->sessions[i], 0, __ATOMIC_RELAXED);
}

static struct rate_place *find_place(struct rate_table *t, uint64_t who, uint32_t minute)
{
	struct rate_place *least = NULL;
	uint64_t least_who = 0, least_weight = 0;

	assert(who != 0);
	for (size_t i = 0; i < NEIGHBOURS; i++) {
		struct rate_place *p = &t->place[(who + i) % RATE_PLACES];
		uint64_t there = load(&p->who);

		if (there == who)
			return p;
		uint64_t heavy = there == 0 ? 0 : 1 + weight(p, minute);
		if (!least || heavy < least_weight) {
			least = p;
			least_who = there;
			least_weight = heavy;
		}
	}
	take_over(least, least_who, who);
	return least;
}

/* Within the last 60 seconds. Rounded up: a limit is not passed by waiting less than it asks for. */
static uint64_t recent(struct count c, mono_ms now)
{
	uint64_t left = (uint64_t)(MINUTE - now % MINUTE); /* of the minute before, still within 60 seconds */

	return c.now + ((uint64_t)c.before * left + MINUTE - 1) / MINUTE;
}

/* Counts `n` more unless there are `max`; returns what was counted before. */
static uint64_t count(uint64_t *word, uint32_t n, uint64_t max, mono_ms now)
{
	uint64_t old = load(word), seen;
	struct count c;

	do {
		c = unpack(old, minute_of(now));
		seen = recent(c, now);
		if (seen >= max)
			return seen;
		c.now = n < RATE_COUNT_MAX - c.now ? c.now + n : RATE_COUNT_MAX;
	} while (!swap(word, &old, pack(c)));
	return seen;
}

static uint64_t *word_of(struct rate_table *t, uint64_t who, enum rate_kind kind, mono_ms now)
{
	assert((unsigned)kind < RATE_KINDS);
	return &find_place(t, who ? who : 1, minute_of(now))->count[kind];
}

bool rate_take(struct rate_table *t, uint64_t who, enum rate_kind kind, uint32_t max, mono_ms now)
{
	return max == 0 || count(word_of(t, who, kind, now), 1, max, now) < max;
}

bool rate_add(struct rate_table *t, uint64_t who, enum rate_kind kind, uint32_t n, uint32_t max, mono_ms now)
{
	return max == 0 || count(word_of(t, who, kind, now), n, UINT64_MAX, now) + n < max;
}

bool rate_is_reached(struct rate_table *t, uint64_t who, enum rate_kind kind, uint32_t max, mono_ms now)
{
	return max > 0 && count(word_of(t, who, kind, now), 0, 0, now) >= max;
}

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

bool rate_enter(struct rate_table *t, uint64_t who, unsigned sharer, uint32_t max, mono_ms now,
		struct rate_session *ret)
{
	assert(sharer < RATE_SHARERS_MAX);
	assert(max > 0);
	who = who ? who : 1;
	struct rate_place *p = find_place(t, who, minute_of(now));
	uint16_t *ours = &p->sessions[sharer];

	*ret = (struct rate_session){0};
	/* Counted first, so that of two processes that take the last one at the same moment not both succeed. */
	if (__atomic_load_n(ours, __ATOMIC_RELAXED) == UINT16_MAX)
		return false;
	__atomic_add_fetch(ours, 1, __ATOMIC_RELAXED);
	*ret = (struct rate_session){.who = who, .place = (uint32_t)(p - t->place)};
	if (sessions_at(p) <= max)
		return true;
	rate_leave(t, sharer, ret);
	return false;
}

void rate_leave(struct rate_table *t, unsigned sharer, struct rate_session *session)
{
	assert(sharer < RATE_SHARERS_MAX);
	assert(session->place < RATE_PLACES);
	struct rate_place *p = &t->place[session->place];
	uint16_t *ours = &p->sessions[sharer];

	/* The place may have been given up for somebody else's sake, and got back since. */
	if (session->who != 0 && load(&p->who) == session->who && __atomic_load_n(ours, __ATOMIC_RELAXED) > 0)
		__atomic_sub_fetch(ours, 1, __ATOMIC_RELAXED);
	*session = (struct rate_session){0};
}

void rate_forget(struct rate_table *t, unsigned sharer)
{
	assert(sharer < RATE_SHARERS_MAX);
	for (size_t i = 0; i < RATE_PLACES; i++)
		if (load(&t->place[i].who) != 0)
			__atomic_store_n(&t->place[i].sessions[sharer], 0, __ATOMIC_RELAXED);
}
