/*
 * pretend: lets a Postfix that was unpacked into a private folder run without root.
 *
 * Its master insists on being root, and each process of it gives root up for the user who owns the queue. Preloaded
 * into them, this says that they are root, and that giving it up went well; they stay who they are, and all files are
 * that user's. Where root runs the tests it is not needed.
 */
#include <grp.h>
#include <unistd.h>

static uid_t real, effective; /* root at first, in each process that is executed */

uid_t getuid(void)
{
	return real;
}

uid_t geteuid(void)
{
	return effective;
}

int setuid(uid_t uid)
{
	real = effective = uid;
	return 0;
}

int seteuid(uid_t uid)
{
	effective = uid;
	return 0;
}

int setgid(gid_t gid)
{
	(void)gid;
	return 0;
}

int setegid(gid_t gid)
{
	(void)gid;
	return 0;
}

int setgroups(size_t n, const gid_t *groups)
{
	(void)n;
	(void)groups;
	return 0;
}

int initgroups(const char *user, gid_t group)
{
	(void)user;
	(void)group;
	return 0;
}
