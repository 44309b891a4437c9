#include "conf/value.h"

#include "base/clock.h"

#include <assert.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

/* The largest first. */
static const struct unit octet_units[] = {
	{"T", (uint64_t)1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"k", 1 << 10}, {"", 1},
};
static const struct unit span_units[] = {
	{"d", DAY}, {"h", HOUR}, {"m", MINUTE}, {"s", SECOND}, {"ms", 1},
};
#define UNIT_COUNT (sizeof span_units / sizeof *span_units)
static_assert(sizeof octet_units == sizeof span_units, "as many units of either kind");

static size_t digits_at(struct slice s)
{
	size_t n = 0;

	while (n < s.n && ascii_is_digit(s.p[n]))
		n++;
	return n;
}

static size_t letters_at(struct slice s)
{
	size_t n = 0;

	while (n < s.n && ascii_is_alpha(s.p[n]))
		n++;
	return n;
}

static const struct unit *find_unit(const struct unit *units, struct slice name)
{
	for (size_t i = 0; i < UNIT_COUNT; i++)
		if (slice_ieq(slice_from_cstr(units[i].name), name))
			return &units[i];
	return NULL;
}

/* Numbers with units, one after the other from large to small ("1h30m"), added up. */
static bool read_units(struct slice s, const struct unit *units, uint64_t *ret)
{
	uint64_t sum = 0, before = UINT64_MAX;

	if (s.n == 0)
		return false;
	while (s.n) {
		size_t digits = digits_at(s);
		size_t letters = letters_at(slice_skip(s, digits));
		const struct unit *unit = find_unit(units, slice_head(slice_skip(s, digits), letters));
		uint64_t value;

		if (!unit || unit->factor >= before || !slice_u64(slice_head(s, digits), UINT64_MAX, &value))
			return false;
		if (__builtin_mul_overflow(value, unit->factor, &value) || __builtin_add_overflow(sum, value, &sum))
			return false;
		before = unit->factor;
		s = slice_skip(s, digits + letters);
	}
	*ret = sum;
	return true;
}

static bool read_bool(struct slice s, uint64_t *ret)
{
	static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (slice_ieq(s, slice_from_cstr(words[i]))) {
			*ret = i % 2;
			return true;
		}
	return false;
}

static bool read_word(const char *words, struct slice s, uint64_t *ret)
{
	uint64_t at = 0;

	for (struct slice rest = slice_from_cstr(words); rest.p; at++)
		if (slice_eq(slice_split(&rest, '|'), s)) {
			*ret = at;
			return true;
		}
	return false;
}

static bool read_form(const struct conf_key *key, struct slice s, uint64_t *ret)
{
	switch (key->type) {
	case TYPE_BOOL:
		return read_bool(s, ret);
	case TYPE_WORD:
		return read_word(key->words, s, ret);
	case TYPE_OCTETS:
	case TYPE_OCTETS_OR_NONE:
		return read_units(s, octet_units, ret);
	case TYPE_SPAN:
	case TYPE_SPAN_OR_NEVER:
		return read_units(s, span_units, ret);
	default:
		assert(key->type == TYPE_COUNT || key->type == TYPE_PROCESSES || key->type == TYPE_COUNT_OR_NONE);
		return slice_u64(s, UINT64_MAX, ret);
	}
}

enum conf_number_result conf_number_read(const struct conf_key *key, struct slice text, unsigned cores, uint64_t *ret)
{
	*ret = 0;
	if (key->type == TYPE_SPAN_OR_NEVER && slice_eq(text, SLICE("never")))
		return CONF_NUMBER_OK;
	if ((key->type == TYPE_COUNT_OR_NONE || key->type == TYPE_OCTETS_OR_NONE) && slice_eq(text, SLICE("none")))
		return CONF_NUMBER_OK;
	if (key->type == TYPE_PROCESSES && slice_eq(text, SLICE("auto"))) {
		*ret = cores < key->min ? key->min : cores > key->max ? key->max : cores;
		return CONF_NUMBER_OK;
	}
	if (!read_form(key, text, ret))
		return CONF_NUMBER_FORM;
	if (key->type == TYPE_BOOL || key->type == TYPE_WORD)
		return CONF_NUMBER_OK;
	return *ret < key->min || *ret > key->max ? CONF_NUMBER_RANGE : CONF_NUMBER_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------------------
 */

static void write_units(uint64_t value, const struct unit *units, struct buf *out)
{
	const struct unit *unit = units;

	while (value % unit->factor != 0 || (value == 0 && unit->factor > 1))
		unit++;
	buf_add_u64(out, value / unit->factor);
	buf_add(out, slice_from_cstr(unit->name));
}

static void write_word(const char *words, uint64_t index, struct buf *out)
{
	struct slice rest = slice_from_cstr(words), word = slice_split(&rest, '|');

	for (; index > 0; index--)
		word = slice_split(&rest, '|');
	assert(word.n > 0);
	buf_add(out, word);
}

bool conf_number_write(const struct conf_key *key, uint64_t value, struct buf *out)
{
	switch (key->type) {
	case TYPE_BOOL:
		buf_add(out, value ? SLICE("yes") : SLICE("no"));
		break;
	case TYPE_WORD:
		write_word(key->words, value, out);
		break;
	case TYPE_OCTETS:
		write_units(value, octet_units, out);
		break;
	case TYPE_SPAN_OR_NEVER:
		if (value == 0)
			buf_add_lit(out, "never");
		else
			write_units(value, span_units, out);
		break;
	case TYPE_SPAN:
		write_units(value, span_units, out);
		break;
	case TYPE_OCTETS_OR_NONE:
		if (value == 0)
			buf_add_lit(out, "none");
		else
			write_units(value, octet_units, out);
		break;
	case TYPE_COUNT_OR_NONE:
		if (value == 0)
			buf_add_lit(out, "none");
		else
			buf_add_u64(out, value);
		break;
	default:
		assert(key->type == TYPE_COUNT || key->type == TYPE_PROCESSES);
		buf_add_u64(out, value);
		break;
	}
	return !out->failed;
}

bool conf_text_write(struct slice text, struct buf *out)
{
	buf_add_char(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '"' || text.p[i] == '\\' || text.p[i] == '$')
			buf_add_char(out, '\\');
		buf_add_char(out, text.p[i]);
	}
	return buf_add_char(out, '"');
}

/* What a value is, in words; a number's bounds follow. */
static const char *const type_words[TYPE_COUNT_OF] = {
	[TYPE_BOOL] = "yes or no",
	[TYPE_WORD] = "one of",
	[TYPE_COUNT] = "a number",
	[TYPE_PROCESSES] = "\"auto\" or a number",
	[TYPE_OCTETS] = "a size, such as 500, 64k, 10M or 2G,",
	[TYPE_SPAN] = "a time, such as 500ms, 30s, 5m, 1h30m or 2d,",
	[TYPE_SPAN_OR_NEVER] = "\"never\" or a time, such as 30s, 5m, 1h30m or 2d,",
	[TYPE_COUNT_OR_NONE] = "\"none\" or a number",
	[TYPE_OCTETS_OR_NONE] = "\"none\" or a size, such as 500, 64k, 10M or 2G,",
	[TYPE_HOSTNAME] = "\"auto\" or a host name",
	[TYPE_ACCOUNT] = "\"auto\" or the name of an account",
	[TYPE_PATH] = "a path",
	[TYPE_SOCKET] = "\"none\" or the path of a unix socket, at most 107 octets",
	[TYPE_ADDRESS] = "a mail address, local@domain",
	[TYPE_LISTEN_ADDRESS] = "\"*\" or an IP address",
	[TYPE_LMTP_HOST] = "\"none\", \"unix:/path\" or \"inet:host:port\"",
	[TYPE_MAILBOX] = "\"none\" or the name of a mailbox",
	[TYPE_DELIMITER] = "\"none\" or one of the characters + - _ = # . ~",
	[TYPE_RESOLVER] = "\"none\", or an IP address with or without @port",
	[TYPE_PEER_NAME] = "\"none\", a host name or an IP address",
	[TYPE_FILE] = "\"none\" or a path",
	[TYPE_NOTE] = "\"none\" or a text of at most 200 octets",
	[TYPE_NETWORKS] = "a list of networks",
	[TYPE_ADDRESSES] = "a list of IP addresses",
	[TYPE_MAILBOXES] = "a list of names of mailboxes",
	[TYPE_HOSTS] = "a list of hosts",
	[TYPE_MEMBERS] = "a list of mail addresses",
	[TYPE_PATTERNS] = "a list of mail addresses, domains (example.com) and parents of domains (.example.com)",
	[TYPE_DOMAINS] = "a list of domains (example.com) and parents of domains (.example.com)",
	[TYPE_REPLY_CODES] = "a list of reply codes, such as 550 or 45x, and \"-\"",
	[TYPE_STATUS_CODES] = "a list of enhanced status codes, such as 5.1.1 or x.7.x, and \"-\"",
	[TYPE_WORDINGS] = "a list of texts of 1 to 200 octets",
	[TYPE_PARAMETERS] = "a list of BODY, SMTPUTF8, RET, ENVID, NOTIFY and ORCPT",
	[TYPE_MEDIA] = "a list of media types, such as image/png or image/*",
	[TYPE_EXTENSIONS] = "a list of file name extensions, such as exe or tar.gz",
	[TYPE_CERTIFICATE_NAMES] = "a list of names behind email:, dns: or uri:, or key: and 64 hexadecimal digits",
	[TYPE_MECHANISMS] = "a list of mechanisms of AUTH, such as SCRAM-SHA-256 or PLAIN",
	[TYPE_OUT_MECHANISMS] = "a list of mechanisms of AUTH, such as SCRAM-SHA-256 or XOAUTH2",
};

void conf_type_describe(const struct conf_key *key, struct buf *out)
{
	buf_add(out, slice_from_cstr(type_words[key->type]));
	if (key->type == TYPE_WORD)
		for (struct slice rest = slice_from_cstr(key->words); rest.p;) {
			struct slice word = slice_split(&rest, '|');

			buf_printf(out, " %.*s%s", SLICE_ARGS(word), rest.p ? "," : "");
		}
	if (!conf_type_is_number(key->type) || key->type == TYPE_BOOL || key->type == TYPE_WORD)
		return;

	struct conf_key number = *key;
	if (number.type == TYPE_SPAN_OR_NEVER)
		number.type = TYPE_SPAN;
	if (number.type == TYPE_COUNT_OR_NONE)
		number.type = TYPE_COUNT;
	if (number.type == TYPE_OCTETS_OR_NONE)
		number.type = TYPE_OCTETS;
	buf_add_lit(out, " from ");
	conf_number_write(&number, key->min, out);
	buf_add_lit(out, " to ");
	conf_number_write(&number, key->max, out);
}
