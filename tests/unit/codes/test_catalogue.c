#include "test.h"

#include "codes/reply.h"
#include "codes/smtpcodes.h"

static void every_code_of_the_standards_and_the_wild_is_there(void **state)
{
	(void)state;
	/* clang-format off */
	static const unsigned standard[] = {
		211, 214, 220, 221, 250, 251, 252, 354, 421, 450, 451, 452, 455, 500, 501, 502, 503, 504, 550, 551, 552, 553,
		554, 555,
	};
	static const unsigned extension[] = {
		235, 253, 334, 355, 432, 453, 454, 458, 459, 521, 523, 525, 530, 534, 535, 538, 556,
	};
	/* clang-format on */
	size_t counts[SMTPCODES_WILD + 1] = {0}, n = 0;

	for (const struct smtpcodes_code_row *row; (row = smtpcodes_code_at(n)); n++) {
		assert_ptr_equal(smtpcodes_code(row->code), row);
		assert_true(n == 0 || smtpcodes_code_at(n - 1)->code < row->code);
		counts[row->standing]++;
	}
	assert_int_equal(n, 99);
	assert_int_equal(counts[SMTPCODES_STANDARD], sizeof standard / sizeof *standard);
	assert_int_equal(counts[SMTPCODES_EXTENSION], sizeof extension / sizeof *extension);
	for (size_t i = 0; i < sizeof standard / sizeof *standard; i++)
		assert_int_equal(smtpcodes_code(standard[i])->standing, SMTPCODES_STANDARD);
	for (size_t i = 0; i < sizeof extension / sizeof *extension; i++)
		assert_int_equal(smtpcodes_code(extension[i])->standing, SMTPCODES_EXTENSION);
	assert_null(smtpcodes_code_at(n));
	for (unsigned code = 0; code < 1200; code++)
		assert_true(!smtpcodes_code(code) || smtpcodes_code(code)->code == code);
}

static void assert_sentence(const char *text)
{
	assert_in_range(strlen(text), 10, 300);
	assert_true((text[0] >= 'A' && text[0] <= 'Z') && strchr(".)", text[strlen(text) - 1]));
}

static void every_code_is_explained(void **state)
{
	(void)state;
	for (size_t i = 0; smtpcodes_code_at(i); i++) {
		const struct smtpcodes_code_row *row = smtpcodes_code_at(i);
		assert_true(*row->commands && *row->source && *row->meaning && *row->statuses && *row->client);
		assert_non_null(row->note);
		assert_sentence(row->advice);
		if (row->standing <= SMTPCODES_EXTENSION)
			assert_non_null(strstr(row->source, "RFC "));
		if (row->stands_for.klass != 0) {
			assert_int_equal(row->standing, SMTPCODES_WILD);
			assert_int_equal(row->stands_for.klass, row->code / 100);
		}
	}
}

static void the_registry_is_there_whole(void **state)
{
	(void)state;
	/* The highest detail of each subject 0 to 7 (RFC 5248 and its updates); none is missing below it. */
	static const unsigned last[] = {0, 10, 4, 6, 7, 6, 10, 30};
	size_t registered[SMTPCODES_DETAIL + 1] = {0}, unregistered = 0, n = 0;

	for (const struct smtpcodes_status_row *row; (row = smtpcodes_status_at(n)); n++) {
		registered[row->level] += row->standing == SMTPCODES_REGISTERED;
		unregistered += row->standing == SMTPCODES_UNREGISTERED;
	}
	assert_int_equal(registered[SMTPCODES_CLASS], 3);
	assert_int_equal(registered[SMTPCODES_SUBJECT], 8);
	assert_int_equal(registered[SMTPCODES_DETAIL], 81);
	assert_int_equal(unregistered, 3);
	for (unsigned subject = 0; subject < 8; subject++) {
		assert_non_null(smtpcodes_status_subject(subject));
		for (unsigned detail = 0; detail <= last[subject]; detail++)
			assert_int_equal(smtpcodes_status_detail(subject, detail)->standing, SMTPCODES_REGISTERED);
	}
	for (unsigned klass = 0; klass < 10; klass++)
		assert_true((smtpcodes_status_class(klass) != NULL) == (klass == 2 || klass == 4 || klass == 5));
	assert_null(smtpcodes_status_subject(8));
	assert_null(smtpcodes_status_detail(9, 9));
	assert_null(smtpcodes_status_at(n));
}

static void every_enhanced_code_is_explained(void **state)
{
	(void)state;
	for (size_t i = 0; smtpcodes_status_at(i); i++) {
		const struct smtpcodes_status_row *row = smtpcodes_status_at(i);
		assert_true(*row->text && *row->sample && *row->meaning && *row->source);
		assert_true(row->codes && row->note);
		assert_sentence(row->advice);
		assert_true(row->classes != 0 && (row->classes & ~(1u << 2 | 1u << 4 | 1u << 5)) == 0);
		if (row->standing <= SMTPCODES_UNREGISTERED)
			assert_true(strstr(row->source, "RFC ") || strstr(row->source, "draft-"));
		if (row->level == SMTPCODES_DETAIL) {
			char text[10];
			smtpcodes_status_format((struct smtpcodes_status){5, row->status.subject, row->status.detail},
						text);
			assert_string_equal(text + 1, row->text + 1);
		}
	}
}

/* The code that the registry names first must exist, and so must every other one. */
static void the_codes_that_the_registry_names_exist(void **state)
{
	(void)state;
	for (size_t i = 0; smtpcodes_status_at(i); i++) {
		const char *p = smtpcodes_status_at(i)->codes;
		while ((p = strpbrk(p, "0123456789"))) {
			char *end;
			unsigned code = (unsigned)strtoul(p, &end, 10);
			if (*end != 'X' && !smtpcodes_code(code))
				fail_msg("%s names %u", smtpcodes_status_at(i)->text, code);
			p = end;
		}
	}
}

/* Every enhanced code that the row of a reply code speaks of is registered, with the class of the code. */
static void the_enhanced_codes_of_a_reply_code_exist(void **state)
{
	(void)state;
	for (size_t i = 0; smtpcodes_code_at(i); i++) {
		const struct smtpcodes_code_row *row = smtpcodes_code_at(i);
		for (const char *p = row->statuses; *p; p++) {
			struct smtpcodes_status status;
			size_t taken =
				p == row->statuses || p[-1] == ' ' ? smtpcodes_status_parse(p, strlen(p), &status) : 0;
			if (taken == 0)
				continue;
			if (status.klass != row->code / 100 || !smtpcodes_status_detail(status.subject, status.detail))
				fail_msg("%u: %.*s", row->code, (int)taken, p);
		}
	}
}

static void the_first_digit_decides(void **state)
{
	(void)state;
	static const struct smtpcodes_status none = {0};

	assert_int_equal(smtpcodes_verdict(250, none), SMTPCODES_SUCCESS);
	assert_int_equal(smtpcodes_verdict(354, none), SMTPCODES_INTERMEDIATE);
	assert_int_equal(smtpcodes_verdict(499, none), SMTPCODES_TEMPORARY);
	assert_int_equal(smtpcodes_verdict(577, none), SMTPCODES_PERMANENT);
	assert_int_equal(smtpcodes_verdict(101, none), SMTPCODES_UNKNOWN);
	assert_int_equal(smtpcodes_verdict(999, none), SMTPCODES_UNKNOWN);
	assert_int_equal(smtpcodes_verdict(0, none), SMTPCODES_UNKNOWN);
	assert_int_equal(smtpcodes_verdict(0, (struct smtpcodes_status){4, 9, 9}), SMTPCODES_TEMPORARY);
	assert_int_equal(smtpcodes_verdict(0, (struct smtpcodes_status){2, 0, 0}), SMTPCODES_SUCCESS);
	assert_int_equal(smtpcodes_verdict(550, (struct smtpcodes_status){4, 2, 2}), SMTPCODES_PERMANENT);
}

static void too_many_recipients_is_temporary_whatever_the_code(void **state)
{
	(void)state;
	assert_int_equal(smtpcodes_verdict(552, (struct smtpcodes_status){5, 5, 3}), SMTPCODES_TEMPORARY);
	assert_int_equal(smtpcodes_verdict(552, (struct smtpcodes_status){5, 2, 2}), SMTPCODES_PERMANENT);
	assert_int_equal(smtpcodes_verdict(550, (struct smtpcodes_status){5, 5, 3}), SMTPCODES_PERMANENT);
}

static void names_are_the_documented_ones(void **state)
{
	(void)state;
	assert_string_equal(smtpcodes_verdict_name(SMTPCODES_UNKNOWN), "unknown");
	assert_string_equal(smtpcodes_verdict_name(SMTPCODES_TEMPORARY), "temporary");
	assert_string_equal(smtpcodes_verdict_name(SMTPCODES_PERMANENT), "permanent");
	assert_string_equal(smtpcodes_actor_name(SMTPCODES_NOBODY), "nobody");
	assert_string_equal(smtpcodes_actor_name(SMTPCODES_REMOTE_OPERATOR), "remote-operator");
	assert_string_equal(smtpcodes_standing_name(SMTPCODES_STANDARD), "standard");
	assert_string_equal(smtpcodes_standing_name(SMTPCODES_WILD), "wild");
}

static void the_classes_are_the_documented_ones(void **state)
{
	(void)state;
	static const char *const names[SMTPCODES_CLASSES] = {
		"unknown",    "bad-mailbox",     "inactive-mailbox", "full-mailbox", "moved",   "bad-domain",
		"bad-sender", "relaying-denied", "policy",           "reputation",   "spam",    "virus",
		"content",    "authentication",  "rate-limit",       "greylisting",  "size",    "protocol",
		"network",    "system",          "storage",          "loop",         "expired",
	};

	for (enum smtpcodes_class i = SMTPCODES_CLASS_UNKNOWN; i < SMTPCODES_CLASSES; i++) {
		enum smtpcodes_class back;
		const struct smtpcodes_class_row *row = smtpcodes_class(i);
		assert_string_equal(row->name, names[i]);
		assert_true(smtpcodes_class_parse(row->name, strlen(row->name), &back));
		assert_int_equal(back, i);
		assert_true(*row->meaning);
		assert_sentence(row->advice_temporary);
		assert_sentence(row->advice_permanent);
		assert_true((row->verdict == SMTPCODES_UNKNOWN) == (i == SMTPCODES_CLASS_UNKNOWN));
	}
	enum smtpcodes_class klass;
	assert_false(smtpcodes_class_parse("bad-mailbo", 10, &klass));
	assert_false(smtpcodes_class_parse("", 0, &klass));
}

static void our_own_replies_use_registered_codes(void **state)
{
	(void)state;
	for (enum reply_id id = 0; id < REPLY_COUNT; id++) {
		const struct reply_row *row = reply_row(id);
		const struct smtpcodes_code_row *code = smtpcodes_code(row->code);
		if (!code || code->standing > SMTPCODES_EXTENSION)
			fail_msg("%s: no standard gives %u", row->name, row->code);
		if (row->status.klass == 0)
			continue;
		const struct smtpcodes_status_row *status =
			smtpcodes_status_detail(row->status.subject, row->status.detail);
		if (!status || status->standing != SMTPCODES_REGISTERED)
			fail_msg("%s: its enhanced code is not registered", row->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_of_the_standards_and_the_wild_is_there),
		cmocka_unit_test(every_code_is_explained),
		cmocka_unit_test(the_registry_is_there_whole),
		cmocka_unit_test(every_enhanced_code_is_explained),
		cmocka_unit_test(the_codes_that_the_registry_names_exist),
		cmocka_unit_test(the_enhanced_codes_of_a_reply_code_exist),
		cmocka_unit_test(the_first_digit_decides),
		cmocka_unit_test(too_many_recipients_is_temporary_whatever_the_code),
		cmocka_unit_test(names_are_the_documented_ones),
		cmocka_unit_test(the_classes_are_the_documented_ones),
		cmocka_unit_test(our_own_replies_use_registered_codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
