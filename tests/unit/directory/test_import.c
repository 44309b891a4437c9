/*
 * Password fields of every kind that is known, and lines of passwd files. The password of each field is "secret".
 */
#include "test.h"

#include "directory/import.h"

#define SHA512  "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1"
#define SHA256  "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"
#define BCRYPT  "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a"
#define MD5     "$1$saltsalt$9xy1btjgzLYfb7hivXtC//"
#define DES     "abNANd1rDfiNc"
#define YES     "$y$j9T$saltsaltsaltsaltsalt..$.sEGjsaNkAHVWqJqrOMtn/zbOazf8OXUkDRL2gAfSp9"
#define SALT    "c2FsdHNhbHRzYWx0c2FsdA=="
#define STORED  "Ce3wZiZ+yIBCjltccfRiqM0+XDsLE3qPdkEeZKe3hus="
#define SERVER  "k3q4nlLsA09ST5FLo9zNmfyXR+Ci1J4KmBK5JRVSxeI="
#define STORED1 "rDEFCUExgaG3sJdXCceJEWtQAMA="
#define SERVER1 "slSXyd5ql3g7UWtr94XvgGzqDcY="
/* As `doveadm pw -s CRAM-MD5 -p secret` prints it. */
#define CRAM    "cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56"

static struct scheme_password password;

static struct slice text(const char *s)
{
	return slice_from_cstr(s);
}

static void read_field(const char *field, const char *otherwise, const char *expected_why)
{
	struct buf why;

	buf_init(&why, 1024);
	scheme_read(text(field), text(otherwise), &password, &why);
	if (password.kind == SCHEME_WRONG && slice_search(buf_slice(&why), text(expected_why)) == buf_len(&why))
		fail_msg("%s: %.*s", field, SLICE_ARGS(buf_slice(&why)));
	/* Nothing of the secret is told. */
	if (strlen(field) > 60)
		assert_true(slice_search(buf_slice(&why), text(field + strlen(field) - 10)) == buf_len(&why));
	buf_free(&why);
}

/* ---- fields -------------------------------------------------------------------------------------------------- */

static void fields_that_can_be_verified_are_kept_as_they_are(void **state)
{
	static const char *const fields[] = {
		SHA512,
		SHA256,
		BCRYPT,
		MD5,
		DES,
		YES,
		"$gy$j9T$saltsaltsaltsaltsalt..$IgpLTjT2f8VJPQC00UFK9Du55KC8MCjDuh9s22RCX/7",
		"$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a",
		"$sha1$1000$saltsalt$Afd9xS7u8w4h.ywETK2u0ha2i2TG",
		"_J9..rasmz0.F/jqjWck",
		"{CRYPT}" SHA512,
		"{SHA512-CRYPT}" SHA512,
		"{sha512-crypt}" SHA512,
		"{SHA256-CRYPT}" SHA256,
		"{BLF-CRYPT}" BCRYPT,
		"{MD5-CRYPT}" MD5,
		"{DES-CRYPT}" DES,
		"{CRYPT.B64}JDEkc2FsdHNhbHQkOXh5MWJ0amd6TFlmYjdoaXZYdEMvLw==",
		"{CRYPT.HEX}61624e414e6431724466694e63",
		"{CRAM-MD5}" CRAM,
		"{HMAC-MD5}" CRAM,
		"{CRAM-MD5.HEX}" CRAM,
		"{CRAM-MD5.B64}zTun3qrW5cojRIukLjeXR6ng9/H7wAyKgbuqw5VzG1Y=",
		"{SCRAM-SHA-256}4096," SALT "," STORED "," SERVER,
		"{SCRAM-SHA-1}4096," SALT "," STORED1 "," SERVER1,
		"{SCRAM-SHA-256}SCRAM-SHA-256$4096:" SALT "$" STORED ":" SERVER,
		"SCRAM-SHA-256$4096:" SALT "$" STORED ":" SERVER,
		"SCRAM-SHA-1$4096:" SALT "$" STORED1 ":" SERVER1,
	};

	(void)state;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		read_field(fields[i], "", "");
		if (password.kind != SCHEME_SECRETS)
			fail_msg("%s", fields[i]);
		assert_false(password.locked);
		assert_true(password.secrets.foreign);
		assert_true(secrets_outdated(&password.secrets, false));
		if (secrets_verify(&password.secrets, SLICE("secret")) != SECRETS_OK)
			fail_msg("%s: does not verify", fields[i]);
		assert_int_equal(secrets_verify(&password.secrets, SLICE("Secret")), SECRETS_WRONG);
	}
}

static void passwords_in_clear_come_back(void **state)
{
	static const char *const fields[] = {"{PLAIN}secret",          "{CLEAR}secret",
					     "{cleartext}secret",      "{PLAIN.B64}c2VjcmV0",
					     "{PLAIN.BASE64}c2VjcmV0", "{PLAIN.HEX}736563726574"};

	(void)state;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		read_field(fields[i], "", "");
		assert_int_equal(password.kind, SCHEME_PLAIN);
		assert_slice(slice_of(password.plain, password.plain_n), "secret");
	}
	/* With --scheme PLAIN everything is a password, but what names its scheme. */
	read_field("x", "PLAIN", "");
	assert_int_equal(password.kind, SCHEME_PLAIN);
	read_field("!$6$", "PLAIN", "");
	assert_int_equal(password.kind, SCHEME_PLAIN);
	assert_slice(slice_of(password.plain, password.plain_n), "!$6$");
	read_field(SHA512, "PLAIN", "");
	assert_int_equal(password.kind, SCHEME_PLAIN);
	read_field("{SHA512-CRYPT}" SHA512, "PLAIN", "");
	assert_int_equal(password.kind, SCHEME_SECRETS);
}

static void locked_passwords_are_locked_and_missing_ones_none(void **state)
{
	static const char *const none[] = {"", "x", "*", "!", "!!", "!*", "*LK*", "NP"};

	(void)state;
	for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
		read_field(none[i], "", "");
		assert_int_equal(password.kind, SCHEME_NONE);
	}
	read_field("!" SHA512, "", "");
	assert_int_equal(password.kind, SCHEME_SECRETS);
	assert_true(password.locked);
	read_field("*LOCKED*" SHA512, "", "");
	assert_int_equal(password.kind, SCHEME_SECRETS);
	assert_true(password.locked);
}

static void what_cannot_be_taken_says_why(void **state)
{
	static const struct {
		const char *field, *why;
	} cases[] = {
		{"secret", "say which scheme"},
		{"{SHA512-CRYPT}" SHA256, "no hash of the scheme"},
		{"{SHA512-CRYPT}$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5kn", "no whole hash"},
		{"{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0", "no whole hash"},
		{"$2y$17$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a", "too long"},
		{"$6$rounds=1000001$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN."
		 "Pq.H91p5hVO1",
		 "too long"},
		{"$9$saltsalt$9xy1btjgzLYfb7hivXtC//", "no whole hash"},
		{"{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$c2FsdHNhbHQ$C5JEmU6sLkJWB1zQCSiJwdWXv4Zr5Y8vJ1aRQ6s0+zk",
		 "set a new password"},
		{"{SSHA}9tWLv5Zyd6Yy5kFaYqj6XW4P0fHyVyCXyKxm", "set a new password"},
		{"{PBKDF2}$1$salt$5000$hash", "set a new password"},
		{"{WHAT}ever", "there is no scheme {WHAT}"},
		{"{}x", "there is no scheme {}"},
		{"{PLAIN.B32}x", "unknown way"},
		{"{PLAIN.B64}c2VjcmV0=", "not encoded as it says"},
		{"{PLAIN.HEX}73656", "not encoded as it says"},
		{"{PLAIN}", "empty"},
		{"{SCRAM-SHA-256}4095," SALT "," STORED "," SERVER, "4096"},
		{"{SCRAM-SHA-256}4096," SALT "," STORED1 "," SERVER, "no verifier"},
		{"{SCRAM-SHA-256}4096,," STORED "," SERVER, "no verifier"},
		{"{SCRAM-SHA-256}4096," SALT "," STORED, "no verifier"},
		{"{SCRAM-SHA-256}99999999," SALT "," STORED "," SERVER, "no verifier"},
		{"{SCRAM-SHA-256}SCRAM-SHA-1$4096:" SALT "$" STORED1 ":" SERVER1, "no verifier"},
		{"{CRAM-MD5}0123", "64 hexadecimal"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		read_field(cases[i].field, "", cases[i].why);
		if (password.kind != SCHEME_WRONG)
			fail_msg("%s", cases[i].field);
	}
	char longest[SECRETS_PASSWORD_MAX + 20] = "{PLAIN}";
	memset(longest + 7, 'x', SECRETS_PASSWORD_MAX + 1);
	read_field(longest, "", "too long");
	assert_int_equal(password.kind, SCHEME_WRONG);
}

static void schemes_are_known_by_name(void **state)
{
	(void)state;
	assert_true(scheme_known(SLICE("plain")));
	assert_true(scheme_known(SLICE("SHA512-CRYPT.b64")));
	assert_false(scheme_known(SLICE("PLAIN.B32")));
	assert_false(scheme_known(SLICE("SSHA")));
	assert_false(scheme_known(SLICE("")));
}

static void verifiers_come_back_as_they_were_written(void **state)
{
	struct scram_verifier v = {.iterations = 12345, .salt_n = 3}, again;
	char room[SCHEME_TEXT_MAX];
	struct buf out = {.p = room, .cap = sizeof room, .max = sizeof room};

	(void)state;
	memcpy(v.salt, "\0\xff\x10", 3);
	memset(v.stored_key, 0x7e, 20);
	memset(v.server_key, 0xf7, 20);
	assert_true(scheme_scram_put(SCRAM_SHA_1, &v, &out));
	assert_slice(buf_slice(&out),
		     "SCRAM-SHA-1$12345:AP8Q$fn5+fn5+fn5+fn5+fn5+fn5+fn4=:9/f39/f39/f39/f39/f39/f39/c=");
	assert_true(scheme_scram_read(buf_slice(&out), SCRAM_SHA_1, &again));
	assert_memory_equal(&v, &again, sizeof v);
	assert_false(scheme_scram_read(buf_slice(&out), SCRAM_SHA_256, &again));
	for (size_t n = 0; n < buf_len(&out); n++)
		assert_false(scheme_scram_read(slice_head(buf_slice(&out), n), SCRAM_SHA_1, &again));
	v.salt_n = SCRAM_SALT_MAX;
	buf_reset(&out);
	assert_true(scheme_scram_put(SCRAM_SHA_256, &v, &out));
}

/* ---- lines --------------------------------------------------------------------------------------------------- */

static struct import_account account;
static struct buf why;

static enum import_result next(struct import *i)
{
	buf_reset(&why);
	return import_next(i, &account, &why);
}

static void assert_account(struct import *i, unsigned line, const char *name, bool disabled)
{
	enum import_result result = next(i);

	if (result != IMPORT_ACCOUNT)
		fail_msg("%s: %.*s", name, SLICE_ARGS(buf_slice(&why)));
	assert_int_equal(account.line, line);
	assert_string_equal(account.name, name);
	assert_int_equal(account.disabled, disabled);
}

static void assert_wrong(struct import *i, unsigned line, const char *expected)
{
	assert_int_equal(next(i), IMPORT_WRONG);
	assert_int_equal(account.line, line);
	if (slice_search(buf_slice(&why), text(expected)) == buf_len(&why))
		fail_msg("%.*s", SLICE_ARGS(buf_slice(&why)));
}

static void a_passwd_file_of_dovecot_is_read(void **state)
{
	struct import i;

	(void)state;
	buf_init(&why, 1024);
	import_init(&i,
		    SLICE("# users\n"
			  "\n"
			  "Alice@Example.com:{SHA512-CRYPT}" SHA512 "\n"
			  "bob@example.com:{PLAIN}secret:1000:1000::/home/bob:/bin/false\r\n"
			  "carol@example.com:{BLF-CRYPT}" BCRYPT "::::::userdb_quota_rule=*:storage=1G nologin=y\n"
			  "dave:{PLAIN}x::::::\n"
			  "erin:" SHA512 "::::::allow_nets=192.0.2.0/24\n"
			  "frank:" SHA512 "::::::nopassword\n"
			  "no colon\n"
			  "two words:" SHA512 "\n"
			  "{x:y"),
		    SLICE_NONE, SLICE_NONE);
	assert_account(&i, 3, "alice@example.com", false);
	assert_int_equal(account.password.kind, SCHEME_SECRETS);
	assert_account(&i, 4, "bob@example.com", false);
	assert_slice(slice_of(account.password.plain, account.password.plain_n), "secret");
	assert_account(&i, 5, "carol@example.com", true);
	assert_account(&i, 6, "dave", false);
	assert_wrong(&i, 7, "from some networks");
	assert_wrong(&i, 8, "without a password");
	assert_wrong(&i, 9, "no ':'");
	assert_wrong(&i, 10, "blank");
	assert_wrong(&i, 11, "which scheme");
	assert_int_equal(next(&i), IMPORT_END);
	assert_int_equal(next(&i), IMPORT_END);
	buf_free(&why);
}

static void a_shadow_file_is_read(void **state)
{
	struct import i;

	(void)state;
	buf_init(&why, 1024);
	import_init(&i,
		    SLICE("root:*:19000:0:99999:7:::\n"
			  "alice:" YES ":19000:0:99999:7:::\n"
			  "bob:!" SHA512 ":19000:0:99999:7:::\n"
			  "carol:" SHA512 ":19000:0:99999:7::20000:\n"
			  "dave::19000:0:99999:7:::\n"),
		    SLICE_NONE, SLICE("example.com"));
	assert_int_equal(next(&i), IMPORT_PASSED);
	assert_string_equal(account.name, "root@example.com");
	assert_account(&i, 2, "alice@example.com", false);
	assert_account(&i, 3, "bob@example.com", true);
	assert_wrong(&i, 4, "a day");
	assert_int_equal(next(&i), IMPORT_PASSED);
	assert_int_equal(next(&i), IMPORT_END);
	buf_free(&why);
}

static void names_get_the_domain_that_was_asked_for_and_passwords_the_scheme(void **state)
{
	struct import i;

	(void)state;
	buf_init(&why, 1024);
	import_init(&i, SLICE("alice:secret\nbob@example.net:secret\n"), SLICE("PLAIN"), SLICE("Example.com"));
	assert_account(&i, 1, "alice@example.com", false);
	assert_int_equal(account.password.kind, SCHEME_PLAIN);
	assert_account(&i, 2, "bob@example.net", false);
	assert_int_equal(next(&i), IMPORT_END);
	buf_free(&why);
}

static void lines_are_bounded(void **state)
{
	static char line[IMPORT_LINE_MAX + 100];
	struct import i;

	(void)state;
	buf_init(&why, 1024);
	memset(line, 'a', sizeof line);
	memcpy(line + 5, ":{PLAIN}x:", 10);
	import_init(&i, slice_of(line, sizeof line), SLICE_NONE, SLICE_NONE);
	assert_wrong(&i, 1, "too long");
	import_init(&i, slice_of(line, IMPORT_LINE_MAX), SLICE_NONE, SLICE_NONE);
	assert_account(&i, 1, "aaaaa", false);
	memset(line, 'a', 300);
	import_init(&i, slice_of(line, 1000), SLICE_NONE, SLICE_NONE);
	assert_wrong(&i, 1, "no ':'");
	line[300] = ':';
	import_init(&i, slice_of(line, 1000), SLICE_NONE, SLICE_NONE);
	assert_wrong(&i, 1, "too long");
	line[1000] = ':';
	import_init(&i, slice_of(line + 301, 1000), SLICE_NONE, SLICE_NONE);
	assert_wrong(&i, 1, "too long");
	buf_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_that_can_be_verified_are_kept_as_they_are),
		cmocka_unit_test(passwords_in_clear_come_back),
		cmocka_unit_test(locked_passwords_are_locked_and_missing_ones_none),
		cmocka_unit_test(what_cannot_be_taken_says_why),
		cmocka_unit_test(schemes_are_known_by_name),
		cmocka_unit_test(verifiers_come_back_as_they_were_written),
		cmocka_unit_test(a_passwd_file_of_dovecot_is_read),
		cmocka_unit_test(a_shadow_file_is_read),
		cmocka_unit_test(names_get_the_domain_that_was_asked_for_and_passwords_the_scheme),
		cmocka_unit_test(lines_are_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
