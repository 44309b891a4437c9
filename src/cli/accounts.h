/*
 * accounts: what the commands about users and domains share.
 */
#ifndef CLI_ACCOUNTS_H
#define CLI_ACCOUNTS_H

#include "cli/cli.h"
#include "directory/accounts.h"

enum cli_accounts_use {
	CLI_ACCOUNTS_READ,   /* nothing is written */
	CLI_ACCOUNTS_CHANGE, /* what is there */
	CLI_ACCOUNTS_ADD,    /* what is not there is made */
};
/* Opens the accounts of the configuration; root becomes the user that the data directory belongs to. EX_OK, or how to
 * end after it said what is wrong. */
int cli_accounts_open(const struct cli_command *self, const struct conf *conf, enum cli_accounts_use use,
		      struct accounts **ret);

/* The exit code for a failure. */
int cli_accounts_status(enum accounts_result result);
/* Says "NAME: what is wrong" and returns the exit code. Without a name: what the handle says. */
int cli_accounts_fail(const struct cli_command *self, const struct accounts *a, struct slice name,
		      enum accounts_result result);

/* "100", "none" (ACCOUNT_UNLIMITED), "default" (0). False after it said what is wrong. */
bool cli_accounts_limit(const struct cli_command *self, const char *text, uint32_t *ret);
void cli_accounts_print_limit(uint32_t own, uint32_t in_force, const char *what, bool of_domain);
json_t *cli_accounts_json_limit(uint32_t limit);

/* Where mail for an address goes by the configuration, in words: "the mailbox alice", or why to nobody here. */
enum cli_mail { CLI_MAIL_HERE, CLI_MAIL_ELSEWHERE, CLI_MAIL_NO_MAILBOX, CLI_MAIL_NO_DOMAIN, CLI_MAIL_NO_ADDRESS };
enum cli_mail cli_accounts_mail(const struct conf *conf, struct slice name, struct directory_entry *entry);

#endif
