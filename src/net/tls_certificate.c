#include "net/tls_private.h"

#include <assert.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509.h>

static X509 *read_certificate(struct slice der)
{
	const uint8_t *p = (const uint8_t *)der.p;
	X509 *x = d2i_X509(NULL, &p, (long)der.n);

	if (x && p == (const uint8_t *)der.p + der.n)
		return x;
	X509_free(x);
	return NULL;
}

static const char *use_leaf(SSL_CTX *context, X509 *leaf, const struct tls_chain *chain)
{
	EVP_PKEY *public = leaf ? X509_get0_pubkey(leaf) : NULL;
	EVP_PKEY *key = public ? tls_key_new(public, chain->key) : NULL;
	const char *why = !public                                    ? "a certificate is none"
			  : !key                                     ? "its key is neither RSA nor EC"
			  : !SSL_CTX_use_certificate(context, leaf)  ? "its key is too weak"
			  : !SSL_CTX_use_PrivateKey(context, key)    ? "its key cannot be used"
								     : NULL;

	/* Each kind of key has a chain of its own in the context. */
	for (size_t i = 1; !why && i < chain->count; i++) {
		X509 *x = read_certificate(chain->certificates[i]);
		if (!x || !SSL_CTX_add1_chain_cert(context, x))
			why = "a certificate of its chain is none";
		X509_free(x);
	}
	EVP_PKEY_free(key);
	return why;
}

static bool is_kind_of(const X509 *one, const X509 *other)
{
	return EVP_PKEY_get_base_id(X509_get0_pubkey(one)) == EVP_PKEY_get_base_id(X509_get0_pubkey(other));
}

const char *tls_certificate_use(struct tls_certificate *c, const struct tls_chain *chain)
{
	X509 *x = read_certificate(chain->certificates[0]);
	const char *why = NULL;

	assert(chain->staple.n <= TLS_STAPLE_MAX);
	assert(c->count <= TLS_KINDS);
	if (x && c->count > 0 && (c->count == TLS_KINDS || is_kind_of(c->leaves[0].x, x)))
		why = "another one of its name has the same kind of key";
	if (!why)
		why = use_leaf(c->context, x, chain);
	if (why) {
		X509_free(x);
		return why;
	}
	struct tls_leaf *l = &c->leaves[c->count++];
	*l = (struct tls_leaf){.x = x, .staple_n = chain->staple.n, .staple_until = chain->staple_until};
	if (chain->staple.n > 0) /* without memory, nothing is stapled */
		l->staple = OPENSSL_memdup(chain->staple.p, chain->staple.n);
	return NULL;
}

void tls_certificate_free(struct tls_certificate *c)
{
	for (size_t i = 0; i < c->count; i++) {
		X509_free(c->leaves[i].x);
		OPENSSL_free(c->leaves[i].staple);
	}
	SSL_CTX_free(c->context);
}

/* While the callback for it runs, OpenSSL names the certificate that was chosen. */
static const struct tls_leaf *chosen(const struct tls_certificate *c, const SSL *ssl)
{
	const X509 *x = SSL_get_certificate(ssl);

	for (size_t i = 0; i < c->count; i++)
		if (c->leaves[i].x == x)
			return &c->leaves[i];
	return NULL;
}

/* What is out of date would only make the client turn away. */
bool tls_certificate_staple(const struct tls_certificate *c, SSL *ssl, wall_ms now)
{
	const struct tls_leaf *l = chosen(c, ssl);

	if (!l || !l->staple || now == 0 || now >= l->staple_until)
		return false;
	uint8_t *copy = OPENSSL_memdup(l->staple, l->staple_n); /* the session frees it */
	if (copy && SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)l->staple_n))
		return true;
	OPENSSL_free(copy);
	return false;
}
