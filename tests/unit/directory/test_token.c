/*
 * Tokens, good and hostile: made here with OpenSSL, and those of the standards.
 */
#include "test.h"

#include "base/base64.h"
#include "directory/jwk.h"
#include "directory/token.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>

#define NOW    ((wall_ms)1795219200000)
#define CLAIMS "\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":1795219500"
#define GOOD   "{" CLAIMS ",\"email\":\"alice@example.com\",\"scope\":\"openid smtp\"}"

static EVP_PKEY *rsa, *p256, *ed25519, *stranger;
static struct tokens *tokens;
static char text[60000];

static const struct token_rules rules = {{"https://id.example", 18}, {"mail", 4}, {"smtp", 4}, {"email", 5}, MINUTE};

/* ---- making ----------------------------------------------------------------------------------------------------- */

static void add_url(struct buf *out, struct slice octets)
{
	struct buf plain;

	buf_init(&plain, 40000);
	assert_true(base64_encode(octets, &plain));
	for (size_t i = 0; i < buf_len(&plain); i++) {
		char c = buf_slice(&plain).p[i];
		if (c != '=')
			buf_add_char(out, c == '+' ? '-' : c == '/' ? '_' : c);
	}
	buf_free(&plain);
}

static size_t sign(EVP_PKEY *key, struct slice input, uint8_t *ret)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t der[1024];
	size_t n = sizeof der;

	assert_int_equal(EVP_DigestSignInit(c, NULL, key == ed25519 ? NULL : EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestSign(c, der, &n, (const uint8_t *)input.p, input.n), 1);
	EVP_MD_CTX_free(c);
	if (!EVP_PKEY_is_a(key, "EC")) {
		memcpy(ret, der, n);
		return n;
	}
	const uint8_t *p = der;
	ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &p, (long)n);
	BN_bn2binpad(ECDSA_SIG_get0_r(pair), ret, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(pair), ret + 32, 32);
	ECDSA_SIG_free(pair);
	return 64;
}

/* In `text`. */
static struct slice token_of(const char *header, struct slice payload, EVP_PKEY *key)
{
	struct buf out = {.p = text, .cap = sizeof text, .max = sizeof text};
	uint8_t signature[1024];

	add_url(&out, slice_from_cstr(header));
	buf_add_char(&out, '.');
	add_url(&out, payload);
	size_t n = sign(key, buf_slice(&out), signature);
	buf_add_char(&out, '.');
	add_url(&out, slice_of((const char *)signature, n));
	assert_false(out.failed);
	return buf_slice(&out);
}

static void add_number(struct buf *out, const char *name, const EVP_PKEY *key, const char *param)
{
	BIGNUM *n = NULL;
	uint8_t octets[1024];

	assert_int_equal(EVP_PKEY_get_bn_param(key, param, &n), 1);
	buf_printf(out, ",\"%s\":\"", name);
	int size = EVP_PKEY_is_a(key, "EC") ? BN_bn2binpad(n, octets, 32) : BN_bn2bin(n, octets);
	add_url(out, slice_of((const char *)octets, (size_t)size));
	buf_add_char(out, '"');
	BN_free(n);
}

static void add_key(struct buf *out, const EVP_PKEY *key, const char *more)
{
	uint8_t x[32];
	size_t n = sizeof x;

	if (EVP_PKEY_is_a(key, "RSA")) {
		buf_printf(out, "{\"kty\":\"RSA\"%s", more);
		add_number(out, "n", key, OSSL_PKEY_PARAM_RSA_N);
		add_number(out, "e", key, OSSL_PKEY_PARAM_RSA_E);
	} else if (EVP_PKEY_is_a(key, "EC")) {
		buf_printf(out, "{\"kty\":\"EC\",\"crv\":\"P-256\"%s", more);
		add_number(out, "x", key, OSSL_PKEY_PARAM_EC_PUB_X);
		add_number(out, "y", key, OSSL_PKEY_PARAM_EC_PUB_Y);
	} else {
		assert_int_equal(EVP_PKEY_get_raw_public_key(key, x, &n), 1);
		buf_printf(out, "{\"kty\":\"OKP\",\"crv\":\"Ed25519\"%s,\"x\":\"", more);
		add_url(out, slice_of((const char *)x, n));
		buf_add_char(out, '"');
	}
	buf_add_char(out, '}');
}

/* ---- the standards' own ------------------------------------------------------------------------------------------ */

static void signatures_of_the_standards(void **state)
{
	(void)state;
	static const struct {
		const char *key, *input, *signature;
	} rows[] = {
		/* RFC 7515 A.2 */
		{"{\"kty\":\"RSA\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-"
		 "4qPCJrcS2"
		 "mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-"
		 "bSf63kpaSHSXndS5z"
		 "5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-"
		 "DWN"
		 "moudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\",\"e\":\"AQAB\"}",
		 "eyJhbGciOiJSUzI1NiJ9."
		 "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb"
		 "290Ijp0cnVlfQ",
		 "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
		 "O8W2Fp5jujGbds9uJ"
		 "dbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_"
		 "eSN"
		 "9383LcOLn6_dO--xi12jzDwusC-"
		 "eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXL"
		 "IhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"},
		/* RFC 7515 A.3 */
		{"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
		 "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}",
		 "eyJhbGciOiJFUzI1NiJ9."
		 "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb"
		 "290Ijp0cnVlfQ",
		 "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"},
		/* RFC 8037 A.4 */
		{"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
		 "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
		 "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		json_t *object = jwk_object(slice_from_cstr(rows[i].key));
		struct jwk key;
		struct buf signature;

		assert_int_equal(jwk_read(object, &key), JWK_READ);
		json_decref(object);
		buf_init(&signature, 1024);
		assert_true(base64url_decode(slice_from_cstr(rows[i].signature), &signature));
		struct slice input = slice_from_cstr(rows[i].input), s = buf_slice(&signature);
		assert_true(jwk_verify(&key, input, s));
		assert_false(jwk_verify(&key, slice_head(input, input.n - 1), s));
		for (size_t n = 0; n < s.n; n++)
			assert_false(jwk_verify(&key, input, slice_head(s, n)));
		for (size_t at = 0; at < s.n; at++) {
			signature.p[signature.start + at] ^= 1;
			assert_false(jwk_verify(&key, input, s));
			signature.p[signature.start + at] ^= 1;
		}
		buf_add_char(&signature, '\0');
		assert_false(jwk_verify(&key, input, buf_slice(&signature)));
		buf_free(&signature);
		jwk_free(&key);
	}
}

/* ---- tokens ------------------------------------------------------------------------------------------------------ */

static void check_at(struct slice token, wall_ms now, enum token_result expected, const char *said)
{
	char *copy = test_exact_copy(token);
	const char *why = "";
	struct buf name;

	buf_init(&name, 300);
	assert_int_equal(token_check(tokens, slice_of(copy, token.n), now, &name, &why), expected);
	if (expected == TOKEN_GOOD) {
		assert_slice(buf_slice(&name), said);
	} else {
		assert_string_equal(why, said);
		assert_int_equal(buf_len(&name), 0);
	}
	buf_free(&name);
	free(copy);
}

static void check(struct slice token, enum token_result expected, const char *said)
{
	check_at(token, NOW, expected, said);
}

static void good_tokens_name_an_account(void **state)
{
	(void)state;
	static const struct {
		const char *header;
		EVP_PKEY **key;
	} rows[] = {
		{"{\"alg\":\"RS256\",\"kid\":\"r\"}", &rsa},
		{"{\"alg\":\"RS256\"}", &rsa},
		{"{\"alg\":\"ES256\",\"kid\":\"e\",\"typ\":\"at+jwt\"}", &p256},
		{"{\"typ\":\"application/AT+JWT\",\"alg\":\"ES256\"}", &p256},
		{"{\"typ\":\"jwt\",\"alg\":\"EdDSA\",\"x\":[{}]}", &ed25519},
		/* What a header says of keys is never looked at. */
		{"{\"alg\":\"EdDSA\",\"jku\":\"https://evil.example/keys\",\"jwk\":{\"kty\":\"oct\"},\"x5u\":1}",
		 &ed25519},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check(token_of(rows[i].header, SLICE(GOOD), *rows[i].key), TOKEN_GOOD, "alice@example.com");
}

#define HEADER    "{\"alg\":\"EdDSA\",\"kid\":\"o\"}"
#define NOT_OURS  "it is not signed by a key of ours"
#define NO_ALG    "its algorithm is none of RS256, ES256 and EdDSA"
#define NO_HEADER "its header is no JSON object"

static void hostile_headers_are_refused(void **state)
{
	(void)state;
	static const struct {
		const char *header, *why;
	} rows[] = {
		{"{\"alg\":\"none\"}", NO_ALG},
		{"{\"alg\":\"None\"}", NO_ALG},
		{"{\"alg\":\"\"}", NO_ALG},
		{"{\"alg\":\"HS256\",\"kid\":\"r\"}", NO_ALG},
		{"{\"alg\":\"eddsa\"}", NO_ALG},
		{"{\"alg\":\"RS1\"}", NO_ALG},
		{"{\"alg\":[\"EdDSA\"]}", NO_ALG},
		{"{\"alg\":null}", NO_ALG},
		{"{}", NO_ALG},
		/* Another algorithm than the key's, and another key's name. */
		{"{\"alg\":\"RS256\",\"kid\":\"o\"}", NOT_OURS},
		{"{\"alg\":\"ES256\"}", NOT_OURS},
		{"{\"alg\":\"EdDSA\",\"kid\":\"r\"}", NOT_OURS},
		{"{\"alg\":\"EdDSA\",\"kid\":\"unknown\"}", NOT_OURS},
		{"{\"alg\":\"EdDSA\",\"kid\":\"\"}", NOT_OURS},
		{"{\"alg\":\"EdDSA\",\"kid\":\"../../dev/null\"}", NOT_OURS},
		{"{\"alg\":\"EdDSA\",\"kid\":\"O\"}", NOT_OURS},
		{"{\"alg\":\"EdDSA\",\"kid\":1}", "its key's name is none"},
		{"{\"alg\":\"EdDSA\",\"kid\":null}", "its key's name is none"},
		{"{\"alg\":\"EdDSA\",\"crit\":[\"exp\"],\"exp\":1}", "its header has an extension"},
		{"{\"alg\":\"EdDSA\",\"crit\":[]}", "its header has an extension"},
		{"{\"alg\":\"EdDSA\",\"b64\":false}", "its header has an extension"},
		{"{\"alg\":\"EdDSA\",\"typ\":\"dpop+jwt\"}", "it is of another type than an access token's"},
		{"{\"alg\":\"EdDSA\",\"typ\":7}", "it is of another type than an access token's"},
		{"{\"alg\":\"none\",\"alg\":\"EdDSA\"}", NO_HEADER},
		{"{\"alg\":\"EdDSA\",\"kid\":\"o\",\"kid\":\"o\"}", NO_HEADER},
		{"{\"alg\":\"EdDSA\"}{}", NO_HEADER},
		{"{\"alg\":\"EdDSA\\u0000\"}", NO_HEADER},
		{"{\"alg\":\"EdDSA\",}", NO_HEADER},
		{"[\"EdDSA\"]", NO_HEADER},
		{"\"EdDSA\"", NO_HEADER},
		{"", NO_HEADER},
		{"{\"alg\":\"EdDSA\",\"a\":\"\xff\"}", NO_HEADER},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		check(token_of(rows[i].header, SLICE(GOOD), ed25519), TOKEN_INVALID, rows[i].why);
	check(token_of("{\"alg\":\"ES256\",\"kid\":\"e\"}", SLICE(GOOD), stranger), TOKEN_INVALID, NOT_OURS);
}

/* The public key taken for a secret: what libraries fell for that let the token choose (RFC 8725 2.1). */
static void a_public_key_is_no_secret(void **state)
{
	(void)state;
	struct buf out = {.p = text, .cap = sizeof text, .max = sizeof text}, key;
	uint8_t mac[32];
	unsigned n;

	buf_init(&key, 4096);
	add_key(&key, rsa, "");
	add_url(&out, SLICE("{\"alg\":\"HS256\",\"kid\":\"r\"}"));
	buf_add_char(&out, '.');
	add_url(&out, SLICE(GOOD));
	HMAC(EVP_sha256(), buf_slice(&key).p, (int)buf_len(&key), (const uint8_t *)text, buf_len(&out), mac, &n);
	buf_add_char(&out, '.');
	add_url(&out, slice_of((const char *)mac, n));
	check(buf_slice(&out), TOKEN_INVALID, NO_ALG);
	buf_free(&key);
}

static void claims_are_all_needed(void **state)
{
	(void)state;
	static const char more[] = ",\"email\":\"alice@example.com\",\"scope\":\"smtp\"";
	static const struct {
		const char *claims;
		enum token_result result;
		const char *said;
	} rows[] = {
		{CLAIMS "%s,\"email_verified\":true", TOKEN_GOOD, "alice@example.com"},
		{CLAIMS "%s,\"email_verified\":false", TOKEN_INVALID, "its mail address is not verified"},
		{CLAIMS "%s,\"email_verified\":\"true\"", TOKEN_INVALID, "its mail address is not verified"},
		{"\"aud\":\"mail\",\"exp\":1795219500%s", TOKEN_INVALID, "it is of another issuer"},
		{"\"iss\":\"https://id.example/\",\"aud\":\"mail\",\"exp\":1795219500%s", TOKEN_INVALID,
		 "it is of another issuer"},
		{"\"iss\":[\"https://id.example\"],\"aud\":\"mail\",\"exp\":1795219500%s", TOKEN_INVALID,
		 "it is of another issuer"},
		{"\"iss\":\"https://id.example\",\"exp\":1795219500%s", TOKEN_INVALID, "it is for another audience"},
		{"\"iss\":\"https://id.example\",\"aud\":\"Mail\",\"exp\":1795219500%s", TOKEN_INVALID,
		 "it is for another audience"},
		{"\"iss\":\"https://id.example\",\"aud\":[],\"exp\":1795219500%s", TOKEN_INVALID,
		 "it is for another audience"},
		{"\"iss\":\"https://id.example\",\"aud\":[[\"mail\"]],\"exp\":1795219500%s", TOKEN_INVALID,
		 "it is for another audience"},
		{"\"iss\":\"https://id.example\",\"aud\":{\"mail\":1},\"exp\":1795219500%s", TOKEN_INVALID,
		 "it is for another audience"},
		{"\"iss\":\"https://id.example\",\"aud\":[\"web\",\"mail\"],\"exp\":1795219500%s", TOKEN_GOOD,
		 "alice@example.com"},
		{"\"iss\":\"https://id.example\",\"aud\":\"mail\"%s", TOKEN_INVALID, "it does not say when it ends"},
		{"\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":\"1795219500\"%s", TOKEN_INVALID,
		 "it does not say when it ends"},
		{"\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":-1%s", TOKEN_INVALID,
		 "it does not say when it ends"},
		{"\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":1e300%s", TOKEN_INVALID,
		 "it does not say when it ends"},
		{"\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":1e400%s", TOKEN_INVALID,
		 "its claims are no JSON object"},
		{"\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":99999999999999999999%s", TOKEN_INVALID,
		 "its claims are no JSON object"},
		{"\"iss\":\"https://id.example\",\"aud\":\"mail\",\"exp\":1795219500.5%s", TOKEN_GOOD,
		 "alice@example.com"},
		{CLAIMS "%s,\"nbf\":1795219200", TOKEN_GOOD, "alice@example.com"},
		{CLAIMS "%s,\"nbf\":1795219260", TOKEN_GOOD, "alice@example.com"},
		{CLAIMS "%s,\"nbf\":1795219261", TOKEN_INVALID, "it is not valid yet"},
		{CLAIMS "%s,\"nbf\":\"soon\"", TOKEN_INVALID, "it does not say when it begins"},
		{CLAIMS "%s,\"exp\":1795219500", TOKEN_INVALID, "its claims are no JSON object"},
		{CLAIMS "%s,\"email\":\"root@example.com\"", TOKEN_INVALID, "its claims are no JSON object"},
		{CLAIMS ",\"scope\":\"smtp\"", TOKEN_INVALID, "it does not name an account"},
		{CLAIMS ",\"scope\":\"smtp\",\"email\":\"\"", TOKEN_INVALID, "it does not name an account"},
		{CLAIMS ",\"scope\":\"smtp\",\"email\":[\"alice@example.com\"]", TOKEN_INVALID,
		 "it does not name an account"},
		{CLAIMS ",\"scope\":\"smtp\",\"email\":\"a\\u0000b\"", TOKEN_INVALID, "its claims are no JSON object"},
		{CLAIMS ",\"email\":\"a\"", TOKEN_SCOPE, "it is for another scope"},
		{CLAIMS ",\"email\":\"a\",\"scope\":\"SMTP smtp2 xsmtp\"", TOKEN_SCOPE, "it is for another scope"},
		{CLAIMS ",\"email\":\"a\",\"scope\":1", TOKEN_SCOPE, "it is for another scope"},
		{CLAIMS ",\"email\":\"a\",\"scope\":\"x\",\"scp\":\"smtp\"", TOKEN_SCOPE, "it is for another scope"},
		{CLAIMS ",\"email\":\"a\",\"scp\":\"x smtp\"", TOKEN_GOOD, "a"},
		{CLAIMS ",\"email\":\"a\",\"scp\":[\"x\",\"smtp\"]", TOKEN_GOOD, "a"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char payload[1000];
		const char *mark = strstr(rows[i].claims, "%s");
		int before = mark ? (int)(mark - rows[i].claims) : (int)strlen(rows[i].claims);
		snprintf(payload, sizeof payload, "{%.*s%s%s}", before, rows[i].claims, mark ? more : "",
			 mark ? mark + 2 : "");
		check(token_of(HEADER, slice_from_cstr(payload), ed25519), rows[i].result, rows[i].said);
	}
}

static void a_token_ends_when_it_says(void **state)
{
	(void)state;
	struct slice token = token_of(HEADER, SLICE(GOOD), ed25519);

	check_at(token, NOW + 300 * SECOND, TOKEN_GOOD, "alice@example.com");
	check_at(token, NOW + 360 * SECOND - 1, TOKEN_GOOD, "alice@example.com"); /* the leeway */
	check_at(token, NOW + 360 * SECOND, TOKEN_INVALID, "it has expired");
	check_at(token, NOW + 1000 * DAY, TOKEN_INVALID, "it has expired");
}

static void what_is_no_token_is_refused(void **state)
{
	(void)state;
	static const char none[] = "it is no JWT";
	struct slice good = token_of(HEADER, SLICE(GOOD), ed25519);
	char *whole = test_exact_copy(good), longer[TOKEN_MAX + 10];
	size_t first = slice_find(good, '.'), second = first + 1 + slice_find(slice_skip(good, first + 1), '.');
	const size_t n = good.n;

	check(SLICE(""), TOKEN_INVALID, none);
	check(SLICE("opaque"), TOKEN_INVALID, none);
	check(SLICE("a.b"), TOKEN_INVALID, none);
	check(SLICE("a.b.c.d.e"), TOKEN_INVALID, none);
	check(SLICE(".."), TOKEN_INVALID, NO_HEADER);
	/* Cut, or changed, at any octet; and without its signature. */
	for (size_t i = 0; i < n; i++) {
		struct buf name;
		const char *why;
		char *part = test_exact_copy(slice_of(whole, i));
		buf_init(&name, 300);
		assert_int_equal(token_check(tokens, slice_of(part, i), NOW, &name, &why), TOKEN_INVALID);
		free(part);
		char before = whole[i];
		whole[i] = before == 'A' ? 'B' : 'A';
		assert_int_equal(token_check(tokens, slice_of(whole, n), NOW, &name, &why), TOKEN_INVALID);
		whole[i] = '=';
		assert_int_equal(token_check(tokens, slice_of(whole, n), NOW, &name, &why), TOKEN_INVALID);
		whole[i] = before;
		buf_free(&name);
	}
	check(slice_of(whole, second + 1), TOKEN_INVALID, NOT_OURS);
	snprintf(longer, sizeof longer, "%.*s.", (int)n, whole);
	check(slice_from_cstr(longer), TOKEN_INVALID, none);
	snprintf(longer, sizeof longer, "%.*s=", (int)n, whole);
	check(slice_from_cstr(longer), TOKEN_INVALID, "its signature is no base64url");
	memset(longer, 'A', sizeof longer);
	longer[10] = longer[20] = '.';
	check(slice_of(longer, TOKEN_MAX + 1), TOKEN_INVALID, none);
	check(slice_of(longer, TOKEN_MAX), TOKEN_INVALID, NO_HEADER);
	free(whole);
}

/* Signed by our own issuer, and deep all the same. */
static void nested_claims_cost_nothing(void **state)
{
	(void)state;
	char deep[6000];

	memset(deep, '[', sizeof deep);
	check(token_of(HEADER, slice_of(deep, sizeof deep), ed25519), TOKEN_INVALID, "its claims are no JSON object");
	int n = snprintf(deep, sizeof deep, "{" CLAIMS ",\"email\":\"a\",\"scope\":\"smtp\",\"x\":");
	for (int i = 0; i < 2000; i++)
		deep[n + i] = '[', deep[n + 4000 - 1 - i] = ']';
	deep[n + 4000] = '}';
	check(token_of(HEADER, slice_of(deep, (size_t)n + 4001), ed25519), TOKEN_GOOD, "a");
}

/* ---- sets of keys ------------------------------------------------------------------------------------------------ */

static void refuse_keys(const char *json, const char *expected)
{
	const char *why = NULL;
	char *copy = test_exact_copy(slice_from_cstr(json));

	assert_null(tokens_new(&rules, slice_of(copy, strlen(json)), &why));
	assert_string_equal(why, expected);
	free(copy);
}

static void sets_that_are_none_say_why(void **state)
{
	(void)state;
	static const char none[] = "it is no JWK set", broken[] = "a key in it is broken or too weak",
			  nothing[] = "there is no key in it for RS256, ES256 or EdDSA";
	static const char x[] = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
	char json[2000];
	struct buf weak;

	refuse_keys("", none);
	refuse_keys("{}", none);
	refuse_keys("[]", none);
	refuse_keys("{\"keys\":{}}", none);
	refuse_keys("{\"keys\":[],\"keys\":[]}", none);
	refuse_keys("{\"keys\":[]}", nothing);
	refuse_keys("{\"keys\":[{}]}", nothing);
	refuse_keys("{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"alg\":\"HS256\"}]}", nothing);
	refuse_keys("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AAAA\"}]}", nothing);
	refuse_keys("{\"keys\":[1]}", broken);
	refuse_keys("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}]}", broken);
	refuse_keys("{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}]}", broken);
	refuse_keys("{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}]}", broken);
	/* A point that is not on the curve. */
	snprintf(json, sizeof json, "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"%s\",\"y\":\"%s\"}]}", x, x);
	refuse_keys(json, broken);
	static const char *const others[] = {"\"use\":\"enc\"", "\"use\":1", "\"key_ops\":[\"encrypt\"]",
					     "\"alg\":\"RS256\"", "\"alg\":null"};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		snprintf(json, sizeof json, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\",%s}]}", x,
			 others[i]);
		refuse_keys(json, nothing);
	}
	snprintf(json, sizeof json, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"%s\",\"kid\":7}]}", x);
	refuse_keys(json, broken);
	EVP_PKEY *small = EVP_RSA_gen(1024);
	buf_init(&weak, 2000);
	buf_add_lit(&weak, "{\"keys\":[");
	add_key(&weak, small, "");
	buf_add_lit(&weak, "]}");
	refuse_keys(buf_cstr(&weak), broken);
	buf_free(&weak);
	EVP_PKEY_free(small);
}

static int set_up(void **state)
{
	const char *why;
	struct buf json;

	(void)state;
	tokens_begin(4711);
	rsa = EVP_RSA_gen(2048);
	p256 = EVP_EC_gen("P-256");
	ed25519 = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	stranger = EVP_EC_gen("P-256");
	buf_init(&json, 8192);
	buf_add_lit(&json, "{\"more\":1,\"keys\":[{\"kty\":\"unknown\"},");
	add_key(&json, rsa, ",\"kid\":\"r\",\"use\":\"sig\",\"alg\":\"RS256\"");
	buf_add_char(&json, ',');
	add_key(&json, p256, ",\"kid\":\"e\",\"key_ops\":[\"verify\"]");
	buf_add_char(&json, ',');
	add_key(&json, ed25519, ",\"kid\":\"o\"");
	buf_add_lit(&json, "]}");
	tokens = tokens_new(&rules, buf_slice(&json), &why);
	buf_free(&json);
	return tokens && tokens_key_count(tokens) == 3 ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	tokens_unref(tokens);
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(p256);
	EVP_PKEY_free(ed25519);
	EVP_PKEY_free(stranger);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signatures_of_the_standards), cmocka_unit_test(good_tokens_name_an_account),
		cmocka_unit_test(hostile_headers_are_refused), cmocka_unit_test(a_public_key_is_no_secret),
		cmocka_unit_test(claims_are_all_needed),       cmocka_unit_test(a_token_ends_when_it_says),
		cmocka_unit_test(what_is_no_token_is_refused), cmocka_unit_test(nested_claims_cost_nothing),
		cmocka_unit_test(sets_that_are_none_say_why),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
