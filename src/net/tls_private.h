/*
 * tls_private: what the two sides of TLS share.
 *
 * tls.c         a session; certificates and tickets of the server's side
 * tls_client.c  the client's side
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
	unsigned key_updates;
	size_t fed; /* octets since the BIO for them was made */
	bool done, failed;
	char why[TLS_WHY_MAX];
	/* The client's side. */
	uint8_t peer[SHA256_DIGEST_LENGTH]; /* sessions are kept by this */
	struct tls_verdict verdict;
};

/* Once for the process. What a file of the system says about TLS is not asked: these files say it. */
bool tls_begin_library(void);
/* A session of neither side yet; NULL without memory. */
struct tls *tls_open(SSL_CTX *context);
/* The handshake of a client is done: what is its server's certificate worth? */
void tls_judge(struct tls *t);

#endif
