#include "mail/parts.h"

#include "base/heap.h"
#include "mail/field.h"
#include "mail/mime.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define DELIMITER_MAX  (MAIL_MIME_BOUNDARY_MAX + 100) /* octets of a delimiter line with blanks at its end */
#define NAME_SHOWN_MAX 80

/*
 *	HEADER --its end--> HEADER  a message in a message
 *	           +------> BODY    inside of a multipart: lines are looked at for delimiters
 *	           +------> OVER    no multipart is open: nothing can follow
 *	BODY, HEADER --delimiter--> HEADER (next part), BODY (last one, inside of another multipart), OVER
 */
enum state {
	HEADER,
	BODY,
	OVER,
};

struct level {
	char boundary[MAIL_MIME_BOUNDARY_MAX];
	size_t boundary_n;
	bool digest; /* parts are messages when they do not say */
};

struct mail_parts {
	struct mail_parts_rules rules;
	enum mail_parts_result result;
	struct buf what;

	enum state state;
	struct buf line; /* its first octets: as many as matter in this state */
	uint64_t line_n;
	struct buf fields; /* the Content- fields of the part */
	bool in_field;     /* the last field is one of them */
	bool digest_part;
	struct buf name; /* a file name, decoded */

	size_t depth;
	struct level levels[MAIL_PARTS_DEPTH_MAX];
};

/* ---- verdicts ---------------------------------------------------------------------------------------------------- */

static void refuse(struct mail_parts *p, const char *what, struct slice name)
{
	if (p->result != MAIL_PARTS_GOOD)
		return;
	p->result = MAIL_PARTS_REFUSED;
	buf_add(&p->what, slice_from_cstr(what));
	mail_field_safe(&p->what, name, NAME_SHOWN_MAX, false);
}

static void refuse_unreadable(struct mail_parts *p)
{
	refuse(p, "a part that cannot be read for what it is", SLICE(""));
}

static void check_room(struct mail_parts *p, bool had_room)
{
	if (!had_room && p->result == MAIL_PARTS_GOOD)
		p->result = MAIL_PARTS_NO_MEMORY;
}

static void check_media(struct mail_parts *p, struct slice type, struct slice subtype)
{
	for (size_t i = 0; i < p->rules.media_count; i++) {
		struct slice rest = p->rules.media[i], rule = slice_split(&rest, '/');

		if (slice_ieq(rule, type) && (slice_eq(rest, SLICE("*")) || slice_ieq(rest, subtype)))
			refuse(p, "media type ", p->rules.media[i]);
	}
}

/* ---- file names -------------------------------------------------------------------------------------------------- */

static int base64_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

static void add_base64(struct buf *out, struct slice in)
{
	unsigned bits = 0, have = 0;

	for (size_t i = 0; i < in.n; i++) {
		int value = base64_value(in.p[i]);

		if (value < 0)
			continue;
		bits = (bits << 6 | (unsigned)value) & 0xffff;
		have += 6;
		if (have >= 8) {
			have -= 8;
			buf_add_char(out, (char)(bits >> have & 0xff));
		}
	}
}

/* Octets of a text in which `mark` and two hex digits stand for an octet. */
static void add_hex(struct buf *out, struct slice in, char mark)
{
	for (size_t i = 0; i < in.n; i++) {
		int high = in.p[i] == mark && i + 2 < in.n ? ascii_hex_value(in.p[i + 1]) : -1;
		int low = high >= 0 ? ascii_hex_value(in.p[i + 2]) : -1;

		if (low >= 0) {
			buf_add_char(out, (char)(high * 16 + low));
			i += 2;
		} else {
			buf_add_char(out, in.p[i]);
		}
	}
}

/* An encoded word at the start (RFC 2047 2): its octets, 0 when it is none. */
static size_t add_encoded_word(struct buf *out, struct slice in)
{
	struct slice rest = slice_skip(in, 2);

	if (!slice_starts(in, SLICE("=?")))
		return 0;
	slice_split(&rest, '?');
	struct slice how = slice_split(&rest, '?');
	size_t end = slice_search(rest, SLICE("?="));
	if (!rest.p || end == rest.n || how.n != 1 || !strchr("bBqQ", how.p[0]))
		return 0;
	if (ascii_lower(how.p[0]) == 'b')
		add_base64(out, slice_head(rest, end));
	else
		add_hex(out, slice_head(rest, end), '=');
	return (size_t)(rest.p - in.p) + end + 2;
}

static void add_words(struct buf *out, struct slice in)
{
	bool word = false;

	while (in.n) {
		size_t next = slice_search(in, SLICE("=?"));
		struct slice between = slice_head(in, next);

		/* Blanks between two encoded words do not count. */
		if (!word || slice_trim(between).n > 0)
			buf_add(out, between);
		in = slice_skip(in, next);
		size_t taken = add_encoded_word(out, in);
		word = taken > 0;
		if (!word && in.n)
			buf_add(out, slice_head(in, 1));
		in = slice_skip(in, word ? taken : 1);
	}
}

static void check_name(struct mail_parts *p)
{
	struct slice name = buf_slice(&p->name);

	check_room(p, !p->name.failed);
	while (name.n && ((unsigned char)name.p[name.n - 1] <= ' ' || name.p[name.n - 1] == '.'))
		name.n--;
	for (size_t i = 0; i < p->rules.extension_count; i++) {
		struct slice extension = p->rules.extensions[i];

		if (name.n > extension.n && name.p[name.n - extension.n - 1] == '.' && slice_iends(name, extension))
			refuse(p, "a file named ", name);
	}
	buf_reset(&p->name);
}

/* ---- parameters (RFC 2045 5.1, RFC 2231) ------------------------------------------------------------------------- */

/* A part of a file name: "filename*3*=..." has number 3 and is encoded. */
struct piece {
	unsigned number;
	bool encoded;
	struct slice value; /* with its quotes */
};

struct pieces {
	struct piece list[MAIL_PARTS_PIECES_MAX];
	size_t count;
};

/* Splits off the text up to the next ';' that is not in quotes. */
static struct slice split_parameter(struct slice *rest)
{
	bool quoted = false;
	size_t n = 0;

	for (; n < rest->n && (quoted || rest->p[n] != ';'); n++) {
		if (rest->p[n] == '\\' && quoted)
			n++;
		else if (rest->p[n] == '"')
			quoted = !quoted;
	}
	struct slice parameter = slice_head(*rest, n);
	*rest = slice_skip(*rest, n + 1);
	return parameter;
}

/* The value without its quotes and backslashes; folds go. */
static void add_value(struct buf *out, struct slice value)
{
	bool quoted = false;

	for (size_t i = 0; i < value.n; i++) {
		char c = value.p[i];

		if (c == '"') {
			quoted = !quoted;
			continue;
		}
		if (c == '\\' && quoted && i + 1 < value.n)
			c = value.p[++i];
		if (c != '\r' && c != '\n')
			buf_add_char(out, c);
	}
}

static void check_plain_name(struct mail_parts *p, struct slice value)
{
	struct buf text;

	buf_init(&text, MAIL_PARTS_FIELDS_MAX);
	add_value(&text, value);
	check_room(p, !text.failed);
	/* A name is looked at as it stands, too: not every reader decodes it. */
	buf_add(&p->name, buf_slice(&text));
	check_name(p);
	add_words(&p->name, buf_slice(&text));
	check_name(p);
	buf_free(&text);
}

static int by_number(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static void check_pieces(struct mail_parts *p, struct pieces *pieces)
{
	struct buf text;

	if (pieces->count == 0)
		return;
	buf_init(&text, MAIL_PARTS_FIELDS_MAX);
	qsort(pieces->list, pieces->count, sizeof *pieces->list, by_number);
	for (size_t i = 0; i < pieces->count; i++) {
		const struct piece *piece = &pieces->list[i];

		buf_reset(&text);
		add_value(&text, piece->value);
		struct slice value = buf_slice(&text);
		if (i == 0 && piece->encoded && slice_find(value, '\'') < value.n) { /* charset'language'text */
			slice_split(&value, '\'');
			slice_split(&value, '\'');
		}
		if (piece->encoded)
			add_hex(&p->name, value, '%');
		else
			buf_add(&p->name, value);
		check_room(p, !text.failed);
	}
	check_name(p);
	buf_free(&text);
}

/* `rest` is what stands behind the name of the parameter: "", "*", "*0" or "*0*". */
static void add_piece(struct mail_parts *p, struct pieces *pieces, struct slice rest, struct slice value)
{
	struct piece piece = {.value = value, .encoded = slice_ends(rest, SLICE("*"))};
	struct slice digits = slice_skip(rest, 1);
	uint64_t number = 0;

	if (piece.encoded)
		digits = slice_head(digits, digits.n ? digits.n - 1 : 0);
	if (digits.n && !slice_u64(digits, UINT32_MAX, &number))
		number = UINT32_MAX;
	piece.number = (unsigned)number;
	if (pieces->count == MAIL_PARTS_PIECES_MAX)
		refuse_unreadable(p);
	else
		pieces->list[pieces->count++] = piece;
}

/* The file names among the parameters of a field. `keyword` is what the field calls them. */
static void check_names(struct mail_parts *p, struct slice field, struct slice keyword)
{
	struct pieces pieces = {.count = 0};

	split_parameter(&field);
	while (field.n) {
		struct slice value = split_parameter(&field), name = slice_split(&value, '=');

		name = slice_trim(name);
		if (!value.p || !slice_istarts(name, keyword))
			continue;
		struct slice rest = slice_trim(slice_skip(name, keyword.n));
		if (rest.n == 0)
			check_plain_name(p, slice_trim(value));
		else if (rest.p[0] == '*')
			add_piece(p, &pieces, rest, slice_trim(value));
	}
	check_pieces(p, &pieces);
}

/* ---- parts ------------------------------------------------------------------------------------------------------- */

static void part_starts(struct mail_parts *p, bool digest_part)
{
	p->state = HEADER;
	p->digest_part = digest_part;
	p->in_field = false;
	buf_reset(&p->fields);
}

static void begin_multipart(struct mail_parts *p, const struct mail_mime_type *type)
{
	if (type->boundary_n == 0 || p->depth == MAIL_PARTS_DEPTH_MAX) {
		refuse_unreadable(p);
		return;
	}
	struct level *level = &p->levels[p->depth++];
	level->boundary_n = type->boundary_n;
	level->digest = slice_ieq(type->subtype, SLICE("digest"));
	memcpy(level->boundary, type->boundary, type->boundary_n);
}

static bool is_same_type(const struct mail_mime_type *a, const struct mail_mime_type *b)
{
	return slice_ieq(a->type, b->type) && slice_ieq(a->subtype, b->subtype) &&
	       slice_eq(slice_of(a->boundary, a->boundary_n), slice_of(b->boundary, b->boundary_n));
}

/* Judges the part by its fields, and goes into its body. */
static void body_begins(struct mail_parts *p)
{
	struct mail_mime_type type = {.type = SLICE("text"), .subtype = SLICE("plain")};
	enum mail_mime_encoding encoding = MAIL_MIME_NONE;
	struct mail_header_field f;
	bool typed = false;

	if (p->digest_part)
		type = (struct mail_mime_type){.type = SLICE("message"), .subtype = SLICE("rfc822")};
	for (struct slice rest = buf_slice(&p->fields); mail_header_next(&rest, &f);) {
		if (slice_ieq(f.name, SLICE("Content-Type"))) {
			struct mail_mime_type here;

			if (mail_mime_type_parse(f.value, &here)) {
				if (typed && !is_same_type(&here, &type)) /* which counts is for the reader to say */
					refuse_unreadable(p);
				type = here;
				check_media(p, type.type, type.subtype);
				typed = true;
			}
			check_names(p, f.value, SLICE("name"));
		} else if (slice_ieq(f.name, SLICE("Content-Disposition"))) {
			check_names(p, f.value, SLICE("filename"));
		} else if (slice_ieq(f.name, SLICE("Content-Transfer-Encoding"))) {
			encoding = mail_mime_encoding_parse(f.value);
		}
	}
	if (!typed)
		check_media(p, type.type, type.subtype);
	if (slice_ieq(type.type, SLICE("multipart")))
		begin_multipart(p, &type);
	if (slice_ieq(type.type, SLICE("message")) && encoding <= MAIL_MIME_BINARY &&
	    (slice_ieq(type.subtype, SLICE("rfc822")) || slice_ieq(type.subtype, SLICE("global"))))
		part_starts(p, false);
	else
		p->state = p->depth > 0 ? BODY : OVER;
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* RFC 2046 5.1.1 */
static bool is_delimiter(const struct level *level, struct slice line, bool *ret_last)
{
	struct slice rest = slice_skip(line, 2);

	if (!slice_starts(line, SLICE("--")) || !slice_starts(rest, slice_of(level->boundary, level->boundary_n)))
		return false;
	rest = slice_skip(rest, level->boundary_n);
	*ret_last = slice_starts(rest, SLICE("--"));
	return slice_trim(slice_skip(rest, *ret_last ? 2 : 0)).n == 0;
}

static bool take_delimiter(struct mail_parts *p, struct slice line)
{
	size_t at = p->depth;
	bool last = false;

	while (at > 0 && !is_delimiter(&p->levels[at - 1], line, &last))
		at--;
	if (at == 0)
		return false;
	/* A part that ends within its header section has a type all the same. */
	if (p->state == HEADER)
		body_begins(p);
	p->depth = last ? at - 1 : at;
	if (!last)
		part_starts(p, p->levels[at - 1].digest);
	else
		p->state = p->depth > 0 ? BODY : OVER;
	return true;
}

static void add_field_line(struct mail_parts *p, struct slice line)
{
	if (p->line_n > line.n || line.n + 2 > buf_room(&p->fields))
		refuse_unreadable(p);
	else
		check_room(p, buf_add(&p->fields, line) && buf_add_lit(&p->fields, "\r\n"));
}

/* By the rule of mail/scan.h. */
static void header_line(struct mail_parts *p, struct slice line)
{
	bool blank = line.n && (line.p[0] == ' ' || line.p[0] == '\t');

	if (blank && p->in_field) {
		add_field_line(p, line);
	} else if (mail_line_is_field(line)) {
		p->in_field = slice_istarts(line, SLICE("Content-"));
		if (p->in_field)
			add_field_line(p, line);
	} else if (!blank) { /* the empty line; or one of the body, which may be the header section of a message */
		body_begins(p);
		if (line.n && p->state == HEADER)
			header_line(p, line);
	}
}

static void line_ends(struct mail_parts *p)
{
	struct slice line = buf_slice(&p->line);

	if (line.n == p->line_n && slice_ends(line, SLICE("\r"))) {
		line.n--;
		p->line_n--;
	}
	if (!(line.n == p->line_n && take_delimiter(p, line)) && p->state == HEADER)
		header_line(p, line);
	buf_reset(&p->line);
	p->line_n = 0;
}

/* Keeps what may matter of a line. */
static void add_to_line(struct mail_parts *p, struct slice in)
{
	size_t most = p->state == HEADER ? MAIL_PARTS_FIELDS_MAX : DELIMITER_MAX;
	size_t kept = buf_len(&p->line);

	if (p->line_n == kept && kept < most && (p->state == HEADER || kept > 0 || (in.n && in.p[0] == '-')))
		check_room(p, buf_add(&p->line, slice_head(in, most - kept)));
	p->line_n += in.n;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

struct mail_parts *mail_parts_new(const struct mail_parts_rules *rules)
{
	struct mail_parts *p = heap_new(struct mail_parts);

	if (!p)
		return NULL;
	p->rules = *rules;
	buf_init(&p->what, MAIL_PARTS_WHAT_MAX);
	buf_init(&p->line, MAIL_PARTS_FIELDS_MAX);
	buf_init(&p->fields, MAIL_PARTS_FIELDS_MAX);
	buf_init(&p->name, MAIL_PARTS_FIELDS_MAX);
	part_starts(p, false);
	return p;
}

void mail_parts_free(struct mail_parts *p)
{
	if (!p)
		return;
	buf_free(&p->what);
	buf_free(&p->line);
	buf_free(&p->fields);
	buf_free(&p->name);
	heap_free(p);
}

/* Lines end in LF here, with CR before it or not: no reader may find more lines in the message than we do. */
void mail_parts_feed(struct mail_parts *p, struct slice piece)
{
	while (piece.n && p->state != OVER && p->result == MAIL_PARTS_GOOD) {
		const char *lf = memchr(piece.p, '\n', piece.n);
		size_t n = lf ? (size_t)(lf - piece.p) : piece.n;

		add_to_line(p, slice_head(piece, n));
		piece = slice_skip(piece, n + 1);
		if (lf)
			line_ends(p);
	}
}

enum mail_parts_result mail_parts_end(struct mail_parts *p, struct slice *ret_what)
{
	if (p->line_n > 0 && p->state != OVER && p->result == MAIL_PARTS_GOOD)
		line_ends(p);
	if (p->state == HEADER && p->result == MAIL_PARTS_GOOD)
		body_begins(p);
	*ret_what = buf_slice(&p->what);
	return p->result;
}
