/*
 * kill_at PID N: follows a process from system call to system call, and kills it when it enters the Nth from now on.
 *
 * It says "following" once it does, and "at NUMBER" when the process stands before its Nth call, with that call's
 * number; then it waits for a line on standard input, so that its user can look at the world while the process stands
 * still, kills it, and says "killed". On SIGTERM before that it says "counted N" and lets the process go on unharmed.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYSCALL_STOP (SIGTRAP | 0x80)

static volatile sig_atomic_t counted;

/* The kernel lets go of the process when its tracer ends. */
static void on_term(int number)
{
	char text[32] = "counted ";
	size_t n = strlen(text), digits = n;
	unsigned value = (unsigned)counted;

	(void)number;
	for (unsigned rest = value; rest >= 10; rest /= 10)
		digits++;
	for (size_t i = digits + 1; i > n; i--, value /= 10)
		text[i - 1] = (char)('0' + value % 10);
	text[digits + 1] = '\n';
	_exit(write(STDOUT_FILENO, text, digits + 2) < 0);
}

static void must(long result, const char *what)
{
	if (result < 0) {
		fprintf(stderr, "kill_at: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static int next_stop(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) < 0)
		must(errno == EINTR ? 0 : -1, "waitpid");
	if (!WIFSTOPPED(status)) {
		puts("gone");
		exit(0);
	}
	return status;
}

static void kill_it(pid_t pid, uint64_t call)
{
	char line[64];
	int status;

	printf("at %llu\n", (unsigned long long)call);
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		exit(1);
	must(kill(pid, SIGKILL), "kill");
	do
		must(waitpid(pid, &status, __WALL), "waitpid");
	while (WIFSTOPPED(status));
	puts("killed");
	exit(0);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_term};
	struct __ptrace_syscall_info info;

	if (argc != 3)
		return 64;
	pid_t pid = (pid_t)strtol(argv[1], NULL, 10);
	long wanted = strtol(argv[2], NULL, 10);
	sigaction(SIGTERM, &action, NULL);
	must(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACESYSGOOD), "PTRACE_SEIZE");
	must(ptrace(PTRACE_INTERRUPT, pid, 0, 0), "PTRACE_INTERRUPT");
	next_stop(pid);
	puts("following");
	fflush(stdout);
	for (int pass_on = 0;;) {
		must(ptrace(PTRACE_SYSCALL, pid, 0, pass_on), "PTRACE_SYSCALL");
		int status = next_stop(pid), number = WSTOPSIG(status);
		/* A signal for the process is passed on; other stops are ours. */
		pass_on = number == SYSCALL_STOP || status >> 16 ? 0 : number;
		if (number != SYSCALL_STOP)
			continue;
		must(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info), "PTRACE_GET_SYSCALL_INFO");
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY && ++counted == wanted)
			kill_it(pid, info.entry.nr);
	}
}
