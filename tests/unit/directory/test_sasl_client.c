/*
 * The client's side of SASL, with our server on the other side, with examples of the RFCs, and with servers that lie.
 */
#include "accounts_test.h"

#include "base/base64.h"
#include "directory/sasl.h"
#include "directory/sasl_client.h"

#define PASSWORD "wonderland"
#define EXPORTER "0123456789abcdef0123456789abcdef"
#define UNIQUE   "unique-value"
#define CHANCE   SLICE("eighteen by chance")

static struct accounts *db;
static struct sasl *sasl;
static struct buf challenge, response;
static struct sasl_salted salted;

static int make_accounts(void **state)
{
	static const uint8_t chance[SECRETS_CHANCE] = "some octets that nobody else has, forty-eight!!";
	struct secrets all;
	const char *why;
	int rc = begin(state);

	assert_int_equal(secrets_make(text(PASSWORD), true, chance, &all, &why), SECRETS_OK);
	db = writer();
	assert_int_equal(accounts_add(db, SLICE("alice@example.com"), &all, NOW), ACCOUNTS_OK);
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
	assert_true(secrets_buf_init(&response, SASL_RESPONSE_MAX));
	salted = (struct sasl_salted){0};
	return 0;
}

static int end_exchange(void **state)
{
	(void)state;
	buf_free(&challenge);
	buf_wipe(&response);
	sasl_free(sasl);
	accounts_close(db);
	return 0;
}

static struct sasl_client *client(const char *mechanism, const char *password)
{
	const struct sasl_client_row *row = sasl_client_find(slice_from_cstr(mechanism));

	assert_non_null(row);
	struct sasl_client *e = sasl_client_begin(&(struct sasl_client_start){.row = row,
									      .user = SLICE("alice@example.com"),
									      .secret = slice_from_cstr(password),
									      .chance = CHANCE,
									      .salted = &salted});
	assert_non_null(e);
	return e;
}

static enum sasl_client_result say(struct sasl_client *e, const char *words, bool *complete)
{
	struct slice s = slice_from_cstr(words);
	return sasl_client_step(e, words ? &s : NULL, &response, complete);
}

/* The whole exchange with our server: what it comes to for each side. */
static enum sasl_result converse(const struct sasl_client_start *start, const struct sasl_start *server, bool *complete)
{
	struct sasl_exchange *s = sasl_begin(sasl, server);
	struct sasl_client *c = sasl_client_begin(start);
	enum sasl_client_result said = sasl_client_step(c, NULL, &response, complete);
	enum sasl_result result = SASL_CHALLENGE;

	assert_non_null(s);
	while (said != SASL_CLIENT_FAILED) {
		result = sasl_step(s, said == SASL_CLIENT_RESPONSE, buf_slice(&response), &challenge);
		if (result != SASL_CHALLENGE)
			break;
		struct slice words = buf_len(&challenge) ? buf_slice(&challenge) : SLICE("");
		said = sasl_client_step(c, &words, &response, complete);
	}
	sasl_client_end(c);
	sasl_end(s);
	return result;
}

static struct sasl_client_start start_of(size_t i, const char *password)
{
	return (struct sasl_client_start){.row = sasl_client_row(i),
					  .user = SLICE("alice@example.com"),
					  .secret = slice_from_cstr(password),
					  .chance = CHANCE,
					  .salted = &salted};
}

static void each_mechanism_logs_in_with_the_right_password_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < SASL_CLIENT_MECHANISMS; i++) {
		const struct sasl_client_row *row = sasl_client_row(i);
		struct sasl_start server = {.now = NOW, .host = SLICE("mx.example.com"), .plus_offered = row->plus};
		struct sasl_client_start c = start_of(i, PASSWORD), wrong = start_of(i, "Wonderland");
		bool complete;

		if (!sasl_find(slice_from_cstr(row->name), &server.mechanism) || row->token)
			continue;
		server.exporter = c.exporter = wrong.exporter = SLICE(EXPORTER);
		salted = (struct sasl_salted){0};
		assert_int_equal(converse(&wrong, &server, &complete), SASL_WRONG);
		assert_true(row->scram ? !complete : true);
		assert_int_equal(converse(&c, &server, &complete), row->scram ? SASL_WRONG : SASL_GOOD);
		/* What is kept is of the wrong password: the owner forgets it when the secret changes. */
		salted = (struct sasl_salted){0};
		assert_int_equal(converse(&c, &server, &complete), SASL_GOOD);
		assert_true(complete);
		/* By what was kept. */
		assert_int_equal(salted.iterations, row->scram ? SCRAM_ITERATIONS : 0);
		assert_int_equal(converse(&c, &server, &complete), SASL_GOOD);
	}
}

/* RFC 5802 6, RFC 9266: tls-unique where TLS 1.2 has it, tls-exporter otherwise; bound to another session it fails. */
static void what_binds_has_to_be_the_same_on_both_sides(void **state)
{
	(void)state;
	struct sasl_start server = {.mechanism = SASL_SCRAM_SHA_256_PLUS, .now = NOW, .plus_offered = true};
	struct sasl_client_start c = start_of(0, PASSWORD);
	bool complete;

	server.exporter = c.exporter = SLICE(EXPORTER);
	assert_int_equal(converse(&c, &server, &complete), SASL_GOOD);
	server.unique = c.unique = SLICE(UNIQUE);
	assert_int_equal(converse(&c, &server, &complete), SASL_GOOD);
	c.unique = SLICE("another");
	assert_int_equal(converse(&c, &server, &complete), SASL_WRONG);
	c.exporter = c.unique = SLICE_NONE;
	assert_int_equal(converse(&c, &server, &complete), SASL_CHALLENGE); /* nothing was said */
	assert_false(complete);
}

/* attacks C4: who takes -PLUS out of the offer is found out. */
static void a_server_hears_that_its_offer_of_plus_was_not_seen(void **state)
{
	(void)state;
	struct sasl_start server = {.mechanism = SASL_SCRAM_SHA_256, .now = NOW};
	struct sasl_client_start c = start_of(1, PASSWORD);
	bool complete;

	server.exporter = c.exporter = SLICE(EXPORTER);
	assert_int_equal(converse(&c, &server, &complete), SASL_GOOD);
	c.missed_plus = true;
	assert_int_equal(converse(&c, &server, &complete), SASL_GOOD);
	server.plus_offered = true;
	assert_int_equal(converse(&c, &server, &complete), SASL_WRONG);
	c.missed_plus = false;
	assert_int_equal(converse(&c, &server, &complete), SASL_GOOD);
}

static void what_is_said_is_what_the_standards_say(void **state)
{
	(void)state;
	bool complete;
	struct sasl_client *e = client("plain", PASSWORD);

	assert_int_equal(say(e, NULL, &complete), SASL_CLIENT_RESPONSE);
	assert_true(slice_eq(buf_slice(&response), SLICE("\0alice@example.com\0" PASSWORD)));
	assert_true(complete);
	assert_int_equal(say(e, "", &complete), SASL_CLIENT_FAILED);
	assert_false(complete);
	sasl_client_end(e);

	/* RFC 2195 2. */
	e = sasl_client_begin(&(struct sasl_client_start){.row = sasl_client_find(SLICE("CRAM-MD5")),
							  .user = SLICE("tim"),
							  .secret = SLICE("tanstaaftanstaaf"),
							  .chance = CHANCE});
	assert_int_equal(say(e, NULL, &complete), SASL_CLIENT_SILENT);
	assert_false(complete);
	assert_int_equal(say(e, "<1896.697170952@postoffice.reston.mci.net>", &complete), SASL_CLIENT_RESPONSE);
	assert_slice(buf_slice(&response), "tim b913a602c7eda7a495b4e6e7334d3890");
	assert_true(complete);
	sasl_client_end(e);

	e = client("login", PASSWORD);
	assert_int_equal(say(e, NULL, &complete), SASL_CLIENT_SILENT);
	assert_int_equal(say(e, "Username:", &complete), SASL_CLIENT_RESPONSE);
	assert_slice(buf_slice(&response), "alice@example.com");
	assert_false(complete);
	assert_int_equal(say(e, "Password:", &complete), SASL_CLIENT_RESPONSE);
	assert_slice(buf_slice(&response), PASSWORD);
	assert_true(complete);
	assert_int_equal(say(e, "Once more:", &complete), SASL_CLIENT_FAILED);
	assert_false(complete);
	sasl_client_end(e);

	e = client("XOAUTH2", "ya29.token");
	assert_int_equal(say(e, NULL, &complete), SASL_CLIENT_RESPONSE);
	assert_slice(buf_slice(&response), "user=alice@example.com\1auth=Bearer ya29.token\1\1");
	assert_true(complete);
	/* It is refused: the reason comes first, and 535 behind our empty answer. */
	assert_int_equal(say(e, "{\"status\":\"401\"}", &complete), SASL_CLIENT_RESPONSE);
	assert_int_equal(buf_len(&response), 0);
	assert_false(complete);
	assert_slice(sasl_client_why(e), "the server says of our token: {\"status\":\"401\"}");
	assert_int_equal(say(e, "{}", &complete), SASL_CLIENT_FAILED);
	sasl_client_end(e);
}

/* RFC 5802 5, RFC 7677 3: the examples. Each nonce is the base64 of something. */
static void scram_is_that_of_the_examples(void **state)
{
	(void)state;
	static const struct {
		const char *mechanism, *nonce, *first, *final, *last;
	} rows[] = {
		{"SCRAM-SHA-1", "fyko+d2lbbFgONRv9qkxdawL",
		 "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		 "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		 "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
		{"SCRAM-SHA-256", "rOprNGfwEbeRWgbNEkqO",
		 "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		 "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		 "p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		 "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char first[100];
		struct buf chance;
		bool complete;

		buf_init(&chance, 32);
		assert_true(base64_decode(slice_from_cstr(rows[i].nonce), &chance));
		struct sasl_client *e = sasl_client_begin(
			&(struct sasl_client_start){.row = sasl_client_find(slice_from_cstr(rows[i].mechanism)),
						    .user = SLICE("user"),
						    .secret = SLICE("pencil"),
						    .chance = buf_slice(&chance)});
		assert_int_equal(say(e, NULL, &complete), SASL_CLIENT_RESPONSE);
		snprintf(first, sizeof first, "n,,n=user,r=%s", rows[i].nonce);
		assert_slice(buf_slice(&response), first);
		assert_int_equal(say(e, rows[i].first, &complete), SASL_CLIENT_RESPONSE);
		assert_slice(buf_slice(&response), rows[i].final);
		assert_false(complete);
		assert_int_equal(say(e, rows[i].last, &complete), SASL_CLIENT_RESPONSE);
		assert_int_equal(buf_len(&response), 0);
		assert_true(complete);
		assert_int_equal(say(e, "", &complete), SASL_CLIENT_FAILED);
		assert_false(complete);
		sasl_client_end(e);
		buf_free(&chance);
	}
}

static void the_strongest_comes_first(void **state)
{
	(void)state;
	assert_null(sasl_client_find(SLICE("NTLM")));
	for (size_t i = 1; i < SASL_CLIENT_MECHANISMS; i++) {
		const struct sasl_client_row *before = sasl_client_row(i - 1), *row = sasl_client_row(i);
		assert_true(before->scram >= row->scram && before->shows <= row->shows);
		assert_ptr_equal(sasl_client_find(slice_from_cstr(row->name)), row);
	}
}

/* What a server that lies gets: nothing that it could guess the password from cheaply, and no work without end. */
static void a_server_that_lies_is_found_out(void **state)
{
	(void)state;
	static const struct {
		const char *mechanism;
		const char *form; /* of its first message; %s: the client's nonce */
		const char *why;
	} rows[] = {
		{"SCRAM-SHA-256", "r=%sx,s=c2FsdA==,i=4095", "4095 iterations; from 4096 to 600000 are good"},
		{"SCRAM-SHA-1", "r=%sx,s=c2FsdA==,i=1", "asks for 1 iterations"},
		{"SCRAM-SHA-256", "r=%sx,s=c2FsdA==,i=600001", "asks for 600001 iterations"},
		{"SCRAM-SHA-256", "r=%sx,s=c2FsdA==,i=4294967296", ""},
		{"SCRAM-SHA-256", "r=x%s,s=c2FsdA==,i=4096", ""},
		{"SCRAM-SHA-256", "r=%sx,s=,i=4096", ""},
		{"SCRAM-SHA-256", "r=%sx,s=%%,i=4096", ""},
		{"SCRAM-SHA-256", "m=1,r=%sx,s=c2FsdA==,i=4096", ""},
		{"SCRAM-SHA-256", "v=%s", ""},
		{"SCRAM-SHA-256", "", "malformed"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sasl_client *e = client(rows[i].mechanism, PASSWORD);
		char words[300], nonce[100];
		bool complete;

		assert_int_equal(say(e, NULL, &complete), SASL_CLIENT_RESPONSE);
		struct slice first = buf_slice(&response);
		assert_true(slice_starts(first, SLICE("n,,n=alice@example.com,r=")));
		first = slice_skip(first, sizeof "n,,n=alice@example.com,r=" - 1);
		snprintf(nonce, sizeof nonce, "%.*s", SLICE_ARGS(first));
		if (i + 1 == sizeof rows / sizeof *rows)
			words[0] = '\0';
		else
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
			snprintf(words, sizeof words, rows[i].form, nonce);
#pragma GCC diagnostic pop
		assert_int_equal(say(e, words, &complete), SASL_CLIENT_FAILED);
		assert_false(complete);
		assert_true(sasl_client_why(e).n > 0);
		if (slice_search(sasl_client_why(e), slice_from_cstr(rows[i].why)) == sasl_client_why(e).n)
			fail_msg("row %zu: %.*s", i, SLICE_ARGS(sasl_client_why(e)));
		sasl_client_end(e);
	}
}

/* It let us in with a signature that only who knows the password can make, or it did not. */
static void a_server_has_to_know_the_password(void **state)
{
	(void)state;
	static const char *const last[] = {"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "v=", "e=other-error",
					   "x", ""};

	for (size_t i = 0; i < sizeof last / sizeof *last; i++) {
		struct sasl_client *e = client("SCRAM-SHA-256", PASSWORD);
		char words[300];
		bool complete;

		assert_int_equal(say(e, NULL, &complete), SASL_CLIENT_RESPONSE);
		struct slice first = buf_slice(&response);
		snprintf(words, sizeof words, "r=%.*sx,s=c2FsdA==,i=4096",
			 SLICE_ARGS(slice_skip(first, slice_search(first, SLICE("r=")) + 2)));
		assert_int_equal(say(e, words, &complete), SASL_CLIENT_RESPONSE);
		assert_false(complete);
		assert_int_equal(say(e, last[i], &complete), SASL_CLIENT_FAILED);
		assert_false(complete);
		sasl_client_end(e);
	}
}

/* RFC 5802 5.1: "=" and "," of a name are written otherwise; what is no name or password by SASLprep fails. */
static void names_and_passwords_are_prepared(void **state)
{
	(void)state;
	bool complete;
	struct sasl_client *e = sasl_client_begin(&(struct sasl_client_start){
		.row = sasl_client_find(SLICE("SCRAM-SHA-256")),
		.user = SLICE("a=b,c"),
		.secret = SLICE("x\x07"),
		.chance = CHANCE});

	assert_int_equal(say(e, NULL, &complete), SASL_CLIENT_RESPONSE);
	assert_true(slice_starts(buf_slice(&response), SLICE("n,,n=a=3Db=2Cc,r=")));
	char words[300];
	struct slice first = buf_slice(&response);
	snprintf(words, sizeof words, "r=%.*sx,s=c2FsdA==,i=4096",
		 SLICE_ARGS(slice_skip(first, slice_search(first, SLICE(",r=")) + 3)));
	assert_int_equal(say(e, words, &complete), SASL_CLIENT_FAILED);
	assert_true(slice_starts(sasl_client_why(e), SLICE("our password: it holds characters that SASLprep")));
	sasl_client_end(e);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(each_mechanism_logs_in_with_the_right_password_alone, begin_exchange,
						end_exchange),
		cmocka_unit_test_setup_teardown(what_binds_has_to_be_the_same_on_both_sides, begin_exchange,
						end_exchange),
		cmocka_unit_test_setup_teardown(a_server_hears_that_its_offer_of_plus_was_not_seen, begin_exchange,
						end_exchange),
		cmocka_unit_test_setup_teardown(what_is_said_is_what_the_standards_say, begin_exchange, end_exchange),
		cmocka_unit_test_setup_teardown(scram_is_that_of_the_examples, begin_exchange, end_exchange),
		cmocka_unit_test(the_strongest_comes_first),
		cmocka_unit_test_setup_teardown(a_server_that_lies_is_found_out, begin_exchange, end_exchange),
		cmocka_unit_test_setup_teardown(a_server_has_to_know_the_password, begin_exchange, end_exchange),
		cmocka_unit_test_setup_teardown(names_and_passwords_are_prepared, begin_exchange, end_exchange),
	};

	return cmocka_run_group_tests(tests, make_accounts, end);
}
