/*
 * The receiver: SMTP and LMTP server sessions. It faces the world and owns nothing: mail goes to the queue, and every
 * answer that promises something comes from there.
 */
#include "role/receiver_private.h"

#include "base/heap.h"
#include "net/descriptor.h"
#include "net/fs_posix.h"
#include "net/log.h"

#include <assert.h>
#include <string.h>
#include <sysexits.h>

#define SLOTS_FIRST     64
#define SLOTS_MAX       ((uint32_t)1 << 20)

static_assert(CONF_PROCESS_MAX <= RATE_SHARERS_MAX, "each receiver has a column of its own in the counts");

/* At the start, so long clients wait for queue and keys; then they hear from us that one is not there. */
#define LISTEN_PATIENCE (5 * SECOND)

/* A listener's socket with the number of its entry in the configuration. */
struct accepting {
	struct receiver *receiver;
	struct listener *listener; /* NULL: not yet heard */
	uint32_t number;
	int fd; /* until it is heard */
};

/* ---- sessions ------------------------------------------------------------------------------------------------- */

static bool grow_slots(struct receiver *r)
{
	uint32_t count = r->slot_count ? r->slot_count * 2 : SLOTS_FIRST;

	if (count > SLOTS_MAX)
		return false;
	struct session **slots = heap_resize(r->slots, count * sizeof *slots);
	if (!slots)
		return false;
	r->slots = slots;
	uint32_t *generations = heap_resize(r->generations, count * sizeof *generations);
	if (!generations)
		return false;
	r->generations = generations;
	for (uint32_t i = r->slot_count; i < count; i++) {
		r->slots[i] = NULL;
		r->generations[i] = 0;
	}
	r->free_hint = r->slot_count;
	r->slot_count = count;
	return true;
}

bool receiver_add_session(struct receiver *r, struct session *s, uint64_t *ret_tag)
{
	if (r->sessions == r->slot_count && !grow_slots(r))
		return false;
	uint32_t i = r->free_hint;
	while (r->slots[i])
		i = (i + 1) % r->slot_count;
	r->slots[i] = s;
	r->free_hint = (i + 1) % r->slot_count;
	r->sessions++;
	*ret_tag = (uint64_t)i << 32 | ++r->generations[i];
	return true;
}

static void finish_if_idle(struct receiver *r)
{
	if (r->stopping && r->sessions == 0)
		r->self->finished(r->self->arg, 0);
}

void receiver_remove_session(struct receiver *r, uint64_t tag)
{
	r->slots[tag >> 32] = NULL;
	r->free_hint = (uint32_t)(tag >> 32);
	r->sessions--;
	finish_if_idle(r);
}

struct session *receiver_find_session(const struct receiver *r, uint64_t tag)
{
	uint32_t slot = (uint32_t)(tag >> 32);

	return slot < r->slot_count && r->generations[slot] == (uint32_t)tag ? r->slots[slot] : NULL;
}

/* ---- listeners ------------------------------------------------------------------------------------------------ */

static void on_accepted(void *arg, int fd, const struct net_address *from)
{
	struct accepting *a = arg;

	session_open(a->receiver, &a->receiver->conf->listeners[a->number], fd, from);
}

/* False: no memory, and the socket is closed. */
static bool listen_on(struct accepting *a)
{
	struct receiver *r = a->receiver;

	a->listener = listener_new(r->loop, a->fd, buf_slice(&r->busy), on_accepted, a);
	return a->listener != NULL;
}

/* It would never hear that socket again: the next one gets all of them. */
static void end_without_listener(struct receiver *r)
{
	log_event(LOG_NO_MEMORY, LOG_CSTR("what", "a socket to listen on"));
	r->self->finished(r->self->arg, EX_OSERR);
}

/*
 * Nobody is greeted before the queue has given ids, the keys role its certificates, and the auth role is there: until
 * then no message can be taken, or not under TLS or from users, and who waits a moment in the socket's line is better
 * off than who is told to come again.
 */
static void start_listening(struct receiver *r)
{
	size_t kept = 0;

	r->listening = true;
	for (size_t i = 0; i < r->listener_count; i++) {
		struct accepting *a = r->accepting[i];
		if (a->listener || listen_on(a))
			r->accepting[kept++] = a;
		else
			heap_free(a);
	}
	bool lost = kept < r->listener_count;
	r->listener_count = kept;
	if (lost)
		end_without_listener(r);
}

void receiver_listen_if_ready(struct receiver *r)
{
	if (r->next_id == r->end_id && !r->spare_block)
		return;
	if (conf_has_tls(r->conf) && !r->keys_heard)
		return;
	if (conf_has_auth(r->conf) && !r->auth_heard)
		return;
	start_listening(r);
	r->self->ready(r->self->arg);
}

static void on_patience(void *arg)
{
	start_listening(arg);
}

static void receiver_listener(void *arg, uint32_t number, int fd)
{
	struct receiver *r = arg;
	struct accepting *a = heap_new(struct accepting);
	size_t max = sizeof r->accepting / sizeof *r->accepting;

	if (!a || r->stopping || number >= r->conf->listener_count || r->listener_count == max) {
		heap_free(a);
		descriptor_close(fd);
		if (!a && !r->stopping)
			end_without_listener(r);
		return;
	}
	*a = (struct accepting){.receiver = r, .number = number, .fd = fd};
	if (r->listening && !listen_on(a)) {
		heap_free(a);
		end_without_listener(r);
		return;
	}
	r->accepting[r->listener_count++] = a;
}

static void close_listeners(struct receiver *r)
{
	for (size_t i = 0; i < r->listener_count; i++) {
		listener_free(r->accepting[i]->listener);
		if (!r->accepting[i]->listener)
			descriptor_close(r->accepting[i]->fd);
		heap_free(r->accepting[i]);
	}
	r->listener_count = 0;
}

/* ---- the queue ------------------------------------------------------------------------------------------------ */

bool receiver_send(struct receiver *r, uint16_t type, struct slice payload)
{
	return r->queue && channel_send(r->queue, type, payload, -1);
}

static void want_ids(struct receiver *r)
{
	if (r->ids_wanted || r->spare_block)
		return;
	r->ids_wanted = receiver_send(r, WIRE_IDS_WANTED, SLICE_NONE);
}

msg_id receiver_take_id(struct receiver *r)
{
	if (r->next_id == r->end_id && r->spare_block) {
		r->next_id = r->spare_block << MSG_ID_BLOCK_BITS;
		r->end_id = (r->spare_block + 1) << MSG_ID_BLOCK_BITS;
		r->spare_block = 0;
	}
	want_ids(r);
	return r->next_id < r->end_id ? r->next_id++ : 0;
}

bool receiver_has_ids(struct receiver *r)
{
	/* The question may have been lost for want of memory. */
	want_ids(r);
	return r->next_id < r->end_id || r->spare_block;
}

static bool on_ids(struct receiver *r, struct slice payload)
{
	uint64_t block;

	if (!wire_get_number(payload, &block) || block == 0 || block >= MSG_ID_MAX >> MSG_ID_BLOCK_BITS)
		return false;
	r->ids_wanted = false;
	r->spare_block = block;
	receiver_listen_if_ready(r);
	return true;
}

static void on_spool(struct receiver *r, const struct wire_answer *answer, int fd)
{
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i] && session_waits_for_spool(r->slots[i]) == answer->tag) {
			session_spool(r->slots[i], answer->result, fd);
			return;
		}
	if (fd >= 0)
		descriptor_close(fd);
}

static bool on_congestion(struct receiver *r, struct slice payload)
{
	uint64_t congested;

	if (!wire_get_number(payload, &congested) || congested > 1)
		return false;
	r->congested = congested;
	return true;
}

static bool on_queue_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct receiver *r = arg;
	struct wire_answer answer;

	if (type == WIRE_SPOOL && wire_get_answer(payload, &answer) && (answer.result != STORE_OK || fd >= 0)) {
		on_spool(r, &answer, fd);
		return true;
	}
	if (fd >= 0) {
		descriptor_close(fd);
		return false;
	}
	if (type == WIRE_IDS)
		return on_ids(r, payload);
	if (type == WIRE_CONGESTION)
		return on_congestion(r, payload);
	if (!wire_get_answer(payload, &answer))
		return false;
	if (type == WIRE_PRESSURE) {
		r->pressure = answer.result;
		return true;
	}
	if (type != WIRE_ANSWER)
		return false;
	struct session *s = receiver_find_session(r, answer.tag);
	if (s)
		session_answer(s, answer.result);
	return true;
}

static void lose_queue(struct receiver *r)
{
	channel_free(r->queue);
	r->queue = NULL;
	r->ids_wanted = r->congested = false;
	r->pressure = STORE_OK; /* the next one says so if it is not */
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i])
			session_queue_lost(r->slots[i]);
}

static void on_queue_closed(void *arg, const char *why)
{
	struct receiver *r = arg;

	log_event(LOG_PEER_LOST, LOG_CSTR("peer", "queue"), LOG_CSTR("reason", why ? why : "closed"));
	lose_queue(r);
	r->self->queue_lost(r->self->arg);
}

/* ---- the role ------------------------------------------------------------------------------------------------- */

static void *receiver_start(struct loop *l, const struct role_self *self)
{
	struct receiver *r = heap_new(struct receiver);

	if (!r)
		return NULL;
	assert(self->index < RATE_SHARERS_MAX);
	*r = (struct receiver){.loop = l, .self = self, .since = loop_mono(l)};
	crc32c_init(&r->crc);
	buf_init(&r->frame, CHANNEL_FRAME_MAX);
	buf_init(&r->busy, 512);
	r->patience = loop_timer_new(l, on_patience, r);
	if (r->patience)
		loop_timer_set(r->patience, r->since + LISTEN_PATIENCE);
	return r;
}

static void on_resolved(void *arg, uint64_t tag, enum resolver_answer answer)
{
	struct session *s = receiver_find_session(arg, tag);

	if (s)
		session_resolved(s, answer);
}

/* Made anew at each configuration: the name servers of the system may be others, too. */
static void renew_resolver(struct receiver *r)
{
	resolver_free(r->resolver);
	r->resolver = NULL;
	if (!conf_asks_dns(r->conf))
		return;
	r->resolver = resolver_new(r->loop, r->conf->resolver, on_resolved, r);
	if (!r->resolver)
		log_event(LOG_NO_RESOLVER, LOG_TEXT("resolver", r->conf->resolver));
}

static void receiver_counts(void *arg, struct rate_table *shared)
{
	struct receiver *r = arg;

	r->counts = shared;
	r->counts_key = shared->key;
	/* What a former process of this number had under way went with it. */
	rate_forget(shared, r->self->index);
}

/* Nobody gave us counts to share: limits then hold for this receiver alone. */
static bool have_counts(struct receiver *r)
{
	if (r->counts)
		return true;
	r->counts = r->own_counts = heap_new(struct rate_table);
	r->counts_key = loop_hash_key(r->loop);
	return r->counts != NULL;
}

static bool receiver_configure(void *arg, struct conf *conf)
{
	struct receiver *r = arg;

	if (!have_counts(r))
		return false;
	conf_unref(r->conf);
	r->conf = conf_ref(conf);
	renew_resolver(r);
	close_listeners(r);
	buf_reset(&r->busy);
	return reply_format(&r->busy, &(struct reply){REPLY_GREETING_BUSY, {conf->hostname}});
}

static void receiver_peer(void *arg, struct wire_peer peer, int fd)
{
	static const struct channel_handler handler = {on_queue_frame, on_queue_closed};
	struct receiver *r = arg;

	if (peer.kind == ROLE_KEYS) {
		receiver_use_keys(r, fd);
		return;
	}
	if (peer.kind == ROLE_AUTH) {
		receiver_use_auth(r, fd);
		return;
	}
	if (peer.kind != ROLE_QUEUE) {
		descriptor_close(fd);
		return;
	}
	if (r->queue)
		lose_queue(r);
	r->queue = channel_new(r->loop, fd, &handler, r);
	if (!r->queue)
		r->self->queue_lost(r->self->arg);
	want_ids(r);
}

static void receiver_stop(void *arg)
{
	struct receiver *r = arg;

	r->stopping = true;
	close_listeners(r);
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i])
			session_shutdown(r->slots[i]);
	/* Who waits for the DNS has an answer now, and goes: a stop takes no longer than a name server does. */
	resolver_free(r->resolver);
	r->resolver = NULL;
	finish_if_idle(r);
}

static void receiver_end(void *arg)
{
	struct receiver *r = arg;

	close_listeners(r);
	r->stopping = false;
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i])
			session_abandon(r->slots[i]);
	resolver_free(r->resolver);
	loop_timer_free(r->patience);
	channel_free(r->queue);
	receiver_end_keys(r);
	receiver_end_auth(r);
	conf_unref(r->conf);
	heap_free(r->slots);
	heap_free(r->generations);
	heap_free(r->own_counts);
	buf_free(&r->frame);
	buf_free(&r->busy);
	heap_free(r);
}

const struct role_ops receiver_role = {
	.start = receiver_start,
	.configure = receiver_configure,
	.counts = receiver_counts,
	.listener = receiver_listener,
	.peer = receiver_peer,
	.stop = receiver_stop,
	.end = receiver_end,
};
