/* What changes messages: put, settle, note, purge. */
#include "queue/store_sqlite.h"

#include "queue/store_spool.h"

#include <assert.h>

#define PURGE_STEP 64 /* ids held on the stack */

/* ---- history */

static int64_t pack_status(struct smtpcodes_status status)
{
	assert(status.klass <= 5);
	assert(status.subject <= 999);
	assert(status.detail <= 999);
	return (int64_t)status.klass * 1000000 + (int64_t)status.subject * 1000 + status.detail;
}

enum store_result sqlite_history_add(struct sqlite_store *s, msg_id id, const struct store_history *line,
				     uint64_t *ret_seq)
{
	const struct smtp_outcome *o = &line->outcome;
	struct row r = row_bind(s, STORE_SQL_HISTORY_PUT);

	assert(o->text.n <= SMTP_OUTCOME_TEXT_MAX);
	assert(o->secured.n <= SMTP_OUTCOME_SECURED_MAX);
	assert(line->remote.n <= STORE_REMOTE_MAX);
	assert(line->text.n <= STORE_TEXT_MAX);
	bind_hash(&r, id);
	bind_hash(&r, ++s->state.seq);
	bind_int(&r, line->event);
	bind_int(&r, line->at);
	bind_int(&r, line->n);
	bind_int(&r, o->verdict);
	bind_int(&r, o->stage);
	bind_int(&r, o->code);
	bind_int(&r, pack_status(o->status));
	bind_int(&r, (o->ambiguous ? 1 : 0) | (o->dsn_relayed ? 2 : 0) | (o->lossy ? 4 : 0));
	bind_text(&r, line->event == STORE_EVENT_ATTEMPT ? o->text : line->text);
	bind_text(&r, line->remote);
	bind_int(&r, line->took);
	bind_int(&r, line->next_due);
	bind_hash(&r, line->about);
	bind_text(&r, o->secured);
	if (ret_seq)
		*ret_seq = s->state.seq;
	return row_run(s, &r);
}

/* ---- put */

static void check_new(const struct store_new *m)
{
	const struct mail_envelope *e = m->envelope;

	assert(m->id > 0 && m->id <= MSG_ID_MAX);
	assert(m->about <= MSG_ID_MAX);
	assert(e->rcpt_count > 0 && e->rcpt_count <= STORE_RCPT_MAX);
	assert(e->sender.n <= STORE_TEXT_MAX);
	assert(e->envid.n <= STORE_TEXT_MAX);
	assert(m->origin.client.n <= STORE_TEXT_MAX);
	assert(m->origin.helo.n <= STORE_TEXT_MAX);
	assert(m->origin.protocol.n <= STORE_TEXT_MAX);
	assert(m->origin.user.n <= STORE_TEXT_MAX);
	assert(m->size <= INT64_MAX);
	assert(m->body_in_file || m->size == m->body.n);
	assert(m->content <= STORE_CONTENT_MAX);
}

/* A body in the database has its own beside it. */
static struct store_digest file_digest_of(const struct store_new *m)
{
	return m->body_in_file ? m->digest : (struct store_digest){0};
}

/* STORE_EXISTS when the id is taken. */
static enum store_result put_message(struct sqlite_store *s, const struct store_new *m)
{
	const struct mail_envelope *e = m->envelope;
	const struct store_message row = {
		.id = m->id,
		.arrived = m->arrived,
		.arrived_queue = m->now,
		.sender = e->sender,
		.envid = e->envid,
		.body = e->body,
		.ret = e->ret,
		.utf8 = e->utf8,
		.origin = m->origin,
		.size = m->size,
		.flow = m->flow,
		.content = m->content,
		.body_in_file = m->body_in_file,
		.digest = file_digest_of(m),
		.about = m->about,
	};
	struct row r = row_bind(s, STORE_SQL_MESSAGE_PUT);

	bind_hash(&r, m->id);
	bind_int(&r, (int64_t)e->rcpt_count);
	bind_int(&r, (int64_t)e->rcpt_count);
	bind_int(&r, m->body_in_file);
	bind_hash(&r, m->size);
	bind_int(&r, m->arrived);
	bind_int(&r, m->now);
	bind_text(&r, e->sender);
	bind_text(&r, e->envid);
	bind_int(&r, e->body);
	bind_int(&r, e->ret);
	bind_int(&r, e->utf8);
	bind_int(&r, m->content);
	bind_hash(&r, m->flow);
	bind_text(&r, m->origin.client);
	bind_text(&r, m->origin.helo);
	bind_text(&r, m->origin.protocol);
	bind_text(&r, m->origin.user);
	bind_hash(&r, m->about);
	bind_text(&r, slice_from_cstr(m->note));
	bind_digest(&r, file_digest_of(m));
	bind_int(&r, sqlite_message_digest(s, &row));
	enum store_result result = row_run(s, &r);
	return !result && sqlite3_changes(s->db) == 0 ? STORE_EXISTS : result;
}

static enum store_result put_body(struct sqlite_store *s, const struct store_new *m)
{
	struct row r = row_bind(s, STORE_SQL_BODY_PUT);

	bind_hash(&r, m->id);
	if (m->body_in_file) {
		bind_int(&r, 0);
		bind_null(&r);
	} else {
		bind_int(&r, sqlite_body_digest(s, m->id, m->body));
		bind_text(&r, m->body);
	}
	return row_run(s, &r);
}

static enum store_result put_rcpt(struct sqlite_store *s, const struct store_new *m, size_t n)
{
	const struct mail_rcpt *rcpt = &m->envelope->rcpt[n];
	enum store_state state = m->claim ? STORE_CLAIMED : m->held && m->held[n] ? STORE_HELD : STORE_WAITING;
	queue_ms due = state == STORE_HELD ? 0 : m->due ? m->due[n] : m->now;
	struct row r = row_bind(s, STORE_SQL_RCPT_PUT);

	assert(rcpt->address.n > 0 && rcpt->address.n <= STORE_TEXT_MAX);
	assert(rcpt->orcpt.n <= STORE_TEXT_MAX);
	assert(rcpt->notify <= MAIL_NOTIFY_MAX);
	bind_hash(&r, m->id);
	bind_int(&r, (int64_t)n);
	bind_int(&r, state);
	bind_int(&r, due);
	bind_hash(&r, m->sites[n]);
	bind_hash(&r, m->flow);
	bind_hash(&r, m->claim ? s->owner : 0);
	bind_int(&r, rcpt->notify);
	bind_text(&r, rcpt->address);
	bind_text(&r, rcpt->orcpt);
	bind_int(&r, sqlite_rcpt_digest(s, m->id, m->flow, rcpt));
	enum store_result result = row_run(s, &r);
	if (!result && state == STORE_WAITING)
		result = sqlite_wait(s, m->sites[n], m->flow, due);
	s->state.counts[state]++;
	return result;
}

static enum store_result put_all(struct sqlite_store *s, const struct store_new *m)
{
	enum store_result result = put_message(s, m);

	if (!result)
		result = put_body(s, m);
	for (size_t n = 0; n < m->envelope->rcpt_count && !result; n++)
		result = put_rcpt(s, m, n);
	return result;
}

static enum store_result exists(struct sqlite_store *s, msg_id id, bool *ret)
{
	struct row r = row_bind(s, STORE_SQL_MESSAGE_EXISTS);

	bind_hash(&r, id);
	enum store_result result = row_step(s, &r, ret);
	row_done(&r);
	return result;
}

void store_sqlite_unwanted(struct store *st, msg_id id)
{
	struct sqlite_store *s = sqlite_store_of(st);
	bool taken = true;

	/* Also by one that the open transaction settles. */
	if (exists(s, id, &taken) != STORE_OK)
		(void)sqlite_ids_add(&s->files_new, id);
	else if (!taken)
		sqlite_refuse_file(s, id);
}

/* What is left of the disk is for settling, and for the reports that settling causes. */
static bool put_refused(const struct sqlite_store *s, const struct store_new *m)
{
	return s->low_space && !m->about;
}

/* The body's file. The transaction stays good when it cannot be had: nothing was changed. */
static enum store_result put_file(struct sqlite_store *s, const struct store_new *m)
{
	bool taken;
	enum store_result result = exists(s, m->id, &taken);

	if (result) {
		sqlite_refuse_file(s, m->id);
		return sqlite_changed(s, result);
	}
	if (taken) /* the file is the other message's */
		return STORE_EXISTS;
	result = put_refused(s, m) ? STORE_FULL : store_spool_sync(s->config.fs, m->id, m->size);
	if (!result && !sqlite_ids_add(&s->files_new, m->id))
		result = STORE_NO_MEMORY;
	if (result)
		store_spool_discard(s->config.fs, m->id);
	return result;
}

enum store_result sqlite_put(struct store *st, const struct store_new *m)
{
	struct sqlite_store *s = sqlite_store_of(st);

	check_new(m);
	enum store_result result = sqlite_begin(s);
	if (result && m->body_in_file)
		sqlite_refuse_file(s, m->id);
	if (result)
		return result;
	sqlite_saw_time(s, m->now);
	if (m->body_in_file) {
		result = put_file(s, m);
	} else if (put_refused(s, m)) {
		result = STORE_FULL;
	}
	if (result)
		return result;
	result = put_all(s, m);
	return result == STORE_EXISTS ? result : sqlite_changed(s, result);
}

/* ---- settle */

/* What settling needs to know of the recipient and its message. */
struct settled {
	enum store_state state;
	uint64_t flow;
	uint32_t attempts;
	bool warned;
	uint64_t last;
	uint32_t open;
	bool in_file;
};

static enum store_result settle_load(struct sqlite_store *s, msg_id id, uint32_t n, struct settled *ret)
{
	struct row r = row_bind(s, STORE_SQL_SETTLE_LOAD);
	bool row;

	bind_hash(&r, id);
	bind_int(&r, n);
	enum store_result result = row_step(s, &r, &row);
	if (result || !row)
		return result ? result : STORE_NOT_FOUND;
	r = row_read(r.stmt);
	ret->state = (enum store_state)read_int(&r, 0, STORE_STATE_MAX);
	ret->flow = read_hash(&r);
	ret->attempts = (uint32_t)read_int(&r, 0, UINT32_MAX - 1);
	ret->warned = read_bool(&r);
	ret->last = (uint64_t)read_int(&r, 0, INT64_MAX);
	int64_t count = read_int(&r, (int64_t)n + 1, STORE_RCPT_MAX);
	ret->open = (uint32_t)read_int(&r, 0, count);
	ret->in_file = read_bool(&r);
	row_done(&r);
	if (r.bad || s->state.counts[ret->state] == 0)
		return STORE_CORRUPT;
	if (store_state_is_final(ret->state))
		return STORE_NOT_FOUND;
	return ret->open == 0 ? STORE_CORRUPT : STORE_OK;
}

static enum store_result settle_history(struct sqlite_store *s, const struct store_settle *settle, struct settled *was)
{
	struct store_history line = {
		.event = settle->attempted ? STORE_EVENT_ATTEMPT : STORE_EVENT_NOTE, .at = settle->at, .n = settle->n};

	if (!settle->attempted && settle->note.n == 0)
		return STORE_OK;
	if (!settle->attempted) {
		line.text = settle->note;
		return sqlite_history_add(s, settle->id, &line, NULL);
	}
	line.outcome = settle->outcome;
	line.remote = settle->remote;
	line.took = settle->took;
	if (settle->next == STORE_WAITING && settle->due > s->state.now)
		line.next_due = settle->due - s->state.now;
	was->attempts++;
	return sqlite_history_add(s, settle->id, &line, &was->last);
}

static enum store_result settle_rcpt(struct sqlite_store *s, const struct store_settle *settle,
				     const struct settled *was)
{
	struct row r = row_bind(s, STORE_SQL_SETTLE);

	bind_int(&r, settle->next);
	bind_int(&r, settle->next == STORE_WAITING ? settle->due : 0);
	bind_hash(&r, settle->site);
	bind_int(&r, was->attempts);
	bind_int(&r, was->warned || settle->warned);
	bind_hash(&r, was->last);
	bind_hash(&r, settle->id);
	bind_int(&r, settle->n);
	enum store_result result = row_run(s, &r);
	if (!result && settle->next == STORE_WAITING)
		result = sqlite_wait(s, settle->site, was->flow, settle->due);
	s->state.counts[was->state]--;
	s->state.counts[settle->next]++;
	return result;
}

/* One recipient less is open; with the last one the body goes. */
static enum store_result settle_message(struct sqlite_store *s, msg_id id, const struct settled *was)
{
	uint32_t open = was->open - 1;
	struct row r = row_bind(s, STORE_SQL_MESSAGE_SETTLE);

	bind_int(&r, open);
	if (open) {
		bind_null(&r);
	} else {
		bind_int(&r, s->state.now);
	}
	bind_hash(&r, id);
	enum store_result result = row_run(s, &r);
	if (result || open)
		return result;
	r = row_bind(s, STORE_SQL_BODY_DROP);
	bind_hash(&r, id);
	result = row_run(s, &r);
	if (!result && was->in_file && !sqlite_ids_add(&s->files_gone, id))
		result = STORE_NO_MEMORY;
	return result;
}

enum store_result sqlite_settle(struct store *st, const struct store_settle *settle)
{
	struct sqlite_store *s = sqlite_store_of(st);
	struct settled was;

	assert(settle->next <= STORE_STATE_MAX);
	assert(settle->next != STORE_CLAIMED);
	enum store_result result = sqlite_begin(s);
	if (result)
		return result;
	sqlite_saw_time(s, settle->now);
	result = settle_load(s, settle->id, settle->n, &was);
	if (result == STORE_NOT_FOUND)
		return result;
	if (!result)
		result = settle_history(s, settle, &was);
	if (!result)
		result = settle_rcpt(s, settle, &was);
	if (!result && store_state_is_final(settle->next))
		result = settle_message(s, settle->id, &was);
	return sqlite_changed(s, result);
}

/* ---- note and purge */

enum store_result sqlite_note(struct store *st, msg_id id, const struct store_history *line)
{
	struct sqlite_store *s = sqlite_store_of(st);
	bool found = false;

	assert(line->event == STORE_EVENT_REPORT || line->event == STORE_EVENT_NOTE);
	enum store_result result = sqlite_begin(s);
	if (result)
		return result;
	result = exists(s, id, &found);
	if (!result && !found)
		return STORE_NOT_FOUND;
	if (!result)
		result = sqlite_history_add(s, id, line, NULL);
	return sqlite_changed(s, result);
}

/* At most `max` ids of messages settled before `before`. */
static enum store_result settled_before(struct sqlite_store *s, queue_ms before, size_t max, msg_id *ids, size_t *ret)
{
	struct row r = row_bind(s, STORE_SQL_SETTLED);
	bool row = false;

	*ret = 0;
	bind_int(&r, before);
	bind_int(&r, (int64_t)max);
	enum store_result result = row_step(s, &r, &row);
	while (row && *ret < max) {
		struct row in = row_read(r.stmt);
		ids[(*ret)++] = read_id(&in, false);
		if (in.bad)
			result = STORE_CORRUPT;
		if (result)
			break;
		result = row_step(s, &r, &row);
	}
	row_done(&r);
	return result;
}

static enum store_result uncount(struct sqlite_store *s, msg_id id)
{
	struct row r = row_bind(s, STORE_SQL_STATES_OF);
	bool row;

	bind_hash(&r, id);
	enum store_result result = row_step(s, &r, &row);
	while (row && !result) {
		struct row in = row_read(r.stmt);
		int64_t state = read_int(&in, STORE_DELIVERED, STORE_STATE_MAX);
		if (in.bad || s->state.counts[state] == 0)
			result = STORE_CORRUPT;
		else
			s->state.counts[state]--;
		if (!result)
			result = row_step(s, &r, &row);
	}
	row_done(&r);
	return result;
}

static enum store_result forget(struct sqlite_store *s, msg_id id)
{
	static const enum store_statement steps[] = {STORE_SQL_HISTORY_DROP, STORE_SQL_RCPT_DROP,
						     STORE_SQL_MESSAGE_DROP};
	enum store_result result = uncount(s, id);

	for (size_t i = 0; i < sizeof steps / sizeof *steps && !result; i++) {
		struct row r = row_bind(s, steps[i]);
		bind_hash(&r, id);
		result = row_run(s, &r);
	}
	return result;
}

enum store_result sqlite_purge(struct store *st, queue_ms before, size_t max, size_t *ret)
{
	struct sqlite_store *s = sqlite_store_of(st);
	msg_id ids[PURGE_STEP];
	size_t n = PURGE_STEP;
	enum store_result result = STORE_OK;

	*ret = 0;
	if (s->poison)
		return sqlite_begin(s);
	while (!result && *ret < max && n == PURGE_STEP) {
		size_t step = max - *ret < PURGE_STEP ? max - *ret : PURGE_STEP;
		result = settled_before(s, before, step, ids, &n);
		if (result || n == 0) /* nothing to forget opens no transaction */
			return sqlite_was_read(s, result);
		result = sqlite_begin(s);
		if (result)
			return result;
		for (size_t i = 0; i < n && !result; i++)
			result = forget(s, ids[i]);
		*ret += result ? 0 : n;
	}
	return sqlite_changed(s, result);
}
