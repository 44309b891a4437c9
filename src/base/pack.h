/*
 * pack: values as octets and back, for frames between roles and for records on disk.
 *
 * Numbers are little-endian of fixed width, texts are a 32-bit length and the octets: nothing is delimited, so no
 * octet from outside can end a field. Reading trusts nothing: the first value that does not fit, or that its reader
 * finds out of bounds, sets `bad`, which sticks; every later read gives zero. A reader asks once, at the end.
 */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include "base/buf.h"

/* Writing: failure sticks in the buf. */
void pack_u8(struct buf *out, uint8_t value);
void pack_u16(struct buf *out, uint16_t value);
void pack_u32(struct buf *out, uint32_t value);
void pack_u64(struct buf *out, uint64_t value);
void pack_i64(struct buf *out, int64_t value);
/* At most UINT32_MAX octets. */
void pack_slice(struct buf *out, struct slice value);

struct unpack {
	struct slice in; /* what is left */
	bool bad;
};

uint8_t unpack_u8(struct unpack *u);
uint16_t unpack_u16(struct unpack *u);
uint32_t unpack_u32(struct unpack *u);
uint64_t unpack_u64(struct unpack *u);
int64_t unpack_i64(struct unpack *u);
/* A text of at most `max` octets, lent from the input. */
struct slice unpack_slice(struct unpack *u, size_t max);
/* A number of at most `max`; a greater one is bad. Enumerations and flags are read with this. */
uint8_t unpack_u8_max(struct unpack *u, uint8_t max);
uint32_t unpack_u32_max(struct unpack *u, uint32_t max);
bool unpack_bool(struct unpack *u);
/* Whether all was read and all was good. */
bool unpack_done(const struct unpack *u);

#endif
