/*
 * bounce_parts: a message taken apart, leniently: lines end in CRLF or LF, boundaries may be lost, labels wrong, and
 * messages encoded. Each nesting level looks once at what it holds.
 */
#include "mail/bounce_private.h"

#include "mail/scan.h"

#include <assert.h>
#include <string.h>

#define HEADER_MAX   (1 << 18) /* octets of a header section that are looked at */
#define GUESS_MAX    (1 << 16) /* octets in which a lost boundary is looked for */
#define SNIFF_MAX    1024      /* octets that tell delivery status fields under a wrong label */
#define TAG_MAX      2000      /* octets of an HTML tag */
#define BOUNDARY_MAX 250

/* ---- lines and fields -------------------------------------------------------------------------------------------- */

bool bounce_line_next(struct slice *rest, struct slice *ret)
{
	*ret = SLICE_NONE;
	if (rest->n == 0)
		return false;
	size_t n = slice_find(*rest, '\n');
	*ret = slice_head(*rest, n);
	*rest = slice_skip(*rest, n + 1);
	while (ret->n && ret->p[ret->n - 1] == '\r')
		ret->n--;
	return true;
}

bool bounce_is_blank_line(struct slice line)
{
	return slice_trim(line).n == 0;
}

static bool is_continuation(struct slice rest)
{
	struct slice line;

	if (rest.n == 0 || (rest.p[0] != ' ' && rest.p[0] != '\t'))
		return false;
	bounce_line_next(&rest, &line);
	return !bounce_is_blank_line(line);
}

bool bounce_field_next(struct slice *rest, struct slice *name, struct slice *value)
{
	struct slice line, skipped;
	const char *start = rest->p;

	if (!bounce_line_next(rest, &line))
		return false;
	if (!mail_line_is_field(line)) {
		*name = SLICE_NONE;
		*value = line;
		return true;
	}
	while (is_continuation(*rest))
		bounce_line_next(rest, &skipped);

	struct slice whole = slice_of(start, (size_t)(rest->p - start));
	size_t colon = slice_find(whole, ':');
	*name = slice_trim(slice_head(whole, colon));
	*value = slice_trim(slice_skip(whole, colon + 1));
	return true;
}

struct slice bounce_field_find(struct slice header, struct slice name)
{
	struct slice n, value;

	while (bounce_field_next(&header, &n, &value))
		if (slice_ieq(n, name))
			return value;
	return SLICE_NONE;
}

/* The line with which mail folders begin a message. */
static bool is_folder_line(struct slice line)
{
	return slice_starts(line, SLICE("From ")) || slice_starts(line, SLICE(">From "));
}

struct slice bounce_header_split(struct slice message, struct slice *ret_body)
{
	struct slice rest = message, line, before = rest;
	bool first = true;

	while (before = rest, bounce_line_next(&rest, &line)) {
		bool folder = first && is_folder_line(line);
		bool folded = !first && line.n && (line.p[0] == ' ' || line.p[0] == '\t');

		if (line.n == 0 || (!folder && !folded && !mail_line_is_field(line)))
			break;
		if (folder)
			message = rest;
		else
			first = false;
	}
	if (before.n && line.n)
		rest = before; /* no empty line: the body starts with the line that is no field */
	*ret_body = rest;
	size_t n = before.n ? (size_t)(before.p - message.p) : message.n;
	return slice_head(message, n < HEADER_MAX ? n : HEADER_MAX);
}

/* ---- transfer encodings ------------------------------------------------------------------------------------------ */

static size_t decode_base64(struct slice in, char *out, size_t room)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	unsigned have = 0;
	size_t n = 0;

	for (size_t i = 0; i < in.n && n < room; i++) {
		const char *digit = memchr(digits, in.p[i], 64);

		if (!digit)
			continue;
		bits = bits << 6 | (uint32_t)(digit - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++] = (char)(bits >> have & 0xff);
		}
	}
	return n;
}

/* Octets of a soft line break, "=" with blanks and the line end; 0 when there is none. */
static size_t soft_break(struct slice s)
{
	size_t n = 1;

	while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t' || s.p[n] == '\r'))
		n++;
	if (n == s.n)
		return n;
	return s.p[n] == '\n' ? n + 1 : 0;
}

static size_t decode_quoted(struct slice in, char *out, size_t room)
{
	size_t n = 0;

	while (in.n && n < room) {
		size_t taken = in.p[0] == '=' ? soft_break(in) : 0;
		int high = in.n > 2 && in.p[0] == '=' ? ascii_hex_value(in.p[1]) : -1;
		int low = high >= 0 ? ascii_hex_value(in.p[2]) : -1;

		if (taken == 0) {
			out[n] = in.p[0];
			if (low >= 0)
				out[n] = (char)(high << 4 | low);
			n++;
			taken = low >= 0 ? 3 : 1;
		}
		in = slice_skip(in, taken);
	}
	return n;
}

struct slice bounce_part_decode(struct bounce_reader *r, const struct bounce_part *part, size_t *left)
{
	bool base64 = part->encoding == MAIL_MIME_BASE64;
	struct slice ret = slice_head(part->body, *left);
	size_t room = ret.n;

	if (base64 || part->encoding == MAIL_MIME_QUOTED_PRINTABLE) {
		char *out = arena_alloc(&r->scratch, room);

		if (!out) {
			r->no_memory = true;
			return SLICE_NONE;
		}
		ret = slice_of(out,
			       base64 ? decode_base64(part->body, out, room) : decode_quoted(part->body, out, room));
	}
	*left -= ret.n;
	return ret;
}

/* ---- HTML -------------------------------------------------------------------------------------------------------- */

struct html {
	char *out;
	size_t n, room;
	bool preformatted, tagged;
};

static void html_put(struct html *h, struct slice s)
{
	for (size_t i = 0; i < s.n && h->n < h->room; i++)
		h->out[h->n++] = s.p[i];
}

/* What tags do to the text. Those that are not here do nothing. */
static void html_tag(struct html *h, struct slice name)
{
	static const char *const breaks[] = {"br",  "/p", "p",     "div",    "/div", "tr",  "/tr",   "li",
					     "h1",  "h2", "h3",    "/h1",    "/h2",  "/h3", "hr",    "ul",
					     "/ul", "ol", "table", "/table", "dt",   "dd",  "title", "/title"};

	if (slice_ieq(name, SLICE("pre")) || slice_ieq(name, SLICE("/pre")))
		h->preformatted = name.p[0] != '/';
	if (slice_ieq(name, SLICE("/td")) || slice_ieq(name, SLICE("/th")))
		html_put(h, SLICE(" "));
	for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++)
		if (slice_ieq(name, slice_from_cstr(breaks[i])))
			html_put(h, SLICE("\n"));
}

/* Octets of the tag that starts `in`, with what a script or style sheet holds; 0 when it is none, as in <a@b.c>. */
static size_t html_take_tag(struct html *h, struct slice in)
{
	static const struct slice silent[] = {{"style", 5}, {"script", 6}};
	struct slice head = slice_head(in, TAG_MAX);
	size_t end = slice_find(head, '>'), n = 1;

	if (slice_starts(in, SLICE("<!--"))) {
		size_t close = slice_search(in, SLICE("-->"));
		return close < in.n ? close + 3 : 4;
	}
	while (n < end && in.p[n] != ' ' && in.p[n] != '\t' && in.p[n] != '\r' && in.p[n] != '\n')
		n++;
	struct slice name = slice_skip(slice_head(in, n), 1);
	if (end == head.n || name.n == 0 || slice_find(name, '@') < name.n)
		return 0;
	h->tagged = true;
	html_tag(h, name.n > 1 && name.p[name.n - 1] == '/' ? slice_head(name, name.n - 1) : name);
	for (size_t i = 0; i < 2; i++) {
		if (!slice_ieq(name, silent[i]))
			continue;
		size_t close = slice_search(slice_skip(in, end), SLICE("</"));
		return close < in.n - end ? end + close : in.n;
	}
	return end + 1;
}

/* Octets of the character reference that starts `in`; 0 when it is none. What it means is put. */
static size_t html_take_reference(struct html *h, struct slice in)
{
	static const struct {
		struct slice name, text;
	} rows[] = {
		{{"&lt;", 4}, {"<", 1}},    {{"&gt;", 4}, {">", 1}},    {{"&amp;", 5}, {"&", 1}},
		{{"&quot;", 6}, {"\"", 1}}, {{"&nbsp;", 6}, {" ", 1}},  {{"&apos;", 6}, {"'", 1}},
		{{"&#39;", 5}, {"'", 1}},   {{"&#64;", 5}, {"@", 1}},   {{"&#46;", 5}, {".", 1}},
		{{"&#60;", 5}, {"<", 1}},   {{"&#62;", 5}, {">", 1}},   {{"&#160;", 6}, {" ", 1}},
		{{"&#34;", 5}, {"\"", 1}},  {{"&rsquo;", 7}, {"'", 1}}, {{"&#8217;", 7}, {"'", 1}},
		{{"&#x40;", 6}, {"@", 1}},  {{"&#x27;", 6}, {"'", 1}},  {{"&#43;", 5}, {"+", 1}},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		if (slice_istarts(in, rows[i].name)) {
			html_put(h, rows[i].text);
			return rows[i].name.n;
		}
	}
	return 0;
}

static struct slice html_text(struct bounce_reader *r, struct slice in)
{
	struct html h = {.out = arena_alloc(&r->scratch, in.n), .room = in.n};
	struct slice all = in;

	if (!h.out) {
		r->no_memory = true;
		return SLICE_NONE;
	}
	while (in.n) {
		size_t taken = in.p[0] == '<'   ? html_take_tag(&h, in)
			       : in.p[0] == '&' ? html_take_reference(&h, in)
						: 0;

		if (taken == 0) {
			bool ends = in.p[0] == '\n' && !h.preformatted;

			html_put(&h, ends ? SLICE(" ") : slice_head(in, 1));
			taken = 1;
		}
		in = slice_skip(in, taken);
	}
	return h.tagged ? slice_of(h.out, h.n) : all; /* without a single tag it is no HTML */
}

/* Without the CRs in front of each LF. */
static struct slice lf_text(struct bounce_reader *r, struct slice in)
{
	char *out = slice_find(in, '\r') < in.n ? arena_alloc(&r->scratch, in.n) : NULL;
	size_t n = 0;

	if (slice_find(in, '\r') == in.n)
		return in;
	if (!out) {
		r->no_memory = true;
		return SLICE_NONE;
	}
	for (size_t i = 0; i < in.n; i++) {
		while (in.p[i] == '\n' && n > 0 && out[n - 1] == '\r')
			n--;
		out[n++] = in.p[i];
	}
	return slice_of(out, n);
}

struct slice bounce_part_text(struct bounce_reader *r, const struct bounce_part *part)
{
	struct slice text = lf_text(r, bounce_part_decode(r, part, &r->text_left));

	return part->kind == BOUNCE_PART_HTML ? html_text(r, text) : text;
}

/* ---- what a part is ---------------------------------------------------------------------------------------------- */

static const struct {
	struct slice type, subtype; /* subtype empty: any */
	enum bounce_part_kind kind;
} part_rows[] = {
	{{"message", 7}, {"delivery-status", 15}, BOUNCE_PART_STATUS},
	{{"message", 7}, {"global-delivery-status", 22}, BOUNCE_PART_STATUS},
	{{"message", 7}, {"feedback-report", 15}, BOUNCE_PART_FEEDBACK},
	{{"message", 7}, {"disposition-notification", 24}, BOUNCE_PART_DISPOSITION},
	{{"message", 7}, {"global-disposition-notification", 31}, BOUNCE_PART_DISPOSITION},
	{{"message", 7}, {"global-headers", 14}, BOUNCE_PART_HEADERS},
	{{"message", 7}, {"rfc822-headers", 14}, BOUNCE_PART_HEADERS},
	{{"message", 7}, {"rfc822", 6}, BOUNCE_PART_MESSAGE},
	{{"message", 7}, {"global", 6}, BOUNCE_PART_MESSAGE},
	{{"message", 7}, {"news", 4}, BOUNCE_PART_MESSAGE},
	{{"text", 4}, {"rfc822-headers", 14}, BOUNCE_PART_HEADERS},
	{{"text", 4}, {"rfc822-header", 13}, BOUNCE_PART_HEADERS},
	{{"text", 4}, {"html", 4}, BOUNCE_PART_HTML},
	{{"text", 4}, {NULL, 0}, BOUNCE_PART_TEXT},
};

static enum bounce_part_kind kind_of(struct slice type, struct slice subtype)
{
	for (size_t i = 0; i < sizeof part_rows / sizeof *part_rows; i++)
		if (slice_ieq(type, part_rows[i].type) &&
		    (part_rows[i].subtype.n == 0 || slice_ieq(subtype, part_rows[i].subtype)))
			return part_rows[i].kind;
	return BOUNCE_PART_OTHER;
}

/* Delivery status fields under another label: the part begins with one of these. */
static bool looks_like_status(struct bounce_reader *r, const struct bounce_part *part)
{
	static const char *const names[] = {"Reporting-MTA", "Final-Recipient", "Original-Recipient",
					    "Original-Envelope-Id", "Reporting-UA"};
	struct bounce_part head = *part;
	size_t left = SNIFF_MAX;
	struct slice rest, line;

	head.body = slice_head(part->body, (size_t)SNIFF_MAX);
	rest = bounce_part_decode(r, &head, &left);
	while (bounce_line_next(&rest, &line) && bounce_is_blank_line(line))
		;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct slice name = slice_from_cstr(names[i]);

		if (slice_istarts(line, name) && line.n > name.n && line.p[name.n] == ':')
			return true;
	}
	return false;
}

static void add_part(struct bounce_reader *r, struct bounce_part part)
{
	if (r->part_count == MAIL_BOUNCE_PARTS_MAX)
		return;
	part.guessed = (part.kind == BOUNCE_PART_OTHER || part.kind == BOUNCE_PART_TEXT) && looks_like_status(r, &part);
	if (part.guessed)
		part.kind = BOUNCE_PART_STATUS;
	r->parts[r->part_count++] = part;
}

/* ---- the tree ---------------------------------------------------------------------------------------------------- */

static void walk(struct bounce_reader *r, struct slice entity, unsigned level, unsigned depth);

/* Where the next line "--boundary" or "--boundary--" starts; s.n when there is none. *ret_behind: where the line ends,
 * *ret_last: it closes. */
static size_t find_delimiter(struct slice s, struct slice delimiter, size_t *ret_behind, bool *ret_last)
{
	for (size_t at = 0; at < s.n;) {
		struct slice rest = slice_skip(s, at), line;
		size_t found = slice_search(rest, delimiter);

		if (found == rest.n)
			break;
		at += found;
		if (at > 0 && s.p[at - 1] != '\n') {
			at += delimiter.n;
			continue;
		}
		rest = slice_skip(s, at);
		bounce_line_next(&rest, &line);
		struct slice tail = slice_skip(line, delimiter.n);
		*ret_last = slice_starts(tail, SLICE("--"));
		*ret_behind = s.n - rest.n;
		if (*ret_last || slice_trim(tail).n == 0)
			return at;
		at = *ret_behind;
	}
	return s.n;
}

/* Without the line end that belongs to the delimiter behind it. */
static struct slice without_line_end(struct slice s)
{
	if (s.n && s.p[s.n - 1] == '\n')
		s.n--;
	if (s.n && s.p[s.n - 1] == '\r')
		s.n--;
	return s;
}

/* A line "--something" in front of a field or an empty line, where the boundary is not told or not kept. */
static struct slice guess_delimiter(struct slice body)
{
	struct slice rest = slice_head(body, GUESS_MAX), line, next;

	while (bounce_line_next(&rest, &line)) {
		struct slice ahead = rest;

		if (line.n < 3 || line.n > BOUNDARY_MAX || !slice_starts(line, SLICE("--")))
			continue;
		if (bounce_line_next(&ahead, &next) && slice_istarts(next, SLICE("content-")))
			return slice_trim(line);
	}
	return SLICE_NONE;
}

static bool walk_parts(struct bounce_reader *r, struct slice body, struct slice delimiter, unsigned level,
		       unsigned depth)
{
	size_t behind = 0;
	bool last = false, any = false;
	size_t at = delimiter.n > 2 ? find_delimiter(body, delimiter, &behind, &last) : body.n;

	while (at < body.n && !last && r->part_count < MAIL_BOUNCE_PARTS_MAX) {
		body = slice_skip(body, behind);
		at = find_delimiter(body, delimiter, &behind, &last);
		walk(r, without_line_end(slice_head(body, at)), level, depth);
		any = true;
	}
	return any;
}

static void walk_multipart(struct bounce_reader *r, const struct mail_mime_type *type, struct slice body,
			   unsigned level, unsigned depth)
{
	char delimiter[MAIL_MIME_BOUNDARY_MAX + 2] = "--";

	memcpy(delimiter + 2, type->boundary, type->boundary_n);
	if (walk_parts(r, body, slice_of(delimiter, type->boundary_n + 2), level, depth) ||
	    walk_parts(r, body, guess_delimiter(body), level, depth))
		return;
	add_part(r, (struct bounce_part){.kind = BOUNCE_PART_TEXT, .level = level, .body = body});
}

static void walk_message(struct bounce_reader *r, struct bounce_part part, unsigned depth)
{
	if (part.encoding == MAIL_MIME_BASE64 || part.encoding == MAIL_MIME_QUOTED_PRINTABLE)
		part.body = bounce_part_decode(r, &part, &r->messages_left);
	part.encoding = MAIL_MIME_NONE;
	add_part(r, part);
	walk(r, part.body, part.level + 1, depth);
}

static void walk(struct bounce_reader *r, struct slice entity, unsigned level, unsigned depth)
{
	struct mail_mime_type type = {0};
	struct bounce_part part = {.kind = BOUNCE_PART_TEXT, .level = level};
	struct slice header = bounce_header_split(entity, &part.body);
	struct slice value = bounce_field_find(header, SLICE("Content-Type"));

	part.encoding = mail_mime_encoding_parse(bounce_field_find(header, SLICE("Content-Transfer-Encoding")));
	if (depth == 0)
		r->header = header;
	if (depth == MAIL_BOUNCE_DEPTH_MAX || r->part_count == MAIL_BOUNCE_PARTS_MAX)
		return;
	if (value.n && mail_mime_type_parse(value, &type))
		part.kind = kind_of(type.type, type.subtype);
	if (depth == 0)
		r->report = slice_ieq(type.type, SLICE("multipart")) && slice_ieq(type.subtype, SLICE("report"));

	if (slice_ieq(type.type, SLICE("multipart")))
		walk_multipart(r, &type, part.body, level, depth + 1);
	else if (part.kind == BOUNCE_PART_MESSAGE)
		walk_message(r, part, depth + 1);
	else
		add_part(r, part);
}

void bounce_parts_find(struct bounce_reader *r, struct slice message)
{
	walk(r, message, 0, 0);
	assert(r->part_count <= MAIL_BOUNCE_PARTS_MAX);
}
