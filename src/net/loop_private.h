/*
 * What conn.c, listener.c and channel.c need of the loop. Private to src/net.
 */
#ifndef NET_LOOP_PRIVATE_H
#define NET_LOOP_PRIVATE_H

#include "net/loop.h"

#include "base/buf.h"

#include <sys/queue.h>

struct event_base;
struct evdns_base;

/* Something with output to flush at the end of the turn. */
struct loop_dirty {
	TAILQ_ENTRY(loop_dirty) link;
	bool listed;
	void (*flush)(struct loop_dirty *d);
};

/* Something that ends by itself, and that nobody else knows any more: freed with the loop if that ends first. */
struct loop_orphan {
	TAILQ_ENTRY(loop_orphan) link;
	void (*end)(struct loop_orphan *o); /* NULL: not one */
};

#define LOOP_SHARED_BUFFER ((size_t)256 * 1024)

struct event_base *loop_base(struct loop *l);
/* Octets are read into one buffer for all connections: an idle connection owns none. */
char *loop_shared_buffer(struct loop *l);
void loop_mark_dirty(struct loop *l, struct loop_dirty *d);
void loop_unmark_dirty(struct loop *l, struct loop_dirty *d);
void loop_adopt(struct loop *l, struct loop_orphan *o, void (*end)(struct loop_orphan *o));
/* Does nothing to what was not adopted. */
void loop_release(struct loop *l, struct loop_orphan *o);
/* What the process was told of files that it may not open. */
struct loop_system {
	bool told;
	struct buf resolv_conf, hosts;
};
const struct loop_system *loop_system(const struct loop *l);
struct evdns_base *loop_dns_new(struct event_base *base, const struct loop_system *system);

/* The resolver for host names of configured next hops; NULL when it cannot be set up. */
struct evdns_base *loop_dns(struct loop *l);

#endif
