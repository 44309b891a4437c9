/*
 * tls_key: private keys that are elsewhere, as keys of OpenSSL.
 *
 * Such a key has its public part and an id. When OpenSSL signs with it the job that runs is paused (ASYNC_pause_job)
 * and `tls_signing` says what is wanted; it goes on when the answer stands there. Signing outside of a job fails.
 */
#ifndef NET_TLS_KEY_H
#define NET_TLS_KEY_H

#include "net/tls.h"

#include <openssl/evp.h>

struct tls_signing {
	enum { TLS_SIGNING_IDLE, TLS_SIGNING_ASKED, TLS_SIGNING_ANSWERED } state;
	struct tls_request request;
	uint8_t signature[TLS_SIGNATURE_MAX];
	size_t n; /* 0: refused */
};

/* A key whose public part is that of `public`, RSA or EC. NULL: it is of another kind, or there is no memory. */
EVP_PKEY *tls_key_new(EVP_PKEY *public, const uint8_t id[TLS_KEY_ID]);
/* Who asks when OpenSSL signs from now on; NULL: nobody. A signature under way keeps who asked. */
void tls_key_use(struct tls_signing *signing);

/* The id of a key, private or public. False without memory. */
bool tls_key_id(EVP_PKEY *key, uint8_t ret[TLS_KEY_ID]);

#endif
