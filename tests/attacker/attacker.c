/*
 * attacker: a receiver in the hands of somebody else.
 *
 * It is postriderd, but for one thing: where the receiver has its sessions, this stands. Everything else is the
 * product's: the supervisor, the other roles, the lock that the receiver has put on itself. Who connects to it calls
 * the kernel from inside of the receiver's process, as somebody can who has taken it over, and finds there what that
 * process has: its descriptors, its memory.
 *
 * One line is one system call, "NAME ARGUMENT...", where an argument is a number, or m+N for the N-th octet of some
 * memory that "poke N HEX" writes and "peek N COUNT" reads. "exchange FD MS HEX" sends octets on a channel and takes
 * what comes back within so many ms, before the receiver's own code can: octets, and the descriptors that came with
 * them. The answer is a line, too: the result and errno, or octets.
 */
#include "role/receiver_private.h"

#include <errno.h>
#include <poll.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MEMORY    ((size_t)1 << 20)
#define LINE_MAX_ ((size_t)1 << 17)
#define WORDS_MAX 8

struct session {
	struct conn *conn;
	struct buf line;
};

static char memory[MEMORY];

/* ---- one line ------------------------------------------------------------------------------------------------- */

static long number_of(struct slice word)
{
	char text[64];

	snprintf(text, sizeof text, "%.*s", SLICE_ARGS(word));
	if (strncmp(text, "m+", 2) == 0)
		return (long)(intptr_t)(memory + strtoul(text + 2, NULL, 10) % MEMORY);
	return strtol(text, NULL, 10);
}

static size_t nibble(char c)
{
	return (size_t)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static void poke(size_t at, struct slice hex, char out[], size_t room)
{
	for (size_t i = 0; i + 1 < hex.n && at + i / 2 < MEMORY; i += 2)
		memory[at + i / 2] = (char)(nibble(hex.p[i]) << 4 | nibble(hex.p[i + 1]));
	snprintf(out, room, "0 0");
}

static void peek(size_t at, size_t count, char out[], size_t room)
{
	size_t n = 0;

	for (size_t i = 0; i < count && at + i < MEMORY && n + 3 < room; i++)
		n += (size_t)snprintf(out + n, room - n, "%02x", (unsigned char)memory[at + i]);
}

/* One message of the socket, and a descriptor that comes with it: then *ret_fd is not -1. */
static ssize_t receive(int from, char *into, size_t room, int *ret_fd)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {into, room};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	ssize_t n = recvmsg(from, &message, MSG_DONTWAIT);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;

	*ret_fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof *ret_fd);
	return n;
}

static void exchange(int fd, int ms, struct slice hex, char out[], size_t room)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	size_t n = 0;
	ssize_t got;
	int came, fds[8], count = 0;

	poke(0, hex, out, room);
	(void)send(fd, memory, hex.n / 2, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < MEMORY / 4 && poll(&ready, 1, count > 0 ? 0 : ms) > 0 &&
	       (got = receive(fd, memory + n, MEMORY / 4 - n, &came)) > 0) {
		n += (size_t)got;
		if (came >= 0 && count < 8)
			fds[count++] = came;
	}
	out[0] = '\0';
	peek(0, n, out, room);
	n = strlen(out);
	for (int i = 0; i < count && n + 16 < room; i++)
		n += (size_t)snprintf(out + n, room - n, " %d", fds[i]);
}

static void call(const struct slice *words, size_t count, char out[], size_t room)
{
	long a[6] = {0};
	char name[64];

	snprintf(name, sizeof name, "%.*s", SLICE_ARGS(words[0]));
	for (size_t i = 1; i < count && i <= 6; i++)
		a[i - 1] = number_of(words[i]);
	errno = 0;
	long result = syscall(seccomp_syscall_resolve_name(name), a[0], a[1], a[2], a[3], a[4], a[5]);
	snprintf(out, room, "%ld %d", result, errno);
}

static void obey(struct session *s, struct slice line)
{
	static char out[MEMORY];
	struct slice words[WORDS_MAX];
	size_t count = 0;

	for (struct slice rest = line; rest.p && count < WORDS_MAX;)
		words[count++] = slice_split(&rest, ' ');
	out[0] = '\0';
	if (count == 3 && slice_eq(words[0], SLICE("poke")))
		poke((size_t)number_of(words[1]), words[2], out, sizeof out);
	else if (count == 3 && slice_eq(words[0], SLICE("peek")))
		peek((size_t)number_of(words[1]), (size_t)number_of(words[2]), out, sizeof out);
	else if (count == 4 && slice_eq(words[0], SLICE("exchange")))
		exchange((int)number_of(words[1]), (int)number_of(words[2]), words[3], out, sizeof out);
	else if (slice_eq(words[0], SLICE("base")))
		snprintf(out, sizeof out, "%ld 0", (long)(intptr_t)memory);
	else
		call(words, count, out, sizeof out);
	conn_write(s->conn, slice_from_cstr(out));
	conn_write(s->conn, SLICE("\n"));
}

/* ---- in the place of role/session.c --------------------------------------------------------------------------- */

static size_t on_input(void *arg, struct slice in)
{
	struct session *s = arg;

	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] != '\n') {
			buf_add_char(&s->line, in.p[i]);
			continue;
		}
		obey(s, buf_slice(&s->line));
		buf_reset(&s->line);
	}
	return in.n;
}

static void on_closed(void *arg, const char *why)
{
	struct session *s = arg;

	(void)why;
	conn_close(s->conn);
	buf_free(&s->line);
	free(s);
}

void session_open(struct receiver *r, const struct conf_listener *listener, int fd, const struct net_address *from)
{
	static const struct conn_handler handler = {.input = on_input, .closed = on_closed};
	struct session *s = calloc(1, sizeof *s);

	(void)listener;
	(void)from;
	if (!s)
		abort();
	buf_init(&s->line, LINE_MAX_);
	s->conn = conn_new(r->loop, fd, &handler, s);
}

void session_answer(struct session *s, enum store_result result)
{
	(void)s;
	(void)result;
}

void session_spool(struct session *s, enum store_result result, int fd)
{
	(void)s;
	(void)result;
	if (fd >= 0)
		close(fd);
}

void session_resolved(struct session *s, enum resolver_answer answer)
{
	(void)s;
	(void)answer;
}

void session_signed(struct session *s, struct slice signature)
{
	(void)s;
	(void)signature;
}

void session_challenge(struct session *s, uint64_t serial, struct slice challenge)
{
	(void)s;
	(void)serial;
	(void)challenge;
}

void session_authenticated(struct session *s, const struct wire_auth_done *done)
{
	(void)s;
	(void)done;
}

void session_spent(struct session *s, const struct wire_auth_spent *spent)
{
	(void)s;
	(void)spent;
}

void session_auth_lost(struct session *s)
{
	(void)s;
}

void session_queue_lost(struct session *s)
{
	(void)s;
}

void session_shutdown(struct session *s)
{
	(void)s;
}

void session_abandon(struct session *s)
{
	(void)s;
}

msg_id session_waits_for_spool(const struct session *s)
{
	(void)s;
	return 0;
}
