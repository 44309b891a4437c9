/*
 * OAUTHBEARER and XOAUTH2: what clients say, octet by octet, and the exchange to its end.
 */
#include "accounts_test.h"

#include "base/base64.h"
#include "directory/sasl.h"
#include "directory/sasl_oauth.h"

#include <openssl/evp.h>

#define SEP "\x01"

static struct accounts *db;
static struct sasl *sasl;
static struct tokens *tokens;
static EVP_PKEY *key;
static struct buf challenge;
static enum sasl_result judgement;
static unsigned judged;
static wall_ms later;

/* ---- what is said ------------------------------------------------------------------------------------------------ */

static bool read_exactly(bool xoauth2, struct slice said, const char *identity, const char *token)
{
	char room[OAUTH_IDENTITY_MAX], *copy = test_exact_copy(said);
	struct oauth_response r;
	bool good =
		xoauth2 ? xoauth2_read(slice_of(copy, said.n), &r) : oauthbearer_read(slice_of(copy, said.n), room, &r);

	if (good) {
		assert_slice(r.identity, identity);
		assert_slice(r.token, token);
	}
	free(copy);
	return good;
}

#define BEARER(head, tail) head SEP "auth=Bearer abc.d-_~+/=" SEP tail

static void good_words_are_read(void **state)
{
	(void)state;
	static const struct {
		const char *said, *identity;
		bool xoauth2;
	} rows[] = {
		{BEARER("n,,", SEP), "", false},
		{BEARER("y,,", SEP), "", false},
		{BEARER("n,a=user@example.com,", SEP), "user@example.com", false},
		{BEARER("n,a=a=2Cb=3Dc,", SEP), "a,b=c", false},
		/* RFC 7628 4.1 */
		{BEARER("n,a=user@example.com," SEP "host=server.example.com" SEP "port=143", SEP), "user@example.com",
		 false},
		{BEARER("n,,", "host=h" SEP "more=a b\tc\r\nd" SEP SEP), "", false},
		{"n,," SEP "auth=bearer  abc.d-_~+/=" SEP SEP, "", false},
		{BEARER("user=user@example.com", SEP), "user@example.com", true},
		{BEARER("user=a,=b", SEP), "a,=b", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice said = slice_from_cstr(rows[i].said);
		assert_true(read_exactly(rows[i].xoauth2, said, rows[i].identity, "abc.d-_~+/="));
		assert_false(read_exactly(!rows[i].xoauth2, said, "", ""));
		/* Cut anywhere it is none. */
		for (size_t n = 0; n < said.n; n++)
			assert_false(read_exactly(rows[i].xoauth2, slice_head(said, n), "", ""));
	}
}

static void bad_words_are_refused(void **state)
{
	(void)state;
	static const struct slice bearer[] = {
		{"", 0},
		{SEP, 1},
		{"n,,", 3},
		{"n,," SEP SEP, 5},
#define ROW(s) {s, sizeof(s) - 1}
		ROW(BEARER("p=tls-exporter,,", SEP)),
		ROW(BEARER("n,", SEP)),
		ROW(BEARER("n", SEP)),
		ROW(BEARER("", SEP)),
		ROW(BEARER("N,,", SEP)),
		ROW(BEARER("n,,x", SEP)),
		ROW(BEARER("n,a=,", SEP)),
		ROW(BEARER("n,b=x,", SEP)),
		ROW(BEARER("n,a=a=2c,", SEP)),
		ROW(BEARER("n,a=a=,", SEP)),
		ROW(BEARER("n,a=a\0b,", SEP)),
		ROW(BEARER("n,a=a,b,", SEP)),
		ROW(BEARER(",,", SEP)),
		ROW(BEARER("F,n,,", SEP)),
		ROW(BEARER("n,,", "")),
		ROW(BEARER("n,,", SEP SEP)),
		ROW(BEARER("n,,", SEP "x")),
		ROW(BEARER("n,,", "auth=Bearer b" SEP SEP)),
		ROW(BEARER("n,," SEP, SEP)),
		ROW(BEARER("n,," SEP "=x", SEP)),
		ROW(BEARER("n,," SEP "a1=x", SEP)),
		ROW(BEARER("n,," SEP "host", SEP)),
		ROW(BEARER("n,," SEP "host=\0", SEP)),
		ROW(BEARER("n,," SEP "host=\x80", SEP)),
		ROW("n,," SEP "auth=Bearer " SEP SEP),
		ROW("n,," SEP "auth=Bearer" SEP SEP),
		ROW("n,," SEP "auth=Bearer =" SEP SEP),
		ROW("n,," SEP "auth=Bearer a=b" SEP SEP),
		ROW("n,," SEP "auth=Bearer a b" SEP SEP),
		ROW("n,," SEP "auth=Basic a" SEP SEP),
		ROW("n,," SEP "auth= a" SEP SEP),
		ROW("n,," SEP "Auth=Bearer a" SEP SEP),
		ROW("n,," SEP "auth=Bearer\ta" SEP SEP),
	};
	static const struct slice xoauth2[] = {
		ROW(""),
		ROW(BEARER("user=", SEP)),
		ROW(BEARER("User=a", SEP)),
		ROW(BEARER("user=a\0b", SEP)),
		ROW("user=a" SEP SEP),
		ROW(BEARER("user=a", "")),
		ROW(BEARER("user=a", SEP SEP)),
		ROW(BEARER("", SEP)),
		ROW("user=a" SEP "auth=Bearer " SEP SEP),
		ROW("auth=Bearer a" SEP "user=a" SEP SEP),
	};
	char name[OAUTH_IDENTITY_MAX + 100];

	for (size_t i = 0; i < sizeof bearer / sizeof *bearer; i++)
		assert_false(read_exactly(false, bearer[i], "", ""));
	for (size_t i = 0; i < sizeof xoauth2 / sizeof *xoauth2; i++)
		assert_false(read_exactly(true, xoauth2[i], "", ""));
	for (int n = OAUTH_IDENTITY_MAX - 1; n < OAUTH_IDENTITY_MAX + 3; n++) {
		snprintf(name, sizeof name, "n,a=%0*d," SEP "auth=Bearer a" SEP SEP, n, 0);
		char room[OAUTH_IDENTITY_MAX];
		struct oauth_response r;
		assert_int_equal(oauthbearer_read(slice_from_cstr(name), room, &r), n <= OAUTH_IDENTITY_MAX);
	}
}

static void refusals_are_json(void **state)
{
	(void)state;
	struct buf out;

	buf_init(&out, 1024);
	oauth_refusal(false, false, SLICE_NONE, &out);
	oauth_refusal(false, true, SLICE("smtp mail"), &out);
	oauth_refusal(true, false, SLICE("smtp"), &out);
	oauth_refusal(true, true, SLICE_NONE, &out);
	assert_slice(buf_slice(&out), "{\"status\":\"invalid_token\"}"
				      "{\"status\":\"insufficient_scope\",\"scope\":\"smtp mail\"}"
				      "{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"smtp\"}"
				      "{\"status\":\"403\",\"schemes\":\"bearer\"}");
	buf_free(&out);
}

/* ---- the exchange ------------------------------------------------------------------------------------------------ */

static void add_url(struct buf *out, const void *octets, size_t n)
{
	struct buf plain;

	buf_init(&plain, 4096);
	base64_encode(slice_of(octets, n), &plain);
	for (size_t i = 0; i < buf_len(&plain) && buf_slice(&plain).p[i] != '='; i++) {
		char c = buf_slice(&plain).p[i];
		buf_add_char(out, c == '+' ? '-' : c == '/' ? '_' : c);
	}
	buf_free(&plain);
}

static void add_token(struct buf *out, const char *who, const char *scope)
{
	static const char header[] = "{\"alg\":\"EdDSA\"}";
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	size_t begun = buf_len(out), n = 64;
	uint8_t signature[64];
	char claims[500];

	snprintf(claims, sizeof claims, "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":%lld,\"email\":\"%s\",\"scope\":\"%s\"}",
		 (long long)(NOW / SECOND + 300), who, scope);
	add_url(out, header, strlen(header));
	buf_add_char(out, '.');
	add_url(out, claims, strlen(claims));
	EVP_DigestSignInit(c, NULL, NULL, NULL, key);
	assert_int_equal(
		EVP_DigestSign(c, signature, &n, (const uint8_t *)buf_slice(out).p + begun, buf_len(out) - begun), 1);
	EVP_MD_CTX_free(c);
	buf_add_char(out, '.');
	add_url(out, signature, n);
}

static enum sasl_result judge(void *arg, struct slice login)
{
	(void)arg;
	judged += login.n > 0 ? 100 : 1;
	return judgement;
}

static wall_ms now(void *arg)
{
	(void)arg;
	return NOW + later;
}

static struct sasl_exchange *begun(enum sasl_mechanism m)
{
	struct sasl_start start = {.mechanism = m, .now = NOW, .tokens = tokens, .judge = {.name = judge, .now = now}};
	struct sasl_exchange *e = sasl_begin(sasl, &start);

	assert_non_null(e);
	assert_false(sasl_is_slow(e));
	return e;
}

/* `head` is what stands before the token. */
static enum sasl_result show(struct sasl_exchange *e, const char *head, const char *who, const char *scope)
{
	struct buf said;

	buf_init(&said, 4096);
	buf_printf(&said, "%s" SEP "auth=Bearer ", head);
	add_token(&said, who, scope);
	buf_add_lit(&said, SEP SEP);
	char *copy = test_exact_copy(buf_slice(&said));
	enum sasl_result result = sasl_step(e, true, slice_of(copy, buf_len(&said)), &challenge);
	free(copy);
	buf_free(&said);
	return result;
}

static void a_token_opens_its_account_and_no_other(void **state)
{
	(void)state;
	static const char invalid[] = "{\"status\":\"invalid_token\",\"scope\":\"smtp\"}";
	static const struct {
		const char *head, *who, *scope;
		enum sasl_result result;
		const char *said, *why;
		enum sasl_mechanism mechanism;
	} rows[] = {
		{"n,,", "alice@example.com", "smtp", SASL_GOOD, "", "", SASL_OAUTHBEARER},
		{"n,a=alice@example.com,", "ALICE@example.com", "x smtp", SASL_GOOD, "", "", SASL_OAUTHBEARER},
		{"user=Alice@EXAMPLE.com", "alice@example.com", "smtp", SASL_GOOD, "", "", SASL_XOAUTH2},
		{"n,a=bob,", "alice@example.com", "smtp", SASL_WRONG, invalid, "another identity than the token's",
		 SASL_OAUTHBEARER},
		{"n,,", "nobody@example.com", "smtp", SASL_WRONG, invalid, "unknown user", SASL_OAUTHBEARER},
		{"n,,", "bob", "smtp", SASL_DISABLED, "", "the account is disabled", SASL_OAUTHBEARER},
		{"n,,", "alice@example.com", "imap", SASL_WRONG,
		 "{\"status\":\"insufficient_scope\",\"scope\":\"smtp\"}",
		 "the token is refused: it is for another scope", SASL_OAUTHBEARER},
		{"user=bob", "alice@example.com", "smtp", SASL_WRONG,
		 "{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"smtp\"}", "another identity than the token's",
		 SASL_XOAUTH2},
		{"user=alice@example.com", "alice@example.com", "imap", SASL_WRONG,
		 "{\"status\":\"403\",\"schemes\":\"bearer\",\"scope\":\"smtp\"}",
		 "the token is refused: it is for another scope", SASL_XOAUTH2},
		{"n,", "alice@example.com", "smtp", SASL_WRONG, "", "the response is malformed", SASL_OAUTHBEARER},
	};
	static const struct slice dummies[] = {{SEP, 1}, {"", 0}, {"*", 1}, {"n,," SEP SEP, 5}};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t d = 0; d < sizeof dummies / sizeof *dummies; d++) {
			struct sasl_exchange *e = begun(rows[i].mechanism);
			if (d == 1) {
				assert_int_equal(sasl_step(e, false, SLICE_NONE, &challenge), SASL_CHALLENGE);
				assert_int_equal(buf_len(&challenge), 0);
			}
			enum sasl_result result = show(e, rows[i].head, rows[i].who, rows[i].scope);
			assert_int_equal(sasl_is_refused(e), rows[i].said[0] != '\0');
			if (sasl_is_refused(e)) {
				assert_int_equal(result, SASL_CHALLENGE);
				assert_slice(buf_slice(&challenge), rows[i].said);
				result = sasl_step(e, true, dummies[d], &challenge);
			}
			assert_int_equal(result, rows[i].result);
			if (result == SASL_GOOD)
				assert_slice(sasl_login(e), "alice@example.com");
			else
				assert_slice(sasl_why(e), rows[i].why);
			sasl_end(e);
		}
}

/* Another token, shown instead of the word that means nothing, is too late. */
static void a_refusal_stays_one(void **state)
{
	(void)state;
	struct sasl_exchange *e = begun(SASL_OAUTHBEARER);

	assert_int_equal(show(e, "n,,", "nobody", "smtp"), SASL_CHALLENGE);
	assert_int_equal(show(e, "n,,", "alice@example.com", "smtp"), SASL_WRONG);
	sasl_end(e);
}

static void the_judge_is_asked_before_a_token_is_looked_at(void **state)
{
	(void)state;
	struct sasl_exchange *e = begun(SASL_OAUTHBEARER);

	assert_int_equal(show(e, "n,,", "nobody", "smtp"), SASL_CHALLENGE);
	assert_int_equal(judged, 101);
	sasl_end(e);
	judgement = SASL_LIMITED;
	e = begun(SASL_OAUTHBEARER);
	assert_int_equal(show(e, "n,,", "alice@example.com", "smtp"), SASL_LIMITED);
	assert_int_equal(judged, 102);
	assert_false(sasl_is_refused(e));
	sasl_end(e);
}

static void the_time_counts_at_which_it_is_shown(void **state)
{
	(void)state;
	struct sasl_exchange *e = begun(SASL_XOAUTH2);

	later = 400 * SECOND;
	assert_int_equal(show(e, "user=alice@example.com", "alice@example.com", "smtp"), SASL_CHALLENGE);
	assert_slice(sasl_why(e), "the token is refused: it has expired");
	sasl_end(e);
}

static void without_keys_it_is_to_be_tried_later(void **state)
{
	(void)state;
	struct sasl_start start = {.mechanism = SASL_OAUTHBEARER, .now = NOW};
	struct sasl_exchange *e = sasl_begin(sasl, &start);

	assert_int_equal(show(e, "n,,", "alice@example.com", "smtp"), SASL_UNAVAILABLE);
	sasl_end(e);
}

static int make_accounts(void **state)
{
	static const uint8_t chance[SECRETS_CHANCE] = "some octets that nobody else has, forty-eight!!";
	const struct token_rules rules = {{"i", 1}, {"a", 1}, {"smtp", 4}, {"email", 5}, SECOND};
	struct secrets secrets;
	struct buf keys;
	uint8_t x[32];
	size_t n = sizeof x;
	const char *why;
	int rc = begin(state);

	tokens_begin(1);
	assert_int_equal(secrets_make(SLICE("wonderland"), false, chance, &secrets, &why), SECRETS_OK);
	db = writer();
	assert_int_equal(accounts_add(db, SLICE("alice@example.com"), &secrets, NOW), ACCOUNTS_OK);
	assert_int_equal(accounts_add(db, SLICE("bob"), &secrets, NOW), ACCOUNTS_OK);
	assert_int_equal(accounts_set_enabled(db, SLICE("bob"), false), ACCOUNTS_OK);
	accounts_close(db);
	key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	EVP_PKEY_get_raw_public_key(key, x, &n);
	buf_init(&keys, 1024);
	buf_add_lit(&keys, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"");
	add_url(&keys, x, n);
	buf_add_lit(&keys, "\"}]}");
	tokens = tokens_new(&rules, buf_slice(&keys), &why);
	buf_free(&keys);
	return tokens ? rc : -1;
}

static int unmake(void **state)
{
	tokens_unref(tokens);
	EVP_PKEY_free(key);
	return end(state);
}

static int begin_exchange(void **state)
{
	(void)state;
	db = reader();
	sasl = sasl_new(db);
	buf_init(&challenge, SASL_CHALLENGE_MAX);
	judgement = SASL_CHALLENGE;
	judged = 0;
	later = 0;
	return sasl ? 0 : -1;
}

static int end_exchange(void **state)
{
	(void)state;
	buf_free(&challenge);
	sasl_free(sasl);
	accounts_close(db);
	return 0;
}

#define SASL_TEST(name) cmocka_unit_test_setup_teardown(name, begin_exchange, end_exchange)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_words_are_read),
		cmocka_unit_test(bad_words_are_refused),
		cmocka_unit_test(refusals_are_json),
		SASL_TEST(a_token_opens_its_account_and_no_other),
		SASL_TEST(a_refusal_stays_one),
		SASL_TEST(the_judge_is_asked_before_a_token_is_looked_at),
		SASL_TEST(the_time_counts_at_which_it_is_shown),
		SASL_TEST(without_keys_it_is_to_be_tried_later),
	};
	return cmocka_run_group_tests(tests, make_accounts, unmake);
}
