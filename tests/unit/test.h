/*
 * test: what every unit test includes first.
 */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/slice.h"

/* CMOCKA_TEST_FILTER='a_name*' runs those alone whose names are like it. */
__attribute__((constructor)) static void test_choose(void)
{
	cmocka_set_test_filter(getenv("CMOCKA_TEST_FILTER"));
}

/* How often what is only repeated is done: fewer times where a sanitizer makes each several times as dear. */
#if defined(__SANITIZE_ADDRESS__)
#define TEST_TIMES(full, few) (few)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_TIMES(full, few) (few)
#endif
#endif
#ifndef TEST_TIMES
#define TEST_TIMES(full, few) (full)
#endif

/* A slice equals a C string, shown as text when it does not. */
#define assert_slice(slice_value, expected)                                                                            \
	do {                                                                                                           \
		struct slice test_slice = (slice_value);                                                               \
		char *test_text = malloc(test_slice.n + 1);                                                            \
		memcpy(test_text, test_slice.n ? test_slice.p : "", test_slice.n);                                     \
		test_text[test_slice.n] = '\0';                                                                        \
		assert_string_equal(test_text, (expected));                                                            \
		free(test_text);                                                                                       \
	} while (0)

/* A copy of the octets that ends exactly where they end, so that ASan sees one octet read too many. Free it. */
static inline char *test_exact_copy(struct slice s)
{
	char *p = malloc(s.n ? s.n : 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	return p;
}

#endif
