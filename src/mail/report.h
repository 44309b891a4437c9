/*
 * report: delivery status notifications (RFC 3461 6, RFC 3464, RFC 6522, RFC 6533).
 *
 * A report is a message to the original sender: first words for people, then the same for programs, then the original
 * or its header section. It is built from values alone: date, boundary and message id are given. Every text from
 * outside is made safe (mail/field.h); no line is over 998 octets without CRLF; the report can always be sent to a peer
 * that takes 7-bit lines only (mail/seven.h). The envelope of a report has the null reverse-path, and NOTIFY=NEVER
 * where DSN is offered (RFC 3461 6.1): that is its sender's concern.
 */
#ifndef MAIL_REPORT_H
#define MAIL_REPORT_H

#include "base/buf.h"
#include "base/clock.h"
#include "codes/smtpcodes.h"
#include "mail/envelope.h"

/* RFC 3464 2.3.3 */
enum mail_report_action {
	MAIL_REPORT_FAILED,
	MAIL_REPORT_DELAYED,
	MAIL_REPORT_DELIVERED,
	MAIL_REPORT_RELAYED,  /* to a server that does not report deliveries */
	MAIL_REPORT_EXPANDED, /* to several addresses behind this one */
};
#define MAIL_REPORT_ACTION_MAX MAIL_REPORT_EXPANDED

/* What of the original is sent along. */
enum mail_report_return {
	MAIL_REPORT_RETURN_NONE,
	MAIL_REPORT_RETURN_HEADER,
	MAIL_REPORT_RETURN_FULL,
};

struct mail_report_rcpt {
	struct slice address; /* the recipient in the envelope */
	struct slice orcpt;   /* ORCPT= as given; empty = not given */
	enum mail_report_action action;
	/* One that contradicts the action is replaced by that action's own: X.0.0, for RELAYED 2.1.9. */
	struct smtpcodes_status status;
	struct slice remote_mta;        /* the host that answered, name or literal; empty: our own finding */
	struct slice diagnostic;        /* its reply with codes, lines joined by SP or LF; empty: none. At most 1,000
					   octets are used */
	struct slice explanation;       /* why, in plain words; empty: left out. At most 2,000 octets are used */
	struct slice advice;            /* what to do; empty: the usual advice for the action. The same */
	wall_ms last_attempt;           /* 0 = none */
	wall_ms will_retry_until;       /* 0 = none; for MAIL_REPORT_DELAYED */
};

struct mail_report {
	struct slice mta;          /* our host name: Reporting-MTA */
	struct slice from_display; /* empty: "Mail Delivery System" */
	struct slice from_address; /* MAILER-DAEMON@... */
	struct slice sender;       /* the original reverse-path: To; never empty */
	struct slice envid;        /* ENVID= as given, xtext; empty = not given */
	struct slice id;           /* the original message's id here; empty = not shown */
	bool utf8;                 /* the original came with SMTPUTF8: its sender can read addresses in UTF-8 */
	bool tls_optional;         /* the original said TLS-Required: No, and so does the report (RFC 8689 6) */
	wall_ms arrival;           /* of the original; 0 = unknown */
	wall_ms now;
	struct slice token; /* 1 to 60 random ASCII letters and digits: boundary and message id are made of it */
	const struct mail_report_rcpt *rcpt;
	size_t rcpt_count; /* > 0 */
	enum mail_report_return wanted;
	struct slice header;   /* of the original, line ends included, without the empty line */
	struct slice original; /* whole; used with MAIL_REPORT_RETURN_FULL only */
};

/* The most that a report can be, beside the header section or original that was given with it. */
#define MAIL_REPORT_FIXED_MAX 8192
#define MAIL_REPORT_RCPT_MAX  16384

/*
 * Append the report as a whole message. What cannot be returned as wanted is returned as less: an original with bare
 * CR, bare LF or NUL, with lines over 998 octets, or that cannot be converted to 7 bits, as its header section; one
 * that holds the boundary not at all. False when `out` is full or there is no memory; then nothing was added.
 */
bool mail_report_write(const struct mail_report *r, struct buf *out);

/* Whether the report has octets above 127 in its header section (a sender outside ASCII): it needs SMTPUTF8. */
bool mail_report_needs_utf8(const struct mail_report *r);

/* ---- whether one is due ------------------------------------------------------------------------------------------ */

/*
 * RFC 3461 4.1 and 5.2: failures unless NOTIFY says otherwise, delays with NOTIFY absent or DELAY, success with SUCCESS
 * only. Never about a message with a null reverse-path (RFC 5321 4.5.5, RFC 3464 2).
 */
bool mail_report_due(uint8_t notify, bool null_sender, enum mail_report_action action);

/* Where a message went that left us well. */
enum mail_report_hop {
	MAIL_REPORT_HOP_MAILBOX, /* delivered: RFC 3461 5.2.3 */
	MAIL_REPORT_HOP_DSN,     /* relayed with its DSN parameters: the next hop reports, 5.2.1 */
	MAIL_REPORT_HOP_PLAIN,   /* relayed to a server without DSN, 5.2.2 (b) */
};

/* The same for a success, with the action to report. */
bool mail_report_success_due(uint8_t notify, bool null_sender, enum mail_report_hop hop, enum mail_report_action *ret);

/*
 * What to return of the original (RFC 3461 4.3, 6.2): the whole for failures when RET=FULL asks for it and it has at
 * most `full_max` octets, or when nothing was asked and it has at most `small_max`; else the header section.
 */
enum mail_report_return mail_report_wanted(enum mail_ret ret, bool any_failed, uint64_t size, uint64_t small_max,
					   uint64_t full_max);

#endif
