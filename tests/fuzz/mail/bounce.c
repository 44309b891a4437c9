/*
 * The bounce reader. Whatever comes in: what is read is well-formed; it does not depend on how lines end; what a report
 * returns of the original and what stands behind its end changes nothing of what it says; and a person's letter is no
 * bounce, whatever it quotes.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "mail/address.h"
#include "mail/bounce.h"

#define OUT_MAX   (16 << 20)
#define SMALL_MAX 4000 /* octets up to which no limit of the reader is met that counts CRs too */
#define TOKEN     "zQ9-report-7x"

static void check_address(struct slice s)
{
	struct mail_address parsed;
	const char *why;

	assert(s.n == 0 || mail_address_parse(s, &parsed, &why) == MAIL_ADDRESS_OK);
}

/* One line of UTF-8 that can be shown. */
static void check_text(struct slice s, size_t max)
{
	assert(s.n <= max);
	assert(slice_is_utf8(s));
	for (size_t i = 0; i < s.n; i++)
		assert((unsigned char)s.p[i] >= 0x20 && s.p[i] != 0x7f);
}

static void check_rcpt(const struct mail_bounce *b, const struct mail_bounce_rcpt *rcpt)
{
	check_address(rcpt->address);
	check_address(rcpt->final);
	check_text(rcpt->diagnostic, MAIL_BOUNCE_DIAGNOSTIC_MAX);
	check_text(rcpt->remote, MAIL_DOMAIN_MAX);
	assert(rcpt->klass < SMTPCODES_CLASSES);
	assert(rcpt->reply == 0 || (rcpt->reply >= 200 && rcpt->reply <= 599));
	assert(rcpt->verdict == SMTPCODES_PERMANENT || rcpt->verdict == SMTPCODES_TEMPORARY ||
	       rcpt->verdict == SMTPCODES_UNKNOWN);
	assert((rcpt->action == MAIL_BOUNCE_FAILED) <= (rcpt->verdict == SMTPCODES_PERMANENT));
	assert((rcpt->action == MAIL_BOUNCE_DELAYED) <= (rcpt->verdict == SMTPCODES_TEMPORARY));
	assert(b->kind == MAIL_BOUNCE_BOUNCE || rcpt->verdict == SMTPCODES_UNKNOWN);
	for (const struct mail_bounce_rcpt *other = b->rcpt; other < rcpt; other++)
		assert(rcpt->address.n == 0 || !slice_ieq(rcpt->address, other->address));
}

static void describe(const struct mail_bounce *b, struct buf *out)
{
	const struct slice facts[] = {b->message_id, b->own_id, b->envelope_id, b->reporter, b->feedback_type};

	buf_printf(out, "%d %s %d\n", b->kind, b->form ? b->form : "-", b->more);
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
		check_text(facts[i], 310);
		buf_add(out, facts[i]);
		buf_add_char(out, '\n');
	}
	for (size_t i = 0; i < b->rcpt_count; i++) {
		const struct mail_bounce_rcpt *rcpt = &b->rcpt[i];

		check_rcpt(b, rcpt);
		buf_add(out, rcpt->address);
		buf_add_char(out, '|');
		buf_add(out, rcpt->final);
		buf_printf(out, "|%d %d.%d.%d %u %d %d|", rcpt->action, rcpt->status.klass, rcpt->status.subject,
			   rcpt->status.detail, rcpt->reply, rcpt->klass, rcpt->verdict);
		buf_add(out, rcpt->diagnostic);
		buf_add_char(out, '|');
		buf_add(out, rcpt->remote);
		buf_add_char(out, '\n');
	}
}

static const struct mail_bounce_config us = {.our_name = {"mail.example.com", 16}};

/* Reads a copy that ends where it ends; the copy is gone when the result is looked at. */
static void read_copy(struct slice message, struct mail_bounce *ret)
{
	char *copy = malloc(message.n ? message.n : 1);

	if (message.n)
		memcpy(copy, message.p, message.n);
	assert(mail_bounce_read(slice_of(copy, message.n), &us, ret));
	free(copy);
}

static void described(struct slice message, struct buf *out)
{
	struct mail_bounce b;

	read_copy(message, &b);
	describe(&b, out);
	mail_bounce_free(&b);
}

static void line_ends_do_not_matter(struct slice message)
{
	struct buf crlf, a, b;

	buf_init(&crlf, OUT_MAX);
	buf_init(&a, OUT_MAX);
	buf_init(&b, OUT_MAX);
	for (size_t i = 0; i < message.n; i++) {
		if (message.p[i] == '\n')
			buf_add_char(&crlf, '\r');
		buf_add_char(&crlf, message.p[i]);
	}
	described(message, &a);
	described(buf_slice(&crlf), &b);
	assert(slice_eq(buf_slice(&a), buf_slice(&b)));
	buf_free(&crlf);
	buf_free(&a);
	buf_free(&b);
}

static void what_is_returned_changes_nothing(struct slice data)
{
	struct mail_bounce b;
	struct buf message;

	if (slice_search(data, SLICE(TOKEN)) < data.n)
		return;
	buf_init(&message, OUT_MAX);
	buf_add_lit(&message,
		    "From: mailer-daemon@example.net\r\nContent-Type: multipart/report; boundary=" TOKEN
		    "\r\n\r\n--" TOKEN
		    "\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; a.example\r\n\r\n"
		    "Final-Recipient: rfc822; bob@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n--" TOKEN
		    "\r\nContent-Type: message/rfc822\r\n\r\n");
	buf_add(&message, data);
	buf_add_lit(&message, "\r\n--" TOKEN "--\r\n");
	buf_add(&message, data);
	read_copy(buf_slice(&message), &b);
	assert(b.kind == MAIL_BOUNCE_BOUNCE && b.rcpt_count == 1 && !b.more);
	assert(slice_eq(b.rcpt[0].address, SLICE("bob@example.net")));
	assert(b.rcpt[0].action == MAIL_BOUNCE_FAILED && b.rcpt[0].klass == SMTPCODES_BAD_MAILBOX);
	assert(b.rcpt[0].final.n == 0 && b.rcpt[0].diagnostic.n == 0 && b.rcpt[0].remote.n == 0 &&
	       b.rcpt[0].reply == 0);
	mail_bounce_free(&b);
	buf_free(&message);
}

static void letters_are_no_bounces(struct slice data)
{
	struct mail_bounce b;
	struct buf message;

	buf_init(&message, OUT_MAX);
	buf_add_lit(&message,
		    "From: Bob <bob@example.net>\r\nTo: alice@example.com\r\nSubject: Re: undeliverable\r\n\r\n");
	buf_add(&message, data);
	read_copy(buf_slice(&message), &b);
	assert(b.kind == MAIL_BOUNCE_OTHER && b.rcpt_count == 0);
	mail_bounce_free(&b);
	buf_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_of(data, size);
	struct buf out;

	buf_init(&out, OUT_MAX);
	described(in, &out);
	buf_free(&out);
	if (slice_find(in, '\r') == in.n && size <= SMALL_MAX)
		line_ends_do_not_matter(in);
	what_is_returned_changes_nothing(in);
	letters_are_no_bounces(in);
	return 0;
}
