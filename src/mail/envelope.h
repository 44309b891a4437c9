/*
 * envelope: what MAIL and RCPT say about a message (RFC 5321 2.3.1), as one value for every layer.
 *
 * The texts are lent; whoever makes an envelope says how long they live.
 */
#ifndef MAIL_ENVELOPE_H
#define MAIL_ENVELOPE_H

#include "base/slice.h"

/* BODY= (RFC 6152, RFC 3030 3). */
enum mail_body {
	MAIL_BODY_7BIT,
	MAIL_BODY_8BITMIME,
	MAIL_BODY_BINARYMIME,
};

/* RET= (RFC 3461 4.3). */
enum mail_ret {
	MAIL_RET_NONE, /* not given */
	MAIL_RET_FULL,
	MAIL_RET_HDRS,
};

/* NOTIFY= (RFC 3461 4.1); 0 = not given, which asks for failures, and for delays as the server likes. */
enum mail_notify {
	MAIL_NOTIFY_NEVER = 1, /* alone */
	MAIL_NOTIFY_SUCCESS = 2,
	MAIL_NOTIFY_FAILURE = 4,
	MAIL_NOTIFY_DELAY = 8,
};
#define MAIL_NOTIFY_MAX 15

struct mail_rcpt {
	struct slice address; /* forward-path without <> and source route, as the client wrote it; never empty */
	struct slice orcpt;   /* ORCPT= as given, "type;xtext"; empty = not given */
	uint8_t notify;       /* mail_notify */
};

struct mail_envelope {
	struct slice sender; /* reverse-path without <> and source route; empty = null reverse-path */
	struct slice envid;  /* ENVID= as given, xtext; empty = not given */
	enum mail_body body;
	enum mail_ret ret;
	bool utf8;         /* SMTPUTF8 (RFC 6531 3.4) */
	bool requiretls;   /* REQUIRETLS (RFC 8689 2) */
	uint64_t declared; /* SIZE=; 0 = not given */
	const struct mail_rcpt *rcpt;
	size_t rcpt_count;
};

#endif
