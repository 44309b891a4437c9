/*
 * parse: replies and enhanced status codes as octets. See smtpcodes.h for the contract.
 *
 * A reply is read line by line by one of two readers, strict (RFC 5321 4.2) and lenient; what a reply of several lines
 * adds up to is common to both. Whatever the strict reader takes, the lenient one takes with the same result.
 */
#include "codes/smtpcodes.h"

#include <assert.h>
#include <string.h>

enum line_result { LINE_WHOLE, LINE_CUT, LINE_BAD };

struct line {
	unsigned code; /* 0: a line without code within a lenient reply */
	bool last;
	const char *text; /* behind the code and its separator */
	size_t text_n;
	size_t octets; /* line end included */
	const char *error;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 5321 4.2 textstring, with what RFC 6531 3.7.4 adds. */
static bool is_reply_text(char c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f) || (unsigned char)c >= 0x80;
}

/* Octets of the text that starts at `in`, up to what ends it. From a peer, control characters stand for themselves and
 * only CR LF is an end: what they stand in is a refusal all the same. */
static size_t text_length(const char *in, size_t n, enum smtpcodes_mode mode)
{
	size_t i = 0;

	while (i < n) {
		bool control_of_peer =
			mode == SMTPCODES_PEER && in[i] != '\n' && (in[i] != '\r' || (i + 1 < n && in[i + 1] != '\n'));
		if (!is_reply_text(in[i]) && !control_of_peer)
			break;
		i++;
	}
	return i;
}

static unsigned code_of(const char *in)
{
	return (unsigned)(in[0] - '0') * 100 + (unsigned)(in[1] - '0') * 10 + (unsigned)(in[2] - '0');
}

/* ---- enhanced status codes ------------------------------------------------------------------------------------- */

/* 1*3DIGIT without leading zero (RFC 3463 2). Returns the digits taken, 0 when there is no such number. */
static size_t parse_number(const char *in, size_t n, uint16_t *ret)
{
	size_t i = 0;
	uint16_t value = 0;

	while (i < n && i < 3 && is_digit(in[i]))
		value = (uint16_t)(value * 10 + (in[i++] - '0'));
	if (i > 1 && in[0] == '0')
		return 0;
	*ret = value;
	return i;
}

size_t smtpcodes_status_parse(const char *in, size_t n, struct smtpcodes_status *ret)
{
	struct smtpcodes_status status = {0};
	size_t i = 2, taken;

	*ret = status;
	if (n < 5 || (in[0] != '2' && in[0] != '4' && in[0] != '5') || in[1] != '.')
		return 0;
	status.klass = (uint8_t)(in[0] - '0');
	taken = parse_number(in + i, n - i, &status.subject);
	i += taken;
	if (taken == 0 || i == n || in[i++] != '.')
		return 0;
	taken = parse_number(in + i, n - i, &status.detail);
	i += taken;
	if (taken == 0 || (i < n && (is_digit(in[i]) || in[i] == '.' || is_letter(in[i]))))
		return 0;
	assert(i <= 9);
	*ret = status;
	return i;
}

static size_t format_number(char *out, uint16_t value)
{
	size_t n = 0;

	assert(value <= 999);
	if (value >= 100)
		out[n++] = (char)('0' + value / 100);
	if (value >= 10)
		out[n++] = (char)('0' + value / 10 % 10);
	out[n++] = (char)('0' + value % 10);
	return n;
}

size_t smtpcodes_status_format(struct smtpcodes_status status, char out[10])
{
	size_t n = 0;

	if (status.klass != 0) {
		assert(status.klass <= 9);
		out[n++] = (char)('0' + status.klass);
		out[n++] = '.';
		n += format_number(out + n, status.subject);
		out[n++] = '.';
		n += format_number(out + n, status.detail);
	}
	out[n] = '\0';
	return n;
}

static bool status_equal(struct smtpcodes_status a, struct smtpcodes_status b)
{
	return a.klass == b.klass && a.subject == b.subject && a.detail == b.detail;
}

/* ---- lines ----------------------------------------------------------------------------------------------------- */

static enum line_result bad_line(struct line *ret, const char *error)
{
	ret->error = error;
	return LINE_BAD;
}

/* The digits of RFC 5321 4.2: %x32-35 %x30-35 %x30-39, as far as they have come; from a peer, any second digit. */
static bool strict_digits(const char *in, size_t n, enum smtpcodes_mode mode)
{
	const char highest[3] = {'5', mode == SMTPCODES_PEER ? '9' : '5', '9'};

	for (size_t i = 0; i < n && i < 3; i++)
		if (in[i] < (i == 0 ? '2' : '0') || in[i] > highest[i])
			return false;
	return true;
}

static enum line_result read_strict(const char *in, size_t n, enum smtpcodes_mode mode, struct line *ret)
{
	size_t i = 3;

	if (!strict_digits(in, n, mode))
		return bad_line(ret, "the line does not start with a reply code");
	if (n <= 3)
		return LINE_CUT;
	if (in[3] == ' ' || in[3] == '-')
		i++;
	else if (in[3] != '\r')
		return bad_line(ret, "the code is not followed by a space, a hyphen or the line's end");
	ret->text = in + i;
	ret->text_n = text_length(in + i, n - i, mode);
	i += ret->text_n;
	if (i < n && in[i] != '\r')
		return bad_line(ret, "the text holds a control character, or the line does not end in CR LF");
	if (i + 1 < n && in[i + 1] != '\n')
		return bad_line(ret, "a bare CR in the text");
	if (i + 1 >= n)
		return LINE_CUT;
	ret->code = code_of(in);
	ret->last = in[3] != '-';
	ret->octets = i + 2;
	return LINE_WHOLE;
}

/* Whether a line starts with three digits that stand alone. */
static bool lenient_code(const char *in, size_t n)
{
	if (n < 3 || !is_digit(in[0]) || in[0] == '0' || !is_digit(in[1]) || !is_digit(in[2]))
		return false;
	return n == 3 || !(is_digit(in[3]) || is_letter(in[3]));
}

static bool only_digits(const char *in, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!is_digit(in[i]))
			return false;
	return true;
}

/* `first`: only later lines may come without code, as in a text that was wrapped on its way through a mail program. */
static enum line_result read_lenient(const char *in, size_t n, bool first, struct line *ret)
{
	const char *newline = n ? memchr(in, '\n', n) : NULL;
	size_t end = newline ? (size_t)(newline - in) : n;

	ret->octets = newline ? end + 1 : n;
	while (end > 0 && in[end - 1] == '\r')
		end--;
	if (!lenient_code(in, end)) {
		if (first && !newline && n < 3 && only_digits(in, n))
			return LINE_CUT;
		if (first)
			return bad_line(ret, "the line does not start with three digits");
		*ret = (struct line){.text = in, .text_n = end, .octets = ret->octets};
		return LINE_WHOLE;
	}
	bool separated = end > 3 && (in[3] == '-' || is_space(in[3]));
	ret->code = code_of(in);
	ret->last = !(end > 3 && in[3] == '-');
	ret->text = in + 3 + separated;
	ret->text_n = end - 3 - separated;
	return LINE_WHOLE;
}

static enum line_result read_line(const char *in, size_t n, enum smtpcodes_mode mode, bool first, struct line *ret)
{
	*ret = (struct line){0};
	return mode == SMTPCODES_LENIENT ? read_lenient(in, n, first, ret) : read_strict(in, n, mode, ret);
}

/* The enhanced code that a line's text starts with. Returns the octets up to its end, 0 when there is none. */
static size_t line_status(const struct line *line, struct smtpcodes_status *ret)
{
	size_t i = 0;

	while (i < line->text_n && is_space(line->text[i]))
		i++;
	size_t taken = smtpcodes_status_parse(line->text + i, line->text_n - i, ret);
	return taken ? i + taken : 0;
}

/* ---- replies --------------------------------------------------------------------------------------------------- */

enum smtpcodes_parse smtpcodes_reply_parse(const char *in, size_t n, enum smtpcodes_mode mode,
					   struct smtpcodes_reply *ret)
{
	struct smtpcodes_status by_class[10] = {0}, status;
	struct line line;
	enum line_result result = LINE_CUT;
	bool last = false;

	*ret = (struct smtpcodes_reply){0};
	while (!last && ret->octets < n) {
		result = read_line(in + ret->octets, n - ret->octets, mode, ret->lines == 0, &line);
		if (result != LINE_WHOLE)
			break;
		if (mode != SMTPCODES_LENIENT && ret->lines > 0 && line.code != ret->code) {
			result = bad_line(&line, "the lines carry different codes");
			break;
		}
		if (line_status(&line, &status))
			by_class[status.klass] = status;
		ret->code = line.code ? line.code : ret->code;
		ret->octets += line.octets;
		ret->lines++;
		last = line.last;
	}
	ret->status = by_class[ret->code / 100];
	if (result == LINE_BAD) {
		ret->error = line.error;
		return SMTPCODES_BAD;
	}
	assert(!last || ret->code >= 100);
	return last ? SMTPCODES_OK : SMTPCODES_MORE;
}

struct output {
	char *p;
	size_t n, cap;
	enum smtpcodes_mode mode;
};

static void put(struct output *out, const char *text, size_t n)
{
	size_t room = out->cap - out->n;

	if (n > room)
		n = room;
	for (size_t i = 0; i < n; i++)
		out->p[out->n + i] = out->mode == SMTPCODES_PEER && !is_reply_text(text[i]) ? '?' : text[i];
	out->n += n;
}

size_t smtpcodes_reply_text(const char *in, size_t n, enum smtpcodes_mode mode, char joint, char *out, size_t cap)
{
	struct output to = {out, 0, cap, mode};
	struct smtpcodes_reply reply;
	struct smtpcodes_status status;
	struct line line;

	if (smtpcodes_reply_parse(in, n, mode, &reply) == SMTPCODES_BAD)
		return 0;
	for (size_t i = 0, taken; i < reply.octets; i += line.octets) {
		if (read_line(in + i, reply.octets - i, mode, i == 0, &line) != LINE_WHOLE)
			break;
		if (i > 0 && to.n < cap)
			to.p[to.n++] = joint;
		taken = line_status(&line, &status);
		if (taken && status_equal(status, reply.status))
			while (taken < line.text_n && is_space(line.text[taken]))
				taken++;
		else
			taken = 0;
		put(&to, line.text + taken, line.text_n - taken);
	}
	assert(to.n <= cap);
	return to.n;
}
