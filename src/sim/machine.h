/*
 * machine: the computer that the roles run on, and their supervisor.
 *
 * It starts the roles as src/role/supervisor.c does, connects each with the queue, starts again what died, stops them
 * in order, and cuts the power. A role can be interrupted at every step: each call that leaves its code. Then nothing
 * of it runs any more; its descriptors close, its memory goes.
 */
#ifndef SIM_MACHINE_H
#define SIM_MACHINE_H

#include "role/role.h"
#include "sim/kernel.h"
#include "sim/sim.h"

struct role_instance {
	enum role_kind kind;
	uint32_t index;
	const struct role_ops *ops;
	void *role;
	struct loop *loop;
	struct sim_heap *heap;
	struct role_self self;
	char name[24];
	unsigned life; /* counts its processes */
	bool alive, configured, ready, stopping, finished;
	int status;
	bool queue_lost, auth_lost; /* and no other connection came yet */
	bool turn_set;   /* an event will run its next turn */
	sim_us free_at;  /* it is busy until then */
	sim_us started;
};

#define MACHINE_ROLES 12

/* The configuration is read here; it must be right. */
void machine_configure(struct slice text);
const struct conf *machine_conf(void);
/* Nothing happens while the power is gone: it starts when it is back. */
void machine_start(void);
bool machine_is_up(void);
/* Orders an orderly stop; the machine is down when machine_is_down says so. */
void machine_stop(void);
bool machine_is_down(void);
void machine_reload(void);
void machine_power_cut(void);
void machine_kill(struct role_instance *r);
void machine_kill_all(void);
struct role_instance *machine_role(size_t i); /* NULL beyond the last */
struct sim_port *machine_port(void);

/* The role whose code runs; NULL: none. */
struct role_instance *machine_current(void);
const char *machine_running(void);
bool machine_may_lack_memory(void);
/* The running role leaves its code here: it may not come back. */
void machine_step(const char *what);
/* How the running role leaves its code for good. */
enum machine_death {
	DEATH_NONE,
	DEATH_KILLED,
	DEATH_ALL,
	DEATH_POWER,
};
/* The role of this name meets its death at this step, or at one of them after so many others. Lent for ever. */
void machine_trap(const char *role, const char *step, unsigned others, enum machine_death death);
/* The loop of a role has something to do. */
void machine_wake(struct role_instance *r);

#endif
