#include "conf/keys.h"

#include "conf/conf.h"
#include "smtp/limits.h"

#include <assert.h>
#include <string.h>

#define KIB                ((uint64_t)1024)
#define MIB                (1024 * KIB)
#define GIB                (1024 * MIB)

#define LIVE               true
#define RESTART            false

/* The struct that the keys of a section fill. */
#define OF_TOP             struct conf
#define OF_SMTP            struct conf_listener
#define OF_LISTEN          struct conf_listener
#define OF_TLS             struct conf
#define OF_ACCOUNTS        struct conf
#define OF_CERTIFICATE     struct conf_certificate
#define OF_CERTIFICATE_LOGIN struct conf_certificate_login
#define OF_OAUTH           struct conf
#define OF_DOMAIN          struct conf_domain
#define OF_MOVED           struct conf_moved
#define OF_LIMIT           struct conf_limit
#define OF_LIST            struct conf_list
#define OF_ROUTE           struct conf_route_keys
#define OF_RULE            struct conf_rule
#define OF_QUEUE           struct conf
#define OF_CLIENT          struct conf
#define OF_MAILBOX         struct conf
#define OF_LOG             struct conf

#define MEMBER(of, member) .offset = offsetof(of, member), .size = sizeof(((of *)0)->member)

const struct conf_section conf_sections[SECTION_COUNT] = {
#define SECTION(i, n, up, t, about) [SECTION_##i] = {SECTION_##i, SECTION_##up, n, t, about},
#define KEY(...)
#define WORD(...)
#include "conf/keys.def"
#undef SECTION
#undef KEY
#undef WORD
};

const struct conf_key conf_keys[] = {
/* clang-format off */
#define SECTION(...)
#define KEY(in, n, t, def, low, high, member, reload, about)                                                           \
	{.section = SECTION_##in, .type = TYPE_##t, .name = n, .preset = def, .min = (uint64_t)(low),                  \
	 .max = (uint64_t)(high), MEMBER(OF_##in, member), .live = reload, .text = about},
#define WORD(in, n, w, def, member, reload, about)                                                                     \
	{.section = SECTION_##in, .type = TYPE_WORD, .name = n, .preset = def, .words = w, MEMBER(OF_##in, member),     \
	 .live = reload, .text = about},
#include "conf/keys.def"
/* clang-format on */
#undef SECTION
#undef KEY
#undef WORD
};

const size_t conf_key_count = sizeof conf_keys / sizeof *conf_keys;

const struct conf_key *conf_key_find(enum conf_section_id section, struct slice name)
{
	for (size_t i = 0; i < conf_key_count; i++)
		if (conf_section_takes(section, conf_keys[i].section) &&
		    slice_eq(slice_from_cstr(conf_keys[i].name), name))
			return &conf_keys[i];
	return NULL;
}

const struct conf_section *conf_section_find(enum conf_section_id parent, struct slice name)
{
	for (size_t i = 1; i < SECTION_COUNT; i++)
		if (conf_sections[i].parent == parent && slice_eq(slice_from_cstr(conf_sections[i].name), name))
			return &conf_sections[i];
	return NULL;
}

/* ---- the nearest name ---------------------------------------------------------------------------------------- */

#define NAME_MAX_OCTETS 40

static size_t least(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Single letters to change, add or leave out to get from a to b, without regard to case. */
static size_t distance(struct slice a, struct slice b)
{
	size_t row[NAME_MAX_OCTETS + 1];

	assert(b.n <= NAME_MAX_OCTETS);
	for (size_t j = 0; j <= b.n; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.n; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b.n; j++) {
			bool same = ascii_lower(a.p[i - 1]) == ascii_lower(b.p[j - 1]);
			size_t here = least(row[j] + 1, row[j - 1] + 1, diagonal + !same);

			diagonal = row[j];
			row[j] = here;
		}
	}
	return row[b.n];
}

struct nearest {
	struct slice name;
	const char *best;
	size_t best_distance;
};

static void consider(struct nearest *n, const char *candidate)
{
	size_t d = distance(n->name, slice_from_cstr(candidate));

	if (d < n->best_distance) {
		n->best = candidate;
		n->best_distance = d;
	}
}

const char *conf_nearest(enum conf_section_id section, struct slice name)
{
	if (name.n == 0 || name.n > NAME_MAX_OCTETS)
		return NULL;
	/* Half of the letters may be wrong, at most four. */
	size_t limit = (name.n + 1) / 2 < 4 ? (name.n + 1) / 2 : 4;
	struct nearest n = {.name = name, .best_distance = limit + 1};

	for (size_t i = 0; i < conf_key_count; i++)
		if (conf_section_takes(section, conf_keys[i].section))
			consider(&n, conf_keys[i].name);
	for (size_t i = 1; i < SECTION_COUNT; i++)
		if (conf_sections[i].parent == section)
			consider(&n, conf_sections[i].name);
	return n.best;
}

const struct conf_section *conf_elsewhere(enum conf_section_id section, struct slice name)
{
	for (size_t i = 0; i < SECTION_COUNT; i++)
		if (i != section &&
		    (conf_key_find((enum conf_section_id)i, name) || conf_section_find((enum conf_section_id)i, name)))
			return &conf_sections[i];
	return NULL;
}
