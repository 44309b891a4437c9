/*
 * The way to a server: how people write it, which one is the default, and the connection to it.
 */
#include "cli/submit.h"
#include "conf/conf.h"
#include "net/socket.h"
#include "policy/route_table.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define SERVER_MAX 300 /* octets of a host name with its NUL, with room */

bool submit_server_parse(const char *text, struct submit_server *ret, const char **why)
{
	struct route_host host;

	if (!route_host_parse(slice_from_cstr(text), ROUTE_PORT_SMTP, &host, why))
		return false;
	if (host.kind == ROUTE_HOST_UNIX)
		*ret = (struct submit_server){.path = host.name.p, .patience = ret->patience};
	else
		*ret = (struct submit_server){.host = host.name, .port = host.port, .patience = ret->patience};
	return true;
}

bool submit_server_of_conf(const struct conf *conf, struct submit_server *ret, bool *ret_lmtp)
{
	for (size_t i = 0; i < conf->listener_count; i++) {
		const struct conf_listener *l = &conf->listeners[i];
		bool any6 = slice_eq(l->address, SLICE("::"));
		bool any4 = slice_eq(l->address, SLICE("*")) || slice_eq(l->address, SLICE("0.0.0.0"));

		if (l->port == 0)
			continue;
		*ret = (struct submit_server){.host = any4   ? SLICE("127.0.0.1")
						      : any6 ? SLICE("::1")
							     : l->address,
					      .port = l->port,
					      .patience = conf->connect_timeout};
		*ret_lmtp = l->server.lmtp;
		return true;
	}
	return false;
}

/* Connects within the time; -1 with errno. */
static int connect_within(const struct addrinfo *a, span_ms patience)
{
	int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = 0;
	socklen_t size = sizeof error;

	if (fd < 0)
		return -1;
	if (connect(fd, a->ai_addr, a->ai_addrlen) < 0)
		error = errno;
	if (error == EINPROGRESS) {
		struct pollfd p = {.fd = fd, .events = POLLOUT};
		int ready = poll(&p, 1, patience > 3600000 ? 3600000 : (int)patience);
		if (ready == 0)
			error = ETIMEDOUT;
		else if (ready < 0 || getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
			error = errno;
	}
	if (error == 0)
		return fd;
	close(fd);
	errno = error;
	return -1;
}

static int connect_host(const struct submit_server *server, struct buf *why, int *status)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
	char host[SERVER_MAX], port[8];
	int fd = -1;

	snprintf(host, sizeof host, "%.*s", SLICE_ARGS(server->host));
	snprintf(port, sizeof port, "%u", server->port);
	int failed = getaddrinfo(host, port, &hints, &list);
	if (failed) {
		*status = failed == EAI_NONAME ? EX_NOHOST : EX_TEMPFAIL;
		buf_printf(why, "%s: %s", host, gai_strerror(failed));
		return -1;
	}
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = connect_within(a, server->patience);
	if (fd < 0) {
		*status = EX_TEMPFAIL;
		buf_printf(why, "cannot connect to %s port %s: %s", host, port, strerror(errno));
	}
	freeaddrinfo(list);
	return fd;
}

int submit_connect(const struct submit_server *server, struct buf *why, int *status)
{
	if (!server->path)
		return connect_host(server, why, status);
	int fd = socket_connect_unix(server->path);
	if (fd < 0) {
		*status = EX_TEMPFAIL;
		buf_printf(why, "cannot connect to %s: %s%s", server->path, strerror(errno),
			   errno == ENOENT || errno == ECONNREFUSED ? ": the server is not running" : "");
	}
	return fd;
}
