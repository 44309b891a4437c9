#include "role/courier_private.h"

#include "base/heap.h"
#include "net/credential.h"
#include "net/descriptor.h"
#include "net/log.h"

#include <stdio.h>
#include <string.h>

/* Who is trusted by a route; routes that name the same files share one, and with it the sessions to be resumed. */
struct courier_trust {
	struct courier_trust *next;
	struct tls_client *client;
	struct slice authorities, revoked; /* in `texts`, each with a NUL */
	char texts[];
};

void courier_forget_trust(struct courier *c)
{
	struct courier_trust *t;

	while ((t = c->trust)) {
		c->trust = t->next;
		tls_client_unref(t->client);
		heap_free(t);
	}
}

static struct slice keep(char **at, struct slice s)
{
	char *p = *at;

	if (s.n)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	*at += s.n + 1;
	return slice_of(p, s.n);
}

/* Files that are open go before those to be opened: where this process is locked in there are no others. */
static struct courier_trust *new_trust(const struct route_tls *tls, const struct credential_file *authorities,
				       const struct credential_file *revoked)
{
	struct courier_trust *t = heap_alloc(sizeof *t + tls->authorities.n + tls->revoked.n + 2);

	if (!t)
		return NULL;
	char *at = t->texts;
	t->authorities = keep(&at, tls->authorities);
	t->revoked = keep(&at, tls->revoked);
	t->client = authorities || revoked ? tls_client_of(authorities, revoked)
					   : tls_client_new(t->authorities.n ? t->authorities.p : NULL,
							    t->revoked.n ? t->revoked.p : NULL);
	if (t->client)
		return t;
	heap_free(t);
	return NULL;
}

static struct courier_trust *find_trust(const struct courier *c, const struct route_tls *tls)
{
	struct courier_trust *t = c->trust;

	while (t && !(slice_eq(t->authorities, tls->authorities) && slice_eq(t->revoked, tls->revoked)))
		t = t->next;
	return t;
}

/* NULL: there is no memory. */
static struct courier_trust *add_trust(struct courier *c, struct courier_trust *t)
{
	if (!t)
		return NULL;
	t->next = c->trust;
	c->trust = t;
	if (tls_client_complaint(t->client))
		log_event(LOG_TRUST_FAILED, LOG_CSTR("reason", tls_client_complaint(t->client)));
	return t;
}

/* NULL: there is no memory. */
static struct tls_client *trust_of(struct courier *c, const struct route_tls *tls)
{
	struct courier_trust *t = find_trust(c, tls);

	if (!t)
		t = add_trust(c, new_trust(tls, NULL, NULL));
	return t ? t->client : NULL;
}

/* ---- files that were handed over ------------------------------------------------------------------------------- */

struct courier_file {
	struct courier_file *next;
	struct wire_file wire;
	struct credential_file file;
};

void courier_file(struct courier *c, const struct wire_file *file, int fd)
{
	struct courier_file *f = heap_new(struct courier_file);

	if (!f) {
		if (fd >= 0)
			descriptor_close(fd);
		return;
	}
	*f = (struct courier_file){
		.next = c->files, .wire = *file, .file = {.path = "", .fd = fd, .error = (int)file->error}};
	c->files = f;
}

void courier_forget_files(struct courier *c)
{
	struct courier_file *f;

	while ((f = c->files)) {
		c->files = f->next;
		credential_file_close(&f->file);
		heap_free(f);
	}
}

/* NULL: none came, or none is wanted. */
static const struct credential_file *file_of(struct courier *c, enum wire_file_kind kind, size_t route,
					     struct slice path)
{
	for (struct courier_file *f = c->files; path.n && f; f = f->next)
		if (f->wire.kind == kind && f->wire.index == route) {
			f->file.path = path.p;
			return &f->file;
		}
	return NULL;
}

void courier_load_trust(struct courier *c)
{
	courier_forget_trust(c);
	for (size_t i = 0; c->files && i < c->conf->route_count; i++) {
		const struct conf_route_keys *r = &c->conf->routes[i];
		const struct route_tls tls = {.authorities = r->tls_ca, .revoked = r->tls_crl};
		const struct credential_file *a = file_of(c, WIRE_FILE_AUTHORITIES, i, r->tls_ca);
		const struct credential_file *revoked = file_of(c, WIRE_FILE_REVOKED, i, r->tls_crl);
		/* One of the two alone would let more pass than the operator wants. */
		if ((a || r->tls_ca.n == 0) && (revoked || r->tls_crl.n == 0) && (a || revoked) && !find_trust(c, &tls))
			(void)add_trust(c, new_trust(&tls, a, revoked));
	}
	courier_forget_files(c);
}

/* ---- sessions -------------------------------------------------------------------------------------------------- */

bool courier_is_on_this_machine(const struct link *k)
{
	return k->group->hosts[k->host].kind == ROUTE_HOST_UNIX;
}

/* What a message demands counts for more than what the route is content with. */
enum smtp_client_tls courier_tls_level(const struct link *k)
{
	if (k->site->demands_tls && !courier_is_on_this_machine(k))
		return SMTP_CLIENT_TLS_DEMANDED;
	return k->in_clear ? SMTP_CLIENT_TLS_OFF : k->group->tls.level;
}

bool courier_tls_is_first(const struct link *k)
{
	return courier_tls_level(k) != SMTP_CLIENT_TLS_OFF &&
	       route_tls_is_first(&k->group->tls, &k->group->hosts[k->host]);
}

bool courier_begin_tls(struct link *k)
{
	const struct route_tls *tls = &k->group->tls;
	struct tls_client *client = trust_of(k->courier, tls);
	struct tls_aim aim = {.name = tls->name.n ? tls->name : k->group->hosts[k->host].name,
			      .peer = courier_remote(k),
			      .strict = courier_tls_level(k) >= SMTP_CLIENT_TLS_VERIFIED};

	return client && conn_connect_tls(k->conn, client, &aim);
}

void courier_on_secured(struct link *k)
{
	struct tls_facts f = {.version = "", .cipher = "", .group = "", .unverified = ""};
	struct tls_binding binding;

	conn_tls_facts(k->conn, &f);
	log_event(LOG_TLS_OUT, LOG_TEXT("remote", courier_remote(k)), LOG_CSTR("version", f.version),
		  LOG_CSTR("cipher", f.cipher), LOG_CSTR("group", f.group),
		  LOG_CSTR("resumed", f.resumed ? "yes" : "no"), LOG_CSTR("verified", f.verified ? "yes" : "no"),
		  LOG_CSTR("reason", f.unverified),
		  LOG_TEXT("name", f.name), LOG_TEXT("certificate", f.peer));
	if (f.verified)
		snprintf(k->secured, sizeof k->secured, "%s %s, verified as %.*s", f.version, f.cipher,
			 SLICE_ARGS(slice_head(f.name, 200)));
	else
		snprintf(k->secured, sizeof k->secured, "%s %s, not verified: %s", f.version, f.cipher, f.unverified);
	conn_tls_binding(k->conn, &binding);
	smtp_client_secured(k->client,
			    &(struct smtp_client_security){.verified = f.verified,
							   .why = slice_from_cstr(f.unverified),
							   .binds = binding.exporter_n > 0 || binding.unique_n > 0},
			    loop_mono(k->courier->loop));
}

struct slice courier_secured(struct link *k)
{
	if (!k->secured[0] && smtp_client_peer(k->client)->tls_refused)
		return SLICE("in the clear: the server refused STARTTLS");
	return slice_from_cstr(k->secured);
}

/* Whoever could break the handshake could as well have taken the offer out of the reply to EHLO: nothing is lost by it
 * that an opportunistic route could have kept. */
bool courier_falls_back(struct link *k, const struct smtp_outcome *why)
{
	bool broke = smtp_client_tls_broke(k->client);
	bool again = broke && courier_tls_level(k) == SMTP_CLIENT_TLS_OPPORTUNISTIC && !courier_tls_is_first(k);

	if (broke || why->stage == SMTP_STAGE_TLS)
		log_event(LOG_TLS_OUT_FAILED, LOG_TEXT("remote", courier_remote(k)), LOG_STATUS("status", why->status),
			  LOG_TEXT("reason", why->text), LOG_CSTR("then", again ? "in the clear" : ""));
	if (again)
		snprintf(k->secured, sizeof k->secured, "in the clear: %.*s",
			 SLICE_ARGS(slice_head(why->text, sizeof k->secured - sizeof "in the clear: ")));
	return again;
}
