/*
 * net/channel.h: frames between two roles of the machine. What was sent before a role died still arrives; what had only
 * been gathered does not.
 */
#include "net/channel.h"

#include "net/descriptor.h"
#include "sim/disk.h"
#include "sim/ledger.h"
#include "sim/machine.h"
#include "sim/pipe.h"

#include <assert.h>
#include <string.h>

struct frame {
	STAILQ_ENTRY(frame) link;
	struct pipe_end *to;
	void *file; /* an open file that goes with it; NULL: none */
	uint16_t type;
	size_t n;
	char payload[];
};

STAILQ_HEAD(frames, frame);

struct pipe_end {
	struct pipe_end *peer;
	struct role_instance *owner;
	struct frames in; /* arrived */
	sim_us last;
	bool eof, closed;
	struct channel *channel;
};

struct channel {
	struct sim_object object; /* first */
	struct sim_dirty dirty;
	struct sim_ready ready;
	struct loop *loop;
	struct pipe_end *end;
	struct channel_handler handler;
	void *arg;
	struct frames out;
	size_t pending;
	bool paused, reported, closing;
};

static void frame_free(struct frame *f)
{
	if (f->file)
		disk_file_close(f->file);
	sim_free(f);
}

static void frames_free(struct frames *list)
{
	struct frame *f;

	while ((f = STAILQ_FIRST(list))) {
		STAILQ_REMOVE_HEAD(list, link);
		frame_free(f);
	}
}

/* ---- the pipe ---------------------------------------------------------------------------------------------------- */

static void eof_arrives(void *arg, uint64_t number)
{
	struct pipe_end *e = arg;

	(void)number;
	e->eof = true;
	if (e->channel)
		kernel_ready(e->channel->loop, &e->channel->ready);
}

static sim_us arrival(struct pipe_end *to)
{
	sim_us at = kernel_now() + sim_between(5, 80);

	if (at <= to->last)
		at = to->last + 1;
	return to->last = at;
}

static void pipe_close(void *object)
{
	struct pipe_end *e = object;

	if (e->closed)
		return;
	e->closed = true;
	e->channel = NULL;
	frames_free(&e->in);
	sim_at(arrival(e->peer), eof_arrives, e->peer, 0);
}

void pipe_new(struct role_instance *a, struct role_instance *b, int ret[2])
{
	struct pipe_end *ends[2];

	for (int i = 0; i < 2; i++) {
		ends[i] = sim_alloc(sizeof *ends[i]);
		ends[i]->owner = i ? b : a;
		STAILQ_INIT(&ends[i]->in);
		ret[i] = kernel_fd(FD_CHANNEL, ends[i], pipe_close, ends[i]->owner);
	}
	ends[0]->peer = ends[1];
	ends[1]->peer = ends[0];
}

static void frame_arrives(void *arg, uint64_t number)
{
	struct frame *f = arg;
	struct pipe_end *e = f->to;

	(void)number;
	if (e->closed) {
		frame_free(f);
		return;
	}
	STAILQ_INSERT_TAIL(&e->in, f, link);
	if (e->channel)
		kernel_ready(e->channel->loop, &e->channel->ready);
}

/* ---- channels ---------------------------------------------------------------------------------------------------- */

static void channel_destroy(struct channel *ch)
{
	kernel_undirty(ch->loop, &ch->dirty);
	kernel_unready(ch->loop, &ch->ready);
	struct frame *f;

	STAILQ_FOREACH(f, &ch->out, link)
	ledger_frame_lost(kernel_role(ch->loop), f->type, slice_of(f->payload, f->n));
	pipe_close(ch->end);
	frames_free(&ch->out);
	sim_free(ch);
}

static void drop_channel(struct sim_object *o)
{
	channel_destroy((struct channel *)o);
}

void channel_free(struct channel *ch)
{
	if (!ch || ch->closing)
		return;
	/* A new one may take its place before anybody hears of its end. */
	if (!ch->reported)
		ledger_channel_closed(kernel_role(ch->loop));
	ch->closing = true;
	kernel_dirty(ch->loop, &ch->dirty);
}

static void report_closed(struct channel *ch, const char *why)
{
	if (ch->reported || ch->closing)
		return;
	ch->reported = true;
	ledger_channel_closed(kernel_role(ch->loop));
	ch->handler.closed(ch->arg, why);
}

static void handle(struct channel *ch, struct frame *f)
{
	int fd = f->file ? disk_file_fd(f->file, kernel_role(ch->loop)) : -1;

	f->file = NULL;
	machine_step("frame");
	ledger_frame(ch->end->peer->owner, kernel_role(ch->loop), f->type, slice_of(f->payload, f->n), LEDGER_TAKEN);
	if (!ch->handler.frame(ch->arg, f->type, slice_of(f->payload, f->n), fd)) {
		/* Without memory it is: the channel is given up, and made anew. */
		if (sim_plan.no_memory == 0 && sim_plan.sender_no_memory == 0 &&
		    sim_plan.auth_no_memory == 0)
			sim_fail("%s finds a frame of %s unacceptable, type %u", kernel_role(ch->loop)->name,
				 ch->end->peer->owner->name, f->type);
		report_closed(ch, "unacceptable frame");
	}
}

static bool can_read(const struct channel *ch)
{
	return !ch->closing && !ch->reported && !ch->paused && (!STAILQ_EMPTY(&ch->end->in) || ch->end->eof);
}

/* As many as one reading would bring. */
static void on_ready(struct sim_ready *r)
{
	struct channel *ch = (struct channel *)(void *)((char *)r - offsetof(struct channel, ready));
	size_t octets = 0;

	while (can_read(ch) && octets < 256 * 1024) {
		struct frame *f = STAILQ_FIRST(&ch->end->in);
		if (!f) {
			report_closed(ch, NULL);
			break;
		}
		STAILQ_REMOVE_HEAD(&ch->end->in, link);
		octets += 8 + f->n;
		handle(ch, f);
		frame_free(f);
	}
	if (can_read(ch))
		kernel_ready(ch->loop, &ch->ready);
}

static void send_all(struct channel *ch)
{
	struct frame *f;

	while (!ch->reported && (f = STAILQ_FIRST(&ch->out))) {
		machine_step("send frame");
		STAILQ_REMOVE_HEAD(&ch->out, link);
		ch->pending -= 8 + f->n;
		sim_count(COUNT_FRAMES);
		ledger_frame(kernel_role(ch->loop), ch->end->peer->owner, f->type, slice_of(f->payload, f->n),
			     LEDGER_SENT);
		f->to = ch->end->peer;
		sim_at(arrival(f->to), frame_arrives, f, 0);
	}
}

static void flush(struct sim_dirty *d)
{
	struct channel *ch = (struct channel *)(void *)((char *)d - offsetof(struct channel, dirty));

	if (ch->closing) {
		kernel_remove(&ch->object);
		channel_destroy(ch);
		return;
	}
	send_all(ch);
}

struct channel *channel_new(struct loop *l, int fd, const struct channel_handler *handler, void *arg)
{
	if (sim_memory_fails(sizeof(struct channel))) {
		descriptor_close(fd);
		return NULL;
	}
	struct channel *ch = sim_alloc(sizeof *ch);
	*ch = (struct channel){.object = {.drop = drop_channel},
			       .dirty = {.flush = flush},
			       .ready = {.run = on_ready},
			       .loop = l,
			       .end = kernel_fd_take(fd, FD_CHANNEL),
			       .handler = *handler,
			       .arg = arg};
	STAILQ_INIT(&ch->out);
	ch->end->channel = ch;
	kernel_add(l, &ch->object);
	kernel_ready(l, &ch->ready);
	return ch;
}

bool channel_send(struct channel *ch, uint16_t type, struct slice payload, int fd)
{
	assert(payload.n <= CHANNEL_FRAME_MAX);
	if (ch->closing || ch->reported || ch->pending + 8 + payload.n > CHANNEL_OUTPUT_MAX ||
	    sim_memory_fails(payload.n))
		return false;
	struct frame *f = sim_alloc(sizeof *f + payload.n);
	f->type = type;
	f->n = payload.n;
	if (payload.n)
		memcpy(f->payload, payload.p, payload.n);
	if (fd >= 0)
		f->file = disk_file_again(fd);
	STAILQ_INSERT_TAIL(&ch->out, f, link);
	ch->pending += 8 + payload.n;
	kernel_dirty(ch->loop, &ch->dirty);
	return true;
}

size_t channel_pending(const struct channel *ch)
{
	return ch->pending;
}

void channel_flush(struct channel *ch, span_ms wait)
{
	(void)wait;
	send_all(ch);
}

void channel_set_secret(struct channel *ch)
{
	(void)ch;
}

void channel_pause(struct channel *ch, bool pause)
{
	if (ch->closing || ch->reported)
		return;
	ch->paused = pause;
	if (can_read(ch))
		kernel_ready(ch->loop, &ch->ready);
}
