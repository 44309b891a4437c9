#include "directory/directory.h"

#include "base/heap.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHY_MAX        512
#define POSTMASTER     SLICE("postmaster")
#define PATH_PART_MAX  (3 * MAIL_LOCAL_MAX)
#define LITERAL_MARKER '['

struct mailbox {
	struct slice name; /* ASCII lower case */
	enum directory_state state;
	struct slice path; /* "example.com/alice" */
	struct slice moved_to;
	uint64_t message_max;
	bool forward, disclose;
	struct directory_texts members, senders, targets, keys;
	enum directory_post post;
};

struct domain {
	struct slice name; /* canonical */
	enum directory_delivery delivery;
	bool accept_all;
	uint64_t message_max;
	struct slice site;
	struct mailbox *mailboxes; /* by name */
	size_t count;
	const struct mailbox *catch_all;   /* or NULL */
	struct directory_entry postmaster; /* what is found for it when the domain lists none */
};

struct directory {
	struct domain *domains; /* by name */
	size_t count;
	struct slice first;    /* name of the domain configured first, or the host name */
	struct slice hostname; /* canonical; empty when it is no domain name */
	char delimiter;
	struct ip_address *literals;
	size_t literal_count;
	struct directory_entry postmaster; /* for names without a domain of ours behind them */
};

/* ---- names and paths ------------------------------------------------------------------------------------------------
 */

bool directory_name_valid(struct slice name, const char **why)
{
	static const char others[] = "!#$%&'*+-=?^_`{|}~.";

	*why = "it must have 1 to 64 octets";
	if (name.n == 0 || name.n > MAIL_LOCAL_MAX)
		return false;
	*why = "it must not begin with '.' or '-'";
	if (name.p[0] == '.' || name.p[0] == '-')
		return false;
	*why = "it holds a character that a mailbox name cannot have";
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (!ascii_is_alnum(c) && (unsigned char)c < 0x80 && (c == 0 || !strchr(others, c)))
			return false;
	}
	*why = "it is not well-formed UTF-8";
	if (!slice_is_utf8(name))
		return false;
	*why = NULL;
	return true;
}

static bool is_path_safe(char c)
{
	return ascii_is_alnum(c) || c == '.' || c == '_' || c == '-' || c == '+';
}

bool directory_path_part(struct slice name, struct buf *out)
{
	static const char digits[] = "0123456789ABCDEF";

	assert(name.n > 0);
	for (size_t i = 0; i < name.n; i++) {
		unsigned char c = (unsigned char)name.p[i];
		char hex[3] = {'=', digits[c >> 4], digits[c & 15]};

		/* A first '.' would hide the directory, or be "." or ".." */
		if (is_path_safe(name.p[i]) && (i > 0 || c != '.'))
			buf_add_char(out, ascii_lower(name.p[i]));
		else
			buf_add(out, slice_of(hex, sizeof hex));
	}
	return !out->failed;
}

/* ---- making ---------------------------------------------------------------------------------------------------------
 */

/* What directory_new works with. The first problem sticks. */
struct making {
	struct directory *d;
	struct arena *a;
	struct buf scratch;
	const char *why;
};

__attribute__((format(printf, 2, 3))) static void wrong(struct making *m, const char *format, ...)
{
	char line[WHY_MAX];

	if (m->why)
		return;
	va_list args;
	va_start(args, format);
	int n = vsnprintf(line, sizeof line, format, args);
	va_end(args);
	struct slice copy = arena_copy(m->a, slice_of(line, n < (int)sizeof line ? (size_t)n + 1 : sizeof line));
	m->why = copy.p ? copy.p : "there is no memory";
}

static void *take(struct making *m, size_t count, size_t size)
{
	void *p = m->why ? NULL : arena_array(m->a, count ? count : 1, size);

	if (!p)
		wrong(m, "there is no memory");
	return p;
}

/* A NUL-terminated copy of what stands in the scratch buffer, which is emptied. */
static struct slice keep_scratch(struct making *m)
{
	struct slice s = buf_slice(&m->scratch);
	char *p = m->scratch.failed ? NULL : take(m, s.n + 1, 1);

	if (p && s.n)
		memcpy(p, s.p, s.n);
	if (!p)
		wrong(m, "there is no memory");
	buf_reset(&m->scratch);
	return p ? slice_of(p, s.n) : SLICE_NONE;
}

static struct slice keep(struct making *m, struct slice s)
{
	buf_add(&m->scratch, s);
	return keep_scratch(m);
}

static struct slice keep_lower(struct making *m, struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		buf_add_char(&m->scratch, ascii_lower(s.p[i]));
	return keep_scratch(m);
}

static struct slice keep_joined(struct making *m, struct slice a, struct slice b)
{
	buf_add(&m->scratch, a);
	buf_add(&m->scratch, b);
	return keep_scratch(m);
}

static struct slice keep_path(struct making *m, struct slice domain, struct slice mailbox)
{
	buf_add(&m->scratch, domain);
	buf_add_char(&m->scratch, '/');
	directory_path_part(mailbox, &m->scratch);
	return keep_scratch(m);
}

/* The canonical form of a domain name; empty when it is none. */
static struct slice keep_canonical(struct making *m, struct slice name)
{
	if (name.n == 0 || name.p[0] == LITERAL_MARKER || !mail_domain_canonical(name, &m->scratch)) {
		buf_reset(&m->scratch);
		return SLICE_NONE;
	}
	return keep_scratch(m);
}

static int by_mailbox(const void *a, const void *b)
{
	return slice_compare(((const struct mailbox *)a)->name, ((const struct mailbox *)b)->name);
}

static int by_domain(const void *a, const void *b)
{
	return slice_compare(((const struct domain *)a)->name, ((const struct domain *)b)->name);
}

static const struct mailbox *find_mailbox(const struct domain *domain, struct slice lower)
{
	struct mailbox key = {.name = lower};

	return domain->count ? bsearch(&key, domain->mailboxes, domain->count, sizeof key, by_mailbox) : NULL;
}

static const struct domain *find_domain(const struct directory *d, struct slice name)
{
	struct domain key = {.name = name};

	return d->count ? bsearch(&key, d->domains, d->count, sizeof key, by_domain) : NULL;
}

static struct directory_texts keep_texts(struct making *m, const struct directory_texts *texts)
{
	struct slice *list = take(m, texts->count, sizeof *list);

	if (!list)
		return (struct directory_texts){0};
	for (size_t i = 0; i < texts->count; i++)
		list[i] = keep(m, texts->list[i]);
	return (struct directory_texts){list, texts->count};
}

static void make_mailbox(struct making *m, struct mailbox *mailbox, struct slice domain,
			 const struct directory_mailbox_config *config)
{
	const char *why;

	if (!directory_name_valid(config->name, &why)) {
		wrong(m, "\"%.*s\" is no name for a mailbox", SLICE_ARGS(config->name));
		return;
	}
	*mailbox = (struct mailbox){
		.name = keep_lower(m, config->name),
		.state = config->state,
		.path = keep_path(m, domain, config->name),
		.moved_to = keep(m, config->moved_to),
		.message_max = config->message_max,
		.forward = config->forward,
		.disclose = config->disclose,
		.members = keep_texts(m, &config->members),
		.senders = keep_texts(m, &config->senders),
		.post = config->post,
	};
}

static void make_mailboxes(struct making *m, struct domain *domain, const struct directory_domain_config *config)
{
	domain->mailboxes = take(m, config->mailbox_count, sizeof *domain->mailboxes);
	for (size_t i = 0; !m->why && i < config->mailbox_count; i++)
		make_mailbox(m, &domain->mailboxes[i], domain->name, &config->mailboxes[i]);
	if (m->why)
		return;
	domain->count = config->mailbox_count;
	if (domain->count)
		qsort(domain->mailboxes, domain->count, sizeof *domain->mailboxes, by_mailbox);
	for (size_t i = 1; i < domain->count; i++)
		if (by_mailbox(&domain->mailboxes[i - 1], &domain->mailboxes[i]) == 0)
			wrong(m, "the mailbox \"%.*s\" is named twice in one domain",
			      SLICE_ARGS(domain->mailboxes[i].name));
}

static void make_catch_all(struct making *m, struct domain *domain, struct slice name)
{
	if (m->why || name.n == 0)
		return;
	struct slice lower = keep_lower(m, name);
	domain->catch_all = find_mailbox(domain, lower);
	if (!domain->catch_all || domain->catch_all->state != DIRECTORY_ACTIVE)
		wrong(m, "catch_all names \"%.*s\", which is no mailbox of the domain", SLICE_ARGS(name));
}

static void make_domain(struct making *m, struct domain *domain, const struct directory_domain_config *config)
{
	struct slice kind = config->delivery == DIRECTORY_LMTP ? SLICE("lmtp/") : SLICE("local/");

	domain->name = keep_canonical(m, config->name);
	if (domain->name.n == 0) {
		wrong(m, "\"%.*s\" is no domain name", SLICE_ARGS(config->name));
		return;
	}
	domain->delivery = config->delivery;
	domain->accept_all = config->accept_all && config->delivery == DIRECTORY_LMTP;
	domain->message_max = config->message_max;
	domain->site = keep_joined(m, kind, domain->name);
	make_mailboxes(m, domain, config);
	make_catch_all(m, domain, config->catch_all);
}

static void found(const struct domain *domain, const struct mailbox *mailbox, struct directory_entry *ret)
{
	static const enum directory_result results[] = {
		[DIRECTORY_ACTIVE] = DIRECTORY_FOUND,
		[DIRECTORY_PAUSED] = DIRECTORY_SUSPENDED,
		[DIRECTORY_SWITCHED_OFF] = DIRECTORY_DISABLED,
		[DIRECTORY_GONE] = DIRECTORY_MOVED,
		[DIRECTORY_GROUP] = DIRECTORY_LIST,
	};

	*ret = (struct directory_entry){
		.result = mailbox->forward ? DIRECTORY_FORWARDED : results[mailbox->state],
		.delivery = domain->delivery,
		.domain = domain->name,
		.site = domain->site,
		.mailbox = domain->delivery == DIRECTORY_MAILDIR ? mailbox->path : SLICE_NONE,
		.moved_to = mailbox->moved_to,
		.message_max = mailbox->message_max,
		.disclose = mailbox->disclose,
		.members = mailbox->members,
		.senders = mailbox->senders,
		.post = mailbox->post,
		.targets = mailbox->targets,
		.keys = mailbox->keys,
	};
}

/* The Maildir "postmaster" of a domain, or of the host when there is no domain. */
static void postmaster_maildir(struct making *m, struct slice domain, struct directory_entry *ret)
{
	*ret = (struct directory_entry){
		.result = DIRECTORY_FOUND,
		.delivery = DIRECTORY_MAILDIR,
		.domain = domain,
		.site = keep_joined(m, SLICE("local/"), domain),
		.mailbox = keep_path(m, domain, POSTMASTER),
	};
}

/* The mailbox that `postmaster = ...` names. */
static bool postmaster_configured(struct making *m, struct slice address, struct directory_entry *ret)
{
	struct mail_address parsed;
	const char *why;

	if (mail_address_parse(address, &parsed, &why) == MAIL_ADDRESS_OK)
		directory_find(m->d, &parsed, ret);
	if (ret->result == DIRECTORY_FOUND)
		return true;
	wrong(m, "postmaster is \"%.*s\", which is no mailbox here", SLICE_ARGS(address));
	return false;
}

static void make_postmaster(struct making *m, const struct directory_config *config)
{
	struct directory *d = m->d;
	struct directory_entry configured = {.result = DIRECTORY_NOT_OURS};
	struct slice home = d->first.n ? d->first : SLICE("localhost");

	for (size_t i = 0; i < d->count; i++)
		postmaster_maildir(m, d->domains[i].name, &d->domains[i].postmaster);
	if (m->why)
		return;
	if (config->postmaster.n && postmaster_configured(m, config->postmaster, &configured)) {
		for (size_t i = 0; i < d->count; i++)
			d->domains[i].postmaster = configured;
		d->postmaster = configured;
	} else if (d->count) {
		directory_find_plain(d, home, POSTMASTER, &d->postmaster);
		assert(d->postmaster.result == DIRECTORY_FOUND);
	} else {
		postmaster_maildir(m, home, &d->postmaster);
	}
}

static void make_domains(struct making *m, const struct directory_config *config)
{
	struct directory *d = m->d;

	d->domains = take(m, config->domain_count, sizeof *d->domains);
	for (size_t i = 0; !m->why && i < config->domain_count; i++)
		make_domain(m, &d->domains[i], &config->domains[i]);
	if (m->why)
		return;
	d->count = config->domain_count;
	d->first = d->count ? d->domains[0].name : d->hostname;
	if (d->count)
		qsort(d->domains, d->count, sizeof *d->domains, by_domain);
	for (size_t i = 1; i < d->count; i++)
		if (by_domain(&d->domains[i - 1], &d->domains[i]) == 0)
			wrong(m, "the domain \"%.*s\" is there twice", SLICE_ARGS(d->domains[i].name));
}

/* RFC 5321 4.5.1: postmaster must be reachable, so no domain may have one that is not. */
static void check_postmasters(struct making *m)
{
	for (size_t i = 0; !m->why && i < m->d->count; i++) {
		const struct mailbox *mailbox = find_mailbox(&m->d->domains[i], POSTMASTER);

		if (mailbox && mailbox->state != DIRECTORY_ACTIVE)
			wrong(m, "the mailbox postmaster of \"%.*s\" must not be suspended, disabled, moved or a list",
			      SLICE_ARGS(m->d->domains[i].name));
	}
}

/* ---- what an address stands for in the end --------------------------------------------------------------------------
 */

/* One expansion under way. */
struct expansion {
	struct making *m;
	const struct mailbox *path[DIRECTORY_DEPTH_MAX]; /* from the first address down to the one at work */
	struct slice *found; /* DIRECTORY_TARGETS_MAX places, sorted and without repetition only at the end */
	size_t count;
};

static const struct mailbox *find_local(const struct directory *d, const struct domain *domain, struct slice lower);

/* The mailbox of ours that has this address and stands for others; NULL when there is none. */
static struct mailbox *find_expanding(const struct directory *d, struct slice address)
{
	char room[MAIL_DOMAIN_MAX + MAIL_PATH_MAX];
	struct buf text = {.p = room, .cap = sizeof room, .max = sizeof room};
	struct mail_address parsed;
	const char *why;

	if (mail_address_parse(address, &parsed, &why) != MAIL_ADDRESS_OK ||
	    !mail_domain_canonical(parsed.domain, &text))
		return NULL;
	const struct domain *domain = find_domain(d, buf_slice(&text));
	size_t n = buf_len(&text);
	if (!domain || !mail_local_plain(parsed.local, &text))
		return NULL;
	for (size_t i = n; i < buf_len(&text); i++)
		room[i] = ascii_lower(room[i]);
	const struct mailbox *mailbox = find_local(d, domain, slice_skip(buf_slice(&text), n));
	if (!mailbox || !(mailbox->forward || mailbox->state == DIRECTORY_GROUP))
		return NULL;
	return &domain->mailboxes[mailbox - domain->mailboxes];
}

static void add_target(struct expansion *x, struct slice address)
{
	if (x->count == DIRECTORY_TARGETS_MAX)
		wrong(x->m, "\"%.*s\" stands for more than %d addresses", SLICE_ARGS(x->path[0]->path),
		      DIRECTORY_TARGETS_MAX);
	else
		x->found[x->count++] = address;
}

/* Adds what `mailbox` stands for; `depth` counts those above it. */
static void expand(struct expansion *x, const struct mailbox *mailbox, size_t depth)
{
	struct directory_texts one = {&mailbox->moved_to, 1};
	const struct directory_texts *next = mailbox->forward ? &one : &mailbox->members;

	for (size_t i = 0; i < depth; i++)
		if (x->path[i] == mailbox) {
			wrong(x->m, "\"%.*s\" comes back to itself, by way of others or at once",
			      SLICE_ARGS(mailbox->path));
			return;
		}
	if (depth == DIRECTORY_DEPTH_MAX) {
		wrong(x->m, "\"%.*s\" stands for addresses that stand for others, more than %d times over",
		      SLICE_ARGS(x->path[0]->path), DIRECTORY_DEPTH_MAX);
		return;
	}
	x->path[depth] = mailbox;
	for (size_t i = 0; !x->m->why && i < next->count; i++) {
		const struct mailbox *deeper = find_expanding(x->m->d, next->list[i]);

		if (deeper)
			expand(x, deeper, depth + 1);
		else
			add_target(x, next->list[i]);
	}
}

static int by_text(const void *a, const void *b)
{
	return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* The form in which a list's addresses are compared with a sender. */
static bool add_key(const struct mail_address *address, struct buf *out)
{
	size_t begin = buf_len(out);

	if (address->kind == MAIL_DOMAIN_NONE || !mail_local_plain(address->local, out))
		return false;
	for (char *p = out->p + out->start + begin; p < out->p + out->start + buf_len(out); p++)
		*p = ascii_lower(*p);
	return buf_add_char(out, '@') && mail_domain_canonical(address->domain, out);
}

static void keep_keys(struct making *m, struct mailbox *mailbox)
{
	struct slice *list = take(m, mailbox->targets.count, sizeof *list);

	for (size_t i = 0; list && !m->why && i < mailbox->targets.count; i++) {
		struct mail_address address;
		const char *why;

		if (mail_address_parse(mailbox->targets.list[i], &address, &why) != MAIL_ADDRESS_OK ||
		    !add_key(&address, &m->scratch))
			wrong(m, "\"%.*s\" is no mail address", SLICE_ARGS(mailbox->targets.list[i]));
		list[i] = keep_scratch(m);
	}
	if (m->why)
		return;
	if (mailbox->targets.count)
		qsort(list, mailbox->targets.count, sizeof *list, by_text);
	mailbox->keys = (struct directory_texts){list, mailbox->targets.count};
}

static void keep_targets(struct expansion *x, struct mailbox *mailbox)
{
	struct slice *list = take(x->m, x->count, sizeof *list);
	size_t n = 0;

	if (!list)
		return;
	if (x->count)
		qsort(x->found, x->count, sizeof *x->found, by_text);
	for (size_t i = 0; i < x->count; i++)
		if (n == 0 || !slice_eq(list[n - 1], x->found[i]))
			list[n++] = x->found[i];
	mailbox->targets = (struct directory_texts){list, n};
	keep_keys(x->m, mailbox);
}

static void make_targets(struct making *m)
{
	struct expansion x = {.m = m, .found = heap_alloc(DIRECTORY_TARGETS_MAX * sizeof *x.found)};

	if (!x.found)
		wrong(m, "there is no memory");
	for (size_t i = 0; i < m->d->count; i++)
		for (size_t j = 0; j < m->d->domains[i].count && !m->why; j++) {
			struct mailbox *mailbox = &m->d->domains[i].mailboxes[j];

			if (!mailbox->forward && mailbox->state != DIRECTORY_GROUP)
				continue;
			x.count = 0;
			expand(&x, mailbox, 0);
			if (!m->why)
				keep_targets(&x, mailbox);
		}
	heap_free(x.found);
}

/* The lowest limit of what a list or a forwarded mailbox stands for. */
static uint64_t limit_of_targets(const struct directory *d, const struct directory_texts *targets)
{
	uint64_t least = 0;

	for (size_t i = 0; i < targets->count; i++) {
		struct mail_address address;
		struct directory_entry entry;
		const char *why;

		if (mail_address_parse(targets->list[i], &address, &why) != MAIL_ADDRESS_OK)
			continue;
		directory_find(d, &address, &entry);
		if (entry.message_max && (least == 0 || entry.message_max < least))
			least = entry.message_max;
	}
	return least;
}

static bool has_limits(const struct directory *d)
{
	for (size_t i = 0; i < d->count; i++) {
		if (d->domains[i].message_max)
			return true;
		for (size_t j = 0; j < d->domains[i].count; j++)
			if (d->domains[i].mailboxes[j].message_max)
				return true;
	}
	return false;
}

static void make_limits(struct directory *d)
{
	if (!has_limits(d))
		return;
	for (size_t i = 0; i < d->count; i++)
		for (size_t j = 0; j < d->domains[i].count; j++) {
			struct mailbox *mailbox = &d->domains[i].mailboxes[j];

			if (mailbox->targets.count)
				mailbox->message_max = limit_of_targets(d, &mailbox->targets);
		}
}

struct directory *directory_new(const struct directory_config *config, struct arena *a, const char **why)
{
	struct making m = {.a = a};

	buf_init(&m.scratch, 2 * MAIL_PATH_MAX + PATH_PART_MAX + 64);
	m.d = take(&m, 1, sizeof *m.d);
	if (m.d) {
		m.d->delimiter = config->delimiter;
		m.d->hostname = keep_canonical(&m, config->hostname);
		m.d->literals = take(&m, config->literal_count, sizeof *m.d->literals);
	}
	if (!m.why) {
		if (config->literal_count)
			memcpy(m.d->literals, config->literals, config->literal_count * sizeof *config->literals);
		m.d->literal_count = config->literal_count;
		make_domains(&m, config);
		check_postmasters(&m);
		if (!m.why)
			make_targets(&m);
		make_postmaster(&m, config);
		if (!m.why)
			make_limits(m.d);
	}
	buf_free(&m.scratch);
	*why = m.why;
	return m.why ? NULL : m.d;
}

/* ---- asking ---------------------------------------------------------------------------------------------------------
 */

static bool is_our_literal(const struct directory *d, struct slice domain)
{
	struct ip_address a;

	if (domain.n == 0 || domain.p[0] != LITERAL_MARKER || !ip_parse(domain, &a))
		return false;
	for (size_t i = 0; i < d->literal_count; i++)
		if (ip_eq(&d->literals[i], &a))
			return true;
	return false;
}

/* The local part whole, then without its sub-address. */
static const struct mailbox *find_local(const struct directory *d, const struct domain *domain, struct slice lower)
{
	const struct mailbox *mailbox = find_mailbox(domain, lower);
	size_t at = d->delimiter ? slice_find(lower, d->delimiter) : lower.n;

	if (!mailbox && at > 0 && at < lower.n)
		mailbox = find_mailbox(domain, slice_head(lower, at));
	return mailbox;
}

static bool is_postmaster(const struct directory *d, struct slice lower)
{
	size_t at = d->delimiter ? slice_find(lower, d->delimiter) : lower.n;

	return slice_eq(slice_head(lower, at), POSTMASTER);
}

static void find_in(const struct directory *d, const struct domain *domain, struct slice lower,
		    struct directory_entry *ret)
{
	const struct mailbox *mailbox = find_local(d, domain, lower);

	if (mailbox)
		found(domain, mailbox, ret);
	else if (domain->accept_all)
		*ret = (struct directory_entry){.result = DIRECTORY_FOUND,
						.delivery = DIRECTORY_LMTP,
						.domain = domain->name,
						.site = domain->site,
						.message_max = domain->message_max};
	else if (is_postmaster(d, lower))
		*ret = domain->postmaster;
	else if (domain->catch_all)
		found(domain, domain->catch_all, ret);
	else
		*ret = (struct directory_entry){.result = DIRECTORY_UNKNOWN, .domain = domain->name};
}

void directory_find_plain(const struct directory *d, struct slice domain_name, struct slice local,
			  struct directory_entry *ret)
{
	const struct domain *domain = find_domain(d, domain_name);
	char lower[MAIL_LOCAL_MAX];
	struct slice name;

	*ret = (struct directory_entry){.result = DIRECTORY_NOT_OURS};
	bool literal = !domain && is_our_literal(d, domain_name);
	bool host = !domain && (domain_name.n == 0 || slice_eq(domain_name, d->hostname));
	if (!domain && !literal && !host)
		return;
	if (domain || literal)
		*ret = (struct directory_entry){.result = DIRECTORY_UNKNOWN,
						.domain = domain ? domain->name : d->first};
	if (local.n > sizeof lower)
		return;

	for (size_t i = 0; i < local.n; i++)
		lower[i] = ascii_lower(local.p[i]);
	name = slice_of(lower, local.n);
	if (domain)
		find_in(d, domain, name, ret);
	else if (is_postmaster(d, name))
		*ret = d->postmaster;
}

void directory_find(const struct directory *d, const struct mail_address *address, struct directory_entry *ret)
{
	/* A buf in place: it is as large as its maximum, so it never asks for memory, and an answer never depends on
	 * it. */
	char room[MAIL_DOMAIN_MAX + MAIL_PATH_MAX];
	struct buf text = {.p = room, .cap = sizeof room, .max = sizeof room};

	*ret = (struct directory_entry){.result = DIRECTORY_NOT_OURS};
	if (address->kind != MAIL_DOMAIN_NONE && !mail_domain_canonical(address->domain, &text))
		return;
	size_t domain_length = buf_len(&text);
	if (!mail_local_plain(address->local, &text))
		return;
	struct slice both = buf_slice(&text);
	directory_find_plain(d, slice_head(both, domain_length), slice_skip(both, domain_length), ret);
}

bool directory_list_has(const struct directory_entry *entry, const struct mail_address *address)
{
	char room[MAIL_DOMAIN_MAX + MAIL_PATH_MAX];
	struct buf text = {.p = room, .cap = sizeof room, .max = sizeof room};

	if (!entry->keys.count || !add_key(address, &text))
		return false;
	struct slice key = buf_slice(&text);
	return bsearch(&key, entry->keys.list, entry->keys.count, sizeof key, by_text) != NULL;
}

size_t directory_domains_with(const struct directory *d, struct slice local, struct slice *ret, size_t max)
{
	char lower[MAIL_LOCAL_MAX];
	size_t n = 0;

	if (local.n > sizeof lower)
		return 0;
	for (size_t i = 0; i < local.n; i++)
		lower[i] = ascii_lower(local.p[i]);
	for (size_t i = 0; i < d->count; i++)
		if (find_mailbox(&d->domains[i], slice_of(lower, local.n))) {
			if (n < max)
				ret[n] = d->domains[i].name;
			n++;
		}
	return n;
}

size_t directory_domain_count(const struct directory *d)
{
	return d->count;
}

struct slice directory_first_domain(const struct directory *d)
{
	return d->first;
}
