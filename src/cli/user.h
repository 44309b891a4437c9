/*
 * user: what the files of postrider user share.
 */
#ifndef CLI_USER_H
#define CLI_USER_H

#include "cli/accounts.h"

#define USER_NAMES_MAX 1000

struct user_request {
	const struct cli_command *self;
	const char *conf_path;
	struct conf *conf;
	struct accounts *accounts;
	const char *verb; /* NULL: list */
	const char *names[USER_NAMES_MAX];
	size_t name_count;
	struct slice add[ACCOUNT_ADDRESSES_MAX], remove[ACCOUNT_ADDRESSES_MAX];
	size_t add_count, remove_count;
	bool has_messages, has_recipients;
	uint32_t messages, recipients;
	const char *domain, *scheme;
	bool json, disabled, replace, skip, dry_run;
};

/* postrider user import FILE; `file` is "-" for standard input. */
int user_import(struct user_request *q, const char *file);

/* An account, for people and for programs. */
void user_print(const struct user_request *q, const struct account *a);
json_t *user_json(const struct user_request *q, const struct account *a);

#endif
