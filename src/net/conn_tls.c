#include "net/conn_private.h"

#include <string.h>

#include <event2/event.h>

/* Sealed at one time. */
#define PIECE_MAX ((size_t)64 * 1024)

void conn_tls_free(struct conn *c)
{
	tls_free(c->tls);
	buf_free(&c->plain);
}

/* The handler finishes the connection: the alert goes out, and what the peer still sends is read away. */
static void fail(struct conn *c)
{
	if (c->failed || c->closing || c->reported)
		return;
	c->failed = true;
	loop_mark_dirty(c->loop, &c->dirty);
	if (c->finishing)
		return;
	event_del(c->readable);
	c->handler.closed(c->arg, tls_why(c->tls));
}

static void ask(struct conn *c)
{
	if (c->asked)
		return;
	c->asked = true;
	event_del(c->readable);
	c->handler.sign(c->arg, tls_request(c->tls));
}

/* False: the handshake is not done, or the connection is over. */
static bool shake(struct conn *c)
{
	enum tls_result result = tls_handshake(c->tls);

	loop_mark_dirty(c->loop, &c->dirty);
	switch (result) {
	case TLS_DONE:
		c->shaking = false;
		c->handler.secured(c->arg);
		return true;
	case TLS_SIGN:
		ask(c);
		return false;
	case TLS_WAITS:
		return false;
	default:
		fail(c);
		return false;
	}
}

static bool goes_on(const struct conn *c)
{
	return !c->paused && !c->closing && !c->finishing && !c->failed && !c->reported;
}

void conn_tls_step(struct conn *c)
{
	char *into = loop_shared_buffer(c->loop);
	size_t n;

	if (c->shaking && (!goes_on(c) || !shake(c)))
		return;
	while (goes_on(c))
		switch (tls_read(c->tls, into, CONN_READ_SIZE, &n)) {
		case TLS_DONE:
			conn_offer(c, slice_of(into, n));
			explicit_bzero(into, n); /* it may have been a password */
			break;
		case TLS_WAITS:
			/* There may be something to say to what came. */
			loop_mark_dirty(c->loop, &c->dirty);
			return;
		case TLS_ENDED:
			conn_report_closed(c, NULL);
			return;
		default:
			fail(c);
			return;
		}
}

void conn_tls_input(struct conn *c, struct slice in)
{
	if (tls_feed(c->tls, in))
		conn_tls_step(c);
	else
		conn_report_closed(c, "out of memory");
}

bool conn_tls_seal(struct conn *c)
{
	if (!c->tls || buf_len(&c->out) > 0)
		return true;
	struct slice piece = slice_head(buf_slice(&c->plain), PIECE_MAX);
	if (piece.n > 0 && !c->failed) {
		if (!tls_write(c->tls, piece)) {
			conn_report_closed(c, tls_why(c->tls));
			return false;
		}
		buf_take(&c->plain, piece.n);
	} else {
		buf_free(&c->plain);
	}
	if (c->finishing && buf_len(&c->plain) == 0 && !c->shut)
		tls_close(c->tls);
	if (tls_output(c->tls, &c->out))
		return true;
	conn_report_closed(c, "out of memory");
	return false;
}

static bool can_start(const struct conn *c)
{
	return !c->tls && !c->closing && !c->finishing && !c->reported && conn_pending(c) == 0 &&
	       buf_len(&c->kept) == 0;
}

static void start(struct conn *c, struct tls *tls)
{
	c->tls = tls;
	buf_init(&c->plain, CONN_OUTPUT_MAX);
	c->shaking = true;
}

bool conn_start_tls(struct conn *c, struct tls_server *server, struct slice binding)
{
	struct tls *tls = can_start(c) ? tls_new(server, binding) : NULL;

	if (!tls)
		return false;
	tls_set_now(tls, loop_wall(c->loop));
	start(c, tls);
	return true;
}

bool conn_ask_certificate(struct conn *c, struct tls_trust *trust)
{
	return tls_ask_certificate(c->tls, trust);
}

bool conn_connect_tls(struct conn *c, struct tls_client *client, const struct tls_aim *aim)
{
	struct tls *tls = can_start(c) ? tls_connect(client, aim) : NULL;

	/* The client speaks first. */
	if (!tls || tls_handshake(tls) != TLS_WAITS) {
		tls_free(tls);
		return false;
	}
	start(c, tls);
	loop_mark_dirty(c->loop, &c->dirty);
	return true;
}

void conn_signed(struct conn *c, struct slice signature)
{
	if (!c->asked)
		return;
	c->asked = false;
	tls_signed(c->tls, signature);
	conn_tls_step(c);
	if (!c->paused && !c->closing && !c->reported && !c->failed && !c->asked)
		event_add(c->readable, NULL);
}

bool conn_tls_facts(const struct conn *c, struct tls_facts *ret)
{
	if (!c->tls || c->shaking || c->failed)
		return false;
	tls_facts(c->tls, ret);
	return true;
}

void conn_tls_binding(const struct conn *c, struct tls_binding *ret)
{
	*ret = (struct tls_binding){0};
	if (c->tls && !c->shaking && !c->failed)
		tls_binding(c->tls, ret);
}
