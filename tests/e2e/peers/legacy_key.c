/*
 * legacy_key: lets Debian's OpenSMTPD (6.8) do TLS with OpenSSL 3.
 *
 * Its processes that face clients have no private key, but an RSA object that asks another process to sign. OpenSSL 3
 * makes a copy of it for such changes, which is not the one that it signs with. Preloaded, this puts it there, as later
 * versions of OpenSMTPD do themselves.
 */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <dlfcn.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>

int SSL_CTX_use_PrivateKey(SSL_CTX *context, EVP_PKEY *key)
{
	int (*next)(SSL_CTX *, EVP_PKEY *) =
		(int (*)(SSL_CTX *, EVP_PKEY *))dlsym(RTLD_NEXT, "SSL_CTX_use_PrivateKey");
	RSA *rsa = EVP_PKEY_get1_RSA(key);

	if (rsa) {
		EVP_PKEY_set1_RSA(key, rsa);
		RSA_free(rsa);
	}
	return next(context, key);
}
