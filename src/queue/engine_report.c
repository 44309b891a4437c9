/*
 * Reports: who is told what (RFC 3461, by the rules of mail/report.h), and when nobody is.
 *
 * A message with the null reverse-path causes no report; when it fails, the postmaster is told, and when that fails,
 * too, nobody is. The report goes into the transaction that settles what it is about: none is lost, none comes twice.
 *
 * What is returned of the original (RFC 3461 4.3, 6.2): with a failure, the whole message if RET=FULL asked for it, or
 * if RET was not given and it is small; never one above ENGINE_RETURN_MAX, which 6.2 leaves to us. Else its header
 * section.
 */
#include "queue/engine_private.h"

#include "base/heap.h"
#include "mail/report.h"

#include <assert.h>

#define PIECE          ((size_t)64 * 1024)
#define DELAY_LOOK_MAX 200 /* recipients of a message that are looked at for one delay report */

/* ---- rules ---------------------------------------------------------------------------------------------------- */

static bool success_due(const struct queue_engine *e, const struct item *i)
{
	enum mail_report_action action;
	enum mail_report_hop hop = i->found.outcome.dsn_relayed ? MAIL_REPORT_HOP_DSN
				   : i->local                   ? MAIL_REPORT_HOP_MAILBOX
								: MAIL_REPORT_HOP_PLAIN;

	return e->config.report_success && mail_report_success_due(i->rcpt.notify, i->msg->sender.n == 0, hop, &action);
}

enum report_kind report_wanted(const struct queue_engine *e, const struct item *i, enum report_kind kind)
{
	bool null_sender = i->msg->sender.n == 0, due = false;

	switch (kind) {
	case REPORT_NONE:
		break;
	case REPORT_FAILED:
		/* The failure of a message without a sender is the postmaster's: double_bounce below. */
		due = mail_report_due(i->rcpt.notify, false, MAIL_REPORT_FAILED);
		break;
	case REPORT_DELAYED:
		due = mail_report_due(i->rcpt.notify, null_sender, MAIL_REPORT_DELAYED);
		break;
	case REPORT_SUCCESS:
		due = success_due(e, i);
		break;
	}
	return due ? kind : REPORT_NONE;
}

/* ---- what is returned ----------------------------------------------------------------------------------------- */

/* The first `max` octets of a body in a file, all of which has to be as it was put: what is not is sent to nobody. */
static bool read_file(struct queue_engine *e, const struct msg *m, size_t max, struct buf *out)
{
	char *piece = heap_alloc(PIECE);
	uint32_t digest = store_digest_begin(&e->crc, m->id);
	uint64_t at = 0;
	struct file *f;
	size_t n = 1;
	int error = 0;

	if (!piece || !e->config.fs || store_spool_open(e->config.fs, m->id, &f) != STORE_OK) {
		heap_free(piece);
		return false;
	}
	while (!error && n > 0 && (m->digest.known || at < max)) {
		error = f->ops->read(f, at, piece, PIECE, &n);
		struct slice octets = slice_of(piece, error ? 0 : n);
		digest = crc32c_add(&e->crc, digest, octets);
		buf_add(out, slice_head(octets, at < max ? max - (size_t)at : 0));
		at += n;
	}
	f->ops->close(f);
	heap_free(piece);
	return !error && !out->failed && store_digest_fits(m->digest, digest);
}

static struct slice header_of(struct slice message)
{
	size_t end = slice_search(message, SLICE("\r\n\r\n"));

	if (slice_starts(message, SLICE("\r\n")))
		return SLICE_NONE;
	if (end < message.n)
		message = slice_head(message, end + 2);
	/* One that is too long is cut at a line. */
	if (message.n > ENGINE_HEADER_MAX) {
		message = slice_head(message, ENGINE_HEADER_MAX);
		size_t line = slice_rfind(message, '\n');
		message = line < message.n ? slice_head(message, line + 1) : SLICE_NONE;
	}
	return message;
}

/*
 * The original and its header section; both empty when it cannot be read, which must not keep the report back. Read
 * before anything is settled, because a message loses its body with its last open recipient.
 */
static struct original read_original(struct queue_engine *e, const struct msg *m, bool failed)
{
	struct slice whole = slice_of(m->body, m->body_n);
	/* RFC 8689 5. */
	enum mail_ret ret = m->content & STORE_CONTENT_REQUIRETLS ? MAIL_RET_HDRS : m->ret;
	bool full = mail_report_wanted(ret, failed, m->size, e->config.report_full_max, ENGINE_RETURN_MAX) ==
		    MAIL_REPORT_RETURN_FULL;

	buf_reset(&e->original);
	if (!m->body) {
		size_t want = full ? (size_t)m->size : ENGINE_HEADER_MAX + 1;
		bool good = m->body_in_file ? read_file(e, m, want, &e->original)
					    : e->store->ops->body(e->store, m->id, &e->original) == STORE_OK;
		whole = good && !e->original.failed ? buf_slice(&e->original) : SLICE_NONE;
	}
	return (struct original){.header = header_of(whole), .whole = full ? whole : SLICE_NONE};
}

/* ---- making one ----------------------------------------------------------------------------------------------- */

static bool take_id(struct queue_engine *e, msg_id *ret)
{
	if (e->report_next == e->report_end) {
		uint64_t block;
		enum store_result r = e->store->ops->id_block(e->store, &block);
		if (r != STORE_OK)
			return engine_did(e, r);
		e->report_next = block << MSG_ID_BLOCK_BITS;
		e->report_end = (block + 1) << MSG_ID_BLOCK_BITS;
	}
	*ret = e->report_next++;
	return true;
}

static const char *const notes[] = {
	[REPORT_FAILED] = "report on failed delivery",
	[REPORT_DELAYED] = "report on delayed delivery",
	[REPORT_SUCCESS] = "report on successful delivery",
};

static void tell_report(struct queue_engine *e, const struct report *r)
{
	struct store_history line = {
		.event = STORE_EVENT_REPORT,
		.at = e->times.wall,
		.n = r->count == 1 ? r->lines[0].n : UINT32_MAX,
		.about = r->id,
		.text = slice_from_cstr(notes[r->kind]),
	};
	struct queue_event event = {.type = QUEUE_EVENT_REPORT, .id = r->about->id, .about = r->id, .rcpt = r->to};

	engine_did(e, e->store->ops->note(e->store, r->about->id, &line));
	engine_tell(e, &event);
}

/* Who gets it: the sender of the message, or those whom a forwarded mailbox or a list stands for. False: no memory. */
static bool address_report(struct queue_engine *e, const struct report *r, struct mail_envelope *ret)
{
	const struct slice *targets;
	size_t count = e->config.router.expand(e->config.router.arg, r->to, &targets);
	struct mail_rcpt *rcpt = arena_array(&e->reports, count ? count : 1, sizeof *rcpt);

	if (!rcpt)
		return false;
	rcpt[0] = (struct mail_rcpt){.address = r->to};
	for (size_t k = 0; k < count; k++)
		rcpt[k] = (struct mail_rcpt){.address = targets[k]};
	*ret = (struct mail_envelope){.rcpt = rcpt, .rcpt_count = count ? count : 1, .utf8 = !slice_is_ascii(r->to)};
	for (size_t k = 0; k < ret->rcpt_count; k++)
		ret->utf8 |= !slice_is_ascii(rcpt[k].address);
	return true;
}

static void make_one(struct queue_engine *e, struct report *r)
{
	struct mail_envelope envelope;
	unsigned content = 0;

	if (!take_id(e, &r->id))
		return;
	if (!address_report(e, r, &envelope)) {
		engine_did(e, STORE_NO_MEMORY);
		return;
	}
	buf_reset(&e->composed);
	if (!report_compose(e, r, &e->composed)) {
		engine_did(e, STORE_NO_MEMORY);
		return;
	}
	/* A report keeps to 7 bits, but for addresses and words of a sender who can read more. */
	if (!slice_is_ascii(buf_slice(&e->composed)))
		content = STORE_CONTENT_EIGHT_BIT | STORE_CONTENT_UTF8_HEADER;
	if (!envelope.utf8)
		content &= STORE_CONTENT_EIGHT_BIT;
	envelope.body = content ? MAIL_BODY_8BITMIME : MAIL_BODY_7BIT;
	/* A report is handled as what it is about (RFC 8689 5, 6). */
	content |= r->about->content & (STORE_CONTENT_REQUIRETLS | STORE_CONTENT_TLS_OPTIONAL);
	struct store_new draft = {
		.id = r->id,
		.arrived = e->times.wall,
		.now = e->now,
		.envelope = &envelope,
		.size = buf_len(&e->composed),
		.content = content,
		.body = buf_slice(&e->composed),
		.about = r->about->id,
		.note = notes[r->kind],
	};
	if (engine_did(e, engine_admit(e, &draft)))
		tell_report(e, r);
}

static void make(struct queue_engine *e, const struct report *whole)
{
	struct report part = *whole;

	for (size_t at = 0; at < whole->count && e->tx_error == STORE_OK; at += part.count) {
		size_t left = whole->count - at;
		part.lines = whole->lines + at;
		part.count = left < ENGINE_REPORT_RCPTS ? left : ENGINE_REPORT_RCPTS;
		make_one(e, &part);
	}
}

static struct report_line line_of(const struct item *i)
{
	return (struct report_line){
		.n = i->n,
		.rcpt = i->rcpt,
		.outcome = i->found.outcome,
		.remote = i->found.remote,
		.at = i->found.at,
		.attempted = i->settle != SETTLE_BOUNCE,
		.given_up = i->given_up,
		.local = i->local,
		.by_operator = i->settle == SETTLE_BOUNCE,
	};
}

/* The message's items of this kind, and room for `more` lines. NULL: none, or no memory. */
static struct report_line *gather(struct queue_engine *e, struct msg *m, enum report_kind kind, size_t more,
				  const struct original *original, struct report *r)
{
	size_t count = 0;

	arena_reset(&e->reports);
	*r = (struct report){.kind = kind, .about = m, .to = m->sender, .original = *original};
	if (kind != REPORT_FAILED)
		r->original.whole = SLICE_NONE;
	for (struct link *l = m->reports.next; l != &m->reports; l = l->next)
		count += CONTAINER(l, struct item, report)->report_kind == kind;
	if (count == 0)
		return NULL;
	struct report_line *lines = arena_array(&e->reports, count + more, sizeof *lines);
	if (!lines) {
		engine_did(e, STORE_NO_MEMORY);
		return NULL;
	}
	for (struct link *l = m->reports.next; l != &m->reports; l = l->next) {
		const struct item *i = CONTAINER(l, struct item, report);
		if (i->report_kind == kind)
			lines[r->count++] = line_of(i);
	}
	r->lines = lines;
	return lines;
}

/* ---- failures and successes ----------------------------------------------------------------------------------- */

static void drop_bounce(struct queue_engine *e, const struct report *r)
{
	for (size_t k = 0; k < r->count; k++) {
		struct queue_event event = {
			.type = QUEUE_EVENT_DROPPED_BOUNCE,
			.id = r->about->id,
			.n = r->lines[k].n,
			.rcpt = r->lines[k].rcpt.address,
			.outcome = r->lines[k].outcome,
		};
		engine_tell(e, &event);
	}
}

/* A message without a sender failed: only our postmaster can be told, unless he is the one whom it failed to reach. */
static void double_bounce(struct queue_engine *e, struct report *r)
{
	bool hopeless = e->config.postmaster.n == 0;

	for (size_t k = 0; k < r->count; k++)
		hopeless |= slice_ieq(r->lines[k].rcpt.address, e->config.postmaster);
	if (hopeless) {
		drop_bounce(e, r);
		return;
	}
	r->to = e->config.postmaster;
	r->double_bounce = true;
	make(e, r);
}

static void report_failures(struct queue_engine *e, struct msg *m, const struct original *original)
{
	struct report r;

	if (!gather(e, m, REPORT_FAILED, 0, original, &r))
		return;
	if (m->sender.n == 0)
		double_bounce(e, &r);
	else
		make(e, &r);
}

static void report_successes(struct queue_engine *e, struct msg *m, const struct original *original)
{
	struct report r;

	if (gather(e, m, REPORT_SUCCESS, 0, original, &r))
		make(e, &r);
}

/* ---- delays --------------------------------------------------------------------------------------------------- */

/*
 * The sender is told once that a message is late. All its recipients are as old, so that the report speaks of all that
 * failed at least once, and marks those that wait in the store; one that is in memory marks itself when its own attempt
 * ends, and causes no second report because another one is marked already.
 */
static bool keep(struct queue_engine *e, struct slice *s)
{
	*s = arena_copy(&e->reports, *s);
	return s->p != NULL;
}

static bool add_late(struct queue_engine *e, struct report_line *line, const struct store_rcpt *row)
{
	*line = (struct report_line){.n = row->n,
				     .rcpt = row->rcpt,
				     .outcome = row->last,
				     .remote = row->last_remote,
				     .at = row->last_at,
				     .attempted = true};
	if (!keep(e, &line->rcpt.address) || !keep(e, &line->rcpt.orcpt) || !keep(e, &line->outcome.text) ||
	    !keep(e, &line->outcome.secured) || !keep(e, &line->remote))
		return engine_did(e, STORE_NO_MEMORY);
	if (row->state == STORE_CLAIMED)
		return true;
	struct store_settle mark = {.id = row->id,
				    .n = row->n,
				    .next = row->state,
				    .now = e->now,
				    .due = row->due,
				    .site = row->site,
				    .warned = true};
	return engine_did(e, e->store->ops->settle(e->store, &mark));
}

static bool is_late_too(const struct store_rcpt *row)
{
	return (row->state == STORE_WAITING || row->state == STORE_CLAIMED) && row->attempts > 0 &&
	       mail_report_due(row->rcpt.notify, false, MAIL_REPORT_DELAYED);
}

/* Looks at the recipients that are not settled now. False when the sender was told before, or on failure. */
static bool look_at_others(struct queue_engine *e, struct report *r, struct report_line *lines)
{
	const struct msg *m = r->about;
	uint32_t look = m->rcpt_count < DELAY_LOOK_MAX ? m->rcpt_count : DELAY_LOOK_MAX;

	for (uint32_t n = 0; n < look; n++) {
		const struct item *i = item_find(e, m->id, n);
		struct store_rcpt row;
		if (i && i->warned)
			return false;
		if (i && i->in_tx)
			continue;
		arena_reset(&e->loading);
		enum store_result got = e->store->ops->load_rcpt(e->store, m->id, n, &e->loading, &row);
		if (got == STORE_NOT_FOUND || got == STORE_CORRUPT)
			continue;
		if (got != STORE_OK)
			return engine_did(e, got);
		if (row.warned)
			return false;
		if (is_late_too(&row) && !add_late(e, &lines[r->count++], &row))
			return false;
	}
	return true;
}

static void report_delays(struct queue_engine *e, struct msg *m, const struct original *original)
{
	struct report r;
	struct report_line *lines = gather(e, m, REPORT_DELAYED, DELAY_LOOK_MAX, original, &r);

	if (lines && look_at_others(e, &r, lines))
		make(e, &r);
}

/* What was settled before is no news. True when something is left to report. */
static bool settle_reported(struct queue_engine *e, struct msg *m)
{
	for (struct link *l = m->reports.next, *next; l != &m->reports; l = next) {
		struct item *i = CONTAINER(l, struct item, report);
		next = l->next;
		item_settle(e, i);
		if (e->tx_error != STORE_OK)
			return false;
		if (i->gone)
			list_remove(&i->report);
	}
	return !list_empty(&m->reports);
}

static bool any_failed(const struct msg *m)
{
	for (struct link *l = m->reports.next; l != &m->reports; l = l->next)
		if (CONTAINER(l, struct item, report)->report_kind == REPORT_FAILED)
			return true;
	return false;
}

void engine_report(struct queue_engine *e, struct msg *m)
{
	struct original original = read_original(e, m, any_failed(m));

	if (settle_reported(e, m)) {
		report_failures(e, m, &original);
		if (e->tx_error == STORE_OK)
			report_delays(e, m, &original);
		if (e->tx_error == STORE_OK)
			report_successes(e, m, &original);
	}
	/* They can be large, and reports are rare. */
	buf_free(&e->original);
	buf_free(&e->composed);
}
