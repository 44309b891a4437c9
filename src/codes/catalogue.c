/*
 * catalogue: what each code means. See smtpcodes.h for the contract; the rows stand in src/codes/data/.
 */
#include "codes/catalogue.h"

#include <assert.h>
#include <string.h>

const struct smtpcodes_code_row *smtpcodes_code(unsigned code)
{
	size_t low = 0, high = smtpcodes__codes_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (smtpcodes__codes[middle].code < code)
			low = middle + 1;
		else
			high = middle;
	}
	return low < smtpcodes__codes_count && smtpcodes__codes[low].code == code ? &smtpcodes__codes[low] : NULL;
}

const struct smtpcodes_code_row *smtpcodes_code_at(size_t index)
{
	return index < smtpcodes__codes_count ? &smtpcodes__codes[index] : NULL;
}

/* The first row wins, so that the registry goes before all others. */
static const struct smtpcodes_status_row *find_row(enum smtpcodes_level level, unsigned klass, unsigned subject,
						   unsigned detail)
{
	for (size_t i = 0; i < smtpcodes__statuses_count; i++) {
		const struct smtpcodes_status_row *row = &smtpcodes__statuses[i];
		if (row->level == level && row->status.klass == klass && row->status.subject == subject &&
		    row->status.detail == detail)
			return row;
	}
	return NULL;
}

const struct smtpcodes_status_row *smtpcodes_status_class(unsigned klass)
{
	return find_row(SMTPCODES_CLASS, klass, 0, 0);
}

const struct smtpcodes_status_row *smtpcodes_status_subject(unsigned subject)
{
	return find_row(SMTPCODES_SUBJECT, 0, subject, 0);
}

const struct smtpcodes_status_row *smtpcodes_status_detail(unsigned subject, unsigned detail)
{
	return find_row(SMTPCODES_DETAIL, 0, subject, detail);
}

const struct smtpcodes_status_row *smtpcodes_status_at(size_t index)
{
	return index < smtpcodes__statuses_count ? &smtpcodes__statuses[index] : NULL;
}

enum smtpcodes_verdict smtpcodes_verdict(unsigned code, struct smtpcodes_status status)
{
	static const enum smtpcodes_verdict by_digit[6] = {
		[2] = SMTPCODES_SUCCESS,
		[3] = SMTPCODES_INTERMEDIATE,
		[4] = SMTPCODES_TEMPORARY,
		[5] = SMTPCODES_PERMANENT,
	};
	unsigned digit = code ? code / 100 : status.klass;

	if (code == 552 && status.klass != 0 && status.subject == 5 && status.detail == 3)
		return SMTPCODES_TEMPORARY;
	return digit < 6 ? by_digit[digit] : SMTPCODES_UNKNOWN;
}

const char *smtpcodes_verdict_name(enum smtpcodes_verdict verdict)
{
	static const char *const names[] = {"unknown", "success", "intermediate", "temporary", "permanent"};

	assert(verdict <= SMTPCODES_PERMANENT);
	return names[verdict];
}

const char *smtpcodes_actor_name(enum smtpcodes_actor actor)
{
	static const char *const names[] = {"nobody", "sender", "operator", "remote-operator"};

	assert(actor <= SMTPCODES_REMOTE_OPERATOR);
	return names[actor];
}

const char *smtpcodes_standing_name(enum smtpcodes_standing standing)
{
	static const char *const names[] = {"standard", "extension", "registered", "unregistered", "historic", "wild"};

	assert(standing <= SMTPCODES_WILD);
	return names[standing];
}

const struct smtpcodes_class_row *smtpcodes_class(enum smtpcodes_class klass)
{
	assert(klass < SMTPCODES_CLASSES);
	return &smtpcodes__classes[klass];
}

bool smtpcodes_class_parse(const char *name, size_t n, enum smtpcodes_class *ret)
{
	for (enum smtpcodes_class i = SMTPCODES_CLASS_UNKNOWN; i < SMTPCODES_CLASSES; i++) {
		if (strlen(smtpcodes__classes[i].name) == n && memcmp(smtpcodes__classes[i].name, name, n) == 0) {
			*ret = i;
			return true;
		}
	}
	return false;
}
