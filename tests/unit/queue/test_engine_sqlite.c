/*
 * The engine on the real store, on a disk that fails and loses power.
 */
#include "test.h"

#include "ram_disk.h"
#include "world.h"

#include "base/crc32c.h"

#include <errno.h>

static struct store *open_store(struct ram_disk *d)
{
	struct store_sqlite_config config = {.path = "queue.db",
					     .vfs = ram_disk_vfs(),
					     .fs = ram_disk_fs(d),
					     .wall = WORLD_WALL,
					     .recovery_grace = 5 * SECOND};
	struct store *st = NULL;

	assert_int_equal(store_sqlite_open(&config, &st, NULL), STORE_OK);
	return st;
}

static struct world *make(struct ram_disk *d)
{
	struct world *w = world_new_on(open_store(d));

	w->config.fs = ram_disk_fs(d);
	queue_engine_configure(w->e, &w->config);
	return w;
}

static void unmake(struct world *w)
{
	struct store *st = w->store;

	world_free(w);
	st->ops->close(st);
}

/* ---- looking ---------------------------------------------------------------------------------------------------- */

static void count(struct world *w, uint64_t ret[STORE_STATE_MAX + 1])
{
	assert_int_equal(w->store->ops->counts(w->store, ret), STORE_OK);
}

static enum store_state state_of(struct world *w, msg_id id, uint32_t n)
{
	struct store_rcpt row;
	struct arena a;

	arena_init(&a, 100000);
	enum store_result r = w->store->ops->load_rcpt(w->store, id, n, &a, &row);
	arena_free(&a);
	assert_int_equal(r, STORE_OK);
	return row.state;
}

struct search {
	msg_id about, found;
	size_t count;
};

static bool look(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	struct search *s = arg;

	(void)r;
	if (m->about == s->about) {
		s->found = m->id;
		s->count++;
	}
	return true;
}

static struct search reports_about(struct world *w, msg_id about)
{
	struct store_filter all = {.state = -2};
	struct store_cursor cursor = {0};
	struct search s = {.about = about};

	while (!cursor.end)
		assert_int_equal(w->store->ops->list(w->store, &all, INT64_MAX / 2, &cursor, look, &s), STORE_OK);
	return s;
}

/* ---- the journey ------------------------------------------------------------------------------------------------ */

static void every_kind_of_outcome_is_settled(void **state)
{
	(void)state;
	struct ram_disk *d = ram_disk_new();
	struct world *w = make(d);
	uint64_t counts[STORE_STATE_MAX + 1];

	for (msg_id id = 1; id <= 100; id++)
		world_put(w, id, "a@back.test", "x@one.test y@two.test/1 l@local.test m@lmtp.test q@three.test");
	world_turn(w);
	for (int i = 0; i < 400; i++) {
		for (size_t k = 0; k < w->job_n; k++) {
			struct world_job *job = &w->jobs[k];
			if (job->done)
				continue;
			bool refuse = strcmp(job->site, "two.test") == 0;
			bool defer = strcmp(job->site, "three.test") == 0 && i < 60;
			world_finish(w, job, refuse ? "550 5.1.1 no" : defer ? "451 4.3.0 later" : "250 2.0.0 ok");
		}
		world_pass(w, 5 * SECOND);
	}
	count(w, counts);
	assert_int_equal(counts[STORE_DELIVERED], 400);
	assert_int_equal(counts[STORE_FAILED], 100);
	assert_int_equal(counts[STORE_WAITING] + counts[STORE_CLAIMED] + counts[STORE_HELD] + counts[STORE_REMOVED], 0);
	unmake(w);
	ram_disk_free(d);
}

static void report_with_file(bool flipped)
{
	struct ram_disk *d = ram_disk_new();
	struct world *w = make(d);
	struct mail_rcpt rcpt = {.address = SLICE("x@one.test")};
	struct mail_envelope envelope = {
		.sender = SLICE("a@back.test"), .ret = MAIL_RET_FULL, .rcpt = &rcpt, .rcpt_count = 1};
	struct slice body = SLICE("Subject: large\r\n\r\nThe words in the file.\r\n");
	struct queue_put put = {.id = 7, .envelope = &envelope, .size = body.n, .body_in_file = true,
				.digest = {.known = true}};
	struct crc32c crc;
	struct file *f;
	struct buf report;

	crc32c_init(&crc);
	put.digest.value = crc32c_add(&crc, store_digest_begin(&crc, 7), body) ^ flipped;
	assert_int_equal(store_spool_create(ram_disk_fs(d), 7, &f), STORE_OK);
	assert_int_equal(f->ops->write(f, body), 0);
	f->ops->close(f);
	assert_true(queue_engine_put(w->e, 7, &put));
	world_turn(w);
	assert_int_equal(w->job_n, 1);
	world_finish(w, &w->jobs[0], "550 5.1.1 no");
	world_turn(w);
	assert_int_equal(state_of(w, 7, 0), STORE_FAILED);
	struct search s = reports_about(w, 7);
	assert_int_equal(s.count, 1);
	buf_init(&report, 100000);
	assert_int_equal(w->store->ops->body(w->store, s.found, &report), STORE_OK);
	struct slice text = buf_slice(&report);
	assert_int_equal(slice_search(text, SLICE("The words in the file.")) < text.n, !flipped);
	assert_int_equal(slice_search(text, SLICE("Subject: large")) < text.n, !flipped);
	buf_free(&report);
	unmake(w);
	ram_disk_free(d);
}

static void a_body_in_a_file_comes_back_with_the_report(void **state)
{
	(void)state;
	report_with_file(false);
}

static void a_body_that_is_damaged_does_not_come_back(void **state)
{
	(void)state;
	report_with_file(true);
}

/* ---- disks that fail -------------------------------------------------------------------------------------------- */

struct tally {
	unsigned accepted, delivered;
};

static void serve(struct world *w, struct tally *t)
{
	for (size_t k = 0; k < w->job_n; k++) {
		struct world_job *job = &w->jobs[k];
		if (job->done)
			continue;
		t->delivered += strcmp(job->site, "one.test") == 0;
		world_finish(w, job, strcmp(job->site, "two.test") == 0 ? "550 5.1.1 no" : "250 2.0.0 ok");
	}
}

/* Twelve messages with two recipients each, one of whom fails, while the disk fails after so many operations. */
static void some_life(struct world *w, struct ram_disk *d, int after, int times, int error, struct tally *t)
{
	*ram_disk_fault(d) = (struct ram_fault){.ops = RAM_CHANGES, .after = after, .times = times, .error = error};
	for (msg_id id = 1; id <= 12; id++) {
		world_put(w, id, "a@back.test", "x@one.test y@two.test");
		world_turn(w);
		if (id % 3 == 0)
			serve(w, t);
	}
	world_turn(w);
	*ram_disk_fault(d) = (struct ram_fault){0};
}

static void check_accepted(struct world *w, const struct world_answer *answers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (answers[i].result != STORE_OK)
			continue;
		assert_int_equal(state_of(w, answers[i].tag, 0), STORE_DELIVERED);
		assert_int_equal(state_of(w, answers[i].tag, 1), STORE_FAILED);
		assert_int_equal(reports_about(w, answers[i].tag).count, 1);
	}
}

static void disk_errors_at_any_moment_lose_nothing(void **state)
{
	(void)state;
	static const struct {
		int times, error;
	} faults[] = {{1, EIO}, {3, EIO}, {2, ENOSPC}};

	for (size_t k = 0; k < sizeof faults / sizeof *faults; k++) {
		for (int after = 0; after < 90; after += 2) {
			struct ram_disk *d = ram_disk_new();
			struct world *w = make(d);
			struct tally t = {0};
			some_life(w, d, after, faults[k].times, faults[k].error, &t);
			for (int i = 0; i < 20; i++) {
				serve(w, &t);
				world_pass(w, 2 * SECOND);
			}
			assert_int_equal(w->answer_n, 12);
			check_accepted(w, w->answers, w->answer_n);
			unmake(w);
			ram_disk_free(d);
		}
	}
}

static void a_power_cut_at_any_moment_loses_nothing(void **state)
{
	(void)state;
	for (int after = 0; after < 90; after++) {
		struct ram_disk *d = ram_disk_new();
		struct world *w = make(d);
		struct tally t = {0};
		struct world_answer answers[12];
		some_life(w, d, after, -1, EIO, &t);
		assert_int_equal(w->answer_n, 12);
		memcpy(answers, w->answers, sizeof answers);
		ram_disk_crash(d, (enum ram_crash)(after % (RAM_CRASH_MAX + 1)), (uint64_t)after);
		unmake(w);
		w = make(d);
		for (int i = 0; i < 20; i++) {
			world_pass(w, 2 * SECOND);
			serve(w, &t);
		}
		world_turn(w);
		check_accepted(w, answers, 12);
		unmake(w);
		ram_disk_free(d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_outcome_is_settled),
		cmocka_unit_test(a_body_in_a_file_comes_back_with_the_report),
		cmocka_unit_test(a_body_that_is_damaged_does_not_come_back),
		cmocka_unit_test(disk_errors_at_any_moment_lose_nothing),
		cmocka_unit_test(a_power_cut_at_any_moment_loses_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
