/*
 * fs: files and directories behind an interface, so that a simulated disk can stand in for the real one.
 *
 * Paths are relative to the root that the implementation was opened on, with '/' between parts; no part is empty,
 * "." or "..", and no symbolic link is followed. Every call returns 0 or a positive errno value. Nothing is durable
 * before file_sync, and no name is durable before fs_sync_dir on its directory.
 */
#ifndef BASE_FS_H
#define BASE_FS_H

#include "base/slice.h"

struct fs;
struct file;

enum fs_open_flags {
	FS_READ = 1,
	FS_WRITE = 2,  /* at the end of what is there */
	FS_CREATE = 4, /* a new file; EEXIST if the name is taken. With FS_WRITE. */
};

struct fs_ops {
	int (*open)(struct fs *fs, const char *path, unsigned flags, struct file **ret);
	int (*rename)(struct fs *fs, const char *from, const char *to); /* the target is replaced */
	int (*unlink)(struct fs *fs, const char *path);
	int (*mkdir)(struct fs *fs, const char *path); /* mode 0700; 0 also when it is there */
	int (*sync_dir)(struct fs *fs, const char *path);
	/* All that was written below the root is durable, names perhaps excepted. ENOSYS: nothing was done, and each
	 * file has to be synced by itself. After another error none of them counts as durable. */
	int (*sync_all)(struct fs *fs);
	/* Calls `each` with every name in the directory but "." and "..", until it returns false. */
	int (*list)(struct fs *fs, const char *path, bool (*each)(void *arg, const char *name), void *arg);
	/* Octets and inodes that this user may still take. */
	int (*space)(struct fs *fs, uint64_t *ret_octets, uint64_t *ret_inodes);
	void (*close)(struct fs *fs);
};

struct file_ops {
	int (*write)(struct file *f, struct slice data); /* all of it, or an error */
	/* At most n octets from `offset`; *ret is 0 at the end. */
	int (*read)(struct file *f, uint64_t offset, char *into, size_t n, size_t *ret);
	int (*size)(struct file *f, uint64_t *ret);
	int (*sync)(struct file *f);
	void (*close)(struct file *f); /* frees f */
};

struct fs {
	const struct fs_ops *ops;
};

struct file {
	const struct file_ops *ops;
};

#endif
