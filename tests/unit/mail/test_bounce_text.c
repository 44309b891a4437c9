/* Reports of servers that write for people alone, and mail that is no report. */
#include "bounce_check.h"

#define DAEMON  "From: Mail Delivery System <MAILER-DAEMON@mx.example.com>\nTo: alice@example.com\n"
#define SUBJECT "Subject: Undelivered Mail Returned to Sender\n\n"
#define BOB_550 "bounce; bob@example.net failed 5.1.1 550 mx.example.net bad-mailbox permanent"
#define COPY \
	"\nFrom: alice@example.com\nTo: list@example.org\nMessage-ID: <1@example.com>\n\n<x@example.net>:\n550 no\n"

static const struct bounce_sample old_and_odd[] = {
	{"Postfix before it wrote reports",
	 DAEMON SUBJECT "This is the Postfix program at host mx.example.com.\n\nI'm sorry to have to inform "
			"you that the message "
			"returned\nbelow could not be delivered to one or more destinations.\n\nFor further "
			"assistance, please contact "
			"<postmaster@example.com>\n\n\t\t\tThe Postfix program\n\n<bob@example.net>: host "
			"mx.example.net[192.0.2.1] said: "
			"550 5.1.1\n    <bob@example.net>: User unknown\n\n<carol@example.org>: Name service "
			"error for example.org: Host not\n"
			"    found\n",
	 BOB_550 "; carol@example.org failed - - - bad-domain permanent"},
	{"Exim",
	 DAEMON
	 "X-Failed-Recipients: bob@example.net\n" SUBJECT
	 "This message was created automatically by mail delivery software.\n\nA message that you sent could "
	 "not be delivered "
	 "to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  "
	 "bob@example.net\n    SMTP error from remote mail server after RCPT TO:<bob@example.net>:\n    host "
	 "mx.example.net "
	 "[192.0.2.1]: 550 5.1.1 User unknown\n\n------ This is a copy of the message, including all the "
	 "headers. ------\n" COPY,
	 BOB_550},
	{"Exim, two of them and one late",
	 DAEMON SUBJECT
	 "The following address(es) failed:\n\n  bob@example.net\n    mailbox is full\n  carol@example.net\n   "
	 " "
	 "user unknown\n\nThe message has not yet been delivered to the following addresses:\n\n  "
	 "dave@example.net\n    host "
	 "mx.example.net [192.0.2.1]: connection refused\n\n------ This is a copy of the message ------\n" COPY,
	 "bounce; bob@example.net failed - - - full-mailbox permanent; carol@example.net failed - - - "
	 "bad-mailbox permanent; "
	 "dave@example.net delayed - - mx.example.net network temporary"},
	{"sendmail",
	 DAEMON SUBJECT
	 "The original message was received at Mon, 1 Jan 2024 00:00:00 GMT\nfrom localhost\n\n   ----- The "
	 "following addresses had permanent fatal errors -----\n<bob@example.net>\n    (reason: 550 5.1.1 User "
	 "unknown)\n\n   "
	 "----- Transcript of session follows -----\n... while talking to mx.example.net.:\n>>> RCPT "
	 "To:<bob@example.net>\n<<< 550 5.1.1 User unknown\n550 5.1.1 <bob@example.net>... User unknown\n\n   "
	 "----- Original "
	 "message follows -----\n" COPY,
	 BOB_550},
	{"sendmail, late",
	 DAEMON "Subject: Warning: could not send message for past 4 hours\n\n    "
		"**********************************************\n"
		"    **      THIS IS A WARNING MESSAGE ONLY      **\n    "
		"**********************************************\n\n   ----- The "
		"following addresses had transient non-fatal errors -----\n<bob@example.net>\n\n   ----- "
		"Transcript of session follows "
		"-----\n<bob@example.net>... Deferred: Connection refused by mx.example.net.\nWarning: message "
		"still undelivered after 4 "
		"hours\nWill keep trying until message is 5 days old\n",
	 "bounce; bob@example.net delayed - - - network temporary"},
	{"qmail",
	 "Return-Path: <>\nFrom: MAILER-DAEMON@mx.example.com\nTo: alice@example.com\nSubject: failure "
	 "notice\n\nHi. This is the "
	 "qmail-send program at mx.example.com.\nI'm afraid I wasn't able to deliver your message to the "
	 "following "
	 "addresses.\nThis is a permanent error; I've given up. Sorry it didn't work "
	 "out.\n\n<bob@example.net>:\n192.0.2.1 does "
	 "not like recipient.\nRemote host said: 550 5.1.1 No such user\nGiving up on "
	 "192.0.2.1.\n\n<carol@example.net>:\nSorry, "
	 "I couldn't find any host named example.net. (#5.1.2)\n\n--- Below this line is a copy of the "
	 "message.\n" COPY,
	 "bounce; bob@example.net failed 5.1.1 550 192.0.2.1 bad-mailbox permanent; carol@example.net failed "
	 "5.1.2 - - bad-domain "
	 "permanent"},
	{"Exchange of old",
	 "From: System Administrator <postmaster@example.net>\nTo: alice@example.com\nSubject: Undeliverable: "
	 "Lunch\n\nYour "
	 "message\n\n  To:      list@example.org\n  Subject: User unknown in the quota\n  Sent:    Mon, 1 Jan "
	 "2024\n\ndid not "
	 "reach the following recipient(s):\n\nbob@example.net on Mon, 1 Jan 2024 00:00:00 +0000\n    The "
	 "recipient name is not "
	 "recognized\n    MSEXCH:IMS:EXAMPLE:NET:MX 0 (000C05A6) Unknown Recipient\n\n"
	 "c=US;a= ;p=EX;o=N;dda:SMTP=carol@example.net; on Mon, 1 Jan 2024\n    The message exceeds the size "
	 "limit\n",
	 "bounce; bob@example.net failed - - - bad-mailbox permanent; carol@example.net failed - - - size "
	 "permanent"},
	{"Exchange of 2007, in HTML",
	 "From: postmaster@example.net\nTo: alice@example.com\nSubject: Undeliverable: Lunch\nContent-Type: "
	 "text/html; "
	 "charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
	 "PGh0bWw+PGhlYWQ+PHN0eWxlPnAgeyBjb2xvcjogcmVkIH08L3N0eWxlPjwvaGVhZD48Ym9keT48\n"
	 "cD48Yj5EZWxpdmVyeSBoYXMgZmFpbGVkIHRvIHRoZXNlIHJlY2lwaWVudHMgb3IgZGlzdHJpYnV0\n"
	 "aW9uIGxpc3RzOjwvYj48L3A+PHA+PGEgaHJlZj0ibWFpbHRvOmJvYkBleGFtcGxlLm5ldCI+Ym9i\n"
	 "QGV4YW1wbGUubmV0PC9hPjxicj5UaGUgcmVjaXBpZW50JiMzOTtzIG1haWxib3ggaXMgZnVsbC48\n"
	 "L3A+PC9ib2R5PjwvaHRtbD4K\n",
	 "bounce; bob@example.net failed - - - full-mailbox permanent"},
	{"Exchange of today",
	 "From: Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@example.com>\nTo: "
	 "alice@example.com\nSubject: "
	 "Undeliverable: Lunch\n\nYour message to bob@example.net couldn't be delivered.\n\nbob wasn't found "
	 "at example.net.\n\n"
	 "Error Details\nError: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address "
	 "lookup\n",
	 "bounce; bob@example.net failed 5.1.10 550 - bad-mailbox permanent"},
	{"Exchange in German",
	 "From: Systemadministrator <postmaster@example.net>\nTo: alice@example.com\nSubject: Unzustellbar: "
	 "Mittag\n\nIhre "
	 "Nachricht hat einige oder alle Empf\xc3\xa4nger nicht erreicht.\n\n      Betreff: "
	 "Mittag\n\nFolgende(r) Empf\xc3\xa4nger "
	 "kann nicht erreicht werden:\n\n      bob@example.net am 01.01.2024 00:00\n            550 5.1.1 User "
	 "unknown\n",
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent"},
	{"Google",
	 "From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>\nTo: alice@example.com\nSubject: "
	 "Delivery Status Notification "
	 "(Failure)\n\nAddress not found\n\nYour message wasn\xe2\x80\x99t delivered to bob@example.net "
	 "because the address couldn't "
	 "be found, or is unable to receive mail.\n\nThe response from the remote server was:\n\n550 5.1.1 "
	 "User unknown\n",
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent"},
	{"Google, late",
	 "From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>\nTo: alice@example.com\nSubject: "
	 "Delivery Status Notification "
	 "(Delay)\n\nThere was a temporary problem delivering your message to bob@example.net. Gmail will "
	 "retry for 47 more hours.\n",
	 "bounce; bob@example.net delayed - - - system temporary"},
	{"Lotus Notes",
	 "From: Postmaster@example.net\nTo: alice@example.com\nSubject: DELIVERY FAILURE: User bob not "
	 "listed\n\nYour message\n\n  "
	 "Subject: Lunch\n\nwas not delivered to:\n\n  bob@example.net\n\nbecause:\n\n  User bob "
	 "(bob@example.net) not listed in "
	 "Domino Directory\n",
	 "bounce; bob@example.net failed - - - bad-mailbox permanent"},
	{"Novell GroupWise",
	 "From: Mail System <postmaster@example.net>\nTo: alice@example.com\nSubject: Message status - "
	 "undeliverable\n\nThe message "
	 "that you sent was undeliverable to the following:\n\tbob@example.net (user unknown)\n\nPossibly "
	 "truncated original message "
	 "follows:\n\n<carol@example.net>:\n",
	 "bounce; bob@example.net failed - - - bad-mailbox permanent"},
	{"CompuServe",
	 "From: CompuServe Postmaster <postmaster@compuserve.example>\nTo: alice@example.com\nSubject: "
	 "Undeliverable message\n\nYour "
	 "message could not be delivered as addressed.\n\nInvalid receiver address: bob@example.net\n\nNo such "
	 "user\n\n--- Returned message ---\n",
	 "bounce; bob@example.net failed - - - bad-mailbox permanent"},
	{"AOL, names without domain",
	 "From: Mail Delivery Subsystem <MAILER-DAEMON@aol.com>\nTo: alice@example.com\nSubject: Mail Delivery "
	 "Problem\n\nYour mail to "
	 "the following recipients could not be delivered because they are not accepting mail from "
	 "alice@example.com:\n\tbob\n",
	 "bounce; bob@aol.com failed - - - inactive-mailbox permanent"},
	{"Yahoo",
	 "From: MAILER-DAEMON@yahoo.com\nTo: alice@example.com\nSubject: Delivery failure\n\nMessage from "
	 "yahoo.com.\nUnable to deliver "
	 "message to the following address(es).\n\n<bob@example.net>:\nThis account has been disabled or "
	 "discontinued [#102].\n\n--- "
	 "Original message follows.\n" COPY,
	 "bounce; bob@example.net failed - - - inactive-mailbox permanent"},
	{"MDaemon",
	 "From: MDaemon@example.com\nTo: alice@example.com\nSubject: Permanent Delivery Failure\n\nThe "
	 "attached message had PERMANENT "
	 "fatal delivery errors!\n\nThe following addresses did NOT receive a copy of your message:\n\n> "
	 "bob@example.net\n\n--- Session "
	 "Transcript ---\n RCPT To:<bob@example.net>\n 552 5.2.2 <bob@example.net> mailbox full\n QUIT\n--- "
	 "End Transcript ---\n",
	 "bounce; bob@example.net failed 5.2.2 552 - full-mailbox permanent"},
	{"IMail",
	 "From: Postmaster <postmaster@example.com>\nTo: alice@example.com\nSubject: Undeliverable "
	 "Mail\nX-Mailer: <SMTP32 v8.15>\n\n"
	 "Unknown user: bob@example.net\n\nRCPT TO generated following response:\n550 5.1.1 No such "
	 "user\n\nUnknown host: "
	 "carol@example.org\n\nOriginal message follows.\n" COPY,
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent; carol@example.org failed - - - "
	 "bad-domain permanent"},
	{"Netscape",
	 "From: Mail Administrator <Postmaster@example.com>\nTo: alice@example.com\nSubject: Mail System Error "
	 "- Returned Mail\n\nThis "
	 "Message was undeliverable due to the following reason:\n\nEach of the following recipients was "
	 "rejected by a remote mail "
	 "server.\n\n    Recipient: <bob@example.net>\n    Reason:    550 5.1.1 User unknown\n\nThe following "
	 "recipients did not receive "
	 "your message:\n\n     <bob@example.net>\n\nPlease reply to Postmaster@example.com\n",
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent"},
	{"CommuniGate",
	 "From: MAILER-DAEMON@example.com\nTo: alice@example.com\nSubject: Undeliverable mail\n\nFailed to "
	 "deliver to 'bob@example.net'\n"
	 "SMTP module(domain example.net) reports:\n  bob@example.net: 550 5.1.1 unknown user account\n",
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent"},
	{"Courier",
	 "From: \"Courier mail server at mx.example.com\" <postmaster@example.com>\nTo: "
	 "alice@example.com\nSubject: NOTICE: mail delivery "
	 "status.\n\nUNDELIVERABLE MAIL\n\nYour message to the following recipients cannot be "
	 "delivered:\n\n<bob@example.net>:\n    "
	 "mx.example.net [192.0.2.1]:\n>>> RCPT TO:<bob@example.net>\n<<< 550 5.1.1 User unknown\n",
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent"},
	{"OpenSMTPD, late",
	 DAEMON "Subject: Delivery status notification: delayed\n\n    Hi!\n\n    This is the MAILER-DAEMON, "
		"please DO NOT REPLY to this "
		"email.\n\n    A message is delayed for more than 4 hours for the following\n    list of "
		"recipients:\n\nbob@example.net: "
		"Connection refused\n",
	 "bounce; bob@example.net delayed - - - network temporary"},
	{"InterScan",
	 "From: imss@example.com\nTo: alice@example.com\nSubject: Mail could not be delivered\n\nSent <<< RCPT "
	 "TO:<bob@example.net>\nReceived >>> 550 5.1.1 unknown user.\n\nUnable to deliver message to "
	 "<bob@example.net>.\n",
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent"},
	{"any language, by its shape",
	 DAEMON
	 "Subject: =?gb2312?B?16LS4g==?=\n\n\xd3\xca\xbc\xfe\n\n<bob@example.net>:\n550 5.1.1 User unknown\n",
	 "bounce; bob@example.net failed 5.1.1 550 - bad-mailbox permanent"},
	{"delivered, by a server that writes words",
	 DAEMON "Subject: Delivery Status Notification (Relay)\n\nYour message has been successfully relayed "
		"to the following "
		"recipients, but the requested delivery status notifications may not be generated.\n\n  "
		"bob@example.net\n",
	 "other; bob@example.net delivered - - - unknown unknown"},
	{"the subject of the original is no reason",
	 DAEMON SUBJECT
	 "The subject of the message is:     Mailbox is full\n\nThe address to which the message has not yet "
	 "been delivered is:\n\n  bob@example.net\n\nNo action is required on your part.\n",
	 "bounce; bob@example.net delayed - - - unknown temporary"},
	{"no recipient named", DAEMON SUBJECT "Your message could not be delivered.\n", "bounce"},
	{"a code in other words",
	 DAEMON SUBJECT "------ Failed Recipients ------\n\n<bob@example.net>: Requested action not taken. "
			"[SMTP Error Code 552]\n",
	 "bounce; bob@example.net failed - 552 - unknown permanent"},
};

static void old_and_odd_servers_are_understood(void **state)
{
	(void)state;
	check_samples(old_and_odd, ROWS(old_and_odd));
}

static void the_original_of_a_text_gives_the_message_id(void **state)
{
	(void)state;
	struct slice message =
		SLICE(DAEMON SUBJECT "<bob@example.net>:\nno\n\n--- Below this line is a copy of the message.\n" COPY);
	struct mail_bounce b;

	assert_true(mail_bounce_read(message, NULL, &b));
	assert_int_equal(b.rcpt_count, 1);
	assert_slice(b.message_id, "<1@example.com>");
	mail_bounce_free(&b);
}

#define QUOTED_BOUNCE                                                                                                 \
	"Hi. This is the qmail-send program at mx.example.com.\nI'm afraid I wasn't able to deliver your message to " \
	"the "                                                                                                        \
	"following addresses.\n\n<bob@example.net>:\n550 5.1.1 User unknown\n"

static void what_is_no_bounce_is_none(void **state)
{
	(void)state;
#define ALICE "From: Alice <alice@example.com>\nTo: bob@example.net\n"
	static const struct bounce_sample samples[] = {
		{"a letter", ALICE "Subject: Lunch\n\nHow about noon?\n", "other"},
		{"a letter that quotes a bounce", ALICE "Subject: help!\n\nI got this:\n\n" QUOTED_BOUNCE, "other"},
		{"an answer to a bounce", ALICE "Subject: Re: Undelivered Mail Returned to Sender\n\n" QUOTED_BOUNCE,
		 "other"},
		{"a bounce sent on", ALICE "Subject: Fwd: failure notice\n\n" QUOTED_BOUNCE, "other"},
		{"a bounce attached to a letter",
		 ALICE "Subject: look\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSee "
		       "there.\n--b\nContent-Type: message/rfc822\n\n"
		       "Content-Type: message/delivery-status\n\nFinal-Recipient: rfc822; bob@example.net\nAction: "
		       "failed\n\n--b--\n",
		 "other"},
		{"a letter of the postmaster",
		 "From: postmaster@example.com\nSubject: Maintenance\n\nTonight at nine.\n", "other"},
		{"vacation",
		 ALICE "Auto-Submitted: auto-replied\nSubject: Re: Lunch\n\n<bob@example.net>: I am away.\n",
		 "auto-reply"},
		{"vacation with the null reverse-path",
		 "Return-Path: <>\n" ALICE "Auto-Submitted: auto-replied (vacation)\nSubject: Lunch\n\nI am away.\n",
		 "auto-reply"},
		{"vacation by its subject", ALICE "Subject: Out of Office: Lunch\n\nI am away until Monday.\n",
		 "auto-reply"},
		{"vacation by an encoded subject",
		 ALICE "Subject: =?iso-8859-1?Q?R=E9ponse_automatique_:?=\n =?iso-8859-1?B?ZGVqZXVuZXI=?=\n\nJe suis "
		       "absent.\n",
		 "auto-reply"},
		{"vacation by another field", ALICE "X-Autoreply: yes\nSubject: Lunch\n\nAway.\n", "auto-reply"},
		{"vacation by its precedence", ALICE "Precedence: auto_reply\nSubject: Thanks\n\nWe got it.\n",
		 "auto-reply"},
		{"vacation that says where its owner went",
		 ALICE "Auto-Submitted: auto-replied\nSubject: Gone\n\nYour message to bob@example.net could not be "
		       "delivered to me.\n",
		 "auto-reply"},
		{"the same with the null reverse-path",
		 "Return-Path: <>\n" ALICE "Auto-Submitted: auto-replied\nSubject: Gone\n\nYour message to "
					   "bob@example.net could not be delivered to me.\n",
		 "auto-reply"},
		{"a notice of a program", ALICE "Auto-Submitted: auto-generated\nSubject: Backup done\n\nAll well.\n",
		 "other"},
		{"mail of a list",
		 ALICE
		 "Precedence: list\nList-Id: <l.example.org>\nSubject: [l] undelivered packets\n\nRouters drop them.\n",
		 "other"},
		{"nothing", "", "other"},
		{"no header", "\n\nThe following addresses failed:\n\n<bob@example.net>: 550 no\n", "other"},
		{"a receipt",
		 ALICE "Subject: Read: Lunch\nContent-Type: multipart/report; report-type=disposition-notification; "
		       "boundary=b\n\n--b\n"
		       "Content-Type: message/disposition-notification\n\nFinal-Recipient: "
		       "rfc822;bob@example.net\nDisposition: "
		       "manual-action/MDN-sent-manually; displayed\n\n--b--\n",
		 "auto-reply"},
	};

	check_samples(samples, ROWS(samples));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(old_and_odd_servers_are_understood),
		cmocka_unit_test(the_original_of_a_text_gives_the_message_id),
		cmocka_unit_test(what_is_no_bounce_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
