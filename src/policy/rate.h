/*
 * rate: how often somebody did something within a minute.
 *
 * One table counts for many, each known by a hash: a fixed number of places, so that strangers cannot make it grow. It
 * has two halves, for the minute under way and the one before; what somebody did in the last 60 seconds is estimated as
 * what is counted in this minute and the part of the last one that is still within the 60 seconds. When the places that
 * a newcomer may take are all in use, the one with the least on its account is given up: who is over a limit is kept.
 */
#ifndef POLICY_RATE_H
#define POLICY_RATE_H

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is counted for each. */
enum rate_kind {
	RATE_CONNECTIONS,
	RATE_MESSAGES,
	RATE_RECIPIENTS,
};
#define RATE_KINDS  3

#define RATE_PLACES 8192 /* a power of two */

struct rate_place {
	uint64_t who; /* hash; 0: free */
	int64_t minute;
	uint32_t now[RATE_KINDS], before[RATE_KINDS]; /* in `minute`, and in the one before it */
};

/* Zeroed is empty. */
struct rate_table {
	struct rate_place place[RATE_PLACES];
};

/*
 * Counts one more of its kind. False, and it is not counted, when there have been `max` within the last 60 seconds.
 * max 0: there is no limit, nothing is counted.
 */
bool rate_take(struct rate_table *t, uint64_t who, enum rate_kind kind, uint32_t max, mono_ms now);

#endif
