#include "directory/sasl_private.h"

#include "base/base64.h"
#include "base/heap.h"

#include <assert.h>
#include <string.h>

static const struct sasl_row rows[SASL_MECHANISMS] = {
	[SASL_EXTERNAL] = {"EXTERNAL", .certified = true, .one_step = true},
	[SASL_SCRAM_SHA_256_PLUS] = {"SCRAM-SHA-256-PLUS", .scram = true, .plus = true, .hash = SCRAM_SHA_256},
	[SASL_SCRAM_SHA_256] = {"SCRAM-SHA-256", .scram = true, .hash = SCRAM_SHA_256},
	[SASL_SCRAM_SHA_1_PLUS] = {"SCRAM-SHA-1-PLUS", .scram = true, .plus = true, .hash = SCRAM_SHA_1},
	[SASL_SCRAM_SHA_1] = {"SCRAM-SHA-1", .scram = true, .hash = SCRAM_SHA_1},
	[SASL_CRAM_MD5] = {"CRAM-MD5", .server_first = true},
	[SASL_PLAIN] = {"PLAIN", .shows = true, .one_step = true, .slow = true},
	/* It begins with the server's "Username:", but clients that send the name at once are everywhere. */
	[SASL_LOGIN] = {"LOGIN", .shows = true, .slow = true},
	[SASL_OAUTHBEARER] = {"OAUTHBEARER", .token = true},
	[SASL_XOAUTH2] = {"XOAUTH2", .token = true},
};

const struct sasl_row *sasl_row(enum sasl_mechanism mechanism)
{
	assert(mechanism < SASL_MECHANISMS);
	return &rows[mechanism];
}

bool sasl_find(struct slice name, enum sasl_mechanism *ret)
{
	for (enum sasl_mechanism m = 0; m < SASL_MECHANISMS; m++)
		if (slice_ieq(slice_from_cstr(rows[m].name), name)) {
			*ret = m;
			return true;
		}
	return false;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct sasl *sasl_new(struct accounts *accounts)
{
	struct sasl *s = heap_new(struct sasl);

	if (!s)
		return NULL;
	s->accounts = accounts;
	if (gsasl_init(&s->library) != GSASL_OK) {
		heap_free(s);
		return NULL;
	}
	gsasl_callback_set(s->library, sasl_scram_property);
	return s;
}

void sasl_free(struct sasl *s)
{
	if (!s)
		return;
	gsasl_done(s->library);
	heap_free(s);
}

static size_t keep(void *to, size_t room, struct slice from)
{
	size_t n = from.n < room ? from.n : room;

	if (n)
		memcpy(to, from.p, n);
	return n;
}

static void make_cram_challenge(struct sasl_exchange *e, const struct sasl_start *start)
{
	struct buf text = {.p = e->challenge, .cap = sizeof e->challenge, .max = sizeof e->challenge};

	buf_add_char(&text, '<');
	for (size_t i = 0; i < SASL_CHANCE; i++)
		buf_printf(&text, "%02x", start->chance[i]);
	buf_printf(&text, ".%lld@%.*s>", (long long)start->now, SLICE_ARGS(slice_head(start->host, SASL_LOGIN_MAX)));
	assert(!text.failed);
	e->challenge_n = buf_len(&text);
}

struct sasl_exchange *sasl_begin(struct sasl *s, const struct sasl_start *start)
{
	struct sasl_exchange *e = heap_new(struct sasl_exchange);

	if (!e)
		return NULL;
	*e = (struct sasl_exchange){.sasl = s,
				    .row = sasl_row(start->mechanism),
				    .mechanism = start->mechanism,
				    .judge = start->judge,
				    .plus_offered = start->plus_offered,
				    .tells_transition = start->tells_transition,
				    .tokens = start->tokens ? tokens_ref(start->tokens) : NULL,
				    .begun = start->now,
				    .keeps_cram_md5 = start->keeps_cram_md5};
	if (start->plus_offered) { /* else nobody may ask for it */
		e->exporter.n = keep(e->exporter.octets, sizeof e->exporter.octets, start->exporter);
		e->unique.n = keep(e->unique.octets, sizeof e->unique.octets, start->unique);
	}
	buf_init(&e->why, SASL_WHY_MAX);
	buf_init(&e->logins, 2 * EXTERNAL_NAMES_MAX);
	if (start->mechanism == SASL_CRAM_MD5)
		make_cram_challenge(e, start);
	if (start->mechanism == SASL_EXTERNAL && start->external)
		external_logins(start->external, start->certificate, &e->logins);
	if (!e->row->scram || sasl_scram_begin(e))
		return e;
	sasl_end(e);
	return NULL;
}

static void forget_account(struct sasl_exchange *e)
{
	if (e->account)
		account_wipe(e->account);
	heap_free(e->account);
	e->account = NULL;
}

void sasl_end(struct sasl_exchange *e)
{
	if (!e)
		return;
	if (e->row->scram)
		sasl_scram_end(e);
	forget_account(e);
	buf_free(&e->why);
	buf_free(&e->logins);
	tokens_unref(e->tokens);
	explicit_bzero(e, sizeof *e);
	heap_free(e);
}

bool sasl_is_refused(const struct sasl_exchange *e)
{
	return e->refused;
}

struct slice sasl_login(const struct sasl_exchange *e)
{
	return slice_of(e->login, e->login_n);
}

const struct account *sasl_account(const struct sasl_exchange *e)
{
	assert(e->account);
	return e->account;
}

struct slice sasl_why(const struct sasl_exchange *e)
{
	return buf_slice(&e->why);
}

/* ---- verdicts ---------------------------------------------------------------------------------------------------- */

enum sasl_result sasl_fail(struct sasl_exchange *e, enum sasl_result result, const char *why)
{
	if (buf_len(&e->why) == 0)
		buf_add(&e->why, slice_from_cstr(why));
	return result;
}

static const char *text_of(enum sasl_result result)
{
	return result == SASL_WEAK ? "the account may not use this mechanism" : "too many attempts failed";
}

enum sasl_result sasl_look_up(struct sasl_exchange *e, struct slice login)
{
	if (!e->account)
		e->account = heap_new(struct account);
	if (!e->account)
		return sasl_fail(e, SASL_UNAVAILABLE, "there is no memory");
	enum accounts_result found = accounts_find(e->sasl->accounts, login, e->account, &e->why);
	if (found == ACCOUNTS_MISSING)
		buf_reset(&e->why);
	else if (found != ACCOUNTS_OK)
		return sasl_fail(e, SASL_UNAVAILABLE, accounts_result_text(found));
	e->login_n = keep(e->login, sizeof e->login, e->account->name);
	enum sasl_result judged = e->judge.name ? e->judge.name(e->judge.arg, sasl_login(e)) : SASL_CHALLENGE;
	return judged == SASL_CHALLENGE ? judged : sasl_fail(e, judged, text_of(judged));
}

enum sasl_result sasl_admit(struct sasl_exchange *e)
{
	if (!e->account->known)
		return sasl_fail(e, SASL_WRONG, "unknown user");
	if (!e->account->enabled)
		return sasl_fail(e, SASL_DISABLED,
				 e->account->disabled_itself ? "the account is disabled" : "its domain is disabled");
	return SASL_GOOD;
}

bool sasl_is_own_identity(const struct sasl_exchange *e, struct slice identity)
{
	char room[2 * ACCOUNT_NAME_MAX];
	struct buf canonical = {.p = room, .cap = sizeof room, .max = sizeof room};
	const char *why;

	return identity.n == 0 ||
	       (account_name_canonical(identity, &canonical, &why) && slice_eq(buf_slice(&canonical), sasl_login(e)));
}

/* The password as it was sent, by PLAIN or LOGIN. */
static enum sasl_result check_password(struct sasl_exchange *e, struct slice login, struct slice password,
				       struct slice identity)
{
	enum sasl_result result = sasl_look_up(e, login);

	if (result != SASL_CHALLENGE)
		return result;
	enum secrets_result verified = secrets_verify(&e->account->secrets, password);
	if (verified == SECRETS_TROUBLE)
		return sasl_fail(e, SASL_UNAVAILABLE, "a password cannot be verified now");
	if (verified != SECRETS_OK)
		return sasl_fail(e, SASL_WRONG, e->account->known ? "wrong password" : "unknown user");
	if (!sasl_is_own_identity(e, identity))
		return sasl_fail(e, SASL_WRONG, "another identity than the user's own");
	result = sasl_admit(e);
	if (result == SASL_GOOD && e->judge.renew && secrets_outdated(&e->account->secrets, e->keeps_cram_md5))
		e->judge.renew(e->judge.arg, e->account, password);
	return result;
}

/* ---- PLAIN and LOGIN --------------------------------------------------------------------------------------------- */

/* RFC 4616 2: [authzid] NUL authcid NUL passwd, and no other NUL. */
static enum sasl_result step_plain(struct sasl_exchange *e, struct slice response)
{
	struct slice rest = response, identity = slice_split(&rest, '\0'), login = SLICE_NONE;

	if (rest.p)
		login = slice_split(&rest, '\0');
	if (!rest.p || slice_find(rest, '\0') < rest.n || login.n == 0 || rest.n == 0)
		return sasl_fail(e, SASL_WRONG, "the response is malformed");
	return check_password(e, login, rest, identity);
}

/* The words that its only description, a draft that ran out, and its clients know. */
static enum sasl_result step_login(struct sasl_exchange *e, struct slice response, struct buf *challenge)
{
	if (e->steps == 2)
		return check_password(e, slice_of(e->named, e->named_n), response, SLICE_NONE);
	if (response.n == 0 || response.n > sizeof e->named)
		return sasl_fail(e, SASL_WRONG, "the response is malformed");
	e->named_n = keep(e->named, sizeof e->named, response);
	e->steps = 2;
	buf_add_lit(challenge, "Password:");
	return SASL_CHALLENGE;
}

/* ---- CRAM-MD5 ---------------------------------------------------------------------------------------------------- */

/* RFC 2195 2: the name, a space, and the digest in hexadecimal digits of lower case. */
static enum sasl_result step_cram_md5(struct sasl_exchange *e, struct slice response)
{
	static const char digits[] = "0123456789abcdef";
	static const struct secrets nobodys = {.has_cram_md5 = true};
	size_t space = slice_rfind(response, ' ');
	uint8_t digest[MD5_SIZE];
	char text[2 * MD5_SIZE];

	if (space == response.n || space == 0)
		return sasl_fail(e, SASL_WRONG, "the response is malformed");
	enum sasl_result result = sasl_look_up(e, slice_head(response, space));
	if (result != SASL_CHALLENGE)
		return result;
	struct account *a = e->account;
	if (e->tells_transition && a->known && !a->secrets.has_cram_md5 && a->secrets.crypt[0])
		return sasl_fail(e, SASL_TRANSITION, NOTHING_KEPT);
	bool has = a->secrets.has_cram_md5;
	secrets_cram_md5(has ? &a->secrets : &nobodys, slice_of(e->challenge, e->challenge_n), digest);
	for (size_t i = 0; i < MD5_SIZE; i++) {
		text[2 * i] = digits[digest[i] >> 4];
		text[2 * i + 1] = digits[digest[i] & 15];
	}
	bool same = secrets_equal(slice_of(text, sizeof text), slice_skip(response, space + 1));
	explicit_bzero(digest, sizeof digest);
	explicit_bzero(text, sizeof text);
	if (same && has)
		return sasl_admit(e);
	if (!a->known)
		return sasl_fail(e, SASL_WRONG, "unknown user");
	return sasl_fail(e, SASL_WRONG, has ? "wrong password" : NOTHING_KEPT);
}

/* ---- EXTERNAL ---------------------------------------------------------------------------------------------------- */

/* As whom: the identity that was asked for, if the certificate has it; without one, the first that it has. */
static bool choose_login(const struct sasl_exchange *e, struct slice identity, struct slice *ret)
{
	char asked_room[2 * ACCOUNT_NAME_MAX], room[2 * ACCOUNT_NAME_MAX];
	struct buf asked = {.p = asked_room, .cap = sizeof asked_room, .max = sizeof asked_room};
	const char *why;

	if (identity.n > 0 && !account_name_canonical(identity, &asked, &why))
		return false;
	for (struct slice rest = buf_slice(&e->logins); rest.n > 0;) {
		struct buf canonical = {.p = room, .cap = sizeof room, .max = sizeof room};
		*ret = slice_split(&rest, '\n');
		if (identity.n == 0)
			return true;
		if (account_name_canonical(*ret, &canonical, &why) &&
		    slice_eq(buf_slice(&canonical), buf_slice(&asked)))
			return true;
	}
	return false;
}

/* RFC 4422 A.1: the identity to act as, or nothing. */
static enum sasl_result step_external(struct sasl_exchange *e, struct slice response)
{
	struct slice login;

	if (slice_find(response, '\0') < response.n)
		return sasl_fail(e, SASL_WRONG, "the response is malformed");
	if (e->logins.failed)
		return sasl_fail(e, SASL_UNAVAILABLE, "there is no memory");
	if (buf_len(&e->logins) == 0)
		return sasl_fail(e, SASL_WRONG, "no account belongs to the certificate");
	if (!choose_login(e, response, &login))
		return sasl_fail(e, SASL_WRONG, "another identity than those of the certificate");
	enum sasl_result result = sasl_look_up(e, login);
	return result == SASL_CHALLENGE ? sasl_admit(e) : result;
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

bool sasl_is_slow(const struct sasl_exchange *e)
{
	return e->row->slow && (e->mechanism != SASL_LOGIN || e->steps == 2);
}

/* Nothing was said yet: what the server says first. */
static enum sasl_result open_exchange(struct sasl_exchange *e, struct buf *challenge)
{
	if (e->mechanism == SASL_LOGIN)
		buf_add_lit(challenge, "Username:");
	else if (e->mechanism == SASL_CRAM_MD5)
		buf_add(challenge, slice_of(e->challenge, e->challenge_n));
	return SASL_CHALLENGE;
}

static enum sasl_result step(struct sasl_exchange *e, struct slice response, struct buf *challenge)
{
	switch (e->mechanism) {
	case SASL_EXTERNAL:
		return step_external(e, response);
	case SASL_CRAM_MD5:
		return step_cram_md5(e, response);
	case SASL_PLAIN:
		return step_plain(e, response);
	case SASL_LOGIN:
		return step_login(e, response, challenge);
	case SASL_OAUTHBEARER:
	case SASL_XOAUTH2:
		return sasl_token_step(e, response, challenge);
	default:
		return sasl_scram_step(e, response, challenge);
	}
}

enum sasl_result sasl_step(struct sasl_exchange *e, bool given, struct slice response, struct buf *challenge)
{
	enum sasl_result result;

	buf_reset(challenge);
	if (!given && e->steps == 0) {
		e->steps = 1;
		result = open_exchange(e, challenge);
	} else if (response.n > SASL_RESPONSE_MAX || (e->row->server_first && e->steps == 0)) {
		result = sasl_fail(e, SASL_WRONG, "the response is malformed");
	} else {
		result = step(e, response, challenge);
	}
	if (challenge->failed)
		result = sasl_fail(e, SASL_UNAVAILABLE, "there is no memory");
	if (result != SASL_GOOD)
		forget_account(e);
	return result;
}
