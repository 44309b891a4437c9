/*
 * Messages, recipients, findings and events in memory: made, found and freed.
 */
#include "queue/engine_private.h"

#include "base/heap.h"

#include <assert.h>
#include <string.h>

/* Copies s to *at and moves *at behind it. */
static struct slice keep(char **at, struct slice s)
{
	struct slice out = slice_of(*at, s.n);

	if (s.n)
		memcpy(*at, s.p, s.n);
	*at += s.n;
	return out;
}

static uint64_t item_key(msg_id id, uint32_t n)
{
	return id ^ (uint64_t)n * UINT64_C(0x9e3779b97f4a7c15);
}

/* ---- messages ------------------------------------------------------------------------------------------------- */

struct msg *msg_find(const struct queue_engine *e, msg_id id)
{
	for (struct table_node *node = table_find(&e->msgs, id); node; node = table_again(node)) {
		struct msg *m = CONTAINER(node, struct msg, node);
		if (m->id == id)
			return m;
	}
	return NULL;
}

struct msg *msg_new(struct queue_engine *e, const struct store_message *from)
{
	struct msg *m = heap_alloc(sizeof *m + from->sender.n + from->envid.n);

	assert(!msg_find(e, from->id));
	if (!m)
		return NULL;
	char *at = m->texts;
	m->sender = keep(&at, from->sender);
	m->envid = keep(&at, from->envid);
	m->id = from->id;
	m->about = from->about;
	m->arrived = from->arrived;
	m->arrived_queue = from->arrived_queue;
	m->size = from->size;
	m->flow = from->flow;
	m->content = from->content;
	m->body_type = from->body;
	m->ret = from->ret;
	m->utf8 = from->utf8;
	m->body_in_file = from->body_in_file;
	m->digest = from->digest;
	m->rcpt_count = from->rcpt_count;
	list_init(&m->reports);
	list_init(&m->reporting);
	table_insert(&e->msgs, &m->node, m->id);
	return m;
}

void msg_unused(struct queue_engine *e, struct msg *m)
{
	if (m->items > 0)
		return;
	list_remove(&m->reporting);
	table_remove(&e->msgs, &m->node);
	msg_drop_body(e, m);
	heap_free(m);
}

void msg_keep_body(struct queue_engine *e, struct msg *m, struct slice body)
{
	assert(!m->body);
	if (body.n == 0 || body.n > e->config.window_octets || e->octets > e->config.window_octets - body.n)
		return;
	m->body = heap_alloc(body.n);
	if (!m->body)
		return;
	memcpy(m->body, body.p, body.n);
	m->body_n = body.n;
	e->octets += body.n;
}

void msg_drop_body(struct queue_engine *e, struct msg *m)
{
	if (!m->body)
		return;
	e->octets -= m->body_n;
	heap_free(m->body);
	m->body = NULL;
	m->body_n = 0;
}

/* ---- recipients ----------------------------------------------------------------------------------------------- */

struct item *item_find(const struct queue_engine *e, msg_id id, uint32_t n)
{
	for (struct table_node *node = table_find(&e->items, item_key(id, n)); node; node = table_again(node)) {
		struct item *i = CONTAINER(node, struct item, node);
		if (i->msg->id == id && i->n == n)
			return i;
	}
	return NULL;
}

struct item *item_new(struct queue_engine *e, struct msg *m, uint32_t n, const struct mail_rcpt *rcpt)
{
	struct item *i = heap_alloc(sizeof *i + rcpt->address.n + rcpt->orcpt.n);

	if (!i)
		return NULL;
	char *at = i->texts;
	i->rcpt.address = keep(&at, rcpt->address);
	i->rcpt.orcpt = keep(&at, rcpt->orcpt);
	i->rcpt.notify = rcpt->notify;
	i->msg = m;
	i->n = n;
	i->state = ITEM_NEW;
	list_init(&i->link);
	list_init(&i->report);
	list_append(&e->fresh, &i->link);
	table_insert(&e->items, &i->node, item_key(m->id, n));
	m->items++;
	m->unsent++;
	e->item_count++;
	return i;
}

/* The diagram stands in engine_private.h. */
static const unsigned steps[] = {
	[ITEM_NEW] = 1u << ITEM_READY | 1u << ITEM_SETTLING,
	[ITEM_READY] = 1u << ITEM_NEW | 1u << ITEM_UNDER_WAY | 1u << ITEM_SETTLING,
	[ITEM_UNDER_WAY] = 1u << ITEM_HELD_BACK | 1u << ITEM_SETTLING,
	[ITEM_HELD_BACK] = 1u << ITEM_SETTLING,
	[ITEM_SETTLING] = 1u << ITEM_DONE,
	[ITEM_DONE] = 0,
};

static bool needs_body(enum item_state state)
{
	return state == ITEM_NEW || state == ITEM_READY;
}

void item_set_state(struct item *i, enum item_state state)
{
	assert(steps[i->state] & 1u << state);
	if (needs_body(i->state) && !needs_body(state))
		i->msg->unsent--;
	i->state = state;
}

void item_forget(struct queue_engine *e, struct item *i)
{
	table_remove(&e->items, &i->node);
	e->item_count--;
	item_uncount_fresh(e, i);
	if (i->site)
		site_uncount(e, i->site);
	i->site = NULL;
}

void item_drop(struct queue_engine *e, struct item *i)
{
	struct msg *m = i->msg;

	assert(i->state != ITEM_READY);
	if (i->state != ITEM_DONE)
		item_forget(e, i);
	if (needs_body(i->state))
		m->unsent--;
	list_remove(&i->link);
	list_remove(&i->report);
	finding_free(&i->found);
	if (i->late)
		finding_free(i->late);
	heap_free(i->late);
	heap_free(i);
	m->items--;
	msg_unused(e, m);
}

static struct msg *msg_load(struct queue_engine *e, msg_id id, enum store_result *ret)
{
	struct store_message from;
	struct msg *m = msg_find(e, id);

	if (m)
		return m;
	*ret = e->store->ops->load(e->store, id, &e->loading, &from);
	if (*ret != STORE_OK)
		return NULL;
	m = msg_new(e, &from);
	if (!m)
		*ret = STORE_NO_MEMORY;
	return m;
}

struct item *item_load(struct queue_engine *e, msg_id id, uint32_t n, struct store_rcpt *rcpt, enum store_result *ret)
{
	assert(!item_find(e, id, n));
	arena_reset(&e->loading);
	*ret = e->store->ops->load_rcpt(e->store, id, n, &e->loading, rcpt);
	if (*ret != STORE_OK)
		return NULL;
	struct msg *m = msg_load(e, id, ret);
	if (!m)
		return NULL;
	struct item *i = item_new(e, m, n, &rcpt->rcpt);
	if (!i) {
		msg_unused(e, m);
		*ret = STORE_NO_MEMORY;
		return NULL;
	}
	i->attempts = rcpt->attempts;
	i->warned = rcpt->warned;
	i->site_hash = rcpt->site;
	return i;
}

/* ---- findings ------------------------------------------------------------------------------------------------- */

static const uint8_t verdict_class[] = {[SMTP_DELIVERED] = 2, [SMTP_DEFERRED] = 4, [SMTP_FAILED] = 5};

/* Couriers are other processes: what they say is bounded here, and made to agree with itself. */
void finding_set(struct finding *f, const struct smtp_outcome *outcome, struct slice remote, span_ms took, wall_ms at)
{
	struct slice text = slice_head(outcome->text, SMTP_OUTCOME_TEXT_MAX);
	struct slice secured = slice_head(outcome->secured, SMTP_OUTCOME_SECURED_MAX);

	assert(outcome->verdict <= SMTP_VERDICT_MAX);
	assert(outcome->stage <= SMTP_STAGE_MAX);
	finding_free(f);
	remote = slice_head(remote, STORE_REMOTE_MAX);
	*f = (struct finding){.outcome = *outcome, .took = took > 0 ? took : 0, .at = at};
	f->outcome.text = f->outcome.secured = SLICE_NONE;
	if (f->outcome.status.klass != verdict_class[outcome->verdict])
		f->outcome.status = (struct smtpcodes_status){.klass = verdict_class[outcome->verdict]};
	f->texts = heap_alloc(text.n + secured.n + remote.n + 1);
	if (!f->texts)
		return;
	char *to = f->texts;
	f->outcome.text = keep(&to, text);
	f->outcome.secured = keep(&to, secured);
	f->remote = keep(&to, remote);
}

/*
 * The reading of a reply is that of `postrider explain`. An operator's rule may turn it either way. Of the built-in
 * ones those count that say "later" of a 5yz, because another attempt loses nothing; a 4yz is tried again whatever its
 * text says, because its server asked for that (RFC 5321 4.2.1). What is no reply is our own word.
 */
static enum smtp_verdict verdict_by_rules(const struct smtpcodes_rules *rules, const struct smtp_outcome *o)
{
	struct smtpcodes_finding finding;

	if (o->code == 0 || o->verdict == SMTP_DELIVERED)
		return o->verdict;
	smtpcodes_classify(o->code, o->status, o->text.n ? o->text.p : "", o->text.n, rules, &finding);
	if (finding.disagreement && finding.verdict == SMTPCODES_TEMPORARY)
		return SMTP_DEFERRED;
	if (finding.decided_by != SMTPCODES_BY_OPERATOR || finding.rule->verdict == SMTPCODES_UNKNOWN)
		return o->verdict;
	return finding.rule->verdict == SMTPCODES_TEMPORARY ? SMTP_DEFERRED : SMTP_FAILED;
}

void finding_take(struct queue_engine *e, struct finding *f, const struct queue_outcome *o)
{
	struct smtp_outcome outcome = o->outcome;

	assert(o->outcome.verdict <= SMTP_VERDICT_MAX);
	outcome.verdict = verdict_by_rules(e->config.reply_rules, &outcome);
	if (outcome.verdict != o->outcome.verdict && outcome.status.klass)
		outcome.status.klass = verdict_class[outcome.verdict];
	finding_set(f, &outcome, o->remote, o->took, e->times.wall);
}

void finding_free(struct finding *f)
{
	heap_free(f->texts);
	*f = (struct finding){0};
}

/* ---- events --------------------------------------------------------------------------------------------------- */

void engine_tell(struct queue_engine *e, const struct queue_event *event)
{
	if (e->told_count >= ENGINE_EVENTS_MAX)
		return;
	struct told *t =
		heap_alloc(sizeof *t + event->rcpt.n + event->sender.n + event->remote.n + event->outcome.text.n +
			   event->outcome.secured.n);
	if (!t)
		return;
	char *at = t->texts;
	t->event = *event;
	t->event.rcpt = keep(&at, event->rcpt);
	t->event.sender = keep(&at, event->sender);
	t->event.remote = keep(&at, event->remote);
	t->event.outcome.text = keep(&at, event->outcome.text);
	t->event.outcome.secured = keep(&at, event->outcome.secured);
	list_init(&t->link);
	list_append(&e->telling, &t->link);
	e->told_count++;
}
