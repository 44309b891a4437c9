/*
 * trace: the fields that a server puts on top of a message: Received, Return-Path (RFC 5321 4.4), Delivered-To.
 *
 * Whatever the values hold, each function adds exactly one field, ended by CRLF, with no line over 998 octets; lines
 * are folded at 78 characters where the values let it. False when `out` is full; then nothing was added.
 */
#ifndef MAIL_TRACE_H
#define MAIL_TRACE_H

#include "base/buf.h"
#include "base/clock.h"

#define MAIL_RECEIVED_MAX 2000 /* octets of a Received field at most */

struct mail_received {
	struct slice helo; /* the name given in EHLO, HELO or LHLO; empty = none */
	struct slice peer; /* the peer's IP address as text, without brackets; empty = not by TCP */
	struct slice by;   /* our host name */
	struct slice id;   /* the message's id */
	struct slice rcpt; /* the recipient, when it is the only one; else empty */
	bool extended;     /* EHLO was given */
	bool lmtp;
	bool utf8; /* the message came with SMTPUTF8 */
	bool tls;  /* by STARTTLS or TLS from the start */
	struct slice cipher, group; /* of TLS, by their registered names; empty: not told */
	bool authenticated;
	wall_ms now;
};

/*
 * "Received: from helo ([peer]) by name with ESMTP id ...; date". With TLS it says by which cipher and group (RFC 8314
 * 4.3). The FOR clause stands only for a recipient that may
 * be shown: one outside ASCII only in a message that came with SMTPUTF8 (RFC 6531 3.7.3).
 */
bool mail_received_write(const struct mail_received *r, struct buf *out);

/* The keyword behind "with": RFC 5321 4.4, RFC 3848, RFC 6531 4.3. */
const char *mail_received_protocol(const struct mail_received *r);

/* `sender` empty gives "<>". */
bool mail_return_path_write(struct slice sender, struct buf *out);
bool mail_delivered_to_write(struct slice address, struct buf *out);

#endif
