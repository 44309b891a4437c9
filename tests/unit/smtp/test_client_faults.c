/* What goes wrong on the way: good-byes, losses, silence, nonsense, and no memory. */
#include "client_driver.h"

#define GREETING "220 peer.example ESMTP\r\n"
#define EHLO     "EHLO me.example\r\n"
#define PIPE     "250-peer.example\r\n250 PIPELINING\r\n"
#define MAIL     "MAIL FROM:<s@me.example>\r\n"
#define RCPT_A   "RCPT TO:<a@x.example>\r\n"
#define RCPT_B   "RCPT TO:<b@x.example>\r\n"
#define BYE                                     \
	{                                       \
		"QUIT\r\n", "221 2.0.0 bye\r\n" \
	}
#define CLOSED_OK "closed delivered end of data: 221 2.0.0 bye\n"
#define OK2       "250 ok\r\n250 ok\r\n"
#define OK3       OK2 "250 ok\r\n"

static const struct mail_rcpt ab[] = {{.address = S("a@x.example")}, {.address = S("b@x.example")}};
static const struct mail_envelope one = {.sender = S("s@me.example"), .rcpt = ab, .rcpt_count = 1};
static const struct mail_envelope two = {.sender = S("s@me.example"), .rcpt = ab, .rcpt_count = 2};

/* One job of two recipients, and where its dialog ends. */
#define TO_MAIL            \
	{"", GREETING},    \
	{                  \
		EHLO, PIPE \
	}
#define TO_DATA                                                 \
	TO_MAIL,                                                \
	{                                                       \
		MAIL RCPT_A RCPT_B "DATA\r\n", OK3 "354 go\r\n" \
	}
#define TWO           .jobs = {{.envelope = &two}}
#define BOTH(outcome) "job 1.0 " outcome "\njob 1.1 " outcome "\ndone 1\n"

/* Outside the grammar, and in wide use: the first digit says what to do (RFC 5321 4.3.2). */
static void a_code_with_an_odd_second_digit_is_taken_by_its_first(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{TWO, .turns = {TO_DATA, {SMALL_MESSAGE ".\r\n", "571 5.7.1 blocked\r\n"}, BYE},
		 .trace = BOTH("failed end of data: 571 5.7.1 blocked") CLOSED_OK},
		{TWO, .turns = {TO_DATA, {SMALL_MESSAGE ".\r\n", "471 later\r\n"}, BYE},
		 .trace = BOTH("deferred end of data: 471 4.0.0 later") CLOSED_OK},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play(&rows[i]);
}

static void a_421_defers_all_and_ends_the_session(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", "421 4.3.2 bye\r\n"}},
		 .trace = BOTH("deferred MAIL FROM: 421 4.3.2 bye") "closed deferred MAIL FROM: 421 4.3.2 bye\n"},
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", "250 ok\r\n550 5.1.1 a\r\n421 bye\r\n"}},
		 .trace = "job 1.0 failed RCPT TO: 550 5.1.1 a\njob 1.1 deferred RCPT TO: 421 4.0.0 bye\ndone 1\n"
			  "closed deferred RCPT TO: 421 4.0.0 bye\n"},
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK3 "421 bye\r\n"}},
		 .trace = BOTH("deferred DATA: 421 4.0.0 bye") "closed deferred DATA: 421 4.0.0 bye\n"},
		{TWO, .turns = {TO_DATA, {SMALL_MESSAGE ".\r\n", "421 bye\r\n"}},
		 .trace = BOTH("deferred end of data: 421 4.0.0 bye") "closed deferred end of data: 421 4.0.0 bye\n"},
		{.jobs = {{.envelope = &one}, {.envelope = &one}},
		 .turns = {TO_MAIL,
			   {MAIL RCPT_A "DATA\r\n", OK2 "354 go\r\n"},
			   {SMALL_MESSAGE ".\r\n" MAIL RCPT_A "DATA\r\n", "421 bye\r\n"}},
		 .trace = "job 1.0 deferred end of data: 421 4.0.0 bye\ndone 1\n"
			  "job 2.0 deferred MAIL FROM: 421 4.0.0 bye\ndone 2\n"
			  "closed deferred end of data: 421 4.0.0 bye\n"},
		/* Unasked, in an idle session (RFC 5321 3.8). */
		{.stay = true,
		 .turns = {TO_MAIL, {"", "421 4.4.2 idle\r\n"}},
		 .trace = "closed deferred EHLO: 421 4.4.2 idle\n"},
		{.lmtp = true,
		 TWO,
		 .turns = {{"", GREETING},
			   {"LHLO me.example\r\n", PIPE},
			   {MAIL RCPT_A RCPT_B "DATA\r\n", OK3 "354 go\r\n"},
			   {SMALL_MESSAGE ".\r\n", "421 bye\r\n"}},
		 .trace = "job 1.0 deferred end of data: 421 4.0.0 bye\n"
			  "job 1.1 deferred end of data: 421 4.0.0 bye (ambiguous)\ndone 1\n"
			  "closed deferred end of data: 421 4.0.0 bye\n"},
		{.turns = {TO_MAIL, {"QUIT\r\n", "421 bye\r\n"}},
		 .trace = "closed delivered end of data: 421 2.0.0 bye\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play(&rows[i]);
}

static void a_lost_connection_defers_and_is_ambiguous_after_the_end_of_data(void **state)
{
	(void)state;
#define LOST(stage, doing)        BOTH("deferred " stage ": 0 4.4.2 connection lost while " doing ": broken")
#define CLOSED_LOST(stage, doing) "closed deferred " stage ": 0 4.4.2 connection lost while " doing ": broken\n"
	static const struct dialog rows[] = {
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", NULL}},
		 .trace = LOST("MAIL FROM", "waiting for the reply to MAIL FROM")
			 CLOSED_LOST("MAIL FROM", "waiting for the reply to MAIL FROM")},
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK2}, {"", NULL}},
		 .trace = LOST("RCPT TO", "waiting for the reply to RCPT TO")
			 CLOSED_LOST("RCPT TO", "waiting for the reply to RCPT TO")},
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK3}, {"", NULL}},
		 .trace = LOST("DATA", "waiting for the reply to DATA")
			 CLOSED_LOST("DATA", "waiting for the reply to DATA")},
		{TWO, .turns = {TO_DATA, {SMALL_MESSAGE ".\r\n", "250 not who"}, {"", NULL}},
		 .trace = BOTH("deferred end of data: 0 4.4.2 connection lost while waiting for the reply to the end "
			       "of data: "
			       "broken (ambiguous)")
			 CLOSED_LOST("end of data", "waiting for the reply to the end of data")},
		{.stay = true, .turns = {TO_MAIL, {"", NULL}}, .trace = CLOSED_LOST("EHLO", "idle between messages")},
		{.turns = {TO_MAIL, {"QUIT\r\n", NULL}}, .trace = "closed delivered end of data: 0 2.0.0 broken\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play(&rows[i]);
}

/* Says `turns` but the last, which the client may have sent in part. */
static void play_to_the_end(struct driver *r, const struct dialog *d)
{
	driver_start(r, d);
	for (const struct turn *t = d->turns; t->want; t++) {
		driver_pump(r, SIZE_MAX);
		driver_expect(r, t->want);
		driver_say(r, slice_from_cstr(t->say), SIZE_MAX);
	}
}

static void the_loss_is_ambiguous_only_if_the_whole_end_left(void **state)
{
	(void)state;
	static const struct dialog d = {TWO, .piece = 10, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK3}}};
	const size_t whole = sizeof(SMALL_MESSAGE ".\r\n") - 1;

	for (size_t n = 0; n <= whole; n++) {
		static struct driver r;
		struct smtp_client_event ev;
		play_to_the_end(&r, &d);
		struct slice go = SLICE("354 go\r\n");
		assert_int_equal(smtp_client_feed(r.c, go, r.now), go.n);
		while (smtp_client_next(r.c, &ev))
			if (ev.type == SMTP_CLIENT_BODY)
				driver_body(&r, ev.tag);
		assert_int_equal(smtp_client_output(r.c).n, whole);
		smtp_client_sent(r.c, n);
		smtp_client_lost(r.c, SLICE("reset"));
		for (int i = 0; i < 2; i++) {
			assert_true(smtp_client_next(r.c, &ev));
			assert_int_equal(ev.outcome.verdict, SMTP_DEFERRED);
			assert_int_equal(ev.outcome.ambiguous, n == whole);
			assert_int_equal(ev.outcome.stage, n == whole ? SMTP_STAGE_END : SMTP_STAGE_DATA);
		}
		/* What was not sent yet never is: the message is deferred, and must not be taken by the peer as well.
		 */
		assert_int_equal(smtp_client_output(r.c).n, 0);
		smtp_client_free(r.c);
	}
}

static void what_is_no_reply_defers_all_and_ends_the_session(void **state)
{
	(void)state;
	static const struct {
		const char *reply, *text;
	} rows[] = {
		{"HTTP/1.1 400 Bad\r\n", "the line does not start with a reply code: HTTP/1.1 400 Bad??"},
		{"1\r\n", "the line does not start with a reply code: 1??"},
		{"199 ok\r\n", "the line does not start with a reply code: 199 ok??"},
		{"666 ok\r\n", "the line does not start with a reply code: 666 ok??"},
		{"250 ok\n", "the text holds a control character, or the line does not end in CR LF: 250 ok?"},
		{"250-ok\r\n251 ok\r\n", "the lines carry different codes: 250-ok??251 ok??"},
		{"2500 ok\r\n", "the code is not followed by a space, a hyphen or the line's end: 2500 ok??"},
		{"\r\n", "the line does not start with a reply code: ??"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char trace[1024];
		snprintf(trace, sizeof trace,
			 "job 1.0 deferred end of data: 0 4.5.0 malformed reply: %s (ambiguous)\ndone 1\n"
			 "closed deferred end of data: 0 4.5.0 malformed reply: %s\n",
			 rows[i].text, rows[i].text);
		struct dialog d = {.jobs = {{.envelope = &one}},
				   .turns = {TO_MAIL,
					     {MAIL RCPT_A "DATA\r\n", OK2 "354 go\r\n"},
					     {SMALL_MESSAGE ".\r\n", rows[i].reply}},
				   .stay = true,
				   .trace = trace};
		play(&d);
	}
}

/* The first digit says what becomes of the mail, however the text is worded. */
static void a_refusal_with_control_characters_is_a_refusal(void **state)
{
	(void)state;
	static const struct {
		const char *reply, *outcome;
	} rows[] = {
		{"550 5.1.1 \rtwo\x1b[0m\x7fthree\r\n", "failed end of data: 550 5.1.1 ?two?[0m?three"},
		{"550-5.1.1 \a\r\n550 5.1.1 b\r\r\n", "failed end of data: 550 5.1.1 ? b?"},
		{"451 4.7.1 gr\xfc\xdf\r\n", "deferred end of data: 451 4.7.1 gr\xfc\xdf"},
		{"250 \x01\r\n", "delivered end of data: 250 2.0.0 ?"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char trace[256];
		snprintf(trace, sizeof trace, "job 1.0 %s\ndone 1\n", rows[i].outcome);
		struct dialog d = {.jobs = {{.envelope = &one}},
				   .turns = {TO_MAIL,
					     {MAIL RCPT_A "DATA\r\n", OK2 "354 go\r\n"},
					     {SMALL_MESSAGE ".\r\n", rows[i].reply}},
				   .stay = true,
				   .trace = trace};
		play(&d);
	}
}

static void a_server_with_our_own_name_is_taken_for_ourselves(void **state)
{
	(void)state;
#define OURS(stage) \
	"closed failed " stage ": 0 5.3.5 the server calls itself ME.example, as we do: mail would loop back to us\n"
	static const struct dialog rows[] = {
		{.own_name = true,
		 .turns = {{"", "220 ME.example ESMTP\r\n"}, {"QUIT\r\n", "221 bye\r\n"}},
		 .trace = OURS("greeting")},
		{.own_name = true,
		 .turns = {{"", "220 hello ESMTP\r\n"},
			   {"EHLO me.example\r\n", "250-ME.example\r\n250 8BITMIME\r\n"},
			   {"QUIT\r\n", "221 bye\r\n"}},
		 .trace = OURS("EHLO")},
		{.own_name = true,
		 .turns = {{"", "220 hello\r\n"},
			   {"EHLO me.example\r\n", "502 what\r\n"},
			   {"HELO me.example\r\n", "250 ME.example\r\n"},
			   {"QUIT\r\n", "221 bye\r\n"}},
		 .trace = OURS("EHLO")},
		/* A refusal is one first of all, and where it was allowed the name is no matter. */
		{.own_name = true,
		 .turns = {{"", "554 ME.example no\r\n"}, {"QUIT\r\n", "221 bye\r\n"}},
		 .trace = "closed failed greeting: 554 5.0.0 ME.example no\n"},
		{.turns = {{"", "220 me.example ESMTP\r\n"},
			   {"EHLO me.example\r\n", "250 me.example\r\n"},
			   {"QUIT\r\n", "221 bye\r\n"}},
		 .trace = "closed delivered end of data: 221 2.0.0 bye\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play(&rows[i]);
}

static void a_reply_of_the_wrong_kind_ends_the_session(void **state)
{
	(void)state;
#define SENSELESS(stage, what) "deferred " stage ": 0 4.5.0 unexpected " what
	static const struct dialog rows[] = {
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", "354 no\r\n"}},
		 .trace = BOTH(SENSELESS("MAIL FROM", "reply to MAIL FROM: 354 no")) "closed " SENSELESS(
			 "MAIL FROM", "reply to MAIL FROM: 354 no") "\n"},
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", "250 ok\r\n334 no\r\n"}},
		 .trace = BOTH(SENSELESS("RCPT TO", "reply to RCPT TO: 334 no")) "closed " SENSELESS(
			 "RCPT TO", "reply to RCPT TO: 334 no") "\n"},
		{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK3 "250 no\r\n"}},
		 .trace = BOTH(SENSELESS("DATA", "reply to DATA: 250 no")) "closed " SENSELESS(
			 "DATA", "reply to DATA: 250 no") "\n"},
		{TWO, .turns = {TO_DATA, {SMALL_MESSAGE ".\r\n", "354 no\r\n"}},
		 .trace = BOTH(SENSELESS(
			 "end of data",
			 "reply to the end of data: 354 no (ambiguous)")) "closed " SENSELESS("end of data",
											      "reply to the end of "
											      "data: 354 no") "\n"},
		{.stay = true,
		 .turns = {TO_MAIL, {"", "250 psst\r\n"}},
		 .trace = "closed " SENSELESS("EHLO", "reply to no command: 250 psst") "\n"},
		{.jobs = {{.envelope = &one}, {.envelope = &one}},
		 .no_pipelining = true,
		 .turns = {TO_MAIL, {MAIL, "550 no\r\n"}, {"RSET\r\n", "550 no\r\n"}},
		 .trace = "job 1.0 failed MAIL FROM: 550 5.0.0 no\ndone 1\n"
			  "job 2.0 " SENSELESS("MAIL FROM",
					       "reply to RSET: 550 no") "\ndone 2\n"
									"closed " SENSELESS(
										"MAIL FROM",
										"reply to RSET: 550 no") "\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play(&rows[i]);
}

/* attacks.md 1.N: a 250 that came before what it would answer had left us. */
static void a_reply_before_its_command_left_answers_nothing(void **state)
{
	(void)state;
	static const struct dialog d = {TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK3}}};
	static struct driver r;
	struct smtp_client_event ev;

	play_to_the_end(&r, &d);
	struct slice go = SLICE("354 go\r\n250 taken\r\n250 quit\r\n");
	size_t taken = smtp_client_feed(r.c, go, r.now);
	assert_int_equal(taken, go.n);
	driver_pump(&r, SIZE_MAX);
	assert_string_equal(r.trace, BOTH(SENSELESS("DATA", "reply to no command: 250 taken")) "closed " SENSELESS(
					     "DATA", "reply to no command: 250 taken") "\n");
	smtp_client_free(r.c);

	/* The same when the body is queued, but for its last octet not sent. */
	play_to_the_end(&r, &d);
	assert_int_equal(smtp_client_feed(r.c, slice_head(go, 8), r.now), 8);
	while (smtp_client_next(r.c, &ev))
		if (ev.type == SMTP_CLIENT_BODY)
			driver_body(&r, ev.tag);
	smtp_client_sent(r.c, smtp_client_output(r.c).n - 1);
	smtp_client_feed(r.c, slice_skip(go, 8), r.now);
	driver_pump(&r, SIZE_MAX);
	assert_string_equal(r.trace, BOTH(SENSELESS("DATA", "reply to no command: 250 taken")) "closed " SENSELESS(
					     "DATA", "reply to no command: 250 taken") "\n");
	smtp_client_free(r.c);
}

/* attacks.md 1.N: endless lines and endless replies. */
static void a_reply_is_bounded_in_lines_and_octets(void **state)
{
	(void)state;
	static const struct {
		size_t lines, octets; /* of each line, with CRLF; the last line is not sent */
		bool good;
	} rows[] = {
		{0, SMTP_PEER_REPLY_LINE_MAX, true},
		{0, SMTP_PEER_REPLY_LINE_MAX + 1, false},
		{SMTP_PEER_REPLY_LINES - 1, 10, true},
		{SMTP_PEER_REPLY_LINES, 10, false},
		{3, 4096, true},
		{4, 4096, false},
		{1000000, 6, false},
		{0, 10000000, false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t step = 1; step < 20000; step = step * 11 + 3) {
			static struct driver r;
			static const struct dialog d = {.stay = true, .turns = {TO_MAIL}};
			size_t fed = 0;
			driver_start(&r, &d);
			driver_pump(&r, SIZE_MAX);
			for (size_t line = 0; line <= rows[i].lines && !r.closed; line++) {
				bool last = line == rows[i].lines;
				size_t n = last && line ? 10 : rows[i].octets;
				char *text = malloc(n);
				memset(text, 'x', n);
				memcpy(text, last ? "220 " : "220-", 4);
				memcpy(text + n - 2, "\r\n", 2);
				for (struct slice rest = slice_of(text, n); rest.n && !r.closed;
				     rest = slice_skip(rest, step)) {
					struct slice piece = slice_head(rest, step);
					fed += piece.n;
					driver_say(&r, piece, SIZE_MAX);
				}
				free(text);
			}
			assert_int_equal(r.closed, !rows[i].good);
			assert_true(fed <= SMTP_PEER_REPLY_MAX + step + 10);
			if (r.closed)
				assert_non_null(strstr(
					r.trace,
					"closed deferred greeting: 0 4.5.0 malformed reply: it is too long: 220"));
			smtp_client_free(r.c);
		}
	}
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

static void silence(const struct dialog *d, span_ms limit, const char *trace)
{
	static struct driver r;

	play_to_the_end(&r, d);
	driver_pump(&r, SIZE_MAX);
	/* What left since the last call that was told the time counts as a sign of life, once. */
	if (r.sent_n > 0)
		smtp_client_tick(r.c, smtp_client_deadline(r.c));
	r.now = smtp_client_deadline(r.c) - limit;
	assert_int_equal(smtp_client_deadline(r.c), r.now + limit);
	smtp_client_tick(r.c, r.now + limit - 1);
	driver_pump(&r, SIZE_MAX);
	assert_false(r.closed);
	/* Octets of a reply that is not whole win no time. */
	r.now += limit - 1;
	driver_say(&r, SLICE("250-x\r\n25"), SIZE_MAX);
	smtp_client_tick(r.c, r.now + 1);
	driver_pump(&r, SIZE_MAX);
	assert_string_equal(r.trace, trace);
	assert_int_equal(smtp_client_deadline(r.c), NEVER);
	smtp_client_free(r.c);
}

static void each_wait_has_its_limit(void **state)
{
	(void)state;
#define SILENT(stage, seconds, what) \
	"deferred " stage ": 0 4.4.2 timed out after " seconds " s while waiting for the " what
	static const struct {
		struct dialog d;
		span_ms limit;
		const char *trace;
	} rows[] = {
		{{.stay = true}, 300 * SECOND, "closed " SILENT("greeting", "300", "greeting") "\n"},
		{{.turns = {{"", GREETING}}}, 310 * SECOND, "closed " SILENT("EHLO", "310", "reply to EHLO") "\n"},
		{{TWO, .turns = {TO_MAIL}},
		 310 * SECOND,
		 BOTH(SILENT("MAIL FROM", "310", "reply to MAIL FROM")) "closed " SILENT("MAIL FROM", "310",
											 "reply to MAIL FROM") "\n"},
		{{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK2}}},
		 310 * SECOND,
		 BOTH(SILENT("RCPT TO", "310", "reply to RCPT TO")) "closed " SILENT("RCPT TO", "310",
										     "reply to RCPT TO") "\n"},
		{{TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK3}}},
		 120 * SECOND,
		 BOTH(SILENT("DATA", "120", "reply to DATA")) "closed " SILENT("DATA", "120", "reply to DATA") "\n"},
		{{TWO, .turns = {TO_DATA}},
		 600 * SECOND,
		 BOTH(SILENT("end of data", "600", "reply to the end of data (ambiguous)")) "closed " SILENT(
			 "end of data", "600", "reply to the end of data") "\n"},
		{{.turns = {TO_MAIL}}, 30 * SECOND, "closed " SILENT("end of data", "30", "reply to QUIT") "\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		silence(&rows[i].d, rows[i].limit, rows[i].trace);
}

static void a_peer_that_does_not_read_is_given_up(void **state)
{
	(void)state;
	static const struct dialog d = {.turns = {{"", GREETING}}};
	static struct driver r;
	struct smtp_client_event ev;

	driver_start(&r, &d);
	smtp_client_feed(r.c, SLICE(GREETING), r.now);
	assert_int_equal(smtp_client_deadline(r.c), r.now + 180 * SECOND);
	/* One octet that leaves starts the wait again. */
	smtp_client_sent(r.c, 1);
	r.now += 180 * SECOND;
	smtp_client_tick(r.c, r.now);
	assert_false(smtp_client_next(r.c, &ev));
	assert_int_equal(smtp_client_deadline(r.c), r.now + 180 * SECOND);
	smtp_client_tick(r.c, r.now + 180 * SECOND);
	driver_pump(&r, SIZE_MAX);
	assert_string_equal(r.trace,
			    "closed deferred EHLO: 0 4.4.2 timed out after 180 s while sending to the server\n");
	smtp_client_free(r.c);
}

static void an_idle_session_has_no_deadline(void **state)
{
	(void)state;
	static const struct dialog d = {.stay = true, .turns = {TO_MAIL}};
	static struct driver r;

	play_to_the_end(&r, &d);
	driver_pump(&r, SIZE_MAX);
	assert_int_equal(smtp_client_deadline(r.c), NEVER);
	r.now += DAY;
	smtp_client_tick(r.c, r.now);
	assert_false(r.closed);
	/* The wait for the 221 is counted from QUIT on. */
	smtp_client_quit(r.c, r.now);
	driver_pump(&r, SIZE_MAX);
	driver_expect(&r, "QUIT\r\n");
	assert_int_equal(smtp_client_deadline(r.c), r.now + 30 * SECOND);
	driver_say(&r, SLICE("221 bye\r\n"), SIZE_MAX);
	assert_true(r.closed);
	smtp_client_free(r.c);
}

/* ---- our own side ---------------------------------------------------------------------------------------------- */

static void a_message_that_cannot_be_read_is_not_ended(void **state)
{
	(void)state;
	static const struct dialog d = {TWO, .turns = {TO_MAIL, {MAIL RCPT_A RCPT_B "DATA\r\n", OK3}}};
	static struct driver r;
	struct smtp_client_event ev;
	struct slice go = SLICE("354 go\r\n");

	play_to_the_end(&r, &d);
	smtp_client_feed(r.c, go, r.now);
	assert_true(smtp_client_next(r.c, &ev));
	assert_int_equal(ev.type, SMTP_CLIENT_BODY);
	smtp_client_body(r.c, SLICE("Subject: half\r\n"), false, r.now);
	assert_true(smtp_client_next(r.c, &ev));
	assert_int_equal(ev.type, SMTP_CLIENT_BODY);
	smtp_client_body_failed(r.c, SLICE("the message could not be read"));
	driver_pump(&r, SIZE_MAX);
	assert_string_equal(
		r.trace,
		BOTH("deferred DATA: 0 4.6.6 the message could not be read") "closed deferred DATA: 0 4.3.0 the "
									     "connection was dropped because a "
									     "message could not be sent whole\n");
	driver_expect(&r, "");
	/* An answer to a request of then. */
	smtp_client_body(r.c, SLICE("late\r\n"), true, r.now);
	assert_int_equal(smtp_client_output(r.c).n, 0);
	smtp_client_free(r.c);
}

static void quit_is_sent_as_soon_as_it_may(void **state)
{
	(void)state;
	static const struct dialog d = {.turns = {{"", GREETING}}};
	static struct driver r;

	driver_start(&r, &d);
	smtp_client_quit(r.c, r.now);
	driver_pump(&r, SIZE_MAX);
	driver_expect(&r, "");
	driver_say(&r, SLICE(GREETING), SIZE_MAX);
	driver_expect(&r, "QUIT\r\n");
	driver_say(&r, SLICE("221 bye\r\n"), SIZE_MAX);
	assert_string_equal(r.trace, "closed delivered end of data: 221 2.0.0 bye\n");
	smtp_client_free(r.c);

	/* While EHLO waits for its reply. */
	driver_start(&r, &d);
	driver_say(&r, SLICE(GREETING), SIZE_MAX);
	smtp_client_quit(r.c, r.now);
	driver_pump(&r, SIZE_MAX);
	driver_expect(&r, EHLO);
	driver_say(&r, SLICE(PIPE), SIZE_MAX);
	driver_expect(&r, "QUIT\r\n");
	smtp_client_lost(r.c, SLICE_NONE);
	driver_pump(&r, SIZE_MAX);
	assert_true(r.closed);
	smtp_client_free(r.c);
}

static void a_job_given_to_a_session_that_just_ended_is_deferred(void **state)
{
	(void)state;
	static const struct dialog d = {.stay = true, .turns = {TO_MAIL}};
	static struct driver r;
	struct smtp_client_job job = {.tag = 9, .envelope = &two, .size = 1};

	play_to_the_end(&r, &d);
	driver_pump(&r, SIZE_MAX);
	smtp_client_lost(r.c, SLICE("broken"));
	smtp_client_send(r.c, &job, r.now);
	driver_pump(&r, SIZE_MAX);
	assert_string_equal(r.trace,
			    "job 9.0 deferred MAIL FROM: 0 4.3.0 the session is over\n"
			    "job 9.1 deferred MAIL FROM: 0 4.3.0 the session is over\ndone 9\n"
			    "closed deferred EHLO: 0 4.4.2 connection lost while idle between messages: broken\n");
	smtp_client_free(r.c);
}

/* A job of more recipients and octets than the output holds at once. */
static void output_waiting_is_bounded(void **state)
{
	(void)state;
	enum { RCPTS = 2000, PIECES = 200 };
	static struct mail_rcpt rcpt[RCPTS];
	static char piece[16384];
	static const struct dialog none;
	struct mail_envelope e = {.sender = S("s@me.example"), .rcpt = rcpt, .rcpt_count = RCPTS};
	struct smtp_client_job job = {.tag = 1, .envelope = &e, .size = 1};
	struct smtp_client *c = smtp_client_new(driver_config(&none));
	struct smtp_client_event ev;
	size_t outcomes = 0, given = 0, replies = 0;

	for (size_t i = 0; i < RCPTS; i++)
		rcpt[i] = ab[0];
	for (size_t i = 0; i < sizeof piece; i += 4)
		memcpy(piece + i, "..\r\n", 4);
	smtp_client_start(c, 0);
	smtp_client_feed(c, SLICE(GREETING), 0);
	smtp_client_sent(c, smtp_client_output(c).n);
	smtp_client_feed(c, SLICE(PIPE), 0);
	while (smtp_client_next(c, &ev))
		smtp_client_send(c, &job, 0);
	for (bool busy = true; busy;) {
		struct slice out = smtp_client_output(c);
		busy = out.n > 0;
		assert_true(out.n <= 16384);
		smtp_client_sent(c, out.n);
	}
	for (; replies < RCPTS + 1; replies++)
		smtp_client_feed(c, SLICE("250 ok\r\n"), 0);
	smtp_client_feed(c, SLICE("354 go\r\n"), 0);
	for (bool busy = true; busy;) {
		busy = false;
		while (smtp_client_next(c, &ev)) {
			assert_true(smtp_client_output(c).n < 16384 || ev.type != SMTP_CLIENT_BODY);
			if (ev.type == SMTP_CLIENT_BODY)
				smtp_client_body(c, slice_of(piece, sizeof piece), ++given == PIECES, 0);
		}
		assert_true(smtp_client_output(c).n <= 16384 + 20480 + 3);
		if (smtp_client_output(c).n) {
			smtp_client_sent(c, smtp_client_output(c).n < 5000 ? smtp_client_output(c).n : 5000);
			busy = true;
		}
	}
	assert_int_equal(given, PIECES);
	smtp_client_feed(c, SLICE("250 ok\r\n"), 0);
	while (smtp_client_next(c, &ev))
		outcomes += ev.type == SMTP_CLIENT_OUTCOME && ev.outcome.verdict == SMTP_DELIVERED;
	assert_int_equal(outcomes, RCPTS);
	smtp_client_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_code_with_an_odd_second_digit_is_taken_by_its_first),
		cmocka_unit_test(a_421_defers_all_and_ends_the_session),
		cmocka_unit_test(a_lost_connection_defers_and_is_ambiguous_after_the_end_of_data),
		cmocka_unit_test(the_loss_is_ambiguous_only_if_the_whole_end_left),
		cmocka_unit_test(what_is_no_reply_defers_all_and_ends_the_session),
		cmocka_unit_test(a_refusal_with_control_characters_is_a_refusal),
		cmocka_unit_test(a_server_with_our_own_name_is_taken_for_ourselves),
		cmocka_unit_test(a_reply_of_the_wrong_kind_ends_the_session),
		cmocka_unit_test(a_reply_before_its_command_left_answers_nothing),
		cmocka_unit_test(a_reply_is_bounded_in_lines_and_octets),
		cmocka_unit_test(each_wait_has_its_limit),
		cmocka_unit_test(a_peer_that_does_not_read_is_given_up),
		cmocka_unit_test(an_idle_session_has_no_deadline),
		cmocka_unit_test(a_message_that_cannot_be_read_is_not_ended),
		cmocka_unit_test(quit_is_sent_as_soon_as_it_may),
		cmocka_unit_test(a_job_given_to_a_session_that_just_ended_is_deferred),
		cmocka_unit_test(output_waiting_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
