/*
 * hash: SipHash-2-4, a keyed hash for tables whose keys come from strangers.
 *
 * Nobody who does not know the key can make keys collide on purpose.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/slice.h"

struct hash_key {
	uint64_t k0, k1;
};

uint64_t hash_slice(struct hash_key key, struct slice s);
/* The same over the text in ASCII lower case. */
uint64_t hash_slice_lower(struct hash_key key, struct slice s);

#endif
