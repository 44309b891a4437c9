/*
 * resolver_packet: reads the answer section of a DNS packet (RFC 1035 4.1), as far as MX, PTR and address records go.
 *
 * Every step is checked against the packet's end. Names are stepped over in place; where one is read, each pointer of
 * its compression has to lead further to the front than the one before, so that it ends.
 */
#include "net/resolver.h"

#include <string.h>

#define HEADER_SIZE 12
#define TYPE_A      1
#define TYPE_PTR    12
#define TYPE_MX     15
#define TYPE_AAAA   28
#define CLASS_IN    1
#define ROOT        '\0'
#define LABEL_MAX   63
#define POINTER     0xc0

/* What is left of the packet; `bad` sticks. */
struct reader {
	struct slice packet, rest;
	bool bad;
};

struct record {
	unsigned type;
	struct slice data;
};

static struct slice take(struct reader *r, size_t n)
{
	struct slice s = slice_head(r->rest, n);

	r->bad |= r->rest.n < n;
	r->rest = slice_skip(r->rest, n);
	return r->bad ? SLICE_NONE : s;
}

static unsigned take_u16(struct reader *r)
{
	struct slice s = take(r, 2);

	return s.p ? (unsigned)(unsigned char)s.p[0] << 8 | (unsigned char)s.p[1] : 0;
}

static void skip_name(struct reader *r)
{
	while (!r->bad) {
		struct slice length = take(r, 1);
		unsigned char n = length.p ? (unsigned char)length.p[0] : 0;

		if (n == 0)
			return;
		if (n >= POINTER) {
			take(r, 1);
			return;
		}
		r->bad |= n > LABEL_MAX;
		take(r, n);
	}
}

/* Behind the header and the questions; *ret_answers is how many records follow. */
static struct reader begin(struct slice packet, unsigned *ret_answers)
{
	struct reader r = {.packet = packet, .rest = packet};

	take(&r, 4);
	unsigned questions = take_u16(&r);
	*ret_answers = take_u16(&r);
	take(&r, 4);
	for (unsigned i = 0; i < questions && !r.bad; i++) {
		skip_name(&r);
		take(&r, 4);
	}
	return r;
}

/* The next record of the answer section. Those of other classes have type 0. */
static struct record take_record(struct reader *r)
{
	struct record record = {0};

	skip_name(r);
	unsigned type = take_u16(r), klass = take_u16(r);
	take(r, 4); /* how long it may be kept */
	record.data = take(r, take_u16(r));
	if (!r->bad && klass == CLASS_IN)
		record.type = type;
	return record;
}

/* RFC 7505 3: a single MX record whose exchange is the root. */
enum resolver_answer resolver_read_mx(struct slice packet)
{
	unsigned answers, records = 0, null = 0;
	struct reader r = begin(packet, &answers);

	for (unsigned i = 0; i < answers && !r.bad; i++) {
		struct record record = take_record(&r);

		if (r.bad || record.type != TYPE_MX)
			continue;
		records++;
		null += record.data.n == 3 && record.data.p[2] == ROOT;
	}
	if (r.bad)
		return RESOLVER_FAILED;
	return records == 1 && null == 1 ? RESOLVER_NULL_MX : RESOLVER_OTHER;
}

/* The name that starts at `at`, with dots. False when it is damaged; an empty text when it is no host name. */
static bool read_name(struct slice packet, size_t at, char text[MAIL_DOMAIN_MAX + 1])
{
	size_t n = 0, lowest = at;
	bool host = true;

	for (;;) {
		unsigned char length = at < packet.n ? (unsigned char)packet.p[at] : POINTER - 1;

		if (length == 0)
			break;
		if (length >= POINTER) {
			if (at + 1 >= packet.n)
				return false;
			at = (size_t)(length & 0x3f) << 8 | (unsigned char)packet.p[at + 1];
			if (at >= lowest)
				return false;
			lowest = at;
			continue;
		}
		if (length > LABEL_MAX || packet.n - at - 1 < length || n + length + 1 > MAIL_DOMAIN_MAX)
			return false;
		memcpy(text + n, packet.p + at + 1, length);
		for (size_t i = n; i < n + length; i++)
			host &= ascii_is_alnum(text[i]) || text[i] == '-' || text[i] == '_';
		n += length;
		text[n++] = '.';
		at += length + 1u;
	}
	text[host && n > 0 ? n - 1 : 0] = '\0';
	return true;
}

bool resolver_read_names(struct slice packet, struct resolver_names *ret)
{
	unsigned answers;
	struct reader r = begin(packet, &answers);

	ret->count = 0;
	for (unsigned i = 0; i < answers && !r.bad; i++) {
		struct record record = take_record(&r);
		char *name = ret->name[ret->count];

		if (r.bad || record.type != TYPE_PTR)
			continue;
		if (record.data.n == 0 || !read_name(packet, (size_t)(record.data.p - packet.p), name))
			return false;
		if (name[0] && ++ret->count == RESOLVER_NAMES_MAX)
			break;
	}
	return !r.bad;
}

bool resolver_read_address(struct slice packet, const struct ip_address *address, bool *ret_found)
{
	unsigned answers, type = address->size == 4 ? TYPE_A : TYPE_AAAA;
	struct reader r = begin(packet, &answers);
	struct slice octets = slice_of((const char *)address->octets, address->size);

	*ret_found = false;
	for (unsigned i = 0; i < answers && !r.bad; i++) {
		struct record record = take_record(&r);

		*ret_found |= !r.bad && record.type == type && slice_eq(record.data, octets);
	}
	return !r.bad;
}
