/*
 * client_begin: a session from its greeting until it is open: EHLO, and TLS if the configuration says so. AUTH stands
 * in client_auth.c.
 *
 * What becomes of a session without the TLS that it should have (smtp_client_config.tls):
 *
 *	                            opportunistic          required        verified        demanded
 *	not offered                 goes on in the clear   4.7.10          4.7.10          5.7.10
 *	refused                     goes on in the clear   4.7.10          4.7.10          4.7.10, 5.7.10 by the reply
 *	the handshake fails         4.7.5, tls_broke       4.7.5           4.7.5           4.7.5
 *	the certificate is no good  goes on                goes on         4.7.5           5.7.10
 *	octets behind the 220       4.7.0                  4.7.0           4.7.0           4.7.0
 *	REQUIRETLS is not offered   goes on                goes on         goes on         5.7.30
 *
 * tls_broke: on another connection the mail may go in the clear. Demanded is for mail with REQUIRETLS: its sender is to
 * hear of it rather than to wait (RFC 8689 4.2.1), but for what may be over with the next attempt.
 */
#include "smtp/client.h"

#include "smtp/client_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- the greeting ---------------------------------------------------------------------------------------------- */

/* The session cannot begin. QUIT goes out with the last octets: a server that refused waits for it (RFC 5321 3.1). */
static void refuse_session(struct smtp_client *c, const struct client_reply *reply)
{
	if (reply->digit == 3) {
		client_close_unexpected(c, reply);
		return;
	}
	client_close_with_reply(c, reply);
	buf_add_lit(&c->out, "QUIT\r\n");
}

/* The first word of the first line, which should be the peer's name (RFC 5321 4.2.3). */
static void take_peer_name(struct smtp_client *c, struct slice raw)
{
	struct slice line = slice_head(raw, slice_find(raw, '\r'));
	struct slice word = slice_skip(line, 4);

	word = slice_head(word, slice_find(word, ' '));
	if (word.n == 0)
		return;
	word = slice_head(word, sizeof c->peer_name);
	for (size_t i = 0; i < word.n; i++)
		c->peer_name[i] = ascii_is_print(word.p[i]) || (unsigned char)word.p[i] >= 0x80 ? word.p[i] : '?';
	c->peer.name = slice_of(c->peer_name, word.n);
}

/*
 * Whether the peer calls itself by our name: then we would send mail to ourselves, round and round. No job is open yet,
 * so that the end may be a failure.
 */
static bool close_own_name(struct smtp_client *c, enum smtp_stage stage)
{
	char text[PEER_NAME_MAX + 100];

	if (!c->config->refuses_own_name || !slice_ieq(c->peer.name, c->config->name))
		return false;
	assert(c->open == 0);
	int n = snprintf(text, sizeof text, "the server calls itself %.*s, as we do: mail would loop back to us",
			 SLICE_ARGS(c->peer.name));
	client_close(c, (struct smtp_outcome){.verdict = SMTP_FAILED,
					      .stage = stage,
					      .status = {5, 3, 5},
					      .text = slice_of(text, (size_t)n)});
	buf_add_lit(&c->out, "QUIT\r\n");
	return true;
}

void client_on_greeting(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	(void)j;
	c->greeted = true;
	take_peer_name(c, reply->raw);
	if (reply->digit != 2) {
		refuse_session(c, reply);
	} else if (close_own_name(c, SMTP_STAGE_GREETING)) {
		return;
	} else if (c->quitting) {
		client_say_quit(c);
	} else {
		client_move(c, CLIENT_HELLO);
		client_say_hello(c, CMD_EHLO);
	}
}

/* ---- TLS ------------------------------------------------------------------------------------------------------- */

void client_close_insecure(struct smtp_client *c, enum smtp_stage stage, uint16_t detail, struct slice text)
{
	client_close_why(c, stage, (struct smtpcodes_status){4, 7, detail}, text);
	buf_add_lit(&c->out, "QUIT\r\n");
}

/* Too little for this mail, which is returned if no other host has more. No job is open yet, so that the end may be a
 * failure. */
static void close_for_good(struct smtp_client *c, uint16_t detail, struct slice text)
{
	assert(c->open == 0 && c->config->tls == SMTP_CLIENT_TLS_DEMANDED);
	client_close(c, (struct smtp_outcome){.verdict = SMTP_FAILED,
					      .stage = SMTP_STAGE_TLS,
					      .status = {5, 7, detail},
					      .text = text});
	if (c->greeted) /* before the greeting of a server that speaks TLS first nothing may be said */
		buf_add_lit(&c->out, "QUIT\r\n");
}

static bool is_demanded(const struct smtp_client *c)
{
	return c->config->tls == SMTP_CLIENT_TLS_DEMANDED;
}

/* The session's beginning is over when nothing of it is left to be done. */
static void go_on(struct smtp_client *c)
{
	bool wanted = c->config->tls > SMTP_CLIENT_TLS_OFF && !c->secured && !c->quitting && !c->peer.tls_refused;

	if (wanted && c->peer.starttls) {
		buf_add_lit(&c->out, "STARTTLS\r\n");
		client_expect(c, CMD_STARTTLS, 1);
	} else if (wanted && is_demanded(c)) {
		close_for_good(c, 10, SLICE("the server offers no STARTTLS, and the message demands TLS (REQUIRETLS)"));
	} else if (is_demanded(c) && !c->quitting && !c->peer.requiretls) {
		close_for_good(c, 30, SLICE("the server offers no REQUIRETLS, which the message demands of it"));
	} else if (wanted && c->config->tls >= SMTP_CLIENT_TLS_REQUIRED) {
		client_close_insecure(c, SMTP_STAGE_TLS, 10,
				      SLICE("the server offers no STARTTLS, and mail may only go there encrypted"));
	} else if (c->config->mechanism_count > 0 && !c->quitting) {
		client_begin_auth(c);
	} else {
		client_move(c, CLIENT_OPEN);
	}
}

/* RFC 3207 4: with anything but 220 there is no TLS, and it is ours to say whether the session goes on. */
void client_on_starttls(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	char words[SMTP_OUTCOME_TEXT_MAX / 2], text[SMTP_OUTCOME_TEXT_MAX];

	(void)j;
	if (reply->code == 220) {
		client_move(c, CLIENT_SHAKING);
		return;
	}
	if (reply->digit == 2 || reply->digit == 3) {
		client_close_unexpected(c, reply);
		return;
	}
	c->peer.tls_refused = true;
	if (c->config->tls < SMTP_CLIENT_TLS_REQUIRED) {
		go_on(c);
		return;
	}
	struct slice w = client_reply_text(reply, words, sizeof words);
	int n = snprintf(text, sizeof text,
			 "the server refused STARTTLS, and mail may only go there encrypted: %u %.*s", reply->code,
			 SLICE_ARGS(w));
	assert(n > 0 && (size_t)n < sizeof text);
	if (is_demanded(c) && reply->digit == 5)
		close_for_good(c, 10, slice_of(text, (size_t)n));
	else
		client_close_insecure(c, SMTP_STAGE_TLS, 10, slice_of(text, (size_t)n));
}

static void close_unverified(struct smtp_client *c, struct slice why)
{
	char text[SMTP_OUTCOME_TEXT_MAX];
	int n = snprintf(text, sizeof text, "the server's certificate could not be verified: %.*s",
			 SLICE_ARGS(slice_head(why, SMTP_OUTCOME_TEXT_MAX / 2)));

	assert(n > 0 && (size_t)n < sizeof text);
	if (is_demanded(c)) {
		close_for_good(c, 10, slice_of(text, (size_t)n));
		return;
	}
	/* RFC 3207 4.1. Before the greeting of a server that speaks TLS first nothing may be said. */
	if (c->greeted)
		client_close_insecure(c, SMTP_STAGE_TLS, 5, slice_of(text, (size_t)n));
	else
		client_close_why(c, SMTP_STAGE_TLS, (struct smtpcodes_status){4, 7, 5}, slice_of(text, (size_t)n));
}

void smtp_client_secured(struct smtp_client *c, const struct smtp_client_security *security, mono_ms now)
{
	if (c->state == CLIENT_CLOSED)
		return;
	assert(c->state == CLIENT_SHAKING && c->handshake_given);
	client_touch(c, now);
	c->secured = true;
	c->verified = security->verified;
	/* RFC 3207 4.2: what was learned in the clear may be anybody's invention. */
	c->peer = (struct smtp_peer){0};
	c->binds = security->binds;
	if (c->config->tls >= SMTP_CLIENT_TLS_VERIFIED && !security->verified) {
		close_unverified(c, security->why);
	} else if (c->greeted) {
		client_move(c, CLIENT_HELLO);
		client_say_hello(c, CMD_EHLO);
	} else {
		client_move(c, CLIENT_GREETING);
		client_expect(c, CMD_GREETING, 1);
	}
	client_check_memory(c);
}

void client_close_handshake(struct smtp_client *c, struct slice why)
{
	char text[SMTP_OUTCOME_TEXT_MAX];
	int n = snprintf(text, sizeof text, "the handshake of TLS failed: %.*s",
			 SLICE_ARGS(slice_head(why, SMTP_OUTCOME_TEXT_MAX / 2)));

	assert(n > 0 && (size_t)n < sizeof text);
	c->tls_broke = true;
	client_close_why(c, SMTP_STAGE_TLS, (struct smtpcodes_status){4, 7, 5}, slice_of(text, (size_t)n));
}

void client_close_injected(struct smtp_client *c)
{
	client_close_why(c, SMTP_STAGE_TLS, (struct smtpcodes_status){4, 7, 0},
			 SLICE("octets in the clear came behind the reply to STARTTLS, which somebody may have put "
			       "there to pass them for the server's"));
}

bool smtp_client_tls_broke(const struct smtp_client *c)
{
	return c->tls_broke;
}

/* ---- EHLO and HELO --------------------------------------------------------------------------------------------- */

/* Several limits: the smallest counts. One that is no number, or 0, is none (RFC 1870 4). */
static void offer_size(struct smtp_peer *peer, struct slice parameter)
{
	uint64_t max = 0;

	peer->size = true;
	if (slice_u64(parameter, UINT64_MAX, &max) && max > 0 && (peer->size_max == 0 || max < peer->size_max))
		peer->size_max = max;
}

static void take_offer(struct smtp_client *c, struct slice line)
{
	struct smtp_peer *peer = &c->peer;
	static const struct {
		struct slice keyword;
		size_t field;
	} offers[] = {
		{{"PIPELINING", 10}, offsetof(struct smtp_peer, pipelining)},
		{{"CHUNKING", 8}, offsetof(struct smtp_peer, chunking)},
		{{"8BITMIME", 8}, offsetof(struct smtp_peer, eight_bit_mime)},
		{{"BINARYMIME", 10}, offsetof(struct smtp_peer, binary_mime)},
		{{"SMTPUTF8", 8}, offsetof(struct smtp_peer, smtputf8)},
		{{"DSN", 3}, offsetof(struct smtp_peer, dsn)},
		{{"STARTTLS", 8}, offsetof(struct smtp_peer, starttls)},
		{{"REQUIRETLS", 10}, offsetof(struct smtp_peer, requiretls)},
	};
	struct slice rest = line, keyword = slice_split(&rest, ' ');

	if (slice_ieq(keyword, SLICE("SIZE")))
		offer_size(peer, slice_trim(rest));
	if (slice_ieq(keyword, SLICE("AUTH")))
		client_take_mechanisms(c, rest);
	for (size_t i = 0; i < sizeof offers / sizeof *offers; i++)
		if (slice_ieq(keyword, offers[i].keyword))
			*(bool *)((char *)peer + offers[i].field) = true;
}

static void take_offers(struct smtp_client *c, struct slice raw)
{
	struct smtp_peer *peer = &c->peer;
	bool first = true;

	for (struct slice rest = raw; rest.n > 0; first = false) {
		struct slice line = slice_split(&rest, '\n');
		if (!first)
			take_offer(c, slice_trim(slice_skip(line, 4)));
	}
	/* RFC 3030 3: only together. RFC 6531 3.1 item 8: SMTPUTF8 implies 8BITMIME, and is of no use without. */
	peer->binary_mime = peer->binary_mime && peer->chunking;
	peer->smtputf8 = peer->smtputf8 && peer->eight_bit_mime;
}

void client_on_ehlo(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	(void)j;
	/* RFC 5321 3.2: a server that does not know EHLO gets HELO. LMTP has LHLO alone (RFC 2033 4.1). */
	if (reply->digit == 5 && !c->config->lmtp) {
		client_say_hello(c, CMD_HELO);
		return;
	}
	if (reply->digit != 2) {
		refuse_session(c, reply);
		return;
	}
	take_peer_name(c, reply->raw);
	if (close_own_name(c, SMTP_STAGE_EHLO))
		return;
	c->peer.extended = true;
	take_offers(c, reply->raw);
	go_on(c);
}

void client_on_helo(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	(void)j;
	if (reply->digit != 2) {
		refuse_session(c, reply);
		return;
	}
	take_peer_name(c, reply->raw);
	if (!close_own_name(c, SMTP_STAGE_EHLO))
		go_on(c);
}
