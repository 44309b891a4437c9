/*
 * bounce: what a report from another server says, recipient by recipient.
 *
 * Reads a whole message and says whether it is a bounce, a complaint, an automatic reply or none of these. Structured
 * reports come first: RFC 3464 and RFC 6533 (delivery status), RFC 5965 (complaints), RFC 8098 (a message that a filter
 * threw away), wherever in the message they stand and however they are labelled. Without one, the text is read by the
 * phrases of data/bounce_phrases.tsv; only in messages that look like a server's own by data/bounce_headers.tsv, so
 * that a person who quotes a bounce has not sent one. See docs/bounces.md.
 *
 * Pure. Time is linear in the message, times at most MAIL_BOUNCE_DEPTH_MAX for nested multiparts, plus a constant for
 * the texts that are looked at; memory is bounded by the limits below. Lines may end in CRLF or LF.
 */
#ifndef MAIL_BOUNCE_H
#define MAIL_BOUNCE_H

#include "base/arena.h"
#include "codes/smtpcodes.h"

#define MAIL_BOUNCE_RCPT_MAX       1000      /* recipients; more are left out */
#define MAIL_BOUNCE_DEPTH_MAX      10        /* multiparts and messages within each other */
#define MAIL_BOUNCE_PARTS_MAX      100       /* parts that are looked at */
#define MAIL_BOUNCE_TEXT_MAX       (1 << 18) /* octets of text for people that are read */
#define MAIL_BOUNCE_FIELDS_MAX     (1 << 20) /* octets of fields for programs that are read */
#define MAIL_BOUNCE_DIAGNOSTIC_MAX 1000      /* octets of a diagnostic */
#define MAIL_BOUNCE_MEMORY_MAX     (8 << 20) /* octets of the result; as much again while it is read */

enum mail_bounce_kind {
	MAIL_BOUNCE_OTHER,      /* ordinary mail, and reports of success */
	MAIL_BOUNCE_BOUNCE,     /* at least one recipient failed or is late, or it says so without naming one */
	MAIL_BOUNCE_COMPLAINT,  /* RFC 5965 */
	MAIL_BOUNCE_AUTO_REPLY, /* vacation and the like (RFC 3834), receipts (RFC 8098) */
};

/* RFC 3464 2.3.3 */
enum mail_bounce_action {
	MAIL_BOUNCE_NO_ACTION, /* not told */
	MAIL_BOUNCE_FAILED,
	MAIL_BOUNCE_DELAYED,
	MAIL_BOUNCE_DELIVERED,
	MAIL_BOUNCE_RELAYED,
	MAIL_BOUNCE_EXPANDED,
};

/* What is absent is empty: no octets, klass 0, code 0. */
struct mail_bounce_rcpt {
	struct slice address; /* RFC 5321 or RFC 6531 syntax: the one that the sender used, if that is told */
	struct slice final;   /* the one that the server had in the end, when it is another */
	enum mail_bounce_action action;
	struct smtpcodes_status status; /* as reported; one that only says X.0.0 gives way to that of the diagnostic */
	unsigned reply;                 /* basic code of the diagnostic */
	struct slice diagnostic;        /* one line of UTF-8 without controls */
	struct slice remote;            /* the server that refused: a name or an address */
	enum smtpcodes_class klass;
	/* The report's word first: failed is permanent, delayed temporary. Without an action, what codes and text say.
	 */
	enum smtpcodes_verdict verdict; /* SMTPCODES_PERMANENT, SMTPCODES_TEMPORARY or SMTPCODES_UNKNOWN */
};

struct mail_bounce {
	enum mail_bounce_kind kind;
	const char *
		form; /* what it was read as: "rfc3464", "rfc5965", "rfc8098", or a name in the data; static; or NULL */
	struct mail_bounce_rcpt *rcpt;
	size_t rcpt_count;
	bool more; /* there were more recipients */

	struct slice message_id;    /* of the original, with its brackets */
	struct slice own_id;        /* the id that we gave the original */
	struct slice envelope_id;   /* Original-Envelope-Id: ENVID as the sender gave it */
	struct slice reporter;      /* Reporting-MTA without its type */
	struct slice feedback_type; /* of a complaint, as written */

	struct arena arena; /* holds all of it */
};

/* What the reader may know of us. */
struct mail_bounce_config {
	/* Our host name: the original's Received field by that name gives own_id; empty: only a report of ours gives
	 * it. */
	struct slice our_name;
	const struct smtpcodes_rules *rules; /* the operator's, for class and verdict; NULL: none */
};

/*
 * Read a message. Everything in *ret is a copy or static: the message may go. `config` may be NULL: nothing of it is
 * known. Returns false when there is no memory; *ret must be freed in either case.
 */
bool mail_bounce_read(struct slice message, const struct mail_bounce_config *config, struct mail_bounce *ret);
void mail_bounce_free(struct mail_bounce *b);

/* "bounce", "complaint", "auto-reply", "other". */
const char *mail_bounce_kind_name(enum mail_bounce_kind kind);
/* "failed" and so on; NULL for MAIL_BOUNCE_NO_ACTION. */
const char *mail_bounce_action_name(enum mail_bounce_action action);

#endif
