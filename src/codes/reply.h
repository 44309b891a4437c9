/*
 * reply: every reply that our server gives, from one table.
 *
 * The rows stand in replies.def: id, reply code, enhanced code, text, situation. No reply is built anywhere else. A
 * text may name arguments as %1 to %3; what fills them is made safe here: octets that a reply may not hold (RFC 5321
 * 4.2: HT, SP to '~') become '?', and a long text goes on in further lines of the same code.
 *
 * Kept by the formatter, so that no row can break it: the enhanced code stands on every line of 2yz, 4yz and 5yz
 * except greetings and replies to EHLO and HELO, never on 3yz (RFC 2034 4); its class is the reply's first digit; no
 * line exceeds 512 octets (RFC 5321 4.5.3.1.5).
 */
#ifndef CODES_REPLY_H
#define CODES_REPLY_H

#include "base/buf.h"
#include "codes/smtpcodes.h"

enum reply_id {
#define REPLY(id, code, status, text, situation) id,
#include "codes/replies.def"
#undef REPLY
	REPLY_COUNT
};

struct reply_row {
	const char *name; /* the id as text, without REPLY_ */
	unsigned code;
	struct smtpcodes_status status; /* klass 0: the reply carries none */
	const char *text;
	const char *situation;
};

#define REPLY_ARGS     3
#define REPLY_ARG_MAX  1000 /* octets of an argument that are shown; more are cut */
#define REPLY_LINE_MAX 400  /* the same for a line given to reply_format_lines */

/* A reply to be given: the arguments are lent until it is formatted. */
struct reply {
	enum reply_id id;
	struct slice arg[REPLY_ARGS];
};

const struct reply_row *reply_row(enum reply_id id);

/* Append the reply as octets. False when `out` is full: then nothing of the reply stays in it. */
bool reply_format(struct buf *out, const struct reply *reply);

/*
 * Append a reply of several lines: the row's text is the first line, then one line for each of `lines`. For EHLO, HELP
 * and EXPN. The lines are made safe as arguments are; each is at most 400 octets, longer ones are cut.
 */
bool reply_format_lines(struct buf *out, const struct reply *reply, const struct slice *lines, size_t count);

#endif
