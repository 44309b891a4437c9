/*
 * Certificates of clients. Whoever has none, or a bad one, gets his session all the same (RFC 3207 says nothing about
 * certificates of clients, and mail is taken from those who show none): the handshake only proves that he has the key.
 * What the certificate is worth is found out behind it, on a stack of usual size: a handshake of ours has a small one.
 *
 * A session that was resumed would have to be taken for good by what was found once, with other authorities perhaps:
 * where certificates are asked for, none is resumed.
 */
#include "base/heap.h"
#include "net/tls_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#define AUTH_LEVEL      2 /* as for servers: 112 bits */
#define NAME_MAX_OCTETS 255

struct tls_trust {
	unsigned refs;
	X509_STORE *store;
	STACK_OF(X509_NAME) * names; /* of the authorities, for clients to choose by */
};

/* ---- authorities ---------------------------------------------------------------------------------------------- */

/* Whether the last thing that went wrong is that there was nothing more to read. */
static bool was_the_end(void)
{
	bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

	ERR_clear_error();
	return end;
}

static bool add_authority(struct tls_trust *t, X509 *x)
{
	X509_NAME *name = X509_NAME_dup(X509_get_subject_name(x));

	if (name && X509_STORE_add_cert(t->store, x) && sk_X509_NAME_push(t->names, name) > 0)
		return true;
	X509_NAME_free(name);
	return false;
}

static bool add_authorities(struct tls_trust *t, BIO *bio)
{
	size_t count = 0;
	bool good = true;

	for (X509 *x; good && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL; count++) {
		good = count < TLS_AUTHORITIES_MAX && add_authority(t, x);
		X509_free(x);
	}
	return was_the_end() && good && count > 0;
}

static bool add_revoked(struct tls_trust *t, BIO *bio)
{
	size_t count = 0;
	bool good = true;

	for (X509_CRL *x; good && (x = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL)) != NULL; count++) {
		good = count < TLS_AUTHORITIES_MAX && X509_STORE_add_crl(t->store, x);
		X509_CRL_free(x);
	}
	return was_the_end() && good && count > 0 &&
	       X509_STORE_set_flags(t->store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

static bool read_text(struct tls_trust *t, struct slice text, bool (*add)(struct tls_trust *t, BIO *bio))
{
	BIO *bio = text.n <= TLS_TRUST_TEXT_MAX ? BIO_new_mem_buf(text.p, (int)text.n) : NULL;

	ERR_clear_error();
	bool good = bio && add(t, bio);
	BIO_free(bio);
	ERR_clear_error();
	return good;
}

struct tls_trust *tls_trust_new(const struct tls_trust_text *text, const char **why)
{
	struct tls_trust *t = heap_new(struct tls_trust);

	*why = "out of memory";
	if (!t)
		return NULL;
	t->refs = 1;
	t->store = tls_begin_library() ? X509_STORE_new() : NULL;
	t->names = sk_X509_NAME_new_null();
	bool good = t->store && t->names;
	if (good && !read_text(t, text->authorities, add_authorities)) {
		*why = "it holds no certificate in PEM, a broken one, or too many";
		good = false;
	}
	if (good && text->revoked.n > 0 && !read_text(t, text->revoked, add_revoked)) {
		*why = "it holds no list (CRL) in PEM, a broken one, or too many";
		good = false;
	}
	if (good)
		return t;
	tls_trust_unref(t);
	return NULL;
}

struct tls_trust *tls_trust_ref(struct tls_trust *t)
{
	t->refs++;
	return t;
}

void tls_trust_unref(struct tls_trust *t)
{
	if (!t || --t->refs > 0)
		return;
	X509_STORE_free(t->store);
	sk_X509_NAME_pop_free(t->names, X509_NAME_free);
	heap_free(t);
}

/* ---- asking --------------------------------------------------------------------------------------------------- */

int tls_take_any_certificate(X509_STORE_CTX *context, void *arg)
{
	(void)arg;
	X509_STORE_CTX_set_error(context, X509_V_OK);
	return 1;
}

bool tls_ask_certificate(struct tls *t, struct tls_trust *trust)
{
	STACK_OF(X509_NAME) *names = SSL_dup_CA_list(trust->names);

	assert(t->server && !t->trust && !t->done);
	if (!names || !SSL_set_num_tickets(t->ssl, 0)) {
		sk_X509_NAME_pop_free(names, X509_NAME_free);
		return false;
	}
	SSL_set_client_CA_list(t->ssl, names);
	SSL_set_verify(t->ssl, SSL_VERIFY_PEER, NULL);
	SSL_set_options(t->ssl, SSL_OP_NO_TICKET);
	t->trust = tls_trust_ref(trust);
	return true;
}

/* ---- what it is worth ------------------------------------------------------------------------------------------- */

static void add_name(struct buf *out, const char *kind, struct slice value)
{
	size_t n = strlen(kind) + value.n + 1;

	for (size_t i = 0; i < value.n; i++)
		if (!ascii_is_print(value.p[i]) || value.p[i] == ' ')
			return; /* nobody's name; a NUL in it has deceived others */
	if (value.n == 0 || value.n > NAME_MAX_OCTETS || buf_len(out) + n > TLS_HOLDER_MAX)
		return;
	if (buf_len(out) > 0)
		buf_add_char(out, '\n');
	buf_add(out, slice_from_cstr(kind));
	buf_add(out, value);
}

static void add_general_name(struct buf *out, const GENERAL_NAME *name)
{
	const char *kind = name->type == GEN_EMAIL ? "email:"
			   : name->type == GEN_DNS ? "dns:"
			   : name->type == GEN_URI ? "uri:"
						   : NULL;

	if (kind)
		add_name(out, kind,
			 slice_of((const char *)ASN1_STRING_get0_data(name->d.ia5),
				  (size_t)ASN1_STRING_length(name->d.ia5)));
}

static bool add_key(struct buf *out, X509 *x)
{
	EVP_PKEY *key = X509_get0_pubkey(x);
	uint8_t id[TLS_KEY_ID];
	char hex[2 * TLS_KEY_ID + 1];

	if (!key || !tls_key_id(key, id))
		return false;
	for (size_t i = 0; i < sizeof id; i++)
		snprintf(hex + 2 * i, 3, "%02x", id[i]);
	add_name(out, "key:", slice_of(hex, 2 * sizeof id));
	return true;
}

static bool write_names(struct tls *t, X509 *x)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	bool good = add_key(&t->holder, x);

	for (int i = 0; good && i < (names ? sk_GENERAL_NAME_num(names) : 0); i++)
		add_general_name(&t->holder, sk_GENERAL_NAME_value(names, i));
	GENERAL_NAMES_free(names);
	return good && !t->holder.failed;
}

/* NULL: it is good. */
static const char *wrong_with(const struct tls *t, X509 *x)
{
	X509_STORE_CTX *c = X509_STORE_CTX_new();
	const char *why = "out of memory";

	if (c && X509_STORE_CTX_init(c, t->trust->store, x, SSL_get_peer_cert_chain(t->ssl)) &&
	    X509_STORE_CTX_set_default(c, "ssl_client")) {
		X509_VERIFY_PARAM_set_auth_level(X509_STORE_CTX_get0_param(c), AUTH_LEVEL);
		bool verified = X509_verify_cert(c) == 1 && X509_STORE_CTX_get_error(c) == X509_V_OK;
		why = !verified ? X509_verify_cert_error_string(X509_STORE_CTX_get_error(c))
		      : !tls_is_chain_of_authorities(X509_STORE_CTX_get0_chain(c))
			      ? "an issuer in the chain is no authority"
			      : NULL;
	}
	X509_STORE_CTX_free(c);
	return why;
}

void tls_judge_holder(struct tls *t)
{
	X509 *x = SSL_get0_peer_certificate(t->ssl);
	struct tls_verdict *v = &t->verdict;

	assert(t->trust && !SSL_session_reused(t->ssl));
	*v = (struct tls_verdict){0};
	buf_free(&t->holder);
	buf_init(&t->holder, TLS_HOLDER_MAX);
	const char *why = x ? wrong_with(t, x) : "none was shown";
	if (!why && !write_names(t, x))
		why = "out of memory";
	v->verified = why == NULL;
	if (why) {
		snprintf(v->why, sizeof v->why, "%s", why);
		buf_free(&t->holder);
	}
	ERR_clear_error();
}
