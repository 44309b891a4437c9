/*
 * What the supervisor does before it serves: the configuration, its data directory, giving up root, locking itself in.
 */
#include "role/supervisor_private.h"

#include "base/heap.h"
#include "net/fs_posix.h"
#include "net/host.h"
#include "net/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the configuration ---------------------------------------------------------------------------------------- */

static struct conf *load_default(const struct conf_host *host, struct conf_error *error)
{
	const char *port_text = getenv("SMTP_PORT"), *dir = getenv("DATA_DIR");
	uint64_t port = 0;
	struct buf text;

	if (port_text && !slice_u64(slice_from_cstr(port_text), 65535, &port)) {
		fprintf(stderr, "postriderd: SMTP_PORT is no port number: %s\n", port_text);
		return NULL;
	}
	buf_init(&text, CONF_TEXT_MAX);
	struct conf *c = conf_default_text((uint16_t)port, slice_from_cstr(dir), &text)
				 ? conf_load_text(buf_slice(&text), "embedded default", host, error)
				 : NULL;
	buf_free(&text);
	return c;
}

/* Errors and warnings are logged a line each. */
static void log_conf_lines(enum log_event_id event, const struct conf_error *error)
{
	struct slice rest = slice_of(error->text, error->length);

	while (rest.n) {
		struct slice line = slice_split(&rest, '\n');
		bool warns = slice_search(line, SLICE(": warning: ")) < line.n;
		if (line.n)
			log_event(warns ? LOG_CONF_WARNING : event, LOG_TEXT("reason", line));
	}
}

struct conf *supervisor_load(const char *path, enum log_event_id failed)
{
	static struct conf_error error;
	char name_octets[256];
	struct buf name;

	error = (struct conf_error){0};
	buf_init(&name, sizeof name_octets);
	host_name(&name);
	struct conf_host host = {.name = buf_slice(&name), .cores = host_cores()};
	struct conf *c = path ? conf_load_file(path, &host, &error) : load_default(&host, &error);
	buf_free(&name);
	log_conf_lines(failed, &error);
	return c;
}

struct conf_secrets *supervisor_read_secrets(const struct conf *c, const struct conf_secrets *before,
					     enum log_event_id failed)
{
	static struct conf_error error;

	error = (struct conf_error){0};
	struct conf_secrets *secrets = conf_secrets_read(c, before, false, &error);
	log_conf_lines(failed, &error);
	return secrets;
}

/* ---- the account ---------------------------------------------------------------------------------------------- */

bool supervisor_find_account(const struct conf *c, struct identity *ret, bool *ret_needed)
{
	*ret_needed = identity_is_root();
	if (!*ret_needed || identity_find(c->user.p, ret))
		return true;
	log_event(LOG_START_FAILED, LOG_TEXT("user", c->user),
		  LOG_CSTR("reason", "started by root, and there is no such account to become, or it is root's"));
	return false;
}

/* ---- the data directory --------------------------------------------------------------------------------------- */

static bool directory_failed(const struct conf *c, const char *reason)
{
	log_event(LOG_START_FAILED, LOG_TEXT("directory", c->data_dir), LOG_CSTR("reason", reason));
	return false;
}

bool supervisor_enter_data_dir(const struct conf *c, const struct identity *account, int *ret)
{
	int error = fs_posix_make_root(c->data_dir.p);

	if (error)
		return directory_failed(c, strerror(error));
	*ret = open(c->data_dir.p, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*ret >= 0 && (!account || identity_take_directory(account, *ret)))
		return true;
	return directory_failed(c, strerror(errno));
}

static bool may_use(int data_dir)
{
	return faccessat(data_dir, ".", R_OK | W_OK | X_OK, AT_EACCESS) == 0;
}

static bool cannot_use(const struct conf *c, const struct identity *account)
{
	char reason[200];

	snprintf(reason, sizeof reason, "it is not that of the user %s: chown -R %s", account->name, account->name);
	return directory_failed(c, reason);
}

bool supervisor_give_up_root(const struct conf *c, const struct identity *account, int data_dir)
{
	if (account && !identity_become(account)) {
		log_event(LOG_START_FAILED, LOG_CSTR("user", account->name), LOG_CSTR("reason", strerror(errno)));
		return false;
	}
	if (!sandbox_drop_capabilities()) {
		log_event(LOG_START_FAILED, LOG_CSTR("reason", "capabilities cannot be given up"));
		return false;
	}
	/* A change of the user undoes it. */
	sandbox_begin();
	if (!account)
		return true;
	log_event(strcmp(account->name, IDENTITY_OTHER) == 0 ? LOG_ACCOUNT_UNFIT : LOG_ACCOUNT,
		  LOG_CSTR("user", account->name));
	return may_use(data_dir) || cannot_use(c, account);
}

/* ---- locking in ----------------------------------------------------------------------------------------------- */

static void log_kernel(void)
{
	struct sandbox_kernel kernel = sandbox_kernel();
	char landlock[16] = "no";

	if (kernel.landlock)
		snprintf(landlock, sizeof landlock, "%d", kernel.landlock);
	log_event(kernel.landlock && kernel.seccomp ? LOG_CONFINED : LOG_CONFINED_LESS, LOG_CSTR("landlock", landlock),
		  LOG_CSTR("seccomp", kernel.seccomp ? "yes" : "no"));
}

bool supervisor_lock_in(const struct conf *c, const struct sockets *k)
{
	struct sandbox_path paths[SOCKETS_PATHS_MAX];
	char data_dir[32], why[SANDBOX_WHY_MAX];
	struct sandbox_needs needs = {
		.data_dir = data_dir, .paths = paths, .required = c->sandbox == CONF_SANDBOX_REQUIRED};
	size_t count = sockets_directories(k, c, paths);

	snprintf(data_dir, sizeof data_dir, "/proc/self/fd/%d", k->data_dir);
	log_kernel();
	bool good = sandbox_enter(sandbox_row(role_name(ROLE_SUPERVISOR)), &needs, why);
	for (size_t i = 0; i < count; i++)
		heap_free((void *)(uintptr_t)paths[i].path);
	if (!good)
		log_event(LOG_START_FAILED, LOG_CSTR("reason", "the supervisor cannot lock itself in"),
			  LOG_CSTR("detail", why));
	return good;
}
