/*
 * store_check: is the data directory of a server that does not run sound?
 *
 * Looks at everything and changes nothing: the database's structure, the invariants of its tables (docs/store.md), each
 * body and each envelope with its digest, each value against its bounds, and the files below spool/ against the rows
 * that name them.
 * Time and memory: one pass over the database; memory is bounded by SQLite's cache and the largest body.
 */
#ifndef QUEUE_STORE_CHECK_H
#define QUEUE_STORE_CHECK_H

#include "queue/store.h"

struct store_check_config {
	const char *path; /* of the database file */
	const char *vfs;  /* name of an SQLite VFS; NULL = the default */
	struct fs *fs;    /* of the data directory */
	/* Called for each problem; `text` is lent for the call. */
	void (*problem)(void *arg, bool is_error, msg_id id, const char *text);
	void *arg;
};

struct store_check {
	uint64_t messages, open;              /* open: with recipients that are not settled */
	uint64_t states[STORE_STATE_MAX + 1]; /* recipients, counted */
	uint64_t bodies, body_octets;         /* in the database */
	uint64_t files, file_octets;          /* bodies in files */
	uint64_t strays, stray_octets;        /* files that no message names: the next start removes them */
	uint64_t errors, warnings;
};

/*
 * STORE_OK: everything was looked at, see *ret. Else the check could not be made, and `why` (NULL: not wanted) says
 * what to do: STORE_LOCKED while a server runs, STORE_NOT_FOUND without a database, STORE_VERSION for a newer or an
 * older one, STORE_CORRUPT when the file is not Postrider's or cannot be read at all, STORE_IO, STORE_NO_MEMORY.
 */
enum store_result store_sqlite_check(const struct store_check_config *config, struct store_check *ret, struct buf *why);

#endif
