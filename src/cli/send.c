/*
 * postrider send: a real SMTP client for people and scripts.
 */
#include "cli/cli.h"
#include "cli/compose.h"
#include "cli/submit.h"
#include "net/host.h"
#include "smtp/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

const struct cli_option cli_send_options[] = {
	{"from", 'f', "ADDRESS", "the sender; <> for none (default: you at this host)"},
	{"to", 't', "ADDRESS", "a recipient; as often as there are. Words without option are recipients too"},
	{"server", 'S', "HOST:PORT", "the server; port 25 unless given"},
	{"socket", 0, "PATH", "the server's unix socket"},
	{"conf", 'c', "FILE", "the configuration: time limits, our name, the default server"},
	{"subject", 's', "TEXT", "adds Subject"},
	{"body", 'b', "TEXT", "the text of the message"},
	{"file", 'F', "FILE", "its text from a file rather than from standard input"},
	{"message", 'm', NULL, "the text begins with header fields of its own"},
	{"header", 'H', "FIELD", "adds a header field, \"Name: value\"; as often as there are"},
	{"notify", 'N', "WHEN", "ask for reports: success, failure and delay, separated by commas, or never"},
	{"ret", 'R', "WHAT", "what reports contain: full or hdrs"},
	{"envid", 'V', "TEXT", "the envelope id that reports repeat"},
	{"smtputf8", '8', NULL, "ask for SMTPUTF8 even if nothing needs it"},
	{"lmtp", 0, NULL, "speak LMTP"},
	{"verbose", 'v', NULL, "show the dialogue on standard error"},
	{"json", 0, NULL, "print one JSON object"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum {
	OPTION_FROM,
	OPTION_TO,
	OPTION_SERVER,
	OPTION_SOCKET,
	OPTION_CONF,
	OPTION_SUBJECT,
	OPTION_BODY,
	OPTION_FILE,
	OPTION_MESSAGE,
	OPTION_HEADER,
	OPTION_NOTIFY,
	OPTION_RET,
	OPTION_ENVID,
	OPTION_SMTPUTF8,
	OPTION_LMTP,
	OPTION_VERBOSE,
	OPTION_JSON,
	OPTION_HELP,
};

#define HEADER_MAX ((size_t)16 << 20)
#define WORDS_MAX  ((size_t)4 << 20)

struct letter {
	const struct cli_command *self;
	const char *from, *server_text, *conf_path, *subject, *body, *file;
	bool message, lmtp, verbose, json;
	struct buf to;     /* recipients as they were given, each with a NUL behind it */
	struct buf header; /* of --header, and with --message those of the text */
	struct buf text, head, sender, envid;
	struct compose_rcpts rcpts;
	struct mail_envelope envelope;
	struct submit_server server;
	struct slice fields, content; /* of the text */
	uint8_t notify;
};

/* ---- arguments --------------------------------------------------------------------------------------------- */

static bool wrong(const struct letter *l, const char *value, const char *what)
{
	cli_fail(l->self, EX_USAGE, "%s: %s", value, what);
	return false;
}

static bool take_header(struct letter *l, const char *value)
{
	struct slice line = slice_from_cstr(value), rest;
	struct compose_field field;

	for (size_t i = 0; i < line.n; i++)
		if (((unsigned char)line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
			return wrong(l, value, "a header field is one line without control characters");
	size_t before = buf_len(&l->header);
	buf_add(&l->header, line);
	buf_add_lit(&l->header, "\r\n");
	rest = slice_skip(buf_slice(&l->header), before);
	if (l->header.failed || !compose_field_next(&rest, &field) || rest.n)
		return wrong(l, value, "a header field has the form \"Name: value\"");
	return true;
}

static bool take_recipient(struct letter *l, const char *value)
{
	buf_add(&l->to, slice_from_cstr(value));
	return buf_add_char(&l->to, '\0') || wrong(l, value, "there are too many recipients");
}

static bool take_dsn(struct letter *l, int option, const char *value)
{
	if (option == OPTION_NOTIFY)
		return submit_parse_notify(value, &l->notify) ||
		       wrong(l, value, "write success, failure and delay, separated by commas, or never");
	if (option == OPTION_RET)
		return submit_parse_ret(value, &l->envelope.ret) || wrong(l, value, "write full or hdrs");
	buf_reset(&l->envid);
	return submit_parse_envid(value, &l->envid) ||
	       wrong(l, value, "an envelope id has 1 to 100 printable ASCII characters, of which some count threefold");
}

static bool take_server(struct letter *l, int option, const char *value)
{
	const char *why;

	if (l->server_text)
		return wrong(l, value, "one server is wanted");
	l->server_text = value;
	if (option == OPTION_SOCKET)
		l->server = (struct submit_server){.path = value};
	else if (!submit_server_parse(value, &l->server, &why))
		return wrong(l, value, why);
	return true;
}

static bool take_text(struct letter *l, int option, const char *value)
{
	if (l->body || l->file)
		return wrong(l, value, "--body and --file are two texts, and one is wanted");
	if (option == OPTION_BODY)
		l->body = value;
	else
		l->file = value;
	return true;
}

static void take_flag(struct letter *l, int option)
{
	switch (option) {
	case OPTION_MESSAGE:
		l->message = true;
		break;
	case OPTION_SMTPUTF8:
		l->envelope.utf8 = true;
		break;
	case OPTION_LMTP:
		l->lmtp = true;
		break;
	case OPTION_VERBOSE:
		l->verbose = true;
		break;
	default:
		l->json = true;
	}
}

static bool take_option(struct letter *l, int option, const char *value)
{
	switch (option) {
	case OPTION_FROM:
		l->from = value;
		return true;
	case OPTION_CONF:
		l->conf_path = value;
		return true;
	case OPTION_SUBJECT:
		l->subject = value;
		return true;
	case CLI_WORD:
	case OPTION_TO:
		return take_recipient(l, value);
	case OPTION_SERVER:
	case OPTION_SOCKET:
		return take_server(l, option, value);
	case OPTION_BODY:
	case OPTION_FILE:
		return take_text(l, option, value);
	case OPTION_HEADER:
		return take_header(l, value);
	case OPTION_NOTIFY:
	case OPTION_RET:
	case OPTION_ENVID:
		return take_dsn(l, option, value);
	default:
		take_flag(l, option);
		return true;
	}
}

/* False when there is nothing to do; *status says how to end. */
static bool read_arguments(struct letter *l, int argc, char **argv, int *status)
{
	struct cli_args args = {.command = l->self, .argc = argc, .argv = argv};
	int option;

	*status = EX_USAGE;
	while ((option = cli_next(&args)) != CLI_END) {
		if (option == CLI_BAD)
			return false;
		if (option == OPTION_HELP) {
			cli_help(l->self);
			*status = EX_OK;
			return false;
		}
		if (!take_option(l, option, args.value))
			return false;
	}
	if (buf_len(&l->to))
		return true;
	cli_fail(l->self, EX_USAGE, "to whom? See postrider send --help");
	return false;
}

/* ---- the message ------------------------------------------------------------------------------------------- */

static bool read_text(struct letter *l, int *status)
{
	struct compose_lines lines = {.out = &l->text};
	int fd = l->file ? open(l->file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	const char *name = l->file ? l->file : "standard input";

	if (l->body) {
		compose_lines_feed(&lines, slice_from_cstr(l->body));
	} else if (fd < 0) {
		*status = cli_fail(l->self, EX_NOINPUT, "%s: %s", name, strerror(errno));
		return false;
	} else {
		int error = compose_read(fd, &lines);
		if (l->file)
			close(fd);
		if (error) {
			*status = cli_fail(l->self, EX_IOERR, "%s: %s", name, strerror(error));
			return false;
		}
	}
	if (!compose_lines_end(&lines)) {
		*status = cli_fail(l->self, EX_DATAERR, "the message is larger than %zu octets", SUBMIT_MESSAGE_MAX);
		return false;
	}
	return true;
}

static bool read_envelope(struct letter *l, const struct conf *conf, int *status)
{
	struct slice rest = buf_slice(&l->to);
	struct slice from = slice_from_cstr(l->from);
	const char *why =
		l->from ? compose_sender(from, conf->hostname, &l->sender) : compose_user(conf->hostname, &l->sender);

	*status = EX_USAGE;
	if (why) {
		cli_fail(l->self, EX_USAGE, "sender %s: %s", l->from ? l->from : "", why);
		return false;
	}
	l->rcpts.notify = l->notify;
	while (rest.n) {
		struct slice one = slice_split(&rest, '\0');
		why = compose_rcpts_add_list(&l->rcpts, one);
		if (why) {
			cli_fail(l->self, EX_USAGE, "recipient %.*s: %s", SLICE_ARGS(one), why);
			return false;
		}
	}
	if (l->rcpts.count == 0) {
		cli_fail(l->self, EX_USAGE, "no recipient is given");
		return false;
	}
	l->envelope.sender = buf_slice(&l->sender);
	l->envelope.envid = buf_slice(&l->envid);
	l->envelope.rcpt = l->rcpts.list;
	l->envelope.rcpt_count = l->rcpts.count;
	return true;
}

static bool compose(struct letter *l, const struct conf *conf, int *status)
{
	struct slice text = buf_slice(&l->text), fields = SLICE_NONE, body = text;
	struct buf user;

	if (l->message)
		compose_split(text, &fields, &body);
	buf_add(&l->header, fields);
	buf_init(&user, COMPOSE_ADDRESS_MAX);
	compose_user(conf->hostname, &user);
	struct compose c = {
		.from = l->envelope.sender.n ? l->envelope.sender : buf_slice(&user),
		.to = l->envelope.rcpt,
		.to_count = l->envelope.rcpt_count,
		.subject = slice_from_cstr(l->subject),
		.host = conf->hostname,
		.now = host_wall(),
		.chance = host_random(),
		.charset = slice_is_ascii(body)  ? SLICE_NONE
			   : slice_is_utf8(body) ? SLICE("utf-8")
						 : SLICE("unknown-8bit"),
	};
	bool good = compose_head(&c, buf_slice(&l->header), &l->head) && !l->header.failed;
	buf_free(&user);
	l->content = body;
	if (!good)
		*status = cli_fail(l->self, EX_DATAERR, "the header is larger than %zu octets", HEADER_MAX);
	return good;
}

/* ---- what the server said ---------------------------------------------------------------------------------- */

static msg_id find_id(struct slice text)
{
	size_t at = slice_search(text, SLICE("accepted as "));
	msg_id id;

	return msg_id_parse(slice_head(slice_skip(text, at + 12), MSG_ID_TEXT), &id) ? id : 0;
}

static void print_json(const struct letter *l, const struct submit_result *r)
{
	json_t *list = json_array();
	msg_id id = 0;

	for (size_t i = 0; i < r->count; i++) {
		const struct smtp_outcome *o = &r->outcome[i];
		json_t *one = cli_json_outcome(o, r->server);
		json_object_set_new(one, "address", cli_json_text(l->envelope.rcpt[i].address));
		json_array_append_new(list, one);
		if (o->verdict == SMTP_DELIVERED && !id)
			id = find_id(o->text);
	}
	cli_json_print(json_pack("{s:o, s:o, s:o, s:o}", "id", id ? json_string(msg_id_format(id).text) : json_null(),
				 "server", cli_json_text_or_null(r->server), "sender",
				 cli_json_text(l->envelope.sender), "recipients", list));
}

/* One line for recipients in a row who had the same reply. */
static void print_accepted(const struct letter *l, const struct submit_result *r)
{
	const struct smtp_outcome *last = NULL;

	for (size_t i = 0; i < r->count; i++) {
		const struct smtp_outcome *o = &r->outcome[i];
		if (o->verdict != SMTP_DELIVERED)
			continue;
		if (last && slice_eq(last->text, o->text))
			continue;
		if (l->lmtp) {
			printf("<");
			cli_print(stdout, l->envelope.rcpt[i].address);
			printf(">: ");
		}
		cli_print(stdout, o->text.n ? o->text : SLICE("accepted"));
		printf("\n");
		last = o;
	}
}

static int tell(const struct letter *l, const struct submit_result *r)
{
	if (l->json)
		print_json(l, r);
	else
		print_accepted(l, r);
	fflush(stdout);
	submit_print_refused(stderr, l->envelope.rcpt, r);
	return submit_status(r);
}

/* ---- the whole --------------------------------------------------------------------------------------------- */

static int send_letter(struct letter *l, const struct conf *conf)
{
	struct smtp_client_config client;
	struct submit_result result;
	struct buf why;
	int status = EX_OSERR;

	l->server.patience = conf->connect_timeout;
	buf_init(&why, 1024);
	int fd = submit_connect(&l->server, &why, &status);
	if (fd < 0) {
		const char *text = buf_cstr(&why);
		cli_fail(l->self, status, "%s", text ? text : "out of memory");
		buf_free(&why);
		return status;
	}
	buf_free(&why);
	client = l->lmtp ? conf->lmtp_client : conf->client;
	struct submit_message message = {
		.config = &client,
		.envelope = &l->envelope,
		.head = buf_slice(&l->head),
		.body = l->content,
		.at_once = SMTP_RCPT_MIN,
		.show = l->verbose ? stderr : NULL,
	};
	status = submit(&l->server, fd, &message, &result) ? tell(l, &result)
							   : cli_fail(l->self, EX_OSERR, "out of memory");
	submit_result_free(&result);
	return status;
}

static int prepare_and_send(struct letter *l, const struct conf *conf)
{
	int status;

	compose_rcpts_init(&l->rcpts, conf->hostname, (struct hash_key){host_random(), host_random()});
	if (!l->server_text && !submit_server_of_conf(conf, &l->server, &l->lmtp))
		return cli_fail(l->self, EX_CONFIG, "the configuration has no listener; say which with --server");
	if (!read_envelope(l, conf, &status) || !read_text(l, &status) || !compose(l, conf, &status))
		return status;
	return send_letter(l, conf);
}

int cli_send(const struct cli_command *self, int argc, char **argv)
{
	static struct letter l;
	int status;

	l = (struct letter){.self = self};
	buf_init(&l.to, WORDS_MAX);
	buf_init(&l.header, HEADER_MAX);
	buf_init(&l.text, SUBMIT_MESSAGE_MAX);
	buf_init(&l.head, 2 * HEADER_MAX);
	buf_init(&l.sender, COMPOSE_ADDRESS_MAX);
	buf_init(&l.envid, 1024);
	if (read_arguments(&l, argc, argv, &status)) {
		struct conf *conf = cli_conf(self, l.conf_path);
		status = conf ? prepare_and_send(&l, conf) : EX_CONFIG;
		compose_rcpts_free(&l.rcpts);
		conf_unref(conf);
	}
	struct buf *bufs[] = {&l.to, &l.header, &l.text, &l.head, &l.sender, &l.envid};
	for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
		buf_free(bufs[i]);
	return status;
}
