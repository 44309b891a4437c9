/*
 * postrider user import: accounts of other servers. All of the file is read and every password in clear hashed before
 * the first account is written; then all of them are one change.
 */
#include "cli/user.h"

#include "base/heap.h"
#include "directory/import.h"
#include "net/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define FILE_MAX     ((size_t)64 << 20)
#define ACCOUNTS_MAX 100000

struct one {
	unsigned line;
	bool disabled, twice;
	char name[ACCOUNT_NAME_MAX + 1];
	struct secrets secrets;
};

struct work {
	struct user_request *q;
	const char *file;
	struct one *accounts;
	size_t count, capacity;
	uint64_t passed, wrong, taken, replaced;
	json_t *problems;
};

/* ---- telling ------------------------------------------------------------------------------------------------- */

static void tell(struct work *w, unsigned line, struct slice name, bool is_wrong, struct slice text)
{
	w->wrong += is_wrong;
	if (w->q->json) {
		json_array_append_new(w->problems, json_pack("{s:i, s:o, s:s, s:o}", "line", (int)line, "name",
							     cli_json_text_or_null(name), "severity",
							     is_wrong ? "error" : "note", "text", cli_json_text(text)));
		return;
	}
	fprintf(stderr, "%s:%u: %s", w->file, line, is_wrong ? "" : "note: ");
	if (name.n) {
		cli_print(stderr, name);
		fprintf(stderr, ": ");
	}
	cli_print(stderr, text);
	fputc('\n', stderr);
}

/* ---- reading ------------------------------------------------------------------------------------------------- */

static int read_all(struct work *w, int fd, struct buf *ret)
{
	struct stat st;
	size_t max = FILE_MAX;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size < FILE_MAX)
		max = (size_t)st.st_size + 1;
	if (!secrets_buf_init(ret, max))
		return cli_fail(w->q->self, EX_OSERR, "out of memory");
	for (;;) {
		char *at = buf_room(ret) ? buf_reserve(ret, buf_room(ret)) : NULL;
		if (!at)
			return cli_fail(w->q->self, EX_DATAERR, "%s: it is too long, or grows while it is read",
					w->file);
		ssize_t n = read(fd, at, buf_room(ret));
		if (n == 0)
			return EX_OK;
		if (n < 0)
			return cli_fail(w->q->self, EX_NOINPUT, "%s: %s", w->file, strerror(errno));
		buf_wrote(ret, (size_t)n);
	}
}

static int read_file(struct work *w, struct buf *ret)
{
	bool is_input = strcmp(w->file, "-") == 0;
	int fd = is_input ? STDIN_FILENO : open(w->file, O_RDONLY | O_CLOEXEC);

	buf_init(ret, 1);
	if (is_input)
		w->file = "standard input";
	if (fd < 0)
		return cli_fail(w->q->self, EX_NOINPUT, "%s: %s", w->file, strerror(errno));
	int status = read_all(w, fd, ret);
	if (!is_input)
		close(fd);
	return status;
}

/* ---- understanding ------------------------------------------------------------------------------------------- */

static struct one *add_one(struct work *w)
{
	if (w->count == w->capacity) {
		size_t capacity = w->capacity ? 2 * w->capacity : 64;
		struct one *more = heap_array(capacity, sizeof *more);
		if (!more)
			return NULL;
		if (w->count)
			memcpy(more, w->accounts, w->count * sizeof *more);
		if (w->accounts)
			explicit_bzero(w->accounts, w->count * sizeof *more);
		heap_free(w->accounts);
		w->accounts = more;
		w->capacity = capacity;
	}
	return &w->accounts[w->count++];
}

/* The secrets of a line; false after it told what is wrong. */
static bool take_secrets(struct work *w, const struct import_account *in, struct secrets *ret)
{
	uint8_t chance[SECRETS_CHANCE];
	const char *why;

	if (in->password.kind == SCHEME_SECRETS) {
		*ret = in->password.secrets;
		if (!ret->has_cram_md5 || w->q->conf->keep_cram_md5)
			return true;
		tell(w, in->line, slice_of(in->name, in->name_n), true,
		     SLICE("what CRAM-MD5 needs is kept with cram_md5 = yes in section accounts of the configuration"));
		return false;
	}
	host_random_octets(chance, sizeof chance);
	enum secrets_result result = secrets_make(slice_of(in->password.plain, in->password.plain_n),
						  w->q->conf->keep_cram_md5, chance, ret, &why);
	explicit_bzero(chance, sizeof chance);
	if (result == SECRETS_OK)
		return true;
	struct buf text;
	buf_init(&text, 256);
	buf_printf(&text, "its password can be none: %s", why);
	tell(w, in->line, slice_of(in->name, in->name_n), true, buf_slice(&text));
	buf_free(&text);
	return false;
}

static int take_account(struct work *w, const struct import_account *in)
{
	struct secrets secrets = {0};

	if (!take_secrets(w, in, &secrets))
		return EX_OK;
	struct one *one = w->count < ACCOUNTS_MAX ? add_one(w) : NULL;
	if (!one)
		return cli_fail(w->q->self, EX_OSERR, "%s: too many accounts at one time; split the file", w->file);
	one->line = in->line;
	one->disabled = in->disabled;
	memcpy(one->name, in->name, in->name_n + 1);
	one->secrets = secrets;
	secrets_wipe(&secrets);
	return EX_OK;
}

static int understand(struct work *w, struct slice text)
{
	static struct import_account in;
	struct import import;
	enum import_result result;
	struct buf why;
	int status = EX_OK;

	buf_init(&why, 4096);
	import_init(&import, text, slice_from_cstr(w->q->scheme), slice_from_cstr(w->q->domain));
	while (status == EX_OK && (result = import_next(&import, &in, &why)) != IMPORT_END) {
		if (result == IMPORT_ACCOUNT)
			status = take_account(w, &in);
		else
			tell(w, in.line, slice_of(in.name, in.name_n), result == IMPORT_WRONG, buf_slice(&why));
		w->passed += result == IMPORT_PASSED;
		buf_reset(&why);
	}
	import_wipe(&in);
	buf_free(&why);
	return status;
}

/* Lines that name the same account would depend on their order. */
static int by_name(const void *a, const void *b)
{
	const struct one *x = *(struct one *const *)a, *y = *(struct one *const *)b;
	int order = strcmp(x->name, y->name);

	return order ? order : x->line < y->line ? -1 : 1;
}

static int find_twice(struct work *w)
{
	struct one **sorted = w->count ? heap_array(w->count, sizeof *sorted) : NULL;

	if (w->count && !sorted)
		return cli_fail(w->q->self, EX_OSERR, "out of memory");
	for (size_t i = 0; i < w->count; i++)
		sorted[i] = &w->accounts[i];
	if (w->count)
		qsort(sorted, w->count, sizeof *sorted, by_name);
	for (size_t i = 1; i < w->count; i++)
		sorted[i]->twice = strcmp(sorted[i - 1]->name, sorted[i]->name) == 0;
	heap_free(sorted);
	for (size_t i = 0; i < w->count; i++)
		if (w->accounts[i].twice)
			tell(w, w->accounts[i].line, slice_from_cstr(w->accounts[i].name), true,
			     SLICE("a line before names the same account"));
	return EX_OK;
}

/* ---- writing ------------------------------------------------------------------------------------------------- */

/* Only looks, for --dry-run. */
static enum accounts_result look_for(struct accounts *a, struct slice name)
{
	static struct account account;
	enum accounts_result result = accounts_find(a, name, &account, NULL);
	bool known = account.known;

	account_wipe(&account);
	if (result == ACCOUNTS_MISSING)
		return ACCOUNTS_OK;
	return result ? result : known ? ACCOUNTS_EXISTS : ACCOUNTS_OK;
}

static enum accounts_result write_one(struct work *w, const struct one *one, wall_ms now)
{
	struct accounts *a = w->q->accounts;
	struct slice name = slice_from_cstr(one->name);
	bool dry = w->q->dry_run;
	enum accounts_result result = dry ? look_for(a, name) : accounts_add(a, name, &one->secrets, now);
	bool is_there = result == ACCOUNTS_EXISTS;

	if (is_there && !w->q->replace) {
		tell(w, one->line, name, true, SLICE("it is there already; with --replace it gets this password"));
		return ACCOUNTS_OK;
	}
	if (is_there)
		result = dry ? ACCOUNTS_OK : accounts_set_password(a, name, &one->secrets, now);
	if (!result && !dry && (is_there || one->disabled))
		result = accounts_set_enabled(a, name, !one->disabled);
	w->replaced += is_there;
	w->taken++;
	return result;
}

static int write_all(struct work *w)
{
	struct user_request *q = w->q;
	wall_ms now = host_wall();
	enum accounts_result result = q->dry_run ? ACCOUNTS_OK : accounts_begin(q->accounts);

	for (size_t i = 0; i < w->count && !result; i++)
		if (!w->accounts[i].twice)
			result = write_one(w, &w->accounts[i], now);
	if (!result && !q->dry_run && (w->wrong == 0 || q->skip))
		result = accounts_commit(q->accounts);
	if (result)
		return cli_accounts_fail(q->self, q->accounts, SLICE_NONE, result);
	accounts_roll_back(q->accounts);
	return EX_OK;
}

/* ---- all ----------------------------------------------------------------------------------------------------- */

static int report(struct work *w)
{
	bool good = w->wrong == 0 || w->q->skip;

	if (w->q->json) {
		cli_json_print(json_pack("{s:b, s:I, s:I, s:I, s:I, s:O}", "changed", good && !w->q->dry_run,
					 "imported", (json_int_t)(good ? w->taken : 0), "replaced",
					 (json_int_t)(good ? w->replaced : 0), "passed_over", (json_int_t)w->passed,
					 "wrong", (json_int_t)w->wrong, "problems", w->problems));
	} else if (good) {
		printf("%llu account%s %s, %llu of them replaced; %llu passed over, %llu wrong\n",
		       (unsigned long long)w->taken, w->taken == 1 ? "" : "s",
		       w->q->dry_run ? "would be imported" : "imported", (unsigned long long)w->replaced,
		       (unsigned long long)w->passed, (unsigned long long)w->wrong);
	} else {
		fprintf(stderr, "postrider user: %llu line%s wrong; nothing is imported, but see --skip\n",
			(unsigned long long)w->wrong, w->wrong == 1 ? " is" : "s are");
	}
	return w->wrong ? EX_DATAERR : EX_OK;
}

int user_import(struct user_request *q, const char *file)
{
	struct work w = {.q = q, .file = file, .problems = json_array()};
	struct buf text;
	int status = EX_OK;

	if (q->scheme && !scheme_known(slice_from_cstr(q->scheme)))
		status = cli_fail(q->self, EX_USAGE, "%s is no scheme that can be imported", q->scheme);
	if (status == EX_OK) {
		status = read_file(&w, &text);
		if (status == EX_OK)
			status = cli_accounts_open(q->self, q->conf, q->dry_run ? CLI_ACCOUNTS_READ : CLI_ACCOUNTS_ADD,
						   &q->accounts);
		if (status == EX_OK)
			status = understand(&w, buf_slice(&text));
		buf_wipe(&text);
	}
	if (status == EX_OK)
		status = find_twice(&w);
	if (status == EX_OK)
		status = write_all(&w);
	if (status == EX_OK)
		status = report(&w);
	if (w.accounts)
		explicit_bzero(w.accounts, w.count * sizeof *w.accounts);
	heap_free(w.accounts);
	json_decref(w.problems);
	return status;
}
