/*
 * The header section of what users hand in (RFC 6409): who it says it is from, and what is missing in it.
 *
 * It is looked at once, when it is whole. Until then it is kept in memory, and nothing is written to a file.
 */
#include "role/session_private.h"

#include "mail/address_list.h"
#include "mail/date.h"
#include "mail/mime.h"

#include <stdio.h>
#include <string.h>

bool session_header_matters(const struct session *s)
{
	return s->user != NULL || s->listener->submission;
}

/* ---- who it is from -------------------------------------------------------------------------------------------- */

/* Every address in From and Sender has to be the user's own; of several such fields each, for readers show any. */
static bool is_about_sender(struct slice name)
{
	return slice_ieq(name, SLICE("From")) || slice_ieq(name, SLICE("Sender"));
}

static const char *check_address(void *arg, struct slice text)
{
	struct session *s = arg;
	struct mail_address address;
	const char *why;

	if (mail_address_parse(text, &address, &why) == MAIL_ADDRESS_OK && session_may_send_as(s, &address))
		return NULL;
	s->refused_n = text.n < sizeof s->refused ? text.n : sizeof s->refused;
	memcpy(s->refused, text.p, s->refused_n);
	return "not his own";
}

static bool is_own_field(struct session *s, const struct mail_header_field *field)
{
	static const char unreadable[] = "what stands";

	s->refused_n = 0;
	if (!mail_address_list(field->value, check_address, s))
		return true;
	if (s->refused_n == 0) { /* what cannot be read may be read as anybody */
		memcpy(s->refused, unreadable, sizeof unreadable - 1);
		s->refused_n = sizeof unreadable - 1;
	}
	snprintf(s->refused_field, sizeof s->refused_field, "%.*s", SLICE_ARGS(field->name));
	return false;
}

static bool is_from_user(struct session *s, struct slice header)
{
	struct mail_header_field field;

	while (s->user && mail_header_next(&header, &field))
		if (is_about_sender(field.name) && !is_own_field(s, &field))
			return false;
	return true;
}

/* ---- what is missing ------------------------------------------------------------------------------------------- */

/* RFC 6409 8.2, 8.3. */
static bool write_missing(const struct session *s, struct buf *out)
{
	unsigned flags = smtp_server_scan(s->engine)->flags;

	if (!(flags & MAIL_SCAN_HAS_DATE))
		buf_printf(out, "Date: %s\r\n", mail_date_rfc5322(loop_wall(s->receiver->loop)).text);
	if (!(flags & MAIL_SCAN_HAS_MESSAGE_ID))
		buf_printf(out, "Message-ID: <%s@%.*s>\r\n", msg_id_format(s->in.id).text,
			   SLICE_ARGS(s->conf->hostname));
	return !out->failed;
}

/* Puts it between our trace fields and the message. */
static bool add_missing(struct session *s)
{
	struct buf missing;
	bool good;

	if (!s->listener->submission)
		return true;
	buf_init(&missing, SESSION_ADDED_MAX);
	good = write_missing(s, &missing);
	size_t n = buf_len(&missing);
	char *room = good && n > 0 ? buf_reserve(&s->in.body, n) : NULL;
	if (room) {
		buf_wrote(&s->in.body, n);
		char *at = s->in.body.p + s->in.body.start + s->in.trace_n;
		memmove(at + n, at, buf_len(&s->in.body) - n - s->in.trace_n);
		memcpy(at, buf_slice(&missing).p, n);
		s->in.size += n;
	}
	buf_free(&missing);
	return good && (n == 0 || room);
}

void session_take_header(struct session *s)
{
	const struct mail_scan *scan = smtp_server_scan(s->engine);
	struct slice content = slice_skip(buf_slice(&s->in.body), s->in.trace_n);

	s->in.header_due = false;
	if (!is_from_user(s, slice_head(content, scan->header_octets)))
		s->in.fault = REPLY_DATA_NOT_OWN;
	else if (!add_missing(s))
		s->in.fault = REPLY_DATA_STORE;
}
