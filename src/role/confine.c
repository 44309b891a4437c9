#include "role/confine.h"

#include "net/log.h"

#include <stdlib.h>
#include <string.h>

static bool has_port(const struct confine_needs *n, uint16_t port)
{
	for (size_t i = 0; i < n->sandbox.port_count; i++)
		if (n->ports[i] == port)
			return true;
	return false;
}

static void add_port(struct confine_needs *n, uint16_t port)
{
	if (has_port(n, port))
		return;
	if (n->sandbox.port_count < CONFINE_PORTS_MAX)
		n->ports[n->sandbox.port_count++] = port;
	else
		n->sandbox.any_port = true;
}

/* DNS goes over TCP when an answer is large. */
static void add_dns(const struct conf *c, struct confine_needs *n)
{
	size_t at = slice_rfind(c->resolver, '@');
	uint64_t port;

	add_port(n, 53);
	if (at < c->resolver.n && slice_u64(slice_skip(c->resolver, at + 1), UINT16_MAX, &port))
		add_port(n, (uint16_t)port);
}

/* Who delivers to Maildirs alone needs no socket of any kind. */
static void add_lmtp_host(const struct route_host *h, struct confine_needs *n)
{
	if (h->kind == ROUTE_HOST_UNIX) {
		n->sandbox.calls |= SANDBOX_BIT(SANDBOX_UNIX);
		return;
	}
	n->sandbox.calls |= SANDBOX_BIT(SANDBOX_STREAM);
	if (h->kind == ROUTE_HOST_NAME)
		n->sandbox.calls |= SANDBOX_BIT(SANDBOX_DATAGRAM);
	add_port(n, h->port);
}

static void add_lmtp(const struct conf *c, struct confine_needs *n)
{
	for (size_t i = 0; i < c->route_table.group_count; i++) {
		const struct route_group *g = &c->route_table.groups[i];
		for (size_t j = 0; g->lmtp && j < g->count; j++)
			add_lmtp_host(&g->hosts[j], n);
	}
}

/* A file or a directory that may lie anywhere. What finds no room stays closed. */
static void add_file(struct confine_needs *n, struct slice path)
{
	if (path.n == 0 || n->path_count == CONFINE_PATHS_MAX || path.n >= CONFINE_TEXTS_MAX - n->text_length)
		return;
	char *text = n->texts + n->text_length;
	memcpy(text, path.p, path.n);
	text[path.n] = '\0';
	n->text_length += path.n + 1;
	n->paths[n->path_count++] = (struct sandbox_path){text, SANDBOX_FILE_READ};
}

/* OpenSSL looks at the environment for the system's authorities. */
static void add_authorities(struct confine_needs *n)
{
	struct slice directories = slice_from_cstr(getenv("SSL_CERT_DIR"));

	add_file(n, slice_from_cstr(getenv("SSL_CERT_FILE")));
	while (directories.n)
		add_file(n, slice_split(&directories, ':'));
}

void confine_needs(enum role_kind kind, const struct conf *c, struct confine_needs *ret)
{
	*ret = (struct confine_needs){.sandbox = {.data_dir = ".", .required = c->sandbox == CONF_SANDBOX_REQUIRED}};
	ret->sandbox.ports = ret->ports;
	ret->sandbox.paths = ret->paths;
	if (kind == ROLE_RECEIVER)
		add_dns(c, ret);
	if (kind == ROLE_MAILBOX)
		add_lmtp(c, ret);
	if (kind == ROLE_SENDER)
		add_authorities(ret);
}

bool confine_covers(const struct confine_needs *a, const struct confine_needs *b)
{
	if (b->sandbox.calls & ~a->sandbox.calls)
		return false;
	if (a->sandbox.any_port)
		return true;
	for (size_t i = 0; i < b->sandbox.port_count; i++)
		if (!has_port(a, b->ports[i]))
			return false;
	return !b->sandbox.any_port;
}

void confine_log_refused(void)
{
	char name[SANDBOX_CALL_MAX];

	while (sandbox_next_refused(name))
		log_event(LOG_CALL_REFUSED, LOG_CSTR("call", name));
}
