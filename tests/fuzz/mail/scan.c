/*
 * The scanner against a plain reading of the whole message: every finding must be the same, however the message is cut.
 * The first octet of the input seeds the cuts.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mail/scan.h"

#define ADDRESS "a b@c"

static size_t line_end(struct slice in, size_t at) /* behind its CRLF, or the end */
{
	struct slice rest = slice_skip(in, at);
	size_t crlf = slice_search(rest, SLICE("\r\n"));

	return crlf < rest.n ? at + crlf + 2 : in.n;
}

static void count_field(struct mail_scan *s, struct slice name, struct slice value)
{
	s->received += slice_ieq(name, SLICE("Received"));
	s->delivered_to += slice_ieq(name, SLICE("Delivered-To")) && slice_ieq(slice_trim(value), SLICE(ADDRESS));
	if (slice_ieq(name, SLICE("From")))
		s->flags |= MAIL_SCAN_HAS_FROM;
	if (slice_ieq(name, SLICE("Date")))
		s->flags |= MAIL_SCAN_HAS_DATE;
	if (slice_ieq(name, SLICE("Message-ID")))
		s->flags |= MAIL_SCAN_HAS_MESSAGE_ID;
	if (slice_istarts(name, SLICE("Resent-")))
		s->flags |= MAIL_SCAN_HAS_RESENT;
}

static void read_header(struct mail_scan *s, struct slice in)
{
	size_t at = 0;

	while (at < in.n) {
		struct slice rest = slice_skip(in, at);
		size_t name = 0, colon, end;

		if (slice_starts(rest, SLICE("\r\n"))) {
			s->body_start = at + 2;
			return;
		}
		while (name < rest.n && rest.p[name] > 32 && rest.p[name] < 127 && rest.p[name] != ':')
			name++;
		for (colon = name; colon < rest.n && (rest.p[colon] == ' ' || rest.p[colon] == '\t'); colon++)
			;
		if (name == 0 || colon == rest.n || rest.p[colon] != ':') {
			s->flags |= MAIL_SCAN_HEADER_BROKEN;
			break;
		}
		end = at;
		do {
			end = line_end(in, end);
			s->header_lines++;
		} while (end < in.n && (in.p[end] == ' ' || in.p[end] == '\t') && in.p[end - 1] == '\n' &&
			 in.p[end - 2] == '\r');
		count_field(s, slice_head(rest, name), slice_of(rest.p + colon + 1, end - at - colon - 1));
		s->header_octets = at = end;
	}
	s->body_start = at;
}

static void read_octets(struct mail_scan *s, struct slice in)
{
	for (size_t at = 0; at < in.n; at++) {
		bool header = at < s->body_start;
		char c = in.p[at];

		if (c == '\r' && (at + 1 == in.n || in.p[at + 1] != '\n'))
			s->flags |= MAIL_SCAN_BARE_CR;
		if (c == '\n' && (at == 0 || in.p[at - 1] != '\r'))
			s->flags |= MAIL_SCAN_BARE_LF;
		if (c == '\0')
			s->flags |= header ? MAIL_SCAN_NUL_HEADER : MAIL_SCAN_NUL_BODY;
		if ((unsigned char)c > 127)
			s->flags |= header ? MAIL_SCAN_8BIT_HEADER : MAIL_SCAN_8BIT_BODY;
	}
	for (size_t at = 0; at < in.n; at = line_end(in, at))
		if (line_end(in, at) - at > s->longest_line)
			s->longest_line = line_end(in, at) - at;
	if (in.n == 0 || slice_ends(in, SLICE("\r\n")))
		s->flags |= MAIL_SCAN_ENDS_CRLF;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct mail_scan expected = {0}, s;
	uint32_t seed = size ? data[0] : 0;
	struct slice in = slice_skip(slice_of(data, size), 1);

	read_header(&expected, in);
	read_octets(&expected, in);

	mail_scan_init(&s, SLICE(ADDRESS));
	mail_scan_count_by(&s, SLICE("x"));
	for (size_t at = 0; at < in.n;) {
		seed = seed * 1103515245 + 12345;
		struct slice piece = slice_head(slice_skip(in, at), (seed >> 16) % (data[0] + 2u));
		char *copy = malloc(piece.n ? piece.n : 1);

		memcpy(copy, piece.n ? piece.p : "", piece.n);
		mail_scan_feed(&s, slice_of(copy, piece.n));
		free(copy);
		at += piece.n;
	}
	mail_scan_end(&s);

	assert(s.octets == in.n);
	assert(s.header_octets == expected.header_octets);
	assert(s.header_lines == expected.header_lines);
	assert(s.body_start == expected.body_start);
	assert(s.longest_line == expected.longest_line);
	assert(s.received == expected.received);
	assert(s.received_by_us <= s.received);
	assert(s.delivered_to == expected.delivered_to);
	assert(s.flags == expected.flags);
	assert(!s.in_header);
	return 0;
}
