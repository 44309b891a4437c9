#include "mail/unitext.h"

#include "mail/address.h"

/* Takes the character that starts *in, which is well-formed UTF-8. */
static uint32_t take_character(struct slice *in)
{
	unsigned char first = (unsigned char)in->p[0];
	size_t n = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint32_t value = n == 1 ? first : first & (0x7fu >> n);

	for (size_t i = 1; i < n; i++)
		value = value << 6 | ((unsigned char)in->p[i] & 0x3fu);
	*in = slice_skip(*in, n);
	return value;
}

static void add_character(uint32_t value, struct buf *out)
{
	if (value < 0x80) {
		buf_add_char(out, (char)value);
		return;
	}
	if (value < 0x800) {
		buf_add_char(out, (char)(0xc0 | value >> 6));
	} else {
		if (value < 0x10000) {
			buf_add_char(out, (char)(0xe0 | value >> 12));
		} else {
			buf_add_char(out, (char)(0xf0 | value >> 18));
			buf_add_char(out, (char)(0x80 | (value >> 12 & 0x3f)));
		}
		buf_add_char(out, (char)(0x80 | (value >> 6 & 0x3f)));
	}
	buf_add_char(out, (char)(0x80 | (value & 0x3f)));
}

static bool needs_escape(uint32_t value)
{
	return value >= 0x80 || value == ' ' || value == '\\' || value == '+' || value == '=';
}

bool mail_unitext_encode(struct slice address, struct buf *out)
{
	size_t before = buf_len(out);
	bool good = slice_is_utf8(address);

	while (good && address.n) {
		uint32_t value = take_character(&address);

		good = value >= 0x20 && value != 0x7f;
		if (good && needs_escape(value))
			good = buf_printf(out, "\\x{%02X}", (unsigned)value);
		else if (good)
			good = buf_add_char(out, (char)value);
	}
	if (!good)
		buf_cut(out, before);
	return good;
}

/* Takes "\x{HEX}"; 0 when it is none, or one that stands for a control, a surrogate or nothing. */
static uint32_t take_escape(struct slice *in)
{
	size_t close = slice_find(*in, '}');
	struct slice digits = slice_skip(slice_head(*in, close), 3);
	uint32_t value = 0;

	if (!slice_starts(*in, SLICE("\\x{")) || close == in->n || digits.n < 2 || digits.n > 6)
		return 0;
	for (size_t i = 0; i < digits.n; i++) {
		int digit = ascii_hex_value(digits.p[i]);

		if (digit < 0 || (i == 0 && digit == 0))
			return 0;
		value = value << 4 | (uint32_t)digit;
	}
	if ((value < 0x80 && !needs_escape(value)) || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
		return 0;
	*in = slice_skip(*in, close + 1);
	return value;
}

bool mail_unitext_decode(struct slice in, struct buf *out)
{
	size_t before = buf_len(out);
	struct mail_address parsed;
	const char *why;
	bool good = true;

	while (good && in.n) {
		uint32_t value = 0;

		if (in.p[0] == '\\') {
			value = take_escape(&in);
			good = value > 0;
			if (good)
				add_character(value, out);
		} else {
			buf_add_char(out, in.p[0]);
			in = slice_skip(in, 1);
		}
	}
	struct slice address = slice_skip(buf_slice(out), before);
	good = good && !out->failed && mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK;
	if (!good)
		buf_cut(out, before);
	return good;
}
