/*
 * postrider domain: the domains of the configuration beside those of the accounts.
 *
 * Which domains take mail, and for which mailboxes, the configuration alone says. Here is what accounts add to it.
 */
#include "cli/accounts.h"

#include "base/heap.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#define NAMES_MAX 1000

const struct cli_option cli_domain_options[] = {
	{"messages-per-hour", 0, "N", "set: the limit of accounts without one of their own; \"none\", or \"default\""},
	{"recipients-per-hour", 0, "N", "set: the same for recipients"},
	{"conf", 'c', "FILE", "the server's configuration"},
	{"json", 0, NULL, "print JSON"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum { OPTION_MESSAGES, OPTION_RECIPIENTS, OPTION_CONF, OPTION_JSON, OPTION_HELP };

/* A domain of the configuration, of the accounts, or of both. */
struct row {
	struct account_domain accounts;
	const struct conf_domain *conf; /* NULL: none of the configuration */
};

struct request {
	const struct cli_command *self;
	const char *conf_path, *verb;
	struct conf *conf;
	struct accounts *accounts;
	const char *names[NAMES_MAX];
	size_t name_count;
	bool has_messages, has_recipients, json;
	uint32_t messages, recipients;
	struct row *rows;
	size_t row_count, row_capacity;
};

/* ---- gathering ----------------------------------------------------------------------------------------------- */

static const struct conf_domain *configured(const struct conf *conf, struct slice name)
{
	for (size_t i = 0; i < conf->domain_count; i++)
		if (slice_eq(conf->domains[i].name, name))
			return &conf->domains[i];
	return NULL;
}

static bool add_row(void *arg, const struct account_domain *domain)
{
	struct request *q = arg;

	if (q->row_count == q->row_capacity) {
		size_t capacity = q->row_capacity ? 2 * q->row_capacity : 64;
		struct row *rows = heap_resize(q->rows, capacity * sizeof *rows);
		if (!rows)
			return false;
		q->rows = rows;
		q->row_capacity = capacity;
	}
	q->rows[q->row_count++] =
		(struct row){.accounts = *domain, .conf = configured(q->conf, slice_from_cstr(domain->name))};
	return true;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->accounts.name, ((const struct row *)b)->accounts.name);
}

/* Those of the configuration that have neither accounts nor settings. */
static void add_configured(struct request *q)
{
	size_t of_accounts = q->row_count;

	for (size_t i = 0; i < q->conf->domain_count; i++) {
		struct account_domain none = {.enabled = true};
		struct slice name = q->conf->domains[i].name;
		bool is_there = false;
		for (size_t k = 0; k < of_accounts && !is_there; k++)
			is_there = q->rows[k].conf == &q->conf->domains[i];
		memcpy(none.name, name.p, name.n < MAIL_DOMAIN_MAX ? name.n : MAIL_DOMAIN_MAX);
		if (!is_there)
			add_row(q, &none);
	}
	if (q->row_count)
		qsort(q->rows, q->row_count, sizeof *q->rows, by_name);
}

/* ---- showing ------------------------------------------------------------------------------------------------- */

static const char *mail_of(const struct conf_domain *d)
{
	return !d ? "none" : d->deliver == DIRECTORY_LMTP ? "lmtp" : "maildir";
}

static void print_row(const struct row *r)
{
	unsigned long long n = r->accounts.accounts, off = r->accounts.disabled;

	cli_print(stdout, slice_from_cstr(r->accounts.name));
	if (!r->conf)
		printf(": no mail, it is none of the configuration");
	else if (r->conf->deliver == DIRECTORY_LMTP)
		printf(": by LMTP");
	else
		printf(": %zu mailbox%s", r->conf->mailboxes.count, r->conf->mailboxes.count == 1 ? "" : "es");
	printf("; %llu account%s", n, n == 1 ? "" : "s");
	if (off)
		printf(", %llu of them disabled", off);
	printf("%s\n", r->accounts.enabled ? "" : "; DISABLED: nobody of it can log in");
}

static json_t *json_row(const struct row *r)
{
	return json_pack("{s:o, s:b, s:s, s:o, s:I, s:I, s:o, s:o}", "name",
			 cli_json_text(slice_from_cstr(r->accounts.name)), "enabled", r->accounts.enabled, "mail",
			 mail_of(r->conf), "mailboxes",
			 r->conf ? json_integer((json_int_t)r->conf->mailboxes.count) : json_null(), "accounts",
			 (json_int_t)r->accounts.accounts, "disabled_accounts", (json_int_t)r->accounts.disabled,
			 "messages_per_hour", cli_accounts_json_limit(r->accounts.messages_per_hour),
			 "recipients_per_hour", cli_accounts_json_limit(r->accounts.recipients_per_hour));
}

/* Accounts and mailboxes that have no counterpart. */
struct single {
	struct request *q;
	json_t *accounts, *mailboxes;
	size_t domain_at; /* octets before the domain */
};

static bool note_account(void *arg, const struct account *a)
{
	struct single *s = arg;
	struct directory_entry entry;

	if (cli_accounts_mail(s->q->conf, a->name, &entry) == CLI_MAIL_NO_MAILBOX)
		json_array_append_new(s->accounts, cli_json_text(a->name));
	return true;
}

static enum accounts_result note_mailboxes(struct single *s, const struct conf_domain *d)
{
	static struct account account;
	enum accounts_result result = ACCOUNTS_OK;
	struct buf name;

	buf_init(&name, 1024);
	for (size_t i = 0; i < d->mailboxes.count && !result; i++) {
		buf_reset(&name);
		buf_add(&name, d->mailboxes.list[i]);
		buf_add_char(&name, '@');
		buf_add(&name, d->name);
		result = accounts_find(s->q->accounts, buf_slice(&name), &account, NULL);
		if (result == ACCOUNTS_MISSING)
			result = ACCOUNTS_OK;
		if (!result && !account.known && !slice_eq(d->mailboxes.list[i], SLICE("*")))
			json_array_append_new(s->mailboxes, cli_json_text(d->mailboxes.list[i]));
		account_wipe(&account);
	}
	buf_free(&name);
	return result;
}

static void print_names(const char *what, const json_t *names)
{
	size_t i;
	const json_t *name;

	if (json_array_size(names) == 0)
		return;
	printf("  %s:", what);
	json_array_foreach(names, i, name) printf("%s %s", i ? "," : "", json_string_value(name));
	printf("\n");
}

static void print_domain(const struct row *r, const struct single *s)
{
	print_row(r);
	cli_accounts_print_limit(r->accounts.messages_per_hour, r->accounts.messages_per_hour, "messages", false);
	cli_accounts_print_limit(r->accounts.recipients_per_hour, r->accounts.recipients_per_hour, "recipients", false);
	print_names("accounts that are no mailbox", s->accounts);
	print_names("mailboxes that are no account", s->mailboxes);
}

static int show(struct request *q, struct slice name)
{
	struct row row = {0};
	struct single s = {.q = q, .accounts = json_array(), .mailboxes = json_array()};
	enum accounts_result result = accounts_find_domain(q->accounts, name, &row.accounts);
	int status = EX_OK;

	if (result == ACCOUNTS_MISSING)
		result = ACCOUNTS_OK;
	row.conf = configured(q->conf, slice_from_cstr(row.accounts.name));
	if (!result && !row.conf && row.accounts.accounts == 0 && row.accounts.enabled &&
	    row.accounts.messages_per_hour == 0 && row.accounts.recipients_per_hour == 0)
		result = ACCOUNTS_NOT_FOUND;
	if (!result)
		result = accounts_list(q->accounts, name, note_account, &s);
	if ((result == ACCOUNTS_OK || result == ACCOUNTS_MISSING) && row.conf)
		result = note_mailboxes(&s, row.conf);
	if (result == ACCOUNTS_MISSING)
		result = ACCOUNTS_OK;
	if (result == ACCOUNTS_NOT_FOUND) {
		status = cli_fail(q->self, EX_NOHOST, "%.*s: it is no domain of the configuration, and has no accounts",
				  SLICE_ARGS(name));
	} else if (result) {
		status = cli_accounts_fail(q->self, q->accounts, name, result);
	} else if (q->json) {
		json_t *value = json_row(&row);
		json_object_set(value, "accounts_without_mailbox", s.accounts);
		json_object_set(value, "mailboxes_without_account", s.mailboxes);
		cli_json_print(value);
	} else {
		print_domain(&row, &s);
	}
	json_decref(s.accounts);
	json_decref(s.mailboxes);
	return status;
}

static int do_show(struct request *q)
{
	return show(q, slice_from_cstr(q->names[0]));
}

static int do_list(struct request *q)
{
	json_t *rows = json_array();
	int status = EX_OK;
	enum accounts_result result = accounts_list_domains(q->accounts, add_row, q);

	if (result && result != ACCOUNTS_MISSING)
		status = cli_accounts_fail(q->self, q->accounts, SLICE_NONE, result);
	else
		add_configured(q);
	for (size_t i = 0; i < q->row_count && status == EX_OK; i++) {
		if (q->json)
			json_array_append_new(rows, json_row(&q->rows[i]));
		else
			print_row(&q->rows[i]);
	}
	if (status == EX_OK && q->json)
		cli_json_print(json_incref(rows));
	else if (status == EX_OK && q->row_count == 0)
		printf("there are no domains\n");
	json_decref(rows);
	return status;
}

/* ---- changing ------------------------------------------------------------------------------------------------ */

static int do_set(struct request *q)
{
	struct slice name = slice_from_cstr(q->names[0]);
	struct account_domain now;

	if (!q->has_messages && !q->has_recipients)
		return cli_fail(q->self, EX_USAGE, "set what? See postrider domain --help");
	enum accounts_result result = accounts_find_domain(q->accounts, name, &now);
	if (!result)
		result = accounts_set_domain_limits(q->accounts, name,
						    q->has_messages ? q->messages : now.messages_per_hour,
						    q->has_recipients ? q->recipients : now.recipients_per_hour);
	if (result)
		return cli_accounts_fail(q->self, q->accounts, name, result);
	if (q->json)
		return show(q, name);
	printf("the limits are changed\n");
	return EX_OK;
}

/* All of them or none. */
static int enable_all(struct request *q, bool enabled)
{
	struct slice name = SLICE_NONE;
	enum accounts_result result = accounts_begin(q->accounts);

	for (size_t i = 0; i < q->name_count && !result; i++) {
		name = slice_from_cstr(q->names[i]);
		result = accounts_set_domain_enabled(q->accounts, name, enabled);
	}
	if (!result)
		result = accounts_commit(q->accounts);
	if (result)
		return cli_accounts_fail(q->self, q->accounts, name, result);
	if (q->json)
		cli_json_print(json_pack("{s:I}", "changed", (json_int_t)q->name_count));
	else
		printf("%zu domain%s %s\n", q->name_count, q->name_count == 1 ? "" : "s",
		       enabled ? "enabled" : "disabled: nobody of it can log in; mail for it is still taken");
	return EX_OK;
}

static int do_disable(struct request *q)
{
	return enable_all(q, false);
}

static int do_enable(struct request *q)
{
	return enable_all(q, true);
}

/* ---- arguments ----------------------------------------------------------------------------------------------- */

static const struct verb {
	const char *name;
	int (*run)(struct request *q);
	size_t min, max; /* names */
	enum cli_accounts_use use;
} verbs[] = {
	{"list", do_list, 0, 0, CLI_ACCOUNTS_READ},
	{"show", do_show, 1, 1, CLI_ACCOUNTS_READ},
	{"set", do_set, 1, 1, CLI_ACCOUNTS_ADD},
	{"disable", do_disable, 1, NAMES_MAX, CLI_ACCOUNTS_ADD},
	{"enable", do_enable, 1, NAMES_MAX, CLI_ACCOUNTS_ADD},
};
#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static const char *verb_at(size_t i)
{
	return i < VERB_COUNT ? verbs[i].name : NULL;
}

static const struct verb *find_verb(const char *word)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (strcmp(verbs[i].name, word) == 0)
			return &verbs[i];
	return NULL;
}

static bool take_word(struct request *q, const char *word)
{
	if (!q->verb) {
		const char *near = cli_nearest(word, verb_at);
		q->verb = word;
		if (find_verb(word))
			return true;
		cli_fail(q->self, EX_USAGE, "%s is nothing that can be done%s%s; see postrider domain --help", word,
			 near ? "; did you mean " : "", near ? near : "");
		return false;
	}
	if (q->name_count == NAMES_MAX) {
		cli_fail(q->self, EX_USAGE, "at most %d names at one time", NAMES_MAX);
		return false;
	}
	q->names[q->name_count++] = word;
	return true;
}

/* NULL when there is nothing to do; *status says how to end. */
static const struct verb *read_arguments(struct request *q, int argc, char **argv, int *status)
{
	struct cli_args args = {.command = q->self, .argc = argc, .argv = argv};
	int option;
	bool good = true;

	*status = EX_USAGE;
	while (good && (option = cli_next(&args)) != CLI_END) {
		switch (option) {
		case OPTION_MESSAGES:
			q->has_messages = true;
			good = cli_accounts_limit(q->self, args.value, &q->messages);
			break;
		case OPTION_RECIPIENTS:
			q->has_recipients = true;
			good = cli_accounts_limit(q->self, args.value, &q->recipients);
			break;
		case OPTION_CONF:
			q->conf_path = args.value;
			break;
		case OPTION_JSON:
			q->json = true;
			break;
		case OPTION_HELP:
			cli_help(q->self);
			*status = EX_OK;
			return NULL;
		default:
			good = option == CLI_WORD && take_word(q, args.value);
		}
	}
	if (!good)
		return NULL;
	const struct verb *verb = find_verb(q->verb ? q->verb : "list");
	if ((q->has_messages || q->has_recipients) && verb->run != do_set)
		cli_fail(q->self, EX_USAGE, "limits are for set");
	else if (q->name_count < verb->min || q->name_count > verb->max)
		cli_fail(q->self, EX_USAGE, "%s wants %s", verb->name,
			 verb->max == 0  ? "no name"
			 : verb->max > 1 ? "names of domains"
					 : "the name of one domain");
	else
		return verb;
	return NULL;
}

int cli_domain(const struct cli_command *self, int argc, char **argv)
{
	static struct request q;
	int status;

	q = (struct request){.self = self};
	const struct verb *verb = read_arguments(&q, argc, argv, &status);
	if (!verb)
		return status;
	q.conf = cli_conf(self, q.conf_path);
	if (!q.conf)
		return EX_CONFIG;
	status = cli_accounts_open(self, q.conf, verb->use, &q.accounts);
	if (status == EX_OK)
		status = verb->run(&q);
	accounts_close(q.accounts);
	heap_free(q.rows);
	conf_unref(q.conf);
	return status;
}
