/*
 * SQLite's files on the simulated disk: an SQLite VFS, the default one, so that the product's own database runs there.
 */
#include "sim/disk.h"
#include "sim/machine.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#define PAGE  4096
#define STORE "/data/queue.db"

struct handle {
	sqlite3_file base; /* first */
	struct inode *inode;
	struct role_instance *role;
	unsigned life; /* of the role: a dead one's locks are gone */
	int lock, last_error;
	bool sync_name, log;
	char directory[64];
	struct handle *next;
};

/* The handles live in memory of SQLite's: those of roles that died are only known by a copy. */
struct lock {
	const struct handle *handle;
	const struct inode *inode;
	struct role_instance *role;
	unsigned life;
	int level;
	bool attached;        /* to the shared memory of its log, with a bit for each lock there: */
	unsigned shared, own; /* see vfs_shm_lock */
};
#define LOCKS_MAX 64
static struct lock locks[LOCKS_MAX];

/* The shared memory of a log (SQLite's -shm file), by the database that it is of. */
#define SHM_MAX     4
#define REGIONS_MAX 16
static struct shm {
	const struct inode *inode; /* NULL: the place is free */
	char *regions[REGIONS_MAX];
	int size;
} shms[SHM_MAX];

static struct handle *handle(sqlite3_file *f)
{
	return (struct handle *)f;
}

static int failed(struct handle *h, int error, int rc)
{
	h->last_error = error;
	return error == ENOSPC && rc == SQLITE_IOERR_WRITE ? SQLITE_FULL : rc;
}

static bool is_held(const struct lock *l)
{
	return l->handle && (!l->role || (l->role->alive && l->role->life == l->life));
}

static struct lock *lock_of(const struct handle *h)
{
	for (size_t i = 0; i < LOCKS_MAX; i++)
		if (is_held(&locks[i]) && locks[i].handle == h)
			return &locks[i];
	for (size_t i = 0; i < LOCKS_MAX; i++)
		if (!is_held(&locks[i])) {
			locks[i] = (struct lock){.handle = h, .inode = h->inode, .role = h->role, .life = h->life};
			return &locks[i];
		}
	return NULL;
}

static int vfs_close(sqlite3_file *f)
{
	struct lock *l = lock_of(handle(f));

	if (l)
		l->handle = NULL;
	return SQLITE_OK;
}

static int vfs_read(sqlite3_file *f, void *into, int n, sqlite3_int64 at)
{
	struct handle *h = handle(f);
	size_t got = 0;
	int error = disk_read(h->inode, (uint64_t)at, into, (size_t)n, &got);

	if (error)
		return failed(h, error, SQLITE_IOERR_READ);
	if (got == (size_t)n)
		return SQLITE_OK;
	memset((char *)into + got, 0, (size_t)n - got);
	return SQLITE_IOERR_SHORT_READ;
}

static int vfs_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	int error = disk_write(handle(f)->inode, (uint64_t)at, slice_of(p, (size_t)n));

	return error ? failed(handle(f), error, SQLITE_IOERR_WRITE) : SQLITE_OK;
}

static int vfs_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int error = disk_truncate(handle(f)->inode, (uint64_t)size);

	return error ? failed(handle(f), error, SQLITE_IOERR_TRUNCATE) : SQLITE_OK;
}

static int vfs_sync(sqlite3_file *f, int flags)
{
	struct handle *h = handle(f);
	int error = disk_sync(h->inode);

	(void)flags;
	if (!error && h->sync_name) {
		/* As SQLite's own VFS does: it does not take notice of a failure. */
		disk_sync_directory(h->directory);
		h->sync_name = false;
	}
	if (!error && h->log) {
		disk_log_synced();
		sim_trace(machine_running(), "(the log of the store is on the disk)");
	}
	return error ? failed(h, error, SQLITE_IOERR_FSYNC) : SQLITE_OK;
}

static int vfs_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	*ret = (sqlite3_int64)disk_size(handle(f)->inode);
	return SQLITE_OK;
}

static int vfs_lock(sqlite3_file *f, int level)
{
	struct handle *h = handle(f);
	struct lock *mine = lock_of(h);

	for (size_t i = 0; i < LOCKS_MAX; i++) {
		const struct lock *o = &locks[i];
		if (!is_held(o) || o->handle == h || o->inode != h->inode)
			continue;
		if ((level == SQLITE_LOCK_SHARED && o->level >= SQLITE_LOCK_PENDING) ||
		    (level >= SQLITE_LOCK_RESERVED && o->level >= SQLITE_LOCK_RESERVED) ||
		    (level == SQLITE_LOCK_EXCLUSIVE && o->level >= SQLITE_LOCK_SHARED))
			return SQLITE_BUSY;
	}
	if (!mine)
		return SQLITE_NOMEM;
	if (level > mine->level)
		mine->level = level;
	return SQLITE_OK;
}

static int vfs_unlock(sqlite3_file *f, int level)
{
	struct lock *mine = lock_of(handle(f));

	if (mine)
		mine->level = level;
	return SQLITE_OK;
}

static int vfs_check_reserved(sqlite3_file *f, int *ret)
{
	*ret = 0;
	for (size_t i = 0; i < LOCKS_MAX; i++)
		if (is_held(&locks[i]) && locks[i].inode == handle(f)->inode && locks[i].level >= SQLITE_LOCK_RESERVED)
			*ret = 1;
	return SQLITE_OK;
}

static int vfs_control(sqlite3_file *f, int op, void *arg)
{
	struct inode *i = handle(f)->inode;

	switch (op) {
	case SQLITE_FCNTL_LAST_ERRNO:
		*(int *)arg = handle(f)->last_error;
		return SQLITE_OK;
	case SQLITE_FCNTL_CHUNK_SIZE:
		return SQLITE_OK;
	case SQLITE_FCNTL_SIZE_HINT: {
		uint64_t size = (uint64_t)*(sqlite3_int64 *)arg;
		return size <= disk_size(i) ? SQLITE_OK : failed(handle(f), disk_extend(i, size), SQLITE_IOERR_WRITE);
	}
	default:
		return SQLITE_NOTFOUND;
	}
}

static int vfs_sector(sqlite3_file *f)
{
	(void)f;
	return PAGE;
}

static int vfs_characteristics(sqlite3_file *f)
{
	(void)f;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- shared memory ----------------------------------------------------------------------------------------------- */

static struct shm *shm_of(const struct inode *i)
{
	struct shm *free = NULL;

	for (size_t k = 0; k < SHM_MAX; k++) {
		if (shms[k].inode == i)
			return &shms[k];
		if (!shms[k].inode)
			free = &shms[k];
	}
	if (free)
		free->inode = i;
	return free;
}

static bool is_shared(const struct inode *i)
{
	for (size_t k = 0; k < LOCKS_MAX; k++)
		if (is_held(&locks[k]) && locks[k].inode == i && locks[k].attached)
			return true;
	return false;
}

/* Who comes first finds nothing in it: as SQLite's own VFS makes sure, so that a log is read anew after a crash. */
static int vfs_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **ret)
{
	struct handle *h = handle(f);
	struct lock *mine = lock_of(h);
	struct shm *m = shm_of(h->inode);

	*ret = NULL;
	if (!mine || !m || region >= REGIONS_MAX || sim_memory_fails((size_t)size))
		return SQLITE_IOERR_NOMEM;
	for (int i = 0; i < REGIONS_MAX && !is_shared(h->inode); i++)
		if (m->regions[i])
			memset(m->regions[i], 0, (size_t)m->size);
	mine->attached = true;
	m->size = size;
	if (!m->regions[region] && extend) {
		struct sim_heap *heap = sim_heap_use(NULL);
		m->regions[region] = sim_alloc((size_t)size);
		sim_heap_use(heap);
	}
	*ret = m->regions[region];
	return SQLITE_OK;
}

static int vfs_shm_lock(sqlite3_file *f, int first, int n, int flags)
{
	struct lock *mine = lock_of(handle(f));
	unsigned bits = ((1u << n) - 1) << first;

	if (!mine)
		return SQLITE_IOERR_NOMEM;
	if (flags & SQLITE_SHM_UNLOCK) {
		mine->shared &= ~bits;
		mine->own &= ~bits;
		return SQLITE_OK;
	}
	for (size_t i = 0; i < LOCKS_MAX; i++) {
		const struct lock *o = &locks[i];
		if (o == mine || !is_held(o) || o->inode != mine->inode)
			continue;
		if ((o->own | (flags & SQLITE_SHM_EXCLUSIVE ? o->shared : 0)) & bits)
			return SQLITE_BUSY;
	}
	*(flags & SQLITE_SHM_EXCLUSIVE ? &mine->own : &mine->shared) |= bits;
	return SQLITE_OK;
}

static void vfs_shm_barrier(sqlite3_file *f)
{
	(void)f;
}

static int vfs_shm_unmap(sqlite3_file *f, int gone)
{
	struct lock *mine = lock_of(handle(f));

	(void)gone;
	if (mine) {
		mine->attached = false;
		mine->shared = mine->own = 0;
	}
	return SQLITE_OK;
}

static const sqlite3_io_methods io_methods = {
	.iVersion = 2,
	.xShmMap = vfs_shm_map,
	.xShmLock = vfs_shm_lock,
	.xShmBarrier = vfs_shm_barrier,
	.xShmUnmap = vfs_shm_unmap,
	.xClose = vfs_close,
	.xRead = vfs_read,
	.xWrite = vfs_write,
	.xTruncate = vfs_truncate,
	.xSync = vfs_sync,
	.xFileSize = vfs_size,
	.xLock = vfs_lock,
	.xUnlock = vfs_unlock,
	.xCheckReservedLock = vfs_check_reserved,
	.xFileControl = vfs_control,
	.xSectorSize = vfs_sector,
	.xDeviceCharacteristics = vfs_characteristics,
};

static void directory_of(const char *path, char out[64])
{
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	if (n > 63)
		n = 63;
	memcpy(out, path, n);
	out[n] = '\0';
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct handle *h = handle(f);
	int error = 0;
	struct inode *i = name ? disk_find(name, flags & SQLITE_OPEN_CREATE, &error) : disk_temporary();

	(void)vfs;
	memset(h, 0, sizeof *h);
	if (!i)
		return SQLITE_CANTOPEN;
	h->inode = i;
	h->role = machine_current();
	h->life = h->role ? h->role->life : 0;
	if (name)
		directory_of(name, h->directory);
	h->log = flags & SQLITE_OPEN_WAL && name && strncmp(name, STORE, sizeof STORE - 1) == 0;
	h->sync_name = flags & SQLITE_OPEN_CREATE && flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL);
	h->base.pMethods = &io_methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	char directory[64];
	int error = disk_unlink(name);

	(void)vfs;
	if (error == ENOENT)
		return SQLITE_IOERR_DELETE_NOENT;
	directory_of(name, directory);
	if (!error && sync)
		error = disk_sync_directory(directory);
	return error ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	(void)vfs;
	(void)flags;
	*ret = disk_content(name).p != NULL;
	return SQLITE_OK;
}

static int vfs_full_path(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	(void)vfs;
	sqlite3_snprintf(n, out, "%s", name);
	return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs;
	for (int i = 0; i < n; i++)
		out[i] = (char)sim_random();
	return n;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	kernel_spend(us);
	return us;
}

static int vfs_current_time(sqlite3_vfs *vfs, double *ret)
{
	(void)vfs;
	*ret = 2440587.5 + (double)sim_wall() / 86400000.0;
	return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
	(void)vfs;
	(void)n;
	(void)out;
	return 0;
}

void disk_vfs(void)
{
	static sqlite3_vfs vfs = {
		.iVersion = 1,
		.szOsFile = sizeof(struct handle),
		.mxPathname = 500,
		.zName = "sim",
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full_path,
		.xRandomness = vfs_randomness,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_current_time,
		.xGetLastError = vfs_last_error,
	};

	sqlite3_vfs_register(&vfs, 1);
	sqlite3_randomness(0, NULL);
}
