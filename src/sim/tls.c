/*
 * net/tls.h in the world: servers of the product have no certificates here; its clients speak what stands for TLS.
 */
#include "sim/tls.h"

#include "base/heap.h"

#include <assert.h>
#include <string.h>

#define RECORD_MAX  16384
#define HEADER      3
/* As long as the real ones are, more or less. */
#define HELLO_SIZE  230
#define FLIGHT_SIZE 1100
#define END_SIZE    64
#define BOUND_MAX   ((size_t)1 << 20)

enum record { RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_DATA = 23 };

struct sim_tls {
	bool server, said, done, failed, verified;
	enum sim_tls_way way;
	struct octets in;
	const char *why;
	char name[TLS_NAME_MAX + 1]; /* that the client asked for */
};

/* ---- records ----------------------------------------------------------------------------------------------------- */

static void put_record(struct octets *out, enum record kind, struct slice payload)
{
	char head[HEADER] = {(char)kind, (char)(payload.n >> 8), (char)payload.n};

	assert(payload.n <= RECORD_MAX);
	octets_add(out, slice_of(head, HEADER));
	for (size_t i = 0; i < payload.n; i++) {
		char hidden = (char)(payload.p[i] ^ 0x5a);
		octets_add(out, slice_of(&hidden, 1));
	}
}

static void put_handshake(struct octets *out, char what, size_t size)
{
	char text[FLIGHT_SIZE];

	memset(text, what, sizeof text);
	put_record(out, RECORD_HANDSHAKE, slice_of(text, size));
}

size_t sim_tls_size(size_t plain)
{
	return plain + HEADER * ((plain + RECORD_MAX - 1) / RECORD_MAX);
}

void sim_tls_write(struct sim_tls *t, struct slice plain, struct octets *out)
{
	assert(t->done && !t->failed);
	for (; plain.n > 0; plain = slice_skip(plain, RECORD_MAX))
		put_record(out, RECORD_DATA, slice_head(plain, RECORD_MAX));
}

/* ---- handshakes -------------------------------------------------------------------------------------------------- */

static struct sim_tls *new_end(bool server, enum sim_tls_way way)
{
	struct sim_tls *t = sim_alloc(sizeof *t);

	*t = (struct sim_tls){.server = server, .way = way, .why = ""};
	return t;
}

struct sim_tls *sim_tls_client(struct slice name)
{
	struct sim_tls *t = new_end(false, SIM_TLS_GOOD);

	assert(name.n > 0 && name.n < sizeof t->name);
	memcpy(t->name, name.p, name.n);
	return t;
}

struct sim_tls *sim_tls_server(enum sim_tls_way way)
{
	return new_end(true, way);
}

void sim_tls_free(struct sim_tls *t)
{
	if (!t)
		return;
	octets_free(&t->in);
	sim_free(t);
}

static enum tls_result fail(struct sim_tls *t, const char *why)
{
	t->failed = true;
	t->why = why;
	return TLS_FAILED;
}

static enum tls_result refuse(struct sim_tls *t, struct octets *out)
{
	put_record(out, RECORD_ALERT, SLICE("no"));
	return fail(t, "it was refused here");
}

static enum tls_result on_hello(struct sim_tls *t, struct octets *out)
{
	t->said = true;
	switch (t->way) {
	case SIM_TLS_REFUSES:
		return refuse(t, out);
	case SIM_TLS_GARBAGE:
		octets_add(out, SLICE("500 5.5.1 what was that?\r\n"));
		return fail(t, "it was not understood here");
	case SIM_TLS_SILENT:
		return fail(t, "nothing is said any more");
	default:
		put_handshake(out, t->way == SIM_TLS_UNVERIFIED ? 'u' : 'v', FLIGHT_SIZE);
		return TLS_WAITS;
	}
}

static enum tls_result on_handshake(struct sim_tls *t, struct slice text, struct octets *out)
{
	if (t->done || text.n == 0)
		return fail(t, "an unexpected message");
	if (t->server && !t->said)
		return text.n == HELLO_SIZE ? on_hello(t, out) : fail(t, "an unexpected message");
	if (text.n != (t->server ? END_SIZE : FLIGHT_SIZE))
		return fail(t, "an unexpected message");
	if (t->server && t->way == SIM_TLS_REFUSES_LATE)
		return refuse(t, out);
	if (!t->server) {
		t->verified = text.p[0] == 'v';
		put_handshake(out, 'e', END_SIZE);
	}
	t->done = true;
	return TLS_DONE;
}

static enum tls_result on_record(struct sim_tls *t, enum record kind, struct slice text, struct octets *plain,
				 struct octets *out)
{
	if (kind == RECORD_ALERT)
		return fail(t, "alert handshake failure");
	if (kind == RECORD_HANDSHAKE)
		return on_handshake(t, text, out);
	if (!t->done)
		return fail(t, "an unexpected message");
	octets_add(plain, text);
	return TLS_DONE;
}

static enum tls_result read_records(struct sim_tls *t, struct octets *plain, struct octets *out)
{
	enum tls_result result = t->done ? TLS_DONE : TLS_WAITS;

	while (t->in.n >= 1 && result != TLS_FAILED) {
		const uint8_t *p = (const uint8_t *)t->in.p;
		if (p[0] < RECORD_ALERT || p[0] > RECORD_DATA)
			return fail(t, "wrong version number");
		size_t n = t->in.n >= HEADER ? (size_t)(p[1] << 8 | p[2]) : RECORD_MAX;
		if (t->in.n < HEADER + n)
			return result;
		for (size_t i = 0; i < n; i++)
			t->in.p[HEADER + i] ^= 0x5a;
		result = on_record(t, p[0], slice_of(t->in.p + HEADER, n), plain, out);
		octets_take(&t->in, HEADER + n);
	}
	return result;
}

enum tls_result sim_tls_read(struct sim_tls *t, struct slice octets, struct octets *plain, struct octets *out)
{
	if (t->failed)
		return TLS_FAILED;
	/* The client speaks first. */
	if (!t->server && !t->said) {
		t->said = true;
		put_handshake(out, 'h', HELLO_SIZE);
	}
	octets_add(&t->in, octets);
	assert(t->in.n <= BOUND_MAX);
	enum tls_result result = read_records(t, plain, out);
	if (result == TLS_FAILED && !t->server)
		put_record(out, RECORD_ALERT, SLICE("no"));
	return result;
}

bool sim_tls_done(const struct sim_tls *t)
{
	return t->done && !t->failed;
}

const char *sim_tls_why(const struct sim_tls *t)
{
	return t->why;
}

struct slice sim_tls_name(const struct sim_tls *t)
{
	return slice_from_cstr(t->name);
}

bool sim_tls_verified(const struct sim_tls *t)
{
	return t->verified;
}

/* ---- net/tls.h --------------------------------------------------------------------------------------------------- */

struct tls_server *tls_server_new(const struct tls_chain *chains, size_t count, const char **why)
{
	(void)chains;
	(void)count;
	*why = "there is no TLS here";
	return NULL;
}

void tls_server_unref(struct tls_server *s)
{
	(void)s;
}

void tls_server_set_tickets(struct tls_server *s, const struct tls_tickets *tickets)
{
	(void)s;
	(void)tickets;
}

struct tls_trust *tls_trust_new(const struct tls_trust_text *text, const char **why)
{
	(void)text;
	*why = "there is no TLS here";
	return NULL;
}

struct tls_trust *tls_trust_ref(struct tls_trust *t)
{
	return t;
}

void tls_trust_unref(struct tls_trust *t)
{
	(void)t;
}

struct tls_client {
	unsigned refs;
};

struct tls_client *tls_client_new(const char *authorities, const char *revoked)
{
	struct tls_client *c = heap_new(struct tls_client);

	(void)authorities;
	(void)revoked;
	if (c)
		c->refs = 1;
	return c;
}

struct tls_client *tls_client_of(const struct credential_file *authorities, const struct credential_file *revoked)
{
	(void)authorities;
	(void)revoked;
	return tls_client_new(NULL, NULL);
}

const char *tls_client_complaint(const struct tls_client *c)
{
	(void)c;
	return NULL;
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
	c->refs++;
	return c;
}

void tls_client_unref(struct tls_client *c)
{
	if (c && --c->refs == 0)
		heap_free(c);
}
