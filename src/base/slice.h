/*
 * slice: a borrowed run of octets, pointer and length.
 *
 * Everything that comes from outside is a slice: it may hold any octet, NUL included, and is never terminated.
 * A slice owns nothing; whoever hands one out says how long it stays good. Strings with a NUL exist only at the edge
 * to the operating system.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct slice {
	const char *p; /* may be NULL when n is 0 */
	size_t n;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
#define SLICE_NONE     ((struct slice){NULL, 0})

/* For printf: "%.*s", SLICE_ARGS(s). Lengths beyond INT_MAX are cut; log and reply texts are far below. */
#define SLICE_ARGS(s)  ((s).n > 0x7fffffff ? 0x7fffffff : (int)(s).n), ((s).n ? (s).p : "")

static inline struct slice slice_of(const void *p, size_t n)
{
	return (struct slice){(const char *)p, n};
}

/* NULL gives the empty slice. */
struct slice slice_from_cstr(const char *text);

bool slice_eq(struct slice a, struct slice b);
/* ASCII letters without regard to case; every other octet exactly. */
bool slice_ieq(struct slice a, struct slice b);
bool slice_starts(struct slice s, struct slice prefix);
bool slice_istarts(struct slice s, struct slice prefix);
bool slice_ends(struct slice s, struct slice suffix);
bool slice_iends(struct slice s, struct slice suffix);

/* Order as memcmp, the shorter first when one is a prefix of the other. Returns <0, 0, >0. */
int slice_compare(struct slice a, struct slice b);

/* Index of the first (last) such octet, or s.n when there is none. */
size_t slice_find(struct slice s, char c);
size_t slice_rfind(struct slice s, char c);
/* Index of the first occurrence, or s.n. An empty needle is found at 0. */
size_t slice_search(struct slice s, struct slice needle);
/* The same without regard to ASCII case. */
size_t slice_isearch(struct slice s, struct slice needle);

/* s without its first `from` octets; the empty slice when it has fewer. */
struct slice slice_skip(struct slice s, size_t from);
/* The first `n` octets; all when there are fewer. */
struct slice slice_head(struct slice s, size_t n);
/* Without SP, HT, CR and LF at both ends. */
struct slice slice_trim(struct slice s);

/*
 * Split off what stands before the first `separator`, and leave what follows it in *rest. Without a separator the
 * whole is returned and *rest becomes empty with p == NULL, which ends a loop:
 *
 *	for (struct slice rest = list; rest.p;) { struct slice item = slice_split(&rest, ','); ... }
 */
struct slice slice_split(struct slice *rest, char separator);

/* All of s as an unsigned decimal number: digits only, at least one, no overflow, at most `max`. */
bool slice_u64(struct slice s, uint64_t max, uint64_t *ret);

bool slice_is_ascii(struct slice s);
/* Well-formed UTF-8: no overlong form, no surrogate, nothing above U+10FFFF (RFC 3629 4). */
bool slice_is_utf8(struct slice s);

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}
static inline char ascii_upper(char c)
{
	return c >= 'a' && c <= 'z' ? (char)(c - ('a' - 'A')) : c;
}
static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}
static inline bool ascii_is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}
static inline bool ascii_is_alnum(char c)
{
	return ascii_is_digit(c) || ascii_is_alpha(c);
}
/* SP to '~'. */
static inline bool ascii_is_print(char c)
{
	return c >= 0x20 && c < 0x7f;
}
/* The value of a hexadecimal digit of either case, or -1. */
int ascii_hex_value(char c);

#endif
