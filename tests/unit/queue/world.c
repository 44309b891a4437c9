#include "world.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Texts of routes belong to the configuration: here they live as long as the process. */
static struct slice intern(struct slice s)
{
	static struct text {
		struct text *next;
		size_t n;
		char p[];
	} * texts;

	for (struct text *t = texts; t; t = t->next)
		if (slice_eq(s, slice_of(t->p, t->n)))
			return slice_of(t->p, t->n);
	struct text *t = malloc(sizeof *t + s.n + 1);
	assert(t);
	memcpy(t->p, s.p, s.n);
	t->n = s.n;
	t->next = texts;
	texts = t;
	return slice_of(t->p, t->n);
}

static void route(const void *arg, struct slice address, struct route *ret)
{
	struct slice domain = slice_skip(address, slice_rfind(address, '@') + 1);

	(void)arg;
	*ret = (struct route){.kind = ROUTE_SMTP, .site = intern(domain)};
	if (slice_ieq(domain, SLICE("local.test"))) {
		bool known = !slice_istarts(address, SLICE("nobody@"));
		*ret = (struct route){.kind = known ? ROUTE_MAILBOX : ROUTE_UNKNOWN_MAILBOX,
				      .site = SLICE("local/local.test"),
				      .mailbox = known ? SLICE("local.test/box") : SLICE_NONE};
	} else if (slice_ieq(domain, SLICE("lmtp.test"))) {
		*ret = (struct route){.kind = ROUTE_LMTP, .site = SLICE("lmtp/lmtp.test"), .hosts = SLICE("lmtp")};
	} else if (slice_ieq(domain, SLICE("held.test"))) {
		ret->hold = true;
	} else if (slice_iends(domain, SLICE("none.test"))) {
		*ret = (struct route){.kind = ROUTE_NONE};
	}
}

static size_t expand(const void *arg, struct slice address, const struct slice **ret)
{
	static const struct slice team[] = {{"ann@local.test", 14}, {"ben@one.test", 12}};

	(void)arg;
	*ret = team;
	return slice_ieq(address, SLICE("team@local.test")) ? 2 : 0;
}

static const struct queue_config standard = {
	.retry = {.first = 5 * MINUTE,
		  .longest = 4 * HOUR,
		  .warn = 4 * HOUR,
		  .lifetime = 5 * DAY,
		  .growth_percent = 200},
	.router = {.route = route, .expand = expand},
	.name = {"mx.local.test", 13},
	.postmaster = {"postmaster@local.test", 21},
	.window_rcpts = 1000,
	.window_octets = 1 << 20,
	.site_connections = 5,
	.site_connections_max = 20,
	.jobs_per_connection = 2,
	.job_rcpts_max = 100,
	.courier_jobs_max = 1000,
	.courier_connections_max = 500,
	.report_full_max = 1000,
	.report_success = true,
	.retention = 7 * DAY,
};

static uint64_t next_random(struct world *w)
{
	w->times.random = w->times.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return w->times.random;
}

void world_engine_up(struct world *w)
{
	w->e = queue_engine_new(&w->config, w->store, w->times);
	assert(w->e);
	queue_engine_courier_up(w->e, 1, QUEUE_COURIER_SENDER);
	queue_engine_courier_up(w->e, 2, QUEUE_COURIER_MAILBOX);
}

static struct world *make(struct mem_store *mem, struct store *store)
{
	struct world *w = calloc(1, sizeof *w);

	assert(w);
	w->mem = mem;
	w->store = store;
	w->config = standard;
	w->times = (struct queue_times){.mono = 1000, .wall = WORLD_WALL, .random = 42};
	world_engine_up(w);
	return w;
}

struct world *world_new(void)
{
	struct mem_store *mem = mem_store_new();

	return make(mem, mem_store_of(mem));
}

struct world *world_new_on(struct store *store)
{
	return make(NULL, store);
}

void world_free(struct world *w)
{
	queue_engine_free(w->e, w->times);
	if (w->mem)
		mem_store_free(w->mem);
	free(w->jobs);
	free(w->answers);
	free(w->events);
	free(w);
}

void world_crash(struct world *w)
{
	queue_ms now = queue_engine_now(w->e);

	/* Its memory goes; what it writes on its way out meets a store that takes nothing. */
	mem_store_fail(w->mem, MEM_COMMIT, STORE_IO, 0, 1000000);
	mem_store_fail(w->mem, MEM_REOPEN, STORE_IO, 0, 1000000);
	queue_engine_free(w->e, w->times);
	mem_store_fail(w->mem, MEM_COMMIT, STORE_OK, 0, 0);
	mem_store_fail(w->mem, MEM_REOPEN, STORE_OK, 0, 0);
	mem_store_crash(w->mem, now);
	for (size_t i = 0; i < w->job_n; i++)
		w->jobs[i].done = true;
	world_engine_up(w);
}

mono_ms world_now(const struct world *w)
{
	return w->times.mono;
}

#define BODY "From: a@b.test\r\nSubject: hello\r\n\r\nThe body.\r\n"

size_t world_words(char *text, size_t size, size_t at, const char *format, ...)
{
	va_list args;

	assert(at < size);
	va_start(args, format);
	int n = vsnprintf(text + at, size - at, format, args);
	va_end(args);
	assert(n >= 0 && (size_t)n < size - at);
	return at + (size_t)n;
}

/* ---- messages in ---------------------------------------------------------------------------------------------- */

static bool try_put(struct world *w, msg_id id, const char *sender, const char *rcpts, enum mail_ret ret,
		    const char *body, unsigned content)
{
	struct mail_rcpt *rcpt = calloc(strlen(rcpts) + 1, sizeof *rcpt);
	struct mail_envelope envelope = {.sender = slice_from_cstr(sender), .ret = ret, .rcpt = rcpt};
	struct slice rest = slice_from_cstr(rcpts);

	assert(rcpt);
	while (rest.p) {
		struct slice word = slice_split(&rest, ' ');
		size_t slash = slice_find(word, '/');
		struct mail_rcpt *r = &rcpt[envelope.rcpt_count++];
		r->address = slice_head(word, slash);
		if (slash < word.n)
			r->notify = (uint8_t)strtoul(word.p + slash + 1, NULL, 10);
	}
	struct queue_put put = {
		.id = id,
		.envelope = &envelope,
		.origin = {.client = SLICE("192.0.2.1"), .helo = SLICE("client"), .protocol = SLICE("ESMTP")},
		.size = strlen(body),
		.content = content,
		.body = slice_from_cstr(body),
	};
	queue_engine_wake(w->e, w->times);
	bool taken = queue_engine_put(w->e, id, &put);
	free(rcpt);
	return taken;
}

void world_put_as(struct world *w, msg_id id, const char *sender, const char *rcpts, enum mail_ret ret,
		  const char *body)
{
	assert(try_put(w, id, sender, rcpts, ret, body, 0));
}

void world_put_content(struct world *w, msg_id id, const char *sender, const char *rcpts, unsigned content,
		       const char *body)
{
	assert(try_put(w, id, sender, rcpts, MAIL_RET_FULL, body, content));
}

bool world_try_put(struct world *w, msg_id id, const char *sender, const char *rcpts)
{
	return try_put(w, id, sender, rcpts, MAIL_RET_NONE, BODY, 0);
}

void world_put(struct world *w, msg_id id, const char *sender, const char *rcpts)
{
	world_put_as(w, id, sender, rcpts, MAIL_RET_NONE, BODY);
}

/* ---- turns ---------------------------------------------------------------------------------------------------- */

static void copy(char *to, size_t cap, struct slice s)
{
	snprintf(to, cap, "%.*s", SLICE_ARGS(s));
}

#define GROW(array, n, cap)                                                  \
	do {                                                                 \
		if ((n) == (cap)) {                                          \
			(cap) = (cap) ? (cap)*2 : 16;                        \
			(array) = realloc((array), (cap) * sizeof *(array)); \
			assert(array);                                       \
		}                                                            \
	} while (0)

static void on_job(struct world *w, const struct queue_job *from)
{
	GROW(w->jobs, w->job_n, w->job_cap);
	struct world_job *job = &w->jobs[w->job_n++];

	memset(job, 0, sizeof *job);
	assert(from->job != 0);
	assert(from->envelope.rcpt_count <= 256);
	job->job = from->job;
	job->courier = from->courier;
	job->id = from->id;
	job->kind = from->route.kind;
	job->connections = from->connections;
	job->silent = from->silent;
	job->content = from->content;
	job->count = from->envelope.rcpt_count;
	job->body_n = from->body.n;
	job->with_mailboxes = from->mailboxes != NULL;
	job->at = w->times.mono;
	copy(job->site, sizeof job->site, from->route.site);
	copy(job->sender, sizeof job->sender, from->envelope.sender);
	for (size_t i = 0; i < job->count; i++) {
		job->n[i] = from->n[i];
		copy(job->rcpt[i], sizeof job->rcpt[i], from->envelope.rcpt[i].address);
		assert(!from->mailboxes || slice_eq(from->mailboxes[i], SLICE("local.test/box")));
	}
	if (w->on_job)
		w->on_job(w, job);
}

void world_take(struct world *w, const struct queue_action *a)
{
	switch (a->type) {
	case QUEUE_ACTION_ANSWER:
		GROW(w->answers, w->answer_n, w->answer_cap);
		w->answers[w->answer_n++] = (struct world_answer){a->tag, a->result, w->times.mono};
		break;
	case QUEUE_ACTION_EVENT:
		GROW(w->events, w->event_n, w->event_cap);
		w->events[w->event_n] = (struct world_event){.event = a->event};
		copy(w->events[w->event_n].rcpt, 80, a->event.rcpt);
		copy(w->events[w->event_n++].text, 120, a->event.outcome.text);
		break;
	case QUEUE_ACTION_JOB:
		on_job(w, &a->job);
		break;
	}
}

void world_turn(struct world *w)
{
	struct queue_action a;

	next_random(w);
	w->turns++;
	queue_engine_turn(w->e, w->times);
	while (queue_engine_next(w->e, &a))
		world_take(w, &a);
}

static void tick(struct world *w, span_ms span)
{
	w->times.mono += span;
	w->times.wall += span;
}

void world_pass(struct world *w, span_ms span)
{
	mono_ms end = w->times.mono + span;
	unsigned busy = 0;

	for (;;) {
		mono_ms at = queue_engine_deadline(w->e);
		if (at > end)
			break;
		/* A deadline that is past is met at once, but an engine that always wants another turn is broken. */
		busy = at <= w->times.mono ? busy + 1 : 0;
		assert(busy < 10000);
		if (at > w->times.mono)
			tick(w, at - w->times.mono);
		world_turn(w);
	}
	tick(w, end - w->times.mono);
}

/* ---- outcomes ------------------------------------------------------------------------------------------------- */

static void parse(const char *words, struct queue_outcome *o)
{
	static const enum smtp_verdict verdicts[] = {[2] = SMTP_DELIVERED, [4] = SMTP_DEFERRED, [5] = SMTP_FAILED};
	unsigned code = 0, klass, subject, detail;
	int n = 0;

	o->site_failed = words[0] == '!';
	words += o->site_failed;
	if (words[0] == '!') {
		o->took = 30 * SECOND;
		words++;
	}
	o->outcome.ambiguous = words[0] == '?';
	words += o->outcome.ambiguous;
	o->outcome.dsn_relayed = words[0] == '+';
	words += o->outcome.dsn_relayed;
	o->outcome.lossy = words[0] == '~';
	words += o->outcome.lossy;
	if (words[1] != '.')
		assert(sscanf(words, "%u %n", &code, &n) == 1);
	words += n;
	assert(sscanf(words, "%u.%u.%u %n", &klass, &subject, &detail, &n) == 3);
	o->outcome.code = code;
	o->outcome.verdict = verdicts[klass];
	o->outcome.stage = o->site_failed         ? SMTP_STAGE_CONNECT
			   : o->outcome.ambiguous ? SMTP_STAGE_END
						  : SMTP_STAGE_RCPT;
	o->outcome.status = (struct smtpcodes_status){(uint8_t)klass, (uint16_t)subject, (uint16_t)detail};
	o->outcome.text = slice_from_cstr(words + n);
}

void world_meet(struct world *w, const char *rcpts)
{
	static msg_id id = (msg_id)1 << 40;
	size_t jobs = w->job_n, events = w->event_n, answers = w->answer_n;
	struct world_job *job;

	world_put(w, ++id, "first@met.test", rcpts);
	world_turn(w);
	while ((job = world_job_of(w, id)) != NULL)
		world_finish(w, job, "250 2.0.0 ok");
	world_turn(w);
	w->job_n = jobs;
	w->event_n = events;
	w->answer_n = answers;
}

void world_outcome(struct world *w, const struct world_job *job, size_t index, const char *words)
{
	struct queue_outcome o = {.id = job->id,
				  .n = job->n[index],
				  .job = job->job,
				  .remote = SLICE("mx.example.net [192.0.2.25]:25"),
				  .took = 10};

	parse(words, &o);
	queue_engine_wake(w->e, w->times);
	queue_engine_outcome(w->e, job->courier, &o);
}

void world_finish(struct world *w, struct world_job *job, const char *words)
{
	assert(!job->done);
	job->done = true;
	for (size_t i = 0; i < job->count; i++)
		world_outcome(w, job, i, words);
	queue_engine_job_done(w->e, job->courier, job->job);
}

struct world_job *world_open_job(struct world *w)
{
	for (size_t i = w->job_n; i-- > 0;)
		if (!w->jobs[i].done)
			return &w->jobs[i];
	return NULL;
}

size_t world_open_jobs(struct world *w)
{
	size_t count = 0;

	for (size_t i = 0; i < w->job_n; i++)
		count += !w->jobs[i].done;
	return count;
}

struct world_job *world_job_of(struct world *w, msg_id id)
{
	for (size_t i = w->job_n; i-- > 0;)
		if (w->jobs[i].id == id && !w->jobs[i].done)
			return &w->jobs[i];
	return NULL;
}

/* ---- looking -------------------------------------------------------------------------------------------------- */

bool world_answered(const struct world *w, uint64_t tag, enum store_result *ret)
{
	size_t found = 0;

	for (size_t i = 0; i < w->answer_n; i++) {
		if (w->answers[i].tag != tag)
			continue;
		*ret = w->answers[i].result;
		found++;
	}
	assert(found <= 1);
	return found == 1;
}

size_t world_count_events(const struct world *w, enum queue_event_type type)
{
	size_t count = 0;

	for (size_t i = 0; i < w->event_n; i++)
		count += w->events[i].event.type == type;
	return count;
}

struct mem_rcpt *world_rcpt(struct world *w, msg_id id, uint32_t n)
{
	struct mem_message *m = mem_store_message(w->mem, id);

	assert(m);
	assert(n < m->row.rcpt_count);
	return &m->rcpt[n];
}

struct mem_message *world_report(struct world *w, msg_id about, size_t index)
{
	struct mem_message *m;

	for (size_t i = 0; (m = mem_store_at(w->mem, i)) != NULL; i++)
		if (m->row.about == about && index-- == 0)
			return m;
	return NULL;
}

size_t world_reports(struct world *w, msg_id about)
{
	size_t count = 0;

	while (world_report(w, about, count))
		count++;
	return count;
}

bool world_report_says(const struct mem_message *report, const char *text)
{
	struct slice body = slice_of(report->body, report->body_n);

	return slice_search(body, slice_from_cstr(text)) < body.n;
}
