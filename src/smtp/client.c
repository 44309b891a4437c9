/*
 * client: the session, its jobs and their ends. See client_private.h for the states.
 *
 * What each failure becomes (client.h asks for one outcome for each recipient, whatever happens):
 *
 *	a reply of 4yz or 5yz      the recipients it speaks for: deferred or failed, with the reply's codes and words
 *	421 to anything            that, and every other recipient deferred with it; the session is over (RFC 5321 3.8)
 *	a reply that is malformed, unexpected or unasked
 *	                           every recipient deferred 4.5.0 in our words; the session is over
 *	connection lost, timeout   every recipient deferred 4.4.2; the session is over (RFC 5321 3.8: as for 451)
 *	no memory                  every recipient deferred 4.3.0; the session is over
 *	no message                 its recipients deferred 4.6.6, all others 4.3.0; the session is over
 *
 * An end of the session after the end of a job's data left us is ambiguous for the recipients that had no reply.
 *
 * Invariant: a job is forgotten (DONE) only when as many outcomes were given as it has recipients.
 */
#include "smtp/client.h"

#include "base/heap.h"
#include "smtp/client_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* The 221 is waited for no longer than this: nothing depends on it. */
#define QUIT_PATIENCE        (30 * SECOND)
/* One piece of body becomes at most this much: a conversion makes four octets of one, of what it held back as well
 * (mail/seven.h), and doubled dots add a third. */
#define CONVERTED_MAX(piece) (4 * ((piece) + MAIL_SEVEN_HELD_MAX))
#define OUTPUT_MAX(piece)    ((piece) + CONVERTED_MAX(piece) / 3 * 4)
/* Memory that a session without a job may keep in its output. */
#define IDLE_OUTPUT          4096

static_assert(SMTP_COMMAND_LINE_MAX < 16384, "a command fits into the least output_max");

/* ---- states ---------------------------------------------------------------------------------------------------- */

void client_move(struct smtp_client *c, enum client_state to)
{
	static const unsigned allowed[] = {
		[CLIENT_NEW] = 1u << CLIENT_SHAKING | 1u << CLIENT_GREETING | 1u << CLIENT_CLOSED,
		[CLIENT_SHAKING] = 1u << CLIENT_GREETING | 1u << CLIENT_HELLO | 1u << CLIENT_CLOSED,
		[CLIENT_GREETING] = 1u << CLIENT_HELLO | 1u << CLIENT_QUITTING | 1u << CLIENT_CLOSED,
		[CLIENT_HELLO] = 1u << CLIENT_SHAKING | 1u << CLIENT_AUTH | 1u << CLIENT_OPEN | 1u << CLIENT_CLOSED,
		[CLIENT_AUTH] = 1u << CLIENT_OPEN | 1u << CLIENT_CLOSED,
		[CLIENT_OPEN] = 1u << CLIENT_QUITTING | 1u << CLIENT_CLOSED,
		[CLIENT_QUITTING] = 1u << CLIENT_CLOSED,
		[CLIENT_CLOSED] = 0,
	};

	assert(allowed[c->state] & 1u << to);
	assert(to != CLIENT_QUITTING || c->open == 0);
	c->state = to;
}

void job_move(struct client_job *j, enum job_phase to)
{
	static const unsigned allowed[] = {
		[JOB_FREE] = 1u << JOB_ENVELOPE | 1u << JOB_SETTLED,
		[JOB_ENVELOPE] = 1u << JOB_BODY | 1u << JOB_SETTLED,
		[JOB_BODY] = 1u << JOB_END | 1u << JOB_SETTLED,
		[JOB_END] = 1u << JOB_SETTLED,
		[JOB_SETTLED] = 1u << JOB_FREE,
	};

	assert(allowed[j->phase] & 1u << to);
	j->phase = to;
}

static struct client_job *job_at(struct smtp_client *c, unsigned age)
{
	assert(age < c->open);
	return &c->slot[(c->oldest + age) % 2];
}

struct client_job *client_youngest(struct smtp_client *c)
{
	return c->open ? job_at(c, c->open - 1) : NULL;
}

bool client_pipelines(const struct smtp_client *c)
{
	return c->config->pipelining && c->peer.pipelining;
}

/* ---- the life of a session ------------------------------------------------------------------------------------- */

struct smtp_client *smtp_client_new(const struct smtp_client_config *config)
{
	assert(config->output_max >= 16384);
	assert(config->output_max <= SIZE_MAX / 64);
	assert(config->greeting_timeout > 0 && config->command_timeout > 0 && config->data_timeout > 0);
	assert(config->block_timeout > 0 && config->end_timeout > 0);
	assert(config->mechanism_count <= SMTP_CLIENT_MECHANISMS);
	assert(config->tls == SMTP_CLIENT_TLS_OFF ? !config->tls_first : config->tls_timeout > 0);

	struct smtp_client *c = heap_new(struct smtp_client);
	if (!c)
		return NULL;
	c->config = config;
	buf_init(&c->in, SMTP_PEER_REPLY_MAX);
	buf_init(&c->out, OUTPUT_MAX(config->output_max));
	buf_init(&c->challenge, SMTP_PEER_REPLY_LINE_MAX);
	buf_init(&c->initial, SMTP_CLIENT_AUTH_MAX);
	buf_init(&c->converted, CONVERTED_MAX(config->output_max));
	return c;
}

static void job_release(struct client_job *j)
{
	mail_seven_free(j->seven);
	j->seven = NULL;
	heap_free(j->block);
	j->block = NULL;
	j->block_size = 0;
}

void smtp_client_free(struct smtp_client *c)
{
	if (!c)
		return;
	job_release(&c->slot[0]);
	job_release(&c->slot[1]);
	client_forget_auth(c);
	buf_free(&c->in);
	buf_free(&c->out);
	buf_free(&c->converted);
	heap_free(c);
}

void client_touch(struct smtp_client *c, mono_ms now)
{
	if (c->progress || (c->flights == 0 && buf_len(&c->out) == 0))
		c->since = now;
	c->progress = false;
}

void client_check_memory(struct smtp_client *c)
{
	if (c->out.failed && c->state != CLIENT_CLOSED)
		client_close_ours(c, SLICE("out of memory for the commands or the message"));
}

void client_quit_if_due(struct smtp_client *c)
{
	if (c->quitting && c->state == CLIENT_OPEN && c->open == 0)
		client_say_quit(c);
}

void smtp_client_start(struct smtp_client *c, mono_ms now)
{
	assert(c->state == CLIENT_NEW);
	client_touch(c, now);
	if (c->config->tls_first) {
		client_move(c, CLIENT_SHAKING);
		return;
	}
	client_move(c, CLIENT_GREETING);
	client_expect(c, CMD_GREETING, 1);
}

void smtp_client_quit(struct smtp_client *c, mono_ms now)
{
	if (c->state == CLIENT_CLOSED)
		return;
	client_touch(c, now);
	c->quitting = true;
	client_quit_if_due(c);
	client_check_memory(c);
}

const struct smtp_peer *smtp_client_peer(const struct smtp_client *c)
{
	return &c->peer;
}

struct slice smtp_client_output(const struct smtp_client *c)
{
	return buf_slice(&c->out);
}

void smtp_client_sent(struct smtp_client *c, size_t n)
{
	buf_take(&c->out, n);
	c->sent += n;
	c->progress = c->progress || n > 0;
	if (c->state == CLIENT_OPEN)
		client_issue(c);
	client_check_memory(c);
}

/* ---- jobs ------------------------------------------------------------------------------------------------------ */

/* Takes memory for what the engine keeps about each recipient; false when there is none. */
static bool job_reserve(struct client_job *j, size_t rcpt_count)
{
	size_t size;

	if (__builtin_add_overflow(rcpt_count, (size_t)SMTP_OUTCOME_TEXT_MAX, &size))
		return false;
	if (size > j->block_size) {
		heap_free(j->block);
		j->block = heap_alloc(size);
		j->block_size = j->block ? size : 0;
		if (!j->block)
			return false;
	}
	j->text = j->block;
	j->rcpt = (uint8_t *)j->block + SMTP_OUTCOME_TEXT_MAX;
	memset(j->rcpt, RCPT_NEW, rcpt_count);
	return true;
}

static struct client_job *job_open(struct smtp_client *c, const struct smtp_client_job *job)
{
	assert(c->open < 2);
	c->open++;

	struct client_job *j = client_youngest(c);
	assert(j->phase == JOB_FREE);
	*j = (struct client_job){.job = *job, .block = j->block, .block_size = j->block_size, .line_start = true};
	j->rcpt_count = job->envelope->rcpt_count;
	c->serial = c->serial == UINT32_MAX ? 1 : c->serial + 1;
	j->serial = c->serial;
	return j;
}

static void settle_unsent(struct client_job *j, struct slice text)
{
	job_settle(j, (struct smtp_outcome){
			      .verdict = SMTP_DEFERRED, .stage = SMTP_STAGE_MAIL, .status = {4, 3, 0}, .text = text});
}

void smtp_client_send(struct smtp_client *c, const struct smtp_client_job *job, mono_ms now)
{
	assert(c->ready_given);
	assert(!c->quitting || c->state == CLIENT_CLOSED);
	client_touch(c, now);
	c->ready_given = false;

	struct client_job *j = job_open(c, job);
	/* The session ended between READY and now. */
	if (c->state == CLIENT_CLOSED) {
		settle_unsent(j, SLICE("the session is over"));
		return;
	}
	if (!job_reserve(j, job->envelope->rcpt_count)) {
		settle_unsent(j, SLICE("out of memory for the recipients"));
		return;
	}
	client_prepare(c, j);
	client_issue(c);
	client_check_memory(c);
}

void smtp_client_body_failed(struct smtp_client *c, struct slice text)
{
	struct client_job *j = client_youngest(c);

	if (c->state == CLIENT_CLOSED || !j || j->phase != JOB_BODY)
		return;
	client_fail_message(
		c, j,
		(struct smtp_outcome){
			.verdict = SMTP_DEFERRED, .stage = SMTP_STAGE_DATA, .status = {4, 6, 6}, .text = text});
}

/* Whether the commands of another job may follow those of `j`. */
static bool job_can_be_followed(const struct client_job *j)
{
	return j->phase == JOB_END || (j->phase == JOB_SETTLED && !j->data_open);
}

static bool takes_job(struct smtp_client *c)
{
	if (c->state != CLIENT_OPEN || c->quitting || c->ready_given)
		return false;
	return c->open == 0 || (c->open == 1 && client_pipelines(c) && job_can_be_followed(client_youngest(c)));
}

static bool wants_body(const struct smtp_client *c, const struct client_job *j)
{
	if (j->phase != JOB_BODY || j->body_asked || buf_len(&c->out) >= c->config->output_max)
		return false;
	return j->way != WAY_BDAT || client_pipelines(c) || c->flights == 0;
}

/* How far the job came, for outcomes that no reply gave. */
static enum smtp_stage job_stage(const struct smtp_client *c, const struct client_job *j)
{
	if (j->phase == JOB_END)
		return c->sent >= j->end_at ? SMTP_STAGE_END : SMTP_STAGE_DATA;
	if (j->phase != JOB_ENVELOPE)
		return SMTP_STAGE_DATA;
	if (!j->mail_answered)
		return SMTP_STAGE_MAIL;
	return j->answered < j->sendable ? SMTP_STAGE_RCPT : SMTP_STAGE_DATA;
}

/* ---- outcomes -------------------------------------------------------------------------------------------------- */

static bool job_has_outcomes(const struct client_job *j)
{
	return j->refused_here > 0 || j->one || (j->sweep && j->given < j->rcpt_count);
}

bool client_has_outcomes(const struct smtp_client *c)
{
	return job_has_outcomes(&c->slot[0]) || job_has_outcomes(&c->slot[1]);
}

void job_settle(struct client_job *j, struct smtp_outcome outcome)
{
	assert(!j->sweep);
	assert(outcome.status.klass == (outcome.verdict == SMTP_DELIVERED  ? 2
					: outcome.verdict == SMTP_DEFERRED ? 4
									   : 5));
	j->sweep = true;
	j->sweep_outcome = outcome;
	job_move(j, JOB_SETTLED);
}

void job_settle_one(struct client_job *j, size_t rcpt, struct smtp_outcome outcome)
{
	assert(!j->one);
	assert(j->rcpt[rcpt] == RCPT_SENT || j->rcpt[rcpt] == RCPT_ACCEPTED);
	j->rcpt[rcpt] = RCPT_DONE;
	j->one = true;
	j->one_rcpt = rcpt;
	j->one_outcome = outcome;
}

static struct smtp_outcome refused_here(uint8_t state)
{
	if (state == RCPT_BAD_UTF8)
		return (struct smtp_outcome){
			.verdict = SMTP_FAILED,
			.stage = SMTP_STAGE_RCPT,
			.status = {5, 6, 7},
			.text = SLICE("the server does not take internationalised addresses (no SMTPUTF8)")};
	assert(state == RCPT_BAD_SYNTAX);
	return (struct smtp_outcome){.verdict = SMTP_FAILED,
				     .stage = SMTP_STAGE_RCPT,
				     .status = {5, 1, 3},
				     .text = SLICE("the address is malformed and was not sent")};
}

static bool next_refused_here(struct client_job *j, struct smtp_client_event *ev)
{
	if (j->refused_here == 0)
		return false;
	while (j->rcpt[j->refused_at] < RCPT_BAD_SYNTAX)
		j->refused_at++;
	ev->rcpt = j->refused_at;
	ev->outcome = refused_here(j->rcpt[j->refused_at]);
	j->rcpt[j->refused_at] = RCPT_DONE;
	j->refused_here--;
	return true;
}

static bool next_one(struct client_job *j, struct smtp_client_event *ev)
{
	if (!j->one)
		return false;
	ev->rcpt = j->one_rcpt;
	ev->outcome = j->one_outcome;
	j->one = false;
	return true;
}

static bool next_swept(struct client_job *j, struct smtp_client_event *ev)
{
	if (!j->sweep)
		return false;
	while (j->swept < j->rcpt_count && j->rcpt && j->rcpt[j->swept] == RCPT_DONE)
		j->swept++;
	if (j->swept == j->rcpt_count)
		return false;
	ev->rcpt = j->swept;
	ev->outcome = j->sweep_outcome;
	if (j->rcpt)
		j->rcpt[j->swept] = RCPT_DONE;
	j->swept++;
	return true;
}

static bool next_outcome(struct client_job *j, struct smtp_client_event *ev)
{
	if (!next_refused_here(j, ev) && !next_one(j, ev) && !next_swept(j, ev))
		return false;
	j->given++;
	assert(j->given <= j->rcpt_count);
	ev->type = SMTP_CLIENT_OUTCOME;
	ev->tag = j->job.tag;
	return true;
}

/* ---- events ---------------------------------------------------------------------------------------------------- */

static bool next_done(struct smtp_client *c, struct smtp_client_event *ev)
{
	struct client_job *j = job_at(c, 0);

	if (j->phase != JOB_SETTLED || j->inflight > 0)
		return false;
	assert(j->given == j->rcpt_count);
	mail_seven_free(j->seven);
	j->seven = NULL;
	job_move(j, JOB_FREE);
	j->sweep = false;
	c->oldest = (c->oldest + 1) % 2;
	c->open--;
	ev->type = SMTP_CLIENT_DONE;
	ev->tag = j->job.tag;
	client_quit_if_due(c);
	client_check_memory(c);
	return true;
}

static bool next_request(struct smtp_client *c, struct smtp_client_event *ev)
{
	struct client_job *j = client_youngest(c);

	if (c->state == CLIENT_SHAKING && !c->handshake_given) {
		c->handshake_given = true;
		ev->type = SMTP_CLIENT_HANDSHAKE;
		return true;
	}
	if (client_next_auth(c, ev))
		return true;
	if (takes_job(c)) {
		c->ready_given = true;
		ev->type = SMTP_CLIENT_READY;
		return true;
	}
	if (!j || !wants_body(c, j))
		return false;
	j->body_asked = true;
	ev->type = SMTP_CLIENT_BODY;
	ev->tag = j->job.tag;
	return true;
}

static bool next_closed(struct smtp_client *c, struct smtp_client_event *ev)
{
	if (c->state != CLIENT_CLOSED || c->closed_given || c->open > 0)
		return false;
	c->closed_given = true;
	ev->type = SMTP_CLIENT_CLOSED;
	ev->outcome = c->closing;
	return true;
}

/* A session without a job is small, however large its last message was. */
static void shrink(struct smtp_client *c)
{
	if (c->open > 0)
		return;
	if (buf_len(&c->out) == 0 && c->out.cap > IDLE_OUTPUT)
		buf_free(&c->out);
	if (buf_len(&c->in) == 0)
		buf_free(&c->in);
	job_release(&c->slot[0]);
	job_release(&c->slot[1]);
}

bool smtp_client_next(struct smtp_client *c, struct smtp_client_event *ev)
{
	*ev = (struct smtp_client_event){0};
	/* The oldest job first, to its end: how the peer's octets are cut then cannot be seen in the events. */
	if (c->open > 0 && (next_outcome(job_at(c, 0), ev) || next_done(c, ev)))
		return true;
	if (c->open > 1 && next_outcome(job_at(c, 1), ev))
		return true;
	if (next_request(c, ev) || next_closed(c, ev))
		return true;
	shrink(c);
	return false;
}

/* ---- the end --------------------------------------------------------------------------------------------------- */

enum smtp_stage client_stage(const struct smtp_client *c)
{
	if (c->flights > 0)
		return client_awaited_stage(c);
	if (c->open > 0)
		return job_stage(c, &c->slot[(c->oldest + c->open - 1) % 2]);
	if (c->state == CLIENT_SHAKING)
		return SMTP_STAGE_TLS;
	if (c->state == CLIENT_AUTH)
		return SMTP_STAGE_AUTH;
	return c->state == CLIENT_NEW ? SMTP_STAGE_CONNECT : SMTP_STAGE_EHLO;
}

void client_close(struct smtp_client *c, struct smtp_outcome outcome)
{
	outcome.text = client_hide_answer(c, outcome.text);
	size_t n = outcome.text.n < sizeof c->why ? outcome.text.n : sizeof c->why;

	if (n && outcome.text.p != c->why)
		memmove(c->why, outcome.text.p, n);
	outcome.text = slice_of(c->why, n);
	c->closing = outcome;
	for (unsigned age = 0; age < c->open; age++) {
		struct client_job *j = job_at(c, age);
		struct smtp_outcome lost = outcome;

		j->inflight = 0;
		j->data_open = false;
		if (j->phase == JOB_SETTLED)
			continue;
		assert(outcome.verdict == SMTP_DEFERRED);
		lost.stage = job_stage(c, j);
		lost.ambiguous = lost.stage == SMTP_STAGE_END;
		job_settle(j, lost);
	}
	c->flights = 0;
	/* Nothing that waits may go out any more: an end of data would have the message taken that we just deferred. */
	buf_reset(&c->out);
	client_forget_auth(c);
	buf_free(&c->in);
	client_move(c, CLIENT_CLOSED);
}

void client_close_why(struct smtp_client *c, enum smtp_stage stage, struct smtpcodes_status status, struct slice text)
{
	client_close(c,
		     (struct smtp_outcome){.verdict = SMTP_DEFERRED, .stage = stage, .status = status, .text = text});
}

void client_close_ours(struct smtp_client *c, struct slice text)
{
	client_close_why(c, client_stage(c), (struct smtpcodes_status){4, 3, 0}, text);
}

static void close_orderly(struct smtp_client *c, struct slice text)
{
	client_close(c, (struct smtp_outcome){
				.verdict = SMTP_DELIVERED, .stage = SMTP_STAGE_END, .status = {2, 0, 0}, .text = text});
}

/* What the session was doing; NULL when it waited for a reply (client_awaits). */
static const char *doing(const struct smtp_client *c)
{
	if (c->state == CLIENT_NEW)
		return "connecting";
	if (buf_len(&c->out) > 0)
		return "sending to the server";
	if (c->flights == 0)
		return c->open > 0 ? "sending the message" : "idle between messages";
	return NULL;
}

/* `what`, what the session was doing, and `why` if there is one. */
static void close_connection(struct smtp_client *c, const char *what, struct slice why)
{
	char text[SMTP_OUTCOME_TEXT_MAX];
	const char *now = doing(c);
	int n;

	/* Nothing was heard since TLS was asked for: it may be what the server cannot do. */
	c->tls_broke = (c->secured && !c->heard_secured) || client_awaits_starttls(c);
	n = snprintf(text, sizeof text, "%s%s%s%s%.*s", what, now ? "" : "waiting for the ",
			 now ? now : client_awaits(c), why.n ? ": " : "", SLICE_ARGS(why));

	assert(n > 0);
	client_close_why(c, client_stage(c), (struct smtpcodes_status){4, 4, 2},
			 slice_of(text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1));
}

void smtp_client_lost(struct smtp_client *c, struct slice why)
{
	if (c->state == CLIENT_CLOSED)
		return;
	/* Many close at QUIT without a word; nothing is lost by it. */
	if (c->state == CLIENT_QUITTING)
		close_orderly(c, why);
	else if (c->state == CLIENT_SHAKING)
		client_close_handshake(c, why);
	else
		close_connection(c, "connection lost while ", why);
}

/* ---- time ------------------------------------------------------------------------------------------------------ */

/* How long the present wait may take; 0 when nothing is waited for. */
static span_ms patience(const struct smtp_client *c)
{
	if (c->state == CLIENT_CLOSED || c->state == CLIENT_NEW)
		return 0;
	if (c->state == CLIENT_SHAKING)
		return c->config->tls_timeout;
	if (buf_len(&c->out) > 0)
		return c->config->block_timeout;
	span_ms p = c->flights ? client_patience(c) : 0;
	return c->state == CLIENT_QUITTING && p > QUIT_PATIENCE ? QUIT_PATIENCE : p;
}

mono_ms smtp_client_deadline(const struct smtp_client *c)
{
	span_ms p = patience(c);

	return p == 0 || c->since > NEVER - p ? NEVER : c->since + p;
}

void smtp_client_tick(struct smtp_client *c, mono_ms now)
{
	char what[64];

	if (now < smtp_client_deadline(c))
		return;
	if (c->progress) {
		client_touch(c, now);
		return;
	}
	if (c->state == CLIENT_SHAKING) {
		snprintf(what, sizeof what, "it took longer than %lld s", (long long)(patience(c) / SECOND));
		client_close_handshake(c, slice_from_cstr(what));
		return;
	}
	snprintf(what, sizeof what, "timed out after %lld s while ", (long long)(patience(c) / SECOND));
	close_connection(c, what, SLICE_NONE);
}
