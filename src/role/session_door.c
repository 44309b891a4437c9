/*
 * The door of a session: who the client is, with whom it is counted, and what it gets that is rude.
 */
#include "role/session_private.h"

#include <stdio.h>
#include <string.h>

#define HOLD_MAX (1 * MINUTE)

/* ---- whose session it is ---------------------------------------------------------------------------------------- */

/* The network that the client is counted with. All of whom no address is known are one. */
static uint64_t hash_network(const struct session *s)
{
	const struct conf_listener *l = s->listener;
	struct network n = network_around(&s->client.address, l->network_ipv4, l->network_ipv6);
	char octets[sizeof n.base.octets + 2];

	memcpy(octets, n.base.octets, sizeof n.base.octets);
	octets[sizeof n.base.octets] = (char)n.base.size;
	octets[sizeof n.base.octets + 1] = (char)n.bits;
	return hash_slice(s->receiver->counts_key, slice_of(octets, sizeof octets));
}

/* Of size 0: nobody knows it, and it may nothing. */
static void set_address(struct session *s, const struct ip_address *a)
{
	s->client = (struct relay_client){.address = *a};
	snprintf(s->client_text, sizeof s->client_text, "%s", a->size ? ip_format(a).text : "unknown");
	s->network_hash = hash_network(s);
}

void session_set_peer(struct session *s, const struct net_address *from)
{
	char text[NET_ADDRESS_TEXT];
	struct ip_address address;

	if (s->listener->socket.n > 0) {
		s->client.local_user = true;
		snprintf(s->client_text, sizeof s->client_text, "local");
		return;
	}
	ip_parse(net_address_text(from, text), &address);
	set_address(s, &address);
}

void session_leave_counts(struct session *s)
{
	rate_leave(s->receiver->counts, s->receiver->self->index, &s->counted);
}

/* ---- the rude --------------------------------------------------------------------------------------------------- */

/* Costs a timer. As many are held as the configuration lets; who comes beyond them is answered at once. */
static void hold(struct session *s, unsigned refusals)
{
	const struct conf_listener *l = s->listener;
	struct receiver *r = s->receiver;

	if (l->tarpit == 0 || refusals == 0 || r->tarpitted >= l->tarpit_sessions_max)
		return;
	span_ms wait = refusals < HOLD_MAX / l->tarpit ? l->tarpit * refusals : HOLD_MAX;
	smtp_server_hold(s->engine, loop_mono(r->loop) + wait);
	s->held = smtp_server_is_held(s->engine);
	r->tarpitted += s->held;
}

bool session_note_errors(struct session *s)
{
	const struct conf_listener *l = s->listener;
	unsigned errors = smtp_server_errors(s->engine), before = s->errors;

	s->errors = errors;
	if (errors <= before || relay_client_may_relay(&s->client, s->conf->relay_networks))
		return false;
	if (!rate_add(s->receiver->counts, s->network_hash, RATE_ERRORS, errors - before, l->errors_per_minute,
		      loop_mono(s->receiver->loop))) {
		smtp_server_dismiss(s->engine, REPLY_ERRORS_RATE);
		return true;
	}
	if (before < l->tarpit_after)
		before = l->tarpit_after;
	hold(s, errors > before ? errors - before : 0);
	return false;
}

void session_note_release(struct session *s)
{
	if (!s->held || (smtp_server_is_held(s->engine) && !s->closing))
		return;
	s->held = false;
	s->receiver->tarpitted--;
}
