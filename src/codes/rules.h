/*
 * rules: how a rule about foreign replies applies to one of them, for use within libsmtpcodes only.
 */
#ifndef CODES_RULES_H
#define CODES_RULES_H

#include "codes/smtpcodes.h"

#define RULES_TEXT_READ 4096 /* octets of a text that are looked at */

/* One bit for each two neighbours in a text: most fragments are ruled out by their first two. */
struct rules_pairs {
	uint8_t bits[65536 / 8];
};

struct rules_text {
	char text[RULES_TEXT_READ];
	size_t n;
	const struct rules_pairs *pairs; /* of this text; NULL: nobody has noted them */
};

struct rules_question {
	unsigned code;
	struct smtpcodes_status status;
	const struct rules_text *text;
};

/* Lower case, single spaces, the codes that repeat on each line removed. */
void smtpcodes__fold(struct rules_text *out, unsigned code, struct smtpcodes_status status, const char *in, size_t n);
/* Worth it before many rules are tried one by one. `pairs` is lent to the text. */
void smtpcodes__note_pairs(struct rules_text *text, struct rules_pairs *pairs);

/* The conditions on reply code and enhanced code. */
bool smtpcodes__codes_hold(const struct smtpcodes_rule *rule, const struct rules_question *q);
/* A text condition, or one alternative of it. */
bool smtpcodes__text_holds(struct smtpcodes_span condition, const struct rules_text *text);
/* The first rule whose conditions hold, or NULL. */
const struct smtpcodes_rule *smtpcodes__first_match(const struct smtpcodes_rule *rules, size_t count,
						    const struct rules_question *q);

/* ---- the index of the built-in rules about texts (index.c) ----------------------------------------------------- */

/* scripts/gen-codes.py has the same numbers. */
#define RULES_GRAM        4 /* octets that are hashed */
#define RULES_GRAM_FACTOR UINT32_C(0x9e3779b1)
#define RULES_GRAM_SHIFT  20 /* leaves the 12 bits of a bucket's number */
#define RULES_BUCKETS     4096
#define RULES_INDEXED_MAX 1024 /* rules about texts */
#define RULES_KEYS_MAX    8192

/* An alternative of a rule about texts, and what it is found by: a fragment of it, without marks of a word's end. */
struct rules_key {
	const char *alternative;
	uint16_t alternative_n;
	uint8_t at, n;   /* the fragment within it */
	uint8_t gram_at; /* within the fragment: the octets that are hashed */
	uint16_t rule;
	uint32_t gram; /* these octets */
};

/* By bucket: those of bucket i begin at smtpcodes__rules_bucket[i] and end where those of the next one begin. Behind
 * the last bucket are alternatives that are too short for a key. */
extern const struct rules_key smtpcodes__rules_keys[];
extern const size_t smtpcodes__rules_keys_count;
extern const uint16_t smtpcodes__rules_bucket[RULES_BUCKETS + 1];

/* The same rule as smtpcodes__first_match finds among the built-in rules about texts, or NULL. */
const struct smtpcodes_rule *smtpcodes__first_indexed(const struct rules_question *q);

#endif
