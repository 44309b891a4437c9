#include "smtp/attrs.h"

#include "mail/address.h"

#include <assert.h>
#include <string.h>

#define XC        (1u << SMTP_ATTRS_XCLIENT)
#define XF        (1u << SMTP_ATTRS_XFORWARD)

#define PROTO_MAX 64

/* ---- values ------------------------------------------------------------------------------------------------------ */

static bool is_host(struct slice value, const char **why)
{
	*why = "it is no host name";
	return mail_domain_valid(value, false);
}

/* Without brackets; IPv6 with its tag, though not every client sends it. */
static bool is_address(struct slice value, const char **why)
{
	char room[SMTP_ATTR_MAX + sizeof "[IPv6:]"];
	struct buf literal = {.p = room, .cap = sizeof room, .max = sizeof room};
	enum mail_domain_kind kind;
	bool untagged = slice_find(value, ':') < value.n && !slice_istarts(value, SLICE("IPv6:"));

	*why = "it is no IP address";
	buf_add(&literal, untagged ? SLICE("[IPv6:") : SLICE("["));
	buf_add(&literal, value);
	buf_add_char(&literal, ']');
	return mail_literal_valid(buf_slice(&literal), &kind) && kind != MAIL_DOMAIN_GENERAL;
}

static bool is_port(struct slice value, const char **why)
{
	uint64_t port;

	*why = "it is no port number";
	return slice_u64(value, 65535, &port);
}

static bool is_protocol(struct slice value, const char **why)
{
	*why = "it has to be SMTP or ESMTP";
	return slice_ieq(value, SLICE("SMTP")) || slice_ieq(value, SLICE("ESMTP"));
}

static bool is_login(struct slice value, const char **why)
{
	*why = "it has to be UTF-8 without control characters";
	for (size_t i = 0; i < value.n; i++)
		if ((unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f)
			return false;
	return slice_is_utf8(value);
}

static bool is_source(struct slice value, const char **why)
{
	*why = "it has to be LOCAL or REMOTE";
	return slice_ieq(value, SLICE("LOCAL")) || slice_ieq(value, SLICE("REMOTE"));
}

static bool is_short(struct slice value, const char **why)
{
	*why = "it is longer than 64 octets";
	return value.n <= PROTO_MAX;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

/* NULL: any text. Of that, and of whatever XFORWARD tells, what might be misread is replaced. */
typedef bool value_check(struct slice value, const char **why);

#define WORD(text)                       \
	{                                \
		(text), sizeof(text) - 1 \
	}

static const struct attribute {
	struct slice name;
	unsigned verbs;
	bool temporary; /* XCLIENT knows [TEMPUNAVAIL] for it */
	value_check *of_client, *of_forwarded;
} attributes[SMTP_ATTRS] = {
	[SMTP_ATTR_NAME] = {WORD("NAME"), XC | XF, true, is_host, NULL},
	[SMTP_ATTR_REVERSE_NAME] = {WORD("REVERSE_NAME"), XC, true, is_host, NULL},
	[SMTP_ATTR_ADDR] = {WORD("ADDR"), XC | XF, false, is_address, NULL},
	[SMTP_ATTR_PORT] = {WORD("PORT"), XC | XF, false, is_port, is_port},
	[SMTP_ATTR_PROTO] = {WORD("PROTO"), XC | XF, false, is_protocol, is_short},
	[SMTP_ATTR_HELO] = {WORD("HELO"), XC | XF, false, NULL, NULL},
	[SMTP_ATTR_LOGIN] = {WORD("LOGIN"), XC, false, is_login, NULL},
	[SMTP_ATTR_DESTADDR] = {WORD("DESTADDR"), XC, false, is_address, NULL},
	[SMTP_ATTR_DESTPORT] = {WORD("DESTPORT"), XC, false, is_port, NULL},
	[SMTP_ATTR_IDENT] = {WORD("IDENT"), XF, false, NULL, NULL},
	[SMTP_ATTR_SOURCE] = {WORD("SOURCE"), XF, false, NULL, is_source},
};

struct slice smtp_attrs_offer(enum smtp_attrs_verb verb)
{
	return verb == SMTP_ATTRS_XCLIENT
		       ? SLICE("XCLIENT NAME REVERSE_NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT")
		       : SLICE("XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE");
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* xtext to whatever octets it stands for; false when it is none, or longer than a value may be. */
static bool decode(struct slice in, struct smtp_attr_value *ret)
{
	size_t n = 0;

	for (size_t i = 0; i < in.n; i++) {
		int c = (unsigned char)in.p[i];

		if (c == '+') {
			int high = i + 2 < in.n ? ascii_hex_value(in.p[i + 1]) : -1;
			int low = i + 2 < in.n ? ascii_hex_value(in.p[i + 2]) : -1;

			if (high < 0 || low < 0)
				return false;
			c = high * 16 + low;
			i += 2;
		} else if (c <= ' ' || c > '~') {
			return false;
		}
		if (n == SMTP_ATTR_MAX)
			return false;
		ret->text[n++] = (char)c;
	}
	ret->n = (uint8_t)n;
	return n > 0;
}

/* Octets that end or divide something in a log or in a header field. */
static void replace_specials(struct smtp_attr_value *v)
{
	for (size_t i = 0; i < v->n; i++)
		if (v->text[i] <= ' ' || v->text[i] > '~' || memchr("<>()\\\";@,", v->text[i], 9))
			v->text[i] = '?';
}

static bool read_value(const struct attribute *a, enum smtp_attrs_verb verb, struct slice text,
		       struct smtp_attr_value *ret, const char **why)
{
	value_check *check = verb == SMTP_ATTRS_XCLIENT ? a->of_client : a->of_forwarded;

	*ret = (struct smtp_attr_value){.state = SMTP_ATTR_UNAVAILABLE};
	if (slice_ieq(text, SLICE("[UNAVAILABLE]")))
		return true;
	if (slice_ieq(text, SLICE("[TEMPUNAVAIL]")) && a->temporary) {
		ret->state = verb == SMTP_ATTRS_XCLIENT ? SMTP_ATTR_TEMPUNAVAIL : SMTP_ATTR_UNAVAILABLE;
		return true;
	}
	*why = "it has to be 1 to 255 octets in xtext";
	if (!decode(text, ret))
		return false;
	ret->state = SMTP_ATTR_GIVEN;
	if (check && !check(slice_of(ret->text, ret->n), why))
		return false;
	if (!check || verb == SMTP_ATTRS_XFORWARD)
		replace_specials(ret);
	return true;
}

static const struct attribute *find_attribute(enum smtp_attrs_verb verb, struct slice name)
{
	for (size_t i = 0; i < SMTP_ATTRS; i++)
		if (attributes[i].verbs & 1u << verb && slice_ieq(attributes[i].name, name))
			return &attributes[i];
	return NULL;
}

static bool read_attribute(enum smtp_attrs_verb verb, struct slice word, struct smtp_attrs *attrs, unsigned *told,
			   const char **why)
{
	size_t equals = slice_find(word, '=');
	const struct attribute *a = find_attribute(verb, slice_head(word, equals));

	*why = equals == word.n ? "an attribute is name=value" : "there is no such attribute";
	if (!a || equals == word.n)
		return false;
	size_t i = (size_t)(a - attributes);
	*why = "it is there twice";
	if (*told & 1u << i)
		return false;
	*told |= 1u << i;
	return read_value(a, verb, slice_skip(word, equals + 1), &attrs->value[i], why);
}

static bool is_told(const struct smtp_attrs *attrs)
{
	for (size_t i = 0; i < SMTP_ATTRS; i++)
		if (attrs->value[i].state != SMTP_ATTR_NONE)
			return true;
	return false;
}

bool smtp_attrs_read(enum smtp_attrs_verb verb, struct slice arg, struct smtp_attrs *attrs, struct slice *ret_where,
		     const char **why)
{
	struct smtp_attrs read = *attrs;
	unsigned told = 0;

	if (verb == SMTP_ATTRS_XFORWARD && !is_told(attrs))
		for (size_t i = 0; i < SMTP_ATTRS; i++)
			if (attributes[i].verbs & XF)
				read.value[i].state = SMTP_ATTR_UNAVAILABLE;
	for (struct slice rest = arg; rest.p;) {
		*ret_where = slice_split(&rest, ' ');
		if (ret_where->n == 0) /* more than one space */
			continue;
		if (!read_attribute(verb, *ret_where, &read, &told, why))
			return false;
	}
	*why = "there is no attribute";
	*ret_where = arg;
	if (told == 0)
		return false;
	*attrs = read;
	return true;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static void write_value(const struct smtp_attr_value *v, struct buf *out)
{
	if (v->state == SMTP_ATTR_UNAVAILABLE)
		buf_add_lit(out, "[UNAVAILABLE]");
	else if (v->state == SMTP_ATTR_TEMPUNAVAIL)
		buf_add_lit(out, "[TEMPUNAVAIL]");
	else
		mail_xtext_encode(slice_of(v->text, v->n), out);
}

bool smtp_attrs_write(const struct smtp_attrs *attrs, bool unavailable, struct buf *out)
{
	size_t written = 0;

	for (size_t i = 0; i < SMTP_ATTRS; i++) {
		const struct smtp_attr_value *v = &attrs->value[i];

		if (v->state == SMTP_ATTR_NONE || (v->state != SMTP_ATTR_GIVEN && !unavailable))
			continue;
		if (written++ > 0)
			buf_add_char(out, ' ');
		buf_add(out, attributes[i].name);
		buf_add_char(out, '=');
		write_value(v, out);
	}
	return !out->failed;
}
