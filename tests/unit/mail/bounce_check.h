/*
 * bounce_check: what the tests of the bounce reader share: a message as a C string, and what is read as one line.
 */
#ifndef BOUNCE_CHECK_H
#define BOUNCE_CHECK_H

#include "test.h"

#include "base/buf.h"
#include "mail/bounce.h"

#define ROWS(table) (sizeof(table) / sizeof *(table))

struct bounce_sample {
	const char *name, *message;
	/* Kind; then for each recipient "; address action status reply remote class verdict", "-" for what is absent.
	 */
	const char *expected;
};

static inline void check_word(struct buf *out, struct slice s)
{
	buf_add_char(out, ' ');
	buf_add(out, s.n ? s : SLICE("-"));
}

static inline void check_describe(const struct mail_bounce *b, struct buf *out)
{
	buf_add(out, slice_from_cstr(mail_bounce_kind_name(b->kind)));
	for (size_t i = 0; i < b->rcpt_count; i++) {
		const struct mail_bounce_rcpt *rcpt = &b->rcpt[i];
		char status[10];

		smtpcodes_status_format(rcpt->status, status);
		buf_add_char(out, ';');
		check_word(out, rcpt->address);
		check_word(out, slice_from_cstr(mail_bounce_action_name(rcpt->action)));
		check_word(out, slice_from_cstr(status));
		buf_printf(out, rcpt->reply ? " %u" : " -", rcpt->reply);
		check_word(out, rcpt->remote);
		buf_printf(out, " %s %s", smtpcodes_class(rcpt->klass)->name, smtpcodes_verdict_name(rcpt->verdict));
	}
}

/* The message with CRLF, in a block that ends where it ends. */
static inline char *check_crlf(struct slice in, size_t *ret_n)
{
	char *out = malloc(2 * in.n + 1);

	*ret_n = 0;
	for (size_t i = 0; i < in.n; i++) {
		if (in.p[i] == '\n')
			out[(*ret_n)++] = '\r';
		out[(*ret_n)++] = in.p[i];
	}
	return realloc(out, *ret_n ? *ret_n : 1);
}

static inline size_t check_one(const struct bounce_sample *sample, struct slice message)
{
	char *exact = test_exact_copy(message);
	struct mail_bounce b;
	struct buf got;

	buf_init(&got, 1 << 20);
	assert_true(mail_bounce_read(slice_of(exact, message.n), NULL, &b));
	free(exact); /* nothing of it may be needed any more */
	check_describe(&b, &got);
	size_t wrong = strcmp(buf_cstr(&got), sample->expected) != 0;
	if (wrong)
		print_error("%s: read\n%s\nexpected\n%s\n", sample->name, buf_cstr(&got), sample->expected);
	mail_bounce_free(&b);
	buf_free(&got);
	return wrong;
}

/* With LF and with CRLF. */
static inline void check_samples(const struct bounce_sample *sample, size_t count)
{
	size_t wrong = 0;

	for (size_t i = 0; i < count; i++) {
		struct slice lf = slice_from_cstr(sample[i].message);
		size_t n;
		char *crlf = check_crlf(lf, &n);

		wrong += check_one(&sample[i], lf);
		wrong += check_one(&sample[i], slice_of(crlf, n));
		free(crlf);
	}
	assert_int_equal(wrong, 0);
}

#endif
