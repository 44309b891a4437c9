/*
 * bounce_reason: why a recipient got nothing, out of the words of a report.
 */
#include "mail/bounce_private.h"

#include <assert.h>
#include <string.h>

#define REASON_MAX  4096 /* octets of a text that are searched for a reply */
#define MENTION_MAX 24

static bool is_refusal(unsigned code)
{
	return code >= 400 && code <= 599;
}

/* "error code 550", "error: 550", "[SMTP Error 550]": forms that are not a reply as such. */
static unsigned mentioned_code(struct slice text)
{
	static const struct slice marks[] = {{"error code", 10},  {"smtp error", 10}, {"smtp code", 9}, {"error", 5},
					     {"status code", 11}, {"reply code", 10}, {"code", 4}};

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
		size_t at = slice_isearch(text, marks[i]);
		struct slice rest = slice_head(slice_skip(text, at + marks[i].n), MENTION_MAX), digits = rest;
		uint64_t code;

		if (at == text.n)
			continue;
		while (digits.n && !ascii_is_alnum(digits.p[0]))
			digits = slice_skip(digits, 1);
		bool ends = digits.n == 3 || (digits.n > 3 && !ascii_is_alnum(digits.p[3]));
		if (ends && slice_u64(slice_head(digits, 3), 599, &code) && is_refusal((unsigned)code))
			return (unsigned)code;
	}
	return 0;
}

/* A basic code of three digits that no word goes on behind; 0 when there is none. */
static unsigned code_at(struct slice s)
{
	uint64_t code;

	if (!slice_u64(slice_head(s, 3), 599, &code) || (s.n > 3 && (ascii_is_alnum(s.p[3]) || s.p[3] == '.')))
		return 0;
	return s.n >= 3 && is_refusal((unsigned)code) ? (unsigned)code : 0;
}

/* Whether what stands before a number is what stands before a reply: nothing, or a mark. */
static bool announces(struct slice before)
{
	static const struct slice marks[] = {{": ", 2}, {"; ", 2}, {";", 1},    {"(", 1},    {"\"", 1},
					     {"'", 1},  {"#", 1},  {"<<< ", 4}, {">>> ", 4}, {"\n", 1},
					     {"] ", 2}, {"- ", 2}, {"= ", 2},   {"=", 1}};

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (slice_ends(before, marks[i]))
			return true;
	return slice_trim(before).n == 0;
}

/* Whether a word starts at `at`. */
static bool starts_word(struct slice text, size_t at)
{
	return at == 0 || (!ascii_is_alnum(text.p[at - 1]) && !memchr(".-_", text.p[at - 1], 3));
}

/* The enhanced code of the class right behind a basic code. */
static struct smtpcodes_status status_behind(struct slice s, unsigned klass)
{
	struct smtpcodes_status status = {0};

	for (size_t i = 0; i < 3 && s.n && memchr(" -:\t#(", s.p[0], 6); i++)
		s = slice_skip(s, 1);
	if (s.n == 0 || smtpcodes_status_parse(s.p, s.n, &status) == 0 || status.klass != klass)
		return (struct smtpcodes_status){0};
	return status;
}

/* An enhanced code of a refusal, wherever it stands as a word. */
static struct smtpcodes_status status_within(struct slice text)
{
	struct smtpcodes_status status;

	for (size_t i = 0; i < text.n; i++)
		if ((text.p[i] == '4' || text.p[i] == '5') && starts_word(text, i) &&
		    smtpcodes_status_parse(text.p + i, text.n - i, &status))
			return status;
	return (struct smtpcodes_status){0};
}

/*
 * Best is a code with its enhanced code behind it: nothing else looks like that. Then a known code where replies stand.
 * Then what texts mention; and an enhanced code alone.
 */
unsigned bounce_reply_find(struct slice text, struct smtpcodes_status *ret_status)
{
	unsigned fair = 0;

	text = slice_head(text, REASON_MAX);
	for (size_t i = 0; i < text.n; i++) {
		unsigned code = text.p[i] == '4' || text.p[i] == '5' ? code_at(slice_skip(text, i)) : 0;

		if (code == 0 || !starts_word(text, i))
			continue;
		*ret_status = status_behind(slice_skip(text, i + 3), code / 100);
		if (ret_status->klass)
			return code;
		/* What the text begins with is the reply; another one that it quotes is not. */
		if (i == 0 && smtpcodes_code(code) && status_behind(slice_skip(text, 3), 9 - code / 100).klass)
			return code;
		if (fair == 0 && smtpcodes_code(code) && announces(slice_head(text, i)))
			fair = code;
	}
	*ret_status = status_within(text);
	if (fair == 0)
		fair = mentioned_code(text);
	if (fair && ret_status->klass != fair / 100)
		ret_status->klass = 0;
	return fair;
}

/* ---- the host ---------------------------------------------------------------------------------------------------- */

static struct slice host_before(struct slice text, size_t at)
{
	size_t end = at, start;

	while (end > 0 && text.p[end - 1] == ' ')
		end--;
	start = end;
	while (start > 0 && text.p[start - 1] != ' ' && text.p[start - 1] != '\n' && text.p[start - 1] != '\t')
		start--;
	return bounce_host_at(slice_head(slice_skip(text, start), end - start));
}

struct slice bounce_remote_find(struct slice text, bool whole)
{
	text = slice_head(text, REASON_MAX);
	for (size_t i = 0; i < bounce_phrase_count; i++) {
		const struct bounce_phrase *row = &bounce_phrases[i];
		bool next = row->place == BOUNCE_HOST_NEXT;

		if ((!next && row->place != BOUNCE_HOST_BEFORE) || (whole && row->effect != MAIL_BOUNCE_FAILED))
			continue;
		size_t at = slice_isearch(text, row->fragment[0]);
		if (at == text.n)
			continue;
		struct slice host =
			next ? bounce_host_at(slice_skip(text, at + row->fragment[0].n)) : host_before(text, at);
		if (host.n)
			return host;
	}
	return SLICE_NONE;
}

/* ---- together ---------------------------------------------------------------------------------------------------- */

static enum smtpcodes_verdict verdict_of(const struct mail_bounce_rcpt *rcpt, enum smtpcodes_verdict found)
{
	switch (rcpt->action) {
	case MAIL_BOUNCE_FAILED:
		return SMTPCODES_PERMANENT;
	case MAIL_BOUNCE_DELAYED:
		return SMTPCODES_TEMPORARY;
	case MAIL_BOUNCE_NO_ACTION:
		return found == SMTPCODES_PERMANENT || found == SMTPCODES_TEMPORARY ? found : SMTPCODES_UNKNOWN;
	case MAIL_BOUNCE_DELIVERED:
	case MAIL_BOUNCE_RELAYED:
	case MAIL_BOUNCE_EXPANDED:
		break;
	}
	return SMTPCODES_UNKNOWN;
}

static bool is_vague(struct smtpcodes_status status)
{
	return status.klass == 0 || (status.subject == 0 && status.detail == 0);
}

/* Take over what the text says beside the facts. False when it says nothing that is understood. */
static bool fill_from(struct mail_bounce_rcpt *rcpt, struct slice text, const struct smtpcodes_rules *rules)
{
	struct smtpcodes_finding found;
	struct smtpcodes_status inner = {0};
	unsigned code = bounce_reply_find(text, &inner);

	if (rcpt->reply == 0)
		rcpt->reply = code;
	if (is_vague(rcpt->status) && inner.klass && (rcpt->status.klass == 0 || rcpt->status.klass == inner.klass))
		rcpt->status = inner;
	if (rcpt->action == MAIL_BOUNCE_NO_ACTION && rcpt->status.klass == 2 && rcpt->reply == 0)
		rcpt->action = MAIL_BOUNCE_DELIVERED;
	smtpcodes_classify(rcpt->reply, rcpt->status, text.n ? text.p : "", text.n, rules, &found);
	rcpt->klass = found.klass;
	rcpt->verdict = verdict_of(rcpt, found.verdict);
	assert(rcpt->klass < SMTPCODES_CLASSES);
	return found.klass != SMTPCODES_CLASS_UNKNOWN || code;
}

void bounce_reason_fill(struct mail_bounce_rcpt *rcpt, struct slice text, const struct smtpcodes_rules *rules)
{
	bool understood = fill_from(rcpt, rcpt->diagnostic, rules);
	enum smtpcodes_class klass = rcpt->klass;

	if (text.n && (!understood || rcpt->reply == 0))
		fill_from(rcpt, text, rules);
	if (klass != SMTPCODES_CLASS_UNKNOWN)
		rcpt->klass = klass;
}
