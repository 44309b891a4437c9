#include "walk.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PENDING_MAX ((size_t)1 << 20)
#define OUT_MAX     ((size_t)1 << 21)
#define GROUP_MAX   12 /* steps between two moments at which the client reads */

struct walk {
	struct player player; /* first: script.c hands out a pointer to it */
	struct model *m;
	struct smtp_server *s;
	struct setting setting;
	mono_ms now;
	uint64_t cuts; /* draws how the octets are cut */
	bool trace, copies, failed, closed, waits, ended;
	size_t events; /* of the foretold ones, those that came */
	size_t pending_n, out_n, body_n;
	struct walk_counts *counts;
	char why[600];
	char pending[PENDING_MAX], out[OUT_MAX], body[MODEL_CONTENT];
};

/* Their size is no concern: only what is used is touched. */
static struct walk the_walk;
static struct model the_model;

static void __attribute__((format(printf, 2, 3))) fail(struct walk *w, const char *format, ...)
{
	va_list args;

	if (w->failed)
		return;
	va_start(args, format);
	vsnprintf(w->why, sizeof w->why, format, args);
	va_end(args);
	w->failed = true;
}

/* Octets as text, a line for each line; of a long run of one octet the length alone. */
static void show(const struct walk *w, const char *who, struct slice s)
{
	if (!w->trace || s.n == 0)
		return;
	fprintf(stderr, "%s ", who);
	for (size_t i = 0, run; i < s.n; i += run) {
		unsigned char c = (unsigned char)s.p[i];
		for (run = 1; i + run < s.n && s.p[i + run] == s.p[i];)
			run++;
		if (run > 20)
			fprintf(stderr, "[%zu times '%c']", run, c);
		run = run > 20 ? run : 1;
		if (run > 1)
			continue;
		if (c == '\r' || c == '\n')
			fputs(c == '\r' ? "\\r" : "\\n", stderr);
		else if (c >= 0x20 && c < 0x7f)
			fputc(c, stderr);
		else
			fprintf(stderr, "\\x%02x", c);
		if (c == '\n' && i + 1 < s.n)
			fprintf(stderr, "\n%s ", who);
	}
	fputc('\n', stderr);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static const char *const type_names[] = {[SMTP_EV_CONNECT] = "CONNECT",
					 [SMTP_EV_HELO] = "HELO",
					 [SMTP_EV_MAIL] = "MAIL",
					 [SMTP_EV_RCPT] = "RCPT",
					 [SMTP_EV_DATA] = "DATA",
					 [SMTP_EV_BODY] = "BODY",
					 [SMTP_EV_END] = "END",
					 [SMTP_EV_RESET] = "RESET",
					 [SMTP_EV_VRFY] = "VRFY",
					 [SMTP_EV_EXPN] = "EXPN",
					 [SMTP_EV_STATUS] = "STATUS",
					 [SMTP_EV_CLOSE] = "CLOSE",
					 [SMTP_EV_STARTTLS] = "STARTTLS",
					 [SMTP_EV_AUTH] = "AUTH",
					 [SMTP_EV_AUTH_RESPONSE] = "AUTH_RESPONSE",
					 [SMTP_EV_AUTH_ABORT] = "AUTH_ABORT",
					 [SMTP_EV_XCLIENT] = "XCLIENT"};

static void same_text(struct walk *w, const char *what, struct slice is, struct slice should)
{
	if (!slice_eq(is, should))
		fail(w, "%s is \"%.*s\", not \"%.*s\"", what, (int)(is.n < 200 ? is.n : 200), is.n ? is.p : "",
		     (int)(should.n < 200 ? should.n : 200), should.n ? should.p : "");
}

static void same_number(struct walk *w, const char *what, uint64_t is, uint64_t should)
{
	if (is != should)
		fail(w, "%s is %llu, not %llu", what, (unsigned long long)is, (unsigned long long)should);
}

static void same_rcpt(struct walk *w, const struct mail_rcpt *is, const struct model_rcpt *should)
{
	same_text(w, "a recipient", is->address, should->address);
	same_text(w, "ORCPT", is->orcpt, should->orcpt);
	same_number(w, "NOTIFY", is->notify, should->notify);
}

static void same_envelope(struct walk *w, const struct model_envelope *should)
{
	const struct mail_envelope *is = smtp_server_envelope(w->s);

	same_text(w, "the sender", is->sender, should->sender);
	same_text(w, "ENVID", is->envid, should->envid);
	same_number(w, "BODY", is->body, should->body);
	same_number(w, "RET", is->ret, should->ret);
	same_number(w, "SMTPUTF8", is->utf8, should->utf8);
	same_number(w, "SIZE", is->declared, should->declared);
	same_number(w, "the count of recipients", is->rcpt_count, should->n);
	for (size_t i = 0; i < should->n && !w->failed; i++)
		same_rcpt(w, &is->rcpt[i], &should->rcpt[i]);
}

/* Attributes as a log would have them; NULL: none. */
static void same_told(struct walk *w, const char *what, const struct smtp_attrs *is, struct slice should)
{
	struct buf text;

	buf_init(&text, MODEL_TOLD_MAX);
	if (is && !smtp_attrs_write(is, true, &text))
		fail(w, "%s cannot be written", what);
	same_text(w, what, buf_slice(&text), should);
	buf_free(&text);
}

static struct reply answer_of(enum reply_id id)
{
	return (struct reply){id, {SLICE("x@a.example"), SLICE("why")}};
}

/* LMTP: one for each recipient. */
static void answer(struct walk *w, const struct model_event *ev)
{
	if (ev->answer == REPLY_AUTH_CHALLENGE) {
		smtp_server_challenge(w->s, SLICE("a challenge"));
		return;
	}
	if (ev->type != SMTP_EV_END || !w->setting.config.lmtp) {
		smtp_server_reply(w->s, answer_of(ev->answer));
		return;
	}
	for (size_t i = 0; i < ev->envelope.n; i++)
		smtp_server_reply(w->s, answer_of(ev->envelope.rcpt[i].end));
}

static void pull(struct walk *w);

/* While an answer is owed nothing is taken, no event comes, and no clock runs. */
static void answer_by_fate(struct walk *w, const struct model_event *ev)
{
	struct smtp_event none;

	if (ev->fate != FATE_NONE) {
		if (w->trace)
			fprintf(stderr, "  (the answer %s)\n",
				ev->fate == FATE_LATE   ? "comes late"
				: ev->fate == FATE_LOST ? "is never heard"
							: "comes while the server stops");
		if (smtp_server_next(w->s, &none))
			fail(w, "an event comes while an answer is owed");
		same_number(w, "the deadline while an answer is owed", (uint64_t)smtp_server_deadline(w->s),
			    (uint64_t)NEVER);
	}
	if (ev->fate == FATE_LATE)
		w->now += MODEL_LATE;
	if (ev->fate == FATE_SHUTDOWN)
		smtp_server_shutdown(w->s);
	if (ev->fate == FATE_LOST) {
		smtp_server_lost(w->s);
		w->ended = true;
		pull(w);
	}
	answer(w, ev);
	if (ev->fate == FATE_LATE)
		smtp_server_tick(w->s, w->now);
}

static void same_response(struct walk *w, const struct smtp_event *is, const struct model_event *should)
{
	same_number(w, "the presence of a response", is->given, should->given);
	same_text(w, "the response", is->response, should->response);
}

static void check_event(struct walk *w, const struct smtp_event *is, const struct model_event *should)
{
	switch (is->type) {
	case SMTP_EV_HELO:
		same_number(w, "EHLO", is->extended, should->extended);
		same_text(w, "the name", is->text, should->text);
		break;
	case SMTP_EV_MAIL:
		same_text(w, "the path", is->address.text, should->text);
		same_envelope(w, &should->envelope);
		same_told(w, "whom it is forwarded for", smtp_server_forwarded(w->s), should->told);
		break;
	case SMTP_EV_XCLIENT:
		same_told(w, "the client", smtp_server_client(w->s), should->told);
		break;
	case SMTP_EV_RCPT:
		same_text(w, "the path", is->address.text, should->text);
		same_rcpt(w, &is->rcpt, &should->rcpt);
		break;
	case SMTP_EV_VRFY:
	case SMTP_EV_EXPN:
		same_text(w, "the argument", is->text, should->text);
		break;
	case SMTP_EV_AUTH:
		same_text(w, "the mechanism", is->text, should->text);
		same_response(w, is, should);
		break;
	case SMTP_EV_AUTH_RESPONSE:
		same_response(w, is, should);
		break;
	case SMTP_EV_DATA:
		w->body_n = 0;
		break;
	case SMTP_EV_END:
		same_envelope(w, &should->envelope);
		same_text(w, "the message", slice_of(w->body, w->body_n), should->text);
		same_told(w, "whom it was forwarded for", smtp_server_forwarded(w->s), should->told);
		w->counts->accepted++;
		break;
	case SMTP_EV_RESET:
		same_number(w, "the count of recipients behind RESET", smtp_server_envelope(w->s)->rcpt_count, 0);
		break;
	case SMTP_EV_CLOSE:
		w->closed = true;
		break;
	default:
		break;
	}
}

static void add_body(struct walk *w, struct slice octets)
{
	if (w->body_n + octets.n > sizeof w->body) {
		fail(w, "more octets of a message than were sent");
		return;
	}
	memcpy(w->body + w->body_n, octets.p, octets.n);
	w->body_n += octets.n;
}

static void take_event(struct walk *w, const struct smtp_event *ev)
{
	if (ev->type == SMTP_EV_BODY) {
		add_body(w, ev->text);
		return;
	}
	if (w->trace)
		fprintf(stderr, "  %s\n", type_names[ev->type]);
	if (w->events == w->m->events) {
		fail(w, "the event %s comes, where none should", type_names[ev->type]);
		return;
	}
	const struct model_event *should = &w->m->event[w->events++];
	if (ev->type != should->type) {
		fail(w, "the event %s comes in place of %s", type_names[ev->type], type_names[should->type]);
		return;
	}
	check_event(w, ev, should);
	if (ev->answer && !w->failed)
		answer_by_fate(w, should);
}

static void pull(struct walk *w)
{
	struct smtp_event ev;

	while (!w->failed && smtp_server_next(w->s, &ev))
		take_event(w, &ev);
}

/* ---- octets ------------------------------------------------------------------------------------------------------ */

static void put_octets(struct player *p, struct slice octets)
{
	struct walk *w = (struct walk *)p;

	if (w->failed || octets.n == 0)
		return;
	assert(w->pending_n + octets.n <= PENDING_MAX);
	memcpy(w->pending + w->pending_n, octets.p, octets.n);
	w->pending_n += octets.n;
}

static void fetch(struct walk *w)
{
	for (struct slice out = smtp_server_output(w->s); out.n; out = smtp_server_output(w->s)) {
		size_t n = out.n > 1 && random_below(&w->cuts, 8) == 0 ? out.n / 2 : out.n;
		if (w->out_n + n > OUT_MAX) {
			fail(w, "the replies do not end");
			return;
		}
		memcpy(w->out + w->out_n, out.p, n);
		w->out_n += n;
		smtp_server_sent(w->s, n);
	}
}

static void feed_piece(struct walk *w, struct slice piece)
{
	while (piece.n > 0 && !w->closed && !w->failed) {
		size_t taken = smtp_server_feed(w->s, piece, w->now);
		size_t before = w->events;
		piece = slice_skip(piece, taken);
		pull(w);
		if (taken > 0 || w->closed || w->events > before)
			continue;
		if (smtp_server_output(w->s).n < SMTP_OUTPUT_BOUND)
			fail(w, "octets are not taken");
		fetch(w);
	}
}

static void feed_copy(struct walk *w, struct slice piece)
{
	char *copy;

	if (!w->copies) {
		feed_piece(w, piece);
		return;
	}
	copy = malloc(piece.n);
	assert(copy);
	memcpy(copy, piece.p, piece.n);
	feed_piece(w, slice_of(copy, piece.n));
	free(copy);
}

/* What is pending goes out: whole, octet by octet, or in pieces. */
static void flush_pending(struct walk *w)
{
	struct slice rest = slice_of(w->pending, w->pending_n);
	uint32_t how = random_below(&w->cuts, 8);

	show(w, "C:", rest);
	w->counts->octets += rest.n;
	while (rest.n > 0 && !w->closed && !w->failed) {
		size_t n = how < 4 || rest.n > 20000 ? rest.n
			   : how == 4                ? 1
						     : 1 + random_below(&w->cuts, (uint32_t)rest.n);
		feed_copy(w, slice_head(rest, n));
		rest = slice_skip(rest, n);
	}
	w->pending_n = 0;
}

/* ---- replies ----------------------------------------------------------------------------------------------------- */

/* One reply of RFC 5321 4.2 at the start of `s`: its octets; 0 when it is none. The lines have one code. */
static size_t reply_extent(struct slice s, unsigned *ret_code, size_t *ret_lines)
{
	size_t at = 0;

	for (*ret_lines = 0;; ++*ret_lines) {
		size_t crlf = at + slice_search(slice_skip(s, at), SLICE("\r\n"));
		if (crlf >= s.n || crlf - at < 4 || crlf + 2 - at > SMTP_REPLY_LINE_MAX)
			return 0;
		const char *p = s.p + at;
		if (p[0] < '2' || p[0] > '5' || p[1] < '0' || p[1] > '5' || p[2] < '0' || p[2] > '9')
			return 0;
		unsigned code = (unsigned)(p[0] - '0') * 100 + (unsigned)(p[1] - '0') * 10 + (unsigned)(p[2] - '0');
		if ((at > 0 && code != *ret_code) || (p[3] != ' ' && p[3] != '-'))
			return 0;
		*ret_code = code;
		at = crlf + 2;
		if (p[3] == ' ') {
			++*ret_lines;
			return at;
		}
	}
}

/* RFC 5321 4.1.1.1: what is offered, each once, and nothing else. */
static void check_offers(struct walk *w, struct slice reply)
{
	const struct smtp_server_config *c = &w->setting.config;
	char size[40];
	snprintf(size, sizeof size, "SIZE %llu", (unsigned long long)c->size_max);
	char auth[200] = "AUTH";
	size_t auth_n = 4;
	for (size_t i = 0; i < c->mechanism_count; i++)
		if (model_may_use(w->m, i))
			auth_n += (size_t)snprintf(auth + auth_n, sizeof auth - auth_n, " %.*s",
						   SLICE_ARGS(c->mechanisms[i].name));
	const struct {
		struct slice word;
		bool offered;
	} words[] = {{SLICE("PIPELINING"), c->offer_pipelining || c->lmtp},
		     {SLICE("8BITMIME"), c->offer_8bitmime},
		     {SLICE("ENHANCEDSTATUSCODES"), true},
		     {SLICE("SMTPUTF8"), c->offer_smtputf8 && c->offer_8bitmime},
		     {SLICE("CHUNKING"), c->offer_chunking},
		     {SLICE("BINARYMIME"), c->offer_binarymime && c->offer_chunking},
		     {SLICE("DSN"), c->offer_dsn},
		     {SLICE("HELP"), c->offer_help},
		     {SLICE("STARTTLS"), c->tls != SMTP_TLS_OFF && !smtp_server_is_secure(w->s)},
		     {slice_from_cstr(size), true},
		     {slice_of(auth, auth_n), auth_n > 4},
		     {SLICE("XCLIENT NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"),
		      c->knows_xclient && w->setting.trust.xclient},
		     {SLICE("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"),
		      c->knows_xforward && w->setting.trust.xforward}};
	unsigned seen = 0, should = 0;

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		should |= words[i].offered ? 1u << i : 0;
	reply = slice_skip(reply, slice_find(reply, '\n') + 1);
	while (reply.n > 0) {
		size_t crlf = slice_search(reply, SLICE("\r\n")), i = 0;
		struct slice word = slice_skip(slice_head(reply, crlf), 4);
		while (i < sizeof words / sizeof *words && (!slice_eq(words[i].word, word) || seen & 1u << i))
			i++;
		seen |= 1u << i;
		reply = slice_skip(reply, crlf + 2);
	}
	same_number(w, "the set of offers", seen, should);
}

/* RFC 2034 4: each line's status has the class of the reply. */
static void check_status(struct walk *w, struct slice reply)
{
	while (reply.n > 0) {
		if (reply.n < 9 || reply.p[4] != reply.p[0] || reply.p[5] != '.') {
			fail(w, "a reply without its enhanced status code");
			return;
		}
		reply = slice_skip(reply, slice_find(reply, '\n') + 1);
	}
}

static void check_reply(struct walk *w, struct slice reply, unsigned code, model_set should)
{
	char text[MODEL_BITS * 4 + 1];
	model_set is = model_code(code);

	if (!(is & should)) {
		model_code_text(should & ~MODEL_FLAGS, text);
		fail(w, "the reply is %.*s, not %s", (int)slice_find(reply, '\r'), reply.p, text);
	} else if (should & MODEL_EHLO) {
		check_offers(w, reply);
	} else if (!(should & MODEL_BARE) && code != 354) {
		check_status(w, reply);
	}
	w->counts->refused += code >= 400;
}

/* A reply that may be missing, where the one behind it comes. */
static bool is_missing(const struct model *m, size_t n, unsigned code)
{
	return n + 1 < m->replies && m->reply[n] & MODEL_MAYBE && !(m->reply[n] & model_code(code)) &&
	       m->reply[n + 1] & model_code(code);
}

static void check_replies(struct walk *w)
{
	struct slice rest = slice_of(w->out, w->out_n);
	size_t n = 0, lines;
	unsigned code = 0;

	show(w, "S:", rest);
	while (rest.n > 0 && !w->failed) {
		size_t octets = reply_extent(rest, &code, &lines);
		n += is_missing(w->m, n, code);
		if (octets == 0)
			fail(w, "no reply: \"%.*s\"", (int)(rest.n < 100 ? rest.n : 100), rest.p);
		else if (n == w->m->replies)
			fail(w, "a reply that nothing asked for: %.*s", (int)slice_find(rest, '\r'), rest.p);
		else
			check_reply(w, slice_head(rest, octets), code, w->m->reply[n++]);
		rest = slice_skip(rest, octets);
	}
	if (n < w->m->replies) {
		char text[MODEL_BITS * 4 + 1];
		model_code_text(w->m->reply[n] & ~MODEL_FLAGS, text);
		fail(w, "no reply comes, where %s should", text);
	}
	w->counts->replies += n;
	w->out_n = 0;
}

/* ---- a client that reads ----------------------------------------------------------------------------------------- */

static void check_session(struct walk *w)
{
	const struct model *m = w->m;
	char told[MODEL_TOLD_MAX];

	same_number(w, "the end of the session", w->closed, m->place == PLACE_OVER);
	if (w->events < m->events)
		fail(w, "the event %s does not come", type_names[m->event[w->events].type]);
	same_envelope(w, &m->envelope);
	same_number(w, "the deadline", (uint64_t)smtp_server_deadline(w->s), (uint64_t)model_deadline(m));
	same_number(w, "EHLO", smtp_server_is_extended(w->s), m->extended);
	same_number(w, "AUTH", smtp_server_is_authenticated(w->s), m->authenticated);
	same_text(w, "the name of the client", smtp_server_peer_name(w->s), m->peer);
	same_told(w, "who the client is", smtp_server_client(w->s), model_told_text(&m->client, told));
	same_told(w, "whom the next message is forwarded for", smtp_server_forwarded(w->s),
		  model_told_text(&m->forwarded, told));
}

/* What the log is told of refusals is what the client is told. */
static void check_refusals(struct walk *w)
{
	struct smtp_refusal refusal;

	while (smtp_server_refusal(w->s, &refusal))
		if (refusal.reply.n < 4 || (refusal.reply.p[0] != '4' && refusal.reply.p[0] != '5'))
			fail(w, "the log is told of a refusal that is none: %.*s", SLICE_ARGS(refusal.reply));
}

static void wait_for_replies(struct player *p)
{
	struct walk *w = (struct walk *)p;

	if (w->failed)
		return;
	if (w->pending_n > 0)
		flush_pending(w);
	pull(w);
	fetch(w);
	if (!w->failed)
		check_replies(w);
	if (!w->failed)
		check_session(w);
	check_refusals(w);
	w->events = 0;
	model_seen(w->m);
}

static void end_session(struct player *p, unsigned how)
{
	struct walk *w = (struct walk *)p;

	if (w->failed)
		return;
	if (w->pending_n > 0)
		flush_pending(w);
	pull(w);
	if (!w->failed && w->m->place != PLACE_OVER) {
		if (w->trace)
			fprintf(stderr, "  (%s)\n",
				how == 0   ? "the connection breaks"
				: how == 1 ? "the server stops"
					   : "silence");
		if (how == 2) {
			w->now = w->m->now = model_deadline(w->m);
			model_silence(w->m);
			smtp_server_tick(w->s, w->now);
		} else if (how == 1) {
			model_shutdown(w->m);
			smtp_server_shutdown(w->s);
		} else {
			model_lost(w->m);
			smtp_server_lost(w->s);
		}
	}
	wait_for_replies(p);
}

static void be_silent(struct player *p)
{
	struct walk *w = (struct walk *)p;

	wait_for_replies(p);
	if (w->failed || w->m->place == PLACE_OVER)
		return;
	w->now = w->m->now = model_deadline(w->m) - 1;
	if (w->trace)
		fprintf(stderr, "  (silence, almost too long)\n");
	smtp_server_tick(w->s, w->now);
	wait_for_replies(p);
}

static void do_handshake(struct player *p)
{
	struct walk *w = (struct walk *)p;

	if (w->failed)
		return;
	if (w->trace)
		fprintf(stderr, "  (the handshake)\n");
	same_number(w, "waiting for the handshake", smtp_server_awaits_tls(w->s), true);
	if (w->failed)
		return;
	model_secured(w->m);
	w->m->usable = w->setting.usable_secure;
	smtp_server_set_mechanisms(w->s, w->m->usable);
	smtp_server_secured(w->s, w->now);
}

static void set_mechanisms(struct player *p, uint32_t usable)
{
	struct walk *w = (struct walk *)p;

	wait_for_replies(p);
	if (w->trace)
		fprintf(stderr, "  (the owner: mechanisms %x)\n", usable);
	w->m->usable = usable;
	smtp_server_set_mechanisms(w->s, usable);
}

/* ---- the walk ---------------------------------------------------------------------------------------------------- */

/* TLS from the first octet: before it nothing is said or asked, and the handshake has its own time. */
static bool begin_implicit(struct walk *w)
{
	model_await_tls(w->m, &w->setting.config, w->now);
	if (w->setting.unshaken) {
		wait_for_replies(&w->player);
		end_session(&w->player, w->setting.unshaken_end);
		return false;
	}
	do_handshake(&w->player);
	return !w->failed;
}

static bool begin(struct walk *w, const struct plan *plan)
{
	struct setting *set = &w->setting;

	script_configure(plan->config, set);
	w->s = smtp_server_new(&set->config);
	assert(w->s);
	if (w->trace)
		fprintf(stderr, "  (configuration %llx%s)\n", (unsigned long long)plan->config,
			set->config.lmtp ? ", LMTP" : "");
	bool implicit = set->config.tls == SMTP_TLS_IMPLICIT;
	smtp_server_set_mechanisms(w->s, set->usable);
	smtp_server_trust(w->s, set->trust);
	smtp_server_start(w->s, w->now);
	if (implicit && !begin_implicit(w))
		return false;
	model_start(w->m, &set->config, w->now, set->greeting, set->pushed, set->greeting_fate,
		    implicit ? set->usable_secure : set->usable);
	w->m->trust = set->trust;
	if (set->pushed && smtp_server_feed(w->s, SLICE("EHLO a.example\r\n"), w->now) != 0)
		fail(w, "octets are taken before the greeting");
	pull(w);
	if (!set->impatient)
		wait_for_replies(&w->player);
	return !w->failed;
}

static void play_step(struct walk *w, struct step s, unsigned *group)
{
	if (w->trace)
		fprintf(stderr, "  -- %s\n", script_kind(s.kind));
	w->cuts = (uint64_t)s.more << 16 | s.what;
	script_play(&w->player, s);
	w->counts->steps++;
	if (++*group < GROUP_MAX && s.flags & STEP_JOIN)
		return;
	if (*group < GROUP_MAX && s.flags & STEP_NO_WAIT) {
		flush_pending(w);
		return;
	}
	wait_for_replies(&w->player);
	*group = 0;
}

/* What is over takes nothing, says nothing and waits for nothing. */
static void check_closed(struct walk *w)
{
	struct smtp_event ev;

	if (smtp_server_feed(w->s, SLICE("NOOP\r\n"), w->now) != 0 || smtp_server_next(w->s, &ev) ||
	    smtp_server_output(w->s).n > 0 || smtp_server_deadline(w->s) != NEVER)
		fail(w, "the session goes on behind its end");
}

const char *walk_play(struct plan *plan, uint64_t *random, bool trace, bool copies, struct walk_counts *counts)
{
	struct walk *w = &the_walk;
	unsigned group = 0;

	memset(w, 0, offsetof(struct walk, pending));
	w->player = (struct player){.m = &the_model,
				    .put = put_octets,
				    .wait = wait_for_replies,
				    .end = end_session,
				    .silence = be_silent,
				    .secure = do_handshake,
				    .mechanisms = set_mechanisms};
	w->m = &the_model;
	w->now = 1000;
	w->trace = trace;
	w->copies = copies;
	w->counts = counts;
	unsigned wanted = plan->n;
	if (random) {
		plan->config = script_random_config(random);
		wanted = 4 + random_below(random, WALK_STEPS - 3);
		plan->n = 0;
	}
	if (begin(w, plan)) {
		for (unsigned i = 0; i < wanted && !w->failed && w->m->place != PLACE_OVER; i++) {
			if (random)
				plan->step[plan->n++] = script_random_step(random, w->m);
			play_step(w, plan->step[i], &group);
		}
		end_session(&w->player, 0);
	}
	if (!w->failed)
		check_closed(w);
	counts->walks++;
	smtp_server_free(w->s);
	w->s = NULL;
	return w->failed ? w->why : NULL;
}
