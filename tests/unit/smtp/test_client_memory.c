/* The client engine when memory runs out at any moment, and how much it keeps. */
#include "test.h"

#include "client_model.h"
#include "base/heap.h"

static size_t allocations, fail_at = SIZE_MAX, live;

/* A block with its size before it. */
static void *counted(void *old, size_t size)
{
	size_t *block = old ? (size_t *)old - 2 : NULL;

	if (allocations++ == fail_at)
		return NULL;
	live += size - (block ? block[0] : 0);
	block = realloc(block, size + 2 * sizeof *block);
	assert_non_null(block);
	block[0] = size;
	return block + 2;
}

void *heap_alloc(size_t size)
{
	void *p = counted(NULL, size);

	return p ? memset(p, 0, size) : NULL;
}

void *heap_array(size_t count, size_t size)
{
	size_t total;

	return __builtin_mul_overflow(count, size, &total) ? NULL : heap_alloc(total);
}

void *heap_resize(void *block, size_t size)
{
	return counted(block, size);
}

void heap_free(void *block)
{
	if (!block)
		return;
	live -= ((size_t *)block)[-2];
	free((size_t *)block - 2);
}

static void every_recipient_has_one_outcome_whichever_allocation_fails(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 300; seed++) {
		size_t needed = SIZE_MAX;
		for (fail_at = 0; fail_at < needed; fail_at++) {
			struct model_source source = {.seed = seed * 2654435761u};
			allocations = 0;
			model_run(&source);
			if (allocations <= fail_at)
				needed = fail_at;
			assert_int_equal(live, 0);
		}
	}
	fail_at = SIZE_MAX;
}

/* Whole answers; one job of a megabyte. Gives the session back as it stands after the job, idle. */
static struct smtp_client *one_large_job(const struct smtp_client_config *config, struct smtp_client_event *ev)
{
	static const struct mail_rcpt rcpt = {.address = {"a@x.example", 11}};
	static const struct mail_envelope envelope = {.rcpt = &rcpt, .rcpt_count = 1};
	static char piece[16384];
	struct smtp_client_job job = {.tag = 1, .envelope = &envelope, .size = sizeof piece * 64};
	struct smtp_client *c = smtp_client_new(config);
	static const char *const says[] = {
		"220 p\r\n", "250-p\r\n250 PIPELINING\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n", "250 ok\r\n"};
	int pieces = 0, jobs = 0;

	memset(piece, 'x', sizeof piece);
	smtp_client_start(c, 0);
	for (size_t i = 0; i < sizeof says / sizeof *says; i++) {
		smtp_client_feed(c, slice_from_cstr(says[i]), 0);
		do {
			while (smtp_client_next(c, ev)) {
				if (ev->type == SMTP_CLIENT_READY && jobs++ == 0)
					smtp_client_send(c, &job, 0);
				else if (ev->type == SMTP_CLIENT_BODY)
					smtp_client_body(c, slice_of(piece, sizeof piece), ++pieces == 64, 0);
			}
			smtp_client_sent(c, smtp_client_output(c).n / 2 + smtp_client_output(c).n % 2);
		} while (smtp_client_output(c).n > 0);
	}
	while (smtp_client_next(c, ev))
		;
	assert_int_equal(jobs, 2);
	assert_int_equal(pieces, 64);
	return c;
}

static void a_session_without_a_job_is_small(void **state)
{
	(void)state;
	static const struct smtp_client_config config = {.name = {"me", 2},
							 .pipelining = true,
							 .greeting_timeout = 1,
							 .command_timeout = 1,
							 .data_timeout = 1,
							 .block_timeout = 1,
							 .end_timeout = 1,
							 .output_max = 65536};
	struct smtp_client_event ev;

	struct smtp_client *c = one_large_job(&config, &ev);
	assert_in_range(live, 1, 8192);
	smtp_client_free(c);
	assert_int_equal(live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_recipient_has_one_outcome_whichever_allocation_fails),
		cmocka_unit_test(a_session_without_a_job_is_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
