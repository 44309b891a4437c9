/*
 * Random walks of commands (B2, B3, B5): the engine against a short automaton written from the RFCs alone.
 *
 * After each step the classes of the replies, their number, and the envelope have to be the same on both sides.
 *
 *	test-smtp-server_walk [STEPS [SEED]]
 */
#include "test.h"

#include "server_desk.h"

#define SIZE_LIMIT 4000
/* clang-format off */
#define S(text) {(text), sizeof(text) - 1}
/* clang-format on */

/* ---- the reference ------------------------------------------------------------------------------------------------
 */

enum place { NEW, READY, OPEN, CHUNKS, FAILED };

struct model {
	bool lmtp, extended, utf8, binary, tried, bad;
	enum place place;
	size_t n, owed, octets;
	const char *sender, *rcpt[SMTP_RCPT_MIN];
	char replies[SMTP_RCPT_MIN + 2]; /* the first digit of each */
	size_t count;
};

enum flag {
	PARAM = 1,   /* has parameters: good after EHLO alone (RFC 5321 2.2.1, 4.1.1.11) */
	BAD = 2,     /* malformed, unknown, over a limit: 5yz whatever the owner thinks */
	EIGHT = 4,   /* an address outside ASCII (RFC 6531 3.4) */
	UTF8 = 8,    /* SMTPUTF8 */
	BINARY = 16, /* BODY=BINARYMIME (RFC 3030 3) */
};

struct path {
	const char *line, *address;
	unsigned flags;
	char owner; /* the class of the owner's reply */
};

/* clang-format off */
static const struct path mails[] = {
	{"MAIL FROM:<s@a.example>\r\n", "s@a.example", 0, '2'},
	{"mail from:<t@a.example> size=10 ret=full envid=x\r\n", "t@a.example", PARAM, '2'},
	{"MAIL FROM:<>\r\n", "", 0, '2'},
	{"MAIL FROM:<b@a.example> BODY=BINARYMIME\r\n", "b@a.example", PARAM | BINARY, '2'},
	{"MAIL FROM:<refused@a.example>\r\n", NULL, 0, '5'},
	{"MAIL FROM:<later@a.example>\r\n", NULL, 0, '4'},
	{"MAIL FROM:<spam@a.example>\r\n", "spam@a.example", 0, '2'},
	{"MAIL FROM:<busy@a.example>\r\n", "busy@a.example", 0, '2'},
	{"MAIL FROM:<\xc3\xa9@a.example> SMTPUTF8\r\n", "\xc3\xa9@a.example", PARAM | EIGHT | UTF8, '2'},
	{"MAIL FROM:<\xc3\xa9@a.example>\r\n", NULL, EIGHT, '2'},
	{"MAIL FROM:<s@a.example> SIZE=4001\r\n", NULL, PARAM | BAD, '2'},
	{"MAIL FROM:<s@a.example> X=1\r\n", NULL, PARAM | BAD, '2'},
	{"MAIL FROM:<s@a.example> RET=FULL RET=FULL\r\n", NULL, PARAM | BAD, '2'},
	{"MAIL FROM:<s@a.example\r\n", NULL, BAD, '2'},
	{"MAIL FROM s@a.example\r\n", NULL, BAD, '2'},
};
static const struct path rcpts[] = {
	{"RCPT TO:<r@example.com>\r\n", "r@example.com", 0, '2'},
	{"RCPT TO:<r@example.com>\r\n", "r@example.com", 0, '2'},
	{"rcpt to:<q@example.com> notify=never orcpt=rfc822;q@example.com\r\n", "q@example.com", PARAM, '2'},
	{"RCPT TO:<@x.example:route@example.com>\r\n", "route@example.com", 0, '2'},
	{"RCPT TO:<Postmaster>\r\n", "Postmaster", 0, '2'},
	{"RCPT TO:<forward@example.com>\r\n", "forward@example.com", 0, '2'},
	{"RCPT TO:<busy@example.com>\r\n", "busy@example.com", 0, '2'},
	{"RCPT TO:<spam@example.com>\r\n", "spam@example.com", 0, '2'},
	{"RCPT TO:<unknown@example.com>\r\n", NULL, 0, '5'},
	{"RCPT TO:<later@example.com>\r\n", NULL, 0, '4'},
	{"RCPT TO:<\xc3\xa9@example.com>\r\n", "\xc3\xa9@example.com", EIGHT, '2'},
	{"RCPT TO:<>\r\n", NULL, BAD, '2'},
	{"RCPT TO:<r@example.com> SIZE=1\r\n", NULL, PARAM | BAD, '2'},
	{"RCPT TO:<r@example.com> NOTIFY=NEVER,DELAY\r\n", NULL, PARAM | BAD, '2'},
};
static const struct content {
	struct slice octets;
	bool faulty; /* as text */
	bool far_too_big;
} contents[] = {
	{S(""), false, false},
	{S("A: b\r\n\r\nhi\r\n"), false, false},
	{S("RSET\r\n"), false, false},
	{S(".\r\n"), false, false},
	{S("x\r\n..\r\n.y\r\n"), false, false},
	{S("x\n.\nRSET\r\n"), true, false},
	{S("x\r.\r\r\nQUIT\r\n"), true, false},
	{S("@"), false, true}, /* stands for SIZE_LIMIT + 1 octets */
};
/* clang-format on */
#define COUNT(table) (sizeof(table) / sizeof *(table))

static void expect(struct model *m, char digit, size_t times)
{
	for (size_t i = 0; i < times; i++)
		m->replies[m->count++] = digit;
}

static void forget(struct model *m, enum place place)
{
	m->place = place;
	m->n = 0;
	m->sender = "";
	m->utf8 = m->binary = false;
}

static void model_helo(struct model *m, bool good, bool extended)
{
	expect(m, good ? '2' : '5', 1);
	if (!good)
		return;
	m->extended = extended;
	m->tried = false;
	forget(m, READY);
}

/* Whether the command reaches the owner; if not, it draws 5yz. */
static bool is_good(const struct model *m, const struct path *p, bool in_order)
{
	bool eight_ok = m->utf8 || p->flags & UTF8 || !(p->flags & EIGHT);

	return in_order && eight_ok && !(p->flags & BAD) && (m->extended || !(p->flags & PARAM));
}

static void model_mail(struct model *m, const struct path *p)
{
	bool good = is_good(m, p, m->place == READY);

	m->tried |= m->place == READY;
	expect(m, good ? p->owner : '5', 1);
	if (!good || p->owner != '2')
		return;
	m->place = OPEN;
	m->sender = p->address;
	m->utf8 = p->flags & UTF8;
	m->binary = p->flags & BINARY;
	m->octets = 0;
	m->bad = false;
}

static void model_rcpt(struct model *m, const struct path *p)
{
	bool good = is_good(m, p, m->place == OPEN), room = m->n < SMTP_RCPT_MIN;

	expect(m, !good ? '5' : !room ? '4' : p->owner, 1);
	if (good && room && p->owner == '2')
		m->rcpt[m->n++] = p->address;
}

static void model_end(struct model *m)
{
	size_t times = m->lmtp ? m->owed : 1;

	m->tried = false;
	if (m->bad)
		expect(m, '5', times);
	for (size_t i = 0; i < times && !m->bad; i++) {
		const char *who = m->lmtp ? m->rcpt[i] : m->sender;
		expect(m, strncmp(who, "spam", 4) == 0 ? '5' : strncmp(who, "busy", 4) == 0 ? '4' : '2', 1);
	}
	forget(m, READY);
}

/* True when 354 follows. */
static bool model_data(struct model *m)
{
	bool good = m->place == OPEN && m->n > 0 && !m->binary;

	expect(m, good ? '3' : '5', 1);
	if (good)
		m->owed = m->n;
	return good;
}

static void model_refused_chunk(struct model *m, bool last)
{
	size_t times = 1;

	if (m->lmtp && last && m->place != NEW)
		times = m->place == OPEN ? m->n : m->place == READY ? !m->tried : m->owed;
	expect(m, '5', times);
	if (last && m->place != NEW)
		m->tried = false;
	if (m->place == NEW || m->place == READY)
		return;
	if (m->place == OPEN)
		m->owed = m->n;
	forget(m, last ? READY : FAILED);
}

static void model_chunk(struct model *m, size_t size, bool faulty, bool last)
{
	bool in_order = m->place == CHUNKS || (m->place == OPEN && m->n > 0);

	if (!in_order || size > SIZE_LIMIT - m->octets) {
		model_refused_chunk(m, last);
		return;
	}
	if (m->place == OPEN)
		m->owed = m->n;
	m->place = CHUNKS;
	m->octets += size;
	m->bad |= faulty && !m->binary;
	if (last) {
		model_end(m);
		return;
	}
	expect(m, '2', 1);
	if (m->bad) {
		bool binary = m->binary;
		forget(m, CHUNKS);
		m->binary = binary;
	}
}

static void model_rset(struct model *m)
{
	expect(m, '2', 1);
	m->tried = false;
	forget(m, m->place == NEW ? NEW : READY);
}

/* ---- both ----------------------------------------------------------------------------------------------------------
 */

struct walk {
	struct desk d;
	struct model m;
	uint64_t random;
	uint64_t messages;
};

static uint32_t draw(struct walk *w, uint32_t below)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return (uint32_t)((w->random >> 32) * below >> 32);
}

/* Sends in random pieces. */
static void send(struct walk *w, struct slice in)
{
	while (in.n && !w->d.closed) {
		size_t n = draw(w, 3) ? in.n : 1 + draw(w, (uint32_t)in.n);
		char *copy = test_exact_copy(slice_head(in, n));
		assert_int_equal(desk_feed(&w->d, slice_of(copy, n)), n);
		free(copy);
		in = slice_skip(in, n);
	}
}

static void send_text(struct walk *w, const char *text)
{
	send(w, slice_from_cstr(text));
}

static void compare(struct walk *w)
{
	struct smtpcodes_reply reply;
	const struct mail_envelope *e = smtp_server_envelope(w->d.s);
	size_t n = 0;

	desk_flush(&w->d);
	for (struct slice out = buf_slice(&w->d.out); out.n; out = slice_skip(out, reply.octets)) {
		assert_int_equal(smtpcodes_reply_parse(out.p, out.n, SMTPCODES_STRICT, &reply), SMTPCODES_OK);
		assert_true(n < w->m.count);
		assert_int_equal(reply.code / 100 + '0', w->m.replies[n]);
		n++;
	}
	assert_int_equal(n, w->m.count);
	assert_slice(e->sender, w->m.sender);
	assert_int_equal(e->rcpt_count, w->m.n);
	for (size_t i = 0; i < e->rcpt_count; i++)
		assert_slice(e->rcpt[i].address, w->m.rcpt[i]);
	w->m.count = 0;
	buf_reset(&w->d.out);
	buf_reset(&w->d.log);
}

static void begin(struct walk *w)
{
	bool lmtp = draw(w, 3) == 0;

	desk_init(&w->d);
	w->d.quiet = true;
	w->d.config.lmtp = lmtp;
	w->d.config.size_max = SIZE_LIMIT;
	w->d.config.header_max = w->d.config.line_max = SIZE_LIMIT * 2;
	w->d.config.errors_max = w->d.config.idle_commands_max = w->d.config.messages_max = UINT32_MAX;
	desk_start(&w->d);
	w->m = (struct model){.lmtp = lmtp, .sender = ""};
	expect(&w->m, '2', 1);
	compare(w);
}

static struct slice content_octets(const struct content *c)
{
	static char big[SIZE_LIMIT + 1];

	memset(big, 'z', sizeof big);
	return c->far_too_big ? slice_of(big, sizeof big) : c->octets;
}

static void step_data(struct walk *w)
{
	const struct content *c = &contents[draw(w, COUNT(contents))];

	send_text(w, "DATA\r\n");
	bool go = model_data(&w->m);
	compare(w);
	if (!go)
		return;
	struct slice octets = content_octets(c);
	if (slice_starts(octets, SLICE("."))) /* would be the end */
		send_text(w, ".");
	send(w, octets);
	send_text(w, octets.n && !slice_ends(octets, SLICE("\r\n")) ? "\r\n.\r\n" : ".\r\n");
	w->m.bad = c->faulty || c->far_too_big;
	model_end(&w->m);
	w->messages++;
}

static void step_bdat(struct walk *w)
{
	const struct content *c = &contents[draw(w, COUNT(contents))];
	bool last = draw(w, 3) == 0;
	char line[60];
	struct slice octets = content_octets(c);

	snprintf(line, sizeof line, "BDAT %zu%s\r\n", octets.n, last ? " LAST" : "");
	send_text(w, line);
	send(w, octets);
	model_chunk(&w->m, octets.n, c->faulty, last);
	w->messages += last;
}

static void step_other(struct walk *w)
{
	static const struct {
		const char *line;
		char reply;
	} rows[] = {
		{"NOOP\r\n", '2'}, {"VRFY u\r\n", '2'},     {"EXPN l\r\n", '5'},        {"HELP\r\n", '2'},
		{"TURN\r\n", '5'}, {"XYZ\r\n", '5'},        {"RSET x\r\n", '5'},        {"DATA x\r\n", '5'},
		{"\r\n", '5'},     {"RSET\nRSET\r\n", '5'}, {"VRFY \xc3\xa9\r\n", '2'}, {"HELP nothing\r\n", '5'},
	};
	size_t i = draw(w, COUNT(rows));

	send_text(w, rows[i].line);
	expect(&w->m, rows[i].reply, 1);
}

static void step_helo(struct walk *w)
{
	static const struct {
		const char *line;
		bool good, extended, lmtp;
	} rows[] = {
		{"EHLO a.example\r\n", true, true, false}, {"HELO a.example\r\n", true, false, false},
		{"LHLO a.example\r\n", true, true, true},  {"EHLO refused.example\r\n", false, true, false},
		{"EHLO \r\n", false, true, false},         {"LHLO -\r\n", false, true, true},
	};
	size_t i = draw(w, COUNT(rows));

	send_text(w, rows[i].line);
	model_helo(&w->m, rows[i].good && rows[i].lmtp == w->m.lmtp, rows[i].extended);
}

static void step_bad_bdat(struct walk *w)
{
	send_text(w, draw(w, 2) ? "BDAT x\r\n" : "BDAT -5 LAST\r\n");
	/* How many octets would follow is unknown, so this is no chunk; but the message is spoiled. */
	expect(&w->m, '5', 1);
	if (w->m.place == OPEN)
		w->m.owed = w->m.n;
	if (w->m.place != NEW && w->m.place != READY)
		forget(&w->m, FAILED);
}

static void step(struct walk *w)
{
	/* Out of what would only draw 503, back to where it is interesting. */
	bool stuck = w->m.place == FAILED || w->m.place == NEW;
	uint32_t which = stuck && draw(w, 3) == 0 ? w->m.place == FAILED ? 80 : 85 : draw(w, 100);

	if (which < 20) {
		const struct path *p = &mails[draw(w, COUNT(mails))];
		send_text(w, p->line);
		model_mail(&w->m, p);
	} else if (which < 52) {
		const struct path *p = &rcpts[draw(w, COUNT(rcpts))];
		send_text(w, p->line);
		model_rcpt(&w->m, p);
	} else if (which < 62) {
		step_data(w);
	} else if (which < 78) {
		step_bdat(w);
	} else if (which < 80) {
		step_bad_bdat(w);
	} else if (which < 85) {
		send_text(w, "RSET\r\n");
		model_rset(&w->m);
	} else if (which < 91) {
		step_helo(w);
	} else {
		step_other(w);
	}
	compare(w);
}

static uint64_t steps = 300000, seed = 0x9e3779b97f4a7c15u;

static void B2_engine_and_automaton_agree_on_every_step(void **state)
{
	(void)state;
	struct walk w = {.random = seed};
	uint64_t ends = 0;

	begin(&w);
	for (uint64_t i = 0; i < steps; i++) {
		if (draw(&w, 1000) == 0) {
			ends += w.d.ends;
			if (draw(&w, 2))
				send_text(&w, "QUIT\r\n");
			else
				smtp_server_lost(w.d.s);
			desk_pull(&w.d);
			assert_true(w.d.closed);
			desk_free(&w.d);
			begin(&w);
		}
		step(&w);
	}
	ends += w.d.ends;
	desk_free(&w.d);
	print_message("%llu steps, %llu messages, %llu of them whole\n", (unsigned long long)steps,
		      (unsigned long long)w.messages, (unsigned long long)ends);
	assert_true(ends > steps / 200);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(B2_engine_and_automaton_agree_on_every_step)};

	if (argc > 1)
		steps = strtoull(argv[1], NULL, 10);
	if (argc > 2)
		seed = strtoull(argv[2], NULL, 10) | 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
