/*
 * catalogue: the tables that scripts/gen-codes.py makes of src/codes/data/, for use within libsmtpcodes only.
 */
#ifndef CODES_CATALOGUE_H
#define CODES_CATALOGUE_H

#include "codes/smtpcodes.h"

/* Sorted by number. */
extern const struct smtpcodes_code_row smtpcodes__codes[];
extern const size_t smtpcodes__codes_count;

/* Classes, subjects and registered details, each sorted by number; then all other details. */
extern const struct smtpcodes_status_row smtpcodes__statuses[];
extern const size_t smtpcodes__statuses_count;

/* By enum smtpcodes_class. */
extern const struct smtpcodes_class_row smtpcodes__classes[SMTPCODES_CLASSES];

/* Those with a text condition first, otherwise in the order of the data. */
extern const struct smtpcodes_rule smtpcodes__rules[];
extern const size_t smtpcodes__rules_count;
extern const size_t smtpcodes__rules_about_texts; /* of these, the first ones */

/*
 * An enhanced code that stands somewhere in the text, at the start or behind one of "#([=;", of the given class (0:
 * any). With `anywhere` also behind any space. klass 0 when there is none.
 */
struct smtpcodes_status smtpcodes__find_status(const char *text, size_t n, unsigned klass, bool anywhere);

#endif
