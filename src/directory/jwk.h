/*
 * jwk: public keys as JSON (RFC 7517, RFC 7518 6, RFC 8037 2), and signatures by them (RFC 7518 3.3, 3.4; RFC
 * 8037 3.1).
 */
#ifndef DIRECTORY_JWK_H
#define DIRECTORY_JWK_H

#include "directory/token.h"

#include <jansson.h>
#include <openssl/evp.h>

enum jwk_algorithm { JWK_RS256, JWK_ES256, JWK_EDDSA };
#define JWK_ALGORITHMS (JWK_EDDSA + 1)
/* False: none of these, in exactly these words. */
bool jwk_algorithm_find(const char *name, enum jwk_algorithm *ret);

#define JWK_NAME_MAX 255
struct jwk {
	enum jwk_algorithm algorithm; /* that it is for: each kind of key has one */
	char name[JWK_NAME_MAX + 1];  /* kid; empty: it has none */
	EVP_PKEY *key;
};

enum jwk_result {
	JWK_READ,
	JWK_OTHER,  /* of another kind, for another purpose, or another algorithm */
	JWK_BROKEN, /* or too weak */
};
/* READ: to be freed by jwk_free. */
enum jwk_result jwk_read(const json_t *object, struct jwk *ret);
void jwk_free(struct jwk *k);
bool jwk_verify(const struct jwk *k, struct slice text, struct slice signature);

/* A JSON object, and nothing behind it, in which no name stands twice; NULL: it is none. */
json_t *jwk_object(struct slice text);
/* The string of that name; NULL: there is none, or it is something else. */
const char *jwk_string(const json_t *object, const char *name);

#endif
