#include "test.h"

#include "base/arena.h"
#include "base/buf.h"

static void a_buf_holds_its_maximum_and_not_more(void **state)
{
	(void)state;
	struct buf b;

	buf_init(&b, 10);
	assert_true(buf_add_lit(&b, "12345"));
	assert_true(buf_add_lit(&b, "67890"));
	assert_int_equal(buf_room(&b), 0);
	assert_false(buf_add_lit(&b, "x"));
	assert_slice(buf_slice(&b), "1234567890");
	assert_true(b.failed);
	buf_take(&b, 10);
	assert_false(buf_add_lit(&b, "x")); /* failure sticks, so that a caller may ask once */
	buf_reset(&b);
	assert_true(buf_add_lit(&b, "x"));
	buf_free(&b);
}

static void what_goes_in_comes_out_in_order(void **state)
{
	(void)state;
	struct buf b;
	unsigned in = 0, out = 0;

	buf_init(&b, 1000);
	for (int round = 0; round < 5000; round++) {
		while (buf_room(&b) > 50 && in - out < 900 && in % 7 != 6) {
			char c = (char)(in++ % 251);
			assert_true(buf_add_char(&b, c));
		}
		char c = (char)(in++ % 251);
		assert_true(buf_add_char(&b, c));
		size_t n = buf_len(&b) / 2 + 1;
		for (size_t i = 0; i < n; i++)
			assert_int_equal((unsigned char)buf_slice(&b).p[i], (out + i) % 251);
		out += (unsigned)n;
		buf_take(&b, n);
	}
	buf_free(&b);
}

static size_t count_of(const struct buf *b, char c)
{
	size_t count = 0;

	for (size_t i = 0; i < b->cap; i++)
		count += b->p[i] == c;
	return count;
}

/* As much goes in as comes out: what is in it is moved now and then, not at each step. */
static void a_buf_that_stays_full_is_hardly_ever_moved(void **state)
{
	struct buf b;
	unsigned moves = 0;

	(void)state;
	buf_init(&b, 1000);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(buf_add_char(&b, (char)i));
	for (unsigned i = 1000; i < 100000; i++) {
		const char *at = buf_slice(&b).p;
		buf_take(&b, 1);
		assert_true(buf_add_char(&b, (char)i));
		moves += buf_slice(&b).p != at + 1;
		assert_int_equal(buf_slice(&b).p[0], (char)(i - 999));
	}
	assert_int_equal(buf_len(&b), 1000);
	assert_true(moves <= 100000 / 1000);
	assert_true(b.cap <= 4096);
	buf_free(&b);
}

/* Whatever moves within the buf's memory, only what it holds is there. */
static void a_secret_buf_keeps_no_octet_that_it_does_not_hold(void **state)
{
	(void)state;
	struct buf b;

	buf_init_secret(&b, 1000);
	for (int i = 0; i < 20; i++)
		assert_true(buf_add_lit(&b, "ssssssssss"));
	assert_int_equal(count_of(&b, 's'), 200);
	buf_take(&b, 30);
	assert_int_equal(count_of(&b, 's'), 170);
	buf_cut(&b, 100);
	assert_int_equal(count_of(&b, 's'), 100);
	/* To the front, and into a larger block. */
	for (int i = 0; i < 60; i++)
		assert_true(buf_add_lit(&b, "oooooooooo"));
	assert_int_equal(count_of(&b, 's'), 100);
	assert_int_equal(count_of(&b, 'o'), 600);
	buf_take(&b, 50);
	assert_true(buf_add_lit(&b, "x"));
	assert_int_equal(count_of(&b, 's'), 50);
	buf_reset(&b);
	assert_int_equal(count_of(&b, 's') + count_of(&b, 'o') + count_of(&b, 'x'), 0);
	buf_free(&b);
	assert_true(b.secret);
}

static void printing_and_numbers_fit_or_leave_no_trace(void **state)
{
	(void)state;
	struct buf b;

	buf_init(&b, 30);
	assert_true(buf_printf(&b, "%s-%d", "abc", 42));
	assert_true(buf_add_u64(&b, UINT64_MAX));
	assert_slice(buf_slice(&b), "abc-4218446744073709551615");
	assert_false(buf_printf(&b, "%s", "too long by far"));
	assert_slice(buf_slice(&b), "abc-4218446744073709551615");
	buf_free(&b);
}

static void an_arena_stops_at_its_maximum_and_begins_anew(void **state)
{
	(void)state;
	struct arena a;
	size_t count = 0;

	arena_init(&a, 10000);
	for (int round = 0; round < 3; round++) {
		size_t n = 0;
		while (arena_alloc(&a, 100))
			n++;
		assert_in_range(n, 80, 100);
		assert_true(count == 0 || n == count);
		count = n;
		assert_null(arena_alloc(&a, SIZE_MAX));
		assert_null(arena_array(&a, SIZE_MAX / 2, 3));
		arena_reset(&a);
	}
	arena_free(&a);
}

static void arena_memory_is_zeroed_and_aligned_even_when_used_again(void **state)
{
	(void)state;
	struct arena a;

	arena_init(&a, 100000);
	for (int round = 0; round < 2; round++) {
		for (size_t size = 1; size < 300; size += 13) {
			unsigned char *p = arena_alloc(&a, size);
			assert_non_null(p);
			assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
			for (size_t i = 0; i < size; i++)
				assert_int_equal(p[i], 0);
			memset(p, 0xa5, size);
		}
		arena_reset(&a);
	}
	assert_non_null(arena_copy(&a, SLICE_NONE).p);
	arena_free(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_buf_holds_its_maximum_and_not_more),
		cmocka_unit_test(what_goes_in_comes_out_in_order),
		cmocka_unit_test(a_buf_that_stays_full_is_hardly_ever_moved),
		cmocka_unit_test(a_secret_buf_keeps_no_octet_that_it_does_not_hold),
		cmocka_unit_test(printing_and_numbers_fit_or_leave_no_trace),
		cmocka_unit_test(an_arena_stops_at_its_maximum_and_begins_anew),
		cmocka_unit_test(arena_memory_is_zeroed_and_aligned_even_when_used_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
