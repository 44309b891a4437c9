/*
 * owner: a server session whose owner takes everything, counts what he is asked, and keeps the last message.
 *
 * What a command smuggled into a message would do, it does here: it is counted.
 */
#ifndef OWNER_H
#define OWNER_H

#undef NDEBUG
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "codes/reply.h"
#include "smtp/limits.h"
#include "smtp/server.h"

#define OWNER_RCPTS 8
#define OWNER_TEXT  600

/* An envelope with its texts. */
struct owner_envelope {
	struct mail_envelope e;
	struct mail_rcpt rcpt[OWNER_RCPTS];
	char text[2 + 2 * OWNER_RCPTS][OWNER_TEXT];
};

struct owner {
	struct smtp_server_config config;
	struct smtp_server *s;
	size_t helos, mails, rcpts, datas, ends, resets, others;
	uint64_t octets;    /* of the last message */
	struct buf message; /* it, or its end when it is longer than the buf */
	struct buf out;
	struct owner_envelope envelope; /* of the last message */
	unsigned flags;                 /* mail_scan_flag, of the last message */
	bool closed;
};

static inline void owner_init(struct owner *o, size_t message_max)
{
	*o = (struct owner){.config = {.name = SLICE("mx.example.com"),
				       .refuse_early = true,
				       .size_max = 64000000,
				       .rcpt_max = SMTP_RCPT_MIN,
				       .line_max = 100000,
				       .header_max = 1000000,
				       .header_lines_max = 100000,
				       .hops_max = 100,
				       .own_hops_max = 100,
				       .errors_max = 1000,
				       .idle_commands_max = 1000,
				       .messages_max = 1000,
				       .command_timeout = HOUR,
				       .data_timeout = HOUR,
				       .message_timeout = HOUR,
				       .offer_chunking = true,
				       .offer_binarymime = true,
				       .offer_smtputf8 = true,
				       .offer_dsn = true,
				       .offer_pipelining = true,
				       .offer_8bitmime = true}};
	buf_init(&o->message, message_max);
	buf_init(&o->out, 1 << 20);
}

static inline void owner_free(struct owner *o)
{
	smtp_server_free(o->s);
	buf_free(&o->message);
	buf_free(&o->out);
}

static inline struct slice owner_copy(struct owner *o, size_t at, struct slice s)
{
	assert(s.n <= OWNER_TEXT);
	memcpy(o->envelope.text[at], s.n ? s.p : "", s.n);
	return slice_of(o->envelope.text[at], s.n);
}

static inline void owner_keep_envelope(struct owner *o)
{
	const struct mail_envelope *e = smtp_server_envelope(o->s);

	assert(e->rcpt_count <= OWNER_RCPTS);
	o->envelope.e = *e;
	o->envelope.e.sender = owner_copy(o, 0, e->sender);
	o->envelope.e.envid = owner_copy(o, 1, e->envid);
	for (size_t i = 0; i < e->rcpt_count; i++) {
		o->envelope.rcpt[i] = e->rcpt[i];
		o->envelope.rcpt[i].address = owner_copy(o, 2 + 2 * i, e->rcpt[i].address);
		o->envelope.rcpt[i].orcpt = owner_copy(o, 3 + 2 * i, e->rcpt[i].orcpt);
	}
	o->envelope.e.rcpt = o->envelope.rcpt;
}

static inline void owner_keep_body(struct owner *o, struct slice octets)
{
	o->octets += octets.n;
	if (octets.n > o->message.max)
		octets = slice_skip(octets, octets.n - o->message.max);
	if (octets.n > buf_room(&o->message))
		buf_take(&o->message, octets.n - buf_room(&o->message));
	assert(buf_add(&o->message, octets));
}

static inline enum reply_id owner_event(struct owner *o, const struct smtp_event *ev)
{
	switch (ev->type) {
	case SMTP_EV_CONNECT:
		return REPLY_GREETING;
	case SMTP_EV_HELO:
		o->helos++;
		return REPLY_EHLO;
	case SMTP_EV_MAIL:
		o->mails++;
		return REPLY_MAIL_OK;
	case SMTP_EV_RCPT:
		o->rcpts++;
		return REPLY_RCPT_OK;
	case SMTP_EV_DATA:
		o->datas++;
		o->octets = 0;
		buf_reset(&o->message);
		return REPLY_DATA_GO;
	case SMTP_EV_BODY:
		owner_keep_body(o, ev->text);
		return REPLY_COUNT;
	case SMTP_EV_END:
		o->ends++;
		o->flags = smtp_server_scan(o->s)->flags;
		owner_keep_envelope(o);
		return o->config.lmtp ? REPLY_ACCEPTED_RCPT : REPLY_ACCEPTED;
	case SMTP_EV_RESET:
		o->resets++;
		return REPLY_COUNT;
	case SMTP_EV_CLOSE:
		o->closed = true;
		return REPLY_COUNT;
	default:
		o->others++;
		return REPLY_VRFY_MAYBE;
	}
}

static inline void owner_pull(struct owner *o)
{
	struct smtp_event ev;

	while (smtp_server_next(o->s, &ev)) {
		enum reply_id id = owner_event(o, &ev);
		size_t times = o->config.lmtp && ev.type == SMTP_EV_END ? o->envelope.e.rcpt_count : 1;
		for (size_t i = 0; ev.answer && i < times; i++)
			smtp_server_reply(o->s, (struct reply){id, {SLICE("ID"), SLICE("r@example.com")}});
	}
}

static inline void owner_start(struct owner *o)
{
	o->s = smtp_server_new(&o->config);
	assert(o->s);
	smtp_server_start(o->s, 0);
	owner_pull(o);
}

/* What the server says goes to o->out. */
static inline void owner_fetch(struct owner *o)
{
	struct slice out = smtp_server_output(o->s);

	assert(buf_add(&o->out, out));
	smtp_server_sent(o->s, out.n);
}

static inline void owner_feed(struct owner *o, struct slice in)
{
	while (in.n > 0 && !o->closed) {
		size_t n = smtp_server_feed(o->s, in, 0);
		in = slice_skip(in, n);
		owner_pull(o);
	}
}

/* A command of a client that waits for its reply; the reply is forgotten. */
static inline void owner_say(struct owner *o, const char *text)
{
	owner_fetch(o);
	owner_feed(o, slice_from_cstr(text));
	owner_fetch(o);
	buf_reset(&o->out);
}

#endif
