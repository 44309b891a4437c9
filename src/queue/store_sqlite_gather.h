/*
 * store_sqlite_gather: an SQLite VFS that gathers writes that follow each other into one.
 *
 * SQLite writes each page of its log with two calls, and each page that it copies into the database with one: half a
 * dozen for each message. Here such writes wait in memory until the file is synced, or until something else is asked of
 * it; then they go out as one, in the order in which they came. Nothing that was synced is ever only in memory: a sync
 * writes first. A write that fails is reported by the call that brought it out, which is no success of that call's.
 *
 * It stands on another VFS, which does all else.
 */
#ifndef QUEUE_STORE_SQLITE_GATHER_H
#define QUEUE_STORE_SQLITE_GATHER_H

#include <stdbool.h>

#include <sqlite3.h>

/* Octets of one file that wait; a longer write goes out by itself. SQLite's own VFS writes at most 2^17 - 1 at once. */
#define GATHER_MAX ((size_t)120 * 1024)
#define GATHER_ROOM (1 << 20) /* octets by which the log grows ahead */

struct sqlite_gather {
	sqlite3_vfs vfs; /* vfs.zName: what to open a database with */
	sqlite3_vfs *base;
	char name[48];
};

/* On the VFS of that name, NULL = the default. *g is lent until gather_done. False: there is no such VFS. */
bool gather_init(struct sqlite_gather *g, const char *base);
/* Its files are closed by now. What was not initialized is fine. */
void gather_done(struct sqlite_gather *g);

#endif
