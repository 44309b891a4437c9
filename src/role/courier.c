#include "role/courier.h"

#include "base/heap.h"
#include "base/pack.h"
#include "net/channel.h"
#include "net/conn.h"
#include "net/fs_posix.h"
#include "net/log.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SITE_BUCKETS  1024
#define BODY_PIECE    ((size_t)64 * 1024)
#define REMOTE_MAX    300
#define HELD_MAX      ((size_t)64 * 1024 * 1024) /* outcomes kept while the queue is away */
#define AVOID_HOST    (60 * SECOND)              /* a host that failed is tried again after this, if others work */
#define STOP_PATIENCE (10 * SECOND)
#define LINGER        (2 * SECOND)
#define JOB_ARENA_MAX ((size_t)16 * 1024 * 1024)

TAILQ_HEAD(job_list, courier_job);

struct site;

/* One connection to a next hop, from the first look-up to its end. */
struct link {
	TAILQ_ENTRY(link) link;
	struct courier *courier;
	struct site *site;
	struct conf *conf; /* the one that its hosts and settings come from */
	/* Where we are in the list of hosts and their addresses. */
	const struct route_group *group;
	size_t host, hosts_tried;
	struct net_address addresses[16];
	size_t address, address_count;
	struct conn_lookup *lookup;
	struct conn_attempt *attempt;
	/* Once connected. */
	struct conn *conn;
	struct smtp_client *client;
	struct loop_timer *timer;
	char remote[REMOTE_MAX];
	struct job_list jobs; /* given to the client and not done */
	bool was_ready;       /* the session took jobs */
	bool idle;            /* ready, without a job */
	bool quitting;
	bool *gone; /* set when the link is freed, for who is still using it */
	size_t messages;
	mono_ms idle_until;
	struct smtp_outcome failure; /* of the last host, in case none is left */
	char failure_text[SMTP_OUTCOME_TEXT_MAX];
};

struct site {
	struct site *next;
	uint64_t hash;
	struct courier *courier;
	char *name;
	size_t name_n;
	struct job_list waiting;
	TAILQ_HEAD(, link) links;
	unsigned link_count, allowed;
	unsigned busy;                 /* functions that still use it */
	mono_ms avoid[CONF_HOSTS_MAX]; /* until then a host is passed over */
};

struct courier {
	struct loop *loop;
	const struct role_self *self;
	struct conf *conf;
	struct channel *queue;
	struct buf held; /* frames for the next queue: type and payload of each */
	struct buf frame;
	struct site *sites[SITE_BUCKETS];
	size_t link_count, job_count;
	void (*local)(void *arg, struct courier_job *job);
	void *local_arg;
	struct loop_timer *patience;
	bool stopping, finished;
};

static void serve_site(struct site *site);
static void pull_events(struct link *k);
static void try_next_address(struct link *k);

/* ---- telling the queue ---------------------------------------------------------------------------------------- */

static void hold_frame(struct courier *c, uint16_t type, struct slice payload)
{
	if (buf_room(&c->held) < 6 + payload.n) {
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "an outcome that the queue could not be told"));
		return;
	}
	pack_u16(&c->held, type);
	pack_slice(&c->held, payload);
}

static void tell_queue(struct courier *c, uint16_t type, const struct buf *payload)
{
	if (!c->queue || !channel_send(c->queue, type, buf_slice(payload), -1))
		hold_frame(c, type, buf_slice(payload));
}

static void tell_held(struct courier *c)
{
	struct unpack u = {.in = buf_slice(&c->held)};

	while (u.in.n > 0) {
		uint16_t type = unpack_u16(&u);
		struct slice payload = unpack_slice(&u, CHANNEL_FRAME_MAX);
		assert(!u.bad);
		if (!channel_send(c->queue, type, payload, -1))
			break;
	}
	buf_free(&c->held);
}

static void free_job(struct courier_job *job)
{
	if (job->file)
		job->file->ops->close(job->file);
	arena_free(&job->arena);
	heap_free(job);
}

static void finish_if_done(struct courier *c)
{
	if (!c->stopping || c->finished || c->job_count > 0)
		return;
	c->finished = true;
	if (c->queue)
		channel_flush(c->queue, STOP_PATIENCE);
	c->self->finished(c->self->arg, 0);
}

static void tell_outcome(struct courier *c, const struct courier_job *job, size_t rcpt,
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

/* The job is the queue's again: done, or not begun. */
static void end_job(struct courier *c, struct courier_job *job, enum wire_type how)
{
	buf_reset(&c->frame);
	wire_put_number(&c->frame, job->queue.job);
	tell_queue(c, (uint16_t)how, &c->frame);
	c->job_count--;
	free_job(job);
	finish_if_done(c);
}

void courier_outcome(struct courier *c, struct courier_job *job, size_t rcpt, const struct smtp_outcome *outcome,
		     struct slice remote, bool site_failed)
{
	assert(job->open > 0);
	tell_outcome(c, job, rcpt, outcome, remote, site_failed);
	if (--job->open == 0)
		end_job(c, job, WIRE_JOB_DONE);
}

/* The same outcome for every recipient of a job that never began. */
static void settle_job(struct courier *c, struct courier_job *job, const struct smtp_outcome *outcome,
		       struct slice remote, bool site_failed)
{
	for (size_t i = job->queue.envelope.rcpt_count; i > 0; i--)
		courier_outcome(c, job, i - 1, outcome, remote, site_failed);
}

/* ---- links ---------------------------------------------------------------------------------------------------- */

static struct slice remote_of(const struct link *k)
{
	return slice_from_cstr(k->remote);
}

static void free_link(struct link *k)
{
	struct site *site = k->site;

	if (k->gone)
		*k->gone = true;
	TAILQ_REMOVE(&site->links, k, link);
	site->link_count--;
	k->courier->link_count--;
	assert(TAILQ_EMPTY(&k->jobs));
	conn_lookup_cancel(k->lookup);
	conn_attempt_cancel(k->attempt);
	loop_timer_free(k->timer);
	smtp_client_free(k->client);
	conf_unref(k->conf);
	heap_free(k);
}

/* Keeps a copy of the outcome, its text included. */
static void note_failure(struct link *k, const struct smtp_outcome *outcome)
{
	size_t n = outcome->text.n < sizeof k->failure_text ? outcome->text.n : sizeof k->failure_text;

	if (n)
		memcpy(k->failure_text, outcome->text.p, n);
	k->failure = *outcome;
	k->failure.text = slice_of(k->failure_text, n);
}

static void note_finding(struct link *k, enum smtp_stage stage, uint16_t detail, const char *what, const char *why)
{
	char text[256];
	int n = snprintf(text, sizeof text, "%s%s%s", what, why ? ": " : "", why ? why : "");

	note_failure(k, &(struct smtp_outcome){.verdict = SMTP_DEFERRED,
					       .stage = stage,
					       .status = {4, 4, detail},
					       .text = slice_of(text, (size_t)(n < 255 ? n : 255))});
}

/* No host of the site took us. If no other connection serves the site, its jobs are told why. */
static void give_up_link(struct link *k)
{
	struct site *site = k->site;
	struct courier *c = k->courier;
	struct courier_job *job;

	while (site->link_count == 1 && (job = TAILQ_FIRST(&site->waiting))) {
		TAILQ_REMOVE(&site->waiting, job, link);
		settle_job(c, job, &k->failure, remote_of(k), true);
	}
	free_link(k);
	if (site->link_count > 0)
		site->allowed = site->link_count;
	serve_site(site);
}

static const struct route_host *host_of(const struct link *k)
{
	return &k->group->hosts[k->host];
}

static void name_remote(struct link *k, const struct net_address *address)
{
	const struct route_host *h = host_of(k);
	char text[NET_ADDRESS_TEXT];

	if (h->kind == ROUTE_HOST_UNIX || !address) {
		snprintf(k->remote, sizeof k->remote, "%s%.*s", h->kind == ROUTE_HOST_UNIX ? "unix:" : "",
			 SLICE_ARGS(slice_head(h->name, 255)));
		return;
	}
	struct slice ip = net_address_text(address, text);
	if (h->kind == ROUTE_HOST_NAME)
		snprintf(k->remote, sizeof k->remote, "%.*s [%.*s]:%u", SLICE_ARGS(slice_head(h->name, 200)),
			 SLICE_ARGS(ip), h->port);
	else
		snprintf(k->remote, sizeof k->remote, "[%.*s]:%u", SLICE_ARGS(ip), h->port);
}

static void on_found(void *arg, const struct net_address *list, size_t count, const char *why)
{
	struct link *k = arg;

	k->lookup = NULL;
	if (count == 0)
		note_finding(k, SMTP_STAGE_CONNECT, 3, "host name cannot be resolved", why);
	k->address = 0;
	k->address_count = count < 16 ? count : 16;
	memcpy(k->addresses, list, k->address_count * sizeof *list);
	try_next_address(k);
}

/* Finds the addresses of the host that the link has come to. */
static void begin_host(struct link *k)
{
	const struct route_host *h = host_of(k);

	name_remote(k, NULL);
	k->address = k->address_count = 0;
	if (h->kind == ROUTE_HOST_NAME) {
		k->lookup = conn_resolve(k->courier->loop, h->name, h->port, on_found, k);
		if (k->lookup)
			return;
		note_finding(k, SMTP_STAGE_CONNECT, 3, "host name cannot be resolved", "no resolver");
	} else if (h->kind == ROUTE_HOST_UNIX ? net_address_unix(h->name, &k->addresses[0])
					      : net_address_ip(h->name, h->port, &k->addresses[0])) {
		k->address_count = 1;
	} else {
		note_finding(k, SMTP_STAGE_CONNECT, 4, "the configured address cannot be used", NULL);
	}
	try_next_address(k);
}

/*
 * The next host in order of preference that did not fail of late; when every host is to be avoided, all are tried. A
 * host is tried once for each link. False when none is left.
 */
static bool next_host(struct link *k, bool first)
{
	mono_ms now = loop_mono(k->courier->loop);
	size_t count = k->group->count;

	if (!first) {
		if (k->host < CONF_HOSTS_MAX)
			k->site->avoid[k->host] = now + AVOID_HOST;
		k->hosts_tried++;
	}
	for (int pass = 0; pass < 2; pass++) {
		bool all = pass == 1 && k->hosts_tried == 0;
		for (size_t i = first ? 0 : k->host + 1; i < count; i++)
			if (all || i >= CONF_HOSTS_MAX || k->site->avoid[i] <= now) {
				k->host = i;
				return true;
			}
	}
	return false;
}

static void host_failed(struct link *k)
{
	if (next_host(k, false))
		begin_host(k);
	else
		give_up_link(k);
}

static void start_session(struct link *k, int fd);

static void on_connected(void *arg, int fd, const char *why)
{
	struct link *k = arg;

	k->attempt = NULL;
	if (why) {
		note_finding(k, SMTP_STAGE_CONNECT, 1, "cannot connect", why);
		k->address++;
		try_next_address(k);
		return;
	}
	start_session(k, fd);
}

static void try_next_address(struct link *k)
{
	if (k->address == k->address_count) {
		host_failed(k);
		return;
	}
	const struct net_address *address = &k->addresses[k->address];
	name_remote(k, address);
	k->attempt = conn_connect(k->courier->loop, address, k->conf->connect_timeout, on_connected, k);
	if (!k->attempt) {
		note_finding(k, SMTP_STAGE_CONNECT, 1, "cannot connect", "out of memory");
		host_failed(k);
	}
}

/* ---- sessions ------------------------------------------------------------------------------------------------- */

static struct courier_job *job_of(struct link *k, uint64_t tag)
{
	struct courier_job *job;

	TAILQ_FOREACH(job, &k->jobs, link)
	if (job->queue.job == tag)
		return job;
	return NULL;
}

static void feed_body(struct link *k, struct courier_job *job)
{
	struct loop *l = k->courier->loop;
	char piece[BODY_PIECE];
	size_t n = 0;

	if (!job->queue.body_in_file) {
		smtp_client_body(k->client, job->queue.body, true, loop_mono(l));
		return;
	}
	int error = job->file ? job->file->ops->read(job->file, job->offset, piece, sizeof piece, &n) : EIO;
	/* Fewer octets than were promised would be another message. */
	if (error || (n == 0 && job->offset < job->queue.size)) {
		smtp_client_body_failed(k->client, SLICE("the message cannot be read from our disk"));
		return;
	}
	job->offset += n;
	smtp_client_body(k->client, slice_of(piece, n), job->offset >= job->queue.size, loop_mono(l));
}

static void quit(struct link *k)
{
	if (k->quitting)
		return;
	k->quitting = true;
	k->idle = false;
	smtp_client_quit(k->client, loop_mono(k->courier->loop));
}

/* The session can take a job: the next one of its site, or none for the time being. */
static void give_job(struct link *k)
{
	struct site *site = k->site;
	struct courier_job *job = TAILQ_FIRST(&site->waiting);

	k->was_ready = true;
	if (k->host < CONF_HOSTS_MAX)
		site->avoid[k->host] = 0;
	if (k->quitting)
		return;
	if (!job || k->messages >= k->conf->connection_messages_max || k->courier->stopping) {
		if (job || k->courier->stopping) {
			quit(k);
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
	};
	smtp_client_send(k->client, &offer, job->started);
}

static void on_outcome(struct link *k, const struct smtp_client_event *ev)
{
	struct courier_job *job = job_of(k, ev->tag);

	assert(job && ev->rcpt < job->queue.envelope.rcpt_count);
	job->open--;
	/* No answer, or an answer that ends the session, says something of the site and not of the recipient. */
	bool site_failed = ev->outcome.verdict == SMTP_DEFERRED && (ev->outcome.code == 0 || ev->outcome.code == 421);
	tell_outcome(k->courier, job, ev->rcpt, &ev->outcome, remote_of(k), site_failed);
}

static void on_done(struct link *k, uint64_t tag)
{
	struct courier_job *job = job_of(k, tag);

	assert(job && job->open == 0);
	TAILQ_REMOVE(&k->jobs, job, link);
	end_job(k->courier, job, WIRE_JOB_DONE);
}

/* The session is over; all its jobs had their outcomes. */
static void on_session_end(struct link *k, const struct smtp_outcome *why)
{
	struct site *site = k->site;

	conn_finish(k->conn, LINGER);
	k->conn = NULL;
	if (!k->was_ready && why->verdict != SMTP_DELIVERED) {
		/* It refused us at the door: another host may not. */
		note_failure(k, why);
		smtp_client_free(k->client);
		k->client = NULL;
		loop_timer_set(k->timer, NEVER);
		host_failed(k);
		return;
	}
	free_link(k);
	serve_site(site);
}

static void update_timer(struct link *k)
{
	mono_ms at = smtp_client_deadline(k->client);

	if (k->idle && k->idle_until < at)
		at = k->idle_until;
	loop_timer_set(k->timer, at);
}

/* Handles what the engine has to say, and hands over what it has to send. k may be gone afterwards. */
static void pull_events(struct link *k)
{
	struct smtp_client_event ev;

	while (smtp_client_next(k->client, &ev)) {
		switch (ev.type) {
		case SMTP_CLIENT_READY:
			give_job(k);
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
			conn_write(k->conn, out);
			smtp_client_sent(k->client, out.n);
		}
	}
	struct slice out = smtp_client_output(k->client);
	if (out.n > 0 && conn_pending(k->conn) <= 4 * BODY_PIECE && conn_write(k->conn, out))
		smtp_client_sent(k->client, out.n);
	update_timer(k);
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
		pull_events(k);
		/* The session is over: the rest of the input is nobody's. */
		if (gone || k->client != client)
			return in.n;
		if (n == 0)
			break;
	}
	k->gone = NULL;
	return taken;
}

static void on_drained(void *arg)
{
	pull_events(arg);
}

static void on_conn_closed(void *arg, const char *why)
{
	struct link *k = arg;

	smtp_client_lost(k->client, why ? slice_from_cstr(why) : SLICE("the connection was closed by the other side"));
	pull_events(k);
}

static void on_timer(void *arg)
{
	struct link *k = arg;

	if (!k->client)
		return;
	if (k->idle && k->idle_until <= loop_mono(k->courier->loop))
		quit(k);
	else
		smtp_client_tick(k->client, loop_mono(k->courier->loop));
	pull_events(k);
}

static void start_session(struct link *k, int fd)
{
	static const struct conn_handler handler = {on_input, on_drained, on_conn_closed};
	struct loop *l = k->courier->loop;

	k->conn = conn_new(l, fd, &handler, k);
	k->client = k->conn ? smtp_client_new(k->group->lmtp ? &k->conf->lmtp_client : &k->conf->client) : NULL;
	if (!k->client) {
		conn_close(k->conn);
		k->conn = NULL;
		note_finding(k, SMTP_STAGE_CONNECT, 1, "cannot connect", "out of memory");
		give_up_link(k);
		return;
	}
	smtp_client_start(k->client, loop_mono(l));
	pull_events(k);
}

/* ---- sites ---------------------------------------------------------------------------------------------------- */

static void free_site_if_empty(struct site *site)
{
	struct courier *c = site->courier;
	struct site **at = &c->sites[site->hash % SITE_BUCKETS];

	if (site->busy > 0 || site->link_count > 0 || !TAILQ_EMPTY(&site->waiting))
		return;
	while (*at != site)
		at = &(*at)->next;
	*at = site->next;
	heap_free(site->name);
	heap_free(site);
}

static struct link *new_link(struct site *site)
{
	struct courier *c = site->courier;
	struct link *k = heap_new(struct link);

	if (!k)
		return NULL;
	*k = (struct link){.courier = c, .site = site, .conf = conf_ref(c->conf)};
	TAILQ_INIT(&k->jobs);
	k->timer = loop_timer_new(c->loop, on_timer, k);
	TAILQ_INSERT_TAIL(&site->links, k, link);
	site->link_count++;
	c->link_count++;
	return k;
}

static void open_link(struct site *site, struct slice hosts)
{
	struct link *k = new_link(site);

	if (!k)
		return;
	k->group = conf_hosts(k->conf, hosts);
	if (!k->timer || !k->group) {
		note_failure(k, &(struct smtp_outcome){
					.verdict = SMTP_DEFERRED,
					.stage = SMTP_STAGE_ROUTE,
					.status = {4, 3, 5},
					.text = k->timer ? SLICE("the route's hosts are not configured any more")
							 : SLICE("out of memory"),
				});
		give_up_link(k);
		return;
	}
	if (next_host(k, true))
		begin_host(k);
	else
		give_up_link(k);
}

/* Idle connections take waiting jobs; more are opened while jobs wait and the queue allows it. */
static void serve_site(struct site *site)
{
	struct courier *c = site->courier;
	struct link *k, *next;
	size_t opening = 0;

	site->busy++;
	for (k = TAILQ_FIRST(&site->links); k; k = next) {
		next = TAILQ_NEXT(k, link);
		if (!TAILQ_EMPTY(&site->waiting) && k->idle) {
			give_job(k);
			pull_events(k);
			/* The list may have changed under us. */
			next = TAILQ_FIRST(&site->links);
		} else if (!k->was_ready) {
			opening++;
		}
	}
	size_t waiting = 0;
	struct courier_job *job;
	TAILQ_FOREACH(job, &site->waiting, link)
	if (++waiting > site->allowed)
		break;
	while (waiting > opening && site->link_count < site->allowed && c->link_count < c->conf->connections_max &&
	       !c->stopping && (job = TAILQ_FIRST(&site->waiting))) {
		unsigned before = site->link_count;
		opening++;
		open_link(site, job->queue.route.hosts);
		if (site->link_count <= before)
			break;
	}
	site->busy--;
	free_site_if_empty(site);
}

static struct site *find_site(struct courier *c, struct slice name)
{
	uint64_t hash = hash_slice(loop_hash_key(c->loop), name);
	struct site **at = &c->sites[hash % SITE_BUCKETS];

	for (; *at; at = &(*at)->next)
		if ((*at)->hash == hash && slice_eq(slice_of((*at)->name, (*at)->name_n), name))
			return *at;
	struct site *site = heap_new(struct site);
	char *copy = heap_alloc(name.n + 1);
	if (!site || !copy) {
		heap_free(site);
		heap_free(copy);
		return NULL;
	}
	memcpy(copy, name.p, name.n);
	*site = (struct site){.hash = hash, .courier = c, .name = copy, .name_n = name.n};
	TAILQ_INIT(&site->waiting);
	TAILQ_INIT(&site->links);
	*at = site;
	return site;
}

/* ---- the queue's frames --------------------------------------------------------------------------------------- */

static struct courier_job *decode_job(struct slice payload)
{
	struct courier_job *job = heap_alloc(sizeof *job + payload.n);

	if (!job)
		return NULL;
	memcpy(job->payload, payload.p, payload.n);
	arena_init(&job->arena, JOB_ARENA_MAX);
	if (!wire_get_job(slice_of(job->payload, payload.n), &job->arena, &job->queue)) {
		free_job(job);
		return NULL;
	}
	job->open = job->queue.envelope.rcpt_count;
	return job;
}

static void refuse_job(struct courier *c, struct courier_job *job, const char *why)
{
	struct smtp_outcome outcome = {
		.verdict = SMTP_DEFERRED, .stage = SMTP_STAGE_ROUTE, .status = {4, 3, 0}, .text = slice_from_cstr(why)};

	settle_job(c, job, &outcome, SLICE_NONE, false);
}

static void take_job(struct courier *c, struct courier_job *job)
{
	bool local = job->queue.route.kind == ROUTE_MAILBOX;

	c->job_count++;
	if (c->stopping) {
		end_job(c, job, WIRE_JOB_RETURNED);
		return;
	}
	if (local && c->local) {
		c->local(c->local_arg, job);
		return;
	}
	struct site *site = local ? NULL : find_site(c, job->queue.route.site);
	if (!site) {
		refuse_job(c, job, local ? "this process delivers into no mailbox" : "out of memory");
		return;
	}
	site->allowed = job->queue.connections > 0 ? job->queue.connections : 1;
	job->started = loop_mono(c->loop); /* anew when a session takes it */
	TAILQ_INSERT_TAIL(&site->waiting, job, link);
	serve_site(site);
}

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct courier *c = arg;
	struct courier_job *job = type == WIRE_JOB ? decode_job(payload) : NULL;

	if (!job) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	if (fd >= 0)
		job->file = file_from_fd(fd);
	take_job(c, job);
	return true;
}

static void on_closed(void *arg, const char *why)
{
	struct courier *c = arg;

	if (!c->stopping)
		log_event(LOG_PEER_LOST, LOG_CSTR("peer", "queue"), LOG_CSTR("reason", why ? why : "closed"));
	channel_free(c->queue);
	c->queue = NULL;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

struct courier *courier_new(struct loop *l, const struct role_self *self,
			    void (*local)(void *arg, struct courier_job *job), void *arg)
{
	struct courier *c = heap_new(struct courier);

	if (!c)
		return NULL;
	*c = (struct courier){.loop = l, .self = self, .local = local, .local_arg = arg};
	buf_init(&c->held, HELD_MAX);
	buf_init(&c->frame, CHANNEL_FRAME_MAX);
	return c;
}

void courier_configure(struct courier *c, struct conf *conf)
{
	struct conf *old = c->conf;

	c->conf = conf_ref(conf);
	conf_unref(old);
	/* Hosts may have changed places. */
	for (size_t i = 0; i < SITE_BUCKETS; i++)
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
		close(fd);
		return;
	}
	channel_free(c->queue);
	c->queue = channel_new(c->loop, fd, &handler, c);
	if (c->queue)
		tell_held(c);
}

/* Each link in turn; `act` may free it. */
static void for_each_link(struct courier *c, void (*act)(struct link *k))
{
	for (size_t i = 0; i < SITE_BUCKETS; i++)
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
		note_finding(k, SMTP_STAGE_CONNECT, 1, "the server is stopping", NULL);
		give_up_link(k);
		return;
	}
	quit(k);
	pull_events(k);
}

static void drop(struct link *k)
{
	if (!k->client) {
		quit_or_drop(k);
		return;
	}
	smtp_client_lost(k->client, SLICE("our server is stopping and could not wait longer"));
	pull_events(k);
}

static void on_patience(void *arg)
{
	struct courier *c = arg;

	for_each_link(c, drop);
	finish_if_done(c);
}

static void return_waiting(struct courier *c)
{
	for (size_t i = 0; i < SITE_BUCKETS; i++)
		for (struct site *site = c->sites[i]; site; site = site->next)
			while (!TAILQ_EMPTY(&site->waiting)) {
				struct courier_job *job = TAILQ_FIRST(&site->waiting);
				TAILQ_REMOVE(&site->waiting, job, link);
				end_job(c, job, WIRE_JOB_RETURNED);
			}
}

void courier_stop(struct courier *c)
{
	if (c->stopping)
		return;
	c->stopping = true;
	c->patience = loop_timer_new(c->loop, on_patience, c);
	if (c->patience)
		loop_timer_set(c->patience, loop_mono(c->loop) + STOP_PATIENCE);
	return_waiting(c);
	for_each_link(c, quit_or_drop);
	finish_if_done(c);
}

static void abandon(struct link *k)
{
	struct courier_job *job;

	while ((job = TAILQ_FIRST(&k->jobs))) {
		TAILQ_REMOVE(&k->jobs, job, link);
		free_job(job);
	}
	conn_close(k->conn);
	free_link(k);
}

void courier_free(struct courier *c)
{
	if (!c)
		return;
	for_each_link(c, abandon);
	for (size_t i = 0; i < SITE_BUCKETS; i++)
		while (c->sites[i]) {
			struct site *site = c->sites[i];
			c->sites[i] = site->next;
			while (!TAILQ_EMPTY(&site->waiting)) {
				struct courier_job *job = TAILQ_FIRST(&site->waiting);
				TAILQ_REMOVE(&site->waiting, job, link);
				free_job(job);
			}
			heap_free(site->name);
			heap_free(site);
		}
	channel_free(c->queue);
	loop_timer_free(c->patience);
	conf_unref(c->conf);
	buf_free(&c->held);
	buf_free(&c->frame);
	heap_free(c);
}
