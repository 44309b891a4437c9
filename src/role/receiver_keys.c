/*
 * The receiver's connection to the keys role: certificates and the secrets of tickets come from there, and signatures.
 * While it is away nobody new gets TLS; sessions that have it go on.
 */
#include "role/receiver_private.h"

#include "net/descriptor.h"
#include "net/log.h"

#include "base/heap.h"

#include <string.h>

struct tls_server *receiver_tls(const struct receiver *r)
{
	return r->keys ? r->tls : NULL;
}

static bool on_certificates(struct receiver *r, struct slice payload)
{
	struct wire_certificates *certificates = heap_new(struct wire_certificates);
	struct tls_server *fresh = NULL;
	const char *why = NULL;

	bool good = certificates && wire_get_certificates(payload, certificates);
	if (good && certificates->count > 0) {
		fresh = tls_server_new(certificates->list, certificates->count, &why);
		if (!fresh)
			log_event(LOG_CERTIFICATE_FAILED, LOG_CSTR("reason", why));
	}
	/* What nobody can use leaves the old ones in force. */
	if (good && !why) {
		tls_server_unref(r->tls);
		r->tls = fresh;
		if (fresh)
			tls_server_set_tickets(fresh, &r->tickets);
	}
	heap_free(certificates);
	r->keys_heard |= good;
	return good;
}

static bool on_trust(struct receiver *r, struct slice payload)
{
	struct tls_trust_text text;
	const char *why = "";

	if (!wire_get_trust(payload, &text))
		return false;
	tls_trust_unref(r->trust);
	r->trust = text.authorities.n > 0 ? tls_trust_new(&text, &why) : NULL;
	if (text.authorities.n > 0 && !r->trust)
		log_event(LOG_TRUST_FAILED, LOG_CSTR("reason", why));
	return true;
}

static bool on_tickets(struct receiver *r, struct slice payload)
{
	if (!wire_get_tickets(payload, &r->tickets))
		return false;
	if (r->tls)
		tls_server_set_tickets(r->tls, &r->tickets);
	return true;
}

static bool on_signed(struct receiver *r, struct slice payload)
{
	struct wire_signed answer;

	if (!wire_get_signed(payload, &answer))
		return false;
	struct session *s = receiver_find_session(r, answer.tag);
	if (s)
		session_signed(s, answer.signature);
	return true;
}

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct receiver *r = arg;
	bool good = false;

	if (fd >= 0) {
		descriptor_close(fd);
		return false;
	}
	if (type == WIRE_CERTIFICATES)
		good = on_certificates(r, payload);
	else if (type == WIRE_TRUST)
		good = on_trust(r, payload);
	else if (type == WIRE_TICKETS)
		good = on_tickets(r, payload);
	else if (type == WIRE_SIGNED)
		good = on_signed(r, payload);
	receiver_listen_if_ready(r);
	return good;
}

/* Handshakes that wait for a signature fail. */
static void lose_keys(struct receiver *r)
{
	channel_free(r->keys);
	r->keys = NULL;
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i])
			session_signed(r->slots[i], SLICE_NONE);
}

static void on_closed(void *arg, const char *why)
{
	struct receiver *r = arg;

	log_event(LOG_PEER_LOST, LOG_CSTR("peer", "keys"), LOG_CSTR("reason", why ? why : "closed"));
	lose_keys(r);
	r->self->keys_lost(r->self->arg);
}

void receiver_use_keys(struct receiver *r, int fd)
{
	static const struct channel_handler handler = {on_frame, on_closed};

	if (r->keys)
		lose_keys(r);
	r->keys = channel_new(r->loop, fd, &handler, r);
	if (!r->keys)
		r->self->keys_lost(r->self->arg);
	else
		channel_set_secret(r->keys);
}

bool receiver_ask_signature(struct receiver *r, uint64_t tag, const struct tls_request *request)
{
	struct wire_sign sign = {.tag = tag, .request = *request};

	buf_reset(&r->frame);
	wire_put_sign(&r->frame, &sign);
	return r->keys && !r->frame.failed && channel_send(r->keys, WIRE_SIGN, buf_slice(&r->frame), -1);
}

void receiver_end_keys(struct receiver *r)
{
	channel_free(r->keys);
	tls_server_unref(r->tls);
	tls_trust_unref(r->trust);
	explicit_bzero(&r->tickets, sizeof r->tickets);
}
