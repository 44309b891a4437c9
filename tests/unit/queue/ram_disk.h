/*
 * ram_disk: a disk in memory that can fail and lose power, with two faces: base/fs.h, and a VFS for SQLite.
 *
 * A write is durable after a sync of its file; a name (new, removed, renamed) after a sync of its directory. A sync
 * that fails forgets what it should have written, as Linux does: the next sync of the file succeeds without it.
 */
#ifndef RAM_DISK_H
#define RAM_DISK_H

#include "base/fs.h"

enum ram_op {
	RAM_READ = 1,
	RAM_WRITE = 2,
	RAM_SYNC = 4,
	RAM_SYNC_DIR = 8,
	RAM_TRUNCATE = 16,
	RAM_CREATE = 32,
	RAM_UNLINK = 64,
	RAM_MKDIR = 128,
};
#define RAM_CHANGES (RAM_WRITE | RAM_SYNC | RAM_SYNC_DIR | RAM_TRUNCATE | RAM_CREATE | RAM_UNLINK | RAM_MKDIR)

struct ram_fault {
	unsigned ops; /* which operations count, ram_op */
	int after;    /* so many still succeed ... */
	int times;    /* ... then so many fail; -1 = all from then on */
	int error;    /* errno value */
	uint64_t spared; /* bit 0 on: that one succeeds all the same, of those that would fail */
};

enum ram_crash {
	RAM_CRASH_DROP, /* nothing survives that was not synced */
	RAM_CRASH_KEEP, /* everything does, as when only the process dies */
	RAM_CRASH_MIX,  /* each sector, size and name by chance */
};
#define RAM_CRASH_MAX RAM_CRASH_MIX

struct ram_disk;

/* One at a time: it registers the VFS. */
struct ram_disk *ram_disk_new(void);
void ram_disk_free(struct ram_disk *d);
/* What is on it, kept to be put on new ones; nothing is open. ram_disk_free frees it. */
struct ram_disk *ram_disk_keep(const struct ram_disk *d);
void ram_disk_put(struct ram_disk *new_one, const struct ram_disk *kept);
struct fs *ram_disk_fs(struct ram_disk *d);
const char *ram_disk_vfs(void);

struct ram_fault *ram_disk_fault(struct ram_disk *d);
/* From now on a sync that fails takes the octets back, as btrfs does, instead of leaving them in the system's cache. */
void ram_disk_takes_back(struct ram_disk *d);
/* What fs->space tells. */
void ram_disk_space(struct ram_disk *d, uint64_t octets);
/* Power off and on: open files are dead from here on, whatever is done with them; faults are gone. */
void ram_disk_crash(struct ram_disk *d, enum ram_crash how, uint64_t seed);

/* The octets of a file, to look at or to damage; NULL when there is none. Durable and current. */
unsigned char *ram_disk_octets(struct ram_disk *d, const char *path, size_t *ret_size);
/* Change both. */
void ram_disk_set(struct ram_disk *d, const char *path, size_t at, unsigned char value);
size_t ram_disk_files_below(struct ram_disk *d, const char *directory);

#endif
