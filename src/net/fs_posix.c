#include "net/fs_posix.h"

#include "base/buf.h"
#include "base/heap.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

struct fs_posix {
	struct fs fs; /* first */
	int root;
};

struct file_posix {
	struct file file; /* first */
	int fd;
};

static int open_beneath(struct fs *fs, const char *path, int flags, mode_t mode, int *ret)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC), .mode = mode, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	long fd = syscall(SYS_openat2, ((struct fs_posix *)fs)->root, path, &how, sizeof how);

	if (fd < 0)
		return errno;
	*ret = (int)fd;
	return 0;
}

/* Opens the directory that holds the last part of `path`; *ret_name points at that part. */
static int open_parent(struct fs *fs, const char *path, int *ret, const char **ret_name)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];

	if (!slash) {
		*ret_name = path;
		return open_beneath(fs, ".", O_RDONLY | O_DIRECTORY, 0, ret);
	}
	size_t n = (size_t)(slash - path);
	if (n >= sizeof parent)
		return ENAMETOOLONG;
	memcpy(parent, path, n);
	parent[n] = '\0';
	*ret_name = slash + 1;
	return open_beneath(fs, parent, O_RDONLY | O_DIRECTORY, 0, ret);
}

static int file_write(struct file *f, struct slice data)
{
	while (data.n) {
		ssize_t n = write(file_fd(f), data.p, data.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		data = slice_skip(data, (size_t)n);
	}
	return 0;
}

static int file_read(struct file *f, uint64_t offset, char *into, size_t n, size_t *ret)
{
	ssize_t got;

	do
		got = pread(file_fd(f), into, n, (off_t)offset);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno;
	*ret = (size_t)got;
	return 0;
}

static int file_size(struct file *f, uint64_t *ret)
{
	struct stat st;

	if (fstat(file_fd(f), &st) < 0)
		return errno;
	*ret = (uint64_t)st.st_size;
	return 0;
}

static int file_sync(struct file *f)
{
	return fdatasync(file_fd(f)) < 0 ? errno : 0;
}

static void file_close(struct file *f)
{
	close(file_fd(f));
	heap_free(f);
}

static const struct file_ops file_posix_ops = {file_write, file_read, file_size, file_sync, file_close};

struct file *file_from_fd(int fd)
{
	struct file_posix *f = heap_new(struct file_posix);

	if (!f) {
		close(fd);
		return NULL;
	}
	*f = (struct file_posix){.file = {&file_posix_ops}, .fd = fd};
	return &f->file;
}

int file_fd(const struct file *f)
{
	return ((const struct file_posix *)f)->fd;
}

static int posix_open(struct fs *fs, const char *path, unsigned flags, struct file **ret)
{
	int mode = flags & FS_WRITE ? O_WRONLY | O_APPEND : O_RDONLY;
	int fd;

	if (flags & FS_CREATE)
		mode |= O_CREAT | O_EXCL;
	int error = open_beneath(fs, path, mode | O_NOCTTY, flags & FS_CREATE ? 0600 : 0, &fd);
	if (error)
		return error;
	*ret = file_from_fd(fd);
	return *ret ? 0 : ENOMEM;
}

static int posix_rename(struct fs *fs, const char *from, const char *to)
{
	const char *from_name, *to_name;
	int from_dir, to_dir;
	int error = open_parent(fs, from, &from_dir, &from_name);

	if (error)
		return error;
	error = open_parent(fs, to, &to_dir, &to_name);
	if (!error) {
		error = renameat(from_dir, from_name, to_dir, to_name) < 0 ? errno : 0;
		close(to_dir);
	}
	close(from_dir);
	return error;
}

static int posix_unlink(struct fs *fs, const char *path)
{
	const char *name;
	int dir;
	int error = open_parent(fs, path, &dir, &name);

	if (error)
		return error;
	error = unlinkat(dir, name, 0) < 0 ? errno : 0;
	close(dir);
	return error;
}

static int posix_mkdir(struct fs *fs, const char *path)
{
	const char *name;
	int dir;
	int error = open_parent(fs, path, &dir, &name);

	if (error)
		return error;
	error = mkdirat(dir, name, 0700) < 0 && errno != EEXIST ? errno : 0;
	close(dir);
	return error;
}

static int posix_sync_dir(struct fs *fs, const char *path)
{
	int fd;
	int error = open_beneath(fs, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0, &fd);

	if (error)
		return error;
	error = fsync(fd) < 0 ? errno : 0;
	close(fd);
	return error;
}

/* Before Linux 5.8 it does not tell what could not be written. */
static bool syncfs_tells(void)
{
	struct utsname name;
	char *rest;

	if (uname(&name) < 0)
		return false;
	unsigned long major = strtoul(name.release, &rest, 10);
	unsigned long minor = *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;
	return major > 5 || (major == 5 && minor >= 8);
}

static int posix_sync_all(struct fs *fs)
{
	if (!syncfs_tells())
		return ENOSYS;
	return syncfs(((struct fs_posix *)fs)->root) < 0 ? errno : 0;
}

static int posix_list(struct fs *fs, const char *path, bool (*each)(void *arg, const char *name), void *arg)
{
	int fd;
	int error = open_beneath(fs, path[0] ? path : ".", O_RDONLY | O_DIRECTORY, 0, &fd);

	if (error)
		return error;
	DIR *d = fdopendir(fd);
	if (!d) {
		close(fd);
		return ENOMEM;
	}
	for (;;) {
		errno = 0;
		struct dirent *entry = readdir(d);
		if (!entry) {
			error = errno;
			break;
		}
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (!each(arg, entry->d_name))
			break;
	}
	closedir(d);
	return error;
}

static int posix_space(struct fs *fs, uint64_t *ret_octets, uint64_t *ret_inodes)
{
	struct statvfs st;

	if (fstatvfs(((struct fs_posix *)fs)->root, &st) < 0)
		return errno;
	*ret_octets = (uint64_t)st.f_bavail * st.f_frsize;
	/* A file system without a fixed number of inodes tells 0 of 0. */
	*ret_inodes = st.f_files ? (uint64_t)st.f_favail : UINT64_MAX;
	return 0;
}

static void posix_close(struct fs *fs)
{
	close(((struct fs_posix *)fs)->root);
	heap_free(fs);
}

static const struct fs_ops fs_posix_ops = {
	posix_open,     posix_rename, posix_unlink, posix_mkdir, posix_sync_dir,
	posix_sync_all, posix_list,   posix_space,  posix_close,
};

int fs_posix_open(const char *root, struct fs **ret)
{
	struct fs_posix *fs = heap_new(struct fs_posix);

	if (!fs)
		return ENOMEM;
	*fs = (struct fs_posix){.fs = {&fs_posix_ops}, .root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
	if (fs->root < 0) {
		int error = errno;
		heap_free(fs);
		return error;
	}
	*ret = &fs->fs;
	return 0;
}

/* Without this a directory that is new, with all that was made durable in it, could be gone after a power cut. */
static int sync_parent(const char *path)
{
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX] = ".";

	if (slash) {
		size_t n = slash == path ? 1 : (size_t)(slash - path);
		memcpy(parent, path, n);
		parent[n] = '\0';
	}
	int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	int error = fsync(fd) < 0 ? errno : 0;
	close(fd);
	return error;
}

/* What is there may have been made by a process that ended before it was synced, or could not sync it. Above our own
 * directories that is not ours to do, and may not be possible. */
static int make_one(const char *path)
{
	if (mkdir(path, 0700) == 0)
		return sync_parent(path);
	if (errno != EEXIST)
		return errno;
	int error = sync_parent(path);
	return error == EACCES || error == EPERM || error == EINVAL || error == EROFS ? 0 : error;
}

int fs_posix_make_root(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);
	int error = 0;

	if (n == 0 || n >= sizeof part)
		return ENAMETOOLONG;
	memcpy(part, path, n + 1);
	for (size_t i = 1; i <= n && !error; i++) {
		if (part[i] != '/' && part[i] != '\0')
			continue;
		char end = part[i];
		part[i] = '\0';
		error = make_one(part);
		part[i] = end;
	}
	return error;
}
