/*
 * relay: who may send to whom.
 *
 * Mail for our own domains is taken from everybody, mail for others only from clients that may relay: local users (who
 * come by a unix socket), users who have authenticated, and the listed networks. There is no other way: what an address
 * looks like inside its local part (user%other@ours, "user@other"@ours, other!user@ours) is never interpreted (RFC 5321
 * 2.3.11, 3.6.2).
 */
#ifndef POLICY_RELAY_H
#define POLICY_RELAY_H

#include "policy/network.h"
#include "policy/route.h"

struct relay_client {
	bool local_user;           /* by a unix socket of this machine */
	bool authenticated;        /* by AUTH: a user of ours */
	struct ip_address address; /* else; size 0: unknown, may nothing */
};

enum relay_decision {
	RELAY_OURS,            /* a recipient of ours: taken from anybody */
	RELAY_ALLOWED,         /* another's, and this client may send there */
	RELAY_UNKNOWN_MAILBOX, /* our domain, but no such mailbox: 550 5.1.1 */
	RELAY_DENIED,          /* another's, and this client may not: 550 5.7.1 */
	RELAY_NO_ROUTE,        /* this client may, but no route leads there: 550 5.4.4 */
};
#define RELAY_DECISION_MAX RELAY_NO_ROUTE

bool relay_client_may_relay(const struct relay_client *client, struct networks relay_networks);

/* `from_anybody`: the route is one that we serve as a backup or gateway, for all clients; meaningful for ROUTE_SMTP. */
enum relay_decision relay_decide(const struct relay_client *client, struct networks relay_networks,
				 enum route_kind kind, bool from_anybody);

#endif
