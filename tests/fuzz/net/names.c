/*
 * Any names in a certificate that a trusted authority signed, as a server's that our client meets and as a client's
 * that shows it to our server. It counts for the name that was asked for only if that stands in it, whole (attacks
 * C7); nobody has a name that does not stand in it; and what people are shown is printable.
 *
 *	1 octet: what it is; then names, each of a kind, a length and its octets; or the octets of subjectAltName itself
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "directory/external.h"
#include "net/credential.h"
#include "net/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define NAME      "mx.example.com"
#define NAMES_MAX 20
#define DER_MAX   2000

enum { RAW = 1, COMMON = 2 };

/* Tags of GeneralName (RFC 5280 4.2.1.6) and what a name of that kind is called; of other names, none. */
static const struct {
	uint8_t tag;
	const char *called;
} kinds[] = {{0x82, "dns:"}, {0x81, "email:"}, {0x86, "uri:"}, {0x87, NULL}, {0x88, NULL}, {0xa0, NULL}, {0xa4, NULL}};
#define KINDS (sizeof kinds / sizeof *kinds)

struct name {
	size_t kind;
	struct slice octets;
};

static EVP_PKEY *key, *ca_key;
static X509 *ca;
static struct credential *ours;
static struct tls_server *server;
static struct tls_client *client;
static struct tls_trust *trust;

/* ---- certificates ----------------------------------------------------------------------------------------------- */

static X509 *certificate(EVP_PKEY *subject, X509 *issuer, struct slice common)
{
	X509 *x = X509_new();

	assert(x && X509_set_version(x, X509_VERSION_3));
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_gmtime_adj(X509_getm_notBefore(x), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x), 30 * 24 * 3600);
	X509_set_pubkey(x, subject);
	if (common.n > 0 && common.n <= 64)
		X509_NAME_add_entry_by_NID(X509_get_subject_name(x), NID_commonName, V_ASN1_T61STRING,
					   (const uint8_t *)common.p, (int)common.n, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
	return x;
}

static void add_extension(X509 *x, int nid, bool critical, struct slice der)
{
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();

	assert(value && ASN1_OCTET_STRING_set(value, (const uint8_t *)der.p, (int)der.n));
	X509_EXTENSION *e = X509_EXTENSION_create_by_NID(NULL, nid, critical, value);
	assert(e && X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(value);
}

static void add_length(struct buf *out, size_t n)
{
	if (n >= 256) {
		buf_add_char(out, (char)0x82);
		buf_add_char(out, (char)(n >> 8));
	} else if (n >= 128) {
		buf_add_char(out, (char)0x81);
	}
	buf_add_char(out, (char)n);
}

/* subjectAltName of these names. */
static void write_names(const struct name *names, size_t n, struct buf *out)
{
	struct buf list;

	buf_init(&list, 65536);
	for (size_t i = 0; i < n; i++) {
		buf_add_char(&list, (char)kinds[names[i].kind].tag);
		add_length(&list, names[i].octets.n);
		buf_add(&list, names[i].octets);
	}
	buf_add_char(out, 0x30);
	add_length(out, buf_len(&list));
	buf_add(out, buf_slice(&list));
	assert(!list.failed && !out->failed);
	buf_free(&list);
}

static size_t read_names(struct slice in, struct name *ret)
{
	size_t n = 0;

	while (in.n >= 2 && n < NAMES_MAX) {
		struct name *name = &ret[n++];
		name->kind = (uint8_t)in.p[0] % KINDS;
		size_t length = (uint8_t)in.p[1];
		name->octets = slice_head(slice_skip(in, 2), length);
		in = slice_skip(in, 2 + length);
	}
	return n;
}

/* ---- what has to come of it -------------------------------------------------------------------------------------- */

/* Printable ASCII; `text`: without spaces too. */
static bool is_plain(struct slice s, bool text)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < (text ? '!' : ' ') || s.p[i] > '~')
			return false;
	return true;
}

static bool is_for_us(const struct name *name)
{
	return name->kind == 0 &&
	       (slice_ieq(name->octets, SLICE(NAME)) || slice_ieq(name->octets, SLICE("*.example.com")));
}

static void check_client(const struct tls *t, bool raw, const struct name *names, size_t n)
{
	struct tls_facts facts;
	bool has = false, all_plain = true;

	tls_facts(t, &facts);
	assert(is_plain(facts.peer, false) && is_plain(slice_from_cstr(facts.unverified), false));
	assert(facts.verified == (facts.unverified[0] == '\0'));
	for (size_t i = 0; i < n; i++) {
		has |= is_for_us(&names[i]);
		all_plain &= kinds[names[i].kind].called && names[i].octets.n > 0 && is_plain(names[i].octets, true);
	}
	if (!raw)
		assert(!facts.verified || has);
	if (!raw && all_plain)
		assert(facts.verified == has);
}

/* Whether a line that stands for a holder's name is one of the certificate's. */
static bool is_listed(struct slice line, const struct name *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const char *called = kinds[names[i].kind].called;
		if (called && slice_starts(line, slice_from_cstr(called)) &&
		    slice_eq(slice_skip(line, strlen(called)), names[i].octets))
			return true;
	}
	return false;
}

static void check_server(const struct tls *t, bool raw, const struct name *names, size_t n)
{
	struct tls_facts facts;
	size_t lines = 0;

	tls_facts(t, &facts);
	assert(is_plain(slice_from_cstr(facts.unverified), false));
	assert(facts.verified == (facts.holder.n > 0));
	for (struct slice rest = facts.holder; rest.n > 0; lines++) {
		struct slice line = slice_split(&rest, '\n');
		assert(is_plain(line, true) && external_name_valid(line));
		assert(slice_starts(line, SLICE("key:")) == (lines == 0));
		assert(raw || lines == 0 || is_listed(line, names, n));
	}
}

/* ---- both ends --------------------------------------------------------------------------------------------------- */

static void to_peer(struct tls *t, SSL *peer)
{
	struct buf wire;

	buf_init(&wire, (size_t)1 << 20);
	assert(tls_output(t, &wire));
	if (buf_len(&wire) > 0)
		assert(BIO_write(SSL_get_rbio(peer), buf_slice(&wire).p, (int)buf_len(&wire)) > 0);
	buf_free(&wire);
}

static enum tls_result step(struct tls *t)
{
	enum tls_result result;

	while ((result = tls_handshake(t)) == TLS_SIGN) {
		uint8_t signature[TLS_SIGNATURE_MAX];
		size_t n = 0;
		assert(credential_sign(ours, tls_request(t), signature, &n));
		tls_signed(t, slice_of((const char *)signature, n));
	}
	return result;
}

/* Whether it came to its end: OpenSSL does not take every certificate that it could read. */
static bool shake(struct tls *t, SSL *peer)
{
	enum tls_result result = TLS_WAITS;
	char octets[4096];
	int n, done = 0;

	for (int i = 0; i < 10 && result != TLS_FAILED && (done != 1 || result != TLS_DONE); i++) {
		result = step(t);
		to_peer(t, peer);
		done = SSL_do_handshake(peer);
		while ((n = BIO_read(SSL_get_wbio(peer), octets, sizeof octets)) > 0)
			assert(tls_feed(t, slice_of(octets, (size_t)n)));
	}
	return result == TLS_DONE;
}

static SSL *peer_with(SSL_CTX *context, X509 *x)
{
	SSL *peer = SSL_new(context);
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	assert(peer && in && out);
	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(peer, in, out);
	if (SSL_use_certificate(peer, x) == 1 && SSL_use_PrivateKey(peer, key) == 1)
		return peer;
	SSL_free(peer);
	return NULL;
}

static void leave(struct tls *t, SSL *peer)
{
	tls_free(t);
	SSL_set_shutdown(peer, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(peer);
	ERR_clear_error();
}

static SSL_CTX *their_server, *their_client;

static void show(X509 *x, bool raw, const struct name *names, size_t n)
{
	struct tls_aim aim = {.name = SLICE(NAME), .peer = SLICE("192.0.2.1:25"), .strict = true};
	SSL *peer = peer_with(their_server, x);

	if (peer) {
		struct tls *t = tls_connect(client, &aim);
		assert(t);
		SSL_set_accept_state(peer);
		if (shake(t, peer))
			check_client(t, raw, names, n);
		leave(t, peer);
	}
	peer = peer_with(their_client, x);
	if (peer) {
		struct tls *t = tls_new(server, SLICE("smtp"));
		assert(t && tls_ask_certificate(t, trust));
		SSL_set_connect_state(peer);
		SSL_do_handshake(peer);
		char octets[4096];
		for (int k; (k = BIO_read(SSL_get_wbio(peer), octets, sizeof octets)) > 0;)
			assert(tls_feed(t, slice_of(octets, (size_t)k)));
		if (shake(t, peer))
			check_server(t, raw, names, n);
		leave(t, peer);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct name names[NAMES_MAX];
	struct buf der;

	if (size < 1 || size > DER_MAX)
		return 0;
	struct slice in = slice_of((const char *)data + 1, size - 1);
	bool raw = data[0] & RAW;
	size_t n = raw ? 0 : read_names(in, names);
	buf_init(&der, 65536);
	if (raw)
		buf_add(&der, in);
	else
		write_names(names, n, &der);
	X509 *x = certificate(key, ca, data[0] & COMMON && n > 0 ? names[0].octets : SLICE("x"));
	add_extension(x, NID_subject_alt_name, false, buf_slice(&der));
	assert(X509_sign(x, ca_key, EVP_sha256()) > 0);
	show(x, raw, names, n);
	X509_free(x);
	buf_free(&der);
	return 0;
}

/* ---- the house --------------------------------------------------------------------------------------------------- */

static void make_ours(const char *folder)
{
	char path[100], why[CREDENTIAL_WHY_MAX];
	const char *reason;

	ours = credential_self_signed(folder, SLICE(NAME), 1795219200000, why);
	assert(ours);
	struct tls_chain chain = *credential_chain(ours);
	chain.name = SLICE(NAME);
	server = tls_server_new(&chain, 1, &reason);
	assert(server);
	snprintf(path, sizeof path, "%s/self-signed.pem", folder);
	unlink(path);
	snprintf(path, sizeof path, "%s/self-signed.key", folder);
	unlink(path);
}

static void make_authority(const char *folder)
{
	static const char is_authority[] = "\x30\x03\x01\x01\xff";
	char path[100];
	const char *why;
	BIO *pem = BIO_new(BIO_s_mem());
	struct slice text;
	char *p;

	key = EVP_EC_gen("P-256");
	ca_key = EVP_EC_gen("P-256");
	ca = certificate(ca_key, NULL, SLICE("the authority"));
	add_extension(ca, NID_basic_constraints, true, slice_of(is_authority, sizeof is_authority - 1));
	assert(X509_sign(ca, ca_key, EVP_sha256()) > 0 && PEM_write_bio_X509(pem, ca));
	text.n = (size_t)BIO_get_mem_data(pem, &p);
	text.p = p;
	trust = tls_trust_new(&(struct tls_trust_text){.authorities = text}, &why);
	snprintf(path, sizeof path, "%s/ca.pem", folder);
	FILE *f = fopen(path, "w");
	assert(f && fwrite(text.p, 1, text.n, f) == text.n && fclose(f) == 0);
	client = tls_client_new(path, NULL);
	assert(trust && client && !tls_client_complaint(client));
	unlink(path);
	BIO_free(pem);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char folder[] = "/tmp/postrider-fuzz-names.XXXXXX";

	(void)argc;
	(void)argv;
	assert(mkdtemp(folder));
	make_ours(folder);
	make_authority(folder);
	rmdir(folder);
	their_server = SSL_CTX_new(TLS_server_method());
	their_client = SSL_CTX_new(TLS_client_method());
	assert(their_server && their_client);
	SSL_CTX_set_session_cache_mode(their_server, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(their_server, 0);
	/* Their answer to a good certificate is the same as to a bad one: it is our end that judges. */
	SSL_CTX_set_verify(their_client, SSL_VERIFY_NONE, NULL);
	return 0;
}
