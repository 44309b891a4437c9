#include "policy/pattern.h"

#include <assert.h>

/* Room for an address whose parts were checked: it never asks for memory, so no answer depends on it. */
#define ROOM (MAIL_DOMAIN_MAX + MAIL_PATH_MAX)

bool pattern_domain_canonical(struct slice text, struct buf *out, const char **why)
{
	*why = "it is no domain, such as example.com or .example.com";
	if (text.n > 1 && text.p[0] == '.') {
		buf_add_char(out, '.');
		text = slice_skip(text, 1);
	}
	return text.n > 0 && text.p[0] != '[' && mail_domain_canonical(text, out);
}

bool pattern_canonical(struct slice text, struct buf *out, const char **why)
{
	struct mail_address address;

	if (slice_find(text, '@') == text.n)
		return pattern_domain_canonical(text, out, why);
	if (mail_address_parse(text, &address, why) != MAIL_ADDRESS_OK)
		return false;
	*why = "its domain is none";
	buf_add(out, address.local);
	buf_add_char(out, '@');
	return mail_domain_canonical(address.domain, out);
}

static bool same_local(struct slice a, struct slice b)
{
	char room[2 * ROOM];
	struct buf text = {.p = room, .cap = sizeof room, .max = sizeof room};

	if (!mail_local_plain(a, &text))
		return false;
	size_t n = buf_len(&text);
	if (!mail_local_plain(b, &text))
		return false;
	struct slice both = buf_slice(&text);
	return slice_ieq(slice_head(both, n), slice_skip(both, n));
}

bool pattern_matches(struct slice pattern, const struct mail_address *address)
{
	char room[ROOM];
	struct buf text = {.p = room, .cap = sizeof room, .max = sizeof room};
	size_t at = slice_rfind(pattern, '@');
	bool one = at < pattern.n;

	assert(pattern.n > 0);
	if (address->kind == MAIL_DOMAIN_NONE || !mail_domain_canonical(address->domain, &text))
		return false;
	struct slice domain = buf_slice(&text);
	if (one)
		return slice_eq(domain, slice_skip(pattern, at + 1)) &&
		       same_local(slice_head(pattern, at), address->local);
	if (pattern.p[0] == '.')
		return domain.n > pattern.n && slice_iends(domain, pattern);
	return slice_eq(domain, pattern);
}

bool pattern_any_matches(const struct slice *patterns, size_t count, const struct mail_address *address)
{
	for (size_t i = 0; i < count; i++)
		if (pattern_matches(patterns[i], address))
			return true;
	return false;
}
