/*
 * postriderd: the server. It is the supervisor, or, when the supervisor starts it, one of the roles.
 */
#include "role/launcher.h"
#include "role/role.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

static const char usage[] =
	"Usage: postriderd [-c FILE]\n"
	"\n"
	"Runs the mail server in the foreground until SIGTERM. SIGHUP reads the configuration again.\n"
	"\n"
	"  -c FILE     configuration; without it the embedded default runs: SMTP on 127.0.0.1 port 2525 (SMTP_PORT),\n"
	"              data below ./run (DATA_DIR), domain example.com with mailboxes alice and bob\n"
	"  --help      this text\n"
	"  --version   the version\n";

static int role_from_arguments(const char *kind, const char *index_text)
{
	uint64_t index;

	if (!slice_u64(slice_from_cstr(index_text), CONF_PROCESS_MAX, &index))
		return EX_USAGE;
	if (strcmp(kind, LAUNCHER_NAME) == 0)
		return launcher_main(3);
	for (int k = ROLE_RECEIVER; k <= ROLE_KIND_MAX; k++)
		if (strcmp(kind, role_name((enum role_kind)k)) == 0)
			return role_main((enum role_kind)k, (uint32_t)index, 3);
	return EX_USAGE;
}

int main(int argc, char **argv)
{
	/* What we write is mail: nobody else's to read. */
	umask(0077);
	if (argc == 4 && strcmp(argv[1], "--role") == 0)
		return role_from_arguments(argv[2], argv[3]);
	if (argc == 1)
		return supervisor_main(NULL);
	if (argc == 3 && strcmp(argv[1], "-c") == 0)
		return supervisor_main(argv[2]);
	if (argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		puts("postriderd " POSTRIDER_VERSION);
		return 0;
	}
	fputs(usage, stderr);
	return EX_USAGE;
}
