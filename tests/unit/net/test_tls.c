/*
 * A session of TLS without I/O, against OpenSSL's own client in memory; the signature is made as another process would.
 */
#include "test.h"

#include "net/credential.h"
#include "net/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define NOW ((wall_ms)1795219200000)

static char folder[64];

/* ---- certificates --------------------------------------------------------------------------------------------- */

static void write_pem(const char *path, EVP_PKEY *key, X509 *x)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	if (key)
		assert_true(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
	if (x)
		assert_true(PEM_write_X509(f, x));
	fclose(f);
	chmod(path, 0600);
}

static X509 *certificate_of(EVP_PKEY *key, const char *name)
{
	X509 *x = X509_new();

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), 0);
	X509_gmtime_adj(X509_getm_notAfter(x), 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	return x;
}

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned n;

	char *p = paths[n++ % 4];
	snprintf(p, sizeof paths[0], "%s/%s", folder, name);
	return p;
}

static struct credential *load(EVP_PKEY *key, const char *name)
{
	char why[CREDENTIAL_WHY_MAX] = "";
	X509 *x = certificate_of(key, name);

	write_pem(path_of("key.pem"), key, NULL);
	write_pem(path_of("chain.pem"), NULL, x);
	X509_free(x);
	struct credential *c = credential_load(path_of("chain.pem"), path_of("key.pem"), why);
	if (!c)
		fail_msg("%s", why);
	return c;
}

/* ---- both ends ------------------------------------------------------------------------------------------------ */

struct pair {
	struct tls *t;
	SSL *client;
	const struct credential *signers[3];
	size_t signer_count, signed_count;
	bool refuse;       /* no signature is given */
	SSL_SESSION *kept; /* of the client, to be resumed */
	enum tls_result result;
	struct buf wire;
};

static SSL_CTX *client_context;

static void pair_init(struct pair *p, struct tls_server *server, const char *binding)
{
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	*p = (struct pair){.t = tls_new(server, slice_from_cstr(binding)), .client = SSL_new(client_context)};
	assert_non_null(p->t);
	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(p->client, in, out);
	SSL_set_connect_state(p->client);
	buf_init(&p->wire, (size_t)1 << 20);
}

static void pair_free(struct pair *p)
{
	tls_free(p->t);
	SSL_SESSION_free(p->kept);
	SSL_free(p->client);
	buf_free(&p->wire);
}

static void answer(struct pair *p)
{
	uint8_t signature[TLS_SIGNATURE_MAX];
	size_t n = 0;
	bool good = false;

	p->signed_count++;
	for (size_t i = 0; !good && !p->refuse && i < p->signer_count; i++)
		good = credential_sign(p->signers[i], tls_request(p->t), signature, &n);
	tls_signed(p->t, good ? slice_of((const char *)signature, n) : SLICE_NONE);
}

static void to_client(struct pair *p)
{
	buf_reset(&p->wire);
	assert_true(tls_output(p->t, &p->wire));
	struct slice s = buf_slice(&p->wire);
	if (s.n)
		assert_int_equal(BIO_write(SSL_get_rbio(p->client), s.p, (int)s.n), s.n);
}

static void to_server(struct pair *p, size_t piece)
{
	char octets[4096];
	int n;

	assert_true(piece <= sizeof octets);
	while ((n = BIO_read(SSL_get_wbio(p->client), octets, (int)piece)) > 0)
		assert_true(tls_feed(p->t, slice_of(octets, (size_t)n)));
}

/* Octets go over in pieces; returns whether both ends are done. */
static bool shake(struct pair *p, size_t piece)
{
	for (int i = 0; i < 20; i++) {
		int client = SSL_do_handshake(p->client);
		to_server(p, piece);
		while ((p->result = tls_handshake(p->t)) == TLS_SIGN)
			answer(p);
		to_client(p);
		if (p->result == TLS_FAILED)
			return false;
		if (client == 1 && p->result == TLS_DONE)
			return true;
	}
	return false;
}

static void say(struct pair *p, const char *text)
{
	char heard[100];
	size_t n = 0;

	assert_true(SSL_write(p->client, text, (int)strlen(text)) == (int)strlen(text));
	to_server(p, 4096);
	assert_int_equal(tls_read(p->t, heard, sizeof heard, &n), TLS_DONE);
	assert_int_equal(n, strlen(text));
	assert_memory_equal(heard, text, n);
	assert_true(tls_write(p->t, SLICE("250 OK\r\n")));
	to_client(p);
	assert_int_equal(SSL_read(p->client, heard, sizeof heard), 8);
	assert_memory_equal(heard, "250 OK\r\n", 8);
}

static struct tls_server *server_of(struct credential *const *credentials, const char *const *names, size_t count)
{
	struct tls_chain chains[3];
	const char *why = NULL;

	for (size_t i = 0; i < count; i++) {
		chains[i] = *credential_chain(credentials[i]);
		chains[i].name = slice_from_cstr(names[i]);
	}
	struct tls_server *s = tls_server_new(chains, count, &why);
	if (!s)
		fail_msg("%s", why);
	return s;
}

/* ---- tests ---------------------------------------------------------------------------------------------------- */

static EVP_PKEY *key_of(const char *kind)
{
	return strcmp(kind, "rsa") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen(kind);
}

static void test_handshakes_of_each_kind_of_key_and_version(void **state)
{
	static const char *const kinds[] = {"rsa", "P-256", "P-384", "P-521"};
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		EVP_PKEY *key = key_of(kinds[i]);
		struct credential *c = load(key, "mx.example.com");
		struct tls_server *server = server_of(&c, (const char *[]){"mx.example.com"}, 1);
		for (size_t v = 0; v < 2; v++) {
			struct pair p;
			struct tls_facts facts;
			pair_init(&p, server, "smtp");
			p.signers[p.signer_count++] = c;
			SSL_set_max_proto_version(p.client, versions[v]);
			assert_true(shake(&p, 4096));
			assert_int_equal(p.signed_count, 1);
			say(&p, "EHLO a.example\r\n");
			tls_facts(p.t, &facts);
			assert_string_equal(facts.version, v ? "TLSv1.3" : "TLSv1.2");
			assert_true(strncmp(facts.cipher, "TLS_", 4) == 0);
			assert_string_equal(facts.group, "x25519");
			assert_false(facts.resumed);
			pair_free(&p);
		}
		tls_server_unref(server);
		credential_unref(c);
		EVP_PKEY_free(key);
	}
}


/* One server with a key for each of some names, for tests that need no more. */
struct house {
	EVP_PKEY *key[3];
	struct credential *credential[3];
	struct tls_server *server;
	size_t count;
};

static void house_open(struct house *h, const char *const *names, size_t count)
{
	*h = (struct house){.count = count};
	for (size_t i = 0; i < count; i++) {
		h->key[i] = EVP_EC_gen("P-256");
		h->credential[i] = load(h->key[i], names[i]);
	}
	h->server = server_of(h->credential, names, count);
}

static void house_close(struct house *h)
{
	tls_server_unref(h->server);
	for (size_t i = 0; i < h->count; i++) {
		credential_unref(h->credential[i]);
		EVP_PKEY_free(h->key[i]);
	}
}

static void visit(struct pair *p, const struct house *h, const char *binding, const char *name)
{
	pair_init(p, h->server, binding);
	for (size_t i = 0; i < h->count; i++)
		p->signers[p->signer_count++] = h->credential[i];
	/* The macro for it wants a name that may be written to. */
	if (name)
		assert_true(SSL_ctrl(p->client, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
				     (void *)(uintptr_t)name));
}

static const char *const one_name[] = {"mx.example.com"};

static void test_a_handshake_goes_the_same_way_octet_by_octet(void **state)
{
	struct house h;
	struct pair p;

	(void)state;
	house_open(&h, one_name, 1);
	for (size_t piece = 1; piece < 50; piece += 7) {
		visit(&p, &h, "smtp", NULL);
		assert_true(shake(&p, piece));
		say(&p, "QUIT\r\n");
		pair_free(&p);
	}
	house_close(&h);
}

static void test_the_certificate_is_that_of_the_name_asked_for(void **state)
{
	static const char *const names[] = {"mx.example.com", "*.example.org", "mail.example.org"};
	static const struct {
		const char *asked, *given, *kept;
	} rows[] = {
		{NULL, "mx.example.com", ""},
		{"mx.example.com", "mx.example.com", "mx.example.com"},
		{"MX.Example.COM", "mx.example.com", "mx.example.com"},
		{"a.example.org", "*.example.org", "a.example.org"},
		{"mail.example.org", "*.example.org", "mail.example.org"}, /* the first that fits */
		{"b.a.example.org", "mx.example.com", "b.a.example.org"},
		{"example.org", "mx.example.com", "example.org"},
		/* attacks C11: it is a name or none, never more */
		{"a\\", "mx.example.com", ""},
		{"${run{x}}", "mx.example.com", ""},
		{"../x", "mx.example.com", ""},
		{".example.org", "mx.example.com", ""},
		{"\xc3\xa9.example.org", "mx.example.com", ""},
	};
	struct house h;

	(void)state;
	house_open(&h, names, 3);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pair p;
		struct tls_facts facts;
		char given[100];
		visit(&p, &h, "smtp", rows[i].asked);
		assert_true(shake(&p, 4096));
		X509_NAME_get_text_by_NID(X509_get_subject_name(SSL_get0_peer_certificate(p.client)), NID_commonName,
					  given, sizeof given);
		assert_string_equal(given, rows[i].given);
		tls_facts(p.t, &facts);
		assert_slice(facts.name, rows[i].kept);
		pair_free(&p);
	}
	house_close(&h);
}

/* ---- resumption ----------------------------------------------------------------------------------------------- */

static SSL_SESSION *visit_for_ticket(const struct house *h, int version, const char *binding, const char *name)
{
	struct pair p;

	visit(&p, h, binding, name);
	SSL_set_max_proto_version(p.client, version);
	assert_true(shake(&p, 4096));
	say(&p, "NOOP\r\n");
	SSL_SESSION *kept = SSL_get1_session(p.client);
	/* A session that ends without it is not resumed. */
	SSL_set_shutdown(p.client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	pair_free(&p);
	return kept;
}

static bool is_resumed(const struct house *h, SSL_SESSION *session, const char *binding, const char *name)
{
	struct pair p;
	struct tls_facts facts;

	visit(&p, h, binding, name);
	assert_true(SSL_set_session(p.client, session));
	SSL_set_max_proto_version(p.client, SSL_SESSION_get_protocol_version(session));
	assert_true(shake(&p, 4096));
	tls_facts(p.t, &facts);
	assert_int_equal(facts.resumed, SSL_session_reused(p.client));
	assert_int_equal(p.signed_count, facts.resumed ? 0 : 1);
	say(&p, "NOOP\r\n");
	SSL_set_shutdown(p.client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	pair_free(&p);
	return facts.resumed;
}

/* Both ends see the same, and no other session has it (attacks C10). */
static void check_binding(struct pair *p, bool resumed, struct tls_binding *ret)
{
	struct tls_binding client = {0};
	bool old = SSL_version(p->client) < TLS1_3_VERSION;

	tls_binding(p->t, ret);
	assert_int_equal(SSL_export_keying_material(p->client, client.exporter, sizeof client.exporter,
						    "EXPORTER-Channel-Binding", 24, (const unsigned char *)"", 0, 1),
			 1);
	assert_int_equal(ret->exporter_n, sizeof client.exporter);
	assert_memory_equal(ret->exporter, client.exporter, sizeof client.exporter);
	if (!old) {
		assert_int_equal(ret->unique_n, 0);
		return;
	}
	client.unique_n = resumed ? SSL_get_peer_finished(p->client, client.unique, sizeof client.unique)
				  : SSL_get_finished(p->client, client.unique, sizeof client.unique);
	assert_int_equal(client.unique_n, 12);
	assert_int_equal(ret->unique_n, client.unique_n);
	assert_memory_equal(ret->unique, client.unique, client.unique_n);
}

static void test_both_ends_have_the_same_to_bind_to(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct tls_tickets tickets = {.lifetime = HOUR};
	struct tls_binding first, second;
	struct house h;
	struct pair p;

	(void)state;
	house_open(&h, one_name, 1);
	assert_true(tls_tickets_renew(&tickets));
	tls_server_set_tickets(h.server, &tickets);
	for (size_t i = 0; i < 2; i++) {
		SSL_SESSION *session = visit_for_ticket(&h, versions[i], "smtp", "mx.example.com");
		for (int resumed = 0; resumed < 2; resumed++) {
			visit(&p, &h, "smtp", "mx.example.com");
			SSL_set_max_proto_version(p.client, versions[i]);
			if (resumed)
				assert_true(SSL_set_session(p.client, session));
			assert_true(shake(&p, 4096));
			assert_int_equal(SSL_session_reused(p.client), resumed);
			check_binding(&p, resumed, resumed ? &second : &first);
			SSL_set_shutdown(p.client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
			pair_free(&p);
		}
		assert_memory_not_equal(first.exporter, second.exporter, sizeof first.exporter);
		SSL_SESSION_free(session);
	}
	house_close(&h);
}

static void test_tls_1_2_without_its_extended_secret_binds_nothing(void **state)
{
	struct tls_binding binding;
	struct house h;
	struct pair p;

	(void)state;
	house_open(&h, one_name, 1);
	visit(&p, &h, "smtp", NULL);
	SSL_set_max_proto_version(p.client, TLS1_2_VERSION);
	SSL_set_options(p.client, SSL_OP_NO_EXTENDED_MASTER_SECRET);
	assert_true(shake(&p, 4096));
	tls_binding(p.t, &binding);
	assert_int_equal(binding.exporter_n + binding.unique_n, 0);
	pair_free(&p);
	house_close(&h);
}

/* attacks C8 */
static void test_C8_a_ticket_is_good_for_its_listener_and_its_name(void **state)
{
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct tls_tickets tickets = {.lifetime = HOUR};
	struct house h;

	(void)state;
	house_open(&h, one_name, 1);
	assert_true(tls_tickets_renew(&tickets));
	tls_server_set_tickets(h.server, &tickets);
	for (size_t i = 0; i < 2; i++) {
		SSL_SESSION *session = visit_for_ticket(&h, versions[i], "smtp", "mx.example.com");
		assert_true(is_resumed(&h, session, "smtp", "mx.example.com"));
		assert_false(is_resumed(&h, session, "submission", "mx.example.com"));
		assert_false(is_resumed(&h, session, "smt", "mx.example.com"));
		assert_false(is_resumed(&h, session, "smtp", "other.example.com"));
		assert_false(is_resumed(&h, session, "smtp", NULL));
		SSL_SESSION_free(session);
	}
	house_close(&h);
}

static void test_a_ticket_outlives_one_renewal_of_its_secret_and_not_two(void **state)
{
	struct tls_tickets tickets = {.lifetime = HOUR}, none = {.count = 0};
	struct house h;

	(void)state;
	house_open(&h, one_name, 1);
	assert_true(tls_tickets_renew(&tickets));
	assert_int_equal(tickets.count, 1);
	tls_server_set_tickets(h.server, &tickets);
	SSL_SESSION *session = visit_for_ticket(&h, TLS1_3_VERSION, "smtp", NULL);
	assert_true(tls_tickets_renew(&tickets));
	assert_int_equal(tickets.count, 2);
	tls_server_set_tickets(h.server, &tickets);
	assert_true(is_resumed(&h, session, "smtp", NULL));
	assert_true(tls_tickets_renew(&tickets));
	tls_server_set_tickets(h.server, &tickets);
	assert_false(is_resumed(&h, session, "smtp", NULL));
	SSL_SESSION_free(session);

	tls_server_set_tickets(h.server, &none);
	session = visit_for_ticket(&h, TLS1_3_VERSION, "smtp", NULL);
	assert_false(SSL_SESSION_is_resumable(session));
	SSL_SESSION_free(session);
	house_close(&h);
}

/* ---- what goes wrong ------------------------------------------------------------------------------------------ */

static void test_without_a_signature_the_handshake_fails_with_an_alert(void **state)
{
	struct house h;
	struct pair p;

	(void)state;
	house_open(&h, one_name, 1);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		visit(&p, &h, "smtp", NULL);
		SSL_set_max_proto_version(p.client, version);
		p.refuse = true;
		assert_false(shake(&p, 4096));
		assert_int_equal(p.result, TLS_FAILED);
		assert_true(strlen(tls_why(p.t)) > 0);
		assert_int_equal(tls_handshake(p.t), TLS_FAILED);
		assert_int_equal(SSL_do_handshake(p.client), -1);
		assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_TLSV1_ALERT_INTERNAL_ERROR);
		ERR_clear_error();
		pair_free(&p);
	}
	house_close(&h);
}

static void test_a_session_may_end_while_its_signature_is_made(void **state)
{
	struct house h;
	struct pair p;

	(void)state;
	house_open(&h, one_name, 1);
	visit(&p, &h, "smtp", NULL);
	SSL_do_handshake(p.client);
	to_server(&p, 4096);
	assert_int_equal(tls_handshake(p.t), TLS_SIGN);
	assert_int_equal(tls_handshake(p.t), TLS_SIGN); /* still */
	assert_memory_equal(tls_request(p.t)->key, credential_chain(h.credential[0])->key, TLS_KEY_ID);
	pair_free(&p);
	house_close(&h);
}

static void test_a_wrong_signature_does_not_secure_anything(void **state)
{
	struct house h;
	struct pair p;

	(void)state;
	house_open(&h, one_name, 1);
	visit(&p, &h, "smtp", NULL);
	SSL_do_handshake(p.client);
	to_server(&p, 4096);
	assert_int_equal(tls_handshake(p.t), TLS_SIGN);
	tls_signed(p.t, SLICE("this is no signature"));
	tls_handshake(p.t);
	to_client(&p);
	assert_int_equal(SSL_do_handshake(p.client), -1);
	ERR_clear_error();
	pair_free(&p);
	house_close(&h);
}

static void test_old_versions_and_weak_ciphers_are_refused(void **state)
{
	static const struct {
		int version;
		const char *ciphers;
	} rows[] = {
		{TLS1_VERSION, "ALL:@SECLEVEL=0"},
		{TLS1_1_VERSION, "ALL:@SECLEVEL=0"},
		{TLS1_2_VERSION, "kRSA:@SECLEVEL=0"},
		{TLS1_2_VERSION, "DHE:@SECLEVEL=0"},
		{TLS1_2_VERSION, "aNULL:eNULL:@SECLEVEL=0"},
		{TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"},
	};
	struct house h;

	(void)state;
	house_open(&h, one_name, 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pair p;
		visit(&p, &h, "smtp", NULL);
		assert_true(SSL_set_cipher_list(p.client, rows[i].ciphers));
		SSL_set_min_proto_version(p.client, TLS1_VERSION);
		SSL_set_max_proto_version(p.client, rows[i].version);
		assert_false(shake(&p, 4096));
		assert_int_equal(p.result, TLS_FAILED);
		ERR_clear_error();
		pair_free(&p);
	}
	house_close(&h);
}

/* attacks C6 */
static void test_C6_no_renegotiation_and_no_flood_of_key_updates(void **state)
{
	struct house h;
	struct pair p;
	char heard[100];
	size_t n;

	(void)state;
	house_open(&h, one_name, 1);
	visit(&p, &h, "smtp", NULL);
	SSL_set_max_proto_version(p.client, TLS1_2_VERSION);
	assert_true(shake(&p, 4096));
	assert_true(SSL_renegotiate(p.client));
	SSL_do_handshake(p.client);
	to_server(&p, 4096);
	tls_read(p.t, heard, sizeof heard, &n);
	assert_int_equal(n, 0);
	to_client(&p);
	assert_int_equal(SSL_do_handshake(p.client), -1); /* no_renegotiation */
	assert_int_equal(p.signed_count, 1);
	ERR_clear_error();
	pair_free(&p);

	visit(&p, &h, "smtp", NULL);
	assert_true(shake(&p, 4096));
	enum tls_result result = TLS_WAITS;
	int updates = 0;
	for (; updates < 1000 && result == TLS_WAITS; updates++) {
		assert_true(SSL_key_update(p.client, SSL_KEY_UPDATE_REQUESTED));
		SSL_do_handshake(p.client);
		to_server(&p, 4096);
		result = tls_read(p.t, heard, sizeof heard, &n);
		to_client(&p);
		SSL_read(p.client, heard, sizeof heard);
	}
	assert_int_equal(result, TLS_FAILED);
	assert_string_equal(tls_why(p.t), "too many key updates");
	assert_true(updates > 10 && updates < 100);
	ERR_clear_error();
	pair_free(&p);
	house_close(&h);
}

/* attacks C5 */
static void test_C5_whoever_means_another_protocol_is_told(void **state)
{
	static const struct {
		const char *offers;
		bool good;
	} rows[] = {{"\x04smtp", true}, {"\x02h2\x04smtp", true}, {"\x02h2\x08http/1.1", false}, {"\x05smtps", false},
		    {"\x04imap", false}};
	struct house h;

	(void)state;
	house_open(&h, one_name, 1);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct pair p;
		const uint8_t *chosen;
		unsigned n;
		visit(&p, &h, "smtp", NULL);
		SSL_set_alpn_protos(p.client, (const uint8_t *)rows[i].offers, (unsigned)strlen(rows[i].offers));
		assert_int_equal(shake(&p, 4096), rows[i].good);
		SSL_get0_alpn_selected(p.client, &chosen, &n);
		assert_int_equal(n, rows[i].good ? 4 : 0);
		ERR_clear_error();
		pair_free(&p);
	}
	house_close(&h);
}

static void test_what_is_no_handshake_fails_or_waits(void **state)
{
	static const char *const words[] = {"GET / HTTP/1.1\r\n\r\n", "EHLO a.example\r\n", "\x16\x03\x01\x40\x01",
					    "\x16\x03\x03\xff\xff\x01\x02\x03\x04\x05\x06\x07\x08\x09\x10\x11\x12",
					    "\x80\x2e\x01\x03\x01", "\x15\x03\x01\x00\x02\x02\x28"};
	struct house h;

	(void)state;
	house_open(&h, one_name, 1);
	for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
		struct tls *t = tls_new(h.server, SLICE("smtp"));
		char octets[64] = {0};
		memcpy(octets, words[i], strlen(words[i]));
		assert_true(tls_feed(t, slice_of(octets, sizeof octets)));
		enum tls_result result = tls_handshake(t);
		assert_true(result == TLS_FAILED || result == TLS_WAITS);
		assert_int_equal(strlen(tls_why(t)) > 0, result == TLS_FAILED);
		tls_free(t);
	}
	house_close(&h);
}

/* A handshake that ends at any octet of the client's, and one with any octet of it changed. */
static void test_a_handshake_cut_or_changed_at_any_octet_harms_nobody(void **state)
{
	struct house h;
	struct pair p;
	char hello[4096];

	(void)state;
	house_open(&h, one_name, 1);
	visit(&p, &h, "smtp", "mx.example.com");
	SSL_do_handshake(p.client);
	int n = BIO_read(SSL_get_wbio(p.client), hello, sizeof hello);
	assert_true(n > 100);
	pair_free(&p);
	for (int i = 0; i < n; i++) {
		struct tls *t = tls_new(h.server, SLICE("smtp"));
		char *copy = test_exact_copy(slice_of(hello, (size_t)i));
		assert_true(tls_feed(t, slice_of(copy, (size_t)i)));
		assert_int_equal(tls_handshake(t), TLS_WAITS);
		tls_free(t);
		free(copy);
		for (unsigned change = 1; change < 256; change = change * 2 + 1) {
			t = tls_new(h.server, SLICE("smtp"));
			hello[i] = (char)(hello[i] ^ (char)change);
			assert_true(tls_feed(t, slice_of(hello, (size_t)n)));
			enum tls_result result = tls_handshake(t);
			assert_true(result == TLS_SIGN || result == TLS_WAITS || result == TLS_FAILED);
			hello[i] = (char)(hello[i] ^ (char)change);
			tls_free(t);
		}
	}
	house_close(&h);
}

/* ---- credentials ---------------------------------------------------------------------------------------------- */

static void test_only_what_a_server_signs_in_a_handshake_is_signed(void **state)
{
	struct house h;
	struct pair p;
	uint8_t signature[TLS_SIGNATURE_MAX];
	size_t n;

	(void)state;
	house_open(&h, one_name, 1);
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		visit(&p, &h, "smtp", NULL);
		SSL_set_max_proto_version(p.client, version);
		SSL_do_handshake(p.client);
		to_server(&p, 4096);
		assert_int_equal(tls_handshake(p.t), TLS_SIGN);
		struct tls_request good = *tls_request(p.t), r = good;
		assert_true(credential_sign(h.credential[0], &good, signature, &n));
		r.key[0] ^= 1;
		assert_false(credential_sign(h.credential[0], &r, signature, &n));
		r = good;
		r.padding = TLS_PADDING_PSS;
		assert_false(credential_sign(h.credential[0], &r, signature, &n));
		r = good;
		r.n--;
		assert_false(credential_sign(h.credential[0], &r, signature, &n));
		/* What a client signs, and what a certificate is. */
		r = good;
		memcpy(r.text + 64, "TLS 1.3, client", 15);
		assert_false(credential_sign(h.credential[0], &r, signature, &n));
		r = good;
		memset(r.text, '0', sizeof r.text);
		assert_false(credential_sign(h.credential[0], &r, signature, &n));
		r.n = 32;
		assert_false(credential_sign(h.credential[0], &r, signature, &n));
		pair_free(&p);
	}
	house_close(&h);
}

static void refused(const char *chain, const char *key, const char *why)
{
	char said[CREDENTIAL_WHY_MAX] = "";

	assert_null(credential_load(path_of(chain), path_of(key), said));
	if (!strstr(said, why))
		fail_msg("it says \"%s\", not \"%s\"", said, why);
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_a_credential_that_is_none_says_why(void **state)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
	EVP_PKEY *edwards = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	FILE *f;

	(void)state;
	credential_unref(load(key, "mx.example.com"));
	refused("nothing.pem", "key.pem", "nothing.pem: No such file");
	refused("chain.pem", "nothing.pem", "nothing.pem: No such file");
	refused(".", "key.pem", "no regular file");
	refused("key.pem", "key.pem", "key.pem: there is no certificate in it");
	refused("chain.pem", "chain.pem", "chain.pem: there is no private key in it");
	chmod(path_of("key.pem"), 0644);
	refused("chain.pem", "key.pem", "everybody may read this private key");
	write_pem(path_of("key.pem"), other, NULL);
	refused("chain.pem", "key.pem", "key.pem: the private key is not that of the certificate");
	write_pem(path_of("key.pem"), edwards, NULL);
	refused("chain.pem", "key.pem", "neither RSA nor EC");
	f = fopen(path_of("key.pem"), "w");
	assert_true(PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), (const uint8_t *)"secret", 6, NULL, NULL));
	fclose(f);
	refused("chain.pem", "key.pem", "needs a pass phrase");
	write_pem(path_of("key.pem"), key, NULL);
	write_text(path_of("chain.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	refused("chain.pem", "key.pem", "no certificate in it");
	EVP_PKEY_free(key);
	EVP_PKEY_free(other);
	EVP_PKEY_free(edwards);
}

static void test_our_own_certificate_is_made_once_and_ours_alone_to_read(void **state)
{
	char why[CREDENTIAL_WHY_MAX] = "";
	struct stat st;

	(void)state;
	struct credential *first = credential_self_signed(folder, SLICE("mx.example.com"), NOW, why);
	if (!first)
		fail_msg("%s", why);
	assert_int_equal(stat(path_of("self-signed.key"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_true(credential_expires(first) > NOW + 9 * 365 * DAY);
	const struct tls_chain *chain = credential_chain(first);
	const uint8_t *p = (const uint8_t *)chain->certificates[0].p;
	X509 *x = d2i_X509(NULL, &p, (long)chain->certificates[0].n);
	assert_int_equal(X509_check_host(x, "mx.example.com", 0, 0, NULL), 1);
	assert_int_equal(X509_check_host(x, "example.com", 0, 0, NULL), 0);
	X509_free(x);
	struct credential *second = credential_self_signed(folder, SLICE("mx.example.com"), NOW, why);
	assert_non_null(second);
	assert_memory_equal(chain->key, credential_chain(second)->key, TLS_KEY_ID);

	struct house h = {.credential = {first}, .count = 1, .server = server_of(&first, one_name, 1)};
	struct pair pair;
	visit(&pair, &h, "smtp", NULL);
	assert_true(shake(&pair, 4096));
	pair_free(&pair);
	tls_server_unref(h.server);
	credential_unref(first);
	credential_unref(second);
	assert_null(credential_self_signed("/nonexistent", SLICE("mx.example.com"), NOW, why));
}

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof folder, "/tmp/postrider-tls.XXXXXX");
	client_context = SSL_CTX_new(TLS_client_method());
	return mkdtemp(folder) && client_context ? 0 : -1;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"key.pem", "chain.pem", "self-signed.pem", "self-signed.key"};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		unlink(path_of(names[i]));
	rmdir(folder);
	SSL_CTX_free(client_context);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshakes_of_each_kind_of_key_and_version),
		cmocka_unit_test(test_a_handshake_goes_the_same_way_octet_by_octet),
		cmocka_unit_test(test_the_certificate_is_that_of_the_name_asked_for),
		cmocka_unit_test(test_both_ends_have_the_same_to_bind_to),
		cmocka_unit_test(test_tls_1_2_without_its_extended_secret_binds_nothing),
		cmocka_unit_test(test_C8_a_ticket_is_good_for_its_listener_and_its_name),
		cmocka_unit_test(test_a_ticket_outlives_one_renewal_of_its_secret_and_not_two),
		cmocka_unit_test(test_without_a_signature_the_handshake_fails_with_an_alert),
		cmocka_unit_test(test_a_session_may_end_while_its_signature_is_made),
		cmocka_unit_test(test_a_wrong_signature_does_not_secure_anything),
		cmocka_unit_test(test_old_versions_and_weak_ciphers_are_refused),
		cmocka_unit_test(test_C6_no_renegotiation_and_no_flood_of_key_updates),
		cmocka_unit_test(test_C5_whoever_means_another_protocol_is_told),
		cmocka_unit_test(test_what_is_no_handshake_fails_or_waits),
		cmocka_unit_test(test_a_handshake_cut_or_changed_at_any_octet_harms_nobody),
		cmocka_unit_test(test_only_what_a_server_signs_in_a_handshake_is_signed),
		cmocka_unit_test(test_a_credential_that_is_none_says_why),
		cmocka_unit_test(test_our_own_certificate_is_made_once_and_ours_alone_to_read),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
