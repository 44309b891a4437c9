#include "cli/submit.h"

#include "base/heap.h"
#include "cli/cli.h"
#include "mail/scan.h"
#include "net/host.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PIECE      ((size_t)64 * 1024) /* of the message at a time */
#define INPUT      ((size_t)16 * 1024)
#define MEMORY_MAX ((size_t)64 << 20) /* of outcomes */

/* ---- the dialogue, shown ----------------------------------------------------------------------------------- */

/* Whose line is open. */
struct talk {
	FILE *to;
	char open; /* '<', '>', or 0 */
};

static void show(struct talk *t, char who, struct slice octets)
{
	if (!t->to)
		return;
	while (octets.n) {
		size_t end = slice_find(octets, '\n');
		struct slice line = slice_head(octets, end);

		if (t->open && t->open != who)
			fputc('\n', t->to);
		if (t->open != who)
			fprintf(t->to, "%c ", who);
		if (line.n && end < octets.n && line.p[line.n - 1] == '\r')
			line.n--;
		cli_print(t->to, line);
		t->open = end < octets.n ? 0 : who;
		if (end < octets.n)
			fputc('\n', t->to);
		octets = slice_skip(octets, end + 1);
	}
}

/* ---- one session ------------------------------------------------------------------------------------------- */

struct session {
	const struct submit_message *message;
	struct submit_result *result;
	const struct mail_envelope *envelope; /* of this transaction */
	const size_t *place;                  /* of its recipients among those of the message */
	struct smtp_client *client;
	struct talk talk;
	int fd;
	uint64_t offset; /* of the next octet of the message */
	size_t shown;    /* octets at the front of the output */
	size_t told;     /* recipients with an outcome */
	bool offered, deaf, over;
};

static uint64_t message_size(const struct submit_message *m)
{
	return (uint64_t)m->head.n + m->body.n;
}

static void keep_outcome(struct session *s, size_t rcpt, const struct smtp_outcome *outcome)
{
	struct smtp_outcome *kept = &s->result->outcome[s->place[rcpt]];

	*kept = *outcome;
	kept->text = arena_copy(&s->result->memory, outcome->text);
	s->told++;
}

static void give_job(struct session *s)
{
	const struct submit_message *m = s->message;
	struct mail_scan scan;

	if (s->offered)
		return;
	s->offered = true;
	mail_scan_init(&scan, SLICE_NONE);
	mail_scan_feed(&scan, m->head);
	mail_scan_feed(&scan, m->body);
	mail_scan_end(&scan);
	struct smtp_client_job job = {
		.envelope = s->envelope,
		.size = message_size(m),
		.eight_bit = scan.flags & MAIL_SCAN_8BIT_BODY,
		.needs_utf8 = scan.flags & MAIL_SCAN_8BIT_HEADER,
		.has_bare = scan.flags &
			    (MAIL_SCAN_BARE_CR | MAIL_SCAN_BARE_LF | MAIL_SCAN_NUL_HEADER | MAIL_SCAN_NUL_BODY),
	};
	smtp_client_send(s->client, &job, host_mono());
}

/* What was added to the output since the last time. */
static void show_commands(struct session *s)
{
	struct slice out = smtp_client_output(s->client);

	show(&s->talk, '>', slice_skip(out, s->shown));
	s->shown = out.n;
}

/* The same after a piece of the message: its octets are counted rather than shown. */
static void show_body(struct session *s, size_t piece)
{
	struct slice out = smtp_client_output(s->client), added = slice_skip(out, s->shown);

	if (s->talk.to && added.n) {
		if (slice_starts(added, SLICE("BDAT ")))
			show(&s->talk, '>', slice_head(added, slice_find(added, '\n') + 1));
		fprintf(s->talk.to, "> [%zu octets of the message]\n", piece);
		if (slice_ends(added, SLICE("\r\n.\r\n")) && s->offset == message_size(s->message))
			show(&s->talk, '>', SLICE(".\r\n"));
	}
	s->shown = out.n;
}

static void give_body(struct session *s)
{
	const struct submit_message *m = s->message;
	static char piece[PIECE];
	size_t n = s->message->config->output_max < PIECE ? s->message->config->output_max : PIECE;
	size_t from_head = 0, from_body;

	if (s->offset < m->head.n) {
		struct slice part = slice_head(slice_skip(m->head, (size_t)s->offset), n);
		from_head = part.n;
		memcpy(piece, part.p, part.n);
	}
	struct slice rest = slice_skip(m->body, (size_t)(s->offset + from_head - m->head.n));
	from_body = from_head < n ? slice_head(rest, n - from_head).n : 0;
	if (from_body)
		memcpy(piece + from_head, rest.p, from_body);
	s->offset += from_head + from_body;
	show_commands(s);
	smtp_client_body(s->client, slice_of(piece, from_head + from_body), s->offset == message_size(m), host_mono());
	show_body(s, from_head + from_body);
}

/* The session ended before the message was offered: what ended it is every recipient's outcome. */
static void end_session(struct session *s, const struct smtp_outcome *why)
{
	s->over = true;
	if (s->offered)
		return;
	struct smtp_outcome outcome = *why;
	if (outcome.verdict == SMTP_DELIVERED) {
		outcome.verdict = SMTP_DEFERRED;
		outcome.status = (struct smtpcodes_status){4, 3, 0};
	}
	for (size_t i = 0; i < s->envelope->rcpt_count; i++)
		keep_outcome(s, i, &outcome);
}

static void pull_events(struct session *s)
{
	struct smtp_client_event ev;

	while (!s->over && smtp_client_next(s->client, &ev)) {
		switch (ev.type) {
		case SMTP_CLIENT_HANDSHAKE: /* not with SMTP_CLIENT_TLS_OFF */
		case SMTP_CLIENT_AUTH:      /* not without mechanisms */
			break;
		case SMTP_CLIENT_READY:
			give_job(s);
			break;
		case SMTP_CLIENT_BODY:
			give_body(s);
			break;
		case SMTP_CLIENT_OUTCOME:
			keep_outcome(s, ev.rcpt, &ev.outcome);
			break;
		case SMTP_CLIENT_DONE:
			smtp_client_quit(s->client, host_mono());
			break;
		case SMTP_CLIENT_CLOSED:
			end_session(s, &ev.outcome);
			break;
		}
	}
	show_commands(s);
}

/* Hands over what the connection takes now; whether it took anything. */
static bool write_some(struct session *s)
{
	struct slice out = smtp_client_output(s->client);

	if (s->deaf || out.n == 0)
		return false;
	ssize_t n = send(s->fd, out.p, out.n, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0) {
		/* What it said before it hung up may still be read. */
		s->deaf = errno != EAGAIN && errno != EINTR;
		return false;
	}
	smtp_client_sent(s->client, (size_t)n);
	s->shown -= (size_t)n;
	return true;
}

static void feed(struct session *s, struct slice in)
{
	show(&s->talk, '<', in);
	while (in.n && !s->over) {
		size_t n = smtp_client_feed(s->client, in, host_mono());
		in = slice_skip(in, n);
		pull_events(s);
		if (n == 0)
			break;
	}
}

static void read_some(struct session *s)
{
	char in[INPUT];
	ssize_t n = recv(s->fd, in, sizeof in, MSG_DONTWAIT);

	if (n > 0)
		feed(s, slice_of(in, (size_t)n));
	else if (n == 0)
		smtp_client_lost(s->client, SLICE("the connection was closed by the other side"));
	else if (errno != EAGAIN && errno != EINTR)
		smtp_client_lost(s->client, slice_from_cstr(strerror(errno)));
}

static void wait_for_peer(struct session *s)
{
	mono_ms now = host_mono(), deadline = smtp_client_deadline(s->client);
	bool writes = !s->deaf && smtp_client_output(s->client).n > 0;
	struct pollfd p = {.fd = s->fd, .events = (short)(writes ? POLLIN | POLLOUT : POLLIN)};
	span_ms left = deadline <= now ? 0 : deadline - now;

	if (poll(&p, 1, left > 3600000 ? 3600000 : (int)left) > 0 && p.revents & ~POLLOUT)
		read_some(s);
	smtp_client_tick(s->client, host_mono());
}

static void run_session(struct session *s)
{
	smtp_client_start(s->client, host_mono());
	for (;;) {
		pull_events(s);
		if (s->over)
			break;
		if (!write_some(s))
			wait_for_peer(s);
	}
	write_some(s);
	if (s->talk.open && s->talk.to)
		fputc('\n', s->talk.to);
}

/* ---- transactions ------------------------------------------------------------------------------------------ */

/* One connection for the recipients at these places. False without memory. */
static bool run_once(int fd, const struct submit_message *m, const size_t *place, size_t count,
		     struct submit_result *ret)
{
	struct mail_rcpt *rcpt = heap_array(count, sizeof *rcpt);
	struct mail_envelope envelope = *m->envelope;
	struct session s = {.message = m, .result = ret, .envelope = &envelope, .place = place, .fd = fd};

	s.client = rcpt ? smtp_client_new(m->config) : NULL;
	s.talk.to = m->show;
	if (s.client) {
		for (size_t i = 0; i < count; i++)
			rcpt[i] = m->envelope->rcpt[place[i]];
		envelope.rcpt = rcpt;
		envelope.rcpt_count = count;
		run_session(&s);
		assert(s.told == count);
		ret->server = arena_copy(&ret->memory, smtp_client_peer(s.client)->name);
	}
	close(fd);
	bool ran = s.client != NULL;
	smtp_client_free(s.client);
	heap_free(rcpt);
	return ran;
}

/* Whether the server has had enough recipients for one transaction (RFC 5321 4.5.3.1.10). */
static bool had_enough(const struct smtp_outcome *o)
{
	return o->verdict == SMTP_DEFERRED && o->stage == SMTP_STAGE_RCPT && (o->code == 452 || o->code == 552) &&
	       (o->status.subject == 0 || (o->status.subject == 5 && o->status.detail == 3));
}

/* How many of the recipients wait for another transaction: they are moved to the end. None when nobody went through in
 * this one: another would not do better. */
static size_t left_over(const struct submit_result *r, size_t *place, size_t count)
{
	size_t left = 0;
	bool progress = false;

	for (size_t i = count; i-- > 0;) {
		const struct smtp_outcome *o = &r->outcome[place[i]];
		progress = progress || o->verdict == SMTP_DELIVERED;
		if (!had_enough(o))
			continue;
		size_t other = place[count - 1 - left];
		place[count - 1 - left++] = place[i];
		place[i] = other;
	}
	return progress ? left : 0;
}

/* The connection for a further transaction cannot be had: those who were in none yet get that for an outcome. */
static void give_up(struct submit_result *r, struct slice why)
{
	struct smtp_outcome outcome = {
		.verdict = SMTP_DEFERRED,
		.stage = SMTP_STAGE_CONNECT,
		.status = {4, 4, 1},
		.text = arena_copy(&r->memory, slice_head(why, SMTP_OUTCOME_TEXT_MAX)),
	};

	for (size_t i = 0; i < r->count; i++)
		if (!r->outcome[i].status.klass)
			r->outcome[i] = outcome;
}

static bool connect_again(const struct submit_server *server, struct submit_result *r, int *fd)
{
	struct buf why;
	int status;

	buf_init(&why, 1024);
	*fd = submit_connect(server, &why, &status);
	if (*fd < 0)
		give_up(r, buf_slice(&why));
	buf_free(&why);
	return *fd >= 0;
}

static bool run_all(const struct submit_server *server, int fd, const struct submit_message *m, size_t *place,
		    struct submit_result *ret)
{
	size_t left = ret->count;

	for (size_t i = 0; i < left; i++)
		place[i] = i;
	for (;;) {
		size_t count = left < m->at_once ? left : m->at_once;
		if (!run_once(fd, m, place, count, ret))
			return false;
		size_t done = count - left_over(ret, place, count);
		place += done;
		left -= done;
		if (left == 0 || !connect_again(server, ret, &fd))
			return true;
	}
}

bool submit(const struct submit_server *server, int fd, const struct submit_message *m, struct submit_result *ret)
{
	size_t count = m->envelope->rcpt_count;

	assert(count > 0 && m->at_once > 0);
	*ret = (struct submit_result){.count = count};
	arena_init(&ret->memory, MEMORY_MAX);
	ret->outcome = heap_array(count, sizeof *ret->outcome);
	size_t *place = heap_array(count, sizeof *place);
	if (!ret->outcome || !place) {
		heap_free(place);
		close(fd);
		return false;
	}
	bool ran = run_all(server, fd, m, place, ret);
	heap_free(place);
	return ran;
}

void submit_result_free(struct submit_result *r)
{
	heap_free(r->outcome);
	arena_free(&r->memory);
	*r = (struct submit_result){0};
}
