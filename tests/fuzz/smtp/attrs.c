/*
 * The attributes of XCLIENT and XFORWARD. Oracles: what was read and is written again is read as the same; what was
 * refused has changed nothing; no value has an octet that could end a line of a log or of a message.
 *
 * The first octet chooses the verb; the rest is lines, each the argument of one command.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "smtp/attrs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_values(enum smtp_attrs_verb verb, const struct smtp_attrs *attrs)
{
	for (size_t i = 0; i < SMTP_ATTRS; i++) {
		struct slice value = smtp_attrs_get(attrs, (enum smtp_attr)i);

		assert((attrs->value[i].state == SMTP_ATTR_GIVEN) == (value.n > 0));
		for (size_t j = 0; j < value.n; j++) {
			unsigned char c = (unsigned char)value.p[j];
			bool login = verb == SMTP_ATTRS_XCLIENT && i == SMTP_ATTR_LOGIN;
			assert(c >= ' ' && c != 0x7f && (login || (c > ' ' && c < 0x7f)));
		}
	}
}

static void check_written(enum smtp_attrs_verb verb, const struct smtp_attrs *attrs)
{
	static char room[SMTP_ATTRS * (3 * SMTP_ATTR_MAX + 16)];
	struct buf out = {.p = room, .cap = sizeof room, .max = sizeof room};
	struct smtp_attrs again = {0};
	struct slice where;
	const char *why;

	assert(smtp_attrs_write(attrs, true, &out));
	assert(smtp_attrs_read(verb, buf_slice(&out), &again, &where, &why));
	for (size_t i = 0; i < SMTP_ATTRS; i++) {
		struct slice a = smtp_attrs_get(attrs, (enum smtp_attr)i);

		assert(attrs->value[i].state == again.value[i].state);
		assert(slice_eq(a, smtp_attrs_get(&again, (enum smtp_attr)i)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_attrs attrs = {0}, before;
	struct slice where = SLICE_NONE;
	const char *why;

	if (size < 1)
		return 0;
	enum smtp_attrs_verb verb = data[0] & 1 ? SMTP_ATTRS_XFORWARD : SMTP_ATTRS_XCLIENT;
	for (struct slice rest = slice_of(data + 1, size - 1); rest.p;) {
		struct slice line = slice_split(&rest, '\n');

		memcpy(&before, &attrs, sizeof before);
		if (smtp_attrs_read(verb, line, &attrs, &where, &why)) {
			check_values(verb, &attrs);
			check_written(verb, &attrs);
		} else {
			assert(memcmp(&before, &attrs, sizeof before) == 0);
			assert(why && where.n <= line.n);
		}
	}
	return 0;
}
