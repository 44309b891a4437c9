/*
 * postrider codes: the catalogue of reply codes and enhanced status codes, listed and searched.
 */
#include "cli/cli.h"

#include <string.h>
#include <strings.h>
#include <sysexits.h>

const struct cli_option cli_codes_options[] = {
	{"class", 0, "CLASS", "only codes about this, such as full-mailbox; see --classes"},
	{"who", 0, "WHO", "only where this one has to act: sender, operator, remote-operator or nobody"},
	{"verdict", 0, "VERDICT", "only success, intermediate, temporary or permanent"},
	{"standing", 0, "STANDING", "only standard, extension, registered, unregistered, historic or wild"},
	{"classes", 0, NULL, "list the classes instead: what replies can be about"},
	{"json", 0, NULL, "print a JSON array"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum { OPTION_CLASS, OPTION_WHO, OPTION_VERDICT, OPTION_STANDING, OPTION_CLASSES, OPTION_JSON, OPTION_HELP };

#define WORDS_MAX 32

struct search {
	const char *words[WORDS_MAX];
	size_t word_count;
	int klass, actor, verdict, standing; /* -1: any */
	bool json, classes;
};

/* A row of either table: exactly one of the two is there. */
struct row {
	const struct smtpcodes_code_row *code;
	const struct smtpcodes_status_row *status;
	char text[16]; /* "550", "X.7.1" */
	enum smtpcodes_standing standing;
	enum smtpcodes_actor actor;
	enum smtpcodes_class klass;
	unsigned verdicts; /* bits 1 << verdict */
	const char *meaning, *source, *advice, *note;
};

/* ---- rows ---------------------------------------------------------------------------------------------------- */

static enum smtpcodes_class class_of(unsigned code, struct smtpcodes_status status)
{
	struct smtpcodes_finding finding;

	smtpcodes_classify(code, status, "", 0, NULL, &finding);
	return finding.klass;
}

static void row_of_code(const struct smtpcodes_code_row *code, struct row *ret)
{
	*ret = (struct row){
		.code = code,
		.standing = code->standing,
		.actor = code->actor,
		.klass = class_of(code->code, (struct smtpcodes_status){0}),
		.verdicts = 1u << smtpcodes_verdict(code->code, code->stands_for),
		.meaning = code->meaning,
		.source = code->source,
		.advice = code->advice,
		.note = code->note,
	};
	snprintf(ret->text, sizeof ret->text, "%u", code->code);
}

static void row_of_status(const struct smtpcodes_status_row *status, struct row *ret)
{
	struct smtpcodes_status failure = status->status;

	*ret = (struct row){
		.status = status,
		.standing = status->standing,
		.actor = status->actor,
		.meaning = status->meaning,
		.source = status->source,
		.advice = status->advice,
		.note = status->note,
	};
	for (unsigned klass = 2; klass <= 5; klass++)
		if (status->classes & 1 << klass)
			ret->verdicts |= 1u << smtpcodes_verdict(0, (struct smtpcodes_status){.klass = (uint8_t)klass});
	failure.klass = status->classes & 1 << 5 ? 5 : status->classes & 1 << 4 ? 4 : 2;
	if (status->level == SMTPCODES_DETAIL)
		ret->klass = class_of(0, failure);
	snprintf(ret->text, sizeof ret->text, "%s", status->text);
}

/* Reply codes first; false behind the last row. */
static bool row_at(size_t i, struct row *ret)
{
	size_t codes = 0;

	while (smtpcodes_code_at(codes))
		codes++;
	if (i < codes)
		row_of_code(smtpcodes_code_at(i), ret);
	else if (smtpcodes_status_at(i - codes))
		row_of_status(smtpcodes_status_at(i - codes), ret);
	else
		return false;
	return true;
}

/* ---- searching ----------------------------------------------------------------------------------------------- */

static bool is_open(char c)
{
	return c == 'x' || c == 'X';
}

/* "5", "55", "55x", "550". */
static bool is_code_pattern(const char *word)
{
	size_t n = strlen(word);

	return n >= 1 && n <= 3 && strspn(word, "0123456789xX") == n && !is_open(word[0]);
}

/* "5.1.1", "x.1", "X.7.x", "4.4". */
static bool is_status_pattern(const char *word)
{
	return strchr(word, '.') && (strchr("245", word[0]) || is_open(word[0])) &&
	       strspn(word, "0123456789xX.") == strlen(word);
}

static bool fits_code(const char *pattern, const struct row *row)
{
	size_t i = 0;

	while (pattern[i] && (is_open(pattern[i]) || pattern[i] == row->text[i]))
		i++;
	return pattern[i] == '\0';
}

/* A number of a pattern up to the next dot against one; an open one fits every number. */
static bool fits_number(struct slice part, unsigned number)
{
	uint64_t value;

	if (part.n == 0 || is_open(part.p[0]))
		return true;
	return slice_u64(part, 999, &value) && value == number;
}

static bool fits_status(const char *pattern, const struct row *row)
{
	const struct smtpcodes_status_row *s = row->status;
	struct slice rest = slice_from_cstr(pattern), klass = slice_split(&rest, '.');
	struct slice subject = rest.p ? slice_split(&rest, '.') : SLICE_NONE;

	if (s->level == SMTPCODES_CLASS)
		return false;
	if (!is_open(klass.p[0]) && (klass.n != 1 || !(s->classes & 1 << (klass.p[0] - '0'))))
		return false;
	if (!fits_number(subject, s->status.subject))
		return false;
	return !rest.p || rest.n == 0 || is_open(rest.p[0])
		       ? true
		       : s->level == SMTPCODES_DETAIL && fits_number(rest, s->status.detail);
}

static bool holds(const char *text, const char *word)
{
	return text && strcasestr(text, word);
}

static bool has_word(const struct row *row, const char *word)
{
	if (holds(row->text, word) || holds(row->meaning, word) || holds(row->source, word) ||
	    holds(row->advice, word) || holds(row->note, word) || holds(smtpcodes_class(row->klass)->name, word))
		return true;
	if (row->code)
		return holds(row->code->commands, word) || holds(row->code->statuses, word) ||
		       holds(row->code->client, word);
	return holds(row->status->sample, word) || holds(row->status->codes, word);
}

static bool fits_word(const struct row *row, const char *word)
{
	if (is_code_pattern(word))
		return row->code && fits_code(word, row);
	if (is_status_pattern(word))
		return row->status && fits_status(word, row);
	return has_word(row, word);
}

static bool fits(const struct search *s, const struct row *row)
{
	if (s->klass >= 0 && (int)row->klass != s->klass)
		return false;
	if (s->actor >= 0 && (int)row->actor != s->actor)
		return false;
	if (s->standing >= 0 && (int)row->standing != s->standing)
		return false;
	if (s->verdict >= 0 && !(row->verdicts & 1u << s->verdict))
		return false;
	for (size_t i = 0; i < s->word_count; i++)
		if (!fits_word(row, s->words[i]))
			return false;
	return true;
}

/* ---- for people ---------------------------------------------------------------------------------------------- */

static void print_fact(const char *label, const char *text)
{
	if (text && text[0])
		printf("%-12s %s\n", label, text);
}

static void print_row(const struct row *row)
{
	printf("%-8s %-12s %s%s%s\n", row->text, smtpcodes_standing_name(row->standing),
	       row->status ? row->status->sample : "", row->status ? ": " : "", row->meaning);
}

static const char *verdict_words(const struct row *row)
{
	bool temporary = row->verdicts & 1u << SMTPCODES_TEMPORARY,
	     permanent = row->verdicts & 1u << SMTPCODES_PERMANENT;

	if (row->verdicts & (row->verdicts - 1))
		return temporary && permanent ? "temporary with 4, permanent with 5 as its first digit"
					      : "by its first digit";
	for (unsigned v = SMTPCODES_UNKNOWN; v <= SMTPCODES_PERMANENT; v++)
		if (row->verdicts == 1u << v)
			return smtpcodes_verdict_name((enum smtpcodes_verdict)v);
	return "";
}

static void print_details(const struct row *row)
{
	print_fact(row->code ? "Reply code" : "Status", row->text);
	print_fact("Name", row->status ? row->status->sample : NULL);
	print_fact("Meaning", row->meaning);
	print_fact("Standing", smtpcodes_standing_name(row->standing));
	print_fact("Source", row->source);
	print_fact("Drawn by", row->code ? row->code->commands : NULL);
	print_fact(row->code ? "Goes with" : "Reply codes", row->code ? row->code->statuses : row->status->codes);
	print_fact("Client", row->code ? row->code->client : NULL);
	print_fact("Class", smtpcodes_class(row->klass)->name);
	print_fact("Verdict", verdict_words(row));
	print_fact("Who acts", smtpcodes_actor_name(row->actor));
	print_fact("Advice", row->advice);
	print_fact("Note", row->note);
}

static void print_classes(void)
{
	for (int i = 0; i < SMTPCODES_CLASSES; i++) {
		const struct smtpcodes_class_row *c = smtpcodes_class((enum smtpcodes_class)i);
		printf("%-17s %s\n", c->name, c->meaning);
	}
}

/* ---- JSON ---------------------------------------------------------------------------------------------------- */

static json_t *json_row(const struct row *row)
{
	json_t *one =
		json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "code", row->text, "kind",
			  row->code ? "reply" : "enhanced", "standing", smtpcodes_standing_name(row->standing),
			  "meaning", row->meaning, "source", row->source, "class", smtpcodes_class(row->klass)->name,
			  "actor", smtpcodes_actor_name(row->actor), "advice", row->advice, "note", row->note);
	json_t *verdicts = json_array();

	for (unsigned v = SMTPCODES_SUCCESS; v <= SMTPCODES_PERMANENT; v++)
		if (row->verdicts & 1u << v)
			json_array_append_new(verdicts, json_string(smtpcodes_verdict_name((enum smtpcodes_verdict)v)));
	json_object_set_new(one, "verdicts", verdicts);
	json_object_set_new(one, "name", row->status ? json_string(row->status->sample) : json_null());
	json_object_set_new(one, "commands", row->code ? json_string(row->code->commands) : json_null());
	json_object_set_new(one, "goes_with", json_string(row->code ? row->code->statuses : row->status->codes));
	json_object_set_new(one, "client", row->code ? json_string(row->code->client) : json_null());
	return one;
}

static json_t *json_classes(void)
{
	json_t *all = json_array();

	for (int i = 0; i < SMTPCODES_CLASSES; i++) {
		const struct smtpcodes_class_row *c = smtpcodes_class((enum smtpcodes_class)i);
		json_array_append_new(all, json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "class", c->name, "meaning",
						     c->meaning, "verdict", smtpcodes_verdict_name(c->verdict),
						     "actor_temporary", smtpcodes_actor_name(c->actor_temporary),
						     "advice_temporary", c->advice_temporary, "actor_permanent",
						     smtpcodes_actor_name(c->actor_permanent), "advice_permanent",
						     c->advice_permanent));
	}
	return all;
}

/* ---- the command --------------------------------------------------------------------------------------------- */

static const char *class_name_at(size_t i)
{
	return i < SMTPCODES_CLASSES ? smtpcodes_class((enum smtpcodes_class)i)->name : NULL;
}

static const char *actor_name_at(size_t i)
{
	return i <= SMTPCODES_REMOTE_OPERATOR ? smtpcodes_actor_name((enum smtpcodes_actor)i) : NULL;
}

static const char *verdict_name_at(size_t i)
{
	return i <= SMTPCODES_PERMANENT ? smtpcodes_verdict_name((enum smtpcodes_verdict)i) : NULL;
}

static const char *standing_name_at(size_t i)
{
	return i <= SMTPCODES_WILD ? smtpcodes_standing_name((enum smtpcodes_standing)i) : NULL;
}

/* The number of a name; false after it said that there is none. */
static bool pick(const struct cli_command *self, const char *what, const char *value, const char *(*name_at)(size_t i),
		 int *ret)
{
	for (size_t i = 0; name_at(i); i++) {
		if (strcmp(name_at(i), value) == 0) {
			*ret = (int)i;
			return true;
		}
	}
	const char *near = cli_nearest(value, name_at);
	cli_fail(self, EX_USAGE, "there is no %s %s%s%s; see postrider codes --help", what, value,
		 near ? ". Did you mean " : "", near ? near : "");
	return false;
}

static int list(const struct cli_command *self, const struct search *s)
{
	json_t *found = s->json ? json_array() : NULL;
	struct row row, last = {0};
	size_t count = 0, all = 0;

	for (; row_at(all, &row); all++)
		if (fits(s, &row)) {
			count++;
			last = row;
			if (found)
				json_array_append_new(found, json_row(&row));
		}
	if (found)
		cli_json_print(found);
	else if (count == 1)
		print_details(&last);
	for (size_t i = 0; !found && count > 1 && row_at(i, &row); i++)
		if (fits(s, &row))
			print_row(&row);
	if (count == 0)
		return cli_fail(self, EX_DATAERR, "there is no such code among the %zu", all);
	return EX_OK;
}

static int search(const struct cli_command *self, const struct search *s)
{
	if (!s->classes)
		return list(self, s);
	if (s->json)
		cli_json_print(json_classes());
	else
		print_classes();
	return EX_OK;
}

int cli_codes(const struct cli_command *self, int argc, char **argv)
{
	struct cli_args args = {.command = self, .argc = argc, .argv = argv};
	struct search s = {.klass = -1, .actor = -1, .verdict = -1, .standing = -1};
	bool good = true;
	int option;

	while (good && (option = cli_next(&args)) != CLI_END) {
		switch (option) {
		case OPTION_CLASS:
			good = pick(self, "class", args.value, class_name_at, &s.klass);
			break;
		case OPTION_WHO:
			good = pick(self, "actor", args.value, actor_name_at, &s.actor);
			break;
		case OPTION_VERDICT:
			good = pick(self, "verdict", args.value, verdict_name_at, &s.verdict);
			break;
		case OPTION_STANDING:
			good = pick(self, "standing", args.value, standing_name_at, &s.standing);
			break;
		case OPTION_CLASSES:
			s.classes = true;
			break;
		case OPTION_JSON:
			s.json = true;
			break;
		case OPTION_HELP:
			cli_help(self);
			return EX_OK;
		case CLI_WORD:
			if (s.word_count == WORDS_MAX)
				return cli_fail(self, EX_USAGE, "at most %d words", WORDS_MAX);
			s.words[s.word_count++] = args.value;
			break;
		default:
			return EX_USAGE;
		}
	}
	return good ? search(self, &s) : EX_USAGE;
}
