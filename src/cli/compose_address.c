/*
 * The recipients in address lists of header fields, and the sender.
 */
#include "cli/compose.h"

#include "base/heap.h"
#include "mail/address.h"
#include "mail/address_list.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

/* ---- recipients -------------------------------------------------------------------------------------------- */

void compose_rcpts_init(struct compose_rcpts *r, struct slice host, struct hash_key key)
{
	*r = (struct compose_rcpts){.host = host, .key = key};
	arena_init(&r->memory, (size_t)COMPOSE_RCPT_MAX * (COMPOSE_ADDRESS_MAX + 16));
}

void compose_rcpts_free(struct compose_rcpts *r)
{
	heap_free(r->list);
	heap_free(r->table);
	arena_free(&r->memory);
}

/* Where it stands in the table, or where it would. The table is never full. */
static size_t find_slot(const struct compose_rcpts *r, struct slice address)
{
	size_t at = (size_t)hash_slice(r->key, address) & (r->table_size - 1);

	while (r->table[at] && !slice_eq(r->list[r->table[at] - 1].address, address))
		at = (at + 1) & (r->table_size - 1);
	return at;
}

/* Room for one more, with the table at most half full. */
static bool grow(struct compose_rcpts *r)
{
	size_t cap = r->cap ? 2 * r->cap : 16;

	if (r->count < r->cap)
		return true;
	struct mail_rcpt *list = heap_array(cap, sizeof *list);
	uint32_t *table = heap_array(2 * cap, sizeof *table);
	if (!list || !table) {
		heap_free(list);
		heap_free(table);
		return false;
	}
	if (r->count)
		memcpy(list, r->list, r->count * sizeof *list);
	heap_free(r->list);
	heap_free(r->table);
	r->list = list;
	r->table = table;
	r->table_size = 2 * cap;
	r->cap = cap;
	for (size_t i = 0; i < r->count; i++)
		r->table[find_slot(r, list[i].address)] = (uint32_t)i + 1;
	return true;
}

/* The address with a domain, checked. */
static const char *complete(struct slice address, struct slice host, struct buf *out)
{
	struct mail_address parsed;
	const char *why = "it is no address";

	buf_add(out, address);
	if (slice_ieq(address, SLICE("postmaster")))
		return out->failed ? "out of memory" : NULL;
	/* The last one: an at sign may stand in quotes too. A local part alone is followed by nothing. */
	if (mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK)
		return out->failed ? "out of memory" : NULL;
	buf_add_char(out, '@');
	buf_add(out, host);
	if (out->failed)
		return "the address is too long";
	const char *other;
	return mail_address_parse(buf_slice(out), &parsed, &other) == MAIL_ADDRESS_OK && slice_eq(parsed.local, address)
		       ? NULL
		       : why;
}

const char *compose_rcpts_add(struct compose_rcpts *r, struct slice address)
{
	struct buf text;

	buf_init(&text, COMPOSE_ADDRESS_MAX);
	const char *why = complete(address, r->host, &text);
	if (!why && !grow(r))
		why = "out of memory";
	size_t slot = why ? 0 : find_slot(r, buf_slice(&text));
	if (!why && !r->table[slot]) {
		struct slice kept = arena_copy(&r->memory, buf_slice(&text));
		if (r->count == COMPOSE_RCPT_MAX || !kept.p) {
			why = "there are too many recipients";
		} else {
			r->list[r->count++] = (struct mail_rcpt){.address = kept, .notify = r->notify};
			r->table[slot] = (uint32_t)r->count;
		}
	}
	buf_free(&text);
	return why;
}

static const char *add_one(void *arg, struct slice address)
{
	return compose_rcpts_add(arg, address);
}

const char *compose_rcpts_add_list(struct compose_rcpts *r, struct slice list)
{
	return mail_address_list(list, add_one, r);
}

const char *compose_rcpts_add_fields(struct compose_rcpts *r, struct slice fields, struct compose_field *ret_field)
{
	unsigned wanted = compose_fields_have(fields) & COMPOSE_RESENT ? COMPOSE_RESENT : COMPOSE_TO;

	while (compose_field_next(&fields, ret_field)) {
		const char *why =
			compose_name(ret_field->name) & wanted ? compose_rcpts_add_list(r, ret_field->value) : NULL;
		if (why)
			return why;
	}
	return NULL;
}

/* ---- the sender -------------------------------------------------------------------------------------------- */

struct one {
	struct buf *out;
	struct slice host;
	bool given;
};

static const char *take_sender(void *arg, struct slice address)
{
	struct one *one = arg;

	if (one->given)
		return "one address is wanted";
	one->given = true;
	return complete(address, one->host, one->out);
}

const char *compose_sender(struct slice text, struct slice host, struct buf *out)
{
	struct one one = {.out = out, .host = host};
	struct slice trimmed = slice_trim(text);

	if (trimmed.n == 0 || slice_eq(trimmed, SLICE("<>")))
		return NULL;
	const char *why = mail_address_list(text, take_sender, &one);
	return why || one.given ? why : "one address is wanted";
}

const char *compose_user(struct slice host, struct buf *out)
{
	struct passwd entry, *found = NULL;
	char texts[4096];

	getpwuid_r(getuid(), &entry, texts, sizeof texts, &found);
	if (!found)
		return "your user name is not known";
	return complete(slice_from_cstr(found->pw_name), host, out);
}
