#include "directory/sasl_oauth.h"

#include "directory/sasl_private.h"

#include <string.h>

#define KVSEP '\x01'

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* RFC 5802 5.1 saslname: "=2C" and "=3D" stand for what would end it. */
static bool read_name(struct slice text, char room[OAUTH_IDENTITY_MAX], struct slice *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n; i++, n++) {
		struct slice rest = slice_skip(text, i);
		if (n == OAUTH_IDENTITY_MAX || text.p[i] == '\0')
			return false;
		room[n] = text.p[i];
		if (text.p[i] != '=')
			continue;
		if (!slice_starts(rest, SLICE("=2C")) && !slice_starts(rest, SLICE("=3D")))
			return false;
		room[n] = text.p[i + 1] == '2' ? ',' : '=';
		i += 2;
	}
	*ret = slice_of(room, n);
	return n > 0;
}

/* "n,a=NAME,": there is no channel binding; "y" is a client's that could do it. */
static bool read_header(struct slice header, char room[OAUTH_IDENTITY_MAX], struct slice *ret_identity)
{
	struct slice rest = header, flag = slice_split(&rest, ',');
	struct slice name = rest.p ? slice_split(&rest, ',') : SLICE_NONE;

	if ((!slice_eq(flag, SLICE("n")) && !slice_eq(flag, SLICE("y"))) || !rest.p || rest.n > 0)
		return false;
	*ret_identity = SLICE_NONE;
	return name.n == 0 || (slice_starts(name, SLICE("a=")) && read_name(slice_skip(name, 2), room, ret_identity));
}

/* RFC 6750 2.1: the scheme in any case, one space and more, and a b64token. */
static bool read_bearer(struct slice value, struct slice *ret_token)
{
	static const char marks[] = "-._~+/";
	struct slice token = value, scheme = slice_split(&token, ' ');
	size_t n = 0;

	while (slice_starts(token, SLICE(" ")))
		token = slice_skip(token, 1);
	while (n < token.n && (ascii_is_alnum(token.p[n]) || (token.p[n] && strchr(marks, token.p[n]))))
		n++;
	bool some = n > 0;
	while (n < token.n && token.p[n] == '=')
		n++;
	*ret_token = token;
	return slice_ieq(scheme, SLICE("Bearer")) && some && n == token.n;
}

static bool is_key(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_alpha(s.p[i]))
			return false;
	return s.n > 0;
}

static bool is_value(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_print(s.p[i]) && s.p[i] != '\t' && s.p[i] != '\r' && s.p[i] != '\n')
			return false;
	return true;
}

/* *kvpair kvsep: each pair ends with ^A, and one more ends them all. Others than "auth" are not looked at. */
static bool read_pairs(struct slice rest, struct slice *ret_token)
{
	bool found = false;

	while (rest.n > 0 && rest.p[0] != KVSEP) {
		struct slice value = slice_split(&rest, KVSEP), key = slice_split(&value, '=');
		if (!rest.p || !value.p || !is_key(key) || !is_value(value))
			return false;
		if (!slice_eq(key, SLICE("auth")))
			continue;
		if (found || !read_bearer(value, ret_token))
			return false;
		found = true;
	}
	return found && rest.n == 1;
}

bool oauthbearer_read(struct slice response, char room[OAUTH_IDENTITY_MAX], struct oauth_response *ret)
{
	struct slice rest = response, header = slice_split(&rest, KVSEP);

	*ret = (struct oauth_response){0};
	return rest.p && read_header(header, room, &ret->identity) && read_pairs(rest, &ret->token);
}

bool xoauth2_read(struct slice response, struct oauth_response *ret)
{
	struct slice rest = response, user = slice_split(&rest, KVSEP);

	*ret = (struct oauth_response){0};
	if (!slice_starts(user, SLICE("user=")) || slice_find(user, '\0') < user.n || !rest.p)
		return false;
	ret->identity = slice_skip(user, 5);
	return ret->identity.n > 0 && read_pairs(rest, &ret->token);
}

/* ---- the refusal ------------------------------------------------------------------------------------------------- */

/* The scope is one of ours: printable ASCII without quotes or backslashes (RFC 6749 3.3), as the configuration has it.
 */
void oauth_refusal(bool xoauth2, bool lacks_scope, struct slice scope, struct buf *out)
{
	const char *status = xoauth2       ? (lacks_scope ? "403" : "401")
			     : lacks_scope ? "insufficient_scope"
					   : "invalid_token";

	buf_printf(out, "{\"status\":\"%s\"", status);
	if (xoauth2)
		buf_add_lit(out, ",\"schemes\":\"bearer\"");
	if (scope.n > 0)
		buf_printf(out, ",\"scope\":\"%.*s\"", SLICE_ARGS(scope));
	buf_add_char(out, '}');
}

/* ---- the exchange ------------------------------------------------------------------------------------------------ */

/* It is dear to look at tokens, and nobody's name is there yet: the judge is asked about nobody's. */
static enum sasl_result check_token(struct sasl_exchange *e, const struct oauth_response *said, bool *ret_lacks_scope)
{
	char room[ACCOUNT_NAME_MAX];
	struct buf name = {.p = room, .cap = sizeof room, .max = sizeof room};
	const char *why = "";

	if (!e->tokens)
		return sasl_fail(e, SASL_UNAVAILABLE, "there are no keys for tokens");
	enum sasl_result result = e->judge.name ? e->judge.name(e->judge.arg, SLICE_NONE) : SASL_CHALLENGE;
	if (result != SASL_CHALLENGE)
		return sasl_fail(e, result, "too many attempts failed");
	wall_ms now = e->judge.now ? e->judge.now(e->judge.arg) : e->begun;
	enum token_result checked = token_check(e->tokens, said->token, now, &name, &why);
	*ret_lacks_scope = checked == TOKEN_SCOPE;
	if (checked != TOKEN_GOOD) {
		buf_printf(&e->why, "the token is refused: %s", why);
		return checked == TOKEN_TROUBLE ? SASL_UNAVAILABLE : SASL_WRONG;
	}
	result = sasl_look_up(e, buf_slice(&name));
	if (result != SASL_CHALLENGE)
		return result;
	if (!sasl_is_own_identity(e, said->identity))
		return sasl_fail(e, SASL_WRONG, "another identity than the token's");
	return sasl_admit(e);
}

/* RFC 7628 3.2.3: who is refused hears why, says something that means nothing, and is refused. */
enum sasl_result sasl_token_step(struct sasl_exchange *e, struct slice response, struct buf *challenge)
{
	bool xoauth2 = e->mechanism == SASL_XOAUTH2, lacks_scope = false;
	char room[OAUTH_IDENTITY_MAX];
	struct oauth_response said;

	if (e->refused)
		return SASL_WRONG;
	if (!(xoauth2 ? xoauth2_read(response, &said) : oauthbearer_read(response, room, &said)))
		return sasl_fail(e, SASL_WRONG, "the response is malformed");
	enum sasl_result result = check_token(e, &said, &lacks_scope);
	if (result != SASL_WRONG)
		return result;
	e->refused = true;
	oauth_refusal(xoauth2, lacks_scope, tokens_rules(e->tokens)->scope, challenge);
	return SASL_CHALLENGE;
}
