#include "mail/seven.h"

#include "base/heap.h"
#include "mail/mime.h"

#include <assert.h>
#include <string.h>

/*
 * The octets go through three steps: `take` cuts them into lines, `line_part` finds the delimiters of the open
 * multiparts among them, and `deliver` gives the rest to the header section or to the body that is open.
 *
 *	HEADER --empty line--> LOOK      a part that may need encoding: its header and its first octets wait
 *	                 |       +-----> CLEAN, QP, BASE64  decided: at its end, or when LOOK_MAX octets wait
 *	                 +-----> OPAQUE  must not be touched
 *	                 +-----> QP_FIX  quoted-printable already
 *	                 +-----> FILL    a multipart: what stands before its first delimiter
 *	                 +-----> HEADER  a message in a message
 *	any --delimiter--> HEADER (next part), or FILL (last delimiter)
 */
enum state {
	HEADER,
	LOOK,
	CLEAN,
	QP,
	BASE64,
	OPAQUE,
	QP_FIX,
	FILL,
};

enum trouble {
	EIGHT_BIT = 1, /* octets above 127: only with MAIL_SEVEN_TO_7BIT */
	BARE = 2,      /* bare CR, bare LF, NUL */
	LONG = 4,      /* lines over 998 octets */
};

/* Why a part is OPAQUE. */
enum opaque { SIGNED, FIXED, ENCODED, DEEP, MALFORMED };

/* clang-format off */
static const struct {
	enum mail_seven_result result;
	const char *reason;
} refusals[] = {
	[SIGNED] = {MAIL_SEVEN_PROHIBITED,
		    "a part that would need conversion is signed, and the signature would not hold any more"},
	[FIXED] = {MAIL_SEVEN_UNSUPPORTED,
		   "a part that would need conversion is of a kind that must not be changed"},
	[ENCODED] = {MAIL_SEVEN_UNSUPPORTED,
		     "a part that would need conversion has an encoding that we do not know"},
	[DEEP] = {MAIL_SEVEN_FAILED, "a part that would need conversion is nested too deep"},
	[MALFORMED] = {MAIL_SEVEN_FAILED, "a part that would need conversion is malformed"},
};
/* clang-format on */

#define LINE_MAX_OCTETS 998                            /* RFC 5322 2.1.1 */
#define QP_LINE_MAX     75                             /* 76 with the "=" of a soft line break, RFC 2045 6.7 */
#define BASE64_LINE_MAX 76                             /* RFC 2045 6.8 */
#define DELIMITER_MAX   (MAIL_MIME_BOUNDARY_MAX + 100) /* octets of a delimiter line with blanks at its end */

struct level {
	char boundary[MAIL_MIME_BOUNDARY_MAX];
	size_t boundary_n;
	size_t messages; /* messages around this multipart */
	bool digest;     /* parts are messages when they do not say */
};

struct entity {
	bool message; /* its header is that of a message, not of a part */
	bool digest_part;
	bool has_type, has_version;
	bool text;       /* quoted-printable suits it */
	bool malformed;  /* a field that must come once came twice */
	bool empty_line; /* stands behind its header section */
	enum mail_mime_encoding encoding;
};

struct mail_seven {
	enum mail_seven_target target;
	enum mail_seven_result result;
	const char *reason;
	bool lossy;
	struct buf *out; /* of the call that runs; may be NULL */

	bool cr;           /* the last octet was CR */
	bool line_open;    /* octets of the line have come */
	bool holding;      /* the line may be a delimiter: its octets wait in `held` */
	bool crlf_pending; /* a line of a body has ended; its CRLF belongs to the delimiter, should one follow */
	struct buf held;

	enum state state;
	enum opaque opaque;
	struct entity entity;
	struct buf header; /* of the entity; its last line begins at header_line */
	size_t header_line;
	struct buf look;
	unsigned trouble; /* found in `look` */
	size_t column;    /* octets of the line: in `look`, or of the encoder's output */
	char blank;       /* quoted-printable: SP or HT that waits, as it must not end a line; 0 = none */
	unsigned char triple[3];
	size_t triple_n;

	size_t depth, messages; /* open multiparts, and messages inside messages */
	struct level levels[MAIL_SEVEN_DEPTH_MAX];
};

static void deliver(struct mail_seven *s, struct slice octets, bool crlf);
static bool take_delimiter(struct mail_seven *s, struct slice line, bool crlf);

/* ---- results and output ------------------------------------------------------------------------------------------ */

static void fail(struct mail_seven *s, enum mail_seven_result result, const char *reason)
{
	if (s->result != MAIL_SEVEN_OK)
		return;
	s->result = result;
	s->reason = reason;
}

static void check_room(struct mail_seven *s, bool had_room)
{
	if (!had_room)
		fail(s, MAIL_SEVEN_NO_ROOM, "there is no memory to convert the message");
}

static void emit(struct mail_seven *s, struct slice octets)
{
	if (s->out && s->result == MAIL_SEVEN_OK)
		check_room(s, buf_add(s->out, octets));
}

/* What a peer cannot take in this octet, as it stands outside of line ends. */
static unsigned trouble_of(const struct mail_seven *s, char c)
{
	if ((unsigned char)c >= 0x80)
		return s->target == MAIL_SEVEN_TO_7BIT ? EIGHT_BIT : 0;
	return c == '\0' || c == '\r' || c == '\n' ? BARE : 0;
}

/* ---- quoted-printable (RFC 2045 6.7) ----------------------------------------------------------------------------- */

static void qp_put(struct mail_seven *s, struct slice text)
{
	if (s->column + text.n > QP_LINE_MAX) {
		emit(s, SLICE("=\r\n"));
		s->column = 0;
	}
	emit(s, text);
	s->column += text.n;
}

static void qp_hex(struct mail_seven *s, char c)
{
	static const char digits[] = "0123456789ABCDEF";
	char text[3] = {'=', digits[(unsigned char)c >> 4], digits[(unsigned char)c & 15]};

	qp_put(s, slice_of(text, 3));
}

static void qp_octet(struct mail_seven *s, char c)
{
	if (s->blank)
		qp_put(s, slice_of(&s->blank, 1));
	s->blank = 0;
	/* A line that begins with "-" could be taken for a delimiter, and a soft line break may make any octet the
	 * first. */
	if (c == ' ' || c == '\t')
		s->blank = c;
	else if (!ascii_is_print(c) || c == '=' || (c == '-' && (s->column == 0 || s->column == QP_LINE_MAX)))
		qp_hex(s, c);
	else
		qp_put(s, slice_of(&c, 1));
}

/* No blank may end a line. */
static void qp_finish(struct mail_seven *s)
{
	if (s->blank)
		qp_hex(s, s->blank);
	s->blank = 0;
}

static void qp_crlf(struct mail_seven *s)
{
	qp_finish(s);
	emit(s, SLICE("\r\n"));
	s->column = 0;
}

/* A part that is quoted-printable already: octets that no encoder lets through are encoded now, the rest stays. */
static void qp_fix_octet(struct mail_seven *s, char c)
{
	if (trouble_of(s, c)) {
		qp_hex(s, c);
	} else {
		emit(s, slice_of(&c, 1));
		s->column++;
	}
}

/* ---- base64 (RFC 2045 6.8) --------------------------------------------------------------------------------------- */

static void base64_group(struct mail_seven *s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *t = s->triple;
	char text[4] = {digits[t[0] >> 2], digits[(t[0] & 3) << 4 | t[1] >> 4], digits[(t[1] & 15) << 2 | t[2] >> 6],
			digits[t[2] & 63]};

	assert(s->triple_n > 0 && s->triple_n <= 3);
	memset(text + s->triple_n + 1, '=', 3 - s->triple_n);
	if (s->column == BASE64_LINE_MAX) {
		emit(s, SLICE("\r\n"));
		s->column = 0;
	}
	emit(s, slice_of(text, 4));
	s->column += 4;
	memset(s->triple, 0, sizeof s->triple);
	s->triple_n = 0;
}

static void base64_octet(struct mail_seven *s, char c)
{
	s->triple[s->triple_n++] = (unsigned char)c;
	if (s->triple_n == 3)
		base64_group(s);
}

static void base64_finish(struct mail_seven *s)
{
	if (s->triple_n)
		base64_group(s);
}

/* ---- header sections --------------------------------------------------------------------------------------------- */

static void entity_starts(struct mail_seven *s, bool message, bool digest_part)
{
	s->entity = (struct entity){.message = message, .digest_part = digest_part};
	s->state = HEADER;
	buf_reset(&s->header);
	s->header_line = 0;
	s->crlf_pending = false;
}

static void write_encoding(struct mail_seven *s, const char *encoding)
{
	emit(s, SLICE("Content-Transfer-Encoding: "));
	emit(s, slice_from_cstr(encoding));
	emit(s, SLICE("\r\n"));
}

/* What the header section has to say in addition, so that a new encoding is understood. */
static void write_additions(struct mail_seven *s, const char *encoding, bool written, bool unknown_charset)
{
	struct slice header = buf_slice(&s->header);

	if (header.n && !slice_ends(header, SLICE("\r\n")))
		emit(s, SLICE("\r\n"));
	if (s->entity.message && !s->entity.has_version)
		emit(s, SLICE("MIME-Version: 1.0\r\n"));
	if (unknown_charset && !s->entity.has_type)
		emit(s, SLICE("Content-Type: text/plain; charset=unknown-8bit\r\n"));
	if (!written)
		write_encoding(s, encoding);
	if (!s->entity.empty_line)
		emit(s, SLICE("\r\n"));
}

/* Passes the header section on, and the empty line behind it. `encoding` NULL: as it is. */
static void write_header(struct mail_seven *s, const char *encoding, bool unknown_charset)
{
	struct mail_header_field f;
	bool written = false;

	for (struct slice rest = buf_slice(&s->header); mail_header_next(&rest, &f);) {
		if (encoding && slice_ieq(f.name, SLICE("Content-Transfer-Encoding"))) {
			write_encoding(s, encoding);
			written = true;
		} else {
			emit(s, f.whole);
		}
	}
	if (encoding)
		write_additions(s, encoding, written, unknown_charset);
	if (s->entity.empty_line)
		emit(s, SLICE("\r\n"));
}

static void check_header(struct mail_seven *s)
{
	struct slice header = buf_slice(&s->header);

	for (size_t i = 0; i < header.n; i++) {
		unsigned trouble = trouble_of(s, header.p[i]);

		if (trouble & BARE && header.p[i] == '\r' && i + 1 < header.n && header.p[i + 1] == '\n')
			i++;
		else if (trouble & EIGHT_BIT)
			fail(s, MAIL_SEVEN_HEADER_8BIT, "its header fields hold characters outside ASCII");
		else if (trouble)
			fail(s, MAIL_SEVEN_UNSUPPORTED, "its header fields hold a bare CR, a bare LF or a NUL");
	}
}

/* The label of what holds converted parts (RFC 2045 6.4 allows it no encoding); NULL to keep it. */
static const char *container_encoding(const struct mail_seven *s)
{
	if (s->entity.encoding == MAIL_MIME_BINARY)
		return s->target == MAIL_SEVEN_TO_7BIT ? "7bit" : "8bit";
	return s->entity.encoding == MAIL_MIME_8BIT && s->target == MAIL_SEVEN_TO_7BIT ? "7bit" : NULL;
}

static void read_fields(struct mail_seven *s, struct mail_mime_type *type)
{
	struct mail_header_field f;
	bool typed_twice = false;

	for (struct slice rest = buf_slice(&s->header); mail_header_next(&rest, &f);) {
		if (slice_ieq(f.name, SLICE("MIME-Version"))) {
			s->entity.has_version = true;
		} else if (slice_ieq(f.name, SLICE("Content-Type"))) {
			typed_twice = s->entity.has_type;
			if (!mail_mime_type_parse(f.value, type) || typed_twice)
				*type = (struct mail_mime_type){.type = SLICE("?"), .subtype = SLICE("?")};
			s->entity.has_type = true;
		} else if (slice_ieq(f.name, SLICE("Content-Transfer-Encoding"))) {
			s->entity.malformed |= s->entity.encoding != MAIL_MIME_NONE;
			s->entity.encoding = mail_mime_encoding_parse(f.value);
		}
	}
	s->entity.malformed |= typed_twice;
	if (s->entity.malformed)
		s->entity.encoding = MAIL_MIME_UNKNOWN;
}

static bool is_encodable_message(struct slice subtype)
{
	static const struct slice names[] = {{"global", 6},
					     {"global-headers", 14},
					     {"global-delivery-status", 22},
					     {"global-disposition-notification", 31}};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (slice_ieq(subtype, names[i]))
			return true; /* RFC 6532 3.7, RFC 6533 */
	return false;
}

/* Whether a line could be a delimiter of an open multipart and of this one: readers would not agree on it. */
static bool is_ambiguous(const struct mail_seven *s, const struct mail_mime_type *type)
{
	struct slice ours = slice_of(type->boundary, type->boundary_n);

	for (size_t i = 0; i < s->depth; i++) {
		struct slice theirs = slice_of(s->levels[i].boundary, s->levels[i].boundary_n);
		struct slice longer = ours.n > theirs.n ? ours : theirs, shorter = ours.n > theirs.n ? theirs : ours;

		if (slice_starts(longer, shorter) &&
		    (longer.n == shorter.n || slice_eq(slice_skip(longer, shorter.n), SLICE("--"))))
			return true;
	}
	return false;
}

static bool is_signed(const struct mail_mime_type *type)
{
	return slice_ieq(type->subtype, SLICE("signed"));
}

static bool is_open_multipart(const struct mail_seven *s, const struct mail_mime_type *type)
{
	return type->boundary_n > 0 && !is_signed(type) && !is_ambiguous(s, type);
}

/* Passes on a header section whose body will be changed, so that no line of the body can become a part of it. */
static void write_closed_header(struct mail_seven *s, const char *encoding)
{
	write_header(s, encoding, false);
	if (!encoding && !s->entity.empty_line)
		emit(s, SLICE("\r\n"));
}

static void begin_opaque(struct mail_seven *s, enum opaque why)
{
	write_header(s, NULL, false);
	s->opaque = why;
	s->state = OPAQUE;
}

/* A multipart or message that is not gone into. */
static void begin_closed(struct mail_seven *s, const struct mail_mime_type *type, bool multipart, bool deep)
{
	if (multipart && is_signed(type))
		begin_opaque(s, SIGNED);
	else if (deep)
		begin_opaque(s, DEEP);
	else if (multipart || s->entity.malformed || slice_ieq(type->subtype, SLICE("rfc822")))
		begin_opaque(s, MALFORMED);
	else
		begin_opaque(s, FIXED);
}

static void begin_multipart(struct mail_seven *s, const struct mail_mime_type *type)
{
	struct level *level = &s->levels[s->depth];

	write_closed_header(s, container_encoding(s));
	*level = (struct level){.boundary_n = type->boundary_n, .messages = s->messages};
	level->digest = slice_ieq(type->subtype, SLICE("digest"));
	memcpy(level->boundary, type->boundary, type->boundary_n);
	s->depth++;
	s->state = FILL;
}

static void begin_message(struct mail_seven *s)
{
	write_closed_header(s, container_encoding(s));
	s->messages++;
	entity_starts(s, true, false);
}

/* Decides what the body is, by the header section that has just ended. */
static void begin_body(struct mail_seven *s)
{
	struct mail_mime_type type = {.type = SLICE("text"), .subtype = SLICE("plain")};

	check_header(s);
	if (s->entity.digest_part)
		type = (struct mail_mime_type){.type = SLICE("message"), .subtype = SLICE("rfc822")};
	read_fields(s, &type);

	bool multipart = slice_ieq(type.type, SLICE("multipart")), message = slice_ieq(type.type, SLICE("message"));
	bool identity = s->entity.encoding <= MAIL_MIME_BINARY;
	bool deep = s->depth + s->messages >= MAIL_SEVEN_DEPTH_MAX;

	s->column = 0;
	s->blank = 0;
	s->trouble = 0;
	buf_reset(&s->look);
	s->entity.text = slice_ieq(type.type, SLICE("text")) || (message && is_encodable_message(type.subtype));
	if (multipart && identity && !deep && is_open_multipart(s, &type)) {
		begin_multipart(s, &type);
	} else if (message && identity && !deep && slice_ieq(type.subtype, SLICE("rfc822"))) {
		begin_message(s);
	} else if (multipart || (message && !s->entity.text)) {
		begin_closed(s, &type, multipart, deep);
	} else if (identity) {
		s->state = LOOK;
	} else if (s->entity.encoding == MAIL_MIME_QUOTED_PRINTABLE) {
		write_closed_header(s, NULL);
		s->state = QP_FIX;
	} else {
		/* Octets outside of its alphabet are no base64. */
		bool known = s->entity.malformed || s->entity.encoding == MAIL_MIME_BASE64;
		begin_opaque(s, known ? MALFORMED : ENCODED);
	}
}

/*
 * A line of the header section is whole (or the message has ended in it): is it an empty line, a line of the section,
 * or already the first of a body that no empty line announced?
 */
static void header_line_ends(struct mail_seven *s, bool crlf)
{
	struct slice line = slice_skip(buf_slice(&s->header), s->header_line);
	bool continued = s->header_line > 0 && (line.p[0] == ' ' || line.p[0] == '\t');

	if (slice_eq(line, SLICE("\r\n"))) {
		buf_cut(&s->header, s->header_line);
		s->entity.empty_line = true;
		begin_body(s);
	} else if (continued || mail_line_is_field(line)) {
		s->header_line = buf_len(&s->header);
	} else {
		struct buf first;

		buf_init(&first, MAIL_SEVEN_HEADER_MAX + 2);
		check_room(s, buf_add(&first, slice_head(line, line.n - (crlf ? 2 : 0))));
		buf_cut(&s->header, s->header_line);
		begin_body(s);
		if (!take_delimiter(s, buf_slice(&first), crlf))
			deliver(s, buf_slice(&first), crlf);
		buf_free(&first);
	}
}

static void header_octets(struct mail_seven *s, struct slice octets, bool crlf)
{
	if (buf_room(&s->header) < 2 || octets.n > buf_room(&s->header) - 2) {
		fail(s, MAIL_SEVEN_FAILED, "a header section in it is too long");
		return;
	}
	check_room(s, buf_add(&s->header, octets) && (!crlf || buf_add_lit(&s->header, "\r\n")));
	if (crlf && s->result == MAIL_SEVEN_OK)
		header_line_ends(s, true);
}

/* ---- bodies ------------------------------------------------------------------------------------------------------ */

static void body_octets(struct mail_seven *s, struct slice octets);
static void body_crlf(struct mail_seven *s);

/* Gives the octets that waited to the body that was decided on. */
static void replay_look(struct mail_seven *s)
{
	struct slice rest = buf_slice(&s->look);

	s->column = 0;
	while (rest.n) {
		size_t crlf = slice_search(rest, SLICE("\r\n"));

		body_octets(s, slice_head(rest, crlf));
		if (crlf < rest.n)
			body_crlf(s);
		rest = slice_skip(rest, crlf + 2);
	}
	buf_reset(&s->look);
}

/* The part has ended, or as much of it waits as may: encode it unless it is known to need nothing. */
static void decide(struct mail_seven *s, bool ended)
{
	const char *relabelled = NULL;

	assert(s->state == LOOK);
	if (!ended || s->trouble) {
		s->state = s->entity.text && !(s->trouble & BARE) ? QP : BASE64;
		write_header(s, s->state == QP ? "quoted-printable" : "base64", s->target == MAIL_SEVEN_TO_7BIT);
	} else {
		s->state = CLEAN;
		relabelled = container_encoding(s);
		write_header(s, relabelled, false);
	}
	replay_look(s);
}

/* Adds octets, or one line end, to those that wait. False when they do not fit: then the decision was taken. */
static bool look_add(struct mail_seven *s, struct slice unit)
{
	if (buf_len(&s->look) + unit.n > MAIL_SEVEN_LOOK_MAX) {
		decide(s, false);
		return false;
	}
	check_room(s, buf_add(&s->look, unit));
	return true;
}

static void look_octets(struct mail_seven *s, struct slice octets)
{
	struct slice head = slice_head(octets, MAIL_SEVEN_LOOK_MAX - buf_len(&s->look));

	for (size_t i = 0; i < head.n; i++)
		s->trouble |= trouble_of(s, head.p[i]);
	s->column += head.n;
	if (s->column > LINE_MAX_OCTETS)
		s->trouble |= LONG;
	look_add(s, head);
	if (head.n < octets.n) {
		decide(s, false);
		body_octets(s, slice_skip(octets, head.n));
	}
}

static void fill_octet(struct mail_seven *s, char c)
{
	if (s->column >= LINE_MAX_OCTETS) {
		emit(s, SLICE("\r\n ")); /* SP, so that no delimiter begins here */
		s->column = 1;
	}
	bool lost = trouble_of(s, c) != 0;

	s->lossy |= lost;
	emit(s, lost ? SLICE("?") : slice_of(&c, 1));
	s->column++;
}

static void opaque_octets(struct mail_seven *s, struct slice octets)
{
	unsigned trouble = 0;

	for (size_t i = 0; i < octets.n; i++)
		trouble |= trouble_of(s, octets.p[i]);
	if (trouble)
		fail(s, refusals[s->opaque].result, refusals[s->opaque].reason);
	emit(s, octets);
}

static void body_octets(struct mail_seven *s, struct slice octets)
{
	static void (*const each[])(struct mail_seven *, char) = {
		[QP] = qp_octet, [BASE64] = base64_octet, [QP_FIX] = qp_fix_octet, [FILL] = fill_octet};

	if (s->state == LOOK) {
		look_octets(s, octets);
	} else if (s->state == OPAQUE) {
		opaque_octets(s, octets);
	} else if (s->state == CLEAN) {
		emit(s, octets);
	} else {
		for (size_t i = 0; i < octets.n; i++)
			each[s->state](s, octets.p[i]);
	}
}

static void body_crlf(struct mail_seven *s)
{
	if (s->state == LOOK && look_add(s, SLICE("\r\n"))) {
		s->column = 0;
	} else if (s->state == QP) {
		qp_crlf(s);
	} else if (s->state == BASE64) {
		base64_octet(s, '\r');
		base64_octet(s, '\n');
	} else {
		emit(s, SLICE("\r\n"));
		s->column = 0;
	}
}

/* At a delimiter the line end in front of it follows; at the end of the message nothing does. */
static void body_ends(struct mail_seven *s, bool message_ends)
{
	if (s->state == LOOK)
		decide(s, true);
	if (s->state == QP)
		qp_finish(s);
	if (s->state == BASE64)
		base64_finish(s);
	if (message_ends && s->column > 0 && s->state == QP)
		emit(s, SLICE("=\r\n")); /* the text ended inside a line */
	if (message_ends && s->column > 0 && s->state == BASE64)
		emit(s, SLICE("\r\n"));
}

static void deliver(struct mail_seven *s, struct slice octets, bool crlf)
{
	if (s->result != MAIL_SEVEN_OK || (octets.n == 0 && !crlf))
		return;
	if (s->state == HEADER) {
		header_octets(s, octets, crlf);
		return;
	}
	if (s->crlf_pending)
		body_crlf(s);
	body_octets(s, octets);
	s->crlf_pending = crlf;
}

/* ---- delimiters (RFC 2046 5.1.1) --------------------------------------------------------------------------------- */

static bool matches(const struct level *level, struct slice line, bool *ret_last)
{
	struct slice rest = slice_skip(line, 2);

	if (!slice_starts(line, SLICE("--")) || !slice_starts(rest, slice_of(level->boundary, level->boundary_n)))
		return false;
	rest = slice_skip(rest, level->boundary_n);
	*ret_last = slice_starts(rest, SLICE("--"));
	if (*ret_last)
		rest = slice_skip(rest, 2);
	for (size_t i = 0; i < rest.n; i++)
		if (rest.p[i] != ' ' && rest.p[i] != '\t')
			return false;
	return true;
}

/* Acts on a line that is a delimiter of an open multipart, the innermost first. */
static bool take_delimiter(struct mail_seven *s, struct slice line, bool crlf)
{
	bool last = false;
	size_t at = s->depth;

	while (at > 0 && !matches(&s->levels[at - 1], line, &last))
		at--;
	if (at == 0)
		return false;

	if (s->state == HEADER) {
		check_header(s);
		emit(s, buf_slice(&s->header));
	} else {
		body_ends(s, false);
	}
	if (s->crlf_pending)
		emit(s, SLICE("\r\n"));
	emit(s, line);
	if (crlf)
		emit(s, SLICE("\r\n"));
	s->messages = s->levels[at - 1].messages;
	s->depth = last ? at - 1 : at;
	if (!last) {
		entity_starts(s, false, s->levels[at - 1].digest);
	} else {
		s->state = FILL;
		s->column = 0;
		s->crlf_pending = false;
	}
	return true;
}

static bool may_be_delimiter(struct slice line)
{
	return line.n < 2 ? line.n == 0 || line.p[0] == '-' : slice_starts(line, SLICE("--"));
}

/* ---- lines ------------------------------------------------------------------------------------------------------- */

/* Octets of a line that may be a delimiter. Returns those that are known not to belong to one. */
static struct slice hold(struct mail_seven *s, struct slice octets, bool crlf, bool *ret_done)
{
	struct slice head = slice_head(octets, DELIMITER_MAX - buf_len(&s->held));
	struct slice rest = slice_skip(octets, head.n);

	s->holding = true;
	*ret_done = true;
	check_room(s, buf_add(&s->held, head));

	struct slice line = buf_slice(&s->held);
	bool possible = rest.n == 0 && may_be_delimiter(line);
	if (possible && !crlf)
		return rest;
	s->holding = false;
	if (!(possible && take_delimiter(s, line, true))) {
		deliver(s, line, crlf && rest.n == 0);
		*ret_done = rest.n == 0;
	}
	buf_reset(&s->held);
	return rest;
}

/* A run of octets inside one line, and whether CRLF follows it. */
static void line_part(struct mail_seven *s, struct slice octets, bool crlf)
{
	bool done = false;

	if (s->depth > 0 && (s->holding || !s->line_open))
		octets = hold(s, octets, crlf, &done);
	s->line_open = !crlf;
	if (!done)
		deliver(s, octets, crlf);
}

static void take(struct mail_seven *s, struct slice in)
{
	if (s->cr && in.n) {
		s->cr = false;
		line_part(s, in.p[0] == '\n' ? SLICE("") : SLICE("\r"), in.p[0] == '\n');
		in = slice_skip(in, in.p[0] == '\n');
	}
	while (in.n && s->result == MAIL_SEVEN_OK) {
		size_t cr = slice_find(in, '\r');
		struct slice line = slice_head(in, cr);
		bool crlf = cr + 1 < in.n && in.p[cr + 1] == '\n';

		if (cr + 1 == in.n)
			s->cr = true;
		else if (cr < in.n && !crlf)
			line.n++; /* a bare CR is an octet like others */
		if (line.n || crlf)
			line_part(s, line, crlf);
		in = slice_skip(in, cr < in.n ? cr + (crlf ? 2 : 1) : cr);
	}
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

struct mail_seven *mail_seven_new(enum mail_seven_target target)
{
	struct mail_seven *s = heap_new(struct mail_seven);

	if (!s)
		return NULL;
	s->target = target;
	buf_init(&s->held, DELIMITER_MAX);
	buf_init(&s->header, MAIL_SEVEN_HEADER_MAX);
	buf_init(&s->look, MAIL_SEVEN_LOOK_MAX);
	entity_starts(s, true, false);
	return s;
}

void mail_seven_free(struct mail_seven *s)
{
	if (!s)
		return;
	buf_free(&s->held);
	buf_free(&s->header);
	buf_free(&s->look);
	heap_free(s);
}

enum mail_seven_result mail_seven_feed(struct mail_seven *s, struct slice piece, struct buf *out)
{
	s->out = out;
	take(s, piece);
	s->out = NULL;
	return s->result;
}

/* The lines that were still open. */
static void end_lines(struct mail_seven *s)
{
	if (s->cr)
		line_part(s, SLICE("\r"), false);
	s->cr = false;
	if (s->holding && !take_delimiter(s, buf_slice(&s->held), false))
		deliver(s, buf_slice(&s->held), false);
	s->holding = false;
	buf_reset(&s->held);
	if (s->state == HEADER && s->header_line < buf_len(&s->header))
		header_line_ends(s, false);
}

enum mail_seven_result mail_seven_end(struct mail_seven *s, struct buf *out)
{
	s->out = out;
	end_lines(s);
	if (s->result == MAIL_SEVEN_OK && s->state == HEADER) {
		check_header(s);
		emit(s, buf_slice(&s->header));
	} else if (s->result == MAIL_SEVEN_OK) {
		if (s->crlf_pending)
			body_crlf(s);
		s->crlf_pending = false;
		body_ends(s, true);
	}
	s->out = NULL;
	return s->result;
}

const char *mail_seven_reason(const struct mail_seven *s)
{
	return s->reason;
}

bool mail_seven_lossy(const struct mail_seven *s)
{
	return s->lossy;
}
