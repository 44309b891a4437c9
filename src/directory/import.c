#include "directory/import.h"

#include <string.h>

#define PASSWD_FIELDS 7 /* name, password, uid, gid, gecos, home, shell; Dovecot's extra fields come behind them */
#define SHADOW_FIELDS 9 /* name, password, and seven that are numbers or empty */
#define SHADOW_EXPIRE 7 /* counted from 0 */

void import_init(struct import *i, struct slice text, struct slice scheme, struct slice domain)
{
	*i = (struct import){.rest = text, .scheme = scheme, .domain = domain};
}

void import_wipe(struct import_account *a)
{
	explicit_bzero(a, sizeof *a);
}

/* ---- further fields ------------------------------------------------------------------------------------------ */

static bool is_number(struct slice field)
{
	uint64_t n;

	return field.n == 0 || slice_u64(field, UINT64_MAX, &n);
}

/* A line of shadow(5), whose account ends on a day that is named. */
static bool expires(struct slice fields)
{
	struct slice expire = SLICE_NONE;
	size_t count = 2;

	for (struct slice rest = fields; rest.p; count++) {
		struct slice field = slice_split(&rest, ':');
		if (!is_number(field))
			return false;
		if (count == SHADOW_EXPIRE)
			expire = field;
	}
	return count == SHADOW_FIELDS && expire.n > 0;
}

/* Dovecot's extra fields that decide who may log in; the others tell it where mail is. */
static const struct {
	const char *name;
	const char *why; /* NULL: the account is disabled */
} restrictions[] = {
	{"nologin", NULL},
	{"noauthenticate", NULL},
	{"nopassword", "it may log in without a password"},
	{"allow_nets", "it may log in from some networks only"},
	{"allow_real_nets", "it may log in from some networks only"},
	{"user", "it becomes another user after its login; name that one in the first field"},
	{"login_user", "it becomes another user after its login"},
	{"pass", "its password is for another server"},
	{"proxy", "it belongs to another server"},
	{"proxy_maybe", "it belongs to another server"},
};

static const char *take_extra(struct slice field, bool *disabled)
{
	struct slice rest = field, name = slice_split(&rest, '=');

	for (size_t i = 0; i < sizeof restrictions / sizeof *restrictions; i++) {
		if (!slice_eq(name, slice_from_cstr(restrictions[i].name)))
			continue;
		if (restrictions[i].why)
			return restrictions[i].why;
		*disabled = true;
	}
	return NULL;
}

/* What stands behind the password. */
static const char *take_fields(struct slice fields, bool *disabled)
{
	const char *why = NULL;

	if (fields.p && expires(fields))
		return "it ends on a day that is named, which accounts here cannot";
	for (size_t i = 2; fields.p && i < PASSWD_FIELDS; i++)
		slice_split(&fields, ':');
	while (fields.p && !why)
		why = take_extra(slice_split(&fields, ' '), disabled);
	return why;
}

/* ---- lines --------------------------------------------------------------------------------------------------- */

static bool take_name(const struct import *i, struct slice name, struct import_account *ret, struct buf *why)
{
	char room[2 * ACCOUNT_NAME_MAX + 1], canonical[2 * ACCOUNT_NAME_MAX];
	struct buf whole = {.p = room, .cap = sizeof room, .max = sizeof room};
	struct buf out = {.p = canonical, .cap = sizeof canonical, .max = sizeof canonical};
	const char *reason = "it is too long";

	buf_add(&whole, name);
	if (i->domain.n && slice_find(name, '@') == name.n) {
		buf_add_char(&whole, '@');
		buf_add(&whole, i->domain);
	}
	if (whole.failed || !account_name_canonical(buf_slice(&whole), &out, &reason)) {
		buf_printf(why, "the name cannot be one: %s", reason);
		return false;
	}
	memcpy(ret->name, canonical, buf_len(&out));
	ret->name_n = buf_len(&out);
	ret->name[ret->name_n] = '\0';
	return true;
}

static enum import_result take_line(const struct import *i, struct slice line, struct import_account *ret,
				    struct buf *why)
{
	struct slice rest = line, name = slice_split(&rest, ':');

	if (line.n > IMPORT_LINE_MAX) {
		buf_add_lit(why, "the line is too long");
		return IMPORT_WRONG;
	}
	if (!rest.p) {
		buf_add_lit(why, "there is no ':' behind a name");
		return IMPORT_WRONG;
	}
	if (!take_name(i, name, ret, why))
		return IMPORT_WRONG;
	scheme_read(slice_split(&rest, ':'), i->scheme, &ret->password, why);
	if (ret->password.kind == SCHEME_WRONG)
		return IMPORT_WRONG;
	if (ret->password.kind == SCHEME_NONE) {
		buf_add_lit(why, "it has no password");
		return IMPORT_PASSED;
	}
	ret->disabled = ret->password.locked;
	const char *reason = take_fields(rest, &ret->disabled);
	if (!reason)
		return IMPORT_ACCOUNT;
	buf_add(why, slice_from_cstr(reason));
	return IMPORT_WRONG;
}

enum import_result import_next(struct import *i, struct import_account *ret, struct buf *why)
{
	import_wipe(ret);
	while (i->rest.p) {
		struct slice line = slice_split(&i->rest, '\n');
		i->line++;
		if (slice_ends(line, SLICE("\r")))
			line.n--;
		if (line.n == 0 || line.p[0] == '#')
			continue;
		enum import_result result = take_line(i, line, ret, why);
		if (result != IMPORT_ACCOUNT)
			explicit_bzero(&ret->password, sizeof ret->password);
		ret->line = i->line;
		return result;
	}
	return IMPORT_END;
}
