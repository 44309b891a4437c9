/*
 * Text that is taken for base64 is the one text for its octets: encoded again it is the same. Any octets encoded come
 * back. What is refused leaves nothing. The text for octets in the other alphabet is read as those, and nothing else is
 * for them.
 */
#undef NDEBUG
#include <assert.h>

#include "base/base64.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	struct buf one, two;

	buf_init(&one, BASE64_LENGTH(size) + 1);
	buf_init(&two, BASE64_LENGTH(size) + 1);
	if (base64_decode(in, &one)) {
		assert(buf_len(&one) <= size / 4 * 3);
		assert(base64_encode(buf_slice(&one), &two));
		assert(slice_eq(buf_slice(&two), in));
	}
	assert(!one.failed);

	buf_reset(&one);
	buf_reset(&two);
	if (base64url_decode(in, &one)) {
		assert(buf_len(&one) <= size * 3 / 4);
		assert(base64_encode(buf_slice(&one), &two));
		assert(buf_len(&two) >= size && buf_len(&two) < size + 3);
		for (size_t i = 0; i < buf_len(&two); i++) {
			char c = buf_slice(&two).p[i];
			assert((i < size ? in.p[i] : '=') == (c == '+' ? '-' : c == '/' ? '_' : c));
		}
	}
	assert(!one.failed);

	buf_reset(&one);
	buf_reset(&two);
	assert(base64_encode(in, &one));
	assert(buf_len(&one) == BASE64_LENGTH(size));
	assert(base64_decode(buf_slice(&one), &two));
	assert(slice_eq(buf_slice(&two), in));
	buf_wipe(&one);
	buf_wipe(&two);
	return 0;
}
