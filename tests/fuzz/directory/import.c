/*
 * A file of accounts, the first line of which says the scheme and the domain of those that name none. Lines are taken
 * one by one: a line means the same alone as among others. A name is canonical, a message shows nothing of a password,
 * and secrets written and read again are the same.
 */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "directory/import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_name(const struct import_account *a)
{
	struct slice name = slice_of(a->name, a->name_n);
	struct buf again;
	const char *why;

	buf_init(&again, 2 * ACCOUNT_NAME_MAX);
	assert(strlen(a->name) == a->name_n);
	assert(account_name_canonical(name, &again, &why));
	assert(slice_eq(buf_slice(&again), name));
	buf_free(&again);
}

static void check_secrets(const struct secrets *s)
{
	struct secrets again = {0};
	struct buf text;

	buf_init(&text, SCHEME_TEXT_MAX);
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++) {
		if (s->scram[h].iterations == 0)
			continue;
		buf_reset(&text);
		assert(scheme_scram_put(h, &s->scram[h], &text));
		assert(scheme_scram_read(buf_slice(&text), h, &again.scram[h]));
		assert(memcmp(&again.scram[h], &s->scram[h], sizeof *again.scram) == 0);
	}
	buf_reset(&text);
	if (s->has_cram_md5) {
		assert(scheme_cram_md5_put(s->cram_md5, &text));
		assert(scheme_cram_md5_read(buf_slice(&text), again.cram_md5));
		assert(memcmp(again.cram_md5, s->cram_md5, sizeof again.cram_md5) == 0);
	}
	assert(s->foreign && secrets_outdated(s, s->has_cram_md5));
	buf_free(&text);
}

/* The next result of both is the same, but for the number of the line. */
static enum import_result next_of_both(struct import *whole, struct import *line, struct buf *why)
{
	static struct import_account a, b;
	struct buf other;

	buf_init(&other, 4096);
	buf_reset(why);
	enum import_result result = import_next(whole, &a, why);
	enum import_result alone = import_next(line, &b, &other);
	assert(result == alone);
	assert(slice_eq(buf_slice(why), buf_slice(&other)));
	assert((buf_len(why) > 0) == (result == IMPORT_PASSED || result == IMPORT_WRONG));
	a.line = b.line = 0;
	assert(memcmp(&a, &b, sizeof a) == 0);
	if (result == IMPORT_ACCOUNT) {
		check_name(&a);
		if (a.password.kind == SCHEME_SECRETS)
			check_secrets(&a.password.secrets);
		else
			assert(a.password.kind == SCHEME_PLAIN && a.password.plain_n > 0);
	}
	import_wipe(&a);
	import_wipe(&b);
	buf_free(&other);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size), head = slice_split(&rest, '\n'), scheme = slice_split(&head, ' ');
	struct import whole;
	struct buf why;

	buf_init(&why, 4096);
	import_init(&whole, rest, scheme, head);
	while (rest.p) {
		struct import line;
		struct slice text = slice_split(&rest, '\n');
		bool says_nothing = text.n == 0 || text.p[0] == '#' || slice_eq(text, SLICE("\r"));
		import_init(&line, text, scheme, head);
		if (!says_nothing)
			assert(next_of_both(&whole, &line, &why) != IMPORT_END);
	}
	static struct import_account last;
	assert(import_next(&whole, &last, &why) == IMPORT_END);
	buf_free(&why);
	return 0;
}
