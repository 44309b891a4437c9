#include "policy/network.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ---- addresses ------------------------------------------------------------------------------------------------------
 */

static bool parse_ipv4(struct slice text, uint8_t *octets)
{
	size_t parts = 0;

	for (struct slice rest = text; rest.p; parts++) {
		struct slice part = slice_split(&rest, '.');
		uint64_t value;

		if (parts == 4 || part.n > 3 || !slice_u64(part, 255, &value))
			return false;
		if (part.n > 1 && part.p[0] == '0') /* octal to some, decimal to others */
			return false;
		octets[parts] = (uint8_t)value;
	}
	return parts == 4;
}

/* A group of one to four hexadecimal digits at the start; returns how many, 0 when there is none. */
static size_t take_group(struct slice s, unsigned *value)
{
	size_t n = 0;

	*value = 0;
	for (; n < s.n && n < 5 && ascii_hex_value(s.p[n]) >= 0; n++)
		*value = *value * 16 + (unsigned)ascii_hex_value(s.p[n]);
	return n <= 4 ? n : 0;
}

/* Where an IPv6 address stands while it is read. */
struct ipv6_reader {
	uint8_t octets[16];
	size_t n;
	size_t gap; /* octets before "::"; 17 = there is none */
};

static bool read_gap(struct ipv6_reader *r, struct slice *s)
{
	if (!slice_starts(*s, SLICE("::")))
		return true;
	if (r->gap <= 16)
		return false;
	r->gap = r->n;
	*s = slice_skip(*s, 2);
	return true;
}

/* The next group, or the IPv4 address at the end. */
static bool read_group(struct ipv6_reader *r, struct slice *s)
{
	unsigned value;
	size_t digits = take_group(*s, &value);

	if (slice_find(*s, '.') < s->n && slice_find(*s, ':') == s->n) {
		bool good = r->n <= 12 && parse_ipv4(*s, r->octets + r->n);
		r->n += 4;
		*s = SLICE_NONE;
		return good;
	}
	if (digits == 0 || r->n > 14)
		return false;
	r->octets[r->n++] = (uint8_t)(value >> 8);
	r->octets[r->n++] = (uint8_t)value;
	*s = slice_skip(*s, digits);
	if (s->n == 0)
		return true;
	if (slice_starts(*s, SLICE("::")))
		return read_gap(r, s);
	if (s->p[0] != ':' || s->n == 1)
		return false;
	*s = slice_skip(*s, 1);
	return true;
}

static bool parse_ipv6(struct slice text, uint8_t *octets)
{
	struct ipv6_reader r = {.gap = 17};

	if (text.n < 2 || !read_gap(&r, &text))
		return false;
	while (text.n)
		if (!read_group(&r, &text))
			return false;
	if (r.gap > 16 ? r.n != 16 : r.n > 14)
		return false;

	size_t head = r.gap > 16 ? 16 : r.gap;
	size_t tail = r.n - head;
	memset(octets, 0, 16);
	memcpy(octets, r.octets, head);
	memcpy(octets + 16 - tail, r.octets + head, tail);
	return true;
}

bool ip_from_octets(const void *octets, size_t n, struct ip_address *ret)
{
	*ret = (struct ip_address){0};
	if (n != 4 && n != 16)
		return false;
	if (n == 16 && memcmp(octets, mapped_prefix, sizeof mapped_prefix) == 0) {
		octets = (const uint8_t *)octets + sizeof mapped_prefix;
		n = 4;
	}
	memcpy(ret->octets, octets, n);
	ret->size = (uint8_t)n;
	return true;
}

bool ip_parse(struct slice text, struct ip_address *ret)
{
	uint8_t octets[16];

	*ret = (struct ip_address){0};
	if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = slice_of(text.p + 1, text.n - 2);
	if (slice_istarts(text, SLICE("IPv6:"))) {
		text = slice_skip(text, 5);
		return parse_ipv6(text, octets) && ip_from_octets(octets, 16, ret);
	}
	if (parse_ipv4(text, octets))
		return ip_from_octets(octets, 4, ret);
	return parse_ipv6(text, octets) && ip_from_octets(octets, 16, ret);
}

bool ip_eq(const struct ip_address *a, const struct ip_address *b)
{
	return a->size == b->size && memcmp(a->octets, b->octets, sizeof a->octets) == 0;
}

bool ip_is_unspecified(const struct ip_address *a)
{
	static const uint8_t zeros[16];

	return memcmp(a->octets, zeros, sizeof zeros) == 0;
}

bool ip_is_loopback(const struct ip_address *a)
{
	static const uint8_t six[16] = {[15] = 1};

	return a->size == 4 ? a->octets[0] == 127 : memcmp(a->octets, six, sizeof six) == 0;
}

bool ip_is_of_host(const struct ip_address *a)
{
	if (a->size == 4)
		return a->octets[0] > 0 && a->octets[0] < 224;
	return a->size == 16 && a->octets[0] != 0xff && !ip_is_unspecified(a);
}

/* The longest run of two zero groups or more, the first of equals (RFC 5952 4.2). *start is 8 when there is none. */
static void longest_zeros(const unsigned *groups, size_t *start, size_t *length)
{
	*start = 8;
	*length = 1;
	for (size_t i = 0; i < 8; i++) {
		size_t n = 0;

		while (i + n < 8 && groups[i + n] == 0)
			n++;
		if (n > *length) {
			*start = i;
			*length = n;
		}
	}
}

static void format_ipv6(const uint8_t *octets, struct ip_text *ret)
{
	unsigned groups[8];
	size_t start, length, n = 0;

	for (size_t i = 0; i < 8; i++)
		groups[i] = (unsigned)octets[2 * i] << 8 | octets[2 * i + 1];
	longest_zeros(groups, &start, &length);
	for (size_t i = 0; i < 8; i++) {
		const char *colon = i == 0 || i == start + length ? "" : ":";

		if (i == start) {
			n += (size_t)snprintf(ret->text + n, sizeof ret->text - n, "::");
			i += length - 1;
			continue;
		}
		n += (size_t)snprintf(ret->text + n, sizeof ret->text - n, "%s%x", colon, groups[i]);
		assert(n < sizeof ret->text);
	}
}

struct ip_text ip_format(const struct ip_address *a)
{
	struct ip_text ret = {{0}};
	const uint8_t *o = a->octets;

	if (a->size == 4)
		snprintf(ret.text, sizeof ret.text, "%u.%u.%u.%u", o[0], o[1], o[2], o[3]);
	else if (a->size == 16)
		format_ipv6(o, &ret);
	return ret;
}

/* ---- networks -------------------------------------------------------------------------------------------------------
 */

/* The first `bits` bits of both are the same. */
static bool same_prefix(const uint8_t *a, const uint8_t *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;
	unsigned mask = (0xff00u >> rest) & 0xff;

	assert(bits <= 128);
	if (memcmp(a, b, whole) != 0)
		return false;
	return rest == 0 || (a[whole] & mask) == (b[whole] & mask);
}

/* The address with the bits behind the prefix 0. */
static struct ip_address base_of(const struct ip_address *a, unsigned bits)
{
	struct ip_address cut = {.size = a->size};
	unsigned whole = bits / 8, rest = bits % 8;

	assert(bits <= a->size * 8u);
	memcpy(cut.octets, a->octets, whole);
	if (rest)
		cut.octets[whole] = (uint8_t)(a->octets[whole] & (0xff00u >> rest));
	return cut;
}

struct network network_around(const struct ip_address *a, unsigned bits_ipv4, unsigned bits_ipv6)
{
	unsigned bits = a->size == 4 ? bits_ipv4 : a->size == 16 ? bits_ipv6 : 0;

	return (struct network){base_of(a, bits), bits};
}

bool network_parse(struct slice text, struct network *ret, const char **why)
{
	struct slice rest = text;
	struct slice address = slice_split(&rest, '/');
	uint64_t bits;

	*ret = (struct network){0};
	*why = "it is no IPv4 or IPv6 address";
	if (!ip_parse(address, &ret->base))
		return false;
	ret->bits = ret->base.size * 8u;
	/* ::ffff:192.0.2.0/120 counts bits of the IPv6 form, but we hold the IPv4 form. */
	unsigned offset = ret->base.size == 4 && slice_find(address, ':') < address.n ? 96 : 0;

	if (rest.p) {
		*why = "the number of bits after '/' must be 0 to 32 for IPv4, 0 to 128 for IPv6";
		if (!slice_u64(rest, ret->bits + offset, &bits) || bits < offset)
			return false;
		ret->bits = (unsigned)bits - offset;
	}
	*why = "the address has bits set behind the prefix";
	struct ip_address base = base_of(&ret->base, ret->bits);
	if (!ip_eq(&base, &ret->base))
		return false;
	*why = NULL;
	return true;
}

bool network_contains(const struct network *n, const struct ip_address *a)
{
	return a->size != 0 && a->size == n->base.size && same_prefix(a->octets, n->base.octets, n->bits);
}

bool networks_contain(struct networks networks, const struct ip_address *a)
{
	for (size_t i = 0; i < networks.count; i++)
		if (network_contains(&networks.list[i], a))
			return true;
	return false;
}

bool networks_contain_text(struct networks networks, struct slice address)
{
	struct ip_address a;

	return ip_parse(address, &a) && networks_contain(networks, &a);
}
