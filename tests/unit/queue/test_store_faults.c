/*
 * One scenario, with every operation on the disk failing in turn, the power going at every operation in turn, and every
 * allocation of SQLite failing in turn. What the store shows afterwards is compared with what a run without faults
 * showed after the same number of commits: nothing more, nothing less.
 *
 * Every operation has its turn with one way of failing, chosen by its number; with the argument "all", with every way.
 */
#include "test.h"

#include "queue/store_sqlite.h"
#include "ram_disk.h"
#include "store_suite.h"

#include <errno.h>

#define PATH  "queue.db"
#define SITE  9
#define FLOW  4
#define LARGE ((msg_id)0x305) /* has its body in a file */

/* ---- the scenario: each step is one transaction */

static char long_body[20000];

static enum store_result put(struct store *st, msg_id id, size_t rcpts, bool claim, queue_ms now, struct slice body)
{
	struct new_message n;

	new_message(&n, id, rcpts, SITE, FLOW, now)->m.claim = claim;
	if (body.n) {
		n.m.body = body;
		n.m.size = body.n;
	}
	return ops_of(st)->put(st, &n.m);
}

static enum store_result settle(struct store *st, msg_id id, uint32_t n, enum store_state next, queue_ms now,
				queue_ms due)
{
	struct store_settle s = attempt(id, n, next, now, due, SITE);

	return ops_of(st)->settle(st, &s);
}

static enum store_result accept_two(struct store *st, struct fs *fs)
{
	enum store_result result = put(st, 1, 1, true, 0, SLICE_NONE);

	(void)fs;
	if (!result)
		result = put(st, 2, 3, false, 0, slice_of(long_body, sizeof long_body));
	return result ? result : ops_of(st)->clock_save(st, SLICE("one"));
}

static enum store_result accept_large(struct store *st, struct fs *fs)
{
	struct new_message n;
	struct file *f;
	enum store_result result = store_spool_create(fs, LARGE, &f);

	if (result)
		return result;
	int error = f->ops->write(f, slice_of(long_body, 5000));
	f->ops->close(f);
	if (error) {
		store_spool_discard(fs, LARGE);
		return STORE_IO;
	}
	new_message(&n, LARGE, 1, SITE, FLOW, 1)->m.body_in_file = true;
	n.m.size = 5000;
	return ops_of(st)->put(st, &n.m);
}

static enum store_result defer(struct store *st, struct fs *fs)
{
	struct store_settle hold = {.id = 2, .n = 2, .next = STORE_HELD, .site = SITE, .note = SLICE("held")};
	enum store_result result = settle(st, 1, 0, STORE_WAITING, 2, 50);

	(void)fs;
	if (!result)
		result = settle(st, 2, 0, STORE_WAITING, 2, 60);
	return result ? result : ops_of(st)->settle(st, &hold);
}

static enum store_result fail_and_report(struct store *st, struct fs *fs)
{
	struct store_due due[10];
	size_t n;
	queue_ms next;
	struct store_history line = {.event = STORE_EVENT_REPORT, .about = 20, .n = 1};
	enum store_result result = ops_of(st)->claim(st, 100, 5, due, 10, &n, &next);

	(void)fs;
	if (!result)
		result = settle(st, 2, 1, STORE_FAILED, 100, 0);
	if (!result)
		result = put(st, 20, 1, true, 100, SLICE_NONE);
	if (!result)
		result = ops_of(st)->note(st, 2, &line);
	return result ? result : ops_of(st)->clock_save(st, SLICE("two"));
}

static enum store_result deliver(struct store *st, struct fs *fs)
{
	enum store_result result = settle(st, LARGE, 0, STORE_DELIVERED, 110, 0);

	(void)fs;
	if (!result)
		result = settle(st, 1, 0, STORE_DELIVERED, 110, 0);
	if (!result)
		result = settle(st, 2, 0, STORE_DELIVERED, 111, 0);
	return result ? result : settle(st, 2, 2, STORE_REMOVED, 111, 0);
}

static enum store_result forget(struct store *st, struct fs *fs)
{
	size_t n;

	(void)fs;
	return ops_of(st)->purge(st, 111, 10, &n);
}

static enum store_result accept_more(struct store *st, struct fs *fs)
{
	enum store_result result = STORE_OK;

	(void)fs;
	for (msg_id id = 30; id < 36 && !result; id++)
		result = put(st, id, 2, id % 2, 200, slice_of(long_body, 3000));
	return result;
}

static enum store_result (*const steps[])(struct store *st, struct fs *fs) = {
	accept_two, accept_large, defer, fail_and_report, deliver, forget, accept_more,
};
#define STEPS (sizeof steps / sizeof *steps)

static bool all_ways;

static char *expected[STEPS + 1]; /* what the store shows after so many commits */

/* ---- the disk under it */

static struct store_sqlite_config config_of(struct ram_disk *d)
{
	/* A short log, so that it is copied into the database again and again. */
	return (struct store_sqlite_config){.path = PATH, .vfs = ram_disk_vfs(), .fs = ram_disk_fs(d), .log_pages = 12};
}

static enum store_result open_store(struct ram_disk *d, struct store **ret)
{
	struct store_sqlite_config config = config_of(d);

	return store_sqlite_open(&config, ret, NULL);
}

static struct store *open_well(struct ram_disk *d)
{
	struct store *st = NULL;

	assert_ok(open_store(d, &st));
	return st;
}

static int expect_all(void **state)
{
	struct ram_disk *d = ram_disk_new();
	struct store *st = open_well(d);

	(void)state;
	for (size_t i = 0; i < sizeof long_body; i++)
		long_body[i] = (char)('a' + i * i % 23);
	expected[0] = store_dump(st);
	for (size_t i = 0; i < STEPS; i++) {
		assert_ok(steps[i](st, ram_disk_fs(d)));
		assert_ok(ops_of(st)->commit(st));
		expected[i + 1] = store_dump(st);
		assert_string_not_equal(expected[i], expected[i + 1]);
	}
	ops_of(st)->close(st);
	ram_disk_free(d);
	return 0;
}

static int forget_all(void **state)
{
	(void)state;
	for (size_t i = 0; i <= STEPS; i++)
		free(expected[i]);
	return 0;
}

#define LARGE_LINE "message 773 from <sender@example.com> size 5000 "

/* What the store shows is what it showed after `done` commits, or after `also`. */
static void assert_shows(struct store *st, size_t done, size_t also)
{
	char *shown = store_dump(st);

	if (strcmp(shown, expected[done]) != 0 && strcmp(shown, expected[also]) != 0)
		fail_msg("after %zu commits the store shows\n%s\ninstead of\n%s", done, shown, expected[done]);
	free(shown);
}

/* No file is left that nobody names, and the one that is named is whole. */
static void assert_files(struct store *st, struct ram_disk *d)
{
	char *shown = store_dump(st);
	bool large = strstr(shown, LARGE_LINE "open 1");

	assert_true(!strstr(shown, "message 773 ") == !strstr(shown, LARGE_LINE));
	assert_int_equal(ram_disk_files_below(d, "spool/"), large ? 1 : 0);
	if (large) {
		struct file *f;
		char octets[6000];
		size_t n;
		assert_ok(store_spool_open(ram_disk_fs(d), LARGE, &f));
		assert_int_equal(f->ops->read(f, 0, octets, sizeof octets, &n), 0);
		assert_int_equal(n, 5000);
		assert_memory_equal(octets, long_body, n);
		f->ops->close(f);
	}
	free(shown);
}

/* ---- power cuts */

/* Runs until something fails; *ret_sure: commits that were confirmed, and one more may have happened. */
static void run_until_cut(struct ram_disk *d, size_t *ret_sure)
{
	struct store *st = NULL;

	*ret_sure = 0;
	if (open_store(d, &st) != STORE_OK)
		return;
	for (size_t i = 0; i < STEPS; i++) {
		if (steps[i](st, ram_disk_fs(d)) != STORE_OK || ops_of(st)->commit(st) != STORE_OK)
			break;
		*ret_sure = i + 1;
	}
	ops_of(st)->close(st);
}

/* How many operations of these kinds the scenario makes. */
static int count_operations(unsigned ops)
{
	struct ram_disk *d = ram_disk_new();
	size_t sure;

	*ram_disk_fault(d) = (struct ram_fault){.ops = ops, .after = 1000000, .times = -1, .error = EIO};
	run_until_cut(d, &sure);
	assert_int_equal(sure, STEPS);
	int count = 1000000 - ram_disk_fault(d)->after;
	ram_disk_free(d);
	return count;
}

static void cut_at(int operation, enum ram_crash how, uint64_t seed)
{
	struct ram_disk *d = ram_disk_new();
	size_t sure;

	*ram_disk_fault(d) = (struct ram_fault){.ops = RAM_CHANGES, .after = operation, .times = -1, .error = EIO};
	run_until_cut(d, &sure);
	ram_disk_crash(d, how, seed);
	struct store *st = open_well(d);
	assert_shows(st, sure, sure < STEPS ? sure + 1 : sure);
	assert_files(st, d);
	ops_of(st)->close(st);
	/* And what was recovered is durable. */
	ram_disk_crash(d, RAM_CRASH_DROP, seed);
	st = open_well(d);
	assert_shows(st, sure, sure < STEPS ? sure + 1 : sure);
	assert_files(st, d);
	ops_of(st)->close(st);
	ram_disk_free(d);
}

static void a_power_cut_at_any_operation_loses_nothing_that_was_committed(void **state)
{
	int count = count_operations(RAM_CHANGES);

	(void)state;
	assert_true(count > 50);
	for (int i = 0; i < count; i++)
		for (int how = RAM_CRASH_DROP; how <= RAM_CRASH_MAX + 2; how++) /* more often mixed */
			if (all_ways || i % 5 == how)
				cut_at(i, how < RAM_CRASH_MIX ? (enum ram_crash)how : RAM_CRASH_MIX,
				       (uint64_t)(i * 10 + how));
}

static void a_second_power_cut_during_recovery_loses_nothing_either(void **state)
{
	int count = count_operations(RAM_CHANGES);

	(void)state;
	for (int i = 7; i < count; i += all_ways ? 7 : 43) {
		for (int k = 0; k < 60; k++) {
			struct ram_disk *d = ram_disk_new();
			struct store *st = NULL;
			size_t sure;
			*ram_disk_fault(d) = (struct ram_fault){RAM_CHANGES, i, -1, EIO};
			run_until_cut(d, &sure);
			ram_disk_crash(d, RAM_CRASH_MIX, (uint64_t)i);
			*ram_disk_fault(d) = (struct ram_fault){RAM_CHANGES, k, -1, EIO};
			bool opened = open_store(d, &st) == STORE_OK;
			if (st)
				ops_of(st)->close(st);
			ram_disk_crash(d, RAM_CRASH_MIX, (uint64_t)k);
			st = open_well(d);
			assert_shows(st, sure, sure < STEPS ? sure + 1 : sure);
			assert_files(st, d);
			ops_of(st)->close(st);
			ram_disk_free(d);
			if (opened)
				break;
		}
	}
}

/* Its client was told 451, and its receiver gives it up; who dies now may find the transaction in the log. */
static void a_file_given_up_after_a_failed_commit_waits_for_reopen(void **state)
{
	(void)state;

	for (int sync = 0, failed = 1; failed; sync++) {
		struct ram_disk *d = ram_disk_new();
		struct store *st = open_well(d);
		*ram_disk_fault(d) = (struct ram_fault){.ops = RAM_SYNC, .after = sync, .times = 1, .error = EIO};
		bool put = accept_large(st, ram_disk_fs(d)) == STORE_OK;
		bool taken = ops_of(st)->commit(st) == STORE_OK && put;
		failed = ram_disk_fault(d)->times == 0;
		assert_true(taken == !failed);
		*ram_disk_fault(d) = (struct ram_fault){0};
		store_sqlite_unwanted(st, LARGE);
		assert_int_equal(ram_disk_files_below(d, "spool/"), put ? 1 : 0);
		assert_ok(ops_of(st)->reopen(st));
		assert_files(st, d);
		ops_of(st)->close(st);
		ram_disk_free(d);
	}
}

/* A sync fails, the process dies over it, and the power goes while the next process recovers: what the failed sync had
 * left in memory, and what was copied from there, must not be mixed up. Whether the recovery was cut. */
static bool cut_recovery_after_failed_sync(int sync, int operation)
{
	struct ram_disk *d = ram_disk_new();
	struct store *st = open_well(d);
	size_t done = 0;

	*ram_disk_fault(d) = (struct ram_fault){.ops = RAM_SYNC, .after = sync, .times = 1, .error = EIO};
	while (done < STEPS && steps[done](st, ram_disk_fs(d)) == STORE_OK && ops_of(st)->commit(st) == STORE_OK)
		done++;
	ram_disk_crash(d, RAM_CRASH_KEEP, 0);
	ops_of(st)->close(st);
	*ram_disk_fault(d) = (struct ram_fault){RAM_CHANGES, operation, -1, EIO};
	st = NULL;
	bool cut = open_store(d, &st) != STORE_OK;
	ram_disk_crash(d, RAM_CRASH_MIX, (uint64_t)(sync * 1000 + operation));
	if (st)
		ops_of(st)->close(st);
	st = open_well(d);
	assert_shows(st, done, done < STEPS ? done + 1 : done);
	assert_files(st, d);
	ops_of(st)->close(st);
	ram_disk_free(d);
	return cut;
}

/* A process dies with a commit that was not synced, and the next one, which has read it, cannot sync it either. */
static void restart_with_failed_sync(int sync, int failing)
{
	struct ram_disk *d = ram_disk_new();
	struct store *st = open_well(d);
	size_t done = 0;

	*ram_disk_fault(d) = (struct ram_fault){.ops = RAM_SYNC, .after = sync, .times = -1, .error = EIO};
	while (done < STEPS && steps[done](st, ram_disk_fs(d)) == STORE_OK && ops_of(st)->commit(st) == STORE_OK)
		done++;
	ram_disk_crash(d, RAM_CRASH_KEEP, 0);
	ops_of(st)->close(st);
	ram_disk_takes_back(d);
	*ram_disk_fault(d) = (struct ram_fault){.ops = RAM_SYNC, .after = failing, .times = 1, .error = EIO};
	st = NULL;
	(void)open_store(d, &st);
	if (st)
		ops_of(st)->close(st);
	*ram_disk_fault(d) = (struct ram_fault){0};
	st = open_well(d);
	assert_shows(st, done, done < STEPS ? done + 1 : done);
	assert_files(st, d);
	ops_of(st)->close(st);
	ram_disk_free(d);
}

static void a_start_copies_nothing_that_the_disk_took_back(void **state)
{
	int count = count_operations(RAM_SYNC);

	(void)state;
	for (int sync = 0; sync < count; sync++)
		for (int failing = 0; failing < 4; failing++)
			restart_with_failed_sync(sync, failing);
}

static void a_power_cut_after_a_failed_sync_and_a_restart_loses_nothing(void **state)
{
	int count = count_operations(RAM_SYNC);

	(void)state;
	for (int i = all_ways ? 0 : 2; i < count; i += all_ways ? 1 : 5)
		for (int k = 0; cut_recovery_after_failed_sync(i, k); k++)
			;
}

static void start_with_failing(struct ram_disk *d, struct ram_fault fault)
{
	struct store *st = NULL;

	*ram_disk_fault(d) = fault;
	if (open_store(d, &st) == STORE_OK)
		ops_of(st)->close(st);
	*ram_disk_fault(d) = (struct ram_fault){0};
}

/* SQLite makes a database behind a rollback journal, and does not care whether the name of that is gone for good: if it
 * comes back, the log of the database is taken for one that lost its database. */
static void a_first_start_that_failed_leaves_nothing_that_looks_damaged(void **state)
{
	const unsigned syncs = RAM_SYNC | RAM_SYNC_DIR;
	const uint64_t ways = 1 << 8; /* which of its syncs fail, once the database was made */

	(void)state;
	for (uint64_t way = 0; way < ways; way++) {
		for (uint64_t seed = 0; seed < 3; seed++) {
			struct ram_disk *d = ram_disk_new();
			start_with_failing(d, (struct ram_fault){syncs, 4, 8, EIO, way});
			ram_disk_crash(d, RAM_CRASH_MIX, way * 3 + seed);
			start_with_failing(d, (struct ram_fault){syncs, (int)seed, 1, EIO, 0});
			struct store *st = open_well(d);
			ops_of(st)->close(st);
			ram_disk_free(d);
		}
	}
}

/* ---- failures that are lived through */

enum after {
	GO_ON,         /* reopen, and go on to the end */
	CUT_AFTER,     /* reopen, then the power goes: the failed transaction must not come back */
	KILL_UNOPENED, /* the process dies before reopen, and the power goes later */
};

static void reopen_well(struct store *st)
{
	/* The fault hits once: what it made fail succeeds the second time. */
	if (ops_of(st)->reopen(st) != STORE_OK)
		assert_ok(ops_of(st)->reopen(st));
}

/* Whether the fault was met. */
static bool live_through(struct ram_fault fault, enum after after)
{
	struct ram_disk *d = ram_disk_new();
	struct store *st = NULL;
	size_t done = 0;
	bool met = false;

	*ram_disk_fault(d) = fault;
	if (open_store(d, &st) != STORE_OK) {
		met = true;
		st = open_well(d);
	}
	for (int tries = 0; done < STEPS && tries < 3;) {
		enum store_result result = steps[done](st, ram_disk_fs(d));
		enum store_result committed = result ? STORE_POISONED : ops_of(st)->commit(st);
		if (result == STORE_OK && committed == STORE_OK) {
			done++;
			continue;
		}
		met = true;
		tries++;
		if (after == KILL_UNOPENED)
			break;
		reopen_well(st);
		assert_shows(st, done, done);
		if (!(fault.ops & RAM_UNLINK)) /* what could not be removed goes when the store is opened next */
			assert_files(st, d);
		if (after == CUT_AFTER)
			break;
	}
	met |= ram_disk_fault(d)->times == 0;
	if (after == GO_ON) {
		assert_int_equal(done, STEPS);
		reopen_well(st); /* what a copy of the log into the database left undone */
		assert_shows(st, done, done);
		ops_of(st)->close(st);
		ram_disk_crash(d, RAM_CRASH_DROP, 0);
	} else {
		ram_disk_crash(d, after == CUT_AFTER ? RAM_CRASH_MIX : RAM_CRASH_KEEP, (uint64_t)fault.after);
		ops_of(st)->close(st);
	}
	st = open_well(d);
	size_t also = after == KILL_UNOPENED && done < STEPS ? done + 1 : done;
	assert_shows(st, done, also);
	assert_files(st, d);
	/* What is shown is on the disk, whatever the failed sync had left in memory. */
	struct new_message n;
	assert_ok(ops_of(st)->put(st, &new_message(&n, 99, 1, SITE, FLOW, 300)->m));
	assert_ok(ops_of(st)->commit(st));
	ram_disk_crash(d, RAM_CRASH_DROP, 0);
	ops_of(st)->close(st);
	st = open_well(d);
	struct arena arena;
	struct store_message m;
	arena_init(&arena, 10000);
	assert_ok(ops_of(st)->load(st, 99, &arena, &m));
	arena_free(&arena);
	ops_of(st)->close(st);
	ram_disk_free(d);
	return met;
}

static void fail_each(unsigned ops, int error)
{
	int count = count_operations(ops), met = 0, tried = 0;

	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		for (int after = GO_ON; after <= KILL_UNOPENED; after++) {
			if (!all_ways && i % 3 != after)
				continue;
			struct ram_fault fault = {.ops = ops, .after = i, .times = 1, .error = error};
			met += live_through(fault, (enum after)after);
			tried++;
		}
	}
	assert_true(met > tried / 2); /* the others come after the end: closing makes operations as well */
}

/* Each page of the log used to be two writes. */
static void a_large_commit_is_few_writes(void **state)
{
	struct ram_disk *d = ram_disk_new();
	struct store *st = open_well(d);

	(void)state;
	*ram_disk_fault(d) = (struct ram_fault){.ops = RAM_WRITE, .after = 1000000, .times = -1, .error = EIO};
	for (msg_id id = 100; id < 200; id++)
		assert_ok(put(st, id, 1, true, 10, slice_of(long_body, 4000)));
	assert_ok(ops_of(st)->commit(st));
	assert_in_range(1000000 - ram_disk_fault(d)->after, 1, 25);
	ops_of(st)->close(st);
	ram_disk_free(d);
}

static void a_failed_write_is_as_if_its_transaction_never_was(void **state)
{
	(void)state;
	fail_each(RAM_WRITE, EIO);
	fail_each(RAM_TRUNCATE, EIO);
	fail_each(RAM_CREATE | RAM_UNLINK | RAM_MKDIR, EIO);
}

static void a_failed_sync_is_as_if_its_transaction_never_was(void **state)
{
	(void)state;
	fail_each(RAM_SYNC, EIO);
	fail_each(RAM_SYNC_DIR, EIO);
}

static void a_failed_read_loses_nothing(void **state)
{
	(void)state;
	fail_each(RAM_READ, EIO);
}

/* A full disk needs no reopen: the transaction is refused, and the next one finds room or does not. */
static void fill_at(int operation, int error)
{
	struct ram_disk *d = ram_disk_new();
	struct store *st = open_well(d);
	size_t done = 0;

	*ram_disk_fault(d) = (struct ram_fault){.ops = RAM_WRITE, .after = operation, .times = 3, .error = error};
	for (int tries = 0; done < STEPS && tries < 10;) {
		enum store_result result = steps[done](st, ram_disk_fs(d));
		enum store_result committed = ops_of(st)->commit(st);
		if (result == STORE_OK && committed == STORE_OK) {
			done++;
			continue;
		}
		tries++;
		/* The spool's writer answers for itself; the store says that it is full. */
		if (steps[done] != accept_large)
			assert_result(committed, STORE_FULL);
		assert_shows(st, done, done);
		assert_files(st, d);
	}
	assert_int_equal(done, STEPS);
	assert_shows(st, done, done);
	ops_of(st)->close(st);
	ram_disk_free(d);
}

static void a_full_disk_refuses_the_transaction_and_no_more(void **state)
{
	int count = count_operations(RAM_WRITE);

	(void)state;
	for (int i = 0; i < count; i++) {
		if (all_ways || i % 4 == 0)
			fill_at(i, ENOSPC);
		if (all_ways || i % 4 == 2)
			fill_at(i, EDQUOT);
	}
}

/* ---- memory */

static sqlite3_mem_methods real_memory;
static int allocations_left = -1; /* -1 = as many as you like */

static void *scarce_malloc(int n)
{
	if (allocations_left == 0)
		return NULL;
	if (allocations_left > 0)
		allocations_left--;
	return real_memory.xMalloc(n);
}

static void *scarce_realloc(void *p, int n)
{
	if (allocations_left == 0)
		return NULL;
	if (allocations_left > 0)
		allocations_left--;
	return real_memory.xRealloc(p, n);
}

/* Memory runs out at one moment, and comes back when a call has failed over it. */
static void starve_at(int allocation)
{
	struct ram_disk *d = ram_disk_new();
	struct store *st = NULL;
	size_t done = 0;

	allocations_left = allocation;
	if (open_store(d, &st) != STORE_OK) {
		allocations_left = -1;
		st = open_well(d);
	}
	for (int tries = 0; done < STEPS && tries < 10;) {
		enum store_result result = steps[done](st, ram_disk_fs(d));
		enum store_result committed = result ? STORE_POISONED : ops_of(st)->commit(st);
		if (result == STORE_OK && committed == STORE_OK) {
			done++;
			continue;
		}
		tries++;
		allocations_left = -1;
		assert_ok(ops_of(st)->reopen(st));
		assert_shows(st, done, done);
	}
	allocations_left = -1;
	assert_int_equal(done, STEPS);
	ops_of(st)->close(st);
	ram_disk_crash(d, RAM_CRASH_DROP, 0);
	st = open_well(d);
	assert_shows(st, done, done);
	ops_of(st)->close(st);
	ram_disk_free(d);
}

static void memory_that_runs_out_anywhere_loses_nothing(void **state)
{
	sqlite3_mem_methods scarce;
	struct ram_disk *d = ram_disk_new();
	size_t sure;

	(void)state;
	sqlite3_vfs_unregister(sqlite3_vfs_find(ram_disk_vfs()));
	ram_disk_free(d);
	assert_int_equal(sqlite3_shutdown(), SQLITE_OK);
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
	scarce = real_memory;
	scarce.xMalloc = scarce_malloc;
	scarce.xRealloc = scarce_realloc;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &scarce), SQLITE_OK);

	d = ram_disk_new();
	allocations_left = 100000000;
	run_until_cut(d, &sure);
	int count = 100000000 - allocations_left;
	allocations_left = -1;
	ram_disk_free(d);
	assert_int_equal(sure, STEPS);
	assert_true(count > 1000);
	for (int i = 0; i < count; i += all_ways ? 1 : i < 50 ? 7 : 61)
		starve_at(i);
	assert_int_equal(sqlite3_shutdown(), SQLITE_OK);
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_MALLOC, &real_memory), SQLITE_OK);
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_power_cut_at_any_operation_loses_nothing_that_was_committed),
		cmocka_unit_test(a_second_power_cut_during_recovery_loses_nothing_either),
		cmocka_unit_test(a_file_given_up_after_a_failed_commit_waits_for_reopen),
		cmocka_unit_test(a_power_cut_after_a_failed_sync_and_a_restart_loses_nothing),
		cmocka_unit_test(a_first_start_that_failed_leaves_nothing_that_looks_damaged),
		cmocka_unit_test(a_start_copies_nothing_that_the_disk_took_back),
		cmocka_unit_test(a_large_commit_is_few_writes),
		cmocka_unit_test(a_failed_write_is_as_if_its_transaction_never_was),
		cmocka_unit_test(a_failed_sync_is_as_if_its_transaction_never_was),
		cmocka_unit_test(a_failed_read_loses_nothing),
		cmocka_unit_test(a_full_disk_refuses_the_transaction_and_no_more),
		cmocka_unit_test(memory_that_runs_out_anywhere_loses_nothing),
	};

	all_ways = argc > 1 && strcmp(argv[1], "all") == 0;
	return cmocka_run_group_tests_name("store under faults", tests, expect_all, forget_all);
}
