#include "base/slice.h"

#include <string.h>

struct slice slice_from_cstr(const char *text)
{
	return (struct slice){text, text ? strlen(text) : 0};
}

bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_ieq(struct slice a, struct slice b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
			return false;
	return true;
}

bool slice_starts(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && slice_eq(slice_head(s, prefix.n), prefix);
}

bool slice_istarts(struct slice s, struct slice prefix)
{
	return s.n >= prefix.n && slice_ieq(slice_head(s, prefix.n), prefix);
}

bool slice_ends(struct slice s, struct slice suffix)
{
	return s.n >= suffix.n && slice_eq(slice_skip(s, s.n - suffix.n), suffix);
}

bool slice_iends(struct slice s, struct slice suffix)
{
	return s.n >= suffix.n && slice_ieq(slice_skip(s, s.n - suffix.n), suffix);
}

int slice_compare(struct slice a, struct slice b)
{
	size_t shorter = a.n < b.n ? a.n : b.n;
	int order = shorter ? memcmp(a.p, b.p, shorter) : 0;

	if (order)
		return order;
	return a.n < b.n ? -1 : a.n > b.n;
}

size_t slice_find(struct slice s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? (size_t)(at - s.p) : s.n;
}

size_t slice_rfind(struct slice s, char c)
{
	for (size_t i = s.n; i > 0; i--)
		if (s.p[i - 1] == c)
			return i - 1;
	return s.n;
}

size_t slice_search(struct slice s, struct slice needle)
{
	if (needle.n == 0)
		return 0;
	if (needle.n > s.n)
		return s.n;
	const char *at = memmem(s.p, s.n, needle.p, needle.n);
	return at ? (size_t)(at - s.p) : s.n;
}

size_t slice_isearch(struct slice s, struct slice needle)
{
	for (size_t i = 0; i + needle.n <= s.n; i++)
		if (slice_ieq(slice_head(slice_skip(s, i), needle.n), needle))
			return i;
	return s.n;
}

struct slice slice_skip(struct slice s, size_t from)
{
	if (from >= s.n)
		return (struct slice){s.n ? s.p + s.n : s.p, 0};
	return (struct slice){s.p + from, s.n - from};
}

struct slice slice_head(struct slice s, size_t n)
{
	return (struct slice){s.p, n < s.n ? n : s.n};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
	while (s.n && is_blank(s.p[0]))
		s = slice_skip(s, 1);
	while (s.n && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct slice slice_split(struct slice *rest, char separator)
{
	size_t at = slice_find(*rest, separator);
	struct slice item = slice_head(*rest, at);

	*rest = at < rest->n ? slice_skip(*rest, at + 1) : SLICE_NONE;
	return item;
}

bool slice_u64(struct slice s, uint64_t max, uint64_t *ret)
{
	uint64_t value = 0;

	if (s.n == 0)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (!ascii_is_digit(s.p[i]))
			return false;
		if (__builtin_mul_overflow(value, 10u, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value))
			return false;
	}
	if (value > max)
		return false;
	*ret = value;
	return true;
}

bool slice_is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

/* Length of the well-formed sequence that starts s, by the table of RFC 3629 4; 0 when there is none. */
static size_t utf8_sequence(struct slice s)
{
	const unsigned char *u = (const unsigned char *)s.p;
	unsigned char low = 0x80, high = 0xbf;
	size_t n;

	if (u[0] < 0x80)
		return 1;
	if (u[0] >= 0xc2 && u[0] <= 0xdf)
		n = 2;
	else if (u[0] >= 0xe0 && u[0] <= 0xef)
		n = 3;
	else if (u[0] >= 0xf0 && u[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (u[0] == 0xe0)
		low = 0xa0;
	else if (u[0] == 0xed)
		high = 0x9f;
	else if (u[0] == 0xf0)
		low = 0x90;
	else if (u[0] == 0xf4)
		high = 0x8f;
	if (s.n < n || u[1] < low || u[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

bool slice_is_utf8(struct slice s)
{
	while (s.n) {
		size_t n = utf8_sequence(s);
		if (n == 0)
			return false;
		s = slice_skip(s, n);
	}
	return true;
}

int ascii_hex_value(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
