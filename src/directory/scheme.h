/*
 * scheme: secrets as texts, ours and other servers'.
 *
 * Ours are those of RFC 5803 3 for verifiers and hexadecimal digits for CRAM-MD5. Other servers mark what stands in the
 * password field of a passwd file with the name of its scheme in braces, as Dovecot does: "{SHA512-CRYPT}$6$...". What
 * libcrypt, SCRAM or CRAM-MD5 can verify is taken as it is; a password in clear is handed back to be hashed.
 */
#ifndef DIRECTORY_SCHEME_H
#define DIRECTORY_SCHEME_H

#include "directory/secrets.h"

#define SCHEME_TEXT_MAX 256 /* octets of a verifier as text */

/* "SCRAM-SHA-256$4096:salt$StoredKey:ServerKey", each in base64 (RFC 5803 3). */
bool scheme_scram_put(enum scram_hash hash, const struct scram_verifier *v, struct buf *out);
bool scheme_scram_read(struct slice text, enum scram_hash hash, struct scram_verifier *ret);
/* 64 hexadecimal digits: first the outer state, then the inner one, as Dovecot writes {CRAM-MD5}. */
bool scheme_cram_md5_put(const uint8_t states[CRAM_MD5_STATES], struct buf *out);
bool scheme_cram_md5_read(struct slice text, uint8_t ret[CRAM_MD5_STATES]);

enum scheme_kind {
	SCHEME_WRONG,   /* it cannot be taken */
	SCHEME_NONE,    /* no password at all, as system accounts have: "*", "!", "x" */
	SCHEME_PLAIN,   /* the password itself */
	SCHEME_SECRETS, /* what verifies it; foreign */
};

struct scheme_password {
	enum scheme_kind kind;
	bool locked; /* by a '!' or '*' in front, as usermod and pw do */
	struct secrets secrets;
	size_t plain_n;
	char plain[SECRETS_PASSWORD_MAX + 1];
};

/*
 * Read a password field. `otherwise` is the scheme of fields that name none: empty is "CRYPT", so that hashes of
 * crypt(3) are known by themselves. With SCHEME_WRONG `why` says what is wrong, in one line that shows nothing of the
 * secret. The caller wipes *ret.
 */
void scheme_read(struct slice field, struct slice otherwise, struct scheme_password *ret, struct buf *why);
/* What made a hash of crypt(3): "yescrypt", "SHA512-CRYPT". Static. */
const char *scheme_name_of(struct slice hash);
/* Whether it names a scheme that can be taken: "PLAIN", "SHA512-CRYPT", "PLAIN.B64". */
bool scheme_known(struct slice name);

#endif
