/*
 * fuzz_explain: what is explained lies within the input and means the same when it is given alone, in capitals, or
 * behind words of a log; the index of the built-in rules finds what trying each rule finds; rules that an operator
 * writes are read or refused, and a rule for everything decides everything.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "codes/smtpcodes.h"

static void check_finding(const struct smtpcodes_finding *f)
{
	assert(f->advice && *f->advice);
	assert((unsigned)f->klass < SMTPCODES_CLASSES);
	assert(f->verdict <= SMTPCODES_PERMANENT && f->actor <= SMTPCODES_REMOTE_OPERATOR);
	assert((f->decided_by == SMTPCODES_BY_TEXT || f->decided_by == SMTPCODES_BY_OPERATOR) || !f->disagreement);
	assert(f->klass == SMTPCODES_CLASS_UNKNOWN || f->rule);
}

static void check_same(const struct smtpcodes_explanation *a, const struct smtpcodes_explanation *b)
{
	assert(a->code == b->code && a->finding.klass == b->finding.klass && a->finding.verdict == b->finding.verdict);
	assert(a->finding.rule == b->finding.rule && a->code_row == b->code_row && a->detail_row == b->detail_row);
}

/* The reply that was found, alone and in capitals. */
static void check_alone(const struct smtpcodes_explanation *e)
{
	struct smtpcodes_explanation again;
	size_t n = e->reply.n;
	char *copy = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		copy[i] = e->reply.p[i] >= 'a' && e->reply.p[i] <= 'z' ? (char)(e->reply.p[i] - 32) : e->reply.p[i];
	assert(smtpcodes_explain(copy, n, NULL, &again));
	check_same(e, &again);
	free(copy);
}

static void check_in_log(const struct smtpcodes_explanation *e)
{
	static const char log[] = "host mx.example[192.0.2.1] said: ";
	struct smtpcodes_explanation again;
	size_t width = sizeof log - 1;
	char *copy = malloc(width + e->reply.n);

	memcpy(copy, log, width);
	memcpy(copy + width, e->reply.p, e->reply.n);
	smtpcodes_explain(copy, width + e->reply.n, NULL, &again);
	assert(again.form == SMTPCODES_FORM_WITHIN && again.reply.p == copy + width);
	check_same(e, &again);
	free(copy);
}

static void check_catch_all(const char *in, size_t n)
{
	static const char tsv[] = "all\t*\t*\t*\tloop\ttemporary\tnote";
	struct smtpcodes_rule rule;
	struct smtpcodes_rules rules = {&rule, 0};
	struct smtpcodes_rules_error error;
	struct smtpcodes_finding f;

	assert(smtpcodes_rules_parse(tsv, sizeof tsv - 1, &rule, 1, &rules.count, &error) && rules.count == 1);
	smtpcodes_classify(550, (struct smtpcodes_status){0}, in, n, &rules, &f);
	check_finding(&f);
	assert(f.klass == SMTPCODES_LOOP && f.verdict == SMTPCODES_TEMPORARY && f.disagreement);
}

#define INDEX_CHECKED 300 /* octets: trying each rule is slow */

/* The index of the built-in rules finds the rule that trying each of them finds. */
static void check_index(const char *in, size_t n)
{
	struct smtpcodes_rules each = {smtpcodes_rule_at(0), 0};
	struct smtpcodes_finding with, without;
	const struct smtpcodes_rule *rule;

	n = n < INDEX_CHECKED ? n : INDEX_CHECKED;
	unsigned code = n % 3 == 0 ? 0 : n % 3 == 1 ? 450 : 550;

	while ((rule = smtpcodes_rule_at(each.count)) && !(rule->text.n == 1 && rule->text.p[0] == '*'))
		each.count++;
	smtpcodes_classify(code, (struct smtpcodes_status){0}, in, n, NULL, &with);
	smtpcodes_classify(code, (struct smtpcodes_status){0}, in, n, &each, &without);
	assert(with.rule == without.rule && with.klass == without.klass && with.verdict == without.verdict);
	assert((with.decided_by == SMTPCODES_BY_TEXT) == (without.decided_by == SMTPCODES_BY_OPERATOR));
}

static void check_rules(const char *in, size_t n)
{
	struct smtpcodes_rule rule[8];
	struct smtpcodes_rules rules = {rule, 0};
	struct smtpcodes_rules_error error;
	struct smtpcodes_finding f;

	bool good = smtpcodes_rules_parse(in, n, rule, 8, &rules.count, &error);
	assert(rules.count <= 8 && good == (error.text == NULL));
	smtpcodes_classify(450, (struct smtpcodes_status){4, 2, 0}, in, n, &rules, &f);
	check_finding(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *in = (const char *)data;
	struct smtpcodes_explanation e;
	bool understood = smtpcodes_explain(in, size, NULL, &e);

	check_finding(&e.finding);
	assert(understood || (e.code == 0 && e.status.klass == 0 && !e.finding.rule));
	if (e.reply.n)
		assert(e.reply.p >= in && e.reply.p + e.reply.n <= in + size);
	if (e.code) {
		assert(understood && e.code >= 100 && e.code <= 999);
		check_alone(&e);
		if (e.code_row && e.reply.p[0] >= '2' && e.reply.p[0] <= '5' && e.code >= 200 && e.code <= 599 &&
		    e.form == SMTPCODES_FORM_WITHIN)
			check_in_log(&e);
	}
	check_catch_all(in, size);
	check_index(in, size);
	check_rules(in, size);
	return 0;
}
