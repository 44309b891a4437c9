/*
 * What is kept of an account, and who is told what.
 */
#include "accounts_test.h"

#include <fcntl.h>

/* ---- what is kept -------------------------------------------------------------------------------------------- */

static void an_account_comes_back_as_it_was_put(void **state)
{
	struct accounts *w = writer(), *r = reader();
	struct stat st;

	(void)state;
	add(w, "alice@example.com");
	assert_int_equal(accounts_add(w, SLICE("bob"), &bobs, NOW + 1), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", true);
	assert_true(account.enabled);
	assert_slice(account.name, "alice@example.com");
	assert_memory_equal(&account.secrets, &alices, sizeof alices);
	assert_int_equal(account.address_count, 1);
	assert_slice(account.addresses[0], "alice@example.com");
	assert_int_equal(account.messages_per_hour, 0);
	assert_int_equal(account.created, NOW);
	assert_int_equal(account.password_changed, NOW);

	assert_found(r, "bob", true);
	assert_memory_equal(&account.secrets, &bobs, sizeof bobs);
	assert_int_equal(account.address_count, 0);

	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	accounts_close(r);
	accounts_close(w);
}

static void changes_are_seen_at_once(void **state)
{
	struct accounts *w = writer(), *r = reader();

	(void)state;
	add(w, "alice@example.com");
	assert_found(r, "alice@example.com", true);
	assert_int_equal(accounts_set_password(w, SLICE("alice@example.com"), &bobs, NOW + 5), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", true);
	assert_memory_equal(&account.secrets, &bobs, sizeof bobs);
	assert_int_equal(account.password_changed, NOW + 5);
	assert_int_equal(account.created, NOW);

	assert_int_equal(accounts_set_enabled(w, SLICE("alice@example.com"), false), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", true);
	assert_false(account.enabled);
	assert_true(account.disabled_itself);
	assert_int_equal(accounts_set_enabled(w, SLICE("alice@example.com"), true), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", true);
	assert_true(account.enabled);

	assert_int_equal(accounts_remove(w, SLICE("alice@example.com")), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", false);
	accounts_close(r);
	accounts_close(w);
}

static void names_are_compared_in_their_canonical_form(void **state)
{
	struct accounts *w = writer(), *r = reader();
	struct buf name;
	const char *why;

	(void)state;
	add(w, "Alice@B\xc3\xbc"
	       "cher.Example");
	assert_found(r, "alice@xn--bcher-kva.example", true);
	assert_found(r,
		     "ALICE@b\xc3\xbc"
		     "cher.example.",
		     true);
	assert_slice(account.name, "alice@xn--bcher-kva.example");
	assert_int_equal(accounts_add(w, SLICE("aLICE@xn--BCHER-kva.example"), &bobs, NOW), ACCOUNTS_EXISTS);
	assert_true(slice_search(accounts_why(w), SLICE("there already")) < accounts_why(w).n);
	/* The composed and the decomposed form of one name. */
	add(w, "u\xcc\x88@example.com");
	assert_found(r, "\xc3\xbc@example.com", true);

	static const char *const wrong[] = {"",    "@example.com", "a@",   "a b",     "a\tb", "a@[192.0.2.1]",
					    "a@-", "\xff",         "a@b@", "\xc2\xad"};
	buf_init(&name, 1024);
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		assert_false(account_name_canonical(text(wrong[i]), &name, &why));
		assert_int_equal(buf_len(&name), 0);
		assert_int_equal(accounts_add(w, text(wrong[i]), &bobs, NOW), ACCOUNTS_INVALID);
		assert_found(r, wrong[i], false); /* nobody, like any other */
	}
	char longest[ACCOUNT_NAME_MAX + 2];
	memset(longest, 'a', sizeof longest);
	assert_true(account_name_canonical(slice_of(longest, ACCOUNT_NAME_MAX), &name, &why));
	assert_false(account_name_canonical(slice_of(longest, ACCOUNT_NAME_MAX + 1), &name, &why));
	buf_free(&name);
	assert_int_equal(accounts_find(r, slice_of("alice@xn--bcher-kva.example\0", 28), &account, NULL), ACCOUNTS_OK);
	assert_false(account.known);
	accounts_close(r);
	accounts_close(w);
}

static void who_may_send_as_what_is_told(void **state)
{
	struct accounts *w = writer(), *r = reader();
	static const struct {
		const char *address;
		bool may;
	} cases[] = {
		{"alice@example.com", true},     {"ALICE@EXAMPLE.COM", true},  {"alice+list@example.com", true},
		{"\"alice\"@example.com", true}, {"bob@example.com", false},   {"sales@example.com", true},
		{"anybody@example.net", true},   {"x@a.example.net", false},   {"x@a.example.org", true},
		{"x@example.org", false},        {"+list@example.com", false}, {"alice@example.org", false},
	};
	struct slice login = SLICE("alice@example.com");

	(void)state;
	add(w, "alice@example.com");
	assert_int_equal(accounts_add_address(w, login, SLICE("Sales@EXAMPLE.com")), ACCOUNTS_OK);
	assert_int_equal(accounts_add_address(w, login, SLICE("sales@example.com")), ACCOUNTS_EXISTS);
	assert_int_equal(accounts_add_address(w, login, SLICE("example.net")), ACCOUNTS_OK);
	assert_int_equal(accounts_add_address(w, login, SLICE(".example.org")), ACCOUNTS_OK);
	assert_int_equal(accounts_add_address(w, login, SLICE("alice@example.com")), ACCOUNTS_EXISTS);
	assert_int_equal(accounts_add_address(w, login, SLICE("no address @")), ACCOUNTS_INVALID);
	assert_int_equal(accounts_add_address(w, SLICE("nobody"), SLICE("example.net")), ACCOUNTS_NOT_FOUND);
	assert_found(r, "alice@example.com", true);
	assert_int_equal(account.address_count, 4);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct mail_address address;
		const char *why;
		assert_int_equal(mail_address_parse(text(cases[i].address), &address, &why), MAIL_ADDRESS_OK);
		if (account_may_send_as(&account, &address, '+') != cases[i].may)
			fail_msg("%s", cases[i].address);
	}
	struct mail_address address;
	const char *why;
	assert_int_equal(mail_address_parse(SLICE("alice+list@example.com"), &address, &why), MAIL_ADDRESS_OK);
	assert_false(account_may_send_as(&account, &address, 0));

	assert_int_equal(accounts_remove_address(w, login, SLICE("SALES@example.com")), ACCOUNTS_OK);
	assert_int_equal(accounts_remove_address(w, login, SLICE("sales@example.com")), ACCOUNTS_NOT_FOUND);
	assert_int_equal(accounts_remove_address(w, login, SLICE("alice@example.com")), ACCOUNTS_INVALID);
	assert_found(r, "alice@example.com", true);
	assert_int_equal(account.address_count, 3);
	assert_found(r, "nobody@example.com", false);
	assert_false(account_may_send_as(&account, &address, '+'));
	accounts_close(r);
	accounts_close(w);
}

static void an_account_has_a_bounded_number_of_addresses(void **state)
{
	struct accounts *w = writer(), *r = reader();
	char pattern[64];

	(void)state;
	add(w, "alice@example.com");
	for (int i = 0; i < ACCOUNT_ADDRESSES_MAX; i++) {
		snprintf(pattern, sizeof pattern, "n%d@example.com", i);
		assert_int_equal(accounts_add_address(w, SLICE("alice@example.com"), text(pattern)), ACCOUNTS_OK);
	}
	assert_int_equal(accounts_add_address(w, SLICE("alice@example.com"), SLICE("more@example.com")),
			 ACCOUNTS_INVALID);
	assert_found(r, "alice@example.com", true);
	assert_int_equal(account.address_count, ACCOUNT_ADDRESSES_MAX + 1);
	/* A name that is removed and taken again begins anew. */
	assert_int_equal(accounts_remove(w, SLICE("alice@example.com")), ACCOUNTS_OK);
	add(w, "alice@example.com");
	assert_found(r, "alice@example.com", true);
	assert_int_equal(account.address_count, 1);
	accounts_close(r);
	accounts_close(w);
}

static void limits_are_the_account_s_own_or_its_domain_s(void **state)
{
	struct accounts *w = writer(), *r = reader();
	struct account_domain domain;

	(void)state;
	add(w, "alice@example.com");
	assert_int_equal(accounts_set_domain_limits(w, SLICE("Example.COM"), 100, 1000), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", true);
	assert_int_equal(account.messages_per_hour, 100);
	assert_int_equal(account.recipients_per_hour, 1000);
	assert_int_equal(account.own_messages_per_hour, 0);
	assert_int_equal(accounts_set_limits(w, SLICE("alice@example.com"), ACCOUNT_UNLIMITED, 0), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", true);
	assert_int_equal(account.messages_per_hour, ACCOUNT_UNLIMITED);
	assert_int_equal(account.recipients_per_hour, 1000);
	assert_int_equal(accounts_find_domain(r, SLICE("example.com"), &domain), ACCOUNTS_OK);
	assert_int_equal(domain.messages_per_hour, 100);
	assert_true(domain.enabled);
	assert_int_equal(accounts_set_limits(w, SLICE("nobody"), 1, 1), ACCOUNTS_NOT_FOUND);
	assert_int_equal(accounts_set_domain_limits(w, SLICE("no domain"), 1, 1), ACCOUNTS_INVALID);
	accounts_close(r);
	accounts_close(w);
}

static bool count_domain(void *arg, const struct account_domain *domain)
{
	char *names = arg;
	size_t n = strlen(names);

	snprintf(names + n, 256 - n, "%s:%d:%d/%d ", domain->name, domain->enabled, (int)domain->accounts,
		 (int)domain->disabled);
	return true;
}

static bool count_account(void *arg, const struct account *a)
{
	char *names = arg;
	size_t n = strlen(names);

	snprintf(names + n, 256 - n, "%.*s ", SLICE_ARGS(a->name));
	return true;
}

static bool only_one(void *arg, const struct account *a)
{
	count_account(arg, a);
	return false;
}

static void a_domain_is_switched_off_with_all_its_accounts(void **state)
{
	struct accounts *w = writer(), *r = reader();
	char names[256] = "";

	(void)state;
	add(w, "bob@example.com");
	add(w, "alice@example.com");
	add(w, "carol@example.net");
	add(w, "root");
	assert_int_equal(accounts_set_enabled(w, SLICE("bob@example.com"), false), ACCOUNTS_OK);
	assert_int_equal(accounts_set_domain_enabled(w, SLICE("example.com"), false), ACCOUNTS_OK);
	assert_int_equal(accounts_set_domain_enabled(w, SLICE("empty.example"), false), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", true);
	assert_false(account.enabled);
	assert_true(account.disabled_by_domain);
	assert_false(account.disabled_itself);
	assert_found(r, "carol@example.net", true);
	assert_true(account.enabled);

	assert_int_equal(accounts_list_domains(r, count_domain, names), ACCOUNTS_OK);
	assert_string_equal(names, "empty.example:0:0/0 example.com:0:2/1 example.net:1:1/0 ");
	names[0] = '\0';
	assert_int_equal(accounts_list(r, SLICE(""), count_account, names), ACCOUNTS_OK);
	assert_string_equal(names, "root alice@example.com bob@example.com carol@example.net ");
	names[0] = '\0';
	assert_int_equal(accounts_list(r, SLICE("EXAMPLE.com"), count_account, names), ACCOUNTS_OK);
	assert_string_equal(names, "alice@example.com bob@example.com ");
	names[0] = '\0';
	assert_int_equal(accounts_list(r, SLICE(""), only_one, names), ACCOUNTS_OK);
	assert_string_equal(names, "root ");
	assert_int_equal(accounts_list(r, SLICE("no domain"), count_account, names), ACCOUNTS_INVALID);

	/* What has no settings any more is forgotten. */
	assert_int_equal(accounts_set_domain_enabled(w, SLICE("empty.example"), true), ACCOUNTS_OK);
	assert_int_equal(accounts_set_domain_enabled(w, SLICE("example.com"), true), ACCOUNTS_OK);
	names[0] = '\0';
	assert_int_equal(accounts_list_domains(r, count_domain, names), ACCOUNTS_OK);
	assert_string_equal(names, "example.com:1:2/1 example.net:1:1/0 ");
	accounts_close(r);
	accounts_close(w);
}

static void secrets_are_renewed_unless_they_were_changed_meanwhile(void **state)
{
	struct accounts *w = writer(), *r = reader();

	(void)state;
	assert_int_equal(accounts_add(w, SLICE("bob"), &bobs, NOW), ACCOUNTS_OK);
	assert_found(r, "bob", true);
	assert_int_equal(accounts_renew(r, &account, &alices), ACCOUNTS_DENIED);
	assert_int_equal(accounts_renew(w, &account, &alices), ACCOUNTS_OK);
	assert_int_equal(accounts_renew(w, &account, &alices), ACCOUNTS_NOT_FOUND);
	assert_found(r, "bob", true);
	assert_memory_equal(&account.secrets, &alices, sizeof alices);
	assert_int_equal(account.password_changed, NOW);
	accounts_close(r);
	accounts_close(w);
}

static void several_changes_are_one(void **state)
{
	struct accounts *w = writer(), *r = reader();

	(void)state;
	assert_int_equal(accounts_begin(w), ACCOUNTS_OK);
	add(w, "alice@example.com");
	assert_int_equal(accounts_add_address(w, SLICE("alice@example.com"), SLICE("example.net")), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", false);
	assert_int_equal(accounts_commit(w), ACCOUNTS_OK);
	assert_found(r, "alice@example.com", true);
	assert_int_equal(account.address_count, 2);

	assert_int_equal(accounts_begin(w), ACCOUNTS_OK);
	add(w, "bob");
	accounts_roll_back(w);
	assert_int_equal(accounts_begin(w), ACCOUNTS_OK);
	add(w, "carol");
	accounts_close(w);
	assert_found(r, "bob", false);
	assert_found(r, "carol", false);
	assert_int_equal(accounts_begin(r), ACCOUNTS_DENIED);
	assert_int_equal(accounts_remove(r, SLICE("alice@example.com")), ACCOUNTS_DENIED);
	accounts_close(r);
}

static bool file_holds(const char *suffix, struct slice what)
{
	char name[160];
	struct stat st;

	snprintf(name, sizeof name, "%s%s", path, suffix);
	int fd = open(name, O_RDONLY);
	if (fd < 0)
		return false;
	assert_int_equal(fstat(fd, &st), 0);
	char *octets = malloc((size_t)st.st_size + 1);
	assert_int_equal(read(fd, octets, (size_t)st.st_size), st.st_size);
	bool holds = memmem(octets, (size_t)st.st_size, what.p, what.n) != NULL;
	free(octets);
	close(fd);
	return holds;
}

static void a_password_that_was_changed_leaves_nothing_in_the_files(void **state)
{
	struct accounts *w = writer(), *r = reader();

	(void)state;
	add(w, "alice@example.com");
	assert_found(r, "alice@example.com", true);
	assert_int_equal(accounts_set_password(w, SLICE("alice@example.com"), &bobs, NOW), ACCOUNTS_OK);
	accounts_close(w); /* while a reader has it open */
	assert_false(file_holds("", text(alices.crypt)));
	assert_false(file_holds("-wal", text(alices.crypt)));
	assert_true(file_holds("", text(bobs.crypt))); /* the file alone is a whole copy */
	assert_found(r, "alice@example.com", true);
	accounts_close(r);
}

/* ---- unknown users ------------------------------------------------------------------------------------------- */

static void unknown_users_look_like_known_ones(void **state)
{
	struct accounts *w = writer(), *r = reader();
	struct scram_verifier first, second;

	(void)state;
	add(w, "alice@example.com");
	assert_int_equal(accounts_add(w, SLICE("bob"), &bobs, NOW), ACCOUNTS_OK);
	assert_found(r, "nobody@example.com", false);
	assert_slice(account.name, "nobody@example.com");
	assert_int_equal(strlen(account.secrets.crypt), strlen(alices.crypt));
	account_scram(r, &account, SCRAM_SHA_256, &first);
	assert_int_equal(first.iterations, SCRAM_ITERATIONS);
	assert_int_equal(first.salt_n, 16);
	/* Always the same for one name, in every process and however it is written. */
	accounts_close(r);
	r = reader();
	assert_found(r, "NOBODY@example.com", false);
	account_scram(r, &account, SCRAM_SHA_256, &second);
	assert_memory_equal(&first, &second, sizeof first);
	/* A known one without a verifier looks like one who has it, and keeps it for himself. */
	assert_found(r, "bob", true);
	account_scram(r, &account, SCRAM_SHA_1, &first);
	assert_int_equal(first.iterations, SCRAM_ITERATIONS);
	account_scram(r, &account, SCRAM_SHA_256, &second);
	assert_memory_equal(&second, &bobs.scram[SCRAM_SHA_256], sizeof second);
	accounts_close(r);
	accounts_close(w);
}

static void without_a_database_nobody_is_known(void **state)
{
	struct accounts *r = reader();
	struct scram_verifier before, after;
	struct account_domain domain;
	struct buf why;

	(void)state;
	buf_init(&why, 8192);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(accounts_find(r, SLICE("alice@example.com"), &account, &why), ACCOUNTS_MISSING);
		assert_false(account.known);
		account_scram(r, &account, SCRAM_SHA_256, &before);
		assert_int_equal(before.iterations, SCRAM_ITERATIONS);
	}
	buf_free(&why);
	assert_int_equal(accounts_find_domain(r, SLICE("Example.com"), &domain), ACCOUNTS_MISSING);
	assert_string_equal(domain.name, "example.com");
	assert_true(domain.enabled);
	try_open(false, ACCOUNTS_MISSING);
	struct accounts *w = writer();
	add(w, "alice@example.com");
	assert_found(r, "alice@example.com", true);
	assert_found(r, "bob", false);
	account_scram(r, &account, SCRAM_SHA_256, &after); /* with the key of the database from now on */
	assert_memory_not_equal(&before, &after, sizeof after);
	accounts_close(w);
	accounts_close(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_account_comes_back_as_it_was_put),
		TEST(changes_are_seen_at_once),
		TEST(names_are_compared_in_their_canonical_form),
		TEST(who_may_send_as_what_is_told),
		TEST(an_account_has_a_bounded_number_of_addresses),
		TEST(limits_are_the_account_s_own_or_its_domain_s),
		TEST(a_domain_is_switched_off_with_all_its_accounts),
		TEST(secrets_are_renewed_unless_they_were_changed_meanwhile),
		TEST(several_changes_are_one),
		TEST(a_password_that_was_changed_leaves_nothing_in_the_files),
		TEST(unknown_users_look_like_known_ones),
		TEST(without_a_database_nobody_is_known),
	};
	make_secrets();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
