/*
 * postrider backup: a copy of the queue while the server runs.
 */
#include "cli/check_data.h"
#include "cli/control.h"

#include "net/fs_posix.h"
#include "queue/store_backup.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>

const struct cli_option cli_backup_options[] = {
	{"conf", 'c', "FILE", "the server's configuration"},
	{"json", 0, NULL, "print one JSON object"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum { OPTION_CONF, OPTION_JSON, OPTION_HELP };

struct backup {
	const struct cli_command *self;
	const char *conf_path, *directory;
	bool json;
	struct control control;
	uint64_t hold;
};

/* The queue's answer; *ret_number is the hold's. */
static enum store_result ask(struct backup *b, enum wire_backup_verb verb, uint64_t *ret_number)
{
	struct wire_backup request = {verb, b->hold};
	struct wire_end end = {.result = STORE_IO};
	struct slice payload;
	struct buf frame;
	uint16_t type;

	buf_init(&frame, 64);
	wire_put_backup(&frame, &request);
	bool good = control_ask(&b->control, WIRE_BACKUP, buf_slice(&frame)) &&
		    control_next(&b->control, &type, &payload) && type == WIRE_END && wire_get_end(payload, &end);
	buf_free(&frame);
	*ret_number = end.count;
	return good ? end.result : STORE_IO;
}

static bool holds(void *arg)
{
	struct backup *b = arg;
	uint64_t number;

	return ask(b, WIRE_BACKUP_RENEW, &number) == STORE_OK && number == b->hold;
}

static int status_of(enum store_result result)
{
	switch (result) {
	case STORE_NOT_FOUND:
	case STORE_LOCKED:
		return EX_TEMPFAIL;
	case STORE_EXISTS:
	case STORE_FULL:
		return EX_CANTCREAT;
	case STORE_NO_MEMORY:
		return EX_OSERR;
	case STORE_CORRUPT:
	case STORE_VERSION:
		return EX_DATAERR;
	default:
		return EX_IOERR;
	}
}

static bool any_name(void *arg, const char *name)
{
	(void)name;
	*(bool *)arg = true;
	return false;
}

/* Made if need be, and empty: nothing is ever written over. */
static int open_target(const struct backup *b, struct fs **ret)
{
	bool taken = false;
	int error = fs_posix_make_root(b->directory);

	if (!error)
		error = fs_posix_open(b->directory, ret);
	if (error)
		return cli_fail(b->self, error == EACCES ? EX_NOPERM : EX_CANTCREAT, "%s: %s", b->directory,
				strerror(error));
	error = (*ret)->ops->list(*ret, "", any_name, &taken);
	if (!error && !taken)
		return EX_OK;
	(*ret)->ops->close(*ret);
	return cli_fail(b->self, EX_CANTCREAT, "%s: %s", b->directory,
			error ? strerror(error) : "is not empty; name a new directory");
}

static int copy(struct backup *b, struct fs *from, struct fs *to)
{
	struct store_backup_config config = {.from = from, .to = to, .holds = holds, .arg = b};
	struct store_backup made;
	struct buf path, why;
	uint64_t number;
	int status = EX_OK;

	buf_init(&path, 8192);
	buf_init(&why, 4096);
	buf_printf(&path, "%s/queue.db", b->directory);
	config.to_path = buf_cstr(&path);
	enum store_result result = config.to_path ? store_sqlite_backup(&config, &made, &why) : STORE_NO_MEMORY;
	(void)ask(b, WIRE_BACKUP_FINISH, &number);
	if (result != STORE_OK)
		status = cli_fail(b->self, status_of(result), "%.*s; %s is no backup, and can be removed",
				  SLICE_ARGS(buf_slice(&why)), b->directory);
	buf_free(&path);
	buf_free(&why);
	return status;
}

static int perform(struct backup *b, const char *data_dir)
{
	struct fs *from, *to;
	int error = fs_posix_open(data_dir, &from);

	if (error)
		return cli_fail(b->self, error == EACCES ? EX_NOPERM : EX_NOINPUT, "%s: %s", data_dir, strerror(error));
	int status = open_target(b, &to);
	if (status == EX_OK) {
		enum store_result result = ask(b, WIRE_BACKUP_BEGIN, &b->hold);
		if (result == STORE_EXISTS)
			status = cli_fail(b->self, EX_TEMPFAIL, "another backup is under way");
		else if (result != STORE_OK)
			status = cli_fail(b->self, EX_TEMPFAIL, "the queue cannot hold still now: %s",
					  store_result_text(result));
		else
			status = copy(b, from, to);
		to->ops->close(to);
	}
	from->ops->close(from);
	return status == EX_OK ? cli_check_directory(b->self, b->directory, false, b->json) : status;
}

/* False when there is nothing to do; *status says how to end. */
static bool read_arguments(struct backup *b, int argc, char **argv, int *status)
{
	struct cli_args args = {.command = b->self, .argc = argc, .argv = argv};
	int option;

	*status = EX_USAGE;
	while ((option = cli_next(&args)) != CLI_END) {
		switch (option) {
		case OPTION_CONF:
			b->conf_path = args.value;
			break;
		case OPTION_JSON:
			b->json = true;
			break;
		case OPTION_HELP:
			cli_help(b->self);
			*status = EX_OK;
			return false;
		case CLI_WORD:
			if (b->directory) {
				cli_fail(b->self, EX_USAGE, "one directory is wanted: %s or %s?", b->directory,
					 args.value);
				return false;
			}
			b->directory = args.value;
			break;
		default:
			return false;
		}
	}
	if (b->directory)
		return true;
	cli_fail(b->self, EX_USAGE, "into which directory?");
	return false;
}

int cli_backup(const struct cli_command *self, int argc, char **argv)
{
	struct backup b = {.self = self};
	const char *why;
	int status;

	if (!read_arguments(&b, argc, argv, &status))
		return status;
	struct conf *conf = cli_conf(self, b.conf_path);
	if (!conf)
		return EX_CONFIG;
	if (control_open(&b.control, conf->control_socket.p, &why)) {
		status = perform(&b, conf->data_dir.p);
		control_close(&b.control);
	} else {
		status = cli_fail(self, EX_UNAVAILABLE, "%s: %s; the directory of a stopped server can just be copied",
				  conf->control_socket.p, why);
	}
	conf_unref(conf);
	return status;
}
