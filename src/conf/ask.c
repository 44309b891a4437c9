#include "conf/conf.h"

#include "policy/pattern.h"

#include <assert.h>

#define POSTMASTER SLICE("postmaster")

/* Another's domain: the rule for it, or NULL. */
static const struct route_rule *find_rule(const struct conf *c, const struct mail_address *address)
{
	/* A buf in place, which never asks for memory: the answer must not depend on it. */
	char room[MAIL_DOMAIN_MAX + 1];
	struct buf domain = {.p = room, .cap = sizeof room, .max = sizeof room};

	if (address->kind == MAIL_DOMAIN_NONE || !mail_domain_canonical(address->domain, &domain))
		return NULL;
	return route_table_find(&c->route_table, buf_slice(&domain));
}

static void route_of_entry(const struct directory_entry *entry, struct route *ret)
{
	*ret = (struct route){.kind = ROUTE_UNKNOWN_MAILBOX};
	if (entry->result != DIRECTORY_FOUND && entry->result != DIRECTORY_SUSPENDED)
		return;
	if (entry->delivery == DIRECTORY_LMTP)
		*ret = (struct route){.kind = ROUTE_LMTP, .site = entry->site, .hosts = entry->site};
	else
		*ret = (struct route){.kind = ROUTE_MAILBOX, .site = entry->site, .mailbox = entry->mailbox};
}

static void route_of_address(const struct conf *c, const struct mail_address *address, struct directory_entry *entry,
			     struct route *ret, bool *from_anybody)
{
	*ret = (struct route){.kind = ROUTE_NONE};
	*from_anybody = false;
	directory_find(c->directory, address, entry);
	if (entry->result != DIRECTORY_NOT_OURS) {
		route_of_entry(entry, ret);
		return;
	}
	const struct route_rule *rule = find_rule(c, address);
	if (!rule)
		return;
	*ret = (struct route){.kind = ROUTE_SMTP, .site = rule->site, .hosts = rule->group, .hold = rule->hold};
	*from_anybody = rule->from_anybody;
}

void conf_route(const struct conf *c, struct slice address, struct route *ret)
{
	struct mail_address parsed = {.text = address, .local = address, .kind = MAIL_DOMAIN_NONE};
	struct directory_entry entry;
	const char *why;
	bool from_anybody;

	*ret = (struct route){.kind = ROUTE_NONE};
	if (slice_ieq(address, POSTMASTER) || mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK)
		route_of_address(c, &parsed, &entry, ret, &from_anybody);
}

struct directory_texts conf_report_targets(const struct conf *c, struct slice address)
{
	struct mail_address parsed;
	struct directory_entry entry = {0};
	const char *why;

	if (mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK)
		directory_find(c->directory, &parsed, &entry);
	bool open = entry.result == DIRECTORY_FORWARDED ||
		    (entry.result == DIRECTORY_LIST && entry.post == DIRECTORY_POST_EVERYBODY);
	return open ? entry.targets : (struct directory_texts){0};
}

const struct route_group *conf_hosts(const struct conf *c, struct slice group)
{
	return route_table_group(&c->route_table, group);
}

static const struct conf_quota *find_quota(const struct conf *c, struct slice path)
{
	size_t low = 0, high = c->quota_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = slice_compare(c->quotas[middle].path, path);

		if (order == 0)
			return &c->quotas[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

struct conf_quota conf_quota_of(const struct conf *c, struct slice mailbox)
{
	const struct conf_quota *q = find_quota(c, mailbox);

	if (!q)
		q = find_quota(c, slice_head(mailbox, slice_find(mailbox, '/')));
	return q ? *q : (struct conf_quota){0};
}

static bool leads_back(const struct conf *c, const struct route *route)
{
	const struct route_group *group = route->hosts.n ? conf_hosts(c, route->hosts) : NULL;

	return group && group->ours;
}

/* What a route of its own, to a server that the operator named, says of a domain goes before what the DNS says. */
static bool goes_by_dns(const struct route *route)
{
	return route->kind == ROUTE_NONE ||
	       (route->kind == ROUTE_SMTP && (route->hosts.n == 0 || slice_eq(route->hosts, SLICE("*"))));
}

void conf_recipient(const struct conf *c, const struct relay_client *client, const struct mail_address *address,
		    struct conf_recipient *ret)
{
	bool from_anybody;

	*ret = (struct conf_recipient){0};
	route_of_address(c, address, &ret->entry, &ret->route, &from_anybody);
	ret->in_a_circle = leads_back(c, &ret->route);
	ret->by_dns = goes_by_dns(&ret->route);
	ret->decision = relay_decide(client, c->relay_networks, ret->route.kind, from_anybody);
	if (ret->entry.result == DIRECTORY_FORWARDED || ret->entry.result == DIRECTORY_LIST)
		ret->decision = RELAY_OURS;
}

bool conf_may_post(const struct conf *c, const struct relay_client *client, const struct directory_entry *list,
		   const struct mail_address *sender)
{
	assert(list->result == DIRECTORY_LIST);
	if (list->post == DIRECTORY_POST_EVERYBODY)
		return true;
	if (list->post == DIRECTORY_POST_RELAY && relay_client_may_relay(client, c->relay_networks))
		return true;
	if (list->post == DIRECTORY_POST_MEMBERS && directory_list_has(list, sender))
		return true;
	return pattern_any_matches(list->senders.list, list->senders.count, sender);
}

bool conf_is_own_name(const struct conf *c, struct slice name)
{
	char room[MAIL_DOMAIN_MAX + 1];
	struct buf domain = {.p = room, .cap = sizeof room, .max = sizeof room};
	struct directory_entry entry;

	if (!mail_domain_canonical(name, &domain))
		return false;
	directory_find_plain(c->directory, buf_slice(&domain), POSTMASTER, &entry);
	return entry.result != DIRECTORY_NOT_OURS;
}

bool conf_has_tls(const struct conf *c)
{
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].server.tls != SMTP_TLS_OFF)
			return true;
	return false;
}

bool conf_asks_certificates(const struct conf *c)
{
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].ask_certificate)
			return true;
	return false;
}

bool conf_has_auth(const struct conf *c)
{
	for (size_t i = 0; i < c->listener_count; i++)
		if (c->listeners[i].server.mechanism_count > 0)
			return true;
	return false;
}

bool conf_asks_dns(const struct conf *c)
{
	bool asks = c->check_null_mx != CONF_CHECK_NO || c->check_domains != CONF_CHECK_NO;

	for (size_t i = 0; i < c->listener_count; i++)
		asks |= c->listeners[i].check_reverse_dns != CONF_CHECK_NO;
	return asks;
}

bool conf_discloses(const struct conf *c, enum conf_disclose to, const struct relay_client *client)
{
	switch (to) {
	case CONF_DISCLOSE_NOBODY:
	case CONF_DISCLOSE_OFF:
		return false;
	case CONF_DISCLOSE_RELAY:
		return relay_client_may_relay(client, c->relay_networks);
	case CONF_DISCLOSE_EVERYBODY:
		return true;
	}
	assert(false && "a disclosure");
	return false;
}
