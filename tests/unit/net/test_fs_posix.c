#include "test.h"

#include "net/fs_posix.h"

#include <errno.h>
#include <unistd.h>

static char root[64];

static int set_up(void **state)
{
	struct fs *fs = NULL;

	snprintf(root, sizeof root, "/tmp/postrider-fs-XXXXXX");
	if (!mkdtemp(root) || fs_posix_open(root, &fs) != 0)
		return -1;
	*state = fs;
	return 0;
}

static int tear_down(void **state)
{
	struct fs *fs = *state;

	fs->ops->close(fs);
	/* Only what the tests below make. */
	static const char *const names[] = {"d/new", "d/f", "d/link", "d", "f", "out", "tmp"};
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		char path[128];
		snprintf(path, sizeof path, "%s/%s", root, names[i]);
		if (unlink(path) < 0)
			rmdir(path);
	}
	return rmdir(root);
}

static void a_file_is_written_synced_moved_and_read(void **state)
{
	struct fs *fs = *state;
	struct file *f;
	char in[16];
	size_t n;
	uint64_t size;

	assert_int_equal(fs->ops->mkdir(fs, "d"), 0);
	assert_int_equal(fs->ops->mkdir(fs, "d"), 0);
	assert_int_equal(fs->ops->open(fs, "f", FS_WRITE | FS_CREATE, &f), 0);
	assert_int_equal(f->ops->write(f, SLICE("hello")), 0);
	assert_int_equal(f->ops->sync(f), 0);
	f->ops->close(f);
	assert_int_equal(fs->ops->open(fs, "f", FS_WRITE | FS_CREATE, &f), EEXIST);
	assert_int_equal(fs->ops->rename(fs, "f", "d/f"), 0);
	assert_int_equal(fs->ops->sync_dir(fs, "d"), 0);
	assert_int_equal(fs->ops->sync_dir(fs, ""), 0);
	assert_int_equal(fs->ops->open(fs, "f", FS_READ, &f), ENOENT);
	assert_int_equal(fs->ops->open(fs, "d/f", FS_READ, &f), 0);
	assert_int_equal(f->ops->size(f, &size), 0);
	assert_int_equal(size, 5);
	assert_int_equal(f->ops->read(f, 1, in, sizeof in, &n), 0);
	assert_slice(slice_of(in, n), "ello");
	assert_int_equal(f->ops->read(f, 5, in, sizeof in, &n), 0);
	assert_int_equal(n, 0);
	assert_int_not_equal(f->ops->write(f, SLICE("x")), 0);
	f->ops->close(f);
	assert_int_equal(fs->ops->unlink(fs, "d/f"), 0);
}

/* attacks E6, L2: nothing leads out of the root, and no link is followed. */
static void E6_no_path_leads_out_of_the_root(void **state)
{
	static const char *const bad[] = {"../x", "/etc/passwd", "d/../../x", "d/link/passwd", "out"};
	struct fs *fs = *state;
	char path[128];
	struct file *f;

	fs->ops->mkdir(fs, "d");
	snprintf(path, sizeof path, "%s/d/link", root);
	assert_int_equal(symlink("/etc", path), 0);
	snprintf(path, sizeof path, "%s/out", root);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_not_equal(fs->ops->open(fs, bad[i], FS_READ, &f), 0);
		assert_int_not_equal(fs->ops->open(fs, bad[i], FS_WRITE | FS_CREATE, &f), 0);
	}
	assert_int_not_equal(fs->ops->rename(fs, "../x", "d/new"), 0);
	assert_int_not_equal(fs->ops->unlink(fs, "d/link/hostname"), 0);
}

static bool count_name(void *arg, const char *name)
{
	int *count = arg;

	assert_string_not_equal(name, ".");
	assert_string_not_equal(name, "..");
	++*count;
	return true;
}

static void a_directory_lists_its_names(void **state)
{
	struct fs *fs = *state;
	int count = 0;

	assert_int_equal(fs->ops->mkdir(fs, "d"), 0);
	assert_int_equal(fs->ops->mkdir(fs, "tmp"), 0);
	assert_int_equal(fs->ops->list(fs, "", count_name, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(fs->ops->list(fs, "nowhere", count_name, &count), ENOENT);
}

static void space_is_told(void **state)
{
	struct fs *fs = *state;
	uint64_t octets = 0, inodes = 0;

	assert_int_equal(fs->ops->space(fs, &octets, &inodes), 0);
	assert_true(octets > 0);
	assert_true(inodes > 0);
}

/* The linker leads the calls of fsync here. */
int __real_fsync(int fd);
int __wrap_fsync(int fd);
static int syncs, fail_at; /* the sync that fails, counted from 1; 0: none */

int __wrap_fsync(int fd)
{
	if (++syncs == fail_at) {
		errno = EIO;
		return -1;
	}
	return __real_fsync(fd);
}

/* A root whose name could not be synced is there for the next process, and not yet for the next power cut. */
static void a_root_that_is_there_already_is_made_durable(void **state)
{
	char path[128];

	(void)state;
	snprintf(path, sizeof path, "%s/d/new", root);
	/* /tmp and the root are there: the third is the first of ours. */
	syncs = 0;
	fail_at = 3;
	assert_int_equal(fs_posix_make_root(path), EIO);
	assert_int_equal(access(path, F_OK), -1);
	syncs = fail_at = 0;
	assert_int_equal(fs_posix_make_root(path), 0);
	int all = syncs;
	syncs = 0;
	assert_int_equal(fs_posix_make_root(path), 0);
	assert_int_equal(syncs, all);
	fail_at = all;
	syncs = 0;
	assert_int_equal(fs_posix_make_root(path), EIO);
	fail_at = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_is_written_synced_moved_and_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(E6_no_path_leads_out_of_the_root, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_directory_lists_its_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(space_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_root_that_is_there_already_is_made_durable, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
