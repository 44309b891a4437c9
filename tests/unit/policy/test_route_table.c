#include "test.h"

#include "policy/route_table.h"

static void hosts_are_read_in_every_form(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		enum route_host_kind kind;
		const char *name;
		uint16_t port;
	} rows[] = {
		{"mx.example.net", ROUTE_HOST_NAME, "mx.example.net", 25},
		{"mx.example.net:2525", ROUTE_HOST_NAME, "mx.example.net", 2525},
		{"inet:mx.example.net:24", ROUTE_HOST_NAME, "mx.example.net", 24},
		{"localhost:1", ROUTE_HOST_NAME, "localhost", 1},
		{"192.0.2.1", ROUTE_HOST_ADDRESS, "192.0.2.1", 25},
		{"192.0.2.1:65535", ROUTE_HOST_ADDRESS, "192.0.2.1", 65535},
		{"[192.0.2.1]:2525", ROUTE_HOST_ADDRESS, "192.0.2.1", 2525},
		{"[192.0.2.1]", ROUTE_HOST_ADDRESS, "192.0.2.1", 25},
		{"2001:db8::1", ROUTE_HOST_ADDRESS, "2001:db8::1", 25},
		{"[2001:db8::1]:26", ROUTE_HOST_ADDRESS, "2001:db8::1", 26},
		{"inet:[::1]:24", ROUTE_HOST_ADDRESS, "::1", 24},
		{"unix:/run/dovecot/lmtp", ROUTE_HOST_UNIX, "/run/dovecot/lmtp", 0},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct route_host host;
		const char *why = NULL;

		if (!route_host_parse(slice_from_cstr(rows[i].text), 25, &host, &why))
			fail_msg("%s: %s", rows[i].text, why);
		assert_int_equal(host.kind, rows[i].kind);
		assert_slice(host.name, rows[i].name);
		assert_int_equal(host.port, rows[i].port);
	}
}

static void what_is_no_host_is_refused_with_a_reason(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"",
		":",
		":25",
		"mx.example.net:",
		"mx.example.net:0",
		"mx.example.net:65536",
		"mx.example.net:x",
		"mx..net",
		"-mx.example.net",
		"mx-.example.net",
		"mx_1.example.net",
		"mx.example.net.",
		"[192.0.2.1",
		"[192.0.2.1]25",
		"[192.0.2.1]x:25",
		"192.0.2",
		"192.0.2.256",
		"1.2.3.4.5",
		"[mx.example.net]:25",
		"unix:",
		"unix:x",
		"unix:/",
		"inet:",
		"a b",
		"2001:db8::1::",
		"[]:25",
		"mx.example.net:25:26",
		"unix:/"
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		"aaaaa",
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice s = slice_from_cstr(rows[i]);
		char *exact = test_exact_copy(s);
		struct route_host host;
		const char *why = NULL;

		if (route_host_parse(slice_of(exact, s.n), 25, &host, &why))
			fail_msg("taken as a host: %s", rows[i]);
		assert_non_null(why);
		free(exact);
	}
}

static void the_most_exact_rule_wins(void **state)
{
	(void)state;
	struct route_rule rules[] = {
		{.domain = SLICE("*")},
		{.domain = SLICE("example.net")},
		{.domain = SLICE(".example.net")},
		{.domain = SLICE(".deep.example.net")},
		{.domain = SLICE("one.deep.example.net")},
	};
	struct route_table t = {.rules = rules, .rule_count = 5};
	struct slice twice;
	static const struct {
		const char *domain, *rule;
	} rows[] = {
		{"example.net", "example.net"},
		{"www.example.net", ".example.net"},
		{"a.b.example.net", ".example.net"},
		{"deep.example.net", ".example.net"},
		{"two.deep.example.net", ".deep.example.net"},
		{"one.deep.example.net", "one.deep.example.net"},
		{"x.one.deep.example.net", ".deep.example.net"},
		{"notexample.net", "*"},
		{"net", "*"},
		{"[192.0.2.1]", "*"},
	};

	assert_true(route_table_sort(&t, &twice));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const struct route_rule *rule = route_table_find(&t, slice_from_cstr(rows[i].domain));

		assert_non_null(rule);
		assert_slice(rule->domain, rows[i].rule);
	}
	assert_null(route_table_find(&t, SLICE_NONE));
}

static void without_a_rule_for_everything_the_rest_has_none(void **state)
{
	(void)state;
	struct route_rule rules[] = {{.domain = SLICE("example.net")}};
	struct route_table t = {.rules = rules, .rule_count = 1}, empty = {0};

	assert_null(route_table_find(&t, SLICE("www.example.net")));
	assert_null(route_table_find(&t, SLICE("[192.0.2.1]")));
	assert_null(route_table_find(&empty, SLICE("example.net")));
	assert_null(route_table_group(&empty, SLICE("x")));
}

static void two_rules_for_one_domain_are_found(void **state)
{
	(void)state;
	struct route_rule rules[] = {{.domain = SLICE("b")}, {.domain = SLICE("a")}, {.domain = SLICE("b")}};
	struct route_group groups[] = {{.name = SLICE("g")}, {.name = SLICE("g")}};
	struct route_table t = {.rules = rules, .rule_count = 3}, u = {.groups = groups, .group_count = 2};
	struct slice twice;

	assert_false(route_table_sort(&t, &twice));
	assert_slice(twice, "b");
	assert_false(route_table_sort(&u, &twice));
	assert_slice(twice, "g");
}

static void groups_are_found_by_name(void **state)
{
	(void)state;
	struct route_group groups[] = {
		{.name = SLICE("z"), .count = 1}, {.name = SLICE("a"), .count = 2}, {.name = SLICE("*"), .count = 3}};
	struct route_table t = {.groups = groups, .group_count = 3};
	struct slice twice;

	assert_true(route_table_sort(&t, &twice));
	assert_int_equal(route_table_group(&t, SLICE("z"))->count, 1);
	assert_int_equal(route_table_group(&t, SLICE("a"))->count, 2);
	assert_int_equal(route_table_group(&t, SLICE("*"))->count, 3);
	assert_null(route_table_group(&t, SLICE("b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts_are_read_in_every_form),
		cmocka_unit_test(what_is_no_host_is_refused_with_a_reason),
		cmocka_unit_test(the_most_exact_rule_wins),
		cmocka_unit_test(without_a_rule_for_everything_the_rest_has_none),
		cmocka_unit_test(two_rules_for_one_domain_are_found),
		cmocka_unit_test(groups_are_found_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
