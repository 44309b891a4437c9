/* Reports for programs: RFC 3464 and RFC 6533 in good and in damaged forms, RFC 5965, RFC 8098. */
#include "bounce_check.h"

#include "mail/report.h"

#define FROM "From: MAILER-DAEMON@mx.example.net\nTo: alice@example.com\nSubject: Undelivered mail\n"
#define REPORT \
	FROM "MIME-Version: 1.0\nContent-Type: multipart/report; report-type=delivery-status;\n\tboundary=\"b\"\n\n"
#define TEXT   "preamble\n--b\nContent-Type: text/plain\n\nSorry, this mail was lost somewhere on its way.\n\n"
#define STATUS "--b\nContent-Type: message/delivery-status\n\n"
#define MTA    "Reporting-MTA: dns; mx.example.net\n\n"
#define ORIGINAL                                                                                                       \
	"\n--b\nContent-Type: message/rfc822\n\nReceived: from a by mail.example.com with ESMTPS\n\tid 0123456789AB; " \
	"Mon\n"                                                                                                        \
	"From: alice@example.com\nTo: list@example.net\nMessage-ID: <1@example.com>\n\n"                               \
	"Final-Recipient: rfc822; nobody@example.net\nAction: failed\n\n--b--\n"
#define BOB     "Final-Recipient: rfc822; bob@example.net\n"
#define FAILED  "Action: failed\nStatus: 5.1.1\n"
#define BOB_511 "bounce; bob@example.net failed 5.1.1 - - bad-mailbox permanent"

static void reports_are_read_as_they_should_be_written(void **state)
{
	(void)state;
	static const struct bounce_sample samples[] = {
		{"one", REPORT TEXT STATUS MTA BOB FAILED ORIGINAL, BOB_511},
		{"full",
		 REPORT TEXT STATUS MTA BOB FAILED
		 "Remote-MTA: dns; mx.example.org\nDiagnostic-Code: smtp; 550 5.1.1 <bob@example.net>:\n"
		 "\tRecipient address rejected\n" ORIGINAL,
		 "bounce; bob@example.net failed 5.1.1 550 mx.example.org bad-mailbox permanent"},
		{"two recipients",
		 REPORT TEXT STATUS MTA BOB FAILED "\nFinal-Recipient: rfc822; carol@example.net\nAction: delayed\n"
						   "Status: 4.4.1\n" ORIGINAL,
		 BOB_511 "; carol@example.net delayed 4.4.1 - - network temporary"},
		{"the original recipient is the one that the sender knows",
		 REPORT TEXT STATUS MTA "Original-Recipient: rfc822; sales@example.net\n" BOB FAILED ORIGINAL,
		 "bounce; sales@example.net failed 5.1.1 - - bad-mailbox permanent"},
		{"a report of success is no bounce",
		 REPORT TEXT STATUS MTA BOB "Action: delivered\nStatus: 2.1.5\n" ORIGINAL,
		 "other; bob@example.net delivered 2.1.5 - - unknown unknown"},
		{"success and failure",
		 REPORT TEXT STATUS MTA BOB
		 "Action: relayed\nStatus: 2.0.0\n\nFinal-Recipient: rfc822; carol@example.net\n" FAILED ORIGINAL,
		 "bounce; bob@example.net relayed 2.0.0 - - unknown unknown; carol@example.net failed 5.1.1 - - "
		 "bad-mailbox "
		 "permanent"},
		{"failed outweighs codes that say temporary",
		 REPORT TEXT STATUS MTA BOB
		 "Action: failed\nStatus: 4.2.2\nDiagnostic-Code: smtp; 452 4.2.2 Mailbox full\n",
		 "bounce; bob@example.net failed 4.2.2 452 - full-mailbox permanent"},
		{"several parts",
		 REPORT TEXT STATUS MTA BOB FAILED STATUS MTA
		 "Final-Recipient: rfc822; carol@example.net\n" FAILED ORIGINAL,
		 BOB_511 "; carol@example.net failed 5.1.1 - - bad-mailbox permanent"},
	};

	check_samples(samples, ROWS(samples));
}

static const struct bounce_sample shapes[] = {
	{"no type", REPORT TEXT STATUS MTA "Final-Recipient: <bob@example.net>\n" FAILED, BOB_511},
	{"wrong type", REPORT TEXT STATUS MTA "Final-Recipient: LOCAL;<bob@example.net>\n" FAILED, BOB_511},
	{"comments",
	 REPORT TEXT STATUS MTA
	 "Final-Recipient: RFC822; bob@example.net (Bob)\nAction: Failed (bad mailbox)\nStatus: "
	 "5.1.1 (bad mailbox)\n",
	 BOB_511},
	{"names and addresses",
	 REPORT TEXT STATUS MTA "Final-Recipient: rfc822; \"Bob\" <bob@example.net>\n" FAILED, BOB_511},
	{"a source route",
	 REPORT TEXT STATUS MTA "Final-Recipient: rfc822;<@relay.example.org:bob@example.net>\n" FAILED,
	 BOB_511},
	{"quoted local part",
	 REPORT TEXT STATUS MTA "Final-Recipient: rfc822; \"b o\\\"b\"@example.net\n" FAILED,
	 "bounce; \"b o\\\"b\"@example.net failed 5.1.1 - - bad-mailbox permanent"},
	{"X.400",
	 REPORT TEXT STATUS MTA "Final-Recipient: x400; /RFC-822=bob(a)example.net/ADMD= /C=WW/\n" FAILED,
	 BOB_511},
	{"xtext left in place",
	 REPORT TEXT STATUS MTA
	 "Original-Recipient: rfc822;bob+2Btag@example.net\nFinal-Recipient: rfc822;x@example.net\n" FAILED,
	 "bounce; bob+tag@example.net failed 5.1.1 - - bad-mailbox permanent"},
	{"what looks like xtext but is not",
	 REPORT TEXT STATUS MTA "Original-Recipient: rfc822;bob+2Btag@example.net\n"
				"Final-Recipient: rfc822;bob+2Btag@example.net\n" FAILED,
	 "bounce; bob+2Btag@example.net failed 5.1.1 - - bad-mailbox permanent"},
	{"no Action, permanent", REPORT TEXT STATUS MTA BOB "Status: 5.1.1\n",
	 "bounce; bob@example.net - 5.1.1 - - bad-mailbox permanent"},
	{"no Action, temporary", REPORT TEXT STATUS MTA BOB "Status: 4.4.1\n",
	 "bounce; bob@example.net - 4.4.1 - - network temporary"},
	{"no Action, success", REPORT TEXT STATUS MTA BOB "Status: 2.0.0\n",
	 "other; bob@example.net delivered 2.0.0 - - unknown unknown"},
	{"a recipient and nothing else", REPORT TEXT STATUS MTA BOB,
	 "bounce; bob@example.net - - - - unknown unknown"},
	{"no Status, the reply tells",
	 REPORT TEXT STATUS MTA BOB "Action: failed\nDiagnostic-Code: smtp;552 5.2.2 Over quota\n",
	 "bounce; bob@example.net failed 5.2.2 552 - full-mailbox permanent"},
	{"a Status that only says 5.0.0",
	 REPORT TEXT STATUS MTA BOB "Action: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 550 5.1.1 no\n",
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent"},
	{"a reply code for a Status", REPORT TEXT STATUS MTA BOB "Action: failure\nStatus: 552 Mailbox full\n",
	 "bounce; bob@example.net failed - 552 - full-mailbox permanent"},
	{"no recipient at all", REPORT TEXT STATUS MTA FAILED,
	 "bounce; - failed 5.1.1 - - bad-mailbox permanent"},
	{"a recipient that is no address",
	 REPORT TEXT STATUS MTA "Final-Recipient: rfc822; b...@example.net\n" FAILED,
	 "bounce; - failed 5.1.1 - - bad-mailbox permanent"},
	{"no empty lines",
	 REPORT TEXT STATUS "Reporting-MTA: dns; mx.example.net\n" BOB FAILED
			    "Final-Recipient: rfc822;c@example.net\n" FAILED,
	 BOB_511 "; c@example.net failed 5.1.1 - - bad-mailbox permanent"},
	{"no empty lines, recipient last",
	 REPORT TEXT STATUS FAILED BOB
	 "Action: delayed\nStatus: 4.4.1\nFinal-Recipient: rfc822;c@example.net\n",
	 BOB_511 "; c@example.net delayed 4.4.1 - - network temporary"},
	{"too many empty lines", REPORT TEXT STATUS MTA BOB "\n \nAction: failed\n\nStatus: 5.1.1\n\n",
	 BOB_511},
	{"the group torn in front of its recipient", REPORT TEXT STATUS MTA FAILED "\n" BOB, BOB_511},
	{"blank fields and garbage",
	 REPORT TEXT STATUS MTA
	 "X-Empty:\nthis is no field\nFinal-Recipient :rfc822 ; bob@example.net\n" FAILED,
	 BOB_511},
	{"the same recipient twice", REPORT TEXT STATUS MTA BOB "Action: delayed\nStatus: 4.4.1\n\n" BOB FAILED,
	 BOB_511},
	{"action in other words", REPORT TEXT STATUS MTA BOB "Action: error\nStatus: 5.1.1\n", BOB_511},
	{"reasons only in the text for people",
	 REPORT "--b\n\nThe mailbox of the recipient is full.\n" STATUS MTA BOB
		"Action: failed\nStatus: 5.0.0\n",
	 "bounce; bob@example.net failed 5.0.0 - - full-mailbox permanent"},
};

static void reports_are_read_in_the_shapes_of_the_wild(void **state)
{
	(void)state;
	check_samples(shapes, ROWS(shapes));
}

static void reports_are_found_under_wrong_labels_and_in_wrong_places(void **state)
{
	(void)state;
#define MIXED FROM "Content-Type: multipart/mixed; boundary=b\n\n"
	static const struct bounce_sample samples[] = {
		{"multipart/mixed", MIXED TEXT STATUS MTA BOB FAILED ORIGINAL, BOB_511},
		{"text/plain",
		 REPORT TEXT "--b\nContent-Type: text/plain; name=details.txt\n\n" MTA BOB FAILED ORIGINAL, BOB_511},
		{"an attachment",
		 MIXED TEXT "--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment\n\n" MTA BOB
			 FAILED ORIGINAL,
		 BOB_511},
		{"an attachment goes before what the text says",
		 MIXED "--b\n\n<bob@example.net>: 550 5.1.1 no\n--b\nContent-Type: application/octet-stream\n\n" MTA
		       "Original-Recipient: rfc822;sales@example.net\n" BOB FAILED ORIGINAL,
		 "bounce; sales@example.net failed 5.1.1 550 - bad-mailbox permanent"},
		{"no label", MIXED TEXT "--b\n\n" MTA BOB FAILED ORIGINAL, BOB_511},
		{"base64",
		 REPORT TEXT "--b\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: base64\n\n"
			     "UmVwb3J0aW5nLU1UQTogZG5zOyBteC5leGFtcGxlLm5ldAoKRmluYWwtUmVjaXBpZW50OiByZmM4\n"
			     "MjI7IGJvYkBleGFtcGxlLm5ldApBY3Rpb246IGZhaWxlZApTdGF0dXM6IDUuMS4xCg==\n" ORIGINAL,
		 BOB_511},
		{"quoted-printable",
		 REPORT TEXT
		 "--b\nContent-Type: message/delivery-status\nContent-Transfer-Encoding: quoted-printable\n\n"
		 "Final-Recipient: rfc822; bob=40exam=\nple.net\nAction: failed=20\nStatus: 5.1.1=\n" ORIGINAL,
		 BOB_511},
		{"within an attached message",
		 MIXED "--b\nContent-Type: message/rfc822\n\nContent-Type: multipart/report; "
		       "boundary=c\n\n--c\nContent-Type: "
		       "message/delivery-status\n\n" BOB FAILED "\n--c--\n--b--\n",
		 BOB_511},
		{"within an attached message in base64",
		 MIXED "--b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
		       "Q29udGVudC1UeXBlOiBtZXNzYWdlL2RlbGl2ZXJ5LXN0YXR1cwoKRmluYWwtUmVjaXBpZW50OiBy\n"
		       "ZmM4MjI7IGJvYkBleGFtcGxlLm5ldApBY3Rpb246IGZhaWxlZApTdGF0dXM6IDUuMS4xCg==\n--b--\n",
		 BOB_511},
		{"deep in multiparts",
		 MIXED "--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\nContent-Type: multipart/report; "
		       "boundary=d\n\n--d\n"
		       "Content-Type: message/delivery-status\n\n" BOB FAILED "\n--d--\n--c--\n--b--\n",
		 BOB_511},
		{"the boundary lost",
		 FROM "Content-Type: multipart/report\n\n--b\nContent-Type: text/plain\n\nSorry.\n" STATUS BOB FAILED
			 ORIGINAL,
		 BOB_511},
		{"another boundary",
		 FROM
		 "Content-Type: multipart/report; boundary=other\n\n--b\nContent-Type: text/plain\n\nSorry.\n" STATUS
			 BOB FAILED "\n--b--\n",
		 BOB_511},
		{"cut off", REPORT TEXT STATUS MTA BOB "Action: failed\nStatus: 5.1.1", BOB_511},
		{"a folder's line in front",
		 "From MAILER-DAEMON Mon Jan  1 00:00:00 2024\n" REPORT TEXT STATUS BOB FAILED, BOB_511},
		{"fields within the text",
		 FROM "\nYour message was lost. The details:\n\n" MTA BOB FAILED "\nEnd of the details.\n", BOB_511},
		{"empty parts", MIXED "--b\n--b\n\n--b\nContent-Type: message/rfc822\n\n" STATUS BOB FAILED, BOB_511},
		{"what the original says does not count", REPORT TEXT STATUS MTA BOB FAILED ORIGINAL, BOB_511},
		{"an original in the text part does not count",
		 MIXED "--b\n\nCould not be delivered.\n--b\nContent-Type: text/rfc822-headers\n\nFinal-Recipient: "
		       "rfc822;x@example.net\n\n--b--\n",
		 "bounce"},
	};

	check_samples(samples, ROWS(samples));
}

static void internationalised_reports_are_read(void **state)
{
	(void)state;
#define GLOBAL  "--b\nContent-Type: message/global-delivery-status\n\n" MTA
#define JUERGEN "bounce; j\xc3\xbcrgen@example.net failed 5.1.1 - - bad-mailbox permanent"
	static const struct bounce_sample samples[] = {
		{"as it is", REPORT TEXT GLOBAL "Final-Recipient: utf-8; j\xc3\xbcrgen@example.net\n" FAILED, JUERGEN},
		{"unitext", REPORT TEXT STATUS "Final-Recipient: utf-8; j\\x{FC}rgen@example.net\n" FAILED, JUERGEN},
		{"with the wrong type",
		 REPORT TEXT GLOBAL "Final-Recipient: rfc822; j\xc3\xbcrgen@example.net\n" FAILED, JUERGEN},
		{"no UTF-8", REPORT TEXT GLOBAL "Final-Recipient: utf-8; j\xfcrgen@example.net\n" FAILED,
		 "bounce; - failed 5.1.1 - - bad-mailbox permanent"},
		{"headers of its own kind",
		 REPORT TEXT GLOBAL BOB FAILED "--b\nContent-Type: message/global-headers\n\nSubject: x\n\n--b--\n",
		 BOB_511},
	};

	check_samples(samples, ROWS(samples));
}

static void complaints_are_told_from_bounces(void **state)
{
	(void)state;
#define ARF                                                                                                 \
	"From: fbl@example.net\nTo: abuse@example.com\nSubject: FW: Buy\nContent-Type: multipart/report;\n" \
	" report-type=feedback-report; boundary=b\n\n--b\n\nThis is an abuse report.\n--b\n"                \
	"Content-Type: message/feedback-report\n\nUser-Agent: X/1\nVersion: 1\n"
	static const struct bounce_sample samples[] = {
		{"abuse",
		 ARF "Feedback-Type: abuse\nOriginal-Mail-From: <a@example.com>\nOriginal-Rcpt-To: "
		     "<bob@example.net>\n" ORIGINAL,
		 "complaint; bob@example.net - - - - spam unknown"},
		{"two recipients",
		 ARF
		 "Feedback-Type: virus\nOriginal-Rcpt-To: bob@example.net\nOriginal-Rcpt-To: c@example.net\n" ORIGINAL,
		 "complaint; bob@example.net - - - - virus unknown; c@example.net - - - - virus unknown"},
		{"nobody named", ARF "Feedback-Type: not-spam\n" ORIGINAL, "complaint"},
	};

	check_samples(samples, ROWS(samples));
}

static void filters_that_reject_by_a_disposition_bounce(void **state)
{
	(void)state;
#define MDN                                                                                                         \
	"From: Filter <f@example.net>\nTo: alice@example.com\nSubject: Rejected\nContent-Type: multipart/report;\n" \
	" report-type=disposition-notification; boundary=b\n\n--b\n\nThe message was refused: mailbox full.\n--b\n" \
	"Content-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; bob@example.net\n"
	static const struct bounce_sample samples[] = {
		{"rejected", MDN "Disposition: automatic-action/MDN-sent-automatically; deleted\n--b--\n",
		 "bounce; bob@example.net failed - - - full-mailbox permanent"},
		{"read", MDN "Disposition: manual-action/MDN-sent-manually; displayed\n--b--\n", "auto-reply"},
		{"thrown away by hand", MDN "Disposition: manual-action/MDN-sent-automatically; deleted\n--b--\n",
		 "auto-reply"},
	};

	check_samples(samples, ROWS(samples));
}

static void facts_about_the_message_are_kept(void **state)
{
	(void)state;
	struct slice message =
		SLICE(REPORT TEXT STATUS
		      "Original-Envelope-Id: QQ+1\n" MTA "Original-Recipient: rfc822;sales@example.net\n" BOB FAILED
		      "Diagnostic-Code: smtp; 550 5.1.1\n\t no\x01such\tuser \xff\xc3\xbc\n" ORIGINAL);
	struct mail_bounce b;

	assert_true(mail_bounce_read(message, &(struct mail_bounce_config){.our_name = SLICE("mail.example.com")}, &b));
	assert_string_equal(b.form, "rfc3464");
	assert_slice(b.message_id, "<1@example.com>");
	assert_slice(b.own_id, "0123456789AB");
	assert_slice(b.envelope_id, "QQ+1");
	assert_slice(b.reporter, "mx.example.net");
	assert_slice(b.rcpt[0].address, "sales@example.net");
	assert_slice(b.rcpt[0].final, "bob@example.net");
	assert_slice(b.rcpt[0].diagnostic, "550 5.1.1 no?such user ?\xc3\xbc");
	assert_false(b.more);
	mail_bounce_free(&b);

	assert_true(
		mail_bounce_read(message, &(struct mail_bounce_config){.our_name = SLICE("other.example.com")}, &b));
	assert_int_equal(b.own_id.n, 0);
	mail_bounce_free(&b);
}

static void what_we_write_we_read(void **state)
{
	(void)state;
	struct mail_report_rcpt rcpt[] = {
		{.address = SLICE("bob@example.net"),
		 .orcpt = SLICE("rfc822;sales+2B1@example.net"),
		 .action = MAIL_REPORT_FAILED,
		 .status = {5, 2, 2},
		 .remote_mta = SLICE("mx.example.net"),
		 .diagnostic = SLICE("552 5.2.2 Over quota")},
		{.address = SLICE("j\xc3\xbcrgen@example.net"), .action = MAIL_REPORT_DELAYED, .status = {4, 4, 1}},
		{.address = SLICE("eve@example.org"), .action = MAIL_REPORT_EXPANDED, .status = {2, 0, 0}},
	};
	struct mail_report r = {.mta = SLICE("mail.example.com"),
				.from_address = SLICE("MAILER-DAEMON@mail.example.com"),
				.sender = SLICE("alice@example.com"),
				.envid = SLICE("E1"),
				.id = SLICE("0123456789AB"),
				.token = SLICE("t0ken"),
				.rcpt = rcpt,
				.rcpt_count = 3,
				.wanted = MAIL_REPORT_RETURN_HEADER,
				.header = SLICE("Message-ID: <1@example.com>\r\n")};
	struct bounce_sample expected = {
		"our own", "",
		"bounce; sales+1@example.net failed 5.2.2 552 mx.example.net full-mailbox permanent; "
		"j\xc3\xbcrgen@example.net delayed 4.4.1 - - network temporary; eve@example.org expanded 2.0.0 - - "
		"unknown unknown"};

	for (int utf8 = 0; utf8 < 2; utf8++) {
		struct mail_bounce b;
		struct buf out;

		r.utf8 = utf8;
		buf_init(&out, 1 << 20);
		assert_true(mail_report_write(&r, &out));
		assert_int_equal(check_one(&expected, buf_slice(&out)), 0);
		assert_true(mail_bounce_read(buf_slice(&out), NULL, &b));
		assert_slice(b.own_id, "0123456789AB");
		assert_slice(b.message_id, "<1@example.com>");
		mail_bounce_free(&b);
		buf_free(&out);
	}
}

static void recipients_beyond_the_limit_are_left_out(void **state)
{
	(void)state;
	struct mail_bounce b;
	struct buf out;

	buf_init(&out, 1 << 20);
	buf_add_lit(&out, REPORT TEXT STATUS MTA);
	for (int i = 0; i < MAIL_BOUNCE_RCPT_MAX + 5; i++)
		buf_printf(&out, "Final-Recipient: rfc822; u%d@example.net\nAction: failed\n\n", i);
	assert_true(mail_bounce_read(buf_slice(&out), NULL, &b));
	assert_int_equal(b.rcpt_count, MAIL_BOUNCE_RCPT_MAX);
	assert_true(b.more);
	assert_slice(b.rcpt[MAIL_BOUNCE_RCPT_MAX - 1].address, "u999@example.net");
	mail_bounce_free(&b);
	buf_free(&out);
}

static void names_of_kinds_and_actions_are_those_of_the_interface(void **state)
{
	(void)state;
	assert_string_equal(mail_bounce_kind_name(MAIL_BOUNCE_OTHER), "other");
	assert_string_equal(mail_bounce_kind_name(MAIL_BOUNCE_BOUNCE), "bounce");
	assert_string_equal(mail_bounce_kind_name(MAIL_BOUNCE_COMPLAINT), "complaint");
	assert_string_equal(mail_bounce_kind_name(MAIL_BOUNCE_AUTO_REPLY), "auto-reply");
	assert_null(mail_bounce_action_name(MAIL_BOUNCE_NO_ACTION));
	assert_string_equal(mail_bounce_action_name(MAIL_BOUNCE_EXPANDED), "expanded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reports_are_read_as_they_should_be_written),
		cmocka_unit_test(reports_are_read_in_the_shapes_of_the_wild),
		cmocka_unit_test(reports_are_found_under_wrong_labels_and_in_wrong_places),
		cmocka_unit_test(internationalised_reports_are_read),
		cmocka_unit_test(complaints_are_told_from_bounces),
		cmocka_unit_test(filters_that_reject_by_a_disposition_bounce),
		cmocka_unit_test(facts_about_the_message_are_kept),
		cmocka_unit_test(what_we_write_we_read),
		cmocka_unit_test(recipients_beyond_the_limit_are_left_out),
		cmocka_unit_test(names_of_kinds_and_actions_are_those_of_the_interface),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
