#include "codes/reply.h"
#include "codes/reply_table.h"

#include <assert.h>
#include <string.h>

#define LINE_OCTETS 510 /* RFC 5321 4.5.3.1.5, without CR LF */
#define TEXT_MAX    (REPLY_LINE_MAX + REPLY_ARGS * REPLY_ARG_MAX)

const struct reply_row *reply_row(enum reply_id id)
{
	assert(id < REPLY_COUNT);
	return &reply_rows[id].row;
}

/* The argument that "%1" to "%3" at this place stands for, cut to its maximum; false for any other text. */
static bool argument_at(const struct reply *reply, const char *text, struct slice *ret)
{
	if (text[0] != '%' || text[1] < '1' || text[1] > '0' + REPLY_ARGS)
		return false;
	*ret = slice_head(reply->arg[text[1] - '1'], REPLY_ARG_MAX);
	return true;
}

static size_t expanded_length(const struct reply_entry *entry, const struct reply *reply)
{
	size_t n = 0;
	struct slice arg;

	if (!entry->has_arguments)
		return entry->text_n;
	for (const char *text = entry->row.text; *text; text++) {
		if (argument_at(reply, text, &arg)) {
			n += arg.n;
			text++;
		} else {
			n++;
		}
	}
	return n;
}

static char *copy_safe(char *out, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		*out++ = ascii_is_print(s.p[i]) || s.p[i] == '\t' ? s.p[i] : '?';
	return out;
}

static void expand(char *out, const struct reply_entry *entry, const struct reply *reply)
{
	struct slice arg;

	if (!entry->has_arguments) {
		memcpy(out, entry->row.text, entry->text_n);
		return;
	}
	for (const char *text = entry->row.text; *text; text++) {
		if (argument_at(reply, text, &arg)) {
			out = copy_safe(out, arg);
			text++;
		} else {
			*out++ = *text;
		}
	}
}

/* The common case: the whole reply is one line, written in place. */
static bool format_short(struct buf *out, const struct reply_entry *entry, const struct reply *reply, size_t n,
			 bool last)
{
	char *p = buf_reserve(out, entry->prefix_n + n + 2);

	if (!p)
		return false;
	memcpy(p, entry->prefix, entry->prefix_n);
	p[3] = last ? ' ' : '-';
	expand(p + entry->prefix_n, entry, reply);
	memcpy(p + entry->prefix_n + n, "\r\n", 2);
	buf_wrote(out, entry->prefix_n + n + 2);
	return true;
}

/* How much of the text stands on a line with this room: broken at a space where there is one in its second half. */
static size_t line_end(struct slice text, size_t room)
{
	if (text.n <= room)
		return text.n;
	for (size_t i = room; i > room / 2; i--)
		if (text.p[i] == ' ')
			return i;
	return room;
}

static bool put_line(struct buf *out, const struct reply_entry *entry, struct slice text, bool last)
{
	char *p = buf_reserve(out, entry->prefix_n + text.n + 2);

	if (!p)
		return false;
	memcpy(p, entry->prefix, entry->prefix_n);
	p[3] = last ? ' ' : '-';
	char *end = copy_safe(p + entry->prefix_n, text);
	memcpy(end, "\r\n", 2);
	buf_wrote(out, entry->prefix_n + text.n + 2);
	return true;
}

/* Kept out of its caller, whose frame would have to hold and clear the text for each short reply. */
__attribute__((noinline, cold)) static bool format_long(struct buf *out, const struct reply_entry *entry,
							const struct reply *reply, size_t n, bool last)
{
	char text[TEXT_MAX];
	struct slice rest = {text, n};
	size_t room = LINE_OCTETS - entry->prefix_n;
	bool ok = true;

	assert(n <= sizeof text);
	expand(text, entry, reply);
	while (ok && rest.n > room) {
		size_t end = line_end(rest, room);
		ok = put_line(out, entry, slice_head(rest, end), false);
		rest = slice_skip(rest, end + (rest.p[end] == ' '));
	}
	return ok && put_line(out, entry, rest, last);
}

static bool format_first(struct buf *out, const struct reply_entry *entry, const struct reply *reply, bool last)
{
	size_t n = expanded_length(entry, reply);

	if (entry->prefix_n + n <= LINE_OCTETS)
		return format_short(out, entry, reply, n, last);
	return format_long(out, entry, reply, n, last);
}

bool reply_format_lines(struct buf *out, const struct reply *reply, const struct slice *lines, size_t count)
{
	assert(reply->id < REPLY_COUNT);
	const struct reply_entry *entry = &reply_rows[reply->id];
	size_t before = buf_len(out);
	bool ok = format_first(out, entry, reply, count == 0);

	for (size_t i = 0; ok && i < count; i++)
		ok = put_line(out, entry, slice_head(lines[i], REPLY_LINE_MAX), i + 1 == count);
	if (!ok)
		buf_cut(out, before);
	return ok;
}

bool reply_format(struct buf *out, const struct reply *reply)
{
	return reply_format_lines(out, reply, NULL, 0);
}
