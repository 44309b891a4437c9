/*
 * postrider queue: what waits and why, and what an operator does about it.
 */
#include "cli/cli.h"
#include "cli/control.h"

#include <string.h>
#include <sysexits.h>

const struct cli_option cli_queue_options[] = {
	{"conf", 'c', "FILE", "the server's configuration"},
	{"id", 0, "ID", "this message"},
	{"site", 0, "SITE", "this destination, as `queue status` names it"},
	{"sender", 0, "ADDRESS", "this sender, or all of @DOMAIN"},
	{"recipient", 0, "ADDRESS", "this recipient, or all of @DOMAIN"},
	{"older-than", 0, "AGE", "accepted at least this long ago: 90s, 5m, 2h, 3d"},
	{"state", 0, "STATE", "waiting, underway, held, delivered, failed or removed"},
	{"all", 'a', NULL, "list: settled ones too; else: really all that are in the queue"},
	{"limit", 'n', "COUNT", "list at most this many recipients (1000)"},
	{"json", 0, NULL, "print JSON"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum {
	OPTION_CONF,
	OPTION_ID,
	OPTION_SITE,
	OPTION_SENDER,
	OPTION_RECIPIENT,
	OPTION_OLDER_THAN,
	OPTION_STATE,
	OPTION_ALL,
	OPTION_LIMIT,
	OPTION_JSON,
	OPTION_HELP,
};

#define IDS_MAX 1000

struct request {
	const struct cli_command *self;
	const char *conf_path;
	const char *verb;
	struct store_filter filter;
	msg_id ids[IDS_MAX]; /* given as words */
	size_t id_count;
	bool all, narrowed, json;
	uint64_t limit;
	struct control control;
};

/* ---- list ----------------------------------------------------------------------------------------------------- */

static void print_row(const struct wire_row *row)
{
	const struct store_message *m = &row->message;
	const struct store_rcpt *r = &row->rcpt;
	char age[32], due[32];

	printf("%s  %-6s %8llu  <", msg_id_format(m->id).text, cli_span_text(row->age, age),
	       (unsigned long long)m->size);
	cli_print(stdout, m->sender);
	printf("> -> <");
	cli_print(stdout, r->rcpt.address);
	printf(">  %s%s", cli_state_name((int)r->state), m->damaged || r->damaged ? ", damaged" : "");
	if (r->state == STORE_WAITING)
		printf(", %s", row->due_in <= 0 ? "due now" : cli_span_text(row->due_in, due));
	if (r->attempts)
		printf(", %u attempt%s", r->attempts, r->attempts == 1 ? "" : "s");
	printf("\n");
	if (r->attempts)
		cli_explain_outcome(stdout, "    ", &r->last, r->last_remote);
	else if (r->state == STORE_WAITING && row->due_in > 0)
		cli_explain_untried("    ", row);
}

static json_t *json_row(const struct wire_row *row)
{
	const struct store_message *m = &row->message;
	const struct store_rcpt *r = &row->rcpt;

	return json_pack("{s:s, s:i, s:I, s:I, s:o, s:o, s:s, s:i, s:o, s:o, s:o, s:b}", "id",
			 msg_id_format(m->id).text, "n", (int)r->n, "age_ms", (json_int_t)row->age, "size",
			 (json_int_t)m->size, "sender", cli_json_text(m->sender), "recipient",
			 cli_json_text(r->rcpt.address), "state", cli_state_name((int)r->state), "attempts",
			 (int)r->attempts, "next_in_ms",
			 r->state == STORE_WAITING ? json_integer(row->due_in > 0 ? row->due_in : 0) : json_null(),
			 "last", r->attempts ? cli_json_outcome(&r->last, r->last_remote) : json_null(),
			 "destination_failed",
			 row->rests > 0 ? cli_json_outcome(&row->site_last, row->site_remote) : json_null(), "damaged",
			 m->damaged || r->damaged);
}

/* One LIST frame and its answer. False after it said what went wrong. */
static bool list_once(struct request *q, struct wire_list *list, json_t *rows, struct wire_end *end)
{
	struct wire_row row;
	struct slice payload;
	struct buf frame;
	uint16_t type;

	buf_init(&frame, 65536);
	wire_put_list(&frame, list);
	bool good = control_ask(&q->control, WIRE_LIST, buf_slice(&frame));
	buf_free(&frame);
	while (good && (good = control_next(&q->control, &type, &payload)) && type == WIRE_ROW) {
		good = wire_get_row(payload, &row);
		if (good && q->json)
			json_array_append_new(rows, json_row(&row));
		else if (good)
			print_row(&row);
	}
	if (good && type == WIRE_END && wire_get_end(payload, end) && end->result == STORE_OK)
		return true;
	cli_fail(q->self, EX_PROTOCOL, "%s", good ? store_result_text(end->result) : "the server's answer was cut off");
	return false;
}

static int do_list(struct request *q)
{
	json_t *rows = json_array();
	struct wire_end end = {0};
	uint64_t count = 0;
	bool ok = true;

	if (q->all && q->filter.state == -1)
		q->filter.state = -2;
	while (ok && count < q->limit && !end.cursor.end) {
		uint64_t left = q->limit - count;
		struct wire_list list = {.filter = q->filter,
					 .cursor = end.cursor,
					 .limit = (uint32_t)(left < WIRE_LIST_MAX ? left : WIRE_LIST_MAX)};
		end = (struct wire_end){0};
		ok = list_once(q, &list, rows, &end);
		count += end.count;
	}
	if (ok && q->json)
		cli_json_print(rows);
	else
		json_decref(rows);
	if (ok && !q->json && count == 0)
		printf("nothing in the queue matches\n");
	else if (ok && !q->json && !end.cursor.end)
		printf("... and more: see --limit\n");
	return ok ? EX_OK : EX_TEMPFAIL;
}

/* ---- status --------------------------------------------------------------------------------------------------- */

static void print_site(const struct queue_site_view *s)
{
	char paused[32];

	printf("  ");
	cli_print(stdout, s->site);
	printf(": %u under way, window of %u connection%s, %zu ready", s->under_way, s->window,
	       s->window == 1 ? "" : "s", s->waiting);
	if (s->paused > 0)
		printf(", paused for %s after failures", cli_span_text(s->paused, paused));
	printf("\n");
	if (s->paused > 0)
		cli_explain_outcome(stdout, "    ", &s->last, s->last_remote);
}

static json_t *json_site(const struct queue_site_view *s)
{
	return json_pack("{s:o, s:i, s:i, s:I, s:I, s:o}", "site", cli_json_text(s->site), "window", (int)s->window,
			 "under_way", (int)s->under_way, "ready", (json_int_t)s->waiting, "paused_ms",
			 (json_int_t)s->paused, "last",
			 s->paused > 0 ? cli_json_outcome(&s->last, s->last_remote) : json_null());
}

static void print_totals(const struct request *q, const struct wire_end *end, json_t *sites)
{
	json_t *states = json_object();

	for (int i = 0; i <= STORE_STATE_MAX; i++) {
		if (q->json)
			json_object_set_new(states, cli_state_name(i), json_integer((json_int_t)end->states[i]));
		else
			printf("%-10s %llu\n", cli_state_name(i), (unsigned long long)end->states[i]);
	}
	if (q->json)
		cli_json_print(json_pack("{s:O, s:O}", "recipients", states, "sites", sites));
	json_decref(states);
}

static int do_status(struct request *q)
{
	struct queue_site_view site;
	struct wire_end end = {0};
	struct slice payload;
	uint16_t type;
	json_t *sites = json_array();
	bool good = control_ask(&q->control, WIRE_STATUS, SLICE_NONE);

	if (!q->json)
		printf("Sites\n");
	while (good && (good = control_next(&q->control, &type, &payload)) && type == WIRE_SITE) {
		good = wire_get_site(payload, &site);
		if (good && q->json)
			json_array_append_new(sites, json_site(&site));
		else if (good)
			print_site(&site);
	}
	good = good && type == WIRE_END && wire_get_end(payload, &end);
	bool known = good && end.result == STORE_OK;
	if (known && !q->json)
		printf("Recipients\n");
	if (known)
		print_totals(q, &end, sites);
	json_decref(sites);
	if (!good)
		return cli_fail(q->self, EX_PROTOCOL, "the server's answer was cut off");
	return known ? EX_OK : cli_fail(q->self, EX_TEMPFAIL, "the queue does not answer now: %s",
					store_result_text(end.result));
}

/* ---- operate -------------------------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	enum queue_verb verb;
	const char *done;
} operations[] = {
	{"retry", QUEUE_RETRY, "tried again now"},        {"hold", QUEUE_HOLD, "held"},
	{"release", QUEUE_RELEASE, "released"},           {"remove", QUEUE_REMOVE, "removed without a report"},
	{"bounce", QUEUE_BOUNCE, "failed with a report"},
};
#define OPERATION_COUNT (sizeof operations / sizeof *operations)

static bool operate_once(struct request *q, enum queue_verb verb, struct wire_end *total)
{
	struct wire_operate operate = {verb, q->filter};
	struct wire_end end = {.result = STORE_IO};
	struct slice payload;
	struct buf frame;
	uint16_t type;

	buf_init(&frame, 65536);
	wire_put_operate(&frame, &operate);
	bool good = control_ask(&q->control, WIRE_OPERATE, buf_slice(&frame)) &&
		    control_next(&q->control, &type, &payload) && type == WIRE_END && wire_get_end(payload, &end);
	buf_free(&frame);
	total->count += end.count;
	total->busy += end.busy;
	if (good && (end.result == STORE_OK || end.result == STORE_NOT_FOUND))
		return true;
	cli_fail(q->self, EX_TEMPFAIL, "%s", good ? store_result_text(end.result) : "the server's answer was cut off");
	return false;
}

static int do_operate(struct request *q, size_t operation)
{
	struct wire_end total = {0};
	enum queue_verb verb = operations[operation].verb;

	if (!q->narrowed && q->id_count == 0 && !q->all)
		return cli_fail(q->self, EX_USAGE, "which ones? Give ids, a filter, or --all");
	if (q->id_count == 0 && !operate_once(q, verb, &total))
		return EX_TEMPFAIL;
	for (size_t i = 0; i < q->id_count; i++) {
		q->filter.id = q->ids[i];
		if (!operate_once(q, verb, &total))
			return EX_TEMPFAIL;
	}
	if (q->json) {
		cli_json_print(json_pack("{s:I, s:I}", "changed", (json_int_t)total.count, "under_way",
					 (json_int_t)total.busy));
		return EX_OK;
	}
	printf("%llu recipient%s %s\n", (unsigned long long)total.count, total.count == 1 ? "" : "s",
	       operations[operation].done);
	if (total.busy)
		printf("%llu left alone: delivery is under way\n", (unsigned long long)total.busy);
	return EX_OK;
}

/* ---- arguments ------------------------------------------------------------------------------------------------ */

static const char *verb_at(size_t i)
{
	static const char *const names[] = {"list",    "show",   "status", "retry", "hold",
					    "release", "remove", "bounce", NULL};

	return names[i];
}

static bool take_word(struct request *q, const char *word)
{
	if (!q->verb) {
		for (size_t i = 0; verb_at(i); i++)
			if (strcmp(word, verb_at(i)) == 0) {
				q->verb = verb_at(i);
				return true;
			}
	}
	if (q->id_count < IDS_MAX && msg_id_parse(slice_from_cstr(word), &q->ids[q->id_count])) {
		q->id_count++;
		return true;
	}
	const char *near = q->verb ? NULL : cli_nearest(word, verb_at);
	cli_fail(q->self, EX_USAGE, "%s is neither an id nor something that can be done%s%s", word,
		 near ? "; did you mean " : "", near ? near : "");
	return false;
}

static bool take_filter(struct request *q, int option, const char *value)
{
	switch (option) {
	case OPTION_ID:
		if (msg_id_parse(slice_from_cstr(value), &q->filter.id))
			break;
		cli_fail(q->self, EX_USAGE, "%s is no message id", value);
		return false;
	case OPTION_SITE:
		q->filter.site = queue_site_hash(slice_from_cstr(value));
		break;
	case OPTION_SENDER:
		q->filter.sender = slice_from_cstr(value);
		break;
	case OPTION_RECIPIENT:
		q->filter.recipient = slice_from_cstr(value);
		break;
	case OPTION_OLDER_THAN:
		if (cli_span_parse(value, &q->filter.older_than))
			break;
		cli_fail(q->self, EX_USAGE, "%s is no age; write 90s, 5m, 2h or 3d", value);
		return false;
	default:
		q->filter.state = cli_state_parse(value);
		if (q->filter.state >= 0)
			break;
		cli_fail(q->self, EX_USAGE, "%s is no state; see postrider queue --help", value);
		return false;
	}
	q->narrowed = true;
	return true;
}

/* False when there is nothing to do; *status says how to end. */
static bool read_arguments(struct request *q, int argc, char **argv, int *status)
{
	struct cli_args args = {.command = q->self, .argc = argc, .argv = argv};
	int option;

	*status = EX_USAGE;
	while ((option = cli_next(&args)) != CLI_END) {
		switch (option) {
		case OPTION_HELP:
			cli_help(q->self);
			*status = EX_OK;
			return false;
		case OPTION_CONF:
			q->conf_path = args.value;
			break;
		case OPTION_ALL:
			q->all = true;
			break;
		case OPTION_JSON:
			q->json = true;
			break;
		case OPTION_LIMIT:
			if (!slice_u64(slice_from_cstr(args.value), UINT32_MAX, &q->limit) || q->limit == 0) {
				cli_fail(q->self, EX_USAGE, "%s is no count", args.value);
				return false;
			}
			break;
		case CLI_WORD:
			if (!take_word(q, args.value))
				return false;
			break;
		case CLI_BAD:
			return false;
		default:
			if (!take_filter(q, option, args.value))
				return false;
		}
	}
	return true;
}

static int perform(struct request *q)
{
	if (!q->verb || strcmp(q->verb, "list") == 0 || strcmp(q->verb, "show") == 0) {
		if (q->verb && strcmp(q->verb, "show") == 0) {
			q->all = true;
			if (q->id_count != 1)
				return cli_fail(q->self, EX_USAGE, "show which message?");
		}
		if (q->id_count > 1)
			return cli_fail(q->self, EX_USAGE, "list takes one id at most");
		if (q->id_count == 1)
			q->filter.id = q->ids[0];
		return do_list(q);
	}
	if (strcmp(q->verb, "status") == 0)
		return do_status(q);
	for (size_t i = 0; i < OPERATION_COUNT; i++)
		if (strcmp(q->verb, operations[i].name) == 0)
			return do_operate(q, i);
	return EX_USAGE;
}

int cli_queue(const struct cli_command *self, int argc, char **argv)
{
	static struct request q;
	const char *why;
	int status;

	q = (struct request){.self = self, .filter = {.state = -1}, .limit = 1000};
	if (!read_arguments(&q, argc, argv, &status))
		return status;
	struct conf *conf = cli_conf(self, q.conf_path);
	if (!conf)
		return EX_CONFIG;
	if (control_open(&q.control, conf->control_socket.p, &why)) {
		status = perform(&q);
		control_close(&q.control);
	} else {
		status = cli_fail(self, EX_UNAVAILABLE, "%s: %s", conf->control_socket.p, why);
	}
	conf_unref(conf);
	return status;
}
