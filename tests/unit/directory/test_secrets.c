/*
 * Test vectors of the RFCs; what is wiped: this program has the heap's functions itself and looks into all memory that
 * is given back.
 */
#include "test.h"

#include "base/base64.h"
#include "base/heap.h"
#include "directory/scram.h"

#include <malloc.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static const char password[] = "correct horse battery staple";
static unsigned left_behind; /* blocks that still held the password */
static int allocations_left = -1;

static void look(const void *block)
{
	if (block && memmem(block, malloc_usable_size((void *)(uintptr_t)block), password, 12))
		left_behind++;
}

static bool none_left(void)
{
	return allocations_left >= 0 && allocations_left-- == 0;
}

void *heap_alloc(size_t size)
{
	return none_left() ? NULL : calloc(1, size);
}

void *heap_array(size_t count, size_t size)
{
	return none_left() ? NULL : calloc(count, size);
}

void *heap_resize(void *block, size_t size)
{
	if (none_left())
		return NULL;
	void *p = malloc(size);
	size_t old = malloc_usable_size(block);
	if (block)
		memcpy(p, block, old < size ? old : size);
	heap_free(block);
	return p;
}

void heap_free(void *block)
{
	look(block);
	free(block);
}

static const uint8_t chance[SECRETS_CHANCE] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJK";
static const uint8_t key[32] = "a key that nobody knows";

static struct slice text(const char *s)
{
	return slice_from_cstr(s);
}

static void make(const char *of, struct secrets *ret)
{
	const char *why;

	assert_int_equal(secrets_make(text(of), true, chance, ret, &why), SECRETS_OK);
}

/* ---- SCRAM --------------------------------------------------------------------------------------------------- */

struct exchange {
	enum scram_hash hash;
	const char *salt, *authentication, *proof, *signature;
};

static void decode(const char *base64, uint8_t *into, size_t n)
{
	struct buf octets;

	buf_init(&octets, 64);
	assert_true(base64_decode(text(base64), &octets));
	assert_int_equal(buf_len(&octets), n);
	memcpy(into, buf_slice(&octets).p, n);
	buf_free(&octets);
}

/* RFC 5802 3: what a server does with what a client sent. */
static void check_exchange(const struct exchange *x)
{
	struct scram_verifier v = {.iterations = 4096, .salt_n = 16};
	uint8_t proof[32], signature[32], client_key[32], stored_key[32];
	size_t n = scram_key_size(x->hash);
	const EVP_MD *digest = x->hash == SCRAM_SHA_1 ? EVP_sha1() : EVP_sha256();
	struct slice said = text(x->authentication);

	if (x->hash == SCRAM_SHA_1)
		v.salt_n = 12;
	decode(x->salt, v.salt, v.salt_n);
	assert_true(scram_derive(x->hash, SLICE("pencil"), &v));

	decode(x->proof, proof, n);
	assert_non_null(HMAC(digest, v.stored_key, (int)n, (const uint8_t *)said.p, said.n, signature, NULL));
	for (size_t i = 0; i < n; i++)
		client_key[i] = proof[i] ^ signature[i];
	assert_int_equal(EVP_Digest(client_key, n, stored_key, NULL, digest, NULL), 1);
	assert_memory_equal(stored_key, v.stored_key, n);

	decode(x->signature, proof, n);
	assert_non_null(HMAC(digest, v.server_key, (int)n, (const uint8_t *)said.p, said.n, signature, NULL));
	assert_memory_equal(signature, proof, n);
}

static void the_exchange_of_rfc_5802_5_is_right(void **state)
{
	static const struct exchange x = {
		SCRAM_SHA_1,
		"QSXCR+Q6sek8bf92",
		"n=user,r=fyko+d2lbbFgONRv9qkxdawL,"
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,"
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
		"v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"rmF9pqV8S7suAoZWja4dJRkFsKQ=",
	};

	(void)state;
	check_exchange(&x);
}

static void the_exchange_of_rfc_7677_3_is_right(void **state)
{
	static const struct exchange x = {
		SCRAM_SHA_256,
		"W22ZaJ0SNY7soEsUEjb6gQ==",
		"n=user,r=rOprNGfwEbeRWgbNEkqO,"
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
	};

	(void)state;
	check_exchange(&x);
}

/* ---- CRAM-MD5 ------------------------------------------------------------------------------------------------ */

static void assert_cram(const struct secrets *s, const char *challenge, const char *expected)
{
	uint8_t digest[MD5_SIZE];
	char hex[2 * MD5_SIZE + 1];

	secrets_cram_md5(s, text(challenge), digest);
	for (size_t i = 0; i < MD5_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	assert_string_equal(hex, expected);
}

static void the_digest_of_rfc_2195_2_is_right(void **state)
{
	struct secrets s = {.has_cram_md5 = true};

	(void)state;
	assert_true(cram_md5_derive(SLICE("tanstaaftanstaaf"), s.cram_md5));
	assert_cram(&s, "<1896.697170952@postoffice.reston.mci.net>", "b913a602c7eda7a495b4e6e7334d3890");
}

/* RFC 2202 2, numbers 1, 2 and 7: short keys, and one longer than a block with a text longer than one. */
static void the_digests_of_rfc_2202_2_are_right(void **state)
{
	struct secrets s = {.has_cram_md5 = true};
	char eighty[80];

	(void)state;
	memset(eighty, 0x0b, 16);
	assert_true(cram_md5_derive(slice_of(eighty, 16), s.cram_md5));
	assert_cram(&s, "Hi There", "9294727a3638bb1c13f48ef8158bfc9d");
	assert_true(cram_md5_derive(SLICE("Jefe"), s.cram_md5));
	assert_cram(&s, "what do ya want for nothing?", "750c783e6ab0b503eaa86e310a5db738");
	memset(eighty, 0xaa, 80);
	assert_true(cram_md5_derive(slice_of(eighty, 80), s.cram_md5));
	assert_cram(&s, "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data",
		    "6f630fad67cda0ee1fb1f562db3aa53e");
}

/* ---- preparation --------------------------------------------------------------------------------------------- */

static void assert_prepared(const char *in, const char *expected)
{
	struct buf out;
	const char *why;

	assert_true(secrets_buf_init(&out, SECRETS_PASSWORD_MAX + 1));
	assert_int_equal(secrets_prepare(text(in), false, &out, &why), expected ? SECRETS_OK : SECRETS_MALFORMED);
	if (expected)
		assert_slice(buf_slice(&out), expected);
	else
		assert_non_null(why);
	buf_wipe(&out);
}

static void passwords_are_prepared_as_rfc_4013_3_shows(void **state)
{
	(void)state;
	assert_prepared("I\xc2\xadX", "IX");
	assert_prepared("user", "user");
	assert_prepared("USER", "USER");
	assert_prepared("\xc2\xaa", "a");
	assert_prepared("\xe2\x85\xa8", "IX");
	assert_prepared("\x07", NULL);
	assert_prepared("\xd8\xa7\x31", NULL);
	assert_prepared("\xc2\xa0!", " !");       /* a non-breaking blank is a blank */
	assert_prepared("u\xcc\x88", "\xc3\xbc"); /* the composed form */
}

static void what_can_be_no_password_is_refused(void **state)
{
	char longest[SECRETS_PASSWORD_MAX + 2];
	struct buf out;
	const char *why;

	(void)state;
	assert_prepared("", NULL);
	assert_prepared("\xc2\xad", NULL); /* nothing is left of it */
	assert_prepared("tab\there", NULL);
	assert_prepared("\xff", NULL);
	memset(longest, 'x', sizeof longest);
	longest[SECRETS_PASSWORD_MAX] = '\0';
	assert_prepared(longest, longest);
	longest[SECRETS_PASSWORD_MAX] = 'x';
	longest[SECRETS_PASSWORD_MAX + 1] = '\0';
	assert_prepared(longest, NULL);
	/* U+FDFA is eighteen characters after its preparation. */
	for (size_t i = 0; i + 3 <= SECRETS_PASSWORD_MAX; i += 3)
		memcpy(longest + i, "\xef\xb7\xba", 4);
	assert_prepared(longest, NULL);

	assert_true(secrets_buf_init(&out, SECRETS_PASSWORD_MAX + 1));
	assert_int_equal(secrets_prepare(slice_of("a\0b", 3), false, &out, &why), SECRETS_MALFORMED);
	buf_wipe(&out);
}

static void unassigned_code_points_are_for_queries_alone(void **state)
{
	struct slice unassigned = SLICE("\xf0\x9f\x98\x80"); /* U+1F600: not in Unicode 3.2 */
	struct buf out;
	const char *why;

	(void)state;
	assert_true(secrets_buf_init(&out, SECRETS_PASSWORD_MAX + 1));
	assert_int_equal(secrets_prepare(unassigned, false, &out, &why), SECRETS_MALFORMED);
	assert_int_equal(secrets_prepare(unassigned, true, &out, &why), SECRETS_OK);
	buf_wipe(&out);
}

/* ---- making and verifying ------------------------------------------------------------------------------------ */

static void a_password_is_verified_by_each_of_its_secrets(void **state)
{
	struct secrets whole, s;

	(void)state;
	make(password, &whole);
	assert_true(slice_starts(text(whole.crypt), SLICE("$y$")));
	assert_false(secrets_outdated(&whole, true));
	for (int drop = 0; drop < 4; drop++) {
		s = whole;
		if (drop > 0)
			s.crypt[0] = '\0';
		if (drop > 1)
			s.scram[SCRAM_SHA_256].iterations = 0;
		if (drop > 2)
			s.scram[SCRAM_SHA_1].iterations = 0;
		assert_int_equal(secrets_verify(&s, text(password)), SECRETS_OK);
		assert_int_equal(secrets_verify(&s, text("correct horse battery stapl")), SECRETS_WRONG);
		assert_int_equal(secrets_verify(&s, SLICE("")), SECRETS_WRONG);
		assert_int_equal(secrets_verify(&s, SLICE("\x07")), SECRETS_WRONG);
	}
	secrets_wipe(&s);
	assert_int_equal(secrets_verify(&s, text(password)), SECRETS_WRONG);
	secrets_wipe(&whole);
}

static void the_same_password_in_another_form_is_the_same(void **state)
{
	struct secrets s;

	(void)state;
	make("u\xcc\x88"
	     "ber",
	     &s);
	assert_int_equal(secrets_verify(&s, SLICE("\xc3\xbc"
						  "ber")),
			 SECRETS_OK);
	assert_int_equal(secrets_verify(&s, SLICE("u\xcc\x88"
						  "ber")),
			 SECRETS_OK);
	assert_int_equal(secrets_verify(&s, SLICE("uber")), SECRETS_WRONG);
}

static void salts_come_from_the_random_octets_and_are_three(void **state)
{
	struct secrets a, b;
	uint8_t other[SECRETS_CHANCE];
	const char *why;

	(void)state;
	make(password, &a);
	make(password, &b);
	assert_string_equal(a.crypt, b.crypt);
	assert_memory_not_equal(a.scram[0].salt, a.scram[1].salt, 16);
	memcpy(other, chance, sizeof other);
	for (size_t part = 0; part < 3; part++) {
		other[16 * part] ^= 1;
		assert_int_equal(secrets_make(text(password), false, other, &b, &why), SECRETS_OK);
		assert_true((strcmp(a.crypt, b.crypt) == 0) == (part != 0));
		assert_true((memcmp(a.scram[0].stored_key, b.scram[0].stored_key, 32) == 0) == (part != 1));
		assert_true((memcmp(a.scram[1].stored_key, b.scram[1].stored_key, 20) == 0) == (part != 2));
		other[16 * part] ^= 1;
	}
}

static void foreign_hashes_are_verified_of_what_was_sent(void **state)
{
	/* Of "u" and a combining diaeresis, which SASLprep composes. */
	struct secrets s = {.foreign = true};

	(void)state;
	snprintf(s.crypt, sizeof s.crypt, "%s",
		 "$6$abcdefgh$FqzGqOA1reA6QyVH9ZE2gQ7zQmdQQohmOjwTlEuu3QlW5cm.WKSg6rttcYqXbUtuWDChWgsTSb/1HvIJ5NPfn0");
	assert_int_equal(secrets_verify(&s, SLICE("u\xcc\x88")), SECRETS_OK);
	assert_int_equal(secrets_verify(&s, SLICE("\xc3\xbc")), SECRETS_WRONG);
	s.foreign = false;
	assert_int_equal(secrets_verify(&s, SLICE("u\xcc\x88")), SECRETS_WRONG);
}

static void secrets_are_outdated_when_better_ones_would_be_made(void **state)
{
	struct secrets good, s;

	(void)state;
	make(password, &good);
	assert_false(secrets_outdated(&good, true));
	assert_true(secrets_outdated(&good, false)); /* CRAM-MD5 is not wanted any more */
	s = good;
	s.foreign = true;
	assert_true(secrets_outdated(&s, true));
	s = good;
	s.scram[SCRAM_SHA_1].iterations = 4096;
	assert_true(secrets_outdated(&s, true));
	s = good;
	s.crypt[1] = '6';
	assert_true(secrets_outdated(&s, true));
	s = good;
	s.has_cram_md5 = false;
	assert_true(secrets_outdated(&s, true));
}

/* ---- decoys -------------------------------------------------------------------------------------------------- */

static void decoys_look_like_secrets_and_are_of_no_password(void **state)
{
	struct secrets real, decoy, again, other;
	struct scram_verifier v;
	uint8_t second[32] = "another key";

	(void)state;
	make(password, &real);
	secrets_decoy(key, SLICE("nobody@example.com"), &decoy);
	secrets_decoy(key, SLICE("nobody@example.com"), &again);
	assert_memory_equal(&decoy, &again, sizeof decoy);
	assert_int_equal(strlen(decoy.crypt), strlen(real.crypt));
	assert_int_equal(secrets_verify(&decoy, text(password)), SECRETS_WRONG);
	assert_int_equal(decoy.scram[0].iterations, real.scram[0].iterations);
	assert_int_equal(decoy.scram[0].salt_n, real.scram[0].salt_n);
	assert_memory_not_equal(decoy.scram[0].salt, decoy.scram[1].salt, 16);

	secrets_decoy(key, SLICE("nobody@example.net"), &other);
	assert_memory_not_equal(decoy.scram[0].salt, other.scram[0].salt, 16);
	secrets_decoy(second, SLICE("nobody@example.com"), &other);
	assert_memory_not_equal(decoy.scram[0].salt, other.scram[0].salt, 16);

	/* An account without a verifier shows the decoy that it would show if it did not exist. */
	real.scram[SCRAM_SHA_1].iterations = 0;
	secrets_scram(&real, SCRAM_SHA_1, key, SLICE("nobody@example.com"), &v);
	assert_memory_equal(&v, &decoy.scram[SCRAM_SHA_1], sizeof v);
	secrets_scram(&real, SCRAM_SHA_256, key, SLICE("nobody@example.com"), &v);
	assert_memory_equal(&v, &real.scram[SCRAM_SHA_256], sizeof v);
}

/* ---- memory -------------------------------------------------------------------------------------------------- */

static void memory_that_is_given_back_holds_no_password(void **state)
{
	struct secrets s;

	(void)state;
	left_behind = 0;
	make(password, &s);
	assert_int_equal(secrets_verify(&s, text(password)), SECRETS_OK);
	s.foreign = true;
	assert_int_equal(secrets_verify(&s, SLICE("correct horse\xc2\xa0"
						  "battery")),
			 SECRETS_WRONG);
	assert_int_equal(left_behind, 0);
}

static void without_memory_the_answer_is_later(void **state)
{
	struct secrets s, made;
	const char *why;
	int count = 0;

	(void)state;
	make(password, &s);
	for (bool whole = false; !whole; count++) {
		allocations_left = count;
		enum secrets_result result = secrets_verify(&s, text(password));
		whole = allocations_left >= 0;
		allocations_left = -1;
		assert_int_equal(result, whole ? SECRETS_OK : SECRETS_TROUBLE);
	}
	assert_true(count > 1);
	for (bool whole = false, first = true; !whole; first = false) {
		count = first ? 0 : count + 1;
		allocations_left = count;
		enum secrets_result result = secrets_make(text(password), true, chance, &made, &why);
		whole = allocations_left >= 0;
		allocations_left = -1;
		assert_int_equal(result, whole ? SECRETS_OK : SECRETS_TROUBLE);
		assert_true(whole || made.crypt[0] == '\0');
	}
}

static void texts_are_compared_whole(void **state)
{
	(void)state;
	assert_true(secrets_equal(SLICE("abc"), SLICE("abc")));
	assert_true(secrets_equal(SLICE_NONE, SLICE("")));
	assert_false(secrets_equal(SLICE("abc"), SLICE("abd")));
	assert_false(secrets_equal(SLICE("abc"), SLICE("abcd")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_exchange_of_rfc_5802_5_is_right),
		cmocka_unit_test(the_exchange_of_rfc_7677_3_is_right),
		cmocka_unit_test(the_digest_of_rfc_2195_2_is_right),
		cmocka_unit_test(the_digests_of_rfc_2202_2_are_right),
		cmocka_unit_test(passwords_are_prepared_as_rfc_4013_3_shows),
		cmocka_unit_test(what_can_be_no_password_is_refused),
		cmocka_unit_test(unassigned_code_points_are_for_queries_alone),
		cmocka_unit_test(a_password_is_verified_by_each_of_its_secrets),
		cmocka_unit_test(the_same_password_in_another_form_is_the_same),
		cmocka_unit_test(salts_come_from_the_random_octets_and_are_three),
		cmocka_unit_test(foreign_hashes_are_verified_of_what_was_sent),
		cmocka_unit_test(secrets_are_outdated_when_better_ones_would_be_made),
		cmocka_unit_test(decoys_look_like_secrets_and_are_of_no_password),
		cmocka_unit_test(memory_that_is_given_back_holds_no_password),
		cmocka_unit_test(without_memory_the_answer_is_later),
		cmocka_unit_test(texts_are_compared_whole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
