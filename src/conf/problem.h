/*
 * problem: errors and warnings, collected as text with file and line.
 */
#ifndef CONF_PROBLEM_H
#define CONF_PROBLEM_H

#include "conf/conf.h"

/* Where in the configuration something stands. */
struct conf_place {
	const char *file;
	unsigned line; /* 0 = the file as a whole */
};

void conf_problems_clear(struct conf_error *err);
/* Quote text from the file with "%.*s" and SLICE_ARGS; control characters in it are shown as '?'. */
void conf_wrong(struct conf_error *err, struct conf_place at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void conf_warn(struct conf_error *err, struct conf_place at, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
