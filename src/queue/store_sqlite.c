/*
 * The store on SQLite: opening, transactions, and what is kept in memory beside the tables.
 *
 * The write-ahead log is ours alone (exclusive locking mode, no shared memory), so a second server finds the file
 * locked. A log is copied into the database, and a failed one removed, only by checkpoint() below; docs/store.md says
 * why.
 */
#include "queue/store_sqlite.h"

#include "base/heap.h"
#include "queue/store_backup.h"
#include "queue/store_spool.h"

#include <assert.h>

#define BLOCKS_RESERVED (2 * (uint64_t)STORE_ID_BLOCKS)
#define BLOCKS_MAX      ((uint64_t)1 << (MSG_ID_BITS - MSG_ID_BLOCK_BITS))
#define LOG_PAGES       16000 /* of 4 KiB: a page that changes often is copied once for many changes */
#define COPY_SIZE       4096
#define HOLD_LOGS       64 /* so many times its usual length may the log have while a backup is copied */

/* clang-format off */
/* Locking comes first: it must be exclusive before the first look at the log. */
static const char settings[] =
	"PRAGMA locking_mode = EXCLUSIVE;"
	"PRAGMA trusted_schema = OFF;"
	"PRAGMA cell_size_check = ON;"
	"PRAGMA secure_delete = OFF;"
	"PRAGMA temp_store = MEMORY;"
	"PRAGMA cache_size = -16384;"
	"PRAGMA synchronous = FULL;"
	"PRAGMA wal_autocheckpoint = 0;";
/* clang-format on */

/* ---- small things */

enum store_result sqlite_exec(struct sqlite_store *s, const char *sql)
{
	return sqlite_result(s, sqlite3_exec(s->db, sql, NULL, NULL, NULL));
}

static enum store_result run(struct sqlite_store *s, enum store_statement which)
{
	struct row r = row_bind(s, which);

	return row_run(s, &r);
}

enum store_result sqlite_query_number(struct sqlite_store *s, const char *sql, int64_t *ret)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	enum store_result result = rc == SQLITE_DONE ? STORE_CORRUPT : sqlite_result(s, rc);
	sqlite3_finalize(stmt);
	return result;
}

bool sqlite_ids_add(struct sqlite_ids *ids, msg_id id)
{
	if (ids->n == ids->cap) {
		size_t cap = ids->cap ? 2 * ids->cap : 16;
		msg_id *p = cap > SIZE_MAX / sizeof *p / 2 ? NULL : heap_resize(ids->p, cap * sizeof *p);
		if (!p)
			return false;
		ids->p = p;
		ids->cap = cap;
	}
	ids->p[ids->n++] = id;
	return true;
}

void sqlite_saw_time(struct sqlite_store *s, queue_ms now)
{
	if (now > s->state.now)
		s->state.now = now;
}

/* ---- the state row */

static enum store_result state_load(struct sqlite_store *s)
{
	struct row r = row_bind(s, STORE_SQL_STATE_LOAD);
	struct sqlite_state state;
	bool row;
	enum store_result result = row_step(s, &r, &row);

	if (result || !row)
		return result ? result : STORE_CORRUPT;
	r = row_read(r.stmt);
	state.owner = (uint64_t)read_int(&r, 0, INT64_MAX - 1);
	state.blocks = (uint64_t)read_int(&r, 1, (int64_t)BLOCKS_MAX);
	state.seq = (uint64_t)read_int(&r, 0, INT64_MAX - 1);
	state.now = read_int(&r, INT64_MIN, INT64_MAX - 1);
	for (size_t i = 0; i <= STORE_STATE_MAX; i++)
		state.counts[i] = (uint64_t)read_int(&r, 0, INT64_MAX);
	row_done(&r);
	if (r.bad)
		return STORE_CORRUPT;
	s->state = s->saved = state;
	return STORE_OK;
}

static enum store_result state_save(struct sqlite_store *s)
{
	struct row r = row_bind(s, STORE_SQL_STATE_SAVE);

	bind_hash(&r, s->state.owner);
	bind_hash(&r, s->state.blocks);
	bind_hash(&r, s->state.seq);
	bind_int(&r, s->state.now);
	for (size_t i = 0; i <= STORE_STATE_MAX; i++)
		bind_hash(&r, s->state.counts[i]);
	return row_run(s, &r);
}

/* ---- transactions */

/* Copies the log into the database. TRUNCATE also empties the log, and with it whatever a failed commit left there. */
static enum store_result checkpoint(struct sqlite_store *s, int mode)
{
	return sqlite_result(s, sqlite3_wal_checkpoint_v2(s->db, "main", mode, NULL, NULL));
}

static int log_grew(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct sqlite_store *s = arg;

	(void)db;
	(void)name;
	s->wal_pages = pages;
	return SQLITE_OK;
}

/* Before a transaction begins, and not behind a commit: what that one was waited for with is told meanwhile. */
static void checkpoint_if_long(struct sqlite_store *s)
{
	int longest = s->config.log_pages ? s->config.log_pages : LOG_PAGES;

	if (s->hold && s->wal_pages >= longest * HOLD_LOGS)
		store_sqlite_release(&s->store);
	if (s->hold || s->wal_pages < longest)
		return;
	enum store_result result = checkpoint(s, SQLITE_CHECKPOINT_PASSIVE);
	/* What was committed is durable in any case. On a full disk the log grows, until there is room to copy it. */
	if (result && result != STORE_FULL && result != STORE_NO_MEMORY)
		s->failed = true;
}

static enum store_result file_is_named(void *arg, msg_id id, bool *ret)
{
	struct sqlite_store *s = arg;
	struct row r = row_bind(s, STORE_SQL_FILE_NAMED);

	bind_hash(&r, id);
	enum store_result result = row_step(s, &r, ret);
	row_done(&r);
	return result;
}

/* For files of messages that were not taken. What cannot be looked up stays in the list; what the list forgets goes
 * when the store is opened next. */
static void discard_unnamed(struct sqlite_store *s, struct sqlite_ids *ids)
{
	size_t kept = 0;

	for (size_t i = 0; i < ids->n; i++) {
		bool named = true;
		if (file_is_named(s, ids->p[i], &named) != STORE_OK) {
			ids->p[kept++] = ids->p[i];
		} else if (!named) {
			store_spool_discard(s->config.fs, ids->p[i]);
		}
	}
	ids->n = kept;
}

void sqlite_refuse_file(struct sqlite_store *s, msg_id id)
{
	bool named = true;

	/* Put before, by a transaction whose commit failed: reopen decides. */
	for (size_t i = 0; i < s->files_new.n; i++)
		if (s->files_new.p[i] == id)
			return;
	if (file_is_named(s, id, &named) != STORE_OK) {
		(void)sqlite_ids_add(&s->files_new, id);
	} else if (!named) {
		store_spool_discard(s->config.fs, id);
	}
}

static void roll_back(struct sqlite_store *s, enum store_result why)
{
	if (!sqlite3_get_autocommit(s->db) && run(s, STORE_SQL_ROLLBACK))
		s->failed = true;
	if (why == STORE_IO)
		s->failed = true;
	s->open = false;
	s->state = s->saved;
	s->recovered_in_transaction = false;
	s->files_gone.n = 0;
	/* After a failed commit a power cut might still bring the rows back: their files wait for reopen. */
	if (!s->failed)
		discard_unnamed(s, &s->files_new);
}

/* A file that is held and that memory does not suffice for goes when the store is opened next. */
static void discard_settled(struct sqlite_store *s, msg_id id)
{
	if (!s->hold)
		store_spool_discard(s->config.fs, id);
	else
		(void)sqlite_ids_add(&s->files_held, id);
}

static void committed(struct sqlite_store *s)
{
	s->open = false;
	s->saved = s->state;
	s->recovered |= s->recovered_in_transaction;
	s->recovered_in_transaction = false;
	s->files_new.n = 0;
	for (size_t i = 0; i < s->files_gone.n; i++)
		discard_settled(s, s->files_gone.p[i]);
	s->files_gone.n = 0;
}

static enum store_result commit_open(struct sqlite_store *s)
{
	enum store_result result = state_save(s);

	if (result)
		return result;
	result = run(s, STORE_SQL_COMMIT);
	/* Anything but a full disk leaves it open whether the log holds the transaction: only reopen makes sure. */
	return result == STORE_OK || result == STORE_FULL ? result : STORE_IO;
}

static enum store_result sqlite_commit(struct store *st)
{
	struct sqlite_store *s = sqlite_store_of(st);
	enum store_result result = s->poison;

	s->poison = STORE_OK;
	if (!s->open)
		return !result && s->failed ? STORE_IO : result;
	if (!result)
		result = commit_open(s);
	if (result) {
		roll_back(s, result);
	} else {
		committed(s);
	}
	assert(!s->open);
	return result;
}

/* In a transaction of its own, so none is open. */
static enum store_result reserve_blocks(struct sqlite_store *s)
{
	assert(!s->open);
	if (s->state.blocks > BLOCKS_MAX - BLOCKS_RESERVED)
		return STORE_FULL;
	enum store_result result = run(s, STORE_SQL_BEGIN);
	if (result)
		return result;
	s->open = true;
	s->state.blocks += BLOCKS_RESERVED;
	uint64_t end = s->state.blocks;
	result = sqlite_commit(&s->store);
	if (result)
		return result;
	/* What is left goes on seamlessly, or is given up. */
	if (s->block_next == s->block_end || s->block_end != end - BLOCKS_RESERVED)
		s->block_next = end - BLOCKS_RESERVED;
	s->block_end = end;
	return STORE_OK;
}

static bool space_is_low(const struct sqlite_store *s)
{
	uint64_t octets, inodes;

	if (s->config.reserve == 0 || s->config.fs->ops->space(s->config.fs, &octets, &inodes) != 0)
		return false;
	return octets < s->config.reserve || inodes == 0;
}

static enum store_result begin_new(struct sqlite_store *s)
{
	enum store_result result = STORE_OK;

	checkpoint_if_long(s);
	if (s->failed)
		return STORE_IO;
	/* Blocks of ids given while the transaction is open come from here, and need no write then. */
	if (s->block_end - s->block_next < STORE_ID_BLOCKS)
		result = reserve_blocks(s);
	if (!result && s->failed)
		result = STORE_IO;
	if (!result)
		result = run(s, STORE_SQL_BEGIN);
	if (result)
		return result;
	s->low_space = space_is_low(s);
	if (s->low_space)
		store_sqlite_release(&s->store); /* what the log takes meanwhile is wanted elsewhere */
	s->open = true;
	return STORE_OK;
}

enum store_result sqlite_begin(struct sqlite_store *s)
{
	if (s->poison)
		return s->failed ? STORE_IO : STORE_POISONED;
	if (s->failed)
		return sqlite_changed(s, STORE_IO);
	return s->open ? STORE_OK : sqlite_changed(s, begin_new(s));
}

enum store_result sqlite_changed(struct sqlite_store *s, enum store_result result)
{
	if (result == STORE_IO)
		s->failed = true;
	if (result && !s->poison)
		s->poison = result;
	return result;
}

enum store_result sqlite_was_read(struct sqlite_store *s, enum store_result result)
{
	if (result && s->open && sqlite3_get_autocommit(s->db))
		sqlite_changed(s, result);
	return result;
}

/* ---- opening */

static void add_why(struct buf *why, const char *path, const char *text)
{
	if (why)
		buf_printf(why, "%s: %s", path, text);
}

enum store_result sqlite_schema_check(struct sqlite_store *s, int64_t *ret_version, struct buf *why)
{
	int64_t version = 0, application = 0, objects = 0;
	enum store_result result = sqlite_query_number(s, "PRAGMA user_version", &version);

	if (!result)
		result = sqlite_query_number(s, "PRAGMA application_id", &application);
	if (!result)
		result = sqlite_query_number(s, "SELECT count(*) FROM sqlite_schema", &objects);
	if (result)
		return result;
	*ret_version = 0;
	if (objects == 0 && application == 0 && version == 0)
		return STORE_OK;
	if (application != STORE_APPLICATION_ID) {
		add_why(why, s->config.path, "this database is not Postrider's");
		return STORE_CORRUPT;
	}
	if (version > STORE_SCHEMA_VERSION) {
		add_why(why, s->config.path, "made by a newer version of Postrider: install that version again");
		return STORE_VERSION;
	}
	*ret_version = version;
	return version >= 1 ? STORE_OK : STORE_CORRUPT;
}

enum store_result sqlite_schema_create(struct sqlite_store *s)
{
	char numbers[100];
	enum store_result result = sqlite_exec(s, "BEGIN IMMEDIATE");

	sqlite3_snprintf(sizeof numbers, numbers, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
			 STORE_APPLICATION_ID, STORE_SCHEMA_VERSION);
	if (!result)
		result = sqlite_exec(s, store_sqlite_schema);
	if (!result)
		result = sqlite_exec(s, numbers);
	return result ? result : sqlite_exec(s, "COMMIT");
}

/* Half an upgrade goes with the connection. */
static enum store_result upgrade(struct sqlite_store *s, int64_t version)
{
	char number[60];
	enum store_result result = sqlite_exec(s, "BEGIN IMMEDIATE");

	sqlite3_snprintf(sizeof number, number, "PRAGMA user_version = %d; COMMIT", STORE_SCHEMA_VERSION);
	for (; !result && version < STORE_SCHEMA_VERSION; version++)
		result = sqlite_exec(s, store_sqlite_upgrades[version]);
	return result ? result : sqlite_exec(s, number);
}

static enum store_result use_log(struct sqlite_store *s)
{
	sqlite3_stmt *stmt = NULL;
	bool log = false;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA journal_mode = WAL", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		const char *mode = (const char *)sqlite3_column_text(stmt, 0);
		log = mode && sqlite3_stricmp(mode, "wal") == 0;
		rc = sqlite3_step(stmt); /* the mode is told before it is written */
	}
	sqlite3_finalize(stmt);
	sqlite3_wal_hook(s->db, log_grew, s);
	enum store_result result = sqlite_result(s, rc);
	return result || log ? result : STORE_IO;
}

/*
 * A log that a dead server left may hold octets that a failed sync never brought to the disk, though reading finds them
 * in the system's cache. Writing it over with itself and syncing makes it what it seems to be, before anything is built
 * on it.
 */
static enum store_result log_rewrite(struct sqlite_store *s)
{
	sqlite3_file *log = NULL;
	sqlite3_int64 size = 0;
	char copy[COPY_SIZE];
	int rc = sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, (void *)&log);

	if (rc != SQLITE_OK || !log || !log->pMethods)
		return sqlite_result(s, rc);
	rc = log->pMethods->xFileSize(log, &size);
	if (rc != SQLITE_OK || size == 0)
		return sqlite_result(s, rc);
	for (sqlite3_int64 at = 0; at < size && rc == SQLITE_OK; at += COPY_SIZE) {
		int n = size - at < COPY_SIZE ? (int)(size - at) : COPY_SIZE;
		rc = log->pMethods->xRead(log, copy, n, at);
		if (rc == SQLITE_OK)
			rc = log->pMethods->xWrite(log, copy, n, at);
	}
	if (rc == SQLITE_OK)
		rc = log->pMethods->xSync(log, SQLITE_SYNC_NORMAL);
	return rc == SQLITE_OK ? checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE) : sqlite_result(s, rc);
}

enum store_result sqlite_prepare_all(struct sqlite_store *s)
{
	for (int i = 0; i < STORE_SQL_COUNT; i++) {
		int rc = sqlite3_prepare_v3(s->db, store_sqlite_text((enum store_statement)i), -1,
					    SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL);
		if (rc == SQLITE_ERROR) /* a table or a column is missing */
			return STORE_CORRUPT;
		if (rc != SQLITE_OK)
			return sqlite_result(s, rc);
	}
	return STORE_OK;
}

void sqlite_disconnect(struct sqlite_store *s)
{
	for (int i = 0; i < STORE_SQL_COUNT; i++) {
		sqlite3_finalize(s->statements[i]);
		s->statements[i] = NULL;
	}
	int rc = sqlite3_close(s->db);
	assert(rc == SQLITE_OK); /* it refuses only while statements live */
	s->db = NULL;
}

/*
 * The directory's names are what they seem to be. SQLite syncs the directory that names a new log, but takes no notice
 * when that fails: a power cut could take the log away with everything that was committed to it. And it does not sync
 * it after a rollback journal is gone, behind which it made the database: if that came back it would take the database
 * away from under its log.
 */
static enum store_result sync_names(struct sqlite_store *s)
{
	return s->config.fs->ops->sync_dir(s->config.fs, "") == 0 ? STORE_OK : STORE_IO;
}

static enum store_result connect_steps(struct sqlite_store *s, struct buf *why)
{
	const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
	int64_t version;
	int rc = sqlite3_open_v2(s->config.path, &s->db, flags, s->gather.vfs.zName);

	if (rc != SQLITE_OK)
		return sqlite_result(s, rc);
	sqlite3_extended_result_codes(s->db, 1);
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	/* To close would be to copy the log as this connection has read it. Until it was written anew and synced, the
	 * disk may take octets of it back. */
	sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	enum store_result result = sqlite_exec(s, settings);
	if (!result)
		result = sqlite_schema_check(s, &version, why);
	if (!result)
		result = use_log(s);
	if (!result)
		result = sync_names(s);
	if (!result)
		result = log_rewrite(s);
	if (!result)
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
	if (!result && version < STORE_SCHEMA_VERSION)
		result = version == 0 ? sqlite_schema_create(s) : upgrade(s, version);
	if (!result)
		result = sqlite_prepare_all(s);
	return result ? result : state_load(s);
}

static enum store_result connect(struct sqlite_store *s, struct buf *why)
{
	enum store_result result = connect_steps(s, why);

	if (result) {
		if (why && buf_len(why) == 0) {
			const char *detail = s->db && result != STORE_LOCKED ? sqlite3_errmsg(s->db) : "";
			buf_printf(why, "%s: %s%s%s", s->config.path, store_result_text(result), detail[0] ? ": " : "",
				   detail);
		}
		sqlite_disconnect(s);
	}
	return result;
}

static enum store_result sqlite_reopen(struct store *st)
{
	struct sqlite_store *s = sqlite_store_of(st);

	s->failed = true;
	s->poison = STORE_OK;
	store_sqlite_release(st);
	if (s->db) {
		roll_back(s, STORE_IO);
		/* This connection knows what was committed; the log may hold more. Its end is cut off here, and only
		 * here: a connection that reads the log anew would take the failed transaction for a committed one. */
		enum store_result result = checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE);
		if (result)
			return result;
		sqlite_disconnect(s);
	}
	enum store_result result = connect(s, NULL);
	if (result)
		return result;
	if (s->state.owner != s->owner) {
		sqlite_disconnect(s);
		return STORE_LOCKED; /* another server had it in between, and recovered what we had claimed */
	}
	/* A commit with a sync: from here on the failed transaction cannot come back. */
	struct sqlite_ids doubtful = s->files_new;
	s->files_new = (struct sqlite_ids){0};
	s->failed = false;
	result = reserve_blocks(s);
	if (!result)
		result = sync_names(s);
	if (result) {
		s->failed = true;
		s->files_new = doubtful;
		return result;
	}
	discard_unnamed(s, &doubtful);
	heap_free(doubtful.p);
	return STORE_OK;
}

static void sqlite_close(struct store *st)
{
	struct sqlite_store *s = sqlite_store_of(st);

	if (s->db) {
		roll_back(s, STORE_POISONED);
		sqlite_disconnect(s);
	}
	gather_done(&s->gather);
	heap_free(s->files_new.p);
	heap_free(s->files_gone.p);
	heap_free(s->files_held.p);
	heap_free(s);
}

/* ---- backups */

enum store_result store_sqlite_hold(struct store *st, uint64_t *ret_number)
{
	struct sqlite_store *s = sqlite_store_of(st);

	if (s->open || s->failed || s->poison)
		return s->failed ? STORE_IO : STORE_POISONED;
	if (s->hold)
		return STORE_EXISTS;
	enum store_result result = checkpoint(s, SQLITE_CHECKPOINT_TRUNCATE);
	if (result)
		return result;
	s->wal_pages = 0;
	s->hold = *ret_number = s->owner << 20 | (++s->holds & 0xfffff);
	return STORE_OK;
}

bool store_sqlite_holds(const struct store *st, uint64_t number)
{
	return number != 0 && ((const struct sqlite_store *)st)->hold == number;
}

void store_sqlite_release(struct store *st)
{
	struct sqlite_store *s = sqlite_store_of(st);

	s->hold = 0;
	for (size_t i = 0; i < s->files_held.n; i++)
		store_spool_discard(s->config.fs, s->files_held.p[i]);
	s->files_held.n = 0;
}

/* ---- ids, counts, clock */

static enum store_result sqlite_id_block(struct store *st, uint64_t *ret)
{
	struct sqlite_store *s = sqlite_store_of(st);

	if (s->block_next == s->block_end) {
		if (s->failed)
			return STORE_IO;
		if (s->open)
			return STORE_FULL;
		enum store_result result = reserve_blocks(s);
		if (result)
			return result;
	}
	assert(s->block_next < s->block_end);
	*ret = s->block_next++;
	return STORE_OK;
}

static enum store_result sqlite_counts(struct store *st, uint64_t ret[STORE_STATE_MAX + 1])
{
	for (size_t i = 0; i <= STORE_STATE_MAX; i++)
		ret[i] = sqlite_store_of(st)->state.counts[i];
	return STORE_OK;
}

static enum store_result sqlite_clock_load(struct store *st, struct buf *out)
{
	struct sqlite_store *s = sqlite_store_of(st);
	struct row r = row_bind(s, STORE_SQL_CLOCK_LOAD);
	bool row;
	enum store_result result = row_step(s, &r, &row);

	if (result || !row)
		return sqlite_was_read(s, result ? result : STORE_CORRUPT);
	r = row_read(r.stmt);
	struct slice value = read_text(&r, STORE_CLOCK_MAX);
	if (!r.bad && !buf_add(out, value))
		result = STORE_NO_MEMORY;
	row_done(&r);
	return r.bad ? STORE_CORRUPT : result;
}

static enum store_result sqlite_clock_save(struct store *st, struct slice value)
{
	struct sqlite_store *s = sqlite_store_of(st);

	assert(value.n <= STORE_CLOCK_MAX);
	enum store_result result = sqlite_begin(s);
	if (result)
		return result;
	struct row r = row_bind(s, STORE_SQL_CLOCK_SAVE);
	bind_text(&r, value);
	return sqlite_changed(s, row_run(s, &r));
}

static const struct store_ops sqlite_ops = {
	.close = sqlite_close,
	.reopen = sqlite_reopen,
	.id_block = sqlite_id_block,
	.put = sqlite_put,
	.settle = sqlite_settle,
	.note = sqlite_note,
	.commit = sqlite_commit,
	.claim = sqlite_claim,
	.load = sqlite_load,
	.load_rcpt = sqlite_load_rcpt,
	.body = sqlite_body,
	.list = sqlite_list,
	.history = sqlite_history,
	.purge = sqlite_purge,
	.counts = sqlite_counts,
	.clock_load = sqlite_clock_load,
	.clock_save = sqlite_clock_save,
};

static enum store_result look_first(struct sqlite_store *s, struct buf *why)
{
	struct sqlite_log_look log;
	bool lost = false;
	enum store_result result = sqlite_log_look(&s->config, &log);
	unsigned long long count = log.transactions;

	if (!result)
		result = sqlite_database_is_lost(&s->config, &lost);
	if (result) {
		add_why(why, s->config.path, store_result_text(result));
		return result;
	}
	if (lost) {
		add_why(why, s->config.path, "missing or empty, though bodies of messages are there");
		return STORE_CORRUPT;
	}
	if (log.damaged && why)
		buf_printf(why, "%s-wal: the log is damaged: %llu transactions that were committed cannot be read",
			   s->config.path, count);
	else if (count && why)
		buf_printf(why,
			   "%s-wal: the log ends in a transaction that is not whole: after a power cut that was never"
			   " promised to anybody, else the disk is damaged",
			   s->config.path);
	return log.damaged ? STORE_CORRUPT : STORE_OK;
}

static enum store_result open_steps(struct sqlite_store *s, struct buf *why)
{
	struct buf unwanted;
	enum store_result result = look_first(s, why);

	buf_init(&unwanted, 4096);
	if (!result)
		result = connect(s, why && buf_len(why) ? &unwanted : why);
	buf_free(&unwanted);
	if (result)
		return result;
	/* A new owner, durable before it claims anything: what lower ones claimed is abandoned. */
	s->owner = ++s->state.owner;
	s->block_next = s->block_end = s->state.blocks;
	result = reserve_blocks(s);
	if (!result)
		result = store_spool_init(s->config.fs);
	if (!result)
		result = store_spool_clean(s->config.fs, &(struct store_spool_cleaner){file_is_named, s});
	if (result && why && buf_len(why) == 0)
		buf_printf(why, "%s, or spool/ beside it: %s", s->config.path, store_result_text(result));
	return result;
}

enum store_result store_sqlite_open(const struct store_sqlite_config *config, struct store **ret, struct buf *why)
{
	struct sqlite_store *s = heap_new(struct sqlite_store);

	assert(config->path);
	assert(config->fs);
	/* No threads, and nobody asks how much memory SQLite has: no locks are needed. Without effect once SQLite runs.
	 */
	sqlite3_config(SQLITE_CONFIG_SINGLETHREAD);
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	assert(config->recovery_grace >= 0);
	if (!s) {
		add_why(why, config->path, store_result_text(STORE_NO_MEMORY));
		return STORE_NO_MEMORY;
	}
	s->store.ops = &sqlite_ops;
	s->config = *config;
	crc32c_init(&s->crc);
	enum store_result result = gather_init(&s->gather, config->vfs) ? open_steps(s, why) : STORE_IO;
	if (result) {
		sqlite_close(&s->store);
		return result;
	}
	*ret = &s->store;
	return STORE_OK;
}
