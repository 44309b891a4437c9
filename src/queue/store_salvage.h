/*
 * store_salvage: out of a damaged database, a new one with everything that can still be read.
 *
 * The damaged one is never changed: it goes to quarantine/TIME/ in the data directory, with its log and with the bodies
 * in files that no message names any more. Messages are looked for in every table and index, and taken one by one: what
 * is whole goes on as it was; what has lost its sender or its body is held, for people to look at; what has lost more
 * is told, and stays in quarantine only. Root pages are where they always are, so that even a destroyed first page
 * costs nothing.
 */
#ifndef QUEUE_STORE_SALVAGE_H
#define QUEUE_STORE_SALVAGE_H

#include "queue/store.h"

/* While a file of this name is in the data directory, its database is not to be opened, but to be salvaged. */
#define STORE_SUSPECT "queue.db.suspect"

enum store_salvage_fate {
	STORE_SALVAGE_HELD, /* it is there, but held */
	STORE_SALVAGE_LOST, /* it, or some of its recipients, could not be read */
};

struct store_salvage_config {
	const char *path; /* of the database, ".../queue.db" */
	const char *vfs;  /* name of an SQLite VFS; NULL = the default */
	struct fs *fs;    /* of the data directory */
	wall_ms wall;     /* now: names the place in quarantine */
	/* Called for each message that is not as it was. `text` is static. */
	void (*tell)(void *arg, enum store_salvage_fate fate, msg_id id, const char *text);
	void *arg;
};

struct store_salvage {
	char place[64];                      /* the directory, in the data directory */
	uint64_t messages, open, held, lost; /* saved; of these open; of these held; not saved */
	uint64_t forgotten;                  /* settled messages whose history could not be read */
	uint64_t files;                      /* bodies moved to quarantine */
};

/*
 * STORE_OK: the new database is in its place, durably. STORE_CORRUPT: it is another program's database, and was left
 * alone. STORE_LOCKED: a server uses it. STORE_FULL: there is no room for a second database. `why` says what to do.
 * After any failure, and after the power went, it can be called again.
 */
enum store_result store_sqlite_salvage(const struct store_salvage_config *config, struct store_salvage *ret,
				       struct buf *why);
/* Before the database is opened: brings a salvage to its end that was cut off at the last step. */
enum store_result store_sqlite_salvage_finish(struct fs *fs);
/* Makes STORE_SUSPECT, durably; or says whether it is there. */
enum store_result store_sqlite_suspect(struct fs *fs);
enum store_result store_sqlite_is_suspect(struct fs *fs, bool *ret);

#endif
