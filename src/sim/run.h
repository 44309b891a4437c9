/*
 * run: one run of the world from a seed: a swarm of faults for a while, then everything heals, then the ledger is
 * closed.
 */
#ifndef SIM_RUN_H
#define SIM_RUN_H

#include "sim/disk.h"
#include "smtp/client.h"

struct run_options {
	uint64_t seed;
	bool trace;
	int disk;  /* enum disk_kind; -1: drawn */
	bool calm; /* no faults at all */
};

/* Returns whether all held; sim_failure() says what did not. Once in a process. */
bool run_world(const struct run_options *options);

/* The server ends in order, and all that was promised is looked at. */
void run_close_down(void);

/* ---- scene.c ----------------------------------------------------------------------------------------------------- */

bool scene_exists(const char *name);
/* A named course of events instead of a drawn one, with so many messages; 0: as many as it is made for. */
bool run_scene(const struct run_options *options, const char *name, size_t count);

/* ---- story.c ----------------------------------------------------------------------------------------------------- */

bool story_exists(const char *name);
/* Names, one in a line. */
void story_list(void);
/* Tells it on the standard output. */
bool run_story(const char *name);

/* ---- swarm.c ----------------------------------------------------------------------------------------------------- */

/* The faults of this run, and what happens at times. */
void swarm_draw(uint64_t seed, sim_us until);
/* Whether the servers of this run speak TLS, and what the routes to them ask for. OFF: they do not. */
/* Whether users log in there. */
bool swarm_users(uint64_t seed);
enum smtp_client_tls swarm_tls(uint64_t seed);
/* Of the wall clock. */
void swarm_jump(void);
enum disk_kind swarm_disk(void);
/* All faults end. */
void swarm_heal(void);

#endif
