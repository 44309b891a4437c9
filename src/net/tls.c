#include "net/tls.h"

#include "base/heap.h"
#include "mail/address.h"
#include "net/tls_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/async.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#define IDLE_FED_MAX    ((size_t)32 * 1024)
#define KEY_UPDATES_MAX 64 /* of one session; an honest one has one for each 2^24 records (RFC 8446 5.5) */
/* Handshakes that wait for a signature at one time: each has a stack of its own. */
#define JOBS_MAX        4096

/* Forward secrecy and authenticated encryption alone. */
#define CIPHERS         "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
#define SUITES          "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"

struct tls_server {
	unsigned refs;
	struct tls_certificate *certificates; /* the first stands for all names that no other is for */
	size_t count;
	struct tls_tickets tickets;
};

static struct tls *tls_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

/* What a name of SNI is kept as: a host name in lower case, or nothing. */
static void keep_name(struct tls *t, struct slice name)
{
	t->name[0] = '\0';
	if (name.n > TLS_NAME_MAX || !mail_domain_valid(name, false))
		return;
	for (size_t i = 0; i < name.n; i++)
		t->name[i] = ascii_lower(name.p[i]);
	t->name[name.n] = '\0';
}

/* RFC 6066 3: a list of one host name, each length before its octets. */
static struct slice name_of_extension(const uint8_t *p, size_t n)
{
	if (n < 5 || (size_t)(p[0] << 8 | p[1]) != n - 2 || p[2] != TLSEXT_NAMETYPE_host_name ||
	    (size_t)(p[3] << 8 | p[4]) > n - 5)
		return SLICE_NONE;
	return slice_of((const char *)p + 5, (size_t)(p[3] << 8 | p[4]));
}

static bool is_for(struct slice pattern, struct slice name)
{
	if (slice_starts(pattern, SLICE("*."))) {
		/* One label stands for the star (RFC 6125 6.4.3). */
		pattern = slice_skip(pattern, 1);
		name = slice_skip(name, slice_find(name, '.'));
	}
	return name.n > 0 && slice_ieq(pattern, name);
}

static SSL_CTX *context_for(const struct tls_server *s, struct slice name)
{
	for (size_t i = 0; i < s->count; i++)
		if (is_for(slice_from_cstr(s->certificates[i].name), name))
			return s->certificates[i].context;
	return s->certificates[0].context;
}

/* The first of all that is called: what comes later already knows the name. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls *t = tls_of(ssl);
	const uint8_t *p;
	size_t n;

	(void)arg;
	if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n))
		keep_name(t, name_of_extension(p, n));
	if (SSL_set_SSL_CTX(ssl, context_for(t->server, slice_from_cstr(t->name))))
		return SSL_CLIENT_HELLO_SUCCESS;
	*alert = SSL_AD_INTERNAL_ERROR;
	return SSL_CLIENT_HELLO_ERROR;
}

/* Without an answer of ours OpenSSL would not tell the client that its name was heard. */
static int on_servername(SSL *ssl, int *alert, void *arg)
{
	(void)alert;
	(void)arg;
	return tls_of(ssl)->name[0] ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

/* Whoever meant to talk to another kind of server is told so (attacks C5). */
static int on_alpn(SSL *ssl, const uint8_t **ret, uint8_t *ret_n, const uint8_t *in, unsigned n, void *arg)
{
	static const char smtp[] = "smtp";

	(void)ssl;
	(void)arg;
	for (unsigned i = 0; i < n; i += 1u + in[i])
		if (in[i] == sizeof smtp - 1 && i + in[i] < n && memcmp(in + i + 1, smtp, sizeof smtp - 1) == 0) {
			*ret = in + i + 1;
			*ret_n = in[i];
			return SSL_TLSEXT_ERR_OK;
		}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- stapling (RFC 6066 8) ------------------------------------------------------------------------------------ */

/* The client asks for it. */
static int on_status(SSL *ssl, void *arg)
{
	const struct tls *t = tls_of(ssl);
	const struct tls_server *s = t->server;

	(void)arg;
	for (size_t i = 0; i < s->count; i++)
		if (s->certificates[i].context == SSL_get_SSL_CTX(ssl) &&
		    tls_certificate_staple(&s->certificates[i], ssl, t->now))
			return SSL_TLSEXT_ERR_OK;
	return SSL_TLSEXT_ERR_NOACK;
}

void tls_set_now(struct tls *t, wall_ms now)
{
	t->now = now;
}

/* ---- tickets -------------------------------------------------------------------------------------------------- */

/* A key of its own for each listener: elsewhere a ticket is a stranger's. */
static bool derive(const struct tls_ticket_key *key, const struct tls *t, uint8_t purpose, uint8_t ret[32])
{
	uint8_t text[sizeof t->binding + 1];
	size_t n = 0;

	memcpy(text, t->binding, sizeof t->binding);
	text[sizeof t->binding] = purpose;
	return EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, key->secret, sizeof key->secret, text, sizeof text, ret,
			 32, &n) &&
	       n == 32;
}

static bool use_ticket_key(const struct tls_ticket_key *key, const struct tls *t, const uint8_t *iv,
			   EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing)
{
	uint8_t secret[32], seal[32];
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, seal, sizeof seal),
			       OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, sizeof digest - 1),
			       OSSL_PARAM_END};
	bool good = derive(key, t, 1, secret) && derive(key, t, 2, seal) && EVP_MAC_CTX_set_params(mac, params) &&
		    EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, secret, iv, sealing);

	OPENSSL_cleanse(secret, sizeof secret);
	OPENSSL_cleanse(seal, sizeof seal);
	return good;
}

/* -1: trouble; 0: no key of ours; 1: good; 2: good, and to be replaced by a new one. */
static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
			 int sealing)
{
	struct tls *t = tls_of(ssl);
	const struct tls_tickets *k = &t->server->tickets;
	size_t i = 0;

	if (sealing) {
		if (k->count == 0)
			return 0;
		if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1)
			return -1;
		memcpy(name, k->key[0].name, TLS_TICKET_NAME);
	} else {
		while (i < k->count && memcmp(name, k->key[i].name, TLS_TICKET_NAME) != 0)
			i++;
		if (i == k->count)
			return 0;
	}
	if (!use_ticket_key(&k->key[i], t, iv, cipher, mac, sealing))
		return -1;
	return i == 0 ? 1 : 2;
}

/* A session belongs to the name that was asked for (RFC 6066 3). */
static int on_ticket_made(SSL *ssl, void *arg)
{
	const struct tls *t = tls_of(ssl);

	(void)arg;
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), t->name, strlen(t->name));
}

static SSL_TICKET_RETURN on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_n,
					  SSL_TICKET_STATUS status, void *arg)
{
	const struct tls *t = tls_of(ssl);
	void *bound = NULL;
	size_t n = 0;

	(void)name;
	(void)name_n;
	(void)arg;
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (!SSL_SESSION_get0_ticket_appdata(session, &bound, &n) ||
	    !slice_eq(slice_of(bound, n), slice_from_cstr(t->name)))
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return SSL_TICKET_RETURN_USE_RENEW;
}

bool tls_tickets_renew(struct tls_tickets *t)
{
	struct tls_ticket_key fresh;

	if (RAND_bytes(fresh.name, sizeof fresh.name) != 1 || RAND_priv_bytes(fresh.secret, sizeof fresh.secret) != 1)
		return false;
	t->key[1] = t->key[0];
	t->key[0] = fresh;
	t->count = t->count > 0 ? 2 : 1;
	OPENSSL_cleanse(&fresh, sizeof fresh);
	return true;
}

void tls_server_set_tickets(struct tls_server *s, const struct tls_tickets *tickets)
{
	assert(tickets->count <= sizeof tickets->key / sizeof *tickets->key);
	s->tickets = *tickets;
	for (size_t i = 0; i < s->count; i++) {
		SSL_CTX *c = s->certificates[i].context;
		SSL_CTX_set_timeout(c, tickets->lifetime / SECOND);
		SSL_CTX_set_num_tickets(c, tickets->count > 0 ? 1 : 0);
		if (tickets->count > 0)
			SSL_CTX_clear_options(c, SSL_OP_NO_TICKET);
		else
			SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
	}
}

/* ---- certificates --------------------------------------------------------------------------------------------- */

static SSL_CTX *new_context(void)
{
	static char groups[] = "X25519:P-256:P-384"; /* the macro that takes it wants no const */
	SSL_CTX *c = SSL_CTX_new(TLS_server_method());

	if (!c)
		return NULL;
	SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
				       SSL_OP_PRIORITIZE_CHACHA | SSL_OP_NO_TICKET | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_client_hello_cb(c, on_client_hello, NULL);
	SSL_CTX_set_cert_verify_callback(c, tls_take_any_certificate, NULL);
	SSL_CTX_set_tlsext_servername_callback(c, on_servername);
	SSL_CTX_set_alpn_select_cb(c, on_alpn, NULL);
	SSL_CTX_set_tlsext_status_cb(c, on_status);
	SSL_CTX_set_tlsext_ticket_key_evp_cb(c, on_ticket_key);
	SSL_CTX_set_session_ticket_cb(c, on_ticket_made, on_ticket_opened, NULL);
	if (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) && SSL_CTX_set_max_proto_version(c, 0) &&
	    SSL_CTX_set_cipher_list(c, CIPHERS) && SSL_CTX_set_ciphersuites(c, SUITES) &&
	    SSL_CTX_set1_groups_list(c, groups))
		return c;
	SSL_CTX_free(c);
	return NULL;
}

/* That of the name, or a new one; NULL: no memory. */
static struct tls_certificate *certificate_for(struct tls_server *s, struct slice name)
{
	for (size_t i = 0; i < s->count; i++)
		if (slice_ieq(slice_from_cstr(s->certificates[i].name), name))
			return &s->certificates[i];
	struct tls_certificate *c = &s->certificates[s->count];
	c->context = new_context();
	if (!c->context)
		return NULL;
	if (name.n > 0)
		memcpy(c->name, name.p, name.n);
	s->count++;
	return c;
}

static bool add_chain(struct tls_server *s, const struct tls_chain *chain, const char **why)
{
	assert(chain->count > 0 && chain->name.n <= TLS_NAME_MAX);
	struct tls_certificate *c = certificate_for(s, chain->name);

	*why = c ? tls_certificate_use(c, chain) : "out of memory";
	return *why == NULL;
}

/* What a file of the system says about TLS is not asked: this file says it. */
bool tls_prepare(void)
{
	return OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL);
}

bool tls_begin_library(void)
{
	static bool begun;

	begun = begun || (tls_prepare() && ASYNC_init_thread(JOBS_MAX, 0));
	return begun;
}

struct tls_server *tls_server_new(const struct tls_chain *chains, size_t count, const char **why)
{
	struct tls_server *s = heap_new(struct tls_server);
	bool good = s != NULL;

	assert(count > 0 && count <= TLS_CHAINS_MAX);
	*why = "out of memory";
	if (s) {
		s->refs = 1;
		s->certificates = heap_array(count, sizeof *s->certificates);
		good = s->certificates && tls_begin_library();
	}
	for (size_t i = 0; good && i < count; i++)
		good = add_chain(s, &chains[i], why);
	ERR_clear_error();
	if (good)
		return s;
	tls_server_unref(s);
	return NULL;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
	s->refs++;
	return s;
}

void tls_server_unref(struct tls_server *s)
{
	if (!s || --s->refs > 0)
		return;
	for (size_t i = 0; i < s->count; i++)
		tls_certificate_free(&s->certificates[i]);
	heap_free(s->certificates);
	OPENSSL_cleanse(&s->tickets, sizeof s->tickets);
	heap_free(s);
}

/* ---- a session ------------------------------------------------------------------------------------------------ */

static void on_message(int sent, int version, int type, const void *p, size_t n, SSL *ssl, void *arg)
{
	struct tls *t = tls_of(ssl);

	(void)version;
	(void)arg;
	if (!sent && type == SSL3_RT_HANDSHAKE && n > 0 && *(const uint8_t *)p == SSL3_MT_KEY_UPDATE)
		t->key_updates++;
}

struct tls *tls_open(SSL_CTX *context)
{
	struct tls *t = heap_new(struct tls);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	if (t)
		t->ssl = SSL_new(context);
	if (!t || !t->ssl || !in || !out) {
		BIO_free(in);
		BIO_free(out);
		tls_free(t);
		return NULL;
	}
	/* An empty one is no end: more may be fed. */
	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(t->ssl, in, out);
	SSL_set_app_data(t->ssl, t);
	SSL_set_msg_callback(t->ssl, on_message);
	return t;
}

struct tls *tls_new(struct tls_server *server, struct slice binding)
{
	struct tls *t = tls_open(server->certificates[0].context);

	if (!t)
		return NULL;
	t->server = tls_server_ref(server);
	if (!EVP_Digest(binding.p, binding.n, t->binding, NULL, EVP_sha256(), NULL) ||
	    !SSL_set_session_id_context(t->ssl, t->binding, sizeof t->binding)) {
		tls_free(t);
		return NULL;
	}
	SSL_set_mode(t->ssl, SSL_MODE_ASYNC);
	SSL_set_accept_state(t->ssl);
	return t;
}

/* A job that is paused has a stack with things on it: it is run to its end, which is a refusal. */
static void end_job(struct tls *t)
{
	if (t->signing.state == TLS_SIGNING_IDLE)
		return;
	tls_signed(t, SLICE_NONE);
	tls_handshake(t);
	assert(t->signing.state == TLS_SIGNING_IDLE);
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	if (t->ssl)
		end_job(t);
	/* How the connection ended says nothing about the session (RFC 4346 7.2.1); OpenSSL would not resume one whose
	 * end was not said. */
	if (t->done && !t->failed)
		SSL_set_shutdown(t->ssl, SSL_get_shutdown(t->ssl) | SSL_SENT_SHUTDOWN);
	SSL_free(t->ssl);
	ERR_clear_error();
	tls_server_unref(t->server);
	tls_client_unref(t->client);
	tls_trust_unref(t->trust);
	buf_free(&t->holder);
	heap_free(t);
}

bool tls_feed(struct tls *t, struct slice octets)
{
	assert(octets.n <= INT32_MAX);
	t->fed += octets.n;
	return octets.n == 0 || BIO_write(SSL_get_rbio(t->ssl), octets.p, (int)octets.n) == (int)octets.n;
}

size_t tls_pending(const struct tls *t)
{
	return BIO_ctrl_pending(SSL_get_rbio(t->ssl));
}

/* Clearing a list that is empty costs as much as sealing some hundred octets. */
static void clear_errors(void)
{
	if (ERR_peek_error())
		ERR_clear_error();
}

static enum tls_result fail(struct tls *t, const char *why)
{
	if (!t->failed)
		snprintf(t->why, sizeof t->why, "%s", why);
	t->failed = true;
	ERR_clear_error();
	return TLS_FAILED;
}

/* The first of what OpenSSL has to say is the cause; the rest follows from it. */
static enum tls_result fail_by_library(struct tls *t)
{
	unsigned long error = ERR_peek_error();
	const char *reason = error ? ERR_reason_error_string(error) : NULL;

	return fail(t, reason ? reason : "the connection broke");
}

static enum tls_result result_of(struct tls *t, int returned)
{
	if (t->key_updates > KEY_UPDATES_MAX)
		return fail(t, "too many key updates");
	switch (SSL_get_error(t->ssl, returned)) {
	case SSL_ERROR_NONE:
		return TLS_DONE;
	case SSL_ERROR_WANT_READ:
		return TLS_WAITS;
	case SSL_ERROR_WANT_ASYNC:
		return TLS_SIGN;
	case SSL_ERROR_ZERO_RETURN:
		return TLS_ENDED;
	case SSL_ERROR_WANT_ASYNC_JOB:
		return fail(t, "too many handshakes wait for a signature");
	default:
		return fail_by_library(t);
	}
}

enum tls_result tls_handshake(struct tls *t)
{
	if (t->failed)
		return TLS_FAILED;
	if (t->signing.state == TLS_SIGNING_ASKED)
		return TLS_SIGN;
	ERR_clear_error();
	tls_key_use(&t->signing);
	int returned = SSL_do_handshake(t->ssl);
	tls_key_use(NULL);
	enum tls_result result = result_of(t, returned);
	assert((result == TLS_SIGN) == (t->signing.state == TLS_SIGNING_ASKED));
	if (result == TLS_DONE) {
		t->done = true;
		SSL_clear_mode(t->ssl, SSL_MODE_ASYNC);
		if (t->client)
			tls_judge(t);
		else if (t->trust)
			tls_judge_holder(t);
	}
	return result;
}

/* A memory BIO keeps the room that it once took: an idle session shall not own it. */
static void give_back(struct tls *t)
{
	BIO *fresh;

	if (t->fed < IDLE_FED_MAX || tls_pending(t) > 0 || !(fresh = BIO_new(BIO_s_mem())))
		return;
	BIO_set_mem_eof_return(fresh, -1);
	SSL_set0_rbio(t->ssl, fresh);
	t->fed = 0;
}

enum tls_result tls_read(struct tls *t, char *into, size_t room, size_t *ret_n)
{
	assert(t->done);
	*ret_n = 0;
	if (t->failed)
		return TLS_FAILED;
	clear_errors();
	enum tls_result result = result_of(t, SSL_read_ex(t->ssl, into, room, ret_n));
	if (result == TLS_WAITS)
		give_back(t);
	return result;
}

bool tls_write(struct tls *t, struct slice octets)
{
	size_t written = 0;

	assert(t->done);
	if (octets.n == 0)
		return true;
	if (t->failed)
		return false;
	clear_errors();
	if (SSL_write_ex(t->ssl, octets.p, octets.n, &written) && written == octets.n)
		return true;
	fail_by_library(t);
	return false;
}

void tls_close(struct tls *t)
{
	if (!t->done || t->failed)
		return;
	ERR_clear_error();
	SSL_shutdown(t->ssl);
	ERR_clear_error();
}

bool tls_output(struct tls *t, struct buf *out)
{
	BIO *bio = SSL_get_wbio(t->ssl);
	size_t n = BIO_ctrl_pending(bio);
	char *room = n > 0 ? buf_reserve(out, n) : NULL;

	if (n == 0)
		return true;
	if (!room || BIO_read(bio, room, (int)n) != (int)n)
		return false;
	buf_wrote(out, n);
	return true;
}

const struct tls_request *tls_request(const struct tls *t)
{
	assert(t->signing.state == TLS_SIGNING_ASKED);
	return &t->signing.request;
}

void tls_signed(struct tls *t, struct slice signature)
{
	assert(t->signing.state == TLS_SIGNING_ASKED);
	t->signing.n = signature.n <= sizeof t->signing.signature ? signature.n : 0;
	memcpy(t->signing.signature, signature.p ? signature.p : "", t->signing.n);
	t->signing.state = TLS_SIGNING_ANSWERED;
}

/* ---- facts ---------------------------------------------------------------------------------------------------- */

void tls_facts(const struct tls *t, struct tls_facts *ret)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);
	int group = (int)SSL_get_negotiated_group(t->ssl);
	const char *group_name = group ? SSL_group_to_name(t->ssl, group) : NULL;

	assert(t->done);
	*ret = (struct tls_facts){
		.version = SSL_get_version(t->ssl),
		.cipher = SSL_CIPHER_standard_name(cipher),
		.group = group_name ? group_name : "",
		.resumed = SSL_session_reused(t->ssl),
		.name = slice_from_cstr(t->name),
		.verified = t->verdict.verified,
		.unverified = t->verdict.why,
		.peer = slice_from_cstr(t->verdict.peer),
		.holder = buf_slice(&t->holder),
	};
}

void tls_binding(const struct tls *t, struct tls_binding *ret)
{
	static const char label[] = "EXPORTER-Channel-Binding";
	bool old = SSL_version(t->ssl) < TLS1_3_VERSION;

	assert(t->done);
	*ret = (struct tls_binding){0};
	if (old && SSL_get_extms_support(t->ssl) != 1)
		return;
	if (SSL_export_keying_material(t->ssl, ret->exporter, sizeof ret->exporter, label, sizeof label - 1,
				       (const unsigned char *)"", 0, 1) == 1)
		ret->exporter_n = sizeof ret->exporter;
	ERR_clear_error();
	if (!old)
		return;
	/* The first Finished message: the client's, but the server's in a handshake that resumes. */
	bool ours = SSL_is_server(t->ssl) == SSL_session_reused(t->ssl);
	ret->unique_n = ours ? SSL_get_finished(t->ssl, ret->unique, sizeof ret->unique)
			     : SSL_get_peer_finished(t->ssl, ret->unique, sizeof ret->unique);
	if (ret->unique_n > sizeof ret->unique)
		ret->unique_n = 0;
}

const char *tls_why(const struct tls *t)
{
	return t->failed ? t->why : "";
}
