#include "conf/build_private.h"

#include <assert.h>
#include <stdlib.h>
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

/* The next child of this kind, from `from` on; newest first. */
static const struct conf_raw_section *next_child(const struct conf_raw_section *from, enum conf_section_id id)
{
	while (from && from->section->id != id)
		from = from->sibling;
	return from;
}

static size_t count_children(const struct conf_raw_section *s, enum conf_section_id id)
{
	size_t count = 0;

	for (const struct conf_raw_section *m = next_child(s->children, id); m; m = next_child(m->sibling, id))
		count++;
	return count;
}

static void build_all_moved(struct build *b, const struct conf_raw_section *s, struct conf_domain *d)
{
	size_t count = count_children(s, SECTION_MOVED), n = 0;
	struct conf_moved *moved = build_take(b, count, sizeof *moved);

	if (!moved)
		return;
	for (const struct conf_raw_section *m = next_child(s->children, SECTION_MOVED); m;
	     m = next_child(m->sibling, SECTION_MOVED))
		build_moved(b, m, &moved[count - ++n]); /* newest first: turn them round */
	d->moved = moved;
	d->moved_count = count;
}

static void build_list(struct build *b, const struct conf_raw_section *s, struct conf_list *list)
{
	const char *why;

	list->name = build_keep(b, s->title);
	if (!directory_name_valid(s->title, &why))
		conf_wrong(b->err, s->at, "list \"%.*s\": %s", SLICE_ARGS(slice_head(s->title, 200)), why);
	build_section(b, SECTION_LIST, s, list);
	if (list->members.count == 0 && build_key_given(s, "members"))
		conf_wrong(b->err, build_key_place(s, "members"), "list \"%.*s\" has no members",
			   SLICE_ARGS(slice_head(s->title, 200)));
}

static void build_lists(struct build *b, const struct conf_raw_section *s, struct conf_domain *d)
{
	size_t count = count_children(s, SECTION_LIST), n = 0;
	struct conf_list *lists = build_take(b, count, sizeof *lists);

	if (!lists)
		return;
	for (const struct conf_raw_section *m = next_child(s->children, SECTION_LIST); m;
	     m = next_child(m->sibling, SECTION_LIST))
		build_list(b, m, &lists[count - ++n]);
	d->lists = lists;
	d->list_count = count;
}

/* What a limit does not say is as the domain has it. */
static void inherit_limit(const struct conf_raw_section *s, const struct conf_domain *d, struct conf_limit *limit)
{
	if (!build_key_given(s, "message_max"))
		limit->message_max = d->message_max;
	if (!build_key_given(s, "quota_octets"))
		limit->quota.octets = d->quota.octets;
	if (!build_key_given(s, "quota_messages"))
		limit->quota.messages = d->quota.messages;
}

static void build_limits(struct build *b, const struct conf_raw_section *s, struct conf_domain *d)
{
	size_t count = count_children(s, SECTION_LIMIT), n = 0;
	struct conf_limit *limits = build_take(b, count, sizeof *limits);
	struct named *names = build_take(b, count, sizeof *names);
	const char *why;

	if (!limits || !names)
		return;
	for (const struct conf_raw_section *m = next_child(s->children, SECTION_LIMIT); m;
	     m = next_child(m->sibling, SECTION_LIMIT)) {
		struct conf_limit *limit = &limits[count - ++n];

		limit->name = build_keep(b, m->title);
		if (!directory_name_valid(m->title, &why))
			conf_wrong(b->err, m->at, "limit \"%.*s\": %s", SLICE_ARGS(slice_head(m->title, 200)), why);
		build_section(b, SECTION_LIMIT, m, limit);
		inherit_limit(m, d, limit);
		if (!is_any(&d->mailboxes) && !has_name(&d->mailboxes, m->title) && !has_name(&d->suspended, m->title))
			conf_wrong(b->err, m->at, "limit \"%.*s\" is no mailbox of this domain",
				   SLICE_ARGS(slice_head(m->title, 200)));
		names[n - 1] = (struct named){m->title, m->at};
	}
	build_check_twice(b, names, count, "limit");
	d->limits = limits;
	d->limit_count = count;
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
	if (has_name(&d->suspended, SLICE("*")))
		conf_wrong(b->err, build_key_place(s, "suspended"), "\"*\" is no mailbox");
	if (has_name(&d->disabled, SLICE("*")))
		conf_wrong(b->err, build_key_place(s, "disabled"), "\"*\" is no mailbox");
	if (d->catch_all.n && !has_name(&d->mailboxes, d->catch_all))
		conf_wrong(b->err, build_key_place(s, "catch_all"), "catch_all: \"%.*s\" is no mailbox of this domain",
			   SLICE_ARGS(d->catch_all));
}

/* The section of a limit, or of the domain itself. What it inherits was complained of there. */
static void check_quota(struct build *b, const struct conf_raw_section *s, const struct conf_quota *q)
{
	bool octets = q->octets > 0 && build_key_given(s, "quota_octets");
	bool messages = q->messages > 0 && build_key_given(s, "quota_messages");

	if (octets || messages)
		conf_wrong(b->err, build_key_place(s, octets ? "quota_octets" : "quota_messages"),
			   "a quota has no effect with deliver = lmtp: that server counts what its mailboxes hold");
}

static void check_quotas(struct build *b, const struct conf_raw_section *s, const struct conf_domain *d)
{
	size_t n = d->limit_count;

	if (d->deliver != DIRECTORY_LMTP)
		return;
	check_quota(b, s, &d->quota);
	for (const struct conf_raw_section *m = next_child(s->children, SECTION_LIMIT); m && n > 0;
	     m = next_child(m->sibling, SECTION_LIMIT))
		check_quota(b, m, &d->limits[--n].quota); /* newest first, as they were read */
}

/* RFC 5321 4.5.1 */
static void check_postmaster(struct build *b, const struct named *name, bool active)
{
	if (!active && slice_ieq(name->name, SLICE("postmaster")))
		conf_wrong(b->err, name->at, "postmaster must not be suspended, disabled, moved or a list");
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
	size_t most = d->mailboxes.count + d->suspended.count + d->disabled.count + d->moved_count + d->list_count;
	struct named *names = build_take(b, most, sizeof *names);
	size_t n, active;

	if (!names || b->out_of_memory) /* then lists may lack what sections have */
		return;
	n = active = add_names(names, s, "mailboxes", &d->mailboxes);
	n += add_names(names + n, s, "suspended", &d->suspended);
	n += add_names(names + n, s, "disabled", &d->disabled);
	for (const struct conf_raw_section *m = s->children; m; m = m->sibling)
		if (m->section->id != SECTION_LIMIT)
			names[n++] = (struct named){m->title, m->at};
	assert(n == most);
	for (size_t i = 0; i < n; i++)
		check_postmaster(b, &names[i], i < active);
	build_check_twice(b, names, n, "the mailbox");
}

static int by_path(const void *a, const void *b)
{
	return slice_compare(((const struct conf_quota *)a)->path, ((const struct conf_quota *)b)->path);
}

/* The table that a mailbox's path is looked up in. A title that is no name was complained of. */
static void build_quotas(struct build *b)
{
	size_t most = b->c->domain_count, n = 0;

	for (size_t i = 0; i < b->c->domain_count; i++)
		most += b->c->domains[i].limit_count;
	struct conf_quota *list = build_take(b, most, sizeof *list);
	if (!list)
		return;
	for (size_t i = 0; i < b->c->domain_count; i++) {
		const struct conf_domain *d = &b->c->domains[i];

		list[n] = d->quota;
		list[n++].path = d->name;
		for (size_t k = 0; k < d->limit_count; k++) {
			if (d->limits[k].name.n == 0)
				continue;
			buf_add(&b->scratch, d->name);
			buf_add_char(&b->scratch, '/');
			directory_path_part(d->limits[k].name, &b->scratch);
			list[n] = d->limits[k].quota;
			list[n++].path = build_keep_scratch(b);
		}
	}
	qsort(list, n, sizeof *list, by_path);
	b->c->quotas = list;
	b->c->quota_count = n;
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
		build_lists(b, s, d);
		build_limits(b, s, d);
		check_delivery(b, s, d);
		check_quotas(b, s, d);
		check_mailboxes(b, s, d);
		names[n++] = (struct named){d->name, s->at};
	}
	b->c->domains = list;
	b->c->domain_count = n;
	build_check_twice(b, names, n, "domain");
	if (!b->out_of_memory)
		build_quotas(b);
}

/* ---- the directory ------------------------------------------------------------------------------------------- */

static uint64_t message_max_of(const struct conf_domain *d, struct slice mailbox)
{
	for (size_t i = 0; i < d->limit_count; i++)
		if (slice_ieq(d->limits[i].name, mailbox))
			return d->limits[i].message_max;
	return d->message_max;
}

static bool directory_domain(struct build *b, const struct conf_domain *d, struct directory_domain_config *ret)
{
	size_t most = d->mailboxes.count + d->suspended.count + d->disabled.count + d->moved_count + d->list_count +
		      d->limit_count,
	       n = 0;
	struct directory_mailbox_config *list = build_take(b, most, sizeof *list);
	bool any = is_any(&d->mailboxes);

	if (!list)
		return false;
	for (size_t i = 0; i < d->mailboxes.count && !any; i++)
		list[n++] = (struct directory_mailbox_config){
			.name = d->mailboxes.list[i],
			.message_max = message_max_of(d, d->mailboxes.list[i]),
		};
	/* With "*" a mailbox is only known by the limit that it has, unless it is suspended. */
	for (size_t i = 0; i < d->limit_count && any; i++)
		if (!has_name(&d->suspended, d->limits[i].name))
			list[n++] = (struct directory_mailbox_config){
				.name = d->limits[i].name,
				.message_max = d->limits[i].message_max,
			};
	for (size_t i = 0; i < d->suspended.count; i++)
		list[n++] = (struct directory_mailbox_config){
			.name = d->suspended.list[i],
			.state = DIRECTORY_PAUSED,
			.message_max = message_max_of(d, d->suspended.list[i]),
		};
	for (size_t i = 0; i < d->disabled.count; i++)
		list[n++] =
			(struct directory_mailbox_config){.name = d->disabled.list[i], .state = DIRECTORY_SWITCHED_OFF};
	for (size_t i = 0; i < d->moved_count; i++)
		list[n++] = (struct directory_mailbox_config){.name = d->moved[i].name,
							      .state = DIRECTORY_GONE,
							      .moved_to = d->moved[i].to,
							      .forward = d->moved[i].forward,
							      .disclose = d->moved[i].disclose};
	for (size_t i = 0; i < d->list_count; i++)
		list[n++] = (struct directory_mailbox_config){
			.name = d->lists[i].name,
			.state = DIRECTORY_GROUP,
			.disclose = d->lists[i].disclose,
			.members = {d->lists[i].members.list, d->lists[i].members.count},
			.senders = {d->lists[i].senders.list, d->lists[i].senders.count},
			.post = d->lists[i].post,
		};
	*ret = (struct directory_domain_config){
		.name = d->name,
		.delivery = d->deliver,
		.accept_all = any,
		.message_max = d->message_max,
		.catch_all = d->catch_all,
		.mailboxes = list,
		.mailbox_count = n,
	};
	return true;
}

/* Our own addresses: those listed, and those we listen on. */
static size_t collect_literals(const struct conf *c, struct ip_address *list)
{
	size_t n = 0;

	for (size_t i = 0; i < c->literal_texts.count; i++)
		n += ip_parse(c->literal_texts.list[i], &list[n]);
	for (size_t i = 0; i < c->listener_count; i++)
		n += ip_parse(c->listeners[i].address, &list[n]) && !ip_is_unspecified(&list[n]);
	return n;
}

/* What others stand for has to lead somewhere: a mistake is better told here than to each sender. */
static void check_targets(struct build *b, struct slice name, const struct conf_domain *d, struct conf_place at)
{
	struct directory_entry entry;

	directory_find_plain(b->c->directory, d->name, name, &entry);
	for (size_t i = 0; i < entry.targets.count; i++) {
		struct slice target = entry.targets.list[i];
		struct route route;

		conf_route(b->c, target, &route);
		if (route.kind == ROUTE_UNKNOWN_MAILBOX)
			conf_wrong(b->err, at, "\"%.*s\" stands for %.*s, which takes no mail here", SLICE_ARGS(name),
				   SLICE_ARGS(target));
		else if (route.kind == ROUTE_NONE)
			conf_wrong(b->err, at, "\"%.*s\" stands for %.*s, and no route leads there", SLICE_ARGS(name),
				   SLICE_ARGS(target));
	}
}

static void check_all_targets(struct build *b)
{
	const struct conf_raw_section *s = b->raw->first;

	for (size_t i = 0; i < b->c->domain_count; i++, s = s->next) {
		s = build_next_section(s, SECTION_DOMAIN);
		for (const struct conf_raw_section *m = s->children; m; m = m->sibling)
			if (m->section->id != SECTION_LIMIT)
				check_targets(b, m->title, &b->c->domains[i], m->at);
	}
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
	if (c->directory)
		check_all_targets(b);
	else
		conf_wrong(b->err, build_key_place(b->raw->first, "postmaster"), "%s", why);
}
