/*
 * bounce_dump: what the reader makes of a message on standard input, line by line with tabs between the facts:
 *
 *	kind form message-id own-id envelope-id reporter feedback-type
 *	address final action status reply diagnostic remote class verdict
 *
 * The first line is about the message, each other one about a recipient; "-" is an absent fact.
 */
#include "base/buf.h"
#include "mail/bounce.h"

#include <stdio.h>

static void fact(struct slice s, char behind)
{
	if (s.n)
		fwrite(s.p, 1, s.n, stdout);
	else
		fputc('-', stdout);
	fputc(behind, stdout);
}

static void print_rcpt(const struct mail_bounce_rcpt *rcpt)
{
	char status[10];

	smtpcodes_status_format(rcpt->status, status);
	fact(rcpt->address, '\t');
	fact(rcpt->final, '\t');
	fact(slice_from_cstr(mail_bounce_action_name(rcpt->action)), '\t');
	fact(slice_from_cstr(status), '\t');
	printf("%u\t", rcpt->reply);
	fact(rcpt->diagnostic, '\t');
	fact(rcpt->remote, '\t');
	printf("%s\t%s\n", smtpcodes_class(rcpt->klass)->name, smtpcodes_verdict_name(rcpt->verdict));
}

int main(int argc, char **argv)
{
	static char piece[1 << 16];
	struct mail_bounce_config config = {.our_name = slice_from_cstr(argc > 1 ? argv[1] : NULL)};
	struct mail_bounce b;
	struct buf message;
	size_t n;

	buf_init(&message, (size_t)100 << 20);
	while ((n = fread(piece, 1, sizeof piece, stdin)) > 0)
		buf_add(&message, slice_of(piece, n));
	if (message.failed || !mail_bounce_read(buf_slice(&message), &config, &b))
		return 1;
	fact(slice_from_cstr(mail_bounce_kind_name(b.kind)), '\t');
	fact(slice_from_cstr(b.form), '\t');
	fact(b.message_id, '\t');
	fact(b.own_id, '\t');
	fact(b.envelope_id, '\t');
	fact(b.reporter, '\t');
	fact(b.feedback_type, '\n');
	for (size_t i = 0; i < b.rcpt_count; i++)
		print_rcpt(&b.rcpt[i]);
	mail_bounce_free(&b);
	buf_free(&message);
	return 0;
}
