/*
 * address: mailboxes and paths of RFC 5321 4.1.2 and 4.1.3, with the internationalised forms of RFC 6531 3.3.
 *
 * One parser, one verdict, no repair: what is accepted matches the grammar exactly. All texts that come out are lent
 * from the input.
 */
#ifndef MAIL_ADDRESS_H
#define MAIL_ADDRESS_H

#include "base/buf.h"

#define MAIL_LOCAL_MAX  64  /* octets of a local part, RFC 5321 4.5.3.1.1 */
#define MAIL_DOMAIN_MAX 255 /* octets of a domain, RFC 5321 4.5.3.1.2 */
#define MAIL_PATH_MAX   256 /* octets of a path with its brackets, RFC 5321 4.5.3.1.3 */

enum mail_address_error {
	MAIL_ADDRESS_OK,
	MAIL_ADDRESS_SYNTAX,
	MAIL_ADDRESS_LOCAL_TOO_LONG,
	MAIL_ADDRESS_DOMAIN_TOO_LONG,
	MAIL_ADDRESS_PATH_TOO_LONG,
};

/* How a domain is written. */
enum mail_domain_kind {
	MAIL_DOMAIN_NONE, /* no domain: the null path, or <postmaster> */
	MAIL_DOMAIN_NAME,
	MAIL_DOMAIN_IPV4,    /* [192.0.2.1] */
	MAIL_DOMAIN_IPV6,    /* [IPv6:2001:db8::1] */
	MAIL_DOMAIN_GENERAL, /* [tag:text] */
};

struct mail_address {
	struct slice text;   /* local@domain as written */
	struct slice local;  /* as written, quotes included */
	struct slice domain; /* as written, brackets included; empty with MAIL_DOMAIN_NONE */
	enum mail_domain_kind kind;
	bool utf8; /* holds octets outside ASCII */
};

/*
 * Parse a path at the start of `in`: "<" [source route] mailbox ">" . The source route is checked and left out
 * (RFC 5321 4.1.1.3). "<>" is taken when `null_ok`; "<postmaster>" of any case when `postmaster_ok`: both give
 * MAIL_DOMAIN_NONE. *used is the octets taken, brackets included. On failure *why is a static text for a reply.
 */
enum mail_address_error mail_path_parse(struct slice in, bool null_ok, bool postmaster_ok, struct mail_address *ret,
					size_t *used, const char **why);

/* Parse all of `in` as local@domain, without brackets. */
enum mail_address_error mail_address_parse(struct slice in, struct mail_address *ret, const char **why);

/* All of `in` as a domain name (RFC 5321 4.1.2 Domain; U-labels of RFC 6531 when `utf8_ok`), or as a literal. */
bool mail_domain_valid(struct slice in, bool utf8_ok);
bool mail_literal_valid(struct slice in, enum mail_domain_kind *ret_kind);

/* Append the local part without its quotes and backslashes: what it means (RFC 5321 4.1.2). */
bool mail_local_plain(struct slice local, struct buf *out);

/*
 * Append the domain in the form that domains are compared in: lower case, A-labels (libidn2, UTS 46), no final dot.
 * A literal is appended in lower case. False when it is no domain, or when `out` is full.
 */
bool mail_domain_canonical(struct slice domain, struct buf *out);

/* xtext of RFC 3461 4: "+XX" for octets outside '!' to '~' and for '+' and '='. Decoding refuses bad forms, and
 * decoded octets outside SP to '~', so that none of CR, LF, NUL comes out. */
bool mail_xtext_encode(struct slice in, struct buf *out);
bool mail_xtext_decode(struct slice in, struct buf *out);

#endif
