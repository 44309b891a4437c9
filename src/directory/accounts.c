/*
 * Handles of directory.db: opening and making the file, and noticing that it was replaced.
 *
 * The file has a write-ahead log, and both the log and its shared memory stay when the last writer leaves: a reader
 * that may not write could not make them, and without them SQLite does not read. Whoever wrote copies the log into the
 * database before leaving, so that directory.db alone is a whole copy.
 */
#include "directory/accounts_private.h"

#include "base/heap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WHY_MAX       1024
#define OPEN_TO_OTHER (S_IWGRP | S_IROTH | S_IWOTH | S_IXOTH)

/* clang-format off */
static const char settings[] =
	"PRAGMA trusted_schema = OFF;"
	"PRAGMA cell_size_check = ON;"
	"PRAGMA temp_store = MEMORY;";
static const char settings_of_writers[] =
	"PRAGMA synchronous = FULL;"
	"PRAGMA journal_size_limit = 0;"
	"PRAGMA foreign_keys = ON;"
	"PRAGMA secure_delete = ON;"; /* a password that was changed leaves nothing in the file */
/* clang-format on */

/* ---- connections --------------------------------------------------------------------------------------------- */

void accounts_disconnect(struct accounts *a)
{
	for (size_t i = 0; i < ACCOUNTS_SQL_COUNT; i++) {
		sqlite3_finalize(a->statements[i]);
		a->statements[i] = NULL;
	}
	sqlite3_close(a->db);
	a->db = NULL;
	a->frozen = false;
	memcpy(a->key, a->without, sizeof a->key);
}

static enum accounts_result number(struct accounts *a, const char *sql, int64_t *ret)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(a->db, sql, -1, &stmt, NULL);

	*ret = 0;
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int64(stmt, 0);
	enum accounts_result result = rc == SQLITE_ROW ? ACCOUNTS_OK : accounts_failed(a, rc);
	sqlite3_finalize(stmt);
	return result;
}

/* That it is ours, and of our version. */
static enum accounts_result check_schema(struct accounts *a)
{
	int64_t application, version;
	enum accounts_result result = number(a, "PRAGMA application_id", &application);

	if (!result)
		result = number(a, "PRAGMA user_version", &version);
	if (result)
		return result;
	if (application != ACCOUNTS_APPLICATION_ID)
		return accounts_fail(a, ACCOUNTS_VERSION, "it is no database of accounts");
	if (version != ACCOUNTS_SCHEMA_VERSION)
		return accounts_fail(a, ACCOUNTS_VERSION, "it was made by a newer version of Postrider");
	return ACCOUNTS_OK;
}

static enum accounts_result load_key(struct accounts *a)
{
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_KEY);
	bool row;
	enum accounts_result result = accounts_step(&r, &row);

	if (result)
		return result;
	const void *key = row ? sqlite3_column_blob(r.stmt, 0) : NULL;
	if (key && sqlite3_column_bytes(r.stmt, 0) == ACCOUNTS_KEY)
		memcpy(a->key, key, ACCOUNTS_KEY);
	else
		result = accounts_fail(a, ACCOUNTS_DAMAGED, "it has lost its key");
	accounts_done(&r);
	return result;
}

/* The file at the path; who it belongs to is not asked, but others must not be able to read or change it. */
static enum accounts_result look_at_file(struct accounts *a, struct stat *ret)
{
	if (stat(a->path, ret) != 0)
		return accounts_fail(a,
				     errno == ENOENT || errno == ENOTDIR ? ACCOUNTS_MISSING
				     : errno == EACCES                   ? ACCOUNTS_DENIED
									 : ACCOUNTS_IO,
				     errno == ENOENT ? NULL : strerror(errno));
	if (ret->st_mode & OPEN_TO_OTHER)
		return accounts_fail(a, ACCOUNTS_DENIED,
				     "others than its owner can read or change it; set its mode to 0600");
	return ACCOUNTS_OK;
}

/* The path as a URI, for the parameters that follow it. */
static void put_uri(const char *path, const char *parameters, struct buf *out)
{
	buf_add_lit(out, "file:");
	for (; *path; path++) {
		if (*path == '?' || *path == '#' || *path == '%')
			buf_printf(out, "%%%02X", (unsigned)*path);
		else
			buf_add_char(out, *path);
	}
	buf_add(out, slice_from_cstr(parameters));
}

static enum accounts_result connect_as(struct accounts *a, int flags, const char *parameters)
{
	struct buf uri;

	buf_init(&uri, 3 * ACCOUNTS_PATH_MAX + 64);
	put_uri(a->path, parameters, &uri);
	const char *name = buf_cstr(&uri);
	int rc = name ? sqlite3_open_v2(name, &a->db, flags | SQLITE_OPEN_URI, accounts_vfs()) : SQLITE_NOMEM;
	buf_free(&uri);
	if (rc != SQLITE_OK)
		return accounts_failed(a, a->db ? sqlite3_extended_errcode(a->db) : rc);
	sqlite3_extended_result_codes(a->db, 1);
	sqlite3_busy_timeout(a->db, ACCOUNTS_READ_WAIT);
	return accounts_exec(a, settings);
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

/* A database whose log has to be looked at, but may not be made. */
static bool lacks_its_log(int rc)
{
	return rc == SQLITE_READONLY_DIRECTORY || rc == SQLITE_READONLY_CANTINIT || rc == SQLITE_READONLY_RECOVERY ||
	       (rc & 0xff) == SQLITE_CANTOPEN;
}

static enum accounts_result finish_reader(struct accounts *a)
{
	enum accounts_result result = check_schema(a);

	return result ? result : load_key(a);
}

static bool log_is_empty(const struct accounts *a)
{
	char log[ACCOUNTS_PATH_MAX + 8];
	struct stat st;

	snprintf(log, sizeof log, "%s-wal", a->path);
	return stat(log, &st) != 0 ? errno == ENOENT : st.st_size == 0;
}

/*
 * A copy that was put here has no log beside it, and this reader may not make one. The file alone is whole then, as
 * long as nobody writes, which needs a log.
 */
bool accounts_open_frozen(struct accounts *a)
{
	accounts_disconnect(a);
	if (!log_is_empty(a) || connect_as(a, SQLITE_OPEN_READONLY, "?immutable=1") || finish_reader(a)) {
		accounts_disconnect(a);
		return false;
	}
	a->frozen = true;
	return true;
}

static bool is_open(const struct accounts *a, const struct stat *st)
{
	return st->st_dev == a->file.st_dev && st->st_ino == a->file.st_ino;
}

bool accounts_still_frozen(struct accounts *a)
{
	struct stat st;

	return log_is_empty(a) && stat(a->path, &st) == 0 && is_open(a, &st) && st.st_size == a->file.st_size &&
	       st.st_mtim.tv_sec == a->file.st_mtim.tv_sec && st.st_mtim.tv_nsec == a->file.st_mtim.tv_nsec;
}

static enum accounts_result connect_reader(struct accounts *a)
{
	a->rc = SQLITE_OK;
	enum accounts_result result = connect_as(a, SQLITE_OPEN_READONLY, "?mode=ro");

	if (!result)
		result = finish_reader(a);
	if (result && lacks_its_log(a->rc) && accounts_open_frozen(a))
		return ACCOUNTS_OK;
	if (result)
		accounts_disconnect(a);
	return result;
}

enum accounts_result accounts_ready(struct accounts *a)
{
	struct stat st;

	if (a->writes)
		return ACCOUNTS_OK;
	enum accounts_result result = look_at_file(a, &st);
	if (result || a->frozen || !is_open(a, &st))
		accounts_disconnect(a);
	if (result || a->db)
		return result;
	a->file = st;
	return connect_reader(a);
}

static struct accounts *new_handle(const char *path)
{
	struct accounts *a = strlen(path) < ACCOUNTS_PATH_MAX - 16 ? heap_new(struct accounts) : NULL;

	if (!a)
		return NULL;
	memcpy(a->path, path, strlen(path) + 1);
	buf_init(&a->why, ACCOUNTS_PATH_MAX + WHY_MAX);
	return a;
}

struct accounts *accounts_reader(const char *path, const uint8_t key[ACCOUNTS_KEY])
{
	struct accounts *a = new_handle(path);

	if (!a)
		return NULL;
	memcpy(a->without, key, ACCOUNTS_KEY);
	memcpy(a->key, key, ACCOUNTS_KEY);
	return a;
}

void accounts_close(struct accounts *a)
{
	if (!a)
		return;
	if (a->writes && a->db) {
		accounts_roll_back(a);
		/* Readers go on meanwhile. When it cannot be done now the log stays, which is as good. */
		(void)sqlite3_wal_checkpoint_v2(a->db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	}
	accounts_disconnect(a);
	buf_free(&a->why);
	explicit_bzero(a, sizeof *a);
	heap_free(a);
}

struct slice accounts_why(const struct accounts *a)
{
	return buf_slice(&a->why);
}

/* ---- making -------------------------------------------------------------------------------------------------- */

static enum accounts_result add_key(struct accounts *a, const uint8_t key[ACCOUNTS_KEY])
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(a->db, "INSERT INTO state VALUES (1, ?1)", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob(stmt, 1, key, ACCOUNTS_KEY, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	enum accounts_result result = rc == SQLITE_DONE ? ACCOUNTS_OK : accounts_failed(a, rc);
	sqlite3_finalize(stmt);
	return result;
}

/* A whole database in the empty file. */
static enum accounts_result fill(struct accounts *a, const uint8_t key[ACCOUNTS_KEY])
{
	char versions[96];

	snprintf(versions, sizeof versions, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
		 ACCOUNTS_APPLICATION_ID, ACCOUNTS_SCHEMA_VERSION);
	enum accounts_result result = connect_as(a, SQLITE_OPEN_READWRITE, "");
	if (!result)
		result = accounts_exec(a, settings_of_writers);
	if (!result)
		result = accounts_exec(a, "PRAGMA journal_mode = WAL; BEGIN;");
	if (!result)
		result = accounts_exec(a, accounts_schema);
	if (!result)
		result = add_key(a, key);
	if (!result)
		result = accounts_exec(a, versions);
	if (!result)
		result = accounts_exec(a, "COMMIT");
	accounts_disconnect(a);
	return result;
}

/* The directory that the name stands in. */
static void parent_of(const char *path, char ret[ACCOUNTS_PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (!slash)
		snprintf(ret, ACCOUNTS_PATH_MAX, ".");
	else
		snprintf(ret, ACCOUNTS_PATH_MAX, "%.*s", n ? (int)n : 1, path);
}

static bool sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool good = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return good;
}

static enum accounts_result from_errno(struct accounts *a)
{
	int error = errno;

	return accounts_fail(a,
			     error == EACCES || error == EPERM || error == EROFS ? ACCOUNTS_DENIED
			     : error == ENOSPC || error == EDQUOT                ? ACCOUNTS_FULL
										 : ACCOUNTS_IO,
			     strerror(error));
}

static enum accounts_result make_directory(struct accounts *a, const char *path)
{
	char parent[ACCOUNTS_PATH_MAX];

	if (mkdir(path, 0700) == 0) {
		parent_of(path, parent);
		return sync_directory(parent) ? ACCOUNTS_OK : from_errno(a);
	}
	return errno == EEXIST ? ACCOUNTS_OK : from_errno(a);
}

/* Made beside it and then given its name, so that nobody ever sees half of one. Whoever comes second takes the first
 * one's. */
static enum accounts_result make_file(struct accounts *a, const uint8_t key[ACCOUNTS_KEY])
{
	char wanted[ACCOUNTS_PATH_MAX], directory[ACCOUNTS_PATH_MAX];

	snprintf(wanted, sizeof wanted, "%s", a->path);
	parent_of(wanted, directory);
	enum accounts_result result = make_directory(a, directory);
	if (result)
		return result;
	snprintf(a->path, sizeof a->path, "%.*s.XXXXXX", ACCOUNTS_PATH_MAX - 16, wanted);
	int fd = mkstemp(a->path);
	if (fd < 0)
		return from_errno(a);
	close(fd);
	result = fill(a, key);
	if (!result && link(a->path, wanted) != 0 && errno != EEXIST)
		result = from_errno(a);
	unlink(a->path);
	snprintf(a->path, sizeof a->path, "%s", wanted);
	if (!result && !sync_directory(directory))
		result = from_errno(a);
	return result;
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

static enum accounts_result connect_writer(struct accounts *a, span_ms wait)
{
	int keep = 1;
	enum accounts_result result = connect_as(a, SQLITE_OPEN_READWRITE, "?mode=rw");

	if (result)
		return result;
	sqlite3_busy_timeout(a->db, (int)wait);
	sqlite3_file_control(a->db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
	result = check_schema(a);
	if (!result)
		result = accounts_exec(a, "PRAGMA journal_mode = WAL");
	if (!result)
		result = accounts_exec(a, settings_of_writers);
	return result ? result : load_key(a);
}

static enum accounts_result open_file(struct accounts *a, const struct accounts_config *config)
{
	struct stat st;
	enum accounts_result result = look_at_file(a, &st);

	if (result == ACCOUNTS_MISSING && config->create) {
		result = make_file(a, config->key);
		if (!result)
			result = look_at_file(a, &st);
	}
	return result ? result : connect_writer(a, config->busy_wait > 0 ? config->busy_wait : ACCOUNTS_WRITE_WAIT);
}

enum accounts_result accounts_open(const struct accounts_config *config, struct accounts **ret, struct buf *why)
{
	struct accounts *a = new_handle(config->path);

	*ret = NULL;
	if (!a) {
		buf_printf(why, "%s: %s", config->path, accounts_result_text(ACCOUNTS_NO_MEMORY));
		return ACCOUNTS_NO_MEMORY;
	}
	a->writes = true;
	enum accounts_result result = open_file(a, config);
	if (!result) {
		*ret = a;
		return ACCOUNTS_OK;
	}
	buf_add(why, buf_slice(&a->why));
	accounts_disconnect(a);
	accounts_close(a);
	return result;
}
