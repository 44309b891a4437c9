/*
 * Checks a data directory, see store_check.h.
 *
 * The database is opened as the store does, in exclusive locking mode, so that a running server is found out; it is
 * told to change nothing, and a log that a dead server left is read but stays as it is.
 */
#include "queue/store_check.h"

#include "base/heap.h"
#include "queue/store_spool.h"
#include "queue/store_sqlite.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define PROBLEMS_EACH  20  /* of one kind are told one by one */
#define STRUCTURE_MAX  100 /* lines that SQLite may say on the structure */
#define PROBLEM_MAX    400 /* octets of one problem */
#define TEXT_OF(macro) TEXT_OF_(macro)
#define TEXT_OF_(text) #text

struct checker {
	struct sqlite_store s; /* read only: no transaction is ever opened */
	const struct store_check_config *config;
	struct store_check *found;
	struct sqlite_log_look log;
	uint64_t of_this_kind;
	bool damaged; /* the message at hand, or one of its recipients */
};

static void tell(struct checker *c, bool is_error, msg_id id, const char *text)
{
	char without[PROBLEM_MAX];

	if (id > MSG_ID_MAX) {
		snprintf(without, sizeof without, "the id %lld, which cannot be: %s", (long long)id, text);
		text = without;
		id = 0;
	}
	*(is_error ? &c->found->errors : &c->found->warnings) += 1;
	if (++c->of_this_kind <= PROBLEMS_EACH) {
		c->config->problem(c->config->arg, is_error, id, text);
	} else if (c->of_this_kind == PROBLEMS_EACH + 1) {
		c->config->problem(c->config->arg, is_error, 0, "... and more of this kind, which are only counted");
	}
}

/* ---- the structure: pages, trees, indexes */

static enum store_result check_log(struct checker *c)
{
	char text[PROBLEM_MAX];

	if (c->log.transactions == 0)
		return STORE_OK;
	snprintf(text, sizeof text, "the log: %llu transactions stand behind a place that is damaged%s",
		 (unsigned long long)c->log.transactions,
		 c->log.damaged ? "" : ", or were cut off with the power, and never promised");
	tell(c, c->log.damaged, 0, text);
	return STORE_OK;
}

static enum store_result check_structure(struct checker *c)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(c->s.db, "PRAGMA integrity_check(" TEXT_OF(STRUCTURE_MAX) ")", -1, &stmt, NULL);

	c->of_this_kind = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	for (; rc == SQLITE_ROW; rc = sqlite3_step(stmt)) {
		const char *line = (const char *)sqlite3_column_text(stmt, 0);
		if (line && strcmp(line, "ok") != 0)
			tell(c, true, 0, line);
	}
	sqlite3_finalize(stmt);
	enum store_result result = sqlite_result(&c->s, rc);
	if (result == STORE_CORRUPT)
		tell(c, true, 0, "the structure is so damaged that looking at it had to end");
	return result == STORE_CORRUPT ? STORE_OK : result;
}

/* ---- the invariants of the tables */

/* Each query gives a row for each violation: a message (or 0) and two numbers for the text, which has %lld for both. */
struct invariant {
	const char *sql;
	const char *text;
};

/* clang-format off */
static const struct invariant invariants[] = {
	{"SELECT 0, count(*), 1 FROM state HAVING count(*) <> 1", "there are %lld rows of state instead of %lld"},
	{"SELECT m.id, m.open, (SELECT count(*) FROM recipient r WHERE r.msg = m.id AND r.state <= 2) n FROM message m"
	 " WHERE m.open <> n",
	 "says that %lld recipients are open, but %lld are"},
	{"SELECT m.id, m.rcpt_count, (SELECT count(*) FROM recipient r WHERE r.msg = m.id) n FROM message m"
	 " WHERE m.rcpt_count <> n",
	 "should have %lld recipients, but %lld are there"},
	{"SELECT msg, max(n), (SELECT rcpt_count FROM message WHERE id = msg) c FROM recipient GROUP BY msg"
	 " HAVING max(n) >= c OR min(n) < 0",
	 "has a recipient with the number %lld, of %lld"},
	{"SELECT msg, count(*), 0 FROM recipient WHERE msg NOT IN (SELECT id FROM message) GROUP BY msg",
	 "%lld recipients, but the message is not there (%lld)"},
	{"SELECT msg, count(*), 0 FROM history WHERE msg NOT IN (SELECT id FROM message) GROUP BY msg",
	 "%lld lines of history, but the message is not there (%lld)"},
	{"SELECT id, open, coalesce(finished, 0) FROM message WHERE (open = 0) <> (finished IS NOT NULL)",
	 "%lld recipients are open, and it was settled at %lld"},
	{"SELECT id, open, in_file FROM message WHERE open > 0 AND id NOT IN (SELECT id FROM body)",
	 "%lld recipients are open, but its body is lost (in a file: %lld)"},
	{"SELECT b.id, length(b.data), 0 FROM body b WHERE b.id NOT IN (SELECT id FROM message WHERE open > 0)",
	 "a body of %lld octets, but no message is open for it (%lld)"},
	{"SELECT m.id, m.in_file, b.data IS NULL FROM message m JOIN body b ON b.id = m.id"
	 " WHERE m.in_file <> (b.data IS NULL)",
	 "its body is in a file: %lld, but the database has none: %lld"},
	{"SELECT m.id, m.id >> " TEXT_OF(MSG_ID_BLOCK_BITS) " b, s.blocks FROM message m, state s WHERE b >= s.blocks",
	 "its id is of block %lld, but only those below %lld were reserved: it may be given again"},
	{"SELECT h.msg, h.seq, s.seq FROM history h, state s WHERE h.seq > s.seq",
	 "a line of history has the number %lld, but the last one given is %lld"},
	{"SELECT r.msg, r.n, r.last FROM recipient r WHERE r.last <> 0"
	 " AND NOT EXISTS (SELECT 1 FROM history h WHERE h.msg = r.msg AND h.seq = r.last)",
	 "the last attempt for recipient %lld, line %lld of the history, is not there"},
	{"SELECT r.msg, r.n, r.owner FROM recipient r, state s WHERE r.state = 1 AND r.owner > s.owner",
	 "recipient %lld is claimed by owner %lld, which was never there"},
	{"SELECT r.msg, r.n, min(r.due) FROM recipient r WHERE r.state = 0 AND NOT EXISTS"
	 " (SELECT 1 FROM lane l WHERE l.site = r.site AND l.flow = r.flow) GROUP BY r.site, r.flow",
	 "recipient %lld waits in no lane, and would never be tried (due at %lld)"},
	{"SELECT r.msg, min(r.due) d, l.visit FROM recipient r JOIN lane l ON l.site = r.site AND l.flow = r.flow, state s"
	 " WHERE r.state = 0 GROUP BY r.site, r.flow HAVING l.visit > d AND l.visit > s.now + 1",
	 "due at %lld, but its lane is only visited at %lld"},
	{"SELECT 0, count(*), l.visit FROM lane l WHERE l.site NOT IN (SELECT site FROM turn) GROUP BY l.site",
	 "%lld lanes have no turn, and would never be visited (the first at %lld)"},
	{"SELECT 0, min(l.visit) v, t.visit FROM lane l JOIN turn t ON t.site = l.site, state s GROUP BY l.site"
	 " HAVING t.visit > v AND t.visit > s.now + 1",
	 "a lane wants its visit at %lld, but its site's turn is at %lld"},
#define COUNT_OF(name, number) \
	{"SELECT 0, s." name ", (SELECT count(*) FROM recipient WHERE state = " number ") n FROM state s WHERE s." name \
	 " <> n", "the total of recipients in state \"" name "\" is said to be %lld, but is %lld"}
	COUNT_OF("waiting", "0"),
	COUNT_OF("claimed", "1"),
	COUNT_OF("held", "2"),
	COUNT_OF("delivered", "3"),
	COUNT_OF("failed", "4"),
	COUNT_OF("removed", "5"),
#undef COUNT_OF
};
/* clang-format on */

static void tell_violation(struct checker *c, const struct invariant *v, sqlite3_stmt *stmt)
{
	char text[PROBLEM_MAX];

	/* The format is one of the table above. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(text, sizeof text, v->text, (long long)sqlite3_column_int64(stmt, 1),
		 (long long)sqlite3_column_int64(stmt, 2));
#pragma GCC diagnostic pop
	tell(c, true, (msg_id)sqlite3_column_int64(stmt, 0), text);
}

static enum store_result check_invariant(struct checker *c, const struct invariant *v)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(c->s.db, v->sql, -1, &stmt, NULL);

	c->of_this_kind = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	for (; rc == SQLITE_ROW; rc = sqlite3_step(stmt))
		tell_violation(c, v, stmt);
	sqlite3_finalize(stmt);
	return sqlite_result(&c->s, rc);
}

static enum store_result check_invariants(struct checker *c)
{
	enum store_result result = STORE_OK;

	for (size_t i = 0; i < sizeof invariants / sizeof *invariants && !result; i++)
		result = check_invariant(c, &invariants[i]);
	return result;
}

/* ---- messages: values, bodies, files */

static bool count_rcpt(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	struct checker *c = arg;

	c->damaged |= m->damaged || r->damaged;
	c->found->states[r->state]++;
	return true;
}

static bool any_line(void *arg, const struct store_history *line)
{
	(void)arg;
	(void)line;
	return true;
}

/* Reading checks every value for type and bounds. */
static enum store_result check_values(struct checker *c, msg_id id, bool open)
{
	struct store_filter filter = {.id = id, .state = -2};
	struct store_cursor cursor = {0};
	enum store_result result = STORE_OK;

	c->damaged = false;
	while (!result && !cursor.end)
		result = sqlite_list(&c->s.store, &filter, 0, &cursor, count_rcpt, c);
	if (c->damaged) /* of a settled one only the story is left */
		tell(c, open, id, "its sender, a recipient or what else was put does not fit its checksum");
	if (result == STORE_CORRUPT)
		tell(c, true, id, "the message or a recipient holds a value that cannot be");
	else if (!result && (result = sqlite_history(&c->s.store, id, any_line, c)) == STORE_CORRUPT)
		tell(c, true, id, "its history holds a value that cannot be");
	return result == STORE_CORRUPT || result == STORE_NOT_FOUND ? STORE_OK : result;
}

static enum store_result check_file(struct checker *c, msg_id id, uint64_t size, struct store_digest digest)
{
	char text[PROBLEM_MAX];
	uint64_t found = 0;
	enum store_result result = store_spool_verify(c->config->fs, &c->s.crc, id, size, digest, &found);

	if (result == STORE_NOT_FOUND) {
		tell(c, true, id, "its body is in a file, which is missing");
		return STORE_OK;
	}
	if (result == STORE_IO) {
		tell(c, true, id, "its body is in a file, which cannot be read");
		return STORE_OK;
	}
	if (result && result != STORE_CORRUPT)
		return result;
	c->found->files++;
	c->found->file_octets += found;
	if (found != size) {
		snprintf(text, sizeof text, "its body is in a file, which has %llu octets instead of %llu",
			 (unsigned long long)found, (unsigned long long)size);
		tell(c, true, id, text);
	} else if (result) {
		tell(c, true, id, "its body is in a file, which does not agree with its checksum");
	}
	return STORE_OK;
}

static enum store_result check_body(struct checker *c, msg_id id, struct buf *body)
{
	buf_reset(body);
	enum store_result result = sqlite_body(&c->s.store, id, body);

	if (result == STORE_CORRUPT) {
		tell(c, true, id, "its body does not agree with its checksum or length");
		return STORE_OK;
	}
	c->found->bodies++;
	c->found->body_octets += buf_len(body);
	return result == STORE_NOT_FOUND ? STORE_OK : result; /* told as an invariant */
}

static enum store_result check_message(struct checker *c, sqlite3_stmt *stmt, struct buf *body)
{
	msg_id id = (msg_id)sqlite3_column_int64(stmt, 0);
	bool open = sqlite3_column_int64(stmt, 1) > 0, in_file = sqlite3_column_int64(stmt, 2) != 0;

	c->found->messages++;
	c->found->open += open;
	if (id == 0 || id > MSG_ID_MAX) {
		tell(c, true, id, "a message has no id that can be");
		return STORE_OK;
	}
	enum store_result result = check_values(c, id, open);
	if (result || !open)
		return result;
	struct row r = row_read(stmt);
	r.i = 4;
	struct store_digest digest = read_digest(&r);
	return in_file ? check_file(c, id, (uint64_t)sqlite3_column_int64(stmt, 3), digest) : check_body(c, id, body);
}

static enum store_result check_messages(struct checker *c)
{
	sqlite3_stmt *stmt = NULL;
	enum store_result result = STORE_OK;
	struct buf body;
	static const char sql[] = "SELECT id, open, in_file, size, file_digest FROM message ORDER BY id";
	int rc = sqlite3_prepare_v2(c->s.db, sql, -1, &stmt, NULL);

	buf_init(&body, (size_t)1 << 30); /* more than SQLite takes */
	c->of_this_kind = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	for (; rc == SQLITE_ROW && !result; rc = sqlite3_step(stmt))
		result = check_message(c, stmt, &body);
	buf_free(&body);
	sqlite3_finalize(stmt);
	return result ? result : sqlite_result(&c->s, rc);
}

/* ---- files without a message */

static enum store_result is_named(void *arg, msg_id id, bool *ret)
{
	struct checker *c = arg;
	struct row r = row_bind(&c->s, STORE_SQL_FILE_NAMED);
	enum store_result result;

	bind_hash(&r, id);
	result = row_step(&c->s, &r, ret);
	row_done(&r);
	return result;
}

static bool on_file(void *arg, const char *path, msg_id id, bool named)
{
	struct checker *c = arg;
	char text[PROBLEM_MAX];
	struct file *f;
	uint64_t size = 0;

	if (id == 0) {
		snprintf(text, sizeof text, "spool/%s is no file of ours, and stays where it is", path);
		tell(c, false, 0, text);
		return true;
	}
	if (named)
		return true;
	if (store_spool_open(c->config->fs, id, &f) == STORE_OK) {
		(void)f->ops->size(f, &size);
		f->ops->close(f);
	}
	c->found->strays++;
	c->found->stray_octets += size;
	return true;
}

static enum store_result check_spool(struct checker *c)
{
	c->of_this_kind = 0;
	return store_spool_each(c->config->fs, &(struct store_spool_cleaner){is_named, c}, on_file, c);
}

/* ---- opening */

/* Beside the exclusive lock, which tells us of a running server: nothing is changed. */
static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE;"
			       "PRAGMA trusted_schema = OFF;"
			       "PRAGMA cell_size_check = ON;"
			       "PRAGMA temp_store = MEMORY;"
			       "PRAGMA query_only = ON;";

static bool is_there(const struct store_check_config *config, const char *suffix)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(config->vfs);
	struct buf path;
	int there = 0;

	buf_init(&path, 8192);
	buf_printf(&path, "%s%s", config->path, suffix);
	const char *text = buf_cstr(&path);
	if (!vfs || !text || vfs->xAccess(vfs, text, SQLITE_ACCESS_EXISTS, &there) != SQLITE_OK)
		there = 0;
	buf_free(&path);
	return there != 0;
}

static enum store_result open_database(struct checker *c, struct buf *why)
{
	const struct store_check_config *config = c->config;
	int64_t version = STORE_SCHEMA_VERSION;

	if (!is_there(config, "")) {
		buf_printf(why, "%s: there is no such database: no server was ever started here", config->path);
		return STORE_NOT_FOUND;
	}
	bool log = is_there(config, "-wal");
	int rc = sqlite3_open_v2(config->path, &c->s.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, config->vfs);
	if (rc != SQLITE_OK)
		return sqlite_result(&c->s, rc);
	sqlite3_extended_result_codes(c->s.db, 1);
	sqlite3_db_config(c->s.db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	/* A log stays as it is. One that was not there, and that SQLite makes to read, goes when it is closed. */
	sqlite3_db_config(c->s.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, log ? 1 : 0, NULL);
	enum store_result result = sqlite_exec(&c->s, settings);
	if (!result)
		result = sqlite_schema_check(&c->s, &version, why);
	if (!result && version == 0) {
		buf_printf(why, "%s: the database is empty: no server was ever ready here", config->path);
		result = STORE_NOT_FOUND;
	} else if (!result && version < STORE_SCHEMA_VERSION) {
		buf_printf(why, "%s: made by an older version of Postrider: its next start upgrades it", config->path);
		result = STORE_VERSION;
	}
	if (!result)
		result = sqlite_prepare_all(&c->s);
	return result;
}

static void say_why(const struct checker *c, enum store_result result, struct buf *why)
{
	if (buf_len(why) > 0)
		return;
	if (result == STORE_LOCKED)
		buf_printf(why, "%s: a server uses this data directory: stop it first, or make a backup and check that",
			   c->config->path);
	else
		buf_printf(why, "%s: %s%s%s", c->config->path, store_result_text(result), c->s.db ? ": " : "",
			   c->s.db ? sqlite3_errmsg(c->s.db) : "");
}

static enum store_result check_all(struct checker *c)
{
	static enum store_result (*const steps[])(struct checker * c) = {check_log, check_structure, check_invariants,
									 check_messages, check_spool};
	enum store_result result = STORE_OK;

	for (size_t i = 0; i < sizeof steps / sizeof *steps && !result; i++)
		result = steps[i](c);
	if (result != STORE_CORRUPT)
		return result;
	/* The rest cannot be looked at. */
	c->of_this_kind = 0;
	tell(c, true, 0, "a damaged page ended the check early: there may be more");
	return STORE_OK;
}

enum store_result store_sqlite_check(const struct store_check_config *config, struct store_check *ret, struct buf *why)
{
	struct checker *c = heap_new(struct checker);
	struct buf unwanted;

	assert(config->path);
	assert(config->fs);
	assert(config->problem);
	*ret = (struct store_check){0};
	buf_init(&unwanted, 4096);
	if (!why)
		why = &unwanted;
	if (!c) {
		buf_printf(why, "%s: %s", config->path, store_result_text(STORE_NO_MEMORY));
		buf_free(&unwanted);
		return STORE_NO_MEMORY;
	}
	c->config = config;
	c->found = ret;
	c->s.config = (struct store_sqlite_config){.path = config->path, .vfs = config->vfs, .fs = config->fs};
	crc32c_init(&c->s.crc);
	enum store_result result = sqlite_log_look(&c->s.config, &c->log); /* before SQLite passes over it */
	if (!result)
		result = open_database(c, why);
	if (!result)
		result = check_all(c);
	if (result)
		say_why(c, result, why);
	buf_free(&unwanted);
	sqlite_disconnect(&c->s);
	heap_free(c);
	return result;
}
