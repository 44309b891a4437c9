#include "role/launcher.h"

#include "net/log.h"
#include "net/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define CHANNEL_FD 3

struct request {
	int32_t kind;
	uint32_t index;
};

struct answer {
	int32_t pid, error;
};

/* ---- frames --------------------------------------------------------------------------------------------------- */

static bool send_request(int to, const struct request *r, int fd)
{
	char control[CMSG_SPACE(sizeof fd)] = {0};
	struct iovec part = {.iov_base = (void *)(uintptr_t)r, .iov_len = sizeof *r};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(c), &fd, sizeof fd);
	return sendmsg(to, &message, MSG_NOSIGNAL) == (ssize_t)sizeof *r;
}

/* -1: there is none, or the supervisor is gone. */
static int receive_request(int from, struct request *ret)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {.iov_base = ret, .iov_len = sizeof *ret};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	ssize_t n;
	int fd = -1;

	do
		n = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	struct cmsghdr *c = n == (ssize_t)sizeof *ret ? CMSG_FIRSTHDR(&message) : NULL;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof fd))
		memcpy(&fd, CMSG_DATA(c), sizeof fd);
	return fd;
}

/* ---- the supervisor's side ------------------------------------------------------------------------------------ */

/* This program again, with `fd` as its channel. */
static _Noreturn void execute(const char *name, uint32_t index, int fd)
{
	char index_text[16];
	sigset_t none;

	/* dup2 on itself would keep close-on-exec. */
	if (fd == CHANNEL_FD)
		fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, CHANNEL_FD) < 0)
		_exit(EX_OSERR);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(index_text, sizeof index_text, "%u", index);
	char *const argv[] = {(char[]){"postriderd"}, (char[]){"--role"}, (char *)(uintptr_t)name, index_text, NULL};
	execv("/proc/self/exe", argv);
	_exit(EX_OSERR);
}

bool launcher_start(struct launcher *ret, int directory)
{
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return false;
	log_flush(); /* or the child would write what is gathered once more */
	*ret = (struct launcher){.pid = fork(), .fd = ends[0]};
	if (ret->pid == 0) {
		if (fchdir(directory) < 0)
			_exit(EX_OSERR);
		execute(LAUNCHER_NAME, 0, ends[1]);
	}
	int error = errno;
	close(ends[1]);
	if (ret->pid > 0)
		return true;
	close(ends[0]);
	errno = error;
	return false;
}

pid_t launcher_run(const struct launcher *l, enum role_kind kind, uint32_t index, int fd)
{
	struct request request = {.kind = (int32_t)kind, .index = index};
	struct answer answer;
	ssize_t n;

	if (!send_request(l->fd, &request, fd))
		return -1;
	do
		n = recv(l->fd, &answer, sizeof answer, 0);
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof answer) {
		errno = n < 0 ? errno : ECHILD;
		return -1;
	}
	errno = answer.error;
	return answer.pid;
}

void launcher_stop(struct launcher *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
	while (l->pid > 0 && waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
		;
	l->pid = 0;
}

/* ---- its process ---------------------------------------------------------------------------------------------- */

/* The C library has no fork for a sibling. Nothing but what leads to the new program happens in it. */
static pid_t fork_sibling(void)
{
#ifdef __s390__
	return (pid_t)syscall(SYS_clone, NULL, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL);
#else
	return (pid_t)syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, NULL);
#endif
}

static bool serve_one(int channel)
{
	struct request request;
	int fd = receive_request(channel, &request);

	if (fd < 0)
		return false;
	if (request.kind <= ROLE_SUPERVISOR || request.kind > ROLE_KIND_MAX || request.index >= UINT16_MAX) {
		close(fd);
		return false;
	}
	pid_t pid = fork_sibling();
	if (pid == 0)
		execute(role_name((enum role_kind)request.kind), request.index, fd);
	struct answer answer = {.pid = (int32_t)pid, .error = pid < 0 ? errno : 0};
	close(fd);
	return send(channel, &answer, sizeof answer, MSG_NOSIGNAL) == (ssize_t)sizeof answer;
}

int launcher_main(int fd)
{
	char why[SANDBOX_WHY_MAX];
	struct sandbox_needs needs = {.data_dir = "."};

	sandbox_begin();
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	log_setup(LAUNCHER_NAME, false, LOG_INFO);
	if (!sandbox_enter(sandbox_row(LAUNCHER_NAME), &needs, why)) {
		log_event(LOG_START_FAILED, LOG_CSTR("reason", "the role cannot lock itself in"),
			  LOG_CSTR("detail", why));
		log_flush();
		return EX_OSERR;
	}
	while (serve_one(fd))
		;
	return 0;
}
