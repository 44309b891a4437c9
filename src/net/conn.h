/*
 * conn: one stream connection of a loop, and listeners that make them.
 *
 * Input is read into a buffer that all connections share, and offered to the handler; what the handler does not take
 * is kept, and nothing more is read until conn_resume. Output is gathered and goes out at the end of the turn.
 *
 * Either side may put TLS under a connection: from conn_start_tls or conn_connect_tls on, the handler sees and writes
 * what is inside of it. While the handshake is under way nothing is offered to it and nothing can be written.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include "net/address.h"
#include "net/loop.h"
#include "net/tls.h"

struct conn;

/* The most octets that are offered at once. */
#define CONN_INPUT_MAX ((size_t)128 * 1024)

struct conn_handler {
	/* Octets came: returns how many were taken. All octets not taken are offered again after conn_resume. */
	size_t (*input)(void *arg, struct slice in);
	/* Output that waited has gone out, all of it. May be NULL. */
	void (*drained)(void *arg);
	/* The peer ended its side (`why` is NULL; what is written still goes out), or the connection broke. The conn is
	 * still there: the handler calls conn_close or conn_finish. */
	void (*closed)(void *arg, const char *why);
	/* The handshake is done. */
	void (*secured)(void *arg);
	/* The handshake of a server needs a signature: conn_signed has to be called, now or later. These two may be
	 * NULL for a connection that never has TLS. */
	void (*sign)(void *arg, const struct tls_request *request);
};

/* Takes the descriptor, also on failure (NULL). */
struct conn *conn_new(struct loop *l, int fd, const struct conn_handler *handler, void *arg);
/*
 * Begin to connect. `connected` is called later, once: `error` is 0 and fd is a connected socket, now the owner's, or
 * it is the errno value of what failed (ETIMEDOUT: also our own timeout). NULL is returned without memory.
 */
struct conn_attempt;
struct conn_attempt *conn_connect(struct loop *l, const struct net_address *to, span_ms timeout,
				  void (*connected)(void *arg, int fd, int error), void *arg);
void conn_attempt_cancel(struct conn_attempt *a); /* NULL is fine; not after `connected` */

/* Look up the addresses of a host name, asynchronously; `found` is called once, with at most 16. count 0: `why`. */
struct conn_lookup;
struct conn_lookup *
conn_resolve(struct loop *l, struct slice host, uint16_t port,
	     void (*found)(void *arg, const struct net_address *list, size_t count, const char *why), void *arg);
void conn_lookup_cancel(struct conn_lookup *u);

/* Frees it; output not sent is lost. NULL is fine. Never from inside its own input handler's caller's frame: it is safe
 * anywhere, the memory goes at the end of the turn. */
void conn_close(struct conn *c);
/* Sends what is left, then closes; gives up after `linger`. No handler is called any more. */
void conn_finish(struct conn *c, span_ms linger);

/* False when the output limit or memory is reached: the connection is then lost. What was not taken is missing, so
 * nothing that follows it is taken either; unless it is finished now, `closed` is called at the end of the turn. */
bool conn_write(struct conn *c, struct slice octets);
size_t conn_pending(const struct conn *c);
/* Offer what was not taken again, and read on. */
void conn_resume(struct conn *c);
/* Read no more until conn_resume. */
void conn_pause(struct conn *c);

/* From here on everything is TLS; called by `input`, from behind the octets that it takes. `binding`: what tickets are
 * good for, see tls.h. False, and nothing has changed: octets wait that were written or came before, or there is no
 * memory. */
bool conn_start_tls(struct conn *c, struct tls_server *server, struct slice binding);
/* Behind it: the client is asked for a certificate. False without memory. */
bool conn_ask_certificate(struct conn *c, struct tls_trust *trust);
/* The same as a client: the handshake begins. Whether the server is who it should be stands in the facts. */
bool conn_connect_tls(struct conn *c, struct tls_client *client, const struct tls_aim *aim);
/* What `sign` asked for; empty: there is no signature, and the handshake fails. */
void conn_signed(struct conn *c, struct slice signature);
/* False when there is no TLS, or the handshake is not done yet. */
bool conn_tls_facts(const struct conn *c, struct tls_facts *ret);
/* The same for what binds to the session; empty where there is no TLS. */
void conn_tls_binding(const struct conn *c, struct tls_binding *ret);

struct listener;
/* Takes a listening socket. `accepted` gets a connected socket and where it comes from. `busy` is sent to who comes
 * when descriptors have run out; lent for the listener's life. */
struct listener *listener_new(struct loop *l, int fd, struct slice busy,
			      void (*accepted)(void *arg, int fd, const struct net_address *from), void *arg);
void listener_free(struct listener *n); /* closes the socket in this process */

#endif
