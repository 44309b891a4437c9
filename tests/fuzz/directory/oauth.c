/*
 * Tokens, sets of keys and the words of OAUTHBEARER and XOAUTH2, from strangers. The first octet says what the others
 * are:
 *   a token        it is signed by nobody, and never good
 *   claims         signed by our issuer: good exactly if a second reading, by json_unpack, finds what has to be there
 *   a header       of good claims, signed by our issuer: good only with the algorithm and a name of the key
 *   a set of keys  what is taken is taken again
 *   words          what is taken, written again in its shortest form, says the same
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/evp.h>

#include "base/base64.h"
#include "directory/sasl_oauth.h"
#include "directory/token.h"

#define NOW    ((wall_ms)1795219200000)
#define CLAIMS "{\"iss\":\"i\",\"aud\":\"a\",\"exp\":1795219500,\"email\":\"alice\",\"scope\":\"smtp\"}"
#define HEADER "{\"alg\":\"EdDSA\",\"kid\":\"k\"}"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static const struct token_rules rules = {{"i", 1}, {"a", 1}, {"smtp", 4}, {"email", 5}, MINUTE};
static struct tokens *tokens;
static EVP_PKEY *key;

static void add_url(struct buf *out, const void *octets, size_t n)
{
	struct buf plain;

	buf_init(&plain, 4 * TOKEN_MAX);
	base64_encode(slice_of(octets, n), &plain);
	for (size_t i = 0; i < buf_len(&plain) && buf_slice(&plain).p[i] != '='; i++) {
		char c = buf_slice(&plain).p[i];
		buf_add_char(out, c == '+' ? '-' : c == '/' ? '_' : c);
	}
	buf_free(&plain);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t secret[32] = "thirty-two octets that are known";
	uint8_t x[32];
	size_t n = sizeof x;
	struct buf keys;
	const char *why;

	(void)argc;
	(void)argv;
	tokens_begin(1);
	key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, sizeof secret);
	assert(key && EVP_PKEY_get_raw_public_key(key, x, &n) == 1);
	buf_init(&keys, 1024);
	buf_add_lit(&keys, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k\",\"x\":\"");
	add_url(&keys, x, n);
	buf_add_lit(&keys, "\"}]}");
	tokens = tokens_new(&rules, buf_slice(&keys), &why);
	assert(tokens);
	buf_free(&keys);
	return 0;
}

/* Its octets end where they end. */
static enum token_result check(struct slice token, struct buf *name)
{
	char *exact = malloc(token.n ? token.n : 1);
	const char *why = NULL;

	assert(exact);
	memcpy(exact, token.n ? token.p : "", token.n);
	buf_init(name, ACCOUNT_NAME_MAX);
	enum token_result result = token_check(tokens, slice_of(exact, token.n), NOW, name, &why);
	assert(result == TOKEN_GOOD ? buf_len(name) > 0 : buf_len(name) == 0 && why && why[0]);
	free(exact);
	return result;
}

static enum token_result check_signed(struct slice header, struct slice claims, struct buf *name)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t signature[64];
	size_t n = sizeof signature;
	struct buf token;

	buf_init(&token, 4 * TOKEN_MAX);
	add_url(&token, header.p, header.n);
	buf_add_char(&token, '.');
	add_url(&token, claims.p, claims.n);
	assert(c && EVP_DigestSignInit(c, NULL, NULL, NULL, key) == 1);
	assert(EVP_DigestSign(c, signature, &n, (const uint8_t *)buf_slice(&token).p, buf_len(&token)) == 1);
	EVP_MD_CTX_free(c);
	buf_add_char(&token, '.');
	add_url(&token, signature, n);
	enum token_result result = check(buf_slice(&token), name);
	buf_free(&token);
	return result;
}

static bool holds(json_t *list, const char *word)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i,
			   item) if (json_is_string(item) && strcmp(json_string_value(item), word) == 0) return true;
	return json_is_string(list) && strcmp(json_string_value(list), word) == 0;
}

/* " smtp " in " openid smtp ". */
static bool has_scope(json_t *scope)
{
	char padded[4 * TOKEN_MAX];

	if (json_is_array(scope))
		return holds(scope, "smtp");
	snprintf(padded, sizeof padded, " %s ", json_is_string(scope) ? json_string_value(scope) : "");
	return strstr(padded, " smtp ") != NULL;
}

static void check_claims(struct slice in)
{
	json_t *o = json_loadb(in.n ? in.p : "", in.n, JSON_REJECT_DUPLICATES, NULL);
	json_t *aud = NULL, *scope = NULL, *scp = NULL, *nbf = NULL, *verified = NULL;
	const char *iss = NULL, *email = NULL;
	double exp = -1;
	struct buf name;

	bool whole = json_unpack(o, "{s:s, s:o, s:F, s:s, s?o, s?o, s?o, s?o}", "iss", &iss, "aud", &aud, "exp", &exp,
				 "email", &email, "scope", &scope, "scp", &scp, "nbf", &nbf, "email_verified",
				 &verified) == 0;
	bool good =
		whole && strcmp(iss, "i") == 0 && holds(aud, "a") && exp > 1795219200. - 60 && exp < 253402300800. &&
		email[0] && strlen(email) <= ACCOUNT_NAME_MAX && (!verified || json_is_true(verified)) &&
		(!nbf ||
		 (json_is_number(nbf) && json_number_value(nbf) >= 0 && json_number_value(nbf) <= 1795219200. + 60)) &&
		has_scope(scope ? scope : scp);
	enum token_result result = check_signed(SLICE(HEADER), in, &name);
	/* Milliseconds are the finest that times are told by. */
	bool edge =
		whole && ((exp > 1795219139.9 && exp < 1795219140.1) || (exp > 253402300799. && exp < 253402300800.) ||
			  (nbf && json_number_value(nbf) > 1795219260. && json_number_value(nbf) < 1795219260.1));
	assert(edge || good == (result == TOKEN_GOOD));
	assert(result != TOKEN_GOOD || slice_eq(buf_slice(&name), slice_from_cstr(email)));
	buf_free(&name);
	json_decref(o);
}

static void check_header(struct slice in)
{
	json_t *o = json_loadb(in.n ? in.p : "", in.n, JSON_REJECT_DUPLICATES, NULL);
	const char *alg = NULL, *kid = "k";
	struct buf name;

	bool read = json_unpack(o, "{s:s, s?s}", "alg", &alg, "kid", &kid) == 0;
	if (check_signed(in, SLICE(CLAIMS), &name) == TOKEN_GOOD)
		assert(read && strcmp(alg, "EdDSA") == 0 && strcmp(kid, "k") == 0 && !json_object_get(o, "crit"));
	buf_free(&name);
	json_decref(o);
}

static void check_keys(struct slice in)
{
	const char *why = NULL;
	struct tokens *t = tokens_new(&rules, in, &why);

	assert(t ? tokens_key_count(t) > 0 && tokens_key_count(t) <= TOKEN_KEYS_MAX : why && why[0]);
	if (!t)
		return;
	struct tokens *again = tokens_new(&rules, in, &why);
	assert(again && tokens_key_count(again) == tokens_key_count(t));
	tokens_unref(again);
	tokens_unref(t);
}

static void check_words(struct slice in, bool xoauth2)
{
	char room[OAUTH_IDENTITY_MAX], again_room[OAUTH_IDENTITY_MAX];
	struct oauth_response r, again;
	struct buf out;

	if (!(xoauth2 ? xoauth2_read(in, &r) : oauthbearer_read(in, room, &r)))
		return;
	buf_init(&out, in.n + 3 * OAUTH_IDENTITY_MAX + 100);
	buf_add(&out, xoauth2 ? SLICE("user=") : r.identity.n ? SLICE("n,a=") : SLICE("n,"));
	for (size_t i = 0; i < r.identity.n; i++) {
		char c = r.identity.p[i];
		if (!xoauth2 && (c == ',' || c == '='))
			buf_add(&out, c == ',' ? SLICE("=2C") : SLICE("=3D"));
		else
			buf_add_char(&out, c);
	}
	buf_printf(&out,
		   "%s\x01"
		   "auth=Bearer %.*s\x01\x01",
		   xoauth2 ? "" : ",", SLICE_ARGS(r.token));
	assert(!out.failed && r.token.n > 0);
	bool good =
		xoauth2 ? xoauth2_read(buf_slice(&out), &again) : oauthbearer_read(buf_slice(&out), again_room, &again);
	assert(good && slice_eq(r.identity, again.identity) && slice_eq(r.token, again.token));
	buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of((const char *)data + 1, size - 1);
	struct buf name;

	if (size == 0 || size > TOKEN_MAX)
		return 0;
	switch (data[0] % 6) {
	case 0:
		assert(check(in, &name) == TOKEN_INVALID);
		buf_free(&name);
		break;
	case 1:
		if (in.n < TOKEN_MAX / 2)
			check_claims(in);
		break;
	case 2:
		check_header(in);
		break;
	case 3:
		check_keys(in);
		break;
	default:
		check_words(in, data[0] % 6 == 4);
		break;
	}
	return 0;
}
