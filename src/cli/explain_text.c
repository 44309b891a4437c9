/*
 * What a reply, a code, or a text that holds one means, in words and as JSON.
 */
#include "cli/explain.h"

#define LINES_SHOWN  20   /* of a reply */
#define OCTETS_SHOWN 1000 /* of a line */

static struct slice span(struct smtpcodes_span s)
{
	return slice_of(s.p, s.n);
}

void cli_fact_print(const char *label, struct slice text)
{
	if (text.n == 0)
		return;
	printf("%-12s ", label);
	cli_print(stdout, text);
	putchar('\n');
}

static void print_line(const char *label, const char *text)
{
	cli_fact_print(label, slice_from_cstr(text));
}

static void print_code(const struct smtpcodes_code_row *row)
{
	if (!row)
		return;
	printf("%-12s %u: %s (%s)\n", "Reply code", row->code, row->meaning, smtpcodes_standing_name(row->standing));
	print_line("  source", row->source);
	print_line("  drawn by", row->commands);
	print_line("  client", row->client);
	print_line("  note", row->note);
}

/* The row of the catalogue that says most of the code, and what its first digit says. */
static void print_status(const struct smtpcodes_explanation *e)
{
	const struct smtpcodes_status_row *row = e->detail_row ? e->detail_row : e->subject_row;
	struct smtpcodes_status status = e->status.klass ? e->status : e->finding.status;
	char text[10];

	if (row) {
		bool whole = e->detail_row && smtpcodes_status_format(status, text) > 0;
		printf("%-12s %s: %s. %s\n", "Status", whole ? text : row->text, row->sample, row->meaning);
		print_line("  source", row->source);
		print_line("  note", row->note);
	}
	if (e->class_row)
		printf("%-12s %s: %s. %s\n", row ? "  its class" : "Status", e->class_row->text, e->class_row->sample,
		       e->class_row->meaning);
}

/* ---- who decided what ---------------------------------------------------------------------------------------- */

static const char *const deciders[] = {
	[SMTPCODES_BY_NOTHING] = NULL,
	[SMTPCODES_BY_CODE] = "code",
	[SMTPCODES_BY_TEXT] = "text",
	[SMTPCODES_BY_OPERATOR] = "operator",
};

static void print_decider(const struct smtpcodes_finding *f)
{
	static const char *const words[] = {
		[SMTPCODES_BY_CODE] = "the codes",
		[SMTPCODES_BY_TEXT] = "the text",
		[SMTPCODES_BY_OPERATOR] = "a rule of the configuration",
	};

	if (!f->rule)
		return;
	printf("%-12s %s: ", "Decided by", words[f->decided_by]);
	cli_print(stdout, span(f->rule->name));
	if (f->rule->note.n) {
		printf(", ");
		cli_print(stdout, span(f->rule->note));
	}
	putchar('\n');
}

/* The text has decided against the codes: what each of them says. */
static void print_disagreement(const struct smtpcodes_explanation *e)
{
	const struct smtpcodes_finding *f = &e->finding;
	enum smtpcodes_verdict by_codes = smtpcodes_verdict(e->code, f->status);

	if (!f->disagreement)
		return;
	print_line("But", f->disagreement);
	printf("%-12s %s", "  the codes", f->code_rule ? smtpcodes_class(f->code_rule->klass)->name : "no class");
	if (by_codes != SMTPCODES_UNKNOWN)
		printf(", %s", smtpcodes_verdict_name(by_codes));
	printf("\n%-12s %s, %s: this decides\n", f->decided_by == SMTPCODES_BY_OPERATOR ? "  the rule" : "  the text",
	       smtpcodes_class(f->klass)->name, smtpcodes_verdict_name(f->verdict));
}

static void print_finding(const struct smtpcodes_explanation *e)
{
	const struct smtpcodes_finding *f = &e->finding;
	const char *again = f->verdict == SMTPCODES_TEMPORARY   ? "yes: the same may work later"
			    : f->verdict == SMTPCODES_PERMANENT ? "no: the same will fail again"
								: "";

	printf("%-12s %s: %s\n", "Class", smtpcodes_class(f->klass)->name, smtpcodes_class(f->klass)->meaning);
	print_line("Verdict", smtpcodes_verdict_name(f->verdict));
	print_line("Try again", again);
	print_line("Who acts", smtpcodes_actor_name(f->actor));
	print_line("Advice", f->advice);
	print_decider(f);
	print_disagreement(e);
}

/* ---- the whole ----------------------------------------------------------------------------------------------- */

static void print_reply(struct slice reply)
{
	size_t lines = 0;

	for (; reply.p && reply.n; lines++) {
		struct slice line = slice_trim(slice_split(&reply, '\n'));

		if (lines >= LINES_SHOWN)
			continue;
		printf("%-12s ", lines == 0 ? "Text" : "");
		cli_print(stdout, slice_head(line, OCTETS_SHOWN));
		printf(line.n > OCTETS_SHOWN ? " ...\n" : "\n");
	}
	if (lines > LINES_SHOWN)
		printf("%-12s ... and %zu more line%s\n", "", lines - LINES_SHOWN, lines - LINES_SHOWN == 1 ? "" : "s");
}

void cli_explanation_print(const struct smtpcodes_explanation *e)
{
	print_reply(span(e->reply));
	print_code(e->code_row);
	print_status(e);
	print_finding(e);
}

static json_t *json_code(const struct smtpcodes_code_row *row)
{
	return row ? json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "code", (int)row->code, "meaning",
			       row->meaning, "standing", smtpcodes_standing_name(row->standing), "source", row->source,
			       "commands", row->commands, "client", row->client, "actor",
			       smtpcodes_actor_name(row->actor), "advice", row->advice)
		   : json_null();
}

static json_t *json_status(const struct smtpcodes_status_row *row)
{
	return row ? json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "status", row->text, "sample", row->sample,
			       "meaning", row->meaning, "standing", smtpcodes_standing_name(row->standing), "source",
			       row->source, "actor", smtpcodes_actor_name(row->actor), "advice", row->advice)
		   : json_null();
}

static json_t *json_text(const char *text)
{
	return text ? json_string(text) : json_null();
}

/* What the codes say without the text. */
static json_t *json_codes_alone(const struct smtpcodes_explanation *e)
{
	const struct smtpcodes_finding *f = &e->finding;

	return json_pack("{s:o, s:s}", "class",
			 json_text(f->code_rule ? smtpcodes_class(f->code_rule->klass)->name : NULL), "verdict",
			 smtpcodes_verdict_name(smtpcodes_verdict(e->code, f->status)));
}

static json_t *json_rule(const struct smtpcodes_rule *rule)
{
	return rule ? json_pack("{s:o, s:o}", "name", cli_json_text(span(rule->name)), "note",
				cli_json_text_or_null(span(rule->note)))
		    : json_null();
}

json_t *cli_explanation_json(const struct smtpcodes_explanation *e)
{
	const struct smtpcodes_finding *f = &e->finding;
	const struct smtpcodes_status_row *row = e->detail_row    ? e->detail_row
						 : e->subject_row ? e->subject_row
								  : e->class_row;

	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "code",
			 e->code ? json_integer(e->code) : json_null(), "status", cli_json_status(e->status), "text",
			 cli_json_text_or_null(span(e->reply)), "reply_code", json_code(e->code_row), "enhanced_code",
			 json_status(row), "class", smtpcodes_class(f->klass)->name, "verdict",
			 smtpcodes_verdict_name(f->verdict), "actor", smtpcodes_actor_name(f->actor), "advice",
			 f->advice ? f->advice : "", "decided_by", json_text(deciders[f->decided_by]), "rule",
			 json_rule(f->rule), "disagreement", json_text(f->disagreement), "codes_alone",
			 json_codes_alone(e));
}
