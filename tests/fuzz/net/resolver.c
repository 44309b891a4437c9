/*
 * Any octets as a DNS packet: what is read never depends on octets behind the end, and a packet that was understood is
 * understood the same with a tail, while each cut of its answers is noticed.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "net/resolver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same octets in memory of just their size, or with a tail behind them. */
static enum resolver_mx read_copy(const uint8_t *data, size_t size, size_t tail)
{
	char *copy = malloc(size + tail + 1);

	assert(copy);
	if (size)
		memcpy(copy, data, size);
	memset(copy + size, 0xff, tail);
	char *exact = realloc(copy, size + tail ? size + tail : 1);
	enum resolver_mx mx = resolver_read_mx(slice_of(exact, size + tail));
	free(exact);
	return mx;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum resolver_mx mx = read_copy(data, size, 0);

	assert(mx == RESOLVER_MX_OTHER || mx == RESOLVER_MX_NULL || mx == RESOLVER_MX_FAILED);
	if (mx == RESOLVER_MX_FAILED)
		return 0;
	assert(read_copy(data, size, 64) == mx);
	/* A null MX has its record: without its last octets there is no such claim. */
	if (mx == RESOLVER_MX_NULL) {
		assert(size >= 12 + 1 + 10 + 3);
		assert(read_copy(data, 12, 0) == RESOLVER_MX_FAILED);
	}
	return 0;
}
