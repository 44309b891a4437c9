/*
 * Headers of the PROXY protocol. Oracles: octet by octet the same is found as at once, and nothing before the end; what
 * was read and is written again, in either version, with a checksum or not, is read as the same.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>

#include "../../unit/net/proxy_writer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct crc32c crc;
static bool ready;

static enum proxy_result read_copy(struct slice in, struct proxy_header *ret, size_t *octets)
{
	const char *why = NULL;
	char *copy = malloc(in.n ? in.n : 1); /* of its own, so that reading beyond is seen */

	assert(copy);
	if (in.n)
		memcpy(copy, in.p, in.n);
	enum proxy_result result = proxy_header_read(&crc, slice_of(copy, in.n), ret, octets, &why);
	free(copy);
	assert((result == PROXY_BAD) <= (why != NULL));
	assert(result == PROXY_DONE ? *octets > 0 && *octets <= in.n : *octets == 0);
	assert(result == PROXY_DONE || (ret->source.size == 0 && ret->destination.size == 0));
	return result;
}

static void check_again(const struct proxy_header *h, struct buf *out)
{
	struct proxy_header again;
	size_t octets;

	assert(!out->failed);
	assert(read_copy(buf_slice(out), &again, &octets) == PROXY_DONE);
	assert(octets == buf_len(out));
	assert(proxy_same(h, &again));
	buf_reset(out);
}

static void check_written(const struct proxy_header *h, struct slice tlvs)
{
	char room[PROXY_HEADER_MAX + 64];
	struct buf out = {.p = room, .cap = sizeof room, .max = sizeof room};

	if (h->client != PROXY_CLIENT_ITSELF) { /* which version 1 cannot say */
		proxy_write_v1(h, &out);
		check_again(h, &out);
	}
	proxy_write_v2(h, SLICE_NONE, NULL, &out);
	check_again(h, &out);
	proxy_write_v2(h, tlvs, &crc, &out);
	check_again(h, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	struct proxy_header whole, part;
	size_t octets, found;

	if (size > 2 * PROXY_HEADER_MAX)
		return 0;
	if (!ready)
		crc32c_init(&crc);
	ready = true;
	enum proxy_result result = read_copy(in, &whole, &octets), before = PROXY_MORE;
	size_t step = size > 600 ? 7 : 1;
	for (size_t n = 0; n < size && before == PROXY_MORE; n += step) {
		before = read_copy(slice_head(in, n), &part, &found);
		assert(before == PROXY_MORE || before == result);
		if (before == PROXY_DONE)
			assert(found == octets && proxy_same(&whole, &part));
	}
	if (result == PROXY_DONE)
		check_written(&whole, slice_of("\x04\0\x02xx", 5));
	return 0;
}
