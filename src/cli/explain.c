/*
 * postrider explain: what is to be explained.
 *
 * Words make one text, as somebody pastes a reply. But a word that names a file stands for what is in it, several files
 * or several codes are explained one by one, and one word that is the id of a message and nothing else asks the server.
 * What a file or standard input holds is a message, or lines of a log, each explained for itself, or one text.
 */
#include "cli/explain.h"

#include "mail/bounce.h"
#include "net/host.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define INPUT_MAX ((size_t)64 << 20)
#define LINES_MAX 10000 /* of a log */

const struct cli_option cli_explain_options[] = {
	{"json", 0, NULL, "print a JSON object, or an array of them for several inputs"},
	{"details", 0, NULL, "more facts in the JSON of a bounce: form, ids, reporter"},
	{"conf", 'c', "FILE", "the configuration whose rules count, and whose server knows an ID"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum { OPTION_JSON, OPTION_DETAILS, OPTION_CONF, OPTION_HELP };

struct explain {
	const struct cli_command *self;
	bool json, details;
	bool several; /* results make an array, however many there are */
	const char *conf_path;
	char **words; /* moved to the front of argv */
	size_t word_count;
	struct buf name;    /* of this host */
	json_t *results;    /* with --json: an array */
	size_t done;        /* explanations that were given */
	const char *source; /* the file that is being explained; NULL: words or standard input */
};

/* ---- one thing ----------------------------------------------------------------------------------------------- */

/* A line between explanations, and from which file they are. */
static void begin_print(struct explain *x)
{
	if (x->json)
		return;
	if (x->done > 0)
		putchar('\n');
	if (x->source)
		cli_fact_print("File", slice_from_cstr(x->source));
}

static void note_done(struct explain *x, json_t *result)
{
	x->done++;
	if (result)
		json_array_append_new(x->results, result);
}

static int explain_message(struct explain *x, struct slice text)
{
	struct mail_bounce_config config = {.our_name = buf_slice(&x->name), .rules = cli_rules()};
	json_t *result = NULL;

	begin_print(x);
	if (!cli_explain_message(text, &config, x->details, x->json ? &result : NULL))
		return cli_fail(x->self, EX_OSERR, "there is no memory for it");
	note_done(x, result);
	return EX_OK;
}

/* False when nothing in it is understood; nothing is said then. */
static bool explain_text(struct explain *x, struct slice text)
{
	struct smtpcodes_explanation e;

	if (!smtpcodes_explain(text.n ? text.p : "", text.n, cli_rules(), &e))
		return false;
	begin_print(x);
	if (!x->json)
		cli_explanation_print(&e);
	note_done(x, x->json ? cli_explanation_json(&e) : NULL);
	return true;
}

static bool explain_line(struct explain *x, struct slice line)
{
	struct cli_log_line log;
	json_t *result = NULL;
	bool known = cli_log_read(line, &log);

	if (known) {
		begin_print(x);
		cli_log_explain(&log, x->json ? &result : NULL);
		note_done(x, result);
	}
	cli_log_free(&log);
	return known || explain_text(x, line);
}

/* ---- what a file or standard input holds --------------------------------------------------------------------- */

static int nothing(const struct explain *x)
{
	return cli_fail(x->self, EX_DATAERR,
			"%s%snothing in it is understood: there is no reply code, no status code and no known text",
			x->source ? x->source : "", x->source ? ": " : "");
}

/* Whether each line is one of a log, and there are several. */
static bool is_log(struct slice text)
{
	size_t lines = 0;

	while (text.p && text.n) {
		struct slice line = slice_trim(slice_split(&text, '\n'));
		if (line.n && !cli_is_log_line(line))
			return false;
		lines += line.n > 0;
	}
	return lines > 1;
}

static int explain_log(struct explain *x, struct slice text)
{
	size_t before = x->done, lines = 0, unknown = 0;

	x->several = true;
	while (text.p && text.n) {
		struct slice line = slice_trim(slice_split(&text, '\n'));
		if (line.n == 0)
			continue;
		if (lines++ == LINES_MAX)
			return cli_fail(x->self, EX_DATAERR, "these are the first %d lines; give the others apart",
					LINES_MAX);
		unknown += !explain_line(x, line);
	}
	if (x->done == before)
		return nothing(x);
	if (unknown)
		fprintf(stderr, "postrider explain: %zu of %zu lines hold nothing that is understood\n", unknown,
			lines);
	return EX_OK;
}

/* Without what editors and folders put before a text: a mark of UTF-8, empty lines. */
static struct slice skip_start(struct slice text)
{
	if (slice_starts(text, SLICE("\xef\xbb\xbf")))
		text = slice_skip(text, 3);
	while (text.n && (text.p[0] == '\n' || text.p[0] == '\r'))
		text = slice_skip(text, 1);
	return text;
}

static int explain_content(struct explain *x, struct slice text)
{
	text = skip_start(text);
	if (slice_trim(text).n == 0)
		return cli_fail(x->self, EX_DATAERR, "%s%sthere is nothing to explain", x->source ? x->source : "",
				x->source ? ": " : "");
	if (cli_is_message(text))
		return explain_message(x, text);
	if (is_log(text))
		return explain_log(x, text);
	return explain_line(x, slice_trim(text)) ? EX_OK : nothing(x);
}

/* Lines that end in CR alone, as old systems write them, end in LF from here on. */
static void mend_line_ends(struct buf *text)
{
	if (slice_find(buf_slice(text), '\n') < buf_len(text))
		return;
	for (size_t i = text->start; i < text->end; i++)
		if (text->p[i] == '\r')
			text->p[i] = '\n';
}

static bool read_input(int fd, struct buf *text)
{
	struct stat st;

	/* As much as a file holds at once: growing step by step would need twice the memory. */
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && (uintmax_t)st.st_size <= INPUT_MAX)
		buf_reserve(text, (size_t)st.st_size);
	for (;;) {
		char piece[1 << 14];
		ssize_t n = read(fd, piece, sizeof piece);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0;
		if (!buf_add(text, slice_of(piece, (size_t)n)))
			return false;
	}
}

static int explain_input(struct explain *x, int fd)
{
	struct buf text;
	int status;

	buf_init(&text, INPUT_MAX);
	errno = 0;
	bool read = read_input(fd, &text);
	mend_line_ends(&text);
	if (read)
		status = explain_content(x, buf_slice(&text));
	else if (text.failed)
		status = cli_fail(x->self, EX_DATAERR, "the input is longer than %zu octets, or there is no memory",
				  INPUT_MAX);
	else
		status = cli_fail(x->self, EX_NOINPUT, "%s: %s", x->source ? x->source : "standard input",
				  strerror(errno));
	buf_free(&text);
	return status;
}

/* ---- words --------------------------------------------------------------------------------------------------- */

/* Codes are never names of files. */
static bool is_code(const char *word)
{
	return word[0] && word[strspn(word, "0123456789.xX-")] == '\0';
}

static bool is_file(const char *word)
{
	struct stat st;

	return !is_code(word) && stat(word, &st) == 0;
}

static bool is_basic_code(const char *word)
{
	return strlen(word) == 3 && strspn(word, "0123456789") == 3;
}

static bool is_status(const char *word)
{
	return is_code(word) && strchr(word, '.');
}

static bool all_words(const struct explain *x, bool (*are)(const char *word))
{
	for (size_t i = 0; i < x->word_count; i++)
		if (!are(x->words[i]))
			return false;
	return true;
}

static int explain_file(struct explain *x, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), status;

	x->source = path;
	if (fd < 0)
		return cli_fail(x->self, errno == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", path, strerror(errno));
	status = explain_input(x, fd);
	close(fd);
	return status;
}

static int worse(int a, int b)
{
	return a == EX_OK ? b : a;
}

static int explain_each(struct explain *x, int (*one)(struct explain *x, const char *word))
{
	int status = EX_OK;

	x->several = x->word_count > 1;
	for (size_t i = 0; i < x->word_count; i++)
		status = worse(status, one(x, x->words[i]));
	return status;
}

static int explain_code(struct explain *x, const char *code)
{
	return explain_text(x, slice_from_cstr(code))
		       ? EX_OK
		       : cli_fail(x->self, EX_DATAERR, "%s: there is no such code", code);
}

/* A word that was meant to name a file. */
static bool looks_like_path(const char *word)
{
	struct slice s = slice_from_cstr(word);

	return slice_find(s, ' ') == s.n && slice_find(s, '@') == s.n &&
	       (slice_find(s, '/') < s.n || slice_ends(s, SLICE(".eml")) || slice_ends(s, SLICE(".txt")) ||
		slice_ends(s, SLICE(".log")) || slice_ends(s, SLICE(".msg")));
}

static int explain_words(struct explain *x)
{
	struct buf text;
	int status = EX_OK;
	msg_id id;

	buf_init(&text, INPUT_MAX);
	for (size_t i = 0; i < x->word_count; i++) {
		if (i > 0)
			buf_add_char(&text, ' ');
		buf_add(&text, slice_from_cstr(x->words[i]));
	}
	struct slice all = slice_trim(buf_slice(&text));
	if (text.failed)
		status = cli_fail(x->self, EX_DATAERR, "the words are too many");
	else if (cli_is_message(all))
		status = explain_message(x, all);
	else if (is_log(all))
		status = explain_log(x, all);
	else if (explain_line(x, all))
		status = EX_OK;
	else if (msg_id_parse(all, &id))
		status = cli_trace_id(x->self, x->conf_path, id, x->json);
	else if (x->word_count == 1 && looks_like_path(x->words[0]))
		status = cli_fail(x->self, EX_NOINPUT, "%s: there is no such file", x->words[0]);
	else
		status = nothing(x);
	buf_free(&text);
	return status;
}

static int explain(struct explain *x)
{
	if (x->word_count == 0)
		return explain_input(x, STDIN_FILENO);
	if (all_words(x, is_file))
		return explain_each(x, explain_file);
	if (x->word_count > 1 && (all_words(x, is_basic_code) || all_words(x, is_status)))
		return explain_each(x, explain_code);
	return explain_words(x);
}

/* ---- the command --------------------------------------------------------------------------------------------- */

/* The rules of a configuration that was named must be right; those of one that happens to be there are left out. */
static int load_rules(const struct explain *x)
{
	static struct conf_error error;
	const char *path = cli_conf_path(x->conf_path);
	struct conf *c = path ? cli_conf_load(path, &error) : NULL;

	if (c) {
		cli_use_rules(c);
		conf_unref(c);
	} else if (path && x->conf_path) {
		return cli_fail(x->self, EX_CONFIG, "the configuration is wrong:\n%s", error.text);
	} else if (path) {
		cli_fail(x->self, EX_OK, "the rules of the configuration are left out, because it is wrong:\n%s",
			 error.text);
	}
	return EX_OK;
}

static void print_results(const struct explain *x)
{
	if (json_array_size(x->results) > 0)
		cli_json_print(json_incref(x->several ? x->results : json_array_get(x->results, 0)));
}

int cli_explain(const struct cli_command *self, int argc, char **argv)
{
	struct cli_args args = {.command = self, .argc = argc, .argv = argv};
	struct explain x = {.self = self, .words = argv};
	int option;

	while ((option = cli_next(&args)) != CLI_END) {
		switch (option) {
		case CLI_BAD:
			return EX_USAGE;
		case CLI_WORD: /* never behind the place that is read */
			x.words[x.word_count++] = argv[args.at - 1];
			break;
		case OPTION_JSON:
			x.json = true;
			break;
		case OPTION_DETAILS:
			x.details = true;
			break;
		case OPTION_CONF:
			x.conf_path = args.value;
			break;
		case OPTION_HELP:
			cli_help(self);
			return EX_OK;
		}
	}
	int status = load_rules(&x);
	if (status != EX_OK)
		return status;
	buf_init(&x.name, 256);
	host_name(&x.name);
	x.results = x.json ? json_array() : NULL;
	status = explain(&x);
	if (x.json)
		print_results(&x);
	json_decref(x.results);
	buf_free(&x.name);
	return status;
}
