/*
 * token: access tokens of OAuth 2.0 that are JWTs (RFC 9068, RFC 7519), signed by whoever issues them (RFC 7515) with a
 * key of a set that we have (JWKS, RFC 7517).
 *
 * Read as RFC 8725 asks for: the algorithm has to be one of RS256, ES256 and EdDSA (Ed25519), and that of the key,
 * which is chosen among ours alone; a name that stands twice in an object, a critical extension and another type are
 * refused; so is a token that does not name its issuer, its audience and its end. What a header says of where
 * a key could be had is never looked at. The tokens' own secret, the signature, is checked before anything that they
 * say.
 */
#ifndef DIRECTORY_TOKEN_H
#define DIRECTORY_TOKEN_H

#include "base/buf.h"
#include "base/clock.h"

#define TOKEN_MAX       8192 /* octets of a token */
#define TOKEN_KEYS_MAX  32
#define TOKEN_KEYS_TEXT ((size_t)256 * 1024) /* octets of a set of keys */

struct token_rules {
	struct slice issuer, audience; /* what "iss" is, and "aud" is or has */
	struct slice scope;            /* words that "scope" has to have all of; empty: none */
	struct slice claim;            /* the one that names the account */
	span_ms leeway;                /* by which clocks may differ */
};

/* Rules with their keys: counted, for one thread. */
struct tokens;

/* Once for the process, before all else: what JSON objects are hashed with is random. */
void tokens_begin(uint64_t random);
/* `keys` is a JWK set in JSON. Keys of kinds that are not used here are left out. NULL, and why: it is none, one of its
 * keys is broken or too weak (RSA below 2048 bits), or there is none that can be used. */
struct tokens *tokens_new(const struct token_rules *rules, struct slice keys, const char **why);
struct tokens *tokens_ref(struct tokens *t);
void tokens_unref(struct tokens *t); /* NULL is fine */
size_t tokens_key_count(const struct tokens *t);
/* Lent. */
const struct token_rules *tokens_rules(const struct tokens *t);

enum token_result {
	TOKEN_GOOD,
	TOKEN_INVALID, /* invalid_token of RFC 6750 3.1 */
	TOKEN_SCOPE,   /* insufficient_scope: the rest is good */
	TOKEN_TROUBLE, /* no memory */
};
/* GOOD: the account's name is appended to `name`. Otherwise *why is a static text for the log. */
enum token_result token_check(const struct tokens *t, struct slice token, wall_ms now, struct buf *name,
			      const char **why);

#endif
