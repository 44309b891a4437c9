/*
 * MD5 has to be started from a state that was kept, which only OpenSSL's older functions can do; they are marked as
 * deprecated, and are all that this file uses of them.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "directory/scram.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/md5.h>
#include <string.h>

static_assert(MD5_SIZE == MD5_DIGEST_LENGTH, "MD5 has 16 octets");

/* ---- SCRAM --------------------------------------------------------------------------------------------------- */

static const EVP_MD *digest_of(enum scram_hash hash)
{
	return hash == SCRAM_SHA_256 ? EVP_sha256() : EVP_sha1();
}

size_t scram_key_size(enum scram_hash hash)
{
	return hash == SCRAM_SHA_256 ? 32 : 20;
}

static bool hmac(enum scram_hash hash, const uint8_t *key, struct slice text, uint8_t ret[SCRAM_KEY_MAX])
{
	unsigned n = 0;
	size_t size = scram_key_size(hash);

	return HMAC(digest_of(hash), key, (int)size, (const unsigned char *)text.p, text.n, ret, &n) && n == size;
}

/* RFC 5802 3: SaltedPassword is Hi() of the password, which is PBKDF2. */
bool scram_derive(enum scram_hash hash, struct slice password, struct scram_verifier *v)
{
	uint8_t salted[SCRAM_KEY_MAX], client_key[SCRAM_KEY_MAX];
	size_t size = scram_key_size(hash);
	const EVP_MD *digest = digest_of(hash);

	assert(v->iterations > 0 && v->iterations <= SCRAM_ITERATIONS_MAX);
	assert(v->salt_n <= SCRAM_SALT_MAX);
	bool good = PKCS5_PBKDF2_HMAC(password.n ? password.p : "", (int)password.n, v->salt, (int)v->salt_n,
				      (int)v->iterations, digest, (int)size, salted) == 1 &&
		    hmac(hash, salted, SLICE("Client Key"), client_key) &&
		    EVP_Digest(client_key, size, v->stored_key, NULL, digest, NULL) == 1 &&
		    hmac(hash, salted, SLICE("Server Key"), v->server_key);
	explicit_bzero(salted, sizeof salted);
	explicit_bzero(client_key, sizeof client_key);
	return good;
}

/* ---- CRAM-MD5 ------------------------------------------------------------------------------------------------ */

static void put_word(uint8_t *at, MD5_LONG word)
{
	for (int i = 0; i < 4; i++)
		at[i] = (uint8_t)(word >> (8 * i));
}

static MD5_LONG get_word(const uint8_t *at)
{
	return (MD5_LONG)at[0] | (MD5_LONG)at[1] << 8 | (MD5_LONG)at[2] << 16 | (MD5_LONG)at[3] << 24;
}

/* The state after one block: the key, padded with `pad`. */
static bool padded_state(const uint8_t key[MD5_CBLOCK], uint8_t pad, uint8_t ret[MD5_SIZE])
{
	uint8_t block[MD5_CBLOCK];
	MD5_CTX state;

	for (size_t i = 0; i < MD5_CBLOCK; i++)
		block[i] = key[i] ^ pad;
	bool good = MD5_Init(&state) == 1 && MD5_Update(&state, block, sizeof block) == 1;
	put_word(ret, state.A);
	put_word(ret + 4, state.B);
	put_word(ret + 8, state.C);
	put_word(ret + 12, state.D);
	explicit_bzero(block, sizeof block);
	explicit_bzero(&state, sizeof state);
	return good;
}

/* RFC 2104 2: a key that is longer than a block is hashed first. */
bool cram_md5_derive(struct slice password, uint8_t ret[CRAM_MD5_STATES])
{
	uint8_t key[MD5_CBLOCK] = {0};
	bool good = true;

	if (password.n > sizeof key)
		good = EVP_Digest(password.p, password.n, key, NULL, EVP_md5(), NULL) == 1;
	else if (password.n)
		memcpy(key, password.p, password.n);
	good = good && padded_state(key, 0x5c, ret) && padded_state(key, 0x36, ret + MD5_SIZE);
	explicit_bzero(key, sizeof key);
	return good;
}

/* MD5 of a text that goes on where a state stands, which has seen one block. */
static void finish(const uint8_t from[MD5_SIZE], struct slice text, uint8_t ret[MD5_SIZE])
{
	MD5_CTX state;

	MD5_Init(&state);
	state.A = get_word(from);
	state.B = get_word(from + 4);
	state.C = get_word(from + 8);
	state.D = get_word(from + 12);
	state.Nl = 8 * MD5_CBLOCK; /* bits */
	MD5_Update(&state, text.n ? text.p : "", text.n);
	MD5_Final(ret, &state);
	explicit_bzero(&state, sizeof state);
}

void secrets_cram_md5(const struct secrets *s, struct slice challenge, uint8_t ret[MD5_SIZE])
{
	uint8_t inner[MD5_SIZE];

	assert(s->has_cram_md5);
	finish(s->cram_md5 + MD5_SIZE, challenge, inner);
	finish(s->cram_md5, slice_of(inner, sizeof inner), ret);
	explicit_bzero(inner, sizeof inner);
}
