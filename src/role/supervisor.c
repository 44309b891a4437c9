/*
 * The supervisor: reads the configuration, binds the sockets, starts the roles, connects them with each other, and
 * starts again what dies. It reads nothing that comes from the network.
 *
 * Every role is this program again, with a channel on descriptor 3. The queue is the centre: each other role but keys
 * and auth has a connection to it, and each receiver one to those two, made here anew whenever either end is a new
 * process.
 *
 * Stopping goes against the way of a message, so that each role can still finish what it has: receivers (421, no new
 * mail), then senders and mailbox (what is under way), then the queue. SIGHUP reads the configuration again; if it is
 * wrong, the old one stays in force.
 */
#include "role/supervisor_private.h"

#include "base/heap.h"
#include "conf/secrets.h"
#include "net/channel.h"
#include "net/conn.h"
#include "net/host.h"
#include "net/log.h"
#include "net/notify.h"
#include "net/shared.h"
#include "net/socket.h"
#include "role/confine.h"
#include "role/launcher.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#define CHILDREN_MAX   (5 + 2 * CONF_PROCESS_MAX)
#define RESTART_AFTER  (1 * SECOND) /* for a role that died soon after it had been started */
#define SOON           (2 * SECOND)
#define STAGE_PATIENCE (15 * SECOND) /* for one stage of stopping, before SIGKILL */

struct supervisor;

struct child {
	struct supervisor *supervisor;
	enum role_kind kind;
	uint32_t index;
	pid_t pid; /* 0: not running */
	struct channel *channel;
	struct loop_timer *again;
	mono_ms started;
	bool ready, was_ready;
	bool anew;                  /* it was told to end, and is started again at once */
	unsigned configuring;       /* configurations that it was sent and has not taken yet */
	struct confine_needs needs; /* what it locked itself in for */
};

/* The stages of stopping, in order; each ends when none of its roles runs. */
enum stage {
	STAGE_SERVING,
	STAGE_RECEIVERS,
	STAGE_COURIERS,
	STAGE_QUEUE,
	STAGE_OVER,
};

struct supervisor {
	struct loop *loop;
	const char *path;
	struct conf *conf;
	struct buf text; /* of the configuration, for the roles */
	struct conf_secrets *secrets; /* for the senders alone */
	struct child children[CHILDREN_MAX];
	size_t child_count;
	struct sockets sockets;
	struct launcher launcher;
	int counts; /* memory in which all receivers count clients */
	enum stage stage;
	struct loop_timer *patience, *watchdog;
	bool announced;
	bool reloading; /* not all roles have the new configuration yet */
	int status;
};

/* ---- configuration -------------------------------------------------------------------------------------------- */

/* The roles are in the data directory: they need not be able to reach it from the root. */
static bool use_conf(struct supervisor *s, struct conf *c)
{
	struct conf of_roles = *c;

	of_roles.data_dir = SLICE(".");
	buf_reset(&s->text);
	if (!conf_dump_short(&of_roles, &s->text))
		return false;
	s->sockets.data_dir_path = c->data_dir;
	conf_unref(s->conf);
	s->conf = c;
	return true;
}

static void use_secrets(struct supervisor *s, struct conf_secrets *secrets)
{
	conf_secrets_free(s->secrets);
	s->secrets = secrets;
	conf_secrets_hide(secrets); /* before there are children to inherit them */
}

/* ---- telling roles -------------------------------------------------------------------------------------------- */

static void send_listeners(struct supervisor *s, struct child *c)
{
	struct buf number;

	buf_init(&number, 8);
	if (c->kind == ROLE_ADMIN) {
		wire_put_number(&number, 0);
		channel_send(c->channel, WIRE_LISTENER, buf_slice(&number), s->sockets.control);
	}
	for (size_t i = 0; c->kind == ROLE_RECEIVER && i < s->conf->listener_count; i++) {
		struct slice addresses[2];
		size_t count = sockets_addresses(&s->conf->listeners[i], addresses);
		for (size_t j = 0; j < count; j++) {
			const struct bound *b = sockets_find(&s->sockets, &s->conf->listeners[i], addresses[j]);
			if (!b)
				continue;
			buf_reset(&number);
			wire_put_number(&number, i);
			channel_send(c->channel, WIRE_LISTENER, buf_slice(&number), b->fd);
		}
	}
	buf_free(&number);
}

/* Once in a process's life, before anything else. */
static void send_counts(struct supervisor *s, struct child *c)
{
	if (c->kind == ROLE_RECEIVER)
		channel_send(c->channel, WIRE_COUNTS, SLICE_NONE, s->counts);
}

static void send_secrets(struct supervisor *s, struct child *c)
{
	struct buf frame;

	if (c->kind != ROLE_SENDER)
		return;
	buf_init(&frame, CHANNEL_FRAME_MAX);
	wire_put_secrets(&frame, (uint32_t)s->secrets->count);
	for (size_t i = 0; i < s->secrets->count; i++)
		wire_put_secret(&frame, &(struct wire_secret){s->secrets->list[i].route, s->secrets->list[i].secret});
	if (frame.failed)
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "the secrets of routes"));
	else
		channel_send(c->channel, WIRE_SECRETS, buf_slice(&frame), -1);
	buf_wipe(&frame);
}

/* To the admin role: who is no tool. */
static void send_processes(struct supervisor *s)
{
	struct wire_processes ours = {.pid = {(uint32_t)getpid(), (uint32_t)s->launcher.pid}, .count = 2};
	struct buf frame;

	static_assert(CHILDREN_MAX + 2 <= WIRE_PROCESSES_MAX, "all of them fit");
	for (size_t i = 0; i < s->child_count; i++)
		if (s->children[i].pid)
			ours.pid[ours.count++] = (uint32_t)s->children[i].pid;
	buf_init(&frame, sizeof ours + 16);
	wire_put_processes(&frame, &ours);
	for (size_t i = 0; i < s->child_count && !frame.failed; i++)
		if (s->children[i].kind == ROLE_ADMIN && s->children[i].channel)
			channel_send(s->children[i].channel, WIRE_PROCESSES, buf_slice(&frame), -1);
	buf_free(&frame);
}

static void send_configuration(struct supervisor *s, struct child *c)
{
	supervisor_send_files(s->conf, c->kind, c->channel);
	send_secrets(s, c);
	if (channel_send(c->channel, WIRE_CONFIG, buf_slice(&s->text), -1))
		c->configuring++;
	send_listeners(s, c);
}

static void send_peer(struct child *to, const struct child *about, int fd)
{
	struct buf frame;

	buf_init(&frame, 16);
	wire_put_peer(&frame, &(struct wire_peer){.kind = about->kind, .index = about->index});
	channel_send(to->channel, WIRE_PEER, buf_slice(&frame), fd);
	buf_free(&frame);
}

static void connect_children(struct child *a, struct child *b)
{
	int ends[2];

	/* A channel may be closed before the end of its process is known. */
	if (!a->channel || !b->channel)
		return;
	if (!socket_pair(ends)) {
		log_event(LOG_PEER_LOST, LOG_CSTR("peer", role_name(b->kind)), LOG_CSTR("reason", strerror(errno)));
		return;
	}
	send_peer(a, b, ends[0]);
	send_peer(b, a, ends[1]);
	close(ends[0]);
	close(ends[1]);
}

/* Those that receivers alone talk to. */
static bool is_for_receivers(enum role_kind kind)
{
	return kind == ROLE_KEYS || kind == ROLE_AUTH;
}

static bool talk_to_each_other(const struct child *a, const struct child *b)
{
	if (is_for_receivers(a->kind))
		return b->kind == ROLE_RECEIVER;
	if (is_for_receivers(b->kind))
		return a->kind == ROLE_RECEIVER;
	return a != b && (a->kind == ROLE_QUEUE || b->kind == ROLE_QUEUE);
}

static void connect_to_peers(struct supervisor *s, struct child *c)
{
	for (size_t i = 0; i < s->child_count; i++)
		if (talk_to_each_other(c, &s->children[i]))
			connect_children(&s->children[i], c);
}

/* ---- processes ------------------------------------------------------------------------------------------------ */

static void start_child(struct supervisor *s, struct child *c);
static void begin_stage(struct supervisor *s, enum stage stage);

static enum stage stage_of(enum role_kind kind)
{
	switch (kind) {
	case ROLE_SENDER:
	case ROLE_MAILBOX:
	case ROLE_KEYS:
	case ROLE_AUTH:
		return STAGE_COURIERS;
	case ROLE_QUEUE:
		return STAGE_QUEUE;
	default:
		return STAGE_RECEIVERS;
	}
}

static void tell_ready(const struct supervisor *s)
{
	char status[128];

	snprintf(status, sizeof status, "Takes mail as %.100s", s->conf->hostname.p);
	notify_ready(status);
}

static void announce(struct supervisor *s)
{
	for (size_t i = 0; i < s->child_count; i++)
		if (!s->children[i].ready)
			return;
	s->announced = true;
	tell_ready(s);
	log_event(LOG_STARTED, LOG_CSTR("version", POSTRIDER_VERSION), LOG_TEXT("hostname", s->conf->hostname),
		  LOG_TEXT("data", s->conf->data_dir));
}

/* Whoever connects from now on meets the new configuration, whichever role serves him. */
static void end_reload_if_done(struct supervisor *s)
{
	if (!s->reloading)
		return;
	for (size_t i = 0; i < s->child_count; i++)
		if (s->children[i].configuring > 0 || s->children[i].anew)
			return;
	s->reloading = false;
	log_event(LOG_RELOADED, LOG_TEXT("hostname", s->conf->hostname));
	/* Not before the start has come to its end. */
	if (s->announced)
		tell_ready(s);
}

/* A role lost its connection, though both live: the other side found it broken, or could not write to it. */
static void connect_anew(struct child *c, enum role_kind kind)
{
	struct supervisor *s = c->supervisor;

	for (size_t i = 0; i < s->child_count; i++)
		if (s->children[i].kind == kind && talk_to_each_other(c, &s->children[i]))
			connect_children(&s->children[i], c);
}

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct child *c = arg;
	struct wire_peer wanted;

	if (fd >= 0)
		close(fd);
	if (type == WIRE_PEER_WANTED) {
		if (!wire_get_peer(payload, &wanted) || (wanted.kind != ROLE_QUEUE && !is_for_receivers(wanted.kind)))
			return false;
		connect_anew(c, wanted.kind);
		return true;
	}
	if (type == WIRE_CONFIGURED && c->configuring > 0) {
		c->configuring--;
		end_reload_if_done(c->supervisor);
		return true;
	}
	if (type != WIRE_READY)
		return false;
	c->ready = c->was_ready = true;
	if (!c->supervisor->announced)
		announce(c->supervisor);
	return true;
}

static void on_channel_closed(void *arg, const char *why)
{
	struct child *c = arg;

	(void)why; /* the process's end is what counts, and is logged */
	channel_free(c->channel);
	c->channel = NULL;
	/* A role that spoiled its channel but lives on is of no use. */
	if (c->pid)
		kill(c->pid, SIGKILL);
}

static void start_child(struct supervisor *s, struct child *c)
{
	static const struct channel_handler handler = {on_frame, on_channel_closed};
	int ends[2];

	c->ready = c->anew = false;
	c->started = loop_mono(s->loop);
	confine_needs(c->kind, s->conf, &c->needs);
	if (!socket_pair(ends)) {
		loop_timer_set(c->again, c->started + RESTART_AFTER);
		return;
	}
	pid_t pid = launcher_run(&s->launcher, c->kind, c->index, ends[1]);
	int error = errno;
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		log_event(LOG_ROLE_DIED, LOG_CSTR("which", role_name(c->kind)), LOG_CSTR("reason", strerror(error)));
		loop_timer_set(c->again, c->started + RESTART_AFTER);
		return;
	}
	c->pid = pid;
	c->channel = channel_new(s->loop, ends[0], &handler, c);
	if (!c->channel) {
		kill(pid, SIGKILL);
		return;
	}
	log_event(LOG_ROLE_STARTED, LOG_CSTR("which", role_name(c->kind)), LOG_NUMBER("index", c->index),
		  LOG_NUMBER("pid", pid));
	send_counts(s, c);
	send_configuration(s, c);
	send_processes(s);
	connect_to_peers(s, c);
}

static void on_again(void *arg)
{
	struct child *c = arg;

	if (c->supervisor->stage == STAGE_SERVING)
		start_child(c->supervisor, c);
}

static void child_ended(struct supervisor *s, struct child *c, int status)
{
	pid_t pid = c->pid;

	c->pid = 0;
	c->ready = false;
	c->configuring = 0;
	channel_free(c->channel);
	c->channel = NULL;
	if (s->stage != STAGE_SERVING) {
		begin_stage(s, s->stage);
		return;
	}
	if (c->anew) {
		start_child(s, c);
		return;
	}
	log_event(LOG_ROLE_DIED, LOG_CSTR("which", role_name(c->kind)), LOG_NUMBER("index", c->index),
		  LOG_NUMBER("pid", pid),
		  WIFSIGNALED(status) ? LOG_NUMBER("signal", WTERMSIG(status))
				      : LOG_NUMBER("status", WEXITSTATUS(status)));
	/* What never came up will not come up by trying again: the configuration or the store is wrong. */
	if (!s->announced && WIFEXITED(status)) {
		s->status = WEXITSTATUS(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
		begin_stage(s, STAGE_RECEIVERS);
		return;
	}
	bool soon = loop_mono(s->loop) - c->started < SOON;
	loop_timer_set(c->again, loop_mono(s->loop) + (soon ? RESTART_AFTER : 0));
}

/* Without it no role could be started again: whoever started the server shall do so anew. */
static void launcher_ended(struct supervisor *s, int status)
{
	s->launcher.pid = 0;
	if (s->stage != STAGE_SERVING)
		return;
	log_event(LOG_ROLE_DIED, LOG_CSTR("which", LAUNCHER_NAME),
		  WIFSIGNALED(status) ? LOG_NUMBER("signal", WTERMSIG(status))
				      : LOG_NUMBER("status", WEXITSTATUS(status)));
	s->status = EX_SOFTWARE;
	begin_stage(s, STAGE_RECEIVERS);
}

static void on_child(void *arg, int number)
{
	struct supervisor *s = arg;
	int status;
	pid_t pid;

	(void)number;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == s->launcher.pid)
			launcher_ended(s, status);
		for (size_t i = 0; i < s->child_count; i++)
			if (s->children[i].pid == pid)
				child_ended(s, &s->children[i], status);
	}
	end_reload_if_done(s); /* one that is not there gets the new one when it comes */
}

static void add_child(struct supervisor *s, enum role_kind kind, uint32_t index)
{
	struct child *c = &s->children[s->child_count++];

	*c = (struct child){.supervisor = s, .kind = kind, .index = index};
	c->again = loop_timer_new(s->loop, on_again, c);
	if (!c->again)
		abort();
}

static void add_children(struct supervisor *s)
{
	add_child(s, ROLE_QUEUE, 0);
	add_child(s, ROLE_KEYS, 0);
	add_child(s, ROLE_AUTH, 0);
	add_child(s, ROLE_MAILBOX, 0);
	for (uint32_t i = 0; i < s->conf->senders; i++)
		add_child(s, ROLE_SENDER, i);
	add_child(s, ROLE_ADMIN, 0);
	for (uint32_t i = 0; i < s->conf->receivers; i++)
		add_child(s, ROLE_RECEIVER, i);
}

/* ---- stopping ------------------------------------------------------------------------------------------------- */

static bool stage_is_empty(const struct supervisor *s, enum stage stage)
{
	for (size_t i = 0; i < s->child_count; i++)
		if (s->children[i].pid && stage_of(s->children[i].kind) == stage)
			return false;
	return true;
}

static void tell_stage(struct supervisor *s, enum stage stage, uint16_t type)
{
	for (size_t i = 0; i < s->child_count; i++) {
		struct child *c = &s->children[i];
		if (c->channel && stage_of(c->kind) == stage)
			channel_send(c->channel, type, SLICE_NONE, -1);
	}
}

/* Goes on to the first stage from `stage` that still has roles. Called again when one of them ends. */
static void begin_stage(struct supervisor *s, enum stage stage)
{
	while (stage < STAGE_OVER && stage_is_empty(s, stage))
		stage++;
	if (stage == s->stage)
		return;
	if (s->stage == STAGE_SERVING)
		tell_stage(s, STAGE_QUEUE, WIRE_DRAIN);
	s->stage = stage;
	if (stage == STAGE_OVER) {
		loop_stop(s->loop);
		return;
	}
	tell_stage(s, stage, WIRE_STOP);
	loop_timer_set(s->patience, loop_mono(s->loop) + STAGE_PATIENCE);
}

static void on_patience(void *arg)
{
	struct supervisor *s = arg;

	for (size_t i = 0; i < s->child_count; i++) {
		struct child *c = &s->children[i];
		if (!c->pid || stage_of(c->kind) != s->stage)
			continue;
		log_event(LOG_ROLE_SLOW, LOG_CSTR("which", role_name(c->kind)), LOG_NUMBER("pid", c->pid));
		kill(c->pid, SIGKILL);
	}
	loop_timer_set(s->patience, loop_mono(s->loop) + STAGE_PATIENCE);
}

static void on_stop(void *arg, int number)
{
	struct supervisor *s = arg;

	if (s->stage != STAGE_SERVING)
		return;
	notify_stopping();
	log_event(LOG_STOPPING, LOG_NUMBER("signal", number));
	begin_stage(s, STAGE_RECEIVERS);
}

/* ---- watchdog ------------------------------------------------------------------------------------------------- */

/* That this comes is the proof: the loop goes round. A role that dies is started again by it. */
static void on_watchdog(void *arg)
{
	struct supervisor *s = arg;

	notify_alive();
	loop_timer_set(s->watchdog, loop_mono(s->loop) + notify_watchdog());
}

static bool begin_watchdog(struct supervisor *s)
{
	s->watchdog = loop_timer_new(s->loop, on_watchdog, s);
	if (s->watchdog && notify_watchdog() > 0)
		on_watchdog(s);
	return s->watchdog != NULL;
}

/* ---- reloading ------------------------------------------------------------------------------------------------ */

/*
 * A role that locked itself in for the old configuration may not have what the new one needs: it ends what it has under
 * way, and is started anew. Only the mailbox role ever needs more; receivers keep their sessions.
 */
static void reconfigure_child(struct supervisor *s, struct child *c)
{
	struct confine_needs needs;

	confine_needs(c->kind, s->conf, &needs);
	if (c->kind != ROLE_MAILBOX || c->anew || confine_covers(&c->needs, &needs)) {
		send_configuration(s, c);
		return;
	}
	c->anew = true;
	channel_send(c->channel, WIRE_STOP, SLICE_NONE, -1);
}

static bool change_conf(struct supervisor *s, struct conf *c)
{
	const char *which;

	if (conf_needs_restart(s->conf, c, &which)) {
		log_event(LOG_RELOAD_FAILED, LOG_CSTR("reason", "this key needs a restart"), LOG_CSTR("key", which));
		return false;
	}
	if (use_conf(s, c))
		return true;
	log_event(LOG_RELOAD_FAILED, LOG_CSTR("reason", "out of memory"));
	return false;
}

static bool reload(struct supervisor *s)
{
	struct conf *c = supervisor_load(s->path, LOG_RELOAD_FAILED);
	struct conf_secrets *secrets = c ? supervisor_read_secrets(c, s->secrets, LOG_RELOAD_FAILED) : NULL;

	if (secrets && change_conf(s, c)) {
		use_secrets(s, secrets);
		return true;
	}
	conf_secrets_free(secrets);
	conf_unref(c);
	return false;
}

static void on_reload(void *arg, int number)
{
	struct supervisor *s = arg;

	(void)number;
	if (s->stage != STAGE_SERVING)
		return;
	notify_reloading();
	if (reload(s)) {
		for (size_t i = 0; i < s->child_count; i++)
			if (s->children[i].channel)
				reconfigure_child(s, &s->children[i]);
		s->reloading = true;
		end_reload_if_done(s);
		return;
	}
	/* It serves by the old one, and the log says so. */
	if (s->announced && !s->reloading)
		tell_ready(s);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

/* The hashes of clients need a key that no client knows, and the same one in all receivers. */
static bool make_counts(struct supervisor *s)
{
	s->counts = shared_new("postrider-counts", sizeof(struct rate_table));
	int fd = s->counts < 0 ? -1 : fcntl(s->counts, F_DUPFD_CLOEXEC, 0);
	struct rate_table *table = fd < 0 ? NULL : shared_map(fd, sizeof *table);
	if (!table) {
		log_event(LOG_START_FAILED, LOG_CSTR("reason", strerror(errno)), LOG_CSTR("what", "shared memory"));
		return false;
	}
	table->key = loop_hash_key(s->loop);
	shared_unmap(table, sizeof *table);
	return true;
}

/* What may need privileges comes before they are given up, and everything below the data directory behind that. */
static bool take_places(struct supervisor *s)
{
	struct sockets *k = &s->sockets;
	struct identity account;
	bool is_root;

	if (!supervisor_find_account(s->conf, &account, &is_root) || sockets_control_is_served(s->conf))
		return false;
	const struct identity *a = is_root ? &account : NULL;
	if (!supervisor_enter_data_dir(s->conf, a, &k->data_dir) || !sockets_bind_tcp(k, s->conf) ||
	    !supervisor_give_up_root(s->conf, a, k->data_dir) || !sockets_bind_unix(k, s->conf))
		return false;
	sockets_close_unwanted(k);
	return true;
}

static bool start_launcher(struct supervisor *s)
{
	if (launcher_start(&s->launcher, s->sockets.data_dir))
		return true;
	log_event(LOG_START_FAILED, LOG_CSTR("role", LAUNCHER_NAME), LOG_CSTR("reason", strerror(errno)));
	return false;
}

/* As the account that reads them again at each reload: what only root can read is found out now. */
static bool take_secrets(struct supervisor *s)
{
	struct conf_secrets *secrets = supervisor_read_secrets(s->conf, NULL, LOG_START_FAILED);

	if (secrets)
		use_secrets(s, secrets);
	return secrets != NULL;
}

static bool prepare(struct supervisor *s)
{
	struct conf *c = supervisor_load(s->path, LOG_START_FAILED);

	if (!c)
		return false;
	if (!use_conf(s, c)) {
		conf_unref(c);
		return false;
	}
	log_setup("supervisor", c->log_format == CONF_LOG_JSON,
		  c->log_level == CONF_LOG_DEBUG  ? LOG_DEBUG
		  : c->log_level == CONF_LOG_INFO ? LOG_INFO
						  : LOG_WARNING);
	return make_counts(s) && take_places(s) && take_secrets(s) && start_launcher(s) &&
	       supervisor_lock_in(c, &s->sockets);
}

static void on_turn(void *arg)
{
	(void)arg;
	confine_log_refused();
}

static void run(struct supervisor *s)
{
	loop_on_turn(s->loop, on_turn, s);
	loop_on_signal(s->loop, SIGCHLD, on_child, s);
	loop_on_signal(s->loop, SIGTERM, on_stop, s);
	loop_on_signal(s->loop, SIGINT, on_stop, s);
	loop_on_signal(s->loop, SIGHUP, on_reload, s);
	add_children(s);
	for (size_t i = 0; i < s->child_count; i++)
		start_child(s, &s->children[i]);
	loop_run(s->loop);
	log_event(LOG_STOPPED, LOG_NUMBER("status", s->status));
}

static void clean_up(struct supervisor *s)
{
	for (size_t i = 0; i < s->child_count; i++)
		loop_timer_free(s->children[i].again);
	sockets_close(&s->sockets, s->conf);
	launcher_stop(&s->launcher);
	if (s->counts >= 0)
		close(s->counts);
	loop_timer_free(s->patience);
	loop_timer_free(s->watchdog);
	loop_free(s->loop);
	conf_unref(s->conf);
	conf_secrets_free(s->secrets);
	buf_free(&s->text);
	log_flush();
}

int supervisor_main(const char *path)
{
	static struct supervisor s = {.launcher = {.fd = -1}, .counts = -1};

	sandbox_begin();
	sockets_init(&s.sockets);
	sockets_take_given(&s.sockets);
	notify_begin();
	log_setup("supervisor", false, LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	s.path = path;
	buf_init(&s.text, CONF_TEXT_MAX);
	s.loop = loop_new();
	s.patience = s.loop ? loop_timer_new(s.loop, on_patience, &s) : NULL;
	if (!s.patience || !begin_watchdog(&s))
		return EX_OSERR;
	if (prepare(&s))
		run(&s);
	else
		s.status = EX_CONFIG;
	clean_up(&s);
	return s.status;
}
