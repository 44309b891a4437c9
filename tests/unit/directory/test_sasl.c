/*
 * Exchanges, with GNU SASL's client on the other side where it has the mechanism.
 */
#include "accounts_test.h"

#include "directory/sasl.h"

#include <gsasl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define EXPORTER "0123456789abcdef0123456789abcdef"
#define UNIQUE   "unique-value"

static struct accounts *db;
static struct sasl *sasl;
static struct buf challenge;
static char judged[SASL_LOGIN_MAX + 1];
static enum sasl_result judgement;
static unsigned renewed;

static enum sasl_result judge(void *arg, struct slice login)
{
	(void)arg;
	snprintf(judged, sizeof judged, "%.*s", SLICE_ARGS(login));
	return judgement;
}

static void renew(void *arg, const struct account *a, struct slice password)
{
	(void)arg;
	assert_true(a->known);
	assert_slice(password, "wonderland");
	renewed++;
}

static void make(const char *password, bool cram, struct secrets *ret)
{
	static const uint8_t chance[SECRETS_CHANCE] = "some octets that nobody else has, forty-eight!!";
	const char *why;

	assert_int_equal(secrets_make(text(password), cram, chance, ret, &why), SECRETS_OK);
}

/* alice and bob (disabled), and carol, of whose password there is a hash alone. */
static int make_accounts(void **state)
{
	struct secrets all, hash = {.foreign = true};
	int rc = begin(state);

	make("wonderland", true, &all);
	memcpy(hash.crypt, all.crypt, sizeof hash.crypt);
	db = writer();
	assert_int_equal(accounts_add(db, SLICE("alice@example.com"), &all, NOW), ACCOUNTS_OK);
	assert_int_equal(accounts_add(db, SLICE("bob"), &all, NOW), ACCOUNTS_OK);
	assert_int_equal(accounts_set_enabled(db, SLICE("bob"), false), ACCOUNTS_OK);
	assert_int_equal(accounts_add(db, SLICE("carol"), &hash, NOW), ACCOUNTS_OK);
	assert_int_equal(accounts_add(db, SLICE("j\xc3\xb6rg"), &all, NOW), ACCOUNTS_OK);
	accounts_close(db);
	return rc;
}

static int begin_exchange(void **state)
{
	(void)state;
	db = reader();
	sasl = sasl_new(db);
	assert_non_null(sasl);
	buf_init(&challenge, SASL_CHALLENGE_MAX);
	judged[0] = '\0';
	judgement = SASL_CHALLENGE;
	renewed = 0;
	return 0;
}

static int end_exchange(void **state)
{
	(void)state;
	buf_free(&challenge);
	sasl_free(sasl);
	accounts_close(db);
	return 0;
}

static struct sasl_start starting(enum sasl_mechanism mechanism)
{
	return (struct sasl_start){.mechanism = mechanism,
				   .host = SLICE("mx.example.com"),
				   .keeps_cram_md5 = true,
				   .now = NOW,
				   .chance = {0xab, 0xcd},
				   .judge = {.name = judge, .renew = renew}};
}

static struct sasl_exchange *started(const struct sasl_start *start)
{
	struct sasl_exchange *e = sasl_begin(sasl, start);

	assert_non_null(e);
	return e;
}

/* The octets end where they end. */
static enum sasl_result say(struct sasl_exchange *e, struct slice response)
{
	char *copy = test_exact_copy(response);
	enum sasl_result result = sasl_step(e, true, slice_of(copy, response.n), &challenge);

	free(copy);
	return result;
}

/* The outcome of one response, and what the log is told of it. */
static void one_response(enum sasl_mechanism m, struct slice response, enum sasl_result expected, const char *why)
{
	struct sasl_start start = starting(m);
	struct sasl_exchange *e = started(&start);

	assert_int_equal(say(e, response), expected);
	if (expected == SASL_GOOD)
		assert_true(sasl_account(e)->known);
	else
		assert_slice(sasl_why(e), why);
	sasl_end(e);
}

/* ---- PLAIN ------------------------------------------------------------------------------------------------------- */

static void plain_takes_three_fields_and_no_other(void **state)
{
	(void)state;
	static const struct slice malformed[] = {
		{"", 0},
		{"\0", 1},
		{"\0\0", 2},
		{"\0alice@example.com", 18},
		{"\0alice@example.com\0", 19},
		{"\0\0wonderland", 12},
		{"alice@example.com\0wonderland", 28},
		{"\0alice@example.com\0wonderland\0", 30},
		{"\0alice@example.com\0wonder\0land", 30},
		{"a\0b\0c\0d", 7},
		{"wonderland", 10},
	};

	for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++)
		one_response(SASL_PLAIN, malformed[i], SASL_WRONG, "the response is malformed");
	one_response(SASL_PLAIN, (struct slice){"\0alice@example.com\0wonderland", 29}, SASL_GOOD, "");
	assert_string_equal(judged, "alice@example.com");
}

static void plain_knows_who_is_there(void **state)
{
	(void)state;
	static const struct {
		struct slice response;
		enum sasl_result result;
		const char *why;
	} rows[] = {
		{{"\0Alice@EXAMPLE.com\0wonderland", 29}, SASL_GOOD, ""},
		{{"alice@example.com\0ALICE@example.com\0wonderland", 46}, SASL_GOOD, ""},
		{{"bob\0alice@example.com\0wonderland", 32}, SASL_WRONG, "another identity than the user's own"},
		{{"\0alice@example.com\0wonderlan", 28}, SASL_WRONG, "wrong password"},
		{{"\0alice@example.com\0wonderlandx", 30}, SASL_WRONG, "wrong password"},
		{{"\0alice@example.com\0\xff\xfe", 21}, SASL_WRONG, "wrong password"},
		{{"\0alice\0wonderland", 17}, SASL_WRONG, "unknown user"},
		{{"\0no such\0wonderland", 19}, SASL_WRONG, "unknown user"},
		{{"\0\xff\0wonderland", 13}, SASL_WRONG, "unknown user"},
		{{"\0bob\0wonderland", 15}, SASL_DISABLED, "the account is disabled"},
		{{"\0bob\0wrong", 10}, SASL_WRONG, "wrong password"},
		{{"\0carol\0wonderland", 17}, SASL_GOOD, ""},
		{{"\0j\xc3\xb6rg\0wonderland", 17}, SASL_GOOD, ""},
		{{"\0jo\xcc\x88rg\0wonderland", 18}, SASL_GOOD, ""}, /* the same, decomposed: SASLprep */
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		one_response(SASL_PLAIN, rows[i].response, rows[i].result, rows[i].why);
	assert_int_equal(renewed, 1); /* carol's */
}

static void plain_without_initial_response_is_asked_for_it(void **state)
{
	(void)state;
	struct sasl_start start = starting(SASL_PLAIN);
	struct sasl_exchange *e = started(&start);

	assert_int_equal(sasl_step(e, false, SLICE_NONE, &challenge), SASL_CHALLENGE);
	assert_slice(buf_slice(&challenge), "");
	assert_true(sasl_is_slow(e));
	assert_int_equal(say(e, (struct slice){"\0alice@example.com\0wonderland", 29}), SASL_GOOD);
	assert_slice(sasl_login(e), "alice@example.com");
	assert_slice(sasl_account(e)->name, "alice@example.com");
	sasl_end(e);
}

static void a_response_that_is_too_long_is_refused(void **state)
{
	(void)state;
	static char text[SASL_RESPONSE_MAX + 1];

	for (enum sasl_mechanism m = 0; m < SASL_MECHANISMS; m++) {
		struct sasl_start start = starting(m);
		struct sasl_exchange *e = started(&start);

		assert_int_equal(say(e, slice_of(text, sizeof text)), SASL_WRONG);
		sasl_end(e);
	}
}

/* ---- LOGIN ------------------------------------------------------------------------------------------------------- */

static void login_asks_for_name_and_password(void **state)
{
	(void)state;
	for (int with_name = 0; with_name < 2; with_name++) {
		struct sasl_start start = starting(SASL_LOGIN);
		struct sasl_exchange *e = started(&start);

		if (!with_name) {
			assert_int_equal(sasl_step(e, false, SLICE_NONE, &challenge), SASL_CHALLENGE);
			assert_slice(buf_slice(&challenge), "Username:");
		}
		assert_false(sasl_is_slow(e));
		assert_int_equal(say(e, SLICE("alice@example.com")), SASL_CHALLENGE);
		assert_slice(buf_slice(&challenge), "Password:");
		assert_true(sasl_is_slow(e));
		assert_int_equal(say(e, with_name ? SLICE("wonderland") : SLICE("wrong")),
				 with_name ? SASL_GOOD : SASL_WRONG);
		sasl_end(e);
	}
	one_response(SASL_LOGIN, SLICE(""), SASL_WRONG, "the response is malformed");
}

/* ---- EXTERNAL ---------------------------------------------------------------------------------------------------- */

static const struct slice printer[] = {{"dns:printer.example.com", 23}, {"key:00", 6}};
static const struct external_rule external_rules[] = {{{"bob", 3}, printer, 1}, {{"carol", 5}, printer, 2}};

static void external_is_what_the_certificate_says(void **state)
{
	(void)state;
	static const struct {
		const char *names, *identity;
		enum sasl_result result;
		const char *said; /* the login, or why not */
	} rows[] = {
		{"email:alice@example.com", "", SASL_GOOD, "alice@example.com"},
		{"key:11\nemail:ALICE@Example.com", "", SASL_GOOD, "alice@example.com"},
		{"email:alice@example.com", "alice@example.com", SASL_GOOD, "alice@example.com"},
		{"email:alice@example.com", "Alice@EXAMPLE.com", SASL_GOOD, "alice@example.com"},
		{"email:x@example.com\nemail:alice@example.com", "alice@example.com", SASL_GOOD, "alice@example.com"},
		{"email:x@example.com\nemail:alice@example.com", "", SASL_WRONG, "unknown user"},
		{"email:alice@example.com", "bob", SASL_WRONG, "another identity than those of the certificate"},
		{"email:alice@example.com", "alice", SASL_WRONG, "another identity than those of the certificate"},
		{"email:alice@example.com", "\xff", SASL_WRONG, "another identity than those of the certificate"},
		{"dns:Printer.example.com", "", SASL_DISABLED, "the account is disabled"},
		{"dns:printer.example.com", "carol", SASL_GOOD, "carol"},
		{"dns:printer.example.com\nemail:alice@example.com", "alice@example.com", SASL_GOOD,
		 "alice@example.com"},
		{"dns:alice@example.com", "", SASL_WRONG, "no account belongs to the certificate"},
		{"email:", "", SASL_WRONG, "no account belongs to the certificate"},
		{"", "", SASL_WRONG, "no account belongs to the certificate"},
		{"", "alice@example.com", SASL_WRONG, "no account belongs to the certificate"},
	};
	const struct external_map map = {external_rules, 2, true};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int asked = 0; asked < 2; asked++) {
			struct sasl_start start = starting(SASL_EXTERNAL);
			start.external = &map;
			start.certificate = slice_from_cstr(rows[i].names);
			struct sasl_exchange *e = started(&start);
			assert_false(sasl_is_slow(e));
			if (asked) {
				assert_int_equal(sasl_step(e, false, SLICE_NONE, &challenge), SASL_CHALLENGE);
				assert_int_equal(buf_len(&challenge), 0);
			}
			assert_int_equal(say(e, slice_from_cstr(rows[i].identity)), rows[i].result);
			assert_slice(rows[i].result == SASL_GOOD ? sasl_login(e) : sasl_why(e), rows[i].said);
			sasl_end(e);
		}
}

static void external_without_its_rules_lets_nobody_in(void **state)
{
	(void)state;
	const struct external_map closed = {external_rules, 2, false};
	struct sasl_start start = starting(SASL_EXTERNAL);
	struct sasl_exchange *e;

	start.certificate = SLICE("email:alice@example.com");
	for (int i = 0; i < 2; i++) {
		start.external = i ? &closed : NULL;
		e = started(&start);
		assert_int_equal(say(e, SLICE("")), SASL_WRONG);
		sasl_end(e);
	}
	start.external = &(struct external_map){.by_email = true};
	e = started(&start);
	assert_int_equal(say(e, SLICE("alice@example.com\0")), SASL_WRONG);
	assert_slice(sasl_why(e), "the response is malformed");
	sasl_end(e);
	judgement = SASL_LIMITED;
	e = started(&start);
	assert_int_equal(say(e, SLICE("")), SASL_LIMITED);
	assert_string_equal(judged, "alice@example.com");
	sasl_end(e);
}

static void names_of_certificates(void **state)
{
	(void)state;
	static const char digits[] = "key:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	static const char *const good[] = {"email:a", "dns:a.b", "uri:urn:x", digits};
	static const char *const bad[] = {"", "email:", "mail:a", "a", "dns:a b", "dns:a\nb", "dns:\xc3\xa9", "key:",
					  "key:0A",
					  "key:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"};

	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		assert_true(external_name_valid(slice_from_cstr(good[i])));
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(external_name_valid(slice_from_cstr(bad[i])));
	assert_false(external_name_valid(slice_head(slice_from_cstr(digits), sizeof digits - 2)));
}

/* ---- CRAM-MD5 ---------------------------------------------------------------------------------------------------- */

static void digest(struct slice about, const char *password, char ret[33])
{
	unsigned char octets[16];
	unsigned n = sizeof octets;

	HMAC(EVP_md5(), password, (int)strlen(password), (const unsigned char *)about.p, about.n, octets, &n);
	for (size_t i = 0; i < sizeof octets; i++)
		snprintf(ret + 2 * i, 3, "%02x", octets[i]);
}

static enum sasl_result cram(const struct sasl_start *start, const char *name, const char *password, const char *more)
{
	struct sasl_exchange *e = started(start);
	char answer[200], hex[33];

	assert_int_equal(sasl_step(e, false, SLICE_NONE, &challenge), SASL_CHALLENGE);
	assert_slice(buf_slice(&challenge), "<abcd0000000000000000000000000000.1700000000000@mx.example.com>");
	digest(buf_slice(&challenge), password, hex);
	snprintf(answer, sizeof answer, "%s %s%s", name, hex, more);
	enum sasl_result result = say(e, text(answer));
	sasl_end(e);
	return result;
}

static void cram_md5_by_what_is_kept_for_it(void **state)
{
	(void)state;
	struct sasl_start start = starting(SASL_CRAM_MD5);

	assert_int_equal(cram(&start, "Alice@example.com", "wonderland", ""), SASL_GOOD);
	assert_int_equal(cram(&start, "alice@example.com", "wrong", ""), SASL_WRONG);
	assert_int_equal(cram(&start, "alice@example.com", "wonderland", "0"), SASL_WRONG);
	assert_int_equal(cram(&start, "nobody", "wonderland", ""), SASL_WRONG);
	assert_int_equal(cram(&start, "", "wonderland", ""), SASL_WRONG);
	assert_int_equal(cram(&start, "bob", "wonderland", ""), SASL_DISABLED);
	assert_int_equal(cram(&start, "carol", "wonderland", ""), SASL_WRONG);
	start.tells_transition = true;
	assert_int_equal(cram(&start, "carol", "wonderland", ""), SASL_TRANSITION);
	assert_int_equal(cram(&start, "nobody", "wonderland", ""), SASL_WRONG);
	one_response(SASL_CRAM_MD5, SLICE("alice x"), SASL_WRONG, "the response is malformed"); /* an initial one */
}

static void cram_md5_does_not_take_the_keys_of_nobody(void **state)
{
	(void)state;
	static const char *const answers[] = {"carol 00000000000000000000000000000000", "carol ", "carol",
					      "nobody 00000000000000000000000000000000"};
	struct sasl_start start = starting(SASL_CRAM_MD5);

	for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
		struct sasl_exchange *e = started(&start);
		sasl_step(e, false, SLICE_NONE, &challenge);
		assert_int_equal(say(e, text(answers[i])), SASL_WRONG);
		sasl_end(e);
	}
}

/* ---- SCRAM ------------------------------------------------------------------------------------------------------- */

struct client {
	const char *login, *identity, *password;
	bool exporter, unique; /* has such a binding to show */
};

static int client_property(Gsasl *ctx, Gsasl_session *session, Gsasl_property property)
{
	const struct client *c = gsasl_session_hook_get(session);
	char *base64 = NULL;

	(void)ctx;
	if (property == GSASL_AUTHID)
		return gsasl_property_set(session, property, c->login);
	if (property == GSASL_AUTHZID && c->identity)
		return gsasl_property_set(session, property, c->identity);
	if (property == GSASL_PASSWORD)
		return gsasl_property_set(session, property, c->password);
	if ((property == GSASL_CB_TLS_EXPORTER && c->exporter) || (property == GSASL_CB_TLS_UNIQUE && c->unique)) {
		const char *octets = property == GSASL_CB_TLS_EXPORTER ? EXPORTER : UNIQUE;
		gsasl_base64_to(octets, strlen(octets), &base64, NULL);
		int rc = gsasl_property_set(session, property, base64);
		gsasl_free(base64);
		return rc;
	}
	return GSASL_NO_CALLBACK;
}

/* The whole exchange. `first`: with an initial response. */
static enum sasl_result scram(const struct sasl_start *start, struct client c, bool first, unsigned *ret_steps)
{
	struct sasl_exchange *e = started(start);
	enum sasl_result result = SASL_CHALLENGE;
	Gsasl_session *session;
	Gsasl *library;
	unsigned steps = 0;
	bool over = false;

	assert_int_equal(gsasl_init(&library), GSASL_OK);
	gsasl_callback_set(library, client_property);
	assert_int_equal(gsasl_client_start(library, sasl_row(start->mechanism)->name, &session), GSASL_OK);
	gsasl_session_hook_set(session, &c);
	buf_reset(&challenge);
	if (!first)
		result = sasl_step(e, false, SLICE_NONE, &challenge);
	while (result == SASL_CHALLENGE && steps++ < 5) {
		char *out = NULL;
		size_t n = 0;
		int rc = over ? GSASL_OK : gsasl_step(session, buf_slice(&challenge).p, buf_len(&challenge), &out, &n);
		if (rc != GSASL_OK && rc != GSASL_NEEDS_MORE)
			break; /* the client will have none of it */
		over = rc == GSASL_OK;
		result = say(e, slice_of(out, n));
		gsasl_free(out);
	}
	if (result == SASL_GOOD)
		assert_true(over); /* the client has seen that it is the right server */
	gsasl_finish(session);
	gsasl_done(library);
	sasl_end(e);
	if (ret_steps)
		*ret_steps = steps;
	return result;
}

static const struct client alice = {"alice@example.com", NULL, "wonderland", false, false};

static void scram_of_each_kind(void **state)
{
	(void)state;
	static const enum sasl_mechanism plain[] = {SASL_SCRAM_SHA_256, SASL_SCRAM_SHA_1};
	unsigned steps;

	for (size_t i = 0; i < 2; i++) {
		struct sasl_start start = starting(plain[i]);
		struct client c = alice;
		assert_int_equal(scram(&start, c, true, &steps), SASL_GOOD);
		assert_int_equal(steps, 3);
		assert_int_equal(scram(&start, c, false, NULL), SASL_GOOD);
		c.identity = "alice@example.com";
		assert_int_equal(scram(&start, c, true, NULL), SASL_GOOD);
		c.identity = "bob";
		assert_int_equal(scram(&start, c, true, NULL), SASL_WRONG);
		c = alice;
		c.password = "wrong";
		assert_int_equal(scram(&start, c, true, NULL), SASL_WRONG);
		c = alice;
		c.login = "ALICE@Example.COM";
		assert_int_equal(scram(&start, c, true, NULL), SASL_GOOD);
		c.login = "bob";
		assert_int_equal(scram(&start, c, true, NULL), SASL_DISABLED);
		c.password = "wrong";
		assert_int_equal(scram(&start, c, true, NULL), SASL_WRONG);
	}
}

static void scram_without_what_it_needs(void **state)
{
	(void)state;
	struct sasl_start start = starting(SASL_SCRAM_SHA_256);
	struct client c = {"carol", NULL, "wonderland", false, false};

	assert_int_equal(scram(&start, c, true, NULL), SASL_WRONG);
	c.login = "nobody";
	assert_int_equal(scram(&start, c, true, NULL), SASL_WRONG);
	start.tells_transition = true;
	assert_int_equal(scram(&start, c, true, NULL), SASL_WRONG);
	c.login = "carol";
	assert_int_equal(scram(&start, c, true, NULL), SASL_TRANSITION);
}

/* The first words of the server to `login`. */
static void first_words(const struct sasl_start *start, const char *login, char ret[300])
{
	struct sasl_exchange *e = started(start);
	char message[100];

	snprintf(message, sizeof message, "n,,n=%s,r=nonce", login);
	assert_int_equal(say(e, text(message)), SASL_CHALLENGE);
	struct slice s = buf_slice(&challenge), salt = slice_skip(s, slice_search(s, SLICE(",s=")));
	snprintf(ret, 300, "%.*s", SLICE_ARGS(salt));
	sasl_end(e);
}

static void scram_shows_nobody_as_it_shows_somebody(void **state)
{
	(void)state;
	struct sasl_start start = starting(SASL_SCRAM_SHA_256);
	char known[300], hash[300], nobody[300], again[300], other[300];

	first_words(&start, "alice@example.com", known);
	first_words(&start, "carol", hash);
	first_words(&start, "nobody", nobody);
	first_words(&start, "nobody", again);
	first_words(&start, "nobody2", other);
	assert_int_equal(strlen(known), strlen(nobody));
	assert_int_equal(strlen(known), strlen(hash));
	assert_string_equal(strstr(known, ",i="), strstr(nobody, ",i="));
	assert_string_equal(nobody, again);
	assert_string_not_equal(nobody, other);
	assert_string_not_equal(nobody, hash);
}

/* C10: both ways of the downgrade check, and data that is another connection's. */
static void scram_binds_to_the_channel(void **state)
{
	(void)state;
	static const struct {
		enum sasl_mechanism mechanism;
		bool server_exporter, server_unique, client_exporter, client_unique;
		enum sasl_result result;
	} rows[] = {
		{SASL_SCRAM_SHA_256_PLUS, true, false, true, false, SASL_GOOD},
		{SASL_SCRAM_SHA_256_PLUS, false, true, false, true, SASL_GOOD},
		{SASL_SCRAM_SHA_256_PLUS, true, true, true, true, SASL_GOOD},
		{SASL_SCRAM_SHA_1_PLUS, true, true, true, false, SASL_GOOD},
		{SASL_SCRAM_SHA_1_PLUS, true, true, false, true, SASL_GOOD},
		{SASL_SCRAM_SHA_256_PLUS, false, true, true, false, SASL_WRONG},
		{SASL_SCRAM_SHA_256_PLUS, true, false, false, true, SASL_WRONG},
		{SASL_SCRAM_SHA_256_PLUS, false, false, true, true, SASL_WRONG},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sasl_start start = starting(rows[i].mechanism);
		struct client c = alice;
		start.exporter = rows[i].server_exporter ? SLICE(EXPORTER) : SLICE_NONE;
		start.unique = rows[i].server_unique ? SLICE(UNIQUE) : SLICE_NONE;
		start.plus_offered = true;
		c.exporter = rows[i].client_exporter;
		c.unique = rows[i].client_unique;
		assert_int_equal(scram(&start, c, true, NULL), rows[i].result);
		start.exporter = start.exporter.n ? SLICE("another connection's 32 octets..") : SLICE_NONE;
		start.unique = start.unique.n ? SLICE("another's...") : SLICE_NONE;
		assert_int_equal(scram(&start, c, true, NULL), SASL_WRONG);
	}
}

static void scram_finds_a_downgrade(void **state)
{
	(void)state;
	static const struct {
		enum sasl_mechanism mechanism;
		bool offered;
		const char *first;
		enum sasl_result result;
		const char *why;
	} rows[] = {
		{SASL_SCRAM_SHA_256, true, "n,,n=alice@example.com,r=x", SASL_CHALLENGE, ""},
		{SASL_SCRAM_SHA_256, false, "n,,n=alice@example.com,r=x", SASL_CHALLENGE, ""},
		{SASL_SCRAM_SHA_256, false, "y,,n=alice@example.com,r=x", SASL_CHALLENGE, ""},
		{SASL_SCRAM_SHA_256, true, "y,,n=alice@example.com,r=x", SASL_WRONG,
		 "the client did not see that channel binding is offered"},
		{SASL_SCRAM_SHA_256, true, "p=tls-exporter,,n=alice@example.com,r=x", SASL_WRONG,
		 "channel binding by a mechanism without it"},
		{SASL_SCRAM_SHA_256_PLUS, true, "n,,n=alice@example.com,r=x", SASL_WRONG,
		 "channel binding was asked for and is not used"},
		{SASL_SCRAM_SHA_256_PLUS, true, "y,,n=alice@example.com,r=x", SASL_WRONG,
		 "channel binding was asked for and is not used"},
		{SASL_SCRAM_SHA_256_PLUS, true, "p=tls-exporter,,n=alice@example.com,r=x", SASL_CHALLENGE, ""},
		{SASL_SCRAM_SHA_256_PLUS, true, "p=tls-exporter,a=bob,n=alice@example.com,r=x", SASL_CHALLENGE, ""},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sasl_start start = starting(rows[i].mechanism);
		start.plus_offered = rows[i].offered;
		start.exporter = SLICE(EXPORTER);
		struct sasl_exchange *e = started(&start);
		assert_int_equal(say(e, text(rows[i].first)), rows[i].result);
		assert_slice(sasl_why(e), rows[i].why);
		sasl_end(e);
	}
}

static void scram_that_is_none(void **state)
{
	(void)state;
	static const struct slice rows[] = {
		{"", 0},
		{"x", 1},
		{"n", 1},
		{"n,", 2},
		{"n,,", 3},
		{"n,,n=,r=x", 9},
		{"n,,n=a,r=", 9},
		{"n,,r=x,n=a", 10},
		{"n,,m=x,n=a,r=x", 14},
		{"n,,n=a\0,r=x", 11},
		{"p=tls-server-end-point,,n=a,r=x", 31},
		{"p=,,n=a,r=x", 11},
		{"n,,n=\xff,r=x", 10},
		{"\0", 1},
	};

	for (int plus = 0; plus < 2; plus++)
		for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
			struct sasl_start start = starting(plus ? SASL_SCRAM_SHA_256_PLUS : SASL_SCRAM_SHA_256);
			start.exporter = SLICE(EXPORTER);
			start.plus_offered = plus;
			struct sasl_exchange *e = started(&start);
			assert_int_equal(say(e, rows[i]), SASL_WRONG);
			assert_true(sasl_why(e).n > 0);
			sasl_end(e);
		}
}

static void scram_asks_for_an_empty_last_word(void **state)
{
	(void)state;
	static const char *const finals[] = {"c=biws,r=", "c=biws,r=x,p=", "", "v=x", "c=,r=,p="};
	struct sasl_start start = starting(SASL_SCRAM_SHA_256);

	for (size_t i = 0; i < sizeof finals / sizeof *finals; i++) {
		struct sasl_exchange *e = started(&start);
		assert_int_equal(say(e, SLICE("n,,n=alice@example.com,r=x")), SASL_CHALLENGE);
		assert_int_equal(say(e, text(finals[i])), SASL_WRONG);
		sasl_end(e);
	}
}

/* ---- the judge, and trouble ---------------------------------------------------------------------------------------
 */

static void the_judge_decides_before_a_password_is_looked_at(void **state)
{
	(void)state;
	struct sasl_start start = starting(SASL_SCRAM_SHA_1);

	judgement = SASL_WEAK;
	one_response(SASL_PLAIN, (struct slice){"\0alice@example.com\0wonderland", 29}, SASL_WEAK,
		     "the account may not use this mechanism");
	judgement = SASL_LIMITED;
	one_response(SASL_PLAIN, (struct slice){"\0nobody\0wonderland", 18}, SASL_LIMITED, "too many attempts failed");
	assert_string_equal(judged, "nobody");
	assert_int_equal(scram(&start, alice, true, NULL), SASL_LIMITED);
	assert_string_equal(judged, "alice@example.com");
}

/* The last two: none of the others has a database behind them. */
static void without_a_database_there_is_nobody(void **state)
{
	(void)state;
	assert_int_equal(unlink(path), 0);
	one_response(SASL_PLAIN, (struct slice){"\0alice@example.com\0wonderland", 29}, SASL_WRONG, "unknown user");
}

static void a_database_that_cannot_be_read_is_said_so(void **state)
{
	(void)state;
	struct sasl_start start = starting(SASL_PLAIN);
	struct sasl_exchange *e = started(&start);

	FILE *f = fopen(path, "wb");
	assert_non_null(f);
	fputs("this is no database, and was never meant to be one; but it is long enough to be looked at", f);
	fclose(f);
	assert_int_equal(say(e, (struct slice){"\0alice@example.com\0wonderland", 29}), SASL_UNAVAILABLE);
	assert_true(slice_search(sasl_why(e), text(path)) < sasl_why(e).n);
	sasl_end(e);
}

static void mechanisms_are_found_by_name(void **state)
{
	(void)state;
	enum sasl_mechanism found;

	for (enum sasl_mechanism m = 0; m < SASL_MECHANISMS; m++) {
		assert_true(sasl_find(text(sasl_row(m)->name), &found));
		assert_int_equal(found, m);
	}
	assert_true(sasl_find(SLICE("scram-sha-1-plus"), &found));
	assert_int_equal(found, SASL_SCRAM_SHA_1_PLUS);
	assert_false(sasl_find(SLICE("NTLM"), &found));
	assert_false(sasl_find(SLICE(""), &found));
	assert_false(sasl_find(SLICE("PLAI"), &found));
}

#define SASL_TEST(name) cmocka_unit_test_setup_teardown(name, begin_exchange, end_exchange)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SASL_TEST(plain_takes_three_fields_and_no_other),
		SASL_TEST(plain_knows_who_is_there),
		SASL_TEST(plain_without_initial_response_is_asked_for_it),
		SASL_TEST(a_response_that_is_too_long_is_refused),
		SASL_TEST(login_asks_for_name_and_password),
		SASL_TEST(cram_md5_by_what_is_kept_for_it),
		SASL_TEST(cram_md5_does_not_take_the_keys_of_nobody),
		SASL_TEST(external_is_what_the_certificate_says),
		SASL_TEST(external_without_its_rules_lets_nobody_in),
		cmocka_unit_test(names_of_certificates),
		SASL_TEST(scram_of_each_kind),
		SASL_TEST(scram_without_what_it_needs),
		SASL_TEST(scram_shows_nobody_as_it_shows_somebody),
		SASL_TEST(scram_binds_to_the_channel),
		SASL_TEST(scram_finds_a_downgrade),
		SASL_TEST(scram_that_is_none),
		SASL_TEST(scram_asks_for_an_empty_last_word),
		SASL_TEST(the_judge_decides_before_a_password_is_looked_at),
		cmocka_unit_test(mechanisms_are_found_by_name),
		SASL_TEST(without_a_database_there_is_nobody),
		SASL_TEST(a_database_that_cannot_be_read_is_said_so),
	};
	return cmocka_run_group_tests(tests, make_accounts, end);
}
