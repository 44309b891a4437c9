/*
 * postrider: one program, sub-commands in the style of git.
 */
#include "cli/cli.h"

#include <string.h>
#include <sysexits.h>

static void print_usage(FILE *to)
{
	fprintf(to, "Usage: postrider COMMAND [options]\n\nCommands:\n");
	for (size_t i = 0; cli_commands[i].name; i++)
		fprintf(to, "  %-10s %s\n", cli_commands[i].name, cli_commands[i].summary);
	fprintf(to, "  %-10s %s\n", "help", "this text, or that of a command: postrider help COMMAND");
	fprintf(to, "\npostrider COMMAND --help tells more of each. postrider --version tells the version.\n");
}

static const char *name_at(size_t i)
{
	return cli_commands[i].name;
}

static const struct cli_command *find_command(const char *name)
{
	for (size_t i = 0; cli_commands[i].name; i++)
		if (strcmp(cli_commands[i].name, name) == 0)
			return &cli_commands[i];
	const char *near = cli_nearest(name, name_at);
	cli_fail(NULL, EX_USAGE, "there is no command %s%s%s; see postrider --help", name,
		 near ? ". Did you mean " : "", near ? near : "");
	return NULL;
}

static int help(int argc, char **argv)
{
	if (argc == 0) {
		print_usage(stdout);
		return EX_OK;
	}
	const struct cli_command *command = find_command(argv[0]);
	if (!command)
		return EX_USAGE;
	cli_help(command);
	return EX_OK;
}

static int dispatch(int argc, char **argv)
{
	if (argc < 2) {
		print_usage(stderr);
		return EX_USAGE;
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help(argc - 2, argv + 2);
	if (strcmp(argv[1], "--version") == 0) {
		puts("postrider " POSTRIDER_VERSION);
		return EX_OK;
	}
	const struct cli_command *command = find_command(argv[1]);
	return command ? command->run(command, argc - 2, argv + 2) : EX_USAGE;
}

int main(int argc, char **argv)
{
	int status = dispatch(argc, argv);

	/* What could not be written was not said. */
	if (fflush(stdout) != 0 && status == EX_OK)
		return EX_IOERR;
	return status;
}
