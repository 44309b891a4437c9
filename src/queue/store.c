#include "queue/store.h"

#include "base/crc32c.h"

#include <assert.h>

const char *store_result_text(enum store_result result)
{
	static const char *const texts[] = {
		[STORE_OK] = "done",
		[STORE_NOT_FOUND] = "there is no such message or recipient",
		[STORE_EXISTS] = "the message id is taken",
		[STORE_FULL] = "the disk or quota is full, or free space is down to the reserve",
		[STORE_IO] = "reading from or writing to the disk failed",
		[STORE_CORRUPT] = "the database or a message body is damaged",
		[STORE_LOCKED] = "another server uses this data directory",
		[STORE_VERSION] = "the database was made by a newer version",
		[STORE_NO_MEMORY] = "out of memory",
		[STORE_POISONED] = "an earlier change of this transaction failed",
	};

	static_assert(sizeof texts / sizeof *texts == STORE_RESULT_MAX + 1, "a text for each result");
	assert(result <= STORE_RESULT_MAX);
	return texts[result];
}

uint32_t store_digest_begin(const struct crc32c *crc, msg_id id)
{
	char octets[8];

	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (char)(id >> (8 * i) & 0xff);
	return crc32c_add(crc, 0, slice_of(octets, sizeof octets));
}
