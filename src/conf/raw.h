/*
 * raw: what the files say, before anybody asks what it means: sections with keys with texts, each with its place.
 */
#ifndef CONF_RAW_H
#define CONF_RAW_H

#include "base/arena.h"
#include "conf/keys.h"
#include "conf/problem.h"

struct conf_raw_value {
	struct slice text; /* NUL-terminated */
	struct conf_place at;
	struct conf_raw_value *next;
};

struct conf_raw_key {
	const struct conf_key *key;
	struct conf_place at;
	struct conf_raw_value *values, *last; /* none for an empty list */
	size_t count;
	struct conf_raw_key *next;
};

struct conf_raw_section {
	const struct conf_section *section;
	struct slice title;
	struct conf_place at;
	struct conf_raw_section *parent;             /* NULL for TOP, and before its end was read */
	struct conf_raw_section *children, *sibling; /* newest first */
	struct conf_raw_key *keys;
	struct conf_raw_section *next; /* in the order of the file */
};

struct conf_raw {
	struct arena arena;
	struct conf_raw_section *first, *last; /* the first one is TOP */
	size_t counts[SECTION_COUNT];
};

/* Empty, with its TOP section. False without memory; then conf_raw_free is still fine. */
bool conf_raw_init(struct conf_raw *raw, const char *file);
void conf_raw_free(struct conf_raw *raw);

/* Read a text into it; the text was through conf_scan. False when an error ended the reading; errors of single keys let
 * it go on. Either way they are in err. `file` must live as long as raw. */
bool conf_raw_read(struct conf_raw *raw, struct slice scanned, const char *file, struct conf_error *err);

const struct conf_raw_key *conf_raw_find(const struct conf_raw_section *section, const struct conf_key *key);

#endif
