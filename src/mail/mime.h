/*
 * mime: header sections read field by field, and the two fields that say how a body is to be read (RFC 2045 5 and 6).
 *
 * All texts are lent from the header section. Parsing takes what is common in mail and says when it did not understand;
 * it never guesses between two readings.
 */
#ifndef MAIL_MIME_H
#define MAIL_MIME_H

#include "base/slice.h"

struct mail_header_field {
	struct slice whole; /* with its line ends */
	struct slice name;
	struct slice value; /* behind the colon, folds and last line end included */
};

/*
 * Split off the first field of a header section (see mail/scan.h for what that is). Lines that belong to no field are
 * given with an empty name. False at the end. for (rest = header; mail_header_next(&rest, &f);)
 */
bool mail_header_next(struct slice *rest, struct mail_header_field *ret);

/* Whether a line begins a field: a name, blanks, a colon. */
bool mail_line_is_field(struct slice line);

#define MAIL_MIME_BOUNDARY_MAX 250 /* octets; RFC 2046 5.1.1 allows 70 */

struct mail_mime_type {
	struct slice type, subtype;            /* empty when the field is not understood */
	char boundary[MAIL_MIME_BOUNDARY_MAX]; /* without quotes and blanks at its end */
	size_t boundary_n;                     /* 0: none, given twice, too long, or not understood */
};

/* The value of a Content-Type field. False when there is no type and subtype in it. */
bool mail_mime_type_parse(struct slice value, struct mail_mime_type *ret);

enum mail_mime_encoding {
	MAIL_MIME_NONE, /* no such field: 7bit */
	MAIL_MIME_7BIT,
	MAIL_MIME_8BIT,
	MAIL_MIME_BINARY,
	MAIL_MIME_QUOTED_PRINTABLE,
	MAIL_MIME_BASE64,
	MAIL_MIME_UNKNOWN,
};

/* The value of a Content-Transfer-Encoding field. */
enum mail_mime_encoding mail_mime_encoding_parse(struct slice value);

#endif
