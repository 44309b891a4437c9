/*
 * fs_posix: base/fs.h on the real file system.
 *
 * Everything is opened relative to a directory that was opened once; no path leads out of it and no symbolic link is
 * followed (openat2, RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS).
 */
#ifndef NET_FS_POSIX_H
#define NET_FS_POSIX_H

#include "base/fs.h"

/* `root` exists. 0 or an errno value. fs->ops->close gives it back. */
int fs_posix_open(const char *root, struct fs **ret);
/* Makes a directory and those above it, mode 0700, and what it made durable. 0 also when it is there. */
int fs_posix_make_root(const char *path);

/* A file made of a descriptor that came over a channel; takes it. NULL without memory: it is closed then. */
struct file *file_from_fd(int fd);
/* The descriptor of a file of this implementation, still the file's. */
int file_fd(const struct file *f);

#endif
