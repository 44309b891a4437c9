/* AUTH, as the client engine sees it: RFC 4954. */
#include "client_driver.h"

#define EHLO      "EHLO me.example\r\n"
#define GREETING  "220 peer.example ESMTP\r\n"
#define OFFER     "250-peer.example\r\n250 AUTH PLAIN LOGIN SCRAM-SHA-256\r\n"
#define QUIT      "QUIT\r\n"
#define DELIVERED "job 1.0 delivered end of data: 250 2.0.0 ok\ndone 1\nclosed delivered end of data: 221 2.0.0 bye\n"
#define OPENING {"", GREETING}
/* One message, in lock step. */
#define MESSAGE                                                                                                       \
	{"MAIL FROM:<s@me.example>\r\n", "250 ok\r\n"}, {"RCPT TO:<a@x.example>\r\n", "250 ok\r\n"},                  \
		{"DATA\r\n", "354 go\r\n"}, {SMALL_MESSAGE ".\r\n", "250 ok\r\n"}, {QUIT, "221 2.0.0 bye\r\n"}
#define CLOSED "closed deferred AUTH: 0 "

static const struct mail_rcpt a[] = {{.address = S("a@x.example")}};
static const struct mail_envelope e = {.sender = S("s@me.example"), .rcpt = a, .rcpt_count = 1};

/* Under TLS from the first octet, but where the dialog says otherwise. */
static void play_auth(const struct dialog *d)
{
	struct dialog copy = *d;

	if (!d->auth_in_clear && d->tls == SMTP_CLIENT_TLS_OFF && !d->lmtp)
		copy.tls = SMTP_CLIENT_TLS_OPPORTUNISTIC;
	copy.mechanisms = d->mechanisms ? d->mechanisms : 3;
	copy.jobs[0] = (struct smtp_client_job){.envelope = &e};
	play(&copy);
}

static void the_first_of_ours_that_is_offered_is_used(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.auth_in_clear = true,
		 .answers = {"n,,n=u,r=x", "c=biws,r=xy,p=z", "+"},
		 .turns = {OPENING,
			   {EHLO, OFFER},
			   {"AUTH SCRAM-SHA-256 biwsbj11LHI9eA==\r\n", "334 cj14eSxzPWFiYyxpPTQwOTY=\r\n"},
			   {"Yz1iaXdzLHI9eHkscD16\r\n", "334 dj1m\r\n"},
			   {"\r\n", "235 2.7.0 welcome\r\n"},
			   MESSAGE},
		 .trace = "auth SCRAM-SHA-256 (none)\nauth SCRAM-SHA-256 r=xy,s=abc,i=4096\n"
			  "auth SCRAM-SHA-256 v=f\n" DELIVERED},
		{.auth_in_clear = true,
		 .answers = {"+u"},
		 .turns = {OPENING,
			   {EHLO, "250-p\r\n250-AUTH LOGIN\r\n250-auth x plain\r\n250 AUTH=SCRAM-SHA-256\r\n"},
			   {"AUTH PLAIN dQ==\r\n", "235 ok\r\n"},
			   MESSAGE},
		 .trace = "auth PLAIN (none)\n" DELIVERED},
		{.auth_in_clear = true,
		 .answers = {"-", "u", "+p"},
		 .turns = {OPENING,
			   {EHLO, "250-p\r\n250 AUTH  LOGIN  \r\n"},
			   {"AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n"},
			   {"dQ==\r\n", "334 UGFzc3dvcmQ6\r\n"},
			   {"cA==\r\n", "235 ok\r\n"},
			   MESSAGE},
		 .trace = "auth LOGIN (none)\nauth LOGIN Username:\nauth LOGIN Password:\n" DELIVERED},
		/* RFC 4954 4: an empty initial response, an empty challenge. */
		{.auth_in_clear = true,
		 .answers = {"", "+"},
		 .turns = {OPENING,
			   {EHLO, OFFER},
			   {"AUTH SCRAM-SHA-256 =\r\n", "334 \r\n"},
			   {"\r\n", "235 ok\r\n"},
			   MESSAGE},
		 .trace = "auth SCRAM-SHA-256 (none)\nauth SCRAM-SHA-256 \n" DELIVERED},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play_auth(&rows[i]);
}

/* attacks C3, C4: what was offered in the clear counts for nothing, and no password goes out there. */
static void credentials_go_out_under_tls_alone(void **state)
{
	(void)state;
	static const char clear[] = CLOSED
		"4.7.11 the session is not encrypted, and our password may not go out in the clear\n";
	static const struct dialog rows[] = {
		{.turns = {OPENING, {EHLO, OFFER}, {QUIT, NULL}}, .trace = clear},
		{.turns = {OPENING, {EHLO, "502 what?\r\n"}, {"HELO me.example\r\n", "250 p\r\n"}, {QUIT, NULL}},
		 .trace = clear},
		{.turns = {OPENING,
			   {EHLO, "250-p\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"},
			   {"STARTTLS\r\n", "454 later\r\n"},
			   {QUIT, NULL}},
		 .trace = clear},
		{.answers = {"+u"},
		 .turns = {OPENING,
			   {EHLO, "250-p\r\n250-AUTH LOGIN\r\n250 STARTTLS\r\n"},
			   {"STARTTLS\r\n", "220 go\r\n"},
			   {EHLO, "250-p\r\n250 AUTH PLAIN\r\n"},
			   {"AUTH PLAIN dQ==\r\n", "235 ok\r\n"},
			   MESSAGE},
		 .trace = "handshake\nauth PLAIN (none)\n" DELIVERED},
		{.turns = {OPENING,
			   {EHLO, "250-p\r\n250-AUTH PLAIN\r\n250 STARTTLS\r\n"},
			   {"STARTTLS\r\n", "220 go\r\n"},
			   {EHLO, "250 p\r\n"},
			   {QUIT, NULL}},
		 .trace = "handshake\n" CLOSED
			  "4.7.4 the server offers no AUTH, and mail may only go there logged in\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play_auth(&rows[i]);
}

static void a_server_without_auth_gets_mail_only_if_the_configuration_says_so(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.auth_in_clear = true,
		 .turns = {OPENING, {EHLO, "250 p\r\n"}, {QUIT, NULL}},
		 .trace = CLOSED "4.7.4 the server offers no AUTH, and mail may only go there logged in\n"},
		{.auth_in_clear = true,
		 .auth_optional = true,
		 .turns = {OPENING, {EHLO, "250 p\r\n"}, MESSAGE},
		 .trace = DELIVERED},
		{.auth_optional = true, .turns = {OPENING, {EHLO, "250 p\r\n"}, MESSAGE}, .trace = DELIVERED},
		/* It has AUTH: that none of it can be used is a mistake of somebody. */
		{.auth_in_clear = true,
		 .auth_optional = true,
		 .turns = {OPENING, {EHLO, "250-p\r\n250 AUTH GSSAPI\r\n"}, {QUIT, NULL}},
		 .trace = CLOSED "4.7.4 the server offers no mechanism of AUTH that may be used with it\n"},
		{.auth_optional = true,
		 .turns = {OPENING, {EHLO, OFFER}, {QUIT, NULL}},
		 .trace = CLOSED "4.7.11 the session is not encrypted, and our password may not go out in the clear\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play_auth(&rows[i]);
}

/* -PLUS needs a session of TLS that has something to bind to. */
static void what_binds_to_tls_is_used_with_it_alone(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.mechanisms = 4,
		 .binds = true,
		 .answers = {"+u"},
		 .turns = {OPENING,
			   {EHLO, "250-p\r\n250 STARTTLS\r\n"},
			   {"STARTTLS\r\n", "220 go\r\n"},
			   {EHLO, "250-p\r\n250 AUTH LAST-PLUS\r\n"},
			   {"AUTH LAST-PLUS dQ==\r\n", "235 ok\r\n"},
			   MESSAGE},
		 .trace = "handshake\nauth LAST-PLUS (none)\n" DELIVERED},
		{.mechanisms = 4,
		 .turns = {OPENING,
			   {EHLO, "250-p\r\n250 STARTTLS\r\n"},
			   {"STARTTLS\r\n", "220 go\r\n"},
			   {EHLO, "250-p\r\n250 AUTH LAST-PLUS\r\n"},
			   {QUIT, NULL}},
		 .trace = "handshake\n" CLOSED
			  "4.7.4 the server offers no mechanism of AUTH that may be used with it\n"},
		{.mechanisms = 4,
		 .auth_in_clear = true,
		 .binds = true,
		 .turns = {OPENING, {EHLO, "250-p\r\n250 AUTH LAST-PLUS\r\n"}, {QUIT, NULL}},
		 .trace = CLOSED "4.7.4 the server offers no mechanism of AUTH that may be used with it\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play_auth(&rows[i]);
}

/* RFC 4954 6: 504 and its kin are about the mechanism, and not about the password. */
static void a_mechanism_that_is_not_wanted_is_followed_by_the_next(void **state)
{
	(void)state;
	static const char *const refusals[] = {"504 5.5.4 no such mechanism\r\n", "534 5.7.9 too weak\r\n",
					       "538 5.7.11 not without encryption\r\n", "432 4.7.12 in transition\r\n"};

	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		struct dialog d = {.auth_in_clear = true,
				   .answers = {"x", "+u"},
				   .turns = {OPENING,
					     {EHLO, OFFER},
					     {"AUTH SCRAM-SHA-256 eA==\r\n", refusals[i]},
					     {"AUTH PLAIN dQ==\r\n", "235 ok\r\n"},
					     MESSAGE},
				   .trace = "auth SCRAM-SHA-256 (none)\nauth PLAIN (none)\n" DELIVERED};
		play_auth(&d);
		/* In the middle of an exchange as well. */
		struct dialog late = {.auth_in_clear = true,
				      .answers = {"x", "y", "+u"},
				      .turns = {OPENING,
						{EHLO, OFFER},
						{"AUTH SCRAM-SHA-256 eA==\r\n", "334 YQ==\r\n"},
						{"eQ==\r\n", refusals[i]},
						{"AUTH PLAIN dQ==\r\n", "235 ok\r\n"},
						MESSAGE},
				      .trace = "auth SCRAM-SHA-256 (none)\nauth SCRAM-SHA-256 a\nauth PLAIN (none)\n"
					       DELIVERED};
		play_auth(&late);
	}
	/* Each once. */
	static const struct dialog none_left = {
		.auth_in_clear = true,
		.answers = {"x", "+u", "-"},
		.turns = {OPENING,
			  {EHLO, OFFER},
			  {"AUTH SCRAM-SHA-256 eA==\r\n", "504 no\r\n"},
			  {"AUTH PLAIN dQ==\r\n", "504 nor that\r\n"},
			  {"AUTH LOGIN\r\n", "504 5.5.4 nor that\r\n"},
			  {QUIT, NULL}},
		.trace = "auth SCRAM-SHA-256 (none)\nauth PLAIN (none)\nauth LOGIN (none)\n" CLOSED
			 "4.7.4 the server refused AUTH LOGIN: 504 nor that\n"};
	play_auth(&none_left);
	/* A wrong password is wrong everywhere, and to try it again may lock the account. */
	static const struct dialog wrong = {.auth_in_clear = true,
					    .answers = {"x"},
					    .turns = {OPENING,
						      {EHLO, OFFER},
						      {"AUTH SCRAM-SHA-256 eA==\r\n", "535 5.7.8 no\r\n"},
						      {QUIT, NULL}},
					    .trace = "auth SCRAM-SHA-256 (none)\n" CLOSED
						     "4.7.8 the server refused AUTH SCRAM-SHA-256: 535 no\n"};
	play_auth(&wrong);
}

/* Whatever the digit, mail waits: a wrong password must not send it back. */
static void a_refusal_is_temporary(void **state)
{
	(void)state;
	static const struct {
		const char *says, *trace;
		bool no_quit; /* it has said good-bye, or nonsense */
	} rows[] = {
		{"535 5.7.8 bad password\r\n", CLOSED "4.7.8 the server refused AUTH PLAIN: 535 bad password\n"},
		{"535 no\r\n", CLOSED "4.7.8 the server refused AUTH PLAIN: 535 no\n"},
		{"534 5.7.9 too weak\r\n", CLOSED "4.7.9 the server refused AUTH PLAIN: 534 too weak\n"},
		{"534 too weak\r\n", CLOSED "4.7.9 the server refused AUTH PLAIN: 534 too weak\n"},
		{"454 4.7.0 later\r\n", CLOSED "4.7.0 the server refused AUTH PLAIN: 454 later\n"},
		{"454 later\r\n", CLOSED "4.7.0 the server refused AUTH PLAIN: 454 later\n"},
		{"525 5.7.13 switched off\r\n", CLOSED "4.7.13 the server refused AUTH PLAIN: 525 switched off\n"},
		{"421 4.3.2 shutting down\r\n", "closed deferred AUTH: 421 4.3.2 shutting down\n", true},
		{"500 what is AUTH PLAIN dQ==?\r\n",
		 CLOSED "4.7.8 the server refused AUTH PLAIN: 500 (words that repeat our answer)\n"},
		{"250 AUTH PLAIN dQ==\r\n", "closed deferred AUTH: 0 4.5.0 (words that repeat our answer)\n", true},
		{"421 AUTH PLAIN dQ==\r\n", "closed deferred AUTH: 421 4.0.0 (words that repeat our answer)\n", true},
		{"500 5.5.6 long\r\n", CLOSED "4.7.8 the server refused AUTH PLAIN: 500 long\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct dialog d = {.auth_in_clear = true,
				   .answers = {"+u"},
				   .turns = {OPENING,
					     {EHLO, "250-p\r\n250 AUTH PLAIN\r\n"},
					     {"AUTH PLAIN dQ==\r\n", rows[i].says},
					     {rows[i].no_quit ? "" : QUIT, NULL}}};
		char trace[300];

		snprintf(trace, sizeof trace, "auth PLAIN (none)\n%s", rows[i].trace);
		d.trace = trace;
		play_auth(&d);
	}
}

/* A server that does not know the password must not be taken for one that does (RFC 5802 5). */
static void a_welcome_without_proof_is_not_believed(void **state)
{
	(void)state;
	static const struct dialog rows[] = {
		{.auth_in_clear = true,
		 .answers = {"n,,n=u,r=x"},
		 .turns = {OPENING,
			   {EHLO, OFFER},
			   {"AUTH SCRAM-SHA-256 biwsbj11LHI9eA==\r\n", "235 ok\r\n"},
			   {QUIT, NULL}},
		 .trace = "auth SCRAM-SHA-256 (none)\n" CLOSED
			  "4.7.5 the server let us in without proof that it knows the password\n"},
		{.auth_in_clear = true,
		 .answers = {"-"},
		 .turns = {OPENING,
			   {EHLO, "250-p\r\n250 AUTH LOGIN\r\n"},
			   {"AUTH LOGIN\r\n", "235 ok\r\n"},
			   {QUIT, NULL}},
		 .trace = "auth LOGIN (none)\n" CLOSED
			  "4.7.5 the server let us in without proof that it knows the password\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		play_auth(&rows[i]);
}

static void a_challenge_without_answer_cancels_the_exchange(void **state)
{
	(void)state;
	static const struct {
		const char *says, *want, *trace;
	} rows[] = {
		{"334 %%%\r\n", "*\r\nQUIT\r\n",
		 CLOSED "4.7.0 AUTH SCRAM-SHA-256 could not go on: the server's challenge is no base64\n"},
		{"334 YQ\r\n", "*\r\nQUIT\r\n",
		 CLOSED "4.7.0 AUTH SCRAM-SHA-256 could not go on: the server's challenge is no base64\n"},
		{"334 YQ==\r\n", "*\r\nQUIT\r\n",
		 "auth SCRAM-SHA-256 a\n" CLOSED "4.7.0 AUTH SCRAM-SHA-256 could not go on: no answer\n"},
		{"334-YQ==\r\n334 YQ==\r\n", "",
		 "closed deferred AUTH: 0 4.5.0 unexpected reply to AUTH: 334 YQ== YQ==\n"},
		{"250 ok\r\n", "", "closed deferred AUTH: 0 4.5.0 unexpected reply to AUTH: 250 ok\n"},
		{"354 ok\r\n", "", "closed deferred AUTH: 0 4.5.0 unexpected reply to AUTH: 354 ok\n"},
		{NULL, "",
		 "closed deferred AUTH: 0 4.4.2 connection lost while waiting for the reply to AUTH: broken\n"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct dialog d = {.auth_in_clear = true,
				   .answers = {"x"},
				   .turns = {OPENING,
					     {EHLO, OFFER},
					     {"AUTH SCRAM-SHA-256 eA==\r\n", rows[i].says},
					     {rows[i].want, NULL}}};
		char trace[300];

		snprintf(trace, sizeof trace, "auth SCRAM-SHA-256 (none)\n%s", rows[i].trace);
		d.trace = trace;
		play_auth(&d);
	}
}

static void without_a_first_answer_auth_is_not_begun(void **state)
{
	(void)state;
	static const struct dialog d = {.auth_in_clear = true,
					.turns = {OPENING, {EHLO, OFFER}, {QUIT, NULL}},
					.trace = "auth SCRAM-SHA-256 (none)\n" CLOSED
						 "4.7.0 AUTH SCRAM-SHA-256 could not go on: no answer\n"};

	play_auth(&d);
}

/* 372 octets of "a" in base64, between two texts. */
static void encode(char encoded[700], const char *before, const char *behind)
{
	struct buf b;

	buf_init(&b, 699);
	buf_printf(&b, "%s", before);
	for (size_t i = 0; i < 124; i++)
		buf_add_lit(&b, "YWFh");
	buf_printf(&b, "%s", behind);
	assert_false(b.failed);
	memcpy(encoded, buf_slice(&b).p, buf_len(&b));
	encoded[buf_len(&b)] = '\0';
	buf_free(&b);
}

/* RFC 4954 4: a command line has 512 octets, and what does not fit follows an empty challenge. */
static void a_long_initial_response_waits_for_the_challenge(void **state)
{
	(void)state;
	char answer[500], encoded[700];
	struct dialog d = {.auth_in_clear = true,
			   .mechanisms = 3,
			   .answers = {answer},
			   .turns = {OPENING,
				     {EHLO, "250-p\r\n250 AUTH PLAIN\r\n"},
				     {"AUTH PLAIN\r\n", "334 \r\n"},
				     {encoded, "235 ok\r\n"},
				     MESSAGE},
			   .trace = "auth PLAIN (none)\n" DELIVERED};

	memset(answer, 0, sizeof answer);
	answer[0] = '+';
	/* "AUTH PLAIN " and CRLF leave 499 octets: 124 groups of base64, 372 octets. */
	memset(answer + 1, 'a', 372);
	encode(encoded, "AUTH PLAIN ", "\r\n");
	d.turns[2] = (struct turn){encoded, "235 ok\r\n"};
	struct dialog fits = d;
	memmove(&fits.turns[3], &fits.turns[4], sizeof fits.turns - 4 * sizeof *fits.turns);
	play_auth(&fits);

	answer[373] = 'a';
	encode(encoded, "", "YQ==\r\n");
	d.turns[2] = (struct turn){"AUTH PLAIN\r\n", "334 \r\n"};
	play_auth(&d);

	/* A server that asks for something else does not get it. */
	d.turns[2] = (struct turn){"AUTH PLAIN\r\n", "334 YQ==\r\n"};
	d.turns[3] = (struct turn){"*\r\nQUIT\r\n", NULL};
	d.turns[4] = (struct turn){NULL, NULL};
	d.trace = "auth PLAIN (none)\n" CLOSED
		  "4.7.0 AUTH PLAIN could not go on: the server does not wait for our initial response\n";
	play_auth(&d);
	/* Nor can it say that it knows us before it was told. */
	d.turns[2] = (struct turn){"AUTH PLAIN\r\n", "235 ok\r\n"};
	d.turns[3] = (struct turn){QUIT, NULL};
	d.trace = "auth PLAIN (none)\n" CLOSED
		  "4.7.5 the server let us in without proof that it knows the password\n";
	play_auth(&d);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_of_ours_that_is_offered_is_used),
		cmocka_unit_test(credentials_go_out_under_tls_alone),
		cmocka_unit_test(a_server_without_auth_gets_mail_only_if_the_configuration_says_so),
		cmocka_unit_test(what_binds_to_tls_is_used_with_it_alone),
		cmocka_unit_test(a_mechanism_that_is_not_wanted_is_followed_by_the_next),
		cmocka_unit_test(a_refusal_is_temporary),
		cmocka_unit_test(a_welcome_without_proof_is_not_believed),
		cmocka_unit_test(a_challenge_without_answer_cancels_the_exchange),
		cmocka_unit_test(without_a_first_answer_auth_is_not_begun),
		cmocka_unit_test(a_long_initial_response_waits_for_the_challenge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
