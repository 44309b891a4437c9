/*
 * bounce_fields: the reports for programs: RFC 3464 with RFC 6533, RFC 5965, RFC 8098.
 *
 * Groups of fields are separated by empty lines in good reports. Others have none, or too many: a second recipient
 * field begins a group as well, and a group without one belongs to the recipient before it.
 */
#include "mail/bounce_private.h"

#include "mail/address.h"

#include <assert.h>
#include <string.h>

enum field {
	FIELD_ORIGINAL,
	FIELD_FINAL,
	FIELD_ACTUAL,
	FIELD_ACTION,
	FIELD_STATUS,
	FIELD_DIAGNOSTIC,
	FIELD_SUPPLEMENT,
	FIELD_REMOTE,
	FIELDS_OF_RCPT,
	FIELD_ENVELOPE_ID = FIELDS_OF_RCPT,
	FIELD_REPORTER,
	FIELD_OWN_ID,
	FIELD_NONE,
};

static const struct {
	struct slice name;
	enum field field;
} field_rows[] = {
	{{"Original-Recipient", 18}, FIELD_ORIGINAL},
	{{"Final-Recipient", 15}, FIELD_FINAL},
	{{"X-Actual-Recipient", 18}, FIELD_ACTUAL},
	{{"Action", 6}, FIELD_ACTION},
	{{"Status", 6}, FIELD_STATUS},
	{{"Diagnostic-Code", 15}, FIELD_DIAGNOSTIC},
	{{"X-Supplementary-Info", 20}, FIELD_SUPPLEMENT},
	{{"X400-Supplementary-Info", 23}, FIELD_SUPPLEMENT},
	{{"Remote-MTA", 10}, FIELD_REMOTE},
	{{"Original-Envelope-Id", 20}, FIELD_ENVELOPE_ID},
	{{"Reporting-MTA", 13}, FIELD_REPORTER},
	{{"X-Postrider-Message-Id", 22}, FIELD_OWN_ID},
};

struct group {
	struct slice value[FIELDS_OF_RCPT];
	struct mail_bounce_rcpt *last; /* the recipient of the group before */
	size_t found;
	bool prose; /* the fields stand in a text: those without a recipient are words like others */
};

static enum field field_of(struct slice name)
{
	for (size_t i = 0; i < sizeof field_rows / sizeof *field_rows; i++)
		if (slice_ieq(name, field_rows[i].name))
			return field_rows[i].field;
	return FIELD_NONE;
}

static void keep_once(struct bounce_reader *r, struct slice *into, struct slice value)
{
	if (into->n == 0)
		*into = bounce_clean(r, value, 300);
}

static void per_message(struct bounce_reader *r, enum field field, struct slice value)
{
	if (field == FIELD_ENVELOPE_ID)
		keep_once(r, &r->out->envelope_id, value);
	else if (field == FIELD_REPORTER)
		keep_once(r, &r->out->reporter, bounce_untyped(value, NULL));
	else if (field == FIELD_OWN_ID)
		keep_once(r, &r->out->own_id, value);
}

/* ---- one recipient ----------------------------------------------------------------------------------------------- */

/* RFC 3464 2.3.1 has the address without the encoding of ORCPT; some leave it. */
static struct slice original_address(struct bounce_reader *r, struct slice value, struct slice final)
{
	struct slice address = bounce_address_of(r, value), ret = address;
	struct mail_address parsed;
	const char *why;
	struct buf plain;

	if (slice_search(address, SLICE("+2B")) == address.n && slice_search(address, SLICE("+3D")) == address.n)
		return address;
	buf_init(&plain, MAIL_PATH_MAX);
	if (!slice_ieq(address, final) && mail_xtext_decode(address, &plain) &&
	    mail_address_parse(buf_slice(&plain), &parsed, &why) == MAIL_ADDRESS_OK)
		ret = bounce_scratch(r, buf_slice(&plain));
	r->no_memory |= plain.failed;
	buf_free(&plain);
	return ret;
}

/* "5.1.1 (comment)", "#5.1.1", "553 Too large". Returns what stands behind the code. */
static struct slice set_status(struct mail_bounce_rcpt *rcpt, struct slice value)
{
	uint64_t code;

	while (value.n && memchr("#( \"", value.p[0], 4))
		value = slice_skip(value, 1);
	size_t n = smtpcodes_status_parse(value.n ? value.p : "", value.n, &rcpt->status);
	if (n == 0 && slice_u64(slice_head(value, 3), 599, &code) && code >= 200 &&
	    (value.n == 3 || !ascii_is_alnum(value.p[3]))) {
		rcpt->reply = (unsigned)code;
		n = 3;
	}
	struct slice rest = slice_trim(slice_skip(value, n));
	if (rest.n > 1 && rest.p[0] == '(' && rest.p[rest.n - 1] == ')')
		rest = slice_head(slice_skip(rest, 1), rest.n - 2);
	return rest;
}

static struct slice diagnostic_of(struct bounce_reader *r, const struct group *g, struct slice comment)
{
	struct slice main = bounce_untyped(g->value[FIELD_DIAGNOSTIC], NULL), more = g->value[FIELD_SUPPLEMENT];
	struct slice ret;
	struct buf both;

	if (main.n == 0 || more.n == 0)
		return bounce_clean(r, main.n ? main : more.n ? more : comment, MAIL_BOUNCE_DIAGNOSTIC_MAX);
	buf_init(&both, 4 * MAIL_BOUNCE_DIAGNOSTIC_MAX);
	buf_add(&both, slice_head(main, 2 * MAIL_BOUNCE_DIAGNOSTIC_MAX));
	buf_add_lit(&both, "; ");
	buf_add(&both, slice_head(more, MAIL_BOUNCE_DIAGNOSTIC_MAX));
	ret = bounce_clean(r, buf_slice(&both), MAIL_BOUNCE_DIAGNOSTIC_MAX);
	r->no_memory |= both.failed;
	buf_free(&both);
	return ret;
}

static struct mail_bounce_rcpt rcpt_of(struct bounce_reader *r, const struct group *g)
{
	struct mail_bounce_rcpt rcpt = {.action = bounce_action_of(g->value[FIELD_ACTION])};
	struct slice final = bounce_address_of(r, g->value[FIELD_FINAL]);
	struct slice original = original_address(r, g->value[FIELD_ORIGINAL], final);
	struct slice comment = set_status(&rcpt, g->value[FIELD_STATUS]);

	if (final.n == 0)
		final = bounce_address_of(r, g->value[FIELD_ACTUAL]);
	rcpt.address = original.n ? original : final;
	if (original.n && !slice_ieq(original, final))
		rcpt.final = final;
	rcpt.diagnostic = diagnostic_of(r, g, comment);
	rcpt.remote = bounce_host_at(bounce_untyped(g->value[FIELD_REMOTE], NULL));
	return rcpt;
}

static void fill_in(struct mail_bounce_rcpt *into, const struct mail_bounce_rcpt *from)
{
	if (into->action == MAIL_BOUNCE_NO_ACTION)
		into->action = from->action;
	if (into->status.klass == 0)
		into->status = from->status;
	if (into->reply == 0)
		into->reply = from->reply;
	if (into->diagnostic.n == 0)
		into->diagnostic = from->diagnostic;
	if (into->remote.n == 0)
		into->remote = from->remote;
	if (into->final.n == 0)
		into->final = from->final;
}

static unsigned rank(enum mail_bounce_action action)
{
	return action == MAIL_BOUNCE_FAILED      ? 3
	       : action == MAIL_BOUNCE_DELAYED   ? 2
	       : action == MAIL_BOUNCE_NO_ACTION ? 1
						 : 0;
}

static struct mail_bounce_rcpt *find_rcpt(struct mail_bounce *b, struct slice address)
{
	for (size_t i = 0; address.n && i < b->rcpt_count; i++)
		if (slice_ieq(b->rcpt[i].address, address))
			return &b->rcpt[i];
	return NULL;
}

struct mail_bounce_rcpt *bounce_rcpt_put(struct bounce_reader *r, const struct mail_bounce_rcpt *rcpt)
{
	struct mail_bounce *b = r->out;
	struct mail_bounce_rcpt new = *rcpt, *old = find_rcpt(b, rcpt->address);

	if (!old && b->rcpt_count == r->rcpt_most) {
		b->more = true;
		return NULL;
	}
	new.address = old ? old->address : bounce_keep(r, rcpt->address);
	new.final = bounce_keep(r, rcpt->final);
	new.remote = bounce_keep(r, rcpt->remote);
	if (!old) {
		b->rcpt[b->rcpt_count] = new;
		return &b->rcpt[b->rcpt_count++];
	}
	if (rank(new.action) > rank(old->action)) {
		struct mail_bounce_rcpt swap = *old;

		*old = new;
		new = swap;
	}
	fill_in(old, &new);
	return old;
}

/* ---- groups ------------------------------------------------------------------------------------------------------ */

static bool is_named(const struct group *g)
{
	return g->value[FIELD_ORIGINAL].n || g->value[FIELD_FINAL].n || g->value[FIELD_ACTUAL].n;
}

static void close_group(struct bounce_reader *r, struct group *g)
{
	bool named = is_named(g);
	bool told = g->value[FIELD_ACTION].n || g->value[FIELD_STATUS].n;
	struct mail_bounce_rcpt *last = g->last;

	if (named || told || g->value[FIELD_DIAGNOSTIC].n) {
		struct mail_bounce_rcpt rcpt = rcpt_of(r, g);
		bool belongs = last && (named ? last->address.n == 0 && !told
					      : last->action == MAIL_BOUNCE_NO_ACTION || last->status.klass == 0);

		if (belongs) {
			if (named)
				last->address = bounce_keep(r, rcpt.address);
			rcpt.final = bounce_keep(r, rcpt.final);
			rcpt.remote = bounce_keep(r, rcpt.remote);
			fill_in(last, &rcpt);
		} else if (named || (told && !g->prose)) {
			g->last = bounce_rcpt_put(r, &rcpt);
			g->found++;
		}
	}
	memset(g->value, 0, sizeof g->value);
}

/* Whether the field can only belong to the next recipient. */
static bool begins_group(const struct group *g, enum field field)
{
	if (field == FIELD_ORIGINAL && g->value[FIELD_FINAL].n && g->value[FIELD_STATUS].n)
		return true;
	return g->value[field].n && is_named(g) &&
	       (field == FIELD_FINAL || field == FIELD_ORIGINAL || field == FIELD_ACTION || field == FIELD_STATUS);
}

static size_t read_groups(struct bounce_reader *r, struct slice fields, bool prose)
{
	struct group g = {.prose = prose};
	struct slice name, value;

	while (bounce_field_next(&fields, &name, &value)) {
		enum field field = field_of(name);

		if (name.n == 0 && bounce_is_blank_line(value))
			close_group(r, &g);
		if (field == FIELD_NONE)
			continue;
		if (field >= FIELDS_OF_RCPT) {
			per_message(r, field, value);
			continue;
		}
		if (begins_group(&g, field))
			close_group(r, &g);
		if (g.value[field].n == 0)
			g.value[field] = value;
	}
	close_group(r, &g);
	return g.found;
}

bool bounce_read_status(struct bounce_reader *r, unsigned level, bool guessed)
{
	size_t found = 0;

	for (size_t i = 0; i < r->part_count; i++) {
		if (r->parts[i].level != level || r->parts[i].kind != BOUNCE_PART_STATUS ||
		    (r->parts[i].guessed && !guessed))
			continue;
		struct slice fields = bounce_part_decode(r, &r->parts[i], &r->fields_left);
		found += read_groups(r, fields, false);
	}
	return found > 0;
}

bool bounce_read_status_text(struct bounce_reader *r, struct slice text)
{
	return read_groups(r, text, true) > 0;
}

/* ---- complaints -------------------------------------------------------------------------------------------------- */

/* RFC 5965 7.3 and RFC 6650: what the type of a complaint says about the message. */
static enum smtpcodes_class class_of_feedback(struct slice type)
{
	static const struct {
		struct slice type;
		enum smtpcodes_class klass;
	} rows[] = {
		{{"abuse", 5}, SMTPCODES_SPAM},
		{{"fraud", 5}, SMTPCODES_SPAM},
		{{"virus", 5}, SMTPCODES_VIRUS},
		{{"auth-failure", 12}, SMTPCODES_AUTHENTICATION},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (slice_ieq(type, rows[i].type))
			return rows[i].klass;
	return SMTPCODES_CLASS_UNKNOWN;
}

static void read_complaint(struct bounce_reader *r, struct slice fields)
{
	struct slice name, value, rest = fields;

	keep_once(r, &r->out->feedback_type, bounce_field_find(fields, SLICE("Feedback-Type")));
	while (bounce_field_next(&rest, &name, &value)) {
		per_message(r, field_of(name), value);
		if (!slice_ieq(name, SLICE("Original-Rcpt-To")) && !slice_ieq(name, SLICE("Removal-Recipient")))
			continue;
		struct mail_bounce_rcpt rcpt = {.address = bounce_address_of(r, value),
						.klass = class_of_feedback(r->out->feedback_type)};
		if (rcpt.address.n)
			bounce_rcpt_put(r, &rcpt);
	}
}

/* Outlook.com's complaints hold no fields for programs, but name the recipient in the original. */
static bool read_outlook_complaint(struct bounce_reader *r, unsigned level)
{
	struct slice fields[2] = {level == 0 ? r->header : SLICE_NONE};

	for (size_t i = 0; i < r->part_count; i++)
		if (r->parts[i].level == level && r->parts[i].kind == BOUNCE_PART_MESSAGE)
			fields[1] = r->parts[i].body;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
		struct slice value = bounce_field_find(fields[i], SLICE("X-HmXmrOriginalRecipient"));
		struct mail_bounce_rcpt rcpt = {.address = bounce_address_of(r, value), .klass = SMTPCODES_SPAM};

		if (rcpt.address.n) {
			bounce_rcpt_put(r, &rcpt);
			return true;
		}
	}
	return false;
}

bool bounce_read_feedback(struct bounce_reader *r, unsigned level)
{
	bool any = false;

	for (size_t i = 0; i < r->part_count; i++) {
		if (r->parts[i].level != level || r->parts[i].kind != BOUNCE_PART_FEEDBACK)
			continue;
		read_complaint(r, bounce_part_decode(r, &r->parts[i], &r->fields_left));
		any = true;
	}
	return any || (level == 0 && read_outlook_complaint(r, level));
}

/* ---- dispositions ------------------------------------------------------------------------------------------------ */

static struct slice disposition_of(struct bounce_reader *r, const struct bounce_part *part, struct slice *ret_fields)
{
	*ret_fields = bounce_part_decode(r, part, &r->fields_left);
	return bounce_field_find(*ret_fields, SLICE("Disposition"));
}

/* RFC 5429 2.2: "reject" of a filter may be told by a disposition: nobody did it by hand, and nobody will see it. */
static bool is_refusal(struct slice disposition)
{
	return slice_isearch(disposition, SLICE("automatic-action")) < disposition.n &&
	       (slice_isearch(disposition, SLICE("deleted")) < disposition.n ||
		slice_isearch(disposition, SLICE("denied")) < disposition.n ||
		slice_isearch(disposition, SLICE("failed")) < disposition.n);
}

bool bounce_read_disposition(struct bounce_reader *r, unsigned level, struct slice text)
{
	for (size_t i = 0; i < r->part_count; i++) {
		struct slice fields, disposition;

		if (r->parts[i].level != level || r->parts[i].kind != BOUNCE_PART_DISPOSITION)
			continue;
		disposition = disposition_of(r, &r->parts[i], &fields);
		keep_once(r, &r->out->message_id, bounce_field_find(fields, SLICE("Original-Message-ID")));
		if (!is_refusal(disposition))
			continue;
		struct group g = {.value = {[FIELD_FINAL] = bounce_field_find(fields, SLICE("Final-Recipient")),
					    [FIELD_ORIGINAL] = bounce_field_find(fields, SLICE("Original-Recipient")),
					    [FIELD_ACTION] = SLICE("failed"),
					    [FIELD_DIAGNOSTIC] = text}};
		struct mail_bounce_rcpt rcpt = rcpt_of(r, &g);
		bounce_rcpt_put(r, &rcpt);
		return true;
	}
	return false;
}
