#include "directory/external.h"

#include <string.h>

#define EMAIL      SLICE("email:")
#define KEY        SLICE("key:")
#define KEY_DIGITS 64

bool external_name_valid(struct slice name)
{
	static const struct slice kinds[] = {{"email:", 6}, {"dns:", 4}, {"uri:", 4}, {"key:", 4}};
	struct slice value = SLICE_NONE;

	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (slice_starts(name, kinds[i]))
			value = slice_skip(name, kinds[i].n);
	for (size_t i = 0; i < value.n; i++)
		if (!ascii_is_print(value.p[i]) || value.p[i] == ' ' ||
		    (slice_starts(name, KEY) && !(ascii_is_digit(value.p[i]) || strchr("abcdef", value.p[i]))))
			return false;
	return value.n > 0 && name.n <= EXTERNAL_NAME_MAX && (!slice_starts(name, KEY) || value.n == KEY_DIGITS);
}

/* Host names have no case; for the rest it is as for login names, but in a URI each octet counts. */
static bool same(struct slice a, struct slice b)
{
	return slice_starts(a, SLICE("uri:")) ? slice_eq(a, b) : slice_ieq(a, b);
}

static bool rule_has(const struct external_rule *rule, struct slice name)
{
	for (size_t i = 0; i < rule->count; i++)
		if (same(rule->names[i], name))
			return true;
	return false;
}

static void add(struct buf *out, struct slice login)
{
	for (struct slice rest = buf_slice(out); rest.n > 0;)
		if (slice_ieq(slice_split(&rest, '\n'), login))
			return;
	if (login.n == 0)
		return;
	if (buf_len(out) > 0)
		buf_add_char(out, '\n');
	buf_add(out, login);
}

void external_logins(const struct external_map *map, struct slice names, struct buf *out)
{
	for (size_t i = 0; i < map->count; i++)
		for (struct slice rest = names; rest.n > 0;)
			if (rule_has(&map->rules[i], slice_split(&rest, '\n')))
				add(out, map->rules[i].login);
	for (struct slice rest = names; map->by_email && rest.n > 0;) {
		struct slice name = slice_split(&rest, '\n');
		if (slice_starts(name, EMAIL))
			add(out, slice_skip(name, EMAIL.n));
	}
}
