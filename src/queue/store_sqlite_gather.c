#include "queue/store_sqlite_gather.h"

#include "base/heap.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* A file of ours; the real one lies behind it, in the same memory. */
struct file {
	sqlite3_file file; /* first: SQLite knows this */
	char *waiting;     /* GATHER_MAX octets; NULL until the first write */
	size_t n;          /* octets that wait */
	sqlite3_int64 at;  /* where they go */
	bool is_log;
	sqlite3_int64 room; /* of a log: so far its end was moved ahead */
};

static struct sqlite_gather *gather_of(sqlite3_vfs *vfs)
{
	return (struct sqlite_gather *)vfs;
}

static struct file *file_of(sqlite3_file *f)
{
	return (struct file *)f;
}

static sqlite3_file *real(sqlite3_file *f)
{
	return (sqlite3_file *)(void *)(file_of(f) + 1);
}

/*
 * The log grows by GATHER_ROOM at one time. A sync of octets within a file is one write of the device; when each moves
 * the file's end as well, the file system commits that, too. The octets behind the last commit are no frames: their
 * checksums do not follow from those before. Where there is no room ahead, the log grows as it is written.
 */
static void make_room(sqlite3_file *f)
{
	struct file *g = file_of(f);
	sqlite3_int64 end = g->at + (sqlite3_int64)g->n;
	int step = GATHER_ROOM;

	if (!g->is_log || end <= g->room)
		return;
	g->room = (end / GATHER_ROOM + 1) * GATHER_ROOM;
	if (real(f)->pMethods->xFileControl(real(f), SQLITE_FCNTL_CHUNK_SIZE, &step) == SQLITE_OK)
		(void)real(f)->pMethods->xFileControl(real(f), SQLITE_FCNTL_SIZE_HINT, &g->room);
}

/* What waits is written, or lost with an error: only where SQLite heeds what we return, so neither when it gives hints
 * nor when it unlocks. */
static int put_out(sqlite3_file *f)
{
	struct file *g = file_of(f);
	size_t n = g->n;

	if (n == 0)
		return SQLITE_OK;
	make_room(f);
	g->n = 0;
	return real(f)->pMethods->xWrite(real(f), g->waiting, (int)n, g->at);
}

static int gather_close(sqlite3_file *f)
{
	int put = put_out(f);
	int rc = real(f)->pMethods->xClose(real(f));

	heap_free(file_of(f)->waiting);
	file_of(f)->waiting = NULL;
	return put != SQLITE_OK ? put : rc;
}

static int gather_read(sqlite3_file *f, void *into, int n, sqlite3_int64 at)
{
	const struct file *g = file_of(f);
	bool apart = g->n == 0 || at >= g->at + (sqlite3_int64)g->n || at + n <= g->at;
	/* Past the end means past what waits, too. */
	bool behind = g->n > 0 && at + n > g->at;

	if (!apart || behind) {
		int rc = put_out(f);
		if (rc != SQLITE_OK)
			return rc;
	}
	return real(f)->pMethods->xRead(real(f), into, n, at);
}

static int gather_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	struct file *g = file_of(f);
	size_t size = (size_t)n;

	assert(n >= 0);
	if (g->n > 0 && (at != g->at + (sqlite3_int64)g->n || size > GATHER_MAX - g->n)) {
		int rc = put_out(f);
		if (rc != SQLITE_OK)
			return rc;
	}
	if (!g->waiting)
		g->waiting = heap_alloc(GATHER_MAX);
	if (!g->waiting || size > GATHER_MAX)
		return real(f)->pMethods->xWrite(real(f), p, n, at);
	if (g->n == 0)
		g->at = at;
	memcpy(g->waiting + g->n, p, size);
	g->n += size;
	return SQLITE_OK;
}

static int gather_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = put_out(f);

	file_of(f)->room = 0;
	return rc != SQLITE_OK ? rc : real(f)->pMethods->xTruncate(real(f), size);
}

static int gather_sync(sqlite3_file *f, int flags)
{
	int rc = put_out(f);

	return rc != SQLITE_OK ? rc : real(f)->pMethods->xSync(real(f), flags);
}

static int gather_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	int rc = put_out(f);

	return rc != SQLITE_OK ? rc : real(f)->pMethods->xFileSize(real(f), ret);
}

static int gather_lock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xLock(real(f), level);
}

static int gather_unlock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xUnlock(real(f), level);
}

static int gather_check_lock(sqlite3_file *f, int *ret)
{
	return real(f)->pMethods->xCheckReservedLock(real(f), ret);
}

static int gather_control(sqlite3_file *f, int op, void *arg)
{
	return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int gather_sector(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}

static int gather_characteristics(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

/* Version 1: no shared memory, which the store's exclusive locking does not need, and no mapping, which would not see
 * what waits. */
static const sqlite3_io_methods methods = {
	.iVersion = 1,
	.xClose = gather_close,
	.xRead = gather_read,
	.xWrite = gather_write,
	.xTruncate = gather_truncate,
	.xSync = gather_sync,
	.xFileSize = gather_size,
	.xLock = gather_lock,
	.xUnlock = gather_unlock,
	.xCheckReservedLock = gather_check_lock,
	.xFileControl = gather_control,
	.xSectorSize = gather_sector,
	.xDeviceCharacteristics = gather_characteristics,
};

/* ---- the VFS */

static int gather_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	sqlite3_vfs *base = gather_of(vfs)->base;

	*file_of(f) = (struct file){.is_log = flags & SQLITE_OPEN_WAL};
	int rc = base->xOpen(base, name, real(f), flags, ret_flags);
	/* A file that was not opened may still want to be closed: its methods tell. */
	f->pMethods = real(f)->pMethods ? &methods : NULL;
	return rc;
}

static int gather_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	sqlite3_vfs *base = gather_of(vfs)->base;

	return base->xDelete(base, name, sync);
}

static int gather_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	sqlite3_vfs *base = gather_of(vfs)->base;

	return base->xAccess(base, name, flags, ret);
}

static int gather_path(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
	sqlite3_vfs *base = gather_of(vfs)->base;

	if (name[0] == '/')
		return base->xFullPathname(base, name, size, ret);
	/* From the directory that we are in, which we may not be allowed to reach by its whole path. */
	return (size_t)snprintf(ret, (size_t)size, "%s", name) < (size_t)size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int gather_randomness(sqlite3_vfs *vfs, int n, char *ret)
{
	sqlite3_vfs *base = gather_of(vfs)->base;

	return base->xRandomness(base, n, ret);
}

static int gather_sleep(sqlite3_vfs *vfs, int us)
{
	sqlite3_vfs *base = gather_of(vfs)->base;

	return base->xSleep(base, us);
}

static int gather_time(sqlite3_vfs *vfs, double *ret)
{
	sqlite3_vfs *base = gather_of(vfs)->base;

	return base->xCurrentTime(base, ret);
}

static int gather_error(sqlite3_vfs *vfs, int n, char *ret)
{
	sqlite3_vfs *base = gather_of(vfs)->base;

	return base->xGetLastError ? base->xGetLastError(base, n, ret) : 0;
}

bool gather_init(struct sqlite_gather *g, const char *base)
{
	*g = (struct sqlite_gather){.base = sqlite3_vfs_find(base)};
	if (!g->base)
		return false;
	/* Several stores may be open in one process: each has its own. */
	sqlite3_snprintf(sizeof g->name, g->name, "postrider-gather-%p", (void *)g);
	g->vfs = (sqlite3_vfs){
		.iVersion = 1,
		.szOsFile = (int)sizeof(struct file) + g->base->szOsFile,
		.mxPathname = g->base->mxPathname,
		.zName = g->name,
		.xOpen = gather_open,
		.xDelete = gather_delete,
		.xAccess = gather_access,
		.xFullPathname = gather_path,
		.xRandomness = gather_randomness,
		.xSleep = gather_sleep,
		.xCurrentTime = gather_time,
		.xGetLastError = gather_error,
	};
	return sqlite3_vfs_register(&g->vfs, 0) == SQLITE_OK;
}

void gather_done(struct sqlite_gather *g)
{
	if (g->base)
		sqlite3_vfs_unregister(&g->vfs);
	g->base = NULL;
}
