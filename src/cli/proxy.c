#include "cli/proxy.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#define PIECE   ((size_t)16 * 1024)
#define WAITING (2 * PIECE) /* octets of the program that wait for their turn: a typed piece may double */

/* ---- the steps --------------------------------------------------------------------------------------------- */

static void await_reply(struct proxy_step *s)
{
	s->state = PROXY_REPLY;
	s->column = 0;
}

/* "BDAT 123 LAST": false when it is no such command, whose octets the server would not read either. */
static bool is_chunk(struct slice line, uint64_t *size)
{
	struct slice rest = slice_trim(line);

	if (!slice_ieq(slice_split(&rest, ' '), SLICE("BDAT")))
		return false;
	rest = slice_trim(rest);
	return slice_u64(slice_split(&rest, ' '), UINT64_MAX, size);
}

static size_t take_command(struct proxy_step *s, struct slice in, bool whole)
{
	size_t end = slice_search(in, SLICE("\r\n"));

	if (end == in.n)
		return whole ? in.n : 0;
	struct slice line = slice_head(in, end);
	s->data = slice_ieq(slice_trim(line), SLICE("DATA"));
	await_reply(s);
	if (is_chunk(line, &s->chunk) && s->chunk > 0)
		s->state = PROXY_CHUNK;
	return end + 2;
}

static size_t take_chunk(struct proxy_step *s, struct slice in)
{
	size_t n = in.n < s->chunk ? in.n : (size_t)s->chunk;

	s->chunk -= n;
	if (s->chunk == 0)
		await_reply(s);
	return n;
}

/* The text up to CRLF.CRLF, of which the first CRLF may be that of the command. */
static size_t take_text(struct proxy_step *s, struct slice in)
{
	enum { AT_START, DOT, DOT_CR, WITHIN, CR };

	for (size_t i = 0; i < in.n; i++) {
		char c = in.p[i];
		if (c == '\n' && s->matched == DOT_CR) {
			await_reply(s);
			return i + 1;
		}
		if (c == '\r')
			s->matched = s->matched == DOT ? DOT_CR : CR;
		else if (c == '\n' && s->matched == CR)
			s->matched = AT_START;
		else
			s->matched = c == '.' && s->matched == AT_START ? DOT : WITHIN;
	}
	return in.n;
}

size_t proxy_take(struct proxy_step *s, struct slice in, bool whole)
{
	if (in.n == 0)
		return 0;
	switch (s->state) {
	case PROXY_COMMAND:
		return take_command(s, in, whole);
	case PROXY_TEXT:
		return take_text(s, in);
	case PROXY_CHUNK:
		return take_chunk(s, in);
	default:
		return 0;
	}
}

/* A whole line of a reply: the last one has no hyphen behind its code. */
static void end_reply_line(struct proxy_step *s)
{
	if (s->column == 4 && s->code[3] == '-')
		return;
	s->goodbye = slice_eq(slice_of(s->code, 3), SLICE("221"));
	if (s->state != PROXY_REPLY)
		return;
	s->state = s->data && s->code[0] == '3' ? PROXY_TEXT : PROXY_COMMAND;
	s->data = false;
	s->matched = 0;
}

void proxy_reply(struct proxy_step *s, struct slice in)
{
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\n') {
			end_reply_line(s);
			s->column = 0;
			memset(s->code, 0, sizeof s->code);
		} else if (s->column < 4) {
			s->code[s->column++] = in.p[i];
		}
	}
}

/* ---- the proxy --------------------------------------------------------------------------------------------- */

struct proxy {
	struct proxy_step step;
	int fd, in, out;
	bool typed, in_ended, said_ended, deaf, out_lost, over;
	char last;                 /* octet of the program */
	char waiting[WAITING];     /* octets of the program that are not at the server */
	size_t start, passed, end; /* those up to `passed` may go */
};

static bool write_out(int fd, struct slice s)
{
	while (s.n) {
		ssize_t n = write(fd, s.p, s.n);
		if (n < 0 && errno != EINTR)
			return false;
		s = slice_skip(s, n > 0 ? (size_t)n : 0);
	}
	return true;
}

static void from_server(struct proxy *p)
{
	char piece[PIECE];
	ssize_t n = recv(p->fd, piece, sizeof piece, 0);

	if (n <= 0) {
		p->over = n == 0 || errno != EINTR;
		return;
	}
	proxy_reply(&p->step, slice_of(piece, (size_t)n));
	p->out_lost = !write_out(p->out, slice_of(piece, (size_t)n));
	p->over = p->out_lost;
}

static void from_program(struct proxy *p)
{
	char piece[PIECE];
	size_t room = (WAITING - p->end) / 2;
	ssize_t n = read(p->in, piece, room < PIECE ? room : PIECE);

	if (n < 0 && errno == EINTR)
		return;
	p->in_ended = n <= 0;
	for (ssize_t i = 0; i < n; i++) {
		if (p->typed && piece[i] == '\n' && p->last != '\r')
			p->waiting[p->end++] = '\r';
		p->last = p->waiting[p->end++] = piece[i];
	}
}

static void to_server(struct proxy *p)
{
	ssize_t n = send(p->fd, p->waiting + p->start, p->passed - p->start, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n > 0)
		p->start += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		p->deaf = true; /* it has hung up; what it said before is still to be read */
}

static bool is_full(const struct proxy *p)
{
	return WAITING - p->end < 2;
}

/* Lets pass what may, and makes room. */
static void step(struct proxy *p)
{
	if (p->deaf)
		p->start = p->passed = p->end;
	memmove(p->waiting, p->waiting + p->start, p->end - p->start);
	p->end -= p->start;
	p->passed -= p->start;
	p->start = 0;
	for (;;) {
		struct slice rest = slice_of(p->waiting + p->passed, p->end - p->passed);
		size_t n = proxy_take(&p->step, rest, p->in_ended || (is_full(p) && p->passed == 0));
		if (n == 0)
			break;
		p->passed += n;
	}
	if (p->in_ended && p->end == 0 && !p->said_ended) {
		p->said_ended = true;
		shutdown(p->fd, SHUT_WR);
	}
}

static void turn(struct proxy *p)
{
	bool writes = p->start < p->passed;
	struct pollfd fds[2] = {
		{.fd = p->fd, .events = (short)(writes ? POLLIN | POLLOUT : POLLIN)},
		{.fd = p->in_ended || is_full(p) ? -1 : p->in, .events = POLLIN},
	};

	if (poll(fds, 2, -1) < 0) {
		p->over = errno != EINTR;
		return;
	}
	if (fds[0].revents & ~POLLOUT)
		from_server(p);
	if (fds[0].revents & POLLOUT && !p->over)
		to_server(p);
	if (fds[1].revents && !p->over)
		from_program(p);
	step(p);
}

int proxy_run(int fd, int in, int out, bool typed)
{
	static struct proxy p;

	p = (struct proxy){.fd = fd, .in = in, .out = out, .typed = typed};
	while (!p.over)
		turn(&p);
	close(fd);
	if (p.out_lost)
		return EX_IOERR;
	/* A program that has gone in the middle of nothing ended in order too. */
	bool idle = p.said_ended && p.step.state == PROXY_COMMAND;
	return p.step.goodbye || idle ? EX_OK : EX_TEMPFAIL;
}
