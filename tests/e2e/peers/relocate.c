/*
 * relocate: lets a Dovecot that was unpacked into a private folder find its modules.
 *
 * Dovecot has the path of its module folder compiled in. Preloaded into its processes, this turns a name below
 * /usr/lib/dovecot into the same name below $POSTRIDER_PEERS, for the two calls that load modules.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *relocated(const char *path, char *into, size_t size)
{
	static const char compiled_in[] = "/usr/lib/dovecot";
	const char *root = getenv("POSTRIDER_PEERS");

	if (!root || !path || strncmp(path, compiled_in, sizeof(compiled_in) - 1) != 0)
		return path;
	snprintf(into, size, "%s%s", root, path);
	return into;
}

DIR *opendir(const char *path)
{
	char moved[PATH_MAX];
	DIR *(*next)(const char *) = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");

	return next(relocated(path, moved, sizeof(moved)));
}

void *dlopen(const char *path, int flags)
{
	char moved[PATH_MAX];
	void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");

	return next(relocated(path, moved, sizeof(moved)), flags);
}
