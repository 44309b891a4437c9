#include "test.h"

#include "queue/store_check.h"
#include "queue/store_sqlite.h"
#include "ram_disk.h"
#include "store_suite.h"

#define PATH  "queue.db"
#define LARGE 3 /* the message of the usual queue whose body is in a file */

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

static struct store *open_store(struct ram_disk *d)
{
	struct store_sqlite_config config = {.path = PATH, .vfs = ram_disk_vfs(), .fs = ram_disk_fs(d)};
	struct store *st = NULL;

	assert_ok(store_sqlite_open(&config, &st, NULL));
	return st;
}

static msg_id first_id(struct store *st)
{
	uint64_t block;

	assert_ok(ops_of(st)->id_block(st, &block));
	return block << MSG_ID_BLOCK_BITS;
}

/* One message that waits, one with every kind of end, one in a file, one that is settled. Returns the id of the first,
 * the others follow. */
static msg_id make_queue(struct ram_disk *d)
{
	static const enum store_state ends[] = {STORE_DELIVERED, STORE_FAILED, STORE_HELD, STORE_WAITING};
	struct store *st = open_store(d);
	msg_id id = first_id(st);
	struct new_message n;

	assert_ok(ops_of(st)->put(st, &new_message(&n, id, 2, 5, 6, 10)->m));
	assert_ok(ops_of(st)->put(st, &new_message(&n, id + 1, 5, 7, 6, 10)->m));
	for (uint32_t i = 0; i < 4; i++) {
		struct store_settle s = attempt(id + 1, i, ends[i], 11, 5000, 7);
		assert_ok(ops_of(st)->settle(st, &s));
	}
	spool_write(ram_disk_fs(d), id + 2, SLICE("A large body.\r\n"));
	new_message(&n, id + 2, 1, 5, 6, 12);
	n.m.body = SLICE_NONE;
	n.m.body_in_file = true;
	n.m.size = 15;
	n.m.digest = spool_digest(id + 2, SLICE("A large body.\r\n"));
	assert_ok(ops_of(st)->put(st, &n.m));
	new_message(&n, id + 3, 1, 5, 6, 12);
	n.m.claim = true;
	assert_ok(ops_of(st)->put(st, &n.m));
	struct store_settle s = attempt(id + 3, 0, STORE_DELIVERED, 13, 0, 5);
	assert_ok(ops_of(st)->settle(st, &s));
	assert_ok(ops_of(st)->commit(st));
	ops_of(st)->close(st);
	return id;
}

struct said {
	struct buf text;
	msg_id last_id;
};

static void on_problem(void *arg, bool is_error, msg_id id, const char *text)
{
	struct said *said = arg;

	if (id) {
		said->last_id = id;
		assert_int_equal(strlen(msg_id_format(id).text), MSG_ID_TEXT);
	}
	buf_printf(&said->text, "%s: %s\n", is_error ? "error" : "warning", text);
}

static enum store_result check(struct ram_disk *d, struct said *said, struct store_check *found, struct buf *why)
{
	struct store_check_config config = {
		.path = PATH, .vfs = ram_disk_vfs(), .fs = ram_disk_fs(d), .problem = on_problem, .arg = said};

	return store_sqlite_check(&config, found, why);
}

/* SQL behind the store's back, while it is closed; no trigger or check of ours stands in its way. */
static void doctor(const char *sql)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open_v2(PATH, &db, SQLITE_OPEN_READWRITE, ram_disk_vfs()), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		fail_msg("%s: %s", sql, sqlite3_errmsg(db));
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static bool says(const struct said *said, const char *words)
{
	return slice_search(buf_slice(&said->text), slice_from_cstr(words)) < buf_len(&said->text);
}

static void a_sound_directory_is_said_to_be_sound(void **state)
{
	struct store_check found;
	struct said said = {0};

	buf_init(&said.text, 10000);
	make_queue(*state);
	for (int i = 0; i < 2; i++) { /* looking changes nothing */
		assert_ok(check(*state, &said, &found, NULL));
		assert_slice(buf_slice(&said.text), "");
		assert_int_equal(found.errors + found.warnings, 0);
		assert_int_equal(found.messages, 4);
		assert_int_equal(found.open, 3);
		assert_int_equal(found.states[STORE_WAITING], 5);
		assert_int_equal(found.states[STORE_HELD], 1);
		assert_int_equal(found.states[STORE_DELIVERED], 2);
		assert_int_equal(found.states[STORE_FAILED], 1);
		assert_int_equal(found.bodies, 2);
		assert_int_equal(found.body_octets, 46);
		assert_int_equal(found.files, 1);
		assert_int_equal(found.file_octets, 15);
		assert_int_equal(found.strays, 0);
	}
	buf_free(&said.text);
}

static void what_a_dead_server_left_in_its_log_is_looked_at_and_stays(void **state)
{
	struct store *st = open_store(*state);
	struct store_check found;
	struct said said = {0};
	struct new_message n;
	size_t before, after;

	buf_init(&said.text, 10000);
	assert_ok(ops_of(st)->put(st, &new_message(&n, first_id(st), 2, 5, 6, 10)->m));
	assert_ok(ops_of(st)->commit(st));
	ram_disk_crash(*state, RAM_CRASH_DROP, 0);
	ops_of(st)->close(st);
	assert_non_null(ram_disk_octets(*state, PATH "-wal", &before));
	assert_ok(check(*state, &said, &found, NULL));
	assert_slice(buf_slice(&said.text), "");
	assert_int_equal(found.messages, 1);
	assert_non_null(ram_disk_octets(*state, PATH "-wal", &after));
	assert_int_equal(before, after);
	st = open_store(*state);
	ops_of(st)->close(st);
	buf_free(&said.text);
}

static void a_directory_that_cannot_be_checked_says_why(void **state)
{
	struct store_check found;
	struct said said = {0};
	struct buf why;

	buf_init(&why, 1000);
	assert_result(check(*state, &said, &found, &why), STORE_NOT_FOUND);
	assert_slice(buf_slice(&why), PATH ": there is no such database: no server was ever started here");
	struct store *st = open_store(*state);
	buf_reset(&why);
	assert_result(check(*state, &said, &found, &why), STORE_LOCKED);
	assert_true(slice_starts(buf_slice(&why), SLICE(PATH ": a server uses this data directory: stop it first")));
	ops_of(st)->close(st);
	doctor("PRAGMA user_version = 5");
	buf_reset(&why);
	assert_result(check(*state, &said, &found, &why), STORE_VERSION);
	doctor("PRAGMA user_version = 1");
	buf_reset(&why);
	assert_result(check(*state, &said, &found, &why), STORE_VERSION);
	assert_slice(buf_slice(&why), PATH ": made by an older version of Postrider: its next start upgrades it");
	doctor("PRAGMA user_version = 4; PRAGMA application_id = 1");
	buf_reset(&why);
	assert_result(check(*state, &said, &found, &why), STORE_CORRUPT);
	buf_free(&why);
}

/* Edits that a server never makes, and the words that tell of each. */
/* clang-format off */
static const struct {
	const char *sql, *words;
	int message; /* the one that is named, counted from 1; 0 = none */
} violations[] = {
	{"DELETE FROM state", "there are 0 rows of state instead of 1", 0},
	{"UPDATE message SET open = 1 WHERE rcpt_count = 2", "says that 1 recipients are open, but 2 are", 1},
	{"DELETE FROM recipient WHERE n = 4", "should have 5 recipients, but 4 are there", 2},
	{"UPDATE recipient SET n = 7 WHERE n = 4", "has a recipient with the number 7, of 5", 2},
	{"DELETE FROM message WHERE rcpt_count = 2", "2 recipients, but the message is not there", 1},
	{"DELETE FROM message WHERE rcpt_count = 5", "4 lines of history, but the message is not there", 2},
	{"UPDATE message SET finished = 9 WHERE rcpt_count = 2", "2 recipients are open, and it was settled at 9", 1},
	{"UPDATE message SET finished = NULL", "0 recipients are open, and it was settled at 0", 4},
	{"DELETE FROM body WHERE data IS NULL", "its body is lost (in a file: 1)", LARGE},
	{"UPDATE body SET id = id + 9 WHERE data IS NULL", "but no message is open for it", 12},
	{"UPDATE message SET in_file = 1 WHERE rcpt_count = 2", "its body is in a file: 1, but the database has none: 0", 1},
	{"UPDATE state SET blocks = 1", "only those below 1 were reserved: it may be given again", 4},
	{"UPDATE state SET seq = 1", "the last one given is 1", 4},
	{"DELETE FROM history WHERE verdict = 1", "is not there", 2},
	{"UPDATE recipient SET state = 1, owner = 99 WHERE n = 4", "recipient 4 is claimed by owner 99", 2},
	{"DELETE FROM lane", "waits in no lane, and would never be tried", 2},
	{"UPDATE lane SET visit = 99999999", "but its lane is only visited at 99999999", 2},
	{"DELETE FROM turn", "lanes have no turn, and would never be visited", 0},
	{"UPDATE turn SET visit = 99999999", "but its site's turn is at 99999999", 0},
	{"UPDATE state SET waiting = 9", "\"waiting\" is said to be 9, but is 5", 0},
	{"UPDATE state SET claimed = 9", "\"claimed\" is said to be 9, but is 0", 0},
	{"UPDATE state SET held = 9", "\"held\" is said to be 9, but is 1", 0},
	{"UPDATE state SET delivered = 9", "\"delivered\" is said to be 9, but is 2", 0},
	{"UPDATE state SET failed = 9", "\"failed\" is said to be 9, but is 1", 0},
	{"UPDATE state SET removed = 9", "\"removed\" is said to be 9, but is 0", 0},
	{"UPDATE recipient SET notify = 16 WHERE n = 4", "a recipient holds a value that cannot be", 2},
	{"UPDATE message SET sender = 'text' WHERE rcpt_count = 2", "holds a value that cannot be", 1},
	{"UPDATE history SET about = -1 WHERE n = 2", "its history holds a value that cannot be", 2},
	{"UPDATE body SET digest = digest + 1 WHERE id IN (SELECT id FROM message WHERE rcpt_count = 5)",
	 "its body does not agree with its checksum or length", 2},
	{"UPDATE message SET size = 14 WHERE in_file", "which has 15 octets instead of 14", LARGE},
	{"UPDATE message SET file_digest = file_digest + 1", "its body is in a file, which does not agree with its checksum",
	 LARGE},
	{"UPDATE recipient SET msg = -5 WHERE n = 4", "the id -5, which cannot be: 1 recipients, but the message is not", 2},
	{"UPDATE message SET id = -6 WHERE rcpt_count = 5", "the id -6, which cannot be: a message has no id that can be", 2},
	{"UPDATE message SET sender = x'40' WHERE rcpt_count = 2", "does not fit its checksum", 1},
	{"UPDATE recipient SET address = x'40' WHERE n = 4", "does not fit its checksum", 2},
	{"UPDATE message SET digest = digest + 1 WHERE in_file", "does not fit its checksum", LARGE},
};
/* clang-format on */

static void every_violation_is_told_with_its_message(void **state)
{
	for (size_t i = 0; i < sizeof violations / sizeof *violations; i++) {
		struct store_check found;
		struct said said = {0};
		buf_init(&said.text, 10000);
		msg_id first = make_queue(*state);
		doctor(violations[i].sql);
		assert_ok(check(*state, &said, &found, NULL));
		if (!says(&said, violations[i].words) || found.errors == 0)
			fail_msg("%s: not told \"%s\", but:\n%s", violations[i].sql, violations[i].words,
				 buf_cstr(&said.text));
		if (violations[i].message && said.last_id != first + (msg_id)violations[i].message - 1)
			fail_msg("%s: another message was named", violations[i].sql);
		buf_free(&said.text);
		ram_disk_free(*state);
		*state = ram_disk_new();
	}
}

static void files_are_compared_with_the_rows_that_name_them(void **state)
{
	struct fs *fs = ram_disk_fs(*state);
	msg_id first = make_queue(*state);
	struct store_check found;
	struct said said = {0};
	struct file *f;

	buf_init(&said.text, 10000);
	spool_write(fs, first + 50, SLICE("an upload that was cut off"));
	assert_int_equal(fs->ops->mkdir(fs, "spool/00"), 0);
	assert_int_equal(fs->ops->open(fs, "spool/00/mine", FS_WRITE | FS_CREATE, &f), 0);
	f->ops->close(f);
	assert_ok(check(*state, &said, &found, NULL));
	assert_slice(buf_slice(&said.text), "warning: spool/00/mine is no file of ours, and stays where it is\n");
	assert_int_equal(found.strays, 1);
	assert_int_equal(found.stray_octets, 26);
	store_spool_discard(fs, first + LARGE - 1);
	spool_write(fs, first + LARGE - 1, SLICE("A largf body.\r\n"));
	buf_reset(&said.text);
	assert_ok(check(*state, &said, &found, NULL));
	assert_true(says(&said, "error: its body is in a file, which does not agree with its checksum"));
	assert_int_equal(said.last_id, first + LARGE - 1);
	store_spool_discard(fs, first + LARGE - 1);
	buf_reset(&said.text);
	assert_ok(check(*state, &said, &found, NULL));
	assert_true(says(&said, "error: its body is in a file, which is missing"));
	assert_int_equal(said.last_id, first + LARGE - 1);
	buf_free(&said.text);
}

/* Whatever the damage, it is an error or it is harmless: what the store then shows is what it showed before. */
static void damage_anywhere_is_told_or_does_no_harm(void **state)
{
	uint64_t random = 11;
	int told = 0, refused = 0;

	for (int round = 0; round < 300; round++) {
		struct store_check found;
		struct said said = {0};
		size_t size;
		buf_init(&said.text, 100000);
		make_queue(*state);
		unsigned char *octets = ram_disk_octets(*state, PATH, &size);
		random = random * 6364136223846793005u + 1442695040888963407u;
		size_t at = (size_t)(random >> 33) % size;
		ram_disk_set(*state, PATH, at, (unsigned char)(octets[at] ^ (1u << (random >> 20 & 7))));
		enum store_result result = check(*state, &said, &found, NULL);
		refused += result != STORE_OK;
		told += result == STORE_OK && found.errors > 0;
		if (result == STORE_OK && found.errors == 0) {
			assert_int_equal(found.messages, 4);
			assert_int_equal(found.open, 3);
			assert_int_equal(found.body_octets, 46);
		}
		buf_free(&said.text);
		ram_disk_free(*state);
		*state = ram_disk_new();
	}
	/* Much of a small database is empty, so that many a flip falls into nothing. */
	assert_true(told > 5);
	assert_true(refused > 0);
}

/* A page in which much is wrong: rows with any values, some of which are no ids. */
static void damage_of_a_page_is_told(void **state)
{
	uint64_t random = 12;
	int told = 0;

	for (int round = 0; round < 300; round++) {
		struct store_check found;
		struct said said = {0};
		size_t size;
		buf_init(&said.text, 100000);
		make_queue(*state);
		(void)ram_disk_octets(*state, PATH, &size);
		size_t page = (size_t)(round % (int)(size / 4096)) * 4096;
		for (int i = 0; i < 30; i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			size_t at = page + ((size_t)(random >> 33) & 4095);
			ram_disk_set(*state, PATH, at, (unsigned char)(random >> 20));
		}
		enum store_result result = check(*state, &said, &found, NULL);
		told += result == STORE_OK && found.errors > 0;
		buf_free(&said.text);
		ram_disk_free(*state);
		*state = ram_disk_new();
	}
	assert_true(told > 50);
}

#define DISK_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(a_sound_directory_is_said_to_be_sound),
		DISK_TEST(what_a_dead_server_left_in_its_log_is_looked_at_and_stays),
		DISK_TEST(a_directory_that_cannot_be_checked_says_why),
		DISK_TEST(every_violation_is_told_with_its_message),
		DISK_TEST(files_are_compared_with_the_rows_that_name_them),
		DISK_TEST(damage_anywhere_is_told_or_does_no_harm),
		DISK_TEST(damage_of_a_page_is_told),
	};

	return cmocka_run_group_tests_name("checking a data directory", tests, NULL, NULL);
}
