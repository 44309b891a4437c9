/*
 * Any octets as a message: what is found in its parts does not depend on how it is cut, its words are safe for a reply,
 * and a message without multiparts, messages and names is refused for nothing.
 * The first octet of the input seeds the cuts.
 */
#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mail/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum mail_parts_result find(struct slice in, uint32_t seed, char what[MAIL_PARTS_WHAT_MAX], size_t *ret_n)
{
	static const struct slice media[] = {{"video/*", 7}, {"message/partial", 15}},
				  names[] = {{"exe", 3}, {"js", 2}};
	static const struct mail_parts_rules rules = {media, 2, names, 2};
	struct mail_parts *p = mail_parts_new(&rules);
	struct slice text;

	assert(p);
	for (size_t at = 0, n; at < in.n; at += n) {
		seed = seed * 1103515245 + 12345;
		n = seed ? 1 + (seed >> 16) % 40 : in.n;
		n = n < in.n - at ? n : in.n - at;
		char *copy = malloc(n);

		assert(copy);
		memcpy(copy, in.p + at, n);
		mail_parts_feed(p, slice_of(copy, n));
		free(copy);
	}
	enum mail_parts_result result = mail_parts_end(p, &text);
	assert(text.n <= MAIL_PARTS_WHAT_MAX);
	memcpy(what, text.n ? text.p : "", text.n);
	*ret_n = text.n;
	mail_parts_free(p);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_skip(slice_of(data, size), 1);
	char what[MAIL_PARTS_WHAT_MAX], again[MAIL_PARTS_WHAT_MAX];
	size_t n, again_n;

	if (size == 0)
		return 0;
	enum mail_parts_result result = find(in, (uint32_t)in.n + 1, what, &n);
	assert(result != MAIL_PARTS_NO_MEMORY);
	assert((result == MAIL_PARTS_REFUSED) == (n > 0));
	assert(find(in, data[0], again, &again_n) == result);
	assert(slice_eq(slice_of(what, n), slice_of(again, again_n)));
	for (size_t i = 0; i < n; i++)
		assert(ascii_is_print(what[i]));
	if (slice_isearch(in, SLICE("content-")) == in.n)
		assert(result == MAIL_PARTS_GOOD);
	return 0;
}
