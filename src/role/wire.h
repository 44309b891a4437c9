/*
 * wire: what the roles say to each other, frame by frame.
 *
 * A frame's type and payload make one value of the structs here; encoding and decoding stand side by side. Decoding
 * trusts nothing: every length, number and enumeration is bounded, a frame with a rest is refused, and texts are lent
 * from the payload. What a decoded value cannot say, the peer cannot do.
 */
#ifndef ROLE_WIRE_H
#define ROLE_WIRE_H

#include "base/arena.h"
#include "base/buf.h"
#include "net/tls.h"
#include "queue/engine.h"

enum wire_type {
	/* supervisor to role */
	WIRE_CONFIG = 1, /* text of the configuration */
	WIRE_LISTENER,   /* number of the listener in the configuration; with its socket */
	WIRE_PEER,       /* a new connection to another role; with a socket */
	WIRE_DRAIN,      /* the server is stopping: begin nothing new */
	WIRE_STOP,       /* finish what is under way, then end */
	WIRE_COUNTS,     /* to receivers: the memory that they count clients in, a rate_table; with its descriptor */
	WIRE_SECRETS,    /* to senders: struct wire_secrets, for the configuration that follows */
	WIRE_SYSTEM,     /* struct wire_system; before each configuration */
	WIRE_FILE,       /* struct wire_file, with the file, open for reading; before each configuration */
	WIRE_PROCESSES,  /* struct wire_processes: this server's own, whenever one is started; to the admin role */
	/* role to supervisor */
	WIRE_READY,       /* the role serves */
	WIRE_CONFIGURED,  /* the last WIRE_CONFIG is in force here */
	WIRE_PEER_WANTED, /* the connection to a role broke, and no other came; struct wire_peer */

	/* receiver to queue */
	WIRE_PUT = 16,   /* struct queue_put, and the giver's tag */
	WIRE_SPOOL_OPEN, /* wants a file for a large body */
	WIRE_SPOOL_DROP, /* the large body is not wanted any more */
	WIRE_IDS_WANTED,
	/* queue to receiver */
	WIRE_ANSWER,     /* to a put: tag, result */
	WIRE_SPOOL,      /* the file, open for writing; or a result that says why not */
	WIRE_IDS,        /* a block of ids, see store.h id_block */
	WIRE_PRESSURE,   /* whether the store takes messages now: a result */
	WIRE_CONGESTION, /* whether the queue holds as much as it may: 0 or 1 */

	/* queue to courier */
	WIRE_JOB = 32, /* struct queue_job; with the body's file, if it is in one */
	/* courier to queue */
	WIRE_OUTCOME,
	WIRE_JOB_DONE,     /* number of the job: all its outcomes were told */
	WIRE_JOB_RETURNED, /* number of the job: it was not begun, and will not be by this courier */
	WIRE_JOB_DAMAGED,  /* number of the job: the body does not fit its digest; who has no outcome is held */
	WIRE_LEAVING,      /* it is stopping: no more jobs */

	/* tools to admin, passed on to the queue; and back */
	WIRE_LIST = 48, /* struct wire_list */
	WIRE_TRACE,     /* id */
	WIRE_OPERATE,   /* verb and filter */
	WIRE_STATUS,
	WIRE_BACKUP,  /* struct wire_backup */
	WIRE_ROW,     /* LIST: one recipient with its message */
	WIRE_MESSAGE, /* TRACE: the message */
	WIRE_HISTORY, /* TRACE: one line of its history */
	WIRE_SITE,    /* STATUS: one site */
	WIRE_END,     /* the answer is complete: result, counts, totals */

	/* keys to receiver */
	WIRE_CERTIFICATES = 64, /* struct wire_certificates: all that are in force, perhaps none */
	WIRE_TICKETS,           /* struct tls_tickets */
	WIRE_SIGNED,            /* struct wire_signed */
	/* receiver to keys */
	WIRE_SIGN, /* struct wire_sign */
	/* keys to receiver */
	WIRE_TRUST, /* struct tls_trust_text: of clients; before the certificates, and empty when no client is asked */

	/* receiver to auth; the structs are those of wire_auth.h */
	WIRE_AUTH_BEGIN = 80, /* AUTH, as far as it has come */
	WIRE_AUTH_RESPONSE,   /* to a challenge */
	WIRE_AUTH_FORGET,     /* an exchange that nobody waits for any more */
	WIRE_AUTH_SPEND,      /* a user begins a message */
	WIRE_AUTH_USED,       /* and had so many recipients in it */
	/* auth to receiver */
	WIRE_AUTH_HERE, /* it serves */
	WIRE_AUTH_CHALLENGE,
	WIRE_AUTH_DONE,
	WIRE_AUTH_SPENT,
};

#define WIRE_TEXT_MAX   4096 /* an address, a name, a reply: nothing is longer */
#define WIRE_RCPTS_MAX  100000
#define WIRE_BODY_MAX   ((size_t)4 * 1024 * 1024) /* inline; larger ones travel as files */
#define WIRE_CONFIG_MAX ((size_t)4 * 1024 * 1024)
#define WIRE_PROCESSES_MAX       256
#define WIRE_TICKET_LIFETIME_MAX (7 * DAY)

/* Which role, for WIRE_PEER and command lines. */
enum role_kind {
	ROLE_SUPERVISOR,
	ROLE_RECEIVER,
	ROLE_QUEUE,
	ROLE_SENDER,
	ROLE_MAILBOX,
	ROLE_ADMIN,
	ROLE_KEYS,
	ROLE_AUTH,
};
#define ROLE_KIND_MAX ROLE_AUTH
const char *role_name(enum role_kind kind);

struct wire_peer {
	enum role_kind kind;
	uint32_t index;
};
void wire_put_peer(struct buf *out, const struct wire_peer *peer);
bool wire_get_peer(struct slice in, struct wire_peer *ret);

/* What routes log in with, read one after the other. The texts are lent from the frame. */
struct wire_secret {
	struct slice route, secret;
};
struct wire_secrets {
	uint32_t count; /* that are left */
	struct slice rest;
};
#define WIRE_SECRETS_MAX 100000
/* So many wire_put_secret follow. */
void wire_put_secrets(struct buf *out, uint32_t count);
void wire_put_secret(struct buf *out, const struct wire_secret *secret);
bool wire_get_secrets(struct slice in, struct wire_secrets *ret);
bool wire_next_secret(struct wire_secrets *list, struct wire_secret *ret);
/* Files of the system that a role may not open for itself; those that cannot be read are empty. */
struct wire_system {
	struct slice resolv_conf, hosts;
};
#define WIRE_SYSTEM_MAX ((size_t)1024 * 1024)
void wire_put_system(struct buf *out, const struct wire_system *system);
bool wire_get_system(struct slice in, struct wire_system *ret);

/* A file that the configuration names and the role may not open for itself. */
enum wire_file_kind {
	WIRE_FILE_CHAIN, /* of a certificate */
	WIRE_FILE_KEY,
	WIRE_FILE_STAPLE,      /* for it */
	WIRE_FILE_AUTHORITIES, /* of a route */
	WIRE_FILE_REVOKED,
	WIRE_FILE_CLIENT_AUTHORITIES,
	WIRE_FILE_CLIENT_REVOKED,
	WIRE_FILE_TOKEN_KEYS,
};
#define WIRE_FILE_KIND_MAX WIRE_FILE_TOKEN_KEYS
struct wire_file {
	enum wire_file_kind kind;
	uint32_t index; /* of the section that names it, where there may be several */
	uint32_t error; /* an errno value: it could not be opened, and no descriptor comes; 0: here it is */
};
void wire_put_file(struct buf *out, const struct wire_file *file);
bool wire_get_file(struct slice in, struct wire_file *ret);

/* Who is no tool, though of the same user. */
struct wire_processes {
	uint32_t pid[WIRE_PROCESSES_MAX];
	size_t count;
};
void wire_put_processes(struct buf *out, const struct wire_processes *processes);
bool wire_get_processes(struct slice in, struct wire_processes *ret);

void wire_put_number(struct buf *out, uint64_t number);
bool wire_get_number(struct slice in, uint64_t *ret);

/* The recipients' array is made in the arena. */
void wire_put_message(struct buf *out, uint64_t tag, const struct queue_put *put);
bool wire_get_message(struct slice in, struct arena *arena, uint64_t *ret_tag, struct queue_put *ret);

struct wire_answer {
	uint64_t tag; /* ANSWER: of the put; SPOOL: the message's id */
	enum store_result result;
};
void wire_put_answer(struct buf *out, const struct wire_answer *answer);
bool wire_get_answer(struct slice in, struct wire_answer *ret);

void wire_put_job(struct buf *out, const struct queue_job *job);
bool wire_get_job(struct slice in, struct arena *arena, struct queue_job *ret);

void wire_put_outcome(struct buf *out, const struct queue_outcome *outcome);
bool wire_get_outcome(struct slice in, struct queue_outcome *ret);

/* ---- signatures ----------------------------------------------------------------------------------------------- */

struct wire_certificates {
	struct tls_chain list[TLS_CHAINS_MAX];
	size_t count;
};
void wire_put_certificates(struct buf *out, const struct wire_certificates *certificates);
bool wire_get_certificates(struct slice in, struct wire_certificates *ret);

void wire_put_tickets(struct buf *out, const struct tls_tickets *tickets);
bool wire_get_tickets(struct slice in, struct tls_tickets *ret);

void wire_put_trust(struct buf *out, const struct tls_trust_text *trust);
bool wire_get_trust(struct slice in, struct tls_trust_text *ret);

struct wire_sign {
	uint64_t tag;
	struct tls_request request;
};
void wire_put_sign(struct buf *out, const struct wire_sign *sign);
bool wire_get_sign(struct slice in, struct wire_sign *ret);

struct wire_signed {
	uint64_t tag; /* of the request */
	struct slice signature; /* empty: refused */
};
void wire_put_signed(struct buf *out, const struct wire_signed *answer);
bool wire_get_signed(struct slice in, struct wire_signed *ret);

/* ---- tools ---------------------------------------------------------------------------------------------------- */

struct wire_list {
	struct store_filter filter;
	struct store_cursor cursor; /* zero, or from the END of the list that this one continues */
	uint32_t limit;             /* 1 to WIRE_LIST_MAX */
};
#define WIRE_LIST_MAX 10000
void wire_put_list(struct buf *out, const struct wire_list *list);
bool wire_get_list(struct slice in, struct wire_list *ret);

struct wire_operate {
	enum queue_verb verb;
	struct store_filter filter;
};
void wire_put_operate(struct buf *out, const struct wire_operate *operate);
bool wire_get_operate(struct slice in, struct wire_operate *ret);

/* The queue holds still for a copy, see queue/store_backup.h. Answered by END: its count is the hold's number, and
 * NOT_FOUND says that this hold is over. It ends by itself when nobody renews it for WIRE_BACKUP_LEASE. */
enum wire_backup_verb {
	WIRE_BACKUP_BEGIN,
	WIRE_BACKUP_RENEW,
	WIRE_BACKUP_FINISH,
};
struct wire_backup {
	enum wire_backup_verb verb;
	uint64_t number; /* of the hold; BEGIN: 0 */
};
#define WIRE_BACKUP_LEASE (60 * SECOND)
void wire_put_backup(struct buf *out, const struct wire_backup *backup);
bool wire_get_backup(struct slice in, struct wire_backup *ret);

struct wire_row {
	struct store_message message;
	struct store_rcpt rcpt;
	span_ms age;    /* of the message */
	span_ms due_in; /* WAITING: until the next attempt; <= 0: now */
	span_ms rests;  /* WAITING: so long its site is left alone after it failed for another message; 0: it is not */
	struct smtp_outcome site_last; /* that failure */
	struct slice site_remote;
};
void wire_put_row(struct buf *out, const struct wire_row *row);
bool wire_get_row(struct slice in, struct wire_row *ret);

struct wire_trace {
	struct store_message message;
	span_ms age;
};
void wire_put_trace(struct buf *out, const struct wire_trace *trace);
bool wire_get_trace(struct slice in, struct wire_trace *ret);

void wire_put_history(struct buf *out, const struct store_history *line);
bool wire_get_history(struct slice in, struct store_history *ret);

void wire_put_site(struct buf *out, const struct queue_site_view *site);
bool wire_get_site(struct slice in, struct queue_site_view *ret);

struct wire_end {
	enum store_result result;
	uint64_t count;                       /* LIST: rows; OPERATE: recipients changed; TRACE: 1 or 0; BACKUP */
	uint64_t busy;                        /* OPERATE: recipients under way, left alone */
	uint64_t states[STORE_STATE_MAX + 1]; /* STATUS: recipients by state */
	struct store_cursor cursor;           /* LIST: where the next one goes on */
};
void wire_put_end(struct buf *out, const struct wire_end *end);
bool wire_get_end(struct slice in, struct wire_end *ret);

#endif
