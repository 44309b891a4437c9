/*
 * Calls that the filter refuses come back as a signal, whose handler makes the call fail and remembers which it was, so
 * that the log can tell. What somebody else's code does to the handler changes nothing: the call was not made.
 *
 * A process that starts programs does without: they would be ended by the signal.
 */
#include "net/sandbox_private.h"

#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define NUMBERS_MAX 1024 /* of system calls; the newest ones have some 470 */
#define FROM_FILTER 1    /* SYS_SECCOMP: not in every header */

#if defined __x86_64__
#define RESULT_OF(context) ((context)->uc_mcontext.gregs[REG_RAX])
#elif defined __aarch64__
#define RESULT_OF(context) ((context)->uc_mcontext.regs[0])
#elif defined __riscv
#define RESULT_OF(context) ((context)->uc_mcontext.__gregs[REG_A0])
#endif

/* The process has one filter, and one handler of each signal. */
static bool forbidden[NUMBERS_MAX];
static atomic_bool refused[NUMBERS_MAX], told[NUMBERS_MAX], any;

#ifdef RESULT_OF
static void on_refused(int signal, siginfo_t *info, void *arg)
{
	ucontext_t *context = arg;
	int number = info->si_syscall;
	bool counted = number >= 0 && number < NUMBERS_MAX;

	(void)signal;
	if (info->si_code != FROM_FILTER)
		return;
	RESULT_OF(context) = counted && forbidden[number] ? -EPERM : -ENOSYS;
	if (!counted || atomic_load_explicit(&told[number], memory_order_relaxed))
		return;
	atomic_store_explicit(&refused[number], true, memory_order_relaxed);
	atomic_store_explicit(&any, true, memory_order_relaxed);
}

bool sandbox_catch_refused(void)
{
	struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO | SA_NODEFER};

	return sigaction(SIGSYS, &action, NULL) == 0;
}
#else
bool sandbox_catch_refused(void)
{
	return false;
}
#endif

void sandbox_forbid(int number)
{
	if (number >= 0 && number < NUMBERS_MAX)
		forbidden[number] = true;
}

static void write_name(int number, char ret[SANDBOX_CALL_MAX])
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);

	if (name)
		snprintf(ret, SANDBOX_CALL_MAX, "%s", name);
	else
		snprintf(ret, SANDBOX_CALL_MAX, "%d", number);
	free(name); /* the library's */
}

bool sandbox_next_refused(char ret[SANDBOX_CALL_MAX])
{
	if (!atomic_load_explicit(&any, memory_order_relaxed))
		return false;
	atomic_store_explicit(&any, false, memory_order_relaxed);
	for (int i = 0; i < NUMBERS_MAX; i++) {
		if (!atomic_load_explicit(&refused[i], memory_order_relaxed) ||
		    atomic_exchange_explicit(&told[i], true, memory_order_relaxed))
			continue;
		atomic_store_explicit(&any, true, memory_order_relaxed); /* perhaps there are more */
		write_name(i, ret);
		return true;
	}
	return false;
}
