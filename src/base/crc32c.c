#include "base/crc32c.h"

#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* 0x1edc6f41, bits reversed */

#if defined(__x86_64__)
static bool has_instruction(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) static uint32_t add_by_instruction(uint32_t crc, const unsigned char *p, size_t n)
{
	uint64_t wide = crc;

	for (; n >= 8; n -= 8, p += 8) {
		uint64_t octets;
		memcpy(&octets, p, 8);
		wide = __builtin_ia32_crc32di(wide, octets);
	}
	crc = (uint32_t)wide;
	for (; n; n--, p++)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#else
static bool has_instruction(void)
{
	return false;
}

static uint32_t add_by_instruction(uint32_t crc, const unsigned char *p, size_t n)
{
	(void)p;
	(void)n;
	return crc; /* never called */
}
#endif

void crc32c_init(struct crc32c *c)
{
	c->hardware = has_instruction();
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;
		for (int bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ POLYNOMIAL : crc >> 1;
		c->table[0][i] = crc;
	}
	for (size_t i = 0; i < 256; i++)
		for (size_t k = 1; k < 8; k++)
			c->table[k][i] = c->table[k - 1][i] >> 8 ^ c->table[0][c->table[k - 1][i] & 0xff];
}

void crc32c_use_tables(struct crc32c *c)
{
	c->hardware = false;
}

static uint32_t word(const unsigned char *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint32_t add_by_tables(const struct crc32c *c, uint32_t crc, const unsigned char *p, size_t n)
{
	for (; n >= 8; n -= 8, p += 8) {
		uint32_t low = word(p) ^ crc, high = word(p + 4);
		crc = c->table[7][low & 0xff] ^ c->table[6][low >> 8 & 0xff] ^ c->table[5][low >> 16 & 0xff] ^
		      c->table[4][low >> 24] ^ c->table[3][high & 0xff] ^ c->table[2][high >> 8 & 0xff] ^
		      c->table[1][high >> 16 & 0xff] ^ c->table[0][high >> 24];
	}
	for (; n; n--, p++)
		crc = crc >> 8 ^ c->table[0][(crc ^ *p) & 0xff];
	return crc;
}

uint32_t crc32c_add(const struct crc32c *c, uint32_t crc, struct slice s)
{
	const unsigned char *p = (const unsigned char *)s.p;

	return ~(c->hardware ? add_by_instruction(~crc, p, s.n) : add_by_tables(c, ~crc, p, s.n));
}
