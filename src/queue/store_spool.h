/*
 * store_spool: what an implementation of the store needs to look after the bodies in files, beyond queue/store.h.
 */
#ifndef QUEUE_STORE_SPOOL_H
#define QUEUE_STORE_SPOOL_H

#include "queue/store.h"

#define STORE_SPOOL_DIRECTORIES 256

/* Makes spool/ and its name durable. */
enum store_result store_spool_init(struct fs *fs);
/* Makes the file of this id durable, with its name. STORE_NOT_FOUND when it is missing, STORE_CORRUPT when
 * it has not `size` octets. */
enum store_result store_spool_sync(struct fs *fs, msg_id id, uint64_t size);

/* Reads it all. STORE_CORRUPT when it has not `size` octets, or they do not fit their digest; *ret_size is what it has.
 * STORE_NOT_FOUND when it is missing. */
enum store_result store_spool_verify(struct fs *fs, const struct crc32c *crc, msg_id id, uint64_t size,
				     struct store_digest digest, uint64_t *ret_size);

struct store_spool_cleaner {
	/* Whether a message that is not settled names the file of this id. */
	enum store_result (*named)(void *arg, msg_id id, bool *ret);
	void *arg;
};
/* Removes the files that no message names. Files that have no name of ours stay. */
enum store_result store_spool_clean(struct fs *fs, const struct store_spool_cleaner *cleaner);
/* Calls `each` for everything below spool/ until it returns false: `path` within it, and the id with whether a message
 * names the file; 0 for a name that we would not give. Nothing may be changed meanwhile. */
enum store_result store_spool_each(struct fs *fs, const struct store_spool_cleaner *cleaner,
				   bool (*each)(void *arg, const char *path, msg_id id, bool named), void *arg);

#endif
