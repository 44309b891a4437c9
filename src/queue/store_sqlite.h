/*
 * store_sqlite: what the files store_sqlite*.c share.
 *
 *	store_sqlite.c         open, reopen, close, transactions, ids, counts, clock
 *	store_sqlite_schema.c  the tables and every statement
 *	store_sqlite_row.c     binding values, reading them back with suspicion, errors
 *	store_sqlite_change.c  put, settle, note, purge
 *	store_sqlite_digest.c  digests of bodies and rows
 *	store_sqlite_log.c     was the log damaged, before SQLite reads it
 *	store_sqlite_claim.c   turns, claims, recovery
 *	store_sqlite_gather.c  writes of pages, gathered
 *	store_sqlite_read.c    load, body, list, history
 *	store_sqlite_backup.c  a copy while the server runs (queue/store_backup.h)
 *	store_sqlite_salvage.c a new database out of a damaged one (queue/store_salvage.h)
 *	store_sqlite_check.c   is a data directory sound (queue/store_check.h)
 *
 * See docs/store.md for the invariants of the tables.
 */
#ifndef QUEUE_STORE_SQLITE_H
#define QUEUE_STORE_SQLITE_H

#include <sqlite3.h>

#include "base/crc32c.h"
#include "queue/store.h"
#include "queue/store_sqlite_gather.h"

/* 1: without the digests in message and recipient; 2: without history.secured; 3: with three flags of content */
#define STORE_SCHEMA_VERSION 4
#define STORE_APPLICATION_ID 0x506f7374 /* "Post" */

enum store_statement {
	STORE_SQL_BEGIN,
	STORE_SQL_COMMIT,
	STORE_SQL_ROLLBACK,
	STORE_SQL_STATE_LOAD,
	STORE_SQL_STATE_SAVE,
	STORE_SQL_CLOCK_LOAD,
	STORE_SQL_CLOCK_SAVE,
	STORE_SQL_MESSAGE_PUT,
	STORE_SQL_BODY_PUT,
	STORE_SQL_RCPT_PUT,
	STORE_SQL_HISTORY_PUT,
	STORE_SQL_MESSAGE_EXISTS,
	STORE_SQL_SETTLE_LOAD,
	STORE_SQL_SETTLE,
	STORE_SQL_MESSAGE_SETTLE,
	STORE_SQL_BODY_DROP,
	STORE_SQL_FILE_NAMED,
	STORE_SQL_SETTLED,
	STORE_SQL_STATES_OF,
	STORE_SQL_HISTORY_DROP,
	STORE_SQL_RCPT_DROP,
	STORE_SQL_MESSAGE_DROP,
	STORE_SQL_TURN_FIRST,
	STORE_SQL_TURN_LOWER,
	STORE_SQL_TURN_SET,
	STORE_SQL_TURN_DROP,
	STORE_SQL_LANE_FIRST,
	STORE_SQL_LANE_LOWER,
	STORE_SQL_LANE_SET,
	STORE_SQL_LANE_DROP,
	STORE_SQL_DUE,
	STORE_SQL_CLAIM,
	STORE_SQL_ABANDONED,
	STORE_SQL_MESSAGE_LOAD,
	STORE_SQL_RCPT_LOAD,
	STORE_SQL_BODY_LOAD,
	STORE_SQL_LIST_ALL,
	STORE_SQL_LIST_OPEN,
	STORE_SQL_LIST_RCPTS,
	STORE_SQL_ACCEPTED,
	STORE_SQL_HISTORY,
	STORE_SQL_COUNT,
};

/* The one row of the table `state`: kept in memory, written with each commit. */
struct sqlite_state {
	uint64_t owner;  /* incarnation of the server; those below are dead */
	uint64_t blocks; /* first block of ids that is not reserved */
	uint64_t seq;    /* last number given to a line of history, or to a site's turn */
	queue_ms now;    /* latest time seen */
	uint64_t counts[STORE_STATE_MAX + 1];
};

/* A growing array of ids, at most one for each message of a transaction. */
struct sqlite_ids {
	msg_id *p;
	size_t n, cap;
};

struct sqlite_store {
	struct store store; /* first */
	struct store_sqlite_config config;
	struct sqlite_gather gather;
	sqlite3 *db;
	sqlite3_stmt *statements[STORE_SQL_COUNT];
	struct crc32c crc;
	uint64_t owner; /* we; another one in the database after reopen has taken it over */

	bool open;                     /* a transaction is */
	enum store_result poison;      /* why the transaction must roll back; STORE_OK = it need not */
	bool failed;                   /* nothing is written before reopen */
	bool low_space;                /* below the reserve when the transaction began */
	bool recovered;                /* nothing is left that a former owner claimed ... */
	bool recovered_in_transaction; /* ... once this transaction is committed */
	int wal_pages;                 /* in the write-ahead log, as of the last commit */

	struct sqlite_state state;      /* as the transaction sees it */
	struct sqlite_state saved;      /* as committed */
	uint64_t block_next, block_end; /* ids reserved durably, to be given */

	struct sqlite_ids files_new;  /* put in this transaction with their body in a file */
	struct sqlite_ids files_gone; /* settled in this transaction: their file can go */

	uint64_t hold, holds;         /* number of the backup that lasts, 0 = none; how many there were */
	struct sqlite_ids files_held; /* settled meanwhile: their file goes when it ends */
};

static inline struct sqlite_store *sqlite_store_of(struct store *st)
{
	return (struct sqlite_store *)st;
}

/* ---- schema */
extern const char store_sqlite_schema[];
/* From each version to the next; rows that are there stay without what is new. */
extern const char *const store_sqlite_upgrades[STORE_SCHEMA_VERSION];
const char *store_sqlite_text(enum store_statement which);

/* ---- connections */
/* Any statements without values, and a query that gives one number. */
enum store_result sqlite_exec(struct sqlite_store *s, const char *sql);
enum store_result sqlite_query_number(struct sqlite_store *s, const char *sql, int64_t *ret);
/* Whether the database is ours, and of which version; 0: it is empty. Says to `why` (may be NULL) what is wrong. */
enum store_result sqlite_schema_check(struct sqlite_store *s, int64_t *ret_version, struct buf *why);
enum store_result sqlite_schema_create(struct sqlite_store *s);
enum store_result sqlite_prepare_all(struct sqlite_store *s);
void sqlite_disconnect(struct sqlite_store *s);

/* ---- what SQLite would pass over in silence */
struct sqlite_log_look {
	bool damaged;          /* transactions that were promised cannot be read */
	uint64_t transactions; /* whole in the log, but behind a frame that is wrong, or a wrong header */
};
/* Nothing of the database is open. What could not be read now is not damaged: STORE_IO, and nothing is found. */
enum store_result sqlite_log_look(const struct store_sqlite_config *config, struct sqlite_log_look *ret);
/* There is no database, or an empty one, but there are bodies of messages. */
enum store_result sqlite_database_is_lost(const struct store_sqlite_config *config, bool *ret);

/* ---- rows: values in and out of a statement, in order */
struct row {
	sqlite3_stmt *stmt;
	int i;    /* parameter or column of the next call */
	bool bad; /* binding failed; or a value that we cannot have written was read */
};

/* The statement, reset, with nothing bound. Bound texts are lent until it is reset again. */
struct row row_bind(struct sqlite_store *s, enum store_statement which);
void bind_int(struct row *r, int64_t value);
void bind_hash(struct row *r, uint64_t value);
void bind_text(struct row *r, struct slice value);
void bind_null(struct row *r);
void bind_digest(struct row *r, struct store_digest digest);

/* The row that a step gave. */
struct row row_read(sqlite3_stmt *stmt);
int64_t read_int(struct row *r, int64_t min, int64_t max);
uint64_t read_hash(struct row *r);
bool read_bool(struct row *r);
msg_id read_id(struct row *r, bool none_ok);
struct store_digest read_digest(struct row *r);
/* Lent until the statement steps or is reset. */
struct slice read_text(struct row *r, size_t max);
struct slice read_text_or_none(struct row *r, size_t max); /* NULL is the empty text */

/* One step of what was bound. *ret_row says whether there is a row; a statement without one is reset. */
enum store_result row_step(struct sqlite_store *s, struct row *r, bool *ret_row);
/* The same for a statement that gives none. */
enum store_result row_run(struct sqlite_store *s, struct row *r);
void row_done(struct row *r);
enum store_result sqlite_result(struct sqlite_store *s, int rc);

/* ---- transactions */
/* Before a change: opens the transaction if need be. STORE_POISONED, STORE_IO: no change is possible. */
enum store_result sqlite_begin(struct sqlite_store *s);
/* After a change: what went wrong poisons the transaction. Returns `result`. */
enum store_result sqlite_changed(struct sqlite_store *s, enum store_result result);
/* After a read: SQLite may have given up the transaction over it. Returns `result`. */
enum store_result sqlite_was_read(struct sqlite_store *s, enum store_result result);
void sqlite_saw_time(struct sqlite_store *s, queue_ms now);
/* The body's file of a message that was not taken goes, unless it is another message's. */
void sqlite_refuse_file(struct sqlite_store *s, msg_id id);
bool sqlite_ids_add(struct sqlite_ids *ids, msg_id id);

/* ---- history */
/* Adds a line. *ret_seq (may be NULL) is its number. */
enum store_result sqlite_history_add(struct sqlite_store *s, msg_id id, const struct store_history *line,
				     uint64_t *ret_seq);

/* ---- turns */
/* A recipient of this pair waits from now on: its lane and its site have their turn at `due` or before. */
enum store_result sqlite_wait(struct sqlite_store *s, uint64_t site, uint64_t flow, queue_ms due);

/* ---- operations */
enum store_result sqlite_put(struct store *st, const struct store_new *m);
enum store_result sqlite_settle(struct store *st, const struct store_settle *settle);
enum store_result sqlite_note(struct store *st, msg_id id, const struct store_history *line);
enum store_result sqlite_purge(struct store *st, queue_ms before, size_t max, size_t *ret);
enum store_result sqlite_claim(struct store *st, queue_ms now, size_t per_flow, struct store_due *out, size_t max,
			       size_t *ret, queue_ms *next_due);
enum store_result sqlite_load(struct store *st, msg_id id, struct arena *arena, struct store_message *ret);
enum store_result sqlite_load_rcpt(struct store *st, msg_id id, uint32_t n, struct arena *arena,
				   struct store_rcpt *ret);
enum store_result sqlite_body(struct store *st, msg_id id, struct buf *out);
enum store_result sqlite_list(struct store *st, const struct store_filter *filter, queue_ms now,
			      struct store_cursor *cursor,
			      bool (*each)(void *arg, const struct store_message *m, const struct store_rcpt *r),
			      void *arg);
enum store_result sqlite_history(struct store *st, msg_id id, bool (*each)(void *arg, const struct store_history *line),
				 void *arg);

/* Digests: of a body; of what never changes in the rows of a message and of its recipients. */
uint32_t sqlite_body_digest(const struct sqlite_store *s, msg_id id, struct slice body);
uint32_t sqlite_message_digest(const struct sqlite_store *s, const struct store_message *m);
uint32_t sqlite_rcpt_digest(const struct sqlite_store *s, msg_id id, uint64_t flow, const struct mail_rcpt *rcpt);

#endif
