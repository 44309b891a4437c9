/*
 * scan: what a message is like, found while its octets pass by.
 *
 * Fed with pieces of any size; what is found does not depend on how the message is cut. Memory is that of the struct.
 * Nothing is refused here: whoever takes a message decides what he makes of it.
 *
 * The header section (RFC 5322 2.2) is the run of fields at the start: lines "name:" with their continuation lines. It
 * ends with the first empty line, or before the first line that is no field; then the body starts with that line, and
 * MAIL_SCAN_HEADER_BROKEN is set. Lines end in CRLF alone. Every reader of messages in this layer goes by this rule.
 */
#ifndef MAIL_SCAN_H
#define MAIL_SCAN_H

#include "base/slice.h"

enum mail_scan_flag {
	MAIL_SCAN_BARE_CR = 1 << 0,
	MAIL_SCAN_BARE_LF = 1 << 1,
	MAIL_SCAN_NUL_HEADER = 1 << 2,
	MAIL_SCAN_NUL_BODY = 1 << 3,
	MAIL_SCAN_8BIT_HEADER = 1 << 4, /* octets above 127 */
	MAIL_SCAN_8BIT_BODY = 1 << 5,
	MAIL_SCAN_ENDS_CRLF = 1 << 6, /* its last octets are CRLF; also set for the empty message */
	MAIL_SCAN_HEADER_BROKEN = 1 << 7,
	MAIL_SCAN_HAS_FROM = 1 << 8,
	MAIL_SCAN_HAS_DATE = 1 << 9,
	MAIL_SCAN_HAS_MESSAGE_ID = 1 << 10,
	MAIL_SCAN_HAS_RESENT = 1 << 11, /* a field whose name begins with Resent- */
	MAIL_SCAN_TLS_OPTIONAL = 1 << 12, /* one field TLS-Required, and it says No (RFC 8689 3) */
};

#define MAIL_SCAN_NAME_MAX 16 /* octets of a field name that are looked at */

/* Where a Received field stands, when its BY clause is of interest. */
struct mail_scan_by {
	uint16_t word_n, depth;   /* octets of the word, comments inside one another */
	bool escaped;             /* the octet before was a backslash inside a comment */
	bool is_by, is_name;      /* the word is "by" so far, or the host's name */
	bool want_name, over, us; /* the word behind "by" comes; it has been seen; it was the name */
};

struct mail_scan {
	/* Found so far; final after mail_scan_end. */
	uint64_t octets;
	uint64_t header_octets; /* of the header section with its line ends; the empty line is not counted */
	uint64_t header_lines;
	uint64_t body_start;     /* offset of the first octet of the body; final once in_header is false */
	uint64_t longest_line;   /* octets with CRLF */
	uint64_t received;       /* Received fields: hops (RFC 5321 6.3) */
	uint64_t received_by_us; /* those of them that the name of mail_scan_count_by wrote */
	uint64_t delivered_to;   /* Delivered-To fields that hold the address of mail_scan_init */
	unsigned flags;          /* mail_scan_flag */
	bool in_header;

	/* The scanner's own. */
	struct slice address, by;
	struct slice match; /* what the value of the field is compared with */
	uint64_t line; /* octets of the line that is open */
	size_t matched;
	uint8_t state, name_n;
	bool cr, delivered_field, received_field, tls_field, mismatch;
	bool tls_twice; /* there may be one (RFC 8689 3): several say nothing */
	bool tls_seen;
	char name[MAIL_SCAN_NAME_MAX];
	struct mail_scan_by clause;
};

/*
 * `delivered_to` is lent until mail_scan_end; it is compared with the values of Delivered-To fields without regard to
 * case. The empty slice counts none.
 */
void mail_scan_init(struct mail_scan *s, struct slice delivered_to);
/* Before the first piece: count the Received fields whose BY clause (RFC 5321 4.4) names this host. `name` is lent
 * until mail_scan_end. */
void mail_scan_count_by(struct mail_scan *s, struct slice name);
void mail_scan_feed(struct mail_scan *s, struct slice piece);
/* The message is whole. No piece may follow. */
void mail_scan_end(struct mail_scan *s);

/* Whether c may stand in the name of a header field: '!' to '~' but ':' (RFC 5322 3.6.8). */
static inline bool mail_is_field_name(char c)
{
	return c > ' ' && c < 127 && c != ':';
}

#endif
