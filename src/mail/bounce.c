/*
 * bounce: what a message is, decided. See bounce.h for the contract.
 *
 * The order is that of trust: a report for programs at the outermost level; then a person's or program's answer by the
 * signs of its header; then a text, if a mail server speaks; and last a report within an attached message, if a mail
 * server speaks and said nothing of its own that was understood (gateways wrap reports so).
 */
#include "mail/bounce_private.h"

#include "base/id.h"
#include "mail/address.h"

#include <assert.h>
#include <string.h>

#define LEVELS_MAX       3    /* messages within messages that are looked at for a report */
#define FOLDED_MAX       1000 /* octets of a header value that are compared */
#define ID_MAX           300  /* octets of a message id */
#define TEXT_READERS_MAX 50   /* recipients for whom the text is read */
#define ORIGINAL_FIELDS  300  /* fields of the original that are looked at */

const char *mail_bounce_kind_name(enum mail_bounce_kind kind)
{
	static const char *const names[] = {"other", "bounce", "complaint", "auto-reply"};

	assert((size_t)kind < sizeof names / sizeof *names);
	return names[kind];
}

const char *mail_bounce_action_name(enum mail_bounce_action action)
{
	static const char *const names[] = {NULL, "failed", "delayed", "delivered", "relayed", "expanded"};

	assert((size_t)action < sizeof names / sizeof *names);
	return names[action];
}

/* ---- the signs of the header ------------------------------------------------------------------------------------- */

struct signs {
	bool server, report, reply, null;
	struct slice subject;
};

/* Lower case, white space collapsed, encoded words decoded; lent from the scratch. */
static struct slice folded_value(struct bounce_reader *r, struct slice value)
{
	struct slice plain = bounce_decode_words(r, slice_trim(slice_head(value, FOLDED_MAX)));
	char *out = arena_alloc(&r->scratch, plain.n);
	size_t n = 0;

	if (!out) {
		r->no_memory = true;
		return SLICE_NONE;
	}
	for (size_t i = 0; i < plain.n; i++) {
		bool blank = memchr(" \t\r\n", plain.p[i], 4);

		if (!blank || (n > 0 && out[n - 1] != ' '))
			out[n++] = blank ? ' ' : ascii_lower(plain.p[i]);
	}
	return slice_of(out, n);
}

static bool row_fits(const struct bounce_header_row *row, struct slice value, bool answered)
{
	if (row->text.n == 0)
		return true;
	if (row->at_start && row->at_end)
		return slice_eq(value, row->text);
	if (row->at_start)
		return slice_starts(value, row->text);
	if (row->at_end)
		return slice_ends(value, row->text);
	return !answered && slice_search(value, row->text) < value.n;
}

/* A subject that somebody answered or sent on: what it speaks of was in another message. */
static bool is_answered(struct slice subject)
{
	static const char *const starts[] = {"re:", "aw:", "sv:", "fw:", "fwd:", "wg:", "tr:", "rif:", "antw:"};

	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
		if (slice_starts(subject, slice_from_cstr(starts[i])))
			return true;
	return false;
}

static void look_at_field(struct bounce_reader *r, struct slice name, struct slice value, struct signs *ret)
{
	struct slice folded = SLICE_NONE;

	for (size_t i = 0; i < bounce_header_row_count; i++) {
		const struct bounce_header_row *row = &bounce_header_rows[i];

		if (!slice_ieq(name, row->field))
			continue;
		if (!folded.p)
			folded = folded_value(r, value);
		if (!row_fits(row, folded, is_answered(folded)))
			continue;
		ret->server |= row->sign == BOUNCE_SIGN_SERVER;
		ret->report |= row->sign == BOUNCE_SIGN_REPORT;
		ret->reply |= row->sign == BOUNCE_SIGN_REPLY;
		ret->null |= row->sign == BOUNCE_SIGN_NULL;
	}
}

static struct signs find_signs(struct bounce_reader *r)
{
	struct signs ret = {0};
	struct slice rest = r->header, name, value;

	for (int i = 0; i < ORIGINAL_FIELDS && bounce_field_next(&rest, &name, &value); i++) {
		look_at_field(r, name, value, &ret);
		if (slice_ieq(name, SLICE("Subject")) && ret.subject.n == 0)
			ret.subject = bounce_decode_words(r, value);
	}
	return ret;
}

/* ---- the original ------------------------------------------------------------------------------------------------ */

static void find_original(struct bounce_reader *r, unsigned level)
{
	for (size_t i = 0; i < r->part_count && r->original.n == 0; i++) {
		const struct bounce_part *part = &r->parts[i];

		if (part->level == level && part->kind == BOUNCE_PART_MESSAGE)
			r->original = part->body;
		else if (part->level == level && part->kind == BOUNCE_PART_HEADERS)
			r->original = bounce_part_decode(r, part, &r->fields_left);
	}
}

/* "<...@...>" without blanks. */
static struct slice message_id_of(struct slice value)
{
	size_t start = slice_find(value, '<');
	struct slice id = slice_skip(value, start);
	size_t end = slice_find(id, '>');

	if (end == id.n || end > ID_MAX || end < 2)
		return SLICE_NONE;
	id = slice_head(id, end + 1);
	for (size_t i = 0; i < id.n; i++)
		if (memchr(" \t\r\n", id.p[i], 4))
			return SLICE_NONE;
	return id;
}

/* The word behind " <word> " in a Received field; comments are not skipped: ours has none in front of it. */
static struct slice clause_of(struct slice value, struct slice word)
{
	while (value.n) {
		struct slice item;
		size_t n = 0;

		while (value.n && memchr(" \t\r\n;", value.p[0], 5))
			value = slice_skip(value, 1);
		while (n < value.n && !memchr(" \t\r\n;", value.p[n], 5))
			n++;
		item = slice_head(value, n);
		value = slice_trim(slice_skip(value, n));
		if (!slice_ieq(item, word))
			continue;
		for (n = 0; n < value.n && !memchr(" \t\r\n;", value.p[n], 5);)
			n++;
		return slice_head(value, n);
	}
	return SLICE_NONE;
}

static void find_own_id(struct bounce_reader *r, struct slice value)
{
	struct slice id = clause_of(value, SLICE("id"));
	msg_id parsed;

	if (r->our_name.n && slice_ieq(clause_of(value, SLICE("by")), r->our_name) && msg_id_parse(id, &parsed))
		r->out->own_id = bounce_keep(r, id);
}

static void read_original(struct bounce_reader *r)
{
	struct slice rest = r->original, name, value;
	bool begun = false;

	for (int i = 0; i < ORIGINAL_FIELDS && bounce_field_next(&rest, &name, &value); i++) {
		if (begun && name.n == 0 && bounce_is_blank_line(value))
			break;
		begun = begun || name.n;
		if (slice_ieq(name, SLICE("Message-ID")) && r->out->message_id.n == 0)
			r->out->message_id = bounce_clean(r, message_id_of(value), ID_MAX + 1);
		if (slice_ieq(name, SLICE("Received")) && r->out->own_id.n == 0)
			find_own_id(r, value);
	}
}

/* ---- the decision ------------------------------------------------------------------------------------------------ */

static bool any_failure(const struct mail_bounce *b)
{
	for (size_t i = 0; i < b->rcpt_count; i++)
		if (b->rcpt[i].action <= MAIL_BOUNCE_DELAYED)
			return true;
	return false;
}

static bool same_facts(const struct mail_bounce_rcpt *a, const struct mail_bounce_rcpt *b)
{
	return a->action == b->action && a->reply == b->reply && a->status.klass == b->status.klass &&
	       a->status.subject == b->status.subject && a->status.detail == b->status.detail &&
	       slice_eq(a->diagnostic, b->diagnostic);
}

/* The same facts have the same reasons: of long lists, most are copied from the one before. */
static void fill_reason(struct bounce_reader *r, struct mail_bounce_rcpt *rcpt, struct slice text)
{
	struct mail_bounce_rcpt *last = &r->reasoned[1];

	if (r->any_reasoned && same_facts(rcpt, &r->reasoned[0])) {
		rcpt->action = last->action;
		rcpt->status = last->status;
		rcpt->reply = last->reply;
		rcpt->klass = last->klass;
		rcpt->verdict = last->verdict;
	} else {
		r->reasoned[0] = *rcpt;
		bounce_reason_fill(rcpt, text, r->rules);
		r->reasoned[1] = *rcpt;
		r->any_reasoned = true;
	}
	if (rcpt->remote.n == 0)
		rcpt->remote = bounce_keep(r, bounce_remote_find(rcpt->diagnostic, false));
	if (rcpt->remote.n == 0)
		rcpt->remote = bounce_keep(r, bounce_remote_find(text, true));
}

/* What the text says stands for recipients of whom nothing else is said: the only one, or all alike. */
static void fill_reasons(struct bounce_reader *r)
{
	struct mail_bounce *b = r->out;
	bool alike = true;

	for (size_t i = 0; i < b->rcpt_count; i++)
		alike = alike && b->rcpt[i].diagnostic.n == 0;
	for (size_t i = 0; i < b->rcpt_count; i++) {
		bool lends = (alike && i < TEXT_READERS_MAX) || b->rcpt_count == 1;

		fill_reason(r, &b->rcpt[i], lends ? r->said : SLICE_NONE);
	}
}

static enum mail_bounce_kind read_reports(struct bounce_reader *r, unsigned level, bool guessed)
{
	struct mail_bounce *b = r->out;

	if (bounce_read_feedback(r, level)) {
		b->form = "rfc5965";
		return MAIL_BOUNCE_COMPLAINT;
	}
	if (bounce_read_status(r, level, guessed)) {
		b->form = "rfc3464";
		r->said = bounce_all_text(r, level);
		fill_reasons(r);
		return any_failure(b) ? MAIL_BOUNCE_BOUNCE : MAIL_BOUNCE_OTHER;
	}
	bool disposition = false;
	for (size_t i = 0; i < r->part_count; i++)
		disposition |= r->parts[i].level == level && r->parts[i].kind == BOUNCE_PART_DISPOSITION;
	if (!disposition)
		return MAIL_BOUNCE_OTHER;
	b->form = "rfc8098";
	if (!bounce_read_disposition(r, level, bounce_all_text(r, level)))
		return MAIL_BOUNCE_AUTO_REPLY;
	fill_reasons(r);
	return MAIL_BOUNCE_BOUNCE;
}

/* Whether it looks like a server's own, so that its words may be taken for a report. */
static bool may_report(const struct bounce_reader *r, const struct signs *signs)
{
	return signs->server || signs->report || signs->null || r->report;
}

static enum mail_bounce_kind read_words(struct bounce_reader *r, const struct signs *signs)
{
	struct slice failed = bounce_field_find(r->header, SLICE("X-Failed-Recipients"));

	if (signs->reply && !signs->server && !signs->report && !failed.n)
		return MAIL_BOUNCE_AUTO_REPLY;
	if (may_report(r, signs) && bounce_read_text(r, 0, signs->subject, failed)) {
		/* A letter's subject may speak of bounces: without a recipient it takes more than common words. */
		if (r->out->rcpt_count == 0 && !r->out->form && !signs->server && !signs->null && !r->report)
			return MAIL_BOUNCE_OTHER;
		fill_reasons(r);
		return r->out->rcpt_count == 0 || any_failure(r->out) ? MAIL_BOUNCE_BOUNCE : MAIL_BOUNCE_OTHER;
	}
	return MAIL_BOUNCE_OTHER;
}

static enum mail_bounce_kind decide(struct bounce_reader *r)
{
	struct signs signs = find_signs(r);
	enum mail_bounce_kind kind = read_reports(r, 0, may_report(r, &signs));

	find_original(r, 0);
	if (r->out->form)
		return kind;
	kind = read_words(r, &signs);
	if (kind != MAIL_BOUNCE_OTHER && r->out->rcpt_count > 0)
		return kind;
	for (unsigned level = 1; level <= LEVELS_MAX && kind != MAIL_BOUNCE_AUTO_REPLY && signs.server; level++) {
		enum mail_bounce_kind inner = read_reports(r, level, true);

		if (r->out->rcpt_count == 0) {
			r->out->form = NULL;
			continue;
		}
		r->original = SLICE_NONE;
		find_original(r, level);
		return inner;
	}
	if (kind == MAIL_BOUNCE_OTHER && signs.reply)
		return MAIL_BOUNCE_AUTO_REPLY;
	if (kind == MAIL_BOUNCE_OTHER && signs.server && signs.report)
		return MAIL_BOUNCE_BOUNCE;
	return kind;
}

bool mail_bounce_read(struct slice message, const struct mail_bounce_config *config, struct mail_bounce *ret)
{
	struct bounce_reader *r;
	size_t most = message.n + 2 < MAIL_BOUNCE_RCPT_MAX ? message.n + 2 : MAIL_BOUNCE_RCPT_MAX;

	*ret = (struct mail_bounce){0};
	arena_init(&ret->arena, MAIL_BOUNCE_MEMORY_MAX);
	ret->rcpt = arena_array(&ret->arena, most, sizeof *ret->rcpt);
	r = arena_alloc(&ret->arena, sizeof *r);
	if (!ret->rcpt || !r)
		return false;
	r->out = ret;
	r->our_name = config ? config->our_name : SLICE_NONE;
	r->rules = config ? config->rules : NULL;
	r->rcpt_most = most;
	r->octets = message.n;
	r->text_left = MAIL_BOUNCE_TEXT_MAX;
	r->fields_left = MAIL_BOUNCE_FIELDS_MAX;
	r->messages_left = MAIL_BOUNCE_FIELDS_MAX;
	arena_init(&r->scratch, MAIL_BOUNCE_MEMORY_MAX);

	bounce_parts_find(r, message);
	ret->kind = decide(r);
	read_original(r);
	arena_free(&r->scratch);
	assert(ret->rcpt_count <= MAIL_BOUNCE_RCPT_MAX);
	return !r->no_memory;
}

void mail_bounce_free(struct mail_bounce *b)
{
	arena_free(&b->arena);
	*b = (struct mail_bounce){0};
}
