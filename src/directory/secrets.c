#include "directory/secrets.h"

#include "base/heap.h"
#include "directory/scram.h"

#include <assert.h>
#include <crypt.h>
#include <gsasl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define YESCRYPT  "$y$"
#define SALT_SIZE 16
#define HASH_SIZE 43 /* characters of a yescrypt hash behind its salt */

static_assert(SECRETS_CRYPT_MAX == CRYPT_OUTPUT_SIZE, "the longest string of libcrypt");
static_assert(SECRETS_PASSWORD_MAX < CRYPT_MAX_PASSPHRASE_SIZE, "libcrypt takes every password");
static_assert(SECRETS_CHANCE == SALT_SIZE * (1 + SCRAM_HASHES), "a salt for each secret");

/* ---- small things -------------------------------------------------------------------------------------------- */

bool secrets_equal(struct slice a, struct slice b)
{
	return a.n == b.n && CRYPTO_memcmp(a.n ? a.p : "", b.n ? b.p : "", a.n) == 0;
}

void secrets_wipe(struct secrets *s)
{
	explicit_bzero(s, sizeof *s);
}

bool secrets_buf_init(struct buf *b, size_t max)
{
	buf_init(b, max);
	return buf_reserve(b, max) != NULL;
}

/* ---- preparation: SASLprep, RFC 4013 ------------------------------------------------------------------------- */

/* Nothing of printable ASCII is mapped, normalised or forbidden. */
static bool is_plain(struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		if (!ascii_is_print(text.p[i]))
			return false;
	return true;
}

static enum secrets_result add_prepared(struct buf *out, const char *text, const char **why)
{
	size_t n = strlen(text);

	*why = "nothing of it is left by its preparation (SASLprep)";
	if (n == 0)
		return SECRETS_MALFORMED;
	*why = "it is too long";
	if (n > SECRETS_PASSWORD_MAX)
		return SECRETS_MALFORMED;
	*why = "there is no memory";
	return buf_add(out, slice_of(text, n)) ? SECRETS_OK : SECRETS_TROUBLE;
}

static void free_prepared(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	gsasl_free(text);
}

/*
 * GNU SASL (2.2) has its only flag the wrong way round: GSASL_ALLOW_UNASSIGNED forbids what it should allow. So both
 * are tried, which is right whatever the flag means: a query is good if one of them takes it, a stored string if both
 * do. What libidn copies on its way is not ours to wipe.
 */
static int saslprep(const char *in, bool query, char **ret)
{
	char *other = NULL;
	int detail = 0;
	int rc = gsasl_saslprep(in, 0, ret, &detail);

	if (rc == GSASL_MALLOC_ERROR || (rc == GSASL_OK) == query)
		return rc;
	rc = gsasl_saslprep(in, GSASL_ALLOW_UNASSIGNED, query ? ret : &other, &detail);
	free_prepared(other);
	if (rc != GSASL_OK) {
		free_prepared(*ret);
		*ret = NULL;
	}
	return rc;
}

static enum secrets_result prepare_unicode(struct slice text, bool query, struct buf *out, const char **why)
{
	char in[SECRETS_PASSWORD_MAX + 1], *prepared = NULL;

	memcpy(in, text.p, text.n);
	in[text.n] = '\0';
	int rc = saslprep(in, query, &prepared);
	explicit_bzero(in, sizeof in);
	if (rc == GSASL_MALLOC_ERROR) {
		*why = "there is no memory";
		return SECRETS_TROUBLE;
	}
	if (rc != GSASL_OK) {
		*why = "it holds characters that SASLprep forbids (RFC 4013), such as control characters or emoji";
		return SECRETS_MALFORMED;
	}
	enum secrets_result result = add_prepared(out, prepared, why);
	free_prepared(prepared);
	return result;
}

enum secrets_result secrets_prepare(struct slice text, bool query, struct buf *out, const char **why)
{
	*why = "it is empty";
	if (text.n == 0)
		return SECRETS_MALFORMED;
	*why = "it is too long";
	if (text.n > SECRETS_PASSWORD_MAX)
		return SECRETS_MALFORMED;
	*why = "it is not well-formed UTF-8";
	if (!slice_is_utf8(text))
		return SECRETS_MALFORMED;
	*why = "it holds a NUL";
	if (slice_find(text, '\0') < text.n)
		return SECRETS_MALFORMED;
	*why = "there is no memory";
	if (is_plain(text))
		return buf_add(out, text) ? SECRETS_OK : SECRETS_TROUBLE;
	return prepare_unicode(text, query, out, why);
}

/* ---- the hash ------------------------------------------------------------------------------------------------ */

/* `password` ends with a NUL. */
static bool hash(const char *password, const char *setting, char ret[SECRETS_CRYPT_MAX])
{
	struct crypt_data *data = heap_new(struct crypt_data);
	const char *text = data ? crypt_rn(password, setting, data, sizeof *data) : NULL;

	if (text) {
		size_t n = strlen(text);
		assert(n < SECRETS_CRYPT_MAX);
		memcpy(ret, text, n + 1);
	}
	if (data)
		explicit_bzero(data, sizeof *data);
	heap_free(data);
	return text != NULL;
}

static bool yescrypt_setting(const uint8_t salt[SALT_SIZE], char ret[CRYPT_GENSALT_OUTPUT_SIZE])
{
	return crypt_gensalt_rn(YESCRYPT, 0, (const char *)salt, SALT_SIZE, ret, CRYPT_GENSALT_OUTPUT_SIZE) != NULL;
}

/* ---- making -------------------------------------------------------------------------------------------------- */

static bool make_all(struct slice password, const char *text, bool with_cram_md5, const uint8_t *chance,
		     struct secrets *ret)
{
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	if (!yescrypt_setting(chance, setting) || !hash(text, setting, ret->crypt))
		return false;
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++) {
		struct scram_verifier *v = &ret->scram[h];
		v->iterations = SCRAM_ITERATIONS;
		v->salt_n = SALT_SIZE;
		memcpy(v->salt, chance + SALT_SIZE * (1 + h), SALT_SIZE);
		if (!scram_derive(h, password, v))
			return false;
	}
	ret->has_cram_md5 = with_cram_md5;
	return !with_cram_md5 || cram_md5_derive(password, ret->cram_md5);
}

enum secrets_result secrets_make(struct slice password, bool with_cram_md5, const uint8_t chance[SECRETS_CHANCE],
				 struct secrets *ret, const char **why)
{
	struct buf prepared;

	*ret = (struct secrets){0};
	secrets_buf_init(&prepared, SECRETS_PASSWORD_MAX + 1);
	enum secrets_result result = secrets_prepare(password, false, &prepared, why);
	if (result == SECRETS_OK) {
		*why = "libcrypt or OpenSSL cannot do it here";
		const char *text = buf_cstr(&prepared);
		if (!text || !make_all(buf_slice(&prepared), text, with_cram_md5, chance, ret)) {
			secrets_wipe(ret);
			result = SECRETS_TROUBLE;
		}
	}
	buf_wipe(&prepared);
	return result;
}

bool secrets_outdated(const struct secrets *s, bool with_cram_md5)
{
	bool outdated = s->foreign || !slice_starts(slice_from_cstr(s->crypt), SLICE(YESCRYPT)) ||
			s->has_cram_md5 != with_cram_md5;

	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		outdated |= s->scram[h].iterations < SCRAM_ITERATIONS;
	return outdated;
}

/* ---- verifying ----------------------------------------------------------------------------------------------- */

static enum secrets_result verify_hash(const struct secrets *s, const char *password)
{
	char made[SECRETS_CRYPT_MAX];

	if (!hash(password, s->crypt, made))
		return SECRETS_TROUBLE;
	bool same = secrets_equal(slice_from_cstr(made), slice_from_cstr(s->crypt));
	explicit_bzero(made, sizeof made);
	return same ? SECRETS_OK : SECRETS_WRONG;
}

static enum secrets_result verify_scram(const struct secrets *s, enum scram_hash h, struct slice password)
{
	struct scram_verifier made = s->scram[h];

	if (!scram_derive(h, password, &made))
		return SECRETS_TROUBLE;
	size_t n = scram_key_size(h);
	bool same = secrets_equal(slice_of(made.stored_key, n), slice_of(s->scram[h].stored_key, n));
	explicit_bzero(&made, sizeof made);
	return same ? SECRETS_OK : SECRETS_WRONG;
}

static enum secrets_result verify_cram_md5(const struct secrets *s, struct slice password)
{
	uint8_t made[CRAM_MD5_STATES];

	if (!cram_md5_derive(password, made))
		return SECRETS_TROUBLE;
	bool same = secrets_equal(slice_of(made, sizeof made), slice_of(s->cram_md5, sizeof s->cram_md5));
	explicit_bzero(made, sizeof made);
	return same ? SECRETS_OK : SECRETS_WRONG;
}

/* `password` is followed by a NUL. */
static enum secrets_result verify(const struct secrets *s, struct slice password)
{
	if (s->crypt[0])
		return verify_hash(s, password.p);
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		if (s->scram[h].iterations)
			return verify_scram(s, h, password);
	return s->has_cram_md5 ? verify_cram_md5(s, password) : SECRETS_WRONG;
}

/* What made a foreign secret may have known nothing of SASLprep. */
static enum secrets_result verify_as_sent(const struct secrets *s, struct slice password)
{
	struct buf text;

	secrets_buf_init(&text, SECRETS_PASSWORD_MAX + 1);
	buf_add(&text, password);
	enum secrets_result result = buf_cstr(&text) ? verify(s, buf_slice(&text)) : SECRETS_TROUBLE;
	buf_wipe(&text);
	return result;
}

enum secrets_result secrets_verify(const struct secrets *s, struct slice password)
{
	const char *why;
	struct buf prepared;

	secrets_buf_init(&prepared, SECRETS_PASSWORD_MAX + 1);
	enum secrets_result result = secrets_prepare(password, true, &prepared, &why);
	bool possible = result == SECRETS_OK, same = secrets_equal(buf_slice(&prepared), password);
	if (result == SECRETS_MALFORMED)
		buf_reset(&prepared); /* takes as long as any other */
	if (result != SECRETS_TROUBLE)
		result = buf_cstr(&prepared) ? verify(s, buf_slice(&prepared)) : SECRETS_TROUBLE;
	if (result == SECRETS_OK && !possible)
		result = SECRETS_WRONG;
	buf_wipe(&prepared);
	bool sendable =
		password.n > 0 && password.n <= SECRETS_PASSWORD_MAX && slice_find(password, '\0') == password.n;
	if (result == SECRETS_WRONG && s->foreign && !same && sendable)
		result = verify_as_sent(s, password);
	return result;
}

/* ---- decoys -------------------------------------------------------------------------------------------------- */

/* 32 octets that are random to whoever has no key, and always the same for one name and purpose. */
static void decoy_octets(const uint8_t key[32], char purpose, struct slice name, uint8_t ret[SCRAM_KEY_MAX])
{
	struct buf text;
	unsigned n = SCRAM_KEY_MAX;

	memset(ret, 0, SCRAM_KEY_MAX);
	buf_init(&text, 1024);
	buf_add_char(&text, purpose);
	buf_add(&text, slice_head(name, 1000));
	/* Without memory a decoy is the same for all; it is still one. */
	if (!text.failed)
		(void)HMAC(EVP_sha256(), key, 32, (const unsigned char *)buf_slice(&text).p, buf_len(&text), ret, &n);
	buf_free(&text);
}

static void decoy_verifier(const uint8_t key[32], enum scram_hash h, struct slice name, struct scram_verifier *ret)
{
	uint8_t salt[SCRAM_KEY_MAX];
	char purpose = (char)('s' + 3 * (int)h);

	*ret = (struct scram_verifier){.iterations = SCRAM_ITERATIONS, .salt_n = SALT_SIZE};
	decoy_octets(key, purpose, name, salt);
	memcpy(ret->salt, salt, SALT_SIZE);
	decoy_octets(key, (char)(purpose + 1), name, ret->stored_key);
	decoy_octets(key, (char)(purpose + 2), name, ret->server_key);
	memset(ret->stored_key + scram_key_size(h), 0, SCRAM_KEY_MAX - scram_key_size(h));
	memset(ret->server_key + scram_key_size(h), 0, SCRAM_KEY_MAX - scram_key_size(h));
}

void secrets_decoy(const uint8_t key[32], struct slice name, struct secrets *ret)
{
	static const char letters[64] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	uint8_t salt[SCRAM_KEY_MAX], octets[2 * SCRAM_KEY_MAX];
	char setting[CRYPT_GENSALT_OUTPUT_SIZE];

	*ret = (struct secrets){0};
	decoy_octets(key, 'c', name, salt);
	decoy_octets(key, 'd', name, octets);
	decoy_octets(key, 'e', name, octets + SCRAM_KEY_MAX);
	if (yescrypt_setting(salt, setting)) {
		size_t n = strlen(setting);
		assert(n + 1 + HASH_SIZE < SECRETS_CRYPT_MAX);
		memcpy(ret->crypt, setting, n);
		ret->crypt[n++] = '$';
		for (size_t i = 0; i < HASH_SIZE; i++)
			ret->crypt[n++] = letters[octets[i] & 63];
	}
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		decoy_verifier(key, h, name, &ret->scram[h]);
}

void secrets_scram(const struct secrets *s, enum scram_hash h, const uint8_t key[32], struct slice name,
		   struct scram_verifier *ret)
{
	decoy_verifier(key, h, name, ret);
	if (s->scram[h].iterations)
		*ret = s->scram[h];
}
