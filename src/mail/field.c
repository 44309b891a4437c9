#include "mail/field.h"

#include "mail/address.h"

#include <assert.h>
#include <string.h>

/* ---- safe text --------------------------------------------------------------------------------------------------- */

/* Octets of the well-formed UTF-8 sequence outside ASCII that starts s, at most 4; 0 when there is none. */
static size_t utf8_octets(struct slice s)
{
	for (size_t n = 2; n <= 4 && n <= s.n; n++)
		if (slice_is_utf8(slice_head(s, n)))
			return (unsigned char)s.p[0] < 0x80 ? 0 : n;
	return 0;
}

/* C1 controls, line and paragraph separators, and what turns the writing direction of the text around it. */
static bool is_trap(struct slice c)
{
	const unsigned char *u = (const unsigned char *)c.p;

	if (c.n == 2)
		return (u[0] == 0xc2 && u[1] < 0xa0) || (u[0] == 0xd8 && u[1] == 0x9c); /* U+0080-9F, U+061C */
	if (c.n != 3)
		return false;
	if (u[0] == 0xe2 && u[1] == 0x80)
		return u[2] == 0x8e || u[2] == 0x8f || (u[2] >= 0xa8 && u[2] <= 0xae); /* U+200E-F, U+2028-E */
	if (u[0] == 0xe2 && u[1] == 0x81)
		return u[2] >= 0xa6 && u[2] <= 0xa9;         /* U+2066-9 */
	return u[0] == 0xef && u[1] == 0xbb && u[2] == 0xbf; /* U+FEFF */
}

/* Takes one character off *in and gives it, made safe. */
static struct slice safe_character(struct slice *in, bool utf8)
{
	struct slice c = slice_head(*in, 1);
	size_t n = utf8 ? utf8_octets(*in) : 0;

	if (n > 0)
		c = slice_head(*in, n);
	else if (slice_starts(*in, SLICE("\r\n")))
		c.n = 2;
	*in = slice_skip(*in, c.n);
	if (n > 0)
		return is_trap(c) ? SLICE("?") : c;
	if (c.p[0] == '\t' || c.p[0] == '\r' || c.p[0] == '\n')
		return SLICE(" ");
	return ascii_is_print(c.p[0]) ? c : SLICE("?");
}

bool mail_field_safe(struct buf *out, struct slice in, size_t max, bool utf8)
{
	size_t before = buf_len(out), fit = before; /* fit: what stays when "..." has to follow */

	assert(max >= 3);
	while (in.n && !out->failed) {
		struct slice c = safe_character(&in, utf8);

		if (buf_len(out) - before + c.n > max) {
			buf_cut(out, fit);
			return buf_add_lit(out, "...");
		}
		buf_add(out, c);
		if (buf_len(out) - before + 3 <= max)
			fit = buf_len(out);
	}
	return !out->failed;
}

bool mail_field_path(struct buf *out, struct slice address, bool utf8)
{
	struct mail_address parsed;
	const char *why;

	buf_add_char(out, '<');
	if (mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK && (utf8 || !parsed.utf8)) {
		buf_add(out, address);
	} else {
		char text[MAIL_PATH_MAX];
		size_t n = address.n < sizeof text ? address.n : sizeof text;

		for (size_t i = 0; i < n; i++)
			text[i] = memchr("<>\"\\() \t\r\n;,", address.p[i], 12) ? '?' : address.p[i];
		mail_field_safe(out, slice_of(text, n), sizeof text, utf8);
	}
	return buf_add_char(out, '>');
}

/* ---- folding ----------------------------------------------------------------------------------------------------- */

void mail_fold_begin(struct mail_fold *f, struct buf *out, const char *name)
{
	struct slice text = slice_from_cstr(name);

	*f = (struct mail_fold){.out = out, .column = text.n + 1};
	buf_add(out, text);
	buf_add_char(out, ':');
}

void mail_fold_break(struct mail_fold *f)
{
	buf_add_lit(f->out, "\r\n\t");
	f->column = 1;
}

void mail_fold_word(struct mail_fold *f, struct slice word)
{
	if (f->column == 1) { /* right behind a break */
		buf_add(f->out, word);
		f->column += word.n;
		return;
	}
	if (f->column + 1 + word.n > MAIL_LINE_WISHED) {
		mail_fold_break(f);
	} else {
		buf_add_char(f->out, ' ');
		f->column++;
	}
	buf_add(f->out, word);
	f->column += word.n;
}

bool mail_fold_end(struct mail_fold *f)
{
	return buf_add_lit(f->out, "\r\n");
}
