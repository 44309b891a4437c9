#include "sim/machine.h"

#include "base/heap.h"
#include "net/descriptor.h"
#include "net/fs_posix.h"
#include "sim/disk.h"
#include "sim/ledger.h"
#include "sim/pipe.h"
#include "sim/run.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESTART_AFTER  SIM_SECOND /* as the supervisor does with a role that died soon after it was started */
#define SOON           (2 * SIM_SECOND)
#define STAGE_PATIENCE (15 * SIM_SECOND)

static struct {
	struct conf *conf;
	struct sim_port *port;
	struct role_instance roles[MACHINE_ROLES];
	size_t count;
	struct role_instance *current;
	jmp_buf out;
	bool up, stopping;
	bool dark;      /* the power is gone */
	struct role_instance *auth; /* NULL: there is none */
	uint64_t stage; /* counts stops, so that patience of a former one does nothing */
	struct {
		const char *role, *step; /* NULL: none */
		unsigned others;
		enum machine_death death;
	} trap;
	unsigned at;    /* 0: receivers, 1: couriers, 2: the queue */
} machine;

struct role_instance *machine_current(void)
{
	return machine.current;
}

const char *machine_running(void)
{
	return machine.current ? machine.current->name : "world";
}

/* Out of memory at the very start is the supervisor's to answer, with another start; in the middle it is the role's. */
bool machine_may_lack_memory(void)
{
	return machine.current && machine.current->configured;
}

struct role_instance *machine_role(size_t i)
{
	return i < machine.count ? &machine.roles[i] : NULL;
}

struct sim_port *machine_port(void)
{
	return machine.port;
}

const struct conf *machine_conf(void)
{
	return machine.conf;
}

void machine_configure(struct slice text)
{
	static struct conf_error error;
	struct conf_host host = {.name = SLICE("sim.example"), .cores = 1};
	struct conf *c = conf_load_text(text, "simulation", &host, &error);

	if (!c) {
		fprintf(stderr, "%.*s", (int)error.length, error.text);
		abort();
	}
	machine.conf = c;
}

/* ---- running a role ---------------------------------------------------------------------------------------------- */

static void role_started(struct role_instance *r);
static void start_role(struct role_instance *r);
static void role_is_gone(struct role_instance *r);

static void enter(struct role_instance *r)
{
	assert(!machine.current);
	machine.current = r;
	sim_heap_use(r->heap);
}

static void leave(void)
{
	machine.current = NULL;
	sim_heap_use(NULL);
}

void machine_trap(const char *role, const char *step, unsigned others, enum machine_death death)
{
	machine.trap.role = role;
	machine.trap.step = step;
	machine.trap.others = others;
	machine.trap.death = death;
}

static enum machine_death trapped(const char *what)
{
	if (!machine.trap.role || strcmp(machine.trap.step, what) != 0 ||
	    strcmp(machine.trap.role, machine.current->name) != 0 || machine.trap.others-- > 0)
		return DEATH_NONE;
	machine.trap.role = NULL;
	return machine.trap.death;
}

static enum machine_death drawn(void)
{
	if (sim_chance(machine.current == machine.auth ? sim_plan.auth_dies : 0) || sim_chance(sim_plan.die))
		return DEATH_KILLED;
	if (sim_chance(sim_plan.power))
		return DEATH_POWER;
	return sim_chance(sim_plan.all_die) ? DEATH_ALL : DEATH_NONE;
}

void machine_step(const char *what)
{
	if (!machine.current)
		return;
	enum machine_death death = trapped(what);
	if (death == DEATH_NONE)
		death = drawn();
	if (death == DEATH_NONE)
		return;
	sim_trace(machine.current->name, "%s at: %s",
		  death == DEATH_KILLED ? "killed"
		  : death == DEATH_ALL  ? "all are killed"
					: "the power goes",
		  what);
	longjmp(machine.out, death);
}

static void die(struct role_instance *r, enum machine_death death)
{
	leave();
	if (death == DEATH_POWER)
		machine_power_cut();
	else if (death == DEATH_ALL)
		machine_kill_all();
	else
		machine_kill(r);
}

/* Runs `act` as the role. False: it did not come back. */
static bool run_as(struct role_instance *r, void (*act)(struct role_instance *r))
{
	int death = setjmp(machine.out);

	if (death) {
		die(machine.current, (enum machine_death)death);
		return false;
	}
	enter(r);
	act(r);
	leave();
	return true;
}

static void act_turn(struct role_instance *r)
{
	kernel_turn(r->loop);
}

static void act_end(struct role_instance *r)
{
	r->ops->end(r->role);
}

/* It ended in order: nothing of it may be left. */
static void end_role(struct role_instance *r)
{
	unsigned life = r->life;

	if (!run_as(r, act_end) || r->life != life || !r->alive)
		return;
	kernel_turn(r->loop); /* what was closed in its last turn */
	size_t objects = kernel_loop_drop(r->loop);
	size_t files = kernel_close_all(r);
	if (sim_heap_blocks(r->heap) > 0 || objects > 0 || files > 0)
		sim_fail("%s ended and left %zu blocks of memory, %zu objects of its loop, %zu descriptors", r->name,
			 sim_heap_blocks(r->heap), objects, files);
	sim_trace(r->name, "ended with status %d", r->status);
	ledger_role_ended(r);
	r->alive = false;
	sim_heap_drop(r->heap);
	r->heap = NULL;
	r->loop = NULL;
	role_is_gone(r);
}

static void turn(void *arg, uint64_t life)
{
	struct role_instance *r = arg;

	if (!r->alive || r->life != life)
		return;
	r->turn_set = false;
	sim_count(COUNT_TURNS);
	if (!run_as(r, act_turn))
		return;
	r->free_at = sim_now() + kernel_cost(r->loop) + sim_between(10, 150);
	if (r->finished)
		end_role(r);
	else if (kernel_is_ready(r->loop))
		machine_wake(r);
}

void machine_wake(struct role_instance *r)
{
	/* What a turn makes ready is looked at when it ends. */
	if (r->turn_set || !r->alive || machine.current == r)
		return;
	r->turn_set = true;
	sim_at(r->free_at > sim_now() ? r->free_at : sim_now(), turn, r, r->life);
}

/* ---- the supervisor's words -------------------------------------------------------------------------------------- */

enum word {
	WORD_CONFIGURE,
	WORD_LISTENER,
	WORD_PEER,
	WORD_DRAIN,
	WORD_STOP,
};

struct order {
	struct sim_ready ready; /* first */
	struct sim_object object;
	struct role_instance *role;
	enum word word;
	struct wire_peer peer;
	uint32_t number;
	int fd;
};

static void drop_order(struct sim_object *o)
{
	struct order *order = (struct order *)(void *)((char *)o - offsetof(struct order, object));

	if (order->fd >= 0)
		descriptor_close(order->fd);
}

static void configure(struct role_instance *r)
{
	if (!r->ops->configure(r->role, machine.conf) && !r->configured) {
		r->finished = true;
		r->status = 78;
		return;
	}
	r->configured = true;
}

static void on_order(struct sim_ready *ready)
{
	struct order *o = (struct order *)ready;
	struct role_instance *r = o->role;

	if (r->finished)
		return;
	kernel_remove(&o->object);
	switch (o->word) {
	case WORD_CONFIGURE:
		configure(r);
		break;
	case WORD_LISTENER:
		r->ops->listener(r->role, o->number, o->fd);
		break;
	case WORD_PEER:
		if (o->peer.kind == ROLE_QUEUE)
			r->queue_lost = false;
		if (o->peer.kind == ROLE_AUTH)
			r->auth_lost = false;
		r->ops->peer(r->role, o->peer, o->fd);
		break;
	case WORD_DRAIN:
		if (r->ops->drain)
			r->ops->drain(r->role);
		break;
	case WORD_STOP:
		r->ops->stop(r->role);
		break;
	}
}

static struct order *tell(struct role_instance *r, enum word word)
{
	struct order *o = sim_alloc(sizeof *o);

	*o = (struct order){.ready = {.run = on_order},
			    .object = {.drop = drop_order, .left = true},
			    .role = r,
			    .word = word,
			    .fd = -1};
	kernel_add(r->loop, &o->object);
	kernel_ready(r->loop, &o->ready);
	return o;
}

static void tell_listeners(struct role_instance *r)
{
	if (r->kind != ROLE_RECEIVER)
		return;
	for (uint32_t i = 0; i < machine.conf->listener_count; i++) {
		struct order *o;
		if (machine.conf->listeners[i].socket.n)
			continue;
		o = tell(r, WORD_LISTENER);
		o->number = i;
		o->fd = sim_port_fd(machine.port, r);
	}
}

static void connect_roles(struct role_instance *a, struct role_instance *b)
{
	int fds[2];

	if (!a->alive || !b->alive)
		return;
	pipe_new(a, b, fds);
	struct order *o = tell(a, WORD_PEER);
	o->peer = (struct wire_peer){b->kind, b->index};
	o->fd = fds[0];
	o = tell(b, WORD_PEER);
	o->peer = (struct wire_peer){a->kind, a->index};
	o->fd = fds[1];
}

static void tell_ready(void *arg)
{
	((struct role_instance *)arg)->ready = true;
}

static void tell_finished(void *arg, int status)
{
	struct role_instance *r = arg;

	r->finished = true;
	r->status = status;
}

/* As role.c and the supervisor do: two seconds later, again and again. */
static void ask_for_queue(void *arg, uint64_t life)
{
	struct role_instance *r = arg;

	if (!r->alive || r->life != life || !r->queue_lost || r->finished)
		return;
	connect_roles(&machine.roles[0], r);
	sim_in(2 * SIM_SECOND, ask_for_queue, r, life);
}

static void queue_lost(void *arg)
{
	struct role_instance *r = arg;

	if (r->queue_lost)
		return;
	r->queue_lost = true;
	sim_in(2 * SIM_SECOND, ask_for_queue, r, r->life);
}

static void ask_for_auth(void *arg, uint64_t life)
{
	struct role_instance *r = arg;

	if (!r->alive || r->life != life || !r->auth_lost || r->finished)
		return;
	connect_roles(machine.auth, r);
	sim_in(2 * SIM_SECOND, ask_for_auth, r, life);
}

static void auth_lost(void *arg)
{
	struct role_instance *r = arg;

	if (r->auth_lost)
		return;
	r->auth_lost = true;
	sim_in(2 * SIM_SECOND, ask_for_auth, r, r->life);
}

static void on_turn(void *arg)
{
	struct role_instance *r = arg;

	if (r->configured && !r->finished && r->ops->turn)
		r->ops->turn(r->role);
}

static void act_start(struct role_instance *r)
{
	r->role = r->ops->start(r->loop, &r->self);
}

static void start_role(struct role_instance *r)
{
	r->life++;
	r->alive = true;
	r->configured = r->ready = r->finished = r->turn_set = r->queue_lost = r->auth_lost = false;
	r->status = 0;
	r->started = sim_now();
	r->free_at = sim_now() + sim_between(2 * SIM_MS, 30 * SIM_MS);
	r->heap = sim_heap_new();
	r->loop = kernel_loop_new(r);
	r->self = (struct role_self){.kind = r->kind,
				     .index = r->index,
				     .ready = tell_ready,
				     .finished = tell_finished,
				     .queue_lost = queue_lost,
				     .auth_lost = auth_lost,
				     .arg = r};
	sim_trace(r->name, "starts");
	loop_on_turn(r->loop, on_turn, r);
	if (!run_as(r, act_start))
		return;
	if (!r->role) {
		machine_kill(r);
		return;
	}
	role_started(r);
}

/* The queue to all but auth, auth to receivers. */
static bool talks_to(const struct role_instance *a, const struct role_instance *b)
{
	return (a->kind == ROLE_QUEUE && b->kind != ROLE_QUEUE && b->kind != ROLE_AUTH) ||
	       (a->kind == ROLE_AUTH && b->kind == ROLE_RECEIVER);
}

static void role_started(struct role_instance *r)
{
	tell(r, WORD_CONFIGURE);
	tell_listeners(r);
	for (size_t i = 0; i < machine.count; i++)
		if (talks_to(r, &machine.roles[i]))
			connect_roles(r, &machine.roles[i]);
		else if (talks_to(&machine.roles[i], r))
			connect_roles(&machine.roles[i], r);
}

/* ---- dying and stopping ------------------------------------------------------------------------------------------ */

static void start_again(void *arg, uint64_t life)
{
	struct role_instance *r = arg;

	if (machine.up && !machine.stopping && !r->alive && r->life == life)
		start_role(r);
}

static void next_stage(void);

static void role_is_gone(struct role_instance *r)
{
	if (machine.stopping)
		next_stage();
	else if (machine.up)
		sim_in(sim_now() - r->started < SOON ? RESTART_AFTER : SIM_MS, start_again, r, r->life);
}

static void take_down(struct role_instance *r)
{
	r->alive = false;
	kernel_loop_drop(r->loop);
	kernel_close_all(r);
	sim_heap_drop(r->heap);
	r->heap = NULL;
	r->loop = NULL;
	r->role = NULL;
}

void machine_kill(struct role_instance *r)
{
	if (!r->alive)
		return;
	sim_trace(r->name, "died");
	sim_count(COUNT_FAULT_DIED);
	ledger_role_died(r);
	take_down(r);
	role_is_gone(r);
}

void machine_kill_all(void)
{
	sim_count(COUNT_FAULT_ALL);
	for (size_t i = 0; i < machine.count; i++)
		machine_kill(&machine.roles[i]);
}

static void power_comes_back(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	sim_boot();
	if (sim_chance(sim_plan.wall_jump))
		swarm_jump();
	machine.dark = false;
	sim_trace("machine", "the power is back");
	machine_start();
}

void machine_power_cut(void)
{
	if (!machine.up)
		return;
	sim_count(COUNT_FAULT_POWER);
	machine.up = machine.stopping = false;
	machine.dark = true;
	for (size_t i = 0; i < machine.count; i++)
		if (machine.roles[i].alive) {
			ledger_role_died(&machine.roles[i]);
			take_down(&machine.roles[i]);
		}
	disk_crash();
	ledger_power_cut();
	sim_trace("machine", "the power is gone");
	sim_in(sim_between(SIM_SECOND, 100 * SIM_SECOND), power_comes_back, NULL, 0);
}

static void add_role(enum role_kind kind, const struct role_ops *ops, uint32_t index)
{
	assert(machine.count < MACHINE_ROLES);
	struct role_instance *r = &machine.roles[machine.count++];

	*r = (struct role_instance){.kind = kind, .index = index, .ops = ops};
	snprintf(r->name, sizeof r->name, kind == ROLE_RECEIVER || kind == ROLE_SENDER ? "%s-%u" : "%s",
		 role_name(kind), index);
}

void machine_start(void)
{
	if (machine.count == 0) {
		machine.port = sim_port_new();
		/* As the supervisor does, once for good. */
		int error = fs_posix_make_root(machine.conf->data_dir.p);
		assert(error == 0);
		add_role(ROLE_QUEUE, &queue_role, 0);
		add_role(ROLE_MAILBOX, &mailbox_role, 0);
		for (uint32_t i = 0; i < machine.conf->senders; i++)
			add_role(ROLE_SENDER, &sender_role, i);
		for (uint32_t i = 0; i < machine.conf->receivers; i++)
			add_role(ROLE_RECEIVER, &receiver_role, i);
		if (conf_has_auth(machine.conf)) {
			add_role(ROLE_AUTH, &auth_role, 0);
			machine.auth = &machine.roles[machine.count - 1];
		}
	}
	if (machine.dark)
		return;
	machine.up = true;
	machine.stopping = false;
	for (size_t i = 0; i < machine.count; i++)
		if (!machine.roles[i].alive && machine.up)
			start_role(&machine.roles[i]);
}

bool machine_is_up(void)
{
	if (!machine.up || machine.stopping)
		return false;
	for (size_t i = 0; i < machine.count; i++)
		if (!machine.roles[i].alive || !machine.roles[i].ready)
			return false;
	return true;
}

bool machine_is_down(void)
{
	return !machine.up;
}

static unsigned stage_of(enum role_kind kind)
{
	return kind == ROLE_RECEIVER ? 0 : kind == ROLE_QUEUE ? 2 : 1;
}

static void out_of_patience(void *arg, uint64_t stage)
{
	(void)arg;
	if (!machine.stopping || machine.stage != stage)
		return;
	unsigned at = machine.at;
	for (size_t i = 0; i < machine.count; i++)
		if (machine.roles[i].alive && stage_of(machine.roles[i].kind) == at)
			machine_kill(&machine.roles[i]);
}

static bool stage_is_empty(unsigned stage)
{
	for (size_t i = 0; i < machine.count; i++)
		if (machine.roles[i].alive && stage_of(machine.roles[i].kind) == stage)
			return false;
	return true;
}

static void begin_stage(void)
{
	machine.stage++;
	for (size_t i = 0; i < machine.count; i++)
		if (machine.roles[i].alive && stage_of(machine.roles[i].kind) == machine.at)
			tell(&machine.roles[i], WORD_STOP);
	sim_in(STAGE_PATIENCE, out_of_patience, NULL, machine.stage);
}

static void next_stage(void)
{
	unsigned at = machine.at;

	while (machine.at < 3 && stage_is_empty(machine.at))
		machine.at++;
	if (machine.at == at)
		return;
	if (machine.at < 3) {
		begin_stage();
		return;
	}
	machine.up = machine.stopping = false;
	sim_trace("machine", "all roles have ended");
}

/* A role that is not configured yet cannot be told to stop: the real one's frames come in order. */
void machine_stop(void)
{
	if (!machine.up || machine.stopping)
		return;
	sim_trace("machine", "is stopped in order");
	machine.stopping = true;
	machine.at = 0;
	if (machine.roles[0].alive)
		tell(&machine.roles[0], WORD_DRAIN);
	if (stage_is_empty(0))
		next_stage();
	else
		begin_stage();
}

void machine_reload(void)
{
	if (!machine.up || machine.stopping)
		return;
	sim_trace("machine", "reads its configuration again");
	for (size_t i = 0; i < machine.count; i++)
		if (machine.roles[i].alive) {
			tell(&machine.roles[i], WORD_CONFIGURE);
			tell_listeners(&machine.roles[i]);
		}
}
