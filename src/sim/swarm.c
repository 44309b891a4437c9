/*
 * The swarm: each run draws which faults exist in it at all, then how often they come. A run with few of them goes
 * where a run with all of them never would.
 */
#include "sim/machine.h"
#include "sim/run.h"

#include <stddef.h>

/* A fault with the least and the most that it may be drawn to, once in a million. */
static const struct {
	size_t member;
	uint32_t least, most;
	uint32_t exists; /* in how many runs, of a million */
} faults[] = {
#define FAULT(member, least, most, exists)                             \
	{                                                              \
		offsetof(struct sim_plan, member), least, most, exists \
	}
	FAULT(write_error, 50, 5000, 150000),
	FAULT(sync_error, 1000, 60000, 150000),
	FAULT(read_error, 50, 5000, 120000),
	FAULT(open_error, 200, 20000, 120000),
	FAULT(name_error, 200, 20000, 120000),
	FAULT(no_space, 200, 20000, 120000),
	FAULT(flip, 20000, 800000, 200000),
	FAULT(slow_sync, 1000, 100000, 200000),
	FAULT(stuck_sync, 200, 5000, 100000),
	FAULT(cut, 10000, 400000, 400000),
	FAULT(stall, 100, 5000, 200000),
	FAULT(refuse, 10000, 400000, 200000),
	FAULT(unreachable, 10000, 200000, 150000),
	FAULT(half_close, 10000, 300000, 200000),
	FAULT(small_pieces, 10000, 1000000, 300000),
	FAULT(die, 20, 1500, 400000),
	FAULT(power, 10, 800, 350000),
	FAULT(all_die, 10, 400, 150000),
	FAULT(no_memory, 5, 500, 150000),
	FAULT(dns_fails, 10000, 900000, 200000),
	FAULT(dns_slow, 10000, 500000, 150000),
	FAULT(dns_empty, 10000, 300000, 100000),
	FAULT(peer_door, 50000, 800000, 150000),
	FAULT(peer_defers, 5000, 300000, 400000),
	FAULT(peer_refuses, 1000, 50000, 200000),
	FAULT(peer_slow, 1000, 60000, 250000),
	FAULT(peer_vanishes, 1000, 80000, 300000),
	FAULT(peer_garbage, 500, 30000, 150000),
	FAULT(client_vanishes, 1000, 60000, 250000),
	FAULT(client_garbage, 10000, 500000, 250000),
	FAULT(client_slow, 10000, 300000, 250000),
#undef FAULT
};

enum disk_kind swarm_disk(void)
{
	return (enum disk_kind)sim_below(DISK_LIAR);
}

/*
 * What is lost only when several rare things meet, within seconds, gets runs of its own: every eighth seed takes one of
 * these on top of what it drew. The others do not draw for them.
 */
#define STORMS_EVERY 8
#define STORM_RATES  6

static const struct {
	const char *name;
	struct {
		size_t member;
		uint32_t least, most;
	} rates[STORM_RATES];
} storms[] = {
#define RATE(member, least, most)                              \
	{                                                      \
		offsetof(struct sim_plan, member), least, most \
	}
	{"syncs fail, and the power goes", {RATE(sync_error, 20000, 200000), RATE(power, 300, 3000)}},
	{"syncs fail, and roles die", {RATE(sync_error, 20000, 200000), RATE(die, 200, 2000), RATE(power, 50, 500)}},
	{"memory is out", {RATE(no_memory, 300, 5000)}},
	/* They allocate so seldom beside a queue. */
	{"senders have no memory", {RATE(sender_no_memory, 20000, 200000)}},
	{"the power takes the time along", {RATE(power, 100, 1000), RATE(wall_jump, 300000, 900000)}},
	{"a slow disk, and nobody waits for it",
	 {RATE(slow_sync, 100000, 400000), RATE(stuck_sync, 1000, 20000), RATE(client_leaves, 100000, 600000),
	  RATE(die, 50, 500), RATE(no_space, 5000, 50000), RATE(sync_error, 20000, 100000)}},
#undef RATE
};

static void draw_storm(uint64_t seed)
{
	if (seed % STORMS_EVERY != STORMS_EVERY - 1)
		return;
	size_t which = (size_t)(seed / STORMS_EVERY % (sizeof storms / sizeof *storms));
	for (size_t i = 0; i < STORM_RATES && storms[which].rates[i].most > 0; i++) {
		uint32_t *rate = (uint32_t *)(void *)((char *)&sim_plan + storms[which].rates[i].member);
		*rate = (uint32_t)sim_between(storms[which].rates[i].least, storms[which].rates[i].most);
	}
	sim_trace("world", "storm: %s", storms[which].name);
}

/* Each fifth world has TLS. Faults of it are drawn there only, so that the others are what they were without. */
#define TLS_EVERY 5

enum smtp_client_tls swarm_tls(uint64_t seed)
{
	if (seed % TLS_EVERY != TLS_EVERY - 1)
		return SMTP_CLIENT_TLS_OFF;
	return (enum smtp_client_tls)(SMTP_CLIENT_TLS_OPPORTUNISTIC + seed / TLS_EVERY % 3);
}

static void draw_tls(uint64_t seed)
{
	uint32_t *const rates[] = {&sim_plan.tls_hidden, &sim_plan.tls_refuses, &sim_plan.tls_injects,
				   &sim_plan.tls_breaks, &sim_plan.tls_unverified};

	for (size_t i = 0; swarm_tls(seed) && i < sizeof rates / sizeof *rates; i++)
		if (sim_chance(300000))
			*rates[i] = (uint32_t)sim_between(10000, 600000);
}

/* In each sixth world users log in, with what may happen to that. */
#define USERS_EVERY 6

bool swarm_users(uint64_t seed)
{
	return seed % USERS_EVERY == USERS_EVERY - 3;
}

static void draw_users(uint64_t seed)
{
	if (!swarm_users(seed))
		return;
	if (sim_chance(300000))
		sim_plan.auth_stuck = (uint32_t)sim_between(5000, 200000);
	if (sim_chance(400000))
		sim_plan.auth_dies = (uint32_t)sim_between(500, 30000);
	if (sim_chance(300000))
		sim_plan.auth_no_memory = (uint32_t)sim_between(100, 3000);
}

static bool healed;

void swarm_jump(void)
{
	static const span_ms reach[] = {10 * SECOND, HOUR, DAY, 40 * DAY, 3650 * DAY};
	span_ms most = reach[sim_below(5)];

	if (healed)
		return;
	sim_count(COUNT_FAULT_CLOCK);
	sim_wall_jump(sim_chance(500000) ? most : -most);
}

static void jump(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	swarm_jump();
}

static void freeze(void *arg, uint64_t frozen)
{
	(void)arg;
	if (frozen && healed)
		return;
	sim_wall_freeze(frozen);
	if (frozen)
		sim_count(COUNT_FAULT_CLOCK);
}

static void start_again(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	if (machine_is_down())
		machine_start();
	else
		sim_in(SIM_SECOND, start_again, NULL, 0);
}

static void stop(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	if (healed || !machine_is_up())
		return;
	sim_count(COUNT_FAULT_STOP);
	machine_stop();
	sim_in(sim_between(SIM_SECOND, 60 * SIM_SECOND), start_again, NULL, 0);
}

static void reload(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	if (healed)
		return;
	sim_count(COUNT_FAULT_RELOAD);
	machine_reload();
}

static void fill_disk(void *arg, uint64_t full)
{
	(void)arg;
	if (full && healed)
		return;
	disk_capacity(full ? disk_used() + sim_below(2 << 20) : (uint64_t)1 << 30);
	sim_trace("disk", "%s", full ? "is filled by others" : "has room again");
}

static void sprinkle(uint32_t exists, size_t most, sim_us until, void (*what)(void *arg, uint64_t number))
{
	if (!sim_chance(exists))
		return;
	for (size_t n = 1 + sim_below(most); n > 0; n--)
		sim_at(sim_between(0, until), what, NULL, 1);
}

void swarm_draw(uint64_t seed, sim_us until)
{
	bool calm = sim_chance(30000);

	for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
		uint32_t *rate = (uint32_t *)(void *)((char *)&sim_plan + faults[i].member);
		/* As often small as great. */
		uint64_t most = faults[i].most;
		for (uint64_t halvings = sim_below(6); halvings > 0 && most / 2 > faults[i].least; halvings--)
			most /= 2;
		if (!calm && sim_chance(faults[i].exists))
			*rate = (uint32_t)sim_between(faults[i].least, (sim_us)most);
	}
	if (calm)
		return;
	draw_storm(seed);
	draw_tls(seed);
	draw_users(seed);
	/* Where one host refuses at its door, the next one may be gone. */
	if (sim_plan.peer_door && sim_chance(500000))
		sim_plan.refuse = (uint32_t)sim_between(100000, 600000);
	sprinkle(150000, 6, until, jump);
	if (sim_chance(80000)) {
		sim_us from = sim_between(0, until);
		sim_at(from, freeze, NULL, 1);
		sim_at(sim_between(from, until), freeze, NULL, 0);
	}
	sprinkle(200000, 3, until, stop);
	sprinkle(150000, 4, until, reload);
	if (sim_chance(120000)) {
		sim_us from = sim_between(0, until);
		sim_at(from, fill_disk, NULL, 1);
		sim_at(sim_between(from, until), fill_disk, NULL, 0);
	}
}

void swarm_heal(void)
{
	healed = true;
	sim_plan = sim_no_faults;
	fill_disk(NULL, 0);
	freeze(NULL, 0);
	sim_trace("world", "heals");
}
