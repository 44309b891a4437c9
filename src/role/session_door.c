/*
 * The door of a session: who the client is, by its own address, by a header of the PROXY protocol or by XCLIENT, and
 * what it gets that is rude.
 *
 * Everything that is decided about a client is decided about the one that was told of, from the greeting on. Whoever
 * tells is trusted by the address that the connection itself comes from, and by that alone.
 */
#include "role/session_private.h"

#include "net/log.h"
#include "net/proxy_header.h"

#include <assert.h>
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

void session_set_trust(struct session *s)
{
	const struct conf_listener *l = s->listener;

	smtp_server_trust(s->engine,
			  (struct smtp_server_trust){.xclient = networks_contain(l->xclient, &s->client.address),
						     .xforward = networks_contain(l->xforward, &s->client.address)});
}

void session_leave_counts(struct session *s)
{
	rate_leave(s->receiver->counts, s->receiver->self->index, &s->counted);
}

/* ---- PROXY ------------------------------------------------------------------------------------------------------ */

bool session_begin_proxy(struct session *s)
{
	s->awaits_proxy = networks_contain(s->listener->proxies, &s->client.address);
	buf_init(&s->proxy_header, PROXY_HEADER_MAX + 1);
	if (s->awaits_proxy)
		memcpy(s->proxy_text, s->client_text, sizeof s->proxy_text);
	return s->awaits_proxy;
}

void session_proxy_failed(struct session *s, const char *why)
{
	bool late = loop_mono(s->receiver->loop) >= s->opened + s->listener->proxy_timeout;

	log_event(LOG_PROXY_FAILED, LOG_CSTR("session", s->name), LOG_CSTR("proxy", s->proxy_text),
		  LOG_CSTR("reason", why));
	s->awaits_proxy = false;
	/* Where TLS comes first, nothing can be said in the clear. */
	if (s->listener->server.tls == SMTP_TLS_IMPLICIT)
		s->ended = true;
	else if (!s->ended)
		smtp_server_dismiss(s->engine, late ? REPLY_TIMEOUT : REPLY_PROXY_BAD);
	session_run(s);
}

static void use_header(struct session *s, const struct proxy_header *header)
{
	static const struct ip_address nobody;

	s->awaits_proxy = false;
	buf_free(&s->proxy_header);
	if (header->client == PROXY_CLIENT_TOLD)
		set_address(s, &header->source);
	else if (header->client == PROXY_CLIENT_UNKNOWN)
		set_address(s, &nobody);
}

bool session_take_proxy(struct session *s, struct slice in, size_t *ret_taken)
{
	struct buf *gathered = &s->proxy_header;
	struct proxy_header header;
	size_t before = buf_len(gathered), octets = 0;
	const char *why = "there is no memory for it";
	enum proxy_result result = PROXY_BAD;

	*ret_taken = in.n;
	/* One octet beyond the longest shows that it is too long. */
	if (buf_add(gathered, slice_head(in, buf_room(gathered))))
		result = proxy_header_read(&s->receiver->crc, buf_slice(gathered), &header, &octets, &why);
	if (result == PROXY_BAD)
		session_proxy_failed(s, why);
	if (result != PROXY_DONE)
		return false;
	assert(octets > before);
	*ret_taken = octets - before;
	use_header(s, &header);
	return true;
}

/* ---- XCLIENT ---------------------------------------------------------------------------------------------------- */

/* What the client's name says of its address; NAME is one that leads there and back. */
static void set_reverse(struct session *s, enum smtp_attr_state name)
{
	s->reverse = name == SMTP_ATTR_GIVEN         ? RESOLVER_CONFIRMED
		     : name == SMTP_ATTR_UNAVAILABLE ? RESOLVER_UNCONFIRMED
						     : RESOLVER_FAILED;
}

void session_on_xclient(struct session *s)
{
	const struct smtp_attrs *told = smtp_server_client(s->engine);
	struct buf text;

	buf_init(&text, SMTP_ATTRS * SMTP_ATTR_MAX);
	smtp_attrs_write(told, true, &text);
	log_event(LOG_XCLIENT, LOG_CSTR("session", s->name), LOG_TEXT("client", session_client(s)),
		  LOG_TEXT("told", buf_slice(&text)));
	buf_free(&text);
	session_forget_user(s); /* who has logged in was not this one */
	session_leave_counts(s);
	if (told->value[SMTP_ATTR_ADDR].state != SMTP_ATTR_NONE) {
		struct ip_address address;

		ip_parse(smtp_attrs_get(told, SMTP_ATTR_ADDR), &address);
		set_address(s, &address);
		set_reverse(s, told->value[SMTP_ATTR_NAME].state);
	} else if (told->value[SMTP_ATTR_NAME].state != SMTP_ATTR_NONE) {
		set_reverse(s, told->value[SMTP_ATTR_NAME].state);
	}
	s->errors = 0;
	s->greeting = session_greeting(s);
	session_on_connect(s);
}

struct slice session_login(const struct session *s)
{
	const struct smtp_attrs *told = smtp_server_client(s->engine);

	if (s->user)
		return s->user->login;
	return told ? smtp_attrs_get(told, SMTP_ATTR_LOGIN) : SLICE_NONE;
}

struct slice session_forwarded(const struct session *s, char room[SESSION_FORWARDED])
{
	const struct smtp_attrs *told = smtp_server_forwarded(s->engine);
	struct buf out = {.p = room, .cap = SESSION_FORWARDED, .max = SESSION_FORWARDED};

	if (!told)
		return SLICE_NONE;
	smtp_attrs_write(told, false, &out); /* as much of it as there is room for */
	return buf_slice(&out);
}

/* What is too long for the queue is left out; the log has what was told by XCLIENT. */
static void write_told(const char *verb, const struct smtp_attrs *attrs, struct buf *out)
{
	size_t before = buf_len(out);

	buf_printf(out, " (%s ", verb);
	smtp_attrs_write(attrs, false, out);
	if (buf_add_char(out, ')'))
		return;
	out->failed = false;
	buf_cut(out, before);
	buf_printf(out, " (%s)", verb);
}

void session_write_way(const struct session *s, struct buf *out)
{
	const struct smtp_attrs *client = smtp_server_client(s->engine), *forwarded = smtp_server_forwarded(s->engine);

	if (s->proxy_text[0])
		buf_printf(out, " (by proxy %s)", s->proxy_text);
	if (client)
		write_told("XCLIENT", client, out);
	if (forwarded)
		write_told("XFORWARD", forwarded, out);
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
