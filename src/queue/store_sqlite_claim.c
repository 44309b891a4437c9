/*
 * Whose turn it is: two levels of priority queues in the tables `turn` (one row for each site) and `lane` (one for each
 * site and flow), ordered by the time of their next visit.
 *
 *	wait    a recipient begins to wait:        lane.visit and turn.visit are lowered to its due time
 *	claim   visits sites in order of visit, in each of them lanes in order of visit, and takes from a lane what is
 *	        due, earliest first, up to its share; a lane that had its share and has more is visited in the next
 *	        millisecond, behind all that wait since before, else when its next recipient falls due; a site that
 *	        had its turn and has more stands behind those that wait as long, by the number of its turn; a lane
 *	        without recipients goes, and a site without lanes
 *
 * A recipient that was removed or held leaves its lane as it is: the visit finds nothing and sets things right.
 */
#include "queue/store_sqlite.h"

#include <assert.h>

#define RECOVER_STEP  256 /* recipients held on the stack */
#define RECOVER_STEPS 8   /* in one claim */

static const char abandoned_note[] = "the server stopped while this was under way; it may have been delivered";

static enum store_result run_hashes_visit(struct sqlite_store *s, enum store_statement which, const uint64_t *hashes,
					  size_t n, queue_ms visit)
{
	struct row r = row_bind(s, which);

	for (size_t i = 0; i < n; i++)
		bind_hash(&r, hashes[i]);
	bind_int(&r, visit);
	return row_run(s, &r);
}

enum store_result sqlite_wait(struct sqlite_store *s, uint64_t site, uint64_t flow, queue_ms due)
{
	const uint64_t pair[] = {site, flow};
	enum store_result result = run_hashes_visit(s, STORE_SQL_LANE_LOWER, pair, 2, due);

	/* A lane that need not be lowered has a site that need not be. */
	if (result || sqlite3_changes(s->db) == 0)
		return result;
	return run_hashes_visit(s, STORE_SQL_TURN_LOWER, &site, 1, due);
}

static enum store_result drop(struct sqlite_store *s, enum store_statement which, const uint64_t *hashes, size_t n)
{
	struct row r = row_bind(s, which);

	for (size_t i = 0; i < n; i++)
		bind_hash(&r, hashes[i]);
	return row_run(s, &r);
}

/* The time of the lane's next visit; NEVER: nobody waits in it. */
static enum store_result set_lane(struct sqlite_store *s, uint64_t site, uint64_t flow, queue_ms visit)
{
	const uint64_t pair[] = {site, flow};

	if (visit == NEVER)
		return drop(s, STORE_SQL_LANE_DROP, pair, 2);
	struct row r = row_bind(s, STORE_SQL_LANE_SET);
	bind_int(&r, visit);
	bind_hash(&r, site);
	bind_hash(&r, flow);
	return row_run(s, &r);
}

/* The same for a site that had its turn now. */
static enum store_result set_turn(struct sqlite_store *s, uint64_t site, queue_ms visit)
{
	if (visit == NEVER)
		return drop(s, STORE_SQL_TURN_DROP, &site, 1);
	struct row r = row_bind(s, STORE_SQL_TURN_SET);
	bind_int(&r, visit);
	bind_hash(&r, ++s->state.seq);
	bind_hash(&r, site);
	return row_run(s, &r);
}

/* The first row (hash, visit) of the turns or of a site's lanes; *ret_visit is NEVER when there is none. */
static enum store_result first_visit(struct sqlite_store *s, struct row *r, uint64_t *ret_hash, queue_ms *ret_visit)
{
	bool row;
	enum store_result result = row_step(s, r, &row);

	*ret_visit = NEVER;
	if (result || !row)
		return result;
	struct row in = row_read(r->stmt);
	*ret_hash = read_hash(&in);
	*ret_visit = read_int(&in, INT64_MIN, INT64_MAX);
	row_done(r);
	return in.bad ? STORE_CORRUPT : STORE_OK;
}

static enum store_result first_site(struct sqlite_store *s, uint64_t *ret_site, queue_ms *ret_visit)
{
	struct row r = row_bind(s, STORE_SQL_TURN_FIRST);

	return first_visit(s, &r, ret_site, ret_visit);
}

static enum store_result first_lane(struct sqlite_store *s, uint64_t site, uint64_t *ret_flow, queue_ms *ret_visit)
{
	struct row r = row_bind(s, STORE_SQL_LANE_FIRST);

	bind_hash(&r, site);
	return first_visit(s, &r, ret_flow, ret_visit);
}

/* ---- claiming */

struct claim {
	struct sqlite_store *s;
	queue_ms now;
	size_t per_flow;
	struct store_due *out;
	size_t n, max;
};

static enum store_result take(struct claim *c, const struct store_due *due)
{
	struct sqlite_store *s = c->s;
	struct row r = row_bind(s, STORE_SQL_CLAIM);

	bind_hash(&r, s->owner);
	bind_hash(&r, due->id);
	bind_int(&r, due->n);
	if (s->state.counts[STORE_WAITING] == 0)
		return STORE_CORRUPT;
	s->state.counts[STORE_WAITING]--;
	s->state.counts[STORE_CLAIMED]++;
	return row_run(s, &r);
}

/* Reads what is due in a lane to the end of c->out, at most `share`. *ret_next: due time of what follows, or NEVER. */
static enum store_result read_due(struct claim *c, uint64_t site, uint64_t flow, size_t share, size_t *ret,
				  queue_ms *ret_next)
{
	struct row r = row_bind(c->s, STORE_SQL_DUE);
	bool row;

	*ret = 0;
	*ret_next = NEVER;
	bind_hash(&r, site);
	bind_hash(&r, flow);
	bind_int(&r, (int64_t)share + 1);
	enum store_result result = row_step(c->s, &r, &row);
	while (row && !result) {
		struct row in = row_read(r.stmt);
		struct store_due due = {.id = read_id(&in, false),
					.n = (uint32_t)read_int(&in, 0, STORE_RCPT_MAX - 1),
					.site = site,
					.flow = flow};
		queue_ms at = read_int(&in, INT64_MIN, INT64_MAX);
		due.attempts = (uint32_t)read_int(&in, 0, UINT32_MAX);
		if (in.bad) {
			result = STORE_CORRUPT;
		} else if (at > c->now || *ret == share) {
			*ret_next = at;
			break;
		} else {
			c->out[c->n + (*ret)++] = due;
			result = row_step(c->s, &r, &row);
		}
	}
	row_done(&r);
	return result;
}

static enum store_result serve_lane(struct claim *c, uint64_t site, uint64_t flow)
{
	size_t share = c->max - c->n < c->per_flow ? c->max - c->n : c->per_flow;
	size_t n;
	queue_ms next;
	enum store_result result = read_due(c, site, flow, share, &n, &next);

	for (size_t i = 0; i < n && !result; i++)
		result = take(c, &c->out[c->n + i]);
	c->n += n;
	if (result)
		return result;
	return set_lane(c->s, site, flow, next <= c->now ? c->now + 1 : next);
}

static enum store_result serve_site(struct claim *c, uint64_t site)
{
	uint64_t flow;
	queue_ms visit;
	enum store_result result = first_lane(c->s, site, &flow, &visit);

	for (size_t flows = 0; !result && visit <= c->now && flows < STORE_SITE_FLOWS && c->n < c->max; flows++) {
		result = serve_lane(c, site, flow);
		if (!result)
			result = first_lane(c->s, site, &flow, &visit);
	}
	if (result)
		return result;
	/* Behind the others that wait, even when the turn was cut short by `max`. */
	return set_turn(c->s, site, visit <= c->now ? c->now : visit);
}

/* ---- recovery */

static enum store_result read_abandoned(struct sqlite_store *s, struct store_due out[RECOVER_STEP], size_t *ret)
{
	struct row r = row_bind(s, STORE_SQL_ABANDONED);
	bool row;

	*ret = 0;
	bind_hash(&r, s->owner);
	bind_int(&r, RECOVER_STEP);
	enum store_result result = row_step(s, &r, &row);
	while (row && !result && *ret < RECOVER_STEP) {
		struct row in = row_read(r.stmt);
		struct store_due *due = &out[(*ret)++];
		*due = (struct store_due){.id = read_id(&in, false)};
		due->n = (uint32_t)read_int(&in, 0, STORE_RCPT_MAX - 1);
		due->site = read_hash(&in);
		due->flow = read_hash(&in);
		result = in.bad ? STORE_CORRUPT : row_step(s, &r, &row);
	}
	row_done(&r);
	return result;
}

static enum store_result abandon(struct sqlite_store *s, const struct store_due *due, queue_ms now)
{
	const struct store_settle settle = {
		.id = due->id,
		.n = due->n,
		.next = STORE_WAITING,
		.now = now,
		.due = now + s->config.recovery_grace,
		.site = due->site,
		.at = s->config.wall,
		.note = SLICE(abandoned_note),
	};
	enum store_result result = sqlite_settle(&s->store, &settle);

	return result == STORE_NOT_FOUND ? STORE_CORRUPT : result; /* a recipient without its message */
}

/* In portions, one for each claim, so that the first delivery after a restart need not wait for all. */
static enum store_result recover(struct sqlite_store *s, queue_ms now)
{
	struct store_due abandoned[RECOVER_STEP];
	size_t n = RECOVER_STEP;
	enum store_result result = STORE_OK;

	for (size_t steps = 0; steps < RECOVER_STEPS && !result && n == RECOVER_STEP; steps++) {
		result = read_abandoned(s, abandoned, &n);
		for (size_t i = 0; i < n && !result; i++)
			result = abandon(s, &abandoned[i], now);
	}
	if (result || n == RECOVER_STEP)
		return result;
	if (s->open) {
		s->recovered_in_transaction = true;
	} else {
		s->recovered = true;
	}
	return STORE_OK;
}

static bool is_recovered(const struct sqlite_store *s)
{
	return s->recovered || s->recovered_in_transaction;
}

/* ---- the operation */

enum store_result sqlite_claim(struct store *st, queue_ms now, size_t per_flow, struct store_due *out, size_t max,
			       size_t *ret, queue_ms *next_due)
{
	struct sqlite_store *s = sqlite_store_of(st);
	struct claim c = {.s = s, .now = now, .per_flow = per_flow, .out = out, .max = max};
	uint64_t site;

	assert(per_flow > 0);
	assert(now < NEVER - s->config.recovery_grace);
	*ret = 0;
	*next_due = NEVER;
	if (s->poison)
		return sqlite_begin(s);
	enum store_result result = is_recovered(s) ? STORE_OK : recover(s, now);
	if (!result)
		result = first_site(s, &site, next_due);
	if (!result && !is_recovered(s) && *next_due > now)
		*next_due = now + 1;
	if (result || *next_due > now) /* nothing to do opens no transaction */
		return sqlite_was_read(s, result);
	result = sqlite_begin(s);
	if (result)
		return result;
	sqlite_saw_time(s, now);
	while (!result && *next_due <= now && c.n < max) {
		result = serve_site(&c, site);
		if (!result)
			result = first_site(s, &site, next_due);
	}
	if (!result)
		*ret = c.n;
	if (!is_recovered(s) && *next_due > now)
		*next_due = now + 1;
	return sqlite_changed(s, result);
}
