/*
 * limits: every limit of the protocol engines, beside the section that asks for it.
 *
 * The minimum that RFC 5321 4.5.3.1 lets every client rely on is asserted here; configuration may only raise it.
 */
#ifndef SMTP_LIMITS_H
#define SMTP_LIMITS_H

#include <assert.h>

#include "base/clock.h"

/* Command line with CRLF: 512 (RFC 5321 4.5.3.1.4) and what the extensions add to MAIL and RCPT (spec: SIZE 26,
 * BODY 16, SMTPUTF8 10, DSN 107 and 507, AUTH 500, REQUIRETLS 11). One figure for all commands. */
#define SMTP_COMMAND_LINE_MAX    2048
/* A line of an exchange of AUTH, and the initial response, in octets of base64 (RFC 4954 4). */
#define SMTP_AUTH_LINE_MAX       12288
#define SMTP_CHALLENGE_MAX       (SMTP_AUTH_LINE_MAX / 4 * 3)
/* The AUTH command itself: long tokens come as initial responses, whatever RFC 4954 4 says about its length. */
#define SMTP_AUTH_COMMAND_MAX    (5 + SMTP_MECHANISM_MAX + 1 + SMTP_AUTH_LINE_MAX + 2)
/* The name of a mechanism (RFC 4422 3.1), and how many a listener may offer: all stand on one line of EHLO. */
#define SMTP_MECHANISM_MAX       20
#define SMTP_MECHANISMS_MAX      16
/* Text line with CRLF (RFC 5321 4.5.3.1.6); the default of the configurable limit is more generous. */
#define SMTP_TEXT_LINE_MIN       1000
/* Reply line with CRLF: what we send (RFC 5321 4.5.3.1.5), and what we take from others. */
#define SMTP_REPLY_LINE_MAX      512
#define SMTP_PEER_REPLY_LINE_MAX 4096
#define SMTP_PEER_REPLY_LINES    100
#define SMTP_PEER_REPLY_MAX      16384
/* What answers a challenge of SASL, in base64 (RFC 4954 4: lines of 12288 octets are to be had). A longer one, or an
 * initial response that makes AUTH longer than a command line of RFC 5321 4.5.3.1.4, is not sent. */
#define SMTP_CLIENT_AUTH_MAX     12288
#define SMTP_CLIENT_AUTH_LINE    512
/* Octets by which it is known again in a reply that repeats it. */
#define SMTP_CLIENT_AUTH_KNOWN   8
/* Recipients of a message that every server must take (RFC 5321 4.5.3.1.8). */
#define SMTP_RCPT_MIN            100
/* No configuration may ask for more: a transaction's memory is bounded by it. */
#define SMTP_RCPT_MAX            100000
/* AUTH parameter of MAIL (RFC 4954 3). */
#define SMTP_AUTH_PARAM_MAX      500
/* ENVID and ORCPT (RFC 3461 4.4, 4.2). */
#define SMTP_ENVID_MAX           100
#define SMTP_ORCPT_MAX           500
/* Octets of a command line behind its limit that are read for the sake of a proper 500; then the session ends. */
#define SMTP_LINE_DISCARD_MAX    65536
/* Octets that are read and thrown away beyond size_max, so that a client hears 552 rather than a broken connection: in
 * a message over the limit, and in all refused chunks of a session. A chunk that would pass it is not read at all. */
#define SMTP_DATA_DISCARD_MAX    ((uint64_t)64 << 20)
/* With this much waiting to be sent no further command is taken; a single reply may go beyond it by so much. */
#define SMTP_OUTPUT_BOUND        16384
#define SMTP_OUTPUT_REPLY_MAX    131072
/* In LMTP one end of data draws a reply for each recipient: an address, an id or the reason, codes on each line. */
#define SMTP_OUTPUT_RCPT_MAX     1024
/* Refusals that wait to be told to the log, in octets; what comes beyond is left out of it. */
#define SMTP_REFUSALS_MAX        8192
/* What one recipient may take in the transaction's memory: path, ORCPT, alignment. */
#define SMTP_RCPT_OCTETS         800
/* Octets of buffers that an idle session keeps; what grew beyond is given back. */
#define SMTP_IDLE_BUFFER         1024
#define SMTP_IDLE_LINE           256
#define SMTP_IDLE_RCPT           8

static_assert(SMTP_COMMAND_LINE_MAX >= 512 + 26 + 16 + 10 + 107 + 500 + 11, "MAIL with every parameter fits");
static_assert(SMTP_COMMAND_LINE_MAX >= 1036, "RCPT with DSN fits (RFC 3461 5.4)");
static_assert(SMTP_AUTH_COMMAND_MAX >= SMTP_COMMAND_LINE_MAX, "AUTH may be longer than other commands");
static_assert(SMTP_OUTPUT_REPLY_MAX >= SMTP_AUTH_LINE_MAX + 6, "a challenge fits");
static_assert(SMTP_RCPT_OCTETS >= 256 + SMTP_ORCPT_MAX + 32, "a path and an ORCPT fit, each aligned");
static_assert(SMTP_OUTPUT_BOUND >= 16 * SMTP_REPLY_LINE_MAX, "the replies to a usual group of commands go out at once");
static_assert(SMTP_PEER_REPLY_MAX > SMTP_PEER_REPLY_LINE_MAX, "one line fits into a reply");

#endif
