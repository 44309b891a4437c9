/*
 * format: a reply as octets, in lines that keep the rules. See smtpcodes.h for the contract.
 */
#include "codes/smtpcodes.h"

#include <assert.h>
#include <string.h>

#define LINE_MAX_OCTETS 512 /* RFC 5321 4.5.3.1.5, CR LF included */

struct writer {
	char *out;
	size_t n, cap; /* n goes on beyond cap, to tell how much room is needed */
};

static void put(struct writer *w, const char *text, size_t n)
{
	if (n && w->n <= w->cap && n <= w->cap - w->n)
		memcpy(w->out + w->n, text, n);
	w->n += n;
}

/* Octets of one UTF-8 character at `in`, 0 when it is not well formed (RFC 3629 4). */
static size_t utf8_length(const unsigned char *in, size_t n)
{
	size_t length = in[0] < 0xc2 ? 0 : in[0] < 0xe0 ? 2 : in[0] < 0xf0 ? 3 : in[0] < 0xf5 ? 4 : 0;

	if (length == 0 || length > n)
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((in[i] & 0xc0) != 0x80)
			return 0;
	if ((in[0] == 0xe0 && in[1] < 0xa0) || (in[0] == 0xed && in[1] > 0x9f) || (in[0] == 0xf0 && in[1] < 0x90) ||
	    (in[0] == 0xf4 && in[1] > 0x8f))
		return 0;
	return length;
}

/* One character of the text, made safe; returns the octets taken from it. */
static size_t put_character(struct writer *w, const char *in, size_t n, unsigned flags)
{
	unsigned char c = (unsigned char)in[0];
	size_t length = c >= 0x80 && (flags & SMTPCODES_UTF8) ? utf8_length((const unsigned char *)in, n) : 0;

	if (length == 0) {
		put(w, c == '\t' || (c >= 0x20 && c < 0x7f) ? in : "?", 1);
		return 1;
	}
	put(w, in, length);
	return length;
}

/* How much of the text goes on a line with room for `room` octets: broken at a space where one is in reach. */
static size_t fitting(const char *text, size_t n, size_t room)
{
	if (n <= room)
		return n;
	for (size_t i = room; i > room / 2; i--)
		if (text[i] == ' ')
			return i;
	/* No space: rather than within a UTF-8 character, break before it. */
	size_t i = room;
	while (i > room - 4 && ((unsigned char)text[i] & 0xc0) == 0x80)
		i--;
	return i > room - 4 ? i : room;
}

struct form {
	char prefix[4 + 10]; /* "250-2.1.0 " */
	size_t prefix_n;
	unsigned flags;
};

static void put_line(struct writer *w, const struct form *form, const char *text, size_t n, bool last)
{
	put(w, form->prefix, 3);
	put(w, last ? " " : "-", 1);
	put(w, form->prefix + 4, form->prefix_n - 4);
	for (size_t i = 0; i < n;)
		i += put_character(w, text + i, n - i, form->flags);
	put(w, "\r\n", 2);
}

static void put_text(struct writer *w, const struct form *form, const char *text, size_t n)
{
	size_t room = LINE_MAX_OCTETS - 2 - form->prefix_n;
	bool more = true;

	while (more) {
		const char *newline = n ? memchr(text, '\n', n) : NULL;
		size_t line = newline ? (size_t)(newline - text) : n;
		size_t part = fitting(text, line, room);
		size_t skip = part < line ? text[part] == ' ' : newline != NULL;

		more = part < line || newline != NULL;
		put_line(w, form, text, part, !more);
		text += part + skip;
		n -= part + skip;
	}
}

size_t smtpcodes_reply_format(unsigned code, struct smtpcodes_status status, const char *text, size_t n, unsigned flags,
			      char *out, size_t cap)
{
	struct form form = {.prefix_n = 4, .flags = flags};
	struct writer w = {out, 0, cap};

	if (code < 200 || code > 559 || code / 10 % 10 > 5)
		return 0;
	if (status.klass != 0 && (status.klass != code / 100 || status.subject > 999 || status.detail > 999))
		return 0;
	if (status.klass == 3) /* 3yz has no enhanced code (RFC 2034 4) */
		return 0;
	form.prefix[0] = (char)('0' + code / 100);
	form.prefix[1] = (char)('0' + code / 10 % 10);
	form.prefix[2] = (char)('0' + code % 10);
	if (status.klass != 0 && !(flags & SMTPCODES_NO_STATUS)) {
		form.prefix_n += smtpcodes_status_format(status, form.prefix + 4);
		form.prefix[form.prefix_n++] = ' ';
	}
	assert(form.prefix_n <= sizeof form.prefix);
	put_text(&w, &form, n ? text : "", n);
	return w.n;
}
