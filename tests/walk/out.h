/*
 * out: a message of ours sent by the client engine to a server engine of ours, and what must hold of the octets.
 *
 *	- each of the eight receivers of lenient.h sees exactly one message in them, or none when none was sent whole
 *	- what the server takes is what the client was given: envelope, header and body (SM-echo), but for a final CRLF
 *	  that DATA adds, or a conversion to what the peer can take
 *	- by DATA no bare CR, bare LF or NUL leaves, and no command or parameter goes to a peer that does not know it
 *	- what was converted goes on without another change
 */
#ifndef OUT_H
#define OUT_H

#include "lenient.h"
#include "owner.h"
#include "smtp/client.h"

#include <stdio.h>

#define OUT_MESSAGE_MAX ((size_t)1 << 18)
#define OUT_STREAM_MAX  ((size_t)1 << 21)

/* What the peer offers, and how the message is handed to the client. */
struct out_way {
	bool lmtp, no_pipelining, no_chunking, no_8bitmime, no_binarymime, no_smtputf8, no_dsn;
	bool lies;    /* the job says that nothing in the message is special */
	size_t piece; /* octets of each piece; 0 = whole */
};

static inline struct out_way out_way_of(unsigned bits)
{
	static const size_t pieces[] = {0, 0, 7, 1};

	return (struct out_way){.no_pipelining = bits & 1,
				.no_chunking = bits & 2,
				.no_8bitmime = bits & 4,
				.no_binarymime = bits & 8,
				.no_smtputf8 = bits & 16,
				.no_dsn = bits & 32,
				.lmtp = bits & 64,
				.piece = pieces[bits >> 7 & 3],
				.lies = bits >> 9 & 1};
}
#define OUT_WAYS 1024

struct out {
	struct owner peer;
	struct buf stream; /* the client's octets */
	struct smtp_client *c;
	bool delivered, offered, closed;
	unsigned code; /* of the outcome */
	size_t given;
};

#define OUT_CHECK(what, stream_slice)                                                                     \
	do {                                                                                              \
		if (!(what)) {                                                                            \
			fprintf(stderr, "%s:%d: %s\nthe client sent:\n%.*s\n", __FILE__, __LINE__, #what, \
				SLICE_ARGS(stream_slice));                                                \
			abort();                                                                          \
		}                                                                                         \
	} while (0)

/* As the receiver and the courier do it: what the scan found goes with the message. */
static inline struct smtp_client_job out_job(const struct owner *from)
{
	return (struct smtp_client_job){
		.tag = 1,
		.envelope = &from->envelope.e,
		.size = buf_len(&from->message),
		.eight_bit = from->flags & (MAIL_SCAN_8BIT_BODY | MAIL_SCAN_8BIT_HEADER),
		.needs_utf8 = from->flags & MAIL_SCAN_8BIT_HEADER,
		.has_bare = from->flags & (MAIL_SCAN_BARE_CR | MAIL_SCAN_BARE_LF | MAIL_SCAN_NUL_BODY),
	};
}

static inline void out_event(struct out *o, const struct smtp_client_event *ev, const struct smtp_client_job *job,
			     struct slice message, size_t piece)
{
	struct slice rest = slice_skip(message, o->given), part = piece ? slice_head(rest, piece) : rest;

	switch (ev->type) {
	case SMTP_CLIENT_HANDSHAKE:
	case SMTP_CLIENT_AUTH:
		abort(); /* none was asked for */
	case SMTP_CLIENT_READY:
		if (o->offered)
			smtp_client_quit(o->c, 0);
		else
			smtp_client_send(o->c, job, 0);
		o->offered = true;
		break;
	case SMTP_CLIENT_BODY:
		o->given += part.n;
		smtp_client_body(o->c, part, part.n == rest.n, 0);
		break;
	case SMTP_CLIENT_OUTCOME:
		o->delivered |= ev->outcome.verdict == SMTP_DELIVERED;
		o->code = ev->outcome.code;
		break;
	case SMTP_CLIENT_DONE:
		break;
	case SMTP_CLIENT_CLOSED:
		o->closed = true;
		break;
	}
}

/* Everything that can happen happens; false when nothing more does. */
static inline bool out_turn(struct out *o, const struct smtp_client_job *job, struct slice message, size_t piece)
{
	struct smtp_client_event ev;
	bool moved = false;

	while (smtp_client_next(o->c, &ev)) {
		out_event(o, &ev, job, message, piece);
		moved = true;
	}
	struct slice says = smtp_client_output(o->c);
	if (says.n > 0) {
		OUT_CHECK(buf_add(&o->stream, says), says);
		size_t start = buf_len(&o->stream) - says.n;
		smtp_client_sent(o->c, says.n);
		owner_feed(&o->peer, slice_skip(buf_slice(&o->stream), start));
		moved = true;
	}
	struct slice hears = smtp_server_output(o->peer.s);
	while (hears.n > 0) {
		size_t taken = smtp_client_feed(o->c, hears, 0);
		smtp_server_sent(o->peer.s, taken);
		moved = true;
		while (smtp_client_next(o->c, &ev))
			out_event(o, &ev, job, message, piece);
		hears = smtp_server_output(o->peer.s);
	}
	return moved;
}

/* Sends what `from` took last. */
static inline void out_send(struct out *o, const struct owner *from, struct out_way way)
{
	const struct smtp_client_config config = {.name = SLICE("me.example"),
						  .lmtp = way.lmtp,
						  .pipelining = true,
						  .chunking = true,
						  .greeting_timeout = HOUR,
						  .command_timeout = HOUR,
						  .data_timeout = HOUR,
						  .block_timeout = HOUR,
						  .end_timeout = HOUR,
						  .output_max = (size_t)1 << 20};
	struct smtp_client_job job = out_job(from);

	if (way.lies)
		job.eight_bit = job.needs_utf8 = job.has_bare = false;
	*o = (struct out){0};
	owner_init(&o->peer, OUT_STREAM_MAX);
	buf_init(&o->stream, OUT_STREAM_MAX);
	o->peer.config.lmtp = way.lmtp;
	o->peer.config.line_max = o->peer.config.header_max = OUT_STREAM_MAX;
	o->peer.config.offer_pipelining = !way.no_pipelining;
	o->peer.config.offer_chunking = !way.no_chunking;
	o->peer.config.offer_8bitmime = !way.no_8bitmime;
	o->peer.config.offer_binarymime = !way.no_binarymime;
	o->peer.config.offer_smtputf8 = !way.no_smtputf8;
	o->peer.config.offer_dsn = !way.no_dsn;
	owner_start(&o->peer);
	o->c = smtp_client_new(&config);
	assert(o->c);
	smtp_client_start(o->c, 0);
	while (out_turn(o, &job, buf_slice(&from->message), way.piece))
		continue;
	if (!o->closed) /* a broken connection */
		smtp_client_lost(o->c, SLICE("broken"));
	smtp_client_free(o->c);
	o->c = NULL;
}

static inline void out_free(struct out *o)
{
	owner_free(&o->peer);
	buf_free(&o->stream);
}

static inline bool out_has_bare(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		bool before = i > 0 && s.p[i - 1] == '\r', behind = i + 1 < s.n && s.p[i + 1] == '\n';
		if (s.p[i] == '\0' || (s.p[i] == '\n' && !before) || (s.p[i] == '\r' && !behind))
			return true;
	}
	return false;
}

/* SM-out. A receiver that offers 8BITMIME and clears bits breaks its word: nothing can be sent to it safely. */
static inline void out_check_lenient(const struct out *o, struct out_way way)
{
	struct slice stream = buf_slice(&o->stream);

	for (enum lenient_kind kind = 0; kind < LENIENT_KINDS; kind++) {
		if (kind == LENIENT_7_BITS && (way.lies || !way.no_8bitmime))
			continue;
		struct lenient_view view = lenient_read(kind, stream);
		bool once = view.messages == o->delivered || (way.lies && view.messages <= 1);
		if (!once || view.mails > 1 || view.strange > 0)
			fprintf(stderr, "%s sees %zu messages, %zu MAIL, %zu strange lines\n", lenient_names[kind],
				view.messages, view.mails, view.strange);
		OUT_CHECK(once, stream);
		OUT_CHECK(view.mails <= 1 && view.strange == 0, stream);
	}
	/* By DATA no CR, LF or NUL leaves that is not part of a line's end. */
	if (slice_search(stream, SLICE("\r\nBDAT ")) == stream.n)
		OUT_CHECK(!out_has_bare(stream), stream);
	/* Nothing was said that the peer does not know, or at the wrong time. */
	OUT_CHECK(o->code / 10 != 50 && o->code != 555, stream);
	OUT_CHECK(o->peer.mails <= 1 && o->peer.ends == o->delivered && o->peer.others == 0, stream);
}

/* Whether the message had to be made fit for the peer. */
static inline bool out_is_converted(const struct owner *from, struct out_way way)
{
	struct smtp_client_job job = out_job(from);

	return (job.has_bare && (way.no_chunking || way.no_binarymime)) ||
	       ((job.eight_bit || job.needs_utf8) && way.no_8bitmime);
}

/* SM-echo: the envelope as it came, as far as the peer can be told of it. */
static inline void out_check_envelope(const struct out *o, const struct owner *from, struct out_way way)
{
	const struct mail_envelope *was = &from->envelope.e, *is = &o->peer.envelope.e;
	struct slice stream = buf_slice(&o->stream);

	OUT_CHECK(slice_eq(is->sender, was->sender), stream);
	OUT_CHECK(slice_eq(is->envid, way.no_dsn ? SLICE_NONE : was->envid), stream);
	OUT_CHECK(is->ret == (way.no_dsn ? MAIL_RET_NONE : was->ret), stream);
	OUT_CHECK(is->rcpt_count == was->rcpt_count, stream);
	OUT_CHECK(!was->utf8 || way.no_smtputf8 || way.no_8bitmime || is->utf8, stream);
	for (size_t i = 0; i < is->rcpt_count; i++) {
		OUT_CHECK(slice_eq(is->rcpt[i].address, was->rcpt[i].address), stream);
		OUT_CHECK(is->rcpt[i].notify == (way.no_dsn ? 0 : was->rcpt[i].notify), stream);
		OUT_CHECK(slice_eq(is->rcpt[i].orcpt, way.no_dsn ? SLICE_NONE : was->rcpt[i].orcpt), stream);
	}
}

/* Header and body, octet for octet. */
static inline void out_check_message(const struct out *o, const struct owner *from, struct out_way way)
{
	struct slice was = buf_slice(&from->message), is = buf_slice(&o->peer.message);
	bool ends = was.n == 0 || slice_ends(was, SLICE("\r\n"));

	if (way.no_chunking && !ends && slice_ends(is, SLICE("\r\n")))
		is = slice_head(is, is.n - 2);
	OUT_CHECK(slice_eq(is, was), buf_slice(&o->stream));
}

struct out_counts {
	unsigned long long sent, converted, refused, echoed;
};

/* All of it, for a message that `from` has taken. */
static inline void out_check(const struct owner *from, struct out_way way, struct out_counts *counts)
{
	struct out o;

	out_send(&o, from, way);
	out_check_lenient(&o, way);
	counts->sent += o.delivered;
	counts->refused += !o.delivered;
	if (way.lies) {
		out_free(&o);
		return;
	}
	bool converted = out_is_converted(from, way);
	if (o.delivered)
		out_check_envelope(&o, from, way);
	if (o.delivered && !converted) {
		out_check_message(&o, from, way);
		counts->echoed++;
	}
	if (o.delivered && converted) {
		struct out again;
		counts->converted++;
		out_send(&again, &o.peer, way);
		out_check_lenient(&again, way);
		OUT_CHECK(again.delivered, buf_slice(&again.stream));
		OUT_CHECK(!out_is_converted(&o.peer, way), buf_slice(&again.stream));
		out_check_message(&again, &o.peer, way);
		out_free(&again);
	}
	/* What needs no conversion and no extension is never refused. */
	if (!converted && !(from->flags & MAIL_SCAN_8BIT_HEADER) && slice_is_ascii(from->envelope.e.sender))
		OUT_CHECK(o.delivered, buf_slice(&o.stream));
	out_free(&o);
}

/* Takes a message into `o` by BDAT as one of ours would be: with BODY=BINARYMIME, or without. True when it is taken. */
static inline bool out_take(struct owner *o, struct slice message, bool binary, bool utf8, bool by_data)
{
	char line[100];

	owner_init(o, OUT_MESSAGE_MAX);
	o->config.line_max = o->config.header_max = OUT_MESSAGE_MAX;
	owner_start(o);
	owner_say(o, "EHLO a.example\r\n");
	snprintf(line, sizeof line, "MAIL FROM:<s@a.example> RET=HDRS ENVID=e+2B1%s%s\r\n", utf8 ? " SMTPUTF8" : "",
		 binary && !by_data ? " BODY=BINARYMIME" : "");
	owner_say(o, line);
	owner_say(o, "RCPT TO:<r@example.com> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+3D@example.com\r\n");
	owner_say(o, "RCPT TO:<\"q r\"@[192.0.2.1]>\r\n");
	if (by_data) {
		owner_say(o, "DATA\r\n");
		owner_feed(o, message);
		owner_feed(o, SLICE("\r\n.\r\n"));
	} else {
		snprintf(line, sizeof line, "BDAT %zu LAST\r\n", message.n);
		owner_feed(o, slice_from_cstr(line));
		owner_feed(o, message);
	}
	return o->ends >= 1;
}

#endif
