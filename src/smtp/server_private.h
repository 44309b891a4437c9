/*
 * server_private: what the parts of the server engine share.
 *
 * server.c          events, answers, output, time; the state and its moves
 * server_line.c     lines: where they end, how long they may be
 * server_command.c  command lines: the table of commands
 * server_param.c    the parameters of MAIL and RCPT
 * server_auth.c     AUTH
 * server_data.c     the octets of messages: DATA and BDAT
 * server_xclient.c  XCLIENT and XFORWARD
 */
#ifndef SMTP_SERVER_PRIVATE_H
#define SMTP_SERVER_PRIVATE_H

#include <assert.h>

#include "base/arena.h"
#include "smtp/limits.h"
#include "smtp/server.h"

/* The diagram stands in server.c, above the table of moves. */
enum server_state {
	ST_CONNECT, /* the greeting waits for the owner's answer */
	ST_REFUSED, /* greeted with a refusal: only QUIT */
	ST_TLS,     /* behind 220 to STARTTLS, or before the greeting: the handshake is the owner's */
	ST_START,   /* greeted; no EHLO yet */
	ST_READY,   /* no transaction */
	ST_AUTH,    /* behind 334: the next line is a response */
	ST_MAIL,    /* a transaction without an accepted recipient */
	ST_RCPT,    /* a transaction with one recipient at least */
	ST_TEXT,    /* behind 354: octets until the final dot */
	ST_CHUNK,   /* the octets of a BDAT, wanted or refused */
	ST_CHUNKED, /* between two chunks of a message */
	ST_FAILED,  /* behind a refused chunk that was not the last */
	ST_END,     /* the message is whole and waits for the owner's answer */
	ST_CLOSED,
	ST_COUNT
};
#define ST(state) (1u << (state))

/* Where the octets of DATA stand: enough to tell CRLF.CRLF from everything like it. */
enum dot_state {
	DOT_LINE_START, /* at the start, or behind CRLF */
	DOT_LINE,
	DOT_CR,     /* behind a CR that was given on */
	DOT_DOT,    /* behind a dot at the start of a line; the dot is not given on */
	DOT_DOT_CR, /* and behind a CR after it, held back */
};

/* The transaction: one reset, server_reset_transaction. */
struct transaction {
	bool open;    /* the owner knows of it: RESET is due when it is dropped */
	size_t tries; /* RCPT commands */
	size_t rcpt_cap;
	struct mail_rcpt *rcpt;
	struct arena arena; /* the texts of the envelope */
	struct mail_envelope envelope;
};

/* The octets of a message. They outlive the transaction when it is dropped for their sake: the end is still to be
 * found. One reset, at DATA and at the first BDAT. */
struct message {
	struct mail_scan scan;
	uint64_t octets;
	size_t recipients; /* accepted: how many replies LMTP owes at the end */
	enum dot_state dot;
	bool by_bdat;
	bool binary;  /* BODY=BINARYMIME: CR, LF and NUL may stand anywhere in the body */
	bool dropped; /* faulty: the owner was told to forget it, the rest is thrown away */
};

struct chunk {
	uint64_t size, left;
	bool last;
	bool refused;            /* octets are thrown away, the reply is hidden until they have come */
	enum server_state after; /* where a refused chunk leads */
};

/* The line that is being read. */
struct line {
	size_t n;        /* octets so far */
	bool cr;         /* the last was CR */
	bool told;       /* refused already: the rest is skipped to CRLF */
	struct buf held; /* an unfinished line, or one whose event is lent */
};

/* AUTH under way. */
struct exchange {
	bool open; /* the owner knows of it: AUTH_ABORT is due when it ends without him */
	const struct smtp_mechanism *mechanism;
	bool given;          /* there is an initial response */
	struct buf response; /* decoded */
};

#define EVENTS 3

struct smtp_server {
	const struct smtp_server_config *config;
	enum server_state state;

	/* Events that wait to be pulled; the last of them, or the last pulled, may ask for answers. */
	uint8_t event[EVENTS], events;
	uint8_t asked;               /* smtp_event_type that `owed` counts for */
	size_t owed;                 /* answers still to come */
	bool late;                   /* the owner went on without answering */
	struct slice text;           /* BODY, HELO, VRFY, EXPN */
	struct mail_address address; /* MAIL, RCPT */
	struct mail_rcpt rcpt;       /* RCPT */

	struct buf out;
	size_t hidden; /* octets at the end of `out`: the reply to a chunk that is still coming */

	bool greeted;     /* the greeting was asked for */
	bool secure;      /* TLS is in force */
	bool authenticated;
	bool extended;    /* EHLO or LHLO was accepted */
	bool offers_ehlo; /* the greeting that is being answered is EHLO or LHLO */
	bool no_mail;     /* the greeting was 521 */
	bool taken;       /* LMTP: the message was accepted for a recipient */
	bool mail_tried;  /* MAIL was sent since the last transaction ended (LMTP: BDAT LAST draws no reply) */
	bool guard;       /* the client has to wait for what is in `out` */
	bool early;       /* it did not */
	bool quit, stopping;
	uint8_t blank_lines; /* empty command lines right before, up to two */
	bool broken; /* memory ran out: 421 as soon as it can be */
	char *peer;  /* name in HELO or EHLO */
	size_t peer_n;
	enum reply_id stop_reply; /* what to say when `stopping` */
	mono_ms held_until;       /* nothing is said or taken before; 0: it is */
	struct smtp_server_trust trust;
	struct smtp_attrs *told_client, *told_forwarded; /* by XCLIENT, and XFORWARD; NULL: nothing */
	char digits[20]; /* a number in a reply */

	struct buf refusals;    /* that nobody has heard of: sender and reply of each */
	size_t refusals_told;   /* octets of them */
	struct buf faulty_from; /* sender of the message that has a fault, whose transaction is gone */
	bool told; /* the reply that is being given is the owner's, to a recipient, a message or credentials */

	unsigned errors, idle_commands, messages;
	uint64_t discarded; /* octets of refused chunks */

	/* Time: `now` is the last that we were told. An answer that came late leaves its own time unknown: the clocks
	 * that it starts are set at the next call that tells the time. */
	mono_ms now, since, message_since;
	bool clock_late;

	uint32_t usable; /* mechanisms of AUTH */
	struct exchange exchange;
	struct line line;
	struct transaction tx;
	struct message message;
	struct chunk chunk;
};

/* What this listener offers, checked parameters and commands included. */
enum feature {
	FEATURE_PIPELINING = 1,
	FEATURE_8BITMIME = 2,
	FEATURE_SMTPUTF8 = 4,
	FEATURE_CHUNKING = 8,
	FEATURE_BINARYMIME = 16,
	FEATURE_DSN = 32,
	FEATURE_VRFY = 64,
	FEATURE_EXPN = 128,
	FEATURE_HELP = 256,
	FEATURE_STARTTLS = 512,
	FEATURE_AUTH = 1024,
	FEATURE_XCLIENT = 2048,
	FEATURE_XFORWARD = 4096,
	FEATURE_REQUIRETLS = 8192,
};
unsigned server_features(const struct smtp_server_config *config);
/* Those of them that there are in this session as it stands: with TLS or without. */
unsigned server_offers(const struct smtp_server *s);

/* ---- server.c ---- */

void server_move(struct smtp_server *s, enum server_state to);
/* An event without answer, and one that asks for `answers`. */
void server_raise(struct smtp_server *s, enum smtp_event_type type);
void server_ask(struct smtp_server *s, enum smtp_event_type type, size_t answers);
/* Give a reply; 5yz counts as one error of the client. */
void server_answer(struct smtp_server *s, const struct reply *reply);
void server_answer_lines(struct smtp_server *s, const struct reply *reply, const struct slice *lines, size_t count);
/* LMTP: the same reply for each recipient, perhaps none. */
void server_answer_each(struct smtp_server *s, const struct reply *reply, size_t times);
/* The same, with our name as its argument. */
void server_say(struct smtp_server *s, enum reply_id id);
/* The transaction ends without END: RESET if the owner knows of it. */
void server_drop(struct smtp_server *s);
/* The transaction's texts and recipients are forgotten. */
void server_reset_transaction(struct smtp_server *s);
void server_close(struct smtp_server *s);
/* Say 421, or 554 to an early talker, and close. */
void server_leave(struct smtp_server *s, enum reply_id id);
/* The client speaks another protocol. */
void server_leave_other(struct smtp_server *s, struct slice protocol);
struct slice server_number(struct smtp_server *s, uint64_t number);

/* ---- server_line.c ---- */

/* Take a line, or a part of one, where no octets of a message are due; returns how many octets. */
size_t server_line(struct smtp_server *s, struct slice in);

/* ---- server_command.c ---- */

/* Run one command line, without its CRLF. */
void server_command(struct smtp_server *s, struct slice line);
/* What the client said so far is forgotten at once. */
void server_forget_client(struct smtp_server *s);
/* Answer a line that cannot be one: it counts against the limits of the session as a bad command does. */
void server_bad_line(struct smtp_server *s, const struct reply *reply);
/* One more command that brings no message on; false when the session has had enough of them and is over. */
bool server_count_idle(struct smtp_server *s);
/* The owner's answers to STARTTLS, HELO, MAIL and RCPT. */
void server_starttls_answered(struct smtp_server *s, const struct reply *reply, bool good);
void server_helo_answered(struct smtp_server *s, const struct reply *reply, bool good);
void server_mail_answered(struct smtp_server *s, const struct reply *reply, bool good);
void server_rcpt_answered(struct smtp_server *s, const struct reply *reply, bool good);

/* ---- server_param.c ---- */

/* Read the parameters behind a path into the envelope, or into s->rcpt. False with the refusal when they are not good.
 */
bool server_mail_params(struct smtp_server *s, struct slice params, struct reply *ret);
bool server_rcpt_params(struct smtp_server *s, struct slice params, struct reply *ret);

/* ---- server_auth.c ---- */

/* AUTH, in a state where it is legal. */
void server_auth(struct smtp_server *s, struct slice arg, const char *syntax);
/* Whether the client may send on behind this argument of AUTH without waiting (RFC 4954 4). */
bool server_auth_is_whole(const struct smtp_server *s, struct slice arg);
/* The line of EHLO; false when there is no mechanism to be had now. */
#define SERVER_AUTH_LINE (sizeof "AUTH" + SMTP_MECHANISMS_MAX * (SMTP_MECHANISM_MAX + 1))
bool server_auth_offer(const struct smtp_server *s, char room[SERVER_AUTH_LINE], struct slice *ret);
/* A line of the exchange without its CRLF; one that cannot be a response and draws this reply. */
void server_auth_response(struct smtp_server *s, struct slice line);
void server_auth_bad_response(struct smtp_server *s, const struct reply *reply);
void server_auth_answered(struct smtp_server *s, const struct reply *reply, bool good);
void server_auth_challenged(struct smtp_server *s, struct slice challenge);
/* The exchange ends without the owner, with or without a reply of ours. */
void server_auth_drop(struct smtp_server *s);

/* ---- server_data.c ---- */

/* Take octets in ST_TEXT or ST_CHUNK; returns how many. */
size_t server_text(struct smtp_server *s, struct slice in);
size_t server_chunk(struct smtp_server *s, struct slice in);
/* DATA, in a state where it is legal. */
void server_data(struct smtp_server *s);
/* BDAT in any state; `refusal` is NULL when the state is right for it. */
void server_bdat(struct smtp_server *s, struct slice arg, const struct reply *refusal);
void server_data_answered(struct smtp_server *s, const struct reply *reply, bool good);
void server_end_answered(struct smtp_server *s, const struct reply *reply, bool good);

/* ---- server_xclient.c ---- */

void server_xclient(struct smtp_server *s, struct slice arg);
void server_xclient_answered(struct smtp_server *s, const struct reply *reply, bool good);
void server_xforward(struct smtp_server *s, struct slice arg);
/* A transaction that it was told for is over. */
void server_forget_forwarded(struct smtp_server *s);

#endif
