#include "directory/jwk.h"

#include "base/base64.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#define RSA_BITS_MIN   2048
#define RSA_OCTETS_MAX 1024 /* of a modulus */
#define EXPONENT_MAX   8    /* octets */
#define P256_SIZE      32
#define ED25519_SIZE   32
#define ED25519_SIGNED 64

static const struct {
	const char *name, *kind, *curve;
} algorithms[JWK_ALGORITHMS] = {
	[JWK_RS256] = {"RS256", "RSA", NULL},
	[JWK_ES256] = {"ES256", "EC", "P-256"},
	[JWK_EDDSA] = {"EdDSA", "OKP", "Ed25519"},
};

bool jwk_algorithm_find(const char *name, enum jwk_algorithm *ret)
{
	for (enum jwk_algorithm a = 0; a < JWK_ALGORITHMS; a++)
		if (name && strcmp(algorithms[a].name, name) == 0) {
			*ret = a;
			return true;
		}
	return false;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

json_t *jwk_object(struct slice text)
{
	json_t *object = json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES, NULL);

	if (json_is_object(object))
		return object;
	json_decref(object);
	return NULL;
}

const char *jwk_string(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

static bool has_word(const json_t *list, const char *word)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *s = json_string_value(json_array_get(list, i));
		if (s && strcmp(s, word) == 0)
			return true;
	}
	return false;
}

/* What it says of its purpose (RFC 7517 4.2 to 4.4). */
static bool is_for_this(const json_t *object, enum jwk_algorithm algorithm)
{
	const json_t *use = json_object_get(object, "use"), *operations = json_object_get(object, "key_ops");
	const json_t *named = json_object_get(object, "alg");

	return (!use || (json_is_string(use) && strcmp(json_string_value(use), "sig") == 0)) &&
	       (!operations || has_word(operations, "verify")) &&
	       (!named || (json_is_string(named) && strcmp(json_string_value(named), algorithms[algorithm].name) == 0));
}

/* Octets in base64url. False: there are none, or more than there is room for. */
static bool read_octets(const json_t *object, const char *name, uint8_t *room, size_t max, size_t *ret_n)
{
	const char *text = jwk_string(object, name);
	struct buf octets = {.p = (char *)room, .cap = max, .max = max};

	if (!text || !base64url_decode(slice_from_cstr(text), &octets))
		return false;
	*ret_n = buf_len(&octets);
	return *ret_n > 0;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static EVP_PKEY *make_key(const char *kind, OSSL_PARAM *params)
{
	EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
	EVP_PKEY *key = NULL;

	if (!c || EVP_PKEY_fromdata_init(c) != 1 || EVP_PKEY_fromdata(c, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(c);
	return key;
}

static EVP_PKEY *read_rsa(const json_t *object)
{
	uint8_t n[RSA_OCTETS_MAX], e[EXPONENT_MAX];
	size_t n_size, e_size;
	EVP_PKEY *key = NULL;

	if (!read_octets(object, "n", n, sizeof n, &n_size) || !read_octets(object, "e", e, sizeof e, &e_size))
		return NULL;
	BIGNUM *modulus = BN_bin2bn(n, (int)n_size, NULL), *exponent = BN_bin2bn(e, (int)e_size, NULL);
	OSSL_PARAM_BLD *b = OSSL_PARAM_BLD_new();
	if (b && modulus && exponent && BN_num_bits(modulus) >= RSA_BITS_MIN && BN_is_odd(modulus) &&
	    BN_is_odd(exponent) && !BN_is_one(exponent) && OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_N, modulus) &&
	    OSSL_PARAM_BLD_push_BN(b, OSSL_PKEY_PARAM_RSA_E, exponent)) {
		OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(b);
		key = params ? make_key("RSA", params) : NULL;
		OSSL_PARAM_free(params);
	}
	OSSL_PARAM_BLD_free(b);
	BN_free(modulus);
	BN_free(exponent);
	return key;
}

/* A point that is not on the curve is no key. */
static EVP_PKEY *read_p256(const json_t *object)
{
	uint8_t point[1 + 2 * P256_SIZE] = {POINT_CONVERSION_UNCOMPRESSED};
	char group[] = "P-256";
	size_t x, y;

	if (!read_octets(object, "x", point + 1, P256_SIZE, &x) || x != P256_SIZE ||
	    !read_octets(object, "y", point + 1 + P256_SIZE, P256_SIZE, &y) || y != P256_SIZE)
		return NULL;
	OSSL_PARAM params[] = {OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group - 1),
			       OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point), OSSL_PARAM_END};
	return make_key("EC", params);
}

static EVP_PKEY *read_ed25519(const json_t *object)
{
	uint8_t x[ED25519_SIZE];
	size_t n;

	if (!read_octets(object, "x", x, sizeof x, &n) || n != sizeof x)
		return NULL;
	return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, n);
}

/* By kty and crv. */
static bool find_kind(const json_t *object, enum jwk_algorithm *ret)
{
	const char *kind = jwk_string(object, "kty"), *curve = jwk_string(object, "crv");

	for (*ret = 0; kind && *ret < JWK_ALGORITHMS; (*ret)++)
		if (strcmp(algorithms[*ret].kind, kind) == 0 &&
		    (!algorithms[*ret].curve || (curve && strcmp(algorithms[*ret].curve, curve) == 0)))
			return true;
	return false;
}

enum jwk_result jwk_read(const json_t *object, struct jwk *ret)
{
	const json_t *name = json_object_get(object, "kid");

	*ret = (struct jwk){0};
	if (!json_is_object(object) || (name && (!json_is_string(name) || json_string_length(name) > JWK_NAME_MAX)))
		return JWK_BROKEN;
	if (!find_kind(object, &ret->algorithm) || !is_for_this(object, ret->algorithm))
		return JWK_OTHER;
	if (name)
		memcpy(ret->name, json_string_value(name), json_string_length(name));
	ret->key = ret->algorithm == JWK_RS256   ? read_rsa(object)
		   : ret->algorithm == JWK_ES256 ? read_p256(object)
						 : read_ed25519(object);
	ERR_clear_error();
	return ret->key ? JWK_READ : JWK_BROKEN;
}

void jwk_free(struct jwk *k)
{
	EVP_PKEY_free(k->key);
	k->key = NULL;
}

/* ---- signatures -------------------------------------------------------------------------------------------------- */

/* R and S one behind the other, as OpenSSL has them (RFC 7518 3.4). */
static int der_of(struct slice signature, uint8_t **ret)
{
	const uint8_t *p = (const uint8_t *)signature.p;
	ECDSA_SIG *pair = ECDSA_SIG_new();
	BIGNUM *r = BN_bin2bn(p, P256_SIZE, NULL), *s = BN_bin2bn(p + P256_SIZE, P256_SIZE, NULL);
	int n = -1;

	*ret = NULL;
	if (pair && r && s && ECDSA_SIG_set0(pair, r, s)) {
		n = i2d_ECDSA_SIG(pair, ret);
	} else {
		BN_free(r);
		BN_free(s);
	}
	ECDSA_SIG_free(pair);
	return n;
}

static bool verify(const struct jwk *k, struct slice text, const uint8_t *signature, size_t n)
{
	const EVP_MD *digest = k->algorithm == JWK_EDDSA ? NULL : EVP_sha256();
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool good = c && EVP_DigestVerifyInit(c, NULL, digest, NULL, k->key) == 1 &&
		    EVP_DigestVerify(c, signature, n, (const uint8_t *)text.p, text.n) == 1;

	EVP_MD_CTX_free(c);
	ERR_clear_error();
	return good;
}

bool jwk_verify(const struct jwk *k, struct slice text, struct slice signature)
{
	uint8_t *der;

	switch (k->algorithm) {
	case JWK_ES256: {
		int n = signature.n == 2 * P256_SIZE ? der_of(signature, &der) : -1;
		bool good = n > 0 && verify(k, text, der, (size_t)n);
		if (n > 0)
			OPENSSL_free(der);
		return good;
	}
	case JWK_EDDSA:
		return signature.n == ED25519_SIGNED && verify(k, text, (const uint8_t *)signature.p, signature.n);
	default:
		return signature.n == (size_t)EVP_PKEY_get_size(k->key) &&
		       verify(k, text, (const uint8_t *)signature.p, signature.n);
	}
}
