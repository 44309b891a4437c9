/*
 * The file: damaged, replaced, and used by several processes and by those who may only read.
 */
#include "accounts_test.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sqlite3.h>

static void assert_fails(struct accounts *a, enum accounts_result expected, const char *expected_why)
{
	struct buf why;

	buf_init(&why, 8192);
	assert_int_equal(accounts_find(a, SLICE("alice@example.com"), &account, &why), expected);
	assert_true(slice_search(buf_slice(&why), text(expected_why)) < buf_len(&why));
	assert_false(account.known);
	buf_free(&why);
}

/* Runs SQL on the file, past all checks of ours. */
static void doctor(const char *sql)
{
	sqlite3 *db;
	char *error = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	if (sqlite3_exec(db, sql, NULL, NULL, &error) != SQLITE_OK)
		fail_msg("%s: %s", sql, error);
	sqlite3_close(db);
}

/* ---- files that are not as they should be ---------------------------------------------------------------------- */

static void make_one(void)
{
	struct accounts *w = writer();

	add(w, "alice@example.com");
	accounts_close(w);
}

static void write_file(const char *name, const void *octets, size_t n, off_t at, int flags)
{
	int fd = open(name, O_WRONLY | O_CREAT | flags, 0600);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, octets, n, at), (ssize_t)n);
	close(fd);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
	struct accounts *r = reader();
	char garbage[8192];

	(void)state;
	make_one();
	memset(garbage, 'g', sizeof garbage);
	write_file(path, garbage, sizeof garbage, 0, O_TRUNC);
	assert_fails(r, ACCOUNTS_DAMAGED, "not a database");
	assert_fails(r, ACCOUNTS_DAMAGED, "not a database");
	try_open(true, ACCOUNTS_DAMAGED);
	write_file(path, "", 0, 0, O_TRUNC);
	assert_fails(r, ACCOUNTS_VERSION, "no database of accounts");
	try_open(true, ACCOUNTS_VERSION);
	accounts_close(r);
}

static void damaged_pages_are_noticed(void **state)
{
	struct accounts *r = reader();
	struct stat st;
	char garbage[512];
	int failed = 0;

	(void)state;
	make_one();
	assert_int_equal(stat(path, &st), 0);
	memset(garbage, 0xee, sizeof garbage);
	/* Each page but the first, one after the other: what is read is right, or it fails. */
	for (off_t at = 4096; at < st.st_size; at += 4096)
		write_file(path, garbage, sizeof garbage, at, 0);
	for (int i = 0; i < 2; i++) {
		enum accounts_result result = accounts_find(r, SLICE("alice@example.com"), &account, NULL);
		failed += result == ACCOUNTS_DAMAGED;
	}
	assert_int_equal(failed, 2);
	accounts_close(r);
}

static void a_truncated_file_is_noticed(void **state)
{
	struct accounts *r = reader();

	(void)state;
	make_one();
	assert_int_equal(truncate(path, 5000), 0);
	assert_fails(r, ACCOUNTS_DAMAGED, "malformed");
	try_open(true, ACCOUNTS_DAMAGED);
	accounts_close(r);
}

static void another_program_s_or_a_newer_database_is_refused(void **state)
{
	struct accounts *r = reader();

	(void)state;
	make_one();
	doctor("PRAGMA user_version = 2");
	assert_fails(r, ACCOUNTS_VERSION, "newer version");
	try_open(true, ACCOUNTS_VERSION);
	doctor("PRAGMA user_version = 1; PRAGMA application_id = 7");
	assert_fails(r, ACCOUNTS_VERSION, "no database of accounts");
	try_open(true, ACCOUNTS_VERSION);
	doctor("PRAGMA application_id = 1349481333");
	assert_found(r, "alice@example.com", true);
	doctor("DROP TABLE address");
	assert_fails(r, ACCOUNTS_DAMAGED, "no such table");
	doctor("DELETE FROM state");
	accounts_close(r);
	r = reader();
	assert_fails(r, ACCOUNTS_DAMAGED, "lost its key");
	try_open(true, ACCOUNTS_DAMAGED);
	accounts_close(r);
}

static void values_that_we_never_write_are_refused(void **state)
{
	static const char *const sets[] = {
		"enabled = 2",
		"enabled = 'x'",
		"messages_per_hour = -1",
		"messages_per_hour = 4294967296",
		"crypt = x'00'",
		"crypt = printf('%400s', 'x')",
		"scram_sha_256 = 'SCRAM-SHA-256$1:AAAA$AAAA:AAAA'",
		"scram_sha_256 = scram_sha_1",
		"scram_sha_1 = scram_sha_1 || 'A'",
		"cram_md5 = 'abcd'",
		"is_foreign = 7",
		"name = name, domain = NULL",
	};
	struct accounts *r = reader();
	char sql[256];

	(void)state;
	make_one();
	for (size_t i = 0; i + 1 < sizeof sets / sizeof *sets; i++) {
		doctor("CREATE TABLE kept AS SELECT * FROM account");
		snprintf(sql, sizeof sql, "UPDATE account SET %s", sets[i]);
		doctor(sql);
		assert_fails(r, ACCOUNTS_DAMAGED, "damaged");
		doctor("DELETE FROM account; INSERT INTO account SELECT * FROM kept; DROP TABLE kept");
	}
	assert_found(r, "alice@example.com", true);
	for (int i = 0; i < ACCOUNT_ADDRESSES_MAX + 1; i++) {
		snprintf(sql, sizeof sql, "INSERT INTO address SELECT id, 'n%d.example' FROM account", i);
		doctor(sql);
	}
	assert_fails(r, ACCOUNTS_DAMAGED, "damaged");
	accounts_close(r);
}

static void a_file_that_others_can_read_or_change_is_refused(void **state)
{
	static const mode_t modes[] = {0644, 0604, 0602, 0620};
	struct accounts *r = reader();

	(void)state;
	make_one();
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
		assert_int_equal(chmod(path, modes[i]), 0);
		assert_fails(r, ACCOUNTS_DENIED, "0600");
		try_open(true, ACCOUNTS_DENIED);
	}
	assert_int_equal(chmod(path, 0640), 0);
	assert_found(r, "alice@example.com", true);
	accounts_close(r);
}

static void a_place_that_cannot_be_written_is_said(void **state)
{
	char file[128];

	(void)state;
	snprintf(file, sizeof file, "%s/accounts", directory);
	write_file(file, "x", 1, 0, 0);
	struct accounts *r = reader();
	assert_int_equal(accounts_find(r, SLICE("alice"), &account, NULL), ACCOUNTS_MISSING);
	accounts_close(r);
	snprintf(path, sizeof path, "%s/not/there/directory.db", directory);
	try_open(true, ACCOUNTS_IO);
}

static void a_file_that_takes_the_place_of_the_open_one_is_noticed(void **state)
{
	char old[128], now[128];
	struct accounts *r = reader();

	(void)state;
	make_one();
	assert_found(r, "alice@example.com", true);
	snprintf(now, sizeof now, "%s", path);
	snprintf(old, sizeof old, "%s/accounts", directory);
	snprintf(path, sizeof path, "%s/other/directory.db", directory);
	struct accounts *w = writer();
	add(w, "bob@example.com");
	accounts_close(w);
	assert_int_equal(rename(path, now), 0);
	assert_found(r, "alice@example.com", false);
	assert_found(r, "bob@example.com", true);
	assert_int_equal(unlink(now), 0);
	assert_int_equal(accounts_find(r, SLICE("bob@example.com"), &account, NULL), ACCOUNTS_MISSING);
	accounts_close(r);
	snprintf(path, sizeof path, "%s", now);
}

/* ---- other processes ----------------------------------------------------------------------------------------- */

#define CHILDREN 4
#define EACH     25

static int wait_for_child(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* In a process of its own: no assertion of cmocka's, which would go on in the parent's tests. */
static int add_many(int number)
{
	struct accounts_config config = {.path = path, .create = true, .busy_wait = 60000};
	struct accounts *a;
	struct buf why;
	char name[64];

	buf_init(&why, 8192);
	if (accounts_open(&config, &a, &why)) {
		fprintf(stderr, "%.*s\n", SLICE_ARGS(buf_slice(&why)));
		return 1;
	}
	for (int i = 0; i < EACH; i++) {
		snprintf(name, sizeof name, "u%d-%d@example.com", number, i);
		if (accounts_add(a, text(name), &alices, NOW)) {
			fprintf(stderr, "%.*s\n", SLICE_ARGS(accounts_why(a)));
			return 2;
		}
	}
	accounts_close(a);
	return 0;
}

static void writers_wait_for_each_other_and_make_one_file(void **state)
{
	pid_t pids[CHILDREN];
	struct account_domain domain;

	(void)state;
	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(add_many(i));
	}
	for (int i = 0; i < CHILDREN; i++)
		assert_int_equal(wait_for_child(pids[i]), 0);
	struct accounts *r = reader();
	assert_int_equal(accounts_find_domain(r, SLICE("example.com"), &domain), ACCOUNTS_OK);
	assert_int_equal(domain.accounts, CHILDREN * EACH);
	accounts_close(r);
}

static void a_writer_who_finds_the_file_taken_says_so_in_the_end(void **state)
{
	struct accounts_config config = {.path = path, .busy_wait = 50};
	struct accounts *w = writer(), *second, *r = reader();
	struct buf why;

	(void)state;
	buf_init(&why, 8192);
	add(w, "alice@example.com");
	assert_int_equal(accounts_open(&config, &second, &why), ACCOUNTS_OK);
	assert_int_equal(accounts_begin(w), ACCOUNTS_OK);
	assert_int_equal(accounts_add(second, SLICE("bob"), &alices, NOW), ACCOUNTS_BUSY);
	assert_found(r, "alice@example.com", true); /* nobody waits to read */
	assert_int_equal(accounts_commit(w), ACCOUNTS_OK);
	assert_int_equal(accounts_add(second, SLICE("bob"), &alices, NOW), ACCOUNTS_OK);
	buf_free(&why);
	accounts_close(second);
	accounts_close(w);
	accounts_close(r);
}

/* A writer that dies with half of its changes in the log. */
static int die_while_writing(void)
{
	struct accounts_config config = {.path = path};
	struct accounts *a;
	struct buf why;
	char name[64];

	buf_init(&why, 8192);
	if (accounts_open(&config, &a, &why) || accounts_add(a, SLICE("before@example.com"), &alices, NOW) ||
	    accounts_begin(a))
		return 1;
	for (int i = 0; i < 10000; i++) {
		snprintf(name, sizeof name, "u%d@example.com", i);
		if (accounts_add(a, text(name), &alices, NOW))
			return 2;
	}
	kill(getpid(), SIGKILL);
	return 3;
}

static int is_known(struct accounts *r, const char *login)
{
	struct buf why;

	buf_init(&why, 8192);
	enum accounts_result result = accounts_find(r, text(login), &account, &why);
	if (result)
		fprintf(stderr, "%s: %.*s\n", login, SLICE_ARGS(buf_slice(&why)));
	buf_free(&why);
	return result ? -1 : account.known;
}

/* Another user, who may read the files and do nothing else to them. */
static pid_t start_powerless(const char *known, const char *unknown)
{
	fflush(NULL);
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (getuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
		_exit(10);
	struct accounts *r = reader();
	for (int i = 0; i < 3; i++)
		if (is_known(r, known) != 1 || is_known(r, unknown) != 0)
			_exit(11);
	accounts_close(r);
	_exit(0);
}

/* Owned by that user, if we may give it away; only readable in any case. */
static void take_power(bool take)
{
	static const char *const suffixes[] = {"", "-wal", "-shm"};
	char name[160];

	snprintf(name, sizeof name, "%s/accounts", directory);
	assert_int_equal(chmod(directory, 0755), 0);
	for (size_t i = 0; i < 3; i++) {
		char file[160];
		snprintf(file, sizeof file, "%s%s", path, suffixes[i]);
		if (access(file, F_OK) == 0) {
			assert_int_equal(chmod(file, take ? 0440 : 0600), 0);
			if (getuid() == 0)
				assert_int_equal(chown(file, 0, take ? 65534 : 0), 0);
		}
	}
	if (getuid() == 0)
		assert_int_equal(chown(name, 0, take ? 65534 : 0), 0);
	assert_int_equal(chmod(name, take ? 0550 : 0700), 0);
}

static void assert_powerless_reads(const char *known, const char *unknown)
{
	take_power(true);
	int status = wait_for_child(start_powerless(known, unknown));
	take_power(false);
	assert_int_equal(status, 0);
}

static void a_reader_needs_no_right_to_write(void **state)
{
	char suffixed[160];

	(void)state;
	make_one();
	assert_powerless_reads("alice@example.com", "bob@example.com");

	/* While somebody writes. */
	struct accounts *w = writer();
	add(w, "bob@example.com");
	assert_powerless_reads("bob@example.com", "carol@example.com");
	assert_int_equal(accounts_begin(w), ACCOUNTS_OK);
	add(w, "carol@example.com");
	assert_powerless_reads("bob@example.com", "carol@example.com");
	assert_int_equal(accounts_commit(w), ACCOUNTS_OK);
	assert_powerless_reads("carol@example.com", "nobody@example.com");
	accounts_close(w);

	/* After a writer died. */
	pid_t pid = fork();
	if (pid == 0)
		_exit(die_while_writing());
	assert_int_equal(wait_for_child(pid), 1000 + SIGKILL);
	assert_powerless_reads("before@example.com", "u1@example.com");
	w = writer();
	assert_int_equal(accounts_remove(w, SLICE("before@example.com")), ACCOUNTS_OK);
	accounts_close(w);
	assert_powerless_reads("alice@example.com", "before@example.com");

	/* A copy of the file alone. */
	snprintf(suffixed, sizeof suffixed, "%s-shm", path);
	assert_int_equal(unlink(suffixed), 0);
	assert_powerless_reads("alice@example.com", "before@example.com");
	snprintf(suffixed, sizeof suffixed, "%s-wal", path);
	assert_int_equal(unlink(suffixed), 0);
	assert_powerless_reads("alice@example.com", "before@example.com");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_that_is_no_database_is_refused),
		TEST(damaged_pages_are_noticed),
		TEST(a_truncated_file_is_noticed),
		TEST(another_program_s_or_a_newer_database_is_refused),
		TEST(values_that_we_never_write_are_refused),
		TEST(a_file_that_others_can_read_or_change_is_refused),
		TEST(a_place_that_cannot_be_written_is_said),
		TEST(a_file_that_takes_the_place_of_the_open_one_is_noticed),
		TEST(writers_wait_for_each_other_and_make_one_file),
		TEST(a_writer_who_finds_the_file_taken_says_so_in_the_end),
		TEST(a_reader_needs_no_right_to_write),
	};
	make_secrets();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
