/*
 * Our side of an exchange of SASL with a server that is a stranger. What does not show the password never says it, and
 * no server gets us to believe SCRAM without knowing it; a failure has its reason, and nothing follows it.
 *
 * The first octet chooses the mechanism, the second what there is to bind to; challenges follow, between 0xFF. In them
 * 0xFE stands for our nonce.
 */
#undef NDEBUG
#include <assert.h>

#include "base/base64.h"
#include "directory/sasl_client.h"

#define PASSWORD "a secret that is no part of anything"
#define CHANCE   SLICE("eighteen by chance")

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_in_nonce(struct slice from, struct buf *out)
{
	buf_reset(out);
	for (size_t i = 0; i < from.n; i++)
		if ((unsigned char)from.p[i] == 0xfe)
			base64_encode(CHANCE, out);
		else
			buf_add_char(out, from.p[i]);
}

static bool says(struct slice text, struct slice word)
{
	return slice_search(text, word) < text.n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf challenge, response;
	struct sasl_salted salted = {0};
	bool complete = false, known = false; /* the server has said it itself, and hears its own words */

	if (size < 2)
		return 0;
	const struct sasl_client_row *row = sasl_client_row(data[0] % SASL_CLIENT_MECHANISMS);
	struct sasl_client *e = sasl_client_begin(&(struct sasl_client_start){
		.row = row,
		.user = SLICE("alice=,"),
		.secret = SLICE(PASSWORD),
		.exporter = data[1] & 1 ? SLICE("32 octets of an exporter of TLS..") : SLICE_NONE,
		.unique = data[1] & 2 ? SLICE("twelve octet") : SLICE_NONE,
		.chance = CHANCE,
		.missed_plus = data[1] & 4,
		.salted = data[1] & 8 ? &salted : NULL,
	});
	struct slice rest = slice_of(data + 2, size - 2), words = SLICE_NONE;
	assert(e && secrets_buf_init(&response, 16384));
	buf_init(&challenge, (size_t)1 << 20);
	for (bool first = true; first || rest.n > 0; first = false) {
		enum sasl_client_result result =
			sasl_client_step(e, first ? NULL : &words, &response, &complete);
		assert(row->shows || known || !says(buf_slice(&response), SLICE(PASSWORD)));
		assert(known || !says(sasl_client_why(e), SLICE(PASSWORD)));
		assert(!row->scram || !complete);
		assert(result != SASL_CLIENT_SILENT || first);
		if (result == SASL_CLIENT_FAILED) {
			assert(!complete && sasl_client_why(e).n > 0);
			break;
		}
		size_t n = slice_find(rest, (char)0xff);
		put_in_nonce(slice_head(rest, n), &challenge);
		words = buf_len(&challenge) ? buf_slice(&challenge) : SLICE("");
		known = known || says(words, SLICE(PASSWORD));
		rest = slice_skip(rest, n < rest.n ? n + 1 : n);
	}
	sasl_client_end(e);
	buf_free(&challenge);
	buf_wipe(&response);
	return 0;
}
