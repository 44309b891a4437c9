/*
 * How a route logs in: the mechanisms, each with what it needs, and what of it would never work. The secret is read by
 * conf/secrets.c.
 */
#include "conf/build_private.h"

#include "directory/sasl_client.h"

#include <assert.h>

static_assert(SASL_CLIENT_MECHANISMS <= SMTP_CLIENT_MECHANISMS, "a route may use all of them");

static bool is_variable(struct slice name)
{
	for (size_t i = 0; i < name.n; i++)
		if (!ascii_is_alpha(name.p[i]) && name.p[i] != '_' && !(i > 0 && ascii_is_digit(name.p[i])))
			return false;
	return name.n > 0;
}

static struct smtp_client_mechanism mechanism_of(const struct sasl_client_row *row, enum conf_in_clear in_clear)
{
	return (struct smtp_client_mechanism){
		.name = slice_from_cstr(row->name),
		.in_clear = !row->plus &&
			    (in_clear == CONF_IN_CLEAR_ALL || (in_clear == CONF_IN_CLEAR_SCRAM && !row->shows)),
		.binds = row->plus,
	};
}

static void check_secret(struct build *b, const struct conf_raw_section *s, const struct conf_route_keys *r)
{
	if (r->auth_secret_file.n == 0 && r->auth_secret_env.n == 0)
		conf_wrong(b->err, build_key_place(s, "auth_user"),
			   "auth_user needs a secret: auth_secret_file or auth_secret_env");
	if (r->auth_secret_file.n && r->auth_secret_env.n)
		conf_wrong(b->err, build_key_place(s, "auth_secret_env"),
			   "there is one secret: auth_secret_file or auth_secret_env");
	if (r->auth_secret_env.n && !is_variable(r->auth_secret_env))
		conf_wrong(b->err, build_key_place(s, "auth_secret_env"), "\"%.*s\" is no name of a variable",
			   SLICE_ARGS(r->auth_secret_env));
}

/* What holds for all of them together. */
static void check_mechanisms(struct build *b, const struct conf_raw_section *s, const struct conf_route_keys *r,
			     const struct route_auth *auth)
{
	struct conf_place at = build_key_place(s, "auth_mechanisms");
	bool token = false, password = false, in_clear = false, shows = false;

	for (size_t i = 0; i < auth->mechanism_count; i++) {
		const struct sasl_client_row *row = sasl_client_find(auth->mechanisms[i].name);
		assert(row);
		token |= row->token;
		password |= !row->token;
		shows |= row->shows;
		in_clear |= auth->mechanisms[i].in_clear;
		for (size_t k = 0; k < i; k++)
			if (slice_eq(auth->mechanisms[i].name, auth->mechanisms[k].name))
				conf_wrong(b->err, at, "%s is there twice", row->name);
	}
	if (token && password)
		conf_wrong(b->err, at, "the secret is a token or a password: XOAUTH2 stands alone");
	if (r->tls == SMTP_CLIENT_TLS_OFF && !in_clear)
		conf_wrong(b->err, build_key_place(s, "auth_user"),
			   "nobody could log in there: tls is off, and auth_in_clear allows none of the mechanisms "
			   "without it");
	if (shows && r->tls != SMTP_CLIENT_TLS_VERIFIED)
		conf_warn(b->err, build_key_place(s, "auth_user"),
			  "whoever stands in for the server can get the secret: set tls = verify, or auth_mechanisms "
			  "without PLAIN, LOGIN and XOAUTH2");
}

static void take_mechanisms(struct build *b, const struct conf_route_keys *r, struct route_auth *ret)
{
	const struct conf_texts *names = &r->auth_mechanisms;
	struct smtp_client_mechanism *list = build_take(b, SASL_CLIENT_MECHANISMS, sizeof *list);
	const struct sasl_client_row *row;
	size_t n = 0;

	if (!list)
		return;
	/* What is there twice is complained of below; there are no more than all of them then. */
	for (size_t i = 0; i < names->count && n < SASL_CLIENT_MECHANISMS; i++)
		if ((row = sasl_client_find(names->list[i])))
			list[n++] = mechanism_of(row, r->auth_in_clear);
	for (size_t i = 0; i < SASL_CLIENT_MECHANISMS && names->count == 0; i++)
		if (!(row = sasl_client_row(i))->token)
			list[n++] = mechanism_of(row, r->auth_in_clear);
	ret->mechanisms = list;
	ret->mechanism_count = n;
}

void build_route_auth(struct build *b, const struct conf_raw_section *s, const struct conf_route_keys *r,
		      struct route_auth *ret)
{
	static const char *const others[] = {"auth_secret_file", "auth_secret_env", "auth_mechanisms", "auth_in_clear",
					     "auth_required"};

	*ret = (struct route_auth){.user = r->auth_user, .required = r->auth_required};
	if (r->auth_user.n) {
		take_mechanisms(b, r, ret);
		check_secret(b, s, r);
		check_mechanisms(b, s, r, ret);
		return;
	}
	/* A dump has them all. */
	if (r->auth_secret_file.n == 0 && r->auth_secret_env.n == 0 && r->auth_mechanisms.count == 0)
		return;
	for (size_t i = 0; i < sizeof others / sizeof *others; i++)
		if (build_key_given(s, others[i])) {
			conf_wrong(b->err, build_key_place(s, others[i]), "%s is of no use without auth_user",
				   others[i]);
			return;
		}
}
