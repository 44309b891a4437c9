/*
 * A provider of OpenSSL with two kinds of keys, RSA and EC, that can be compared with a certificate's and can sign, in
 * a library context of its own: what the rest of the process does with keys never comes here.
 *
 * An answer of OpenSSL's functions is 1 for success, as everywhere there.
 */
#include "net/tls_key.h"

#include "base/heap.h"

#include <assert.h>
#include <string.h>

#include <openssl/async.h>
#include <openssl/bn.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#define PARAM_ID      "postrider-id"
#define POINT_MAX     133 /* of P-521 */
#define GROUP_MAX     32
#define MODULUS_MAX   (TLS_SIGNATURE_MAX)

struct remote {
	bool ec;
	char group[GROUP_MAX];         /* EC */
	uint8_t octets[MODULUS_MAX];   /* the point, or the modulus */
	size_t n;
	uint64_t exponent;             /* RSA */
	uint8_t id[TLS_KEY_ID];
	bool has_id;                   /* it can sign */
};

struct remote_sign {
	const struct remote *key;
	enum tls_digest digest;
	enum tls_padding padding;
};

static struct tls_signing *current;
static OSSL_LIB_CTX *library;
static OSSL_PROVIDER *provider;

void tls_key_use(struct tls_signing *signing)
{
	current = signing;
}

/* ---- keys ----------------------------------------------------------------------------------------------------- */

static void *key_new_rsa(void *context)
{
	(void)context;
	return heap_new(struct remote);
}

static void *key_new_ec(void *context)
{
	struct remote *k = heap_new(struct remote);

	(void)context;
	if (k)
		k->ec = true;
	return k;
}

static void key_free(void *data)
{
	heap_free(data);
}

static int key_has(const void *data, int selection)
{
	const struct remote *k = data;

	if (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY && !k->has_id)
		return 0;
	return !(selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) || k->n > 0;
}

static int key_match(const void *one, const void *other, int selection)
{
	const struct remote *a = one, *b = other;

	(void)selection;
	return a->ec == b->ec && a->n > 0 && a->n == b->n && memcmp(a->octets, b->octets, a->n) == 0 &&
	       a->exponent == b->exponent && strcmp(a->group, b->group) == 0;
}

static int import_point(struct remote *k, const OSSL_PARAM params[])
{
	const OSSL_PARAM *group = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_GROUP_NAME);
	const OSSL_PARAM *point = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_PUB_KEY);
	char *name = k->group;
	void *octets = k->octets;

	return group && point && point->data_size <= POINT_MAX &&
	       OSSL_PARAM_get_utf8_string(group, &name, sizeof k->group) &&
	       OSSL_PARAM_get_octet_string(point, &octets, sizeof k->octets, &k->n);
}

static int import_modulus(struct remote *k, const OSSL_PARAM params[])
{
	const OSSL_PARAM *n = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_N);
	const OSSL_PARAM *e = OSSL_PARAM_locate_const(params, OSSL_PKEY_PARAM_RSA_E);
	BIGNUM *modulus = NULL;
	int good = n && e && OSSL_PARAM_get_uint64(e, &k->exponent) && OSSL_PARAM_get_BN(n, &modulus) &&
		   BN_num_bytes(modulus) <= MODULUS_MAX;

	if (good)
		k->n = (size_t)BN_bn2bin(modulus, k->octets);
	BN_free(modulus);
	return good;
}

static int key_import(void *data, int selection, const OSSL_PARAM params[])
{
	struct remote *k = data;
	const OSSL_PARAM *id = OSSL_PARAM_locate_const(params, PARAM_ID);
	void *into = k->id;
	size_t n = 0;

	(void)selection;
	if (id && (!OSSL_PARAM_get_octet_string(id, &into, sizeof k->id, &n) || n != sizeof k->id))
		return 0;
	k->has_id = id != NULL;
	return k->ec ? import_point(k, params) : import_modulus(k, params);
}

static const OSSL_PARAM *import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		OSSL_PARAM_octet_string(PARAM_ID, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_N, NULL, 0),
		OSSL_PARAM_BN(OSSL_PKEY_PARAM_RSA_E, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)selection;
	return types;
}

static int key_bits(const struct remote *k)
{
	if (!k->ec)
		return (int)k->n * 8;
	/* A point is 04, X and Y. */
	return k->n == POINT_MAX ? 521 : (int)(k->n - 1) * 4;
}

static int key_security_bits(const struct remote *k)
{
	if (k->ec)
		return key_bits(k) / 2 > 256 ? 256 : key_bits(k) / 2;
	return key_bits(k) >= 3072 ? 128 : key_bits(k) >= 2048 ? 112 : 80;
}

static size_t signature_size(const struct remote *k)
{
	/* ECDSA: a SEQUENCE of two INTEGERs, each perhaps with a leading zero. */
	return k->ec ? k->n + 16 : k->n;
}

static int set_int(OSSL_PARAM params[], const char *name, int value)
{
	OSSL_PARAM *p = OSSL_PARAM_locate(params, name);

	return !p || OSSL_PARAM_set_int(p, value);
}

static int key_get_params(void *data, OSSL_PARAM params[])
{
	const struct remote *k = data;
	OSSL_PARAM *group = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_GROUP_NAME);
	OSSL_PARAM *digest = OSSL_PARAM_locate(params, OSSL_PKEY_PARAM_DEFAULT_DIGEST);

	if (group && (!k->ec || !OSSL_PARAM_set_utf8_string(group, k->group)))
		return 0;
	if (digest && !OSSL_PARAM_set_utf8_string(digest, "SHA256"))
		return 0;
	return set_int(params, OSSL_PKEY_PARAM_BITS, key_bits(k)) &&
	       set_int(params, OSSL_PKEY_PARAM_SECURITY_BITS, key_security_bits(k)) &&
	       set_int(params, OSSL_PKEY_PARAM_MAX_SIZE, (int)signature_size(k));
}

static const OSSL_PARAM *key_gettable_params(void *context)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
		OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_DEFAULT_DIGEST, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)context;
	return params;
}

/* ---- signatures ----------------------------------------------------------------------------------------------- */

static void *sign_new(void *context, const char *properties)
{
	(void)context;
	(void)properties;
	return heap_new(struct remote_sign);
}

static void sign_free(void *data)
{
	heap_free(data);
}

static int set_digest(struct remote_sign *s, const char *name)
{
	static const struct {
		const char *name;
		enum tls_digest digest;
	} digests[] = {{"SHA256", TLS_SHA256},   {"SHA2-256", TLS_SHA256}, {"SHA384", TLS_SHA384},
		       {"SHA2-384", TLS_SHA384}, {"SHA512", TLS_SHA512},   {"SHA2-512", TLS_SHA512}};

	for (size_t i = 0; name && i < sizeof digests / sizeof *digests; i++)
		if (OPENSSL_strcasecmp(digests[i].name, name) == 0) {
			s->digest = digests[i].digest;
			return 1;
		}
	return 0;
}

static int set_padding(struct remote_sign *s, const OSSL_PARAM *p)
{
	int mode = 0;

	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		mode = strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0 ? RSA_PKCS1_PSS_PADDING
		       : strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 ? RSA_PKCS1_PADDING
									       : 0;
	else if (!OSSL_PARAM_get_int(p, &mode))
		return 0;
	if (s->key->ec || (mode != RSA_PKCS1_PSS_PADDING && mode != RSA_PKCS1_PADDING))
		return 0;
	s->padding = mode == RSA_PKCS1_PSS_PADDING ? TLS_PADDING_PSS : TLS_PADDING_PKCS1;
	return 1;
}

/* The one length of salt that TLS has: that of the digest. */
static int check_salt(const OSSL_PARAM *p)
{
	int length;

	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		return strcmp(p->data, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0;
	return OSSL_PARAM_get_int(p, &length) && length == RSA_PSS_SALTLEN_DIGEST;
}

static int sign_set_params(void *data, const OSSL_PARAM params[])
{
	struct remote_sign *s = data;
	const OSSL_PARAM *padding = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE) : NULL;
	const OSSL_PARAM *salt = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN) : NULL;

	return (!padding || set_padding(s, padding)) && (!salt || check_salt(salt));
}

static const OSSL_PARAM *sign_settable_params(void *data, void *context)
{
	static const OSSL_PARAM params[] = {
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
		OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0),
		OSSL_PARAM_END,
	};

	(void)data;
	(void)context;
	return params;
}

static int sign_init(void *data, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct remote_sign *s = data;

	s->key = key;
	s->padding = s->key->ec ? TLS_PADDING_NONE : TLS_PADDING_PKCS1;
	return s->key->has_id && set_digest(s, digest) && sign_set_params(s, params);
}

/* Asks, and waits for the answer in the middle of the job. */
static int sign_elsewhere(const struct remote_sign *s, struct tls_signing *signing, const uint8_t *text, size_t n)
{
	if (!signing || signing->state != TLS_SIGNING_IDLE || n > TLS_SIGNED_MAX || !ASYNC_get_current_job())
		return 0;
	signing->request = (struct tls_request){.digest = s->digest, .padding = s->padding, .n = n};
	memcpy(signing->request.key, s->key->id, TLS_KEY_ID);
	memcpy(signing->request.text, text, n);
	signing->state = TLS_SIGNING_ASKED;
	while (signing->state == TLS_SIGNING_ASKED)
		if (!ASYNC_pause_job())
			return 0;
	return 1;
}

static int sign(void *data, uint8_t *into, size_t *ret_n, size_t room, const uint8_t *text, size_t n)
{
	struct remote_sign *s = data;
	struct tls_signing *signing = current;

	if (!into) {
		*ret_n = signature_size(s->key);
		return 1;
	}
	if (!sign_elsewhere(s, signing, text, n))
		return 0;
	signing->state = TLS_SIGNING_IDLE;
	if (signing->n == 0 || signing->n > room)
		return 0;
	memcpy(into, signing->signature, signing->n);
	*ret_n = signing->n;
	return 1;
}

/* ---- the provider --------------------------------------------------------------------------------------------- */

#define FUNCTION(id, f) {(id), (void (*)(void))(f)}
#define KEY_FUNCTIONS                                                           \
	FUNCTION(OSSL_FUNC_KEYMGMT_FREE, key_free),                             \
		FUNCTION(OSSL_FUNC_KEYMGMT_HAS, key_has),                       \
		FUNCTION(OSSL_FUNC_KEYMGMT_MATCH, key_match),                   \
		FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT, key_import),                 \
		FUNCTION(OSSL_FUNC_KEYMGMT_IMPORT_TYPES, import_types),         \
		FUNCTION(OSSL_FUNC_KEYMGMT_GET_PARAMS, key_get_params),         \
		FUNCTION(OSSL_FUNC_KEYMGMT_GETTABLE_PARAMS, key_gettable_params), {0, NULL}

static const OSSL_DISPATCH rsa_keys[] = {FUNCTION(OSSL_FUNC_KEYMGMT_NEW, key_new_rsa), KEY_FUNCTIONS};
static const OSSL_DISPATCH ec_keys[] = {FUNCTION(OSSL_FUNC_KEYMGMT_NEW, key_new_ec), KEY_FUNCTIONS};

static const OSSL_DISPATCH signatures[] = {
	FUNCTION(OSSL_FUNC_SIGNATURE_NEWCTX, sign_new),
	FUNCTION(OSSL_FUNC_SIGNATURE_FREECTX, sign_free),
	FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN_INIT, sign_init),
	FUNCTION(OSSL_FUNC_SIGNATURE_DIGEST_SIGN, sign),
	FUNCTION(OSSL_FUNC_SIGNATURE_SET_CTX_PARAMS, sign_set_params),
	FUNCTION(OSSL_FUNC_SIGNATURE_SETTABLE_CTX_PARAMS, sign_settable_params),
	{0, NULL},
};

static const OSSL_ALGORITHM *query(void *context, int operation, int *no_cache)
{
	static const OSSL_ALGORITHM keys[] = {
		{"RSA:rsaEncryption", "provider=postrider", rsa_keys, NULL},
		{"EC:id-ecPublicKey", "provider=postrider", ec_keys, NULL},
		{NULL, NULL, NULL, NULL},
	};
	static const OSSL_ALGORITHM signers[] = {
		{"RSA", "provider=postrider", signatures, NULL},
		{"EC", "provider=postrider", signatures, NULL},
		{NULL, NULL, NULL, NULL},
	};

	(void)context;
	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signers : NULL;
}

static int begin_provider(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out,
			  void **ret_context)
{
	static const OSSL_DISPATCH functions[] = {FUNCTION(OSSL_FUNC_PROVIDER_QUERY_OPERATION, query), {0, NULL}};

	(void)in;
	*out = functions;
	*ret_context = (void *)(uintptr_t)handle;
	return 1;
}

static void end_library(void)
{
	if (provider)
		OSSL_PROVIDER_unload(provider);
	OSSL_LIB_CTX_free(library);
	provider = NULL;
	library = NULL;
}

/* Once for the process. */
static bool begin_library(void)
{
	if (library)
		return true;
	library = OSSL_LIB_CTX_new();
	if (library && OSSL_PROVIDER_add_builtin(library, "postrider", begin_provider))
		provider = OSSL_PROVIDER_load(library, "postrider");
	if (provider && OPENSSL_atexit(end_library))
		return true;
	end_library();
	return false;
}

/* ---- keys of the caller --------------------------------------------------------------------------------------- */

static EVP_PKEY *from_params(const char *kind, OSSL_PARAM params[])
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(library, kind, NULL);
	EVP_PKEY *key = NULL;

	if (!context || EVP_PKEY_fromdata_init(context) <= 0 ||
	    EVP_PKEY_fromdata(context, &key, EVP_PKEY_KEYPAIR, params) <= 0)
		key = NULL;
	EVP_PKEY_CTX_free(context);
	return key;
}

EVP_PKEY *tls_key_new(EVP_PKEY *public, const uint8_t id[TLS_KEY_ID])
{
	const char *kind = EVP_PKEY_is_a(public, "RSA") ? "RSA" : EVP_PKEY_is_a(public, "EC") ? "EC" : NULL;
	OSSL_PARAM *params = NULL, *all = NULL;
	OSSL_PARAM extra[] = {OSSL_PARAM_octet_string(PARAM_ID, (void *)(uintptr_t)id, TLS_KEY_ID), OSSL_PARAM_END};
	EVP_PKEY *key = NULL;

	if (!kind || !begin_library())
		return NULL;
	if (EVP_PKEY_todata(public, EVP_PKEY_PUBLIC_KEY, &params))
		all = OSSL_PARAM_merge(params, extra);
	if (all)
		key = from_params(kind, all);
	OPENSSL_free(all); /* its values belong to the two that it was made of */
	OSSL_PARAM_free(params);
	return key;
}

bool tls_key_id(EVP_PKEY *key, uint8_t ret[TLS_KEY_ID])
{
	uint8_t *der = NULL;
	int n = i2d_PUBKEY(key, &der);
	unsigned written = 0;
	bool good = n > 0 && EVP_Digest(der, (size_t)n, ret, &written, EVP_sha256(), NULL) && written == TLS_KEY_ID;

	OPENSSL_free(der);
	return good;
}
