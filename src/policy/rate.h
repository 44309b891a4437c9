/*
 * rate: how often somebody did something within a minute, and how many sessions he has.
 *
 * One table counts for many, each known by a hash: a fixed number of places, so that strangers cannot make it grow. It
 * has two halves, for the minute under way and the one before; what somebody did in the last 60 seconds is estimated as
 * what is counted in this minute and the part of the last one that is still within the 60 seconds. When the places that
 * a newcomer may take are all in use, the one with the least on its account is given up: who is over a limit, or has
 * sessions, is kept.
 *
 * The table may lie in memory that several processes share, each a sharer with a number of its own: all of it is plain
 * numbers, changed by atomic operations, and nothing that stands in it is ever an address or an index. Two processes
 * that meet at one place at the same moment may lose one count between them; a process that writes what it likes there
 * can refuse clients or let them pass, and nothing else. `now` is then a clock that all of them read.
 */
#ifndef POLICY_RATE_H
#define POLICY_RATE_H

#include "base/clock.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is counted for each. */
enum rate_kind {
	RATE_CONNECTIONS,
	RATE_MESSAGES,
	RATE_RECIPIENTS,
	RATE_ERRORS,
};
#define RATE_KINDS       4

#define RATE_PLACES      8192 /* a power of two */
#define RATE_SHARERS_MAX 64
#define RATE_COUNT_MAX   ((UINT32_C(1) << 20) - 1) /* of one kind within a minute; it stays there */

struct rate_place {
	uint64_t who; /* hash; 0: free */
	/* Of each kind: the minute (24 bits), the count in it (20) and in the one before (20), in one word. */
	uint64_t count[RATE_KINDS];
	uint16_t sessions[RATE_SHARERS_MAX]; /* under way, by sharer */
};

/* Zeroed is empty. */
struct rate_table {
	struct hash_key key; /* for the hashes: who shares the table has to share it */
	struct rate_place place[RATE_PLACES];
};

/*
 * Counts one more of its kind. False, and it is not counted, when there have been `max` within the last 60 seconds.
 * max 0: there is no limit, nothing is counted.
 */
bool rate_take(struct rate_table *t, uint64_t who, enum rate_kind kind, uint32_t max, mono_ms now);
/* Counts `n` more, whatever the limit says; false when it is reached by that, or was. */
bool rate_add(struct rate_table *t, uint64_t who, enum rate_kind kind, uint32_t n, uint32_t max, mono_ms now);
/* Whether there have been `max` within the last 60 seconds; max 0: no. Counts nothing. */
bool rate_is_reached(struct rate_table *t, uint64_t who, enum rate_kind kind, uint32_t max, mono_ms now);

/* A session that is counted. */
struct rate_session {
	uint64_t who; /* 0: none is */
	uint32_t place;
};
/* Counts a session, unless all sharers together have `max` of them from there. */
bool rate_enter(struct rate_table *t, uint64_t who, unsigned sharer, uint32_t max, mono_ms now,
		struct rate_session *ret);
/* It is over; a second time, or for none, nothing happens. */
void rate_leave(struct rate_table *t, unsigned sharer, struct rate_session *session);
/* None of this sharer's sessions is under way: its process begins. */
void rate_forget(struct rate_table *t, unsigned sharer);

#endif
