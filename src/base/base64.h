/*
 * base64: the encoding of RFC 4648 4, read strictly.
 *
 * What is read is canonical or refused: four characters of the alphabet for each three octets, padding at the end
 * alone, no line ends or blanks, and no bits set behind the last octet (RFC 4648 3.3, 3.5; RFC 4954 4). The other
 * alphabet is that of RFC 4648 5 without padding, as RFC 7515 2 has it, read as strictly.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

/* Octets of text that n octets make; n is far from SIZE_MAX. */
#define BASE64_LENGTH(n) (((n) + 2) / 3 * 4)

/* Appends the text for the octets; false when it does not fit, then nothing of it is in `out`. */
bool base64_encode(struct slice octets, struct buf *out);
/* Appends the octets that the text stands for. False when it is no base64 or does not fit; then nothing of it is in
 * `out`, and out->failed tells the one from the other. */
bool base64_decode(struct slice text, struct buf *out);
/* The same of base64url. */
bool base64url_decode(struct slice text, struct buf *out);

#endif
