/*
 * explain: find the reply in what somebody pastes, and put everything that is known about it together. See smtpcodes.h
 * for the contract.
 *
 * The whole text may be a code, an enhanced code (also in part, X.7), or start with a reply. Otherwise it is searched:
 * best is a reply code with an enhanced code of its class behind it, then a known reply code where logs put one ("said:
 * 550", "(250", "reply=550"), then an enhanced code alone ("dsn=5.1.1", "(#5.1.1)"). What is left is only a text.
 */
#include "codes/catalogue.h"

#include <assert.h>
#include <string.h>

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* qmail writes '_' for a space in its log. */
static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '_';
}

static bool is_quote(char c)
{
	return c == '\'' || c == '"' || c == '`';
}

/* Blanks around it, and quotes: one at the end belongs to the text unless one stands before it. */
static struct smtpcodes_span trim(struct smtpcodes_span s)
{
	size_t quotes = 0;

	for (; s.n > 0 && (is_blank(s.p[0]) || is_quote(s.p[0])); s.n--)
		quotes += is_quote(*s.p++);
	while (s.n > 0 && (is_blank(s.p[s.n - 1]) || (quotes > 0 && is_quote(s.p[s.n - 1]))))
		quotes -= is_quote(s.p[--s.n]);
	return s;
}

static struct smtpcodes_span skip(struct smtpcodes_span s, size_t n)
{
	assert(n <= s.n);
	return (struct smtpcodes_span){s.p + n, s.n - n};
}

/* Three digits with the first from 1 to 9 that no other word character touches on the right; 0 when it is not so. */
static unsigned code_at(struct smtpcodes_span s)
{
	if (s.n < 3 || s.p[0] == '0' || !is_digit(s.p[0]) || !is_digit(s.p[1]) || !is_digit(s.p[2]))
		return 0;
	if (s.n > 3 && (is_alnum(s.p[3]) || s.p[3] == '.'))
		return 0;
	return (unsigned)((s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + s.p[2] - '0');
}

/* ---- an enhanced code alone, whole or in part ------------------------------------------------------------------ */

struct pattern {
	uint8_t klass;      /* 0: open */
	uint16_t number[2]; /* subject, detail */
	bool known[2];
};

/* A number of up to three digits, or one to three X. Returns the octets taken, 0 when it is neither. */
static size_t pattern_number(struct smtpcodes_span s, uint16_t *number, bool *known)
{
	size_t i = 0;

	*known = s.n > 0 && is_digit(s.p[0]);
	*number = 0;
	for (; i < s.n && i < 3 && (*known ? is_digit(s.p[i]) : s.p[i] == 'X' || s.p[i] == 'x'); i++)
		if (*known)
			*number = (uint16_t)(*number * 10 + (s.p[i] - '0'));
	return i;
}

/* "5", "X.7", "5.7", "5.X.X", "X.7.1", "5.7.1", and nothing behind it. */
static bool parse_pattern(struct smtpcodes_span s, struct pattern *ret)
{
	*ret = (struct pattern){0};
	if (s.n == 0 || !memchr("245Xx", s.p[0], 5))
		return false;
	ret->klass = is_digit(s.p[0]) ? (uint8_t)(s.p[0] - '0') : 0;
	if (s.n == 1)
		return ret->klass != 0;
	s = skip(s, 1);
	for (size_t part = 0; part < 2 && s.n > 0; part++) {
		size_t taken = s.p[0] == '.' ? pattern_number(skip(s, 1), &ret->number[part], &ret->known[part]) : 0;
		if (taken == 0)
			return false;
		s = skip(s, 1 + taken);
	}
	return s.n == 0 && (ret->known[0] || !ret->known[1]) && (ret->klass != 0 || ret->known[0]);
}

static void find_rows(struct smtpcodes_explanation *ret, struct smtpcodes_status status, bool subject, bool detail)
{
	ret->class_row = status.klass ? smtpcodes_status_class(status.klass) : NULL;
	ret->subject_row = subject ? smtpcodes_status_subject(status.subject) : NULL;
	ret->detail_row = detail ? smtpcodes_status_detail(status.subject, status.detail) : NULL;
}

static void explain_pattern(const struct pattern *pattern, const struct smtpcodes_rules *extra,
			    struct smtpcodes_explanation *ret)
{
	struct smtpcodes_status status = {pattern->klass, pattern->number[0], pattern->number[1]};
	struct smtpcodes_status assumed = status;

	/* With the class left open, what the code is about is the same; whether it is temporary is not known. */
	if (assumed.klass == 0)
		assumed.klass = 5;
	smtpcodes_classify(0, assumed, "", 0, extra, &ret->finding);
	if (!pattern->known[0]) {
		ret->finding.klass = SMTPCODES_CLASS_UNKNOWN;
		ret->finding.rule = ret->finding.code_rule = NULL;
		ret->finding.decided_by = SMTPCODES_BY_NOTHING;
	}
	if (status.klass == 0) {
		ret->finding.verdict = SMTPCODES_UNKNOWN;
		ret->finding.status = status;
	}
	ret->form = SMTPCODES_FORM_STATUS;
	ret->status = status;
	find_rows(ret, status, pattern->known[0], pattern->known[1]);
	const struct smtpcodes_status_row *row = ret->detail_row    ? ret->detail_row
						 : ret->subject_row ? ret->subject_row
								    : ret->class_row;
	if (row) {
		ret->finding.actor = row->actor;
		ret->finding.advice = row->advice;
	}
}

/* ---- a reply within a text ------------------------------------------------------------------------------------- */

/* A reply code with an enhanced code of its class behind it: nothing else looks like this. */
static bool is_strong(struct smtpcodes_span s, unsigned code)
{
	struct smtpcodes_status status;

	return s.n > 4 && (s.p[3] == '-' || is_blank(s.p[3])) &&
	       smtpcodes_status_parse(s.p + 4, s.n - 4, &status) > 0 && status.klass == code / 100;
}

static bool ends_with(const char *text, size_t n, const char *end)
{
	size_t width = strlen(end);

	return n >= width && memcmp(text + n - width, end, width) == 0;
}

/* Whether what stands before a number is what stands before a reply in logs and reports. */
static bool announces_reply(const char *before, size_t n)
{
	static const char *const marks[] = {": ", "; ",   ";",      "(",  "\"", "'",
					    "#",  "<<< ", "reply=", "\n", ":_", "said: "};

	for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
		if (ends_with(before, n, marks[i]))
			return true;
	return false;
}

/* Where the reply stands within the text; its end when there is none. */
static size_t find_reply(struct smtpcodes_span s)
{
	size_t fair = s.n;

	for (size_t i = 0; i < s.n; i++) {
		if (!is_digit(s.p[i]) || (i > 0 && (is_alnum(s.p[i - 1]) || s.p[i - 1] == '.' || s.p[i - 1] == '-')))
			continue;
		struct smtpcodes_span here = skip(s, i);
		unsigned code = code_at(here);
		if (code < 200 || code > 599)
			continue;
		if (is_strong(here, code))
			return i;
		if (fair == s.n && smtpcodes_code(code) && announces_reply(s.p, i))
			fair = i;
	}
	return fair;
}

static void explain_reply(struct smtpcodes_span s, const struct smtpcodes_rules *extra,
			  struct smtpcodes_explanation *ret)
{
	struct smtpcodes_reply reply;
	enum smtpcodes_parse result = smtpcodes_reply_parse(s.p, s.n, SMTPCODES_LENIENT, &reply);

	assert(result != SMTPCODES_BAD);
	assert(reply.code != 0);
	ret->reply = (struct smtpcodes_span){s.p, result == SMTPCODES_OK ? reply.octets : s.n};
	ret->code = reply.code;
	ret->code_row = smtpcodes_code(reply.code);
	ret->status = reply.status;
	if (ret->status.klass == 0)
		ret->status = smtpcodes__find_status(s.p + 3, ret->reply.n - 3, reply.code / 100, false);
	smtpcodes_classify(reply.code, ret->status, ret->reply.p, ret->reply.n, extra, &ret->finding);
	find_rows(ret, ret->finding.status, ret->finding.status.klass != 0, ret->finding.status.klass != 0);
}

/* Logs name the outcome behind "status=" or "stat="; what stands before it are names that only mislead. */
static struct smtpcodes_span outcome_of(struct smtpcodes_span s)
{
	for (size_t i = 0; i + 7 <= s.n; i++)
		if (memcmp(s.p + i, "status=", 7) == 0 || memcmp(s.p + i, " stat=", 6) == 0)
			return skip(s, i);
	return s;
}

/* A text without reply code; `status` may be absent too. */
static void explain_text(struct smtpcodes_span s, struct smtpcodes_status status, const struct smtpcodes_rules *extra,
			 struct smtpcodes_explanation *ret)
{
	s = outcome_of(s);
	ret->reply = s;
	ret->status = status;
	smtpcodes_classify(0, status, s.p, s.n, extra, &ret->finding);
	find_rows(ret, status, status.klass != 0, status.klass != 0);
}

bool smtpcodes_explain(const char *in, size_t n, const struct smtpcodes_rules *extra, struct smtpcodes_explanation *ret)
{
	struct smtpcodes_span s = trim((struct smtpcodes_span){n ? in : "", n});
	struct smtpcodes_status status;
	struct pattern pattern;
	size_t at;

	*ret = (struct smtpcodes_explanation){.reply = s};
	if (parse_pattern(s, &pattern)) {
		explain_pattern(&pattern, extra, ret);
		return ret->class_row || ret->subject_row || ret->detail_row;
	}
	if (code_at(s) != 0 && (smtpcodes_code(code_at(s)) || (s.p[0] >= '2' && s.p[0] <= '5'))) {
		ret->form = s.n == 3 ? SMTPCODES_FORM_CODE : SMTPCODES_FORM_REPLY;
		explain_reply(s, extra, ret);
		return true;
	}
	if (smtpcodes_status_parse(s.p, s.n, &status)) {
		ret->form = SMTPCODES_FORM_REPLY;
		explain_text(s, status, extra, ret);
		return true;
	}
	at = find_reply(s);
	if (at < s.n) {
		ret->form = SMTPCODES_FORM_WITHIN;
		explain_reply(skip(s, at), extra, ret);
		return true;
	}
	status = smtpcodes__find_status(s.p, s.n, 0, true);
	ret->form = status.klass ? SMTPCODES_FORM_WITHIN : SMTPCODES_FORM_TEXT;
	explain_text(s, status, extra, ret);
	return status.klass != 0 || ret->finding.rule != NULL;
}
