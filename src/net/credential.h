/*
 * credential: a certificate with its private key, for the process that signs, and what its issuer says of it.
 *
 * Keys are RSA or EC. Nothing of a private key leaves this module but signatures, and only of what a server signs in a
 * handshake of TLS 1.2 or 1.3: whoever asks for something else is refused.
 */
#ifndef NET_CREDENTIAL_H
#define NET_CREDENTIAL_H

#include "net/tls.h"

struct credential;

#define CREDENTIAL_WHY_MAX 256

/* Before the first key: their memory is kept out of core files and, as far as this process may, of swap space. */
void credential_prepare(void);

/* A file that is open for reading; or, without a descriptor (-1), why it could not be opened (an errno value). */
struct credential_file {
	const char *path; /* lent, for what is said about it */
	int fd, error;
};
struct credential_file credential_file_open(const char *path);
void credential_file_close(struct credential_file *f);

/*
 * From files in PEM: the certificate and those that lead to its root, in this order; and the key, which may be the same
 * file, opened twice. They are read from where they stand, and left open. NULL, and `why` says which file, and what is
 * wrong with it: it cannot be read, it is none, the key is another certificate's, needs a pass phrase, or may be read
 * by everybody.
 */
struct credential *credential_read(const struct credential_file *chain, const struct credential_file *key,
				   char why[CREDENTIAL_WHY_MAX]);
struct credential *credential_load(const char *chain_path, const char *key_path, char why[CREDENTIAL_WHY_MAX]);
/*
 * Reads what is to be stapled to it (OCSP, RFC 6960) from a file in DER: a response of its issuer, or of whom the
 * issuer has named, that it is good, and until when; that time is not over. Else false, and why: what was there stays.
 */
bool credential_read_staple(struct credential *c, const struct credential_file *f, wall_ms now,
			    char why[CREDENTIAL_WHY_MAX]);
bool credential_load_staple(struct credential *c, const char *path, wall_ms now, char why[CREDENTIAL_WHY_MAX]);
/* Takes over what was stapled to another credential with the same certificate, if there was something. */
void credential_keep_staple(struct credential *c, const struct credential *before);
/*
 * Makes a certificate for `name` that is signed by its own key, and stores both below `directory`, which exists:
 * self-signed.pem and self-signed.key, the key readable by us alone. What is there already is loaded as it is; but when
 * it is one that is signed by itself and ends within CREDENTIAL_RENEW, another is made with the same key.
 */
#define CREDENTIAL_RENEW (30 * DAY)
struct credential *credential_self_signed(const char *directory, struct slice name, wall_ms now,
					  char why[CREDENTIAL_WHY_MAX]);
/* Appends a file that is read as a whole: authorities, lists of revoked certificates, public keys. False, and `why`: it
 * is no regular file, larger than 1 MiB or than there is room for, or cannot be read. */
bool credential_append(const struct credential_file *f, struct buf *out, char why[CREDENTIAL_WHY_MAX]);
bool credential_append_file(const char *path, struct buf *out, char why[CREDENTIAL_WHY_MAX]);
struct credential *credential_ref(struct credential *c);
void credential_unref(struct credential *c); /* NULL is fine; with the last one the key is wiped */

/* Without a name. Lent. */
const struct tls_chain *credential_chain(const struct credential *c);
/* When the certificate ends. */
wall_ms credential_expires(const struct credential *c);
/* The kind of its key: "RSA" or "EC". */
const char *credential_kind(const struct credential *c);
/* Signs what `request` says, if the key is this one and a server would sign it. False: it is refused, or there is no
 * memory. */
bool credential_sign(const struct credential *c, const struct tls_request *request, uint8_t into[TLS_SIGNATURE_MAX],
		     size_t *ret_n);

#endif
