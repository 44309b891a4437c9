/*
 * clock: the store's clock, queue_ms.
 *
 * It starts at 0 with a new store, goes on with the monotonic clock, is saved with the store's commits and goes on from
 * there after a restart. It never goes back and never jumps: a wrong wall clock can neither bounce mail nor hold it.
 *
 * How long we were down is told by the kernel's boot clock when machine and boot are the same, whatever the wall clock
 * says meanwhile. After a reboot only the wall clock knows; it is believed up to QUEUE_CLOCK_GAP_MAX, so that a wall
 * clock ten years ahead costs an hour.
 *
 * Pure: clocks are arguments.
 */
#ifndef QUEUE_CLOCK_H
#define QUEUE_CLOCK_H

#include "base/buf.h"
#include "base/clock.h"

/* The most that a difference of wall clocks adds. */
#define QUEUE_CLOCK_GAP_MAX  HOUR
/* The store may hold times that are newer than the saved clock by this: it is saved with every commit, but no more
 * often. */
#define QUEUE_CLOCK_SAVE     SECOND
/* Without commits it is saved this often. */
#define QUEUE_CLOCK_IDLE     MINUTE

#define QUEUE_CLOCK_BOOT_MAX 64 /* octets of a boot id */

/* The clocks of the world at one moment. */
struct queue_clock_world {
	mono_ms mono;
	wall_ms wall;
	mono_ms boot;         /* CLOCK_BOOTTIME; 0 = not known */
	struct slice boot_id; /* names this run of the kernel; empty = not known */
};

struct queue_clock {
	queue_ms base; /* at `mono` */
	mono_ms mono;
	queue_ms last; /* the latest time given out */
};

/*
 * Start from the saved octets; empty = a new store. False when they are not what queue_clock_save wrote: then the clock
 * starts at 0, and the caller has to lift it over what the store holds with queue_clock_lift.
 */
bool queue_clock_start(struct queue_clock *c, struct slice saved, const struct queue_clock_world *world);
/* Make it at least `least`. */
void queue_clock_lift(struct queue_clock *c, queue_ms least);

/* The time now. Never less than what it returned before, even if `mono` went back. */
queue_ms queue_clock_now(struct queue_clock *c, mono_ms mono);

/* Appends the state as octets; failure sticks in `out`. */
void queue_clock_save(struct queue_clock *c, const struct queue_clock_world *world, struct buf *out);

#endif
