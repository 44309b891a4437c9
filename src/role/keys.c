/*
 * The keys role: it alone reads private keys, and signs the handshakes of the receivers. It sees no network: what it
 * gets are requests of receivers, and it signs nothing but what a server signs in a handshake of TLS. The files that
 * the configuration names come from the supervisor, open, so that no others can be reached from here.
 *
 * It tells the receivers which certificates are in force, and the secrets of tickets, which it makes anew in half of
 * their lifetime. At a new configuration the files are read again: a certificate that cannot be used leaves the one in
 * force that was there before, and so does what cannot be stapled. The certificates before the last ones are kept for
 * handshakes that are under way with them. The one that we made ourselves is made anew before it ends.
 */
#include "role/role.h"

#include "base/heap.h"
#include "net/channel.h"
#include "net/credential.h"
#include "net/descriptor.h"
#include "net/fs_posix.h"
#include "net/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EXPIRES_SOON (7 * DAY)
#define LOOK_AGAIN   DAY /* at what expires */

struct named_credential {
	char name[TLS_NAME_MAX + 1];
	struct slice chain; /* the file; lent from `conf` */
	struct credential *credential;
};

struct credentials {
	struct conf *conf; /* where they come from */
	struct named_credential list[CONF_CERTIFICATE_MAX];
	size_t count;
};

/* What came from the supervisor for the next configuration. */
struct certificate_files {
	struct credential_file chain, key, staple;
};
struct client_files {
	struct credential_file authorities, revoked;
};

struct keys_peer {
	struct keys *keys;
	uint32_t index;
	struct channel *channel; /* NULL: none */
};

struct keys {
	struct loop *loop;
	const struct role_self *self;
	struct conf *conf;
	struct credentials *now, *before;
	struct tls_tickets tickets;
	struct certificate_files files[CONF_CERTIFICATE_MAX];
	struct client_files client_files;
	struct loop_timer *renew, *look;
	struct keys_peer receivers[CONF_PROCESS_MAX];
	struct buf frame;
	struct buf authorities, revoked; /* of clients, in PEM */
};

/* ---- telling receivers ---------------------------------------------------------------------------------------- */

static void send_certificates(struct keys *k, struct keys_peer *to)
{
	struct wire_certificates *certificates = heap_new(struct wire_certificates);

	buf_reset(&k->frame);
	for (size_t i = 0; certificates && i < k->now->count; i++) {
		struct tls_chain *c = &certificates->list[certificates->count++];
		*c = *credential_chain(k->now->list[i].credential);
		c->name = slice_from_cstr(k->now->list[i].name);
	}
	if (certificates)
		wire_put_certificates(&k->frame, certificates);
	if (!certificates || k->frame.failed ||
	    !channel_send(to->channel, WIRE_CERTIFICATES, buf_slice(&k->frame), -1))
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "certificates"));
	heap_free(certificates);
}

static void send_trust(struct keys *k, struct keys_peer *to)
{
	struct tls_trust_text text = {buf_slice(&k->authorities), buf_slice(&k->revoked)};

	buf_reset(&k->frame);
	wire_put_trust(&k->frame, &text);
	if (k->frame.failed || !channel_send(to->channel, WIRE_TRUST, buf_slice(&k->frame), -1))
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "authorities"));
}

static void send_tickets(struct keys *k, struct keys_peer *to)
{
	buf_reset(&k->frame);
	wire_put_tickets(&k->frame, &k->tickets);
	if (!channel_send(to->channel, WIRE_TICKETS, buf_slice(&k->frame), -1))
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "tickets"));
	buf_reset(&k->frame);
}

static void tell_all(struct keys *k, void (*tell)(struct keys *k, struct keys_peer *to))
{
	for (size_t i = 0; i < CONF_PROCESS_MAX; i++)
		if (k->receivers[i].channel)
			tell(k, &k->receivers[i]);
}

/* ---- tickets -------------------------------------------------------------------------------------------------- */

/* Without a secret no session is resumed, and all else goes on. */
static void renew_tickets(struct keys *k)
{
	k->tickets.lifetime = k->conf->ticket_lifetime;
	if (k->tickets.lifetime == 0 || !tls_tickets_renew(&k->tickets))
		k->tickets.count = 0;
	loop_timer_set(k->renew, k->tickets.lifetime ? loop_mono(k->loop) + k->tickets.lifetime / 2 : NEVER);
	tell_all(k, send_tickets);
}

static void on_renew(void *arg)
{
	renew_tickets(arg);
}

/* ---- certificates --------------------------------------------------------------------------------------------- */

static void free_credentials(struct credentials *c)
{
	for (size_t i = 0; c && i < c->count; i++)
		credential_unref(c->list[i].credential);
	if (c)
		conf_unref(c->conf);
	heap_free(c);
}

/* That of a section: names may be there twice, files of a name are not. */
static struct credential *find_before(const struct keys *k, const struct conf_certificate *section)
{
	for (size_t i = 0; i < k->now->count; i++) {
		const struct named_credential *c = &k->now->list[i];
		if (slice_eq(slice_from_cstr(c->name), section->name) && slice_eq(c->chain, section->chain))
			return c->credential;
	}
	return NULL;
}

static bool has_kind(const struct credentials *c, struct slice name, const char *kind)
{
	for (size_t i = 0; i < c->count; i++)
		if (slice_eq(slice_from_cstr(c->list[i].name), name) &&
		    strcmp(credential_kind(c->list[i].credential), kind) == 0)
			return true;
	return false;
}

static void complain(struct slice name, const char *why)
{
	log_event(LOG_CERTIFICATE_FAILED, LOG_TEXT("name", name), LOG_CSTR("reason", why));
}

/* Takes the credential. One name has one of each kind of key. */
static void add_credential(struct credentials *to, const struct conf_certificate *section, struct credential *c)
{
	char why[80];

	if (has_kind(to, section->name, credential_kind(c))) {
		snprintf(why, sizeof why, "there is another one for this name with a key of the kind %s",
			 credential_kind(c));
		complain(section->name, why);
		credential_unref(c);
		return;
	}
	struct named_credential *new = &to->list[to->count++];
	snprintf(new->name, sizeof new->name, "%.*s", SLICE_ARGS(section->name));
	new->chain = section->chain;
	new->credential = c;
}

/* The file of the section that the configuration has in this place. */
static const struct credential_file *staple_of(const struct keys *k, const struct conf_certificate *section)
{
	return &k->files[section - k->conf->certificates].staple;
}

static void staple(struct keys *k, const struct conf_certificate *section, struct credential *c,
		   const struct credential *before)
{
	char why[CREDENTIAL_WHY_MAX];

	if (section->ocsp.n == 0 || credential_read_staple(c, staple_of(k, section), loop_wall(k->loop), why))
		return;
	log_event(LOG_STAPLE_FAILED, LOG_TEXT("name", section->name), LOG_CSTR("reason", why));
	if (before && before != c)
		credential_keep_staple(c, before);
}

/* The one of the files; when it cannot be used the one that was in force, if there was one. */
static void take_or_keep(struct keys *k, struct credentials *to, const struct conf_certificate *section,
			 struct credential *loaded, const char *why)
{
	struct credential *before = find_before(k, section);

	if (!loaded) {
		complain(section->name, why);
		loaded = before ? credential_ref(before) : NULL;
	}
	if (!loaded)
		return;
	staple(k, section, loaded, before);
	add_credential(to, section, loaded);
}

static void load_self_signed(struct keys *k, struct credentials *to)
{
	const struct conf_certificate ours = {.name = k->conf->hostname};
	char directory[1100], why[CREDENTIAL_WHY_MAX] = "it cannot be made";
	struct credential *c = NULL;

	snprintf(directory, sizeof directory, "%.*s/tls", SLICE_ARGS(k->conf->data_dir));
	if (fs_posix_make_root(directory) == 0)
		c = credential_self_signed(directory, k->conf->hostname, loop_wall(k->loop), why);
	take_or_keep(k, to, &ours, c, why);
}

static void load_configured(struct keys *k, struct credentials *to)
{
	char why[CREDENTIAL_WHY_MAX];

	for (size_t i = 0; i < k->conf->certificate_count; i++) {
		const struct conf_certificate *c = &k->conf->certificates[i];
		k->files[i].chain.path = c->chain.p;
		k->files[i].key.path = c->key.p;
		k->files[i].staple.path = c->ocsp.p;
		take_or_keep(k, to, c, credential_read(&k->files[i].chain, &k->files[i].key, why), why);
	}
}

static void close_file(struct credential_file *f)
{
	credential_file_close(f);
	f->error = ENOENT;
}

/* Whatever came for a configuration is of no use for the next one. */
static void close_files(struct keys *k)
{
	for (size_t i = 0; i < CONF_CERTIFICATE_MAX; i++) {
		close_file(&k->files[i].chain);
		close_file(&k->files[i].key);
		close_file(&k->files[i].staple);
	}
	close_file(&k->client_files.authorities);
	close_file(&k->client_files.revoked);
}

static int64_t days_left(struct keys *k, wall_ms end)
{
	return (end - loop_wall(k->loop)) / DAY;
}

static void log_expiry(struct keys *k)
{
	for (size_t i = 0; i < k->now->count; i++) {
		const struct named_credential *c = &k->now->list[i];
		const struct tls_chain *chain = credential_chain(c->credential);
		if (credential_expires(c->credential) - loop_wall(k->loop) < EXPIRES_SOON)
			log_event(LOG_CERTIFICATE_EXPIRES, LOG_CSTR("name", c->name),
				  LOG_NUMBER("expires", days_left(k, credential_expires(c->credential))));
		if (chain->staple.n > 0 && chain->staple_until <= loop_wall(k->loop))
			log_event(LOG_STAPLE_FAILED, LOG_CSTR("name", c->name),
				  LOG_CSTR("reason", "the response has expired"));
	}
	loop_timer_set(k->look, loop_mono(k->loop) + LOOK_AGAIN);
}

static bool is_self_signed(const struct keys *k)
{
	return k->conf->certificate_count == 0;
}

static void log_certificates(struct keys *k)
{
	for (size_t i = 0; i < k->now->count; i++) {
		const struct named_credential *c = &k->now->list[i];
		log_event(LOG_CERTIFICATE, LOG_CSTR("name", c->name),
			  LOG_NUMBER("expires", days_left(k, credential_expires(c->credential))),
			  LOG_CSTR("self-signed", is_self_signed(k) ? "yes" : "no"),
			  LOG_CSTR("key", credential_kind(c->credential)),
			  LOG_CSTR("ocsp", credential_chain(c->credential)->staple.n > 0 ? "yes" : "no"));
	}
	log_expiry(k);
}

/* Reads what the configuration names, puts it into force and tells the receivers. False: no memory. */
static bool load_all(struct keys *k)
{
	struct credentials *fresh = heap_new(struct credentials);

	if (!fresh) {
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "certificates"));
		return false;
	}
	fresh->conf = conf_ref(k->conf);
	if (conf_has_tls(k->conf) && is_self_signed(k))
		load_self_signed(k, fresh);
	else if (conf_has_tls(k->conf))
		load_configured(k, fresh);
	free_credentials(k->before);
	k->before = k->now;
	k->now = fresh;
	log_certificates(k);
	tell_all(k, send_certificates);
	return true;
}

/* The files of the configuration are somebody else's to renew. */
static void on_look(void *arg)
{
	struct keys *k = arg;
	bool own = is_self_signed(k) && k->now->count > 0;

	if (!own || credential_expires(k->now->list[0].credential) - loop_wall(k->loop) >= CREDENTIAL_RENEW ||
	    !load_all(k))
		log_expiry(k);
}

/* ---- certificates of clients ---------------------------------------------------------------------------------- */

/* What cannot be used leaves in force what was there before. */
static void take_or_keep_trust(struct keys *k, struct buf *authorities, struct buf *revoked, const char *why)
{
	struct tls_trust_text text = {buf_slice(authorities), buf_slice(revoked)};
	const char *wrong = why;
	struct tls_trust *trust = why ? NULL : tls_trust_new(&text, &wrong);

	if (!trust) {
		log_event(LOG_TRUST_FAILED, LOG_CSTR("reason", wrong));
		return;
	}
	tls_trust_unref(trust);
	buf_reset(&k->authorities);
	buf_reset(&k->revoked);
	if (!buf_add(&k->authorities, text.authorities) || !buf_add(&k->revoked, text.revoked)) {
		buf_reset(&k->authorities);
		buf_reset(&k->revoked);
		log_event(LOG_NO_MEMORY, LOG_CSTR("what", "authorities"));
	}
}

static void load_trust(struct keys *k)
{
	const struct conf *c = k->conf;
	struct buf authorities, revoked;
	char why[CREDENTIAL_WHY_MAX] = "";

	if (!conf_asks_certificates(c)) {
		buf_reset(&k->authorities);
		buf_reset(&k->revoked);
		return;
	}
	buf_init(&authorities, TLS_TRUST_TEXT_MAX);
	buf_init(&revoked, TLS_TRUST_TEXT_MAX);
	k->client_files.authorities.path = c->client_authorities.p;
	k->client_files.revoked.path = c->client_revoked.p;
	bool good = credential_append(&k->client_files.authorities, &authorities, why) &&
		    (c->client_revoked.n == 0 || credential_append(&k->client_files.revoked, &revoked, why));
	take_or_keep_trust(k, &authorities, &revoked, good ? NULL : why);
	buf_free(&authorities);
	buf_free(&revoked);
}

/* ---- signing -------------------------------------------------------------------------------------------------- */

static bool sign_by(const struct credentials *c, const struct tls_request *r, uint8_t into[TLS_SIGNATURE_MAX],
		    size_t *ret_n)
{
	for (size_t i = 0; c && i < c->count; i++)
		if (memcmp(credential_chain(c->list[i].credential)->key, r->key, TLS_KEY_ID) == 0)
			return credential_sign(c->list[i].credential, r, into, ret_n);
	return false;
}

static bool on_frame(void *arg, uint16_t type, struct slice payload, int fd)
{
	struct keys_peer *p = arg;
	struct keys *k = p->keys;
	uint8_t signature[TLS_SIGNATURE_MAX];
	struct wire_sign sign;
	size_t n = 0;

	if (fd >= 0)
		descriptor_close(fd);
	if (fd >= 0 || type != WIRE_SIGN || !wire_get_sign(payload, &sign))
		return false;
	bool good = sign_by(k->now, &sign.request, signature, &n) || sign_by(k->before, &sign.request, signature, &n);
	if (!good)
		log_event(LOG_SIGNATURE_REFUSED, LOG_NUMBER("receiver", p->index));
	struct wire_signed answer = {.tag = sign.tag,
				     .signature = slice_of((const char *)signature, good ? n : 0)};
	buf_reset(&k->frame);
	wire_put_signed(&k->frame, &answer);
	return channel_send(p->channel, WIRE_SIGNED, buf_slice(&k->frame), -1);
}

static void on_closed(void *arg, const char *why)
{
	struct keys_peer *p = arg;

	log_event(LOG_PEER_LOST, LOG_CSTR("peer", "receiver"), LOG_NUMBER("index", p->index),
		  LOG_CSTR("reason", why ? why : "closed"));
	channel_free(p->channel);
	p->channel = NULL;
}

/* ---- the role ------------------------------------------------------------------------------------------------- */

static void keys_end(void *arg)
{
	struct keys *k = arg;

	for (size_t i = 0; i < CONF_PROCESS_MAX; i++)
		channel_free(k->receivers[i].channel);
	close_files(k);
	loop_timer_free(k->renew);
	loop_timer_free(k->look);
	free_credentials(k->now);
	free_credentials(k->before);
	conf_unref(k->conf);
	buf_free(&k->frame);
	buf_free(&k->authorities);
	buf_free(&k->revoked);
	explicit_bzero(&k->tickets, sizeof k->tickets);
	heap_free(k);
}

static void *keys_start(struct loop *l, const struct role_self *self)
{
	struct keys *k = heap_new(struct keys);

	if (!k)
		return NULL;
	credential_prepare();
	*k = (struct keys){.loop = l, .self = self, .now = heap_new(struct credentials)};
	for (uint32_t i = 0; i < CONF_PROCESS_MAX; i++)
		k->receivers[i] = (struct keys_peer){.keys = k, .index = i};
	for (uint32_t i = 0; i < CONF_CERTIFICATE_MAX; i++)
		k->files[i].chain.fd = k->files[i].key.fd = k->files[i].staple.fd = -1;
	k->client_files.authorities.fd = k->client_files.revoked.fd = -1;
	close_files(k);
	buf_init_secret(&k->frame, CHANNEL_FRAME_MAX);
	buf_init(&k->authorities, TLS_TRUST_TEXT_MAX);
	buf_init(&k->revoked, TLS_TRUST_TEXT_MAX);
	k->renew = loop_timer_new(l, on_renew, k);
	k->look = loop_timer_new(l, on_look, k);
	if (k->now && k->renew && k->look)
		return k;
	keys_end(k);
	return NULL;
}

/* Mail is taken without TLS rather than not at all: what is wrong with certificates is in the log, and 454 tells it. */
static bool keys_configure(void *arg, struct conf *conf)
{
	struct keys *k = arg;
	struct conf *before = k->conf;

	k->conf = conf_ref(conf);
	load_trust(k);
	tell_all(k, send_trust);
	if (!load_all(k)) {
		close_files(k);
		conf_unref(k->conf);
		k->conf = before;
		return false;
	}
	close_files(k);
	conf_unref(before);
	renew_tickets(k);
	k->self->ready(k->self->arg);
	return true;
}

/* NULL: it is none of ours. */
static struct credential_file *place_of_file(struct keys *k, const struct wire_file *file)
{
	struct certificate_files *files = file->index < CONF_CERTIFICATE_MAX ? &k->files[file->index] : NULL;

	switch (file->kind) {
	case WIRE_FILE_CHAIN:
		return files ? &files->chain : NULL;
	case WIRE_FILE_KEY:
		return files ? &files->key : NULL;
	case WIRE_FILE_STAPLE:
		return files ? &files->staple : NULL;
	case WIRE_FILE_CLIENT_AUTHORITIES:
		return &k->client_files.authorities;
	case WIRE_FILE_CLIENT_REVOKED:
		return &k->client_files.revoked;
	default:
		return NULL;
	}
}

static void keys_file(void *arg, const struct wire_file *file, int fd)
{
	struct credential_file *f = place_of_file(arg, file);

	if (!f) {
		if (fd >= 0)
			descriptor_close(fd);
		return;
	}
	credential_file_close(f);
	*f = (struct credential_file){.fd = fd, .error = (int)file->error};
}

static void keys_peer(void *arg, struct wire_peer peer, int fd)
{
	static const struct channel_handler handler = {on_frame, on_closed};
	struct keys *k = arg;

	if (peer.kind != ROLE_RECEIVER || peer.index >= CONF_PROCESS_MAX) {
		descriptor_close(fd);
		return;
	}
	struct keys_peer *p = &k->receivers[peer.index];
	channel_free(p->channel);
	p->channel = channel_new(k->loop, fd, &handler, p);
	if (!p->channel)
		return;
	channel_set_secret(p->channel);
	send_trust(k, p);
	send_certificates(k, p);
	send_tickets(k, p);
}

static void keys_stop(void *arg)
{
	struct keys *k = arg;

	k->self->finished(k->self->arg, 0);
}

const struct role_ops keys_role = {
	.start = keys_start,
	.configure = keys_configure,
	.file = keys_file,
	.peer = keys_peer,
	.stop = keys_stop,
	.end = keys_end,
};
