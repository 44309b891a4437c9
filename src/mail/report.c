#include "mail/report.h"

#include "mail/address.h"
#include "mail/date.h"
#include "mail/field.h"
#include "mail/scan.h"
#include "mail/seven.h"
#include "mail/unitext.h"

#include <assert.h>
#include <string.h>

#define TEXT_COLUMNS    72  /* of the words for people */
#define WORD_OCTETS_MAX 400 /* a longer word is cut in two */
#define ADDRESS_MAX     900 /* octets of an address in any of its forms, on one line */
#define DIAGNOSTIC_MAX  1000
#define EXPLANATION_MAX 2000
#define HOST_MAX        255

struct action_row {
	const char *name; /* RFC 3464 2.3.3 */
	struct smtpcodes_status fallback;
	const char *one, *many; /* "Your message ..." */
	const char *advice;
};

/* clang-format off */
static const struct action_row actions[] = {
	[MAIL_REPORT_FAILED] = {
		.name = "failed",
		.fallback = {5, 0, 0},
		.one = "could not be delivered to this recipient",
		.many = "could not be delivered to these recipients",
		.advice = "Check the address for mistakes, or reach the recipient in another way. "
			  "The message is not tried again.",
	},
	[MAIL_REPORT_DELAYED] = {
		.name = "delayed",
		.fallback = {4, 0, 0},
		.one = "has not been delivered to this recipient yet",
		.many = "has not been delivered to these recipients yet",
		.advice = "You need not do anything, and please do not send the message again.",
	},
	[MAIL_REPORT_DELIVERED] = {
		.name = "delivered",
		.fallback = {2, 0, 0},
		.one = "was delivered to this recipient",
		.many = "was delivered to these recipients",
	},
	[MAIL_REPORT_RELAYED] = {
		.name = "relayed",
		.fallback = {2, 1, 9}, /* RFC 3886 3.3.4 */
		.one = "was handed on for this recipient to a server that does not report deliveries",
		.many = "was handed on for these recipients to servers that do not report deliveries",
		.advice = "You may get no further report about it.",
	},
	[MAIL_REPORT_EXPANDED] = {
		.name = "expanded",
		.fallback = {2, 0, 0},
		.one = "was delivered to this address and from there on to several others",
		.many = "was delivered to these addresses and from there on to several others",
	},
};
/* clang-format on */

/* ---- small parts ------------------------------------------------------------------------------------------------- */

static const char *subject(const struct mail_report *r)
{
	bool found[MAIL_REPORT_ACTION_MAX + 1] = {false};

	for (size_t i = 0; i < r->rcpt_count; i++)
		found[r->rcpt[i].action] = true;
	if (found[MAIL_REPORT_FAILED])
		return "Undelivered: your message could not be delivered";
	if (found[MAIL_REPORT_DELAYED])
		return "Delayed: your message has not been delivered yet";
	if (found[MAIL_REPORT_RELAYED])
		return "Relayed: your message was handed on";
	return "Delivered: your message has arrived";
}

static struct smtpcodes_status status_of(const struct mail_report_rcpt *rcpt)
{
	unsigned klass = rcpt->status.klass;
	bool fits = klass == actions[rcpt->action].fallback.klass || (rcpt->action == MAIL_REPORT_FAILED && klass == 4);

	/* RFC 3886 3.3.4: 2.1.9 goes with "relayed" alone. */
	if (rcpt->action != MAIL_REPORT_RELAYED && rcpt->status.subject == 1 && rcpt->status.detail == 9)
		fits = false;
	return fits ? rcpt->status : actions[rcpt->action].fallback;
}

/* The next word of at most WORD_OCTETS_MAX octets; the empty slice at the end. A character is not cut. */
static struct slice take_word(struct slice *text)
{
	*text = slice_trim(*text);

	size_t n = slice_find(*text, ' ');
	if (n > WORD_OCTETS_MAX)
		for (n = WORD_OCTETS_MAX; n > 0 && ((unsigned char)text->p[n] & 0xc0) == 0x80;)
			n--;
	struct slice word = slice_head(*text, n);
	*text = slice_skip(*text, n);
	return word;
}

/* ---- the words for people
 * -------------------------------------------------------------------------------------------- */

/* Writes text, made safe, in lines of TEXT_COLUMNS behind `indent` blanks. */
static void paragraph(struct buf *out, struct slice in, size_t max, size_t indent)
{
	struct buf safe;
	size_t column = 0;

	buf_init(&safe, max);
	if (!mail_field_safe(&safe, in, max, true))
		out->failed = true;
	struct slice rest = buf_slice(&safe);
	for (struct slice word = take_word(&rest); word.n; word = take_word(&rest)) {
		if (column > 0 && column + 1 + word.n > TEXT_COLUMNS) {
			buf_add_lit(out, "\r\n");
			column = 0;
		}
		if (column == 0)
			for (; column < indent; column++)
				buf_add_char(out, ' ');
		else
			buf_add_char(out, ' ');
		buf_add(out, word);
		column += 1 + word.n;
	}
	buf_add_lit(out, "\r\n");
	buf_free(&safe);
}

static void sentence(struct buf *out, const char *text, size_t indent)
{
	paragraph(out, slice_from_cstr(text), EXPLANATION_MAX, indent);
}

static void answer_text(struct buf *out, const struct mail_report_rcpt *rcpt)
{
	if (rcpt->diagnostic.n == 0)
		return;
	if (rcpt->remote_mta.n) {
		buf_add_lit(out, "    The server ");
		mail_field_safe(out, rcpt->remote_mta, HOST_MAX, true);
		buf_add_lit(out, " answered:\r\n");
	} else {
		buf_add_lit(out, "    In technical words:\r\n");
	}
	paragraph(out, rcpt->diagnostic, DIAGNOSTIC_MAX, 6);
}

static void rcpt_text(struct buf *out, const struct mail_report_rcpt *rcpt)
{
	buf_add_lit(out, "\r\n  ");
	mail_field_path(out, rcpt->address, true);
	buf_add_lit(out, "\r\n");
	if (rcpt->explanation.n)
		paragraph(out, rcpt->explanation, EXPLANATION_MAX, 4);
	answer_text(out, rcpt);
	if (rcpt->action == MAIL_REPORT_DELAYED && rcpt->will_retry_until)
		buf_printf(out, "    We keep trying until %s.\r\n", mail_date_rfc5322(rcpt->will_retry_until).text);
	if (rcpt->advice.n)
		paragraph(out, rcpt->advice, EXPLANATION_MAX, 4);
	else if (actions[rcpt->action].advice)
		sentence(out, actions[rcpt->action].advice, 4);
}

static void action_text(struct buf *out, const struct mail_report *r, enum mail_report_action action)
{
	size_t count = 0;

	for (size_t i = 0; i < r->rcpt_count; i++)
		count += r->rcpt[i].action == action;
	if (count == 0)
		return;
	buf_printf(out, "\r\nYour message %s:\r\n", count == 1 ? actions[action].one : actions[action].many);
	for (size_t i = 0; i < r->rcpt_count; i++)
		if (r->rcpt[i].action == action)
			rcpt_text(out, &r->rcpt[i]);
}

static void write_text(struct buf *out, const struct mail_report *r, enum mail_report_return returned)
{
	static const char *const attached[] = {
		[MAIL_REPORT_RETURN_NONE] = "Details for programs are attached.",
		[MAIL_REPORT_RETURN_HEADER] = "Details for programs and the header of your message are attached.",
		[MAIL_REPORT_RETURN_FULL] = "Details for programs and your message are attached.",
	};

	buf_add_lit(out, "This is the mail server ");
	mail_field_safe(out, r->mta, HOST_MAX, false);
	buf_add_lit(out, ".\r\n");
	for (int action = 0; action <= MAIL_REPORT_ACTION_MAX; action++)
		action_text(out, r, (enum mail_report_action)action);
	buf_add_lit(out, "\r\n");
	if (r->arrival)
		buf_printf(out, "Your message came to us on %s.\r\n", mail_date_rfc5322(r->arrival).text);
	if (r->id.n) {
		buf_add_lit(out, "If you ask for help, name the message by its id here: ");
		mail_field_safe(out, r->id, 64, false);
		buf_add_lit(out, "\r\n");
	}
	sentence(out, attached[returned], 0);
}

/* ---- the words for programs
 * ------------------------------------------------------------------------------------------ */

/* "Name: kind; text", folded. */
static void typed_field(struct buf *out, const char *name, const char *kind, struct slice text, size_t max, bool utf8)
{
	struct mail_fold f;
	struct buf safe;

	buf_init(&safe, max);
	if (!mail_field_safe(&safe, text, max, utf8))
		out->failed = true;
	mail_fold_begin(&f, out, name);
	mail_fold_word(&f, slice_from_cstr(kind));
	struct slice rest = buf_slice(&safe);
	for (struct slice word = take_word(&rest); word.n; word = take_word(&rest))
		mail_fold_word(&f, word);
	mail_fold_end(&f);
	buf_free(&safe);
}

static void date_field(struct buf *out, const char *name, wall_ms t)
{
	if (t)
		buf_printf(out, "%s: %s\r\n", name, mail_date_rfc5322(t).text);
}

/* An address on one line, behind its type. */
static void address_field(struct buf *out, const char *name, struct slice type, struct slice address, bool utf8)
{
	buf_printf(out, "%s: %.*s; ", name, SLICE_ARGS(type));
	mail_field_safe(out, address, ADDRESS_MAX, utf8);
	buf_add_lit(out, "\r\n");
}

/* An address outside ASCII has the type utf-8, and is written in ASCII where the part may hold nothing else (RFC 6533
 * 3). */
static void utf8_address_field(struct buf *out, const char *name, struct slice address, bool global)
{
	struct buf unitext;

	buf_init(&unitext, 8 * MAIL_PATH_MAX);
	if (global || !mail_unitext_encode(address, &unitext))
		address_field(out, name, SLICE("utf-8"), address, global);
	else
		address_field(out, name, SLICE("utf-8"), buf_slice(&unitext), false);
	buf_free(&unitext);
}

static void final_recipient(struct buf *out, struct slice address, bool global)
{
	if (slice_is_ascii(address))
		address_field(out, "Final-Recipient", SLICE("rfc822"), address, false);
	else
		utf8_address_field(out, "Final-Recipient", address, global);
}

/* RFC 3464 2.3.1: the address of ORCPT without its encoding. */
static void original_recipient(struct buf *out, struct slice orcpt, bool global)
{
	struct slice value = orcpt, type = slice_split(&value, ';');
	struct buf plain;

	for (size_t i = 0; i < type.n; i++)
		if (!ascii_is_alnum(type.p[i]) && type.p[i] != '-')
			return;
	if (type.n == 0 || type.n > 60 || value.n == 0)
		return;
	buf_init(&plain, 1000);
	if (!slice_ieq(type, SLICE("utf-8")))
		address_field(out, "Original-Recipient", type,
			      mail_xtext_decode(value, &plain) ? buf_slice(&plain) : value, false);
	else if (mail_unitext_decode(value, &plain))
		utf8_address_field(out, "Original-Recipient", buf_slice(&plain), global);
	else
		address_field(out, "Original-Recipient", type, value, global);
	buf_free(&plain);
}

static void rcpt_status(struct buf *out, const struct mail_report_rcpt *rcpt, bool global)
{
	char status[10];

	smtpcodes_status_format(status_of(rcpt), status);
	buf_add_lit(out, "\r\n");
	if (rcpt->orcpt.n)
		original_recipient(out, rcpt->orcpt, global);
	final_recipient(out, rcpt->address, global);
	buf_printf(out, "Action: %s\r\nStatus: %s\r\n", actions[rcpt->action].name, status);
	if (rcpt->remote_mta.n)
		typed_field(out, "Remote-MTA", "dns;", rcpt->remote_mta, HOST_MAX, false);
	if (rcpt->diagnostic.n)
		typed_field(out, "Diagnostic-Code", rcpt->remote_mta.n ? "smtp;" : "x-postrider;", rcpt->diagnostic,
			    DIAGNOSTIC_MAX, global);
	date_field(out, "Last-Attempt-Date", rcpt->last_attempt);
	if (rcpt->action == MAIL_REPORT_DELAYED)
		date_field(out, "Will-Retry-Until", rcpt->will_retry_until);
}

static void envelope_id(struct buf *out, struct slice envid)
{
	struct buf plain;

	buf_init(&plain, 1000);
	if (!mail_xtext_decode(envid, &plain))
		buf_add(&plain, slice_head(envid, ADDRESS_MAX));
	buf_add_lit(out, "Original-Envelope-Id: ");
	mail_field_safe(out, buf_slice(&plain), ADDRESS_MAX, false);
	buf_add_lit(out, "\r\n");
	buf_free(&plain);
}

static void write_status(struct buf *out, const struct mail_report *r, bool global)
{
	enum mail_domain_kind kind;
	bool dns = mail_domain_valid(r->mta, false) || mail_literal_valid(r->mta, &kind);

	if (r->envid.n)
		envelope_id(out, r->envid);
	typed_field(out, "Reporting-MTA", dns ? "dns;" : "x-local-hostname;", r->mta, HOST_MAX, false);
	if (r->id.n) {
		buf_add_lit(out, "X-Postrider-Message-Id: ");
		mail_field_safe(out, r->id, 64, false);
		buf_add_lit(out, "\r\n");
	}
	date_field(out, "Arrival-Date", r->arrival);
	for (size_t i = 0; i < r->rcpt_count; i++)
		rcpt_status(out, &r->rcpt[i], global);
}

/* ---- what is returned of the original
 * -------------------------------------------------------------------------------- */

struct original {
	enum mail_report_return returned;
	const char *type;
	bool eight_bit;
};

static bool converts(struct slice message)
{
	struct mail_seven *seven = mail_seven_new(MAIL_SEVEN_TO_7BIT);
	bool good = seven && mail_seven_feed(seven, message, NULL) == MAIL_SEVEN_OK &&
		    mail_seven_end(seven, NULL) == MAIL_SEVEN_OK;

	mail_seven_free(seven);
	return good;
}

static bool has_boundary(struct slice text, struct slice token)
{
	return slice_search(text, token) < text.n;
}

static struct original choose_header(const struct mail_report *r)
{
	struct original o = {MAIL_REPORT_RETURN_HEADER, "text/rfc822-headers", !slice_is_ascii(r->header)};

	if (r->header.n == 0 || has_boundary(r->header, r->token))
		return (struct original){.returned = MAIL_REPORT_RETURN_NONE};
	if (o.eight_bit && r->utf8 && slice_is_utf8(r->header))
		o.type = "message/global-headers";
	return o;
}

/* The whole, when that can be sent to anybody; its header section otherwise. */
static struct original choose_original(const struct mail_report *r)
{
	struct mail_scan s;
	struct original o = {MAIL_REPORT_RETURN_FULL, "message/rfc822", false};

	if (r->wanted == MAIL_REPORT_RETURN_NONE)
		return (struct original){.returned = MAIL_REPORT_RETURN_NONE};
	if (r->wanted == MAIL_REPORT_RETURN_HEADER)
		return choose_header(r);
	mail_scan_init(&s, SLICE_NONE);
	mail_scan_feed(&s, r->original);
	mail_scan_end(&s);
	if (s.flags & (MAIL_SCAN_BARE_CR | MAIL_SCAN_BARE_LF | MAIL_SCAN_NUL_HEADER | MAIL_SCAN_NUL_BODY) ||
	    s.longest_line > 1000 || has_boundary(r->original, r->token))
		return choose_header(r);
	o.eight_bit = s.flags & (MAIL_SCAN_8BIT_HEADER | MAIL_SCAN_8BIT_BODY);
	if (!(s.flags & MAIL_SCAN_8BIT_HEADER))
		return !o.eight_bit || converts(r->original) ? o : choose_header(r);
	o.type = "message/global"; /* may be encoded as a whole (RFC 6532 3.7), and is UTF-8 in its header */
	return slice_is_utf8(slice_head(r->original, (size_t)s.header_octets)) ? o : choose_header(r);
}

/* The header section line by line, with lines that a line may be, whatever it held. */
static void copy_header(struct buf *out, struct slice header)
{
	while (header.n) {
		size_t n = slice_search(header, SLICE("\r\n"));
		struct slice line = slice_head(header, n < 998 ? n : 998);

		for (size_t i = 0; i < line.n; i++) {
			char c = line.p[i];

			buf_add_char(out, c == '\0' || c == '\r' || c == '\n' ? '?' : c);
		}
		buf_add_lit(out, "\r\n");
		header = slice_skip(header, n + 2);
	}
}

/* ---- the message
 * ----------------------------------------------------------------------------------------------------- */

static void boundary_line(struct buf *out, const struct mail_report *r, bool last)
{
	buf_printf(out, "\r\n--=_%.*s%s\r\n", SLICE_ARGS(r->token), last ? "--" : "");
}

static void part_header(struct buf *out, const struct mail_report *r, const char *type, const char *charset,
			bool eight_bit, const char *description)
{
	boundary_line(out, r, false);
	buf_printf(out, "Content-Description: %s\r\nContent-Type: %s%s\r\nContent-Transfer-Encoding: %s\r\n\r\n",
		   description, type, charset, eight_bit ? "8bit" : "7bit");
}

static void display_name(struct buf *out, struct slice display)
{
	struct buf safe;

	buf_init(&safe, 200);
	if (!mail_field_safe(&safe, display.n ? display : SLICE("Mail Delivery System"), 200, false))
		out->failed = true;
	struct slice text = buf_slice(&safe);
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\')
			buf_add_char(out, '\\');
		buf_add_char(out, text.p[i]);
	}
	buf_add_lit(out, "\" ");
	buf_free(&safe);
}

static void message_header(struct buf *out, const struct mail_report *r, bool eight_bit)
{
	buf_printf(out, "Date: %s\r\nFrom: ", mail_date_rfc5322(r->now).text);
	display_name(out, r->from_display);
	mail_field_path(out, r->from_address, false);
	buf_add_lit(out, "\r\nTo: ");
	mail_field_path(out, r->sender, r->utf8);
	buf_printf(out, "\r\nSubject: %s\r\nMessage-ID: <%.*s@", subject(r), SLICE_ARGS(r->token));
	for (size_t i = 0; i < r->mta.n && i < HOST_MAX; i++)
		buf_add_char(out, ascii_is_alnum(r->mta.p[i]) || memchr(".-:[]", r->mta.p[i], 5) ? r->mta.p[i] : '-');
	buf_printf(out,
		   ">\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
		   "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"=_%.*s\"\r\n",
		   SLICE_ARGS(r->token));
	if (eight_bit)
		buf_add_lit(out, "Content-Transfer-Encoding: 8bit\r\n");
	if (r->tls_optional)
		buf_add_lit(out, "TLS-Required: No\r\n");
}

static void write_parts(struct buf *out, const struct mail_report *r, struct slice text, struct slice status,
			const struct original *o)
{
	bool text_8bit = !slice_is_ascii(text), status_8bit = !slice_is_ascii(status);

	message_header(out, r, text_8bit || status_8bit || o->eight_bit);
	buf_add_lit(out, "\r\nThis is a delivery report in MIME format.\r\n");
	part_header(out, r, "text/plain", text_8bit ? "; charset=utf-8" : "; charset=us-ascii", text_8bit,
		    "Notification");
	buf_add(out, text);
	part_header(out, r, status_8bit ? "message/global-delivery-status" : "message/delivery-status", "", status_8bit,
		    "Delivery report");
	buf_add(out, status);
	if (o->returned != MAIL_REPORT_RETURN_NONE)
		part_header(out, r, o->type, "", o->eight_bit,
			    o->returned == MAIL_REPORT_RETURN_FULL ? "Undelivered message" : "Header of the message");
	if (o->returned == MAIL_REPORT_RETURN_FULL)
		buf_add(out, r->original);
	else if (o->returned == MAIL_REPORT_RETURN_HEADER)
		copy_header(out, r->header);
	boundary_line(out, r, true);
}

static void check_input(const struct mail_report *r)
{
	assert(r->rcpt_count > 0);
	assert(r->sender.n > 0);
	assert(r->token.n >= 1 && r->token.n <= 60);
	for (size_t i = 0; i < r->token.n; i++)
		assert(ascii_is_alnum(r->token.p[i]));
	for (size_t i = 0; i < r->rcpt_count; i++)
		assert(r->rcpt[i].action <= MAIL_REPORT_ACTION_MAX);
}

bool mail_report_needs_utf8(const struct mail_report *r)
{
	return r->utf8 && !slice_is_ascii(r->sender);
}

bool mail_report_write(const struct mail_report *r, struct buf *out)
{
	size_t before = buf_len(out), most = MAIL_REPORT_FIXED_MAX;
	struct original o = choose_original(r);
	struct buf text, status;

	check_input(r);
	if (__builtin_mul_overflow(r->rcpt_count, (size_t)MAIL_REPORT_RCPT_MAX / 2, &most) || most > buf_room(out))
		most = buf_room(out);
	buf_init(&text, most + MAIL_REPORT_FIXED_MAX);
	buf_init(&status, most + MAIL_REPORT_FIXED_MAX);
	write_text(&text, r, o.returned);
	write_status(&status, r, r->utf8);
	bool good = !text.failed && !status.failed;
	if (good)
		write_parts(out, r, buf_slice(&text), buf_slice(&status), &o);
	buf_free(&text);
	buf_free(&status);
	good = good && !out->failed;
	if (!good)
		buf_cut(out, before);
	return good;
}
