/*
 * network: addresses of IPv4 and IPv6 as octets, and lists of networks.
 *
 * An IPv4 address that is mapped into IPv6 (::ffff:192.0.2.1) is the IPv4 address wherever it comes from, so that a
 * client cannot be two clients.
 */
#ifndef POLICY_NETWORK_H
#define POLICY_NETWORK_H

#include "base/slice.h"

struct ip_address {
	uint8_t octets[16]; /* the first `size` of them; the others are 0 */
	uint8_t size;       /* 4 or 16; 0 = no address */
};

#define IP_TEXT_MAX 45
struct ip_text {
	char text[IP_TEXT_MAX + 1]; /* NUL-terminated */
};

/* All of `text`: "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "IPv6:2001:db8::1"; brackets around it are taken too.
 * No zone, no other base than 10 for IPv4, no leading zeros there. */
bool ip_parse(struct slice text, struct ip_address *ret);
/* 4 or 16 octets in network order. */
bool ip_from_octets(const void *octets, size_t n, struct ip_address *ret);
bool ip_eq(const struct ip_address *a, const struct ip_address *b);
/* "0.0.0.0" and "::"; 127.0.0.0/8 and ::1. */
bool ip_is_unspecified(const struct ip_address *a);
bool ip_is_loopback(const struct ip_address *a);
/* Whether a host can have it as its own: not those of 0.0.0.0/8, multicast and 240.0.0.0/4, :: and ff00::/8. */
bool ip_is_of_host(const struct ip_address *a);
/* RFC 5952 form for IPv6. */
struct ip_text ip_format(const struct ip_address *a);

struct network {
	struct ip_address base; /* bits behind the prefix are 0 */
	unsigned bits;
};

/* "192.0.2.0/24", "2001:db8::/32", or a single address. A base with bits behind the prefix is refused, as a sign of a
 * mistake. On failure *why is a static text. */
bool network_parse(struct slice text, struct network *ret, const char **why);
bool network_contains(const struct network *n, const struct ip_address *a);
/* The network of that many bits that the address is in; of no address, none. */
struct network network_around(const struct ip_address *a, unsigned bits_ipv4, unsigned bits_ipv6);

struct networks {
	const struct network *list;
	size_t count;
};

/* An empty list contains nothing. */
bool networks_contain(struct networks networks, const struct ip_address *a);
/* The same for an address as text; what is no address is in no network. */
bool networks_contain_text(struct networks networks, struct slice address);

#endif
