#include "conf/scan.h"

#include <assert.h>
#include <string.h>

struct scan {
	struct slice in; /* what is left */
	struct conf_place at;
	struct conf_error *err;
	struct buf *out;
	conf_scan_include include;
	void *arg;
	unsigned depth;
	unsigned open_line; /* where the outermost open brace stands */
};

static bool is_word(char c)
{
	return ascii_is_alnum(c) || (c && strchr("_-.:/@[]", c));
}

static bool is_control(char c)
{
	return (unsigned char)c < 0x20 || c == 0x7f;
}

/* Copy n octets, or blanks in their place. */
static bool take(struct scan *s, size_t n, bool blank)
{
	for (size_t i = 0; i < n; i++) {
		char c = s->in.p[i];

		if (c == '\n')
			s->at.line++;
		if (blank)
			buf_add_char(s->out, c == '\n' ? c : ' ');
	}
	if (!blank)
		buf_add(s->out, slice_head(s->in, n));
	s->in = slice_skip(s->in, n);
	if (s->out->failed)
		conf_wrong(s->err, s->at, "the text is too long, or there is no memory");
	return !s->out->failed;
}

static bool take_block_comment(struct scan *s)
{
	struct slice body = slice_skip(s->in, 2);
	size_t end = slice_search(body, SLICE("*/"));

	if (end == body.n) {
		conf_wrong(s->err, s->at, "this comment is not closed by */");
		return false;
	}
	return take(s, end + 4, true);
}

/* ---- quoted texts -------------------------------------------------------------------------------------------- */

/* Octets of the quoted text at the start, quotes included; 0 with an error. */
static size_t quoted_length(struct scan *s)
{
	char quote = s->in.p[0];
	const char *escapable = quote == '"' ? "\"\\$" : "'\\";

	for (size_t i = 1; i < s->in.n && i < CONF_WORD_MAX; i++) {
		char c = s->in.p[i];
		char next = i + 1 < s->in.n ? s->in.p[i + 1] : 0;

		if (c == quote)
			return i + 1;
		if (c == '\n')
			break;
		if (is_control(c)) {
			conf_wrong(s->err, s->at, "a quoted text must not hold the control character %u",
				   (unsigned)(unsigned char)c);
			return 0;
		}
		if (c == '|') {
			conf_wrong(s->err, s->at, "the character | cannot be used");
			return 0;
		}
		if (quote == '"' && c == '$' && next == '{') {
			conf_wrong(s->err, s->at,
				   "${...} is not looked up in the environment; write \\${ for the text itself");
			return 0;
		}
		if (c == '\\' && (next == 0 || !strchr(escapable, next))) {
			conf_wrong(s->err, s->at, "in a quoted text, \\ may only stand before one of %s", escapable);
			return 0;
		}
		if (c == '\\')
			i++;
	}
	conf_wrong(s->err, s->at, "this quoted text does not end on its line, or is longer than %u octets",
		   CONF_WORD_MAX);
	return 0;
}

static bool take_quoted(struct scan *s)
{
	size_t n = quoted_length(s);

	return n > 0 && take(s, n, false);
}

/* ---- includes ------------------------------------------------------------------------------------------------ */

static size_t space_at(struct slice in)
{
	size_t n = 0;

	while (n < in.n && (in.p[n] == ' ' || in.p[n] == '\t' || in.p[n] == '\n'))
		n++;
	return n;
}

static size_t blanks_at(struct slice in)
{
	size_t n = 0;

	while (n < in.n && (in.p[n] == ' ' || in.p[n] == '\t'))
		n++;
	return n;
}

/* The text inside the quotes, without its backslashes, in `out`. */
static void unquote(struct slice quoted, struct buf *out)
{
	for (size_t i = 1; i + 1 < quoted.n; i++) {
		if (quoted.p[i] == '\\')
			i++;
		buf_add_char(out, quoted.p[i]);
	}
}

static bool include_wrong(struct scan *s)
{
	conf_wrong(s->err, s->at, "an include is written include(\"path\"), on one line and outside of all sections");
	return false;
}

/* After the word "include": ( "pattern" ) */
static bool take_include(struct scan *s)
{
	struct buf pattern;
	size_t quoted;

	if (s->depth > 0 || !take(s, blanks_at(s->in), true) || s->in.n == 0 || s->in.p[0] != '(')
		return include_wrong(s);
	if (!take(s, 1 + blanks_at(slice_skip(s->in, 1)), true) || s->in.n == 0 ||
	    (s->in.p[0] != '"' && s->in.p[0] != '\''))
		return include_wrong(s);
	quoted = quoted_length(s);
	if (quoted == 0)
		return false;

	buf_init(&pattern, CONF_WORD_MAX);
	unquote(slice_head(s->in, quoted), &pattern);
	struct conf_place at = s->at;
	bool good = take(s, quoted, true) && take(s, blanks_at(s->in), true);
	if (good && (s->in.n == 0 || s->in.p[0] != ')'))
		good = include_wrong(s);
	good = good && take(s, 1, true) && s->include(s->arg, at, buf_slice(&pattern));
	buf_free(&pattern);
	return good;
}

/* ---- everything else ----------------------------------------------------------------------------------------- */

static bool take_word(struct scan *s)
{
	size_t n = 0;

	while (n < s->in.n && is_word(s->in.p[n]))
		n++;
	struct slice word = slice_head(s->in, n);
	if (n > CONF_WORD_MAX || slice_search(word, SLICE("//")) < n || (n < s->in.n && s->in.p[n] == '*')) {
		conf_wrong(s->err, s->at, "this has to stand in quotes: %.*s", SLICE_ARGS(slice_head(word, 100)));
		return false;
	}
	if (slice_eq(word, SLICE("include")))
		return take(s, n, true) && take_include(s);
	return take(s, n, false);
}

static bool take_brace(struct scan *s)
{
	if (s->in.p[0] == '{') {
		if (s->depth++ == 0)
			s->open_line = s->at.line;
	} else if (s->depth-- == 0) {
		conf_wrong(s->err, s->at, "this } closes nothing");
		return false;
	}
	return take(s, 1, false);
}

static bool take_next(struct scan *s)
{
	char c = s->in.p[0];

	if (c == '#' || slice_starts(s->in, SLICE("//")))
		return take(s, slice_find(s->in, '\n'), true);
	if (slice_starts(s->in, SLICE("/*")))
		return take_block_comment(s);
	if (c == '\r')
		return take(s, 1, true);
	if (c == ' ' || c == '\t' || c == '\n')
		return take(s, space_at(s->in), false);
	if (c == '"' || c == '\'')
		return take_quoted(s);
	if (is_word(c))
		return take_word(s);
	if (c == '{' || c == '}')
		return take_brace(s);
	if (c == '=' || c == ',')
		return take(s, 1, false);
	if (slice_starts(s->in, SLICE("+=")))
		return take(s, 2, false);
	if (ascii_is_print(c))
		conf_wrong(s->err, s->at, "the character %c has to stand in quotes, or does not belong here", c);
	else
		conf_wrong(s->err, s->at, "a character with code %u has to stand in quotes, or does not belong here",
			   (unsigned)(unsigned char)c);
	return false;
}

bool conf_scan(struct slice in, const char *file, conf_scan_include include, void *arg, struct conf_error *err,
	       struct buf *out)
{
	struct scan s = {.in = in, .at = {file, 1}, .err = err, .out = out, .include = include, .arg = arg};
	size_t before = buf_len(out);

	while (s.in.n)
		if (!take_next(&s))
			return false;
	if (s.depth > 0) {
		conf_wrong(err, (struct conf_place){file, s.open_line}, "this { is not closed");
		return false;
	}
	assert(buf_len(out) == before + in.n);
	return true;
}
