/*
 * bounce_private: what the files of the bounce reader share.
 */
#ifndef MAIL_BOUNCE_PRIVATE_H
#define MAIL_BOUNCE_PRIVATE_H

#include "mail/bounce.h"
#include "mail/mime.h"

/* ---- parts (bounce_parts.c) -------------------------------------------------------------------------------------- */

enum bounce_part_kind {
	BOUNCE_PART_OTHER,
	BOUNCE_PART_TEXT,
	BOUNCE_PART_HTML,
	BOUNCE_PART_STATUS,      /* message/delivery-status, message/global-delivery-status, or what looks like one */
	BOUNCE_PART_FEEDBACK,    /* message/feedback-report */
	BOUNCE_PART_DISPOSITION, /* message/disposition-notification */
	BOUNCE_PART_MESSAGE,     /* a message, whole; its parts follow with level + 1 */
	BOUNCE_PART_HEADERS,     /* a header section */
};

struct bounce_part {
	enum bounce_part_kind kind;
	unsigned level; /* messages that it stands in, the outermost not counted */
	enum mail_mime_encoding encoding;
	bool guessed;      /* its kind is told by what it holds, not by its label */
	struct slice body; /* as it stands, encoded */
};

struct bounce_reader {
	struct mail_bounce *out;
	struct arena scratch; /* gone when the message has been read */
	struct slice our_name;
	const struct smtpcodes_rules *rules;
	size_t octets;       /* of the message */
	size_t rcpt_most;    /* room in out->rcpt: no message has more recipients than octets */
	struct slice header; /* of the message */
	struct bounce_part parts[MAIL_BOUNCE_PARTS_MAX];
	size_t part_count;
	size_t text_left, fields_left, messages_left; /* octets that may still be decoded */
	struct slice original;                        /* what was returned of the original, from its header on */
	struct slice said;                            /* the text for people that was read last, up to the original */
	struct mail_bounce_rcpt reasoned[2];          /* one recipient before and after its reason was found */
	bool any_reasoned;
	bool report; /* the message is labelled multipart/report */
	bool no_memory;
};

/* Take the message apart into r->parts. */
void bounce_parts_find(struct bounce_reader *r, struct slice message);

/* The body without its transfer encoding, at most *left octets, which are taken off *left. */
struct slice bounce_part_decode(struct bounce_reader *r, const struct bounce_part *part, size_t *left);

/* The text of a part as people see it: decoded, its lines ended by LF alone, and without tags if it is HTML. */
struct slice bounce_part_text(struct bounce_reader *r, const struct bounce_part *part);

/* Split off the first line; *ret is without CR and LF. False at the end, with an empty *ret. */
bool bounce_line_next(struct slice *rest, struct slice *ret);
bool bounce_is_blank_line(struct slice line);

/* Split off the first field of a header section or block of fields; its value with folds. Lines that belong to no field
 * give an empty name, the line as value. False at the end. */
bool bounce_field_next(struct slice *rest, struct slice *name, struct slice *value);

/* The value of the first such field, trimmed; empty when there is none. */
struct slice bounce_field_find(struct slice header, struct slice name);

/* Octets of the header section that starts `message`, and in *ret_body where its body starts. */
struct slice bounce_header_split(struct slice message, struct slice *ret_body);

/* ---- values (bounce_value.c) ------------------------------------------------------------------------------------- */

/* The address that starts `in`, in brackets or bare; empty when there is none. *used: octets taken, brackets included.
 * A bare one needs a dot in its domain, and ends where no address can go on. */
struct slice bounce_address_at(struct slice in, size_t *used);

/* The address of a recipient field's value: type, brackets, comments and encodings (RFC 3464 2.1, RFC 6533 3) taken
 * off. Lent from the value, or in the scratch. */
struct slice bounce_address_of(struct bounce_reader *r, struct slice value);

/* Without "type;" in front. *ret_type may be NULL. */
struct slice bounce_untyped(struct slice value, struct slice *ret_type);

/* A copy in the result: one line, white space collapsed, controls and what is not UTF-8 made '?', at most `max`. */
struct slice bounce_clean(struct bounce_reader *r, struct slice text, size_t max);
struct slice bounce_keep(struct bounce_reader *r, struct slice text);
/* A copy in the scratch; empty when there is no memory. */
struct slice bounce_scratch(struct bounce_reader *r, struct slice text);

/* The name or address of a host that starts `in`, of an outside text; empty when there is none. */
struct slice bounce_host_at(struct slice in);

/* A subject or display name with its encoded words (RFC 2047) in UTF-8. */
struct slice bounce_decode_words(struct bounce_reader *r, struct slice value);

/* The outer part of an action's name decides: "failed", "failure", "Failed (bad mailbox)". */
enum mail_bounce_action bounce_action_of(struct slice value);

/* ---- why (bounce_reason.c) --------------------------------------------------------------------------------------- */

/* The basic code of the refusal in a text, with *ret_status the enhanced code beside it; 0: none. */
unsigned bounce_reply_find(struct slice text, struct smtpcodes_status *ret_status);

/* The host that a text names as the one that refused: what is said of a recipient, or the whole text, in which hosts
 * are named for other reasons too. */
struct slice bounce_remote_find(struct slice text, bool whole);

/* Fill in what the recipient's facts imply: reply, status, class, verdict. `text` is read when they tell nothing. */
void bounce_reason_fill(struct mail_bounce_rcpt *rcpt, struct slice text, const struct smtpcodes_rules *rules);

/* ---- the readers ------------------------------------------------------------------------------------------------- */

/*
 * Put a recipient into the result. One whose address is there already is merged with it: failed goes before delayed,
 * and that before what is no failure; facts that the first has not are taken from the second. NULL when it has no room.
 */
struct mail_bounce_rcpt *bounce_rcpt_put(struct bounce_reader *r, const struct mail_bounce_rcpt *rcpt);

/* bounce_fields.c: each reads the parts of its kind at a level, and returns whether there was one that told something.
 * Parts whose kind is guessed count only in mail that a server wrote. */
bool bounce_read_status(struct bounce_reader *r, unsigned level, bool guessed);
bool bounce_read_feedback(struct bounce_reader *r, unsigned level);
bool bounce_read_disposition(struct bounce_reader *r, unsigned level, struct slice text);
/* Recipients of delivery status fields that stand within a text. */
bool bounce_read_status_text(struct bounce_reader *r, struct slice text);

/* bounce_text.c: recipients by what the text says. Returns whether it is that of a bounce. */
bool bounce_read_text(struct bounce_reader *r, unsigned level, struct slice subject, struct slice failed_field);
/* All text for people at a level. */
struct slice bounce_all_text(struct bounce_reader *r, unsigned level);

/* ---- data, generated by scripts/gen-bounce.py ---------------------------------------------------------------------
 */

enum bounce_place {
	BOUNCE_LIST,        /* addresses start the lines behind the phrase */
	BOUNCE_LIST_TO,     /* the same, behind "To:" */
	BOUNCE_NEXT,        /* one address stands within, or right behind */
	BOUNCE_BEFORE,      /* one address stands right before */
	BOUNCE_MARK,        /* no address: tells about the whole message */
	BOUNCE_STOP,        /* a list ends */
	BOUNCE_END,         /* at the start of a line: what follows is the original */
	BOUNCE_HOST_NEXT,   /* the host that refused follows */
	BOUNCE_HOST_BEFORE, /* it stands right before */
	BOUNCE_LABEL,       /* may stand before an address of a list */
};

#define BOUNCE_FRAGMENTS_MAX 3

struct bounce_phrase {
	const char *form;
	enum bounce_place place;
	enum mail_bounce_action effect; /* MAIL_BOUNCE_NO_ACTION: as the rest of the message says */
	uint8_t address;                /* of BOUNCE_NEXT: fragments in front of the address */
	const char *domains;            /* of names without domain, separated by commas; "" */
	struct slice
		fragment[BOUNCE_FRAGMENTS_MAX]; /* in this order, close to each other; the last ones may be empty */
};

extern const struct bounce_phrase bounce_phrases[];
extern const size_t bounce_phrase_count;

enum bounce_sign {
	BOUNCE_SIGN_SERVER, /* a mail server speaks */
	BOUNCE_SIGN_REPORT, /* and it speaks of a delivery */
	BOUNCE_SIGN_REPLY,  /* somebody's program answers */
	BOUNCE_SIGN_NULL,   /* nobody is to answer: a program wrote it */
};

struct bounce_header_row {
	struct slice field; /* lower case */
	enum bounce_sign sign;
	bool at_start, at_end;
	struct slice text; /* folded; empty: the field's presence */
};

extern const struct bounce_header_row bounce_header_rows[];
extern const size_t bounce_header_row_count;

#endif
