/*
 * postrider user: who may log in.
 */
#include "cli/user.h"

#include "cli/password.h"
#include "net/host.h"

#include <string.h>
#include <sysexits.h>

const struct cli_option cli_user_options[] = {
	{"address", 'a', "ADDRESS", "add, set: it may send as this, too; a domain stands for all of its addresses"},
	{"no-address", 0, "ADDRESS", "set: it may not send as this any more"},
	{"messages-per-hour", 0, "N", "add, set: a limit of its own; \"none\", or \"default\""},
	{"recipients-per-hour", 0, "N", "add, set: the same for recipients"},
	{"disabled", 0, NULL, "add: it cannot be used before it is enabled"},
	{"domain", 'd', "DOMAIN", "list: of this domain; import: put behind names without one"},
	{"scheme", 0, "SCHEME", "import: of passwords that name none, such as PLAIN"},
	{"replace", 0, NULL, "import: accounts that are there get the password of the file"},
	{"skip", 0, NULL, "import: take the good lines, though others are wrong"},
	{"dry-run", 'n', NULL, "import: say what would be done"},
	{"conf", 'c', "FILE", "the server's configuration"},
	{"json", 0, NULL, "print JSON"},
	{"help", 'h', NULL, "this text"},
	{NULL, 0, NULL, NULL},
};
enum {
	OPTION_ADDRESS,
	OPTION_NO_ADDRESS,
	OPTION_MESSAGES,
	OPTION_RECIPIENTS,
	OPTION_DISABLED,
	OPTION_DOMAIN,
	OPTION_SCHEME,
	OPTION_REPLACE,
	OPTION_SKIP,
	OPTION_DRY_RUN,
	OPTION_CONF,
	OPTION_JSON,
	OPTION_HELP,
};

/* The account that is at work; it holds secrets, and is wiped at the end. */
static struct account account;

/* ---- finding ------------------------------------------------------------------------------------------------- */

/* EX_OK: it is in `account`. */
static int find(struct user_request *q, struct slice name)
{
	enum accounts_result result = accounts_find(q->accounts, name, &account, NULL);

	if (result == ACCOUNTS_OK && account.known)
		return EX_OK;
	if (result == ACCOUNTS_OK || result == ACCOUNTS_MISSING)
		result = ACCOUNTS_NOT_FOUND;
	return cli_accounts_fail(q->self, q->accounts, name, result);
}

static int show(struct user_request *q, struct slice name)
{
	int status = find(q, name);

	if (status == EX_OK && q->json)
		cli_json_print(user_json(q, &account));
	else if (status == EX_OK)
		user_print(q, &account);
	return status;
}

static bool list_one(void *arg, const struct account *a)
{
	struct user_request *q = arg;

	q->name_count++;
	cli_print(stdout, a->name);
	if (!a->enabled)
		printf("  (disabled%s)", a->disabled_itself ? "" : " with its domain");
	if (a->secrets.foreign)
		printf("  (imported, not used yet)");
	printf("\n");
	return true;
}

struct json_list {
	struct user_request *q;
	json_t *rows;
};

static bool list_json(void *arg, const struct account *a)
{
	struct json_list *list = arg;

	return json_array_append_new(list->rows, user_json(list->q, a)) == 0;
}

static int do_list(struct user_request *q)
{
	struct json_list list = {q, json_array()};
	struct slice domain = slice_from_cstr(q->domain);
	int status = EX_OK;

	enum accounts_result result = q->json ? accounts_list(q->accounts, domain, list_json, &list)
					      : accounts_list(q->accounts, domain, list_one, q);
	if (result != ACCOUNTS_OK && result != ACCOUNTS_MISSING)
		status = cli_accounts_fail(q->self, q->accounts, domain, result);
	else if (q->json)
		cli_json_print(json_incref(list.rows));
	else if (q->name_count == 0)
		printf("there are no accounts\n");
	json_decref(list.rows);
	return status;
}

static int do_show(struct user_request *q)
{
	return show(q, slice_from_cstr(q->names[0]));
}

/* ---- passwords ----------------------------------------------------------------------------------------------- */

/* Asks for a new password and makes its secrets. */
static int make_secrets(struct user_request *q, struct slice name, struct secrets *ret)
{
	uint8_t chance[SECRETS_CHANCE];
	struct buf password;
	const char *why;
	int status = cli_password_read(q->self, name, true, &password);

	if (status == EX_OK) {
		host_random_octets(chance, sizeof chance);
		enum secrets_result result =
			secrets_make(buf_slice(&password), q->conf->keep_cram_md5, chance, ret, &why);
		explicit_bzero(chance, sizeof chance);
		if (result != SECRETS_OK)
			status = cli_fail(q->self, result == SECRETS_MALFORMED ? EX_DATAERR : EX_OSERR,
					  "that can be no password: %s", why);
	}
	buf_wipe(&password);
	return status;
}

static int check_password(struct user_request *q, struct slice name)
{
	struct buf password;
	enum secrets_result result = SECRETS_TROUBLE;
	int status = cli_password_read(q->self, name, false, &password);

	if (status == EX_OK)
		result = secrets_verify(&account.secrets, buf_slice(&password));
	buf_wipe(&password);
	if (status != EX_OK)
		return status;
	if (result == SECRETS_TROUBLE)
		return cli_fail(q->self, EX_OSERR, "it cannot be verified here: no memory, or not by this libcrypt");
	if (result != SECRETS_OK)
		return cli_fail(q->self, EX_NOPERM, "that is another password");
	if (!account.enabled)
		return cli_fail(q->self, EX_NOPERM, "that is the password, but the account is disabled%s",
				account.disabled_itself ? "" : " with its domain");
	if (q->json)
		cli_json_print(user_json(q, &account));
	else
		printf("that is the password\n");
	return EX_OK;
}

static int do_check(struct user_request *q)
{
	struct slice name = slice_from_cstr(q->names[0]);
	int status = find(q, name);

	return status == EX_OK ? check_password(q, account.name) : status;
}

static int do_passwd(struct user_request *q)
{
	struct slice name = slice_from_cstr(q->names[0]);
	struct secrets secrets = {0};
	int status = find(q, name);

	if (status == EX_OK)
		status = make_secrets(q, account.name, &secrets);
	if (status != EX_OK)
		return status;
	enum accounts_result result = accounts_set_password(q->accounts, name, &secrets, host_wall());
	secrets_wipe(&secrets);
	if (result)
		return cli_accounts_fail(q->self, q->accounts, name, result);
	if (q->json)
		return show(q, name);
	printf("the password is changed\n");
	return EX_OK;
}

/* ---- adding and setting -------------------------------------------------------------------------------------- */

static enum accounts_result set_limits(struct user_request *q, struct slice name)
{
	if (!q->has_messages && !q->has_recipients)
		return ACCOUNTS_OK;
	enum accounts_result result = accounts_find(q->accounts, name, &account, NULL);
	if (result)
		return result;
	return accounts_set_limits(q->accounts, name, q->has_messages ? q->messages : account.own_messages_per_hour,
				   q->has_recipients ? q->recipients : account.own_recipients_per_hour);
}

/* What the options say, within a transaction. */
static int set_all(struct user_request *q, struct slice name)
{
	enum accounts_result result;

	for (size_t i = 0; i < q->add_count; i++) {
		result = accounts_add_address(q->accounts, name, q->add[i]);
		if (result && result != ACCOUNTS_EXISTS)
			return cli_accounts_fail(q->self, q->accounts, result == ACCOUNTS_NOT_FOUND ? name : q->add[i],
						 result);
	}
	for (size_t i = 0; i < q->remove_count; i++) {
		result = accounts_remove_address(q->accounts, name, q->remove[i]);
		if (result == ACCOUNTS_NOT_FOUND)
			return cli_fail(q->self, EX_DATAERR, "%.*s: it may not send as that anyway",
					SLICE_ARGS(q->remove[i]));
		if (result)
			return cli_accounts_fail(q->self, q->accounts, q->remove[i], result);
	}
	result = set_limits(q, name);
	if (!result && q->disabled)
		result = accounts_set_enabled(q->accounts, name, false);
	return result ? cli_accounts_fail(q->self, q->accounts, name, result) : EX_OK;
}

static int begin(struct user_request *q)
{
	enum accounts_result result = accounts_begin(q->accounts);

	return result ? cli_accounts_fail(q->self, q->accounts, SLICE_NONE, result) : EX_OK;
}

/* Ends the transaction: all of it if it went well so far. */
static int finish(struct user_request *q, int status)
{
	if (status == EX_OK) {
		enum accounts_result result = accounts_commit(q->accounts);
		return result ? cli_accounts_fail(q->self, q->accounts, SLICE_NONE, result) : EX_OK;
	}
	accounts_roll_back(q->accounts);
	return status;
}

/* What somebody who adds an account may not expect. */
static void note_mail(struct user_request *q)
{
	struct directory_entry entry;
	enum cli_mail mail = cli_accounts_mail(q->conf, account.name, &entry);

	if (mail == CLI_MAIL_NO_MAILBOX)
		printf("note: mail for it is refused: it is no mailbox of its domain in the configuration\n");
	else if (mail == CLI_MAIL_NO_DOMAIN)
		printf("note: mail for it does not come here: its domain is none of the configuration\n");
	else if (mail == CLI_MAIL_NO_ADDRESS && account.address_count == 0)
		printf("note: it may send as nobody; see --address\n");
}

static int do_add(struct user_request *q)
{
	struct slice name = slice_from_cstr(q->names[0]);
	struct secrets secrets = {0};
	struct buf canonical;
	const char *why;

	/* A name that cannot be added costs nobody a password. */
	buf_init(&canonical, 1024);
	bool possible = account_name_canonical(name, &canonical, &why);
	buf_free(&canonical);
	if (!possible)
		return cli_fail(q->self, EX_DATAERR, "%s: that can be no name: %s", q->names[0], why);
	enum accounts_result result = accounts_find(q->accounts, name, &account, NULL);
	if (result)
		return cli_accounts_fail(q->self, q->accounts, name, result);
	if (account.known)
		return cli_fail(q->self, EX_CANTCREAT, "%s: it is there already; see postrider user passwd",
				q->names[0]);
	int status = make_secrets(q, name, &secrets);
	if (status == EX_OK)
		status = begin(q);
	if (status != EX_OK)
		return status;
	result = accounts_add(q->accounts, name, &secrets, host_wall());
	secrets_wipe(&secrets);
	status = result ? cli_accounts_fail(q->self, q->accounts, name, result) : set_all(q, name);
	status = finish(q, status);
	if (status == EX_OK)
		status = find(q, name);
	if (status != EX_OK)
		return status;
	if (q->json) {
		cli_json_print(user_json(q, &account));
		return EX_OK;
	}
	cli_print(stdout, account.name);
	printf(" is added%s\n", q->disabled ? ", disabled" : "");
	note_mail(q);
	return EX_OK;
}

static int do_set(struct user_request *q)
{
	struct slice name = slice_from_cstr(q->names[0]);

	if (q->add_count + q->remove_count == 0 && !q->has_messages && !q->has_recipients)
		return cli_fail(q->self, EX_USAGE, "set what? See postrider user --help");
	int status = begin(q);
	if (status != EX_OK)
		return status;
	status = find(q, name);
	if (status == EX_OK)
		status = set_all(q, name);
	status = finish(q, status);
	return status == EX_OK ? show(q, name) : status;
}

/* ---- several at one time ------------------------------------------------------------------------------------- */

static enum accounts_result disable_one(struct accounts *a, struct slice name)
{
	return accounts_set_enabled(a, name, false);
}

static enum accounts_result enable_one(struct accounts *a, struct slice name)
{
	return accounts_set_enabled(a, name, true);
}

/* All of them or none. */
static int do_each(struct user_request *q, enum accounts_result (*change)(struct accounts *a, struct slice name),
		   const char *done)
{
	int status = begin(q);

	if (status != EX_OK)
		return status;
	for (size_t i = 0; i < q->name_count && status == EX_OK; i++) {
		struct slice name = slice_from_cstr(q->names[i]);
		enum accounts_result result = change(q->accounts, name);
		if (result)
			status = cli_accounts_fail(q->self, q->accounts, name, result);
	}
	status = finish(q, status);
	if (status == EX_OK && q->json)
		cli_json_print(json_pack("{s:I}", "changed", (json_int_t)q->name_count));
	else if (status == EX_OK)
		printf("%zu account%s %s\n", q->name_count, q->name_count == 1 ? "" : "s", done);
	return status;
}

static int do_disable(struct user_request *q)
{
	return do_each(q, disable_one, "disabled");
}

static int do_enable(struct user_request *q)
{
	return do_each(q, enable_one, "enabled");
}

static int do_remove(struct user_request *q)
{
	return do_each(q, accounts_remove, "removed");
}

static int do_import(struct user_request *q)
{
	return user_import(q, q->names[0]);
}

/* ---- arguments ----------------------------------------------------------------------------------------------- */

#define BIT(option) (1u << (option))
#define SETTINGS    (BIT(OPTION_ADDRESS) | BIT(OPTION_MESSAGES) | BIT(OPTION_RECIPIENTS))

static const struct verb {
	const char *name;
	int (*run)(struct user_request *q);
	size_t min, max; /* names */
	enum cli_accounts_use use;
	unsigned options; /* besides those of every verb */
} verbs[] = {
	{"list", do_list, 0, 0, CLI_ACCOUNTS_READ, BIT(OPTION_DOMAIN)},
	{"show", do_show, 1, 1, CLI_ACCOUNTS_READ, 0},
	{"check", do_check, 1, 1, CLI_ACCOUNTS_READ, 0},
	{"add", do_add, 1, 1, CLI_ACCOUNTS_ADD, SETTINGS | BIT(OPTION_DISABLED)},
	{"passwd", do_passwd, 1, 1, CLI_ACCOUNTS_CHANGE, 0},
	{"set", do_set, 1, 1, CLI_ACCOUNTS_CHANGE, SETTINGS | BIT(OPTION_NO_ADDRESS)},
	{"disable", do_disable, 1, USER_NAMES_MAX, CLI_ACCOUNTS_CHANGE, 0},
	{"enable", do_enable, 1, USER_NAMES_MAX, CLI_ACCOUNTS_CHANGE, 0},
	{"remove", do_remove, 1, USER_NAMES_MAX, CLI_ACCOUNTS_CHANGE, 0},
	{"import", do_import, 1, 1, CLI_ACCOUNTS_ADD,
	 BIT(OPTION_DOMAIN) | BIT(OPTION_SCHEME) | BIT(OPTION_REPLACE) | BIT(OPTION_SKIP) | BIT(OPTION_DRY_RUN)},
};
#define VERB_COUNT (sizeof verbs / sizeof *verbs)

static const char *verb_at(size_t i)
{
	return i < VERB_COUNT ? verbs[i].name : NULL;
}

static const struct verb *find_verb(const struct cli_command *self, const char *word)
{
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (strcmp(verbs[i].name, word) == 0)
			return &verbs[i];
	const char *near = cli_nearest(word, verb_at);
	cli_fail(self, EX_USAGE, "%s is nothing that can be done%s%s; see postrider user --help", word,
		 near ? "; did you mean " : "", near ? near : "");
	return NULL;
}

static bool take_word(struct user_request *q, const char *word)
{
	if (!q->verb) {
		const struct verb *verb = find_verb(q->self, word);
		q->verb = verb ? verb->name : NULL;
		return verb != NULL;
	}
	if (q->name_count == USER_NAMES_MAX) {
		cli_fail(q->self, EX_USAGE, "at most %d names at one time", USER_NAMES_MAX);
		return false;
	}
	q->names[q->name_count++] = word;
	return true;
}

static bool take_address(struct user_request *q, struct slice *list, size_t *count, const char *value)
{
	if (*count == ACCOUNT_ADDRESSES_MAX) {
		cli_fail(q->self, EX_USAGE, "at most %d addresses at one time", ACCOUNT_ADDRESSES_MAX);
		return false;
	}
	list[(*count)++] = slice_from_cstr(value);
	return true;
}

static bool take_option(struct user_request *q, int option, const char *value)
{
	switch (option) {
	case OPTION_ADDRESS:
		return take_address(q, q->add, &q->add_count, value);
	case OPTION_NO_ADDRESS:
		return take_address(q, q->remove, &q->remove_count, value);
	case OPTION_MESSAGES:
		q->has_messages = true;
		return cli_accounts_limit(q->self, value, &q->messages);
	case OPTION_RECIPIENTS:
		q->has_recipients = true;
		return cli_accounts_limit(q->self, value, &q->recipients);
	case OPTION_DISABLED:
		q->disabled = true;
		return true;
	case OPTION_DOMAIN:
		q->domain = value;
		return true;
	case OPTION_SCHEME:
		q->scheme = value;
		return true;
	case OPTION_REPLACE:
		q->replace = true;
		return true;
	case OPTION_SKIP:
		q->skip = true;
		return true;
	case OPTION_DRY_RUN:
		q->dry_run = true;
		return true;
	case OPTION_CONF:
		q->conf_path = value;
		return true;
	default:
		q->json = true;
		return true;
	}
}

/* NULL when there is nothing to do; *status says how to end. */
static const struct verb *read_arguments(struct user_request *q, int argc, char **argv, int *status)
{
	struct cli_args args = {.command = q->self, .argc = argc, .argv = argv};
	unsigned given = 0;
	int option;

	*status = EX_USAGE;
	while ((option = cli_next(&args)) != CLI_END) {
		if (option == OPTION_HELP) {
			cli_help(q->self);
			*status = EX_OK;
			return NULL;
		}
		if (option == CLI_BAD || (option == CLI_WORD && !take_word(q, args.value)) ||
		    (option >= 0 && !take_option(q, option, args.value)))
			return NULL;
		if (option >= 0)
			given |= BIT(option);
	}
	const struct verb *verb = q->verb ? find_verb(q->self, q->verb) : &verbs[0];
	unsigned alien = given & ~(verb->options | BIT(OPTION_CONF) | BIT(OPTION_JSON));
	for (int i = 0; alien; i++, alien >>= 1)
		if (alien & 1) {
			cli_fail(q->self, EX_USAGE, "--%s is not for %s", cli_user_options[i].name, verb->name);
			return NULL;
		}
	if (q->name_count >= verb->min && q->name_count <= verb->max)
		return verb;
	cli_fail(q->self, EX_USAGE,
		 verb->max == 0  ? "%s takes no name; see --domain"
		 : verb->max > 1 ? "%s wants names"
				 : "%s wants one name",
		 verb->name);
	return NULL;
}

int cli_user(const struct cli_command *self, int argc, char **argv)
{
	static struct user_request q;
	int status;

	q = (struct user_request){.self = self};
	const struct verb *verb = read_arguments(&q, argc, argv, &status);
	if (!verb)
		return status;
	q.conf = cli_conf(self, q.conf_path);
	if (!q.conf)
		return EX_CONFIG;
	q.verb = verb->name;
	/* What is imported may be readable by root alone, so it is opened before root is given up. */
	status = verb->run == do_import ? EX_OK : cli_accounts_open(self, q.conf, verb->use, &q.accounts);
	if (status == EX_OK)
		status = verb->run(&q);
	accounts_close(q.accounts);
	account_wipe(&account);
	conf_unref(q.conf);
	return status;
}
