#include "cli/accounts.h"

#include "net/identity.h"
#include "net/fs_posix.h"
#include "net/host.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- opening ------------------------------------------------------------------------------------------------- */

/* A data directory that root has made for the server, before its first start: it will be its account's. */
static void give_to_server(const struct conf *conf, int data_dir)
{
	struct identity account;

	if (identity_find(conf->user.p, &account))
		(void)identity_take_directory(&account, data_dir);
}

static bool become(uid_t uid, gid_t gid)
{
	return setgroups(0, NULL) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

/*
 * Who changes accounts is the user that the data directory belongs to: root becomes that user, so that files which are
 * made belong to the server, and nobody can have root follow a link. That user may not be able to come to the directory
 * from the root; then this process is in it. NULL after it said what is wrong.
 */
static const char *own_data_dir(const struct cli_command *self, const struct conf *conf)
{
	const char *path = conf->data_dir.p;
	int fd = geteuid() == 0 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	struct stat st = {.st_uid = 0};

	if (fd < 0)
		return path;
	give_to_server(conf, fd);
	(void)fstat(fd, &st);
	bool ours = st.st_uid == 0;
	if (!ours && !become(st.st_uid, st.st_gid)) {
		cli_fail(self, EX_NOPERM, "%s: its user cannot be taken on: %s", path, strerror(errno));
		path = NULL;
	} else if (!ours && access(path, X_OK) != 0 && fchdir(fd) == 0) {
		path = ".";
	}
	close(fd);
	return path;
}

static int open_path(const struct cli_command *self, const char *path, enum cli_accounts_use use, struct accounts **ret)
{
	struct accounts_config config = {.path = path, .create = use == CLI_ACCOUNTS_ADD};
	struct buf why;
	int status = EX_OK;

	buf_init(&why, 8192);
	host_random_octets(config.key, sizeof config.key);
	if (use == CLI_ACCOUNTS_READ) {
		*ret = accounts_reader(path, config.key);
		if (!*ret)
			status = cli_fail(self, EX_OSERR, "out of memory");
	} else {
		enum accounts_result result = accounts_open(&config, ret, &why);
		if (result == ACCOUNTS_MISSING)
			status = cli_fail(self, EX_NOUSER, "nobody has an account yet; see postrider user add");
		else if (result)
			status = cli_fail(self, cli_accounts_status(result), "%.*s", SLICE_ARGS(buf_slice(&why)));
	}
	buf_free(&why);
	explicit_bzero(&config, sizeof config);
	return status;
}

int cli_accounts_open(const struct cli_command *self, const struct conf *conf, enum cli_accounts_use use,
		      struct accounts **ret)
{
	struct buf path;

	*ret = NULL;
	int error = use == CLI_ACCOUNTS_ADD ? fs_posix_make_root(conf->data_dir.p) : 0;
	if (error)
		return cli_fail(self, error == EACCES ? EX_NOPERM : EX_CANTCREAT, "%s: %s", conf->data_dir.p,
				strerror(error));
	const char *data_dir = own_data_dir(self, conf);
	if (!data_dir)
		return EX_NOPERM;
	buf_init(&path, 8192);
	buf_printf(&path, "%s/" ACCOUNTS_FILE, data_dir);
	const char *text = buf_cstr(&path);
	int status = text ? open_path(self, text, use, ret) : cli_fail(self, EX_OSERR, "out of memory");
	buf_free(&path);
	return status;
}

/* ---- failures ------------------------------------------------------------------------------------------------ */

int cli_accounts_status(enum accounts_result result)
{
	switch (result) {
	case ACCOUNTS_OK:
		return EX_OK;
	case ACCOUNTS_NOT_FOUND:
	case ACCOUNTS_MISSING:
		return EX_NOUSER;
	case ACCOUNTS_EXISTS:
	case ACCOUNTS_FULL:
		return EX_CANTCREAT;
	case ACCOUNTS_INVALID:
	case ACCOUNTS_DAMAGED:
	case ACCOUNTS_VERSION:
		return EX_DATAERR;
	case ACCOUNTS_DENIED:
		return EX_NOPERM;
	case ACCOUNTS_BUSY:
		return EX_TEMPFAIL;
	case ACCOUNTS_NO_MEMORY:
		return EX_OSERR;
	case ACCOUNTS_IO:
		break;
	}
	return EX_IOERR;
}

/* What the handle says begins with the path, which is of no interest where a name is wrong. */
int cli_accounts_fail(const struct cli_command *self, const struct accounts *a, struct slice name,
		      enum accounts_result result)
{
	struct slice why = accounts_why(a);
	bool about_name = result == ACCOUNTS_NOT_FOUND || result == ACCOUNTS_EXISTS || result == ACCOUNTS_INVALID;

	fprintf(stderr, "postrider %s: ", self->name);
	if (about_name) {
		size_t at = slice_search(why, SLICE(": "));
		cli_print(stderr, name);
		why = result == ACCOUNTS_NOT_FOUND ? SLICE("there is no such account") : slice_skip(why, at + 2);
		fprintf(stderr, ": ");
	}
	cli_print(stderr, why);
	fputc('\n', stderr);
	return cli_accounts_status(result);
}

/* ---- limits -------------------------------------------------------------------------------------------------- */

bool cli_accounts_limit(const struct cli_command *self, const char *text, uint32_t *ret)
{
	uint64_t n = 0;

	if (strcmp(text, "none") == 0)
		n = ACCOUNT_UNLIMITED;
	else if (strcmp(text, "default") != 0 &&
		 (!slice_u64(slice_from_cstr(text), ACCOUNT_UNLIMITED - 1, &n) || n == 0)) {
		cli_fail(self, EX_USAGE, "%s is no limit: a number from 1, \"none\" or \"default\"", text);
		return false;
	}
	*ret = (uint32_t)n;
	return true;
}

void cli_accounts_print_limit(uint32_t own, uint32_t in_force, const char *what, bool of_domain)
{
	if (in_force == 0)
		printf("  %s per hour: as the configuration says\n", what);
	else if (in_force == ACCOUNT_UNLIMITED)
		printf("  %s per hour: no limit", what);
	else
		printf("  %s per hour: at most %u", what, in_force);
	if (in_force)
		printf("%s\n", of_domain && own == 0 ? ", as its domain" : "");
}

json_t *cli_accounts_json_limit(uint32_t limit)
{
	return limit == 0 ? json_null() : limit == ACCOUNT_UNLIMITED ? json_string("none") : json_integer(limit);
}

/* ---- beside the configuration -------------------------------------------------------------------------------- */

enum cli_mail cli_accounts_mail(const struct conf *conf, struct slice name, struct directory_entry *entry)
{
	struct mail_address address;
	const char *why;

	*entry = (struct directory_entry){0};
	if (mail_address_parse(name, &address, &why) != MAIL_ADDRESS_OK)
		return CLI_MAIL_NO_ADDRESS;
	directory_find(conf->directory, &address, entry);
	switch (entry->result) {
	case DIRECTORY_NOT_OURS:
		return CLI_MAIL_NO_DOMAIN;
	case DIRECTORY_UNKNOWN:
	case DIRECTORY_DISABLED:
		return CLI_MAIL_NO_MAILBOX;
	case DIRECTORY_MOVED:
	case DIRECTORY_FORWARDED:
	case DIRECTORY_LIST:
		return CLI_MAIL_ELSEWHERE;
	case DIRECTORY_FOUND:
	case DIRECTORY_SUSPENDED:
		break;
	}
	return CLI_MAIL_HERE;
}
