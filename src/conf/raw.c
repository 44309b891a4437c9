/*
 * The one place that knows libconfuse. Its callbacks take no argument of ours, so that the reading under way is a
 * static pointer: one thread, no recursion.
 */
#include "conf/raw.h"

#include "base/heap.h"

#include <assert.h>
#include <confuse.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 4 /* sections in sections */

struct reading {
	struct conf_raw *raw;
	struct conf_error *err;
	const char *file;
	bool out_of_memory;
	struct {
		const cfg_t *cfg;
		struct conf_raw_section *section;
	} open[DEPTH_MAX]; /* sections whose end has not come */
	size_t open_count;
};

static struct reading *current;

/* ---- the raw model ------------------------------------------------------------------------------------------- */

static struct conf_raw_section *new_section(struct conf_raw *raw, const struct conf_section *section,
					    struct slice title, struct conf_place at)
{
	struct conf_raw_section *s = arena_alloc(&raw->arena, sizeof *s);

	if (!s)
		return NULL;
	*s = (struct conf_raw_section){.section = section, .title = title, .at = at};
	if (raw->last)
		raw->last->next = s;
	else
		raw->first = s;
	raw->last = s;
	raw->counts[section->id]++;
	return s;
}

bool conf_raw_init(struct conf_raw *raw, const char *file)
{
	*raw = (struct conf_raw){0};
	arena_init(&raw->arena, CONF_MEMORY_MAX);
	return new_section(raw, &conf_sections[SECTION_TOP], SLICE(""), (struct conf_place){file, 0}) != NULL;
}

void conf_raw_free(struct conf_raw *raw)
{
	arena_free(&raw->arena);
}

const struct conf_raw_key *conf_raw_find(const struct conf_raw_section *section, const struct conf_key *key)
{
	for (const struct conf_raw_key *k = section->keys; k; k = k->next)
		if (k->key == key)
			return k;
	return NULL;
}

static void *take(size_t size)
{
	void *p = arena_alloc(&current->raw->arena, size);

	if (!p)
		current->out_of_memory = true;
	return p;
}

static struct slice keep(const char *text)
{
	struct slice copy = arena_copy(&current->raw->arena, slice_of(text, strlen(text) + 1));

	if (!copy.p) {
		current->out_of_memory = true;
		return SLICE("");
	}
	return slice_head(copy, copy.n - 1);
}

static struct conf_place place(const cfg_t *cfg)
{
	return (struct conf_place){current->file, cfg->line > 0 ? (unsigned)cfg->line : 0};
}

/* ---- sections as libconfuse has them ------------------------------------------------------------------------- */

static const struct conf_section *section_named(const char *name)
{
	for (size_t i = 1; i < SECTION_COUNT; i++)
		if (strcmp(conf_sections[i].name, name) == 0)
			return &conf_sections[i];
	return &conf_sections[SECTION_TOP];
}

/* The raw section of a libconfuse section that is being read; made when this is its first key. */
static struct conf_raw_section *open_section(const cfg_t *cfg)
{
	struct reading *r = current;
	const struct conf_section *section = section_named(cfg->name);

	if (section->id == SECTION_TOP)
		return r->raw->first;
	for (size_t i = 0; i < r->open_count; i++)
		if (r->open[i].cfg == cfg)
			return r->open[i].section;
	assert(r->open_count < DEPTH_MAX);
	struct conf_raw_section *s =
		new_section(r->raw, section, cfg->title ? keep(cfg->title) : SLICE(""), place(cfg));
	if (!s) {
		r->out_of_memory = true;
		return NULL;
	}
	r->open[r->open_count].cfg = cfg;
	r->open[r->open_count++].section = s;
	return s;
}

static void close_section(const cfg_t *cfg)
{
	struct reading *r = current;
	size_t i = 0;

	while (i < r->open_count && r->open[i].cfg != cfg)
		i++;
	assert(i < r->open_count);
	r->open[i] = r->open[--r->open_count];
}

static bool owns(const cfg_t *cfg, const cfg_opt_t *opt)
{
	for (const cfg_opt_t *o = cfg->opts; o->name; o++)
		if (o == opt)
			return true;
	return false;
}

/* ---- callbacks ----------------------------------------------------------------------------------------------- */

static struct conf_raw_key *new_key(struct conf_raw_section *section, const struct conf_key *key, struct conf_place at)
{
	struct conf_raw_key *k = take(sizeof *k);

	if (k) {
		*k = (struct conf_raw_key){.key = key, .at = at, .next = section->keys};
		section->keys = k;
	}
	return k;
}

static void add_value(struct conf_raw_key *k, const char *text, struct conf_place at)
{
	struct conf_raw_value *v = take(sizeof *v);

	if (!v)
		return;
	*v = (struct conf_raw_value){.text = keep(text), .at = at};
	if (k->last)
		k->last->next = v;
	else
		k->values = v;
	k->last = v;
	k->count++;
}

/* One value of one key. Errors are collected, reading goes on. */
static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	struct conf_raw_section *section = owns(cfg, opt) ? open_section(cfg) : NULL;
	const struct conf_key *key = section ? conf_key_find(section->section->id, slice_from_cstr(opt->name)) : NULL;

	*(const char **)result = value;
	if (!key)
		return -1;
	struct conf_raw_key *k = (struct conf_raw_key *)(uintptr_t)conf_raw_find(section, key);
	/* libconfuse empties an option at "=", so that the first value of a second assignment is alone. */
	if (k && opt->nvalues == 1) {
		conf_wrong(current->err, place(cfg), "%s is set twice, before in line %u", key->name, k->at.line);
		return 0;
	}
	if (!k)
		k = new_key(section, key, place(cfg));
	if (k)
		add_value(k, value, place(cfg));
	return current->out_of_memory ? -1 : 0;
}

/* Lists that were set to {} have no value, so that nothing told us. */
static void find_empty_lists(cfg_t *cfg, struct conf_raw_section *section)
{
	for (cfg_opt_t *o = cfg->opts; o->name; o++) {
		if (!(o->flags & CFGF_LIST) || !(o->flags & CFGF_MODIFIED))
			continue;
		const struct conf_key *key = conf_key_find(section->section->id, slice_from_cstr(o->name));
		if (key && !conf_raw_find(section, key))
			new_key(section, key, place(cfg));
	}
}

/* A section ends: `opt` of `cfg` holds it alone, and gives it back, so that a file of many sections stays cheap. */
static int on_section(cfg_t *cfg, cfg_opt_t *opt)
{
	cfg_t *ended = cfg_opt_getnsec(opt, 0);
	struct conf_raw_section *section = ended && owns(cfg, opt) ? open_section(ended) : NULL;

	if (!section)
		return -1;
	find_empty_lists(ended, section);
	struct conf_raw_section *parent = open_section(cfg);
	if (parent) {
		section->parent = parent;
		section->sibling = parent->children;
		parent->children = section;
	}
	close_section(ended);
	cfg_opt_rmnsec(opt, 0);
	return current->out_of_memory ? -1 : 0;
}

static void unknown_name(const cfg_t *cfg, const char *name)
{
	const struct conf_section *in = section_named(cfg->name);
	struct slice text = slice_from_cstr(name);
	const struct conf_section *elsewhere = conf_elsewhere(in->id, text);
	const char *nearest = conf_nearest(in->id, text);
	const char *where = in->id == SECTION_TOP ? "at the top" : in->name;
	struct conf_place at = place(cfg);

	if (elsewhere && elsewhere->id == SECTION_TOP)
		conf_wrong(current->err, at, "\"%s\" does not belong in %s, but outside of all sections", name, where);
	else if (elsewhere)
		conf_wrong(current->err, at, "\"%s\" does not belong %s%s, but in section %s", name,
			   in->id == SECTION_TOP ? "" : "in ", where, elsewhere->name);
	else if (nearest)
		conf_wrong(current->err, at, "there is no \"%s\" %s%s; did you mean \"%s\"?", name,
			   in->id == SECTION_TOP ? "" : "in ", where, nearest);
	else
		conf_wrong(current->err, at, "there is no \"%s\" %s%s", name, in->id == SECTION_TOP ? "" : "in ",
			   where);
}

__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *cfg, const char *format, va_list args)
{
	char text[300];

	vsnprintf(text, sizeof text, format, args);
	struct slice quoted = slice_from_cstr(text);
	static const struct slice unknown = {"no such option '", sizeof "no such option '" - 1};

	if (slice_starts(quoted, unknown) && slice_ends(quoted, SLICE("'"))) {
		text[quoted.n - 1] = '\0';
		unknown_name(cfg, text + unknown.n);
		return;
	}
	conf_wrong(current->err, place(cfg), "%s", text);
}

/* ---- the options --------------------------------------------------------------------------------------------- */

#define OPTIONS_MAX 64

/* Options of all sections, in the form of libconfuse, made from the table. */
struct options {
	cfg_opt_t of[SECTION_COUNT][OPTIONS_MAX];
};

static void make_options(struct options *options, const struct conf_section *section)
{
	cfg_opt_t *opt = options->of[section->id];
	const cfg_opt_t *end = opt + OPTIONS_MAX - 1;
	cfg_opt_t last = CFG_END();

	for (size_t i = 0; i < conf_key_count; i++)
		if (conf_section_takes(section->id, conf_keys[i].section)) {
			cfg_opt_t one = CFG_STR(conf_keys[i].name, NULL, CFGF_NODEFAULT);
			cfg_opt_t many = CFG_STR_LIST(conf_keys[i].name, NULL, CFGF_NODEFAULT);

			assert(opt < end);
			*opt = conf_type_is_list(conf_keys[i].type) ? many : one;
			opt++->parsecb = on_value;
		}
	for (size_t i = 1; i < SECTION_COUNT; i++)
		if (conf_sections[i].parent == section->id) {
			cfg_flag_t titled = conf_sections[i].titles ? CFGF_TITLE : CFGF_NONE;
			cfg_opt_t sub = CFG_SEC(conf_sections[i].name, options->of[i], CFGF_MULTI | titled);

			assert(opt < end);
			*opt = sub;
			opt++->validcb = on_section;
		}
	*opt = last;
}

static cfg_t *make_parser(void)
{
	struct options *options = heap_new(struct options);
	cfg_t *cfg = NULL;

	if (!options)
		return NULL;
	for (size_t i = 0; i < SECTION_COUNT; i++)
		make_options(options, &conf_sections[i]);
	cfg = cfg_init(options->of[SECTION_TOP], CFGF_NONE); /* copies them */
	heap_free(options);
	if (cfg)
		cfg_set_error_function(cfg, on_error);
	return cfg;
}

static bool parse(cfg_t *cfg, struct slice text)
{
	unsigned before = current->err->errors;
	struct conf_place whole = {current->file, 0};
	FILE *fp = fmemopen((void *)(uintptr_t)text.p, text.n, "r");

	if (!fp) {
		conf_wrong(current->err, whole, "there is no memory");
		return false;
	}
	bool good = cfg_parse_fp(cfg, fp) == CFG_SUCCESS;
	fclose(fp);
	if (current->out_of_memory)
		conf_wrong(current->err, whole, "there is no memory, or the configuration is too large");
	else if (!good && current->err->errors == before)
		conf_wrong(current->err, place(cfg), "this is not understood");
	return good;
}

bool conf_raw_read(struct conf_raw *raw, struct slice scanned, const char *file, struct conf_error *err)
{
	struct reading reading = {.raw = raw, .err = err, .file = file};
	bool good = true;

	assert(!current);
	assert(scanned.n == 0 || !memchr(scanned.p, 0, scanned.n));
	if (scanned.n == 0)
		return true;
	current = &reading;
	cfg_t *cfg = make_parser();
	if (cfg) {
		good = parse(cfg, scanned);
		find_empty_lists(cfg, raw->first);
		cfg_free(cfg);
	} else {
		conf_wrong(err, (struct conf_place){file, 0}, "there is no memory");
		good = false;
	}
	current = NULL;
	return good && !reading.out_of_memory;
}
