/*
 * Changes of accounts and of their domains. Each is one statement, or a transaction of its own unless the caller has
 * begun one.
 */
#include "directory/accounts_private.h"

#include "directory/scheme.h"
#include "policy/pattern.h"

#include <assert.h>

/* ---- transactions -------------------------------------------------------------------------------------------- */

static enum accounts_result run(struct accounts *a, enum accounts_statement which)
{
	struct accounts_row r = accounts_bind(a, which);

	return accounts_run(&r, NULL);
}

static bool in_transaction(const struct accounts *a)
{
	return !sqlite3_get_autocommit(a->db);
}

static enum accounts_result only_writers(struct accounts *a)
{
	return a->writes ? ACCOUNTS_OK : accounts_fail(a, ACCOUNTS_DENIED, "it was opened for reading alone");
}

enum accounts_result accounts_begin(struct accounts *a)
{
	enum accounts_result result = only_writers(a);

	if (result)
		return result;
	assert(!in_transaction(a));
	return run(a, ACCOUNTS_SQL_BEGIN);
}

enum accounts_result accounts_commit(struct accounts *a)
{
	assert(in_transaction(a));
	enum accounts_result result = run(a, ACCOUNTS_SQL_COMMIT);
	if (result)
		accounts_roll_back(a);
	return result;
}

void accounts_roll_back(struct accounts *a)
{
	if (a->db && in_transaction(a))
		(void)sqlite3_exec(a->db, "ROLLBACK", NULL, NULL, NULL);
}

/* ---- names --------------------------------------------------------------------------------------------------- */

/* A canonical name, in place. */
struct name {
	struct buf text;
	char room[2 * ACCOUNT_NAME_MAX];
};

static enum accounts_result take_name(struct accounts *a, struct slice login, struct name *ret)
{
	const char *why;
	enum accounts_result result = only_writers(a);

	if (result)
		return result;
	ret->text = (struct buf){.p = ret->room, .cap = sizeof ret->room, .max = sizeof ret->room};
	if (account_name_canonical(login, &ret->text, &why))
		return ACCOUNTS_OK;
	return accounts_fail(a, ACCOUNTS_INVALID, why);
}

static enum accounts_result take_domain(struct accounts *a, struct slice domain, struct name *ret)
{
	enum accounts_result result = only_writers(a);

	if (result)
		return result;
	ret->text = (struct buf){.p = ret->room, .cap = sizeof ret->room, .max = sizeof ret->room};
	if (domain.n > 0 && domain.p[0] != '[' && mail_domain_canonical(domain, &ret->text))
		return ACCOUNTS_OK;
	return accounts_fail(a, ACCOUNTS_INVALID, "it is no domain name");
}

/* Runs a statement that changes exactly one row, or `otherwise`. */
static enum accounts_result change_one(struct accounts_row *r, enum accounts_result otherwise)
{
	int changed;
	enum accounts_result result = accounts_run(r, &changed);

	if (result)
		return result;
	return changed > 0 ? ACCOUNTS_OK : accounts_fail(r->a, otherwise, NULL);
}

/* ---- secrets ------------------------------------------------------------------------------------------------- */

/* The texts of the columns, in their order. */
struct secret_texts {
	struct buf crypt, scram[SCRAM_HASHES], cram_md5;
};

static bool put_texts(const struct secrets *s, struct secret_texts *ret)
{
	bool good = secrets_buf_init(&ret->crypt, SECRETS_CRYPT_MAX) && buf_add(&ret->crypt, slice_from_cstr(s->crypt));

	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++) {
		good &= secrets_buf_init(&ret->scram[h], SCHEME_TEXT_MAX);
		if (good && s->scram[h].iterations)
			good = scheme_scram_put(h, &s->scram[h], &ret->scram[h]);
	}
	good &= secrets_buf_init(&ret->cram_md5, 2 * CRAM_MD5_STATES);
	if (good && s->has_cram_md5)
		good = scheme_cram_md5_put(s->cram_md5, &ret->cram_md5);
	return good;
}

static void wipe_texts(struct secret_texts *t)
{
	buf_wipe(&t->crypt);
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		buf_wipe(&t->scram[h]);
	buf_wipe(&t->cram_md5);
}

static void bind_secrets(struct accounts_row *r, const struct secrets *s, const struct secret_texts *t)
{
	accounts_bind_int(r, s->foreign);
	accounts_bind_text(r, buf_slice(&t->crypt));
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++)
		accounts_bind_text(r, buf_slice(&t->scram[h]));
	accounts_bind_text(r, buf_slice(&t->cram_md5));
}

enum accounts_result accounts_add(struct accounts *a, struct slice login, const struct secrets *secrets, wall_ms now)
{
	struct secret_texts texts;
	struct name name;
	enum accounts_result result = take_name(a, login, &name);

	if (result)
		return result;
	result = accounts_fail(a, ACCOUNTS_NO_MEMORY, NULL);
	if (put_texts(secrets, &texts)) {
		struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_ADD);
		accounts_bind_text(&r, buf_slice(&name.text));
		accounts_bind_text(&r, accounts_domain_of(buf_slice(&name.text)));
		accounts_bind_int(&r, now);
		bind_secrets(&r, secrets, &texts);
		result = change_one(&r, ACCOUNTS_EXISTS);
	}
	wipe_texts(&texts);
	return result;
}

enum accounts_result accounts_set_password(struct accounts *a, struct slice login, const struct secrets *secrets,
					   wall_ms now)
{
	struct secret_texts texts;
	struct name name;
	enum accounts_result result = take_name(a, login, &name);

	if (result)
		return result;
	result = accounts_fail(a, ACCOUNTS_NO_MEMORY, NULL);
	if (put_texts(secrets, &texts)) {
		struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_PASSWORD);
		accounts_bind_text(&r, buf_slice(&name.text));
		accounts_bind_int(&r, now);
		bind_secrets(&r, secrets, &texts);
		result = change_one(&r, ACCOUNTS_NOT_FOUND);
	}
	wipe_texts(&texts);
	return result;
}

enum accounts_result accounts_renew(struct accounts *a, const struct account *old, const struct secrets *secrets)
{
	struct secret_texts texts, old_texts;
	enum accounts_result result = only_writers(a);

	assert(old->known);
	if (result)
		return result;
	result = accounts_fail(a, ACCOUNTS_NO_MEMORY, NULL);
	bool good = put_texts(secrets, &texts);
	if (put_texts(&old->secrets, &old_texts) && good) {
		struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_RENEW);
		accounts_bind_int(&r, old->id);
		bind_secrets(&r, secrets, &texts);
		bind_secrets(&r, &old->secrets, &old_texts);
		result = change_one(&r, ACCOUNTS_NOT_FOUND);
	}
	wipe_texts(&texts);
	wipe_texts(&old_texts);
	return result;
}

/* ---- the rest of an account ---------------------------------------------------------------------------------- */

enum accounts_result accounts_remove(struct accounts *a, struct slice login)
{
	struct name name;
	enum accounts_result result = take_name(a, login, &name);

	if (result)
		return result;
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_REMOVE);
	accounts_bind_text(&r, buf_slice(&name.text));
	return change_one(&r, ACCOUNTS_NOT_FOUND);
}

enum accounts_result accounts_set_enabled(struct accounts *a, struct slice login, bool enabled)
{
	struct name name;
	enum accounts_result result = take_name(a, login, &name);

	if (result)
		return result;
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_ENABLE);
	accounts_bind_text(&r, buf_slice(&name.text));
	accounts_bind_int(&r, enabled);
	return change_one(&r, ACCOUNTS_NOT_FOUND);
}

enum accounts_result accounts_set_limits(struct accounts *a, struct slice login, uint32_t messages_per_hour,
					 uint32_t recipients_per_hour)
{
	struct name name;
	enum accounts_result result = take_name(a, login, &name);

	if (result)
		return result;
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_LIMITS);
	accounts_bind_text(&r, buf_slice(&name.text));
	accounts_bind_int(&r, messages_per_hour);
	accounts_bind_int(&r, recipients_per_hour);
	return change_one(&r, ACCOUNTS_NOT_FOUND);
}

/* A number that a statement gives for one value; NOT_FOUND when it gives no row. */
static enum accounts_result one_number(struct accounts_row *r, int64_t *ret)
{
	bool row;
	enum accounts_result result = accounts_step(r, &row);

	*ret = 0;
	if (result)
		return result;
	if (!row)
		return accounts_fail(r->a, ACCOUNTS_NOT_FOUND, NULL);
	*ret = accounts_read_int(r, 0, INT64_MAX);
	result = r->bad ? accounts_fail(r->a, ACCOUNTS_DAMAGED, NULL) : ACCOUNTS_OK;
	accounts_done(r);
	return result;
}

static enum accounts_result change_address(struct accounts *a, struct slice name, struct slice pattern, bool add)
{
	int64_t id, count = 0;
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_ID);

	accounts_bind_text(&r, name);
	enum accounts_result result = one_number(&r, &id);
	if (!result && add) {
		r = accounts_bind(a, ACCOUNTS_SQL_ADDRESS_COUNT);
		accounts_bind_int(&r, id);
		result = one_number(&r, &count);
	}
	if (!result && count >= ACCOUNT_ADDRESSES_MAX)
		result = accounts_fail(a, ACCOUNTS_INVALID, "the account has as many addresses as one can have");
	if (result)
		return result;
	r = accounts_bind(a, add ? ACCOUNTS_SQL_ADDRESS_ADD : ACCOUNTS_SQL_ADDRESS_REMOVE);
	accounts_bind_int(&r, id);
	accounts_bind_text(&r, pattern);
	return change_one(&r, add ? ACCOUNTS_EXISTS : ACCOUNTS_NOT_FOUND);
}

/* Patterns are compared without regard to case, so they are kept in lower case: none is there twice. */
static bool canonical_pattern(struct slice text, struct buf *out, const char **why)
{
	if (!pattern_canonical(text, out, why) || out->failed)
		return false;
	for (size_t i = 0; i < out->end; i++)
		out->p[i] = ascii_lower(out->p[i]);
	return buf_len(out) <= MAIL_PATH_MAX;
}

static enum accounts_result take_address(struct accounts *a, struct slice login, struct slice text, bool add)
{
	char room[2 * MAIL_PATH_MAX];
	struct buf pattern = {.p = room, .cap = sizeof room, .max = sizeof room};
	struct name name;
	const char *why;
	enum accounts_result result = take_name(a, login, &name);

	if (result)
		return result;
	if (!canonical_pattern(text, &pattern, &why))
		return accounts_fail(a, ACCOUNTS_INVALID, why);
	if (slice_eq(buf_slice(&pattern), buf_slice(&name.text)))
		return accounts_fail(a, add ? ACCOUNTS_EXISTS : ACCOUNTS_INVALID,
				     "an account may send as its own name");
	bool own = !in_transaction(a);
	if (own)
		result = accounts_begin(a);
	if (!result)
		result = change_address(a, buf_slice(&name.text), buf_slice(&pattern), add);
	if (own && !result)
		return accounts_commit(a);
	if (own)
		accounts_roll_back(a);
	return result;
}

enum accounts_result accounts_add_address(struct accounts *a, struct slice login, struct slice pattern)
{
	return take_address(a, login, pattern, true);
}

enum accounts_result accounts_remove_address(struct accounts *a, struct slice login, struct slice pattern)
{
	return take_address(a, login, pattern, false);
}

/* ---- domains ------------------------------------------------------------------------------------------------- */

/* A domain whose settings say nothing any more is forgotten. */
static enum accounts_result change_domain(struct accounts *a, struct accounts_row *r)
{
	enum accounts_result result = change_one(r, ACCOUNTS_NOT_FOUND);

	return result ? result : run(a, ACCOUNTS_SQL_DOMAIN_TIDY);
}

enum accounts_result accounts_set_domain_enabled(struct accounts *a, struct slice domain, bool enabled)
{
	struct name name;
	enum accounts_result result = take_domain(a, domain, &name);

	if (result)
		return result;
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_DOMAIN_ENABLE);
	accounts_bind_text(&r, buf_slice(&name.text));
	accounts_bind_int(&r, enabled);
	return change_domain(a, &r);
}

enum accounts_result accounts_set_domain_limits(struct accounts *a, struct slice domain, uint32_t messages_per_hour,
						uint32_t recipients_per_hour)
{
	struct name name;
	enum accounts_result result = take_domain(a, domain, &name);

	if (result)
		return result;
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_DOMAIN_LIMITS);
	accounts_bind_text(&r, buf_slice(&name.text));
	accounts_bind_int(&r, messages_per_hour);
	accounts_bind_int(&r, recipients_per_hour);
	return change_domain(a, &r);
}
