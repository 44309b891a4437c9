/*
 * What a bounce, complaint or automatic reply says, for postrider explain.
 */
#include "cli/explain.h"

#include "mail/bounce.h"
#include "mail/mime.h"

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

static void print_rcpt(const struct mail_bounce_rcpt *rcpt)
{
	const struct smtpcodes_class_row *klass = smtpcodes_class(rcpt->klass);
	bool temporary = rcpt->verdict == SMTPCODES_TEMPORARY;
	char status[10];

	putchar('\n');
	cli_fact_print("Recipient", rcpt->address.n ? rcpt->address : SLICE("(not named)"));
	cli_fact_print("  in the end", rcpt->final);
	cli_fact_print("  action", slice_from_cstr(mail_bounce_action_name(rcpt->action)));
	cli_fact_print("  status", slice_of(status, smtpcodes_status_format(rcpt->status, status)));
	if (rcpt->reply)
		printf("%-12s %u\n", "  reply", rcpt->reply);
	cli_fact_print("  words", rcpt->diagnostic);
	cli_fact_print("  from", rcpt->remote);
	printf("%-12s %s: %s\n", "  class", klass->name, klass->meaning);
	printf("%-12s %s\n", "  verdict", smtpcodes_verdict_name(rcpt->verdict));
	if (rcpt->verdict != SMTPCODES_UNKNOWN) {
		enum smtpcodes_actor actor = temporary ? klass->actor_temporary : klass->actor_permanent;

		cli_fact_print("  who acts", slice_from_cstr(smtpcodes_actor_name(actor)));
		cli_fact_print("  advice",
			       slice_from_cstr(temporary ? klass->advice_temporary : klass->advice_permanent));
	}
}

static void print_bounce(const struct mail_bounce *b)
{
	cli_fact_print("Kind", slice_from_cstr(mail_bounce_kind_name(b->kind)));
	cli_fact_print("Form", slice_from_cstr(b->form));
	cli_fact_print("Reporter", b->reporter);
	cli_fact_print("Complaint", b->feedback_type);
	cli_fact_print("Message-ID", b->message_id);
	cli_fact_print("Our id", b->own_id);
	cli_fact_print("Envelope id", b->envelope_id);
	for (size_t i = 0; i < b->rcpt_count; i++)
		print_rcpt(&b->rcpt[i]);
	if (b->more)
		printf("\nThere are more recipients; these are the first %zu.\n", b->rcpt_count);
}

static json_t *json_rcpt(const struct mail_bounce_rcpt *rcpt, bool details)
{
	const char *action = mail_bounce_action_name(rcpt->action);
	json_t *one = json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "address", cli_json_text_or_null(rcpt->address), "action",
		action ? json_string(action) : json_null(), "status", cli_json_status(rcpt->status), "reply",
		rcpt->reply ? json_integer(rcpt->reply) : json_null(), "diagnostic",
		cli_json_text_or_null(rcpt->diagnostic), "remote", cli_json_text_or_null(rcpt->remote), "class",
		smtpcodes_class(rcpt->klass)->name, "verdict", smtpcodes_verdict_name(rcpt->verdict));

	if (details)
		json_object_set_new(one, "final", cli_json_text_or_null(rcpt->final));
	return one;
}

static json_t *json_of(const struct mail_bounce *b, bool details)
{
	json_t *recipients = json_array();

	for (size_t i = 0; i < b->rcpt_count; i++)
		json_array_append_new(recipients, json_rcpt(&b->rcpt[i], details));
	json_t *all = json_pack("{s:s, s:o}", "kind", mail_bounce_kind_name(b->kind), "recipients", recipients);
	if (!details)
		return all;
	json_t *more =
		json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "more", b->more, "form",
			  b->form ? json_string(b->form) : json_null(), "message_id",
			  cli_json_text_or_null(b->message_id), "own_id", cli_json_text_or_null(b->own_id),
			  "envelope_id", cli_json_text_or_null(b->envelope_id), "reporter",
			  cli_json_text_or_null(b->reporter), "feedback_type", cli_json_text_or_null(b->feedback_type));
	json_object_update(all, more);
	json_decref(more);
	return all;
}

bool cli_explain_message(struct slice message, const struct mail_bounce_config *config, bool details, json_t **ret_json)
{
	struct mail_bounce b;
	bool good = mail_bounce_read(message, config, &b);

	if (good && ret_json)
		*ret_json = json_of(&b, details);
	else if (good)
		print_bounce(&b);
	mail_bounce_free(&b);
	return good;
}
