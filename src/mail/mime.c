#include "mail/mime.h"

#include "mail/scan.h"

#include <string.h>

#define COMMENT_DEPTH_MAX 32

/* ---- fields ------------------------------------------------------------------------------------------------------ */

static size_t line_octets(struct slice s)
{
	size_t crlf = slice_search(s, SLICE("\r\n"));

	return crlf < s.n ? crlf + 2 : s.n;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* Octets of a field's name and of its colon with what stands before it; 0 when the line is no field. */
static size_t field_start(struct slice line, size_t *ret_name)
{
	size_t name = 0;

	while (name < line.n && mail_is_field_name(line.p[name]))
		name++;

	size_t colon = name;
	while (colon < line.n && is_blank(line.p[colon]))
		colon++;
	*ret_name = name;
	return name > 0 && colon < line.n && line.p[colon] == ':' ? colon + 1 : 0;
}

bool mail_line_is_field(struct slice line)
{
	size_t name;

	return field_start(line, &name) > 0;
}

bool mail_header_next(struct slice *rest, struct mail_header_field *ret)
{
	size_t n = line_octets(*rest), name, start = field_start(*rest, &name);

	if (rest->n == 0)
		return false;
	while (n < rest->n && is_blank(rest->p[n]))
		n += line_octets(slice_skip(*rest, n));
	ret->whole = slice_head(*rest, n);
	ret->name = slice_head(ret->whole, start ? name : 0);
	ret->value = slice_skip(ret->whole, start);
	*rest = slice_skip(*rest, n);
	return true;
}

/* ---- structured values ------------------------------------------------------------------------------------------- */

/* Drops blanks, folds and comments (RFC 5322 3.2.2) from the front. */
static struct slice skip_cfws(struct slice s)
{
	unsigned depth = 0;

	for (; s.n; s = slice_skip(s, 1)) {
		char c = s.p[0];

		if (c == '(') {
			if (++depth > COMMENT_DEPTH_MAX)
				return slice_skip(s, s.n);
		} else if (depth > 0) {
			if (c == ')')
				depth--;
			else if (c == '\\')
				s = slice_skip(s, 1);
		} else if (!is_blank(c) && c != '\r' && c != '\n') {
			break;
		}
	}
	return s;
}

/* RFC 2045 5.1 */
static bool is_token(char c)
{
	return c > ' ' && c < 127 && memchr("()<>@,;:\\\"/[]?=", c, 15) == NULL;
}

static struct slice take_token(struct slice *s)
{
	size_t n = 0;

	*s = skip_cfws(*s);
	while (n < s->n && is_token(s->p[n]))
		n++;

	struct slice token = slice_head(*s, n);
	*s = skip_cfws(slice_skip(*s, n));
	return token;
}

static bool take_char(struct slice *s, char c)
{
	if (s->n == 0 || s->p[0] != c)
		return false;
	*s = skip_cfws(slice_skip(*s, 1));
	return true;
}

/* A parameter's value, as far as it fits into `into`; *ret_n is its whole length. False when it has no end. */
static bool take_value(struct slice *s, char *into, size_t max, size_t *ret_n)
{
	bool quoted = s->n && s->p[0] == '"';
	size_t n = 0, at = quoted;

	for (; at < s->n; at++) {
		char c = s->p[at];

		if (quoted ? c == '"' : is_blank(c) || c == ';' || c == '"' || c == '\r' || c == '\n')
			break;
		if (quoted && (c == '\r' || c == '\n'))
			continue; /* folding inside quotes is no part of the value */
		if (quoted && c == '\\' && ++at == s->n)
			return false;
		if (n < max)
			into[n] = s->p[at];
		n++;
	}
	*ret_n = n;
	if (quoted && at == s->n)
		return false;
	*s = skip_cfws(slice_skip(*s, at + quoted));
	return true;
}

static bool parse_parameters(struct slice s, struct mail_mime_type *ret)
{
	unsigned boundaries = 0;

	while (take_char(&s, ';')) {
		char value[MAIL_MIME_BOUNDARY_MAX];
		size_t n;
		struct slice name = take_token(&s);

		if (name.n == 0 && (s.n == 0 || s.p[0] == ';'))
			continue;
		if (!take_char(&s, '=') || !take_value(&s, value, sizeof value, &n))
			return false;
		if (slice_istarts(name, SLICE("boundary*")))
			return false; /* RFC 2231: nobody writes it, and readers differ */
		if (!slice_ieq(name, SLICE("boundary")))
			continue;
		while (n > 0 && n <= sizeof value && is_blank(value[n - 1]))
			n--;
		if (++boundaries > 1 || n > sizeof value)
			return false;
		memcpy(ret->boundary, value, n);
		ret->boundary_n = n;
	}
	return s.n == 0;
}

bool mail_mime_type_parse(struct slice value, struct mail_mime_type *ret)
{
	*ret = (struct mail_mime_type){0};

	struct slice type = take_token(&value);
	if (type.n == 0 || !take_char(&value, '/'))
		return false;
	struct slice subtype = take_token(&value);
	if (subtype.n == 0)
		return false;

	if (!parse_parameters(value, ret))
		ret->boundary_n = 0;
	ret->type = type;
	ret->subtype = subtype;
	return true;
}

enum mail_mime_encoding mail_mime_encoding_parse(struct slice value)
{
	static const struct {
		struct slice name;
		enum mail_mime_encoding encoding;
	} rows[] = {
		{{"7bit", 4}, MAIL_MIME_7BIT},     {{"8bit", 4}, MAIL_MIME_8BIT},
		{{"binary", 6}, MAIL_MIME_BINARY}, {{"quoted-printable", 16}, MAIL_MIME_QUOTED_PRINTABLE},
		{{"base64", 6}, MAIL_MIME_BASE64},
	};
	struct slice token = take_token(&value);

	for (size_t i = 0; value.n == 0 && i < sizeof rows / sizeof *rows; i++)
		if (slice_ieq(token, rows[i].name))
			return rows[i].encoding;
	return MAIL_MIME_UNKNOWN;
}
