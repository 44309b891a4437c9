/*
 * Each allocation of loading and dumping fails once: there is an error, or the same value, and nothing is lost.
 */
#include "conf_test.h"

#include "base/heap.h"

/* In place of base/heap.c: the allocation after `left` others fails. */
static long left = -1;

static bool fails(void)
{
	return left >= 0 && left-- == 0;
}

void *heap_alloc(size_t size)
{
	return fails() ? NULL : calloc(1, size);
}

void *heap_array(size_t count, size_t size)
{
	return fails() ? NULL : calloc(count, size);
}

void *heap_resize(void *block, size_t size)
{
	return fails() ? NULL : realloc(block, size);
}

void heap_free(void *block)
{
	free(block);
}

static const char text[] = "domain example.com { mailboxes = {alice, bob} moved c { to = \"c@example.net\" } }\n"
			   "domain lmtp.example { deliver = lmtp lmtp = 'unix:/s' mailboxes = {'*'} }\n"
			   "listen a { port = 25 } route '*' { hosts = {mx.example} } relay_networks = {::1}\n";

static void whatever_allocation_fails_is_an_error_and_no_crash(void **state)
{
	(void)state;
	long failed = 0;

	for (long n = 0;; n++) {
		struct buf out;

		left = n;
		struct conf *c = conf_load_text(slice_from_cstr(text), "test.conf", &test_host, &test_err);
		bool reached = left < 0;
		if (!c) {
			assert_true(test_err.errors > 0);
			assert_non_null(strstr(test_err.text, "test.conf"));
			failed++;
		} else {
			buf_init(&out, CONF_TEXT_MAX);
			bool dumped = conf_dump(c, &out);
			reached = left < 0;
			left = -1;
			assert_true(dumped || reached);
			if (dumped) {
				struct conf *again = conf_load_text(buf_slice(&out), "dump", &test_host, &test_err);

				assert_non_null(again);
				conf_unref(again);
			}
			buf_free(&out);
		}
		left = -1;
		conf_unref(c);
		if (!reached)
			break;
		assert_true(n < 10000);
	}
	assert_true(failed > 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_allocation_fails_is_an_error_and_no_crash),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
