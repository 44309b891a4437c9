/*
 * bench: load for an SMTP server, and a sink for what it sends on.
 *
 * The load comes from sessions that are each their own small client: they send what is asked as fast as the server
 * answers (closed loop), or at a rate whatever it answers (open loop: a message that is due while all sessions wait
 * is late, and its lateness is told). The sink takes everything and counts. Sessions may also be only held, silent or
 * nearly so. None of these is a client or a server for mail: those are smtp_client and smtp_server.
 */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "net/address.h"
#include "net/credential.h"
#include "net/loop.h"

#include <jansson.h>

#define BENCH_SESSIONS_MAX 100000
#define BENCH_MESSAGES_MAX 1000000000
#define BENCH_SIZE_MAX     ((size_t)512 << 20)
#define BENCH_RCPTS_MAX    100000
#define BENCH_DOMAINS_MAX  1000000
/* A field of each message: when it was due, by the clock of host_mono_us, in so many digits. */
#define BENCH_DUE        "Bench-Due: "
#define BENCH_DUE_DIGITS 20
#define BENCH_RATE_MAX     1000000
#define BENCH_WHY_MAX      CREDENTIAL_WHY_MAX

/* ---- histogram: times in microseconds, each known to 3 % ------------------------------------------------------- */

#define BENCH_FINE         5 /* 2^5 steps between a power of two and the next */
#define BENCH_BUCKETS      (36 << BENCH_FINE)

struct bench_histogram {
	uint64_t count, sum, max;
	uint64_t buckets[BENCH_BUCKETS];
};

void bench_histogram_add(struct bench_histogram *h, int64_t us);
/* The time that so many of a thousand did not exceed; 0 when there are none. */
uint64_t bench_histogram_at(const struct bench_histogram *h, unsigned per_mille);
/* {"p50": ms, "p90": ..., "p99": ..., "p999": ..., "max": ..., "mean": ...} */
json_t *bench_histogram_json(const struct bench_histogram *h);

/* ---- load ------------------------------------------------------------------------------------------------------- */

enum bench_tls { BENCH_CLEAR, BENCH_STARTTLS, BENCH_IMPLICIT };

struct bench_load {
	struct net_address server;
	struct slice sender, rcpt; /* addresses; of several recipients, each but the first has its number before it */
	uint64_t domains; /* 0: rcpt's; else so many by turns, rcpt's with a number and a dot before it */
	uint64_t sessions, messages, per_session, rcpts, size;
	uint64_t rate;    /* messages in a second; 0: closed loop */
	span_ms patience; /* without a word from the server */
	enum bench_tls tls;
	bool fresh;      /* under TLS: no session is resumed */
	bool handshakes; /* under TLS: no messages, but connections that end once they are secured */
	bool pipelining;
	bool progress; /* a line on standard error each second */
};

struct bench_result {
	uint64_t accepted, refused, lost; /* messages; lost: without an answer */
	uint64_t connections, failed;     /* failed: could not be made, or broke */
	uint64_t octets;                  /* of accepted messages */
	uint64_t handshakes, resumed;     /* done; of those, with a session that was resumed */
	int64_t took_us;
	struct bench_histogram answer; /* from the last octet of a message to its reply */
	struct bench_histogram shake;  /* from the client's first octet of TLS to the end of the handshake */
	struct bench_histogram late;   /* open loop: from when the message was due to its reply */
	char secured[80];              /* version and cipher of the last handshake */
	char reply[200];               /* the last that refused something */
	char trouble[200];             /* why the last connection failed */
};

/* Runs to the end. False without memory. */
bool bench_load(const struct bench_load *load, struct bench_result *ret);

/* ---- sink ------------------------------------------------------------------------------------------------------- */

struct bench_sunk;
struct bench_sink {
	struct net_address at;
	uint64_t messages, rcpts; /* ends after so many; 0: no end for their sake */
	const char *certificate, *key; /* files in PEM, for STARTTLS; NULL: it is not offered */
	bool progress;
	/* NULL: it ends then. Else it is told what came, and what follows counts anew. */
	void (*enough)(void *arg, const struct bench_sunk *so_far);
	void *arg;
};

struct bench_sunk {
	uint64_t connections, messages, rcpts, octets;
	uint64_t handshakes, resumed;
	int64_t took_us; /* from the first connection to the last message */
	int64_t first_us; /* when the first message had come, by the clock of host_mono_us; 0: there was none */
	struct bench_histogram way; /* of messages of a load on this machine: from when they were due to here */
};

/* Runs until it has what was asked for (but see `enough`), or until SIGINT or SIGTERM. False, and `why`: it
 * cannot listen, or the certificate cannot be used. */
bool bench_sink(const struct bench_sink *sink, struct bench_sunk *ret, char why[BENCH_WHY_MAX]);

/* ---- sessions that are only held --------------------------------------------------------------------------------- */

struct bench_held {
	uint64_t open, lost; /* greeted and there; refused, or closed by the server */
	uint64_t octets;
	char trouble[BENCH_WHY_MAX]; /* why the last was lost */
};

struct bench_hold {
	struct net_address server;
	uint64_t sessions;
	span_ms drip;     /* each session says one octet in so long; 0: nothing */
	span_ms patience; /* for a connection to stand */
	/* Called once: no more sessions will come. */
	void (*ready)(void *arg, const struct bench_held *so_far);
	void *arg;
};

/* Holds them until SIGINT or SIGTERM. False without memory. */
bool bench_hold(const struct bench_hold *hold, struct bench_held *ret);

/* As many descriptors as this process may have. */
void bench_raise_limits(void);

#endif
