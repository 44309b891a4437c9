#include "cli/cli.h"

#include "net/host.h"
#include "net/log.h"
#include "role/wire.h"
#include "smtp/outcome.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#define CONF_PATH "/etc/postrider/postrider.conf"

/* ---- arguments ------------------------------------------------------------------------------------------------ */

static size_t option_count(const struct cli_command *c)
{
	size_t n = 0;

	while (c->options[n].name)
		n++;
	return n;
}

static int bad_option(const struct cli_args *a, const char *text)
{
	cli_fail(a->command, EX_USAGE, "unknown option %s; see postrider %s --help", text, a->command->name);
	return CLI_BAD;
}

/* The argument of an option: what stands behind '=' or the letter, or the next word. */
static int take_value(struct cli_args *a, size_t option, const char *behind)
{
	a->value = NULL;
	if (!a->command->options[option].argument) {
		if (!behind)
			return (int)option;
		cli_fail(a->command, EX_USAGE, "--%s takes no argument", a->command->options[option].name);
		return CLI_BAD;
	}
	if (behind) {
		a->value = behind;
		return (int)option;
	}
	if (a->at >= a->argc) {
		cli_fail(a->command, EX_USAGE, "--%s needs %s", a->command->options[option].name,
			 a->command->options[option].argument);
		return CLI_BAD;
	}
	a->value = a->argv[a->at++];
	return (int)option;
}

static int next_letter(struct cli_args *a)
{
	const char *bundle = a->argv[a->at];
	char letter = bundle[a->letter++];
	const char *rest = bundle[a->letter] ? bundle + a->letter : NULL;

	for (size_t i = 0; a->command->options[i].name; i++) {
		if (a->command->options[i].letter != letter)
			continue;
		if (a->command->options[i].argument || !rest) {
			a->at++;
			a->letter = 0;
			return take_value(a, i, a->command->options[i].argument ? rest : NULL);
		}
		return take_value(a, i, NULL);
	}
	return bad_option(a, bundle);
}

int cli_next(struct cli_args *a)
{
	if (a->letter)
		return next_letter(a);
	if (a->at >= a->argc)
		return CLI_END;
	const char *word = a->argv[a->at];
	if (a->words_only || word[0] != '-' || word[1] == '\0') {
		a->value = a->argv[a->at++];
		return CLI_WORD;
	}
	if (word[1] != '-') {
		a->letter = 1;
		return next_letter(a);
	}
	a->at++;
	if (word[2] == '\0') {
		a->words_only = true;
		return cli_next(a);
	}
	size_t n = strcspn(word + 2, "=");
	for (size_t i = 0; i < option_count(a->command); i++) {
		const char *name = a->command->options[i].name;
		if (strlen(name) == n && strncmp(name, word + 2, n) == 0)
			return take_value(a, i, word[2 + n] == '=' ? word + 3 + n : NULL);
	}
	return bad_option(a, word);
}

void cli_help(const struct cli_command *c)
{
	printf("Usage: postrider %s %s\n\n%s\n", c->name, c->synopsis, c->text);
	if (c->options[0].name)
		printf("\nOptions:\n");
	for (size_t i = 0; c->options[i].name; i++) {
		const struct cli_option *o = &c->options[i];
		char left[64];
		snprintf(left, sizeof left, "%s%c%s --%s%s%s", o->letter ? "-" : " ", o->letter ? o->letter : ' ',
			 o->letter ? "," : " ", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
		printf("  %-28s %s\n", left, o->meaning);
	}
}

int cli_fail(const struct cli_command *c, int status, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "postrider%s%s: ", c ? " " : "", c ? c->name : "");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

static size_t distance(const char *a, const char *b)
{
	size_t row[64], n = strlen(b);

	if (n >= 63)
		return 99;
	for (size_t j = 0; j <= n; j++)
		row[j] = j;
	for (size_t i = 1; a[i - 1]; i++) {
		size_t left_above = row[0];
		row[0] = i;
		for (size_t j = 1; j <= n; j++) {
			size_t change = left_above + (a[i - 1] != b[j - 1]);
			left_above = row[j];
			size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
			row[j] = change < step ? change : step;
		}
	}
	return row[n];
}

const char *cli_nearest(const char *word, const char *(*name_at)(size_t i))
{
	const char *best = NULL;
	size_t best_distance = 3;

	for (size_t i = 0; name_at(i); i++) {
		size_t d = distance(word, name_at(i));
		if (d < best_distance) {
			best = name_at(i);
			best_distance = d;
		}
	}
	return best;
}

/* ---- configuration -------------------------------------------------------------------------------------------- */

static struct conf *default_conf(const struct conf_host *host, struct conf_error *error)
{
	const char *port_text = getenv("SMTP_PORT");
	uint64_t port = 0;
	struct buf text;

	if (port_text && !slice_u64(slice_from_cstr(port_text), 65535, &port))
		port = 0;
	buf_init(&text, CONF_TEXT_MAX);
	struct conf *c = conf_default_text((uint16_t)port, slice_from_cstr(getenv("DATA_DIR")), &text)
				 ? conf_load_text(buf_slice(&text), "embedded default", host, error)
				 : NULL;
	buf_free(&text);
	return c;
}

const char *cli_conf_path(const char *path)
{
	if (!path)
		path = getenv("POSTRIDER_CONF");
	return path || access(CONF_PATH, R_OK) != 0 ? path : CONF_PATH;
}

struct conf *cli_conf_load(const char *path, struct conf_error *error)
{
	struct buf name;

	buf_init(&name, 256);
	host_name(&name);
	struct conf_host host = {.name = buf_slice(&name), .cores = host_cores()};
	path = cli_conf_path(path);
	struct conf *c = path ? conf_load_file(path, &host, error) : default_conf(&host, error);
	buf_free(&name);
	return c;
}

/* The configuration whose rules count in what this process explains. */
static struct conf *explaining;

void cli_use_rules(struct conf *c)
{
	conf_ref(c);
	conf_unref(explaining);
	explaining = c;
}

const struct smtpcodes_rules *cli_rules(void)
{
	return explaining ? &explaining->rules : NULL;
}

struct conf *cli_conf(const struct cli_command *command, const char *path)
{
	static struct conf_error error;
	struct conf *c = cli_conf_load(path, &error);

	if (!c)
		cli_fail(command, EX_CONFIG, "the configuration is wrong:\n%s", error.text);
	else
		cli_use_rules(c);
	return c;
}

/* ---- texts ---------------------------------------------------------------------------------------------------- */

bool cli_span_parse(const char *text, span_ms *ret)
{
	static const struct {
		char letter;
		span_ms unit;
	} units[] = {{'s', SECOND}, {'m', MINUTE}, {'h', HOUR}, {'d', DAY}};
	struct slice s = slice_from_cstr(text);
	span_ms unit = SECOND;
	uint64_t n;

	for (size_t i = 0; s.n && i < sizeof units / sizeof *units; i++)
		if (s.p[s.n - 1] == units[i].letter) {
			unit = units[i].unit;
			s.n--;
			break;
		}
	if (!slice_u64(s, 1000000000, &n))
		return false;
	*ret = (span_ms)n * unit;
	return true;
}

const char *cli_span_text(span_ms span, char out[32])
{
	long long s = span < 0 ? 0 : span / SECOND;

	if (s < 60)
		snprintf(out, 32, "%llds", s);
	else if (s < 3600)
		snprintf(out, 32, "%lldm", s / 60);
	else if (s < 86400)
		snprintf(out, 32, "%lldh%lldm", s / 3600, s / 60 % 60);
	else
		snprintf(out, 32, "%lldd%lldh", s / 86400, s / 3600 % 24);
	return out;
}

const char *cli_time_text(wall_ms at, char out[32])
{
	time_t t = (time_t)(at / SECOND);
	struct tm tm;

	if (!gmtime_r(&t, &tm) || strftime(out, 32, "%Y-%m-%d %H:%M:%SZ", &tm) == 0)
		snprintf(out, 32, "%lld", (long long)at);
	return out;
}

/* Printable ASCII as it is; well-formed UTF-8 too, but for the controls U+0080 to U+009F and those that turn the
 * direction of writing. All else as \xHH. */
static void make_safe(struct buf *out, struct slice text)
{
	while (text.n) {
		unsigned char c = (unsigned char)text.p[0];
		size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
		struct slice one = slice_head(text, n);
		bool safe = c >= 0x20 && c != 0x7f && one.n == n && slice_is_utf8(one);
		if (safe && n == 2 && c == 0xc2 && (unsigned char)one.p[1] < 0xa0)
			safe = false;
		if (safe && n == 3 && c == 0xe2 && (unsigned char)one.p[1] >= 0x80 && (unsigned char)one.p[1] <= 0x81)
			safe = false;
		if (safe)
			buf_add(out, one);
		else
			buf_printf(out, "\\x%02x", c);
		text = slice_skip(text, safe ? n : 1);
	}
}

void cli_print(FILE *to, struct slice text)
{
	struct buf out;

	buf_init(&out, (size_t)1 << 20);
	make_safe(&out, text);
	fprintf(to, "%.*s", SLICE_ARGS(buf_slice(&out)));
	buf_free(&out);
}

/* ---- JSON ----------------------------------------------------------------------------------------------------- */

json_t *cli_json_text(struct slice text)
{
	if (slice_is_utf8(text))
		return json_stringn(text.n ? text.p : "", text.n);
	struct buf out;
	buf_init(&out, (size_t)1 << 20);
	make_safe(&out, text);
	json_t *value = json_stringn(buf_slice(&out).p, buf_len(&out));
	buf_free(&out);
	return value;
}

json_t *cli_json_text_or_null(struct slice text)
{
	return text.n ? cli_json_text(text) : json_null();
}

json_t *cli_json_status(struct smtpcodes_status status)
{
	char text[10];

	return status.klass ? json_stringn(text, smtpcodes_status_format(status, text)) : json_null();
}

json_t *cli_json_time(wall_ms at)
{
	time_t t = (time_t)(at / SECOND);
	struct tm tm;
	char text[40], all[48];

	if (!gmtime_r(&t, &tm) || strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm) == 0)
		return json_null();
	snprintf(all, sizeof all, "%s.%03dZ", text, (int)(at % SECOND));
	return json_string(all);
}

void cli_json_print(json_t *value)
{
	json_dumpf(value, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	fputc('\n', stdout);
	json_decref(value);
}

/* ---- outcomes ------------------------------------------------------------------------------------------------- */

static const char *const verdict_names[] = {"delivered", "deferred", "failed"};

static void print_reply(FILE *to, const struct smtp_outcome *o)
{
	char status[10];

	if (o->code)
		fprintf(to, "%u ", o->code);
	if (o->status.klass) {
		smtpcodes_status_format(o->status, status);
		fprintf(to, "%s ", status);
	}
	cli_print(to, o->text);
}

void cli_explain_outcome(FILE *to, const char *indent, const struct smtp_outcome *o, struct slice remote)
{
	struct smtpcodes_finding finding;

	fprintf(to, "%s", indent);
	if (o->verdict == SMTP_DELIVERED)
		fprintf(to, "delivered");
	else
		fprintf(to, "%s at %s", o->code ? "refused" : "failed", smtp_stage_name(o->stage));
	if (remote.n) {
		fprintf(to, o->verdict == SMTP_DELIVERED ? " to " : " by ");
		cli_print(to, remote);
	}
	fprintf(to, ": ");
	print_reply(to, o);
	fputc('\n', to);
	if (o->secured.n) {
		fprintf(to, "%sthe session: ", indent);
		cli_print(to, o->secured);
		fputc('\n', to);
	}
	if (o->ambiguous)
		fprintf(to, "%sthe other side may have taken it all the same: this attempt's end is not known\n",
			indent);
	if (o->verdict == SMTP_DELIVERED)
		return;
	smtpcodes_classify(o->code, o->status, o->text.n ? o->text.p : "", o->text.n, cli_rules(), &finding);
	if (finding.klass != SMTPCODES_CLASS_UNKNOWN)
		fprintf(to, "%smeans: %s\n", indent, smtpcodes_class(finding.klass)->meaning);
	if (finding.advice && finding.advice[0])
		fprintf(to, "%swhat to do: %s\n", indent, finding.advice);
}

void cli_explain_untried(const char *indent, const struct wire_row *row)
{
	char rests[32];

	if (row->rests <= 0) {
		printf("%snot tried yet: enough is under way to its destination; see postrider queue status\n", indent);
		return;
	}
	printf("%snot tried yet: its destination is left alone for %s, because for another message it\n", indent,
	       cli_span_text(row->rests, rests));
	cli_explain_outcome(stdout, indent, &row->site_last, row->site_remote);
}

json_t *cli_json_outcome(const struct smtp_outcome *o, struct slice remote)
{
	struct smtpcodes_finding finding;
	bool explain = o->verdict != SMTP_DELIVERED;

	smtpcodes_classify(o->code, o->status, o->text.n ? o->text.p : "", o->text.n, cli_rules(), &finding);
	return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o}", "verdict", verdict_names[o->verdict],
			 "stage", smtp_stage_name(o->stage), "code", o->code ? json_integer(o->code) : json_null(),
			 "status", cli_json_status(o->status), "text", cli_json_text(o->text), "remote",
			 cli_json_text_or_null(remote), "secured", cli_json_text_or_null(o->secured), "ambiguous",
			 o->ambiguous, "class",
			 explain ? json_string(smtpcodes_class(finding.klass)->name) : json_null(), "advice",
			 explain && finding.advice ? json_string(finding.advice) : json_null());
}

static const char *const state_names[] = {"waiting", "underway", "held", "delivered", "failed", "removed"};

const char *cli_state_name(int state)
{
	return state >= 0 && (size_t)state < sizeof state_names / sizeof *state_names ? state_names[state] : "unknown";
}

int cli_state_parse(const char *name)
{
	for (size_t i = 0; i < sizeof state_names / sizeof *state_names; i++)
		if (strcmp(name, state_names[i]) == 0)
			return (int)i;
	return -1;
}
