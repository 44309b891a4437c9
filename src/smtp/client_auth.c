/*
 * client_auth: AUTH (RFC 4954), between EHLO and the first job. The owner has the mechanisms and the secrets; here are
 * the lines, and what they may be followed by.
 *
 *	the server has no AUTH                        4.7.4, or the session goes on without, by the configuration
 *	in the clear, and that is not allowed         4.7.11
 *	the server offers no mechanism of ours        4.7.4
 *	it does not want this mechanism               the next one, if there is one
 *	it refuses, whatever the digit                its own 4.7.x, or that of the code, which is 4.7.8 as a rule
 *	it says 235 without having proved itself      4.7.5
 *	its challenge is no base64, or no answer      4.7.0, after the exchange was cancelled
 *
 * All are deferrals: the password may be put right, and mail must not be lost by it.
 */
#include "smtp/client.h"

#include "base/base64.h"
#include "smtp/client_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- which mechanism ------------------------------------------------------------------------------------------- */

void client_take_mechanisms(struct smtp_client *c, struct slice names)
{
	c->peer.auth = true;
	while (names.n > 0) {
		struct slice name = slice_split(&names, ' ');
		for (size_t i = 0; i < c->config->mechanism_count; i++)
			if (slice_ieq(name, c->config->mechanisms[i].name))
				c->peer.mechanisms |= 1u << i;
	}
}

/* Whether this session may use it, offered or not. */
static bool is_allowed(const struct smtp_client *c, const struct smtp_client_mechanism *m)
{
	return (c->secured || m->in_clear) && (!m->binds || c->binds);
}

/* The first that is left; false: none is. */
static bool find_mechanism(struct smtp_client *c)
{
	for (size_t i = 0; i < c->config->mechanism_count; i++)
		if ((c->peer.mechanisms & ~c->auth_tried & 1u << i) && is_allowed(c, &c->config->mechanisms[i])) {
			c->mechanism = i;
			return true;
		}
	return false;
}

static bool any_in_clear(const struct smtp_client *c)
{
	for (size_t i = 0; i < c->config->mechanism_count; i++)
		if (is_allowed(c, &c->config->mechanisms[i]))
			return true;
	return false;
}

void client_begin_auth(struct smtp_client *c)
{
	if (!c->peer.auth && c->config->auth_optional) {
		client_move(c, CLIENT_OPEN);
	} else if (!c->secured && !any_in_clear(c)) {
		client_close_insecure(
			c, SMTP_STAGE_AUTH, 11,
			SLICE("the session is not encrypted, and our password may not go out in the clear"));
	} else if (!c->peer.auth) {
		client_close_insecure(c, SMTP_STAGE_AUTH, 4,
				      SLICE("the server offers no AUTH, and mail may only go there logged in"));
	} else if (!find_mechanism(c)) {
		client_close_insecure(c, SMTP_STAGE_AUTH, 4,
				      SLICE("the server offers no mechanism of AUTH that may be used with it"));
	} else {
		c->auth_due = true;
		client_move(c, CLIENT_AUTH);
	}
}

/* ---- what we say ----------------------------------------------------------------------------------------------- */

bool client_next_auth(struct smtp_client *c, struct smtp_client_event *ev)
{
	if (!c->auth_due)
		return false;
	c->auth_due = false;
	ev->type = SMTP_CLIENT_AUTH;
	ev->tag = c->mechanism;
	if (c->has_challenge)
		ev->challenge = buf_len(&c->challenge) ? buf_slice(&c->challenge) : SLICE("");
	return true;
}

static struct slice mechanism(const struct smtp_client *c)
{
	return c->config->mechanisms[c->mechanism].name;
}

/* Some servers repeat what they do not understand. */
static void remember(struct smtp_client *c, const struct slice *response)
{
	char text[BASE64_LENGTH(SMTP_CLIENT_AUTH_KNOWN)];
	struct buf b = {.p = text, .cap = sizeof text, .max = sizeof text};

	base64_encode(response ? slice_head(*response, SMTP_CLIENT_AUTH_KNOWN / 4 * 3) : SLICE(""), &b);
	c->auth_said_n = buf_len(&b);
	if (c->auth_said_n)
		memcpy(c->auth_said, text, c->auth_said_n);
	explicit_bzero(text, sizeof text);
}

struct slice client_hide_answer(const struct smtp_client *c, struct slice words)
{
	bool repeats = c->auth_said_n > 0 && slice_search(words, slice_of(c->auth_said, c->auth_said_n)) < words.n;
	return repeats ? SLICE("(words that repeat our answer)") : words;
}

/* RFC 4954 4: an empty initial response is "=", and one that makes the line too long waits for a challenge. */
static void say_first(struct smtp_client *c, const struct slice *response)
{
	size_t n = sizeof "AUTH  \r\n" - 1 + mechanism(c).n + (response ? BASE64_LENGTH(response->n) : 0);

	c->auth_begun = true;
	buf_printf(&c->out, "AUTH %.*s", SLICE_ARGS(mechanism(c)));
	if (response && n > SMTP_CLIENT_AUTH_LINE) {
		base64_encode(*response, &c->initial);
	} else if (response && response->n == 0) {
		buf_add_lit(&c->out, " =");
	} else if (response) {
		buf_add_lit(&c->out, " ");
		base64_encode(*response, &c->out);
	}
	buf_add_lit(&c->out, "\r\n");
	client_expect(c, CMD_AUTH, 1);
}

void smtp_client_auth(struct smtp_client *c, const struct slice *response, bool complete, mono_ms now)
{
	if (c->state == CLIENT_CLOSED)
		return;
	assert(c->state == CLIENT_AUTH && c->flights == 0);
	assert(response || !c->auth_begun);
	if (response && BASE64_LENGTH(response->n) > SMTP_CLIENT_AUTH_MAX) {
		smtp_client_auth_failed(c, SLICE("our answer is too long"), now);
		return;
	}
	client_touch(c, now);
	c->auth_complete = complete;
	remember(c, response);
	if (!c->auth_begun) {
		say_first(c, response);
	} else {
		base64_encode(*response, &c->out);
		buf_add_lit(&c->out, "\r\n");
		client_expect(c, CMD_AUTH, 1);
	}
	if (c->initial.failed)
		client_close_ours(c, SLICE("out of memory for AUTH"));
	client_check_memory(c);
}

void smtp_client_auth_failed(struct smtp_client *c, struct slice why, mono_ms now)
{
	char text[SMTP_OUTCOME_TEXT_MAX];
	bool begun = c->auth_begun;

	if (c->state == CLIENT_CLOSED)
		return;
	assert(c->state == CLIENT_AUTH && c->flights == 0);
	client_touch(c, now);
	int n = snprintf(text, sizeof text, "AUTH %.*s could not go on: %.*s", SLICE_ARGS(mechanism(c)),
			 SLICE_ARGS(slice_head(why, SMTP_OUTCOME_TEXT_MAX / 2)));
	assert(n > 0 && (size_t)n < sizeof text);
	client_close_why(c, SMTP_STAGE_AUTH, (struct smtpcodes_status){4, 7, 0}, slice_of(text, (size_t)n));
	if (begun)
		buf_add_lit(&c->out, "*\r\n");
	buf_add_lit(&c->out, "QUIT\r\n");
}

/* ---- what the server says -------------------------------------------------------------------------------------- */

static void on_challenge(struct smtp_client *c, const struct client_reply *reply, mono_ms now)
{
	struct slice text = slice_skip(slice_head(reply->raw, slice_find(reply->raw, '\r')), 4);

	buf_reset(&c->challenge);
	c->has_challenge = true;
	if (!base64_decode(text, &c->challenge)) {
		if (c->challenge.failed)
			client_close_ours(c, SLICE("out of memory for AUTH"));
		else
			smtp_client_auth_failed(c, SLICE("the server's challenge is no base64"), now);
	} else if (buf_len(&c->initial) == 0) {
		c->auth_due = true;
	} else if (buf_len(&c->challenge) > 0) {
		smtp_client_auth_failed(c, SLICE("the server does not wait for our initial response"), now);
	} else {
		buf_add(&c->out, buf_slice(&c->initial));
		buf_add_lit(&c->out, "\r\n");
		buf_wipe(&c->initial);
		client_expect(c, CMD_AUTH, 1);
	}
}

/* What codes say that come without X.7.x of their own (RFC 4954 6). */
static const struct {
	unsigned code;
	uint16_t detail;
	bool is_about_mechanism; /* another one may do */
} refusals[] = {
	{432, 12, true}, {454, 0, false}, {504, 4, true}, {534, 9, true}, {538, 11, true}, {0, 8, false},
};

static size_t find_refusal(const struct client_reply *reply)
{
	size_t i = 0;

	while (refusals[i].code && refusals[i].code != reply->code)
		i++;
	return i;
}

static void on_refusal(struct smtp_client *c, const struct client_reply *reply)
{
	char words[SMTP_OUTCOME_TEXT_MAX / 2], text[SMTP_OUTCOME_TEXT_MAX];
	struct slice name = mechanism(c), w = client_hide_answer(c, client_reply_text(reply, words, sizeof words));
	size_t row = find_refusal(reply);
	bool telling = reply->status.klass > 0 && reply->status.subject == 7;

	client_forget_auth(c);
	c->auth_tried |= 1u << c->mechanism;
	if (refusals[row].is_about_mechanism && find_mechanism(c)) {
		c->auth_begun = c->auth_complete = c->has_challenge = false;
		c->auth_due = true;
		return;
	}
	int n = snprintf(text, sizeof text, "the server refused AUTH %.*s: %u %.*s", SLICE_ARGS(name), reply->code,
			 SLICE_ARGS(w));
	assert(n > 0 && (size_t)n < sizeof text);
	client_close_insecure(c, SMTP_STAGE_AUTH, telling ? reply->status.detail : refusals[row].detail,
			      slice_of(text, (size_t)n));
}

void client_on_auth(struct smtp_client *c, struct client_job *j, const struct client_reply *reply)
{
	(void)j;
	bool one_line = slice_find(reply->raw, '\n') + 1 == reply->raw.n;

	if (reply->code == 334 && one_line)
		on_challenge(c, reply, c->since);
	else if (reply->digit >= 4)
		on_refusal(c, reply);
	else if (reply->code != 235)
		client_close_unexpected(c, reply);
	else if (!c->auth_complete || buf_len(&c->initial) > 0)
		client_close_insecure(c, SMTP_STAGE_AUTH, 5,
				      SLICE("the server let us in without proof that it knows the password"));
	else {
		client_forget_auth(c);
		c->authenticated = true;
		client_move(c, CLIENT_OPEN);
	}
}

const struct smtp_client_mechanism *smtp_client_authenticated(const struct smtp_client *c)
{
	return c->authenticated ? &c->config->mechanisms[c->mechanism] : NULL;
}

void client_forget_auth(struct smtp_client *c)
{
	c->auth_due = false;
	buf_wipe(&c->challenge);
	buf_wipe(&c->initial);
	explicit_bzero(c->auth_said, sizeof c->auth_said);
	c->auth_said_n = 0;
	/* What went out of it lies there still. */
	if (c->auth_begun && buf_len(&c->out) == 0)
		buf_wipe(&c->out);
}
