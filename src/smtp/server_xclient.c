/*
 * server_xclient: who the client is by the word of one that is trusted: XCLIENT and XFORWARD (attrs.h).
 *
 * XCLIENT begins the session anew: the owner judges the client that it tells of as one that has just come, and greets.
 * What was told stays to the end of the connection, behind STARTTLS too: without it, whoever comes through a proxy
 * would have the proxy's rights. XFORWARD tells of the next transaction, and nobody is judged by it.
 */
#include "smtp/server_private.h"

#include "base/heap.h"

/* Reads the argument into *at, which is made when it is first needed. */
static bool read_attrs(struct smtp_server *s, enum smtp_attrs_verb verb, struct slice arg, struct smtp_attrs **at)
{
	struct slice where;
	const char *why;

	if (!*at)
		*at = heap_new(struct smtp_attrs);
	if (!*at) {
		s->broken = true;
		return false;
	}
	if (smtp_attrs_read(verb, arg, *at, &where, &why))
		return true;
	server_answer(s, &(struct reply){REPLY_ATTRIBUTE, {where, slice_from_cstr(why)}});
	return false;
}

void server_xclient(struct smtp_server *s, struct slice arg)
{
	if (!s->trust.xclient)
		server_answer(s, &(struct reply){REPLY_NOT_TRUSTED, {SLICE("XCLIENT")}});
	else if (read_attrs(s, SMTP_ATTRS_XCLIENT, arg, &s->told_client))
		server_ask(s, SMTP_EV_XCLIENT, 1);
}

void server_xclient_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	server_forget_client(s);
	s->errors = s->idle_commands = s->messages = 0;
	s->no_mail = reply_row(reply->id)->code == 521;
	server_answer(s, reply);
	server_move(s, good ? ST_START : ST_REFUSED);
}

void server_xforward(struct smtp_server *s, struct slice arg)
{
	if (!s->trust.xforward)
		server_answer(s, &(struct reply){REPLY_NOT_TRUSTED, {SLICE("XFORWARD")}});
	else if (read_attrs(s, SMTP_ATTRS_XFORWARD, arg, &s->told_forwarded))
		server_answer(s, &(struct reply){.id = REPLY_OK});
}

void server_forget_forwarded(struct smtp_server *s)
{
	heap_free(s->told_forwarded);
	s->told_forwarded = NULL;
}

void smtp_server_trust(struct smtp_server *s, struct smtp_server_trust trust)
{
	s->trust = trust;
}

const struct smtp_attrs *smtp_server_client(const struct smtp_server *s)
{
	return s->told_client;
}

const struct smtp_attrs *smtp_server_forwarded(const struct smtp_server *s)
{
	return s->told_forwarded;
}
