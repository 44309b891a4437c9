/*
 * The client engine fed with the input as the peer's octets, by lines and by pieces of lines: the events must be the
 * same, and each recipient must have one outcome. (More than a line at once would come before the commands it answers.)
 */
#include <assert.h>
#include <string.h>

#include "smtp/client.h"

#define EVENTS 64

struct event {
	enum smtp_client_event_type type;
	uint64_t tag;
	size_t rcpt;
	struct smtp_outcome outcome;
	char text[SMTP_OUTCOME_TEXT_MAX];
};

struct run {
	struct smtp_client *c;
	struct event event[EVENTS];
	size_t events, jobs;
};

static const struct mail_rcpt rcpts[] = {{.address = {"a@x", 3}}, {.address = {"b@x", 3}}, {.address = {"c@x", 3}}};
static const struct mail_envelope envelope = {.sender = {"s@x", 3}, .rcpt = rcpts, .rcpt_count = 3};

static void owner(struct run *r)
{
	struct smtp_client_event ev;
	struct smtp_client_job job = {.envelope = &envelope, .size = 5};

	while (smtp_client_next(r->c, &ev)) {
		assert(r->events < EVENTS);
		struct event *e = &r->event[r->events++];
		*e = (struct event){.type = ev.type, .tag = ev.tag, .rcpt = ev.rcpt, .outcome = ev.outcome};
		assert(ev.outcome.text.n <= sizeof e->text);
		if (ev.outcome.text.n)
			memcpy(e->text, ev.outcome.text.p, ev.outcome.text.n);
		job.tag = r->jobs;
		if (ev.type == SMTP_CLIENT_READY && r->jobs++ < 3)
			smtp_client_send(r->c, &job, 0);
		else if (ev.type == SMTP_CLIENT_READY)
			smtp_client_quit(r->c, 0);
		else if (ev.type == SMTP_CLIENT_HANDSHAKE)
			smtp_client_secured(r->c, &(struct smtp_client_security){.verified = true}, 0);
		else if (ev.type == SMTP_CLIENT_BODY)
			smtp_client_body(r->c, slice_of("x\r\n.y", 5), true, 0);
	}
	/* Right away, so that every command stands when the next octet comes. */
	while (smtp_client_output(r->c).n)
		smtp_client_sent(r->c, smtp_client_output(r->c).n);
	if (r->events && smtp_client_next(r->c, &ev))
		assert(0);
}

static void play(struct run *r, const struct smtp_client_config *config, const uint8_t *data, size_t n, size_t step)
{
	*r = (struct run){.c = smtp_client_new(config)};
	smtp_client_start(r->c, 0);
	for (size_t at = 0; at < n;) {
		struct slice rest = slice_of(data + at, n - at);
		struct slice piece = slice_head(slice_head(rest, slice_find(rest, '\n') + 1), step);
		size_t taken = smtp_client_feed(r->c, piece, 0);
		assert(taken > 0);
		at += taken;
		owner(r);
	}
	smtp_client_lost(r->c, SLICE("end"));
	owner(r);
	smtp_client_free(r->c);
}

static void check(const struct run *r)
{
	size_t outcomes = 0, done = 0;

	for (size_t i = 0; i < r->events; i++) {
		outcomes += r->event[i].type == SMTP_CLIENT_OUTCOME;
		done += r->event[i].type == SMTP_CLIENT_DONE;
	}
	assert(done == (r->jobs < 3 ? r->jobs : 3));
	assert(outcomes == 3 * done);
	assert(r->event[r->events - 1].type == SMTP_CLIENT_CLOSED);
}

static void same(const struct run *a, const struct run *b)
{
	assert(a->events == b->events);
	for (size_t i = 0; i < a->events; i++) {
		const struct event *x = &a->event[i], *y = &b->event[i];
		assert(x->type == y->type && x->tag == y->tag && x->rcpt == y->rcpt);
		assert(x->outcome.verdict == y->outcome.verdict && x->outcome.stage == y->outcome.stage);
		assert(x->outcome.code == y->outcome.code && x->outcome.ambiguous == y->outcome.ambiguous);
		assert(x->outcome.text.n == y->outcome.text.n && !memcmp(x->text, y->text, x->outcome.text.n));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct run lines, cut;
	static struct smtp_client_config config = {.name = {"me", 2},
						   .greeting_timeout = 1,
						   .command_timeout = 1,
						   .data_timeout = 1,
						   .block_timeout = 1,
						   .end_timeout = 1,
						   .tls_timeout = 1,
						   .output_max = 16384};

	if (size < 1)
		return 0;
	config.lmtp = data[0] & 1;
	config.pipelining = data[0] & 2;
	config.chunking = data[0] & 4;
	config.tls = data[0] >> 6;
	play(&lines, &config, data + 1, size - 1, SIZE_MAX);
	play(&cut, &config, data + 1, size - 1, 1 + data[0] / 8);
	check(&lines);
	check(&cut);
	same(&lines, &cut);
	return 0;
}
