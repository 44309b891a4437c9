/*
 * AUTH in the hands of a stranger. Fed whole and fed in pieces, the owner is told the same and the client answered the
 * same; an exchange is told in order (tests/unit/smtp/server_desk.h); and what the owner is told as a response is, in
 * base64, a line that the client sent: nothing that is only like base64 passes for it.
 *
 * The first octets choose the mechanisms and the pieces; the rest is what the client sends behind EHLO, where 0xFF
 * marks the places at which it waits.
 */
#include "base/base64.h"

#include "../../unit/smtp/server_desk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct choice {
	uint8_t config, pieces;
};

/* Whether the text stands in the stream as the end of a line. */
static bool was_sent(struct slice stream, struct slice text)
{
	struct buf line;
	bool found = false;

	buf_init(&line, text.n + 2);
	buf_add(&line, text);
	buf_add_lit(&line, "\r\n");
	for (struct slice rest = stream; !found && rest.n >= buf_len(&line);) {
		size_t at = slice_search(rest, buf_slice(&line));
		found = at < rest.n;
		rest = slice_skip(rest, at + 1);
	}
	/* Blanks at the end of a command are no part of it. */
	if (!found && text.n > 0) {
		size_t at = slice_search(stream, text);
		char next = at + text.n < stream.n ? stream.p[at + text.n] : '\0';
		found = next == ' ' || next == '\t';
	}
	buf_free(&line);
	return found;
}

static void check_response(const struct smtp_event *ev, struct slice stream)
{
	struct buf text;

	if (!ev->given)
		return;
	buf_init(&text, SMTP_AUTH_LINE_MAX + 1);
	assert(base64_encode(ev->response, &text));
	bool equals = ev->type == SMTP_EV_AUTH && ev->response.n == 0;
	assert(was_sent(stream, equals ? SLICE("=") : buf_slice(&text)));
	buf_free(&text);
}

static void pull(struct desk *d, struct slice stream)
{
	struct smtp_event ev;

	while (smtp_server_next(d->s, &ev)) {
		if (ev.type == SMTP_EV_AUTH || ev.type == SMTP_EV_AUTH_RESPONSE)
			check_response(&ev, stream);
		desk_event(d, &ev);
		desk_answer_now(d);
	}
}

static void feed(struct desk *d, struct slice in, struct slice stream)
{
	while (in.n && !d->closed) {
		char *copy = malloc(in.n);
		memcpy(copy, in.p, in.n);
		size_t n = smtp_server_feed(d->s, slice_of(copy, in.n), d->now);
		free(copy);
		in = slice_skip(in, n);
		pull(d, stream);
		if (n == 0 && !d->closed) {
			assert(smtp_server_output(d->s).n >= SMTP_OUTPUT_BOUND);
			desk_flush(d);
		}
	}
}

static void run(struct desk *d, struct choice c, struct slice stream, uint8_t pieces)
{
	uint32_t random = pieces;

	desk_init(d);
	desk_offer_auth(d, c.config & 1);
	d->config.tls = c.config & 2 ? SMTP_TLS_IMPLICIT : SMTP_TLS_OFF;
	d->config.auth_required = c.config & 4;
	d->config.refuse_early = c.config & 8;
	d->config.errors_max = c.config & 16 ? 3 : 1000;
	d->config.idle_commands_max = c.config & 32 ? 6 : 1000;
	d->unusable = c.config >> 6 & 1;
	desk_start(d);
	desk_secure(d);
	desk_flush(d);
	desk_feed(d, SLICE("EHLO a.example\r\n"));
	desk_flush(d);
	for (struct slice rest = stream; rest.p && !d->closed;) {
		struct slice step = slice_split(&rest, '\xff');
		while (step.n && !d->closed) {
			random = random * 1103515245u + 12345u;
			size_t n = pieces == 0 ? step.n : pieces == 1 ? 1 : 1 + (random >> 16) % step.n;
			feed(d, slice_head(step, n), stream);
			step = slice_skip(step, n);
		}
		desk_flush(d);
		desk_secure(d);
	}
	smtp_server_lost(d->s);
	desk_pull(d);
	assert(d->closed);
	assert(!d->in_auth);
}

/* What stands behind QUIT may be scolded or not, by whether it had come by then. */
static struct slice without_scolding(struct slice out)
{
	return slice_head(out, slice_search(out, SLICE("221 2.0.0 ")) + 10);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct desk whole, pieces;

	if (size < sizeof(struct choice) || size > 60000)
		return 0;
	struct choice c = {data[0], data[1]};
	struct slice stream = slice_of(data + sizeof c, size - sizeof c);

	run(&whole, c, stream, 0);
	run(&pieces, c, stream, c.pieces ? c.pieces : 1);
	assert(slice_eq(buf_slice(&whole.log), buf_slice(&pieces.log)));
	assert(slice_eq(without_scolding(buf_slice(&whole.out)), without_scolding(buf_slice(&pieces.out))));
	desk_free(&whole);
	desk_free(&pieces);
	return 0;
}
