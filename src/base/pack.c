#include "base/pack.h"

#include <assert.h>

static void pack_number(struct buf *out, uint64_t value, size_t width)
{
	char octets[8];

	for (size_t i = 0; i < width; i++)
		octets[i] = (char)(value >> (8 * i) & 0xff);
	buf_add(out, slice_of(octets, width));
}

void pack_u8(struct buf *out, uint8_t value)
{
	pack_number(out, value, 1);
}

void pack_u16(struct buf *out, uint16_t value)
{
	pack_number(out, value, 2);
}

void pack_u32(struct buf *out, uint32_t value)
{
	pack_number(out, value, 4);
}

void pack_u64(struct buf *out, uint64_t value)
{
	pack_number(out, value, 8);
}

void pack_i64(struct buf *out, int64_t value)
{
	pack_number(out, (uint64_t)value, 8);
}

void pack_slice(struct buf *out, struct slice value)
{
	assert(value.n <= UINT32_MAX);
	pack_u32(out, (uint32_t)value.n);
	buf_add(out, value);
}

static uint64_t unpack_number(struct unpack *u, size_t width)
{
	uint64_t value = 0;

	if (u->bad || u->in.n < width) {
		u->bad = true;
		return 0;
	}
	for (size_t i = 0; i < width; i++)
		value |= (uint64_t)(unsigned char)u->in.p[i] << (8 * i);
	u->in = slice_skip(u->in, width);
	return value;
}

uint8_t unpack_u8(struct unpack *u)
{
	return (uint8_t)unpack_number(u, 1);
}

uint16_t unpack_u16(struct unpack *u)
{
	return (uint16_t)unpack_number(u, 2);
}

uint32_t unpack_u32(struct unpack *u)
{
	return (uint32_t)unpack_number(u, 4);
}

uint64_t unpack_u64(struct unpack *u)
{
	return unpack_number(u, 8);
}

int64_t unpack_i64(struct unpack *u)
{
	return (int64_t)unpack_number(u, 8);
}

struct slice unpack_slice(struct unpack *u, size_t max)
{
	uint32_t n = unpack_u32(u);

	if (u->bad || n > max || n > u->in.n) {
		u->bad = true;
		return SLICE_NONE;
	}
	struct slice value = slice_head(u->in, n);
	u->in = slice_skip(u->in, n);
	return value;
}

uint8_t unpack_u8_max(struct unpack *u, uint8_t max)
{
	uint8_t value = unpack_u8(u);

	if (value > max) {
		u->bad = true;
		return 0;
	}
	return value;
}

uint32_t unpack_u32_max(struct unpack *u, uint32_t max)
{
	uint32_t value = unpack_u32(u);

	if (value > max) {
		u->bad = true;
		return 0;
	}
	return value;
}

bool unpack_bool(struct unpack *u)
{
	return unpack_u8_max(u, 1) == 1;
}

bool unpack_done(const struct unpack *u)
{
	return !u->bad && u->in.n == 0;
}
