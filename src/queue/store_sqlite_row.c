/*
 * Binding values, and reading them back with suspicion: a row may come from a damaged or doctored file, so each value
 * is checked for type and bounds before anybody uses it. The first bad one sticks; a reader asks once, at the end.
 */
#include "queue/store_sqlite.h"

#include <assert.h>
#include <errno.h>

struct row row_bind(struct sqlite_store *s, enum store_statement which)
{
	assert(which < STORE_SQL_COUNT);
	struct row r = {.stmt = s->statements[which], .i = 1};

	if (r.stmt) /* none between a reopen that failed and the next */
		sqlite3_reset(r.stmt);
	return r;
}

static void bound(struct row *r, int rc)
{
	if (rc != SQLITE_OK)
		r->bad = true;
	r->i++;
}

void bind_int(struct row *r, int64_t value)
{
	bound(r, r->stmt ? sqlite3_bind_int64(r->stmt, r->i, value) : SQLITE_ERROR);
}

void bind_hash(struct row *r, uint64_t value)
{
	bind_int(r, (int64_t)value);
}

void bind_text(struct row *r, struct slice value)
{
	/* A null pointer would bind NULL. */
	bound(r, r->stmt ? sqlite3_bind_blob64(r->stmt, r->i, value.n ? value.p : "", value.n, SQLITE_STATIC)
			 : SQLITE_ERROR);
}

void bind_null(struct row *r)
{
	bound(r, r->stmt ? sqlite3_bind_null(r->stmt, r->i) : SQLITE_ERROR);
}

void bind_digest(struct row *r, struct store_digest digest)
{
	if (digest.known)
		bind_int(r, digest.value);
	else
		bind_null(r);
}

struct row row_read(sqlite3_stmt *stmt)
{
	return (struct row){.stmt = stmt};
}

static int next_column(struct row *r, int type)
{
	assert(r->i < sqlite3_column_count(r->stmt));
	if (sqlite3_column_type(r->stmt, r->i) != type)
		r->bad = true;
	return r->i++;
}

int64_t read_int(struct row *r, int64_t min, int64_t max)
{
	int column = next_column(r, SQLITE_INTEGER);
	int64_t value = r->bad ? min : sqlite3_column_int64(r->stmt, column);

	if (value < min || value > max) {
		r->bad = true;
		return min;
	}
	return value;
}

uint64_t read_hash(struct row *r)
{
	return (uint64_t)read_int(r, INT64_MIN, INT64_MAX);
}

bool read_bool(struct row *r)
{
	return read_int(r, 0, 1) == 1;
}

msg_id read_id(struct row *r, bool none_ok)
{
	return (msg_id)read_int(r, none_ok ? 0 : 1, (int64_t)MSG_ID_MAX);
}

struct store_digest read_digest(struct row *r)
{
	assert(r->i < sqlite3_column_count(r->stmt));
	if (sqlite3_column_type(r->stmt, r->i) == SQLITE_NULL) {
		r->i++;
		return (struct store_digest){0};
	}
	return (struct store_digest){.known = true, .value = (uint32_t)read_int(r, 0, UINT32_MAX)};
}

struct slice read_text_or_none(struct row *r, size_t max)
{
	assert(r->i < sqlite3_column_count(r->stmt));
	if (sqlite3_column_type(r->stmt, r->i) != SQLITE_NULL)
		return read_text(r, max);
	r->i++;
	return SLICE_NONE;
}

struct slice read_text(struct row *r, size_t max)
{
	int column = next_column(r, SQLITE_BLOB);
	struct slice value = SLICE_NONE;

	if (r->bad)
		return value;
	value.p = sqlite3_column_blob(r->stmt, column);
	value.n = (size_t)sqlite3_column_bytes(r->stmt, column);
	/* No pointer for octets that are there: out of memory, which leaves the value unknown as well. */
	if (value.n > max || (value.n > 0 && !value.p)) {
		r->bad = true;
		return SLICE_NONE;
	}
	return value;
}

static bool failed_over_quota(sqlite3_file *file)
{
	int error = 0;

	if (!file || !file->pMethods || !file->pMethods->xFileControl) /* a journal in memory has none */
		return false;
	return file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &error) == SQLITE_OK && error == EDQUOT;
}

/* SQLite takes ENOSPC for a full disk, but EDQUOT for a broken one. */
static bool quota_is_full(struct sqlite_store *s)
{
	sqlite3_file *database = NULL, *log = NULL;

	sqlite3_file_control(s->db, "main", SQLITE_FCNTL_FILE_POINTER, (void *)&database);
	sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, (void *)&log);
	return failed_over_quota(database) || failed_over_quota(log);
}

enum store_result sqlite_result(struct sqlite_store *s, int rc)
{
	if (rc == SQLITE_IOERR_NOMEM)
		return STORE_NO_MEMORY;
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return STORE_OK;
	case SQLITE_FULL:
	case SQLITE_TOOBIG:
		return STORE_FULL;
	case SQLITE_IOERR:
		return rc == SQLITE_IOERR_WRITE && quota_is_full(s) ? STORE_FULL : STORE_IO;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_CONSTRAINT:
	case SQLITE_MISMATCH:
		return STORE_CORRUPT;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return STORE_LOCKED;
	case SQLITE_NOMEM:
		return STORE_NO_MEMORY;
	default:
		return STORE_IO;
	}
}

enum store_result row_step(struct sqlite_store *s, struct row *r, bool *ret_row)
{
	*ret_row = false;
	if (!r->stmt)
		return STORE_IO;
	if (r->bad) { /* binding fails for lack of memory only: the lengths are checked by SQLite at SQLITE_MAX_LENGTH
		       */
		sqlite3_reset(r->stmt);
		return STORE_NO_MEMORY;
	}
	int rc = sqlite3_step(r->stmt);
	if (rc == SQLITE_ROW) {
		*ret_row = true;
		return STORE_OK;
	}
	enum store_result result = sqlite_result(s, rc);
	sqlite3_reset(r->stmt);
	return result;
}

enum store_result row_run(struct sqlite_store *s, struct row *r)
{
	bool row;
	enum store_result result = row_step(s, r, &row);

	assert(!row);
	return result;
}

void row_done(struct row *r)
{
	if (r->stmt)
		sqlite3_reset(r->stmt);
}
