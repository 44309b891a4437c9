#include "role/role.h"

#include "net/channel.h"
#include "net/host.h"
#include "net/log.h"
#include "net/shared.h"
#include "net/tls.h"
#include "role/confine.h"

#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>
#include <unistd.h>

/* A role that died is back before that, and connected anew. */
#define RELINK_AFTER (2 * SECOND)

/* A connection to a role that is to be there. */
struct link {
	struct process *process;
	enum role_kind kind;
	struct loop_timer *missing; /* runs while it is not there */
};

struct process {
	struct loop *loop;
	struct channel *supervisor;
	const struct role_ops *ops;
	struct role_self self;
	void *role;
	struct link queue, keys, auth;
	struct rate_table *counts; /* NULL: none is shared */
	bool configured;
	int status;
};

const struct role_ops *role_ops_of(enum role_kind kind)
{
	switch (kind) {
	case ROLE_RECEIVER:
		return &receiver_role;
	case ROLE_QUEUE:
		return &queue_role;
	case ROLE_SENDER:
		return &sender_role;
	case ROLE_MAILBOX:
		return &mailbox_role;
	case ROLE_ADMIN:
		return &admin_role;
	case ROLE_KEYS:
		return &keys_role;
	case ROLE_AUTH:
		return &auth_role;
	case ROLE_SUPERVISOR:
		break;
	}
	abort();
}

static void tell_ready(void *arg)
{
	struct process *p = arg;

	channel_send(p->supervisor, WIRE_READY, SLICE_NONE, -1);
}

static void end_process(void *arg, int status)
{
	struct process *p = arg;

	p->status = status;
	loop_stop(p->loop);
}

static void wait_for_link(struct link *l)
{
	loop_timer_set(l->missing, loop_mono(l->process->loop) + RELINK_AFTER);
}

static void queue_lost(void *arg)
{
	struct process *p = arg;

	wait_for_link(&p->queue);
}

static void keys_lost(void *arg)
{
	struct process *p = arg;

	wait_for_link(&p->keys);
}

static void auth_lost(void *arg)
{
	struct process *p = arg;

	wait_for_link(&p->auth);
}

static void ask_for_link(void *arg)
{
	struct link *l = arg;
	struct buf frame;

	buf_init(&frame, 16);
	wire_put_peer(&frame, &(struct wire_peer){.kind = l->kind});
	channel_send(l->process->supervisor, WIRE_PEER_WANTED, buf_slice(&frame), -1);
	buf_free(&frame);
	wait_for_link(l);
}

static bool begin_link(struct process *p, struct link *l, enum role_kind kind)
{
	*l = (struct link){.process = p, .kind = kind};
	l->missing = loop_timer_new(p->loop, ask_for_link, l);
	return l->missing != NULL;
}

static void link_is_there(struct process *p, enum role_kind kind)
{
	if (kind == ROLE_QUEUE)
		loop_timer_set(p->queue.missing, NEVER);
	if (kind == ROLE_KEYS)
		loop_timer_set(p->keys.missing, NEVER);
	if (kind == ROLE_AUTH)
		loop_timer_set(p->auth.missing, NEVER);
}

static enum log_level log_level_of(const struct conf *c)
{
	switch (c->log_level) {
	case CONF_LOG_DEBUG:
		return LOG_DEBUG;
	case CONF_LOG_INFO:
		return LOG_INFO;
	case CONF_LOG_WARNING:
		return LOG_WARNING;
	case CONF_LOG_ERROR:
		break;
	}
	return LOG_ERROR;
}

/* Before anybody but the supervisor was heard: the configuration comes first, and names what the role has to reach. */
static bool lock_in(struct process *p, const struct conf *c)
{
	char why[SANDBOX_WHY_MAX];
	struct confine_needs needs;

	confine_needs(p->self.kind, c, &needs);
	if (sandbox_enter(sandbox_row(role_name(p->self.kind)), &needs.sandbox, why))
		return true;
	log_event(LOG_START_FAILED, LOG_CSTR("reason", "the role cannot lock itself in"), LOG_CSTR("detail", why));
	return false;
}

static bool take_configuration(struct process *p, struct slice text)
{
	static struct conf_error error;
	struct conf_host host = {.name = SLICE("localhost"), .cores = 1};
	struct conf *c = conf_load_text(text, "configuration", &host, &error);

	if (!c) {
		log_event(LOG_START_FAILED, LOG_TEXT("reason", slice_of(error.text, error.length)));
		return false;
	}
	log_setup(role_name(p->self.kind), c->log_format == CONF_LOG_JSON, log_level_of(c));
	bool ok = (p->configured || lock_in(p, c)) && p->ops->configure(p->role, c);
	conf_unref(c);
	if (!ok && !p->configured)
		return false;
	p->configured = true;
	return true;
}

/* Without them the limits of clients hold for each receiver by itself, which is better than none. */
static void take_counts(struct process *p, int fd)
{
	struct rate_table *counts = shared_map(fd, sizeof *counts);

	if (!counts)
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "the counts that receivers share"));
	else
		p->ops->counts(p->role, counts);
	p->counts = counts;
}

static bool take_file(struct process *p, struct slice payload, int fd)
{
	struct wire_file file;

	if (!p->ops->file || !wire_get_file(payload, &file) || (fd < 0) != (file.error != 0))
		return false;
	p->ops->file(p->role, &file, fd);
	return true;
}

static bool take_processes(struct process *p, struct slice payload)
{
	struct wire_processes processes;

	if (!p->ops->processes || !wire_get_processes(payload, &processes))
		return false;
	p->ops->processes(p->role, &processes);
	return true;
}

static bool take_system(struct process *p, struct slice payload)
{
	struct wire_system system;

	return wire_get_system(payload, &system) && loop_set_system(p->loop, system.resolv_conf, system.hosts);
}

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct process *p = arg;
	struct wire_peer peer;
	uint64_t number;

	switch (type) {
	case WIRE_SYSTEM:
		if (fd >= 0)
			break;
		return take_system(p, payload);
	case WIRE_PROCESSES:
		if (fd >= 0)
			break;
		return take_processes(p, payload);
	case WIRE_FILE:
		if (take_file(p, payload, fd))
			return true;
		break;
	case WIRE_CONFIG:
		if (fd >= 0)
			close(fd);
		return take_configuration(p, payload) &&
		       channel_send(p->supervisor, WIRE_CONFIGURED, SLICE_NONE, -1);
	case WIRE_LISTENER:
		if (fd < 0 || !p->configured || !p->ops->listener || !wire_get_number(payload, &number))
			break;
		p->ops->listener(p->role, (uint32_t)number, fd);
		return true;
	case WIRE_PEER:
		if (fd < 0 || !p->configured || !wire_get_peer(payload, &peer))
			break;
		link_is_there(p, peer.kind);
		p->ops->peer(p->role, peer, fd);
		return true;
	case WIRE_COUNTS:
		if (fd < 0 || !p->ops->counts || p->counts || p->configured)
			break;
		take_counts(p, fd);
		return true;
	case WIRE_SECRETS:
		if (fd >= 0 || !p->ops->secrets)
			break;
		return p->ops->secrets(p->role, payload);
	case WIRE_DRAIN:
		if (p->ops->drain)
			p->ops->drain(p->role);
		return true;
	case WIRE_STOP:
		p->ops->stop(p->role);
		return true;
	default:
		break;
	}
	if (fd >= 0)
		close(fd);
	return false;
}

/* Without a supervisor nobody could restart or stop us in order: end, keeping what is promised. */
static void on_closed(void *arg, const char *why)
{
	struct process *p = arg;

	if (why)
		log_event(LOG_PEER_LOST, LOG_CSTR("peer", "supervisor"), LOG_CSTR("reason", why));
	end_process(p, p->configured ? EX_TEMPFAIL : EX_CONFIG);
}

static void on_turn(void *arg)
{
	struct process *p = arg;

	if (p->configured && p->ops->turn)
		p->ops->turn(p->role);
	confine_log_refused();
}

/* A role ends when the supervisor says so, not by the signals that a terminal or an impatient operator sends to all. */
static void ignore_signals(void)
{
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

int role_main(enum role_kind kind, uint32_t index, int fd)
{
	static const struct channel_handler handler = {on_frame, on_closed};
	struct process p = {.ops = role_ops_of(kind)};

	sandbox_begin();
	ignore_signals();
	log_setup(role_name(kind), false, LOG_INFO);
	/* It reads files. */
	tls_prepare();
	p.self = (struct role_self){
		.kind = kind,
		.index = index,
		.ready = tell_ready,
		.finished = end_process,
		.queue_lost = queue_lost,
		.keys_lost = keys_lost,
		.auth_lost = auth_lost,
		.arg = &p,
	};
	p.loop = loop_new();
	p.supervisor = p.loop ? channel_new(p.loop, fd, &handler, &p) : NULL;
	bool linked = p.supervisor && begin_link(&p, &p.queue, ROLE_QUEUE) && begin_link(&p, &p.keys, ROLE_KEYS) &&
		      begin_link(&p, &p.auth, ROLE_AUTH);
	p.role = linked ? p.ops->start(p.loop, &p.self) : NULL;
	if (!p.role) {
		log_event(LOG_START_FAILED, LOG_CSTR("reason", "out of memory"));
		log_flush();
		return EX_OSERR;
	}
	loop_on_turn(p.loop, on_turn, &p);
	loop_run(p.loop);
	p.ops->end(p.role);
	confine_log_refused();
	shared_unmap(p.counts, sizeof *p.counts);
	loop_timer_free(p.queue.missing);
	loop_timer_free(p.keys.missing);
	loop_timer_free(p.auth.missing);
	channel_free(p.supervisor);
	loop_free(p.loop);
	log_flush();
	return p.status;
}
