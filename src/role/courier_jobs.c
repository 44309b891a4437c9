#include "role/courier_private.h"

#include "base/heap.h"
#include "base/pack.h"
#include "net/log.h"

#include <assert.h>
#include <string.h>

#define JOB_ARENA_MAX ((size_t)16 * 1024 * 1024)
#define HELD_HEADER   6 /* of a frame that is held: type and length */
#define TELL_AGAIN    (1 * SECOND)

/* Its frames leave in the order in which they were told, since the end of a job says that all its outcomes came before
 * it. What cannot go now is held, and all that follows behind it. False: it is lost. */
static bool hold_frame(struct courier *c, uint16_t type, const struct buf *payload)
{
	if (payload->failed || !buf_reserve(&c->held, HELD_HEADER + buf_len(payload))) {
		c->held.failed = false;
		return false;
	}
	pack_u16(&c->held, type);
	pack_slice(&c->held, buf_slice(payload));
	return true;
}

static void tell_queue(struct courier *c, uint16_t type, const struct buf *payload)
{
	courier_tell_held(c);
	if (c->queue && buf_len(&c->held) == 0 && !payload->failed &&
	    channel_send(c->queue, type, buf_slice(payload), -1))
		return;
	if (hold_frame(c, type, payload)) {
		loop_timer_set(c->again, loop_mono(c->loop) + TELL_AGAIN);
		return;
	}
	/* A queue that waited for it would wait for ever: it has to know that something is missing. */
	log_event(LOG_NO_MEMORY, LOG_CSTR("what", "an outcome that the queue could not be told"));
	courier_lose_queue(c);
}

void courier_tell_held(struct courier *c)
{
	struct unpack u = {.in = buf_slice(&c->held)};

	if (!c->queue || u.in.n == 0)
		return;
	while (u.in.n > 0) {
		uint16_t type = unpack_u16(&u);
		struct slice payload = unpack_slice(&u, CHANNEL_FRAME_MAX);
		assert(!u.bad);
		if (!channel_send(c->queue, type, payload, -1))
			break;
		buf_take(&c->held, HELD_HEADER + payload.n);
	}
	if (buf_len(&c->held) > 0)
		loop_timer_set(c->again, loop_mono(c->loop) + TELL_AGAIN);
	else if (c->held.cap > COURIER_HELD_KEPT)
		courier_keep_room(c);
}

void courier_keep_room(struct courier *c)
{
	buf_free(&c->held);
	/* Without memory now, there is perhaps some when it is needed. */
	(void)buf_reserve(&c->held, COURIER_HELD_KEPT);
	c->held.failed = false;
}

void courier_free_job(struct courier_job *job)
{
	if (job->file)
		job->file->ops->close(job->file);
	arena_free(&job->arena);
	heap_free(job);
}

void courier_finish_if_done(struct courier *c)
{
	if (!c->stopping || c->finished || c->job_count > 0)
		return;
	c->finished = true;
	courier_tell_held(c);
	if (c->queue)
		channel_flush(c->queue, COURIER_STOP_PATIENCE);
	c->self->finished(c->self->arg, 0);
}

void courier_tell_outcome(struct courier *c, const struct courier_job *job, size_t rcpt,
			  const struct smtp_outcome *outcome, struct slice remote, bool site_failed)
{
	struct queue_outcome message = {
		.id = job->queue.id,
		.n = job->queue.n[rcpt],
		.job = job->queue.job,
		.outcome = *outcome,
		.remote = remote,
		.took = job->started ? loop_mono(c->loop) - job->started : 0,
		.site_failed = site_failed,
	};

	buf_reset(&c->frame);
	wire_put_outcome(&c->frame, &message);
	tell_queue(c, WIRE_OUTCOME, &c->frame);
}

void courier_end_job(struct courier *c, struct courier_job *job, enum wire_type how)
{
	buf_reset(&c->frame);
	wire_put_number(&c->frame, job->queue.job);
	tell_queue(c, (uint16_t)how, &c->frame);
	c->job_count--;
	courier_free_job(job);
	courier_finish_if_done(c);
}

void courier_close_job(struct courier *c, struct courier_job *job)
{
	courier_end_job(c, job, job->damaged ? WIRE_JOB_DAMAGED : WIRE_JOB_DONE);
}

void courier_outcome(struct courier *c, struct courier_job *job, size_t rcpt, const struct smtp_outcome *outcome,
		     struct slice remote, bool site_failed)
{
	assert(job->open > 0);
	courier_tell_outcome(c, job, rcpt, outcome, remote, site_failed);
	if (--job->open == 0)
		courier_close_job(c, job);
}

void courier_damaged(struct courier *c, struct courier_job *job)
{
	assert(job->open > 0);
	job->damaged = true;
	if (--job->open == 0)
		courier_close_job(c, job);
}

void courier_settle_job(struct courier *c, struct courier_job *job, const struct smtp_outcome *outcome,
			struct slice remote, bool site_failed)
{
	for (size_t i = job->queue.envelope.rcpt_count; i > 0; i--)
		courier_outcome(c, job, i - 1, outcome, remote, site_failed);
}

struct smtp_outcome courier_body_lost(const struct courier_job *job, const char *reason)
{
	log_event(LOG_CONTENT_MISSING, LOG_ID("id", job->queue.id), LOG_CSTR("reason", reason));
	return (struct smtp_outcome){.verdict = SMTP_DEFERRED,
				     .stage = SMTP_STAGE_ROUTE,
				     .status = {4, 6, 6},
				     .text = SLICE("the content of the message cannot be read from our disk")};
}

bool courier_check_body(const struct courier_job *job, struct smtp_outcome *ret)
{
	const struct queue_job *q = &job->queue;
	uint64_t found = q->body.n;
	const char *reason = NULL;
	int error = 0;

	if (q->body_in_file && !job->file)
		reason = "its file is missing or cannot be opened";
	else if (q->body_in_file)
		error = job->file->ops->size(job->file, &found);
	if (error)
		reason = strerror(error);
	else if (!reason && found != q->size)
		reason = found < q->size ? "it is shorter than it was" : "it is longer than it was";
	if (reason)
		*ret = courier_body_lost(job, reason);
	return !reason;
}

struct courier_job *courier_decode_job(struct slice payload)
{
	struct courier_job *job = heap_alloc(sizeof *job + payload.n);

	if (!job)
		return NULL;
	memcpy(job->payload, payload.p, payload.n);
	arena_init(&job->arena, JOB_ARENA_MAX);
	if (!wire_get_job(slice_of(job->payload, payload.n), &job->arena, &job->queue)) {
		courier_free_job(job);
		return NULL;
	}
	job->open = job->queue.envelope.rcpt_count;
	return job;
}
