/*
 * auth_tokens: the keys that tokens of users are signed with, as the auth role reads them.
 */
#ifndef ROLE_AUTH_TOKENS_H
#define ROLE_AUTH_TOKENS_H

#include "conf/conf.h"
#include "net/credential.h"

/* Reads the file of the configuration, which is open in `file`, and puts what it holds in the place of *tokens, which
 * may be NULL; NULL when the configuration names none. When it cannot be used the log says why, and *tokens stays as it
 * was. */
void auth_tokens_load(const struct conf_oauth *conf, struct credential_file *file, struct tokens **tokens);

#endif
