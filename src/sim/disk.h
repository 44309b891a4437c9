/*
 * disk: one simulated disk with a file system, behind base/fs.h, net/fs_posix.h and an SQLite VFS.
 *
 * Writes and changes of names are kept in lists until they are synced. When the power goes, each is kept, dropped or
 *torn as the personality of the disk allows:
 *
 *	posix   any write and any name on its own; fsync brings the octets of one file, syncing a directory its names
 *	ext4    names in order, and all of them with any fsync; a file that grew has a beginning of what was added
 *	btrfs   everything up to some moment, plus what was synced; a failed sync takes the octets back
 *	liar    a sync says that all is well and does nothing
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "base/fs.h"
#include "sim/kernel.h"

#include <sys/stat.h>

enum disk_kind {
	DISK_POSIX,
	DISK_EXT4,
	DISK_BTRFS,
	DISK_LIAR,
};
#define DISK_KINDS 4
const char *disk_kind_name(enum disk_kind kind);

void disk_init(enum disk_kind kind);
/* Octets in all; what is there stays. */
void disk_capacity(uint64_t octets);
uint64_t disk_used(void);
/* The power went. */
void disk_crash(void);
/* The next time it goes nothing is kept of what was not synced. */
void disk_forgets(void);
/* Registers the VFS as SQLite's default; once. */
void disk_vfs(void);

struct open_file;
int disk_file_fd(struct open_file *file, struct role_instance *owner);
/* Another reference to what a role has open. */
struct open_file *disk_file_again(int fd);
void disk_file_close(struct open_file *file);

/* ---- for the ledger: what is on the disk now, without faults */

/* The content of a file; p is NULL when there is none. Lent until the next change. */
struct slice disk_content(const char *path);
/* Every name below a directory, at any depth. */
void disk_each(const char *directory, void (*each)(void *arg, const char *path, struct slice content), void *arg);
/* Moves a file and makes that durable, as a reader of mail in a better world. */
void disk_move(const char *from, const char *to);
/* Syncs of write-ahead logs that succeeded. */
uint64_t disk_log_syncs(void);

/* ---- between disk.c and disk_vfs.c */

struct inode;
struct name;
int disk_write(struct inode *i, uint64_t at, struct slice data);
int disk_truncate(struct inode *i, uint64_t size);
/* Ahead of what is written: zeros, or ENOSPC. */
int disk_extend(struct inode *i, uint64_t size);
int disk_read(struct inode *i, uint64_t at, char *into, size_t n, size_t *ret);
int disk_sync(struct inode *i);
uint64_t disk_size(const struct inode *i);
/* The file of a name; made when there is none and `create`. NULL with an errno value. */
struct inode *disk_find(const char *path, bool create, int *ret_error);
struct inode *disk_temporary(void);
/* stat(2); an errno value. */
int disk_stat(const char *path, struct stat *ret);
int disk_unlink(const char *path);
int disk_sync_directory(const char *path);
void disk_log_synced(void);

#endif
