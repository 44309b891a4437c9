/*
 * stranger: logins with a wrong password, of a user who is there and of one who is not (attacks U3), for the test that
 * counts their work and the program that takes their time.
 */
#ifndef STRANGER_H
#define STRANGER_H

#include "accounts_test.h"

#include "base/base64.h"
#include "directory/sasl.h"

#define KNOWN      "somebody@example.com"
#define UNKNOWN    "nobody.x@example.com" /* of the same length */
#define BEHIND_ALL "zzzzzz.x@example.com" /* the same, and none comes after it */

static struct accounts *db;
static struct sasl *sasl;
static struct buf challenge;

/* Many users, as a server has. One of them is known to the test. */
static inline void make_users(bool with_cram_md5)
{
	static const uint8_t chance[SECRETS_CHANCE] = "some octets that nobody else has, forty-eight!!";
	struct secrets secrets;
	const char *why;
	char name[40];

	assert_int_equal(secrets_make(text("wonderland"), with_cram_md5, chance, &secrets, &why), SECRETS_OK);
	db = writer();
	assert_int_equal(accounts_begin(db), ACCOUNTS_OK);
	assert_int_equal(accounts_add(db, text(KNOWN), &secrets, NOW), ACCOUNTS_OK);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof name, "user%d@example.com", i);
		assert_int_equal(accounts_add(db, text(name), &secrets, NOW), ACCOUNTS_OK);
	}
	assert_int_equal(accounts_commit(db), ACCOUNTS_OK);
	accounts_close(db);
	db = reader();
	sasl = sasl_new(db);
	assert_non_null(sasl);
	buf_init(&challenge, SASL_CHALLENGE_MAX);
}

static inline void forget_users(void)
{
	buf_free(&challenge);
	sasl_free(sasl);
	accounts_close(db);
}

/* The value behind `key` in a message of SCRAM. */
static inline struct slice scram_value(struct slice message, char key)
{
	while (message.n) {
		struct slice part = slice_split(&message, ',');
		if (part.n > 2 && part.p[0] == key && part.p[1] == '=')
			return slice_skip(part, 2);
	}
	return SLICE_NONE;
}

/* A proof that is none. */
static inline void put_scram_final(enum scram_hash hash, struct buf *out)
{
	static const char zeros[SCRAM_KEY_MAX];

	buf_printf(out, "c=biws,r=%.*s,p=", SLICE_ARGS(scram_value(buf_slice(&challenge), 'r')));
	base64_encode(slice_of(zeros, scram_key_size(hash)), out);
}

/* What a client says in its n-th step; false when it has said all. */
static inline bool put_response(enum sasl_mechanism m, int n, const char *login, struct buf *out)
{
	buf_reset(out);
	switch (m) {
	case SASL_PLAIN:
		buf_add_char(out, '\0');
		buf_printf(out, "%s", login);
		buf_add_char(out, '\0');
		buf_add_lit(out, "looking-glass");
		return n == 0;
	case SASL_LOGIN:
		buf_printf(out, "%s", n == 0 ? login : "looking-glass");
		return n < 2;
	case SASL_CRAM_MD5:
		buf_printf(out, "%s 0123456789abcdef0123456789abcdef", login);
		return n == 0;
	default:
		if (n == 0)
			buf_printf(out, "n,,n=%s,r=0123456789", login);
		else
			put_scram_final(sasl_row(m)->hash, out);
		return n < 2;
	}
}

/* The whole exchange, which fails. `ret_first` (may be NULL) gets the challenge behind the name. */
static inline void fail_to_log_in(enum sasl_mechanism m, const char *login, struct buf *ret_first)
{
	struct sasl_start start = {.mechanism = m,
				   .host = SLICE("mx.example.com"),
				   .keeps_cram_md5 = true,
				   .now = NOW,
				   .chance = {1, 2, 3, 4}};
	struct sasl_exchange *e = sasl_begin(sasl, &start);
	enum sasl_result result = SASL_CHALLENGE;
	struct buf response;

	assert_non_null(e);
	buf_init(&response, SASL_RESPONSE_MAX);
	if (sasl_row(m)->server_first || m == SASL_LOGIN)
		result = sasl_step(e, false, SLICE_NONE, &challenge);
	for (int n = 0; result == SASL_CHALLENGE && put_response(m, n, login, &response); n++) {
		result = sasl_step(e, true, buf_slice(&response), &challenge);
		if (n == 0 && ret_first)
			buf_add(ret_first, buf_slice(&challenge));
	}
	assert_int_equal(result, SASL_WRONG);
	sasl_end(e);
	buf_free(&response);
}

#endif
