/*
 * A session and its user: AUTH by way of the auth role, what the user may send as, and how much.
 *
 * Questions go to the auth role with a number; what comes back under another is for one that is over. While an answer
 * is awaited no event is pulled. It has a time: who asks is told "later" in the end, whatever became of the role.
 */
#include "role/session_private.h"

#include "base/heap.h"
#include "net/log.h"

#include <assert.h>
#include <string.h>

#define PATIENCE (60 * SECOND) /* longer than a full line of passwords takes, with the longest delay */

static mono_ms now_of(const struct session *s)
{
	return loop_mono(s->receiver->loop);
}

/* A new question; the frame for it is empty. */
static struct wire_auth_tag new_tag(struct session *s)
{
	s->question = ++s->receiver->auth_serial;
	buf_reset(&s->receiver->frame);
	return (struct wire_auth_tag){s->tag, s->question};
}

static bool ask(struct session *s, uint16_t type)
{
	s->waits_auth = receiver_tell_auth(s->receiver, type);
	s->auth_deadline = now_of(s) + PATIENCE;
	return s->waits_auth;
}

/* ---- what this session can use --------------------------------------------------------------------------------- */

static enum sasl_mechanism mechanism_at(const struct session *s, size_t i)
{
	enum sasl_mechanism m = SASL_PLAIN;
	bool found = sasl_find(s->listener->server.mechanisms[i].name, &m);

	assert(found);
	return m;
}

void session_set_mechanisms(struct session *s)
{
	struct tls_binding binding;
	struct tls_facts tls;
	uint32_t usable = 0;

	conn_tls_binding(s->conn, &binding);
	bool secure = conn_tls_facts(s->conn, &tls);
	bool binds = binding.exporter_n > 0 || binding.unique_n > 0;
	s->plus_offered = false;
	for (size_t i = 0; i < s->listener->server.mechanism_count; i++) {
		enum sasl_mechanism m = mechanism_at(s, i);
		bool plus = sasl_row(m)->plus, certified = sasl_row(m)->certified;
		/* In the clear what needs TLS is not offered, and who tries it hears what it needs. */
		if (!secure || ((!plus || binds) && (!certified || tls.holder.n > 0)))
			usable |= (uint32_t)1 << i;
		s->plus_offered |= plus && binds;
	}
	smtp_server_set_mechanisms(s->engine, usable);
}

/* ---- AUTH ------------------------------------------------------------------------------------------------------ */

static void reply_later(struct session *s)
{
	session_reply(s, REPLY_AUTH_TEMPORARY, SLICE_NONE, SLICE_NONE);
}

void session_on_auth(struct session *s, const struct smtp_event *ev)
{
	struct tls_binding binding;
	struct tls_facts tls;
	struct wire_auth_begin begin = {
		.tag = new_tag(s),
		.plus_offered = s->plus_offered,
		.given = ev->given,
		.client = s->client.address,
		.session = slice_from_cstr(s->name),
		.response = ev->response,
	};
	bool found = sasl_find(ev->text, &begin.mechanism);

	assert(found);
	conn_tls_binding(s->conn, &binding);
	begin.exporter = slice_of((const char *)binding.exporter, binding.exporter_n);
	begin.unique = slice_of((const char *)binding.unique, binding.unique_n);
	if (sasl_row(begin.mechanism)->certified && conn_tls_facts(s->conn, &tls))
		begin.certificate = tls.holder;
	s->mechanism = begin.mechanism;
	wire_put_auth_begin(&s->receiver->frame, &begin);
	if (!ask(s, WIRE_AUTH_BEGIN))
		reply_later(s);
}

void session_on_auth_response(struct session *s, const struct smtp_event *ev)
{
	struct wire_auth_step response = {{s->tag, s->question}, ev->response};

	if (s->question == 0) { /* who knew of the exchange is gone */
		reply_later(s);
		return;
	}
	buf_reset(&s->receiver->frame);
	wire_put_auth_step(&s->receiver->frame, &response);
	if (!ask(s, WIRE_AUTH_RESPONSE))
		reply_later(s);
}

void session_auth_forget(struct session *s)
{
	struct wire_auth_tag tag = {s->tag, s->question};

	s->waits_auth = false;
	s->question = 0;
	if (tag.serial == 0)
		return;
	buf_reset(&s->receiver->frame);
	wire_put_auth_tag(&s->receiver->frame, &tag);
	receiver_tell_auth(s->receiver, WIRE_AUTH_FORGET);
}

/* Whether an answer is the one that is awaited. */
static bool is_awaited(struct session *s, uint64_t serial)
{
	return s->waits_auth && serial == s->question;
}

static bool is_about_mail(const struct session *s)
{
	return s->spends;
}

void session_challenge(struct session *s, uint64_t serial, struct slice challenge)
{
	if (!is_awaited(s, serial) || is_about_mail(s))
		return;
	s->waits_auth = false;
	smtp_server_challenge(s->engine, challenge);
	session_go_on(s);
}

static enum reply_id reply_of(enum sasl_result result)
{
	switch (result) {
	case SASL_GOOD:
		return REPLY_AUTH_OK;
	case SASL_WRONG:
		return REPLY_AUTH_CREDENTIALS;
	case SASL_DISABLED:
		return REPLY_AUTH_DISABLED;
	case SASL_WEAK:
		return REPLY_AUTH_WEAK;
	case SASL_TRANSITION:
		return REPLY_AUTH_TRANSITION;
	case SASL_LIMITED:
		return REPLY_AUTH_RATE;
	case SASL_UNAVAILABLE:
	case SASL_CHALLENGE:
		break;
	}
	return REPLY_AUTH_TEMPORARY;
}

/* The texts are one behind the other in one piece of memory. */
static struct session_user *keep_user(const struct wire_auth_done *done)
{
	size_t octets = done->login.n;

	for (size_t i = 0; i < done->address_count; i++)
		octets += done->addresses[i].n;
	struct session_user *u = heap_alloc(sizeof *u + octets + 1);
	if (!u)
		return NULL;
	char *at = (char *)(u + 1);
	u->login = slice_of(at, done->login.n);
	memcpy(at, done->login.p, done->login.n);
	at += done->login.n;
	u->address_count = done->address_count;
	for (size_t i = 0; i < done->address_count; i++) {
		u->addresses[i] = slice_of(at, done->addresses[i].n);
		memcpy(at, done->addresses[i].n ? done->addresses[i].p : "", done->addresses[i].n);
		at += done->addresses[i].n;
	}
	return u;
}

void session_forget_user(struct session *s)
{
	heap_free(s->user);
	s->user = NULL;
	s->client.authenticated = false;
}

void session_authenticated(struct session *s, const struct wire_auth_done *done)
{
	if (!is_awaited(s, done->tag.serial) || is_about_mail(s))
		return;
	enum sasl_result result = done->result;
	s->waits_auth = false;
	s->question = 0;
	if (result == SASL_GOOD) {
		s->user = keep_user(done);
		s->client.authenticated = s->user != NULL;
		if (!s->user)
			result = SASL_UNAVAILABLE;
	}
	session_reply(s, reply_of(result), slice_from_cstr(sasl_row(s->mechanism)->name), SLICE_NONE);
	session_go_on(s);
}

/* ---- what the user may send ------------------------------------------------------------------------------------ */

bool session_may_send_as(const struct session *s, const struct mail_address *address)
{
	const struct session_user *u = s->user;

	return !u || account_patterns_allow(u->addresses, u->address_count, address, s->conf->delimiter);
}

bool session_spend(struct session *s, const struct smtp_event *ev)
{
	if (!s->user)
		return false;
	struct wire_auth_spend spend = {new_tag(s), s->user->login};
	wire_put_auth_spend(&s->receiver->frame, &spend);
	s->asking = *ev;
	s->spends = ask(s, WIRE_AUTH_SPEND);
	if (!s->spends)
		session_on_spent(s, WIRE_ALLOWANCE_UNKNOWN);
	return true;
}

void session_spent(struct session *s, const struct wire_auth_spent *spent)
{
	if (!is_awaited(s, spent->tag.serial) || !is_about_mail(s))
		return;
	s->waits_auth = s->spends = false;
	s->question = 0;
	s->user->room = spent->recipients;
	session_on_spent(s, spent->allowance);
	session_go_on(s);
}

bool session_user_has_room(const struct session *s)
{
	return !s->user || smtp_server_envelope(s->engine)->rcpt_count < s->user->room;
}

void session_used(struct session *s, size_t recipients)
{
	if (!s->user)
		return;
	struct wire_auth_used used = {s->user->login,
				      (uint32_t)(recipients < WIRE_RCPTS_MAX ? recipients : WIRE_RCPTS_MAX)};
	buf_reset(&s->receiver->frame);
	wire_put_auth_used(&s->receiver->frame, &used);
	/* What cannot be told is not counted. */
	receiver_tell_auth(s->receiver, WIRE_AUTH_USED);
}

/* ---- no answer ------------------------------------------------------------------------------------------------- */

static void give_up(struct session *s)
{
	bool about_mail = is_about_mail(s);

	session_auth_forget(s);
	s->spends = false;
	if (about_mail)
		session_on_spent(s, WIRE_ALLOWANCE_UNKNOWN);
	else
		reply_later(s);
}

bool session_auth_expires(struct session *s)
{
	if (!s->waits_auth || now_of(s) < s->auth_deadline)
		return false;
	log_event(LOG_AUTH_UNAVAILABLE, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
		  LOG_CSTR("reason", "no answer came"));
	give_up(s);
	return true;
}

/* An exchange under way is over: between two steps, too, the new role knows nothing of it. */
void session_auth_lost(struct session *s)
{
	if (!s->waits_auth) {
		s->question = 0;
		return;
	}
	give_up(s);
	session_go_on(s);
}
