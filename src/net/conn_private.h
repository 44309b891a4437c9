/*
 * conn_private: what the parts of a connection share.
 *
 * conn.c      octets between the socket and the handler; connecting, looking up, listening
 * conn_tls.c  TLS between the two
 */
#ifndef NET_CONN_PRIVATE_H
#define NET_CONN_PRIVATE_H

#include "base/buf.h"
#include "net/conn.h"
#include "net/loop_private.h"

#define CONN_OUTPUT_MAX ((size_t)16 * 1024 * 1024)
#define CONN_READ_SIZE  ((size_t)64 * 1024)

struct event;

struct conn {
	struct loop_dirty dirty; /* first: flush casts back */
	struct loop *loop;
	int fd;
	struct event *readable;
	struct event *writable; /* made when first needed */
	struct conn_handler handler;
	void *arg;
	struct buf kept; /* input that was not taken */
	struct buf out;
	bool paused;
	bool broken;    /* nothing can be sent any more */
	bool torn;      /* something could not be written: nothing may follow it */
	bool reported;  /* closed() was called */
	bool finishing; /* close when the output is sent */
	bool shut;      /* all was sent, and our end is closed */
	bool closing;   /* conn_close was called: free it at the end of the turn */
	bool waits;     /* the socket is full: `writable` is on */
	size_t dropped; /* octets that came while finishing */
	struct event *linger;
	struct loop_orphan orphan; /* while finishing: the handler has forgotten it */

	struct tls *tls;  /* NULL: there is none */
	struct buf plain; /* written by the handler, not yet sealed */
	bool shaking;     /* the handshake is under way */
	bool asked;       /* a signature is awaited: nothing is read */
	bool failed;      /* TLS is over; its alert may still go out */
};

/* ---- conn.c ---- */

/* Tells the handler once that the connection is over. */
void conn_report_closed(struct conn *c, const char *why);
/* Offers octets to the handler and keeps the rest. */
void conn_offer(struct conn *c, struct slice in);

/* ---- conn_tls.c ---- */

void conn_tls_free(struct conn *c);
/* Octets came from the network. */
void conn_tls_input(struct conn *c, struct slice in);
/* Goes on with what has come, as far as the handler takes it. */
void conn_tls_step(struct conn *c);
/* Seals what was written into the output, if that is empty. False when the connection is over. */
bool conn_tls_seal(struct conn *c);

#endif
