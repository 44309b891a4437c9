/*
 * Sessions that are only held: each takes its greeting and says nothing, or one octet in a while. What they say is a
 * command without end in sight, so the server has to keep each of them as it is.
 *
 * Connections are made a few at a time: more than the server's line of waiting ones would only be made to wait for the
 * kernel to try again. One that is lost is not made anew, but counted.
 */
#include "cli/bench.h"

#include "base/heap.h"
#include "net/conn.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define OPENING_MAX 100
#define TICK        5 /* ms between looks at who has to say something */

static const char words[] = "EHLO bench.invalid\r\n";

struct hold;

struct held {
	struct hold *hold;
	struct conn_attempt *attempt;
	struct conn *conn; /* NULL: not yet, or no more */
	bool greeted;
	unsigned said; /* of the words */
};

struct hold {
	const struct bench_hold *config;
	struct bench_held *result;
	struct loop *loop;
	struct loop_timer *timer;
	struct held *list;
	uint64_t begun;   /* connections, whatever became of them */
	uint64_t opening; /* of these: not greeted yet */
	uint64_t turns;   /* octets that were due so far, those of lost sessions with them */
	mono_ms since;    /* all are there */
	bool ready, broken;
};

static void open_more(struct hold *h);

static void lose(struct held *s, const char *why)
{
	struct hold *h = s->hold;

	conn_close(s->conn);
	s->conn = NULL;
	if (s->greeted)
		h->result->open--;
	else
		h->opening--;
	h->result->lost++;
	snprintf(h->result->trouble, sizeof h->result->trouble, "%s", why);
	open_more(h);
}

/* Replies to what was said are not looked at; only the first line says whether there is a session. */
static size_t on_input(void *arg, struct slice in)
{
	struct held *s = arg;

	if (s->greeted)
		return in.n;
	if (in.p[0] != '2') {
		char text[BENCH_WHY_MAX];
		snprintf(text, sizeof text, "%.*s", SLICE_ARGS(slice_head(in, slice_find(in, '\r'))));
		lose(s, text);
		return in.n;
	}
	s->greeted = true;
	s->hold->opening--;
	s->hold->result->open++;
	open_more(s->hold);
	return in.n;
}

static void on_closed(void *arg, const char *why)
{
	lose(arg, why ? why : "the server closed the connection");
}

static void on_connected(void *arg, int fd, int error)
{
	static const struct conn_handler handler = {on_input, NULL, on_closed, NULL, NULL};
	struct held *s = arg;

	s->attempt = NULL;
	if (!error)
		s->conn = conn_new(s->hold->loop, fd, &handler, s);
	if (!s->conn)
		lose(s, error ? strerror(error) : "no memory");
}

static void open_more(struct hold *h)
{
	while (h->opening < OPENING_MAX && h->begun < h->config->sessions && !h->broken) {
		struct held *s = &h->list[h->begun++];
		s->hold = h;
		h->opening++;
		s->attempt = conn_connect(h->loop, &h->config->server, h->config->patience, on_connected, s);
		if (!s->attempt) {
			h->broken = true;
			loop_stop(h->loop);
		}
	}
	if (h->opening > 0 || h->ready || h->broken)
		return;
	h->ready = true;
	h->since = loop_mono(h->loop);
	h->config->ready(h->config->arg, h->result);
	if (h->config->drip)
		loop_timer_set(h->timer, h->since + TICK);
}

/* Each has its turn once in the span, so that octets go out evenly. */
static void on_tick(void *arg)
{
	struct hold *h = arg;
	mono_ms now = loop_mono(h->loop);
	uint64_t due = (uint64_t)(now - h->since) * h->config->sessions / (uint64_t)h->config->drip;

	for (; h->turns < due; h->turns++) {
		struct held *s = &h->list[h->turns % h->config->sessions];
		if (!s->conn)
			continue;
		conn_write(s->conn, slice_of(words + s->said, 1));
		s->said = (s->said + 1) % (sizeof words - 1);
		h->result->octets++;
	}
	loop_timer_set(h->timer, now + TICK);
}

static void on_signal(void *arg, int number)
{
	struct hold *h = arg;

	(void)number;
	loop_stop(h->loop);
}

bool bench_hold(const struct bench_hold *config, struct bench_held *ret)
{
	struct hold h = {.config = config, .result = ret};

	assert(config->sessions >= 1 && config->sessions <= BENCH_SESSIONS_MAX);
	*ret = (struct bench_held){0};
	h.loop = loop_new();
	h.timer = h.loop ? loop_timer_new(h.loop, on_tick, &h) : NULL;
	h.list = heap_array(config->sessions, sizeof *h.list);
	if (!h.timer || !h.list) {
		h.broken = true;
	} else {
		loop_on_signal(h.loop, SIGINT, on_signal, &h);
		loop_on_signal(h.loop, SIGTERM, on_signal, &h);
		open_more(&h);
		loop_run(h.loop);
	}
	for (uint64_t i = 0; i < h.begun; i++) {
		conn_attempt_cancel(h.list[i].attempt);
		conn_close(h.list[i].conn);
	}
	loop_timer_free(h.timer);
	loop_free(h.loop);
	heap_free(h.list);
	return !h.broken;
}
