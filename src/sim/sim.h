/*
 * sim: the simulated world in which the product's own roles run.
 *
 * One process, one thread, one seed. The world is a heap of events by virtual time and sequence; the clock jumps to the
 * next one. The roles are the product's (src/role, src/queue, src/smtp, ...); what they reach the outside through, the
 * headers of src/net, base/heap.h and base/fs.h, is implemented here over simulated streams, channels, disks and
 * memory. The linker puts these in place of the real ones: nothing of the product knows.
 *
 * Every choice is drawn from the one generator, so the same seed gives the same run, event by event. A process runs one
 * world and ends: objects of the world are not freed one by one.
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "base/clock.h"
#include "base/slice.h"

#include <setjmp.h>
#include <stdio.h>

#define SIM_MS     ((sim_us)1000)
#define SIM_SECOND (1000 * SIM_MS)

typedef int64_t sim_us; /* microseconds since the world began */

struct role_instance;

/* ---- time and chance --------------------------------------------------------------------------------------------- */

sim_us sim_now(void);
/* Calls run(arg, number) when the time has come; events of one time keep their order. */
void sim_at(sim_us at, void (*run)(void *arg, uint64_t number), void *arg, uint64_t number);
void sim_in(sim_us wait, void (*run)(void *arg, uint64_t number), void *arg, uint64_t number);
/* Runs events until `until`, or until `done` (may be NULL) says so. */
void sim_run(sim_us until, bool (*done)(void));

void sim_seed(uint64_t seed);
/* From now on each draw gives the middle of what it may: nothing hangs on how many draws were before it. */
void sim_seed_steady(void);
uint64_t sim_random(void);
/* 0 to below - 1; below > 0. */
uint64_t sim_below(uint64_t below);
sim_us sim_between(sim_us least, sim_us most);
/* True once in a million, times `ppm`. */
bool sim_chance(uint32_t ppm);

/* The clocks of the machine that the roles run on. */
mono_ms sim_mono(void);
wall_ms sim_wall(void);
void sim_wall_jump(span_ms by);
void sim_wall_freeze(bool frozen);
/* The machine was off until now: its boot clock begins anew. */
void sim_boot(void);
unsigned sim_boots(void);

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Memory of the world, zeroed; never NULL. */
void *sim_alloc(size_t size);
void *sim_realloc(void *p, size_t size);
void sim_free(void *p);

/* Memory of one role: all that base/heap.h and SQLite gave while it ran. */
struct sim_heap;
struct sim_heap *sim_heap_new(void);
/* What is left goes at once, as when a process ends. */
void sim_heap_drop(struct sim_heap *h);
/* Who allocates from now on; NULL: the world. Returns the one before. */
struct sim_heap *sim_heap_use(struct sim_heap *h);
size_t sim_heap_blocks(const struct sim_heap *h);
size_t sim_heap_octets(const struct sim_heap *h);
size_t sim_heap_peak(const struct sim_heap *h);
/* Whether an allocation of the running role fails here: for what the kernel would allocate for it. */
bool sim_memory_fails(size_t size);
/* SQLite's memory comes from here too; once, before anything else of SQLite. */
void sim_heap_sqlite(void);

/* A growing run of octets of the world. */
struct octets {
	char *p;
	size_t n, cap;
};
void octets_add(struct octets *o, struct slice s);
void octets_take(struct octets *o, size_t n);
void octets_free(struct octets *o);
static inline struct slice octets_slice(const struct octets *o)
{
	return slice_of(o->p, o->n);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

/* One line of the trace: time, who, what. Costs nothing when nobody looks but the hash of the trace. */
void sim_trace(const char *who, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace_to(FILE *out);
/* The same for people who read all of it: times of the day, message ids as letters in the order in which they come
 * up, long lines folded, nothing of SQLite's, frames only when they are sent, and what stands in brackets only when
 * something follows within a second. NULL: no more. */
void sim_story_to(FILE *out);
/* A line end comes behind it; lines after the first begin with blanks. What has no blank to fold at stays long. */
void sim_print_folded(FILE *out, const char *text, size_t width, size_t indent);
uint64_t sim_trace_hash(void);
/* A property does not hold. The run goes on to its next step and ends there. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The first failure, or NULL. */
const char *sim_failure(void);

/* ---- figures ----------------------------------------------------------------------------------------------------- */

enum sim_count {
#define SIM_COUNT(id, group, text) id,
#include "sim/counts.def"
#undef SIM_COUNT
	SIM_COUNTS
};
void sim_count(enum sim_count what);
void sim_count_add(enum sim_count what, uint64_t by);
extern uint64_t sim_counts[SIM_COUNTS];
const char *sim_count_text(enum sim_count what);
const char *sim_count_group(enum sim_count what);

/* ---- faults ------------------------------------------------------------------------------------------------------ */

/* Which faults exist in this run, and how often: once in a million occasions. Drawn by sim/swarm.c; zero: never. */
struct sim_plan {
	/* disk */
	uint32_t write_error, sync_error, read_error, open_error, name_error, no_space, flip;
	uint32_t slow_sync, stuck_sync;
	/* network, by connection */
	uint32_t cut, stall, refuse, unreachable, half_close;
	uint32_t small_pieces;
	/* roles, by step */
	uint32_t die, power, all_die;
	uint32_t stop, reload;
	/* memory, by allocation */
	uint32_t no_memory;
	uint32_t sender_no_memory; /* of a sender's */
	/* of auth's alone: by step, by allocation, by password */
	uint32_t auth_dies, auth_no_memory, auth_stuck;
	/* DNS, by question */
	uint32_t dns_fails, dns_slow, dns_empty;
	/* peers */
	uint32_t tls_hidden, tls_refuses, tls_injects, tls_breaks, tls_unverified; /* where there is TLS */
	uint32_t peer_door, peer_defers, peer_refuses, peer_slow, peer_vanishes, peer_garbage;
	uint32_t client_vanishes, client_garbage, client_slow, client_retries;
	uint32_t client_leaves; /* by message: soon after its end went out */
	/* wall clock, when the power comes back */
	uint32_t wall_jump;
};
extern struct sim_plan sim_plan;
extern const struct sim_plan sim_no_faults;

#endif
