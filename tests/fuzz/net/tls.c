/*
 * Any octets as the first that a client of TLS sends. Whole and in pieces they come to the same; the name that is kept
 * is a host name; and what the handshake wants signed is what the keys role signs.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mail/address.h"
#include "net/credential.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct credential *credential;
static struct tls_server *server;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char folder[] = "/tmp/postrider-fuzz-tls.XXXXXX", path[100], why[CREDENTIAL_WHY_MAX];
	const char *reason;

	(void)argc;
	(void)argv;
	assert(mkdtemp(folder));
	credential = credential_self_signed(folder, SLICE("mx.example.com"), 1795219200000, why);
	assert(credential);
	snprintf(path, sizeof path, "%s/self-signed.pem", folder);
	unlink(path);
	snprintf(path, sizeof path, "%s/self-signed.key", folder);
	unlink(path);
	rmdir(folder);
	struct tls_chain chain = *credential_chain(credential);
	chain.name = SLICE("mx.example.com");
	server = tls_server_new(&chain, 1, &reason);
	assert(server);
	struct tls_tickets tickets = {.lifetime = HOUR};
	assert(tls_tickets_renew(&tickets));
	tls_server_set_tickets(server, &tickets);
	return 0;
}

static enum tls_result step(struct tls *t)
{
	uint8_t signature[TLS_SIGNATURE_MAX];
	enum tls_result result = tls_handshake(t);
	size_t n;

	if (result != TLS_SIGN)
		return result;
	assert(credential_sign(credential, tls_request(t), signature, &n));
	tls_signed(t, slice_of((const char *)signature, n));
	return tls_handshake(t);
}

static enum tls_result shake(struct slice in, size_t piece)
{
	struct tls *t = tls_new(server, SLICE("smtp"));
	enum tls_result result = TLS_WAITS;
	struct buf out;

	assert(t);
	buf_init(&out, (size_t)1 << 20);
	for (; in.n > 0 && result == TLS_WAITS; in = slice_skip(in, piece)) {
		assert(tls_feed(t, slice_head(in, piece)));
		result = step(t);
		assert(tls_output(t, &out));
	}
	assert(result == TLS_WAITS || result == TLS_FAILED || result == TLS_ENDED);
	buf_free(&out);
	tls_free(t);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 20000)
		return 0;
	struct slice in = slice_of((const char *)data + 1, size - 1);
	enum tls_result whole = shake(in, in.n);
	assert(shake(in, 1 + data[0] % 60) == whole);
	return 0;
}
