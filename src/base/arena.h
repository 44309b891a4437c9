/*
 * arena: memory with the lifetime of a transaction.
 *
 * Objects are taken one by one and given back all at once. The arena has a hard maximum; an allocation beyond it is
 * NULL, which the protocol answers with 452 or 451.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/slice.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	size_t used;                /* octets handed out or lost to alignment */
	size_t max;
};

void arena_init(struct arena *a, size_t max);
/* Gives everything back except one block of ordinary size, kept for the next transaction. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

/* Zeroed and aligned for any object; NULL when the maximum or memory is reached. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size);
/* A copy of s that lives as long as the arena. On failure p is NULL; an empty s gives a p that is not NULL. */
struct slice arena_copy(struct arena *a, struct slice s);

#endif
