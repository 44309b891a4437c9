/* Dialogs of the client engine that go as they should, and those where the peer refuses. */
#include "client_driver.h"

#define EHLO     "EHLO me.example\r\n"
#define GREETING "220 peer.example ESMTP\r\n"
#define PLAIN    "250 peer.example\r\n"
#define PIPE     "250-peer.example\r\n250 PIPELINING\r\n"
#define CHUNK    "250-peer.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
#define HELLO    SMALL_MESSAGE
#define BYE                                     \
	{                                       \
		"QUIT\r\n", "221 2.0.0 bye\r\n" \
	}
#define CLOSED_OK "closed delivered end of data: 221 2.0.0 bye\n"
#define JOB(e)                   \
	{                        \
		.envelope = &(e) \
	}

static const struct mail_rcpt ab[] = {{.address = S("a@x.example")}, {.address = S("b@x.example")}};
static const struct mail_envelope one = {.sender = S("s@me.example"), .rcpt = ab, .rcpt_count = 1};
static const struct mail_envelope two = {.sender = S("s@me.example"), .rcpt = ab, .rcpt_count = 2};
static const struct mail_envelope bounce = {.rcpt = ab, .rcpt_count = 1};

#define MAIL   "MAIL FROM:<s@me.example>\r\n"
#define RCPT_A "RCPT TO:<a@x.example>\r\n"
#define RCPT_B "RCPT TO:<b@x.example>\r\n"

static void one_message_goes_in_lock_step(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {JOB(one)},
		.turns = {{"", GREETING},
			  {EHLO, PLAIN},
			  {MAIL, "250 2.1.0 ok\r\n"},
			  {RCPT_A, "250 2.1.5 ok\r\n"},
			  {"DATA\r\n", "354 go\r\n"},
			  {HELLO ".\r\n", "250 2.6.0 queued as 7\r\n"},
			  BYE},
		.trace = "job 1.0 delivered end of data: 250 2.6.0 queued as 7\ndone 1\n" CLOSED_OK};

	play(&d);
}

static void an_envelope_goes_in_one_write_with_pipelining(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {JOB(two)},
		.turns = {{"", GREETING},
			  {EHLO, PIPE},
			  {MAIL RCPT_A RCPT_B "DATA\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\n", "250 ok\r\n"},
			  BYE},
		.trace = "job 1.0 delivered end of data: 250 2.0.0 ok\n"
			 "job 1.1 delivered end of data: 250 2.0.0 ok\ndone 1\n" CLOSED_OK};

	play(&d);
}

static void the_next_job_follows_the_last_octet_of_the_one_before(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {JOB(one), JOB(one), JOB(bounce)},
		.turns = {{"", GREETING},
			  {EHLO, PIPE},
			  {MAIL RCPT_A "DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\n" MAIL RCPT_A "DATA\r\n", "250 first\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\nMAIL FROM:<>\r\n" RCPT_A "DATA\r\n",
			   "450 4.2.0 second\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\n", "550 third\r\n"},
			  BYE},
		.trace = "job 1.0 delivered end of data: 250 2.0.0 first\ndone 1\n"
			 "job 2.0 deferred end of data: 450 4.2.0 second\ndone 2\n"
			 "job 3.0 failed end of data: 550 5.0.0 third\ndone 3\n" CLOSED_OK};

	play(&d);
}

static void no_third_job_starts_while_two_are_open(void **state)
{
	(void)state;
	static const struct dialog d = {.jobs = {JOB(one), JOB(one), JOB(one)},
					.chunking = true,
					.turns = {{"", GREETING},
						  {EHLO, CHUNK},
						  {MAIL RCPT_A, "250 ok\r\n250 ok\r\n"},
						  {"BDAT 22 LAST\r\n" HELLO "RSET\r\n" MAIL RCPT_A, ""},
						  {"", "250 first\r\n"},
						  {"", "250 rset\r\n250 ok\r\n250 ok\r\n"},
						  {"BDAT 22 LAST\r\n" HELLO "RSET\r\n" MAIL RCPT_A,
						   "250 second\r\n250 ok\r\n250 ok\r\n250 ok\r\n"},
						  {"BDAT 22 LAST\r\n" HELLO, "250 third\r\n"},
						  BYE},
					.trace = "job 1.0 delivered end of data: 250 2.0.0 first\ndone 1\n"
						 "job 2.0 delivered end of data: 250 2.0.0 second\ndone 2\n"
						 "job 3.0 delivered end of data: 250 2.0.0 third\ndone 3\n" CLOSED_OK};

	play(&d);
}

static void a_server_without_ehlo_gets_helo_and_no_extension(void **state)
{
	(void)state;
	static const struct mail_rcpt r = {
		.address = S("a@x.example"), .notify = MAIL_NOTIFY_NEVER, .orcpt = S("rfc822;a@x.example")};
	static const struct mail_envelope e = {
		.sender = S("s@me.example"), .envid = S("e1"), .ret = MAIL_RET_HDRS, .rcpt = &r, .rcpt_count = 1};
	static const struct dialog d = {.jobs = {JOB(e)},
					.turns = {{"", GREETING},
						  {EHLO, "502 5.5.1 what?\r\n"},
						  {"HELO me.example\r\n", "250 peer\r\n"},
						  {MAIL, "250 ok\r\n"},
						  {RCPT_A, "251 will forward\r\n"},
						  {"DATA\r\n", "354 go\r\n"},
						  {HELLO ".\r\n", "250 ok\r\n"},
						  BYE},
					.trace = "job 1.0 delivered end of data: 250 2.0.0 ok\ndone 1\n" CLOSED_OK};

	play(&d);
}

static void a_session_that_cannot_begin_says_why(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.turns = {{"", "554 5.7.1 go away\r\n"}, {"QUIT\r\n", ""}},
		 .trace = "closed failed greeting: 554 5.7.1 go away\n"},
		{.turns = {{"", "450-busy\r\n450 later\r\n"}, {"QUIT\r\n", ""}},
		 .trace = "closed deferred greeting: 450 4.0.0 busy later\n"},
		{.turns = {{"", "421 4.3.2 closing\r\n"}}, .trace = "closed deferred greeting: 421 4.3.2 closing\n"},
		{.turns = {{"", "354 what\r\n"}},
		 .trace = "closed deferred greeting: 0 4.5.0 unexpected greeting: 354 what\n"},
		{.turns = {{"", GREETING}, {EHLO, "451 no\r\n"}, {"QUIT\r\n", ""}},
		 .trace = "closed deferred EHLO: 451 4.0.0 no\n"},
		{.turns = {{"", GREETING},
			   {EHLO, "550 no\r\n"},
			   {"HELO me.example\r\n", "550 5.7.1 never\r\n"},
			   {"QUIT\r\n", ""}},
		 .trace = "closed failed EHLO: 550 5.7.1 never\n"},
		{.lmtp = true,
		 .turns = {{"", GREETING}, {"LHLO me.example\r\n", "500 this is SMTP\r\n"}, {"QUIT\r\n", ""}},
		 .trace = "closed failed EHLO: 500 5.0.0 this is SMTP\n"},
		{.turns = {{"", NULL}},
		 .trace = "closed deferred greeting: 0 4.4.2 connection lost while waiting for the greeting: broken\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play(&rows[i]);
}

static void each_recipient_has_the_reply_to_its_rcpt(void **state)
{
	(void)state;
	static const struct mail_rcpt r[] = {{.address = S("a@x")},
					     {.address = S("b@x")},
					     {.address = S("c@x")},
					     {.address = S("d@x")},
					     {.address = S("e@x")}};
	static const struct mail_envelope e = {.sender = S("s@me.example"), .rcpt = r, .rcpt_count = 5};
	static const struct dialog d = {.jobs = {JOB(e)},
					.turns = {{"", GREETING},
						  {EHLO, PIPE},
						  {MAIL "RCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nRCPT "
							"TO:<d@x>\r\nRCPT TO:<e@x>\r\nDATA\r\n",
						   "250 ok\r\n250 ok\r\n550 5.1.1 no b\r\n452 4.5.3 too "
						   "many\r\n550-5.7.1 not\r\n550 5.7.1 you\r\n"
						   "250 ok\r\n354 go\r\n"},
						  {HELLO ".\r\n", "250 ok\r\n"},
						  BYE},
					.trace = "job 1.1 failed RCPT TO: 550 5.1.1 no b\n"
						 "job 1.2 deferred RCPT TO: 452 4.5.3 too many\n"
						 "job 1.3 failed RCPT TO: 550 5.7.1 not you\n"
						 "job 1.0 delivered end of data: 250 2.0.0 ok\n"
						 "job 1.4 delivered end of data: 250 2.0.0 ok\ndone 1\n" CLOSED_OK};

	play(&d);
}

/* RFC 5321 4.5.3.1.10 */
static void a_552_for_too_many_recipients_is_temporary(void **state)
{
	(void)state;
	static const struct {
		const char *reply, *outcome;
	} rows[] = {
		{"552 Too many recipients\r\n", "deferred RCPT TO: 552 4.0.0 Too many recipients"},
		{"552 5.5.3 Too many\r\n", "deferred RCPT TO: 552 4.5.3 Too many"},
		{"552 5.2.2 recipients' mailbox full\r\n", "failed RCPT TO: 552 5.2.2 recipients' mailbox full"},
		{"552 mailbox full\r\n", "failed RCPT TO: 552 5.0.0 mailbox full"},
		{"552 5.3.4 too large\r\n", "failed RCPT TO: 552 5.3.4 too large"},
		{"550 5.5.3 Too many recipients\r\n", "failed RCPT TO: 550 5.5.3 Too many recipients"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char trace[256];
		snprintf(trace, sizeof trace, "job 1.0 %s\ndone 1\n" CLOSED_OK, rows[i].outcome);
		struct dialog d = {
			.jobs = {JOB(one)},
			.turns = {{"", GREETING}, {EHLO, PLAIN}, {MAIL, "250 ok\r\n"}, {RCPT_A, rows[i].reply}, BYE},
			.trace = trace};
		play(&d);
	}
}

static void a_refused_mail_speaks_for_all_recipients(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {JOB(two), JOB(one)},
		.turns = {{"", GREETING},
			  {EHLO, PIPE},
			  {MAIL RCPT_A RCPT_B "DATA\r\n",
			   "550 5.7.1 not from you\r\n503 no\r\n503 no\r\n503 5.5.1 need RCPT\r\n"},
			  {"RSET\r\n" MAIL RCPT_A "DATA\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\n", "250 ok\r\n"},
			  BYE},
		.trace = "job 1.0 failed MAIL FROM: 550 5.7.1 not from you\n"
			 "job 1.1 failed MAIL FROM: 550 5.7.1 not from you\ndone 1\n"
			 "job 2.0 delivered end of data: 250 2.0.0 ok\ndone 2\n" CLOSED_OK};

	play(&d);
}

static void in_lock_step_nothing_follows_a_refusal_but_rset(void **state)
{
	(void)state;
	static const struct dialog d = {.jobs = {JOB(two), JOB(two), JOB(one), JOB(one)},
					.no_pipelining = true,
					.turns = {{"", GREETING},
						  {EHLO, PIPE},
						  {MAIL, "451 4.7.1 later\r\n"},
						  {"RSET\r\n", "250 ok\r\n"},
						  {MAIL, "250 ok\r\n"},
						  {RCPT_A, "550 a\r\n"},
						  {RCPT_B, "550 b\r\n"},
						  {"RSET\r\n", "250 ok\r\n"},
						  {MAIL, "250 ok\r\n"},
						  {RCPT_A, "250 ok\r\n"},
						  {"DATA\r\n", "554 5.6.0 no data\r\n"},
						  {"RSET\r\n", "250 ok\r\n"},
						  {MAIL, "250 ok\r\n"},
						  {RCPT_A, "250 ok\r\n"},
						  {"DATA\r\n", "354 go\r\n"},
						  {HELLO ".\r\n", "554 5.6.0 spam\r\n"},
						  BYE},
					.trace = "job 1.0 deferred MAIL FROM: 451 4.7.1 later\n"
						 "job 1.1 deferred MAIL FROM: 451 4.7.1 later\ndone 1\n"
						 "job 2.0 failed RCPT TO: 550 5.0.0 a\n"
						 "job 2.1 failed RCPT TO: 550 5.0.0 b\ndone 2\n"
						 "job 3.0 failed DATA: 554 5.6.0 no data\ndone 3\n"
						 "job 4.0 failed end of data: 554 5.6.0 spam\ndone 4\n" CLOSED_OK};

	play(&d);
}

/* RFC 2920 3.1 */
static void data_taken_for_nobody_is_ended_by_a_lone_dot(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {JOB(two), JOB(one)},
		.turns = {{"", GREETING},
			  {EHLO, PIPE},
			  {MAIL RCPT_A RCPT_B "DATA\r\n", "250 ok\r\n550 5.1.1 a\r\n450 4.2.1 b\r\n354 go\r\n"},
			  {".\r\n" MAIL RCPT_A "DATA\r\n", "554 5.5.0 no recipients\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\n", "250 ok\r\n"},
			  BYE},
		.trace = "job 1.0 failed RCPT TO: 550 5.1.1 a\n"
			 "job 1.1 deferred RCPT TO: 450 4.2.1 b\n"
			 "done 1\n"
			 "job 2.0 delivered end of data: 250 2.0.0 ok\ndone 2\n" CLOSED_OK};

	play(&d);
}

static void data_taken_for_a_recipient_of_a_refused_mail_ends_the_session(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {JOB(one)},
		.turns = {{"", GREETING}, {EHLO, PIPE}, {MAIL RCPT_A "DATA\r\n", "550 no\r\n250 ok\r\n354 go\r\n"}},
		.trace = "job 1.0 failed MAIL FROM: 550 5.0.0 no\ndone 1\n"
			 "closed deferred DATA: 0 4.5.0 unexpected reply to DATA without recipients: 354 go\n"};
	static const struct dialog lmtp = {
		.lmtp = true,
		.jobs = {JOB(one)},
		.turns = {{"", GREETING},
			  {"LHLO me.example\r\n", PIPE},
			  {MAIL RCPT_A "DATA\r\n", "250 ok\r\n550 no\r\n354 go\r\n"}},
		.trace = "job 1.0 failed RCPT TO: 550 5.0.0 no\ndone 1\n"
			 "closed deferred DATA: 0 4.5.0 unexpected reply to DATA without recipients: 354 go\n"};

	play(&d);
	play(&lmtp);
}

static void refused_data_speaks_for_the_accepted_recipients(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {JOB(two), JOB(one)},
		.turns = {{"", GREETING},
			  {EHLO, PIPE},
			  {MAIL RCPT_A RCPT_B "DATA\r\n", "250 ok\r\n250 ok\r\n550 5.1.1 b\r\n451 4.3.0 not now\r\n"},
			  {"RSET\r\n" MAIL RCPT_A "DATA\r\n", "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\n", "250 ok\r\n"},
			  BYE},
		.trace = "job 1.1 failed RCPT TO: 550 5.1.1 b\n"
			 "job 1.0 deferred DATA: 451 4.3.0 not now\ndone 1\n"
			 "job 2.0 delivered end of data: 250 2.0.0 ok\ndone 2\n" CLOSED_OK};

	play(&d);
}

static void lmtp_gives_one_reply_for_each_accepted_recipient(void **state)
{
	(void)state;
	static const struct mail_rcpt r[] = {
		{.address = S("a@x")}, {.address = S("b@x")}, {.address = S("c@x")}, {.address = S("a@x")}};
	static const struct mail_envelope e = {.sender = S("s@me.example"), .rcpt = r, .rcpt_count = 4};
	static const struct dialog d = {
		.lmtp = true,
		.jobs = {JOB(e), JOB(one)},
		.turns = {{"", GREETING},
			  {"LHLO me.example\r\n", "250-peer\r\n250-DSN\r\n250 PIPELINING\r\n"},
			  {MAIL "RCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nRCPT TO:<a@x>\r\nDATA\r\n",
			   "250 ok\r\n250 ok\r\n550 5.1.1 b\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\n" MAIL RCPT_A "DATA\r\n", "250-2.1.5 a\r\n250 2.1.5 ok\r\n452 4.2.2 full\r\n550 "
								 "5.2.0 twice\r\n250 ok\r\n250 ok\r\n354 go\r\n"},
			  {HELLO ".\r\n", "250 ok\r\n"},
			  BYE},
		.trace = "job 1.1 failed RCPT TO: 550 5.1.1 b\n"
			 "job 1.0 delivered end of data: 250 2.1.5 a ok (dsn)\n"
			 "job 1.2 deferred end of data: 452 4.2.2 full\n"
			 "job 1.3 failed end of data: 550 5.2.0 twice\ndone 1\n"
			 "job 2.0 delivered end of data: 250 2.0.0 ok (dsn)\ndone 2\n" CLOSED_OK};

	play(&d);
}

static void a_message_goes_in_chunks_where_offered(void **state)
{
	(void)state;
	static const struct dialog d = {
		.chunking = true,
		.piece = 12,
		.jobs = {JOB(one)},
		.messages = {".dot\r\n..\r\n.\r\nno end"},
		.turns = {{"", GREETING},
			  {EHLO, CHUNK},
			  {MAIL RCPT_A, "250 ok\r\n250 ok\r\n"},
			  {"BDAT 12\r\n.dot\r\n..\r\n.\rBDAT 7 LAST\r\n\nno end", "250 ok\r\n250 done\r\n"},
			  BYE},
		.trace = "job 1.0 delivered end of data: 250 2.0.0 done\ndone 1\n" CLOSED_OK};
	static const struct dialog lock_step = {
		.chunking = true,
		.piece = 12,
		.jobs = {JOB(one)},
		.messages = {".dot\r\n..\r\n.\r\nno end"},
		.turns = {{"", GREETING},
			  {EHLO, "250-peer.example\r\n250 CHUNKING\r\n"},
			  {MAIL, "250 ok\r\n"},
			  {RCPT_A, "250 ok\r\n"},
			  {"BDAT 12\r\n.dot\r\n..\r\n.\r", "250 ok\r\n"},
			  {"BDAT 7 LAST\r\n\nno end", "250 done\r\n"},
			  BYE},
		.trace = "job 1.0 delivered end of data: 250 2.0.0 done\ndone 1\n" CLOSED_OK};

	play(&d);
	play(&lock_step);
}

static void no_chunk_follows_a_refused_one(void **state)
{
	(void)state;
	static const struct dialog d = {.chunking = true,
					.piece = 12,
					.jobs = {JOB(one), JOB(one)},
					.messages = {"0123456789\r\n0123456789\r\n0123456789\r\n"},
					.turns = {{"", GREETING},
						  {EHLO, "250-peer.example\r\n250 CHUNKING\r\n"},
						  {MAIL, "250 ok\r\n"},
						  {RCPT_A, "250 ok\r\n"},
						  {"BDAT 12\r\n0123456789\r\n", "250 ok\r\n"},
						  {"BDAT 12\r\n0123456789\r\n", "452 4.3.1 disk full\r\n"},
						  {"RSET\r\n", "250 ok\r\n"},
						  {MAIL, "550 no\r\n"},
						  BYE},
					.trace = "job 1.0 deferred DATA: 452 4.3.1 disk full\ndone 1\n"
						 "job 2.0 failed MAIL FROM: 550 5.0.0 no\ndone 2\n" CLOSED_OK};
	static const struct dialog pipelined = {
		.chunking = true,
		.piece = 12,
		.jobs = {JOB(one), JOB(one)},
		.messages = {"0123456789\r\n0123456789\r\n"},
		.turns = {{"", GREETING},
			  {EHLO, CHUNK},
			  {MAIL RCPT_A, "250 ok\r\n250 ok\r\n"},
			  {"BDAT 12\r\n0123456789\r\nBDAT 12 LAST\r\n0123456789\r\nRSET\r\n" MAIL RCPT_A,
			   "554 5.6.0 no\r\n503 no\r\n250 ok\r\n450 later\r\n503 no\r\n"},
			  BYE},
		.trace = "job 1.0 failed DATA: 554 5.6.0 no\ndone 1\n"
			 "job 2.0 deferred MAIL FROM: 450 4.0.0 later\ndone 2\n" CLOSED_OK};

	static const struct dialog last = {.chunking = true,
					   .no_pipelining = true,
					   .jobs = {JOB(one), JOB(one)},
					   .turns = {{"", GREETING},
						     {EHLO, CHUNK},
						     {MAIL, "250 ok\r\n"},
						     {RCPT_A, "250 ok\r\n"},
						     {"BDAT 22 LAST\r\n" HELLO, "554 5.6.0 no\r\n"},
						     {"RSET\r\n", "250 ok\r\n"},
						     {MAIL, "550 no\r\n"},
						     BYE},
					   .trace = "job 1.0 failed end of data: 554 5.6.0 no\ndone 1\n"
						    "job 2.0 failed MAIL FROM: 550 5.0.0 no\ndone 2\n" CLOSED_OK};

	play(&d);
	play(&pipelined);
	play(&last);
}

static void a_refused_chunk_of_many_recipients_by_lmtp_ends_the_session(void **state)
{
	(void)state;
	static const struct dialog d = {
		.lmtp = true,
		.chunking = true,
		.piece = 12,
		.jobs = {JOB(two)},
		.messages = {"0123456789\r\n0123456789\r\n"},
		.turns = {{"", GREETING},
			  {"LHLO me.example\r\n", CHUNK},
			  {MAIL RCPT_A RCPT_B, "250 ok\r\n250 ok\r\n250 ok\r\n"},
			  {"BDAT 12\r\n0123456789\r\nBDAT 12 LAST\r\n0123456789\r\n", "452 full\r\n"}},
		.stay = true,
		.trace = "job 1.0 deferred DATA: 452 4.0.0 full\njob 1.1 deferred DATA: 452 4.0.0 full\ndone 1\n"
			 "closed deferred end of data: 0 4.5.0 a chunk was refused, and the replies to the last cannot "
			 "be "
			 "counted\n"};

	play(&d);
}

static void dots_are_doubled_and_the_last_line_is_ended(void **state)
{
	(void)state;
	static const struct {
		const char *message, *wire;
	} rows[] = {
		{"", ".\r\n"},
		{".", "..\r\n.\r\n"},
		{"\r\n", "\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n"},
		{"..\r\n.\r\n...a.\r\n", "...\r\n..\r\n....a.\r\n.\r\n"},
		{"a\r\n.b", "a\r\n..b\r\n.\r\n"},
		{"a.\r\n\r\n.\r\nMAIL FROM:<x>\r\n", "a.\r\n\r\n..\r\nMAIL FROM:<x>\r\n.\r\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t piece = 0; piece < 5; piece++) {
			struct dialog d = {.piece = piece,
					   .jobs = {JOB(one)},
					   .messages = {rows[i].message},
					   .turns = {{"", GREETING},
						     {EHLO, PLAIN},
						     {MAIL, "250 ok\r\n"},
						     {RCPT_A, "250 ok\r\n"},
						     {"DATA\r\n", "354 go\r\n"},
						     {rows[i].wire, "250 ok\r\n"},
						     BYE},
					   .trace = "job 1.0 delivered end of data: 250 2.0.0 ok\ndone 1\n" CLOSED_OK};
			play(&d);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_message_goes_in_lock_step),
		cmocka_unit_test(an_envelope_goes_in_one_write_with_pipelining),
		cmocka_unit_test(the_next_job_follows_the_last_octet_of_the_one_before),
		cmocka_unit_test(no_third_job_starts_while_two_are_open),
		cmocka_unit_test(a_server_without_ehlo_gets_helo_and_no_extension),
		cmocka_unit_test(a_session_that_cannot_begin_says_why),
		cmocka_unit_test(each_recipient_has_the_reply_to_its_rcpt),
		cmocka_unit_test(a_552_for_too_many_recipients_is_temporary),
		cmocka_unit_test(a_refused_mail_speaks_for_all_recipients),
		cmocka_unit_test(in_lock_step_nothing_follows_a_refusal_but_rset),
		cmocka_unit_test(data_taken_for_nobody_is_ended_by_a_lone_dot),
		cmocka_unit_test(data_taken_for_a_recipient_of_a_refused_mail_ends_the_session),
		cmocka_unit_test(refused_data_speaks_for_the_accepted_recipients),
		cmocka_unit_test(lmtp_gives_one_reply_for_each_accepted_recipient),
		cmocka_unit_test(a_message_goes_in_chunks_where_offered),
		cmocka_unit_test(no_chunk_follows_a_refused_one),
		cmocka_unit_test(a_refused_chunk_of_many_recipients_by_lmtp_ends_the_session),
		cmocka_unit_test(dots_are_doubled_and_the_last_line_is_ended),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
