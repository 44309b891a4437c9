#include "policy/rate.h"

#include <assert.h>
#include <string.h>

/* Places that one may take: a newcomer looks no further. */
#define NEIGHBOURS 8

static void turn_minute(struct rate_place *p, int64_t minute)
{
	if (minute == p->minute + 1)
		memcpy(p->before, p->now, sizeof p->before);
	else if (minute != p->minute)
		memset(p->before, 0, sizeof p->before);
	if (minute != p->minute)
		memset(p->now, 0, sizeof p->now);
	p->minute = minute;
}

static uint64_t weight(const struct rate_place *p)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < RATE_KINDS; i++)
		sum += (uint64_t)p->now[i] + p->before[i];
	return sum;
}

static struct rate_place *find_place(struct rate_table *t, uint64_t who, int64_t minute)
{
	struct rate_place *least = NULL;

	for (size_t i = 0; i < NEIGHBOURS; i++) {
		struct rate_place *p = &t->place[(who + i) % RATE_PLACES];

		if (p->who != 0)
			turn_minute(p, minute);
		if (p->who == who)
			return p;
		if (!least || (p->who == 0 && least->who != 0) || (least->who != 0 && weight(p) < weight(least)))
			least = p;
	}
	*least = (struct rate_place){.who = who, .minute = minute};
	return least;
}

bool rate_take(struct rate_table *t, uint64_t who, enum rate_kind kind, uint32_t max, mono_ms now)
{
	assert(now >= 0);
	assert((unsigned)kind < RATE_KINDS);
	if (max == 0)
		return true;
	struct rate_place *p = find_place(t, who ? who : 1, now / MINUTE);
	uint64_t left = (uint64_t)(MINUTE - now % MINUTE); /* of the minute before, still within 60 seconds */

	/* Rounded up: a limit is not passed by waiting less than it asks for. */
	uint64_t recent = p->now[kind] + ((uint64_t)p->before[kind] * left + MINUTE - 1) / MINUTE;
	if (recent >= max)
		return false;
	p->now[kind]++;
	return true;
}
