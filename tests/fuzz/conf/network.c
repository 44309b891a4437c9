/*
 * Addresses, networks and hosts: what is taken is written in one form, which is read back to the same.
 */
#include <assert.h>
#include <string.h>

#include "policy/network.h"
#include "policy/route_table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_address(struct slice in)
{
	struct ip_address a, again;

	if (!ip_parse(in, &a)) {
		assert(a.size == 0);
		return;
	}
	struct ip_text text = ip_format(&a);
	assert(ip_parse(slice_from_cstr(text.text), &again));
	assert(ip_eq(&a, &again));
	assert(strcmp(ip_format(&again).text, text.text) == 0);
}

static void check_network(struct slice in)
{
	struct network n;
	const char *why;

	if (!network_parse(in, &n, &why)) {
		assert(why);
		return;
	}
	assert(n.bits <= n.base.size * 8u);
	assert(network_contains(&n, &n.base));
	/* An address that differs in the last bit of the prefix is outside. */
	if (n.bits > 0) {
		struct ip_address other = n.base;

		other.octets[(n.bits - 1) / 8] ^= (uint8_t)(0x80u >> ((n.bits - 1) % 8));
		assert(!network_contains(&n, &other));
	}
}

static void check_host(struct slice in)
{
	struct route_host host;
	const char *why;

	if (!route_host_parse(in, 25, &host, &why)) {
		assert(why);
		return;
	}
	assert(host.name.n > 0);
	assert(host.name.p >= in.p && host.name.p + host.name.n <= in.p + in.n);
	assert(host.kind == ROUTE_HOST_UNIX || host.port > 0);
	assert(host.kind != ROUTE_HOST_UNIX || host.name.p[0] == '/');
	assert((host.kind == ROUTE_HOST_ADDRESS) == (host.address.size > 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);

	check_address(in);
	check_network(in);
	check_host(in);
	return 0;
}
