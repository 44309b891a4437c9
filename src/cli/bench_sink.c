/*
 * The sink: an SMTP server that takes everything and keeps nothing. With a certificate it offers STARTTLS, and signs
 * its handshakes itself.
 */
#include "cli/bench.h"

#include "base/heap.h"
#include "net/conn.h"
#include "net/credential.h"
#include "net/host.h"
#include "net/socket.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define LINGER       SECOND
#define REPORT_EACH  SECOND
#define FAREWELL     200 /* ms for the last replies to be read */
#define COMMAND_KEPT 4   /* octets of a command that matter */

struct sink;

struct client {
	struct sink *sink;
	struct conn *conn;
	bool in_data;
	bool starting, secured; /* TLS: it begins once our 220 has gone out; it is there */
	bool begins;                /* nothing of the message was seen yet */
	unsigned seen;              /* octets of CR LF . CR LF at the end of what came; the message begins with two */
	char command[COMMAND_KEPT]; /* its first octets, in capitals */
	size_t command_n;
	uint64_t rcpts;
	int64_t due_us; /* of the message under way; 0: it does not say */
	struct client *prev, *next;
};

struct sink {
	const struct bench_sink *config;
	struct bench_sunk *result;
	struct loop *loop;
	struct loop_timer *timer;
	struct listener *listener;
	struct credential *credential; /* NULL: no TLS */
	struct tls_server *tls;
	struct client *clients;
	int64_t first_us;
	bool ending;
	mono_ms reported;
	uint64_t reported_count;
};

static void free_client(struct client *c)
{
	if (c->prev)
		c->prev->next = c->next;
	else
		c->sink->clients = c->next;
	if (c->next)
		c->next->prev = c->prev;
	heap_free(c);
}

static void count_message(struct client *c)
{
	struct sink *k = c->sink;
	struct bench_sunk *r = k->result;

	r->messages++;
	r->rcpts += c->rcpts;
	c->rcpts = 0;
	int64_t now_us = host_mono_us();
	if (!r->first_us)
		r->first_us = now_us;
	if (c->due_us > 0 && c->due_us <= now_us)
		bench_histogram_add(&r->way, now_us - c->due_us);
	if (!k->ending)
		r->took_us = now_us - k->first_us;
	if ((k->config->messages && r->messages >= k->config->messages) ||
	    (k->config->rcpts && r->rcpts >= k->config->rcpts)) {
		if (k->config->enough) {
			k->config->enough(k->config->arg, r);
			*r = (struct bench_sunk){0};
			k->first_us = now_us;
			k->reported_count = 0;
			return;
		}
		k->ending = true;
		loop_timer_set(k->timer, loop_mono(k->loop) + FAREWELL);
	}
}

/* The field stands in what comes first of a message, which is all or most of it; else the message has no time. */
static void note_due(struct client *c, struct slice in)
{
	struct slice rest = slice_skip(in, slice_search(in, SLICE("\r\n" BENCH_DUE)));
	uint64_t due;

	c->due_us = 0;
	rest = slice_head(slice_skip(rest, sizeof BENCH_DUE - 1 + 2), BENCH_DUE_DIGITS);
	if (rest.n == BENCH_DUE_DIGITS && slice_u64(rest, INT64_MAX, &due))
		c->due_us = (int64_t)due;
}

/* The octets up to and with the end of the message; *ret_end: that was its end. */
static size_t take_data(struct client *c, struct slice in, bool *ret_end)
{
	static const char end[] = "\r\n.\r\n";

	*ret_end = false;
	for (size_t i = 0; i < in.n; i++) {
		if (c->seen == 0) {
			size_t n = slice_find(slice_skip(in, i), '\r');
			i += n;
			if (i >= in.n)
				break;
		}
		c->seen = in.p[i] == end[c->seen] ? c->seen + 1 : in.p[i] == '\r';
		if (c->seen == 5) {
			*ret_end = true;
			return i + 1;
		}
	}
	return in.n;
}

/* False: the connection is over. */
static bool on_command(struct client *c)
{
	struct slice verb = slice_of(c->command, c->command_n);

	c->command_n = 0;
	if (slice_eq(verb, SLICE("EHLO"))) {
		conn_write(c->conn, SLICE("250-sink.invalid\r\n250-PIPELINING\r\n250-8BITMIME\r\n"));
		if (c->sink->tls && !c->secured)
			conn_write(c->conn, SLICE("250-STARTTLS\r\n"));
		return conn_write(c->conn, SLICE("250 SMTPUTF8\r\n"));
	}
	if (slice_eq(verb, SLICE("STAR")) && c->sink->tls && !c->secured) {
		conn_write(c->conn, SLICE("220 2.0.0 Go on\r\n"));
		c->starting = true;
		return true;
	}
	if (slice_eq(verb, SLICE("QUIT"))) {
		conn_write(c->conn, SLICE("221 2.0.0 Bye\r\n"));
		conn_finish(c->conn, LINGER);
		free_client(c);
		return false;
	}
	if (slice_eq(verb, SLICE("DATA"))) {
		c->in_data = c->begins = true;
		c->due_us = 0;
		c->seen = 2;
		return conn_write(c->conn, SLICE("354 Go on\r\n"));
	}
	if (slice_eq(verb, SLICE("RCPT")))
		c->rcpts++;
	else if (slice_eq(verb, SLICE("MAIL")) || slice_eq(verb, SLICE("RSET")))
		c->rcpts = 0;
	return conn_write(c->conn, SLICE("250 2.0.0 Ok\r\n"));
}

/* One line of a command, or part of it. */
static size_t take_command(struct client *c, struct slice in, bool *ret_end)
{
	size_t n = slice_find(in, '\n');

	for (size_t i = 0; i < n && c->command_n < COMMAND_KEPT; i++)
		c->command[c->command_n++] = ascii_upper(in.p[i]);
	*ret_end = n < in.n;
	return *ret_end ? n + 1 : n;
}

static void on_closed(void *arg, const char *why)
{
	struct client *c = arg;

	(void)why;
	conn_close(c->conn);
	free_client(c);
}

static size_t on_input(void *arg, struct slice in)
{
	struct client *c = arg;
	struct slice rest = in;

	while (rest.n > 0) {
		bool end;
		if (c->starting) {
			on_closed(c, NULL);
			return in.n;
		}
		if (c->in_data && c->begins)
			note_due(c, rest);
		c->begins = false;
		size_t n = c->in_data ? take_data(c, rest, &end) : take_command(c, rest, &end);
		if (c->in_data)
			c->sink->result->octets += n;
		rest = slice_skip(rest, n);
		if (!end)
			continue;
		if (c->in_data) {
			c->in_data = false;
			count_message(c);
			conn_write(c->conn, SLICE("250 2.0.0 Taken\r\n"));
		} else if (!on_command(c)) {
			return in.n;
		}
	}
	return in.n;
}

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

static void on_drained(void *arg)
{
	struct client *c = arg;

	if (!c->starting)
		return;
	c->starting = false;
	if (!conn_start_tls(c->conn, c->sink->tls, SLICE("sink")))
		on_closed(c, NULL);
}

static void on_sign(void *arg, const struct tls_request *request)
{
	struct client *c = arg;
	uint8_t signature[TLS_SIGNATURE_MAX];
	size_t n = 0;

	if (!credential_sign(c->sink->credential, request, signature, &n))
		n = 0;
	conn_signed(c->conn, slice_of((const char *)signature, n));
}

static void on_secured(void *arg)
{
	struct client *c = arg;
	struct tls_facts f = {.resumed = false};

	conn_tls_facts(c->conn, &f);
	c->secured = true;
	c->command_n = 0;
	c->sink->result->handshakes++;
	c->sink->result->resumed += f.resumed;
}

static bool make_tls(struct sink *k, char why[BENCH_WHY_MAX])
{
	struct tls_tickets tickets = {.lifetime = HOUR};
	const char *wrong = "there is no randomness";

	k->credential = credential_load(k->config->certificate, k->config->key, why);
	if (!k->credential)
		return false;
	k->tls = tls_server_new(credential_chain(k->credential), 1, &wrong);
	if (k->tls && tls_tickets_renew(&tickets)) {
		tls_server_set_tickets(k->tls, &tickets);
		return true;
	}
	snprintf(why, BENCH_WHY_MAX, "%s", wrong);
	return false;
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

static void on_accepted(void *arg, int fd, const struct net_address *from)
{
	static const struct conn_handler handler = {on_input, on_drained, on_closed, on_secured, on_sign};
	struct sink *k = arg;
	struct client *c = heap_new(struct client);

	(void)from;
	if (!c)
		return;
	*c = (struct client){.sink = k, .next = k->clients};
	c->conn = conn_new(k->loop, fd, &handler, c);
	if (!c->conn) {
		heap_free(c);
		return;
	}
	if (k->clients)
		k->clients->prev = c;
	k->clients = c;
	if (k->result->connections++ == 0)
		k->first_us = host_mono_us();
	conn_write(c->conn, SLICE("220 sink.invalid ESMTP\r\n"));
}

static void on_timer(void *arg)
{
	struct sink *k = arg;
	mono_ms now = loop_mono(k->loop);

	if (k->ending) {
		loop_stop(k->loop);
		return;
	}
	if (k->config->progress && k->result->messages != k->reported_count)
		fprintf(stderr, "%llu messages, %llu recipients, %.0f messages/s\n",
			(unsigned long long)k->result->messages, (unsigned long long)k->result->rcpts,
			(double)(k->result->messages - k->reported_count) * 1e3 / (double)(now - k->reported));
	k->reported = now;
	k->reported_count = k->result->messages;
	loop_timer_set(k->timer, now + REPORT_EACH);
}

static void on_signal(void *arg, int number)
{
	struct sink *k = arg;

	(void)number;
	loop_stop(k->loop);
}

static bool serve(struct sink *k, int fd)
{
	k->loop = loop_new();
	k->timer = k->loop ? loop_timer_new(k->loop, on_timer, k) : NULL;
	if (!k->timer) {
		errno = ENOMEM;
		return false;
	}
	k->listener = listener_new(k->loop, fd, SLICE("421 4.3.2 Too many connections\r\n"), on_accepted, k);
	if (!k->listener) {
		errno = ENOMEM;
		return false;
	}
	loop_on_signal(k->loop, SIGINT, on_signal, k);
	loop_on_signal(k->loop, SIGTERM, on_signal, k);
	k->reported = loop_mono(k->loop);
	loop_timer_set(k->timer, k->reported + REPORT_EACH);
	loop_run(k->loop);
	return true;
}

bool bench_sink(const struct bench_sink *sink, struct bench_sunk *ret, char why[BENCH_WHY_MAX])
{
	struct sink k = {.config = sink, .result = ret};
	bool served = false;

	*ret = (struct bench_sunk){0};
	if (!sink->certificate || make_tls(&k, why)) {
		int fd = socket_listen(&sink->at);
		served = fd >= 0 && serve(&k, fd);
		if (!served)
			snprintf(why, BENCH_WHY_MAX, "%s", strerror(errno));
	}
	while (k.clients)
		on_closed(k.clients, NULL);
	listener_free(k.listener);
	loop_timer_free(k.timer);
	loop_free(k.loop);
	tls_server_unref(k.tls);
	credential_unref(k.credential);
	return served;
}
