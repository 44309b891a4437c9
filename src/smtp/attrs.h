/*
 * attrs: what XCLIENT and XFORWARD tell of a client (Postfix: XCLIENT_README, XFORWARD_README).
 *
 *	XCLIENT NAME=spike.example.net ADDR=192.0.2.7 HELO=spike.example.net
 *
 * Both verbs take attributes with values in xtext (RFC 3461 4); names, and words in brackets, are of any case. XCLIENT
 * says who the client is, and is read strictly; XFORWARD says who a client further up was, for the log alone, and what
 * of its values might be misread in a line of text is replaced by '?'.
 */
#ifndef SMTP_ATTRS_H
#define SMTP_ATTRS_H

#include "base/buf.h"

enum smtp_attr {
	SMTP_ATTR_NAME,         /* host name of the client, by its address and back */
	SMTP_ATTR_REVERSE_NAME, /* the name of its address, which need not lead back */
	SMTP_ATTR_ADDR,
	SMTP_ATTR_PORT,
	SMTP_ATTR_PROTO,
	SMTP_ATTR_HELO,
	SMTP_ATTR_LOGIN,    /* who authenticated */
	SMTP_ATTR_DESTADDR, /* where the client connected to */
	SMTP_ATTR_DESTPORT,
	SMTP_ATTR_IDENT,  /* the message's id there */
	SMTP_ATTR_SOURCE, /* LOCAL or REMOTE */
};
#define SMTP_ATTRS    (SMTP_ATTR_SOURCE + 1)
#define SMTP_ATTR_MAX 255 /* octets of a value, decoded */

enum smtp_attr_state {
	SMTP_ATTR_NONE, /* not told */
	SMTP_ATTR_UNAVAILABLE,
	SMTP_ATTR_TEMPUNAVAIL, /* NAME and REVERSE_NAME: the DNS did not answer */
	SMTP_ATTR_GIVEN,
};

struct smtp_attr_value {
	uint8_t state, n;
	char text[SMTP_ATTR_MAX];
};

/* Zeroed: nothing was told. */
struct smtp_attrs {
	struct smtp_attr_value value[SMTP_ATTRS];
};

enum smtp_attrs_verb {
	SMTP_ATTRS_XCLIENT,
	SMTP_ATTRS_XFORWARD,
};

/* The verb with the attributes that it takes, as they are offered in EHLO. */
struct slice smtp_attrs_offer(enum smtp_attrs_verb verb);

/*
 * Read the argument of the verb into `attrs`: what it does not name stays. The first XFORWARD makes all else
 * UNAVAILABLE. False, and nothing has changed, when anything in it is wrong: *ret_where is the attribute as it was
 * written, lent from `arg`, and *why a static text.
 */
bool smtp_attrs_read(enum smtp_attrs_verb verb, struct slice arg, struct smtp_attrs *attrs, struct slice *ret_where,
		     const char **why);

/* Append "NAME=value ADDR=value", in xtext, with every attribute that was told, those in brackets too if
 * `unavailable`. False when `out` is full. */
bool smtp_attrs_write(const struct smtp_attrs *attrs, bool unavailable, struct buf *out);

/* The value of one that was given; else empty. Lent. */
static inline struct slice smtp_attrs_get(const struct smtp_attrs *attrs, enum smtp_attr attr)
{
	const struct smtp_attr_value *v = &attrs->value[attr];

	return v->state == SMTP_ATTR_GIVEN ? slice_of(v->text, v->n) : SLICE_NONE;
}

#endif
