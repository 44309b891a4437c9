/*
 * rules: the language of the rules about foreign replies: reading them, and whether one applies. See smtpcodes.h for
 * what they may say.
 */
#include "codes/rules.h"

#include <string.h>

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (unsigned char)c >= 0x80;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '_' || c == '\0';
}

/* ---- folding --------------------------------------------------------------------------------------------------- */

static bool same_status(struct smtpcodes_status a, struct smtpcodes_status b)
{
	return a.klass == b.klass && a.subject == b.subject && a.detail == b.detail;
}

/* Octets of the codes that stand at the start of a word: "550-5.1.1", "550-", "5.1.1". They repeat on each line. */
static size_t codes_length(const char *in, size_t n, unsigned code, struct smtpcodes_status status)
{
	struct smtpcodes_status here;
	size_t i = 0;

	if (n >= 3 && is_digit(in[0]) && is_digit(in[1]) && is_digit(in[2]) &&
	    (n == 3 || in[3] == '-' || is_blank(in[3])) &&
	    (unsigned)((in[0] - '0') * 100 + (in[1] - '0') * 10 + in[2] - '0') == code)
		i = n > 3 && in[3] == '-' ? 4 : 3;
	size_t taken = smtpcodes_status_parse(in + i, n - i, &here);
	return taken && same_status(here, status) ? i + taken : i;
}

static size_t pair_of(const char *text)
{
	return (size_t)(unsigned char)text[0] << 8 | (unsigned char)text[1];
}

void smtpcodes__note_pairs(struct rules_text *text, struct rules_pairs *pairs)
{
	memset(pairs, 0, sizeof *pairs);
	for (size_t i = 0; i + 1 < text->n; i++)
		pairs->bits[pair_of(text->text + i) / 8] |= (uint8_t)(1u << pair_of(text->text + i) % 8);
	text->pairs = pairs;
}

void smtpcodes__fold(struct rules_text *out, unsigned code, struct smtpcodes_status status, const char *in, size_t n)
{
	bool start = true; /* of a word */

	out->n = 0;
	out->pairs = NULL;
	if (n > RULES_TEXT_READ)
		n = RULES_TEXT_READ;
	for (size_t i = 0; i < n; i++) {
		if (start)
			i += codes_length(in + i, n - i, code, status);
		if (i == n)
			break;
		start = is_blank(in[i]);
		if (!start)
			out->text[out->n++] = lower(in[i]);
		else if (out->n > 0 && out->text[out->n - 1] != ' ')
			out->text[out->n++] = ' ';
	}
}

/* ---- conditions ------------------------------------------------------------------------------------------------ */

/* Split off what stands before the first `separator`; false when nothing is left. */
static bool next_part(struct smtpcodes_span *rest, char separator, struct smtpcodes_span *part)
{
	if (!rest->p)
		return false;
	const char *end = rest->n ? memchr(rest->p, separator, rest->n) : NULL;
	*part = *rest;
	if (end) {
		part->n = (size_t)(end - rest->p);
		rest->n -= part->n + 1;
		rest->p = end + 1;
	} else {
		rest->p = NULL;
	}
	return true;
}

static bool is_only(struct smtpcodes_span span, char c)
{
	return span.n == 1 && span.p[0] == c;
}

static bool code_matches(struct smtpcodes_span pattern, unsigned code)
{
	const char digits[3] = {(char)('0' + code / 100 % 10), (char)('0' + code / 10 % 10), (char)('0' + code % 10)};

	for (size_t i = 0; i < 3; i++)
		if (pattern.p[i] != 'x' && pattern.p[i] != digits[i])
			return false;
	return true;
}

static bool codes_match(struct smtpcodes_span list, unsigned code)
{
	struct smtpcodes_span part;

	if (is_only(list, '*'))
		return true;
	while (next_part(&list, ',', &part))
		if (is_only(part, '-') ? code == 0 : code != 0 && code_matches(part, code))
			return true;
	return false;
}

/* One number of a pattern such as "x.2.2". */
static bool number_matches(struct smtpcodes_span pattern, unsigned number)
{
	unsigned value = 0;

	if (is_only(pattern, 'x'))
		return true;
	for (size_t i = 0; i < pattern.n; i++)
		value = value * 10 + (unsigned)(pattern.p[i] - '0');
	return value == number;
}

static bool status_matches(struct smtpcodes_span pattern, struct smtpcodes_status status)
{
	const unsigned numbers[3] = {status.klass, status.subject, status.detail};
	struct smtpcodes_span part;

	for (size_t i = 0; i < 3 && next_part(&pattern, '.', &part); i++)
		if (!number_matches(part, numbers[i]))
			return false;
	return true;
}

static bool statuses_match(struct smtpcodes_span list, struct smtpcodes_status status)
{
	struct smtpcodes_span part;

	if (is_only(list, '*'))
		return true;
	while (next_part(&list, ',', &part))
		if (is_only(part, '-') ? status.klass == 0 : status.klass != 0 && status_matches(part, status))
			return true;
	return false;
}

static bool equal_here(const char *text, struct smtpcodes_span fragment)
{
	for (size_t i = 0; i < fragment.n; i++)
		if (text[i] != lower(fragment.p[i]))
			return false;
	return true;
}

/* The next place from `i` on where the fragment may begin, by its first octet; text->n when there is none. */
static size_t next_start(const struct rules_text *text, size_t i, struct smtpcodes_span fragment)
{
	const char *at = fragment.n && i < text->n ? memchr(text->text + i, lower(fragment.p[0]), text->n - i) : NULL;

	return at ? (size_t)(at - text->text) : text->n;
}

static bool may_hold(const struct rules_text *text, struct smtpcodes_span fragment)
{
	if (fragment.n < 2 || !text->pairs)
		return true;
	const char start[2] = {lower(fragment.p[0]), lower(fragment.p[1])};
	return text->pairs->bits[pair_of(start) / 8] >> pair_of(start) % 8 & 1;
}

/* Where the text goes on behind the first such fragment at or after `from`; 0 when there is none. */
static size_t find_fragment(const struct rules_text *text, size_t from, struct smtpcodes_span fragment)
{
	bool starts = fragment.n > 0 && fragment.p[0] == '_';
	bool ends = fragment.n > 1 && fragment.p[fragment.n - 1] == '_';

	fragment.p += starts;
	fragment.n -= (size_t)starts + ends;
	if (!may_hold(text, fragment))
		return 0;
	for (size_t i = next_start(text, from, fragment); i + fragment.n <= text->n;
	     i = next_start(text, i + 1, fragment)) {
		size_t end = i + fragment.n;
		if (equal_here(text->text + i, fragment) && !(starts && i > 0 && is_word(text->text[i - 1])) &&
		    !(ends && end < text->n && is_word(text->text[end])))
			return end;
	}
	return 0;
}

/* Octets of " | " (the alternative ends) or " ... " (it goes on) at this place, or 0. */
static size_t separator_at(const char *p, size_t n, bool *alternative_ends)
{
	*alternative_ends = n >= 3 && memcmp(p, " | ", 3) == 0;
	if (*alternative_ends)
		return 3;
	return n >= 5 && memcmp(p, " ... ", 5) == 0 ? 5 : 0;
}

/* Split off the next fragment of a text condition; false when nothing is left. */
static bool next_fragment(struct smtpcodes_span *rest, struct smtpcodes_span *fragment, bool *alternative_ends)
{
	if (!rest->p)
		return false;
	*fragment = *rest;
	for (size_t i = 0; i < rest->n; i++) {
		size_t width = rest->p[i] == ' ' ? separator_at(rest->p + i, rest->n - i, alternative_ends) : 0;
		if (width > 0) {
			fragment->n = i;
			rest->p += i + width;
			rest->n -= i + width;
			return true;
		}
	}
	rest->p = NULL;
	*alternative_ends = true;
	return true;
}

bool smtpcodes__text_holds(struct smtpcodes_span condition, const struct rules_text *text)
{
	struct smtpcodes_span fragment;
	bool holds = true, ends;
	size_t at = 0;

	if (is_only(condition, '*'))
		return true;
	while (next_fragment(&condition, &fragment, &ends)) {
		if (holds)
			at = find_fragment(text, at, fragment);
		holds = holds && at > 0;
		if (ends && holds)
			return true;
		if (ends) {
			holds = true;
			at = 0;
		}
	}
	return false;
}

bool smtpcodes__codes_hold(const struct smtpcodes_rule *rule, const struct rules_question *q)
{
	return codes_match(rule->codes, q->code) && statuses_match(rule->statuses, q->status);
}

const struct smtpcodes_rule *smtpcodes__first_match(const struct smtpcodes_rule *rules, size_t count,
						    const struct rules_question *q)
{
	for (size_t i = 0; i < count; i++)
		if (smtpcodes__codes_hold(&rules[i], q) && smtpcodes__text_holds(rules[i].text, q->text))
			return &rules[i];
	return NULL;
}

/* ---- reading rules --------------------------------------------------------------------------------------------- */

static bool valid_codes(struct smtpcodes_span list)
{
	struct smtpcodes_span part;

	if (is_only(list, '*'))
		return true;
	while (next_part(&list, ',', &part)) {
		if (is_only(part, '-'))
			continue;
		if (part.n != 3)
			return false;
		for (size_t i = 0; i < 3; i++)
			if (part.p[i] != 'x' && !is_digit(part.p[i]))
				return false;
	}
	return true;
}

static bool valid_number(struct smtpcodes_span number)
{
	if (is_only(number, 'x'))
		return true;
	for (size_t i = 0; i < number.n; i++)
		if (!is_digit(number.p[i]))
			return false;
	return number.n >= 1 && number.n <= 3;
}

static bool valid_status(struct smtpcodes_span pattern)
{
	struct smtpcodes_span number;
	size_t numbers = 0;

	while (next_part(&pattern, '.', &number)) {
		if (!valid_number(number))
			return false;
		numbers++;
	}
	return numbers == 3;
}

static bool valid_statuses(struct smtpcodes_span list)
{
	struct smtpcodes_span part;

	if (is_only(list, '*'))
		return true;
	while (next_part(&list, ',', &part))
		if (!is_only(part, '-') && !valid_status(part))
			return false;
	return true;
}

static bool valid_text(struct smtpcodes_span text)
{
	struct smtpcodes_span fragment;
	bool ends;

	while (next_fragment(&text, &fragment, &ends)) {
		size_t marks = 0;
		for (size_t i = 0; i < fragment.n; i++)
			marks += fragment.p[i] == '_' || fragment.p[i] == ' ';
		if (marks == fragment.n)
			return false;
	}
	return true;
}

static bool parse_verdict(struct smtpcodes_span name, enum smtpcodes_verdict *ret)
{
	static const enum smtpcodes_verdict known[] = {SMTPCODES_TEMPORARY, SMTPCODES_PERMANENT};

	*ret = SMTPCODES_UNKNOWN;
	for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
		const char *text = smtpcodes_verdict_name(known[i]);
		if (name.n == strlen(text) && memcmp(name.p, text, name.n) == 0)
			*ret = known[i];
	}
	return *ret != SMTPCODES_UNKNOWN || is_only(name, '-');
}

/* Reads one line; returns what is wrong with it, or NULL. */
static const char *parse_rule(struct smtpcodes_span line, struct smtpcodes_rule *ret)
{
	struct smtpcodes_span field[7] = {0}, extra;
	size_t fields = 0;

	while (fields < 7 && next_part(&line, '\t', &field[fields]))
		fields++;
	if (fields < 6 || next_part(&line, '\t', &extra))
		return "a rule has six or seven fields, separated by tabs";
	*ret = (struct smtpcodes_rule){field[0], field[1], field[2], field[3], .note = field[6]};
	if (!ret->note.p)
		ret->note.p = "";
	if (ret->name.n == 0)
		return "the rule has no name";
	if (!valid_codes(ret->codes))
		return "reply codes are '*' or a list of '-' and three digits or x";
	if (!valid_statuses(ret->statuses))
		return "enhanced codes are '*' or a list of '-' and three numbers or x";
	if (!valid_text(ret->text))
		return "a fragment of the text is empty";
	if (!smtpcodes_class_parse(field[4].p, field[4].n, &ret->klass))
		return "no such class";
	if (!parse_verdict(field[5], &ret->verdict))
		return "the verdict is 'temporary', 'permanent' or '-'";
	return NULL;
}

bool smtpcodes_rules_parse(const char *tsv, size_t n, struct smtpcodes_rule *out, size_t cap, size_t *count,
			   struct smtpcodes_rules_error *error)
{
	struct smtpcodes_span rest = {n ? tsv : NULL, n}, line;

	*count = 0;
	*error = (struct smtpcodes_rules_error){0};
	while (next_part(&rest, '\n', &line)) {
		struct smtpcodes_rule rule;
		error->line++;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n == 0 || line.p[0] == '#')
			continue;
		error->text = parse_rule(line, &rule);
		if (!error->text && *count == cap)
			error->text = "too many rules";
		if (error->text)
			return false;
		out[(*count)++] = rule;
	}
	*error = (struct smtpcodes_rules_error){0};
	return true;
}
