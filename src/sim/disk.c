#include "sim/disk.h"

#include "base/heap.h"
#include "net/descriptor.h"
#include "net/fs_posix.h"
#include "sim/ledger.h"
#include "sim/machine.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATH_SIZE 512
#define SECTOR    512
#define BUCKETS   4096
#define BODIES    "/data/spool/"

/* Octets of a file that a liar keeps for itself. */
#define LIAR_CACHE ((size_t)16 << 20)

/* A change that is not durable yet. */
struct change {
	struct change *next;
	uint64_t sequence;
	bool truncate;
	uint64_t at; /* or the size to truncate to */
	size_t n;
	char data[];
};

struct inode {
	struct inode *next_dirty;
	bool listed, directory;
	struct octets now, durable;
	struct change *first, **last;
	size_t waiting; /* octets of these changes */
};

struct renaming {
	struct renaming *next;
	uint64_t sequence;
	struct inode *to; /* NULL: the name goes */
};

struct name {
	struct name *next; /* in its bucket */
	struct name *all;
	struct name *parent;
	struct name *next_dirty;
	bool listed;
	struct inode *now, *durable;
	struct renaming *first, **last;
	const char *path;
};

static struct {
	enum disk_kind kind;
	bool forgets;
	uint64_t capacity, used, sequence, log_syncs;
	struct name *buckets[BUCKETS], *all;
	struct name root;
	struct inode root_inode;
	struct inode *dirty_inodes;
	struct name *dirty_names;
} disk;

static const char *const kind_names[DISK_KINDS] = {"posix", "ext4", "btrfs", "liar"};

const char *disk_kind_name(enum disk_kind kind)
{
	return kind_names[kind];
}

void disk_init(enum disk_kind kind)
{
	disk.kind = kind;
	disk.capacity = (uint64_t)1 << 30;
	disk.root_inode.directory = true;
	disk.root.path = "";
	disk.root.now = disk.root.durable = &disk.root_inode;
}

void disk_capacity(uint64_t octets)
{
	disk.capacity = octets;
}

uint64_t disk_used(void)
{
	return disk.used;
}

uint64_t disk_log_syncs(void)
{
	return disk.log_syncs;
}

void disk_log_synced(void)
{
	disk.log_syncs++;
}

/* ---- octets ------------------------------------------------------------------------------------------------------ */

static void image_size(struct octets *o, size_t n)
{
	if (n > o->cap) {
		o->cap = 2 * n;
		o->p = sim_realloc(o->p, o->cap);
	}
	if (n > o->n)
		memset(o->p + o->n, 0, n - o->n);
	o->n = n;
}

static void image_write(struct octets *o, uint64_t at, const char *p, size_t n)
{
	if (at + n > o->n)
		image_size(o, (size_t)at + n);
	memcpy(o->p + at, p, n);
}

static void image_copy(struct octets *to, const struct octets *from)
{
	to->n = 0;
	octets_add(to, octets_slice(from));
}

static struct inode *inode_new(bool directory)
{
	struct inode *i = sim_alloc(sizeof *i);

	i->directory = directory;
	i->last = &i->first;
	return i;
}

static void apply(struct inode *i, const struct change *c)
{
	if (c->truncate)
		image_size(&i->durable, (size_t)c->at);
	else
		image_write(&i->durable, c->at, c->data, c->n);
}

/* A liar has only so much room for what it has not written. */
static void write_back(struct inode *i)
{
	while (disk.kind == DISK_LIAR && i->waiting > LIAR_CACHE && i->first->next) {
		struct change *c = i->first;
		apply(i, c);
		i->waiting -= c->n;
		i->first = c->next;
		sim_free(c);
	}
}

static void note_change(struct inode *i, bool truncate, uint64_t at, struct slice data)
{
	struct change *c = sim_alloc(sizeof *c + data.n);

	c->sequence = ++disk.sequence;
	c->truncate = truncate;
	c->at = at;
	c->n = data.n;
	if (data.n)
		memcpy(c->data, data.p, data.n);
	*i->last = c;
	i->last = &c->next;
	if (!i->listed) {
		i->next_dirty = disk.dirty_inodes;
		disk.dirty_inodes = i;
	}
	i->listed = true;
	i->waiting += data.n;
	write_back(i);
}

static void forget_changes(struct inode *i)
{
	for (struct change *c = i->first, *next; c; c = next) {
		next = c->next;
		sim_free(c);
	}
	i->first = NULL;
	i->last = &i->first;
	i->waiting = 0;
}

static void resize(struct inode *i, size_t n)
{
	disk.used += n;
	disk.used -= i->now.n;
	image_size(&i->now, n);
}

static int write_some(struct inode *i, uint64_t at, struct slice data)
{
	if (data.n == 0)
		return 0;
	if (at + data.n > i->now.n)
		resize(i, (size_t)at + data.n);
	memcpy(i->now.p + at, data.p, data.n);
	note_change(i, false, at, data);
	return 0;
}

int disk_write(struct inode *i, uint64_t at, struct slice data)
{
	uint64_t more = at + data.n > i->now.n ? at + data.n - i->now.n : 0;
	int error = 0;

	machine_step("write");
	kernel_spend((sim_us)(3 + data.n / 2000));
	if (sim_chance(sim_plan.write_error)) {
		error = EIO;
		sim_count(COUNT_FAULT_WRITE);
	} else if (disk.used + more > disk.capacity || (more > 0 && sim_chance(sim_plan.no_space))) {
		error = ENOSPC;
		sim_count(COUNT_FAULT_SPACE);
	}
	if (!error)
		return write_some(i, at, data);
	sim_trace(machine_running(), "write of %zu octets fails: %s", data.n, strerror(error));
	if (data.n > 1 && sim_chance(500000) && disk.used + more <= disk.capacity) {
		sim_count(COUNT_FAULT_SHORT);
		write_some(i, at, slice_head(data, sim_below(data.n)));
	}
	return error;
}

int disk_truncate(struct inode *i, uint64_t size)
{
	machine_step("truncate");
	if (sim_chance(sim_plan.write_error)) {
		sim_count(COUNT_FAULT_WRITE);
		return EIO;
	}
	resize(i, (size_t)size);
	note_change(i, true, size, SLICE_NONE);
	return 0;
}

int disk_extend(struct inode *i, uint64_t size)
{
	if (disk.used + (size - i->now.n) > disk.capacity) {
		sim_count(COUNT_FAULT_SPACE);
		return ENOSPC;
	}
	return disk_truncate(i, size);
}

int disk_read(struct inode *i, uint64_t at, char *into, size_t n, size_t *ret)
{
	machine_step("read");
	if (sim_chance(sim_plan.read_error)) {
		sim_count(COUNT_FAULT_READ);
		sim_trace(machine_running(), "read fails: %s", strerror(EIO));
		return EIO;
	}
	*ret = at >= i->now.n ? 0 : i->now.n - at < n ? i->now.n - (size_t)at : n;
	if (*ret == 0)
		return 0;
	memcpy(into, i->now.p + at, *ret);
	kernel_spend((sim_us)(*ret / 4000));
	return 0;
}

uint64_t disk_size(const struct inode *i)
{
	return i->now.n;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static size_t bucket_of(const char *path)
{
	size_t h = 5381;

	for (; *path; path++)
		h = h * 33 + (unsigned char)*path;
	return h % BUCKETS;
}

static struct name *find(const char *path)
{
	if (path[0] == '\0')
		return &disk.root;
	for (struct name *n = disk.buckets[bucket_of(path)]; n; n = n->next)
		if (strcmp(n->path, path) == 0)
			return n;
	return NULL;
}

static struct name *parent_of(const char *path)
{
	char parent[PATH_SIZE];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;

	assert(n < sizeof parent);
	if (n)
		memcpy(parent, path, n);
	parent[n] = '\0';
	return find(parent);
}

/* NULL with ENOENT: its directory is not there. */
static struct name *find_or_add(const char *path)
{
	struct name *n = find(path), *parent = parent_of(path);

	if (!parent || !parent->now || !parent->now->directory)
		return NULL;
	if (n)
		return n;
	n = sim_alloc(sizeof *n);
	n->path = memcpy(sim_alloc(strlen(path) + 1), path, strlen(path) + 1);
	n->parent = parent;
	n->last = &n->first;
	n->next = disk.buckets[bucket_of(path)];
	disk.buckets[bucket_of(path)] = n;
	n->all = disk.all;
	disk.all = n;
	return n;
}

static void set_name(struct name *n, struct inode *to, uint64_t sequence)
{
	struct renaming *r = sim_alloc(sizeof *r);

	if (n->now && !n->now->directory && n->now != to)
		disk.used -= n->now->now.n;
	n->now = to;
	r->sequence = sequence;
	r->to = to;
	*n->last = r;
	n->last = &r->next;
	if (!n->listed) {
		n->next_dirty = disk.dirty_names;
		disk.dirty_names = n;
	}
	n->listed = true;
}

static void forget_renamings(struct name *n)
{
	for (struct renaming *r = n->first, *next; r; r = next) {
		next = r->next;
		sim_free(r);
	}
	n->first = NULL;
	n->last = &n->first;
}

static void sync_name(struct name *n)
{
	n->durable = n->now;
	forget_renamings(n);
}

static int name_fault(uint32_t rate, enum sim_count count, const char *what, const char *path)
{
	machine_step(what);
	kernel_spend(20);
	if (!sim_chance(rate))
		return 0;
	sim_count(count);
	sim_trace(machine_running(), "%s of %s fails: %s", what, path, strerror(EIO));
	return EIO;
}

struct inode *disk_find(const char *path, bool create, int *ret_error)
{
	struct name *n = find(path);

	*ret_error = name_fault(sim_plan.open_error, COUNT_FAULT_OPEN, "open", path);
	if (*ret_error)
		return NULL;
	*ret_error = ENOENT;
	if (n && n->now)
		return n->now;
	n = create ? find_or_add(path) : NULL;
	if (!n)
		return NULL;
	set_name(n, inode_new(false), ++disk.sequence);
	return n->now;
}

int disk_stat(const char *path, struct stat *ret)
{
	struct name *n = find(path);
	int error = name_fault(sim_plan.open_error, COUNT_FAULT_OPEN, "stat", path);

	if (error)
		return error;
	if (!n || !n->now)
		return ENOENT;
	*ret = (struct stat){.st_mode = n->now->directory ? S_IFDIR | 0700 : S_IFREG | 0600,
			     .st_ino = (ino_t)(uintptr_t)n->now,
			     .st_size = (off_t)disk_size(n->now)};
	return 0;
}

struct inode *disk_temporary(void)
{
	return inode_new(false);
}

int disk_unlink(const char *path)
{
	struct name *n = find(path);
	int error = name_fault(sim_plan.name_error, COUNT_FAULT_NAME, "unlink", path);

	if (error)
		return error;
	if (!n || !n->now)
		return ENOENT;
	set_name(n, NULL, ++disk.sequence);
	return 0;
}

static int rename_to(const char *from, const char *to)
{
	struct name *a = find(from), *b;
	int error = name_fault(sim_plan.name_error, COUNT_FAULT_NAME, "rename", from);

	if (error)
		return error;
	if (!a || !a->now)
		return ENOENT;
	b = find_or_add(to);
	if (!b)
		return ENOENT;
	uint64_t sequence = ++disk.sequence;
	struct inode *i = a->now;
	uint64_t size = i->now.n;
	set_name(b, i, sequence);
	set_name(a, NULL, sequence);
	disk.used += size;
	sim_trace(machine_running(), "renames %s to %s", from, to);
	ledger_renamed(to, octets_slice(&i->now));
	return 0;
}

/* ---- syncing ----------------------------------------------------------------------------------------------------- */

static int sync_fault(const char *what)
{
	sim_us took = sim_between(150, 4000);

	machine_step(what);
	sim_count(COUNT_SYNCS);
	if (sim_chance(sim_plan.slow_sync)) {
		took = sim_between(100 * SIM_MS, 5 * SIM_SECOND);
		sim_count(COUNT_FAULT_SLOW);
	} else if (sim_chance(sim_plan.stuck_sync)) {
		took = sim_between(20 * SIM_SECOND, 200 * SIM_SECOND);
		sim_count(COUNT_FAULT_SLOW);
		sim_trace(machine_running(), "a sync takes %lld s", (long long)(took / SIM_SECOND));
	}
	kernel_spend(took);
	if (!sim_chance(sim_plan.sync_error))
		return 0;
	sim_count(COUNT_FAULT_SYNC);
	sim_trace(machine_running(), "%s fails: %s", what, strerror(EIO));
	return EIO;
}

static void sync_all_names(void)
{
	for (struct name *n = disk.dirty_names; n; n = n->next_dirty) {
		sync_name(n);
		n->listed = false;
	}
	disk.dirty_names = NULL;
}

static void sync_names_of(const struct inode *i)
{
	for (struct name *n = disk.dirty_names; n; n = n->next_dirty)
		if (n->now == i && n->first)
			sync_name(n);
}

static void sync_inode(struct inode *i, int error)
{
	if (!error)
		for (const struct change *c = i->first; c; c = c->next)
			apply(i, c);
	/* After a failed sync the pages count as clean: no later sync brings them to the disk. */
	forget_changes(i);
	if (error && disk.kind == DISK_BTRFS) {
		disk.used += i->durable.n;
		disk.used -= i->now.n;
		image_copy(&i->now, &i->durable);
	}
	if (!error && disk.kind == DISK_BTRFS)
		sync_names_of(i);
}

int disk_sync(struct inode *i)
{
	int error = sync_fault("fsync");

	if (disk.kind == DISK_LIAR)
		return 0;
	sync_inode(i, error);
	if (!error && disk.kind == DISK_EXT4)
		sync_all_names();
	machine_step("fsync done");
	return error;
}

int disk_sync_directory(const char *path)
{
	struct name *d = find(path);
	int error = sync_fault("fsync of a directory");

	if (!error && (!d || !d->now))
		return ENOENT;
	if (error || disk.kind == DISK_LIAR)
		return error;
	if (disk.kind == DISK_EXT4)
		sync_all_names();
	for (struct name *n = disk.dirty_names; n; n = n->next_dirty)
		if (n->parent == d && n->first)
			sync_name(n);
	return 0;
}

/* ---- the power goes ---------------------------------------------------------------------------------------------- */

enum fate {
	FATE_DROP,
	FATE_KEEP,
	FATE_MIX,
};

static void tear(struct inode *i, const struct change *c)
{
	sim_count(COUNT_TORN_WRITES);
	for (size_t at = 0; at < c->n;) {
		size_t n = SECTOR - (size_t)((c->at + at) % SECTOR);
		if (n > c->n - at)
			n = c->n - at;
		if (sim_chance(500000))
			image_write(&i->durable, c->at + at, c->data + at, n);
		at += n;
	}
}

/* Whether a change is kept, on disks where each stands on its own. */
static void decide(struct inode *i, const struct change *c, bool *lost_growth)
{
	bool grows = !c->truncate && c->at + c->n > i->durable.n;
	uint64_t draw = sim_below(100);

	if (disk.kind == DISK_EXT4 && grows && *lost_growth)
		draw = 0;
	if (draw < 40) {
		sim_count(COUNT_LOST_WRITES);
		*lost_growth |= grows;
	} else if (draw < 80 || c->truncate) {
		apply(i, c);
	} else if (grows && disk.kind == DISK_EXT4) {
		/* The beginning of what was added. */
		sim_count(COUNT_TORN_WRITES);
		image_write(&i->durable, c->at, c->data, sim_below(c->n));
		*lost_growth = true;
	} else {
		tear(i, c);
	}
}

static void crash_inode(struct inode *i, enum fate fate, uint64_t cut)
{
	bool lost_growth = false;

	for (const struct change *c = i->first; c; c = c->next) {
		if (fate == FATE_KEEP || (fate == FATE_MIX && disk.kind == DISK_BTRFS && c->sequence <= cut))
			apply(i, c);
		else if (fate == FATE_DROP || disk.kind == DISK_BTRFS)
			sim_count(COUNT_LOST_WRITES);
		else
			decide(i, c, &lost_growth);
	}
	forget_changes(i);
	i->listed = false;
}

static void crash_name(struct name *n, enum fate fate, uint64_t cut)
{
	size_t count = 0, keep;

	for (const struct renaming *r = n->first; r; r = r->next)
		count++;
	keep = fate == FATE_KEEP ? count : fate == FATE_DROP ? 0 : sim_below(count + 1);
	if (fate == FATE_MIX && (disk.kind == DISK_BTRFS || disk.kind == DISK_EXT4)) {
		keep = 0;
		for (const struct renaming *r = n->first; r && r->sequence <= cut; r = r->next)
			keep++;
	}
	sim_count_add(COUNT_LOST_NAMES, count - keep);
	for (const struct renaming *r = n->first; r && keep > 0; r = r->next, keep--)
		n->durable = r->to;
	forget_renamings(n);
	n->listed = false;
}

/* A name is there only if all directories above it are. */
static bool is_reachable(const struct name *n)
{
	for (; n != &disk.root; n = n->parent)
		if (!n->durable)
			return false;
	return true;
}

static uint64_t first_sequence(void)
{
	uint64_t first = disk.sequence;

	for (const struct inode *i = disk.dirty_inodes; i; i = i->next_dirty)
		if (i->first && i->first->sequence < first)
			first = i->first->sequence;
	for (const struct name *n = disk.dirty_names; n; n = n->next_dirty)
		if (n->first && n->first->sequence < first)
			first = n->first->sequence;
	return first;
}

void disk_forgets(void)
{
	disk.forgets = true;
}

void disk_crash(void)
{
	uint64_t draw = sim_below(100), first = first_sequence();
	enum fate fate = draw < 20 || disk.forgets ? FATE_DROP : draw < 35 ? FATE_KEEP : FATE_MIX;
	uint64_t cut = first > 0 ? first - 1 + sim_below(disk.sequence - first + 2) : 0;

	for (struct inode *i = disk.dirty_inodes; i; i = i->next_dirty)
		crash_inode(i, fate, cut);
	disk.dirty_inodes = NULL;
	for (struct name *n = disk.dirty_names; n; n = n->next_dirty)
		crash_name(n, fate, cut);
	disk.dirty_names = NULL;
	disk.used = 0;
	for (struct name *n = disk.all; n; n = n->all) {
		if (!is_reachable(n))
			n->durable = NULL;
		n->now = n->durable;
		if (!n->now || n->now->directory)
			continue;
		image_copy(&n->now->now, &n->now->durable);
		disk.used += n->now->now.n;
	}
}

/* ---- for the ledger ---------------------------------------------------------------------------------------------- */

struct slice disk_content(const char *path)
{
	struct name *n = find(path);

	if (!n || !n->now)
		return SLICE_NONE;
	return n->now->now.p ? octets_slice(&n->now->now) : SLICE("");
}

void disk_each(const char *directory, void (*each)(void *arg, const char *path, struct slice content), void *arg)
{
	size_t length = strlen(directory);

	for (struct name *n = disk.all; n; n = n->all)
		if (n->now && !n->now->directory && strncmp(n->path, directory, length) == 0 && n->path[length] == '/')
			each(arg, n->path, octets_slice(&n->now->now));
}

void disk_move(const char *from, const char *to)
{
	struct name *a = find(from), *b = find_or_add(to);

	assert(a && a->now && b);
	struct inode *i = a->now;
	uint64_t size = i->now.n;
	set_name(b, i, ++disk.sequence);
	set_name(a, NULL, disk.sequence);
	disk.used += size;
}

/* ---- open files -------------------------------------------------------------------------------------------------- */

struct open_file {
	struct inode *inode;
	unsigned references;
	bool writable;
	bool body; /* of a message in the queue: only there does every octet have a checksum */
};

static void close_file(void *object)
{
	disk_file_close(object);
}

void disk_file_close(struct open_file *file)
{
	if (--file->references == 0)
		sim_free(file);
}

int disk_file_fd(struct open_file *file, struct role_instance *owner)
{
	return kernel_fd(FD_FILE, file, close_file, owner);
}

struct open_file *disk_file_again(int fd)
{
	struct open_file *file = kernel_fd_object(fd, FD_FILE);

	assert(file);
	file->references++;
	return file;
}

struct sim_file {
	struct file file; /* first */
	int fd;
};

static struct open_file *open_file_of(const struct file *f)
{
	return kernel_fd_object(((const struct sim_file *)f)->fd, FD_FILE);
}

static int file_write(struct file *f, struct slice data)
{
	struct inode *i = open_file_of(f)->inode;

	return open_file_of(f)->writable ? disk_write(i, i->now.n, data) : EBADF;
}

static void flip(char *octets, size_t n)
{
	if (n == 0 || !sim_chance(sim_plan.flip))
		return;
	char bit = (char)(1u << sim_below(8));
	octets[sim_below(n)] ^= bit;
	sim_count(COUNT_FAULT_FLIP);
	sim_trace(machine_running(), "a bit flips in reading %zu octets", n);
}

static int file_read(struct file *f, uint64_t offset, char *into, size_t n, size_t *ret)
{
	const struct open_file *file = open_file_of(f);
	int error = file->writable ? EBADF : disk_read(file->inode, offset, into, n, ret);

	if (!error && file->body)
		flip(into, *ret);
	return error;
}

static int file_size(struct file *f, uint64_t *ret)
{
	*ret = disk_size(open_file_of(f)->inode);
	return 0;
}

static int file_sync(struct file *f)
{
	return disk_sync(open_file_of(f)->inode);
}

static void file_close(struct file *f)
{
	descriptor_close(file_fd(f));
	heap_free(f);
}

static const struct file_ops sim_file_ops = {file_write, file_read, file_size, file_sync, file_close};

struct file *file_from_fd(int fd)
{
	struct sim_file *f = heap_new(struct sim_file);

	if (!f) {
		descriptor_close(fd);
		return NULL;
	}
	*f = (struct sim_file){{&sim_file_ops}, fd};
	return &f->file;
}

int file_fd(const struct file *f)
{
	return ((const struct sim_file *)f)->fd;
}

/* ---- base/fs.h --------------------------------------------------------------------------------------------------- */

struct sim_fs {
	struct fs fs; /* first */
	char root[64];
};

static const char *full(struct fs *fs, const char *path, char out[PATH_SIZE])
{
	snprintf(out, PATH_SIZE, "%s%s%s", ((struct sim_fs *)fs)->root, path[0] ? "/" : "", path);
	return out;
}

static int sim_open(struct fs *fs, const char *path, unsigned flags, struct file **ret)
{
	char text[PATH_SIZE];
	struct name *n = find(full(fs, path, text));
	int error = 0;

	if ((flags & FS_CREATE) && n && n->now)
		return EEXIST;
	struct inode *i = disk_find(text, flags & FS_CREATE, &error);
	if (!i)
		return error;
	struct open_file *file = sim_alloc(sizeof *file);
	*file = (struct open_file){i, 1, flags & FS_WRITE, strncmp(text, BODIES, sizeof BODIES - 1) == 0};
	*ret = file_from_fd(disk_file_fd(file, machine_current()));
	return *ret ? 0 : ENOMEM;
}

static int sim_rename(struct fs *fs, const char *from, const char *to)
{
	char a[PATH_SIZE], b[PATH_SIZE];

	return rename_to(full(fs, from, a), full(fs, to, b));
}

static int sim_unlink(struct fs *fs, const char *path)
{
	char text[PATH_SIZE];

	return disk_unlink(full(fs, path, text));
}

static int make_directory(const char *path)
{
	int error = name_fault(sim_plan.name_error, COUNT_FAULT_NAME, "mkdir", path);
	struct name *n = error ? NULL : find_or_add(path);

	if (error)
		return error;
	if (!n)
		return ENOENT;
	if (!n->now)
		set_name(n, inode_new(true), ++disk.sequence);
	return 0;
}

static int sim_mkdir(struct fs *fs, const char *path)
{
	char text[PATH_SIZE];

	return make_directory(full(fs, path, text));
}

static int sim_sync_dir(struct fs *fs, const char *path)
{
	char text[PATH_SIZE];

	return disk_sync_directory(full(fs, path, text));
}

/* What lies elsewhere is left as it is: nobody may rely on it. */
static int sim_sync_all(struct fs *fs)
{
	const char *root = ((struct sim_fs *)fs)->root;
	size_t n = strlen(root);
	int error = sync_fault("syncfs");

	if (disk.kind == DISK_LIAR)
		return 0;
	for (const struct name *f = disk.all; f; f = f->all)
		if (f->now && f->now->first && strncmp(f->path, root, n) == 0 && f->path[n] == '/')
			sync_inode(f->now, error);
	if (!error && disk.kind == DISK_EXT4)
		sync_all_names();
	machine_step("syncfs done");
	return error;
}

static int sim_list(struct fs *fs, const char *path, bool (*each)(void *arg, const char *name), void *arg)
{
	char text[PATH_SIZE];
	struct name *d = find(full(fs, path, text));

	if (!d || !d->now)
		return ENOENT;
	int error = name_fault(sim_plan.read_error, COUNT_FAULT_READ, "readdir", text);
	if (error)
		return error;
	for (struct name *n = disk.all; n; n = n->all)
		if (n->parent == d && n->now && !each(arg, strrchr(n->path, '/') + 1))
			break;
	return 0;
}

static int sim_space(struct fs *fs, uint64_t *ret_octets, uint64_t *ret_inodes)
{
	(void)fs;
	*ret_octets = disk.used < disk.capacity ? disk.capacity - disk.used : 0;
	*ret_inodes = 1000000;
	return 0;
}

static void sim_close(struct fs *fs)
{
	heap_free(fs);
}

static const struct fs_ops sim_fs_ops = {
	sim_open, sim_rename, sim_unlink, sim_mkdir, sim_sync_dir, sim_sync_all, sim_list, sim_space, sim_close,
};

int fs_posix_open(const char *root, struct fs **ret)
{
	struct name *d = find(root);

	if (!d || !d->now)
		return ENOENT;
	struct sim_fs *fs = heap_new(struct sim_fs);
	if (!fs)
		return ENOMEM;
	fs->fs.ops = &sim_fs_ops;
	snprintf(fs->root, sizeof fs->root, "%s", root);
	*ret = &fs->fs;
	return 0;
}

int fs_posix_make_root(const char *path)
{
	char part[PATH_SIZE], parent[PATH_SIZE] = "";
	int error = 0;

	for (size_t i = 1; i <= strlen(path) && !error; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		error = make_directory(part);
		if (!error)
			error = disk_sync_directory(parent);
		memcpy(parent, part, i + 1);
	}
	return error;
}
