#include "test.h"

#include "policy/relay.h"

static const struct network inside = {.base = {.octets = {10}, .size = 4}, .bits = 8};
static const struct networks networks = {&inside, 1};

static const struct relay_client stranger = {.address = {.octets = {203, 0, 113, 5}, .size = 4}};
static const struct relay_client ours = {.address = {.octets = {10, 1, 2, 3}, .size = 4}};
static const struct relay_client local = {.local_user = true};
static const struct relay_client unknown = {0};

static void everybody_may_write_to_us_and_only_ours_to_others(void **state)
{
	(void)state;
	static const struct {
		const struct relay_client *client;
		enum route_kind kind;
		bool from_anybody;
		enum relay_decision decision;
	} rows[] = {
		{&stranger, ROUTE_MAILBOX, false, RELAY_OURS},
		{&stranger, ROUTE_LMTP, false, RELAY_OURS},
		{&stranger, ROUTE_UNKNOWN_MAILBOX, false, RELAY_UNKNOWN_MAILBOX},
		{&stranger, ROUTE_SMTP, false, RELAY_DENIED},
		{&stranger, ROUTE_SMTP, true, RELAY_ALLOWED},
		{&stranger, ROUTE_NONE, false, RELAY_DENIED},
		{&ours, ROUTE_MAILBOX, false, RELAY_OURS},
		{&ours, ROUTE_UNKNOWN_MAILBOX, false, RELAY_UNKNOWN_MAILBOX},
		{&ours, ROUTE_SMTP, false, RELAY_ALLOWED},
		{&ours, ROUTE_NONE, false, RELAY_NO_ROUTE},
		{&local, ROUTE_SMTP, false, RELAY_ALLOWED},
		{&local, ROUTE_NONE, false, RELAY_NO_ROUTE},
		{&unknown, ROUTE_SMTP, false, RELAY_DENIED},
		{&unknown, ROUTE_MAILBOX, false, RELAY_OURS},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		assert_int_equal(relay_decide(rows[i].client, networks, rows[i].kind, rows[i].from_anybody),
				 rows[i].decision);
}

static void without_networks_only_local_users_relay(void **state)
{
	(void)state;
	struct networks none = {NULL, 0};

	assert_false(relay_client_may_relay(&stranger, none));
	assert_false(relay_client_may_relay(&ours, none));
	assert_true(relay_client_may_relay(&local, none));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_may_write_to_us_and_only_ours_to_others),
		cmocka_unit_test(without_networks_only_local_users_relay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
