#include "test.h"

#include "ram_disk.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>

#define ENTRIES   400
#define PATH_SIZE 128
#define SECTOR    512
#define PAGE      4096
#define FILE_MAX  (4096 * PAGE)

struct image {
	unsigned char *p;
	size_t n, cap;
};

struct inode {
	struct image now, durable;
	unsigned char dirty[FILE_MAX / PAGE]; /* pages that the next sync writes */
	struct inode *next;
};

struct entry {
	char path[PATH_SIZE];
	bool directory;
	struct inode *now, *durable; /* NULL = there is no such name */
};

struct ram_disk {
	struct fs fs; /* first */
	struct ram_fault fault;
	uint64_t space;
	unsigned life; /* grows with each crash */
	bool takes_back;
	uint64_t random;
	struct entry entries[ENTRIES];
	size_t entry_count;
	struct inode *inodes;
	struct ram_handle *handles;
	struct inode directory; /* stands for any */
	sqlite3_vfs vfs;
};

struct ram_file {
	struct file file; /* first */
	struct ram_disk *d;
	struct inode *inode;
	unsigned life;
};

struct ram_handle {
	sqlite3_file base; /* first */
	struct ram_disk *d;
	struct inode *inode;
	unsigned life;
	int lock, last_error;
	bool sync_name;
	char path[PATH_SIZE];
	struct ram_handle *next;
};

/* ---- images and names */

static uint64_t random_next(struct ram_disk *d)
{
	d->random ^= d->random << 13;
	d->random ^= d->random >> 7;
	d->random ^= d->random << 17;
	return d->random;
}

static void image_size(struct image *m, size_t n)
{
	assert(n <= FILE_MAX);
	if (n > m->cap) {
		m->cap = n * 2;
		m->p = realloc(m->p, m->cap);
	}
	if (n > m->n)
		memset(m->p + m->n, 0, n - m->n);
	m->n = n;
}

static int fault_hit(struct ram_disk *d, unsigned op)
{
	struct ram_fault *f = &d->fault;

	if (!(f->ops & op) || f->times == 0)
		return 0;
	if (f->after > 0) {
		f->after--;
		return 0;
	}
	if (f->times > 0)
		f->times--;
	bool spared = f->spared & 1;
	f->spared >>= 1;
	return spared ? 0 : f->error;
}

static struct inode *inode_new(struct ram_disk *d)
{
	struct inode *i = calloc(1, sizeof *i);

	i->next = d->inodes;
	return d->inodes = i;
}

static struct entry *find(struct ram_disk *d, const char *path)
{
	for (size_t i = 0; i < d->entry_count; i++)
		if (strcmp(d->entries[i].path, path) == 0)
			return &d->entries[i];
	return NULL;
}

static struct entry *find_or_add(struct ram_disk *d, const char *path)
{
	struct entry *e = find(d, path);

	if (e)
		return e;
	assert(d->entry_count < ENTRIES);
	assert(strlen(path) < PATH_SIZE);
	e = &d->entries[d->entry_count++];
	*e = (struct entry){0};
	memcpy(e->path, path, strlen(path) + 1);
	return e;
}

static size_t parent_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

static bool is_in(const char *path, const char *directory)
{
	size_t n = parent_length(path);

	return n == strlen(directory) && memcmp(path, directory, n) == 0;
}

static bool parent_exists(struct ram_disk *d, const char *path)
{
	char parent[PATH_SIZE];
	size_t n = parent_length(path);

	if (n == 0)
		return true;
	memcpy(parent, path, n);
	parent[n] = '\0';
	struct entry *e = find(d, parent);
	return e && e->now;
}

static int sync_names(struct ram_disk *d, const char *directory)
{
	int error = fault_hit(d, RAM_SYNC_DIR);

	if (error)
		return error;
	for (size_t i = 0; i < d->entry_count; i++)
		if (is_in(d->entries[i].path, directory))
			d->entries[i].durable = d->entries[i].now;
	return 0;
}

/* ---- what both faces do with an inode */

static int inode_write(struct ram_disk *d, struct inode *i, size_t at, const void *p, size_t n)
{
	int error = fault_hit(d, RAM_WRITE);

	if (at + n > FILE_MAX)
		return EFBIG;
	if (error)
		n /= 2; /* a short write stays behind */
	if (at + n > i->now.n)
		image_size(&i->now, at + n);
	if (n)
		memcpy(i->now.p + at, p, n);
	for (size_t page = at / PAGE; n && page <= (at + n - 1) / PAGE; page++)
		i->dirty[page] = 1;
	return error;
}

static int inode_sync(struct ram_disk *d, struct inode *i)
{
	int error = fault_hit(d, RAM_SYNC);

	if (!error)
		image_size(&i->durable, i->now.n);
	for (size_t page = 0; page * PAGE < i->now.n; page++) {
		size_t n = i->now.n - page * PAGE < PAGE ? i->now.n - page * PAGE : PAGE;
		if (i->dirty[page] && !error)
			memcpy(i->durable.p + page * PAGE, i->now.p + page * PAGE, n);
	}
	memset(i->dirty, 0, sizeof i->dirty);
	if (error && d->takes_back) {
		image_size(&i->now, i->durable.n);
		if (i->durable.n)
			memcpy(i->now.p, i->durable.p, i->durable.n);
	}
	return error;
}

/* ---- struct fs */

static struct ram_disk *disk(struct fs *fs)
{
	return (struct ram_disk *)fs;
}

static int ram_write(struct file *f, struct slice data)
{
	struct ram_file *r = (struct ram_file *)f;

	return r->life == r->d->life ? inode_write(r->d, r->inode, r->inode->now.n, data.p, data.n) : EIO;
}

static int ram_read(struct file *f, uint64_t offset, char *into, size_t n, size_t *ret)
{
	struct ram_file *r = (struct ram_file *)f;
	int error = r->life == r->d->life ? fault_hit(r->d, RAM_READ) : EIO;
	size_t size = r->inode->now.n;

	if (error)
		return error;
	*ret = offset >= size ? 0 : size - offset < n ? size - offset : n;
	if (*ret)
		memcpy(into, r->inode->now.p + offset, *ret);
	return 0;
}

static int ram_size(struct file *f, uint64_t *ret)
{
	*ret = ((struct ram_file *)f)->inode->now.n;
	return 0;
}

static int ram_sync(struct file *f)
{
	struct ram_file *r = (struct ram_file *)f;

	return r->life == r->d->life ? inode_sync(r->d, r->inode) : EIO;
}

static void ram_close(struct file *f)
{
	free(f);
}

static const struct file_ops file_ops = {ram_write, ram_read, ram_size, ram_sync, ram_close};

static int ram_open(struct fs *fs, const char *path, unsigned flags, struct file **ret)
{
	struct ram_disk *d = disk(fs);
	struct entry *e = find(d, path);

	if (flags & FS_CREATE) {
		int error = fault_hit(d, RAM_CREATE);
		if (error)
			return error;
		if (!parent_exists(d, path))
			return ENOENT;
		if (e && e->now)
			return EEXIST;
		e = find_or_add(d, path);
		e->now = inode_new(d);
	}
	if (!e || !e->now)
		return ENOENT;
	struct ram_file *r = calloc(1, sizeof *r);
	*r = (struct ram_file){{&file_ops}, d, e->now, d->life};
	*ret = &r->file;
	return 0;
}

static int ram_unlink(struct fs *fs, const char *path)
{
	struct entry *e = find(disk(fs), path);
	int error = fault_hit(disk(fs), RAM_UNLINK);

	if (error)
		return error;
	if (!e || !e->now)
		return ENOENT;
	e->now = NULL;
	return 0;
}

static int ram_rename(struct fs *fs, const char *from, const char *to)
{
	struct entry *e = find(disk(fs), from);

	if (!e || !e->now)
		return ENOENT;
	find_or_add(disk(fs), to)->now = e->now;
	e->now = NULL;
	return 0;
}

static int ram_mkdir(struct fs *fs, const char *path)
{
	struct ram_disk *d = disk(fs);
	int error = fault_hit(d, RAM_MKDIR);

	if (error)
		return error;
	if (!parent_exists(d, path))
		return ENOENT;
	struct entry *e = find_or_add(d, path);
	e->directory = true;
	e->now = &d->directory;
	return 0;
}

static int ram_sync_dir(struct fs *fs, const char *path)
{
	struct entry *e = find(disk(fs), path);

	if (path[0] && !(e && e->now))
		return ENOENT;
	return sync_names(disk(fs), path);
}

static int ram_list(struct fs *fs, const char *path, bool (*each)(void *arg, const char *name), void *arg)
{
	struct ram_disk *d = disk(fs);
	struct entry *e = find(d, path);

	if (path[0] && !(e && e->now))
		return ENOENT;
	for (size_t i = 0; i < d->entry_count; i++)
		if (d->entries[i].now && is_in(d->entries[i].path, path) &&
		    !each(arg, d->entries[i].path + (path[0] ? strlen(path) + 1 : 0)))
			break;
	return 0;
}

static int ram_space(struct fs *fs, uint64_t *ret_octets, uint64_t *ret_inodes)
{
	*ret_octets = disk(fs)->space;
	*ret_inodes = 1000;
	return 0;
}

static void ram_fs_close(struct fs *fs)
{
	(void)fs;
}

static int ram_sync_all(struct fs *fs)
{
	(void)fs;
	return ENOSYS;
}

static const struct fs_ops fs_ops = {
	ram_open, ram_rename, ram_unlink, ram_mkdir, ram_sync_dir, ram_sync_all, ram_list, ram_space, ram_fs_close,
};

/* ---- the VFS */

static struct ram_handle *handle(sqlite3_file *f)
{
	return (struct ram_handle *)f;
}

static bool dead(const struct ram_handle *h)
{
	return h->life != h->d->life;
}

static int failed(struct ram_handle *h, int error, int rc)
{
	h->last_error = error;
	return error == ENOSPC && rc == SQLITE_IOERR_WRITE ? SQLITE_FULL : rc;
}

static int vfs_close(sqlite3_file *f)
{
	struct ram_handle *h = handle(f);

	for (struct ram_handle **p = &h->d->handles; *p; p = &(*p)->next) {
		if (*p == h) {
			*p = h->next;
			break;
		}
	}
	return SQLITE_OK;
}

static int vfs_read(sqlite3_file *f, void *into, int n, sqlite3_int64 at)
{
	struct ram_handle *h = handle(f);
	int error = dead(h) ? EIO : fault_hit(h->d, RAM_READ);
	size_t size = h->inode->now.n;

	if (error)
		return failed(h, error, SQLITE_IOERR_READ);
	if ((size_t)at + (size_t)n <= size) {
		memcpy(into, h->inode->now.p + at, (size_t)n);
		return SQLITE_OK;
	}
	memset(into, 0, (size_t)n);
	if ((size_t)at < size)
		memcpy(into, h->inode->now.p + at, size - (size_t)at);
	return SQLITE_IOERR_SHORT_READ;
}

static int vfs_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	struct ram_handle *h = handle(f);
	int error = dead(h) ? EIO : inode_write(h->d, h->inode, (size_t)at, p, (size_t)n);

	return error ? failed(h, error, SQLITE_IOERR_WRITE) : SQLITE_OK;
}

static int vfs_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	struct ram_handle *h = handle(f);
	int error = dead(h) ? EIO : fault_hit(h->d, RAM_TRUNCATE);

	if (error)
		return failed(h, error, SQLITE_IOERR_TRUNCATE);
	image_size(&h->inode->now, (size_t)size);
	return SQLITE_OK;
}

static int vfs_sync(sqlite3_file *f, int flags)
{
	struct ram_handle *h = handle(f);
	int error = dead(h) ? EIO : inode_sync(h->d, h->inode);

	(void)flags;
	if (!error && h->sync_name) {
		/* As SQLite's own VFS does: it does not take notice of a failure. */
		(void)sync_names(h->d, "");
		h->sync_name = false;
	}
	return error ? failed(h, error, SQLITE_IOERR_FSYNC) : SQLITE_OK;
}

static int vfs_size(sqlite3_file *f, sqlite3_int64 *ret)
{
	*ret = (sqlite3_int64)handle(f)->inode->now.n;
	return SQLITE_OK;
}

static int vfs_lock(sqlite3_file *f, int level)
{
	struct ram_handle *h = handle(f);

	for (struct ram_handle *o = h->d->handles; o; o = o->next) {
		if (o == h || o->inode != h->inode || dead(o))
			continue;
		if ((level == SQLITE_LOCK_SHARED && o->lock >= SQLITE_LOCK_PENDING) ||
		    (level >= SQLITE_LOCK_RESERVED && o->lock >= SQLITE_LOCK_RESERVED) ||
		    (level == SQLITE_LOCK_EXCLUSIVE && o->lock >= SQLITE_LOCK_SHARED))
			return SQLITE_BUSY;
	}
	if (level > h->lock)
		h->lock = level;
	return SQLITE_OK;
}

static int vfs_unlock(sqlite3_file *f, int level)
{
	handle(f)->lock = level;
	return SQLITE_OK;
}

static int vfs_check_reserved(sqlite3_file *f, int *ret)
{
	struct ram_handle *h = handle(f);

	*ret = 0;
	for (struct ram_handle *o = h->d->handles; o; o = o->next)
		if (o->inode == h->inode && !dead(o) && o->lock >= SQLITE_LOCK_RESERVED)
			*ret = 1;
	return SQLITE_OK;
}

static int vfs_control(sqlite3_file *f, int op, void *arg)
{
	if (op != SQLITE_FCNTL_LAST_ERRNO)
		return SQLITE_NOTFOUND;
	*(int *)arg = handle(f)->last_error;
	return SQLITE_OK;
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

static const sqlite3_io_methods io_methods = {
	.iVersion = 1,
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

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret_flags)
{
	struct ram_disk *d = vfs->pAppData;
	struct ram_handle *h = handle(f);
	struct entry *e = name ? find_or_add(d, name) : NULL;
	bool made = !name || !e->now;

	memset(h, 0, sizeof *h);
	if (made && !(flags & SQLITE_OPEN_CREATE))
		return SQLITE_CANTOPEN;
	if (made && fault_hit(d, RAM_CREATE))
		return SQLITE_CANTOPEN;
	h->d = d;
	h->life = d->life;
	h->inode = made ? inode_new(d) : e->now;
	if (name) {
		e->now = h->inode;
		memcpy(h->path, e->path, PATH_SIZE);
	}
	h->sync_name = flags & SQLITE_OPEN_CREATE && flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL);
	h->next = d->handles;
	d->handles = h;
	h->base.pMethods = &io_methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	struct ram_disk *d = vfs->pAppData;
	int error = ram_unlink(&d->fs, name);

	if (error == ENOENT)
		return SQLITE_IOERR_DELETE_NOENT;
	if (!error && sync)
		error = sync_names(d, "");
	return error ? SQLITE_IOERR_DELETE : SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	struct entry *e = find(vfs->pAppData, name);

	(void)flags;
	*ret = e && e->now;
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
	for (int i = 0; i < n; i++)
		out[i] = (char)random_next(vfs->pAppData);
	return n;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return us;
}

static int vfs_time(sqlite3_vfs *vfs, double *ret)
{
	(void)vfs;
	*ret = 2460000.5;
	return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int n, char *out)
{
	(void)n;
	(void)out;
	(void)vfs;
	return 0;
}

/* ---- the disk */

struct ram_disk *ram_disk_new(void)
{
	struct ram_disk *d = calloc(1, sizeof *d);

	d->fs.ops = &fs_ops;
	d->space = UINT64_MAX;
	d->random = 88172645463325252u;
	d->vfs = (sqlite3_vfs){
		.iVersion = 1,
		.szOsFile = sizeof(struct ram_handle),
		.mxPathname = PATH_SIZE - 1,
		.zName = ram_disk_vfs(),
		.pAppData = d,
		.xOpen = vfs_open,
		.xDelete = vfs_delete,
		.xAccess = vfs_access,
		.xFullPathname = vfs_full_path,
		.xRandomness = vfs_randomness,
		.xSleep = vfs_sleep,
		.xCurrentTime = vfs_time,
		.xGetLastError = vfs_last_error,
	};
	sqlite3_vfs_register(&d->vfs, 0);
	return d;
}

void ram_disk_free(struct ram_disk *d)
{
	sqlite3_vfs_unregister(&d->vfs);
	while (d->inodes) {
		struct inode *i = d->inodes;
		d->inodes = i->next;
		free(i->now.p);
		free(i->durable.p);
		free(i);
	}
	free(d);
}

static void image_copy(struct image *to, const struct image *from)
{
	image_size(to, from->n);
	if (from->n)
		memcpy(to->p, from->p, from->n);
}

/* That of `to` which stands where `i` does in `from`. */
static struct inode *same_inode(struct ram_disk *to, const struct ram_disk *from, const struct inode *i)
{
	struct inode *mine = to->inodes;

	if (!i)
		return NULL;
	if (i == &from->directory)
		return &to->directory;
	for (const struct inode *theirs = from->inodes; theirs != i; theirs = theirs->next)
		mine = mine->next;
	return mine;
}

void ram_disk_put(struct ram_disk *new_one, const struct ram_disk *kept)
{
	struct inode **last = &new_one->inodes;

	assert(!new_one->inodes && new_one->entry_count == 0 && !kept->handles);
	for (const struct inode *i = kept->inodes; i; i = i->next) {
		*last = calloc(1, sizeof **last);
		image_copy(&(*last)->now, &i->now);
		image_copy(&(*last)->durable, &i->durable);
		memcpy((*last)->dirty, i->dirty, sizeof i->dirty);
		last = &(*last)->next;
	}
	for (size_t i = 0; i < kept->entry_count; i++) {
		struct entry *e = &new_one->entries[i];
		*e = kept->entries[i];
		e->now = same_inode(new_one, kept, e->now);
		e->durable = same_inode(new_one, kept, e->durable);
	}
	new_one->entry_count = kept->entry_count;
	new_one->random = kept->random;
	new_one->life = kept->life;
	new_one->space = kept->space;
	new_one->takes_back = kept->takes_back;
}

struct ram_disk *ram_disk_keep(const struct ram_disk *d)
{
	struct ram_disk *kept = calloc(1, sizeof *kept);

	ram_disk_put(kept, d);
	return kept;
}

struct fs *ram_disk_fs(struct ram_disk *d)
{
	return &d->fs;
}

const char *ram_disk_vfs(void)
{
	return "ram";
}

struct ram_fault *ram_disk_fault(struct ram_disk *d)
{
	return &d->fault;
}

void ram_disk_takes_back(struct ram_disk *d)
{
	d->takes_back = true;
}

void ram_disk_space(struct ram_disk *d, uint64_t octets)
{
	d->space = octets;
}

static void mix(struct ram_disk *d, struct inode *i)
{
	if (random_next(d) & 1)
		image_size(&i->durable, i->now.n);
	for (size_t at = 0; at < i->now.n && at < i->durable.n; at += SECTOR) {
		size_t end = i->now.n < i->durable.n ? i->now.n : i->durable.n;
		size_t n = end - at < SECTOR ? end - at : SECTOR;
		if (i->dirty[at / PAGE] && random_next(d) & 1)
			memcpy(i->durable.p + at, i->now.p + at, n);
	}
}

void ram_disk_crash(struct ram_disk *d, enum ram_crash how, uint64_t seed)
{
	d->random = seed * 2654435761u + 88172645463325252u;
	d->life++;
	d->fault = (struct ram_fault){0};
	for (struct inode *i = d->inodes; i; i = i->next) {
		if (how == RAM_CRASH_KEEP)
			continue; /* what a failed sync forgot is still in the system's cache */
		if (how == RAM_CRASH_MIX)
			mix(d, i);
		image_size(&i->now, i->durable.n);
		if (i->durable.n)
			memcpy(i->now.p, i->durable.p, i->durable.n);
		memset(i->dirty, 0, sizeof i->dirty);
	}
	for (size_t i = 0; i < d->entry_count; i++) {
		struct entry *e = &d->entries[i];
		if (how == RAM_CRASH_DROP || (how == RAM_CRASH_MIX && random_next(d) & 1)) {
			e->now = e->durable;
		} else if (how == RAM_CRASH_MIX) {
			e->durable = e->now;
		}
	}
	/* A file goes with its directory. */
	for (size_t round = 0; round < 2; round++)
		for (size_t i = 0; i < d->entry_count; i++)
			if (d->entries[i].now && !parent_exists(d, d->entries[i].path))
				d->entries[i].now = d->entries[i].durable = NULL;
}

unsigned char *ram_disk_octets(struct ram_disk *d, const char *path, size_t *ret_size)
{
	struct entry *e = find(d, path);

	if (!e || !e->now)
		return NULL;
	*ret_size = e->now->now.n;
	return e->now->now.p;
}

void ram_disk_set(struct ram_disk *d, const char *path, size_t at, unsigned char value)
{
	struct entry *e = find(d, path);

	assert(e && e->now && at < e->now->now.n);
	e->now->now.p[at] = value;
	if (at < e->now->durable.n)
		e->now->durable.p[at] = value;
}

size_t ram_disk_files_below(struct ram_disk *d, const char *directory)
{
	size_t n = strlen(directory), count = 0;

	for (size_t i = 0; i < d->entry_count; i++)
		count +=
			d->entries[i].now && !d->entries[i].directory && strncmp(d->entries[i].path, directory, n) == 0;
	return count;
}
