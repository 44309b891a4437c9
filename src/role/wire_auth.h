/*
 * wire_auth: what receivers and the auth role say to each other; see role/wire.h.
 *
 * An exchange is named by the session's tag and a number that the receiver gives to each: what comes for one that is
 * over finds nobody.
 */
#ifndef ROLE_WIRE_AUTH_H
#define ROLE_WIRE_AUTH_H

#include "directory/sasl.h"
#include "policy/network.h"
#include "role/wire.h"

#define WIRE_SESSION_NAME_MAX 64

struct wire_auth_tag {
	uint64_t session, serial;
};

/* WIRE_AUTH_FORGET: nobody waits for it any more. */
void wire_put_auth_tag(struct buf *out, const struct wire_auth_tag *tag);
bool wire_get_auth_tag(struct slice in, struct wire_auth_tag *ret);

/* WIRE_AUTH_BEGIN */
struct wire_auth_begin {
	struct wire_auth_tag tag;
	enum sasl_mechanism mechanism;
	bool plus_offered, given;
	struct slice exporter, unique, certificate; /* as in sasl_start */
	struct ip_address client;
	struct slice session;  /* its name in the log */
	struct slice response; /* `given`: the initial one */
};
void wire_put_auth_begin(struct buf *out, const struct wire_auth_begin *begin);
bool wire_get_auth_begin(struct slice in, struct wire_auth_begin *ret);

/* WIRE_AUTH_RESPONSE, WIRE_AUTH_CHALLENGE */
struct wire_auth_step {
	struct wire_auth_tag tag;
	struct slice octets;
};
void wire_put_auth_step(struct buf *out, const struct wire_auth_step *step);
bool wire_get_auth_step(struct slice in, struct wire_auth_step *ret);

/* WIRE_AUTH_DONE */
struct wire_auth_done {
	struct wire_auth_tag tag;
	enum sasl_result result; /* no challenge */
	/* GOOD: who it is, and what he may send as (struct account). */
	struct slice login;
	struct slice addresses[ACCOUNT_ADDRESSES_MAX + 1];
	size_t address_count;
};
void wire_put_auth_done(struct buf *out, const struct wire_auth_done *done);
bool wire_get_auth_done(struct slice in, struct wire_auth_done *ret);

/* WIRE_AUTH_SPEND: a user begins a message. */
struct wire_auth_spend {
	struct wire_auth_tag tag;
	struct slice login;
};
void wire_put_auth_spend(struct buf *out, const struct wire_auth_spend *spend);
bool wire_get_auth_spend(struct slice in, struct wire_auth_spend *ret);

/* WIRE_AUTH_SPENT: whether he may. */
enum wire_allowance {
	WIRE_ALLOWED,
	WIRE_LIMITED,     /* so many messages or recipients of late that there can be no other */
	WIRE_NOT_ALLOWED, /* the account is gone, or disabled */
	WIRE_ALLOWANCE_UNKNOWN,
};
struct wire_auth_spent {
	struct wire_auth_tag tag;
	enum wire_allowance allowance;
	uint32_t recipients; /* that it may have; ALLOWED: 1 at least */
};
void wire_put_auth_spent(struct buf *out, const struct wire_auth_spent *spent);
bool wire_get_auth_spent(struct slice in, struct wire_auth_spent *ret);

/* WIRE_AUTH_USED: a message of his was accepted for so many. */
struct wire_auth_used {
	struct slice login;
	uint32_t recipients;
};
void wire_put_auth_used(struct buf *out, const struct wire_auth_used *used);
bool wire_get_auth_used(struct slice in, struct wire_auth_used *ret);

#endif
