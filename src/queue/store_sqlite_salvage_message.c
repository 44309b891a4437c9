/* What becomes of one message out of a damaged database, see store_salvage.h. */
#include "queue/store_sqlite_salvage.h"

#include "queue/store_spool.h"

#include <assert.h>

static enum store_result copy_row(struct salvager *s, enum salvage_table t, bool *ret_taken)
{
	sqlite3_stmt *in = s->read[t], *out = s->write[t];

	assert(sqlite3_column_count(in) <= sqlite3_bind_parameter_count(out)); /* less: of an older version */
	sqlite3_reset(out);
	for (int i = 0; i < sqlite3_column_count(in); i++)
		if (sqlite3_bind_value(out, i + 1, sqlite3_column_value(in, i)) != SQLITE_OK)
			return STORE_NO_MEMORY;
	int rc = sqlite3_step(out);
	*ret_taken = rc == SQLITE_DONE;
	enum store_result result = sqlite_result(&s->to, rc);
	sqlite3_reset(out);
	sqlite3_clear_bindings(out);
	/* Twice the same, or no number where one must be. */
	return (rc & 0xff) == SQLITE_CONSTRAINT || (rc & 0xff) == SQLITE_MISMATCH ? STORE_OK : result;
}

static enum store_result copy_rows(struct salvager *s, enum salvage_table t, msg_id id)
{
	struct salvage_copied *c = &s->copied[t];
	enum store_result result = STORE_OK;
	int rc = SQLITE_CORRUPT;

	*c = (struct salvage_copied){0};
	if (s->read[t]) {
		sqlite3_bind_int64(s->read[t], 1, (int64_t)id);
		rc = sqlite3_step(s->read[t]);
	}
	for (; rc == SQLITE_ROW && !result; rc = sqlite3_step(s->read[t])) {
		bool taken = false;
		/* A damaged tree may lead to another message's row. */
		if ((msg_id)sqlite3_column_int64(s->read[t], 0) == id)
			result = copy_row(s, t, &taken);
		c->rows += taken;
		c->broken |= !taken;
	}
	c->broken |= rc != SQLITE_DONE;
	if (!result)
		result = salvage_read(rc);
	if (s->read[t])
		sqlite3_reset(s->read[t]);
	return result;
}

int64_t salvage_number(struct salvager *s, const char *sql, msg_id id)
{
	sqlite3_stmt *stmt = NULL;
	int64_t value = 0;

	if (sqlite3_prepare_v2(s->to.db, sql, -1, &stmt, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(stmt, 1, (int64_t)id);
		if (sqlite3_step(stmt) == SQLITE_ROW)
			value = sqlite3_column_int64(stmt, 0);
	}
	sqlite3_finalize(stmt);
	return value;
}

/* A change of the message at hand: ?1 is its id, ?2 a number. */
static enum store_result change(struct salvager *s, const char *sql, msg_id id, int64_t value)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->to.db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK) {
		sqlite3_bind_int64(stmt, 1, (int64_t)id);
		if (sqlite3_bind_parameter_count(stmt) >= 2)
			sqlite3_bind_int64(stmt, 2, value);
		rc = sqlite3_step(stmt);
	}
	sqlite3_finalize(stmt);
	return sqlite_result(&s->to, rc);
}

static enum store_result change_all(struct salvager *s, const char *const *sql, size_t n, msg_id id, int64_t value)
{
	enum store_result result = STORE_OK;

	for (size_t i = 0; i < n && !result; i++)
		result = change(s, sql[i], id, value);
	return result;
}
#define CHANGE_ALL(s, list, id, value) change_all(s, list, sizeof(list) / sizeof *(list), id, value)

static bool note_damage(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	*(bool *)arg |= m->damaged || r->damaged;
	return true;
}

static bool nod_line(void *arg, const struct store_history *line)
{
	(void)arg;
	(void)line;
	return true;
}

/* Whether every value of the message at hand is one that can be. *ret_damaged: not all are those that were put. */
static enum store_result look(struct salvager *s, msg_id id, bool *ret_damaged)
{
	struct store_filter filter = {.id = id, .state = -2};
	struct store_cursor cursor = {0};
	enum store_result result = STORE_OK;

	*ret_damaged = false;
	while (!result && !cursor.end)
		result = sqlite_list(&s->to.store, &filter, 0, &cursor, note_damage, ret_damaged);
	return result ? result : sqlite_history(&s->to.store, id, nod_line, NULL);
}

/* STORE_CORRUPT when it is not whole. */
static enum store_result look_at_body(struct salvager *s, msg_id id)
{
	int64_t size = salvage_number(s, "SELECT size FROM message WHERE id = ?", id);
	struct store_digest digest = {
		.known = salvage_number(s, "SELECT file_digest IS NOT NULL FROM message WHERE id = ?", id),
		.value = (uint32_t)salvage_number(s, "SELECT file_digest FROM message WHERE id = ?", id),
	};
	struct buf body;
	uint64_t found;

	if (s->copied[SALVAGE_BODY].rows == 0)
		return STORE_CORRUPT;
	int64_t in_file = salvage_number(s, "SELECT in_file FROM message WHERE id = ?", id);
	if (in_file != salvage_number(s, "SELECT data IS NULL FROM body WHERE id = ?", id))
		return STORE_CORRUPT;
	if (in_file) {
		enum store_result result =
			store_spool_verify(s->config->fs, &s->to.crc, id, (uint64_t)size, digest, &found);
		if (result == STORE_IO) /* what cannot be read now is looked at when it is delivered */
			return STORE_OK;
		return result == STORE_NOT_FOUND ? STORE_CORRUPT : result;
	}
	buf_init(&body, (size_t)1 << 30); /* more than SQLite takes */
	enum store_result result = sqlite_body(&s->to.store, id, &body);
	buf_free(&body);
	return result;
}

static void tell(struct salvager *s, enum store_salvage_fate fate, msg_id id, const char *text)
{
	if (fate == STORE_SALVAGE_LOST)
		s->done->lost++;
	s->config->tell(s->config->arg, fate, id, text);
}

/* All of its open recipients wait for people. */
static enum store_result hold(struct salvager *s, msg_id id, const char *text)
{
	tell(s, STORE_SALVAGE_HELD, id, text);
	s->done->held++;
	return change(s, "UPDATE recipient SET state = 2, due = 0, owner = 0, lease = 0 WHERE msg = ?1 AND state <= 1",
		      id, 0);
}

/* Recipients that were left get numbers without gaps, and no history: its lines have the former numbers. */
static enum store_result renumber(struct salvager *s, msg_id id)
{
	static const char *const steps[] = {
		"DELETE FROM history WHERE msg = ?1",
		"UPDATE recipient SET attempts = 0, last = 0, n = n + 1000000 WHERE msg = ?1",
		"UPDATE recipient SET n = (SELECT count(*) FROM recipient o WHERE o.msg = ?1 AND o.n < recipient.n"
		" AND o.n >= 1000000) + (SELECT count(*) FROM recipient o WHERE o.msg = ?1 AND o.n < 1000000)"
		" WHERE msg = ?1 AND n = (SELECT min(n) FROM recipient WHERE msg = ?1 AND n >= 1000000)",
	};
	enum store_result result = STORE_OK;

	for (int i = 0; i < 2 && !result; i++)
		result = change(s, steps[i], id, 0);
	for (uint64_t i = 0; i < s->copied[SALVAGE_RECIPIENT].rows && !result; i++)
		result = change(s, steps[2], id, 0);
	if (!result)
		result = change(s,
				"UPDATE message SET rcpt_count = (SELECT count(*) FROM recipient WHERE msg = ?1)"
				" WHERE id = ?1",
				id, 0);
	return result;
}

/* A message without its own row: what is not known of it is empty, and somebody has to look at it. */
static enum store_result invent_message(struct salvager *s, msg_id id)
{
	struct file *f;
	uint64_t size = 0;
	bool in_file = salvage_number(s, "SELECT data IS NULL FROM body WHERE id = ?", id);
	enum store_result result = in_file ? store_spool_open(s->config->fs, id, &f) : STORE_NOT_FOUND;

	if (!result) {
		int error = f->ops->size(f, &size);
		f->ops->close(f);
		result = error ? STORE_IO : STORE_OK;
	}
	if (result && result != STORE_NOT_FOUND)
		return result;
	result =
		change(s,
		       "INSERT INTO message SELECT ?1, 1, NULL, 1, b.data IS NULL, coalesce(length(b.data), ?2), 0, 0, "
		       "x'', x'',"
		       " 1, 0, 0, 1, (SELECT flow FROM recipient WHERE msg = ?1 LIMIT 1), x'', x'', x'', x'', 0, x'',"
		       " NULL, NULL"
		       " FROM body b WHERE b.id = ?1",
		       id, (int64_t)size);
	if (!result)
		result = change(s, "UPDATE message SET arrived = ?2 WHERE id = ?1", id, s->config->wall);
	if (!result)
		result = renumber(s, id);
	return result ? result : hold(s, id, "its sender could not be read: release it to deliver it without one");
}

/* Lines of the history that are missing are missed by nobody but the recipients that refer to them. */
static enum store_result mend_history(struct salvager *s, msg_id id)
{
	return change(s,
		      "UPDATE recipient SET attempts = 0, last = 0 WHERE msg = ?1 AND (last <> 0 OR attempts <> 0)"
		      " AND NOT EXISTS (SELECT 1 FROM history h WHERE h.msg = ?1 AND h.seq = recipient.last)",
		      id, 0);
}

static enum store_result drop_history(struct salvager *s, msg_id id)
{
	enum store_result result = change(s, "DELETE FROM history WHERE msg = ?1", id, 0);

	return result ? result : mend_history(s, id);
}

static enum store_result set_totals_of(struct salvager *s, msg_id id)
{
	static const char *const steps[] = {
		"UPDATE message SET open = (SELECT count(*) FROM recipient WHERE msg = ?1 AND state <= 2) WHERE id = "
		"?1",
		"UPDATE message SET finished = CASE WHEN open > 0 THEN NULL ELSE coalesce(finished, arrived_queue) END"
		" WHERE id = ?1",
		"DELETE FROM body WHERE id = ?1 AND (SELECT open FROM message WHERE id = ?1) = 0",
	};

	return CHANGE_ALL(s, steps, id, 0);
}

/* What is left of the message at hand is worth keeping? False after it was told. */
static bool is_worth_keeping(struct salvager *s, msg_id id)
{
	const struct salvage_copied *c = s->copied;
	bool open = salvage_number(s, "SELECT count(*) FROM recipient WHERE msg = ? AND state <= 2", id) > 0;
	bool was_open = salvage_number(s, "SELECT open FROM message WHERE id = ?", id) > 0;

	if (c[SALVAGE_MESSAGE].rows > 0 && was_open && c[SALVAGE_RECIPIENT].rows == 0) {
		tell(s, STORE_SALVAGE_LOST, id, "none of its recipients could be read");
		return false;
	}
	if (c[SALVAGE_MESSAGE].rows > 0)
		return true;
	if (open && c[SALVAGE_BODY].rows > 0)
		return true;
	if (open || c[SALVAGE_BODY].rows > 0)
		tell(s, STORE_SALVAGE_LOST, id,
		     open ? "only its recipients could be read" : "only its body could be read");
	else
		s->done->forgotten++;
	return false;
}

static enum store_result mend(struct salvager *s, msg_id id)
{
	const struct salvage_copied *rcpts = &s->copied[SALVAGE_RECIPIENT];
	enum store_result result = STORE_OK;

	if (s->copied[SALVAGE_MESSAGE].rows == 0) {
		result = invent_message(s, id);
	} else if ((int64_t)rcpts->rows != salvage_number(s, "SELECT rcpt_count FROM message WHERE id = ?", id)) {
		if (salvage_number(s, "SELECT open FROM message WHERE id = ?", id) > 0)
			tell(s, STORE_SALVAGE_LOST, id, "some of its recipients could not be read");
		result = renumber(s, id);
	}
	if (!result)
		result = mend_history(s, id);
	if (!result)
		result = set_totals_of(s, id);
	return result;
}

/* A body that is damaged stays as it is, so that it never passes for a sound one; one that is missing, or is not where
 * the message has it, becomes an empty one that is as damaged. */
static const char *const no_body[] = {
	"DELETE FROM body WHERE id = ?1 AND (data IS NULL) <> (SELECT in_file FROM message WHERE id = ?1)",
	"INSERT OR IGNORE INTO body SELECT id, 0, CASE in_file WHEN 1 THEN NULL ELSE x'' END FROM message WHERE id = "
	"?1",
};

/* Whole, mended or held; STORE_CORRUPT when it cannot be kept. */
static enum store_result keep(struct salvager *s, msg_id id)
{
	bool damaged = false;
	enum store_result result = mend(s, id);

	if (!result)
		result = look(s, id, &damaged);
	if (result == STORE_CORRUPT && (result = drop_history(s, id)) == STORE_OK)
		result = look(s, id, &damaged);
	if (result)
		return result;
	if (salvage_number(s, "SELECT open FROM message WHERE id = ?", id) == 0)
		return STORE_OK;
	result = look_at_body(s, id);
	if (!result && damaged)
		return hold(s, id, "its sender or a recipient is damaged");
	if (result != STORE_CORRUPT)
		return result;
	result = CHANGE_ALL(s, no_body, id, 0);
	return result ? result : hold(s, id, "its body is damaged or missing");
}

enum store_result salvage_message(struct salvager *s, msg_id id)
{
	struct store_salvage before;
	enum store_result result = sqlite_exec(&s->to, "SAVEPOINT one");

	for (int t = 0; t < SALVAGE_TABLES && !result; t++)
		result = copy_rows(s, (enum salvage_table)t, id);
	if (result)
		return result;
	before = *s->done;
	bool kept = is_worth_keeping(s, id);
	if (kept) {
		result = keep(s, id);
		kept = result == STORE_OK;
		if (result == STORE_CORRUPT) {
			s->done->held = before.held;
			tell(s, STORE_SALVAGE_LOST, id, "it holds values that cannot be");
			result = STORE_OK;
		}
	}
	if (result)
		return result;
	s->done->messages += kept;
	s->done->open += kept && salvage_number(s, "SELECT open FROM message WHERE id = ?", id) > 0;
	return sqlite_exec(&s->to, kept ? "RELEASE one" : "ROLLBACK TO one; RELEASE one");
}
