#include "conf/build_private.h"

#include <assert.h>
#include <string.h>

/* ---- domains ------------------------------------------------------------------------------------------------- */

static bool is_any(const struct conf_texts *texts)
{
	return texts->count == 1 && slice_eq(texts->list[0], SLICE("*"));
}

static bool has_name(const struct conf_texts *texts, struct slice name)
{
	for (size_t i = 0; i < texts->count; i++)
		if (slice_ieq(texts->list[i], name))
			return true;
	return false;
}

static void build_moved(struct build *b, const struct conf_raw_section *s, struct conf_moved *moved)
{
	const char *why;

	moved->name = build_keep(b, s->title);
	if (!directory_name_valid(s->title, &why))
		conf_wrong(b->err, s->at, "moved \"%.*s\": %s", SLICE_ARGS(slice_head(s->title, 200)), why);
	build_section(b, SECTION_MOVED, s, moved);
	if (moved->to.n == 0 && build_key_given(s, "to"))
		conf_wrong(b->err, build_key_place(s, "to"), "to must be a mail address");
}

static void build_all_moved(struct build *b, const struct conf_raw_section *s, struct conf_domain *d)
{
	size_t count = 0, n = 0;

	for (const struct conf_raw_section *m = s->children; m; m = m->sibling)
		count++;
	struct conf_moved *moved = build_take(b, count, sizeof *moved);
	if (!moved)
		return;
	for (const struct conf_raw_section *m = s->children; m; m = m->sibling)
		build_moved(b, m, &moved[count - ++n]); /* newest first: turn them round */
	d->moved = moved;
	d->moved_count = count;
}

static void check_delivery(struct build *b, const struct conf_raw_section *s, const struct conf_domain *d)
{
	bool lmtp = d->deliver == DIRECTORY_LMTP;

	if (lmtp && d->lmtp.n == 0)
		conf_wrong(b->err, s->at, "domain \"%.*s\" is delivered by LMTP and needs lmtp", SLICE_ARGS(d->name));
	if (!lmtp && d->lmtp.n)
		conf_wrong(b->err, build_key_place(s, "lmtp"), "lmtp has no effect without deliver = lmtp");
	if (!lmtp && is_any(&d->mailboxes))
		conf_wrong(b->err, build_key_place(s, "mailboxes"), "{\"*\"} is only for domains with deliver = lmtp");
	if (d->mailboxes.count > 1 && has_name(&d->mailboxes, SLICE("*")))
		conf_wrong(b->err, build_key_place(s, "mailboxes"), "\"*\" stands alone");
	if (has_name(&d->disabled, SLICE("*")))
		conf_wrong(b->err, build_key_place(s, "disabled"), "\"*\" is no mailbox");
	if (d->catch_all.n && !has_name(&d->mailboxes, d->catch_all))
		conf_wrong(b->err, build_key_place(s, "catch_all"), "catch_all: \"%.*s\" is no mailbox of this domain",
			   SLICE_ARGS(d->catch_all));
}

/* RFC 5321 4.5.1 */
static void check_postmaster(struct build *b, const struct named *name, bool active)
{
	if (!active && slice_ieq(name->name, SLICE("postmaster")))
		conf_wrong(b->err, name->at, "postmaster must not be disabled or moved");
}

static size_t add_names(struct named *names, const struct conf_raw_section *s, const char *key_name,
			const struct conf_texts *texts)
{
	const struct conf_raw_key *raw = conf_raw_find(s, conf_key_find(SECTION_DOMAIN, slice_from_cstr(key_name)));
	const struct conf_raw_value *v = raw ? raw->values : NULL;

	for (size_t i = 0; i < texts->count; i++, v = v->next)
		names[i] = (struct named){texts->list[i], v->at};
	return texts->count;
}

static void check_mailboxes(struct build *b, const struct conf_raw_section *s, const struct conf_domain *d)
{
	size_t most = d->mailboxes.count + d->disabled.count + d->moved_count;
	struct named *names = build_take(b, most, sizeof *names);
	size_t n, active;

	if (!names)
		return;
	n = active = add_names(names, s, "mailboxes", &d->mailboxes);
	n += add_names(names + n, s, "disabled", &d->disabled);
	size_t first_moved = n;
	for (const struct conf_raw_section *m = s->children; m; m = m->sibling, n++)
		names[n] = (struct named){d->moved[d->moved_count - 1 - (n - first_moved)].name, m->at};
	assert(n == most);
	for (size_t i = 0; i < n; i++)
		check_postmaster(b, &names[i], i < active);
	build_check_twice(b, names, n, "the mailbox");
}

void build_domains(struct build *b)
{
	size_t count = b->raw->counts[SECTION_DOMAIN], n = 0;
	struct conf_domain *list = build_take(b, count, sizeof *list);
	struct named *names = build_take(b, count, sizeof *names);

	if (!list || !names)
		return;
	for (const struct conf_raw_section *s = build_next_section(b->raw->first, SECTION_DOMAIN);
	     s && !b->out_of_memory; s = build_next_section(s->next, SECTION_DOMAIN)) {
		struct conf_domain *d = &list[n];

		d->name = build_title(b, s);
		build_section(b, SECTION_DOMAIN, s, d);
		build_all_moved(b, s, d);
		check_delivery(b, s, d);
		check_mailboxes(b, s, d);
		names[n++] = (struct named){d->name, s->at};
	}
	b->c->domains = list;
	b->c->domain_count = n;
	build_check_twice(b, names, n, "domain");
}

/* ---- the directory ------------------------------------------------------------------------------------------- */

static bool directory_domain(struct build *b, const struct conf_domain *d, struct directory_domain_config *ret)
{
	size_t most = d->mailboxes.count + d->disabled.count + d->moved_count, n = 0;
	struct directory_mailbox_config *list = build_take(b, most, sizeof *list);
	bool any = is_any(&d->mailboxes);

	if (!list)
		return false;
	for (size_t i = 0; i < d->mailboxes.count && !any; i++)
		list[n++] = (struct directory_mailbox_config){.name = d->mailboxes.list[i]};
	for (size_t i = 0; i < d->disabled.count; i++)
		list[n++] =
			(struct directory_mailbox_config){.name = d->disabled.list[i], .state = DIRECTORY_SWITCHED_OFF};
	for (size_t i = 0; i < d->moved_count; i++)
		list[n++] = (struct directory_mailbox_config){.name = d->moved[i].name,
							      .state = DIRECTORY_GONE,
							      .moved_to = d->moved[i].to,
							      .disclose = d->moved[i].disclose};
	*ret = (struct directory_domain_config){
		.name = d->name,
		.delivery = d->deliver,
		.accept_all = any,
		.catch_all = d->catch_all,
		.mailboxes = list,
		.mailbox_count = n,
	};
	return true;
}

static bool is_unspecified(const struct ip_address *a)
{
	static const uint8_t zeros[16];

	return memcmp(a->octets, zeros, sizeof zeros) == 0;
}

/* Our own addresses: those listed, and those we listen on. */
static size_t collect_literals(const struct conf *c, struct ip_address *list)
{
	size_t n = 0;

	for (size_t i = 0; i < c->literal_texts.count; i++)
		n += ip_parse(c->literal_texts.list[i], &list[n]);
	for (size_t i = 0; i < c->listener_count; i++)
		n += ip_parse(c->listeners[i].address, &list[n]) && !is_unspecified(&list[n]);
	return n;
}

void build_directory(struct build *b)
{
	struct conf *c = b->c;
	struct directory_domain_config *domains = build_take(b, c->domain_count, sizeof *domains);
	/* One place more than there can be, as parsing writes before it knows. */
	struct ip_address *literals = build_take(b, c->literal_texts.count + c->listener_count + 1, sizeof *literals);
	const char *why;

	if (!domains || !literals)
		return;
	for (size_t i = 0; i < c->domain_count; i++)
		if (!directory_domain(b, &c->domains[i], &domains[i]))
			return;
	struct directory_config config = {
		.domains = domains,
		.domain_count = c->domain_count,
		.delimiter = c->delimiter,
		.postmaster = c->postmaster,
		.hostname = c->hostname,
		.literals = literals,
		.literal_count = collect_literals(c, literals),
	};
	c->directory = directory_new(&config, &c->arena, &why);
	if (!c->directory)
		conf_wrong(b->err, build_key_place(b->raw->first, "postmaster"), "%s", why);
}
