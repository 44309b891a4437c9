#include "role/auth_guard.h"

#include "base/heap.h"
#include "policy/bucket.h"
#include "role/wire.h"

#include <assert.h>
#include <string.h>

#define DELAY_MAX (10 * SECOND)
/* How long a network is one where the user has logged in. */
#define KNOWN_FOR (7 * DAY)

struct auth_guard {
	struct hash_key key;
	const struct conf_accounts *conf;
	struct bucket_table failures; /* by account and by network: the hashes do not meet */
	struct bucket_table known;    /* where users are */
	struct bucket_table messages, recipients;
};

static_assert(KNOWN_FOR <= BUCKET_SPAN_MAX, "it drains that slowly");

struct auth_place auth_guard_place(struct hash_key key, const struct ip_address *client)
{
	size_t n = client->size == 16 ? 8 : client->size == 4 ? 3 : 0;

	return (struct auth_place){hash_slice(key, slice_of((const char *)client->octets, n))};
}

struct auth_guard *auth_guard_new(struct hash_key key)
{
	struct auth_guard *g = heap_new(struct auth_guard);

	if (g)
		g->key = key;
	return g;
}

void auth_guard_free(struct auth_guard *g)
{
	heap_free(g);
}

void auth_guard_configure(struct auth_guard *g, const struct conf_accounts *conf)
{
	g->conf = conf;
}

/* ---- failures -------------------------------------------------------------------------------------------------- */

/* No other text begins like this: networks are hashed without it. */
static uint64_t account_hash(const struct auth_guard *g, struct slice login)
{
	char text[8 + ACCOUNT_NAME_MAX] = "account:";
	size_t n = login.n < ACCOUNT_NAME_MAX ? login.n : ACCOUNT_NAME_MAX;

	if (n)
		memcpy(text + 8, login.p, n);
	return hash_slice_lower(g->key, slice_of(text, 8 + n));
}

/* The user at that place. */
static uint64_t pair_hash(const struct auth_guard *g, const struct auth_place *place, struct slice login)
{
	uint64_t both[2] = {account_hash(g, login), place->network};

	return hash_slice(g->key, slice_of((const char *)both, sizeof both));
}

static struct bucket_size of_account(const struct auth_guard *g)
{
	return (struct bucket_size){g->conf->failures_per_account, g->conf->failures_span};
}

static struct bucket_size of_network(const struct auth_guard *g)
{
	return (struct bucket_size){g->conf->failures_per_network, g->conf->failures_span};
}

static const struct bucket_size once = {1, KNOWN_FOR};

bool auth_guard_admits(const struct auth_guard *g, const struct auth_place *place, struct slice login, mono_ms now)
{
	bool known = bucket_used(&g->known, pair_hash(g, place, login), once, now) > 0;

	if (bucket_room(&g->failures, place->network, of_network(g), now) == 0)
		return false;
	return known || bucket_room(&g->failures, account_hash(g, login), of_account(g), now) > 0;
}

span_ms auth_guard_failed(struct auth_guard *g, const struct auth_place *place, struct slice login, mono_ms now)
{
	uint32_t of_both[2] = {0, 0};

	bucket_add(&g->failures, place->network, of_network(g), 1, now);
	of_both[0] = bucket_used(&g->failures, place->network, of_network(g), now);
	if (login.n) {
		uint64_t account = account_hash(g, login);
		bucket_add(&g->failures, account, of_account(g), 1, now);
		of_both[1] = bucket_used(&g->failures, account, of_account(g), now);
	}
	uint32_t failures = of_both[0] > of_both[1] ? of_both[0] : of_both[1];
	span_ms delay = g->conf->failure_delay * (span_ms)(failures < 10000 ? failures : 10000);
	return delay < DELAY_MAX ? delay : DELAY_MAX;
}

/* Failures stay: a guesser could log in to an account of his own now and then, or wait until its user does. */
void auth_guard_succeeded(struct auth_guard *g, const struct auth_place *place, struct slice login, mono_ms now)
{
	uint64_t pair = pair_hash(g, place, login);

	bucket_empty(&g->known, pair);
	bucket_add(&g->known, pair, once, 1, now);
}

/* ---- what users send ------------------------------------------------------------------------------------------- */

static struct bucket_size hourly(uint32_t limit)
{
	return (struct bucket_size){limit < BUCKET_MAX ? limit : BUCKET_MAX, HOUR};
}

uint32_t auth_guard_spend(struct auth_guard *g, struct slice login, struct auth_limits limits, mono_ms now)
{
	uint64_t who = account_hash(g, login);
	uint32_t recipients = WIRE_RCPTS_MAX;

	if (limits.recipients)
		recipients = bucket_room(&g->recipients, who, hourly(limits.recipients), now);
	if (recipients > 0 && limits.messages && !bucket_take(&g->messages, who, hourly(limits.messages), 1, now))
		return 0;
	return recipients < WIRE_RCPTS_MAX ? recipients : WIRE_RCPTS_MAX;
}

void auth_guard_use(struct auth_guard *g, struct slice login, struct auth_limits limits, uint32_t recipients,
		    mono_ms now)
{
	if (limits.recipients)
		bucket_add(&g->recipients, account_hash(g, login), hourly(limits.recipients), recipients, now);
}
