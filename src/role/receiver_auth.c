/*
 * The receiver's connection to the auth role: what clients say of themselves goes there, and who they are comes back.
 * While it is away AUTH gets 454; who has authenticated stays so.
 */
#include "role/receiver_private.h"

#include "net/descriptor.h"
#include "net/log.h"

static bool on_challenge(struct receiver *r, struct slice payload)
{
	struct wire_auth_step challenge;

	if (!wire_get_auth_step(payload, &challenge) || challenge.octets.n > SASL_CHALLENGE_MAX)
		return false;
	struct session *s = receiver_find_session(r, challenge.tag.session);
	if (s)
		session_challenge(s, challenge.tag.serial, challenge.octets);
	return true;
}

static bool on_done(struct receiver *r, struct slice payload)
{
	struct wire_auth_done done;

	if (!wire_get_auth_done(payload, &done))
		return false;
	struct session *s = receiver_find_session(r, done.tag.session);
	if (s)
		session_authenticated(s, &done);
	return true;
}

static bool on_spent(struct receiver *r, struct slice payload)
{
	struct wire_auth_spent spent;

	if (!wire_get_auth_spent(payload, &spent))
		return false;
	struct session *s = receiver_find_session(r, spent.tag.session);
	if (s)
		session_spent(s, &spent);
	return true;
}

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct receiver *r = arg;

	if (fd >= 0) {
		descriptor_close(fd);
		return false;
	}
	switch (type) {
	case WIRE_AUTH_HERE:
		r->auth_heard = true;
		receiver_listen_if_ready(r);
		return true;
	case WIRE_AUTH_CHALLENGE:
		return on_challenge(r, payload);
	case WIRE_AUTH_DONE:
		return on_done(r, payload);
	case WIRE_AUTH_SPENT:
		return on_spent(r, payload);
	default:
		return false;
	}
}

static void lose_auth(struct receiver *r)
{
	channel_free(r->auth);
	r->auth = NULL;
	for (uint32_t i = 0; i < r->slot_count; i++)
		if (r->slots[i])
			session_auth_lost(r->slots[i]);
}

static void on_closed(void *arg, const char *why)
{
	struct receiver *r = arg;

	log_event(LOG_PEER_LOST, LOG_CSTR("peer", "auth"), LOG_CSTR("reason", why ? why : "closed"));
	lose_auth(r);
	r->self->auth_lost(r->self->arg);
}

void receiver_use_auth(struct receiver *r, int fd)
{
	static const struct channel_handler handler = {on_frame, on_closed};

	if (r->auth)
		lose_auth(r);
	r->auth = channel_new(r->loop, fd, &handler, r);
	if (r->auth)
		channel_set_secret(r->auth);
	else
		r->self->auth_lost(r->self->arg);
}

bool receiver_tell_auth(struct receiver *r, uint16_t type)
{
	bool sent = r->auth && !r->frame.failed && channel_send(r->auth, type, buf_slice(&r->frame), -1);

	buf_wipe(&r->frame);
	return sent;
}

void receiver_end_auth(struct receiver *r)
{
	channel_free(r->auth);
}
