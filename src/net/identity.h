/*
 * identity: root is given up for the account that the server runs as, once and for all.
 */
#ifndef NET_IDENTITY_H
#define NET_IDENTITY_H

#include <stdbool.h>
#include <sys/types.h>

struct identity {
	char name[64];
	uid_t uid;
	gid_t gid;
};

#define IDENTITY_OURS  "postrider"
#define IDENTITY_OTHER "nobody" /* where there is none of ours; other services may use it, too */

/* The account of a name; of "auto": ours, or else the other. False: there is none, or it is root by another name. */
bool identity_find(const char *name, struct identity *ret);
/* Whether this process is root, or could be again. */
bool identity_is_root(void);
/* Takes its groups, its group and its id; no capability is left. False: errno says why, and the process should end. */
bool identity_become(const struct identity *a);
/*
 * A directory of root's that is empty becomes the account's: it was made for it. One that has something in it is left
 * alone. False: errno.
 */
bool identity_take_directory(const struct identity *a, int directory);

#endif
