/*
 * net/tls.h in a world without TLS: there are no certificates, and no connection begins a handshake.
 */
#include "net/conn.h"

struct tls_server *tls_server_new(const struct tls_chain *chains, size_t count, const char **why)
{
	(void)chains;
	(void)count;
	*why = "there is no TLS here";
	return NULL;
}

void tls_server_unref(struct tls_server *s)
{
	(void)s;
}

void tls_server_set_tickets(struct tls_server *s, const struct tls_tickets *tickets)
{
	(void)s;
	(void)tickets;
}

bool conn_start_tls(struct conn *c, struct tls_server *server, struct slice binding)
{
	(void)c;
	(void)server;
	(void)binding;
	return false;
}

void conn_signed(struct conn *c, struct slice signature)
{
	(void)c;
	(void)signature;
}

bool conn_tls_facts(const struct conn *c, struct tls_facts *ret)
{
	(void)c;
	(void)ret;
	return false;
}

void conn_tls_binding(const struct conn *c, struct tls_binding *ret)
{
	(void)c;
	*ret = (struct tls_binding){0};
}
