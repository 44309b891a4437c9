/*
 * Salvages a damaged database, see store_salvage.h.
 *
 *	1. A place in quarantine, and in it new.db with our schema.
 *	2. The damaged database is opened for reading. If its first page cannot be used, a copy of it gets the first
 *	   page of new.db: the schema is always made by the same statements, so that the root pages are the same.
 *	3. Ids are gathered from every table and index, forwards and backwards, as far as each can be read.
 *	4. Message by message: its rows are copied, then looked at as the store does; what is not whole is mended, held,
 *	   or left out and told.
 *	5. Totals and turns are made anew. Bodies in files that are named no more go into the place.
 *	6. new.db, synced, becomes ready.db: from here on finishing is all that is left, and can be done again.
 *	7. The damaged database goes into the place, ready.db takes its name.
 *
 * What the source does not have is damage. What it cannot give now, because the disk fails or there is no memory, ends
 * the salvage, and so does what the new database cannot take: the next start begins it anew.
 */
#include "queue/store_sqlite_salvage.h"

#include "base/heap.h"
#include "mail/date.h"
#include "queue/store_spool.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DATABASE             "queue.db"
#define NEW                  "new.db"
#define WORK                 "work.db"
#define READY                "ready.db"
#define PLACES_MAX           50 /* a disk that damages one database after the other is no place for mail */
#define PAGE                 4096
#define PIECE                ((size_t)256 * 1024)
#define MOVE_STEP            256
#define ID_GAP               ((uint64_t)1 << 24) /* blocks of ids that were given, perhaps, and are known no more */
#define BLOCKS_MAX           ((uint64_t)1 << (MSG_ID_BITS - MSG_ID_BLOCK_BITS))

/* Offsets in the first page, see "The Database Header" of SQLite's file format. */
#define HEADER_WRITE_VERSION 18 /* and read version: 2 = with a log */
#define HEADER_PAGES         28

static const struct {
	const char *read, *write;
	int older; /* so many columns less had an older version, at the end: they are empty then */
} tables[SALVAGE_TABLES] = {
	[SALVAGE_MESSAGE] =
		{"SELECT * FROM message WHERE id = ?",
		 "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		 .older = 2},
	[SALVAGE_RECIPIENT] = {"SELECT * FROM recipient WHERE msg = ? ORDER BY n",
			       "INSERT INTO recipient VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			       .older = 1},
	[SALVAGE_BODY] = {"SELECT * FROM body WHERE id = ?", "INSERT INTO body VALUES (?, ?, ?)"},
	[SALVAGE_HISTORY] = {"SELECT * FROM history WHERE msg = ? ORDER BY seq",
			     "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			     .older = 1},
};

/* ---- files ---------------------------------------------------------------------------------------------------- */

struct path {
	char text[200];
};

static struct path in_place(const struct salvager *s, const char *name)
{
	struct path p;

	snprintf(p.text, sizeof p.text, "%s/%s", s->folder, name);
	return p;
}

static enum store_result result_of(int error)
{
	return error == 0 ? STORE_OK : error == ENOSPC || error == EDQUOT ? STORE_FULL : STORE_IO;
}

static enum store_result fail(struct salvager *s, const char *what, int error)
{
	buf_printf(s->why, "%s: %s", what, strerror(error));
	return result_of(error);
}

/* The size of a file, 0 when it is not there. What cannot be asked now may be there: an errno value. */
static int size_of(struct fs *fs, const char *path, bool *ret_there, uint64_t *ret_size)
{
	struct file *f;
	int error = fs->ops->open(fs, path, FS_READ, &f);

	*ret_there = error == 0;
	*ret_size = 0;
	if (error)
		return error == ENOENT ? 0 : error;
	error = f->ops->size(f, ret_size);
	f->ops->close(f);
	return error;
}

static int is_there(struct fs *fs, const char *path, bool *ret)
{
	uint64_t size;

	return size_of(fs, path, ret, &size);
}

enum store_result store_sqlite_suspect(struct fs *fs)
{
	struct file *f;
	int error = fs->ops->open(fs, STORE_SUSPECT, FS_WRITE | FS_CREATE, &f);

	if (error == EEXIST)
		return STORE_OK;
	if (error)
		return result_of(error);
	f->ops->close(f);
	return result_of(fs->ops->sync_dir(fs, ""));
}

enum store_result store_sqlite_is_suspect(struct fs *fs, bool *ret)
{
	return result_of(is_there(fs, STORE_SUSPECT, ret));
}

struct places {
	struct fs *fs;
	size_t n;
	char unfinished[SALVAGE_FOLDER_SIZE]; /* left by a salvage that did not come to its end; or empty */
	int error;
};

static bool is_not_empty(void *arg, const char *name)
{
	(void)name;
	*(bool *)arg = false;
	return false;
}

static bool look_at_place(void *arg, const char *name)
{
	struct places *p = arg;
	struct path folder, path;
	bool empty = true, begun = false;

	snprintf(folder.text, sizeof folder.text, SALVAGE_QUARANTINE "/%s", name);
	snprintf(path.text, sizeof path.text, SALVAGE_QUARANTINE "/%s/" NEW, name);
	p->error = p->fs->ops->list(p->fs, folder.text, is_not_empty, &empty);
	if (!p->error)
		p->error = is_there(p->fs, path.text, &begun);
	if (p->error == ENOENT || p->error == ENOTDIR)
		p->error = 0;
	else if (!p->error && (empty || begun) && strlen(folder.text) < sizeof p->unfinished)
		snprintf(p->unfinished, sizeof p->unfinished, "%s", folder.text);
	p->n++;
	return !p->error;
}

/* What an earlier salvage left there is made anew; bodies that it moved there stay. */
static int clear_place(struct salvager *s)
{
	static const char *const names[] = {NEW, NEW "-journal", WORK, WORK "-wal", WORK "-shm"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int error = s->config->fs->ops->unlink(s->config->fs, in_place(s, names[i]).text);
		if (error && error != ENOENT)
			return error;
	}
	return 0;
}

static enum store_result make_place(struct salvager *s)
{
	struct fs *fs = s->config->fs;
	struct places places = {.fs = fs};
	int error = fs->ops->mkdir(fs, SALVAGE_QUARANTINE);

	if (!error)
		error = fs->ops->list(fs, SALVAGE_QUARANTINE, look_at_place, &places);
	if (!error)
		error = places.error;
	snprintf(s->folder, sizeof s->folder, SALVAGE_QUARANTINE "/%s", mail_date_iso(s->config->wall).text);
	if (places.unfinished[0])
		snprintf(s->folder, sizeof s->folder, "%s", places.unfinished);
	snprintf(s->done->place, sizeof s->done->place, "%s", s->folder);
	if (!error && places.unfinished[0])
		error = clear_place(s);
	if (!error && !places.unfinished[0] && places.n >= PLACES_MAX) {
		buf_printf(s->why, "%s: %d databases are there already: the disk or the memory is broken",
			   SALVAGE_QUARANTINE, PLACES_MAX);
		return STORE_IO;
	}
	if (!error)
		error = fs->ops->mkdir(fs, s->folder);
	if (!error)
		error = fs->ops->sync_dir(fs, SALVAGE_QUARANTINE);
	if (!error)
		error = fs->ops->sync_dir(fs, "");
	return error ? fail(s, s->folder, error) : STORE_OK;
}

/* ---- the last step -------------------------------------------------------------------------------------------- */

static int move(struct fs *fs, const char *folder, const char *name, const char *suffix)
{
	struct path from, to;

	snprintf(from.text, sizeof from.text, "%s%s", name, suffix);
	snprintf(to.text, sizeof to.text, "%s/%s%s", folder, name, suffix);
	int error = fs->ops->rename(fs, from.text, to.text);
	return error == ENOENT ? 0 : error;
}

static int finish_in(struct fs *fs, const char *folder)
{
	static const char *const work[] = {WORK, WORK "-wal"};
	struct path path;
	int error = move(fs, folder, DATABASE, "");

	if (!error)
		error = move(fs, folder, DATABASE, "-wal");
	if (!error)
		error = move(fs, folder, DATABASE, "-journal");
	if (!error)
		error = fs->ops->sync_dir(fs, folder);
	snprintf(path.text, sizeof path.text, "%s/" READY, folder);
	if (!error)
		error = fs->ops->rename(fs, path.text, DATABASE);
	if (error)
		return error;
	(void)fs->ops->unlink(fs, STORE_SUSPECT);
	for (size_t i = 0; i < sizeof work / sizeof *work; i++) {
		snprintf(path.text, sizeof path.text, "%s/%s", folder, work[i]);
		(void)fs->ops->unlink(fs, path.text);
	}
	error = fs->ops->sync_dir(fs, "");
	return error ? error : fs->ops->sync_dir(fs, folder);
}

struct find_ready {
	struct fs *fs;
	struct path folder;
	bool found;
	int error;
};

static bool is_ready(void *arg, const char *name)
{
	struct find_ready *f = arg;
	struct path path;

	snprintf(f->folder.text, sizeof f->folder.text, SALVAGE_QUARANTINE "/%s", name);
	snprintf(path.text, sizeof path.text, SALVAGE_QUARANTINE "/%s/" READY, name);
	f->error = is_there(f->fs, path.text, &f->found);
	if (f->error == ENOTDIR)
		f->error = 0;
	return !f->found && !f->error;
}

enum store_result store_sqlite_salvage_finish(struct fs *fs)
{
	struct find_ready f = {.fs = fs};
	int error = fs->ops->list(fs, SALVAGE_QUARANTINE, is_ready, &f);

	if (!error)
		error = f.error;
	if (error == ENOENT || (!error && !f.found))
		return STORE_OK;
	return result_of(error ? error : finish_in(fs, f.folder.text));
}

/* ---- the new database ----------------------------------------------------------------------------------------- */

static enum store_result sqlite_path(const struct salvager *s, const char *name, struct buf *out)
{
	buf_init(out, 8192);
	buf_add(out, buf_slice(&s->prefix));
	buf_printf(out, "%s", name);
	return buf_cstr(out) ? STORE_OK : STORE_NO_MEMORY;
}

static enum store_result connect(struct salvager *s, struct sqlite_store *to, const char *name, int flags)
{
	struct buf path;
	enum store_result result = sqlite_path(s, name, &path);

	if (!result)
		result = sqlite_result(to, sqlite3_open_v2(buf_cstr(&path), &to->db,
							   flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
							   s->config->vfs));
	buf_free(&path);
	if (!result)
		sqlite3_extended_result_codes(to->db, 1);
	return result;
}

/* It is synced by its only commit; when the power goes before that, another is made. */
static enum store_result make_new(struct salvager *s)
{
	static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = MEMORY;"
				       "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;";
	struct path path = in_place(s, NEW);
	enum store_result result = connect(s, &s->to, path.text, SQLITE_OPEN_CREATE);

	if (!result)
		result = sqlite_exec(&s->to, settings);
	if (!result)
		result = sqlite_schema_create(&s->to);
	if (!result)
		result = sqlite_prepare_all(&s->to);
	if (!result)
		result = sqlite_exec(&s->to, "BEGIN; CREATE TABLE candidate (id INTEGER PRIMARY KEY)");
	for (int i = 0; i < SALVAGE_TABLES && !result; i++)
		result = sqlite_result(&s->to, sqlite3_prepare_v2(s->to.db, tables[i].write, -1, &s->write[i], NULL));
	return result;
}

/* ---- the damaged one ------------------------------------------------------------------------------------------ */

static enum store_result connect_damaged(struct salvager *s, const char *name)
{
	static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF;"
				       "PRAGMA temp_store = MEMORY; PRAGMA query_only = ON;";
	enum store_result result = connect(s, &s->from, name, 0);

	if (result)
		return result;
	sqlite3_db_config(s->from.db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(s->from.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return sqlite_exec(&s->from, settings);
}

enum store_result salvage_read(int rc)
{
	if (rc == SQLITE_IOERR_NOMEM)
		return STORE_NO_MEMORY;
	switch (rc & 0xff) {
	case SQLITE_NOMEM:
		return STORE_NO_MEMORY;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return STORE_LOCKED;
	case SQLITE_IOERR:
		/* A file that ends too early, and a file system that knows that the octets are wrong, are damage. */
		return rc == SQLITE_IOERR_SHORT_READ || rc == SQLITE_IOERR_CORRUPTFS ? STORE_OK : STORE_IO;
	case SQLITE_FULL:
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
		return STORE_IO;
	default:
		return STORE_OK;
	}
}

static enum store_result has_our_tables(struct salvager *s, bool *ret)
{
	*ret = true;
	for (int i = 0; i < SALVAGE_TABLES && *ret; i++) {
		sqlite3_stmt *stmt = NULL;
		int rc = sqlite3_prepare_v2(s->from.db, tables[i].read, -1, &stmt, NULL);
		int missing = sqlite3_bind_parameter_count(s->write[i]) - sqlite3_column_count(stmt);
		sqlite3_finalize(stmt);
		if (salvage_read(rc))
			return salvage_read(rc);
		*ret = rc == SQLITE_OK && (missing == 0 || missing == tables[i].older);
	}
	return STORE_OK;
}

/* A number out of the damaged database. *ret_known: it could be read. */
static enum store_result ask_damaged(struct salvager *s, const char *sql, int64_t *ret, bool *ret_known)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(s->from.db, sql, -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	*ret = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
	*ret_known &= rc == SQLITE_ROW;
	sqlite3_finalize(stmt);
	return salvage_read(rc);
}

/* A database that can be read, and has nothing of ours in it. */
static enum store_result is_foreign(struct salvager *s, bool *ret)
{
	int64_t application, objects = 0, ours = 0;
	bool known = true;
	enum store_result result = ask_damaged(s, "SELECT count(*) FROM sqlite_schema", &objects, &known);

	if (!result)
		result = ask_damaged(s, "PRAGMA application_id", &application, &known);
	if (!result)
		result = ask_damaged(s,
				     "SELECT count(*) FROM sqlite_schema WHERE name IN"
				     " ('state', 'message', 'recipient', 'body', 'history', 'turn', 'lane')",
				     &ours, &known);
	*ret = !result && known && application != STORE_APPLICATION_ID && objects > 0 && ours < 7;
	return result;
}

static enum store_result copy_rest(struct salvager *s, struct file *from, struct file *to, uint64_t at)
{
	size_t n = 1;
	int error = 0;

	while (n > 0 && !error) {
		error = from->ops->read(from, at, s->piece, PIECE, &n);
		if (!error && n > 0)
			error = to->ops->write(to, slice_of(s->piece, n));
		at += n;
	}
	return error ? fail(s, "a copy of the damaged database", error) : STORE_OK;
}

/* The first page of the new database, as the damaged one would have it. *ret_size: of that one, in whole pages, and at
 * least so long that every root has its page. */
static enum store_result first_page(struct salvager *s, uint64_t size, char page[PAGE], uint64_t *ret_size)
{
	struct fs *fs = s->config->fs;
	struct file *f;
	uint64_t least = 0;
	size_t n = 0;
	int error = fs->ops->open(fs, in_place(s, NEW).text, FS_READ, &f);

	if (!error) {
		error = f->ops->size(f, &least);
		if (!error)
			error = f->ops->read(f, 0, page, PAGE, &n);
		f->ops->close(f);
	}
	if (!error && n != PAGE)
		error = EIO;
	if (error)
		return fail(s, NEW, error);
	*ret_size = ((size > least ? size : least) + PAGE - 1) / PAGE * PAGE;
	page[HEADER_WRITE_VERSION] = page[HEADER_WRITE_VERSION + 1] = 2;
	for (int i = 0; i < 4; i++)
		page[HEADER_PAGES + i] = (char)(*ret_size / PAGE >> (8 * (3 - i)) & 0xff);
	return STORE_OK;
}

static enum store_result pad(struct salvager *s, struct file *to, uint64_t from, uint64_t size)
{
	int error = 0;

	memset(s->piece, 0, PIECE);
	while (from < size && !error) {
		size_t n = size - from < PIECE ? (size_t)(size - from) : PIECE;
		error = to->ops->write(to, slice_of(s->piece, n));
		from += n;
	}
	return error ? fail(s, "a copy of the damaged database", error) : STORE_OK;
}

/* The damaged database with another first page; that alone when there is none. */
static enum store_result copy_mended(struct salvager *s, struct file *from, struct file *to)
{
	char page[PAGE];
	uint64_t size = 0, whole;
	int error = from ? from->ops->size(from, &size) : 0;

	if (error)
		return fail(s, DATABASE, error);
	enum store_result result = first_page(s, size, page, &whole);
	error = result ? 0 : to->ops->write(to, slice_of(page, PAGE));
	if (error)
		return fail(s, "a copy of the damaged database", error);
	if (!result && size > PAGE)
		result = copy_rest(s, from, to, PAGE);
	return result ? result : pad(s, to, size > PAGE ? size : PAGE, whole);
}

static enum store_result copy_as_work(struct salvager *s, const char *name, const char *work, bool mend)
{
	struct fs *fs = s->config->fs;
	struct file *from = NULL, *to = NULL;
	int error = fs->ops->open(fs, name, FS_READ, &from);

	if (error)
		from = NULL;
	if (error == ENOENT && !mend)
		return STORE_OK;
	if (!error || error == ENOENT)
		error = fs->ops->open(fs, in_place(s, work).text, FS_WRITE | FS_CREATE, &to);
	enum store_result result = error ? fail(s, name, error) : STORE_OK;
	if (!result)
		result = mend ? copy_mended(s, from, to) : copy_rest(s, from, to, 0);
	if (from)
		from->ops->close(from);
	if (to)
		to->ops->close(to);
	return result;
}

static enum store_result mend_first_page(struct salvager *s)
{
	enum store_result result;

	sqlite3_close(s->from.db);
	s->from.db = NULL;
	result = copy_as_work(s, DATABASE, WORK, true);
	if (!result)
		result = copy_as_work(s, DATABASE "-wal", WORK "-wal", false);
	if (result)
		return result;
	result = connect_damaged(s, in_place(s, WORK).text);
	/* If that was not enough, nothing is found in it: told by the totals. */
	return result == STORE_CORRUPT ? STORE_OK : result;
}

static enum store_result open_damaged(struct salvager *s)
{
	bool there, foreign = false, ours = false;
	uint64_t size;
	int error = size_of(s->config->fs, DATABASE, &there, &size);
	enum store_result result = error ? fail(s, DATABASE, error) : STORE_OK;

	/* An empty one is left as it is, and so is its log, which SQLite would remove. */
	there = size > 0;
	if (!result && there)
		result = connect_damaged(s, DATABASE);
	if (!result && there)
		result = is_foreign(s, &foreign);
	if (!result && foreign) {
		buf_printf(s->why, "%s: this database is not Postrider's", s->config->path);
		return STORE_CORRUPT;
	}
	if ((!result || result == STORE_CORRUPT) && there)
		result = has_our_tables(s, &ours);
	if (result && result != STORE_CORRUPT)
		return result;
	result = ours ? STORE_OK : mend_first_page(s);
	for (int i = 0; i < SALVAGE_TABLES && !result; i++)
		result = salvage_read(sqlite3_prepare_v2(s->from.db, tables[i].read, -1, &s->read[i], NULL));
	return result;
}

/* ---- which messages there are --------------------------------------------------------------------------------- */

static enum store_result gather(struct salvager *s, const char *sql)
{
	sqlite3_stmt *in = NULL, *out = NULL;
	enum store_result result = sqlite_result(
		&s->to, sqlite3_prepare_v2(s->to.db, "INSERT OR IGNORE INTO candidate VALUES (?)", -1, &out, NULL));

	int rc = result ? SQLITE_OK : sqlite3_prepare_v2(s->from.db, sql, -1, &in, NULL);

	if (!result)
		result = salvage_read(rc);
	while (!result && in && (rc = sqlite3_step(in)) == SQLITE_ROW) { /* as far as it goes */
		int64_t id = sqlite3_column_int64(in, 0);
		if (id < 1 || id > (int64_t)MSG_ID_MAX)
			continue;
		sqlite3_bind_int64(out, 1, id);
		result = sqlite_result(&s->to, sqlite3_step(out));
		sqlite3_reset(out);
	}
	if (!result)
		result = salvage_read(rc);
	sqlite3_finalize(in);
	sqlite3_finalize(out);
	return result;
}

static enum store_result gather_all(struct salvager *s)
{
	static const char *const queries[] = {
		"SELECT id FROM message ORDER BY id",
		"SELECT id FROM message ORDER BY id DESC",
		"SELECT id FROM body ORDER BY id",
		"SELECT id FROM body ORDER BY id DESC",
		"SELECT msg FROM recipient ORDER BY msg, n",
		"SELECT msg FROM recipient ORDER BY msg DESC, n DESC",
		"SELECT msg FROM history ORDER BY msg, seq",
		"SELECT msg FROM history ORDER BY msg DESC, seq DESC",
		"SELECT msg FROM recipient INDEXED BY recipient_due WHERE state = 0 ORDER BY site, flow, due",
		("SELECT msg FROM recipient INDEXED BY recipient_due WHERE state = 0"
		 " ORDER BY site DESC, flow DESC, due DESC"),
		"SELECT msg FROM recipient INDEXED BY recipient_claimed WHERE state = 1 ORDER BY owner",
		"SELECT id FROM message INDEXED BY message_finished WHERE finished IS NOT NULL ORDER BY finished",
	};
	enum store_result result = STORE_OK;

	for (size_t i = 0; i < sizeof queries / sizeof *queries && !result; i++)
		result = gather(s, queries[i]);
	return result;
}

/* ---- messages ------------------------------------------------------------------------------------------------ */

static enum store_result salvage_messages(struct salvager *s)
{
	msg_id id = 0;
	enum store_result result = STORE_OK;

	while (!result && (id = (msg_id)salvage_number(s, "SELECT min(id) FROM candidate WHERE id > ?", id)) != 0)
		result = salvage_message(s, id);
	return result;
}

/* ---- what is not a message ------------------------------------------------------------------------------------ */

/* The former row of state, as far as it makes sense. */
static enum store_result read_state(struct salvager *s, struct sqlite_state *ret, struct buf *clock)
{
	static const char sql[] = "SELECT owner, blocks, seq, now, clock FROM state";
	sqlite3_stmt *stmt = NULL;

	*ret = (struct sqlite_state){.blocks = 1};
	int rc = sqlite3_prepare_v2(s->from.db, sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		struct row r = row_read(stmt);
		struct sqlite_state found = {.owner = (uint64_t)read_int(&r, 0, INT64_MAX / 2)};
		found.blocks = (uint64_t)read_int(&r, 1, (int64_t)(BLOCKS_MAX - 2 * ID_GAP));
		found.seq = (uint64_t)read_int(&r, 0, INT64_MAX / 2);
		found.now = read_int(&r, 0, INT64_MAX / 2);
		struct slice text = read_text(&r, STORE_CLOCK_MAX);
		if (!r.bad && buf_add(clock, text))
			*ret = found;
	}
	sqlite3_finalize(stmt);
	return salvage_read(rc);
}

static enum store_result write_state(struct salvager *s)
{
	static const char sql[] =
		"UPDATE state SET"
		" owner = max(?1, (SELECT coalesce(max(owner), 0) FROM recipient)),"
		" blocks = max(?2, (SELECT coalesce(max(id), 0) FROM message) >> 20) + ?3,"
		" seq = max(?4, (SELECT coalesce(max(seq), 0) FROM history)),"
		" now = max(?5, (SELECT coalesce(max(max(arrived_queue, coalesce(finished, 0))), 0) FROM message)),"
		" waiting = (SELECT count(*) FROM recipient WHERE state = 0),"
		" claimed = (SELECT count(*) FROM recipient WHERE state = 1),"
		" held = (SELECT count(*) FROM recipient WHERE state = 2),"
		" delivered = (SELECT count(*) FROM recipient WHERE state = 3),"
		" failed = (SELECT count(*) FROM recipient WHERE state = 4),"
		" removed = (SELECT count(*) FROM recipient WHERE state = 5),"
		" clock = ?6";
	struct sqlite_state was;
	sqlite3_stmt *stmt = NULL;
	struct buf clock;

	buf_init(&clock, STORE_CLOCK_MAX);
	enum store_result result = read_state(s, &was, &clock);
	if (result) {
		buf_free(&clock);
		return result;
	}
	int rc = sqlite3_prepare_v2(s->to.db, sql, -1, &stmt, NULL);
	if (rc == SQLITE_OK) {
		const int64_t values[] = {(int64_t)was.owner, (int64_t)was.blocks, (int64_t)ID_GAP, (int64_t)was.seq,
					  was.now};
		for (int i = 0; i < 5; i++)
			sqlite3_bind_int64(stmt, i + 1, values[i]);
		struct slice text = buf_slice(&clock);
		sqlite3_bind_blob64(stmt, 6, text.n ? text.p : "", text.n, SQLITE_STATIC);
		rc = sqlite3_step(stmt);
	}
	sqlite3_finalize(stmt);
	buf_free(&clock);
	return sqlite_result(&s->to, rc);
}

static enum store_result write_turns(struct salvager *s)
{
	enum store_result result = sqlite_exec(
		&s->to,
		"INSERT INTO lane SELECT site, flow, min(due) FROM recipient WHERE state = 0 GROUP BY site, flow;"
		"INSERT INTO turn SELECT site, min(visit), 0 FROM lane GROUP BY site;");

	return result ? result : sqlite_exec(&s->to, "DROP TABLE candidate; COMMIT");
}

/* ---- bodies in files ------------------------------------------------------------------------------------------ */

struct unnamed {
	size_t n;
	struct path paths[MOVE_STEP];
	msg_id ids[MOVE_STEP];
};

static enum store_result file_is_named(void *arg, msg_id id, bool *ret)
{
	struct salvager *s = arg;
	struct row r = row_bind(&s->to, STORE_SQL_FILE_NAMED);

	bind_hash(&r, id);
	enum store_result result = row_step(&s->to, &r, ret);
	row_done(&r);
	return result;
}

static bool note_unnamed(void *arg, const char *path, msg_id id, bool named)
{
	struct unnamed *u = arg;

	if (id == 0 || named)
		return true;
	snprintf(u->paths[u->n].text, sizeof u->paths[u->n].text, "spool/%s", path);
	u->ids[u->n++] = id;
	return u->n < MOVE_STEP;
}

/* The next start would remove them. */
static enum store_result move_unnamed(struct salvager *s)
{
	struct fs *fs = s->config->fs;
	struct unnamed *u = heap_new(struct unnamed);
	enum store_result result = u ? STORE_OK : STORE_NO_MEMORY;

	do {
		if (!result) {
			u->n = 0;
			result = store_spool_each(fs, &(struct store_spool_cleaner){file_is_named, s}, note_unnamed, u);
		}
		for (size_t i = 0; !result && i < u->n; i++) {
			int error =
				fs->ops->rename(fs, u->paths[i].text, in_place(s, msg_id_format(u->ids[i]).text).text);
			result = error ? fail(s, u->paths[i].text, error) : STORE_OK;
			s->done->files += !result;
		}
	} while (!result && u->n == MOVE_STEP);
	heap_free(u);
	return result;
}

/* ---- all of it ------------------------------------------------------------------------------------------------ */

static void close_all(struct salvager *s)
{
	for (int i = 0; i < SALVAGE_TABLES; i++) {
		sqlite3_finalize(s->read[i]);
		sqlite3_finalize(s->write[i]);
		s->read[i] = s->write[i] = NULL;
	}
	sqlite_disconnect(&s->from);
	sqlite_disconnect(&s->to);
}

static enum store_result make_ready(struct salvager *s)
{
	struct fs *fs = s->config->fs;
	int error = fs->ops->rename(fs, in_place(s, NEW).text, in_place(s, READY).text);

	if (!error)
		error = fs->ops->sync_dir(fs, s->folder);
	if (!error)
		error = finish_in(fs, s->folder);
	return error ? fail(s, s->folder, error) : STORE_OK;
}

static enum store_result salvage(struct salvager *s)
{
	static enum store_result (*const steps[])(struct salvager * s) = {
		make_place,       make_new,    open_damaged, gather_all,
		salvage_messages, write_state, write_turns,  move_unnamed,
	};
	enum store_result result = STORE_OK;

	for (size_t i = 0; i < sizeof steps / sizeof *steps && !result; i++)
		result = steps[i](s);
	if (result && buf_len(s->why) == 0)
		buf_printf(s->why, "%s: its salvage: %s", s->config->path, store_result_text(result));
	close_all(s);
	return result ? result : make_ready(s);
}

enum store_result store_sqlite_salvage(const struct store_salvage_config *config, struct store_salvage *ret,
				       struct buf *why)
{
	struct salvager *s = heap_new(struct salvager);
	enum store_result result = STORE_NO_MEMORY;
	size_t length = strlen(config->path);

	assert(config->fs);
	assert(config->tell);
	assert(length >= sizeof DATABASE - 1);
	assert(strcmp(config->path + length - (sizeof DATABASE - 1), DATABASE) == 0);
	*ret = (struct store_salvage){0};
	if (s) {
		*s = (struct salvager){.config = config, .done = ret, .why = why, .piece = heap_alloc(PIECE)};
		buf_init(&s->prefix, 4096);
		crc32c_init(&s->to.crc);
	}
	if (s && s->piece && buf_add(&s->prefix, slice_of(config->path, length - (sizeof DATABASE - 1))))
		result = salvage(s);
	else
		buf_printf(why, "%s: %s", config->path, store_result_text(result));
	if (s) {
		heap_free(s->piece);
		buf_free(&s->prefix);
	}
	heap_free(s);
	return result;
}
