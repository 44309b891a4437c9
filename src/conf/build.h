/*
 * build: from what the files say to a configuration.
 */
#ifndef CONF_BUILD_H
#define CONF_BUILD_H

#include "conf/raw.h"

/* NULL, with errors, when anything is wrong. */
struct conf *conf_build(const struct conf_raw *raw, const struct conf_host *host, struct conf_error *err);

#endif
