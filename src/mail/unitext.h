/*
 * unitext: internationalised addresses in ASCII, as the "utf-8" address type of RFC 6533 3 writes them.
 *
 * "\x{HEX}" stands for a character outside ASCII and for SP, "\", "+" and "=", so that the text fits into an ORCPT
 * parameter and into a message/delivery-status part.
 */
#ifndef MAIL_UNITEXT_H
#define MAIL_UNITEXT_H

#include "base/buf.h"

/* Append an address in the 7-bit form (utf-8-addr-xtext). False when it holds controls or is not UTF-8, or `out` is
 * full. */
bool mail_unitext_encode(struct slice address, struct buf *out);

/* Append the address that one of the three forms of RFC 6533 3 stands for. False when it is none of them, when it does
 * not stand for an address of RFC 6531, or when `out` is full. */
bool mail_unitext_decode(struct slice in, struct buf *out);

#endif
