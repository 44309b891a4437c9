/*
 * outcome: what an attempt to deliver to one recipient came to.
 */
#ifndef SMTP_OUTCOME_H
#define SMTP_OUTCOME_H

#include "base/slice.h"
#include "codes/smtpcodes.h"

enum smtp_verdict {
	SMTP_DELIVERED, /* the next hop took responsibility, or the message is in its mailbox */
	SMTP_DEFERRED,  /* try again later */
	SMTP_FAILED,    /* never */
};
#define SMTP_VERDICT_MAX SMTP_FAILED

/* How far the attempt came. The names are those that people see in trace and reports; the numbers are kept on disk. */
enum smtp_stage {
	SMTP_STAGE_ROUTE, /* no next hop was found */
	SMTP_STAGE_CONNECT,
	SMTP_STAGE_GREETING,
	SMTP_STAGE_EHLO,
	SMTP_STAGE_MAIL,
	SMTP_STAGE_RCPT,
	SMTP_STAGE_DATA,    /* DATA, or a BDAT that is not the last */
	SMTP_STAGE_END,     /* the final dot, or BDAT LAST */
	SMTP_STAGE_MAILBOX, /* delivery into a Maildir */
	SMTP_STAGE_TLS,     /* STARTTLS and its handshake, between EHLO and MAIL */
	SMTP_STAGE_AUTH,    /* behind it */
};
#define SMTP_STAGE_MAX SMTP_STAGE_AUTH

/* "connecting", "greeting", "EHLO", "MAIL FROM", ... */
const char *smtp_stage_name(enum smtp_stage stage);

struct smtp_outcome {
	enum smtp_verdict verdict;
	enum smtp_stage stage;
	unsigned code;                  /* the peer's reply code; 0 = no reply: `text` is our own finding */
	struct smtpcodes_status status; /* the peer's, or ours; klass agrees with the verdict, never 0 */
	struct slice text;              /* the peer's words without codes, or ours; at most 1,000 octets, lent */
	bool ambiguous;                 /* the connection was lost after the end of the data: the peer may have it */
	bool dsn_relayed;               /* delivered, and the peer took over the DSN parameters (RFC 3461 5.2.2) */
	bool lossy;                     /* delivered, and a conversion on the way replaced octets: 2.6.4 */
	/* How the session was secured, in words of the courier: "TLSv1.3 ..., verified". Empty: it was in the clear, or
	 * never came to be. Lent */
	struct slice secured;
};

#define SMTP_OUTCOME_TEXT_MAX    1000
#define SMTP_OUTCOME_SECURED_MAX 400

#endif
