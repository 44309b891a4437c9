#include "net/loop.h"

#include "base/heap.h"
#include "net/log.h"
#include "net/loop_private.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include <event2/dns.h>
#include <event2/event.h>

#define SIGNALS_MAX 8
#define SYSTEM_MAX  ((size_t)1024 * 1024) /* of each file that the process is told */

struct caught {
	struct event *event;
	void (*caught)(void *arg, int signal);
	void *arg;
};

struct loop {
	struct event_base *base;
	struct evdns_base *dns;
	struct loop_system system;
	mono_ms mono;
	wall_ms wall;
	bool clocks_read; /* in this turn */
	bool stopped;
	struct hash_key key;
	void (*turn)(void *arg);
	void *turn_arg;
	struct caught signals[SIGNALS_MAX];
	size_t signal_count;
	TAILQ_HEAD(, loop_dirty) dirty;
	TAILQ_HEAD(, loop_orphan) orphans;
	char *shared;
};

struct loop_timer {
	struct loop *loop;
	struct event *event;
	void (*fired)(void *arg);
	void *arg;
	mono_ms at;    /* when it shall fire; NEVER: not running */
	mono_ms wakes; /* when libevent wakes it; never after `at` */
};

static int64_t clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000000;
}

/* The first question of a turn reads the clocks, after the wait; the rest of the turn sees the same time. */
static void read_clocks(struct loop *l)
{
	if (l->clocks_read)
		return;
	/* BOOTTIME goes on while the machine sleeps, as the outside world does. */
	l->mono = clock_ms(CLOCK_BOOTTIME);
	l->wall = clock_ms(CLOCK_REALTIME);
	l->clocks_read = true;
}

static uint64_t system_random(void)
{
	uint64_t value;

	/* Never a weaker source instead: without randomness nothing goes on (attacks C12). */
	if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value)
		abort();
	return value;
}

struct loop *loop_new(void)
{
	struct loop *l = heap_new(struct loop);
	struct event_config *config = event_config_new();

	if (!l || !config)
		goto fail;
	TAILQ_INIT(&l->dirty);
	TAILQ_INIT(&l->orphans);
	buf_init(&l->system.resolv_conf, SYSTEM_MAX);
	buf_init(&l->system.hosts, SYSTEM_MAX);
	event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	/* No precise timers: they cost a system call in each turn, and nothing here is due to less than a few ms. */
	l->base = event_base_new_with_config(config);
	l->shared = heap_alloc(LOOP_SHARED_BUFFER);
	if (!l->base || !l->shared)
		goto fail;
	event_config_free(config);
	l->key = (struct hash_key){system_random(), system_random()};
	return l;
fail:
	if (config)
		event_config_free(config);
	loop_free(l);
	return NULL;
}

static void flush_dirty(struct loop *l)
{
	struct loop_dirty *d;

	while ((d = TAILQ_FIRST(&l->dirty))) {
		loop_unmark_dirty(l, d);
		d->flush(d);
	}
}

static void end_orphans(struct loop *l)
{
	struct loop_orphan *o;

	while ((o = TAILQ_FIRST(&l->orphans)))
		o->end(o);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	if (l->base)
		flush_dirty(l); /* what was closed in the last turn */
	end_orphans(l);
	for (size_t i = 0; i < l->signal_count; i++)
		event_free(l->signals[i].event);
	if (l->dns)
		evdns_base_free(l->dns, 0);
	if (l->base)
		event_base_free(l->base);
	buf_free(&l->system.resolv_conf);
	buf_free(&l->system.hosts);
	heap_free(l->shared);
	heap_free(l);
}

static void end_turn(struct loop *l)
{
	if (l->turn)
		l->turn(l->turn_arg);
	flush_dirty(l);
	log_flush();
	l->clocks_read = false;
}

void loop_run(struct loop *l)
{
	l->stopped = false;
	end_turn(l);
	while (!l->stopped) {
		if (event_base_loop(l->base, EVLOOP_ONCE) < 0)
			abort();
		end_turn(l);
	}
}

void loop_stop(struct loop *l)
{
	l->stopped = true;
}

mono_ms loop_mono(struct loop *l)
{
	read_clocks(l);
	return l->mono;
}

wall_ms loop_wall(struct loop *l)
{
	read_clocks(l);
	return l->wall;
}

uint64_t loop_random(struct loop *l)
{
	(void)l;
	return system_random();
}

struct hash_key loop_hash_key(const struct loop *l)
{
	return l->key;
}

void loop_on_turn(struct loop *l, void (*turn)(void *arg), void *arg)
{
	l->turn = turn;
	l->turn_arg = arg;
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct caught *c = arg;

	(void)what;
	c->caught(c->arg, (int)number);
}

void loop_on_signal(struct loop *l, int number, void (*caught)(void *arg, int signal), void *arg)
{
	assert(l->signal_count < SIGNALS_MAX);
	struct caught *c = &l->signals[l->signal_count];

	*c = (struct caught){.caught = caught, .arg = arg};
	c->event = evsignal_new(l->base, number, on_signal, c);
	if (!c->event || event_add(c->event, NULL) < 0)
		abort();
	l->signal_count++;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop_timer *t = arg;

	(void)fd;
	(void)what;
	/* libevent counts on another clock: when it is early by a hair, wait for the rest. */
	if (loop_mono(t->loop) < t->at) {
		loop_timer_set(t, t->at);
		return;
	}
	t->at = NEVER;
	t->fired(t->arg); /* t may be gone */
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fired)(void *arg), void *arg)
{
	struct loop_timer *t = heap_new(struct loop_timer);

	if (!t)
		return NULL;
	*t = (struct loop_timer){.loop = l, .fired = fired, .arg = arg, .at = NEVER};
	t->event = evtimer_new(l->base, on_timer, t);
	if (!t->event) {
		heap_free(t);
		return NULL;
	}
	return t;
}

/* A timer that is moved later is left where it is: it wakes early, sees that, and sleeps on. Sessions move their
 * deadline with each command; this keeps them off the heap. */
void loop_timer_set(struct loop_timer *t, mono_ms at)
{
	bool running = t->at != NEVER && evtimer_pending(t->event, NULL);

	if (at == NEVER) {
		if (running)
			evtimer_del(t->event);
		t->at = NEVER;
		return;
	}
	if (running && at >= t->wakes) {
		t->at = at;
		return;
	}

	span_ms wait = at > loop_mono(t->loop) ? at - loop_mono(t->loop) : 0;
	struct timeval tv = {.tv_sec = wait / SECOND, .tv_usec = wait % SECOND * 1000};
	t->at = at;
	t->wakes = at;
	evtimer_add(t->event, &tv);
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	event_free(t->event);
	heap_free(t);
}

struct event_base *loop_base(struct loop *l)
{
	return l->base;
}

char *loop_shared_buffer(struct loop *l)
{
	return l->shared;
}

void loop_mark_dirty(struct loop *l, struct loop_dirty *d)
{
	if (d->listed)
		return;
	d->listed = true;
	TAILQ_INSERT_TAIL(&l->dirty, d, link);
}

void loop_unmark_dirty(struct loop *l, struct loop_dirty *d)
{
	if (!d->listed)
		return;
	d->listed = false;
	TAILQ_REMOVE(&l->dirty, d, link);
}

void loop_adopt(struct loop *l, struct loop_orphan *o, void (*end)(struct loop_orphan *o))
{
	assert(!o->end);
	o->end = end;
	TAILQ_INSERT_TAIL(&l->orphans, o, link);
}

void loop_release(struct loop *l, struct loop_orphan *o)
{
	if (!o->end)
		return;
	TAILQ_REMOVE(&l->orphans, o, link);
	o->end = NULL;
}

struct evdns_base *loop_dns(struct loop *l)
{
	if (!l->dns)
		l->dns = loop_dns_new(l->base, &l->system);
	return l->dns;
}

bool loop_set_system(struct loop *l, struct slice resolv_conf, struct slice hosts)
{
	buf_reset(&l->system.resolv_conf);
	buf_reset(&l->system.hosts);
	l->system.told = true;
	bool good = buf_add(&l->system.resolv_conf, resolv_conf);
	return buf_add(&l->system.hosts, hosts) && good;
}

const struct loop_system *loop_system(const struct loop *l)
{
	return &l->system;
}
