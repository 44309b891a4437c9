/*
 * window: how many connections a site gets, from what became of those before.
 *
 *	  new: silent, open n
 *	             delivered                     failed
 *	  open n ───────────────► open n + 1/n;  ─────────► open n/2 ... open 1
 *	  open 1, failed ──► paused 30 s ──► probing (one job) ──failed──► paused 1 min, 2, 4 ... 30 min
 *	                                        └── it spoke to us ──► open 1
 *
 * "Failed" means the site, not a recipient: no connection, no greeting, or it broke. One trouble fails many jobs at
 * once; a failure counts only when its job was handed out after the window last shrank, which the generation tells.
 * After a pause the window starts at one connection, and with one job until the site has spoken to us, so that a site
 * that comes back is not run over.
 *
 * A site is silent as long as nothing has come from it, and again when an attempt has taken its time and ended without
 * an answer. Such attempts cost most, because each keeps a connection busy until it is given up: a silent site gets one
 * job, and a second silence in a row pauses it however many connections it had.
 *
 * Pure: time and randomness are arguments.
 */
#ifndef QUEUE_WINDOW_H
#define QUEUE_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define WINDOW_PAUSE_FIRST   (30 * SECOND)
#define WINDOW_PAUSE_LONGEST (30 * MINUTE)

struct window {
	unsigned connections; /* 1 to max */
	unsigned max;
	unsigned credit;      /* deliveries since it last grew */
	unsigned pauses;      /* in a row, without a word from the site between them */
	uint32_t generation;  /* counts the times it shrank */
	bool probing;         /* after a pause: one job until the site has spoken */
	bool silent;          /* the same, and the engine gives it a place among its kind alone */
	span_ms next_pause;   /* the one after the last: known ahead, to spread over it; 0 = it has spoken since */
	mono_ms paused_until; /* 0 = not paused */
};

/* 1 <= start <= max. Silent. */
void window_init(struct window *w, unsigned start, unsigned max);
/* A new maximum from the configuration; >= 1. */
void window_set_max(struct window *w, unsigned max);

/* Most jobs under way now: 0 while paused. per_connection >= 1. */
unsigned window_jobs(const struct window *w, unsigned per_connection, mono_ms now);
/* What is left of a pause; 0 = open. */
span_ms window_paused(const struct window *w, mono_ms now);

/* The site spoke to us, whatever it said: it is alive. */
void window_alive(struct window *w);
/* It took a message. */
void window_delivered(struct window *w);
/*
 * A job handed out when the window had this generation met a site that failed, after a while of silence or at once.
 * Returns true when that began a pause. random: 32 uniform bits, spread the pause over +-12.5 %.
 */
bool window_failed(struct window *w, uint32_t generation, bool silent, mono_ms now, uint32_t random);
/* An operator wants it tried now: no pause, one connection, one job until the site has spoken. */
void window_open(struct window *w);

#endif
