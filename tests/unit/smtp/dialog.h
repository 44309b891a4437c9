/*
 * dialog: a session as a table: what the client says, what it hears, what the owner is told. Each dialog is run whole,
 * octet by octet, and cut at every point, with the same outcome.
 */
#ifndef DIALOG_H
#define DIALOG_H

#include "server_desk.h"

#define STEPS 14

enum knob {
	LMTP = 1,
	NO_EXTENSIONS = 2,
	DATA_LATER = 4, /* the owner answers DATA with 451 */
	TALKATIVE = 8,  /* early talkers are not refused */
	SMALL = 16,     /* size_max 30 */
	STATUS = 32,    /* HELP STATUS is asked of the owner */
	SUSPENDED = 64, /* SMTPUTF8 and NOTIFY are not to be had now */
	TLS_OFFER = 128,
	TLS_REQUIRE = 256,
	TLS_IMPLICIT = 512,
	NO_TLS = 1024,          /* there is no certificate now */
	AUTH = 2048,            /* mechanisms, some of which may be used in the clear */
	AUTH_BEHIND_TLS = 4096, /* mechanisms that may not */
	AUTH_REQUIRED = 8192,
	AUTH_NARROW = 16384,  /* PLAIN is not to be had in this session */
	FEW_COMMANDS = 32768, /* idle_commands_max 4 */
};

/* `hears` are reply codes with their enhanced codes, in order: "250 2.1.0, 354". */
struct step {
	struct slice says;
	const char *hears;
};

struct dialog {
	const char *name;
	unsigned knobs;
	struct step steps[STEPS];
	const char *events;
};

/* clang-format off */
#define S(text) {(text), sizeof(text) - 1}
#define EHLO {S("EHLO a.example\r\n"), "250"}
/* clang-format on */
#define HELLO "CONNECT\nEHLO a.example\n"

static inline void configure(struct desk *d, unsigned knobs)
{
	if (knobs & LMTP) {
		d->config.lmtp = true;
		d->greeting = REPLY_GREETING_LMTP;
	}
	if (knobs & NO_EXTENSIONS)
		d->config.offer_8bitmime = d->config.offer_chunking = d->config.offer_dsn = false;
	if (knobs & DATA_LATER)
		d->data_reply = REPLY_DATA_NO_QUEUE;
	if (knobs & SMALL)
		d->config.size_max = 30;
	if (knobs & SUSPENDED) {
		static const struct slice suspended[] = {S("SMTPUTF8"), S("NOTIFY")};

		d->config.suspended = suspended;
		d->config.suspended_count = 2;
	}
	d->config.asks_status = knobs & STATUS;
	d->config.tls = knobs & TLS_OFFER      ? SMTP_TLS_OFFER
			: knobs & TLS_REQUIRE  ? SMTP_TLS_REQUIRE
			: knobs & TLS_IMPLICIT ? SMTP_TLS_IMPLICIT
					       : SMTP_TLS_OFF;
	d->no_tls = knobs & NO_TLS;
	if (knobs & (AUTH | AUTH_BEHIND_TLS))
		desk_offer_auth(d, knobs & AUTH);
	d->config.auth_required = knobs & AUTH_REQUIRED;
	d->unusable = knobs & AUTH_NARROW ? 1 : 0;
	if (knobs & FEW_COMMANDS)
		d->config.idle_commands_max = 4;
	d->config.refuse_early = !(knobs & TALKATIVE);
}

/* The codes of what the server said, each reply well formed. */
static inline void write_codes(struct slice out, struct buf *codes)
{
	struct smtpcodes_reply reply;
	char status[10];

	for (; out.n; out = slice_skip(out, reply.octets)) {
		assert_int_equal(smtpcodes_reply_parse(out.p, out.n, SMTPCODES_STRICT, &reply), SMTPCODES_OK);
		if (buf_len(codes))
			buf_add_lit(codes, ", ");
		buf_add_u64(codes, reply.code);
		if (smtpcodes_status_format(reply.status, status)) {
			buf_add_char(codes, ' ');
			buf_add(codes, slice_from_cstr(status));
		}
	}
}

static inline bool is_greeting_or_ehlo(const char *expected)
{
	return strchr(expected, '.') == NULL;
}

static inline void check_step(struct desk *d, const struct step *step)
{
	struct buf codes;

	buf_init(&codes, 100000);
	desk_flush(d);
	write_codes(buf_slice(&d->out), &codes);
	if (is_greeting_or_ehlo(step->hears) && buf_len(&codes) > 3 && !strchr(step->hears, ','))
		buf_cut(&codes, 3); /* refusals of EHLO may carry an enhanced code, or not */
	assert_slice(buf_slice(&codes), step->hears);
	buf_reset(&d->out);
	buf_free(&codes);
	if (!d->closed)
		desk_secure(d);
}

enum { WHOLE, BYTEWISE, CUT };

static inline void feed_step(struct desk *d, struct slice in, int how, size_t cut)
{
	size_t piece = how == WHOLE ? in.n : how == BYTEWISE ? 1 : cut;

	for (size_t at = 0; at < in.n; at += piece, piece = how == CUT ? in.n - at : piece) {
		char *copy = test_exact_copy(slice_head(slice_skip(in, at), piece));
		size_t n = in.n - at < piece ? in.n - at : piece;
		size_t taken = desk_feed(d, slice_of(copy, n));
		free(copy);
		if (d->closed)
			return;
		assert_int_equal(taken, n);
	}
}

static inline void run(const struct dialog *dialog, int how, size_t cut_step, size_t cut)
{
	struct desk d;

	desk_init(&d);
	configure(&d, dialog->knobs);
	desk_start(&d);
	desk_secure(&d);
	for (size_t i = 0; i < STEPS && dialog->steps[i].hears; i++) {
		feed_step(&d, dialog->steps[i].says, how == CUT && i != cut_step ? WHOLE : how, cut);
		check_step(&d, &dialog->steps[i]);
	}
	assert_slice(buf_slice(&d.log), dialog->events);
	desk_free(&d);
}

static inline void dialog_goes_the_same_way_however_it_is_cut(void **state)
{
	const struct dialog *dialog = *state;

	run(dialog, WHOLE, 0, 0);
	run(dialog, BYTEWISE, 0, 0);
	for (size_t i = 0; i < STEPS && dialog->steps[i].hears; i++)
		for (size_t cut = 1; cut < dialog->steps[i].says.n; cut++)
			run(dialog, CUT, i, cut);
}

static inline int dialogs_run(const struct dialog *dialogs, size_t count)
{
	struct CMUnitTest *tests = calloc(count, sizeof *tests);

	for (size_t i = 0; i < count; i++)
		tests[i] = (struct CMUnitTest){.name = dialogs[i].name,
					       .test_func = dialog_goes_the_same_way_however_it_is_cut,
					       .initial_state = (void *)(uintptr_t)&dialogs[i]};
	int failed = _cmocka_run_group_tests("dialogs", tests, count, NULL, NULL);
	free(tests);
	return failed;
}

#endif
