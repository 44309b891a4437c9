/*
 * The sockets that clients and tools come to: bound at the start, or taken over from the service manager, and handed to
 * the roles. A listener takes over a socket that is bound to just its address, or to all addresses of its port.
 */
#include "role/supervisor_private.h"

#include "base/heap.h"
#include "net/log.h"
#include "net/socket.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIVEN_FIRST_FD 3 /* sd_listen_fds(3) */

void sockets_init(struct sockets *k)
{
	*k = (struct sockets){.control = -1, .data_dir = -1};
}

/* ---- from the service manager --------------------------------------------------------------------------------- */

static bool number_in_environment(const char *name, uint64_t max, uint64_t *ret)
{
	const char *text = getenv(name);

	return text && slice_u64(slice_from_cstr(text), max, ret);
}

void sockets_take_given(struct sockets *k)
{
	uint64_t pid, count;

	if (number_in_environment("LISTEN_PID", INT32_MAX, &pid) && pid == (uint64_t)getpid() &&
	    number_in_environment("LISTEN_FDS", SOCKETS_GIVEN_MAX, &count))
		for (uint64_t i = 0; i < count; i++)
			if (socket_take_over(GIVEN_FIRST_FD + (int)i))
				k->given[k->given_count++] = GIVEN_FIRST_FD + (int)i;
	/* Not for the roles. */
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
}

/* The one that serves this address, which is then used. -1: none. */
static int use_given(struct sockets *k, const struct net_address *wanted)
{
	for (size_t i = 0; i < k->given_count; i++) {
		int fd = k->given[i];
		if (fd >= 0 && socket_serves(fd, wanted)) {
			k->given[i] = -1;
			return fd;
		}
	}
	return -1;
}

/* A socket of IPv6 that takes IPv4 as well serves both halves of "*": it is there already for the other one. */
static bool is_served(const struct sockets *k, const struct net_address *wanted)
{
	for (size_t i = 0; i < k->count; i++)
		if (socket_serves(k->list[i].fd, wanted))
			return true;
	return false;
}

void sockets_close_unwanted(struct sockets *k)
{
	for (size_t i = 0; i < k->given_count; i++) {
		if (k->given[i] < 0)
			continue;
		log_event(LOG_SOCKET_UNWANTED, LOG_NUMBER("descriptor", k->given[i]));
		close(k->given[i]);
	}
	k->given_count = 0;
}

/* ---- paths ---------------------------------------------------------------------------------------------------- */

/* What follows "DATA_DIR/"; empty: the path does not lie there. */
static struct slice below_data_dir(const struct sockets *k, struct slice path)
{
	size_t n = k->data_dir_path.n;

	if (k->data_dir < 0 || !slice_starts(path, k->data_dir_path) || path.n <= n + 1 || path.p[n] != '/')
		return SLICE_NONE;
	return slice_skip(path, n + 1);
}

static int listen_unix(struct sockets *k, struct slice path, mode_t mode)
{
	struct slice below = below_data_dir(k, path);
	int fd = socket_listen_unix(path.p, mode);

	return fd < 0 && errno == EACCES && below.n ? socket_listen_unix_at(k->data_dir, below.p, mode) : fd;
}

static void remove_path(const struct sockets *k, struct slice path)
{
	struct slice below = below_data_dir(k, path);

	if (unlink(path.p) < 0 && errno == EACCES && below.n)
		(void)unlinkat(k->data_dir, below.p, 0);
}

/* The directory of a socket that we will remove. */
static void add_directory(const struct sockets *k, struct slice path, struct sandbox_path *list, size_t *count)
{
	struct slice below = below_data_dir(k, path);
	char *text = heap_alloc(path.n + 1);

	if (!text)
		return;
	struct slice of = below.n ? below : path;
	size_t n = slice_rfind(of, '/');
	if (n == of.n)
		n = snprintf(text, path.n + 1, ".") > 0 ? 1 : 0;
	else
		memcpy(text, of.p, n ? n : 1);
	text[n ? n : 1] = '\0';
	list[(*count)++] = (struct sandbox_path){text, SANDBOX_FILE_REMOVE};
}

size_t sockets_directories(const struct sockets *k, const struct conf *c, struct sandbox_path into[SOCKETS_PATHS_MAX])
{
	size_t count = 0;

	if (k->control_is_ours)
		add_directory(k, c->control_socket, into, &count);
	for (size_t i = 0; i < k->count; i++)
		if (k->list[i].ours && k->list[i].socket.n)
			add_directory(k, k->list[i].socket, into, &count);
	into[count] = (struct sandbox_path){0};
	return count;
}

/* ---- binding -------------------------------------------------------------------------------------------------- */

size_t sockets_addresses(const struct conf_listener *l, struct slice ret[2])
{
	if (!slice_eq(l->address, SLICE("*"))) {
		ret[0] = l->address;
		return 1;
	}
	ret[0] = SLICE("0.0.0.0");
	ret[1] = SLICE("::");
	return 2;
}

const struct bound *sockets_find(const struct sockets *k, const struct conf_listener *l, struct slice address)
{
	for (size_t i = 0; i < k->count; i++) {
		const struct bound *b = &k->list[i];
		if (slice_eq(b->address, address) && b->port == l->port && slice_eq(b->socket, l->socket))
			return b;
	}
	return NULL;
}

static struct slice copy_text(struct slice s)
{
	char *p = heap_alloc(s.n + 1);

	if (p && s.n)
		memcpy(p, s.p, s.n);
	if (p)
		p[s.n] = '\0';
	return slice_of(p, p ? s.n : 0);
}

static int take_or_listen(struct sockets *k, const struct conf_listener *l, struct slice address, bool *ret_ours)
{
	struct net_address a;
	bool good = l->socket.n ? net_address_unix(l->socket, &a) : net_address_ip(address, l->port, &a);
	int fd = good ? use_given(k, &a) : -1;

	*ret_ours = fd < 0;
	if (fd >= 0)
		return fd;
	if (l->socket.n)
		return listen_unix(k, l->socket, 0666);
	if (good)
		return socket_listen(&a);
	errno = EADDRNOTAVAIL;
	return -1;
}

static bool bind_one(struct sockets *k, const struct conf_listener *l, struct slice address)
{
	struct slice place = l->socket.n ? l->socket : address;
	struct net_address a;
	bool ours;

	if (!l->socket.n && net_address_ip(address, l->port, &a) && is_served(k, &a))
		return true;
	int fd = take_or_listen(k, l, address, &ours);
	if (fd < 0) {
		log_event(LOG_START_FAILED, LOG_CSTR("reason", strerror(errno)), LOG_TEXT("listener", l->name),
			  LOG_TEXT("address", place), LOG_NUMBER("port", l->port));
		return false;
	}
	k->list[k->count++] = (struct bound){
		.address = copy_text(address), .port = l->port, .socket = copy_text(l->socket), .fd = fd, .ours = ours};
	log_event(LOG_LISTENING, LOG_TEXT("listener", l->name), LOG_TEXT("address", place), LOG_NUMBER("port", l->port),
		  LOG_CSTR("from", ours ? NULL : "service manager"));
	return true;
}

/* The IPv6 address of "*" comes first if there is a socket for it that takes IPv4, too. */
static bool bind_listener(struct sockets *k, const struct conf_listener *l)
{
	struct slice addresses[2];
	size_t count = sockets_addresses(l, addresses);
	bool any = false;

	for (size_t i = count; i-- > 0;)
		any |= bind_one(k, l, addresses[i]);
	return any;
}

static bool bind_all(struct sockets *k, const struct conf *c, bool by_path)
{
	static_assert(sizeof k->list / sizeof *k->list >= 2 * CONF_LISTENER_MAX, "each has two addresses at most");

	for (size_t i = 0; i < c->listener_count; i++)
		if ((c->listeners[i].socket.n > 0) == by_path && !bind_listener(k, &c->listeners[i]))
			return false;
	return true;
}

bool sockets_bind_tcp(struct sockets *k, const struct conf *c)
{
	return bind_all(k, c, false);
}

static bool bind_control(struct sockets *k, const struct conf *c)
{
	struct net_address a;

	k->control = net_address_unix(c->control_socket, &a) ? use_given(k, &a) : -1;
	k->control_is_ours = k->control < 0;
	if (k->control_is_ours)
		k->control = listen_unix(k, c->control_socket, 0600);
	if (k->control >= 0)
		return true;
	log_event(LOG_START_FAILED, LOG_TEXT("socket", c->control_socket),
		  LOG_CSTR("reason",
			   errno == EADDRINUSE ? "another server is running on this data directory" : strerror(errno)));
	return false;
}

bool sockets_bind_unix(struct sockets *k, const struct conf *c)
{
	return bind_control(k, c) && bind_all(k, c, true);
}

bool sockets_control_is_served(const struct conf *c)
{
	int fd = socket_connect_unix(c->control_socket.p);

	if (fd < 0)
		return false;
	close(fd);
	log_event(LOG_START_FAILED, LOG_TEXT("socket", c->control_socket),
		  LOG_CSTR("reason", "another server is running on this data directory"));
	return true;
}

/* ---- the end -------------------------------------------------------------------------------------------------- */

static void close_bound(const struct sockets *k, struct bound *b)
{
	if (b->socket.n && b->ours)
		remove_path(k, b->socket);
	close(b->fd);
	heap_free((void *)(uintptr_t)b->address.p);
	heap_free((void *)(uintptr_t)b->socket.p);
}

void sockets_close(struct sockets *k, const struct conf *c)
{
	for (size_t i = 0; i < k->count; i++)
		close_bound(k, &k->list[i]);
	k->count = 0;
	if (k->control < 0)
		return;
	if (k->control_is_ours)
		remove_path(k, c->control_socket);
	close(k->control);
	k->control = -1;
}
