/*
 * The load: sessions that send the same message again and again.
 *
 *	GREETING ─220─► HELLO ─250─► READY ─a message is due─► ENVELOPE ─354─► DOT ─reply─► READY
 *	                                │ had its share           └─ refused ─► RESET ─250─► READY
 *	                                └──► QUIT ──► closed, and opened anew while messages are left
 *
 * TLS is put under it before GREETING, or behind the first HELLO, by STARTTLS. Where handshakes are what is measured a
 * connection stands for a message, and is decided when the first reply under TLS has come: with it are the tickets by
 * which the next one is resumed.
 *
 * With pipelining MAIL, RCPT and DATA go out at once, and each of their replies is awaited; those of the next message,
 * if it is due and no session is free, follow the last dot (RFC 2920 3.1), as a relay's do. A message is decided when
 * it was accepted, refused, or lost with its connection; the run ends when all are decided.
 */
#include "cli/bench.h"

#include "base/buf.h"
#include "base/heap.h"
#include "net/conn.h"
#include "net/host.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define LINE_MAX_OCTETS 600
#define TICK            1 /* ms between looks at what is due */
#define REPORT_EACH     SECOND
#define FAILURES_MAX    100 /* connections in a row that could not be used */

enum state { CLOSED, CONNECTING, GREETING, HELLO, STARTTLS, READY, ENVELOPE, DOT, RESET, QUIT };

struct run;

struct session {
	struct run *run;
	struct conn_attempt *attempt;
	struct conn *conn;
	enum state state;
	uint64_t sent;    /* messages over this connection */
	uint64_t number;  /* of the message under way */
	uint64_t rcpt;    /* the next to be named, without pipelining */
	uint64_t pending; /* replies to the envelope that are awaited */
	bool refused;     /* part of the envelope was */
	bool followed;    /* the next envelope is out behind the message */
	bool secured;
	int64_t due_us;   /* open loop: of the message under way */
	int64_t next_due_us; /* of the one that follows it */
	int64_t dot_us;
	int64_t shake_us;
	mono_ms heard;
	char line[LINE_MAX_OCTETS];
	size_t line_n;
	struct session *next; /* in the list of those that are ready */
};

struct run {
	const struct bench_load *load;
	struct bench_result *result;
	struct loop *loop;
	struct loop_timer *timer;
	struct tls_client *client; /* NULL: no TLS */
	struct session *sessions;
	struct session *ready;
	struct buf envelope; /* MAIL, RCPT, DATA, as one */
	struct buf message;  /* with its last dot */
	size_t due_at;       /* the digits in it that say when it was due */
	uint64_t begun, decided;
	uint64_t failures; /* in a row */
	int64_t start_us;
	mono_ms reported;
	uint64_t reported_count;
	bool broken; /* no memory */
};

static void connect_session(struct session *s);

/* ---- what is sent ------------------------------------------------------------------------------------------------ */

/* The n-th recipient of a message. */
static void add_rcpt(const struct run *r, struct buf *out, uint64_t message, uint64_t n)
{
	const struct bench_load *load = r->load;
	size_t local_n = slice_find(load->rcpt, '@');

	buf_add_lit(out, "RCPT TO:<");
	if (n > 0)
		buf_add_u64(out, n);
	buf_add(out, slice_head(load->rcpt, local_n));
	if (load->domains) {
		buf_add_char(out, '@');
		buf_add_u64(out, (message * load->rcpts + n) % load->domains);
		buf_add_char(out, '.');
		local_n++;
	}
	buf_add(out, slice_skip(load->rcpt, local_n));
	buf_add_lit(out, ">\r\n");
}

static void compose_envelope(struct run *r, uint64_t message)
{
	buf_reset(&r->envelope);
	buf_printf(&r->envelope, "MAIL FROM:<%.*s>\r\n", SLICE_ARGS(r->load->sender));
	for (uint64_t n = 0; n < r->load->rcpts; n++)
		add_rcpt(r, &r->envelope, message, n);
	buf_add_lit(&r->envelope, "DATA\r\n");
}

static bool compose(struct run *r)
{
	/* Any end of it is a line: no dot, which could be the end of the message. */
	static const char line[] = "The quick brown fox jumps over the lazy dog, and so does this line of text\r\n";
	const struct bench_load *load = r->load;
	struct buf *m = &r->message;

	buf_init(&r->envelope, load->rcpts * 400 + 1000);
	buf_init(m, load->size + 2000);
	compose_envelope(r, 0);
	buf_printf(m,
		   "From: <%.*s>\r\nTo: <%.*s>\r\nSubject: postrider bench\r\nDate: Sat, 01 Nov 2025 10:00:00 +0000\r\n"
		   "Message-ID: <%016llx@bench.invalid>\r\n" BENCH_DUE,
		   SLICE_ARGS(load->sender), SLICE_ARGS(load->rcpt), (unsigned long long)host_random());
	r->due_at = buf_len(m);
	buf_printf(m, "%0*d\r\n\r\n", BENCH_DUE_DIGITS, 0);
	while (buf_len(m) + 3 <= load->size) {
		size_t left = (size_t)load->size - buf_len(m), n = left < sizeof line - 1 ? left : sizeof line - 1;
		buf_add(m, slice_of(line + sizeof line - 1 - n, n));
	}
	buf_add_lit(m, ".\r\n");
	return !r->envelope.failed && !m->failed;
}

static void write_due(struct run *r, int64_t due_us)
{
	char text[BENCH_DUE_DIGITS + 1];

	snprintf(text, sizeof text, "%0*lld", BENCH_DUE_DIGITS, (long long)due_us);
	memcpy(r->message.p + r->due_at, text, BENCH_DUE_DIGITS);
}

static void send_text(struct session *s, struct slice text)
{
	if (s->conn && !conn_write(s->conn, text))
		s->run->broken = true;
}

/* ---- messages ------------------------------------------------------------------------------------------------------
 */

static int64_t due_of(const struct run *r, uint64_t n)
{
	return r->start_us + (int64_t)(n * 1000000 / r->load->rate);
}

/* Whether another message may begin now. */
static bool is_due(const struct run *r, int64_t now_us)
{
	if (r->begun == r->load->messages)
		return false;
	return r->load->rate == 0 || due_of(r, r->begun) <= now_us;
}

static void send_envelope(struct session *s)
{
	struct run *r = s->run;

	if (r->load->domains)
		compose_envelope(r, s->number);
	send_text(s, buf_slice(&r->envelope));
}

static void begin_message(struct session *s, int64_t now_us)
{
	struct run *r = s->run;

	s->refused = false;
	s->rcpt = 0;
	s->state = ENVELOPE;
	if (s->followed) {
		s->followed = false;
		s->due_us = s->next_due_us;
		s->pending = r->load->rcpts + 2;
		return;
	}
	s->due_us = r->load->rate ? due_of(r, r->begun) : now_us;
	s->number = r->begun++;
	s->sent++;
	if (r->load->pipelining) {
		s->pending = r->load->rcpts + 2;
		send_envelope(s);
		return;
	}
	s->pending = 1;
	struct slice all = buf_slice(&r->envelope);
	send_text(s, slice_head(all, slice_find(all, '\n') + 1));
}

/* What it is for a server to have the next envelope before it has answered: no more than a line that it reads later. */
static void follow_message(struct session *s)
{
	struct run *r = s->run;

	/* One that waits for nothing is better off with a session that has nothing to do. */
	if (!r->load->pipelining || r->ready || s->sent == r->load->per_session || !is_due(r, s->dot_us))
		return;
	s->followed = true;
	s->next_due_us = r->load->rate ? due_of(r, r->begun) : s->dot_us;
	s->number = r->begun++;
	s->sent++;
	send_envelope(s);
}

static void decide(struct session *s, uint64_t *which)
{
	struct run *r = s->run;

	++*which;
	r->decided++;
	if (r->decided == r->load->messages) {
		r->result->took_us = host_mono_us() - r->start_us;
		loop_stop(r->loop);
	}
}

static void become_ready(struct session *s)
{
	struct run *r = s->run;
	int64_t now_us = host_mono_us();

	s->state = READY;
	r->failures = 0;
	if (r->load->handshakes) {
		s->state = QUIT;
		send_text(s, SLICE("QUIT\r\n"));
		decide(s, &r->result->accepted);
	} else if (s->followed) {
		begin_message(s, now_us);
	} else if (r->begun == r->load->messages || s->sent == r->load->per_session) {
		s->state = QUIT;
		send_text(s, SLICE("QUIT\r\n"));
	} else if (is_due(r, now_us)) {
		begin_message(s, now_us);
	} else {
		s->next = r->ready;
		r->ready = s;
	}
}

static void begin_due(struct run *r)
{
	int64_t now_us = host_mono_us();

	while (r->ready && is_due(r, now_us)) {
		struct session *s = r->ready;
		r->ready = s->next;
		begin_message(s, now_us);
	}
	/* With nothing left to begin, those that wait say goodbye. */
	while (r->ready && r->begun == r->load->messages) {
		struct session *s = r->ready;
		r->ready = s->next;
		s->state = QUIT;
		send_text(s, SLICE("QUIT\r\n"));
	}
}

/* ---- connections ---------------------------------------------------------------------------------------------------
 */

static void unready(struct session *s)
{
	struct session **at = &s->run->ready;

	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
}

/* The connection is over; another follows while messages are left for it. */
static void close_session(struct session *s, const char *trouble)
{
	struct run *r = s->run;
	enum state was = s->state;

	conn_close(s->conn);
	s->conn = NULL;
	s->state = CLOSED;
	if (was == READY)
		unready(s);
	if (s->followed)
		r->begun--;
	s->followed = false;
	if (was == QUIT)
		trouble = NULL;
	if (trouble) {
		r->result->failed++;
		r->failures++;
		snprintf(r->result->trouble, sizeof r->result->trouble, "%s", trouble);
	}
	if (was == ENVELOPE || was == DOT || was == RESET || (r->load->handshakes && was != QUIT))
		decide(s, was == RESET ? &r->result->refused : &r->result->lost);
	if (r->failures >= FAILURES_MAX + r->load->sessions)
		loop_stop(r->loop);
	else if (r->begun < r->load->messages)
		connect_session(s);
}

static void refuse(struct session *s, struct slice line)
{
	struct bench_result *result = s->run->result;

	snprintf(result->reply, sizeof result->reply, "%.*s", SLICE_ARGS(slice_head(line, sizeof result->reply - 1)));
	s->refused = true;
}

/* One reply to the envelope; the last one is DATA's. */
static void on_envelope(struct session *s, char first, struct slice line)
{
	struct run *r = s->run;

	if (first != '2' && first != '3')
		refuse(s, line);
	s->pending--;
	if (!r->load->pipelining && !s->refused && first == '2') {
		struct buf rcpt;
		buf_init(&rcpt, 1000);
		if (s->rcpt < r->load->rcpts)
			add_rcpt(r, &rcpt, s->number, s->rcpt++);
		else
			buf_add_lit(&rcpt, "DATA\r\n");
		send_text(s, buf_slice(&rcpt));
		buf_free(&rcpt);
		s->pending = 1;
	}
	if (s->pending > 0)
		return;
	if (first == '3') {
		write_due(r, s->due_us);
		send_text(s, buf_slice(&r->message));
		s->dot_us = host_mono_us();
		s->state = DOT;
		follow_message(s);
		return;
	}
	s->state = RESET;
	send_text(s, SLICE("RSET\r\n"));
}

static void on_answer(struct session *s, char first, struct slice line)
{
	struct run *r = s->run;
	int64_t now_us = host_mono_us();

	if (first != '2')
		refuse(s, line);
	if (!s->refused) {
		bench_histogram_add(&r->result->answer, now_us - s->dot_us);
		bench_histogram_add(&r->result->late, now_us - s->due_us);
		r->result->octets += buf_len(&r->message) - 3;
	}
	s->state = READY;
	decide(s, s->refused ? &r->result->refused : &r->result->accepted);
	become_ready(s);
}

/* Verifies nobody: what is measured is the server's work. False: it cannot begin. */
static bool begin_tls(struct session *s)
{
	struct run *r = s->run;
	char peer[40] = "bench";

	if (r->load->fresh)
		snprintf(peer, sizeof peer, "bench %llu", (unsigned long long)r->result->connections);
	struct tls_aim aim = {.name = SLICE("bench.invalid"), .peer = slice_from_cstr(peer)};
	s->shake_us = host_mono_us();
	return conn_connect_tls(s->conn, r->client, &aim);
}

static void say_hello(struct session *s)
{
	s->state = HELLO;
	send_text(s, SLICE("EHLO bench.invalid\r\n"));
}

static void on_hello(struct session *s)
{
	if (s->run->load->tls != BENCH_STARTTLS || s->secured) {
		become_ready(s);
		return;
	}
	s->state = STARTTLS;
	send_text(s, SLICE("STARTTLS\r\n"));
}

static void on_secured(void *arg)
{
	struct session *s = arg;
	struct bench_result *result = s->run->result;
	struct tls_facts f = {.version = "", .cipher = ""};

	conn_tls_facts(s->conn, &f);
	s->secured = true;
	s->heard = loop_mono(s->run->loop);
	result->handshakes++;
	result->resumed += f.resumed;
	bench_histogram_add(&result->shake, host_mono_us() - s->shake_us);
	snprintf(result->secured, sizeof result->secured, "%s %s", f.version, f.cipher);
	if (s->state == STARTTLS)
		say_hello(s);
}

/* A whole reply, by its last line. False: the connection was closed. */
static bool on_reply(struct session *s, struct slice line)
{
	char first = line.p[0];

	switch (s->state) {
	case GREETING:
		if (first != '2')
			break;
		if (s->secured && s->run->load->handshakes)
			become_ready(s);
		else
			say_hello(s);
		return true;
	case HELLO:
		if (first != '2')
			break;
		on_hello(s);
		return true;
	case STARTTLS:
		if (first != '2')
			break;
		if (begin_tls(s))
			return true;
		close_session(s, "TLS cannot begin");
		return false;
	case ENVELOPE:
		on_envelope(s, first, line);
		return true;
	case DOT:
		on_answer(s, first, line);
		return true;
	case RESET:
		s->state = READY;
		decide(s, &s->run->result->refused);
		become_ready(s);
		return true;
	default:
		break;
	}
	char text[LINE_MAX_OCTETS];
	snprintf(text, sizeof text, "%.*s", SLICE_ARGS(slice_head(line, sizeof text - 1)));
	close_session(s, text);
	return false;
}

static size_t on_input(void *arg, struct slice in)
{
	struct session *s = arg;
	struct slice rest = in;

	s->heard = loop_mono(s->run->loop);
	while (rest.n > 0) {
		size_t n = slice_find(rest, '\n');
		struct slice part = slice_head(rest, n);
		if (s->line_n + part.n > sizeof s->line) {
			close_session(s, "the server's line is too long");
			return in.n;
		}
		memcpy(s->line + s->line_n, part.p, part.n);
		s->line_n += part.n;
		if (n == rest.n)
			break;
		rest = slice_skip(rest, n + 1);
		struct slice line = slice_trim(slice_of(s->line, s->line_n));
		s->line_n = 0;
		bool more = line.n > 3 && line.p[3] == '-';
		if (line.n < 3) {
			close_session(s, "the server says what is no reply");
			return in.n;
		}
		if (!more && !on_reply(s, line))
			return in.n;
	}
	return in.n;
}

static void on_closed(void *arg, const char *why)
{
	close_session(arg, why ? why : "the server closed the connection");
}

static void on_connected(void *arg, int fd, int error)
{
	static const struct conn_handler handler = {on_input, NULL, on_closed, on_secured, NULL};
	struct session *s = arg;

	s->attempt = NULL;
	if (error) {
		close_session(s, strerror(error));
		return;
	}
	s->run->result->connections++;
	s->conn = conn_new(s->run->loop, fd, &handler, s);
	if (!s->conn) {
		s->run->broken = true;
		loop_stop(s->run->loop);
		return;
	}
	s->state = GREETING;
	if (s->run->load->tls == BENCH_IMPLICIT && !begin_tls(s))
		close_session(s, "TLS cannot begin");
}

static void connect_session(struct session *s)
{
	struct run *r = s->run;

	s->sent = 0;
	s->line_n = 0;
	s->secured = false;
	r->begun += r->load->handshakes;
	s->state = CONNECTING;
	s->heard = loop_mono(r->loop);
	s->attempt = conn_connect(r->loop, &r->load->server, r->load->patience, on_connected, s);
	if (!s->attempt) {
		r->broken = true;
		loop_stop(r->loop);
	}
}

/* ---- the run -------------------------------------------------------------------------------------------------------
 */

static void report(struct run *r)
{
	mono_ms now = loop_mono(r->loop);

	if (!r->load->progress || now - r->reported < REPORT_EACH)
		return;
	fprintf(stderr, "%llu of %llu, %.0f/s, dot to reply p50 %.1f ms, p99 %.1f ms\n", (unsigned long long)r->decided,
		(unsigned long long)r->load->messages,
		(double)(r->decided - r->reported_count) * 1e3 / (double)(now - r->reported),
		(double)bench_histogram_at(&r->result->answer, 500) / 1e3,
		(double)bench_histogram_at(&r->result->answer, 990) / 1e3);
	r->reported = now;
	r->reported_count = r->decided;
}

static void give_up_silent(struct run *r)
{
	mono_ms now = loop_mono(r->loop);

	for (uint64_t i = 0; i < r->load->sessions; i++) {
		struct session *s = &r->sessions[i];
		if (s->conn && s->state != READY && now - s->heard > r->load->patience)
			close_session(s, "the server says nothing");
	}
}

static void on_tick(void *arg)
{
	struct run *r = arg;
	mono_ms now = loop_mono(r->loop);

	begin_due(r);
	if (now - r->reported >= REPORT_EACH)
		give_up_silent(r);
	report(r);
	if (!r->load->progress && now - r->reported >= REPORT_EACH)
		r->reported = now;
	loop_timer_set(r->timer, now + (r->load->rate ? TICK : REPORT_EACH / 10));
}

static void end_sessions(struct run *r)
{
	for (uint64_t i = 0; i < r->load->sessions; i++) {
		conn_attempt_cancel(r->sessions[i].attempt);
		conn_close(r->sessions[i].conn);
	}
}

static void free_run(struct run *r)
{
	tls_client_unref(r->client);
	loop_timer_free(r->timer);
	loop_free(r->loop);
	heap_free(r->sessions);
	buf_free(&r->envelope);
	buf_free(&r->message);
}

bool bench_load(const struct bench_load *load, struct bench_result *ret)
{
	struct run r = {.load = load, .result = ret};

	assert(load->sessions >= 1 && load->sessions <= BENCH_SESSIONS_MAX);
	assert(load->messages >= 1 && load->messages <= BENCH_MESSAGES_MAX);
	assert(load->rcpts >= 1 && load->rcpts <= BENCH_RCPTS_MAX);
	assert(load->size <= BENCH_SIZE_MAX);
	assert(load->tls || (!load->fresh && !load->handshakes));
	*ret = (struct bench_result){0};
	r.loop = loop_new();
	r.timer = r.loop ? loop_timer_new(r.loop, on_tick, &r) : NULL;
	r.sessions = heap_array(load->sessions, sizeof *r.sessions);
	r.client = load->tls ? tls_client_new(NULL, NULL) : NULL;
	if (!r.timer || !r.sessions || (load->tls && !r.client) || !compose(&r)) {
		free_run(&r);
		return false;
	}
	r.start_us = host_mono_us();
	r.reported = loop_mono(r.loop);
	for (uint64_t i = 0; i < load->sessions && i < load->messages; i++) {
		r.sessions[i].run = &r;
		connect_session(&r.sessions[i]);
	}
	on_tick(&r);
	loop_run(r.loop);
	if (!ret->took_us)
		ret->took_us = host_mono_us() - r.start_us;
	end_sessions(&r);
	free_run(&r);
	return !r.broken;
}

void bench_raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
}
