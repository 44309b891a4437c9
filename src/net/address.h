/*
 * address: socket addresses, to and from text.
 */
#ifndef NET_ADDRESS_H
#define NET_ADDRESS_H

#include "base/slice.h"

#include <sys/socket.h>

struct net_address {
	struct sockaddr_storage storage;
	socklen_t length;
};

#define NET_ADDRESS_TEXT 128

/* An IP address as text (with or without brackets and "IPv6:") and a port. */
bool net_address_ip(struct slice text, uint16_t port, struct net_address *ret);
/* A unix socket; false when the path is too long. */
bool net_address_unix(struct slice path, struct net_address *ret);
/* The IP address alone, "192.0.2.1" or "2001:db8::1"; IPv4 mapped into IPv6 is shown as IPv4; "unix" for a unix socket.
 */
struct slice net_address_text(const struct net_address *address, char out[NET_ADDRESS_TEXT]);
/* 0 for a unix socket. */
uint16_t net_address_port(const struct net_address *address);

#endif
