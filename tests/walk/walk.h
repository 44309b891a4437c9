/*
 * walk: one session played on the engine and on the model at the same time, octet by octet compared.
 */
#ifndef WALK_H
#define WALK_H

#include "script.h"

struct walk_counts {
	uint64_t walks, steps, octets, replies, accepted, refused;
};

/*
 * Plays a walk. With `random` its steps are drawn, up to WALK_STEPS, and written into `plan`; without it those of
 * `plan` are played. Returns NULL, or what diverged, as a text that stays until the next call. `trace` shows what
 * happens on stderr. `copies`: each piece is given to the engine in memory of exactly its size (for AddressSanitizer).
 */
const char *walk_play(struct plan *plan, uint64_t *random, bool trace, bool copies, struct walk_counts *counts);

#endif
