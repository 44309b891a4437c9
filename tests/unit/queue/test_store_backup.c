#include "test.h"

#include "queue/store_backup.h"
#include "queue/store_sqlite.h"
#include "ram_disk.h"
#include "store_suite.h"

#include <errno.h>

#define PATH      "queue.db"
#define LOG_PAGES 10

struct world {
	struct ram_disk *d;
	struct store *st;
	msg_id id;     /* of a message with its body in a file */
	uint64_t hold; /* that lasts */
	char *before;  /* the database file when it began */
	size_t size;
};

static struct store *open_store(struct world *w)
{
	struct store_sqlite_config config = {.path = PATH,
					     .vfs = ram_disk_vfs(),
					     .fs = ram_disk_fs(w->d),
					     .reserve = SUITE_RESERVE,
					     .log_pages = LOG_PAGES};
	struct store *st = NULL;

	assert_ok(store_sqlite_open(&config, &st, NULL));
	return st;
}

static void put(struct world *w, msg_id id)
{
	struct new_message n;

	assert_ok(ops_of(w->st)->put(w->st, &new_message(&n, id, 1, 5, 6, 0)->m));
}

static void put_in_file(struct world *w, msg_id id)
{
	struct new_message n;

	new_message(&n, id, 1, 5, 6, 0);
	n.m.body = SLICE_NONE;
	n.m.body_in_file = true;
	n.m.size = 5;
	n.m.digest = spool_digest(id, SLICE("body\n"));
	spool_write(ram_disk_fs(w->d), id, SLICE("body\n"));
	assert_ok(ops_of(w->st)->put(w->st, &n.m));
}

static void commit(struct world *w)
{
	assert_ok(ops_of(w->st)->commit(w->st));
}

static void settle(struct world *w, msg_id id)
{
	struct store_settle s = attempt(id, 0, STORE_DELIVERED, 1, 0, 5);

	assert_ok(ops_of(w->st)->settle(w->st, &s));
}

static bool file_is_there(struct world *w, msg_id id)
{
	struct file *f;

	if (store_spool_open(ram_disk_fs(w->d), id, &f) != STORE_OK)
		return false;
	f->ops->close(f);
	return true;
}

static bool database_is_as_before(struct world *w)
{
	size_t size;
	const unsigned char *now = ram_disk_octets(w->d, PATH, &size);

	return size == w->size && memcmp(now, w->before, size) == 0;
}

/* A store with one message in a file and two others, all committed, that holds. */
static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);
	uint64_t block;

	w->d = ram_disk_new();
	w->st = open_store(w);
	assert_ok(ops_of(w->st)->id_block(w->st, &block));
	w->id = block << MSG_ID_BLOCK_BITS;
	put_in_file(w, w->id);
	put(w, w->id + 1);
	put(w, w->id + 2);
	commit(w);
	assert_ok(store_sqlite_hold(w->st, &w->hold));
	const unsigned char *octets = ram_disk_octets(w->d, PATH, &w->size);
	w->before = malloc(w->size);
	memcpy(w->before, octets, w->size);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	ops_of(w->st)->close(w->st);
	ram_disk_free(w->d);
	free(w->before);
	free(w);
	return 0;
}

static void while_it_holds_the_file_stands_still_and_bodies_stay(void **state)
{
	struct world *w = *state;
	size_t log;

	for (msg_id i = 0; i < 50; i++) { /* a log that would long have been copied into the database */
		put(w, w->id + 100 + i);
		commit(w);
	}
	settle(w, w->id);
	settle(w, w->id + 1);
	commit(w);
	assert_true(store_sqlite_holds(w->st, w->hold));
	assert_true(database_is_as_before(w));
	assert_true(file_is_there(w, w->id));
	assert_non_null(ram_disk_octets(w->d, PATH "-wal", &log));
	assert_true(log > LOG_PAGES * 4096);

	store_sqlite_release(w->st);
	assert_false(store_sqlite_holds(w->st, w->hold));
	assert_false(file_is_there(w, w->id));
	put(w, w->id + 3);
	commit(w);
	assert_false(database_is_as_before(w)); /* the log went into it */
}

static void what_was_promised_before_is_in_the_file_alone(void **state)
{
	struct world *w = *state;
	sqlite3_stmt *stmt;
	sqlite3 *db;

	/* Another disk with nothing but this file: no log. */
	settle(w, w->id);
	commit(w);
	ops_of(w->st)->close(w->st);
	ram_disk_free(w->d);
	w->d = ram_disk_new();
	struct file *f;
	struct fs *fs = ram_disk_fs(w->d);
	assert_int_equal(fs->ops->open(fs, PATH, FS_WRITE | FS_CREATE, &f), 0);
	assert_int_equal(f->ops->write(f, slice_of(w->before, w->size)), 0);
	f->ops->close(f);
	assert_int_equal(sqlite3_open_v2(PATH, &db, SQLITE_OPEN_READWRITE, ram_disk_vfs()), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "PRAGMA locking_mode = EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_prepare_v2(db, "SELECT count(*) FROM message WHERE open = 1", -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_int_equal(sqlite3_column_int(stmt, 0), 3);
	sqlite3_finalize(stmt);
	sqlite3_close(db);
	w->st = open_store(w);
}

static void one_holds_at_a_time_and_never_in_a_transaction(void **state)
{
	struct world *w = *state;
	uint64_t number = 0;

	assert_result(store_sqlite_hold(w->st, &number), STORE_EXISTS);
	store_sqlite_release(w->st);
	put(w, w->id + 3);
	assert_result(store_sqlite_hold(w->st, &number), STORE_POISONED);
	commit(w);
	assert_ok(store_sqlite_hold(w->st, &number));
	assert_int_not_equal(number, w->hold);
	assert_false(store_sqlite_holds(w->st, w->hold));
	assert_true(store_sqlite_holds(w->st, number));
	assert_false(store_sqlite_holds(w->st, 0));
}

static void another_process_gives_other_numbers(void **state)
{
	struct world *w = *state;
	uint64_t number = 0;

	ops_of(w->st)->close(w->st);
	w->st = open_store(w);
	assert_false(store_sqlite_holds(w->st, w->hold));
	assert_ok(store_sqlite_hold(w->st, &number));
	assert_int_not_equal(number, w->hold);
}

static void a_log_that_grows_too_long_ends_it(void **state)
{
	struct world *w = *state;
	int i;

	settle(w, w->id);
	commit(w);
	for (i = 0; i < 2000 && store_sqlite_holds(w->st, w->hold); i++) {
		put(w, w->id + 100 + (msg_id)i);
		commit(w);
	}
	assert_in_range(i, LOG_PAGES, 64 * LOG_PAGES);
	assert_false(file_is_there(w, w->id));
}

static void a_disk_that_fills_ends_it(void **state)
{
	struct world *w = *state;
	struct new_message n;

	ram_disk_space(w->d, SUITE_RESERVE - 1);
	assert_result(ops_of(w->st)->put(w->st, &new_message(&n, w->id + 3, 1, 5, 6, 0)->m), STORE_FULL);
	assert_false(store_sqlite_holds(w->st, w->hold));
	commit(w);
}

static void a_reopened_store_holds_no_more(void **state)
{
	struct world *w = *state;

	*ram_disk_fault(w->d) = (struct ram_fault){.ops = RAM_SYNC, .times = 1, .error = EIO};
	put(w, w->id + 3);
	assert_result(ops_of(w->st)->commit(w->st), STORE_IO);
	assert_ok(ops_of(w->st)->reopen(w->st));
	assert_false(store_sqlite_holds(w->st, w->hold));
}

static void files_that_a_dead_server_held_go_at_the_next_start(void **state)
{
	struct world *w = *state;

	settle(w, w->id);
	commit(w);
	assert_true(file_is_there(w, w->id));
	ram_disk_crash(w->d, RAM_CRASH_KEEP, 0);
	ops_of(w->st)->close(w->st);
	w->st = open_store(w);
	assert_false(file_is_there(w, w->id));
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(while_it_holds_the_file_stands_still_and_bodies_stay),
		WORLD_TEST(what_was_promised_before_is_in_the_file_alone),
		WORLD_TEST(one_holds_at_a_time_and_never_in_a_transaction),
		WORLD_TEST(another_process_gives_other_numbers),
		WORLD_TEST(a_log_that_grows_too_long_ends_it),
		WORLD_TEST(a_disk_that_fills_ends_it),
		WORLD_TEST(a_reopened_store_holds_no_more),
		WORLD_TEST(files_that_a_dead_server_held_go_at_the_next_start),
	};

	return cmocka_run_group_tests_name("holding still for a backup", tests, NULL, NULL);
}
