/*
 * pattern: addresses and domains that a rule is about.
 *
 * "user@example.com" is one address, "example.com" every address of that domain, ".example.com" every address of the
 * domains below it. Local parts are compared by their meaning (quotes undone) and without regard to ASCII case, domains
 * in their canonical form.
 */
#ifndef POLICY_PATTERN_H
#define POLICY_PATTERN_H

#include "base/buf.h"
#include "mail/address.h"

/* Append a pattern in the form that is compared: with a canonical domain. On failure *why is a static text. */
bool pattern_canonical(struct slice text, struct buf *out, const char **why);
/* The same, but a domain without local part is asked for: "example.com", ".example.com". */
bool pattern_domain_canonical(struct slice text, struct buf *out, const char **why);

/* `pattern` comes from one of the above. An address without a domain (<>, <postmaster>) matches nothing. */
bool pattern_matches(struct slice pattern, const struct mail_address *address);
bool pattern_any_matches(const struct slice *patterns, size_t count, const struct mail_address *address);

#endif
