#include "base/base64.h"

bool base64_encode(struct slice octets, struct buf *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	if (octets.n == 0)
		return !out->failed;
	char *p = buf_reserve(out, BASE64_LENGTH(octets.n));
	if (!p)
		return false;
	for (size_t i = 0; i < octets.n; i += 3) {
		size_t n = octets.n - i < 3 ? octets.n - i : 3;
		uint32_t group = 0;
		for (size_t k = 0; k < 3; k++)
			group = group << 8 | (k < n ? (unsigned char)octets.p[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			*p++ = k <= n ? digits[group >> (18 - 6 * k) & 63] : '=';
	}
	buf_wrote(out, BASE64_LENGTH(octets.n));
	return true;
}

enum alphabet { STANDARD, URL };

static int value_of(char c, enum alphabet alphabet)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (ascii_is_digit(c))
		return c - '0' + 52;
	if (alphabet == URL)
		return c == '-' ? 62 : c == '_' ? 63 : -1;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The bits of a group whose first `n` characters count; false when one is not of the alphabet, or a bit is set that
 * stands for no octet. */
static bool read_group(const char *p, size_t n, enum alphabet alphabet, uint32_t *ret)
{
	*ret = 0;
	for (size_t i = 0; i < 4; i++) {
		int value = i < n ? value_of(p[i], alphabet) : 0;
		if (value < 0)
			return false;
		*ret = *ret << 6 | (uint32_t)value;
	}
	return (*ret & ((uint32_t)0xffffff >> 8 * (n - 1))) == 0;
}

static size_t padding_of(struct slice text)
{
	return text.p[text.n - 1] != '=' ? 0 : text.p[text.n - 2] != '=' ? 1 : 2;
}

/* Text without its padding. */
static bool decode(struct slice text, enum alphabet alphabet, struct buf *out)
{
	size_t length = text.n / 4 * 3 + (text.n % 4 > 0 ? text.n % 4 - 1 : 0);

	if (text.n % 4 == 1)
		return false;
	if (text.n == 0)
		return true;
	char *p = buf_reserve(out, length);
	if (!p)
		return false;
	for (size_t i = 0; i < text.n; i += 4) {
		size_t n = text.n - i < 4 ? text.n - i : 4;
		uint32_t group;
		if (!read_group(text.p + i, n, alphabet, &group))
			return false;
		for (size_t k = 0; k + 1 < n; k++)
			*p++ = (char)(group >> (16 - 8 * k));
	}
	buf_wrote(out, length);
	return true;
}

bool base64_decode(struct slice text, struct buf *out)
{
	if (text.n % 4 != 0)
		return false;
	return decode(text.n ? slice_head(text, text.n - padding_of(text)) : text, STANDARD, out);
}

bool base64url_decode(struct slice text, struct buf *out)
{
	return decode(text, URL, out);
}
