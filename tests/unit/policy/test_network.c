#include "test.h"

#include "policy/network.h"

static struct ip_address ip(const char *text)
{
	struct ip_address a;

	assert_true(ip_parse(slice_from_cstr(text), &a));
	return a;
}

static void addresses_are_read_and_written_in_one_form(void **state)
{
	(void)state;
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"192.0.2.1", "192.0.2.1"},
		{"[192.0.2.1]", "192.0.2.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"::", "::"},
		{"::1", "::1"},
		{"1::", "1::"},
		{"2001:DB8::1", "2001:db8::1"},
		{"[IPv6:2001:db8::1]", "2001:db8::1"},
		{"ipv6:::1", "::1"},
		{"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
		{"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
		{"1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"},
		{"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"::ffff:c000:201", "192.0.2.1"},
		{"::192.0.2.1", "::c000:201"},
		{"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
		{"1:2:3:4:5:6:192.0.2.1", "1:2:3:4:5:6:c000:201"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ip_address a = ip(rows[i].in);
		struct ip_address again = ip(ip_format(&a).text);

		assert_string_equal(ip_format(&a).text, rows[i].out);
		assert_true(ip_eq(&a, &again));
	}
}

static void what_is_no_address_is_refused(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"",
		".",
		"1",
		"1.2.3",
		"1.2.3.4.5",
		"1.2.3.256",
		"01.2.3.4",
		"1.2.3.04",
		"1.2.3.4 ",
		" 1.2.3.4",
		"0x7f000001",
		"1.2.3.",
		".1.2.3",
		"1..2.3",
		"[1.2.3.4",
		"1.2.3.4]",
		"[]",
		":",
		":::",
		":1",
		"1:",
		"1::2::3",
		"1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9",
		"1:2:3:4:5:6:7:8::",
		"::1:2:3:4:5:6:7:8",
		"12345::",
		"g::",
		"::1%eth0",
		"::1.2.3",
		"1.2.3.4::",
		"::1.2.3.4:5",
		"1:2:3:4:5:6:7:1.2.3.4",
		"2001:db8::1/64",
		"IPv6:192.0.2.1",
		"1:2:3:4::5:6:7:8:",
		"-1.2.3.4",
		"1.2.3.+4",
		"99999999999999999999.1.1.1",
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct slice s = slice_from_cstr(rows[i]);
		char *exact = test_exact_copy(s);
		struct ip_address a;

		if (ip_parse(slice_of(exact, s.n), &a))
			fail_msg("taken as an address: %s", rows[i]);
		assert_int_equal(a.size, 0);
		free(exact);
	}
	struct ip_address a;
	assert_false(ip_parse(slice_of("1.2.3.4\0", 8), &a));
}

static void octets_of_other_lengths_are_no_address(void **state)
{
	(void)state;
	static const uint8_t mapped[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
	struct ip_address a, b = ip("192.0.2.1");

	assert_true(ip_from_octets(mapped, 16, &a));
	assert_true(ip_eq(&a, &b));
	assert_true(ip_from_octets(mapped + 12, 4, &a));
	assert_true(ip_eq(&a, &b));
	assert_false(ip_from_octets(mapped, 0, &a));
	assert_false(ip_from_octets(mapped, 15, &a));
}

static void a_network_contains_what_shares_its_prefix(void **state)
{
	(void)state;
	static const struct {
		const char *network, *address;
		bool inside;
	} rows[] = {
		{"192.0.2.0/24", "192.0.2.0", true},
		{"192.0.2.0/24", "192.0.2.255", true},
		{"192.0.2.0/24", "192.0.3.0", false},
		{"192.0.2.0/24", "192.0.1.255", false},
		{"192.0.2.128/25", "192.0.2.127", false},
		{"192.0.2.128/25", "192.0.2.128", true},
		{"192.0.2.4/30", "192.0.2.7", true},
		{"192.0.2.4/30", "192.0.2.8", false},
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1/32", "192.0.2.0", false},
		{"0.0.0.0/0", "203.0.113.9", true},
		{"0.0.0.0/0", "::1", false},
		{"::/0", "2001:db8::1", true},
		{"::/0", "192.0.2.1", false},
		{"2001:db8::/32", "2001:db8:ffff::1", true},
		{"2001:db8::/32", "2001:db9::", false},
		{"2001:db8::/33", "2001:db8:8000::", false},
		{"2001:db8::1", "2001:db8::1", true},
		{"2001:db8::1/128", "2001:db8::2", false},
		{"192.0.2.0/24", "::ffff:192.0.2.9", true},
		{"::ffff:192.0.2.0/120", "192.0.2.9", true},
		{"::ffff:192.0.2.0/120", "192.0.3.9", false},
		{"127.0.0.0/8", "[127.1.2.3]", true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct network n;
		struct ip_address a = ip(rows[i].address);
		const char *why;

		assert_true(network_parse(slice_from_cstr(rows[i].network), &n, &why));
		assert_null(why);
		if (network_contains(&n, &a) != rows[i].inside)
			fail_msg("%s in %s", rows[i].address, rows[i].network);
	}
}

static void a_network_with_a_mistake_is_refused_with_a_reason(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"",
		"/",
		"/24",
		"192.0.2.0/",
		"192.0.2.0/33",
		"192.0.2.0/-1",
		"192.0.2.0/ 24",
		"192.0.2.0/24/8",
		"::/129",
		"192.0.2.1/24",
		"2001:db8::1/64",
		"0.0.0.1/0",
		"::ffff:192.0.2.0/24",
		"::ffff:192.0.2.0/95",
		"example.com/24",
		"192.0.2/24",
		"192.0.2.0/99999999999999999999",
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct network n;
		const char *why = NULL;

		if (network_parse(slice_from_cstr(rows[i]), &n, &why))
			fail_msg("taken as a network: %s", rows[i]);
		assert_non_null(why);
	}
}

static void some_addresses_are_no_hosts(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		bool unspecified, loopback, host;
	} rows[] = {
		{"0.0.0.0", true, false, false},
		{"0.1.2.3", false, false, false},
		{"127.0.0.1", false, true, true},
		{"127.9.9.9", false, true, true},
		{"192.0.2.1", false, false, true},
		{"223.255.255.255", false, false, true},
		{"224.0.0.1", false, false, false},
		{"255.255.255.255", false, false, false},
		{"::", true, false, false},
		{"::1", false, true, true},
		{"2001:db8::1", false, false, true},
		{"ff02::1", false, false, false},
		{"::ffff:224.0.0.1", false, false, false},
		{"::ffff:127.0.0.1", false, true, true},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct ip_address a;

		assert_true(ip_parse(slice_from_cstr(rows[i].text), &a));
		if (ip_is_unspecified(&a) != rows[i].unspecified || ip_is_loopback(&a) != rows[i].loopback ||
		    ip_is_of_host(&a) != rows[i].host)
			fail_msg("%s", rows[i].text);
	}
}

static void an_empty_list_contains_nothing(void **state)
{
	(void)state;
	struct network list[2];
	const char *why;

	assert_true(network_parse(SLICE("10.0.0.0/8"), &list[0], &why));
	assert_true(network_parse(SLICE("2001:db8::/32"), &list[1], &why));
	struct networks both = {list, 2}, none = {list, 0};
	assert_true(networks_contain_text(both, SLICE("10.9.9.9")));
	assert_true(networks_contain_text(both, SLICE("2001:db8::9")));
	assert_false(networks_contain_text(both, SLICE("11.9.9.9")));
	assert_false(networks_contain_text(both, SLICE("")));
	assert_false(networks_contain_text(both, SLICE("unix:uid=0")));
	assert_false(networks_contain_text(none, SLICE("10.9.9.9")));
	struct ip_address unknown = {0};
	struct network all;
	assert_true(network_parse(SLICE("0.0.0.0/0"), &all, &why));
	assert_false(network_contains(&all, &unknown));
}

static void a_network_is_cut_around_an_address(void **state)
{
	static const struct {
		const char *address, *base;
		unsigned four, six, bits;
	} cases[] = {
		{"192.0.2.77", "192.0.2.77", 32, 64, 32},
		{"192.0.2.77", "192.0.2.0", 24, 64, 24},
		{"192.0.2.77", "192.0.2.72", 29, 64, 29},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", 32, 64, 64},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1::", 32, 48, 48},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", 32, 128, 128},
		{"::ffff:192.0.2.77", "192.0.2.0", 24, 128, 24},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct ip_address a;

		assert_true(ip_parse(slice_from_cstr(cases[i].address), &a));
		struct network n = network_around(&a, cases[i].four, cases[i].six);
		assert_string_equal(ip_format(&n.base).text, cases[i].base);
		assert_int_equal(n.bits, cases[i].bits);
		assert_true(network_contains(&n, &a));
	}
	struct network none = network_around(&(struct ip_address){0}, 24, 48);
	assert_int_equal(none.base.size, 0);
	assert_int_equal(none.bits, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_written_in_one_form),
		cmocka_unit_test(what_is_no_address_is_refused),
		cmocka_unit_test(octets_of_other_lengths_are_no_address),
		cmocka_unit_test(a_network_contains_what_shares_its_prefix),
		cmocka_unit_test(a_network_with_a_mistake_is_refused_with_a_reason),
		cmocka_unit_test(some_addresses_are_no_hosts),
		cmocka_unit_test(an_empty_list_contains_nothing),
		cmocka_unit_test(a_network_is_cut_around_an_address),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
