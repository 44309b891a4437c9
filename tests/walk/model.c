#include "model.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static const uint16_t codes[] = {
#define X(code) code,
	MODEL_CODES(X)
#undef X
};

model_set model_code(unsigned code)
{
	for (unsigned i = 0; i < MODEL_BITS; i++)
		if (codes[i] == code)
			return (model_set)1 << i;
	return 0;
}

void model_code_text(model_set set, char text[MODEL_BITS * 4 + 1])
{
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < MODEL_BITS; i++)
		if (set & (model_set)1 << i)
			n += (size_t)snprintf(text + n, 5, "%s%u", n ? "/" : "", codes[i]);
}

static model_set answer_code(enum reply_id id)
{
	return model_code(reply_row(id)->code);
}

static bool is_5yz(model_set set)
{
	return (set & ~CODES_5YZ) == 0;
}

/* ---- what is foretold -------------------------------------------------------------------------------------------- */

static void more_reply(struct model *m, model_set set)
{
	assert(m->replies < MODEL_REPLIES);
	m->reply[m->replies++] = set;
}

/* server.h, errors_max: a 5yz counts, once however often it is said in LMTP. */
static void reply(struct model *m, model_set set)
{
	more_reply(m, set);
	m->errors += is_5yz(set & ~MODEL_FLAGS);
}

static struct model_event *event(struct model *m, enum smtp_event_type type)
{
	assert(m->events < MODEL_EVENTS);
	struct model_event *ev = &m->event[m->events++];
	ev->type = type;
	ev->fate = FATE_NONE;
	return ev;
}

static void forget(struct model *m, enum model_place place)
{
	m->place = place;
	m->forwarded = (struct model_told){0};
	m->envelope = (struct model_envelope){0};
	m->tries = 0;
}

/* The owner hears RESET when he knows of a transaction that ends without END. */
static void drop(struct model *m, enum model_place place)
{
	if (m->known)
		event(m, SMTP_EV_RESET);
	m->known = false;
	forget(m, place);
}

/* The owner hears AUTH_ABORT when an exchange that he knows of ends without him. */
static void abort_exchange(struct model *m)
{
	if (m->exchange)
		event(m, SMTP_EV_AUTH_ABORT);
	m->exchange = false;
}

static void close_session(struct model *m)
{
	abort_exchange(m);
	drop(m, PLACE_OVER);
	event(m, SMTP_EV_CLOSE);
	m->in_data = false;
}

/* 421 may come at any time, and the server closes (RFC 5321 3.8). */
static void leave(struct model *m, model_set set)
{
	reply(m, set);
	close_session(m);
}

/* The owner is asked; false when the client is gone before he answers. */
static bool asked(struct model *m, struct model_event *ev)
{
	if (m->fate == FATE_NONE || m->asks++ != m->fate_at)
		return true;
	ev->fate = m->fate;
	if (m->fate == FATE_LOST) {
		close_session(m);
		return false;
	}
	if (m->fate == FATE_SHUTDOWN) {
		m->stopping = true;
		return true;
	}
	m->late = true;
	m->now += MODEL_LATE;
	m->since = m->now;
	if (m->content_n == 0)
		m->message_since = m->now;
	return true;
}

/* A server that stops says so once it owes no answer; so does one whose patience with a message ended meanwhile. */
static void answered(struct model *m)
{
	bool over = m->late && model_deadline(m) <= m->now;

	m->late = false;
	if (m->stopping || over)
		model_shutdown(m);
}

void model_await_tls(struct model *m, const struct smtp_server_config *config, mono_ms now)
{
	/* The tables behind `replies` need no cleaning. */
	memset(m, 0, offsetof(struct model, reply));
	m->config = config;
	m->now = m->since = now;
	m->place = PLACE_NEW;
	m->awaits_tls = true;
}

void model_start(struct model *m, const struct smtp_server_config *config, mono_ms now, enum reply_id greeting,
		 bool pushed, enum model_fate fate, uint32_t usable)
{
	model_await_tls(m, config, now);
	m->awaits_tls = false;
	m->place = reply_row(greeting)->code == 220 ? PLACE_NEW : PLACE_REFUSED;
	m->must_wait = true;
	m->no_mail = reply_row(greeting)->code == 521;
	m->secure = config->tls == SMTP_TLS_IMPLICIT;
	m->usable = usable;
	model_step(m, fate, 0);

	struct model_event *ev = event(m, SMTP_EV_CONNECT);
	ev->answer = greeting;
	if (!asked(m, ev))
		return;
	if (pushed && config->refuse_early) {
		leave(m, C(554)); /* RFC 5321 4.3.1 */
	} else if (m->stopping) {
		leave(m, C(421));
	} else {
		reply(m, answer_code(greeting) | MODEL_BARE);
		if (reply_row(greeting)->code == 421)
			close_session(m);
	}
}

void model_seen(struct model *m)
{
	m->must_wait = false;
	m->replies = m->events = m->pool_n = m->octets_n = 0;
}

void model_step(struct model *m, enum model_fate fate, unsigned fate_at)
{
	m->fate = fate;
	m->fate_at = fate_at;
	m->asks = 0;
}

/* ---- lines in general -------------------------------------------------------------------------------------------- */

bool model_octets(struct model *m)
{
	if (m->place == PLACE_OVER)
		return false;
	/* Behind STARTTLS nothing may be said in the clear (CVE-2011-0411). */
	if (m->awaits_tls || (m->must_wait && m->config->refuse_early)) {
		m->awaits_tls = false;
		leave(m, C(554));
		return false;
	}
	return true;
}

static bool another_idle(struct model *m)
{
	if (m->idle >= m->config->idle_commands_max) {
		leave(m, C(421));
		return false;
	}
	m->idle++;
	return true;
}

enum { LAST = LINE_LAST, PROGRESS = LINE_PROGRESS, QUIT = 4 };

/* A whole line has come; false when nothing more is to be said to it. */
static bool line(struct model *m, unsigned flags)
{
	if (!model_octets(m))
		return false;
	m->since = m->now;
	m->blanks = flags & LINE_BLANK ? m->blanks + 1 : 0;
	m->must_wait |= flags & LAST;
	if (flags & QUIT)
		return true;
	if (m->errors >= m->config->errors_max) {
		leave(m, C(421));
		return false;
	}
	return flags & PROGRESS || another_idle(m);
}

/* RFC 5321 3.1, RFC 7504 3: whoever was refused may say QUIT. */
static bool only_quit(struct model *m)
{
	if (m->place != PLACE_REFUSED)
		return false;
	reply(m, m->no_mail ? C(521) : C(503));
	return true;
}

static bool needs_tls(const struct model *m)
{
	return m->config->tls == SMTP_TLS_REQUIRE && !m->secure && m->place != PLACE_REFUSED;
}

/* RFC 3207 4: 530 to every command but those that lead to TLS or away. */
static bool not_served(struct model *m)
{
	if (!needs_tls(m))
		return only_quit(m);
	reply(m, C(530));
	return true;
}

/* RFC 4954 6: 530 to every command that wants to know who is there. */
static bool needs_auth(struct model *m)
{
	if (!m->config->auth_required || m->authenticated)
		return false;
	reply(m, C(530));
	return true;
}

void model_other_protocol(struct model *m)
{
	if (model_octets(m))
		leave(m, C(421));
}

void model_refused_line(struct model *m, model_set set, unsigned flags)
{
	if (flags & LINE_NUL && m->blanks >= 2) {
		model_other_protocol(m);
		return;
	}
	if (line(m, flags & (LAST | PROGRESS | LINE_BLANK)) &&
	    (flags & LINE_NO_COMMAND || !(flags & LINE_CLEAR ? only_quit(m) : not_served(m))) &&
	    !(flags & LINE_AUTH && needs_auth(m)))
		reply(m, set);
}

void model_ask_plain(struct model *m, enum smtp_event_type type, struct slice text, enum reply_id answer)
{
	if (!line(m, 0) || not_served(m) || needs_auth(m))
		return;
	struct model_event *ev = event(m, type);
	ev->text = text;
	ev->answer = answer;
	if (!asked(m, ev))
		return;
	reply(m, answer_code(answer));
	answered(m);
}

/* RFC 3207 4.2: what the client said before counts no more. */
bool model_starttls(struct model *m, bool argument, enum reply_id answer)
{
	bool off = m->config->tls == SMTP_TLS_OFF;

	if (!line(m, off ? 0 : LAST) || only_quit(m))
		return false;
	if (off || argument || m->secure) {
		reply(m, off ? C(502) : argument ? C(501) : C(503));
		return false;
	}
	struct model_event *ev = event(m, SMTP_EV_STARTTLS);
	ev->answer = answer;
	if (!asked(m, ev))
		return false;
	m->awaits_tls = answer_code(answer) == C(220);
	reply(m, answer_code(answer) | (m->awaits_tls ? MODEL_MAYBE : 0));
	if (m->awaits_tls) {
		m->extended = m->mail_tried = m->authenticated = false;
		m->peer = SLICE_NONE;
		drop(m, PLACE_NEW);
	}
	answered(m);
	return m->awaits_tls && m->place != PLACE_OVER;
}

void model_secured(struct model *m)
{
	m->awaits_tls = m->must_wait = false;
	m->secure = true;
	m->since = m->now;
}

/* RFC 5321 4.1.4: EHLO is RSET as well; a refused one changes nothing. RFC 2033 4.1: LHLO in LMTP, and there alone. */
void model_helo(struct model *m, char verb, bool good, struct slice name, enum reply_id answer)
{
	if (!line(m, LAST) || (verb == 'H' ? not_served(m) : only_quit(m)))
		return;
	if ((verb == 'L') != m->config->lmtp) {
		reply(m, C(500));
		return;
	}
	if (!good) {
		reply(m, C(501));
		return;
	}
	struct model_event *ev = event(m, SMTP_EV_HELO);
	ev->text = name;
	ev->answer = answer;
	ev->extended = verb != 'H';
	if (!asked(m, ev))
		return;
	if (reply_row(answer)->code == 250) {
		m->extended = verb != 'H';
		m->peer = name;
		m->mail_tried = false;
		drop(m, PLACE_READY);
	}
	reply(m,
	      answer_code(answer) | (reply_row(answer)->code == 250 ? MODEL_BARE | (verb == 'H' ? 0 : MODEL_EHLO) : 0));
	answered(m);
}

/* ---- AUTH (RFC 4954) --------------------------------------------------------------------------------------------- */

bool model_may_use(const struct model *m, size_t mechanism)
{
	return m->usable >> mechanism & 1 && (m->secure || m->config->mechanisms[mechanism].in_clear);
}

/* Where the configuration has it; mechanism_count when it has not. */
static size_t find_mechanism(const struct model *m, struct slice name)
{
	size_t i = 0;

	while (i < m->config->mechanism_count && !slice_eq(m->config->mechanisms[i].name, name))
		i++;
	return i;
}

/* Section 4, and what stands in the way of a mechanism in the clear: 538 where others may be used, 523 where none. */
static model_set auth_fault(const struct model *m, const struct model_auth *auth)
{
	size_t i = find_mechanism(m, auth->name);
	bool any = false;

	if (m->place != PLACE_READY || !m->extended || m->authenticated)
		return C(503);
	if (auth->form != AUTH_FINE)
		return C(501);
	if (i == m->config->mechanism_count || !(m->usable >> i & 1))
		return C(504);
	for (size_t k = 0; k < m->config->mechanism_count; k++)
		any |= model_may_use(m, k);
	if (!model_may_use(m, i))
		return any ? C(538) : C(523);
	if (auth->given && auth->kind == RESPONSE_TOO_LONG)
		return C(500);
	if (m->config->mechanisms[i].server_first && auth->given)
		return C(501);
	return auth->given && auth->kind != RESPONSE_FINE ? C(501) : 0;
}

/* A mechanism that is over with its initial response may have more behind it. */
static bool is_last(const struct model *m, const struct model_auth *auth)
{
	size_t i = find_mechanism(m, auth->name);
	bool known = i < m->config->mechanism_count && m->usable >> i & 1;

	return !(known && m->config->mechanisms[i].one_step && auth->given);
}

static void judge(struct model *m, struct model_event *ev, const struct model_auth *auth, enum reply_id answer)
{
	ev->given = auth->given;
	ev->response = auth->given ? auth->response : SLICE_NONE;
	ev->answer = answer;
	m->exchange = true;
	if (!asked(m, ev))
		return;
	m->exchange = answer == REPLY_AUTH_CHALLENGE;
	m->place = m->exchange ? PLACE_AUTH : PLACE_READY;
	m->authenticated = answer == REPLY_AUTH_OK;
	reply(m, answer_code(answer) | (m->exchange ? MODEL_BARE : 0));
	answered(m);
}

void model_auth(struct model *m, const struct model_auth *auth, enum reply_id answer)
{
	bool off = m->config->mechanism_count == 0;

	if (!line(m, off || !is_last(m, auth) ? 0 : LAST) || not_served(m))
		return;
	model_set fault = off ? C(502) : auth_fault(m, auth);
	if (fault) {
		reply(m, fault);
		return;
	}
	struct model_event *ev = event(m, SMTP_EV_AUTH);
	ev->text = auth->name;
	judge(m, ev, auth, answer);
}

void model_response(struct model *m, const struct model_auth *auth, enum reply_id answer)
{
	if (!model_octets(m))
		return;
	m->since = m->now;
	m->must_wait |= auth->kind != RESPONSE_BARE && auth->kind != RESPONSE_TOO_LONG;
	if (!another_idle(m))
		return;
	if (auth->kind == RESPONSE_FINE) {
		judge(m, event(m, SMTP_EV_AUTH_RESPONSE), auth, answer);
		return;
	}
	abort_exchange(m);
	m->place = PLACE_READY;
	reply(m, auth->kind == RESPONSE_TOO_LONG ? C(500) : C(501));
}

/* ---- XCLIENT and XFORWARD ---------------------------------------------------------------------------------------- */

static const char *const attr_names[SMTP_ATTRS] = {"NAME",  "REVERSE_NAME", "ADDR",     "PORT",  "PROTO", "HELO",
						   "LOGIN", "DESTADDR",     "DESTPORT", "IDENT", "SOURCE"};

struct slice model_told_text(const struct model_told *told, char text[MODEL_TOLD_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < SMTP_ATTRS; i++)
		if (told->value[i].n > 0)
			n += (size_t)snprintf(text + n, MODEL_TOLD_MAX - n, "%s%s=%.*s", n ? " " : "", attr_names[i],
					      SLICE_ARGS(told->value[i]));
	return slice_of(text, n);
}

/* As it is now, kept until the client has seen the replies. */
static struct slice keep_told(struct model *m, const struct model_told *told)
{
	assert(m->octets_n + MODEL_TOLD_MAX <= MODEL_OCTETS);
	struct slice text = model_told_text(told, m->octets + m->octets_n);
	m->octets_n += text.n;
	return text;
}

static void take_told(struct model_told *told, const struct model_attrs *attrs)
{
	for (size_t i = 0; i < SMTP_ATTRS && attrs->told[i].shown.n > 0; i++)
		told->value[attrs->told[i].attr] = attrs->told[i].shown;
}

/* What stands in the way of either; 0: nothing. Where nobody may say it, it is no command (RFC 5321 4.1.5). */
static model_set told_fault(const struct model *m, const struct model_attrs *attrs, bool known, bool trusted)
{
	if (!known)
		return C(500);
	if (m->place != PLACE_NEW && m->place != PLACE_READY)
		return C(503);
	if (attrs->text.n == 0)
		return C(501);
	if (!trusted)
		return C(550);
	return attrs->bad ? C(501) : 0;
}

/* XCLIENT_README: the session is as if that client had just come; but what was told of him before still holds. */
void model_xclient(struct model *m, const struct model_attrs *attrs, enum reply_id answer)
{
	if (!line(m, 0) || not_served(m))
		return;
	model_set fault = told_fault(m, attrs, m->config->knows_xclient, m->trust.xclient);
	if (fault) {
		reply(m, fault);
		return;
	}
	take_told(&m->client, attrs);
	struct model_event *ev = event(m, SMTP_EV_XCLIENT);
	ev->told = keep_told(m, &m->client);
	ev->answer = answer;
	if (!asked(m, ev))
		return;
	m->extended = m->mail_tried = m->authenticated = false;
	m->peer = SLICE_NONE;
	m->errors = m->idle = m->messages = 0;
	m->no_mail = reply_row(answer)->code == 521;
	drop(m, reply_row(answer)->code == 220 ? PLACE_NEW : PLACE_REFUSED);
	reply(m, answer_code(answer) | (reply_row(answer)->code == 220 ? MODEL_BARE : 0));
	if (reply_row(answer)->code == 421)
		close_session(m);
	answered(m);
}

/* XFORWARD_README: it tells of the next transaction; the first one makes all that it does not name unavailable. */
void model_xforward(struct model *m, const struct model_attrs *attrs)
{
	static const enum smtp_attr all[] = {SMTP_ATTR_NAME, SMTP_ATTR_ADDR,  SMTP_ATTR_PORT,  SMTP_ATTR_PROTO,
					     SMTP_ATTR_HELO, SMTP_ATTR_IDENT, SMTP_ATTR_SOURCE};

	if (!line(m, 0) || not_served(m) || (m->config->knows_xforward && needs_auth(m)))
		return;
	model_set fault = told_fault(m, attrs, m->config->knows_xforward, m->trust.xforward);
	if (fault) {
		reply(m, fault);
		return;
	}
	bool first = m->forwarded.value[SMTP_ATTR_NAME].n == 0;
	for (size_t i = 0; first && i < sizeof all / sizeof *all; i++)
		m->forwarded.value[all[i]] = SLICE("[UNAVAILABLE]");
	take_told(&m->forwarded, attrs);
	reply(m, C(250));
}

void model_rset(struct model *m)
{
	if (!line(m, 0) || not_served(m))
		return;
	drop(m, m->place == PLACE_NEW ? PLACE_NEW : PLACE_READY);
	m->mail_tried = false;
	reply(m, C(250));
}

void model_quit(struct model *m, bool argument)
{
	if (!line(m, LAST | QUIT))
		return;
	reply(m, argument ? C(501) : C(221));
	if (!argument)
		close_session(m);
}

void model_endless_line(struct model *m)
{
	if (model_octets(m))
		leave(m, C(421));
}

void model_lost(struct model *m)
{
	if (m->place != PLACE_OVER)
		close_session(m);
}

/* A client that is about to begin the handshake would take no reply for one. */
void model_shutdown(struct model *m)
{
	if (m->place != PLACE_OVER && m->awaits_tls)
		close_session(m);
	else if (m->place != PLACE_OVER)
		leave(m, C(421));
}

void model_silence(struct model *m)
{
	model_shutdown(m);
}

mono_ms model_deadline(const struct model *m)
{
	mono_ms step = m->since + (m->in_data ? m->config->data_timeout : m->config->command_timeout);
	mono_ms whole = m->message_since + m->config->message_timeout;

	if (m->place == PLACE_OVER)
		return NEVER;
	if (m->awaits_tls)
		return m->since + m->config->tls_timeout;
	return (m->in_data || m->place == PLACE_CHUNKS) && whole < step ? whole : step;
}

/* ---- MAIL and RCPT ----------------------------------------------------------------------------------------------- */

/* RFC 5321 2.2.1, RFC 6531 3.1, RFC 3030 3: what is not offered does not exist; some are offered with another alone. */
static bool is_offered(const struct model *m, enum model_key key)
{
	const struct smtp_server_config *c = m->config;

	switch (key) {
	case KEY_SIZE:
		return true;
	case KEY_BODY:
		return c->offer_8bitmime || (c->offer_binarymime && c->offer_chunking);
	case KEY_SMTPUTF8:
		return c->offer_smtputf8 && c->offer_8bitmime;
	case KEY_AUTH:
		return c->mechanism_count > 0;
	case KEY_RET:
	case KEY_ENVID:
	case KEY_NOTIFY:
	case KEY_ORCPT:
		return c->offer_dsn;
	default:
		return false;
	}
}

static bool is_suspended(const struct model *m, enum model_key key)
{
	static const struct slice names[] = {[KEY_SIZE] = {"SIZE", 4}, [KEY_RET] = {"RET", 3}};

	for (size_t i = 0; i < m->config->suspended_count; i++)
		if ((key == KEY_SIZE || key == KEY_RET) && slice_eq(m->config->suspended[i], names[key]))
			return true;
	return false;
}

static bool is_body_offered(const struct model *m, uint64_t body)
{
	return body == MAIL_BODY_7BIT || (body == MAIL_BODY_8BITMIME && m->config->offer_8bitmime) ||
	       (body == MAIL_BODY_BINARYMIME && m->config->offer_binarymime && m->config->offer_chunking);
}

static void take_param(const struct model_param *p, struct model_envelope *e, struct model_rcpt *r)
{
	switch (p->key) {
	case KEY_SIZE:
		e->declared = p->value;
		break;
	case KEY_BODY:
		e->body = (enum mail_body)p->value;
		break;
	case KEY_SMTPUTF8:
		e->utf8 = true;
		break;
	case KEY_RET:
		e->ret = (enum mail_ret)p->value;
		break;
	case KEY_ENVID:
		e->envid = p->shown;
		break;
	case KEY_NOTIFY:
		r->notify = (uint8_t)p->value;
		break;
	case KEY_ORCPT:
		r->orcpt = p->shown;
		break;
	default:
		break;
	}
}

/* Parameters are read in their order, the first fault decides (RFC 5321 4.1.1.11). Returns 0 when all are good. */
static model_set params(const struct model *m, const struct model_param *const *param, size_t n, bool mail,
			struct model_envelope *e, struct model_rcpt *r)
{
	unsigned seen = 0;

	if (n > 0 && !m->extended)
		return C(555);
	for (size_t i = 0; i < n; i++) {
		const struct model_param *p = param[i];
		bool of_rcpt = p->key == KEY_NOTIFY || p->key == KEY_ORCPT;

		if (p->key == KEY_UGLY)
			return C(501);
		if (of_rcpt == mail || !is_offered(m, p->key))
			return C(555);
		if (seen & 1u << p->key)
			return C(501);
		if (is_suspended(m, p->key))
			return C(455);
		seen |= 1u << p->key;
		if (p->bad || (p->key == KEY_BODY && !is_body_offered(m, p->value)) ||
		    (p->key == KEY_ORCPT && p->value && !m->envelope.utf8))
			return C(501);
		take_param(p, e, r);
	}
	return 0;
}

static model_set mail_fault(const struct model *m, const struct model_path *path,
			    const struct model_param *const *param, size_t n, struct model_envelope *e)
{
	struct model_rcpt none = {0};
	model_set fault = path->bad ? C(501) : params(m, param, n, true, e, &none);

	if (fault)
		return fault;
	if (e->declared > m->config->size_max)
		return C(552);                                /* RFC 1870 6.1 */
	return path->eight && !e->utf8 ? C(550) | C(553) : 0; /* RFC 6531 3.5 */
}

void model_mail(struct model *m, const struct model_path *path, const struct model_param *const *param, size_t n)
{
	struct model_envelope e = {.sender = path->address};

	if (!line(m, 0) || not_served(m) || needs_auth(m))
		return;
	if (m->place != PLACE_READY) {
		reply(m, C(503));
		return;
	}
	m->mail_tried = true;
	if (m->messages >= m->config->messages_max) {
		leave(m, C(421));
		return;
	}
	model_set fault = mail_fault(m, path, param, n, &e);
	if (fault) {
		reply(m, fault);
		return;
	}
	struct model_event *ev = event(m, SMTP_EV_MAIL);
	ev->text = path->address;
	ev->answer = path->mail;
	ev->envelope = e;
	ev->told = keep_told(m, &m->forwarded);
	if (!asked(m, ev))
		return;
	reply(m, answer_code(path->mail));
	if (reply_row(path->mail)->code == 250) {
		m->envelope = e;
		m->place = PLACE_OPEN;
		m->known = true;
		m->end = path->end;
	}
	answered(m);
}

static model_set rcpt_fault(const struct model *m, const struct model_path *path,
			    const struct model_param *const *param, size_t n, struct model_rcpt *r)
{
	struct model_envelope none = {0};
	model_set fault = path->bad ? C(501) : params(m, param, n, false, &none, r);

	if (fault)
		return fault;
	if (path->eight && !m->envelope.utf8)
		return C(550) | C(553);                           /* RFC 6531 3.5 */
	return m->envelope.n >= m->config->rcpt_max ? C(452) : 0; /* RFC 5321 4.5.3.1.10 */
}

void model_rcpt(struct model *m, const struct model_path *path, const struct model_param *const *param, size_t n)
{
	struct model_rcpt r = {.address = path->address, .end = path->end};

	if (!line(m, PROGRESS) || not_served(m) || needs_auth(m))
		return;
	if (m->place != PLACE_OPEN) {
		reply(m, C(503));
		return;
	}
	/* Beyond what a message may have, RCPT brings nothing on. */
	if (++m->tries > m->config->rcpt_max && !another_idle(m))
		return;
	model_set fault = rcpt_fault(m, path, param, n, &r);
	if (fault) {
		reply(m, fault);
		return;
	}
	struct model_event *ev = event(m, SMTP_EV_RCPT);
	ev->text = path->address;
	ev->answer = path->rcpt;
	ev->rcpt = r;
	if (!asked(m, ev))
		return;
	reply(m, answer_code(path->rcpt));
	if (reply_row(path->rcpt)->code / 100 == 2) {
		m->rcpt[m->envelope.n++] = r;
		m->envelope.rcpt = m->rcpt;
	}
	answered(m);
}

/* ---- messages ---------------------------------------------------------------------------------------------------- */

/* How far a line that may be a field goes: the octets of its name and colon; 0 when it is none; `n` when nobody can
 * say yet. RFC 5322 2.2, 4.5. */
static size_t field_name(const char *p, size_t n, size_t *ret_name)
{
	size_t i = 0;

	while (i < n && p[i] > ' ' && p[i] < 127 && p[i] != ':')
		i++;
	*ret_name = i;
	if (i == 0 && n > 0)
		return 0;
	while (i < n && (p[i] == ' ' || p[i] == '\t'))
		i++;
	return i == n ? n : p[i] == ':' ? i + 1 : 0;
}

struct header {
	size_t end;    /* where the body, or what nobody can say yet, starts */
	size_t octets; /* of whole lines */
	size_t lines, received, by_us;
};

static size_t blanks(struct slice s)
{
	size_t n = 0;

	while (n < s.n && memchr(" \t\r\n", s.p[n], 4))
		n++;
	return n;
}

/* A comment at the start of `s` (RFC 5322 3.2.2), with those inside it. */
static size_t comment(struct slice s)
{
	size_t depth = 0;

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\\' && ++i)
			continue;
		depth += s.p[i] == '(';
		depth -= s.p[i] == ')';
		if (depth == 0)
			return i + 1;
	}
	return s.n;
}

/* Whether the first BY clause of a Received field names us (RFC 5321 4.4). */
static bool is_by(struct slice value, struct slice us)
{
	bool behind_by = false;

	for (;;) {
		value = slice_skip(value, blanks(value));
		if (value.n == 0 || value.p[0] == ';')
			return false;
		if (value.p[0] == '(') {
			value = slice_skip(value, comment(value));
			continue;
		}
		size_t n = 0;
		while (n < value.n && !memchr(" \t\r\n(;", value.p[n], 6))
			n++;
		struct slice word = slice_head(value, n);
		if (behind_by)
			return slice_ieq(word, us);
		behind_by = slice_ieq(word, SLICE("by"));
		value = slice_skip(value, n);
	}
}

/* Whether the line, of which `p` has n octets, goes on with the field before it; then nothing ends that field yet. */
static bool goes_on(const char *p, size_t n)
{
	return n == 0 || *p == ' ' || *p == '\t' || (n == 1 && *p == '\r');
}

/* The run of fields at the start (mail/scan.h). */
static struct header read_header(struct slice s, struct slice us, bool whole)
{
	struct header h = {0};
	struct slice received = SLICE_NONE; /* the value of the Received field that is open */

	for (;;) {
		const char *p = s.p + h.end;
		size_t left = s.n - h.end, name = 0;
		if (received.p && (whole ? left == 0 || !goes_on(p, left) || *p == '\r' : !goes_on(p, left))) {
			h.by_us += is_by(received, us);
			received = SLICE_NONE;
		}
		if (left == 0)
			return h;
		size_t crlf = slice_search(slice_of(p, left), SLICE("\r\n"));
		if (crlf == 0) {
			h.end += 2;
			return h;
		}
		bool folded = (*p == ' ' || *p == '\t') && h.lines > 0;
		size_t value = folded ? 1 : field_name(p, crlf, &name);
		if (value == 0 || (value == crlf && !folded && p[value - 1] != ':'))
			return h; /* no field, or no more than the start of one */
		if (!folded && slice_ieq(slice_of(p, name), SLICE("Received"))) {
			h.received++;
			received = slice_of(p + value, 0);
		}
		h.lines += crlf < left || whole;
		h.end += crlf < left ? crlf + 2 : left;
		if (received.p)
			received.n = (size_t)(s.p + h.end - received.p);
		if (crlf < left || whole)
			h.octets = h.end;
	}
}

static bool has_nul(struct slice s)
{
	return s.n > 0 && memchr(s.p, '\0', s.n) != NULL;
}

static bool has_bare(struct slice s, bool whole)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\n' && (i == 0 || s.p[i - 1] != '\r'))
			return true;
		if (s.p[i] == '\r' && (i + 1 < s.n ? s.p[i + 1] != '\n' : whole))
			return true;
	}
	return false;
}

static bool has_line_over(struct slice s, size_t max, bool whole)
{
	while (s.n) {
		size_t crlf = slice_search(s, SLICE("\r\n"));
		if (crlf == s.n)
			return whole && s.n > max;
		if (crlf + 2 > max)
			return true;
		s = slice_skip(s, crlf + 2);
	}
	return false;
}

model_set model_faults(const struct smtp_server_config *config, struct slice s, bool binary, bool whole)
{
	struct header h = read_header(s, config->name, whole);
	model_set faults = 0;

	faults |= s.n > config->size_max ? C(552) : 0;
	faults |= !binary && has_bare(s, whole) ? C(554) : 0;
	faults |= has_nul(binary ? slice_head(s, h.end) : s) ? C(554) : 0;
	faults |= h.octets > config->header_max || h.lines > config->header_lines_max ? C(552) : 0;
	faults |= !binary && has_line_over(s, config->line_max, whole) ? C(554) : 0;
	faults |= h.received > config->hops_max || h.by_us > config->own_hops_max ? C(554) : 0;
	return faults;
}

size_t model_undo_dots(struct slice wire, char *ret, size_t *ret_n)
{
	struct slice rest = wire;

	for (*ret_n = 0; rest.n;) {
		size_t n = slice_search(rest, SLICE("\r\n"));
		if (n == rest.n)
			return 0;
		struct slice text = slice_head(rest, n + 2);
		rest = slice_skip(rest, n + 2);
		if (slice_eq(text, SLICE(".\r\n")))
			return wire.n - rest.n;
		text = slice_skip(text, text.p[0] == '.');
		memcpy(ret + *ret_n, text.p, text.n);
		*ret_n += text.n;
	}
	return 0;
}

static void begin_message(struct model *m)
{
	m->owed = m->envelope.n;
	m->content_n = 0;
	m->binary = m->envelope.body == MAIL_BODY_BINARYMIME;
	m->message_since = m->now;
}

static model_set faults_so_far(const struct model *m, bool whole)
{
	return model_faults(m->config, slice_of(m->content, m->content_n), m->binary, whole);
}

/* What the owner is shown at the end, kept until the client has seen the replies. */
static void show_message(struct model *m, struct model_event *ev)
{
	assert(m->pool_n + m->envelope.n <= MODEL_POOL && m->octets_n + m->content_n <= MODEL_OCTETS);
	ev->envelope = m->envelope;
	ev->envelope.rcpt = m->pool + m->pool_n;
	memcpy(m->pool + m->pool_n, m->rcpt, m->envelope.n * sizeof *m->rcpt);
	m->pool_n += m->envelope.n;
	memcpy(m->octets + m->octets_n, m->content, m->content_n);
	ev->text = slice_of(m->octets + m->octets_n, m->content_n);
	m->octets_n += m->content_n;
	ev->told = keep_told(m, &m->forwarded);
}

/* LMTP answers the end of the data once for each accepted recipient (RFC 2033 4.2). */
static void end_answers(struct model *m)
{
	bool taken = false;
	size_t times = m->config->lmtp ? m->owed : 1;

	for (size_t i = 0; i < times; i++) {
		model_set set = answer_code(m->config->lmtp ? m->rcpt[i].end : m->end);
		reply(m, set);
		taken |= set == C(250);
	}
	m->messages++;
	if (taken)
		m->idle = 0;
	if (taken)
		m->discarded = 0;
}

static void end_message(struct model *m)
{
	model_set faults = faults_so_far(m, true);

	m->in_data = m->mail_tried = false;
	if (faults) {
		drop(m, PLACE_READY);
		reply(m, faults);
		for (size_t i = 1; m->config->lmtp && i < m->owed; i++)
			more_reply(m, faults);
		return;
	}
	m->known = false;
	struct model_event *ev = event(m, SMTP_EV_END);
	ev->answer = m->end;
	show_message(m, ev);
	if (!asked(m, ev))
		return;
	end_answers(m);
	forget(m, PLACE_READY);
	answered(m);
}

/* Why no message may be sent now; 0 when it may. RFC 5321 3.3: 554 or 503; RFC 2033 4.2: 503. */
static model_set no_message(const struct model *m, bool chunks_too)
{
	if (m->place == PLACE_OPEN && m->envelope.n == 0)
		return m->config->lmtp || m->tries == 0 ? C(503) : C(503) | C(554);
	return m->place == PLACE_OPEN || (chunks_too && m->place == PLACE_CHUNKS) ? 0 : C(503);
}

bool model_data(struct model *m, enum reply_id answer)
{
	if (!line(m, PROGRESS | LAST) || not_served(m) || needs_auth(m))
		return false;
	model_set fault = no_message(m, false);
	if (fault == 0 && m->envelope.body == MAIL_BODY_BINARYMIME)
		fault = C(503); /* RFC 3030 3 */
	if (fault) {
		reply(m, fault);
		return false;
	}
	begin_message(m);
	struct model_event *ev = event(m, SMTP_EV_DATA);
	ev->answer = answer;
	if (!asked(m, ev))
		return false;
	reply(m, answer_code(answer));
	m->in_data = answer_code(answer) == C(354);
	if (!m->in_data) {
		drop(m, PLACE_READY);
		m->mail_tried = false;
	}
	answered(m);
	return m->place == PLACE_OPEN;
}

/* A message with a fault is forgotten at once; the client hears of it at the end. */
static void drop_if_faulty(struct model *m)
{
	if (m->known && faults_so_far(m, false))
		drop(m, m->place);
}

/* Where the line starts that has no end yet. */
static size_t last_line(struct slice s)
{
	size_t at = s.n;

	while (at > 0 && (at < 2 || s.p[at - 1] != '\n' || s.p[at - 2] != '\r'))
		at--;
	return at;
}

void model_text(struct model *m, struct slice wire)
{
	if (!model_octets(m))
		return;
	m->since = m->now;
	if (model_undo_dots(wire, m->content, &m->content_n)) {
		end_message(m);
		return;
	}
	struct slice part = slice_skip(wire, last_line(wire));
	if (!slice_eq(part, SLICE(".\r"))) {
		part = slice_skip(part, part.n > 0 && part.p[0] == '.');
		memcpy(m->content + m->content_n, part.n ? part.p : "", part.n);
		m->content_n += part.n;
	}
	drop_if_faulty(m);
}

/* ---- chunks ------------------------------------------------------------------------------------------------------ */

/* How often a refused chunk is answered: RFC 2033 4.2, 4.3. */
static size_t refusal_times(const struct model *m, bool last)
{
	if (!m->config->lmtp || !last || m->place == PLACE_NEW || m->place == PLACE_REFUSED)
		return 1;
	if (m->place == PLACE_READY)
		return m->mail_tried ? 0 : 1;
	return m->place == PLACE_OPEN ? m->envelope.n : m->owed;
}

/* RFC 3030 2: a failed chunk fails the transaction; RSET has to follow, unless it was the last. */
static void fail_chunk(struct model *m, bool last)
{
	if (m->place == PLACE_NEW || m->place == PLACE_REFUSED)
		return;
	if (m->place == PLACE_OPEN)
		m->owed = m->envelope.n;
	m->mail_tried &= !last;
	drop(m, last || m->place == PLACE_READY ? PLACE_READY : PLACE_FAILED);
}

/* The octets of a refused chunk are read before the client hears of it (RFC 3030 2). */
static void refuse_chunk(struct model *m, struct model_chunk chunk, model_set set)
{
	size_t times = refusal_times(m, chunk.last), shown = m->replies;
	bool fits = chunk.size <= m->config->size_max + SMTP_DATA_DISCARD_MAX - m->discarded;

	if (times > 0)
		reply(m, set);
	for (size_t i = 1; i < times; i++)
		more_reply(m, set);
	if (m->place != PLACE_CHUNKS && fits)
		m->message_since = m->now;
	fail_chunk(m, chunk.last);
	if (!fits) {
		close_session(m);
		return;
	}
	m->discarded += chunk.size;
	if (chunk.size > 0 && (m->stopping || chunk.octets.n < chunk.size)) {
		m->replies = shown;
		m->in_data = true;
		m->since = m->now;
	}
	answered(m);
}

static void take_chunk(struct model *m, struct model_chunk chunk)
{
	m->place = PLACE_CHUNKS;
	if (chunk.size > 0)
		answered(m);
	if (m->place == PLACE_OVER)
		return;
	memcpy(m->content + m->content_n, chunk.octets.p ? chunk.octets.p : "", chunk.octets.n);
	m->content_n += chunk.octets.n;
	assert(m->content_n < MODEL_CONTENT);
	m->in_data = chunk.octets.n < chunk.size;
	if (!m->in_data && chunk.last) {
		end_message(m);
		return;
	}
	drop_if_faulty(m);
	if (m->in_data)
		return;
	reply(m, C(250));
	answered(m);
}

static void first_chunk(struct model *m, struct model_chunk chunk, enum reply_id answer)
{
	begin_message(m);
	struct model_event *ev = event(m, SMTP_EV_DATA);
	ev->answer = answer;
	if (!asked(m, ev))
		return;
	if (answer_code(answer) == C(354))
		take_chunk(m, chunk);
	else
		refuse_chunk(m, chunk, answer_code(answer));
}

void model_bdat(struct model *m, struct model_chunk chunk, enum reply_id answer)
{
	if (!line(m, PROGRESS))
		return;
	uint64_t so_far = m->place == PLACE_CHUNKS ? m->content_n : 0;
	model_set fault = m->place == PLACE_REFUSED ? (m->no_mail ? C(521) : C(503)) : no_message(m, true);
	if (m->place != PLACE_REFUSED && m->config->auth_required && !m->authenticated)
		fault = C(530);
	if (m->place != PLACE_REFUSED && !m->config->offer_chunking)
		fault = C(502);
	if (needs_tls(m))
		fault = C(530);
	if (fault == 0 && chunk.form != CHUNK_FINE)
		fault = C(501);
	if (chunk.size == 0 && !chunk.last && !another_idle(m))
		return;
	if (chunk.form == CHUNK_NO_SIZE) { /* nobody knows what follows: no chunk, but the message is spoiled */
		reply(m, fault);
		if (m->place == PLACE_OPEN || m->place == PLACE_CHUNKS)
			fail_chunk(m, false);
	} else if (fault || chunk.size > m->config->size_max - so_far) {
		refuse_chunk(m, chunk, fault ? fault : C(552));
	} else if (m->place == PLACE_CHUNKS) {
		take_chunk(m, chunk);
	} else {
		first_chunk(m, chunk, answer);
	}
}
