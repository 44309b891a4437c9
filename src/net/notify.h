/*
 * notify: what a service manager is told of how the server does, by the protocol of sd_notify(3).
 *
 * Without a service manager that wants to hear, nothing happens.
 */
#ifndef NET_NOTIFY_H
#define NET_NOTIFY_H

#include "base/clock.h"

/* Connects to who wants to hear, as the environment says, and takes that out of the environment. Once, at the start. */
void notify_begin(void);
/* The server serves. `status` is for people. */
void notify_ready(const char *status);
/* It reads its configuration again; notify_ready follows. */
void notify_reloading(void);
void notify_stopping(void);
/* It is alive. Wanted once in each notify_watchdog, or the service manager takes it for dead; 0: not wanted. */
void notify_alive(void);
span_ms notify_watchdog(void);

#endif
