/*
 * parts: finds parts of a message that a rule refuses, by media type or by the ending of a file name, while its octets
 * pass by.
 *
 * Multiparts and messages in messages are looked into (RFC 2046 5), to a depth of MAIL_PARTS_DEPTH_MAX; encoded ones
 * and archives are not. File names are those of Content-Disposition and Content-Type, each that is there, put together
 * and decoded (RFC 2231, RFC 2047); blanks and dots at their end do not count. Structure that readers could take in two
 * ways (a multipart without a usable boundary, too deep a one, fields beyond MAIL_PARTS_FIELDS_MAX) is refused too: it
 * would hide what the rules look for.
 *
 * What is found does not depend on how the message is cut. Memory is that of the struct and of the fields of one part.
 */
#ifndef MAIL_PARTS_H
#define MAIL_PARTS_H

#include "base/buf.h"

#define MAIL_PARTS_DEPTH_MAX  100       /* multiparts inside one another */
#define MAIL_PARTS_FIELDS_MAX (1 << 16) /* octets of the Content- fields of one part */
#define MAIL_PARTS_PIECES_MAX 256       /* of one file name, RFC 2231 3 */
#define MAIL_PARTS_WHAT_MAX   120       /* octets of the text that says what was found */

/* Lent for the life of what is made with it. All in lower case. */
struct mail_parts_rules {
	const struct slice *media; /* type/subtype; a star as subtype stands for all of the type */
	size_t media_count;
	const struct slice *extensions; /* "exe", "tar.gz" */
	size_t extension_count;
};

enum mail_parts_result {
	MAIL_PARTS_GOOD,
	MAIL_PARTS_REFUSED,
	MAIL_PARTS_NO_MEMORY,
};

struct mail_parts;

/* NULL when there is no memory. */
struct mail_parts *mail_parts_new(const struct mail_parts_rules *rules);
/* NULL is fine. */
void mail_parts_free(struct mail_parts *p);

void mail_parts_feed(struct mail_parts *p, struct slice piece);
/* The message is whole. When it is refused *ret_what says why, for people, as long as `p` lives. */
enum mail_parts_result mail_parts_end(struct mail_parts *p, struct slice *ret_what);

#endif
