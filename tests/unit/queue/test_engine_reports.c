#include "test.h"

#include "world.h"

/*
 * Rules of RFC 3461 4.1 and 5.2: what became of a recipient, what NOTIFY asked for, and the Action of the report, if
 * any. Numbers are mail_notify: 0 not given, 1 NEVER, 2 SUCCESS, 4 FAILURE, 8 DELAY.
 */
static const struct rule {
	const char *rcpt, *words;
	const char *action; /* NULL: no report */
	const char *status; /* where it is not that of the words */
} rules[] = {
	/* RFC 3461 5.2.2 (f): failed. */
	{"x@one.test/0", "550 5.1.1 no", "failed"},
	{"x@one.test/1", "550 5.1.1 no", NULL},
	{"x@one.test/2", "550 5.1.1 no", NULL},
	{"x@one.test/4", "550 5.1.1 no", "failed"},
	{"x@one.test/6", "550 5.1.1 no", "failed"},
	{"x@one.test/8", "550 5.1.1 no", NULL},
	/* 5.2.3: into a mailbox here. */
	{"l@local.test/0", "2.0.0 ok", NULL},
	{"l@local.test/1", "2.0.0 ok", NULL},
	{"l@local.test/2", "2.0.0 ok", "delivered"},
	{"l@local.test/4", "2.0.0 ok", NULL},
	{"l@local.test/14", "2.0.0 ok", "delivered"},
	{"m@lmtp.test/2", "250 2.0.0 ok", "delivered"},
	/* 5.2.2: relayed to a server without DSN; 5.2.1: to one with it. */
	{"x@one.test/0", "250 2.0.0 ok", NULL},
	{"x@one.test/2", "250 2.0.0 ok", "relayed", "2.1.9"},
	{"x@one.test/2", "250 2.6.0 ok", "relayed", "2.1.9"},
	{"x@one.test/4", "250 2.0.0 ok", NULL},
	{"x@one.test/2", "+250 2.0.0 ok", NULL},
	/* RFC 3463 3.7, X.6.4: a conversion lost something. */
	{"x@one.test/2", "~250 2.0.0 ok", "relayed", "2.6.4"},
	{"m@lmtp.test/2", "~250 2.0.0 ok", "delivered", "2.6.4"},
	{"m@lmtp.test/0", "~250 2.0.0 ok", NULL},
};

static void notify_decides_about_reports(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
		struct world *w = world_new();
		char action[40], status[40];
		world_put(w, 7, "a@b.test", rules[i].rcpt);
		world_turn(w);
		world_finish(w, &w->jobs[0], rules[i].words);
		world_turn(w);
		assert_int_equal(world_reports(w, 7), rules[i].action ? 1 : 0);
		if (rules[i].action) {
			const struct mem_message *report = world_report(w, 7, 0);
			snprintf(action, sizeof action, "Action: %s\r\n", rules[i].action);
			assert_true(world_report_says(report, action));
			snprintf(status, sizeof status, "Status: %s\r\n", rules[i].status);
			assert_true(!rules[i].status || world_report_says(report, status));
			assert_int_equal(report->row.sender.n, 0);
			assert_int_equal(report->row.rcpt_count, 1);
			assert_slice(report->rcpt[0].row.rcpt.address, "a@b.test");
		}
		world_free(w);
	}
}

static void success_is_reported_only_if_the_configuration_honours_it(void **state)
{
	(void)state;
	struct world *w = world_new();

	w->config.report_success = false;
	queue_engine_configure(w->e, &w->config);
	world_put(w, 7, "a@b.test", "l@local.test/2");
	world_turn(w);
	world_finish(w, &w->jobs[0], "2.0.0 ok");
	world_turn(w);
	assert_int_equal(world_reports(w, 7), 0);
	world_free(w);
}

static void a_report_is_made_handed_out_and_said(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@one.test");
	world_turn(w);
	world_outcome(w, &w->jobs[0], 0, "550 5.1.1 no such user");
	world_turn(w);
	/* It waits for the rest of the job. */
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_CLAIMED);
	world_outcome(w, &w->jobs[0], 1, "250 2.0.0 ok");
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
	assert_int_equal(world_rcpt(w, 7, 1)->row.state, STORE_DELIVERED);
	const struct mem_message *report = world_report(w, 7, 0);
	assert_true(world_report_says(report, "Final-Recipient: rfc822; x@one.test\r\n"));
	assert_false(world_report_says(report, "y@one.test"));
	assert_true(world_report_says(report, "Status: 5.1.1\r\n"));
	assert_true(world_report_says(report, "Remote-MTA: dns; mx.example.net\r\n"));
	assert_true(world_report_says(report, "no such user"));
	assert_true(world_report_says(report, "refused this recipient"));
	assert_true(world_report_says(report, "Subject: hello\r\n"));
	struct world_job *job = world_job_of(w, report->id);
	assert_non_null(job);
	assert_string_equal(job->sender, "");
	assert_string_equal(job->rcpt[0], "a@b.test");
	assert_int_equal(world_count_events(w, QUEUE_EVENT_REPORT), 1);
	const struct mem_message *m = mem_store_message(w->mem, 7);
	assert_int_equal(m->history[m->history_n - 1].event, STORE_EVENT_REPORT);
	assert_true(m->history[m->history_n - 1].about == report->id);
	world_free(w);
}

static void a_report_goes_to_those_whom_the_sender_stands_for(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "team@local.test", "x@none.test");
	world_turn(w);
	world_turn(w);
	assert_int_equal(world_reports(w, 7), 1);
	const struct mem_message *report = world_report(w, 7, 0);
	assert_int_equal(report->row.rcpt_count, 2);
	assert_string_equal(world_job_of(w, report->id)->sender, "");
	assert_slice(world_rcpt(w, report->id, 0)->row.rcpt.address, "ann@local.test");
	assert_slice(world_rcpt(w, report->id, 1)->row.rcpt.address, "ben@one.test");
	/* To whom it may concern: the report names the address that sent. */
	assert_true(world_report_says(report, "team@local.test"));
	world_free(w);
}

static void failures_of_one_turn_share_a_report(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@two.test z@three.test l@local.test/2 m@none.test n@none.test/1");
	world_turn(w);
	/* The two without a way were settled by the turn after. */
	world_turn(w);
	assert_int_equal(world_reports(w, 7), 1);
	assert_true(world_report_says(world_report(w, 7, 0), "Final-Recipient: rfc822; m@none.test\r\n"));
	assert_true(world_report_says(world_report(w, 7, 0), "Status: 5.4.4\r\n"));
	assert_false(world_report_says(world_report(w, 7, 0), "n@none.test"));
	for (size_t i = 0; i < 4; i++) {
		struct world_job *job = world_job_of(w, 7);
		world_finish(w, job, job->kind == ROUTE_MAILBOX ? "2.0.0 ok" : "550 5.7.1 no");
	}
	world_turn(w);
	/* One more on the failures, one on the success. */
	assert_int_equal(world_reports(w, 7), 3);
	const struct mem_message *failed = world_report(w, 7, 1);
	assert_true(world_report_says(failed, "Final-Recipient: rfc822; x@one.test\r\n"));
	assert_true(world_report_says(failed, "Final-Recipient: rfc822; y@two.test\r\n"));
	assert_true(world_report_says(failed, "Final-Recipient: rfc822; z@three.test\r\n"));
	assert_false(world_report_says(failed, "l@local.test"));
	assert_true(world_report_says(world_report(w, 7, 2), "Final-Recipient: rfc822; l@local.test\r\n"));
	world_free(w);
}

static void an_unknown_mailbox_fails_with_5_1_1(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "nobody@local.test");
	world_turn(w);
	world_turn(w);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
	assert_true(world_report_says(world_report(w, 7, 0), "Status: 5.1.1\r\n"));
	world_free(w);
}

static void what_is_returned_of_the_original(void **state)
{
	(void)state;
	static const struct {
		enum mail_ret ret;
		size_t size;
		const char *words;
		bool body;
	} rows[] = {
		{MAIL_RET_NONE, 500, "550 5.1.1 no", true},
		{MAIL_RET_NONE, 2000, "550 5.1.1 no", false},
		{MAIL_RET_HDRS, 500, "550 5.1.1 no", false},
		{MAIL_RET_FULL, 500, "550 5.1.1 no", true},
		{MAIL_RET_FULL, 20000, "550 5.1.1 no", true},
		{MAIL_RET_FULL, 500, "250 2.0.0 ok", false},
		{MAIL_RET_FULL, (10 << 20) + 1, "550 5.1.1 no", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct world *w = world_new();
		char *body = malloc(rows[i].size + 1);
		size_t head = world_words(body, rows[i].size + 1, 0, "Subject: the header\r\n\r\n");
		for (size_t n = head; n < rows[i].size; n++)
			body[n] = n % 70 == 68 ? '\r' : n % 70 == 69 ? '\n' : 'x';
		memcpy(body + rows[i].size - 10, "the end.\r\n", 11);
		world_put_as(w, 7, "a@b.test", "x@one.test/6", rows[i].ret, body);
		world_turn(w);
		world_finish(w, &w->jobs[0], rows[i].words);
		world_turn(w);
		const struct mem_message *report = world_report(w, 7, 0);
		assert_non_null(report);
		assert_true(world_report_says(report, "Subject: the header\r\n"));
		assert_int_equal(world_report_says(report, "the end."), rows[i].body);
		free(body);
		world_free(w);
	}
}

/* RFC 8689 5 and 6. */
static void a_report_demands_of_tls_what_its_original_did(void **state)
{
	(void)state;
	static const unsigned flags[] = {0, STORE_CONTENT_REQUIRETLS, STORE_CONTENT_TLS_OPTIONAL};

	for (size_t i = 0; i < 3; i++)
		for (unsigned eight_bit = 0; eight_bit < 2; eight_bit++) {
			struct world *w = world_new();
			world_put_content(w, 7, "a@b.test", "x@one.test",
					  flags[i] | (eight_bit ? STORE_CONTENT_EIGHT_BIT : 0),
					  "Subject: the header\r\n\r\nthe end.\r\n");
			world_turn(w);
			assert_true(w->jobs[0].content & flags[i] || i == 0);
			world_finish(w, &w->jobs[0], "550 5.1.1 no");
			world_turn(w);
			const struct mem_message *report = world_report(w, 7, 0);
			assert_non_null(report);
			assert_int_equal(report->row.content, flags[i]);
			assert_int_equal(world_report_says(report, "\r\nTLS-Required: No\r\n"), i == 2);
			/* RET=FULL counts for nothing with REQUIRETLS. */
			assert_true(world_report_says(report, "Subject: the header\r\n"));
			assert_int_equal(world_report_says(report, "the end."), i != 1);
			world_free(w);
		}
}

static void an_unreadable_original_does_not_keep_the_report_back(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	mem_store_damage(w->mem, 7);
	world_finish(w, &w->jobs[0], "550 5.1.1 no");
	world_turn(w);
	assert_int_equal(world_reports(w, 7), 1);
	assert_false(world_report_says(world_report(w, 7, 0), "Subject: hello"));
	world_free(w);
}

static void reports_about_reports_go_to_the_postmaster_once(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	world_finish(w, &w->jobs[0], "550 5.1.1 no");
	world_turn(w);
	msg_id first = world_report(w, 7, 0)->id;
	world_finish(w, world_job_of(w, first), "550 5.1.1 no such sender");
	world_turn(w);
	/* The double bounce, to the postmaster, with the report in it. */
	assert_int_equal(world_reports(w, first), 1);
	const struct mem_message *second = world_report(w, first, 0);
	assert_slice(second->rcpt[0].row.rcpt.address, "postmaster@local.test");
	assert_int_equal(second->row.sender.n, 0);
	assert_true(world_report_says(second, "no such sender"));
	assert_true(world_report_says(second, "report-type=delivery-status"));
	/* And when that fails, too, it is over. */
	msg_id last = second->id;
	world_finish(w, world_job_of(w, last), "550 5.2.1 disabled");
	world_turn(w);
	assert_int_equal(world_reports(w, last), 0);
	assert_int_equal(mem_store_message(w->mem, last)->row.open, 0);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DROPPED_BOUNCE), 1);
	world_free(w);
}

static void without_a_postmaster_bounces_of_bounces_are_only_said(void **state)
{
	(void)state;
	struct world *w = world_new();

	w->config.postmaster = SLICE_NONE;
	queue_engine_configure(w->e, &w->config);
	world_put(w, 7, "", "x@one.test");
	world_turn(w);
	world_finish(w, &w->jobs[0], "550 5.1.1 no");
	world_turn(w);
	assert_int_equal(world_reports(w, 7), 0);
	assert_int_equal(world_count_events(w, QUEUE_EVENT_DROPPED_BOUNCE), 1);
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
	world_free(w);
}

static void a_message_without_sender_causes_no_delay_or_success_report(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "", "l@local.test/2");
	world_put(w, 8, "", "x@one.test/8");
	world_turn(w);
	world_finish(w, world_job_of(w, 7), "2.0.0 ok");
	for (int day = 0; day < 4; day++) {
		struct world_job *job;
		while ((job = world_job_of(w, 8)) != NULL)
			world_finish(w, job, "451 4.3.0 later");
		world_pass(w, 5 * HOUR);
	}
	assert_int_equal(world_reports(w, 7) + world_reports(w, 8), 0);
	world_free(w);
}

/* Every attempt has this outcome, for so long. */
static void keep_failing(struct world *w, span_ms span, const char *words)
{
	for (mono_ms end = world_now(w) + span; world_now(w) < end;) {
		for (struct world_job *job; (job = world_open_job(w)) != NULL;)
			world_finish(w, job, strstr(job->site, "b.test") ? "250 2.0.0 ok" : words);
		world_pass(w, MINUTE);
	}
}

static void the_sender_is_told_of_a_delay_once(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@two.test z@three.test/4 q@four.test/8");
	world_turn(w);
	keep_failing(w, 3 * HOUR, "451 4.3.0 later");
	assert_int_equal(world_reports(w, 7), 0);
	keep_failing(w, 3 * DAY, "451 4.3.0 later");
	assert_int_equal(world_reports(w, 7), 1);
	const struct mem_message *report = world_report(w, 7, 0);
	assert_true(world_report_says(report, "Action: delayed\r\n"));
	assert_true(world_report_says(report, "Will-Retry-Until:"));
	assert_true(world_report_says(report, "Final-Recipient: rfc822; x@one.test\r\n"));
	assert_true(world_report_says(report, "Final-Recipient: rfc822; y@two.test\r\n"));
	assert_false(world_report_says(report, "z@three.test"));
	assert_true(world_report_says(report, "Final-Recipient: rfc822; q@four.test\r\n"));
	world_free(w);
}

static void a_lone_recipient_causes_one_delay_report(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test");
	world_turn(w);
	keep_failing(w, 3 * DAY, "451 4.3.0 later");
	assert_int_equal(world_reports(w, 7), 1);
	assert_true(world_rcpt(w, 7, 0)->row.warned);
	world_free(w);
}

static void a_recipient_that_turns_out_late_afterwards_causes_no_second_report(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test y@slow.test");
	world_turn(w);
	/* The first attempt for y takes a day. */
	struct world_job *slow = world_job_of(w, 7);
	if (strcmp(slow->site, "slow.test") != 0)
		slow = &w->jobs[0];
	assert_string_equal(slow->site, "slow.test");
	size_t place = (size_t)(slow - w->jobs);
	slow->done = true;
	keep_failing(w, DAY, "451 4.3.0 later");
	assert_int_equal(world_reports(w, 7), 1);
	assert_false(world_report_says(world_report(w, 7, 0), "y@slow.test"));
	w->jobs[place].done = false;
	keep_failing(w, DAY, "451 4.3.0 later");
	assert_int_equal(world_reports(w, 7), 1);
	assert_true(world_rcpt(w, 7, 1)->row.warned);
	world_free(w);
}

static void after_its_lifetime_a_message_comes_back(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test/4");
	world_turn(w);
	keep_failing(w, 5 * DAY - HOUR, "450 4.2.1 busy now");
	assert_int_equal(world_reports(w, 7), 0);
	keep_failing(w, 2 * HOUR, "450 4.2.1 busy now");
	assert_int_equal(world_rcpt(w, 7, 0)->row.state, STORE_FAILED);
	assert_int_equal(world_reports(w, 7), 1);
	const struct mem_message *report = world_report(w, 7, 0);
	assert_true(world_report_says(report, "Action: failed\r\n"));
	assert_true(world_report_says(report, "Status: 4.2.1\r\n"));
	assert_true(world_report_says(report, "We have tried for 5 days and have given up."));
	assert_true(world_report_says(report, "busy now"));
	world_free(w);
}

static void a_dead_site_gives_back_what_was_never_tried(void **state)
{
	(void)state;
	struct world *w = world_new();

	/* Many messages to a dead site: few are attempted, all have an end. */
	for (msg_id id = 1; id <= 200; id++)
		world_put(w, id, "a@b.test", "x@dead.test/4");
	world_turn(w);
	keep_failing(w, 5 * DAY + 5 * HOUR, "!4.4.1 no route to host");
	size_t reports = 0;
	for (msg_id id = 1; id <= 200; id++) {
		assert_int_equal(world_rcpt(w, id, 0)->row.state, STORE_FAILED);
		reports += world_reports(w, id);
	}
	assert_int_equal(reports, 200);
	const struct mem_message *report = world_report(w, 200, 0);
	assert_true(world_report_says(report, "Status: 4.4.1\r\n"));
	assert_true(world_report_says(report, "no route to host"));
	world_free(w);
}

static void an_ambiguous_end_is_told_as_such(void **state)
{
	(void)state;
	struct world *w = world_new();

	world_put(w, 7, "a@b.test", "x@one.test/4");
	world_turn(w);
	keep_failing(w, 5 * DAY + HOUR, "?4.4.2 the connection was lost");
	assert_int_equal(world_reports(w, 7), 1);
	assert_true(world_report_says(world_report(w, 7, 0), "it may have arrived"));
	world_free(w);
}

static void many_failures_at_once_make_few_reports(void **state)
{
	(void)state;
	struct world *w = world_new();
	char *rcpts = calloc(1, 40000);

	w->config.window_rcpts = 4000;
	queue_engine_configure(w->e, &w->config);
	size_t n = 0;
	for (int i = 0; i < 1200; i++)
		n = world_words(rcpts, 40000, n, "%s%d@s%d.none.test", i ? " " : "", i, i);
	world_put(w, 7, "a@b.test", rcpts);
	world_turn(w);
	world_turn(w);
	assert_int_equal(mem_store_message(w->mem, 7)->row.open, 0);
	assert_int_equal(world_reports(w, 7), 3);
	free(rcpts);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notify_decides_about_reports),
		cmocka_unit_test(success_is_reported_only_if_the_configuration_honours_it),
		cmocka_unit_test(a_report_is_made_handed_out_and_said),
		cmocka_unit_test(a_report_goes_to_those_whom_the_sender_stands_for),
		cmocka_unit_test(failures_of_one_turn_share_a_report),
		cmocka_unit_test(an_unknown_mailbox_fails_with_5_1_1),
		cmocka_unit_test(what_is_returned_of_the_original),
		cmocka_unit_test(a_report_demands_of_tls_what_its_original_did),
		cmocka_unit_test(an_unreadable_original_does_not_keep_the_report_back),
		cmocka_unit_test(reports_about_reports_go_to_the_postmaster_once),
		cmocka_unit_test(without_a_postmaster_bounces_of_bounces_are_only_said),
		cmocka_unit_test(a_message_without_sender_causes_no_delay_or_success_report),
		cmocka_unit_test(the_sender_is_told_of_a_delay_once),
		cmocka_unit_test(a_lone_recipient_causes_one_delay_report),
		cmocka_unit_test(a_recipient_that_turns_out_late_afterwards_causes_no_second_report),
		cmocka_unit_test(after_its_lifetime_a_message_comes_back),
		cmocka_unit_test(a_dead_site_gives_back_what_was_never_tried),
		cmocka_unit_test(an_ambiguous_end_is_told_as_such),
		cmocka_unit_test(many_failures_at_once_make_few_reports),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
