/*
 * The client's side of TLS. Every handshake is gone through with, whatever the certificate is worth (SSL_VERIFY_NONE):
 * OpenSSL checks it all the same, and tls_judge writes down what it found.
 *
 * Weak ciphers do not count against a certificate, nor the other way round: what is required of keys and digests of a
 * chain (AUTH_LEVEL) is the same for every session.
 */
#include "base/heap.h"
#include "mail/address.h"
#include "net/credential.h"
#include "net/tls_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

/* 112 bits: RSA from 2048 on, no SHA-1. */
#define AUTH_LEVEL   2
#define ANY_LEVEL    1 /* for a session whose server is not verified: 80 bits are better than none */
#define CIPHERS      "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20"
#define ANY_CIPHERS  CIPHERS ":ECDHE+AES:DHE+AES:RSA+AES"
#define SUITES       "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256"
#define GROUPS       "X25519:P-256:P-384:P-521"
/* Sessions to be resumed, of all peers; and for how long, since the certificate is not looked at again. */
#define KEPT_MAX     256
#define KEPT_SECONDS (2 * 60 * 60)
#define NAMES_SHOWN  4

struct kept {
	uint8_t peer[SHA256_DIGEST_LENGTH];
	SSL_SESSION *session; /* NULL: the place is free */
	struct tls_verdict verdict;
};

struct tls_client {
	unsigned refs;
	SSL_CTX *context;
	char complaint[TLS_WHY_MAX];
	struct kept kept[KEPT_MAX];
	size_t next; /* place for the next */
};

static struct tls *tls_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

/* ---- sessions that were --------------------------------------------------------------------------------------- */

static bool is_stale(const SSL_SESSION *session)
{
	long age = (long)(time(NULL) - (time_t)SSL_SESSION_get_time(session));

	return age < 0 || age > KEPT_SECONDS || age > SSL_SESSION_get_timeout(session);
}

/* A ticket of TLS 1.3 is for one use, lest sessions be known as one's (RFC 8446 C.4). */
static void resume(struct tls *t)
{
	for (size_t i = 0; i < KEPT_MAX; i++) {
		/* The newest first. */
		struct kept *k = &t->client->kept[(t->client->next + KEPT_MAX - 1 - i) % KEPT_MAX];
		if (!k->session || memcmp(k->peer, t->peer, sizeof k->peer) != 0)
			continue;
		bool stale = is_stale(k->session);
		if (!stale && SSL_set_session(t->ssl, k->session))
			t->verdict = k->verdict;
		if (stale || SSL_SESSION_get_protocol_version(k->session) == TLS1_3_VERSION) {
			SSL_SESSION_free(k->session);
			k->session = NULL;
		}
		if (!stale)
			return;
	}
}

/* Comes before the end of a handshake of TLS 1.2, and behind that of TLS 1.3. 1: the session is ours. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls *t = tls_of(ssl);
	struct tls_client *c = t->client;
	struct kept *k = &c->kept[c->next];

	if (!SSL_SESSION_is_resumable(session))
		return 0;
	tls_judge(t);
	c->next = (c->next + 1) % KEPT_MAX;
	SSL_SESSION_free(k->session);
	*k = (struct kept){.session = session, .verdict = t->verdict};
	memcpy(k->peer, t->peer, sizeof k->peer);
	return 1;
}

/* ---- certificates --------------------------------------------------------------------------------------------- */

/* Octets of a certificate, made fit to be read by people. */
static void add_name(char *into, size_t room, struct slice name)
{
	size_t n = strlen(into);

	if (n > 0 && n + 2 < room)
		n += (size_t)snprintf(into + n, room - n, ", ");
	for (size_t i = 0; i < name.n && n + 1 < room; i++)
		into[n++] = ascii_is_print(name.p[i]) ? name.p[i] : '?';
	into[n] = '\0';
}

static void add_general_name(char *into, size_t room, const GENERAL_NAME *name)
{
	char text[64];

	if (name->type == GEN_DNS) {
		add_name(into, room,
			 slice_of((const char *)ASN1_STRING_get0_data(name->d.dNSName),
				  (size_t)ASN1_STRING_length(name->d.dNSName)));
	} else if (name->type == GEN_IPADD) {
		const uint8_t *p = ASN1_STRING_get0_data(name->d.iPAddress);
		int n = ASN1_STRING_length(name->d.iPAddress);
		if (n == 4)
			snprintf(text, sizeof text, "%u.%u.%u.%u", p[0], p[1], p[2], p[3]);
		else
			snprintf(text, sizeof text, "an IPv6 address");
		add_name(into, room, slice_from_cstr(text));
	}
}

/* The names that count, or the one that people put there before those were (RFC 9525 2). */
static void name_peer(X509 *x, char *into, size_t room)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	int count = names ? sk_GENERAL_NAME_num(names) : 0;
	char common[100];
	int n;

	into[0] = '\0';
	for (int i = 0; i < count && i < NAMES_SHOWN; i++)
		add_general_name(into, room, sk_GENERAL_NAME_value(names, i));
	if (count > NAMES_SHOWN)
		add_name(into, room, SLICE("..."));
	GENERAL_NAMES_free(names);
	if (into[0])
		return;
	n = X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, common, sizeof common);
	if (n > 0) {
		add_name(into, room, SLICE("CN="));
		add_name(into + strlen(into), room - strlen(into), slice_of(common, (size_t)n));
	}
}

/* RFC 5280 6.1.4 (k): OpenSSL takes an issuer for an authority by its key usage alone. A root of version 1 is one
 * because we were told so. */
bool tls_is_chain_of_authorities(STACK_OF(X509) *chain)
{
	int n = chain ? sk_X509_num(chain) : 0;

	for (int i = 1; i < n; i++) {
		int ca = X509_check_ca(sk_X509_value(chain, i));
		if (ca != 1 && !(ca == 3 && i == n - 1))
			return false;
	}
	return n > 0;
}

static void judge(struct tls *t, X509 *x, struct tls_verdict *v)
{
	long found = SSL_get_verify_result(t->ssl);

	name_peer(x, v->peer, sizeof v->peer);
	if (t->client->complaint[0])
		snprintf(v->why, sizeof v->why, "%s", t->client->complaint);
	else if (found == X509_V_ERR_HOSTNAME_MISMATCH || found == X509_V_ERR_IP_ADDRESS_MISMATCH)
		snprintf(v->why, sizeof v->why, "its certificate is for another name than %.80s: %.80s", t->name,
			 v->peer[0] ? v->peer : "it has none");
	else if (found != X509_V_OK)
		snprintf(v->why, sizeof v->why, "%s", X509_verify_cert_error_string(found));
	else if (!tls_is_chain_of_authorities(SSL_get0_verified_chain(t->ssl)))
		snprintf(v->why, sizeof v->why, "an issuer in its certificate's chain is no authority");
	else
		v->verified = true;
}

void tls_judge(struct tls *t)
{
	X509 *x = SSL_get0_peer_certificate(t->ssl);

	/* The verdict is that of the first session. */
	if (SSL_session_reused(t->ssl))
		return;
	t->verdict = (struct tls_verdict){0};
	if (x)
		judge(t, x, &t->verdict);
	else
		snprintf(t->verdict.why, sizeof t->verdict.why, "it has no certificate");
	ERR_clear_error();
}

/* ---- who is trusted ------------------------------------------------------------------------------------------- */

static void complain(struct tls_client *c, const char *what, const char *path, const char *why)
{
	if (!c->complaint[0])
		/* The path comes last: it may be long. */
		(void)!snprintf(c->complaint, sizeof c->complaint, "%s cannot be read: %s (%.150s)", what, why, path);
}

/* From where it stands. NULL: it complained. */
static BIO *read_file(struct tls_client *c, const char *what, const struct credential_file *f)
{
	int fd = f->fd < 0 ? -1 : fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
	FILE *stream = fd < 0 ? NULL : fdopen(fd, "r");
	BIO *bio = stream ? BIO_new_fp(stream, BIO_CLOSE) : NULL;

	if (bio)
		return bio;
	complain(c, what, f->path, strerror(f->fd < 0 ? f->error : errno));
	if (stream)
		(void)fclose(stream);
	else if (fd >= 0)
		close(fd);
	return NULL;
}

/* Lists of revoked certificates may stand there as well. False: there is nothing, or something is broken. */
static bool add_certificates(X509_STORE *store, BIO *from)
{
	STACK_OF(X509_INFO) *list = PEM_X509_INFO_read_bio(from, NULL, NULL, NULL);
	int added = 0;

	for (int i = 0; i < sk_X509_INFO_num(list); i++) {
		const X509_INFO *info = sk_X509_INFO_value(list, i);
		added += info->x509 && X509_STORE_add_cert(store, info->x509);
		added += info->crl && X509_STORE_add_crl(store, info->crl);
	}
	sk_X509_INFO_pop_free(list, X509_INFO_free);
	return added > 0;
}

static void add_trusted(struct tls_client *c, const struct credential_file *f)
{
	static const char what[] = "the authorities";
	X509_STORE *store = SSL_CTX_get_cert_store(c->context);

	if (!f) {
		X509_STORE_set_default_paths(store);
		return;
	}
	BIO *bio = read_file(c, what, f);
	if (bio && !add_certificates(store, bio))
		complain(c, what, f->path, "it holds no certificate in PEM");
	BIO_free(bio);
}

static bool add_lists(X509_STORE *store, BIO *from)
{
	bool good = true, any = false;

	for (X509_CRL *crl; good && (crl = PEM_read_bio_X509_CRL(from, NULL, NULL, NULL)); any = true) {
		good = X509_STORE_add_crl(store, crl);
		X509_CRL_free(crl);
	}
	/* Behind the last one is nothing more; else one is broken. */
	return good && any && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

static void add_revoked(struct tls_client *c, const struct credential_file *f)
{
	static const char what[] = "revoked certificates";
	X509_STORE *store = SSL_CTX_get_cert_store(c->context);
	BIO *bio = read_file(c, what, f);

	if (bio && !add_lists(store, bio))
		complain(c, what, f->path, "it holds no list (CRL) in PEM");
	BIO_free(bio);
	X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

static SSL_CTX *new_context(void)
{
	static char groups[] = GROUPS; /* the macro that takes it wants no const */
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());

	if (!c)
		return NULL;
	SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_IGNORE_UNEXPECTED_EOF);
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c, on_session);
	if (SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) && SSL_CTX_set_max_proto_version(c, 0) &&
	    SSL_CTX_set_ciphersuites(c, SUITES) && SSL_CTX_set1_groups_list(c, groups))
		return c;
	SSL_CTX_free(c);
	return NULL;
}

struct tls_client *tls_client_of(const struct credential_file *authorities, const struct credential_file *revoked)
{
	struct tls_client *c = heap_new(struct tls_client);

	if (!c)
		return NULL;
	c->refs = 1;
	c->context = tls_begin_library() ? new_context() : NULL;
	if (!c->context) {
		tls_client_unref(c);
		return NULL;
	}
	add_trusted(c, authorities);
	if (revoked)
		add_revoked(c, revoked);
	ERR_clear_error();
	return c;
}

struct tls_client *tls_client_new(const char *authorities, const char *revoked)
{
	struct credential_file none = {.fd = -1}, a = authorities ? credential_file_open(authorities) : none,
			       r = revoked ? credential_file_open(revoked) : none;
	struct tls_client *c = tls_client_of(authorities ? &a : NULL, revoked ? &r : NULL);

	credential_file_close(&a);
	credential_file_close(&r);
	return c;
}

const char *tls_client_complaint(const struct tls_client *c)
{
	return c->complaint[0] ? c->complaint : NULL;
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
	c->refs++;
	return c;
}

void tls_client_unref(struct tls_client *c)
{
	if (!c || --c->refs > 0)
		return;
	for (size_t i = 0; i < KEPT_MAX; i++)
		SSL_SESSION_free(c->kept[i].session);
	SSL_CTX_free(c->context);
	heap_free(c);
}

/* ---- a session ------------------------------------------------------------------------------------------------ */

/* The certificate has to be for this name, and the server is told it, unless it is an address (RFC 6066 3). */
static bool expect_name(struct tls *t, struct slice name)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);

	if (name.n == 0 || name.n > TLS_NAME_MAX)
		return false;
	for (size_t i = 0; i < name.n; i++)
		t->name[i] = ascii_lower(name.p[i]);
	X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
	X509_VERIFY_PARAM_set_hostflags(param,
					X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
	if (X509_VERIFY_PARAM_set1_ip_asc(param, t->name))
		return true;
	/* A dot in front would stand for any name below (X509_check_host). */
	return mail_domain_valid(name, false) && X509_VERIFY_PARAM_set1_host(param, t->name, name.n) &&
	       SSL_set_tlsext_host_name(t->ssl, t->name);
}

/* All that has to be the same for a session to be resumed. */
static bool name_session(struct tls *t, const struct tls_aim *aim)
{
	char text[1024];
	int n = snprintf(text, sizeof text, "%s %c %.*s", t->name, aim->strict ? 's' : 'a', SLICE_ARGS(aim->peer));

	return n > 0 && (size_t)n < sizeof text && EVP_Digest(text, (size_t)n, t->peer, NULL, EVP_sha256(), NULL);
}

struct tls *tls_connect(struct tls_client *client, const struct tls_aim *aim)
{
	struct tls *t = tls_open(client->context);

	if (!t)
		return NULL;
	t->client = tls_client_ref(client);
	SSL_set_connect_state(t->ssl);
	SSL_set_security_level(t->ssl, aim->strict ? AUTH_LEVEL : ANY_LEVEL);
	if (!SSL_set_cipher_list(t->ssl, aim->strict ? CIPHERS : ANY_CIPHERS) || !expect_name(t, aim->name) ||
	    !name_session(t, aim)) {
		ERR_clear_error();
		tls_free(t);
		return NULL;
	}
	resume(t);
	ERR_clear_error();
	return t;
}
