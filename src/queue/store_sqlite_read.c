/* What only reads: load, body, list, history. */
#include "queue/store_sqlite.h"

#include <assert.h>

/* ---- rows */

/* The columns MESSAGE of the schema file. Texts are lent from the statement. */
static enum store_result read_message(const struct sqlite_store *s, sqlite3_stmt *stmt, struct store_message *m)
{
	struct row r = row_read(stmt);

	*m = (struct store_message){.id = read_id(&r, false)};
	m->open = (uint32_t)read_int(&r, 0, STORE_RCPT_MAX);
	m->rcpt_count = (uint32_t)read_int(&r, 1, STORE_RCPT_MAX);
	m->body_in_file = read_bool(&r);
	m->size = (uint64_t)read_int(&r, 0, INT64_MAX);
	m->arrived = read_int(&r, INT64_MIN, INT64_MAX);
	m->arrived_queue = read_int(&r, INT64_MIN, INT64_MAX);
	m->sender = read_text(&r, STORE_TEXT_MAX);
	m->envid = read_text(&r, STORE_TEXT_MAX);
	m->body = (enum mail_body)read_int(&r, 0, MAIL_BODY_BINARYMIME);
	m->ret = (enum mail_ret)read_int(&r, 0, MAIL_RET_HDRS);
	m->utf8 = read_bool(&r);
	m->content = (unsigned)read_int(&r, 0, STORE_CONTENT_MAX);
	m->flow = read_hash(&r);
	m->origin.client = read_text(&r, STORE_TEXT_MAX);
	m->origin.helo = read_text(&r, STORE_TEXT_MAX);
	m->origin.protocol = read_text(&r, STORE_TEXT_MAX);
	m->origin.user = read_text(&r, STORE_TEXT_MAX);
	m->about = read_id(&r, true);
	m->digest = read_digest(&r);
	struct store_digest digest = read_digest(&r);
	if (r.bad || m->open > m->rcpt_count)
		return STORE_CORRUPT;
	m->damaged = digest.known && digest.value != sqlite_message_digest(s, m);
	return STORE_OK;
}

static struct smtp_outcome read_outcome(struct row *r)
{
	struct smtp_outcome o = {.verdict = (enum smtp_verdict)read_int(r, 0, SMTP_VERDICT_MAX)};

	o.stage = (enum smtp_stage)read_int(r, 0, SMTP_STAGE_MAX);
	o.code = (unsigned)read_int(r, 0, 999);
	int64_t status = read_int(r, 0, 5999999);
	int64_t flags = read_int(r, 0, 7);
	o.text = read_text(r, STORE_TEXT_MAX);
	o.status = (struct smtpcodes_status){(uint8_t)(status / 1000000), (uint16_t)(status / 1000 % 1000),
					     (uint16_t)(status % 1000)};
	o.ambiguous = flags & 1;
	o.dsn_relayed = flags & 2;
	o.lossy = flags & 4;
	o.secured = read_text_or_none(r, SMTP_OUTCOME_SECURED_MAX);
	return o;
}

/* The columns RCPT of the schema file, of message `id`. Texts are lent from the statement. */
static enum store_result read_rcpt(const struct sqlite_store *s, sqlite3_stmt *stmt, msg_id id, struct store_rcpt *ret)
{
	struct row r = row_read(stmt);

	*ret = (struct store_rcpt){.id = id, .n = (uint32_t)read_int(&r, 0, STORE_RCPT_MAX - 1)};
	ret->rcpt.address = read_text(&r, STORE_TEXT_MAX);
	ret->rcpt.orcpt = read_text(&r, STORE_TEXT_MAX);
	ret->rcpt.notify = (uint8_t)read_int(&r, 0, MAIL_NOTIFY_MAX);
	uint64_t flow = read_hash(&r);
	struct store_digest digest = read_digest(&r);
	ret->state = (enum store_state)read_int(&r, 0, STORE_STATE_MAX);
	ret->site = read_hash(&r);
	ret->due = read_int(&r, INT64_MIN, INT64_MAX);
	ret->attempts = (uint32_t)read_int(&r, 0, UINT32_MAX);
	ret->warned = read_bool(&r);
	if (ret->attempts > 0) { /* else the rest is NULL */
		ret->last_remote = read_text(&r, STORE_REMOTE_MAX);
		ret->last_at = read_int(&r, INT64_MIN, INT64_MAX);
		ret->last = read_outcome(&r);
	}
	if (r.bad || ret->rcpt.address.n == 0)
		return STORE_CORRUPT;
	ret->damaged = digest.known && digest.value != sqlite_rcpt_digest(s, id, flow, &ret->rcpt);
	return STORE_OK;
}

static enum store_result read_history(sqlite3_stmt *stmt, struct store_history *line)
{
	struct row r = row_read(stmt);

	*line = (struct store_history){.event = (enum store_event)read_int(&r, STORE_EVENT_ATTEMPT, STORE_EVENT_NOTE)};
	line->at = read_int(&r, INT64_MIN, INT64_MAX);
	line->n = (uint32_t)read_int(&r, 0, UINT32_MAX);
	line->remote = read_text(&r, STORE_REMOTE_MAX);
	line->took = read_int(&r, INT64_MIN, INT64_MAX);
	line->about = read_id(&r, true);
	line->next_due = read_int(&r, 0, INT64_MAX);
	line->outcome = read_outcome(&r);
	if (line->event != STORE_EVENT_ATTEMPT) {
		line->text = line->outcome.text;
		line->outcome = (struct smtp_outcome){0};
	}
	return r.bad ? STORE_CORRUPT : STORE_OK;
}

/* ---- load */

static bool keep(struct arena *arena, struct slice *texts[], size_t n)
{
	for (size_t i = 0; i < n; i++) {
		*texts[i] = arena_copy(arena, *texts[i]);
		if (!texts[i]->p)
			return false;
	}
	return true;
}

enum store_result sqlite_load(struct store *st, msg_id id, struct arena *arena, struct store_message *ret)
{
	struct sqlite_store *s = sqlite_store_of(st);
	struct row r = row_bind(s, STORE_SQL_MESSAGE_LOAD);
	bool row;

	bind_hash(&r, id);
	enum store_result result = row_step(s, &r, &row);
	if (result || !row)
		return sqlite_was_read(s, result ? result : STORE_NOT_FOUND);
	result = read_message(s, r.stmt, ret);
	struct slice *texts[] = {&ret->sender,      &ret->envid,           &ret->origin.client,
				 &ret->origin.helo, &ret->origin.protocol, &ret->origin.user};
	if (!result && !keep(arena, texts, sizeof texts / sizeof *texts))
		result = STORE_NO_MEMORY;
	row_done(&r);
	return !result && ret->damaged ? STORE_CORRUPT : result;
}

enum store_result sqlite_load_rcpt(struct store *st, msg_id id, uint32_t n, struct arena *arena, struct store_rcpt *ret)
{
	struct sqlite_store *s = sqlite_store_of(st);
	struct row r = row_bind(s, STORE_SQL_RCPT_LOAD);
	bool row;

	bind_hash(&r, id);
	bind_int(&r, n);
	enum store_result result = row_step(s, &r, &row);
	if (result || !row)
		return sqlite_was_read(s, result ? result : STORE_NOT_FOUND);
	result = read_rcpt(s, r.stmt, id, ret);
	struct slice *texts[] = {&ret->rcpt.address, &ret->rcpt.orcpt, &ret->last.text, &ret->last.secured,
				 &ret->last_remote};
	if (!result && !keep(arena, texts, sizeof texts / sizeof *texts))
		result = STORE_NO_MEMORY;
	row_done(&r);
	return !result && ret->damaged ? STORE_CORRUPT : result;
}

static enum store_result read_body(struct sqlite_store *s, sqlite3_stmt *stmt, msg_id id, struct buf *out)
{
	struct row r = row_read(stmt);
	bool in_file = read_bool(&r);
	int64_t size = read_int(&r, 0, INT64_MAX);
	int64_t digest = read_int(&r, 0, UINT32_MAX);

	if (in_file)
		return r.bad ? STORE_CORRUPT : STORE_NOT_FOUND;
	struct slice body = read_text(&r, SIZE_MAX);
	if (r.bad) /* the blob of a row may be too much for memory */
		return sqlite3_errcode(s->db) == SQLITE_NOMEM ? STORE_NO_MEMORY : STORE_CORRUPT;
	if ((int64_t)body.n != size || sqlite_body_digest(s, id, body) != digest)
		return STORE_CORRUPT;
	return buf_add(out, body) ? STORE_OK : STORE_NO_MEMORY;
}

enum store_result sqlite_body(struct store *st, msg_id id, struct buf *out)
{
	struct sqlite_store *s = sqlite_store_of(st);
	struct row r = row_bind(s, STORE_SQL_BODY_LOAD);
	bool row;

	bind_hash(&r, id);
	enum store_result result = row_step(s, &r, &row);
	if (result || !row)
		return sqlite_was_read(s, result ? result : STORE_NOT_FOUND);
	result = read_body(s, r.stmt, id, out);
	row_done(&r);
	return result;
}

/* ---- list */

struct list {
	struct sqlite_store *s;
	const struct store_filter *filter;
	queue_ms now;
	struct store_cursor *cursor;
	bool (*each)(void *arg, const struct store_message *m, const struct store_rcpt *r);
	void *arg;
	size_t steps; /* that may still be made */
	bool stopped; /* the cursor says where */
};

/* Empty, a whole address, or "@domain". */
static bool address_matches(struct slice wanted, struct slice address)
{
	if (wanted.n == 0)
		return true;
	return wanted.p[0] == '@' ? slice_iends(address, wanted) : slice_ieq(address, wanted);
}

static bool state_matches(int wanted, enum store_state state)
{
	switch (wanted) {
	case -2:
		return true;
	case -1:
		return !store_state_is_final(state);
	default:
		return (int)state == wanted;
	}
}

static bool message_matches(const struct list *l, const struct store_message *m)
{
	const struct store_filter *f = l->filter;

	return address_matches(f->sender, m->sender) &&
	       (f->older_than <= 0 || m->arrived_queue <= l->now - f->older_than);
}

static bool rcpt_matches(const struct store_filter *f, const struct store_rcpt *r)
{
	return address_matches(f->recipient, r->rcpt.address) && (f->site == 0 || f->site == r->site) &&
	       state_matches(f->state, r->state);
}

static void stop_at(struct list *l, msg_id id, uint32_t n)
{
	*l->cursor = (struct store_cursor){.id = id, .n = n};
	l->stopped = true;
}

static enum store_result list_rcpts(struct list *l, const struct store_message *m, uint32_t from)
{
	struct row r = row_bind(l->s, STORE_SQL_LIST_RCPTS);
	struct store_rcpt rcpt;
	bool row;

	bind_hash(&r, m->id);
	bind_int(&r, from);
	enum store_result result = row_step(l->s, &r, &row);
	while (!result && row && !l->stopped) {
		result = read_rcpt(l->s, r.stmt, m->id, &rcpt);
		if (result)
			break;
		if (l->steps == 0 || (rcpt_matches(l->filter, &rcpt) && !l->each(l->arg, m, &rcpt)))
			stop_at(l, m->id, rcpt.n);
		if (l->steps > 0)
			l->steps--;
		if (!l->stopped)
			result = row_step(l->s, &r, &row);
	}
	row_done(&r);
	return result;
}

static enum store_result list_message(struct list *l, sqlite3_stmt *stmt)
{
	struct store_message m;

	/* Before the rest is looked at: a damaged neighbour is not this message's fault. */
	if (l->filter->id && (msg_id)sqlite3_column_int64(stmt, 0) != l->filter->id) {
		*l->cursor = (struct store_cursor){.end = true};
		l->stopped = true;
		return STORE_OK;
	}
	enum store_result result = read_message(l->s, stmt, &m);
	if (result)
		return result;
	if (l->steps == 0) {
		stop_at(l, m.id, 0);
	} else if (message_matches(l, &m)) {
		return list_rcpts(l, &m, m.id == l->cursor->id ? l->cursor->n : 0);
	} else {
		l->steps--;
	}
	return STORE_OK;
}

enum store_result sqlite_list(struct store *st, const struct store_filter *filter, queue_ms now,
			      struct store_cursor *cursor,
			      bool (*each)(void *arg, const struct store_message *m, const struct store_rcpt *r),
			      void *arg)
{
	struct sqlite_store *s = sqlite_store_of(st);
	struct list l = {s, filter, now, cursor, each, arg, .steps = STORE_LIST_STEP};
	bool open_only = filter->state != -2 && filter->state < STORE_DELIVERED;
	struct row r = row_bind(s, open_only ? STORE_SQL_LIST_OPEN : STORE_SQL_LIST_ALL);
	bool row;

	assert(filter->state >= -2 && filter->state <= STORE_STATE_MAX);
	if (cursor->end)
		return STORE_OK;
	msg_id from = cursor->id ? cursor->id : filter->id;
	bind_hash(&r, from ? from : MSG_ID_MAX);
	enum store_result result = row_step(s, &r, &row);
	while (!result && row && !l.stopped) {
		result = list_message(&l, r.stmt);
		if (!result && !l.stopped)
			result = row_step(s, &r, &row);
	}
	row_done(&r);
	if (!result && !l.stopped)
		*cursor = (struct store_cursor){.end = true};
	return sqlite_was_read(s, result);
}

/* ---- history */

/* The first line is the message's own row. *ret_more: `each` wants the rest. */
static enum store_result history_accepted(struct sqlite_store *s, msg_id id,
					  bool (*each)(void *arg, const struct store_history *line), void *arg,
					  bool *ret_more)
{
	struct row r = row_bind(s, STORE_SQL_ACCEPTED);
	struct store_history line = {.event = STORE_EVENT_ACCEPTED, .n = UINT32_MAX};
	bool row;

	bind_hash(&r, id);
	enum store_result result = row_step(s, &r, &row);
	if (result || !row)
		return result ? result : STORE_NOT_FOUND;
	struct row in = row_read(r.stmt);
	line.at = read_int(&in, INT64_MIN, INT64_MAX);
	line.about = read_id(&in, true);
	line.text = read_text(&in, STORE_TEXT_MAX);
	if (!in.bad)
		*ret_more = each(arg, &line);
	row_done(&r);
	return in.bad ? STORE_CORRUPT : STORE_OK;
}

enum store_result sqlite_history(struct store *st, msg_id id, bool (*each)(void *arg, const struct store_history *line),
				 void *arg)
{
	struct sqlite_store *s = sqlite_store_of(st);
	bool more = false;
	enum store_result result = history_accepted(s, id, each, arg, &more);

	if (result || !more)
		return sqlite_was_read(s, result);
	struct row r = row_bind(s, STORE_SQL_HISTORY);
	bind_hash(&r, id);
	result = row_step(s, &r, &more);
	while (!result && more) {
		struct store_history line;
		result = read_history(r.stmt, &line);
		if (result || !each(arg, &line))
			break;
		result = row_step(s, &r, &more);
	}
	row_done(&r);
	return sqlite_was_read(s, result);
}
