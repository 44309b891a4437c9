#include "test.h"

#include "base/hash.h"
#include "base/pack.h"

static void values_come_back_as_they_went(void **state)
{
	(void)state;
	struct buf b;

	buf_init(&b, 1000);
	pack_u8(&b, 200);
	pack_u16(&b, 60000);
	pack_u32(&b, 4000000000u);
	pack_u64(&b, UINT64_MAX - 1);
	pack_i64(&b, INT64_MIN);
	pack_slice(&b, SLICE("a\0b"));
	pack_slice(&b, SLICE(""));

	struct unpack u = {.in = buf_slice(&b)};
	assert_int_equal(unpack_u8(&u), 200);
	assert_int_equal(unpack_u16(&u), 60000);
	assert_int_equal(unpack_u32(&u), 4000000000u);
	assert_true(unpack_u64(&u) == UINT64_MAX - 1);
	assert_true(unpack_i64(&u) == INT64_MIN);
	assert_true(slice_eq(unpack_slice(&u, 3), SLICE("a\0b")));
	assert_int_equal(unpack_slice(&u, 0).n, 0);
	assert_true(unpack_done(&u));
	buf_free(&b);
}

static void badness_sticks_and_gives_zeros(void **state)
{
	(void)state;
	struct unpack u = {.in = SLICE("\x05\x01\x02")};

	assert_int_equal(unpack_u8_max(&u, 4), 0);
	assert_true(u.bad);
	assert_int_equal(unpack_u8(&u), 0);
	assert_false(unpack_done(&u));

	struct unpack shorter = {.in = SLICE("\x01\x02\x03")};
	assert_int_equal(unpack_u32(&shorter), 0);
	assert_true(shorter.bad);

	/* A length that promises more than is there, and one over the bound. */
	struct unpack liar = {.in = SLICE("\xff\xff\xff\xff"
					  "abc")};
	assert_int_equal(unpack_slice(&liar, SIZE_MAX).n, 0);
	assert_true(liar.bad);
	struct unpack over = {.in = SLICE("\x03\0\0\0"
					  "abc")};
	assert_int_equal(unpack_slice(&over, 2).n, 0);
	assert_true(over.bad);

	struct unpack rest = {.in = SLICE("\x01\x02")};
	unpack_u8(&rest);
	assert_false(unpack_done(&rest));
}

/* The vectors of the SipHash paper's reference: key 00..0f, inputs 00, 0001, ... */
static void siphash_gives_the_published_values(void **state)
{
	(void)state;
	struct hash_key key = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
	char in[15];

	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (char)i;
	assert_true(hash_slice(key, SLICE_NONE) == UINT64_C(0x726fdb47dd0e0e31));
	assert_true(hash_slice(key, slice_of(in, 1)) == UINT64_C(0x74f839c593dc67fd));
	assert_true(hash_slice(key, slice_of(in, 8)) == UINT64_C(0x93f5f5799a932462));
	assert_true(hash_slice(key, slice_of(in, 15)) == UINT64_C(0xa129ca6149be45e5));
	assert_true(hash_slice_lower(key, SLICE("Example.COM")) == hash_slice(key, SLICE("example.com")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_come_back_as_they_went),
		cmocka_unit_test(badness_sticks_and_gives_zeros),
		cmocka_unit_test(siphash_gives_the_published_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
