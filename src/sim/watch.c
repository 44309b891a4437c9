#include "sim/watch.h"

#include "queue/store.h"
#include "sim/ledger.h"

#include <assert.h>

/* The linker leads the calls of store_sqlite_open here (src/sim/meson.build). */
enum store_result __real_store_sqlite_open(const struct store_sqlite_config *config, struct store **ret,
					   struct buf *why);
enum store_result __wrap_store_sqlite_open(const struct store_sqlite_config *config, struct store **ret,
					   struct buf *why);

static struct {
	const struct store_ops *real;
	struct store_ops ops;
	uint32_t *seconds; /* retries in each */
	size_t n;
} watch;

static void count_retry(void)
{
	size_t second = (size_t)(sim_now() / SIM_SECOND);

	if (second >= watch.n) {
		size_t n = 2 * second + 3600;
		watch.seconds = sim_realloc(watch.seconds, n * sizeof *watch.seconds);
		for (size_t i = watch.n; i < n; i++)
			watch.seconds[i] = 0;
		watch.n = n;
	}
	watch.seconds[second]++;
}

static enum store_result settle(struct store *st, const struct store_settle *s)
{
	enum store_result result = watch.real->settle(st, s);

	if (result == STORE_OK && s->next == STORE_WAITING)
		ledger_told_to_wait(s->id, s->n);
	return result;
}

static enum store_result put(struct store *st, const struct store_new *m)
{
	enum store_result result = watch.real->put(st, m);

	for (uint32_t n = 0; result == STORE_OK && m->due && n < m->envelope->rcpt_count; n++)
		if (m->due[n] > m->now)
			ledger_told_to_wait(m->id, n);
	return result;
}

static enum store_result claim(struct store *st, queue_ms now, size_t per_flow, struct store_due *out, size_t max,
			       size_t *ret, queue_ms *next_due)
{
	enum store_result result = watch.real->claim(st, now, per_flow, out, max, ret, next_due);

	for (size_t i = 0; result == STORE_OK && i < *ret; i++)
		if (ledger_is_taken_up(out[i].id, out[i].n))
			count_retry();
	return result;
}

enum store_result __wrap_store_sqlite_open(const struct store_sqlite_config *config, struct store **ret,
					   struct buf *why)
{
	enum store_result result = __real_store_sqlite_open(config, ret, why);

	if (result != STORE_OK)
		return result;
	watch.real = (*ret)->ops;
	watch.ops = *watch.real;
	watch.ops.put = put;
	watch.ops.settle = settle;
	watch.ops.claim = claim;
	(*ret)->ops = &watch.ops;
	return result;
}

struct watch_spread watch_spread(sim_us from, sim_us until)
{
	struct watch_spread w = {0};
	size_t first = (size_t)(from / SIM_SECOND), end = (size_t)(until / SIM_SECOND);

	assert(first < end);
	assert(until <= sim_now());
	for (size_t i = first; i < end && i < watch.n; i++) {
		w.retries += watch.seconds[i];
		if (watch.seconds[i] > w.busiest)
			w.busiest = watch.seconds[i];
	}
	w.mean = (double)w.retries / (double)(end - first);
	return w;
}
