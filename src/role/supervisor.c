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
#include "role/role.h"

#include "base/heap.h"
#include "conf/secrets.h"
#include "net/channel.h"
#include "net/conn.h"
#include "net/fs_posix.h"
#include "net/host.h"
#include "net/log.h"
#include "net/shared.h"
#include "net/socket.h"

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
#define SOCKETS_MAX    CONF_LISTENER_MAX
#define RESTART_AFTER  (1 * SECOND) /* for a role that died soon after it had been started */
#define SOON           (2 * SECOND)
#define STAGE_PATIENCE (15 * SECOND) /* for one stage of stopping, before SIGKILL */
#define CHANNEL_FD     3

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
};

struct bound {
	struct slice address; /* as in the configuration, copied: what it was bound for */
	uint16_t port;
	struct slice socket;
	int fd;
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
	struct bound bound[SOCKETS_MAX];
	size_t bound_count;
	int control;
	int counts; /* memory in which all receivers count clients */
	enum stage stage;
	struct loop_timer *patience;
	bool announced;
	int status;
};

/* ---- configuration -------------------------------------------------------------------------------------------- */

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

/* With the secrets that belong to it. */
static struct conf *load(const struct supervisor *s, enum log_event_id failed, struct conf_secrets **ret)
{
	static struct conf_error error;
	char name_octets[256];
	struct buf name;

	error = (struct conf_error){0};
	buf_init(&name, sizeof name_octets);
	host_name(&name);
	struct conf_host host = {.name = buf_slice(&name), .cores = host_cores()};
	struct conf *c = s->path ? conf_load_file(s->path, &host, &error) : load_default(&host, &error);
	buf_free(&name);
	*ret = c ? conf_secrets_read(c, s->secrets, false, &error) : NULL;
	if (c && !*ret) {
		conf_unref(c);
		c = NULL;
	}
	log_conf_lines(failed, &error);
	return c;
}

/* Takes both, if there is memory. */
static bool use_conf(struct supervisor *s, struct conf *c, struct conf_secrets *secrets)
{
	buf_reset(&s->text);
	if (!conf_dump(c, &s->text))
		return false;
	conf_unref(s->conf);
	s->conf = c;
	conf_secrets_free(s->secrets);
	s->secrets = secrets;
	conf_secrets_hide(secrets); /* before there are children to inherit them */
	return true;
}

/* ---- sockets -------------------------------------------------------------------------------------------------- */

static bool same_place(const struct bound *b, struct slice address, uint16_t port, struct slice socket)
{
	return slice_eq(b->address, address) && b->port == port && slice_eq(b->socket, socket);
}

static int bind_one(struct slice address, uint16_t port, struct slice socket)
{
	struct net_address a;

	if (socket.n)
		return socket_listen_unix(socket.p, 0666);
	if (!net_address_ip(address, port, &a)) {
		errno = EADDRNOTAVAIL;
		return -1;
	}
	return socket_listen(&a);
}

static struct slice copy_text(struct slice s)
{
	char *p = heap_alloc(s.n + 1);

	if (p && s.n)
		memcpy(p, s.p, s.n);
	return slice_of(p, p ? s.n : 0);
}

static void close_bound(struct bound *b)
{
	if (b->socket.n)
		unlink(b->socket.p);
	close(b->fd);
	heap_free((void *)(uintptr_t)b->address.p);
	heap_free((void *)(uintptr_t)b->socket.p);
}

/* The socket for a place: the one that is bound already, or a new one. NULL: it cannot be bound. */
static struct bound *find_or_bind(struct supervisor *s, const struct conf_listener *l, struct slice address)
{
	for (size_t i = 0; i < s->bound_count; i++)
		if (same_place(&s->bound[i], address, l->port, l->socket))
			return &s->bound[i];
	if (s->bound_count == SOCKETS_MAX)
		return NULL;
	int fd = bind_one(address, l->port, l->socket);
	if (fd < 0) {
		log_event(LOG_START_FAILED, LOG_CSTR("reason", strerror(errno)), LOG_TEXT("listener", l->name),
			  LOG_TEXT("address", l->socket.n ? l->socket : address), LOG_NUMBER("port", l->port));
		return NULL;
	}
	struct bound *b = &s->bound[s->bound_count++];
	*b = (struct bound){.address = copy_text(address), .port = l->port, .socket = copy_text(l->socket), .fd = fd};
	log_event(LOG_LISTENING, LOG_TEXT("listener", l->name), LOG_TEXT("address", l->socket.n ? l->socket : address),
		  LOG_NUMBER("port", l->port));
	return b;
}

/* "*" stands for every address of both families. Returns how many addresses a listener has. */
static size_t listener_addresses(const struct conf_listener *l, struct slice ret[2])
{
	if (!slice_eq(l->address, SLICE("*"))) {
		ret[0] = l->address;
		return 1;
	}
	ret[0] = SLICE("0.0.0.0");
	ret[1] = SLICE("::");
	return 2;
}

static bool bind_all(struct supervisor *s, const struct conf *c)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		struct slice addresses[2];
		size_t count = listener_addresses(&c->listeners[i], addresses);
		bool any = false;
		for (size_t j = 0; j < count; j++)
			any |= find_or_bind(s, &c->listeners[i], addresses[j]) != NULL;
		if (!any)
			return false;
	}
	return true;
}

static bool is_wanted(const struct conf *c, const struct bound *b)
{
	for (size_t i = 0; i < c->listener_count; i++) {
		struct slice addresses[2];
		size_t count = listener_addresses(&c->listeners[i], addresses);
		for (size_t j = 0; j < count; j++)
			if (same_place(b, addresses[j], c->listeners[i].port, c->listeners[i].socket))
				return true;
	}
	return false;
}

static void close_unwanted(struct supervisor *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < s->bound_count; i++) {
		if (is_wanted(s->conf, &s->bound[i]))
			s->bound[kept++] = s->bound[i];
		else
			close_bound(&s->bound[i]);
	}
	s->bound_count = kept;
}

/* ---- telling roles -------------------------------------------------------------------------------------------- */

static void send_listeners(struct supervisor *s, struct child *c)
{
	struct buf number;

	buf_init(&number, 8);
	if (c->kind == ROLE_ADMIN) {
		wire_put_number(&number, 0);
		channel_send(c->channel, WIRE_LISTENER, buf_slice(&number), s->control);
	}
	for (size_t i = 0; c->kind == ROLE_RECEIVER && i < s->conf->listener_count; i++) {
		struct slice addresses[2];
		size_t count = listener_addresses(&s->conf->listeners[i], addresses);
		for (size_t j = 0; j < count; j++) {
			struct bound *b = find_or_bind(s, &s->conf->listeners[i], addresses[j]);
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

static void send_configuration(struct supervisor *s, struct child *c)
{
	send_secrets(s, c);
	channel_send(c->channel, WIRE_CONFIG, buf_slice(&s->text), -1);
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

static void announce(struct supervisor *s)
{
	for (size_t i = 0; i < s->child_count; i++)
		if (!s->children[i].ready)
			return;
	s->announced = true;
	log_event(LOG_STARTED, LOG_CSTR("version", POSTRIDER_VERSION), LOG_TEXT("hostname", s->conf->hostname),
		  LOG_TEXT("data", s->conf->data_dir));
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

static _Noreturn void exec_role(const struct child *c, int fd)
{
	char index[16];
	sigset_t none;

	/* dup2 on itself would keep close-on-exec. */
	if (fd == CHANNEL_FD)
		fcntl(fd, F_SETFD, 0);
	else if (dup2(fd, CHANNEL_FD) < 0)
		_exit(EX_OSERR);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	snprintf(index, sizeof index, "%u", c->index);
	char *const argv[] = {(char[]){"postriderd"}, (char[]){"--role"}, (char *)(uintptr_t)role_name(c->kind), index,
			      NULL};
	execv("/proc/self/exe", argv);
	_exit(EX_OSERR);
}

static void start_child(struct supervisor *s, struct child *c)
{
	static const struct channel_handler handler = {on_frame, on_channel_closed};
	int ends[2];

	c->ready = false;
	c->started = loop_mono(s->loop);
	log_flush(); /* or the child would write what is gathered once more */
	if (!socket_pair(ends)) {
		loop_timer_set(c->again, c->started + RESTART_AFTER);
		return;
	}
	pid_t pid = fork();
	if (pid == 0)
		exec_role(c, ends[1]);
	close(ends[1]);
	if (pid < 0) {
		close(ends[0]);
		log_event(LOG_ROLE_DIED, LOG_CSTR("which", role_name(c->kind)), LOG_CSTR("reason", strerror(errno)));
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
	channel_free(c->channel);
	c->channel = NULL;
	if (s->stage != STAGE_SERVING) {
		begin_stage(s, s->stage);
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

static void on_child(void *arg, int number)
{
	struct supervisor *s = arg;
	int status;
	pid_t pid;

	(void)number;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < s->child_count; i++)
			if (s->children[i].pid == pid)
				child_ended(s, &s->children[i], status);
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
	log_event(LOG_STOPPING, LOG_NUMBER("signal", number));
	begin_stage(s, STAGE_RECEIVERS);
}

/* ---- reloading ------------------------------------------------------------------------------------------------ */

static bool reload(struct supervisor *s)
{
	const char *which;
	struct conf_secrets *secrets;
	struct conf *c = load(s, LOG_RELOAD_FAILED, &secrets);

	if (!c)
		return false;
	if (conf_needs_restart(s->conf, c, &which)) {
		log_event(LOG_RELOAD_FAILED, LOG_CSTR("reason", "this key needs a restart"), LOG_CSTR("key", which));
		conf_secrets_free(secrets);
		conf_unref(c);
		return false;
	}
	if (!bind_all(s, c) || !use_conf(s, c, secrets)) {
		log_event(LOG_RELOAD_FAILED, LOG_CSTR("reason", "a listener cannot be bound"));
		conf_secrets_free(secrets);
		conf_unref(c);
		close_unwanted(s);
		return false;
	}
	close_unwanted(s);
	return true;
}

static void on_reload(void *arg, int number)
{
	struct supervisor *s = arg;

	(void)number;
	if (s->stage != STAGE_SERVING || !reload(s))
		return;
	for (size_t i = 0; i < s->child_count; i++)
		if (s->children[i].channel)
			send_configuration(s, &s->children[i]);
	log_event(LOG_RELOADED, LOG_TEXT("hostname", s->conf->hostname));
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

static bool prepare(struct supervisor *s)
{
	struct conf_secrets *secrets;
	struct conf *c = load(s, LOG_START_FAILED, &secrets);

	if (!c)
		return false;
	if (!use_conf(s, c, secrets)) {
		conf_secrets_free(secrets);
		conf_unref(c);
		return false;
	}
	log_setup("supervisor", c->log_format == CONF_LOG_JSON,
		  c->log_level == CONF_LOG_DEBUG  ? LOG_DEBUG
		  : c->log_level == CONF_LOG_INFO ? LOG_INFO
						  : LOG_WARNING);
	int error = fs_posix_make_root(c->data_dir.p);
	if (error) {
		log_event(LOG_START_FAILED, LOG_TEXT("directory", c->data_dir), LOG_CSTR("reason", strerror(error)));
		return false;
	}
	s->control = socket_listen_unix(c->control_socket.p, 0600);
	if (s->control < 0) {
		log_event(LOG_START_FAILED, LOG_TEXT("socket", c->control_socket),
			  LOG_CSTR("reason", errno == EADDRINUSE ? "another server is running on this data directory"
								 : strerror(errno)));
		return false;
	}
	return make_counts(s) && bind_all(s, c);
}

static void run(struct supervisor *s)
{
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
	for (size_t i = 0; i < s->bound_count; i++)
		close_bound(&s->bound[i]);
	if (s->control >= 0) {
		unlink(s->conf->control_socket.p);
		close(s->control);
	}
	if (s->counts >= 0)
		close(s->counts);
	loop_timer_free(s->patience);
	loop_free(s->loop);
	conf_unref(s->conf);
	conf_secrets_free(s->secrets);
	buf_free(&s->text);
	log_flush();
}

int supervisor_main(const char *path)
{
	static struct supervisor s = {.control = -1, .counts = -1};

	log_setup("supervisor", false, LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	s.path = path;
	buf_init(&s.text, CONF_TEXT_MAX);
	s.loop = loop_new();
	s.patience = s.loop ? loop_timer_new(s.loop, on_patience, &s) : NULL;
	if (!s.patience)
		return EX_OSERR;
	if (prepare(&s))
		run(&s);
	else
		s.status = EX_CONFIG;
	clean_up(&s);
	return s.status;
}
