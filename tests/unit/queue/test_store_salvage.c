#include "test.h"

#include "queue/store_check.h"
#include "queue/store_salvage.h"
#include "queue/store_sqlite.h"
#include "ram_disk.h"
#include "store_suite.h"

#include <errno.h>

#define PATH          "queue.db"
#define MESSAGES      60
#define BODY          "Subject: hello\r\n\r\nHi.\r\n"
#define FILE_AT       7 /* each message of this rank, modulo 10, has its body in a file */
#define FILE_BODY     "Subject: hello\r\n\r\nA larger one.\r\n"
#define FLIPPED_BODY  "Subject: hello\r\n\r\nA larger ong.\r\n"
#define SETTLED_FILES 2 /* of these */

/* What was promised, and what the salvage said of it. */
struct ledger {
	msg_id first;
	bool told_lost[MESSAGES], told_held[MESSAGES];
	struct store_salvage done;
	struct buf why;
};

static struct ledger ledger;
static wall_ms wall;

static int set_up(void **state)
{
	*state = ram_disk_new();
	ledger = (struct ledger){0};
	buf_init(&ledger.why, 10000);
	return 0;
}

static int tear_down(void **state)
{
	buf_free(&ledger.why);
	ram_disk_free(*state);
	return 0;
}

static void start_again(void **state)
{
	tear_down(state);
	set_up(state);
}

static enum store_result try_open(struct ram_disk *d, struct store **ret)
{
	struct store_sqlite_config config = {.path = PATH, .vfs = ram_disk_vfs(), .fs = ram_disk_fs(d)};

	return store_sqlite_open(&config, ret, NULL);
}

static struct store *open_store(struct ram_disk *d)
{
	struct store *st = NULL;

	assert_ok(try_open(d, &st));
	return st;
}

/* Messages of every kind: waiting, tried, in part delivered, settled, held, in a file, under way when the server died.
 */
static void write_queue(struct ram_disk *d, bool leave_log)
{
	struct store *st = open_store(d);
	struct new_message n;
	uint64_t block;

	assert_ok(ops_of(st)->id_block(st, &block));
	ledger.first = block << MSG_ID_BLOCK_BITS;
	for (unsigned i = 0; i < MESSAGES; i++) {
		msg_id id = ledger.first + i;
		new_message(&n, id, 1 + i % 3, 5 + i % 4, 6, 10 + i);
		n.m.claim = i % 9 == 8;
		if (i % 10 == FILE_AT) {
			spool_write(ram_disk_fs(d), id, SLICE(FILE_BODY));
			n.m.body = SLICE_NONE;
			n.m.body_in_file = true;
			n.m.size = sizeof FILE_BODY - 1;
			n.m.digest = spool_digest(id, SLICE(FILE_BODY));
		}
		assert_ok(ops_of(st)->put(st, &n.m));
		const enum store_state ends[] = {STORE_WAITING, STORE_DELIVERED, STORE_HELD, STORE_FAILED};
		struct store_settle s = attempt(id, 0, ends[i % 4], 100 + i, 5000 + i, 5 + i % 4);
		if (i % 5 != 4)
			assert_ok(ops_of(st)->settle(st, &s));
		if (i % 8 == 0)
			assert_ok(ops_of(st)->commit(st));
	}
	assert_ok(ops_of(st)->clock_save(st, SLICE("a clock")));
	assert_ok(ops_of(st)->commit(st));
	if (leave_log)
		ram_disk_crash(d, RAM_CRASH_DROP, 0);
	ops_of(st)->close(st);
}

/* The first queue of either kind, for all that are wanted behind it. */
static struct {
	struct ram_disk *disk;
	msg_id first;
} queues[2];

static void make_queue(struct ram_disk *d, bool leave_log)
{
	if (queues[leave_log].disk) {
		ram_disk_put(d, queues[leave_log].disk);
		ledger.first = queues[leave_log].first;
		return;
	}
	write_queue(d, leave_log);
	queues[leave_log].disk = ram_disk_keep(d);
	queues[leave_log].first = ledger.first;
}

static int forget_queues(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++)
		if (queues[i].disk)
			ram_disk_free(queues[i].disk);
	return 0;
}

static void on_told(void *arg, enum store_salvage_fate fate, msg_id id, const char *text)
{
	struct ledger *l = arg;

	assert_non_null(text);
	if (id < l->first || id >= l->first + MESSAGES) /* of a number that was damaged */
		return;
	*(fate == STORE_SALVAGE_LOST ? &l->told_lost[id - l->first] : &l->told_held[id - l->first]) = true;
}

static enum store_result salvage(struct ram_disk *d)
{
	struct store_salvage_config config = {.path = PATH,
					      .vfs = ram_disk_vfs(),
					      .fs = ram_disk_fs(d),
					      .wall = wall += 1234567,
					      .tell = on_told,
					      .arg = &ledger};

	buf_reset(&ledger.why);
	return store_sqlite_salvage(&config, &ledger.done, &ledger.why);
}

static void assert_salvage(struct ram_disk *d)
{
	assert_ok(salvage(d));
	assert_int_equal(buf_len(&ledger.why), 0);
}

static char *dump(struct ram_disk *d)
{
	struct store *st = open_store(d);
	char *text = store_dump(st);

	ops_of(st)->close(st);
	return text;
}

static unsigned char *copy_of(struct ram_disk *d, const char *path, size_t *ret_size)
{
	const unsigned char *octets = ram_disk_octets(d, path, ret_size);
	unsigned char *copy = malloc(*ret_size ? *ret_size : 1);

	assert_non_null(octets);
	memcpy(copy, octets, *ret_size);
	return copy;
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

struct seen {
	bool there;
	uint32_t open, held, rcpts;
};

static bool see(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	struct seen *seen = arg;

	seen->there = true;
	seen->open = m->open;
	seen->rcpts = m->rcpt_count;
	seen->held += r->state == STORE_HELD;
	return true;
}

static struct seen seen_of(struct store *st, msg_id id)
{
	struct store_filter filter = {.id = id, .state = -2};
	struct store_cursor cursor = {0};
	struct seen seen = {0};

	while (!cursor.end)
		assert_ok(ops_of(st)->list(st, &filter, 0, &cursor, see, &seen));
	return seen;
}

static unsigned problems;

static void on_problem(void *arg, bool is_error, msg_id id, const char *text)
{
	(void)arg;
	/* A damaged body is kept with its message, which is held. */
	if (strncmp(text, "... and more", 12) == 0)
		return;
	if (strcmp(text, "its body does not agree with its checksum or length") == 0 ||
	    strncmp(text, "its body is in a file, which", 28) == 0 ||
	    (is_error && strncmp(text, "its sender, a recipient", 23) == 0)) {
		assert_true(ledger.told_held[id - ledger.first]);
		return;
	}
	if (is_error) {
		print_error("%s: %s\n", id ? msg_id_format(id).text : "", text);
		problems++;
	}
}

static void assert_sound(struct ram_disk *d)
{
	struct store_check_config config = {
		.path = PATH, .vfs = ram_disk_vfs(), .fs = ram_disk_fs(d), .problem = on_problem};
	struct store_check found;

	problems = 0;
	assert_ok(store_sqlite_check(&config, &found, NULL));
	assert_int_equal(problems, 0);
}

/* ---- what is whole */

static void a_sound_database_comes_through_as_it_was(void **state)
{
	for (int log = 0; log < 2; log++) {
		size_t before_size, after_size;
		make_queue(*state, log);
		unsigned char *before = copy_of(*state, PATH, &before_size);
		assert_salvage(*state);
		assert_int_equal(ledger.done.messages, MESSAGES);
		assert_int_equal(ledger.done.held + ledger.done.lost + ledger.done.forgotten, 0);
		/* The power brings files back whose removal was not synced. */
		assert_int_equal(ledger.done.files, log ? SETTLED_FILES : 0);
		char path[200];
		snprintf(path, sizeof path, "%s/" PATH, ledger.done.place);
		unsigned char *after = copy_of(*state, path, &after_size); /* in quarantine, untouched */
		assert_int_equal(before_size, after_size);
		assert_memory_equal(before, after, after_size);
		assert_sound(*state);
		char *salvaged = dump(*state);
		start_again(state);
		make_queue(*state, log);
		char *original = dump(*state);
		assert_string_equal(salvaged, original);
		free(before);
		free(after);
		free(salvaged);
		free(original);
		start_again(state);
	}
}

static void ids_are_not_given_again(void **state)
{
	uint64_t block;

	make_queue(*state, false);
	assert_salvage(*state);
	struct store *st = open_store(*state);
	assert_ok(ops_of(st)->id_block(st, &block));
	assert_true(block << MSG_ID_BLOCK_BITS > ledger.first + MESSAGES);
	assert_true(block > 1 << 24);
	ops_of(st)->close(st);
}

static void a_destroyed_first_page_costs_nothing(void **state)
{
	static const size_t extents[] = {1, 16, 100, 1000, 4096};

	make_queue(*state, false);
	char *original = dump(*state);
	for (size_t i = 0; i < sizeof extents / sizeof *extents; i++) {
		struct store *st = NULL;
		start_again(state);
		make_queue(*state, i % 2);
		for (size_t k = 0; k < extents[i]; k++)
			ram_disk_set(*state, PATH, k, (unsigned char)(k * 7 + 1));
		if (i % 2 == 0)
			assert_result(try_open(*state, &st), STORE_CORRUPT);
		assert_salvage(*state);
		assert_int_equal(ledger.done.messages, MESSAGES);
		assert_int_equal(ledger.done.lost, 0);
		assert_sound(*state);
		char *salvaged = dump(*state);
		assert_string_equal(salvaged, original);
		free(salvaged);
	}
	free(original);
}

/* Version 1 had no digests of envelopes and files. */
static void a_database_of_an_older_version_comes_through(void **state)
{
	make_queue(*state, false);
	doctor("ALTER TABLE message DROP COLUMN digest; ALTER TABLE message DROP COLUMN file_digest;"
	       "ALTER TABLE recipient DROP COLUMN digest; ALTER TABLE history DROP COLUMN secured;"
	       "PRAGMA user_version = 1");
	assert_salvage(*state);
	assert_int_equal(ledger.done.messages, MESSAGES);
	assert_int_equal(ledger.done.held + ledger.done.lost + ledger.done.forgotten, 0);
	assert_sound(*state);
}

static void a_file_with_a_flipped_bit_is_held(void **state)
{
	msg_id id;

	make_queue(*state, false);
	id = ledger.first + FILE_AT;
	store_spool_discard(ram_disk_fs(*state), id);
	spool_write(ram_disk_fs(*state), id, SLICE(FLIPPED_BODY));
	assert_salvage(*state);
	assert_int_equal(ledger.done.messages, MESSAGES);
	assert_true(ledger.told_held[FILE_AT]);
	assert_int_equal(ledger.done.held, 1);
}

/* ---- what is not */

/* Edits that stand for damage, the fate of the first message, and whether it is still there. */
static const struct {
	const char *sql;
	bool lost, held, there;
	uint32_t rcpts;
} damages[] = {
	{"UPDATE body SET digest = digest + 1", false, true, true, 3},
	{"DELETE FROM body", false, true, true, 3},
	{"UPDATE body SET data = NULL", false, true, true, 3},
	{"DELETE FROM message", false, true, true, 3},
	{"UPDATE message SET sender = 'text'", true, false, false, 0},
	{"UPDATE message SET open = 1", false, false, true, 3},
	{"UPDATE message SET sender = x'40'", false, true, true, 3},
	{"UPDATE recipient SET address = x'40' WHERE n = 1", false, true, true, 3},
	{"UPDATE recipient SET notify = notify + 1 WHERE n = 2", false, true, true, 3},
	{"UPDATE message SET size = 1", false, true, true, 3},
	{"DELETE FROM recipient WHERE n = 1", true, false, true, 2},
	{"DELETE FROM recipient WHERE n = 0", true, false, true, 2},
	{"DELETE FROM recipient", true, false, false, 0},
	{"UPDATE recipient SET address = x'' WHERE n = 1", true, false, false, 0},
	{"UPDATE recipient SET last = 99", false, false, true, 3},
	{"DELETE FROM history", false, false, true, 3},
	{"UPDATE history SET stage = 99", false, false, true, 3},
	{"DELETE FROM message; DELETE FROM recipient", true, false, false, 0},
	{"DELETE FROM message; DELETE FROM body", true, false, false, 0},
	{"DELETE FROM state", false, false, true, 3},
	{"UPDATE state SET blocks = 1, seq = 0, owner = 0, clock = 7", false, false, true, 3},
	{"DELETE FROM lane; DELETE FROM turn", false, false, true, 3},
};

static void each_damage_has_its_fate(void **state)
{
	for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
		start_again(state);
		struct store *st = open_store(*state);
		struct new_message n;
		uint64_t block;
		assert_ok(ops_of(st)->id_block(st, &block));
		ledger.first = block << MSG_ID_BLOCK_BITS;
		assert_ok(ops_of(st)->put(st, &new_message(&n, ledger.first, 3, 5, 6, 10)->m));
		struct store_settle s = attempt(ledger.first, 0, STORE_WAITING, 11, 5000, 5);
		assert_ok(ops_of(st)->settle(st, &s));
		assert_ok(ops_of(st)->commit(st));
		ops_of(st)->close(st);
		doctor(damages[i].sql);
		assert_salvage(*state);
		assert_sound(*state);
		st = open_store(*state);
		struct seen seen = seen_of(st, ledger.first);
		if (ledger.told_lost[0] != damages[i].lost || ledger.told_held[0] != damages[i].held ||
		    seen.there != damages[i].there || seen.rcpts != damages[i].rcpts ||
		    seen.held != (damages[i].held ? seen.open : 0))
			fail_msg("%s: lost %d held %d there %d, %u recipients, %u held", damages[i].sql,
				 ledger.told_lost[0], ledger.told_held[0], seen.there, seen.rcpts, seen.held);
		assert_int_equal(ledger.done.lost, damages[i].lost);
		assert_int_equal(ledger.done.held, damages[i].held);
		ops_of(st)->close(st);
	}
}

static void bodies_that_nobody_names_any_more_are_kept(void **state)
{
	char path[200];
	size_t size;

	make_queue(*state, false);
	doctor("DELETE FROM message WHERE in_file; DELETE FROM recipient WHERE msg NOT IN (SELECT id FROM message)");
	assert_salvage(*state);
	assert_int_equal(ledger.done.files, MESSAGES / 10 - SETTLED_FILES);
	snprintf(path, sizeof path, "%s/%s", ledger.done.place, msg_id_format(ledger.first + FILE_AT).text);
	const unsigned char *octets = ram_disk_octets(*state, path, &size);
	assert_non_null(octets);
	assert_memory_equal(octets, FILE_BODY, sizeof FILE_BODY - 1);
	assert_true(ledger.told_lost[FILE_AT]);
}

static void a_missing_file_holds_its_message(void **state)
{
	make_queue(*state, false);
	store_spool_discard(ram_disk_fs(*state), ledger.first + FILE_AT);
	assert_salvage(*state);
	assert_true(ledger.told_held[FILE_AT]);
	assert_int_equal(ledger.done.held, 1);
}

/* ---- whatever the damage: every open message is there, or is told; what is there has its own body or is held */

static bool was_open(unsigned i)
{
	bool final_first = (i % 4 == 1 || i % 4 == 3) && i % 5 != 4;

	return 1 + i % 3 > 1 || !final_first;
}

static unsigned judge(struct store *st)
{
	unsigned silent = 0;

	for (unsigned i = 0; i < MESSAGES; i++) {
		struct seen seen = seen_of(st, ledger.first + i);
		struct buf body;
		if (!seen.there && was_open(i) && !ledger.told_lost[i])
			silent++;
		if (!seen.there || seen.open == 0 || i % 10 == FILE_AT)
			continue;
		buf_init(&body, 1000);
		enum store_result result = ops_of(st)->body(st, ledger.first + i, &body);
		if (result == STORE_OK)
			assert_slice(buf_slice(&body), BODY);
		else
			assert_true(ledger.told_held[i]);
		buf_free(&body);
	}
	return silent;
}

static uint64_t next_random(uint64_t *random)
{
	*random = *random * 6364136223846793005u + 1442695040888963407u;
	return *random >> 33;
}

static void one_destroyed_page_loses_nothing_without_a_word(void **state)
{
	size_t pages, size;

	make_queue(*state, false);
	ram_disk_octets(*state, PATH, &size);
	pages = size / 4096;
	assert_true(pages > 15);
	for (size_t page = 0; page < pages; page++) {
		for (int kind = 0; kind < 3; kind++) {
			uint64_t random = page * 3 + (uint64_t)kind;
			start_again(state);
			make_queue(*state, false);
			for (size_t k = 0; k < 4096; k++)
				ram_disk_set(*state, PATH, page * 4096 + k,
					     kind == 0   ? 0
					     : kind == 1 ? 0xff
							 : (unsigned char)next_random(&random));
			assert_salvage(*state);
			assert_sound(*state);
			struct store *st = open_store(*state);
			unsigned silent = judge(st);
			if (silent)
				fail_msg("page %zu, kind %d: %u messages are lost without a word", page, kind, silent);
			ops_of(st)->close(st);
		}
	}
}

static void random_damage_gives_no_wrong_body_and_a_sound_database(void **state)
{
	uint64_t random = 5;
	unsigned silent = 0, all = 0;

	for (int round = 0; round < TEST_TIMES(200, 40); round++) {
		size_t size;
		start_again(state);
		make_queue(*state, round % 2);
		const char *path = round % 4 == 3 ? PATH "-wal" : PATH;
		ram_disk_octets(*state, path, &size);
		for (uint64_t i = 1 + next_random(&random) % 20; i > 0; i--)
			ram_disk_set(*state, path, next_random(&random) % size, (unsigned char)next_random(&random));
		assert_salvage(*state);
		assert_sound(*state);
		struct store *st = open_store(*state);
		if (round % 4 != 3) /* a log ends where its damage begins: what comes later never was */
			silent += judge(st);
		all += MESSAGES;
		ops_of(st)->close(st);
	}
	/* Damage in many places at one time may take all that there was of a message. */
	assert_true(silent < all / 100);
}

static void a_database_that_was_cut_off_gives_what_is_left(void **state)
{
	size_t size;

	make_queue(*state, false);
	unsigned char *octets = copy_of(*state, PATH, &size);
	msg_id first = ledger.first;
	uint64_t saved = 0;
	for (size_t keep = 0; keep < size; keep += 4096 + 512) {
		start_again(state);
		ledger.first = first;
		struct fs *fs = ram_disk_fs(*state);
		struct file *f;
		assert_int_equal(fs->ops->open(fs, PATH, FS_WRITE | FS_CREATE, &f), 0);
		assert_int_equal(f->ops->write(f, slice_of((char *)octets, keep)), 0);
		f->ops->close(f);
		assert_salvage(*state);
		assert_sound(*state);
		assert_true(keep > size / 2 || ledger.done.lost + ledger.done.messages + ledger.done.forgotten > 0 ||
			    keep < 14 * (size_t)4096);
		saved = ledger.done.messages;
	}
	assert_true(saved > 0); /* with the last pages gone, the first messages are there */
	free(octets);
}

/* ---- what SQLite would pass over */

/* What opening says to a queue that was left with its log, after the log was changed. */
static enum store_result open_with_log(void **state, size_t from, size_t to, unsigned char flip, const char *words)
{
	struct store_sqlite_config config = {.path = PATH, .vfs = ram_disk_vfs(), .fs = ram_disk_fs(*state)};
	struct store *st = NULL;
	size_t size;

	const unsigned char *octets = ram_disk_octets(*state, PATH "-wal", &size);
	for (size_t at = from; at < to && at < size; at++)
		ram_disk_set(*state, PATH "-wal", at, octets[at] ^ flip);
	buf_reset(&ledger.why);
	enum store_result result = store_sqlite_open(&config, &st, &ledger.why);
	if (slice_search(buf_slice(&ledger.why), slice_from_cstr(words)) == buf_len(&ledger.why) && words[0])
		fail_msg("%zu to %zu: \"%s\" does not say \"%s\"", from, to, buf_cstr(&ledger.why), words);
	if (!words[0])
		assert_int_equal(buf_len(&ledger.why), 0);
	if (st)
		ops_of(st)->close(st);
	return result;
}

static void a_damaged_log_is_found_wherever_it_is_damaged(void **state)
{
	size_t size, frames;

	make_queue(*state, true);
	ram_disk_octets(*state, PATH "-wal", &size);
	frames = (size - 32) / 4120;
	assert_true(frames > 20);
	start_again(state);
	make_queue(*state, true);
	assert_ok(open_with_log(state, 0, 0, 0, ""));
	for (size_t at = 0; at < size - 20 * 4120; at += at < 60 ? 1 : TEST_TIMES(999, 4999)) {
		start_again(state);
		make_queue(*state, true);
		assert_result(open_with_log(state, at, at + 1, 0x10, "log is damaged"), STORE_CORRUPT);
		assert_salvage(*state);
		assert_sound(*state);
	}
	/* The last transaction: what a power cut does as well. */
	start_again(state);
	make_queue(*state, true);
	assert_ok(open_with_log(state, size - 100, size - 99, 0x10, "never promised"));
	/* Behind the end of what was written nothing counts. */
	start_again(state);
	make_queue(*state, true);
	assert_result(open_with_log(state, 0, 32, 0xff, "log is damaged"), STORE_CORRUPT);
}

/* As when the power goes while a new log begins. */
static void a_log_that_was_copied_into_the_database_may_lose_its_header(void **state)
{
	struct fs *fs = ram_disk_fs(*state);
	struct file *f;
	size_t size;

	make_queue(*state, true);
	unsigned char *log = copy_of(*state, PATH "-wal", &size);
	doctor("SELECT count(*) FROM state"); /* copies it, and removes it */
	assert_int_equal(fs->ops->open(fs, PATH "-wal", FS_WRITE | FS_CREATE, &f), 0);
	assert_int_equal(f->ops->write(f, slice_of((char *)log, size)), 0);
	f->ops->close(f);
	free(log);
	assert_ok(open_with_log(state, 3, 4, 0x40, ""));
}

static void a_database_that_is_gone_is_missed(void **state)
{
	for (int empty = 0; empty < 2; empty++) {
		struct store *st = NULL;
		struct fs *fs = ram_disk_fs(*state);
		struct file *f;
		start_again(state);
		fs = ram_disk_fs(*state);
		make_queue(*state, false);
		assert_int_equal(fs->ops->unlink(fs, PATH), 0);
		if (empty) {
			assert_int_equal(fs->ops->open(fs, PATH, FS_WRITE | FS_CREATE, &f), 0);
			f->ops->close(f);
		}
		assert_result(try_open(*state, &st), STORE_CORRUPT);
		assert_salvage(*state);
		assert_int_equal(ledger.done.messages, 0);
		assert_int_equal(ledger.done.files, MESSAGES / 10 - SETTLED_FILES);
		assert_sound(*state);
		/* With a log there is more to be found. */
		start_again(state);
		fs = ram_disk_fs(*state);
		make_queue(*state, true);
		assert_int_equal(fs->ops->unlink(fs, PATH), 0);
		assert_result(try_open(*state, &st), STORE_CORRUPT);
		assert_salvage(*state);
		assert_int_equal(ledger.done.messages, MESSAGES);
		assert_sound(*state);
	}
}

/* ---- the salvage itself is cut off */

static void power_that_goes_at_any_moment_loses_nothing(void **state)
{
	make_queue(*state, true);
	char *original = dump(*state);
	bool done = false;
	int step;

	for (step = 0; !done; step++) {
		for (int how = 0; how <= RAM_CRASH_MAX; how++) {
			start_again(state);
			make_queue(*state, true);
			struct ram_disk *d = *state;
			*ram_disk_fault(d) = (struct ram_fault){
				.ops = RAM_CHANGES, .after = step * 3 + how, .times = -1, .error = EIO};
			done = salvage(d) == STORE_OK;
			ram_disk_crash(d, (enum ram_crash)how, (uint64_t)step);
			assert_ok(store_sqlite_salvage_finish(ram_disk_fs(d)));
			/* Had it come to its end, this is the new one; else the damaged one, which is salvaged again.
			 */
			assert_salvage(d);
			assert_sound(d);
			char *salvaged = dump(d);
			assert_string_equal(salvaged, original);
			free(salvaged);
		}
	}
	assert_true(step > 10);
	free(original);
}

static void a_full_disk_is_said_and_waited_for(void **state)
{
	make_queue(*state, false);
	*ram_disk_fault(*state) = (struct ram_fault){.ops = RAM_WRITE, .after = 5, .times = -1, .error = ENOSPC};
	assert_result(salvage(*state), STORE_FULL);
	assert_true(buf_len(&ledger.why) > 0);
	*ram_disk_fault(*state) = (struct ram_fault){0};
	assert_salvage(*state);
	assert_int_equal(ledger.done.messages, MESSAGES);
}

/* ---- what cannot be read now is not damaged: seed 3891 of the simulator */

static struct ram_fault failing_read(int after, bool once)
{
	return (struct ram_fault){.ops = RAM_READ, .after = after, .times = once ? 1 : -1, .error = EIO};
}

/* Each of the first, then one of many. */
static int next_read(int n)
{
	return n < 30 ? n + 1 : n + TEST_TIMES(7, 31);
}

static bool count(void *arg, const char *name)
{
	(void)name;
	++*(int *)arg;
	return true;
}

static void a_read_that_fails_puts_no_database_aside(void **state)
{
	make_queue(*state, true);
	char *original = dump(*state);
	struct store *st;

	for (int once = 0; once <= 1; once++) {
		bool failed = true;
		for (int n = 0; failed; n = next_read(n)) {
			start_again(state);
			make_queue(*state, true);
			*ram_disk_fault(*state) = failing_read(n, once);
			enum store_result result = try_open(*state, &st);
			failed = once ? ram_disk_fault(*state)->times == 0 : ram_disk_fault(*state)->after == 0;
			assert_int_not_equal(result, STORE_CORRUPT);
			if (result == STORE_OK)
				ops_of(st)->close(st);
			*ram_disk_fault(*state) = (struct ram_fault){0};
			char *now = dump(*state);
			assert_string_equal(now, original);
			free(now);
			assert_true(n < 10000);
		}
	}
	free(original);
}

static void a_salvage_that_cannot_read_waits(void **state)
{
	make_queue(*state, true);
	char *original = dump(*state);

	for (int once = 0; once <= 1; once++) {
		bool done = false;
		int n = 0;
		for (; !done; n = next_read(n)) {
			int places = 0;
			start_again(state);
			make_queue(*state, true);
			for (int again = 0; again < 3; again++) {
				*ram_disk_fault(*state) = failing_read(n, once);
				enum store_result result = salvage(*state);
				done = result == STORE_OK;
				if (done)
					break;
				assert_int_not_equal(result, STORE_CORRUPT);
				assert_true(buf_len(&ledger.why) > 0);
			}
			*ram_disk_fault(*state) = (struct ram_fault){0};
			if (!done)
				assert_salvage(*state);
			assert_int_equal(ledger.done.messages, MESSAGES);
			assert_int_equal(ledger.done.held + ledger.done.lost, 0);
			assert_int_equal(
				ram_disk_fs(*state)->ops->list(ram_disk_fs(*state), "quarantine", count, &places), 0);
			assert_int_equal(places, 1);
			char *now = dump(*state);
			assert_string_equal(now, original);
			free(now);
		}
		assert_true(n > 10);
	}
	free(original);
}

/* ---- what is left alone */

static void another_programs_database_is_left_alone(void **state)
{
	size_t before, after;

	doctor("CREATE TABLE songs (title TEXT); INSERT INTO songs VALUES ('one')");
	unsigned char *octets = copy_of(*state, PATH, &before);
	assert_result(salvage(*state), STORE_CORRUPT);
	assert_slice(buf_slice(&ledger.why), PATH ": this database is not Postrider's");
	unsigned char *now = copy_of(*state, PATH, &after);
	assert_int_equal(before, after);
	assert_memory_equal(octets, now, after);
	free(octets);
	free(now);
}

static void a_running_server_is_left_alone(void **state)
{
	struct store *st = open_store(*state);
	struct new_message n;

	assert_ok(ops_of(st)->put(st, &new_message(&n, 1 << 20, 1, 5, 6, 10)->m));
	assert_ok(ops_of(st)->commit(st));
	assert_result(salvage(*state), STORE_LOCKED);
	assert_ok(ops_of(st)->put(st, &new_message(&n, (1 << 20) + 1, 1, 5, 6, 10)->m));
	assert_ok(ops_of(st)->commit(st));
	ops_of(st)->close(st);
}

static bool is_suspect(struct fs *fs)
{
	bool suspect;

	assert_ok(store_sqlite_is_suspect(fs, &suspect));
	return suspect;
}

static void the_mark_stays_until_it_is_done(void **state)
{
	struct fs *fs = ram_disk_fs(*state);

	make_queue(*state, false);
	assert_false(is_suspect(fs));
	assert_ok(store_sqlite_suspect(fs));
	assert_ok(store_sqlite_suspect(fs));
	ram_disk_crash(*state, RAM_CRASH_DROP, 0);
	assert_true(is_suspect(fs));
	assert_salvage(*state);
	assert_false(is_suspect(fs));
}

#define DISK_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		DISK_TEST(a_sound_database_comes_through_as_it_was),
		DISK_TEST(ids_are_not_given_again),
		DISK_TEST(a_destroyed_first_page_costs_nothing),
		DISK_TEST(a_database_of_an_older_version_comes_through),
		DISK_TEST(a_file_with_a_flipped_bit_is_held),
		DISK_TEST(each_damage_has_its_fate),
		DISK_TEST(bodies_that_nobody_names_any_more_are_kept),
		DISK_TEST(a_missing_file_holds_its_message),
		DISK_TEST(one_destroyed_page_loses_nothing_without_a_word),
		DISK_TEST(random_damage_gives_no_wrong_body_and_a_sound_database),
		DISK_TEST(a_database_that_was_cut_off_gives_what_is_left),
		DISK_TEST(a_damaged_log_is_found_wherever_it_is_damaged),
		DISK_TEST(a_log_that_was_copied_into_the_database_may_lose_its_header),
		DISK_TEST(a_database_that_is_gone_is_missed),
		DISK_TEST(power_that_goes_at_any_moment_loses_nothing),
		DISK_TEST(a_full_disk_is_said_and_waited_for),
		DISK_TEST(a_read_that_fails_puts_no_database_aside),
		DISK_TEST(a_salvage_that_cannot_read_waits),
		DISK_TEST(another_programs_database_is_left_alone),
		DISK_TEST(a_running_server_is_left_alone),
		DISK_TEST(the_mark_stays_until_it_is_done),
	};

	return cmocka_run_group_tests_name("salvaging a damaged database", tests, NULL, forget_queues);
}
