/*
 * engine: the queue's mind. It decides what is stored, when it is tried, by whom, and what becomes of it.
 *
 * No I/O but through the store it is given: messages and outcomes go in, actions come out. One turn is one transaction:
 *
 *	queue_engine_wake(e, times)                  after a wait: what time it is
 *	queue_engine_put / _outcome / _operate ...   any number of times
 *	queue_engine_turn(e, times)                  settles, reports, claims, commits: group commit without a timer
 *	while (queue_engine_next(e, &action)) ...    answers that may now be given, jobs for the couriers
 *
 * An answer of STORE_OK for a message exists only after the commit that holds all its recipients. A settled recipient
 * and the report that it causes are put into the same transaction. When a commit fails, everybody in it is told so,
 * and the outcomes in it are kept in memory and settled again after the store was reopened: they are facts.
 *
 * Only a bounded window of recipients is in memory; the rest is claimed from the store as it falls due. Jobs for new
 * messages leave from memory, without reading the store again.
 *
 * Fairness: each site has a window of connections that grows with success and shrinks with failure (queue/window.h);
 * sites take turns, and within a site the flows (senders) take turns. Sites that are not known to answer have a share
 * of their own of what a courier can do, and of the window of recipients: however many they are, the others have the
 * rest (engine_dispatch.c, engine_sites.c).
 */
#ifndef QUEUE_ENGINE_H
#define QUEUE_ENGINE_H

#include "policy/route.h"
#include "queue/retry.h"
#include "queue/store.h"

/* The clocks of one turn and fresh randomness, read once by the role. */
struct queue_times {
	mono_ms mono;
	wall_ms wall;
	uint64_t random;
	mono_ms boot; /* CLOCK_BOOTTIME, for the time that we were down (queue/clock.h); 0 = not known */
};

/* How the engine finds the way for a recipient: the configuration's routes and directory. */
struct queue_router {
	/* Fills *ret with texts lent until the next configuration. Never fails: ROUTE_NONE is an answer. */
	void (*route)(const void *arg, struct slice address, struct route *ret);
	/* The addresses that a report to `address` goes on to, lent as above; 0: it goes to the address itself. */
	size_t (*expand)(const void *arg, struct slice address, const struct slice **ret);
	const void *arg;
};

struct queue_config {
	struct retry_policy retry;
	struct queue_router router;
	struct slice name;             /* our host name, Reporting-MTA */
	struct slice postmaster;       /* where double bounces go: an address of ours; empty: they are only logged */
	size_t window_rcpts;           /* most recipients in memory */
	size_t window_octets;          /* most octets of bodies in memory; one body more while its job is handed out */
	unsigned site_connections;     /* a site's window begins with this many connections ... */
	unsigned site_connections_max; /* ... and never exceeds this */
	unsigned jobs_per_connection; /* jobs under way for each connection of a window, so that it never idles; >= 1 */
	unsigned job_rcpts_max;       /* recipients in one job (transaction) */
	unsigned courier_jobs_max;    /* jobs under way at one courier */
	size_t courier_connections_max; /* that it makes; >= 1 */
	uint64_t report_full_max;     /* messages up to this size are returned whole unless RET=HDRS */
	bool report_success;          /* honour NOTIFY=SUCCESS */
	span_ms retention;            /* of settled messages' history */
	struct fs *fs;                /* of the data directory, for reports about bodies in files; NULL: without them */
	struct slice boot_id;         /* names this run of the kernel; empty = not known */
	const struct smtpcodes_rules *reply_rules; /* the operator's, about other servers' replies; NULL: none */
};

struct queue_engine;

/* Lends config's texts and store for its life; config may be exchanged with queue_engine_configure.
 * `mono` and the store's clock begin together. NULL without memory, or when the store cannot give its clock. */
struct queue_engine *queue_engine_new(const struct queue_config *config, struct store *store, struct queue_times times);
/* Puts back what no courier has, saves the clock, commits, frees. Does not close the store. */
void queue_engine_free(struct queue_engine *e, struct queue_times times);
/* What waits in memory finds its way anew; the old configuration's texts are no longer used. */
void queue_engine_configure(struct queue_engine *e, const struct queue_config *config);
/* The store says again and again that it is damaged, and reopening it does not help. */
bool queue_engine_is_stuck(const struct queue_engine *e);
/* Tells the time, before anything is fed after a wait. A turn does so, too. */
void queue_engine_wake(struct queue_engine *e, struct queue_times times);

/* ---- messages in ----------------------------------------------------------------------------------------------- */

struct queue_put {
	msg_id id;
	const struct mail_envelope *envelope;
	struct store_origin origin;
	uint64_t size;
	unsigned content;
	struct slice body; /* lent for the call; the engine keeps its own copy while it fits the window */
	bool body_in_file;
	struct store_digest digest; /* of the file */
};
/* `tag` comes back in the answer, with or after the next turn. False when there is no memory for an answer, or
 * QUEUE_ANSWERS_MAX are open: then none comes, and the message is not taken (STORE_NO_MEMORY). */
bool queue_engine_put(struct queue_engine *e, uint64_t tag, const struct queue_put *put);
#define QUEUE_ANSWERS_MAX ((size_t)1 << 17)

/* ---- couriers: the roles that deliver ---------------------------------------------------------------------------- */

enum queue_courier_kind {
	QUEUE_COURIER_SENDER,  /* SMTP to others */
	QUEUE_COURIER_MAILBOX, /* Maildir and LMTP */
};
#define QUEUE_COURIERS_MAX 65 /* as many senders as there may be, and the mailbox role */
/* A courier that was up already died first. False: no memory for it, or QUEUE_COURIERS_MAX are there. It gets no jobs,
 * and has to come again. */
bool queue_engine_courier_up(struct queue_engine *e, uint32_t courier, enum queue_courier_kind kind);
/* It is stopping, and gets no more jobs; those that it has, it ends or returns. */
void queue_engine_courier_leaves(struct queue_engine *e, uint32_t courier);
/* It died. What it had under way is ambiguous: settled so, and due again soon. */
void queue_engine_courier_down(struct queue_engine *e, uint32_t courier);

struct queue_outcome {
	msg_id id;
	uint32_t n;   /* recipient of the message */
	uint64_t job; /* the job it belonged to, 0 if the courier had it from a former life of the queue */
	struct smtp_outcome outcome;
	struct slice remote;
	span_ms took;
	/* For the site's window: the connection could not be made, or broke, or the greeting refused us. */
	bool site_failed;
};
/* One for each recipient of a job. What a courier says of a recipient that it was not given, or was given by a former
 * life of the queue, is a fact as well: it is settled if the recipient still waits, and noted if another attempt is
 * under way or it is settled already. If that attempt does not deliver, and the former one did, it is delivered. */
void queue_engine_outcome(struct queue_engine *e, uint32_t courier, const struct queue_outcome *outcome);
/* All outcomes of the job were given: its place in the window is free. Recipients without an outcome are deferred. */
void queue_engine_job_done(struct queue_engine *e, uint32_t courier, uint64_t job);
/* The courier is stopping and did not begin the job: its recipients wait again, due at once, no attempt counted. */
void queue_engine_job_returned(struct queue_engine *e, uint32_t courier, uint64_t job);
/* The message's body does not fit its digest: those of the job's recipients that had no outcome are held. */
void queue_engine_job_damaged(struct queue_engine *e, uint32_t courier, uint64_t job);

/* ---- operators ----------------------------------------------------------------------------------------------- */

enum queue_verb {
	QUEUE_RETRY, /* due now */
	QUEUE_HOLD,
	QUEUE_RELEASE, /* what is held, due now */
	QUEUE_REMOVE,  /* without a report */
	QUEUE_BOUNCE,  /* fail now, with a report: 5.7.0 "removed by operator" */
};
#define QUEUE_VERB_MAX QUEUE_BOUNCE
/*
 * Applies the verb to the recipients that match, newest message first, and commits: STORE_OK is a promise. RETRY means
 * those that wait, RELEASE those that are held.
 *
 * cursor: as for a list; call again until cursor->end. One call changes at most `max` (1 to QUEUE_OPERATE_MAX).
 * *ret_count: recipients changed. *ret_busy: those left alone because a courier has them.
 * After an error some that were to be bounced may still be, once the store works again; nothing else was changed.
 */
enum store_result queue_engine_operate(struct queue_engine *e, enum queue_verb verb, const struct store_filter *filter,
				       struct store_cursor *cursor, size_t max, size_t *ret_count, size_t *ret_busy);
#define QUEUE_OPERATE_MAX 10000

/* What `queue list` shows of a recipient beyond the store's row. */
queue_ms queue_engine_now(const struct queue_engine *e);

/* ---- actions out --------------------------------------------------------------------------------------------- */

struct queue_job {
	uint64_t job; /* never 0 */
	uint32_t courier;
	msg_id id;
	struct route route;   /* kind MAILBOX, LMTP or SMTP */
	unsigned connections; /* this courier's share of the site's window: the most connections it may have there */
	bool silent;          /* the site is not known to answer */
	struct mail_envelope envelope; /* rcpt: those of this job */
	const uint32_t *n;             /* their numbers in the message, one for each */
	const struct slice *mailboxes; /* MAILBOX: route.mailbox of each; else NULL */
	uint64_t size;
	unsigned content;
	wall_ms arrived;
	span_ms age;       /* of the message, by a clock that never jumps */
	struct slice body; /* or ... */
	bool body_in_file; /* ... open it with store_spool_open */
	struct store_digest digest; /* of the file: what does not fit it is never delivered */
};

enum queue_action_type {
	QUEUE_ACTION_ANSWER, /* to the giver of `tag`: `result` */
	QUEUE_ACTION_JOB,    /* to job.courier */
	QUEUE_ACTION_EVENT,  /* for the log: `event` */
};

enum queue_event_type { /* what the role logs */
			QUEUE_EVENT_DELIVERED,
			QUEUE_EVENT_DEFERRED,
			QUEUE_EVENT_FAILED,         /* also when given up: then outcome.verdict is still DEFERRED */
			QUEUE_EVENT_REPORT,         /* report `about` for message `id` */
			QUEUE_EVENT_DROPPED_BOUNCE, /* a failed report with no postmaster to go to */
			QUEUE_EVENT_STORE_FAILED,   /* `result` */
			QUEUE_EVENT_STORE_REOPENED,
			QUEUE_EVENT_CORRUPT, /* message `id` is damaged: held, or left alone where even that failed */
};
struct queue_event {
	enum queue_event_type type;
	msg_id id, about;
	uint32_t n;
	struct slice rcpt, sender, remote;
	struct smtp_outcome outcome;
	enum store_result result;
	span_ms delay; /* DEFERRED: until the next attempt; DELIVERED: since arrival */
};

struct queue_action {
	enum queue_action_type type;
	uint64_t tag;
	enum store_result result;
	struct queue_job job;
	struct queue_event event;
};

/* Ends a turn; `times` must not go back. */
void queue_engine_turn(struct queue_engine *e, struct queue_times times);
/* One action, its texts lent until the next call to this engine. A job handed out here is under way. */
bool queue_engine_next(struct queue_engine *e, struct queue_action *ret);
/* When a turn is due even if nothing comes in: at once (a time that is past) while anything waits to be committed. */
mono_ms queue_engine_deadline(const struct queue_engine *e);

/* Stop handing out jobs (shutdown); outcomes of those under way are still taken. */
void queue_engine_drain(struct queue_engine *e);
size_t queue_engine_under_way(const struct queue_engine *e);
/* Whether outcomes wait for the store to take them: who ends now forgets them, and they are tried again. */
bool queue_engine_owes(const struct queue_engine *e);

/* Sites with something in memory, for `postrider queue` and metrics: calls `each` until it returns false. */
struct queue_site_view {
	struct slice site;
	unsigned window, under_way;
	size_t waiting;           /* in memory, ready to go */
	span_ms paused;           /* until the next connection is tried after failures; 0 = open */
	struct smtp_outcome last; /* why it failed last, while it is paused */
	struct slice last_remote;
};
/* The hash of a site's name, as it stands in store_filter.site: the same in every process and after every restart. */
uint64_t queue_site_hash(struct slice site);

/* One of them by its hash; false when nothing is known of it. Texts are lent until the next call to this engine. */
bool queue_engine_site(const struct queue_engine *e, uint64_t hash, struct queue_site_view *ret);
void queue_engine_sites(const struct queue_engine *e, bool (*each)(void *arg, const struct queue_site_view *v),
			void *arg);

#endif
