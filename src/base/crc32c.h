/*
 * crc32c: the checksum of stored bodies and of PROXY headers (Castagnoli polynomial, RFC 3720 appendix B.4).
 *
 * It finds damage, not malice: whoever can write the database can write the checksum.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include "base/slice.h"

/* 8 KiB of tables, made once by their owner: eight octets in one step, for processors without the instruction. */
struct crc32c {
	uint32_t table[8][256];
	bool hardware; /* the processor has an instruction for it */
};

void crc32c_init(struct crc32c *c);
/* The same without the instruction, for tests: call it after crc32c_init. */
void crc32c_use_tables(struct crc32c *c);
/* The checksum of what came before and `s`; begin with 0. */
uint32_t crc32c_add(const struct crc32c *c, uint32_t crc, struct slice s);

#endif
