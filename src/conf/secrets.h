/*
 * secrets: the passwords and tokens that routes log in with, from files or the environment.
 *
 * They are no part of the configuration, which every role gets: whoever reads the configuration's files reads them, too
 * (the supervisor), and hands them to those alone who log in. Their memory is wiped when it is given back.
 */
#ifndef CONF_SECRETS_H
#define CONF_SECRETS_H

#include "conf/conf.h"
#include "directory/sasl_client.h"

#define CONF_SECRET_MAX SASL_CLIENT_SECRET_MAX

struct conf_secret {
	struct slice route;    /* its domain */
	struct slice variable; /* of the environment; empty: it came from a file */
	struct slice secret;
};

struct conf_secrets {
	struct conf_secret *list; /* as many as there are routes that log in, in their order */
	size_t count;
};

/*
 * Read those of all routes that log in. A file has one line, is readable by its owner and group at most, and nobody
 * else can change it. The environment is read once, with `before` NULL: later what was taken then is still good, but
 * other processes have inherited all the rest. NULL when anything is wrong: err then holds at least one error.
 *
 * With `checks` nothing is going to be used: a variable that is not set here is a warning.
 */
struct conf_secrets *conf_secrets_read(const struct conf *c, const struct conf_secrets *before, bool checks,
				       struct conf_error *err);
/* Takes the variables out of this process's environment, and overwrites them there. */
void conf_secrets_hide(const struct conf_secrets *s);
/* NULL is fine. */
void conf_secrets_free(struct conf_secrets *s);

#endif
