#include "test.h"

#include "mail/report.h"
#include "mail/seven.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))
#define HEADER      "From: alice@example.com\r\nSubject: Lunch?\r\n"

static const struct mail_report_rcpt bob = {
	.address = {"bob@example.net", 15},
	.action = MAIL_REPORT_FAILED,
	.status = {5, 1, 1},
	.remote_mta = {"mx.example.net", 14},
	.diagnostic = {"550 5.1.1 No such user", 22},
};

static struct mail_report usual(const struct mail_report_rcpt *rcpt, size_t count)
{
	return (struct mail_report){
		.mta = SLICE("mail.example.com"),
		.from_address = SLICE("MAILER-DAEMON@mail.example.com"),
		.sender = SLICE("alice@example.com"),
		.arrival = 1795202245123,
		.now = 1795302245123,
		.token = SLICE("k3Jd8sLq0Zx7"),
		.rcpt = rcpt,
		.rcpt_count = count,
		.wanted = MAIL_REPORT_RETURN_HEADER,
		.header = SLICE(HEADER),
		.original = SLICE(HEADER "\r\nHow about noon?\r\n"),
	};
}

static void write_report(const struct mail_report *r, struct buf *out)
{
	buf_init(out, 8 << 20);
	assert_true(mail_report_write(r, out));
}

static bool holds(const struct buf *out, const char *text)
{
	struct slice s = buf_slice(out);

	return slice_search(s, slice_from_cstr(text)) < s.n;
}

#define assert_holds(out, text)                                                                      \
	do {                                                                                         \
		if (!holds((out), (text)))                                                           \
			fail_msg("\"%s\" is missing in:\n%.*s", (text), SLICE_ARGS(buf_slice(out))); \
	} while (0)

static void a_report_says_it_to_people_and_to_programs(void **state)
{
	(void)state;
	struct mail_report_rcpt rcpt = bob;
	struct mail_report r = usual(&rcpt, 1);
	struct buf out;

	rcpt.explanation = SLICE("There is no mailbox of that name.");
	rcpt.advice = SLICE("Ask Bob for his address.");
	rcpt.last_attempt = 1795302245123;
	write_report(&r, &out);
	assert_slice(buf_slice(&out), "Date: Sat, 21 Nov 2026 23:04:05 +0000\r\n"
				      "From: \"Mail Delivery System\" <MAILER-DAEMON@mail.example.com>\r\n"
				      "To: <alice@example.com>\r\n"
				      "Subject: Undelivered: your message could not be delivered\r\n"
				      "Message-ID: <k3Jd8sLq0Zx7@mail.example.com>\r\n"
				      "Auto-Submitted: auto-replied\r\n"
				      "MIME-Version: 1.0\r\n"
				      "Content-Type: multipart/report; report-type=delivery-status;\r\n"
				      "\tboundary=\"=_k3Jd8sLq0Zx7\"\r\n"
				      "\r\n"
				      "This is a delivery report in MIME format.\r\n"
				      "\r\n"
				      "--=_k3Jd8sLq0Zx7\r\n"
				      "Content-Description: Notification\r\n"
				      "Content-Type: text/plain; charset=us-ascii\r\n"
				      "Content-Transfer-Encoding: 7bit\r\n"
				      "\r\n"
				      "This is the mail server mail.example.com.\r\n"
				      "\r\n"
				      "Your message could not be delivered to this recipient:\r\n"
				      "\r\n"
				      "  <bob@example.net>\r\n"
				      "    There is no mailbox of that name.\r\n"
				      "    The server mx.example.net answered:\r\n"
				      "      550 5.1.1 No such user\r\n"
				      "    Ask Bob for his address.\r\n"
				      "\r\n"
				      "Your message came to us on Fri, 20 Nov 2026 19:17:25 +0000.\r\n"
				      "Details for programs and the header of your message are attached.\r\n"
				      "\r\n"
				      "--=_k3Jd8sLq0Zx7\r\n"
				      "Content-Description: Delivery report\r\n"
				      "Content-Type: message/delivery-status\r\n"
				      "Content-Transfer-Encoding: 7bit\r\n"
				      "\r\n"
				      "Reporting-MTA: dns; mail.example.com\r\n"
				      "Arrival-Date: Fri, 20 Nov 2026 19:17:25 +0000\r\n"
				      "\r\n"
				      "Final-Recipient: rfc822; bob@example.net\r\n"
				      "Action: failed\r\n"
				      "Status: 5.1.1\r\n"
				      "Remote-MTA: dns; mx.example.net\r\n"
				      "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
				      "Last-Attempt-Date: Sat, 21 Nov 2026 23:04:05 +0000\r\n"
				      "\r\n"
				      "--=_k3Jd8sLq0Zx7\r\n"
				      "Content-Description: Header of the message\r\n"
				      "Content-Type: text/rfc822-headers\r\n"
				      "Content-Transfer-Encoding: 7bit\r\n"
				      "\r\n" HEADER "\r\n"
				      "--=_k3Jd8sLq0Zx7--\r\n");
	buf_free(&out);
}

static void each_action_has_its_words_and_its_class(void **state)
{
	(void)state;
	static const struct {
		enum mail_report_action action;
		struct smtpcodes_status status;
		const char *words, *field, *shown, *subject;
	} rows[] = {
		{MAIL_REPORT_FAILED,
		 {5, 7, 1},
		 "could not be delivered",
		 "Action: failed",
		 "Status: 5.7.1",
		 "Subject: Undelivered"},
		{MAIL_REPORT_FAILED,
		 {4, 4, 7},
		 "could not be delivered",
		 "Action: failed",
		 "Status: 4.4.7",
		 "Subject: Undelivered"},
		{MAIL_REPORT_FAILED,
		 {2, 1, 5},
		 "could not be delivered",
		 "Action: failed",
		 "Status: 5.0.0",
		 "Subject: Undelivered"},
		{MAIL_REPORT_FAILED,
		 {0, 0, 0},
		 "could not be delivered",
		 "Action: failed",
		 "Status: 5.0.0",
		 "Subject: Undelivered"},
		{MAIL_REPORT_DELAYED,
		 {4, 4, 1},
		 "has not been delivered",
		 "Action: delayed",
		 "Status: 4.4.1",
		 "Subject: Delayed"},
		{MAIL_REPORT_DELAYED,
		 {5, 4, 1},
		 "has not been delivered",
		 "Action: delayed",
		 "Status: 4.0.0",
		 "Subject: Delayed"},
		{MAIL_REPORT_DELIVERED,
		 {2, 1, 5},
		 "was delivered to this recipient",
		 "Action: delivered",
		 "Status: 2.1.5",
		 "Subject: Delivered"},
		{MAIL_REPORT_RELAYED,
		 {4, 0, 0},
		 "was handed on",
		 "Action: relayed",
		 "Status: 2.1.9",
		 "Subject: Relayed"},
		{MAIL_REPORT_RELAYED,
		 {2, 6, 4},
		 "was handed on",
		 "Action: relayed",
		 "Status: 2.6.4",
		 "Subject: Relayed"},
		/* RFC 3886 3.3.4: 2.1.9 goes with relayed alone. */
		{MAIL_REPORT_DELIVERED,
		 {2, 1, 9},
		 "was delivered to this recipient",
		 "Action: delivered",
		 "Status: 2.0.0",
		 "Subject: Delivered"},
		{MAIL_REPORT_EXPANDED,
		 {2, 1, 5},
		 "several others",
		 "Action: expanded",
		 "Status: 2.1.5",
		 "Subject: Delivered"},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct mail_report_rcpt rcpt = {.address = SLICE("a@b"),
						.action = rows[i].action,
						.status = rows[i].status,
						.will_retry_until = 1};
		struct mail_report r = usual(&rcpt, 1);
		struct buf out;

		write_report(&r, &out);
		assert_holds(&out, rows[i].words);
		assert_holds(&out, rows[i].field);
		assert_holds(&out, rows[i].shown);
		assert_holds(&out, rows[i].subject);
		assert_int_equal(holds(&out, "Will-Retry-Until: "), rows[i].action == MAIL_REPORT_DELAYED);
		buf_free(&out);
	}
}

/* RFC 3461 6.3 (a), (d) and RFC 6533 3 */
static void parameters_are_decoded_into_their_fields(void **state)
{
	(void)state;
	static const struct {
		const char *envid, *orcpt;
		bool utf8;
		const char *expected; /* NULL: no Original- field */
	} rows[] = {
		{"QQ+20+2B1", "", false, "Original-Envelope-Id: QQ +1\r\n"},
		{"bad+0D+0Ax", "", false, "Original-Envelope-Id: bad+0D+0Ax\r\n"},
		{"", "rfc822;Bob+2Bx@example.net", false, "Original-Recipient: rfc822; Bob+x@example.net\r\n"},
		{"", "X400;/a=b/", false, "Original-Recipient: X400; /a=b/\r\n"},
		{"", "utf-8;j\\x{FC}rgen@x.example", false, "Original-Recipient: utf-8; j\\x{FC}rgen@x.example\r\n"},
		{"", "utf-8;j\\x{FC}rgen@x.example", true, "Original-Recipient: utf-8; j\xc3\xbcrgen@x.example\r\n"},
		{"", "UTF-8;j\xc3\xbcrgen@x.example", true, "Original-Recipient: utf-8; j\xc3\xbcrgen@x.example\r\n"},
		{"", "utf-8;not\\x{an address", true, "Original-Recipient: utf-8; not\\x{an address\r\n"},
		{"", "rfc822;a+0D+0ABcc:+20x", false, "Original-Recipient: rfc822; a+0D+0ABcc:+20x\r\n"},
		{"", "no type", false, NULL},
		{"", "", false, NULL},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct mail_report_rcpt rcpt = bob;
		struct mail_report r = usual(&rcpt, 1);
		struct buf out;

		rcpt.orcpt = slice_from_cstr(rows[i].orcpt);
		r.envid = slice_from_cstr(rows[i].envid);
		r.utf8 = rows[i].utf8;
		write_report(&r, &out);
		if (rows[i].expected)
			assert_holds(&out, rows[i].expected);
		else
			assert_false(holds(&out, "Original-"));
		buf_free(&out);
	}
}

static void addresses_outside_ascii_take_the_form_that_their_part_may_hold(void **state)
{
	(void)state;
	struct mail_report_rcpt rcpt = bob;
	struct mail_report r = usual(&rcpt, 1);
	struct buf out;

	rcpt.address = SLICE("j\xc3\xbcrgen@example.net");
	write_report(&r, &out);
	assert_holds(&out, "Final-Recipient: utf-8; j\\x{FC}rgen@example.net\r\n");
	assert_holds(&out, "Content-Type: message/delivery-status\r\nContent-Transfer-Encoding: 7bit\r\n");
	assert_holds(&out, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n");
	assert_false(mail_report_needs_utf8(&r));
	buf_free(&out);

	r.utf8 = true;
	r.sender = SLICE("j\xc3\xa4n@example.com");
	write_report(&r, &out);
	assert_holds(&out, "Final-Recipient: utf-8; j\xc3\xbcrgen@example.net\r\n");
	assert_holds(&out, "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n");
	assert_holds(&out, "To: <j\xc3\xa4n@example.com>\r\n");
	assert_holds(&out, "\tboundary=\"=_k3Jd8sLq0Zx7\"\r\nContent-Transfer-Encoding: 8bit\r\n");
	assert_true(mail_report_needs_utf8(&r));
	buf_free(&out);
}

static void the_original_is_returned_as_wanted_where_it_can_be(void **state)
{
	(void)state;
	static const char signed_part[] =
		"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: "
		"8bit\r\n\r\n\xe4\r\n--b--\r\n";
	static const struct {
		enum mail_report_return wanted;
		bool utf8;
		struct slice header, original;
		const char *type; /* NULL: nothing is returned */
		bool eight;
	} rows[] = {
		{MAIL_REPORT_RETURN_NONE, false, {"A: b\r\n", 6}, {"A: b\r\n\r\nx\r\n", 11}, NULL, false},
		{MAIL_REPORT_RETURN_HEADER, false, {"A: b\r\n", 6}, {"", 0}, "text/rfc822-headers", false},
		{MAIL_REPORT_RETURN_HEADER, false, {"A: \xc3\xa4\r\n", 7}, {"", 0}, "text/rfc822-headers", true},
		{MAIL_REPORT_RETURN_HEADER, true, {"A: \xc3\xa4\r\n", 7}, {"", 0}, "message/global-headers", true},
		{MAIL_REPORT_RETURN_HEADER, true, {"A: \xe4\r\n", 6}, {"", 0}, "text/rfc822-headers", true},
		{MAIL_REPORT_RETURN_HEADER, false, {"", 0}, {"", 0}, NULL, false},
		{MAIL_REPORT_RETURN_HEADER, false, {"A: k3Jd8sLq0Zx7\r\n", 17}, {"", 0}, NULL, false},
		{MAIL_REPORT_RETURN_FULL, false, {"A: b\r\n", 6}, {"A: b\r\n\r\nx\r\n", 11}, "message/rfc822", false},
		{MAIL_REPORT_RETURN_FULL, false, {"A: b\r\n", 6}, {"A: b\r\n\r\n\xe4\r\n", 11}, "message/rfc822", true},
		{MAIL_REPORT_RETURN_FULL,
		 true,
		 {"A: \xc3\xa4\r\n", 7},
		 {"A: \xc3\xa4\r\n\r\nx\r\n", 12},
		 "message/global",
		 true},
		{MAIL_REPORT_RETURN_FULL,
		 false,
		 {"A: b\r\n", 6},
		 {"A: b\r\n\r\nx\ry\r\n", 13},
		 "text/rfc822-headers",
		 false},
		{MAIL_REPORT_RETURN_FULL,
		 false,
		 {"A: b\r\n", 6},
		 {"A: b\r\n\r\nx\0y\r\n", 13},
		 "text/rfc822-headers",
		 false},
		{MAIL_REPORT_RETURN_FULL,
		 false,
		 {"A: b\r\n", 6},
		 {signed_part, sizeof signed_part - 1},
		 "text/rfc822-headers",
		 false},
		{MAIL_REPORT_RETURN_FULL,
		 false,
		 {"A: b\r\n", 6},
		 {"A: b\r\n\r\n--=_k3Jd8sLq0Zx7\r\n", 26},
		 "text/rfc822-headers",
		 false},
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct mail_report r = usual(&bob, 1);
		struct buf out;
		char expected[200];

		r.wanted = rows[i].wanted;
		r.utf8 = rows[i].utf8;
		r.header = rows[i].header;
		r.original = rows[i].original;
		write_report(&r, &out);
		snprintf(expected, sizeof expected, "Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
			 rows[i].type ? rows[i].type : "", rows[i].eight ? "8bit" : "7bit");
		if (rows[i].type)
			assert_holds(&out, expected);
		else
			assert_false(holds(&out, "rfc822-headers") || holds(&out, "message/rfc822"));
		buf_free(&out);
	}
}

/* ---- attacks ----------------------------------------------------------------------------------------------------- */

static size_t count(struct slice text, const char *what)
{
	size_t n = 0;

	for (size_t at; (at = slice_search(text, slice_from_cstr(what))) < text.n; text = slice_skip(text, at + 1))
		n++;
	return n;
}

static struct slice between(struct slice text, const char *from, const char *to)
{
	text = slice_skip(text, slice_search(text, slice_from_cstr(from)));
	return slice_head(text, slice_search(text, slice_from_cstr(to)));
}

/* The report has the lines, fields and blocks that were meant, and no others. */
static void assert_intact(struct slice out, size_t rcpts)
{
	size_t header = slice_search(out, SLICE("\r\n\r\n")) + 2;

	for (size_t at = 0; at < out.n;) {
		struct slice rest = slice_skip(out, at);
		size_t n = slice_search(rest, SLICE("\r\n"));

		assert_true(n < rest.n && n <= 998);
		for (size_t i = 0; i < n; i++)
			assert_true(rest.p[i] != '\r' && rest.p[i] != '\n' && rest.p[i] != '\0');
		at += n + 2;
	}
	assert_int_equal(count(slice_head(out, header), "\r\n") - count(slice_head(out, header), "\r\n\t"), 8);
	assert_int_equal(count(out, "\r\n--=_k3Jd8sLq0Zx7\r\n"), 3);
	assert_int_equal(count(out, "\r\n--=_k3Jd8sLq0Zx7--\r\n"), 1);

	struct slice status = between(out, "delivery-status\r\nContent-T", "\r\n--=_");
	assert_int_equal(count(status, "\r\n\r\n"), 1 + rcpts);
	static const char *const once[] = {
		"\r\nFinal-Recipient:", "\r\nAction:", "\r\nStatus:", "\r\nDiagnostic-Code:", "\r\nRemote-MTA:"};
	for (size_t i = 0; i < ROWS(once); i++)
		assert_int_equal(count(status, once[i]), rcpts);
	assert_int_equal(count(status, "\r\nReporting-MTA:") + count(status, "\r\nX-Postrider-Message-Id:"), 2);
}

/* Attacks F2, K5 and N: each octet and each trap in every text that comes from outside. */
static void attack_F2_no_text_adds_a_line_a_field_or_a_part(void **state)
{
	(void)state;
	static const char *const traps[] = {"x\r\n\r\nFinal-Recipient: rfc822; evil@example",
					    "\r\nBcc: evil@example",
					    "\r\n.\r\n",
					    "+0D+0A+0D+0AX:+20y",
					    "rfc822;+0D+0AX:+20y",
					    "utf-8;\\x{0D}\\x{0A}X: y",
					    "\r\n--=_k3Jd8sLq0Zx7\r\n",
					    "a>\r\nX: y",
					    "\"a\\\" <evil@example>",
					    "\xe2\x80\xa8X: y",
					    "x;y;z"};
	char big[70000];

	memset(big, 'x', sizeof big);
	for (size_t i = 0; i < ROWS(traps) + 256 + 2; i++) {
		char octet[3] = {'a', (char)(i - ROWS(traps)), 'b'};
		struct slice text = i < ROWS(traps)          ? slice_from_cstr(traps[i])
				    : i < ROWS(traps) + 256  ? slice_of(octet, 3)
				    : i == ROWS(traps) + 256 ? slice_of(big, sizeof big)
							     : SLICE(" ");
		for (int utf8 = 0; utf8 < 2; utf8++) {
			struct mail_report_rcpt rcpt = {.address = text,
							.orcpt = text,
							.remote_mta = text,
							.diagnostic = text,
							.explanation = text,
							.advice = text};
			struct mail_report_rcpt two[2] = {rcpt, rcpt};
			struct mail_report r = usual(two, 2);
			struct buf out;

			r.mta = r.from_display = r.from_address = r.sender = r.envid = r.id = text;
			r.utf8 = utf8;
			write_report(&r, &out);
			assert_intact(buf_slice(&out), 2);
			buf_free(&out);
		}
	}
}

static void header_lines_of_the_original_are_kept_within_bounds(void **state)
{
	(void)state;
	char header[5000];
	struct mail_report r = usual(&bob, 1);
	struct buf out;

	memset(header, 'x', sizeof header);
	memcpy(header, "A: b\0c\rd\ne", 10);
	memcpy(header + sizeof header - 2, "\r\n", 2);
	r.header = slice_of(header, sizeof header);
	write_report(&r, &out);
	assert_holds(&out, "A: b?c?d?exxx");
	struct slice rest = buf_slice(&out);
	while (rest.n) {
		size_t n = slice_search(rest, SLICE("\r\n"));

		assert_true(n <= 998);
		rest = slice_skip(rest, n + 2);
	}
	buf_free(&out);
}

static void a_report_can_be_sent_to_a_peer_with_seven_bits(void **state)
{
	(void)state;
	struct mail_report_rcpt rcpt = bob;
	struct mail_report r = usual(&rcpt, 1);
	struct mail_seven *seven = mail_seven_new(MAIL_SEVEN_TO_7BIT);
	struct buf out, converted;

	rcpt.address = SLICE("j\xc3\xbcrgen@example.net");
	r.utf8 = true;
	r.wanted = MAIL_REPORT_RETURN_FULL;
	r.original = SLICE(
		"Subject: \xc3\xa4\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--\r\n");
	write_report(&r, &out);
	buf_init(&converted, 1 << 20);
	assert_int_equal(mail_seven_feed(seven, buf_slice(&out), &converted), MAIL_SEVEN_OK);
	assert_int_equal(mail_seven_end(seven, &converted), MAIL_SEVEN_OK);
	assert_true(slice_is_ascii(buf_slice(&converted)));
	mail_seven_free(seven);
	buf_free(&out);
	buf_free(&converted);
}

static void the_size_is_bounded_and_a_full_buffer_gets_nothing(void **state)
{
	(void)state;
	enum { RCPTS = 100 };
	static struct mail_report_rcpt rcpts[RCPTS];
	char big[5000];
	struct mail_report r = usual(rcpts, RCPTS);
	struct buf out;

	for (size_t i = 0; i < sizeof big; i++)
		big[i] = i % 2 ? ' ' : 'x';
	for (size_t i = 0; i < RCPTS; i++)
		rcpts[i] = (struct mail_report_rcpt){.address = slice_of(big, 300),
						     .orcpt = slice_of(big, 500),
						     .remote_mta = slice_of(big, sizeof big),
						     .diagnostic = slice_of(big, sizeof big),
						     .explanation = slice_of(big, sizeof big),
						     .advice = slice_of(big, sizeof big)};
	write_report(&r, &out);
	assert_true(buf_len(&out) <= MAIL_REPORT_FIXED_MAX + RCPTS * MAIL_REPORT_RCPT_MAX + r.header.n);
	buf_free(&out);

	r = usual(&bob, 1);
	write_report(&r, &out);
	size_t whole = buf_len(&out);
	buf_free(&out);
	for (size_t max = 4; max <= whole + 4; max++) { /* with one octet for formatting */
		buf_init(&out, max);
		buf_add_lit(&out, "abc");
		assert_int_equal(mail_report_write(&r, &out), max == whole + 4);
		assert_int_equal(buf_len(&out), max == whole + 4 ? whole + 3 : 3);
		buf_free(&out);
	}
}

/* ---- whether one is due ------------------------------------------------------------------------------------------ */

static void reports_are_due_as_notify_says(void **state)
{
	(void)state;
	enum { F = 1, L = 2, S = 4 }; /* failed, delayed, success */
	static const unsigned due[MAIL_NOTIFY_MAX + 1] = {
		[0] = F | L,
		[MAIL_NOTIFY_NEVER] = 0,
		[MAIL_NOTIFY_SUCCESS] = S,
		[MAIL_NOTIFY_FAILURE] = F,
		[MAIL_NOTIFY_DELAY] = L,
		[MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE] = S | F,
		[MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_DELAY] = S | L,
		[MAIL_NOTIFY_FAILURE | MAIL_NOTIFY_DELAY] = F | L,
		[MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE | MAIL_NOTIFY_DELAY] = S | F | L,
	};

	for (uint8_t notify = 0; notify <= MAIL_NOTIFY_MAX; notify++) {
		if (notify > 1 && (notify & MAIL_NOTIFY_NEVER))
			continue;
		assert_int_equal(mail_report_due(notify, false, MAIL_REPORT_FAILED), (due[notify] & F) != 0);
		assert_int_equal(mail_report_due(notify, false, MAIL_REPORT_DELAYED), (due[notify] & L) != 0);
		assert_int_equal(mail_report_due(notify, false, MAIL_REPORT_DELIVERED), (due[notify] & S) != 0);
		assert_int_equal(mail_report_due(notify, false, MAIL_REPORT_RELAYED), (due[notify] & S) != 0);
		assert_int_equal(mail_report_due(notify, false, MAIL_REPORT_EXPANDED), (due[notify] & S) != 0);
		for (int action = 0; action <= MAIL_REPORT_ACTION_MAX; action++) /* K3: never about a report */
			assert_false(mail_report_due(notify, true, (enum mail_report_action)action));
	}
}

static void success_is_reported_by_the_last_who_can(void **state)
{
	(void)state;
	enum mail_report_action action;

	assert_true(mail_report_success_due(MAIL_NOTIFY_SUCCESS, false, MAIL_REPORT_HOP_MAILBOX, &action));
	assert_int_equal(action, MAIL_REPORT_DELIVERED);
	assert_true(mail_report_success_due(MAIL_NOTIFY_SUCCESS, false, MAIL_REPORT_HOP_PLAIN, &action));
	assert_int_equal(action, MAIL_REPORT_RELAYED);
	assert_false(mail_report_success_due(MAIL_NOTIFY_SUCCESS, false, MAIL_REPORT_HOP_DSN, &action));
	assert_false(mail_report_success_due(0, false, MAIL_REPORT_HOP_PLAIN, &action));
	assert_false(mail_report_success_due(MAIL_NOTIFY_SUCCESS, true, MAIL_REPORT_HOP_MAILBOX, &action));
}

static void the_whole_is_returned_only_when_asked_or_small(void **state)
{
	(void)state;
	static const struct {
		enum mail_ret ret;
		bool failed;
		uint64_t size;
		enum mail_report_return wanted;
	} rows[] = {
		{MAIL_RET_FULL, true, 1000, MAIL_REPORT_RETURN_FULL},
		{MAIL_RET_FULL, true, 1001, MAIL_REPORT_RETURN_HEADER},
		{MAIL_RET_FULL, false, 10, MAIL_REPORT_RETURN_HEADER},
		{MAIL_RET_HDRS, true, 0, MAIL_REPORT_RETURN_HEADER},
		{MAIL_RET_NONE, true, 100, MAIL_REPORT_RETURN_FULL},
		{MAIL_RET_NONE, true, 101, MAIL_REPORT_RETURN_HEADER},
		{MAIL_RET_NONE, false, 10, MAIL_REPORT_RETURN_HEADER},
	};

	for (size_t i = 0; i < ROWS(rows); i++)
		assert_int_equal(mail_report_wanted(rows[i].ret, rows[i].failed, rows[i].size, 100, 1000),
				 rows[i].wanted);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_says_it_to_people_and_to_programs),
		cmocka_unit_test(each_action_has_its_words_and_its_class),
		cmocka_unit_test(parameters_are_decoded_into_their_fields),
		cmocka_unit_test(addresses_outside_ascii_take_the_form_that_their_part_may_hold),
		cmocka_unit_test(the_original_is_returned_as_wanted_where_it_can_be),
		cmocka_unit_test(attack_F2_no_text_adds_a_line_a_field_or_a_part),
		cmocka_unit_test(header_lines_of_the_original_are_kept_within_bounds),
		cmocka_unit_test(a_report_can_be_sent_to_a_peer_with_seven_bits),
		cmocka_unit_test(the_size_is_bounded_and_a_full_buffer_gets_nothing),
		cmocka_unit_test(reports_are_due_as_notify_says),
		cmocka_unit_test(success_is_reported_by_the_last_who_can),
		cmocka_unit_test(the_whole_is_returned_only_when_asked_or_small),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
