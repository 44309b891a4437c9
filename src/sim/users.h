/*
 * users: who may log in, in the worlds where somebody does. Their accounts are the product's, in its own database on
 * the simulated disk.
 *
 * What makes passwords expensive is left out of the world (crypt_rn and PBKDF2 have cheap stand-ins); that it takes
 * time is not: the role does nothing else for so long.
 */
#ifndef SIM_USERS_H
#define SIM_USERS_H

#include "base/slice.h"

#include <stddef.h>

#define USERS 4

struct user {
	const char *name; /* alice@local.example */
	const char *password;
	bool disabled;
};
const struct user *user_number(size_t i);

/* The database and the accounts, all of it on the disk before anything happens. */
void users_make(void);
/* At the end: each account is there, and its password is its own. Nothing where there are no users. */
void users_check(void);

#endif
