/*
 * launcher: starts the processes of roles for the supervisor.
 *
 * What locks a process in holds for all that it starts, too: a supervisor that starts roles could not be locked in
 * closer than all of them together. So this process stands beside it and does nothing else. It never hears from
 * anybody but the supervisor, and the processes are the supervisor's children, not its own.
 */
#ifndef ROLE_LAUNCHER_H
#define ROLE_LAUNCHER_H

#include "role/wire.h"

#include <sys/types.h>

#define LAUNCHER_NAME "launcher"

struct launcher {
	pid_t pid;
	int fd;
};

/* Starts it; roles begin in the directory. False: errno. */
bool launcher_start(struct launcher *ret, int directory);
/* Starts a role with `fd` as its channel, which stays the caller's. Its process id, or -1: errno. */
pid_t launcher_run(const struct launcher *l, enum role_kind kind, uint32_t index, int fd);
/* Waits for its end, which comes by itself when this is closed. */
void launcher_stop(struct launcher *l);

/* The whole of its process; `fd` is its channel. Returns the exit status. */
int launcher_main(int fd);

#endif
