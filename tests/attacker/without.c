/*
 * without: runs a program as on a kernel that lacks Landlock or seccomp, or in a container that tells of them and then
 * does not let them be used.
 *
 *	without [landlock|landlock-use] [seccomp|seccomp-use] PROGRAM ARGUMENT...
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static int forbid(scmp_filter_ctx filter, const char *name, int error)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)error), seccomp_syscall_resolve_name(name), 0);
}

/* When its first argument is that. */
static int forbid_if(scmp_filter_ctx filter, int number, unsigned argument, int error)
{
	return seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)error), number, 1,
				SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffffu, argument));
}

int main(int argc, char **argv)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int at = 1, failed = filter == NULL;

	for (; at < argc && !failed; at++) {
		if (strcmp(argv[at], "landlock") == 0)
			failed = forbid(filter, "landlock_create_ruleset", ENOSYS);
		else if (strcmp(argv[at], "landlock-use") == 0)
			failed = forbid(filter, "landlock_restrict_self", EPERM);
		else if (strcmp(argv[at], "seccomp") == 0)
			failed = forbid(filter, "seccomp", EINVAL) |
				 forbid_if(filter, SCMP_SYS(prctl), PR_SET_SECCOMP, EINVAL);
		else if (strcmp(argv[at], "seccomp-use") == 0)
			failed = forbid_if(filter, SCMP_SYS(seccomp), SECCOMP_SET_MODE_FILTER, EPERM) |
				 forbid_if(filter, SCMP_SYS(prctl), PR_SET_SECCOMP, EPERM);
		else
			break;
	}
	if (failed || at >= argc || seccomp_load(filter) < 0) {
		fprintf(stderr, "without: no filter\n");
		return 70;
	}
	execv(argv[at], argv + at);
	perror(argv[at]);
	return 70;
}
