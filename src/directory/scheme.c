#include "directory/scheme.h"

#include "base/base64.h"
#include "directory/scram.h"

#include <assert.h>
#include <crypt.h>
#include <string.h>

#define ROUNDS_MAX 1000000 /* of SHA-crypt; a login would take seconds with more */
#define BCRYPT_MAX 16

/* ---- ours ---------------------------------------------------------------------------------------------------- */

static struct slice scram_name(enum scram_hash hash)
{
	return hash == SCRAM_SHA_256 ? SLICE("SCRAM-SHA-256") : SLICE("SCRAM-SHA-1");
}

bool scheme_scram_put(enum scram_hash hash, const struct scram_verifier *v, struct buf *out)
{
	size_t n = scram_key_size(hash);

	buf_add(out, scram_name(hash));
	buf_add_char(out, '$');
	buf_add_u64(out, v->iterations);
	buf_add_char(out, ':');
	base64_encode(slice_of(v->salt, v->salt_n), out);
	buf_add_char(out, '$');
	base64_encode(slice_of(v->stored_key, n), out);
	buf_add_char(out, ':');
	return base64_encode(slice_of(v->server_key, n), out) && !out->failed;
}

/* At least one octet; exactly `n` of them if it is not 0. */
static bool read_base64(struct slice text, uint8_t *into, size_t max, size_t n, size_t *ret_n)
{
	struct buf out = {.p = (char *)into, .cap = max, .max = max};

	if (!base64_decode(text, &out) || buf_len(&out) == 0 || (n && buf_len(&out) != n))
		return false;
	*ret_n = buf_len(&out);
	return true;
}

static bool read_scram_parts(enum scram_hash hash, struct slice iterations, struct slice salt, struct slice stored_key,
			     struct slice server_key, struct scram_verifier *ret)
{
	uint64_t count;
	size_t n = scram_key_size(hash), got;

	*ret = (struct scram_verifier){0};
	if (!slice_u64(iterations, SCRAM_ITERATIONS_MAX, &count) || count < SCRAM_ITERATIONS_MIN ||
	    !read_base64(salt, ret->salt, sizeof ret->salt, 0, &ret->salt_n) ||
	    !read_base64(stored_key, ret->stored_key, sizeof ret->stored_key, n, &got) ||
	    !read_base64(server_key, ret->server_key, sizeof ret->server_key, n, &got)) {
		*ret = (struct scram_verifier){0};
		return false;
	}
	ret->iterations = (uint32_t)count;
	return true;
}

bool scheme_scram_read(struct slice text, enum scram_hash hash, struct scram_verifier *ret)
{
	struct slice rest = text, name = slice_split(&rest, '$');
	struct slice iterations = slice_split(&rest, ':'), salt = slice_split(&rest, '$');
	struct slice stored_key = slice_split(&rest, ':');

	*ret = (struct scram_verifier){0};
	return slice_ieq(name, scram_name(hash)) && read_scram_parts(hash, iterations, salt, stored_key, rest, ret);
}

bool scheme_cram_md5_put(const uint8_t states[CRAM_MD5_STATES], struct buf *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < CRAM_MD5_STATES; i++) {
		buf_add_char(out, digits[states[i] >> 4]);
		buf_add_char(out, digits[states[i] & 15]);
	}
	return !out->failed;
}

static bool read_hex(struct slice text, uint8_t *into, size_t max, size_t *ret_n)
{
	if (text.n % 2 || text.n / 2 > max)
		return false;
	for (size_t i = 0; i < text.n; i += 2) {
		int high = ascii_hex_value(text.p[i]), low = ascii_hex_value(text.p[i + 1]);
		if (high < 0 || low < 0)
			return false;
		into[i / 2] = (uint8_t)(high << 4 | low);
	}
	*ret_n = text.n / 2;
	return true;
}

bool scheme_cram_md5_read(struct slice text, uint8_t ret[CRAM_MD5_STATES])
{
	size_t n;

	return read_hex(text, ret, CRAM_MD5_STATES, &n) && n == CRAM_MD5_STATES;
}

/* ---- hashes of crypt(3) -------------------------------------------------------------------------------------- */

/* What a whole hash looks like, so that half a line is not taken for one. */
static const struct shape {
	const char *prefix;
	size_t whole; /* octets in all; 0: not fixed */
	size_t tail;  /* behind the last '$' */
	const char *name;
} shapes[] = {
	{"$y$", 0, 43, "yescrypt"},      {"$gy$", 0, 43, "gost-yescrypt"}, {"$7$", 0, 43, "scrypt"},
	{"$6$", 0, 86, "SHA512-CRYPT"},  {"$5$", 0, 43, "SHA256-CRYPT"},   {"$2a$", 60, 53, "BLF-CRYPT"},
	{"$2b$", 60, 53, "BLF-CRYPT"},   {"$2y$", 60, 53, "BLF-CRYPT"},    {"$2x$", 60, 53, "BLF-CRYPT"},
	{"$sha1$", 0, 28, "SHA1-CRYPT"}, {"$md5", 0, 22, "SunMD5"},        {"$1$", 0, 22, "MD5-CRYPT"},
	{"$3$", 36, 32, "NTHASH"},
};

static const struct shape *shape_of(struct slice hash)
{
	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (slice_starts(hash, slice_from_cstr(shapes[i].prefix)))
			return &shapes[i];
	return NULL;
}

const char *scheme_name_of(struct slice hash)
{
	const struct shape *shape = shape_of(hash);

	return shape ? shape->name : "DES-CRYPT";
}

static bool all_of(struct slice text, const char *others)
{
	for (size_t i = 0; i < text.n; i++)
		if (!ascii_is_alnum(text.p[i]) && (text.p[i] == '\0' || !strchr(others, text.p[i])))
			return false;
	return true;
}

static bool has_shape(struct slice text)
{
	if (!slice_starts(text, SLICE("$"))) /* DES, and its extended form */
		return (text.n == 13 && all_of(text, "./")) ||
		       (text.n == 20 && text.p[0] == '_' && all_of(slice_skip(text, 1), "./"));
	const struct shape *shape = shape_of(text);
	return shape && (shape->whole == 0 || text.n == shape->whole) &&
	       text.n - slice_rfind(text, '$') - 1 == shape->tail;
}

/* A cost that would keep everybody else waiting at each login. */
static bool is_too_dear(struct slice text)
{
	uint64_t n;

	if (slice_starts(text, SLICE("$2")))
		return !slice_u64(slice_head(slice_skip(text, 4), 2), BCRYPT_MAX, &n);
	size_t at = slice_search(text, SLICE("$rounds="));
	if (at == text.n)
		return false;
	struct slice rest = slice_skip(text, at + 8);
	return !slice_u64(slice_split(&rest, '$'), ROUNDS_MAX, &n);
}

static const char *take_crypt(struct slice text, const char *prefix, struct secrets *ret)
{
	if (prefix && !slice_starts(text, slice_from_cstr(prefix)))
		return "it is no hash of the scheme that it names";
	if (text.n >= sizeof ret->crypt || !all_of(text, "./$=,_") || !has_shape(text))
		return "it is no whole hash of crypt(3); say which scheme it has, such as {PLAIN}";
	if (is_too_dear(text))
		return "to verify it would take too long";
	memcpy(ret->crypt, text.p, text.n);
	if (crypt_checksalt(ret->crypt) == CRYPT_SALT_INVALID)
		return "libcrypt cannot verify this kind of hash; set a new password";
	return NULL;
}

/* ---- schemes ------------------------------------------------------------------------------------------------- */

enum method { METHOD_PLAIN, METHOD_CRYPT, METHOD_SCRAM_SHA_1, METHOD_SCRAM_SHA_256, METHOD_CRAM_MD5, METHOD_NONE };

static const struct scheme {
	const char *name;
	enum method method;
	const char *prefix; /* of the hash; NULL: any */
} schemes[] = {
	{"PLAIN", METHOD_PLAIN, NULL},
	{"CLEAR", METHOD_PLAIN, NULL},
	{"CLEARTEXT", METHOD_PLAIN, NULL},
	{"CRYPT", METHOD_CRYPT, NULL},
	{"SHA512-CRYPT", METHOD_CRYPT, "$6$"},
	{"SHA256-CRYPT", METHOD_CRYPT, "$5$"},
	{"BLF-CRYPT", METHOD_CRYPT, "$2"},
	{"MD5-CRYPT", METHOD_CRYPT, "$1$"},
	{"MD5", METHOD_CRYPT, "$1$"},
	{"DES-CRYPT", METHOD_CRYPT, NULL},
	{"YESCRYPT", METHOD_CRYPT, "$y$"},
	{"SCRAM-SHA-1", METHOD_SCRAM_SHA_1, NULL},
	{"SCRAM-SHA-256", METHOD_SCRAM_SHA_256, NULL},
	{"CRAM-MD5", METHOD_CRAM_MD5, NULL},
	{"HMAC-MD5", METHOD_CRAM_MD5, NULL},
	/* Known, so that the message can say more than "unknown". */
	{"ARGON2I", METHOD_NONE, NULL},
	{"ARGON2ID", METHOD_NONE, NULL},
	{"PBKDF2", METHOD_NONE, NULL},
	{"SHA", METHOD_NONE, NULL},
	{"SHA1", METHOD_NONE, NULL},
	{"SHA256", METHOD_NONE, NULL},
	{"SHA512", METHOD_NONE, NULL},
	{"SSHA", METHOD_NONE, NULL},
	{"SSHA256", METHOD_NONE, NULL},
	{"SSHA512", METHOD_NONE, NULL},
	{"SMD5", METHOD_NONE, NULL},
	{"LDAP-MD5", METHOD_NONE, NULL},
	{"PLAIN-MD4", METHOD_NONE, NULL},
	{"PLAIN-MD5", METHOD_NONE, NULL},
	{"PLAIN-TRUNC", METHOD_NONE, NULL},
	{"DIGEST-MD5", METHOD_NONE, NULL},
	{"LANMAN", METHOD_NONE, NULL},
	{"NTLM", METHOD_NONE, NULL},
	{"OTP", METHOD_NONE, NULL},
	{"RPA", METHOD_NONE, NULL},
	{"SKEY", METHOD_NONE, NULL},
};

enum encoding { ENCODING_NONE, ENCODING_BASE64, ENCODING_HEX, ENCODING_UNKNOWN };

/* "SHA512-CRYPT.HEX": the scheme, and how the field is written. */
static const struct scheme *find_scheme(struct slice name, enum encoding *ret)
{
	struct slice rest = name, base = slice_split(&rest, '.');

	*ret = !rest.p                                                             ? ENCODING_NONE
	       : slice_ieq(rest, SLICE("B64")) || slice_ieq(rest, SLICE("BASE64")) ? ENCODING_BASE64
	       : slice_ieq(rest, SLICE("HEX"))                                     ? ENCODING_HEX
										   : ENCODING_UNKNOWN;
	for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
		if (slice_ieq(base, slice_from_cstr(schemes[i].name)))
			return &schemes[i];
	return NULL;
}

bool scheme_known(struct slice name)
{
	enum encoding encoding;
	const struct scheme *s = find_scheme(name, &encoding);

	return s && s->method != METHOD_NONE && encoding != ENCODING_UNKNOWN;
}

/* "iterations,salt,StoredKey,ServerKey", as Dovecot writes it, or RFC 5803. */
static bool take_scram(struct slice text, enum scram_hash hash, struct secrets *ret)
{
	struct slice rest = text;

	if (slice_find(text, '$') < text.n)
		return scheme_scram_read(text, hash, &ret->scram[hash]);
	struct slice iterations = slice_split(&rest, ','), salt = slice_split(&rest, ',');
	struct slice stored_key = slice_split(&rest, ',');
	return read_scram_parts(hash, iterations, salt, stored_key, rest, &ret->scram[hash]);
}

static const char *take_plain(struct slice text, struct scheme_password *ret)
{
	if (text.n == 0)
		return "the password is empty";
	if (text.n > SECRETS_PASSWORD_MAX)
		return "the password is too long";
	memcpy(ret->plain, text.p, text.n);
	ret->plain_n = text.n;
	ret->kind = SCHEME_PLAIN;
	return NULL;
}

/* Hexadecimal digits, or the octets that they stand for. */
static bool take_cram_md5(struct slice text, struct secrets *ret)
{
	if (text.n == CRAM_MD5_STATES)
		memcpy(ret->cram_md5, text.p, CRAM_MD5_STATES);
	ret->has_cram_md5 = text.n == CRAM_MD5_STATES || scheme_cram_md5_read(text, ret->cram_md5);
	return ret->has_cram_md5;
}

static const char *take(const struct scheme *scheme, struct slice text, struct scheme_password *ret)
{
	const char *why = NULL;

	switch (scheme->method) {
	case METHOD_PLAIN:
		return take_plain(text, ret);
	case METHOD_CRYPT:
		why = take_crypt(text, scheme->prefix, &ret->secrets);
		break;
	case METHOD_SCRAM_SHA_1:
	case METHOD_SCRAM_SHA_256:
		if (!take_scram(text, scheme->method == METHOD_SCRAM_SHA_1 ? SCRAM_SHA_1 : SCRAM_SHA_256,
				&ret->secrets))
			why = "it is no verifier: iterations (4096 or more), salt, StoredKey and ServerKey";
		break;
	case METHOD_CRAM_MD5:
		if (!take_cram_md5(text, &ret->secrets))
			why = "it is not the 64 hexadecimal digits of CRAM-MD5";
		break;
	case METHOD_NONE:
		why = "nothing here can verify this scheme; set a new password";
		break;
	}
	ret->secrets.foreign = true;
	ret->kind = why ? SCHEME_WRONG : SCHEME_SECRETS;
	return why;
}

static const char *decode(enum encoding encoding, struct slice text, struct buf *room, struct slice *ret)
{
	size_t n;

	*ret = text;
	if (encoding == ENCODING_NONE)
		return NULL;
	if (encoding == ENCODING_BASE64 && base64_decode(text, room)) {
		*ret = buf_slice(room);
		return NULL;
	}
	if (encoding == ENCODING_HEX && read_hex(text, (uint8_t *)room->p, room->max, &n)) {
		*ret = slice_of(room->p, n);
		return NULL;
	}
	return encoding == ENCODING_UNKNOWN ? "it is encoded in an unknown way" : "it is not encoded as it says";
}

/* The scheme that a field names, which is taken off it; else the one of the verifiers of RFC 5803; else `otherwise`. */
static struct slice name_of(struct slice *field, struct slice otherwise)
{
	size_t end = slice_find(*field, '}');

	if (slice_starts(*field, SLICE("{")) && end < field->n) {
		struct slice name = slice_of(field->p + 1, end - 1);
		*field = slice_skip(*field, end + 1);
		return name;
	}
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		if (slice_istarts(*field, scram_name(h)) &&
		    slice_starts(slice_skip(*field, scram_name(h).n), SLICE("$")))
			return scram_name(h);
	return otherwise.n ? otherwise : SLICE("CRYPT");
}

static bool is_no_password(struct slice field)
{
	return field.n == 0 || slice_eq(field, SLICE("x")) || slice_eq(field, SLICE("!")) ||
	       slice_eq(field, SLICE("*")) || slice_eq(field, SLICE("*LK*")) || slice_eq(field, SLICE("NP"));
}

void scheme_read(struct slice field, struct slice otherwise, struct scheme_password *ret, struct buf *why)
{
	char room[2 * SECRETS_PASSWORD_MAX];
	struct buf decoded = {.p = room, .cap = sizeof room, .max = sizeof room};
	enum encoding encoding;

	*ret = (struct scheme_password){.kind = SCHEME_NONE};
	bool is_plain = otherwise.n && find_scheme(otherwise, &encoding) &&
			find_scheme(otherwise, &encoding)->method == METHOD_PLAIN;
	/* A password in clear may begin with anything. */
	while (!is_plain && field.n > 0 && (field.p[0] == '!' || slice_starts(field, SLICE("*LOCKED*")))) {
		ret->locked = true;
		field = slice_skip(field, field.p[0] == '!' ? 1 : 8);
	}
	if (!is_plain && is_no_password(field))
		return;
	struct slice name = name_of(&field, otherwise), text;
	const struct scheme *scheme = find_scheme(name, &encoding);
	ret->kind = SCHEME_WRONG;
	if (!scheme) {
		buf_printf(why, "there is no scheme {%.*s}", SLICE_ARGS(slice_head(name, 40)));
		return;
	}
	const char *problem = decode(encoding, field, &decoded, &text);
	if (!problem)
		problem = take(scheme, text, ret);
	explicit_bzero(room, sizeof room);
	if (problem)
		buf_printf(why, "{%s}: %s", scheme->name, problem);
}
