/*
 * store_backup: a copy of the store while its server runs.
 *
 * The server holds: it brings the whole log into the database file, from then on writes to the log alone and removes no
 * body's file, so that both can be copied by anybody at leisure, octet by octet. Who copies asks again and again
 * whether the hold lasts; what was copied while it lasted is the store as it was when the hold began, with everything
 * that was accepted before. The server ends a hold by itself when the log has grown too long, space runs short, or the
 * store had to be reopened: then the copy is worth nothing and is made anew.
 */
#ifndef QUEUE_STORE_BACKUP_H
#define QUEUE_STORE_BACKUP_H

#include "queue/store.h"

/* ---- the server's side, for a store made by store_sqlite_open */

/* Between transactions. *ret_number names this hold, and no other of any process. STORE_EXISTS: one lasts already;
 * STORE_POISONED: a transaction is open; else what the disk says. */
enum store_result store_sqlite_hold(struct store *st, uint64_t *ret_number);
bool store_sqlite_holds(const struct store *st, uint64_t number);
void store_sqlite_release(struct store *st);

/* ---- the copier's side */

struct store_backup_config {
	struct fs *from, *to; /* the data directory, and an empty one */
	const char *to_path;  /* of queue.db in the latter, for SQLite */
	const char *vfs;      /* name of an SQLite VFS for it; NULL = the default */
	/* Asks the server; called after every STORE_BACKUP_STEP octets and STORE_BACKUP_STEP_FILES, and at the end. */
	bool (*holds)(void *arg);
	void *arg;
};
#define STORE_BACKUP_STEP       ((uint64_t)4 << 20)
#define STORE_BACKUP_STEP_FILES 100

struct store_backup {
	uint64_t octets; /* of the database */
	uint64_t files, file_octets;
};

/*
 * Copies queue.db and the files that it names, synced, queue.db last by a rename: a directory without one is no backup.
 * Ids that the server gives after the hold are not given again by a server that starts on the copy.
 * STORE_NOT_FOUND: the hold ended early; STORE_EXISTS: the place is taken; else what failed, in `why`.
 */
enum store_result store_sqlite_backup(const struct store_backup_config *config, struct store_backup *ret,
				      struct buf *why);

#endif
