#include "mail/trace.h"

#include "mail/address.h"
#include "mail/date.h"
#include "mail/field.h"

#include <assert.h>
#include <string.h>

#define WORD_MAX 300 /* octets of a word from outside */

const char *mail_received_protocol(const struct mail_received *r)
{
	/* Row: SMTP with HELO, ESMTP, LMTP, and the two with SMTPUTF8. Column: +1 with TLS, +2 with AUTH. */
	static const char *const names[5][4] = {
		{"SMTP", "SMTP", "SMTP", "SMTP"},
		{"ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA"},
		{"LMTP", "LMTPS", "LMTPA", "LMTPSA"},
		{"UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA"},
		{"UTF8LMTP", "UTF8LMTPS", "UTF8LMTPA", "UTF8LMTPSA"},
	};
	int row = r->utf8 ? (r->lmtp ? 4 : 3) : r->lmtp ? 2 : r->extended;

	return names[row][(r->tls ? 1 : 0) + (r->authenticated ? 2 : 0)];
}

static void add_word(struct mail_fold *f, struct buf *word)
{
	if (word->failed)
		f->out->failed = true;
	mail_fold_word(f, buf_slice(word));
	buf_reset(word);
}

static void add_text(struct mail_fold *f, const char *text)
{
	mail_fold_word(f, slice_from_cstr(text));
}

/*
 * A host's name, as it was given. One that is no domain and no literal is still shown, for it may explain much, but
 * with every octet that has a meaning in the field made '?'.
 */
static void host_word(struct buf *word, struct slice name, bool utf8)
{
	enum mail_domain_kind kind;

	if (name.n == 0) {
		buf_add_lit(word, "unknown");
	} else if (mail_domain_valid(name, utf8) || mail_literal_valid(name, &kind)) {
		buf_add(word, name);
	} else if (!mail_domain_valid(name, true) || !mail_domain_canonical(name, word)) {
		for (size_t i = 0; i < name.n && i < MAIL_DOMAIN_MAX; i++)
			buf_add_char(word,
				     ascii_is_alnum(name.p[i]) || memchr(".-_:[]", name.p[i], 6) ? name.p[i] : '?');
	}
}

/* "([192.0.2.1])" or "([IPv6:2001:db8::1])"; nothing when the address is none. */
static bool tcp_word(struct buf *word, struct slice peer)
{
	char text[MAIL_DOMAIN_MAX];
	struct buf literal;
	enum mail_domain_kind kind;

	if (peer.n == 0 || peer.n > 64)
		return false;
	buf_init(&literal, sizeof text);
	buf_add_char(&literal, '[');
	if (slice_find(peer, ':') < peer.n)
		buf_add_lit(&literal, "IPv6:");
	buf_add(&literal, peer);
	buf_add_char(&literal, ']');
	bool good = mail_literal_valid(buf_slice(&literal), &kind) && kind != MAIL_DOMAIN_GENERAL;
	if (good) {
		buf_add_char(word, '(');
		buf_add(word, buf_slice(&literal));
		buf_add_char(word, ')');
	}
	word->failed = word->failed || literal.failed;
	buf_free(&literal);
	return good;
}

static bool rcpt_shown(const struct mail_received *r)
{
	struct mail_address address;
	const char *why;

	return r->rcpt.n && mail_address_parse(r->rcpt, &address, &why) == MAIL_ADDRESS_OK &&
	       (r->utf8 || !address.utf8);
}

static void write_from(struct mail_fold *f, struct buf *word, const struct mail_received *r)
{
	add_text(f, "from");
	host_word(word, r->helo, r->utf8);
	add_word(f, word);
	if (tcp_word(word, r->peer))
		add_word(f, word);
}

static void write_by(struct mail_fold *f, struct buf *word, const struct mail_received *r)
{
	add_text(f, "by");
	host_word(word, r->by, r->utf8);
	add_word(f, word);
	add_text(f, "with");
	add_text(f, mail_received_protocol(r));
	if (r->id.n) {
		add_text(f, "id");
		host_word(word, r->id, false);
		add_word(f, word);
	}
}

static void write_for(struct mail_fold *f, struct buf *word, const struct mail_received *r, bool last)
{
	add_text(f, "for");
	mail_field_path(word, r->rcpt, r->utf8);
	if (last)
		buf_add_char(word, ';');
	add_word(f, word);
}

/* RFC 8314 4.3: names of ciphers and groups. */
static bool is_registered(struct slice name)
{
	if (name.n == 0 || name.n > WORD_MAX / 2 || !ascii_is_alpha(name.p[0]))
		return false;
	for (size_t i = 0; i < name.n; i++)
		if (!ascii_is_alnum(name.p[i]) && name.p[i] != '_' && name.p[i] != '-')
			return false;
	return true;
}

/* The last clause. */
static void write_tls(struct mail_fold *f, struct buf *word, const struct mail_received *r)
{
	bool group = is_registered(r->group);

	add_text(f, "tls");
	buf_add(word, r->cipher);
	if (!group)
		buf_add_char(word, ';');
	add_word(f, word);
	if (!group)
		return;
	add_text(f, "group");
	buf_add(word, r->group);
	buf_add_char(word, ';');
	add_word(f, word);
}

bool mail_received_write(const struct mail_received *r, struct buf *out)
{
	size_t before = buf_len(out);
	struct mail_fold f;
	struct buf word;

	buf_init(&word, WORD_MAX);
	mail_fold_begin(&f, out, "Received");
	write_from(&f, &word, r);
	mail_fold_break(&f);
	write_by(&f, &word, r);
	bool shown = rcpt_shown(r), tells_tls = r->tls && is_registered(r->cipher);
	if (!shown && !tells_tls)
		buf_add_char(out, ';');
	mail_fold_break(&f);
	if (shown)
		write_for(&f, &word, r, !tells_tls);
	if (tells_tls)
		write_tls(&f, &word, r);
	add_text(&f, mail_date_rfc5322(r->now).text);
	buf_free(&word);
	if (mail_fold_end(&f)) {
		assert(buf_len(out) - before <= MAIL_RECEIVED_MAX);
		return true;
	}
	buf_cut(out, before);
	return false;
}

static bool path_field(const char *name, struct slice address, struct buf *out, bool brackets)
{
	size_t before = buf_len(out);

	buf_add(out, slice_from_cstr(name));
	size_t open = buf_len(out);
	mail_field_path(out, address, true);
	if (!brackets && !out->failed) { /* the same encoder, without its brackets */
		struct slice path = slice_skip(buf_slice(out), open);
		char text[MAIL_PATH_MAX + 2];

		assert(path.n >= 2 && path.n <= sizeof text);
		memcpy(text, path.p, path.n);
		buf_cut(out, open);
		buf_add(out, slice_of(text + 1, path.n - 2));
	}
	if (buf_add_lit(out, "\r\n"))
		return true;
	buf_cut(out, before);
	return false;
}

bool mail_return_path_write(struct slice sender, struct buf *out)
{
	return path_field("Return-Path: ", sender, out, true);
}

bool mail_delivered_to_write(struct slice address, struct buf *out)
{
	return path_field("Delivered-To: ", address, out, false);
}
