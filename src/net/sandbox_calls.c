/*
 * The filter of system calls, made by libseccomp from sandbox_calls.def.
 *
 * Default: ENOSYS, for what the table does not know and for arguments that no row allows. EPERM for what it knows and
 * these groups do not have. Where both come by a signal (sandbox_refused.c) the filter need not tell them apart.
 */
#include "net/sandbox_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#define OPEN_FOR_WRITING (O_ACCMODE | O_CREAT | O_TRUNC)
#define SOCKET_KIND      0xf /* of the second argument of socket(); the rest are flags */

/* In newer headers alone. */
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif

struct condition {
	unsigned argument;
	uint64_t mask, value;
};

struct call {
	enum sandbox_group group;
	const char *name;
	unsigned conditions;
	struct condition condition[2];
	bool self; /* the argument of condition[0] is our process id */
};

#define CALL(group, name)                           {SANDBOX_##group, #name, 0, {{0}}, false},
#define CALL_IF(group, name, n, mask, value)        {SANDBOX_##group, #name, 1, {{n, mask, value}}, false},
#define CALL_IF2(group, name, n, m1, v1, m, m2, v2) {SANDBOX_##group, #name, 2, {{n, m1, v1}, {m, m2, v2}}, false},
#define CALL_SELF(group, name, n)                   {SANDBOX_##group, #name, 1, {{n, 0xffffffffu, 0}}, true},
static const struct call calls[] = {
#include "net/sandbox_calls.def"
};
#undef CALL
#undef CALL_IF
#undef CALL_IF2
#undef CALL_SELF
static const size_t call_count = sizeof calls / sizeof *calls;

static bool has(unsigned groups, const struct call *c)
{
	return groups & SANDBOX_BIT(c->group);
}

/* Whether a row for the same call, among those that `groups` have, says more than this one. */
static bool is_covered(unsigned groups, const struct call *c)
{
	for (size_t i = 0; i < call_count; i++) {
		const struct call *other = &calls[i];
		if (strcmp(other->name, c->name) != 0 || !has(groups, other))
			continue;
		if (other->conditions == 0 && (c->conditions > 0 || other < c))
			return true;
	}
	return false;
}

static bool is_in(unsigned groups, const char *name)
{
	for (size_t i = 0; i < call_count; i++)
		if (strcmp(calls[i].name, name) == 0 && has(groups, &calls[i]))
			return true;
	return false;
}

/* EEXIST: two rows say the same. */
static int add_rule(scmp_filter_ctx filter, uint32_t action, int number, const struct call *c, unsigned conditions)
{
	struct scmp_arg_cmp cmp[2];

	for (unsigned i = 0; i < conditions; i++) {
		uint64_t value = c->self ? (uint64_t)getpid() : c->condition[i].value;
		cmp[i] = SCMP_CMP64(c->condition[i].argument, SCMP_CMP_MASKED_EQ, c->condition[i].mask, value);
	}
	int error = -seccomp_rule_add_array(filter, action, number, conditions, cmp);
	return error == EEXIST ? 0 : error;
}

/* A call of which these groups have no row at all. */
static int add_refusal(scmp_filter_ctx filter, bool caught, int number, const struct call *c)
{
	if (is_in(SANDBOX_BIT(SANDBOX_NEVER), c->name))
		return add_rule(filter, SCMP_ACT_KILL_PROCESS, number, c, 0);
	if (!caught)
		return add_rule(filter, SCMP_ACT_ERRNO(EPERM), number, c, 0);
	sandbox_forbid(number);
	return 0;
}

static int add_calls(scmp_filter_ctx filter, unsigned groups, bool caught, const char **what)
{
	for (size_t i = 0; i < call_count; i++) {
		const struct call *c = &calls[i];
		int number = seccomp_syscall_resolve_name(c->name), error = 0;
		*what = c->name;
		if (number == __NR_SCMP_ERROR)
			continue;
		if (has(groups, c) && !is_covered(groups, c))
			error = add_rule(filter, SCMP_ACT_ALLOW, number, c, c->conditions);
		else if (!is_in(groups, c->name))
			error = add_refusal(filter, caught, number, c);
		if (error)
			return error;
	}
	return 0;
}

static int set_up(scmp_filter_ctx filter, const char **what)
{
	*what = "its attributes";
	int error = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* Errors are the kernel's. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_API_SYSRAWRC, 1);
	/* Looked up as a tree; an old library knows lists alone. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return -error;
}

int sandbox_filter_calls(unsigned groups, const char **what)
{
	/* What starts programs must not have them ended by a signal that they do not expect. */
	bool caught = !(groups & SANDBOX_BIT(SANDBOX_START)) && sandbox_catch_refused();
	scmp_filter_ctx filter = seccomp_init(caught ? SCMP_ACT_TRAP : SCMP_ACT_ERRNO(ENOSYS));

	if (!filter) {
		*what = "memory";
		return ENOMEM;
	}
	int error = set_up(filter, what);
	if (!error)
		error = add_calls(filter, groups, caught, what);
	if (!error) {
		*what = "the filter of system calls";
		error = -seccomp_load(filter);
	}
	seccomp_release(filter);
	return error;
}
