/*
 * The tables of directory.db, and every statement. Values are always bound, never put into the text, and read back with
 * suspicion: the file may be damaged or doctored.
 *
 * A name is in its canonical form. A secret is a text: the hash as libcrypt has it, a verifier as in RFC 5803 3, the
 * states of CRAM-MD5 as 64 hexadecimal digits; the empty text is none. A limit of 0 is none of its own. That an account
 * may send as its own name needs no row of address.
 */
#include "directory/accounts_private.h"

#include <assert.h>
#include <errno.h>

/* clang-format off */
const char accounts_schema[] =
	"CREATE TABLE state ("
	"  one INTEGER PRIMARY KEY CHECK (one = 1),"
	"  key BLOB NOT NULL);"             /* of decoys */

	"CREATE TABLE domain ("
	"  name TEXT NOT NULL PRIMARY KEY,"
	"  enabled INTEGER NOT NULL,"
	"  messages_per_hour INTEGER NOT NULL,"
	"  recipients_per_hour INTEGER NOT NULL) WITHOUT ROWID;"

	"CREATE TABLE account ("
	"  id INTEGER PRIMARY KEY AUTOINCREMENT,"
	"  name TEXT NOT NULL UNIQUE,"
	"  domain TEXT NOT NULL,"           /* of the name; '' when it has none */
	"  enabled INTEGER NOT NULL,"
	"  messages_per_hour INTEGER NOT NULL,"
	"  recipients_per_hour INTEGER NOT NULL,"
	"  created INTEGER NOT NULL,"       /* wall clock, ms */
	"  password_changed INTEGER NOT NULL,"
	"  is_foreign INTEGER NOT NULL,"    /* the secrets were made elsewhere */
	"  crypt TEXT NOT NULL,"
	"  scram_sha_256 TEXT NOT NULL,"
	"  scram_sha_1 TEXT NOT NULL,"
	"  cram_md5 TEXT NOT NULL);"
	"CREATE INDEX account_domain ON account (domain);"

	"CREATE TABLE address ("
	"  account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,"
	"  pattern TEXT NOT NULL,"
	"  PRIMARY KEY (account, pattern)) WITHOUT ROWID;";

#define ACCOUNT_COLUMNS \
	"SELECT a.id, a.name, a.enabled, COALESCE(d.enabled, 1), a.messages_per_hour, a.recipients_per_hour," \
	"  COALESCE(d.messages_per_hour, 0), COALESCE(d.recipients_per_hour, 0), a.created, a.password_changed," \
	"  a.is_foreign, a.crypt, a.scram_sha_256, a.scram_sha_1, a.cram_md5," \
	"  COALESCE((SELECT group_concat(pattern, char(10)) FROM" \
	"    (SELECT pattern FROM address WHERE account = a.id ORDER BY pattern)), '')" \
	" FROM account a LEFT JOIN domain d ON d.name = a.domain"

#define DOMAIN_COLUMNS \
	"SELECT n.name, COALESCE(d.enabled, 1), COALESCE(d.messages_per_hour, 0), COALESCE(d.recipients_per_hour, 0)," \
	"  (SELECT count(*) FROM account WHERE domain = n.name)," \
	"  (SELECT count(*) FROM account WHERE domain = n.name AND enabled = 0)"

static const char *const texts[ACCOUNTS_SQL_COUNT] = {
	[ACCOUNTS_SQL_BEGIN] = "BEGIN IMMEDIATE",
	[ACCOUNTS_SQL_COMMIT] = "COMMIT",
	[ACCOUNTS_SQL_KEY] = "SELECT key FROM state WHERE one = 1",
	/* The neighbour of a name that is not there; see find_row. */
	[ACCOUNTS_SQL_FIND] = ACCOUNT_COLUMNS " WHERE a.name = COALESCE("
		"(SELECT name FROM account WHERE name >= ?1 ORDER BY name LIMIT 1), (SELECT min(name) FROM account))",
	[ACCOUNTS_SQL_LIST] = ACCOUNT_COLUMNS " WHERE ?1 = '' OR a.domain = ?1 ORDER BY a.domain, a.name",
	[ACCOUNTS_SQL_ADD] = "INSERT INTO account (name, domain, enabled, messages_per_hour, recipients_per_hour, created,"
		"  password_changed, is_foreign, crypt, scram_sha_256, scram_sha_1, cram_md5)"
		" VALUES (?1, ?2, 1, 0, 0, ?3, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (name) DO NOTHING",
	[ACCOUNTS_SQL_REMOVE] = "DELETE FROM account WHERE name = ?1",
	[ACCOUNTS_SQL_PASSWORD] = "UPDATE account SET password_changed = ?2, is_foreign = ?3, crypt = ?4,"
		"  scram_sha_256 = ?5, scram_sha_1 = ?6, cram_md5 = ?7 WHERE name = ?1",
	[ACCOUNTS_SQL_RENEW] = "UPDATE account SET is_foreign = ?2, crypt = ?3, scram_sha_256 = ?4, scram_sha_1 = ?5,"
		"  cram_md5 = ?6 WHERE id = ?1"
		"  AND is_foreign = ?7 AND crypt = ?8 AND scram_sha_256 = ?9 AND scram_sha_1 = ?10 AND cram_md5 = ?11",
	[ACCOUNTS_SQL_ENABLE] = "UPDATE account SET enabled = ?2 WHERE name = ?1",
	[ACCOUNTS_SQL_LIMITS] = "UPDATE account SET messages_per_hour = ?2, recipients_per_hour = ?3 WHERE name = ?1",
	[ACCOUNTS_SQL_ID] = "SELECT id FROM account WHERE name = ?1",
	[ACCOUNTS_SQL_ADDRESS_COUNT] = "SELECT count(*) FROM address WHERE account = ?1",
	[ACCOUNTS_SQL_ADDRESS_ADD] = "INSERT INTO address VALUES (?1, ?2) ON CONFLICT (account, pattern) DO NOTHING",
	[ACCOUNTS_SQL_ADDRESS_REMOVE] = "DELETE FROM address WHERE account = ?1 AND pattern = ?2",
	[ACCOUNTS_SQL_DOMAIN] = DOMAIN_COLUMNS " FROM (SELECT ?1 AS name) n LEFT JOIN domain d ON d.name = n.name",
	[ACCOUNTS_SQL_DOMAINS] = DOMAIN_COLUMNS
		" FROM (SELECT name FROM domain UNION SELECT domain FROM account WHERE domain <> '') n"
		" LEFT JOIN domain d ON d.name = n.name ORDER BY n.name",
	[ACCOUNTS_SQL_DOMAIN_ENABLE] = "INSERT INTO domain VALUES (?1, ?2, 0, 0)"
		" ON CONFLICT (name) DO UPDATE SET enabled = ?2",
	[ACCOUNTS_SQL_DOMAIN_LIMITS] = "INSERT INTO domain VALUES (?1, 1, ?2, ?3)"
		" ON CONFLICT (name) DO UPDATE SET messages_per_hour = ?2, recipients_per_hour = ?3",
	[ACCOUNTS_SQL_DOMAIN_TIDY] = "DELETE FROM domain WHERE enabled = 1 AND messages_per_hour = 0"
		" AND recipients_per_hour = 0",
};
/* clang-format on */

/* ---- errors -------------------------------------------------------------------------------------------------- */

const char *accounts_result_text(enum accounts_result result)
{
	static const char *const of[] = {
		[ACCOUNTS_OK] = "done",
		[ACCOUNTS_NOT_FOUND] = "there is none",
		[ACCOUNTS_EXISTS] = "it is there already",
		[ACCOUNTS_INVALID] = "that can be none",
		[ACCOUNTS_MISSING] = "there is no database of accounts",
		[ACCOUNTS_DENIED] = "permission denied",
		[ACCOUNTS_BUSY] = "somebody else writes to it for too long",
		[ACCOUNTS_DAMAGED] = "it is damaged",
		[ACCOUNTS_VERSION] = "it was made by another version or another program",
		[ACCOUNTS_FULL] = "the disk is full",
		[ACCOUNTS_IO] = "the disk fails",
		[ACCOUNTS_NO_MEMORY] = "there is no memory",
	};

	assert((size_t)result < sizeof of / sizeof *of);
	return of[result];
}

enum accounts_result accounts_fail(struct accounts *a, enum accounts_result result, const char *why)
{
	buf_reset(&a->why);
	buf_printf(&a->why, "%s: %s", a->path, why ? why : accounts_result_text(result));
	return result;
}

static enum accounts_result class_of(struct accounts *a, int rc)
{
	int error = a->db ? sqlite3_system_errno(a->db) : 0;

	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ACCOUNTS_BUSY;
	case SQLITE_NOMEM:
		return ACCOUNTS_NO_MEMORY;
	case SQLITE_FULL:
	case SQLITE_TOOBIG:
		return ACCOUNTS_FULL;
	case SQLITE_IOERR:
		if (rc == SQLITE_IOERR_NOMEM)
			return ACCOUNTS_NO_MEMORY;
		return error == EDQUOT || error == ENOSPC ? ACCOUNTS_FULL : ACCOUNTS_IO;
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_READONLY:
		return ACCOUNTS_DENIED;
	case SQLITE_CANTOPEN:
		return error == ENOENT ? ACCOUNTS_MISSING : ACCOUNTS_DENIED;
	default:
		/* Among them a statement that does not fit the tables that are there. */
		return ACCOUNTS_DAMAGED;
	}
}

enum accounts_result accounts_failed(struct accounts *a, int rc)
{
	a->rc = rc;
	return accounts_fail(a, class_of(a, rc), a->db ? sqlite3_errmsg(a->db) : sqlite3_errstr(rc));
}

enum accounts_result accounts_exec(struct accounts *a, const char *sql)
{
	int rc = sqlite3_exec(a->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? ACCOUNTS_OK : accounts_failed(a, rc);
}

/* ---- values -------------------------------------------------------------------------------------------------- */

struct accounts_row accounts_bind(struct accounts *a, enum accounts_statement which)
{
	struct accounts_row r = {.a = a, .i = 1};

	assert(a->db);
	if (!a->statements[which] && sqlite3_prepare_v3(a->db, texts[which], -1, SQLITE_PREPARE_PERSISTENT,
							&a->statements[which], NULL) != SQLITE_OK)
		return r;
	r.stmt = a->statements[which];
	sqlite3_reset(r.stmt);
	return r;
}

void accounts_bind_int(struct accounts_row *r, int64_t value)
{
	if (r->stmt && sqlite3_bind_int64(r->stmt, r->i, value) != SQLITE_OK)
		r->bad = true;
	r->i++;
}

void accounts_bind_text(struct accounts_row *r, struct slice value)
{
	if (r->stmt && sqlite3_bind_text64(r->stmt, r->i, value.n ? value.p : "", value.n, SQLITE_STATIC,
					   SQLITE_UTF8) != SQLITE_OK)
		r->bad = true;
	r->i++;
}

enum accounts_result accounts_step(struct accounts_row *r, bool *ret_row)
{
	*ret_row = false;
	if (!r->stmt) /* it was not prepared: the connection still says why */
		return accounts_failed(r->a, sqlite3_extended_errcode(r->a->db));
	if (r->bad) /* binding fails for lack of memory alone */
		return accounts_fail(r->a, ACCOUNTS_NO_MEMORY, NULL);
	int rc = sqlite3_step(r->stmt);
	if (rc == SQLITE_ROW) {
		*ret_row = true;
		r->i = 0;
		return ACCOUNTS_OK;
	}
	enum accounts_result result = rc == SQLITE_DONE ? ACCOUNTS_OK : accounts_failed(r->a, rc);
	accounts_done(r);
	return result;
}

enum accounts_result accounts_run(struct accounts_row *r, int *ret_changed)
{
	bool row;
	enum accounts_result result = accounts_step(r, &row);

	assert(!row);
	if (ret_changed)
		*ret_changed = result == ACCOUNTS_OK ? sqlite3_changes(r->a->db) : 0;
	return result;
}

static int next_column(struct accounts_row *r, int type)
{
	assert(r->i < sqlite3_column_count(r->stmt));
	if (sqlite3_column_type(r->stmt, r->i) != type)
		r->bad = true;
	return r->i++;
}

int64_t accounts_read_int(struct accounts_row *r, int64_t min, int64_t max)
{
	int column = next_column(r, SQLITE_INTEGER);
	int64_t value = r->bad ? min : sqlite3_column_int64(r->stmt, column);

	if (value < min || value > max) {
		r->bad = true;
		return min;
	}
	return value;
}

struct slice accounts_read_text(struct accounts_row *r, size_t max)
{
	int column = next_column(r, SQLITE_TEXT);
	struct slice value = SLICE_NONE;

	if (r->bad)
		return value;
	value.p = (const char *)sqlite3_column_text(r->stmt, column);
	value.n = (size_t)sqlite3_column_bytes(r->stmt, column);
	if (value.n > max || (value.n > 0 && !value.p)) {
		r->bad = true;
		return SLICE_NONE;
	}
	return value;
}

/* Bound texts are let go, too: they may be secrets, and their owner wipes them. */
void accounts_done(struct accounts_row *r)
{
	if (!r->stmt)
		return;
	sqlite3_reset(r->stmt);
	sqlite3_clear_bindings(r->stmt);
}
