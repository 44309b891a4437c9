/*
 * Conversion to 7 bits and to 8-bit lines. Whatever comes in: the output does not depend on the cuts, holds nothing
 * that the target forbids, is its own conversion, and every part of it decodes to what the part was before. The second
 * reader here takes messages apart from the outside in, over the whole text. The first octet of the input chooses the
 * target and seeds the cuts.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mail/mime.h"
#include "mail/seven.h"

#define OUT_MAX (16 << 20)

static enum mail_seven_result convert(enum mail_seven_target target, struct slice in, uint32_t seed, struct buf *out)
{
	struct mail_seven *s = mail_seven_new(target);
	enum mail_seven_result result = MAIL_SEVEN_OK;

	assert(s);
	while (in.n && result == MAIL_SEVEN_OK) {
		seed = seed * 1103515245 + 12345;
		struct slice piece = slice_head(in, seed ? 1 + (seed >> 16) % 40 : in.n);
		char *copy = malloc(piece.n);

		memcpy(copy, piece.p, piece.n);
		result = mail_seven_feed(s, slice_of(copy, piece.n), out);
		in = slice_skip(in, piece.n);
		free(copy);
	}
	result = mail_seven_end(s, out);
	assert((result == MAIL_SEVEN_OK) == (mail_seven_reason(s) == NULL));
	mail_seven_free(s);
	return result;
}

static void check_allowed(enum mail_seven_target target, struct slice out)
{
	for (size_t i = 0; i < out.n; i++) {
		assert(out.p[i] != '\0');
		assert(target == MAIL_SEVEN_TO_8BIT || (unsigned char)out.p[i] < 0x80);
		if (out.p[i] == '\r')
			assert(i + 1 < out.n && out.p[i + 1] == '\n');
		if (out.p[i] == '\n')
			assert(i > 0 && out.p[i - 1] == '\r');
	}
}

/* ---- the second reader ------------------------------------------------------------------------------------------- */

static void decode_qp(struct slice in, struct buf *out)
{
	while (in.n) {
		size_t n = slice_search(in, SLICE("\r\n"));
		bool ended = n < in.n, soft = false;
		struct slice line = slice_head(in, n);

		while (line.n && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
			line.n--;
		if (line.n && line.p[line.n - 1] == '=' && ended) {
			soft = true;
			line.n--;
		}
		for (size_t i = 0; i < line.n; i++) {
			if (line.p[i] == '=' && i + 2 < line.n && ascii_hex_value(line.p[i + 1]) >= 0 &&
			    ascii_hex_value(line.p[i + 2]) >= 0) {
				buf_add_char(out, (char)(ascii_hex_value(line.p[i + 1]) * 16 +
							 ascii_hex_value(line.p[i + 2])));
				i += 2;
			} else {
				buf_add_char(out, line.p[i]);
			}
		}
		if (ended && !soft)
			buf_add_lit(out, "\r\n");
		in = slice_skip(in, n + 2);
	}
}

static void decode_base64(struct slice in, struct buf *out)
{
	uint32_t bits = 0;
	int have = 0;

	for (size_t i = 0; i < in.n; i++) {
		static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
		const char *at = in.p[i] ? memchr(digits, in.p[i], 64) : NULL;

		if (!at)
			continue;
		bits = bits << 6 | (uint32_t)(at - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			buf_add_char(out, (char)(bits >> have));
		}
	}
}

struct reading {
	struct buf leaves; /* a mark and the decoded content of each */
	bool qp_text;      /* trailing blanks of quoted-printable that was there before are nobody's */
};

static void read_entity(struct reading *r, struct slice in, bool digest, size_t depth, struct slice *open,
			size_t opens);

static bool delimiter(struct slice line, struct slice boundary, bool *last)
{
	*last = false;
	if (!slice_starts(line, SLICE("--")) || !slice_starts(slice_skip(line, 2), boundary))
		return false;
	struct slice rest = slice_skip(line, 2 + boundary.n);
	if (slice_starts(rest, SLICE("--"))) {
		*last = true;
		rest = slice_skip(rest, 2);
	}
	return slice_trim(rest).n == 0 && memchr(rest.n ? rest.p : "", '\r', rest.n) == NULL &&
	       memchr(rest.n ? rest.p : "", '\n', rest.n) == NULL;
}

static void read_parts(struct reading *r, struct slice in, struct slice boundary, bool digest, size_t depth,
		       struct slice *open, size_t opens)
{
	size_t at = 0, start = 0;
	bool in_part = false, over = false;

	while (at < in.n && !over) {
		size_t n = slice_search(slice_skip(in, at), SLICE("\r\n"));
		struct slice line = slice_head(slice_skip(in, at), n);
		bool last;

		if (delimiter(line, boundary, &last) && line.n <= MAIL_MIME_BOUNDARY_MAX + 100) {
			if (in_part)
				read_entity(r, slice_of(in.p + start, at - start >= 2 ? at - start - 2 : 0), digest,
					    depth, open, opens);
			in_part = !last;
			over = last;
			start = at + n + 2 < in.n ? at + n + 2 : in.n;
		}
		at = at + n + 2 < in.n ? at + n + 2 : in.n;
	}
	if (in_part)
		read_entity(r, slice_skip(in, start), digest, depth, open, opens);
}

static bool clashes(struct slice boundary, const struct slice *open, size_t opens)
{
	for (size_t i = 0; i < opens; i++) {
		char a[600], b[600];

		memcpy(a, boundary.p, boundary.n);
		memcpy(a + boundary.n, "--", 2);
		memcpy(b, open[i].p, open[i].n);
		memcpy(b + open[i].n, "--", 2);
		if (slice_eq(boundary, open[i]) || slice_eq(slice_of(a, boundary.n + 2), open[i]) ||
		    slice_eq(boundary, slice_of(b, open[i].n + 2)))
			return true;
	}
	return false;
}

/* The body behind a header section: the empty line, or the first line that is no field, ends it. */
static struct slice body_of(struct slice in, size_t *header)
{
	size_t at = 0;

	while (at < in.n) {
		struct slice rest = slice_skip(in, at);
		size_t n = slice_search(rest, SLICE("\r\n"));

		if (n == 0 && rest.n >= 2) {
			*header = at;
			return slice_skip(rest, 2);
		}
		if (!(at > 0 && (rest.p[0] == ' ' || rest.p[0] == '\t')) && !mail_line_is_field(slice_head(rest, n)))
			break;
		at = at + n + 2 < in.n ? at + n + 2 : in.n;
	}
	*header = at;
	return slice_skip(in, at);
}

static void read_entity(struct reading *r, struct slice in, bool digest, size_t depth, struct slice *open, size_t opens)
{
	struct mail_mime_type type = {.type = SLICE("text"), .subtype = SLICE("plain")};
	enum mail_mime_encoding encoding = MAIL_MIME_NONE;
	size_t header, types = 0, encodings = 0;
	struct slice body = body_of(in, &header);
	struct mail_header_field f;

	if (digest)
		type = (struct mail_mime_type){.type = SLICE("message"), .subtype = SLICE("rfc822")};
	for (struct slice rest = slice_head(in, header); mail_header_next(&rest, &f);) {
		if (slice_ieq(f.name, SLICE("Content-Type"))) {
			types++;
			if (!mail_mime_type_parse(f.value, &type))
				type = (struct mail_mime_type){.type = SLICE("x"), .subtype = SLICE("x")};
		}
		if (slice_ieq(f.name, SLICE("Content-Transfer-Encoding"))) {
			encodings++;
			encoding = mail_mime_encoding_parse(f.value);
		}
	}
	if (types > 1 || encodings > 1) {
		encoding = MAIL_MIME_UNKNOWN;
		type = types > 1 ? (struct mail_mime_type){.type = SLICE("x"), .subtype = SLICE("x")} : type;
	}

	bool identity = encoding <= MAIL_MIME_BINARY;
	struct slice boundary = slice_of(type.boundary, type.boundary_n);
	if (slice_ieq(type.type, SLICE("multipart")) && identity && depth < MAIL_SEVEN_DEPTH_MAX && boundary.n &&
	    !slice_ieq(type.subtype, SLICE("signed")) && !clashes(boundary, open, opens)) {
		buf_add_lit(&r->leaves, "\n(");
		open[opens] = boundary;
		read_parts(r, body, boundary, slice_ieq(type.subtype, SLICE("digest")), depth + 1, open, opens + 1);
		buf_add_lit(&r->leaves, "\n)");
		return;
	}
	if (slice_ieq(type.type, SLICE("message")) && slice_ieq(type.subtype, SLICE("rfc822")) && identity &&
	    depth < MAIL_SEVEN_DEPTH_MAX) {
		buf_add_lit(&r->leaves, "\n<");
		read_entity(r, body, false, depth + 1, open, opens);
		buf_add_lit(&r->leaves, "\n>");
		return;
	}
	buf_add_lit(&r->leaves, "\n|");
	if (encoding == MAIL_MIME_QUOTED_PRINTABLE && !slice_ieq(type.type, SLICE("multipart")))
		decode_qp(body, &r->leaves);
	else if (encoding == MAIL_MIME_BASE64 && !slice_ieq(type.type, SLICE("multipart")))
		decode_base64(body, &r->leaves);
	else
		buf_add(&r->leaves, body);
}

static void check_same_content(struct slice before, struct slice after)
{
	struct reading a = {0}, b = {0};
	struct slice open[MAIL_SEVEN_DEPTH_MAX + 1];

	buf_init(&a.leaves, OUT_MAX);
	buf_init(&b.leaves, OUT_MAX);
	read_entity(&a, before, false, 0, open, 0);
	read_entity(&b, after, false, 0, open, 0);
	assert(!a.leaves.failed && !b.leaves.failed);
	assert(slice_eq(buf_slice(&a.leaves), buf_slice(&b.leaves)));
	buf_free(&a.leaves);
	buf_free(&b.leaves);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;

	enum mail_seven_target target = data[0] & 1 ? MAIL_SEVEN_TO_7BIT : MAIL_SEVEN_TO_8BIT;
	struct slice in = slice_of(data + 1, size - 1);
	struct buf whole, cut, again;

	buf_init(&whole, OUT_MAX);
	buf_init(&cut, OUT_MAX);
	buf_init(&again, OUT_MAX);
	enum mail_seven_result result = convert(target, in, 0, &whole);
	assert(convert(target, in, data[0] + 1u, &cut) == result);
	assert(convert(target, in, data[0] + 2u, NULL) == result);
	assert(result != MAIL_SEVEN_NO_ROOM);
	if (result == MAIL_SEVEN_OK) {
		assert(slice_eq(buf_slice(&whole), buf_slice(&cut)));
		check_allowed(target, buf_slice(&whole));
		assert(convert(target, buf_slice(&whole), 0, &again) == MAIL_SEVEN_OK);
		assert(slice_eq(buf_slice(&whole), buf_slice(&again)));
		check_same_content(in, buf_slice(&whole));
	}
	buf_free(&whole);
	buf_free(&cut);
	buf_free(&again);
	return 0;
}
