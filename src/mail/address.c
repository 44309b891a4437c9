#include "mail/address.h"

#include <assert.h>
#include <idn2.h>
#include <string.h>

#define LABEL_MAX 63 /* octets of a DNS label, RFC 1035 2.3.4 */

_Static_assert(MAIL_PATH_MAX <= MAIL_DOMAIN_MAX + MAIL_LOCAL_MAX, "the path limit bounds local part and domain");

/* ---- characters -------------------------------------------------------------------------------------------------- */

static bool is_8bit(char c)
{
	return (unsigned char)c >= 0x80;
}

/* RFC 5322 3.2.3, as RFC 6531 3.3 extends it: the octets of UTF-8 count, and utf8_good checks their form. */
static bool is_atext(char c)
{
	static const char others[] = "!#$%&'*+-/=?^_`{|}~";

	return ascii_is_alnum(c) || is_8bit(c) || memchr(others, c, sizeof others - 1) != NULL;
}

/* Well-formed, and without the C1 controls U+0080 to U+009F (RFC 6531 3.3: no control characters). */
static bool utf8_good(struct slice s)
{
	if (!slice_is_utf8(s))
		return false;
	for (size_t i = 0; i + 1 < s.n; i++)
		if ((unsigned char)s.p[i] == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0)
			return false;
	return true;
}

static size_t span(struct slice s, bool (*is)(char c))
{
	size_t n = 0;

	while (n < s.n && is(s.p[n]))
		n++;
	return n;
}

/* ---- local part: each takes what stands at the start of s, and returns its octets or 0 --------------------------- */

static size_t dot_string(struct slice s)
{
	size_t n = 0;

	for (;;) {
		size_t atom = span(slice_skip(s, n), is_atext);

		if (atom == 0)
			return 0;
		n += atom;
		if (n == s.n || s.p[n] != '.')
			return n;
		n++;
	}
}

/* A quoted pair takes ASCII only (RFC 5321 4.1.2): RFC 6531 3.3 adds UTF-8 to what stands unquoted. */
static size_t quoted_string(struct slice s)
{
	for (size_t i = 1; i < s.n; i++) {
		bool pair = s.p[i] == '\\';

		if (s.p[i] == '"')
			return i + 1;
		if (pair && ++i == s.n)
			return 0;
		if (!ascii_is_print(s.p[i]) && (pair || !is_8bit(s.p[i])))
			return 0;
	}
	return 0;
}

static size_t local_part(struct slice s)
{
	size_t n = s.n && s.p[0] == '"' ? quoted_string(s) : dot_string(s);

	return utf8_good(slice_head(s, n)) ? n : 0;
}

/* ---- address literals -------------------------------------------------------------------------------------------- */

static bool is_hex(char c)
{
	return ascii_hex_value(c) >= 0;
}

static bool ipv4_valid(struct slice s)
{
	size_t parts = 0;

	for (struct slice rest = s; rest.p; parts++) {
		struct slice part = slice_split(&rest, '.');
		uint64_t value;

		if (part.n > 3 || !slice_u64(part, 255, &value))
			return false;
	}
	return parts == 4;
}

/*
 * The four forms of IPv6-addr at once: groups of at most four digits, one "::" that stands for two groups or more, and
 * an IPv4 address in place of the last two groups.
 */
static bool ipv6_valid(struct slice s)
{
	bool compressed = slice_starts(s, SLICE("::"));
	size_t groups = 0;

	s = slice_skip(s, compressed ? 2 : 0);
	while (s.n) {
		size_t digits = span(s, is_hex);

		if (digits < s.n && s.p[digits] == '.') {
			groups += 2;
			if (!ipv4_valid(s))
				return false;
			break;
		}
		if (digits < 1 || digits > 4)
			return false;
		groups++;
		s = slice_skip(s, digits);
		if (!compressed && slice_starts(s, SLICE("::"))) {
			compressed = true;
			s = slice_skip(s, 2);
		} else if (s.n > 1 && s.p[0] == ':') {
			s = slice_skip(s, 1);
		} else if (s.n) {
			return false;
		}
	}
	return compressed ? groups <= 6 : groups == 8;
}

static bool is_tag(char c)
{
	return ascii_is_alnum(c) || c == '-';
}

static bool is_dcontent(char c)
{
	return c > 32 && c < 127 && c != '[' && c != '\\' && c != ']';
}

static bool general_valid(struct slice s)
{
	size_t tag = span(s, is_tag);

	if (tag == 0 || tag == s.n || s.p[tag - 1] == '-' || s.p[tag] != ':')
		return false;
	s = slice_skip(s, tag + 1);
	return s.n > 0 && span(s, is_dcontent) == s.n;
}

bool mail_literal_valid(struct slice in, enum mail_domain_kind *ret_kind)
{
	struct slice inner = slice_skip(slice_head(in, in.n ? in.n - 1 : 0), 1);

	if (in.n < 3 || in.n > MAIL_DOMAIN_MAX || in.p[0] != '[' || in.p[in.n - 1] != ']')
		return false;
	if (slice_istarts(inner, SLICE("IPv6:"))) {
		*ret_kind = MAIL_DOMAIN_IPV6;
		return ipv6_valid(slice_skip(inner, 5));
	}
	*ret_kind = ipv4_valid(inner) ? MAIL_DOMAIN_IPV4 : MAIL_DOMAIN_GENERAL;
	return *ret_kind == MAIL_DOMAIN_IPV4 || general_valid(inner);
}

/* ---- domain names ------------------------------------------------------------------------------------------------ */

static bool ldh_label(struct slice label)
{
	if (label.n == 0 || label.n > LABEL_MAX || label.p[0] == '-' || label.p[label.n - 1] == '-')
		return false;
	return span(label, is_tag) == label.n;
}

/*
 * Convert a domain with U-labels. Every label must stay one label, a U-label must become an A-label, and everything
 * else must stay as it is but for its case: so no mapping can turn a name outside ASCII into one inside, or a full stop
 * of another script into a dot. `ret` holds the result, at most MAIL_DOMAIN_MAX octets.
 */
static bool to_alabels(struct slice domain, char ret[MAIL_DOMAIN_MAX], size_t *ret_n)
{
	char text[MAIL_DOMAIN_MAX + 1];
	uint8_t *converted = NULL;

	assert(domain.n > 0 && domain.n <= MAIL_DOMAIN_MAX);
	if (memchr(domain.p, '\0', domain.n) || !utf8_good(domain))
		return false;
	memcpy(text, domain.p, domain.n);
	text[domain.n] = '\0';
	if (idn2_lookup_u8((const uint8_t *)text, &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return false;

	struct slice out = slice_from_cstr((const char *)converted);
	bool good = out.n <= MAIL_DOMAIN_MAX;
	struct slice from = domain, to = out;
	while (good && from.p && to.p) {
		struct slice before = slice_split(&from, '.'), after = slice_split(&to, '.');

		good = ldh_label(after) &&
		       (slice_is_ascii(before) ? slice_ieq(before, after) : slice_starts(after, SLICE("xn--")));
	}
	good = good && !from.p && !to.p;
	if (good) {
		memcpy(ret, out.p, out.n);
		*ret_n = out.n;
	}
	idn2_free(converted);
	return good;
}

/* NULL when it is a domain name, or why it is none; over-long ones set *error to DOMAIN_TOO_LONG. */
static const char *name_check(struct slice in, enum mail_address_error *error)
{
	char ascii[MAIL_DOMAIN_MAX];
	size_t n;

	*error = MAIL_ADDRESS_DOMAIN_TOO_LONG;
	if (in.n > MAIL_DOMAIN_MAX)
		return "the domain is longer than 255 octets";
	for (struct slice rest = in; rest.p;)
		if (slice_split(&rest, '.').n > LABEL_MAX && slice_is_ascii(in))
			return "a part of the domain is longer than 63 octets";
	*error = MAIL_ADDRESS_SYNTAX;
	if (in.n == 0)
		return "the domain is missing";
	if (!slice_is_ascii(in))
		return to_alabels(in, ascii, &n) ? NULL : "the internationalised domain is not valid";
	for (struct slice rest = in; rest.p;) {
		struct slice label = slice_split(&rest, '.');

		if (label.n == 0)
			return "a part of the domain is empty";
		if (!ldh_label(label))
			return "the domain has a character or hyphen where none may be";
	}
	return NULL;
}

bool mail_domain_valid(struct slice in, bool utf8_ok)
{
	enum mail_address_error error;

	return (utf8_ok || slice_is_ascii(in)) && name_check(in, &error) == NULL;
}

/* What is not the end of a domain: a wrong character in it is then found by the check, and named. */
static bool is_domain_octet(char c)
{
	return is_8bit(c) || (c > ' ' && c < 127 && memchr("<>@,:", c, 5) == NULL);
}

/* Octets of the name or literal that starts s, not yet checked; 0 when none does. */
static size_t domain_extent(struct slice s)
{
	if (s.n == 0 || s.p[0] != '[')
		return span(s, is_domain_octet);

	size_t close = slice_find(s, ']');
	return close < s.n ? close + 1 : 0;
}

/* ---- mailboxes and paths ----------------------------------------------------------------------------------------- */

static enum mail_address_error domain_parse(struct slice in, struct mail_address *ret, const char **why)
{
	enum mail_address_error error = MAIL_ADDRESS_SYNTAX;

	if (in.n && in.p[0] == '[') {
		*why = "the address literal is not valid";
		if (in.n > MAIL_DOMAIN_MAX)
			return MAIL_ADDRESS_DOMAIN_TOO_LONG;
		return mail_literal_valid(in, &ret->kind) ? MAIL_ADDRESS_OK : MAIL_ADDRESS_SYNTAX;
	}
	ret->kind = MAIL_DOMAIN_NAME;
	*why = name_check(in, &error);
	return *why ? error : MAIL_ADDRESS_OK;
}

/* The mailbox that starts s; what follows it is the caller's concern. */
static enum mail_address_error mailbox_take(struct slice s, struct mail_address *ret, const char **why)
{
	size_t local = local_part(s);

	if (local == 0) {
		*why = "the part before @ is missing or malformed";
		return MAIL_ADDRESS_SYNTAX;
	}
	if (local == s.n || s.p[local] != '@') {
		*why = "there is no @ after the local part";
		return MAIL_ADDRESS_SYNTAX;
	}

	struct slice domain = slice_skip(s, local + 1);
	ret->local = slice_head(s, local);
	ret->domain = slice_head(domain, domain_extent(domain));
	ret->text = slice_head(s, local + 1 + ret->domain.n);
	ret->utf8 = !slice_is_ascii(ret->text);

	enum mail_address_error error = domain_parse(ret->domain, ret, why);
	if (error == MAIL_ADDRESS_OK && local > MAIL_LOCAL_MAX) {
		*why = "the part before @ is longer than 64 octets";
		return MAIL_ADDRESS_LOCAL_TOO_LONG;
	}
	return error;
}

static enum mail_address_error too_long(const char **why)
{
	*why = "the address is longer than 256 octets";
	return MAIL_ADDRESS_PATH_TOO_LONG;
}

enum mail_address_error mail_address_parse(struct slice in, struct mail_address *ret, const char **why)
{
	*ret = (struct mail_address){0};
	*why = NULL;

	enum mail_address_error error = mailbox_take(in, ret, why);
	if (error == MAIL_ADDRESS_OK && ret->text.n < in.n) {
		*why = "something follows the address";
		error = MAIL_ADDRESS_SYNTAX;
	}
	if (error == MAIL_ADDRESS_OK && in.n > MAIL_PATH_MAX - 2)
		error = too_long(why);
	if (error != MAIL_ADDRESS_OK)
		*ret = (struct mail_address){0};
	return error;
}

/* Octets of the A-d-l with its colon that starts s: "@" Domain *("," "@" Domain) ":". 0 when it is malformed. */
static size_t source_route(struct slice s)
{
	size_t n = 0;

	while (n < s.n && s.p[n] == '@') {
		enum mail_address_error error;
		size_t domain = span(slice_skip(s, n + 1), is_domain_octet);

		if (name_check(slice_head(slice_skip(s, n + 1), domain), &error))
			return 0;
		n += 1 + domain;
		if (n < s.n && s.p[n] == ':')
			return n + 1;
		if (n == s.n || s.p[n] != ',')
			return 0;
		n++;
	}
	return 0;
}

/* What stands between "<" and ">", and the octets of it in *ret_n; the ">" is not looked at. */
static enum mail_address_error path_inner(struct slice s, bool null_ok, bool postmaster_ok, struct mail_address *ret,
					  size_t *ret_n, const char **why)
{
	static const struct slice postmaster = {"postmaster>", sizeof "postmaster>" - 1};
	size_t route = 0;

	if (s.n && s.p[0] == '>') {
		*ret_n = 0;
		*why = "the address is empty";
		return null_ok ? MAIL_ADDRESS_OK : MAIL_ADDRESS_SYNTAX;
	}
	if (postmaster_ok && slice_istarts(s, postmaster)) {
		ret->text = ret->local = slice_head(s, postmaster.n - 1);
		*ret_n = ret->text.n;
		return MAIL_ADDRESS_OK;
	}
	if (s.n && s.p[0] == '@') {
		route = source_route(s);
		*why = "the source route is malformed";
		if (route == 0)
			return MAIL_ADDRESS_SYNTAX;
	}

	enum mail_address_error error = mailbox_take(slice_skip(s, route), ret, why);
	*ret_n = route + ret->text.n;
	return error;
}

enum mail_address_error mail_path_parse(struct slice in, bool null_ok, bool postmaster_ok, struct mail_address *ret,
					size_t *used, const char **why)
{
	enum mail_address_error error = MAIL_ADDRESS_SYNTAX;
	size_t n = 0;

	*ret = (struct mail_address){0};
	*used = 0;
	*why = "it must stand between < and >";
	if (in.n && in.p[0] == '<')
		error = path_inner(slice_skip(in, 1), null_ok, postmaster_ok, ret, &n, why);
	if (error == MAIL_ADDRESS_OK && (n + 1 >= in.n || in.p[n + 1] != '>')) {
		*why = "there is no > after the address";
		error = MAIL_ADDRESS_SYNTAX;
	}
	if (error == MAIL_ADDRESS_OK && n + 2 > MAIL_PATH_MAX)
		error = too_long(why);
	if (error != MAIL_ADDRESS_OK) {
		*ret = (struct mail_address){0};
		return error;
	}
	*used = n + 2;
	*why = NULL;
	return MAIL_ADDRESS_OK;
}

/* ---- what they mean ---------------------------------------------------------------------------------------------- */

bool mail_local_plain(struct slice local, struct buf *out)
{
	if (local.n == 0 || local_part(local) != local.n)
		return false;
	if (local.p[0] != '"')
		return buf_add(out, local);

	size_t before = buf_len(out);
	for (size_t i = 1; i + 1 < local.n; i++) {
		if (local.p[i] == '\\')
			i++;
		if (!buf_add_char(out, local.p[i])) {
			buf_cut(out, before);
			return false;
		}
	}
	return true;
}

static bool add_lower(struct slice s, struct buf *out)
{
	char lower[MAIL_DOMAIN_MAX];

	assert(s.n <= sizeof lower);
	for (size_t i = 0; i < s.n; i++)
		lower[i] = ascii_lower(s.p[i]);
	return buf_add(out, slice_of(lower, s.n));
}

bool mail_domain_canonical(struct slice domain, struct buf *out)
{
	enum mail_domain_kind kind;
	enum mail_address_error error;
	char ascii[MAIL_DOMAIN_MAX];
	size_t n;

	if (domain.n && domain.p[0] == '[')
		return mail_literal_valid(domain, &kind) && add_lower(domain, out);
	if (domain.n && domain.p[domain.n - 1] == '.')
		domain.n--;
	if (slice_is_ascii(domain))
		return name_check(domain, &error) == NULL && add_lower(domain, out);
	return domain.n <= MAIL_DOMAIN_MAX && to_alabels(domain, ascii, &n) && add_lower(slice_of(ascii, n), out);
}

/* ---- xtext ------------------------------------------------------------------------------------------------------- */

bool mail_xtext_encode(struct slice in, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";
	size_t before = buf_len(out);

	for (size_t i = 0; i < in.n; i++) {
		unsigned char c = (unsigned char)in.p[i];
		char hex[3] = {'+', digits[c >> 4], digits[c & 15]};

		if (c > ' ' && c <= '~' && c != '+' && c != '=')
			buf_add_char(out, in.p[i]);
		else
			buf_add(out, slice_of(hex, sizeof hex));
	}
	if (out->failed)
		buf_cut(out, before);
	return !out->failed;
}

static int upper_hex_value(char c)
{
	return c >= 'a' ? -1 : ascii_hex_value(c);
}

bool mail_xtext_decode(struct slice in, struct buf *out)
{
	size_t before = buf_len(out);
	bool good = true;

	for (size_t i = 0; good && i < in.n; i++) {
		int c = (unsigned char)in.p[i];

		if (c == '+') {
			int high = i + 2 < in.n ? upper_hex_value(in.p[i + 1]) : -1;
			int low = i + 2 < in.n ? upper_hex_value(in.p[i + 2]) : -1;

			good = high >= 0 && low >= 0 && ascii_is_print((char)(high * 16 + low));
			c = high * 16 + low;
			i += 2;
		} else {
			good = c > ' ' && c <= '~' && c != '=';
		}
		good = good && buf_add_char(out, (char)c);
	}
	if (!good)
		buf_cut(out, before);
	return good;
}
