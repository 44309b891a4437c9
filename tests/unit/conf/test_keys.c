/*
 * What holds for every key of the table.
 */
#include "conf_test.h"

#include "conf/keys.h"
#include "conf/value.h"

/* A file in which the section of a key is written with one line, and what else it must have. */
static void write_file(const struct conf_key *key, const char *name, const char *value, struct buf *out)
{
	static const char *const frames[SECTION_COUNT][2] = {
		[SECTION_TOP] = {"", ""},
		[SECTION_SMTP] = {"smtp {\n", "}\n"},
		[SECTION_LISTEN] = {"listen one {\n", "}\n"},
		[SECTION_TLS] = {"tls {\n", "}\n"},
		[SECTION_CERTIFICATE] = {"certificate mx.example.com {\n", "}\n"},
		[SECTION_ACCOUNTS] = {"accounts {\n", "}\n"},
		[SECTION_CERTIFICATE_LOGIN] = {"certificate_login alice {\n", "}\n"},
		[SECTION_OAUTH] = {"oauth {\n", "}\n"},
		[SECTION_DOMAIN] = {"domain example.com {\n", "}\n"},
		[SECTION_MOVED] = {"domain example.com { moved carol {\n", "} }\n"},
		[SECTION_LIMIT] = {"domain example.com { mailboxes = {alice} limit alice {\n", "} }\n"},
		[SECTION_LIST] = {"domain example.com { mailboxes = {alice} list staff {\n", "} }\n"},
		[SECTION_ROUTE] = {"route example.net {\n", "}\n"},
		[SECTION_RULE] = {"rule one {\n", "}\n"},
		[SECTION_QUEUE] = {"queue {\n", "}\n"},
		[SECTION_CLIENT] = {"client {\n", "}\n"},
		[SECTION_MAILBOX] = {"mailbox {\n", "}\n"},
		[SECTION_LOG] = {"log {\n", "}\n"},
	};

	buf_reset(out);
	buf_printf(out, "%s%s = %s\n", frames[key->section][0], name, value);
	if (key->section == SECTION_MOVED && strcmp(key->name, "to") != 0)
		buf_add_lit(out, "to = \"c@example.net\"\n");
	if (key->section == SECTION_CERTIFICATE && strcmp(key->name, "chain") != 0)
		buf_add_lit(out, "chain = /c\n");
	if (key->section == SECTION_CERTIFICATE && strcmp(key->name, "key") != 0)
		buf_add_lit(out, "key = /k\n");
	if (key->section == SECTION_LIST && strcmp(key->name, "members") != 0)
		buf_add_lit(out, "members = {\"alice@example.com\"}\n");
	if (key->section == SECTION_ROUTE && strcmp(key->name, "hosts") != 0)
		buf_add_lit(out, "hosts = {mx.example.net}\n");
	if (key->section == SECTION_RULE && strcmp(key->name, "class") != 0)
		buf_add_lit(out, "class = policy\n");
	if (key->section == SECTION_RULE && strcmp(key->name, "text") != 0)
		buf_add_lit(out, "text = {\"no\"}\n");
	else if (key->section == SECTION_RULE)
		buf_add_lit(out, "codes = {550}\n");
	buf_add(out, slice_from_cstr(frames[key->section][1]));
	assert_non_null(buf_cstr(out));
}

static void every_preset_is_within_its_bounds(void **state)
{
	(void)state;
	struct buf file, value;

	buf_init(&file, 4096);
	buf_init(&value, 1024);
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];

		if (!key->preset)
			continue;
		buf_reset(&value);
		if (conf_type_is_list(key->type))
			buf_printf(&value, "{%s}", key->preset);
		else
			buf_printf(&value, "\"%s\"", key->preset);
		write_file(key, key->name, buf_cstr(&value), &file);
		conf_unref(load(buf_cstr(&file)));
	}
	buf_free(&value);
	buf_free(&file);
}

/* The words of a rule's class are stored as their index. */
static void the_classes_of_rules_are_those_of_the_catalogue(void **state)
{
	(void)state;
	struct slice rest = slice_from_cstr(conf_key_find(SECTION_RULE, SLICE("class"))->words);

	for (int i = 0; i < SMTPCODES_CLASSES; i++)
		assert_slice(slice_split(&rest, '|'), smtpcodes_class((enum smtpcodes_class)i)->name);
	assert_null(rest.p);
}

static void no_number_means_unlimited(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		bool counts = conf_type_is_number(key->type) && key->type != TYPE_BOOL && key->type != TYPE_WORD;

		if (!counts)
			continue;
		assert_true(key->max > key->min);
		assert_true(key->max < UINT64_MAX / 2);
		/* The keys whose 0 means just that: nothing is returned whole, nothing waits for a full mailbox. */
		assert_true(key->min > 0 || strcmp(key->name, "return_full_max") == 0 ||
			    strcmp(key->name, "full_wait") == 0);
	}
}

static void refuse_value(const struct conf_key *key, const char *value, struct buf *file)
{
	struct buf expected;

	buf_init(&expected, 1024);
	buf_printf(&expected, "test.conf:%d: %s must be ", key->section == SECTION_TOP ? 1 : 2, key->name);
	conf_type_describe(key, &expected);
	write_file(key, key->name, value, file);
	refuse(buf_cstr(file), buf_cstr(&expected));
	buf_free(&expected);
}

static void below_the_least_and_above_the_most_is_refused_with_the_bounds(void **state)
{
	(void)state;
	struct buf file, value;

	buf_init(&file, 4096);
	buf_init(&value, 1024);
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		const char *unit = key->type == TYPE_SPAN || key->type == TYPE_SPAN_OR_NEVER ? "ms" : "";
		uint64_t number;

		if (!conf_type_is_number(key->type) || key->type == TYPE_BOOL || key->type == TYPE_WORD)
			continue;
		for (int high = 0; high < 2; high++) {
			uint64_t edge = high ? key->max : key->min;

			buf_reset(&value);
			buf_printf(&value, "%llu%s", (unsigned long long)edge, unit);
			assert_int_equal(conf_number_read(key, buf_slice(&value), 1, &number), CONF_NUMBER_OK);
			assert_true(number == edge);
			if (edge == 0)
				continue;
			buf_reset(&value);
			buf_printf(&value, "%llu%s", (unsigned long long)(high ? edge + 1 : edge - 1), unit);
			refuse_value(key, buf_cstr(&value), &file);
		}
		refuse_value(key, "99999999999999999999999", &file);
	}
	buf_free(&value);
	buf_free(&file);
}

static void values_of_another_type_are_refused(void **state)
{
	(void)state;
	static const char *const wrong[] = {"\"\"", "\" 5\"",  "\"-1\"", "0x10", "1.5", "maybe",
					    "5x",   "\"5 m\"", "m",      "1m1h", "1h1h"};
	struct buf file;

	buf_init(&file, 4096);
	for (size_t i = 0; i < conf_key_count; i++) {
		if (!conf_type_is_number(conf_keys[i].type))
			continue;
		for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++)
			refuse_value(&conf_keys[i], wrong[w], &file);
	}
	buf_free(&file);
}

static void texts_that_are_not_what_they_should_be_are_refused(void **state)
{
	(void)state;
	struct buf file;

	buf_init(&file, 8192);
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		char expected[200];

		if (conf_type_is_number(key->type))
			continue;
		snprintf(expected, sizeof expected, "%s", key->name);
		write_file(key, key->name, conf_type_is_list(key->type) ? "{\"\"}" : "\"\"", &file);
		refuse(buf_cstr(&file), expected);
		if (key->type == TYPE_PATH || key->type == TYPE_FILE || key->type == TYPE_SOCKET ||
		    key->type == TYPE_WORDINGS || key->type == TYPE_NOTE)
			continue;
		write_file(key, key->name,
			   conf_type_is_list(key->type) ? "{\"no @ such thing/ \"}" : "\"no @ such thing/ \"", &file);
		refuse(buf_cstr(&file), expected);
	}
	buf_free(&file);
}

static void a_mistyped_name_is_answered_with_the_nearest_one(void **state)
{
	(void)state;
	struct buf file;

	buf_init(&file, 4096);
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		char wrong[64], expected[200];

		snprintf(wrong, sizeof wrong, "%sx", key->name);
		snprintf(expected, sizeof expected, "did you mean \"%s\"?", key->name);
		write_file(key, wrong, "1", &file);
		refuse(buf_cstr(&file), expected);
		snprintf(expected, sizeof expected, "test.conf:%d: there is no \"%s\"",
			 key->section == SECTION_TOP ? 1 : 2, wrong);
		assert_non_null(strstr(test_err.text, expected));
	}
	buf_free(&file);
}

static void a_key_that_is_set_twice_is_refused(void **state)
{
	(void)state;
	struct buf file, value;

	buf_init(&file, 4096);
	buf_init(&value, 1024);
	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];
		char expected[200];

		buf_reset(&value);
		buf_printf(&value, "{a}\n%s = {b}", key->name);
		if (!conf_type_is_list(key->type)) {
			buf_reset(&value);
			buf_printf(&value, "a\n%s = b", key->name);
		}
		snprintf(expected, sizeof expected, "%s is set twice", key->name);
		write_file(key, key->name, buf_cstr(&value), &file);
		refuse(buf_cstr(&file), expected);
	}
	buf_free(&value);
	buf_free(&file);
}

static void no_two_keys_of_a_section_share_a_name_and_all_are_explained(void **state)
{
	(void)state;
	for (size_t i = 0; i < conf_key_count; i++) {
		assert_ptr_equal(conf_key_find(conf_keys[i].section, slice_from_cstr(conf_keys[i].name)),
				 &conf_keys[i]);
		assert_true(strlen(conf_keys[i].text) > 5);
	}
	for (size_t i = 0; i < SECTION_COUNT; i++) {
		assert_int_equal(conf_sections[i].id, i);
		assert_true(strlen(conf_sections[i].text) > 5);
		assert_null(conf_key_find(conf_sections[i].parent, slice_from_cstr(conf_sections[i].name)));
	}
}

static void numbers_are_written_as_they_are_read(void **state)
{
	(void)state;
	static const struct conf_key octets = {.type = TYPE_OCTETS, .max = UINT64_MAX},
				     span = {.type = TYPE_SPAN, .max = UINT64_MAX};
	static const struct {
		const struct conf_key *key;
		const char *in;
		uint64_t value;
		const char *out;
	} rows[] = {
		{&octets, "0", 0, "0"},
		{&octets, "1000", 1000, "1000"},
		{&octets, "1024", 1024, "1k"},
		{&octets, "128K", 131072, "128k"},
		{&octets, "10m", 10485760, "10M"},
		{&octets, "1536M", 1610612736, "1536M"},
		{&octets, "2g", 2147483648, "2G"},
		{&octets, "1T", 1099511627776, "1T"},
		{&octets, "1M512k", 1572864, "1536k"},
		{&span, "500ms", 500, "500ms"},
		{&span, "90s", 90000, "90s"},
		{&span, "120s", 120000, "2m"},
		{&span, "1h30m", 5400000, "90m"},
		{&span, "5D", 432000000, "5d"},
		{&span, "0s", 0, "0ms"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct buf out;
		uint64_t value = 1;

		buf_init(&out, 100);
		assert_int_equal(conf_number_read(rows[i].key, slice_from_cstr(rows[i].in), 1, &value), CONF_NUMBER_OK);
		assert_true(value == rows[i].value);
		assert_true(conf_number_write(rows[i].key, value, &out));
		assert_slice(buf_slice(&out), rows[i].out);
		buf_free(&out);
	}
	uint64_t value;
	assert_int_equal(conf_number_read(&octets, SLICE("18446744073709551615T"), 1, &value), CONF_NUMBER_FORM);
	assert_int_equal(conf_number_read(&span, SLICE("5"), 1, &value), CONF_NUMBER_FORM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_preset_is_within_its_bounds),
		cmocka_unit_test(the_classes_of_rules_are_those_of_the_catalogue),
		cmocka_unit_test(no_number_means_unlimited),
		cmocka_unit_test(below_the_least_and_above_the_most_is_refused_with_the_bounds),
		cmocka_unit_test(values_of_another_type_are_refused),
		cmocka_unit_test(texts_that_are_not_what_they_should_be_are_refused),
		cmocka_unit_test(a_mistyped_name_is_answered_with_the_nearest_one),
		cmocka_unit_test(a_key_that_is_set_twice_is_refused),
		cmocka_unit_test(no_two_keys_of_a_section_share_a_name_and_all_are_explained),
		cmocka_unit_test(numbers_are_written_as_they_are_read),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
