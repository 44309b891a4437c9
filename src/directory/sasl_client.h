/*
 * sasl_client: the client's side of authentication exchanges (RFC 4422), with a login name and a secret of ours: SCRAM
 * with and without channel binding (RFC 5802, RFC 7677, RFC 9266), PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195), and
 * XOAUTH2 (Google's, with a bearer token of RFC 6750).
 *
 * All of them are read and written here. GNU SASL's client (2.2) cannot say that it missed the server's offer of -PLUS,
 * leaves copies of passwords in memory that it gave back, and hashes them as often as any server asks it to.
 *
 * Nothing here reads random numbers: they are arguments.
 */
#ifndef DIRECTORY_SASL_CLIENT_H
#define DIRECTORY_SASL_CLIENT_H

#include "directory/secrets.h"

#define SASL_CLIENT_USER_MAX   255
#define SASL_CLIENT_SECRET_MAX 4096 /* octets of a password or a token; SCRAM takes SECRETS_PASSWORD_MAX */
/* RFC 7677 4: a server that wants less may be after a hash that is guessed cheaply. More than the most would hold up
 * all other mail: it is a quarter of a second. */
#define SASL_CLIENT_ITERATIONS_MIN SCRAM_ITERATIONS_MIN
#define SASL_CLIENT_ITERATIONS_MAX 600000
#define SASL_CLIENT_WHY_MAX        600
#define SASL_CLIENT_CHANCE         15

struct sasl_client_row {
	const char *name; /* of the registry */
	bool shows;       /* the secret itself, to whoever listens, and to a server that is an impostor */
	bool token;       /* the secret is a token, and not a password */
	bool scram, plus;
	enum scram_hash hash; /* SCRAM */
};
#define SASL_CLIENT_MECHANISMS 8
/* The strongest first. */
const struct sasl_client_row *sasl_client_row(size_t i);
/* NULL when there is none of that name; any case. */
const struct sasl_client_row *sasl_client_find(struct slice name);

/* What SCRAM made of a password, kept for the next exchange with the same salt. Zeroed at first; the owner wipes it. */
struct sasl_salted {
	enum scram_hash hash;
	uint32_t iterations; /* 0: nothing is kept */
	size_t salt_n;
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t key[SCRAM_KEY_MAX];
};

struct sasl_client_start {
	const struct sasl_client_row *row;
	struct slice user, secret;     /* lent for the exchange */
	struct slice exporter, unique; /* channel binding data: tls-exporter, tls-unique; empty: there is none */
	struct slice chance;           /* random octets, SASL_CLIENT_CHANCE to 32: the nonce of SCRAM is their base64 */
	/* Without -PLUS: we would have bound to the session, but the server has no -PLUS. It is told, and knows better
	 * if somebody took that out of its offer (RFC 5802 6). */
	bool missed_plus;
	struct sasl_salted *salted; /* lent for the exchange; NULL: nothing is kept */
};

struct sasl_client;
/* NULL without memory. */
struct sasl_client *sasl_client_begin(const struct sasl_client_start *start);
/* Wipes what it held. NULL is fine. */
void sasl_client_end(struct sasl_client *e);

enum sasl_client_result {
	SASL_CLIENT_RESPONSE, /* `response` goes out, perhaps an empty one */
	SASL_CLIENT_SILENT,   /* the server speaks first: at the beginning alone */
	SASL_CLIENT_FAILED,   /* sasl_client_why */
};
/*
 * The beginning (`challenge` NULL), or what the server said. The response goes to `response`, which comes from
 * secrets_buf_init and is emptied before. *complete: the server may say now that all is well; before that, or after
 * FAILED, it has not proved what it has to.
 */
enum sasl_client_result sasl_client_step(struct sasl_client *e, const struct slice *challenge, struct buf *response,
					 bool *complete);
/* What is wrong, without secrets; also what the server said of a token it refused. Empty: nothing. Lent. */
struct slice sasl_client_why(const struct sasl_client *e);

#endif
