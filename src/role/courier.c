#include "role/courier_private.h"

#include "base/heap.h"
#include "net/descriptor.h"
#include "net/fs_posix.h"
#include "net/log.h"

#include <string.h>

#define FRAME_KEPT ((size_t)8 * 1024)
#define HELD_MAX   ((size_t)64 * 1024 * 1024) /* outcomes kept while the queue is away */

/* ---- the queue's frames --------------------------------------------------------------------------------------- */

static void refuse_job(struct courier *c, struct courier_job *job, const char *why)
{
	struct smtp_outcome outcome = {
		.verdict = SMTP_DEFERRED, .stage = SMTP_STAGE_ROUTE, .status = {4, 3, 0}, .text = slice_from_cstr(why)};

	courier_settle_job(c, job, &outcome, SLICE_NONE, false);
}

static void take_job(struct courier *c, struct courier_job *job)
{
	bool local = job->queue.route.kind == ROUTE_MAILBOX;

	c->job_count++;
	if (c->stopping) {
		courier_end_job(c, job, WIRE_JOB_RETURNED);
		return;
	}
	if (local && c->local) {
		c->local(c->local_arg, job);
		return;
	}
	/* A report goes without rather than not at all (RFC 8689 5). */
	bool demands_tls = job->queue.content & STORE_CONTENT_REQUIRETLS && job->queue.envelope.sender.n > 0;
	struct site *site = local ? NULL : courier_find_site(c, job->queue.route.site, demands_tls);
	if (!site) {
		refuse_job(c, job, local ? "this process delivers into no mailbox" : "out of memory");
		return;
	}
	site->allowed = job->queue.connections > 0 ? job->queue.connections : 1;
	courier_set_silent(site, job->queue.silent);
	job->started = loop_mono(c->loop); /* anew when a session takes it */
	TAILQ_INSERT_TAIL(&site->waiting, job, link);
	courier_serve_site(site);
}

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct courier *c = arg;
	struct courier_job *job = type == WIRE_JOB ? courier_decode_job(payload) : NULL;

	if (!job) {
		if (fd >= 0)
			descriptor_close(fd);
		return false;
	}
	if (fd >= 0)
		job->file = file_from_fd(fd);
	take_job(c, job);
	return true;
}

void courier_lose_queue(struct courier *c)
{
	if (!c->queue)
		return;
	channel_free(c->queue);
	c->queue = NULL;
	c->self->queue_lost(c->self->arg);
}

/* The queue gives them out again. What a session has taken goes on: its end is worth knowing. */
static void forget_waiting(struct courier *c)
{
	for (size_t i = 0; i < COURIER_BUCKETS; i++)
		for (struct site *site = c->sites[i], *next; site; site = next) {
			struct courier_job *job;
			next = site->next;
			while ((job = TAILQ_FIRST(&site->waiting))) {
				TAILQ_REMOVE(&site->waiting, job, link);
				c->job_count--;
				courier_free_job(job);
			}
			courier_serve_site(site);
		}
	courier_finish_if_done(c);
}

static void on_closed(void *arg, const char *why)
{
	struct courier *c = arg;

	if (!c->stopping)
		log_event(LOG_PEER_LOST, LOG_CSTR("peer", "queue"), LOG_CSTR("reason", why ? why : "closed"));
	courier_lose_queue(c);
	forget_waiting(c);
}

static void on_again(void *arg)
{
	courier_tell_held(arg);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

struct courier *courier_new(struct loop *l, const struct role_self *self,
			    void (*local)(void *arg, struct courier_job *job), void *arg)
{
	struct courier *c = heap_new(struct courier);

	if (!c)
		return NULL;
	*c = (struct courier){.loop = l, .self = self, .local = local, .local_arg = arg};
	crc32c_init(&c->crc);
	buf_init(&c->held, HELD_MAX);
	buf_init(&c->frame, CHANNEL_FRAME_MAX);
	courier_keep_room(c);
	/* An outcome, or the number of a job: more needs no memory. */
	(void)buf_reserve(&c->frame, FRAME_KEPT);
	c->frame.failed = false;
	c->again = loop_timer_new(l, on_again, c);
	c->room = loop_timer_new(l, courier_serve_starved, c);
	TAILQ_INIT(&c->starved[false]);
	TAILQ_INIT(&c->starved[true]);
	if (!c->again || !c->room) {
		courier_free(c);
		return NULL;
	}
	return c;
}

void courier_configure(struct courier *c, struct conf *conf)
{
	struct conf *old = c->conf;

	c->conf = conf_ref(conf);
	conf_unref(old);
	courier_load_trust(c);
	/* Hosts may have changed places. */
	for (size_t i = 0; i < COURIER_BUCKETS; i++)
		for (struct site *site = c->sites[i]; site; site = site->next)
			memset(site->avoid, 0, sizeof site->avoid);
}

void courier_ready(struct courier *c)
{
	c->self->ready(c->self->arg);
}

struct conf *courier_conf(const struct courier *c)
{
	return c->conf;
}

void courier_peer(struct courier *c, struct wire_peer peer, int fd)
{
	static const struct channel_handler handler = {on_frame, on_closed};

	if (peer.kind != ROLE_QUEUE) {
		descriptor_close(fd);
		return;
	}
	channel_free(c->queue);
	c->queue = NULL;
	forget_waiting(c);
	c->queue = channel_new(c->loop, fd, &handler, c);
	if (c->queue)
		courier_tell_held(c);
	else
		c->self->queue_lost(c->self->arg);
}

/* Each link in turn; `act` may free it. */
static void for_each_link(struct courier *c, void (*act)(struct link *k))
{
	for (size_t i = 0; i < COURIER_BUCKETS; i++)
		for (struct site *site = c->sites[i], *next; site; site = next) {
			next = site->next;
			/* A site lives at least as long as its links; the last one may take it along. */
			for (struct link *k = TAILQ_FIRST(&site->links), *after; k; k = after) {
				after = TAILQ_NEXT(k, link);
				act(k);
			}
		}
}

static void quit_or_drop(struct link *k)
{
	if (!k->client) {
		courier_note_finding(k, (struct smtpcodes_status){4, 3, 2}, "the server is stopping", NULL);
		courier_give_up_link(k);
		return;
	}
	courier_quit_link(k);
	courier_pull_events(k);
}

static void drop(struct link *k)
{
	if (!k->client) {
		quit_or_drop(k);
		return;
	}
	smtp_client_lost(k->client, SLICE("our server is stopping and could not wait longer"));
	courier_pull_events(k);
}

static void on_patience(void *arg)
{
	struct courier *c = arg;

	for_each_link(c, drop);
	courier_finish_if_done(c);
}

static void return_waiting(struct courier *c)
{
	for (size_t i = 0; i < COURIER_BUCKETS; i++)
		for (struct site *site = c->sites[i]; site; site = site->next)
			while (!TAILQ_EMPTY(&site->waiting)) {
				struct courier_job *job = TAILQ_FIRST(&site->waiting);
				TAILQ_REMOVE(&site->waiting, job, link);
				courier_end_job(c, job, WIRE_JOB_RETURNED);
			}
}

void courier_stop(struct courier *c)
{
	if (c->stopping)
		return;
	c->stopping = true;
	/* It alone may be stopping, and the queue would hand out again and again what comes back. */
	if (c->queue)
		channel_send(c->queue, WIRE_LEAVING, SLICE_NONE, -1);
	c->patience = loop_timer_new(c->loop, on_patience, c);
	if (c->patience)
		loop_timer_set(c->patience, loop_mono(c->loop) + COURIER_STOP_PATIENCE);
	return_waiting(c);
	for_each_link(c, quit_or_drop);
	courier_finish_if_done(c);
}

static void abandon(struct link *k)
{
	struct courier_job *job;

	while ((job = TAILQ_FIRST(&k->jobs))) {
		TAILQ_REMOVE(&k->jobs, job, link);
		courier_free_job(job);
	}
	conn_close(k->conn);
	courier_free_link(k);
}

void courier_free(struct courier *c)
{
	if (!c)
		return;
	for_each_link(c, abandon);
	for (size_t i = 0; i < COURIER_BUCKETS; i++)
		while (c->sites[i]) {
			struct site *site = c->sites[i];
			c->sites[i] = site->next;
			while (!TAILQ_EMPTY(&site->waiting)) {
				struct courier_job *job = TAILQ_FIRST(&site->waiting);
				TAILQ_REMOVE(&site->waiting, job, link);
				courier_free_job(job);
			}
			courier_free_site(site);
		}
	channel_free(c->queue);
	loop_timer_free(c->patience);
	loop_timer_free(c->again);
	loop_timer_free(c->room);
	courier_forget_trust(c);
	courier_forget_secrets(c);
	courier_forget_files(c);
	conf_unref(c->conf);
	buf_free(&c->held);
	buf_free(&c->frame);
	heap_free(c);
}
