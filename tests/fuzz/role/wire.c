/*
 * Frames between roles. Oracle: a frame that is accepted is encoded again to the same octets, so nothing was misread.
 * The first octet says which kind of frame the others are.
 */
#include "../../unit/role/wire_again.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct buf out;

	if (size == 0)
		return 0;
	struct slice in = slice_of(data + 1, size - 1);
	arena_init(&arena, (size_t)1 << 20);
	buf_init(&out, (size_t)1 << 20);
	if (wire_again(data[0] % KIND_COUNT, in, &arena, &out) && !slice_eq(in, buf_slice(&out)))
		abort();
	arena_free(&arena);
	buf_free(&out);
	return 0;
}
