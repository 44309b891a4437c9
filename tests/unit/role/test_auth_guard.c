#include "test.h"

#include "role/auth_guard.h"
#include "role/wire.h"

static const struct hash_key key = {0x1234, 0x5678};
static const struct conf_accounts limits = {
	.failures_per_account = 4,
	.failures_per_network = 10,
	.failures_span = 10 * MINUTE,
	.failure_delay = 500,
};
static struct auth_guard *guard;

static int begin(void **state)
{
	(void)state;
	guard = auth_guard_new(key);
	assert_non_null(guard);
	auth_guard_configure(guard, &limits);
	return 0;
}

static int end(void **state)
{
	(void)state;
	auth_guard_free(guard);
	return 0;
}

static struct auth_place at(const char *address)
{
	struct ip_address client;

	assert_true(ip_parse(slice_from_cstr(address), &client));
	return auth_guard_place(key, &client);
}

static span_ms fail_at(const char *address, const char *login, mono_ms now)
{
	struct auth_place place = at(address);

	return auth_guard_failed(guard, &place, slice_from_cstr(login), now);
}

static bool admits(const char *address, const char *login, mono_ms now)
{
	struct auth_place place = at(address);

	return auth_guard_admits(guard, &place, slice_from_cstr(login), now);
}

static void a_network_is_a_24_or_a_64(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{"192.0.2.1", "192.0.2.255", true},   {"192.0.2.1", "192.0.3.1", false},
		{"2001:db8::1", "2001:db8::2:1", true}, {"2001:db8::1", "2001:db8:0:1::1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(at(rows[i].a).network == at(rows[i].b).network, rows[i].same);
}

/* attacks U4 */
static void an_account_is_guessed_at_so_often_from_wherever_it_is(void **state)
{
	(void)state;
	assert_true(fail_at("192.0.2.1", "alice", 0) == 500);
	assert_true(fail_at("198.51.100.1", "Alice", 0) == 1000);
	assert_true(fail_at("203.0.113.1", "ALICE", 0) == 1500);
	assert_true(admits("192.0.2.1", "alice", 0));
	assert_true(fail_at("2001:db8::1", "alice", 0) == 2000);
	assert_false(admits("192.0.2.1", "alice", 0));
	assert_false(admits("2001:db8:5::1", "alice", 0));
	assert_true(admits("2001:db8:5::1", "bob", 0));
	/* One is forgotten after a quarter of the span. */
	assert_false(admits("192.0.2.1", "alice", 149 * SECOND));
	assert_true(admits("192.0.2.1", "alice", 151 * SECOND));
}

static void a_network_guesses_so_often_at_whomever_it_does(void **state)
{
	(void)state;
	for (int i = 0; i < 10; i++) {
		const char login[] = {(char)('a' + i), '\0'};
		assert_true(admits("192.0.2.9", login, 0));
		fail_at("192.0.2.1", login, 0);
	}
	assert_false(admits("192.0.2.9", "nobody", 0));
	assert_true(admits("192.0.3.9", "nobody", 0));
}

static void strangers_lock_nobody_out_where_he_logged_in(void **state)
{
	struct auth_place home = at("192.0.2.1");

	(void)state;
	auth_guard_succeeded(guard, &home, SLICE("alice"), 0);
	for (int i = 0; i < 4; i++)
		fail_at("198.51.100.1", "alice", HOUR);
	assert_true(admits("192.0.2.77", "ALICE", HOUR));
	assert_false(admits("192.0.3.77", "alice", HOUR));
	/* It is his place alone, and for a week. */
	for (int i = 0; i < 4; i++)
		fail_at("198.51.101.1", "bob", HOUR);
	assert_false(admits("192.0.2.77", "bob", HOUR));
	for (int i = 0; i < 4; i++)
		fail_at("198.51.102.1", "alice", 8 * DAY);
	assert_false(admits("192.0.2.77", "alice", 8 * DAY));
}

static void a_login_of_his_own_does_not_clear_a_guesser(void **state)
{
	struct auth_place place = at("192.0.2.1");

	(void)state;
	for (int i = 0; i < 10; i++) {
		fail_at("192.0.2.1", "nobody", 0);
		auth_guard_succeeded(guard, &place, SLICE("mallory"), 0);
	}
	assert_false(admits("192.0.2.1", "mallory", 0));
}

static void delays_grow_to_ten_seconds(void **state)
{
	(void)state;
	for (int i = 0; i < 100; i++)
		assert_true(fail_at("192.0.2.1", "", 0) <= 10 * SECOND);
	assert_true(fail_at("192.0.2.1", "", 0) == 10 * SECOND);
}

static void users_send_so_much_in_an_hour(void **state)
{
	static const struct auth_limits few = {.messages = 3, .recipients = 6}, none = {0, 0};

	(void)state;
	assert_int_equal(auth_guard_spend(guard, SLICE("alice"), few, 0), 6);
	auth_guard_use(guard, SLICE("alice"), few, 4, 0);
	assert_int_equal(auth_guard_spend(guard, SLICE("alice"), few, 0), 2);
	auth_guard_use(guard, SLICE("alice"), few, 2, 0);
	assert_int_equal(auth_guard_spend(guard, SLICE("alice"), few, 0), 0);
	/* What was refused did not count. */
	assert_int_equal(auth_guard_spend(guard, SLICE("alice"), few, 10 * MINUTE), 1);
	assert_int_equal(auth_guard_spend(guard, SLICE("alice"), few, 10 * MINUTE), 0);
	assert_int_equal(auth_guard_spend(guard, SLICE("bob"), few, 0), 6);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(auth_guard_spend(guard, SLICE("alice"), none, 0), WIRE_RCPTS_MAX);
		auth_guard_use(guard, SLICE("alice"), none, WIRE_RCPTS_MAX, 0);
	}
}

#define GUARD_TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		GUARD_TEST(a_network_is_a_24_or_a_64),
		GUARD_TEST(an_account_is_guessed_at_so_often_from_wherever_it_is),
		GUARD_TEST(a_network_guesses_so_often_at_whomever_it_does),
		GUARD_TEST(strangers_lock_nobody_out_where_he_logged_in),
		GUARD_TEST(a_login_of_his_own_does_not_clear_a_guesser),
		GUARD_TEST(delays_grow_to_ten_seconds),
		GUARD_TEST(users_send_so_much_in_an_hour),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
