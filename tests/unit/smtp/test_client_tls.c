/* STARTTLS and TLS from the first octet, as the client engine sees them: RFC 3207, RFC 8314, attacks C1 to C4. */
#include "client_driver.h"

#define EHLO     "EHLO me.example\r\n"
#define STARTTLS "STARTTLS\r\n"
#define GREETING "220 peer.example ESMTP\r\n"
#define PLAIN    "250 peer.example\r\n"
#define OFFER    "250-peer.example\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
#define BYE                                     \
	{                                       \
		"QUIT\r\n", "221 2.0.0 bye\r\n" \
	}
#define CLOSED_OK "closed delivered end of data: 221 2.0.0 bye\n"
#define DELIVERED "job 1.0 delivered end of data: 250 2.0.0 ok\ndone 1\n" CLOSED_OK
#define JOBS               \
	{                  \
		{          \
			&e \
		}          \
	}

static const struct mail_rcpt a[] = {{.address = S("a@x.example")}};
static const struct mail_envelope e = {.sender = S("s@me.example"), .rcpt = a, .rcpt_count = 1};
static const struct smtp_client_job job = {.envelope = &e};

#define MAIL "MAIL FROM:<s@me.example>\r\n"
#define RCPT "RCPT TO:<a@x.example>\r\n"
/* One message, in lock step. */
#define MESSAGE                                                                 \
	{MAIL, "250 ok\r\n"}, {RCPT, "250 ok\r\n"}, {"DATA\r\n", "354 go\r\n"}, \
	{                                                                       \
		SMALL_MESSAGE ".\r\n", "250 ok\r\n"                             \
	}

static const enum smtp_client_tls levels[] = {SMTP_CLIENT_TLS_OPPORTUNISTIC, SMTP_CLIENT_TLS_REQUIRED,
					      SMTP_CLIENT_TLS_VERIFIED};

/* Every dialog below is played with each level from `least` to `most`. */
static void play_levels(const struct dialog *d, enum smtp_client_tls least, enum smtp_client_tls most)
{
	for (enum smtp_client_tls tls = least; tls <= most; tls++) {
		struct dialog copy = *d;
		copy.tls = tls;
		copy.jobs[0] = job;
		play(&copy);
	}
}

#define EVERY SMTP_CLIENT_TLS_OPPORTUNISTIC, SMTP_CLIENT_TLS_VERIFIED

static void what_is_offered_is_used(void **state)
{
	(void)state;
	static const struct dialog d = {
		.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}, {EHLO, PLAIN}, MESSAGE, BYE},
		.trace = "handshake\n" DELIVERED};

	play_levels(&d, EVERY);
}

static void tls_from_the_first_octet_comes_before_the_greeting(void **state)
{
	(void)state;
	static const struct dialog d = {.tls_first = true,
					.turns = {{"", GREETING}, {EHLO, PLAIN}, MESSAGE, BYE},
					.trace = "handshake\n" DELIVERED};

	play_levels(&d, EVERY);
}

/* RFC 3207 4.2: a client must not ask for TLS under TLS, whatever the server lists. */
static void starttls_is_not_said_twice(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.turns = {{"", GREETING},
			   {EHLO, OFFER},
			   {STARTTLS, "220 go\r\n"},
			   {EHLO, "250-p\r\n250 STARTTLS\r\n"},
			   MESSAGE,
			   BYE},
		 .trace = "handshake\n" DELIVERED},
		{.tls_first = true,
		 .turns = {{"", GREETING}, {EHLO, "250-p\r\n250 STARTTLS\r\n"}, MESSAGE, BYE},
		 .trace = "handshake\n" DELIVERED},
	};

	for (size_t i = 0; i < 2; i++)
		play_levels(&rows[i], EVERY);
}

static void switched_off_it_is_left_alone(void **state)
{
	(void)state;
	static const struct dialog d = {.jobs = {{.envelope = &e}},
					.no_pipelining = true,
					.turns = {{"", GREETING}, {EHLO, OFFER}, MESSAGE, BYE},
					.trace = DELIVERED};

	play(&d);
}

/* attacks C3: PIPELINING, SIZE and the rest were said by anybody. */
static void C3_what_was_offered_in_the_clear_is_forgotten(void **state)
{
	(void)state;
	static const struct dialog d = {
		.turns = {{"", GREETING},
			  {EHLO, "250-peer.example\r\n250-PIPELINING\r\n250-SIZE 1\r\n250-DSN\r\n250-8BITMIME\r\n"
				 "250-CHUNKING\r\n250 STARTTLS\r\n"},
			  {STARTTLS, "220 go\r\n"},
			  {EHLO, PLAIN},
			  MESSAGE,
			  BYE},
		.chunking = true,
		.trace = "handshake\n" DELIVERED};
	struct smtp_client_event ev;

	play_levels(&d, EVERY);

	struct dialog config = {.tls = SMTP_CLIENT_TLS_OPPORTUNISTIC};
	struct smtp_client *c = smtp_client_new(driver_config(&config));
	smtp_client_start(c, 0);
	smtp_client_feed(c, SLICE(GREETING), 0);
	smtp_client_sent(c, smtp_client_output(c).n);
	smtp_client_feed(c, SLICE("250-liar.example\r\n250-DSN\r\n250 STARTTLS\r\n"), 0);
	smtp_client_sent(c, smtp_client_output(c).n);
	smtp_client_feed(c, SLICE("220 go\r\n"), 0);
	assert_true(smtp_client_next(c, &ev));
	assert_int_equal(ev.type, SMTP_CLIENT_HANDSHAKE);
	assert_false(smtp_client_next(c, &ev));
	smtp_client_secured(c, &(struct smtp_client_security){.verified = true}, 0);
	assert_int_equal(smtp_client_peer(c)->name.n, 0);
	assert_false(smtp_client_peer(c)->dsn || smtp_client_peer(c)->starttls || smtp_client_peer(c)->extended);
	smtp_client_free(c);
}

static void what_is_offered_under_tls_counts(void **state)
{
	(void)state;
	static const struct dialog d = {.turns = {{"", GREETING},
						  {EHLO, "250-peer.example\r\n250 STARTTLS\r\n"},
						  {STARTTLS, "220-go\r\n220 ahead\r\n"},
						  {EHLO, "250-peer.example\r\n250 PIPELINING\r\n"},
						  {MAIL RCPT "DATA\r\n", "250 ok\r\n250 ok\r\n354 go\r\n"},
						  {SMALL_MESSAGE ".\r\n", "250 ok\r\n"},
						  BYE},
					.trace = "handshake\n" DELIVERED};

	play_levels(&d, EVERY);
}

/* attacks C2 */
static void C2_octets_behind_the_220_are_not_the_servers(void **state)
{
	(void)state;
	static const char *const behind[] = {"220 go\r\n250 fake\r\n", "220 go\r\n\r\n", "220 go\r\n2",
					     "220 go\r\n\x16\x03\x03", "220-go\r\n220 go\r\n250-a\r\n250 b\r\n"};

	for (size_t i = 0; i < sizeof behind / sizeof *behind; i++) {
		struct dialog d = {
			.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, behind[i]}},
			.handshake = "", /* where the octets come later, it has not begun to read */
			.trace = "closed deferred TLS: 0 4.7.0 octets in the clear came behind the reply to STARTTLS, "
				 "which somebody may have put there to pass them for the server's\n"};
		for (size_t l = 0; l < 3; l++) {
			static struct driver r;
			d.tls = levels[l];
			driver_start(&r, &d);
			driver_say(&r, SLICE(GREETING), SIZE_MAX);
			driver_pump(&r, SIZE_MAX);
			driver_say(&r, SLICE(OFFER), SIZE_MAX);
			driver_say(&r, slice_from_cstr(behind[i]), SIZE_MAX);
			assert_string_equal(r.trace, d.trace);
			assert_false(smtp_client_tls_broke(r.c));
			assert_int_equal(smtp_client_output(r.c).n, 0);
			smtp_client_free(r.c);
			/* And in pieces, before the handshake has begun. */
			char trace[400];
			snprintf(trace, sizeof trace, "handshake\n%s", d.trace);
			struct dialog cut = d;
			cut.trace = trace;
			driver_play(&cut, 0, 1, SIZE_MAX);
		}
	}
}

/* A reply to STARTTLS before STARTTLS. */
static void C2_a_220_that_comes_too_early_is_none(void **state)
{
	(void)state;
	static struct driver r;
	struct dialog d = {.tls = SMTP_CLIENT_TLS_OPPORTUNISTIC};

	driver_start(&r, &d);
	driver_say(&r, SLICE(GREETING), SIZE_MAX);
	driver_pump(&r, SIZE_MAX);
	driver_say(&r, SLICE(OFFER "220 go\r\n"), SIZE_MAX);
	assert_string_equal(r.trace, "closed deferred TLS: 0 4.5.0 unexpected reply to no command: 220 go\n");
	smtp_client_free(r.c);
}

/* attacks C4 */
static void C4_without_an_offer_the_mail_goes_in_the_clear_or_not_at_all(void **state)
{
	(void)state;
	static const struct dialog open = {.turns = {{"", GREETING}, {EHLO, PLAIN}, MESSAGE, BYE}, .trace = DELIVERED};
	static const struct dialog shut[] = {
		{.turns = {{"", GREETING}, {EHLO, PLAIN}, {"QUIT\r\n", ""}},
		 .trace = "closed deferred TLS: 0 4.7.10 the server offers no STARTTLS, and mail may only go there "
			  "encrypted\n"},
		{.turns = {{"", GREETING},
			   {EHLO, "502 what\r\n"},
			   {"HELO me.example\r\n", "250 p\r\n"},
			   {"QUIT\r\n", ""}},
		 .trace = "closed deferred TLS: 0 4.7.10 the server offers no STARTTLS, and mail may only go there "
			  "encrypted\n"},
	};

	play_levels(&open, SMTP_CLIENT_TLS_OFF, SMTP_CLIENT_TLS_OPPORTUNISTIC);
	for (size_t i = 0; i < 2; i++)
		play_levels(&shut[i], SMTP_CLIENT_TLS_REQUIRED, SMTP_CLIENT_TLS_VERIFIED);
}

static void C4_a_refusal_is_taken_or_not(void **state)
{
	(void)state;
	static const struct {
		const char *reply, *words;
	} rows[] = {
		{"454 4.7.0 TLS not available\r\n", "454 TLS not available"},
		{"502 5.5.1 no\r\n", "502 no"},
		{"501-5.5.4 a\r\n501 5.5.4 b\r\n", "501 a b"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char trace[300];
		struct dialog open = {.turns = {{"", GREETING},
						{EHLO, "250-p\r\n250 STARTTLS\r\n"},
						{STARTTLS, rows[i].reply},
						MESSAGE,
						BYE},
				      .trace = DELIVERED};
		struct dialog shut = {
			.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, rows[i].reply}, {"QUIT\r\n", ""}},
			.trace = trace};
		snprintf(trace, sizeof trace,
			 "closed deferred TLS: 0 4.7.10 the server refused STARTTLS, and mail may only go there "
			 "encrypted: %s\n",
			 rows[i].words);
		play_levels(&open, SMTP_CLIENT_TLS_OPPORTUNISTIC, SMTP_CLIENT_TLS_OPPORTUNISTIC);
		play_levels(&shut, SMTP_CLIENT_TLS_REQUIRED, SMTP_CLIENT_TLS_VERIFIED);
	}
}

static void an_odd_answer_to_starttls_ends_the_session(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "250 ok\r\n"}},
		 .trace = "closed deferred TLS: 0 4.5.0 unexpected reply to STARTTLS: 250 ok\n"},
		{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "354 go\r\n"}},
		 .trace = "closed deferred TLS: 0 4.5.0 unexpected reply to STARTTLS: 354 go\n"},
		{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "421 4.3.2 closing\r\n"}},
		 .trace = "closed deferred TLS: 421 4.3.2 closing\n"},
		{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "what\r\n"}},
		 .trace = "closed deferred TLS: 0 4.5.0 malformed reply: the line does not start with a reply code: "
			  "what??\n"},
		{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, NULL}},
		 .trace = "closed deferred TLS: 0 4.4.2 connection lost while waiting for the reply to STARTTLS: "
			  "broken\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play_levels(&rows[i], EVERY);
}

static void a_server_that_is_not_who_it_should_be_is_told_quit(void **state)
{
	(void)state;
	static const struct dialog open[] = {
		{.handshake = "?self-signed certificate",
		 .turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}, {EHLO, PLAIN}, MESSAGE, BYE},
		 .trace = "handshake\n" DELIVERED},
		{.handshake = "?self-signed certificate",
		 .tls_first = true,
		 .turns = {{"", GREETING}, {EHLO, PLAIN}, MESSAGE, BYE},
		 .trace = "handshake\n" DELIVERED},
	};
	static const struct dialog shut[] = {
		{.handshake = "?self-signed certificate",
		 .turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}, {"QUIT\r\n", ""}},
		 .trace = "handshake\nclosed deferred TLS: 0 4.7.5 the server's certificate could not be verified: "
			  "self-signed certificate\n"},
		{.handshake = "?self-signed certificate",
		 .tls_first = true,
		 .turns = {{"", ""}},
		 .trace = "handshake\nclosed deferred TLS: 0 4.7.5 the server's certificate could not be verified: "
			  "self-signed certificate\n"},
	};

	for (size_t i = 0; i < 2; i++) {
		play_levels(&open[i], SMTP_CLIENT_TLS_OPPORTUNISTIC, SMTP_CLIENT_TLS_REQUIRED);
		play_levels(&shut[i], SMTP_CLIENT_TLS_VERIFIED, SMTP_CLIENT_TLS_VERIFIED);
	}
}

/* Played by hand up to some point; whether the end is laid to TLS then. */
static bool is_laid_to_tls(const struct dialog *d, const char *trace)
{
	static struct driver r;

	driver_start(&r, d);
	driver_pump(&r, SIZE_MAX);
	for (const struct turn *t = d->turns; t->want; t++) {
		driver_expect(&r, t->want);
		if (t->say)
			driver_say(&r, slice_from_cstr(t->say), SIZE_MAX);
		else
			smtp_client_lost(r.c, SLICE("broken"));
		driver_pump(&r, SIZE_MAX);
	}
	if (!r.closed) {
		r.now = smtp_client_deadline(r.c);
		smtp_client_tick(r.c, r.now - 1);
		assert_false(r.closed);
		smtp_client_tick(r.c, r.now);
		driver_pump(&r, SIZE_MAX);
	}
	assert_true(r.closed);
	assert_string_equal(r.trace, trace);
	bool broke = smtp_client_tls_broke(r.c);
	smtp_client_free(r.c);
	return broke;
}

static void who_asks_learns_whether_tls_was_the_trouble(void **state)
{
	(void)state;
	static const struct {
		struct dialog d;
		const char *trace;
		bool broke;
	} rows[] = {
		{{.handshake = "!no shared cipher", .turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}}},
		 "handshake\nclosed deferred TLS: 0 4.7.5 the handshake of TLS failed: no shared cipher\n",
		 true},
		{{.handshake = "", .turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}, {"", NULL}}},
		 "handshake\nclosed deferred TLS: 0 4.7.5 the handshake of TLS failed: broken\n",
		 true},
		{{.handshake = "", .turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}}},
		 "handshake\nclosed deferred TLS: 0 4.7.5 the handshake of TLS failed: it took longer than 30 s\n",
		 true},
		{{.handshake = "", .tls_first = true, .turns = {{"", NULL}}},
		 "handshake\nclosed deferred TLS: 0 4.7.5 the handshake of TLS failed: broken\n",
		 true},
		/* With TLS 1.3 a server's no comes behind the client's end of the handshake. */
		{{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}, {EHLO, NULL}}},
		 "handshake\nclosed deferred EHLO: 0 4.4.2 connection lost while waiting for the reply to EHLO: "
		 "broken\n",
		 true},
		{{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, NULL}}},
		 "closed deferred TLS: 0 4.4.2 connection lost while waiting for the reply to STARTTLS: broken\n",
		 true},
		{{.turns = {{"", GREETING}, {EHLO, NULL}}},
		 "closed deferred EHLO: 0 4.4.2 connection lost while waiting for the reply to EHLO: broken\n",
		 false},
		{{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}, {EHLO, "421 no\r\n"}}},
		 "handshake\nclosed deferred EHLO: 421 4.0.0 no\n",
		 false},
		{{.turns = {{"", GREETING},
			    {EHLO, OFFER},
			    {STARTTLS, "220 go\r\n"},
			    {EHLO, "501 a\r\n"},
			    {"HELO me.example\r\n", NULL}}},
		 "handshake\nclosed deferred EHLO: 0 4.4.2 connection lost while waiting for the reply to HELO: "
		 "broken\n",
		 false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (size_t l = 0; l < 3; l++) {
			struct dialog d = rows[i].d;
			d.tls = levels[l];
			assert_int_equal(is_laid_to_tls(&d, rows[i].trace), rows[i].broke);
		}
}

/* RFC 8689 4.2.1. */
#define TAKES       "250-peer.example\r\n250 REQUIRETLS\r\n"
#define MAIL_STRICT "MAIL FROM:<s@me.example> REQUIRETLS\r\n"
#define SECURED     {"", GREETING}, {EHLO, OFFER}, {STARTTLS, "220 go\r\n"}

static void mail_with_requiretls_goes_to_who_promises_the_same(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.turns = {SECURED, {EHLO, TAKES}, {MAIL_STRICT, "250 ok\r\n"}, {RCPT, "250 ok\r\n"},
			   {"DATA\r\n", "354 go\r\n"}, {SMALL_MESSAGE ".\r\n", "250 ok\r\n"}, BYE},
		 .trace = "handshake\n" DELIVERED},
		{.tls_first = true,
		 .turns = {{"", GREETING}, {EHLO, TAKES}, {MAIL_STRICT, "250 ok\r\n"}, {RCPT, "250 ok\r\n"},
			   {"DATA\r\n", "354 go\r\n"}, {SMALL_MESSAGE ".\r\n", "250 ok\r\n"}, BYE},
		 .trace = "handshake\n" DELIVERED},
		/* It is said under TLS, or it is not said. */
		{.turns = {{"", GREETING}, {EHLO, "250-p\r\n250-REQUIRETLS\r\n250 STARTTLS\r\n"},
			   {STARTTLS, "220 go\r\n"}, {EHLO, PLAIN}, {"QUIT\r\n", ""}},
		 .trace = "handshake\nclosed failed TLS: 0 5.7.30 the server offers no REQUIRETLS, which the message "
			  "demands of it\n"},
		{.turns = {{"", GREETING}, {EHLO, TAKES}, {"QUIT\r\n", ""}},
		 .trace = "closed failed TLS: 0 5.7.10 the server offers no STARTTLS, and the message demands TLS "
			  "(REQUIRETLS)\n"},
		{.turns = {{"", GREETING}, {EHLO, "500 what\r\n"}, {"HELO me.example\r\n", PLAIN}, {"QUIT\r\n", ""}},
		 .trace = "closed failed TLS: 0 5.7.10 the server offers no STARTTLS, and the message demands TLS "
			  "(REQUIRETLS)\n"},
		{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "554 5.7.0 no\r\n"}, {"QUIT\r\n", ""}},
		 .trace = "closed failed TLS: 0 5.7.10 the server refused STARTTLS, and mail may only go there "
			  "encrypted: 554 no\n"},
		{.turns = {{"", GREETING}, {EHLO, OFFER}, {STARTTLS, "454 4.7.0 later\r\n"}, {"QUIT\r\n", ""}},
		 .trace = "closed deferred TLS: 0 4.7.10 the server refused STARTTLS, and mail may only go there "
			  "encrypted: 454 later\n"},
		{.handshake = "?expired", .turns = {SECURED, {"QUIT\r\n", ""}},
		 .trace = "handshake\nclosed failed TLS: 0 5.7.10 the server's certificate could not be verified: "
			  "expired\n"},
		{.handshake = "?expired", .tls_first = true, .turns = {{"", ""}},
		 .trace = "handshake\nclosed failed TLS: 0 5.7.10 the server's certificate could not be verified: "
			  "expired\n"},
		{.handshake = "!no shared cipher", .turns = {SECURED},
		 .trace = "handshake\nclosed deferred TLS: 0 4.7.5 the handshake of TLS failed: no shared cipher\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct dialog d = rows[i];
		d.tls = SMTP_CLIENT_TLS_DEMANDED;
		d.jobs[0] = (struct smtp_client_job){.envelope = &e, .requiretls = true};
		play(&d);
	}
}

/* Whatever brought it there. */
static void mail_with_requiretls_is_never_sent_otherwise(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.tls = SMTP_CLIENT_TLS_OFF, .turns = {{"", GREETING}, {EHLO, TAKES}, BYE},
		 .trace = "job 1.0 failed MAIL FROM: 0 5.7.10 the session is not safe enough for a message with "
			  "REQUIRETLS\ndone 1\n" CLOSED_OK},
		{.tls = SMTP_CLIENT_TLS_OPPORTUNISTIC, .handshake = "?expired", .turns = {SECURED, {EHLO, TAKES}, BYE},
		 .trace = "handshake\njob 1.0 failed MAIL FROM: 0 5.7.10 the session is not safe enough for a message "
			  "with REQUIRETLS\ndone 1\n" CLOSED_OK},
		{.tls = SMTP_CLIENT_TLS_VERIFIED, .turns = {SECURED, {EHLO, PLAIN}, BYE},
		 .trace = "handshake\njob 1.0 failed MAIL FROM: 0 5.7.30 the server offers no REQUIRETLS, which the "
			  "message demands\ndone 1\n" CLOSED_OK},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct dialog d = rows[i];
		d.jobs[0] = (struct smtp_client_job){.envelope = &e, .requiretls = true};
		play(&d);
	}
}

/* RFC 8689 5: a report rather goes without than is lost. */
static void a_report_asks_for_requiretls_where_it_can(void **state)
{
	(void)state;
	static const struct mail_envelope bounce = {.rcpt = a, .rcpt_count = 1};
	static const struct {
		enum smtp_client_tls tls;
		const char *handshake, *offer, *mail;
	} rows[] = {
		{SMTP_CLIENT_TLS_OPPORTUNISTIC, NULL, TAKES, "MAIL FROM:<> REQUIRETLS\r\n"},
		{SMTP_CLIENT_TLS_OPPORTUNISTIC, "?expired", TAKES, "MAIL FROM:<>\r\n"},
		{SMTP_CLIENT_TLS_OPPORTUNISTIC, NULL, PLAIN, "MAIL FROM:<>\r\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play(&(struct dialog){
			.tls = rows[i].tls,
			.handshake = rows[i].handshake,
			.jobs = {{.envelope = &bounce, .requiretls = true}},
			.turns = {SECURED, {EHLO, rows[i].offer}, {rows[i].mail, "250 ok\r\n"}, {RCPT, "250 ok\r\n"},
				  {"DATA\r\n", "354 go\r\n"}, {SMALL_MESSAGE ".\r\n", "250 ok\r\n"}, BYE},
			.trace = "handshake\n" DELIVERED});
}

static void quit_comes_when_it_may(void **state)
{
	(void)state;
	static struct driver r;
	struct dialog d = {.tls = SMTP_CLIENT_TLS_VERIFIED, .handshake = ""};

	/* Before EHLO is answered: no handshake is begun for it. */
	driver_start(&r, &d);
	driver_say(&r, SLICE(GREETING), SIZE_MAX);
	driver_pump(&r, SIZE_MAX);
	r.sent_n = 0;
	smtp_client_quit(r.c, r.now);
	driver_say(&r, SLICE(OFFER), SIZE_MAX);
	driver_expect(&r, "QUIT\r\n");
	driver_say(&r, SLICE("221 bye\r\n"), SIZE_MAX);
	assert_string_equal(r.trace, "closed delivered end of data: 221 2.0.0 bye\n");
	smtp_client_free(r.c);

	/* In the midst of a handshake: when it is over. */
	driver_start(&r, &d);
	driver_say(&r, SLICE(GREETING), SIZE_MAX);
	driver_pump(&r, SIZE_MAX);
	driver_say(&r, SLICE(OFFER), SIZE_MAX);
	driver_say(&r, SLICE("220 go\r\n"), SIZE_MAX);
	smtp_client_quit(r.c, r.now);
	driver_pump(&r, SIZE_MAX);
	r.sent_n = 0;
	smtp_client_secured(r.c, &(struct smtp_client_security){.verified = true}, r.now);
	driver_pump(&r, SIZE_MAX);
	driver_expect(&r, EHLO);
	driver_say(&r, SLICE(PLAIN), SIZE_MAX);
	driver_expect(&r, "QUIT\r\n");
	smtp_client_free(r.c);
}

/* The end came while the owner was busy with the handshake. */
static void a_handshake_that_ends_too_late_changes_nothing(void **state)
{
	(void)state;
	static struct driver r;
	struct dialog d = {.tls = SMTP_CLIENT_TLS_OPPORTUNISTIC, .tls_first = true, .handshake = ""};

	driver_start(&r, &d);
	driver_pump(&r, SIZE_MAX);
	smtp_client_tick(r.c, smtp_client_deadline(r.c));
	driver_pump(&r, SIZE_MAX);
	assert_true(r.closed);
	smtp_client_secured(r.c, &(struct smtp_client_security){.verified = true}, r.now);
	driver_pump(&r, SIZE_MAX);
	assert_int_equal(r.sent_n, 0);
	assert_true(smtp_client_deadline(r.c) == NEVER);
	smtp_client_free(r.c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_offered_is_used),
		cmocka_unit_test(tls_from_the_first_octet_comes_before_the_greeting),
		cmocka_unit_test(starttls_is_not_said_twice),
		cmocka_unit_test(switched_off_it_is_left_alone),
		cmocka_unit_test(C3_what_was_offered_in_the_clear_is_forgotten),
		cmocka_unit_test(what_is_offered_under_tls_counts),
		cmocka_unit_test(C2_octets_behind_the_220_are_not_the_servers),
		cmocka_unit_test(C2_a_220_that_comes_too_early_is_none),
		cmocka_unit_test(C4_without_an_offer_the_mail_goes_in_the_clear_or_not_at_all),
		cmocka_unit_test(C4_a_refusal_is_taken_or_not),
		cmocka_unit_test(an_odd_answer_to_starttls_ends_the_session),
		cmocka_unit_test(a_server_that_is_not_who_it_should_be_is_told_quit),
		cmocka_unit_test(who_asks_learns_whether_tls_was_the_trouble),
		cmocka_unit_test(mail_with_requiretls_goes_to_who_promises_the_same),
		cmocka_unit_test(mail_with_requiretls_is_never_sent_otherwise),
		cmocka_unit_test(a_report_asks_for_requiretls_where_it_can),
		cmocka_unit_test(quit_comes_when_it_may),
		cmocka_unit_test(a_handshake_that_ends_too_late_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
