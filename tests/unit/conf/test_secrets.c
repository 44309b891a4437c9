/* How routes log in, and where the secrets for it come from. */
#include "conf_test.h"

#include "conf/secrets.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const struct route_auth *auth_of(const struct conf *c)
{
	const struct route_group *g = conf_hosts(c, SLICE("*"));

	assert_non_null(g);
	return &g->auth;
}

/* Each with '+' when it may be used in the clear, and '=' when it binds. */
static void assert_mechanisms(const char *keys, const char *expected)
{
	char text[1000];
	struct buf b;

	snprintf(text, sizeof text, "route \"*\" { hosts = {mx.test} auth_user = u auth_secret_env = S %s }", keys);
	struct conf *c = load(text);
	const struct route_auth *auth = auth_of(c);
	buf_init(&b, 1024);
	for (size_t i = 0; i < auth->mechanism_count; i++)
		buf_printf(&b, "%.*s%s%s ", SLICE_ARGS(auth->mechanisms[i].name),
			   auth->mechanisms[i].in_clear ? "+" : "", auth->mechanisms[i].binds ? "=" : "");
	assert_slice(buf_slice(&b), expected);
	assert_slice(auth->user, "u");
	buf_free(&b);
	conf_unref(c);
}

static void the_strongest_mechanism_comes_first(void **state)
{
	(void)state;
	assert_mechanisms("", "SCRAM-SHA-256-PLUS= SCRAM-SHA-256 SCRAM-SHA-1-PLUS= SCRAM-SHA-1 CRAM-MD5 PLAIN LOGIN ");
	assert_mechanisms("auth_in_clear = scram",
			  "SCRAM-SHA-256-PLUS= SCRAM-SHA-256+ SCRAM-SHA-1-PLUS= SCRAM-SHA-1+ CRAM-MD5+ PLAIN LOGIN ");
	assert_mechanisms("auth_in_clear = all auth_mechanisms = {login, SCRAM-SHA-1-plus}",
			  "LOGIN+ SCRAM-SHA-1-PLUS= ");
	assert_mechanisms("auth_mechanisms = {XOAUTH2}", "XOAUTH2 ");
	struct conf *c = load("route \"*\" { hosts = {mx.test} }");
	assert_int_equal(auth_of(c)->mechanism_count, 0);
	assert_int_equal(auth_of(c)->user.n, 0);
	conf_unref(c);
}

static void what_could_never_work_is_refused(void **state)
{
	static const struct {
		const char *keys, *why;
	} rows[] = {
		{"auth_user = u", "auth_user needs a secret"},
		{"auth_user = u auth_secret_env = S auth_secret_file = /s", "there is one secret"},
		{"auth_user = u auth_secret_env = 1S", "\"1S\" is no name of a variable"},
		{"auth_secret_env = S", "auth_secret_env is of no use without auth_user"},
		{"auth_mechanisms = {PLAIN}", "auth_mechanisms is of no use without auth_user"},
		{"auth_user = u auth_secret_env = S auth_mechanisms = {XOAUTH2, PLAIN}", "XOAUTH2 stands alone"},
		{"auth_user = u auth_secret_env = S auth_mechanisms = {plain, PLAIN}", "PLAIN is there twice"},
		{"auth_user = u auth_secret_env = S auth_mechanisms = {NTLM}", "there is no such mechanism"},
		{"auth_user = u auth_secret_env = S tls = off", "nobody could log in there"},
		{"auth_user = u auth_secret_env = S tls = off auth_in_clear = scram auth_mechanisms = {PLAIN}",
		 "nobody could log in there"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char text[1000];

		snprintf(text, sizeof text, "route \"*\" { hosts = {mx.test} %s }", rows[i].keys);
		refuse(text, rows[i].why);
	}
}

static void who_could_get_the_secret_by_a_false_certificate_is_warned_of(void **state)
{
	(void)state;
	conf_unref(load("route \"*\" { hosts = {mx.test} auth_user = u auth_secret_env = S }"));
	assert_non_null(strstr(test_err.text, "warning: whoever stands in for the server can get the secret"));
	conf_unref(load("route \"*\" { hosts = {mx.test} auth_user = u auth_secret_env = S tls = verify }"));
	assert_int_equal(test_err.warnings, 0);
	conf_unref(load("route \"*\" { hosts = {mx.test} auth_user = u auth_secret_env = S\n"
			"auth_mechanisms = {SCRAM-SHA-256} }"));
	assert_int_equal(test_err.warnings, 0);
}

/* ---- secrets ----------------------------------------------------------------------------------------------------- */

static struct conf *with_secrets(void)
{
	char text[1000];

	snprintf(text, sizeof text,
		 "route a.test { hosts = {mx.test} tls = verify auth_user = u auth_secret_file = \"%s/s\" }\n"
		 "route b.test { hosts = {mx.test} }\n"
		 "route c.test { hosts = {mx.test} tls = verify auth_user = u auth_secret_env = TEST_SECRET }",
		 folder);
	return load(text);
}

static void put(const char *content, mode_t mode)
{
	char path[100];

	snprintf(path, sizeof path, "%s/s", folder);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs(content, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static void assert_secrets(const struct conf_secrets *s, const char *a, const char *c)
{
	assert_non_null(s);
	assert_int_equal(s->count, 2);
	assert_slice(s->list[0].route, "a.test");
	assert_slice(s->list[0].secret, a);
	assert_slice(s->list[1].route, "c.test");
	assert_slice(s->list[1].secret, c);
}

static void secrets_come_from_files_and_once_from_the_environment(void **state)
{
	static const char *const contents[] = {"pass word", "pass word\n", "pass word\r\n"};
	struct conf *c = with_secrets();

	(void)state;
	assert_int_equal(setenv("TEST_SECRET", "from outside", 1), 0);
	const char *there = getenv("TEST_SECRET");
	struct conf_secrets *first = NULL;
	for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
		put(contents[i], 0640);
		conf_secrets_free(first);
		first = conf_secrets_read(c, NULL, false, &test_err);
		assert_secrets(first, "pass word", "from outside");
	}
	conf_secrets_hide(first);
	assert_null(getenv("TEST_SECRET"));
	assert_int_equal(there[0], 0);
	/* A file is read anew; what came from the environment stays, whatever is there now. */
	put("another", 0600);
	assert_int_equal(setenv("TEST_SECRET", "other", 1), 0);
	struct conf_secrets *second = conf_secrets_read(c, first, false, &test_err);
	assert_secrets(second, "another", "from outside");
	conf_secrets_free(first);
	conf_secrets_free(second);
	unsetenv("TEST_SECRET");
	assert_null(conf_secrets_read(c, NULL, false, &test_err));
	assert_non_null(
		strstr(test_err.text, "TEST_SECRET: the secret of route \"c.test\" is not in the environment\n"));
	/* Who only looks need not have it. */
	first = conf_secrets_read(c, NULL, true, &test_err);
	assert_secrets(first, "another", "");
	conf_secrets_free(first);
	conf_unref(c);
}

static void a_file_that_others_can_use_is_no_secret(void **state)
{
	static const struct {
		const char *content;
		mode_t mode;
		const char *why;
	} rows[] = {
		{"x", 0644, "can be read by everybody: chmod 600"},
		{"x", 0604, "can be read by everybody: chmod 600"},
		{"x", 0602, "can be used by others: chmod 600"},
		{"x", 0660, "can be used by others: chmod 600"},
		{"", 0600, "the secret is empty"},
		{"\n", 0600, "the secret is empty"},
		{"a\nb", 0600, "a secret is one line, and there are more"},
		{"a\n\n", 0600, "a secret is one line, and there are more"},
		{"a\x01", 0600, "a secret has no control characters"},
	};
	struct conf *c = with_secrets();

	(void)state;
	assert_int_equal(setenv("TEST_SECRET", "x", 1), 0);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		test_err = (struct conf_error){0};
		put(rows[i].content, rows[i].mode);
		assert_null(conf_secrets_read(c, NULL, false, &test_err));
		if (!strstr(test_err.text, rows[i].why))
			fail_msg("row %zu: %s", i, test_err.text);
		assert_true(test_err.errors == 1);
	}
	/* The most that is one, and one octet more. */
	char *much = malloc(CONF_SECRET_MAX + 3);
	memset(much, 'x', CONF_SECRET_MAX + 1);
	memcpy(much + CONF_SECRET_MAX, "\n", 2);
	put(much, 0600);
	conf_secrets_free(conf_secrets_read(c, NULL, false, &test_err));
	assert_int_equal(test_err.errors, 1);
	memcpy(much + CONF_SECRET_MAX, "x\n", 3);
	put(much, 0600);
	assert_null(conf_secrets_read(c, NULL, false, &test_err));
	assert_non_null(strstr(test_err.text, "it is too long for a secret"));
	free(much);
	conf_unref(c);
}

static int make_folder(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/postrider-secrets-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	char path[100];

	(void)state;
	snprintf(path, sizeof path, "%s/s", folder);
	unlink(path);
	return rmdir(folder);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_strongest_mechanism_comes_first),
		cmocka_unit_test(what_could_never_work_is_refused),
		cmocka_unit_test(who_could_get_the_secret_by_a_false_certificate_is_warned_of),
		cmocka_unit_test(secrets_come_from_files_and_once_from_the_environment),
		cmocka_unit_test(a_file_that_others_can_use_is_no_secret),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
