/*
 * supervisor_private: what the files supervisor*.c share.
 */
#ifndef ROLE_SUPERVISOR_PRIVATE_H
#define ROLE_SUPERVISOR_PRIVATE_H

#include "role/role.h"

#include "conf/secrets.h"
#include "net/channel.h"
#include "net/identity.h"
#include "net/log.h"
#include "net/sandbox.h"

/* ---- sockets (supervisor_sockets.c) --------------------------------------------------------------------------- */

/* One that is bound, and listens. */
struct bound {
	struct slice address; /* as in the configuration, copied: what it was bound for */
	uint16_t port;
	struct slice socket; /* path of a unix socket, or empty */
	int fd;
	bool ours; /* we made it, and remove its path at the end */
};

#define SOCKETS_GIVEN_MAX 128

struct sockets {
	struct bound list[2 * CONF_LISTENER_MAX];
	size_t count;
	int control;
	bool control_is_ours;
	int given[SOCKETS_GIVEN_MAX]; /* by the service manager, and not yet used; -1: used */
	size_t given_count;
	int data_dir;               /* for unix sockets below it, which may not be reachable from the root; -1: none */
	struct slice data_dir_path; /* in the configuration that is in force */
};

void sockets_init(struct sockets *k);
/* Takes over what the service manager has bound (LISTEN_FDS); of every process, once, at its start. */
void sockets_take_given(struct sockets *k);

/* Binds what the configuration wants: TCP, for which privileges may be needed, and unix sockets. False: it was logged.
 */
bool sockets_bind_tcp(struct sockets *k, const struct conf *c);
bool sockets_bind_unix(struct sockets *k, const struct conf *c);
/* Whether somebody serves our control socket: then this is the second server of a data directory. */
bool sockets_control_is_served(const struct conf *c);
/* Those that nothing wanted; it is logged. */
void sockets_close_unwanted(struct sockets *k);

/* How many addresses a listener has: "*" stands for every address of both families. */
size_t sockets_addresses(const struct conf_listener *l, struct slice ret[2]);
/* The socket for a listener's address; NULL: there is none. */
const struct bound *sockets_find(const struct sockets *k, const struct conf_listener *l, struct slice address);

/* The directories of the unix sockets that we will remove, as the sandbox wants them; the paths are the heap's. */
#define SOCKETS_PATHS_MAX (2 * CONF_LISTENER_MAX + 2)
size_t sockets_directories(const struct sockets *k, const struct conf *c, struct sandbox_path into[SOCKETS_PATHS_MAX]);
void sockets_close(struct sockets *k, const struct conf *c);

/* ---- files (supervisor_files.c) ------------------------------------------------------------------------------- */

/* Before each configuration: the files that a role wants and may not open for itself. */
void supervisor_send_files(const struct conf *conf, enum role_kind kind, struct channel *to);

/* ---- the start (supervisor_start.c) --------------------------------------------------------------------------- */

/* From the file, or the default without one (NULL). NULL: `failed` says in the log what is wrong with it. */
struct conf *supervisor_load(const char *path, enum log_event_id failed);
/* The secrets of its routes, by conf_secrets_read. NULL: the same. */
struct conf_secrets *supervisor_read_secrets(const struct conf *c, const struct conf_secrets *before,
					     enum log_event_id failed);

/*
 * The data directory is there and is the account's, its descriptor in *ret. Without an account (NULL) it is ours as it
 * is. False: it was logged.
 */
bool supervisor_enter_data_dir(const struct conf *c, const struct identity *account, int *ret);
/* The account to become, if we are root. *ret_needed says whether; false: there is none, and it was logged. */
bool supervisor_find_account(const struct conf *c, struct identity *ret, bool *ret_needed);
/* Root and all capabilities are gone. False: it was logged. */
bool supervisor_give_up_root(const struct conf *c, const struct identity *account, int data_dir);
/* Locks the supervisor in, and says in the log what the kernel has for it. False: it was logged. */
bool supervisor_lock_in(const struct conf *c, const struct sockets *k);

#endif
