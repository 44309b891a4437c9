#include "net/credential_private.h"

#include "base/heap.h"
#include "net/tls_key.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define PATH_OCTETS  2048
#define YEARS        10 /* that a certificate of our own lasts */
#define SERIAL_BITS  127
#define SECURE_MEMORY ((size_t)1 << 20)
#define SECURE_LEAST  32

bool credential_wrong(char why[CREDENTIAL_WHY_MAX], const char *path, const char *what)
{
	snprintf(why, CREDENTIAL_WHY_MAX, "%.150s: %.100s", path, what);
	return false;
}

struct credential *credential_ref(struct credential *c)
{
	c->refs++;
	return c;
}

void credential_unref(struct credential *c)
{
	if (!c || --c->refs > 0)
		return;
	for (size_t i = 0; i < c->chain.count; i++)
		OPENSSL_free(c->der[i]);
	OPENSSL_free(c->staple);
	EVP_PKEY_free(c->key);
	heap_free(c);
}

const struct tls_chain *credential_chain(const struct credential *c)
{
	return &c->chain;
}

wall_ms credential_expires(const struct credential *c)
{
	return c->expires;
}

const char *credential_kind(const struct credential *c)
{
	return EVP_PKEY_is_a(c->key, "EC") ? "EC" : "RSA";
}

void credential_prepare(void)
{
	/* Room for all the keys there can be. Where memory cannot be locked it is used as it is. */
	if (!CRYPTO_secure_malloc_initialized())
		(void)CRYPTO_secure_malloc_init(SECURE_MEMORY, SECURE_LEAST);
}

/* ---- files ---------------------------------------------------------------------------------------------------- */

struct credential_file credential_file_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return (struct credential_file){.path = path, .fd = fd, .error = errno};
}

void credential_file_close(struct credential_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

static bool read_all(int fd, BIO *into)
{
	char part[4096];
	ssize_t n;

	while ((n = read(fd, part, sizeof part)) > 0)
		if (BIO_write(into, part, (int)n) != n)
			break;
	OPENSSL_cleanse(part, sizeof part);
	return n == 0;
}

static bool check_file(const struct credential_file *f, bool secret, char why[CREDENTIAL_WHY_MAX])
{
	struct stat st;

	if (f->fd < 0)
		return credential_wrong(why, f->path, strerror(f->error));
	if (fstat(f->fd, &st) < 0)
		return credential_wrong(why, f->path, strerror(errno));
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > CREDENTIAL_FILE_MAX)
		return credential_wrong(why, f->path, "it is no regular file, or too large");
	return !(secret && st.st_mode & S_IROTH) ||
	       credential_wrong(why, f->path, "everybody may read this private key");
}

BIO *credential_read_file(const struct credential_file *f, bool secret, char why[CREDENTIAL_WHY_MAX])
{
	BIO *bio = BIO_new(secret ? BIO_s_secmem() : BIO_s_mem());

	if (!bio)
		credential_wrong(why, f->path, "out of memory");
	else if (check_file(f, secret, why)) {
		if (read_all(f->fd, bio))
			return bio;
		credential_wrong(why, f->path, "it cannot be read");
	}
	BIO_free(bio);
	return NULL;
}

bool credential_append(const struct credential_file *f, struct buf *out, char why[CREDENTIAL_WHY_MAX])
{
	BIO *bio = credential_read_file(f, false, why);
	char *p = NULL;

	if (!bio)
		return false;
	long n = BIO_get_mem_data(bio, &p);
	bool good = n <= 0 || buf_add(out, slice_of(p, (size_t)n));
	BIO_free(bio);
	return good || credential_wrong(why, f->path, "it is too large");
}

bool credential_append_file(const char *path, struct buf *out, char why[CREDENTIAL_WHY_MAX])
{
	struct credential_file f = credential_file_open(path);
	bool good = credential_append(&f, out, why);

	credential_file_close(&f);
	return good;
}

/* A key with a pass phrase is of no use: nobody is there to give it. */
static int no_pass_phrase(char *into, int room, int for_writing, void *arg)
{
	(void)into;
	(void)room;
	(void)for_writing;
	*(bool *)arg = true;
	return -1;
}

static bool load_key(struct credential *c, const struct credential_file *f, char why[CREDENTIAL_WHY_MAX])
{
	const char *path = f->path;
	BIO *bio = credential_read_file(f, true, why);
	bool locked = false;

	if (!bio)
		return false;
	c->key = PEM_read_bio_PrivateKey(bio, NULL, no_pass_phrase, &locked);
	BIO_free(bio);
	if (!c->key)
		return credential_wrong(why, path,
			     locked ? "the private key needs a pass phrase" : "there is no private key in it");
	if (!EVP_PKEY_is_a(c->key, "RSA") && !EVP_PKEY_is_a(c->key, "EC"))
		return credential_wrong(why, path, "the private key is neither RSA nor EC");
	return true;
}

static bool add_certificate(struct credential *c, X509 *x)
{
	uint8_t **der = &c->der[c->chain.count];
	int n = i2d_X509(x, der);

	if (n <= 0 || (size_t)n > TLS_CERTIFICATE_MAX) {
		OPENSSL_free(n > 0 ? *der : NULL);
		return false;
	}
	c->chain.certificates[c->chain.count++] = slice_of((const char *)*der, (size_t)n);
	return true;
}

wall_ms credential_time(const ASN1_TIME *t)
{
	ASN1_TIME *epoch = ASN1_TIME_set(NULL, 0);
	int days = 0, seconds = 0;

	if (epoch)
		ASN1_TIME_diff(&days, &seconds, epoch, t);
	ASN1_TIME_free(epoch);
	return days * DAY + seconds * SECOND;
}

static bool add_chain(struct credential *c, BIO *bio)
{
	for (X509 *x; (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL;) {
		if (c->chain.count == 0)
			c->expires = credential_time(X509_get0_notAfter(x));
		bool good = c->chain.count < TLS_CHAIN_MAX && add_certificate(c, x);
		X509_free(x);
		if (!good)
			return false;
	}
	/* Other things may stand in the file; but a certificate that is broken must not end the chain in silence. */
	return c->chain.count > 0 && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
}

static bool load_chain(struct credential *c, const struct credential_file *f, char why[CREDENTIAL_WHY_MAX])
{
	BIO *bio = credential_read_file(f, false, why);

	if (!bio)
		return false;
	ERR_clear_error();
	bool good = add_chain(c, bio);
	BIO_free(bio);
	return good || credential_wrong(why, f->path,
					c->chain.count == 0 ? "there is no certificate in it"
							    : "a certificate in it is broken, or there are too many");
}

X509 *credential_certificate(const struct credential *c, size_t n)
{
	const uint8_t *p = (const uint8_t *)c->chain.certificates[n].p;

	return d2i_X509(NULL, &p, (long)c->chain.certificates[n].n);
}

/* The key's id, and that it is the certificate's. */
static bool check_pair(struct credential *c, const char *key_path, char why[CREDENTIAL_WHY_MAX])
{
	X509 *leaf = credential_certificate(c, 0);
	bool fits = leaf && X509_check_private_key(leaf, c->key);

	X509_free(leaf);
	if (!fits)
		return credential_wrong(why, key_path, "the private key is not that of the certificate");
	return tls_key_id(c->key, c->chain.key) || credential_wrong(why, key_path, "out of memory");
}

struct credential *credential_read(const struct credential_file *chain, const struct credential_file *key,
				   char why[CREDENTIAL_WHY_MAX])
{
	struct credential *c = heap_new(struct credential);
	if (c)
		c->refs = 1;
	bool good = c ? load_chain(c, chain, why) && load_key(c, key, why) && check_pair(c, key->path, why)
		      : credential_wrong(why, chain->path, "out of memory");

	ERR_clear_error();
	if (good)
		return c;
	credential_unref(c);
	return NULL;
}

struct credential *credential_load(const char *chain_path, const char *key_path, char why[CREDENTIAL_WHY_MAX])
{
	struct credential_file chain = credential_file_open(chain_path), key = credential_file_open(key_path);
	struct credential *c = credential_read(&chain, &key, why);

	credential_file_close(&chain);
	credential_file_close(&key);
	return c;
}

/* ---- our own certificate -------------------------------------------------------------------------------------- */

static bool set_serial(X509 *x)
{
	BIGNUM *number = BN_new();
	bool good = number && BN_rand(number, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) &&
		    BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));

	BN_free(number);
	return good;
}

static bool add_extension(X509 *x, int nid, const char *value)
{
	X509V3_CTX context;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, x, x, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	bool good = e && X509_add_ext(x, e, -1);
	X509_EXTENSION_free(e);
	return good;
}

/* A common name has 64 octets at most; the name that counts is the alternative one. */
static bool set_names(X509 *x, struct slice name)
{
	X509_NAME *subject = X509_get_subject_name(x);
	struct slice common = name.n <= 64 ? name : SLICE("Postrider");
	char alternative[TLS_NAME_MAX + 8];

	snprintf(alternative, sizeof alternative, "DNS:%.*s", SLICE_ARGS(name));
	return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)common.p, (int)common.n, -1,
					  0) &&
	       X509_set_issuer_name(x, subject) && add_extension(x, NID_subject_alt_name, alternative);
}

static X509 *make_certificate(EVP_PKEY *key, struct slice name, wall_ms now)
{
	X509 *x = X509_new();
	/* A day back, for clients whose clock is behind. */
	time_t from = (time_t)((now - DAY) / SECOND), to = (time_t)((now + YEARS * 365 * DAY) / SECOND);

	if (x && X509_set_version(x, X509_VERSION_3) && set_serial(x) && ASN1_TIME_set(X509_getm_notBefore(x), from) &&
	    ASN1_TIME_set(X509_getm_notAfter(x), to) && X509_set_pubkey(x, key) && set_names(x, name) &&
	    add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(x, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(x, NID_ext_key_usage, "serverAuth") && X509_sign(x, key, EVP_sha256()) > 0)
		return x;
	X509_free(x);
	return NULL;
}

/* The whole file or none, made durable. */
static bool store_file(const char *path, BIO *content)
{
	char temporary[PATH_OCTETS];
	char *octets;
	long n = BIO_get_mem_data(content, &octets);

	snprintf(temporary, sizeof temporary, "%s.new", path);
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	bool good = fd >= 0 && write(fd, octets, (size_t)n) == n && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	return good && rename(temporary, path) == 0;
}

/* With a key of its own, which is stored before it: where the certificate is, both are. */
static bool make_files(const char *chain_path, const char *key_path, EVP_PKEY *key, struct slice name, wall_ms now)
{
	EVP_PKEY *made = key ? NULL : EVP_EC_gen("P-256");
	X509 *x = key || made ? make_certificate(key ? key : made, name, now) : NULL;
	BIO *key_text = BIO_new(BIO_s_secmem()), *chain_text = BIO_new(BIO_s_mem());
	bool good = x && key_text && chain_text && PEM_write_bio_X509(chain_text, x);

	if (made)
		good = good && PEM_write_bio_PrivateKey(key_text, made, NULL, NULL, 0, NULL, NULL) &&
		       store_file(key_path, key_text);
	good = good && store_file(chain_path, chain_text);
	BIO_free(key_text);
	BIO_free(chain_text);
	X509_free(x);
	EVP_PKEY_free(made);
	ERR_clear_error();
	return good;
}

static bool is_self_signed(const struct credential *c)
{
	X509 *leaf = credential_certificate(c, 0);
	bool is = leaf && X509_self_signed(leaf, 1) == 1;

	X509_free(leaf);
	ERR_clear_error();
	return is;
}

struct credential *credential_self_signed(const char *directory, struct slice name, wall_ms now,
					  char why[CREDENTIAL_WHY_MAX])
{
	char chain_path[PATH_OCTETS], key_path[PATH_OCTETS];

	assert(name.n <= TLS_NAME_MAX);
	snprintf(chain_path, sizeof chain_path, "%s/self-signed.pem", directory);
	snprintf(key_path, sizeof key_path, "%s/self-signed.key", directory);
	if (access(chain_path, F_OK) != 0 && !make_files(chain_path, key_path, NULL, name, now)) {
		credential_wrong(why, chain_path, "it cannot be made");
		return NULL;
	}
	struct credential *c = credential_load(chain_path, key_path, why);
	if (!c || c->expires - now >= CREDENTIAL_RENEW || !is_self_signed(c))
		return c;
	/* What cannot be renewed is better than nothing, and will be tried again. */
	struct credential *fresh = make_files(chain_path, key_path, c->key, name, now)
					   ? credential_load(chain_path, key_path, why)
					   : NULL;
	if (!fresh)
		return c;
	credential_unref(c);
	return fresh;
}

/* ---- signing -------------------------------------------------------------------------------------------------- */

/* RFC 8446 4.4.3: 64 blanks, these words, a zero, the hash of the handshake. */
static bool is_tls13(const struct tls_request *r)
{
	static const char words[] = "TLS 1.3, server CertificateVerify";
	size_t blanks = 64, head = blanks + sizeof words;

	if (r->n != head + 32 && r->n != head + 48)
		return false;
	for (size_t i = 0; i < blanks; i++)
		if (r->text[i] != ' ')
			return false;
	return memcmp(r->text + blanks, words, sizeof words) == 0;
}

/* RFC 5246 7.4.3, RFC 8422 5.4: both random values, then the named curve and the point of an exchange. */
static bool is_tls12(const struct tls_request *r)
{
	size_t randoms = 64, head = randoms + 4;

	return r->n > head && r->text[randoms] == 3 && r->text[head - 1] == r->n - head;
}

static bool is_handshake(const struct tls_request *r)
{
	return r->n <= sizeof r->text && (is_tls13(r) || is_tls12(r));
}

static bool set_padding(EVP_PKEY_CTX *context, const struct credential *c, enum tls_padding padding)
{
	if (EVP_PKEY_is_a(c->key, "EC"))
		return padding == TLS_PADDING_NONE;
	if (padding == TLS_PADDING_PSS)
		return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) > 0 &&
		       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) > 0;
	return padding == TLS_PADDING_PKCS1 && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) > 0;
}

bool credential_sign(const struct credential *c, const struct tls_request *r, uint8_t into[TLS_SIGNATURE_MAX],
		     size_t *ret_n)
{
	static const char *const digests[] = {
		[TLS_SHA256] = "SHA256", [TLS_SHA384] = "SHA384", [TLS_SHA512] = "SHA512"};
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	EVP_PKEY_CTX *key = NULL;
	bool good = context && memcmp(r->key, c->chain.key, TLS_KEY_ID) == 0 && is_handshake(r) &&
		    EVP_DigestSignInit_ex(context, &key, digests[r->digest], NULL, NULL, c->key, NULL) > 0 &&
		    set_padding(key, c, r->padding);

	*ret_n = TLS_SIGNATURE_MAX;
	good = good && EVP_DigestSign(context, into, ret_n, r->text, r->n) > 0;
	EVP_MD_CTX_free(context);
	ERR_clear_error();
	return good;
}
