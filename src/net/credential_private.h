/*
 * credential_private: what the files of credential share.
 *
 * credential.c         certificates and keys, ours as well, and signing
 * credential_staple.c  what is stapled to them
 */
#ifndef NET_CREDENTIAL_PRIVATE_H
#define NET_CREDENTIAL_PRIVATE_H

#include "net/credential.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#define CREDENTIAL_FILE_MAX ((size_t)1024 * 1024)

struct credential {
	unsigned refs;
	struct tls_chain chain;
	uint8_t *der[TLS_CHAIN_MAX];
	uint8_t *staple; /* chain.staple lies there; NULL: none */
	EVP_PKEY *key;
	wall_ms expires;
};

/* False; what is wrong with a file goes into `why`. */
bool credential_wrong(char why[CREDENTIAL_WHY_MAX], const char *path, const char *what);
/* All of a regular file of CREDENTIAL_FILE_MAX octets at most; a secret one is not readable by everybody. NULL, and
 * why. */
BIO *credential_read_file(const struct credential_file *f, bool secret, char why[CREDENTIAL_WHY_MAX]);
/* One of its chain, which is the caller's; NULL: no memory. */
X509 *credential_certificate(const struct credential *c, size_t n);
wall_ms credential_time(const ASN1_TIME *t);

#endif
