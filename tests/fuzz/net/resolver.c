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
static enum resolver_answer read_copy(const uint8_t *data, size_t size, size_t tail)
{
	char *copy = malloc(size + tail + 1);

	assert(copy);
	if (size)
		memcpy(copy, data, size);
	memset(copy + size, 0xff, tail);
	char *exact = realloc(copy, size + tail ? size + tail : 1);
	enum resolver_answer mx = resolver_read_mx(slice_of(exact, size + tail));
	free(exact);
	return mx;
}

/* Names that may be asked for, and the same with a tail; an address is found only where it stands. */
static void check_names(const uint8_t *data, size_t size)
{
	struct resolver_names names;
	struct ip_address address = {{192, 0, 2, 1}, 4};
	char *exact = malloc(size ? size : 1);
	bool found;

	assert(exact);
	if (size)
		memcpy(exact, data, size);
	if (resolver_read_names(slice_of(exact, size), &names)) {
		assert(names.count <= RESOLVER_NAMES_MAX);
		for (size_t i = 0; i < names.count; i++)
			assert(names.name[i][0] && strlen(names.name[i]) <= MAIL_DOMAIN_MAX);
	}
	resolver_read_address(slice_of(exact, size), &address, &found);
	assert(!found || slice_search(slice_of(exact, size), SLICE("\300\0\2\1")) < size);
	free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum resolver_answer mx = read_copy(data, size, 0);

	check_names(data, size);
	assert(mx == RESOLVER_OTHER || mx == RESOLVER_NULL_MX || mx == RESOLVER_FAILED);
	if (mx == RESOLVER_FAILED)
		return 0;
	assert(read_copy(data, size, 64) == mx);
	/* A null MX has its record: without its last octets there is no such claim. */
	if (mx == RESOLVER_NULL_MX) {
		assert(size >= 12 + 1 + 10 + 3);
		assert(read_copy(data, 12, 0) == RESOLVER_FAILED);
	}
	return 0;
}
