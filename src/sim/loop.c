/*
 * net/loop.h and net/descriptor.h over the simulated world.
 */
#include "net/loop.h"

#include "net/descriptor.h"
#include "sim/kernel.h"
#include "sim/machine.h"

#include <assert.h>
#include <stdlib.h>

struct loop {
	struct role_instance *role;
	mono_ms mono;
	wall_ms wall;
	sim_us cost;
	struct hash_key key;
	void (*turn)(void *arg);
	void *turn_arg;
	TAILQ_HEAD(, sim_ready) ready;
	TAILQ_HEAD(, sim_dirty) dirty;
	LIST_HEAD(, sim_object) objects;
};

/* Never freed: an event may still name it. */
struct loop_timer {
	struct sim_object object; /* first */
	struct sim_ready ready;
	struct loop *loop; /* NULL: freed */
	void (*fired)(void *arg);
	void *arg;
	mono_ms at;
	sim_us wakes; /* the earliest event that will look at it; INT64_MAX: none */
};

/* ---- descriptors ------------------------------------------------------------------------------------------------- */

static struct descriptor {
	enum fd_kind kind;
	void *object;
	void (*close)(void *object);
	struct role_instance *owner;
} * table;
static size_t table_n, table_cap, table_free;

#define FD_FIRST 1000 /* real ones are below: a mistake shows */

int kernel_fd(enum fd_kind kind, void *object, void (*close)(void *object), struct role_instance *owner)
{
	while (table_free < table_n && table[table_free].kind != FD_NONE)
		table_free++;
	if (table_free == table_cap) {
		table_cap = table_cap ? 2 * table_cap : 256;
		table = sim_realloc(table, table_cap * sizeof *table);
	}
	if (table_free == table_n)
		table_n++;
	table[table_free] = (struct descriptor){kind, object, close, owner};
	return (int)table_free++ + FD_FIRST;
}

static struct descriptor *descriptor_of(int fd)
{
	size_t i = (size_t)(fd - FD_FIRST);

	return fd >= FD_FIRST && i < table_n && table[i].kind != FD_NONE ? &table[i] : NULL;
}

static void forget(struct descriptor *d)
{
	size_t i = (size_t)(d - table);

	d->kind = FD_NONE;
	if (i < table_free)
		table_free = i;
}

void *kernel_fd_take(int fd, enum fd_kind kind)
{
	struct descriptor *d = descriptor_of(fd);

	assert(d && d->kind == kind);
	forget(d);
	return d->object;
}

void *kernel_fd_object(int fd, enum fd_kind kind)
{
	struct descriptor *d = descriptor_of(fd);

	return d && d->kind == kind ? d->object : NULL;
}

void descriptor_close(int fd)
{
	struct descriptor *d = descriptor_of(fd);

	if (!d) {
		sim_fail("%s closes descriptor %d, which is not open", machine_running(), fd);
		return;
	}
	struct descriptor copy = *d;
	forget(d);
	copy.close(copy.object);
}

size_t kernel_close_all(struct role_instance *owner)
{
	size_t count = 0;

	for (size_t i = 0; i < table_n; i++)
		if (table[i].kind != FD_NONE && table[i].owner == owner) {
			descriptor_close((int)i + FD_FIRST);
			count++;
		}
	return count;
}

/* ---- objects ----------------------------------------------------------------------------------------------------- */

struct loop *kernel_loop_new(struct role_instance *role)
{
	struct loop *l = sim_alloc(sizeof *l);

	*l = (struct loop){.role = role};
	l->key.k0 = sim_random();
	l->key.k1 = sim_random();
	TAILQ_INIT(&l->ready);
	TAILQ_INIT(&l->dirty);
	LIST_INIT(&l->objects);
	l->mono = sim_mono();
	l->wall = sim_wall();
	return l;
}

size_t kernel_loop_drop(struct loop *l)
{
	struct sim_object *o;
	size_t count = 0;

	while ((o = LIST_FIRST(&l->objects))) {
		count += !o->left;
		kernel_remove(o);
		o->drop(o);
	}
	return count;
}

struct role_instance *kernel_role(const struct loop *l)
{
	return l->role;
}

void kernel_ready(struct loop *l, struct sim_ready *r)
{
	if (!r->listed)
		TAILQ_INSERT_TAIL(&l->ready, r, link);
	r->listed = true;
	machine_wake(l->role);
}

void kernel_unready(struct loop *l, struct sim_ready *r)
{
	if (r->listed)
		TAILQ_REMOVE(&l->ready, r, link);
	r->listed = false;
}

void kernel_dirty(struct loop *l, struct sim_dirty *d)
{
	if (!d->listed)
		TAILQ_INSERT_TAIL(&l->dirty, d, link);
	d->listed = true;
	machine_wake(l->role);
}

void kernel_undirty(struct loop *l, struct sim_dirty *d)
{
	if (d->listed)
		TAILQ_REMOVE(&l->dirty, d, link);
	d->listed = false;
}

void kernel_add(struct loop *l, struct sim_object *o)
{
	LIST_INSERT_HEAD(&l->objects, o, link);
}

void kernel_remove(struct sim_object *o)
{
	LIST_REMOVE(o, link);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

bool kernel_is_ready(const struct loop *l)
{
	return !TAILQ_EMPTY(&l->ready);
}

sim_us kernel_cost(const struct loop *l)
{
	return l->cost;
}

void kernel_spend(sim_us time)
{
	struct role_instance *r = machine_current();

	if (r && r->loop)
		r->loop->cost += time;
}

sim_us kernel_now(void)
{
	struct role_instance *r = machine_current();

	return sim_now() + (r && r->loop ? r->loop->cost : 0);
}

static void flush_dirty(struct loop *l)
{
	struct sim_dirty *d;

	while ((d = TAILQ_FIRST(&l->dirty))) {
		kernel_undirty(l, d);
		d->flush(d);
	}
}

void kernel_turn(struct loop *l)
{
	struct sim_ready *r;
	size_t count = 0;

	l->mono = sim_mono();
	l->wall = sim_wall();
	l->cost = 0;
	TAILQ_FOREACH(r, &l->ready, link)
	count++;
	/* What becomes ready meanwhile is the next turn's. */
	while (count-- > 0 && (r = TAILQ_FIRST(&l->ready))) {
		kernel_unready(l, r);
		r->run(r);
	}
	if (l->turn)
		l->turn(l->turn_arg);
	flush_dirty(l);
}

/* ---- net/loop.h -------------------------------------------------------------------------------------------------- */

void loop_run(struct loop *l)
{
	(void)l;
	abort(); /* the machine runs the turns */
}

void loop_stop(struct loop *l)
{
	(void)l;
}

mono_ms loop_mono(struct loop *l)
{
	return l->mono;
}

wall_ms loop_wall(struct loop *l)
{
	return l->wall;
}

uint64_t loop_random(struct loop *l)
{
	(void)l;
	return sim_random();
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

static void drop_timer(struct sim_object *o)
{
	struct loop_timer *t = (struct loop_timer *)o;

	kernel_unready(t->loop, &t->ready);
	t->loop = NULL;
}

static struct loop_timer *timer_of(struct sim_ready *r)
{
	return (struct loop_timer *)(void *)((char *)r - offsetof(struct loop_timer, ready));
}

static void wait_for(struct loop_timer *t);

static void on_ready(struct sim_ready *r)
{
	struct loop_timer *t = timer_of(r);

	if (loop_mono(t->loop) < t->at) {
		wait_for(t);
		return;
	}
	t->at = NEVER;
	t->fired(t->arg); /* the product may have freed t */
}

static void on_time(void *arg, uint64_t number)
{
	struct loop_timer *t = arg;

	(void)number;
	if (!t->loop || t->wakes > sim_now())
		return;
	t->wakes = INT64_MAX;
	if (t->at != NEVER)
		kernel_ready(t->loop, &t->ready);
}

static void wait_for(struct loop_timer *t)
{
	span_ms wait = t->at - sim_mono();
	sim_us at;

	if (wait > 3650 * DAY)
		wait = 3650 * DAY;
	at = wait <= 0 ? kernel_now() : sim_now() + wait * SIM_MS + sim_between(0, SIM_MS);
	if (at >= t->wakes)
		return;
	t->wakes = at;
	sim_at(at, on_time, t, 0);
}

struct loop_timer *loop_timer_new(struct loop *l, void (*fired)(void *arg), void *arg)
{
	struct loop_timer *t = sim_alloc(sizeof *t);

	*t = (struct loop_timer){.object = {.drop = drop_timer},
				 .ready = {.run = on_ready},
				 .loop = l,
				 .fired = fired,
				 .arg = arg,
				 .at = NEVER,
				 .wakes = INT64_MAX};
	kernel_add(l, &t->object);
	return t;
}

void kernel_timer_left(struct loop_timer *t)
{
	t->object.left = true;
}

void loop_timer_set(struct loop_timer *t, mono_ms at)
{
	t->at = at;
	if (at == NEVER)
		kernel_unready(t->loop, &t->ready);
	else if (!t->ready.listed)
		wait_for(t);
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	kernel_unready(t->loop, &t->ready);
	kernel_remove(&t->object);
	t->loop = NULL;
}
