/*
 * bounce_value: the values that reports hold, out of fields and out of texts.
 */
#include "mail/bounce_private.h"

#include "mail/address.h"
#include "mail/field.h"
#include "mail/unitext.h"

#include <assert.h>
#include <string.h>

#define VALUE_MAX     2000 /* octets of a field's value that are looked at for an address */
#define PATH_MAX_SEEN 1000 /* octets of a path with its source route */
#define WORDS_MAX     1000 /* octets of a subject */

/* ---- addresses --------------------------------------------------------------------------------------------------- */

/* RFC 5322 atext and '.', and octets above 127. */
static bool is_local(char c)
{
	return ascii_is_alnum(c) || (unsigned char)c >= 0x80 || (c && strchr("!#$%&'*+-/=?^_`{|}~.", c));
}

static bool is_domain(char c)
{
	return ascii_is_alnum(c) || (unsigned char)c >= 0x80 || c == '-' || c == '.' || c == '_';
}

/* Octets of a quoted local part that starts `in`; 0 when there is none. */
static size_t quoted_octets(struct slice in)
{
	for (size_t i = 1; i < in.n && i <= 2 * MAIL_LOCAL_MAX; i++) {
		if (in.p[i] == '\\')
			i++;
		else if (in.p[i] == '"')
			return i + 1;
		else if (in.p[i] == '\n')
			return 0;
	}
	return 0;
}

/* *used is set to 0 where there is none, or to what it takes, be it an address or not. */
static struct slice bare_address(struct slice in, size_t *used)
{
	struct mail_address parsed;
	const char *why;
	size_t local = in.n && in.p[0] == '"' ? quoted_octets(in) : 0;

	while (local < in.n && local <= MAIL_LOCAL_MAX && (local == 0 || in.p[0] != '"') && is_local(in.p[local]))
		local++;
	*used = 0;
	if (local == 0 || local >= in.n || in.p[local] != '@')
		return SLICE_NONE;

	size_t end = local + 1;
	if (end < in.n && in.p[end] == '[') {
		while (end < in.n && end - local < MAIL_DOMAIN_MAX && in.p[end] != ']')
			end++;
		end += end < in.n;
	} else {
		while (end < in.n && end - local <= MAIL_DOMAIN_MAX && is_domain(in.p[end]))
			end++;
		while (end > local + 1 && memchr(".-_", in.p[end - 1], 3))
			end--;
	}
	*used = end;
	in = slice_head(in, end);
	return mail_address_parse(in, &parsed, &why) == MAIL_ADDRESS_OK ? in : SLICE_NONE;
}

/* Without brackets only what has a dot in its domain, or a literal, is taken for an address. */
static struct slice dotted_address(struct slice in, size_t *used)
{
	struct slice address = bare_address(in, used);
	size_t at = slice_rfind(address, '@');

	if (at < address.n && slice_find(slice_skip(address, at), '.') == address.n - at &&
	    address.p[address.n - 1] != ']')
		return SLICE_NONE;
	return address;
}

struct slice bounce_address_at(struct slice in, size_t *used)
{
	struct mail_address parsed;
	const char *why;

	*used = 0;
	if (in.n == 0 || in.p[0] != '<')
		return dotted_address(in, used);
	if (mail_path_parse(slice_head(in, PATH_MAX_SEEN), false, false, &parsed, used, &why) == MAIL_ADDRESS_OK)
		return parsed.text;
	struct slice address = dotted_address(slice_skip(in, 1), used);
	*used += 1;
	if (address.n == 0 || *used >= in.n || in.p[*used] != '>')
		return SLICE_NONE;
	*used += 1;
	return address;
}

struct slice bounce_untyped(struct slice value, struct slice *ret_type)
{
	size_t n = 0;

	value = slice_trim(value);
	while (n < value.n && (ascii_is_alnum(value.p[n]) || value.p[n] == '-' || value.p[n] == '_'))
		n++;
	struct slice type = slice_head(value, n), rest = slice_trim(slice_skip(value, n));
	bool typed = n > 0 && rest.n && rest.p[0] == ';';

	if (ret_type)
		*ret_type = typed ? type : SLICE_NONE;
	return typed ? slice_trim(slice_skip(rest, 1)) : value;
}

static struct slice unitext(struct bounce_reader *r, struct slice in)
{
	struct slice ret = SLICE_NONE;
	struct buf out;

	buf_init(&out, VALUE_MAX + 1);
	if (mail_unitext_decode(in, &out))
		ret = bounce_scratch(r, buf_slice(&out));
	r->no_memory |= out.failed;
	buf_free(&out);
	return ret;
}

/* X.400 writes "(a)" for '@' in "/RFC-822=" and "DDA:SMTP=" attributes. */
static struct slice x400_address(struct bounce_reader *r, struct slice value)
{
	static const struct slice marks[] = {{"rfc-822=", 8}, {"smtp=", 5}, {"rfc822=", 7}, {"internet=", 9}};
	size_t used;

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		size_t at = slice_isearch(value, marks[i]);
		if (at == value.n)
			continue;

		struct slice inner = slice_skip(value, at + marks[i].n);
		char text[MAIL_PATH_MAX];
		size_t n = 0;
		for (size_t j = 0; j < inner.n && n < sizeof text && !memchr("/; \t\r\n", inner.p[j], 6); j++) {
			bool is_at = slice_istarts(slice_skip(inner, j), SLICE("(a)"));

			text[n++] = is_at ? '@' : inner.p[j];
			j += is_at ? 2 : 0;
		}
		struct slice address = bounce_address_at(slice_of(text, n), &used);
		if (address.n)
			return bounce_scratch(r, address);
	}
	return SLICE_NONE;
}

/* All of it as an address, be it one that has no dot in its domain. */
static struct slice whole_address(struct slice in)
{
	struct mail_address parsed;
	const char *why;
	size_t used;

	if (mail_path_parse(in, false, false, &parsed, &used, &why) == MAIL_ADDRESS_OK && parsed.domain.n)
		return parsed.text;
	return bare_address(in, &used).n ? bare_address(in, &used) : SLICE_NONE;
}

struct slice bounce_address_of(struct bounce_reader *r, struct slice value)
{
	struct slice type, rest = bounce_untyped(slice_head(value, VALUE_MAX), &type), address;
	struct slice word = slice_head(rest, 0);

	while (word.n < rest.n && !memchr(" \t\r\n", rest.p[word.n], 4))
		word.n++;
	if (slice_ieq(type, SLICE("utf-8")) && (address = unitext(r, word)).n)
		return address;
	address = whole_address(rest);
	if (address.n)
		return address;
	if (slice_istarts(rest, SLICE("smtp:")) || slice_istarts(rest, SLICE("mailto:")))
		return whole_address(slice_skip(rest, slice_find(rest, ':') + 1));
	size_t bracket = slice_find(rest, '<');
	if (bracket < rest.n && (address = whole_address(slice_skip(rest, bracket))).n)
		return address;
	return x400_address(r, rest);
}

/* ---- hosts ------------------------------------------------------------------------------------------------------- */

struct slice bounce_host_at(struct slice in)
{
	size_t n = 0;
	bool dot = false;

	while (in.n && memchr(" \t\r\n([:'\"<", in.p[0], 9))
		in = slice_skip(in, 1);
	while (n < in.n && n < MAIL_DOMAIN_MAX && (is_domain(in.p[n]) || in.p[n] == ':')) {
		dot = dot || (in.p[n] == '.' && n + 1 < in.n && ascii_is_alnum(in.p[n + 1]));
		n++;
	}
	while (n > 0 && memchr(".:-", in.p[n - 1], 3))
		n--;
	struct slice host = slice_head(in, n);
	bool colons = slice_find(slice_skip(host, slice_find(host, ':') + 1), ':') <
		      slice_skip(host, slice_find(host, ':') + 1).n;
	if (colons && !dot)
		return host; /* IPv6 */
	host = slice_head(host, slice_find(host, ':'));
	return dot && mail_domain_valid(host, true) ? host : SLICE_NONE;
}

/* ---- texts ------------------------------------------------------------------------------------------------------- */

struct slice bounce_keep(struct bounce_reader *r, struct slice text)
{
	struct slice copy = text.n ? arena_copy(&r->out->arena, text) : SLICE_NONE;

	if (text.n && !copy.p) {
		r->no_memory = true;
		return SLICE_NONE;
	}
	return copy;
}

struct slice bounce_scratch(struct bounce_reader *r, struct slice text)
{
	struct slice copy = arena_copy(&r->scratch, text);

	r->no_memory |= !copy.p;
	return copy.p ? copy : SLICE_NONE;
}

/* Of a text in an unknown charset nothing may be left that says anything. */
static bool is_legible(struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		if (ascii_is_alnum(text.p[i]) || (unsigned char)text.p[i] >= 0x80)
			return true;
	return false;
}

struct slice bounce_clean(struct bounce_reader *r, struct slice text, size_t max)
{
	struct buf flat, safe;
	bool blank = true;

	buf_init(&flat, 4 * max);
	buf_init(&safe, max);
	text = slice_trim(text);
	for (size_t i = 0; i < text.n && buf_len(&flat) < 4 * max && !flat.failed; i++) {
		bool is_blank = memchr(" \t\r\n", text.p[i], 4);

		if (!is_blank || !blank)
			buf_add_char(&flat, is_blank ? ' ' : text.p[i]);
		blank = is_blank;
	}
	if (!mail_field_safe(&safe, slice_trim(buf_slice(&flat)), max, true) || flat.failed)
		r->no_memory = true;
	struct slice ret = is_legible(buf_slice(&safe)) ? bounce_keep(r, buf_slice(&safe)) : SLICE_NONE;
	buf_free(&flat);
	buf_free(&safe);
	return ret;
}

/* ---- encoded words ----------------------------------------------------------------------------------------------- */

static void add_utf8(struct buf *out, struct slice text, bool latin, bool quoted)
{
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = quoted && text.p[i] == '_' ? ' ' : (unsigned char)text.p[i];

		if (latin && c >= 0x80) {
			buf_add_char(out, (char)(0xc0 | c >> 6));
			c = 0x80 | (c & 0x3f);
		}
		buf_add_char(out, (char)c);
	}
}

/* "=?charset?B?text?=" at the start; octets taken, 0 when it is none. */
static size_t take_encoded_word(struct bounce_reader *r, struct slice in, struct buf *out)
{
	struct slice rest = slice_head(slice_skip(in, 2), 500);

	if (!slice_starts(in, SLICE("=?")))
		return 0;
	struct slice charset = slice_split(&rest, '?'), how = slice_split(&rest, '?');
	size_t end = slice_search(rest, SLICE("?="));
	bool base64 = slice_ieq(how, SLICE("B"));
	if (end == rest.n || (!base64 && !slice_ieq(how, SLICE("Q"))))
		return 0;

	struct bounce_part part = {.encoding = base64 ? MAIL_MIME_BASE64 : MAIL_MIME_QUOTED_PRINTABLE,
				   .body = slice_head(rest, end)};
	struct slice text = bounce_part_decode(r, &part, &(size_t){500});
	bool latin = slice_istarts(charset, SLICE("iso-8859-1")) || slice_istarts(charset, SLICE("windows-125"));
	add_utf8(out, text, latin, !base64);
	return (size_t)(rest.p - in.p) + end + 2;
}

struct slice bounce_decode_words(struct bounce_reader *r, struct slice value)
{
	struct slice ret;
	struct buf out;

	buf_init(&out, 4 * WORDS_MAX);
	value = slice_head(value, WORDS_MAX);
	while (value.n && !out.failed) {
		size_t taken = take_encoded_word(r, value, &out);

		if (taken == 0) {
			buf_add_char(&out, value.p[0]);
			taken = 1;
		} else if (slice_starts(slice_trim(slice_skip(value, taken)), SLICE("=?"))) {
			while (value.p[taken] != '=') /* blanks between encoded words do not count */
				taken++;
		}
		value = slice_skip(value, taken);
	}
	ret = bounce_scratch(r, buf_slice(&out));
	r->no_memory |= out.failed;
	buf_free(&out);
	return ret;
}

/* ---- actions ----------------------------------------------------------------------------------------------------- */

enum mail_bounce_action bounce_action_of(struct slice value)
{
	static const struct {
		struct slice start;
		enum mail_bounce_action action;
	} rows[] = {
		{{"fail", 4}, MAIL_BOUNCE_FAILED},       {{"error", 5}, MAIL_BOUNCE_FAILED},
		{{"reject", 6}, MAIL_BOUNCE_FAILED},     {{"undeliver", 9}, MAIL_BOUNCE_FAILED},
		{{"bounce", 6}, MAIL_BOUNCE_FAILED},     {{"permanent", 9}, MAIL_BOUNCE_FAILED},
		{{"delay", 5}, MAIL_BOUNCE_DELAYED},     {{"warn", 4}, MAIL_BOUNCE_DELAYED},
		{{"transient", 9}, MAIL_BOUNCE_DELAYED}, {{"defer", 5}, MAIL_BOUNCE_DELAYED},
		{{"deliver", 7}, MAIL_BOUNCE_DELIVERED}, {{"relay", 5}, MAIL_BOUNCE_RELAYED},
		{{"expand", 6}, MAIL_BOUNCE_EXPANDED},   {{"success", 7}, MAIL_BOUNCE_DELIVERED},
	};

	value = slice_trim(value);
	while (value.n && memchr("\"'( <[", value.p[0], 6))
		value = slice_skip(value, 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (slice_istarts(value, rows[i].start))
			return rows[i].action;
	return MAIL_BOUNCE_NO_ACTION;
}
