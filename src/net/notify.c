#include "net/notify.h"

#include "base/slice.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* The process has one service manager. */
static int manager = -1;
static span_ms watchdog;

/* A path, or the name of an abstract socket behind "@". */
static int connect_to(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || n < 2 || n >= sizeof a.sun_path)
		return -1;
	memcpy(a.sun_path, name, n);
	if (name[0] == '@')
		a.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 &&
	    connect(fd, (const struct sockaddr *)&a, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* Half of the time that we have: one word may come late. */
static span_ms watchdog_of_environment(void)
{
	const char *text = getenv("WATCHDOG_USEC"), *pid_text = getenv("WATCHDOG_PID");
	uint64_t us, pid = (uint64_t)getpid();

	if (!text || !slice_u64(slice_from_cstr(text), INT64_MAX, &us) || us < 2000)
		return 0;
	if (pid_text && (!slice_u64(slice_from_cstr(pid_text), INT32_MAX, &pid) || pid != (uint64_t)getpid()))
		return 0;
	return (span_ms)(us / 2000);
}

void notify_begin(void)
{
	const char *name = getenv("NOTIFY_SOCKET");

	if (name)
		manager = connect_to(name);
	watchdog = manager >= 0 ? watchdog_of_environment() : 0;
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
}

/* Who does not listen misses it. */
static void tell(const char *text)
{
	if (manager >= 0)
		(void)send(manager, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void notify_ready(const char *status)
{
	char text[256];

	snprintf(text, sizeof text, "READY=1\nSTATUS=%s\n", status);
	tell(text);
}

void notify_reloading(void)
{
	struct timespec now;
	char text[96];

	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%lld\n",
		 (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
	tell(text);
}

void notify_stopping(void)
{
	tell("STOPPING=1\n");
}

void notify_alive(void)
{
	tell("WATCHDOG=1\n");
}

span_ms notify_watchdog(void)
{
	return watchdog;
}
