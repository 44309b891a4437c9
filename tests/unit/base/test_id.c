#include "test.h"

#include "base/id.h"

static void an_id_survives_its_text(void **state)
{
	(void)state;
	static const msg_id ids[] = {1, 2, 3, 1 << 20, MSG_ID_MAX - 1, MSG_ID_MAX};

	for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
		struct msg_id_text text = msg_id_format(ids[i]);
		msg_id back = 0;
		assert_true(msg_id_parse(slice_from_cstr(text.text), &back));
		assert_true(back == ids[i]);
	}
}

static void neighbours_differ_in_more_than_one_character(void **state)
{
	(void)state;
	for (msg_id id = 1000; id < 3000; id++) {
		struct msg_id_text a = msg_id_format(id), b = msg_id_format(id + 1);
		int differences = 0;
		for (int i = 0; i < MSG_ID_TEXT; i++)
			differences += a.text[i] != b.text[i];
		assert_true(differences > 1);
	}
}

static void what_is_no_id_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"",    "0", "00000000000", "0000000000000", "000000000000", "U00000000000",
					  "\xff"};
	msg_id id;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		assert_false(msg_id_parse(slice_from_cstr(bad[i]), &id));
}

static void misread_letters_are_taken_as_digits(void **state)
{
	(void)state;
	msg_id a, b;

	assert_true(msg_id_parse(SLICE("10AB10AB10AB"), &a));
	assert_true(msg_id_parse(SLICE("IOabloABiOab"), &b));
	assert_true(a == b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_id_survives_its_text),
		cmocka_unit_test(neighbours_differ_in_more_than_one_character),
		cmocka_unit_test(what_is_no_id_is_refused),
		cmocka_unit_test(misread_letters_are_taken_as_digits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
