/*
 * resolver: questions to the DNS, asynchronously on a loop, by libunbound with its cache.
 *
 * A question has a tag, a number of the asker's choice; the answer comes back with it, exactly once, from the loop and
 * never from inside the call that asked. So the asker may be gone by then: it is found again by the tag, or not.
 * At most RESOLVER_QUESTIONS_MAX are under way; what is asked beyond is refused at once.
 */
#ifndef NET_RESOLVER_H
#define NET_RESOLVER_H

#include "base/slice.h"
#include "mail/address.h"
#include "net/loop.h"
#include "policy/network.h"

#define RESOLVER_QUESTIONS_MAX 10000
#define RESOLVER_NAMES_MAX     10 /* host names of one address that are looked up (RFC 7208 5.5 has the same bound) */

struct resolver;

enum resolver_answer {
	/* To what the MX records of a domain say about taking mail: */
	RESOLVER_OTHER,     /* anything but the two below: servers, or no such records */
	RESOLVER_NULL_MX,   /* a null MX: the domain takes no mail (RFC 7505 3) */
	RESOLVER_NO_DOMAIN, /* there is no such domain, nor any below it (RFC 8020) */
	/* To whether an address has a host name that has this address (RFC 8601 3, "iprev"): */
	RESOLVER_CONFIRMED,
	RESOLVER_UNCONFIRMED,
	/* To either: */
	RESOLVER_FAILED, /* the DNS did not answer, or not in time */
};

/* `server` is "address@port", empty for those of /etc/resolv.conf. NULL when it cannot be set up. */
struct resolver *resolver_new(struct loop *l, struct slice server,
			      void (*answered)(void *arg, uint64_t tag, enum resolver_answer answer), void *arg);
/* What is under way is answered with RESOLVER_FAILED first. NULL is fine. */
void resolver_free(struct resolver *r);

/* Ask for the MX records of a canonical domain. False: it is not asked, and no answer will come. */
bool resolver_ask_mx(struct resolver *r, struct slice domain, span_ms timeout, uint64_t tag);
/* Ask for the host names of an address, and then for the addresses of these until one is it. `timeout` is for all of
 * that. False as above. */
bool resolver_ask_reverse(struct resolver *r, const struct ip_address *address, span_ms timeout, uint64_t tag);

/* ---- what packets of the DNS say; any octets are fine. Parts of the resolver, apart for its tests ---------------- */

enum resolver_answer resolver_read_mx(struct slice packet);

struct resolver_names {
	char name[RESOLVER_NAMES_MAX][MAIL_DOMAIN_MAX + 1]; /* NUL-terminated */
	size_t count;
};
/* The host names of PTR records; what is no host name is left out, and so are those beyond the maximum. False when the
 * packet is damaged. */
bool resolver_read_names(struct slice packet, struct resolver_names *ret);
/* Whether an A or AAAA record has this address. False when the packet is damaged. */
bool resolver_read_address(struct slice packet, const struct ip_address *address, bool *ret_found);

#endif
