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
	bool refuse; /* no signature is given */
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
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
