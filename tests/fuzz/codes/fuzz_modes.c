/*
 * fuzz_modes: whatever the strict reader takes, the lenient one takes with the same result; a reply is found at its
 * last octet and not before; a refused start stays refused.
 */
#include <assert.h>
#include <string.h>

#include "codes/smtpcodes.h"

static bool same(const struct smtpcodes_reply *a, const struct smtpcodes_reply *b)
{
	return a->code == b->code && a->lines == b->lines && a->octets == b->octets &&
	       a->status.klass == b->status.klass && a->status.subject == b->status.subject &&
	       a->status.detail == b->status.detail;
}

static void check_lenient(const char *in, size_t n, const struct smtpcodes_reply *strict)
{
	static char text[2][8192];
	struct smtpcodes_reply lenient;

	assert(smtpcodes_reply_parse(in, n, SMTPCODES_LENIENT, &lenient) == SMTPCODES_OK);
	assert(same(strict, &lenient));
	size_t a = smtpcodes_reply_text(in, n, SMTPCODES_STRICT, ' ', text[0], sizeof text[0]);
	size_t b = smtpcodes_reply_text(in, n, SMTPCODES_LENIENT, ' ', text[1], sizeof text[1]);
	assert(a == b && memcmp(text[0], text[1], a) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *in = (const char *)data;
	struct smtpcodes_reply whole, part;
	enum smtpcodes_parse result = smtpcodes_reply_parse(in, size, SMTPCODES_STRICT, &whole);

	assert((result == SMTPCODES_BAD) == (whole.error != NULL));
	if (result == SMTPCODES_OK)
		check_lenient(in, size, &whole);
	/* Fed in parts, the answer goes from "more" to the answer for the whole, and stays. */
	for (size_t n = 0; n < size && n < 600; n++) {
		enum smtpcodes_parse early = smtpcodes_reply_parse(in, n, SMTPCODES_STRICT, &part);
		if (early == SMTPCODES_MORE)
			assert(result != SMTPCODES_OK || n < whole.octets);
		else
			assert(early == result && (result == SMTPCODES_BAD || same(&part, &whole)));
	}
	return 0;
}
