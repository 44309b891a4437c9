#include "script.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* clang-format off */
#define S(text) {(text), sizeof(text) - 1}
/* clang-format on */
#define COUNT(table) ((uint32_t)(sizeof(table) / sizeof *(table)))

/* ---- configuration ----------------------------------------------------------------------------------------------- */

enum {
	BIT_LMTP,
	BIT_REFUSE_EARLY,
	BIT_NO_CHUNKING,
	BIT_NO_BINARYMIME,
	BIT_NO_SMTPUTF8,
	BIT_NO_DSN,
	BIT_NO_PIPELINING,
	BIT_NO_8BITMIME,
	BIT_STATUS,
	BIT_SUSPENDED,
	BIT_PUSHED,
	BIT_IMPATIENT,
	BIT_HELP,
	BIT_SIZE = 13, /* two bits each */
	BIT_HEADER = 15,
	BIT_ERRORS = 17,
	BIT_IDLE = 19,
	BIT_MESSAGES = 21,
	BIT_GREETING = 23, /* three bits */
	BIT_FATE = 26,     /* two bits */
	BIT_HOPS = 28,
	BIT_TLS = 29,  /* two bits */
	BIT_AUTH = 32, /* which mechanisms: two bits */
	BIT_AUTH_REQUIRED = 34,
	BIT_NARROW = 35,     /* some of them are not to be had: two bits */
	BIT_NARROW_TLS = 37, /* others are from the handshake on: two bits */
	BIT_UNSHAKEN = 39,   /* a handshake that is awaited first never comes: it, and how it ends in two bits */
	BIT_XCLIENT = 42,    /* who may say it: nobody or others, nobody or this client */
	BIT_XCLIENT_TRUST = 43,
	BIT_XFORWARD = 44,
	BIT_XFORWARD_TRUST = 45,
};

static unsigned bits_at(uint64_t bits, unsigned at, unsigned n)
{
	return (unsigned)(bits >> at & ((1u << n) - 1));
}

/* Limits are small, so that they are met often; 0 is the roomy one. */
void script_configure(uint64_t b, struct setting *ret)
{
	static const uint64_t sizes[] = {4000, 1500, 200, 30};
	static const size_t headers[] = {8000, 300, 60, 20}, lines[] = {100, 10, 3, 1};
	static const unsigned errors[] = {10000, 20, 5, 2}, idles[] = {10000, 30, 8, 3}, messages[] = {10000, 5, 2, 1};
	static const enum reply_id greetings[] = {REPLY_GREETING, REPLY_GREETING_REFUSED, REPLY_GREETING_NO_MAIL,
						  REPLY_GREETING_BUSY};
	static const struct slice suspended[] = {S("RET"), S("SIZE")};
	/* None; some for the clear, some not; none for the clear; all. */
	static const struct smtp_mechanism mechanisms[4][5] = {
		{{S("PLAIN")}},
		{{S("PLAIN"), .one_step = true},
		 {S("LOGIN"), .in_clear = false},
		 {S("SCRAM-SHA-256"), .in_clear = true},
		 {S("CRAM-MD5"), .in_clear = true, .server_first = true},
		 {S("EXTERNAL"), .one_step = true}},
		{{S("PLAIN"), .one_step = true}, {S("CRAM-MD5"), .server_first = true}},
		{{S("PLAIN"), .in_clear = true, .one_step = true}, {S("SCRAM-SHA-256"), .in_clear = true}},
	};
	static const size_t mechanism_counts[] = {0, 5, 2, 2};
	static const uint32_t usable[] = {UINT32_MAX, UINT32_MAX, ~1u, 0}, secure[] = {0, UINT32_MAX, 1u, ~1u};
	unsigned narrow = bits_at(b, BIT_NARROW, 2), narrow_tls = bits_at(b, BIT_NARROW_TLS, 2);
	unsigned auth = bits_at(b, BIT_AUTH, 2);
	unsigned greeting = bits_at(b, BIT_GREETING, 3);

	*ret = (struct setting){
		.config = {.name = SLICE("mx.example.com"),
			   .lmtp = b >> BIT_LMTP & 1,
			   .refuse_early = b >> BIT_REFUSE_EARLY & 1,
			   .size_max = sizes[bits_at(b, BIT_SIZE, 2)],
			   .rcpt_max = SMTP_RCPT_MIN,
			   .line_max = SMTP_TEXT_LINE_MIN,
			   .header_max = headers[bits_at(b, BIT_HEADER, 2)],
			   .header_lines_max = lines[bits_at(b, BIT_HEADER, 2)],
			   .hops_max = b >> BIT_HOPS & 1 ? 1 : 30,
			   .own_hops_max = b >> BIT_HOPS & 1 ? 0 : 1,
			   .errors_max = errors[bits_at(b, BIT_ERRORS, 2)],
			   .idle_commands_max = idles[bits_at(b, BIT_IDLE, 2)],
			   .messages_max = messages[bits_at(b, BIT_MESSAGES, 2)],
			   .command_timeout = 5 * MINUTE,
			   .data_timeout = 3 * MINUTE,
			   .message_timeout = 7 * MINUTE,
			   .tls_timeout = 30 * SECOND,
			   .tls = (enum smtp_server_tls)bits_at(b, BIT_TLS, 2),
			   .mechanisms = mechanisms[auth],
			   .mechanism_count = mechanism_counts[auth],
			   .auth_required = auth > 0 && b >> BIT_AUTH_REQUIRED & 1,
			   .offer_chunking = !(b >> BIT_NO_CHUNKING & 1),
			   .offer_binarymime = !(b >> BIT_NO_BINARYMIME & 1),
			   .offer_smtputf8 = !(b >> BIT_NO_SMTPUTF8 & 1),
			   .offer_dsn = !(b >> BIT_NO_DSN & 1),
			   .offer_pipelining = !(b >> BIT_NO_PIPELINING & 1),
			   .offer_8bitmime = !(b >> BIT_NO_8BITMIME & 1),
			   .asks_status = b >> BIT_STATUS & 1,
			   .knows_xclient = b >> BIT_XCLIENT & 1,
			   .knows_xforward = b >> BIT_XFORWARD & 1,
			   .offer_help = b >> BIT_HELP & 1,
			   .suspended = suspended,
			   .suspended_count = b >> BIT_SUSPENDED & 1 ? COUNT(suspended) : 0},
		.greeting = greeting < 5 ? REPLY_GREETING : greetings[greeting - 4],
		.greeting_fate = (enum model_fate)bits_at(b, BIT_FATE, 2),
		.usable = usable[narrow],
		.usable_secure = narrow_tls ? secure[narrow_tls] : usable[narrow],
		.trust = {b >> BIT_XCLIENT_TRUST & 1, b >> BIT_XFORWARD_TRUST & 1},
		.unshaken = b >> BIT_UNSHAKEN & 1,
		.unshaken_end = bits_at(b, BIT_UNSHAKEN + 1, 2) % 3,
		.pushed = b >> BIT_PUSHED & 1,
		.impatient = b >> BIT_IMPATIENT & 1,
	};
}

static uint32_t sometimes(uint64_t *random, unsigned bit, uint32_t one_in)
{
	return random_below(random, one_in) == 0 ? (uint32_t)1 << bit : 0;
}

uint64_t script_random_config(uint64_t *random)
{
	uint64_t b = sometimes(random, BIT_LMTP, 3) | sometimes(random, BIT_REFUSE_EARLY, 2);

	for (unsigned bit = BIT_NO_CHUNKING; bit <= BIT_NO_8BITMIME; bit++)
		b |= sometimes(random, bit, 8);
	b |= sometimes(random, BIT_STATUS, 4) | sometimes(random, BIT_SUSPENDED, 12) |
	     sometimes(random, BIT_PUSHED, 100);
	b |= sometimes(random, BIT_IMPATIENT, 50) | sometimes(random, BIT_HELP, 2) | sometimes(random, BIT_HOPS, 3);
	for (unsigned bit = BIT_SIZE; bit <= BIT_MESSAGES; bit += 2)
		b |= random_below(random, 3) == 0 ? random_below(random, 4) << bit : 0;
	b |= random_below(random, 15) == 0 ? random_below(random, 8) << BIT_GREETING : 0;
	b |= random_below(random, 4) == 0 ? random_below(random, 4) << BIT_TLS : 1u << BIT_TLS;
	b |= random_below(random, 60) == 0 ? random_below(random, 4) << BIT_FATE : 0;
	b |= random_below(random, 2) ? (uint64_t)random_below(random, 4) << BIT_AUTH : 0;
	b |= random_below(random, 3) == 0 ? (uint64_t)1 << BIT_AUTH_REQUIRED : 0;
	b |= random_below(random, 6) == 0 ? (uint64_t)random_below(random, 4) << BIT_NARROW : 0;
	b |= random_below(random, 4) == 0 ? (uint64_t)random_below(random, 4) << BIT_NARROW_TLS : 0;
	if (random_below(random, 2))
		b |= (uint64_t)(random_below(random, 16) | random_below(random, 16)) << BIT_XCLIENT;
	return b | (random_below(random, 10) == 0 ? (uint64_t)random_below(random, 8) << BIT_UNSHAKEN : 0);
}

/* ---- words ------------------------------------------------------------------------------------------------------- */

#define L64         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define D63         "ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
#define OK_ALL      REPLY_MAIL_OK, REPLY_RCPT_OK, REPLY_ACCEPTED
/* clang-format off */
#define GOOD(text) {S("<" text ">"), S(text), false, false, OK_ALL}
#define EIGHT(text) {S("<" text ">"), S(text), false, true, OK_ALL}
#define BAD(text) {S(text), S(""), true, false, OK_ALL}

/* The first PLAIN_PATHS are good and welcome. */
static const struct model_path paths[] = {
	GOOD("s@a.example"), GOOD("r@example.com"), GOOD("\"a b\\\"c\"@x.example"), GOOD("x+y=z@[192.0.2.1]"),
	GOOD("q@[IPv6:2001:db8::1]"), {S("<@x.example,@y.example:route@z.example>"), S("route@z.example"), false, false, OK_ALL},
	GOOD(L64 "@a.example"), GOOD("a@" D63 ".example"), GOOD("!#$%&'*/?^_`{|}~-@a.example"), GOOD("\"a>b,c\"@a.example"),
#define PLAIN_PATHS 10
	{S("<no@a.example>"), S("no@a.example"), false, false, REPLY_MAIL_REFUSED, REPLY_RCPT_UNKNOWN, REPLY_ACCEPTED},
	{S("<later@a.example>"), S("later@a.example"), false, false, REPLY_MAIL_TEMPORARY, REPLY_RCPT_DNS, REPLY_ACCEPTED},
	{S("<spam@a.example>"), S("spam@a.example"), false, false, REPLY_MAIL_OK, REPLY_RCPT_OK, REPLY_DATA_POLICY},
	{S("<busy@a.example>"), S("busy@a.example"), false, false, REPLY_MAIL_OK, REPLY_RCPT_OK, REPLY_DATA_STORE},
	{S("<moved@a.example>"), S("moved@a.example"), false, false, REPLY_MAIL_NOT_LOCAL_USER, REPLY_RCPT_MOVED, REPLY_ACCEPTED},
	{S("<fwd@a.example>"), S("fwd@a.example"), false, false, REPLY_MAIL_OK, REPLY_RCPT_FORWARD, REPLY_DATA_NO_SPACE},
	EIGHT("\xc3\xa9@a.example"), EIGHT("u@b\xc3\xbc" "cher.example"),
	BAD("<s@a.example"), BAD("s@a.example"), BAD(" <s@a.example>"), BAD("<a@b@c.example>"), BAD("<@>"), BAD("<a..b@c.example>"),
	BAD("<a@>"), BAD("<@a.example>"), BAD("<a b@c.example>"), BAD("<a@-b.example>"), BAD("<\xff@a.example>"),
	BAD("<s@a.example>x"), BAD("<a" L64 "@a.example>"), BAD("<a@d" D63 ".example>"), BAD("<a@[192.0.2.256]>"),
	BAD("<a@b.example><c@d.example>"), BAD("<\"a@b.example>"), BAD("<a\tb@c.example>"), BAD("<s@a.example>,<t@a.example>"),
};
/* The null reverse-path for MAIL alone, <Postmaster> for RCPT alone (RFC 5321 4.5.5, 4.1.1.3). */
static const struct model_path null_path = {S("<>"), S(""), false, false, OK_ALL};
static const struct model_path null_rcpt = {S("<>"), S(""), true, false, OK_ALL};
static const struct model_path postmaster = {S("<PostMaster>"), S("PostMaster"), false, false, OK_ALL};
static const struct model_path postmaster_mail = {S("<PostMaster>"), S(""), true, false, OK_ALL};

static const struct model_param mail_params[] = {
	{S("SIZE=10"), KEY_SIZE, false, 10}, {S("size=00030"), KEY_SIZE, false, 30}, {S("SIZE=31"), KEY_SIZE, false, 31},
	{S("SIZE=201"), KEY_SIZE, false, 201}, {S("SIZE=4000"), KEY_SIZE, false, 4000}, {S("SIZE=0"), KEY_SIZE, false, 0},
	{S("BODY=7BIT"), KEY_BODY, false, MAIL_BODY_7BIT}, {S("body=8BitMime"), KEY_BODY, false, MAIL_BODY_8BITMIME},
	{S("BODY=BINARYMIME"), KEY_BODY, false, MAIL_BODY_BINARYMIME}, {S("BODY=BINARYMIME"), KEY_BODY, false, MAIL_BODY_BINARYMIME},
	{S("SMTPUTF8"), KEY_SMTPUTF8, false}, {S("smtputf8"), KEY_SMTPUTF8, false}, {S("RET=FULL"), KEY_RET, false, MAIL_RET_FULL},
	{S("ret=hdrs"), KEY_RET, false, MAIL_RET_HDRS}, {S("ENVID=a+2Bb"), KEY_ENVID, false, 0, S("a+2Bb")},
	{S("ENVID=" L64), KEY_ENVID, false, 0, S(L64)},
	{S("AUTH=<>"), KEY_AUTH, false}, {S("auth=e+3Dmc2@example.com"), KEY_AUTH, false},
#define GOOD_MAIL_PARAMS 18
	{S("SIZE=4001"), KEY_SIZE, false, 4001}, {S("SIZE=99999999999999999999"), KEY_SIZE, false, UINT64_MAX},
	{S("SIZE=18446744073709551616"), KEY_SIZE, false, UINT64_MAX}, {S("SIZE="), KEY_SIZE, true}, {S("SIZE"), KEY_SIZE, true},
	{S("SIZE=-1"), KEY_SIZE, true}, {S("SIZE=1x"), KEY_SIZE, true}, {S("SIZE=000000000000000000001"), KEY_SIZE, true},
	{S("BODY=9BIT"), KEY_BODY, true}, {S("BODY"), KEY_BODY, true}, {S("SMTPUTF8=x"), KEY_SMTPUTF8, true},
	{S("SMTPUTF8="), KEY_SMTPUTF8, true}, {S("RET=SOME"), KEY_RET, true}, {S("ENVID=a+0Ab"), KEY_ENVID, true},
	{S("ENVID=a+00"), KEY_ENVID, true}, {S("ENVID=a=b"), KEY_ENVID, true}, {S("ENVID=a+2bb"), KEY_ENVID, true},
	{S("ENVID=" L64 "_" L64), KEY_ENVID, true}, {S("ENVID=\xc3\xa9"), KEY_ENVID, true}, {S("ENVID="), KEY_ENVID, true},
	{S("AUTH=a@b@c"), KEY_AUTH, true}, {S("AUTH="), KEY_AUTH, true}, {S("AUTH=a+0D+0A@b"), KEY_AUTH, true}, {S("X-1=2"), KEY_UNKNOWN, false}, {S("NOTIFY=NEVER"), KEY_NOTIFY, false, MAIL_NOTIFY_NEVER},
	{S("=x"), KEY_UGLY, false}, {S("-X=1"), KEY_UGLY, false}, {S("\""), KEY_UGLY, false}, {S(" RET=FULL"), KEY_UGLY, false},
};
static const struct model_param rcpt_params[] = {
	{S("NOTIFY=NEVER"), KEY_NOTIFY, false, MAIL_NOTIFY_NEVER},
	{S("notify=success,Failure"), KEY_NOTIFY, false, MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE},
	{S("NOTIFY=DELAY"), KEY_NOTIFY, false, MAIL_NOTIFY_DELAY},
	{S("ORCPT=rfc822;q+2Bx@example.com"), KEY_ORCPT, false, 0, S("rfc822;q+2Bx@example.com")},
	{S("orcpt=X-y;z"), KEY_ORCPT, false, 0, S("X-y;z")},
	{S("ORCPT=utf-8;\xc3\xa9@x.example"), KEY_ORCPT, false, 1, S("utf-8;\xc3\xa9@x.example")},
#define GOOD_RCPT_PARAMS 6
	{S("NOTIFY=NEVER,DELAY"), KEY_NOTIFY, true}, {S("NOTIFY="), KEY_NOTIFY, true}, {S("NOTIFY"), KEY_NOTIFY, true},
	{S("NOTIFY=SUCCESS,"), KEY_NOTIFY, true}, {S("NOTIFY=SOMETIMES"), KEY_NOTIFY, true}, {S("ORCPT=rfc822"), KEY_ORCPT, true},
	{S("ORCPT=;x"), KEY_ORCPT, true}, {S("ORCPT=rfc822;a+0D+0Ab"), KEY_ORCPT, true}, {S("ORCPT=rfc822;a+00"), KEY_ORCPT, true},
	{S("ORCPT=rfc822;\xc3\xa9"), KEY_ORCPT, true}, {S("ORCPT=a b"), KEY_ORCPT, true}, {S("SIZE=1"), KEY_UNKNOWN, false},
	{S("BODY=7BIT"), KEY_UNKNOWN, false}, {S("X"), KEY_UNKNOWN, false}, {S("X="), KEY_UNKNOWN, false}, {S("="), KEY_UGLY, false},
	{S(" NOTIFY=DELAY"), KEY_UGLY, false},
};

static const struct {
	struct slice line;
	char verb;
	bool good;
	struct slice name;
	enum reply_id answer;
} helos[] = {
	{S("EHLO a.example\r\n"), 'E', true, S("a.example"), REPLY_EHLO},
	{S("LHLO a.example\r\n"), 'L', true, S("a.example"), REPLY_EHLO},
	{S("HELO b.example\r\n"), 'H', true, S("b.example"), REPLY_HELO},
	{S("eHlO [192.0.2.1] \t\r\n"), 'E', true, S("[192.0.2.1]"), REPLY_EHLO},
	{S("lhlo [IPv6:::1]\r\n"), 'L', true, S("[IPv6:::1]"), REPLY_EHLO},
	{S("EHLO no.example\r\n"), 'E', true, S("no.example"), REPLY_HELO_REFUSED},
	{S("LHLO no.example\r\n"), 'L', true, S("no.example"), REPLY_HELO_REFUSED},
	{S("EHLO\r\n"), 'E', false, S(""), REPLY_EHLO}, {S("LHLO -\r\n"), 'L', false, S(""), REPLY_EHLO},
	{S("HELO a b\r\n"), 'H', false, S(""), REPLY_EHLO}, {S("EHLO \xc3\xa9.example\r\n"), 'E', false, S(""), REPLY_EHLO},
};

static const struct {
	struct slice line;
	enum smtp_event_type type;
	struct slice text;
	enum reply_id answer;
} asks[] = {
	{S("VRFY u\r\n"), SMTP_EV_VRFY, S("u"), REPLY_VRFY_MAYBE}, {S("vrfy <u@a.example>\r\n"), SMTP_EV_VRFY, S("<u@a.example>"), REPLY_VRFY_UNKNOWN},
	{S("EXPN list\r\n"), SMTP_EV_EXPN, S("list"), REPLY_EXPN_HIDDEN}, {S("EXPN l  \r\n"), SMTP_EV_EXPN, S("l"), REPLY_EXPN_OFF},
};

/* Lines whose reply is the same whatever came before. */
static const struct {
	struct slice line;
	model_set codes;
	unsigned flags;
} plains[] = {
	{S("NOOP\r\n"), C(250), LINE_CLEAR}, {S("noop with words\r\n"), C(250), LINE_CLEAR}, {S("NOOP\r\n"), C(250), LINE_CLEAR}, {S("HELP\r\n"), C(214) | C(211), LINE_AUTH},
	{S("HELP MAIL\r\n"), C(214), LINE_AUTH}, {S("HELP nothing\r\n"), C(504), LINE_AUTH}, {S("\r\n"), C(500), LINE_BLANK}, {S("XYZ\r\n"), C(500), 0},
	{S("DEBUG\r\n"), C(500), 0}, {S(" NOOP\r\n"), C(500), 0}, {S("NOOP\tx\r\n"), C(500), 0}, {S("RSET x\r\n"), C(501), 0},
	{S("DATA x\r\n"), C(501), LINE_LAST | LINE_PROGRESS | LINE_AUTH}, {S("VRFY\r\n"), C(501), LINE_AUTH}, {S("EXPN \r\n"), C(501), LINE_AUTH},
	{S("TURN\r\n"), C(502), 0}, {S("ETRN x\r\n"), C(502), 0},
	{S("SEND FROM:<a@b.example>\r\n"), C(502), 0}, {S("\xff\xfe\r\n"), C(500), 0}, {S("NO\0OP\r\n"), C(500), LINE_NO_COMMAND}, {S("\0\r\n"), C(500), LINE_NO_COMMAND | LINE_NUL},
	{S("QUIT\0\r\n"), C(500), LINE_NO_COMMAND}, {S("MAIL FROM:<a\0@b.example>\r\n"), C(500), LINE_NO_COMMAND},
	/* S26: one command or one error. */
	{S("NOOP\nRSET\r\n"), C(500), LINE_NO_COMMAND}, {S("NOOP\rQUIT\r\n"), C(500), LINE_NO_COMMAND}, {S("EHLO a.example\rMAIL FROM:<x@a.example>\r\n"), C(500), LINE_NO_COMMAND},
	{S("RCPT TO:<a@b.example>\nRCPT TO:<c@d.example>\r\n"), C(500), LINE_NO_COMMAND}, {S("\n\r\n"), C(500), LINE_NO_COMMAND}, {S("RSET\r\r\n"), C(500), LINE_NO_COMMAND},
	{S("QUIT\n.\nQUIT\r\n"), C(500), LINE_NO_COMMAND},
};
/* clang-format on */

/* clang-format off */
#define FINE AUTH_FINE
/* The first PLAIN_AUTHS are what clients say that mean it. */
static const struct {
	struct slice line;
	struct model_auth auth;
} auths[] = {
	{S("AUTH PLAIN AGEAYg==\r\n"), {FINE, S("PLAIN"), true, RESPONSE_FINE, S("\0a\0b")}},
	{S("auth plain =\r\n"), {FINE, S("PLAIN"), true, RESPONSE_FINE, S("")}},
	{S("AUTH PLAIN\r\n"), {FINE, S("PLAIN"), false, RESPONSE_FINE, S("")}},
	{S("Auth Scram-Sha-256 biwsbj11LHI9eA==\r\n"), {FINE, S("SCRAM-SHA-256"), true, RESPONSE_FINE, S("n,,n=u,r=x")}},
	{S("AUTH CRAM-MD5\r\n"), {FINE, S("CRAM-MD5"), false, RESPONSE_FINE, S("")}},
	{S("AUTH LOGIN \t\r\n"), {FINE, S("LOGIN"), false, RESPONSE_FINE, S("")}},
	{S("AUTH EXTERNAL =\r\n"), {FINE, S("EXTERNAL"), true, RESPONSE_FINE, S("")}},
#define PLAIN_AUTHS 7
	{S("AUTH CRAM-MD5 AGEAYg==\r\n"), {FINE, S("CRAM-MD5"), true, RESPONSE_FINE, S("")}},
	{S("AUTH PLAIN AGEAYg\r\n"), {FINE, S("PLAIN"), true, RESPONSE_NO_BASE64, S("")}},
	{S("AUTH PLAIN AGE=Yg==\r\n"), {FINE, S("PLAIN"), true, RESPONSE_NO_BASE64, S("")}},
	{S("AUTH SCRAM-SHA-256 *\r\n"), {FINE, S("SCRAM-SHA-256"), true, RESPONSE_NO_BASE64, S("")}},
	{S("AUTH NTLM\r\n"), {FINE, S("NTLM"), false, RESPONSE_FINE, S("")}},
	{S("AUTH NTLM TlRMTVNTUAAB\r\n"), {FINE, S("NTLM"), true, RESPONSE_FINE, S("")}},
	{S("AUTH\r\n"), {AUTH_NOTHING, S(""), false, RESPONSE_FINE, S("")}},
	{S("AUTH  PLAIN\r\n"), {AUTH_UGLY, S(""), true, RESPONSE_FINE, S("")}},
	{S("AUTH PLAIN AGEAYg== x\r\n"), {AUTH_UGLY, S("PLAIN"), true, RESPONSE_FINE, S("")}},
	{S("AUTH PL+IN\r\n"), {AUTH_UGLY, S(""), false, RESPONSE_FINE, S("")}},
};
static const struct {
	struct slice line;
	struct model_auth auth;
} responses[] = {
	{S("AGEAYg==\r\n"), {.given = true, .response = S("\0a\0b")}}, {S("\r\n"), {.given = true, .response = S("")}},
	{S("QUIT\r\n"), {.given = true, .response = S("\x41\x42\x13")}}, {S("RSET\r\n"), {.given = true, .response = S("\x45\x21\x13")}},
	{S("*\r\n"), {.kind = RESPONSE_CANCEL}}, {S("AGEAYg==\r\n"), {.given = true, .response = S("\0a\0b")}},
#define PLAIN_RESPONSES 6
	{S("=\r\n"), {.kind = RESPONSE_NO_BASE64}}, {S("* \r\n"), {.kind = RESPONSE_NO_BASE64}}, {S("AGEAYg=\r\n"), {.kind = RESPONSE_NO_BASE64}},
	{S("AGEAYh==\r\n"), {.kind = RESPONSE_NO_BASE64}}, {S("AGE\0\r\n"), {.kind = RESPONSE_NO_BASE64}},
	{S("MAIL FROM:<s@a.example>\r\n"), {.kind = RESPONSE_NO_BASE64}}, {S("AUTH PLAIN AGEAYg==\r\n"), {.kind = RESPONSE_NO_BASE64}},
	{S("NOOP\nRSET\r\n"), {.kind = RESPONSE_BARE}}, {S("AGEAYg==\r\r\n"), {.kind = RESPONSE_BARE}}, {S("AGE\rQUIT\r\n"), {.kind = RESPONSE_BARE}},
};
/* clang-format on */

/* clang-format off */
#define TELLS(attr, text) {SMTP_ATTR_##attr, S(text)}
/* The first PLAIN_ATTRS of either are good. "=" within a value is none of xtext (RFC 3461 4), but Postfix sends it. */
#define PLAIN_ATTRS 8
static const struct model_attrs client_attrs[] = {
	{S("NAME=spike.example ADDR=192.0.2.7"), false, {TELLS(NAME, "spike.example"), TELLS(ADDR, "192.0.2.7")}},
	{S("addr=IPv6:2001:db8::1 Port=4711"), false, {TELLS(ADDR, "IPv6:2001:db8::1"), TELLS(PORT, "4711")}},
	{S("NAME=[UNAVAILABLE] REVERSE_NAME=[tempunavail]"), false, {TELLS(NAME, "[UNAVAILABLE]"), TELLS(REVERSE_NAME, "[TEMPUNAVAIL]")}},
	{S("HELO=a+20b"), false, {TELLS(HELO, "a?b")}}, {S(" PROTO=ESMTP  DESTPORT=25 \t"), false, {TELLS(PROTO, "ESMTP"), TELLS(DESTPORT, "25")}},
	{S("LOGIN=a+2Bb@example.com DESTADDR=127.0.0.1"), false, {TELLS(LOGIN, "a+2Bb@example.com"), TELLS(DESTADDR, "127.0.0.1")}},
	{S("LOGIN=[UNAVAILABLE]"), false, {TELLS(LOGIN, "[UNAVAILABLE]")}}, {S("HELO=a=b"), false, {TELLS(HELO, "a+3Db")}},
	{S(""), true}, {S("ADDR=192.0.2"), true}, {S("NAME=good.example ADDR"), true}, {S("NAME=good.example =x"), true},
	{S("ADDR=192.0.2.1 addr=192.0.2.1"), true}, {S("IDENT=x"), true}, {S("SOURCE=LOCAL"), true}, {S("PORT=65536"), true}, {S("PORT=-1"), true},
	{S("NAME=x+0"), true}, {S("NAME=a+0Ab.example"), true}, {S("HELO="), true}, {S("ADDR=[TEMPUNAVAIL]"), true},
	{S("NAME=\xc3\xa9.example"), true}, {S("PORT=25 FOO=1"), true}, {S("NAME=" L64 L64 L64 L64), true},
};
static const struct model_attrs forwarded_attrs[] = {
	{S("NAME=spike.example ADDR=192.0.2.7 HELO=h IDENT=4bQ SOURCE=REMOTE"), false,
		{TELLS(NAME, "spike.example"), TELLS(ADDR, "192.0.2.7"), TELLS(HELO, "h"), TELLS(IDENT, "4bQ"), TELLS(SOURCE, "REMOTE")}},
	{S("name=a+3Cb"), false, {TELLS(NAME, "a?b")}}, {S("SOURCE=local"), false, {TELLS(SOURCE, "local")}},
	{S("NAME=[TEMPUNAVAIL] PROTO=SMTP"), false, {TELLS(NAME, "[UNAVAILABLE]"), TELLS(PROTO, "SMTP")}}, {S("PORT=25"), false, {TELLS(PORT, "25")}},
	{S("ADDR=no+20address IDENT=a+3Ab"), false, {TELLS(ADDR, "no?address"), TELLS(IDENT, "a:b")}}, {S("HELO=[192.0.2.1]"), false, {TELLS(HELO, "[192.0.2.1]")}},
	{S("HELO=x=y"), false, {TELLS(HELO, "x+3Dy")}},
	{S(""), true}, {S("REVERSE_NAME=x"), true}, {S("LOGIN=x"), true}, {S("NAME=x SOURCE=SOMEWHERE"), true}, {S("PORT=x"), true},
	{S("NAME=\xff"), true}, {S("NAME=+"), true}, {S("IDENT=a IDENT=b"), true}, {S("IDENT=a+0D+0Ax+g"), true},
};
/* clang-format on */

/* ---- messages ---------------------------------------------------------------------------------------------------- */

#define X50         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
#define X250        X50 X50 X50 X50 X50
/* clang-format off */
static const struct slice fragments[] = {
	S("Subject: hi\r\n"), S("A: b\r\n"), S("From: a@b.example\r\n fold\r\n"), S("\r\n"), S("\r\n"), S("\r\n"), S("body\r\n"), S("body"),
	S("Received: by x\r\n"), S("Received: from a (by b) by mx.example.com; x\r\n"), S("received: (a\\)) BY\r\n\tMX.example.com\r\n"), S("Received : by x\r\nreceived:\r\n"), S("..\r\n"), S(".x\r\n"), S("...\r\n"), S(".\r\n"), S("."), S("\r\n.\r\n"),
	S("QUIT\r\n"), S("MAIL FROM:<evil@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n"), S("BDAT 3 LAST\r\n"), S("\xc3\xa9\xff\r\n"),
	S("no field at all\r\n"), S("\t\r\n"), S(X250), S(X250 X250 X250 X50 X50 X50 X50 "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n"),
	S(X250 X250 X250 X250), S("-- \r\nContent-Type: text/plain\r\n\r\n"),
#define CLEAN_FRAGMENTS 28
	S("\n"), S("\r"), S("\n.\n"), S("\n.\r\n"), S("\r.\r"), S("\r.\r\n"), S("\r\n.\n"), S("\r\n.\r"), S("\r\r\n.\r\n"), S("\0"),
	S("\r\n\0.\r\n"), S("\r\n.\0\r\n"), S("x\ny\r\n"), S("\n\r.\n\r"), S("N\0: v\r\n"), S("N: \0\r\n"),
};
/* clang-format on */
#define MESSAGE_MAX 12000

/* Up to eight fragments, most of them without fault, drawn from `seed`. */
static size_t make_message(uint32_t seed, char *out)
{
	uint64_t random = seed;
	bool faulty = random_below(&random, 4) == 0;
	uint32_t count = random_below(&random, 9);
	size_t n = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct slice f = fragments[random_below(&random, faulty ? COUNT(fragments) : CLEAN_FRAGMENTS)];
		memcpy(out + n, f.p, f.n);
		n += f.n;
	}
	return n;
}

/* As octets behind 354, up to their first end. */
static struct slice make_wire(uint32_t seed, char *out)
{
	static char undone[MESSAGE_MAX];
	size_t n = make_message(seed, out), undone_n;
	bool at_start = n == 0 || slice_ends(slice_of(out, n), SLICE("\r\n"));
	struct slice end = at_start ? SLICE(".\r\n") : SLICE("\r\n.\r\n");

	memcpy(out + n, end.p, end.n);
	return slice_of(out, model_undo_dots(slice_of(out, n + end.n), undone, &undone_n));
}

/* ---- playing ----------------------------------------------------------------------------------------------------- */

static void put(struct player *p, struct slice octets)
{
	p->put(p, octets);
}

/* Where the client has to wait it does, but now and then. */
static void wait_if_patient(struct player *p, struct step s)
{
	if (!(s.flags & STEP_IMPATIENT))
		p->wait(p);
}

static void put_params(struct player *p, const struct model_param *const *params, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		put(p, SLICE(" "));
		put(p, params[i]->text);
	}
}

/* `more`: how many parameters, and which. Most are good. */
static size_t choose_params(uint32_t more, const struct model_param *table, uint32_t good, uint32_t all,
			    const struct model_param *ret[3])
{
	uint64_t random = more;
	size_t n = random_below(&random, 2) ? 0 : random_below(&random, 4);

	for (size_t i = 0; i < n; i++)
		ret[i] = &table[random_below(&random, random_below(&random, 3) ? good : all)];
	return n;
}

static void play_helo(struct player *p, struct step s)
{
	uint32_t i = s.what % COUNT(helos);

	put(p, helos[i].line);
	model_helo(p->m, helos[i].verb, helos[i].good, helos[i].name, helos[i].answer);
	wait_if_patient(p, s);
}

static const struct model_path *choose_path(uint32_t what, const struct model_path *first,
					    const struct model_path *second)
{
	uint32_t i = what % (COUNT(paths) + 2);

	return i < COUNT(paths) ? &paths[i] : i == COUNT(paths) ? first : second;
}

static void play_mail(struct player *p, struct step s)
{
	static const struct slice words[] = {S("MAIL FROM:"), S("mail from:"), S("Mail FROM:"), S("MAIL FROM:")};
	const struct model_path *path = choose_path(s.what, &null_path, &postmaster_mail);
	const struct model_param *params[3];
	size_t n = choose_params(s.more, mail_params, GOOD_MAIL_PARAMS, COUNT(mail_params), params);

	put(p, words[s.what >> 8 & 3]);
	put(p, path->text);
	put_params(p, params, n);
	put(p, s.what & 1024 ? SLICE(" \r\n") : SLICE("\r\n"));
	model_mail(p->m, path, params, n);
}

static void play_rcpt(struct player *p, struct step s)
{
	static const struct slice words[] = {S("RCPT TO:"), S("rcpt to:"), S("Rcpt TO:"), S("RCPT TO:")};
	const struct model_path *path = choose_path(s.what, &postmaster, &null_rcpt);
	const struct model_param *params[3];
	size_t n = choose_params(s.more, rcpt_params, GOOD_RCPT_PARAMS, COUNT(rcpt_params), params);

	put(p, words[s.what >> 8 & 3]);
	put(p, path->text);
	put_params(p, params, n);
	put(p, s.what & 1024 ? SLICE("\t \r\n") : SLICE("\r\n"));
	model_rcpt(p->m, path, params, n);
}

static void play_burst(struct player *p, struct step s)
{
	uint32_t n = 97 + s.what % 7;

	for (uint32_t i = 0; i < n; i++) {
		const struct model_path *path = &paths[(s.more + i) % PLAIN_PATHS];
		put(p, SLICE("RCPT TO:"));
		put(p, path->text);
		put(p, SLICE("\r\n"));
		model_rcpt(p->m, path, NULL, 0);
	}
}

static enum reply_id data_answer(uint32_t what)
{
	return what % 12 == 0 ? REPLY_DATA_NO_QUEUE : what % 12 == 1 ? REPLY_DATA_POLICY : REPLY_DATA_GO;
}

static void play_data(struct player *p, struct step s)
{
	static char text[MESSAGE_MAX];
	uint64_t random = s.more;

	put(p, SLICE("DATA\r\n"));
	bool go = model_data(p->m, data_answer(s.what));
	wait_if_patient(p, s);
	if (!go || p->m->place == PLACE_OVER)
		return;
	struct slice wire = make_wire(s.more, text);
	if (s.flags & STEP_CUT)
		wire = slice_head(wire, random_below(&random, (uint32_t)wire.n));
	if (wire.n > 0) {
		model_text(p->m, wire);
		put(p, wire);
	}
	if (s.flags & STEP_CUT)
		p->end(p, s.what % 3);
}

/* The size as it is written, and what it means. */
static void bdat_line(struct player *p, struct step s, struct model_chunk *chunk)
{
	static const struct slice tails[] = {S(""),     S(" LAST"),  S(" last"),  S(" LAST \t"),
					     S(" FOO"), S("  LAST"), S(" LAST x")};
	static const struct slice no_sizes[] = {S("BDAT\r\n"),         S("BDAT x\r\n"),    S("BDAT -1 LAST\r\n"),
						S("BDAT +1\r\n"),      S("BDAT LAST\r\n"), S("BDAT 1,2\r\n"),
						S("BDAT 1\tLAST\r\n"), S("BDAT  1\r\n")};
	uint32_t odd = s.what >> 4 & 63;
	uint32_t tail = s.what % 16 < 11 ? s.what % 16 < 6 ? 0 : 1 : s.what % 16 - 9;
	char line[60];

	if (odd == 0) {
		put(p, no_sizes[s.more % COUNT(no_sizes)]);
		*chunk = (struct model_chunk){.form = CHUNK_NO_SIZE};
		return;
	}
	if (odd == 1 || odd == 2) {
		chunk->size = odd == 1 ? 70000000 : UINT64_MAX;
		chunk->octets = SLICE_NONE;
	}
	chunk->last = tail >= 1 && tail <= 3;
	chunk->form = tail >= 4 ? CHUNK_ODD_TAIL : CHUNK_FINE;
	int n = snprintf(line, sizeof line, odd == 3 ? "bdat 000%llu%s%.*s\r\n" : "BDAT %llu%s%.*s\r\n",
			 (unsigned long long)chunk->size, odd == 2 && s.more & 1 ? "0" : "", SLICE_ARGS(tails[tail]));
	put(p, slice_of(line, (size_t)n));
}

static void play_bdat(struct player *p, struct step s)
{
	static char text[MESSAGE_MAX];
	uint64_t random = s.more;
	struct slice octets = slice_of(text, make_message(s.more, text));
	struct model_chunk chunk = {.size = octets.n, .octets = octets};

	bdat_line(p, s, &chunk);
	bool cut = s.flags & STEP_CUT && chunk.form != CHUNK_NO_SIZE && chunk.octets.n > 0;
	if (cut)
		chunk.octets = slice_head(octets, random_below(&random, (uint32_t)octets.n));
	model_bdat(p->m, chunk, data_answer(s.what >> 10));
	put(p, chunk.form == CHUNK_NO_SIZE ? SLICE_NONE : chunk.octets);
	if (cut)
		p->end(p, s.what % 3);
}

static void play_rset(struct player *p, struct step s)
{
	put(p, s.what & 1 ? SLICE("rset  \r\n") : SLICE("RSET\r\n"));
	model_rset(p->m);
}

static void play_quit(struct player *p, struct step s)
{
	bool argument = s.what % 4 == 0;

	put(p, argument ? SLICE("QUIT now\r\n") : SLICE("quit\r\n"));
	model_quit(p->m, argument);
	wait_if_patient(p, s);
}

static void play_ask(struct player *p, struct step s)
{
	uint32_t i = s.what % (COUNT(asks) + 1);

	if (i < COUNT(asks)) {
		put(p, asks[i].line);
		model_ask_plain(p->m, asks[i].type, asks[i].text, asks[i].answer);
		return;
	}
	put(p, SLICE("HELP status\r\n"));
	if (p->m->config->asks_status)
		model_ask_plain(p->m, SMTP_EV_STATUS, SLICE_NONE, REPLY_STATUS);
	else
		model_refused_line(p->m, C(504), LINE_AUTH);
}

static void play_plain(struct player *p, struct step s)
{
	uint32_t i = s.what % COUNT(plains);

	put(p, plains[i].line);
	model_refused_line(p->m, plains[i].codes, plains[i].flags);
	if (plains[i].flags & LINE_LAST)
		wait_if_patient(p, s);
}

/* What the owner makes of credentials. */
static enum reply_id auth_answer(uint32_t what)
{
	static const enum reply_id answers[] = {REPLY_AUTH_CHALLENGE, REPLY_AUTH_OK,          REPLY_AUTH_CHALLENGE,
						REPLY_AUTH_OK,        REPLY_AUTH_CREDENTIALS, REPLY_AUTH_CHALLENGE,
						REPLY_AUTH_OK,        REPLY_AUTH_TEMPORARY,   REPLY_AUTH_DISABLED,
						REPLY_AUTH_WEAK,      REPLY_AUTH_TRANSITION,  REPLY_AUTH_OK};

	return answers[what % COUNT(answers)];
}

static void play_auth(struct player *p, struct step s)
{
	uint32_t i = s.what % 64 < 48 ? s.what % PLAIN_AUTHS : s.what % COUNT(auths);

	put(p, auths[i].line);
	model_auth(p->m, &auths[i].auth, auth_answer(s.what >> 8));
	wait_if_patient(p, s);
}

static void play_plain(struct player *p, struct step s);

static void play_response(struct player *p, struct step s)
{
	uint32_t i = s.what % 64 < 48 ? s.what % PLAIN_RESPONSES : s.what % COUNT(responses);

	if (p->m->place != PLACE_AUTH) {
		play_plain(p, s);
		return;
	}
	put(p, responses[i].line);
	model_response(p->m, &responses[i].auth, auth_answer(s.what >> 8));
	wait_if_patient(p, s);
}

static void play_other_protocol(struct player *p, struct step s)
{
	static const struct model_auth no_response = {.kind = RESPONSE_NO_BASE64};
	static const struct slice lines[] = {S("GET / HTTP/1.1\r\n"),  S("POST /x\r\n"),
					     S("QUIT / HTTP/1.0\r\n"), S("DATA HTTP/1.1 \t\r\n"),
					     S("HTTP/1.1 200 OK\r\n"), S("\x16\x03\x01 not a line"),
					     S("PRI * HTTP/2.0\r\n"),  S("options\r\n"),
					     S("PROXY UNKNOWN\r\n"),   S("PROXY TCP4 192.0.2.1 192.0.2.2 1 25\r\n")};

	uint32_t i = s.what % (COUNT(lines) + 1);

	if (i == COUNT(lines) && p->m->place != PLACE_AUTH) {
		/* The second version of PROXY is told by its third line. */
		put(p, SLICE("\r\n\r\n\0\r\nQUIT\n"));
		model_refused_line(p->m, C(500), LINE_BLANK);
		model_refused_line(p->m, C(500), LINE_BLANK);
		model_refused_line(p->m, C(500), LINE_NO_COMMAND | LINE_NUL);
		return;
	}
	struct slice text = lines[i % COUNT(lines)];
	put(p, text);
	if (p->m->place == PLACE_AUTH && text.p[0] != '\x16')
		model_response(p->m, &no_response, REPLY_AUTH_OK);
	else
		model_other_protocol(p->m);
}

static void play_starttls(struct player *p, struct step s)
{
	static const struct slice lines[] = {S("STARTTLS\r\n"), S("starttls \t\r\n"), S("StartTLS\r\n"),
					     S("STARTTLS now\r\n")};
	uint32_t i = s.what % COUNT(lines);
	enum reply_id answer = s.what % 32 < 4 ? REPLY_STARTTLS_UNAVAILABLE : REPLY_STARTTLS;

	put(p, lines[i]);
	bool go = model_starttls(p->m, i == 3, answer);
	wait_if_patient(p, s);
	if (!go || s.flags & STEP_IMPATIENT)
		return;
	if (s.more % 12 == 0)
		p->end(p, s.more / 12 % 3);
	else
		p->secure(p);
}

static void play_bare_verb(struct player *p, struct step s)
{
	enum model_place right = s.what & 1 ? PLACE_READY : PLACE_OPEN;

	put(p, s.what & 1 ? SLICE("MAIL \r\n") : SLICE("RCPT\r\n"));
	model_refused_line(p->m, p->m->place == right ? C(501) : C(503), LINE_AUTH | (s.what & 1 ? 0 : LINE_PROGRESS));
}

/* At the limit of a command line, beyond it, and far beyond it. */
static void play_long_line(struct player *p, struct step s)
{
	static char octets[SMTP_COMMAND_LINE_MAX + SMTP_LINE_DISCARD_MAX + 2];
	static const struct model_auth no_base64 = {.kind = RESPONSE_NO_BASE64}, too_long = {.kind = RESPONSE_TOO_LONG};
	static const size_t lengths[] = {SMTP_COMMAND_LINE_MAX, SMTP_COMMAND_LINE_MAX + 1, 3000,
					 SMTP_COMMAND_LINE_MAX + SMTP_LINE_DISCARD_MAX, sizeof octets - 1};
	uint32_t i = s.what % 64 < 62 ? s.what % 3 : s.what % 64 - 59;
	size_t n = lengths[i];

	memset(octets, 'a', sizeof octets);
	memcpy(octets, "NOOP ", 5);
	memcpy(octets + n - 2, "\r\n", 2);
	put(p, slice_of(octets, n));
	if (i == 4)
		model_endless_line(p->m);
	else if (p->m->place == PLACE_AUTH)
		model_response(p->m, n - 2 > SMTP_AUTH_LINE_MAX ? &too_long : &no_base64, REPLY_AUTH_OK);
	else
		model_refused_line(p->m, i == 0 ? C(250) : C(500), i == 0 ? LINE_CLEAR : LINE_NO_COMMAND);
}

/* The octets of a response, which are all zero: AUTH and its initial response, or a line behind a challenge. */
static void play_long_auth(struct player *p, struct step s)
{
	static char line[SMTP_AUTH_COMMAND_MAX + 64];
	static const char zeros[SMTP_CHALLENGE_MAX];
	static const struct slice verb = S("auth Plain ");
	static const size_t lengths[] = {SMTP_COMMAND_LINE_MAX, 4096, SMTP_AUTH_LINE_MAX, SMTP_AUTH_LINE_MAX + 1,
					 SMTP_AUTH_LINE_MAX + 4, SMTP_AUTH_LINE_MAX + 40};
	size_t n = lengths[s.what % COUNT(lengths)], at = p->m->place == PLACE_AUTH ? 0 : verb.n, all = at + n + 2;
	size_t most = p->m->config->mechanism_count ? SMTP_AUTH_COMMAND_MAX : SMTP_COMMAND_LINE_MAX;
	bool fits = n <= SMTP_AUTH_LINE_MAX;
	struct model_auth auth = {.name = SLICE("PLAIN"),
				  .given = true,
				  .kind = fits ? RESPONSE_FINE : RESPONSE_TOO_LONG,
				  .response = slice_of(zeros, fits ? n / 4 * 3 : 0)};

	memset(line, 'A', sizeof line);
	memcpy(line, verb.p, at);
	memcpy(line + at + n, "\r\n", 2);
	put(p, slice_of(line, all));
	if (at == 0)
		model_response(p->m, &auth, auth_answer(s.what >> 8));
	else if (all <= most)
		model_auth(p->m, &auth, auth_answer(s.what >> 8));
	else
		model_refused_line(p->m, C(500), LINE_NO_COMMAND);
	wait_if_patient(p, s);
}

static const struct model_attrs *choose_attrs(struct player *p, struct step s, const struct model_attrs *table,
					      uint32_t count, const char *verb)
{
	const struct model_attrs *attrs = &table[s.what % (s.what % 64 < 48 ? PLAIN_ATTRS : count)];

	put(p, slice_from_cstr(verb));
	put(p, attrs->text);
	put(p, SLICE("\r\n"));
	return attrs;
}

static void play_xclient(struct player *p, struct step s)
{
	static const enum reply_id answers[] = {REPLY_GREETING_REFUSED, REPLY_GREETING_NO_MAIL, REPLY_GREETING_BUSY};
	uint32_t i = s.what >> 8 & 15;

	model_xclient(p->m, choose_attrs(p, s, client_attrs, COUNT(client_attrs), s.more & 1 ? "XCLIENT " : "xClient "),
		      i < COUNT(answers) ? answers[i] : REPLY_GREETING);
}

static void play_xforward(struct player *p, struct step s)
{
	model_xforward(p->m, choose_attrs(p, s, forwarded_attrs, COUNT(forwarded_attrs), "XFORWARD "));
}

static void play_mechanisms(struct player *p, struct step s)
{
	p->mechanisms(p, s.what % 4 == 0 ? 0 : s.what % 4 == 1 ? UINT32_MAX : s.what >> 8);
}

static void play_partial(struct player *p, struct step s)
{
	static const struct slice starts[] = {
		S("MAIL FROM:<a@b"), S("RCPT TO:<a@b.example>\r"), S("D"), S("BDAT 5 LA"), S("QUIT"), S("\r")};

	put(p, starts[s.more % COUNT(starts)]);
	model_octets(p->m);
	p->end(p, s.what % 3);
}

static void play_silence(struct player *p, struct step s)
{
	(void)s;
	p->silence(p);
}

static void play_end(struct player *p, struct step s)
{
	p->end(p, s.what % 3);
}

static const struct {
	const char *name;
	void (*play)(struct player *p, struct step s);
} kinds[STEP_KINDS] = {
	[STEP_HELO] = {"HELO", play_helo},
	[STEP_MAIL] = {"MAIL", play_mail},
	[STEP_RCPT] = {"RCPT", play_rcpt},
	[STEP_DATA] = {"DATA", play_data},
	[STEP_BDAT] = {"BDAT", play_bdat},
	[STEP_RSET] = {"RSET", play_rset},
	[STEP_QUIT] = {"QUIT", play_quit},
	[STEP_ASK] = {"a question", play_ask},
	[STEP_PLAIN] = {"a plain line", play_plain},
	[STEP_BARE_VERB] = {"a bare verb", play_bare_verb},
	[STEP_OTHER_PROTOCOL] = {"another protocol", play_other_protocol},
	[STEP_STARTTLS] = {"STARTTLS", play_starttls},
	[STEP_AUTH] = {"AUTH", play_auth},
	[STEP_RESPONSE] = {"a response", play_response},
	[STEP_LONG_AUTH] = {"a long AUTH or response", play_long_auth},
	[STEP_MECHANISMS] = {"other mechanisms", play_mechanisms},
	[STEP_XCLIENT] = {"XCLIENT", play_xclient},
	[STEP_XFORWARD] = {"XFORWARD", play_xforward},
	[STEP_BURST] = {"a burst of RCPT", play_burst},
	[STEP_LONG_LINE] = {"a long line", play_long_line},
	[STEP_PARTIAL] = {"a part of a line", play_partial},
	[STEP_SILENCE] = {"silence", play_silence},
	[STEP_END] = {"the end", play_end},
};

const char *script_kind(enum step_kind kind)
{
	return kinds[kind].name;
}

/* Behind a challenge each line is a response, whatever the client means by it. */
static uint8_t fitting(const struct model *m, uint8_t kind)
{
	switch ((enum step_kind)kind) {
	case STEP_LONG_LINE:
	case STEP_PARTIAL:
	case STEP_SILENCE:
	case STEP_END:
	case STEP_OTHER_PROTOCOL:
	case STEP_LONG_AUTH:
	case STEP_MECHANISMS:
		return kind;
	default:
		return m->place == PLACE_AUTH ? STEP_RESPONSE : kind;
	}
}

void script_play(struct player *p, struct step s)
{
	model_step(p->m, (enum model_fate)(s.flags / STEP_FATE & 3), s.flags & STEP_FATE_SECOND ? 1 : 0);
	kinds[fitting(p->m, s.kind % STEP_KINDS)].play(p, s);
	model_step(p->m, FATE_NONE, 0);
}

/* ---- drawing ----------------------------------------------------------------------------------------------------- */

/* What is likely in which place, in the order of enum step_kind. The first row is for a session without greeting. */
static const uint8_t weights[PLACE_OVER][STEP_KINDS] = {
	/* HELO MAIL RCPT DATA BDAT RSET QUIT ASK PLAIN BARE BURST LONG PART SIL END OTHER TLS AUTH RESP LAUTH MECH
	 * XCLIENT XFORWARD */
	[PLACE_REFUSED] = {8, 8, 8, 8, 8, 8, 10, 4, 10, 2, 0, 1, 1, 2, 1, 1, 2, 2, 1, 1, 1, 3, 2},
	[PLACE_NEW] = {60, 6, 4, 3, 6, 3, 2, 3, 8, 1, 0, 1, 1, 2, 1, 1, 12, 2, 1, 1, 2, 6, 4},
	[PLACE_READY] = {5, 60, 5, 4, 8, 3, 2, 4, 8, 1, 0, 1, 1, 2, 1, 1, 5, 16, 1, 2, 2, 7, 9},
	[PLACE_AUTH] = {1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 2, 2, 3, 2, 1, 1, 1, 80, 4, 2, 1, 1},
	[PLACE_OPEN] = {3, 5, 55, 22, 22, 5, 1, 3, 6, 1, 1, 1, 1, 2, 1, 1, 2, 2, 1, 1, 1, 2, 2},
	[PLACE_CHUNKS] = {3, 4, 5, 4, 70, 5, 1, 3, 5, 1, 0, 1, 1, 3, 1, 1, 2, 2, 1, 1, 1, 1, 1},
	[PLACE_FAILED] = {8, 5, 5, 5, 15, 35, 1, 3, 5, 1, 0, 1, 1, 2, 1, 1, 2, 2, 1, 1, 1, 2, 2},
};

static uint8_t draw_kind(uint64_t *random, enum model_place place)
{
	uint32_t sum = 0;
	uint8_t kind = 0;

	for (size_t i = 0; i < STEP_KINDS; i++)
		sum += weights[place][i];
	for (uint32_t at = random_below(random, sum); at >= weights[place][kind]; kind++)
		at -= weights[place][kind];
	return kind;
}

static uint8_t draw_flags(uint64_t *random)
{
	uint32_t dice = random_below(random, 64);
	uint8_t flags = dice < 20 ? STEP_JOIN : dice < 28 ? STEP_NO_WAIT : 0;

	if (random_below(random, 40) == 0)
		flags |= STEP_IMPATIENT;
	if (random_below(random, 40) == 0) {
		uint32_t fate = random_below(random, 8);
		flags |= (uint8_t)((fate < 6 ? FATE_LATE : fate - 4) * STEP_FATE);
		flags |= random_below(random, 2) ? STEP_FATE_SECOND : 0;
	}
	if (random_below(random, 100) == 0)
		flags |= STEP_CUT;
	return flags;
}

struct step script_random_step(uint64_t *random, const struct model *m)
{
	struct step s = {.kind = draw_kind(random, m->place), .flags = draw_flags(random)};

	s.what = (uint16_t)random_next(random);
	s.more = (uint32_t)random_next(random);
	bool welcome = random_below(random, 6) > 0;
	if ((s.kind == STEP_MAIL || s.kind == STEP_RCPT) && welcome)
		s.what = (uint16_t)random_below(random, PLAIN_PATHS);
	/* A refused MAIL leads nowhere: most are without parameters that a listener may lack. */
	if (s.kind == STEP_HELO && m->place == PLACE_NEW && welcome)
		s.what = m->config->lmtp ? 1 : (uint16_t)random_below(random, 6) == 0 ? 2 : 0;
	return s;
}
