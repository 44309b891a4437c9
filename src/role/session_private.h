/*
 * What the parts of a session share.
 *
 * session.c          the connection, the engine, the message and its fate
 * session_command.c  answers to commands: by the configuration, the limits of clients, the DNS
 * session_door.c     who the client is: by its address, PROXY and XCLIENT; what the rude get
 * session_auth.c     AUTH, and the user who came in by it
 * session_header.c   the header section of what users hand in
 */
#ifndef ROLE_SESSION_PRIVATE_H
#define ROLE_SESSION_PRIVATE_H

#include "mail/parts.h"
#include "role/receiver_private.h"

#define SESSION_NAME  32
/* Octets of the fields that are added where they are missing. */
#define SESSION_ADDED_MAX 1024
/* Memory for the recipients that the lists of one message stand for. */
#define EXPANSION_MAX ((size_t)32 * 1024 * 1024)

/* The message under way. */
struct incoming {
	msg_id id;       /* 0: none */
	struct buf body; /* trace fields and octets not yet in the file */
	struct file *file;
	bool in_file;             /* the queue made a spool file for this id */
	uint32_t digest;          /* of what was written to the file */
	uint64_t size;            /* octets so far, trace fields included */
	size_t takers;            /* recipients that it was put for */
	enum reply_id fault;      /* why it cannot be stored; REPLY_OK: nothing is wrong */
	struct mail_parts *parts; /* looks for what the listener refuses; NULL: nothing */
	size_t trace_n;           /* octets of our trace fields */
	bool header_due;          /* it is to be looked at as soon as it is whole */
};

/* Who authenticated. The texts are in the same piece of memory. */
struct session_user {
	struct slice login;
	struct slice addresses[ACCOUNT_ADDRESSES_MAX + 1]; /* patterns, see directory/accounts.h */
	size_t address_count;
	uint32_t room; /* recipients that the message under way may have */
};

struct session {
	struct receiver *receiver;
	struct conf *conf; /* the one in force when the session began */
	const struct conf_listener *listener;
	struct conn *conn;
	struct smtp_server *engine;
	struct loop_timer *timer;
	uint64_t tag;
	uint64_t network_hash;
	struct rate_session counted; /* in the counts of its network */
	struct relay_client client;
	char client_text[NET_ADDRESS_TEXT];
	char name[SESSION_NAME];
	struct incoming in;
	size_t targets;                    /* addresses that lists and forwarding add to the open transaction */
	uint64_t message_max;              /* the lowest limit of its recipients; 0: none has one */
	char refused[MAIL_PARTS_WHAT_MAX]; /* what a rule about parts, or about senders, found */
	size_t refused_n;
	char refused_field[16]; /* where */
	struct session_user *user; /* NULL: nobody has authenticated */
	enum sasl_mechanism mechanism; /* of the exchange under way */
	bool plus_offered;
	uint64_t question; /* to the auth role, or exchange with it, under way; 0: none */
	mono_ms auth_deadline;
	mono_ms greets_at;            /* the greeting is held back until then; 0: it is not */
	struct smtp_event asking;     /* MAIL or RCPT while the DNS is asked about it */
	enum reply_id greeting;       /* as it was judged at the start */
	bool shaking;                 /* TLS: the handshake is under way */
	bool waits_spool;             /* no event is pulled until the file is here */
	bool waits_answer;            /* for the queue's word on the message */
	bool waits_dns;               /* for an answer of the DNS */
	bool waits_auth;              /* for the auth role's word */
	bool spends;                  /* that is about a message, not about credentials */
	bool asks_reverse;            /* the question is for the client's address */
	bool asks_existence;          /* it is whether the domain exists, too */
	enum resolver_answer reverse; /* CONFIRMED or UNCONFIRMED once it is known */
	bool ended;                   /* the client sends no more; it may still read */
	bool closing;
	unsigned errors;  /* refusals that were looked at */
	bool held;        /* the engine is, and it is counted in tarpitted */
	mono_ms opened;
	bool awaits_proxy; /* the header of the PROXY protocol has to come first */
	struct buf proxy_header; /* as far as it has come */
	char proxy_text[NET_ADDRESS_TEXT]; /* address of the proxy; empty: there is none */
	size_t handed; /* octets of the engine's output that the connection has and the client not yet */
	unsigned messages;
};

static inline struct slice session_client(const struct session *s)
{
	return slice_from_cstr(s->client_text);
}

static inline void session_reply(struct session *s, enum reply_id id, struct slice a, struct slice b)
{
	smtp_server_reply(s->engine, (struct reply){id, {a, b}});
}

/* ---- session.c -------------------------------------------------------------------------------------------------- */

/* Goes on after an answer came. */
void session_run(struct session *s);

/* ---- session_door.c --------------------------------------------------------------------------------------------- */

/* Whom the socket came from. */
void session_set_peer(struct session *s, const struct net_address *from);
/* Whether this client has to tell first, by the PROXY protocol, whom it stands for. If so, that is waited for. */
bool session_begin_proxy(struct session *s);
/* Octets came. True: the header is whole and right, the client known; *ret_taken of them were of it. False: more are
 * wanted, or it was wrong and the session is gone. */
bool session_take_proxy(struct session *s, struct slice in, size_t *ret_taken);
/* It did not come; `why` is a static text. The session ends. */
void session_proxy_failed(struct session *s, const char *why);
/* Before the engine starts. */
void session_set_trust(struct session *s);
void session_on_xclient(struct session *s);
/* Who authenticated, here or by the word of a client that may say so; empty: nobody. */
struct slice session_login(const struct session *s);
/* What XFORWARD told, for the log; empty: nothing. */
#define SESSION_FORWARDED 2048
struct slice session_forwarded(const struct session *s, char room[SESSION_FORWARDED]);
/* " (by proxy 192.0.2.1) (XCLIENT ...) (XFORWARD ...)", as far as there is anything to tell of the way. */
void session_write_way(const struct session *s, struct buf *out);
/* Looks at what was refused since the last time: counts it, holds or ends the session. True: there may be an event. */
bool session_note_errors(struct session *s);
/* The engine may have let go of a session that was held, or the session is over. */
void session_note_release(struct session *s);
void session_leave_counts(struct session *s);

/* ---- session_command.c ---------------------------------------------------------------------------------------- */

/* Whether the client may come; counts it. Once, before the event. */
enum reply_id session_greeting(struct session *s);
void session_on_connect(struct session *s);
/* The greeting that was held back. */
void session_greet(struct session *s);
void session_on_helo(struct session *s, const struct smtp_event *ev);
void session_on_mail(struct session *s, const struct smtp_event *ev);
void session_on_rcpt(struct session *s, const struct smtp_event *ev);
void session_on_vrfy(struct session *s, struct slice argument);
void session_on_expn(struct session *s, struct slice argument);
void session_on_status(struct session *s);
void session_log_refused_rcpt(const struct session *s, enum reply_id id, struct slice address);
/* The auth role answered about the user who sends `asking`. */
void session_on_spent(struct session *s, enum wire_allowance allowance);
/* The DNS answered about `asking`, or about the client. */
void session_on_dns(struct session *s, enum resolver_answer answer);

/* A number as text, in `room`. */
#define SESSION_NUMBER 21
struct slice session_number(uint64_t number, char room[SESSION_NUMBER]);

/* Octets of the largest message that this recipient takes; 0: no limit. */
uint64_t session_limit_of(const struct session *s, struct slice address);

/* Replaces lists and forwarded mailboxes among the recipients by what they stand for; the new ones are made in the
 * arena. False without memory. */
bool session_expand(const struct session *s, struct arena *arena, struct mail_envelope *envelope);

/* ---- session_auth.c ------------------------------------------------------------------------------------------- */

/* Tells the engine what can be used; when the session begins, and under TLS. */
void session_set_mechanisms(struct session *s);
void session_on_auth(struct session *s, const struct smtp_event *ev);
void session_on_auth_response(struct session *s, const struct smtp_event *ev);
/* Nobody waits for the auth role any more. */
void session_auth_forget(struct session *s);
void session_forget_user(struct session *s);
/* Whether the time for an answer is over; it is then given. */
bool session_auth_expires(struct session *s);
/* Whether it is an address of the user's; without one, any is. */
bool session_may_send_as(const struct session *s, const struct mail_address *address);
/* Asks whether the user may send another message. False: there is none; else session_on_spent is called, now or later.
 */
bool session_spend(struct session *s, const struct smtp_event *ev);
/* Whether the message under way may have another recipient. */
bool session_user_has_room(const struct session *s);
/* A message of his was accepted. */
void session_used(struct session *s, size_t recipients);

/* ---- session_header.c ----------------------------------------------------------------------------------------- */

/* Whether the header section of messages is looked at here. */
bool session_header_matters(const struct session *s);
/* It is whole, and in memory with our trace fields before it. Sets in.fault. */
void session_take_header(struct session *s);

/* ---- session.c ------------------------------------------------------------------------------------------------ */

/* An answer came that the session waited for. */
void session_go_on(struct session *s);

#endif
