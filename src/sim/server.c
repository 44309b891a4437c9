/*
 * Servers of the world: SMTP and LMTP, as mail goes out to them.
 */
#include "base/buf.h"
#include "sim/ledger.h"
#include "sim/peers.h"
#include "sim/tls.h"

#include <stdio.h>
#include <string.h>

#define RCPTS_MAX 120

struct host {
	const char *name, *domain; /* the one that it takes mail for */
	bool lmtp, has_spare, with_all_below;
	enum smtp_client_tls tls; /* what the routes to it ask for; OFF: it has none */
	unsigned hopes;           /* offers of TLS of which nothing is known to have become yet */
};

struct visit {
	struct host *host;
	unsigned number; /* of the connection, for the trace */
	struct sim_end *end;
	struct octets in, out;
	uint64_t said; /* octets given to `out` */
	struct slice sender, rcpts[RCPTS_MAX];
	bool lasting[RCPTS_MAX]; /* of LMTP: taken at RCPT, refused at the end */
	size_t count;
	bool has_mail, in_data, busy, over, silent;
	bool eight_bit, chunking;
	struct octets message; /* chunks so far */
	uint64_t chunk;        /* octets of one that are still to come */
	bool chunk_last, in_chunk;
	struct sim_tls *tls; /* from STARTTLS on */
	enum sim_tls_way way;
	bool offered, refused, injected, has_hello, counted;
};

static void go_on(struct visit *v);

static void flush(struct visit *v)
{
	if (v->end->closed || v->end->shut)
		return;
	octets_take(&v->out, sim_end_send(v->end, octets_slice(&v->out)));
	if (v->over && v->out.n == 0)
		sim_end_close(v->end);
}

static void end_visit(struct visit *v, bool hard)
{
	if (v->end->closed)
		return;
	if (hard) {
		sim_end_reset(v->end);
		sim_end_close(v->end);
	}
	v->over = true;
	flush(v);
}

static bool is_secured(const struct visit *v)
{
	return v->tls && sim_tls_done(v->tls);
}

/* Octets of the network that so many become. */
static size_t wire_size(const struct visit *v, size_t n)
{
	return is_secured(v) ? sim_tls_size(n) : n;
}

struct saying {
	struct visit *visit;
	size_t n;
	char text[];
};

static void say_it(void *arg, uint64_t number)
{
	struct saying *s = arg;
	struct visit *v = s->visit;

	(void)number;
	v->busy = false;
	if (!v->end->closed && !v->silent) {
		sim_trace(v->host->name, "#%u > %.*s", v->number, SLICE_ARGS(slice_trim(slice_of(s->text, s->n))));
		if (is_secured(v))
			sim_tls_write(v->tls, slice_of(s->text, s->n), &v->out);
		else
			octets_add(&v->out, slice_of(s->text, s->n));
		flush(v);
		go_on(v);
	}
	sim_free(s);
}

/* Says it now or, from a slow server, later; what the client sent meanwhile waits. */
static void say(struct visit *v, const char *text)
{
	size_t n = strlen(text);
	struct saying *s = sim_alloc(sizeof *s + n + 1);

	s->visit = v;
	s->n = n;
	memcpy(s->text, text, n + 1);
	v->said += wire_size(v, n);
	v->busy = true;
	if (sim_chance(sim_plan.peer_slow)) {
		sim_us wait = sim_between(SIM_SECOND, 100 * SIM_SECOND);
		if (sim_chance(200000))
			wait = 700 * SIM_SECOND; /* beyond anybody's patience */
		sim_count(COUNT_FAULT_PEER);
		sim_trace(v->host->name, "takes %lld s to say: %.40s", (long long)(wait / SIM_SECOND), text);
		sim_in(wait, say_it, s, 0);
		return;
	}
	sim_in(sim_between(10, 3000), say_it, s, 0);
}

/* True: the server is gone, in one of the ways in which servers go. */
static bool vanishes(struct visit *v)
{
	if (!sim_chance(sim_plan.peer_vanishes))
		return false;
	sim_count(COUNT_FAULT_PEER);
	uint64_t how = sim_below(3);
	sim_trace(v->host->name, "%s",
		  how == 0   ? "says nothing any more"
		  : how == 1 ? "resets the connection"
			     : "hangs up");
	if (how == 0)
		v->silent = v->busy = true;
	else
		end_visit(v, how == 1);
	return true;
}

static void forget_mail(struct visit *v)
{
	for (size_t i = 0; i < v->count; i++)
		sim_free((void *)(uintptr_t)v->rcpts[i].p);
	sim_free((void *)(uintptr_t)v->sender.p);
	v->sender = SLICE_NONE;
	v->count = 0;
	v->has_mail = v->in_data = v->in_chunk = false;
	octets_free(&v->message);
}

static struct slice copy(struct slice s)
{
	char *p = sim_alloc(s.n + 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	return slice_of(p, s.n);
}

/* ---- what was ordered for a server ------------------------------------------------------------------------------- */

static struct order {
	const char *name, *verb, *reply;
	unsigned others;
	enum server_deed deed;
	struct order *next;
} *orders;

void servers_will(const char *name, const char *verb, unsigned others, enum server_deed deed, const char *reply)
{
	struct order *o = sim_alloc(sizeof *o);

	*o = (struct order){name, verb, reply, others, deed, orders};
	orders = o;
}

/* The order that is due; it is carried out now. */
static const struct order *take_order(const struct visit *v, enum server_deed deed, struct slice line)
{
	for (struct order **at = &orders; *at; at = &(*at)->next) {
		struct order *o = *at;
		if (o->deed != deed || strcmp(o->name, v->host->name) != 0 ||
		    (o->verb && !slice_istarts(line, slice_from_cstr(o->verb))))
			continue;
		if (o->others > 0) {
			o->others--;
			continue;
		}
		*at = o->next;
		return o;
	}
	return NULL;
}

static void refuse_all(const struct visit *v)
{
	for (size_t i = 0; i < v->count; i++)
		ledger_refused(v->rcpts[i]);
}

static bool hits(uint32_t rate)
{
	if (!sim_chance(rate))
		return false;
	sim_count(COUNT_FAULT_TLS);
	return true;
}

static bool puts_off(void)
{
	if (!sim_chance(sim_plan.peer_defers))
		return false;
	sim_count(COUNT_FAULT_PEER);
	return true;
}

/* Reports are not refused for good: nobody would be left to be told. */
static bool refuses(const struct visit *v)
{
	if (v->sender.n == 0 || !sim_chance(sim_plan.peer_refuses))
		return false;
	sim_count(COUNT_FAULT_PEER);
	return true;
}

/* ---- the end of a message ---------------------------------------------------------------------------------------- */

static void take_rcpt(struct visit *v, size_t i, struct slice message, uint64_t reply_ends)
{
	ledger_delivered(&(struct ledger_delivery){.sender = v->sender,
						   .rcpt = v->rcpts[i],
						   .message = message,
						   .lmtp = v->host->lmtp,
						   .end = v->end,
						   .reply_ends = reply_ends});
}

static void end_lmtp(struct visit *v, struct slice message)
{
	char text[RCPTS_MAX * 40] = "";
	size_t n = 0;

	for (size_t i = 0; i < v->count; i++) {
		const char *line = "250 2.0.0 saved\r\n";
		if (v->lasting[i] || refuses(v)) {
			line = "550 5.2.1 not here\r\n";
			ledger_refused(v->rcpts[i]);
		} else if (puts_off()) {
			line = "452 4.2.2 not now\r\n";
		}
		n += (size_t)snprintf(text + n, sizeof text - n, "%s", line);
		if (line[0] == '2')
			take_rcpt(v, i, message, v->said + n);
	}
	forget_mail(v);
	if (!vanishes(v))
		say(v, text);
}

static void end_smtp(struct visit *v, struct slice message)
{
	static const char taken[] = "250 2.0.0 taken over\r\n";

	if (puts_off()) {
		forget_mail(v);
		say(v, "451 4.3.0 not now\r\n");
		return;
	}
	if (refuses(v)) {
		refuse_all(v);
		forget_mail(v);
		say(v, "554 5.6.0 not this\r\n");
		return;
	}
	if (vanishes(v))
		return;
	for (size_t i = 0; i < v->count; i++)
		take_rcpt(v, i, message, v->said + wire_size(v, sizeof taken - 1));
	forget_mail(v);
	if (take_order(v, SERVER_BREAKS, SLICE_NONE)) {
		sim_trace(v->host->name, "#%u breaks before its 250 is sent", v->number);
		end_visit(v, true);
		return;
	}
	if (!vanishes(v))
		say(v, taken);
}

static void end_message(struct visit *v, struct slice message)
{
	sim_trace(v->host->name, "#%u < a message of %zu octets", v->number, message.n);
	if (v->host->lmtp)
		end_lmtp(v, message);
	else
		end_smtp(v, message);
}

static struct octets unstuffed(struct slice s)
{
	struct octets o = {0};

	while (s.n > 0) {
		struct slice line = slice_head(s, slice_find(s, '\n') + 1);
		octets_add(&o, slice_skip(line, line.p[0] == '.'));
		s = slice_skip(s, line.n);
	}
	return o;
}

static bool read_data(struct visit *v)
{
	struct slice in = octets_slice(&v->in);
	size_t at = slice_starts(in, SLICE(".\r\n")) ? 0 : slice_search(in, SLICE("\r\n.\r\n"));

	if (at == in.n)
		return false;
	size_t n = at == 0 ? 0 : at + 2;
	struct octets message = unstuffed(slice_head(in, n));
	octets_take(&v->in, n + 3);
	v->in_data = false;
	end_message(v, octets_slice(&message));
	octets_free(&message);
	return true;
}

static bool read_chunk(struct visit *v)
{
	size_t n = v->in.n < v->chunk ? v->in.n : (size_t)v->chunk;

	octets_add(&v->message, slice_head(octets_slice(&v->in), n));
	octets_take(&v->in, n);
	v->chunk -= n;
	if (v->chunk > 0)
		return false;
	v->in_chunk = false;
	if (!v->has_mail || v->count == 0) {
		say(v, "503 5.5.1 no recipients\r\n");
	} else if (v->chunk_last) {
		struct octets message = v->message;
		v->message = (struct octets){0};
		end_message(v, octets_slice(&message));
		octets_free(&message);
	} else {
		say(v, "250 2.0.0 go on\r\n");
	}
	return true;
}

/* ---- commands ---------------------------------------------------------------------------------------------------- */

static struct slice path_in(struct slice line)
{
	size_t from = slice_find(line, '<') + 1;

	line = slice_skip(line, from);
	return slice_head(line, slice_find(line, '>'));
}

static void on_ehlo(struct visit *v)
{
	char text[300];

	forget_mail(v);
	v->has_hello = true;
	v->offered = v->host->tls && !v->tls && !hits(sim_plan.tls_hidden);
	v->host->hopes += v->offered;
	v->eight_bit = sim_chance(800000);
	v->chunking = sim_chance(300000);
	bool pipelining = sim_chance(700000), dsn = sim_chance(300000), enhanced = sim_chance(800000);
	snprintf(text, sizeof text, "250-%s\r\n%s%s%s%s%s%s250 SIZE 50000000\r\n", v->host->name,
		 v->offered ? "250-STARTTLS\r\n" : "",
		 pipelining ? "250-PIPELINING\r\n" : "", v->eight_bit ? "250-8BITMIME\r\n" : "",
		 v->chunking ? "250-CHUNKING\r\n" : "", dsn ? "250-DSN\r\n" : "",
		 enhanced ? "250-ENHANCEDSTATUSCODES\r\n" : "");
	say(v, text);
}

static void on_starttls(struct visit *v)
{
	if (!v->offered || v->tls)
		sim_fail("%s is asked for TLS that it does not offer", v->host->name);
	v->has_hello = false;
	if (hits(sim_plan.tls_refuses)) {
		v->refused = v->has_hello = true;
		say(v, "454 4.7.0 not now\r\n");
		return;
	}
	v->injected = hits(sim_plan.tls_injects);
	if (hits(sim_plan.tls_breaks))
		v->way = SIM_TLS_REFUSES + (enum sim_tls_way)sim_below(SIM_TLS_WAYS - SIM_TLS_REFUSES);
	else if (hits(sim_plan.tls_unverified))
		v->way = SIM_TLS_UNVERIFIED;
	v->tls = sim_tls_server(v->way);
	say(v, v->injected ? "220 go\r\n250 2.0.0 put in by somebody\r\n" : "220 go\r\n");
}

/* Mail comes only as the route to this host has it. */
static void check_tls(struct visit *v)
{
	if (!v->has_hello)
		sim_fail("%s is sent MAIL without EHLO", v->host->name);
	if (v->injected)
		sim_fail("%s is sent mail though its answer to STARTTLS was no good", v->host->name);
	if (v->host->tls == SMTP_CLIENT_TLS_VERIFIED && v->way == SIM_TLS_UNVERIFIED)
		sim_fail("%s is sent mail without being who it should be", v->host->name);
	if (v->tls)
		return;
	if (v->host->tls >= SMTP_CLIENT_TLS_REQUIRED)
		sim_fail("%s is sent mail in the clear", v->host->name);
	if (!v->offered || v->counted)
		return;
	v->counted = true;
	if (v->refused) { /* and it was heard */
		v->host->hopes--;
		return;
	}
	/* The offer before this one came to nothing. */
	if (v->host->hopes < 2)
		sim_fail("%s is sent mail in the clear though it offers TLS", v->host->name);
	v->host->hopes -= 2;
}

static void on_mail(struct visit *v, struct slice line)
{
	check_tls(v);
	if (v->has_mail) {
		say(v, "503 5.5.1 one message after the other\r\n");
		return;
	}
	if (puts_off()) {
		say(v, "451 4.3.2 not now\r\n");
		return;
	}
	v->sender = copy(path_in(line));
	v->has_mail = true;
	say(v, "250 2.1.0 ok\r\n");
}

static bool takes_mail_for(const struct host *h, struct slice domain)
{
	struct slice own = slice_from_cstr(h->domain);

	if (slice_eq(domain, own))
		return true;
	return h->with_all_below && slice_iends(domain, own) && domain.p[domain.n - own.n - 1] == '.';
}

static void on_rcpt(struct visit *v, struct slice line)
{
	struct slice rcpt = path_in(line);
	bool never = slice_starts(rcpt, SLICE("no-")), later = slice_starts(rcpt, SLICE("later-"));

	if (!takes_mail_for(v->host, slice_skip(rcpt, slice_rfind(rcpt, '@') + 1)))
		sim_fail("%s is sent mail for %.*s", v->host->name, SLICE_ARGS(rcpt));
	if (!v->has_mail || v->count == RCPTS_MAX) {
		say(v, "452 4.5.3 no more\r\n");
	} else if ((later && sim_plan.peer_defers) || puts_off()) {
		say(v, "450 4.2.0 come back\r\n");
	} else if ((never && !(v->host->lmtp && sim_chance(500000))) || refuses(v)) {
		ledger_refused(rcpt);
		say(v, "550 5.1.1 nobody of that name\r\n");
	} else {
		v->lasting[v->count] = never;
		v->rcpts[v->count++] = copy(rcpt);
		say(v, "250 2.1.5 ok\r\n");
	}
}

static void on_data(struct visit *v)
{
	if (v->count == 0) {
		say(v, "503 5.5.1 no recipients\r\n");
	} else if (puts_off()) {
		say(v, "451 4.3.0 not now\r\n");
	} else {
		v->in_data = true;
		say(v, "354 go\r\n");
	}
}

static void on_bdat(struct visit *v, struct slice line)
{
	struct slice rest = slice_trim(slice_skip(line, 5));
	struct slice size = slice_head(rest, slice_find(rest, ' '));
	uint64_t n = 0;

	slice_u64(size, 100 << 20, &n);
	v->chunk = n;
	v->chunk_last = slice_iends(rest, SLICE("LAST"));
	v->in_chunk = true;
}

static void on_line(struct visit *v, struct slice line)
{
	sim_trace(v->host->name, "#%u < %.*s", v->number, SLICE_ARGS(line));
	/* The client has heard something under TLS. */
	if (v->tls && !v->counted && v->has_hello) {
		v->host->hopes--;
		v->counted = true;
		sim_count(COUNT_SECURED);
	}
	const struct order *o = take_order(v, SERVER_SAYS, line);
	if (o) {
		say(v, o->reply);
		return;
	}
	if (vanishes(v))
		return;
	/* Not behind BDAT: a 250 there is a promise, not garbage. */
	if (!slice_istarts(line, SLICE("BDAT")) && sim_chance(sim_plan.peer_garbage)) {
		static const char *const garbage[] = {"4",
						      "hello there\r\n",
						      "250-\r\n250-\r\n250 \r\n",
						      "999 9.9.9 x\r\n",
						      "421 4.3.2 closing\r\n",
						      "2500 x\r\n",
						      "45\r\n"};
		sim_count(COUNT_FAULT_PEER);
		const char *what = garbage[sim_below(7)];
		sim_trace(v->host->name, "answers with garbage");
		say(v, what);
		v->over = true;
		return;
	}
	if (slice_istarts(line, SLICE("EHLO")) || slice_istarts(line, SLICE("LHLO"))) {
		on_ehlo(v);
	} else if (slice_istarts(line, SLICE("HELO"))) {
		forget_mail(v);
		v->has_hello = true;
		say(v, "250 hello\r\n");
	} else if (slice_ieq(line, SLICE("STARTTLS"))) {
		on_starttls(v);
	} else if (slice_istarts(line, SLICE("MAIL FROM:"))) {
		on_mail(v, line);
	} else if (slice_istarts(line, SLICE("RCPT TO:"))) {
		on_rcpt(v, line);
	} else if (slice_istarts(line, SLICE("DATA"))) {
		on_data(v);
	} else if (slice_istarts(line, SLICE("BDAT "))) {
		on_bdat(v, line);
	} else if (slice_istarts(line, SLICE("RSET"))) {
		forget_mail(v);
		say(v, "250 2.0.0 ok\r\n");
	} else if (slice_istarts(line, SLICE("QUIT"))) {
		say(v, "221 2.0.0 bye\r\n");
		v->over = true;
	} else {
		sim_fail("%s is sent the command %.*s", v->host->name, SLICE_ARGS(slice_head(line, 60)));
	}
}

static bool read_line(struct visit *v)
{
	struct slice in = octets_slice(&v->in);
	size_t at = slice_find(in, '\n');
	char line[2100];

	if (at == in.n)
		return false;
	size_t n = at < sizeof line ? at : sizeof line;
	memcpy(line, in.p, n);
	octets_take(&v->in, at + 1);
	on_line(v, slice_trim(slice_of(line, n)));
	return true;
}

static void go_on(struct visit *v)
{
	while (!v->busy && !v->over && !v->end->closed)
		if (!(v->in_data ? read_data(v) : v->in_chunk ? read_chunk(v) : read_line(v)))
			break;
	if (v->over && !v->busy)
		flush(v);
	if (v->end->eof && !v->busy && !v->end->closed)
		end_visit(v, false);
}

/* Octets of the network, and what there is to say to them as such. False: the handshake has failed. */
static bool read_secured(struct visit *v, struct slice in)
{
	size_t before = v->out.n;
	bool was = is_secured(v);
	enum tls_result result = sim_tls_read(v->tls, in, &v->in, &v->out);

	v->said += v->out.n - before;
	if (!was && is_secured(v))
		sim_trace(v->host->name, "#%u is under TLS", v->number);
	if (result != TLS_FAILED)
		return true;
	sim_trace(v->host->name, "#%u TLS fails: %s", v->number, sim_tls_why(v->tls));
	if (v->way == SIM_TLS_SILENT)
		v->silent = v->busy = true;
	else
		end_visit(v, false);
	return false;
}

static void on_wake(void *arg)
{
	struct visit *v = arg;
	struct sim_end *e = v->end;

	if (e->reset) {
		sim_trace(v->host->name, "#%u is broken", v->number);
		sim_end_close(e);
		return;
	}
	struct octets came = {0};
	octets_add(&came, octets_slice(&e->in));
	sim_end_take(e, e->in.n);
	bool good = !v->tls || v->over || read_secured(v, octets_slice(&came));
	if (!v->tls)
		octets_add(&v->in, octets_slice(&came));
	octets_free(&came);
	if (!good)
		return;
	flush(v);
	if (!e->closed)
		go_on(v);
}

/* No session comes to be. What all hosts refuse for good would fail: only one that has a spare does so. */
static bool is_closed(struct visit *v)
{
	if (!sim_chance(sim_plan.peer_door))
		return false;
	sim_count(COUNT_FAULT_PEER);
	uint64_t how = sim_below(4);
	sim_trace(v->host->name, "#%u lets nobody in", v->number);
	v->over = true;
	if (how == 0)
		end_visit(v, sim_chance(500000));
	else if (how == 1 && v->host->has_spare)
		say(v, "554 5.3.2 no mail here\r\n");
	else
		say(v, "421 4.3.2 not now\r\n");
	return true;
}

static void serve(void *arg, struct sim_end *end)
{
	struct visit *v = sim_alloc(sizeof *v);

	static unsigned number;

	*v = (struct visit){.host = arg, .end = end, .number = ++number};
	end->wake = on_wake;
	end->arg = v;
	const struct order *o = take_order(v, SERVER_LETS_NOBODY_IN, SLICE_NONE);
	if (o) {
		v->over = true;
		say(v, o->reply);
		return;
	}
	if (vanishes(v) || is_closed(v))
		return;
	if (puts_off()) {
		say(v, "421 4.3.2 not now\r\n");
		v->over = true;
		return;
	}
	say(v, "220 server of the world\r\n");
}

void servers_open(const char *name, const char *address, uint16_t port)
{
	struct host *h = sim_alloc(sizeof *h);

	*h = (struct host){.name = name, .domain = name, .with_all_below = true};
	sim_listen(address, port, serve, h);
}

void servers_start(enum smtp_client_tls tls)
{
	static struct host one = {"one.example", "one.example", false, true},
			   spare = {"spare.example", "one.example", false, false},
			   two = {"two.example", "two.example", false, false},
			   lmtp = {"lmtp.example", "lmtp.example", true, false};

	one.tls = spare.tls = two.tls = tls;
	sim_name("mx.one.example", "192.0.2.1");
	sim_listen("192.0.2.1", 25, serve, &one);
	sim_listen("192.0.2.11", 2525, serve, &spare);
	sim_listen("192.0.2.2", 25, serve, &two);
	sim_listen_unix("/lmtp", serve, &lmtp);
}
