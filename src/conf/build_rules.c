#include "conf/build_private.h"

#include <assert.h>
#include <string.h>

/* The words of WORD(RULE, "class") are the classes of the catalogue in its order; a unit test compares them. */

static const enum smtpcodes_verdict verdicts[] = {
	[CONF_VERDICT_OF_CODES] = SMTPCODES_UNKNOWN,
	[CONF_VERDICT_TEMPORARY] = SMTPCODES_TEMPORARY,
	[CONF_VERDICT_PERMANENT] = SMTPCODES_PERMANENT,
};

/* The texts with a separator between them, or "*" for none; in the configuration's memory. */
static struct smtpcodes_span join(struct build *b, const struct conf_texts *texts, struct slice separator,
				  struct conf_place at)
{
	if (texts->count == 0)
		return (struct smtpcodes_span){"*", 1};
	for (size_t i = 0; i < texts->count; i++) {
		if (i > 0)
			buf_add(&b->scratch, separator);
		buf_add(&b->scratch, texts->list[i]);
	}
	if (b->scratch.failed) {
		conf_wrong(b->err, at, "a list of a rule has at most %zu octets", b->scratch.max);
		buf_reset(&b->scratch);
		return (struct smtpcodes_span){"*", 1};
	}
	struct slice all = build_keep_scratch(b);
	return (struct smtpcodes_span){all.p, all.n};
}

static void build_rule(struct build *b, const struct conf_raw_section *s, struct conf_rule *keys,
		       struct smtpcodes_rule *rule)
{
	keys->name = build_keep(b, s->title);
	build_section(b, SECTION_RULE, s, keys);
	if (keys->name.n == 0 || keys->name.n > CONF_RULE_NAME_MAX)
		conf_wrong(b->err, s->at, "the name of a rule has 1 to %d octets", CONF_RULE_NAME_MAX);
	if (keys->codes.count + keys->statuses.count + keys->texts.count == 0)
		conf_wrong(b->err, s->at, "a rule needs at least one of codes, statuses and text");
	*rule = (struct smtpcodes_rule){
		.name = {keys->name.p, keys->name.n},
		.codes = join(b, &keys->codes, SLICE(","), s->at),
		.statuses = join(b, &keys->statuses, SLICE(","), s->at),
		.text = join(b, &keys->texts, SLICE(" | "), s->at),
		.klass = keys->klass,
		.verdict = verdicts[keys->verdict],
		.note = {keys->note.p ? keys->note.p : "", keys->note.n},
	};
}

void build_rules(struct build *b)
{
	size_t count = b->raw->counts[SECTION_RULE], n = 0;
	struct conf_rule *keys = build_take(b, count, sizeof *keys);
	struct smtpcodes_rule *rules = build_take(b, count, sizeof *rules);
	struct named *names = build_take(b, count, sizeof *names);

	if (!keys || !rules || !names)
		return;
	for (const struct conf_raw_section *s = build_next_section(b->raw->first, SECTION_RULE); s && !b->out_of_memory;
	     s = build_next_section(s->next, SECTION_RULE)) {
		if (n == CONF_RULES_MAX) {
			conf_wrong(b->err, s->at, "there are more than %d rules", CONF_RULES_MAX);
			break;
		}
		build_rule(b, s, &keys[n], &rules[n]);
		names[n] = (struct named){keys[n].name, s->at};
		n++;
	}
	build_check_twice(b, names, n, "rule");
	b->c->rule_keys = keys;
	b->c->rules = (struct smtpcodes_rules){rules, n};
	b->c->queue.reply_rules = &b->c->rules;
}
