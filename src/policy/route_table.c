#include "policy/route_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define UNIX_PATH_MAX 107 /* octets of sun_path without its NUL */
#define HOST_NAME_MAX 253

/* ---- hosts ----------------------------------------------------------------------------------------------------------
 */

static bool is_ldh(char c)
{
	return ascii_is_alnum(c) || c == '-';
}

/* Labels of letters, digits and hyphens, 1 to 63 octets, no hyphen at an end (RFC 1123 2.1). */
static bool host_name_valid(struct slice name)
{
	if (name.n == 0 || name.n > HOST_NAME_MAX)
		return false;
	for (struct slice rest = name; rest.p;) {
		struct slice label = slice_split(&rest, '.');

		if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
			return false;
		for (size_t i = 0; i < label.n; i++)
			if (!is_ldh(label.p[i]))
				return false;
	}
	return true;
}

static bool parse_unix(struct slice path, struct route_host *ret, const char **why)
{
	*ret = (struct route_host){.kind = ROUTE_HOST_UNIX, .name = path};
	*why = "the path of a socket begins with / and has at most 107 octets";
	return path.n > 1 && path.p[0] == '/' && path.n <= UNIX_PATH_MAX && !memchr(path.p, 0, path.n);
}

static bool parse_port(struct slice text, struct route_host *ret, const char **why)
{
	uint64_t port;

	*why = "the port must be 1 to 65535";
	if (!slice_u64(text, 65535, &port) || port == 0)
		return false;
	ret->port = (uint16_t)port;
	return true;
}

/* Splits "name:port", "[address]:port" and what has no port. Two colons or more without brackets are an IPv6 address.
 */
static struct slice split_port(struct slice text, struct slice *name)
{
	size_t colon = slice_find(text, ':');

	if (text.n && text.p[0] == '[')
		colon = slice_find(text, ']') + 1;
	else if (slice_rfind(text, ':') != colon)
		colon = text.n;
	*name = slice_head(text, colon);
	return colon < text.n ? slice_skip(text, colon) : SLICE_NONE;
}

bool route_host_parse(struct slice text, uint16_t default_port, struct route_host *ret, const char **why)
{
	struct slice name;

	*ret = (struct route_host){0};
	if (slice_starts(text, SLICE("unix:")))
		return parse_unix(slice_skip(text, 5), ret, why);
	if (slice_starts(text, SLICE("inet:")))
		text = slice_skip(text, 5);

	struct slice port = split_port(text, &name);
	*ret = (struct route_host){.port = default_port};
	if (port.n) {
		*why = "after ] there may only be :port";
		if (port.p[0] != ':' || !parse_port(slice_skip(port, 1), ret, why))
			return false;
	}
	if (ip_parse(name, &ret->address)) {
		bool brackets = name.p[0] == '[';

		ret->kind = ROUTE_HOST_ADDRESS;
		ret->name = brackets ? slice_of(name.p + 1, name.n - 2) : name;
		*why = NULL;
		return true;
	}
	ret->kind = ROUTE_HOST_NAME;
	ret->name = name;
	*why = "it is neither a host name nor an address";
	/* Digits and dots alone are a mistyped address, not a name. */
	if (!host_name_valid(name) || ascii_is_digit(name.p[name.n - 1]))
		return false;
	*why = NULL;
	return true;
}

/* ---- the table ------------------------------------------------------------------------------------------------------
 */

static int by_domain(const void *a, const void *b)
{
	return slice_compare(((const struct route_rule *)a)->domain, ((const struct route_rule *)b)->domain);
}

static int by_name(const void *a, const void *b)
{
	return slice_compare(((const struct route_group *)a)->name, ((const struct route_group *)b)->name);
}

bool route_table_sort(struct route_table *t, struct slice *twice)
{
	if (t->rule_count)
		qsort(t->rules, t->rule_count, sizeof *t->rules, by_domain);
	if (t->group_count)
		qsort(t->groups, t->group_count, sizeof *t->groups, by_name);
	for (size_t i = 1; i < t->rule_count; i++) {
		*twice = t->rules[i].domain;
		if (by_domain(&t->rules[i - 1], &t->rules[i]) == 0)
			return false;
	}
	for (size_t i = 1; i < t->group_count; i++) {
		*twice = t->groups[i].name;
		if (by_name(&t->groups[i - 1], &t->groups[i]) == 0)
			return false;
	}
	*twice = SLICE_NONE;
	return true;
}

static const struct route_rule *find_rule(const struct route_table *t, struct slice domain)
{
	struct route_rule key = {.domain = domain};

	return t->rule_count ? bsearch(&key, t->rules, t->rule_count, sizeof key, by_domain) : NULL;
}

const struct route_rule *route_table_find(const struct route_table *t, struct slice domain)
{
	const struct route_rule *rule = NULL;

	if (domain.n == 0)
		return NULL;
	if (domain.p[0] != '[') {
		if (domain.p[0] != '.' && domain.p[0] != '*')
			rule = find_rule(t, domain);
		/* ".example.net" for every parent, the nearest first */
		for (size_t at = slice_find(slice_skip(domain, 1), '.') + 1; !rule && at < domain.n;) {
			struct slice parent = slice_skip(domain, at);

			rule = find_rule(t, parent);
			at += slice_find(slice_skip(parent, 1), '.') + 1;
		}
	}
	return rule ? rule : find_rule(t, SLICE("*"));
}

const struct route_group *route_table_group(const struct route_table *t, struct slice name)
{
	struct route_group key = {.name = name};

	return t->group_count ? bsearch(&key, t->groups, t->group_count, sizeof key, by_name) : NULL;
}
