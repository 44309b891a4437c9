/*
 * AUTH (RFC 4954) with the server engine: dialogs, each run whole, octet by octet, and cut at every point; limits, loss
 * and time within an exchange.
 */
#include "test.h"

#include "base/base64.h"
#include "dialog.h"

/* "good" Z29vZA==  "more" bW9yZQ==  "bad" YmFk  "later" bGF0ZXI=  "off" b2Zm  "weak" d2Vhaw==  "shift" c2hpZnQ=
 * "leave" bGVhdmU=  "go on" Z28gb24=  "<1@mx>" PDFAbXg+ */

/* clang-format off */
static const struct dialog dialogs[] = {
	{"an initial response that is good, and a message behind it", AUTH_BEHIND_TLS | TLS_IMPLICIT,
	 {{S(""), "220"}, EHLO, {S("AUTH PLAIN Z29vZA==\r\n"), "235 2.7.0"},
	  {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"), "250 2.1.0, 250 2.1.5, 354"},
	  {S("x\r\n.\r\nQUIT\r\n"), "250 2.6.0, 221 2.0.0"}},
	 "TLS\n" HELLO "AUTH PLAIN good\nMAIL s@a.example\nRCPT r@example.com\nDATA\n"
	 "END s@a.example -> r@example.com: x\\r\\n\nCLOSE\n"},
	{"an exchange of several steps, in any case", AUTH,
	 {{S(""), "220"}, EHLO, {S("auth scram-sha-256 bW9yZQ==\r\n"), "334"}, {S("bW9yZQ==\r\n"), "334"},
	  {S("Z29vZA==\r\n"), "235 2.7.0"}, {S("NOOP\r\n"), "250 2.0.0"}},
	 HELLO "AUTH SCRAM-SHA-256 more\nRESPONSE more\nRESPONSE good\n"},
	{"no initial response, one that is empty, and a response that is empty", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH SCRAM-SHA-256\r\n"), "334"}, {S("\r\n"), "535 5.7.8"},
	  {S("AUTH SCRAM-SHA-256 =\r\n"), "535 5.7.8"}, {S("AUTH SCRAM-SHA-256 \r\n"), "334"},
	  {S("Z29vZA==\r\n"), "235 2.7.0"}},
	 HELLO "AUTH SCRAM-SHA-256\nRESPONSE \nAUTH SCRAM-SHA-256 \nAUTH SCRAM-SHA-256\nRESPONSE good\n"},
	{"every answer of the owner's, and another attempt behind each", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH CRAM-MD5\r\n"), "334"}, {S("YmFk\r\n"), "535 5.7.8"},
	  {S("AUTH SCRAM-SHA-256 bGF0ZXI=\r\n"), "454 4.7.0"}, {S("AUTH SCRAM-SHA-256 b2Zm\r\n"), "525 5.7.13"},
	  {S("AUTH SCRAM-SHA-256 d2Vhaw==\r\n"), "534 5.7.9"}, {S("AUTH SCRAM-SHA-256 c2hpZnQ=\r\n"), "432 4.7.12"},
	  {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "235 2.7.0"}},
	 HELLO "AUTH CRAM-MD5\nRESPONSE bad\nAUTH SCRAM-SHA-256 later\nAUTH SCRAM-SHA-256 off\n"
	 "AUTH SCRAM-SHA-256 weak\nAUTH SCRAM-SHA-256 shift\nAUTH SCRAM-SHA-256 good\n"},
	{"the owner ends the session", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH SCRAM-SHA-256 bGVhdmU=\r\n"), "421 4.3.2"}},
	 HELLO "AUTH SCRAM-SHA-256 leave\nCLOSE\n"},
	{"cancelled by the client", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH SCRAM-SHA-256 bW9yZQ==\r\n"), "334"}, {S("*\r\n"), "501 5.7.0"},
	  {S("*\r\n"), "500 5.5.1"}, {S("AUTH SCRAM-SHA-256 *\r\n"), "501 5.5.2"},
	  {S("AUTH SCRAM-SHA-256\r\n"), "334"}, {S("* \r\n"), "501 5.5.2"}},
	 HELLO "AUTH SCRAM-SHA-256 more\nABORT\nAUTH SCRAM-SHA-256\nABORT\n"},
	{"what is no base64 (U1)", AUTH | TALKATIVE,
	 {{S(""), "220"}, EHLO,
	  {S("AUTH SCRAM-SHA-256 Z29vZA\r\nAUTH SCRAM-SHA-256 Z29vZA=\r\nAUTH SCRAM-SHA-256 =AAA\r\n"
	     "AUTH SCRAM-SHA-256 AAA=BBB\r\nAUTH SCRAM-SHA-256 Z29v.A==\r\nAUTH SCRAM-SHA-256 Z29vZB==\r\n"
	     "AUTH SCRAM-SHA-256 \xc3\xa9\xc3\xa9\r\nAUTH SCRAM-SHA-256 ==\r\n"),
	   "501 5.5.2, 501 5.5.2, 501 5.5.2, 501 5.5.2, 501 5.5.2, 501 5.5.2, 501 5.5.2, 501 5.5.2"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("Z29vZA=\r\n"), "501 5.5.2"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("=\r\n"), "501 5.5.2"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S(" Z29vZA==\r\n"), "501 5.5.2"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("Z29\0\r\n"), "501 5.5.2"}},
	 HELLO "AUTH CRAM-MD5\nABORT\nAUTH CRAM-MD5\nABORT\nAUTH CRAM-MD5\nABORT\nAUTH CRAM-MD5\nABORT\n"},
	{"bare CR and LF in a response: one error, told at once, and nothing of the line is run (S26)", AUTH | TALKATIVE,
	 {{S(""), "220"}, EHLO,
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("Z29vZA==\n"), "501 5.5.2"}, {S("Z29vZA==\r\nNOOP\r\n"), "250 2.0.0"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("Z29vZA==\rRSET\r\nNOOP\r\n"), "501 5.5.2, 250 2.0.0"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("Z29vZA==\r\r\nNOOP\r\n"), "501 5.5.2, 250 2.0.0"},
	  {S("AUTH SCRAM-SHA-256 Z29vZA==\nNOOP\r\nNOOP\r\n"), "500 5.5.2, 250 2.0.0"}},
	 HELLO "AUTH CRAM-MD5\nABORT\nAUTH CRAM-MD5\nABORT\nAUTH CRAM-MD5\nABORT\n"},
	{"commands inside an exchange are responses", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH CRAM-MD5\r\n"), "334"}, {S("QUIT\r\n"), "535 5.7.8"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("MAIL FROM:<s@a.example>\r\n"), "501 5.5.2"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("RSET\r\n"), "535 5.7.8"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("GET / HTTP/1.1\r\n"), "501 5.5.2"}, {S("QUIT\r\n"), "221 2.0.0"}},
	 HELLO "AUTH CRAM-MD5\nRESPONSE AB\\13\nAUTH CRAM-MD5\nABORT\nAUTH CRAM-MD5\nRESPONSE E!\\13\n"
	 "AUTH CRAM-MD5\nABORT\nCLOSE\n"},
	{"syntax, mechanisms that are unknown, an initial response where none may be", AUTH | TALKATIVE,
	 {{S(""), "220"}, EHLO,
	  {S("AUTH\r\nAUTH \r\nAUTH PLAIN+ Z29vZA==\r\nAUTH ABCDEFGHIJKLMNOPQRSTU\r\nAUTH CRAM-MD5  \r\n"),
	   "501 5.5.4, 501 5.5.4, 501 5.5.2, 501 5.5.2, 334"},
	  {S("*\r\n"), "501 5.7.0"},
	  {S("AUTH SCRAM-SHA-256  Z29vZA==\r\nAUTH SCRAM-SHA-256 Z29vZA== x\r\nAUTH  SCRAM-SHA-256\r\n"),
	   "501 5.5.2, 501 5.5.2, 501 5.5.2"},
	  {S("AUTH NTLM\r\nAUTH X_1 Z29vZA==\r\nAUTH CRAM-MD5 Z29vZA==\r\nAUTH CRAM-MD5 =\r\nAUTH CRAM-MD5 ?\r\n"),
	   "504 5.5.4, 504 5.5.4, 501 5.7.0, 501 5.7.0, 501 5.7.0"}},
	 HELLO "AUTH CRAM-MD5\nABORT\n"},
	{"too early, after HELO, inside a transaction, and again (U5)", AUTH,
	 {{S(""), "220"}, {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "503 5.5.1"},
	  {S("HELO a.example\r\n"), "250"}, {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "503 5.5.1"}, EHLO,
	  {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"}, {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "503 5.5.1"},
	  {S("RCPT TO:<r@example.com>\r\n"), "250 2.1.5"}, {S("AUTH\r\n"), "503 5.5.1"},
	  {S("RSET\r\n"), "250 2.0.0"}, {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "235 2.7.0"},
	  {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "503 5.5.1"}, EHLO, {S("AUTH NTLM\r\n"), "503 5.5.1"}},
	 "CONNECT\nHELO a.example\nEHLO a.example\nMAIL s@a.example\nRCPT r@example.com\nRESET\n"
	 "AUTH SCRAM-SHA-256 good\nEHLO a.example\n"},
	{"between chunks, and behind a refused one", AUTH,
	 {{S(""), "220"}, EHLO, {S("MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nBDAT 1\r\nx"),
	   "250 2.1.0, 250 2.1.5, 250 2.5.0"}, {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "503 5.5.1"},
	  {S("BDAT x\r\nAUTH SCRAM-SHA-256 Z29vZA==\r\n"), "501 5.5.4, 503 5.5.1"}},
	 HELLO "MAIL s@a.example\nRCPT r@example.com\nDATA\nRESET\n"},
	{"in the clear: mechanisms that show secrets are refused, others are served (C4)", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH PLAIN Z29vZA==\r\n"), "538 5.7.11"}, {S("AUTH LOGIN\r\n"), "538 5.7.11"},
	  {S("AUTH PLAIN ?\r\n"), "538 5.7.11"}, {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "235 2.7.0"}},
	 HELLO "AUTH SCRAM-SHA-256 good\n"},
	{"in the clear, where nothing is served there (C4)", AUTH_BEHIND_TLS | TLS_OFFER,
	 {{S(""), "220"}, EHLO, {S("AUTH PLAIN Z29vZA==\r\n"), "523 5.7.10"}, {S("AUTH CRAM-MD5\r\n"), "523 5.7.10"},
	  {S("AUTH NTLM\r\n"), "504 5.5.4"}, {S("STARTTLS\r\n"), "220 2.0.0"},
	  {S("AUTH PLAIN Z29vZA==\r\n"), "503 5.5.1"}, EHLO, {S("AUTH PLAIN Z29vZA==\r\n"), "235 2.7.0"}},
	 HELLO "STARTTLS\nTLS\nEHLO a.example\nAUTH PLAIN good\n"},
	{"STARTTLS behind AUTH: who the client was is forgotten (C3)", AUTH | AUTH_REQUIRED | TLS_OFFER,
	 {{S(""), "220"}, EHLO, {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "235 2.7.0"}, {S("STARTTLS\r\n"), "220 2.0.0"},
	  EHLO, {S("MAIL FROM:<s@a.example>\r\n"), "530 5.7.0"}, {S("AUTH PLAIN Z29vZA==\r\n"), "235 2.7.0"},
	  {S("MAIL FROM:<s@a.example>\r\n"), "250 2.1.0"}},
	 HELLO "AUTH SCRAM-SHA-256 good\nSTARTTLS\nTLS\nEHLO a.example\nAUTH PLAIN good\nMAIL s@a.example\n"},
	{"a mechanism that this session has not got", AUTH_BEHIND_TLS | AUTH_NARROW | TLS_IMPLICIT,
	 {{S(""), "220"}, EHLO, {S("AUTH PLAIN Z29vZA==\r\n"), "504 5.5.4"}, {S("AUTH CRAM-MD5\r\n"), "334"},
	  {S("Z29vZA==\r\n"), "235 2.7.0"}},
	 "TLS\n" HELLO "AUTH CRAM-MD5\nRESPONSE good\n"},
	{"AUTH is required: 530 to all but what leads to it", AUTH | AUTH_REQUIRED | TALKATIVE,
	 {{S(""), "220"}, {S("MAIL FROM:<s@a.example>\r\n"), "530 5.7.0"}, EHLO,
	  {S("MAIL FROM:<s@a.example>\r\nMAIL\r\nRCPT TO:<r@example.com>\r\nDATA\r\nBDAT 6 LAST\r\nNOOP\r\nVRFY u\r\n"
	     "EXPN l\r\nHELP\r\nDATA now\r\n"),
	   "530 5.7.0, 530 5.7.0, 530 5.7.0, 530 5.7.0, 530 5.7.0, 530 5.7.0, 530 5.7.0, 530 5.7.0, 530 5.7.0"},
	  {S("NOOP\r\nRSET\r\nHELO a.example\r\nSTARTTLS\r\nXYZ\r\nETRN a\r\n"),
	   "250 2.0.0, 250 2.0.0, 250, 502 5.5.1, 500 5.5.1, 502 5.5.1"},
	  EHLO, {S("AUTH SCRAM-SHA-256 YmFk\r\nMAIL FROM:<s@a.example>\r\n"), "535 5.7.8, 530 5.7.0"},
	  {S("AUTH SCRAM-SHA-256 Z29vZA==\r\nMAIL FROM:<s@a.example>\r\nHELP\r\nQUIT\r\n"),
	   "235 2.7.0, 250 2.1.0, 214 2.0.0, 221 2.0.0"}},
	 HELLO "HELO a.example\nEHLO a.example\nAUTH SCRAM-SHA-256 bad\nAUTH SCRAM-SHA-256 good\nMAIL s@a.example\n"
	 "RESET\nCLOSE\n"},
	{"TLS is required: 530 for that", AUTH | TLS_REQUIRE,
	 {{S(""), "220"}, EHLO, {S("AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "530 5.7.0"}}, HELLO},
	{"AUTH is not offered", 0, {{S(""), "220"}, EHLO, {S("AUTH PLAIN Z29vZA==\r\n"), "502 5.5.1"}}, HELLO},
	{"a mechanism of one step may have more behind it (RFC 4954 4)", AUTH_BEHIND_TLS | TLS_IMPLICIT,
	 {{S(""), "220"}, EHLO,
	  {S("AUTH PLAIN YmFk\r\nAUTH plain Z29vZA==\r\nMAIL FROM:<s@a.example>\r\n"),
	   "535 5.7.8, 235 2.7.0, 250 2.1.0"}},
	 "TLS\n" HELLO "AUTH PLAIN bad\nAUTH PLAIN good\nMAIL s@a.example\n"},
	{"others may not (B1)", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH SCRAM-SHA-256 bW9yZQ==\r\nMAIL FROM:<s@a.example>\r\n"), "334, 554 5.5.1"}},
	 HELLO "AUTH SCRAM-SHA-256 more\nABORT\nCLOSE\n"},
	{"nor may one of one step without its response (B1)", AUTH_BEHIND_TLS | TLS_IMPLICIT,
	 {{S(""), "220"}, EHLO, {S("AUTH PLAIN\r\nZ29vZA==\r\n"), "334, 554 5.5.1"}},
	 "TLS\n" HELLO "AUTH PLAIN\nABORT\nCLOSE\n"},
	{"nothing may follow a response before its answer (B1)", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH CRAM-MD5\r\n"), "334"}, {S("Z29vZA==\r\nNOOP\r\n"), "235 2.7.0, 554 5.5.1"}},
	 HELLO "AUTH CRAM-MD5\nRESPONSE good\nCLOSE\n"},
	{"who talks early is served where that is configured", AUTH | TALKATIVE,
	 {{S("EHLO a.example\r\nAUTH CRAM-MD5\r\nbW9yZQ==\r\nZ29vZA==\r\nNOOP\r\n"), "220, 250, 334, 334, 235 2.7.0, 250 2.0.0"}},
	 HELLO "AUTH CRAM-MD5\nRESPONSE more\nRESPONSE good\n"},
	{"an exchange that does not end is idle", AUTH | FEW_COMMANDS | TALKATIVE,
	 {{S(""), "220"}, EHLO, {S("AUTH SCRAM-SHA-256\r\n"), "334"}, {S("bW9yZQ==\r\nbW9yZQ==\r\nbW9yZQ==\r\n"), "334, 334, 421 4.7.0"}},
	 HELLO "AUTH SCRAM-SHA-256\nRESPONSE more\nRESPONSE more\nABORT\nCLOSE\n"},
	{"a handshake of TLS inside an exchange", AUTH,
	 {{S(""), "220"}, EHLO, {S("AUTH SCRAM-SHA-256\r\n"), "334"}, {S("\x16\3\1"), "421 4.5.5"}},
	 HELLO "AUTH SCRAM-SHA-256\nABORT\nCLOSE\n"},
	{"the AUTH parameter of MAIL, said by anybody (RFC 4954 5)", AUTH,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<e=mc2@example.com> AUTH=e+3Dmc2@example.com\r\nRSET\r\nMAIL FROM:<> AUTH=<>\r\nRSET\r\n"),
	   "250 2.1.0, 250 2.0.0, 250 2.1.0, 250 2.0.0"},
	  {S("MAIL FROM:<a@b> auth=+3C+3E RET=FULL\r\nRSET\r\nMAIL FROM:<a@b> AUTH=+22a+20b+22@[192.0.2.1]\r\nRSET\r\n"),
	   "250 2.1.0, 250 2.0.0, 250 2.1.0, 250 2.0.0"}},
	 HELLO "MAIL e=mc2@example.com\nRESET\nMAIL \nRESET\nMAIL a@b ret=1\nRESET\nMAIL a@b\nRESET\n"},
	{"AUTH parameters that are refused (B9, S27)", AUTH,
	 {{S(""), "220"}, EHLO,
	  {S("MAIL FROM:<a@b> AUTH\r\nMAIL FROM:<a@b> AUTH=\r\nMAIL FROM:<a@b> AUTH=a\r\nMAIL FROM:<a@b> AUTH=\"\r\n"
	     "MAIL FROM:<a@b> AUTH=a=b@c\r\nMAIL FROM:<a@b> AUTH=a+0D+0A@b\r\nMAIL FROM:<a@b> AUTH=a+00@b\r\n"),
	   "501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4"},
	  {S("MAIL FROM:<a@b> AUTH=<> AUTH=<>\r\nMAIL FROM:<a@b> AUTH=<a@b>\r\nMAIL FROM:<a@b> AUTH=a+2@b\r\n"
	     "MAIL FROM:<a@b> AUTH=\xc3\xa9@b\r\nMAIL FROM:<a@b> AUTH=a@b,c@d\r\n"),
	   "501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4, 501 5.5.4"},
	  {S("HELO a.example\r\n"), "250"}, {S("MAIL FROM:<a@b> AUTH=<>\r\n"), "555 5.5.4"}},
	 HELLO "HELO a.example\n"},
	{"LMTP has it too", AUTH | LMTP,
	 {{S(""), "220"}, {S("AUTH CRAM-MD5\r\n"), "503 5.5.1"}, {S("LHLO a.example\r\n"), "250"},
	  {S("AUTH CRAM-MD5\r\n"), "334"}, {S("Z29vZA==\r\n"), "235 2.7.0"}},
	 HELLO "AUTH CRAM-MD5\nRESPONSE good\n"},
};
/* clang-format on */

/* ---- what EHLO says -----------------------------------------------------------------------------------------------
 */

static struct slice says(struct desk *d, const char *text)
{
	buf_reset(&d->out);
	desk_feed(d, slice_from_cstr(text));
	desk_flush(d);
	return buf_slice(&d->out);
}

static void begin(struct desk *d, bool in_clear)
{
	desk_init(d);
	d->config.tls = SMTP_TLS_OFFER;
	desk_offer_auth(d, in_clear);
}

static void greet(struct desk *d)
{
	desk_start(d);
	desk_flush(d);
	desk_answer_now(d);
	says(d, "EHLO a.example\r\n");
	desk_answer_now(d);
	desk_flush(d);
}

static struct slice offer(struct slice ehlo)
{
	struct slice from = slice_skip(ehlo, slice_search(ehlo, SLICE("AUTH")));

	return slice_head(from, slice_find(from, '\r'));
}

static void ehlo_lists_what_may_be_used_and_more_behind_tls(void **state)
{
	(void)state;
	struct desk d;

	begin(&d, true);
	greet(&d);
	assert_slice(offer(buf_slice(&d.out)), "AUTH SCRAM-SHA-256 CRAM-MD5");
	says(&d, "STARTTLS\r\n");
	desk_secure(&d);
	assert_slice(offer(says(&d, "EHLO a.example\r\n")), "AUTH PLAIN LOGIN SCRAM-SHA-256 CRAM-MD5");
	smtp_server_set_mechanisms(d.s, 4);
	assert_slice(offer(says(&d, "EHLO a.example\r\n")), "AUTH SCRAM-SHA-256");
	smtp_server_set_mechanisms(d.s, 0);
	assert_slice(offer(says(&d, "EHLO a.example\r\n")), "");
	assert_slice(says(&d, "AUTH SCRAM-SHA-256\r\n"),
		     "504 5.5.4 Mechanism SCRAM-SHA-256 is not available here; EHLO lists those that are\r\n");
	desk_free(&d);
}

static void ehlo_lists_nothing_that_needs_tls_in_the_clear(void **state)
{
	(void)state;
	struct desk d;

	begin(&d, false);
	greet(&d);
	assert_slice(offer(buf_slice(&d.out)), "");
	assert_slice(says(&d, "AUTH PLAIN\r\n"), "523 5.7.10 Encryption needed: authenticate behind STARTTLS\r\n");
	desk_free(&d);
}

static void the_most_mechanisms_stand_on_one_line(void **state)
{
	(void)state;
	static const struct smtp_mechanism one = {{"ABCDEFGHIJKLMNOPQRST", 20}, .in_clear = true};
	struct smtp_mechanism list[SMTP_MECHANISMS_MAX];
	struct desk d;

	for (size_t i = 0; i < SMTP_MECHANISMS_MAX; i++)
		list[i] = one;
	begin(&d, true);
	d.config.mechanisms = list;
	d.config.mechanism_count = SMTP_MECHANISMS_MAX;
	greet(&d);
	assert_int_equal(offer(buf_slice(&d.out)).n, 4 + 21 * SMTP_MECHANISMS_MAX);
	desk_free(&d);
}

/* ---- challenges ---------------------------------------------------------------------------------------------------
 */

static void a_challenge_is_base64_and_nothing_else(void **state)
{
	(void)state;
	struct desk d;

	begin(&d, true);
	greet(&d);
	assert_slice(says(&d, "AUTH CRAM-MD5\r\n"), "334 PDFAbXg+\r\n");
	assert_slice(says(&d, "*\r\n"), "501 5.7.0 Authentication cancelled\r\n");
	assert_slice(says(&d, "AUTH SCRAM-SHA-256\r\n"), "334 \r\n");
	assert_slice(says(&d, "bW9yZQ==\r\n"), "334 Z28gb24=\r\n");
	assert_slice(says(&d, "Z29vZA==\r\n"), "235 2.7.0 Authentication succeeded\r\n");
	desk_free(&d);
}

static void the_longest_challenge_is_one_line(void **state)
{
	(void)state;
	static char challenge[SMTP_CHALLENGE_MAX];
	struct buf expected;
	struct desk d;

	buf_init(&expected, 20000);
	memset(challenge, 0xa5, sizeof challenge);
	buf_add_lit(&expected, "334 ");
	base64_encode(slice_of(challenge, sizeof challenge), &expected);
	buf_add_lit(&expected, "\r\n");
	assert_int_equal(buf_len(&expected), 4 + SMTP_AUTH_LINE_MAX + 2);

	begin(&d, true);
	greet(&d);
	d.silent = true;
	buf_reset(&d.out);
	desk_feed(&d, SLICE("AUTH CRAM-MD5\r\n"));
	assert_true(d.waiting);
	d.waiting = false;
	smtp_server_challenge(d.s, slice_of(challenge, sizeof challenge));
	desk_flush(&d);
	assert_true(slice_eq(buf_slice(&d.out), buf_slice(&expected)));
	desk_free(&d);
	buf_free(&expected);
}

/* ---- limits -------------------------------------------------------------------------------------------------------
 */

enum { WHOLE_LINE, IN_OCTETS, IN_TWO };

/* Feeds `text`, then 'A' so often, then CRLF. */
static void feed_long(struct desk *d, const char *text, size_t n, int how)
{
	size_t head = strlen(text), all = head + n + 2;
	char *line = malloc(all);

	memcpy(line, text, head);
	memset(line + head, 'A', n);
	memcpy(line + all - 2, "\r\n", 2);
	buf_reset(&d->out);
	for (size_t at = 0, piece; at < all && !d->closed; at += piece) {
		piece = how == WHOLE_LINE ? all : how == IN_OCTETS ? 1 : at ? all - at : all / 2;
		char *copy = test_exact_copy(slice_of(line + at, piece));
		assert_int_equal(desk_feed(d, slice_of(copy, piece)), piece);
		free(copy);
	}
	desk_flush(d);
	free(line);
}

static void assert_starts(struct slice s, const char *start)
{
	assert_slice(slice_head(s, strlen(start)), start);
}

static void a_response_of_the_limit_is_taken_and_more_is_not(void **state)
{
	(void)state;
	for (int how = WHOLE_LINE; how <= IN_TWO; how++) {
		struct desk d;

		begin(&d, true);
		greet(&d);
		d.quiet = true;
		says(&d, "AUTH CRAM-MD5\r\n");
		feed_long(&d, "", SMTP_AUTH_LINE_MAX, how);
		assert_starts(buf_slice(&d.out), "535 5.7.8 ");
		says(&d, "AUTH CRAM-MD5\r\n");
		feed_long(&d, "", SMTP_AUTH_LINE_MAX + 1, how);
		assert_slice(buf_slice(&d.out),
			     "500 5.5.6 Line of an authentication exchange is longer than 12288 octets\r\n");
		assert_true(slice_ends(buf_slice(&d.log), SLICE("AUTH CRAM-MD5\nABORT\n")));
		assert_starts(says(&d, "NOOP\r\n"), "250 ");
		desk_free(&d);
	}
}

static void a_long_initial_response_is_taken_up_to_the_limit(void **state)
{
	static const struct {
		const char *command;
		size_t n;
		const char *hears;
	} rows[] = {
		{"AUTH SCRAM-SHA-256 ", SMTP_AUTH_LINE_MAX, "535 5.7.8 "},
		{"aUtH SCRAM-SHA-256 ", 4000, "535 5.7.8 "},
		{"AUTH SCRAM-SHA-256 ", SMTP_AUTH_LINE_MAX + 4, "500 5.5.6 "},
		{"AUTH SCRAM-SHA-256 ", 20000, "500 5.5.6 "},
		{"AUTH CRAM-MD5 ", SMTP_AUTH_LINE_MAX, "501 5.7.0 "},
		{"AUTH ", SMTP_AUTH_LINE_MAX, "501 5.5.2 "},
		{"AUTHX ", 4000, "500 5.5.2 "},
		{"NOOP AUTH ", 4000, "500 5.5.2 "},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		for (int how = WHOLE_LINE; how <= IN_TWO; how++) {
			struct desk d;

			begin(&d, true);
			greet(&d);
			feed_long(&d, rows[i].command, rows[i].n, how);
			assert_starts(buf_slice(&d.out), rows[i].hears);
			assert_starts(says(&d, "NOOP\r\n"), "250 ");
			desk_free(&d);
		}
}

static void without_auth_its_line_is_as_long_as_others(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	feed_long(&d, "AUTH PLAIN ", SMTP_COMMAND_LINE_MAX, WHOLE_LINE);
	assert_starts(buf_slice(&d.out), "500 5.5.2 ");
	desk_free(&d);
}

static void an_endless_response_ends_the_session(void **state)
{
	(void)state;
	struct desk d;

	begin(&d, true);
	greet(&d);
	says(&d, "AUTH CRAM-MD5\r\n");
	feed_long(&d, "", SMTP_COMMAND_LINE_MAX + SMTP_LINE_DISCARD_MAX, WHOLE_LINE);
	assert_starts(buf_slice(&d.out), "421 4.7.0 ");
	assert_true(slice_ends(buf_slice(&d.log), SLICE("AUTH CRAM-MD5\nABORT\nCLOSE\n")));
	desk_free(&d);
}

static void failed_attempts_are_errors_of_the_session(void **state)
{
	(void)state;
	struct desk d;

	begin(&d, true);
	d.config.errors_max = 3;
	greet(&d);
	for (int i = 0; i < 3; i++)
		assert_starts(says(&d, "AUTH SCRAM-SHA-256 YmFk\r\n"), "535 5.7.8 ");
	assert_starts(says(&d, "AUTH SCRAM-SHA-256 Z29vZA==\r\n"), "421 4.7.0 ");
	assert_true(d.closed);
	desk_free(&d);
}

/* ---- loss, time and stop ------------------------------------------------------------------------------------------
 */

static void loss_within_an_exchange_is_told_once(void **state)
{
	/* Behind the first event, behind a challenge, behind an event that nobody pulled. */
	static const struct {
		const char *says[2];
		bool pulled;
		const char *log;
	} rows[] = {
		{{"AUTH CRAM-MD5\r\n", ""}, true, "AUTH CRAM-MD5\nABORT\nCLOSE\n"},
		{{"AUTH CRAM-MD5\r\n", "bW9y"}, true, "AUTH CRAM-MD5\nABORT\nCLOSE\n"},
		{{"AUTH CRAM-MD5\r\n", "bW9yZQ==\r\n"}, true, "AUTH CRAM-MD5\nRESPONSE more\nABORT\nCLOSE\n"},
		{{"AUTH CRAM-MD5\r\n", "bW9yZQ==\r\n"}, false, "AUTH CRAM-MD5\nABORT\nCLOSE\n"},
		{{"AUTH CRAM-MD5\r\n", "*\r\n"}, false, "AUTH CRAM-MD5\nABORT\nCLOSE\n"},
		{{"", "AUTH CRAM-MD5\r\n"}, false, "CLOSE\n"},
		{{"", "AUTH CRAM-MD5\r\n"}, true, "AUTH CRAM-MD5\nABORT\nCLOSE\n"},
		{{"AUTH SCRAM-SHA-256 Z29vZA==\r\n", ""}, true, "AUTH SCRAM-SHA-256 good\nCLOSE\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct desk d;

		begin(&d, true);
		greet(&d);
		buf_reset(&d.log);
		says(&d, rows[i].says[0]);
		d.silent = true;
		smtp_server_feed(d.s, slice_from_cstr(rows[i].says[1]), d.now);
		if (rows[i].pulled)
			desk_pull(&d);
		smtp_server_lost(d.s);
		desk_pull(&d);
		assert_slice(buf_slice(&d.log), rows[i].log);
		/* An answer that comes now is ignored. */
		smtp_server_challenge(d.s, SLICE("x"));
		smtp_server_reply(d.s, (struct reply){.id = REPLY_AUTH_OK});
		assert_false(smtp_server_next(d.s, &(struct smtp_event){0}));
		desk_free(&d);
	}
}

static void a_response_has_to_come_in_time(void **state)
{
	(void)state;
	struct desk d;

	begin(&d, true);
	greet(&d);
	d.now += MINUTE;
	says(&d, "AUTH CRAM-MD5\r\n");
	assert_int_equal(smtp_server_deadline(d.s), d.now + 5 * MINUTE);
	d.silent = true;
	desk_feed(&d, SLICE("bW9yZQ==\r\n"));
	assert_int_equal(smtp_server_deadline(d.s), NEVER);
	d.now += HOUR;
	desk_answer_now(&d);
	smtp_server_tick(d.s, d.now);
	assert_int_equal(smtp_server_deadline(d.s), d.now + 5 * MINUTE);
	desk_flush(&d);
	buf_reset(&d.out);
	smtp_server_tick(d.s, d.now + 5 * MINUTE);
	desk_pull(&d);
	desk_flush(&d);
	assert_starts(buf_slice(&d.out), "421 4.4.2 ");
	assert_true(slice_ends(buf_slice(&d.log), SLICE("RESPONSE more\nABORT\nCLOSE\n")));
	desk_free(&d);
}

static void a_server_that_stops_ends_the_exchange(void **state)
{
	(void)state;
	for (int owed = 0; owed < 2; owed++) {
		struct desk d;

		begin(&d, true);
		greet(&d);
		d.silent = owed;
		says(&d, "AUTH CRAM-MD5\r\n");
		smtp_server_shutdown(d.s);
		desk_pull(&d);
		assert_int_equal(d.closed, !owed);
		desk_answer_now(&d);
		desk_pull(&d);
		desk_flush(&d);
		assert_true(slice_ends(buf_slice(&d.log), SLICE("AUTH CRAM-MD5\nABORT\nCLOSE\n")));
		assert_true(slice_search(buf_slice(&d.out), SLICE("421 4.3.2 ")) < buf_len(&d.out));
		desk_free(&d);
	}
}

static void refusals_of_credentials_are_the_owners_to_log(void **state)
{
	(void)state;
	struct smtp_refusal refusal;
	struct desk d;

	begin(&d, true);
	greet(&d);
	says(&d, "AUTH SCRAM-SHA-256 YmFk\r\n");
	assert_false(smtp_server_refusal(d.s, &refusal));
	says(&d, "AUTH PLAIN c2VjcmV0\r\n");
	assert_true(smtp_server_refusal(d.s, &refusal));
	assert_starts(refusal.reply, "538 5.7.11 ");
	assert_int_equal(slice_search(refusal.reply, SLICE("c2VjcmV0")), refusal.reply.n);
	says(&d, "AUTH c2VjcmV0+\r\n");
	assert_true(smtp_server_refusal(d.s, &refusal));
	assert_slice(refusal.reply, "501 5.5.2 Syntax error; the form is: AUTH mechanism [initial-response]");
	desk_free(&d);
}

int main(void)
{
	const struct CMUnitTest others[] = {
		cmocka_unit_test(ehlo_lists_what_may_be_used_and_more_behind_tls),
		cmocka_unit_test(ehlo_lists_nothing_that_needs_tls_in_the_clear),
		cmocka_unit_test(the_most_mechanisms_stand_on_one_line),
		cmocka_unit_test(a_challenge_is_base64_and_nothing_else),
		cmocka_unit_test(the_longest_challenge_is_one_line),
		cmocka_unit_test(a_response_of_the_limit_is_taken_and_more_is_not),
		cmocka_unit_test(a_long_initial_response_is_taken_up_to_the_limit),
		cmocka_unit_test(without_auth_its_line_is_as_long_as_others),
		cmocka_unit_test(an_endless_response_ends_the_session),
		cmocka_unit_test(failed_attempts_are_errors_of_the_session),
		cmocka_unit_test(loss_within_an_exchange_is_told_once),
		cmocka_unit_test(a_response_has_to_come_in_time),
		cmocka_unit_test(a_server_that_stops_ends_the_exchange),
		cmocka_unit_test(refusals_of_credentials_are_the_owners_to_log),
	};
	int failed = dialogs_run(dialogs, sizeof dialogs / sizeof *dialogs);

	return failed + cmocka_run_group_tests_name("AUTH", others, NULL, NULL);
}
