/*
 * proxy: SMTP between a program on two descriptors and a server on a socket. For sendmail -bs.
 *
 * Octets pass as they are, but in step: programs that write a whole session at once are made to wait for the server's
 * replies, as RFC 5321 4.3.1 asks. So the proxy follows lines: commands, replies, the text after DATA, the octets after
 * BDAT; like the server it takes CRLF alone for the end of a line.
 */
#ifndef CLI_PROXY_H
#define CLI_PROXY_H

#include "base/slice.h"

/* ---- the steps, without I/O -------------------------------------------------------------------------------- */

struct proxy_step {
	enum {
		PROXY_REPLY,   /* waiting for a reply; nothing passes to the server */
		PROXY_COMMAND, /* the next line is a command */
		PROXY_TEXT,    /* a message up to its final dot */
		PROXY_CHUNK,   /* `chunk` octets */
	} state;
	bool data; /* the reply awaited is that to DATA */
	uint64_t chunk;
	uint8_t matched; /* of the end of the text */
	uint8_t column;  /* of the reply's line, as far as it matters */
	char code[4];
	bool goodbye; /* the last reply was 221 */
};

/* How many octets of `in` may go to the server now; 0: more must come first, from the program or from the server. All
 * of `in` goes out in the end: `whole` says that nothing will follow it, or that no more of it can be kept. */
size_t proxy_take(struct proxy_step *s, struct slice in, bool whole);
/* Octets that the server sent. */
void proxy_reply(struct proxy_step *s, struct slice in);

/* ---- the proxy --------------------------------------------------------------------------------------------- */

/*
 * Runs until the server closes; takes fd. The end of `in` is passed on. With `typed`, LF becomes CRLF, for people at a
 * terminal. Returns an exit status: EX_OK when the session ended in order, else EX_TEMPFAIL or EX_IOERR.
 */
int proxy_run(int fd, int in, int out, bool typed);

#endif
