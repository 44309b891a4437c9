/*
 * tls_private: what the two sides of TLS share.
 *
 * tls.c              a session; names and tickets of the server's side
 * tls_certificate.c  the certificates of a name, and what is stapled to them
 * tls_client.c       the client's side
 * tls_holder.c       certificates of clients
 */
#ifndef NET_TLS_PRIVATE_H
#define NET_TLS_PRIVATE_H

#include "net/tls_key.h"

#include <openssl/sha.h>
#include <openssl/ssl.h>

#define TLS_WHY_MAX   240
#define TLS_PEERS_MAX 200

/* What a client came to think of the server's certificate. */
struct tls_verdict {
	bool verified;
	char why[TLS_WHY_MAX]; /* not */
	char peer[TLS_PEERS_MAX];
};

struct tls {
	struct tls_server *server; /* one of these two is not NULL */
	struct tls_client *client;
	SSL *ssl;
	struct tls_signing signing;
	uint8_t binding[SHA256_DIGEST_LENGTH];
	char name[TLS_NAME_MAX + 1]; /* that was asked for */
	wall_ms now; /* of the beginning; 0: not told */
	unsigned key_updates;
	size_t fed; /* octets since the BIO for them was made */
	bool done, failed;
	char why[TLS_WHY_MAX];
	/* The client's side. */
	uint8_t peer[SHA256_DIGEST_LENGTH]; /* sessions are kept by this */
	struct tls_verdict verdict;
	/* The server's side, if the client is asked for a certificate; then the verdict is on that. */
	struct tls_trust *trust;
	struct buf holder;
};

#define TLS_KINDS 2 /* of keys: RSA and EC */

/* The certificates of one name. */
struct tls_certificate {
	char name[TLS_NAME_MAX + 1];
	SSL_CTX *context;
	struct tls_leaf {
		X509 *x;
		uint8_t *staple; /* NULL: none */
		size_t staple_n;
		wall_ms staple_until;
	} leaves[TLS_KINDS]; /* of different kinds */
	size_t count;
};

/* One more for the name. NULL, or why not: a static text. */
const char *tls_certificate_use(struct tls_certificate *c, const struct tls_chain *chain);
void tls_certificate_free(struct tls_certificate *c);
/* From the callback for it: staples what there is to the certificate that was chosen. False: there is nothing, or it
 * holds no longer. */
bool tls_certificate_staple(const struct tls_certificate *c, SSL *ssl, wall_ms now);

/* Once for the process. What a file of the system says about TLS is not asked: these files say it. */
bool tls_begin_library(void);
/* A session of neither side yet; NULL without memory. */
struct tls *tls_open(SSL_CTX *context);
/* The handshake of a client is done: what is its server's certificate worth? */
void tls_judge(struct tls *t);
/* The handshake of a server that asked its client for a certificate is done. */
void tls_judge_holder(struct tls *t);
/* For SSL_CTX_set_cert_verify_callback, on the server's side: tls_judge_holder verifies. */
int tls_take_any_certificate(X509_STORE_CTX *context, void *arg);
/* RFC 5280 6.1.4 (k), for a chain that was verified. */
bool tls_is_chain_of_authorities(STACK_OF(X509) *chain);

#endif
