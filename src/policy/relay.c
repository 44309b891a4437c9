#include "policy/relay.h"

#include <assert.h>

bool relay_client_may_relay(const struct relay_client *client, struct networks relay_networks)
{
	return client->local_user || client->authenticated || networks_contain(relay_networks, &client->address);
}

enum relay_decision relay_decide(const struct relay_client *client, struct networks relay_networks,
				 enum route_kind kind, bool from_anybody)
{
	bool may = relay_client_may_relay(client, relay_networks);

	switch (kind) {
	case ROUTE_MAILBOX:
	case ROUTE_LMTP:
		return RELAY_OURS;
	case ROUTE_UNKNOWN_MAILBOX:
		return RELAY_UNKNOWN_MAILBOX;
	case ROUTE_SMTP:
		return may || from_anybody ? RELAY_ALLOWED : RELAY_DENIED;
	case ROUTE_NONE:
		return may ? RELAY_NO_ROUTE : RELAY_DENIED;
	}
	assert(false && "a route kind");
	return RELAY_DENIED;
}
