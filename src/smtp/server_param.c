/*
 * server_param: the parameters of MAIL and RCPT (RFC 5321 4.1.2).
 *
 * One table of keywords. Each stands once at most. What is not offered counts as unknown: 555.
 */
#include "smtp/server_private.h"

#include <string.h>

struct param {
	struct slice keyword;
	unsigned feature; /* any of them; 0 = always there */
	bool takes_value;
	/* NULL, or what is wrong with the value. */
	const char *(*apply)(struct smtp_server *s, struct slice value);
};

/* ---- values ------------------------------------------------------------------------------------------------------ */

struct word {
	struct slice text;
	unsigned value;
};

/* clang-format off */
#define WORD(text, value) {{(text), sizeof(text) - 1}, (value)}
/* clang-format on */

static const struct word *find_word(const struct word *words, size_t n, struct slice text)
{
	for (size_t i = 0; i < n; i++)
		if (slice_ieq(words[i].text, text))
			return &words[i];
	return NULL;
}

/* The octet that "+XX" at the start of s stands for, upper case digits alone; -1 when it is none. */
static int hexchar(struct slice s)
{
	if (s.n < 3 || s.p[1] > 'F' || s.p[2] > 'F')
		return -1;
	int high = ascii_hex_value(s.p[1]), low = ascii_hex_value(s.p[2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/*
 * xtext of RFC 3461 4, whose decoded form is printable ASCII: no line end or NUL can come out of it, wherever it goes.
 * With `utf8` octets above 127 may stand for themselves (RFC 6533 3).
 */
static bool is_xtext(struct slice s, bool utf8)
{
	if (utf8 ? !slice_is_utf8(s) : !slice_is_ascii(s))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '+') {
			int c = hexchar(slice_skip(s, i));
			if (c < 0 || !ascii_is_print((char)c))
				return false;
			i += 2;
		} else if (s.p[i] == '=' || s.p[i] == ' ' ||
			   (!ascii_is_print(s.p[i]) && (unsigned char)s.p[i] < 0x80)) {
			return false;
		}
	}
	return true;
}

/* RFC 822 atom: printable ASCII but specials. */
static bool is_atom(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_print(s.p[i]) || memchr(" ()<>@,;:\\\".[]", s.p[i], 14))
			return false;
	return s.n > 0;
}

/* ---- MAIL -------------------------------------------------------------------------------------------------------- */

/* RFC 1870 3: 1*20DIGIT. A number beyond 64 bits is no error of syntax: it is over any limit. */
static const char *size_value(struct smtp_server *s, struct slice value)
{
	for (size_t i = 0; i < value.n; i++)
		if (!ascii_is_digit(value.p[i]))
			return "it has to be a number";
	if (value.n > 20)
		return "it has more than 20 digits";
	if (!slice_u64(value, UINT64_MAX, &s->tx.envelope.declared))
		s->tx.envelope.declared = UINT64_MAX;
	s->text = value; /* for the reply that it is too big */
	return NULL;
}

static const char *body_value(struct smtp_server *s, struct slice value)
{
	static const struct word words[] = {WORD("7BIT", MAIL_BODY_7BIT), WORD("8BITMIME", MAIL_BODY_8BITMIME),
					    WORD("BINARYMIME", MAIL_BODY_BINARYMIME)};
	static const unsigned features[] = {[MAIL_BODY_7BIT] = 0,
					    [MAIL_BODY_8BITMIME] = FEATURE_8BITMIME,
					    [MAIL_BODY_BINARYMIME] = FEATURE_BINARYMIME};
	const struct word *word = find_word(words, sizeof words / sizeof *words, value);

	if (!word)
		return "no such body type";
	if (features[word->value] & ~server_features(s->config))
		return "this body type is not offered";
	s->tx.envelope.body = word->value;
	return NULL;
}

static const char *smtputf8_value(struct smtp_server *s, struct slice value)
{
	(void)value;
	s->tx.envelope.utf8 = true;
	return NULL;
}

/* RFC 8689 2 */
static const char *requiretls_value(struct smtp_server *s, struct slice value)
{
	(void)value;
	s->tx.envelope.requiretls = true;
	return NULL;
}

/* RFC 3461 4.3 */
static const char *ret_value(struct smtp_server *s, struct slice value)
{
	static const struct word words[] = {WORD("FULL", MAIL_RET_FULL), WORD("HDRS", MAIL_RET_HDRS)};
	const struct word *word = find_word(words, sizeof words / sizeof *words, value);

	if (!word)
		return "it has to be FULL or HDRS";
	s->tx.envelope.ret = word->value;
	return NULL;
}

/* RFC 3461 4.4 */
static const char *envid_value(struct smtp_server *s, struct slice value)
{
	if (value.n > SMTP_ENVID_MAX)
		return "it is longer than 100 characters";
	if (!is_xtext(value, false))
		return "it has to be xtext of printable characters";
	s->tx.envelope.envid = value;
	return NULL;
}

/*
 * RFC 4954 5: a mailbox or "<>" as xtext, from whoever says it, authenticated or not. Nobody is trusted so far that it
 * would count: it is read and forgotten.
 */
static const char *auth_value(struct smtp_server *s, struct slice value)
{
	char text[SMTP_AUTH_PARAM_MAX];
	struct mail_address address;
	const char *why;
	size_t n = 0;

	(void)s;
	if (value.n > SMTP_AUTH_PARAM_MAX)
		return "it is longer than 500 characters";
	if (!is_xtext(value, false))
		return "it has to be xtext of printable characters";
	for (struct slice rest = value; rest.n; rest = slice_skip(rest, rest.p[0] == '+' ? 3 : 1))
		text[n++] = rest.p[0] == '+' ? (char)hexchar(rest) : rest.p[0];
	if (slice_eq(slice_of(text, n), SLICE("<>")) ||
	    mail_address_parse(slice_of(text, n), &address, &why) == MAIL_ADDRESS_OK)
		return NULL;
	return "it has to be an address, or <>";
}

/* ---- RCPT -------------------------------------------------------------------------------------------------------- */

/* RFC 3461 4.1 */
static const char *notify_value(struct smtp_server *s, struct slice value)
{
	static const struct word words[] = {WORD("NEVER", MAIL_NOTIFY_NEVER), WORD("SUCCESS", MAIL_NOTIFY_SUCCESS),
					    WORD("FAILURE", MAIL_NOTIFY_FAILURE), WORD("DELAY", MAIL_NOTIFY_DELAY)};
	unsigned notify = 0;

	for (struct slice rest = value; rest.p;) {
		const struct word *word = find_word(words, sizeof words / sizeof *words, slice_split(&rest, ','));
		if (!word)
			return "it has to be NEVER, or some of SUCCESS, FAILURE, DELAY";
		notify |= word->value;
	}
	if (notify & MAIL_NOTIFY_NEVER && notify != MAIL_NOTIFY_NEVER)
		return "NEVER has to stand alone";
	s->rcpt.notify = (uint8_t)notify;
	return NULL;
}

/* RFC 3461 4.2; the type utf-8 of RFC 6533 3 may hold UTF-8 where SMTPUTF8 was asked for. */
static const char *orcpt_value(struct smtp_server *s, struct slice value)
{
	size_t semicolon = slice_find(value, ';');
	struct slice type = slice_head(value, semicolon), text = slice_skip(value, semicolon + 1);

	if (value.n > SMTP_ORCPT_MAX)
		return "it is longer than 500 characters";
	if (semicolon == value.n || !is_atom(type))
		return "the form is: type;address";
	if (!is_xtext(text, s->tx.envelope.utf8 && slice_ieq(type, SLICE("utf-8"))))
		return "the address has to be xtext of printable characters";
	s->rcpt.orcpt = value;
	return NULL;
}

/* ---- the tables and their reader --------------------------------------------------------------------------------- */

/* clang-format off */
#define KEYWORD(text) {(text), sizeof(text) - 1}

static const struct param mail_params[] = {
	{KEYWORD("SIZE"), 0, true, size_value},
	{KEYWORD("BODY"), FEATURE_8BITMIME | FEATURE_BINARYMIME, true, body_value},
	{KEYWORD("SMTPUTF8"), FEATURE_SMTPUTF8, false, smtputf8_value},
	{KEYWORD("RET"), FEATURE_DSN, true, ret_value},
	{KEYWORD("ENVID"), FEATURE_DSN, true, envid_value},
	{KEYWORD("AUTH"), FEATURE_AUTH, true, auth_value},
	{KEYWORD("REQUIRETLS"), FEATURE_REQUIRETLS, false, requiretls_value},
};
static const struct param rcpt_params[] = {
	{KEYWORD("NOTIFY"), FEATURE_DSN, true, notify_value},
	{KEYWORD("ORCPT"), FEATURE_DSN, true, orcpt_value},
};
/* clang-format on */

/* esmtp-keyword of RFC 5321 4.1.2 */
static bool is_keyword(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if (!ascii_is_alnum(s.p[i]) && !(i > 0 && s.p[i] == '-'))
			return false;
	return s.n > 0;
}

static bool malformed(struct reply *ret, struct slice keyword, const char *why)
{
	*ret = (struct reply){REPLY_PARAM_SYNTAX, {keyword, slice_from_cstr(why)}};
	return false;
}

static bool is_suspended(const struct smtp_server_config *config, struct slice keyword)
{
	for (size_t i = 0; i < config->suspended_count; i++)
		if (slice_eq(config->suspended[i], keyword))
			return true;
	return false;
}

static bool apply_param(struct smtp_server *s, const struct param *param, struct slice text, struct reply *ret)
{
	size_t equals = slice_find(text, '=');
	struct slice value = slice_skip(text, equals + 1);

	if (param->takes_value && value.n == 0)
		return malformed(ret, param->keyword, "it needs a value");
	if (!param->takes_value && equals < text.n)
		return malformed(ret, param->keyword, "it takes no value");
	const char *why = param->apply(s, value);
	return why ? malformed(ret, param->keyword, why) : true;
}

static bool read_param(struct smtp_server *s, const struct param *table, size_t n, struct slice text, unsigned *seen,
		       struct reply *ret)
{
	struct slice keyword = slice_head(text, slice_find(text, '='));
	unsigned offered = server_offers(s);
	size_t i = 0;

	if (text.n == 0)
		return malformed(ret, text, "one space has to stand before each");
	if (!is_keyword(keyword))
		return malformed(ret, keyword, "keywords are letters, digits and hyphens");
	while (i < n && (!slice_ieq(table[i].keyword, keyword) || (table[i].feature && !(table[i].feature & offered))))
		i++;
	if (i == n) {
		*ret = (struct reply){REPLY_PARAM_UNKNOWN, {keyword}};
		return false;
	}
	if (*seen & 1u << i) {
		*ret = (struct reply){REPLY_PARAM_TWICE, {table[i].keyword}};
		return false;
	}
	if (is_suspended(s->config, table[i].keyword)) {
		*ret = (struct reply){REPLY_PARAM_SUSPENDED, {table[i].keyword}};
		return false;
	}
	*seen |= 1u << i;
	return apply_param(s, &table[i], text, ret);
}

/* `params` is empty, or begins with a space. */
static bool read_params(struct smtp_server *s, const struct param *table, size_t n, struct slice params,
			struct reply *ret)
{
	unsigned seen = 0;

	if (params.n == 0)
		return true;
	if (!s->extended) {
		*ret = (struct reply){.id = REPLY_PARAM_NEEDS_EHLO};
		return false;
	}
	assert(params.p[0] == ' ');
	for (struct slice rest = slice_skip(params, 1); rest.p;)
		if (!read_param(s, table, n, slice_split(&rest, ' '), &seen, ret))
			return false;
	return true;
}

bool server_mail_params(struct smtp_server *s, struct slice params, struct reply *ret)
{
	if (!read_params(s, mail_params, sizeof mail_params / sizeof *mail_params, params, ret))
		return false;
	if (s->tx.envelope.declared <= s->config->size_max)
		return true;
	*ret = (struct reply){REPLY_MAIL_TOO_BIG, {s->text, server_number(s, s->config->size_max)}};
	return false;
}

bool server_rcpt_params(struct smtp_server *s, struct slice params, struct reply *ret)
{
	return read_params(s, rcpt_params, sizeof rcpt_params / sizeof *rcpt_params, params, ret);
}
