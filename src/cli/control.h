/*
 * control: a tool's questions to the running server, over its control socket.
 *
 * The frames are those of role/wire.h, one question at a time. Everything that comes back is bounded and checked.
 */
#ifndef CLI_CONTROL_H
#define CLI_CONTROL_H

#include "base/buf.h"
#include "role/wire.h"

struct control {
	int fd;
	struct buf in;
	const char *path;
};

/* False with *why: static text or errno's. */
bool control_open(struct control *c, const char *path, const char **why);
void control_close(struct control *c);
bool control_ask(struct control *c, uint16_t type, struct slice payload);
/* The next frame of the answer, lent until the next call. False when the server is gone or talks nonsense. */
bool control_next(struct control *c, uint16_t *ret_type, struct slice *ret_payload);

#endif
