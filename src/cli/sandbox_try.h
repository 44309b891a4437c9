/*
 * sandbox_try: what a role could still do, found out by trying it.
 *
 * A scene is a data directory of its own, with something in every place, a process that does nothing, and sockets on
 * the loopback. For each role a process locks itself in as the role does and tries one attempt after the other; where
 * one ends it, another process goes on.
 */
#ifndef CLI_SANDBOX_TRY_H
#define CLI_SANDBOX_TRY_H

#include "net/sandbox.h"

struct sandbox_attempt {
	const char *name;    /* "read-mailbox" */
	const char *meaning; /* "read a message in a mailbox" */
};

extern const struct sandbox_attempt sandbox_attempts[];
extern const size_t sandbox_attempt_count;
#define SANDBOX_ATTEMPTS_MAX 32

enum sandbox_outcome {
	SANDBOX_MAY,
	SANDBOX_STOPPED, /* .error says how */
	SANDBOX_ENDED,   /* the process was ended for it */
	SANDBOX_UNKNOWN, /* it could not be tried */
};

struct sandbox_trial {
	enum sandbox_outcome outcome;
	int error;
};

struct sandbox_scene;

/* NULL: errno. Belongs to this process's user. */
struct sandbox_scene *sandbox_scene_open(void);
void sandbox_scene_close(struct sandbox_scene *s); /* removes it; NULL is fine */

/* One trial for each attempt. `row` NULL: by a process that is not locked in, to see that the attempts are good. False,
 * and why: it could not lock itself in. */
bool sandbox_try(struct sandbox_scene *s, const struct sandbox_row *row, const struct sandbox_needs *needs,
		 struct sandbox_trial ret[SANDBOX_ATTEMPTS_MAX], char why[SANDBOX_WHY_MAX]);

#endif
