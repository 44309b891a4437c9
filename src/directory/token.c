#include "directory/token.h"

#include "base/base64.h"
#include "base/heap.h"
#include "directory/accounts.h"
#include "directory/jwk.h"

#include <assert.h>
#include <string.h>

#define TEXTS_MAX 4
#define YEAR_9999 253402300799.0 /* seconds; no date is later */

struct tokens {
	unsigned refs;
	struct token_rules rules;
	struct jwk keys[TOKEN_KEYS_MAX];
	size_t count;
	struct buf texts; /* of the rules */
};

void tokens_begin(uint64_t random)
{
	json_object_seed((size_t)random | 1); /* 0 would have it look for a seed by itself, in files */
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static const char *read_keys(struct tokens *t, const json_t *list)
{
	if (!json_is_array(list))
		return "it is no JWK set";
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct jwk key;
		enum jwk_result result = jwk_read(json_array_get(list, i), &key);

		if (result == JWK_BROKEN)
			return "a key in it is broken or too weak";
		if (result == JWK_OTHER)
			continue;
		if (t->count == TOKEN_KEYS_MAX) {
			jwk_free(&key);
			return "there are too many keys in it";
		}
		t->keys[t->count++] = key;
	}
	return t->count == 0 ? "there is no key in it for RS256, ES256 or EdDSA" : NULL;
}

/* The texts in one piece; they are lent from it when all of them are there. */
static bool keep_rules(struct tokens *t, const struct token_rules *rules)
{
	const struct slice *from[TEXTS_MAX] = {&rules->issuer, &rules->audience, &rules->scope, &rules->claim};
	struct slice *to[TEXTS_MAX] = {&t->rules.issuer, &t->rules.audience, &t->rules.scope, &t->rules.claim};
	size_t at = 0;

	buf_init(&t->texts, (size_t)TEXTS_MAX * 4096);
	for (size_t i = 0; i < TEXTS_MAX; i++) {
		buf_add(&t->texts, *from[i]);
		buf_add_char(&t->texts, '\0'); /* the claim's name is used as a C string */
	}
	for (size_t i = 0; i < TEXTS_MAX && !t->texts.failed; i++) {
		*to[i] = slice_of(buf_slice(&t->texts).p + at, from[i]->n);
		at += from[i]->n + 1;
	}
	t->rules.leeway = rules->leeway;
	return !t->texts.failed;
}

struct tokens *tokens_new(const struct token_rules *rules, struct slice keys, const char **why)
{
	struct tokens *t = heap_new(struct tokens);
	json_t *set = keys.n <= TOKEN_KEYS_TEXT ? jwk_object(keys) : NULL;

	assert(rules->issuer.n > 0 && rules->audience.n > 0 && rules->claim.n > 0);
	*why = "out of memory";
	if (t) {
		t->refs = 1;
		*why = !keep_rules(t, rules) ? *why
		       : set                 ? read_keys(t, json_object_get(set, "keys"))
					     : "it is no JWK set";
	}
	json_decref(set);
	if (t && !*why)
		return t;
	tokens_unref(t);
	return NULL;
}

struct tokens *tokens_ref(struct tokens *t)
{
	t->refs++;
	return t;
}

void tokens_unref(struct tokens *t)
{
	if (!t || --t->refs > 0)
		return;
	for (size_t i = 0; i < t->count; i++)
		jwk_free(&t->keys[i]);
	buf_free(&t->texts);
	heap_free(t);
}

size_t tokens_key_count(const struct tokens *t)
{
	return t->count;
}

const struct token_rules *tokens_rules(const struct tokens *t)
{
	return &t->rules;
}

/* ---- the header -------------------------------------------------------------------------------------------------- */

/* "JWT" of RFC 7519 5.1 and "at+jwt" of RFC 9068 2.1, with or without "application/", in any case. Without one it may
 * be an access token all the same: many are. */
static bool is_of_this_type(const json_t *header)
{
	const json_t *type = json_object_get(header, "typ");
	struct slice text = slice_from_cstr(json_is_string(type) ? json_string_value(type) : "");

	if (slice_istarts(text, SLICE("application/")))
		text = slice_skip(text, sizeof "application/" - 1);
	return !type || slice_ieq(text, SLICE("JWT")) || slice_ieq(text, SLICE("at+jwt"));
}

/* By which key of ours it may be signed; *ret_name NULL: by any of the algorithm. NULL: nothing is wrong. */
static const char *read_header(const json_t *header, enum jwk_algorithm *ret, const char **ret_name)
{
	const json_t *name = json_object_get(header, "kid");

	*ret_name = json_string_value(name);
	if (!jwk_algorithm_find(jwk_string(header, "alg"), ret))
		return "its algorithm is none of RS256, ES256 and EdDSA";
	/* RFC 7515 4.1.11: we know of no extension. RFC 7797's changes what is signed. */
	if (json_object_get(header, "crit") || json_object_get(header, "b64"))
		return "its header has an extension";
	if (!is_of_this_type(header))
		return "it is of another type than an access token's";
	return name && !*ret_name ? "its key's name is none" : NULL;
}

/* ---- what it says ------------------------------------------------------------------------------------------------ */

static bool is_text(const json_t *value, struct slice expected)
{
	return json_is_string(value) &&
	       slice_eq(slice_of(json_string_value(value), json_string_length(value)), expected);
}

static bool is_or_has(const json_t *value, struct slice expected)
{
	for (size_t i = 0; i < json_array_size(value); i++)
		if (is_text(json_array_get(value, i), expected))
			return true;
	return is_text(value, expected);
}

/* In milliseconds (RFC 7519 2 NumericDate). */
static bool read_date(const json_t *value, wall_ms *ret)
{
	double seconds = json_number_value(value);

	if (!json_is_number(value) || !(seconds >= 0 && seconds <= YEAR_9999))
		return false;
	*ret = (wall_ms)(seconds * (double)SECOND);
	return true;
}

static const char *wrong_with_time(const json_t *claims, wall_ms now, span_ms leeway)
{
	const json_t *since = json_object_get(claims, "nbf");
	wall_ms when;

	if (!read_date(json_object_get(claims, "exp"), &when))
		return "it does not say when it ends";
	if (now >= when + leeway)
		return "it has expired";
	if (since && !read_date(since, &when))
		return "it does not say when it begins";
	return since && now < when - leeway ? "it is not valid yet" : NULL;
}

/* Words between spaces, or an array of them. */
static bool has_scope(const json_t *scopes, struct slice word)
{
	if (json_is_array(scopes))
		return is_or_has(scopes, word);
	for (struct slice rest = slice_from_cstr(json_is_string(scopes) ? json_string_value(scopes) : ""); rest.p;)
		if (slice_eq(slice_split(&rest, ' '), word))
			return true;
	return false;
}

/* "scope" of RFC 9068 2.2.3, or "scp", as others call it. */
static bool has_scopes(const json_t *claims, struct slice needed)
{
	const json_t *scopes = json_object_get(claims, "scope");

	if (!scopes)
		scopes = json_object_get(claims, "scp");
	for (struct slice rest = needed; rest.n > 0;) {
		struct slice word = slice_split(&rest, ' ');
		if (word.n > 0 && !has_scope(scopes, word))
			return false;
	}
	return true;
}

/* An address that nobody has verified is not its user's. */
static bool is_unverified(const json_t *claims, struct slice claim)
{
	const json_t *verified = json_object_get(claims, "email_verified");

	return slice_eq(claim, SLICE("email")) && verified && !json_is_true(verified);
}

static enum token_result check_claims(const struct tokens *t, const json_t *claims, wall_ms now, struct buf *name,
				      const char **why)
{
	const struct token_rules *r = &t->rules;
	const json_t *who = json_object_get(claims, r->claim.p);
	size_t n = json_string_length(who);

	*why = wrong_with_time(claims, now, r->leeway);
	if (*why)
		return TOKEN_INVALID;
	if (!is_text(json_object_get(claims, "iss"), r->issuer))
		*why = "it is of another issuer";
	else if (!is_or_has(json_object_get(claims, "aud"), r->audience))
		*why = "it is for another audience";
	else if (n == 0 || n > ACCOUNT_NAME_MAX)
		*why = "it does not name an account";
	else if (is_unverified(claims, r->claim))
		*why = "its mail address is not verified";
	if (*why)
		return TOKEN_INVALID;
	if (!has_scopes(claims, r->scope)) {
		*why = "it is for another scope";
		return TOKEN_SCOPE;
	}
	*why = "there is no memory";
	return buf_add(name, slice_of(json_string_value(who), n)) ? TOKEN_GOOD : TOKEN_TROUBLE;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

/* A part of it: NULL when it is no object. */
static json_t *read_part(struct slice text, struct buf *scratch)
{
	buf_reset(scratch);
	return base64url_decode(text, scratch) ? jwk_object(buf_slice(scratch)) : NULL;
}

static bool is_signed(const struct tokens *t, enum jwk_algorithm algorithm, const char *name, struct slice text,
		      struct slice signature)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct jwk *k = &t->keys[i];
		if (k->algorithm == algorithm && (!name || strcmp(k->name, name) == 0) &&
		    jwk_verify(k, text, signature))
			return true;
	}
	return false;
}

/* Whether it is signed by one of our keys; NULL: it is. */
static const char *wrong_with_signature(const struct tokens *t, struct slice token, struct slice encoded,
					struct slice signature, struct buf *scratch)
{
	enum jwk_algorithm algorithm;
	const char *name, *why = "its header is no JSON object";
	json_t *header = read_part(encoded, scratch);

	if (header)
		why = read_header(header, &algorithm, &name);
	buf_reset(scratch);
	if (!why && !base64url_decode(signature, scratch))
		why = "its signature is no base64url";
	if (!why && !is_signed(t, algorithm, name, slice_head(token, token.n - signature.n - 1), buf_slice(scratch)))
		why = "it is not signed by a key of ours";
	json_decref(header);
	return why;
}

enum token_result token_check(const struct tokens *t, struct slice token, wall_ms now, struct buf *name,
			      const char **why)
{
	struct slice rest = token, header = slice_split(&rest, '.'), payload = SLICE_NONE;
	enum token_result result = TOKEN_INVALID;
	struct buf scratch;

	*why = "it is no JWT";
	if (rest.p)
		payload = slice_split(&rest, '.');
	if (token.n > TOKEN_MAX || !payload.p || !rest.p || slice_find(rest, '.') < rest.n)
		return result;
	buf_init(&scratch, TOKEN_MAX);
	*why = wrong_with_signature(t, token, header, rest, &scratch);
	if (!*why) {
		json_t *claims = read_part(payload, &scratch);
		*why = "its claims are no JSON object";
		if (claims)
			result = check_claims(t, claims, now, name, why);
		json_decref(claims);
	}
	if (scratch.failed) {
		*why = "there is no memory";
		result = TOKEN_TROUBLE;
	}
	buf_wipe(&scratch);
	return result;
}
