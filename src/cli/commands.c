/*
 * The sub-commands of postrider: their names, their help, their functions.
 */
#include "cli/cli.h"

const struct cli_command cli_commands[] = {
	{
		.name = "queue",
		.summary = "what waits and why: list, show, retry, hold, release, remove",
		.synopsis = "[list | show ID | status | retry | hold | release | remove | bounce] [ID ...] [options]",
		.text = "Without a word it lists what is in the queue: a line for each recipient, and why it waits.\n"
			"\n"
			"  list      recipients that are not settled, oldest first; narrowed by the options\n"
			"  show ID   one message with all its recipients, settled ones too\n"
			"  status    totals, and each destination with its connections and its next attempt\n"
			"  retry     try now rather than at the next due time\n"
			"  hold      do not try until released\n"
			"  release   undo hold\n"
			"  remove    forget recipients without telling their sender\n"
			"  bounce    give up: their sender gets a report\n"
			"\n"
			"The last five want ids, filters, or --all: nothing is done to everything by accident.",
		.options = cli_queue_options,
		.run = cli_queue,
	},
	{
		.name = "trace",
		.summary = "the whole story of a message",
		.synopsis = "ID [options]",
		.text = "Tells who gave the message, every attempt to deliver it with the remote's words and\n"
			"what they mean, and what became of each recipient. The ID stands in the reply that\n"
			"accepted it, in its Received field and in each line of the log.",
		.options = cli_trace_options,
		.run = cli_trace,
	},
	{
		.name = "explain",
		.summary = "what a reply, a status code, a log line or a bounce means",
		.synopsis = "[TEXT ... | FILE ... | CODE ... | ID] [options]",
		.text = "Explains a reply of any mail server, a code such as 550 or 5.7.1, or a log line that\n"
			"holds one: what it means, by which RFC, who has to act, and whether trying again\n"
			"helps. Of a message it says whether it is a bounce, and of whom. Words are one TEXT,\n"
			"but several files or several codes are explained one by one, and so is each line of\n"
			"a log. The ID of a message here gives its story, as postrider trace does. Without\n"
			"words it reads standard input.",
		.options = cli_explain_options,
		.run = cli_explain,
	},
	{
		.name = "codes",
		.summary = "list and search the reply codes and enhanced status codes of SMTP",
		.synopsis = "[CODE | WORD ...] [options]",
		.text = "Lists the reply codes and the enhanced status codes that a standard or the wild\n"
			"knows. CODE is one of them or a part: 550, 55x, 5, 5.1.1, X.7.1, 4.2. Words are\n"
			"looked for in everything that is known of a code; all must be there. When a single\n"
			"code is left, all of it is shown.",
		.options = cli_codes_options,
		.run = cli_codes,
	},
	{
		.name = "send",
		.summary = "send a message by SMTP",
		.synopsis = "[options] [--to] ADDRESS ...",
		.text = "Sends one message to a server and tells what it said: the id of the accepted message,\n"
			"or for each refused recipient the reply and what it means. The text comes from\n"
			"--body, --file or standard input. Lines may end in LF. From, To, Date and Message-ID\n"
			"are added where they are missing. Without --server and --socket it goes to the first\n"
			"listener of the configuration.",
		.options = cli_send_options,
		.run = cli_send,
	},
	{
		.name = "check",
		.summary = "validate the configuration, or a data directory",
		.synopsis = "[FILE] [options] | --data [DIR] [options] | --sandbox [FILE]",
		.text = "Prints every error and warning of the configuration with file and line. Without FILE\n"
			"it checks the one that the server would start with: $POSTRIDER_CONF,\n"
			"/etc/postrider/postrider.conf if it is there, or the embedded default.\n"
			"\n"
			"With --data it looks at the data directory of a server that does not run: the structure\n"
			"of the database, every message, recipient and body, and the files of large bodies.\n"
			"Nothing is changed; with --salvage, a damaged one is marked for the next start.\n"
			"\n"
			"With --sandbox it shows what each role of the server may do, and tries what it could do.",
		.options = cli_check_options,
		.run = cli_check,
	},
	{
		.name = "backup",
		.summary = "copy the queue while the server runs",
		.synopsis = "DIR [options]",
		.text = "Copies the queue into the new or empty directory DIR, and looks whether the copy is\n"
			"sound. All that was accepted before the command began is in it. To restore, copy DIR to\n"
			"the data directory of a server that does not run; messages that were delivered after\n"
			"the backup are then delivered again.",
		.options = cli_backup_options,
		.run = cli_backup,
	},
	{
		.name = "user",
		.summary = "who may log in: add, passwd, set, disable, enable, remove, list, show, import",
		.synopsis = "[list | show | add | passwd | set | check | disable | enable | remove | import] [NAME ... "
			    "| FILE] "
			    "[options]",
		.text = "An account is a login name, which is best a mail address, and a password. A password is\n"
			"asked for, or is the only line of standard input. What is changed is in force at once,\n"
			"for every login from then on; no server needs to run.\n"
			"\n"
			"  list      the accounts, or those of one domain\n"
			"  show      one account: its state, what it may send as, its limits\n"
			"  add       a new account, which may send as its own name\n"
			"  passwd    a new password\n"
			"  set       what it may send as, and its limits\n"
			"  disable   it cannot log in until it is enabled\n"
			"  remove    forget it; mail that came for it stays\n"
			"  check     whether a password is the right one: 0, or 77 if not\n"
			"  import    accounts from a file in the form of passwd(5), as Dovecot and saslauthd have it",
		.options = cli_user_options,
		.run = cli_user,
	},
	{
		.name = "domain",
		.summary = "the domains of the configuration and of the accounts: list, show, set, disable, enable",
		.synopsis = "[list | show | set | disable | enable] [DOMAIN ...] [options]",
		.text = "Which domains take mail, and for whom, the configuration says. This shows them beside the\n"
			"accounts, and says what holds for all accounts of a domain. It is in force at once.\n"
			"\n"
			"  list      every domain that has mailboxes or accounts\n"
			"  show      one domain; accounts without a mailbox, and mailboxes without an account\n"
			"  set       the limits of accounts that have none of their own\n"
			"  disable   no account of the domain can log in until it is enabled",
		.options = cli_domain_options,
		.run = cli_domain,
	},
	{
		.name = "bench",
		.summary = "put load on a server, or be its sink, and measure",
		.synopsis = "[options] ADDRESS:PORT | --sink [options] ADDRESS:PORT",
		.text = "Sends messages to a server over many connections, and tells how many it took in a\n"
			"second and how long it let wait from the last octet of a message to its reply. As\n"
			"fast as the server answers, or with --rate at a pace of its own. With --sink it is\n"
			"the server, takes everything, keeps nothing, and counts. Only for servers that are\n"
			"yours: it sends real messages.",
		.options = cli_bench_options,
		.run = cli_bench,
	},
	{0},
};
