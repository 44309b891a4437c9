/*
 * check_data: the part of postrider check that looks at a data directory; backup looks at its copy with it.
 */
#ifndef CLI_CHECK_DATA_H
#define CLI_CHECK_DATA_H

#include "cli/cli.h"

/* Prints what it found: problems on standard error, the sum on standard output, or one JSON object. Returns an exit
 * status of sysexits.h. With `salvage`, a damaged one is marked, for the next start of its server to salvage. */
int cli_check_directory(const struct cli_command *self, const char *directory, bool salvage, bool json);

#endif
