/*
 * field: the one door through which text from outside enters header fields and texts that we write.
 *
 * Nothing that passes it can end a line, a field or a string: no CR, LF, NUL or other control character comes out, so
 * that whatever the input, exactly the fields that we mean to write are written.
 */
#ifndef MAIL_FIELD_H
#define MAIL_FIELD_H

#include "base/buf.h"

/*
 * Append `in`, made safe: SP to '~' as they are; HT, CR and LF as SP (CRLF as one); well-formed UTF-8 from U+00A0 on as
 * it is when `utf8`, but for the separators and the controls of writing direction; each other octet as '?'. At most
 * `max` octets are appended, "..." included when it had to be cut. False when `out` is full.
 */
bool mail_field_safe(struct buf *out, struct slice in, size_t max, bool utf8);

/*
 * Append an address as <local@domain> when it is one that may stand there: RFC 5321 syntax, UTF-8 only when `utf8`.
 * Anything else is written as mail_field_safe would, with what could end the brackets made '?'. "<>" for the empty one.
 */
bool mail_field_path(struct buf *out, struct slice address, bool utf8);

/*
 * Words with folding (RFC 5322 2.2.3): each word is put behind a space, or behind CRLF HT where the line would grow
 * beyond 78 characters. A word holds no CR or LF.
 */
struct mail_fold {
	struct buf *out;
	size_t column; /* octets of the open line */
};

#define MAIL_LINE_WISHED 78 /* characters of a line without CRLF, RFC 5322 2.1.1 */

/* Begins a field: "Name:". */
void mail_fold_begin(struct mail_fold *f, struct buf *out, const char *name);
void mail_fold_word(struct mail_fold *f, struct slice word);
/* Begins a new line whatever stands on the old one. */
void mail_fold_break(struct mail_fold *f);
/* CRLF. False when something did not fit. */
bool mail_fold_end(struct mail_fold *f);

#endif
