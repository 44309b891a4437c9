/*
 * Lines of our own log, for postrider explain: what the event is, what the line names, and what the reply in it means.
 */
#include "cli/explain.h"

#include "net/log.h"

#include <string.h>

#define LINE_MAX_OCTETS 16384

static const struct {
	const char *name, *meaning;
} events[] = {
#define LOG_EVENT(id, level, name, meaning) {name, meaning},
#include "net/events.def"
#undef LOG_EVENT
};

/* ---- reading ------------------------------------------------------------------------------------------------- */

static void take_field(struct cli_log_line *l, struct slice name, struct slice value)
{
	if (l->count == CLI_LOG_FIELDS_MAX)
		return;
	l->names[l->count] = name;
	l->values[l->count++] = value;
}

/* The buffer never moves: its maximum is reserved when it is empty. */
static struct slice keep(struct cli_log_line *l, struct slice text)
{
	size_t before = buf_len(&l->text);

	if (text.n > buf_room(&l->text))
		text = slice_head(text, buf_room(&l->text));
	buf_add(&l->text, text);
	return slice_skip(buf_slice(&l->text), before);
}

static int hex_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The value behind an opening quote; takes it and the closing one off. */
static struct slice take_quoted(struct cli_log_line *l, struct slice *rest)
{
	size_t before = buf_len(&l->text);

	while (rest->n && rest->p[0] != '"') {
		size_t taken = 1;
		char c = rest->p[0];

		if (c == '\\' && rest->n >= 4 && rest->p[1] == 'x' && hex_of(rest->p[2]) >= 0 &&
		    hex_of(rest->p[3]) >= 0) {
			c = (char)(hex_of(rest->p[2]) * 16 + hex_of(rest->p[3]));
			taken = 4;
		} else if (c == '\\' && rest->n >= 2) {
			c = rest->p[1];
			taken = 2;
		}
		keep(l, slice_of(&c, 1));
		*rest = slice_skip(*rest, taken);
	}
	*rest = slice_skip(*rest, 1);
	return slice_skip(buf_slice(&l->text), before);
}

static void read_logfmt(struct cli_log_line *l, struct slice rest)
{
	while (rest.n) {
		struct slice value, name = slice_head(rest, slice_find(rest, '='));

		if (name.n == rest.n)
			return;
		name = slice_trim(name);
		rest = slice_skip(rest, slice_find(rest, '=') + 1);
		if (rest.n && rest.p[0] == '"') {
			rest = slice_skip(rest, 1);
			value = take_quoted(l, &rest);
		} else {
			value = slice_head(rest, slice_find(rest, ' '));
			rest = slice_skip(rest, value.n);
		}
		take_field(l, name, value);
	}
}

static void read_json(struct cli_log_line *l, struct slice text)
{
	json_error_t error;
	json_t *value, *object = json_loadb(text.p, text.n, 0, &error);
	const char *name;
	char number[32];

	json_object_foreach(object, name, value)
	{
		struct slice kept = keep(l, slice_from_cstr(name));

		if (json_is_string(value)) {
			take_field(l, kept, keep(l, slice_of(json_string_value(value), json_string_length(value))));
		} else if (json_is_integer(value)) {
			snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
			take_field(l, kept, keep(l, slice_from_cstr(number)));
		}
	}
	json_decref(object);
}

static struct slice field_of(const struct cli_log_line *l, const char *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (slice_eq(l->names[i], slice_from_cstr(name)))
			return l->values[i];
	return SLICE_NONE;
}

/* What the event is, without the list of its fields. */
static struct slice meaning_of(struct slice event)
{
	for (size_t i = 0; i < sizeof events / sizeof *events; i++)
		if (slice_eq(event, slice_from_cstr(events[i].name)))
			return slice_head(slice_from_cstr(events[i].meaning), strcspn(events[i].meaning, ";"));
	return SLICE_NONE;
}

bool cli_log_read(struct slice line, struct cli_log_line *ret)
{
	size_t logfmt = slice_search(line, SLICE("time=2")), json = slice_search(line, SLICE("{\"time\":\""));

	*ret = (struct cli_log_line){0};
	buf_init(&ret->text, CLI_LOG_TEXT_MAX);
	if (line.n > LINE_MAX_OCTETS || !buf_reserve(&ret->text, CLI_LOG_TEXT_MAX))
		return false;
	if (json < line.n)
		read_json(ret, slice_trim(slice_skip(line, json)));
	else if (logfmt < line.n)
		read_logfmt(ret, slice_trim(slice_skip(line, logfmt)));
	return field_of(ret, "level").n && meaning_of(field_of(ret, "event")).n;
}

void cli_log_free(struct cli_log_line *l)
{
	buf_free(&l->text);
}

/* ---- telling ------------------------------------------------------------------------------------------------- */

/* The reply of the line as it would come from a server. */
static bool explain_reply(const struct cli_log_line *l, struct buf *reply, struct smtpcodes_explanation *ret)
{
	struct slice code = field_of(l, "code"), status = field_of(l, "status");
	struct slice text = field_of(l, "text").n ? field_of(l, "text") : field_of(l, "reply");
	const struct slice parts[] = {code, status, text};

	if (code.n == 0 && status.n == 0 && text.n == 0)
		return false;
	for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
		if (parts[i].n && buf_len(reply))
			buf_add_char(reply, ' ');
		buf_add(reply, parts[i]);
	}
	return !reply->failed && smtpcodes_explain(buf_slice(reply).p, buf_len(reply), cli_rules(), ret);
}

static void print_log(const struct cli_log_line *l, struct slice meaning, const struct smtpcodes_explanation *e)
{
	static const char *const shown[][2] = {{"time", "Time"},     {"role", "Role"},   {"id", "Message"},
					       {"from", "From"},     {"to", "To"},       {"client", "Client"},
					       {"remote", "Remote"}, {"stage", "Step"},  {"reason", "Reason"},
					       {"retry", "Retry"},   {"about", "About"}, {"session", "Session"}};
	struct slice id = field_of(l, "id"), event = field_of(l, "event");
	msg_id parsed;

	printf("%-12s %.*s: %.*s\n", "Event", SLICE_ARGS(event), SLICE_ARGS(meaning));
	for (size_t i = 0; i < sizeof shown / sizeof *shown; i++)
		cli_fact_print(shown[i][1], field_of(l, shown[i][0]));
	if (e)
		cli_explanation_print(e);
	if (msg_id_parse(id, &parsed))
		printf("%-12s postrider trace %s\n", "The story", msg_id_format(parsed).text);
}

static json_t *json_log(const struct cli_log_line *l, struct slice meaning, const struct smtpcodes_explanation *e)
{
	json_t *fields = json_object(), *all = e ? cli_explanation_json(e) : json_object();

	for (size_t i = 0; i < l->count; i++) {
		char name[64];

		snprintf(name, sizeof name, "%.*s", SLICE_ARGS(slice_head(l->names[i], sizeof name - 1)));
		if (slice_is_utf8(slice_from_cstr(name)))
			json_object_set_new(fields, name, cli_json_text(l->values[i]));
	}
	json_object_set_new(all, "event", cli_json_text(field_of(l, "event")));
	json_object_set_new(all, "event_meaning", cli_json_text(meaning));
	json_object_set_new(all, "fields", fields);
	return all;
}

void cli_log_explain(const struct cli_log_line *l, json_t **ret_json)
{
	struct slice meaning = meaning_of(field_of(l, "event"));
	struct smtpcodes_explanation e;
	struct buf reply;

	buf_init(&reply, 2 * CLI_LOG_TEXT_MAX);
	bool has_reply = explain_reply(l, &reply, &e);
	if (ret_json)
		*ret_json = json_log(l, meaning, has_reply ? &e : NULL);
	else
		print_log(l, meaning, has_reply ? &e : NULL);
	buf_free(&reply);
}

/* ---- how lines of logs begin --------------------------------------------------------------------------------- */

static bool has_shape(struct slice line, const char *shape)
{
	for (size_t i = 0; shape[i]; i++) {
		bool fits = i < line.n && (shape[i] == '9'   ? ascii_is_digit(line.p[i]) || line.p[i] == ' '
					   : shape[i] == 'A' ? ascii_is_alpha(line.p[i])
							     : line.p[i] == shape[i]);
		if (!fits)
			return false;
	}
	return true;
}

bool cli_is_log_line(struct slice line)
{
	/* syslog, RFC 5424 behind its priority, Exim and others, multilog, epoch seconds, ours */
	static const char *const shapes[] = {
		"AAA 99 99:99:99 ", "2999-99-99T99:99:99", "2999-99-99 99:99:99",  "@4000000",
		"1999999999.999",   "time=2999-99-99T",    "{\"time\":\"2999-99-", "<99>1 2999-99-99T"};

	for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
		if (has_shape(line, shapes[i]))
			return true;
	return false;
}
