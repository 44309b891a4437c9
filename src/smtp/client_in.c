/*
 * client_in: the peer's octets become replies, and each reply answers the oldest command.
 *
 * Replies are matched by counting alone (RFC 2920 3.1). A reply that began before its command had left us cannot be its
 * answer: with the one exception of 421 (RFC 5321 3.8), it ends the session. Without an enhanced code, or with one
 * whose class is not the code's first digit, the status of an outcome is X.0.0 with the class of the code; nothing is
 * guessed.
 *
 * 552 to RCPT: RFC 821 gave it for too many recipients, and RFC 5321 4.5.3.1.10 asks clients to take that as temporary.
 * It is taken so with the enhanced code 5.5.3, or without any when the text speaks of recipients. All other 552 mean a
 * full mailbox or a large message, and fail.
 */
#include "smtp/client.h"

#include "smtp/client_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

typedef void (*answer_fn)(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);

static void on_rset(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
static void on_mail(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
static void on_rcpt(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
static void on_data(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
static void on_bdat(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
static void on_end(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
static void on_empty(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);
static void on_quit(struct smtp_client *c, struct client_job *j, const struct client_reply *reply);

/* clang-format off */
#define PATIENCE(field) offsetof(struct smtp_client_config, field)
static const struct command {
	const char *awaited; /* for texts: "waiting for the ..." */
	enum smtp_stage stage;
	size_t patience;
	answer_fn answer;
} commands[] = {
	[CMD_GREETING] = {"greeting",                    SMTP_STAGE_GREETING, PATIENCE(greeting_timeout), client_on_greeting},
	[CMD_EHLO]     = {"reply to EHLO",               SMTP_STAGE_EHLO,     PATIENCE(command_timeout),  client_on_ehlo},
	[CMD_HELO]     = {"reply to HELO",               SMTP_STAGE_EHLO,     PATIENCE(command_timeout),  client_on_helo},
	[CMD_STARTTLS] = {"reply to STARTTLS",           SMTP_STAGE_TLS,      PATIENCE(command_timeout),  client_on_starttls},
	[CMD_AUTH]     = {"reply to AUTH",               SMTP_STAGE_AUTH,     PATIENCE(command_timeout),  client_on_auth},
	[CMD_RSET]     = {"reply to RSET",               SMTP_STAGE_MAIL,     PATIENCE(command_timeout),  on_rset},
	[CMD_MAIL]     = {"reply to MAIL FROM",          SMTP_STAGE_MAIL,     PATIENCE(command_timeout),  on_mail},
	[CMD_RCPT]     = {"reply to RCPT TO",            SMTP_STAGE_RCPT,     PATIENCE(command_timeout),  on_rcpt},
	[CMD_DATA]     = {"reply to DATA",               SMTP_STAGE_DATA,     PATIENCE(data_timeout),     on_data},
	[CMD_BDAT]     = {"reply to BDAT",               SMTP_STAGE_DATA,     PATIENCE(block_timeout),    on_bdat},
	[CMD_LAST]     = {"reply to BDAT LAST",          SMTP_STAGE_END,      PATIENCE(end_timeout),      on_end},
	[CMD_END]      = {"reply to the end of data",    SMTP_STAGE_END,      PATIENCE(end_timeout),      on_end},
	[CMD_EMPTY]    = {"reply to an empty message",   SMTP_STAGE_DATA,     PATIENCE(end_timeout),      on_empty},
	[CMD_QUIT]     = {"reply to QUIT",               SMTP_STAGE_END,      PATIENCE(command_timeout),  on_quit},
};
/* clang-format on */

static_assert(sizeof commands / sizeof *commands == CMD_MAX + 1, "every command has its row");

/* ---- commands in flight ---------------------------------------------------------------------------------------- */

static struct client_flight *flight_at(struct smtp_client *c, unsigned age)
{
	assert(age < c->flights);
	return &c->flight[(c->flight_first + age) % FLIGHTS_MAX];
}

static const struct command *awaited(const struct smtp_client *c)
{
	assert(c->flights > 0);
	return &commands[c->flight[c->flight_first].command];
}

/* Whether what comes now can be the answer to a command. */
static bool is_answer(const struct smtp_client *c)
{
	return c->flights > 0 && c->flight[c->flight_first].sent_at <= c->sent;
}

const char *client_awaits(const struct smtp_client *c)
{
	return awaited(c)->awaited;
}

bool client_awaits_starttls(const struct smtp_client *c)
{
	return c->flights > 0 && c->flight[c->flight_first].command == CMD_STARTTLS;
}

enum smtp_stage client_awaited_stage(const struct smtp_client *c)
{
	enum smtp_stage stage = awaited(c)->stage;

	return stage == SMTP_STAGE_END && !is_answer(c) ? SMTP_STAGE_DATA : stage;
}

span_ms client_patience(const struct smtp_client *c)
{
	span_ms p;

	memcpy(&p, (const char *)c->config + awaited(c)->patience, sizeof p);
	return p;
}

void client_expect(struct smtp_client *c, enum client_command command, uint32_t count)
{
	struct client_job *j = client_youngest(c);
	uint8_t slot = j == &c->slot[1];
	struct client_flight *last = c->flights ? flight_at(c, c->flights - 1) : NULL;

	assert(count > 0);
	if (j)
		j->inflight += count;
	if (last && last->command == command && last->slot == slot) {
		last->count += count;
		return;
	}
	assert(c->flights < FLIGHTS_MAX);
	c->flights++;
	*flight_at(c, c->flights - 1) = (struct client_flight){
		.command = (uint8_t)command, .slot = slot, .count = count, .sent_at = c->sent + buf_len(&c->out)};
}

/* ---- outcomes and ends ----------------------------------------------------------------------------------------- */

struct slice client_reply_text(const struct client_reply *reply, char *text, size_t cap)
{
	return slice_of(text, smtpcodes_reply_text(reply->raw.p, reply->raw.n, SMTPCODES_PEER, ' ', text, cap));
}

/* `text`: SMTP_OUTCOME_TEXT_MAX octets for its text. */
static struct smtp_outcome reply_outcome(const struct client_reply *reply, enum smtp_stage stage, char *text)
{
	static const enum smtp_verdict verdicts[] = {[2] = SMTP_DELIVERED, [4] = SMTP_DEFERRED, [5] = SMTP_FAILED};
	struct smtp_outcome o = {.stage = stage, .code = reply->code, .status = reply->status};

	assert(reply->digit == 2 || reply->digit == 4 || reply->digit == 5);
	o.verdict = verdicts[reply->digit];
	if (o.status.klass == 0)
		o.status.klass = (uint8_t)reply->digit;
	assert(o.status.klass == reply->digit);
	o.text = client_reply_text(reply, text, SMTP_OUTCOME_TEXT_MAX);
	return o;
}

static void close_with_reply(struct smtp_client *c, const struct client_reply *reply, enum smtp_stage stage)
{
	client_close(c, reply_outcome(reply, stage, c->why));
}

/* A reply that nobody can make sense of where it came: `what` names it. */
static void close_senseless(struct smtp_client *c, const struct client_reply *reply, enum smtp_stage stage,
			    const char *what)
{
	char words[SMTP_OUTCOME_TEXT_MAX / 2], text[SMTP_OUTCOME_TEXT_MAX];
	struct slice w = client_reply_text(reply, words, sizeof words);
	int n = snprintf(text, sizeof text, "unexpected %s: %u %.*s", what, reply->code, SLICE_ARGS(w));

	assert(n > 0 && (size_t)n < sizeof text);
	client_close_why(c, stage, (struct smtpcodes_status){4, 5, 0}, slice_of(text, (size_t)n));
}

void client_close_with_reply(struct smtp_client *c, const struct client_reply *reply)
{
	close_with_reply(c, reply, commands[reply->command].stage);
}

void client_close_unexpected(struct smtp_client *c, const struct client_reply *reply)
{
	close_senseless(c, reply, commands[reply->command].stage, commands[reply->command].awaited);
}

/* Octets that are no reply: shown up to a bound, and only those that can do no harm in a log. */
static void close_malformed(struct smtp_client *c, struct slice raw, const char *error)
{
	char shown[60], text[256];
	struct slice head = slice_head(raw, sizeof shown);

	for (size_t i = 0; i < head.n; i++)
		shown[i] = ascii_is_print(head.p[i]) ? head.p[i] : '?';
	int n = snprintf(text, sizeof text, "malformed reply: %s: %.*s", error, (int)head.n, shown);

	assert(n > 0 && (size_t)n < sizeof text);
	client_close_why(c, client_stage(c), (struct smtpcodes_status){4, 5, 0}, slice_of(text, (size_t)n));
}

/* ---- answers --------------------------------------------------------------------------------------------------- */

static void on_rset(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	(void)j;
	if (reply->digit != 2)
		client_close_unexpected(c, reply);
}

static void on_mail(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	if (reply->digit == 3) {
		client_close_unexpected(c, reply);
		return;
	}
	j->mail_answered = true;
	if (reply->digit != 2)
		job_settle(j, reply_outcome(reply, SMTP_STAGE_MAIL, j->text));
}

static bool says_too_many_recipients(const struct smtp_outcome *o)
{
	if (o->code != 552)
		return false;
	if (o->status.subject != 0 || o->status.detail != 0)
		return o->status.subject == 5 && o->status.detail == 3;
	return slice_isearch(o->text, SLICE("recipients")) < o->text.n;
}

static void rcpt_refused(struct client_job *j, size_t rcpt, const struct client_reply *reply)
{
	struct smtp_outcome o = reply_outcome(reply, SMTP_STAGE_RCPT, j->text);

	if (says_too_many_recipients(&o)) {
		o.verdict = SMTP_DEFERRED;
		o.status.klass = 4;
	}
	job_settle_one(j, rcpt, o);
}

/* The recipient whose RCPT is the oldest without reply. */
static size_t rcpt_answered(struct client_job *j)
{
	while (j->rcpt[j->to_answer] != RCPT_SENT)
		j->to_answer++;
	return j->to_answer++;
}

static void on_rcpt(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	if (reply->digit == 3) {
		client_close_unexpected(c, reply);
		return;
	}
	j->answered++;
	assert(j->answered <= j->sendable);
	j->accepted += reply->digit == 2;
	/* MAIL was refused: its outcome stands. Whether one was accepted all the same counts when DATA is answered. */
	if (j->phase == JOB_SETTLED)
		return;

	size_t rcpt = rcpt_answered(j);
	if (reply->digit == 2)
		j->rcpt[rcpt] = RCPT_ACCEPTED;
	else
		rcpt_refused(j, rcpt, reply);
	if (j->answered == j->sendable && j->accepted == 0)
		job_move(j, JOB_SETTLED);
}

/*
 * DATA was taken though no recipient can get the message. After refused recipients a lone dot ends it (RFC 2920 3.1).
 * If MAIL was refused and a recipient taken, a dot could have an empty message delivered; and what an LMTP server
 * answers to the dot cannot be counted. Then only the end of the session is safe.
 */
static void data_for_nobody(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	if (reply->digit == 2)
		client_close_unexpected(c, reply);
	else if (reply->digit == 3 && (j->accepted > 0 || c->config->lmtp))
		close_senseless(c, reply, SMTP_STAGE_DATA, "reply to DATA without recipients");
	else if (reply->digit == 3)
		client_say_empty_end(c, j);
}

static void on_data(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	j->data_open = false;
	assert(j->phase == JOB_SETTLED || j->accepted > 0);
	if (j->phase == JOB_SETTLED)
		data_for_nobody(c, j, reply);
	else if (reply->digit == 3)
		job_move(j, JOB_BODY);
	else if (reply->digit == 2)
		client_close_unexpected(c, reply);
	else
		job_settle(j, reply_outcome(reply, SMTP_STAGE_DATA, j->text));
}

static void chunk_refused(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	bool last_is_out = j->phase == JOB_END;

	job_settle(j, reply_outcome(reply, SMTP_STAGE_DATA, j->text));
	/* How many replies an LMTP server gives to BDAT LAST now is anybody's guess. */
	if (last_is_out && c->config->lmtp)
		client_close_why(c, client_stage(c), (struct smtpcodes_status){4, 5, 0},
				 SLICE("a chunk was refused, and the replies to the last cannot be counted"));
}

static void on_bdat(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	if (reply->digit == 3)
		client_close_unexpected(c, reply);
	else if (reply->digit != 2 && j->phase != JOB_SETTLED)
		chunk_refused(c, j, reply);
}

static struct smtp_outcome end_outcome(const struct smtp_client *c, struct client_job *j,
				       const struct client_reply *reply)
{
	struct smtp_outcome o = reply_outcome(reply, SMTP_STAGE_END, j->text);

	o.dsn_relayed = o.verdict == SMTP_DELIVERED && c->peer.dsn;
	o.lossy = o.verdict == SMTP_DELIVERED && j->seven && mail_seven_lossy(j->seven);
	return o;
}

static size_t end_answered(struct client_job *j)
{
	while (j->rcpt[j->to_end] != RCPT_ACCEPTED)
		j->to_end++;
	return j->to_end++;
}

static void on_end(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	if (reply->digit == 3) {
		client_close_unexpected(c, reply);
		return;
	}
	/* A chunk before the last was refused: these replies speak for nobody any more. */
	if (j->phase == JOB_SETTLED)
		return;
	if (reply->digit == 2 && c->dirty == j->serial)
		c->dirty = 0;
	if (!c->config->lmtp) {
		job_settle(j, end_outcome(c, j, reply));
		return;
	}
	/* RFC 2033 4.2: one reply for each accepted recipient, in their order. */
	job_settle_one(j, end_answered(j), end_outcome(c, j, reply));
	if (j->inflight == 0)
		job_move(j, JOB_SETTLED);
}

static void on_empty(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	(void)j;
	if (reply->digit == 3)
		client_close_unexpected(c, reply);
}

static void on_quit(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	(void)j;
	struct smtp_outcome o = {.verdict = SMTP_DELIVERED, .stage = SMTP_STAGE_END, .code = reply->code};

	o.status.klass = 2;
	o.text = client_reply_text(reply, c->why, sizeof c->why);
	client_close(c, o);
}

/* ---- replies --------------------------------------------------------------------------------------------------- */

/* Takes one reply off the oldest command, and gives its job; NULL for the commands of the session. */
static struct client_job *land(struct smtp_client *c, enum client_command *ret_command)
{
	struct client_flight *f = flight_at(c, 0);
	struct client_job *j = c->open ? &c->slot[f->slot] : NULL;

	*ret_command = (enum client_command)f->command;
	if (j) {
		assert(j->inflight > 0);
		j->inflight--;
	}
	if (--f->count == 0) {
		c->flight_first = (c->flight_first + 1) % FLIGHTS_MAX;
		c->flights--;
	}
	return j;
}

/* A reply that answers nothing: the server's good-bye, or an error of its. */
static void unasked(struct smtp_client *c, const struct client_reply *reply)
{
	if (reply->code == 421)
		close_with_reply(c, reply, client_stage(c));
	else
		close_senseless(c, reply, client_stage(c), "reply to no command");
}

static void answer(struct smtp_client *c, struct client_reply *reply, mono_ms now)
{
	if (c->early) {
		unasked(c, reply);
		return;
	}
	struct client_job *j = land(c, &reply->command);
	c->since = now;
	c->heard_secured = c->secured;
	/* RFC 5321 3.8: 421 may answer any command. The end of data keeps it as its own reply. */
	bool good_bye = reply->code == 421 && reply->command != CMD_QUIT;
	if (!good_bye || reply->command == CMD_END || reply->command == CMD_LAST)
		commands[reply->command].answer(c, j, reply);
	if (good_bye && c->state != CLIENT_CLOSED)
		close_with_reply(c, reply, commands[reply->command].stage);
	if (c->state == CLIENT_OPEN)
		client_issue(c);
	client_quit_if_due(c);
}

static void reply_begin(struct smtp_client *c)
{
	buf_reset(&c->in);
	c->line_octets = c->reply_octets = c->reply_lines = 0;
}

/* The lines so far, the last of them whole. */
static void take_lines(struct smtp_client *c, struct slice raw, mono_ms now)
{
	struct smtpcodes_reply parsed;
	enum smtpcodes_parse result = smtpcodes_reply_parse(raw.p, raw.n, SMTPCODES_PEER, &parsed);

	if (result == SMTPCODES_BAD) {
		close_malformed(c, raw, parsed.error);
	} else if (result == SMTPCODES_OK) {
		assert(parsed.octets == raw.n);
		struct client_reply reply = {
			.code = parsed.code, .digit = parsed.code / 100, .status = parsed.status, .raw = raw};
		answer(c, &reply, now);
		reply_begin(c);
	} else if (buf_len(&c->in) == 0 && !buf_add(&c->in, raw)) {
		client_close_ours(c, SLICE("out of memory for a reply"));
	}
}

/* Takes octets up to the end of a line at most; returns how many. */
static size_t take_octets(struct smtp_client *c, struct slice in, mono_ms now)
{
	size_t end = slice_find(in, '\n');
	bool whole = end < in.n;
	struct slice piece = slice_head(in, end + 1);

	if (c->reply_octets == 0)
		c->early = !is_answer(c);
	c->line_octets += piece.n;
	c->reply_octets += piece.n;
	if (c->line_octets > SMTP_PEER_REPLY_LINE_MAX || c->reply_octets > SMTP_PEER_REPLY_MAX ||
	    (whole && ++c->reply_lines > SMTP_PEER_REPLY_LINES)) {
		close_malformed(c, buf_len(&c->in) ? buf_slice(&c->in) : piece, "it is too long");
		return piece.n;
	}
	/* A reply of one line that came whole is read where it lies. */
	if (whole && buf_len(&c->in) == 0) {
		take_lines(c, piece, now);
	} else if (!buf_add(&c->in, piece)) {
		client_close_ours(c, SLICE("out of memory for a reply"));
	} else if (whole) {
		take_lines(c, buf_slice(&c->in), now);
	}
	if (whole)
		c->line_octets = 0;
	return piece.n;
}

size_t smtp_client_feed(struct smtp_client *c, struct slice in, mono_ms now)
{
	size_t taken = 0;

	assert(c->state != CLIENT_NEW);
	client_touch(c, now);
	while (taken < in.n && c->state > CLIENT_SHAKING && c->state < CLIENT_CLOSED && !client_has_outcomes(c))
		taken += take_octets(c, slice_skip(in, taken), now);
	if (c->state == CLIENT_SHAKING && taken < in.n)
		client_close_injected(c);
	client_check_memory(c);
	/* Nothing is said to a session that is over. */
	return c->state == CLIENT_CLOSED ? in.n : taken;
}
