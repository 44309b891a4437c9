#include "net/identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool find(const char *name, struct identity *ret)
{
	char room[4096];
	struct passwd entry, *found;

	if (strlen(name) >= sizeof ret->name || getpwnam_r(name, &entry, room, sizeof room, &found) != 0 || !found ||
	    found->pw_uid == 0 || found->pw_gid == 0)
		return false;
	snprintf(ret->name, sizeof ret->name, "%s", name);
	ret->uid = found->pw_uid;
	ret->gid = found->pw_gid;
	return true;
}

bool identity_find(const char *name, struct identity *ret)
{
	if (strcmp(name, "auto") == 0)
		return find(IDENTITY_OURS, ret) || find(IDENTITY_OTHER, ret);
	return find(name, ret);
}

bool identity_is_root(void)
{
	uid_t real, effective, saved;

	return getresuid(&real, &effective, &saved) < 0 || real == 0 || effective == 0 || saved == 0;
}

bool identity_become(const struct identity *a)
{
	if (initgroups(a->name, a->gid) < 0 || setresgid(a->gid, a->gid, a->gid) < 0 ||
	    setresuid(a->uid, a->uid, a->uid) < 0)
		return false;
	if (!identity_is_root() && setresuid(0, 0, 0) < 0)
		return true;
	errno = EPERM;
	return false;
}

static bool is_empty(int directory)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	unsigned count = 0;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	while (readdir(d))
		count++;
	closedir(d);
	return count <= 2; /* itself and the one above */
}

bool identity_take_directory(const struct identity *a, int directory)
{
	struct stat st;

	if (fstat(directory, &st) < 0)
		return false;
	if (st.st_uid != 0 || !is_empty(directory))
		return true;
	return fchown(directory, a->uid, a->gid) == 0;
}
