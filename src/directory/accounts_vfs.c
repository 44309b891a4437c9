/*
 * SQLite makes each path whole before it opens it, from the root. A role need not be able to reach its own directory
 * from there: what it names from that directory stays so.
 */
#include "directory/accounts_private.h"

#include <stdio.h>

#define NAME "accounts-here"

static int keep_path(sqlite3_vfs *vfs, const char *name, int size, char *ret)
{
	sqlite3_vfs *base = sqlite3_vfs_find(NULL);

	(void)vfs;
	if (name[0] == '/')
		return base->xFullPathname(base, name, size, ret);
	return snprintf(ret, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

const char *accounts_vfs(void)
{
	static sqlite3_vfs here; /* SQLite keeps it for the life of the process */
	sqlite3_vfs *base = sqlite3_vfs_find(NULL);

	if (sqlite3_vfs_find(NAME))
		return NAME;
	if (!base)
		return NULL;
	here = *base;
	here.zName = NAME;
	here.pNext = NULL;
	here.xFullPathname = keep_path;
	return sqlite3_vfs_register(&here, 0) == SQLITE_OK ? NAME : NULL;
}
