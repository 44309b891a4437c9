/*
 * One session of a receiver: a connection, a protocol engine, and the message that comes in.
 *
 * The engine's events are answered: commands in session_command.c from the configuration and the DNS, the message's
 * fate here by the queue. A body up to inline_body_max travels in the PUT frame; a larger one is written to a file that
 * the queue opened and of which this process can only write. While the file is awaited, the session reads nothing.
 */
#include "role/session_private.h"

#include "base/heap.h"
#include "mail/trace.h"
#include "net/descriptor.h"
#include "net/fs_posix.h"
#include "net/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LINGER       (2 * SECOND)
#define FILE_PIECE   ((size_t)64 * 1024) /* gathered before it is written to the file */
#define PROTOCOL_MAX STORE_TEXT_MAX
#define OUTPUT_HIGH  ((size_t)64 * 1024) /* replies that wait before no more commands are read */

/* ---- the message ---------------------------------------------------------------------------------------------- */

static void drop_message(struct session *s)
{
	struct buf frame;

	if (s->in.file)
		s->in.file->ops->close(s->in.file);
	if (s->in.in_file || s->waits_spool) {
		buf_init(&frame, 8);
		wire_put_number(&frame, s->in.id);
		receiver_send(s->receiver, WIRE_SPOOL_DROP, buf_slice(&frame));
		buf_free(&frame);
	}
	buf_free(&s->in.body);
	mail_parts_free(s->in.parts);
	s->in = (struct incoming){.body = {.max = s->in.body.max}, .fault = REPLY_OK};
	s->waits_spool = false;
}

/* What a message came by, but for what is in its envelope. */
static struct mail_received way_of(const struct session *s)
{
	struct mail_received way = {
		.extended = smtp_server_is_extended(s->engine),
		.lmtp = s->listener->server.lmtp,
		.utf8 = smtp_server_envelope(s->engine)->utf8,
	};
	struct tls_facts tls;

	way.authenticated = session_login(s).n > 0;
	way.tls = conn_tls_facts(s->conn, &tls);
	if (way.tls) {
		way.cipher = slice_from_cstr(tls.cipher);
		way.group = slice_from_cstr(tls.group);
	}
	return way;
}

static bool write_trace_fields(struct session *s)
{
	const struct mail_envelope *e = smtp_server_envelope(s->engine);
	struct msg_id_text id = msg_id_format(s->in.id);
	struct mail_received received = way_of(s);

	received.helo = smtp_server_peer_name(s->engine);
	received.peer = s->client.local_user ? SLICE_NONE : session_client(s);
	received.by = s->conf->hostname;
	received.id = slice_from_cstr(id.text);
	received.rcpt = e->rcpt_count == 1 ? e->rcpt[0].address : SLICE_NONE;
	received.now = loop_wall(s->receiver->loop);
	return mail_received_write(&received, &s->in.body);
}

/* False without memory. */
static bool watch_parts(struct session *s)
{
	const struct conf_listener *l = s->listener;
	struct mail_parts_rules rules = {l->refuse_media.list, l->refuse_media.count, l->refuse_attachments.list,
					 l->refuse_attachments.count};

	if (rules.media_count == 0 && rules.extension_count == 0)
		return true;
	s->in.parts = mail_parts_new(&rules);
	return s->in.parts != NULL;
}

static void begin_message(struct session *s)
{
	drop_message(s);
	s->in.id = receiver_take_id(s->receiver);
	if (s->in.id == 0 || !s->receiver->queue) {
		s->in.id = 0;
		session_reply(s, REPLY_DATA_NO_QUEUE, SLICE_NONE, SLICE_NONE);
		return;
	}
	buf_init(&s->in.body, s->conf->inline_body_max + FILE_PIECE + CONN_INPUT_MAX + s->listener->server.header_max +
				      SESSION_ADDED_MAX);
	if (!write_trace_fields(s) || !watch_parts(s)) {
		drop_message(s);
		session_reply(s, REPLY_DATA_STORE, SLICE_NONE, SLICE_NONE);
		return;
	}
	s->in.size = s->in.trace_n = buf_len(&s->in.body);
	s->in.header_due = session_header_matters(s);
	session_reply(s, REPLY_DATA_GO, SLICE_NONE, SLICE_NONE);
}

static void flush_to_file(struct session *s)
{
	int error = s->in.file->ops->write(s->in.file, buf_slice(&s->in.body));

	s->in.digest = crc32c_add(&s->receiver->crc, s->in.digest, buf_slice(&s->in.body));
	buf_reset(&s->in.body);
	if (error)
		s->in.fault = error == ENOSPC || error == EDQUOT ? REPLY_DATA_NO_SPACE : REPLY_DATA_STORE;
}

static void ask_for_file(struct session *s)
{
	struct buf frame;

	buf_init(&frame, 8);
	wire_put_number(&frame, s->in.id);
	if (receiver_send(s->receiver, WIRE_SPOOL_OPEN, buf_slice(&frame)))
		s->waits_spool = true;
	else
		s->in.fault = REPLY_DATA_NO_QUEUE;
	buf_free(&frame);
}

static void take_octets(struct session *s, struct slice octets)
{
	if (s->in.fault != REPLY_OK)
		return;
	s->in.size += octets.n;
	if (s->in.parts)
		mail_parts_feed(s->in.parts, octets);
	if (!buf_add(&s->in.body, octets)) {
		s->in.fault = REPLY_DATA_STORE;
		return;
	}
	if (s->in.header_due && smtp_server_scan(s->engine)->in_header)
		return;
	if (s->in.header_due)
		session_take_header(s);
	if (s->in.fault != REPLY_OK)
		return;
	if (s->in.file) {
		if (buf_len(&s->in.body) >= FILE_PIECE)
			flush_to_file(s);
	} else if (buf_len(&s->in.body) > s->conf->inline_body_max) {
		ask_for_file(s);
	}
}

/* The parameter counts, and else the field (RFC 8689 4.1). */
static unsigned content_of(const struct mail_scan *scan, bool requiretls)
{
	unsigned content = requiretls                             ? STORE_CONTENT_REQUIRETLS
			   : scan->flags & MAIL_SCAN_TLS_OPTIONAL ? STORE_CONTENT_TLS_OPTIONAL
								  : 0u;

	if (scan->flags & (MAIL_SCAN_8BIT_BODY | MAIL_SCAN_8BIT_HEADER))
		content |= STORE_CONTENT_EIGHT_BIT;
	if (scan->flags & MAIL_SCAN_8BIT_HEADER)
		content |= STORE_CONTENT_UTF8_HEADER;
	if (scan->flags & (MAIL_SCAN_BARE_CR | MAIL_SCAN_BARE_LF | MAIL_SCAN_NUL_BODY))
		content |= STORE_CONTENT_BARE;
	return content;
}

/* "ESMTP", or "ESMTPS (TLSv1.3, TLS_AES_256_GCM_SHA384, x25519, resumed, for mx.example.com)". */
static void write_protocol(const struct session *s, struct buf *out)
{
	struct mail_received way = way_of(s);
	struct tls_facts tls;

	buf_add(out, slice_from_cstr(mail_received_protocol(&way)));
	if (conn_tls_facts(s->conn, &tls)) {
		buf_printf(out, " (%s, %s", tls.version, tls.cipher);
		if (tls.group[0])
			buf_printf(out, ", %s", tls.group);
		if (tls.resumed)
			buf_add_lit(out, ", resumed");
		if (tls.name.n)
			buf_printf(out, ", for %.*s", SLICE_ARGS(tls.name));
		buf_add_char(out, ')');
	}
	session_write_way(s, out);
}

/* Whether the message is too large for this recipient. */
static bool is_over(const struct session *s, struct slice address)
{
	uint64_t size = smtp_server_scan(s->engine)->octets;

	return s->message_max > 0 && size > s->message_max && size > session_limit_of(s, address) &&
	       session_limit_of(s, address) > 0;
}

/* Leaves out the recipients that take no message of this size. False without memory. */
static bool keep_takers(const struct session *s, struct arena *arena, struct mail_envelope *envelope)
{
	struct mail_rcpt *list;
	size_t n = 0;

	if (s->message_max == 0 || smtp_server_scan(s->engine)->octets <= s->message_max)
		return true;
	list = arena_array(arena, envelope->rcpt_count, sizeof *list);
	for (size_t i = 0; list && i < envelope->rcpt_count; i++)
		if (!is_over(s, envelope->rcpt[i].address))
			list[n++] = envelope->rcpt[i];
	envelope->rcpt = list;
	envelope->rcpt_count = n;
	return list != NULL;
}

static bool put_message(struct session *s)
{
	struct buf *frame = &s->receiver->frame;
	struct mail_envelope envelope = *smtp_server_envelope(s->engine);
	char protocol_octets[PROTOCOL_MAX];
	struct buf protocol = {.p = protocol_octets, .cap = PROTOCOL_MAX, .max = PROTOCOL_MAX};
	struct arena arena;

	arena_init(&arena, EXPANSION_MAX);
	bool good = keep_takers(s, &arena, &envelope);
	s->in.takers = envelope.rcpt_count;
	if (!good || (s->targets > 0 && !session_expand(s, &arena, &envelope))) {
		arena_free(&arena);
		return false;
	}
	write_protocol(s, &protocol);
	struct queue_put put = {
		.id = s->in.id,
		.envelope = &envelope,
		.origin = {.client = session_client(s),
			   .helo = smtp_server_peer_name(s->engine),
			   .protocol = buf_slice(&protocol),
			   .user = session_login(s)},
		.size = s->in.size,
		.content = content_of(smtp_server_scan(s->engine), envelope.requiretls),
		.body = s->in.file ? SLICE_NONE : buf_slice(&s->in.body),
		.body_in_file = s->in.file != NULL,
		.digest = {.known = s->in.file != NULL, .value = s->in.digest},
	};

	buf_reset(frame);
	wire_put_message(frame, s->tag, &put);
	bool ok = !frame->failed && receiver_send(s->receiver, WIRE_PUT, buf_slice(frame));
	if (frame->cap > s->conf->inline_body_max * 4)
		buf_free(frame);
	arena_free(&arena);
	return ok;
}

/* RFC 5322 3.6: every message has these. */
static bool has_required_fields(const struct mail_scan *scan, bool adds_date)
{
	unsigned wanted = MAIL_SCAN_HAS_FROM | (adds_date ? 0 : MAIL_SCAN_HAS_DATE);

	return (scan->flags & wanted) == wanted && !(scan->flags & MAIL_SCAN_HEADER_BROKEN);
}

/* What stands as %1 in a reply to a message. */
static struct slice reply_argument(const struct session *s, enum reply_id id, const struct msg_id_text *text)
{
	if (id == REPLY_DATA_POLICY)
		return SLICE("its header section has to be well formed, with From and Date");
	if (id == REPLY_DATA_MEDIA || id == REPLY_DATA_NOT_OWN)
		return slice_of(s->refused, s->refused_n);
	return slice_from_cstr(text->text);
}

/* And as %2. */
static struct slice second_argument(const struct session *s, enum reply_id id, size_t n)
{
	if (id == REPLY_ACCEPTED_RCPT)
		return smtp_server_envelope(s->engine)->rcpt[n].address;
	return id == REPLY_DATA_NOT_OWN ? slice_from_cstr(s->refused_field) : SLICE_NONE;
}

/* The first recipient from `from` on that takes no message of this size; their number when all do. */
static size_t find_over(const struct session *s, size_t from)
{
	const struct mail_envelope *e = smtp_server_envelope(s->engine);

	while (from < e->rcpt_count && !is_over(s, e->rcpt[from].address))
		from++;
	return from;
}

/* What the log says besides the reply: what was found in the message, or who does not take it. */
static struct slice about(const struct session *s, enum reply_id id)
{
	const struct mail_envelope *e = smtp_server_envelope(s->engine);
	size_t over = id == REPLY_DATA_RCPT_TOO_BIG ? find_over(s, 0) : e->rcpt_count;

	if (id == REPLY_DATA_MEDIA || id == REPLY_DATA_NOT_OWN)
		return slice_of(s->refused, s->refused_n);
	return over < e->rcpt_count ? e->rcpt[over].address : SLICE_NONE;
}

static void reply_over(struct session *s, size_t n)
{
	struct slice address = smtp_server_envelope(s->engine)->rcpt[n].address;
	char limit[SESSION_NUMBER], size[SESSION_NUMBER];

	if (s->listener->server.lmtp)
		session_log_refused_rcpt(s, REPLY_DATA_RCPT_TOO_BIG, address);
	smtp_server_reply(s->engine, (struct reply){REPLY_DATA_RCPT_TOO_BIG,
						    {address, session_number(session_limit_of(s, address), limit),
						     session_number(smtp_server_scan(s->engine)->octets, size)}});
}

/* The answer for SMTP, or for one recipient of LMTP. */
static void answer_one(struct session *s, enum reply_id id, size_t n, const struct msg_id_text *text)
{
	bool lmtp = s->listener->server.lmtp;

	if (lmtp && is_over(s, smtp_server_envelope(s->engine)->rcpt[n].address))
		reply_over(s, n);
	else if (id == REPLY_DATA_RCPT_TOO_BIG)
		reply_over(s, find_over(s, 0));
	else
		session_reply(s, id, reply_argument(s, id, text), second_argument(s, id, n));
}

/* One answer for SMTP, one for each recipient for LMTP. Ends the transaction. */
static void answer_message(struct session *s, enum reply_id id)
{
	struct msg_id_text text = s->in.id ? msg_id_format(s->in.id) : (struct msg_id_text){""};
	const struct mail_envelope *e = smtp_server_envelope(s->engine);
	size_t count = s->listener->server.lmtp ? e->rcpt_count : 1;
	bool accepted = id == REPLY_ACCEPTED;

	if (!accepted) {
		const struct reply_row *row = reply_row(id);
		char room[SESSION_FORWARDED];
		log_event(LOG_REFUSED_MESSAGE, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
			  LOG_TEXT("from", e->sender), LOG_NUMBER("code", row->code), LOG_STATUS("status", row->status),
			  LOG_CSTR("reply", row->text), LOG_TEXT("about", about(s, id)),
			  LOG_TEXT("forwarded", session_forwarded(s, room)));
	}
	if (accepted && s->listener->server.lmtp)
		id = REPLY_ACCEPTED_RCPT;
	/* The octets are the queue's now, or nobody's; the id is kept for the text. */
	if (accepted && s->in.file) {
		s->in.file->ops->close(s->in.file);
		s->in.file = NULL;
		s->in.in_file = false;
	}
	drop_message(s);
	for (size_t i = 0; i < count; i++)
		answer_one(s, id, i, &text);
}

/* What rules about content have against the message. */
static enum reply_id judge_parts(struct session *s)
{
	struct slice what;

	if (!s->in.parts)
		return REPLY_OK;
	enum mail_parts_result result = mail_parts_end(s->in.parts, &what);
	if (result == MAIL_PARTS_GOOD)
		return REPLY_OK;
	assert(what.n <= sizeof s->refused);
	memcpy(s->refused, what.n ? what.p : "", what.n);
	s->refused_n = what.n;
	return result == MAIL_PARTS_REFUSED ? REPLY_DATA_MEDIA : REPLY_DATA_STORE;
}

/*
 * A message that a recipient does not take for its size: with LMTP that recipient hears so and the others get it. SMTP
 * has one answer for all. To take the message and return it for some would send reports to forged senders, and 250
 * would promise them what we know not to hold; so it is refused for all, and the sender hears whom to leave out. A
 * client that declares the size hears it at RCPT, where each recipient has an answer of its own.
 */
static enum reply_id judge_size(const struct session *s)
{
	const struct mail_envelope *e = smtp_server_envelope(s->engine);
	size_t over = find_over(s, 0), n = over;

	if (s->listener->server.lmtp)
		for (over = 0, n = 0; (n = find_over(s, n)) < e->rcpt_count; n++)
			over++;
	if (s->listener->server.lmtp)
		return over == e->rcpt_count ? REPLY_DATA_RCPT_TOO_BIG : REPLY_OK;
	return over < e->rcpt_count ? REPLY_DATA_RCPT_TOO_BIG : REPLY_OK;
}

static void end_message(struct session *s)
{
	if (s->in.fault == REPLY_OK && s->in.header_due)
		session_take_header(s);
	if (s->in.fault == REPLY_OK && s->in.file && buf_len(&s->in.body) > 0)
		flush_to_file(s);
	if (s->in.fault == REPLY_OK && s->listener->require_from &&
	    !has_required_fields(smtp_server_scan(s->engine), s->listener->submission))
		s->in.fault = REPLY_DATA_POLICY;
	if (s->in.fault == REPLY_OK)
		s->in.fault = judge_size(s);
	if (s->in.fault == REPLY_OK)
		s->in.fault = judge_parts(s);
	if (s->in.fault == REPLY_OK && !put_message(s))
		s->in.fault = REPLY_DATA_NO_QUEUE;
	if (s->in.fault != REPLY_OK) {
		answer_message(s, s->in.fault);
		return;
	}
	s->waits_answer = true;
}

static enum reply_id reply_for(enum store_result result)
{
	switch (result) {
	case STORE_OK:
		return REPLY_ACCEPTED;
	case STORE_FULL:
		return REPLY_DATA_NO_SPACE;
	default:
		return REPLY_DATA_STORE;
	}
}

void session_answer(struct session *s, enum store_result result)
{
	if (!s->waits_answer)
		return;
	const struct mail_envelope *e = smtp_server_envelope(s->engine);

	s->waits_answer = false;
	if (result == STORE_OK) {
		s->messages++;
		s->receiver->accepted++;
		char room[SESSION_FORWARDED];
		session_used(s, s->in.takers);
		log_event(LOG_ACCEPTED, LOG_ID("id", s->in.id), LOG_CSTR("session", s->name),
			  LOG_TEXT("client", session_client(s)), LOG_TEXT("from", e->sender),
			  LOG_NUMBER("rcpts", s->in.takers), LOG_NUMBER("size", s->in.size),
			  LOG_TEXT("login", session_login(s)),
			  LOG_CSTR("tls", smtp_server_is_secure(s->engine) ? "yes" : ""),
			  LOG_TEXT("forwarded", session_forwarded(s, room)));
	} else {
		log_event(LOG_NOT_STORED, LOG_ID("id", s->in.id), LOG_CSTR("session", s->name),
			  LOG_CSTR("reason", store_result_text(result)));
	}
	answer_message(s, reply_for(result));
	session_go_on(s);
}

void session_queue_lost(struct session *s)
{
	bool waited = s->waits_answer;

	if (s->waits_spool || s->in.in_file) {
		s->waits_spool = false;
		s->in.fault = REPLY_DATA_NO_QUEUE;
	}
	if (waited) {
		/* It may be committed or not: the client tries again, which may make a second copy but loses nothing.
		 */
		s->waits_answer = false;
		answer_message(s, REPLY_DATA_NO_QUEUE);
	}
	session_run(s);
}

msg_id session_waits_for_spool(const struct session *s)
{
	return s->waits_spool ? s->in.id : 0;
}

void session_spool(struct session *s, enum store_result result, int fd)
{
	s->waits_spool = false;
	if (result == STORE_OK) {
		s->in.in_file = true;
		s->in.file = file_from_fd(fd);
		s->in.digest = store_digest_begin(&s->receiver->crc, s->in.id);
	}
	if (s->in.file)
		flush_to_file(s);
	else
		s->in.fault = result == STORE_FULL ? REPLY_DATA_NO_SPACE : REPLY_DATA_STORE;
	session_run(s);
}

/* ---- events --------------------------------------------------------------------------------------------------- */

static void on_event(struct session *s, const struct smtp_event *ev)
{
	switch (ev->type) {
	case SMTP_EV_CONNECT:
		session_on_connect(s);
		break;
	case SMTP_EV_STARTTLS:
		session_reply(s, receiver_tls(s->receiver) ? REPLY_STARTTLS : REPLY_STARTTLS_UNAVAILABLE, SLICE_NONE,
			      SLICE_NONE);
		break;
	case SMTP_EV_XCLIENT:
		session_on_xclient(s);
		break;
	case SMTP_EV_AUTH:
		session_on_auth(s, ev);
		break;
	case SMTP_EV_AUTH_RESPONSE:
		session_on_auth_response(s, ev);
		break;
	case SMTP_EV_AUTH_ABORT:
		session_auth_forget(s);
		break;
	case SMTP_EV_HELO:
		session_on_helo(s, ev);
		break;
	case SMTP_EV_MAIL:
		session_on_mail(s, ev);
		break;
	case SMTP_EV_RCPT:
		session_on_rcpt(s, ev);
		break;
	case SMTP_EV_DATA:
		begin_message(s);
		break;
	case SMTP_EV_BODY:
		take_octets(s, ev->text);
		break;
	case SMTP_EV_END:
		end_message(s);
		break;
	case SMTP_EV_RESET:
		drop_message(s);
		s->targets = 0;
		break;
	case SMTP_EV_VRFY:
		session_on_vrfy(s, ev->text);
		break;
	case SMTP_EV_EXPN:
		session_on_expn(s, ev->text);
		break;
	case SMTP_EV_STATUS:
		session_on_status(s);
		break;
	case SMTP_EV_CLOSE:
		s->closing = true;
		break;
	}
}

/* ---- the connection ------------------------------------------------------------------------------------------- */

static void session_free(struct session *s)
{
	if (!s)
		return;
	drop_message(s);
	session_auth_forget(s);
	session_forget_user(s);
	log_event(LOG_DISCONNECTED, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
		  LOG_NUMBER("messages", s->messages));
	session_leave_counts(s);
	s->receiver->tarpitted -= s->held;
	buf_free(&s->proxy_header);
	if (s->tag)
		receiver_remove_session(s->receiver, s->tag);
	loop_timer_free(s->timer);
	smtp_server_free(s->engine);
	conf_unref(s->conf);
	heap_free(s);
}

/* While something waits for the queue or the DNS, these keep the time. */
static mono_ms next_deadline(const struct session *s)
{
	if (s->greets_at)
		return s->greets_at;
	if (s->awaits_proxy)
		return s->opened + s->listener->proxy_timeout;
	if (s->waits_auth)
		return s->auth_deadline;
	return s->waits_answer || s->waits_dns ? NEVER : smtp_server_deadline(s->engine);
}

static void log_refusals(struct session *s)
{
	struct smtp_refusal refusal;

	while (smtp_server_refusal(s->engine, &refusal))
		log_event(LOG_REFUSED, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
			  LOG_TEXT("from", refusal.from), LOG_TEXT("reply", refusal.reply));
}

static bool session_waits(const struct session *s)
{
	return s->waits_spool || s->waits_answer || s->waits_dns || s->waits_auth;
}

/* Pulls events until one has to wait, and hands over the output. False when the session is over and freed. */
static bool pull_events(struct session *s)
{
	struct smtp_event ev;

	while (!session_waits(s) && !s->closing) {
		if (smtp_server_next(s->engine, &ev))
			on_event(s, &ev);
		else if (s->ended)
			smtp_server_lost(s->engine);
		else if (s->awaits_proxy || !session_note_errors(s))
			break;
	}
	session_note_release(s);
	log_refusals(s);
	/* The engine is told what went out only once it did (on_drained): by that it knows who did not wait. */
	struct slice out = slice_skip(smtp_server_output(s->engine), s->handed);
	if (out.n > 0 && !conn_write(s->conn, out))
		s->closing = true;
	s->handed += out.n;
	if (!s->closing) {
		loop_timer_set(s->timer, next_deadline(s));
		return true;
	}
	conn_finish(s->conn, LINGER);
	session_free(s);
	return false;
}

static bool start_tls(struct session *s);
static void log_tls_failed(const struct session *s, const char *why);

/* The client is known: it is judged, and greeted now or later. False when the session is over and freed. */
static bool start(struct session *s)
{
	log_event(LOG_CONNECTED, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
		  LOG_TEXT("listener", s->listener->name), LOG_CSTR("proxy", s->proxy_text));
	session_set_trust(s);
	session_set_mechanisms(s);
	s->greeting = session_greeting(s);
	smtp_server_start(s->engine, loop_mono(s->receiver->loop));
	/* Who is too much gets no handshake, which costs us more than him. */
	if (smtp_server_awaits_tls(s->engine) && (reply_row(s->greeting)->code == 421 || !start_tls(s))) {
		log_tls_failed(s, reply_row(s->greeting)->code == 421 ? "too many connections" : "it is not available");
		s->ended = true;
	}
	return pull_events(s);
}

static size_t on_input(void *arg, struct slice in)
{
	struct session *s = arg;
	mono_ms now = loop_mono(s->receiver->loop);
	size_t taken = 0;

	if (s->awaits_proxy) {
		if (!session_take_proxy(s, in, &taken) || !start(s))
			return in.n;
		if (s->shaking || taken == in.n)
			return taken;
	}
	do {
		/* A client that does not read its replies is not read either. */
		if (session_waits(s) || conn_pending(s->conn) > OUTPUT_HIGH)
			break;
		size_t n = smtp_server_feed(s->engine, slice_skip(in, taken), now);
		taken += n;
		if (!pull_events(s))
			return in.n;
		if (n == 0)
			break;
	} while (taken < in.n);
	return taken;
}

void session_run(struct session *s)
{
	struct conn *c = s->conn;

	if (pull_events(s))
		conn_resume(c);
}

void session_go_on(struct session *s)
{
	smtp_server_tick(s->engine, loop_mono(s->receiver->loop));
	session_run(s);
}

/* ---- TLS ------------------------------------------------------------------------------------------------------ */

/* False: there is none to be had, and in the clear nothing may be said any more. */
static bool start_tls(struct session *s)
{
	struct tls_server *tls = receiver_tls(s->receiver);

	s->shaking = tls && conn_start_tls(s->conn, tls, s->listener->name);
	/* Without memory for the question nobody is asked: he can log in by other means. */
	if (s->shaking && s->listener->ask_certificate && s->receiver->trust)
		conn_ask_certificate(s->conn, s->receiver->trust);
	return s->shaking;
}

static void log_tls_failed(const struct session *s, const char *why)
{
	log_event(LOG_TLS_FAILED, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
		  LOG_CSTR("reason", why));
}

static void on_secured(void *arg)
{
	struct session *s = arg;
	struct tls_facts tls = {.version = ""};

	s->shaking = false;
	conn_tls_facts(s->conn, &tls);
	log_event(LOG_TLS, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
		  LOG_CSTR("version", tls.version), LOG_CSTR("cipher", tls.cipher), LOG_CSTR("group", tls.group),
		  LOG_CSTR("resumed", tls.resumed ? "yes" : "no"), LOG_TEXT("name", tls.name),
		  LOG_CSTR("certificate", tls.verified ? "good" : tls.unverified ? tls.unverified : ""));
	session_forget_user(s); /* RFC 3207 4.2 */
	session_set_mechanisms(s);
	smtp_server_secured(s->engine, loop_mono(s->receiver->loop));
	pull_events(s);
}

static void on_sign(void *arg, const struct tls_request *request)
{
	struct session *s = arg;

	if (!receiver_ask_signature(s->receiver, s->tag, request))
		conn_signed(s->conn, SLICE_NONE);
}

void session_signed(struct session *s, struct slice signature)
{
	if (s->shaking)
		conn_signed(s->conn, signature);
}

/* ---- the end of output, and of input -------------------------------------------------------------------------- */

static void on_drained(void *arg)
{
	struct session *s = arg;

	smtp_server_sent(s->engine, s->handed);
	s->handed = 0;
	if (smtp_server_awaits_tls(s->engine) && !start_tls(s)) {
		log_tls_failed(s, "it is not available any more");
		s->ended = true;
		session_run(s);
		return;
	}
	conn_resume(s->conn);
}

/* A client that only ended its side still gets the answer that it waits for. */
static void on_closed(void *arg, const char *why)
{
	struct session *s = arg;

	s->ended = true;
	if (s->awaits_proxy) {
		session_proxy_failed(s, "the connection ended before it");
		return;
	}
	if (s->shaking || (why && smtp_server_is_secure(s->engine)))
		log_tls_failed(s, why ? why : "the client went away");
	if (!why) {
		session_run(s);
		return;
	}
	conn_finish(s->conn, LINGER);
	session_free(s);
}

static void on_timer(void *arg)
{
	struct session *s = arg;

	if (s->greets_at)
		session_greet(s);
	if (s->shaking)
		log_tls_failed(s, "it took too long");
	if (s->awaits_proxy) {
		session_proxy_failed(s, "it did not come in time");
		return;
	}
	session_auth_expires(s);
	session_go_on(s);
}

void session_resolved(struct session *s, enum resolver_answer answer)
{
	if (!s->waits_dns)
		return;
	s->waits_dns = false;
	session_on_dns(s, answer);
	session_go_on(s);
}

void session_abandon(struct session *s)
{
	conn_close(s->conn);
	session_free(s);
}

void session_shutdown(struct session *s)
{
	/* The engine does not know yet that nothing may be said in the clear. */
	bool silent = s->awaits_proxy && s->listener->server.tls == SMTP_TLS_IMPLICIT;

	s->awaits_proxy = false;
	s->ended |= silent;
	if (!silent)
		smtp_server_shutdown(s->engine);
	if (s->greets_at)
		session_greet(s);
	session_run(s);
}

static bool session_begin(struct session *s, int fd)
{
	static const struct conn_handler handler = {on_input, on_drained, on_closed, on_secured, on_sign};
	struct receiver *r = s->receiver;

	s->conn = conn_new(r->loop, fd, &handler, s);
	s->engine = s->conn ? smtp_server_new(&s->listener->server) : NULL;
	s->timer = s->engine ? loop_timer_new(r->loop, on_timer, s) : NULL;
	return s->timer && receiver_add_session(r, s, &s->tag);
}

void session_open(struct receiver *r, const struct conf_listener *listener, int fd, const struct net_address *from)
{
	struct session *s = heap_new(struct session);

	if (!s) {
		descriptor_close(fd);
		return;
	}
	*s = (struct session){.receiver = r,
			      .conf = conf_ref(r->conf),
			      .listener = listener,
			      .opened = loop_mono(r->loop),
			      .in = {.fault = REPLY_OK, .body = {.max = 1}}};
	session_set_peer(s, from);
	snprintf(s->name, sizeof s->name, "%u-%llx", r->self->index, (unsigned long long)++r->session_serial);
	if (!session_begin(s, fd)) {
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "session"));
		conn_close(s->conn);
		session_free(s);
		return;
	}
	if (session_begin_proxy(s))
		session_run(s);
	else
		start(s);
}
