#include "conf/build_private.h"

/* Whether a listener answers there. An address of this machine that we do not know of as ours counts as another's. */
static bool is_listener(const struct conf *c, const struct conf_listener *l, const struct route_host *host)
{
	struct ip_address at, literal;

	if (host->kind == ROUTE_HOST_UNIX)
		return l->socket.n > 0 && slice_eq(l->socket, host->name);
	if (host->kind != ROUTE_HOST_ADDRESS || l->socket.n > 0 || l->port != host->port)
		return false;
	if (ip_parse(l->address, &at) && !ip_is_unspecified(&at))
		return ip_eq(&at, &host->address);
	if (slice_eq(l->address, SLICE("0.0.0.0")) && host->address.size != 4)
		return false;
	for (size_t i = 0; i < c->literal_texts.count; i++)
		if (ip_parse(c->literal_texts.list[i], &literal) && ip_eq(&literal, &host->address))
			return true;
	return ip_is_loopback(&host->address);
}

static bool is_ours(const struct conf *c, const struct route_host *host)
{
	for (size_t i = 0; i < c->listener_count; i++)
		if (is_listener(c, &c->listeners[i], host))
			return true;
	return false;
}

/* NULL: there was no memory. */
static struct route_group *build_group(struct build *b, struct slice name, const struct conf_texts *texts, bool lmtp,
				       struct conf_place at)
{
	struct route_table *t = &b->c->route_table;
	struct route_host *hosts = build_take(b, texts->count, sizeof *hosts);
	const char *why;
	size_t ours = 0;

	if (!hosts)
		return NULL;
	for (size_t i = 0; i < texts->count; i++) {
		uint16_t port = lmtp ? ROUTE_PORT_LMTP : ROUTE_PORT_SMTP;

		/* A text that is not understood was complained of when its key was read. */
		if (!route_host_parse(texts->list[i], port, &hosts[i], &why))
			continue;
		if (!lmtp && hosts[i].kind == ROUTE_HOST_UNIX)
			conf_wrong(b->err, at, "a route leads to hosts, not to unix sockets");
		hosts[i].name = build_keep(b, hosts[i].name);
		hosts[i].preference = (unsigned)i;
		ours += is_ours(b->c, &hosts[i]);
	}
	bool all_ours = ours > 0 && ours == texts->count;
	if (all_ours)
		conf_warn(b->err, at,
			  "\"%.*s\" leads back to this server, to a listener of its own: mail for it is "
			  "refused with 451",
			  SLICE_ARGS(name));
	struct route_group *group = &t->groups[t->group_count++];
	*group = (struct route_group){
		.name = name,
		.hosts = hosts,
		.count = texts->count,
		.lmtp = lmtp,
		.ours = all_ours,
		.convert = true,
		.own_name = lmtp,
	};
	return group;
}

static void build_lmtp_groups(struct build *b)
{
	for (size_t i = 0; i < b->c->domain_count; i++) {
		const struct conf_domain *d = &b->c->domains[i];
		struct conf_texts one = {&d->lmtp, 1};

		if (d->deliver != DIRECTORY_LMTP)
			continue;
		buf_add_lit(&b->scratch, "lmtp/");
		buf_add(&b->scratch, d->name);
		build_group(b, build_keep_scratch(b), &one, true, b->raw->first->at);
	}
}

static void check_route(struct build *b, const struct conf_raw_section *s, const struct conf_route_keys *r)
{
	if (r->hosts.count > CONF_HOSTS_MAX || (r->hosts.count == 0 && build_key_given(s, "hosts")))
		conf_wrong(b->err, build_key_place(s, "hosts"), "a route has 1 to %d hosts", CONF_HOSTS_MAX);
	if (r->from_anybody && slice_eq(r->domain, SLICE("*")))
		conf_wrong(b->err, build_key_place(s, "from_anybody"),
			   "from_anybody would make an open relay of the route for everything");
	if (r->tls == SMTP_CLIENT_TLS_OFF && r->tls_first == ROUTE_TLS_FIRST_YES)
		conf_wrong(b->err, build_key_place(s, "tls_first"), "tls is off, so that it cannot come first");
	for (size_t i = 0; i < b->c->domain_count; i++)
		if (r->domain.n && slice_eq(b->c->domains[i].name, r->domain))
			conf_wrong(b->err, s->at, "\"%.*s\" is a domain of ours, so that it needs no route",
				   SLICE_ARGS(r->domain));
}

void build_routes(struct build *b)
{
	size_t count = b->raw->counts[SECTION_ROUTE], n = 0;
	struct conf_route_keys *list = build_take(b, count, sizeof *list);
	struct named *names = build_take(b, count, sizeof *names);
	struct route_table *t = &b->c->route_table;

	t->rules = build_take(b, count, sizeof *t->rules);
	t->groups = build_take(b, count + b->c->domain_count, sizeof *t->groups);
	if (!list || !names || !t->rules || !t->groups)
		return;
	for (const struct conf_raw_section *s = build_next_section(b->raw->first, SECTION_ROUTE);
	     s && !b->out_of_memory; s = build_next_section(s->next, SECTION_ROUTE)) {
		struct conf_route_keys *r = &list[n];

		r->domain = build_title(b, s);
		build_section(b, SECTION_ROUTE, s, r);
		check_route(b, s, r);
		struct route_group *group = build_group(b, r->domain, &r->hosts, false, s->at);
		if (group) {
			group->convert = r->convert;
			group->own_name = r->own_name;
			group->tls = (struct route_tls){.level = r->tls,
							.first = r->tls_first,
							.name = r->tls_name,
							.authorities = r->tls_ca,
							.revoked = r->tls_crl};
			build_route_auth(b, s, r, &group->auth);
		}
		t->rules[t->rule_count++] = (struct route_rule){
			.domain = r->domain,
			.site = slice_eq(r->domain, SLICE("*")) ? SLICE("smarthost") : r->domain,
			.group = r->domain,
			.from_anybody = r->from_anybody,
			.hold = r->hold,
		};
		names[n++] = (struct named){r->domain, s->at};
	}
	b->c->routes = list;
	b->c->route_count = n;
	build_check_twice(b, names, n, "route");
	build_lmtp_groups(b);
}
