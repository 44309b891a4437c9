#include "net/credential_private.h"

#include <string.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/x509_vfy.h>

#define AHEAD (5 * MINUTE) /* that the clock of who made a response may be */

/* What is looked at. */
struct answer {
	X509 *leaf, *issuer;
	OCSP_BASICRESP *basic;
	wall_ms now, until;
};

/* Whether an answer is about our certificate (RFC 6960 4.1.1): its id has the digest that the responder chose. */
static bool is_about(OCSP_SINGLERESP *single, const struct answer *a)
{
	const OCSP_CERTID *its = OCSP_SINGLERESP_get0_id(single);
	ASN1_OBJECT *digest = NULL;

	OCSP_id_get0_info(NULL, &digest, NULL, NULL, (OCSP_CERTID *)(uintptr_t)its);
	const EVP_MD *md = digest ? EVP_get_digestbyobj(digest) : NULL;
	OCSP_CERTID *ours = md ? OCSP_cert_to_id(md, a->leaf, a->issuer) : NULL;
	bool is = ours && OCSP_id_cmp(ours, its) == 0;

	OCSP_CERTID_free(ours);
	return is;
}

static OCSP_SINGLERESP *find_single(const struct answer *a)
{
	for (int i = 0; i < OCSP_resp_count(a->basic); i++)
		if (is_about(OCSP_resp_get0(a->basic, i), a))
			return OCSP_resp_get0(a->basic, i);
	return NULL;
}

/* RFC 6960 3.2. */
static const char *check_single(struct answer *a)
{
	ASN1_GENERALIZEDTIME *from = NULL, *until = NULL;
	OCSP_SINGLERESP *single = find_single(a);

	if (!single)
		return "the response is about another certificate";
	int status = OCSP_single_get0_status(single, NULL, NULL, &from, &until);
	if (status == V_OCSP_CERTSTATUS_REVOKED)
		return "the certificate is revoked";
	if (status != V_OCSP_CERTSTATUS_GOOD)
		return "the issuer does not know the certificate";
	/* Without an end nobody could say when it is old. */
	if (!from || !until)
		return "the response does not say until when it holds";
	if (credential_time(from) > a->now + AHEAD)
		return "the response does not hold yet";
	a->until = credential_time(until);
	return a->until <= a->now ? "the response has expired" : NULL;
}

/* By the issuer, or by a certificate in the response that the issuer made for this (RFC 6960 4.2.2.2). */
static const char *check_signature(const struct answer *a)
{
	X509_STORE *store = X509_STORE_new();
	STACK_OF(X509) *issuers = sk_X509_new_null();
	bool good = store && issuers && X509_STORE_add_cert(store, a->issuer) && sk_X509_push(issuers, a->issuer) > 0;

	if (good) {
		X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
		X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), (time_t)(a->now / SECOND));
	}
	good = good && OCSP_basic_verify(a->basic, issuers, store, 0) == 1;
	sk_X509_free(issuers);
	X509_STORE_free(store);
	return good ? NULL : "the response is not signed by the certificate's issuer";
}

static const char *check(struct answer *a, const struct credential *c, OCSP_RESPONSE *response)
{
	if (c->chain.count < 2)
		return "the chain lacks the certificate of the issuer, by which to check the response";
	a->leaf = credential_certificate(c, 0);
	a->issuer = credential_certificate(c, 1);
	if (OCSP_response_status(response) != OCSP_RESPONSE_STATUS_SUCCESSFUL)
		return "the response is an error of the responder";
	a->basic = OCSP_response_get1_basic(response);
	if (!a->leaf || !a->issuer || !a->basic)
		return "it is no response of OCSP";
	const char *why = check_single(a);
	return why ? why : check_signature(a);
}

static void put(struct credential *c, const uint8_t *octets, size_t n, wall_ms until)
{
	uint8_t *copy = OPENSSL_memdup(octets, n);

	if (!copy)
		return;
	OPENSSL_free(c->staple);
	c->staple = copy;
	c->chain.staple = slice_of((const char *)copy, n);
	c->chain.staple_until = until;
}

bool credential_read_staple(struct credential *c, const struct credential_file *f, wall_ms now,
			    char why[CREDENTIAL_WHY_MAX])
{
	BIO *bio = credential_read_file(f, false, why);
	struct answer a = {.now = now};
	uint8_t *octets = NULL;

	if (!bio)
		return false;
	long n = BIO_get_mem_data(bio, &octets);
	const uint8_t *at = octets;
	OCSP_RESPONSE *response = n > 0 && (size_t)n <= TLS_STAPLE_MAX ? d2i_OCSP_RESPONSE(NULL, &at, n) : NULL;
	const char *what = response && at == octets + n ? check(&a, c, response) : "it is no response of OCSP in DER";
	if (!what)
		put(c, octets, (size_t)n, a.until);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(a.basic);
	X509_free(a.leaf);
	X509_free(a.issuer);
	BIO_free(bio);
	ERR_clear_error();
	return what ? credential_wrong(why, f->path, what) : true;
}

bool credential_load_staple(struct credential *c, const char *path, wall_ms now, char why[CREDENTIAL_WHY_MAX])
{
	struct credential_file f = credential_file_open(path);
	bool good = credential_read_staple(c, &f, now, why);

	credential_file_close(&f);
	return good;
}

void credential_keep_staple(struct credential *c, const struct credential *before)
{
	if (!c->staple && before->staple && slice_eq(c->chain.certificates[0], before->chain.certificates[0]))
		put(c, before->staple, before->chain.staple.n, before->chain.staple_until);
}
