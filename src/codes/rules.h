/*
 * rules: how a rule about foreign replies applies to one of them, for use within libsmtpcodes only.
 */
#ifndef CODES_RULES_H
#define CODES_RULES_H

#include "codes/smtpcodes.h"

#define RULES_TEXT_READ 4096 /* octets of a text that are looked at */

/* `pairs` holds one bit for each two neighbours in the text: most fragments are ruled out by their first two. */
struct rules_text {
	char text[RULES_TEXT_READ];
	size_t n;
	uint8_t pairs[65536 / 8];
};

struct rules_question {
	unsigned code;
	struct smtpcodes_status status;
	const struct rules_text *text;
};

/* Lower case, single spaces, the codes that repeat on each line removed. */
void smtpcodes__fold(struct rules_text *out, unsigned code, struct smtpcodes_status status, const char *in, size_t n);

/* The first rule whose conditions hold, or NULL. */
const struct smtpcodes_rule *smtpcodes__first_match(const struct smtpcodes_rule *rules, size_t count,
						    const struct rules_question *q);

#endif
