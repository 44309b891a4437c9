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
		/* -PLUS binds to TLS, without which there is nothing to bind to, and no certificate; and a token is
		 * good elsewhere, too. */
		.in_clear = !row->plus && !row->certified && !row->token &&
			    (in_clear == CONF_IN_CLEAR_ALL || (in_clear == CONF_IN_CLEAR_SCRAM && !row->shows)),
		.server_first = row->server_first,
		.one_step = row->one_step,
	};
}

/* What nobody could use there is not offered. */
static bool is_offered(const struct build *b, const struct conf_listener *l, enum sasl_mechanism m)
{
	return (!sasl_row(m)->certified || l->ask_certificate) && (!sasl_row(m)->token || b->c->oauth.keys.n > 0);
}

static bool any_in_clear(const struct smtp_mechanism *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (list[i].in_clear)
			return true;
	return false;
}

static void check_certificates_of(struct build *b, struct conf_listener *l, struct conf_place at)
{
	l->ask_certificate = l->ask_certificate && l->socket.n == 0;
	if (!l->ask_certificate)
		return;
	if (l->server.tls == SMTP_TLS_OFF)
		conf_wrong(b->err, at, "ask_certificate: there is no TLS there");
	if (b->c->client_authorities.n == 0)
		conf_wrong(b->err, at, "ask_certificate: there are no client_authorities in section tls");
}

void build_mechanisms(struct build *b, struct conf_listener *l, struct conf_place at)
{
	const struct conf_texts *names = &b->c->accounts.mechanisms;
	struct smtp_mechanism *list = build_take(b, SASL_MECHANISMS, sizeof *list);
	enum sasl_mechanism m;
	size_t n = 0;

	if (l->submission)
		l->auth = CONF_AUTH_REQUIRE;
	check_certificates_of(b, l, at);
	if (!list || l->auth == CONF_AUTH_NO || l->socket.n) /* whoever comes by a unix socket is known already */
		return;
	for (size_t i = 0; i < names->count && n < SASL_MECHANISMS; i++)
		if (sasl_find(names->list[i], &m) && is_offered(b, l, m))
			list[n++] = mechanism_of(m, l->in_clear);
	for (m = 0; m < SASL_MECHANISMS && names->count == 0; m++)
		if (is_usual(m) && is_offered(b, l, m))
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

/* RFC 6749 3.3: words of printable ASCII without quotes and backslashes. */
static bool is_scope(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_print(s.p[i]) || s.p[i] == '"' || s.p[i] == '\\')
			return false;
	return true;
}

void build_check_oauth(struct build *b, const struct conf_raw_section *s)
{
	const struct token_rules *r = &b->c->oauth.rules;

	if (!s)
		return;
	if (!is_scope(r->scope))
		conf_wrong(b->err, build_key_place(s, "scope"),
			   "scope has words of printable ASCII, without quotes and backslashes");
	if (b->c->oauth.keys.n > 0 && (r->issuer.n == 0 || r->audience.n == 0 || r->claim.n == 0))
		conf_wrong(b->err, s->at, "tokens need an issuer, an audience and a claim");
}

void build_certificate_logins(struct build *b)
{
	size_t count = b->raw->counts[SECTION_CERTIFICATE_LOGIN], n = 0;
	char room[2 * ACCOUNT_NAME_MAX];

	if (count > CONF_CERTIFICATE_LOGIN_MAX) {
		conf_wrong(b->err, b->raw->first->at, "there are more than %d certificate_logins",
			   CONF_CERTIFICATE_LOGIN_MAX);
		return;
	}
	struct conf_certificate_login *list = build_take(b, count, sizeof *list);
	struct external_rule *rules = build_take(b, count, sizeof *rules);
	struct named *logins = build_take(b, count, sizeof *logins);
	if (!list || !rules || !logins)
		return;
	for (const struct conf_raw_section *s = build_next_section(b->raw->first, SECTION_CERTIFICATE_LOGIN); s;
	     s = build_next_section(s->next, SECTION_CERTIFICATE_LOGIN)) {
		struct buf canonical = {.p = room, .cap = sizeof room, .max = sizeof room};
		const char *why;
		if (!account_name_canonical(s->title, &canonical, &why))
			conf_wrong(b->err, s->at, "certificate_login \"%.*s\": %s",
				   SLICE_ARGS(slice_head(s->title, 200)), why);
		list[n].login = build_keep(b, buf_slice(&canonical));
		build_section(b, SECTION_CERTIFICATE_LOGIN, s, &list[n]);
		rules[n] = (struct external_rule){list[n].login, list[n].names.list, list[n].names.count};
		logins[n] = (struct named){list[n].login, s->at};
		n++;
	}
	build_check_twice(b, logins, n, "certificate_login");
	b->c->certificate_logins = list;
	b->c->certificate_login_count = n;
	b->c->accounts.external.rules = rules;
	b->c->accounts.external.count = n;
}
