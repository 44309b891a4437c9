/*
 * A whole session in the hands of a stranger: fed whole and fed in pieces, the server tells its owner the same and
 * answers the same; what the owner relies on (tests/unit/smtp/server_desk.h) holds, and no octet is left untaken.
 *
 * The first octets choose the configuration and the pieces; the rest is what the client sends. Output is fetched at the
 * marks 0xFF that the stream may hold: a client that waits.
 */
#include "../../unit/smtp/server_desk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct choice {
	uint8_t config, replies, pieces;
};

static void configure(struct desk *d, struct choice c)
{
	static const enum reply_id data_replies[] = {REPLY_DATA_GO, REPLY_DATA_GO, REPLY_DATA_NO_QUEUE,
						     REPLY_DATA_POLICY};
	static const enum reply_id greetings[] = {REPLY_GREETING,         REPLY_GREETING,     REPLY_GREETING,
						  REPLY_GREETING,         REPLY_GREETING,     REPLY_GREETING,
						  REPLY_GREETING_REFUSED, REPLY_GREETING_BUSY};

	desk_init(d);
	d->config.lmtp = c.config & 1;
	d->config.refuse_early = c.config & 2;
	d->config.offer_chunking = !(c.config & 4);
	d->config.size_max = c.config & 8 ? 40 : 100000;
	d->config.offer_smtputf8 = !(c.config & 16);
	d->config.header_max = c.config & 32 ? 20 : 4096;
	d->config.idle_commands_max = c.config & 64 ? 5 : 100;
	d->config.messages_max = c.config & 128 ? 1 : 100;
	if (c.replies & 32)
		desk_offer_auth(d, true);
	d->config.auth_required = (c.replies & 96) == 96;
	d->data_reply = data_replies[c.replies & 3];
	d->greeting = greetings[c.replies >> 2 & 7];
	d->config.knows_xclient = d->config.knows_xforward = c.replies & 32;
	d->trust = (struct smtp_server_trust){.xclient = c.replies & 64, .xforward = c.replies & 128};
}

/* A step of the client, between two moments at which it waits. */
static void feed_step(struct desk *d, struct slice step, uint8_t pieces)
{
	uint32_t random = pieces;

	while (step.n && !d->closed) {
		random = random * 1103515245u + 12345u;
		size_t n = pieces == 0 ? step.n : pieces == 1 ? 1 : 1 + (random >> 16) % step.n;
		char *copy = malloc(n); /* of its own, so that reading beyond is seen */
		memcpy(copy, step.p, n);
		size_t taken = desk_feed(d, slice_of(copy, n));
		free(copy);
		assert(taken == n || d->closed);
		step = slice_skip(step, n);
	}
	desk_flush(d);
}

static void run(struct desk *d, struct choice c, struct slice stream, uint8_t pieces)
{
	configure(d, c);
	desk_start(d);
	desk_flush(d);
	for (struct slice rest = stream; rest.p && !d->closed;)
		feed_step(d, slice_split(&rest, '\xff'), pieces);
	if (!d->closed) {
		smtp_server_lost(d->s);
		desk_pull(d);
	}
	assert(d->closed);
	assert(smtp_server_envelope(d->s)->rcpt_count == 0);
	assert(smtp_server_feed(d->s, SLICE("NOOP\r\n"), d->now) == 0);
	assert(smtp_server_deadline(d->s) == NEVER);
}

/* Each reply is well formed; returns how many. */
static void check_replies(struct slice out)
{
	struct smtpcodes_reply reply;

	for (; out.n; out = slice_skip(out, reply.octets))
		assert(smtpcodes_reply_parse(out.p, out.n, SMTPCODES_STRICT, &reply) == SMTPCODES_OK);
}

/* Behind QUIT the session is over: whether its early end is scolded depends on whether more had come by then. */
static struct slice without_scolding(struct slice out)
{
	size_t bye = slice_search(out, SLICE("221 2.0.0 mx.example.com closing connection\r\n"));

	return slice_head(out, bye + 45);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct desk whole, pieces;

	if (size < sizeof(struct choice) || size > 20000)
		return 0;
	struct choice c = {data[0], data[1], data[2]};
	struct slice stream = slice_of(data + sizeof c, size - sizeof c);

	run(&whole, c, stream, 0);
	run(&pieces, c, stream, c.pieces ? c.pieces : 1);
	check_replies(buf_slice(&whole.out));
	assert(slice_eq(buf_slice(&whole.log), buf_slice(&pieces.log)));
	assert(slice_eq(without_scolding(buf_slice(&whole.out)), without_scolding(buf_slice(&pieces.out))));
	desk_free(&whole);
	desk_free(&pieces);
	return 0;
}
