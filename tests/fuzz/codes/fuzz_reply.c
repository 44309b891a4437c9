/*
 * fuzz_reply: what parses as a reply, formatted and parsed again, is the same reply; formatting it again changes no
 * more than spaces.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codes/smtpcodes.h"

#define TEXT_MAX 8192

struct shape {
	struct smtpcodes_reply reply;
	char text[TEXT_MAX];
	size_t text_n;
};

static bool read_reply(const char *in, size_t n, enum smtpcodes_mode mode, struct shape *ret)
{
	if (smtpcodes_reply_parse(in, n, mode, &ret->reply) != SMTPCODES_OK)
		return false;
	assert(ret->reply.octets <= n && ret->reply.lines > 0);
	ret->text_n = smtpcodes_reply_text(in, n, mode, '\n', ret->text, TEXT_MAX);
	return ret->text_n < TEXT_MAX;
}

/* Spaces and line ends may move when a long line is broken; nothing else may. */
static size_t squeeze(char *text, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (text[i] != ' ' && text[i] != '\t' && text[i] != '\n')
			text[kept++] = text[i];
	return kept;
}

static void check_lines(const char *in, size_t n)
{
	while (n > 0) {
		const char *end = memchr(in, '\n', n);
		assert(end && end - in < 512);
		n -= (size_t)(end + 1 - in);
		in = end + 1;
	}
}

static void check_round_trip(const char *in, size_t n, enum smtpcodes_mode mode)
{
	static struct shape first, second, third;
	static char out[4 * TEXT_MAX], again[4 * TEXT_MAX];

	if (!read_reply(in, n, mode, &first))
		return;
	size_t length = smtpcodes_reply_format(first.reply.code, first.reply.status, first.text, first.text_n,
					       SMTPCODES_UTF8, out, sizeof out);
	if (length == 0) { /* only the lenient reader takes such codes */
		assert(mode == SMTPCODES_LENIENT);
		return;
	}
	if (length > sizeof out)
		return;
	check_lines(out, length);
	assert(read_reply(out, length, SMTPCODES_STRICT, &second));
	assert(second.reply.octets == length);
	assert(second.reply.code == first.reply.code);
	bool broken = second.reply.lines != first.reply.lines;
	if (broken && first.reply.status.klass == 0)
		return; /* a number in the text may have come to stand where an enhanced code stands */
	assert(memcmp(&second.reply.status.subject, &first.reply.status.subject, 4) == 0);
	assert(second.reply.status.klass == first.reply.status.klass);

	size_t length_again = smtpcodes_reply_format(second.reply.code, second.reply.status, second.text, second.text_n,
						     SMTPCODES_UTF8, again, sizeof again);
	assert(length_again <= length); /* only spaces behind an enhanced code go away */
	assert(read_reply(again, length_again, SMTPCODES_STRICT, &third));
	length = squeeze(out, length);
	length_again = squeeze(again, length_again);
	assert(length_again == length && memcmp(again, out, length) == 0);
	if (mode == SMTPCODES_STRICT && memchr(third.text, '?', third.text_n) == NULL) {
		first.text_n = squeeze(first.text, first.text_n);
		third.text_n = squeeze(third.text, third.text_n);
		assert(first.text_n == third.text_n && memcmp(first.text, third.text, first.text_n) == 0);
	}
}

static void check_status(const char *in, size_t n)
{
	struct smtpcodes_status status, again;
	char text[10];
	size_t taken = smtpcodes_status_parse(in, n, &status);

	assert(taken <= n && taken <= 9 && (taken == 0) == (status.klass == 0));
	assert(smtpcodes_status_format(status, text) == taken);
	assert(memcmp(text, in, taken) == 0);
	assert(smtpcodes_status_parse(text, taken, &again) == taken);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *in = (const char *)data;

	if (size == 0)
		return 0;
	check_status(in, size);
	check_round_trip(in, size, SMTPCODES_STRICT);
	check_round_trip(in, size, SMTPCODES_LENIENT);
	return 0;
}
