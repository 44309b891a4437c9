/*
 * submit: one message to one server, by the client engine in a simple blocking loop. For postrider send and sendmail.
 *
 * Every recipient gets exactly one outcome, whatever the server does. Those that it sends away with "too many
 * recipients" follow in another transaction (RFC 5321 4.5.3.1.10).
 */
#ifndef CLI_SUBMIT_H
#define CLI_SUBMIT_H

#include "base/arena.h"
#include "mail/envelope.h"
#include "smtp/client.h"

#include <stdio.h>

#define SUBMIT_MESSAGE_MAX ((size_t)512 << 20) /* octets of a message that the tools handle */

struct conf;

/* Where to: a TCP server or a unix socket. */
struct submit_server {
	struct slice host; /* name or address; empty for a unix socket */
	uint16_t port;
	const char *path; /* of a unix socket */
	span_ms patience; /* with each address of the host */
};

/* "name:port", "192.0.2.1:25", "[2001:db8::1]:25", "unix:/path". The host is lent from `text`, which ends with a NUL.
 * False with *why: static text. */
bool submit_server_parse(const char *text, struct submit_server *ret, const char **why);
/* The first TCP listener; false when the configuration has none. Lent from it. */
bool submit_server_of_conf(const struct conf *conf, struct submit_server *ret, bool *ret_lmtp);

/* A connection; -1 when there is none: *status is the exit status and `why` tells the reason. */
int submit_connect(const struct submit_server *server, struct buf *why, int *status);

struct submit_message {
	const struct smtp_client_config *config;
	const struct mail_envelope *envelope;
	struct slice head, body; /* one behind the other they are the message, in CRLF lines */
	size_t at_once;          /* recipients of one transaction; the others follow in further ones */
	FILE *show;              /* the dialogue goes there; NULL: nowhere */
};

struct submit_result {
	struct smtp_outcome *outcome; /* for each recipient of the envelope */
	size_t count;
	struct slice server; /* its own name for itself; empty when it did not say */
	struct arena memory; /* of the texts */
};

/*
 * Sends, and closes fd; `server` is where further transactions are asked of. False without memory for the result.
 * submit_result_free gives it back, after failure too.
 */
bool submit(const struct submit_server *server, int fd, const struct submit_message *message,
	    struct submit_result *ret);
void submit_result_free(struct submit_result *r);

/* The exit status that an outcome asks for: EX_OK, EX_TEMPFAIL, EX_NOUSER, EX_NOHOST, EX_UNAVAILABLE. */
int submit_outcome_status(const struct smtp_outcome *outcome);
/* Of a whole result: that of the first recipient who failed for good, else that of the first who failed for now. */
int submit_status(const struct submit_result *r);

/* What became of those who did not get it, with the reply and what it means. */
void submit_print_refused(FILE *to, const struct mail_rcpt *rcpt, const struct submit_result *r);

/* Words for DSN: "success,failure,delay" or "never"; "full" or "hdrs". */
bool submit_parse_notify(const char *text, uint8_t *ret);
bool submit_parse_ret(const char *text, enum mail_ret *ret);
/* Any text up to the limit of an ENVID as xtext; false when it is too long, empty, or holds control characters. */
bool submit_parse_envid(const char *text, struct buf *out);

#endif
