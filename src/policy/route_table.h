/*
 * route_table: which hosts the mail for a domain goes to.
 *
 * A rule is for one domain ("example.net"), for all domains below one (".example.net"), or for everything that has no
 * other rule ("*"). The most exact rule wins: the domain itself, then the nearest parent, then "*".
 * A group of hosts is tried in order of preference, the next when one fails.
 */
#ifndef POLICY_ROUTE_TABLE_H
#define POLICY_ROUTE_TABLE_H

#include "policy/network.h"
#include "smtp/client.h"

enum route_host_kind {
	ROUTE_HOST_NAME,    /* `name` is to be looked up */
	ROUTE_HOST_ADDRESS, /* `address`; `name` is its text without brackets */
	ROUTE_HOST_UNIX,    /* `name` is the path of a socket */
};

struct route_host {
	enum route_host_kind kind;
	unsigned preference; /* its place in the list, from 0: lower ones first */
	struct slice name;
	struct ip_address address;
	uint16_t port; /* NAME, ADDRESS; never 0 */
};

enum route_tls_first { ROUTE_TLS_FIRST_AUTO, ROUTE_TLS_FIRST_NO, ROUTE_TLS_FIRST_YES };

struct route_tls {
	enum smtp_client_tls level;
	enum route_tls_first first;
	struct slice name;                 /* instead of the hosts' names; empty: those */
	struct slice authorities, revoked; /* paths, NUL-terminated; empty: those of the system; none are asked for */
};

/* How we log in; the secret is not of the configuration. */
struct route_auth {
	struct slice user; /* empty: we do not */
	const struct smtp_client_mechanism *mechanisms;
	size_t mechanism_count;
	bool required; /* mail waits where a server has no AUTH */
};

struct route_group {
	struct slice name;
	const struct route_host *hosts; /* in order of preference */
	size_t count;                   /* at least 1 */
	bool lmtp;
	bool convert;  /* messages may be converted to what its hosts take */
	bool own_name; /* its hosts may have our own name */
	bool ours; /* each of them is this very server: what goes there comes back */
	struct route_tls tls;
	struct route_auth auth;
};

struct route_rule {
	struct slice domain; /* canonical (mail_domain_canonical); ".example.net": all below it; "*": everything else */
	struct slice site;
	struct slice group; /* name of a group of this table */
	bool from_anybody;  /* taken from every client, not only from those who may relay */
	bool hold;          /* what comes for it waits until an operator releases it */
};

struct route_table {
	struct route_rule *rules;
	size_t rule_count;
	struct route_group *groups;
	size_t group_count;
};

#define ROUTE_PORT_SMTP 25
#define ROUTE_PORT_LMTP 24
#define ROUTE_PORT_SUBMISSIONS 465

/* Whether TLS comes before all else with this host, where there is TLS. */
static inline bool route_tls_is_first(const struct route_tls *tls, const struct route_host *host)
{
	if (tls->first == ROUTE_TLS_FIRST_NO)
		return false;
	return tls->first == ROUTE_TLS_FIRST_YES || host->port == ROUTE_PORT_SUBMISSIONS;
}

/*
 * One host: "mx.example.net", "mx.example.net:25", "192.0.2.1:25", "[192.0.2.1]:25", "[2001:db8::1]:25", with "inet:"
 * in front or not, or "unix:/path". preference is left 0. Texts are lent from `text`. On failure *why is a static text.
 */
bool route_host_parse(struct slice text, uint16_t default_port, struct route_host *ret, const char **why);

/* Sort the rules and groups for look-up. False when two rules are for one domain, or two groups have one name: *twice
 * is it. */
bool route_table_sort(struct route_table *t, struct slice *twice);
/* The rule for a canonical domain or literal ("[192.0.2.1]": only "*" can match); NULL when there is none. */
const struct route_rule *route_table_find(const struct route_table *t, struct slice domain);
const struct route_group *route_table_group(const struct route_table *t, struct slice name);

#endif
