/*
 * bounce_reason: why a recipient got nothing, out of the words of a report.
 */
#include "mail/bounce_private.h"

#include <assert.h>

#define REASON_MAX  4096 /* octets of a text that are searched for a reply */
#define SEARCH_MAX  16   /* replies that are passed over because they are no refusals */
#define MENTION_MAX 24

static bool is_refusal(unsigned code)
{
	return code >= 400 && code <= 599;
}

/* "error code 550", "error: 550", "[SMTP Error 550]": forms that are not a reply as such. */
static unsigned mentioned_code(struct slice text)
{
	static const struct slice marks[] = {{"error code", 10}, {"smtp error", 10}, {"smtp code", 9}, {"error", 5},
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

unsigned bounce_reply_find(struct slice text, struct smtpcodes_status *ret_status)
{
	struct slice rest = text = slice_head(text, REASON_MAX);
	struct smtpcodes_explanation e = {0};

	*ret_status = (struct smtpcodes_status){0};
	for (size_t i = 0; i < SEARCH_MAX && rest.n; i++) {
		smtpcodes_explain(rest.p, rest.n, NULL, &e);
		if (is_refusal(e.code)) {
			*ret_status = e.status;
			return e.code;
		}
		if (e.code == 0)
			break;
		rest = slice_skip(rest, (size_t)(e.reply.p - rest.p) + 3);
	}
	if (e.code == 0 && e.status.klass > 2)
		*ret_status = e.status;
	return mentioned_code(text);
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
		struct slice host = next ? bounce_host_at(slice_skip(text, at + row->fragment[0].n)) : host_before(text, at);
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
static bool fill_from(struct mail_bounce_rcpt *rcpt, struct slice text)
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
	smtpcodes_classify(rcpt->reply, rcpt->status, text.n ? text.p : "", text.n, NULL, &found);
	rcpt->klass = found.klass;
	rcpt->verdict = verdict_of(rcpt, found.verdict);
	assert(rcpt->klass < SMTPCODES_CLASSES);
	return found.klass != SMTPCODES_CLASS_UNKNOWN || code;
}

void bounce_reason_fill(struct mail_bounce_rcpt *rcpt, struct slice text)
{
	bool understood = fill_from(rcpt, rcpt->diagnostic);
	enum smtpcodes_class klass = rcpt->klass;

	if (text.n && (!understood || rcpt->reply == 0))
		fill_from(rcpt, text);
	if (klass != SMTPCODES_CLASS_UNKNOWN)
		rcpt->klass = klass;
}
