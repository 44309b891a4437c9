#include "role/courier_private.h"

#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define BODY_PIECE ((size_t)64 * 1024)
#define LINGER     (2 * SECOND)

static struct courier_job *job_of(struct link *k, uint64_t tag)
{
	struct courier_job *job;

	TAILQ_FOREACH(job, &k->jobs, link)
	if (job->queue.job == tag)
		return job;
	return NULL;
}

/* The next octets of the file. NULL, or why there are none: fewer than were promised would be another message. */
static const char *read_piece(struct link *k, struct courier_job *job, char piece[BODY_PIECE], size_t *ret)
{
	uint64_t left = job->queue.size - job->offset;
	int error = job->file->ops->read(job->file, job->offset, piece, left < BODY_PIECE ? left : BODY_PIECE, ret);

	if (error || (*ret == 0 && left > 0))
		return error ? strerror(error) : "it ended while it was read";
	if (job->offset == 0)
		job->digest = store_digest_begin(&k->courier->crc, job->queue.id);
	job->digest = crc32c_add(&k->courier->crc, job->digest, slice_of(piece, *ret));
	job->offset += *ret;
	return NULL;
}

/* Its piece is cleared with each call: no part of a function that runs for every message. */
__attribute__((noinline)) static void feed_file(struct link *k, struct courier_job *job)
{
	char piece[BODY_PIECE];
	size_t n = 0;
	const char *error = read_piece(k, job, piece, &n);

	if (error) {
		struct smtp_outcome lost = courier_body_lost(job, error);
		smtp_client_body_failed(k->client, lost.text);
		return;
	}
	bool last = job->offset >= job->queue.size;
	/* Without its last piece nobody takes it for a message. */
	if (last && !store_digest_fits(job->queue.digest, job->digest)) {
		job->damaged = true;
		smtp_client_body_failed(k->client, SLICE("the message is damaged"));
		return;
	}
	smtp_client_body(k->client, slice_of(piece, n), last, loop_mono(k->courier->loop));
}

static void feed_body(struct link *k, struct courier_job *job)
{
	if (job->queue.body_in_file)
		feed_file(k, job);
	else
		smtp_client_body(k->client, job->queue.body, true, loop_mono(k->courier->loop));
}

void courier_quit_link(struct link *k)
{
	if (k->quitting)
		return;
	k->quitting = true;
	k->idle = false;
	smtp_client_quit(k->client, loop_mono(k->courier->loop));
}

/* The first that waits and can be sent; those before it that cannot have their outcomes. */
static struct courier_job *first_job(struct site *site)
{
	struct courier_job *job;
	struct smtp_outcome lost;

	while ((job = TAILQ_FIRST(&site->waiting)) && !courier_check_body(job, &lost)) {
		TAILQ_REMOVE(&site->waiting, job, link);
		courier_settle_job(site->courier, job, &lost, SLICE_NONE, false);
	}
	return job;
}

void courier_give_job(struct link *k)
{
	struct site *site = k->site;
	struct courier_job *job = first_job(site);

	if (!k->was_ready)
		courier_on_open(k);
	k->was_ready = true;
	courier_set_silent(site, false);
	if (k->host < CONF_HOSTS_MAX)
		site->avoid[k->host] = 0;
	if (k->quitting)
		return;
	/* Where others have no connection, one without a job is given up, and so is one of several. */
	bool wanted = courier_is_wanted(k, job != NULL);
	if (!job || wanted || k->messages >= k->conf->connection_messages_max || k->courier->stopping) {
		if (job || wanted || k->courier->stopping) {
			courier_quit_link(k);
			return;
		}
		k->idle = true;
		k->idle_until = loop_mono(k->courier->loop) + k->conf->idle_timeout;
		return;
	}
	TAILQ_REMOVE(&site->waiting, job, link);
	TAILQ_INSERT_TAIL(&k->jobs, job, link);
	k->idle = false;
	k->messages++;
	job->started = loop_mono(k->courier->loop);
	const struct queue_job *q = &job->queue;
	struct smtp_client_job offer = {
		.tag = q->job,
		.envelope = &q->envelope,
		.size = q->size,
		.eight_bit = q->content & STORE_CONTENT_EIGHT_BIT,
		.needs_utf8 = q->content & STORE_CONTENT_UTF8_HEADER,
		.has_bare = q->content & STORE_CONTENT_BARE,
		.no_conversion = !k->group->convert,
		.requiretls = q->content & STORE_CONTENT_REQUIRETLS,
	};
	smtp_client_send(k->client, &offer, job->started);
}

/* What was found in the octets of a file says nothing as long as it is not known that they are those of the message:
 * the rest is read to know. What cannot be read then is not the message either. */
__attribute__((noinline)) static void read_to_the_end(struct link *k, struct courier_job *job)
{
	char piece[BODY_PIECE];
	size_t n;
	const char *error = NULL;

	while (!error && job->offset < job->queue.size)
		error = read_piece(k, job, piece, &n);
	job->damaged = error || !store_digest_fits(job->queue.digest, job->digest);
}

static bool is_about_file(const struct courier_job *job, const struct smtp_outcome *o)
{
	return o->code == 0 && o->verdict == SMTP_FAILED && job->queue.body_in_file && job->offset > 0;
}

static void on_outcome(struct link *k, const struct smtp_client_event *ev)
{
	struct courier_job *job = job_of(k, ev->tag);

	assert(job && ev->rcpt < job->queue.envelope.rcpt_count);
	job->open--;
	if (is_about_file(job, &ev->outcome) && !job->damaged)
		read_to_the_end(k, job);
	/* No answer, or an answer that ends the session, says something of the site and not of the recipient. That the
	 * content is gone says something of us. */
	const struct smtp_outcome *o = &ev->outcome;
	struct smtp_outcome told = *o;
	if (job->damaged && o->code == 0)
		return; /* the queue holds it, see on_done */
	bool content_gone = o->code == 0 && o->status.subject == 6;
	bool site_failed = o->verdict == SMTP_DEFERRED && (o->code == 0 || o->code == 421) && !content_gone;
	told.secured = courier_secured(k);
	courier_tell_outcome(k->courier, job, ev->rcpt, &told, courier_remote(k), site_failed);
}

static void on_done(struct link *k, uint64_t tag)
{
	struct courier_job *job = job_of(k, tag);

	assert(job && job->open == 0);
	TAILQ_REMOVE(&k->jobs, job, link);
	courier_note_pace(k->site, loop_mono(k->courier->loop) - job->started);
	courier_close_job(k->courier, job);
}

/* The session is over; all its jobs had their outcomes. */
static void on_session_end(struct link *k, const struct smtp_outcome *why)
{
	struct site *site = k->site;

	conn_finish(k->conn, LINGER);
	k->conn = NULL;
	if (!k->was_ready && why->verdict != SMTP_DELIVERED) {
		/* It refused us at the door: another host may not. */
		struct smtp_outcome told = *why;
		told.text = courier_hide_secret(k, why->text);
		bool in_clear = courier_falls_back(k, &told);
		courier_on_unopened(k, &told);
		courier_note_failure(k, &told);
		smtp_client_free(k->client);
		k->client = NULL;
		loop_timer_set(k->timer, NEVER);
		if (in_clear)
			courier_try_in_clear(k);
		else
			courier_host_failed(k);
		return;
	}
	courier_free_link(k);
	courier_serve_site(site);
}

static void update_timer(struct link *k)
{
	mono_ms at = smtp_client_deadline(k->client);

	if (k->idle && k->idle_until < at)
		at = k->idle_until;
	loop_timer_set(k->timer, at);
}

void courier_pull_events(struct link *k)
{
	struct smtp_client_event ev;

	while (smtp_client_next(k->client, &ev)) {
		switch (ev.type) {
		case SMTP_CLIENT_HANDSHAKE:
			k->handshake_due = true;
			break;
		case SMTP_CLIENT_AUTH:
			courier_on_auth(k, &ev);
			break;
		case SMTP_CLIENT_READY:
			courier_give_job(k);
			break;
		case SMTP_CLIENT_BODY:
			feed_body(k, job_of(k, ev.tag));
			break;
		case SMTP_CLIENT_OUTCOME:
			on_outcome(k, &ev);
			break;
		case SMTP_CLIENT_DONE:
			on_done(k, ev.tag);
			break;
		case SMTP_CLIENT_CLOSED: {
			struct slice rest = smtp_client_output(k->client);
			conn_write(k->conn, rest);
			on_session_end(k, &ev.outcome);
			return;
		}
		}
		/* More body is asked for only when what is there has been handed over. */
		struct slice out = smtp_client_output(k->client);
		if (out.n >= BODY_PIECE) {
			if (conn_pending(k->conn) > 4 * BODY_PIECE)
				break;
			if (!conn_write(k->conn, out))
				break;
			smtp_client_sent(k->client, out.n);
		}
	}
	struct slice out = smtp_client_output(k->client);
	if (out.n > 0 && conn_pending(k->conn) <= 4 * BODY_PIECE && conn_write(k->conn, out))
		smtp_client_sent(k->client, out.n);
	update_timer(k);
}

/* Not before all is taken that came with the reply to STARTTLS. k may be gone afterwards. */
static void begin_handshake(struct link *k)
{
	if (!k->handshake_due)
		return;
	k->handshake_due = false;
	if (!courier_begin_tls(k)) {
		smtp_client_lost(k->client, SLICE("out of memory"));
		courier_pull_events(k);
	}
}

static size_t on_input(void *arg, struct slice in)
{
	struct link *k = arg;
	struct smtp_client *client = k->client;
	size_t taken = 0;

	bool gone = false;

	k->gone = &gone;
	while (taken < in.n) {
		size_t n = smtp_client_feed(client, slice_skip(in, taken), loop_mono(k->courier->loop));
		taken += n;
		courier_pull_events(k);
		if (gone)
			return in.n;
		/* The session is over, and the link is on its way to the next host: the rest is nobody's. */
		if (k->client != client) {
			k->gone = NULL;
			return in.n;
		}
		if (n == 0)
			break;
	}
	k->gone = NULL;
	begin_handshake(k);
	return taken;
}

static void on_drained(void *arg)
{
	courier_pull_events(arg);
}

static void on_secured(void *arg)
{
	courier_on_secured(arg);
	courier_pull_events(arg);
}

static void on_conn_closed(void *arg, const char *why)
{
	struct link *k = arg;

	smtp_client_lost(k->client, why ? slice_from_cstr(why) : SLICE("the connection was closed by the other side"));
	courier_pull_events(k);
}

void courier_on_timer(void *arg)
{
	struct link *k = arg;

	if (k->awaits_hosts) {
		courier_find_hosts(k);
		return;
	}
	if (!k->client)
		return;
	if (k->idle && k->idle_until <= loop_mono(k->courier->loop))
		courier_quit_link(k);
	else
		smtp_client_tick(k->client, loop_mono(k->courier->loop));
	courier_pull_events(k);
}

void courier_start_session(struct link *k, int fd)
{
	static const struct conn_handler handler = {on_input, on_drained, on_conn_closed, on_secured, NULL};
	struct loop *l = k->courier->loop;

	k->settings.tls = courier_tls_level(k);
	k->settings.tls_first = courier_tls_is_first(k);
	k->settings.on_this_machine = courier_is_on_this_machine(k);
	k->handshake_due = false;
	k->conn = conn_new(l, fd, &handler, k);
	k->client = k->conn ? smtp_client_new(&k->settings) : NULL;
	if (!k->client) {
		conn_close(k->conn);
		k->conn = NULL;
		courier_note_finding(k, courier_connect_status(ENOMEM), "cannot connect", "out of memory");
		courier_give_up_link(k);
		return;
	}
	smtp_client_start(k->client, loop_mono(l));
	courier_pull_events(k);
	/* No reply came yet, so that nothing has ended. */
	begin_handshake(k);
}
