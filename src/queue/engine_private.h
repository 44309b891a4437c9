/*
 * engine_private: what the files of the queue engine share.
 *
 * A recipient in memory is an item; items of one message that go to one site are a job; jobs wait in the flow of their
 * sender, flows take turns in their site, sites take turns in a ring for each kind of courier.
 *
 *	put, claim, report ──► NEW ──commit──► READY ──next──► UNDER_WAY ──outcome──► (HELD_BACK) ──► SETTLING
 *	                        │                │ site paused, operator, damaged                        │ commit
 *	                        └─ commit failed └──────────────────────────────► SETTLING ──► DONE ──event──► freed
 *
 * An item is in exactly one list: e->fresh (NEW), its job's items (READY, UNDER_WAY), its job's held (HELD_BACK),
 * e->settling or e->done. Only items that are not DONE can be found by id and number.
 */
#ifndef QUEUE_ENGINE_PRIVATE_H
#define QUEUE_ENGINE_PRIVATE_H

#include "base/crc32c.h"
#include "base/hash.h"
#include "queue/clock.h"
#include "queue/engine.h"
#include "queue/list.h"
#include "queue/table.h"
#include "queue/window.h"

#define ENGINE_CLAIM_BATCH    256  /* recipients claimed in one turn */
#define ENGINE_CLAIM_FLOW     32   /* of one site and sender in one round */
#define ENGINE_CLAIM_PAUSE    250  /* ms without claims when most of the last ones had to be put back */
#define ENGINE_SETTLE_BATCH   1000 /* recipients settled in one turn, and the rest of the message then */
#define ENGINE_STRAYS_MAX     4096 /* words of couriers about what is not in memory, while the store is down */
#define ENGINE_EVENTS_MAX     1024 /* for the log, beyond those that items carry */
#define ENGINE_SITES_IDLE_MAX 16384 /* sites remembered with nothing to do: silent ones, and as many others */
#define ENGINE_BODY_MAX       ((size_t)256 << 20) /* of a body that is not in a file */
#define ENGINE_REOPEN         SECOND
#define ENGINE_PURGE          MINUTE
#define ENGINE_PURGE_BATCH    1000
#define ENGINE_CORRUPT_AFTER  3 /* reopenings in a row before a damaged message is left alone */
#define ENGINE_STUCK_AFTER    6 /* ... before it is the database itself */

#define ENGINE_RETURN_MAX     ((size_t)10 << 20)  /* octets of an original that a report returns */
#define ENGINE_HEADER_MAX     ((size_t)256 << 10) /* the same of a header section */
#define ENGINE_REPORT_RCPTS   500                 /* recipients in one report; more make another one */

#define ENGINE_SILENCE        SECOND /* an attempt that lasted so long and ended without an answer met a silent site */

#define ENGINE_KINDS          (QUEUE_COURIER_MAILBOX + 1)

/* A slice of a literal, where only constants may stand. */
/* clang-format off */
#define ENGINE_TEXT(literal) {(literal), sizeof(literal) - 1}
/* clang-format on */

enum item_state {
	ITEM_NEW,       /* its transaction is not committed */
	ITEM_READY,     /* waits in memory */
	ITEM_UNDER_WAY, /* a courier has it */
	ITEM_HELD_BACK, /* has its outcome; a report may follow, so it waits for the rest of its job */
	ITEM_SETTLING,  /* to be settled with the next commit */
	ITEM_DONE,      /* settled; its event is still to be told */
};

enum settle_kind {
	SETTLE_OUTCOME,  /* an attempt was made: item->found */
	SETTLE_PUT_BACK, /* waits in the store until item->due, no attempt */
	SETTLE_DAMAGED,  /* its message cannot be read: held */
	SETTLE_BOUNCE,   /* an operator said so: failed */
};

enum report_kind {
	REPORT_NONE,
	REPORT_FAILED,
	REPORT_DELAYED,
	REPORT_SUCCESS,
};

/* What a report says of one recipient. */
struct report_line {
	uint32_t n;
	struct mail_rcpt rcpt;
	struct smtp_outcome outcome;
	struct slice remote;
	wall_ms at;     /* of the last attempt; 0 = none */
	bool attempted; /* `outcome` is what an attempt found */
	bool given_up;
	bool local;
	bool by_operator;
};

struct original { /* both empty: it cannot be read */
	struct slice header;
	struct slice whole; /* empty: only the header section is to be returned */
};

struct report {
	enum report_kind kind;
	const struct msg *about;
	msg_id id;
	struct slice to;
	bool double_bounce;
	const struct report_line *lines; /* at most ENGINE_REPORT_RCPTS */
	size_t count;
	struct original original;
};

struct msg {
	struct table_node node; /* by id */
	msg_id id, about;
	wall_ms arrived;
	queue_ms arrived_queue;
	uint64_t size, flow;
	unsigned content;
	struct slice sender, envid; /* in texts */
	enum mail_body body_type;
	enum mail_ret ret;
	bool utf8, body_in_file;
	struct store_digest digest; /* of the file */
	uint32_t rcpt_count;
	char *body; /* the message, while it is kept */
	size_t body_n;
	uint32_t items;        /* in memory */
	uint32_t unsent;       /* NEW or READY: who still needs the body */
	struct link reports;   /* items of this turn that a report is about */
	struct link reporting; /* in e->reporting while there are any */
	char texts[];
};

/* What is known of an attempt. */
struct finding {
	struct smtp_outcome outcome; /* its text in `texts` */
	struct slice remote;         /* in `texts` */
	span_ms took;
	wall_ms at;
	char *texts; /* NULL: no memory for them, and both are empty */
};

struct item {
	struct table_node node; /* by id and number */
	struct link link;
	struct link report; /* in msg->reports */
	bool is_fresh;      /* counted in site->fresh */
	struct msg *msg;
	struct job *job;   /* READY to HELD_BACK */
	struct site *site; /* counted there; NULL = not routed to one */
	struct route route;
	uint64_t site_hash;
	uint32_t n;
	uint32_t attempts;     /* before this one */
	struct mail_rcpt rcpt; /* in texts */
	enum item_state state;
	enum settle_kind settle;
	bool warned;
	bool was_held; /* held by an operator while a courier still had it */
	bool soon;     /* the failure was ours: try again soon */
	bool expires;  /* put back for its site's sake: the retry rule is asked whether its time is over */
	bool local;    /* delivered into a mailbox of ours */
	bool in_tx;    /* settled in the open transaction */
	bool gone;     /* the store has nothing to settle: it was settled before, or never was */
	queue_ms due;  /* SETTLE_PUT_BACK */
	struct finding found;
	struct finding *late; /* a former attempt delivered it, and said so while this one was under way; or NULL */
	/* Decided when settled: */
	enum store_state next;
	bool given_up;
	span_ms delay; /* until the next attempt */
	enum report_kind report_kind;
	char texts[];
};

struct job {
	struct table_node node; /* by number, once handed out */
	struct link link;       /* in flow->jobs, then courier->jobs */
	struct link items;      /* READY, or UNDER_WAY */
	struct link held;
	struct msg *msg;
	struct site *site;
	struct flow *flow;       /* until handed out */
	struct courier *courier; /* once handed out */
	uint64_t id;
	unsigned count;      /* items */
	uint32_t generation; /* of the site's window when handed out */
	bool silent;         /* so was the site, then */
};

/* Who waits where for a courier. */
enum site_line {
	LINE_ANSWERING,
	LINE_UNTRIED, /* silent, and nothing was tried yet */
	LINE_SILENT,  /* it was */
};
#define ENGINE_LINES (LINE_SILENT + 1)

struct flow {
	struct table_node node; /* by site and sender */
	struct link link;       /* in site->flows */
	struct link jobs;
	struct site *site;
	uint64_t hash;
};

struct site {
	struct table_node node; /* by name */
	struct link ring;       /* in e->ring when a job could go */
	struct link idle;       /* in e->idle when nothing of it is in memory */
	struct link flows;
	enum queue_courier_kind kind;
	enum site_line line;
	bool idles_silent; /* among which idle ones it is */
	bool maildir; /* no connections: only the courier's own limit counts */
	struct window window;
	size_t items;        /* in memory, in any state */
	size_t ready;        /* items */
	size_t fresh;        /* items of new messages that are not committed */
	size_t silent_items; /* ready and fresh, as they were counted in e->silent_items */
	unsigned under_way;  /* jobs */
	unsigned put_backs;  /* since it was paused or grew too long */
	unsigned put_before; /* the same of the pause before this one */
	uint64_t taken;      /* recipients that it answered for since ... */
	mono_ms taken_since;
	struct finding last; /* why it failed last */
	uint64_t hash;
	size_t name_n;
	char name[];
};

struct courier {
	uint32_t id;
	enum queue_courier_kind kind;
	unsigned under_way; /* jobs */
	unsigned silent;    /* those of them that went to silent sites */
	bool leaves;        /* gets no more of them */
	struct link jobs;
};

struct stray {
	struct link link;
	msg_id id;
	uint32_t n;
	const char *note; /* known to change nothing: how its note begins; NULL: it may */
	struct finding found;
};

/* An event that is not an item's. */
struct told {
	struct link link;
	struct queue_event event;
	char texts[];
};

struct answer {
	uint64_t tag;
	enum store_result result;
	bool fixed; /* answered on its own, whatever becomes of the transaction */
};

struct queue_engine {
	struct queue_config config;
	struct store *store;
	struct queue_times times;
	struct queue_clock clock;
	queue_ms now;
	uint64_t random;

	struct table msgs, items, jobs, sites, flows;
	size_t item_count;
	size_t octets; /* of bodies in memory */
	struct link ring[ENGINE_KINDS][ENGINE_LINES];
	unsigned turn_of_kind, turn_of_silent;
	mono_ms silent_began[ENGINE_KINDS]; /* the last job for a silent site */
	size_t silent_items;                /* ready and fresh, of silent sites */
	unsigned silent_put_backs;          /* since there was room for them */
	struct link idle[2];                /* of sites that answer, of silent ones: who is so longest comes first */
	size_t idle_count[2];

	struct courier *couriers[QUEUE_COURIERS_MAX];
	size_t courier_count;
	uint64_t next_job;
	size_t under_way; /* jobs */

	struct answer *answers;
	/* Decided and to be told: first to open; waiting for the transaction: open to end. */
	size_t answer_first, answer_open, answer_end, answer_cap;

	struct link fresh; /* items NEW */
	struct link settling;
	struct link reporting; /* messages */
	struct link done;
	struct link strays;
	size_t stray_count;
	struct link told;    /* committed events */
	struct link telling; /* events of the open transaction */
	size_t told_count;

	bool changed;               /* the open transaction holds something */
	enum store_result tx_error; /* its first failure */
	bool down;                  /* the store wants a reopen */
	enum store_result down_why;
	unsigned failures; /* transactions in a row that failed for the store's sake */
	bool failure_told;
	mono_ms retry_at; /* reopen, or settle again, not before */

	queue_ms next_due;   /* the earliest that waits in the store; NEVER */
	mono_ms claim_after; /* not before */
	mono_ms clock_saved, purge_at;
	bool draining;

	struct crc32c crc;
	msg_id report_next, report_end; /* ids for reports: next up to end */

	struct arena scratch;          /* for one call */
	struct arena loading;          /* what the store gives */
	struct arena reports;          /* lines of a report */
	struct buf original, composed; /* of a report */
	struct arena lent;             /* of the action handed out last */
	struct buf body;               /* the same, a body read from the store */
	struct item *lent_item;
	struct told *lent_told;
	char *lent_body;
	size_t lent_body_n;
};

/* ---- engine.c ------------------------------------------------------------------------------------------------- */

uint64_t engine_random(struct queue_engine *e);
static inline uint32_t engine_random32(struct queue_engine *e)
{
	return (uint32_t)(engine_random(e) >> 32);
}
/* 0 to below; below >= 1. */
span_ms engine_random_below(struct queue_engine *e, span_ms below);
/* A change in the open transaction had this result; true when it is good. */
bool engine_did(struct queue_engine *e, enum store_result result);
/* Puts a message into the transaction; the draft lacks sites, flow and claim. Its items are NEW. */
enum store_result engine_admit(struct queue_engine *e, struct store_new *draft);
/* Ends the transaction and what must follow it; the result of the first try. */
enum store_result engine_transaction(struct queue_engine *e);

/* ---- engine_memory.c ------------------------------------------------------------------------------------------ */

struct msg *msg_find(const struct queue_engine *e, msg_id id);
/* NULL without memory. Not counted, freed with msg_unused when no item was added. */
struct msg *msg_new(struct queue_engine *e, const struct store_message *from);
void msg_unused(struct queue_engine *e, struct msg *m);
/* A copy while it fits. */
void msg_keep_body(struct queue_engine *e, struct msg *m, struct slice body);
void msg_drop_body(struct queue_engine *e, struct msg *m);
struct item *item_find(const struct queue_engine *e, msg_id id, uint32_t n);
/* NEW, in e->fresh. NULL without memory. */
struct item *item_new(struct queue_engine *e, struct msg *m, uint32_t n, const struct mail_rcpt *rcpt);
/* No longer to be found. */
void item_forget(struct queue_engine *e, struct item *i);
/* Out of its list (not a READY one: item_unready first), and freed, with its message if it was the last. */
void item_drop(struct queue_engine *e, struct item *i);
void item_set_state(struct item *i, enum item_state state);
/* Reads a recipient of the store into memory: settling. NULL: not there, no memory or an error (*ret). */
struct item *item_load(struct queue_engine *e, msg_id id, uint32_t n, struct store_rcpt *ret_rcpt,
		       enum store_result *ret);

void finding_set(struct finding *f, const struct smtp_outcome *outcome, struct slice remote, span_ms took, wall_ms at);
/* The same of what a courier says, with the verdict that the operator's rules give such a reply. */
void finding_take(struct queue_engine *e, struct finding *f, const struct queue_outcome *o);
void finding_free(struct finding *f);

/* Copies the texts. Nothing when ENGINE_EVENTS_MAX wait. */
void engine_tell(struct queue_engine *e, const struct queue_event *event);

/* ---- engine_sites.c ------------------------------------------------------------------------------------------- */

uint64_t site_hash(struct slice name);
struct site *site_find(const struct queue_engine *e, uint64_t hash);
/* Whether the site has as much in memory as one may: what keeps its window busy for a while, and little when the
 * window of recipients is nearly full. */
bool site_is_long(const struct queue_engine *e, const struct site *s);
/* Counts a routed item of a new message at its site; false when the site may have no more in memory. */
bool item_count_fresh(struct queue_engine *e, struct item *i);
void item_uncount_fresh(struct queue_engine *e, struct item *i);
/* Most of the window of recipients is taken: the rest is for new messages to sites that have nothing here. */
static inline bool engine_is_crowded(const struct queue_engine *e)
{
	return e->item_count >= e->config.window_rcpts - e->config.window_rcpts / 4;
}
/* The way of the item by the configuration of now. */
void item_route(struct queue_engine *e, struct item *i);
/* Its pace: it gets a job; it said what became of a recipient. */
void site_begins(const struct queue_engine *e, struct site *s);
void site_answered(const struct queue_engine *e, struct site *s);
/* NEW or settled otherwise: into its flow, or to be settled where it cannot go. */
void item_enqueue(struct queue_engine *e, struct item *i);
/* When a recipient that comes now may go to the site: now, or later than that, counted among those put back. s: NULL
 * for one that is not known yet. */
queue_ms site_due(struct queue_engine *e, struct site *s);
/* Out of its READY job; in no list then. */
void item_unready(struct queue_engine *e, struct item *i);
/* To wait in the store. In no list, or in one that it may leave. */
void item_put_back(struct queue_engine *e, struct item *i, queue_ms due);
/* An outcome of our own, without a courier. */
void item_conclude(struct queue_engine *e, struct item *i, const struct smtp_outcome *outcome);
void site_uncount(struct queue_engine *e, struct site *s);
/* Its window or load changed: into the ring or out of it, idle or not. */
void site_update(struct queue_engine *e, struct site *s);
void site_failed(struct queue_engine *e, struct site *s, uint32_t generation, const struct finding *why);
static inline bool site_is_silent(const struct site *s)
{
	return s->window.silent;
}
void site_open(struct queue_engine *e, struct site *s);
/* The configuration's limits. */
void site_configure(struct queue_engine *e, struct site *s);
void site_free(struct queue_engine *e, struct site *s);
/* Calls `each` for every READY item; it may take the item away. */
void engine_each_ready(struct queue_engine *e, void (*each)(struct queue_engine *e, struct item *i));

/* ---- engine_dispatch.c ---------------------------------------------------------------------------------------- */

/* Hands out the next job, if any can go. */
bool engine_dispatch(struct queue_engine *e, struct queue_job *ret);
/* When the next job for a silent site may go, where nothing but time is missing. */
mono_ms engine_dispatch_at(const struct queue_engine *e);

/* ---- engine_jobs.c -------------------------------------------------------------------------------------------- */

/* The courier's words about what was not in memory become items to settle, or notes. */
void engine_strays(struct queue_engine *e);
void stray_free(struct queue_engine *e, struct stray *s);
/* What waits for the rest of its job no longer waits. */
void engine_release_held(struct queue_engine *e);
/* Couriers and their jobs, with what is under way. */
void engine_free_couriers(struct queue_engine *e);

/* ---- engine_settle.c ------------------------------------------------------------------------------------------ */

/* Writes down what was decided. */
void item_settle(struct queue_engine *e, struct item *i);
/* What its attempt found: the message cannot be read as it was put. It is to be held. */
void item_damaged(struct queue_engine *e, struct item *i);
extern const struct smtp_outcome engine_damaged;
/* Everything in e->settling into the transaction; without `reports` only what needs none. */
void engine_settle(struct queue_engine *e, bool reports);
/* The transaction is durable, or void. */
void engine_settled(struct queue_engine *e);
void engine_unsettled(struct queue_engine *e);
/* The damaged message that keeps the store from working is left alone. */
void engine_abandon_first(struct queue_engine *e);

/* ---- engine_claim.c ------------------------------------------------------------------------------------------- */

void engine_claim(struct queue_engine *e);
mono_ms engine_claim_at(const struct queue_engine *e);
static inline void engine_falls_due(struct queue_engine *e, queue_ms due)
{
	if (due < e->next_due)
		e->next_due = due;
}

/* ---- engine_report.c ------------------------------------------------------------------------------------------ */

enum report_kind report_wanted(const struct queue_engine *e, const struct item *i, enum report_kind kind);
/* Settles the message's items in m->reports and puts the reports about them into the transaction. */
void engine_report(struct queue_engine *e, struct msg *m);

/* ---- engine_compose.c ----------------------------------------------------------------------------------------- */

/* Writes the report to `out`; false without memory. */
bool report_compose(struct queue_engine *e, const struct report *r, struct buf *out);

#endif
