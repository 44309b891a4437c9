/*
 * postrider explain: what a reply, a code, or a log line that holds one means, and who has to do what; and what a
 * bounce says (explain_bounce.c).
 */
#include "cli/explain_bounce.h"

#include "net/host.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)64 << 20)

const struct cli_option cli_explain_options[] = {
	{"json", 0, NULL, "print one JSON object"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};

static struct slice span(struct smtpcodes_span s)
{
	return slice_of(s.p, s.n);
}

static void print_line(const char *label, const char *text)
{
	if (text && text[0])
		printf("%-12s %s\n", label, text);
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

static void print_status(const char *label, const struct smtpcodes_status_row *row)
{
	if (!row)
		return;
	printf("%-12s %s: %s. %s\n", label, row->text, row->sample, row->meaning);
	print_line("  source", row->source);
	print_line("  note", row->note);
}

static void print_verdict(const struct smtpcodes_explanation *e)
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
	print_line("But", f->disagreement);
}

static void print_text(const struct smtpcodes_explanation *e)
{
	if (e->reply.n) {
		printf("%-12s ", "Text");
		cli_print(stdout, span(e->reply));
		putchar('\n');
	}
	print_code(e->code_row);
	print_status("Status", e->detail_row ? e->detail_row : e->subject_row);
	if (!e->detail_row && !e->subject_row)
		print_status("Status", e->class_row);
	print_verdict(e);
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

static void print_json(const struct smtpcodes_explanation *e)
{
	const struct smtpcodes_finding *f = &e->finding;
	const struct smtpcodes_status_row *row = e->detail_row    ? e->detail_row
						 : e->subject_row ? e->subject_row
								  : e->class_row;

	cli_json_print(json_pack("{s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:o}", "code",
				 e->code ? json_integer(e->code) : json_null(), "status", cli_json_status(e->status),
				 "text", cli_json_text_or_null(span(e->reply)), "reply_code", json_code(e->code_row),
				 "enhanced_code", json_status(row), "class", smtpcodes_class(f->klass)->name, "verdict",
				 smtpcodes_verdict_name(f->verdict), "actor", smtpcodes_actor_name(f->actor), "advice",
				 f->advice ? f->advice : "", "disagreement",
				 f->disagreement ? json_string(f->disagreement) : json_null()));
}

static bool read_input(int fd, struct buf *text)
{
	for (;;) {
		char piece[1 << 14];
		ssize_t n = read(fd, piece, sizeof piece);
		if (n <= 0)
			return n == 0;
		if (!buf_add(text, slice_of(piece, (size_t)n)))
			return false;
	}
}

/* Codes are never names of files. */
static bool is_code(const char *word)
{
	return word[strspn(word, "0123456789.xX-")] == '\0';
}

/* The file that the only word names; -1 when it names none. */
static int open_file(const char *word)
{
	struct stat st;

	if (!word || is_code(word) || stat(word, &st) != 0 || !S_ISREG(st.st_mode))
		return -1;
	return open(word, O_RDONLY | O_CLOEXEC);
}

static int explain_text(const struct cli_command *self, struct slice text, bool json)
{
	struct smtpcodes_explanation e;
	int status = EX_OK;
	struct buf name;

	if (cli_is_message(text)) {
		buf_init(&name, 256);
		host_name(&name);
		status = cli_explain_message(self, text, buf_slice(&name), json);
		buf_free(&name);
	} else if (!smtpcodes_explain(text.p ? text.p : "", text.n, NULL, &e)) {
		status = cli_fail(self, EX_DATAERR, "no reply code, status code or known text is in it");
	} else if (json) {
		print_json(&e);
	} else {
		print_text(&e);
	}
	return status;
}

int cli_explain(const struct cli_command *self, int argc, char **argv)
{
	struct cli_args args = {.command = self, .argc = argc, .argv = argv};
	const char *only = NULL;
	struct buf text;
	bool json = false;
	int option, status, file = -1;
	size_t words = 0;

	buf_init(&text, INPUT_MAX);
	while ((option = cli_next(&args)) != CLI_END) {
		if (option == CLI_BAD)
			return EX_USAGE;
		if (option == CLI_WORD) {
			only = words++ == 0 ? args.value : NULL;
			if (buf_len(&text))
				buf_add_char(&text, ' ');
			buf_add(&text, slice_from_cstr(args.value));
		} else if (option == 1) {
			cli_help(self);
			return EX_OK;
		} else {
			json = true;
		}
	}
	if (buf_len(&text) == 0)
		file = STDIN_FILENO;
	else
		file = open_file(only);
	if (file >= 0)
		buf_reset(&text);
	if (file >= 0 && !read_input(file, &text))
		status =
			cli_fail(self, EX_DATAERR, "the input cannot be read, or is longer than %zu octets", INPUT_MAX);
	else
		status = explain_text(self, buf_slice(&text), json);
	if (file > STDERR_FILENO)
		close(file);
	buf_free(&text);
	return status;
}
