#include "cli/control.h"

#include "base/pack.h"
#include "net/channel.h"
#include "net/socket.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define HEADER_SIZE 8
#define READ_SIZE   ((size_t)64 * 1024)

bool control_open(struct control *c, const char *path, const char **why)
{
	*c = (struct control){.fd = socket_connect_unix(path), .path = path};
	buf_init(&c->in, CHANNEL_FRAME_MAX + READ_SIZE);
	if (c->fd >= 0)
		return true;
	*why = errno == ENOENT || errno == ECONNREFUSED ? "no server is running there" : strerror(errno);
	return false;
}

void control_close(struct control *c)
{
	if (c->fd >= 0)
		close(c->fd);
	buf_free(&c->in);
}

static bool write_all(int fd, struct slice octets)
{
	while (octets.n) {
		ssize_t n = write(fd, octets.p, octets.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		octets = slice_skip(octets, (size_t)n);
	}
	return true;
}

bool control_ask(struct control *c, uint16_t type, struct slice payload)
{
	struct buf frame;

	buf_init(&frame, CHANNEL_FRAME_MAX);
	pack_u32(&frame, (uint32_t)payload.n);
	pack_u16(&frame, type);
	pack_u8(&frame, CHANNEL_VERSION);
	pack_u8(&frame, 0);
	buf_add(&frame, payload);
	bool ok = !frame.failed && write_all(c->fd, buf_slice(&frame));
	buf_free(&frame);
	buf_reset(&c->in);
	return ok;
}

static bool read_more(struct control *c)
{
	char *into = buf_reserve(&c->in, READ_SIZE);
	ssize_t n;

	if (!into)
		return false;
	do
		n = read(c->fd, into, READ_SIZE);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	buf_wrote(&c->in, (size_t)n);
	return true;
}

bool control_next(struct control *c, uint16_t *ret_type, struct slice *ret_payload)
{
	/* The frame before this one was lent until now. */
	for (;;) {
		struct unpack u = {.in = buf_slice(&c->in)};
		uint32_t length = unpack_u32(&u);
		uint16_t type = unpack_u16(&u);
		uint8_t version = unpack_u8(&u);
		uint8_t flags = unpack_u8(&u);
		if (!u.bad && (version != CHANNEL_VERSION || flags != 0 || length > CHANNEL_FRAME_MAX))
			return false;
		if (!u.bad && u.in.n >= length) {
			*ret_type = type;
			*ret_payload = slice_head(u.in, length);
			/* Taking moves no octets: the payload stays where it is until the next reading. */
			buf_take(&c->in, HEADER_SIZE + length);
			return true;
		}
		if (!read_more(c))
			return false;
	}
}
