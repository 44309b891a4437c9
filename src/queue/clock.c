#include "queue/clock.h"

#include "base/pack.h"

#include <assert.h>

#define VERSION 1

struct saved {
	queue_ms base;
	wall_ms wall;
	mono_ms boot;
	struct slice boot_id;
};

static bool read_saved(struct slice octets, struct saved *ret)
{
	struct unpack u = {.in = octets};
	uint8_t version = unpack_u8(&u);

	ret->base = unpack_i64(&u);
	ret->wall = unpack_i64(&u);
	ret->boot = unpack_i64(&u);
	ret->boot_id = unpack_slice(&u, QUEUE_CLOCK_BOOT_MAX);
	return unpack_done(&u) && version == VERSION && ret->base >= 0;
}

static span_ms between(int64_t least, int64_t difference, int64_t most)
{
	return difference < least ? least : difference > most ? most : difference;
}

/* Wall clocks are strangers: they may be anything. */
static span_ms difference(int64_t from, int64_t to)
{
	int64_t out;

	if (__builtin_sub_overflow(to, from, &out))
		return to > from ? INT64_MAX : INT64_MIN;
	return out;
}

static span_ms downtime(const struct saved *s, const struct queue_clock_world *w)
{
	bool same_boot = s->boot > 0 && w->boot >= s->boot && s->boot_id.n > 0 && slice_eq(s->boot_id, w->boot_id);

	/* At least the time for which commits may have run ahead of the saved clock: it must not go back behind them.
	 */
	if (same_boot)
		return between(QUEUE_CLOCK_SAVE, difference(s->boot, w->boot), 365 * DAY);
	return between(QUEUE_CLOCK_SAVE, difference(s->wall, w->wall), QUEUE_CLOCK_GAP_MAX);
}

bool queue_clock_start(struct queue_clock *c, struct slice octets, const struct queue_clock_world *world)
{
	struct saved s = {0};

	*c = (struct queue_clock){.mono = world->mono};
	if (octets.n == 0)
		return true;
	if (!read_saved(octets, &s) || s.base > INT64_MAX / 2)
		return false;
	c->base = s.base + downtime(&s, world);
	c->last = c->base;
	return true;
}

void queue_clock_lift(struct queue_clock *c, queue_ms least)
{
	if (c->last >= least)
		return;
	c->base += least - c->last;
	c->last = least;
}

queue_ms queue_clock_now(struct queue_clock *c, mono_ms mono)
{
	queue_ms now = c->base + (mono > c->mono ? mono - c->mono : 0);

	if (now > c->last)
		c->last = now;
	return c->last;
}

void queue_clock_save(struct queue_clock *c, const struct queue_clock_world *world, struct buf *out)
{
	pack_u8(out, VERSION);
	pack_i64(out, queue_clock_now(c, world->mono));
	pack_i64(out, world->wall);
	pack_i64(out, world->boot);
	pack_slice(out, slice_head(world->boot_id, QUEUE_CLOCK_BOOT_MAX));
}
