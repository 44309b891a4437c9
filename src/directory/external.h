/*
 * external: as which account the holder of a client's certificate logs in (EXTERNAL, RFC 4422 appendix A).
 *
 * What a certificate says of its holder is a list of names, one a line, each behind its kind:
 *	email:alice@example.com     rfc822Name of subjectAltName (RFC 5280 4.2.1.6)
 *	dns:printer.example.com     dNSName
 *	uri:urn:uuid:...            uniformResourceIdentifier
 *	key:0123...                 SHA-256 of the public key (SubjectPublicKeyInfo), 64 hexadecimal digits
 * The certificate was verified before: here it is only read.
 */
#ifndef DIRECTORY_EXTERNAL_H
#define DIRECTORY_EXTERNAL_H

#include "base/buf.h"

#define EXTERNAL_NAMES_MAX 4096 /* octets of all names of a certificate */
#define EXTERNAL_NAME_MAX  300  /* of one, with its kind */

/* Whoever has one of the names logs in as `login`. */
struct external_rule {
	struct slice login;
	const struct slice *names;
	size_t count;
};

struct external_map {
	const struct external_rule *rules;
	size_t count;
	bool by_email; /* whoever has "email:NAME" logs in as NAME, too */
};

/* Whether it is a name of such a kind, as in a list. */
bool external_name_valid(struct slice name);
/* Appends the login names that the holder of these names has, one a line: those of rules first, in their order. None is
 * there twice. */
void external_logins(const struct external_map *map, struct slice names, struct buf *out);

#endif
