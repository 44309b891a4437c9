/*
 * Certificates of clients: a client of OpenSSL's own shows one, good or bad, and the server says what it is worth.
 */
#include "test.h"

#include "net/credential.h"
#include "net/tls.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define NOW ((wall_ms)1795219200000)

static char folder[64];
static struct credential *ours;
static struct tls_server *server;
static EVP_PKEY *ca_key, *other_key, *client_key;
static X509 *ca, *other_ca;

/* ---- certificates ----------------------------------------------------------------------------------------------- */

static void extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;

	if (!value)
		return;
	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	assert_non_null(extension);
	assert_true(X509_add_ext(x, extension, -1));
	X509_EXTENSION_free(extension);
}

struct say {
	const char *names, *usage, *basic;
	int from, to; /* seconds from now */
};

static X509 *certify(const char *common, EVP_PKEY *key, X509 *issuer, EVP_PKEY *signer, struct say say)
{
	static long serial = 1;
	X509 *x = X509_new();

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), serial++);
	X509_gmtime_adj(X509_getm_notBefore(x), say.from);
	X509_gmtime_adj(X509_getm_notAfter(x), say.to ? say.to : 3600);
	X509_set_pubkey(x, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const uint8_t *)common, -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
	extend(x, issuer ? issuer : x, NID_basic_constraints, say.basic);
	extend(x, issuer ? issuer : x, NID_ext_key_usage, say.usage);
	extend(x, issuer ? issuer : x, NID_subject_alt_name, say.names);
	assert_true(X509_sign(x, signer, EVP_sha256()) > 0);
	return x;
}

static X509 *revoked_by(X509 *x, X509_CRL **ret)
{
	X509_CRL *list = X509_CRL_new();
	X509_REVOKED *row = X509_REVOKED_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0), *later = X509_gmtime_adj(NULL, 3600);

	X509_CRL_set_version(list, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(ca));
	X509_CRL_set1_lastUpdate(list, now);
	X509_CRL_set1_nextUpdate(list, later);
	X509_REVOKED_set_serialNumber(row, X509_get_serialNumber(x));
	X509_REVOKED_set_revocationDate(row, now);
	X509_CRL_add0_revoked(list, row);
	assert_true(X509_CRL_sign(list, ca_key, EVP_sha256()) > 0);
	ASN1_TIME_free(now);
	ASN1_TIME_free(later);
	*ret = list;
	return x;
}

static struct tls_trust *trust_in(X509 *authority, X509_CRL *list)
{
	BIO *certificates = BIO_new(BIO_s_mem()), *lists = BIO_new(BIO_s_mem());
	struct tls_trust_text text;
	const char *why = "";
	char *p;

	PEM_write_bio_X509(certificates, authority);
	if (list)
		PEM_write_bio_X509_CRL(lists, list);
	text.authorities.n = (size_t)BIO_get_mem_data(certificates, &p);
	text.authorities.p = p;
	text.revoked.n = (size_t)BIO_get_mem_data(lists, &p);
	text.revoked.p = p;
	struct tls_trust *t = tls_trust_new(&text, &why);
	if (!t)
		fail_msg("%s", why);
	BIO_free(certificates);
	BIO_free(lists);
	return t;
}

/* ---- both ends -------------------------------------------------------------------------------------------------- */

struct visit {
	struct tls *t;
	SSL *client;
	struct tls_facts facts;
};

static void carry(struct visit *v)
{
	char octets[4096];
	struct buf wire;
	int n;

	while ((n = BIO_read(SSL_get_wbio(v->client), octets, sizeof octets)) > 0)
		assert_true(tls_feed(v->t, slice_of(octets, (size_t)n)));
	buf_init(&wire, 1 << 20);
	while (tls_handshake(v->t) == TLS_SIGN) {
		uint8_t signature[TLS_SIGNATURE_MAX];
		size_t size = 0;
		assert_true(credential_sign(ours, tls_request(v->t), signature, &size));
		tls_signed(v->t, slice_of((const char *)signature, size));
	}
	assert_true(tls_output(v->t, &wire));
	if (buf_len(&wire))
		BIO_write(SSL_get_rbio(v->client), buf_slice(&wire).p, (int)buf_len(&wire));
	buf_free(&wire);
}

static void visit(struct visit *v, SSL_CTX *context, struct tls_trust *trust, int version)
{
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

	*v = (struct visit){.t = tls_new(server, SLICE("smtp")), .client = SSL_new(context)};
	BIO_set_mem_eof_return(in, -1);
	BIO_set_mem_eof_return(out, -1);
	SSL_set_bio(v->client, in, out);
	SSL_set_connect_state(v->client);
	SSL_set_max_proto_version(v->client, version);
	if (trust)
		assert_true(tls_ask_certificate(v->t, trust));
	for (int i = 0; i < 8; i++) {
		SSL_do_handshake(v->client);
		carry(v);
	}
	assert_true(SSL_is_init_finished(v->client));
	assert_int_equal(tls_handshake(v->t), TLS_DONE);
	tls_facts(v->t, &v->facts);
}

static void leave(struct visit *v)
{
	tls_free(v->t);
	SSL_free(v->client);
}

static SSL_CTX *client_with(X509 *x, X509 *between, EVP_PKEY *key)
{
	SSL_CTX *c = SSL_CTX_new(TLS_client_method());

	SSL_CTX_set_security_level(c, 0); /* what is too weak is the server's to say */
	if (x) {
		assert_true(SSL_CTX_use_certificate(c, x));
		assert_true(SSL_CTX_use_PrivateKey(c, key));
	}
	if (between)
		assert_true(SSL_CTX_add1_chain_cert(c, between));
	return c;
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* Shows it in either version; the names without the key, or why it is not good. Takes the certificate. */
static void assert_shown(X509 *x, X509 *between, EVP_PKEY *key, struct tls_trust *trust, const char *names,
			 const char *why)
{
	SSL_CTX *context = client_with(x, between, key);

	for (size_t i = 0; i < 2; i++) {
		struct visit v;
		visit(&v, context, trust, versions[i]);
		assert_string_equal(v.facts.unverified, why);
		assert_int_equal(v.facts.verified, why[0] == '\0');
		assert_int_equal(v.facts.holder.n > 0, why[0] == '\0');
		if (!why[0]) {
			assert_true(slice_starts(v.facts.holder, SLICE("key:")));
			assert_slice(slice_skip(v.facts.holder, 4 + 64), names);
		}
		leave(&v);
	}
	SSL_CTX_free(context);
	X509_free(x);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void a_good_certificate_says_whose_it_is(void **state)
{
	struct tls_trust *trust = trust_in(ca, NULL);
	const struct say said = {"email:alice@example.com,DNS:a.example.com,URI:urn:x,IP:192.0.2.1", "clientAuth", NULL,
				 0, 0};
	EVP_PKEY *between_key = EVP_EC_gen("P-256");
	X509 *between = certify("between", between_key, ca, ca_key, (struct say){.basic = "critical,CA:TRUE"});

	(void)state;
	assert_shown(certify("a", client_key, ca, ca_key, said), NULL, client_key, trust,
		     "\nemail:alice@example.com\ndns:a.example.com\nuri:urn:x", "");
	assert_shown(certify("a", client_key, ca, ca_key, (struct say){0}), NULL, client_key, trust, "", "");
	assert_shown(certify("a", client_key, between, between_key, said), between, client_key, trust,
		     "\nemail:alice@example.com\ndns:a.example.com\nuri:urn:x", "");
	X509_free(between);
	EVP_PKEY_free(between_key);
	tls_trust_unref(trust);
}

static void a_key_of_any_kind_will_do_but_no_weak_one(void **state)
{
	struct tls_trust *trust = trust_in(ca, NULL);
	EVP_PKEY *keys[] = {EVP_RSA_gen(2048), EVP_EC_gen("P-384"), EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"),
			    EVP_RSA_gen(1024)};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		X509 *x = certify("a", keys[i], ca, ca_key, (struct say){0});
		assert_shown(x, NULL, keys[i], trust, "", i < 3 ? "" : "EE certificate key too weak");
		EVP_PKEY_free(keys[i]);
	}
	tls_trust_unref(trust);
}

static void a_bad_certificate_is_no_reason_to_say_no_but_worth_nothing(void **state)
{
	static const char names[] = "email:alice@example.com";
	const struct say said = {.names = names};
	struct tls_trust *trust = trust_in(ca, NULL);
	X509 *leaf = certify("leaf", client_key, ca, ca_key, (struct say){.basic = "critical,CA:FALSE"});

	(void)state;
	assert_shown(NULL, NULL, NULL, trust, "", "none was shown");
	assert_shown(certify("a", client_key, NULL, client_key, said), NULL, client_key, trust, "",
		     "self-signed certificate");
	assert_shown(certify("a", client_key, other_ca, other_key, said), NULL, client_key, trust, "",
		     "unable to get local issuer certificate");
	/* It says that it is of our authority, and is signed by another key. */
	assert_shown(certify("a", client_key, ca, other_key, said), NULL, client_key, trust, "",
		     "certificate signature failure");
	assert_shown(certify("a", client_key, ca, ca_key, (struct say){names, NULL, NULL, -7200, -3600}), NULL,
		     client_key, trust, "", "certificate has expired");
	assert_shown(certify("a", client_key, ca, ca_key, (struct say){names, NULL, NULL, 3600, 7200}), NULL,
		     client_key, trust, "", "certificate is not yet valid");
	assert_shown(certify("a", client_key, ca, ca_key, (struct say){names, "serverAuth", NULL, 0, 0}), NULL,
		     client_key, trust, "", "unsuitable certificate purpose");
	/* A holder of a certificate makes one for another. */
	assert_shown(certify("a", other_key, leaf, client_key, said), leaf, other_key, trust, "",
		     "invalid CA certificate");
	X509_free(leaf);
	tls_trust_unref(trust);
}

static void a_revoked_certificate_is_worth_nothing(void **state)
{
	X509_CRL *list;
	X509 *lost = revoked_by(certify("lost", client_key, ca, ca_key, (struct say){0}), &list);
	struct tls_trust *trust = trust_in(ca, list);

	(void)state;
	assert_shown(lost, NULL, client_key, trust, "", "certificate revoked");
	assert_shown(certify("kept", client_key, ca, ca_key, (struct say){0}), NULL, client_key, trust, "", "");
	tls_trust_unref(trust);
	X509_CRL_free(list);
}

/* C7: what stands behind a NUL, a line's end or a space is not part of a name, and neither is what stands before. */
static void names_that_deceive_are_nobodys(void **state)
{
	static const struct slice odd[] = {{"alice@example.com\0.evil.example", 31},
					   {"alice@example.com\nemail:b@c", 27},
					   {"alice @example.com", 18},
					   {"\xc3\xa9@example.com", 14},
					   {"", 0}};
	struct tls_trust *trust = trust_in(ca, NULL);

	(void)state;
	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		X509 *x = certify("a", client_key, ca, ca_key, (struct say){0});
		GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
		GENERAL_NAME *name = GENERAL_NAME_new();
		ASN1_IA5STRING *value = ASN1_IA5STRING_new();
		ASN1_STRING_set(value, odd[i].p, (int)odd[i].n);
		GENERAL_NAME_set0_value(name, GEN_EMAIL, value);
		sk_GENERAL_NAME_push(names, name);
		assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT), 1);
		assert_true(X509_sign(x, ca_key, EVP_sha256()) > 0);
		GENERAL_NAMES_free(names);
		assert_shown(x, NULL, client_key, trust, "", "");
	}
	tls_trust_unref(trust);
}

static void who_is_not_asked_shows_nothing_and_who_is_resumes_nothing(void **state)
{
	struct tls_trust *trust = trust_in(ca, NULL);
	X509 *x = certify("a", client_key, ca, ca_key, (struct say){0});
	SSL_CTX *context = client_with(x, NULL, client_key);
	struct tls_tickets tickets = {.lifetime = HOUR};

	(void)state;
	assert_true(tls_tickets_renew(&tickets));
	tls_server_set_tickets(server, &tickets);
	for (size_t i = 0; i < 2; i++)
		for (int asked = 0; asked < 2; asked++) {
			struct visit v;
			char none[1];
			visit(&v, context, asked ? trust : NULL, versions[i]);
			assert_int_equal(v.facts.verified, asked);
			assert_int_equal(v.facts.holder.n > 0, asked);
			SSL_read(v.client, none, sizeof none); /* a ticket of TLS 1.3 comes behind */
			assert_int_equal(SSL_SESSION_is_resumable(SSL_get_session(v.client)), !asked);
			leave(&v);
		}
	SSL_CTX_free(context);
	X509_free(x);
	tls_trust_unref(trust);
}

static void authorities_that_are_none_say_why(void **state)
{
	static const char broken[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
	struct tls_trust_text text = {SLICE(""), SLICE_NONE};
	const char *why = NULL;

	(void)state;
	for (int i = 0; i < 3; i++) {
		text.authorities = i == 0 ? SLICE("") : i == 1 ? SLICE("no PEM\n") : SLICE(broken);
		assert_null(tls_trust_new(&text, &why));
		assert_string_equal(why, "it holds no certificate in PEM, a broken one, or too many");
	}
	BIO *bio = BIO_new(BIO_s_mem());
	char *p;
	PEM_write_bio_X509(bio, ca);
	text.authorities.n = (size_t)BIO_get_mem_data(bio, &p);
	text.authorities.p = p;
	text.revoked = SLICE("no list\n");
	assert_null(tls_trust_new(&text, &why));
	assert_string_equal(why, "it holds no list (CRL) in PEM, a broken one, or too many");
	/* A good one does not hide a broken one behind it. */
	BIO_write(bio, broken, sizeof broken - 1);
	text = (struct tls_trust_text){.authorities = {.n = (size_t)BIO_get_mem_data(bio, &p)}};
	text.authorities.p = p;
	assert_null(tls_trust_new(&text, &why));
	BIO_free(bio);
}

static int set_up(void **state)
{
	char why[CREDENTIAL_WHY_MAX];
	const char *wrong;

	(void)state;
	snprintf(folder, sizeof folder, "/tmp/postrider-holder.XXXXXX");
	if (!mkdtemp(folder) || !(ours = credential_self_signed(folder, SLICE("mx.example.com"), NOW, why)))
		return -1;
	struct tls_chain chain = *credential_chain(ours);
	chain.name = SLICE("mx.example.com");
	server = tls_server_new(&chain, 1, &wrong);
	ca_key = EVP_EC_gen("P-256");
	other_key = EVP_EC_gen("P-256");
	client_key = EVP_EC_gen("P-256");
	ca = certify("ca", ca_key, NULL, ca_key, (struct say){.basic = "critical,CA:TRUE"});
	other_ca = certify("other ca", other_key, NULL, other_key, (struct say){.basic = "critical,CA:TRUE"});
	return server ? 0 : -1;
}

static int tear_down(void **state)
{
	char path[128];

	(void)state;
	tls_server_unref(server);
	credential_unref(ours);
	X509_free(ca);
	X509_free(other_ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(other_key);
	EVP_PKEY_free(client_key);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/self-signed.%s", folder, i ? "pem" : "key");
		unlink(path);
	}
	rmdir(folder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_good_certificate_says_whose_it_is),
		cmocka_unit_test(a_key_of_any_kind_will_do_but_no_weak_one),
		cmocka_unit_test(a_bad_certificate_is_no_reason_to_say_no_but_worth_nothing),
		cmocka_unit_test(a_revoked_certificate_is_worth_nothing),
		cmocka_unit_test(names_that_deceive_are_nobodys),
		cmocka_unit_test(who_is_not_asked_shows_nothing_and_who_is_resumes_nothing),
		cmocka_unit_test(authorities_that_are_none_say_why),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
