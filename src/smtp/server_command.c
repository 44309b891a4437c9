/*
 * server_command: the table of commands, and what each does (RFC 5321 4.1.1, RFC 3030 2, RFC 2033 4.1).
 */
#include "smtp/server_private.h"

#include "base/heap.h"

#include <string.h>

enum command_flag {
	CMD_LAST = 1,        /* ends a pipelined group: the client has to wait for the reply (RFC 2920 3.1) */
	CMD_NO_ARGUMENT = 2, /* 501 when there is one */
	CMD_ARGUMENT = 4,    /* 501 when there is none */
	CMD_PROGRESS = 8,    /* brings a message on: no idle command */
	CMD_LMTP = 16,       /* LMTP alone */
	CMD_SMTP = 32,       /* SMTP alone */
	CMD_QUIT = 64,       /* served whatever the state and the counters say */
	CMD_CLEAR = 128,     /* served before TLS where TLS is required (RFC 3207 4) */
	CMD_OPEN = 256,      /* served before AUTH where AUTH is required (RFC 4954 6) */
	CMD_PRIVATE = 512,   /* no standard gives it: unknown where it is not offered (RFC 5321 4.1.5) */
};

/* The states between commands, the refused session apart. */
#define ANY_STATE (ST(ST_START) | ST(ST_READY) | ST(ST_MAIL) | ST(ST_RCPT) | ST(ST_CHUNKED) | ST(ST_FAILED))

struct command {
	struct slice verb;
	unsigned states; /* in which it is legal; elsewhere the table `misplaced` knows the reply */
	unsigned flags;
	unsigned feature; /* to be offered, or it counts as not implemented; 0 = always there */
	const char *syntax;
	/* NULL: a standard gives the verb, we do not do it. */
	void (*apply)(struct smtp_server *s, const struct command *c, struct slice arg);
};

static void helo(struct smtp_server *s, const struct command *c, struct slice arg);
static void mail(struct smtp_server *s, const struct command *c, struct slice arg);
static void rcpt(struct smtp_server *s, const struct command *c, struct slice arg);
static void data(struct smtp_server *s, const struct command *c, struct slice arg);
static void bdat(struct smtp_server *s, const struct command *c, struct slice arg);
static void rset(struct smtp_server *s, const struct command *c, struct slice arg);
static void noop(struct smtp_server *s, const struct command *c, struct slice arg);
static void vrfy(struct smtp_server *s, const struct command *c, struct slice arg);
static void help(struct smtp_server *s, const struct command *c, struct slice arg);
static void quit(struct smtp_server *s, const struct command *c, struct slice arg);
static void starttls(struct smtp_server *s, const struct command *c, struct slice arg);
static void xclient(struct smtp_server *s, const struct command *c, struct slice arg);
static void xforward(struct smtp_server *s, const struct command *c, struct slice arg);
static void auth(struct smtp_server *s, const struct command *c, struct slice arg);

/* clang-format off */
#define VERB(text) {(text), sizeof(text) - 1}

/* The most frequent first. ETRN and the like are known, so that their 502 tells them from a typing error. */
static const struct command commands[] = {
	{VERB("RCPT"), ST(ST_MAIL) | ST(ST_RCPT), CMD_ARGUMENT | CMD_PROGRESS, 0, "RCPT TO:<address> [parameters]", rcpt},
	{VERB("MAIL"), ST(ST_READY), CMD_ARGUMENT, 0, "MAIL FROM:<address> [parameters]", mail},
	{VERB("DATA"), ST(ST_RCPT), CMD_NO_ARGUMENT | CMD_PROGRESS | CMD_LAST, 0, "DATA", data},
	{VERB("BDAT"), ST(ST_RCPT) | ST(ST_CHUNKED), CMD_PROGRESS, FEATURE_CHUNKING, "BDAT size [LAST]", bdat},
	{VERB("RSET"), ANY_STATE, CMD_NO_ARGUMENT | CMD_OPEN, 0, "RSET", rset},
	{VERB("QUIT"), ANY_STATE | ST(ST_REFUSED), CMD_NO_ARGUMENT | CMD_LAST | CMD_QUIT | CMD_CLEAR | CMD_OPEN, 0, "QUIT", quit},
	{VERB("EHLO"), ANY_STATE, CMD_LAST | CMD_SMTP | CMD_CLEAR | CMD_OPEN, 0, "EHLO your-host-name", helo},
	{VERB("HELO"), ANY_STATE, CMD_LAST | CMD_SMTP | CMD_OPEN, 0, "HELO your-host-name", helo},
	{VERB("LHLO"), ANY_STATE, CMD_LAST | CMD_LMTP | CMD_CLEAR | CMD_OPEN, 0, "LHLO your-host-name", helo},
	{VERB("NOOP"), ANY_STATE, CMD_CLEAR | CMD_OPEN, 0, "NOOP", noop},
	{VERB("VRFY"), ANY_STATE, CMD_ARGUMENT, 0, "VRFY address", vrfy},
	{VERB("EXPN"), ANY_STATE, CMD_ARGUMENT, 0, "EXPN list", vrfy},
	{VERB("HELP"), ANY_STATE, 0, 0, "HELP [command]", help},
	{VERB("STARTTLS"), ANY_STATE, CMD_NO_ARGUMENT | CMD_LAST | CMD_CLEAR | CMD_OPEN, FEATURE_STARTTLS, "STARTTLS",
	 starttls},
	{VERB("AUTH"), ST(ST_READY), CMD_LAST | CMD_OPEN, FEATURE_AUTH, "AUTH mechanism [initial-response]",
	 auth},
	{VERB("XCLIENT"), ST(ST_START) | ST(ST_READY), CMD_ARGUMENT | CMD_PRIVATE | CMD_OPEN, FEATURE_XCLIENT,
		"XCLIENT attribute=value ...", xclient},
	{VERB("XFORWARD"), ST(ST_START) | ST(ST_READY), CMD_ARGUMENT | CMD_PRIVATE, FEATURE_XFORWARD,
		"XFORWARD attribute=value ...", xforward},
	{.verb = VERB("ETRN"), .states = ANY_STATE}, {.verb = VERB("ATRN"), .states = ANY_STATE},
	{.verb = VERB("TURN"), .states = ANY_STATE}, {.verb = VERB("BURL"), .states = ANY_STATE},
	{.verb = VERB("SEND"), .states = ANY_STATE}, {.verb = VERB("SOML"), .states = ANY_STATE},
	{.verb = VERB("SAML"), .states = ANY_STATE},
};
#define COMMANDS (sizeof commands / sizeof *commands)

/* What a command draws in a state where it is not legal. */
static const struct misplaced {
	struct slice verb;
	unsigned states;
	enum reply_id reply;
	const char *first; /* what has to come before it */
} misplaced[] = {
	{VERB("AUTH"), ST(ST_START), REPLY_SEQUENCE, "EHLO first"},
	{VERB("AUTH"), ANY_STATE, REPLY_AUTH_NESTED, ""},
	{VERB("MAIL"), ST(ST_START), REPLY_SEQUENCE, "EHLO first"},
	{VERB("MAIL"), ANY_STATE, REPLY_MAIL_NESTED, ""},
	{VERB("RCPT"), ST(ST_START) | ST(ST_READY), REPLY_SEQUENCE, "MAIL first"},
	{VERB("RCPT"), ANY_STATE, REPLY_SEQUENCE, "RSET first, the message was begun"},
	{VERB("DATA"), ST(ST_START) | ST(ST_READY), REPLY_SEQUENCE, "MAIL first"},
	{VERB("DATA"), ST(ST_MAIL), REPLY_NO_RECIPIENT, ""},
	{VERB("DATA"), ANY_STATE, REPLY_DATA_AFTER_BDAT, ""},
	{VERB("BDAT"), ST(ST_START), REPLY_SEQUENCE, "EHLO first"},
	{VERB("BDAT"), ST(ST_READY), REPLY_BDAT_AFTER_LAST, ""},
	{VERB("BDAT"), ST(ST_MAIL), REPLY_NO_RECIPIENT, ""},
	{VERB("BDAT"), ANY_STATE, REPLY_BDAT_FAILED, ""},
	{VERB("XCLIENT"), ANY_STATE, REPLY_MAIL_NESTED, ""},
	{VERB("XFORWARD"), ANY_STATE, REPLY_MAIL_NESTED, ""},
};

static const struct extension {
	unsigned feature; /* 0 = always offered */
	struct slice keyword;
} extensions[] = {
	{FEATURE_PIPELINING, VERB("PIPELINING")},
	{FEATURE_8BITMIME, VERB("8BITMIME")},
	{0, VERB("ENHANCEDSTATUSCODES")},
	{FEATURE_SMTPUTF8, VERB("SMTPUTF8")},
	{FEATURE_CHUNKING, VERB("CHUNKING")},
	{FEATURE_BINARYMIME, VERB("BINARYMIME")},
	{FEATURE_DSN, VERB("DSN")},
	{FEATURE_VRFY, VERB("VRFY")},
	{FEATURE_EXPN, VERB("EXPN")},
	{FEATURE_HELP, VERB("HELP")},
	{FEATURE_STARTTLS, VERB("STARTTLS")},
	{FEATURE_REQUIRETLS, VERB("REQUIRETLS")},
};
#define EXTENSIONS (sizeof extensions / sizeof *extensions)
/* clang-format on */

unsigned server_features(const struct smtp_server_config *config)
{
	unsigned f = 0;

	/* LMTP servers have to offer PIPELINING (RFC 2033 5); SMTPUTF8 asks for 8BITMIME (RFC 6531 3.1), BINARYMIME for
	 * CHUNKING (RFC 3030 3). */
	f |= config->offer_pipelining || config->lmtp ? FEATURE_PIPELINING : 0;
	f |= config->offer_8bitmime ? FEATURE_8BITMIME : 0;
	f |= config->offer_smtputf8 && config->offer_8bitmime ? FEATURE_SMTPUTF8 : 0;
	f |= config->offer_chunking ? FEATURE_CHUNKING : 0;
	f |= config->offer_binarymime && config->offer_chunking ? FEATURE_BINARYMIME : 0;
	f |= config->offer_dsn ? FEATURE_DSN : 0;
	f |= config->offer_vrfy ? FEATURE_VRFY : 0;
	f |= config->offer_expn ? FEATURE_EXPN : 0;
	f |= config->offer_help ? FEATURE_HELP : 0;
	f |= config->tls != SMTP_TLS_OFF ? FEATURE_STARTTLS : 0;
	f |= config->knows_xclient ? FEATURE_XCLIENT : 0;
	f |= config->knows_xforward ? FEATURE_XFORWARD : 0;
	f |= config->mechanism_count > 0 ? FEATURE_AUTH : 0;
	f |= config->offer_requiretls ? FEATURE_REQUIRETLS : 0;
	return f;
}

/* RFC 3207 4.2, RFC 8689 2. */
unsigned server_offers(const struct smtp_server *s)
{
	return server_features(s->config) & ~(unsigned)(s->secure ? FEATURE_STARTTLS : FEATURE_REQUIRETLS);
}

static void say(struct smtp_server *s, enum reply_id id, struct slice a, struct slice b)
{
	server_answer(s, &(struct reply){id, {a, b}});
}

/* ---- a command line ---------------------------------------------------------------------------------------------- */

static bool is_offered(const struct smtp_server *s, const struct command *c)
{
	return c->apply && (c->feature & ~server_features(s->config)) == 0;
}

static const struct command *find_command(struct slice verb)
{
	for (size_t i = 0; i < COMMANDS; i++)
		if (slice_ieq(commands[i].verb, verb))
			return &commands[i];
	return NULL;
}

bool server_count_idle(struct smtp_server *s)
{
	if (s->idle_commands >= s->config->idle_commands_max) {
		server_leave(s, REPLY_TOO_MANY_COMMANDS);
		return false;
	}
	s->idle_commands++;
	return true;
}

/* `c` is NULL for what is no command that we know. */
static bool within_limits(struct smtp_server *s, const struct command *c)
{
	if (c && c->flags & CMD_QUIT)
		return true;
	if (s->errors >= s->config->errors_max) {
		server_leave(s, REPLY_TOO_MANY_ERRORS);
		return false;
	}
	return (c && c->flags & CMD_PROGRESS) || server_count_idle(s);
}

void server_bad_line(struct smtp_server *s, const struct reply *reply)
{
	if (within_limits(s, NULL))
		server_answer(s, reply);
}

static struct reply misplaced_reply(const struct smtp_server *s, const struct command *c)
{
	const struct misplaced *m = misplaced;

	while (!slice_eq(m->verb, c->verb) || !(m->states & ST(s->state))) {
		m++;
		assert(m < misplaced + sizeof misplaced / sizeof *misplaced);
	}
	/* 554 tells that every RCPT failed (RFC 5321 3.3); without any, and in LMTP (RFC 2033 4.2), it is 503. */
	if (m->reply == REPLY_NO_RECIPIENT && (s->config->lmtp || s->tx.tries == 0))
		return (struct reply){REPLY_SEQUENCE, {SLICE("an accepted RCPT first")}};
	if (s->state == ST_START && s->config->lmtp)
		return (struct reply){REPLY_SEQUENCE, {SLICE("LHLO first")}};
	return (struct reply){m->reply, {slice_from_cstr(m->first)}};
}

/* Whether the command can be run here and now; if not, the refusal. */
static bool is_admitted(const struct smtp_server *s, const struct command *c, struct slice arg, struct reply *ret)
{
	bool lmtp = s->config->lmtp;

	if (s->state == ST_REFUSED && !(c && c->states & ST(ST_REFUSED)))
		*ret = (struct reply){.id = s->no_mail ? REPLY_NO_MAIL : REPLY_ONLY_QUIT};
	else if (s->config->tls == SMTP_TLS_REQUIRE && !s->secure && !(c && c->flags & CMD_CLEAR))
		*ret = (struct reply){.id = REPLY_STARTTLS_FIRST};
	else if (!c)
		*ret = (struct reply){.id = REPLY_COMMAND_UNKNOWN};
	else if (c->flags & (lmtp ? CMD_SMTP : CMD_LMTP))
		*ret = (struct reply){.id = lmtp ? REPLY_LMTP_ONLY : REPLY_SMTP_ONLY};
	else if (!is_offered(s, c))
		*ret = (struct reply){REPLY_NOT_IMPLEMENTED, {c->verb}};
	else if (s->config->auth_required && !s->authenticated && !(c->flags & CMD_OPEN))
		*ret = (struct reply){.id = REPLY_AUTH_REQUIRED};
	else if (c->flags & CMD_NO_ARGUMENT && arg.n > 0)
		*ret = (struct reply){REPLY_ARGUMENT_UNEXPECTED, {c->verb}};
	else if (!(c->states & ST(s->state)))
		*ret = misplaced_reply(s, c);
	else if (c->flags & CMD_ARGUMENT && arg.n == 0)
		*ret = (struct reply){REPLY_ARGUMENT_MISSING, {c->verb, slice_from_cstr(c->syntax)}};
	else
		return true;
	return false;
}

/* "Servers SHOULD tolerate trailing white space before the terminating CRLF" (RFC 5321 4.1.1). */
static struct slice without_trailing_blanks(struct slice s)
{
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

static bool is_http_version(struct slice s)
{
	return s.n == sizeof "HTTP/1.1" - 1 && slice_istarts(s, SLICE("HTTP/")) && ascii_is_digit(s.p[5]) &&
	       s.p[6] == '.' && ascii_is_digit(s.p[7]);
}

/* A request line of HTTP, whose method may be any word, a verb of ours too; or a status line. */
static bool is_http(const struct command *c, struct slice verb, struct slice line)
{
	static const struct slice methods[] = {VERB("GET"),   VERB("POST"),    VERB("PUT"),     VERB("HEAD"),
					       VERB("PATCH"), VERB("OPTIONS"), VERB("CONNECT"), VERB("DELETE"),
					       VERB("TRACE"), VERB("PRI")};
	size_t version = sizeof "HTTP/1.1" - 1;

	if (line.n > version && line.p[line.n - version - 1] == ' ' &&
	    is_http_version(slice_skip(line, line.n - version)))
		return true;
	for (size_t i = 0; !c && i < sizeof methods / sizeof *methods; i++)
		if (slice_ieq(methods[i], verb))
			return true;
	return !c && is_http_version(verb);
}

/* The header of the PROXY protocol; in its second version the third line, behind two empty ones, is a NUL alone. What
 * comes behind it is said by a client whom nobody told us of, with the rights of the proxy: none of it is read. */
static bool is_proxy(struct smtp_server *s, struct slice line)
{
	uint8_t blank = s->blank_lines;

	s->blank_lines = line.n > 0 ? 0 : blank < 2 ? blank + 1 : blank;
	return slice_starts(line, SLICE("PROXY ")) || (blank == 2 && slice_eq(line, slice_of("", 1)));
}

void server_command(struct smtp_server *s, struct slice line)
{
	struct reply refusal;

	line = without_trailing_blanks(line);
	struct slice verb = slice_head(line, slice_find(line, ' '));
	struct slice arg = slice_skip(line, verb.n + 1);
	bool nul = slice_find(line, '\0') < line.n;
	const struct command *c = nul ? NULL : find_command(verb);

	if (c && c->flags & CMD_PRIVATE && !is_offered(s, c))
		c = NULL;
	if (is_http(c, verb, line)) {
		server_leave_other(s, SLICE("HTTP"));
		return;
	}
	if (is_proxy(s, line)) {
		server_leave(s, REPLY_PROXY_DENIED);
		return;
	}
	if (c && c->flags & CMD_LAST && is_offered(s, c) && !(c->apply == auth && server_auth_is_whole(s, arg)))
		s->guard = true;
	if (!within_limits(s, c))
		return;
	if (nul)
		say(s, REPLY_LINE_NUL, SLICE_NONE, SLICE_NONE);
	else if (is_admitted(s, c, arg, &refusal))
		c->apply(s, c, arg);
	else if (c && c->apply == bdat)
		server_bdat(s, arg, &refusal);
	else
		server_answer(s, &refusal);
}

/* ---- STARTTLS (RFC 3207) ----------------------------------------------------------------------------------------- */

static void starttls(struct smtp_server *s, const struct command *c, struct slice arg)
{
	(void)c;
	(void)arg;
	if (s->secure)
		say(s, REPLY_STARTTLS_AGAIN, SLICE_NONE, SLICE_NONE);
	else
		server_ask(s, SMTP_EV_STARTTLS, 1);
}

void server_forget_client(struct smtp_server *s)
{
	server_drop(s);
	heap_free(s->peer);
	s->peer = NULL;
	s->peer_n = 0;
	s->extended = s->mail_tried = s->taken = s->authenticated = false;
}

void server_starttls_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	if (!good) {
		/* No handshake follows that could be deceived: it is a command like others. */
		s->early &= s->config->refuse_early;
		server_answer(s, reply);
		return;
	}
	server_forget_client(s); /* nothing of it counts behind the handshake */
	if (s->early) {
		server_leave(s, REPLY_STARTTLS_EARLY);
		return;
	}
	server_answer(s, reply);
	server_move(s, ST_TLS);
}

/* ---- EHLO, HELO, LHLO -------------------------------------------------------------------------------------------- */

static void helo(struct smtp_server *s, const struct command *c, struct slice arg)
{
	enum mail_domain_kind kind;

	if (!mail_domain_valid(arg, false) && !mail_literal_valid(arg, &kind)) {
		say(s, REPLY_HELO_SYNTAX, c->verb, SLICE_NONE);
		return;
	}
	s->text = arg;
	s->offers_ehlo = c->verb.p[0] != 'H';
	server_ask(s, SMTP_EV_HELO, 1);
}

static void answer_ehlo(struct smtp_server *s, const struct reply *reply)
{
	struct slice lines[EXTENSIONS + 4];
	char mechanisms[SERVER_AUTH_LINE];
	unsigned offered = server_offers(s);
	size_t n = 0;
	char size[5 + 20] = "SIZE ";
	struct slice digits = server_number(s, s->config->size_max);

	memcpy(size + 5, digits.p, digits.n);
	for (size_t i = 0; i < EXTENSIONS; i++)
		if ((extensions[i].feature & ~offered) == 0)
			lines[n++] = extensions[i].keyword;
	lines[n++] = slice_of(size, 5 + digits.n);
	if (s->trust.xclient && offered & FEATURE_XCLIENT)
		lines[n++] = smtp_attrs_offer(SMTP_ATTRS_XCLIENT);
	if (s->trust.xforward && offered & FEATURE_XFORWARD)
		lines[n++] = smtp_attrs_offer(SMTP_ATTRS_XFORWARD);
	n += server_auth_offer(s, mechanisms, &lines[n]);
	server_answer_lines(s, reply, lines, n);
}

static bool keep_peer_name(struct smtp_server *s)
{
	char *p = heap_resize(s->peer, s->text.n);

	if (!p)
		return false;
	memcpy(p, s->text.p, s->text.n);
	s->peer = p;
	s->peer_n = s->text.n;
	return true;
}

void server_helo_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	if (!good) { /* the state stays what it was (RFC 5321 4.1.4) */
		server_answer(s, reply);
		return;
	}
	assert(reply->id == REPLY_EHLO || reply->id == REPLY_HELO);
	if (!keep_peer_name(s)) {
		s->broken = true;
		return;
	}
	s->extended = s->offers_ehlo;
	s->mail_tried = false;
	server_drop(s);
	server_move(s, ST_READY);
	struct reply ours = {s->extended ? REPLY_EHLO : REPLY_HELO, {s->config->name, s->text}};
	if (s->extended)
		answer_ehlo(s, &ours);
	else
		server_answer(s, &ours);
}

/* ---- MAIL and RCPT ----------------------------------------------------------------------------------------------- */

/* The path behind FROM: or TO:, and the parameters behind it. */
static bool parse_path(struct smtp_server *s, const struct command *c, struct slice arg, struct slice *ret_params,
		       struct reply *ret)
{
	bool is_mail = c->apply == mail;
	struct slice keyword = is_mail ? SLICE("FROM:") : SLICE("TO:");
	const char *why = NULL;
	size_t used = 0;

	if (!slice_istarts(arg, keyword)) {
		*ret = (struct reply){REPLY_SYNTAX, {slice_from_cstr(c->syntax)}};
		return false;
	}
	arg = slice_skip(arg, keyword.n);
	enum mail_address_error error = mail_path_parse(arg, is_mail, !is_mail, &s->address, &used, &why);
	if (error == MAIL_ADDRESS_OK && used < arg.n && arg.p[used] != ' ') {
		error = MAIL_ADDRESS_SYNTAX;
		why = "something follows the address";
	} else if (arg.n > 0 && arg.p[0] == ' ') {
		why = "no space may stand behind the colon"; /* RFC 5321 3.3 */
	}
	*ret_params = slice_skip(arg, used);
	if (error == MAIL_ADDRESS_OK)
		return true;
	enum reply_id malformed = is_mail ? REPLY_MAIL_SYNTAX : REPLY_RCPT_SYNTAX;
	enum reply_id too_long = is_mail ? REPLY_MAIL_PATH_TOO_LONG : REPLY_RCPT_PATH_TOO_LONG;
	*ret = (struct reply){error == MAIL_ADDRESS_SYNTAX ? malformed : too_long, {slice_from_cstr(why)}};
	return false;
}

static bool mail_admitted(struct smtp_server *s, const struct command *c, struct slice arg, struct reply *ret)
{
	struct slice params;

	if (!parse_path(s, c, arg, &params, ret))
		return false;
	s->tx.envelope.sender = s->address.text;
	if (!server_mail_params(s, params, ret))
		return false;
	*ret = (struct reply){.id = REPLY_MAIL_UTF8};
	return s->tx.envelope.utf8 || !s->address.utf8;
}

static void mail(struct smtp_server *s, const struct command *c, struct slice arg)
{
	struct reply refusal;

	s->mail_tried = true;
	if (s->messages >= s->config->messages_max) {
		server_leave(s, REPLY_SESSION_FULL);
	} else if (mail_admitted(s, c, arg, &refusal)) {
		server_ask(s, SMTP_EV_MAIL, 1);
	} else {
		server_reset_transaction(s);
		server_answer(s, &refusal);
	}
}

void server_mail_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	struct mail_envelope *e = &s->tx.envelope;

	if (good) { /* until now its texts lay in the command line */
		e->sender = arena_copy(&s->tx.arena, e->sender);
		e->envid = arena_copy(&s->tx.arena, e->envid);
		s->broken |= !e->sender.p || !e->envid.p;
		s->tx.open = true;
		server_move(s, ST_MAIL);
	}
	server_answer(s, reply);
	if (!good)
		server_reset_transaction(s);
}

static bool rcpt_admitted(struct smtp_server *s, const struct command *c, struct slice arg, struct reply *ret)
{
	struct slice params;

	if (!parse_path(s, c, arg, &params, ret))
		return false;
	s->rcpt = (struct mail_rcpt){.address = s->address.text};
	if (!server_rcpt_params(s, params, ret))
		return false;
	if (s->address.utf8 && !s->tx.envelope.utf8) {
		*ret = (struct reply){.id = REPLY_RCPT_UTF8};
		return false;
	}
	*ret = (struct reply){.id = REPLY_RCPT_TOO_MANY};
	return s->tx.envelope.rcpt_count < s->config->rcpt_max;
}

static void rcpt(struct smtp_server *s, const struct command *c, struct slice arg)
{
	struct reply refusal;

	s->tx.tries += s->tx.tries < SIZE_MAX;
	if (s->tx.tries > s->config->rcpt_max && !server_count_idle(s))
		return;
	if (rcpt_admitted(s, c, arg, &refusal))
		server_ask(s, SMTP_EV_RCPT, 1);
	else
		server_answer(s, &refusal);
}

static bool add_rcpt(struct transaction *tx, struct mail_rcpt rcpt)
{
	size_t n = tx->envelope.rcpt_count;

	if (n == tx->rcpt_cap) {
		size_t cap = n ? n * 2 : SMTP_IDLE_RCPT; /* no overflow: n <= SMTP_RCPT_MAX */
		struct mail_rcpt *grown = heap_resize(tx->rcpt, cap * sizeof *grown);
		if (!grown)
			return false;
		tx->rcpt = grown;
		tx->rcpt_cap = cap;
	}
	rcpt.address = arena_copy(&tx->arena, rcpt.address);
	rcpt.orcpt = arena_copy(&tx->arena, rcpt.orcpt);
	if (!rcpt.address.p || !rcpt.orcpt.p)
		return false;
	tx->rcpt[n] = rcpt;
	tx->envelope.rcpt = tx->rcpt;
	tx->envelope.rcpt_count = n + 1;
	return true;
}

/* 251 and 551 name a mailbox; one outside ASCII cannot be shown in a reply (RFC 6531 3.7.4.1). */
static struct reply presentable(struct reply reply)
{
	unsigned code = reply_row(reply.id)->code;

	if (slice_is_ascii(reply.arg[0]))
		return reply;
	if (code == 251)
		return (struct reply){.id = REPLY_RCPT_OK};
	return code == 551 ? (struct reply){.id = REPLY_RCPT_MOVED_HIDDEN} : reply;
}

void server_rcpt_answered(struct smtp_server *s, const struct reply *reply, bool good)
{
	struct reply shown = presentable(*reply);

	server_answer(s, &shown);
	if (!good)
		return;
	if (add_rcpt(&s->tx, s->rcpt))
		server_move(s, ST_RCPT);
	else
		s->broken = true;
}

static void auth(struct smtp_server *s, const struct command *c, struct slice arg)
{
	server_auth(s, arg, c->syntax);
}

/* ---- the rest ---------------------------------------------------------------------------------------------------- */

static void data(struct smtp_server *s, const struct command *c, struct slice arg)
{
	(void)c;
	(void)arg;
	server_data(s);
}

static void bdat(struct smtp_server *s, const struct command *c, struct slice arg)
{
	(void)c;
	server_bdat(s, arg, NULL);
}

static void rset(struct smtp_server *s, const struct command *c, struct slice arg)
{
	(void)c;
	(void)arg;
	server_drop(s);
	s->mail_tried = false;
	if (s->state != ST_START)
		server_move(s, ST_READY);
	server_answer(s, &(struct reply){.id = REPLY_OK});
}

static void noop(struct smtp_server *s, const struct command *c, struct slice arg)
{
	(void)c;
	(void)arg; /* RFC 5321 4.1.1.9: ignored */
	server_answer(s, &(struct reply){.id = REPLY_OK});
}

/* VRFY and EXPN, with the SMTPUTF8 parameter of RFC 6531 3.7.4.2. It changes nothing: our replies stay within ASCII. */
static void vrfy(struct smtp_server *s, const struct command *c, struct slice arg)
{
	bool utf8 = server_features(s->config) & FEATURE_SMTPUTF8;

	if (utf8 && slice_iends(arg, SLICE(" SMTPUTF8")))
		arg = without_trailing_blanks(slice_head(arg, arg.n - (sizeof " SMTPUTF8" - 1)));
	if (!slice_is_ascii(arg) && !(utf8 && slice_is_utf8(arg))) {
		say(s, REPLY_NOT_ASCII, SLICE_NONE, SLICE_NONE);
		return;
	}
	s->text = arg;
	server_ask(s, c->verb.p[0] == 'V' ? SMTP_EV_VRFY : SMTP_EV_EXPN, 1);
}

/* Whether HELP speaks of it: what this session may use. */
static bool is_shown(const struct smtp_server *s, const struct command *c)
{
	if ((c->feature == FEATURE_XCLIENT && !s->trust.xclient) ||
	    (c->feature == FEATURE_XFORWARD && !s->trust.xforward))
		return false;
	return is_offered(s, c) && !(c->flags & (s->config->lmtp ? CMD_SMTP : CMD_LMTP));
}

static void help(struct smtp_server *s, const struct command *self, struct slice arg)
{
	struct slice lines[COMMANDS];
	size_t n = 0;
	const struct command *topic = find_command(arg);

	(void)self;
	if (s->config->asks_status && slice_ieq(arg, SLICE("STATUS"))) {
		server_ask(s, SMTP_EV_STATUS, 1);
		return;
	}
	if (arg.n > 0 && (!topic || !is_shown(s, topic))) {
		say(s, REPLY_HELP_UNKNOWN, arg, SLICE_NONE);
		return;
	}
	if (arg.n > 0) {
		say(s, REPLY_HELP_TOPIC, slice_from_cstr(topic->syntax), SLICE_NONE);
		return;
	}
	for (size_t i = 0; i < COMMANDS; i++)
		if (is_shown(s, &commands[i]))
			lines[n++] = slice_from_cstr(commands[i].syntax);
	server_answer_lines(s, &(struct reply){.id = REPLY_HELP}, lines, n);
}

static void xclient(struct smtp_server *s, const struct command *c, struct slice arg)
{
	(void)c;
	server_xclient(s, arg);
}

static void xforward(struct smtp_server *s, const struct command *c, struct slice arg)
{
	(void)c;
	server_xforward(s, arg);
}

static void quit(struct smtp_server *s, const struct command *c, struct slice arg)
{
	(void)c;
	(void)arg;
	server_say(s, REPLY_BYE);
	s->quit = true;
}
