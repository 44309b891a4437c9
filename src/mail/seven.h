/*
 * seven: a message rewritten for a peer that cannot take it as it is (RFC 6152 3, RFC 3030 3, RFC 2045, RFC 2046).
 *
 * For a peer without 8BITMIME every octet has to be below 128; for one without BINARYMIME the message has to be lines
 * without bare CR, bare LF and NUL. Parts that break this are encoded: text in quoted-printable, all else, and text
 *with octets that no line may hold, in base64; their Content-Transfer-Encoding follows, and that of the multiparts and
 * messages around them. Parts that need nothing are passed on as they are. A message that says nothing about its format
 * is declared to be text in an unknown charset (RFC 1428). Decoded, every part is what it was.
 *
 * A streaming transformer: pieces of any size go in, octets are appended to a buf; the output does not depend on how
 *the input is cut. What it holds back is bounded by MAIL_SEVEN_HELD_MAX; what one call appends by four times its input
 *and four times what it held.
 *
 * What cannot be converted ends the conversion: then the output so far must not be used. So a caller who has to know
 * before he starts sending runs the message through once with `out` NULL.
 *
 *	HEADER_8BIT   octets above 127 in a header section, that of the message or of a part (RFC 6532)
 *	PROHIBITED    a part that breaks the rule inside multipart/signed: its signature would not hold (RFC 1847 2.1)
 *	UNSUPPORTED   such a part in a type of "message" that must not be encoded (RFC 2046 5.2), or with an encoding
 *	              that is not known; a header section with bare CR, bare LF or NUL
 *	FAILED        such a part where the structure is malformed, below a depth of MAIL_SEVEN_DEPTH_MAX, or behind a
 *	              header section over MAIL_SEVEN_HEADER_MAX
 *
 * Octets that break the rule in the preamble or epilogue of a multipart, which no reader shows (RFC 2046 5.1.1), become
 * '?'. They are all that is ever lost; mail_seven_lossy says whether any were.
 */
#ifndef MAIL_SEVEN_H
#define MAIL_SEVEN_H

#include "base/buf.h"

#define MAIL_SEVEN_DEPTH_MAX  100       /* multiparts and messages inside one another (attacks G3) */
#define MAIL_SEVEN_HEADER_MAX (1 << 20) /* octets of one header section */
#define MAIL_SEVEN_LOOK_MAX   (1 << 14) /* octets of a part that are looked at before it is encoded */
#define MAIL_SEVEN_HELD_MAX   (MAIL_SEVEN_HEADER_MAX + MAIL_SEVEN_LOOK_MAX + 1024)

enum mail_seven_target {
	MAIL_SEVEN_TO_7BIT,
	MAIL_SEVEN_TO_8BIT, /* lines of octets: octets above 127 may stay, in header sections too */
};

enum mail_seven_result {
	MAIL_SEVEN_OK,
	MAIL_SEVEN_HEADER_8BIT, /* a header section would need SMTPUTF8: 5.6.9 */
	MAIL_SEVEN_PROHIBITED,  /* 5.6.2 */
	MAIL_SEVEN_UNSUPPORTED, /* 5.6.3 */
	MAIL_SEVEN_FAILED,      /* 5.6.5 */
	MAIL_SEVEN_NO_ROOM,     /* no memory, or `out` is full: try again later */
};

struct mail_seven;

/* NULL when there is no memory. */
struct mail_seven *mail_seven_new(enum mail_seven_target target);
/* NULL is fine. */
void mail_seven_free(struct mail_seven *s);

/* `out` may be NULL. A result that is not MAIL_SEVEN_OK stays. */
enum mail_seven_result mail_seven_feed(struct mail_seven *s, struct slice piece, struct buf *out);
/* The message is whole. */
enum mail_seven_result mail_seven_end(struct mail_seven *s, struct buf *out);
/* Why it cannot be converted, as a static text for a report; NULL as long as it can. */
const char *mail_seven_reason(const struct mail_seven *s);
/* Whether octets were replaced by '?' so far. */
bool mail_seven_lossy(const struct mail_seven *s);

#endif
