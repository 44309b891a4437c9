#include "role/wire.h"

#include "base/pack.h"
#include "smtp/limits.h"

#include <string.h>

const char *role_name(enum role_kind kind)
{
	static const char *const names[] = {"supervisor", "receiver", "queue", "sender", "mailbox",
					     "admin",      "keys",     "auth"};

	return names[kind];
}

/* ---- parts that several frames share -------------------------------------------------------------------------- */

static struct slice get_text(struct unpack *u)
{
	return unpack_slice(u, WIRE_TEXT_MAX);
}

static msg_id get_id(struct unpack *u)
{
	msg_id id = unpack_u64(u);

	if (id > MSG_ID_MAX)
		u->bad = true;
	return id;
}

static msg_id get_id_not_0(struct unpack *u)
{
	msg_id id = get_id(u);

	if (id == 0)
		u->bad = true;
	return id;
}

static void put_status(struct buf *out, struct smtpcodes_status s)
{
	pack_u8(out, s.klass);
	pack_u16(out, s.subject);
	pack_u16(out, s.detail);
}

static struct smtpcodes_status get_status(struct unpack *u)
{
	struct smtpcodes_status s = {.klass = unpack_u8_max(u, 5)};

	s.subject = unpack_u16(u);
	s.detail = unpack_u16(u);
	if (s.klass == 1 || s.klass == 3 || s.subject > 999 || s.detail > 999)
		u->bad = true;
	return s;
}

static void put_rcpt(struct buf *out, const struct mail_rcpt *r)
{
	pack_slice(out, r->address);
	pack_slice(out, r->orcpt);
	pack_u8(out, r->notify);
}

static struct mail_rcpt get_rcpt(struct unpack *u)
{
	struct mail_rcpt r = {.address = get_text(u)};

	r.orcpt = get_text(u);
	r.notify = unpack_u8_max(u, MAIL_NOTIFY_MAX);
	if (r.address.n == 0)
		u->bad = true;
	return r;
}

static void put_envelope(struct buf *out, const struct mail_envelope *e)
{
	pack_slice(out, e->sender);
	pack_slice(out, e->envid);
	pack_u8(out, (uint8_t)e->body);
	pack_u8(out, (uint8_t)e->ret);
	pack_u8(out, e->utf8);
	pack_u32(out, (uint32_t)e->rcpt_count);
	for (size_t i = 0; i < e->rcpt_count; i++)
		put_rcpt(out, &e->rcpt[i]);
}

static struct mail_envelope get_envelope(struct unpack *u, struct arena *arena)
{
	struct mail_envelope e = {.sender = get_text(u)};

	e.envid = get_text(u);
	e.body = unpack_u8_max(u, MAIL_BODY_BINARYMIME);
	e.ret = unpack_u8_max(u, MAIL_RET_HDRS);
	e.utf8 = unpack_bool(u);
	uint32_t count = unpack_u32_max(u, WIRE_RCPTS_MAX);
	/* Each recipient takes 9 octets at least: a false count cannot make us take much memory. */
	if (count == 0 || count > u->in.n / 9) {
		u->bad = true;
		return e;
	}
	struct mail_rcpt *rcpt = arena_array(arena, count, sizeof *rcpt);
	if (!rcpt) {
		u->bad = true;
		return e;
	}
	for (uint32_t i = 0; i < count; i++)
		rcpt[i] = get_rcpt(u);
	e.rcpt = rcpt;
	e.rcpt_count = count;
	return e;
}

static void put_origin(struct buf *out, const struct store_origin *o)
{
	pack_slice(out, o->client);
	pack_slice(out, o->helo);
	pack_slice(out, o->protocol);
	pack_slice(out, o->user);
}

static struct store_origin get_origin(struct unpack *u)
{
	struct store_origin o = {.client = get_text(u)};

	o.helo = get_text(u);
	o.protocol = get_text(u);
	o.user = get_text(u);
	return o;
}

static void put_outcome(struct buf *out, const struct smtp_outcome *o)
{
	pack_u8(out, (uint8_t)o->verdict);
	pack_u8(out, (uint8_t)o->stage);
	pack_u16(out, (uint16_t)o->code);
	put_status(out, o->status);
	pack_slice(out, slice_head(o->text, SMTP_OUTCOME_TEXT_MAX));
	pack_u8(out, o->ambiguous);
	pack_u8(out, o->dsn_relayed);
	pack_u8(out, o->lossy);
	pack_slice(out, slice_head(o->secured, SMTP_OUTCOME_SECURED_MAX));
}

static struct smtp_outcome get_outcome(struct unpack *u)
{
	struct smtp_outcome o = {.verdict = unpack_u8_max(u, SMTP_VERDICT_MAX)};

	o.stage = unpack_u8_max(u, SMTP_STAGE_MAX);
	o.code = unpack_u16(u);
	o.status = get_status(u);
	o.text = unpack_slice(u, SMTP_OUTCOME_TEXT_MAX);
	o.ambiguous = unpack_bool(u);
	o.dsn_relayed = unpack_bool(u);
	o.lossy = unpack_bool(u);
	o.secured = unpack_slice(u, SMTP_OUTCOME_SECURED_MAX);
	if (o.code > 999)
		u->bad = true;
	return o;
}

static uint8_t klass_of(enum smtp_verdict verdict)
{
	return verdict == SMTP_DELIVERED ? 2 : verdict == SMTP_DEFERRED ? 4 : 5;
}

/* ---- supervisor ----------------------------------------------------------------------------------------------- */

void wire_put_peer(struct buf *out, const struct wire_peer *peer)
{
	pack_u8(out, (uint8_t)peer->kind);
	pack_u32(out, peer->index);
}

bool wire_get_peer(struct slice in, struct wire_peer *ret)
{
	struct unpack u = {.in = in};

	ret->kind = unpack_u8_max(&u, ROLE_KIND_MAX);
	ret->index = unpack_u32_max(&u, 1024);
	return unpack_done(&u);
}

void wire_put_secrets(struct buf *out, uint32_t count)
{
	pack_u32(out, count);
}

void wire_put_secret(struct buf *out, const struct wire_secret *secret)
{
	pack_slice(out, secret->route);
	pack_slice(out, secret->secret);
}

static struct wire_secret get_secret(struct unpack *u)
{
	struct wire_secret s = {.route = unpack_slice(u, WIRE_TEXT_MAX)};

	s.secret = unpack_slice(u, WIRE_TEXT_MAX);
	u->bad |= s.route.n == 0 || s.secret.n == 0;
	return s;
}

bool wire_get_secrets(struct slice in, struct wire_secrets *ret)
{
	struct unpack u = {.in = in};

	ret->count = unpack_u32_max(&u, WIRE_SECRETS_MAX);
	ret->rest = u.in;
	for (uint32_t i = 0; i < ret->count && !u.bad; i++)
		get_secret(&u);
	return unpack_done(&u);
}

bool wire_next_secret(struct wire_secrets *list, struct wire_secret *ret)
{
	struct unpack u = {.in = list->rest};

	if (list->count == 0)
		return false;
	*ret = get_secret(&u);
	list->rest = u.in;
	list->count--;
	return !u.bad;
}

void wire_put_system(struct buf *out, const struct wire_system *system)
{
	pack_slice(out, system->resolv_conf);
	pack_slice(out, system->hosts);
}

bool wire_get_system(struct slice in, struct wire_system *ret)
{
	struct unpack u = {.in = in};

	ret->resolv_conf = unpack_slice(&u, WIRE_SYSTEM_MAX);
	ret->hosts = unpack_slice(&u, WIRE_SYSTEM_MAX);
	return unpack_done(&u);
}

void wire_put_file(struct buf *out, const struct wire_file *file)
{
	pack_u8(out, (uint8_t)file->kind);
	pack_u32(out, file->index);
	pack_u32(out, file->error);
}

bool wire_get_file(struct slice in, struct wire_file *ret)
{
	struct unpack u = {.in = in};

	ret->kind = unpack_u8_max(&u, WIRE_FILE_KIND_MAX);
	ret->index = unpack_u32(&u);
	ret->error = unpack_u32_max(&u, 4095);
	return unpack_done(&u);
}

void wire_put_processes(struct buf *out, const struct wire_processes *processes)
{
	pack_u32(out, (uint32_t)processes->count);
	for (size_t i = 0; i < processes->count; i++)
		pack_u32(out, processes->pid[i]);
}

bool wire_get_processes(struct slice in, struct wire_processes *ret)
{
	struct unpack u = {.in = in};

	ret->count = unpack_u32_max(&u, WIRE_PROCESSES_MAX);
	for (size_t i = 0; i < ret->count; i++)
		ret->pid[i] = unpack_u32(&u);
	return unpack_done(&u);
}

void wire_put_number(struct buf *out, uint64_t number)
{
	pack_u64(out, number);
}

bool wire_get_number(struct slice in, uint64_t *ret)
{
	struct unpack u = {.in = in};

	*ret = unpack_u64(&u);
	return unpack_done(&u);
}

static void put_digest(struct buf *out, struct store_digest digest)
{
	pack_u8(out, digest.known);
	pack_u32(out, digest.value);
}

static struct store_digest get_digest(struct unpack *u)
{
	return (struct store_digest){.known = unpack_bool(u), .value = unpack_u32(u)};
}

/* ---- receiver and queue --------------------------------------------------------------------------------------- */

void wire_put_message(struct buf *out, uint64_t tag, const struct queue_put *put)
{
	pack_u64(out, tag);
	pack_u64(out, put->id);
	put_envelope(out, put->envelope);
	put_origin(out, &put->origin);
	pack_u64(out, put->size);
	pack_u8(out, (uint8_t)put->content);
	pack_u8(out, put->body_in_file);
	put_digest(out, put->digest);
	pack_slice(out, put->body);
}

bool wire_get_message(struct slice in, struct arena *arena, uint64_t *ret_tag, struct queue_put *ret)
{
	struct unpack u = {.in = in};
	struct mail_envelope *envelope = arena_alloc(arena, sizeof *envelope);

	if (!envelope)
		return false;
	*ret_tag = unpack_u64(&u);
	*ret = (struct queue_put){.id = get_id_not_0(&u)};
	*envelope = get_envelope(&u, arena);
	ret->envelope = envelope;
	ret->origin = get_origin(&u);
	ret->size = unpack_u64(&u);
	ret->content = unpack_u8_max(&u, STORE_CONTENT_MAX);
	ret->body_in_file = unpack_bool(&u);
	ret->digest = get_digest(&u);
	ret->body = unpack_slice(&u, WIRE_BODY_MAX);
	if (ret->body_in_file ? ret->body.n != 0 : ret->body.n != ret->size)
		return false;
	return unpack_done(&u);
}

void wire_put_answer(struct buf *out, const struct wire_answer *answer)
{
	pack_u64(out, answer->tag);
	pack_u8(out, (uint8_t)answer->result);
}

bool wire_get_answer(struct slice in, struct wire_answer *ret)
{
	struct unpack u = {.in = in};

	ret->tag = unpack_u64(&u);
	ret->result = unpack_u8_max(&u, STORE_RESULT_MAX);
	return unpack_done(&u);
}

/* ---- receiver and keys ---------------------------------------------------------------------------------------- */

static void put_octets(struct buf *out, const uint8_t *p, size_t n)
{
	buf_add(out, slice_of((const char *)p, n));
}

/* Exactly so many; zeroes when they are not there. */
static void get_octets(struct unpack *u, uint8_t *into, size_t n)
{
	if (u->bad || u->in.n < n) {
		u->bad = true;
		memset(into, 0, n);
		return;
	}
	if (n > 0)
		memcpy(into, u->in.p, n);
	u->in = slice_skip(u->in, n);
}

static void get_chain(struct unpack *u, struct tls_chain *ret)
{
	ret->name = unpack_slice(u, TLS_NAME_MAX);
	get_octets(u, ret->key, sizeof ret->key);
	ret->count = unpack_u8_max(u, TLS_CHAIN_MAX);
	for (size_t i = 0; i < ret->count; i++) {
		ret->certificates[i] = unpack_slice(u, TLS_CERTIFICATE_MAX);
		u->bad |= ret->certificates[i].n == 0;
	}
	ret->staple = unpack_slice(u, TLS_STAPLE_MAX);
	ret->staple_until = unpack_i64(u);
	u->bad |= ret->count == 0 || ret->name.n == 0;
}

void wire_put_certificates(struct buf *out, const struct wire_certificates *certificates)
{
	pack_u8(out, (uint8_t)certificates->count);
	for (size_t i = 0; i < certificates->count; i++) {
		const struct tls_chain *c = &certificates->list[i];
		pack_slice(out, c->name);
		put_octets(out, c->key, sizeof c->key);
		pack_u8(out, (uint8_t)c->count);
		for (size_t j = 0; j < c->count; j++)
			pack_slice(out, c->certificates[j]);
		pack_slice(out, c->staple);
		pack_i64(out, c->staple_until);
	}
}

bool wire_get_certificates(struct slice in, struct wire_certificates *ret)
{
	struct unpack u = {.in = in};

	ret->count = unpack_u8_max(&u, TLS_CHAINS_MAX);
	for (size_t i = 0; i < ret->count && !u.bad; i++)
		get_chain(&u, &ret->list[i]);
	return unpack_done(&u);
}

void wire_put_trust(struct buf *out, const struct tls_trust_text *trust)
{
	pack_slice(out, trust->authorities);
	pack_slice(out, trust->revoked);
}

bool wire_get_trust(struct slice in, struct tls_trust_text *ret)
{
	struct unpack u = {.in = in};

	ret->authorities = unpack_slice(&u, TLS_TRUST_TEXT_MAX);
	ret->revoked = unpack_slice(&u, TLS_TRUST_TEXT_MAX);
	return unpack_done(&u) && (ret->authorities.n > 0 || ret->revoked.n == 0);
}

void wire_put_tickets(struct buf *out, const struct tls_tickets *tickets)
{
	pack_u8(out, (uint8_t)tickets->count);
	for (size_t i = 0; i < tickets->count; i++) {
		put_octets(out, tickets->key[i].name, TLS_TICKET_NAME);
		put_octets(out, tickets->key[i].secret, TLS_TICKET_SECRET);
	}
	pack_i64(out, tickets->lifetime);
}

bool wire_get_tickets(struct slice in, struct tls_tickets *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct tls_tickets){.count = unpack_u8_max(&u, sizeof ret->key / sizeof *ret->key)};
	for (size_t i = 0; i < ret->count; i++) {
		get_octets(&u, ret->key[i].name, TLS_TICKET_NAME);
		get_octets(&u, ret->key[i].secret, TLS_TICKET_SECRET);
	}
	ret->lifetime = unpack_i64(&u);
	return unpack_done(&u) && ret->lifetime >= 0 && ret->lifetime <= WIRE_TICKET_LIFETIME_MAX;
}

void wire_put_sign(struct buf *out, const struct wire_sign *sign)
{
	const struct tls_request *r = &sign->request;

	pack_u64(out, sign->tag);
	put_octets(out, r->key, sizeof r->key);
	pack_u8(out, (uint8_t)r->digest);
	pack_u8(out, (uint8_t)r->padding);
	pack_slice(out, slice_of((const char *)r->text, r->n));
}

bool wire_get_sign(struct slice in, struct wire_sign *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_sign){.tag = unpack_u64(&u)};
	get_octets(&u, ret->request.key, sizeof ret->request.key);
	ret->request.digest = unpack_u8_max(&u, TLS_DIGEST_LAST);
	ret->request.padding = unpack_u8_max(&u, TLS_PADDING_LAST);
	struct slice text = unpack_slice(&u, TLS_SIGNED_MAX);
	ret->request.n = text.n;
	get_octets(&(struct unpack){.in = text}, ret->request.text, text.n);
	return unpack_done(&u);
}

void wire_put_signed(struct buf *out, const struct wire_signed *answer)
{
	pack_u64(out, answer->tag);
	pack_slice(out, answer->signature);
}

bool wire_get_signed(struct slice in, struct wire_signed *ret)
{
	struct unpack u = {.in = in};

	ret->tag = unpack_u64(&u);
	ret->signature = unpack_slice(&u, TLS_SIGNATURE_MAX);
	return unpack_done(&u);
}

/* ---- queue and couriers --------------------------------------------------------------------------------------- */

void wire_put_job(struct buf *out, const struct queue_job *job)
{
	pack_u64(out, job->job);
	pack_u64(out, job->id);
	pack_u8(out, (uint8_t)job->route.kind);
	pack_slice(out, job->route.site);
	pack_slice(out, job->route.hosts);
	pack_u32(out, job->connections);
	pack_u8(out, job->silent);
	put_envelope(out, &job->envelope);
	for (size_t i = 0; i < job->envelope.rcpt_count; i++) {
		pack_u32(out, job->n[i]);
		if (job->route.kind == ROUTE_MAILBOX)
			pack_slice(out, job->mailboxes[i]);
	}
	pack_u64(out, job->size);
	pack_u8(out, (uint8_t)job->content);
	pack_i64(out, job->arrived);
	pack_i64(out, job->age);
	pack_u8(out, job->body_in_file);
	put_digest(out, job->digest);
	pack_slice(out, job->body);
}

static void get_job_rcpts(struct unpack *u, struct arena *arena, struct queue_job *ret)
{
	size_t count = ret->envelope.rcpt_count;
	uint32_t *n = arena_array(arena, count + 1, sizeof *n);
	struct slice *mailboxes = arena_array(arena, count + 1, sizeof *mailboxes);

	if (!n || !mailboxes) {
		u->bad = true;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		n[i] = unpack_u32_max(u, WIRE_RCPTS_MAX);
		if (ret->route.kind == ROUTE_MAILBOX)
			mailboxes[i] = get_text(u);
	}
	ret->n = n;
	ret->mailboxes = ret->route.kind == ROUTE_MAILBOX ? mailboxes : NULL;
}

bool wire_get_job(struct slice in, struct arena *arena, struct queue_job *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct queue_job){.job = unpack_u64(&u)};
	ret->id = get_id_not_0(&u);
	ret->route.kind = unpack_u8_max(&u, ROUTE_SMTP);
	ret->route.site = get_text(&u);
	ret->route.hosts = get_text(&u);
	ret->connections = unpack_u32_max(&u, 100000);
	ret->silent = unpack_bool(&u);
	ret->envelope = get_envelope(&u, arena);
	get_job_rcpts(&u, arena, ret);
	ret->size = unpack_u64(&u);
	ret->content = unpack_u8_max(&u, STORE_CONTENT_MAX);
	ret->arrived = unpack_i64(&u);
	ret->age = unpack_i64(&u);
	ret->body_in_file = unpack_bool(&u);
	ret->digest = get_digest(&u);
	ret->body = unpack_slice(&u, WIRE_BODY_MAX);
	return unpack_done(&u) && ret->job != 0 && ret->age >= 0;
}

void wire_put_outcome(struct buf *out, const struct queue_outcome *o)
{
	pack_u64(out, o->id);
	pack_u32(out, o->n);
	pack_u64(out, o->job);
	put_outcome(out, &o->outcome);
	pack_slice(out, slice_head(o->remote, 300));
	pack_i64(out, o->took);
	pack_u8(out, o->site_failed);
}

bool wire_get_outcome(struct slice in, struct queue_outcome *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct queue_outcome){.id = get_id_not_0(&u)};
	ret->n = unpack_u32_max(&u, WIRE_RCPTS_MAX);
	ret->job = unpack_u64(&u);
	ret->outcome = get_outcome(&u);
	ret->remote = unpack_slice(&u, 300);
	ret->took = unpack_i64(&u);
	ret->site_failed = unpack_bool(&u);
	if (ret->outcome.status.klass != klass_of(ret->outcome.verdict) || ret->took < 0)
		return false;
	return unpack_done(&u);
}

/* ---- tools ---------------------------------------------------------------------------------------------------- */

static void put_filter(struct buf *out, const struct store_filter *f)
{
	pack_u64(out, f->id);
	pack_slice(out, f->sender);
	pack_slice(out, f->recipient);
	pack_u64(out, f->site);
	pack_i64(out, f->older_than);
	pack_i64(out, f->state);
}

static struct store_filter get_filter(struct unpack *u)
{
	struct store_filter f = {.id = get_id(u)};

	f.sender = get_text(u);
	f.recipient = get_text(u);
	f.site = unpack_u64(u);
	f.older_than = unpack_i64(u);
	int64_t state = unpack_i64(u);
	if (state < -2 || state > STORE_STATE_MAX || f.older_than < 0)
		u->bad = true;
	else
		f.state = (int)state;
	return f;
}

static void put_cursor(struct buf *out, const struct store_cursor *cursor)
{
	pack_u64(out, cursor->id);
	pack_u32(out, cursor->n);
	pack_u8(out, cursor->end);
}

static struct store_cursor get_cursor(struct unpack *u)
{
	struct store_cursor cursor = {.id = get_id(u)};

	cursor.n = unpack_u32(u);
	cursor.end = unpack_bool(u);
	return cursor;
}

void wire_put_list(struct buf *out, const struct wire_list *list)
{
	put_filter(out, &list->filter);
	put_cursor(out, &list->cursor);
	pack_u32(out, list->limit);
}

bool wire_get_list(struct slice in, struct wire_list *ret)
{
	struct unpack u = {.in = in};

	ret->filter = get_filter(&u);
	ret->cursor = get_cursor(&u);
	ret->limit = unpack_u32_max(&u, WIRE_LIST_MAX);
	return unpack_done(&u) && ret->limit > 0;
}

void wire_put_operate(struct buf *out, const struct wire_operate *operate)
{
	pack_u8(out, (uint8_t)operate->verb);
	put_filter(out, &operate->filter);
}

bool wire_get_operate(struct slice in, struct wire_operate *ret)
{
	struct unpack u = {.in = in};

	ret->verb = unpack_u8_max(&u, QUEUE_VERB_MAX);
	ret->filter = get_filter(&u);
	return unpack_done(&u);
}

static void put_stored(struct buf *out, const struct store_message *m)
{
	pack_u64(out, m->id);
	pack_i64(out, m->arrived);
	pack_slice(out, m->sender);
	pack_slice(out, m->envid);
	pack_u8(out, (uint8_t)m->body);
	pack_u8(out, (uint8_t)m->ret);
	pack_u8(out, m->utf8);
	put_origin(out, &m->origin);
	pack_u64(out, m->size);
	pack_u8(out, (uint8_t)m->content);
	pack_u8(out, m->body_in_file);
	pack_u64(out, m->about);
	pack_u32(out, m->rcpt_count);
	pack_u32(out, m->open);
	pack_u8(out, m->damaged);
}

static struct store_message get_stored(struct unpack *u)
{
	struct store_message m = {.id = get_id_not_0(u)};

	m.arrived = unpack_i64(u);
	m.sender = get_text(u);
	m.envid = get_text(u);
	m.body = unpack_u8_max(u, MAIL_BODY_BINARYMIME);
	m.ret = unpack_u8_max(u, MAIL_RET_HDRS);
	m.utf8 = unpack_bool(u);
	m.origin = get_origin(u);
	m.size = unpack_u64(u);
	m.content = unpack_u8_max(u, STORE_CONTENT_MAX);
	m.body_in_file = unpack_bool(u);
	m.about = get_id(u);
	m.rcpt_count = unpack_u32(u);
	m.open = unpack_u32(u);
	m.damaged = unpack_bool(u);
	return m;
}

void wire_put_row(struct buf *out, const struct wire_row *row)
{
	const struct store_rcpt *r = &row->rcpt;

	put_stored(out, &row->message);
	pack_u32(out, r->n);
	put_rcpt(out, &r->rcpt);
	pack_u8(out, (uint8_t)r->state);
	pack_u32(out, r->attempts);
	pack_u8(out, r->warned);
	put_outcome(out, &r->last);
	pack_slice(out, r->last_remote);
	pack_i64(out, r->last_at);
	pack_u8(out, r->damaged);
	pack_i64(out, row->age);
	pack_i64(out, row->due_in);
	pack_i64(out, row->rests);
	put_outcome(out, &row->site_last);
	pack_slice(out, row->site_remote);
}

bool wire_get_row(struct slice in, struct wire_row *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_row){.message = get_stored(&u)};
	struct store_rcpt *r = &ret->rcpt;
	r->id = ret->message.id;
	r->n = unpack_u32(&u);
	r->rcpt = get_rcpt(&u);
	r->state = unpack_u8_max(&u, STORE_STATE_MAX);
	r->attempts = unpack_u32(&u);
	r->warned = unpack_bool(&u);
	r->last = get_outcome(&u);
	r->last_remote = get_text(&u);
	r->last_at = unpack_i64(&u);
	r->damaged = unpack_bool(&u);
	ret->age = unpack_i64(&u);
	ret->due_in = unpack_i64(&u);
	ret->rests = unpack_i64(&u);
	ret->site_last = get_outcome(&u);
	ret->site_remote = get_text(&u);
	return unpack_done(&u);
}

void wire_put_trace(struct buf *out, const struct wire_trace *trace)
{
	put_stored(out, &trace->message);
	pack_i64(out, trace->age);
}

bool wire_get_trace(struct slice in, struct wire_trace *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_trace){.message = get_stored(&u)};
	ret->age = unpack_i64(&u);
	return unpack_done(&u);
}

void wire_put_history(struct buf *out, const struct store_history *line)
{
	pack_u8(out, (uint8_t)line->event);
	pack_i64(out, line->at);
	pack_u32(out, line->n);
	put_outcome(out, &line->outcome);
	pack_slice(out, line->remote);
	pack_i64(out, line->took);
	pack_u64(out, line->about);
	pack_slice(out, line->text);
	pack_i64(out, line->next_due);
}

bool wire_get_history(struct slice in, struct store_history *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct store_history){.event = unpack_u8_max(&u, STORE_EVENT_NOTE)};
	ret->at = unpack_i64(&u);
	ret->n = unpack_u32(&u);
	ret->outcome = get_outcome(&u);
	ret->remote = get_text(&u);
	ret->took = unpack_i64(&u);
	ret->about = get_id(&u);
	ret->text = get_text(&u);
	ret->next_due = unpack_i64(&u);
	return unpack_done(&u);
}

void wire_put_site(struct buf *out, const struct queue_site_view *site)
{
	pack_slice(out, site->site);
	pack_u32(out, site->window);
	pack_u32(out, site->under_way);
	pack_u64(out, site->waiting);
	pack_i64(out, site->paused);
	put_outcome(out, &site->last);
	pack_slice(out, site->last_remote);
}

bool wire_get_site(struct slice in, struct queue_site_view *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct queue_site_view){.site = get_text(&u)};
	ret->window = unpack_u32(&u);
	ret->under_way = unpack_u32(&u);
	ret->waiting = unpack_u64(&u);
	ret->paused = unpack_i64(&u);
	ret->last = get_outcome(&u);
	ret->last_remote = get_text(&u);
	return unpack_done(&u);
}

void wire_put_end(struct buf *out, const struct wire_end *end)
{
	pack_u8(out, (uint8_t)end->result);
	pack_u64(out, end->count);
	pack_u64(out, end->busy);
	for (int i = 0; i <= STORE_STATE_MAX; i++)
		pack_u64(out, end->states[i]);
	put_cursor(out, &end->cursor);
}

bool wire_get_end(struct slice in, struct wire_end *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_end){.result = unpack_u8_max(&u, STORE_RESULT_MAX)};
	ret->count = unpack_u64(&u);
	ret->busy = unpack_u64(&u);
	for (int i = 0; i <= STORE_STATE_MAX; i++)
		ret->states[i] = unpack_u64(&u);
	ret->cursor = get_cursor(&u);
	return unpack_done(&u);
}

void wire_put_backup(struct buf *out, const struct wire_backup *backup)
{
	pack_u8(out, (uint8_t)backup->verb);
	pack_u64(out, backup->number);
}

bool wire_get_backup(struct slice in, struct wire_backup *ret)
{
	struct unpack u = {.in = in};

	*ret = (struct wire_backup){.verb = unpack_u8_max(&u, WIRE_BACKUP_FINISH)};
	ret->number = unpack_u64(&u);
	return unpack_done(&u) && (ret->verb == WIRE_BACKUP_BEGIN) == (ret->number == 0);
}
