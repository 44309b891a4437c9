/*
 * compose: a message as people and scripts write it becomes one that a mail server takes.
 *
 * Lines may end in LF or CRLF; header fields that RFC 5322 3.6 asks for are added where they are missing; recipients
 * can be taken from the header. All of it is hostile input: sendmail is called with what strangers typed into web
 * forms. Time is linear in the input, memory is bounded, and what cannot be understood is an error rather than a guess.
 */
#ifndef CLI_COMPOSE_H
#define CLI_COMPOSE_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "mail/address_list.h"
#include "mail/envelope.h"

/* ---- lines ------------------------------------------------------------------------------------------------- */

/* Octets in pieces become lines that end in CRLF; a CR that no LF follows stays as it is. */
struct compose_lines {
	struct buf *out;
	bool dot_ends; /* a line of one dot is the end (sendmail without -i) */
	size_t line;   /* where the open line begins in `out` */
	bool ended;    /* the dot was seen: the rest is ignored */
};

/* False when `out` is full. */
bool compose_lines_feed(struct compose_lines *l, struct slice piece);
/* Ends the last line. */
bool compose_lines_end(struct compose_lines *l);
/* Reads until the end of the file or of the message, or until `out` is full. 0, or a positive errno value. */
int compose_read(int fd, struct compose_lines *l);

/* ---- the header section ------------------------------------------------------------------------------------ */

struct compose_field {
	struct slice name;
	struct slice value; /* behind the colon, with its folding, without the last CRLF */
	struct slice whole; /* name to last CRLF */
};

/* Takes the field at the start of *rest off, by the rule of mail/scan.h. False when none begins there. */
bool compose_field_next(struct slice *rest, struct compose_field *ret);

/* Split a message into its fields and its body; the empty line between is dropped. Without fields all is body, but for
 * a first line "From ..." as mailbox files have it, which is dropped. */
void compose_split(struct slice message, struct slice *ret_fields, struct slice *ret_body);

/* Names for field names of interest. */
enum compose_has {
	COMPOSE_FROM = 1 << 0,
	COMPOSE_TO = 1 << 1, /* To, Cc or Bcc */
	COMPOSE_SUBJECT = 1 << 2,
	COMPOSE_DATE = 1 << 3,
	COMPOSE_MESSAGE_ID = 1 << 4,
	COMPOSE_MIME = 1 << 5,
	COMPOSE_TYPE = 1 << 6,
	COMPOSE_ENCODING = 1 << 7,
	COMPOSE_BCC = 1 << 8,    /* Bcc and Resent-Bcc */
	COMPOSE_RESENT = 1 << 9, /* Resent-To, -Cc, -Bcc */
};
unsigned compose_fields_have(struct slice fields);
/* Of one name. */
unsigned compose_name(struct slice name);

struct compose {
	struct slice from;      /* address for From, when it is missing */
	struct slice full_name; /* the name before it; may be empty */
	const struct mail_rcpt *to;
	size_t to_count;      /* for To, when the message names nobody; 0: none is added */
	struct slice subject; /* added when not empty and not there */
	struct slice host;    /* for Message-ID */
	wall_ms now;
	uint64_t chance;      /* makes the Message-ID unique together with `now` */
	struct slice charset; /* of a body that needs MIME fields; empty: none are added */
	bool drop_bcc;
};

/* Append the whole header section with the empty line: what is missing, then `fields`. False when `out` is full. */
bool compose_head(const struct compose *c, struct slice fields, struct buf *out);

/* Append text that may hold UTF-8 for an unstructured field or a display name's place: words as they are while all is
 * ASCII, else encoded words (RFC 2047). Control characters become spaces. The field's name is written too. */
bool compose_text_field(struct buf *out, const char *name, struct slice text);

/* ---- addresses --------------------------------------------------------------------------------------------- */

#define COMPOSE_ADDRESS_MAX MAIL_LISTED_ADDRESS_MAX
#define COMPOSE_RCPT_MAX 100000

/* Recipients, each once. */
struct compose_rcpts {
	struct mail_rcpt *list;
	size_t count, cap;
	uint32_t *table; /* places of recipients by hash, +1; 0: free */
	size_t table_size;
	struct slice host; /* completes addresses without a domain */
	uint8_t notify;
	struct hash_key key;
	struct arena memory;
};

void compose_rcpts_init(struct compose_rcpts *r, struct slice host, struct hash_key key);
void compose_rcpts_free(struct compose_rcpts *r);
/* One address, completed with the host ("postmaster" needs none: RFC 5321 4.1.1.3). NULL, or what is wrong: static
 * text. */
const char *compose_rcpts_add(struct compose_rcpts *r, struct slice address);
/* All of an address-list. */
const char *compose_rcpts_add_list(struct compose_rcpts *r, struct slice list);
/* All of a header section: To, Cc and Bcc, or Resent-To, Resent-Cc and Resent-Bcc when one of those is there.
 * *ret_field is the field that is wrong. */
const char *compose_rcpts_add_fields(struct compose_rcpts *r, struct slice fields, struct compose_field *ret_field);

/* Exactly one address of any form, completed with the host, for the envelope's sender; appended to `out`. "<>" and ""
 * are the null reverse-path. */
const char *compose_sender(struct slice text, struct slice host, struct buf *out);
/* The address of who runs this program: user@host. */
const char *compose_user(struct slice host, struct buf *out);

#endif
