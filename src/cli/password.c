#include "cli/password.h"

#include "directory/secrets.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

/* One octet more than any password shows that it is too long. */
#define LINE_MAX_OCTETS (SECRETS_PASSWORD_MAX + 1)

static const int ending[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGTSTP};
#define ENDING_COUNT (sizeof ending / sizeof *ending)

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
	caught = number;
}

/* What a terminal is asked with; gone when it is answered. */
static void ask(const char *what, struct slice name)
{
	fprintf(stderr, "%s of ", what);
	cli_print(stderr, name);
	fprintf(stderr, ": ");
	fflush(stderr);
}

/* Octets up to the end of a line, which is taken off; false at the end of the input without any, or on an error or a
 * signal. What is too long is cut behind the limit. */
static bool read_line(struct buf *ret, bool *ended)
{
	char c;
	bool any = false;

	*ended = false;
	for (;;) {
		ssize_t n = read(STDIN_FILENO, &c, 1);
		if (n < 0)
			return false;
		if (n == 0)
			*ended = true;
		if (n == 0 || c == '\n')
			return any || n > 0;
		any = true;
		if (buf_len(ret) < LINE_MAX_OCTETS)
			buf_add_char(ret, c);
	}
}

/* ---- terminals ----------------------------------------------------------------------------------------------- */

/* A signal that would leave the terminal without its echo waits until it is back. */
static bool read_without_echo(struct buf *ret)
{
	struct sigaction now = {.sa_handler = on_signal}, before[ENDING_COUNT];
	struct termios shown, hidden;
	bool ended;

	if (tcgetattr(STDIN_FILENO, &shown) != 0)
		return false;
	caught = 0;
	for (size_t i = 0; i < ENDING_COUNT; i++)
		sigaction(ending[i], &now, &before[i]);
	hidden = shown;
	hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK);
	hidden.c_lflag |= ECHONL;
	bool good = tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) == 0 && read_line(ret, &ended);
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
	for (size_t i = 0; i < ENDING_COUNT; i++)
		sigaction(ending[i], &before[i], NULL);
	if (!good)
		fputc('\n', stderr);
	if (caught) {
		buf_wipe(ret);
		raise(caught);
	}
	return good && !caught;
}

static int ask_twice(const struct cli_command *self, struct slice name, bool twice, struct buf *ret)
{
	struct buf again;

	ask(twice ? "New password" : "Password", name);
	if (!read_without_echo(ret))
		return cli_fail(self, EX_NOINPUT, "no password was given");
	if (!twice)
		return EX_OK;
	bool good = secrets_buf_init(&again, LINE_MAX_OCTETS + 1);
	ask("Once more the password", name);
	good = good && read_without_echo(&again);
	bool same = good && secrets_equal(buf_slice(ret), buf_slice(&again));
	buf_wipe(&again);
	if (!good)
		return cli_fail(self, EX_NOINPUT, "no password was given");
	return same ? EX_OK : cli_fail(self, EX_DATAERR, "these are two different passwords; nothing is changed");
}

/* ---- programs ------------------------------------------------------------------------------------------------ */

static int read_only_line(const struct cli_command *self, struct buf *ret)
{
	bool ended, more;
	char c;

	if (!read_line(ret, &ended))
		return cli_fail(self, EX_NOINPUT, "standard input holds no password");
	more = !ended && read(STDIN_FILENO, &c, 1) > 0;
	return more ? cli_fail(self, EX_DATAERR, "standard input holds more than one line") : EX_OK;
}

int cli_password_read(const struct cli_command *self, struct slice name, bool twice, struct buf *ret)
{
	if (!secrets_buf_init(ret, LINE_MAX_OCTETS + 1))
		return cli_fail(self, EX_OSERR, "out of memory");
	return isatty(STDIN_FILENO) ? ask_twice(self, name, twice, ret) : read_only_line(self, ret);
}
