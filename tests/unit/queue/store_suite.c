#include "test.h"

#include "base/hash.h"
#include "store_suite.h"

#include "base/crc32c.h"

#define SITE 0xfeedfacecafebeefu /* above the signed range */
#define FLOW 77

static const struct store_place *place;

struct world {
	void *at;
	struct store *st;
	struct arena arena;
};

static int set_up(void **state)
{
	struct world *w = calloc(1, sizeof *w);

	w->at = place->make();
	w->st = place->open(w->at, 0, 0);
	arena_init(&w->arena, 1000000);
	*state = w;
	return w->st ? 0 : -1;
}

static int tear_down(void **state)
{
	struct world *w = *state;

	if (w->st)
		ops_of(w->st)->close(w->st);
	place->remove(w->at);
	arena_free(&w->arena);
	free(w);
	return 0;
}

/* ---- makers */

struct new_message *new_message(struct new_message *n, msg_id id, size_t rcpts, uint64_t site, uint64_t flow,
				queue_ms now)
{
	assert_true(rcpts <= RCPTS_MAX);
	*n = (struct new_message){0};
	for (size_t i = 0; i < rcpts; i++) {
		int length = snprintf(n->addresses[i], sizeof n->addresses[i], "r%zu@s%u.example", i,
				      (unsigned)(site & 0xffff));
		n->rcpt[i].address = slice_of(n->addresses[i], (size_t)length);
		n->sites[i] = site;
	}
	n->envelope =
		(struct mail_envelope){.sender = SLICE("sender@example.com"), .rcpt = n->rcpt, .rcpt_count = rcpts};
	n->m = (struct store_new){
		.id = id,
		.arrived = 1700000000000,
		.now = now,
		.envelope = &n->envelope,
		.sites = n->sites,
		.flow = flow,
		.origin = {SLICE("192.0.2.1"), SLICE("client.example"), SLICE("ESMTP"), SLICE_NONE},
		.size = 23,
		.body = SLICE("Subject: hello\r\n\r\nHi.\r\n"),
	};
	return n;
}

struct store_settle attempt(msg_id id, uint32_t n, enum store_state next, queue_ms now, queue_ms due, uint64_t site)
{
	bool delivered = next == STORE_DELIVERED, failed = next == STORE_FAILED;
	unsigned klass = delivered ? 2 : failed ? 5 : 4;

	return (struct store_settle){
		.id = id,
		.n = n,
		.next = next,
		.now = now,
		.due = due,
		.site = site,
		.attempted = true,
		.outcome = {.verdict = delivered ? SMTP_DELIVERED
				       : failed  ? SMTP_FAILED
						 : SMTP_DEFERRED,
			    .stage = SMTP_STAGE_RCPT,
			    .code = klass * 100 + 50,
			    .status = {(uint8_t)klass, 1, 999},
			    .text = SLICE("the peer's words")},
		.remote = SLICE("mx.example [192.0.2.9]:25"),
		.at = 1700000000000 + now,
		.took = 12,
	};
}

void spool_write(struct fs *fs, msg_id id, struct slice body)
{
	struct file *f;

	assert_ok(store_spool_create(fs, id, &f));
	assert_int_equal(f->ops->write(f, body), 0);
	f->ops->close(f);
}

struct store_digest spool_digest(msg_id id, struct slice body)
{
	struct crc32c crc;

	crc32c_init(&crc);
	return (struct store_digest){true, crc32c_add(&crc, store_digest_begin(&crc, id), body)};
}

static void put(struct world *w, msg_id id, size_t rcpts, uint64_t site, uint64_t flow, queue_ms now)
{
	struct new_message n;

	assert_ok(ops_of(w->st)->put(w->st, &new_message(&n, id, rcpts, site, flow, now)->m));
}

static void commit(struct world *w)
{
	assert_ok(ops_of(w->st)->commit(w->st));
}

static void settle(struct world *w, msg_id id, uint32_t n, enum store_state next, queue_ms now, queue_ms due)
{
	struct store_settle s = attempt(id, n, next, now, due, SITE);

	assert_ok(ops_of(w->st)->settle(w->st, &s));
}

/* Another process takes the place over. */
static void restart(struct world *w)
{
	ops_of(w->st)->close(w->st);
	w->st = place->open(w->at, 0, 0);
	assert_non_null(w->st);
}

static size_t claim(struct world *w, queue_ms now, size_t per_flow, struct store_due *out, size_t max, queue_ms *next)
{
	size_t n = 0;

	assert_ok(ops_of(w->st)->claim(w->st, now, per_flow, out, max, &n, next));
	assert_true(n <= max);
	return n;
}

static struct store_rcpt rcpt_of(struct world *w, msg_id id, uint32_t n)
{
	struct store_rcpt r;

	assert_ok(ops_of(w->st)->load_rcpt(w->st, id, n, &w->arena, &r));
	return r;
}

static struct store_message message_of(struct world *w, msg_id id)
{
	struct store_message m;

	assert_ok(ops_of(w->st)->load(w->st, id, &w->arena, &m));
	return m;
}

static void assert_counts(struct world *w, uint64_t waiting, uint64_t claimed, uint64_t held, uint64_t delivered,
			  uint64_t failed, uint64_t removed)
{
	const uint64_t expected[] = {waiting, claimed, held, delivered, failed, removed};
	uint64_t counts[STORE_STATE_MAX + 1];

	assert_ok(ops_of(w->st)->counts(w->st, counts));
	for (size_t i = 0; i <= STORE_STATE_MAX; i++)
		assert_int_equal(counts[i], expected[i]);
}

/* ---- everything as text */

struct dump {
	struct store *st;
	struct buf out;
	msg_id ids[500];
	size_t count;
};

static bool dump_rcpt(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	struct dump *d = arg;
	/* A new owner makes what was claimed wait. */
	const char *state = r->state <= STORE_CLAIMED ? "open" : r->state == STORE_HELD ? "held" : "done";

	if (d->count == 0 || d->ids[d->count - 1] != m->id) {
		assert_true(d->count < 500);
		d->ids[d->count++] = m->id;
		buf_printf(&d->out, "message %d from <%.*s> size %d open %d of %d\n", (int)m->id, SLICE_ARGS(m->sender),
			   (int)m->size, (int)m->open, (int)m->rcpt_count);
	}
	buf_printf(&d->out, "  %d <%.*s> %s%d attempts %d warned %d", (int)r->n, SLICE_ARGS(r->rcpt.address), state,
		   r->state > STORE_CLAIMED ? (int)r->state : 0, (int)r->attempts, r->warned);
	if (r->attempts)
		buf_printf(&d->out, " last %d \"%.*s\"", (int)r->last.code, SLICE_ARGS(r->last.text));
	buf_add_char(&d->out, '\n');
	return true;
}

static bool dump_history(void *arg, const struct store_history *h)
{
	struct dump *d = arg;

	buf_printf(&d->out, "    %d n %d at %d \"%.*s\" \"%.*s\" \"%.*s\" about %d\n", h->event, (int)h->n,
		   (int)(h->at % 100000), SLICE_ARGS(h->outcome.text), SLICE_ARGS(h->outcome.secured),
		   SLICE_ARGS(h->text), (int)h->about);
	return true;
}

static void dump_body(struct dump *d, msg_id id)
{
	struct buf body;

	buf_init(&body, 1000000);
	enum store_result result = ops_of(d->st)->body(d->st, id, &body);
	assert_true(result == STORE_OK || result == STORE_NOT_FOUND);
	buf_printf(&d->out, "    body %s %d %08x\n", result ? "none" : "here", (int)buf_len(&body),
		   (unsigned)hash_slice((struct hash_key){1, 2}, buf_slice(&body)));
	buf_free(&body);
}

char *store_dump(struct store *st)
{
	struct dump d = {.st = st};
	struct store_filter all = {.state = -2};
	struct store_cursor cursor = {0};
	uint64_t counts[STORE_STATE_MAX + 1];

	buf_init(&d.out, 10000000);
	while (!cursor.end)
		assert_ok(ops_of(st)->list(st, &all, 0, &cursor, dump_rcpt, &d));
	for (size_t i = 0; i < d.count; i++) {
		buf_printf(&d.out, "story of %d\n", (int)d.ids[i]);
		assert_ok(ops_of(st)->history(st, d.ids[i], dump_history, &d));
		dump_body(&d, d.ids[i]);
	}
	assert_ok(ops_of(st)->counts(st, counts));
	buf_printf(&d.out, "open %d held %d done %d %d %d\n", (int)(counts[0] + counts[1]), (int)counts[2],
		   (int)counts[3], (int)counts[4], (int)counts[5]);
	buf_add(&d.out, SLICE("clock "));
	assert_ok(ops_of(st)->clock_load(st, &d.out));
	const char *text = buf_cstr(&d.out);
	assert_non_null(text);
	char *copy = strdup(text);
	buf_free(&d.out);
	return copy;
}

/* ---- messages */

static void a_message_comes_back_exactly_as_it_was_put(void **state)
{
	struct world *w = *state;
	struct new_message n;
	static const char octets[] = "a\0b'); DROP TABLE message; --\xff\r\n.\r\n";
	struct buf body;

	new_message(&n, MSG_ID_MAX, 2, SITE, UINT64_MAX, -5);
	n.envelope.sender = SLICE("\"'); DROP TABLE message; --\0\xff\"@example.com");
	n.envelope.envid = SLICE("env+2Bid");
	n.envelope.body = MAIL_BODY_BINARYMIME;
	n.envelope.ret = MAIL_RET_HDRS;
	n.envelope.utf8 = true;
	n.rcpt[1] = (struct mail_rcpt){SLICE("\xc3\xa4@example.net"), SLICE("utf-8;x"),
				       MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_DELAY};
	n.m.origin = (struct store_origin){SLICE("unix:uid=1000"), SLICE("\0"), SLICE("UTF8SMTPSA"), SLICE("alice")};
	n.m.content = STORE_CONTENT_MAX;
	n.m.about = 12;
	n.m.body = slice_of(octets, sizeof octets);
	n.m.size = sizeof octets;
	assert_ok(ops_of(w->st)->put(w->st, &n.m));
	commit(w);
	restart(w);

	struct store_message m = message_of(w, MSG_ID_MAX);
	assert_true(m.id == MSG_ID_MAX);
	assert_true(slice_eq(m.sender, n.envelope.sender));
	assert_slice(m.envid, "env+2Bid");
	assert_int_equal(m.body, MAIL_BODY_BINARYMIME);
	assert_int_equal(m.ret, MAIL_RET_HDRS);
	assert_true(m.utf8);
	assert_true(slice_eq(m.origin.helo, SLICE("\0")));
	assert_slice(m.origin.client, "unix:uid=1000");
	assert_slice(m.origin.protocol, "UTF8SMTPSA");
	assert_slice(m.origin.user, "alice");
	assert_true(m.flow == UINT64_MAX);
	assert_int_equal(m.content, STORE_CONTENT_MAX);
	assert_int_equal(m.about, 12);
	assert_int_equal(m.arrived, 1700000000000);
	assert_int_equal(m.arrived_queue, -5);
	assert_int_equal(m.rcpt_count, 2);
	assert_int_equal(m.open, 2);
	assert_false(m.body_in_file);
	struct store_rcpt r = rcpt_of(w, MSG_ID_MAX, 1);
	assert_slice(r.rcpt.address, "\xc3\xa4@example.net");
	assert_slice(r.rcpt.orcpt, "utf-8;x");
	assert_int_equal(r.rcpt.notify, MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_DELAY);
	assert_true(r.site == SITE);
	assert_int_equal(r.state, STORE_WAITING);
	assert_int_equal(r.attempts, 0);
	buf_init(&body, 1000);
	assert_ok(ops_of(w->st)->body(w->st, MSG_ID_MAX, &body));
	assert_true(slice_eq(buf_slice(&body), n.m.body));
	buf_free(&body);
}

static void an_empty_body_is_a_body(void **state)
{
	struct world *w = *state;
	struct new_message n;
	struct buf body;

	new_message(&n, 1, 1, SITE, FLOW, 0);
	n.m.body = SLICE_NONE;
	n.m.size = 0;
	assert_ok(ops_of(w->st)->put(w->st, &n.m));
	buf_init(&body, 10);
	assert_ok(ops_of(w->st)->body(w->st, 1, &body));
	assert_int_equal(buf_len(&body), 0);
	buf_free(&body);
}

static void what_is_not_there_is_not_found(void **state)
{
	struct world *w = *state;
	struct store_message m;
	struct store_rcpt r;
	struct store_settle s = attempt(1, 1, STORE_DELIVERED, 0, 0, SITE);
	struct store_history line = {.event = STORE_EVENT_NOTE, .text = SLICE("x")};
	struct buf body;

	put(w, 1, 1, SITE, FLOW, 0);
	buf_init(&body, 100);
	assert_result(ops_of(w->st)->load(w->st, 2, &w->arena, &m), STORE_NOT_FOUND);
	assert_result(ops_of(w->st)->load_rcpt(w->st, 1, 1, &w->arena, &r), STORE_NOT_FOUND);
	assert_result(ops_of(w->st)->body(w->st, 2, &body), STORE_NOT_FOUND);
	assert_result(ops_of(w->st)->settle(w->st, &s), STORE_NOT_FOUND);
	assert_result(ops_of(w->st)->note(w->st, 2, &line), STORE_NOT_FOUND);
	assert_result(ops_of(w->st)->history(w->st, 2, NULL, NULL), STORE_NOT_FOUND);
	commit(w); /* none of them spoilt it */
	assert_counts(w, 1, 0, 0, 0, 0, 0);
}

static void what_does_not_fit_the_arena_or_the_buffer_is_no_memory(void **state)
{
	struct world *w = *state;
	struct arena small;
	struct store_message m;
	struct store_rcpt r;
	struct buf body;

	put(w, 1, 1, SITE, FLOW, 0);
	arena_init(&small, 16);
	buf_init(&body, 5);
	assert_result(ops_of(w->st)->load(w->st, 1, &small, &m), STORE_NO_MEMORY);
	assert_result(ops_of(w->st)->load_rcpt(w->st, 1, 0, &small, &r), STORE_NO_MEMORY);
	assert_result(ops_of(w->st)->body(w->st, 1, &body), STORE_NO_MEMORY);
	commit(w);
	arena_free(&small);
	buf_free(&body);
}

static void what_was_not_committed_never_was(void **state)
{
	struct world *w = *state;
	struct store_message m;

	put(w, 1, 1, SITE, FLOW, 0);
	commit(w);
	put(w, 2, 3, SITE, FLOW, 0);
	settle(w, 1, 0, STORE_DELIVERED, 5, 0);
	assert_counts(w, 3, 0, 0, 1, 0, 0);
	restart(w);
	assert_result(ops_of(w->st)->load(w->st, 2, &w->arena, &m), STORE_NOT_FOUND);
	assert_int_equal(rcpt_of(w, 1, 0).state, STORE_WAITING);
	assert_counts(w, 1, 0, 0, 0, 0, 0);
	put(w, 2, 1, SITE, FLOW, 0);
	assert_ok(ops_of(w->st)->reopen(w->st));
	assert_result(ops_of(w->st)->load(w->st, 2, &w->arena, &m), STORE_NOT_FOUND);
	assert_counts(w, 1, 0, 0, 0, 0, 0);
	commit(w);
}

static void an_id_is_taken_once(void **state)
{
	struct world *w = *state;
	struct new_message n;

	put(w, 1, 1, SITE, FLOW, 0);
	assert_result(ops_of(w->st)->put(w->st, &new_message(&n, 1, 2, SITE, FLOW, 0)->m), STORE_EXISTS);
	put(w, 2, 1, SITE, FLOW, 0);
	commit(w);
	assert_int_equal(message_of(w, 1).rcpt_count, 1);
	assert_counts(w, 2, 0, 0, 0, 0, 0);
}

static void below_the_reserve_only_reports_and_outcomes_are_taken(void **state)
{
	struct world *w = *state;
	struct new_message n;

	put(w, 1, 1, SITE, FLOW, 0);
	commit(w);
	place->space(w->at, SUITE_RESERVE - 1);
	assert_result(ops_of(w->st)->put(w->st, &new_message(&n, 2, 1, SITE, FLOW, 0)->m), STORE_FULL);
	settle(w, 1, 0, STORE_FAILED, 1, 0);
	new_message(&n, 3, 1, SITE, FLOW, 0)->m.about = 1;
	assert_ok(ops_of(w->st)->put(w->st, &n.m));
	commit(w);
	assert_counts(w, 1, 0, 0, 0, 1, 0);
	place->space(w->at, SUITE_RESERVE);
	put(w, 2, 1, SITE, FLOW, 0);
	commit(w);
}

/* ---- settling */

static bool count_lines(void *arg, const struct store_history *line)
{
	struct store_history **next = arg;

	**next = *line;
	next[0]++;
	return true;
}

static void an_attempt_that_is_deferred_leaves_its_story(void **state)
{
	struct world *w = *state;
	struct store_history lines[4] = {0}, *next = lines;

	put(w, 1, 2, SITE, FLOW, 0);
	struct store_settle s = attempt(1, 1, STORE_WAITING, 100, 600, SITE + 1);
	s.warned = true;
	s.outcome.ambiguous = true;
	s.outcome.lossy = true;
	s.outcome.secured = SLICE("TLSv1.3, verified");
	assert_ok(ops_of(w->st)->settle(w->st, &s));
	commit(w);
	restart(w);
	struct store_rcpt r = rcpt_of(w, 1, 1);
	assert_int_equal(r.state, STORE_WAITING);
	assert_int_equal(r.due, 600);
	assert_int_equal(r.attempts, 1);
	assert_true(r.site == SITE + 1);
	assert_true(r.warned);
	assert_int_equal(r.last.verdict, SMTP_DEFERRED);
	assert_int_equal(r.last.stage, SMTP_STAGE_RCPT);
	assert_int_equal(r.last.code, 450);
	assert_int_equal(r.last.status.klass, 4);
	assert_int_equal(r.last.status.subject, 1);
	assert_int_equal(r.last.status.detail, 999);
	assert_true(r.last.ambiguous);
	assert_false(r.last.dsn_relayed);
	assert_true(r.last.lossy);
	assert_slice(r.last.text, "the peer's words");
	assert_slice(r.last.secured, "TLSv1.3, verified");
	assert_slice(r.last_remote, "mx.example [192.0.2.9]:25");
	assert_int_equal(r.last_at, 1700000000100);
	s = attempt(1, 1, STORE_WAITING, 700, 900, SITE);
	assert_ok(ops_of(w->st)->settle(w->st, &s));
	assert_true(rcpt_of(w, 1, 1).warned); /* it stays so */
	assert_int_equal(rcpt_of(w, 1, 1).attempts, 2);
	assert_false(rcpt_of(w, 1, 0).warned);

	struct store_history *arg[] = {next};
	assert_ok(ops_of(w->st)->history(w->st, 1, count_lines, arg));
	assert_int_equal(arg[0] - lines, 3);
	assert_int_equal(lines[0].event, STORE_EVENT_ACCEPTED);
	assert_int_equal(lines[0].at, 1700000000000);
	assert_int_equal(lines[0].n, UINT32_MAX);
	assert_int_equal(lines[1].event, STORE_EVENT_ATTEMPT);
	assert_int_equal(lines[1].n, 1);
	assert_int_equal(lines[1].next_due, 500);
	assert_int_equal(lines[1].took, 12);
	assert_int_equal(lines[1].outcome.secured.n, 17);
	assert_int_equal(lines[2].outcome.secured.n, 0);
	assert_int_equal(lines[2].next_due, 200);
}

static void the_last_recipient_takes_the_body_away(void **state)
{
	struct world *w = *state;
	struct buf body;
	struct store_settle again = attempt(1, 0, STORE_DELIVERED, 9, 0, SITE);

	buf_init(&body, 1000);
	put(w, 1, 3, SITE, FLOW, 0);
	commit(w);
	settle(w, 1, 0, STORE_DELIVERED, 1, 0);
	settle(w, 1, 2, STORE_FAILED, 2, 0);
	commit(w);
	assert_int_equal(message_of(w, 1).open, 1);
	assert_ok(ops_of(w->st)->body(w->st, 1, &body));
	assert_result(ops_of(w->st)->settle(w->st, &again), STORE_NOT_FOUND);
	settle(w, 1, 1, STORE_REMOVED, 3, 0);
	commit(w);
	assert_int_equal(message_of(w, 1).open, 0);
	assert_result(ops_of(w->st)->body(w->st, 1, &body), STORE_NOT_FOUND);
	assert_counts(w, 0, 0, 0, 1, 1, 1);
	assert_int_equal(rcpt_of(w, 1, 0).attempts, 1);
	buf_free(&body);
}

static void what_is_held_is_not_due_until_it_is_released(void **state)
{
	struct world *w = *state;
	struct store_due due[4];
	struct store_history lines[4] = {0}, *arg[] = {lines};
	queue_ms next;
	struct store_settle hold = {
		.id = 1, .next = STORE_HELD, .site = SITE, .at = 7, .note = SLICE("held by operator")};
	struct store_settle release = {.id = 1, .next = STORE_WAITING, .due = 50, .site = SITE};

	put(w, 1, 1, SITE, FLOW, 0);
	assert_ok(ops_of(w->st)->settle(w->st, &hold));
	commit(w);
	assert_counts(w, 0, 0, 1, 0, 0, 0);
	assert_int_equal(claim(w, 1000, 5, due, 4, &next), 0);
	assert_true(next == NEVER);
	assert_ok(ops_of(w->st)->settle(w->st, &release));
	assert_int_equal(claim(w, 49, 5, due, 4, &next), 0);
	assert_int_equal(next, 50);
	assert_int_equal(claim(w, 50, 5, due, 4, &next), 1);
	assert_int_equal(due[0].attempts, 0);
	assert_ok(ops_of(w->st)->history(w->st, 1, count_lines, arg));
	assert_int_equal(arg[0] - lines, 2);
	assert_int_equal(lines[1].event, STORE_EVENT_NOTE);
	assert_int_equal(lines[1].at, 7);
	commit(w);
}

static void what_comes_held_is_not_due_until_it_is_released(void **state)
{
	static const bool second[] = {false, true};
	struct world *w = *state;
	struct new_message n;
	struct store_due due[4];
	queue_ms next;
	struct store_settle release = {.id = 1, .n = 1, .next = STORE_WAITING, .due = 50, .site = SITE};

	new_message(&n, 1, 2, SITE, FLOW, 0)->m.held = second;
	assert_ok(ops_of(w->st)->put(w->st, &n.m));
	commit(w);
	assert_counts(w, 1, 0, 1, 0, 0, 0);
	restart(w);
	assert_counts(w, 1, 0, 1, 0, 0, 0);
	assert_int_equal(claim(w, 40, 5, due, 4, &next), 1);
	assert_int_equal(due[0].n, 0);
	assert_true(next == NEVER);
	assert_ok(ops_of(w->st)->settle(w->st, &release));
	assert_int_equal(claim(w, 50, 5, due, 4, &next), 1);
	assert_int_equal(due[0].n, 1);
	commit(w);
}

static void a_report_and_its_cause_stand_and_fall_together(void **state)
{
	struct world *w = *state;
	struct new_message n;
	struct store_history line = {.event = STORE_EVENT_REPORT, .at = 5, .n = 0, .about = 2};
	struct store_history lines[4] = {0}, *arg[] = {lines};

	put(w, 1, 1, SITE, FLOW, 0);
	commit(w);
	for (int last = 0; last < 2; last++) {
		settle(w, 1, 0, STORE_FAILED, 4, 0);
		new_message(&n, 2, 1, SITE, FLOW, 4)->m.about = 1;
		n.m.note = "report on failed delivery";
		assert_ok(ops_of(w->st)->put(w->st, &n.m));
		assert_ok(ops_of(w->st)->note(w->st, 1, &line));
		if (last)
			commit(w);
		restart(w);
		assert_counts(w, last ? 1 : 1, 0, 0, 0, last ? 1 : 0, 0);
		assert_int_equal(rcpt_of(w, 1, 0).state, last ? STORE_FAILED : STORE_WAITING);
	}
	assert_ok(ops_of(w->st)->history(w->st, 1, count_lines, arg));
	assert_int_equal(arg[0] - lines, 3);
	assert_int_equal(lines[2].event, STORE_EVENT_REPORT);
	assert_int_equal(lines[2].about, 2);
	arg[0] = lines;
	assert_ok(ops_of(w->st)->history(w->st, 2, count_lines, arg));
	assert_int_equal(lines[0].about, 1);
}

/* ---- claims */

static void claims_give_what_is_due_in_order_and_once(void **state)
{
	struct world *w = *state;
	struct store_due due[8];
	queue_ms next;

	assert_int_equal(claim(w, 0, 5, due, 8, &next), 0);
	assert_true(next == NEVER);
	put(w, 1, 1, SITE, FLOW, 300);
	put(w, 2, 1, SITE, FLOW, 100);
	put(w, 3, 1, SITE, FLOW, 200);
	put(w, 4, 1, SITE, FLOW, 900);
	commit(w);
	assert_int_equal(claim(w, 99, 5, due, 8, &next), 0);
	assert_int_equal(next, 100);
	assert_int_equal(claim(w, 300, 5, due, 8, &next), 3);
	assert_int_equal(next, 900);
	assert_int_equal(due[0].id, 2);
	assert_int_equal(due[1].id, 3);
	assert_int_equal(due[2].id, 1);
	assert_true(due[0].site == SITE);
	assert_true(due[0].flow == FLOW);
	commit(w);
	assert_counts(w, 1, 3, 0, 0, 0, 0);
	assert_int_equal(claim(w, 300, 5, due, 8, &next), 0);
	settle(w, 3, 0, STORE_WAITING, 300, 310);
	assert_int_equal(claim(w, 310, 5, due, 8, &next), 1);
	assert_int_equal(due[0].id, 3);
	assert_int_equal(due[0].attempts, 1);
	commit(w);
}

static void a_flow_has_its_share_and_no_more_in_one_call(void **state)
{
	struct world *w = *state;
	struct store_due due[30];
	queue_ms next;

	put(w, 1, 20, SITE, 1, 0);
	put(w, 2, 2, SITE, 2, 0);
	put(w, 3, 1, SITE + 1, 1, 0);
	assert_int_equal(claim(w, 10, 5, due, 30, &next), 5 + 2 + 1);
	assert_true(next > 10); /* everybody had a turn, and may have the next one at once */
	assert_true(next <= 11);
	assert_int_equal(claim(w, 11, 5, due, 30, &next), 5);
	assert_int_equal(claim(w, 12, 100, due, 3, &next), 3);
	assert_int_equal(claim(w, 13, 100, due, 30, &next), 7);
	assert_true(next == NEVER);
	commit(w);
	assert_counts(w, 0, 23, 0, 0, 0, 0);
}

static void many_flows_of_one_site_do_not_delay_another_site(void **state)
{
	struct world *w = *state;
	struct store_due due[10];
	queue_ms next;

	for (msg_id id = 1; id <= 400; id++)
		put(w, id, 1, SITE, id, (queue_ms)id); /* a dead site with a backlog from 400 senders */
	put(w, 1000, 1, SITE + 1, 1, 401);
	commit(w);
	bool served = false;
	for (queue_ms now = 402; now < 405 && !served; now++) {
		size_t n = claim(w, now, 2, due, 10, &next);
		assert_true(n > 0);
		for (size_t i = 0; i < n; i++)
			served |= due[i].site == SITE + 1;
		commit(w);
	}
	assert_true(served);
}

/* As a smart host has it: everything goes to one site, from many senders. */
static void a_site_that_stands_alone_gets_all_that_is_asked_for(void **state)
{
	struct world *w = *state;
	struct store_due due[100];
	queue_ms next;

	for (msg_id id = 1; id <= 300; id++)
		put(w, id, 1, SITE, id, 0);
	assert_int_equal(claim(w, 10, 5, due, 100, &next), 100);
	assert_int_equal(claim(w, 10, 5, due, 100, &next), 100);
	for (msg_id id = 301; id <= 500; id++)
		put(w, id, 1, SITE - 1, id, 0);
	/* With another one beside it, both get their part in each call. */
	assert_int_equal(claim(w, 11, 5, due, 100, &next), 100);
	size_t other = 0;
	for (size_t i = 0; i < 100; i++)
		other += due[i].site == SITE - 1;
	assert_in_range(other, 40, 60);
	commit(w);
}

static void every_flow_of_a_site_has_its_turn(void **state)
{
	struct world *w = *state;
	struct store_due due[10];
	queue_ms next;
	unsigned turns[5] = {0};

	for (msg_id id = 0; id < 4; id++)
		put(w, id + 1, 40, SITE, id, 0); /* four bulk senders */
	put(w, 10, 2, SITE, 4, 1);               /* and somebody else */
	for (queue_ms now = 2; now < 12; now++) {
		size_t n = claim(w, now, 1, due, 3, &next);
		for (size_t i = 0; i < n; i++)
			turns[due[i].flow]++;
	}
	assert_int_equal(turns[4], 2);
	for (size_t i = 0; i < 4; i++)
		assert_in_range(turns[i], 5, 10);
	commit(w);
}

static void nobody_is_forgotten_however_claims_and_outcomes_mix(void **state)
{
	struct world *w = *state;
	struct store_due due[7];
	uint64_t random = 42;
	queue_ms now = 0, next = 0;
	size_t delivered = 0;

	for (msg_id id = 1; id <= 60; id++)
		put(w, id, 3, SITE + id % 5, id % 7, (queue_ms)(id * 13 % 50));
	for (int step = 0; step < 20000 && delivered < 180; step++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		now = next > now && next != NEVER ? next : now + 1;
		size_t n = claim(w, now, 1 + random % 3, due, 1 + (random >> 8) % 7, &next);
		for (size_t i = 0; i < n; i++) {
			random = random * 6364136223846793005u + 1442695040888963407u;
			bool later = random >> 33 & 1;
			struct store_settle s =
				attempt(due[i].id, due[i].n, later ? STORE_WAITING : STORE_DELIVERED, now,
					now + (queue_ms)(random >> 40 & 63), SITE + (random >> 50) % 5);
			assert_ok(ops_of(w->st)->settle(w->st, &s));
			delivered += !later;
		}
		commit(w);
	}
	assert_int_equal(delivered, 180);
	assert_counts(w, 0, 0, 0, 180, 0, 0);
	assert_int_equal(claim(w, now + 1000, 5, due, 7, &next), 0);
	assert_true(next == NEVER);
}

static void what_is_put_claimed_is_ours_until_we_settle_it(void **state)
{
	struct world *w = *state;
	struct new_message n;
	struct store_due due[4];
	queue_ms next;

	new_message(&n, 1, 2, SITE, FLOW, 0)->m.claim = true;
	assert_ok(ops_of(w->st)->put(w->st, &n.m));
	commit(w);
	assert_counts(w, 0, 2, 0, 0, 0, 0);
	assert_int_equal(claim(w, 1000, 5, due, 4, &next), 0);
	assert_true(next == NEVER);
	assert_ok(ops_of(w->st)->reopen(w->st)); /* it is still us */
	assert_int_equal(claim(w, 1000, 5, due, 4, &next), 0);
	assert_counts(w, 0, 2, 0, 0, 0, 0);
	settle(w, 1, 0, STORE_WAITING, 1000, 1100);
	assert_int_equal(claim(w, 1100, 5, due, 4, &next), 1);
	assert_ok(ops_of(w->st)->reopen(w->st)); /* this claim was not committed */
	assert_int_equal(claim(w, 1100, 5, due, 4, &next), 0);
	assert_counts(w, 0, 2, 0, 0, 0, 0);
}

static void what_a_dead_owner_had_claimed_waits_again_with_a_note(void **state)
{
	struct world *w = *state;
	struct new_message n;
	struct store_due due[4];
	struct store_history lines[4] = {0}, *arg[] = {lines};
	queue_ms next;

	new_message(&n, 1, 1, SITE, FLOW, 0)->m.claim = true;
	assert_ok(ops_of(w->st)->put(w->st, &n.m));
	put(w, 2, 1, SITE, FLOW, 0);
	commit(w);
	ops_of(w->st)->close(w->st);
	w->st = place->open(w->at, 30, 4711);
	assert_counts(w, 1, 1, 0, 0, 0, 0);
	assert_int_equal(claim(w, 500, 5, due, 4, &next), 1);
	assert_int_equal(due[0].id, 2);
	assert_int_equal(next, 530);
	assert_ok(ops_of(w->st)->reopen(w->st)); /* that was not committed: all the same again */
	assert_int_equal(claim(w, 500, 5, due, 4, &next), 1);
	commit(w);
	assert_int_equal(claim(w, 530, 5, due, 4, &next), 1);
	assert_int_equal(due[0].id, 1);
	assert_int_equal(due[0].attempts, 0);
	commit(w);
	assert_counts(w, 0, 2, 0, 0, 0, 0);
	assert_ok(ops_of(w->st)->history(w->st, 1, count_lines, arg));
	assert_int_equal(arg[0] - lines, 2);
	assert_int_equal(lines[1].event, STORE_EVENT_NOTE);
	assert_int_equal(lines[1].at, 4711);
	/* Its courier may still speak up before the first claim. */
	restart(w);
	settle(w, 1, 0, STORE_DELIVERED, 600, 0);
	assert_int_equal(claim(w, 600, 5, due, 4, &next), 1);
	assert_int_equal(due[0].id, 2);
	commit(w);
	assert_counts(w, 0, 1, 0, 1, 0, 0);
}

static void a_large_window_is_recovered_in_portions(void **state)
{
	struct world *w = *state;
	struct store_due due[100];
	struct new_message n;
	queue_ms next = 0, now = 10;
	size_t total = 0;

	for (msg_id id = 1; id <= 80; id++) {
		new_message(&n, id, RCPTS_MAX, SITE, FLOW, 0)->m.claim = true;
		assert_ok(ops_of(w->st)->put(w->st, &n.m));
	}
	commit(w);
	restart(w);
	while (next != NEVER) {
		total += claim(w, now, 100, due, 100, &next);
		commit(w);
		assert_true(next > now);
		now = next;
	}
	assert_int_equal(total, 80 * RCPTS_MAX);
	assert_counts(w, 0, 80 * RCPTS_MAX, 0, 0, 0, 0);
}

/* ---- list */

struct seen {
	size_t n, limit;
	msg_id ids[300];
	uint32_t rcpts[300];
};

static bool see(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	struct seen *s = arg;

	assert_true(m->id == r->id);
	if (s->n == s->limit)
		return false;
	s->ids[s->n] = m->id;
	s->rcpts[s->n++] = r->n;
	return true;
}

static size_t list(struct world *w, struct store_filter filter, queue_ms now, struct seen *seen)
{
	struct store_cursor cursor = {0};

	*seen = (struct seen){.limit = 300};
	while (!cursor.end)
		assert_ok(ops_of(w->st)->list(w->st, &filter, now, &cursor, see, seen));
	return seen->n;
}

static void a_list_finds_what_is_asked_for_newest_first(void **state)
{
	struct world *w = *state;
	struct new_message n;
	struct seen seen;

	put(w, 1, 2, SITE, FLOW, 0);
	put(w, 2, 1, SITE + 1, FLOW, 100);
	new_message(&n, 3, 1, SITE, FLOW, 200)->envelope.sender = SLICE("Other@Sub.Example.COM");
	assert_ok(ops_of(w->st)->put(w->st, &n.m));
	settle(w, 1, 1, STORE_HELD, 200, 0);
	settle(w, 2, 0, STORE_DELIVERED, 200, 0);
	commit(w);

	assert_int_equal(list(w, (struct store_filter){.state = -1}, 300, &seen), 3);
	assert_int_equal(seen.ids[0], 3);
	assert_int_equal(seen.ids[1], 1);
	assert_int_equal(seen.rcpts[1], 0);
	assert_int_equal(seen.rcpts[2], 1);
	assert_int_equal(list(w, (struct store_filter){.state = -2}, 300, &seen), 4);
	assert_int_equal(list(w, (struct store_filter){.state = STORE_HELD}, 300, &seen), 1);
	assert_int_equal(seen.rcpts[0], 1);
	assert_int_equal(list(w, (struct store_filter){.state = STORE_DELIVERED}, 300, &seen), 1);
	assert_int_equal(list(w, (struct store_filter){.state = -2, .id = 1}, 300, &seen), 2);
	assert_int_equal(list(w, (struct store_filter){.state = -1, .id = 2}, 300, &seen), 0);
	assert_int_equal(
		list(w, (struct store_filter){.state = -1, .sender = SLICE("other@sub.example.com")}, 300, &seen), 1);
	assert_int_equal(list(w, (struct store_filter){.state = -1, .sender = SLICE("@sub.example.com")}, 300, &seen),
			 1);
	assert_int_equal(list(w, (struct store_filter){.state = -1, .sender = SLICE("@example.com")}, 300, &seen), 2);
	assert_int_equal(list(w, (struct store_filter){.state = -1, .sender = SLICE("example.com")}, 300, &seen), 0);
	assert_int_equal(
		list(w, (struct store_filter){.state = -2, .recipient = SLICE("R1@s48879.example")}, 300, &seen), 1);
	assert_int_equal(list(w, (struct store_filter){.state = -2, .site = SITE + 1}, 300, &seen),
			 0); /* settled as SITE */
	assert_int_equal(list(w, (struct store_filter){.state = -1, .site = SITE}, 300, &seen), 3);
	assert_int_equal(list(w, (struct store_filter){.state = -1, .older_than = 101}, 300, &seen), 2);
	assert_int_equal(list(w, (struct store_filter){.state = -1, .older_than = 301}, 300, &seen), 0);
}

static void pages_of_a_list_meet_without_gap_or_overlap(void **state)
{
	struct world *w = *state;
	struct store_filter filter = {.state = -1};

	for (msg_id id = 1; id <= 10; id++)
		put(w, id, 7, SITE, FLOW, 0);
	for (size_t page = 1; page < 20; page++) {
		struct store_cursor cursor = {0};
		struct seen all = {.limit = 300};
		while (!cursor.end) {
			struct seen part = {.limit = page};
			assert_ok(ops_of(w->st)->list(w->st, &filter, 0, &cursor, see, &part));
			for (size_t i = 0; i < part.n; i++) {
				all.ids[all.n] = part.ids[i];
				all.rcpts[all.n++] = part.rcpts[i];
			}
		}
		assert_int_equal(all.n, 70);
		for (size_t i = 0; i < all.n; i++) {
			assert_int_equal(all.ids[i], 10 - i / 7);
			assert_int_equal(all.rcpts[i], i % 7);
		}
	}
	commit(w);
}

/* ---- purge, ids, clock */

static void what_was_settled_long_ago_is_forgotten(void **state)
{
	struct world *w = *state;
	struct store_message m;
	size_t n;

	for (msg_id id = 1; id <= 200; id++)
		put(w, id, 2, SITE, FLOW, 0);
	for (msg_id id = 1; id <= 150; id++) {
		settle(w, id, 0, STORE_DELIVERED, (queue_ms)(1000 + id), 0);
		settle(w, id, 1, STORE_FAILED, (queue_ms)(1000 + id), 0);
	}
	settle(w, 151, 0, STORE_DELIVERED, 1001, 0); /* its other recipient waits */
	commit(w);
	assert_ok(ops_of(w->st)->purge(w->st, 1001, 1000, &n));
	assert_int_equal(n, 0);
	assert_ok(ops_of(w->st)->purge(w->st, 1101, 70, &n));
	assert_int_equal(n, 70);
	assert_ok(ops_of(w->st)->purge(w->st, 1101, 1000, &n));
	assert_int_equal(n, 30);
	commit(w);
	restart(w);
	assert_counts(w, 99, 0, 0, 51, 50, 0);
	assert_result(ops_of(w->st)->load(w->st, 100, &w->arena, &m), STORE_NOT_FOUND);
	assert_result(ops_of(w->st)->history(w->st, 100, NULL, NULL), STORE_NOT_FOUND);
	assert_ok(ops_of(w->st)->load(w->st, 101, &w->arena, &m));
	assert_int_equal(message_of(w, 151).open, 1);
}

static void a_block_of_ids_is_given_once_whatever_becomes_of_the_transaction(void **state)
{
	struct world *w = *state;
	uint64_t last = 0, block;

	for (int life = 0; life < 6; life++) {
		for (int i = 0; i < 1800; i++) {
			if (i % 450 == 449)
				commit(w);
			if (i % 7 == 0)
				assert_ok(ops_of(w->st)->clock_save(w->st, SLICE("a transaction")));
			assert_ok(ops_of(w->st)->id_block(w->st, &block));
			assert_true(block > last);
			last = block;
		}
		if (life % 3 == 0)
			commit(w);
		if (life % 2) {
			assert_ok(ops_of(w->st)->reopen(w->st));
		} else {
			restart(w);
		}
	}
	assert_true(last < 1 << 20); /* blocks are not squandered */
}

static void the_clock_is_saved_with_the_commit(void **state)
{
	struct world *w = *state;
	struct buf out;

	buf_init(&out, 100);
	assert_ok(ops_of(w->st)->clock_load(w->st, &out));
	assert_int_equal(buf_len(&out), 0);
	assert_ok(ops_of(w->st)->clock_save(w->st, SLICE("\0tick")));
	commit(w);
	assert_ok(ops_of(w->st)->clock_save(w->st, SLICE("lost")));
	restart(w);
	assert_ok(ops_of(w->st)->clock_load(w->st, &out));
	assert_true(slice_eq(buf_slice(&out), SLICE("\0tick")));
	buf_free(&out);
}

/* ---- bodies in files */

static enum store_result put_file(struct world *w, msg_id id, uint64_t size)
{
	struct new_message n;

	new_message(&n, id, 1, SITE, FLOW, 0);
	n.m.body = SLICE_NONE;
	n.m.body_in_file = true;
	n.m.size = size;
	n.m.digest = spool_digest(id, SLICE("large"));
	return ops_of(w->st)->put(w->st, &n.m);
}

static bool file_is_there(struct world *w, msg_id id)
{
	struct file *f;
	enum store_result result = store_spool_open(place->fs(w->at), id, &f);

	if (result == STORE_OK)
		f->ops->close(f);
	assert_true(result == STORE_OK || result == STORE_NOT_FOUND);
	return result == STORE_OK;
}

static void a_body_in_a_file_lives_as_long_as_its_message(void **state)
{
	struct world *w = *state;
	struct buf body;

	buf_init(&body, 100);
	spool_write(place->fs(w->at), 7, SLICE("large"));
	assert_ok(put_file(w, 7, 5));
	commit(w);
	restart(w);
	assert_true(message_of(w, 7).body_in_file);
	assert_true(message_of(w, 7).digest.known);
	assert_int_equal(message_of(w, 7).digest.value, spool_digest(7, SLICE("large")).value);
	assert_true(file_is_there(w, 7));
	assert_result(ops_of(w->st)->body(w->st, 7, &body), STORE_NOT_FOUND);
	settle(w, 7, 0, STORE_DELIVERED, 1, 0);
	assert_true(file_is_there(w, 7)); /* until that is committed */
	commit(w);
	assert_false(file_is_there(w, 7));
	buf_free(&body);
}

static void a_file_that_is_not_what_was_said_is_refused(void **state)
{
	struct world *w = *state;

	assert_result(put_file(w, 7, 5), STORE_NOT_FOUND);
	spool_write(place->fs(w->at), 7, SLICE("larger"));
	assert_result(put_file(w, 7, 5), STORE_CORRUPT);
	assert_false(file_is_there(w, 7));
	spool_write(place->fs(w->at), 8, SLICE("large"));
	assert_ok(put_file(w, 8, 5));
	assert_result(put_file(w, 8, 5), STORE_EXISTS);
	commit(w);
	assert_true(file_is_there(w, 8)); /* it is the first one's */
	assert_counts(w, 1, 0, 0, 0, 0, 0);
}

static void files_that_no_message_names_are_removed_at_the_next_start(void **state)
{
	struct world *w = *state;

	for (msg_id id = 1; id <= 3; id++)
		spool_write(place->fs(w->at), id << 8, SLICE("large"));
	assert_ok(put_file(w, 1 << 8, 5));
	commit(w);
	assert_ok(put_file(w, 2 << 8, 5));
	assert_ok(ops_of(w->st)->reopen(w->st));
	assert_false(file_is_there(w, 2 << 8)); /* went with its transaction */
	assert_true(file_is_there(w, 3 << 8));  /* somebody may still be writing it */
	restart(w);
	assert_true(file_is_there(w, 1 << 8));
	assert_false(file_is_there(w, 3 << 8));
}

#define SUITE_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int store_suite_run(const char *name, const struct store_place *where)
{
	const struct CMUnitTest tests[] = {
		SUITE_TEST(a_message_comes_back_exactly_as_it_was_put),
		SUITE_TEST(an_empty_body_is_a_body),
		SUITE_TEST(what_is_not_there_is_not_found),
		SUITE_TEST(what_does_not_fit_the_arena_or_the_buffer_is_no_memory),
		SUITE_TEST(what_was_not_committed_never_was),
		SUITE_TEST(an_id_is_taken_once),
		SUITE_TEST(below_the_reserve_only_reports_and_outcomes_are_taken),
		SUITE_TEST(an_attempt_that_is_deferred_leaves_its_story),
		SUITE_TEST(the_last_recipient_takes_the_body_away),
		SUITE_TEST(what_is_held_is_not_due_until_it_is_released),
		SUITE_TEST(what_comes_held_is_not_due_until_it_is_released),
		SUITE_TEST(a_report_and_its_cause_stand_and_fall_together),
		SUITE_TEST(claims_give_what_is_due_in_order_and_once),
		SUITE_TEST(a_flow_has_its_share_and_no_more_in_one_call),
		SUITE_TEST(many_flows_of_one_site_do_not_delay_another_site),
		SUITE_TEST(a_site_that_stands_alone_gets_all_that_is_asked_for),
		SUITE_TEST(every_flow_of_a_site_has_its_turn),
		SUITE_TEST(nobody_is_forgotten_however_claims_and_outcomes_mix),
		SUITE_TEST(what_is_put_claimed_is_ours_until_we_settle_it),
		SUITE_TEST(what_a_dead_owner_had_claimed_waits_again_with_a_note),
		SUITE_TEST(a_large_window_is_recovered_in_portions),
		SUITE_TEST(a_list_finds_what_is_asked_for_newest_first),
		SUITE_TEST(pages_of_a_list_meet_without_gap_or_overlap),
		SUITE_TEST(what_was_settled_long_ago_is_forgotten),
		SUITE_TEST(a_block_of_ids_is_given_once_whatever_becomes_of_the_transaction),
		SUITE_TEST(the_clock_is_saved_with_the_commit),
		SUITE_TEST(a_body_in_a_file_lives_as_long_as_its_message),
		SUITE_TEST(a_file_that_is_not_what_was_said_is_refused),
		SUITE_TEST(files_that_no_message_names_are_removed_at_the_next_start),
	};

	place = where;
	return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}
