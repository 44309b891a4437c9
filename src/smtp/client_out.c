/*
 * client_out: jobs become commands, and messages become data.
 *
 * A job is looked at before its first command: what the peer cannot take fails without a transaction on the wire.
 *
 *	larger than its SIZE                                 5.3.4
 *	an address outside ASCII, no SMTPUTF8                its domain as A-labels if that makes it ASCII, else 5.6.7
 *	header fields outside ASCII, no SMTPUTF8             5.6.9
 *	an address that is malformed                         5.1.3, the sender's 5.1.7: it could break the command line
 *	a body outside ASCII, no 8BITMIME                    DATA, converted to seven bits (mail/seven.h)
 *	bare CR, bare LF, NUL; no BINARYMIME with CHUNKING   DATA, converted to lines (of eight bits with 8BITMIME)
 *	either of these, and the job allows no conversion    5.6.2
 *
 * What cannot be converted is found out while it is sent: 5.6.2, 5.6.3, 5.6.5 or 5.6.9 then (mail/seven.h), and the
 * session ends with it, because there is no other way to take back what was sent of a message.
 *
 * By DATA no CR, LF or NUL leaves that is not part of a line's end, whatever the job says of its content: a message
 * that holds one is never ended, so that no peer can see a second message in it.
 */
#include "smtp/client.h"

#include "mail/address.h"
#include "mail/unitext.h"
#include "smtp/client_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- what the peer can take ------------------------------------------------------------------------------------ */

static bool chunks(const struct smtp_client *c)
{
	return c->config->chunking && c->peer.chunking;
}

static enum job_way choose_way(const struct smtp_client *c, const struct smtp_client_job *job)
{
	if (job->has_bare && !(chunks(c) && c->peer.binary_mime))
		return WAY_CONVERTED;
	if ((job->eight_bit || job->needs_utf8) && !c->peer.eight_bit_mime)
		return WAY_CONVERTED;
	return chunks(c) ? WAY_BDAT : WAY_DATA;
}

/* How an address goes out: RCPT_NEW as it is, RCPT_ALABEL, RCPT_BAD_*. <postmaster> has no domain (RFC 5321 4.5.1). */
static enum rcpt_state judge_address(const struct smtp_client *c, struct slice text, bool *utf8)
{
	struct mail_address address;
	const char *why;

	if (slice_ieq(text, SLICE("postmaster")))
		return RCPT_NEW;
	if (mail_address_parse(text, &address, &why) != MAIL_ADDRESS_OK)
		return RCPT_BAD_SYNTAX;
	if (!address.utf8)
		return RCPT_NEW;
	if (c->peer.smtputf8) {
		*utf8 = true;
		return RCPT_NEW;
	}
	return slice_is_ascii(address.local) ? RCPT_ALABEL : RCPT_BAD_UTF8;
}

static void judge_recipients(const struct smtp_client *c, struct client_job *j)
{
	for (size_t i = 0; i < j->rcpt_count; i++) {
		j->rcpt[i] = (uint8_t)judge_address(c, j->job.envelope->rcpt[i].address, &j->utf8);
		if (j->rcpt[i] >= RCPT_BAD_SYNTAX)
			j->refused_here++;
	}
	j->sendable = j->rcpt_count - j->refused_here;
}

static struct smtp_outcome refusal(uint16_t subject, uint16_t detail, struct slice text)
{
	return (struct smtp_outcome){
		.verdict = SMTP_FAILED, .stage = SMTP_STAGE_MAIL, .status = {5, subject, detail}, .text = text};
}

static struct slice too_large_text(const struct smtp_client *c, const struct client_job *j)
{
	int n = snprintf(j->text, SMTP_OUTCOME_TEXT_MAX,
			 "the message has %llu octets, and the server takes no more than %llu",
			 (unsigned long long)j->job.size, (unsigned long long)c->peer.size_max);

	return slice_of(j->text, (size_t)n);
}

/* Why the whole job cannot go to this peer; false when it can. */
static bool refuse_job(const struct smtp_client *c, struct client_job *j, struct smtp_outcome *ret)
{
	enum rcpt_state sender = RCPT_NEW;

	if (j->job.requiretls && j->job.envelope->sender.n > 0 && !c->config->on_this_machine &&
	    !client_takes_requiretls(c)) {
		*ret = !c->secured || !c->verified
			       ? refusal(7, 10, SLICE("the session is not safe enough for a message with REQUIRETLS"))
			       : refusal(7, 30, SLICE("the server offers no REQUIRETLS, which the message demands"));
		return true;
	}
	if (c->peer.size_max > 0 && j->job.size > c->peer.size_max) {
		*ret = refusal(3, 4, too_large_text(c, j));
		return true;
	}
	if (j->job.envelope->sender.n > 0)
		sender = judge_address(c, j->job.envelope->sender, &j->utf8);
	j->sender_alabel = sender == RCPT_ALABEL;
	if (sender == RCPT_BAD_SYNTAX)
		*ret = refusal(1, 7, SLICE("the sender's address is malformed and was not sent"));
	else if (sender == RCPT_BAD_UTF8)
		*ret = refusal(6, 7,
			       SLICE("the server does not take the sender's internationalised address (no SMTPUTF8)"));
	return sender == RCPT_BAD_SYNTAX || sender == RCPT_BAD_UTF8;
}

/* Why the message cannot go to this peer, whoever it is for. A recipient whose address alone cannot go to it is told
 * so instead (RFC 6531 3.5: X.6.7 is about addresses, X.6.9 about the header section). */
static bool refuse_content(const struct smtp_client *c, const struct client_job *j, struct smtp_outcome *ret)
{
	if (j->job.needs_utf8 && !c->peer.smtputf8) {
		*ret = refusal(6, 9,
			       SLICE("the message has internationalised header fields, and the server does not "
				     "take them (no SMTPUTF8)"));
		return true;
	}
	if (j->job.no_conversion && choose_way(c, &j->job) == WAY_CONVERTED) {
		*ret = refusal(6, 2,
			       j->job.has_bare ? SLICE("the server does not take binary messages (no BINARYMIME), and "
						       "this message must not be converted for it")
					       : SLICE("the server takes seven bits only (no 8BITMIME), and this "
						       "message must not be converted for it"));
		return true;
	}
	return false;
}

void client_prepare(struct smtp_client *c, struct client_job *j)
{
	struct smtp_outcome why;

	if (refuse_job(c, j, &why)) {
		job_settle(j, why);
		return;
	}
	judge_recipients(c, j);
	if (refuse_content(c, j, &why)) {
		job_settle(j, why);
		return;
	}
	/* A message that came with SMTPUTF8 may hold UTF-8 in the headers of its parts: it goes on with it if it can.
	 */
	j->utf8 = j->utf8 || (c->peer.smtputf8 && (j->job.needs_utf8 || j->job.envelope->utf8));
	j->way = choose_way(c, &j->job);
	job_move(j, j->sendable > 0 ? JOB_ENVELOPE : JOB_SETTLED);
}

/* ---- commands of the session ----------------------------------------------------------------------------------- */

void client_say_hello(struct smtp_client *c, enum client_command command)
{
	if (command == CMD_HELO)
		buf_add_lit(&c->out, "HELO ");
	else if (c->config->lmtp)
		buf_add_lit(&c->out, "LHLO ");
	else
		buf_add_lit(&c->out, "EHLO ");
	buf_add(&c->out, c->config->name);
	buf_add_lit(&c->out, "\r\n");
	client_expect(c, command, 1);
}

void client_say_quit(struct smtp_client *c)
{
	client_move(c, CLIENT_QUITTING);
	buf_add_lit(&c->out, "QUIT\r\n");
	client_expect(c, CMD_QUIT, 1);
}

/* ---- MAIL and RCPT --------------------------------------------------------------------------------------------- */

/* The address was found good by judge_address. */
static void put_address(struct buf *out, struct slice text, bool alabel)
{
	size_t at = slice_rfind(text, '@');

	if (!alabel) {
		buf_add(out, text);
		return;
	}
	buf_add(out, slice_head(text, at + 1));
	if (!mail_domain_canonical(slice_skip(text, at + 1), out))
		out->failed = true;
}

/* Whether nothing in it could end a parameter or a line. */
static bool is_parameter(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
			return false;
	return s.n > 0;
}

static void put_mail_dsn(struct buf *out, const struct mail_envelope *envelope)
{
	static const char *const rets[] = {
		[MAIL_RET_NONE] = "", [MAIL_RET_FULL] = " RET=FULL", [MAIL_RET_HDRS] = " RET=HDRS"};

	buf_add(out, slice_from_cstr(rets[envelope->ret]));
	if (is_parameter(envelope->envid) && slice_is_ascii(envelope->envid) && envelope->envid.n <= SMTP_ENVID_MAX) {
		buf_add_lit(out, " ENVID=");
		buf_add(out, envelope->envid);
	}
}

/* SIZE counts the message as we have it (RFC 1870 3); after a conversion nobody knows. */
static void put_mail_parameters(struct buf *out, const struct smtp_client *c, const struct client_job *j)
{
	if (c->peer.size && j->way != WAY_CONVERTED && j->job.size > 0) {
		buf_add_lit(out, " SIZE=");
		buf_add_u64(out, j->job.size);
	}
	if (j->way == WAY_BDAT && j->job.has_bare)
		buf_add_lit(out, " BODY=BINARYMIME");
	else if (c->peer.eight_bit_mime && (j->job.eight_bit || j->job.needs_utf8))
		buf_add_lit(out, " BODY=8BITMIME");
	if (j->utf8)
		buf_add_lit(out, " SMTPUTF8");
	if (j->job.requiretls && client_takes_requiretls(c))
		buf_add_lit(out, " REQUIRETLS");
	if (c->peer.dsn)
		put_mail_dsn(out, j->job.envelope);
}

static void say_mail(struct smtp_client *c, struct client_job *j)
{
	buf_add_lit(&c->out, "MAIL FROM:<");
	put_address(&c->out, j->job.envelope->sender, j->sender_alabel);
	buf_add_lit(&c->out, ">");
	put_mail_parameters(&c->out, c, j);
	buf_add_lit(&c->out, "\r\n");
	client_expect(c, CMD_MAIL, 1);
}

static void put_notify(struct buf *out, uint8_t notify)
{
	static const struct {
		uint8_t bit;
		struct slice word;
	} words[] = {
		{MAIL_NOTIFY_NEVER, {"NEVER", 5}},
		{MAIL_NOTIFY_SUCCESS, {"SUCCESS", 7}},
		{MAIL_NOTIFY_FAILURE, {"FAILURE", 7}},
		{MAIL_NOTIFY_DELAY, {"DELAY", 5}},
	};
	bool first = true;

	if (notify == 0)
		return;
	buf_add_lit(out, " NOTIFY=");
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		if (!(notify & words[i].bit))
			continue;
		if (!first)
			buf_add_lit(out, ",");
		first = false;
		buf_add(out, words[i].word);
		if (words[i].bit == MAIL_NOTIFY_NEVER)
			return; /* alone, RFC 3461 4.1 */
	}
}

/* "utf-8;" and an address with UTF-8, for a peer without SMTPUTF8: in the form that every server takes (RFC 6533 3). */
static void put_utf8_orcpt(struct buf *out, struct slice orcpt)
{
	struct buf address, text;

	buf_init(&address, SMTP_ORCPT_MAX);
	buf_init(&text, SMTP_ORCPT_MAX);
	if (slice_istarts(orcpt, SLICE("utf-8;")) && mail_unitext_decode(slice_skip(orcpt, 6), &address) &&
	    mail_unitext_encode(buf_slice(&address), &text)) {
		buf_add_lit(out, " ORCPT=utf-8;");
		buf_add(out, buf_slice(&text));
	}
	buf_free(&address);
	buf_free(&text);
}

/* Left out when it could break the line, or cannot be said to this peer. */
static void put_orcpt(struct buf *out, const struct client_job *j, struct slice orcpt)
{
	if (!is_parameter(orcpt) || orcpt.n > SMTP_ORCPT_MAX)
		return;
	if (!slice_is_ascii(orcpt) && !j->utf8) {
		put_utf8_orcpt(out, orcpt);
		return;
	}
	buf_add_lit(out, " ORCPT=");
	buf_add(out, orcpt);
}

static void say_rcpt(struct smtp_client *c, struct client_job *j, size_t i)
{
	const struct mail_rcpt *rcpt = &j->job.envelope->rcpt[i];

	buf_add_lit(&c->out, "RCPT TO:<");
	put_address(&c->out, rcpt->address, j->rcpt[i] == RCPT_ALABEL);
	buf_add_lit(&c->out, ">");
	if (c->peer.dsn) {
		put_notify(&c->out, rcpt->notify);
		put_orcpt(&c->out, j, rcpt->orcpt);
	}
	buf_add_lit(&c->out, "\r\n");
	j->rcpt[i] = RCPT_SENT;
	client_expect(c, CMD_RCPT, 1);
}

/* ---- the envelope, step by step -------------------------------------------------------------------------------- */

static void step_mail(struct smtp_client *c, struct client_job *j)
{
	if (c->dirty != 0) {
		c->dirty = 0;
		buf_add_lit(&c->out, "RSET\r\n");
		client_expect(c, CMD_RSET, 1);
		return;
	}
	say_mail(c, j);
	c->dirty = j->serial;
	j->step = STEP_RCPT;
}

/* Seeks the next recipient that goes out at all. */
static void step_rcpt(struct smtp_client *c, struct client_job *j)
{
	while (j->to_send < j->rcpt_count && j->rcpt[j->to_send] > RCPT_ALABEL)
		j->to_send++;
	if (j->to_send == j->rcpt_count)
		j->step = STEP_DATA;
	else
		say_rcpt(c, j, j->to_send++);
}

static void step_data(struct smtp_client *c, struct client_job *j)
{
	j->step = STEP_NONE;
	if (j->way == WAY_BDAT) {
		job_move(j, JOB_BODY);
		return;
	}
	buf_add_lit(&c->out, "DATA\r\n");
	j->data_open = true;
	client_expect(c, CMD_DATA, 1);
}

static bool may_issue(const struct smtp_client *c, const struct client_job *j)
{
	if (j->phase != JOB_ENVELOPE || j->step == STEP_NONE)
		return false;
	if (buf_len(&c->out) + SMTP_COMMAND_LINE_MAX > c->config->output_max)
		return false;
	/* DATA may follow unanswered commands. BDAT may not: its octets would go out for nobody (RFC 3030 2). */
	if (j->step == STEP_DATA && j->way == WAY_BDAT)
		return j->inflight == 0;
	return client_pipelines(c) || c->flights == 0;
}

void client_issue(struct smtp_client *c)
{
	static void (*const steps[])(struct smtp_client * c, struct client_job * j) = {
		[STEP_MAIL] = step_mail, [STEP_RCPT] = step_rcpt, [STEP_DATA] = step_data};
	struct client_job *j = client_youngest(c);

	while (j && may_issue(c, j))
		steps[j->step](c, j);
}

/* ---- the message ----------------------------------------------------------------------------------------------- */

/*
 * Queue lines with their dots doubled (RFC 5321 4.5.2). False at a CR, LF or NUL that is not part of CRLF: what was
 * queued then must never be ended.
 */
static bool put_lines(struct buf *out, struct client_job *j, struct slice s)
{
	if (s.n == 0)
		return true;

	const char *p = s.p, *end = s.p + s.n, *from = s.p;
	if (memchr(s.p, '\0', s.n) || (j->after_cr && *p != '\n'))
		return false;
	while (p < end) {
		if (j->line_start && *p == '.') {
			buf_add(out, slice_of(from, (size_t)(p - from)));
			buf_add_char(out, '.');
			from = p;
		}
		const char *lf = memchr(p, '\n', (size_t)(end - p));
		const char *stop = lf ? lf : end;
		const char *cr = memchr(p, '\r', (size_t)(stop - p));
		bool cr_before = p == stop ? j->after_cr : cr == stop - 1;

		if (lf ? !cr_before : cr && !cr_before)
			return false;
		j->line_start = lf != NULL;
		j->after_cr = !lf && cr;
		p = lf ? lf + 1 : end;
	}
	buf_add(out, slice_of(from, (size_t)(end - from)));
	return true;
}

void client_fail_message(struct smtp_client *c, struct client_job *j, struct smtp_outcome outcome)
{
	job_settle(j, outcome);
	client_close_ours(c, SLICE("the connection was dropped because a message could not be sent whole"));
}

static void message_fails(struct smtp_client *c, struct client_job *j, uint16_t detail, struct slice why)
{
	struct smtp_outcome o = refusal(6, detail, why);

	o.stage = SMTP_STAGE_DATA;
	client_fail_message(c, j, o);
}

/* Each piece is a chunk. */
static void body_bdat(struct smtp_client *c, struct slice octets, bool last)
{
	if (octets.n == 0 && !last)
		return;
	buf_add_lit(&c->out, "BDAT ");
	buf_add_u64(&c->out, octets.n);
	if (last)
		buf_add_lit(&c->out, " LAST");
	buf_add_lit(&c->out, "\r\n");
	buf_add(&c->out, octets);
	if (!last)
		client_expect(c, CMD_BDAT, 1);
}

static void body_data(struct smtp_client *c, struct client_job *j, struct slice octets, bool last)
{
	if (!put_lines(&c->out, j, octets) || (last && j->after_cr)) {
		message_fails(c, j, 3,
			      SLICE("the message holds a bare CR, a bare LF or a NUL, which DATA cannot carry"));
		return;
	}
	if (last && !j->line_start)
		buf_add_lit(&c->out, "\r\n");
	if (last)
		buf_add_lit(&c->out, ".\r\n");
}

static enum mail_seven_result convert(struct smtp_client *c, struct client_job *j, struct slice octets, bool last)
{
	enum mail_seven_result result;

	if (!j->seven)
		j->seven = mail_seven_new(c->peer.eight_bit_mime ? MAIL_SEVEN_TO_8BIT : MAIL_SEVEN_TO_7BIT);
	if (!j->seven)
		return MAIL_SEVEN_NO_ROOM;
	result = mail_seven_feed(j->seven, octets, &c->converted);
	return last && result == MAIL_SEVEN_OK ? mail_seven_end(j->seven, &c->converted) : result;
}

static void body_converted(struct smtp_client *c, struct client_job *j, struct slice octets, bool last)
{
	static const uint16_t details[] = {
		[MAIL_SEVEN_HEADER_8BIT] = 9,
		[MAIL_SEVEN_PROHIBITED] = 2,
		[MAIL_SEVEN_UNSUPPORTED] = 3,
		[MAIL_SEVEN_FAILED] = 5,
	};
	enum mail_seven_result result = convert(c, j, octets, last);

	if (result == MAIL_SEVEN_OK)
		body_data(c, j, buf_slice(&c->converted), last);
	else if (result == MAIL_SEVEN_NO_ROOM)
		client_close_ours(c, SLICE("out of memory to convert the message"));
	else
		message_fails(c, j, details[result], slice_from_cstr(mail_seven_reason(j->seven)));
	buf_free(&c->converted);
}

/* The end of the data is queued. */
static void message_ended(struct smtp_client *c, struct client_job *j)
{
	j->end_at = c->sent + buf_len(&c->out);
	job_move(j, JOB_END);
	client_expect(c, j->way == WAY_BDAT ? CMD_LAST : CMD_END, c->config->lmtp ? (uint32_t)j->accepted : 1);
	if (j->way != WAY_BDAT)
		c->dirty = 0;
}

void smtp_client_body(struct smtp_client *c, struct slice octets, bool last, mono_ms now)
{
	struct client_job *j = client_youngest(c);

	/* Asked for, but the transaction is over by now. */
	if (c->state == CLIENT_CLOSED || !j || j->phase != JOB_BODY || !j->body_asked)
		return;
	client_touch(c, now);
	j->body_asked = false;
	if (j->way == WAY_BDAT)
		body_bdat(c, octets, last);
	else if (j->way == WAY_DATA)
		body_data(c, j, octets, last);
	else
		body_converted(c, j, octets, last);
	client_check_memory(c);
	if (last && c->state == CLIENT_OPEN)
		message_ended(c, j);
}

void client_say_empty_end(struct smtp_client *c, struct client_job *j)
{
	assert(j == client_youngest(c));
	buf_add_lit(&c->out, ".\r\n");
	client_expect(c, CMD_EMPTY, 1);
	c->dirty = 0;
}
