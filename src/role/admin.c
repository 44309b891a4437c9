/*
 * The admin role: takes questions from tools on the control socket and passes them on to the queue.
 *
 * A tool speaks the frames of wire.h (LIST, TRACE, OPERATE, STATUS), one question at a time, and gets rows and an END.
 * It is trusted by its user id: root, or the user that the server runs as; but for the server's own processes, of which
 * none is a tool, whoever holds it. The queue checks every frame again.
 */
#include "role/role.h"

#include "base/heap.h"
#include "net/channel.h"
#include "net/conn.h"
#include "net/log.h"
#include "net/socket.h"

#include <unistd.h>

#define TOOLS_MAX 32

struct admin;

struct tool {
	struct admin *admin;
	struct channel *channel; /* NULL: this place is free */
	uid_t uid;
	/* Its question, kept until its turn. */
	uint16_t question;
	struct buf payload;
	uint64_t serial; /* of the question: the lowest is asked next; 0: none */
};

struct admin {
	struct loop *loop;
	const struct role_self *self;
	struct channel *queue;
	struct listener *listener;
	struct tool tools[TOOLS_MAX];
	struct wire_processes ours;
	struct tool *asking; /* whose question the queue is answering; gone tools are asked to the end */
	bool asking_gone;
	uint64_t serial;
};

static void ask_next(struct admin *a);

static void end_tool(struct tool *t)
{
	if (!t->channel)
		return;
	channel_free(t->channel);
	t->channel = NULL;
	t->serial = 0;
	buf_free(&t->payload);
	if (t->admin->asking == t)
		t->admin->asking_gone = true;
}

static void answer_end(struct tool *t, enum store_result result)
{
	struct buf frame;

	buf_init(&frame, 512);
	wire_put_end(&frame, &(struct wire_end){.result = result});
	channel_send(t->channel, WIRE_END, buf_slice(&frame), -1);
	buf_free(&frame);
}

/* ---- the queue ------------------------------------------------------------------------------------------------ */

static bool on_queue_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct admin *a = arg;
	struct tool *t = a->asking;

	if (fd >= 0)
		close(fd);
	if (fd >= 0 || type < WIRE_ROW || type > WIRE_END || !t)
		return false;
	if (!a->asking_gone && !channel_send(t->channel, type, payload, -1))
		end_tool(t);
	if (type == WIRE_END) {
		a->asking = NULL;
		a->asking_gone = false;
		ask_next(a);
	}
	return true;
}

static void lose_queue(struct admin *a)
{
	channel_free(a->queue);
	a->queue = NULL;
	if (a->asking && !a->asking_gone)
		answer_end(a->asking, STORE_IO);
	a->asking = NULL;
	a->asking_gone = false;
}

static void on_queue_closed(void *arg, const char *why)
{
	struct admin *a = arg;

	(void)why;
	lose_queue(a);
	a->self->queue_lost(a->self->arg);
}

/* One question at a time: the queue answers them in order, and a long list of one tool is cut by its limit. */
static void ask_next(struct admin *a)
{
	struct tool *next = NULL;

	if (a->asking || !a->queue)
		return;
	for (size_t i = 0; i < TOOLS_MAX; i++)
		if (a->tools[i].channel && a->tools[i].serial && (!next || a->tools[i].serial < next->serial))
			next = &a->tools[i];
	if (!next)
		return;
	next->serial = 0;
	a->asking = next;
	if (!channel_send(a->queue, next->question, buf_slice(&next->payload), -1)) {
		answer_end(next, STORE_IO);
		a->asking = NULL;
	}
	buf_free(&next->payload);
}

/* ---- tools ---------------------------------------------------------------------------------------------------- */

/* What the queue would close its channel over must not get there. */
static bool is_good_question(uint16_t type, struct slice payload)
{
	struct wire_list list;
	struct wire_operate operate;
	struct wire_backup backup;
	uint64_t number;

	switch (type) {
	case WIRE_LIST:
		return wire_get_list(payload, &list);
	case WIRE_TRACE:
		return wire_get_number(payload, &number) && number > 0 && number <= MSG_ID_MAX;
	case WIRE_OPERATE:
		return wire_get_operate(payload, &operate);
	case WIRE_STATUS:
		return payload.n == 0;
	case WIRE_BACKUP:
		return wire_get_backup(payload, &backup);
	default:
		return false;
	}
}

static bool on_tool_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct tool *t = arg;
	struct wire_operate operate;

	if (fd >= 0)
		close(fd);
	if (fd >= 0 || t->serial || !is_good_question(type, payload))
		return false;
	if (!t->admin->queue) {
		answer_end(t, STORE_IO);
		return true;
	}
	if (type == WIRE_OPERATE && wire_get_operate(payload, &operate))
		log_event(LOG_OPERATOR, LOG_NUMBER("verb", operate.verb), LOG_NUMBER("uid", t->uid));
	buf_reset(&t->payload);
	if (!buf_add(&t->payload, payload))
		return false;
	t->question = type;
	t->serial = ++t->admin->serial;
	ask_next(t->admin);
	return true;
}

static void on_tool_closed(void *arg, const char *why)
{
	(void)why;
	end_tool(arg);
}

static bool is_ours(const struct admin *a, pid_t pid)
{
	for (size_t i = 0; i < a->ours.count; i++)
		if (a->ours.pid[i] == (uint32_t)pid)
			return true;
	return false;
}

static void on_accepted(void *arg, int fd, const struct net_address *from)
{
	static const struct channel_handler handler = {on_tool_frame, on_tool_closed};
	struct admin *a = arg;
	uid_t uid;
	pid_t pid;

	(void)from;
	if (!socket_peer(fd, &uid, &pid) || (uid != 0 && uid != geteuid()) || is_ours(a, pid)) {
		close(fd);
		return;
	}
	for (size_t i = 0; i < TOOLS_MAX; i++) {
		struct tool *t = &a->tools[i];
		if (t->channel || a->asking == t)
			continue;
		*t = (struct tool){.admin = a, .uid = uid};
		buf_init(&t->payload, WIRE_TEXT_MAX * 4);
		t->channel = channel_new(a->loop, fd, &handler, t);
		return;
	}
	close(fd);
}

/* ---- the role ------------------------------------------------------------------------------------------------- */

static void *admin_start(struct loop *l, const struct role_self *self)
{
	struct admin *a = heap_new(struct admin);

	if (a)
		*a = (struct admin){.loop = l, .self = self};
	return a;
}

static bool admin_configure(void *arg, struct conf *conf)
{
	struct admin *a = arg;

	(void)conf;
	a->self->ready(a->self->arg);
	return true;
}

static void admin_processes(void *arg, const struct wire_processes *processes)
{
	((struct admin *)arg)->ours = *processes;
}

static void admin_listener(void *arg, uint32_t number, int fd)
{
	struct admin *a = arg;

	(void)number;
	listener_free(a->listener);
	a->listener = listener_new(a->loop, fd, SLICE_NONE, on_accepted, a);
}

static void admin_peer(void *arg, struct wire_peer peer, int fd)
{
	static const struct channel_handler handler = {on_queue_frame, on_queue_closed};
	struct admin *a = arg;

	if (peer.kind != ROLE_QUEUE) {
		close(fd);
		return;
	}
	if (a->queue)
		lose_queue(a);
	a->queue = channel_new(a->loop, fd, &handler, a);
	if (!a->queue)
		a->self->queue_lost(a->self->arg);
	ask_next(a);
}

static void admin_stop(void *arg)
{
	struct admin *a = arg;

	a->self->finished(a->self->arg, 0);
}

static void admin_end(void *arg)
{
	struct admin *a = arg;

	for (size_t i = 0; i < TOOLS_MAX; i++)
		if (a->tools[i].admin)
			end_tool(&a->tools[i]);
	listener_free(a->listener);
	channel_free(a->queue);
	heap_free(a);
}

const struct role_ops admin_role = {
	.start = admin_start,
	.configure = admin_configure,
	.processes = admin_processes,
	.listener = admin_listener,
	.peer = admin_peer,
	.stop = admin_stop,
	.end = admin_end,
};
