/*
 * proxy_header: what a proxy says of a client before the client's first octet: the PROXY protocol, versions 1 and 2
 * (HAProxy, doc/proxy-protocol.txt of 2020-03-05).
 *
 * Octets in, an answer out, without I/O: read again with more octets until the header is whole. Nothing of it counts
 * before it is whole and right, and what can be no header any more is told at the first octet that shows it. Who may
 * send one is not decided here.
 */
#ifndef NET_PROXY_HEADER_H
#define NET_PROXY_HEADER_H

#include "base/crc32c.h"
#include "policy/network.h"

/* The longest header that is taken: addresses of unix sockets, and much beside them. Version 1 ends after 107. */
#define PROXY_HEADER_MAX    4096
#define PROXY_HEADER_V1_MAX 107

enum proxy_client {
	PROXY_CLIENT_TOLD,    /* its addresses are known */
	PROXY_CLIENT_UNKNOWN, /* somebody, by a way that has no addresses that we know: UNKNOWN, UNSPEC, UDP, UNIX */
	PROXY_CLIENT_ITSELF,  /* LOCAL: the proxy asks on its own behalf */
};

struct proxy_header {
	enum proxy_client client;
	struct ip_address source, destination; /* TOLD */
	uint16_t source_port, destination_port;
};

enum proxy_result {
	PROXY_MORE, /* more octets are wanted */
	PROXY_DONE,
	PROXY_BAD,
};

/*
 * `in`: all octets from the connection's first. DONE: *ret_octets of them are the header, what follows is the client's.
 * BAD: *why is a static text. Type-length-values of version 2 are skipped but for a CRC-32c, which has to be right; of
 * LOCAL and UNSPEC nothing is looked at, as nothing of them is used.
 */
enum proxy_result proxy_header_read(const struct crc32c *crc, struct slice in, struct proxy_header *ret,
				    size_t *ret_octets, const char **why);

#endif
