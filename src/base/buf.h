/*
 * buf: a growing run of octets with a stated maximum.
 *
 * Octets are added at the end and taken from the front. The first addition that does not fit (maximum or memory)
 * changes nothing and sets `failed`, which sticks until buf_reset: a caller may add many parts and ask once.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/slice.h"

struct buf {
	char *p;
	size_t start; /* first octet in use */
	size_t end;   /* one past the last octet in use */
	size_t cap;   /* allocated */
	size_t max;   /* most octets in use at once; > 0 */
	bool failed;
	bool secret; /* what it does not hold any more is wiped */
};

/* No memory is taken before the first octet. */
void buf_init(struct buf *b, size_t max);
/* The same for passwords, keys and what they travel in: octets are wiped when they are taken, cut off or moved. */
void buf_init_secret(struct buf *b, size_t max);
/* Gives the memory back; the buf can be used again. NULL is fine. */
void buf_free(struct buf *b);
/* The same for secrets: what it held is overwritten first, by a call that no compiler leaves out. */
void buf_wipe(struct buf *b);
/* Empties it and clears `failed`; memory is kept. */
void buf_reset(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}
/* How many more octets may be added, by the maximum. */
static inline size_t buf_room(const struct buf *b)
{
	return b->max - buf_len(b);
}
/* What it holds, lent until the next change. */
static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){b->p ? b->p + b->start : NULL, b->end - b->start};
}

bool buf_add(struct buf *b, struct slice s);
bool buf_add_char(struct buf *b, char c);
bool buf_add_u64(struct buf *b, uint64_t value);
bool buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define buf_add_lit(b, literal) buf_add((b), SLICE(literal))

/* Room for `n` octets at the end, to be written and then claimed with buf_wrote; NULL when they do not fit. */
char *buf_reserve(struct buf *b, size_t n);
void buf_wrote(struct buf *b, size_t n);

/* Drop `n` octets from the front; at most buf_len. */
void buf_take(struct buf *b, size_t n);
/* Cut to the first `n` octets; at most buf_len. */
void buf_cut(struct buf *b, size_t n);

/* A NUL-terminated view for the operating system's edge, lent until the next change; NULL when it has no room. */
const char *buf_cstr(struct buf *b);

#endif
