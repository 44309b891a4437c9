/*
 * sasl_private: what sasl.c, sasl_scram.c (SCRAM, by GNU SASL) and sasl_oauth.c (tokens) share.
 */
#ifndef DIRECTORY_SASL_PRIVATE_H
#define DIRECTORY_SASL_PRIVATE_H

#include "directory/sasl.h"

#include <gsasl.h>

#define SASL_WHY_MAX 600
#define NOTHING_KEPT "nothing is kept of the password for this mechanism"

struct sasl {
	struct accounts *accounts;
	Gsasl *library;
};

struct binding {
	uint8_t octets[SASL_BINDING_MAX];
	size_t n;
};

struct sasl_exchange {
	struct sasl *sasl;
	const struct sasl_row *row;
	enum sasl_mechanism mechanism;
	struct sasl_judge judge;
	bool plus_offered, tells_transition, keeps_cram_md5;
	struct binding exporter, unique;
	char named[SASL_LOGIN_MAX]; /* LOGIN: the first response */
	size_t named_n;
	unsigned steps;
	char login[SASL_LOGIN_MAX];
	size_t login_n;
	struct account *account; /* while it is looked at, and after SASL_GOOD; else NULL */
	struct buf why;
	char challenge[2 * SASL_LOGIN_MAX]; /* CRAM-MD5 */
	size_t challenge_n;
	struct buf logins; /* EXTERNAL: as whom the certificate logs in, one a line */
	struct tokens *tokens;
	wall_ms begun;
	bool refused; /* the token was */

	/* SCRAM */
	Gsasl_session *session;
	enum sasl_result verdict; /* of a call back; SASL_CHALLENGE: nothing is wrong */
	struct scram_verifier verifier;
	bool known;  /* the verifier is an account's */
	bool proven; /* the server's last word is said; the client's empty one is awaited (RFC 4954 4) */
};

/* Finds the account into e->account, says its name to the judge, and returns SASL_CHALLENGE when it may go on. */
enum sasl_result sasl_look_up(struct sasl_exchange *e, struct slice login);
/* The credentials are right: what the account is then. */
enum sasl_result sasl_admit(struct sasl_exchange *e);
enum sasl_result sasl_fail(struct sasl_exchange *e, enum sasl_result result, const char *why);
/* Whether the identity that the client wants to act as is his own. An empty one is. */
bool sasl_is_own_identity(const struct sasl_exchange *e, struct slice identity);

enum sasl_result sasl_token_step(struct sasl_exchange *e, struct slice response, struct buf *challenge);

bool sasl_scram_begin(struct sasl_exchange *e);
enum sasl_result sasl_scram_step(struct sasl_exchange *e, struct slice response, struct buf *challenge);
void sasl_scram_end(struct sasl_exchange *e);
/* GNU SASL's call back for all sessions of the library. */
int sasl_scram_property(Gsasl *library, Gsasl_session *session, Gsasl_property property);

#endif
