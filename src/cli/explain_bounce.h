/*
 * explain_bounce: postrider explain, for whole messages.
 */
#ifndef CLI_EXPLAIN_BOUNCE_H
#define CLI_EXPLAIN_BOUNCE_H

#include "cli/cli.h"

/* Whether a text is a message and not a reply or a log line: it starts with two fields or more, one of them such as
 * every header has. */
bool cli_is_message(struct slice text);

/* Says what the message is and what it says of whom. Returns an exit status. */
int cli_explain_message(const struct cli_command *self, struct slice message, struct slice our_name, bool json);

#endif
