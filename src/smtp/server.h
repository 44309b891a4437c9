/*
 * server: the server side of an SMTP or LMTP session, without I/O.
 *
 * Octets go in with the time, events come out; each event that asks for it is answered with a reply of the table in
 * codes/replies.def; octets to send come out. The engine does syntax, order, limits and framing; its owner decides
 * about names, addresses, mailboxes and the message's fate.
 *
 *	smtp_server_start(s, now)              then pull events: the first is SMTP_EV_CONNECT
 *	taken = smtp_server_feed(s, in, now)   takes nothing while an event waits for its answer
 *	while (smtp_server_next(s, &ev))       one event at a time
 *		smtp_server_reply(s, reply)    for those that ask
 *	smtp_server_output / smtp_server_sent
 *	smtp_server_deadline -> smtp_server_tick(s, now) when it has passed
 *
 * Credentials are the owner's: the engine does the command AUTH, the lines of the exchange and its order, and tells
 * them decoded. It answers nothing but what the standard leaves no choice about.
 *
 * TLS is the owner's: behind REPLY_STARTTLS, when all output has gone out, he does the handshake and says
 * smtp_server_secured. Whatever the client sends before that in the clear ends the session (attacks C1).
 *
 * RFC 5321; PIPELINING RFC 2920, SIZE RFC 1870, 8BITMIME RFC 6152, ENHANCEDSTATUSCODES RFC 2034, SMTPUTF8 RFC 6531,
 * CHUNKING and BINARYMIME RFC 3030, DSN RFC 3461, LMTP RFC 2033, STARTTLS RFC 3207, AUTH RFC 4954, REQUIRETLS RFC 8689;
 * Postfix's XCLIENT and XFORWARD.
 */
#ifndef SMTP_SERVER_H
#define SMTP_SERVER_H

#include "base/buf.h"
#include "base/clock.h"
#include "codes/reply.h"
#include "mail/address.h"
#include "mail/envelope.h"
#include "mail/scan.h"
#include "smtp/attrs.h"

enum smtp_server_tls {
	SMTP_TLS_OFF,
	SMTP_TLS_OFFER,
	SMTP_TLS_REQUIRE,  /* no mail before STARTTLS: 530 */
	SMTP_TLS_IMPLICIT, /* TLS from the first octet on (RFC 8314 3) */
};

/* A mechanism of AUTH (RFC 4422 3.1). */
struct smtp_mechanism {
	struct slice name; /* in upper case, SMTP_MECHANISM_MAX octets at most */
	bool in_clear;     /* may be used without TLS */
	bool server_first; /* begins with a challenge: takes no initial response (RFC 4954 4) */
	bool one_step;     /* over with the initial response: the client need not wait behind it (RFC 4954 4) */
};

/* What one listener's sessions keep to. Lent to the session for its whole life; shared by many. */
struct smtp_server_config {
	struct slice name; /* our host name: greeting, EHLO, 221, 421 */
	bool lmtp;
	bool refuse_early; /* early talkers get 554 and are closed */
	enum smtp_server_tls tls;

	uint64_t size_max; /* octets of a message, > 0; SIZE= is offered with it */
	size_t rcpt_max;   /* recipients of a transaction, >= SMTP_RCPT_MIN */
	size_t line_max;   /* octets of a text line with CRLF, >= SMTP_TEXT_LINE_MIN */
	size_t header_max; /* octets of a header section */
	size_t header_lines_max;
	unsigned hops_max;          /* Received fields */
	unsigned own_hops_max;      /* Received fields by our own name */
	unsigned errors_max;        /* 5yz replies to commands in a session before 421 */
	unsigned idle_commands_max; /* commands since the last message before 421 */
	unsigned messages_max;      /* messages in a session before 421 */

	span_ms command_timeout; /* for a command line, RFC 5321 4.5.3.2.7: 5 minutes */
	span_ms data_timeout;    /* between two pieces of data */
	span_ms message_timeout; /* for the whole of a message's data, so that one octet a minute ends */
	span_ms tls_timeout;     /* for a handshake; where there is TLS */

	const struct smtp_mechanism *mechanisms; /* of AUTH, in the order of EHLO; without any there is no AUTH */
	size_t mechanism_count;                  /* <= SMTP_MECHANISMS_MAX */
	bool auth_required;                      /* no mail before AUTH: 530 */

	bool offer_chunking, offer_binarymime, offer_smtputf8, offer_dsn, offer_pipelining, offer_8bitmime;
	bool offer_requiretls; /* under TLS */
	bool asks_status; /* HELP STATUS is a question to the owner */
	bool knows_xclient, knows_xforward; /* some clients may use them, others get 550; else there are none */
	/* Parameters that are offered but cannot be honoured for the time being: 455. In upper case. */
	const struct slice *suspended;
	size_t suspended_count;
	bool offer_vrfy, offer_expn, offer_help; /* listed in EHLO; the commands themselves are always answered */
};

enum smtp_event_type {
	SMTP_EV_CONNECT, /* answer: a greeting; any but 220 refuses the session (RFC 5321 3.1) */
	SMTP_EV_HELO, /* EHLO, HELO or LHLO: `text` is the name. Answer REPLY_EHLO, REPLY_HELO or a refusal; the engine
			 adds the arguments of REPLY_EHLO and REPLY_HELO, and the extension lines */
	SMTP_EV_MAIL, /* answer REPLY_MAIL_OK opens the transaction. `address`; the envelope shows the proposal */
	SMTP_EV_RCPT, /* answer 2yz adds the recipient. `address`, `rcpt` */
	SMTP_EV_DATA, /* DATA or the first BDAT, with one recipient at least: get ready for octets. Answer REPLY_DATA_GO
			 (with BDAT nothing is sent for it), or a 4yz or 5yz that ends the transaction's hope */
	SMTP_EV_BODY, /* `text`: octets of the message, dots undone; no answer */
	SMTP_EV_END,  /* the message is whole and within limits: answer 250, 4yz or 5yz. LMTP: one answer for each
			 accepted recipient, in order. The transaction is over with the (last) answer */
	SMTP_EV_RESET, /* the transaction is dropped without END: forget it, at once when a message has a fault; what is
			  left of its octets is skipped. No answer */
	SMTP_EV_VRFY,  /* `text`: the argument, `smtputf8` parameter cut off. Answer */
	SMTP_EV_EXPN,  /* the same */
	SMTP_EV_STARTTLS, /* answer REPLY_STARTTLS, then do the handshake when the output has gone out; or 454 */
	SMTP_EV_AUTH, /* `text`: the mechanism, by its name in the configuration; `response`, if `given`: the initial
			 response, decoded. Answer smtp_server_challenge, REPLY_AUTH_OK or a refusal */
	SMTP_EV_AUTH_RESPONSE, /* `response`: to the last challenge, decoded. Answer as to AUTH */
	SMTP_EV_AUTH_ABORT,    /* the exchange ended without an answer of the owner's: forget it. No answer */
	SMTP_EV_STATUS, /* HELP STATUS, where the configuration asks for it. Answer 211 with lines, or a refusal */
	SMTP_EV_XCLIENT, /* smtp_server_client says who the client is: the session begins anew with him. Answer as to
			    CONNECT */
	SMTP_EV_CLOSE,  /* send what is left of the output, then close. Nothing follows */
};

struct smtp_event {
	enum smtp_event_type type;
	bool answer;                 /* waits for smtp_server_reply */
	bool extended;               /* HELO: it was EHLO or LHLO */
	struct slice text;           /* lent until the next call that changes the session */
	struct mail_address address; /* MAIL, RCPT; kind MAIL_DOMAIN_NONE for <> and <postmaster> */
	struct mail_rcpt rcpt;       /* RCPT: with its parameters */
	bool given;                  /* AUTH: with an initial response */
	struct slice response;       /* AUTH, AUTH_RESPONSE: a secret; lent until the answer, then overwritten */
};

struct smtp_server;

/* NULL when there is no memory. `config` is lent until smtp_server_free. */
struct smtp_server *smtp_server_new(const struct smtp_server_config *config);
void smtp_server_free(struct smtp_server *s);

/* With SMTP_TLS_IMPLICIT, nothing comes before smtp_server_secured. */
void smtp_server_start(struct smtp_server *s, mono_ms now);
/* The handshake is done: all that the client said before is forgotten (RFC 3207 4.2). */
void smtp_server_secured(struct smtp_server *s, mono_ms now);
/* Whether the engine waits for the handshake: no octets are for it. */
bool smtp_server_awaits_tls(const struct smtp_server *s);
/* Whether TLS is in force. */
bool smtp_server_is_secure(const struct smtp_server *s);
/* Which mechanisms of the configuration this session can use, as bits by their places there. All, until it is said;
 * said before the answer to HELO it stands in that, and it holds until it is said again. */
void smtp_server_set_mechanisms(struct smtp_server *s, uint32_t usable);
/* Whether AUTH succeeded, and nothing has undone that. */
bool smtp_server_is_authenticated(const struct smtp_server *s);
/* Returns the octets taken; 0 while an event waits for an answer or is not pulled yet, or after the end. */
size_t smtp_server_feed(struct smtp_server *s, struct slice in, mono_ms now);
/* One event. False when there is none: more octets are wanted, or an answer. */
bool smtp_server_next(struct smtp_server *s, struct smtp_event *ev);
/* Answers the event that waits. Asserts that one does and that the reply's first digit can answer it; after the end, or
 * when the client was lost, an answer is ignored. When it comes late, call smtp_server_tick with the time. */
void smtp_server_reply(struct smtp_server *s, struct reply reply);
/* Answers AUTH or AUTH_RESPONSE: the exchange goes on. The challenge has SMTP_CHALLENGE_MAX octets at most. */
void smtp_server_challenge(struct smtp_server *s, struct slice challenge);
/* Answers with lines behind the first (EXPN, VRFY, 211). */
void smtp_server_reply_lines(struct smtp_server *s, struct reply reply, const struct slice *lines, size_t count);
/* What this client may say about others; nothing before the call. Told in EHLO to those who may. */
struct smtp_server_trust {
	bool xclient, xforward;
};
void smtp_server_trust(struct smtp_server *s, struct smtp_server_trust trust);
/* Who the client is by XCLIENT, and who the open transaction's client further up was by XFORWARD; NULL when nothing was
 * said. Lent until the next call that changes the session. */
const struct smtp_attrs *smtp_server_client(const struct smtp_server *s);
const struct smtp_attrs *smtp_server_forwarded(const struct smtp_server *s);

/* The client closed its side or the connection broke. Gives RESET if a transaction was open, then CLOSE. */
void smtp_server_lost(struct smtp_server *s);
/* Our server is stopping: 421 as soon as no answer is owed; a message that waits for its commit gets its answer
 * first. */
void smtp_server_shutdown(struct smtp_server *s);
/* The same with another reason; a reply 421 whose argument is our name. */
void smtp_server_dismiss(struct smtp_server *s, enum reply_id id);
/* Nothing more is said and nothing taken until then: the client that was rude waits. The client's own time begins
 * behind it. No effect while an event waits, before a handshake, or at the end. */
void smtp_server_hold(struct smtp_server *s, mono_ms until);
bool smtp_server_is_held(const struct smtp_server *s);
/* Replies 5yz so far in the session. */
unsigned smtp_server_errors(const struct smtp_server *s);
/* To be called when the deadline has passed: 421 4.4.2 and CLOSE. */
void smtp_server_tick(struct smtp_server *s, mono_ms now);
mono_ms smtp_server_deadline(const struct smtp_server *s);

/*
 * Replies 4yz and 5yz that the owner has not given himself to RCPT, END or AUTH, for the log: one after the other, in
 * order. Lent until the next call that changes the session. False when there is no more.
 */
struct smtp_refusal {
	struct slice from;  /* reverse-path of the open transaction, or of the message that is refused; else empty */
	struct slice reply; /* as it is sent, its CRLF cut off */
};
bool smtp_server_refusal(struct smtp_server *s, struct smtp_refusal *ret);

/* Octets to send, lent until the next call. Batched: pull it when next gives no more. Say how many went out when they
 * really did: whoever sends on before has not waited (refuse_early). */
struct slice smtp_server_output(const struct smtp_server *s);
void smtp_server_sent(struct smtp_server *s, size_t n);

/* The open transaction, lent until it ends. Recipients are those accepted so far. */
const struct mail_envelope *smtp_server_envelope(const struct smtp_server *s);
/* What the scanner found in the message so far; good until the transaction ends. */
const struct mail_scan *smtp_server_scan(const struct smtp_server *s);
/* The name that the client gave in HELO or EHLO; empty before. */
struct slice smtp_server_peer_name(const struct smtp_server *s);
/* Whether the client said EHLO (or LHLO). */
bool smtp_server_is_extended(const struct smtp_server *s);

#endif
