/*
 * server_data: the octets of a message, by DATA (RFC 5321 4.1.1.4) or BDAT (RFC 3030 2).
 *
 * Only CRLF "." CRLF ends DATA, or "." CRLF at its very start. Octets are lent to the owner as they came; a dot that
 * the client doubled is left out by cutting the piece in two, nothing is copied.
 *
 * A message with a fault (size, bare CR or LF, NUL, limits) is read to its real end, so that the reply comes in its
 * place and nothing behind the fault can pass for a command. The owner is told with RESET at once. Which fault
 * the reply names is decided at the end: it may not depend on how the octets were cut.
 *
 * Octets above 127 are taken whether or not BODY=8BITMIME was said: many clients say nothing and send eight bits all
 * the same, and to cut them off would only damage the text. The scan tells the owner.
 */
#include "smtp/server_private.h"

#include <stdio.h>
#include <string.h>

/* ---- faults ------------------------------------------------------------------------------------------------------ */

/* The fault that the message has so far, the gravest first; REPLY_COUNT = none. Faults never go away again. */
static enum reply_id find_fault(const struct smtp_server *s)
{
	const struct smtp_server_config *config = s->config;
	const struct mail_scan *scan = &s->message.scan;
	bool binary = s->message.binary;

	if (s->message.octets > config->size_max)
		return REPLY_DATA_TOO_BIG;
	if (!binary && scan->flags & (MAIL_SCAN_BARE_CR | MAIL_SCAN_BARE_LF))
		return REPLY_DATA_BARE;
	/* NUL is never part of a header section (RFC 5322 2.2), and of a body only with BINARYMIME (RFC 3030 3). */
	if (scan->flags & (binary ? MAIL_SCAN_NUL_HEADER : MAIL_SCAN_NUL_HEADER | MAIL_SCAN_NUL_BODY))
		return REPLY_DATA_NUL;
	if (scan->header_octets > config->header_max || scan->header_lines > config->header_lines_max)
		return REPLY_DATA_HEADER_TOO_BIG;
	if (!binary && scan->longest_line > config->line_max)
		return REPLY_DATA_LINE_TOO_LONG;
	if (scan->received > config->hops_max)
		return REPLY_DATA_LOOP;
	if (scan->received_by_us > config->own_hops_max)
		return REPLY_DATA_LOOP_SELF;
	return REPLY_COUNT;
}

static void answer_fault(struct smtp_server *s, enum reply_id fault)
{
	const struct smtp_server_config *config = s->config;
	bool octets = s->message.scan.header_octets > config->header_max;
	char text[40] = "";
	int n = 0;

	if (fault == REPLY_DATA_TOO_BIG)
		n = snprintf(text, sizeof text, "%llu", (unsigned long long)config->size_max);
	else if (fault == REPLY_DATA_HEADER_TOO_BIG)
		n = snprintf(text, sizeof text, "%zu %s", octets ? config->header_max : config->header_lines_max,
			     octets ? "octets" : "lines");
	else if (fault == REPLY_DATA_LINE_TOO_LONG)
		n = snprintf(text, sizeof text, "%zu", config->line_max);
	else if (fault == REPLY_DATA_LOOP)
		n = snprintf(text, sizeof text, "%u", config->hops_max);
	else if (fault == REPLY_DATA_LOOP_SELF)
		n = snprintf(text, sizeof text, "%u", config->own_hops_max);
	server_answer_each(s, &(struct reply){fault, {slice_of(text, (size_t)n)}},
			   config->lmtp ? s->message.recipients : 1);
}

/* ---- content ----------------------------------------------------------------------------------------------------- */

static void begin(struct smtp_server *s, bool by_bdat)
{
	s->message = (struct message){.recipients = s->tx.envelope.rcpt_count,
				      .by_bdat = by_bdat,
				      .binary = s->tx.envelope.body == MAIL_BODY_BINARYMIME};
	mail_scan_init(&s->message.scan, SLICE_NONE);
	mail_scan_count_by(&s->message.scan, s->config->name);
	s->message_since = s->now;
}

static void drop_if_faulty(struct smtp_server *s)
{
	if (s->message.dropped || find_fault(s) == REPLY_COUNT)
		return;
	s->message.dropped = true;
	buf_reset(&s->faulty_from);
	buf_add(&s->faulty_from, s->tx.envelope.sender);
	server_drop(s);
}

/* Octets of the message, dots undone. */
static void content(struct smtp_server *s, struct slice piece)
{
	struct message *m = &s->message;

	m->octets += piece.n;
	if (m->octets > s->config->size_max + SMTP_DATA_DISCARD_MAX) {
		answer_fault(s, REPLY_DATA_TOO_BIG);
		server_close(s);
		return;
	}
	if (m->octets <= s->config->size_max)
		mail_scan_feed(&m->scan, piece);
	drop_if_faulty(s);
	if (m->dropped)
		return;
	s->text = piece;
	server_raise(s, SMTP_EV_BODY);
}

/* The message is whole: END, or the reply to its fault. */
static void end(struct smtp_server *s)
{
	struct message *m = &s->message;

	mail_scan_end(&m->scan);
	enum reply_id fault = find_fault(s);
	drop_if_faulty(s);
	assert(m->dropped == (fault != REPLY_COUNT));
	if (m->dropped) {
		answer_fault(s, fault);
		s->mail_tried = false;
		server_move(s, ST_READY);
		return;
	}
	s->tx.open = false; /* the owner has it whole now */
	server_move(s, ST_END);
	server_ask(s, SMTP_EV_END, s->config->lmtp ? m->recipients : 1);
}

void server_end_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	s->taken |= good;
	if (s->owed > 0) {
		server_answer_each(s, reply, 1);
		return;
	}
	server_answer(s, reply);
	if (s->messages < UINT32_MAX)
		s->messages++;
	if (s->taken) {
		s->idle_commands = 0;
		s->discarded = 0;
	}
	s->taken = s->mail_tried = false;
	server_reset_transaction(s);
	server_forget_forwarded(s);
	server_move(s, ST_READY);
}

/* ---- DATA -------------------------------------------------------------------------------------------------------- */

void server_data(struct smtp_server *s)
{
	if (s->tx.envelope.body == MAIL_BODY_BINARYMIME) {
		server_answer(s, &(struct reply){.id = REPLY_DATA_BINARY});
		return;
	}
	begin(s, false);
	server_ask(s, SMTP_EV_DATA, 1);
}

/*
 * Follows lines from the start of `in`, and returns how many octets of it are content up to where a dot has to be
 * looked at: behind the CRLF that stands before a dot, or at the end of the input. The octet before `in` was no CR,
 * unless m->dot says so.
 */
static size_t follow_lines(struct message *m, struct slice in)
{
	bool cr = m->dot == DOT_CR;
	size_t at = 0;

	while (at < in.n) {
		const char *lf = memchr(in.p + at, '\n', in.n - at);
		if (!lf) {
			m->dot = in.p[in.n - 1] == '\r' ? DOT_CR : DOT_LINE;
			return in.n;
		}
		size_t end = (size_t)(lf - in.p);
		bool crlf = end > at ? in.p[end - 1] == '\r' : cr;
		cr = false;
		at = end + 1;
		m->dot = crlf ? DOT_LINE_START : DOT_LINE;
		if (crlf && at < in.n && in.p[at] == '.')
			return at;
	}
	return at;
}

/* Takes octets up to the first event, or to the end of the message; returns how many. */
size_t server_text(struct smtp_server *s, struct slice in)
{
	struct message *m = &s->message;

	if (m->dot == DOT_LINE_START && in.p[0] == '.') {
		m->dot = DOT_DOT;
		return 1;
	}
	if (m->dot == DOT_DOT && in.p[0] == '\r') {
		m->dot = DOT_DOT_CR;
		return 1;
	}
	if (m->dot == DOT_DOT_CR && in.p[0] == '\n') {
		end(s);
		return 1;
	}
	if (m->dot == DOT_DOT_CR) { /* no end: the CR that was held back is content, and bare, so that nobody gets it */
		m->octets++;
		mail_scan_feed(&m->scan, SLICE("\r"));
		m->dot = DOT_CR;
	}
	size_t n = follow_lines(m, in);
	content(s, slice_head(in, n));
	return n;
}

/* ---- BDAT -------------------------------------------------------------------------------------------------------- */

/* How many replies a refused chunk draws. LMTP answers the last one for each accepted recipient, so perhaps not at all
 * (RFC 2033 4.3): a client that pipelined behind a refused MAIL counts on that. */
static size_t refusal_replies(const struct smtp_server *s, bool last)
{
	if (!s->config->lmtp || !last)
		return 1;
	switch (s->state) {
	case ST_MAIL:
	case ST_RCPT:
		return s->tx.envelope.rcpt_count;
	case ST_CHUNKED:
	case ST_FAILED:
		return s->message.recipients;
	case ST_READY:
		return s->mail_tried ? 0 : 1;
	default:
		return 1;
	}
}

/* The transaction is over for a chunk's sake; where the session goes from here. "A RSET command MUST be issued" after a
 * failed chunk (RFC 3030 2), unless it was the last. */
static enum server_state fail_transaction(struct smtp_server *s, bool last)
{
	if (s->state == ST_START || s->state == ST_REFUSED)
		return s->state;
	if (s->state == ST_MAIL || s->state == ST_RCPT)
		s->message.recipients = s->tx.envelope.rcpt_count;
	if (last)
		s->mail_tried = false;
	bool over = last || s->state == ST_READY;
	server_drop(s);
	return over ? ST_READY : ST_FAILED;
}

/* Refuses a chunk whose size is known: its octets are thrown away first, then the client sees the reply. */
static void refuse_chunk(struct smtp_server *s, struct chunk chunk, const struct reply *reply)
{
	size_t shown = buf_len(&s->out);
	uint64_t budget = s->config->size_max + SMTP_DATA_DISCARD_MAX - s->discarded;

	server_answer_each(s, reply, refusal_replies(s, chunk.last));
	chunk.refused = true;
	chunk.after = fail_transaction(s, chunk.last);
	if (chunk.size > budget) {
		server_close(s);
		return;
	}
	s->discarded += chunk.size;
	if (s->state != ST_CHUNKED)
		s->message_since = s->now;
	s->chunk = chunk;
	server_move(s, ST_CHUNK);
	if (chunk.size == 0)
		server_move(s, chunk.after);
	else
		s->hidden = buf_len(&s->out) - shown;
}

static void chunk_ended(struct smtp_server *s)
{
	struct chunk *chunk = &s->chunk;

	if (chunk->refused) {
		s->hidden = 0;
		server_move(s, chunk->after);
	} else if (chunk->last) {
		end(s);
	} else {
		server_answer(s, &(struct reply){REPLY_BDAT_OK, {server_number(s, chunk->size)}});
		server_move(s, ST_CHUNKED);
	}
}

static void begin_chunk(struct smtp_server *s, struct chunk chunk)
{
	s->chunk = chunk;
	server_move(s, ST_CHUNK);
	if (chunk.size == 0)
		chunk_ended(s);
}

size_t server_chunk(struct smtp_server *s, struct slice in)
{
	struct chunk *chunk = &s->chunk;
	struct slice piece = slice_head(in, chunk->left < in.n ? (size_t)chunk->left : in.n);

	assert(chunk->left > 0);
	chunk->left -= piece.n;
	if (!chunk->refused)
		content(s, piece);
	if (chunk->left == 0)
		chunk_ended(s);
	return piece.n;
}

enum chunk_syntax {
	CHUNK_GOOD,
	CHUNK_SIZE_ONLY, /* the size is good, what follows it is not */
	CHUNK_BAD,
};

static enum chunk_syntax parse_chunk(struct slice arg, struct chunk *ret)
{
	struct slice rest = arg, size = slice_split(&rest, ' ');

	*ret = (struct chunk){0};
	for (size_t i = 0; i < size.n; i++)
		if (!ascii_is_digit(size.p[i]))
			return CHUNK_BAD;
	if (size.n == 0)
		return CHUNK_BAD;
	if (!slice_u64(size, UINT64_MAX, &ret->size)) /* beyond 64 bits: over any limit */
		ret->size = UINT64_MAX;
	ret->left = ret->size;
	ret->last = rest.p && slice_ieq(rest, SLICE("LAST"));
	return ret->last || !rest.p ? CHUNK_GOOD : CHUNK_SIZE_ONLY;
}

void server_bdat(struct smtp_server *s, struct slice arg, const struct reply *refusal)
{
	struct chunk chunk;
	enum chunk_syntax syntax = parse_chunk(arg, &chunk);
	uint64_t so_far = s->state == ST_CHUNKED ? s->message.octets : 0;

	static const struct reply bad_syntax = {.id = REPLY_BDAT_SYNTAX};

	if (syntax != CHUNK_GOOD && !refusal)
		refusal = &bad_syntax;
	if (chunk.size == 0 && !chunk.last && !server_count_idle(s))
		return;
	if (syntax == CHUNK_BAD) { /* nobody knows how many octets follow */
		server_answer(s, refusal);
		if (s->tx.open || s->state == ST_CHUNKED)
			server_move(s, fail_transaction(s, false));
	} else if (refusal) {
		refuse_chunk(s, chunk, refusal);
	} else if (chunk.size > s->config->size_max - so_far) {
		struct slice limit = server_number(s, s->config->size_max);
		refuse_chunk(s, chunk, &(struct reply){REPLY_DATA_TOO_BIG, {limit}});
	} else if (s->state == ST_CHUNKED) {
		begin_chunk(s, chunk);
	} else {
		begin(s, true);
		s->chunk = chunk;
		server_ask(s, SMTP_EV_DATA, 1);
	}
}

/* ---- the answer to both ------------------------------------------------------------------------------------------ */

void server_data_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	if (good && s->message.by_bdat) {
		begin_chunk(s, s->chunk);
	} else if (good) {
		server_answer(s, reply);
		server_move(s, ST_TEXT);
	} else if (s->message.by_bdat) {
		refuse_chunk(s, s->chunk, reply);
	} else {
		server_answer(s, reply);
		server_drop(s);
		s->mail_tried = false;
		server_move(s, ST_READY);
	}
}
