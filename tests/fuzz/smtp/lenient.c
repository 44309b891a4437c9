/*
 * Any message that our server takes leaves as exactly one message, whoever reads it: eight lenient receivers, and our
 * own server, which has to take back what the client was given. See tests/walk/out.h for what must hold.
 *
 * The first two octets choose the peer's offers and the pieces, the third how the message comes in; the rest is it.
 */
#include "../../walk/out.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct out_counts counts = {0};
	struct owner from;

	if (size < 3 || size > 20000)
		return 0;
	unsigned way = (data[0] | (unsigned)data[1] << 8) % OUT_WAYS;
	if (out_take(&from, slice_of(data + 3, size - 3), data[2] & 1, data[2] & 2, data[2] & 4))
		out_check(&from, out_way_of(way), &counts);
	owner_free(&from);
	return 0;
}
