/*
 * Finding and listing accounts, and their domains.
 */
#include "directory/accounts_private.h"

#include "base/heap.h"
#include "directory/scheme.h"
#include "policy/pattern.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#define TRIES 3 /* for a file that somebody begins to write while it is read as it lies there */

/* ---- names --------------------------------------------------------------------------------------------------- */

struct slice accounts_domain_of(struct slice name)
{
	size_t at = slice_rfind(name, '@');

	return at < name.n ? slice_skip(name, at + 1) : SLICE_NONE;
}

/* A name that was prepared: its local part in lower case, its domain in the canonical form. */
static bool add_canonical(struct slice name, struct buf *out, const char **why)
{
	struct slice domain = accounts_domain_of(name);
	size_t local = slice_rfind(name, '@'), start = buf_len(out);

	*why = "it holds a blank";
	if (slice_find(name, ' ') < name.n)
		return false;
	*why = "there is nothing before the '@'";
	if (local == 0)
		return false;
	for (size_t i = 0; i < local; i++)
		buf_add_char(out, ascii_lower(name.p[i]));
	*why = "what stands behind the '@' is no domain name";
	if (local < name.n) {
		buf_add_char(out, '@');
		if (domain.n == 0 || domain.p[0] == '[' || !mail_domain_canonical(domain, out))
			return false;
	}
	*why = "it is too long";
	return !out->failed && buf_len(out) - start <= ACCOUNT_NAME_MAX;
}

bool account_name_canonical(struct slice login, struct buf *out, const char **why)
{
	char room[SECRETS_PASSWORD_MAX];
	struct buf prepared = {.p = room, .cap = sizeof room, .max = sizeof room};
	size_t before = buf_len(out);

	if (secrets_prepare(login, false, &prepared, why) != SECRETS_OK)
		return false;
	if (add_canonical(buf_slice(&prepared), out, why))
		return true;
	if (!out->failed)
		buf_cut(out, before);
	return false;
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

static struct slice keep_text(struct account *a, struct slice text)
{
	size_t n = text.n < sizeof a->texts - a->texts_used ? text.n : sizeof a->texts - a->texts_used;
	char *at = a->texts + a->texts_used;

	if (n)
		memcpy(at, text.p, n);
	a->texts_used += n;
	return slice_of(at, n);
}

static void add_address(struct account *a, struct slice pattern)
{
	assert(a->address_count < ACCOUNT_ADDRESSES_MAX + 1);
	a->addresses[a->address_count++] = keep_text(a, pattern);
}

/* Its own name first; then one pattern on each line. False when there are more than we let anybody have. */
static bool read_addresses(struct account *a, struct slice lines)
{
	struct mail_address address;
	const char *why;

	if (slice_find(a->name, '@') < a->name.n && mail_address_parse(a->name, &address, &why) == MAIL_ADDRESS_OK)
		add_address(a, a->name);
	for (struct slice rest = lines; rest.n;) {
		struct slice pattern = slice_split(&rest, '\n');
		if (pattern.n == 0 || a->address_count >= ACCOUNT_ADDRESSES_MAX + 1)
			return false;
		add_address(a, pattern);
	}
	return true;
}

static uint32_t read_limit(struct accounts_row *r)
{
	return (uint32_t)accounts_read_int(r, 0, ACCOUNT_UNLIMITED);
}

static void read_secrets(struct accounts_row *r, struct secrets *s)
{
	s->foreign = accounts_read_int(r, 0, 1) == 1;
	struct slice hash = accounts_read_text(r, sizeof s->crypt - 1);
	if (hash.n)
		memcpy(s->crypt, hash.p, hash.n);
	for (enum scram_hash h = 0; h < SCRAM_HASHES; h++) {
		struct slice text = accounts_read_text(r, SCHEME_TEXT_MAX);
		r->bad |= text.n > 0 && !scheme_scram_read(text, h, &s->scram[h]);
	}
	struct slice states = accounts_read_text(r, 2 * CRAM_MD5_STATES);
	s->has_cram_md5 = states.n > 0;
	r->bad |= s->has_cram_md5 && !scheme_cram_md5_read(states, s->cram_md5);
}

/* One row of an account; `ret` is empty. */
static enum accounts_result read_account(struct accounts_row *r, struct account *ret)
{
	ret->id = accounts_read_int(r, 1, INT64_MAX);
	ret->name = keep_text(ret, accounts_read_text(r, ACCOUNT_NAME_MAX));
	bool enabled = accounts_read_int(r, 0, 1) == 1;
	ret->disabled_by_domain = accounts_read_int(r, 0, 1) == 0;
	ret->enabled = enabled && !ret->disabled_by_domain;
	ret->disabled_itself = !enabled;
	ret->own_messages_per_hour = read_limit(r);
	ret->own_recipients_per_hour = read_limit(r);
	uint32_t messages = read_limit(r), recipients = read_limit(r);
	ret->messages_per_hour = ret->own_messages_per_hour ? ret->own_messages_per_hour : messages;
	ret->recipients_per_hour = ret->own_recipients_per_hour ? ret->own_recipients_per_hour : recipients;
	ret->created = accounts_read_int(r, INT64_MIN, INT64_MAX);
	ret->password_changed = accounts_read_int(r, INT64_MIN, INT64_MAX);
	read_secrets(r, &ret->secrets);
	struct slice lines = accounts_read_text(r, ACCOUNT_TEXTS_MAX);
	r->bad |= !read_addresses(ret, lines);
	ret->known = true;
	return r->bad ? accounts_fail(r->a, ACCOUNTS_DAMAGED, "an account in it is damaged") : ACCOUNTS_OK;
}

void account_wipe(struct account *a)
{
	explicit_bzero(a, sizeof *a);
}

/* ---- finding ------------------------------------------------------------------------------------------------- */

/* All that was read of it. */
static void forget_row(struct account *a)
{
	explicit_bzero(a->texts, a->texts_used);
	explicit_bzero(a, offsetof(struct account, texts));
}

/* What an unknown user looks like; made for known ones too, so that both take the same time. */
static void add_decoy(const struct accounts *a, struct slice name, struct account *ret)
{
	struct secrets decoy;

	secrets_decoy(a->key, slice_head(name, ACCOUNT_NAME_MAX), &decoy);
	if (!ret->known) {
		ret->name = keep_text(ret, slice_head(name, ACCOUNT_NAME_MAX));
		ret->secrets = decoy;
	}
	secrets_wipe(&decoy);
}

/* The row of the name or, where there is none, of its neighbour, which is read as well and then forgotten: what is not
 * there takes no less time. */
static enum accounts_result find_row(struct accounts *a, struct slice name, struct account *ret)
{
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_FIND);
	bool row;

	accounts_bind_text(&r, name);
	enum accounts_result result = accounts_step(&r, &row);
	if (result || !row)
		return result;
	result = read_account(&r, ret);
	accounts_done(&r);
	if (slice_eq(ret->name, name))
		return result;
	forget_row(ret);
	return ACCOUNTS_OK;
}

static enum accounts_result find_once(struct accounts *a, struct slice name, struct account *ret, bool *again)
{
	*again = false;
	enum accounts_result result = accounts_ready(a);
	account_wipe(ret);
	if (!result) {
		result = find_row(a, name, ret);
		*again = a->frozen && !accounts_still_frozen(a);
		/* Whatever it was, the next question begins anew. */
		if (result && !a->writes)
			accounts_disconnect(a);
	}
	add_decoy(a, name, ret);
	return result;
}

enum accounts_result accounts_find(struct accounts *a, struct slice login, struct account *ret, struct buf *why)
{
	char room[2 * ACCOUNT_NAME_MAX];
	struct buf canonical = {.p = room, .cap = sizeof room, .max = sizeof room};
	const char *reason;
	bool possible = account_name_canonical(login, &canonical, &reason), again = true;
	struct slice name = possible ? buf_slice(&canonical) : slice_head(login, ACCOUNT_NAME_MAX);
	enum accounts_result result = ACCOUNTS_OK;

	for (int i = 0; again && i < TRIES; i++)
		result = find_once(a, name, ret, &again);
	if (again && !result)
		result = accounts_fail(a, ACCOUNTS_BUSY, NULL);
	assert(possible || !ret->known);
	if (result && why)
		buf_add(why, accounts_why(a));
	if (result && result != ACCOUNTS_MISSING)
		account_wipe(ret);
	return result;
}

void account_scram(const struct accounts *a, const struct account *account, enum scram_hash hash,
		   struct scram_verifier *ret)
{
	secrets_scram(&account->secrets, hash, a->key, account->name, ret);
}

bool account_patterns_allow(const struct slice *patterns, size_t count, const struct mail_address *address,
			    char delimiter)
{
	struct mail_address whole = *address;

	if (pattern_any_matches(patterns, count, &whole))
		return true;
	size_t n = delimiter ? slice_find(address->local, delimiter) : address->local.n;
	if (n == 0 || n == address->local.n || address->local.p[0] == '"')
		return false;
	whole.local.n = n;
	return pattern_any_matches(patterns, count, &whole);
}

bool account_may_send_as(const struct account *account, const struct mail_address *address, char delimiter)
{
	return account->known &&
	       account_patterns_allow(account->addresses, account->address_count, address, delimiter);
}

/* ---- listing ------------------------------------------------------------------------------------------------- */

/* A domain as it is compared; false when it is none. */
static bool canonical_domain(struct slice name, struct buf *out)
{
	return name.n > 0 && name.p[0] != '[' && mail_domain_canonical(name, out);
}

static enum accounts_result undisturbed(struct accounts *a)
{
	return a->frozen && !accounts_still_frozen(a) ? accounts_fail(a, ACCOUNTS_BUSY, NULL) : ACCOUNTS_OK;
}

enum accounts_result accounts_list(struct accounts *a, struct slice domain,
				   bool (*each)(void *arg, const struct account *account), void *arg)
{
	char room[2 * MAIL_DOMAIN_MAX];
	struct buf canonical = {.p = room, .cap = sizeof room, .max = sizeof room};
	bool row = true, more = true;

	if (domain.n && !canonical_domain(domain, &canonical))
		return accounts_fail(a, ACCOUNTS_INVALID, "it is no domain name");
	enum accounts_result result = accounts_ready(a);
	if (result)
		return result;
	struct account *account = heap_new(struct account);
	if (!account)
		return accounts_fail(a, ACCOUNTS_NO_MEMORY, NULL);
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_LIST);
	accounts_bind_text(&r, buf_slice(&canonical));
	while (!result && more) {
		result = accounts_step(&r, &row);
		if (result || !row)
			break;
		account_wipe(account);
		result = read_account(&r, account);
		more = !result && each(arg, account);
	}
	account_wipe(account);
	heap_free(account);
	accounts_done(&r);
	return result ? result : undisturbed(a);
}

static enum accounts_result read_domain(struct accounts_row *r, struct account_domain *ret)
{
	struct slice name = accounts_read_text(r, MAIL_DOMAIN_MAX);

	*ret = (struct account_domain){0};
	if (name.n)
		memcpy(ret->name, name.p, name.n);
	ret->enabled = accounts_read_int(r, 0, 1) == 1;
	ret->messages_per_hour = read_limit(r);
	ret->recipients_per_hour = read_limit(r);
	ret->accounts = (uint64_t)accounts_read_int(r, 0, INT64_MAX);
	ret->disabled = (uint64_t)accounts_read_int(r, 0, INT64_MAX);
	return r->bad ? accounts_fail(r->a, ACCOUNTS_DAMAGED, "a domain in it is damaged") : ACCOUNTS_OK;
}

enum accounts_result accounts_find_domain(struct accounts *a, struct slice name, struct account_domain *ret)
{
	char room[2 * MAIL_DOMAIN_MAX];
	struct buf canonical = {.p = room, .cap = sizeof room, .max = sizeof room};
	bool row;

	*ret = (struct account_domain){0};
	if (!canonical_domain(name, &canonical) || buf_len(&canonical) > MAIL_DOMAIN_MAX)
		return accounts_fail(a, ACCOUNTS_INVALID, "it is no domain name");
	memcpy(ret->name, canonical.p, buf_len(&canonical));
	ret->enabled = true; /* without a database */
	enum accounts_result result = accounts_ready(a);
	if (result)
		return result;
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_DOMAIN);
	accounts_bind_text(&r, buf_slice(&canonical));
	result = accounts_step(&r, &row);
	if (!result)
		result = read_domain(&r, ret);
	accounts_done(&r);
	return result ? result : undisturbed(a);
}

enum accounts_result accounts_list_domains(struct accounts *a,
					   bool (*each)(void *arg, const struct account_domain *domain), void *arg)
{
	struct account_domain domain;
	bool row = true, more = true;
	enum accounts_result result = accounts_ready(a);

	if (result)
		return result;
	struct accounts_row r = accounts_bind(a, ACCOUNTS_SQL_DOMAINS);
	while (!result && more) {
		result = accounts_step(&r, &row);
		if (result || !row)
			break;
		result = read_domain(&r, &domain);
		more = !result && each(arg, &domain);
	}
	accounts_done(&r);
	return result ? result : undisturbed(a);
}
