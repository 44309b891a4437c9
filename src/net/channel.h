/*
 * channel: frames between two roles over a socket pair.
 *
 * A frame is a type, a payload of at most CHANNEL_FRAME_MAX octets, and perhaps a file descriptor. What comes in is
 * checked like a stranger's: a header of another version, an unknown flag, a length over the bound or a missing
 * descriptor ends the channel, never the process. Frames are gathered and go out at the end of the turn.
 */
#ifndef NET_CHANNEL_H
#define NET_CHANNEL_H

#include "net/loop.h"

#include "base/slice.h"

#define CHANNEL_VERSION   1
#define CHANNEL_FRAME_MAX ((size_t)8 * 1024 * 1024)

struct channel;

struct channel_handler {
	/* One frame; payload is lent for the call. fd is -1, or the handler's to close. Returns false when the frame is
	 * not acceptable: the channel is then closed as broken. */
	bool (*frame)(void *arg, uint16_t type, struct slice payload, int fd);
	/* The peer is gone or misbehaved; `why` is NULL when it closed. The handler calls channel_free. */
	void (*closed)(void *arg, const char *why);
};

/* Takes the descriptor, also on failure (NULL). */
struct channel *channel_new(struct loop *l, int fd, const struct channel_handler *handler, void *arg);
/* Safe anywhere; the memory goes at the end of the turn. What was not sent is lost. NULL is fine. */
void channel_free(struct channel *ch);

/* What goes over it holds secrets: it is wiped where it waited. At the start, before anything was sent or received. */
void channel_set_secret(struct channel *ch);

/* fd is duplicated, -1 for none. False when the peer does not keep up (CHANNEL_OUTPUT_MAX) or memory is out: the frame
 * is not sent. */
bool channel_send(struct channel *ch, uint16_t type, struct slice payload, int fd);
/* Octets that wait for the peer. */
size_t channel_pending(const struct channel *ch);
/* Try to get everything out before the process ends; blocks for at most `wait`. */
void channel_flush(struct channel *ch, span_ms wait);
/* Stop and go on reading. */
void channel_pause(struct channel *ch, bool pause);

#define CHANNEL_OUTPUT_MAX ((size_t)256 * 1024 * 1024)

#endif
