/*
 * server: events, answers, output and time of a session; see server.h for the contract.
 *
 * An event that asks stops the intake until it is answered, and so does output that nobody fetches: memory is bounded
 * by one line, one transaction and SMTP_OUTPUT_BOUND, whatever the client does. Closing, early talkers, shutdown and
 * lack of memory are settled in one place (settle), at the first moment when no answer is owed and no event waits.
 */
#include "smtp/server_private.h"

#include "base/heap.h"
#include "base/pack.h"

#include <string.h>

/*
 * The states and their moves.
 *
 *	 TLS, when it comes first
 *	   |
 *	CONNECT --554, 521--> REFUSED
 *	   |220
 *	 START --EHLO--> READY --MAIL--> MAIL --RCPT--> RCPT --DATA--> TEXT --dot--> END --answered--> READY
 *	                                                 |BDAT                        ^
 *	                                               CHUNK <--BDAT--- CHUNKED       |LAST
 *	                                                 |--its octets--^             |
 *	                                                 `----------------------------'
 *
 * RSET, EHLO and a refused DATA lead back to READY from MAIL, RCPT, CHUNKED and FAILED; so does a faulty message from
 * TEXT and CHUNK. A refused BDAT passes CHUNK too, since its octets are to be read: it leads to FAILED out of a
 * transaction, unless it was the last chunk, and back to where it came from otherwise. STARTTLS leads to TLS from every
 * state between commands, and the handshake from there to START. AUTH leads from READY to AUTH with its first
 * challenge, and the end of the exchange back. XCLIENT leads from START and READY to where a greeting does. Every state
 * leads to CLOSED.
 */
/* clang-format off */
static const uint16_t moves[ST_COUNT] = {
	[ST_CONNECT] = ST(ST_START) | ST(ST_REFUSED) | ST(ST_TLS),
	[ST_REFUSED] = ST(ST_CHUNK),
	[ST_TLS]     = ST(ST_CONNECT) | ST(ST_START),
	[ST_START]   = ST(ST_START) | ST(ST_REFUSED) | ST(ST_READY) | ST(ST_CHUNK) | ST(ST_TLS),
	[ST_READY]   = ST(ST_START) | ST(ST_REFUSED) | ST(ST_READY) | ST(ST_AUTH) | ST(ST_MAIL) | ST(ST_CHUNK) | ST(ST_TLS),
	[ST_AUTH]    = ST(ST_READY) | ST(ST_AUTH),
	[ST_MAIL]    = ST(ST_READY) | ST(ST_RCPT) | ST(ST_CHUNK) | ST(ST_FAILED) | ST(ST_TLS),
	[ST_RCPT]    = ST(ST_READY) | ST(ST_RCPT) | ST(ST_TEXT) | ST(ST_CHUNK) | ST(ST_FAILED) | ST(ST_TLS),
	[ST_TEXT]    = ST(ST_READY) | ST(ST_END),
	[ST_CHUNK]   = ST(ST_READY) | ST(ST_START) | ST(ST_REFUSED) | ST(ST_CHUNKED) | ST(ST_FAILED) | ST(ST_END),
	[ST_CHUNKED] = ST(ST_READY) | ST(ST_CHUNK) | ST(ST_FAILED) | ST(ST_TLS),
	[ST_FAILED]  = ST(ST_READY) | ST(ST_CHUNK) | ST(ST_TLS),
	[ST_END]     = ST(ST_READY),
};
/* clang-format on */
static_assert(ST_COUNT <= 16, "a state fits into a move's mask");

static void check_state(const struct smtp_server *s)
{
	switch (s->state) {
	case ST_MAIL:
		assert(s->tx.open);
		assert(s->tx.envelope.rcpt_count == 0);
		break;
	case ST_RCPT:
		assert(s->tx.open);
		assert(s->tx.envelope.rcpt_count > 0);
		break;
	case ST_TEXT:
	case ST_CHUNKED:
		assert(s->tx.open == !s->message.dropped);
		assert(s->message.recipients > 0);
		break;
	case ST_END:
		assert(!s->message.dropped);
		assert(s->tx.envelope.rcpt_count == s->message.recipients);
		assert(s->message.recipients > 0);
		break;
	case ST_CHUNK:
		break;
	case ST_AUTH:
		assert(s->exchange.open);
		assert(!s->authenticated);
		assert(!s->tx.open);
		break;
	default:
		assert(!s->tx.open);
		assert(s->tx.envelope.rcpt_count == 0);
	}
}

void server_move(struct smtp_server *s, enum server_state to)
{
	assert(to == ST_CLOSED || moves[s->state] & ST(to));
	s->state = to;
	check_state(s);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* What the owner may answer: the first digit of success; 0 = the event asks for nothing. 4yz and 5yz refuse any. */
static const uint8_t success[] = {
	[SMTP_EV_CONNECT] = 2,  [SMTP_EV_HELO] = 2, [SMTP_EV_MAIL] = 2,          [SMTP_EV_RCPT] = 2,
	[SMTP_EV_DATA] = 3,     [SMTP_EV_BODY] = 0, [SMTP_EV_END] = 2,           [SMTP_EV_RESET] = 0,
	[SMTP_EV_VRFY] = 2,     [SMTP_EV_EXPN] = 2, [SMTP_EV_STATUS] = 2,        [SMTP_EV_CLOSE] = 0,
	[SMTP_EV_STARTTLS] = 2, [SMTP_EV_AUTH] = 2, [SMTP_EV_AUTH_RESPONSE] = 2, [SMTP_EV_AUTH_ABORT] = 0,
	[SMTP_EV_XCLIENT] = 2,
};

void server_raise(struct smtp_server *s, enum smtp_event_type type)
{
	assert(s->events < EVENTS);
	assert(s->owed == 0);
	s->event[s->events++] = (uint8_t)type;
}

void server_ask(struct smtp_server *s, enum smtp_event_type type, size_t answers)
{
	assert(success[type] != 0);
	assert(answers > 0);
	server_raise(s, type);
	s->asked = (uint8_t)type;
	s->owed = answers;
}

static bool in_queue(const struct smtp_server *s, enum smtp_event_type type)
{
	return s->events > 0 && memchr(s->event, type, s->events) != NULL;
}

/* ---- the transaction --------------------------------------------------------------------------------------------- */

void server_reset_transaction(struct smtp_server *s)
{
	struct transaction *tx = &s->tx;

	arena_reset(&tx->arena);
	if (tx->rcpt_cap > SMTP_IDLE_RCPT) {
		heap_free(tx->rcpt);
		tx->rcpt = NULL;
		tx->rcpt_cap = 0;
	}
	*tx = (struct transaction){.arena = tx->arena, .rcpt = tx->rcpt, .rcpt_cap = tx->rcpt_cap};
}

void server_drop(struct smtp_server *s)
{
	if (s->tx.open)
		server_raise(s, SMTP_EV_RESET);
	server_reset_transaction(s);
	server_forget_forwarded(s);
}

/* ---- replies ----------------------------------------------------------------------------------------------------- */

static void put_reply(struct smtp_server *s, const struct reply *reply, const struct slice *lines, size_t count)
{
	if (s->broken)
		return;
	s->broken = !reply_format_lines(&s->out, reply, lines, count);
}

/* Keeps what was said for the log, as far as there is room. */
static void keep_refusal(struct smtp_server *s, const struct reply *reply)
{
	struct slice from = s->tx.open ? s->tx.envelope.sender : buf_slice(&s->faulty_from);
	struct buf text;

	buf_init(&text, SMTP_OUTPUT_REPLY_MAX);
	if (reply_format(&text, reply) && buf_room(&s->refusals) >= buf_len(&text) + from.n + 8) {
		size_t before = buf_len(&s->refusals);
		pack_slice(&s->refusals, from);
		pack_slice(&s->refusals, slice_head(buf_slice(&text), buf_len(&text) - 2));
		if (s->refusals.failed) {
			s->refusals.failed = false;
			buf_cut(&s->refusals, before);
		}
	}
	buf_free(&text);
	buf_free(&s->faulty_from);
}

bool smtp_server_refusal(struct smtp_server *s, struct smtp_refusal *ret)
{
	struct unpack u = {.in = slice_skip(buf_slice(&s->refusals), s->refusals_told)};

	if (u.in.n == 0) {
		buf_free(&s->refusals);
		s->refusals_told = 0;
		return false;
	}
	ret->from = unpack_slice(&u, SMTP_REFUSALS_MAX);
	ret->reply = unpack_slice(&u, SMTP_REFUSALS_MAX);
	assert(!u.bad);
	s->refusals_told = buf_len(&s->refusals) - u.in.n;
	return true;
}

void server_answer_lines(struct smtp_server *s, const struct reply *reply, const struct slice *lines, size_t count)
{
	unsigned code = reply_row(reply->id)->code;

	assert(s->hidden == 0);
	put_reply(s, reply, lines, count);
	if (code >= 400 && !s->told)
		keep_refusal(s, reply);
	if (code / 100 == 5 && s->errors < UINT32_MAX)
		s->errors++;
}

void server_answer(struct smtp_server *s, const struct reply *reply)
{
	server_answer_lines(s, reply, NULL, 0);
}

void server_answer_each(struct smtp_server *s, const struct reply *reply, size_t times)
{
	if (times == 0)
		return;
	server_answer(s, reply);
	for (size_t i = 1; i < times; i++)
		put_reply(s, reply, NULL, 0);
}

void server_say(struct smtp_server *s, enum reply_id id)
{
	server_answer(s, &(struct reply){id, {s->config->name}});
}

struct slice server_number(struct smtp_server *s, uint64_t number)
{
	size_t n = sizeof s->digits;

	do {
		s->digits[--n] = (char)('0' + number % 10);
		number /= 10;
	} while (number);
	return slice_of(s->digits + n, sizeof s->digits - n);
}

void server_close(struct smtp_server *s)
{
	assert(s->state != ST_CLOSED);
	s->owed = 0;
	s->hidden = 0;
	s->held_until = 0;
	server_auth_drop(s);
	server_drop(s);
	server_raise(s, SMTP_EV_CLOSE);
	server_move(s, ST_CLOSED);
}

static void leave(struct smtp_server *s, const struct reply *reply)
{
	assert(reply_row(reply->id)->code / 100 >= 4);
	/* Nothing may be said in the clear any more, but to a client that broke that rule itself. */
	if (s->state == ST_TLS && !s->early) {
		server_close(s);
		return;
	}
	buf_cut(&s->out, buf_len(&s->out) - s->hidden);
	s->hidden = 0;
	server_answer(s, reply);
	server_close(s);
}

void server_leave(struct smtp_server *s, enum reply_id id)
{
	leave(s, &(struct reply){id, {s->config->name}});
}

/* Whatever follows is not meant for us, and may hold lines that somebody else chose (cross-protocol requests): none of
 * it is read. 421 is the one reply behind which a server may close at any time (RFC 5321 3.8). */
void server_leave_other(struct smtp_server *s, struct slice protocol)
{
	leave(s, &(struct reply){REPLY_OTHER_PROTOCOL, {s->config->name, protocol}});
}

/* What cannot be done while an answer is owed or an event waits. */
static void settle(struct smtp_server *s)
{
	if (s->state == ST_CLOSED || s->owed > 0 || s->events > 0)
		return;
	if (s->broken) {
		s->broken = s->out.failed = false;
		server_leave(s, REPLY_INTERNAL); /* as far as there is room for it */
	} else if (s->quit) {
		server_close(s); /* whatever stands behind QUIT */
	} else if (s->early) {
		server_leave(s, s->state == ST_TLS ? REPLY_STARTTLS_EARLY : REPLY_EARLY_TALKER);
	} else if (s->stopping) {
		server_leave(s, s->stop_reply);
	} else if (s->line.n == 0 && s->line.held.cap > SMTP_IDLE_LINE) {
		buf_free(&s->line.held);
	}
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

struct smtp_server *smtp_server_new(const struct smtp_server_config *config)
{
	assert(config->name.n > 0);
	assert(config->size_max > 0 && config->size_max <= INT64_MAX);
	assert(config->rcpt_max >= SMTP_RCPT_MIN && config->rcpt_max <= SMTP_RCPT_MAX);
	assert(config->line_max >= SMTP_TEXT_LINE_MIN);
	assert(config->errors_max > 0 && config->idle_commands_max > 0 && config->messages_max > 0);
	assert(config->command_timeout > 0 && config->data_timeout > 0 && config->message_timeout > 0);
	assert(config->tls == SMTP_TLS_OFF || config->tls_timeout > 0);
	assert(config->mechanism_count <= SMTP_MECHANISMS_MAX);
	assert(!config->auth_required || config->mechanism_count > 0);

	struct smtp_server *s = heap_new(struct smtp_server);
	if (!s)
		return NULL;
	s->config = config;
	s->usable = UINT32_MAX;
	buf_init(&s->out, SMTP_OUTPUT_BOUND + SMTP_OUTPUT_REPLY_MAX +
				  (config->lmtp ? config->rcpt_max * SMTP_OUTPUT_RCPT_MAX : 0));
	buf_init(&s->line.held, SMTP_AUTH_COMMAND_MAX);
	buf_init(&s->exchange.response, SMTP_CHALLENGE_MAX);
	buf_init(&s->refusals, SMTP_REFUSALS_MAX);
	buf_init(&s->faulty_from, SMTP_COMMAND_LINE_MAX);
	arena_init(&s->tx.arena, config->rcpt_max * SMTP_RCPT_OCTETS + SMTP_COMMAND_LINE_MAX);
	return s;
}

void smtp_server_free(struct smtp_server *s)
{
	if (!s)
		return;
	buf_free(&s->out);
	buf_free(&s->refusals);
	buf_free(&s->faulty_from);
	buf_wipe(&s->line.held);
	buf_wipe(&s->exchange.response);
	arena_free(&s->tx.arena);
	heap_free(s->tx.rcpt);
	heap_free(s->peer);
	heap_free(s->told_client);
	heap_free(s->told_forwarded);
	heap_free(s);
}

static void tell_time(struct smtp_server *s, mono_ms now)
{
	if (now > s->now)
		s->now = now;
	if (!s->clock_late)
		return;
	s->clock_late = false;
	s->since = s->now;
	if (s->message.octets == 0)
		s->message_since = s->now;
}

static void greet(struct smtp_server *s)
{
	s->greeted = s->guard = true;
	server_ask(s, SMTP_EV_CONNECT, 1);
}

void smtp_server_start(struct smtp_server *s, mono_ms now)
{
	assert(s->state == ST_CONNECT);
	assert(s->owed == 0);
	s->now = s->since = now;
	if (s->config->tls == SMTP_TLS_IMPLICIT)
		server_move(s, ST_TLS);
	else
		greet(s);
}

void smtp_server_secured(struct smtp_server *s, mono_ms now)
{
	assert(s->state == ST_TLS);
	assert(buf_len(&s->out) == 0);
	tell_time(s, now);
	s->since = s->now;
	s->secure = true;
	s->guard = false;
	if (s->greeted) {
		server_move(s, ST_START);
		return;
	}
	server_move(s, ST_CONNECT);
	greet(s);
}

bool smtp_server_awaits_tls(const struct smtp_server *s)
{
	return s->state == ST_TLS;
}

bool smtp_server_is_secure(const struct smtp_server *s)
{
	return s->secure;
}

void smtp_server_set_mechanisms(struct smtp_server *s, uint32_t usable)
{
	s->usable = usable;
}

bool smtp_server_is_authenticated(const struct smtp_server *s)
{
	return s->authenticated;
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

mono_ms smtp_server_deadline(const struct smtp_server *s)
{
	const struct smtp_server_config *config = s->config;
	bool data = s->state == ST_TEXT || s->state == ST_CHUNK;

	if (s->state == ST_CLOSED || s->owed > 0)
		return NEVER;
	if (s->held_until > 0)
		return s->held_until;
	mono_ms step = s->since + (data                 ? config->data_timeout
				   : s->state == ST_TLS ? config->tls_timeout
							: config->command_timeout);
	if (!data && s->state != ST_CHUNKED)
		return step;
	mono_ms whole = s->message_since + config->message_timeout;
	return step < whole ? step : whole;
}

void smtp_server_tick(struct smtp_server *s, mono_ms now)
{
	tell_time(s, now);
	if (s->held_until > 0) {
		if (s->held_until > s->now)
			return;
		s->held_until = 0;
		s->since = s->now;
	}
	if (s->events == 0 && smtp_server_deadline(s) <= s->now)
		server_leave(s, REPLY_TIMEOUT);
}

/* ---- octets in --------------------------------------------------------------------------------------------------- */

/* Octets in the clear between STARTTLS and the handshake are not the client's own: they are never taken for something
 * that was said under TLS (CVE-2011-0411), and never passed over in silence. */
static bool is_behind_starttls(const struct smtp_server *s)
{
	return s->state == ST_TLS || (s->owed > 0 && s->asked == SMTP_EV_STARTTLS);
}

/* The client sends although it has to wait for a reply that it cannot have yet. */
static void note_early(struct smtp_server *s)
{
	s->early |= (s->guard && s->config->refuse_early) || is_behind_starttls(s);
}

static bool can_take(const struct smtp_server *s)
{
	if (s->state == ST_CLOSED || s->state == ST_TLS || s->owed > 0 || s->events > 0 || s->held_until > 0)
		return false;
	return s->state == ST_TEXT || s->state == ST_CHUNK || buf_len(&s->out) < SMTP_OUTPUT_BOUND;
}

static size_t take(struct smtp_server *s, struct slice in)
{
	if (s->state == ST_TEXT || s->state == ST_CHUNK) {
		s->since = s->now;
		return s->state == ST_TEXT ? server_text(s, in) : server_chunk(s, in);
	}
	size_t n = server_line(s, in);
	if (n < in.n)
		note_early(s);
	return n;
}

size_t smtp_server_feed(struct smtp_server *s, struct slice in, mono_ms now)
{
	size_t taken = 0;

	assert(s->state != ST_CONNECT || s->owed > 0);
	tell_time(s, now);
	if (in.n > 0)
		note_early(s);
	settle(s);
	while (taken < in.n && can_take(s)) {
		size_t n = take(s, slice_skip(in, taken));
		assert(n > 0);
		taken += n;
		settle(s);
	}
	assert(taken <= in.n);
	return taken;
}

/* ---- events out, answers in -------------------------------------------------------------------------------------- */

bool smtp_server_next(struct smtp_server *s, struct smtp_event *ev)
{
	settle(s);
	if (s->events == 0) {
		s->late = s->owed > 0;
		return false;
	}
	enum smtp_event_type type = s->event[0];
	memmove(s->event, s->event + 1, --s->events);

	*ev = (struct smtp_event){.type = type, .answer = success[type] != 0};
	switch (type) {
	case SMTP_EV_HELO:
		ev->extended = s->offers_ehlo;
		ev->text = s->text;
		break;
	case SMTP_EV_RCPT:
		ev->rcpt = s->rcpt;
		ev->address = s->address;
		break;
	case SMTP_EV_MAIL:
		ev->address = s->address;
		break;
	case SMTP_EV_BODY:
	case SMTP_EV_VRFY:
	case SMTP_EV_EXPN:
		ev->text = s->text;
		break;
	case SMTP_EV_AUTH:
	case SMTP_EV_AUTH_RESPONSE:
		ev->text = s->exchange.mechanism->name;
		ev->response = buf_slice(&s->exchange.response);
		ev->given = type == SMTP_EV_AUTH_RESPONSE || s->exchange.given;
		break;
	default:
		break;
	}
	return true;
}

static void connect_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	if (s->early) {
		server_leave(s, REPLY_GREETING_EARLY);
		return;
	}
	if (s->stopping) {
		server_leave(s, s->stop_reply);
		return;
	}
	server_answer(s, reply);
	s->no_mail = reply_row(reply->id)->code == 521;
	server_move(s, good ? ST_START : ST_REFUSED);
}

static void dispatch(struct smtp_server *s, const struct reply *reply, const struct slice *lines, size_t count,
		     bool good)
{
	switch ((enum smtp_event_type)s->asked) {
	case SMTP_EV_CONNECT:
		connect_answered(s, reply, good);
		break;
	case SMTP_EV_STARTTLS:
		server_starttls_answered(s, reply, good);
		break;
	case SMTP_EV_XCLIENT:
		server_xclient_answered(s, reply, good);
		break;
	case SMTP_EV_AUTH:
	case SMTP_EV_AUTH_RESPONSE:
		server_auth_answered(s, reply, good);
		break;
	case SMTP_EV_HELO:
		server_helo_answered(s, reply, good);
		break;
	case SMTP_EV_MAIL:
		server_mail_answered(s, reply, good);
		break;
	case SMTP_EV_RCPT:
		server_rcpt_answered(s, reply, good);
		break;
	case SMTP_EV_DATA:
		server_data_answered(s, reply, good);
		break;
	case SMTP_EV_END:
		server_end_answered(s, reply, good);
		break;
	default:
		server_answer_lines(s, reply, lines, count);
	}
}

static bool asks_auth(const struct smtp_server *s)
{
	return s->asked == SMTP_EV_AUTH || s->asked == SMTP_EV_AUTH_RESPONSE;
}

static void take_answer(struct smtp_server *s)
{
	assert(s->owed > 0);
	assert(s->events == 0);
	s->since = s->now;
	s->clock_late |= s->late;
	s->late = false;
	s->owed--;
}

void smtp_server_reply_lines(struct smtp_server *s, struct reply reply, const struct slice *lines, size_t count)
{
	/* An answer may come back after the client went away. */
	if (s->state == ST_CLOSED)
		return;
	unsigned code = reply_row(reply.id)->code;
	bool good = code / 100 == success[s->asked];

	assert(good || code / 100 == 4 || code / 100 == 5);
	assert(count == 0 || s->asked == SMTP_EV_VRFY || s->asked == SMTP_EV_EXPN || s->asked == SMTP_EV_STATUS);
	if ((s->asked == SMTP_EV_CONNECT || code == 421) && reply.arg[0].n == 0)
		reply.arg[0] = s->config->name;
	take_answer(s);
	s->told = s->asked == SMTP_EV_RCPT || s->asked == SMTP_EV_END || asks_auth(s);
	dispatch(s, &reply, lines, count, good);
	s->told = false;
	if (code == 421 && s->state != ST_CLOSED)
		server_close(s);
	settle(s);
}

void smtp_server_reply(struct smtp_server *s, struct reply reply)
{
	smtp_server_reply_lines(s, reply, NULL, 0);
}

void smtp_server_challenge(struct smtp_server *s, struct slice challenge)
{
	if (s->state == ST_CLOSED)
		return;
	assert(asks_auth(s));
	take_answer(s);
	server_auth_challenged(s, challenge);
	settle(s);
}

void smtp_server_lost(struct smtp_server *s)
{
	if (s->state == ST_CLOSED)
		return;
	/* What nobody has pulled never happened; a transaction that the owner knows of is still his to forget. */
	if (in_queue(s, SMTP_EV_RESET) || in_queue(s, SMTP_EV_END))
		s->tx.open = true;
	s->exchange.open |= in_queue(s, SMTP_EV_AUTH_ABORT);
	s->exchange.open &= !in_queue(s, SMTP_EV_AUTH);
	s->events = 0;
	buf_cut(&s->out, buf_len(&s->out) - s->hidden); /* the chunk that it answers never came whole */
	server_close(s);
}

void smtp_server_dismiss(struct smtp_server *s, enum reply_id id)
{
	assert(reply_row(id)->code == 421);
	s->stopping = true;
	s->stop_reply = id;
	settle(s);
}

void smtp_server_shutdown(struct smtp_server *s)
{
	smtp_server_dismiss(s, REPLY_SHUTDOWN);
}

void smtp_server_hold(struct smtp_server *s, mono_ms until)
{
	assert(until > 0);
	/* Behind 220 to STARTTLS the owner waits for the output, not for us. */
	if (s->state != ST_CLOSED && s->state != ST_TLS && s->events == 0 && s->owed == 0)
		s->held_until = until;
}

bool smtp_server_is_held(const struct smtp_server *s)
{
	return s->held_until > 0;
}

unsigned smtp_server_errors(const struct smtp_server *s)
{
	return s->errors;
}

/* ---- octets out -------------------------------------------------------------------------------------------------- */

struct slice smtp_server_output(const struct smtp_server *s)
{
	if (s->held_until > 0)
		return SLICE_NONE;
	return slice_head(buf_slice(&s->out), buf_len(&s->out) - s->hidden);
}

void smtp_server_sent(struct smtp_server *s, size_t n)
{
	assert(n <= buf_len(&s->out) - s->hidden);
	buf_take(&s->out, n);
	if (buf_len(&s->out) > s->hidden)
		return;
	if (s->owed == 0)
		s->guard = false;
	if (buf_len(&s->out) == 0 && s->out.cap > SMTP_IDLE_BUFFER)
		buf_free(&s->out);
}

const struct mail_envelope *smtp_server_envelope(const struct smtp_server *s)
{
	return &s->tx.envelope;
}

const struct mail_scan *smtp_server_scan(const struct smtp_server *s)
{
	return &s->message.scan;
}

struct slice smtp_server_peer_name(const struct smtp_server *s)
{
	return slice_of(s->peer, s->peer_n);
}

bool smtp_server_is_extended(const struct smtp_server *s)
{
	return s->extended;
}
