/* What the client makes of the peer's extensions, and what it does without them. */
#include "client_driver.h"

#define GREETING "220 peer.example ESMTP\r\n"
#define BYE                                     \
	{                                       \
		"QUIT\r\n", "221 2.0.0 bye\r\n" \
	}
#define CLOSED_OK "closed delivered end of data: 221 2.0.0 bye\n"
#define DELIVERED "job 1.0 delivered end of data: 250 2.0.0 ok\ndone 1\n" CLOSED_OK

static const struct smtp_peer *peer_after(const char *ehlo, struct smtp_client **ret)
{
	static const struct dialog none;
	struct smtp_client_event ev;

	*ret = smtp_client_new(driver_config(&none));
	smtp_client_start(*ret, 0);
	smtp_client_feed(*ret, SLICE("220 greeter hello\r\n"), 0);
	smtp_client_sent(*ret, smtp_client_output(*ret).n);
	smtp_client_feed(*ret, slice_from_cstr(ehlo), 0);
	assert_true(smtp_client_next(*ret, &ev));
	assert_int_equal(ev.type, SMTP_CLIENT_READY);
	return smtp_client_peer(*ret);
}

static void every_offer_is_seen_in_any_case_and_any_number(void **state)
{
	(void)state;
	struct smtp_client *c;
	const struct smtp_peer *p = peer_after(
		"250-real.example Hello\r\n250-pipelining\r\n250-PIPELINING extra words\r\n250-Chunking\r\n"
		"250-8bitMIME\r\n250-BINARYMIME\r\n250-SMTPutf8\r\n250-dsn\r\n250-STARTTLS\r\n250-X-UNKNOWN 1 2\r\n"
		"250-\r\n250-PIPELININGX\r\n250 SIZE 1000\r\n",
		&c);

	assert_slice(p->name, "real.example");
	assert_true(p->extended && p->pipelining && p->chunking && p->eight_bit_mime && p->binary_mime);
	assert_true(p->smtputf8 && p->dsn && p->starttls && p->size);
	assert_int_equal(p->size_max, 1000);
	smtp_client_free(c);
}

static void what_is_not_offered_is_not_there(void **state)
{
	(void)state;
	struct smtp_client *c;
	/* Offers count neither on the first line nor as part of a word; BINARYMIME needs CHUNKING, SMTPUTF8 8BITMIME.
	 */
	const struct smtp_peer *p =
		peer_after("250-PIPELINING DSN\r\n250-XDSN\r\n250-BINARYMIME\r\n250 SMTPUTF8\r\n", &c);

	assert_slice(p->name, "PIPELINING");
	assert_false(p->pipelining || p->chunking || p->eight_bit_mime || p->binary_mime || p->smtputf8 || p->dsn ||
		     p->size);
	smtp_client_free(c);
}

static void the_least_size_that_is_a_number_counts(void **state)
{
	(void)state;
	static const struct {
		const char *ehlo;
		uint64_t max;
	} rows[] = {
		{"250-p\r\n250 SIZE\r\n", 0},
		{"250-p\r\n250 SIZE 0\r\n", 0},
		{"250-p\r\n250 SIZE abc\r\n", 0},
		{"250-p\r\n250 SIZE -1\r\n", 0},
		{"250-p\r\n250 SIZE 99999999999999999999999\r\n", 0},
		{"250-p\r\n250 SIZE 18446744073709551615\r\n", UINT64_MAX},
		{"250-p\r\n250-SIZE 0\r\n250-SIZE 20\r\n250-SIZE 10\r\n250 SIZE 30\r\n", 10},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct smtp_client *c;
		const struct smtp_peer *p = peer_after(rows[i].ehlo, &c);
		assert_true(p->size);
		assert_true(p->size_max == rows[i].max);
		smtp_client_free(c);
	}
}

static void a_peer_name_is_the_greeting_s_until_there_is_a_better(void **state)
{
	(void)state;
	struct smtp_client *c;

	assert_slice(peer_after("250\r\n", &c)->name, "greeter");
	smtp_client_free(c);
}

/* ---- parameters ------------------------------------------------------------------------------------------------ */

static const struct mail_rcpt dsn_rcpt = {.address = S("a@x.example"),
					  .notify = MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE | MAIL_NOTIFY_DELAY,
					  .orcpt = S("rfc822;A+2Bb@x.example")};
static const struct mail_rcpt never_rcpt = {.address = S("\"q >\"@[192.0.2.1]"), .notify = MAIL_NOTIFY_NEVER};
static const struct mail_rcpt bad_orcpt = {.address = S("PostMaster"), .orcpt = S("rfc822;a b")};
static const struct mail_rcpt utf8_orcpt = {.address = S("a@x.example"),
					    .orcpt = S("utf-8;\xce\xb1\\x{3B2}@x.example")};
static const struct mail_rcpt plain_rcpt = {.address = S("a@x.example")};

#define ENVELOPE(r)                                                        \
	{                                                                  \
		.sender = S("s@me.example"), .rcpt = &(r), .rcpt_count = 1 \
	}
#define ENVELOPE_WITH(r, ...)                                                           \
	{                                                                               \
		.sender = S("s@me.example"), .rcpt = &(r), .rcpt_count = 1, __VA_ARGS__ \
	}
static const struct mail_envelope plain = ENVELOPE(plain_rcpt);
static const struct mail_envelope dsn_full = ENVELOPE_WITH(dsn_rcpt, .ret = MAIL_RET_FULL, .envid = S("id+2B1"));
static const struct mail_envelope dsn_hdrs = ENVELOPE_WITH(never_rcpt, .ret = MAIL_RET_HDRS, .envid = S("a\r\nb"));
static const struct mail_envelope with_bad_orcpt = ENVELOPE(bad_orcpt);
static const struct mail_envelope with_utf8_orcpt = ENVELOPE(utf8_orcpt);
static const struct mail_envelope with_smtputf8 = ENVELOPE_WITH(plain_rcpt, .utf8 = true);

static void parameters_go_out_where_they_are_offered(void **state)
{
	(void)state;
	static const struct {
		const char *offer;
		struct smtp_client_job job;
		const char *mail, *rcpt;
	} rows[] = {
		{"SIZE", {.envelope = &plain}, " SIZE=22", "a@x.example>"},
		{"SIZE 22", {.envelope = &plain}, " SIZE=22", "a@x.example>"},
		{"8BITMIME", {.envelope = &plain}, "", "a@x.example>"},
		{"8BITMIME", {.envelope = &plain, .eight_bit = true}, " BODY=8BITMIME", "a@x.example>"},
		{"8BITMIME\r\n250-SIZE\r\n250 SMTPUTF8",
		 {.envelope = &plain, .needs_utf8 = true},
		 " SIZE=22 BODY=8BITMIME SMTPUTF8",
		 "a@x.example>"},
		{"8BITMIME\r\n250 SMTPUTF8", {.envelope = &with_smtputf8}, " SMTPUTF8", "a@x.example>"},
		{"8BITMIME", {.envelope = &with_smtputf8}, "", "a@x.example>"},
		{"8BITMIME\r\n250 SMTPUTF8", {.envelope = &plain}, "", "a@x.example>"},
		{"DSN",
		 {.envelope = &dsn_full},
		 " RET=FULL ENVID=id+2B1",
		 "a@x.example> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;A+2Bb@x.example"},
		{"DSN", {.envelope = &dsn_hdrs}, " RET=HDRS", "\"q >\"@[192.0.2.1]> NOTIFY=NEVER"},
		{"DSN", {.envelope = &with_bad_orcpt}, "", "PostMaster>"},
		{"X-DSN", {.envelope = &dsn_full}, "", "a@x.example>"},
		{"DSN", {.envelope = &with_utf8_orcpt}, "", "a@x.example> ORCPT=utf-8;\\x{3B1}\\x{3B2}@x.example"},
		{"8BITMIME\r\n250-DSN\r\n250 SMTPUTF8",
		 {.envelope = &with_utf8_orcpt, .needs_utf8 = true},
		 " BODY=8BITMIME SMTPUTF8",
		 "a@x.example> ORCPT=utf-8;\xce\xb1\\x{3B2}@x.example"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char ehlo[128], mail[128], rcpt[128];
		bool dsn = strstr(rows[i].offer, "DSN") && !strstr(rows[i].offer, "X-DSN");
		snprintf(ehlo, sizeof ehlo, "250-peer\r\n250%c%s\r\n", strchr(rows[i].offer, '\r') ? '-' : ' ',
			 rows[i].offer);
		snprintf(mail, sizeof mail, "MAIL FROM:<s@me.example>%s\r\n", rows[i].mail);
		snprintf(rcpt, sizeof rcpt, "RCPT TO:<%s\r\n", rows[i].rcpt);
		struct dialog d = {.jobs = {rows[i].job},
				   .turns = {{"", GREETING},
					     {"EHLO me.example\r\n", ehlo},
					     {mail, "250 ok\r\n"},
					     {rcpt, "250 ok\r\n"},
					     {"DATA\r\n", "354 go\r\n"},
					     {SMALL_MESSAGE ".\r\n", "250 ok\r\n"},
					     BYE},
				   .trace =
					   dsn ? "job 1.0 delivered end of data: 250 2.0.0 ok (dsn)\ndone 1\n" CLOSED_OK
					       : DELIVERED};
		play(&d);
	}
}

/* ---- what the peer cannot take --------------------------------------------------------------------------------- */

static const struct mail_rcpt alpha_rcpt = {.address = S("\xce\xb1@x.example")};
static const struct mail_rcpt idn_rcpt = {.address = S("a@b\xc3\xbc"
						       "cher.example")};
static const struct mail_rcpt line_rcpt = {.address = S("a@x.example>\r\nRCPT TO:<b@x.example")};
static const struct mail_envelope to_alpha = ENVELOPE(alpha_rcpt);
static const struct mail_envelope to_line = ENVELOPE(line_rcpt);
static const struct mail_envelope from_alpha = {
	.sender = S("\xce\xb1@me.example"), .rcpt = &plain_rcpt, .rcpt_count = 1};
static const struct mail_envelope from_line = {.sender = S("a@x>\r\nDATA"), .rcpt = &plain_rcpt, .rcpt_count = 1};

static void what_cannot_be_sent_fails_without_a_transaction(void **state)
{
	(void)state;
	static const struct {
		const char *offer;
		struct smtp_client_job job;
		const char *outcome;
	} rows[] = {
		{"SIZE 21",
		 {.envelope = &plain},
		 "failed MAIL FROM: 0 5.3.4 the message has 22 octets, and the server takes no more than 21"},
		{"8BITMIME",
		 {.envelope = &plain, .needs_utf8 = true},
		 "failed MAIL FROM: 0 5.6.9 the message has internationalised header fields, and the server does not "
		 "take them "
		 "(no SMTPUTF8)"},
		{"8BITMIME",
		 {.envelope = &to_alpha},
		 "failed RCPT TO: 0 5.6.7 the server does not take internationalised addresses (no SMTPUTF8)"},
		{"8BITMIME",
		 {.envelope = &from_alpha},
		 "failed MAIL FROM: 0 5.6.7 the server does not take the sender's internationalised address (no "
		 "SMTPUTF8)"},
		{"SMTPUTF8",
		 {.envelope = &to_alpha},
		 "failed RCPT TO: 0 5.6.7 the server does not take internationalised addresses (no SMTPUTF8)"},
		/* RFC 6531 3.5: an address is a reason of its own, and comes first. */
		{"8BITMIME",
		 {.envelope = &to_alpha, .needs_utf8 = true},
		 "failed RCPT TO: 0 5.6.7 the server does not take internationalised addresses (no SMTPUTF8)"},
		{"X",
		 {.envelope = &plain, .eight_bit = true, .no_conversion = true},
		 "failed MAIL FROM: 0 5.6.2 the server takes seven bits only (no 8BITMIME), and this message must not "
		 "be converted for it"},
		{"8BITMIME",
		 {.envelope = &plain, .has_bare = true, .no_conversion = true},
		 "failed MAIL FROM: 0 5.6.2 the server does not take binary messages (no BINARYMIME), and this "
		 "message must not be converted for it"},
		{"X", {.envelope = &to_line}, "failed RCPT TO: 0 5.1.3 the address is malformed and was not sent"},
		{"X",
		 {.envelope = &from_line},
		 "failed MAIL FROM: 0 5.1.7 the sender's address is malformed and was not sent"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char ehlo[128], trace[256];
		snprintf(ehlo, sizeof ehlo, "250-peer\r\n250 %s\r\n", rows[i].offer);
		snprintf(trace, sizeof trace, "job 1.0 %s\ndone 1\n" CLOSED_OK, rows[i].outcome);
		struct dialog d = {.jobs = {rows[i].job},
				   .turns = {{"", GREETING}, {"EHLO me.example\r\n", ehlo}, BYE},
				   .trace = trace};
		play(&d);
	}
}

static void only_the_recipients_that_cannot_be_sent_fail(void **state)
{
	(void)state;
	static const struct mail_rcpt r[] = {{.address = S("\xce\xb1@x")},
					     {.address = S("a@x")},
					     {.address = S("@")},
					     {.address = S("b@x")},
					     {.address = S("\xce\xb2@x")}};
	static const struct mail_envelope e = {.sender = S("s@me.example"), .rcpt = r, .rcpt_count = 5};
	static const struct dialog d = {
		.jobs = {{.envelope = &e}},
		.turns = {{"", GREETING},
			  {"EHLO me.example\r\n", "250-p\r\n250 PIPELINING\r\n"},
			  {"MAIL FROM:<s@me.example>\r\nRCPT TO:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n",
			   "250 ok\r\n250 ok\r\n550 5.1.1 b\r\n354 go\r\n"},
			  {SMALL_MESSAGE ".\r\n", "250 ok\r\n"},
			  BYE},
		.trace = "job 1.0 failed RCPT TO: 0 5.6.7 the server does not take internationalised addresses (no "
			 "SMTPUTF8)\n"
			 "job 1.2 failed RCPT TO: 0 5.1.3 the address is malformed and was not sent\n"
			 "job 1.4 failed RCPT TO: 0 5.6.7 the server does not take internationalised addresses (no "
			 "SMTPUTF8)\n"
			 "job 1.3 failed RCPT TO: 550 5.1.1 b\n"
			 "job 1.1 delivered end of data: 250 2.0.0 ok\ndone 1\n" CLOSED_OK};

	play(&d);
}

static void a_domain_goes_out_as_the_peer_can_take_it(void **state)
{
	(void)state;
	static const struct mail_envelope e = {.sender = S("s@b\xc3\xbc"
							   "cher.example"),
					       .rcpt = &idn_rcpt,
					       .rcpt_count = 1};
	static const struct dialog alabels = {
		.jobs = {{.envelope = &e}},
		.turns = {{"", GREETING},
			  {"EHLO me.example\r\n", "250-p\r\n250 PIPELINING\r\n"},
			  {"MAIL FROM:<s@xn--bcher-kva.example>\r\nRCPT TO:<a@xn--bcher-kva.example>\r\nDATA\r\n",
			   "250 ok\r\n250 ok\r\n354 go\r\n"},
			  {SMALL_MESSAGE ".\r\n", "250 ok\r\n"},
			  BYE},
		.trace = DELIVERED};
	static const struct dialog ulabels = {
		.jobs = {{.envelope = &e}},
		.turns = {{"", GREETING},
			  {"EHLO me.example\r\n", "250-p\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n"},
			  {"MAIL FROM:<s@b\xc3\xbc"
			   "cher.example> SMTPUTF8\r\nRCPT TO:<a@b\xc3\xbc"
			   "cher.example>\r\nDATA\r\n",
			   "250 ok\r\n250 ok\r\n354 go\r\n"},
			  {SMALL_MESSAGE ".\r\n", "250 ok\r\n"},
			  BYE},
		.trace = DELIVERED};

	play(&alabels);
	play(&ulabels);
}

static void binary_content_goes_as_it_is_only_with_binarymime(void **state)
{
	(void)state;
	static const struct dialog d = {
		.chunking = true,
		.jobs = {{.envelope = &plain, .has_bare = true, .eight_bit = true}},
		.messages = {"a: b\r\n\r\nbare\rCR\nLF\xff"},
		.turns = {{"", GREETING},
			  {"EHLO me.example\r\n",
			   "250-p\r\n250-BINARYMIME\r\n250-8BITMIME\r\n250-CHUNKING\r\n250 PIPELINING\r\n"},
			  {"MAIL FROM:<s@me.example> BODY=BINARYMIME\r\nRCPT TO:<a@x.example>\r\n",
			   "250 ok\r\n250 ok\r\n"},
			  {"BDAT 19 LAST\r\na: b\r\n\r\nbare\rCR\nLF\xff", "250 ok\r\n"},
			  BYE},
		.trace = DELIVERED};

	play(&d);
}

/* What the message's owner said of its content was wrong: it must not go out, whatever he said. */
static void bare_cr_lf_and_nul_never_leave_by_data(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"a\nb\r\n", "a\rb\r\n", "\n",           "\r",          "a\r\n\nb",
		"a\r\r\n",  "a\r\n.\n", "a\r\n.\rMAIL", "\r\n\n.\r\n", "x\r",
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		for (size_t piece = 0; piece < 4; piece++) {
			struct dialog d = {.piece = piece,
					   .jobs = {{.envelope = &plain}},
					   .messages = {rows[i]},
					   .turns = {{"", GREETING},
						     {"EHLO me.example\r\n", "250-p\r\n250 PIPELINING\r\n"},
						     {"MAIL FROM:<s@me.example>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n",
						      "250 ok\r\n250 ok\r\n"}},
					   .trace = "job 1.0 failed DATA: 0 5.6.3 the message holds a bare CR, a bare "
						    "LF or a NUL, which "
						    "DATA cannot carry\ndone 1\n"
						    "closed deferred DATA: 0 4.3.0 the connection was dropped because "
						    "a message could not "
						    "be sent whole\n"};
			static struct driver r;
			driver_start(&r, &d);
			for (const struct turn *t = d.turns; t->want; t++) {
				driver_pump(&r, SIZE_MAX);
				driver_expect(&r, t->want);
				driver_say(&r, slice_from_cstr(t->say), SIZE_MAX);
			}
			driver_say(&r, SLICE("354 go\r\n"), SIZE_MAX);
			assert_string_equal(r.trace, d.trace);
			assert_int_equal(slice_search(slice_of(r.sent, r.sent_n), SLICE("\r\n.\r\n")), r.sent_n);
			smtp_client_free(r.c);
		}
	}
}

static void a_nul_never_leaves_by_data(void **state)
{
	(void)state;
	static struct driver r;
	struct dialog d = {.jobs = {{.envelope = &plain}}};

	driver_start(&r, &d);
	driver_say(&r, SLICE(GREETING), SIZE_MAX);
	driver_say(&r, SLICE("250 p\r\n"), SIZE_MAX);
	driver_say(&r, SLICE("250 ok\r\n"), SIZE_MAX);
	driver_say(&r, SLICE("250 ok\r\n"), SIZE_MAX);
	r.sent_n = 0;
	struct slice in = SLICE("354 go\r\n");
	assert_int_equal(smtp_client_feed(r.c, in, r.now), in.n);
	struct smtp_client_event ev;
	assert_true(smtp_client_next(r.c, &ev));
	assert_int_equal(ev.type, SMTP_CLIENT_BODY);
	smtp_client_body(r.c, slice_of("ab\r\n\0.\r\n", 9), true, r.now);
	driver_pump(&r, SIZE_MAX);
	assert_int_equal(r.sent_n, 0);
	assert_true(r.closed);
	smtp_client_free(r.c);
}

/* RFC 6152 3: a message with eight bits for a peer without 8BITMIME. */
static void eight_bits_are_converted_for_a_peer_without_8bitmime(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {{.envelope = &plain, .eight_bit = true}},
		.piece = 7,
		.messages = {"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
			     "Content-Transfer-Encoding: 8bit\r\n\r\n.caf\xc3\xa9\r\n"},
		.turns = {{"", GREETING},
			  {"EHLO me.example\r\n", "250-p\r\n250-SIZE 100000\r\n250 PIPELINING\r\n"},
			  {"MAIL FROM:<s@me.example>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n",
			   "250 ok\r\n250 ok\r\n354 go\r\n"},
			  {"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
			   "Content-Transfer-Encoding: quoted-printable\r\n\r\n..caf=C3=A9\r\n.\r\n",
			   "250 ok\r\n"},
			  BYE},
		.trace = DELIVERED};

	play(&d);
}

static void what_cannot_be_converted_fails_with_its_reason(void **state)
{
	(void)state;
	static const struct {
		const char *message, *outcome;
	} rows[] = {
		{"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xc3\xa9\r\n--b--\r\n",
		 "job 1.0 failed DATA: 0 5.6.2 a part that would need conversion is signed"},
		{"Content-Type: message/partial\r\n\r\n\xc3\xa9\r\n",
		 "job 1.0 failed DATA: 0 5.6.3 a part that would need conversion is of a kind"},
		{"Content-Type: multipart/mixed\r\n\r\n\xc3\xa9\r\n",
		 "job 1.0 failed DATA: 0 5.6.5 a part that would need conversion is malformed"},
		{"Content-Type: message/rfc822\r\n\r\nSubject: \xc3\xa9\r\n\r\n",
		 "job 1.0 failed DATA: 0 5.6.9 its header fields hold characters outside ASCII"},
	};
	static struct driver r;

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct dialog d = {.jobs = {{.envelope = &plain, .eight_bit = true}}, .messages = {rows[i].message}};

		driver_start(&r, &d);
		driver_say(&r, SLICE(GREETING), SIZE_MAX);
		driver_say(&r, SLICE("250 p\r\n"), SIZE_MAX);
		driver_say(&r, SLICE("250 ok\r\n"), SIZE_MAX);
		driver_say(&r, SLICE("250 ok\r\n"), SIZE_MAX);
		driver_say(&r, SLICE("354 go\r\n"), SIZE_MAX);
		assert_true(slice_starts(slice_from_cstr(r.trace), slice_from_cstr(rows[i].outcome)));
		assert_true(r.closed);
		assert_int_equal(slice_search(slice_of(r.sent, r.sent_n), SLICE("\r\n.\r\n")), r.sent_n);
		smtp_client_free(r.c);
	}
}

static void what_a_conversion_lost_is_told_of_who_took_it(void **state)
{
	(void)state;
	static const struct dialog d = {
		.jobs = {{.envelope = &plain, .eight_bit = true}},
		.messages = {"Content-Type: multipart/mixed; boundary=b\r\n\r\n\xe9\r\n--b\r\n\r\nx\r\n--b--\r\n"},
		.turns = {{"", GREETING},
			  {"EHLO me.example\r\n", "250-p\r\n250 PIPELINING\r\n"},
			  {"MAIL FROM:<s@me.example>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n",
			   "250 ok\r\n250 ok\r\n354 go\r\n"},
			  {"Content-Type: multipart/mixed; boundary=b\r\n\r\n?\r\n--b\r\n\r\nx\r\n--b--\r\n.\r\n",
			   "250 ok\r\n"},
			  BYE},
		.trace = "job 1.0 delivered end of data: 250 2.0.0 ok (lossy)\ndone 1\n" CLOSED_OK};

	play(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_offer_is_seen_in_any_case_and_any_number),
		cmocka_unit_test(what_is_not_offered_is_not_there),
		cmocka_unit_test(the_least_size_that_is_a_number_counts),
		cmocka_unit_test(a_peer_name_is_the_greeting_s_until_there_is_a_better),
		cmocka_unit_test(parameters_go_out_where_they_are_offered),
		cmocka_unit_test(what_cannot_be_sent_fails_without_a_transaction),
		cmocka_unit_test(only_the_recipients_that_cannot_be_sent_fail),
		cmocka_unit_test(a_domain_goes_out_as_the_peer_can_take_it),
		cmocka_unit_test(binary_content_goes_as_it_is_only_with_binarymime),
		cmocka_unit_test(bare_cr_lf_and_nul_never_leave_by_data),
		cmocka_unit_test(a_nul_never_leaves_by_data),
		cmocka_unit_test(eight_bits_are_converted_for_a_peer_without_8bitmime),
		cmocka_unit_test(what_cannot_be_converted_fails_with_its_reason),
		cmocka_unit_test(what_a_conversion_lost_is_told_of_who_took_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
