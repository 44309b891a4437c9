/*
 * store: where accepted messages live until they are settled, and their history after that.
 *
 * One interface for every implementation (SQLite in store_sqlite.c; another database can follow). All changes between
 * two commits are one transaction: messages put, recipients settled, and reports caused by them become durable together
 * or not at all. Nothing may be promised to anybody before store_commit returned STORE_OK.
 *
 * Any call may fail. A change that failed half-way poisons the open transaction: every later change gives
 * STORE_POISONED, and commit rolls back and returns the first error. Refusals that changed nothing do not poison it:
 * STORE_NOT_FOUND, STORE_EXISTS, and from put STORE_FULL for the reserve and any failure of its own spool file. After
 * STORE_IO from a change or a commit nothing is written before reopen, because a failed sync says nothing about what
 * reached the disk (see docs/store.md); after a successful reopen the failed transaction never happened.
 *
 * Times are queue_ms, see base/clock.h. Texts that come out are lent until the next call unless said otherwise.
 * One owner, one thread.
 */
#ifndef QUEUE_STORE_H
#define QUEUE_STORE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/id.h"
#include "mail/envelope.h"
#include "smtp/outcome.h"

enum store_result {
	STORE_OK,
	STORE_NOT_FOUND,
	STORE_EXISTS,    /* the id is taken */
	STORE_FULL,      /* disk, quota or the reserve: 452 4.3.1 */
	STORE_IO,        /* a write or a sync failed: 451, reopen */
	STORE_CORRUPT,   /* the database or a body is damaged */
	STORE_LOCKED,    /* another server has this data directory open */
	STORE_VERSION,   /* made by a newer version */
	STORE_NO_MEMORY,
	STORE_POISONED,  /* an earlier change of this transaction failed */
};
#define STORE_RESULT_MAX STORE_POISONED
/* A static text for people. */
const char *store_result_text(enum store_result result);

/* Most octets of any text that the store is given but the body and those below; the caller has checked it. */
#define STORE_TEXT_MAX   2048
#define STORE_REMOTE_MAX 300
#define STORE_CLOCK_MAX  4096
#define STORE_RCPT_MAX   100000 /* recipients of a message */

/* Where a recipient stands. The numbers are kept on disk. */
enum store_state {
	STORE_WAITING = 0,   /* due at some time */
	STORE_CLAIMED = 1,   /* in the memory of an owner, who will settle it */
	STORE_HELD = 2,      /* by an operator, until released */
	STORE_DELIVERED = 3,
	STORE_FAILED = 4,
	STORE_REMOVED = 5,   /* by an operator */
};
#define STORE_STATE_MAX STORE_REMOVED
static inline bool store_state_is_final(enum store_state state)
{
	return state >= STORE_DELIVERED;
}

/* What is known of who gave us a message. */
struct store_origin {
	struct slice client;   /* address of the client, "192.0.2.1", "2001:db8::1", "unix:uid=1000"; empty: we */
	struct slice helo;     /* as given */
	struct slice protocol; /* as in the Received field: "ESMTP", ... */
	struct slice user;     /* who authenticated; empty = nobody */
};

/* Of a body: store_digest_begin, and then every octet, see base/crc32c.h. Bound to its message, so that no other body
 * passes for it. */
struct store_digest {
	bool known; /* false: put by an older version, which kept none for files */
	uint32_t value;
};

enum store_content { /* flags: what the scanner found, and what is demanded of TLS (RFC 8689 4.1) */
	STORE_CONTENT_EIGHT_BIT = 1,
	STORE_CONTENT_UTF8_HEADER = 2,
	STORE_CONTENT_BARE = 4,
	STORE_CONTENT_REQUIRETLS = 8,    /* it came with REQUIRETLS: goes on with it alone */
	STORE_CONTENT_TLS_OPTIONAL = 16, /* TLS-Required: No */
};
#define STORE_CONTENT_MAX 31

struct store_new {
	msg_id id;
	wall_ms arrived;                      /* for people */
	queue_ms now;                         /* for ages */
	const struct mail_envelope *envelope; /* at least one recipient */
	const uint64_t *sites;                /* one for each recipient: hash of its route's site */
	uint64_t flow;                        /* hash of who sends, for fairness */
	struct store_origin origin;
	uint64_t size;                        /* octets of the message, trace fields included */
	unsigned content;                     /* store_content */
	struct slice body;                    /* the whole message; or ... */
	bool body_in_file;                    /* ... it is in the spool file of this id, written but not synced */
	struct store_digest digest;           /* of the file, by who wrote it; nobody reads it here */
	bool claim;                           /* recipients begin as claimed by us instead of waiting ... */
	const queue_ms *due;                  /* ... until then, one for each recipient; NULL = now */
	const bool *held;                     /* one for each recipient: it begins as held instead; NULL = none */
	msg_id about;                         /* a report: the message it is about; else 0 */
	const char *note;                     /* for the history, "report on failed delivery"; NULL = accepted */
};

/* A message as it stands. Texts live in the arena given to store_load. */
struct store_message {
	msg_id id;
	wall_ms arrived;
	queue_ms arrived_queue;
	struct slice sender, envid;
	enum mail_body body;
	enum mail_ret ret;
	bool utf8;
	struct store_origin origin;
	uint64_t size, flow;
	unsigned content;
	bool body_in_file;
	struct store_digest digest; /* of the file */
	msg_id about;
	uint32_t rcpt_count;
	uint32_t open; /* recipients in no final state */
	bool damaged;  /* not as it was put */
};

struct store_rcpt {
	msg_id id;
	uint32_t n; /* 0 to rcpt_count - 1 */
	struct mail_rcpt rcpt;
	enum store_state state;
	uint64_t site;
	queue_ms due;            /* WAITING */
	uint32_t attempts;
	bool warned;             /* the sender was told of the delay */
	struct smtp_outcome last; /* meaningful when attempts > 0 */
	struct slice last_remote;
	wall_ms last_at;
	bool damaged; /* the address, or what stands with it, is not as it was put */
};

/* What an attempt or an operator did to a recipient. */
struct store_settle {
	msg_id id;
	uint32_t n;
	enum store_state next; /* WAITING (with due), HELD, or a final one */
	queue_ms now;          /* the store's clock: ages of settled messages begin here */
	queue_ms due;
	uint64_t site;         /* may have changed with the configuration */
	bool warned;           /* once true it stays so */
	bool attempted;        /* an attempt: counts, and stands in the history with what follows */
	struct smtp_outcome outcome;
	struct slice remote;   /* "mx.example.net [192.0.2.1]:25", path of a Maildir file ...; at most 300 octets */
	wall_ms at;            /* when it ended */
	span_ms took;
	struct slice note;     /* for the history when not attempted: "held by operator", "removed by operator" */
};

/* One line of a message's story, oldest first. */
enum store_event {
	STORE_EVENT_ACCEPTED = 0,
	STORE_EVENT_ATTEMPT = 1,
	STORE_EVENT_REPORT = 2, /* a report was made: `about` names it */
	STORE_EVENT_NOTE = 3,   /* by an operator or by the queue: `text` */
};
struct store_history {
	enum store_event event;
	wall_ms at;
	uint32_t n;             /* recipient; UINT32_MAX = the whole message */
	struct smtp_outcome outcome; /* ATTEMPT */
	struct slice remote;
	span_ms took;
	msg_id about;           /* REPORT */
	struct slice text;
	queue_ms next_due;      /* ATTEMPT that was deferred: relative to the attempt, ms */
};

/* A due recipient that was claimed. */
struct store_due {
	msg_id id;
	uint32_t n;
	uint64_t site, flow;
	uint32_t attempts;
};

/* Where a list stands; zero begins. */
struct store_cursor {
	msg_id id;  /* the list goes on with this message ... */
	uint32_t n; /* ... and this recipient of it */
	bool end;   /* there is nothing more */
};

/* Which recipients an operator means; empty or zero fields match all. */
struct store_filter {
	msg_id id;
	struct slice sender;    /* whole address, or "@domain" */
	struct slice recipient; /* the same */
	uint64_t site;          /* hash of a site's name; 0 = all */
	span_ms older_than;     /* age at least this */
	int state;              /* store_state, or -1 = all that are not final, -2 = really all */
};

struct store;

struct store_ops {
	void (*close)(struct store *st);
	/* Throws away the open transaction and everything cached, opens anew. */
	enum store_result (*reopen)(struct store *st);

	/* A block of ids for one receiver: ids block << MSG_ID_BLOCK_BITS up to the next block, never given before
	 * or again. Durable when it returns, whatever else is in the transaction, of which it is no part. Blocks
	 * begin at 1. At most STORE_ID_BLOCKS while one transaction is open, then STORE_FULL. */
	enum store_result (*id_block)(struct store *st, uint64_t *ret);

	/* STORE_EXISTS: the id is taken. STORE_FULL: the disk is down to the reserve; a report (`about`) may still
	 * use it. A body in a file is checked and synced here: STORE_NOT_FOUND when it is missing, STORE_CORRUPT
	 * when it has not `size` octets. The file is the store's from now on, and goes when the message is refused
	 * here or by a failed commit: do not discard it. */
	enum store_result (*put)(struct store *st, const struct store_new *message);
	/* STORE_NOT_FOUND: no such recipient, or it is in a final state already. */
	enum store_result (*settle)(struct store *st, const struct store_settle *settle);
	/* A line of history for a message: a report about it (REPORT) or a word on it (NOTE). */
	enum store_result (*note)(struct store *st, msg_id id, const struct store_history *line);
	/* Everything since the last commit becomes durable. STORE_OK for an empty transaction, at no cost. */
	enum store_result (*commit)(struct store *st);

	/*
	 * Claim recipients that are due. Sites take turns of at most STORE_SITE_FLOWS flows, and within a site its
	 * flows do; one call gives at most `per_flow` recipients of a (site, flow) pair, and `max` in all; the store
	 * remembers whose turn is next. *ret is how many. Fewer than max: everybody who has something due had a
	 * share; *next_due is when to ask again, never later than the earliest due time of those that wait (NEVER:
	 * none waits), and the next millisecond when somebody has more due. The cost goes with what is claimed, not
	 * with what waits. Part of the transaction.
	 */
	enum store_result (*claim)(struct store *st, queue_ms now, size_t per_flow, struct store_due *out, size_t max,
				   size_t *ret, queue_ms *next_due);

	/* Texts are copied into the arena; STORE_NO_MEMORY when it is full. What was put is checked against a digest:
	 * STORE_CORRUPT with ret->damaged set, and the rest as it was found; to be shown, and never delivered. */
	enum store_result (*load)(struct store *st, msg_id id, struct arena *arena, struct store_message *ret);
	enum store_result (*load_rcpt)(struct store *st, msg_id id, uint32_t n, struct arena *arena,
				       struct store_rcpt *ret);
	/* Append the whole message to `out` when it is not in a file. Checks its digest: STORE_CORRUPT. */
	enum store_result (*body)(struct store *st, msg_id id, struct buf *out);

	/* Calls `each` for the recipients that match, newest message first, from the cursor on until it returns
	 * false: that recipient will be the first of the next call. A call looks at no more than STORE_LIST_STEP
	 * recipients, so that a long queue is listed in many short calls: go on until cursor->end. What `each` is
	 * given is lent for the call; it must not call the store. Damaged ones are among them, and say so. */
	enum store_result (*list)(struct store *st, const struct store_filter *filter, queue_ms now,
				  struct store_cursor *cursor,
				  bool (*each)(void *arg, const struct store_message *m, const struct store_rcpt *r),
				  void *arg);
	/* The story of a message, oldest line first. `each` as above. */
	enum store_result (*history)(struct store *st, msg_id id,
				     bool (*each)(void *arg, const struct store_history *line), void *arg);

	/* Forget messages that were settled before `before`; at most `max`. *ret: how many. Part of the transaction. */
	enum store_result (*purge)(struct store *st, queue_ms before, size_t max, size_t *ret);

	/* Totals by state, kept up to date at no cost per question. */
	enum store_result (*counts)(struct store *st, uint64_t ret[STORE_STATE_MAX + 1]);

	/* The store's clock, saved with the next commit: see queue/clock.h. */
	enum store_result (*clock_load)(struct store *st, struct buf *out);
	enum store_result (*clock_save)(struct store *st, struct slice value);
};

struct store {
	const struct store_ops *ops;
};

#define STORE_ID_BLOCKS  500
#define STORE_SITE_FLOWS 16
#define STORE_LIST_STEP  10000

/* Settled messages lose their body at once, with the commit that settled the last recipient (a body in a file: after
 * it). What is left is the history. */

struct store_sqlite_config {
	const char *path;       /* of the database file; lent for the life of the store */
	const char *vfs;        /* name of an SQLite VFS; NULL = the default; lent as well */
	struct fs *fs;          /* of the data directory: bodies in files live in spool/ there. Lent */
	uint64_t reserve;       /* octets that must stay free on the disk: put gives STORE_FULL below it */
	wall_ms wall;           /* now, for the notes that recovery writes */
	span_ms recovery_grace; /* what a former owner had claimed waits this long after the first claim */
	int log_pages;          /* pages in the write-ahead log before it is copied to the database; 0 = 16,000 */
};

/*
 * Open or create. Files in spool/ that no message names are removed. On failure a text for people that names the file
 * and says what to do is added to `why` (NULL: not wanted); after STORE_OK a text there is a warning.
 *
 * What a former owner had claimed is found without a scan of the rest: the first claims make it wait again, due after
 * recovery_grace, with a note in its history. reopen() keeps what this owner has claimed.
 */
enum store_result store_sqlite_open(const struct store_sqlite_config *config, struct store **ret, struct buf *why);

/* ---- bodies in files --------------------------------------------------------------------------------------------
 * spool/XX/ID: written by a receiver through a write-only file, named by us. put syncs file and directory before the
 * row can become durable. */
enum store_result store_spool_create(struct fs *fs, msg_id id, struct file **ret);
enum store_result store_spool_open(struct fs *fs, msg_id id, struct file **ret); /* for reading */
/* For a file that was never given to put. */
void store_spool_discard(struct fs *fs, msg_id id);
/* For one that may have been: it goes unless a message names it. After a commit that failed, one that it would have
 * named stays until reopen: the transaction may still come back with the log. */
void store_sqlite_unwanted(struct store *store, msg_id id);

struct crc32c;
/* The digest of a body without octets: go on with crc32c_add. */
uint32_t store_digest_begin(const struct crc32c *crc, msg_id id);
/* Whether a body with this digest is the one that was put, as far as that is known. */
static inline bool store_digest_fits(struct store_digest put, uint32_t found)
{
	return !put.known || put.value == found;
}

#endif
