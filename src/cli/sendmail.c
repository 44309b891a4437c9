/*
 * sendmail: what scripts, cron and mail programs call to send a message.
 *
 * The message goes to the server's submission socket by SMTP: nothing here is set-uid, and nothing is written to the
 * queue past the server. Called as mailq it lists the queue; called as newaliases it does nothing, for there is nothing
 * to do.
 */
#include "cli/cli.h"
#include "cli/compose.h"
#include "cli/proxy.h"
#include "cli/submit.h"
#include "net/host.h"
#include "smtp/limits.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#define HEADER_MAX ((size_t)16 << 20)

/* Only its name is used: errors begin "sendmail: ". */
static const char *program = "sendmail";

enum mode {
	MODE_MESSAGE,
	MODE_SMTP,    /* -bs */
	MODE_QUEUE,   /* -bp */
	MODE_NOTHING, /* -q, -bi */
	MODE_HELP,
	MODE_VERSION,
};

struct mail {
	enum mode mode;
	const char *conf_path, *sender_text, *full_name;
	bool from_header, dots, verbose;
	uint8_t notify;
	enum mail_ret ret;
	struct buf text, head, sender, user, envid;
	struct slice fields, body;
	struct compose_rcpts rcpts;
};

static int fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(int status, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s: ", program);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return status;
}

/* ---- arguments --------------------------------------------------------------------------------------------- */

static const char usage[] =
	"Usage: sendmail [options] [ADDRESS ...]\n"
	"\n"
	"Reads a message from standard input and gives it to the server for the addresses.\n"
	"\n"
	"  -t         recipients are those of To, Cc and Bcc too; Bcc is removed\n"
	"  -i, -oi    a line of a single dot does not end the message\n"
	"  -f ADDRESS, -r ADDRESS\n"
	"             the envelope's sender; <> for none\n"
	"  -F NAME    the full name for From, if the message has no From\n"
	"  -N WHEN    ask for reports: success, failure and delay, separated by commas, or never\n"
	"  -R WHAT    what reports contain: full or hdrs\n"
	"  -V TEXT    the envelope id that reports repeat\n"
	"  -v         show the dialogue with the server\n"
	"  -bm        read a message (what it does without -b)\n"
	"  -bs        speak SMTP on standard input and output\n"
	"  -bp        list the queue, as mailq does\n"
	"  -C FILE    the server's configuration\n"
	"  -q...      taken and ignored: the server looks after its queue itself\n"
	"  -B, -h, -L, -m, -n, -O, -o, -p, -U, -X, -A, -G, -e, -d\n"
	"             options of other programs of this name: taken and ignored\n"
	"  --help, --version\n"
	"\n"
	"Exit status as of sysexits.h: 0 taken for all, 64 wrong use, 65 the message is no good, 67 no such mailbox,\n"
	"68 no such domain, 69 refused, 75 try again later, 78 the configuration is wrong.\n";

static const char letters[] = "+:A:B:C:F:GL:N:O:R:UV:X:b:d::e:f:h:imno:p:q::r:tv";

static bool set_mode(struct mail *m, const char *value)
{
	static const struct {
		const char *name;
		enum mode mode;
	} modes[] = {{"m", MODE_MESSAGE}, {"s", MODE_SMTP}, {"p", MODE_QUEUE}, {"i", MODE_NOTHING}};

	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
		if (strcmp(value, modes[i].name) == 0) {
			m->mode = modes[i].mode;
			return true;
		}
	fail(EX_USAGE, "-b%s: this is not done here; see sendmail --help", value);
	return false;
}

static bool take_dsn(struct mail *m, int letter, const char *value)
{
	if (letter == 'N' && submit_parse_notify(value, &m->notify))
		return true;
	if (letter == 'R' && submit_parse_ret(value, &m->ret))
		return true;
	buf_reset(&m->envid);
	if (letter == 'V' && submit_parse_envid(value, &m->envid))
		return true;
	fail(EX_USAGE, "-%c %s: see sendmail --help", letter, value);
	return false;
}

static bool take_letter(struct mail *m, int letter, const char *value)
{
	switch (letter) {
	case 't':
		m->from_header = true;
		return true;
	case 'i':
		m->dots = true;
		return true;
	case 'o':
		m->dots = m->dots || strcmp(value, "i") == 0;
		return true;
	case 'v':
		m->verbose = true;
		return true;
	case 'f':
	case 'r':
		m->sender_text = value;
		return true;
	case 'F':
		m->full_name = value;
		return true;
	case 'C':
		m->conf_path = value;
		return true;
	case 'q':
		m->mode = m->mode == MODE_MESSAGE ? MODE_NOTHING : m->mode;
		return true;
	case 'b':
		return set_mode(m, value);
	case 'N':
	case 'R':
	case 'V':
		return take_dsn(m, letter, value);
	case ':':
		fail(EX_USAGE, "-%c needs an argument; see sendmail --help", optopt);
		return false;
	case '?':
		fail(EX_USAGE, "there is no option -%c; see sendmail --help", optopt ? optopt : '-');
		return false;
	default:
		return true;
	}
}

/* What it was called as is a mode too. */
static enum mode mode_of_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;
	const char *name = slash ? slash + 1 : path ? path : "sendmail";

	if (strcmp(name, "mailq") == 0)
		return MODE_QUEUE;
	return strcmp(name, "newaliases") == 0 ? MODE_NOTHING : MODE_MESSAGE;
}

/* The options; what remains from optind on is addresses, however they begin. */
static bool read_options(struct mail *m, int argc, char **argv)
{
	static const struct option longs[] = {
		{"help", no_argument, NULL, MODE_HELP + 256}, {"version", no_argument, NULL, MODE_VERSION + 256}, {0}};
	int letter;

	m->mode = mode_of_name(argv[0]);
	opterr = 0;
	while ((letter = getopt_long(argc, argv, letters, longs, NULL)) != -1) {
		if (letter >= 256)
			m->mode = (enum mode)(letter - 256);
		else if (!take_letter(m, letter, optarg))
			return false;
		if (letter >= 256)
			return true;
	}
	/* A queue run with a message to send is a message to send. */
	if (m->mode == MODE_NOTHING && (optind < argc || m->from_header) && mode_of_name(argv[0]) == MODE_MESSAGE)
		m->mode = MODE_MESSAGE;
	return true;
}

/* ---- the message ------------------------------------------------------------------------------------------- */

static int read_message(struct mail *m)
{
	struct compose_lines lines = {.out = &m->text, .dot_ends = !m->dots};
	int error = compose_read(STDIN_FILENO, &lines);

	if (error)
		return fail(EX_IOERR, "the message cannot be read: %s", strerror(error));
	if (!compose_lines_end(&lines))
		return fail(EX_DATAERR, "the message is larger than %zu octets", SUBMIT_MESSAGE_MAX);
	compose_split(buf_slice(&m->text), &m->fields, &m->body);
	return EX_OK;
}

static int bad_address(const char *where, struct slice text, const char *why)
{
	fprintf(stderr, "%s: %s", program, where);
	cli_print(stderr, slice_head(text, 200));
	fprintf(stderr, ": %s\n", why);
	return EX_DATAERR;
}

static int find_sender(struct mail *m, struct slice host)
{
	const char *why = compose_user(host, &m->user);

	if (m->sender_text) {
		struct slice text = slice_from_cstr(m->sender_text);
		const char *wrong = compose_sender(text, host, &m->sender);
		if (wrong) {
			bad_address("sender ", text, wrong);
			return EX_USAGE;
		}
		if (why && buf_len(&m->sender))
			return buf_add(&m->user, buf_slice(&m->sender)) ? EX_OK : fail(EX_OSERR, "out of memory");
	} else if (!why && !buf_add(&m->sender, buf_slice(&m->user))) {
		return fail(EX_OSERR, "out of memory");
	}
	return why ? fail(EX_NOUSER, "%s; say who sends with -f", why) : EX_OK;
}

static int find_recipients(struct mail *m, int count, char **words)
{
	struct compose_field field;

	m->rcpts.notify = m->notify;
	for (int i = 0; i < count; i++) {
		struct slice word = slice_from_cstr(words[i]);
		size_t before = m->rcpts.count;
		const char *why = compose_rcpts_add_list(&m->rcpts, word);
		if (why || (m->rcpts.count == before && slice_trim(word).n == 0))
			return bad_address("recipient ", word, why ? why : "it is empty");
	}
	if (m->from_header) {
		const char *why = compose_rcpts_add_fields(&m->rcpts, m->fields, &field);
		if (why)
			return bad_address("header field ", slice_trim(field.whole), why);
	}
	if (m->rcpts.count == 0)
		return fail(EX_USAGE, m->from_header ? "no recipient is in the header"
						     : "no recipient is given; see sendmail --help");
	return EX_OK;
}

static int compose(struct mail *m, struct slice host)
{
	struct compose c = {
		.from = buf_len(&m->sender) ? buf_slice(&m->sender) : buf_slice(&m->user),
		.full_name = slice_from_cstr(m->full_name),
		.host = host,
		.now = host_wall(),
		.chance = host_random(),
		.drop_bcc = m->from_header,
	};

	if (!compose_head(&c, m->fields, &m->head))
		return fail(EX_DATAERR, "the header is larger than %zu octets", HEADER_MAX);
	return EX_OK;
}

/* ---- to the server ----------------------------------------------------------------------------------------- */

/* The submission socket; -1 with *status after it said why. */
static int connect_server(const struct conf *conf, struct submit_server *server, int *status)
{
	struct buf why;

	*server = (struct submit_server){.path = conf->submit_socket.p};
	if (conf->submit_socket.n == 0) {
		*status = fail(EX_CONFIG, "the configuration has no submit_socket");
		return -1;
	}
	buf_init(&why, 1024);
	int fd = submit_connect(server, &why, status);
	if (fd < 0)
		fail(*status, "%.*s", SLICE_ARGS(buf_slice(&why)));
	buf_free(&why);
	return fd;
}

/* As many recipients as the server takes in one transaction. */
static size_t at_once(const struct conf *conf)
{
	for (size_t i = 0; i < conf->listener_count; i++)
		if (slice_eq(conf->listeners[i].name, SLICE("submit")))
			return conf->listeners[i].server.rcpt_max;
	return SMTP_RCPT_MIN;
}

static int deliver(struct mail *m, const struct conf *conf)
{
	struct mail_envelope envelope = {
		.sender = buf_slice(&m->sender),
		.envid = buf_slice(&m->envid),
		.ret = m->ret,
		.rcpt = m->rcpts.list,
		.rcpt_count = m->rcpts.count,
	};
	struct submit_message message = {
		.config = &conf->client,
		.envelope = &envelope,
		.head = buf_slice(&m->head),
		.body = m->body,
		.at_once = at_once(conf),
		.show = m->verbose ? stdout : NULL,
	};
	struct submit_server server;
	struct submit_result result;
	int status;

	int fd = connect_server(conf, &server, &status);
	if (fd < 0)
		return status;
	if (submit(&server, fd, &message, &result)) {
		submit_print_refused(stderr, envelope.rcpt, &result);
		status = submit_status(&result);
	} else {
		status = fail(EX_OSERR, "out of memory");
	}
	submit_result_free(&result);
	return status;
}

static int send_message(struct mail *m, const struct conf *conf, int count, char **words)
{
	/* Without anybody to send to, nobody need type a message first. */
	if (count == 0 && !m->from_header)
		return fail(EX_USAGE, "no recipient is given; see sendmail --help");
	int status = read_message(m);

	if (status == EX_OK)
		status = find_sender(m, conf->hostname);
	if (status == EX_OK)
		status = find_recipients(m, count, words);
	if (status == EX_OK)
		status = compose(m, conf->hostname);
	return status == EX_OK ? deliver(m, conf) : status;
}

static int speak_smtp(const struct conf *conf)
{
	struct submit_server server;
	int status;
	int fd = connect_server(conf, &server, &status);

	return fd < 0 ? status : proxy_run(fd, STDIN_FILENO, STDOUT_FILENO, isatty(STDIN_FILENO));
}

static int list_queue(const char *conf_path)
{
	char conf[] = "--conf";
	char *words[] = {conf, NULL, NULL};
	/* Which the command only reads. */
	char *path = (char *)(uintptr_t)conf_path;

	words[1] = path;
	for (size_t i = 0; cli_commands[i].name; i++)
		if (strcmp(cli_commands[i].name, "queue") == 0)
			return cli_queue(&cli_commands[i], conf_path ? 2 : 0, words);
	return EX_SOFTWARE;
}

static int run(struct mail *m, int count, char **words)
{
	static struct conf_error wrong;
	struct conf *conf;
	int status;

	switch (m->mode) {
	case MODE_HELP:
		fputs(usage, stdout);
		return EX_OK;
	case MODE_VERSION:
		puts("sendmail (Postrider) " POSTRIDER_VERSION);
		return EX_OK;
	case MODE_NOTHING:
		return EX_OK;
	case MODE_QUEUE:
		return list_queue(m->conf_path);
	default:
		break;
	}
	conf = cli_conf_load(m->conf_path, &wrong);
	if (!conf)
		return fail(EX_CONFIG, "the configuration is wrong:\n%s", wrong.text);
	compose_rcpts_init(&m->rcpts, conf->hostname, (struct hash_key){host_random(), host_random()});
	status = m->mode == MODE_SMTP ? speak_smtp(conf) : send_message(m, conf, count, words);
	compose_rcpts_free(&m->rcpts);
	conf_unref(conf);
	return status;
}

int main(int argc, char **argv)
{
	static struct mail m;
	int status = EX_USAGE;

	/* A reader of -v or -bs that is gone does not take the message with it. */
	signal(SIGPIPE, SIG_IGN);
	buf_init(&m.text, SUBMIT_MESSAGE_MAX);
	buf_init(&m.head, HEADER_MAX);
	buf_init(&m.sender, COMPOSE_ADDRESS_MAX);
	buf_init(&m.user, COMPOSE_ADDRESS_MAX);
	buf_init(&m.envid, 1024);
	if (read_options(&m, argc, argv))
		status = run(&m, argc - optind, argv + optind);
	struct buf *bufs[] = {&m.text, &m.head, &m.sender, &m.user, &m.envid};
	for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++)
		buf_free(bufs[i]);
	if (fflush(stdout) != 0 && status == EX_OK && m.mode != MODE_MESSAGE)
		status = EX_IOERR;
	return status;
}
