#include "directory/sasl_client.h"

#include "base/base64.h"
#include "base/heap.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define LAST_WORD      "the server goes on after its last word"
#define SCRAM_TEXT_MAX 8192 /* octets of a message of SCRAM, or of all of them that are signed */

static const struct sasl_client_row rows[SASL_CLIENT_MECHANISMS] = {
	{"SCRAM-SHA-256-PLUS", .scram = true, .plus = true, .hash = SCRAM_SHA_256},
	{"SCRAM-SHA-256", .scram = true, .hash = SCRAM_SHA_256},
	{"SCRAM-SHA-1-PLUS", .scram = true, .plus = true, .hash = SCRAM_SHA_1},
	{"SCRAM-SHA-1", .scram = true, .hash = SCRAM_SHA_1},
	{"CRAM-MD5"},
	{"XOAUTH2", .shows = true, .token = true},
	{"PLAIN", .shows = true},
	{"LOGIN", .shows = true},
};

struct sasl_client {
	const struct sasl_client_row *row;
	struct sasl_client_start start;
	unsigned steps;
	struct buf why;
	bool proven; /* the server knows the password */

	/* SCRAM */
	struct buf header; /* gs2-header, and what follows it in c= */
	struct buf bare;   /* client-first-message-bare */
	size_t nonce;      /* where ours begins in it */
	uint8_t signature[SCRAM_KEY_MAX]; /* that the server has to make */
};

const struct sasl_client_row *sasl_client_row(size_t i)
{
	assert(i < SASL_CLIENT_MECHANISMS);
	return &rows[i];
}

const struct sasl_client_row *sasl_client_find(struct slice name)
{
	for (size_t i = 0; i < SASL_CLIENT_MECHANISMS; i++)
		if (slice_ieq(slice_from_cstr(rows[i].name), name))
			return &rows[i];
	return NULL;
}

static enum sasl_client_result fail(struct sasl_client *e, const char *why)
{
	if (buf_len(&e->why) == 0)
		buf_add(&e->why, slice_from_cstr(why));
	return SASL_CLIENT_FAILED;
}

/* ---- SCRAM: RFC 5802 5 ----------------------------------------------------------------------------------------- */

static const EVP_MD *digest_of(const struct sasl_client *e)
{
	return e->row->hash == SCRAM_SHA_256 ? EVP_sha256() : EVP_sha1();
}

static bool hmac(const struct sasl_client *e, const uint8_t *key, struct slice text, uint8_t ret[SCRAM_KEY_MAX])
{
	unsigned n = 0;

	return HMAC(digest_of(e), key, (int)scram_key_size(e->row->hash), (const unsigned char *)text.p, text.n, ret,
		    &n) != NULL;
}

/* A name by SASLprep, with "=" and "," as 5.1 has them. */
static bool add_name(struct sasl_client *e, struct buf *out)
{
	const char *why = "there is no memory";
	struct buf name;

	if (!secrets_buf_init(&name, SECRETS_PASSWORD_MAX + 1) ||
	    secrets_prepare(e->start.user, true, &name, &why) != SECRETS_OK) {
		buf_printf(&e->why, "our login name: %s", why);
		buf_free(&name);
		return false;
	}
	struct slice s = buf_slice(&name);
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '=')
			buf_add_lit(out, "=3D");
		else if (s.p[i] == ',')
			buf_add_lit(out, "=2C");
		else
			buf_add_char(out, s.p[i]);
	buf_free(&name);
	return true;
}

/* What the session is bound by. TLS 1.2 has tls-unique, which more servers know there than the other. */
static bool add_header(struct sasl_client *e)
{
	bool unique = e->start.unique.n > 0;
	struct slice data = unique ? e->start.unique : e->start.exporter;

	if (!e->row->plus)
		return buf_add(&e->header, e->start.missed_plus ? SLICE("y,,") : SLICE("n,,"));
	if (data.n == 0)
		return false;
	return buf_add(&e->header, unique ? SLICE("p=tls-unique,,") : SLICE("p=tls-exporter,,")) &&
	       buf_add(&e->header, data);
}

static enum sasl_client_result say_scram_first(struct sasl_client *e, struct buf *response)
{
	if (!add_header(e))
		return fail(e, "the session has nothing to bind to");
	buf_add_lit(&e->bare, "n=");
	if (!add_name(e, &e->bare))
		return SASL_CLIENT_FAILED;
	buf_add_lit(&e->bare, ",r=");
	e->nonce = buf_len(&e->bare);
	base64_encode(e->start.chance, &e->bare);
	if (e->bare.failed)
		return fail(e, "there is no memory");
	size_t header = slice_search(buf_slice(&e->header), SLICE(",,")) + 2;
	buf_add(response, slice_head(buf_slice(&e->header), header));
	buf_add(response, buf_slice(&e->bare));
	return SASL_CLIENT_RESPONSE;
}

/* "r=..." of a comma-separated list, taken from it. */
static bool take_attribute(struct slice *list, char name, struct slice *ret)
{
	struct slice item = slice_split(list, ',');

	*ret = slice_skip(item, 2);
	return item.n > 2 && item.p[0] == name && item.p[1] == '=';
}

/* server-first-message. What follows the iterations is for extensions, and may be ignored; what comes before the nonce
 * may not. */
static bool read_scram_first(struct sasl_client *e, struct slice challenge, struct slice *ret_nonce,
			     struct sasl_salted *ret)
{
	struct slice salt, iterations, ours = slice_skip(buf_slice(&e->bare), e->nonce);
	struct buf b = {.p = (char *)ret->salt, .cap = sizeof ret->salt, .max = sizeof ret->salt};
	uint64_t count;

	*ret = (struct sasl_salted){.hash = e->row->hash};
	if (!take_attribute(&challenge, 'r', ret_nonce) || !take_attribute(&challenge, 's', &salt) ||
	    !take_attribute(&challenge, 'i', &iterations)) {
		fail(e, "the challenge is malformed");
	} else if (!slice_starts(*ret_nonce, ours) || ret_nonce->n == ours.n) {
		fail(e, "the server's nonce is not made from ours");
	} else if (!base64_decode(salt, &b)) {
		fail(e, "the server's salt is none");
	} else if (!slice_u64(iterations, UINT64_MAX, &count) || count < SASL_CLIENT_ITERATIONS_MIN ||
		   count > SASL_CLIENT_ITERATIONS_MAX) {
		buf_printf(&e->why, "the server asks for %.*s iterations; from %u to %u are good",
			   SLICE_ARGS(slice_head(iterations, 30)), SASL_CLIENT_ITERATIONS_MIN,
			   SASL_CLIENT_ITERATIONS_MAX);
	} else {
		ret->salt_n = buf_len(&b);
		ret->iterations = (uint32_t)count;
		return true;
	}
	return false;
}

static bool is_kept(const struct sasl_client *e, const struct sasl_salted *s)
{
	const struct sasl_salted *kept = e->start.salted;

	return kept && kept->iterations == s->iterations && kept->hash == s->hash && kept->salt_n == s->salt_n &&
	       memcmp(kept->salt, s->salt, s->salt_n) == 0;
}

/* RFC 5802 3, SaltedPassword. */
static bool hash_password(struct sasl_client *e, struct sasl_salted *s)
{
	const char *why = "there is no memory";
	struct buf prepared;
	bool good = false;

	if (is_kept(e, s)) {
		*s = *e->start.salted;
		return true;
	}
	if (!secrets_buf_init(&prepared, SECRETS_PASSWORD_MAX + 1) ||
	    secrets_prepare(e->start.secret, true, &prepared, &why) != SECRETS_OK)
		buf_printf(&e->why, "our password: %s", why);
	else
		good = PKCS5_PBKDF2_HMAC(buf_slice(&prepared).p, (int)buf_len(&prepared), s->salt, (int)s->salt_n,
					 (int)s->iterations, digest_of(e), (int)scram_key_size(s->hash), s->key) == 1;
	buf_wipe(&prepared);
	if (good && e->start.salted)
		*e->start.salted = *s;
	return good;
}

/* RFC 5802 3: ClientProof, and the signature that the server has to have. */
static bool prove(struct sasl_client *e, const uint8_t *salted, struct slice signed_text, uint8_t ret[SCRAM_KEY_MAX])
{
	uint8_t client[SCRAM_KEY_MAX], stored[SCRAM_KEY_MAX], server[SCRAM_KEY_MAX];
	size_t n = scram_key_size(e->row->hash);
	bool good = hmac(e, salted, SLICE("Client Key"), client) &&
		    EVP_Digest(client, n, stored, NULL, digest_of(e), NULL) == 1 &&
		    hmac(e, stored, signed_text, ret) && hmac(e, salted, SLICE("Server Key"), server) &&
		    hmac(e, server, signed_text, e->signature);

	for (size_t i = 0; i < n; i++)
		ret[i] ^= client[i];
	explicit_bzero(client, sizeof client);
	explicit_bzero(stored, sizeof stored);
	explicit_bzero(server, sizeof server);
	return good;
}

static enum sasl_client_result say_scram_final(struct sasl_client *e, struct slice challenge, struct buf *response)
{
	struct sasl_salted s;
	struct slice nonce;
	struct buf text;
	uint8_t proof[SCRAM_KEY_MAX];

	if (!read_scram_first(e, challenge, &nonce, &s) || !hash_password(e, &s))
		return fail(e, "the password cannot be hashed");
	buf_add_lit(response, "c=");
	base64_encode(buf_slice(&e->header), response);
	buf_add_lit(response, ",r=");
	buf_add(response, nonce);
	buf_init(&text, SCRAM_TEXT_MAX);
	buf_add(&text, buf_slice(&e->bare));
	buf_add_char(&text, ',');
	buf_add(&text, challenge);
	buf_add_char(&text, ',');
	buf_add(&text, buf_slice(response));
	bool good = !text.failed && prove(e, s.key, buf_slice(&text), proof);
	buf_free(&text);
	explicit_bzero(&s, sizeof s);
	buf_add_lit(response, ",p=");
	base64_encode(slice_of(proof, scram_key_size(e->row->hash)), response);
	return good ? SASL_CLIENT_RESPONSE : fail(e, "the password cannot be hashed");
}

/* server-final-message. */
static enum sasl_client_result hear_scram_final(struct sasl_client *e, struct slice challenge)
{
	uint8_t octets[SCRAM_KEY_MAX];
	struct buf b = {.p = (char *)octets, .cap = sizeof octets, .max = sizeof octets};
	struct slice signature = slice_of(e->signature, scram_key_size(e->row->hash)), value;

	if (slice_starts(challenge, SLICE("e="))) {
		buf_printf(&e->why, "the server says: %.*s", SLICE_ARGS(slice_head(slice_skip(challenge, 2), 100)));
		return SASL_CLIENT_FAILED;
	}
	if (!take_attribute(&challenge, 'v', &value) || !base64_decode(value, &b))
		return fail(e, "the challenge is malformed");
	if (!secrets_equal(buf_slice(&b), signature))
		return fail(e, "the server does not know the password itself");
	e->proven = true;
	return SASL_CLIENT_RESPONSE;
}

static enum sasl_client_result step_scram(struct sasl_client *e, struct slice challenge, struct buf *response)
{
	switch (e->steps) {
	case 1:
		return say_scram_first(e, response);
	case 2:
		return say_scram_final(e, challenge, response);
	case 3:
		return hear_scram_final(e, challenge);
	default:
		return fail(e, LAST_WORD);
	}
}

/* ---- the others ------------------------------------------------------------------------------------------------ */

static enum sasl_client_result step_cram(struct sasl_client *e, struct slice challenge, struct buf *response)
{
	unsigned char digest[MD5_SIZE];
	unsigned n = 0;
	struct slice key = e->start.secret;

	if (e->steps == 1)
		return SASL_CLIENT_SILENT;
	if (e->steps > 2)
		return fail(e, LAST_WORD);
	if (challenge.n == 0 || !HMAC(EVP_md5(), key.p, (int)key.n, (const unsigned char *)challenge.p, challenge.n,
				      digest, &n))
		return fail(e, challenge.n ? "there is no HMAC-MD5" : "the challenge is empty");
	buf_add(response, e->start.user);
	buf_add_char(response, ' ');
	for (unsigned i = 0; i < n; i++)
		buf_printf(response, "%02x", digest[i]);
	e->proven = true;
	return SASL_CLIENT_RESPONSE;
}

static enum sasl_client_result step_plain(struct sasl_client *e, struct buf *response)
{
	if (e->steps > 1)
		return fail(e, LAST_WORD);
	buf_add_char(response, '\0');
	buf_add(response, e->start.user);
	buf_add_char(response, '\0');
	buf_add(response, e->start.secret);
	e->proven = true;
	return SASL_CLIENT_RESPONSE;
}

/* The words of its questions are nobody's standard: the first is for the name, the second for the password. */
static enum sasl_client_result step_login(struct sasl_client *e, struct buf *response)
{
	if (e->steps == 1)
		return SASL_CLIENT_SILENT;
	if (e->steps > 3)
		return fail(e, LAST_WORD);
	buf_add(response, e->steps == 2 ? e->start.user : e->start.secret);
	e->proven = e->steps == 3;
	return SASL_CLIENT_RESPONSE;
}

/* A token that it does not take is followed by a challenge that says why, and that by nothing (535 comes then). */
static enum sasl_client_result step_xoauth2(struct sasl_client *e, struct slice challenge, struct buf *response)
{
	if (e->steps > 2)
		return fail(e, LAST_WORD);
	if (e->steps == 2) {
		e->proven = false;
		buf_add_lit(&e->why, "the server says of our token: ");
		buf_add(&e->why, slice_head(challenge, SASL_CLIENT_WHY_MAX / 2));
		return SASL_CLIENT_RESPONSE;
	}
	buf_add_lit(response, "user=");
	buf_add(response, e->start.user);
	buf_add_lit(response, "\1auth=Bearer ");
	buf_add(response, e->start.secret);
	buf_add_lit(response, "\1\1");
	e->proven = true;
	return SASL_CLIENT_RESPONSE;
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */

struct sasl_client *sasl_client_begin(const struct sasl_client_start *start)
{
	struct sasl_client *e = heap_new(struct sasl_client);

	assert(start->user.n > 0 && start->user.n <= SASL_CLIENT_USER_MAX);
	assert(start->secret.n > 0 && start->secret.n <= SASL_CLIENT_SECRET_MAX);
	assert(start->chance.n >= SASL_CLIENT_CHANCE && start->chance.n <= 32);
	if (!e)
		return NULL;
	*e = (struct sasl_client){.row = start->row, .start = *start};
	buf_init(&e->why, SASL_CLIENT_WHY_MAX);
	buf_init(&e->header, SCRAM_TEXT_MAX);
	buf_init(&e->bare, SCRAM_TEXT_MAX);
	return e;
}

void sasl_client_end(struct sasl_client *e)
{
	if (!e)
		return;
	buf_free(&e->why);
	buf_free(&e->header);
	buf_free(&e->bare);
	explicit_bzero(e->signature, sizeof e->signature);
	heap_free(e);
}

static enum sasl_client_result step(struct sasl_client *e, struct slice challenge, struct buf *response)
{
	if (e->row->scram)
		return step_scram(e, challenge, response);
	if (e->row->token)
		return step_xoauth2(e, challenge, response);
	if (!e->row->shows)
		return step_cram(e, challenge, response);
	return slice_eq(slice_from_cstr(e->row->name), SLICE("PLAIN")) ? step_plain(e, response)
								       : step_login(e, response);
}

enum sasl_client_result sasl_client_step(struct sasl_client *e, const struct slice *challenge, struct buf *response,
					 bool *complete)
{
	buf_reset(response);
	e->steps++;
	assert((e->steps == 1) == !challenge);
	enum sasl_client_result result = step(e, challenge ? *challenge : SLICE(""), response);
	if (result == SASL_CLIENT_RESPONSE && response->failed)
		result = fail(e, "our answer is too long");
	*complete = result == SASL_CLIENT_RESPONSE && e->proven;
	return result;
}

struct slice sasl_client_why(const struct sasl_client *e)
{
	return buf_slice(&e->why);
}
