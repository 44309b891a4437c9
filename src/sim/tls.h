/*
 * tls: what stands for TLS in the world, for either end of a stream.
 *
 * It goes as the real one does: records of a kind, a length and octets that nobody can read; a hello, the server's
 * flight, the client's end of the handshake, and from there on data. A server's refusal may come in place of its flight
 * or, as with TLS 1.3, when the client takes the handshake for done. Who is sent something else says so and fails.
 */
#ifndef SIM_TLS_H
#define SIM_TLS_H

#include "net/tls.h"
#include "sim/sim.h"

struct sim_tls;

/* What a server makes of a handshake. */
enum sim_tls_way {
	SIM_TLS_GOOD,
	SIM_TLS_UNVERIFIED,   /* a certificate that is worth nothing */
	SIM_TLS_REFUSES,      /* an alert instead of its flight */
	SIM_TLS_REFUSES_LATE, /* an alert behind the client's end */
	SIM_TLS_GARBAGE,      /* octets that are no TLS */
	SIM_TLS_SILENT,
	SIM_TLS_WAYS
};

struct sim_tls *sim_tls_client(struct slice name);
struct sim_tls *sim_tls_server(enum sim_tls_way way);
void sim_tls_free(struct sim_tls *t); /* NULL is fine */

/* Takes octets of the network; adds what they say to `plain`, and what is answered to `out`. TLS_DONE: the handshake is
 * done; TLS_WAITS; TLS_FAILED, and from then on nothing is understood. */
enum tls_result sim_tls_read(struct sim_tls *t, struct slice octets, struct octets *plain, struct octets *out);
/* After the handshake: `plain` as records. */
void sim_tls_write(struct sim_tls *t, struct slice plain, struct octets *out);
/* How many octets of the network so many octets become, written at once. */
size_t sim_tls_size(size_t plain);
bool sim_tls_done(const struct sim_tls *t);
const char *sim_tls_why(const struct sim_tls *t);
/* The client's: the name that it asked for, and whether the server's certificate was good. */
struct slice sim_tls_name(const struct sim_tls *t);
bool sim_tls_verified(const struct sim_tls *t);

#endif
