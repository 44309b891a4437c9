/*
 * postrider bench: how much a server takes, and how fast.
 */
#include "cli/bench.h"

#include "cli/cli.h"
#include "cli/submit.h"

#include <sysexits.h>
#include <unistd.h>

const struct cli_option cli_bench_options[] = {
	{"sessions", 's', "COUNT", "connections at one time (1)"},
	{"messages", 'm', "COUNT", "messages in all (1000); of a sink: end after so many"},
	{"per-connection", 'p', "COUNT", "messages over one connection, then a new one (all)"},
	{"size", 'l', "OCTETS", "of a message (4096)"},
	{"recipients", 'r', "COUNT", "of a message (1); of a sink: end after so many"},
	{"rate", 'R', "COUNT", "messages in a second, whatever the server answers"},
	{"from", 'f', "ADDRESS", "sender (sender@example.org)"},
	{"to", 't', "ADDRESS", "recipient (carol@example.net); further ones have a number before it"},
	{"domains", 0, "COUNT", "recipients are of so many domains by turns: that of --to, with a number before it"},
	{"patience", 0, "TIME", "without a word from the server (60s)"},
	{"no-pipelining", 0, NULL, "one command at a time"},
	{"starttls", 0, NULL, "TLS by STARTTLS; the server may be anybody"},
	{"tls", 0, NULL, "TLS from the first octet"},
	{"fresh", 0, NULL, "a whole handshake for each connection: no session is resumed"},
	{"handshakes", 0, NULL, "no messages, but connections that end when they are secured; -m counts them"},
	{"hold", 0, NULL, "no messages, but sessions that are only held, until SIGTERM"},
	{"drip", 0, "TIME", "the same, but each of them says one octet in so long"},
	{"again", 0, NULL, "of a sink: having so many, print what came, and count anew, until SIGTERM"},
	{"certificate", 0, "FILE", "of a sink: offer STARTTLS with this certificate"},
	{"key", 0, "FILE", "of a sink: and this private key"},
	{"sink", 0, NULL, "be a server that takes everything, and count"},
	{"quiet", 'q', NULL, "no line of progress each second"},
	{"json", 0, NULL, "print one JSON object"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum {
	OPTION_SESSIONS,
	OPTION_MESSAGES,
	OPTION_PER_CONNECTION,
	OPTION_SIZE,
	OPTION_RECIPIENTS,
	OPTION_RATE,
	OPTION_FROM,
	OPTION_TO,
	OPTION_DOMAINS,
	OPTION_PATIENCE,
	OPTION_NO_PIPELINING,
	OPTION_STARTTLS,
	OPTION_TLS,
	OPTION_FRESH,
	OPTION_HANDSHAKES,
	OPTION_HOLD,
	OPTION_DRIP,
	OPTION_AGAIN,
	OPTION_CERTIFICATE,
	OPTION_KEY,
	OPTION_SINK,
	OPTION_QUIET,
	OPTION_JSON,
	OPTION_HELP,
};

struct bench {
	const struct cli_command *self;
	struct bench_load load;
	const char *server;
	const char *certificate, *key;
	span_ms drip;
	bool sink, again, hold, json, quiet;
	bool messages_given, rcpts_given;
};

/* ---- arguments --------------------------------------------------------------------------------------------------- */

static bool take_number(struct bench *b, int option, const char *text)
{
	static const uint64_t most[] = {
		[OPTION_SESSIONS] = BENCH_SESSIONS_MAX,       [OPTION_MESSAGES] = BENCH_MESSAGES_MAX,
		[OPTION_PER_CONNECTION] = BENCH_MESSAGES_MAX, [OPTION_SIZE] = BENCH_SIZE_MAX,
		[OPTION_RECIPIENTS] = BENCH_RCPTS_MAX,        [OPTION_RATE] = BENCH_RATE_MAX,
		[OPTION_DOMAINS] = BENCH_DOMAINS_MAX,
	};
	uint64_t *const into[] = {
		[OPTION_SESSIONS] = &b->load.sessions,
		[OPTION_MESSAGES] = &b->load.messages,
		[OPTION_PER_CONNECTION] = &b->load.per_session,
		[OPTION_SIZE] = &b->load.size,
		[OPTION_RECIPIENTS] = &b->load.rcpts,
		[OPTION_RATE] = &b->load.rate,
		[OPTION_DOMAINS] = &b->load.domains,
	};
	uint64_t max = option == OPTION_RECIPIENTS && b->sink ? BENCH_MESSAGES_MAX : most[option];

	b->messages_given |= option == OPTION_MESSAGES;
	b->rcpts_given |= option == OPTION_RECIPIENTS;
	return slice_u64(slice_from_cstr(text), max, into[option]) && *into[option] > 0;
}

static bool take_text(struct bench *b, int option, const char *text)
{
	struct slice s = slice_from_cstr(text);

	switch (option) {
	case OPTION_FROM:
	case OPTION_TO:
		*(option == OPTION_FROM ? &b->load.sender : &b->load.rcpt) = s;
		return s.n <= 254 && slice_find(s, '\r') == s.n && slice_find(s, '\n') == s.n;
	case OPTION_CERTIFICATE:
		b->certificate = text;
		return true;
	case OPTION_KEY:
		b->key = text;
		return true;
	case OPTION_DRIP:
		b->hold = true;
		return cli_span_parse(text, &b->drip) && b->drip > 0;
	case OPTION_PATIENCE:
		return cli_span_parse(text, &b->load.patience) && b->load.patience > 0;
	default:
		return take_number(b, option, text);
	}
}

static void take_flag(struct bench *b, int option)
{
	switch (option) {
	case OPTION_NO_PIPELINING:
		b->load.pipelining = false;
		break;
	case OPTION_STARTTLS:
	case OPTION_TLS:
		b->load.tls = option == OPTION_TLS ? BENCH_IMPLICIT : BENCH_STARTTLS;
		break;
	case OPTION_FRESH:
		b->load.fresh = true;
		break;
	case OPTION_HANDSHAKES:
		b->load.handshakes = true;
		break;
	case OPTION_AGAIN:
		b->again = true;
		break;
	case OPTION_HOLD:
		b->hold = true;
		break;
	case OPTION_SINK:
		b->sink = true;
		break;
	case OPTION_QUIET:
		b->quiet = true;
		break;
	default:
		b->json = true;
		break;
	}
}

/* False: *status is what to end with. */
static bool read_arguments(struct bench *b, int argc, char **argv, int *status)
{
	struct cli_args args = {.command = b->self, .argc = argc, .argv = argv};
	int option;

	*status = EX_USAGE;
	while ((option = cli_next(&args)) != CLI_END) {
		if (option == CLI_BAD)
			return false;
		if (option == OPTION_HELP) {
			cli_help(b->self);
			*status = EX_OK;
			return false;
		}
		if (option == CLI_WORD) {
			if (b->server) {
				cli_fail(b->self, EX_USAGE, "one server, please: %s or %s", b->server, args.value);
				return false;
			}
			b->server = args.value;
		} else if (!cli_bench_options[option].argument) {
			take_flag(b, option);
		} else if (!take_text(b, option, args.value)) {
			cli_fail(b->self, EX_USAGE, "--%s cannot be %s", cli_bench_options[option].name, args.value);
			return false;
		}
	}
	const char *wrong = !b->server                            ? "which server? ADDRESS:PORT"
			    : !b->load.tls && b->load.handshakes  ? "--handshakes wants --tls or --starttls"
			    : !b->load.tls && b->load.fresh       ? "--fresh wants --tls or --starttls"
			    : b->hold && (b->sink || b->load.tls) ? "--hold and --drip are for a load in the clear"
			    : !b->certificate != !b->key          ? "--certificate and --key go together"
			    : !b->sink && b->certificate          ? "--certificate is for a --sink"
			    : !b->sink && b->again                ? "--again is for a --sink"
								  : NULL;
	if (wrong)
		cli_fail(b->self, EX_USAGE, "%s", wrong);
	return !wrong;
}

/* Names are left out: a measurement should not wait for them. */
static bool read_server(struct bench *b)
{
	struct submit_server server = {0};
	const char *why = "";

	if (!submit_server_parse(b->server, &server, &why)) {
		cli_fail(b->self, EX_USAGE, "%s: %s", b->server, why);
		return false;
	}
	if (server.path ? net_address_unix(slice_from_cstr(server.path), &b->load.server)
			: net_address_ip(server.host, server.port, &b->load.server))
		return true;
	cli_fail(b->self, EX_USAGE, "%s: an IP address and a port, please, or unix:PATH", b->server);
	return false;
}

/* ---- results ------------------------------------------------------------------------------------------------------
 */

static void print_times(const char *what, const struct bench_histogram *h)
{
	printf("%-14s p50 %.2f ms, p90 %.2f ms, p99 %.2f ms, p99.9 %.2f ms, max %.2f ms\n", what,
	       (double)bench_histogram_at(h, 500) / 1e3, (double)bench_histogram_at(h, 900) / 1e3,
	       (double)bench_histogram_at(h, 990) / 1e3, (double)bench_histogram_at(h, 999) / 1e3,
	       (double)h->max / 1e3);
}

static void print_load(const struct bench *b, const struct bench_result *r)
{
	double seconds = (double)r->took_us / 1e6;

	if (r->handshakes > 0) {
		printf("%-14s %llu, of them %llu resumed, %.1f/s; %s\n", "handshakes",
		       (unsigned long long)r->handshakes, (unsigned long long)r->resumed,
		       (double)r->handshakes / seconds, r->secured);
		print_times("handshake", &r->shake);
	}
	if (b->load.handshakes)
		return;
	printf("%-14s %llu accepted, %llu refused, %llu lost, in %.3f s\n", "messages", (unsigned long long)r->accepted,
	       (unsigned long long)r->refused, (unsigned long long)r->lost, seconds);
	printf("%-14s %.1f messages/s, %.2f MB/s\n", "rate", (double)r->accepted / seconds,
	       (double)r->octets / 1e6 / seconds);
	printf("%-14s %llu made, %llu failed\n", "connections", (unsigned long long)r->connections,
	       (unsigned long long)r->failed);
	print_times("dot to reply", &r->answer);
	if (b->load.rate)
		print_times("due to reply", &r->late);
}

static void json_load(const struct bench *b, const struct bench_result *r)
{
	double seconds = (double)r->took_us / 1e6;

	cli_json_print(json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:o, s:I, s:I, s:s, s:o}", "accepted",
				 (json_int_t)r->accepted, "refused", (json_int_t)r->refused, "lost",
				 (json_int_t)r->lost, "connections", (json_int_t)r->connections, "failed_connections",
				 (json_int_t)r->failed, "seconds", seconds, "rate", (double)r->accepted / seconds,
				 "octets_per_second", (double)r->octets / seconds, "latency_ms",
				 bench_histogram_json(&r->answer), "late_ms",
				 b->load.rate ? bench_histogram_json(&r->late) : json_null(), "handshakes",
				 (json_int_t)r->handshakes, "resumed", (json_int_t)r->resumed, "secured", r->secured,
				 "handshake_ms", r->handshakes ? bench_histogram_json(&r->shake) : json_null()));
}

static int run_load(struct bench *b)
{
	static struct bench_result r;

	if (!bench_load(&b->load, &r))
		return cli_fail(b->self, EX_OSERR, "out of memory");
	if (b->json)
		json_load(b, &r);
	else
		print_load(b, &r);
	fflush(stdout);
	if (r.refused)
		cli_fail(b->self, 0, "the server refused messages, the last with: %s", r.reply);
	if (r.failed)
		cli_fail(b->self, 0, "connections failed, the last one: %s", r.trouble);
	if (r.accepted == b->load.messages)
		return EX_OK;
	return r.accepted == 0 && r.refused == 0 ? EX_UNAVAILABLE : EX_TEMPFAIL;
}

static void tell_sunk(const struct bench *b, const struct bench_sunk *r)
{
	double seconds = (double)r->took_us / 1e6;
	double rate = seconds > 0 ? (double)r->messages / seconds : 0;

	if (b->json) {
		cli_json_print(json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:I, s:I, s:f, s:I, s:o}", "messages",
					 (json_int_t)r->messages, "recipients", (json_int_t)r->rcpts, "octets",
					 (json_int_t)r->octets, "connections", (json_int_t)r->connections, "seconds",
					 seconds, "rate", rate, "handshakes", (json_int_t)r->handshakes, "resumed",
					 (json_int_t)r->resumed, "first_s", (double)r->first_us / 1e6, "timed",
					 (json_int_t)r->way.count, "way_ms",
					 r->way.count ? bench_histogram_json(&r->way) : json_null()));
	} else {
		printf("%llu messages, %llu recipients, %llu octets over %llu connections in %.3f s: %.1f messages/s\n",
		       (unsigned long long)r->messages, (unsigned long long)r->rcpts, (unsigned long long)r->octets,
		       (unsigned long long)r->connections, seconds, rate);
		if (r->way.count > 0)
			print_times("due to sink", &r->way);
	}
	fflush(stdout);
}

static void on_enough(void *arg, const struct bench_sunk *so_far)
{
	tell_sunk(arg, so_far);
}

static int run_sink(struct bench *b)
{
	struct bench_sink sink = {
		.at = b->load.server,
		.messages = b->messages_given ? b->load.messages : 0,
		.rcpts = b->rcpts_given ? b->load.rcpts : 0,
		.certificate = b->certificate,
		.key = b->key,
		.progress = b->load.progress,
		.enough = b->again ? on_enough : NULL,
		.arg = b,
	};
	static struct bench_sunk r;
	char why[BENCH_WHY_MAX];

	if (!bench_sink(&sink, &r, why))
		return cli_fail(b->self, EX_OSERR, "%s: %s", b->server, why);
	tell_sunk(b, &r);
	return EX_OK;
}

static void tell_held(const struct bench *b, const struct bench_held *held)
{
	if (b->json)
		cli_json_print(json_pack("{s:I, s:I, s:I}", "open", (json_int_t)held->open, "lost",
					 (json_int_t)held->lost, "octets", (json_int_t)held->octets));
	else
		printf("%llu sessions are open, %llu are lost; %llu octets were said\n", (unsigned long long)held->open,
		       (unsigned long long)held->lost, (unsigned long long)held->octets);
	fflush(stdout);
}

static void on_held(void *arg, const struct bench_held *held)
{
	tell_held(arg, held);
}

static int run_hold(struct bench *b)
{
	struct bench_hold hold = {
		.server = b->load.server,
		.sessions = b->load.sessions,
		.drip = b->drip,
		.patience = b->load.patience,
		.ready = on_held,
		.arg = b,
	};
	struct bench_held held;

	if (!bench_hold(&hold, &held))
		return cli_fail(b->self, EX_OSERR, "out of memory");
	tell_held(b, &held);
	if (held.lost > 0)
		cli_fail(b->self, 0, "sessions were lost, the last one: %s", held.trouble);
	return held.open == b->load.sessions ? EX_OK : held.open > 0 ? EX_TEMPFAIL : EX_UNAVAILABLE;
}

int cli_bench(const struct cli_command *self, int argc, char **argv)
{
	struct bench b = {
		.self = self,
		.load =
			{
				.sender = SLICE("sender@example.org"),
				.rcpt = SLICE("carol@example.net"),
				.sessions = 1,
				.messages = 1000,
				.per_session = BENCH_MESSAGES_MAX,
				.rcpts = 1,
				.size = 4096,
				.patience = MINUTE,
				.pipelining = true,
			},
	};
	int status;

	if (!read_arguments(&b, argc, argv, &status))
		return status;
	if (!read_server(&b))
		return EX_USAGE;
	b.load.progress = !b.quiet && !b.json;
	bench_raise_limits();
	return b.sink ? run_sink(&b) : b.hold ? run_hold(&b) : run_load(&b);
}
