/*
 * client_private: what the files of the client engine share.
 *
 *	client.c        the session and its jobs: states, events, deadlines, the end
 *	client_begin.c  from the greeting to the first job
 *	client_auth.c   AUTH, on that way
 *	client_in.c     octets become replies, replies answer commands
 *	client_out.c    jobs become commands, messages become data
 *
 * A session (enum client_state) and each of its jobs (enum job_phase) have a state that moves only through client_move
 * and job_move:
 *
 *	 .--> SHAKING <-------.  TLS: from the first octet, or when STARTTLS was answered with 220
 *	 |     |  |  \         \
 *	NEW ---|->GREETING ---> HELLO ---> OPEN ---> QUITTING                    HELLO -> AUTH -> OPEN with credentials
 *	 |     |      |  \________ | ________^___________^      GREETING -> QUITTING: quit was asked before the 220
 *	 '-----'------'------------'----------'----------'---> CLOSED
 *
 *	SHAKING goes on with GREETING or HELLO, whichever was not there in the clear.
 *
 *	FREE --send--> ENVELOPE --354, or every RCPT answered--> BODY --last octets--> END --its replies--> SETTLED
 *	 ^ \               |                                      |                     |                     ^ |
 *	 |  '--------------'--------- refused, lost --------------'---------------------'---------------------' |
 *	 '------------------------------------- DONE given ------------------------------------------------------'
 *
 * SETTLED: the outcome of every recipient is known, though perhaps not pulled yet; replies to commands that went out
 * before that was known are still counted. A job is FREE again when none is owed any more.
 *
 * At most two jobs are open: the older then waits for the replies to its end of data, the younger has the wire.
 *
 * Transactions: `dirty` is the serial of the job whose transaction the peer may still hold open. It is set with MAIL
 * and cleared when the end of the data is queued (DATA), or taken with 2yz (BDAT LAST: after a failed BDAT the state is
 * indeterminate, RFC 3030 2). The next job starts with RSET while it is set.
 */
#ifndef SMTP_CLIENT_PRIVATE_H
#define SMTP_CLIENT_PRIVATE_H

#include "mail/seven.h"
#include "smtp/client.h"
#include "smtp/limits.h"

enum client_state {
	CLIENT_NEW,
	CLIENT_SHAKING, /* the owner does a handshake of TLS */
	CLIENT_GREETING,
	CLIENT_HELLO, /* EHLO, LHLO, HELO or STARTTLS is out */
	CLIENT_AUTH,
	CLIENT_OPEN,
	CLIENT_QUITTING,
	CLIENT_CLOSED,
};

enum job_phase { JOB_FREE, JOB_ENVELOPE, JOB_BODY, JOB_END, JOB_SETTLED };

/* What goes out next in JOB_ENVELOPE. */
enum job_step { STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_NONE };

/* How the message goes out. */
enum job_way {
	WAY_DATA,
	WAY_BDAT,
	WAY_CONVERTED, /* DATA, made fit for the peer by mail/seven.h */
};

enum rcpt_state {
	RCPT_NEW,
	RCPT_ALABEL, /* as NEW; its domain goes out as A-labels */
	RCPT_SENT,
	RCPT_ACCEPTED,
	RCPT_DONE,
	RCPT_BAD_SYNTAX, /* never goes out; outcome to be given */
	RCPT_BAD_UTF8,   /* the same: the peer lacks SMTPUTF8 */
};

struct client_job {
	struct smtp_client_job job; /* what it points to is good until the last outcome */
	size_t rcpt_count;
	enum job_phase phase;
	enum job_step step;
	enum job_way way;
	uint32_t serial;
	bool utf8;          /* goes out with SMTPUTF8 */
	bool sender_alabel; /* the sender's domain goes out as A-labels */
	bool body_asked;
	bool data_open; /* DATA is out and not answered */
	bool mail_answered;
	bool started; /* an octet of the body is queued */

	/* Recipients: rcpt[i] is an enum rcpt_state. `block` holds rcpt and text, and is kept from job to job. */
	char *block;
	size_t block_size;
	uint8_t *rcpt; /* NULL when there was no memory: then no recipient has had an outcome before the sweep */
	char *text;    /* SMTP_OUTCOME_TEXT_MAX octets for the texts of `one` and `sweep` */
	size_t sendable, accepted, answered;
	size_t to_send, to_answer, to_end; /* cursors: next RCPT to send; next RCPT, next LMTP end to be answered */

	/* Outcomes to be pulled, in this order. */
	size_t refused_here, refused_at; /* recipients that never went out, and the cursor over them */
	bool one, sweep;
	size_t one_rcpt, swept;
	struct smtp_outcome one_outcome, sweep_outcome;
	size_t given;

	uint32_t inflight; /* replies owed to its commands */
	uint64_t end_at;   /* where in the octets sent its end of data ends */

	/* Data: the last octets queued. */
	bool line_start, after_cr;
	struct mail_seven *seven;
};

/* Commands whose replies are awaited. The greeting counts as the reply to a command that is never sent. */
enum client_command {
	CMD_GREETING,
	CMD_EHLO,
	CMD_HELO,
	CMD_STARTTLS,
	CMD_AUTH, /* or a line of its exchange */
	CMD_RSET,
	CMD_MAIL,
	CMD_RCPT,
	CMD_DATA,
	CMD_BDAT,
	CMD_LAST,  /* BDAT LAST */
	CMD_END,   /* the final dot */
	CMD_EMPTY, /* the final dot of a transaction without recipients */
	CMD_QUIT,
};
#define CMD_MAX CMD_QUIT

/* A run of commands of one kind and job. */
struct client_flight {
	uint8_t command;
	uint8_t slot;
	uint32_t count;
	uint64_t sent_at; /* where in the octets sent its first command ends: no reply can come before */
};

/* RSET MAIL RCPT DATA, BDAT and LAST or END for each of two jobs, QUIT; runs merge, so that this is never reached. */
#define FLIGHTS_MAX   16

#define PEER_NAME_MAX 255

struct smtp_client {
	const struct smtp_client_config *config;
	enum client_state state;
	struct smtp_peer peer;
	char peer_name[PEER_NAME_MAX];

	struct client_job slot[2];
	unsigned oldest; /* index of the oldest open job */
	unsigned open;   /* 0 to 2 */
	uint32_t serial;
	uint32_t dirty; /* 0 = none */
	bool quitting;
	bool ready_given;
	bool greeted;
	bool handshake_given; /* the owner was asked for TLS */
	bool secured;         /* everything is under TLS */
	bool verified;        /* with a server that is who it should be */
	bool heard_secured;   /* a reply came under TLS */
	bool tls_broke;

	bool binds;             /* the session of TLS has what mechanisms can bind to */
	uint32_t auth_tried;    /* bits: mechanisms that the server did not want */
	size_t mechanism;       /* the one that is used */
	bool auth_due;          /* the owner is to be asked for an answer */
	bool auth_begun;        /* AUTH is out */
	bool auth_complete;     /* the server may say 235 */
	bool authenticated;
	bool has_challenge;
	char auth_said[SMTP_CLIENT_AUTH_KNOWN]; /* how our last answer began, in base64 */
	size_t auth_said_n;
	struct buf challenge;   /* what the server said, decoded */
	struct buf initial;     /* a response that waits for an empty challenge, in base64 */

	struct client_flight flight[FLIGHTS_MAX];
	unsigned flight_first, flights;

	struct buf in; /* the lines of a reply that is not whole */
	size_t line_octets, reply_octets, reply_lines;
	bool early; /* the reply began before its command was out */

	struct buf out;
	struct buf converted; /* of one piece of body */
	uint64_t sent;        /* octets of the session that left */

	mono_ms since; /* when the wait began that the deadline bounds */
	bool progress; /* octets left since then */

	bool closed_given;
	struct smtp_outcome closing; /* its text stands in `why` */
	char why[SMTP_OUTCOME_TEXT_MAX];
};

struct client_reply {
	unsigned code;
	unsigned digit; /* the first */
	struct smtpcodes_status status;
	struct slice raw;
	enum client_command command; /* what it answers */
};

/* client.c */
void client_move(struct smtp_client *c, enum client_state to);
void job_move(struct client_job *j, enum job_phase to);
struct client_job *client_youngest(struct smtp_client *c);
bool client_pipelines(const struct smtp_client *c);
/* Every call that is told the time starts with this: octets that left since the last one prove that the peer reads. */
void client_touch(struct smtp_client *c, mono_ms now);
/* Every call that may queue octets ends with this. */
void client_check_memory(struct smtp_client *c);
/* QUIT, if no job may come and none is open. */
void client_quit_if_due(struct smtp_client *c);
/* Whether outcomes wait to be pulled: nothing else is taken before. */
bool client_has_outcomes(const struct smtp_client *c);
/* All recipients without outcome get this one; its text is lent until the job is done. */
void job_settle(struct client_job *j, struct smtp_outcome outcome);
void job_settle_one(struct client_job *j, size_t rcpt, struct smtp_outcome outcome);
/* What the session is doing: the stage for an outcome without job. */
enum smtp_stage client_stage(const struct smtp_client *c);
/* Ends the session: every recipient without outcome is deferred with `outcome`. The text is copied. */
void client_close(struct smtp_client *c, struct smtp_outcome outcome);
/* The same, with an outcome of our own finding. */
void client_close_why(struct smtp_client *c, enum smtp_stage stage, struct smtpcodes_status status, struct slice text);
/* The same, for what went wrong on our side: 4.3.0. */
void client_close_ours(struct smtp_client *c, struct slice text);

/* client_begin.c: replies, in their turn; the end of a session by its TLS */
void client_on_greeting(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
void client_on_ehlo(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
void client_on_helo(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
void client_on_starttls(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
void client_close_handshake(struct smtp_client *c, struct slice why);
/* Octets came in the clear when TLS had been agreed on (CVE-2011-0411 and its kin, the other way round). */
void client_close_injected(struct smtp_client *c);

/* client_auth.c */
/* One line of the reply to EHLO, behind the word AUTH. */
void client_take_mechanisms(struct smtp_client *c, struct slice names);
/* Before the first job. */
void client_begin_auth(struct smtp_client *c);
void client_on_auth(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
/* Whether the owner is to be asked. */
bool client_next_auth(struct smtp_client *c, struct smtp_client_event *ev);
/* The words of a reply, or others in their place if they repeat our last answer. */
struct slice client_hide_answer(const struct smtp_client *c, struct slice words);
/* Nothing of the credentials stays in memory. */
void client_forget_auth(struct smtp_client *c);

/* client_begin.c */
/* The session cannot be used as the configuration has it: 4.7.detail in our own words, and QUIT. What is closed so is
 * tried again: server or configuration may be put right. */
void client_close_insecure(struct smtp_client *c, enum smtp_stage stage, uint16_t detail, struct slice text);

/* client_in.c */
/* Its words; `cap` octets of `text` hold them. */
struct slice client_reply_text(const struct client_reply *reply, char *text, size_t cap);
/* The reply ends the session, at the stage of its command. */
void client_close_with_reply(struct smtp_client *c, const struct client_reply *reply);
/* A reply that its command cannot have. */
void client_close_unexpected(struct smtp_client *c, const struct client_reply *reply);
/* "reply to RCPT TO"; of the oldest command without reply, which must be. */
const char *client_awaits(const struct smtp_client *c);
bool client_awaits_starttls(const struct smtp_client *c);
enum smtp_stage client_awaited_stage(const struct smtp_client *c);
span_ms client_patience(const struct smtp_client *c);
/* Counts `count` replies as owed to what was just queued. */
void client_expect(struct smtp_client *c, enum client_command command, uint32_t count);

/* client_out.c */
void client_say_hello(struct smtp_client *c, enum client_command command);
void client_say_quit(struct smtp_client *c);
/* Chooses how the job goes out, or settles what cannot. */
void client_prepare(struct smtp_client *c, struct client_job *j);
/* Queues as many commands of the youngest job as may go out now. */
void client_issue(struct smtp_client *c);
void client_say_empty_end(struct smtp_client *c, struct client_job *j);
/* Whether mail with REQUIRETLS may go there as such (RFC 8689 2). */
static inline bool client_takes_requiretls(const struct smtp_client *c)
{
	return c->secured && c->verified && c->peer.requiretls;
}
/* The message cannot go out whole: its recipients have this outcome, and the session is over. It is never ended, so
 * that nobody can take what went out for the whole of it. */
void client_fail_message(struct smtp_client *c, struct client_job *j, struct smtp_outcome outcome);

#endif
