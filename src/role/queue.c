/*
 * The queue: carries frames between its peers and the engine (queue/engine.h), and owns store and spool files.
 *
 * A turn reads what every peer sent, ends with one commit, and then sends the answers and jobs that this commit allows.
 * While the disk syncs, the next turn's frames gather in the sockets: that is the group commit.
 */
#include "role/role.h"

#include "base/heap.h"
#include "net/channel.h"
#include "net/descriptor.h"
#include "net/fs_posix.h"
#include "net/host.h"
#include "net/log.h"
#include "queue/store_backup.h"
#include "queue/store_salvage.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sysexits.h>

#define PEERS_MAX       (3 + 2 * CONF_PROCESS_MAX)
#define FRAME_ARENA_MAX ((size_t)16 * 1024 * 1024)
#define OPERATE_AT_ONCE 1000
#define PRESSURE_LASTS  (5 * SECOND)
#define IDS_AGAIN       (1 * SECOND)

struct queue_role;

struct queue_peer {
	struct queue_role *queue;
	struct wire_peer who;
	struct channel *channel; /* NULL: this place is free */
	uint32_t generation;     /* of the place: an answer for a former peer finds nobody */
	enum store_result pressure_told;
	bool wants_ids;   /* the store could not give any when it asked */
	bool unreachable; /* it missed a frame: it is let go at the end of the turn, and will be connected anew */
	bool congestion_told;
};

struct queue_role {
	struct loop *loop;
	const struct role_self *self;
	struct conf *conf;
	struct fs *fs;
	struct store *store;
	struct queue_config engine_config; /* the configuration's, and what only this process knows */
	struct queue_engine *engine;
	struct queue_peer peers[PEERS_MAX];
	struct loop_timer *timer;
	struct buf boot_id;
	struct buf path;            /* of the database, lent to the store */
	struct arena arena;         /* for one frame */
	struct buf frame;           /* for one frame out */
	enum store_result pressure; /* what a message would be answered now */
	mono_ms pressure_ends;      /* then one is let in again, to see */
	struct queue_peer *backup;  /* wants a hold: at the end of the turn, when no transaction is open */
	uint64_t hold;              /* the one that lasts, 0 = none */
	mono_ms hold_ends;          /* unless it is renewed */
	bool awake;                 /* the engine was told this turn's time */
	bool draining;              /* the server is stopping: peers end, nothing new is begun */
	bool stopping;
};

/* A put's tag at the engine: the peer's place and generation, and the receiver's own tag in a table of those under way.
 */
struct pending_put {
	uint32_t place, generation;
	uint64_t tag;
};

static struct queue_times times_of(struct queue_role *q)
{
	mono_ms now = loop_mono(q->loop); /* the loop's clock is the kernel's boot clock */

	return (struct queue_times){
		.mono = now, .wall = loop_wall(q->loop), .random = loop_random(q->loop), .boot = now};
}

/* Before anything is fed in a turn. */
static void wake(struct queue_role *q)
{
	if (!q->awake)
		queue_engine_wake(q->engine, times_of(q));
	q->awake = true;
}

static void send_frame(struct queue_peer *p, uint16_t type, const struct buf *payload, int fd)
{
	if (!p->channel || p->unreachable)
		return;
	if (!payload->failed && channel_send(p->channel, type, buf_slice(payload), fd))
		return;
	p->unreachable = true;
	log_event(LOG_PEER_LOST, LOG_CSTR("peer", role_name(p->who.kind)), LOG_NUMBER("index", p->who.index),
		  LOG_CSTR("reason", payload->failed ? "out of memory" : "does not read, or out of memory"));
}

static struct buf *new_frame(struct queue_role *q)
{
	buf_reset(&q->frame);
	return &q->frame;
}

/* ---- receivers ------------------------------------------------------------------------------------------------ */

static void answer_put(struct queue_role *q, uint64_t engine_tag, enum store_result result)
{
	struct pending_put *pending = (struct pending_put *)(uintptr_t)engine_tag;
	struct queue_peer *p = &q->peers[pending->place];

	if (p->generation == pending->generation) {
		struct buf *frame = new_frame(q);
		wire_put_answer(frame, &(struct wire_answer){pending->tag, result});
		send_frame(p, WIRE_ANSWER, frame, -1);
	}
	heap_free(pending);
}

static bool on_put(struct queue_peer *p, struct slice payload)
{
	struct queue_role *q = p->queue;
	struct pending_put *pending = heap_new(struct pending_put);
	struct queue_put put;
	uint64_t tag;

	arena_reset(&q->arena);
	if (!pending || !wire_get_message(payload, &q->arena, &tag, &put)) {
		heap_free(pending);
		return false;
	}
	*pending = (struct pending_put){(uint32_t)(p - q->peers), p->generation, tag};
	if (!queue_engine_put(q->engine, (uint64_t)(uintptr_t)pending, &put))
		answer_put(q, (uint64_t)(uintptr_t)pending, STORE_NO_MEMORY);
	return true;
}

static bool on_ids_wanted(struct queue_peer *p)
{
	struct buf *frame = new_frame(p->queue);
	uint64_t block;
	enum store_result result = p->queue->store->ops->id_block(p->queue->store, &block);

	if (result != STORE_OK) {
		if (!p->wants_ids)
			log_event(LOG_STORE_FAILED, LOG_CSTR("reason", store_result_text(result)));
		p->wants_ids = true;
		return true;
	}
	p->wants_ids = false;
	wire_put_number(frame, block);
	send_frame(p, WIRE_IDS, frame, -1);
	return true;
}

/* Those whom the store had none for. Returns when to try again. */
static mono_ms give_missing_ids(struct queue_role *q)
{
	bool missing = false;

	for (size_t i = 0; i < PEERS_MAX; i++)
		if (q->peers[i].channel && q->peers[i].wants_ids) {
			on_ids_wanted(&q->peers[i]);
			missing |= q->peers[i].wants_ids;
		}
	return missing ? loop_mono(q->loop) + IDS_AGAIN : NEVER;
}

static bool on_spool_open(struct queue_peer *p, struct slice payload)
{
	struct queue_role *q = p->queue;
	struct buf *frame = new_frame(q);
	enum store_result result = q->pressure;
	struct file *file = NULL;
	uint64_t id;

	if (!wire_get_number(payload, &id) || id == 0 || id > MSG_ID_MAX)
		return false;
	if (result == STORE_OK)
		result = store_spool_create(q->fs, id, &file);
	wire_put_answer(frame, &(struct wire_answer){id, result});
	send_frame(p, WIRE_SPOOL, frame, file ? file_fd(file) : -1);
	if (file)
		file->ops->close(file);
	return true;
}

static bool on_spool_drop(struct queue_peer *p, struct slice payload)
{
	uint64_t id;

	if (!wire_get_number(payload, &id) || id == 0 || id > MSG_ID_MAX)
		return false;
	/* A receiver that is confused, or not ours any more, must not be able to take a stored message's body away. */
	store_sqlite_unwanted(p->queue->store, id);
	return true;
}

static void tell_pressure(struct queue_role *q)
{
	for (size_t i = 0; i < PEERS_MAX; i++) {
		struct queue_peer *p = &q->peers[i];
		if (!p->channel || p->who.kind != ROLE_RECEIVER || p->pressure_told == q->pressure)
			continue;
		struct buf *frame = new_frame(q);
		wire_put_answer(frame, &(struct wire_answer){0, q->pressure});
		send_frame(p, WIRE_PRESSURE, frame, -1);
		p->pressure_told = q->pressure;
	}
}

static bool is_congested(struct queue_role *q)
{
	uint64_t counts[STORE_STATE_MAX + 1];

	/* The store keeps these numbers in memory. */
	return q->conf->congested_recipients && q->store->ops->counts(q->store, counts) == STORE_OK &&
	       counts[STORE_WAITING] + counts[STORE_CLAIMED] + counts[STORE_HELD] >= q->conf->congested_recipients;
}

static void tell_congestion(struct queue_role *q)
{
	bool congested = is_congested(q);

	for (size_t i = 0; i < PEERS_MAX; i++) {
		struct queue_peer *p = &q->peers[i];
		if (!p->channel || p->who.kind != ROLE_RECEIVER || p->congestion_told == congested)
			continue;
		struct buf *frame = new_frame(q);
		wire_put_number(frame, congested);
		send_frame(p, WIRE_CONGESTION, frame, -1);
		p->congestion_told = congested;
	}
}

static bool on_receiver_frame(struct queue_peer *p, uint16_t type, struct slice payload)
{
	switch (type) {
	case WIRE_PUT:
		return on_put(p, payload);
	case WIRE_SPOOL_OPEN:
		return on_spool_open(p, payload);
	case WIRE_SPOOL_DROP:
		return on_spool_drop(p, payload);
	case WIRE_IDS_WANTED:
		return payload.n == 0 && on_ids_wanted(p);
	default:
		return false;
	}
}

/* ---- couriers ------------------------------------------------------------------------------------------------- */

/* The engine knows a courier by its place and generation, so that a new process is a new courier. */
static uint32_t courier_of(const struct queue_peer *p)
{
	return (uint32_t)(p - p->queue->peers) | p->generation << 8;
}

static struct queue_peer *peer_of_courier(struct queue_role *q, uint32_t courier)
{
	struct queue_peer *p = &q->peers[courier & 0xff];

	return p->channel && courier_of(p) == courier ? p : NULL;
}

static_assert(PEERS_MAX <= 256, "a courier's number holds the place in 8 bits");
static_assert(QUEUE_COURIERS_MAX > CONF_PROCESS_MAX, "none is sent away for good");

static bool on_courier_frame(struct queue_peer *p, uint16_t type, struct slice payload)
{
	struct queue_engine *e = p->queue->engine;
	struct queue_outcome outcome;
	uint64_t job;

	if (type == WIRE_OUTCOME && wire_get_outcome(payload, &outcome)) {
		queue_engine_outcome(e, courier_of(p), &outcome);
		return true;
	}
	if (type == WIRE_JOB_DONE && wire_get_number(payload, &job)) {
		queue_engine_job_done(e, courier_of(p), job);
		return true;
	}
	if (type == WIRE_JOB_RETURNED && wire_get_number(payload, &job)) {
		queue_engine_job_returned(e, courier_of(p), job);
		return true;
	}
	if (type == WIRE_JOB_DAMAGED && wire_get_number(payload, &job)) {
		queue_engine_job_damaged(e, courier_of(p), job);
		return true;
	}
	if (type == WIRE_LEAVING && payload.n == 0) {
		queue_engine_courier_leaves(e, courier_of(p));
		return true;
	}
	return false;
}

static void send_job(struct queue_role *q, const struct queue_job *job)
{
	struct queue_peer *p = peer_of_courier(q, job->courier);
	struct buf *frame = new_frame(q);
	struct file *file = NULL;

	/* The courier may have gone in this very turn; the engine is told when its channel closes. */
	if (!p)
		return;
	/* Without its file the courier gives the job back as deferred, and says so in the log. */
	if (job->body_in_file && store_spool_open(q->fs, job->id, &file) != STORE_OK)
		file = NULL;
	wire_put_job(frame, job);
	send_frame(p, WIRE_JOB, frame, file ? file_fd(file) : -1);
	if (file)
		file->ops->close(file);
	if (frame->cap > CHANNEL_FRAME_MAX / 8)
		buf_free(frame);
}

/* ---- tools ---------------------------------------------------------------------------------------------------- */

struct listing {
	struct queue_peer *peer;
	uint32_t limit;
	uint64_t count;
	queue_ms now;
};

static bool list_row(void *arg, const struct store_message *m, const struct store_rcpt *r)
{
	struct listing *l = arg;
	struct buf *frame = new_frame(l->peer->queue);
	struct wire_row row = {.message = *m, .rcpt = *r, .age = l->now - m->arrived_queue, .due_in = r->due - l->now};

	/* Returning false leaves this recipient for the next list. */
	if (l->count == l->limit)
		return false;
	struct queue_site_view site;
	if (r->state == STORE_WAITING && r->attempts == 0 &&
	    queue_engine_site(l->peer->queue->engine, r->site, &site) && site.paused > 0) {
		row.rests = site.paused;
		row.site_last = site.last;
		row.site_remote = site.last_remote;
	}
	wire_put_row(frame, &row);
	send_frame(l->peer, WIRE_ROW, frame, -1);
	l->count++;
	return true;
}

static void send_end(struct queue_peer *p, const struct wire_end *end)
{
	struct buf *frame = new_frame(p->queue);

	wire_put_end(frame, end);
	send_frame(p, WIRE_END, frame, -1);
}

static bool on_list(struct queue_peer *p, struct slice payload)
{
	struct queue_role *q = p->queue;
	struct wire_list request;

	if (!wire_get_list(payload, &request))
		return false;
	struct listing l = {.peer = p, .limit = request.limit, .now = queue_engine_now(q->engine)};
	struct wire_end end = {.cursor = request.cursor};
	end.result = q->store->ops->list(q->store, &request.filter, l.now, &end.cursor, list_row, &l);
	end.count = l.count;
	send_end(p, &end);
	return true;
}

static bool history_line(void *arg, const struct store_history *line)
{
	struct queue_peer *p = arg;
	struct buf *frame = new_frame(p->queue);

	wire_put_history(frame, line);
	send_frame(p, WIRE_HISTORY, frame, -1);
	return true;
}

static bool on_trace(struct queue_peer *p, struct slice payload)
{
	struct queue_role *q = p->queue;
	struct wire_trace trace = {0};
	uint64_t id;

	if (!wire_get_number(payload, &id) || id == 0 || id > MSG_ID_MAX)
		return false;
	arena_reset(&q->arena);
	enum store_result result = q->store->ops->load(q->store, id, &q->arena, &trace.message);
	if (result == STORE_CORRUPT && trace.message.damaged)
		result = STORE_OK;
	if (result != STORE_OK) {
		send_end(p, &(struct wire_end){.result = result});
		return true;
	}
	queue_ms now = queue_engine_now(q->engine);
	trace.age = now - trace.message.arrived_queue;
	struct buf *frame = new_frame(q);
	wire_put_trace(frame, &trace);
	send_frame(p, WIRE_MESSAGE, frame, -1);
	struct listing l = {.peer = p, .limit = UINT32_MAX, .now = now};
	struct store_filter filter = {.id = id, .state = -2};
	struct store_cursor cursor = {0};
	while (result == STORE_OK && !cursor.end)
		result = q->store->ops->list(q->store, &filter, now, &cursor, list_row, &l);
	if (result == STORE_OK)
		result = q->store->ops->history(q->store, id, history_line, p);
	send_end(p, &(struct wire_end){.result = result, .count = 1});
	return true;
}

static bool on_operate(struct queue_peer *p, struct slice payload)
{
	struct queue_role *q = p->queue;
	struct wire_operate request;
	struct store_cursor cursor = {0};
	struct wire_end end = {0};

	if (!wire_get_operate(payload, &request))
		return false;
	while (end.result == STORE_OK && !cursor.end) {
		size_t count = 0, busy = 0;
		end.result = queue_engine_operate(q->engine, request.verb, &request.filter, &cursor, OPERATE_AT_ONCE,
						  &count, &busy);
		end.count += count;
		end.busy += busy;
	}
	send_end(p, &end);
	return true;
}

static bool site_line(void *arg, const struct queue_site_view *site)
{
	struct queue_peer *p = arg;
	struct buf *frame = new_frame(p->queue);

	wire_put_site(frame, site);
	send_frame(p, WIRE_SITE, frame, -1);
	return true;
}

static bool on_status(struct queue_peer *p)
{
	struct queue_role *q = p->queue;
	struct wire_end end = {0};

	queue_engine_sites(q->engine, site_line, p);
	end.result = q->store->ops->counts(q->store, end.states);
	send_end(p, &end);
	return true;
}

/* ---- backups -------------------------------------------------------------------------------------------------- */

static void end_hold(struct queue_role *q, const char *how)
{
	if (!q->hold)
		return;
	log_event(LOG_BACKUP, LOG_NUMBER("hold", q->hold), LOG_CSTR("state", how));
	if (store_sqlite_holds(q->store, q->hold))
		store_sqlite_release(q->store);
	q->hold = 0;
	q->hold_ends = NEVER;
}

/* After the commit: what the hold keeps is everything that was promised until now. */
static void begin_hold(struct queue_role *q)
{
	struct wire_end end = {0};

	if (!q->backup)
		return;
	end.result = store_sqlite_hold(q->store, &end.count);
	if (end.result == STORE_OK) {
		q->hold = end.count;
		q->hold_ends = loop_mono(q->loop) + WIRE_BACKUP_LEASE;
		log_event(LOG_BACKUP, LOG_NUMBER("hold", q->hold), LOG_CSTR("state", "begun"));
	}
	send_end(q->backup, &end);
	q->backup = NULL;
}

/* The store ends a hold by itself when it must. */
static void look_after_hold(struct queue_role *q)
{
	if (q->hold && !store_sqlite_holds(q->store, q->hold))
		end_hold(q, "broken off: the log grew too long, space ran short, or the store had to be reopened");
	if (q->hold_ends <= loop_mono(q->loop))
		end_hold(q, "given up: nobody asked for it any more");
}

static bool on_backup(struct queue_peer *p, struct slice payload)
{
	struct queue_role *q = p->queue;
	struct wire_backup request;

	if (!wire_get_backup(payload, &request))
		return false;
	look_after_hold(q);
	if (request.verb == WIRE_BACKUP_BEGIN) {
		q->backup = p;
		return true;
	}
	bool lasts = q->hold == request.number;
	if (lasts && request.verb == WIRE_BACKUP_RENEW)
		q->hold_ends = loop_mono(q->loop) + WIRE_BACKUP_LEASE;
	if (lasts && request.verb == WIRE_BACKUP_FINISH)
		end_hold(q, "finished");
	send_end(p, &(struct wire_end){.result = lasts ? STORE_OK : STORE_NOT_FOUND, .count = request.number});
	return true;
}

static bool on_admin_frame(struct queue_peer *p, uint16_t type, struct slice payload)
{
	switch (type) {
	case WIRE_LIST:
		return on_list(p, payload);
	case WIRE_TRACE:
		return on_trace(p, payload);
	case WIRE_OPERATE:
		return on_operate(p, payload);
	case WIRE_STATUS:
		return payload.n == 0 && on_status(p);
	case WIRE_BACKUP:
		return on_backup(p, payload);
	default:
		return false;
	}
}

/* ---- peers ---------------------------------------------------------------------------------------------------- */

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct queue_peer *p = arg;

	if (fd >= 0) {
		descriptor_close(fd);
		return false;
	}
	wake(p->queue);
	switch (p->who.kind) {
	case ROLE_RECEIVER:
		return on_receiver_frame(p, type, payload);
	case ROLE_SENDER:
	case ROLE_MAILBOX:
		return on_courier_frame(p, type, payload);
	case ROLE_ADMIN:
		return on_admin_frame(p, type, payload);
	default:
		return false;
	}
}

static bool is_courier(const struct queue_peer *p)
{
	return p->who.kind == ROLE_SENDER || p->who.kind == ROLE_MAILBOX;
}

static void lose_peer(struct queue_peer *p)
{
	if (!p->channel)
		return;
	wake(p->queue);
	if (is_courier(p))
		queue_engine_courier_down(p->queue->engine, courier_of(p));
	if (p->queue->backup == p)
		p->queue->backup = NULL;
	channel_free(p->channel);
	p->channel = NULL;
	p->generation = (p->generation + 1) & 0xffffff;
}

static void on_closed(void *arg, const char *why)
{
	struct queue_peer *p = arg;

	if (why || !p->queue->draining)
		log_event(LOG_PEER_LOST, LOG_CSTR("peer", role_name(p->who.kind)), LOG_NUMBER("index", p->who.index),
			  LOG_CSTR("reason", why ? why : "closed"));
	lose_peer(p);
}

static struct queue_peer *place_for(struct queue_role *q, struct wire_peer who)
{
	struct queue_peer *unused = NULL;

	for (size_t i = 0; i < PEERS_MAX; i++) {
		struct queue_peer *p = &q->peers[i];
		if (p->channel && p->who.kind == who.kind && p->who.index == who.index)
			return p;
		if (!p->channel && !unused)
			unused = p;
	}
	return unused;
}

static void queue_peer_came(void *arg, struct wire_peer who, int fd)
{
	static const struct channel_handler handler = {on_frame, on_closed};
	struct queue_role *q = arg;
	struct queue_peer *p = place_for(q, who);

	if (!p) {
		descriptor_close(fd);
		return;
	}
	lose_peer(p);
	p->queue = q;
	p->who = who;
	p->wants_ids = p->unreachable = false;
	p->pressure_told = STORE_OK;
	p->congestion_told = false;
	wake(q);
	p->channel = channel_new(q->loop, fd, &handler, p);
	if (!p->channel || !is_courier(p))
		return;
	enum queue_courier_kind kind = who.kind == ROLE_SENDER ? QUEUE_COURIER_SENDER : QUEUE_COURIER_MAILBOX;
	if (queue_engine_courier_up(q->engine, courier_of(p), kind))
		return;
	/* It sees its channel close, and asks for another. */
	log_event(LOG_NO_MEMORY, LOG_CSTR("what", "a courier"));
	lose_peer(p);
}

/* ---- turns ---------------------------------------------------------------------------------------------------- */

static void log_outcome(enum log_event_id id, const struct queue_event *ev)
{
	const struct smtp_outcome *o = &ev->outcome;

	log_event(id, LOG_ID("id", ev->id), LOG_TEXT("to", ev->rcpt), LOG_TEXT("from", ev->sender),
		  LOG_TEXT("remote", ev->remote), LOG_CSTR("stage", smtp_stage_name(o->stage)),
		  LOG_NUMBER("code", o->code), LOG_STATUS("status", o->status), LOG_TEXT("text", o->text),
		  LOG_TEXT("secured", o->secured), LOG_NUMBER("delay_ms", ev->delay));
}

static void log_queue_event(const struct queue_event *ev)
{
	switch (ev->type) {
	case QUEUE_EVENT_DELIVERED:
		log_outcome(LOG_DELIVERED, ev);
		break;
	case QUEUE_EVENT_DEFERRED:
		log_outcome(LOG_DEFERRED, ev);
		break;
	case QUEUE_EVENT_FAILED:
		log_outcome(LOG_FAILED, ev);
		break;
	case QUEUE_EVENT_REPORT:
		log_event(LOG_REPORT, LOG_ID("id", ev->id), LOG_ID("about", ev->about), LOG_TEXT("to", ev->rcpt));
		break;
	case QUEUE_EVENT_DROPPED_BOUNCE:
		log_event(LOG_BOUNCE_DROPPED, LOG_ID("id", ev->id), LOG_TEXT("to", ev->rcpt));
		break;
	case QUEUE_EVENT_STORE_FAILED:
		log_event(LOG_STORE_FAILED, LOG_CSTR("reason", store_result_text(ev->result)));
		break;
	case QUEUE_EVENT_STORE_REOPENED:
		log_event(LOG_STORE_REOPENED, LOG_CSTR("result", store_result_text(ev->result)));
		break;
	case QUEUE_EVENT_CORRUPT:
		log_event(LOG_STORE_CORRUPT, LOG_ID("id", ev->id));
		break;
	}
}

/* What a put or the store itself came to says what the next message may expect. */
static void set_pressure(struct queue_role *q, enum store_result result)
{
	if (result != STORE_OK && result != STORE_FULL && result != STORE_IO)
		return;
	q->pressure = result;
	q->pressure_ends = result == STORE_OK ? NEVER : loop_mono(q->loop) + PRESSURE_LASTS;
}

/* Only a start of its own can put the database aside. */
static bool gave_up(struct queue_role *q)
{
	if (!queue_engine_is_stuck(q->engine) || q->draining || store_sqlite_suspect(q->fs) != STORE_OK)
		return false;
	log_event(LOG_STORE_SUSPECT, LOG_CSTR("reason", "every transaction finds it damaged"));
	q->self->finished(q->self->arg, EX_DATAERR);
	return true;
}

static void queue_turn(void *arg)
{
	struct queue_role *q = arg;
	struct queue_action action;

	q->awake = false;
	queue_engine_turn(q->engine, times_of(q));
	while (queue_engine_next(q->engine, &action)) {
		switch (action.type) {
		case QUEUE_ACTION_ANSWER:
			set_pressure(q, action.result);
			answer_put(q, action.tag, action.result);
			break;
		case QUEUE_ACTION_JOB:
			send_job(q, &action.job);
			break;
		case QUEUE_ACTION_EVENT:
			if (action.event.type == QUEUE_EVENT_STORE_FAILED)
				set_pressure(q, action.event.result);
			if (action.event.type == QUEUE_EVENT_STORE_REOPENED)
				set_pressure(q, STORE_OK);
			log_queue_event(&action.event);
			break;
		}
	}
	if (q->pressure_ends <= loop_mono(q->loop))
		set_pressure(q, STORE_OK);
	look_after_hold(q);
	begin_hold(q);
	tell_pressure(q);
	tell_congestion(q);
	mono_ms ids_again = give_missing_ids(q);
	for (size_t i = 0; i < PEERS_MAX; i++)
		if (q->peers[i].unreachable)
			lose_peer(&q->peers[i]);
	if (gave_up(q))
		return;
	if (q->stopping && queue_engine_under_way(q->engine) == 0 && !queue_engine_owes(q->engine)) {
		q->self->finished(q->self->arg, 0);
		return;
	}
	mono_ms deadline = queue_engine_deadline(q->engine);
	if (q->pressure_ends < deadline)
		deadline = q->pressure_ends;
	if (q->hold_ends < deadline)
		deadline = q->hold_ends;
	loop_timer_set(q->timer, ids_again < deadline ? ids_again : deadline);
}

/* The turn function does the work; the timer only makes a turn happen. */
static void on_timer(void *arg)
{
	(void)arg;
}

/* ---- the role ------------------------------------------------------------------------------------------------- */

static void *queue_start(struct loop *l, const struct role_self *self)
{
	struct queue_role *q = heap_new(struct queue_role);

	if (!q)
		return NULL;
	*q = (struct queue_role){.loop = l, .self = self, .pressure_ends = NEVER, .hold_ends = NEVER};
	arena_init(&q->arena, FRAME_ARENA_MAX);
	buf_init(&q->frame, CHANNEL_FRAME_MAX);
	buf_init(&q->boot_id, 64);
	buf_init(&q->path, 4096);
	host_boot_id(&q->boot_id);
	q->timer = loop_timer_new(l, on_timer, q);
	return q;
}

static void on_salvaged(void *arg, enum store_salvage_fate fate, msg_id id, const char *text)
{
	(void)arg;
	log_event(fate == STORE_SALVAGE_LOST ? LOG_STORE_LOST : LOG_STORE_CORRUPT, LOG_ID("id", id),
		  LOG_CSTR("reason", text));
}

/* A damaged database goes into quarantine, and what can be read of it into a new one. */
static enum store_result salvage(struct queue_role *q, const char *path, struct buf *why)
{
	struct store_salvage_config config = {
		.path = path, .fs = q->fs, .wall = loop_wall(q->loop), .tell = on_salvaged, .arg = q};
	struct store_salvage done;

	log_event(LOG_STORE_SUSPECT, LOG_CSTR("database", path), LOG_TEXT("reason", buf_slice(why)));
	buf_reset(why);
	enum store_result result = store_sqlite_salvage(&config, &done, why);
	if (result == STORE_OK)
		log_event(LOG_STORE_QUARANTINED, LOG_CSTR("place", done.place), LOG_NUMBER("messages", done.messages),
			  LOG_NUMBER("open", done.open), LOG_NUMBER("held", done.held), LOG_NUMBER("lost", done.lost),
			  LOG_NUMBER("forgotten", done.forgotten), LOG_NUMBER("files", done.files));
	return result;
}

static enum store_result open_or_salvage(struct queue_role *q, const struct store_sqlite_config *config,
					 struct buf *why)
{
	bool suspect = false;
	enum store_result result = store_sqlite_salvage_finish(q->fs);

	if (!result)
		result = store_sqlite_is_suspect(q->fs, &suspect);
	if (result)
		return result;
	if (suspect)
		result = STORE_CORRUPT;
	else
		result = store_sqlite_open(config, &q->store, why);
	if (result == STORE_OK && buf_len(why) > 0)
		log_event(LOG_STORE_TAIL, LOG_TEXT("reason", buf_slice(why)));
	if (result != STORE_CORRUPT)
		return result;
	result = salvage(q, config->path, why);
	return result ? result : store_sqlite_open(config, &q->store, why);
}

static bool open_store(struct queue_role *q)
{
	struct buf why;
	int error = fs_posix_open(q->conf->data_dir.p, &q->fs);

	if (error) {
		log_event(LOG_START_FAILED, LOG_TEXT("directory", q->conf->data_dir),
			  LOG_CSTR("reason", strerror(error)));
		return false;
	}
	buf_init(&why, 4096);
	buf_reset(&q->path);
	buf_add(&q->path, q->conf->data_dir);
	buf_add_lit(&q->path, "/queue.db");
	struct store_sqlite_config config = {.path = buf_cstr(&q->path),
					     .fs = q->fs,
					     .reserve = q->conf->disk_reserve,
					     .wall = loop_wall(q->loop),
					     .recovery_grace = q->conf->recovery_grace};
	enum store_result result = config.path ? open_or_salvage(q, &config, &why) : STORE_NO_MEMORY;
	if (result != STORE_OK)
		log_event(LOG_START_FAILED, LOG_CSTR("database", config.path),
			  LOG_CSTR("reason", store_result_text(result)), LOG_TEXT("detail", buf_slice(&why)));
	buf_free(&why);
	return result == STORE_OK;
}

static bool queue_configure(void *arg, struct conf *conf)
{
	struct queue_role *q = arg;
	struct conf *old = q->conf;

	q->conf = conf_ref(conf);
	q->engine_config = conf->queue;
	q->engine_config.boot_id = buf_slice(&q->boot_id);
	q->engine_config.fs = q->fs;
	if (q->engine) {
		queue_engine_configure(q->engine, &q->engine_config);
		conf_unref(old);
		return true;
	}
	if (!open_store(q))
		return false;
	q->engine_config.fs = q->fs;
	q->engine = queue_engine_new(&q->engine_config, q->store, times_of(q));
	if (!q->engine)
		return false;
	q->self->ready(q->self->arg);
	return true;
}

static void queue_drain(void *arg)
{
	struct queue_role *q = arg;

	q->draining = true;
	queue_engine_drain(q->engine);
}

static void queue_stop(void *arg)
{
	struct queue_role *q = arg;

	/* Couriers have ended by now: their channels closed, and what they left under way is settled in the next turn.
	 */
	q->stopping = true;
	queue_engine_drain(q->engine);
}

static void queue_end(void *arg)
{
	struct queue_role *q = arg;
	struct queue_action action;

	for (size_t i = 0; i < PEERS_MAX; i++)
		if (q->peers[i].queue)
			lose_peer(&q->peers[i]);
	if (q->engine) {
		queue_engine_turn(q->engine, times_of(q));
		while (queue_engine_next(q->engine, &action))
			if (action.type == QUEUE_ACTION_ANSWER)
				heap_free((void *)(uintptr_t)action.tag);
		queue_engine_free(q->engine, times_of(q));
	}
	if (q->store)
		q->store->ops->close(q->store);
	if (q->fs)
		q->fs->ops->close(q->fs);
	loop_timer_free(q->timer);
	conf_unref(q->conf);
	arena_free(&q->arena);
	buf_free(&q->frame);
	buf_free(&q->boot_id);
	buf_free(&q->path);
	heap_free(q);
}

const struct role_ops queue_role = {
	.start = queue_start,
	.configure = queue_configure,
	.peer = queue_peer_came,
	.drain = queue_drain,
	.stop = queue_stop,
	.turn = queue_turn,
	.end = queue_end,
};
