/*
 * secrets: what is kept of a password, and how one is verified.
 *
 * A password is kept as a yescrypt hash (libcrypt) for mechanisms that hand it over, and as verifiers of SCRAM-SHA-256
 * and SCRAM-SHA-1 (RFC 5802 3, RFC 7677), from which nobody can log in who stole them. Each is made with a salt of its
 * own. For CRAM-MD5 (RFC 2195), when the configuration wants it, the two states of MD5 behind the key are kept: not the
 * password, but enough to log in with by CRAM-MD5.
 *
 * Passwords are prepared by SASLprep (RFC 4013) before anything else, as "stored strings" when they are set and as
 * "queries" when they are verified. Every comparison takes the same time wherever the first difference is, and what
 * held a password is wiped.
 *
 * Nothing here reads a clock or random numbers: they are arguments.
 */
#ifndef DIRECTORY_SECRETS_H
#define DIRECTORY_SECRETS_H

#include "base/buf.h"

#define SECRETS_PASSWORD_MAX 500 /* octets of a password, before and after its preparation */
#define SECRETS_CRYPT_MAX    384 /* of a hash with its NUL: CRYPT_OUTPUT_SIZE */
#define SECRETS_CHANCE       48  /* random octets for one password */
#define SCRAM_SALT_MAX       64
#define SCRAM_KEY_MAX        32
#define CRAM_MD5_STATES      32
#define MD5_SIZE             16

/* What clients have to spend on a password of ours; RFC 7677 4 asks for 4096 at least. */
#define SCRAM_ITERATIONS     32768
#define SCRAM_ITERATIONS_MIN 4096 /* of a verifier that was made elsewhere */
#define SCRAM_ITERATIONS_MAX 10000000

enum scram_hash { SCRAM_SHA_256, SCRAM_SHA_1 };
#define SCRAM_HASHES 2

/* RFC 5802 3. Octets as they are, not in base64. */
struct scram_verifier {
	uint32_t iterations; /* 0: there is none */
	size_t salt_n;
	uint8_t salt[SCRAM_SALT_MAX];
	uint8_t stored_key[SCRAM_KEY_MAX]; /* scram_key_size octets */
	uint8_t server_key[SCRAM_KEY_MAX];
};

struct secrets {
	char crypt[SECRETS_CRYPT_MAX]; /* NUL-terminated; empty: there is none */
	struct scram_verifier scram[SCRAM_HASHES];
	bool has_cram_md5;
	uint8_t cram_md5[CRAM_MD5_STATES];
	bool foreign; /* made elsewhere: perhaps of the password as it was typed, without SASLprep */
};

/* 32 or 20 octets. */
size_t scram_key_size(enum scram_hash hash);

enum secrets_result {
	SECRETS_OK,
	SECRETS_WRONG,     /* verifying: it is another password */
	SECRETS_MALFORMED, /* preparing: it can be none: empty, too long, no UTF-8, or forbidden by SASLprep */
	SECRETS_TROUBLE,   /* no memory, or libcrypt has no yescrypt: say "later", not "wrong" */
};

/*
 * Append `password` as it is stored (RFC 4013 with unassigned code points refused), or as a query (with them taken).
 * `out` comes from secrets_buf_init. On failure *why is a static text for people.
 */
enum secrets_result secrets_prepare(struct slice password, bool query, struct buf *out, const char **why);

/*
 * All of it for a new password. `chance` is fresh random octets, which nobody else gets to see; the caller wipes them.
 * It takes some 100 ms. On failure *why is a static text, and *ret is empty.
 */
enum secrets_result secrets_make(struct slice password, bool with_cram_md5, const uint8_t chance[SECRETS_CHANCE],
				 struct secrets *ret, const char **why);

/*
 * Whether it is the password, as the client sent it: by the hash, or when there is none by a verifier. Takes some 50 ms
 * with secrets of ours. OK, WRONG (also of what can be no password, after the same time) or TROUBLE.
 */
enum secrets_result secrets_verify(const struct secrets *s, struct slice password);

/* Whether secrets_make would make better ones: something is missing, foreign, or cheaper than ours. */
bool secrets_outdated(const struct secrets *s, bool with_cram_md5);

/* Like those of a user, but of no password: the same for one name and key, others for every other. For answers to
 * unknown users, which cost the same and look the same as for known ones. */
void secrets_decoy(const uint8_t key[32], struct slice name, struct secrets *ret);
/* The verifier of a user, or a decoy when there is none for this hash. */
void secrets_scram(const struct secrets *s, enum scram_hash hash, const uint8_t key[32], struct slice name,
		   struct scram_verifier *ret);

/* HMAC-MD5 of a challenge (RFC 2195 2) with the key of the states; for has_cram_md5 only. The caller compares its
 * hexadecimal form by secrets_equal. */
void secrets_cram_md5(const struct secrets *s, struct slice challenge, uint8_t ret[MD5_SIZE]);

/* Compares in a time that depends on the lengths alone. */
bool secrets_equal(struct slice a, struct slice b);
void secrets_wipe(struct secrets *s);
/* A buf for a secret: it has all of its memory from the start, so that none is given back unwiped while it fills. `max`
 * leaves room for a NUL. False when there is no memory. buf_wipe ends it. */
bool secrets_buf_init(struct buf *b, size_t max);

#endif
