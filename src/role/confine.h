/*
 * confine: what a role needs by its configuration, besides its row of the sandbox's table.
 */
#ifndef ROLE_CONFINE_H
#define ROLE_CONFINE_H

#include "conf/conf.h"
#include "net/sandbox.h"
#include "role/wire.h"

#define CONFINE_PORTS_MAX 64
#define CONFINE_PATHS_MAX 16
#define CONFINE_TEXTS_MAX 8192 /* octets of all paths */

struct confine_needs {
	struct sandbox_needs sandbox; /* points into the rest, so a copy of it is of no use */
	uint16_t ports[CONFINE_PORTS_MAX];
	struct sandbox_path paths[CONFINE_PATHS_MAX + 1];
	size_t path_count, text_length;
	char texts[CONFINE_TEXTS_MAX];
};

/* For a process whose directory is the data directory. More ports than there is room for: any. */
void confine_needs(enum role_kind kind, const struct conf *c, struct confine_needs *ret);

/* Whether a role that locked itself in for `a` has what it needs by `b`. */
bool confine_covers(const struct confine_needs *a, const struct confine_needs *b);

/* Says which system calls were refused since it was last asked. In every turn of a loop: it costs nothing. */
void confine_log_refused(void);

#endif
