#include "test.h"

#include "base/heap.h"
#include "role/courier_private.h"

#include <errno.h>

/* RFC 3463 3.5: X.4.1 is for a host that does not answer, X.4.0 for what no other code fits. */
static void a_failure_to_connect_has_the_status_of_its_cause(void **state)
{
	(void)state;
	static const struct {
		int error;
		unsigned subject, detail;
	} rows[] = {
		{ECONNREFUSED, 4, 1}, {ETIMEDOUT, 4, 1}, {EHOSTDOWN, 4, 1},     {EAGAIN, 4, 1}, {ENETUNREACH, 4, 0},
		{EHOSTUNREACH, 4, 0}, {EACCES, 4, 0},    {ENOENT, 4, 0},        {EPERM, 4, 0},  {EAFNOSUPPORT, 4, 0},
		{EMFILE, 3, 0},       {ENOMEM, 3, 0},    {EADDRNOTAVAIL, 3, 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct smtpcodes_status status = courier_connect_status(rows[i].error);

		assert_int_equal(status.klass, 4);
		assert_int_equal(status.subject, rows[i].subject);
		assert_int_equal(status.detail, rows[i].detail);
	}
}

struct sized {
	struct file file;
	uint64_t size;
	int error;
};

static int size_of(struct file *f, uint64_t *ret)
{
	*ret = ((struct sized *)f)->size;
	return ((struct sized *)f)->error;
}

/* attacks D: what the disk gives back may be nothing, less or more than it was given. */
static void only_a_body_of_the_promised_length_is_there(void **state)
{
	(void)state;
	static const struct file_ops ops = {.size = size_of};
	static const struct {
		bool in_file, file;
		const char *body;
		uint64_t found;
		int error;
		bool there;
	} rows[] = {
		{false, false, "1234", 0, 0, true}, {false, false, "123", 0, 0, false}, {true, true, "", 4, 0, true},
		{true, true, "", 3, 0, false},      {true, true, "", 5, 0, false},      {true, true, "", 0, 0, false},
		{true, true, "", 4, EIO, false},    {true, false, "", 0, 0, false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct sized file = {{&ops}, rows[i].found, rows[i].error};
		struct courier_job job = {
			.queue = {.id = 1,
				  .size = 4,
				  .body = slice_from_cstr(rows[i].body),
				  .body_in_file = rows[i].in_file},
			.file = rows[i].file ? &file.file : NULL,
		};
		struct smtp_outcome lost = {0};

		assert_int_equal(courier_check_body(&job, &lost), rows[i].there);
		assert_int_equal(lost.status.detail, rows[i].there ? 0 : 6);
		if (rows[i].there)
			continue;
		assert_int_equal(lost.verdict, SMTP_DEFERRED);
		assert_int_equal(lost.status.klass, 4);
		assert_int_equal(lost.status.subject, 6);
	}
}

/* A site with links of which the first `working` have a job. */
static void few_jobs_stand_in_line_at_a_quick_site(void **state)
{
	(void)state;
	static const struct {
		span_ms took; /* -1: nothing is known */
		size_t working, jobs;
		bool in_line;
	} rows[] = {
		{0, 1, 1, true},  {0, 1, 4, true},  {0, 1, 5, false}, {0, 2, 8, true},         {0, 2, 9, false},
		{0, 0, 1, false}, {0, 1, 0, false}, {3, 1, 4, true},  {7, 1, 1, false},        {-1, 1, 1, false},
		{HOUR, 3, 1, false},
	};
	struct loop *loop = loop_new();
	struct courier courier = {.loop = loop};

	assert_non_null(loop);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct link links[3] = {{0}};
		struct site site = {.courier = &courier, .stalled = loop_timer_new(loop, NULL, NULL)};

		TAILQ_INIT(&site.links);
		TAILQ_INIT(&site.waiting);
		for (size_t j = 0; j < 3; j++) {
			links[j].idle = j >= rows[i].working;
			TAILQ_INSERT_TAIL(&site.links, &links[j], link);
		}
		for (size_t j = 0; j < rows[i].jobs; j++) {
			struct courier_job *job = heap_new(struct courier_job);
			assert_non_null(job);
			TAILQ_INSERT_TAIL(&site.waiting, job, link);
		}
		for (size_t j = 0; j < 20 && rows[i].took >= 0; j++)
			courier_note_pace(&site, rows[i].took);
		assert_int_equal(courier_leaves_in_line(&site), rows[i].in_line);
		while (!TAILQ_EMPTY(&site.waiting)) {
			struct courier_job *job = TAILQ_FIRST(&site.waiting);
			TAILQ_REMOVE(&site.waiting, job, link);
			courier_free_job(job);
		}
		loop_timer_free(site.stalled);
	}
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_failure_to_connect_has_the_status_of_its_cause),
		cmocka_unit_test(only_a_body_of_the_promised_length_is_there),
		cmocka_unit_test(few_jobs_stand_in_line_at_a_quick_site),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
