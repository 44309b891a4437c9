/*
 * bucket: how much of something was used up of late, and whether there is more to be had.
 *
 * For each of many, known by a hash, a bucket: what is used goes in, and drains away evenly, so that a full one is
 * empty after `span`. It says when there is room again, and forgets nothing at the stroke of a clock. One table holds a
 * fixed number of them, so that strangers cannot make it grow: when the places that a newcomer may take are all in use,
 * the one with the least in it is given up. Who is at his limit is kept.
 */
#ifndef POLICY_BUCKET_H
#define POLICY_BUCKET_H

#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUCKET_PLACES 8192 /* a power of two */

/* How much goes into one, and how long a full one takes to drain. Of another size it is as full as before. */
#define BUCKET_MAX      ((uint32_t)1 << 22)
#define BUCKET_SPAN_MAX (10 * DAY)
struct bucket_size {
	uint32_t max; /* 1 to BUCKET_MAX */
	span_ms span; /* 1 to BUCKET_SPAN_MAX */
};

struct bucket_place {
	uint64_t who; /* hash; 0: free */
	mono_ms at;
	uint64_t used; /* at that time: 2^32 is full */
};

/* Zeroed is empty. */
struct bucket_table {
	struct bucket_place place[BUCKET_PLACES];
};

/* Uses `n` up if there is room for that; false, and nothing is used, when there is not. */
bool bucket_take(struct bucket_table *t, uint64_t who, struct bucket_size size, uint32_t n, mono_ms now);
/* Uses it up in any case; what is more than full is twice as full at most. */
void bucket_add(struct bucket_table *t, uint64_t who, struct bucket_size size, uint32_t n, mono_ms now);
/* How much there is room for. */
uint32_t bucket_room(const struct bucket_table *t, uint64_t who, struct bucket_size size, mono_ms now);
/* How much is in it, rounded up. */
uint32_t bucket_used(const struct bucket_table *t, uint64_t who, struct bucket_size size, mono_ms now);
/* Empties it. */
void bucket_empty(struct bucket_table *t, uint64_t who);

#endif
