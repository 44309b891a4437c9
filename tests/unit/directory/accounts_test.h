/*
 * accounts_test: a database of accounts in a directory of its own for each test, for test_accounts*.c.
 */
#ifndef ACCOUNTS_TEST_H
#define ACCOUNTS_TEST_H

#include "test.h"

#include "directory/accounts.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOW ((wall_ms)1700000000000)

static char directory[64], path[128];
static struct secrets alices, bobs;
static struct account account;

static inline int begin(void **state)
{
	(void)state;
	snprintf(directory, sizeof directory, "/tmp/postrider-accounts.XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/" ACCOUNTS_FILE, directory);
	return 0;
}

static inline int end(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof command, "%s", directory);
	char *const argv[] = {(char[]){"rm"}, (char[]){"-rf"}, command, NULL};
	pid_t pid = fork();
	if (pid == 0) {
		execv("/bin/rm", argv);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
	account_wipe(&account);
	return 0;
}

static inline struct slice text(const char *s)
{
	return slice_from_cstr(s);
}

/* Secrets of no password, but such as the file has to give back. */
static inline void make_secrets(void)
{
	static const uint8_t a[ACCOUNTS_KEY] = "alice", b[ACCOUNTS_KEY] = "bob";

	secrets_decoy(a, SLICE("alice"), &alices);
	secrets_decoy(b, SLICE("bob"), &bobs);
	bobs.foreign = bobs.has_cram_md5 = true;
	memset(bobs.cram_md5, 0xa5, sizeof bobs.cram_md5);
	bobs.scram[SCRAM_SHA_1] = (struct scram_verifier){0};
}

static inline struct accounts *try_open(bool create, enum accounts_result expected)
{
	struct accounts_config config = {
		.path = path, .create = create, .key = "a key of this database", .busy_wait = 20000};
	struct accounts *a;
	struct buf why;

	buf_init(&why, 8192);
	enum accounts_result result = accounts_open(&config, &a, &why);
	if (result != expected)
		print_error("%.*s\n", SLICE_ARGS(buf_slice(&why)));
	assert_int_equal(result, expected);
	assert_true(result == ACCOUNTS_OK ? buf_len(&why) == 0 : slice_starts(buf_slice(&why), text(path)));
	assert_true((a != NULL) == (result == ACCOUNTS_OK));
	buf_free(&why);
	return a;
}

static inline struct accounts *writer(void)
{
	return try_open(true, ACCOUNTS_OK);
}

static inline struct accounts *reader(void)
{
	struct accounts *a = accounts_reader(path, (const uint8_t[ACCOUNTS_KEY]){"a key of this process"});

	assert_non_null(a);
	return a;
}

static inline void add(struct accounts *a, const char *name)
{
	assert_int_equal(accounts_add(a, text(name), &alices, NOW), ACCOUNTS_OK);
}

/* What the reader finds goes to `account`. */
static inline void assert_found(struct accounts *a, const char *login, bool known)
{
	struct buf why;

	buf_init(&why, 8192);
	enum accounts_result result = accounts_find(a, text(login), &account, &why);
	if (result)
		print_error("%.*s\n", SLICE_ARGS(buf_slice(&why)));
	assert_int_equal(result, ACCOUNTS_OK);
	assert_int_equal(account.known, known);
	buf_free(&why);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

#endif
