#include "mail/address_list.h"

#include "base/buf.h"

#include <string.h>

/* ---- tokens ------------------------------------------------------------------------------------------------ */

enum token {
	TOKEN_END,
	TOKEN_BAD,     /* scan.why */
	TOKEN_WORD,    /* an atom or a quoted string */
	TOKEN_LITERAL, /* [192.0.2.1] */
	TOKEN_SPECIAL, /* one of < > , ; : @ . */
};

struct scan {
	struct slice in;
	struct slice token;
	const char *why;
};

static bool is_atom(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f && !strchr("()<>[]:;@\\,.\"", c);
}

static enum token bad(struct scan *s, const char *why)
{
	s->why = why;
	return TOKEN_BAD;
}

static bool skip_comment(struct scan *s)
{
	size_t depth = 0, i = 0;

	do {
		if (i == s->in.n) {
			s->why = "a comment has no end";
			return false;
		}
		char c = s->in.p[i++];
		if (c == '(' && ++depth > MAIL_COMMENT_DEPTH) {
			s->why = "comments are nested too deep";
			return false;
		}
		if (c == ')')
			depth--;
		if (c == '\\' && i < s->in.n)
			i++;
	} while (depth > 0);
	s->in = slice_skip(s->in, i);
	return true;
}

static bool skip_between(struct scan *s)
{
	while (s->in.n) {
		char c = s->in.p[0];
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
			s->in = slice_skip(s->in, 1);
		else if (c != '(')
			return true;
		else if (!skip_comment(s))
			return false;
	}
	return true;
}

static enum token take(struct scan *s, size_t n, enum token token)
{
	s->token = slice_head(s->in, n);
	s->in = slice_skip(s->in, n);
	return token;
}

static enum token next_quoted(struct scan *s)
{
	for (size_t i = 1; i < s->in.n; i++) {
		if (s->in.p[i] == '"')
			return take(s, i + 1, TOKEN_WORD);
		if (s->in.p[i] == '\\')
			i++;
	}
	return bad(s, "a quoted string has no end");
}

static enum token next_token(struct scan *s)
{
	size_t n = 0;

	if (!skip_between(s))
		return TOKEN_BAD;
	if (s->in.n == 0)
		return TOKEN_END;
	char c = s->in.p[0];
	if (c == '"')
		return next_quoted(s);
	if (c == '[') {
		n = slice_find(s->in, ']');
		return n < s->in.n ? take(s, n + 1, TOKEN_LITERAL) : bad(s, "an address literal has no end");
	}
	if (c && strchr("<>,;:@.", c))
		return take(s, 1, TOKEN_SPECIAL);
	while (n < s->in.n && is_atom(s->in.p[n]))
		n++;
	if (n > 0)
		return take(s, n, TOKEN_WORD);
	return bad(s, (unsigned char)c < ' ' || c == 0x7f ? "a control character is in it"
							  : "a bracket or backslash is out of place");
}

/* ---- elements ---------------------------------------------------------------------------------------------- */

struct list {
	struct scan scan;
	struct buf text;                    /* the address, as far as it has come */
	enum { NOTHING, JOINT, PART } last; /* what `text` ends with */
	bool any;                           /* the element has something */
	bool phrase;                        /* two words side by side */
	bool cut;                           /* too long for any address */
	bool inside, route, done;           /* of angle brackets */
	bool group;
	const char *(*each)(void *arg, struct slice address);
	void *arg;
};

static void begin_text(struct list *l)
{
	buf_reset(&l->text);
	l->last = NOTHING;
	l->phrase = l->cut = false;
}

static void begin_element(struct list *l)
{
	begin_text(l);
	l->any = l->done = false;
}

/* The octets of a token but for the CR and LF of folding. */
static void gather(struct list *l, int kind)
{
	struct slice t = l->scan.token;

	for (size_t i = 0; i < t.n && !l->cut; i++)
		if (t.p[i] != '\r' && t.p[i] != '\n')
			l->cut = !buf_add_char(&l->text, t.p[i]);
	l->last = kind;
	l->any = true;
}

static const char *take_part(struct list *l)
{
	if (l->done)
		return "words follow an address";
	if (l->route)
		return NULL;
	l->phrase = l->phrase || l->last == PART;
	gather(l, PART);
	return NULL;
}

static const char *end_element(struct list *l)
{
	const char *why = NULL;

	if (l->inside)
		return "an angle bracket is not closed";
	if (l->any && !l->done) {
		if (l->phrase)
			return "words without an address";
		struct slice text = buf_slice(&l->text);
		if (slice_find(text, '\0') < text.n)
			return "a control character is in it";
		why = l->cut ? "an address is too long" : l->each(l->arg, text);
	}
	begin_element(l);
	return why;
}

static const char *open_angle(struct list *l)
{
	if (l->inside || l->done)
		return "an angle bracket is out of place";
	begin_text(l);
	l->inside = l->any = true;
	return NULL;
}

static const char *close_angle(struct list *l)
{
	if (!l->inside || l->route)
		return "an angle bracket is out of place";
	if (l->last == NOTHING)
		return "an address is empty";
	l->inside = false;
	const char *why = end_element(l);
	l->any = l->done = true;
	return why;
}

static const char *take_colon(struct list *l)
{
	if (l->route) {
		l->route = false;
		return NULL;
	}
	if (l->inside || l->done || l->group || !l->any)
		return "a colon is out of place";
	l->group = true;
	begin_element(l);
	return NULL;
}

static const char *take_semicolon(struct list *l)
{
	if (!l->group || l->inside)
		return "a semicolon is out of place";
	const char *why = end_element(l);
	l->group = false;
	/* Only a comma may follow. */
	l->any = l->done = true;
	return why;
}

static const char *take_joint(struct list *l, char c)
{
	if (l->done)
		return "words follow an address";
	/* A source route: <@relay.example,@other.example:user@example.com>. */
	if (l->inside && l->last == NOTHING && c == '@')
		l->route = true;
	if (!l->route)
		gather(l, JOINT);
	return NULL;
}

static const char *take_special(struct list *l)
{
	char c = l->scan.token.p[0];

	switch (c) {
	case '<':
		return open_angle(l);
	case '>':
		return close_angle(l);
	case ':':
		return take_colon(l);
	case ';':
		return take_semicolon(l);
	case ',':
		return l->route ? NULL : end_element(l);
	default:
		return take_joint(l, c);
	}
}

static const char *run(struct list *l)
{
	const char *why = NULL;

	while (!why) {
		switch (next_token(&l->scan)) {
		case TOKEN_END:
			return l->group ? "a group is not closed" : end_element(l);
		case TOKEN_BAD:
			return l->scan.why;
		case TOKEN_SPECIAL:
			why = take_special(l);
			break;
		default:
			why = take_part(l);
		}
	}
	return why;
}

const char *mail_address_list(struct slice in, const char *(*each)(void *arg, struct slice address), void *arg)
{
	struct list l = {.scan = {.in = in}, .each = each, .arg = arg};

	buf_init(&l.text, MAIL_LISTED_ADDRESS_MAX);
	begin_element(&l);
	const char *why = run(&l);
	buf_free(&l.text);
	return why;
}
