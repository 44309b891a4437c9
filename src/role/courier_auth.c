#include "role/courier_private.h"

#include "base/heap.h"
#include "net/log.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define CHANCE         24
#define RESPONSE_MAX   (2 * SASL_CLIENT_SECRET_MAX)
#define NAME_SHOWN_MAX 100

/* ---- secrets ----------------------------------------------------------------------------------------------------- */

/* What a route logs in with. Whoever is in the middle of it has a reference. */
struct courier_secret {
	struct courier_secret *next;
	unsigned refs;
	struct slice route, secret; /* in `texts` */
	struct sasl_salted salted;
	char texts[];
};

static void unref_secret(struct courier_secret *s)
{
	if (!s || --s->refs > 0)
		return;
	explicit_bzero(s->texts, s->route.n + s->secret.n);
	explicit_bzero(&s->salted, sizeof s->salted);
	heap_free(s);
}

void courier_forget_secrets(struct courier *c)
{
	struct courier_secret *s;

	while ((s = c->secrets)) {
		c->secrets = s->next;
		unref_secret(s);
	}
}

static bool keep_secret(struct courier *c, const struct wire_secret *from)
{
	struct courier_secret *s = heap_alloc(sizeof *s + from->route.n + from->secret.n);

	if (!s)
		return false;
	memcpy(s->texts, from->route.p, from->route.n);
	memcpy(s->texts + from->route.n, from->secret.p, from->secret.n);
	s->route = slice_of(s->texts, from->route.n);
	s->secret = slice_of(s->texts + from->route.n, from->secret.n);
	s->refs = 1;
	s->next = c->secrets;
	c->secrets = s;
	return true;
}

bool courier_secrets(struct courier *c, struct slice frame)
{
	struct wire_secrets list;
	struct wire_secret s;

	if (!wire_get_secrets(frame, &list))
		return false;
	courier_forget_secrets(c);
	while (wire_next_secret(&list, &s))
		if (!keep_secret(c, &s))
			log_event(LOG_NO_MEMORY, LOG_CSTR("what", "the secret of a route"),
				  LOG_TEXT("route", s.route));
	return true;
}

static struct courier_secret *find_secret(struct courier *c, struct slice route)
{
	for (struct courier_secret *s = c->secrets; s; s = s->next)
		if (slice_eq(s->route, route))
			return s;
	return NULL;
}

/* ---- the exchange ------------------------------------------------------------------------------------------------ */

void courier_end_auth(struct link *k)
{
	sasl_client_end(k->auth);
	k->auth = NULL;
	unref_secret(k->secret);
	k->secret = NULL;
}

/* Whether we would bind to the session by -PLUS, and the server has none. */
static bool misses_plus(const struct link *k)
{
	const struct route_auth *auth = &k->group->auth;
	uint32_t binding = 0;

	for (size_t i = 0; i < auth->mechanism_count; i++)
		binding |= auth->mechanisms[i].binds ? 1u << i : 0;
	return binding && !(smtp_client_peer(k->client)->mechanisms & binding);
}

static struct sasl_client *begin(struct link *k, const struct smtp_client_mechanism *mechanism)
{
	const struct tls_binding *b = &k->binding;
	uint64_t chance[CHANCE / sizeof(uint64_t)];

	for (size_t i = 0; i < sizeof chance / sizeof *chance; i++)
		chance[i] = loop_random(k->courier->loop);
	conn_tls_binding(k->conn, &k->binding);
	memcpy(k->chance, chance, sizeof k->chance);
	bool binds = b->exporter_n > 0 || b->unique_n > 0;
	struct sasl_client_start start = {
		.row = sasl_client_find(mechanism->name),
		.user = k->group->auth.user,
		.secret = k->secret->secret,
		.exporter = slice_of(b->exporter, b->exporter_n),
		.unique = slice_of(b->unique, b->unique_n),
		.chance = slice_of(k->chance, sizeof k->chance),
		.missed_plus = binds && misses_plus(k),
		.salted = &k->secret->salted,
	};
	return sasl_client_begin(&start);
}

/* NULL: an exchange is under way. */
static const char *begin_exchange(struct link *k, size_t mechanism)
{
	courier_end_auth(k);
	k->secret = find_secret(k->courier, k->group->auth.user.n ? k->group->name : SLICE_NONE);
	if (!k->secret)
		return "there is no secret for this route any more";
	k->secret->refs++;
	k->auth = begin(k, &k->group->auth.mechanisms[mechanism]);
	return k->auth ? NULL : "there is no memory";
}

static void answer(struct link *k, const struct slice *challenge, struct buf *response)
{
	mono_ms now = loop_mono(k->courier->loop);
	struct slice octets;
	bool complete;

	switch (sasl_client_step(k->auth, challenge, response, &complete)) {
	case SASL_CLIENT_RESPONSE:
		octets = buf_slice(response);
		smtp_client_auth(k->client, &octets, complete, now);
		break;
	case SASL_CLIENT_SILENT:
		smtp_client_auth(k->client, NULL, complete, now);
		break;
	case SASL_CLIENT_FAILED:
		smtp_client_auth_failed(k->client, sasl_client_why(k->auth), now);
		break;
	}
}

void courier_on_auth(struct link *k, const struct smtp_client_event *ev)
{
	const char *why = ev->challenge.p ? NULL : begin_exchange(k, ev->tag);
	struct buf response;

	if (!why && !secrets_buf_init(&response, RESPONSE_MAX))
		why = "there is no memory";
	if (why) {
		smtp_client_auth_failed(k->client, slice_from_cstr(why), loop_mono(k->courier->loop));
		return;
	}
	assert(k->auth);
	answer(k, ev->challenge.p ? &ev->challenge : NULL, &response);
	buf_wipe(&response);
}

#define SECRET_KNOWN_MIN 4 /* anything shorter is part of some word */

struct slice courier_hide_secret(const struct link *k, struct slice text)
{
	struct slice secret = k->secret ? k->secret->secret : SLICE_NONE;
	bool told = secret.n >= SECRET_KNOWN_MIN && slice_search(text, secret) < text.n;

	return told ? SLICE("the server repeats our secret") : text;
}

/* ---- what came of it --------------------------------------------------------------------------------------------- */

void courier_on_open(struct link *k)
{
	const struct smtp_client_mechanism *by = smtp_client_authenticated(k->client);
	struct slice user = k->group->auth.user, so_far = courier_secured(k);
	char text[SMTP_OUTCOME_SECURED_MAX];

	courier_end_auth(k);
	if (!by)
		return;
	log_event(LOG_AUTH_OUT, LOG_TEXT("remote", courier_remote(k)), LOG_TEXT("login", user),
		  LOG_TEXT("mechanism", by->name));
	if (so_far.n == 0)
		so_far = SLICE("in the clear");
	snprintf(text, sizeof text, "%.*s; logged in as %.*s by %.*s", SLICE_ARGS(slice_head(so_far, 250)),
		 SLICE_ARGS(slice_head(user, NAME_SHOWN_MAX)), SLICE_ARGS(by->name));
	memcpy(k->secured, text, sizeof k->secured);
}

void courier_on_unopened(struct link *k, const struct smtp_outcome *why)
{
	if (why->stage == SMTP_STAGE_AUTH)
		log_event(LOG_AUTH_OUT_FAILED, LOG_TEXT("remote", courier_remote(k)),
			  LOG_TEXT("login", k->group->auth.user), LOG_STATUS("status", why->status),
			  LOG_TEXT("reason", why->text),
			  LOG_TEXT("about",
				   k->auth ? courier_hide_secret(k, sasl_client_why(k->auth)) : SLICE_NONE));
	courier_end_auth(k);
}
