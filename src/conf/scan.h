/*
 * scan: makes a text fit for libconfuse, whose lexer drops characters that it does not know, reads the environment and
 * miscounts lines behind comments.
 *
 * Comments become blanks, include("...") is taken out, and everything that libconfuse would take in another way than a
 * reader of the file is refused with its line: what is not quoted may only hold letters, digits and _ - . : / @ [ ], a
 * quoted text ends on its line and holds no control characters, only quote, backslash and dollar are escaped by a
 * backslash, ${...} is not looked up, and each brace is closed.
 */
#ifndef CONF_SCAN_H
#define CONF_SCAN_H

#include "conf/problem.h"

#define CONF_WORD_MAX 4096 /* octets of one word or quoted text */

/* Called for each include; false ends the scan. `pattern` is lent for the call. */
typedef bool (*conf_scan_include)(void *arg, struct conf_place at, struct slice pattern);

/* Append the text, of the same length and with the same lines, to `out`. False, with an error, when it is not fit. */
bool conf_scan(struct slice in, const char *file, conf_scan_include include, void *arg, struct conf_error *err,
	       struct buf *out);

#endif
