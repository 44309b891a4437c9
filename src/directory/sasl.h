/*
 * sasl: the server's side of authentication exchanges (RFC 4422), with the accounts as what credentials are measured
 * by.
 *
 * SCRAM with and without channel binding (RFC 5802, RFC 7677, RFC 9266) is GNU SASL's. PLAIN (RFC 4616), LOGIN
 * and CRAM-MD5 (RFC 2195) are a line of text or two and read here: GNU SASL would leave copies of
 * the password in memory that was given back, and asks for the password where we keep only what CRAM-MD5 needs of it.
 * EXTERNAL (RFC 4422 appendix A) is the client's certificate, which somebody else has verified (directory/external.h).
 * OAUTHBEARER (RFC 7628) and XOAUTH2 show a token instead of a password (directory/token.h).
 * There is no NTLM, and no DIGEST-MD5.
 *
 * An exchange is begun, and takes one response after the other until it ends. Who is unknown is told so at the same
 * place, and after the same work, as who gave a wrong password. Only a right password shows that its account is
 * switched off.
 */
#ifndef DIRECTORY_SASL_H
#define DIRECTORY_SASL_H

#include "directory/accounts.h"
#include "directory/external.h"
#include "directory/token.h"

/* In the order in which they are offered when nobody says otherwise: the strongest first. */
enum sasl_mechanism {
	SASL_EXTERNAL,
	SASL_SCRAM_SHA_256_PLUS,
	SASL_SCRAM_SHA_256,
	SASL_SCRAM_SHA_1_PLUS,
	SASL_SCRAM_SHA_1,
	SASL_CRAM_MD5,
	SASL_PLAIN,
	SASL_LOGIN,
	SASL_OAUTHBEARER,
	SASL_XOAUTH2,
};
#define SASL_MECHANISMS    (SASL_XOAUTH2 + 1)
#define SASL_LOGIN_MAX     255  /* octets of a login name that are told */
#define SASL_CHALLENGE_MAX 4096 /* octets of a challenge */
#define SASL_RESPONSE_MAX  9216 /* octets of a response: 12288 in base64 (RFC 4954 4) */
#define SASL_BINDING_MAX   64   /* octets of channel binding data */
#define SASL_CHANCE        16

struct sasl_row {
	const char *name; /* of the registry */
	bool shows;       /* the password itself, to whoever listens, and to a server that is an impostor */
	bool certified;   /* by a client's certificate */
	bool token;       /* shows a token: never without TLS (RFC 7628 3, RFC 6750 5.3) */
	bool scram, plus;
	enum scram_hash hash; /* SCRAM */
	bool server_first;    /* takes no initial response (RFC 4954 4) */
	bool one_step;        /* over with the first response */
	bool slow;            /* some step hashes a password: 50 ms of work */
};
const struct sasl_row *sasl_row(enum sasl_mechanism mechanism);
/* False when there is none of that name; any case. */
bool sasl_find(struct slice name, enum sasl_mechanism *ret);

enum sasl_result {
	SASL_CHALLENGE,   /* it goes on with the challenge, perhaps an empty one */
	SASL_GOOD,        /* 235: sasl_account */
	SASL_WRONG,       /* 535: also what cannot be read */
	SASL_DISABLED,    /* 525: the password is right */
	SASL_WEAK,        /* 534: the judge's */
	SASL_TRANSITION,  /* 432: nothing is kept for this mechanism, but a hash of the password is */
	SASL_LIMITED,     /* 454: the judge's */
	SASL_UNAVAILABLE, /* 454: no memory, or accounts that cannot be read */
};
#define SASL_RESULT_LAST SASL_UNAVAILABLE

struct sasl_judge {
	/* A login name is there, canonical if it can be one; nothing was asked of its password yet. SASL_CHALLENGE lets
	 * it go on; with any other, that ends the exchange. Before a token is looked at, nobody's: it is empty. May be
	 * NULL. */
	enum sasl_result (*name)(void *arg, struct slice login);
	/* A password was right, and secrets_outdated. May be NULL. */
	void (*renew)(void *arg, const struct account *account, struct slice password);
	/* The time, for tokens, which may be shown long after the beginning. NULL: that of the beginning. */
	wall_ms (*now)(void *arg);
	void *arg;
};

struct sasl_start {
	enum sasl_mechanism mechanism;
	bool plus_offered;             /* a client that says that it was not has been deceived (RFC 5802 6) */
	struct slice exporter, unique; /* channel binding data: tls-exporter, tls-unique; empty: there is none */
	bool tells_transition;         /* SASL_TRANSITION, which shows that there is such an account */
	bool keeps_cram_md5;           /* as in the configuration: part of what makes secrets outdated */
	struct slice host;             /* of the challenge of CRAM-MD5 */
	/* EXTERNAL: the names in the client's certificate, which was verified; empty: there is none. */
	struct slice certificate;
	const struct external_map *external;
	struct tokens *tokens; /* that are taken; NULL: none can be looked at */
	wall_ms now;
	uint8_t chance[SASL_CHANCE]; /* random */
	struct sasl_judge judge;
};

/* What exchanges have in common; `accounts` are lent. NULL without memory. */
struct sasl *sasl_new(struct accounts *accounts);
void sasl_free(struct sasl *s); /* NULL is fine; after its exchanges */

struct sasl_exchange;
/* NULL without memory. Slices of `start` are copied. */
struct sasl_exchange *sasl_begin(struct sasl *s, const struct sasl_start *start);
/* Wipes what it held. NULL is fine. */
void sasl_end(struct sasl_exchange *e);

/* Whether the next step hashes a password. */
bool sasl_is_slow(const struct sasl_exchange *e);
/*
 * The next response, or with `given` false the beginning without one. A challenge goes to `challenge`, which is emptied
 * before. Not to be called again after another result than SASL_CHALLENGE.
 */
enum sasl_result sasl_step(struct sasl_exchange *e, bool given, struct slice response, struct buf *challenge);

/* A token was refused, and the client has heard it: all that can follow is SASL_WRONG, whatever he says to it. */
bool sasl_is_refused(const struct sasl_exchange *e);

/* The login name that the client gave, as the judge was told; empty before. Lent. */
struct slice sasl_login(const struct sasl_exchange *e);
/* Who it is, after SASL_GOOD. Lent. */
const struct account *sasl_account(const struct sasl_exchange *e);
/* For the log, after any result but SASL_CHALLENGE and SASL_GOOD: what was wrong, without secrets. Lent. */
struct slice sasl_why(const struct sasl_exchange *e);

#endif
