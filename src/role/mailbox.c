/*
 * The mailbox role: Maildirs, and LMTP to servers of ours. Nobody else writes below the mail directory.
 */
#include "role/courier.h"

#include "base/heap.h"
#include "net/fs_posix.h"
#include "net/log.h"
#include "role/maildir.h"

#include <stdio.h>
#include <string.h>

#define BATCH_MAX 128

/* A recipient whose file is to be written in this turn. */
struct due {
	struct courier_job *job;
	size_t rcpt;
};

struct mailbox {
	struct loop *loop;
	const struct role_self *self;
	struct courier *courier;
	struct fs *mail;
	struct maildir_counts counts;
	struct crc32c crc;
	struct due *due;
	size_t due_count, due_cap;
	struct loop_timer *again; /* more than one batch was due */
};

static bool make_room(struct mailbox *m, size_t count)
{
	size_t cap = m->due_cap ? m->due_cap : BATCH_MAX;

	while (cap < m->due_count + count)
		cap *= 2;
	if (cap == m->due_cap)
		return true;
	struct due *due = heap_resize(m->due, cap * sizeof *due);
	if (!due)
		return false;
	m->due = due;
	m->due_cap = cap;
	return true;
}

static const struct smtp_outcome no_memory = {.verdict = SMTP_DEFERRED,
					      .stage = SMTP_STAGE_MAILBOX,
					      .status = {4, 3, 0},
					      .text = {"out of memory", sizeof "out of memory" - 1}};

static void on_job(void *arg, struct courier_job *job)
{
	struct mailbox *m = arg;
	size_t count = job->queue.envelope.rcpt_count;

	struct smtp_outcome outcome = no_memory;

	job->started = loop_mono(m->loop);
	if (!courier_check_body(job, &outcome) || !make_room(m, count)) {
		for (size_t i = count; i > 0; i--)
			courier_outcome(m->courier, job, i - 1, &outcome, SLICE_NONE, false);
		return;
	}
	for (size_t i = 0; i < count; i++)
		m->due[m->due_count++] = (struct due){job, i};
}

static struct maildir_delivery delivery_of(struct mailbox *m, const struct due *due)
{
	const struct queue_job *q = &due->job->queue;
	const struct conf *c = courier_conf(m->courier);
	struct conf_quota quota = conf_quota_of(c, q->mailboxes[due->rcpt]);

	return (struct maildir_delivery){
		.mailbox = q->mailboxes[due->rcpt],
		.host = c->hostname,
		.id = q->id,
		.n = q->n[due->rcpt],
		.arrived = q->arrived,
		.sender = q->envelope.sender,
		.rcpt = q->envelope.rcpt[due->rcpt].address,
		.body = q->body,
		.file = q->body_in_file ? due->job->file : NULL,
		.size = q->size,
		.digest = q->digest,
		.crc = &m->crc,
		/* Only where LF can be read back as CRLF without loss. */
		.lf = c->newlines == CONF_NEWLINES_LF && !(q->content & STORE_CONTENT_BARE),
		.limit = {.octets = quota.octets, .messages = quota.messages},
		.counts = &m->counts,
		.now = loop_mono(m->loop),
		.age = q->age,
		.full_wait = c->full_wait,
	};
}

static void deliver_batch(struct mailbox *m, size_t count)
{
	struct maildir_delivery *batch = heap_array(count, sizeof *batch);
	char remote[MAILDIR_PATH_MAX + 16];

	for (size_t i = 0; batch && i < count; i++)
		batch[i] = delivery_of(m, &m->due[i]);
	if (batch)
		maildir_deliver(m->mail, batch, count);
	for (size_t i = 0; i < count; i++) {
		if (batch && batch[i].damaged) {
			courier_damaged(m->courier, m->due[i].job);
			continue;
		}
		if (batch && batch[i].unreadable)
			courier_body_lost(m->due[i].job, "it could not be read to its end");
		int n = snprintf(remote, sizeof remote, "maildir:%s", batch ? batch[i].path : "");
		courier_outcome(m->courier, m->due[i].job, m->due[i].rcpt, batch ? &batch[i].outcome : &no_memory,
				slice_of(remote, (size_t)n), false);
	}
	heap_free(batch);
	m->due_count -= count;
	memmove(m->due, m->due + count, m->due_count * sizeof *m->due);
}

static void mailbox_turn(void *arg)
{
	struct mailbox *m = arg;

	if (m->due_count == 0)
		return;
	deliver_batch(m, m->due_count < BATCH_MAX ? m->due_count : BATCH_MAX);
	/* The outcomes of this batch go out before the next one is begun. */
	if (m->due_count > 0)
		loop_timer_set(m->again, loop_mono(m->loop));
}

/* The turn function does the work; the timer only makes a turn happen. */
static void on_again(void *arg)
{
	(void)arg;
}

static void *mailbox_start(struct loop *l, const struct role_self *self)
{
	struct mailbox *m = heap_new(struct mailbox);

	if (!m)
		return NULL;
	*m = (struct mailbox){.loop = l, .self = self, .counts = {.key = loop_hash_key(l)}};
	crc32c_init(&m->crc);
	m->again = loop_timer_new(l, on_again, m);
	m->courier = courier_new(l, self, on_job, m);
	return m;
}

static bool open_mail(struct mailbox *m, const struct conf *conf)
{
	struct buf path;

	buf_init(&path, 4096);
	buf_add(&path, conf->data_dir);
	buf_add_lit(&path, "/mail");
	const char *text = buf_cstr(&path);
	int error = text ? fs_posix_make_root(text) : 0;
	if (!error && text)
		error = fs_posix_open(text, &m->mail);
	if (error)
		log_event(LOG_START_FAILED, LOG_CSTR("directory", text), LOG_CSTR("reason", strerror(error)));
	buf_free(&path);
	return m->mail != NULL;
}

static bool mailbox_configure(void *arg, struct conf *conf)
{
	struct mailbox *m = arg;

	if (!m->mail && !open_mail(m, conf))
		return false;
	courier_configure(m->courier, conf);
	m->self->ready(m->self->arg);
	return true;
}

static void mailbox_peer(void *arg, struct wire_peer peer, int fd)
{
	courier_peer(((struct mailbox *)arg)->courier, peer, fd);
}

static void mailbox_stop(void *arg)
{
	courier_stop(((struct mailbox *)arg)->courier);
}

static void mailbox_end(void *arg)
{
	struct mailbox *m = arg;

	courier_free(m->courier);
	if (m->mail)
		m->mail->ops->close(m->mail);
	loop_timer_free(m->again);
	heap_free(m->due);
	heap_free(m);
}

const struct role_ops mailbox_role = {
	.start = mailbox_start,
	.configure = mailbox_configure,
	.peer = mailbox_peer,
	.stop = mailbox_stop,
	.turn = mailbox_turn,
	.end = mailbox_end,
};
