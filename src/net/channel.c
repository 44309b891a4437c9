#include "net/channel.h"

#include "base/buf.h"
#include "base/heap.h"
#include "base/pack.h"
#include "net/loop_private.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/event.h>

/*
 * The header: length of the payload (32), type (16), version (8), flags (8).
 * A descriptor travels with the first octet of its frame's header.
 */
#define HEADER_SIZE 8
#define FLAG_FD     1
#define FDS_MAX     64 /* received and not yet claimed by a frame */
#define READ_SIZE   ((size_t)256 * 1024)

struct outgoing_fd {
	TAILQ_ENTRY(outgoing_fd) link;
	int fd;
	uint64_t at; /* position in the stream of its frame's first octet */
};

struct channel {
	struct loop_dirty dirty; /* first: flush casts back */
	struct loop *loop;
	int fd;
	struct event *readable, *writable;
	struct channel_handler handler;
	void *arg;
	struct buf in, out;
	uint64_t sent; /* octets of the stream that went out */
	TAILQ_HEAD(, outgoing_fd) out_fds;
	int fds[FDS_MAX]; /* received, in order */
	size_t fd_count;
	bool waits, paused, reported, closing;
};

static void channel_destroy(struct channel *ch)
{
	struct outgoing_fd *o;

	loop_unmark_dirty(ch->loop, &ch->dirty);
	if (ch->readable)
		event_free(ch->readable);
	if (ch->writable)
		event_free(ch->writable);
	close(ch->fd);
	while ((o = TAILQ_FIRST(&ch->out_fds))) {
		TAILQ_REMOVE(&ch->out_fds, o, link);
		close(o->fd);
		heap_free(o);
	}
	for (size_t i = 0; i < ch->fd_count; i++)
		close(ch->fds[i]);
	buf_free(&ch->in);
	buf_free(&ch->out);
	heap_free(ch);
}

void channel_free(struct channel *ch)
{
	if (!ch || ch->closing)
		return;
	ch->closing = true;
	event_del(ch->readable);
	event_del(ch->writable);
	loop_mark_dirty(ch->loop, &ch->dirty);
}

static void report_closed(struct channel *ch, const char *why)
{
	if (ch->reported || ch->closing)
		return;
	ch->reported = true;
	event_del(ch->readable);
	event_del(ch->writable);
	ch->handler.closed(ch->arg, why);
}

static int take_fd(struct channel *ch)
{
	assert(ch->fd_count > 0);
	int fd = ch->fds[0];

	ch->fd_count--;
	memmove(ch->fds, ch->fds + 1, ch->fd_count * sizeof ch->fds[0]);
	return fd;
}

/* Handles the frame at the start of the input. False when it is not whole, or the channel is over. */
static bool next_frame(struct channel *ch)
{
	struct unpack u = {.in = buf_slice(&ch->in)};

	if (u.in.n < HEADER_SIZE)
		return false;
	uint32_t length = unpack_u32(&u);
	uint16_t type = unpack_u16(&u);
	uint8_t version = unpack_u8(&u);
	uint8_t flags = unpack_u8(&u);
	if (version != CHANNEL_VERSION || (flags & ~FLAG_FD) || length > CHANNEL_FRAME_MAX) {
		report_closed(ch, "malformed frame");
		return false;
	}
	if (u.in.n < length)
		return false;
	if ((flags & FLAG_FD) && ch->fd_count == 0) {
		report_closed(ch, "frame without its descriptor");
		return false;
	}
	int fd = flags & FLAG_FD ? take_fd(ch) : -1;
	if (!ch->handler.frame(ch->arg, type, slice_head(u.in, length), fd)) {
		report_closed(ch, "unacceptable frame");
		return false;
	}
	if (ch->closing)
		return false;
	buf_take(&ch->in, HEADER_SIZE + length);
	return !ch->paused;
}

static void keep_fds(struct channel *ch, struct msghdr *message)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (ch->fd_count < FDS_MAX)
				ch->fds[ch->fd_count++] = fd;
			else
				close(fd);
		}
	}
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *ch = arg;
	char control[CMSG_SPACE(8 * sizeof(int))];
	struct iovec part = {.iov_base = loop_shared_buffer(ch->loop), .iov_len = READ_SIZE};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};

	(void)what;
	if (ch->closing || ch->reported)
		return;
	ssize_t n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n < 0) {
		if (errno != EAGAIN && errno != EINTR)
			report_closed(ch, strerror(errno));
		return;
	}
	keep_fds(ch, &message);
	if (n == 0) {
		report_closed(ch, NULL);
		return;
	}
	bool kept = buf_add(&ch->in, slice_of(part.iov_base, (size_t)n));
	if (ch->in.secret)
		explicit_bzero(part.iov_base, (size_t)n);
	if (!kept) {
		report_closed(ch, "out of memory");
		return;
	}
	while (next_frame(ch))
		;
}

/* Sends up to where the next descriptor begins; then that descriptor with the octets behind it. */
static ssize_t send_some(struct channel *ch)
{
	struct slice out = buf_slice(&ch->out);
	struct outgoing_fd *o = TAILQ_FIRST(&ch->out_fds);
	struct outgoing_fd *next = o;
	char control[CMSG_SPACE(sizeof(int))] = {0};
	struct msghdr message = {0};
	bool with_fd = o && o->at == ch->sent;

	if (with_fd) {
		message.msg_control = control;
		message.msg_controllen = sizeof control;
		struct cmsghdr *c = CMSG_FIRSTHDR(&message);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &o->fd, sizeof(int));
		next = TAILQ_NEXT(o, link);
	}
	if (next && next->at - ch->sent < out.n)
		out.n = (size_t)(next->at - ch->sent);
	struct iovec part = {.iov_base = buf_slice(&ch->out).n ? ch->out.p + ch->out.start : NULL, .iov_len = out.n};
	message.msg_iov = &part;
	message.msg_iovlen = 1;

	ssize_t n = sendmsg(ch->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0) {
		ch->sent += (uint64_t)n;
		buf_take(&ch->out, (size_t)n);
		if (with_fd) {
			TAILQ_REMOVE(&ch->out_fds, o, link);
			close(o->fd);
			heap_free(o);
		}
	}
	return n;
}

static void flush(struct loop_dirty *d)
{
	struct channel *ch = (struct channel *)d;

	if (ch->closing) {
		channel_destroy(ch);
		return;
	}
	while (!ch->waits && !ch->reported && buf_len(&ch->out) > 0) {
		if (send_some(ch) > 0 || errno == EINTR)
			continue;
		if (errno != EAGAIN) {
			report_closed(ch, strerror(errno));
			return;
		}
		ch->waits = true;
		event_add(ch->writable, NULL);
	}
	if (buf_len(&ch->out) == 0 && ch->out.cap > READ_SIZE)
		buf_free(&ch->out);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct channel *ch = arg;

	(void)fd;
	(void)what;
	ch->waits = false;
	loop_mark_dirty(ch->loop, &ch->dirty);
}

struct channel *channel_new(struct loop *l, int fd, const struct channel_handler *handler, void *arg)
{
	struct channel *ch = heap_new(struct channel);

	if (!ch) {
		close(fd);
		return NULL;
	}
	*ch = (struct channel){.dirty = {.flush = flush}, .loop = l, .fd = fd, .handler = *handler, .arg = arg};
	TAILQ_INIT(&ch->out_fds);
	buf_init(&ch->in, CHANNEL_FRAME_MAX + HEADER_SIZE + READ_SIZE);
	buf_init(&ch->out, CHANNEL_OUTPUT_MAX);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	ch->readable = event_new(loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, ch);
	ch->writable = event_new(loop_base(l), fd, EV_WRITE, on_writable, ch);
	if (!ch->readable || !ch->writable || event_add(ch->readable, NULL) < 0) {
		channel_destroy(ch);
		return NULL;
	}
	return ch;
}

void channel_set_secret(struct channel *ch)
{
	assert(buf_len(&ch->in) == 0 && buf_len(&ch->out) == 0);
	buf_init_secret(&ch->in, ch->in.max);
	buf_init_secret(&ch->out, ch->out.max);
}

static bool attach_fd(struct channel *ch, int fd)
{
	struct outgoing_fd *o = heap_new(struct outgoing_fd);

	if (!o)
		return false;
	o->at = ch->sent + buf_len(&ch->out);
	o->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (o->fd < 0) {
		heap_free(o);
		return false;
	}
	TAILQ_INSERT_TAIL(&ch->out_fds, o, link);
	return true;
}

bool channel_send(struct channel *ch, uint16_t type, struct slice payload, int fd)
{
	assert(payload.n <= CHANNEL_FRAME_MAX);
	if (ch->closing || ch->reported || buf_room(&ch->out) < HEADER_SIZE + payload.n)
		return false;
	char *reserved = buf_reserve(&ch->out, HEADER_SIZE + payload.n);
	if (!reserved || (fd >= 0 && !attach_fd(ch, fd))) {
		ch->out.failed = false;
		return false;
	}
	pack_u32(&ch->out, (uint32_t)payload.n);
	pack_u16(&ch->out, type);
	pack_u8(&ch->out, CHANNEL_VERSION);
	pack_u8(&ch->out, fd >= 0 ? FLAG_FD : 0);
	buf_add(&ch->out, payload);
	loop_mark_dirty(ch->loop, &ch->dirty);
	return true;
}

size_t channel_pending(const struct channel *ch)
{
	return buf_len(&ch->out);
}

void channel_flush(struct channel *ch, span_ms wait)
{
	struct pollfd p = {.fd = ch->fd, .events = POLLOUT};

	while (!ch->closing && !ch->reported && buf_len(&ch->out) > 0) {
		if (send_some(ch) > 0 || errno == EINTR)
			continue;
		if (errno != EAGAIN || poll(&p, 1, (int)wait) <= 0)
			return;
	}
}

void channel_pause(struct channel *ch, bool pause)
{
	if (ch->paused == pause || ch->closing || ch->reported)
		return;
	ch->paused = pause;
	if (pause) {
		event_del(ch->readable);
		return;
	}
	event_add(ch->readable, NULL);
	while (next_frame(ch))
		;
}
