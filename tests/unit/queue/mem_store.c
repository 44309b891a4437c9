#include "mem_store.h"

#include "base/slice.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum undo_kind { UNDO_PUT, UNDO_RCPT, UNDO_OPEN, UNDO_HISTORY, UNDO_CLOCK, UNDO_PURGE };

struct undo {
	enum undo_kind kind;
	struct mem_message *m;
	uint32_t n;
	struct store_rcpt row; /* texts of `last` are owned when they change */
	uint32_t open;
	queue_ms settled_at;
	char *clock;
	size_t clock_n;
};

#define FOUND 4096

struct mem_store {
	struct store store; /* first */
	struct mem_message **messages;
	size_t count, cap;
	size_t found[FOUND]; /* where messages were found, by their ids modulo FOUND */
	struct undo *undo;
	size_t undo_n, undo_cap;
	enum store_result poison;
	bool failed, low, damaged_any;
	msg_id damaged, broken;
	uint64_t next_block;
	char *clock;
	size_t clock_n;
	struct mem_fault faults[MEM_OPS];
	unsigned commits, calls;
	uint64_t last_site, last_flow;
	struct garbage {
		struct garbage *next;
		char text[];
	} * garbage;
};

static struct mem_store *of(struct store *st)
{
	return (struct mem_store *)st;
}

/* Texts live as long as the store: tests are short. */
static struct slice keep(struct mem_store *st, struct slice s)
{
	struct garbage *g = malloc(sizeof *g + s.n + 1);

	assert(g);
	g->next = st->garbage;
	st->garbage = g;
	if (s.n)
		memcpy(g->text, s.p, s.n);
	g->text[s.n] = '\0';
	return slice_of(g->text, s.n);
}

static enum store_result fault(struct mem_store *st, enum mem_op op)
{
	struct mem_fault *f = &st->faults[op];

	st->calls++;
	if (f->times == 0)
		return STORE_OK;
	if (f->skip > 0) {
		f->skip--;
		return STORE_OK;
	}
	if (f->times < 1000000)
		f->times--;
	return f->result;
}

/* Before a change: whether it may be made, and the fault that it meets half-way. */
static enum store_result begin(struct mem_store *st, enum mem_op op)
{
	if (st->failed)
		return STORE_IO;
	if (st->poison != STORE_OK)
		return STORE_POISONED;
	enum store_result r = fault(st, op);
	if (r != STORE_OK && r != STORE_NOT_FOUND && r != STORE_EXISTS) {
		st->poison = r;
		st->failed |= r == STORE_IO;
	}
	return r;
}

static struct undo *remember(struct mem_store *st, enum undo_kind kind, struct mem_message *m)
{
	if (st->undo_n == st->undo_cap) {
		st->undo_cap = st->undo_cap ? st->undo_cap * 2 : 64;
		st->undo = realloc(st->undo, st->undo_cap * sizeof *st->undo);
		assert(st->undo);
	}
	struct undo *u = &st->undo[st->undo_n++];
	memset(u, 0, sizeof *u);
	u->kind = kind;
	u->m = m;
	return u;
}

static void free_message(struct mem_message *m)
{
	free(m->rcpt);
	free(m->body);
	free(m->history);
	free(m);
}

/* Behind each change of its recipients. */
static void note_due(struct mem_message *m)
{
	m->due = NEVER;
	for (uint32_t n = 0; n < m->row.rcpt_count; n++)
		if (m->rcpt[n].row.state == STORE_WAITING && m->rcpt[n].row.due < m->due)
			m->due = m->rcpt[n].row.due;
}

static void undo_one(struct mem_store *st, struct undo *u)
{
	switch (u->kind) {
	case UNDO_PUT:
		assert(st->messages[st->count - 1] == u->m);
		st->count--;
		free_message(u->m);
		break;
	case UNDO_RCPT:
		u->m->rcpt[u->n].row = u->row;
		note_due(u->m);
		break;
	case UNDO_OPEN:
		u->m->row.open = u->open;
		u->m->settled_at = u->settled_at;
		break;
	case UNDO_HISTORY:
		u->m->history_n--;
		break;
	case UNDO_CLOCK:
		free(st->clock);
		st->clock = u->clock;
		st->clock_n = u->clock_n;
		break;
	case UNDO_PURGE:
		u->m->purged = false;
		break;
	}
}

static void roll_back(struct mem_store *st)
{
	while (st->undo_n > 0)
		undo_one(st, &st->undo[--st->undo_n]);
	st->poison = STORE_OK;
}

struct mem_message *mem_store_message(struct mem_store *st, msg_id id)
{
	size_t *found = &st->found[id % FOUND];

	if (*found < st->count && st->messages[*found]->id == id && !st->messages[*found]->purged)
		return st->messages[*found];
	for (size_t i = st->count; i-- > 0;)
		if (st->messages[i]->id == id && !st->messages[i]->purged)
			return st->messages[*found = i];
	return NULL;
}

struct mem_message *mem_store_at(struct mem_store *st, size_t index)
{
	return index < st->count ? st->messages[index] : NULL;
}

static void add_history(struct mem_store *st, struct mem_message *m, const struct store_history *line)
{
	remember(st, UNDO_HISTORY, m);
	m->history = realloc(m->history, (m->history_n + 1) * sizeof *m->history);
	assert(m->history);
	struct mem_history *h = &m->history[m->history_n++];
	memset(h, 0, sizeof *h);
	h->event = line->event;
	h->n = line->n;
	h->about = line->about;
	h->outcome = line->outcome;
	h->outcome.text = keep(st, line->outcome.text);
	h->outcome.secured = keep(st, line->outcome.secured);
	struct slice text = slice_head(line->text, sizeof h->text - 1);
	if (text.n)
		memcpy(h->text, text.p, text.n);
}

static void close_store(struct store *st)
{
	mem_store_free(of(st));
}

static enum store_result reopen(struct store *store)
{
	struct mem_store *st = of(store);

	roll_back(st);
	enum store_result r = fault(st, MEM_REOPEN);
	st->failed = r != STORE_OK;
	return r;
}

static enum store_result id_block(struct store *store, uint64_t *ret)
{
	struct mem_store *st = of(store);
	enum store_result r = fault(st, MEM_ID_BLOCK);

	if (r == STORE_OK)
		*ret = st->next_block++;
	return r;
}

static void fill_message(struct mem_store *st, struct mem_message *m, const struct store_new *from)
{
	const struct mail_envelope *v = from->envelope;

	m->id = from->id;
	m->row = (struct store_message){
		.id = from->id,
		.arrived = from->arrived,
		.arrived_queue = from->now,
		.sender = keep(st, v->sender),
		.envid = keep(st, v->envid),
		.body = v->body,
		.ret = v->ret,
		.utf8 = v->utf8,
		.origin = {keep(st, from->origin.client), keep(st, from->origin.helo), keep(st, from->origin.protocol),
			   keep(st, from->origin.user)},
		.size = from->size,
		.flow = from->flow,
		.content = from->content,
		.body_in_file = from->body_in_file,
		.digest = from->digest,
		.about = from->about,
		.rcpt_count = (uint32_t)v->rcpt_count,
		.open = (uint32_t)v->rcpt_count,
	};
	m->rcpt = calloc(v->rcpt_count, sizeof *m->rcpt);
	m->body = malloc(from->body.n + 1);
	assert(m->rcpt && m->body);
	if (from->body.n)
		memcpy(m->body, from->body.p, from->body.n);
	m->body_n = from->body.n;
	for (uint32_t n = 0; n < v->rcpt_count; n++)
		m->rcpt[n].row = (struct store_rcpt){
			.id = from->id,
			.n = n,
			.rcpt = {keep(st, v->rcpt[n].address), keep(st, v->rcpt[n].orcpt), v->rcpt[n].notify},
			.state = from->claim                   ? STORE_CLAIMED
				 : from->held && from->held[n] ? STORE_HELD
							       : STORE_WAITING,
			.site = from->sites[n],
			.due = from->due ? from->due[n] : from->now,
		};
	note_due(m);
}

static enum store_result put(struct store *store, const struct store_new *from)
{
	struct mem_store *st = of(store);
	enum store_result r = begin(st, MEM_PUT);

	assert(from->envelope->rcpt_count > 0);
	if (r != STORE_OK)
		return r;
	if (mem_store_message(st, from->id))
		return STORE_EXISTS;
	if (st->low && from->about == 0)
		return STORE_FULL;
	struct mem_message *m = calloc(1, sizeof *m);
	assert(m);
	fill_message(st, m, from);
	if (st->count == st->cap) {
		st->cap = st->cap ? st->cap * 2 : 64;
		st->messages = realloc(st->messages, st->cap * sizeof(struct mem_message *));
		assert(st->messages);
	}
	st->messages[st->count++] = m;
	remember(st, UNDO_PUT, m);
	struct store_history line = {.event = STORE_EVENT_ACCEPTED, .n = UINT32_MAX};
	add_history(st, m, &line);
	return STORE_OK;
}

static void set_rcpt(struct mem_store *st, struct mem_message *m, const struct store_settle *s)
{
	struct store_rcpt *row = &m->rcpt[s->n].row;
	struct undo *u = remember(st, UNDO_RCPT, m);

	u->n = s->n;
	u->row = *row;
	row->state = s->next;
	row->due = s->due;
	row->site = s->site;
	row->warned |= s->warned;
	if (s->attempted) {
		row->attempts++;
		row->last = s->outcome;
		row->last.text = keep(st, s->outcome.text);
		row->last.secured = keep(st, s->outcome.secured);
		row->last_remote = keep(st, s->remote);
		row->last_at = s->at;
	}
	if (store_state_is_final(s->next)) {
		u = remember(st, UNDO_OPEN, m);
		u->open = m->row.open;
		u->settled_at = m->settled_at;
		if (--m->row.open == 0)
			m->settled_at = s->now;
	}
	note_due(m);
}

static enum store_result settle(struct store *store, const struct store_settle *s)
{
	struct mem_store *st = of(store);
	enum store_result r = begin(st, MEM_SETTLE);

	if (r != STORE_OK)
		return r;
	struct mem_message *m = mem_store_message(st, s->id);
	if (!m || s->n >= m->row.rcpt_count || store_state_is_final(m->rcpt[s->n].row.state))
		return STORE_NOT_FOUND;
	if (st->broken == s->id) {
		st->poison = STORE_CORRUPT;
		return STORE_CORRUPT;
	}
	assert(s->next != STORE_CLAIMED);
	assert(s->remote.n <= STORE_REMOTE_MAX);
	assert(s->outcome.text.n <= SMTP_OUTCOME_TEXT_MAX);
	set_rcpt(st, m, s);
	struct store_history line = {.n = s->n, .outcome = s->outcome, .text = s->note};
	line.event = s->attempted ? STORE_EVENT_ATTEMPT : STORE_EVENT_NOTE;
	if (s->attempted || s->note.n > 0)
		add_history(st, m, &line);
	return STORE_OK;
}

static enum store_result note(struct store *store, msg_id id, const struct store_history *line)
{
	struct mem_store *st = of(store);
	enum store_result r = begin(st, MEM_NOTE);

	if (r != STORE_OK)
		return r;
	struct mem_message *m = mem_store_message(st, id);
	if (!m)
		return STORE_NOT_FOUND;
	add_history(st, m, line);
	return STORE_OK;
}

static enum store_result commit(struct store *store)
{
	struct mem_store *st = of(store);

	if (st->failed || st->poison != STORE_OK) {
		enum store_result r = st->poison != STORE_OK ? st->poison : STORE_IO;
		roll_back(st);
		return r;
	}
	if (st->undo_n == 0)
		return STORE_OK;
	enum store_result r = fault(st, MEM_COMMIT);
	if (r != STORE_OK) {
		roll_back(st);
		st->failed = r == STORE_IO;
		return r;
	}
	for (size_t i = 0; i < st->undo_n; i++)
		if (st->undo[i].kind == UNDO_CLOCK)
			free(st->undo[i].clock);
	st->undo_n = 0;
	st->commits++;
	return STORE_OK;
}

struct pair {
	uint64_t site, flow;
	size_t taken;
};

struct round {
	struct pair *pairs;
	size_t n, cap;
};

static struct pair *pair_of(struct round *round, uint64_t site, uint64_t flow)
{
	for (size_t i = 0; i < round->n; i++)
		if (round->pairs[i].site == site && round->pairs[i].flow == flow)
			return &round->pairs[i];
	if (round->n == round->cap) {
		round->cap = round->cap ? round->cap * 2 : 16;
		round->pairs = realloc(round->pairs, round->cap * sizeof *round->pairs);
		assert(round->pairs);
	}
	round->pairs[round->n] = (struct pair){site, flow, 0};
	return &round->pairs[round->n++];
}

static void claim_of(struct mem_store *st, struct pair *p, queue_ms now, size_t per_flow, struct store_due *out,
		     size_t max, size_t *ret)
{
	for (size_t i = 0; i < st->count; i++) {
		struct mem_message *m = st->messages[i];
		for (uint32_t n = 0; n < m->row.rcpt_count && m->due <= now && !m->purged && m->row.flow == p->flow;
		     n++) {
			struct store_rcpt *row = &m->rcpt[n].row;
			if (row->state != STORE_WAITING || row->due > now || row->site != p->site)
				continue;
			if (p->taken == per_flow || *ret == max)
				return;
			struct undo *u = remember(st, UNDO_RCPT, m);
			u->n = n;
			u->row = *row;
			row->state = STORE_CLAIMED;
			note_due(m);
			out[(*ret)++] = (struct store_due){m->id, n, row->site, m->row.flow, row->attempts};
			p->taken++;
		}
	}
}

static void pairs_due(struct mem_store *st, queue_ms now, struct round *round)
{
	for (size_t i = 0; i < st->count; i++) {
		struct mem_message *m = st->messages[i];
		for (uint32_t n = 0; n < m->row.rcpt_count && m->due <= now && !m->purged; n++)
			if (m->rcpt[n].row.state == STORE_WAITING && m->rcpt[n].row.due <= now)
				pair_of(round, m->rcpt[n].row.site, m->row.flow);
	}
}

static queue_ms earliest(struct mem_store *st)
{
	queue_ms due = NEVER;

	for (size_t i = 0; i < st->count; i++)
		if (st->messages[i]->due < due && !st->messages[i]->purged)
			due = st->messages[i]->due;
	return due;
}

static enum store_result claim(struct store *store, queue_ms now, size_t per_flow, struct store_due *out, size_t max,
			       size_t *ret, queue_ms *next_due)
{
	struct mem_store *st = of(store);
	enum store_result r = begin(st, MEM_CLAIM);
	struct round round = {0};

	*ret = 0;
	*next_due = NEVER;
	if (r != STORE_OK)
		return r;
	pairs_due(st, now, &round);
	size_t first = 0;
	for (size_t i = 0; i < round.n; i++)
		if (round.pairs[i].site == st->last_site && round.pairs[i].flow == st->last_flow)
			first = i + 1;
	for (size_t k = 0; k < round.n && *ret < max; k++) {
		struct pair *p = &round.pairs[(first + k) % round.n];
		claim_of(st, p, now, per_flow, out, max, ret);
		st->last_site = p->site;
		st->last_flow = p->flow;
	}
	free(round.pairs);
	*next_due = earliest(st);
	return STORE_OK;
}

static bool to_arena(struct arena *a, struct slice *s)
{
	*s = arena_copy(a, *s);
	return s->p != NULL;
}

static enum store_result load(struct store *store, msg_id id, struct arena *arena, struct store_message *ret)
{
	struct mem_store *st = of(store);
	enum store_result r = fault(st, MEM_LOAD);
	struct mem_message *m = mem_store_message(st, id);

	if (r != STORE_OK)
		return r;
	if (!m)
		return STORE_NOT_FOUND;
	*ret = m->row;
	return to_arena(arena, &ret->sender) && to_arena(arena, &ret->envid) ? STORE_OK : STORE_NO_MEMORY;
}

static enum store_result load_rcpt(struct store *store, msg_id id, uint32_t n, struct arena *arena,
				   struct store_rcpt *ret)
{
	struct mem_store *st = of(store);
	enum store_result r = fault(st, MEM_LOAD_RCPT);
	struct mem_message *m = mem_store_message(st, id);

	if (r != STORE_OK)
		return r;
	if (!m || n >= m->row.rcpt_count)
		return STORE_NOT_FOUND;
	*ret = m->rcpt[n].row;
	bool good = to_arena(arena, &ret->rcpt.address) && to_arena(arena, &ret->rcpt.orcpt) &&
		    to_arena(arena, &ret->last.text) && to_arena(arena, &ret->last_remote);
	return good ? STORE_OK : STORE_NO_MEMORY;
}

static enum store_result body(struct store *store, msg_id id, struct buf *out)
{
	struct mem_store *st = of(store);
	enum store_result r = fault(st, MEM_BODY);
	struct mem_message *m = mem_store_message(st, id);

	if (r != STORE_OK)
		return r;
	if (!m || m->row.open == 0)
		return STORE_NOT_FOUND;
	if (st->damaged_any && st->damaged == id)
		return STORE_CORRUPT;
	return buf_add(out, slice_of(m->body, m->body_n)) ? STORE_OK : STORE_NO_MEMORY;
}

static bool address_matches(struct slice filter, struct slice address)
{
	if (filter.n == 0)
		return true;
	return filter.p[0] == '@' ? slice_iends(address, filter) : slice_ieq(address, filter);
}

static bool matches(const struct store_filter *f, queue_ms now, const struct store_message *m,
		    const struct store_rcpt *r)
{
	bool state = f->state == -2 || (f->state == -1 ? !store_state_is_final(r->state) : (int)r->state == f->state);

	return state && (f->id == 0 || f->id == m->id) && (f->site == 0 || f->site == r->site) &&
	       now - m->arrived_queue >= f->older_than && address_matches(f->sender, m->sender) &&
	       address_matches(f->recipient, r->rcpt.address);
}

/* Newest first by id, as the real one; messages are few here. */
static struct mem_message *next_down(struct mem_store *st, msg_id from)
{
	struct mem_message *best = NULL;

	for (size_t i = 0; i < st->count; i++) {
		struct mem_message *m = st->messages[i];
		if (!m->purged && m->id <= from && (!best || m->id > best->id))
			best = m;
	}
	return best;
}

static enum store_result list(struct store *store, const struct store_filter *filter, queue_ms now,
			      struct store_cursor *cursor,
			      bool (*each)(void *arg, const struct store_message *m, const struct store_rcpt *r),
			      void *arg)
{
	struct mem_store *st = of(store);
	enum store_result r = fault(st, MEM_LIST);
	msg_id from = cursor->id ? cursor->id : MSG_ID_MAX;
	size_t looked = 0;

	if (r != STORE_OK)
		return r;
	for (struct mem_message *m; (m = next_down(st, from)) != NULL; from = m->id - 1) {
		uint32_t n = m->id == cursor->id ? cursor->n : 0;
		for (; n < m->row.rcpt_count; n++) {
			const struct store_rcpt *row = &m->rcpt[n].row;
			bool stop = ++looked > STORE_LIST_STEP;
			if (stop || (matches(filter, now, &m->row, row) && !each(arg, &m->row, row))) {
				cursor->id = m->id;
				cursor->n = n;
				return STORE_OK;
			}
		}
		if (m->id == 1)
			break;
	}
	cursor->end = true;
	return STORE_OK;
}

static enum store_result history(struct store *store, msg_id id,
				 bool (*each)(void *arg, const struct store_history *line), void *arg)
{
	struct mem_message *m = mem_store_message(of(store), id);

	if (!m)
		return STORE_NOT_FOUND;
	for (size_t i = 0; i < m->history_n; i++) {
		const struct mem_history *h = &m->history[i];
		struct store_history line = {.event = h->event,
					     .n = h->n,
					     .about = h->about,
					     .outcome = h->outcome,
					     .text = slice_from_cstr(h->text)};
		if (!each(arg, &line))
			break;
	}
	return STORE_OK;
}

static enum store_result purge(struct store *store, queue_ms before, size_t max, size_t *ret)
{
	struct mem_store *st = of(store);

	*ret = 0;
	for (size_t i = 0; i < st->count && *ret < max; i++) {
		struct mem_message *m = st->messages[i];
		if (m->purged || m->row.open > 0 || m->settled_at >= before)
			continue;
		remember(st, UNDO_PURGE, m);
		m->purged = true;
		(*ret)++;
	}
	return STORE_OK;
}

static enum store_result counts(struct store *store, uint64_t ret[STORE_STATE_MAX + 1])
{
	struct mem_store *st = of(store);

	memset(ret, 0, (STORE_STATE_MAX + 1) * sizeof *ret);
	for (size_t i = 0; i < st->count; i++)
		for (uint32_t n = 0; n < st->messages[i]->row.rcpt_count && !st->messages[i]->purged; n++)
			ret[st->messages[i]->rcpt[n].row.state]++;
	return STORE_OK;
}

static enum store_result clock_load(struct store *store, struct buf *out)
{
	struct mem_store *st = of(store);

	return buf_add(out, slice_of(st->clock, st->clock_n)) ? STORE_OK : STORE_NO_MEMORY;
}

void mem_store_set_clock(struct mem_store *st, struct slice octets)
{
	st->clock = malloc(octets.n + 1);
	assert(st->clock);
	if (octets.n)
		memcpy(st->clock, octets.p, octets.n);
	st->clock_n = octets.n;
}

static enum store_result clock_save(struct store *store, struct slice value)
{
	struct mem_store *st = of(store);

	if (st->failed)
		return STORE_IO;
	if (st->poison != STORE_OK)
		return STORE_POISONED;
	struct undo *u = remember(st, UNDO_CLOCK, NULL);
	u->clock = st->clock;
	u->clock_n = st->clock_n;
	mem_store_set_clock(st, value);
	return STORE_OK;
}

static const struct store_ops ops = {
	.close = close_store,
	.reopen = reopen,
	.id_block = id_block,
	.put = put,
	.settle = settle,
	.note = note,
	.commit = commit,
	.claim = claim,
	.load = load,
	.load_rcpt = load_rcpt,
	.body = body,
	.list = list,
	.history = history,
	.purge = purge,
	.counts = counts,
	.clock_load = clock_load,
	.clock_save = clock_save,
};

struct mem_store *mem_store_new(void)
{
	struct mem_store *st = calloc(1, sizeof *st);

	assert(st);
	st->store.ops = &ops;
	st->next_block = 1000;
	return st;
}

struct store *mem_store_of(struct mem_store *st)
{
	return &st->store;
}

void mem_store_free(struct mem_store *st)
{
	roll_back(st);
	for (size_t i = 0; i < st->count; i++)
		free_message(st->messages[i]);
	while (st->garbage) {
		struct garbage *g = st->garbage;
		st->garbage = g->next;
		free(g);
	}
	free(st->messages);
	free(st->undo);
	free(st->clock);
	free(st);
}

void mem_store_crash(struct mem_store *st, queue_ms now)
{
	roll_back(st);
	st->failed = false;
	for (size_t i = 0; i < st->count; i++)
		for (uint32_t n = 0; n < st->messages[i]->row.rcpt_count; n++) {
			struct store_rcpt *row = &st->messages[i]->rcpt[n].row;
			if (row->state == STORE_CLAIMED) {
				row->state = STORE_WAITING;
				row->due = now;
				note_due(st->messages[i]);
			}
		}
}

void mem_store_fail(struct mem_store *st, enum mem_op op, enum store_result result, unsigned skip, unsigned times)
{
	st->faults[op] = (struct mem_fault){result, skip, times};
}

void mem_store_low_space(struct mem_store *st, bool low)
{
	st->low = low;
}

void mem_store_damage(struct mem_store *st, msg_id id)
{
	st->damaged_any = true;
	st->damaged = id;
}

void mem_store_break(struct mem_store *st, msg_id id)
{
	st->broken = id;
}

bool mem_store_is_clean(const struct mem_store *st)
{
	return st->undo_n == 0;
}

unsigned mem_store_commits(const struct mem_store *st)
{
	return st->commits;
}

unsigned mem_store_calls(const struct mem_store *st)
{
	return st->calls;
}

struct slice mem_store_clock(const struct mem_store *st)
{
	return slice_of(st->clock, st->clock_n);
}
