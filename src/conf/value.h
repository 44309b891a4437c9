/*
 * value: numbers with units, as a file has them and back.
 */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include "base/buf.h"
#include "conf/keys.h"

/* What reading a value came to. */
enum conf_number_result {
	CONF_NUMBER_OK,
	CONF_NUMBER_FORM,  /* not of this type */
	CONF_NUMBER_RANGE, /* of this type, but out of bounds */
};

/* `cores` is what "auto" stands for. */
enum conf_number_result conf_number_read(const struct conf_key *key, struct slice text, unsigned cores, uint64_t *ret);
/* Append a value in the shortest form that is read back exactly. */
bool conf_number_write(const struct conf_key *key, uint64_t value, struct buf *out);
/* Append a text in double quotes, as a file may have it. */
bool conf_text_write(struct slice text, struct buf *out);
/* Append what values the key can have: "a time from 1s to 1h", "yes or no", ... */
void conf_type_describe(const struct conf_key *key, struct buf *out);

#endif
