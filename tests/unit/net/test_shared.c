#include "test.h"

#include "net/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE ((size_t)5000)

static void what_one_process_writes_another_reads(void **state)
{
	int fd = shared_new("test", SIZE);

	(void)state;
	assert_true(fd >= 0);
	char *ours = shared_map(dup(fd), SIZE);
	assert_non_null(ours);
	assert_int_equal(ours[0], 0);
	assert_int_equal(ours[SIZE - 1], 0);
	pid_t pid = fork();
	if (pid == 0) {
		shared_unmap(ours, SIZE);
		char *theirs = shared_map(fd, SIZE);
		if (theirs)
			theirs[SIZE - 1] = 42;
		_exit(theirs ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(ours[SIZE - 1], 42);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(fd, 100000), -1);
	close(fd);
	shared_unmap(ours, SIZE);
	shared_unmap(NULL, SIZE);
}

static void what_is_no_such_memory_is_not_mapped(void **state)
{
	int fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)SIZE), 0);
	assert_null(shared_map(fd, SIZE));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1); /* it was taken */
	assert_null(shared_map(open("/dev/zero", O_RDWR), SIZE));
	assert_null(shared_map(-1, SIZE));
	fd = shared_new("small", SIZE - 1);
	assert_null(shared_map(fd, SIZE));
	fd = shared_new("large", SIZE + 1);
	assert_null(shared_map(fd, SIZE));
	assert_int_equal(shared_new("too large", SIZE_MAX / 2 + 1), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_one_process_writes_another_reads),
		cmocka_unit_test(what_is_no_such_memory_is_not_mapped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
