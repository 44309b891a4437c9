/*
 * The sandbox: each test locks a process of its own in, and looks at what is left. Where the kernel has no Landlock or
 * no seccomp, its part cannot be tried: that is said, and fails nothing.
 */
#include "test.h"

#include "net/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char directory[64];

static int make_directory(void **state)
{
	char path[128];

	(void)state;
	snprintf(directory, sizeof directory, "/tmp/test-sandbox.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof path, "%s/own", directory);
	if (mkdir(path, 0700) < 0)
		return -1;
	snprintf(path, sizeof path, "%s/other", directory);
	return close(open(path, O_WRONLY | O_CREAT, 0600));
}

static int remove_directory(void **state)
{
	static const char *const names[] = {"own/file", "own", "place", "other", ""};
	char path[128];

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(path, sizeof path, "%s/%s", directory, names[i]);
		remove(path);
	}
	return 0;
}

static const unsigned everything_harmless =
	SANDBOX_BIT(SANDBOX_BASE) | SANDBOX_BIT(SANDBOX_READ) | SANDBOX_BIT(SANDBOX_WRITE);

/* Runs `what` in a process that locked itself in; its answer, or 1000 + the signal that ended it. */
static int inside(const struct sandbox_row *row, const struct sandbox_needs *needs, int (*what)(void))
{
	struct sandbox_needs all = needs ? *needs : (struct sandbox_needs){0};
	char why[SANDBOX_WHY_MAX] = "";
	int status;

	fflush(stdout);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		all.data_dir = directory;
		sandbox_begin();
		if (!sandbox_enter(row, &all, why)) {
			fprintf(stderr, "%s\n", why);
			_exit(255);
		}
		_exit(what());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static bool has_seccomp(void)
{
	if (sandbox_kernel().seccomp)
		return true;
	print_message("this kernel has no seccomp\n");
	return false;
}

static bool has_landlock(int abi)
{
	if (sandbox_kernel().landlock >= abi)
		return true;
	print_message("this kernel has no Landlock of version %d\n", abi);
	return false;
}

/* ---- system calls --------------------------------------------------------------------------------------------- */

static int call_known(void)
{
	return socket(AF_INET, SOCK_DGRAM, 0) < 0 ? errno : 0;
}

static void a_call_of_another_group_is_not_permitted(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = everything_harmless};

	if (has_seccomp())
		assert_int_equal(inside(&row, NULL, call_known), EPERM);
	row.calls |= SANDBOX_BIT(SANDBOX_DATAGRAM);
	assert_int_equal(inside(&row, NULL, call_known), 0);
}

static int call_unknown(void)
{
	return syscall(4000) < 0 ? errno : 0;
}

static void a_call_that_nobody_knows_is_not_there(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = everything_harmless};

	assert_int_equal(inside(&row, NULL, call_unknown), ENOSYS);
}

static const int never[] = {
	SYS_chroot,       SYS_execveat,    SYS_process_vm_writev,
	SYS_bpf,          SYS_userfaultfd, SYS_keyctl,
	SYS_mount,        SYS_unshare,     SYS_setns,
	SYS_setresuid,    SYS_setgroups,   SYS_open_by_handle_at,
	SYS_reboot,       SYS_kcmp,        SYS_io_uring_setup,
	SYS_finit_module,
};
static int one_of_never;

static int call_never(void)
{
	return syscall(one_of_never, -1, -1, -1, -1, -1, -1) < 0 ? errno : 0;
}

static void what_nobody_ever_does_ends_the_process(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = everything_harmless};

	for (size_t i = 0; i < sizeof never / sizeof *never && has_seccomp(); i++) {
		one_of_never = never[i];
		assert_int_equal(inside(&row, NULL, call_never), 1000 + SIGSYS);
	}
}

static int socket_of_another_kind(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0 ? errno : 0;
}

static void arguments_decide_as_well(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = everything_harmless | SANDBOX_BIT(SANDBOX_STREAM)};

	if (has_seccomp())
		assert_int_equal(inside(&row, NULL, socket_of_another_kind), ENOSYS);
	row.calls |= SANDBOX_BIT(SANDBOX_UNIX);
	assert_int_equal(inside(&row, NULL, socket_of_another_kind), 0);
}

static int open_for_writing(void)
{
	int fd = open("/dev/null", O_WRONLY);

	return fd < 0 ? errno : 0;
}

static int open_for_reading(void)
{
	int fd = open("/dev/null", O_RDONLY);

	return fd < 0 ? errno : 0;
}

static void who_may_read_may_not_write(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = SANDBOX_BIT(SANDBOX_BASE) | SANDBOX_BIT(SANDBOX_READ), .all_files = true};

	assert_int_equal(inside(&row, NULL, open_for_reading), 0);
	if (has_seccomp() && !sandbox_sanitizer_row)
		assert_int_equal(inside(&row, NULL, open_for_writing), ENOSYS);
}

static int make_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(p, 4096, PROT_READ | PROT_EXEC) < 0 ? 1 : 0;
}

static void what_was_written_is_never_run(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = everything_harmless};

	if (has_seccomp() && !sandbox_sanitizer_row)
		assert_int_equal(inside(&row, NULL, make_code), 1);
}

static int be_refused(void)
{
	char name[SANDBOX_CALL_MAX] = "";

	if (sandbox_next_refused(name))
		return 1;
	for (int i = 0; i < 3; i++)
		if (socket(AF_INET, SOCK_STREAM, 0) >= 0 || errno != EPERM || syscall(900) >= 0 || errno != ENOSYS)
			return 2;
	bool one = sandbox_next_refused(name) && strcmp(name, "socket") == 0;
	bool other = sandbox_next_refused(name) && strcmp(name, "900") == 0;
	if (!one || !other)
		return 3;
	(void)!socket(AF_INET, SOCK_STREAM, 0);
	return sandbox_next_refused(name) ? 4 : 0;
}

static void what_is_refused_is_told_once(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = SANDBOX_BIT(SANDBOX_BASE) | SANDBOX_BIT(SANDBOX_CHANNEL)};

	if (has_seccomp() && !sandbox_sanitizer_row)
		assert_int_equal(inside(&row, NULL, be_refused), 0);
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

static int sort_many(void)
{
	size_t count = 300000; /* more than goes on the stack */
	int *numbers = malloc(count * sizeof *numbers);

	for (size_t i = 0; numbers && i < count; i++)
		numbers[i] = (int)(i * 7919 % count);
	if (numbers)
		qsort(numbers, count, sizeof *numbers, compare);
	bool good = numbers && numbers[0] == 0;
	free(numbers);
	return good ? 0 : 1;
}

static int grow_and_shrink(void)
{
	char *p = NULL;

	for (size_t size = 1 << 10; size <= (size_t)64 << 20; size *= 4) {
		char *grown = realloc(p, size);
		if (!grown)
			return 1;
		grown[size - 1] = 1;
		p = grown;
	}
	p = realloc(p, 100);
	malloc_trim(0);
	free(p);
	void *pages = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return pages == MAP_FAILED || madvise(pages, 1 << 20, MADV_DONTNEED) < 0 ||
	       mprotect(pages, 4096, PROT_NONE) < 0;
}

static int look_at_files_that_are_open(void)
{
	struct stat st;
	struct statx stx;
	int ends[2];

	return pipe(ends) < 0 || fstat(ends[0], &st) < 0 || statx(ends[0], "", AT_EMPTY_PATH, STATX_SIZE, &stx) < 0 ||
	       dup2(ends[0], 100) < 0 || isatty(ends[0]) != 0 || close(100) < 0;
}

static int know_the_time(void)
{
	time_t now = time(NULL);
	struct timespec moment = {.tv_nsec = 1000};
	struct tm tm;

	/* What has no page in memory that tells it. */
	return !localtime_r(&now, &tm) || mktime(&tm) != now || nanosleep(&moment, NULL) < 0 ||
	       syscall(SYS_clock_gettime, 0, &moment) < 0;
}

/* What libraries do now and then, or where memory is short, of a process that may do nothing but live. */
static int be_in_a_tight_spot(void)
{
	char octets[16], name[SANDBOX_CALL_MAX];

	if (grow_and_shrink() || sort_many())
		return 1;
	if (look_at_files_that_are_open())
		return 2;
	if (know_the_time())
		return 3;
	if (getrandom(octets, sizeof octets, 0) < 0 || getentropy(octets, sizeof octets) < 0)
		return 4;
	if (sysconf(_SC_PAGESIZE) <= 0 || sysconf(_SC_OPEN_MAX) <= 0 || sched_yield() < 0)
		return 5;
	if (!sandbox_next_refused(name))
		return 0;
	fprintf(stderr, "%s was refused\n", name);
	return 6;
}

static void what_the_runtime_needs_in_a_tight_spot_is_permitted(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = SANDBOX_BIT(SANDBOX_BASE)};

	assert_int_equal(inside(&row, NULL, be_in_a_tight_spot), 0);
}

static int abort_as_ever(void)
{
	abort();
}

static void an_assertion_still_ends_the_process(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = SANDBOX_BIT(SANDBOX_BASE)};

	assert_int_equal(inside(&row, NULL, abort_as_ever), 1000 + SIGABRT);
}

static int what_is_left_of_privileges(void)
{
	struct rlimit core, processes;
	unsigned wrong = 0;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0) /* not asked for by any group */
		wrong |= 1u << 4;
	getrlimit(RLIMIT_CORE, &core);
	getrlimit(RLIMIT_NPROC, &processes);
	wrong |= core.rlim_max != 0;
	wrong |= (unsigned)(processes.rlim_max != 0) << 1;
	return (int)wrong;
}

static void no_core_is_dumped_and_no_process_started(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = SANDBOX_BIT(SANDBOX_BASE)};

	if (has_seccomp() && !sandbox_sanitizer_row)
		assert_int_equal(inside(&row, NULL, what_is_left_of_privileges), 0);
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

static int open_below(const char *name, int flags)
{
	char path[128];

	snprintf(path, sizeof path, "%s/%s", directory, name);
	int fd = open(path, flags, 0600);
	return fd < 0 ? errno : 0;
}

static int make_own(void)
{
	return open_below("own/file", O_WRONLY | O_CREAT);
}

static int read_other(void)
{
	return open_below("other", O_RDONLY);
}

static int make_in_place(void)
{
	return open_below("place", O_RDONLY | O_DIRECTORY);
}

static void files_are_those_of_the_row(void **state)
{
	(void)state;
	struct sandbox_row row = {
		.calls = everything_harmless,
		.paths = {{"own", SANDBOX_FILE_READ | SANDBOX_FILE_WRITE | SANDBOX_FILE_MAKE},
			  {"not there", SANDBOX_FILE_READ}},
	};

	assert_int_equal(inside(&row, NULL, make_own), 0);
	if (has_landlock(1))
		assert_int_equal(inside(&row, NULL, read_other), EACCES);
	row.all_files = true;
	assert_int_equal(inside(&row, NULL, read_other), 0);
}

static void more_paths_come_from_who_locks_in(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = everything_harmless};
	struct sandbox_path paths[] = {{"other", SANDBOX_FILE_READ}, {0}};

	assert_int_equal(inside(&row, &(struct sandbox_needs){.paths = paths}, read_other), 0);
}

static void a_place_is_made_before(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = everything_harmless,
				  .paths = {{"place", SANDBOX_FILE_READ | SANDBOX_FILE_PLACE}}};

	assert_int_equal(inside(&row, NULL, make_in_place), 0);
}

/* ---- ports ---------------------------------------------------------------------------------------------------- */

static uint16_t tcp_port;

static int connect_to_port(void)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(tcp_port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 || connect(fd, (const struct sockaddr *)&to, sizeof to) < 0 ? errno : 0;
}

static void ports_are_those_that_are_needed(void **state)
{
	(void)state;
	struct sandbox_row row = {.calls = everything_harmless, .calls_if_needed = SANDBOX_BIT(SANDBOX_STREAM)};
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof own;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (const struct sockaddr *)&own, sizeof own), 0);
	assert_int_equal(listen(listener, 10), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&own, &size), 0);
	tcp_port = ntohs(own.sin_port);
	uint16_t other = (uint16_t)(tcp_port ^ 1);
	struct sandbox_needs needs = {.calls = SANDBOX_BIT(SANDBOX_STREAM), .ports = &tcp_port, .port_count = 1};
	assert_int_equal(inside(&row, &needs, connect_to_port), 0);
	needs.ports = &other;
	if (has_landlock(4))
		assert_int_equal(inside(&row, &needs, connect_to_port), EACCES);
	needs.any_port = true;
	assert_int_equal(inside(&row, &needs, connect_to_port), 0);
	needs.calls = 0;
	if (has_seccomp())
		assert_int_equal(inside(&row, &needs, connect_to_port), EPERM);
	close(listener);
}

/* ---- the table ------------------------------------------------------------------------------------------------ */

static void no_role_has_what_none_may(void **state)
{
	(void)state;
	for (size_t i = 0; i < sandbox_row_count; i++) {
		const struct sandbox_row *r = &sandbox_rows[i];
		unsigned calls = r->calls | r->calls_if_needed;
		assert_ptr_equal(sandbox_row(r->role), r);
		assert_true(r->may && r->never);
		assert_false(calls & SANDBOX_BIT(SANDBOX_NEVER));
		assert_false(calls & SANDBOX_BIT(SANDBOX_SANITIZER));
		assert_null(r->paths[SANDBOX_PATHS_MAX - 1].path);
		/* The launcher alone starts something, and what it starts locks itself in. */
		if (strcmp(r->role, "launcher") == 0)
			continue;
		assert_false(calls & SANDBOX_BIT(SANDBOX_START));
		assert_false(calls & SANDBOX_BIT(SANDBOX_LISTEN));
		assert_false(r->all_files);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_call_of_another_group_is_not_permitted),
		cmocka_unit_test(a_call_that_nobody_knows_is_not_there),
		cmocka_unit_test(what_nobody_ever_does_ends_the_process),
		cmocka_unit_test(arguments_decide_as_well),
		cmocka_unit_test(who_may_read_may_not_write),
		cmocka_unit_test(what_was_written_is_never_run),
		cmocka_unit_test(what_is_refused_is_told_once),
		cmocka_unit_test(what_the_runtime_needs_in_a_tight_spot_is_permitted),
		cmocka_unit_test(an_assertion_still_ends_the_process),
		cmocka_unit_test(no_core_is_dumped_and_no_process_started),
		cmocka_unit_test(files_are_those_of_the_row),
		cmocka_unit_test(more_paths_come_from_who_locks_in),
		cmocka_unit_test(a_place_is_made_before),
		cmocka_unit_test(ports_are_those_that_are_needed),
		cmocka_unit_test(no_role_has_what_none_may),
	};
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
