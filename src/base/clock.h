/*
 * clock: the kinds of time, each a type of its own name.
 *
 * mono_ms   milliseconds of the loop's clock: only differences mean anything, and only within one process
 * queue_ms  milliseconds of the store's clock: it never goes back, never jumps, and goes on across restarts; ages and
 *           retry times are measured on it, so that a wrong wall clock can neither bounce mail nor hold it
 * wall_ms   milliseconds since 1970-01-01T00:00:00Z, shown to people and written into header fields; it may jump
 * span_ms   a duration
 *
 * Only src/net reads a clock; everybody else is told.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

typedef int64_t mono_ms;
typedef int64_t queue_ms;
typedef int64_t wall_ms;
typedef int64_t span_ms;

#define SECOND ((span_ms)1000)
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* A deadline that never comes. */
#define NEVER  INT64_MAX

#endif
