#include "net/sandbox_private.h"

#include "net/fs_posix.h"

#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static bool fail(char why[SANDBOX_WHY_MAX], const char *what, int error)
{
	snprintf(why, SANDBOX_WHY_MAX, "%s: %s", what, strerror(error));
	return false;
}

void sandbox_begin(void)
{
	struct rlimit none = {0, 0};

	(void)setrlimit(RLIMIT_CORE, &none);
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	(void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* Without TZ the C library looks at the file of the local time again and again. */
	(void)setenv("TZ", ":/etc/localtime", 0);
	tzset();
}

/* A container may forbid that they are given up by who has none. */
static bool has_no_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, now) < 0)
		return false;
	for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++)
		if (now[i].effective || now[i].permitted || now[i].inheritable)
			return false;
	return true;
}

bool sandbox_drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

	/* Older kernels have no ambient ones; without those to be permitted none of them stays anyway. */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) == 0 || has_no_capabilities();
}

/* A container may let the question through, and not the use: a filter that is nowhere can be looked for at least. */
static bool has_seccomp(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0 &&
	       syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) < 0 && errno == EFAULT;
}

struct sandbox_kernel sandbox_kernel(void)
{
	return (struct sandbox_kernel){.landlock = sandbox_landlock_abi(), .seccomp = has_seccomp()};
}

/* Counted for all of a user's processes: 0 means that this one starts none. */
static bool forbid_processes(void)
{
	struct rlimit none = {0, 0};

	return setrlimit(RLIMIT_NPROC, &none) == 0;
}

static int make_places(const struct sandbox_row *row, const char *data_dir)
{
	char path[PATH_MAX];
	int error = 0;

	for (const struct sandbox_path *p = row->paths; p->path && !error; p++) {
		if (!(p->rights & SANDBOX_FILE_PLACE))
			continue;
		int n = snprintf(path, sizeof path, "%s/%s", data_dir, p->path);
		error = n < (int)sizeof path ? fs_posix_make_root(path) : ENAMETOOLONG;
	}
	return error;
}

bool sandbox_enter(const struct sandbox_row *row, const struct sandbox_needs *needs, char why[SANDBOX_WHY_MAX])
{
	struct sandbox_kernel kernel = sandbox_kernel();
	unsigned calls = row->calls | (row->calls_if_needed & needs->calls) |
			 (sandbox_sanitizer_row ? sandbox_sanitizer_row->calls : 0);
	const char *what = "";
	int error = make_places(row, needs->data_dir);

	if (error)
		return fail(why, "its directories", error);
	if (needs->required && (!kernel.landlock || !kernel.seccomp))
		return fail(why, kernel.landlock ? "seccomp is required" : "Landlock is required", EOPNOTSUPP);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(why, "no new privileges", errno);
	if (!sandbox_drop_capabilities())
		return fail(why, "capabilities", errno);
	if (!(calls & SANDBOX_BIT(SANDBOX_START)) && !forbid_processes())
		return fail(why, "the limit of processes", errno);
	if (kernel.landlock && !row->all_files &&
	    (error = sandbox_confine_files(row, needs, kernel.landlock, &what)) != 0)
		return fail(why, what, error);
	if (kernel.seccomp && (error = sandbox_filter_calls(calls, &what)) != 0)
		return fail(why, what, error);
	return true;
}
