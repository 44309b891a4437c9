/*
 * postrider trace: the whole story of a message.
 */
#include "cli/cli.h"
#include "cli/control.h"

#include <string.h>
#include <sysexits.h>

const struct cli_option cli_trace_options[] = {
	{"conf", 'c', "FILE", "the server's configuration"},
	{"json", 0, NULL, "print one JSON object"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum { OPTION_CONF, OPTION_JSON, OPTION_HELP };

/* What came back so far. */
struct story {
	struct wire_trace trace;
	json_t *json, *recipients, *history;
};

/* ---- for people ----------------------------------------------------------------------------------------------- */

static void print_address(struct slice address)
{
	putchar('<');
	cli_print(stdout, address);
	putchar('>');
}

static void print_message(const struct wire_trace *t)
{
	const struct store_message *m = &t->message;
	char when[32], age[32];

	printf("Message %s, %llu octets, from ", msg_id_format(m->id).text, (unsigned long long)m->size);
	print_address(m->sender);
	printf("\n");
	if (m->damaged)
		printf("  DAMAGED: this is not all as it was when it was accepted\n");
	if (m->about)
		printf("  a report about message %s\n", msg_id_format(m->about).text);
	printf("%s  accepted (%s ago)", cli_time_text(m->arrived, when), cli_span_text(t->age, age));
	if (m->origin.client.n) {
		printf(" from ");
		cli_print(stdout, m->origin.client);
		printf(", which called itself ");
		cli_print(stdout, m->origin.helo);
		printf(", by ");
		cli_print(stdout, m->origin.protocol);
	}
	if (m->envid.n) {
		printf(", envelope id ");
		cli_print(stdout, m->envid);
	}
	if (m->content & STORE_CONTENT_REQUIRETLS)
		printf(", with REQUIRETLS: it goes to no server without");
	if (m->content & STORE_CONTENT_TLS_OPTIONAL)
		printf(", which says TLS-Required: No");
	printf("; %u recipient%s, %u not settled\n", m->rcpt_count, m->rcpt_count == 1 ? "" : "s", m->open);
}

static void print_recipient(const struct wire_row *row)
{
	const struct store_rcpt *r = &row->rcpt;
	char due[32];

	printf("  recipient %u ", r->n);
	print_address(r->rcpt.address);
	printf(": %s, %u attempt%s", cli_state_name((int)r->state), r->attempts, r->attempts == 1 ? "" : "s");
	if (r->state == STORE_WAITING)
		printf(", next in %s", cli_span_text(row->due_in, due));
	if (r->damaged)
		printf(", DAMAGED: not as it was when it was accepted");
	if (r->warned)
		printf(", the sender was told of the delay");
	printf("\n");
	if (r->state == STORE_WAITING && r->attempts == 0 && row->due_in > 0)
		cli_explain_untried("    ", row);
}

static void print_history(const struct store_history *h)
{
	char when[32], next[32];

	printf("%s  ", cli_time_text(h->at, when));
	if (h->n != UINT32_MAX)
		printf("recipient %u: ", h->n);
	switch (h->event) {
	case STORE_EVENT_ACCEPTED:
		printf("committed to the store");
		if (h->text.n) {
			printf(" (");
			cli_print(stdout, h->text);
			printf(")");
		}
		printf("\n");
		break;
	case STORE_EVENT_ATTEMPT:
		printf("attempt of %lld ms\n", (long long)h->took);
		cli_explain_outcome(stdout, "      ", &h->outcome, h->remote);
		if (h->outcome.verdict == SMTP_DEFERRED && h->next_due > 0)
			printf("      next attempt after %s\n", cli_span_text(h->next_due, next));
		break;
	case STORE_EVENT_REPORT:
		printf("report sent as message %s", h->about ? msg_id_format(h->about).text : "?");
		if (h->text.n) {
			printf(": ");
			cli_print(stdout, h->text);
		}
		printf("\n");
		break;
	case STORE_EVENT_NOTE:
		cli_print(stdout, h->text);
		printf("\n");
		break;
	}
}

/* ---- JSON ----------------------------------------------------------------------------------------------------- */

static json_t *json_id_or_null(msg_id id)
{
	return id ? json_string(msg_id_format(id).text) : json_null();
}

static json_t *json_message(const struct wire_trace *t, json_t *recipients, json_t *history)
{
	const struct store_message *m = &t->message;

	const char *tls = m->content & STORE_CONTENT_REQUIRETLS     ? "required"
			  : m->content & STORE_CONTENT_TLS_OPTIONAL ? "optional"
								    : NULL;

	return json_pack("{s:s, s:o, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:s?, s:i, s:b, s:O, s:O}", "id",
			 msg_id_format(m->id).text, "sender", cli_json_text(m->sender), "accepted",
			 cli_json_time(m->arrived), "age_ms", (json_int_t)t->age, "size", (json_int_t)m->size, "client",
			 cli_json_text_or_null(m->origin.client), "helo", cli_json_text_or_null(m->origin.helo),
			 "protocol", cli_json_text_or_null(m->origin.protocol), "envid",
			 cli_json_text_or_null(m->envid), "about", json_id_or_null(m->about), "tls", tls, "open",
			 (int)m->open, "damaged", m->damaged, "recipients", recipients, "history", history);
}

static json_t *json_recipient(const struct wire_row *row)
{
	const struct store_rcpt *r = &row->rcpt;

	return json_pack("{s:i, s:o, s:s, s:i, s:o, s:b, s:o, s:o, s:b}", "n", (int)r->n, "address",
			 cli_json_text(r->rcpt.address), "state", cli_state_name((int)r->state), "attempts",
			 (int)r->attempts, "next_in_ms",
			 r->state == STORE_WAITING ? json_integer(row->due_in) : json_null(), "warned", r->warned,
			 "last", r->attempts ? cli_json_outcome(&r->last, r->last_remote) : json_null(),
			 "destination_failed",
			 row->rests > 0 ? cli_json_outcome(&row->site_last, row->site_remote) : json_null(), "damaged",
			 r->damaged);
}

static json_t *json_history(const struct store_history *h)
{
	static const char *const names[] = {"accepted", "attempt", "report", "note"};
	bool attempt = h->event == STORE_EVENT_ATTEMPT;

	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "event", names[h->event], "at", cli_json_time(h->at),
			 "recipient", h->n == UINT32_MAX ? json_null() : json_integer(h->n), "took_ms",
			 attempt ? json_integer(h->took) : json_null(), "outcome",
			 attempt ? cli_json_outcome(&h->outcome, h->remote) : json_null(), "report",
			 json_id_or_null(h->event == STORE_EVENT_REPORT ? h->about : 0), "text",
			 cli_json_text_or_null(h->text));
}

/* ---- the answer ----------------------------------------------------------------------------------------------- */

/* One frame; with JSON it is gathered, else printed. False when it is malformed. */
static bool take_frame(struct story *s, bool json, uint16_t type, struct slice payload)
{
	struct wire_row row;
	struct store_history line;

	switch (type) {
	case WIRE_MESSAGE:
		if (!wire_get_trace(payload, &s->trace))
			return false;
		if (json)
			s->json = json_message(&s->trace, s->recipients, s->history);
		else
			print_message(&s->trace);
		return true;
	case WIRE_ROW:
		if (!wire_get_row(payload, &row))
			return false;
		if (json)
			json_array_append_new(s->recipients, json_recipient(&row));
		else
			print_recipient(&row);
		return true;
	case WIRE_HISTORY:
		if (!wire_get_history(payload, &line))
			return false;
		if (json)
			json_array_append_new(s->history, json_history(&line));
		else
			print_history(&line);
		return true;
	default:
		return false;
	}
}

static int read_story(const struct cli_command *self, struct control *control, bool json)
{
	struct story s = {.recipients = json_array(), .history = json_array()};
	struct wire_end end = {.result = STORE_IO};
	struct slice payload;
	uint16_t type;
	bool good;

	do
		good = control_next(control, &type, &payload);
	while (good && type != WIRE_END && (good = take_frame(&s, json, type, payload)));
	good = good && wire_get_end(payload, &end);
	json_decref(s.recipients);
	json_decref(s.history);
	if (!good)
		return cli_fail(self, EX_PROTOCOL, "the server's answer was cut off");
	if (end.result == STORE_NOT_FOUND)
		return cli_fail(self, EX_NOINPUT, "no such message; it may be older than the retention time");
	if (end.result != STORE_OK)
		return cli_fail(self, EX_TEMPFAIL, "%s", store_result_text(end.result));
	if (s.json)
		cli_json_print(s.json);
	return EX_OK;
}

int cli_trace_id(const struct cli_command *self, const char *conf_path, msg_id id, bool json)
{
	struct conf *conf = cli_conf(self, conf_path);
	struct control control;
	struct buf frame;
	const char *why;

	if (!conf)
		return EX_CONFIG;
	if (!control_open(&control, conf->control_socket.p, &why)) {
		int status = cli_fail(self, EX_UNAVAILABLE, "%s: %s", conf->control_socket.p, why);
		conf_unref(conf);
		return status;
	}
	buf_init(&frame, 8);
	wire_put_number(&frame, id);
	int status = control_ask(&control, WIRE_TRACE, buf_slice(&frame)) ? read_story(self, &control, json) : EX_IOERR;
	buf_free(&frame);
	control_close(&control);
	conf_unref(conf);
	return status;
}

int cli_trace(const struct cli_command *self, int argc, char **argv)
{
	struct cli_args args = {.command = self, .argc = argc, .argv = argv};
	const char *conf_path = NULL;
	bool json = false;
	msg_id id = 0;
	int option;

	while ((option = cli_next(&args)) != CLI_END) {
		switch (option) {
		case OPTION_CONF:
			conf_path = args.value;
			break;
		case OPTION_JSON:
			json = true;
			break;
		case OPTION_HELP:
			cli_help(self);
			return EX_OK;
		case CLI_WORD:
			if (id || !msg_id_parse(slice_from_cstr(args.value), &id))
				return cli_fail(self, EX_USAGE,
						"%s: one message id is wanted, 12 letters and digits as in %s",
						args.value, msg_id_format(1).text);
			break;
		default:
			return EX_USAGE;
		}
	}
	if (!id)
		return cli_fail(self, EX_USAGE, "which message? See postrider trace --help");
	return cli_trace_id(self, conf_path, id, json);
}
