/*
 * auth_tokens: the keys that tokens of users are signed with, as the auth role reads them.
 */
#ifndef ROLE_AUTH_TOKENS_H
#define ROLE_AUTH_TOKENS_H

#include "conf/conf.h"

/* Reads the file of the configuration, and puts what it holds in the place of *tokens, which may be NULL; NULL without
 * a file. When it cannot be used the log says why, and *tokens stays as it was. */
void auth_tokens_load(const struct conf_oauth *conf, struct tokens **tokens);

#endif
