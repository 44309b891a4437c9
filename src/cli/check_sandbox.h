/*
 * check_sandbox: the part of postrider check that says what each role may do, and tries what it could do.
 */
#ifndef CLI_CHECK_SANDBOX_H
#define CLI_CHECK_SANDBOX_H

#include "cli/cli.h"

/* Returns an exit status of sysexits.h: EX_OK even when the kernel lacks something, which is said. */
int cli_check_sandbox(const struct cli_command *self, const struct conf *conf, bool json);

#endif
