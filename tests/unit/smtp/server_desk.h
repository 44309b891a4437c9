/*
 * server_desk: an owner for a server session, for tests and fuzzing.
 *
 * It answers events by simple rules that stand in desk_answer (mailbox names choose the reply), writes them down as
 * text, and checks their order: what a receiver relies on holds in every test that uses it. Octets of a message are
 * gathered and written down with END; those of a dropped one are forgotten, so that the text does not depend on how the
 * input was cut. Credentials are words: what a client says first in a response decides what comes of it.
 */
#ifndef SERVER_DESK_H
#define SERVER_DESK_H

#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "codes/reply.h"
#include "smtp/limits.h"
#include "smtp/server.h"

#define DESK_LOG_MAX ((size_t)1 << 26)

struct desk {
	struct smtp_server_config config;
	struct smtp_server *s;
	struct buf log;     /* the events */
	struct buf out;     /* what the server said */
	struct buf message; /* octets of the open message */
	mono_ms now;
	enum reply_id greeting, data_reply;
	bool silent; /* do not answer: the events wait for desk_answer_now */
	bool quiet;  /* do not keep octets of messages: long runs */
	bool no_tls; /* there is no TLS for the time being */
	struct smtp_server_trust trust;
	uint32_t unusable; /* mechanisms, by their bits */

	bool waiting;
	struct smtp_event asked;
	bool closed, open, in_data, at_end, asked_tls, in_auth;
	size_t mails, ends, resets, bodies, rcpts_answered;
	uint64_t octets;
};

static inline void desk_init(struct desk *d)
{
	*d = (struct desk){
		.config = {.name = SLICE("mx.example.com"),
			   .refuse_early = true,
			   .size_max = 100000,
			   .rcpt_max = SMTP_RCPT_MIN,
			   .line_max = SMTP_TEXT_LINE_MIN,
			   .header_max = 4096,
			   .header_lines_max = 100,
			   .hops_max = 5,
			   .own_hops_max = 2,
			   .errors_max = 20,
			   .idle_commands_max = 100,
			   .messages_max = 100,
			   .command_timeout = 5 * MINUTE,
			   .data_timeout = 3 * MINUTE,
			   .message_timeout = HOUR,
			   .tls_timeout = 30 * SECOND,
			   .offer_chunking = true,
			   .offer_binarymime = true,
			   .offer_smtputf8 = true,
			   .offer_dsn = true,
			   .offer_pipelining = true,
			   .offer_8bitmime = true,
			   .offer_help = true},
		.now = 1000,
		.greeting = REPLY_GREETING,
		.data_reply = REPLY_DATA_GO,
	};
	buf_init(&d->log, DESK_LOG_MAX);
	buf_init(&d->out, DESK_LOG_MAX);
	buf_init(&d->message, DESK_LOG_MAX);
}

/* Mechanisms of AUTH; with `in_clear` some may be used without TLS. */
static inline void desk_offer_auth(struct desk *d, bool in_clear)
{
	static const struct smtp_mechanism in_clear_too[] = {
		{{"PLAIN", 5}, .one_step = true},
		{{"LOGIN", 5}, false},
		{{"SCRAM-SHA-256", 13}, .in_clear = true},
		{{"CRAM-MD5", 8}, .in_clear = true, .server_first = true},
	};
	static const struct smtp_mechanism behind_tls[] = {
		{{"PLAIN", 5}, .one_step = true},
		{{"CRAM-MD5", 8}, .server_first = true},
	};

	d->config.mechanisms = in_clear ? in_clear_too : behind_tls;
	d->config.mechanism_count = in_clear ? 4 : 2;
}

static inline void desk_free(struct desk *d)
{
	smtp_server_free(d->s);
	buf_free(&d->log);
	buf_free(&d->out);
	buf_free(&d->message);
}

static inline void desk_note(struct desk *d, const char *what, struct slice text)
{
	buf_add(&d->log, slice_from_cstr(what));
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c == '\r' || c == '\n')
			buf_add(&d->log, c == '\r' ? SLICE("\\r") : SLICE("\\n"));
		else if (c >= 0x20 && c != 0x7f)
			buf_add_char(&d->log, (char)c);
		else
			buf_printf(&d->log, "\\%02x", c);
	}
	assert(!d->log.failed);
}

static inline bool desk_is(struct slice local, const char *name)
{
	return slice_istarts(local, slice_from_cstr(name));
}

static inline void desk_note_envelope(struct desk *d)
{
	const struct mail_envelope *e = smtp_server_envelope(d->s);

	if (e->declared)
		buf_printf(&d->log, " size=%llu", (unsigned long long)e->declared);
	if (e->body)
		buf_printf(&d->log, " body=%d", (int)e->body);
	if (e->ret)
		buf_printf(&d->log, " ret=%d", (int)e->ret);
	if (e->utf8)
		buf_add_lit(&d->log, " utf8");
	if (e->envid.n)
		desk_note(d, " envid=", e->envid);
	if (smtp_server_forwarded(d->s)) {
		assert(d->trust.xforward);
		buf_add_lit(&d->log, " forwarded for ");
		assert(smtp_attrs_write(smtp_server_forwarded(d->s), false, &d->log));
	}
}

static inline struct reply desk_answer_rcpt(const struct smtp_event *ev)
{
	struct slice local = ev->address.local;

	if (desk_is(local, "unknown"))
		return (struct reply){REPLY_RCPT_UNKNOWN, {ev->address.text}};
	if (desk_is(local, "later"))
		return (struct reply){REPLY_RCPT_DNS, {ev->address.text}};
	if (desk_is(local, "moved"))
		return (struct reply){REPLY_RCPT_MOVED, {SLICE("new@example.org")}};
	if (desk_is(local, "hidden"))
		return (struct reply){REPLY_RCPT_MOVED, {SLICE("n\xc3\xa9w@example.org")}};
	if (desk_is(local, "forward"))
		return (struct reply){REPLY_RCPT_FORWARD, {SLICE("new@example.org")}};
	if (desk_is(local, "shown"))
		return (struct reply){REPLY_RCPT_FORWARD, {SLICE("n\xc3\xa9w@example.org")}};
	return (struct reply){.id = REPLY_RCPT_OK};
}

static inline struct reply desk_answer_end(struct desk *d)
{
	const struct mail_envelope *e = smtp_server_envelope(d->s);
	struct slice who = d->config.lmtp ? e->rcpt[d->rcpts_answered].address : e->sender;

	if (desk_is(who, "spam"))
		return (struct reply){REPLY_DATA_POLICY, {SLICE("spam")}};
	if (desk_is(who, "busy"))
		return (struct reply){.id = REPLY_DATA_STORE};
	return (struct reply){d->config.lmtp ? REPLY_ACCEPTED_RCPT : REPLY_ACCEPTED, {SLICE("ID"), who}};
}

/* Of a client that XCLIENT told of: names choose it. */
static inline enum reply_id desk_greeting(struct desk *d)
{
	struct slice name = smtp_attrs_get(smtp_server_client(d->s), SMTP_ATTR_NAME);

	if (desk_is(name, "refused"))
		return REPLY_GREETING_REFUSED;
	return desk_is(name, "busy") ? REPLY_GREETING_BUSY : REPLY_GREETING;
}

static inline struct reply desk_answer(struct desk *d, const struct smtp_event *ev)
{
	switch (ev->type) {
	case SMTP_EV_CONNECT:
		return (struct reply){.id = d->greeting};
	case SMTP_EV_HELO:
		if (desk_is(ev->text, "refused"))
			return (struct reply){REPLY_HELO_REFUSED, {ev->text, SLICE("policy")}};
		return (struct reply){.id = REPLY_EHLO};
	case SMTP_EV_MAIL:
		if (desk_is(ev->address.local, "refused"))
			return (struct reply){REPLY_MAIL_REFUSED, {SLICE("policy")}};
		if (desk_is(ev->address.local, "later"))
			return (struct reply){REPLY_MAIL_TEMPORARY, {SLICE("disk")}};
		return (struct reply){.id = REPLY_MAIL_OK};
	case SMTP_EV_RCPT:
		return desk_answer_rcpt(ev);
	case SMTP_EV_DATA:
		return (struct reply){.id = d->data_reply};
	case SMTP_EV_END:
		return desk_answer_end(d);
	case SMTP_EV_STARTTLS:
		return (struct reply){.id = d->no_tls ? REPLY_STARTTLS_UNAVAILABLE : REPLY_STARTTLS};
	case SMTP_EV_XCLIENT:
		return (struct reply){desk_greeting(d), {d->config.name}};
	case SMTP_EV_VRFY:
		return (struct reply){.id = REPLY_VRFY_MAYBE};
	default:
		return (struct reply){.id = REPLY_EXPN_OFF};
	}
}

static inline enum reply_id desk_judge_credentials(struct slice response)
{
	static const struct {
		struct slice word;
		enum reply_id reply;
	} words[] = {{{"good", 4}, REPLY_AUTH_OK},          {{"later", 5}, REPLY_AUTH_TEMPORARY},
		     {{"off", 3}, REPLY_AUTH_DISABLED},     {{"weak", 4}, REPLY_AUTH_WEAK},
		     {{"shift", 5}, REPLY_AUTH_TRANSITION}, {{"leave", 5}, REPLY_SHUTDOWN}};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (slice_starts(response, words[i].word))
			return words[i].reply;
	return REPLY_AUTH_CREDENTIALS;
}

static inline void desk_answer_auth(struct desk *d, const struct smtp_event *ev)
{
	enum reply_id id = desk_judge_credentials(ev->response);

	if (slice_starts(ev->response, SLICE("more")))
		smtp_server_challenge(d->s, SLICE("go on"));
	else if (!ev->given)
		smtp_server_challenge(d->s, slice_eq(ev->text, SLICE("CRAM-MD5")) ? SLICE("<1@mx>") : SLICE_NONE);
	else
		d->in_auth = false;
	if (d->in_auth)
		return;
	smtp_server_reply(d->s, (struct reply){id, {ev->text}});
	assert(id == REPLY_SHUTDOWN || smtp_server_is_authenticated(d->s) == (id == REPLY_AUTH_OK));
}

/* One answer to the event that waits, by the rules above; LMTP: for one recipient. */
static inline void desk_answer_one(struct desk *d)
{
	struct smtp_event ev = d->asked;
	if (ev.type == SMTP_EV_AUTH || ev.type == SMTP_EV_AUTH_RESPONSE) {
		d->waiting = false;
		desk_answer_auth(d, &ev);
		return;
	}
	struct reply reply = desk_answer(d, &ev);
	unsigned code = reply_row(reply.id)->code;
	bool last = ev.type != SMTP_EV_END || !d->config.lmtp ||
		    ++d->rcpts_answered == smtp_server_envelope(d->s)->rcpt_count;

	d->waiting = !last;
	if (ev.type == SMTP_EV_MAIL)
		d->open = code / 100 == 2;
	if (ev.type == SMTP_EV_DATA)
		d->in_data = code == 354;
	if (ev.type == SMTP_EV_STARTTLS)
		d->asked_tls = code == 220;
	if (ev.type == SMTP_EV_EXPN && slice_ieq(ev.text, SLICE("list"))) {
		const struct slice members[] = {SLICE("<a@example.com>"), SLICE("<b@example.com>")};
		smtp_server_reply_lines(d->s, (struct reply){REPLY_EXPN_OK, {ev.text}}, members, 2);
	} else if (ev.type == SMTP_EV_STATUS) {
		const struct slice facts[] = {SLICE("Sessions: 1"), SLICE("Messages: 0")};
		smtp_server_reply_lines(d->s, (struct reply){REPLY_STATUS, {SLICE("mx.example.com")}}, facts, 2);
	} else {
		smtp_server_reply(d->s, reply);
	}
	if (ev.type == SMTP_EV_END && last) {
		assert(smtp_server_envelope(d->s)->rcpt_count == 0);
		assert(smtp_server_envelope(d->s)->sender.n == 0);
		d->at_end = false;
	}
}

static inline void desk_answer_now(struct desk *d)
{
	while (d->waiting)
		desk_answer_one(d);
}

static inline void desk_note_attrs(struct desk *d, const char *what, const struct smtp_attrs *attrs)
{
	desk_note(d, what, SLICE_NONE);
	assert(smtp_attrs_write(attrs, true, &d->log));
}

static inline void desk_note_rcpt(struct desk *d, const struct smtp_event *ev)
{
	desk_note(d, "RCPT ", ev->rcpt.address);
	if (ev->rcpt.notify)
		buf_printf(&d->log, " notify=%u", ev->rcpt.notify);
	if (ev->rcpt.orcpt.n)
		desk_note(d, " orcpt=", ev->rcpt.orcpt);
}

static inline void desk_note_end(struct desk *d)
{
	const struct mail_envelope *e = smtp_server_envelope(d->s);

	assert(d->in_data);
	assert(e->rcpt_count > 0);
	desk_note(d, "END ", e->sender);
	for (size_t i = 0; i < e->rcpt_count; i++)
		desk_note(d, i ? "," : " -> ", e->rcpt[i].address);
	if (!d->quiet)
		desk_note(d, ": ", buf_slice(&d->message));
	assert(smtp_server_scan(d->s)->octets == d->octets);
	assert(d->octets <= d->config.size_max);
	d->in_data = d->open = false;
	d->at_end = true;
	d->ends++;
	d->rcpts_answered = 0;
}

static inline void desk_note_auth(struct desk *d, const struct smtp_event *ev)
{
	bool first = ev->type == SMTP_EV_AUTH;

	assert(!d->open && d->in_auth == !first);
	assert(ev->given || ev->response.n == 0);
	desk_note(d, first ? "AUTH " : "RESPONSE ", first ? ev->text : ev->response);
	if (first && ev->given)
		desk_note(d, " ", ev->response);
	d->in_auth = true;
}

static inline void desk_event(struct desk *d, const struct smtp_event *ev)
{
	assert(!d->closed);
	assert(!d->waiting || ev->type == SMTP_EV_CLOSE || ev->type == SMTP_EV_RESET || ev->type == SMTP_EV_AUTH_ABORT);
	switch (ev->type) {
	case SMTP_EV_CONNECT:
		desk_note(d, "CONNECT", SLICE_NONE);
		break;
	case SMTP_EV_HELO:
		desk_note(d, ev->extended ? "EHLO " : "HELO ", ev->text);
		break;
	case SMTP_EV_MAIL:
		assert(!d->open);
		d->mails++;
		desk_note(d, "MAIL ", ev->address.text);
		assert(slice_eq(ev->address.text, smtp_server_envelope(d->s)->sender));
		desk_note_envelope(d);
		break;
	case SMTP_EV_RCPT:
		assert(d->open && !d->in_data);
		desk_note_rcpt(d, ev);
		break;
	case SMTP_EV_DATA:
		assert(d->open && !d->in_data);
		assert(smtp_server_envelope(d->s)->rcpt_count > 0);
		buf_reset(&d->message);
		d->octets = 0;
		desk_note(d, "DATA", SLICE_NONE);
		break;
	case SMTP_EV_BODY:
		assert(d->in_data);
		assert(ev->text.n > 0);
		d->octets += ev->text.n;
		d->bodies++;
		if (!d->quiet)
			buf_add(&d->message, ev->text);
		return;
	case SMTP_EV_END:
		desk_note_end(d);
		break;
	case SMTP_EV_RESET:
		assert(d->open);
		assert(smtp_server_envelope(d->s)->rcpt_count == 0);
		d->open = d->in_data = false;
		d->resets++;
		desk_note(d, "RESET", SLICE_NONE);
		break;
	case SMTP_EV_VRFY:
		desk_note(d, "VRFY ", ev->text);
		break;
	case SMTP_EV_EXPN:
		desk_note(d, "EXPN ", ev->text);
		break;
	case SMTP_EV_STATUS:
		desk_note(d, "STATUS", SLICE_NONE);
		break;
	case SMTP_EV_XCLIENT:
		assert(!d->open && d->trust.xclient);
		desk_note_attrs(d, "XCLIENT ", smtp_server_client(d->s));
		break;
	case SMTP_EV_STARTTLS:
		desk_note(d, "STARTTLS", SLICE_NONE);
		break;
	case SMTP_EV_AUTH:
	case SMTP_EV_AUTH_RESPONSE:
		desk_note_auth(d, ev);
		break;
	case SMTP_EV_AUTH_ABORT:
		assert(d->in_auth);
		d->in_auth = false;
		desk_note(d, "ABORT", SLICE_NONE);
		break;
	case SMTP_EV_CLOSE:
		assert(!d->open);
		assert(!d->in_auth);
		d->closed = true;
		desk_note(d, "CLOSE", SLICE_NONE);
		break;
	}
	buf_add_char(&d->log, '\n');
	d->waiting = ev->answer;
	d->asked = *ev;
}

static inline void desk_pull(struct desk *d)
{
	struct smtp_event ev;

	while (smtp_server_next(d->s, &ev)) {
		desk_event(d, &ev);
		if (d->waiting && !d->silent)
			desk_answer_now(d);
	}
}

static inline void desk_flush(struct desk *d)
{
	for (struct slice text = smtp_server_output(d->s); text.n; text = smtp_server_output(d->s)) {
		buf_add(&d->out, text);
		smtp_server_sent(d->s, text.n);
	}
	assert(!d->out.failed);
}

/* The handshake, if the server waits for it and all it said has gone out. */
static inline void desk_secure(struct desk *d)
{
	if (!smtp_server_awaits_tls(d->s))
		return;
	assert(d->asked_tls || d->config.tls == SMTP_TLS_IMPLICIT);
	assert(!d->open);
	buf_add_lit(&d->log, "TLS\n");
	smtp_server_secured(d->s, d->now);
	assert(smtp_server_is_secure(d->s));
	assert(smtp_server_peer_name(d->s).n == 0);
	assert(!smtp_server_is_extended(d->s));
	assert(!smtp_server_is_authenticated(d->s));
	desk_pull(d);
}

/* Feeds until all is taken, the session is over, or an answer is awaited; returns the octets taken. Output is fetched
 * only where the server insists: the client has not seen it while it sends. */
static inline size_t desk_feed(struct desk *d, struct slice in)
{
	size_t taken = 0;

	while (taken < in.n && !d->closed) {
		size_t n = smtp_server_feed(d->s, slice_skip(in, taken), d->now);
		taken += n;
		desk_pull(d);
		if (n > 0 || d->closed)
			continue;
		if (d->waiting)
			break;
		assert(smtp_server_output(d->s).n >= SMTP_OUTPUT_BOUND);
		desk_flush(d);
	}
	return taken;
}

static inline void desk_start(struct desk *d)
{
	d->s = smtp_server_new(&d->config);
	assert(d->s);
	smtp_server_trust(d->s, d->trust);
	smtp_server_set_mechanisms(d->s, ~d->unusable);
	smtp_server_start(d->s, d->now);
	desk_pull(d);
}

#endif
