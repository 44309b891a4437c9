/*
 * Addresses against a second, independent matcher: the grammar of RFC 5321 4.1.2 as POSIX regular expressions over
 * octets, with UTF-8 checked by the C library's own rules written out again. Both must give the same verdict.
 */
#include <assert.h>
#include <regex.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <idn2.h>

#include "mail/address.h"

#define ATOM    "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]+"
#define LOCAL   "(" ATOM "(\\." ATOM ")*|\"([] !#-[^-~\x80-\xff]|\\\\[ -~])*\")"
#define LABEL   "[A-Za-z0-9\x80-\xff]([A-Za-z0-9\x80-\xff-]*[A-Za-z0-9\x80-\xff])?"
#define DOMAIN  LABEL "(\\." LABEL ")*"
#define SNUM    "0{0,2}[0-9]|0?[0-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-5]"
#define V4      "(" SNUM ")(\\.(" SNUM ")){3}"
#define GENERAL "[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+"
#define ROUTE   "(@" DOMAIN "(,@" DOMAIN ")*:)?"

enum { PATH, V4_LITERAL, GENERAL_LITERAL, PATTERNS };

static const char *const patterns[PATTERNS] = {
	"^<" ROUTE "(" LOCAL ")@(" DOMAIN "|\\[[!-Z^-~]*])>",
	"^\\[" V4 "]$",
	"^\\[" GENERAL "]$",
};

/* RFC 3629 4 by value: decode each sequence and compare with its shortest form. */
static bool oracle_utf8(const unsigned char *u, size_t n)
{
	static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};

	for (size_t i = 0; i < n;) {
		size_t len = u[i] < 0x80 ? 1 : u[i] >> 5 == 6 ? 2 : u[i] >> 4 == 14 ? 3 : u[i] >> 3 == 30 ? 4 : 0;

		if (len == 0 || len > n - i)
			return false;
		if (len > 1) {
			uint32_t value = u[i] & (0x7fu >> len);
			for (size_t k = 1; k < len; k++) {
				if (u[i + k] >> 6 != 2)
					return false;
				value = value << 6 | (u[i + k] & 63u);
			}
			if (value < least[len] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000) ||
			    value < 0xa0)
				return false;
		}
		i += len;
	}
	return true;
}

/* IPv6-addr by the four rules: split at "::", count the groups of each side. */
static int oracle_groups(const char *p, size_t n, bool *has_v4, const regex_t *v4)
{
	int groups = 0;

	for (size_t i = 0; i < n; groups++) {
		size_t end = i;
		while (end < n && p[end] != ':')
			end++;
		if (memchr(p + i, '.', end - i)) {
			char text[80];
			if (end != n || end - i > 60)
				return -1;
			text[0] = '[';
			memcpy(text + 1, p + i, end - i);
			memcpy(text + 1 + end - i, "]", 2);
			if (regexec(v4, text, 0, NULL, 0) != 0)
				return -1;
			*has_v4 = true;
			return groups;
		}
		if (end == i || end - i > 4 || strspn(p + i, "0123456789abcdefABCDEF") < end - i)
			return -1;
		i = end + 1;
		if (end + 1 == n)
			return -1;
	}
	return groups;
}

static bool oracle_ipv6(const char *text, const regex_t *v4)
{
	const char *colons = strstr(text, "::");
	bool v4_left = false, v4_right = false;

	if (!colons) {
		int groups = oracle_groups(text, strlen(text), &v4_left, v4);
		return groups == (v4_left ? 6 : 8);
	}
	int left = oracle_groups(text, (size_t)(colons - text), &v4_left, v4);
	int right = oracle_groups(colons + 2, strlen(colons + 2), &v4_right, v4);
	return left >= 0 && right >= 0 && !v4_left && left + right <= (v4_right ? 4 : 6);
}

static bool oracle_literal(const char *text, const regex_t *compiled)
{
	if (strncasecmp(text, "[IPv6:", 6) == 0) {
		char inner[MAIL_DOMAIN_MAX + 1];
		size_t n = strlen(text);

		memcpy(inner, text + 6, n - 7);
		inner[n - 7] = '\0';
		return oracle_ipv6(inner, &compiled[V4_LITERAL]);
	}
	return regexec(&compiled[V4_LITERAL], text, 0, NULL, 0) == 0 ||
	       regexec(&compiled[GENERAL_LITERAL], text, 0, NULL, 0) == 0;
}

/* A name by the DNS: labels of 63 at most; U-labels convert, and not one of them into ASCII. */
static bool oracle_name(const char *text)
{
	char *ascii = NULL;
	bool eight = false, good = true;
	size_t dots = 0, dots_after = 0, run = 0;

	for (const char *p = text; *p; p++) {
		eight = eight || (unsigned char)*p >= 0x80;
		dots += *p == '.';
	}
	if (!eight) {
		for (const char *p = text; *p; p++) {
			run = *p == '.' ? 0 : run + 1;
			good = good && run <= 63;
		}
		return good;
	}
	if (idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return false;
	for (const char *p = ascii; *p; p++)
		dots_after += *p == '.';
	good = dots == dots_after;
	for (const char *p = text, *q = ascii; good;) {
		size_t before = strcspn(p, "."), after = strcspn(q, ".");
		bool label_eight = false;

		for (size_t i = 0; i < before; i++)
			label_eight = label_eight || (unsigned char)p[i] >= 0x80;
		good = !label_eight || (after > 4 && memcmp(q, "xn--", 4) == 0);
		good = good && after > 0 && q[0] != '-' && q[after - 1] != '-';
		good = good && strspn(q, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") >= after;
		if (!p[before])
			break;
		p += before + 1;
		q += after + 1;
	}
	idn2_free(ascii);
	return good;
}

/* The octets that a path takes, 0 when there is none. */
static size_t oracle_path(const char *text, size_t size, const regex_t *compiled)
{
	regmatch_t m[12];

	if (regexec(&compiled[PATH], text, 12, m, 0) != 0)
		return 0;

	size_t n = (size_t)m[0].rm_eo;
	/* Groups: 1 route, 4 local part, 7 domain; found by their place, from the right. */
	const char *close = text + n - 1, *at = NULL;
	bool quoted = false;
	const char *start = text + 1 + (m[1].rm_eo - m[1].rm_so);
	for (const char *p = start; p < close; p++) {
		if (*p == '\\' && quoted)
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (*p == '@' && !quoted && !at)
			at = p;
	}
	assert(at);
	size_t local = (size_t)(at - start), domain = (size_t)(close - at - 1);
	if (!oracle_utf8((const unsigned char *)text, n) || n > MAIL_PATH_MAX || local > MAIL_LOCAL_MAX ||
	    domain > MAIL_DOMAIN_MAX || n > size)
		return 0;

	char part[MAIL_PATH_MAX + 1];
	memcpy(part, at + 1, domain);
	part[domain] = '\0';
	if (!(part[0] == '[' ? oracle_literal(part, compiled) : oracle_name(part)))
		return 0;
	for (const char *p = text + 1; p < start;) { /* each domain of the route: "@" name "," or ":" */
		size_t label = strcspn(p + 1, ",:");
		memcpy(part, p + 1, label);
		part[label] = '\0';
		if (!oracle_name(part))
			return 0;
		p += label + 2;
	}
	return n;
}

static void check_path(const char *text, size_t size, const regex_t *compiled)
{
	struct mail_address a;
	const char *why = NULL;
	size_t used = 0;
	enum mail_address_error error = mail_path_parse(slice_of(text, size), false, false, &a, &used, &why);
	size_t expected = oracle_path(text, size, compiled);

	assert((error == MAIL_ADDRESS_OK) == (why == NULL));
	assert((error == MAIL_ADDRESS_OK) == (expected > 0));
	assert(used == expected);
	if (error != MAIL_ADDRESS_OK)
		return;

	struct mail_address again;
	assert(mail_address_parse(a.text, &again, &why) == MAIL_ADDRESS_OK);
	assert(slice_eq(again.local, a.local) && slice_eq(again.domain, a.domain) && again.kind == a.kind);

	/* A canonical domain is a domain, is ASCII, and is its own canonical form. */
	struct buf once, twice;
	buf_init(&once, 1000);
	buf_init(&twice, 1000);
	assert(mail_domain_canonical(a.domain, &once));
	assert(slice_is_ascii(buf_slice(&once)));
	assert(mail_domain_canonical(buf_slice(&once), &twice));
	assert(slice_eq(buf_slice(&once), buf_slice(&twice)));
	buf_reset(&once);
	assert(mail_local_plain(a.local, &once));
	buf_free(&once);
	buf_free(&twice);
}

static void check_xtext(struct slice in)
{
	struct buf encoded, decoded;

	buf_init(&encoded, 1 << 20);
	buf_init(&decoded, 1 << 20);
	assert(mail_xtext_encode(in, &encoded));
	bool printable = true;
	for (size_t i = 0; i < in.n; i++)
		printable = printable && ascii_is_print(in.p[i]);
	assert(mail_xtext_decode(buf_slice(&encoded), &decoded) == printable);
	if (printable)
		assert(slice_eq(buf_slice(&decoded), in));
	buf_reset(&decoded);
	buf_reset(&encoded);
	if (mail_xtext_decode(in, &decoded)) {
		assert(mail_xtext_encode(buf_slice(&decoded), &encoded));
		assert(encoded.end - encoded.start <= in.n);
	}
	buf_free(&encoded);
	buf_free(&decoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static regex_t compiled[PATTERNS];
	static bool ready;

	if (!ready)
		for (int i = 0; i < PATTERNS; i++)
			if (regcomp(&compiled[i], patterns[i], REG_EXTENDED) != 0)
				abort();
	ready = true;
	if (size > 2000)
		return 0;

	char *text = malloc(size + 1);
	memcpy(text, data, size);
	text[size] = '\0';
	check_path(text, size, compiled);
	check_xtext(slice_of(text, size));
	free(text);
	return 0;
}
