#include "test.h"

#include "queue/store_sqlite.h"
#include "ram_disk.h"
#include "store_suite.h"

#include <sys/stat.h>
#include <unistd.h>

#define PATH "queue.db"

/* ---- the suite's place: a disk in memory */

static void *ram_make(void)
{
	return ram_disk_new();
}

static void ram_remove(void *at)
{
	ram_disk_free(at);
}

static struct store_sqlite_config config_of(struct ram_disk *d)
{
	return (struct store_sqlite_config){
		.path = PATH, .vfs = ram_disk_vfs(), .fs = ram_disk_fs(d), .reserve = SUITE_RESERVE, .log_pages = 20};
}

static struct store *ram_open(void *at, span_ms grace, wall_ms wall)
{
	struct store_sqlite_config config = config_of(at);
	struct store *st = NULL;

	config.recovery_grace = grace;
	config.wall = wall;
	assert_ok(store_sqlite_open(&config, &st, NULL));
	return st;
}

static struct fs *ram_fs_of(void *at)
{
	return ram_disk_fs(at);
}

static void ram_space_of(void *at, uint64_t octets)
{
	ram_disk_space(at, octets);
}

static const struct store_place ram_place = {ram_make, ram_remove, ram_open, ram_fs_of, ram_space_of};

/* ---- a fresh disk for each test below */

static int set_up(void **state)
{
	*state = ram_disk_new();
	return 0;
}

static int tear_down(void **state)
{
	ram_disk_free(*state);
	return 0;
}

/* SQL behind the store's back, while it is closed. */
static void doctor(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open_v2(PATH, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, ram_disk_vfs()),
			 SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void assert_refused(struct ram_disk *d, enum store_result expected, const char *words)
{
	struct store_sqlite_config config = config_of(d);
	struct store *st = NULL;
	struct buf why;

	buf_init(&why, 1000);
	assert_result(store_sqlite_open(&config, &st, &why), expected);
	assert_null(st);
	assert_true(slice_starts(buf_slice(&why), SLICE(PATH ": ")));
	if (slice_search(buf_slice(&why), slice_from_cstr(words)) == buf_len(&why))
		fail_msg("\"%s\" does not say \"%s\"", buf_cstr(&why), words);
	buf_free(&why);
}

static void put(struct store *st, msg_id id, size_t rcpts, queue_ms now)
{
	struct new_message n;

	assert_ok(ops_of(st)->put(st, &new_message(&n, id, rcpts, 5, 6, now)->m));
}

static void a_second_server_is_locked_out(void **state)
{
	struct store *st = ram_open(*state, 0, 0);

	assert_refused(*state, STORE_LOCKED, "another server");
	put(st, 1, 1, 0);
	assert_refused(*state, STORE_LOCKED, "another server");
	assert_ok(ops_of(st)->commit(st));
	ops_of(st)->close(st);
	st = ram_open(*state, 0, 0);
	ops_of(st)->close(st);
}

static void a_second_server_is_locked_out_on_a_real_disk(void **state)
{
	char directory[] = "/tmp/postrider-store-XXXXXX", path[100];
	struct store_sqlite_config config = config_of(*state);
	struct store *st = NULL, *second = NULL;
	struct stat status;

	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/%s", directory, PATH);
	config.path = path;
	config.vfs = NULL;
	assert_ok(store_sqlite_open(&config, &st, NULL));
	put(st, 1, 1, 0);
	assert_ok(ops_of(st)->commit(st));
	assert_result(store_sqlite_open(&config, &second, NULL), STORE_LOCKED);
	assert_ok(ops_of(st)->reopen(st));
	assert_result(store_sqlite_open(&config, &second, NULL), STORE_LOCKED);
	ops_of(st)->close(st);
	assert_ok(store_sqlite_open(&config, &st, NULL));
	ops_of(st)->close(st);
	assert_int_equal(stat(path, &status), 0);
	unlink(path);
	assert_int_equal(rmdir(directory), 0); /* nothing but the database is left */
}

static void a_server_that_lost_its_place_to_another_does_not_come_back(void **state)
{
	struct store *st = ram_open(*state, 0, 0);
	struct ram_disk *d = *state;

	put(st, 1, 1, 0);
	assert_ok(ops_of(st)->commit(st));
	ram_disk_crash(d, RAM_CRASH_KEEP, 0); /* its files are dead, as after a lost mount */
	struct store *other = ram_open(d, 0, 0);
	ops_of(other)->close(other);
	struct sqlite_store *s = sqlite_store_of(st);
	assert_result(ops_of(st)->reopen(st), STORE_IO);
	sqlite3 *dead = s->db; /* were the mount to come back ... */
	for (int i = 0; i < STORE_SQL_COUNT; i++) {
		sqlite3_finalize(s->statements[i]);
		s->statements[i] = NULL;
	}
	sqlite3_close(dead);
	s->db = NULL;
	assert_result(ops_of(st)->reopen(st), STORE_LOCKED);
	assert_result(ops_of(st)->reopen(st), STORE_LOCKED);
	ops_of(st)->close(st);
}

static void a_newer_database_is_left_alone(void **state)
{
	struct store *st = ram_open(*state, 0, 0);

	ops_of(st)->close(st);
	doctor("PRAGMA user_version = 5");
	assert_refused(*state, STORE_VERSION, "newer version");
	doctor("PRAGMA user_version = 4");
	st = ram_open(*state, 0, 0);
	ops_of(st)->close(st);
}

static struct store_message load(struct store *st, msg_id id, enum store_result expected)
{
	static struct arena arena;
	struct store_message m = {0};

	arena_init(&arena, 10000);
	assert_result(ops_of(st)->load(st, id, &arena, &m), expected);
	arena_free(&arena);
	return m;
}

/* Version 1 had no digests of envelopes and files: what it took is delivered without. */
static void a_database_of_an_older_version_is_upgraded(void **state)
{
	struct store *st = ram_open(*state, 0, 0);
	struct new_message n;

	put(st, 1, 2, 0);
	spool_write(ram_disk_fs(*state), 2, SLICE("large"));
	new_message(&n, 2, 1, 5, 6, 0);
	n.m.body = SLICE_NONE;
	n.m.body_in_file = true;
	n.m.size = 5;
	n.m.digest = spool_digest(2, SLICE("large"));
	assert_ok(ops_of(st)->put(st, &n.m));
	assert_ok(ops_of(st)->commit(st));
	assert_true(load(st, 2, STORE_OK).digest.known);
	ops_of(st)->close(st);
	doctor("ALTER TABLE message DROP COLUMN digest; ALTER TABLE message DROP COLUMN file_digest;"
	       "ALTER TABLE recipient DROP COLUMN digest; ALTER TABLE history DROP COLUMN secured;"
	       "PRAGMA user_version = 1;"
	       "UPDATE message SET sender = x'40'");
	st = ram_open(*state, 0, 0);
	assert_int_equal(load(st, 1, STORE_OK).sender.n, 1);
	assert_false(load(st, 2, STORE_OK).digest.known);
	put(st, 3, 1, 0);
	assert_ok(ops_of(st)->commit(st));
	ops_of(st)->close(st);
	doctor("UPDATE message SET sender = x'40'");
	st = ram_open(*state, 0, 0);
	assert_false(load(st, 1, STORE_OK).damaged);
	assert_true(load(st, 3, STORE_CORRUPT).damaged);
	ops_of(st)->close(st);
}

/* Version 2 did not keep how sessions were secured. */
static void a_history_of_an_older_version_goes_on(void **state)
{
	struct store *st = ram_open(*state, 0, 0);
	struct arena arena;
	struct store_rcpt r;

	put(st, 1, 1, 0);
	assert_ok(ops_of(st)->settle(st, &(struct store_settle){.id = 1,
								.next = STORE_WAITING,
								.due = 5,
								.attempted = true,
								.outcome = {.verdict = SMTP_DEFERRED,
									    .status = {4, 0, 0},
									    .secured = SLICE("TLSv1.3")}}));
	assert_ok(ops_of(st)->commit(st));
	ops_of(st)->close(st);
	doctor("ALTER TABLE history DROP COLUMN secured; PRAGMA user_version = 2");
	st = ram_open(*state, 0, 0);
	arena_init(&arena, 10000);
	assert_ok(ops_of(st)->load_rcpt(st, 1, 0, &arena, &r));
	assert_int_equal(r.attempts, 1);
	assert_int_equal(r.last.secured.n, 0);
	arena_free(&arena);
	ops_of(st)->close(st);
}

static void what_is_not_our_database_is_refused(void **state)
{
	struct store *st;

	doctor("CREATE TABLE message (id INTEGER)");
	assert_refused(*state, STORE_CORRUPT, "not Postrider's");
	doctor("DROP TABLE message");
	st = ram_open(*state, 0, 0);
	ops_of(st)->close(st);
	doctor("DROP TABLE lane");
	assert_refused(*state, STORE_CORRUPT, "damaged");
	for (size_t i = 0; i < 100; i++)
		ram_disk_set(*state, PATH, i, (unsigned char)i);
	assert_refused(*state, STORE_CORRUPT, "not a database");
}

/* Every way of reading a message, all of which may only give these results. */
static bool nod(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	(void)arg;
	(void)m;
	(void)r;
	return true;
}

static bool nod_line(void *arg, const struct store_history *line)
{
	(void)arg;
	(void)line;
	return true;
}

static bool tolerable(enum store_result result)
{
	return result == STORE_OK || result == STORE_CORRUPT || result == STORE_NOT_FOUND || result == STORE_POISONED ||
	       result == STORE_EXISTS || result == STORE_IO; /* a page number beyond what a disk can hold */
}

static bool read_all(struct store *st, msg_id id)
{
	struct arena arena;
	struct store_message m;
	struct store_rcpt r;
	struct store_cursor cursor = {0};
	struct store_filter all = {.state = -2};
	struct buf body;
	bool corrupt = false;

	arena_init(&arena, 100000);
	buf_init(&body, 100000);
	const enum store_result results[] = {
		ops_of(st)->load(st, id, &arena, &m),         ops_of(st)->load_rcpt(st, id, 0, &arena, &r),
		ops_of(st)->load_rcpt(st, id, 1, &arena, &r), ops_of(st)->list(st, &all, 0, &cursor, nod, NULL),
		ops_of(st)->history(st, id, nod_line, NULL),  ops_of(st)->body(st, id, &body),
	};
	for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
		assert_true(tolerable(results[i]));
		corrupt |= results[i] == STORE_CORRUPT;
	}
	if (results[5] == STORE_OK) /* a body is right, or it is not given */
		assert_slice(buf_slice(&body), "Subject: hello\r\n\r\nHi.\r\n");
	arena_free(&arena);
	buf_free(&body);
	return corrupt;
}

static bool change_all(struct store *st, msg_id id)
{
	struct store_due due[10];
	size_t n;
	queue_ms next;
	struct store_settle settle = attempt(id, 1, STORE_DELIVERED, 5, 0, 5);
	struct store_settle last = attempt(id, 0, STORE_DELIVERED, 5, 0, 5);
	const enum store_result results[] = {
		ops_of(st)->claim(st, 1000, 5, due, 10, &n, &next),
		ops_of(st)->settle(st, &settle),
		ops_of(st)->settle(st, &last),
		ops_of(st)->purge(st, 10000, 10, &n),
		ops_of(st)->commit(st),
	};
	bool corrupt = false;

	for (size_t i = 0; i < sizeof results / sizeof *results; i++) {
		assert_true(tolerable(results[i]));
		corrupt |= results[i] == STORE_CORRUPT;
	}
	return corrupt;
}

static void a_value_that_we_cannot_have_written_is_found(void **state)
{
	static const char *const edits[] = {
		"UPDATE recipient SET state = 6",
		"UPDATE recipient SET state = -1",
		"UPDATE recipient SET state = 'waiting'",
		"UPDATE recipient SET n = n + 100000",
		"UPDATE recipient SET attempts = -1",
		"UPDATE recipient SET attempts = 1", /* without a line of history */
		"UPDATE recipient SET warned = 2",
		"UPDATE recipient SET last = -1",
		"UPDATE recipient SET notify = 16",
		"UPDATE recipient SET address = x''",
		"UPDATE recipient SET address = zeroblob(2049)",
		"UPDATE recipient SET address = 'text'",
		"UPDATE recipient SET due = 1.5",
		"UPDATE message SET open = 3",
		"UPDATE message SET open = 0",
		"UPDATE message SET open = -1",
		"UPDATE message SET rcpt_count = 1",
		"UPDATE message SET rcpt_count = 100001",
		"UPDATE message SET in_file = 2",
		"UPDATE message SET size = 22",
		"UPDATE message SET size = -1",
		"UPDATE message SET sender = zeroblob(1000000)",
		"UPDATE message SET body = 3",
		"UPDATE message SET ret = 3",
		"UPDATE message SET utf8 = 2",
		"UPDATE message SET content = 32",
		"UPDATE message SET about = 1152921504606846976",
		"UPDATE body SET digest = digest + 1",
		"UPDATE body SET digest = -1",
		"UPDATE body SET data = x'00' || data",
		"UPDATE body SET data = NULL",
		"UPDATE state SET waiting = 0",
		"UPDATE history SET event = 0",
		"UPDATE history SET event = 4",
		"UPDATE history SET verdict = 3",
		"UPDATE history SET stage = 99",
		"UPDATE history SET code = 1000",
		"UPDATE history SET status = 6000000",
		"UPDATE history SET flags = 8",
		"UPDATE history SET n = 4294967296",
		"UPDATE history SET remote = zeroblob(301)",
		"UPDATE turn SET visit = 'soon'",
		"UPDATE lane SET flow = x'00'",
	};

	for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
		struct ram_disk *d = *state;
		struct store *st = ram_open(d, 0, 0);
		put(st, 1, 2, 0);
		struct store_settle s = attempt(1, 0, STORE_HELD, 0, 0, 5);
		assert_ok(ops_of(st)->settle(st, &s));
		s = (struct store_settle){.id = 1, .n = 1, .next = STORE_WAITING, .note = SLICE("a word"), .site = 5};
		assert_ok(ops_of(st)->settle(st, &s));
		assert_ok(ops_of(st)->commit(st));
		ops_of(st)->close(st);
		doctor(edits[i]);
		st = ram_open(d, 0, 0);
		bool found = read_all(st, 1);
		found |= change_all(st, 1);
		if (!found)
			fail_msg("not found: %s", edits[i]);
		ops_of(st)->close(st);
		ram_disk_free(d);
		*state = ram_disk_new();
	}
}

static bool count_damaged(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	*(unsigned *)arg += m->damaged || r->damaged;
	return true;
}

/* Each value is one that can be, but not the one that was put. */
static void a_change_to_an_envelope_is_found_and_shown(void **state)
{
	static const struct {
		const char *sql;
		bool of_recipient;
	} edits[] = {
		{"UPDATE recipient SET address = CAST('r0@5.examplf' AS BLOB)", true},
		{"UPDATE recipient SET orcpt = x'41'", true},
		{"UPDATE recipient SET notify = notify + 1", true},
		{"UPDATE recipient SET digest = digest + 1", true},
		{"UPDATE message SET sender = x'40'", false},
		{"UPDATE message SET envid = x'40'", false},
		{"UPDATE message SET client = x'40'", false},
		{"UPDATE message SET login = x'40'", false},
		{"UPDATE message SET arrived_queue = arrived_queue + 1", false},
		{"UPDATE message SET arrived = arrived + 1", false},
		{"UPDATE message SET size = size + 1", false},
		{"UPDATE message SET flow = flow + 1", false},
		{"UPDATE message SET ret = (ret + 1) % 3", false},
		{"UPDATE message SET body = (body + 1) % 3", false},
		{"UPDATE message SET utf8 = 1 - utf8", false},
		{"UPDATE message SET content = content + 1", false},
		{"UPDATE message SET about = 1", false},
		{"UPDATE message SET in_file = 1 - in_file", false},
		{"UPDATE message SET file_digest = 1", false},
		{"UPDATE message SET digest = digest + 1", false},
	};
	struct arena arena;

	arena_init(&arena, 10000);
	for (size_t i = 0; i < sizeof edits / sizeof *edits; i++) {
		struct store *st = ram_open(*state, 0, 0);
		struct store_filter filter = {.id = 1, .state = -1};
		struct store_cursor cursor = {0};
		struct store_rcpt rcpt = {0};
		unsigned damaged = 0;

		put(st, 1, 1, 0);
		assert_ok(ops_of(st)->commit(st));
		assert_false(load(st, 1, STORE_OK).damaged);
		ops_of(st)->close(st);
		doctor(edits[i].sql);
		st = ram_open(*state, 0, 0);
		if (load(st, 1, edits[i].of_recipient ? STORE_OK : STORE_CORRUPT).damaged == edits[i].of_recipient)
			fail_msg("%s", edits[i].sql);
		assert_result(ops_of(st)->load_rcpt(st, 1, 0, &arena, &rcpt),
			      edits[i].of_recipient ? STORE_CORRUPT : STORE_OK);
		assert_int_equal(rcpt.damaged, edits[i].of_recipient);
		assert_ok(ops_of(st)->list(st, &filter, 0, &cursor, count_damaged, &damaged));
		assert_int_equal(damaged, 1);
		/* It can be held, and it can be removed. */
		struct store_settle s = attempt(1, 0, STORE_HELD, 0, 0, 5);
		assert_ok(ops_of(st)->settle(st, &s));
		s.next = STORE_REMOVED;
		assert_ok(ops_of(st)->settle(st, &s));
		assert_ok(ops_of(st)->commit(st));
		ops_of(st)->close(st);
		ram_disk_free(*state);
		*state = ram_disk_new();
	}
	arena_free(&arena);
}

static void one_body_does_not_pass_for_another(void **state)
{
	struct store *st = ram_open(*state, 0, 0);
	struct buf body;

	put(st, 1, 1, 0);
	put(st, 2, 1, 0);
	assert_ok(ops_of(st)->commit(st));
	ops_of(st)->close(st);
	doctor("UPDATE body SET id = 3 - id WHERE id = 1 AND 0; DELETE FROM body WHERE id = 1; UPDATE body SET id = 1");
	st = ram_open(*state, 0, 0);
	buf_init(&body, 1000);
	assert_result(ops_of(st)->body(st, 1, &body), STORE_CORRUPT);
	assert_int_equal(buf_len(&body), 0);
	buf_free(&body);
	ops_of(st)->close(st);
}

static void damage_anywhere_in_the_file_gives_no_wrong_body(void **state)
{
	uint64_t random = 7;

	for (int round = 0; round < 150; round++) {
		struct ram_disk *d = *state;
		struct store_sqlite_config config = config_of(d);
		struct store *st = ram_open(d, 0, 0);
		size_t size;
		for (msg_id id = 1; id <= 20; id++)
			put(st, id, 2, 0);
		struct store_settle s = attempt(3, 0, STORE_WAITING, 0, 5, 5);
		assert_ok(ops_of(st)->settle(st, &s));
		assert_ok(ops_of(st)->commit(st));
		ops_of(st)->close(st);
		assert_non_null(ram_disk_octets(d, PATH, &size));
		for (int i = 0; i < 20; i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			ram_disk_set(d, PATH, (size_t)(random >> 33) % size, (unsigned char)(random >> 20));
		}
		if (store_sqlite_open(&config, &st, NULL) == STORE_OK) {
			for (msg_id id = 1; id <= 20; id++)
				read_all(st, id);
			for (msg_id id = 1; id <= 20; id++)
				change_all(st, id);
			ops_of(st)->close(st);
		}
		ram_disk_free(d);
		*state = ram_disk_new();
	}
}

static void no_statement_of_the_hot_path_scans(void **state)
{
	struct store *st = ram_open(*state, 0, 0);
	sqlite3 *db = sqlite_store_of(st)->db;

	for (int i = STORE_SQL_STATE_LOAD; i < STORE_SQL_COUNT; i++) {
		char *sql = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", store_sqlite_text((enum store_statement)i));
		sqlite3_stmt *stmt;
		assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
		while (sqlite3_step(stmt) == SQLITE_ROW) {
			const char *detail = (const char *)sqlite3_column_text(stmt, 3);
			bool first_of_index = i == STORE_SQL_TURN_FIRST; /* its first row ends it */
			if (!first_of_index && (strstr(detail, "SCAN") || strstr(detail, "TEMP B-TREE")))
				fail_msg("%s: %s", sql, detail);
			if (strstr(detail, "AUTOMATIC"))
				fail_msg("%s: %s", sql, detail);
		}
		sqlite3_finalize(stmt);
		sqlite3_free(sql);
	}
	ops_of(st)->close(st);
}

static uint32_t database_now(struct ram_disk *d)
{
	struct crc32c c;
	size_t size;
	const unsigned char *octets = ram_disk_octets(d, PATH, &size);

	crc32c_init(&c);
	return crc32c_add(&c, 0, slice_of((const char *)octets, size));
}

static void a_commit_does_not_wait_for_the_log_to_be_copied(void **state)
{
	struct ram_disk *d = *state;
	struct store *st = ram_open(d, 0, 0);
	struct new_message n;
	size_t copied = 0;

	for (msg_id id = 1; id <= 100; id++) {
		uint32_t before = database_now(d);
		assert_ok(ops_of(st)->put(st, &new_message(&n, id, 1, 5, 6, 0)->m));
		uint32_t put = database_now(d);
		copied += put != before;
		assert_ok(ops_of(st)->commit(st));
		assert_int_equal(database_now(d), put);
	}
	/* The log has its bounds all the same. */
	assert_in_range(copied, 10, 90);
	ops_of(st)->close(st);
}

static void the_checksum_is_crc32c_by_either_way(void **state)
{
	struct crc32c c;
	char octets[300];

	(void)state;
	crc32c_init(&c);
	for (int way = 0; way < 2; way++) {
		assert_int_equal(crc32c_add(&c, 0, SLICE("123456789")), 0xe3069283);
		assert_int_equal(crc32c_add(&c, crc32c_add(&c, 0, SLICE("1234")), SLICE("56789")), 0xe3069283);
		memset(octets, 0, sizeof octets);
		assert_int_equal(crc32c_add(&c, 0, slice_of(octets, 32)), 0x8a9136aa); /* RFC 3720 B.4 */
		memset(octets, 0xff, sizeof octets);
		assert_int_equal(crc32c_add(&c, 0, slice_of(octets, 32)), 0x62a8ab43);
		crc32c_use_tables(&c);
	}
}

static void each_result_has_its_text(void **state)
{
	(void)state;
	for (int i = 0; i <= STORE_RESULT_MAX; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(store_result_text((enum store_result)i),
						store_result_text((enum store_result)k));
}

#define DISK_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(a_second_server_is_locked_out),
		DISK_TEST(a_second_server_is_locked_out_on_a_real_disk),
		DISK_TEST(a_server_that_lost_its_place_to_another_does_not_come_back),
		DISK_TEST(a_newer_database_is_left_alone),
		DISK_TEST(a_database_of_an_older_version_is_upgraded),
		DISK_TEST(a_history_of_an_older_version_goes_on),
		DISK_TEST(a_change_to_an_envelope_is_found_and_shown),
		DISK_TEST(what_is_not_our_database_is_refused),
		DISK_TEST(a_value_that_we_cannot_have_written_is_found),
		DISK_TEST(one_body_does_not_pass_for_another),
		DISK_TEST(damage_anywhere_in_the_file_gives_no_wrong_body),
		DISK_TEST(no_statement_of_the_hot_path_scans),
		DISK_TEST(a_commit_does_not_wait_for_the_log_to_be_copied),
		cmocka_unit_test(the_checksum_is_crc32c_by_either_way),
		cmocka_unit_test(each_result_has_its_text),
	};

	return store_suite_run("store on SQLite", &ram_place) +
	       cmocka_run_group_tests_name("SQLite", tests, NULL, NULL);
}
