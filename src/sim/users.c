#include "sim/users.h"

#include "directory/accounts_private.h"
#include "net/fs_posix.h"
#include "sim/disk.h"
#include "sim/machine.h"
#include "sim/run.h"

#include <crypt.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#define DATABASE   "/data/" ACCOUNTS_FILE
#define HASH_TIME  (70 * SIM_MS)
#define STUCK_TIME (100 * SIM_SECOND) /* longer than a session waits for its answer */

static const struct user users[USERS] = {
	{"alice@local.example", "alice in the looking-glass", false},
	{"bob@local.example", "bob", false},
	{"carol@local.example", "carol's own", false},
	{"dave@local.example", "dave was here", true},
};
static bool made;

const struct user *user_number(size_t i)
{
	return &users[i % USERS];
}

/* ---- what stands for libraries: the linker puts these in their places -------------------------------------------- */

char *__wrap_crypt_rn(const char *phrase, const char *setting, void *data, int size);
int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int pass_n, const unsigned char *salt, int salt_n, int iterations,
			     const EVP_MD *digest, int n, unsigned char *out);
/* Where a file may have any size, stat is this one. */
int __real_stat64(const char *path, struct stat *ret);
int __wrap_stat64(const char *path, struct stat *ret);

/* That hashing takes its time; now and then, the processor is somebody else's for long. */
static void work(void)
{
	sim_us time = HASH_TIME;

	if (sim_chance(sim_plan.auth_stuck)) {
		sim_count(COUNT_FAULT_AUTH);
		sim_trace(machine_running(), "gets no processor");
		time = sim_between(SIM_SECOND, STUCK_TIME);
	}
	kernel_spend(time);
}

static uint64_t mix(uint64_t state, const void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		state = (state ^ ((const unsigned char *)p)[i]) * 1099511628211u;
	return state;
}

static void digest(uint64_t state, unsigned char *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		state = mix(state, &i, sizeof i);
		out[i] = (unsigned char)(state >> 32);
	}
}

/* "$y$j9T$salt$hash", or without the hash. */
char *__wrap_crypt_rn(const char *phrase, const char *setting, void *data, int size)
{
	static const char letters[64] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	struct slice rest = slice_from_cstr(setting);
	unsigned char octets[43];
	char *out = data;

	for (int i = 0; i < 4; i++)
		slice_split(&rest, '$');
	size_t n = rest.p ? (size_t)(rest.p - setting) - 1 : strlen(setting);
	work();
	if ((size_t)size < n + 1 + sizeof octets + 1)
		return NULL;
	digest(mix(mix(1, setting, n), phrase, strlen(phrase)), octets, sizeof octets);
	memmove(out, setting, n);
	out[n] = '$';
	for (size_t i = 0; i < sizeof octets; i++)
		out[n + 1 + i] = letters[octets[i] & 63];
	out[n + 1 + sizeof octets] = '\0';
	return out;
}

int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int pass_n, const unsigned char *salt, int salt_n, int iterations,
			     const EVP_MD *md, int n, unsigned char *out)
{
	(void)md;
	work();
	uint64_t state = mix(2, &iterations, sizeof iterations);
	digest(mix(mix(state, pass, (size_t)pass_n), salt, (size_t)salt_n), out, (size_t)n);
	return 1;
}

int __wrap_stat64(const char *path, struct stat *ret)
{
	if (strncmp(path, "/data/", 6) != 0)
		return __real_stat64(path, ret);
	int error = disk_stat(path, ret);
	if (error)
		errno = error;
	return error ? -1 : 0;
}

/* ---- the database ------------------------------------------------------------------------------------------------ */

/* As accounts_open makes it, but under its name at once. */
static bool make_file(void)
{
	static const char more[] = "INSERT INTO state VALUES (1, zeroblob(32));";
	char versions[160];
	sqlite3 *db = NULL;

	snprintf(versions, sizeof versions, "PRAGMA application_id = %d; PRAGMA user_version = %d;",
		 ACCOUNTS_APPLICATION_ID, ACCOUNTS_SCHEMA_VERSION);
	bool good = fs_posix_make_root("/data/accounts") == 0 &&
		    sqlite3_open_v2(DATABASE, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) == SQLITE_OK &&
		    sqlite3_exec(db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL) == SQLITE_OK &&
		    sqlite3_exec(db, accounts_schema, NULL, NULL, NULL) == SQLITE_OK &&
		    sqlite3_exec(db, more, NULL, NULL, NULL) == SQLITE_OK &&
		    sqlite3_exec(db, versions, NULL, NULL, NULL) == SQLITE_OK;
	sqlite3_close(db);
	return good && disk_sync_directory("/data/accounts") == 0;
}

/* Taken over from elsewhere: the first login has to renew what is kept of the password. */
static bool add_user(struct accounts *a, const struct user *u)
{
	struct crypt_data data;
	struct secrets secrets = {.foreign = true};
	struct slice name = slice_from_cstr(u->name);

	if (!__wrap_crypt_rn(u->password, "$y$j9T$abcdefghijklmnopqrstu/", &data, sizeof data))
		return false;
	snprintf(secrets.crypt, sizeof secrets.crypt, "%s", (const char *)&data);
	return accounts_add(a, name, &secrets, sim_wall()) == ACCOUNTS_OK &&
	       (!u->disabled || accounts_set_enabled(a, name, false) == ACCOUNTS_OK);
}

void users_make(void)
{
	struct accounts_config config = {.path = DATABASE};
	struct accounts *a = NULL;
	struct buf why;

	buf_init(&why, 4096);
	bool good = make_file() && accounts_open(&config, &a, &why) == ACCOUNTS_OK;
	for (size_t i = 0; good && i < USERS; i++)
		good = add_user(a, &users[i]);
	if (!good)
		sim_fail("the accounts cannot be made: %.*s", SLICE_ARGS(a ? accounts_why(a) : buf_slice(&why)));
	accounts_close(a);
	buf_free(&why);
	made = true;
}

void users_check(void)
{
	static struct account account;
	struct buf why;

	if (!made)
		return;
	struct accounts *a = accounts_reader(DATABASE, (const uint8_t[ACCOUNTS_KEY]){0});
	buf_init(&why, 4096);
	for (size_t i = 0; i < USERS && !sim_failure(); i++) {
		const struct user *u = &users[i];
		enum accounts_result result = accounts_find(a, slice_from_cstr(u->name), &account, &why);
		if (result != ACCOUNTS_OK)
			sim_fail("the accounts cannot be read: %.*s", SLICE_ARGS(buf_slice(&why)));
		else if (!account.known || account.enabled == u->disabled)
			sim_fail("the account of %s is not what it was", u->name);
		else if (secrets_verify(&account.secrets, slice_from_cstr(u->password)) != SECRETS_OK)
			sim_fail("the password of %s is no longer right", u->name);
	}
	accounts_close(a);
	buf_free(&why);
}
