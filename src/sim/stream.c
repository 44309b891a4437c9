/*
 * Byte streams, and net/conn.h over them.
 */
#include "net/conn.h"

#include "base/buf.h"
#include "base/heap.h"
#include "net/descriptor.h"
#include "sim/kernel.h"
#include "sim/machine.h"
#include "sim/tls.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#define OUTPUT_MAX  ((size_t)16 * 1024 * 1024)
#define READ_SIZE   ((size_t)64 * 1024)
#define DROPPED_MAX ((size_t)64 * 1024)
#define NAMES_MAX   64
#define HOSTS_MAX   64
/* What a handshake allocates, of the order of. */
#define HANDSHAKE_MEMORY ((size_t)30000)

/* ---- streams ----------------------------------------------------------------------------------------------------- */

struct piece {
	struct sim_end *to;
	size_t n;
	enum { PIECE_OCTETS, PIECE_EOF, PIECE_RESET } kind;
	char octets[];
};

static void wake(struct sim_end *e)
{
	if (e->wake && !e->closed)
		e->wake(e->arg);
}

static void draw_faults(struct sim_end *a, struct sim_end *b)
{
	static const size_t windows[] = {600, 4096, 65536, 262144};
	size_t window = windows[sim_chance(sim_plan.small_pieces) ? sim_below(2) : 2 + sim_below(2)];
	sim_us delay = sim_between(20, 2000), jitter = sim_between(0, 500);

	if (sim_chance(200000)) {
		delay = sim_between(5 * SIM_MS, 150 * SIM_MS);
		jitter = sim_between(0, 20 * SIM_MS);
	}
	a->delay = b->delay = delay;
	a->jitter = b->jitter = jitter;
	a->window = b->window = window;
	a->cut_at = b->cut_at = UINT64_MAX;
	if (!sim_chance(sim_plan.cut))
		return;
	/* Early in the dialog, in the message, or in the answers behind it. */
	struct sim_end *which = sim_chance(500000) ? a : b;
	static const uint64_t reach[] = {64, 400, 1500, 20000};
	which->cut_at = sim_below(reach[sim_below(4)]);
}

void sim_stream(struct sim_end *ret[2])
{
	for (int i = 0; i < 2; i++)
		ret[i] = sim_alloc(sizeof *ret[i]);
	ret[0]->peer = ret[1];
	ret[1]->peer = ret[0];
	draw_faults(ret[0], ret[1]);
	sim_count(COUNT_CONNECTIONS);
}

static void arrive(void *arg, uint64_t number)
{
	struct piece *p = arg;
	struct sim_end *e = p->to;

	(void)number;
	e->flying -= p->n;
	if (p->kind == PIECE_RESET)
		e->reset = true;
	if (!e->reset && p->kind == PIECE_EOF)
		e->eof = true;
	if (!e->reset && p->kind == PIECE_OCTETS && !e->closed)
		octets_add(&e->in, slice_of(p->octets, p->n));
	/* Nobody is there any more: the sender learns it. */
	if (e->closed && p->kind == PIECE_OCTETS && !e->reset) {
		e->reset = true;
		sim_end_reset(e);
	}
	sim_free(p);
	wake(e);
}

static void send_piece(struct sim_end *to, int kind, struct slice octets)
{
	struct piece *p = sim_alloc(sizeof *p + octets.n);
	sim_us at = kernel_now() + to->delay + (to->jitter ? sim_between(0, to->jitter) : 0);

	p->to = to;
	p->kind = kind;
	p->n = octets.n;
	if (octets.n)
		memcpy(p->octets, octets.p, octets.n);
	if (sim_chance(sim_plan.stall)) {
		at += sim_between(SIM_SECOND, 900 * SIM_SECOND);
		sim_count(COUNT_FAULT_STALL);
		sim_trace("network", "a connection stalls");
	}
	if (at <= to->last)
		at = to->last + 1;
	to->last = at;
	to->flying += octets.n;
	sim_at(at, arrive, p, 0);
}

/* From here on nothing passes; each side learns it in its own time, or never. */
static void break_stream(struct sim_end *e)
{
	sim_count(COUNT_FAULT_CUT);
	sim_trace("network", "a connection breaks after %llu octets %s", (unsigned long long)e->sent,
		  e->is_peer ? "to us" : "from us");
	e->dead = e->peer->dead = true;
	for (int i = 0; i < 2; i++) {
		struct sim_end *to = i ? e : e->peer;
		if (sim_chance(150000))
			continue; /* silence: only a timeout tells */
		if (sim_chance(300000))
			to->last += sim_between(0, 30 * SIM_SECOND);
		send_piece(to, PIECE_RESET, SLICE_NONE);
	}
}

size_t sim_end_send(struct sim_end *e, struct slice octets)
{
	struct sim_end *to = e->peer;
	size_t room = to->window > to->in.n + to->flying ? to->window - to->in.n - to->flying : 0;
	size_t taken = octets.n < room ? octets.n : room;

	assert(!e->closed && !e->shut);
	if (e->dead) {
		/* The window fills, and no acknowledgement comes. */
		e->sent += taken;
		to->flying += taken;
		return taken;
	}
	octets.n = taken;
	while (octets.n > 0) {
		size_t n = octets.n;
		if (sim_chance(sim_plan.small_pieces))
			n = 1 + sim_below(n < 40 ? n : 40);
		else if (n > 1460 && sim_chance(300000))
			n = 1460;
		if (e->sent + n >= e->cut_at) {
			n = (size_t)(e->cut_at - e->sent);
			if (n > 0)
				send_piece(to, PIECE_OCTETS, slice_head(octets, n));
			e->sent += n;
			break_stream(e);
			return taken;
		}
		send_piece(to, PIECE_OCTETS, slice_head(octets, n));
		e->sent += n;
		octets = slice_skip(octets, n);
	}
	return taken;
}

void sim_end_take(struct sim_end *e, size_t n)
{
	bool was_full = e->in.n + e->flying >= e->window;

	octets_take(&e->in, n);
	e->read += n;
	if (was_full && n > 0)
		wake(e->peer);
}

void sim_end_shut(struct sim_end *e)
{
	if (e->shut)
		return;
	e->shut = true;
	if (!e->dead)
		send_piece(e->peer, PIECE_EOF, SLICE_NONE);
}

void sim_end_reset(struct sim_end *e)
{
	if (!e->dead)
		send_piece(e->peer, PIECE_RESET, SLICE_NONE);
	e->dead = e->peer->dead = true;
	e->shut = true;
}

void sim_end_close(struct sim_end *e)
{
	if (e->closed)
		return;
	if (e->in.n > 0)
		sim_end_reset(e);
	else
		sim_end_shut(e);
	e->closed = true;
	e->wake = NULL;
	octets_free(&e->in);
}

static void close_end(void *object)
{
	sim_end_close(object);
}

/* ---- connections of roles ---------------------------------------------------------------------------------------- */

struct conn {
	struct sim_object object; /* first */
	struct sim_dirty dirty;
	struct sim_ready ready;
	struct loop *loop;
	struct sim_end *end;
	struct conn_handler handler;
	void *arg;
	struct octets kept, out;
	bool paused;
	bool broken;    /* nothing can be sent any more */
	bool torn;      /* something could not be written: nothing may follow it */
	bool reported;  /* closed() was called */
	bool finishing; /* close when the output is sent */
	bool closing;   /* conn_close was called: freed at the end of the turn */
	size_t dropped; /* octets that came while finishing */
	struct loop_timer *linger;
	struct sim_tls *tls; /* NULL: there is none */
	bool shaking;        /* the handshake is under way */
	bool failed;         /* TLS is over; its alert may still go out */
};

static struct conn *conn_of_ready(struct sim_ready *r)
{
	return (struct conn *)(void *)((char *)r - offsetof(struct conn, ready));
}

static void conn_destroy(struct conn *c)
{
	kernel_undirty(c->loop, &c->dirty);
	kernel_unready(c->loop, &c->ready);
	sim_end_close(c->end);
	octets_free(&c->kept);
	octets_free(&c->out);
	sim_tls_free(c->tls);
	sim_free(c);
}

static void drop_conn(struct sim_object *o)
{
	conn_destroy((struct conn *)o);
}

static void report_closed(struct conn *c, const char *why)
{
	if (c->reported || c->closing)
		return;
	c->reported = true;
	c->broken |= why != NULL;
	if (c->finishing && (c->broken || c->out.n == 0))
		conn_close(c);
	else if (!c->finishing)
		c->handler.closed(c->arg, why);
}

/* Offers octets to the handler and keeps the rest. */
static void offer(struct conn *c, struct slice in)
{
	size_t taken = c->handler.input(c->arg, in);

	assert(taken <= in.n);
	if (c->closing || taken == in.n)
		return;
	c->paused = true;
	if (c->kept.n + in.n - taken > CONN_INPUT_MAX)
		report_closed(c, "out of memory");
	else
		octets_add(&c->kept, slice_skip(in, taken));
}

/* The handler finishes the connection. */
static void tls_fails(struct conn *c)
{
	if (c->failed || c->closing || c->reported)
		return;
	c->failed = true;
	c->shaking = false;
	if (!c->finishing)
		c->handler.closed(c->arg, sim_tls_why(c->tls));
}

static void tls_input(struct conn *c, struct slice in)
{
	struct octets plain = {0};
	enum tls_result result = sim_tls_read(c->tls, in, &plain, &c->out);

	kernel_dirty(c->loop, &c->dirty);
	if (c->shaking && sim_tls_done(c->tls)) {
		c->shaking = false;
		c->handler.secured(c->arg);
	}
	if (plain.n > 0 && !c->closing && !c->finishing && !c->reported)
		offer(c, octets_slice(&plain));
	if (result == TLS_FAILED)
		tls_fails(c);
	octets_free(&plain);
}

static bool can_read(const struct conn *c)
{
	return !c->closing && !c->reported && (!c->failed || c->finishing) && (!c->paused || c->finishing) &&
	       (c->end->in.n > 0 || c->end->eof || c->end->reset);
}

static void read_some(struct conn *c)
{
	struct sim_end *e = c->end;

	if (e->in.n > 0 && !e->reset) {
		size_t n = e->in.n < READ_SIZE ? e->in.n : READ_SIZE;
		char *copy = sim_alloc(n);
		memcpy(copy, e->in.p, n);
		sim_end_take(e, n);
		machine_step("read");
		if (c->finishing) {
			c->dropped += n;
			if (c->dropped > DROPPED_MAX)
				conn_close(c);
		} else if (c->tls) {
			tls_input(c, slice_of(copy, n));
		} else {
			offer(c, slice_of(copy, n));
		}
		sim_free(copy);
	} else if (e->reset) {
		report_closed(c, strerror(ECONNRESET));
	} else {
		report_closed(c, NULL);
	}
}

static void on_conn_ready(struct sim_ready *r)
{
	struct conn *c = conn_of_ready(r);

	if (can_read(c))
		read_some(c);
	if (can_read(c))
		kernel_ready(c->loop, &c->ready);
	if (!c->closing && c->out.n > 0 && !c->broken)
		kernel_dirty(c->loop, &c->dirty);
}

/* The stream has something for us. */
static void on_wake(void *arg)
{
	struct conn *c = arg;

	kernel_ready(c->loop, &c->ready);
}

static void output_sent(struct conn *c)
{
	octets_free(&c->out);
	if (c->finishing) {
		sim_end_shut(c->end);
		if (c->reported)
			conn_close(c);
	} else if (c->handler.drained && !c->broken && !c->shaking && !c->failed) {
		c->handler.drained(c->arg);
	}
}

static void flush(struct sim_dirty *d)
{
	struct conn *c = (struct conn *)(void *)((char *)d - offsetof(struct conn, dirty));

	if (c->closing) {
		kernel_remove(&c->object);
		conn_destroy(c);
		return;
	}
	if (c->torn && !c->finishing)
		report_closed(c, "no room for its output");
	if (c->broken)
		return;
	if (c->out.n == 0) {
		if (c->finishing)
			output_sent(c);
		return;
	}
	machine_step("send");
	if (c->end->reset) {
		report_closed(c, strerror(EPIPE));
		return;
	}
	octets_take(&c->out, sim_end_send(c->end, octets_slice(&c->out)));
	if (c->out.n == 0)
		output_sent(c);
}

struct conn *conn_new(struct loop *l, int fd, const struct conn_handler *handler, void *arg)
{
	if (sim_memory_fails(sizeof(struct conn))) {
		descriptor_close(fd);
		return NULL;
	}
	struct conn *c = sim_alloc(sizeof *c);
	*c = (struct conn){.object = {.drop = drop_conn},
			   .dirty = {.flush = flush},
			   .ready = {.run = on_conn_ready},
			   .loop = l,
			   .end = kernel_fd_take(fd, FD_STREAM),
			   .handler = *handler,
			   .arg = arg};
	kernel_add(l, &c->object);
	c->end->wake = on_wake;
	c->end->arg = c;
	kernel_ready(l, &c->ready);
	return c;
}

struct role_instance *stream_owner(const struct sim_end *e)
{
	const struct conn *c = e->closed || e->is_peer ? NULL : e->arg;

	return c && !c->closing ? kernel_role(c->loop) : NULL;
}

void conn_close(struct conn *c)
{
	if (!c || c->closing)
		return;
	c->closing = true;
	loop_timer_free(c->linger);
	c->linger = NULL;
	kernel_dirty(c->loop, &c->dirty);
}

static void on_linger(void *arg)
{
	struct conn *c = arg;

	conn_close(c);
}

void conn_finish(struct conn *c, span_ms linger)
{
	if (c->closing)
		return;
	c->finishing = true;
	if (c->broken) {
		conn_close(c);
		return;
	}
	c->linger = loop_timer_new(c->loop, on_linger, c);
	if (!c->linger) {
		conn_close(c);
		return;
	}
	/* A process that ends leaves the rest to the kernel. */
	kernel_timer_left(c->linger);
	c->object.left = true;
	loop_timer_set(c->linger, loop_mono(c->loop) + linger);
	c->paused = false;
	kernel_ready(c->loop, &c->ready);
	kernel_dirty(c->loop, &c->dirty);
}

bool conn_write(struct conn *c, struct slice octets)
{
	if (c->closing || c->broken || c->torn || c->shaking || c->failed)
		return false;
	c->torn = c->out.n + octets.n > OUTPUT_MAX || sim_memory_fails(octets.n);
	if (!c->torn && c->tls)
		sim_tls_write(c->tls, octets, &c->out);
	else if (!c->torn)
		octets_add(&c->out, octets);
	kernel_dirty(c->loop, &c->dirty);
	return !c->torn;
}

size_t conn_pending(const struct conn *c)
{
	return c->out.n;
}

void conn_pause(struct conn *c)
{
	if (!c->closing)
		c->paused = true;
}

void conn_resume(struct conn *c)
{
	if (!c->paused || c->closing || c->reported)
		return;
	c->paused = false;
	if (c->kept.n > 0) {
		struct octets again = c->kept;
		c->kept = (struct octets){0};
		offer(c, octets_slice(&again));
		octets_free(&again);
	}
	if (can_read(c))
		kernel_ready(c->loop, &c->ready);
}

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

/* There are no certificates of ours here. */
bool conn_start_tls(struct conn *c, struct tls_server *server, struct slice binding)
{
	(void)c;
	(void)server;
	(void)binding;
	return false;
}

bool conn_ask_certificate(struct conn *c, struct tls_trust *trust)
{
	(void)c;
	(void)trust;
	return false;
}

void conn_signed(struct conn *c, struct slice signature)
{
	(void)c;
	(void)signature;
}

bool conn_connect_tls(struct conn *c, struct tls_client *client, const struct tls_aim *aim)
{
	struct octets none = {0};

	(void)client;
	if (c->tls || c->closing || c->finishing || c->reported || c->out.n > 0 || c->kept.n > 0 ||
	    sim_memory_fails(HANDSHAKE_MEMORY))
		return false;
	c->tls = sim_tls_client(aim->name);
	c->shaking = true;
	sim_tls_read(c->tls, SLICE_NONE, &none, &c->out);
	kernel_dirty(c->loop, &c->dirty);
	return true;
}

void conn_tls_binding(const struct conn *c, struct tls_binding *ret)
{
	(void)c;
	*ret = (struct tls_binding){0};
}

bool conn_tls_facts(const struct conn *c, struct tls_facts *ret)
{
	bool verified = c->tls && sim_tls_verified(c->tls);

	if (!c->tls || c->shaking || c->failed)
		return false;
	*ret = (struct tls_facts){.version = "TLSv1.3",
				  .cipher = "TLS_AES_256_GCM_SHA384",
				  .group = "x25519",
				  .name = sim_tls_name(c->tls),
				  .verified = verified,
				  .unverified = verified ? "" : "self-signed certificate"};
	return true;
}

/* ---- hosts and names --------------------------------------------------------------------------------------------- */

static struct {
	struct net_address address;
	sim_serve serve;
	void *arg;
} hosts[HOSTS_MAX];
static size_t host_count;

static struct {
	const char *name;
	struct net_address address;
} names[NAMES_MAX];
static size_t name_count;

static void listen_at(const struct net_address *address, sim_serve serve, void *arg)
{
	assert(host_count < HOSTS_MAX);
	hosts[host_count].address = *address;
	hosts[host_count].serve = serve;
	hosts[host_count++].arg = arg;
}

void sim_listen(const char *address, uint16_t port, sim_serve serve, void *arg)
{
	struct net_address a;
	bool ok = net_address_ip(slice_from_cstr(address), port, &a);

	assert(ok);
	listen_at(&a, serve, arg);
}

void sim_listen_unix(const char *path, sim_serve serve, void *arg)
{
	struct net_address a;
	bool ok = net_address_unix(slice_from_cstr(path), &a);

	assert(ok);
	listen_at(&a, serve, arg);
}

void sim_name(const char *host, const char *address)
{
	assert(name_count < NAMES_MAX);
	bool ok = net_address_ip(slice_from_cstr(address), 0, &names[name_count].address);
	assert(ok);
	names[name_count++].name = host;
}

static struct net_address silent_place;

void sim_silence(const char *address, uint16_t port)
{
	bool ok = !address || net_address_ip(slice_from_cstr(address), port, &silent_place);

	assert(ok);
	if (!address)
		silent_place = (struct net_address){0};
}

static bool same_address(const struct net_address *a, const struct net_address *b)
{
	return a->length == b->length && memcmp(&a->storage, &b->storage, a->length) == 0;
}

/* ---- connecting -------------------------------------------------------------------------------------------------- */

struct conn_attempt {
	struct sim_object object; /* first */
	struct sim_ready ready;
	struct loop *loop; /* NULL: told or cancelled */
	struct net_address to;
	void (*connected)(void *arg, int fd, int error);
	void *arg;
	int failed;
};

static void end_attempt(struct conn_attempt *a)
{
	kernel_unready(a->loop, &a->ready);
	a->loop = NULL;
}

static void drop_attempt(struct sim_object *o)
{
	end_attempt((struct conn_attempt *)o);
}

void conn_attempt_cancel(struct conn_attempt *a)
{
	if (!a)
		return;
	kernel_remove(&a->object);
	end_attempt(a);
}

static void on_attempt(struct sim_ready *r)
{
	struct conn_attempt *a = (struct conn_attempt *)(void *)((char *)r - offsetof(struct conn_attempt, ready));
	struct loop *l = a->loop;
	struct sim_end *ends[2];
	size_t i = 0;

	conn_attempt_cancel(a);
	while (i < host_count && !same_address(&hosts[i].address, &a->to))
		i++;
	if (!a->failed && i == host_count)
		a->failed = ECONNREFUSED;
	char text[NET_ADDRESS_TEXT];
	struct slice address = net_address_text(&a->to, text);
	sim_trace(machine_running(), "connects to %.*s%s%s", SLICE_ARGS(address), a->failed ? ": " : "",
		  a->failed ? strerror(a->failed) : "");
	if (a->failed) {
		a->connected(a->arg, -1, a->failed);
		return;
	}
	sim_stream(ends);
	ends[0]->from = a->to;
	ends[1]->is_peer = true;
	int fd = kernel_fd(FD_STREAM, ends[0], close_end, kernel_role(l));
	/* The world serves as itself, not as the role. */
	struct sim_heap *heap = sim_heap_use(NULL);
	hosts[i].serve(hosts[i].arg, ends[1]);
	sim_heap_use(heap);
	a->connected(a->arg, fd, 0);
}

static void attempt_over(void *arg, uint64_t number)
{
	struct conn_attempt *a = arg;

	(void)number;
	if (a->loop)
		kernel_ready(a->loop, &a->ready);
}

struct conn_attempt *conn_connect(struct loop *l, const struct net_address *to, span_ms timeout,
				  void (*connected)(void *arg, int fd, int error), void *arg)
{
	if (sim_memory_fails(sizeof(struct conn_attempt)))
		return NULL;
	struct conn_attempt *a = sim_alloc(sizeof *a);
	sim_us wait = sim_between(50, 30 * SIM_MS);

	*a = (struct conn_attempt){.object = {.drop = drop_attempt},
				   .ready = {.run = on_attempt},
				   .loop = l,
				   .to = *to,
				   .connected = connected,
				   .arg = arg};
	kernel_add(l, &a->object);
	sim_count(COUNT_TRIED);
	machine_step("connect");
	if (sim_chance(sim_plan.refuse)) {
		a->failed = ECONNREFUSED;
	} else if (sim_chance(sim_plan.unreachable) || same_address(to, &silent_place)) {
		a->failed = ETIMEDOUT;
		wait = timeout * SIM_MS;
	}
	if (a->failed)
		sim_count(COUNT_FAULT_REFUSED);
	sim_in(wait + kernel_cost(l), attempt_over, a, 0);
	return a;
}

/* ---- looking up -------------------------------------------------------------------------------------------------- */

struct conn_lookup {
	struct sim_object object; /* first */
	struct sim_ready ready;
	struct loop *loop; /* NULL: told or cancelled */
	struct net_address found[1];
	size_t count;
	const char *why;
	void (*tell)(void *arg, const struct net_address *list, size_t count, const char *why);
	void *arg;
};

static void drop_lookup(struct sim_object *o)
{
	struct conn_lookup *u = (struct conn_lookup *)o;

	kernel_unready(u->loop, &u->ready);
	u->loop = NULL;
}

void conn_lookup_cancel(struct conn_lookup *u)
{
	if (!u)
		return;
	kernel_remove(&u->object);
	drop_lookup(&u->object);
}

static void on_lookup(struct sim_ready *r)
{
	struct conn_lookup *u = (struct conn_lookup *)(void *)((char *)r - offsetof(struct conn_lookup, ready));

	conn_lookup_cancel(u);
	u->tell(u->arg, u->found, u->count, u->why);
}

static void lookup_over(void *arg, uint64_t number)
{
	struct conn_lookup *u = arg;

	(void)number;
	if (u->loop)
		kernel_ready(u->loop, &u->ready);
}

static void set_port(struct net_address *a, uint16_t port)
{
	char text[NET_ADDRESS_TEXT];
	struct slice ip = net_address_text(a, text);

	net_address_ip(ip, port, a);
}

struct conn_lookup *
conn_resolve(struct loop *l, struct slice host, uint16_t port,
	     void (*found)(void *arg, const struct net_address *list, size_t count, const char *why), void *arg)
{
	if (sim_memory_fails(sizeof(struct conn_lookup)))
		return NULL;
	struct conn_lookup *u = sim_alloc(sizeof *u);
	sim_us wait = sim_between(50, 20 * SIM_MS);

	*u = (struct conn_lookup){.object = {.drop = drop_lookup},
				  .ready = {.run = on_lookup},
				  .loop = l,
				  .tell = found,
				  .arg = arg,
				  .why = "no address"};
	kernel_add(l, &u->object);
	for (size_t i = 0; i < name_count && u->count == 0; i++)
		if (slice_ieq(host, slice_from_cstr(names[i].name))) {
			u->found[0] = names[i].address;
			set_port(&u->found[0], port);
			u->count = 1;
		}
	if (sim_chance(sim_plan.dns_fails)) {
		u->count = 0;
		u->why = "temporary failure in name resolution";
		wait = sim_chance(500000) ? 10 * SIM_SECOND : wait;
		sim_count(COUNT_FAULT_DNS);
	} else if (sim_chance(sim_plan.dns_empty)) {
		u->count = 0;
		sim_count(COUNT_FAULT_DNS);
	}
	if (sim_chance(sim_plan.dns_slow))
		wait += sim_between(SIM_SECOND, 20 * SIM_SECOND);
	sim_in(wait + kernel_cost(l), lookup_over, u, 0);
	return u;
}

/* ---- listening --------------------------------------------------------------------------------------------------- */

struct listener {
	struct sim_object object; /* first */
	struct loop *loop;
	struct sim_port *port;
	LIST_ENTRY(listener) link;
	void (*accepted)(void *arg, int fd, const struct net_address *from);
	void *arg;
	bool freed;
};

struct sim_port {
	LIST_HEAD(, listener) listeners;
};

struct arrival {
	struct sim_ready ready; /* first */
	struct sim_object object;
	struct listener *listener;
	struct sim_end *end;
};

struct sim_port *sim_port_new(void)
{
	struct sim_port *p = sim_alloc(sizeof *p);

	LIST_INIT(&p->listeners);
	return p;
}

static void close_port(void *object)
{
	(void)object; /* the supervisor keeps it */
}

int sim_port_fd(struct sim_port *port, struct role_instance *owner)
{
	return kernel_fd(FD_LISTENER, port, close_port, owner);
}

static void drop_listener(struct sim_object *o)
{
	struct listener *n = (struct listener *)o;

	LIST_REMOVE(n, link);
	n->freed = true;
}

struct listener *listener_new(struct loop *l, int fd, struct slice busy,
			      void (*accepted)(void *arg, int fd, const struct net_address *from), void *arg)
{
	(void)busy;
	if (sim_memory_fails(sizeof(struct listener))) {
		descriptor_close(fd);
		return NULL;
	}
	struct listener *n = sim_alloc(sizeof *n);
	*n = (struct listener){.object = {.drop = drop_listener},
			       .loop = l,
			       .port = kernel_fd_take(fd, FD_LISTENER),
			       .accepted = accepted,
			       .arg = arg};
	LIST_INSERT_HEAD(&n->port->listeners, n, link);
	kernel_add(l, &n->object);
	return n;
}

void listener_free(struct listener *n)
{
	if (!n)
		return;
	kernel_remove(&n->object);
	drop_listener(&n->object);
}

static void drop_arrival(struct sim_object *o)
{
	struct arrival *a = (struct arrival *)(void *)((char *)o - offsetof(struct arrival, object));

	sim_end_reset(a->end);
	sim_end_close(a->end);
}

static void on_arrival(struct sim_ready *r)
{
	struct arrival *a = (struct arrival *)r;

	kernel_remove(&a->object);
	if (a->listener->freed) {
		drop_arrival(&a->object);
		return;
	}
	struct loop *l = a->listener->loop;
	int fd = kernel_fd(FD_STREAM, a->end, close_end, kernel_role(l));
	machine_step("accept");
	a->listener->accepted(a->listener->arg, fd, &a->end->from);
}

struct sim_end *sim_dial(struct sim_port *port, const char *from)
{
	struct listener *n;
	struct sim_end *ends[2];
	size_t count = 0;

	LIST_FOREACH(n, &port->listeners, link)
	count++;
	if (count == 0)
		return NULL;
	size_t which = sim_below(count);
	LIST_FOREACH(n, &port->listeners, link)
	if (which-- == 0)
		break;
	sim_stream(ends);
	ends[0]->is_peer = true;
	net_address_ip(slice_from_cstr(from), 40000, &ends[1]->from);
	struct arrival *a = sim_alloc(sizeof *a);
	*a = (struct arrival){.ready = {.run = on_arrival},
			      .object = {.drop = drop_arrival, .left = true},
			      .listener = n,
			      .end = ends[1]};
	kernel_add(n->loop, &a->object);
	kernel_ready(n->loop, &a->ready);
	return ends[0];
}
