/*
 * loop: one role's world: time, randomness, timers, and turns.
 *
 * A turn handles everything that is ready, then calls the turn function once, then flushes what was written. Clocks are
 * read once a turn. This header, conn.h, channel.h and fs_posix.h are the only doors of a role to the outside; the
 * simulator provides the same functions over a simulated world.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/clock.h"
#include "base/hash.h"
#include "base/slice.h"

#include <stddef.h>

struct loop;

struct loop *loop_new(void);
void loop_free(struct loop *l);

/* Runs turns until loop_stop. */
void loop_run(struct loop *l);
/* The turn under way is the last. */
void loop_stop(struct loop *l);

mono_ms loop_mono(struct loop *l);
wall_ms loop_wall(struct loop *l);
/* 64 uniform bits from the system. */
uint64_t loop_random(struct loop *l);
/* For tables whose keys come from strangers: random, one for each process. */
struct hash_key loop_hash_key(const struct loop *l);

/* Called at the end of each turn. One for each loop. */
void loop_on_turn(struct loop *l, void (*turn)(void *arg), void *arg);
/* Called for SIGTERM and the like in the loop, never in a handler. */
void loop_on_signal(struct loop *l, int signal, void (*caught)(void *arg, int signal), void *arg);

/* What stands in /etc/resolv.conf and /etc/hosts, for a process that may not open them: copied, and used by what looks
 * up names for the first time from now on. False without memory. */
bool loop_set_system(struct loop *l, struct slice resolv_conf, struct slice hosts);

struct loop_timer;

/* Not running yet. NULL without memory. `fired` may set the timer again or free it, and others with it: nothing looks
 * at a timer behind its call, and one that was stopped or freed in a turn does not fire in it any more. */
struct loop_timer *loop_timer_new(struct loop *l, void (*fired)(void *arg), void *arg);
/* Fires once when the time is reached; NEVER stops it. Setting it again moves it. */
void loop_timer_set(struct loop_timer *t, mono_ms at);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

#endif
