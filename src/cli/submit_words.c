/*
 * Words for what a submission came to, and for what is asked of it.
 */
#include "cli/cli.h"
#include "cli/submit.h"
#include "mail/address.h"
#include "smtp/limits.h"

#include <sysexits.h>

/* ---- what it came to --------------------------------------------------------------------------------------- */

int submit_outcome_status(const struct smtp_outcome *o)
{
	struct smtpcodes_finding finding;

	if (o->verdict == SMTP_DELIVERED)
		return EX_OK;
	if (o->verdict == SMTP_DEFERRED)
		return EX_TEMPFAIL;
	smtpcodes_classify(o->code, o->status, o->text.n ? o->text.p : "", o->text.n, cli_rules(), &finding);
	switch (finding.klass) {
	case SMTPCODES_BAD_MAILBOX:
	case SMTPCODES_INACTIVE_MAILBOX:
	case SMTPCODES_MOVED:
		return EX_NOUSER;
	case SMTPCODES_BAD_DOMAIN:
		return EX_NOHOST;
	default:
		return EX_UNAVAILABLE;
	}
}

int submit_status(const struct submit_result *r)
{
	int status = EX_OK;

	for (size_t i = 0; i < r->count; i++) {
		int one = submit_outcome_status(&r->outcome[i]);
		if (status == EX_OK || (status == EX_TEMPFAIL && one != EX_OK))
			status = one;
	}
	return status;
}

void submit_print_refused(FILE *to, const struct mail_rcpt *rcpt, const struct submit_result *r)
{
	for (size_t i = 0; i < r->count; i++) {
		if (r->outcome[i].verdict == SMTP_DELIVERED)
			continue;
		fprintf(to, "<");
		cli_print(to, rcpt[i].address);
		fprintf(to, ">:\n");
		cli_explain_outcome(to, "  ", &r->outcome[i], r->server);
	}
}

/* ---- words for DSN ----------------------------------------------------------------------------------------- */

bool submit_parse_notify(const char *text, uint8_t *ret)
{
	static const struct {
		struct slice word;
		uint8_t bit;
	} words[] = {
		{{"never", 5}, MAIL_NOTIFY_NEVER},
		{{"success", 7}, MAIL_NOTIFY_SUCCESS},
		{{"failure", 7}, MAIL_NOTIFY_FAILURE},
		{{"delay", 5}, MAIL_NOTIFY_DELAY},
	};

	*ret = 0;
	for (struct slice rest = slice_from_cstr(text); rest.p;) {
		struct slice word = slice_split(&rest, ',');
		uint8_t bit = 0;
		for (size_t i = 0; i < sizeof words / sizeof *words; i++)
			if (slice_ieq(word, words[i].word))
				bit = words[i].bit;
		if (!bit)
			return false;
		*ret |= bit;
	}
	/* "never" stands alone (RFC 3461 4.1). */
	return *ret == MAIL_NOTIFY_NEVER || (*ret && !(*ret & MAIL_NOTIFY_NEVER));
}

bool submit_parse_ret(const char *text, enum mail_ret *ret)
{
	struct slice word = slice_from_cstr(text);

	*ret = slice_ieq(word, SLICE("full"))   ? MAIL_RET_FULL
	       : slice_ieq(word, SLICE("hdrs")) ? MAIL_RET_HDRS
						: MAIL_RET_NONE;
	return *ret != MAIL_RET_NONE;
}

bool submit_parse_envid(const char *text, struct buf *out)
{
	struct slice s = slice_from_cstr(text);

	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_print(s.p[i]))
			return false;
	return s.n > 0 && mail_xtext_encode(s, out) && buf_len(out) <= SMTP_ENVID_MAX;
}
