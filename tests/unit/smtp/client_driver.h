/*
 * client_driver: plays a dialog between the client engine and a scripted peer, and writes down what happened.
 *
 * A dialog is a list of turns: the octets that the client must have sent since the turn before, exactly, and what the
 * peer says then. The driver owns the jobs: it gives one at each READY, the message at each BODY, and QUIT when there
 * is no job left. Each dialog is played whole, octet by octet, and split at every point, and must give the same trace.
 */
#ifndef CLIENT_DRIVER_H
#define CLIENT_DRIVER_H

#include "test.h"

#include "smtp/client.h"
#include "smtp/limits.h"

/* A slice in a static initialiser. */
#define S(literal)                             \
	{                                      \
		(literal), sizeof(literal) - 1 \
	}

#define TURNS_MAX 32
#define JOBS_MAX  4

struct turn {
	const char *want;
	const char *say; /* NULL: the connection breaks */
};

struct dialog {
	bool lmtp, no_pipelining, chunking, stay; /* stay: no QUIT */
	bool own_name;                            /* a peer with our name is refused */
	enum smtp_client_tls tls;
	bool tls_first;
	/* NULL: the server is verified; "?why": it is not; "!why": the handshake fails; "": it never ends */
	const char *handshake;
	size_t mechanisms; /* of driver_mechanisms */
	bool auth_in_clear, auth_optional, binds;
	/* To each challenge: "-" no initial response; "+..." the exchange is complete with it; NULL: there is none */
	const char *answers[4];
	struct smtp_client_job jobs[JOBS_MAX];
	const char *messages[JOBS_MAX]; /* NULL: a small one */
	size_t piece;                   /* octets of each piece of body; 0 = whole */
	struct turn turns[TURNS_MAX];
	const char *trace;
};

struct driver {
	const struct dialog *d;
	struct smtp_client *c;
	size_t jobs_sent, answered;
	size_t body_given[JOBS_MAX];
	char trace[8192];
	size_t trace_n;
	char sent[65536];
	size_t sent_n;
	mono_ms now;
	bool closed;
};

#define SMALL_MESSAGE "Subject: hi\r\n\r\nhello\r\n"

#define DRIVER_MECHANISMS 4
static const struct slice driver_mechanisms[DRIVER_MECHANISMS] = {S("SCRAM-SHA-256"), S("PLAIN"), S("LOGIN"),
								  S("LAST-PLUS")};

static const struct smtp_client_config *driver_config(const struct dialog *d)
{
	static struct smtp_client_config config;
	static struct smtp_client_mechanism mechanisms[DRIVER_MECHANISMS];

	for (size_t i = 0; i < DRIVER_MECHANISMS; i++)
		mechanisms[i] = (struct smtp_client_mechanism){.name = driver_mechanisms[i],
							       .in_clear = d->auth_in_clear,
							       .binds = i == DRIVER_MECHANISMS - 1};

	config = (struct smtp_client_config){
		.name = SLICE("me.example"),
		.tls = d->tls,
		.tls_first = d->tls_first,
		.tls_timeout = 30 * SECOND,
		.mechanisms = mechanisms,
		.mechanism_count = d->mechanisms,
		.auth_optional = d->auth_optional,
		.lmtp = d->lmtp,
		.pipelining = !d->no_pipelining,
		.chunking = d->chunking,
		.greeting_timeout = 300 * SECOND,
		.command_timeout = 310 * SECOND,
		.data_timeout = 120 * SECOND,
		.block_timeout = 180 * SECOND,
		.end_timeout = 600 * SECOND,
		.output_max = 16384,
		.refuses_own_name = d->own_name,
	};
	return &config;
}

static const char *driver_verdict(enum smtp_verdict v)
{
	static const char *const names[] = {"delivered", "deferred", "failed"};

	return names[v];
}

static void driver_note_outcome(struct driver *r, const struct smtp_outcome *o)
{
	char status[10];
	size_t room = sizeof r->trace - r->trace_n;

	assert_true(o->text.n <= SMTP_OUTCOME_TEXT_MAX);
	assert_int_equal(o->status.klass, o->verdict == SMTP_DELIVERED ? 2 : o->verdict == SMTP_DEFERRED ? 4 : 5);
	smtpcodes_status_format(o->status, status);
	int n = snprintf(r->trace + r->trace_n, room, "%s %s: %u %s %.*s%s%s%s\n", driver_verdict(o->verdict),
			 smtp_stage_name(o->stage), o->code, status, SLICE_ARGS(o->text),
			 o->ambiguous ? " (ambiguous)" : "", o->dsn_relayed ? " (dsn)" : "",
			 o->lossy ? " (lossy)" : "");
	assert_in_range(n, 1, room - 1);
	r->trace_n += (size_t)n;
}

static void driver_note(struct driver *r, const char *what, unsigned long long tag)
{
	size_t room = sizeof r->trace - r->trace_n;
	int n = snprintf(r->trace + r->trace_n, room, "%s %llu\n", what, tag);

	assert_in_range(n, 1, room - 1);
	r->trace_n += (size_t)n;
}

static struct slice driver_message(const struct dialog *d, size_t job)
{
	return slice_from_cstr(d->messages[job] ? d->messages[job] : SMALL_MESSAGE);
}

static void driver_ready(struct driver *r)
{
	const struct dialog *d = r->d;

	if (r->jobs_sent < JOBS_MAX && d->jobs[r->jobs_sent].envelope) {
		struct smtp_client_job job = d->jobs[r->jobs_sent];
		job.tag = ++r->jobs_sent;
		if (job.size == 0)
			job.size = driver_message(d, r->jobs_sent - 1).n;
		smtp_client_send(r->c, &job, r->now);
	} else if (!d->stay) {
		smtp_client_quit(r->c, r->now);
	}
}

static void driver_body(struct driver *r, uint64_t tag)
{
	size_t job = (size_t)tag - 1;
	struct slice rest = slice_skip(driver_message(r->d, job), r->body_given[job]);
	struct slice piece = r->d->piece ? slice_head(rest, r->d->piece) : rest;
	char *copy = test_exact_copy(piece);

	r->body_given[job] += piece.n;
	smtp_client_body(r->c, slice_of(copy, piece.n), piece.n == rest.n, r->now);
	free(copy);
}

/* All that follows is under TLS: the octets of the dialog are what is inside. */
static void driver_handshake(struct driver *r)
{
	const char *how = r->d->handshake;

	assert_int_equal(smtp_client_output(r->c).n, 0);
	assert_true(smtp_client_deadline(r->c) == r->now + 30 * SECOND);
	r->trace_n += (size_t)snprintf(r->trace + r->trace_n, 32, "handshake\n");
	if (!how || how[0] == '?')
		smtp_client_secured(r->c,
				    &(struct smtp_client_security){
					    .verified = !how,
					    .why = how ? slice_from_cstr(how + 1) : SLICE_NONE,
					    .binds = r->d->binds},
				    r->now);
	else if (how[0] == '!')
		smtp_client_lost(r->c, slice_from_cstr(how + 1));
}

static void driver_auth(struct driver *r, const struct smtp_client_event *ev)
{
	const char *answer = r->answered < 4 ? r->d->answers[r->answered] : NULL;
	size_t room = sizeof r->trace - r->trace_n;
	int n = snprintf(r->trace + r->trace_n, room, "auth %.*s %s%.*s\n", SLICE_ARGS(driver_mechanisms[ev->tag]),
			 ev->challenge.p ? "" : "(none)", SLICE_ARGS(ev->challenge));

	assert_in_range(n, 1, room - 1);
	r->trace_n += (size_t)n;
	r->answered++;
	if (!answer) {
		smtp_client_auth_failed(r->c, SLICE("no answer"), r->now);
		return;
	}
	bool complete = answer[0] == '+';
	struct slice text = slice_from_cstr(answer + complete);
	smtp_client_auth(r->c, strcmp(answer, "-") == 0 ? NULL : &text, complete, r->now);
}

/* Pulls all events and takes all output, until both are empty. `gulp`: octets that leave at once. */
static void driver_pump(struct driver *r, size_t gulp)
{
	struct smtp_client_event ev;
	struct slice out;

	do {
		while (smtp_client_next(r->c, &ev)) {
			assert_false(r->closed);
			if (ev.type == SMTP_CLIENT_READY) {
				driver_ready(r);
			} else if (ev.type == SMTP_CLIENT_HANDSHAKE) {
				driver_handshake(r);
			} else if (ev.type == SMTP_CLIENT_AUTH) {
				driver_auth(r, &ev);
			} else if (ev.type == SMTP_CLIENT_BODY) {
				driver_body(r, ev.tag);
			} else if (ev.type == SMTP_CLIENT_DONE) {
				driver_note(r, "done", ev.tag);
			} else if (ev.type == SMTP_CLIENT_OUTCOME) {
				driver_note(r, "job", ev.tag);
				r->trace[r->trace_n - 1] = '.';
				r->trace_n += (size_t)snprintf(r->trace + r->trace_n, 32, "%zu ", ev.rcpt);
				driver_note_outcome(r, &ev.outcome);
			} else {
				r->trace_n += (size_t)snprintf(r->trace + r->trace_n, 32, "closed ");
				driver_note_outcome(r, &ev.outcome);
				r->closed = true;
			}
		}
		out = slice_head(smtp_client_output(r->c), gulp);
		assert_true(r->sent_n + out.n <= sizeof r->sent);
		if (out.n)
			memcpy(r->sent + r->sent_n, out.p, out.n);
		r->sent_n += out.n;
		smtp_client_sent(r->c, out.n);
	} while (out.n);
}

static void driver_say(struct driver *r, struct slice octets, size_t gulp)
{
	char *copy = test_exact_copy(octets);
	struct slice rest = slice_of(copy, octets.n);

	while (rest.n) {
		size_t taken = smtp_client_feed(r->c, rest, r->now);
		assert_true(taken > 0);
		rest = slice_skip(rest, taken);
		driver_pump(r, gulp);
	}
	free(copy);
}

static void driver_start(struct driver *r, const struct dialog *d)
{
	*r = (struct driver){.d = d, .now = 1000};
	r->c = smtp_client_new(driver_config(d));
	assert_non_null(r->c);
	smtp_client_start(r->c, r->now);
}

static void driver_expect(struct driver *r, const char *want)
{
	assert_slice(slice_of(r->sent, r->sent_n), want);
	r->sent_n = 0;
}

/* The octets that the peer says in all are cut at `cut`, and by `step` behind it. */
static void driver_play(const struct dialog *d, size_t cut, size_t step, size_t gulp)
{
	static struct driver r;
	size_t said = 0;

	driver_start(&r, d);
	for (const struct turn *t = d->turns; t->want; t++) {
		driver_pump(&r, gulp);
		driver_expect(&r, t->want);
		if (!t->say) {
			smtp_client_lost(r.c, SLICE("broken"));
			continue;
		}
		for (struct slice rest = slice_from_cstr(t->say); rest.n;) {
			size_t n = said < cut ? cut - said : step;
			struct slice piece = slice_head(rest, n);
			driver_say(&r, piece, gulp);
			said += piece.n;
			rest = slice_skip(rest, piece.n);
		}
	}
	driver_pump(&r, gulp);
	assert_string_equal(r.trace, d->trace);
	driver_expect(&r, "");
	smtp_client_free(r.c);
}

static size_t driver_octets(const struct dialog *d)
{
	size_t n = 0;

	for (const struct turn *t = d->turns; t->want; t++)
		n += t->say ? strlen(t->say) : 0;
	return n;
}

/* Whole, octet by octet in both directions, and split at every point. */
static void play(const struct dialog *d)
{
	driver_play(d, 0, SIZE_MAX, SIZE_MAX);
	driver_play(d, 0, 1, SIZE_MAX);
	driver_play(d, 0, SIZE_MAX, 1);
	driver_play(d, 0, 1, 1);
	for (size_t cut = 1; cut < driver_octets(d); cut++)
		driver_play(d, cut, SIZE_MAX, SIZE_MAX);
}

#endif
