/*
 * What a listener offers by AUTH: the mechanisms of section accounts, each with whether it may be used in the clear.
 */
#include "conf/build_private.h"

#include "directory/sasl.h"
#include "smtp/limits.h"

#include <assert.h>
#include <string.h>

static_assert(SASL_MECHANISMS <= SMTP_MECHANISMS_MAX, "a listener may offer all of them");

/* When nobody says which. CRAM-MD5 needs what is nearly the password to be kept. */
static bool is_usual(enum sasl_mechanism m)
{
	return m != SASL_CRAM_MD5;
}

static struct smtp_mechanism mechanism_of(enum sasl_mechanism m, enum conf_in_clear in_clear)
{
	const struct sasl_row *row = sasl_row(m);
	return (struct smtp_mechanism){
		.name = slice_from_cstr(row->name),
		/* -PLUS binds to TLS, without which there is nothing to bind to. */
		.in_clear = !row->plus &&
			    (in_clear == CONF_IN_CLEAR_ALL || (in_clear == CONF_IN_CLEAR_SCRAM && !row->shows)),
		.server_first = row->server_first,
		.one_step = row->one_step,
	};
}

static bool any_in_clear(const struct smtp_mechanism *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].in_clear)
			return true;
	return false;
}

void build_mechanisms(struct build *b, struct conf_listener *l, struct conf_place at)
{
	const struct conf_texts *names = &b->c->accounts.mechanisms;
	struct smtp_mechanism *list = build_take(b, SASL_MECHANISMS, sizeof *list);
	enum sasl_mechanism m;
	size_t n = 0;

	if (l->submission)
		l->auth = CONF_AUTH_REQUIRE;
	if (!list || l->auth == CONF_AUTH_NO || l->socket.n) /* whoever comes by a unix socket is known already */
		return;
	for (size_t i = 0; i < names->count && n < SASL_MECHANISMS; i++)
		if (sasl_find(names->list[i], &m))
			list[n++] = mechanism_of(m, l->in_clear);
	for (m = 0; m < SASL_MECHANISMS && names->count == 0; m++)
		if (is_usual(m))
			list[n++] = mechanism_of(m, l->in_clear);
	if (l->server.tls == SMTP_TLS_OFF && !any_in_clear(list, n))
		conf_wrong(b->err, at,
			   "nobody could authenticate there: there is no TLS, and auth_in_clear allows none of the "
			   "mechanisms without it");
	l->server.mechanisms = list;
	l->server.mechanism_count = n;
	l->server.auth_required = l->auth == CONF_AUTH_REQUIRE;
}

void build_check_mechanisms(struct build *b, const struct conf_raw_section *s)
{
	const struct conf_texts *names = &b->c->accounts.mechanisms;

	for (size_t i = 0; i < names->count; i++)
		for (size_t k = 0; k < i; k++)
			if (slice_eq(names->list[i], names->list[k]))
				conf_wrong(b->err, build_key_place(s, "mechanisms"), "%.*s is there twice",
					   SLICE_ARGS(names->list[i]));
}
