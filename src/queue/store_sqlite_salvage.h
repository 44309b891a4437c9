/*
 * store_sqlite_salvage: what the two files of the salvage share.
 *
 *	store_sqlite_salvage.c          the place in quarantine, both databases, which messages there are, the last step
 *	store_sqlite_salvage_message.c  what becomes of one message
 */
#ifndef QUEUE_STORE_SQLITE_SALVAGE_H
#define QUEUE_STORE_SQLITE_SALVAGE_H

#include "queue/store_salvage.h"
#include "queue/store_sqlite.h"

#define SALVAGE_QUARANTINE "quarantine"
#define SALVAGE_FOLDER_SIZE (sizeof SALVAGE_QUARANTINE + 32)

/* The tables that hold messages. */
enum salvage_table {
	SALVAGE_MESSAGE,
	SALVAGE_RECIPIENT,
	SALVAGE_BODY,
	SALVAGE_HISTORY,
	SALVAGE_TABLES,
};

/* What was read of a table for one message. */
struct salvage_copied {
	uint64_t rows;
	bool broken; /* there may have been more */
};

struct salvager {
	const struct store_salvage_config *config;
	struct store_salvage *done;
	struct buf *why;
	struct sqlite_store from, to; /* `from` has a connection only */
	sqlite3_stmt *read[SALVAGE_TABLES], *write[SALVAGE_TABLES];
	char folder[SALVAGE_FOLDER_SIZE];
	struct buf prefix; /* of the data directory's paths, for SQLite */
	char *piece;
	struct salvage_copied copied[SALVAGE_TABLES]; /* of the message at hand */
};

/* What an SQLite result of the damaged database means for the salvage: STORE_OK also where something is damaged, an
 * error where it cannot be read now. */
enum store_result salvage_read(int rc);
/* One number that a query on the new database gives for an id; 0 when there is none. */
int64_t salvage_number(struct salvager *s, const char *sql, msg_id id);
/* Copies what can be read of the message, mends or holds it, or tells that it is lost. Fails only for what the
 * damaged database cannot give now, what the new one cannot take, or without memory. */
enum store_result salvage_message(struct salvager *s, msg_id id);

#endif
