#include "mail/scan.h"

#include <assert.h>
#include <string.h>

/* Where the header section stands. Only octets of a field's name can come before a line is known to be no field. */
enum state {
	LINE_START,
	EMPTY_CR, /* CR as the first octet of a line */
	NAME,
	NAME_BLANK, /* blanks between the name and its colon (RFC 5322 4.5) */
	VALUE,
	VALUE_CR,
};

/* ---- octets of any place ----------------------------------------------------------------------------------------- */

typedef uint8_t octets16 __attribute__((vector_size(16)));

struct census {
	size_t lf;
	bool nul, eight_bit;
};

static unsigned sum16(octets16 v)
{
	unsigned sum = 0;

	for (int i = 0; i < 16; i++)
		sum += v[i];
	return sum;
}

/* Counts LF, and looks for NUL and octets above 127, 16 at a time. */
static struct census take_census(struct slice s)
{
	struct census c = {0};
	octets16 high = {0}, nul = {0};
	size_t at = 0;

	while (s.n - at >= 16) {
		size_t blocks = (s.n - at) / 16 < 255 ? (s.n - at) / 16 : 255; /* a lane counts to 255 */
		octets16 lf = {0};

		for (size_t i = 0; i < blocks; i++, at += 16) {
			octets16 v;

			memcpy(&v, s.p + at, 16);
			high |= v;
			nul |= (octets16)(v == 0);
			lf -= (octets16)(v == '\n');
		}
		c.lf += sum16(lf);
	}
	c.eight_bit = sum16(high & 0x80) > 0;
	c.nul = sum16(nul & 1) > 0;
	for (; at < s.n; at++) {
		c.lf += s.p[at] == '\n';
		c.nul |= s.p[at] == '\0';
		c.eight_bit |= (unsigned char)s.p[at] >= 0x80;
	}
	return c;
}

static void line_ends(struct mail_scan *s)
{
	if (s->line > s->longest_line)
		s->longest_line = s->line;
	s->line = 0;
}

/* Follows the lines of a piece; returns how many of its LFs stand behind a CR. */
static size_t follow_lines(struct mail_scan *s, struct slice in)
{
	size_t crlf = 0, at = 0;

	if (s->cr && in.n) {
		s->cr = false;
		if (in.p[0] != '\n') {
			s->flags |= MAIL_SCAN_BARE_CR;
		} else {
			s->line++;
			line_ends(s);
			crlf = at = 1;
		}
	}
	while (at < in.n) {
		const char *cr = memchr(in.p + at, '\r', in.n - at);
		size_t next = cr ? (size_t)(cr - in.p) + 1 : in.n;

		s->line += next - at;
		at = next;
		if (cr && at == in.n) {
			s->cr = true;
		} else if (cr && in.p[at] == '\n') {
			s->line++;
			line_ends(s);
			crlf++;
			at++;
		} else if (cr) {
			s->flags |= MAIL_SCAN_BARE_CR;
		}
	}
	return crlf;
}

static void look_at(struct mail_scan *s, struct slice in, bool header)
{
	struct census c = take_census(in);

	if (c.nul)
		s->flags |= header ? MAIL_SCAN_NUL_HEADER : MAIL_SCAN_NUL_BODY;
	if (c.eight_bit)
		s->flags |= header ? MAIL_SCAN_8BIT_HEADER : MAIL_SCAN_8BIT_BODY;
	if (c.lf > follow_lines(s, in))
		s->flags |= MAIL_SCAN_BARE_LF;
	if (in.n == 0)
		return;
	if (in.p[in.n - 1] == '\n' && s->line == 0)
		s->flags |= MAIL_SCAN_ENDS_CRLF;
	else
		s->flags &= ~(unsigned)MAIL_SCAN_ENDS_CRLF;
}

/* ---- the header section ------------------------------------------------------------------------------------------ */

static void by_word_ends(struct mail_scan *s)
{
	struct mail_scan_by *c = &s->clause;

	if (c->word_n == 0)
		return;
	if (c->want_name) {
		c->over = true;
		c->us = c->is_name && c->word_n == s->by.n;
	}
	c->want_name = c->is_by && c->word_n == 2;
	c->word_n = 0;
}

static void by_octet(struct mail_scan *s, char octet)
{
	struct mail_scan_by *c = &s->clause;

	if (c->depth > 0) { /* a comment (RFC 5322 3.2.2) */
		if (!c->escaped && octet == '(' && c->depth < UINT16_MAX)
			c->depth++;
		else if (!c->escaped && octet == ')')
			c->depth--;
		c->escaped = !c->escaped && octet == '\\';
	} else if (octet == ' ' || octet == '\t' || octet == '(' || octet == ';') {
		by_word_ends(s);
		c->depth = octet == '(';
		c->over |= octet == ';';
	} else {
		size_t n = c->word_n;

		c->is_by = (n == 0 || c->is_by) && n < 2 && ascii_lower(octet) == "by"[n];
		c->is_name = (n == 0 || c->is_name) && n < s->by.n && ascii_lower(octet) == ascii_lower(s->by.p[n]);
		if (n < UINT16_MAX)
			c->word_n++;
	}
}

/* Looks for the BY clause, the first one, in octets of a Received field. */
static void follow_by(struct mail_scan *s, struct slice in)
{
	for (size_t i = 0; i < in.n && !s->clause.over; i++)
		by_octet(s, in.p[i]);
}

static void field_ends(struct mail_scan *s)
{
	if (s->received_field) {
		follow_by(s, SLICE(" "));
		s->received_by_us += s->clause.us;
	}
	s->received_field = false;
	s->clause = (struct mail_scan_by){0};
	bool same = s->match.n > 0 && !s->mismatch && s->matched == s->match.n;
	s->delivered_to += s->delivered_field && same;
	if (s->tls_field && (!same || s->tls_twice))
		s->flags &= ~(unsigned)MAIL_SCAN_TLS_OPTIONAL;
	else if (s->tls_field)
		s->flags |= MAIL_SCAN_TLS_OPTIONAL;
	s->delivered_field = s->tls_field = false;
}

static void field_named(struct mail_scan *s)
{
	static const struct {
		struct slice name;
		unsigned flag;
	} fields[] = {
		{{"from", 4}, MAIL_SCAN_HAS_FROM},
		{{"date", 4}, MAIL_SCAN_HAS_DATE},
		{{"message-id", 10}, MAIL_SCAN_HAS_MESSAGE_ID},
	};
	struct slice name = slice_of(s->name, s->name_n);

	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (slice_eq(name, fields[i].name))
			s->flags |= fields[i].flag;
	if (slice_starts(name, SLICE("resent-")))
		s->flags |= MAIL_SCAN_HAS_RESENT;
	bool received = slice_eq(name, SLICE("received"));
	s->received += received;
	s->received_field = received && s->by.n > 0;
	s->delivered_field = slice_eq(name, SLICE("delivered-to"));
	s->tls_field = slice_eq(name, SLICE("tls-required"));
	s->tls_twice |= s->tls_field && s->tls_seen;
	s->tls_seen |= s->tls_field;
	s->match = s->tls_field ? SLICE("no") : s->address;
	s->matched = 0;
	s->mismatch = false;
	s->state = VALUE;
}

/* Compares a value of Delivered-To or TLS-Required as it passes; blanks and folding around it do not count. */
static void match_value(struct mail_scan *s, char c)
{
	if (s->matched < s->match.n && ascii_lower(c) == ascii_lower(s->match.p[s->matched]))
		s->matched++;
	else if ((c != ' ' && c != '\t' && c != '\r' && c != '\n') || (s->matched > 0 && s->matched < s->match.n))
		s->mismatch = true;
}

static void header_ends(struct mail_scan *s, uint64_t body_start, unsigned flag)
{
	field_ends(s);
	s->in_header = false;
	s->body_start = body_start;
	s->flags |= flag;
}

static void line_starts(struct mail_scan *s, char c)
{
	if (c == '\r') {
		s->state = EMPTY_CR;
	} else if ((c == ' ' || c == '\t') && s->header_lines > 0) {
		s->state = VALUE;
		if (s->received_field)
			follow_by(s, SLICE(" "));
	} else if (mail_is_field_name(c)) {
		field_ends(s);
		s->name[0] = ascii_lower(c);
		s->name_n = 1;
		s->state = NAME;
	} else {
		header_ends(s, s->header_octets, MAIL_SCAN_HEADER_BROKEN);
	}
}

static void name_goes_on(struct mail_scan *s, char c)
{
	if (c == ':') {
		field_named(s);
	} else if (c == ' ' || c == '\t') {
		s->state = NAME_BLANK;
	} else if (s->state == NAME && mail_is_field_name(c)) {
		if (s->name_n < MAIL_SCAN_NAME_MAX)
			s->name[s->name_n++] = ascii_lower(c);
	} else {
		header_ends(s, s->header_octets, MAIL_SCAN_HEADER_BROKEN);
	}
}

/* One octet outside a value; `end` is the offset behind it. */
static void header_octet(struct mail_scan *s, char c, uint64_t end)
{
	switch ((enum state)s->state) {
	case LINE_START:
		line_starts(s, c);
		break;
	case EMPTY_CR:
		if (c == '\n')
			header_ends(s, end, 0);
		else
			header_ends(s, s->header_octets, MAIL_SCAN_HEADER_BROKEN);
		break;
	case NAME:
	case NAME_BLANK:
		name_goes_on(s, c);
		break;
	case VALUE:
	case VALUE_CR:
		if (s->delivered_field || s->tls_field)
			match_value(s, c);
		if (s->state == VALUE_CR && c == '\n') {
			s->header_lines++;
			s->header_octets = end;
			s->state = LINE_START;
		} else {
			s->state = c == '\r' ? VALUE_CR : VALUE;
		}
		break;
	}
}

/* Follows the header section; returns the octets of the piece that belong to it. */
static size_t follow_header(struct mail_scan *s, struct slice in)
{
	for (size_t at = 0; at < in.n; at++) {
		/* Most octets: skip to the end of the line. */
		if (s->state == VALUE && !s->delivered_field && !s->tls_field) {
			const char *cr = memchr(in.p + at, '\r', in.n - at);
			size_t end = cr ? (size_t)(cr - in.p) : in.n;

			if (s->received_field)
				follow_by(s, slice_of(in.p + at, end - at));
			if (!cr)
				return in.n;
			at = end;
		}
		header_octet(s, in.p[at], s->octets + at + 1);
		if (!s->in_header)
			return s->body_start == s->octets + at + 1 ? at + 1 : at;
	}
	return in.n;
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

void mail_scan_init(struct mail_scan *s, struct slice delivered_to)
{
	*s = (struct mail_scan){
		.in_header = true, .state = LINE_START, .address = delivered_to, .flags = MAIL_SCAN_ENDS_CRLF};
}

void mail_scan_count_by(struct mail_scan *s, struct slice name)
{
	assert(s->octets == 0);
	s->by = name;
}

void mail_scan_feed(struct mail_scan *s, struct slice piece)
{
	size_t header = s->in_header ? follow_header(s, piece) : 0;

	look_at(s, slice_head(piece, header), true);
	look_at(s, slice_skip(piece, header), false);
	s->octets += piece.n;
	assert(s->header_octets <= s->octets);
}

void mail_scan_end(struct mail_scan *s)
{
	if (s->cr)
		s->flags |= MAIL_SCAN_BARE_CR;
	s->cr = false;
	line_ends(s);
	if (!s->in_header)
		return;
	if (s->state == VALUE || s->state == VALUE_CR) { /* the last line lacks its CRLF */
		s->header_lines++;
		s->header_octets = s->octets;
	}
	header_ends(s, s->header_octets, s->header_octets < s->octets ? MAIL_SCAN_HEADER_BROKEN : 0);
}
