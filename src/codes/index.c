/*
 * index: which of the built-in rules about texts hold, without trying each of them.
 *
 * scripts/gen-codes.py picks a key for each alternative of each rule: one of its fragments, and in it the four octets
 * that the fewest other fragments have. The keys are sorted into buckets by a hash of these four octets. So one pass
 * over the text, with one look into the table for each octet of it, finds the alternatives whose key stands there; no
 * other one can hold. Each of those is then tried once, as smtpcodes__first_match tries it.
 */
#include "codes/catalogue.h"
#include "codes/rules.h"

#include <assert.h>
#include <string.h>

/* One bit for each rule, or each key. */
struct rules_found {
	uint64_t rule[RULES_INDEXED_MAX / 64];
	uint64_t tried[RULES_KEYS_MAX / 64];
};

static void try_alternative(const struct rules_key *key, const struct rules_text *text, struct rules_found *found)
{
	struct smtpcodes_span alternative = {key->alternative, key->alternative_n};

	if (smtpcodes__text_holds(alternative, text))
		found->rule[key->rule / 64] |= UINT64_C(1) << key->rule % 64;
}

/* The octets `gram` stand at `at`. */
static void try_key(size_t k, uint32_t gram, const struct rules_text *text, size_t at, struct rules_found *found)
{
	const struct rules_key *key = &smtpcodes__rules_keys[k];
	uint64_t bit = UINT64_C(1) << k % 64;

	if (key->gram != gram || found->tried[k / 64] & bit || at < key->gram_at)
		return;
	at -= key->gram_at;
	if (at + key->n > text->n || memcmp(text->text + at, key->alternative + key->at, key->n) != 0)
		return;
	found->tried[k / 64] |= bit;
	try_alternative(key, text, found);
}

static void find_rules(const struct rules_text *text, struct rules_found *found)
{
	uint32_t gram = 0; /* the last four octets */

	*found = (struct rules_found){0};
	for (size_t i = 0; i < text->n; i++) {
		gram = gram << 8 | (unsigned char)text->text[i];
		if (i + 1 < RULES_GRAM)
			continue;
		uint32_t bucket = gram * RULES_GRAM_FACTOR >> RULES_GRAM_SHIFT;
		for (size_t k = smtpcodes__rules_bucket[bucket]; k < smtpcodes__rules_bucket[bucket + 1]; k++)
			try_key(k, gram, text, i + 1 - RULES_GRAM, found);
	}
	/* Those too short for a key stand behind the last bucket. */
	for (size_t k = smtpcodes__rules_bucket[RULES_BUCKETS]; k < smtpcodes__rules_keys_count; k++)
		try_alternative(&smtpcodes__rules_keys[k], text, found);
}

const struct smtpcodes_rule *smtpcodes__first_indexed(const struct rules_question *q)
{
	struct rules_found found;

	assert(smtpcodes__rules_about_texts <= RULES_INDEXED_MAX);
	assert(smtpcodes__rules_keys_count <= RULES_KEYS_MAX);
	find_rules(q->text, &found);
	for (size_t i = 0; i < RULES_INDEXED_MAX / 64; i++) {
		for (uint64_t left = found.rule[i]; left; left &= left - 1) {
			const struct smtpcodes_rule *rule = &smtpcodes__rules[i * 64 + (size_t)__builtin_ctzll(left)];
			if (smtpcodes__codes_hold(rule, q))
				return rule;
		}
	}
	return NULL;
}
