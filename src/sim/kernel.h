/*
 * kernel: what a simulated process has open, and its loop.
 *
 * Descriptors are numbers as the roles know them. Everything that belongs to a role's loop is an object of that loop,
 * so that a role that dies loses all of it at once, as processes do.
 */
#ifndef SIM_KERNEL_H
#define SIM_KERNEL_H

#include "net/address.h"
#include "net/loop.h"
#include "sim/sim.h"

#include <sys/queue.h>

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

enum fd_kind {
	FD_NONE,
	FD_STREAM,   /* struct sim_end */
	FD_CHANNEL,  /* struct pipe_end */
	FD_FILE,     /* struct open_file */
	FD_LISTENER, /* struct sim_port */
};

/* A number for an object, owned by a role; `close` gives the object up. */
int kernel_fd(enum fd_kind kind, void *object, void (*close)(void *object), struct role_instance *owner);
/* The object; the number is no more. Asserts its kind. */
void *kernel_fd_take(int fd, enum fd_kind kind);
/* The object, still the number's; NULL when it is of another kind. */
void *kernel_fd_object(int fd, enum fd_kind kind);
/* As a process does that ends. Returns how many there were. */
size_t kernel_close_all(struct role_instance *owner);

/* ---- loops ------------------------------------------------------------------------------------------------------- */

/* Something that a turn handles. */
struct sim_ready {
	TAILQ_ENTRY(sim_ready) link;
	bool listed;
	void (*run)(struct sim_ready *r);
};

/* Something to be done at the end of a turn. */
struct sim_dirty {
	TAILQ_ENTRY(sim_dirty) link;
	bool listed;
	void (*flush)(struct sim_dirty *d);
};

/* Something that goes with the loop. */
struct sim_object {
	LIST_ENTRY(sim_object) link;
	void (*drop)(struct sim_object *o); /* its role died */
	bool left;                          /* a role that ends in order may leave it: nobody waits for it */
};

struct loop *kernel_loop_new(struct role_instance *role);
/* Drops every object. Returns how many of them should not have been there any more. */
size_t kernel_loop_drop(struct loop *l);
struct role_instance *kernel_role(const struct loop *l);
void kernel_ready(struct loop *l, struct sim_ready *r);
void kernel_unready(struct loop *l, struct sim_ready *r);
void kernel_dirty(struct loop *l, struct sim_dirty *d);
void kernel_undirty(struct loop *l, struct sim_dirty *d);
void kernel_add(struct loop *l, struct sim_object *o);
void kernel_remove(struct sim_object *o);
/* One turn: all that is ready, the turn function, what is dirty. */
void kernel_turn(struct loop *l);
/* A timer that a role may leave behind. */
void kernel_timer_left(struct loop_timer *t);
bool kernel_is_ready(const struct loop *l);
/* What the turn has cost so far. */
sim_us kernel_cost(const struct loop *l);
/* The running role takes this long, in which it does nothing else. */
void kernel_spend(sim_us time);
/* Now, for what the running role does: with what its turn has cost. */
sim_us kernel_now(void);

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/*
 * One end of a byte stream. Octets are cut into pieces, delayed, kept in order; each direction may be cut at any octet
 * or stall. Who owns an end is told when there is something to read, to write or to see.
 */
struct sim_end {
	struct sim_end *peer;
	struct octets in; /* arrived, not read */
	size_t flying;    /* octets under way to this end */
	sim_us last;      /* when the last of them arrives */
	uint64_t sent;    /* octets that this end sent ... */
	uint64_t read;    /* ... and read */
	uint64_t cut_at;  /* the connection breaks when this end has sent so much; UINT64_MAX: never */
	bool eof;         /* the other end sends no more, and all has arrived */
	bool reset;       /* the connection is broken, and this end has learnt it */
	bool shut;        /* this end sends no more */
	bool closed;      /* nobody owns this end */
	bool dead;        /* nothing passes any more, in either direction */
	bool is_peer;     /* of the outside world */
	sim_us delay, jitter;
	size_t window; /* octets that may be under way or unread at this end */
	void (*wake)(void *arg);
	void *arg;
	struct net_address from; /* of the other end */
};

/* Two ends with the network's faults drawn. */
void sim_stream(struct sim_end *ret[2]);
/* The role whose connection has this end; NULL: none. */
struct role_instance *stream_owner(const struct sim_end *e);
/* Octets taken: fewer when the window is full. */
size_t sim_end_send(struct sim_end *e, struct slice octets);
void sim_end_take(struct sim_end *e, size_t n);
void sim_end_shut(struct sim_end *e);
/* Gives the end up. Unread octets make it a reset. */
void sim_end_close(struct sim_end *e);
void sim_end_reset(struct sim_end *e);

/* ---- the outside ------------------------------------------------------------------------------------------------- */

/* A server of the world at an address, or NULL: nobody listens there. It takes the end. */
struct sim_host;
typedef void (*sim_serve)(void *arg, struct sim_end *end);
void sim_listen(const char *address, uint16_t port, sim_serve serve, void *arg);
/* The address of a unix socket is its path. */
void sim_listen_unix(const char *path, sim_serve serve, void *arg);
void sim_name(const char *host, const char *address);
/* Connections to it are neither made nor refused from now on; NULL: there is no such place any more. */
void sim_silence(const char *address, uint16_t port);

/* The product's listening sockets. */
struct sim_port;
struct sim_port *sim_port_new(void);
int sim_port_fd(struct sim_port *port, struct role_instance *owner);
/* A client connects from an address; NULL: nobody takes it. */
struct sim_end *sim_dial(struct sim_port *port, const char *from);

#endif
