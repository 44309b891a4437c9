/*
 * server_auth: the command AUTH and its exchange (RFC 4954 4).
 *
 * A mechanism is looked for among those of the configuration; what it may not be used for is said before its initial
 * response is looked at. From the first event to the owner's 235, 4yz or 5yz the exchange is open; where it ends
 * without him, by the client's "*" or a line that is no base64, he hears AUTH_ABORT. The octets of responses are
 * overwritten as soon as the owner has answered.
 */
#include "smtp/server_private.h"

#include "base/base64.h"

#include <string.h>

/* A name of RFC 4422 3.1, in any case (RFC 4954 8). */
static bool is_mechanism_name(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_alnum(s.p[i]) && s.p[i] != '-' && s.p[i] != '_')
			return false;
	return s.n > 0 && s.n <= SMTP_MECHANISM_MAX;
}

static const struct smtp_mechanism *find_mechanism(const struct smtp_server *s, struct slice name)
{
	const struct smtp_server_config *config = s->config;

	for (size_t i = 0; i < config->mechanism_count; i++)
		if (slice_ieq(config->mechanisms[i].name, name))
			return s->usable >> i & 1 ? &config->mechanisms[i] : NULL;
	return NULL;
}

static bool any_in_clear(const struct smtp_server *s)
{
	for (size_t i = 0; i < s->config->mechanism_count; i++)
		if (s->config->mechanisms[i].in_clear && s->usable >> i & 1)
			return true;
	return false;
}

bool server_auth_offer(const struct smtp_server *s, char room[SERVER_AUTH_LINE], struct slice *ret)
{
	size_t n = sizeof "AUTH" - 1;

	memcpy(room, "AUTH", n);
	for (size_t i = 0; i < s->config->mechanism_count; i++) {
		const struct smtp_mechanism *m = &s->config->mechanisms[i];

		if (!(s->usable >> i & 1) || (!s->secure && !m->in_clear))
			continue;
		room[n++] = ' ';
		memcpy(room + n, m->name.p, m->name.n);
		n += m->name.n;
	}
	assert(n < SERVER_AUTH_LINE);
	*ret = slice_of(room, n);
	return n > sizeof "AUTH" - 1;
}

/* ---- the end of an exchange -------------------------------------------------------------------------------------- */

/* What was read of it lies where it was decoded, and in the line that it came in. */
static void forget_secrets(struct smtp_server *s)
{
	buf_wipe(&s->exchange.response);
	buf_wipe(&s->line.held);
}

static void end_exchange(struct smtp_server *s)
{
	forget_secrets(s);
	s->exchange.open = s->exchange.given = false;
	s->exchange.mechanism = NULL;
	if (s->state == ST_AUTH)
		server_move(s, ST_READY);
}

void server_auth_drop(struct smtp_server *s)
{
	if (s->exchange.open)
		server_raise(s, SMTP_EV_AUTH_ABORT);
	end_exchange(s);
}

void server_auth_bad_response(struct smtp_server *s, const struct reply *reply)
{
	assert(s->state == ST_AUTH);
	if (!server_count_idle(s))
		return;
	server_auth_drop(s);
	server_answer(s, reply);
}

void server_auth_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	assert(!good || reply->id == REPLY_AUTH_OK);
	assert(s->exchange.open);
	end_exchange(s);
	s->authenticated = good;
	server_answer(s, reply);
}

void server_auth_challenged(struct smtp_server *s, struct slice challenge)
{
	assert(challenge.n <= SMTP_CHALLENGE_MAX);
	assert(s->exchange.open);
	forget_secrets(s);
	buf_printf(&s->out, "%u ", reply_row(REPLY_AUTH_CHALLENGE)->code);
	base64_encode(challenge, &s->out);
	s->broken |= !buf_add_lit(&s->out, "\r\n");
	server_move(s, ST_AUTH);
}

/* ---- lines of the client ----------------------------------------------------------------------------------------- */

/* Decodes a response for the owner; false with the refusal. */
static bool read_response(struct smtp_server *s, struct slice text, struct reply *ret)
{
	buf_wipe(&s->exchange.response);
	if (base64_decode(text, &s->exchange.response))
		return true;
	s->broken |= s->exchange.response.failed;
	*ret = (struct reply){.id = REPLY_AUTH_BASE64};
	return false;
}

/* "=" is the response that is there and empty (RFC 4954 4); an empty one cannot stand behind a space. */
static bool read_initial_response(struct smtp_server *s, struct slice text, struct reply *ret)
{
	s->exchange.given = text.p != NULL;
	if (!text.p || slice_eq(text, SLICE("=")))
		return true;
	return read_response(s, text, ret);
}

static bool auth_admitted(struct smtp_server *s, struct slice arg, const char *syntax, struct reply *ret)
{
	struct slice text = arg, name = slice_split(&text, ' ');
	const struct smtp_mechanism *m = find_mechanism(s, name);

	if (!s->extended)
		*ret = (struct reply){REPLY_SEQUENCE, {s->config->lmtp ? SLICE("LHLO first") : SLICE("EHLO first")}};
	else if (s->authenticated)
		*ret = (struct reply){.id = REPLY_AUTH_AGAIN};
	else if (arg.n == 0)
		*ret = (struct reply){REPLY_ARGUMENT_MISSING, {SLICE("AUTH"), slice_from_cstr(syntax)}};
	else if (!is_mechanism_name(name) || slice_find(text, ' ') < text.n)
		*ret = (struct reply){REPLY_SYNTAX, {slice_from_cstr(syntax)}};
	else if (!m)
		*ret = (struct reply){REPLY_AUTH_MECHANISM, {name}};
	else if (!s->secure && !m->in_clear)
		*ret = (struct reply){any_in_clear(s) ? REPLY_AUTH_MECHANISM_NEEDS_TLS : REPLY_AUTH_NEEDS_TLS,
				      {m->name}};
	else if (text.n > SMTP_AUTH_LINE_MAX)
		*ret = (struct reply){REPLY_AUTH_LINE_TOO_LONG, {server_number(s, SMTP_AUTH_LINE_MAX)}};
	else if (m->server_first && text.p)
		*ret = (struct reply){REPLY_AUTH_INITIAL, {m->name}};
	else
		s->exchange.mechanism = m;
	return s->exchange.mechanism && read_initial_response(s, text, ret);
}

void server_auth(struct smtp_server *s, struct slice arg, const char *syntax)
{
	struct reply refusal;

	assert(!s->exchange.open);
	if (!auth_admitted(s, arg, syntax, &refusal)) {
		server_answer(s, &refusal);
		end_exchange(s);
		return;
	}
	s->exchange.open = true;
	server_ask(s, SMTP_EV_AUTH, 1);
}

bool server_auth_is_whole(const struct smtp_server *s, struct slice arg)
{
	struct slice text = arg;
	const struct smtp_mechanism *m = find_mechanism(s, slice_split(&text, ' '));

	return m && m->one_step && text.p;
}

void server_auth_response(struct smtp_server *s, struct slice line)
{
	struct reply refusal = {.id = REPLY_AUTH_CANCELLED};

	s->guard = true;
	if (slice_eq(line, SLICE("*")) || !read_response(s, line, &refusal))
		server_auth_bad_response(s, &refusal);
	else if (server_count_idle(s))
		server_ask(s, SMTP_EV_AUTH_RESPONSE, 1);
}
