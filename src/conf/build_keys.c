#include "conf/build_private.h"

#include "conf/value.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory -------------------------------------------------------------------------------------------------- */

void build_no_memory(struct build *b)
{
	if (!b->out_of_memory)
		conf_wrong(b->err, b->raw->first->at, "there is no memory, or the configuration is too large");
	b->out_of_memory = true;
}

void *build_take(struct build *b, size_t count, size_t size)
{
	void *p = arena_array(&b->c->arena, count ? count : 1, size);

	if (!p)
		build_no_memory(b);
	return p;
}

struct slice build_keep(struct build *b, struct slice s)
{
	char *p = build_take(b, s.n + 1, 1);

	if (!p)
		return SLICE("");
	if (s.n)
		memcpy(p, s.p, s.n);
	return slice_of(p, s.n);
}

struct slice build_keep_scratch(struct build *b)
{
	struct slice s = SLICE("");

	if (b->scratch.failed)
		build_no_memory(b);
	else
		s = build_keep(b, buf_slice(&b->scratch));
	buf_reset(&b->scratch);
	return s;
}

/* ---- names that must not come twice -------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
	const struct named *x = a, *y = b;
	size_t shorter = x->name.n < y->name.n ? x->name.n : y->name.n;

	for (size_t i = 0; i < shorter; i++) {
		int order = (unsigned char)ascii_lower(x->name.p[i]) - (unsigned char)ascii_lower(y->name.p[i]);

		if (order)
			return order;
	}
	if (x->name.n != y->name.n)
		return x->name.n < y->name.n ? -1 : 1;
	/* Equal names: the later line second, so that it is the one complained of. */
	return x->at.line < y->at.line ? -1 : x->at.line > y->at.line;
}

void build_check_twice(struct build *b, struct named *names, size_t count, const char *what)
{
	if (count > 1)
		qsort(names, count, sizeof *names, by_name);
	for (size_t i = 1; i < count; i++)
		if (names[i].name.n && slice_ieq(names[i - 1].name, names[i].name))
			conf_wrong(b->err, names[i].at, "%s \"%.*s\" is there twice, before in %s line %u", what,
				   SLICE_ARGS(names[i].name), names[i - 1].at.file, names[i - 1].at.line);
}

/* ---- values -------------------------------------------------------------------------------------------------- */

static void store_number(void *member, size_t size, uint64_t value)
{
	uint8_t u8 = (uint8_t)value;
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;

	switch (size) {
	case 1:
		assert(u8 == value);
		memcpy(member, &u8, size);
		break;
	case 2:
		assert(u16 == value);
		memcpy(member, &u16, size);
		break;
	case 4:
		assert(u32 == value);
		memcpy(member, &u32, size);
		break;
	default:
		assert(size == 8);
		memcpy(member, &value, size);
		break;
	}
}

/* "port must be a number from 1 to 65535, not "70000"" */
static void not_of_type(struct build *b, const struct conf_key *key, struct slice text, struct conf_place at)
{
	buf_reset(&b->scratch);
	conf_type_describe(key, &b->scratch);
	struct slice description = buf_slice(&b->scratch);
	conf_wrong(b->err, at, "%s must be %.*s; it is \"%.*s\"", key->name, SLICE_ARGS(description),
		   SLICE_ARGS(slice_head(text, 200)));
	buf_reset(&b->scratch);
}

static void set_number(struct build *b, const struct conf_key *key, struct slice text, struct conf_place at,
		       void *member)
{
	uint64_t value;
	unsigned cores = b->host->cores ? b->host->cores : 1;

	if (conf_number_read(key, text, cores, &value) == CONF_NUMBER_OK)
		store_number(member, key->size, value);
	else
		not_of_type(b, key, text, at);
}

static struct slice read_text(struct build *b, const struct conf_key *key, struct slice text, struct conf_place at)
{
	const char *why;

	buf_reset(&b->scratch);
	if (conf_text_read(key->type, text, &b->context, &b->scratch, &why))
		return build_keep_scratch(b);
	conf_wrong(b->err, at, "%s: \"%.*s\": %s", key->name, SLICE_ARGS(slice_head(text, 200)),
		   why ? why : "it is not understood");
	buf_reset(&b->scratch);
	return SLICE("");
}

static void set_list(struct build *b, const struct conf_key *key, const struct conf_raw_key *raw,
		     struct conf_texts *member)
{
	struct slice *list = build_take(b, raw->count, sizeof *list);
	size_t n = 0;

	if (!list)
		return;
	for (const struct conf_raw_value *v = raw->values; v; v = v->next)
		list[n++] = read_text(b, key, v->text, v->at);
	assert(n == raw->count);
	*member = (struct conf_texts){list, n};
}

static void set_text(struct build *b, const struct conf_key *key, struct slice text, struct conf_place at, void *member)
{
	if (conf_type_is_number(key->type)) {
		set_number(b, key, text, at, member);
	} else if (conf_type_is_list(key->type)) {
		assert(text.n == 0); /* no list has a preset other than the empty one */
		*(struct conf_texts *)member = (struct conf_texts){0};
	} else {
		assert(key->size == sizeof(struct slice));
		*(struct slice *)member = read_text(b, key, text, at);
	}
}

static void set_key(struct build *b, const struct conf_key *key, const struct conf_raw_key *raw, void *member)
{
	if (conf_type_is_list(key->type))
		set_list(b, key, raw, member);
	else if (raw->values)
		set_text(b, key, raw->last->text, raw->last->at, member);
}

void build_section(struct build *b, enum conf_section_id id, const struct conf_raw_section *raw, void *base)
{
	struct conf_place nowhere = b->raw->first->at;

	for (size_t i = 0; i < conf_key_count; i++) {
		const struct conf_key *key = &conf_keys[i];

		if (!conf_section_takes(id, key->section))
			continue;
		const struct conf_raw_key *given = raw ? conf_raw_find(raw, key) : NULL;
		void *member = (char *)base + key->offset;
		if (given)
			set_key(b, key, given, member);
		else if (key->section == id && key->preset)
			set_text(b, key, slice_from_cstr(key->preset), nowhere, member);
		else if (key->section == id)
			conf_wrong(b->err, raw ? raw->at : nowhere, "%s \"%.*s\" needs %s", conf_sections[id].name,
				   SLICE_ARGS(raw ? raw->title : SLICE("")), key->name);
	}
}

const struct conf_raw_section *build_next_section(const struct conf_raw_section *from, enum conf_section_id id)
{
	while (from && from->section->id != id)
		from = from->next;
	return from;
}

const struct conf_raw_section *build_only_section(struct build *b, enum conf_section_id id)
{
	const struct conf_raw_section *first = build_next_section(b->raw->first, id);
	const struct conf_raw_section *second = first ? build_next_section(first->next, id) : NULL;

	if (second)
		conf_wrong(b->err, second->at, "section %s is there twice, before in %s line %u",
			   conf_sections[id].name, first->at.file, first->at.line);
	return first;
}

struct conf_place build_key_place(const struct conf_raw_section *section, const char *name)
{
	const struct conf_key *key = conf_key_find(section->section->id, slice_from_cstr(name));
	const struct conf_raw_key *raw = key ? conf_raw_find(section, key) : NULL;

	assert(key);
	return raw ? raw->at : section->at;
}

bool build_key_given(const struct conf_raw_section *section, const char *name)
{
	const struct conf_key *key = conf_key_find(section->section->id, slice_from_cstr(name));

	assert(key);
	return conf_raw_find(section, key) != NULL;
}

struct slice build_title(struct build *b, const struct conf_raw_section *s)
{
	const char *why;

	buf_reset(&b->scratch);
	if (conf_domain_read(s->title, s->section->id == SECTION_ROUTE, &b->scratch, &why))
		return build_keep_scratch(b);
	buf_reset(&b->scratch);
	conf_wrong(b->err, s->at, "%s \"%.*s\": %s", s->section->name, SLICE_ARGS(slice_head(s->title, 200)), why);
	return SLICE("");
}
