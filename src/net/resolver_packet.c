/*
 * resolver_packet: reads the answer section of a DNS packet (RFC 1035 4.1), as far as MX records go.
 *
 * Every step is checked against the packet's end; a name is stepped over in place, no compression pointer is followed.
 */
#include "net/resolver.h"

#define HEADER_SIZE 12
#define TYPE_MX     15
#define CLASS_IN    1
#define ROOT        '\0'

/* What is left of the packet; `bad` sticks. */
struct reader {
	struct slice rest;
	bool bad;
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
		if (n >= 0xc0) {
			take(r, 1);
			return;
		}
		r->bad |= n > 63;
		take(r, n);
	}
}

/* RFC 7505 3: a single MX record whose exchange is the root. */
enum resolver_mx resolver_read_mx(struct slice packet)
{
	struct reader r = {.rest = packet};
	unsigned records = 0, null = 0;

	take(&r, 4);
	unsigned questions = take_u16(&r), answers = take_u16(&r);
	take(&r, 4);
	for (unsigned i = 0; i < questions && !r.bad; i++) {
		skip_name(&r);
		take(&r, 4);
	}
	for (unsigned i = 0; i < answers && !r.bad; i++) {
		skip_name(&r);
		unsigned type = take_u16(&r), klass = take_u16(&r);
		take(&r, 4); /* how long it may be kept */
		struct slice data = take(&r, take_u16(&r));
		if (r.bad || type != TYPE_MX || klass != CLASS_IN)
			continue;
		records++;
		null += data.n == 3 && data.p[2] == ROOT;
	}
	if (r.bad)
		return RESOLVER_MX_FAILED;
	return records == 1 && null == 1 ? RESOLVER_MX_NULL : RESOLVER_MX_OTHER;
}
