/*
 * An exchange of SASL in the hands of a stranger, with one account. Who gets in has shown the password: by a second
 * reading of what he sent, and for CRAM-MD5 and SCRAM by OpenSSL's own computation. What shows it by PLAIN, LOGIN or
 * CRAM-MD5 in plain ASCII does get in. A challenge is bounded, and a failure has its reason.
 *
 * The first octet chooses the mechanism, the second what there is to bind to; responses follow, between 0xFF. In them
 * 0xFE stands for what the client would have to compute or repeat: the digest, or the nonce; 0xFD for SCRAM's proof.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/base64.h"
#include "directory/sasl.h"

#define NAME       "alice"
#define PASSWORD   "secret"
#define ITERATIONS SCRAM_ITERATIONS_MIN
#define EXPORTER   "32 octets of an exporter of TLS.."
#define UNIQUE     "twelve octet"
#define TEXT_MAX   20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char directory[64], path[128];
static struct sasl *sasl;
static struct accounts *accounts;
static uint8_t salted[SCRAM_HASHES][SCRAM_KEY_MAX];

static const EVP_MD *digest_of(enum scram_hash hash)
{
	return hash == SCRAM_SHA_256 ? EVP_sha256() : EVP_sha1();
}

static void mac(const EVP_MD *md, struct slice key, struct slice text, uint8_t *ret)
{
	unsigned n;

	assert(HMAC(md, key.p, (int)key.n, (const unsigned char *)text.p, text.n, ret, &n));
}

/* ---- the account ------------------------------------------------------------------------------------------------- */

static void client_key(enum scram_hash hash, uint8_t *ret)
{
	mac(digest_of(hash), slice_of(salted[hash], scram_key_size(hash)), SLICE("Client Key"), ret);
}

static void make_verifier(enum scram_hash hash, struct scram_verifier *v)
{
	uint8_t key[SCRAM_KEY_MAX];
	int n = (int)scram_key_size(hash);

	*v = (struct scram_verifier){.iterations = ITERATIONS, .salt_n = 16, .salt = "a salt of 16 oct"};
	assert(PKCS5_PBKDF2_HMAC(PASSWORD, -1, v->salt, 16, ITERATIONS, digest_of(hash), n, salted[hash]) == 1);
	client_key(hash, key);
	assert(EVP_Digest(key, (size_t)n, v->stored_key, NULL, digest_of(hash), NULL) == 1);
	mac(digest_of(hash), slice_of(salted[hash], (size_t)n), SLICE("Server Key"), v->server_key);
}

static void leave(void)
{
	char command[128];

	sasl_free(sasl);
	accounts_close(accounts);
	snprintf(command, sizeof command, "%s/accounts", directory);
	for (const char *const *p = (const char *const[]){"", "-wal", "-shm", NULL}; *p; p++) {
		char name[160];
		snprintf(name, sizeof name, "%s%s", path, *p);
		unlink(name);
	}
	rmdir(command);
	rmdir(directory);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const uint8_t chance[SECRETS_CHANCE] = "any", key[ACCOUNTS_KEY] = "a key";
	struct secrets made = {0}, kept = {.has_cram_md5 = true};
	const char *reason;
	struct buf why;

	(void)argc;
	(void)argv;
	buf_init(&why, 4096);
	snprintf(directory, sizeof directory, "/tmp/postrider-sasl.XXXXXX");
	assert(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/" ACCOUNTS_FILE, directory);
	/* Without the hash, which would take all the time. */
	assert(secrets_make(SLICE(PASSWORD), true, chance, &made, &reason) == SECRETS_OK);
	memcpy(kept.cram_md5, made.cram_md5, sizeof kept.cram_md5);
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		make_verifier(h, &kept.scram[h]);
	struct accounts_config config = {.path = path, .create = true, .key = "another", .busy_wait = 1000};
	struct accounts *writer;
	assert(accounts_open(&config, &writer, &why) == ACCOUNTS_OK);
	assert(accounts_add(writer, SLICE(NAME), &kept, 0) == ACCOUNTS_OK);
	accounts_close(writer);
	accounts = accounts_reader(path, key);
	sasl = sasl_new(accounts);
	assert(accounts && sasl);
	atexit(leave);
	buf_free(&why);
	return 0;
}

/* ---- a client that knows the password ---------------------------------------------------------------------------- */

struct talk {
	const struct sasl_row *row;
	struct sasl_start start;
	unsigned said;
	char room[3][TEXT_MAX];
	struct slice text[3]; /* what was said */
	struct buf challenge, first_challenge;
};

static void right_digest(const struct talk *t, char ret[33])
{
	uint8_t octets[16];

	mac(EVP_md5(), SLICE(PASSWORD), buf_slice(&t->challenge), octets);
	for (size_t i = 0; i < sizeof octets; i++)
		snprintf(ret + 2 * i, 3, "%02x", octets[i]);
}

/* Behind the header of GS2, which ends with the second comma. */
static struct slice bare_of(struct slice first)
{
	slice_split(&first, ',');
	slice_split(&first, ',');
	return first.p ? first : SLICE_NONE;
}

static struct slice nonce_of(struct slice challenge)
{
	struct slice field = slice_split(&challenge, ',');

	return slice_starts(field, SLICE("r=")) ? slice_skip(field, 2) : SLICE_NONE;
}

/* In base64: of the client's last words but for the proof (RFC 5802 3). */
static void right_proof(const struct talk *t, struct slice without_proof, struct buf *ret)
{
	enum scram_hash hash = t->row->hash;
	size_t n = scram_key_size(hash);
	uint8_t key[SCRAM_KEY_MAX], stored[SCRAM_KEY_MAX], signature[EVP_MAX_MD_SIZE];
	struct buf all;

	buf_init(&all, 4 * TEXT_MAX);
	buf_add(&all, bare_of(t->text[0]));
	buf_add_lit(&all, ",");
	buf_add(&all, buf_slice(&t->first_challenge));
	buf_add_lit(&all, ",");
	buf_add(&all, without_proof);
	client_key(hash, key);
	assert(EVP_Digest(key, n, stored, NULL, digest_of(hash), NULL) == 1);
	mac(digest_of(hash), slice_of(stored, n), buf_slice(&all), signature);
	for (size_t i = 0; i < n; i++)
		key[i] ^= signature[i];
	base64_encode(slice_of(key, n), ret);
	buf_free(&all);
}

static struct slice before_proof(struct slice text)
{
	size_t at = slice_search(text, SLICE(",p="));

	return slice_head(text, at < text.n ? at : text.n);
}

/* The response with what 0xFE and 0xFD stand for. */
static struct slice write_response(struct talk *t, struct slice in)
{
	char *room = t->room[t->said], digest[33] = "";
	struct buf out = {.p = room, .cap = TEXT_MAX, .max = TEXT_MAX};

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		if (c == 0xfe && t->row->scram)
			buf_add(&out, nonce_of(buf_slice(&t->challenge)));
		else if (c == 0xfe) {
			right_digest(t, digest);
			buf_add(&out, slice_from_cstr(digest));
		} else if (c == 0xfd && t->row->scram && t->said == 1)
			right_proof(t, before_proof(buf_slice(&out)), &out);
		else
			buf_add_char(&out, in.p[i]);
	}
	return t->text[t->said++] = buf_slice(&out);
}

/* ---- the second reading ------------------------------------------------------------------------------------------ */

static bool is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= 0 || s.p[i] == 0x7f)
			return false;
	return true;
}

static bool is_name(struct slice s)
{
	return slice_ieq(s, SLICE(NAME));
}

static bool shows_by_plain(struct slice s)
{
	size_t second, first = slice_find(s, '\0');

	if (first == s.n)
		return false;
	second = slice_find(slice_skip(s, first + 1), '\0');
	struct slice identity = slice_head(s, first), name = slice_head(slice_skip(s, first + 1), second);
	return (identity.n == 0 || is_name(identity)) && is_name(name) &&
	       slice_eq(slice_skip(s, first + 1 + second + (second < s.n)), SLICE(PASSWORD));
}

static bool shows_by_cram(const struct talk *t)
{
	char digest[33];
	struct slice s = t->said ? t->text[t->said - 1] : SLICE_NONE;
	size_t n = sizeof NAME - 1;

	right_digest(t, digest);
	return s.n == n + 33 && is_name(slice_head(s, n)) && s.p[n] == ' ' &&
	       memcmp(s.p + n + 1, digest, 32) == 0;
}

/* What the first words bind to, with the header before it: what "c=" has to say. */
static void expected_binding(const struct talk *t, struct buf *ret)
{
	struct slice header = slice_head(t->text[0], (size_t)(bare_of(t->text[0]).p - t->text[0].p));

	buf_add(ret, header);
	if (slice_starts(header, SLICE("p=tls-exporter,")))
		buf_add(ret, t->start.exporter);
	else if (slice_starts(header, SLICE("p=tls-unique,")))
		buf_add(ret, t->start.unique);
	else
		assert(header.p[0] == 'n' || (header.p[0] == 'y' && !t->start.plus_offered));
	assert((header.p[0] == 'p') == t->row->plus && (!t->row->plus || t->start.plus_offered));
}

/* GNU SASL takes bits behind the last octet for nothing: "Ll==" for "Lg==". */
static bool is_base64_of(struct slice text, struct slice octets)
{
	static uint8_t found[2 * TEXT_MAX];
	int n = text.n <= TEXT_MAX ? EVP_DecodeBlock(found, (const uint8_t *)text.p, (int)text.n) : -1;

	return n >= 0 && (size_t)n >= octets.n && (size_t)n < octets.n + 3 &&
	       slice_eq(slice_of((const char *)found, octets.n), octets);
}

static void check_scram(const struct talk *t)
{
	struct buf binding, proof;
	struct slice last = t->text[1], without = before_proof(last), nonce = nonce_of(buf_slice(&t->first_challenge));
	struct slice fields = without, c = slice_split(&fields, ','), r = slice_split(&fields, ',');
	struct slice bare = bare_of(t->text[0]), name = slice_split(&bare, ','), own = slice_split(&bare, ',');

	assert(t->said == 3 && t->text[2].n == 0);
	buf_init(&binding, TEXT_MAX);
	buf_init(&proof, 1024);
	expected_binding(t, &binding);
	assert(slice_starts(c, SLICE("c=")) && is_base64_of(slice_skip(c, 2), buf_slice(&binding)));
	assert(slice_starts(r, SLICE("r=")) && slice_eq(slice_skip(r, 2), nonce));
	assert(slice_starts(own, SLICE("r=")) && slice_starts(nonce, slice_skip(own, 2)) && nonce.n >= own.n + 8);
	right_proof(t, without, &proof);
	assert(slice_eq(slice_skip(last, without.n + 3), buf_slice(&proof)));
	assert(!is_ascii(name) || slice_find(name, '=') != 1 || is_name(slice_skip(name, 2)));
	buf_free(&binding);
	buf_free(&proof);
}

/* `digest_due`: the challenge is still what CRAM-MD5 answers. */
static void check_end(const struct talk *t, const struct sasl_exchange *e, enum sasl_result result)
{
	bool good = result == SASL_GOOD;
	struct slice last = t->said ? t->text[t->said - 1] : SLICE_NONE;
	struct slice parts = last;
	bool ascii = true;

	while (parts.p)
		ascii &= is_ascii(slice_split(&parts, '\0'));
	assert(good ? slice_eq(sasl_login(e), SLICE(NAME)) && sasl_account(e)->known : sasl_why(e).n > 0);
	if (t->row->scram) {
		if (good)
			check_scram(t);
	} else if (t->start.mechanism == SASL_EXTERNAL && ascii) {
		assert(good == (t->start.certificate.n > 0 && (last.n == 0 || is_name(last))));
	} else if (t->start.mechanism == SASL_PLAIN && ascii) {
		assert(good == shows_by_plain(last));
	} else if (t->start.mechanism == SASL_LOGIN && ascii && t->said == 2 && is_ascii(t->text[0])) {
		assert(good == (is_name(t->text[0]) && slice_eq(last, SLICE(PASSWORD))));
	}
}

/* ---- the exchange ------------------------------------------------------------------------------------------------ */

/* Others would cost a slow hash each, and are told the same. */
static enum sasl_result judge(void *arg, struct slice login)
{
	const struct sasl_row *row = arg;

	return !row->shows || slice_eq(login, SLICE(NAME)) ? SASL_CHALLENGE : SASL_LIMITED;
}

static enum sasl_result say(struct talk *t, struct sasl_exchange *e, bool given, struct slice response)
{
	bool cram = given && t->start.mechanism == SASL_CRAM_MD5, shows = cram && shows_by_cram(t);
	char *exact = malloc(response.n ? response.n : 1);

	assert(exact);
	if (response.n)
		memcpy(exact, response.p, response.n);
	bool begun = !given || t->said > 1 || buf_len(&t->challenge) > 0;
	enum sasl_result result = sasl_step(e, given, slice_of(exact, response.n), &t->challenge);
	free(exact);
	assert(buf_len(&t->challenge) <= SASL_CHALLENGE_MAX && !t->challenge.failed);
	assert(!cram || !begun || (result == SASL_GOOD) == shows);
	if (given && t->said == 1 && t->row->scram) {
		buf_reset(&t->first_challenge);
		buf_add(&t->first_challenge, buf_slice(&t->challenge));
	}
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct external_map map = {.by_email = true};
	static struct talk t;

	if (size < 2 || size > 2 * SASL_RESPONSE_MAX)
		return 0;
	t = (struct talk){.start = {.mechanism = data[0] % SASL_MECHANISMS,
				    .plus_offered = data[1] & 1,
				    .exporter = data[1] & 2 ? SLICE(EXPORTER) : SLICE_NONE,
				    .unique = data[1] & 4 ? SLICE(UNIQUE) : SLICE_NONE,
				    .tells_transition = data[1] & 16,
				    .keeps_cram_md5 = true,
				    .host = SLICE("mx.example.com")}};
	t.row = sasl_row(t.start.mechanism);
	t.start.external = &map;
	t.start.certificate = data[1] & 1 ? SLICE_NONE : SLICE("dns:example.com\nemail:" NAME "\nemail:other");
	t.start.judge = (struct sasl_judge){.name = judge, .arg = (void *)(uintptr_t)t.row};
	buf_init(&t.challenge, SASL_CHALLENGE_MAX);
	buf_init(&t.first_challenge, SASL_CHALLENGE_MAX);
	struct sasl_exchange *e = sasl_begin(sasl, &t.start);
	assert(e);
	struct slice rest = slice_of((const char *)data + 2, size - 2);
	enum sasl_result result = data[1] & 8 ? SASL_CHALLENGE : say(&t, e, false, SLICE_NONE);
	while (result == SASL_CHALLENGE && rest.p && t.said < 3) {
		struct slice response = write_response(&t, slice_split(&rest, (char)0xff));
		result = say(&t, e, true, response);
	}
	if (result != SASL_CHALLENGE)
		check_end(&t, e, result);
	sasl_end(e);
	buf_free(&t.challenge);
	buf_free(&t.first_challenge);
	return 0;
}
