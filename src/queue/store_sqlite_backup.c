/* Copies the store while its server holds it, see store_backup.h. */
#include "queue/store_backup.h"

#include "base/heap.h"
#include "queue/store_spool.h"
#include "queue/store_sqlite.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DATABASE "queue.db"
#define PART     "queue.db.part"
#define PIECE    ((size_t)256 * 1024)
/* Blocks of ids that the server may give between the hold and the restart from the copy: more than a thousand starts,
 * with a million ids for each. There are 2^40 blocks. */
#define ID_GAP   "16777216"

struct copier {
	const struct store_backup_config *config;
	struct store_backup *made;
	struct sqlite_store s; /* the copy's database */
	struct buf *why;
	char *piece;
	uint64_t octets, files; /* since the server was asked */
};

static enum store_result fail(struct copier *c, const char *what, int error)
{
	buf_printf(c->why, "%s: %s", what, strerror(error));
	switch (error) {
	case ENOSPC:
	case EDQUOT:
		return STORE_FULL;
	case EEXIST:
		return STORE_EXISTS;
	case ENOMEM:
		return STORE_NO_MEMORY;
	default:
		return STORE_IO;
	}
}

static enum store_result ask(struct copier *c)
{
	c->octets = c->files = 0;
	if (c->config->holds(c->config->arg))
		return STORE_OK;
	buf_printf(c->why, "the server could not hold still for so long, or ended");
	return STORE_NOT_FOUND;
}

static enum store_result copy_octets(struct copier *c, const char *name, struct file *from, struct file *to,
				     uint64_t *ret_octets)
{
	uint64_t at = 0;
	size_t n = 1;

	while (n > 0) {
		int error = from->ops->read(from, at, c->piece, PIECE, &n);
		if (!error && n > 0)
			error = to->ops->write(to, slice_of(c->piece, n));
		if (error)
			return fail(c, name, error);
		at += n;
		c->octets += n;
		enum store_result result = c->octets >= STORE_BACKUP_STEP ? ask(c) : STORE_OK;
		if (result)
			return result;
	}
	*ret_octets += at;
	int error = to->ops->sync(to);
	return error ? fail(c, name, error) : STORE_OK;
}

/* Up to a part of the database whose name says that it is one. */
static enum store_result copy_database(struct copier *c)
{
	struct fs *fs = c->config->to;
	struct file *from, *to;
	int error = fs->ops->open(fs, DATABASE, FS_READ, &from);

	if (!error) {
		from->ops->close(from);
		return fail(c, DATABASE, EEXIST);
	}
	error = c->config->from->ops->open(c->config->from, DATABASE, FS_READ, &from);
	if (error)
		return fail(c, DATABASE, error);
	error = fs->ops->open(fs, PART, FS_WRITE | FS_CREATE, &to);
	if (error) {
		from->ops->close(from);
		return fail(c, PART, error);
	}
	enum store_result result = copy_octets(c, DATABASE, from, to, &c->made->octets);
	from->ops->close(from);
	to->ops->close(to);
	return result;
}

static enum store_result copy_body(struct copier *c, msg_id id, uint64_t size)
{
	struct msg_id_text name = msg_id_format(id);
	struct file *from, *to;
	uint64_t octets = 0;
	enum store_result result = store_spool_open(c->config->from, id, &from);

	if (result) {
		buf_printf(c->why, "the body of %s: %s", name.text, store_result_text(result));
		return result == STORE_NOT_FOUND ? STORE_CORRUPT : result;
	}
	result = store_spool_create(c->config->to, id, &to);
	if (result) {
		from->ops->close(from);
		buf_printf(c->why, "a file for %s: %s", name.text, store_result_text(result));
		return result;
	}
	result = copy_octets(c, name.text, from, to, &octets);
	from->ops->close(from);
	to->ops->close(to);
	if (!result && (result = store_spool_sync(c->config->to, id, size)) != STORE_OK)
		buf_printf(c->why, "the body of %s: %s", name.text, store_result_text(result));
	c->made->files++;
	c->made->file_octets += octets;
	if (!result && ++c->files >= STORE_BACKUP_STEP_FILES)
		result = ask(c);
	return result;
}

static enum store_result copy_bodies(struct copier *c)
{
	static const char sql[] = "SELECT id, size FROM message WHERE in_file = 1 AND open > 0";
	sqlite3_stmt *stmt = NULL;
	enum store_result result = STORE_OK;
	int rc = sqlite3_prepare_v2(c->s.db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	for (; rc == SQLITE_ROW && !result; rc = sqlite3_step(stmt))
		result = copy_body(c, (msg_id)sqlite3_column_int64(stmt, 0), (uint64_t)sqlite3_column_int64(stmt, 1));
	sqlite3_finalize(stmt);
	return result ? result : sqlite_result(&c->s, rc);
}

static enum store_result use_copy(struct copier *c, const char *path)
{
	static const char settings[] =
		"PRAGMA locking_mode = EXCLUSIVE; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;";
	int64_t version = 0;
	int rc = sqlite3_open_v2(path, &c->s.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, c->config->vfs);

	if (rc != SQLITE_OK)
		return sqlite_result(&c->s, rc);
	sqlite3_extended_result_codes(c->s.db, 1);
	enum store_result result = sqlite_exec(&c->s, settings);
	if (!result)
		result = sqlite_schema_check(&c->s, &version, c->why);
	if (!result && version != STORE_SCHEMA_VERSION) /* its server is of ours */
		result = STORE_CORRUPT;
	if (!result)
		result = copy_bodies(c);
	if (!result)
		result = sqlite_exec(&c->s, "UPDATE state SET blocks = blocks + " ID_GAP);
	return result;
}

/* What the copy of the database names is copied, and the copy is made fit for a start of its own. */
static enum store_result complete(struct copier *c)
{
	struct buf path;
	enum store_result result = STORE_NO_MEMORY;

	buf_init(&path, 8192);
	buf_printf(&path, "%s.part", c->config->to_path);
	const char *text = buf_cstr(&path);
	if (text)
		result = use_copy(c, text);
	if (result && buf_len(c->why) == 0)
		buf_printf(c->why, "%s: %s%s%s", c->config->to_path, store_result_text(result), c->s.db ? ": " : "",
			   c->s.db ? sqlite3_errmsg(c->s.db) : "");
	sqlite_disconnect(&c->s); /* its log goes into the file, and is removed */
	buf_free(&path);
	return result;
}

static enum store_result publish(struct copier *c)
{
	struct fs *fs = c->config->to;
	enum store_result result = ask(c);

	if (result)
		return result;
	int error = fs->ops->rename(fs, PART, DATABASE);
	if (!error)
		error = fs->ops->sync_dir(fs, "");
	return error ? fail(c, DATABASE, error) : STORE_OK;
}

enum store_result store_sqlite_backup(const struct store_backup_config *config, struct store_backup *ret,
				      struct buf *why)
{
	struct copier *c = heap_new(struct copier);
	enum store_result result = STORE_NO_MEMORY;

	assert(config->from && config->to && config->to_path);
	assert(config->holds);
	*ret = (struct store_backup){0};
	if (c) {
		*c = (struct copier){.config = config, .made = ret, .why = why, .piece = heap_alloc(PIECE)};
		c->s.config.path = config->to_path;
	}
	if (c && c->piece)
		result = store_spool_init(config->to);
	if (result)
		buf_printf(why, "spool/ of the copy: %s", store_result_text(result));
	if (!result)
		result = copy_database(c);
	if (!result)
		result = complete(c);
	if (!result)
		result = publish(c);
	heap_free(c ? c->piece : NULL);
	heap_free(c);
	return result;
}
