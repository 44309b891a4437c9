/*
 * accounts_private: what the files accounts*.c share.
 *
 *	accounts.c         handles, opening and making the file
 *	accounts_sql.c     the tables and every statement, values in and out, errors
 *	accounts_find.c    finding and listing
 *	accounts_change.c  changes
 */
#ifndef DIRECTORY_ACCOUNTS_PRIVATE_H
#define DIRECTORY_ACCOUNTS_PRIVATE_H

#include "directory/accounts.h"

#include <sqlite3.h>
#include <sys/stat.h>

#define ACCOUNTS_SCHEMA_VERSION 1
#define ACCOUNTS_APPLICATION_ID 0x506f7375 /* "Posu" */
#define ACCOUNTS_PATH_MAX       4000
#define ACCOUNTS_READ_WAIT      2000 /* ms; readers only ever wait for one who recovers after a crash */
#define ACCOUNTS_WRITE_WAIT     10000

enum accounts_statement {
	ACCOUNTS_SQL_BEGIN,
	ACCOUNTS_SQL_COMMIT,
	ACCOUNTS_SQL_KEY,
	ACCOUNTS_SQL_FIND,
	ACCOUNTS_SQL_LIST,
	ACCOUNTS_SQL_ADD,
	ACCOUNTS_SQL_REMOVE,
	ACCOUNTS_SQL_PASSWORD,
	ACCOUNTS_SQL_RENEW,
	ACCOUNTS_SQL_ENABLE,
	ACCOUNTS_SQL_LIMITS,
	ACCOUNTS_SQL_ID,
	ACCOUNTS_SQL_ADDRESS_COUNT,
	ACCOUNTS_SQL_ADDRESS_ADD,
	ACCOUNTS_SQL_ADDRESS_REMOVE,
	ACCOUNTS_SQL_DOMAIN,
	ACCOUNTS_SQL_DOMAINS,
	ACCOUNTS_SQL_DOMAIN_ENABLE,
	ACCOUNTS_SQL_DOMAIN_LIMITS,
	ACCOUNTS_SQL_DOMAIN_TIDY,
	ACCOUNTS_SQL_COUNT,
};

struct accounts {
	char path[ACCOUNTS_PATH_MAX];
	bool writes;
	bool frozen;                   /* a reader without a log: see accounts_open_frozen */
	uint8_t without[ACCOUNTS_KEY]; /* of decoys as long as there is no database */
	uint8_t key[ACCOUNTS_KEY];
	sqlite3 *db;
	int rc;           /* SQLite's last failure */
	struct stat file; /* the one that is open */
	sqlite3_stmt *statements[ACCOUNTS_SQL_COUNT];
	struct buf why;
};

/* ---- accounts.c */
/* The database is open, and the file at its path is still the one that is open. */
enum accounts_result accounts_ready(struct accounts *a);
void accounts_disconnect(struct accounts *a);
/* Opens the file as it lies there, for a reader who must not make the files beside it; false when that is not safe. */
bool accounts_open_frozen(struct accounts *a);
/* Whether what was read of a frozen file is good: nobody wrote meanwhile. */
bool accounts_still_frozen(struct accounts *a);

/* ---- accounts_sql.c */
extern const char accounts_schema[];
/* A statement with its values, and the row that it gave. */
struct accounts_row {
	struct accounts *a;
	sqlite3_stmt *stmt;
	int i;    /* parameter or column of the next call */
	bool bad; /* binding failed, or a value is not what we write */
};
struct accounts_row accounts_bind(struct accounts *a, enum accounts_statement which);
void accounts_bind_int(struct accounts_row *r, int64_t value);
/* Lent until the statement is done. */
void accounts_bind_text(struct accounts_row *r, struct slice value);
/* One step; *ret_row says whether there is a row, whose columns are then read from the first. Without one it is done.
 */
enum accounts_result accounts_step(struct accounts_row *r, bool *ret_row);
/* For statements without rows; the number of rows that they changed. */
enum accounts_result accounts_run(struct accounts_row *r, int *ret_changed);
int64_t accounts_read_int(struct accounts_row *r, int64_t min, int64_t max);
/* Lent until the statement goes on. */
struct slice accounts_read_text(struct accounts_row *r, size_t max);
void accounts_done(struct accounts_row *r);
/* Sets `why` from a code of SQLite, or from a text, and returns its class or the given one. */
enum accounts_result accounts_failed(struct accounts *a, int rc);
enum accounts_result accounts_fail(struct accounts *a, enum accounts_result result, const char *why);
enum accounts_result accounts_exec(struct accounts *a, const char *sql);

/* ---- accounts_find.c */
/* A login name, or its domain ("" when it has none). */
struct slice accounts_domain_of(struct slice name);

/* The name of a file system for SQLite that leaves a path as it is when it does not begin at the root. */
const char *accounts_vfs(void);

#endif
