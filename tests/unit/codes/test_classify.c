#include "test.h"

#include "codes/smtpcodes.h"

#define LINE 4096

static size_t unescape(const char *in, char *out)
{
	size_t n = 0;

	for (; *in; in++) {
		if (in[0] == '\\' && in[1] == 'n') {
			out[n++] = '\n';
			in++;
		} else {
			out[n++] = *in;
		}
	}
	return n;
}

/* style, class, verdict, "yes" or "-", text */
static bool check_case(char *line, char **style)
{
	char *field[5], text[LINE];
	struct smtpcodes_explanation e;

	for (size_t i = 0; i < 5; i++)
		assert_non_null(field[i] = i < 4 ? strsep(&line, "\t") : line);
	*style = field[0];
	size_t n = unescape(field[4], text);
	char *copy = test_exact_copy(slice_of(text, n));
	smtpcodes_explain(copy, n, NULL, &e);
	free(copy);
	const char *klass = smtpcodes_class(e.finding.klass)->name;
	const char *verdict = smtpcodes_verdict_name(e.finding.verdict);
	const char *disagree = e.finding.disagreement ? "yes" : "-";
	assert_non_null(e.finding.advice);
	if (!strcmp(klass, field[1]) && !strcmp(verdict, field[2]) && !strcmp(disagree, field[3]))
		return true;
	print_error("%s\n  is %s %s %s, not %s %s %s, by %s\n", field[4], klass, verdict, disagree, field[1], field[2],
		    field[3], e.finding.rule ? e.finding.rule->name.p : "no rule");
	return false;
}

static void replies_of_many_servers_are_understood(void **state)
{
	(void)state;
	char line[LINE], last[40] = "", *style;
	size_t cases = 0, wrong = 0, styles = 0;
	FILE *file = fopen(CLASSIFY_CASES, "r");

	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		if (line[0] == '#')
			continue;
		line[strcspn(line, "\n")] = '\0';
		wrong += !check_case(line, &style);
		styles += strcmp(style, last) != 0;
		snprintf(last, sizeof last, "%s", style);
		cases++;
	}
	fclose(file);
	assert_int_equal(wrong, 0);
	assert_true(cases >= 650);
	assert_true(styles >= 80);
}

static struct smtpcodes_finding classify(unsigned code, const char *status, const char *text,
					 const struct smtpcodes_rules *extra)
{
	struct smtpcodes_finding finding;
	struct smtpcodes_status parsed;

	smtpcodes_status_parse(status, strlen(status), &parsed);
	smtpcodes_classify(code, parsed, text, strlen(text), extra, &finding);
	return finding;
}

static void assert_rule(const struct smtpcodes_rule *rule, const char *name)
{
	assert_non_null(rule);
	assert_slice(slice_of(rule->name.p, rule->name.n), name);
}

static void the_finding_says_what_decided(void **state)
{
	(void)state;
	struct smtpcodes_finding f = classify(550, "5.1.1", "Quux", NULL);

	assert_int_equal(f.decided_by, SMTPCODES_BY_CODE);
	assert_rule(f.rule, "code-bad-mailbox");
	f = classify(550, "5.1.1", "User unknown", NULL);
	assert_int_equal(f.decided_by, SMTPCODES_BY_TEXT);
	assert_rule(f.rule, "mailbox-unknown");
	assert_rule(f.code_rule, "code-bad-mailbox");
	assert_null(f.disagreement);
	f = classify(550, "", "Quux", NULL);
	assert_int_equal(f.decided_by, SMTPCODES_BY_NOTHING);
	assert_null(f.rule);
	assert_ptr_equal(f.advice, smtpcodes_code(550)->advice);
}

static void the_text_decides_and_says_so(void **state)
{
	(void)state;
	struct smtpcodes_finding f = classify(550, "5.1.1", "refused, your host is on the blocklist", NULL);

	assert_int_equal(f.klass, SMTPCODES_REPUTATION);
	assert_int_equal(f.verdict, SMTPCODES_PERMANENT);
	assert_non_null(f.disagreement);
	f = classify(550, "", "please try again later", NULL);
	assert_int_equal(f.verdict, SMTPCODES_TEMPORARY);
	assert_non_null(strstr(f.disagreement, "permanent"));
	f = classify(421, "4.7.0", "will be permanently deferred", NULL);
	assert_int_equal(f.verdict, SMTPCODES_PERMANENT);
	assert_non_null(strstr(f.disagreement, "temporary"));
}

static void a_code_with_lost_dots_is_read_as_its_enhanced_code(void **state)
{
	(void)state;
	struct smtpcodes_finding f = classify(571, "", "", NULL);

	assert_int_equal(f.klass, SMTPCODES_POLICY);
	assert_true(f.status.klass == 5 && f.status.subject == 7 && f.status.detail == 1);
	f = classify(511, "", "Relaying denied", NULL);
	assert_int_equal(f.klass, SMTPCODES_RELAYING_DENIED);
	assert_non_null(f.disagreement);
}

static void an_enhanced_code_in_the_text_counts(void **state)
{
	(void)state;
	assert_int_equal(classify(553, "", "sorry (#5.7.1)", NULL).klass, SMTPCODES_POLICY);
	assert_int_equal(classify(553, "", "sorry (#4.2.2)", NULL).klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(classify(553, "", "sorry, version 5.7.1", NULL).klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(classify(550, "5.1.1", "sorry (#5.7.1)", NULL).klass, SMTPCODES_BAD_MAILBOX);
}

static void success_is_not_classified(void **state)
{
	(void)state;
	struct smtpcodes_finding f = classify(250, "2.1.5", "User unknown, spam, virus", NULL);

	assert_int_equal(f.klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(f.verdict, SMTPCODES_SUCCESS);
	assert_int_equal(f.actor, SMTPCODES_NOBODY);
}

static void case_space_and_codes_within_do_not_matter(void **state)
{
	(void)state;
	static const char *const texts[] = {
		"user unknown",           "USER UNKNOWN",      "User\tUnknown",
		"User   unknown",         "user\r\nunknown",   "user_unknown",
		"user 550-5.1.1 unknown", "user\n550-unknown", "550 5.1.1 user 550 5.1.1 unknown",
	};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		assert_rule(classify(550, "5.1.1", texts[i], NULL).rule, "mailbox-unknown");
}

static void a_text_beyond_the_limit_is_not_read(void **state)
{
	(void)state;
	enum { SIZE = 50 << 20 };
	char *text = malloc(SIZE);
	struct smtpcodes_finding f;

	memset(text, 'x', SIZE);
	memcpy(text + 4000, " user unknown ", 14);
	smtpcodes_classify(550, (struct smtpcodes_status){0}, text, SIZE, NULL, &f);
	assert_int_equal(f.klass, SMTPCODES_BAD_MAILBOX);
	memset(text, 'x', 5000);
	memcpy(text + 4090, " user unknown ", 14);
	smtpcodes_classify(550, (struct smtpcodes_status){0}, text, SIZE, NULL, &f);
	assert_int_equal(f.klass, SMTPCODES_CLASS_UNKNOWN);
	free(text);
}

/* ---- the index of the built-in rules --------------------------------------------------------------------------- */

/* The built-in rules about texts, to be tried one after the other: as if an operator had written them. */
static struct smtpcodes_rules rules_about_texts(void)
{
	struct smtpcodes_rules rules = {smtpcodes_rule_at(0), 0};
	const struct smtpcodes_rule *r;

	while ((r = smtpcodes_rule_at(rules.count)) && !(r->text.n == 1 && r->text.p[0] == '*'))
		rules.count++;
	assert_true(rules.count > 200);
	return rules;
}

static void assert_same_without_index(unsigned code, const char *text, size_t n)
{
	struct smtpcodes_rules rules = rules_about_texts();
	struct smtpcodes_finding with, without;

	smtpcodes_classify(code, (struct smtpcodes_status){0}, text, n, NULL, &with);
	smtpcodes_classify(code, (struct smtpcodes_status){0}, text, n, &rules, &without);
	if (with.rule != without.rule)
		fail_msg("%.*s: %s with the index, %s without", (int)n, text, with.rule ? with.rule->name.p : "none",
			 without.rule ? without.rule->name.p : "none");
	assert_int_equal(with.klass, without.klass);
	assert_int_equal(with.verdict, without.verdict);
}

static void the_index_finds_what_trying_each_rule_finds(void **state)
{
	(void)state;
	char line[LINE], text[LINE], *field = NULL;
	FILE *file = fopen(CLASSIFY_CASES, "r");

	assert_non_null(file);
	while (fgets(line, sizeof line, file)) {
		char *rest = line;
		line[strcspn(line, "\n")] = '\0';
		for (size_t i = 0; i < 5 && rest; i++)
			field = strsep(&rest, "\t");
		size_t n = unescape(field, text);
		for (unsigned code = 450; code <= 550; code += 100)
			assert_same_without_index(code, text, n);
	}
	fclose(file);
}

/* Each fragment of each rule alone, at the start, within and at the end of a text. */
static void the_index_knows_every_fragment_of_every_rule(void **state)
{
	(void)state;
	static const char *const frames[][2] = {{"", ""}, {"it is ", ""}, {"", " it is"}, {"x", "x"}};
	struct smtpcodes_rules rules = rules_about_texts();

	for (size_t i = 0; i < rules.count; i++) {
		char copy[LINE], *rest = copy, *alternative, text[LINE];
		snprintf(copy, sizeof copy, "%s", rules.rule[i].text.p);
		while ((alternative = strsep(&rest, "|"))) {
			for (size_t f = 0; f < sizeof frames / sizeof *frames; f++) {
				int n = snprintf(text, sizeof text, "%s%s%s", frames[f][0], alternative, frames[f][1]);
				assert_same_without_index(550, text, (size_t)n);
			}
		}
	}
}

/* ---- rules of an operator -------------------------------------------------------------------------------------- */

struct own_rules {
	struct smtpcodes_rule rule[4];
	struct smtpcodes_rules rules;
};

static const struct smtpcodes_rules *own_rules(struct own_rules *own, const char *tsv)
{
	struct smtpcodes_rules_error error;

	if (!smtpcodes_rules_parse(tsv, strlen(tsv), own->rule, 4, &own->rules.count, &error))
		fail_msg("line %zu: %s", error.line, error.text);
	own->rules.rule = own->rule;
	return &own->rules;
}

static void rules_of_an_operator_go_first(void **state)
{
	(void)state;
	struct own_rules own;
	const struct smtpcodes_rules *rules =
		own_rules(&own, "# ours\n"
				"sleepy\t550\t*\tUser unknown\tinactive-mailbox\ttemporary\twakes up\r\n"
				"\n"
				"quux\t*\t4.9.x,-\tquux ... _end_\tloop\t-\n");

	assert_int_equal(rules->count, 2);
	struct smtpcodes_finding f = classify(550, "5.1.1", "user UNKNOWN", rules);
	assert_int_equal(f.klass, SMTPCODES_INACTIVE_MAILBOX);
	assert_int_equal(f.verdict, SMTPCODES_TEMPORARY);
	assert_int_equal(f.decided_by, SMTPCODES_BY_OPERATOR);
	assert_rule(f.rule, "sleepy");
	assert_slice(slice_of(f.rule->note.p, f.rule->note.n), "wakes up");
	assert_non_null(f.disagreement);
	assert_int_equal(classify(551, "5.1.1", "user unknown", rules).klass, SMTPCODES_BAD_MAILBOX);
}

static void each_condition_of_a_rule_must_hold(void **state)
{
	(void)state;
	struct own_rules own;
	const struct smtpcodes_rules *rules =
		own_rules(&own, "a\t45x,-\t4.9.x,-\tquux ... _end_ | _alone\tloop\t-\tnote\n");

	assert_int_equal(classify(451, "4.9.8", "the quux has an end.", rules).klass, SMTPCODES_LOOP);
	assert_int_equal(classify(450, "", "quux end", rules).klass, SMTPCODES_LOOP);
	assert_int_equal(classify(0, "", "quux end", rules).klass, SMTPCODES_LOOP);
	assert_int_equal(classify(0, "", "left alone", rules).klass, SMTPCODES_LOOP);
	assert_int_equal(classify(0, "", "left malone", rules).klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(classify(460, "", "quux end", rules).klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(classify(451, "4.8.9", "quux end", rules).klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(classify(451, "4.9.8", "end of the quux", rules).klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(classify(451, "4.9.8", "quux bends", rules).klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(classify(451, "4.9.8", "quux", rules).klass, SMTPCODES_CLASS_UNKNOWN);
	assert_int_equal(classify(451, "4.9.8", "", rules).klass, SMTPCODES_CLASS_UNKNOWN);
}

static void what_is_no_rule_is_refused_with_its_line(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"a\t*\t*\tx\tloop",
		"a\t*\t*\tx\tloop\t-\tnote\tmore",
		"\t*\t*\tx\tloop\t-",
		"a\t55\t*\tx\tloop\t-",
		"a\t550,\t*\tx\tloop\t-",
		"a\t5501\t*\tx\tloop\t-",
		"a\t*\t5.1\tx\tloop\t-",
		"a\t*\t5.1.1.1\tx\tloop\t-",
		"a\t*\t5..1\tx\tloop\t-",
		"a\t*\t5.1.1000\tx\tloop\t-",
		"a\t*\ty.1.1\tx\tloop\t-",
		"a\t*\t\tx\tloop\t-",
		"a\t*\t*\t\tloop\t-",
		"a\t*\t*\tx ... \tloop\t-",
		"a\t*\t*\tx | __\tloop\t-",
		"a\t*\t*\tx\tno-class\t-",
		"a\t*\t*\tx\tloop\tmaybe",
		"a\t*\t*\tx\tloop\tsuccess",
		"free words",
	};
	struct smtpcodes_rule rule[3];
	struct smtpcodes_rules_error error;
	size_t count;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char text[200];
		int n = snprintf(text, sizeof text, "# first\ngood\t*\t*\tx\tloop\t-\n%s\n", bad[i]);
		char *copy = test_exact_copy(slice_of(text, (size_t)n));
		if (smtpcodes_rules_parse(copy, (size_t)n, rule, 3, &count, &error))
			fail_msg("taken: %s", bad[i]);
		assert_int_equal(error.line, 3);
		assert_non_null(error.text);
		free(copy);
	}
}

static void no_more_rules_than_there_is_room_for(void **state)
{
	(void)state;
	static const char text[] = "a\t*\t*\tx\tloop\t-\nb\t*\t*\tx\tloop\t-\n";
	struct smtpcodes_rule rule[2];
	struct smtpcodes_rules_error error;
	size_t count;

	assert_true(smtpcodes_rules_parse(text, strlen(text), rule, 2, &count, &error));
	assert_int_equal(count, 2);
	assert_false(smtpcodes_rules_parse(text, strlen(text), rule, 1, &count, &error));
	assert_int_equal(error.line, 2);
	assert_true(smtpcodes_rules_parse("", 0, NULL, 0, &count, &error));
	assert_int_equal(count, 0);
}

/* The built-in rules keep the form that operators' rules are held to. */
static void the_built_in_rules_are_rules(void **state)
{
	(void)state;
	bool codes_alone = false;
	size_t n = 0;

	for (const struct smtpcodes_rule *r; (r = smtpcodes_rule_at(n)); n++) {
		char line[LINE];
		struct smtpcodes_rule back;
		struct smtpcodes_rules_error error;
		size_t count;
		const char *verdict = r->verdict ? smtpcodes_verdict_name(r->verdict) : "-";
		int length = snprintf(line, sizeof line, "%s\t%s\t%s\t%s\t%s\t%s\t%s", r->name.p, r->codes.p,
				      r->statuses.p, r->text.p, smtpcodes_class(r->klass)->name, verdict, r->note.p);
		if (!smtpcodes_rules_parse(line, (size_t)length, &back, 1, &count, &error))
			fail_msg("%s: %s", r->name.p, error.text);
		assert_int_equal(back.klass, r->klass);
		assert_true(r->note.n > 0);
		bool alone = r->text.n == 1 && r->text.p[0] == '*';
		assert_true(alone || !codes_alone);
		codes_alone = alone;
	}
	assert_true(n > 50 && codes_alone);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(replies_of_many_servers_are_understood),
		cmocka_unit_test(the_finding_says_what_decided),
		cmocka_unit_test(the_text_decides_and_says_so),
		cmocka_unit_test(a_code_with_lost_dots_is_read_as_its_enhanced_code),
		cmocka_unit_test(an_enhanced_code_in_the_text_counts),
		cmocka_unit_test(success_is_not_classified),
		cmocka_unit_test(case_space_and_codes_within_do_not_matter),
		cmocka_unit_test(a_text_beyond_the_limit_is_not_read),
		cmocka_unit_test(the_index_finds_what_trying_each_rule_finds),
		cmocka_unit_test(the_index_knows_every_fragment_of_every_rule),
		cmocka_unit_test(rules_of_an_operator_go_first),
		cmocka_unit_test(each_condition_of_a_rule_must_hold),
		cmocka_unit_test(what_is_no_rule_is_refused_with_its_line),
		cmocka_unit_test(no_more_rules_than_there_is_room_for),
		cmocka_unit_test(the_built_in_rules_are_rules),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
