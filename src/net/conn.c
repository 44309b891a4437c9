#include "net/conn.h"

#include "base/heap.h"
#include "net/conn_private.h"
#include "net/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include <event2/dns.h>
#include <event2/event.h>

#define ADDRESSES_MAX 16
#define DROPPED_MAX   ((size_t)64 * 1024) /* read from a peer that does not stop, before it is cut off */

static_assert(CONN_READ_SIZE <= LOOP_SHARED_BUFFER, "one reading fits");
static_assert(CONN_INPUT_MAX > CONN_READ_SIZE, "what one reading brings can be kept");

static void conn_destroy(struct conn *c)
{
	loop_unmark_dirty(c->loop, &c->dirty);
	loop_release(c->loop, &c->orphan);
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	if (c->linger)
		event_free(c->linger);
	if (c->fd >= 0)
		close(c->fd);
	buf_free(&c->kept);
	buf_free(&c->out);
	conn_tls_free(c);
	heap_free(c);
}

void conn_report_closed(struct conn *c, const char *why)
{
	if (c->reported || c->closing)
		return;
	c->reported = true;
	c->broken |= why != NULL;
	event_del(c->readable);
	if (c->finishing && (c->broken || conn_pending(c) == 0))
		conn_close(c);
	else if (!c->finishing)
		c->handler.closed(c->arg, why);
}

void conn_offer(struct conn *c, struct slice in)
{
	size_t taken = c->handler.input(c->arg, in);

	assert(taken <= in.n);
	if (c->closing || taken == in.n)
		return;
	if (c->shaking) { /* it was started behind what was taken */
		conn_tls_input(c, slice_skip(in, taken));
	} else {
		c->paused = true;
		if (!buf_add(&c->kept, slice_skip(in, taken)))
			conn_report_closed(c, "out of memory");
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	char *into = loop_shared_buffer(c->loop);

	(void)what;
	if (c->paused) {
		/* Not before something comes: most pauses are over by then, and cost no system call. */
		event_del(c->readable);
		return;
	}
	if (c->closing)
		return;
	ssize_t n = recv(fd, into, CONN_READ_SIZE, 0);
	if (n > 0 && c->finishing) {
		c->dropped += (size_t)n;
		if (c->dropped > DROPPED_MAX)
			conn_close(c);
	} else if (n > 0 && c->tls) {
		conn_tls_input(c, slice_of(into, (size_t)n));
	} else if (n > 0) {
		conn_offer(c, slice_of(into, (size_t)n));
	} else if (n == 0) {
		conn_report_closed(c, NULL);
	} else if (errno != EAGAIN && errno != EINTR) {
		conn_report_closed(c, strerror(errno));
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	c->waits = false;
	loop_mark_dirty(c->loop, &c->dirty);
}

static void wait_writable(struct conn *c)
{
	if (!c->writable)
		c->writable = event_new(loop_base(c->loop), c->fd, EV_WRITE, on_writable, c);
	if (!c->writable || event_add(c->writable, NULL) < 0) {
		conn_report_closed(c, "out of memory");
		return;
	}
	c->waits = true;
}

static void output_sent(struct conn *c)
{
	buf_free(&c->out);
	if (c->finishing) {
		/* Our FIN first; what the peer still sends is read and dropped, or a reset would eat our last reply. */
		shutdown(c->fd, SHUT_WR);
		c->shut = true;
		if (c->reported)
			conn_close(c);
	} else if (c->handler.drained && !c->broken && !c->shaking && !c->failed) {
		c->handler.drained(c->arg);
	}
}

/* What does not fit into the socket waits until it does. */
static void send_some(struct conn *c, struct slice out)
{
	ssize_t n = send(c->fd, out.p, out.n, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		/* The peer's end may have been reported before: then nobody waits for this one. */
		c->broken = true;
		conn_report_closed(c, strerror(errno));
		if (c->finishing)
			conn_close(c);
		return;
	}
	if (n > 0)
		buf_take(&c->out, (size_t)n);
	if (buf_len(&c->out) > 0)
		wait_writable(c);
	else if (conn_pending(c) == 0)
		output_sent(c);
}

static void flush(struct loop_dirty *d)
{
	struct conn *c = (struct conn *)d;

	if (c->closing) {
		conn_destroy(c);
		return;
	}
	if (c->torn && !c->finishing)
		conn_report_closed(c, "no room for its output");
	while (!c->waits && !c->broken && !c->closing && conn_tls_seal(c)) {
		struct slice out = buf_slice(&c->out);
		if (out.n == 0) {
			if (c->finishing && !c->shut)
				output_sent(c);
			return;
		}
		send_some(c, out);
	}
}

struct conn *conn_new(struct loop *l, int fd, const struct conn_handler *handler, void *arg)
{
	struct conn *c = heap_new(struct conn);
	int on = 1;

	if (!c) {
		close(fd);
		return NULL;
	}
	*c = (struct conn){.dirty = {.flush = flush}, .loop = l, .fd = fd, .handler = *handler, .arg = arg};
	buf_init(&c->kept, CONN_INPUT_MAX);
	buf_init(&c->out, CONN_OUTPUT_MAX);
	/* Replies are gathered here already; waiting for more would only add delay. Fails on unix sockets: no matter.
	 */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	c->readable = event_new(loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, c);
	if (!c->readable || event_add(c->readable, NULL) < 0) {
		conn_destroy(c);
		return NULL;
	}
	return c;
}

void conn_close(struct conn *c)
{
	if (!c || c->closing)
		return;
	c->closing = true;
	event_del(c->readable);
	if (c->writable)
		event_del(c->writable);
	loop_mark_dirty(c->loop, &c->dirty);
}

static void on_linger(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	conn_close(arg);
}

static void end_orphan(struct loop_orphan *o)
{
	conn_destroy((struct conn *)((char *)o - offsetof(struct conn, orphan)));
}

void conn_finish(struct conn *c, span_ms linger)
{
	struct timeval tv = {.tv_sec = linger / SECOND, .tv_usec = linger % SECOND * 1000};

	if (c->closing)
		return;
	c->finishing = true;
	loop_adopt(c->loop, &c->orphan, end_orphan);
	c->linger = evtimer_new(loop_base(c->loop), on_linger, c);
	if (c->broken || !c->linger || evtimer_add(c->linger, &tv) < 0) {
		conn_close(c);
		return;
	}
	c->paused = false;
	if (!c->reported)
		event_add(c->readable, NULL);
	loop_mark_dirty(c->loop, &c->dirty);
}

bool conn_write(struct conn *c, struct slice octets)
{
	if (c->closing || c->broken || c->torn || c->failed || c->shaking)
		return false;
	c->torn = !buf_add(c->tls ? &c->plain : &c->out, octets);
	loop_mark_dirty(c->loop, &c->dirty);
	return !c->torn;
}

size_t conn_pending(const struct conn *c)
{
	return buf_len(&c->out) + buf_len(&c->plain);
}

void conn_pause(struct conn *c)
{
	if (c->paused || c->closing)
		return;
	c->paused = true;
}

void conn_resume(struct conn *c)
{
	if (!c->paused || c->closing || c->reported)
		return;
	c->paused = false;
	if (buf_len(&c->kept) > 0) {
		/* Taken out first: the handler may write into, resume or close this connection. */
		struct buf again = c->kept;
		buf_init(&c->kept, CONN_INPUT_MAX);
		conn_offer(c, buf_slice(&again));
		buf_free(&again);
	}
	if (c->tls && !c->paused && !c->closing && !c->reported)
		conn_tls_step(c);
	if (!c->paused && !c->closing && !c->reported && !c->asked)
		event_add(c->readable, NULL);
}

/* ---- connecting ----------------------------------------------------------------------------------------------- */

struct conn_attempt {
	struct event *event;
	int fd;
	void (*connected)(void *arg, int fd, int error);
	void *arg;
	int failed; /* at once, told later all the same */
};

void conn_attempt_cancel(struct conn_attempt *a)
{
	if (!a)
		return;
	if (a->event)
		event_free(a->event);
	if (a->fd >= 0)
		close(a->fd);
	heap_free(a);
}

static void on_connected(evutil_socket_t fd, short what, void *arg)
{
	struct conn_attempt *a = arg;
	int error = a->failed;
	socklen_t size = sizeof error;

	if (!error && (what & EV_TIMEOUT))
		error = ETIMEDOUT;
	if (!error && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;

	struct conn_attempt copy = *a;
	if (!error)
		a->fd = -1;
	conn_attempt_cancel(a);
	copy.connected(copy.arg, error ? -1 : copy.fd, error);
}

struct conn_attempt *conn_connect(struct loop *l, const struct net_address *to, span_ms timeout,
				  void (*connected)(void *arg, int fd, int error), void *arg)
{
	struct conn_attempt *a = heap_new(struct conn_attempt);

	if (!a)
		return NULL;
	*a = (struct conn_attempt){.connected = connected, .arg = arg};
	a->fd = socket(to->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0 ||
	    (connect(a->fd, (const struct sockaddr *)&to->storage, to->length) < 0 && errno != EINPROGRESS))
		a->failed = errno;
	a->event = event_new(loop_base(l), a->failed ? -1 : a->fd, a->failed ? 0 : EV_WRITE, on_connected, a);
	struct timeval tv = {.tv_sec = timeout / SECOND, .tv_usec = timeout % SECOND * 1000};
	if (a->failed)
		tv = (struct timeval){0};
	if (!a->event || event_add(a->event, &tv) < 0) {
		conn_attempt_cancel(a);
		return NULL;
	}
	return a;
}

/* ---- looking up ----------------------------------------------------------------------------------------------- */

struct conn_lookup {
	struct loop *loop;
	struct evdns_getaddrinfo_request *request;
	struct event *tell;
	void (*found)(void *arg, const struct net_address *list, size_t count, const char *why);
	void *arg;
	struct net_address list[ADDRESSES_MAX];
	size_t count;
	const char *why;
	bool answered, cancelled;
};

static void lookup_free(struct conn_lookup *u)
{
	if (u->tell)
		event_free(u->tell);
	heap_free(u);
}

static void on_tell(evutil_socket_t fd, short what, void *arg)
{
	struct conn_lookup *u = arg;

	(void)fd;
	(void)what;
	if (!u->cancelled)
		u->found(u->arg, u->list, u->count, u->why);
	lookup_free(u);
}

/* May be called before evdns_getaddrinfo returns; the owner is always told later, from the loop. */
static void on_found(int error, struct evutil_addrinfo *result, void *arg)
{
	struct conn_lookup *u = arg;

	for (struct evutil_addrinfo *i = result; i && u->count < ADDRESSES_MAX; i = i->ai_next) {
		if (i->ai_addrlen > sizeof u->list[0].storage)
			continue;
		u->list[u->count].length = i->ai_addrlen;
		memcpy(&u->list[u->count++].storage, i->ai_addr, i->ai_addrlen);
	}
	if (result)
		evutil_freeaddrinfo(result);
	u->why = error ? evutil_gai_strerror(error) : "no address";
	u->answered = true;
	event_active(u->tell, EV_TIMEOUT, 0);
}

struct conn_lookup *
conn_resolve(struct loop *l, struct slice host, uint16_t port,
	     void (*found)(void *arg, const struct net_address *list, size_t count, const char *why), void *arg)
{
	struct conn_lookup *u = heap_new(struct conn_lookup);
	struct evdns_base *dns = loop_dns(l);
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct buf name, service;

	if (!u)
		return NULL;
	*u = (struct conn_lookup){.loop = l, .found = found, .arg = arg};
	u->tell = evtimer_new(loop_base(l), on_tell, u);
	buf_init(&name, 256);
	buf_init(&service, 8);
	buf_add(&name, host);
	buf_add_u64(&service, port);
	const char *name_text = buf_cstr(&name), *service_text = buf_cstr(&service);
	bool ok = dns && u->tell && name_text && service_text;
	if (ok) {
		struct evdns_getaddrinfo_request *request =
			evdns_getaddrinfo(dns, name_text, service_text, &hints, on_found, u);
		u->request = u->answered ? NULL : request;
	} else {
		lookup_free(u);
	}
	buf_free(&name);
	buf_free(&service);
	return ok ? u : NULL;
}

void conn_lookup_cancel(struct conn_lookup *u)
{
	if (!u)
		return;
	u->cancelled = true;
	if (u->request && !u->answered)
		evdns_getaddrinfo_cancel(u->request);
}

/* ---- listening ------------------------------------------------------------------------------------------------ */

struct listener {
	struct event *event;
	int fd;
	int spare; /* any descriptor; given up to accept and close one connection when there is no other (attacks J7) */
	struct slice busy;
	void (*accepted)(void *arg, int fd, const struct net_address *from);
	void *arg;
};

/* Out of descriptors: the peer gets an orderly answer instead of a connection that nobody ever accepts. */
static void turn_away(struct listener *n)
{
	close(n->spare);
	int fd = accept4(n->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		(void)!send(fd, n->busy.p, n->busy.n, MSG_NOSIGNAL);
		close(fd);
	}
	n->spare = fcntl(n->fd, F_DUPFD_CLOEXEC, 0);
}

static void on_acceptable(evutil_socket_t fd, short what, void *arg)
{
	struct listener *n = arg;

	(void)what;
	/* One at a time: the processes that share this socket then share its clients too. */
	struct net_address from = {.length = sizeof from.storage};
	int peer = accept4(fd, (struct sockaddr *)&from.storage, &from.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (peer >= 0)
		n->accepted(n->arg, peer, &from);
	else if (errno == EMFILE || errno == ENFILE)
		turn_away(n);
}

struct listener *listener_new(struct loop *l, int fd, struct slice busy,
			      void (*accepted)(void *arg, int fd, const struct net_address *from), void *arg)
{
	struct listener *n = heap_new(struct listener);

	if (!n) {
		close(fd);
		return NULL;
	}
	*n = (struct listener){.fd = fd, .busy = busy, .accepted = accepted, .arg = arg};
	n->spare = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	n->event = event_new(loop_base(l), fd, EV_READ | EV_PERSIST, on_acceptable, n);
	if (!n->event || event_add(n->event, NULL) < 0) {
		listener_free(n);
		return NULL;
	}
	return n;
}

void listener_free(struct listener *n)
{
	if (!n)
		return;
	if (n->event)
		event_free(n->event);
	close(n->fd);
	if (n->spare >= 0)
		close(n->spare);
	heap_free(n);
}
