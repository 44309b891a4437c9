/*
 * Users who are not there cost what a wrong password costs (attacks U3). Nothing is timed here: the work is counted,
 * each computation of a hash with its kind and its size, and each step of the database. time_unknown.c takes the time.
 */
#include "stranger.h"

#include <crypt.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sqlite3.h>

static struct buf work; /* a line for each computation */

/* ---- what is counted: the linker puts these in the place of the libraries' --------------------------------------- */

char *__real_crypt_rn(const char *phrase, const char *setting, void *data, int size);
char *__wrap_crypt_rn(const char *phrase, const char *setting, void *data, int size);
unsigned char *__real_HMAC(const EVP_MD *md, const void *key, int key_n, const unsigned char *p, size_t n,
			   unsigned char *out, unsigned *out_n);
unsigned char *__wrap_HMAC(const EVP_MD *md, const void *key, int key_n, const unsigned char *p, size_t n,
			   unsigned char *out, unsigned *out_n);
int __real_PKCS5_PBKDF2_HMAC(const char *pass, int pass_n, const unsigned char *salt, int salt_n, int iterations,
			     const EVP_MD *md, int n, unsigned char *out);
int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int pass_n, const unsigned char *salt, int salt_n, int iterations,
			     const EVP_MD *md, int n, unsigned char *out);
int __real_EVP_Digest(const void *p, size_t n, unsigned char *out, unsigned *out_n, const EVP_MD *md, ENGINE *engine);
int __wrap_EVP_Digest(const void *p, size_t n, unsigned char *out, unsigned *out_n, const EVP_MD *md, ENGINE *engine);
int __real_sqlite3_step(sqlite3_stmt *stmt);
int __wrap_sqlite3_step(sqlite3_stmt *stmt);

/* The method and its cost, and how long the salt is: all but the salt itself and the hash. */
char *__wrap_crypt_rn(const char *phrase, const char *setting, void *data, int size)
{
	struct slice rest = slice_skip(text(setting), 1), method = slice_split(&rest, '$'),
		     cost = slice_split(&rest, '$'), salt = slice_split(&rest, '$');

	buf_printf(&work, "crypt %.*s %.*s, %zu octets of salt, %zu of a password\n", SLICE_ARGS(method),
		   SLICE_ARGS(cost), salt.n, strlen(phrase));
	return __real_crypt_rn(phrase, setting, data, size);
}

unsigned char *__wrap_HMAC(const EVP_MD *md, const void *key, int key_n, const unsigned char *p, size_t n,
			   unsigned char *out, unsigned *out_n)
{
	buf_printf(&work, "HMAC %s, %d, %zu\n", EVP_MD_get0_name(md), key_n, n);
	return __real_HMAC(md, key, key_n, p, n, out, out_n);
}

int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int pass_n, const unsigned char *salt, int salt_n, int iterations,
			     const EVP_MD *md, int n, unsigned char *out)
{
	buf_printf(&work, "PBKDF2 %s, %d, %d, %d\n", EVP_MD_get0_name(md), pass_n, salt_n, iterations);
	return __real_PKCS5_PBKDF2_HMAC(pass, pass_n, salt, salt_n, iterations, md, n, out);
}

int __wrap_EVP_Digest(const void *p, size_t n, unsigned char *out, unsigned *out_n, const EVP_MD *md, ENGINE *engine)
{
	buf_printf(&work, "%s, %zu\n", EVP_MD_get0_name(md), n);
	return __real_EVP_Digest(p, n, out, out_n, md, engine);
}

int __wrap_sqlite3_step(sqlite3_stmt *stmt)
{
	int rc = __real_sqlite3_step(stmt);

	buf_printf(&work, "step: %s, %d columns\n", rc == SQLITE_ROW ? "a row" : "none", sqlite3_data_count(stmt));
	return rc;
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static int begin_users(void **state)
{
	begin(state);
	make_users(true);
	buf_init(&work, 65536);
	return 0;
}

static int end_users(void **state)
{
	buf_free(&work);
	forget_users();
	return end(state);
}

/* What the login made us do goes to `ret`; the challenge behind the name to `first`. */
static void watch(enum sasl_mechanism m, const char *login, char *ret, size_t room, struct buf *first)
{
	/* The first one opens the database. */
	fail_to_log_in(m, login, NULL);
	buf_reset(&work);
	buf_reset(first);
	fail_to_log_in(m, login, first);
	snprintf(ret, room, "%.*s", SLICE_ARGS(buf_slice(&work)));
}

static void assert_alike(enum sasl_mechanism m, const char *unknown)
{
	static char wrong[16384], nobody[16384];
	struct buf first, second;

	buf_init(&first, SASL_CHALLENGE_MAX);
	buf_init(&second, SASL_CHALLENGE_MAX);
	watch(m, KNOWN, wrong, sizeof wrong, &first);
	watch(m, unknown, nobody, sizeof nobody, &second);
	assert_string_equal(nobody, wrong);
	/* GNU SASL's part hangs on what it is given: iterations and salt, which the client sees, too. */
	assert_int_equal(buf_len(&first), buf_len(&second));
	assert_slice(scram_value(buf_slice(&first), 'i'), scram_value(buf_slice(&second), 'i').n ? "32768" : "");
	assert_int_equal(scram_value(buf_slice(&first), 's').n, scram_value(buf_slice(&second), 's').n);
	buf_free(&first);
	buf_free(&second);
}

static void a_user_who_is_not_there_costs_what_a_wrong_password_costs(void **state)
{
	(void)state;
	for (enum sasl_mechanism m = 0; m < SASL_MECHANISMS; m++) {
		if (sasl_row(m)->plus)
			continue; /* the same but for the binding */
		assert_alike(m, UNKNOWN);
		assert_alike(m, BEHIND_ALL);
	}
}

static void each_mechanism_that_shows_a_password_hashes_it_once(void **state)
{
	static char seen[16384];
	struct buf first;

	(void)state;
	buf_init(&first, SASL_CHALLENGE_MAX);
	for (enum sasl_mechanism m = SASL_PLAIN; m <= SASL_LOGIN; m++) {
		watch(m, UNKNOWN, seen, sizeof seen, &first);
		const char *once = strstr(seen, "crypt y j9T, 22 octets of salt, 13 of a password\n");
		assert_non_null(once);
		assert_null(strstr(once + 1, "crypt "));
	}
	buf_free(&first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_user_who_is_not_there_costs_what_a_wrong_password_costs),
		cmocka_unit_test(each_mechanism_that_shows_a_password_hashes_it_once),
	};

	return cmocka_run_group_tests(tests, begin_users, end_users);
}
