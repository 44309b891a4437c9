/*
 * password: a password from a person or from a program, never from an argument that everybody could see.
 */
#ifndef CLI_PASSWORD_H
#define CLI_PASSWORD_H

#include "cli/cli.h"

/*
 * Reads one password from standard input into `ret`, which the caller ends with buf_wipe: from a terminal without echo,
 * asked for by its name, and `twice` where it is a new one; else it is the only line there is. EX_OK, or how to end
 * after it said what is wrong.
 */
int cli_password_read(const struct cli_command *self, struct slice name, bool twice, struct buf *ret);

#endif
