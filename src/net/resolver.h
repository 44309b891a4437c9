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
#include "net/loop.h"

#define RESOLVER_QUESTIONS_MAX 10000

struct resolver;

/* What the MX records of a domain say about taking mail. */
enum resolver_mx {
	RESOLVER_MX_OTHER,  /* anything but the two below: servers, no records, no such domain */
	RESOLVER_MX_NULL,   /* a null MX: the domain takes no mail (RFC 7505 3) */
	RESOLVER_MX_FAILED, /* the DNS did not answer, or not in time */
};

/* `server` is "address@port", empty for those of /etc/resolv.conf. NULL when it cannot be set up. */
struct resolver *resolver_new(struct loop *l, struct slice server,
			      void (*answered)(void *arg, uint64_t tag, enum resolver_mx mx), void *arg);
/* What is under way is answered with RESOLVER_MX_FAILED first. NULL is fine. */
void resolver_free(struct resolver *r);

/* Ask for the MX records of a canonical domain. False: it is not asked, and no answer will come. */
bool resolver_ask_mx(struct resolver *r, struct slice domain, span_ms timeout, uint64_t tag);

/* What a packet of the DNS says; any octets are fine. Part of the resolver, apart for its tests. */
enum resolver_mx resolver_read_mx(struct slice packet);

#endif
