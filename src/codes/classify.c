/*
 * classify: what a foreign reply means, by code, enhanced code and text together. See smtpcodes.h for the contract.
 *
 * The text is folded once (lower case, single spaces, codes removed) and then put to the rules in their order: those of
 * the operator, those about texts, and last those about codes alone. What the codes alone would say is found too, and
 * compared: the class of a code may leave others open (`covers` in classes.tsv), any other one is a disagreement.
 */
#include "codes/catalogue.h"
#include "codes/rules.h"

#include <assert.h>

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '_' || c == '\0';
}

const struct smtpcodes_rule *smtpcodes_rule_at(size_t index)
{
	return index < smtpcodes__rules_count ? &smtpcodes__rules[index] : NULL;
}

struct smtpcodes_status smtpcodes__find_status(const char *text, size_t n, unsigned klass, bool anywhere)
{
	struct smtpcodes_status status;
	bool allowed = true; /* a code may start here */

	for (size_t i = 0; i < n; i++) {
		if (allowed && smtpcodes_status_parse(text + i, n - i, &status) &&
		    (klass == 0 || status.klass == klass))
			return status;
		if (is_blank(text[i]))
			allowed = allowed || anywhere;
		else
			allowed =
				text[i] == '#' || text[i] == '(' || text[i] == '[' || text[i] == '=' || text[i] == ';';
	}
	return (struct smtpcodes_status){0};
}

static struct smtpcodes_status settle_status(unsigned code, struct smtpcodes_status status, const char *text, size_t n)
{
	if (status.klass == 0)
		status = smtpcodes__find_status(text, n < RULES_TEXT_READ ? n : RULES_TEXT_READ, code / 100, false);
	if (status.klass == 0 && code != 0) {
		const struct smtpcodes_code_row *row = smtpcodes_code(code);
		if (row)
			status = row->stands_for;
	}
	return status;
}

static bool is_failure(enum smtpcodes_verdict verdict)
{
	return verdict != SMTPCODES_SUCCESS && verdict != SMTPCODES_INTERMEDIATE;
}

/* Advice by the most exact row of the catalogue that the codes have; NULL when there is none. */
static bool advise_by_codes(unsigned code, struct smtpcodes_finding *ret)
{
	const struct smtpcodes_status_row *status =
		ret->status.klass ? smtpcodes_status_detail(ret->status.subject, ret->status.detail) : NULL;
	const struct smtpcodes_code_row *row = smtpcodes_code(code);

	if (status && !(status->status.subject == 0 && row)) {
		ret->actor = status->actor;
		ret->advice = status->advice;
	} else if (row) {
		ret->actor = row->actor;
		ret->advice = row->advice;
	}
	return ret->advice != NULL;
}

static void advise_by_class(struct smtpcodes_finding *ret)
{
	const struct smtpcodes_class_row *row = smtpcodes_class(ret->klass);
	bool temporary = ret->verdict == SMTPCODES_TEMPORARY;

	ret->actor = temporary ? row->actor_temporary : row->actor_permanent;
	ret->advice = temporary ? row->advice_temporary : row->advice_permanent;
}

/* How the rule about the text and the codes differ, or NULL. */
static const char *disagreement(const struct smtpcodes_finding *f, enum smtpcodes_verdict by_codes)
{
	enum smtpcodes_class by_code = f->code_rule ? f->code_rule->klass : SMTPCODES_CLASS_UNKNOWN;
	bool verdicts = by_codes != SMTPCODES_UNKNOWN && f->verdict != by_codes;
	bool classes = by_code != SMTPCODES_CLASS_UNKNOWN && by_code != f->klass &&
		       !(smtpcodes_class(by_code)->covers & UINT32_C(1) << f->klass);

	if (verdicts && classes)
		return "the codes speak of something else than the text, and of another chance to succeed";
	if (verdicts && f->verdict == SMTPCODES_TEMPORARY)
		return "the code says permanent, the text says that a later attempt may succeed";
	if (verdicts)
		return "the code says temporary, the text says that it will not succeed";
	return classes ? "the codes speak of something else than the text" : NULL;
}

static const struct smtpcodes_rule *decide_by_operator(const struct rules_question *q, struct rules_text *text,
						       const struct smtpcodes_rules *extra)
{
	struct rules_pairs pairs;

	if (!extra || extra->count == 0)
		return NULL;
	smtpcodes__note_pairs(text, &pairs);
	const struct smtpcodes_rule *rule = smtpcodes__first_match(extra->rule, extra->count, q);
	text->pairs = NULL;
	return rule;
}

static const struct smtpcodes_rule *decide(unsigned code, struct rules_text *text, const struct smtpcodes_rules *extra,
					   struct smtpcodes_finding *ret)
{
	const struct rules_question question = {code, ret->status, text}, *q = &question;
	const struct smtpcodes_rule *rule = decide_by_operator(q, text, extra);
	size_t texts = smtpcodes__rules_about_texts;

	ret->code_rule = smtpcodes__first_match(smtpcodes__rules + texts, smtpcodes__rules_count - texts, q);
	if (rule) {
		ret->decided_by = SMTPCODES_BY_OPERATOR;
		return rule;
	}
	rule = smtpcodes__first_indexed(q);
	ret->decided_by = rule ? SMTPCODES_BY_TEXT : ret->code_rule ? SMTPCODES_BY_CODE : SMTPCODES_BY_NOTHING;
	return rule ? rule : ret->code_rule;
}

void smtpcodes_classify(unsigned code, struct smtpcodes_status status, const char *text, size_t n,
			const struct smtpcodes_rules *extra, struct smtpcodes_finding *ret)
{
	struct rules_text folded;

	*ret = (struct smtpcodes_finding){.status = settle_status(code, status, n ? text : "", n)};
	enum smtpcodes_verdict by_codes = smtpcodes_verdict(code, ret->status);
	ret->verdict = by_codes;
	if (!is_failure(by_codes)) {
		ret->decided_by = SMTPCODES_BY_CODE;
		if (!advise_by_codes(code, ret))
			ret->advice = smtpcodes_code(by_codes == SMTPCODES_SUCCESS ? 250 : 354)->advice;
		return;
	}
	smtpcodes__fold(&folded, code, ret->status, n ? text : "", n);
	ret->rule = decide(code, &folded, extra, ret);
	if (ret->rule) {
		ret->klass = ret->rule->klass;
		if (ret->rule->verdict != SMTPCODES_UNKNOWN)
			ret->verdict = ret->rule->verdict;
		else if (by_codes == SMTPCODES_UNKNOWN)
			ret->verdict = smtpcodes_class(ret->klass)->verdict;
	}
	if (ret->decided_by == SMTPCODES_BY_TEXT || ret->decided_by == SMTPCODES_BY_OPERATOR)
		ret->disagreement = disagreement(ret, by_codes);
	if (ret->klass == SMTPCODES_CLASS_UNKNOWN || ret->decided_by == SMTPCODES_BY_CODE)
		advise_by_codes(code, ret);
	if (!ret->advice)
		advise_by_class(ret);
	assert(ret->advice);
}
