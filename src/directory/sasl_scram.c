/*
 * SCRAM by GNU SASL, which asks for what it needs by a call back: salt, iterations and keys of the account, and channel
 * binding data.
 *
 * What a client says of channel binding is looked at here, before GNU SASL sees it: "y" is what an attacker makes of it
 * who took the -PLUS mechanisms out of our offer (RFC 5802 6), and "p" without -PLUS, or -PLUS without it, is no SCRAM.
 */
#include "directory/sasl_private.h"

#include "base/base64.h"
#include "base/heap.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

bool sasl_scram_begin(struct sasl_exchange *e)
{
	if (gsasl_server_start(e->sasl->library, e->row->name, &e->session) != GSASL_OK) {
		e->session = NULL;
		return false;
	}
	gsasl_session_hook_set(e->session, e);
	return true;
}

void sasl_scram_end(struct sasl_exchange *e)
{
	if (e->session)
		gsasl_finish(e->session);
	e->session = NULL;
}

/* ---- what GNU SASL asks ------------------------------------------------------------------------------------------ */

static int set_base64(Gsasl_session *session, Gsasl_property property, struct slice octets)
{
	char room[BASE64_LENGTH(SCRAM_SALT_MAX) + 1];
	struct buf text = {.p = room, .cap = sizeof room, .max = sizeof room};

	static_assert(SCRAM_SALT_MAX >= SASL_BINDING_MAX && SCRAM_SALT_MAX >= SCRAM_KEY_MAX, "all of them fit");
	base64_encode(octets, &text);
	const char *cstr = buf_cstr(&text);
	assert(cstr);
	int rc = gsasl_property_set(session, property, cstr);
	explicit_bzero(room, sizeof room);
	return rc;
}

static int set_binding(Gsasl_session *session, Gsasl_property property, const struct binding *b)
{
	return b->n ? set_base64(session, property, slice_of(b->octets, b->n)) : GSASL_NO_CALLBACK;
}

static void take_verifier(struct sasl_exchange *e)
{
	struct account *a = e->account;

	e->known = a->known && a->secrets.scram[e->row->hash].iterations > 0;
	account_scram(e->sasl->accounts, a, e->row->hash, &e->verifier);
	if (a->known && !e->known && e->tells_transition && a->secrets.crypt[0])
		e->verdict = sasl_fail(e, SASL_TRANSITION, NOTHING_KEPT);
}

/* The first question, for iterations, comes when the name is known. */
static int set_iterations(struct sasl_exchange *e)
{
	const char *name = gsasl_property_fast(e->session, GSASL_AUTHID);
	char text[12];

	e->verdict = sasl_look_up(e, slice_from_cstr(name));
	if (e->verdict == SASL_CHALLENGE)
		take_verifier(e);
	if (e->verdict != SASL_CHALLENGE)
		return GSASL_AUTHENTICATION_ERROR;
	snprintf(text, sizeof text, "%u", e->verifier.iterations);
	return gsasl_property_set(e->session, GSASL_SCRAM_ITER, text);
}

int sasl_scram_property(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
	struct sasl_exchange *e = gsasl_session_hook_get(session);
	size_t key = scram_key_size(e->row->hash);

	(void)library;
	switch (property) {
	case GSASL_CB_TLS_EXPORTER:
		return set_binding(session, property, &e->exporter);
	case GSASL_CB_TLS_UNIQUE:
		return set_binding(session, property, &e->unique);
	case GSASL_SCRAM_ITER:
		return set_iterations(e);
	case GSASL_SCRAM_SALT:
		return set_base64(session, property, slice_of(e->verifier.salt, e->verifier.salt_n));
	case GSASL_SCRAM_STOREDKEY:
		return set_base64(session, property, slice_of(e->verifier.stored_key, key));
	case GSASL_SCRAM_SERVERKEY:
		return set_base64(session, property, slice_of(e->verifier.server_key, key));
	default:
		return GSASL_NO_CALLBACK;
	}
}

/* ---- steps ------------------------------------------------------------------------------------------------------- */

/* RFC 5802 6; NULL when nothing is wrong. */
static const char *wrong_with_binding(const struct sasl_exchange *e, struct slice first)
{
	if (e->row->plus)
		return first.p[0] == 'p' ? NULL : "channel binding was asked for and is not used";
	if (first.p[0] == 'p')
		return "channel binding by a mechanism without it";
	return first.p[0] == 'y' && e->plus_offered ? "the client did not see that channel binding is offered" : NULL;
}

/* The proof is right. SMTP has no room for the server's last word beside 235: it is a challenge, which the client
 * answers with nothing (RFC 4954 4). */
static enum sasl_result prove(struct sasl_exchange *e)
{
	if (!e->known)
		return sasl_fail(e, SASL_WRONG, "unknown user");
	if (!sasl_is_own_identity(e, slice_from_cstr(gsasl_property_fast(e->session, GSASL_AUTHZID))))
		return sasl_fail(e, SASL_WRONG, "another identity than the user's own");
	e->proven = true;
	return SASL_CHALLENGE;
}

/* The account is looked at once more: it may be another's matter by now. */
static enum sasl_result finish(struct sasl_exchange *e, struct slice response)
{
	char name[SASL_LOGIN_MAX];

	memcpy(name, e->login, e->login_n);
	if (response.n > 0)
		return sasl_fail(e, SASL_WRONG, "the response is malformed");
	enum sasl_result result = sasl_look_up(e, slice_of(name, e->login_n));
	return result == SASL_CHALLENGE ? sasl_admit(e) : result;
}

static enum sasl_result result_of(struct sasl_exchange *e, int rc)
{
	if (e->verdict != SASL_CHALLENGE)
		return e->verdict;
	switch (rc) {
	case GSASL_OK:
	case GSASL_NEEDS_MORE:
		return SASL_CHALLENGE;
	case GSASL_MALLOC_ERROR:
	case GSASL_CRYPTO_ERROR:
		return sasl_fail(e, SASL_UNAVAILABLE, gsasl_strerror(rc));
	case GSASL_AUTHENTICATION_ERROR:
		return sasl_fail(e, SASL_WRONG, e->login_n && !e->known ? "unknown user" : "wrong password or binding");
	default:
		return sasl_fail(e, SASL_WRONG, gsasl_strerror(rc));
	}
}

static enum sasl_result run(struct sasl_exchange *e, struct slice response, struct buf *challenge)
{
	char *out = NULL;
	size_t n = 0;
	int rc = gsasl_step(e->session, response.p, response.n, &out, &n);
	enum sasl_result result = result_of(e, rc);

	if (result == SASL_CHALLENGE && n > 0)
		buf_add(challenge, slice_of(out, n));
	gsasl_free(out);
	return result == SASL_CHALLENGE && rc == GSASL_OK ? prove(e) : result;
}

enum sasl_result sasl_scram_step(struct sasl_exchange *e, struct slice response, struct buf *challenge)
{
	if (e->proven)
		return finish(e, response);
	if (response.n == 0 || slice_find(response, '\0') < response.n)
		return sasl_fail(e, SASL_WRONG, "the response is malformed");
	const char *wrong = e->login_n ? NULL : wrong_with_binding(e, response);
	return wrong ? sasl_fail(e, SASL_WRONG, wrong) : run(e, response, challenge);
}
