/*
 * bench: load for an SMTP server, and a sink for what it sends on.
 *
 * The load comes from sessions that are each their own small client: they send what is asked as fast as the server
 * answers (closed loop), or at a rate whatever it answers (open loop: a message that is due while all sessions wait
 * is late, and its lateness is told). The sink takes everything and counts. Neither is a client or a server for mail:
 * those are smtp_client and smtp_server.
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

struct bench_sink {
	struct net_address at;
	uint64_t messages, rcpts; /* ends after so many; 0: no end for their sake */
	const char *certificate, *key; /* files in PEM, for STARTTLS; NULL: it is not offered */
	bool progress;
};

struct bench_sunk {
	uint64_t connections, messages, rcpts, octets;
	uint64_t handshakes, resumed;
	int64_t took_us; /* from the first connection to the last message */
};

/* Runs until it has what was asked for, or until SIGINT or SIGTERM. False, and `why`: it cannot listen, or the
 * certificate cannot be used. */
bool bench_sink(const struct bench_sink *sink, struct bench_sunk *ret, char why[BENCH_WHY_MAX]);

/* As many descriptors as this process may have. */
void bench_raise_limits(void);

#endif
