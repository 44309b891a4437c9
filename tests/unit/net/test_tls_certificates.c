/*
 * Which certificate a client is given, what is stapled to it, and how long our own lasts.
 */
#include "test.h"

#include "net/credential.h"
#include "net/tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define NOW ((wall_ms)1795219200000)

static char folder[64];
static SSL_CTX *client_context;

static const char *path_of(const char *name)
{
	static char paths[4][128];
	static unsigned n;

	char *p = paths[n++ % 4];
	snprintf(p, sizeof paths[0], "%s/%s", folder, name);
	return p;
}

/* ---- certificates --------------------------------------------------------------------------------------------- */

struct party {
	EVP_PKEY *key;
	X509 *x;
};

static void add_extension(X509 *x, int nid, const char *value)
{
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert_non_null(e);
	assert_true(X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
}

/* `issuer` NULL: signed by itself. It holds for two days around NOW. */
static struct party party_of(const char *kind, const char *name, const struct party *issuer, const char *purpose)
{
	static long serial;
	struct party p = {strcmp(kind, "rsa") == 0 ? EVP_RSA_gen(2048) : EVP_EC_gen(kind), X509_new()};
	const struct party *signer = issuer ? issuer : &p;

	X509_set_version(p.x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(p.x), ++serial);
	ASN1_TIME_set(X509_getm_notBefore(p.x), (NOW - DAY) / SECOND);
	ASN1_TIME_set(X509_getm_notAfter(p.x), (NOW + DAY) / SECOND);
	X509_set_pubkey(p.x, p.key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(p.x), "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	X509_set_issuer_name(p.x, X509_get_subject_name(signer->x));
	if (!issuer)
		add_extension(p.x, NID_basic_constraints, "critical,CA:TRUE");
	if (purpose)
		add_extension(p.x, NID_ext_key_usage, purpose);
	assert_true(X509_sign(p.x, signer->key, EVP_sha256()) > 0);
	return p;
}

static void party_free(struct party *p)
{
	EVP_PKEY_free(p->key);
	X509_free(p->x);
}

static struct credential *load(const struct party *p, const struct party *issuer)
{
	char why[CREDENTIAL_WHY_MAX] = "";
	FILE *f = fopen(path_of("pem"), "w");

	assert_non_null(f);
	assert_true(PEM_write_PrivateKey(f, p->key, NULL, NULL, 0, NULL, NULL) && PEM_write_X509(f, p->x));
	if (issuer)
		assert_true(PEM_write_X509(f, issuer->x));
	fclose(f);
	chmod(path_of("pem"), 0600);
	struct credential *c = credential_load(path_of("pem"), path_of("pem"), why);
	if (!c)
		fail_msg("%s", why);
	return c;
}

/* ---- responses of OCSP ---------------------------------------------------------------------------------------- */

struct said {
	const struct party *about, *issuer, *signer;
	int status;
	wall_ms from, until; /* until 0: it does not say */
	bool sha256;
	bool carries; /* the signer's certificate */
};

static void write_file(const char *path, const uint8_t *octets, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(octets, 1, n, f), n);
	fclose(f);
}

static void write_response(const char *path, const struct said *s)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(s->sha256 ? EVP_sha256() : EVP_sha1(), s->about->x, s->issuer->x);
	ASN1_TIME *from = ASN1_GENERALIZEDTIME_set(NULL, s->from / SECOND);
	ASN1_TIME *until = s->until ? ASN1_GENERALIZEDTIME_set(NULL, s->until / SECOND) : NULL;
	uint8_t *der = NULL;

	assert_non_null(OCSP_basic_add1_status(basic, id, s->status, 0,
					       s->status == V_OCSP_CERTSTATUS_REVOKED ? from : NULL, from, until));
	assert_true(OCSP_basic_sign(basic, s->signer->x, s->signer->key, EVP_sha256(), NULL,
				    s->carries ? 0 : OCSP_NOCERTS));
	OCSP_RESPONSE *response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	int n = i2d_OCSP_RESPONSE(response, &der);
	assert_true(n > 0);
	write_file(path, der, (size_t)n);
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(from);
	ASN1_TIME_free(until);
}

/* ---- both ends ------------------------------------------------------------------------------------------------ */

static struct tls_server *server_of(struct credential *const *credentials, const char *const *names, size_t count)
{
	struct tls_chain chains[4];
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

struct visit {
	const char *name, *signatures, *ciphers; /* that the client asks for, and can do; NULL: none; what it likes */
	int version;                             /* 0: any */
	bool asks_status;
	wall_ms now;
	/* What came of it. */
	bool done;
	char kind[10], common[60];
	size_t staple_n;
	uint8_t staple[8192];
};

static void set_up_client(SSL *client, const struct visit *v)
{
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(client, in, out);
	SSL_set_connect_state(client);
	if (v->name)
		assert_true(SSL_ctrl(client, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
				     (void *)(uintptr_t)v->name));
	if (v->signatures)
		assert_true(SSL_ctrl(client, SSL_CTRL_SET_SIGALGS_LIST, 0, (void *)(uintptr_t)v->signatures));
	if (v->ciphers)
		assert_true(SSL_set_cipher_list(client, v->ciphers));
	if (v->version)
		SSL_set_max_proto_version(client, v->version);
	if (v->asks_status)
		SSL_set_tlsext_status_type(client, TLSEXT_STATUSTYPE_ocsp);
}

static void answer(struct tls *t, struct credential *const *credentials, size_t count)
{
	uint8_t signature[TLS_SIGNATURE_MAX];
	size_t n = 0;
	bool good = false;

	for (size_t i = 0; !good && i < count; i++)
		good = credential_sign(credentials[i], tls_request(t), signature, &n);
	tls_signed(t, good ? slice_of((const char *)signature, n) : SLICE_NONE);
}

static void note(struct visit *v, SSL *client)
{
	X509 *x = SSL_get0_peer_certificate(client);
	const uint8_t *staple = NULL;
	long n = SSL_get_tlsext_status_ocsp_resp(client, &staple);

	v->done = true;
	snprintf(v->kind, sizeof v->kind, "%s", EVP_PKEY_is_a(X509_get0_pubkey(x), "EC") ? "EC" : "RSA");
	X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, v->common, sizeof v->common);
	assert_true(n <= (long)sizeof v->staple);
	v->staple_n = n > 0 ? (size_t)n : 0;
	if (n > 0)
		memcpy(v->staple, staple, (size_t)n);
}

static void go(struct visit *v, struct tls_server *server, struct credential *const *credentials, size_t count)
{
	struct tls *t = tls_new(server, SLICE("smtp"));
	SSL *client = SSL_new(client_context);
	enum tls_result result = TLS_WAITS;
	struct buf wire;
	char octets[4096];

	buf_init(&wire, (size_t)1 << 20);
	set_up_client(client, v);
	if (v->now)
		tls_set_now(t, v->now);
	for (int i = 0; i < 10 && result != TLS_FAILED && !v->done; i++) {
		int done = SSL_do_handshake(client), n;
		while ((n = BIO_read(SSL_get_wbio(client), octets, sizeof octets)) > 0)
			assert_true(tls_feed(t, slice_of(octets, (size_t)n)));
		while ((result = tls_handshake(t)) == TLS_SIGN)
			answer(t, credentials, count);
		buf_reset(&wire);
		assert_true(tls_output(t, &wire));
		if (buf_len(&wire))
			BIO_write(SSL_get_rbio(client), buf_slice(&wire).p, (int)buf_len(&wire));
		if (done == 1 && result == TLS_DONE)
			note(v, client);
	}
	tls_free(t);
	SSL_free(client);
	buf_free(&wire);
	ERR_clear_error();
}

/* ---- tests ---------------------------------------------------------------------------------------------------- */

static void test_a_client_gets_the_kind_of_key_that_it_can_use(void **state)
{
	static const char *const names[] = {"mx.example.com", "mx.example.com", "other.example.com"};
	static const struct {
		struct visit visit;
		const char *kind, *common;
	} rows[] = {
		{{.name = "mx.example.com"}, "EC", "ec"},
		{{.name = NULL}, "EC", "ec"},
		{{.version = TLS1_2_VERSION}, "EC", "ec"},
		{{.signatures = "RSA-PSS+SHA256"}, "RSA", "rsa"},
		{{.signatures = "ECDSA+SHA256"}, "EC", "ec"},
		{{.signatures = "RSA+SHA256", .version = TLS1_2_VERSION}, "RSA", "rsa"},
		{{.ciphers = "ECDHE-RSA-AES128-GCM-SHA256", .version = TLS1_2_VERSION}, "RSA", "rsa"},
		{{.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256", .version = TLS1_2_VERSION}, "EC", "ec"},
		{{.name = "other.example.com", .signatures = "ECDSA+SHA256"}, NULL, ""},
		{{.name = "other.example.com"}, "RSA", "other"},
	};
	struct party ca = party_of("P-256", "root", NULL, NULL);
	struct party p[] = {party_of("rsa", "rsa", &ca, NULL), party_of("P-256", "ec", &ca, NULL),
			    party_of("rsa", "other", NULL, NULL)};
	struct credential *c[] = {load(&p[0], NULL), load(&p[1], &ca), load(&p[2], NULL)};
	struct tls_server *server = server_of(c, names, 3);

	(void)state;
	assert_string_equal(credential_kind(c[0]), "RSA");
	assert_string_equal(credential_kind(c[1]), "EC");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct visit v = rows[i].visit;
		go(&v, server, c, 3);
		assert_int_equal(v.done, rows[i].kind != NULL);
		assert_string_equal(v.kind, rows[i].kind ? rows[i].kind : "");
		assert_string_equal(v.common, rows[i].common);
	}
	tls_server_unref(server);
	for (size_t i = 0; i < 3; i++) {
		credential_unref(c[i]);
		party_free(&p[i]);
	}
	party_free(&ca);
}

static void test_a_name_has_one_certificate_of_each_kind(void **state)
{
	struct party p[] = {party_of("P-256", "one", NULL, NULL), party_of("P-384", "two", NULL, NULL)};
	struct credential *c[] = {load(&p[0], NULL), load(&p[1], NULL)};
	struct tls_chain chains[2] = {*credential_chain(c[0]), *credential_chain(c[1])};
	const char *why = NULL;

	(void)state;
	chains[0].name = SLICE("mx.example.com");
	chains[1].name = SLICE("MX.example.com");
	assert_null(tls_server_new(chains, 2, &why));
	assert_string_equal(why, "another one of its name has the same kind of key");
	for (size_t i = 0; i < 2; i++) {
		credential_unref(c[i]);
		party_free(&p[i]);
	}
}

/* ---- stapling ------------------------------------------------------------------------------------------------- */

static void test_what_the_issuer_said_goes_to_who_asks_while_it_holds(void **state)
{
	static const char *const names[] = {"mx.example.com", "mx.example.com"};
	char why[CREDENTIAL_WHY_MAX] = "";
	struct party ca = party_of("P-256", "root", NULL, NULL);
	struct party p[] = {party_of("P-256", "ec", &ca, NULL), party_of("rsa", "rsa", &ca, NULL)};
	struct credential *c[] = {load(&p[0], &ca), load(&p[1], &ca)};
	struct said said = {.about = &p[0], .issuer = &ca, .signer = &ca, .status = V_OCSP_CERTSTATUS_GOOD,
			    .from = NOW - HOUR, .until = NOW + HOUR};

	(void)state;
	write_response(path_of("ocsp"), &said);
	assert_true(credential_load_staple(c[0], path_of("ocsp"), NOW, why));
	struct slice staple = credential_chain(c[0])->staple;
	assert_int_equal(credential_chain(c[0])->staple_until, NOW + HOUR);
	struct tls_server *server = server_of(c, names, 2);
	const struct {
		struct visit visit;
		bool stapled;
	} rows[] = {
		{{.asks_status = true, .now = NOW}, true},
		{{.asks_status = true, .now = NOW, .version = TLS1_2_VERSION}, true},
		{{.now = NOW}, false},
		{{.asks_status = true}, false},
		{{.asks_status = true, .now = NOW + HOUR - 1}, true},
		{{.asks_status = true, .now = NOW + HOUR}, false},
		{{.asks_status = true, .now = NOW + DAY}, false},
		{{.asks_status = true, .now = NOW, .signatures = "RSA-PSS+SHA256"}, false}, /* the other certificate */
	};
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct visit v = rows[i].visit;
		go(&v, server, c, 2);
		assert_true(v.done);
		assert_int_equal(v.staple_n, rows[i].stapled ? staple.n : 0);
		if (rows[i].stapled)
			assert_memory_equal(v.staple, staple.p, staple.n);
	}
	tls_server_unref(server);
	for (size_t i = 0; i < 2; i++) {
		credential_unref(c[i]);
		party_free(&p[i]);
	}
	party_free(&ca);
}

static void test_what_may_not_be_stapled_is_refused_and_says_why(void **state)
{
	struct party ca = party_of("P-256", "root", NULL, NULL), twin = party_of("P-256", "root", NULL, NULL);
	struct party leaf = party_of("P-256", "mx", &ca, NULL), other = party_of("P-256", "mx", &ca, NULL);
	struct party named = party_of("P-256", "responder", &ca, "OCSPSigning");
	struct party pushy = party_of("P-256", "pushy", &ca, "serverAuth");
	const struct said good = {&leaf, &ca, &ca, V_OCSP_CERTSTATUS_GOOD, NOW - HOUR, NOW + HOUR, false, false};
	struct {
		struct said said;
		const char *why; /* NULL: it is good */
	} rows[] = {
		{good, NULL},
		{good, NULL},
		{good, NULL},
		{good, "revoked"},
		{good, "does not know the certificate"},
		{good, "about another certificate"},
		{good, "about another certificate"},
		{good, "not signed by the certificate's issuer"},
		{good, "not signed by the certificate's issuer"},
		{good, "has expired"},
		{good, "does not hold yet"},
		{good, "until when"},
	};
	struct credential *c = load(&leaf, &ca);
	char why[CREDENTIAL_WHY_MAX] = "";

	(void)state;
	rows[1].said.sha256 = true;
	rows[2].said.signer = &named;
	rows[2].said.carries = true;
	rows[3].said.status = V_OCSP_CERTSTATUS_REVOKED;
	rows[4].said.status = V_OCSP_CERTSTATUS_UNKNOWN;
	rows[5].said.about = &other;
	rows[6].said.issuer = &twin;
	rows[7].said.signer = &twin;
	rows[7].said.carries = true;
	rows[8].said.signer = &pushy;
	rows[8].said.carries = true;
	rows[9].said.until = NOW;
	rows[10].said.from = NOW + HOUR / 2;
	rows[11].said.until = 0;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		write_response(path_of("ocsp"), &rows[i].said);
		bool taken = credential_load_staple(c, path_of("ocsp"), NOW, why);
		if (taken != !rows[i].why || (!taken && !strstr(why, rows[i].why)))
			fail_msg("row %zu: %s", i, taken ? "taken" : why);
		/* What is wrong leaves what was there. */
		assert_true(credential_chain(c)->staple.n > 0);
	}
	write_file(path_of("ocsp"), (const uint8_t *)"no DER", 6);
	assert_false(credential_load_staple(c, path_of("ocsp"), NOW, why));
	assert_non_null(strstr(why, "no response of OCSP in DER"));
	write_file(path_of("ocsp"), (const uint8_t *)"\x30\x03\x0a\x01\x06", 5); /* "unauthorized" */
	assert_false(credential_load_staple(c, path_of("ocsp"), NOW, why));
	assert_non_null(strstr(why, "an error of the responder"));
	assert_false(credential_load_staple(c, path_of("none"), NOW, why));
	assert_non_null(strstr(why, "No such file"));
	struct credential *alone = load(&leaf, NULL);
	write_response(path_of("ocsp"), &good);
	assert_false(credential_load_staple(alone, path_of("ocsp"), NOW, why));
	assert_non_null(strstr(why, "lacks the certificate of the issuer"));
	/* The same certificate, loaded again. */
	credential_keep_staple(alone, c);
	assert_true(slice_eq(credential_chain(alone)->staple, credential_chain(c)->staple));
	struct credential *stranger = load(&other, &ca);
	credential_keep_staple(stranger, c);
	assert_int_equal(credential_chain(stranger)->staple.n, 0);
	credential_unref(c);
	credential_unref(alone);
	credential_unref(stranger);
	party_free(&ca);
	party_free(&twin);
	party_free(&leaf);
	party_free(&other);
	party_free(&named);
	party_free(&pushy);
}

/* ---- our own -------------------------------------------------------------------------------------------------- */

static void test_our_own_certificate_is_made_anew_before_it_ends_and_keeps_its_key(void **state)
{
	char why[CREDENTIAL_WHY_MAX] = "";
	struct slice name = SLICE("mx.example.com");
	struct credential *first = credential_self_signed(folder, name, NOW, why);

	(void)state;
	assert_non_null(first);
	wall_ms end = credential_expires(first);
	struct credential *same = credential_self_signed(folder, name, end - CREDENTIAL_RENEW, why);
	assert_int_equal(credential_expires(same), end);
	struct credential *next = credential_self_signed(folder, name, end - CREDENTIAL_RENEW + DAY, why);
	assert_true(credential_expires(next) > end + 9 * 365 * DAY);
	assert_memory_equal(credential_chain(next)->key, credential_chain(first)->key, TLS_KEY_ID);
	assert_false(slice_eq(credential_chain(next)->certificates[0], credential_chain(first)->certificates[0]));
	credential_unref(same);
	/* The new one is what is found from now on. */
	same = credential_self_signed(folder, name, end, why);
	assert_int_equal(credential_expires(same), credential_expires(next));
	credential_unref(same);
	credential_unref(next);
	credential_unref(first);
}

static void test_a_certificate_that_somebody_put_there_is_not_replaced(void **state)
{
	char why[CREDENTIAL_WHY_MAX] = "";
	struct party ca = party_of("P-256", "root", NULL, NULL), leaf = party_of("P-256", "mx", &ca, NULL);
	FILE *chain = fopen(path_of("self-signed.pem"), "w"), *key = fopen(path_of("self-signed.key"), "w");

	(void)state;
	assert_true(PEM_write_X509(chain, leaf.x) && PEM_write_PrivateKey(key, leaf.key, NULL, NULL, 0, NULL, NULL));
	fclose(chain);
	fclose(key);
	chmod(path_of("self-signed.key"), 0600);
	struct credential *c = credential_self_signed(folder, SLICE("mx.example.com"), NOW, why);
	assert_non_null(c);
	assert_int_equal(credential_expires(c), NOW + DAY);
	credential_unref(c);
	party_free(&leaf);
	party_free(&ca);
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
	static const char *const names[] = {"pem", "ocsp", "self-signed.pem", "self-signed.key"};

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
		cmocka_unit_test(test_a_client_gets_the_kind_of_key_that_it_can_use),
		cmocka_unit_test(test_a_name_has_one_certificate_of_each_kind),
		cmocka_unit_test(test_what_the_issuer_said_goes_to_who_asks_while_it_holds),
		cmocka_unit_test(test_what_may_not_be_stapled_is_refused_and_says_why),
		cmocka_unit_test(test_our_own_certificate_is_made_anew_before_it_ends_and_keeps_its_key),
		cmocka_unit_test(test_a_certificate_that_somebody_put_there_is_not_replaced),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
