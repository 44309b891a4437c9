/*
 * role: what every role's process has in common.
 *
 * A role is a set of functions over a loop. It is told its configuration, its sockets and its peers by the supervisor,
 * and tells back when it serves. It owns no global state: the simulator runs many of them in one process.
 *
 * Order: start, files, configure, then listeners and peers in any order; files and configure again at each reload,
 * followed by all listeners anew; drain and stop at the end.
 */
#ifndef ROLE_ROLE_H
#define ROLE_ROLE_H

#include "conf/conf.h"
#include "net/loop.h"
#include "policy/rate.h"
#include "role/wire.h"

/* The role's link to who runs it. */
struct role_self {
	enum role_kind kind;
	uint32_t index;
	/* The role serves; more than once is fine. */
	void (*ready)(void *arg);
	/* The role has ended what it had to do, or cannot go on: `status` 0 or one of sysexits.h. */
	void (*finished)(void *arg, int status);
	/* The connection to the queue is gone. When no new one comes soon, the queue lives, and one is asked for. */
	void (*queue_lost)(void *arg);
	/* The same for the keys, and for auth; receivers alone. */
	void (*keys_lost)(void *arg);
	void (*auth_lost)(void *arg);
	void *arg;
};

struct role_ops {
	/* NULL: cannot start. `self` is lent for the role's life. */
	void *(*start)(struct loop *l, const struct role_self *self);
	/* The role takes its own reference. False: the configuration cannot be used, at the first one only. */
	bool (*configure)(void *role, struct conf *conf);
	/* A file for the next configuration; takes fd, -1: there is none. NULL: the role wants none. */
	void (*file)(void *role, const struct wire_file *file, int fd);
	/* The processes of this server, from now on. NULL: the role does not care. */
	void (*processes)(void *role, const struct wire_processes *processes);
	void (*listener)(void *role, uint32_t number, int fd);   /* takes fd. NULL: the role has none */
	void (*peer)(void *role, struct wire_peer peer, int fd); /* takes fd; replaces an earlier one of that name */
	/* Memory that all roles of its kind have, for its life; before listeners and peers. NULL: the role has none.
	 * Without a call the role counts for itself. */
	void (*counts)(void *role, struct rate_table *shared);
	/* A frame WIRE_SECRETS, before the configuration that it belongs to. False: it is none. NULL: the role takes
	 * none. */
	bool (*secrets)(void *role, struct slice frame);
	void (*drain)(void *role);                               /* may be NULL */
	void (*stop)(void *role);                                /* ends with self->finished */
	void (*turn)(void *role);                                /* at the end of each turn; may be NULL */
	void (*end)(void *role);                                 /* frees it */
};

extern const struct role_ops receiver_role, queue_role, sender_role, mailbox_role, admin_role, keys_role, auth_role;
const struct role_ops *role_ops_of(enum role_kind kind);

/* The whole of a role's process; fd is its channel to the supervisor. Returns the exit status. */
int role_main(enum role_kind kind, uint32_t index, int fd);

/* The whole of the supervisor's process. `path` NULL: the embedded default. */
int supervisor_main(const char *path);

#endif
