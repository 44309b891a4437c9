#include "queue/window.h"

#include <assert.h>

#define PAUSE_DOUBLINGS 6 /* 30 s times 2^6 is above the longest pause */

void window_init(struct window *w, unsigned start, unsigned max)
{
	assert(start >= 1);
	assert(start <= max);
	*w = (struct window){.connections = start, .max = max, .silent = true};
}

void window_set_max(struct window *w, unsigned max)
{
	assert(max >= 1);
	w->max = max;
	if (w->connections > max)
		w->connections = max;
}

span_ms window_paused(const struct window *w, mono_ms now)
{
	return w->paused_until > now ? w->paused_until - now : 0;
}

unsigned window_jobs(const struct window *w, unsigned per_connection, mono_ms now)
{
	unsigned jobs;

	assert(per_connection >= 1);
	if (window_paused(w, now) > 0)
		return 0;
	if (w->probing || w->silent)
		return 1;
	return __builtin_mul_overflow(w->connections, per_connection, &jobs) ? UINT32_MAX : jobs;
}

void window_alive(struct window *w)
{
	w->probing = false;
	w->silent = false;
	w->pauses = 0;
	w->next_pause = 0;
	w->paused_until = 0;
}

void window_delivered(struct window *w)
{
	window_alive(w);
	if (w->connections < w->max && ++w->credit >= w->connections) {
		w->connections++;
		w->credit = 0;
	}
}

static span_ms pause_length(unsigned pauses, uint32_t random)
{
	span_ms pause = WINDOW_PAUSE_FIRST << (pauses < PAUSE_DOUBLINGS ? pauses : PAUSE_DOUBLINGS);

	if (pause > WINDOW_PAUSE_LONGEST)
		pause = WINDOW_PAUSE_LONGEST;
	return pause - pause / 8 + (span_ms)(((uint64_t)random * (uint64_t)(pause / 4)) >> 32);
}

bool window_failed(struct window *w, uint32_t generation, bool silent, mono_ms now, uint32_t random)
{
	if (generation != w->generation || window_paused(w, now) > 0)
		return false;

	bool again = silent && w->silent;
	w->generation++;
	w->credit = 0;
	w->silent = silent;
	if (w->connections > 1 && !again) {
		w->connections /= 2;
		return false;
	}
	w->connections = 1;
	w->paused_until = now + (w->next_pause ? w->next_pause : pause_length(w->pauses, random));
	if (w->pauses < PAUSE_DOUBLINGS)
		w->pauses++;
	w->next_pause = pause_length(w->pauses, random * 2654435761u); /* other bits: the product mixes them */
	w->probing = true;
	return true;
}

void window_open(struct window *w)
{
	w->paused_until = 0;
	w->next_pause = 0;
	w->pauses = 0;
	w->connections = 1;
	w->credit = 0;
	w->probing = true;
	/* What is still under way from before must not close it again. */
	w->generation++;
}
