/*
 * Clients of the world: they hand in messages, and try again until they hear what became of them.
 */
#include "base/base64.h"
#include "sim/ledger.h"
#include "sim/machine.h"
#include "sim/peers.h"
#include "sim/users.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define EXPECTED_MAX  64
#define AUTH_PATIENCE (75 * SIM_SECOND)

enum expected {
	EXPECT_GREETING,
	EXPECT_EHLO,
	EXPECT_AUTH,
	EXPECT_MAIL,
	EXPECT_RCPT,
	EXPECT_DATA,
	EXPECT_CHUNK, /* not the last */
	EXPECT_END,
	EXPECT_RSET,
	EXPECT_JUNK,
	EXPECT_QUIT,
};

/* How a client logs in, and what has to come of it. */
enum login {
	LOGIN_NONE,
	LOGIN_GOOD,
	LOGIN_WRONG,    /* the password is */
	LOGIN_UNKNOWN,  /* there is no such user */
	LOGIN_DISABLED, /* the password is right */
};

enum auth_way {
	AUTH_PLAIN_AT_ONCE,
	AUTH_PLAIN,
	AUTH_LOGIN,
	AUTH_CANCELLED,
	AUTH_WAYS
};

/* A message to be handed in. */
struct task {
	struct letter *letter;
	size_t number;
	struct slice sender, rcpt[LETTER_RCPTS], octets;
	size_t count;
	unsigned tries;
	bool never;
	bool patient; /* it comes again until it is taken */
	bool plain;
	bool done;
	enum login login;
	const struct user *user;
};

struct client {
	struct task *task;
	struct sim_end *end;
	struct octets in, out;
	enum expected expected[EXPECTED_MAX];
	size_t first, n; /* of `expected`, a ring */
	size_t rcpts_answered;
	unsigned taken; /* recipients with a 250 */
	bool in_reply, over, pipelining, slow, chunks;
	bool end_sent; /* the end of the message may have gone out */
	bool waits;    /* a pause */
	enum auth_way way;
	unsigned auth_steps; /* responses that were sent */
	sim_us asked;        /* when the last of them was */
	bool logged_in;
};

static struct {
	size_t open; /* tasks that are not done */
	bool healed;
	bool log_in;
	uint64_t serial;
} clients;

static void try_task(void *arg, uint64_t number);

/* ---- what they write --------------------------------------------------------------------------------------------- */

static const char *const mailboxes[] = {"alice", "bob", "carol", "dave"};

static struct slice text(const char *format, ...) __attribute__((format(printf, 1, 2)));
static struct slice text(const char *format, ...)
{
	char room[200];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(room, sizeof room, format, args);
	va_end(args);
	char *p = sim_alloc((size_t)n + 1);
	memcpy(p, room, (size_t)n);
	return slice_of(p, (size_t)n);
}

static struct slice draw_rcpt(uint64_t serial, size_t i)
{
	static const char *const domains[] = {"one.example", "two.example", "lmtp.example"};
	static const char *const kinds[] = {"ok", "ok", "ok", "ok", "ok", "later", "no"};

	if (sim_chance(400000))
		return text("%s@local.example", mailboxes[(serial + i) % 4]);
	const char *kind = kinds[sim_below(7)], *domain = domains[sim_below(3)];
	return text("%s-%llu-%zu@%s", kind, (unsigned long long)serial, i, domain);
}

/* Who logs in sends as himself. */
static void draw_login(struct task *t)
{
	static const enum login logins[] = {LOGIN_NONE, LOGIN_NONE,  LOGIN_NONE,    LOGIN_GOOD,    LOGIN_GOOD,
					    LOGIN_GOOD, LOGIN_WRONG, LOGIN_UNKNOWN, LOGIN_DISABLED};

	if (!clients.log_in)
		return;
	t->login = logins[sim_below(sizeof logins / sizeof *logins)];
	t->user = user_number(t->login == LOGIN_DISABLED ? USERS - 1 : sim_below(USERS - 1));
	if (t->login == LOGIN_GOOD)
		t->sender = slice_from_cstr(t->user->name);
}

static struct slice draw_sender(uint64_t serial)
{
	uint64_t draw = sim_below(10);

	if (draw == 0)
		return text("%s", "");
	if (draw < 6)
		return text("%s@local.example", mailboxes[serial % 4]);
	return text("ok-s%llu@one.example", (unsigned long long)serial);
}

static size_t draw_size(void)
{
	uint64_t draw = sim_below(100);

	return draw < 70   ? sim_below(1500)
	       : draw < 88 ? sim_below(8000)
	       : draw < 97 ? sim_below(30000)
			   : sim_below(200000);
}

/* Lines with what lines may have: dots in front, none at all, as long as they may be. */
static void add_body(struct octets *o, size_t size, bool eight_bit)
{
	char line[1000];

	while (size > 0) {
		size_t n = sim_chance(50000) ? 998 : sim_below(78);
		if (n > size)
			n = size;
		for (size_t i = 0; i < n; i++)
			line[i] = (char)(eight_bit && sim_chance(20000) ? 0xe9 : 32 + (i * 7 + size) % 95);
		if (n > 0 && sim_chance(100000))
			line[0] = '.';
		octets_add(o, slice_of(line, n));
		octets_add(o, SLICE("\r\n"));
		size -= n > 0 ? n : 1;
	}
}

static struct slice write_octets(const struct task *t, uint64_t serial, bool eight_bit, size_t size)
{
	struct octets o = {0};
	char header[600];

	int n = snprintf(header, sizeof header,
			 "From: <%.*s>\r\nTo: <%.*s>\r\nDate: Sat, 21 Nov 2026 00:00:00 +0000\r\n"
			 "Message-ID: <%llu@client.example>\r\nX-Sim-Serial: %llu\r\nSubject: message %llu\r\n%s\r\n",
			 SLICE_ARGS(t->sender), SLICE_ARGS(t->rcpt[0]), (unsigned long long)serial,
			 (unsigned long long)serial, (unsigned long long)serial,
			 eight_bit ? "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
				     "Content-Transfer-Encoding: 8bit\r\n"
				   : "");
	octets_add(&o, slice_of(header, (size_t)n));
	add_body(&o, size, eight_bit);
	return octets_slice(&o);
}

static struct slice draw_octets(const struct task *t, uint64_t serial)
{
	bool eight_bit = sim_chance(150000);

	return write_octets(t, serial, eight_bit, draw_size());
}

static struct task *draw_task(void)
{
	struct task *t = sim_alloc(sizeof *t);
	uint64_t serial = ++clients.serial;

	t->count = sim_chance(600000) ? 1 : 1 + sim_below(LETTER_RCPTS);
	t->number = serial;
	t->sender = draw_sender(serial);
	draw_login(t);
	t->never = sim_chance(50000);
	for (size_t i = 0; i < t->count; i++) {
		t->rcpt[i] = draw_rcpt(serial, i);
		/* One address once: the queue would keep one of them. */
		for (size_t j = 0; j < i; j++)
			if (slice_eq(t->rcpt[i], t->rcpt[j])) {
				t->rcpt[i] = text("ok-%llu-%zu@two.example", (unsigned long long)serial, i);
				break;
			}
	}
	t->octets = draw_octets(t, serial);
	t->letter = ledger_letter(t->sender, t->rcpt, t->count, t->never, serial, t->octets);
	return t;
}

/* ---- talking ----------------------------------------------------------------------------------------------------- */

static void flush(struct client *c)
{
	if (c->end->closed || c->end->shut || c->waits)
		return;
	struct slice out = octets_slice(&c->out);
	if (c->slow)
		out = slice_head(out, 1 + sim_below(200));
	octets_take(&c->out, sim_end_send(c->end, out));
}

static void say(struct client *c, struct slice octets)
{
	octets_add(&c->out, octets);
}

static void expect(struct client *c, enum expected what)
{
	assert(c->n < EXPECTED_MAX);
	c->expected[(c->first + c->n++) % EXPECTED_MAX] = what;
}

static void ask(struct client *c, enum expected what, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void ask(struct client *c, enum expected what, const char *format, ...)
{
	char line[1100];
	va_list args;

	va_start(args, format);
	int n = vsnprintf(line, sizeof line - 2, format, args);
	va_end(args);
	sim_trace("client", "#%zu > %.*s", c->task->number, n, line);
	memcpy(line + n, "\r\n", 2);
	say(c, slice_of(line, (size_t)n + 2));
	expect(c, what);
}

static void go_on_slowly(void *arg, uint64_t number)
{
	struct client *c = arg;

	(void)number;
	if (c->end->closed)
		return;
	c->waits = false;
	flush(c);
	if (c->out.n > 0 && c->slow) {
		c->waits = true;
		sim_in(sim_between(SIM_MS, 300 * SIM_MS), go_on_slowly, c, 0);
	}
}

static void push(struct client *c)
{
	if (c->slow && c->out.n > 0 && !c->waits) {
		c->waits = true;
		sim_in(sim_between(SIM_MS, 300 * SIM_MS), go_on_slowly, c, 0);
	}
	flush(c);
}

/* The session is over, whatever it came to. */
static void hang_up(struct client *c, bool hard)
{
	struct task *t = c->task;

	if (c->over)
		return;
	c->over = true;
	if (c->end_sent)
		ledger_unheard(t->letter);
	c->end_sent = false;
	if (!c->end->closed) {
		if (hard)
			sim_end_reset(c->end);
		sim_end_close(c->end);
	}
	octets_free(&c->in);
	octets_free(&c->out);
	/* Most come again; some forget it. */
	if (!t->done && !t->patient && !clients.healed && t->tries > 8 && sim_chance(300000)) {
		t->done = true;
		clients.open--;
	}
	if (t->done) {
		sim_free((void *)(uintptr_t)t->octets.p);
		t->octets = SLICE_NONE;
		return;
	}
	sim_in(sim_between(100 * SIM_MS, clients.healed ? 5 * SIM_SECOND : 60 * SIM_SECOND), try_task, t, 0);
}

static void finish(struct client *c, bool good)
{
	if (good) {
		c->task->done = true;
		clients.open--;
	}
	c->end_sent = false;
	ask(c, EXPECT_QUIT, "QUIT");
	push(c);
}

static void leave(void *arg, uint64_t number)
{
	struct client *c = arg;

	(void)number;
	if (c->over)
		return;
	sim_count(COUNT_FAULT_CLIENT);
	sim_trace("client", "leaves");
	hang_up(c, sim_chance(500000));
}

/* The end of the message is on its way. */
static void end_said(struct client *c)
{
	c->end_sent = true;
	if (sim_chance(sim_plan.client_leaves))
		sim_in(sim_between(0, 500 * SIM_MS), leave, c, 0);
}

static void send_message(struct client *c)
{
	struct slice s = c->task->octets;

	while (s.n > 0) {
		struct slice line = slice_head(s, slice_find(s, '\n') + 1);
		if (line.p[0] == '.')
			say(c, SLICE("."));
		say(c, line);
		s = slice_skip(s, line.n);
	}
	say(c, SLICE(".\r\n"));
	sim_trace("client", "#%zu > the message of %zu octets, and the dot", c->task->number, c->task->octets.n);
	expect(c, EXPECT_END);
	end_said(c);
}

static void send_chunks(struct client *c)
{
	struct slice s = c->task->octets;

	while (s.n > 0 && c->n < EXPECTED_MAX / 2 && sim_chance(300000)) {
		struct slice piece = slice_head(s, 1 + sim_below(s.n));
		ask(c, EXPECT_CHUNK, "BDAT %zu", piece.n);
		say(c, piece);
		s = slice_skip(s, piece.n);
	}
	ask(c, EXPECT_END, "BDAT %zu LAST", s.n);
	say(c, s);
	end_said(c);
}

static void send_junk(struct client *c)
{
	static const char *const junk[] = {
		"NOOP",   "VRFY alice",   "EXPN x", "HELP",       "FOO BAR", "RCPT TO:<x@y.example>",
		"DATA x", "MAIL FROM:<a", "RSET x", "AUTH PLAIN", "\1\2\3"};

	if (!sim_chance(sim_plan.client_garbage))
		return;
	sim_count(COUNT_FAULT_CLIENT);
	ask(c, EXPECT_JUNK, "%s", junk[sim_below(11)]);
}

static void begin_mail(struct client *c)
{
	struct task *t = c->task;

	c->rcpts_answered = 0;
	c->taken = 0;
	send_junk(c);
	ask(c, EXPECT_MAIL, "MAIL FROM:<%.*s>%s", SLICE_ARGS(t->sender),
	    slice_is_ascii(t->octets) ? "" : " BODY=8BITMIME");
	if (!c->pipelining)
		return;
	for (size_t i = 0; i < t->count; i++)
		ask(c, EXPECT_RCPT, "RCPT TO:<%.*s>%s", SLICE_ARGS(t->rcpt[i]), t->never ? " NOTIFY=NEVER" : "");
	if (c->chunks)
		send_chunks(c);
	else
		ask(c, EXPECT_DATA, "DATA");
}

static void ask_rcpt(struct client *c)
{
	struct task *t = c->task;

	ask(c, EXPECT_RCPT, "RCPT TO:<%.*s>%s", SLICE_ARGS(t->rcpt[c->rcpts_answered]),
	    t->never ? " NOTIFY=NEVER" : "");
}

/* ---- logging in -------------------------------------------------------------------------------------------------- */

/* A line of the exchange, behind the command if there is one. */
static void ask_base64(struct client *c, const char *command, struct slice octets)
{
	char room[BASE64_LENGTH(200) + 1];
	struct buf line = {.p = room, .cap = sizeof room, .max = sizeof room};

	base64_encode(octets, &line);
	assert(!line.failed);
	ask(c, EXPECT_AUTH, "%s%.*s", command, SLICE_ARGS(buf_slice(&line)));
}

static struct slice login_of(const struct task *t)
{
	return t->login == LOGIN_UNKNOWN ? SLICE("nobody@local.example") : slice_from_cstr(t->user->name);
}

static struct slice password_of(const struct task *t)
{
	return t->login == LOGIN_WRONG ? SLICE("open sesame") : slice_from_cstr(t->user->password);
}

static void say_plain(struct client *c, const char *command)
{
	char room[200];
	int n = snprintf(room, sizeof room, "%c%.*s%c%.*s", '\0', SLICE_ARGS(login_of(c->task)), '\0',
			 SLICE_ARGS(password_of(c->task)));

	ask_base64(c, command, slice_of(room, (size_t)n));
}

static void begin_auth(struct client *c)
{
	c->way = (enum auth_way)sim_below(AUTH_WAYS);
	c->auth_steps = 0;
	c->asked = sim_now();
	if (c->way == AUTH_PLAIN_AT_ONCE)
		say_plain(c, "AUTH PLAIN ");
	else
		ask(c, EXPECT_AUTH, "AUTH %s", c->way == AUTH_PLAIN ? "PLAIN" : "LOGIN");
}

static void go_on_with_auth(struct client *c)
{
	unsigned step = c->auth_steps++;

	c->asked = sim_now();
	if (c->way == AUTH_PLAIN_AT_ONCE || (c->way == AUTH_PLAIN && step > 0) || step > 1)
		sim_fail("a client hears a challenge too many");
	else if (c->way == AUTH_PLAIN)
		say_plain(c, "");
	else if (step == 0)
		ask_base64(c, "", login_of(c->task));
	else if (c->way == AUTH_CANCELLED)
		ask(c, EXPECT_AUTH, "*");
	else
		ask_base64(c, "", password_of(c->task));
}

/* Whether the reply is one that this client may hear. 454: auth is away or busy, or there were too many attempts. */
static bool is_right_reply(const struct client *c, unsigned code)
{
	bool cancelled = c->way == AUTH_CANCELLED && c->auth_steps > 1;

	switch (code) {
	case 235:
		return c->task->login == LOGIN_GOOD && !cancelled;
	case 535:
		return c->task->login == LOGIN_WRONG || c->task->login == LOGIN_UNKNOWN;
	case 525:
		return c->task->login == LOGIN_DISABLED && !cancelled;
	case 501:
		return cancelled;
	default:
		return code / 100 == 4;
	}
}

/* Whatever becomes of auth, a session waits for it no longer than a minute. */
static void check_time(const struct client *c)
{
	if (!c->slow && sim_counts[COUNT_FAULT_STALL] == 0 && sim_now() - c->asked > AUTH_PATIENCE)
		sim_fail("AUTH is answered after %lld s", (long long)((sim_now() - c->asked) / SIM_SECOND));
}

/* Whether the server still has the connection, and has heard all. */
static bool is_heard(const struct client *c)
{
	return !c->slow && sim_counts[COUNT_FAULT_STALL] == 0 && c->out.n == 0 && !c->end->dead &&
	       !c->end->peer->closed && stream_owner(c->end->peer);
}

static void on_auth(struct client *c, unsigned code)
{
	if (code == 334) {
		go_on_with_auth(c);
		return;
	}
	check_time(c);
	if (!is_right_reply(c, code)) {
		sim_fail("AUTH of %.*s, %s, is answered with %u", SLICE_ARGS(login_of(c->task)),
			 c->task->login == LOGIN_GOOD     ? "whose password is right"
			 : c->task->login == LOGIN_WRONG  ? "whose password is wrong"
			 : c->task->login == LOGIN_UNKNOWN ? "who is unknown"
							   : "who is disabled",
			 code);
		return;
	}
	c->logged_in = code == 235;
	sim_count(c->logged_in ? COUNT_LOGINS : COUNT_LOGINS_REFUSED);
	/* Who meant it comes again; the others send as anybody does from here. */
	if (code / 100 == 4 && c->task->login == LOGIN_GOOD)
		finish(c, false);
	else
		begin_mail(c);
}

/* ---- replies ----------------------------------------------------------------------------------------------------- */

static void on_end(struct client *c, unsigned code, struct slice reply)
{
	size_t at = slice_search(reply, SLICE("accepted as "));
	msg_id id = 0;

	if (code == 250 && at < reply.n)
		msg_id_parse(slice_head(slice_skip(reply, at + 12), MSG_ID_TEXT), &id);
	if (code == 250 && id == 0) {
		sim_fail("a client is answered %.*s to its message", SLICE_ARGS(slice_trim(reply)));
	} else if (code == 250) {
		c->end_sent = false;
		ledger_accepted(c->task->letter, id, c->taken);
	} else {
		/* A commit that was reported as failed may turn out to be there. */
		if (code / 100 == 4)
			ledger_unheard(c->task->letter);
		sim_count(COUNT_REFUSED);
		c->end_sent = false;
	}
	finish(c, code / 100 == 2 || (code / 100 == 5 && code != 503));
}

static void on_rcpt(struct client *c, unsigned code)
{
	if (code == 250 || code == 251)
		c->taken |= 1u << c->rcpts_answered;
	c->rcpts_answered++;
	if (c->pipelining)
		return;
	if (c->rcpts_answered < c->task->count)
		ask_rcpt(c);
	else if (c->taken == 0)
		finish(c, false);
	else if (c->chunks)
		send_chunks(c);
	else
		ask(c, EXPECT_DATA, "DATA");
}

static void on_reply(struct client *c, enum expected what, unsigned code, struct slice reply)
{
	switch (what) {
	case EXPECT_GREETING:
		if (code != 220)
			finish(c, false);
		else
			ask(c, EXPECT_EHLO, "EHLO client.example");
		break;
	case EXPECT_EHLO:
		if (code != 250)
			finish(c, false);
		else if (c->task->login)
			begin_auth(c);
		else
			begin_mail(c);
		break;
	case EXPECT_AUTH:
		on_auth(c, code);
		break;
	case EXPECT_MAIL:
		if (c->logged_in && (code == 530 || code == 550 || code == 553))
			sim_fail("%s may not send as himself: %u", c->task->user->name, code);
		if (code != 250 && !c->pipelining)
			finish(c, false);
		else if (!c->pipelining)
			ask_rcpt(c);
		break;
	case EXPECT_RCPT:
		on_rcpt(c, code);
		break;
	case EXPECT_DATA:
		if (code == 354)
			send_message(c);
		else
			finish(c, false);
		break;
	case EXPECT_END:
		on_end(c, code, reply);
		break;
	case EXPECT_QUIT:
		hang_up(c, false);
		break;
	case EXPECT_CHUNK:
	case EXPECT_RSET:
	case EXPECT_JUNK:
		break;
	}
}

/* One whole reply, which may have several lines. False: not there yet. */
static bool next_reply(struct client *c)
{
	struct slice in = octets_slice(&c->in), last = SLICE_NONE;
	size_t n = 0;
	uint64_t code;

	do {
		struct slice rest = slice_skip(in, n);
		size_t at = slice_find(rest, '\n');
		if (at == rest.n)
			return false;
		last = slice_head(rest, at + 1);
		n += last.n;
	} while (last.n > 3 && last.p[3] == '-');
	if (last.n < 6 || !slice_u64(slice_head(last, 3), 599, &code)) {
		sim_fail("a client reads a reply that is none: %.*s", SLICE_ARGS(slice_trim(last)));
		return false;
	}
	if (c->n == 0 && code != 421)
		sim_fail("a client reads a reply to no command: %.*s", SLICE_ARGS(slice_trim(last)));
	char copy[600];
	size_t length = last.n < sizeof copy ? last.n : sizeof copy;
	memcpy(copy, last.p, length);
	octets_take(&c->in, n);
	if (c->n == 0 || code == 421) {
		hang_up(c, false);
		return false;
	}
	enum expected what = c->expected[c->first];
	sim_trace("client", "#%zu < %.*s", c->task->number, SLICE_ARGS(slice_trim(slice_of(copy, length))));
	c->first = (c->first + 1) % EXPECTED_MAX;
	c->n--;
	on_reply(c, what, (unsigned)code, slice_of(copy, length));
	return !c->over;
}

static void on_wake(void *arg)
{
	struct client *c = arg;
	struct sim_end *e = c->end;

	if (c->over)
		return;
	if (e->reset) {
		hang_up(c, false);
		return;
	}
	octets_add(&c->in, octets_slice(&e->in));
	sim_end_take(e, e->in.n);
	while (!c->over && next_reply(c))
		if (sim_chance(sim_plan.client_vanishes)) {
			sim_count(COUNT_FAULT_CLIENT);
			sim_trace("client", "vanishes");
			hang_up(c, sim_chance(500000));
			return;
		}
	if (c->over)
		return;
	if (e->eof) {
		hang_up(c, false);
		return;
	}
	push(c);
	if (c->out.n == 0 && c->end_sent && sim_chance(sim_plan.half_close)) {
		sim_count(COUNT_FAULT_CLIENT);
		sim_end_shut(e);
	}
}

/* RFC 5321 4.5.3.2: ten minutes are the longest that a client waits. */
static void lose_patience(void *arg, uint64_t number)
{
	struct client *c = arg;

	(void)number;
	if (c->over)
		return;
	sim_trace("client", "has waited long enough");
	if (c->n > 0 && c->expected[c->first] == EXPECT_AUTH && is_heard(c) && sim_now() - c->asked > 2 * AUTH_PATIENCE)
		sim_fail("AUTH is not answered");
	hang_up(c, false);
}

static void try_task(void *arg, uint64_t number)
{
	static const char *const addresses[] = {"198.51.100.1", "198.51.100.2", "198.51.100.77"};
	struct task *t = arg;

	(void)number;
	if (t->done)
		return;
	t->tries++;
	struct sim_end *end = sim_dial(machine_port(), addresses[sim_below(3)]);
	if (!end) {
		sim_in(sim_between(SIM_SECOND, 20 * SIM_SECOND), try_task, t, 0);
		return;
	}
	struct client *c = sim_alloc(sizeof *c);
	*c = (struct client){.task = t, .end = end};
	c->pipelining = sim_chance(600000);
	c->chunks = sim_chance(200000);
	c->slow = sim_chance(sim_plan.client_slow);
	if (t->plain)
		c->pipelining = c->chunks = false;
	sim_trace("client", "#%zu connects", t->number);
	expect(c, EXPECT_GREETING);
	end->wake = on_wake;
	end->arg = c;
	sim_in(900 * SIM_SECOND, lose_patience, c, 0);
}

void clients_log_in(void)
{
	clients.log_in = true;
}

void clients_start(size_t count, sim_us until)
{
	for (size_t i = 0; i < count; i++) {
		struct task *t = draw_task();
		sim_at(sim_between(0, until), try_task, t, 0);
	}
	clients.open = count;
}

static struct slice copy(struct slice s)
{
	return text("%.*s", SLICE_ARGS(s));
}

void clients_hand_in(const struct client_order *o)
{
	struct task *t = sim_alloc(sizeof *t);
	uint64_t serial = ++clients.serial;

	assert(o->count >= 1 && o->count <= LETTER_RCPTS);
	*t = (struct task){.number = serial, .sender = copy(o->sender), .count = o->count, .plain = o->plain};
	t->login = o->user ? LOGIN_GOOD : LOGIN_NONE;
	t->user = o->user;
	t->patient = true;
	for (size_t i = 0; i < o->count; i++)
		t->rcpt[i] = copy(o->rcpt[i]);
	t->octets = write_octets(t, serial, false, o->size);
	t->letter = ledger_letter(t->sender, t->rcpt, t->count, t->never, serial, t->octets);
	clients.open++;
	try_task(t, 0);
}

bool clients_are_done(void)
{
	return clients.open == 0;
}

void clients_heal(void)
{
	clients.healed = true;
}
