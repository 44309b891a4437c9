/*
 * conf_test: loading a text, and what it is refused for.
 */
#ifndef CONF_TEST_H
#define CONF_TEST_H

#include "test.h"

#include "conf/conf.h"

static const struct conf_host test_host = {.name = {"mx.test", 7}, .cores = 3};
static struct conf_error test_err;

__attribute__((unused)) static struct conf *load(const char *text)
{
	struct slice s = slice_from_cstr(text);
	char *exact = test_exact_copy(s);
	struct conf *c = conf_load_text(slice_of(exact, s.n), "test.conf", &test_host, &test_err);

	free(exact);
	if (!c)
		fail_msg("%s\nrefused: %s", text, test_err.text);
	assert_int_equal(test_err.errors, 0);
	return c;
}

/* The text is refused, and the errors hold `part`. */
__attribute__((unused)) static void refuse(const char *text, const char *part)
{
	struct slice s = slice_from_cstr(text);
	char *exact = test_exact_copy(s);
	struct conf *c = conf_load_text(slice_of(exact, s.n), "test.conf", &test_host, &test_err);

	free(exact);
	if (c)
		fail_msg("taken: %s", text);
	assert_true(test_err.errors > 0);
	if (!strstr(test_err.text, part))
		fail_msg("%s\nthe errors do not hold \"%s\" but: %s", text, part, test_err.text);
}

#endif
