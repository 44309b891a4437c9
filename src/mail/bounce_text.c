/*
 * bounce_text: the reports of servers that write for people alone.
 *
 * The text is folded once: lower case, each run of white space one space. In the folded text the phrases of
 * data/bounce_phrases.tsv are looked for; each one found is an event at its place in the text. The events say where the
 * returned original begins, where addresses stand and what became of them. One shape needs no phrase, for so many
 * servers write it: a line that begins with "<address>:".
 */
#include "mail/bounce_private.h"

#include "mail/address.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_MAX  2000
#define ITEMS_MAX   3000 /* places of addresses, those that come again included */
#define GAP_MAX     200  /* octets between the fragments of a phrase */
#define BEFORE_MAX  40   /* octets of decoration between a phrase and its address */
#define BACK_MAX    1000 /* octets that are looked back at for the start of a line */
#define SAID_MAX    8192 /* octets of a text that its reason is looked for in */
#define LOOKUPS_MAX 100  /* recipients for whom the whole text is searched */

struct event {
	const struct bounce_phrase *phrase;
	size_t start, end; /* octets of the text */
	size_t address;    /* of BOUNCE_NEXT: where it is expected */
};

struct item {
	struct slice address;
	size_t start, after; /* where it stands, and where what is said of it starts */
	bool spoken;         /* the words in front of it, on its line, say what is wrong */
	enum mail_bounce_action effect;
};

struct text {
	struct bounce_reader *r;
	struct slice raw;
	struct slice fold;
	uint32_t *at; /* where each octet of fold stands in raw; one more for its end */
	struct event *event;
	size_t event_count;
	struct item *item;
	size_t item_count;
	size_t event_most, item_most; /* room in them: short texts need little */
	size_t limit;                 /* where the original begins */
};

/* ---- folding ----------------------------------------------------------------------------------------------------- */

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\0';
}

/* Octets of the character that starts s, and what it is folded to. */
static size_t fold_character(struct slice s, char *ret)
{
	static const struct {
		struct slice from;
		char to;
	} rows[] = {{{"\xc2\xa0", 2}, ' '},     {{"\xe2\x80\x99", 3}, '\''}, {{"\xe2\x80\x98", 3}, '\''},
		    {{"\xe2\x80\x93", 3}, '-'}, {{"\xe2\x80\x94", 3}, '-'},  {{"\xe2\x80\x9c", 3}, '"'},
		    {{"\xe2\x80\x9d", 3}, '"'}};

	*ret = is_space(s.p[0]) ? ' ' : ascii_lower(s.p[0]);
	for (size_t i = 0; (unsigned char)s.p[0] >= 0x80 && i < sizeof rows / sizeof *rows; i++) {
		if (slice_starts(s, rows[i].from)) {
			*ret = rows[i].to;
			return rows[i].from.n;
		}
	}
	return 1;
}

static bool fold(struct text *t)
{
	char *out = arena_alloc(&t->r->scratch, t->raw.n + 1);
	struct slice rest = t->raw;
	size_t n = 0;

	t->at = arena_array(&t->r->scratch, t->raw.n + 1, sizeof *t->at);
	if (!out || !t->at)
		return false;
	while (rest.n) {
		char c;
		size_t taken = fold_character(rest, &c);

		if (c != ' ' || n == 0 || out[n - 1] != ' ') {
			t->at[n] = (uint32_t)(rest.p - t->raw.p);
			out[n++] = c;
		}
		rest = slice_skip(rest, taken);
	}
	t->at[n] = (uint32_t)t->raw.n;
	t->fold = slice_of(out, n);
	return true;
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

/* The event of a phrase whose first fragment stands at `at` of the folded text. False when the others do not follow. */
static bool phrase_event(const struct text *t, size_t at, const struct bounce_phrase *phrase, struct event *ret)
{
	size_t end = at + phrase->fragment[0].n;

	*ret = (struct event){.phrase = phrase, .start = t->at[at], .address = t->at[end]};
	for (size_t i = 1; i < BOUNCE_FRAGMENTS_MAX && phrase->fragment[i].n; i++) {
		struct slice window = slice_head(slice_skip(t->fold, end), GAP_MAX + phrase->fragment[i].n);
		size_t found = slice_search(window, phrase->fragment[i]);

		if (found == window.n)
			return false;
		end += found + phrase->fragment[i].n;
		if (i < phrase->address)
			ret->address = t->at[end];
	}
	ret->end = t->at[end];
	return true;
}

static void find_phrase(struct text *t, const struct bounce_phrase *phrase)
{
	size_t at = 0;

	while (t->event_count < t->event_most) {
		at += slice_search(slice_skip(t->fold, at), phrase->fragment[0]);
		if (at >= t->fold.n)
			return;
		if (phrase_event(t, at, phrase, &t->event[t->event_count]))
			t->event_count++;
		at += phrase->fragment[0].n;
	}
}

static int compare_events(const void *a, const void *b)
{
	const struct event *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->end != y->end)
		return x->end > y->end ? -1 : 1;
	return x->phrase < y->phrase ? -1 : x->phrase > y->phrase;
}

/* Whether only decoration stands before it on its line. */
static bool starts_line(struct slice raw, size_t at)
{
	size_t from = at;

	while (at > 0 && raw.p[at - 1] != '\n') {
		if (from - at > BACK_MAX || !memchr(" \t\r-=*>#_|\"'~+.;:([", raw.p[at - 1], 18))
			return false;
		at--;
	}
	return true;
}

static size_t line_start(struct slice raw, size_t at)
{
	size_t from = at;

	while (at > 0 && raw.p[at - 1] != '\n' && from - at < BACK_MAX)
		at--;
	return at;
}

static void find_events(struct text *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < bounce_phrase_count; i++) {
		enum bounce_place place = bounce_phrases[i].place;

		if (place != BOUNCE_HOST_NEXT && place != BOUNCE_HOST_BEFORE && place != BOUNCE_LABEL)
			find_phrase(t, &bounce_phrases[i]);
	}
	qsort(t->event, t->event_count, sizeof *t->event, compare_events);
	t->limit = t->raw.n;
	for (size_t i = 0; i < t->event_count && t->limit == t->raw.n; i++) {
		struct event e = t->event[i];

		if (e.phrase->place != BOUNCE_END)
			t->event[kept++] = e;
		else if (starts_line(t->raw, e.start))
			t->limit = line_start(t->raw, e.start);
	}
	t->event_count = kept;
}

/* Whether no word is in it: a line of dashes, or nothing. */
static bool is_rule(struct slice text)
{
	for (size_t i = 0; i < text.n; i++)
		if (ascii_is_alnum(text.p[i]) || (unsigned char)text.p[i] >= 0x80)
			return false;
	return true;
}

/* ---- items ------------------------------------------------------------------------------------------------------- */

static bool is_decoration(char c)
{
	return is_space(c) || memchr(">*-|\"'`=:.[(,", c, 13);
}

/* What may stand before an address that follows a phrase, or that starts a line: decoration and "smtp:". */
static struct slice skip_decoration(struct slice s)
{
	static const struct slice types[] = {
		{"smtp:", 5}, {"mailto:", 7}, {"rfc822;", 7}, {"\xe2\x80\xa2", 3}, {"\xc2\xa0", 2}};
	const char *start = s.p;

	while (s.n && (size_t)(s.p - start) < BEFORE_MAX) {
		size_t n = is_decoration(s.p[0]);

		for (size_t i = 0; n == 0 && i < sizeof types / sizeof *types; i++)
			n = slice_istarts(s, types[i]) ? types[i].n : 0;
		if (n == 0)
			break;
		s = slice_skip(s, n);
	}
	return s;
}

/* The address that starts s, in quotes too. */
static struct slice decorated_address(struct slice s, size_t *used)
{
	struct slice inner = skip_decoration(s), address = bounce_address_at(inner, used);

	if (address.n == 0 && inner.p > s.p && inner.p[-1] == '"') { /* "a b"@c, or "a@b" <a@b> */
		struct slice quoted = slice_of(inner.p - 1, inner.n + 1);

		address = bounce_address_at(quoted, used);
		inner = quoted;
	}
	*used += (size_t)(inner.p - s.p);
	return address;
}

static void add_item(struct text *t, struct slice address, size_t start, size_t after, enum mail_bounce_action effect)
{
	if (t->item_count < t->item_most && address.n)
		t->item[t->item_count++] =
			(struct item){.address = address, .start = start, .after = after, .effect = effect};
}

static void item_next(struct text *t, const struct event *e)
{
	struct slice rest = slice_skip(slice_head(t->raw, t->limit), e->address);
	size_t used;
	struct slice address = decorated_address(rest, &used);

	add_item(t, address, line_start(t->raw, e->start), e->address + used, e->phrase->effect);
	if (t->item_count > 0)
		t->item[t->item_count - 1].spoken |= address.n > 0 && e->phrase->effect == MAIL_BOUNCE_FAILED;
}

static void item_before(struct text *t, const struct event *e)
{
	size_t end = e->start, start, used;

	while (end > 0 && is_decoration(t->raw.p[end - 1]) && e->start - end < BEFORE_MAX)
		end--;
	start = end;
	while (start > 0 && end - start < MAIL_PATH_MAX && !is_space(t->raw.p[start - 1]) &&
	       !memchr("<>\"(", t->raw.p[start - 1], 4))
		start--;
	struct slice address = bounce_address_at(slice_head(slice_skip(t->raw, start), end - start), &used);
	if (used == end - start)
		add_item(t, address, start, e->start, e->phrase->effect);
}

static struct slice skip_label(struct slice line)
{
	line = skip_decoration(line);
	for (size_t i = 0; i < bounce_phrase_count; i++)
		if (bounce_phrases[i].place == BOUNCE_LABEL && slice_istarts(line, bounce_phrases[i].fragment[0]))
			return slice_skip(line, bounce_phrases[i].fragment[0].n);
	return line;
}

/* What may stand behind an address that is an item of a list, and not the first word of a sentence. */
static bool ends_item(struct slice rest)
{
	static const struct slice tails[] = {{"on ", 3}, {"...", 3}, {"- ", 2}, {"--", 2}, {"=>", 2}, {"because", 7}};

	if (rest.n == 0 || memchr(":;(\"',>])\t\r", rest.p[0], 11))
		return true;
	if (rest.p[0] != ' ')
		return false;
	struct slice word = slice_trim(rest);
	if (word.n == 0 || memchr(":;(<[", word.p[0], 5) || rest.p[1] == ' ' || rest.p[1] == '\t')
		return true;
	for (size_t i = 0; i < sizeof tails / sizeof *tails; i++)
		if (slice_istarts(word, tails[i]))
			return true;
	return false;
}

/* X.400: "c=US;a= ;p=X;o=Y;dda:SMTP=user@example.com; on Fri" */
static struct slice x400_item(struct slice line, size_t *used)
{
	size_t at = slice_isearch(line, SLICE("dda:smtp=")), n = 9;

	if (at == line.n) {
		at = slice_isearch(line, SLICE("dda:rfc-822="));
		n = 12;
	}
	if (at == line.n)
		return SLICE_NONE;
	struct slice address = bounce_address_at(slice_skip(line, at + n), used);
	*used += at + n;
	return address;
}

/* Names without a domain, of servers that hold known domains only. */
static void bare_names(struct text *t, const struct event *e, struct slice line)
{
	struct slice name = slice_trim(line), domains = slice_from_cstr(e->phrase->domains);
	size_t start = (size_t)(line.p - t->raw.p), n = 0;

	while (n < name.n && (ascii_is_alnum(name.p[n]) || memchr("._-", name.p[n], 3)))
		n++;
	if (n == 0 || n > MAIL_LOCAL_MAX || (n < name.n && !is_space(name.p[n])))
		return;
	while (domains.n) {
		struct slice domain = slice_split(&domains, ',');
		char text[MAIL_PATH_MAX];
		struct mail_address parsed;
		const char *why;

		assert(n + 1 + domain.n <= sizeof text);
		memcpy(text, name.p, n);
		text[n] = '@';
		memcpy(text + n + 1, domain.p, domain.n);
		struct slice address = bounce_scratch(t->r, slice_of(text, n + 1 + domain.n));
		if (mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK)
			add_item(t, address, start, (size_t)(name.p - t->raw.p) + n, e->phrase->effect);
	}
}

/* The lines of a list. In its first paragraph anything may stand behind an address. */
static void items_of_list(struct text *t, const struct event *e, size_t end)
{
	struct slice rest = slice_head(slice_skip(t->raw, e->end), end - e->end), line;
	bool first = true, any = false;

	while (bounce_line_next(&rest, &line)) {
		struct slice from = skip_label(line), address;
		size_t used, start = (size_t)(line.p - t->raw.p);

		if (e->phrase->place == BOUNCE_LIST_TO) {
			if (!slice_istarts(slice_trim(line), SLICE("to:")))
				continue;
			from = slice_skip(line, slice_find(line, ':') + 1);
		}
		address = decorated_address(from, &used);
		if (address.n == 0)
			address = x400_item(from, &used);
		if (address.n && (first || ends_item(slice_skip(from, used))))
			add_item(t, address, start, (size_t)(from.p - t->raw.p) + used, e->phrase->effect);
		else if (first && e->phrase->domains[0])
			bare_names(t, e, line);
		any = any || !is_rule(line);
		first = first && !(any && bounce_is_blank_line(line));
	}
}

/* "<address>:" at the start of a line, whatever stands above. */
static void items_by_shape(struct text *t)
{
	struct slice rest = slice_head(t->raw, t->limit), line;

	while (bounce_line_next(&rest, &line)) {
		size_t used, start = (size_t)(line.p - t->raw.p);
		struct slice address;

		if (line.n == 0 || line.p[0] != '<')
			continue;
		address = bounce_address_at(line, &used);
		if (used < line.n && line.p[used] == ':')
			add_item(t, address, start, start + used + 1, MAIL_BOUNCE_NO_ACTION);
	}
}

static bool is_list(const struct event *e)
{
	return e->phrase->place == BOUNCE_LIST || e->phrase->place == BOUNCE_LIST_TO;
}

static bool ends_list(const struct event *e)
{
	return is_list(e) || e->phrase->place == BOUNCE_STOP;
}

static size_t list_end(const struct text *t, size_t event)
{
	for (size_t i = event + 1; i < t->event_count; i++)
		if (ends_list(&t->event[i]) && t->event[i].start >= t->event[event].end)
			return t->event[i].start;
	return t->limit;
}

/* ---- what became of them ----------------------------------------------------------------------------------------- */

static enum mail_bounce_action message_effect(const struct text *t)
{
	enum mail_bounce_action ret = MAIL_BOUNCE_FAILED;

	for (size_t i = 0; i < t->event_count; i++) {
		const struct bounce_phrase *phrase = t->event[i].phrase;

		if (phrase->place != BOUNCE_MARK)
			continue;
		if (phrase->effect == MAIL_BOUNCE_FAILED)
			return MAIL_BOUNCE_FAILED;
		if (phrase->effect != MAIL_BOUNCE_NO_ACTION)
			ret = phrase->effect;
	}
	return ret;
}

static enum mail_bounce_action effect_at(const struct text *t, size_t at)
{
	enum mail_bounce_action ret = MAIL_BOUNCE_NO_ACTION;

	for (size_t i = 0; i < t->event_count && t->event[i].start <= at; i++)
		if (is_list(&t->event[i]))
			ret = t->event[i].phrase->effect;
	return ret == MAIL_BOUNCE_NO_ACTION ? message_effect(t) : ret;
}

static int compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return x->after < y->after ? -1 : x->after > y->after;
}

static void find_items(struct text *t)
{
	for (size_t i = 0; i < t->event_count; i++) {
		const struct event *e = &t->event[i];

		if (e->phrase->place == BOUNCE_NEXT)
			item_next(t, e);
		else if (e->phrase->place == BOUNCE_BEFORE)
			item_before(t, e);
		else if (is_list(e))
			items_of_list(t, e, list_end(t, i));
	}
	items_by_shape(t);
	qsort(t->item, t->item_count, sizeof *t->item, compare_items);
}

/* ---- what is said of them ---------------------------------------------------------------------------------------- */

/* Whether the words there are about the message as a whole: that it is only late, or another list. */
static bool is_about_message(const struct text *t, struct slice words)
{
	size_t start = (size_t)(words.p - t->raw.p), end = start + words.n;

	for (size_t i = 0; i < t->event_count; i++)
		if (t->event[i].start >= start && t->event[i].start < end &&
		    t->event[i].phrase->effect == MAIL_BOUNCE_DELAYED)
			return true;
	return false;
}

static bool ends_words(const struct text *t, const struct event *e)
{
	return is_list(e) || (e->phrase->place == BOUNCE_STOP && starts_line(t->raw, e->start));
}

/* Where the words about an item end: before the next one, the next list, or the original. */
static size_t item_end(const struct text *t, size_t item)
{
	const struct item *it = &t->item[item];
	size_t end = t->limit;

	for (size_t i = item + 1; i < t->item_count; i++) {
		if (t->item[i].start >= it->after && !slice_ieq(t->item[i].address, it->address)) {
			end = t->item[i].start;
			break;
		}
	}
	for (size_t i = 0; i < t->event_count && t->event[i].start < end; i++)
		if (t->event[i].start > it->after && ends_words(t, &t->event[i]))
			return line_start(t->raw, t->event[i].start);
	return end;
}

static struct slice take_paragraph(struct slice *rest)
{
	const char *start = rest->p;
	struct slice line;
	size_t n = 0;

	while (bounce_line_next(rest, &line) && !bounce_is_blank_line(line))
		n = (size_t)(line.p + line.n - start);
	return slice_of(start, n);
}

/* "because:", "for the following reason:" */
static bool only_announces(struct slice paragraph)
{
	paragraph = slice_trim(paragraph);
	return is_rule(paragraph) || (paragraph.n < 60 && paragraph.p[paragraph.n - 1] == ':');
}

/* The rest of the item's paragraph; if that says nothing, the next one, as long as it is about this item. */
static struct slice said_of(const struct text *t, size_t item)
{
	const struct item *it = &t->item[item];
	struct slice rest = slice_skip(slice_head(t->raw, item_end(t, item)), it->after), paragraph, line, below;

	while (rest.n && memchr(":;,.)>]\"'- \t", rest.p[0], 12))
		rest = slice_skip(rest, 1);
	if (rest.n > 1 && rest.p[0] == '<' && slice_istarts(slice_skip(rest, 1), it->address))
		rest = slice_skip(rest, it->address.n + 2); /* "user@example.com" <user@example.com> */
	below = rest;
	if (bounce_line_next(&below, &line) && bounce_is_blank_line(line))
		rest = below;
	paragraph = take_paragraph(&rest);
	for (int i = 0; i < 4 && only_announces(paragraph) && rest.n; i++) {
		paragraph = take_paragraph(&rest);
		if (is_about_message(t, paragraph))
			return SLICE_NONE;
	}
	return only_announces(paragraph) ? SLICE_NONE : slice_trim(paragraph);
}

/* The line that holds both the address and a refusal: what a transcript says of it. */
static struct slice transcript_of(const struct text *t, struct slice address)
{
	struct slice rest = slice_head(t->raw, t->limit), before = rest;
	struct smtpcodes_status status;

	for (int i = 0; i < 20; i++) {
		size_t at = slice_search(rest, address);

		if (at == rest.n)
			break;
		size_t start = line_start(before, (size_t)(rest.p - before.p) + at);
		struct slice line, from = slice_skip(before, start);
		bounce_line_next(&from, &line);
		while (line.n && memchr(" \t<>", line.p[0], 4))
			line = slice_skip(line, 1);
		if (bounce_reply_find(line, &status))
			return line;
		rest = slice_skip(rest, at + address.n);
	}
	return SLICE_NONE;
}

/* Without the lines that repeat the original's subject: its words say nothing about the delivery. */
static void add_without_subject(struct buf *out, struct slice text)
{
	struct slice line;

	while (bounce_line_next(&text, &line)) {
		if (slice_isearch(line, SLICE("subject")) == line.n) {
			buf_add(out, line);
			buf_add_char(out, '\n');
		}
	}
}

static struct slice diagnostic_of(struct bounce_reader *r, struct slice said)
{
	struct slice ret;
	struct buf words;

	buf_init(&words, 8 * MAIL_BOUNCE_DIAGNOSTIC_MAX);
	add_without_subject(&words, slice_head(said, 4 * MAIL_BOUNCE_DIAGNOSTIC_MAX));
	ret = bounce_clean(r, buf_slice(&words), MAIL_BOUNCE_DIAGNOSTIC_MAX);
	r->no_memory |= words.failed;
	buf_free(&words);
	return ret;
}

static void put_item(struct text *t, size_t item)
{
	const struct item *it = &t->item[item];
	struct slice said = said_of(t, item);
	struct mail_bounce_rcpt rcpt = {.address = it->address, .action = it->effect};
	struct smtpcodes_status status;

	if (rcpt.action == MAIL_BOUNCE_NO_ACTION)
		rcpt.action = effect_at(t, it->start);
	if (t->r->out->rcpt_count < LOOKUPS_MAX && (said.n == 0 || !bounce_reply_find(said, &status))) {
		struct slice line = transcript_of(t, it->address);
		if (line.n)
			said = line;
	}
	if (said.n == 0 && it->spoken)
		said = slice_skip(slice_head(t->raw, it->after), it->start);
	rcpt.diagnostic = diagnostic_of(t->r, said);
	rcpt.remote = bounce_remote_find(said, false);
	bounce_rcpt_put(t->r, &rcpt);
}

/* ---- a text ------------------------------------------------------------------------------------------------------ */

/* Whether a phrase was found that stands in no other text: those with an address need one. */
static bool speaks_of_delivery(const struct text *t)
{
	for (size_t i = 0; i < t->event_count; i++)
		if (is_list(&t->event[i]) || t->event[i].phrase->place == BOUNCE_MARK)
			return true;
	return false;
}

static const char *form_of(const struct text *t)
{
	for (size_t i = 0; i < t->event_count; i++)
		if (t->event[i].phrase->form[0] != '-')
			return t->event[i].phrase->form;
	return NULL;
}

/* A field name of RFC 3464 that starts a line of the text. */
static bool holds_status(struct slice text)
{
	size_t at = slice_isearch(text, SLICE("final-recipient:"));

	return at < text.n && starts_line(text, at);
}

static void keep_said(const struct text *t)
{
	struct buf words;

	buf_init(&words, MAIL_BOUNCE_TEXT_MAX + 1);
	add_without_subject(&words, slice_head(t->raw, t->limit));
	t->r->said = bounce_scratch(t->r, slice_head(buf_slice(&words), SAID_MAX));
	t->r->no_memory |= words.failed;
	buf_free(&words);
}

/* `room` lends its arrays. *ended: what follows this text is the original. */
static bool read_one(const struct text *room, struct slice raw, bool *ended)
{
	struct bounce_reader *r = room->r;
	struct text t = *room;

	t.raw = raw;
	if (!fold(&t)) {
		r->no_memory = true;
		return false;
	}
	find_events(&t);
	find_items(&t);
	for (size_t i = 0; i < t.item_count; i++)
		put_item(&t, i);
	*ended = t.limit < raw.n;
	keep_said(&t);
	if (*ended && r->original.n == 0) {
		struct slice rest = slice_skip(raw, t.limit), line;

		bounce_line_next(&rest, &line);
		r->original = rest;
	}
	if (!r->out->form)
		r->out->form = form_of(&t);
	return t.item_count > 0 || speaks_of_delivery(&t);
}

/* Exim names the recipients in a field of the header. */
static void put_failed_field(struct bounce_reader *r, struct slice field)
{
	while (field.p) {
		struct slice one = slice_split(&field, ',');
		struct mail_bounce_rcpt rcpt = {.address = bounce_address_of(r, one), .action = MAIL_BOUNCE_FAILED};

		if (rcpt.address.n)
			bounce_rcpt_put(r, &rcpt);
	}
}

static bool is_text(const struct bounce_part *part, unsigned level)
{
	return part->level == level &&
	       (part->kind == BOUNCE_PART_TEXT || part->kind == BOUNCE_PART_HTML || part->guessed);
}

struct slice bounce_all_text(struct bounce_reader *r, unsigned level)
{
	for (size_t i = 0; i < r->part_count; i++)
		if (is_text(&r->parts[i], level))
			return bounce_part_text(r, &r->parts[i]);
	return SLICE_NONE;
}

bool bounce_read_text(struct bounce_reader *r, unsigned level, struct slice subject, struct slice failed_field)
{
	struct text room = {.r = r,
			    .event_most = r->octets < EVENTS_MAX ? r->octets : EVENTS_MAX,
			    .item_most = r->octets < ITEMS_MAX ? r->octets : ITEMS_MAX};
	bool any = false, ended = false;

	room.event = arena_array(&r->scratch, room.event_most, sizeof *room.event);
	room.item = arena_array(&r->scratch, room.item_most, sizeof *room.item);
	if (!room.event || !room.item) {
		r->no_memory = true;
		return false;
	}
	put_failed_field(r, failed_field);
	for (size_t i = 0; i < r->part_count && !ended && !r->no_memory; i++) {
		if (!is_text(&r->parts[i], level))
			continue;
		struct slice raw = bounce_part_text(r, &r->parts[i]);
		if (holds_status(raw) && bounce_read_status_text(r, raw)) {
			r->out->form = "rfc3464";
			return true;
		}
		any |= read_one(&room, raw, &ended);
		if (r->out->rcpt_count)
			return true;
	}
	if (r->out->rcpt_count == 0 && !r->no_memory)
		any |= read_one(&room, subject, &ended);
	return any || r->out->rcpt_count > 0;
}
