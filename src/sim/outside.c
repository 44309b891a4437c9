/*
 * What is left of the outside: net/log.h, net/host.h and net/resolver.h.
 */
#include "net/host.h"
#include "net/log.h"
#include "net/resolver.h"
#include "sim/ledger.h"
#include "sim/machine.h"

#include <assert.h>
#include <stdio.h>

/* ---- the log: lines of the trace --------------------------------------------------------------------------------- */

static const char *const event_names[] = {
#define LOG_EVENT(id, level, name, meaning) [id] = name,
#include "net/events.def"
#undef LOG_EVENT
};

const char *log_event_name(enum log_event_id event)
{
	return event_names[event];
}

void log_setup(const char *role, bool json, enum log_level least)
{
	(void)role;
	(void)json;
	(void)least;
}

void log_flush(void)
{
}

/* Octets outside of SP to '~' as \xHH, as in the real log. */
static size_t escape(char *out, size_t room, struct slice text)
{
	size_t n = 0;

	for (size_t i = 0; i < text.n && n + 5 < room; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c < 0x20 || c > 0x7e || c == '"' || c == '\\')
			n += (size_t)snprintf(out + n, room - n, "\\x%02x", c);
		else
			out[n++] = (char)c;
	}
	out[n] = '\0';
	return n;
}

bool log_escape(struct buf *out, struct slice text)
{
	return buf_add(out, text);
}

static const struct log_field *field(const struct log_field *fields, const char *key)
{
	for (const struct log_field *f = fields; f->type != LOG_FIELD_END; f++)
		if (slice_eq(slice_from_cstr(f->key), slice_from_cstr(key)))
			return f;
	return NULL;
}

static msg_id id_in(const struct log_field *f)
{
	msg_id id = 0;

	if (f)
		msg_id_parse(slice_from_cstr(f->id.text), &id);
	return id;
}

static void tell_ledger(enum log_event_id event, const struct log_field *fields)
{
	const struct log_field *status = field(fields, "status");

	if (event == LOG_FAILED) {
		ledger_failed(id_in(field(fields, "id")), field(fields, "to")->text,
			      status && status->status.klass == 4);
	} else if (event == LOG_DEFERRED) {
		sim_count(COUNT_DEFERRED);
		if (field(fields, "delay_ms"))
			ledger_deferred(id_in(field(fields, "id")), field(fields, "to")->text,
					field(fields, "delay_ms")->number);
	} else if (event == LOG_STORE_SUSPECT) {
		if (sim_plan.flip == 0)
			sim_fail("the database is taken for damaged, though nothing damaged it");
	} else if (event == LOG_STORE_CORRUPT) {
		ledger_damaged(id_in(field(fields, "id")));
	} else if (event == LOG_REPORT) {
		ledger_report(id_in(field(fields, "about")), field(fields, "to")->text);
	} else if (event == LOG_DELIVERED) {
		ledger_settled(id_in(field(fields, "id")), field(fields, "to")->text);
	} else if (event == LOG_BOUNCE_DROPPED) {
		ledger_bounce_dropped(id_in(field(fields, "id")));
	}
}

void log_write(enum log_event_id event, const struct log_field *fields)
{
	char line[900], value[300];
	size_t n = (size_t)snprintf(line, sizeof line, "%s", event_names[event]);
	struct sim_heap *heap = sim_heap_use(NULL);

	for (const struct log_field *f = fields; f->type != LOG_FIELD_END && n < sizeof line - 1; f++) {
		if (f->type == LOG_FIELD_NUMBER)
			snprintf(value, sizeof value, "%lld", (long long)f->number);
		else if (f->id.text[0])
			snprintf(value, sizeof value, "%s", f->id.text);
		else if (f->status.klass)
			value[smtpcodes_status_format(f->status, value)] = '\0';
		else if (escape(value, sizeof value, slice_head(f->text, 100)) == 0)
			continue;
		int more = snprintf(line + n, sizeof line - n, " %s=%s", f->key, value);
		n += (size_t)more;
	}
	sim_trace(machine_running(), "%s", line);
	tell_ledger(event, fields);
	sim_heap_use(heap);
}

/* ---- the host ---------------------------------------------------------------------------------------------------- */

bool host_name(struct buf *out)
{
	return buf_add_lit(out, "sim.example");
}

unsigned host_cores(void)
{
	return 1;
}

bool host_boot_id(struct buf *out)
{
	return buf_printf(out, "boot-%u", sim_boots());
}

mono_ms host_mono(void)
{
	return sim_mono();
}

wall_ms host_wall(void)
{
	return sim_wall();
}

uint64_t host_random(void)
{
	return sim_random();
}

/* ---- the resolver ------------------------------------------------------------------------------------------------ */

struct resolver {
	struct sim_object object; /* first */
	struct loop *loop;
	void (*answered)(void *arg, uint64_t tag, enum resolver_answer answer);
	void *arg;
	LIST_HEAD(, question) questions;
};

struct question {
	struct sim_ready ready; /* first */
	LIST_ENTRY(question) link;
	struct resolver *resolver; /* NULL: answered */
	uint64_t tag;
	enum resolver_answer answer;
};

static void forget_questions(struct resolver *r)
{
	struct question *q;

	while ((q = LIST_FIRST(&r->questions))) {
		LIST_REMOVE(q, link);
		kernel_unready(r->loop, &q->ready);
		q->resolver = NULL;
	}
}

static void drop_resolver(struct sim_object *o)
{
	forget_questions((struct resolver *)o);
}

struct resolver *resolver_new(struct loop *l, struct slice server,
			      void (*answered)(void *arg, uint64_t tag, enum resolver_answer answer), void *arg)
{
	(void)server;
	if (sim_memory_fails(sizeof(struct resolver)))
		return NULL;
	struct resolver *r = sim_alloc(sizeof *r);
	*r = (struct resolver){.object = {.drop = drop_resolver}, .loop = l, .answered = answered, .arg = arg};
	LIST_INIT(&r->questions);
	kernel_add(l, &r->object);
	return r;
}

void resolver_free(struct resolver *r)
{
	struct question *q;

	if (!r)
		return;
	LIST_FOREACH(q, &r->questions, link)
	r->answered(r->arg, q->tag, RESOLVER_FAILED);
	kernel_remove(&r->object);
	forget_questions(r);
}

static void on_answer(struct sim_ready *ready)
{
	struct question *q = (struct question *)ready;
	struct resolver *r = q->resolver;

	LIST_REMOVE(q, link);
	q->resolver = NULL;
	r->answered(r->arg, q->tag, q->answer);
}

static void answer_comes(void *arg, uint64_t number)
{
	struct question *q = arg;

	(void)number;
	if (q->resolver)
		kernel_ready(q->resolver->loop, &q->ready);
}

/* The answer comes later, and sometimes too late. */
static bool ask(struct resolver *r, enum resolver_answer answer, span_ms timeout, uint64_t tag)
{
	if (sim_memory_fails(sizeof(struct question)))
		return false;
	struct question *q = sim_alloc(sizeof *q);
	sim_us wait = sim_between(50, 20 * SIM_MS);

	*q = (struct question){.ready = {.run = on_answer}, .resolver = r, .tag = tag, .answer = answer};
	if (sim_chance(sim_plan.dns_slow))
		wait = timeout * SIM_MS;
	if (sim_chance(sim_plan.dns_fails) || wait >= timeout * SIM_MS) {
		q->answer = RESOLVER_FAILED;
		sim_count(COUNT_FAULT_DNS);
	}
	LIST_INSERT_HEAD(&r->questions, q, link);
	sim_in(wait, answer_comes, q, 0);
	return true;
}

bool resolver_ask_mx(struct resolver *r, struct slice domain, span_ms timeout, uint64_t tag)
{
	return ask(r, slice_starts(domain, SLICE("null.")) ? RESOLVER_NULL_MX : RESOLVER_OTHER, timeout, tag);
}

bool resolver_ask_reverse(struct resolver *r, const struct ip_address *address, span_ms timeout, uint64_t tag)
{
	(void)address;
	return ask(r, sim_chance(500000) ? RESOLVER_CONFIRMED : RESOLVER_UNCONFIRMED, timeout, tag);
}
