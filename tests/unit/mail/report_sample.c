/*
 * Writes one of a few reports to standard output, for report_readers.py: its argument names it.
 */
#include <stdio.h>
#include <string.h>

#include "mail/report.h"

#define HEADER "From: alice@example.com\r\nTo: bob@example.net\r\nSubject: Lunch?\r\nMessage-ID: <1@example.com>\r\n"

static const struct mail_report_rcpt failed = {
	.address = {"bob@example.net", 15},
	.orcpt = {"rfc822;bob+40example.net", 24},
	.action = MAIL_REPORT_FAILED,
	.status = {5, 1, 1},
	.remote_mta = {"mx.example.net", 14},
	.diagnostic = {"550 5.1.1 <bob@example.net>: No such user here", 46},
	.explanation = {"There is no mailbox of that name at example.net.", 48},
	.last_attempt = 1795302245123,
};
static const struct mail_report_rcpt full_mailbox = {
	.address = {"carol@example.org", 17},
	.action = MAIL_REPORT_FAILED,
	.status = {5, 2, 2},
	.remote_mta = {"mx.example.org", 14},
	.diagnostic = {"552 5.2.2 Mailbox full", 22},
	.explanation = {"The mailbox is full.", 20},
};
static const struct mail_report_rcpt delayed = {
	.address = {"dave@example.net", 16},
	.action = MAIL_REPORT_DELAYED,
	.status = {4, 4, 1},
	.diagnostic = {"connection refused", 18},
	.explanation = {"The server of example.net does not answer.", 42},
	.will_retry_until = 1795702245123,
};
static const struct mail_report_rcpt delivered = {
	.address = {"erin@example.com", 16},
	.action = MAIL_REPORT_DELIVERED,
	.status = {2, 1, 5},
};

int main(int argc, char **argv)
{
	const char *kind = argc > 1 ? argv[1] : "";
	struct mail_report_rcpt rcpt[3];
	struct mail_report r = {
		.mta = SLICE("mail.example.com"),
		.from_address = SLICE("MAILER-DAEMON@mail.example.com"),
		.sender = SLICE("alice@example.com"),
		.envid = SLICE("QQ+2B1"),
		.id = SLICE("ABCDEFGHJKMN"),
		.arrival = 1795202245123,
		.now = 1795302245123,
		.token = SLICE("k3Jd8sLq0Zx7"),
		.rcpt = rcpt,
		.rcpt_count = 1,
		.wanted = MAIL_REPORT_RETURN_HEADER,
		.header = SLICE(HEADER),
		.original = SLICE(HEADER "\r\nHow about noon?\r\n"),
	};

	rcpt[0] = failed;
	if (strcmp(kind, "two") == 0) {
		rcpt[1] = full_mailbox;
		r.rcpt_count = 2;
		r.wanted = MAIL_REPORT_RETURN_FULL;
	} else if (strcmp(kind, "mixed") == 0) {
		rcpt[1] = delayed;
		rcpt[2] = delivered;
		r.rcpt_count = 3;
	} else if (strcmp(kind, "delayed") == 0) {
		rcpt[0] = delayed;
	} else if (strcmp(kind, "delivered") == 0) {
		rcpt[0] = delivered;
	} else if (strcmp(kind, "utf8") == 0) {
		rcpt[0].address = SLICE("j\xc3\xbcrgen@example.net");
		rcpt[0].diagnostic = SLICE("550 5.1.1 kein Empf\xc3\xa4nger");
		rcpt[0].orcpt = SLICE("utf-8;j\\x{FC}rgen@example.net");
		r.utf8 = true;
	} else if (strcmp(kind, "failed") != 0) {
		fputs("report_sample failed|two|mixed|delayed|delivered|utf8\n", stderr);
		return 64;
	}

	struct buf out;
	buf_init(&out, 1 << 20);
	if (!mail_report_write(&r, &out))
		return 70;
	fwrite(buf_slice(&out).p, 1, buf_len(&out), stdout);
	buf_free(&out);
	return 0;
}
