#include "test.h"

#include "codes/smtpcodes.h"

static struct smtpcodes_explanation explain(const char *text)
{
	struct smtpcodes_explanation e;

	smtpcodes_explain(text, strlen(text), NULL, &e);
	return e;
}

static void the_example_of_the_manual(void **state)
{
	(void)state;
	struct smtpcodes_explanation e =
		explain("550 5.1.1 <x@y>: Recipient address rejected: User unknown in local recipient table");

	assert_int_equal(e.form, SMTPCODES_FORM_REPLY);
	assert_int_equal(e.finding.klass, SMTPCODES_BAD_MAILBOX);
	assert_int_equal(e.finding.verdict, SMTPCODES_PERMANENT);
	assert_int_equal(e.finding.actor, SMTPCODES_SENDER);
	assert_true(slice_starts(slice_from_cstr(e.finding.advice), SLICE("Correct the address")));
	assert_null(e.finding.disagreement);
	assert_int_equal(e.code_row->code, 550);
	assert_string_equal(e.class_row->text, "5.X.X");
	assert_string_equal(e.subject_row->text, "X.1.X");
	assert_string_equal(e.detail_row->text, "X.1.1");
}

struct form_case {
	const char *in;
	enum smtpcodes_form form;
	unsigned code;
	const char *status;
	const char *detail; /* text of the row; NULL: none */
};

static void check_form(const struct form_case *c)
{
	struct smtpcodes_explanation e = explain(c->in);
	char status[10];

	smtpcodes_status_format(e.status, status);
	if (e.form != c->form || e.code != c->code || strcmp(status, c->status) != 0)
		fail_msg("%s: form %d, %u %s", c->in, (int)e.form, e.code, status);
	if (!e.detail_row != !c->detail || (c->detail && strcmp(e.detail_row->text, c->detail) != 0))
		fail_msg("%s: detail %s", c->in, e.detail_row ? e.detail_row->text : "none");
}

static void codes_are_found_wherever_they_stand(void **state)
{
	(void)state;
	/* clang-format off */
	static const struct form_case cases[] = {
		{"550", SMTPCODES_FORM_CODE, 550, "", NULL},
		{" '550' ", SMTPCODES_FORM_CODE, 550, "", NULL},
		{"571", SMTPCODES_FORM_CODE, 571, "", "X.7.1"},
		{"101", SMTPCODES_FORM_CODE, 101, "", NULL},
		{"299", SMTPCODES_FORM_CODE, 299, "", NULL},
		{"4.7.1", SMTPCODES_FORM_STATUS, 0, "4.7.1", "X.7.1"},
		{"X.7.1", SMTPCODES_FORM_STATUS, 0, "", "X.7.1"},
		{"x.7.1", SMTPCODES_FORM_STATUS, 0, "", "X.7.1"},
		{"X.1.10", SMTPCODES_FORM_STATUS, 0, "", "X.1.10"},
		{"5.7.XXX", SMTPCODES_FORM_STATUS, 0, "5.7.0", NULL},
		{"5.7", SMTPCODES_FORM_STATUS, 0, "5.7.0", NULL},
		{"550 5.1.1 no", SMTPCODES_FORM_REPLY, 550, "5.1.1", "X.1.1"},
		{"550-5.1.1 no", SMTPCODES_FORM_REPLY, 550, "5.1.1", "X.1.1"},
		{"5.1.1 no", SMTPCODES_FORM_REPLY, 0, "5.1.1", "X.1.1"},
		{"550 sorry (#5.1.1)", SMTPCODES_FORM_REPLY, 550, "5.1.1", "X.1.1"},
		{"a said: 550 5.1.1 no (in reply to RCPT TO command)", SMTPCODES_FORM_WITHIN, 550, "5.1.1", "X.1.1"},
		{"smtp;550 no", SMTPCODES_FORM_WITHIN, 550, "", NULL},
		{"reply=550 no", SMTPCODES_FORM_WITHIN, 550, "", NULL},
		{"port: 587, delay 450, said: 554 no", SMTPCODES_FORM_WITHIN, 554, "", NULL},
		{"x: 250 OK, then 450 4.2.0 later", SMTPCODES_FORM_WITHIN, 450, "4.2.0", "X.2.0"},
		{"10.5.1.1 5.1.1.2 dsn=5.1.2, stat=x", SMTPCODES_FORM_WITHIN, 0, "5.1.2", "X.1.2"},
		{"Sorry (#5.1.1)", SMTPCODES_FORM_WITHIN, 0, "5.1.1", "X.1.1"},
		{"said:_550_5.1.1_no", SMTPCODES_FORM_WITHIN, 550, "5.1.1", "X.1.1"},
		{"first line\n550 5.1.1 no\nlast", SMTPCODES_FORM_WITHIN, 550, "5.1.1", "X.1.1"},
		{"User unknown", SMTPCODES_FORM_TEXT, 0, "", NULL},
		{"connect to mx[192.0.2.1]:465: refused 550", SMTPCODES_FORM_TEXT, 0, "", NULL},
		{"3.1.1", SMTPCODES_FORM_TEXT, 0, "", NULL},
		{"", SMTPCODES_FORM_TEXT, 0, "", NULL},
		{"X", SMTPCODES_FORM_TEXT, 0, "", NULL},
		{"X.X.1", SMTPCODES_FORM_TEXT, 0, "", NULL},
		{"5.1.1.1", SMTPCODES_FORM_TEXT, 0, "", NULL},
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		check_form(&cases[i]);
}

static void a_part_of_an_enhanced_code_gives_the_rows_that_it_has(void **state)
{
	(void)state;
	struct smtpcodes_explanation e = explain("5");

	assert_ptr_equal(e.class_row, smtpcodes_status_class(5));
	assert_null(e.subject_row);
	assert_ptr_equal(e.finding.advice, e.class_row->advice);
	assert_int_equal(e.finding.verdict, SMTPCODES_PERMANENT);
	assert_int_equal(e.finding.klass, SMTPCODES_CLASS_UNKNOWN);

	e = explain("X.7");
	assert_null(e.class_row);
	assert_ptr_equal(e.subject_row, smtpcodes_status_subject(7));
	assert_null(e.detail_row);
	assert_ptr_equal(e.finding.advice, e.subject_row->advice);
	assert_int_equal(e.finding.verdict, SMTPCODES_UNKNOWN);

	e = explain("4.2.X");
	assert_ptr_equal(e.class_row, smtpcodes_status_class(4));
	assert_ptr_equal(e.subject_row, smtpcodes_status_subject(2));
	assert_int_equal(e.finding.verdict, SMTPCODES_TEMPORARY);
}

static void every_row_of_the_catalogue_is_found_by_its_text(void **state)
{
	(void)state;
	char text[4];

	for (size_t i = 0; smtpcodes_code_at(i); i++) {
		const struct smtpcodes_code_row *row = smtpcodes_code_at(i);
		snprintf(text, sizeof text, "%u", row->code);
		struct smtpcodes_explanation e = explain(text);
		assert_int_equal(e.form, SMTPCODES_FORM_CODE);
		assert_ptr_equal(e.code_row, row);
		assert_non_null(e.finding.advice);
		assert_int_equal(e.finding.verdict, smtpcodes_verdict(row->code, e.finding.status));
	}
	for (size_t i = 0; smtpcodes_status_at(i); i++) {
		const struct smtpcodes_status_row *row = smtpcodes_status_at(i);
		struct smtpcodes_explanation e = explain(row->text);
		assert_int_equal(e.form, SMTPCODES_FORM_STATUS);
		const struct smtpcodes_status_row *found = row->level == SMTPCODES_DETAIL    ? e.detail_row
							   : row->level == SMTPCODES_SUBJECT ? e.subject_row
											     : e.class_row;
		assert_non_null(found);
		assert_string_equal(found->text, row->text);
		assert_ptr_equal(e.finding.advice, found->advice);
	}
}

static void what_says_nothing_is_not_understood(void **state)
{
	(void)state;
	static const char *const texts[] = {"", " ", "hello", "X", "X.X", "7.1.1", "X.9.9", "12", "1234", "2026-11-21"};
	struct smtpcodes_explanation e;

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		if (smtpcodes_explain(texts[i], strlen(texts[i]), NULL, &e))
			fail_msg("understood: %s", texts[i]);
	assert_true(smtpcodes_explain("550", 3, NULL, &e));
	assert_true(smtpcodes_explain("user unknown", 12, NULL, &e));
	assert_false(smtpcodes_explain(NULL, 0, NULL, &e));
}

static void the_reply_lies_within_the_input(void **state)
{
	(void)state;
	static const char text[] = "host said: 550-5.1.1 no\n550 5.1.1 user\nnext line";
	struct smtpcodes_explanation e;

	assert_true(smtpcodes_explain(text, strlen(text), NULL, &e));
	assert_ptr_equal(e.reply.p, text + 11);
	assert_slice(slice_of(e.reply.p, e.reply.n), "550-5.1.1 no\n550 5.1.1 user\n");
}

static void quotes_around_a_text_are_no_part_of_it(void **state)
{
	(void)state;
	static const char *const texts[][2] = {
		{"\"550 no\"", "550 no"}, {" '550 no' ", "550 no"},   {"550 no \"such\"", "550 no \"such\""},
		{"\"550 no", "550 no"},   {"'550 'no''", "550 'no'"}, {"550 no'", "550 no'"}};

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		struct smtpcodes_explanation e = explain(texts[i][0]);
		assert_slice(slice_of(e.reply.p, e.reply.n), texts[i][1]);
	}
}

static void rules_of_an_operator_apply(void **state)
{
	(void)state;
	static const char tsv[] = "ours\t*\t*\tquux\tvirus\t-";
	struct smtpcodes_rule rule[1];
	struct smtpcodes_rules rules = {rule, 0};
	struct smtpcodes_rules_error error;
	struct smtpcodes_explanation e;

	assert_true(smtpcodes_rules_parse(tsv, strlen(tsv), rule, 1, &rules.count, &error));
	assert_true(smtpcodes_explain("quux", 4, &rules, &e));
	assert_int_equal(e.finding.klass, SMTPCODES_VIRUS);
	assert_int_equal(e.finding.verdict, SMTPCODES_PERMANENT);
}

static void a_reply_of_ten_thousand_lines_is_explained(void **state)
{
	(void)state;
	enum { LINES = 10000, LINE = 15 };
	char *text = malloc(LINES * LINE);
	struct smtpcodes_explanation e;

	for (size_t i = 0; i < LINES; i++)
		memcpy(text + i * LINE, i + 1 < LINES ? "550-5.1.1 word\n" : "550 5.1.1 word\n", LINE);
	assert_true(smtpcodes_explain(text, LINES * LINE, NULL, &e));
	assert_int_equal(e.reply.n, LINES * LINE - 1); /* the last line end is trimmed */
	assert_int_equal(e.finding.klass, SMTPCODES_BAD_MAILBOX);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_the_manual),
		cmocka_unit_test(codes_are_found_wherever_they_stand),
		cmocka_unit_test(a_part_of_an_enhanced_code_gives_the_rows_that_it_has),
		cmocka_unit_test(every_row_of_the_catalogue_is_found_by_its_text),
		cmocka_unit_test(what_says_nothing_is_not_understood),
		cmocka_unit_test(the_reply_lies_within_the_input),
		cmocka_unit_test(quotes_around_a_text_are_no_part_of_it),
		cmocka_unit_test(rules_of_an_operator_apply),
		cmocka_unit_test(a_reply_of_ten_thousand_lines_is_explained),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
