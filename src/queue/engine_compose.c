/*
 * The words of a report: why, as people say it, and what to do about it.
 */
#include "queue/engine_private.h"

#include "mail/report.h"

#include <assert.h>

#define TOKEN_N 24

/* The host in "mx.example.net [192.0.2.1]:25" or "[192.0.2.1]:25"; this one for a socket here; empty when no host
 * answered. */
static struct slice host_of(const struct report_line *line)
{
	struct slice remote = line->remote;

	if (line->outcome.stage == SMTP_STAGE_MAILBOX || line->outcome.stage == SMTP_STAGE_ROUTE)
		return SLICE_NONE;
	if (slice_starts(remote, SLICE("unix:")))
		return SLICE("localhost");
	if (slice_starts(remote, SLICE("[")))
		return slice_head(remote, slice_find(remote, ']') + 1);
	return slice_head(remote, slice_find(remote, ' '));
}

/* RFC 3464 2.3.6: the reply as it came, codes first. */
static void write_diagnostic(const struct smtp_outcome *o, struct buf *out)
{
	char status[10];

	smtpcodes_status_format(o->status, status);
	if (o->code > 0)
		buf_printf(out, "%u %s ", o->code, status);
	buf_add(out, slice_trim(o->text));
}

static void write_span(span_ms span, struct buf *out)
{
	static const struct {
		span_ms length;
		const char *one, *many;
	} units[] = {{DAY, "day", "days"},
		     {HOUR, "hour", "hours"},
		     {MINUTE, "minute", "minutes"},
		     {SECOND, "second", "seconds"}};

	for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
		/* "90 minutes" and "36 hours" say more than "1 hour" and "1 day". */
		long long count = span / units[i].length;
		if (count >= 2 || (count == 1 && span < units[i].length + units[i].length / 4)) {
			buf_printf(out, "%lld %s", count, count == 1 ? units[i].one : units[i].many);
			return;
		}
	}
	buf_add_lit(out, "a moment");
}

static void write_who(const struct report_line *line, struct buf *out)
{
	struct slice host = host_of(line);

	buf_add_lit(out, "The server");
	if (host.n) {
		buf_add_lit(out, " ");
		buf_add(out, host);
	}
}

/* What we were about when a server answered: the reply is to that. */
static const char *const refused[] = {
	[SMTP_STAGE_ROUTE] = "refused this recipient",
	[SMTP_STAGE_CONNECT] = "refused our connection",
	[SMTP_STAGE_GREETING] = "refused our connection",
	[SMTP_STAGE_EHLO] = "refused to talk to us",
	[SMTP_STAGE_MAIL] = "refused the sender or the message",
	[SMTP_STAGE_RCPT] = "refused this recipient",
	[SMTP_STAGE_DATA] = "refused to take the message",
	[SMTP_STAGE_END] = "refused the message",
	[SMTP_STAGE_MAILBOX] = "refused the message",
	[SMTP_STAGE_TLS] = "refused to encrypt the connection",
	[SMTP_STAGE_AUTH] = "refused to log this server in",
};
_Static_assert(sizeof refused / sizeof *refused == SMTP_STAGE_MAX + 1, "words for every stage");

static void write_finding(const struct report_line *line, struct buf *out)
{
	const struct smtp_outcome *o = &line->outcome;

	if (o->code > 0) {
		/* The report shows the answer itself below this. */
		write_who(line, out);
		buf_printf(out, " %s%s", refused[o->stage], o->verdict == SMTP_DEFERRED ? " for now" : "");
	} else if (o->text.n > 0) {
		buf_printf(out, "%s: ",
			   o->stage == SMTP_STAGE_ROUTE ? "There is no way to the recipient" : "Delivery failed");
		buf_add(out, slice_trim(o->text));
		if (o->stage != SMTP_STAGE_ROUTE && o->stage != SMTP_STAGE_MAILBOX)
			buf_printf(out, " (at this step: %s)", smtp_stage_name(o->stage));
	} else {
		buf_add_lit(out, "The recipient's server could not be reached");
	}
	buf_add_lit(out, ".");
	if (o->ambiguous)
		buf_add_lit(out, " The connection ended after the whole message had been sent: it may have arrived.");
}

static void write_failure(struct queue_engine *e, const struct report *r, const struct report_line *line,
			  struct buf *out)
{
	if (r->double_bounce)
		buf_add_lit(out, "This message has no sender to report to, so that the report comes to you. ");
	if (line->by_operator) {
		buf_add_lit(out, "The operator of this server took the message out of the queue.");
		return;
	}
	if (line->given_up) {
		buf_add_lit(out, "We have tried for ");
		write_span(e->now - r->about->arrived_queue, out);
		buf_add_lit(out, " and have given up. The last attempt: ");
	}
	write_finding(line, out);
}

static void write_success(const struct report_line *line, struct buf *out)
{
	if (line->local) {
		buf_add_lit(out, "The message is in the recipient's mailbox.");
	} else {
		write_who(line, out);
		buf_add_lit(out, " took the message. It does not report what becomes of it there.");
	}
	if (line->outcome.lossy)
		buf_add_lit(out, " On the way it was converted to what that server takes, and some characters between "
				 "its parts, where mail programs show nothing, were replaced.");
}

static void write_delay(struct queue_engine *e, const struct report *r, const struct report_line *line, struct buf *out)
{
	buf_add_lit(out, "We have tried for ");
	write_span(e->now - r->about->arrived_queue, out);
	buf_add_lit(out, ". The last attempt: ");
	write_finding(line, out);
}

static void write_explanation(struct queue_engine *e, const struct report *r, const struct report_line *line,
			      struct buf *out)
{
	if (r->kind == REPORT_FAILED)
		write_failure(e, r, line, out);
	else if (r->kind == REPORT_DELAYED)
		write_delay(e, r, line, out);
	else
		write_success(line, out);
}

/* The catalogue's advice on what the server said, or on our own finding. */
static struct slice advice_on(const struct queue_engine *e, const struct report *r, const struct report_line *line)
{
	const struct smtp_outcome *o = &line->outcome;
	struct smtpcodes_finding finding;

	if (r->kind != REPORT_FAILED || line->by_operator || line->given_up)
		return SLICE_NONE;
	smtpcodes_classify(o->code, o->status, o->text.n ? o->text.p : "", o->text.n, e->config.reply_rules, &finding);
	return finding.klass == SMTPCODES_CLASS_UNKNOWN ? SLICE_NONE : slice_from_cstr(finding.advice);
}

static enum mail_report_action action_of(const struct report *r, const struct report_line *line)
{
	if (r->kind == REPORT_FAILED)
		return MAIL_REPORT_FAILED;
	if (r->kind == REPORT_DELAYED)
		return MAIL_REPORT_DELAYED;
	return line->local ? MAIL_REPORT_DELIVERED : MAIL_REPORT_RELAYED;
}

/*
 * Of a success: what was lost comes first (RFC 3463 3.7, X.6.4). A server that does not report is one that we cannot
 * say more about than 2.1.9 (RFC 3886 3.3.4), whatever it answered.
 *
 * When we gave up, the code for the actual problem, or 4.4.7 when there is none (RFC 3463 3.5, X.4.7).
 */
static struct smtpcodes_status status_of(const struct report *r, const struct report_line *line)
{
	struct smtpcodes_status status = line->outcome.status;

	if (r->kind == REPORT_SUCCESS && line->outcome.lossy)
		return (struct smtpcodes_status){2, 6, 4};
	if (r->kind == REPORT_SUCCESS && !line->local)
		return (struct smtpcodes_status){2, 1, 9};
	if (line->given_up && status.subject == 0 && status.detail == 0)
		return (struct smtpcodes_status){4, 4, 7};
	return status;
}

static struct slice text_of(struct queue_engine *e, struct buf *b)
{
	struct slice out = arena_copy(&e->reports, buf_slice(b));

	if (b->failed)
		out.p = NULL;
	buf_reset(b);
	return out;
}

static bool fill(struct queue_engine *e, const struct report *r, const struct report_line *line, struct buf *scratch,
		 struct mail_report_rcpt *ret)
{
	*ret = (struct mail_report_rcpt){
		.address = line->rcpt.address,
		.orcpt = line->rcpt.orcpt,
		.action = action_of(r, line),
		.status = status_of(r, line),
		.remote_mta = host_of(line),
		.advice = advice_on(e, r, line),
		.last_attempt = line->attempted ? line->at : 0,
	};
	if (r->kind == REPORT_DELAYED)
		ret->will_retry_until = e->times.wall + (r->about->arrived_queue + e->config.retry.lifetime - e->now);
	write_explanation(e, r, line, scratch);
	ret->explanation = text_of(e, scratch);
	if (line->outcome.code > 0)
		write_diagnostic(&line->outcome, scratch);
	ret->diagnostic = text_of(e, scratch);
	return ret->explanation.p && ret->diagnostic.p;
}

static struct mail_report_rcpt *fill_all(struct queue_engine *e, const struct report *r)
{
	struct mail_report_rcpt *rcpt = arena_array(&e->reports, r->count, sizeof *rcpt);
	struct buf scratch;
	bool good = rcpt != NULL;

	buf_init(&scratch, 4096);
	for (size_t k = 0; k < r->count && good; k++)
		good = fill(e, r, &r->lines[k], &scratch, &rcpt[k]);
	buf_free(&scratch);
	return good ? rcpt : NULL;
}

static void make_token(struct queue_engine *e, char token[TOKEN_N])
{
	static const char letters[] = "abcdefghijkmnopqrstuvwxyz23456789";

	for (size_t i = 0; i < TOKEN_N; i++)
		token[i] = letters[engine_random(e) % (sizeof letters - 1)];
}

static void write_daemon(const struct queue_engine *e, struct buf *out)
{
	buf_add_lit(out, "MAILER-DAEMON@");
	buf_add(out, e->config.name);
}

bool report_compose(struct queue_engine *e, const struct report *r, struct buf *out)
{
	struct msg_id_text id = msg_id_format(r->about->id);
	struct mail_report_rcpt *rcpt = fill_all(e, r);
	char token[TOKEN_N];
	struct buf daemon;

	if (!rcpt)
		return false;
	make_token(e, token);
	buf_init(&daemon, 512);
	write_daemon(e, &daemon);
	struct mail_report report = {
		.mta = e->config.name,
		.from_address = buf_slice(&daemon),
		.sender = r->to,
		.envid = r->about->envid,
		.id = slice_from_cstr(id.text),
		.utf8 = r->about->utf8,
		.tls_optional = r->about->content & STORE_CONTENT_TLS_OPTIONAL,
		.arrival = r->about->arrived,
		.now = e->times.wall,
		.token = slice_of(token, TOKEN_N),
		.rcpt = rcpt,
		.rcpt_count = r->count,
		.wanted = r->original.whole.n    ? MAIL_REPORT_RETURN_FULL
			  : r->original.header.n ? MAIL_REPORT_RETURN_HEADER
						 : MAIL_REPORT_RETURN_NONE,
		.header = r->original.header,
		.original = r->original.whole,
	};
	bool good = !daemon.failed && mail_report_write(&report, out);
	buf_free(&daemon);
	return good;
}
