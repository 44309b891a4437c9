#include "base/id.h"

#include <assert.h>

/* Crockford's base 32: no I, L, O or U. What people write instead of a digit is taken as that digit. */
static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

#define SPREAD UINT64_C(0x5851f42d4c957f2d) /* odd, hence invertible modulo 2^60 */
#define HALF   (MSG_ID_BITS / 2)

/* The inverse of SPREAD modulo 2^60, by Newton's steps: each doubles the number of right bits, from three up. */
static uint64_t spread_inverse(void)
{
	uint64_t inverse = SPREAD;

	for (int i = 0; i < 5; i++)
		inverse *= 2 - SPREAD * inverse;
	return inverse & MSG_ID_MAX;
}

static uint64_t scramble(uint64_t id)
{
	id = id * SPREAD & MSG_ID_MAX;
	id ^= id >> HALF;
	return id * SPREAD & MSG_ID_MAX;
}

static uint64_t unscramble(uint64_t id)
{
	uint64_t inverse = spread_inverse();

	id = id * inverse & MSG_ID_MAX;
	id ^= id >> HALF;
	return id * inverse & MSG_ID_MAX;
}

static int digit_value(char c)
{
	c = ascii_upper(c);
	if (c == 'O')
		return 0;
	if (c == 'I' || c == 'L')
		return 1;
	for (int i = 0; i < 32; i++)
		if (alphabet[i] == c)
			return i;
	return -1;
}

struct msg_id_text msg_id_format(msg_id id)
{
	struct msg_id_text out;
	uint64_t value = scramble(id);

	assert(id > 0);
	assert(id <= MSG_ID_MAX);
	for (int i = MSG_ID_TEXT - 1; i >= 0; i--) {
		out.text[i] = alphabet[value & 31];
		value >>= 5;
	}
	out.text[MSG_ID_TEXT] = '\0';
	return out;
}

bool msg_id_parse(struct slice text, msg_id *ret)
{
	uint64_t value = 0;

	if (text.n != MSG_ID_TEXT)
		return false;
	for (size_t i = 0; i < text.n; i++) {
		int digit = digit_value(text.p[i]);
		if (digit < 0)
			return false;
		value = value << 5 | (uint64_t)digit;
	}
	value = unscramble(value);
	if (value == 0)
		return false;
	*ret = value;
	return true;
}
