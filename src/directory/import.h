/*
 * import: accounts of other servers, line by line, from a file in the form of passwd(5).
 *
 * Dovecot's passwd-file, /etc/shadow and what saslauthd or Postfix read: "name:password" with any further fields behind
 * it. Lines that are empty or begin with '#' are passed over, and so are system accounts without a password. What would
 * change who may log in, and is not understood, is an error: an account is taken as it was or not at all.
 *
 * Pure but for SASLprep: a text goes in, lines come out.
 */
#ifndef DIRECTORY_IMPORT_H
#define DIRECTORY_IMPORT_H

#include "directory/accounts.h"
#include "directory/scheme.h"

#define IMPORT_LINE_MAX 8192

struct import {
	struct slice rest;   /* lent from the caller; import_init fills it */
	struct slice scheme; /* of passwords that name none; empty: CRYPT */
	struct slice domain; /* put behind names without one; empty: none */
	unsigned line;
};

enum import_result {
	IMPORT_END,
	IMPORT_ACCOUNT,
	IMPORT_PASSED, /* a system account; `why` says so */
	IMPORT_WRONG,  /* the line cannot be taken; `why` says what is wrong with it, and nothing of a secret */
};

struct import_account {
	unsigned line;
	size_t name_n;
	char name[ACCOUNT_NAME_MAX + 1]; /* canonical */
	bool disabled;
	struct scheme_password password; /* PLAIN or SECRETS */
};

void import_init(struct import *i, struct slice text, struct slice scheme, struct slice domain);
/* The next line that says something; ret->line is its number, from 1. The caller wipes *ret with import_wipe. */
enum import_result import_next(struct import *i, struct import_account *ret, struct buf *why);
void import_wipe(struct import_account *a);

#endif
