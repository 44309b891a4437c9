/*
 * A client's session of TLS without I/O, against OpenSSL's own server in memory: what certificates are worth, sessions
 * that are resumed, and handshakes that are cut, damaged or answered with something else.
 */
#include "test.h"

#include "net/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

static char folder[64];
static EVP_PKEY *ca_key;
static X509 *ca;

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned n;

	char *p = paths[n++ % 4];
	snprintf(p, sizeof paths[0], "%s/%s", folder, name);
	return p;
}

/* ---- certificates --------------------------------------------------------------------------------------------- */

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;

	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(e);
	assert_true(X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
}

struct wish {
	const char *names; /* "DNS:a, DNS:b"; NULL: none */
	const char *common;
	long begins, ends; /* seconds from now; 0 and 0: an hour */
	bool self_signed, authority;
};

/* Signed by the authority of this test; signed by itself without one. */
static X509 *certificate(EVP_PKEY *key, const struct wish *w)
{
	static long serial;
	X509 *x = X509_new();
	bool by_itself = w->self_signed || !ca;

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(x), w->begins);
	X509_gmtime_adj(X509_getm_notAfter(x), w->ends ? w->ends : 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)w->common, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(by_itself ? x : ca));
	if (w->authority)
		add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE");
	if (w->names)
		add_extension(x, by_itself ? x : ca, NID_subject_alt_name, w->names);
	assert_true(X509_sign(x, by_itself ? key : ca_key, EVP_sha256()) > 0);
	return x;
}

static void write_certificate(const char *path, X509 *x)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(PEM_write_X509(f, x));
	fclose(f);
}

/* ---- both ends ------------------------------------------------------------------------------------------------ */

struct house {
	EVP_PKEY *key;
	X509 *x;
	SSL_CTX *context;
};

static void house_open(struct house *h, const struct wish *w)
{
	h->key = EVP_EC_gen("P-256");
	h->x = certificate(h->key, w);
	h->context = SSL_CTX_new(TLS_server_method());
	assert_true(SSL_CTX_use_certificate(h->context, h->x));
	assert_true(SSL_CTX_use_PrivateKey(h->context, h->key));
	SSL_CTX_set_session_id_context(h->context, (const uint8_t *)"x", 1);
}

static void house_close(struct house *h)
{
	SSL_CTX_free(h->context);
	X509_free(h->x);
	EVP_PKEY_free(h->key);
}

struct pair {
	struct tls *t;
	SSL *server;
	enum tls_result result;
	struct buf wire;
	size_t crossed; /* octets that came to the client */
	size_t cut;     /* none come after so many */
};

#define AIM ((struct tls_aim){.name = SLICE("mx.example.com"), .peer = SLICE("192.0.2.1:25")})

static void visit(struct pair *p, const struct house *h, struct tls_client *client, const struct tls_aim *aim)
{
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	*p = (struct pair){.t = tls_connect(client, aim), .server = SSL_new(h->context), .cut = SIZE_MAX};
	assert_non_null(p->t);
	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(p->server, in, out);
	SSL_set_accept_state(p->server);
	buf_init(&p->wire, (size_t)1 << 20);
}

static void leave(struct pair *p)
{
	tls_free(p->t);
	SSL_set_shutdown(p->server, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(p->server);
	buf_free(&p->wire);
	ERR_clear_error();
}

static void to_server(struct pair *p)
{
	buf_reset(&p->wire);
	assert_true(tls_output(p->t, &p->wire));
	struct slice s = buf_slice(&p->wire);
	if (s.n)
		assert_int_equal(BIO_write(SSL_get_rbio(p->server), s.p, (int)s.n), s.n);
}

/* In pieces, each of which the client looks at. */
static void to_client(struct pair *p, size_t piece)
{
	char octets[4096];
	int n;

	while ((n = BIO_read(SSL_get_wbio(p->server), octets, (int)piece)) > 0) {
		size_t left = p->cut - p->crossed, m = (size_t)n < left ? (size_t)n : left;
		p->crossed += m;
		assert_true(tls_feed(p->t, slice_of(octets, m)));
		if (p->result == TLS_WAITS)
			p->result = tls_handshake(p->t);
	}
}

static bool shake(struct pair *p, size_t piece)
{
	p->result = tls_handshake(p->t);
	for (int i = 0; i < 20 && p->result != TLS_FAILED; i++) {
		to_server(p);
		int server = SSL_do_handshake(p->server);
		to_client(p, piece);
		if (server == 1 && p->result == TLS_DONE)
			return true;
	}
	return false;
}

/* Octets go both ways; those of the server bring its tickets along. */
static void talk(struct pair *p)
{
	char heard[100];
	size_t n = 0;

	assert_int_equal(SSL_write(p->server, "220 hi\r\n", 8), 8);
	to_client(p, 4096);
	assert_int_equal(tls_read(p->t, heard, sizeof heard, &n), TLS_DONE);
	assert_int_equal(n, 8);
	assert_memory_equal(heard, "220 hi\r\n", 8);
	assert_true(tls_write(p->t, SLICE("QUIT\r\n")));
	to_server(p);
	assert_int_equal(SSL_read(p->server, heard, sizeof heard), 6);
}

static struct tls_facts facts_of(const struct pair *p)
{
	struct tls_facts facts;

	tls_facts(p->t, &facts);
	return facts;
}

static struct tls_client *knows_us(void)
{
	struct tls_client *c = tls_client_new(path_of("ca.pem"), NULL);

	assert_non_null(c);
	assert_null(tls_client_complaint(c));
	return c;
}

/* ---- what certificates are worth ------------------------------------------------------------------------------ */

static const struct wish good = {.names = "DNS:mx.example.com, DNS:*.example.org, IP:192.0.2.1", .common = "anything"};

static void test_a_good_certificate_is_verified_in_each_version(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct tls_client *c = knows_us();
	struct house h;

	(void)state;
	house_open(&h, &good);
	for (int i = 0; i < 2; i++) {
		struct pair p;
		visit(&p, &h, c, &AIM);
		SSL_set_max_proto_version(p.server, versions[i]);
		assert_true(shake(&p, 4096));
		struct tls_facts f = facts_of(&p);
		assert_true(f.verified);
		assert_string_equal(f.unverified, "");
		assert_string_equal(f.version, i ? "TLSv1.3" : "TLSv1.2");
		assert_slice(f.name, "mx.example.com");
		assert_slice(f.peer, "mx.example.com, *.example.org, 192.0.2.1");
		assert_string_equal(SSL_get_servername(p.server, TLSEXT_NAMETYPE_host_name), "mx.example.com");
		talk(&p);
		leave(&p);
	}
	house_close(&h);
	tls_client_unref(c);
}

static void test_names_are_compared_as_rfc_9525_says(void **state)
{
	static const struct {
		const char *names, *common, *asked;
		bool verified;
	} rows[] = {
		{"DNS:mx.example.com", "x", "MX.Example.COM", true},
		{"DNS:*.example.com", "x", "mx.example.com", true},
		{"DNS:*.example.com", "x", "a.mx.example.com", false},
		{"DNS:*.example.com", "x", "example.com", false},
		{"DNS:m*.example.com", "x", "mx.example.com", false},
		{"DNS:*x.example.com", "x", "mx.example.com", false},
		{"DNS:*.com", "x", "example.com", false},
		{"DNS:*", "x", "com", false},
		{"DNS:mx.*.com", "x", "mx.example.com", false},
		{"DNS:*.*.com", "x", "mx.example.com", false},
		{"DNS:.example.com", "x", "mx.example.com", false},
		{"DNS:example.com", "x", "mx.example.com", false},
		{NULL, "mx.example.com", "mx.example.com", false},
		{"DNS:other.example.com", "mx.example.com", "mx.example.com", false},
		{"email:a@mx.example.com", "mx.example.com", "mx.example.com", false},
		{"URI:smtp://mx.example.com", "x", "mx.example.com", false},
		{"DNS:192.0.2.1", "192.0.2.1", "192.0.2.1", false},
		{"IP:192.0.2.1", "x", "192.0.2.1", true},
		{"IP:192.0.2.2", "x", "192.0.2.1", false},
		{"IP:2001:db8::1", "x", "2001:db8:0::1", true},
		{"DNS:xn--bcher-kva.example", "x", "xn--bcher-kva.example", true},
	};
	struct tls_client *c = knows_us();

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct tls_aim aim = {.name = slice_from_cstr(rows[i].asked), .strict = i % 2};
		struct house h;
		struct pair p;
		house_open(&h, &(struct wish){.names = rows[i].names, .common = rows[i].common});
		visit(&p, &h, c, &aim);
		assert_true(shake(&p, 4096));
		if (facts_of(&p).verified != rows[i].verified)
			fail_msg("%s for %s: %s", rows[i].names, rows[i].asked, facts_of(&p).unverified);
		assert_int_equal(facts_of(&p).unverified[0] == '\0', rows[i].verified);
		leave(&p);
		house_close(&h);
	}
	tls_client_unref(c);
}

static void test_what_is_wrong_with_a_certificate_is_said(void **state)
{
	static const struct {
		struct wish wish;
		const char *why;
	} rows[] = {
		{{.names = "DNS:mx.example.com", .common = "x", .begins = -7200, .ends = -3600},
		 "certificate has expired"},
		{{.names = "DNS:mx.example.com", .common = "x", .begins = 3600, .ends = 7200},
		 "certificate is not yet valid"},
		{{.names = "DNS:mx.example.com", .common = "x", .self_signed = true}, "self-signed certificate"},
		{{.names = "DNS:a.example, DNS:b.example", .common = "x"},
		 "its certificate is for another name than mx.example.com: a.example, b.example"},
		{{.names = "DNS:a\x1b[2J.example", .common = "x"},
		 "its certificate is for another name than mx.example.com: a?[2J.example"},
		{{.common = "mx.example.com"},
		 "its certificate is for another name than mx.example.com: CN=mx.example.com"},
		{{.names = "DNS:1.a, DNS:2.a, DNS:3.a, DNS:4.a, DNS:5.a", .common = "x"},
		 "its certificate is for another name than mx.example.com: 1.a, 2.a, 3.a, 4.a, ..."},
	};
	struct tls_client *c = knows_us();

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct house h;
		struct pair p;
		house_open(&h, &rows[i].wish);
		visit(&p, &h, c, &AIM);
		assert_true(shake(&p, 4096));
		assert_false(facts_of(&p).verified);
		assert_string_equal(facts_of(&p).unverified, rows[i].why);
		talk(&p);
		leave(&p);
		house_close(&h);
	}
	tls_client_unref(c);
}

static void test_files_that_cannot_be_used_leave_nobody_trusted(void **state)
{
	const char *const missing = path_of("missing.pem"), *const empty = path_of("empty.pem"),
			  *const us = path_of("ca.pem");
	const struct {
		const char *authorities, *revoked, *complaint;
	} rows[] = {
		{missing, NULL, "the authorities cannot be read: "},
		{empty, NULL, "the authorities cannot be read: "},
		{us, missing, "revoked certificates cannot be read: "},
		{us, us, "revoked certificates cannot be read: "},
	};
	struct house h;

	(void)state;
	fclose(fopen(empty, "w"));
	house_open(&h, &good);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct tls_client *c = tls_client_new(rows[i].authorities, rows[i].revoked);
		struct pair p;
		assert_non_null(c);
		assert_non_null(tls_client_complaint(c));
		assert_memory_equal(tls_client_complaint(c), rows[i].complaint, strlen(rows[i].complaint));
		visit(&p, &h, c, &AIM);
		assert_true(shake(&p, 4096));
		assert_false(facts_of(&p).verified);
		assert_string_equal(facts_of(&p).unverified, tls_client_complaint(c));
		leave(&p);
		tls_client_unref(c);
	}
	house_close(&h);
}

static void test_a_name_that_is_none_is_no_aim(void **state)
{
	static const char *const names[] = {"", ".example.com", "a..b", "a b", "a\\b", "-", "[192.0.2.1]", "a/b"};
	struct tls_client *c = knows_us();

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		assert_null(tls_connect(c, &(struct tls_aim){.name = slice_from_cstr(names[i])}));
	tls_client_unref(c);
}

/* ---- sessions that are resumed -------------------------------------------------------------------------------- */

/* The server may be the one that closes the connection: no word of ours ends the session then. */
static bool says_goodbye;

/* What the client binds to is what the server has (RFC 5929 3, RFC 9266). */
static void check_binding(const struct pair *p)
{
	struct tls_binding ours, theirs = {0};

	tls_binding(p->t, &ours);
	assert_int_equal(SSL_export_keying_material(p->server, theirs.exporter, sizeof theirs.exporter,
						    "EXPORTER-Channel-Binding", 24, (const unsigned char *)"", 0, 1),
			 1);
	assert_int_equal(ours.exporter_n, sizeof theirs.exporter);
	assert_memory_equal(ours.exporter, theirs.exporter, sizeof theirs.exporter);
	if (SSL_version(p->server) == TLS1_3_VERSION) {
		assert_int_equal(ours.unique_n, 0);
		return;
	}
	theirs.unique_n = SSL_session_reused(p->server)
				  ? SSL_get_finished(p->server, theirs.unique, sizeof theirs.unique)
				  : SSL_get_peer_finished(p->server, theirs.unique, sizeof theirs.unique);
	assert_int_equal(theirs.unique_n, 12);
	assert_int_equal(ours.unique_n, theirs.unique_n);
	assert_memory_equal(ours.unique, theirs.unique, theirs.unique_n);
}

static struct tls_facts visit_once(struct tls_client *c, const struct house *h, int version, const struct tls_aim *aim)
{
	struct pair p;

	visit(&p, h, c, aim);
	SSL_set_max_proto_version(p.server, version);
	assert_true(shake(&p, 4096));
	talk(&p);
	struct tls_facts facts = facts_of(&p);
	assert_int_equal(SSL_session_reused(p.server), facts.resumed);
	check_binding(&p);
	if (says_goodbye)
		tls_close(p.t);
	facts.name = facts.peer = SLICE_NONE;
	facts.unverified = facts.verified ? "" : "?";
	leave(&p);
	return facts;
}

static void test_a_session_is_resumed_with_the_same_peer_and_name_alone(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct tls_client *c = knows_us(), *other = knows_us();
		struct tls_aim aim = AIM, strict = AIM, elsewhere = AIM, name = AIM;
		struct house h;
		strict.strict = true;
		elsewhere.peer = SLICE("192.0.2.1:465");
		name.name = SLICE("a.example.org");
		house_open(&h, &good);
		assert_false(visit_once(c, &h, versions[i], &aim).resumed);
		assert_false(visit_once(c, &h, versions[i], &strict).resumed);
		assert_false(visit_once(c, &h, versions[i], &elsewhere).resumed);
		assert_false(visit_once(c, &h, versions[i], &name).resumed);
		assert_false(visit_once(other, &h, versions[i], &aim).resumed);
		for (int n = 0; n < 6; n++) {
			says_goodbye = n % 2 == 0;
			struct tls_facts f = visit_once(c, &h, versions[i], &aim);
			assert_true(f.resumed);
			assert_true(f.verified);
		}
		house_close(&h);
		tls_client_unref(c);
		tls_client_unref(other);
	}
}

/* It was judged when its certificate was seen. */
static void test_a_resumed_session_is_worth_what_the_first_one_was(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	static const struct wish wrong = {.names = "DNS:other.example", .common = "x"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct tls_client *c = knows_us();
		struct house bad, fine;
		struct pair p;
		house_open(&bad, &wrong);
		house_open(&fine, &good);
		assert_false(visit_once(c, &bad, versions[i], &AIM).resumed);
		visit(&p, &bad, c, &AIM);
		SSL_set_max_proto_version(p.server, versions[i]);
		assert_true(shake(&p, 4096));
		assert_true(facts_of(&p).resumed);
		assert_false(facts_of(&p).verified);
		assert_slice(facts_of(&p).peer, "other.example");
		assert_string_equal(facts_of(&p).unverified,
				    "its certificate is for another name than mx.example.com: other.example");
		leave(&p);
		/* The server behind the name is another one by now: it knows no ticket of the first. */
		struct tls_facts f = visit_once(c, &fine, versions[i], &AIM);
		assert_false(f.resumed);
		assert_true(f.verified);
		house_close(&bad);
		house_close(&fine);
		tls_client_unref(c);
	}
}

static void test_sessions_of_many_peers_are_kept_within_bounds(void **state)
{
	struct tls_client *c = knows_us();
	struct tls_aim aim = AIM;
	struct house h;
	char peer[40];

	(void)state;
	house_open(&h, &good);
	for (int i = 0; i < 600; i++) {
		aim.peer = slice_of(peer, (size_t)snprintf(peer, sizeof peer, "192.0.2.%d:%d", i % 250, i));
		assert_false(visit_once(c, &h, TLS1_2_VERSION, &aim).resumed);
	}
	assert_true(visit_once(c, &h, TLS1_2_VERSION, &aim).resumed);
	assert_false(
		visit_once(c, &h, TLS1_2_VERSION, &(struct tls_aim){.name = AIM.name, .peer = SLICE("192.0.2.0:0")})
			.resumed);
	house_close(&h);
	tls_client_unref(c);
}

/* ---- what goes wrong ------------------------------------------------------------------------------------------ */

static void test_a_handshake_goes_the_same_way_octet_by_octet(void **state)
{
	struct tls_client *c = knows_us();
	struct house h;

	(void)state;
	house_open(&h, &good);
	for (size_t piece = 1; piece < 50; piece += 7) {
		struct pair p;
		visit(&p, &h, c, &AIM);
		assert_true(shake(&p, piece));
		assert_true(facts_of(&p).verified);
		talk(&p);
		leave(&p);
	}
	house_close(&h);
	tls_client_unref(c);
}

static void test_a_handshake_that_is_cut_at_any_octet_just_waits(void **state)
{
	struct tls_client *c = knows_us();
	struct house h;
	struct pair p;

	(void)state;
	house_open(&h, &good);
	visit(&p, &h, c, &AIM);
	assert_true(shake(&p, 4096));
	size_t whole = p.crossed;
	leave(&p);
	assert_true(whole > 500);
	for (size_t cut = 0; cut < whole; cut++) {
		visit(&p, &h, c, &AIM);
		p.cut = cut;
		/* What is cut may be the tickets behind the end. */
		if (!shake(&p, 4096))
			assert_int_equal(p.result, TLS_WAITS);
		leave(&p);
	}
	house_close(&h);
	tls_client_unref(c);
}

static void test_an_octet_that_is_changed_secures_nothing(void **state)
{
	struct tls_client *c = knows_us();
	struct house h;

	(void)state;
	house_open(&h, &good);
	for (size_t at = 0; at < 900; at += 3) {
		struct pair p;
		char flight[4096];
		visit(&p, &h, c, &AIM);
		p.result = tls_handshake(p.t);
		to_server(&p);
		SSL_do_handshake(p.server);
		int n = BIO_read(SSL_get_wbio(p.server), flight, sizeof flight);
		assert_in_range(n, 400, sizeof flight);
		if (at < (size_t)n) {
			flight[at] ^= 0x20;
			assert_true(tls_feed(p.t, slice_of(flight, (size_t)n)));
			assert_int_not_equal(tls_handshake(p.t), TLS_DONE);
		}
		leave(&p);
	}
	house_close(&h);
	tls_client_unref(c);
}

static void test_words_in_the_clear_are_no_handshake(void **state)
{
	static const char *const words[] = {"220 ready\r\n250 and more\r\n", "454 4.7.0 not now\r\n",
					    "HTTP/1.1 400 x\r\n\r\n", "\x16\x03\x01\x00\x00",
					    "\x15\x03\x03\x00\x02\x02\x28"};
	struct tls_client *c = knows_us();

	(void)state;
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		struct tls *t = tls_connect(c, &AIM);
		assert_int_equal(tls_handshake(t), TLS_WAITS);
		struct slice said = i == 3   ? slice_of(words[i], 5)
				    : i == 4 ? slice_of(words[i], 7)
					     : slice_from_cstr(words[i]);
		assert_true(tls_feed(t, said));
		enum tls_result result = tls_handshake(t);
		assert_int_equal(result, i == 3 ? result : TLS_FAILED);
		assert_true(result == TLS_WAITS || strlen(tls_why(t)) > 0);
		tls_free(t);
	}
	tls_client_unref(c);
}

static void test_a_version_or_a_cipher_that_is_too_old_is_not_taken(void **state)
{
	struct tls_client *c = knows_us();
	struct tls_aim strict = AIM;
	struct house h;
	struct pair p;

	(void)state;
	strict.strict = true;
	house_open(&h, &good);
	SSL_CTX_set_security_level(h.context, 0);
	visit(&p, &h, c, &AIM);
	SSL_set_max_proto_version(p.server, TLS1_1_VERSION);
	SSL_set_min_proto_version(p.server, TLS1_VERSION);
	assert_false(shake(&p, 4096));
	leave(&p);
	/* Without authentication of the cipher's text: better than none, and no more. */
	for (int i = 0; i < 2; i++) {
		visit(&p, &h, c, i ? &strict : &AIM);
		SSL_set_max_proto_version(p.server, TLS1_2_VERSION);
		assert_true(SSL_set_cipher_list(p.server, "ECDHE-ECDSA-AES128-SHA"));
		assert_int_equal(shake(&p, 4096), !i);
		leave(&p);
	}
	house_close(&h);
	tls_client_unref(c);
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static int prepare(void **state)
{
	static const struct wish authority = {.common = "Authority", .authority = true};

	(void)state;
	snprintf(folder, sizeof folder, "/tmp/postrider-tls-client.XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	ca_key = EVP_EC_gen("P-256");
	ca = certificate(ca_key, &authority);
	write_certificate(path_of("ca.pem"), ca);
	return 0;
}

static int clean(void **state)
{
	(void)state;
	unlink(path_of("ca.pem"));
	unlink(path_of("empty.pem"));
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_good_certificate_is_verified_in_each_version),
		cmocka_unit_test(test_names_are_compared_as_rfc_9525_says),
		cmocka_unit_test(test_what_is_wrong_with_a_certificate_is_said),
		cmocka_unit_test(test_files_that_cannot_be_used_leave_nobody_trusted),
		cmocka_unit_test(test_a_name_that_is_none_is_no_aim),
		cmocka_unit_test(test_a_session_is_resumed_with_the_same_peer_and_name_alone),
		cmocka_unit_test(test_a_resumed_session_is_worth_what_the_first_one_was),
		cmocka_unit_test(test_sessions_of_many_peers_are_kept_within_bounds),
		cmocka_unit_test(test_a_handshake_goes_the_same_way_octet_by_octet),
		cmocka_unit_test(test_a_handshake_that_is_cut_at_any_octet_just_waits),
		cmocka_unit_test(test_an_octet_that_is_changed_secures_nothing),
		cmocka_unit_test(test_words_in_the_clear_are_no_handshake),
		cmocka_unit_test(test_a_version_or_a_cipher_that_is_too_old_is_not_taken),
	};

	return cmocka_run_group_tests(tests, prepare, clean);
}
