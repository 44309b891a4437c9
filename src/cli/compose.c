#include "cli/compose.h"

#include "base/base64.h"
#include "mail/address.h"
#include "mail/date.h"
#include "mail/field.h"
#include "mail/scan.h"

#include <errno.h>
#include <unistd.h>

/* ---- lines ------------------------------------------------------------------------------------------------- */

/* The open line has got its LF. */
static void end_line(struct compose_lines *l)
{
	struct slice line = slice_skip(buf_slice(l->out), l->line);
	bool cr = slice_ends(line, SLICE("\r"));

	if (l->dot_ends && slice_eq(slice_head(line, line.n - cr), SLICE("."))) {
		buf_cut(l->out, l->line);
		l->ended = true;
		return;
	}
	buf_add(l->out, cr ? SLICE("\n") : SLICE("\r\n"));
	l->line = buf_len(l->out);
}

bool compose_lines_feed(struct compose_lines *l, struct slice piece)
{
	while (piece.n && !l->ended && !l->out->failed) {
		size_t end = slice_find(piece, '\n');

		buf_add(l->out, slice_head(piece, end));
		if (end < piece.n)
			end_line(l);
		piece = slice_skip(piece, end + 1);
	}
	return !l->out->failed;
}

bool compose_lines_end(struct compose_lines *l)
{
	if (!l->ended && buf_len(l->out) > l->line)
		end_line(l);
	return !l->out->failed;
}

int compose_read(int fd, struct compose_lines *l)
{
	static char piece[64 * 1024];

	while (!l->ended && !l->out->failed) {
		ssize_t n = read(fd, piece, sizeof piece);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? errno : 0;
		compose_lines_feed(l, slice_of(piece, (size_t)n));
	}
	return 0;
}

/* ---- the header section ------------------------------------------------------------------------------------ */

/* Octets up to the end of the line, CRLF included. */
static size_t line_octets(struct slice s)
{
	size_t end = slice_search(s, SLICE("\r\n"));

	return end < s.n ? end + 2 : s.n;
}

bool compose_field_next(struct slice *rest, struct compose_field *ret)
{
	struct slice s = *rest;
	size_t name = 0, end;

	while (name < s.n && mail_is_field_name(s.p[name]))
		name++;
	if (name == 0 || name == s.n || s.p[name] != ':')
		return false;
	end = line_octets(s);
	while (end < s.n && (s.p[end] == ' ' || s.p[end] == '\t'))
		end += line_octets(slice_skip(s, end));
	ret->name = slice_head(s, name);
	ret->whole = slice_head(s, end);
	ret->value = slice_skip(ret->whole, name + 1);
	if (slice_ends(ret->value, SLICE("\r\n")))
		ret->value.n -= 2;
	*rest = slice_skip(s, end);
	return true;
}

void compose_split(struct slice message, struct slice *ret_fields, struct slice *ret_body)
{
	struct compose_field field;

	if (slice_starts(message, SLICE("From ")))
		message = slice_skip(message, line_octets(message));
	struct slice rest = message;
	while (compose_field_next(&rest, &field))
		;
	*ret_fields = slice_head(message, message.n - rest.n);
	*ret_body = slice_starts(rest, SLICE("\r\n")) ? slice_skip(rest, 2) : rest;
}

unsigned compose_name(struct slice name)
{
	static const struct {
		struct slice name;
		unsigned has;
	} names[] = {
		{{"From", 4}, COMPOSE_FROM},
		{{"To", 2}, COMPOSE_TO},
		{{"Cc", 2}, COMPOSE_TO},
		{{"Bcc", 3}, COMPOSE_TO | COMPOSE_BCC},
		{{"Subject", 7}, COMPOSE_SUBJECT},
		{{"Date", 4}, COMPOSE_DATE},
		{{"Message-ID", 10}, COMPOSE_MESSAGE_ID},
		{{"MIME-Version", 12}, COMPOSE_MIME},
		{{"Content-Type", 12}, COMPOSE_TYPE},
		{{"Content-Transfer-Encoding", 25}, COMPOSE_ENCODING},
		{{"Resent-To", 9}, COMPOSE_RESENT},
		{{"Resent-Cc", 9}, COMPOSE_RESENT},
		{{"Resent-Bcc", 10}, COMPOSE_RESENT | COMPOSE_BCC},
	};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (slice_ieq(name, names[i].name))
			return names[i].has;
	return 0;
}

unsigned compose_fields_have(struct slice fields)
{
	struct compose_field field;
	unsigned has = 0;

	while (compose_field_next(&fields, &field))
		has |= compose_name(field.name);
	return has;
}

/* ---- what is missing --------------------------------------------------------------------------------------- */

/* Encoded words hold whole characters (RFC 2047 5) and are 75 characters long at most. 42 octets make 68: the first one
 * fits behind "Subject:" too. */
#define ENCODED_OCTETS 42

static void put_encoded_words(struct mail_fold *fold, struct slice text)
{
	struct buf word;

	buf_init(&word, 80);
	while (text.n) {
		size_t n = text.n < ENCODED_OCTETS ? text.n : ENCODED_OCTETS;
		while (n < text.n && n > 1 && ((unsigned char)text.p[n] & 0xc0) == 0x80)
			n--;
		buf_reset(&word);
		buf_add_lit(&word, "=?utf-8?B?");
		base64_encode(slice_head(text, n), &word);
		buf_add_lit(&word, "?=");
		mail_fold_word(fold, buf_slice(&word));
		fold->out->failed = fold->out->failed || word.failed;
		text = slice_skip(text, n);
	}
	buf_free(&word);
}

/* Each word with the further spaces that stand before it. */
static void put_words(struct mail_fold *fold, struct slice text)
{
	text = slice_trim(text);
	while (text.n) {
		size_t n = 0;
		while (text.p[n] == ' ')
			n++;
		n += slice_find(slice_skip(text, n), ' ');
		mail_fold_word(fold, slice_head(text, n));
		text = slice_skip(text, n + 1);
	}
}

bool compose_text_field(struct buf *out, const char *name, struct slice text)
{
	struct mail_fold fold;
	struct buf safe;

	buf_init(&safe, 64 * 1024);
	mail_field_safe(&safe, text, 60000, true);
	mail_fold_begin(&fold, out, name);
	if (slice_is_ascii(buf_slice(&safe)))
		put_words(&fold, buf_slice(&safe));
	else
		put_encoded_words(&fold, buf_slice(&safe));
	bool good = mail_fold_end(&fold) && !safe.failed;
	buf_free(&safe);
	return good;
}

/* A display name: a quoted string, or encoded words where it is not ASCII. */
static void put_full_name(struct mail_fold *fold, struct slice name)
{
	struct buf safe, quoted;

	buf_init(&safe, 1024);
	buf_init(&quoted, 2048);
	mail_field_safe(&safe, name, 200, true);
	struct slice s = buf_slice(&safe);
	if (!slice_is_ascii(s)) {
		put_encoded_words(fold, s);
	} else if (s.n) {
		buf_add_char(&quoted, '"');
		for (size_t i = 0; i < s.n; i++) {
			if (s.p[i] == '"' || s.p[i] == '\\')
				buf_add_char(&quoted, '\\');
			buf_add_char(&quoted, s.p[i]);
		}
		buf_add_char(&quoted, '"');
		mail_fold_word(fold, buf_slice(&quoted));
	}
	buf_free(&safe);
	buf_free(&quoted);
}

static void put_mailbox(struct mail_fold *fold, struct slice address, const char *behind)
{
	struct buf word;

	buf_init(&word, COMPOSE_ADDRESS_MAX + 8);
	buf_printf(&word, "<%.*s>%s", SLICE_ARGS(address), behind);
	mail_fold_word(fold, buf_slice(&word));
	fold->out->failed = fold->out->failed || word.failed;
	buf_free(&word);
}

static void put_from(const struct compose *c, struct buf *out)
{
	struct mail_fold fold;

	mail_fold_begin(&fold, out, "From");
	if (c->full_name.n) {
		put_full_name(&fold, c->full_name);
		put_mailbox(&fold, c->from, "");
	} else {
		mail_fold_word(&fold, c->from);
	}
	mail_fold_end(&fold);
}

static void put_to(const struct compose *c, struct buf *out)
{
	struct mail_fold fold;

	mail_fold_begin(&fold, out, "To");
	for (size_t i = 0; i < c->to_count; i++)
		put_mailbox(&fold, c->to[i].address, i + 1 < c->to_count ? "," : "");
	mail_fold_end(&fold);
}

static void put_mime(const struct compose *c, unsigned has, struct buf *out)
{
	if (c->charset.n == 0 || has & COMPOSE_MIME)
		return;
	buf_add_lit(out, "MIME-Version: 1.0\r\n");
	if (!(has & COMPOSE_TYPE))
		buf_printf(out, "Content-Type: text/plain; charset=%.*s\r\n", SLICE_ARGS(c->charset));
	if (!(has & COMPOSE_ENCODING))
		buf_add_lit(out, "Content-Transfer-Encoding: 8bit\r\n");
}

static void put_fields(const struct compose *c, struct slice fields, struct buf *out)
{
	struct compose_field field;

	while (compose_field_next(&fields, &field)) {
		if (c->drop_bcc && compose_name(field.name) & COMPOSE_BCC)
			continue;
		buf_add(out, field.whole);
		if (!slice_ends(field.whole, SLICE("\r\n")))
			buf_add_lit(out, "\r\n");
	}
}

bool compose_head(const struct compose *c, struct slice fields, struct buf *out)
{
	unsigned has = compose_fields_have(fields);

	if (!(has & COMPOSE_DATE))
		buf_printf(out, "Date: %s\r\n", mail_date_rfc5322(c->now).text);
	if (!(has & COMPOSE_FROM))
		put_from(c, out);
	if (!(has & COMPOSE_TO) && c->to_count)
		put_to(c, out);
	if (!(has & COMPOSE_SUBJECT) && c->subject.n)
		compose_text_field(out, "Subject", c->subject);
	if (!(has & COMPOSE_MESSAGE_ID))
		buf_printf(out, "Message-ID: <%llx.%016llx@%.*s>\r\n", (unsigned long long)c->now,
			   (unsigned long long)c->chance, SLICE_ARGS(c->host));
	put_mime(c, has, out);
	put_fields(c, fields, out);
	buf_add_lit(out, "\r\n");
	return !out->failed;
}
