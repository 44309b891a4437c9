/*
 * auth_guard: what the auth role counts: failures, and what users send.
 *
 * A failure counts for its account and for its network. So many are free of consequences but for a delay of the answer
 * that grows with them; beyond, nothing is looked at until some are forgotten. That an account is being guessed at
 * must not lock its user out: from a network where he logged in of late, its limit does not hold.
 *
 * Names are known by a keyed hash, those that nobody has as well: what is counted does not tell them apart.
 */
#ifndef ROLE_AUTH_GUARD_H
#define ROLE_AUTH_GUARD_H

#include "base/hash.h"
#include "conf/conf.h"
#include "directory/accounts.h"
#include "policy/network.h"

/* Where a client is: a /24 of IPv4, a /64 of IPv6. */
struct auth_place {
	uint64_t network;
};
struct auth_place auth_guard_place(struct hash_key key, const struct ip_address *client);

struct auth_guard;

struct auth_guard *auth_guard_new(struct hash_key key); /* NULL without memory */
void auth_guard_free(struct auth_guard *g);             /* NULL is fine */
/* Lent until the next. */
void auth_guard_configure(struct auth_guard *g, const struct conf_accounts *conf);

/* Whether an attempt may be looked at. */
bool auth_guard_admits(const struct auth_guard *g, const struct auth_place *place, struct slice login, mono_ms now);
/* Returns how long the answer is to be held back. An empty login: none was heard. */
span_ms auth_guard_failed(struct auth_guard *g, const struct auth_place *place, struct slice login, mono_ms now);
void auth_guard_succeeded(struct auth_guard *g, const struct auth_place *place, struct slice login, mono_ms now);

/* Of a user within an hour; 0: no limit. */
struct auth_limits {
	uint32_t messages, recipients;
};
/* Counts a message. Returns how many recipients it may have; 0: it may not be. */
uint32_t auth_guard_spend(struct auth_guard *g, struct slice login, struct auth_limits limits, mono_ms now);
/* Counts the recipients that it had. */
void auth_guard_use(struct auth_guard *g, struct slice login, struct auth_limits limits, uint32_t recipients,
		    mono_ms now);

#endif
