/*
 * What a bounce, complaint or automatic reply says, for postrider explain.
 */
#include "cli/explain_bounce.h"

#include "mail/bounce.h"
#include "mail/mime.h"

#include <sysexits.h>

#define LOOK_LINES 40

/* The field is one of a message's header: those of a report, pasted alone, have others. */
static bool is_of_header(struct slice line)
{
	static const char *const names[] = {"From",         "To",          "Date",        "Subject",
					    "Received",     "Message-ID",  "Return-Path", "MIME-Version",
					    "Content-Type", "Delivered-To"};
	struct slice name = slice_trim(slice_head(line, slice_find(line, ':')));

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (slice_ieq(name, slice_from_cstr(names[i])))
			return true;
	return false;
}

bool cli_is_message(struct slice text)
{
	struct slice rest = text;
	unsigned fields = 0;
	bool known = false;

	for (unsigned lines = 0; rest.p && lines < LOOK_LINES; lines++) {
		struct slice line = slice_split(&rest, '\n');
		bool folded = fields > 0 && line.n && (line.p[0] == ' ' || line.p[0] == '\t');

		if (lines == 0 && slice_starts(line, SLICE("From ")))
			continue;
		if (folded)
			continue;
		if (!mail_line_is_field(line) || slice_find(line, ' ') < slice_find(line, ':'))
			break;
		known |= is_of_header(line);
		fields++;
	}
	return known && fields >= 2;
}

static void print_fact(const char *label, struct slice text)
{
	if (text.n == 0)
		return;
	printf("%-12s ", label);
	cli_print(stdout, text);
	putchar('\n');
}

static void print_rcpt(const struct mail_bounce_rcpt *rcpt)
{
	const struct smtpcodes_class_row *klass = smtpcodes_class(rcpt->klass);
	bool temporary = rcpt->verdict == SMTPCODES_TEMPORARY;
	char status[10];

	putchar('\n');
	print_fact("Recipient", rcpt->address.n ? rcpt->address : SLICE("(not named)"));
	print_fact("  in the end", rcpt->final);
	print_fact("  action", slice_from_cstr(mail_bounce_action_name(rcpt->action)));
	print_fact("  status", slice_of(status, smtpcodes_status_format(rcpt->status, status)));
	if (rcpt->reply)
		printf("%-12s %u\n", "  reply", rcpt->reply);
	print_fact("  words", rcpt->diagnostic);
	print_fact("  from", rcpt->remote);
	printf("%-12s %s: %s\n", "  class", klass->name, klass->meaning);
	printf("%-12s %s\n", "  verdict", smtpcodes_verdict_name(rcpt->verdict));
	if (rcpt->verdict != SMTPCODES_UNKNOWN) {
		enum smtpcodes_actor actor = temporary ? klass->actor_temporary : klass->actor_permanent;

		print_fact("  who acts", slice_from_cstr(smtpcodes_actor_name(actor)));
		print_fact("  advice", slice_from_cstr(temporary ? klass->advice_temporary : klass->advice_permanent));
	}
}

static void print_bounce(const struct mail_bounce *b)
{
	print_fact("Kind", slice_from_cstr(mail_bounce_kind_name(b->kind)));
	print_fact("Form", slice_from_cstr(b->form));
	print_fact("Reporter", b->reporter);
	print_fact("Complaint", b->feedback_type);
	print_fact("Message-ID", b->message_id);
	print_fact("Our id", b->own_id);
	print_fact("Envelope id", b->envelope_id);
	for (size_t i = 0; i < b->rcpt_count; i++)
		print_rcpt(&b->rcpt[i]);
	if (b->more)
		printf("\nThere are more recipients; these are the first %zu.\n", b->rcpt_count);
}

static json_t *json_rcpt(const struct mail_bounce_rcpt *rcpt)
{
	const char *action = mail_bounce_action_name(rcpt->action);

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "address",
			 cli_json_text_or_null(rcpt->address), "final", cli_json_text_or_null(rcpt->final), "action",
			 action ? json_string(action) : json_null(), "status", cli_json_status(rcpt->status), "reply",
			 rcpt->reply ? json_integer(rcpt->reply) : json_null(), "diagnostic",
			 cli_json_text_or_null(rcpt->diagnostic), "remote", cli_json_text_or_null(rcpt->remote),
			 "class", smtpcodes_class(rcpt->klass)->name, "verdict", smtpcodes_verdict_name(rcpt->verdict));
}

static void print_json(const struct mail_bounce *b)
{
	json_t *recipients = json_array();

	for (size_t i = 0; i < b->rcpt_count; i++)
		json_array_append_new(recipients, json_rcpt(&b->rcpt[i]));
	cli_json_print(json_pack(
		"{s:s, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "kind", mail_bounce_kind_name(b->kind), "recipients",
		recipients, "more", b->more, "form", b->form ? json_string(b->form) : json_null(), "message_id",
		cli_json_text_or_null(b->message_id), "own_id", cli_json_text_or_null(b->own_id), "envelope_id",
		cli_json_text_or_null(b->envelope_id), "reporter", cli_json_text_or_null(b->reporter), "feedback_type",
		cli_json_text_or_null(b->feedback_type)));
}

int cli_explain_message(const struct cli_command *self, struct slice message, struct slice our_name, bool json)
{
	struct mail_bounce b;
	int status = EX_OK;

	if (!mail_bounce_read(message, our_name, &b))
		status = cli_fail(self, EX_OSERR, "there is no memory for it");
	else if (json)
		print_json(&b);
	else
		print_bounce(&b);
	mail_bounce_free(&b);
	return status;
}
