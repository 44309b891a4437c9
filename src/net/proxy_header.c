#include "net/proxy_header.h"

#include <assert.h>
#include <string.h>

/* ---- version 1 --------------------------------------------------------------------------------------------------- */

/* An address in the form that its family asks for, and in no other: no brackets, no tag. */
static bool read_address(struct slice text, bool six, struct ip_address *ret)
{
	bool colon = slice_find(text, ':') < text.n;

	for (size_t i = 0; i < text.n; i++)
		if (ascii_hex_value(text.p[i]) < 0 && text.p[i] != ':' && text.p[i] != '.')
			return false;
	return colon == six && ip_parse(text, ret);
}

static bool read_port(struct slice text, uint16_t *ret)
{
	uint64_t port;

	if (!slice_u64(text, 65535, &port) || (text.n > 1 && text.p[0] == '0'))
		return false;
	*ret = (uint16_t)port;
	return true;
}

/* The line behind "PROXY ", without its CRLF. */
static bool read_line(struct slice line, struct proxy_header *ret)
{
	struct slice rest = line, family = slice_split(&rest, ' ');
	bool six = slice_eq(family, SLICE("TCP6"));

	if (slice_eq(family, SLICE("UNKNOWN"))) {
		ret->client = PROXY_CLIENT_UNKNOWN;
		return true;
	}
	if (!six && !slice_eq(family, SLICE("TCP4")))
		return false;
	ret->client = PROXY_CLIENT_TOLD;
	return read_address(slice_split(&rest, ' '), six, &ret->source) &&
	       read_address(slice_split(&rest, ' '), six, &ret->destination) &&
	       read_port(slice_split(&rest, ' '), &ret->source_port) &&
	       read_port(slice_split(&rest, ' '), &ret->destination_port) && !rest.p;
}

static enum proxy_result read_v1(struct slice in, struct proxy_header *ret, size_t *ret_octets, const char **why)
{
	size_t bare = slice_find(in, '\n'), cr = slice_find(in, '\r');
	size_t end = cr < bare ? cr : bare;

	*why = "its line is too long";
	if (end + 2 > PROXY_HEADER_V1_MAX)
		return PROXY_BAD;
	if (end == in.n || (cr == end && end + 1 == in.n))
		return PROXY_MORE;
	*why = "its line does not end in CRLF";
	if (cr != end || in.p[end + 1] != '\n')
		return PROXY_BAD;
	*why = "its line is malformed";
	*ret_octets = end + 2;
	return read_line(slice_skip(slice_head(in, end), sizeof "PROXY " - 1), ret) ? PROXY_DONE : PROXY_BAD;
}

/* ---- version 2 --------------------------------------------------------------------------------------------------- */

#define V2_FIXED    16 /* octets before the addresses */
#define UNIX_OCTETS 108
#define TLV_CRC32C  3
#define CRC_OCTETS  4

static const struct slice v2_signature = {"\r\n\r\n\0\r\nQUIT\n", 12};

static unsigned two_octets(const char *p)
{
	return (unsigned)(unsigned char)p[0] << 8 | (unsigned char)p[1];
}

static uint32_t four_octets(const char *p)
{
	return (uint32_t)two_octets(p) << 16 | two_octets(p + 2);
}

/* The checksum is that of the whole header with its own octets 0. */
static bool crc_is_right(const struct crc32c *crc, struct slice header, size_t at)
{
	uint32_t sum = crc32c_add(crc, 0, slice_head(header, at));

	sum = crc32c_add(crc, sum, slice_of("\0\0\0", CRC_OCTETS));
	sum = crc32c_add(crc, sum, slice_skip(header, at + CRC_OCTETS));
	return sum == four_octets(header.p + at);
}

/* The type-length-values from `at` to the end of the header. */
static bool read_tlvs(const struct crc32c *crc, struct slice header, size_t at, const char **why)
{
	bool summed = false;

	while (at < header.n) {
		*why = "its type-length-values do not fit its length";
		if (header.n - at < 3)
			return false;
		unsigned type = (unsigned char)header.p[at], length = two_octets(header.p + at + 1);
		at += 3;
		if (header.n - at < length)
			return false;
		if (type == TLV_CRC32C) {
			*why = "its checksum is wrong";
			if (summed || length != CRC_OCTETS || !crc_is_right(crc, header, at))
				return false;
			summed = true;
		}
		at += length;
	}
	return true;
}

static void read_endpoints(const char *p, size_t size, struct proxy_header *ret)
{
	bool good = ip_from_octets(p, size, &ret->source) && ip_from_octets(p + size, size, &ret->destination);

	assert(good);
	ret->source_port = (uint16_t)two_octets(p + 2 * size);
	ret->destination_port = (uint16_t)two_octets(p + 2 * size + 2);
}

/* All of the header is there. */
static bool read_block(const struct crc32c *crc, struct slice header, struct proxy_header *ret, const char **why)
{
	static const size_t octets_of[] = {0, 4, 16, UNIX_OCTETS}; /* of an address, by family */
	unsigned command = header.p[12] & 0x0f, family = (unsigned char)header.p[13] >> 4,
		 transport = header.p[13] & 0x0f;
	bool local = command == 0;

	ret->client = local ? PROXY_CLIENT_ITSELF : PROXY_CLIENT_UNKNOWN;
	if (local)
		return true;
	*why = "its family or transport is unknown";
	if (family > 3 || transport > 2)
		return false;
	if (family == 0 || transport == 0)
		return true;
	size_t block = 2 * octets_of[family] + (family == 3 ? 0 : 4);
	*why = "its addresses do not fit its length";
	if (header.n < V2_FIXED + block || !read_tlvs(crc, header, V2_FIXED + block, why))
		return false;
	if (family == 3 || transport == 2) /* no client of ours comes by UDP, nor by a unix socket elsewhere */
		return true;
	ret->client = PROXY_CLIENT_TOLD;
	read_endpoints(header.p + V2_FIXED, octets_of[family], ret);
	return true;
}

static enum proxy_result read_v2(const struct crc32c *crc, struct slice in, struct proxy_header *ret,
				 size_t *ret_octets, const char **why)
{
	*why = "its version or command is unknown";
	if (in.n > 12 && in.p[12] != 0x20 && in.p[12] != 0x21)
		return PROXY_BAD;
	if (in.n < V2_FIXED)
		return PROXY_MORE;
	*ret_octets = V2_FIXED + two_octets(in.p + 14);
	*why = "it is too long";
	if (*ret_octets > PROXY_HEADER_MAX)
		return PROXY_BAD;
	if (in.n < *ret_octets)
		return PROXY_MORE;
	return read_block(crc, slice_head(in, *ret_octets), ret, why) ? PROXY_DONE : PROXY_BAD;
}

/* ---- both -------------------------------------------------------------------------------------------------------- */

/* Whether `in` begins with it, or may still do so. */
static bool may_begin(struct slice in, struct slice with)
{
	size_t n = in.n < with.n ? in.n : with.n;

	return slice_eq(slice_head(in, n), slice_head(with, n));
}

enum proxy_result proxy_header_read(const struct crc32c *crc, struct slice in, struct proxy_header *ret,
				    size_t *ret_octets, const char **why)
{
	struct proxy_header header = {0};
	enum proxy_result result;
	const char *found = NULL;

	*ret = header;
	*ret_octets = 0;
	*why = "it is none";
	if (may_begin(in, SLICE("PROXY ")))
		result = in.n < 6 ? PROXY_MORE : read_v1(in, &header, ret_octets, &found);
	else if (may_begin(in, v2_signature))
		result = in.n < v2_signature.n ? PROXY_MORE : read_v2(crc, in, &header, ret_octets, &found);
	else
		return PROXY_BAD;
	*why = found;
	if (result == PROXY_DONE)
		*ret = header;
	else
		*ret_octets = 0;
	return result;
}
