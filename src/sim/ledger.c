#include "sim/ledger.h"

#include "base/pack.h"
#include "role/wire.h"
#include "role/wire_auth.h"
#include "sim/disk.h"
#include "sim/machine.h"

#include <stdio.h>
#include <string.h>

#define BUCKETS        65536
#define SERIAL         SLICE("X-Sim-Serial: ")
#define MAIL           "/data/mail/"

/* Longer than any patience of a session. */
#define ERRAND_LONGEST (1200 * SIM_SECOND)

/* A recipient of a message in the queue. */
struct fate {
	struct copy *copy;
	struct slice address;
	bool promised; /* the client heard a 250 for it */
	unsigned deliveries;
	bool settled;         /* the queue says that the last delivery is on record: nothing explains another */
	uint64_t job;         /* the last one for it */
	unsigned given, back; /* jobs for it that went out, and outcomes that came */
	unsigned orphans;     /* jobs that the queue has given up and may still be done: it died, or lost the courier */
	enum sim_count orphan_cause;
	bool maildir;
	enum role_kind by;         /* who delivered */
	enum sim_count cause;      /* what would explain another delivery; 0: nothing yet */
	const struct sim_end *end; /* of the last delivery: see struct ledger_delivery */
	uint64_t reply_ends;
	bool refused;          /* a server of the world said 5yz */
	bool fail_told;        /* a courier told the queue so */
	bool failed, given_up; /* by the product's log */
	bool reported, warned;
	msg_id report;    /* the report that said so ... */
	msg_id warning;   /* ... and the one that it is late */
	bool known;       /* the queue has heard that it was delivered, and lives */
	sim_us not_again; /* no job for it before, by what the queue said of its last attempt */
	unsigned said_boots, said_lives;
	bool held_unsaid; /* the queue heard that its body is damaged, and may have held it without a word in the log */
	bool on_record;   /* ... it has it at the end */
	bool in_maildir;  /* found there at the end */
	bool waits;      /* as the schedule told it */
	struct fate *next_open;
	bool listed;
};

/* A message in the queue: one PUT, or a report of our own. */
struct copy {
	struct copy *next; /* in its bucket */
	struct copy *all;
	msg_id id;
	struct letter *letter;   /* NULL: a report */
	struct slice message_id; /* of a report */
	struct slice sender;
	sim_us put_at;
	unsigned boots, queue_lives;
	uint64_t syncs; /* of the log when the queue took it */
	bool taken, answered, promised, damaged, dropped, delivered;
	struct role_instance *receiver;
	unsigned receiver_life;
	uint64_t tag;
	size_t count;
	struct fate *fates;
};

struct letter {
	struct letter *all;
	struct letter *next; /* in its bucket */
	uint64_t serial;
	struct slice sender, octets;
	struct slice rcpt[LETTER_RCPTS];
	size_t count;
	bool never;
	unsigned accepted, unheard, seen; /* copies of each kind; seen: delivered to somebody */
};

/* A job that a courier has taken. */
struct errand {
	struct errand *next;
	struct role_instance *courier;
	uint64_t job;
	msg_id id;
	sim_us since;
	size_t open;    /* recipients whose outcome it has not sent */
	bool excused;   /* an outcome may be lost: its memory was out, or a channel closed before it went out */
	bool orphaned;  /* the queue that gave it is gone: it may be forgotten ... */
	bool delivered; /* ... if no server took the message */
};

static struct {
	struct copy *buckets[BUCKETS], *copies;
	struct letter *letters, *serials[BUCKETS];
	struct fate *open; /* delivered, and the outcome is not durable */
	struct errand *errands;
} ledger;

static struct copy *add_copy(msg_id id, const struct mail_envelope *e, struct letter *letter);

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static struct slice keep(struct slice s)
{
	char *p = sim_alloc(s.n + 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	return slice_of(p, s.n);
}

static struct copy *find_copy(msg_id id)
{
	for (struct copy *c = ledger.buckets[id % BUCKETS]; c; c = c->next)
		if (c->id == id)
			return c;
	return NULL;
}

static struct fate *find_fate(const struct copy *c, struct slice address)
{
	for (size_t i = 0; i < c->count; i++)
		if (slice_eq(c->fates[i].address, address))
			return &c->fates[i];
	return NULL;
}

static struct letter *find_letter(uint64_t serial)
{
	for (struct letter *l = ledger.serials[serial % BUCKETS]; l; l = l->next)
		if (l->serial == serial)
			return l;
	return NULL;
}

static const char *text_of(msg_id id)
{
	static struct msg_id_text text;

	text = msg_id_format(id);
	return text.text;
}

/* The number behind the field of ours; 0: none. */
static uint64_t serial_of(struct slice message)
{
	size_t at = slice_search(message, SERIAL);
	uint64_t serial;

	if (at == message.n)
		return 0;
	struct slice rest = slice_skip(message, at + SERIAL.n);
	rest = slice_head(rest, slice_find(rest, '\n'));
	return slice_u64(slice_trim(rest), UINT64_MAX, &serial) ? serial : 0;
}

msg_id ledger_id_of(struct slice message)
{
	msg_id id = 0;
	size_t at = slice_search(slice_head(message, 2000), SLICE(" id "));

	if (!slice_starts(message, SLICE("Received:")))
		return 0;
	if (at < message.n)
		msg_id_parse(slice_head(slice_skip(message, at + 4), MSG_ID_TEXT), &id);
	return id;
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

struct letter *ledger_letter(struct slice sender, const struct slice *rcpts, size_t count, bool never, uint64_t serial,
			     struct slice octets)
{
	struct letter *l = sim_alloc(sizeof *l);

	*l = (struct letter){.all = ledger.letters,
			     .next = ledger.serials[serial % BUCKETS],
			     .serial = serial,
			     .sender = keep(sender),
			     .octets = keep(octets),
			     .count = count,
			     .never = never};
	for (size_t i = 0; i < count; i++)
		l->rcpt[i] = keep(rcpts[i]);
	ledger.letters = ledger.serials[serial % BUCKETS] = l;
	return l;
}

void ledger_accepted(struct letter *l, msg_id id, unsigned rcpts)
{
	struct copy *c = find_copy(id);

	if (!c || c->letter != l) {
		sim_fail("a client heard a 250 with the id %s, under which its message was never put", text_of(id));
		return;
	}
	if (!c->answered) {
		sim_fail("a client heard a 250 with the id %s, which the queue never gave", text_of(id));
		return;
	}
	sim_trace("ledger", "message %llu is promised as %s", (unsigned long long)l->serial, text_of(id));
	l->accepted++;
	c->promised = true;
	sim_count(COUNT_ACCEPTED);
	for (size_t i = 0; i < l->count; i++) {
		if (!(rcpts & 1u << i))
			continue;
		struct fate *f = find_fate(c, l->rcpt[i]);
		if (!f) {
			sim_fail("%s was put without the recipient %.*s that had its 250", text_of(id),
				 SLICE_ARGS(l->rcpt[i]));
			return;
		}
		f->promised = true;
		sim_count(COUNT_ACCEPTED_RCPTS);
	}
	for (size_t i = 0; i < c->count; i++)
		if (!c->fates[i].promised)
			sim_fail("%s was put with the recipient %.*s that nobody asked for", text_of(id),
				 SLICE_ARGS(c->fates[i].address));
}

void ledger_unheard(struct letter *l)
{
	l->unheard++;
	sim_count(COUNT_UNHEARD);
}

/* One field's value in a part of a report. */
static struct slice field_in(struct slice part, struct slice name)
{
	size_t at = slice_isearch(part, name);

	if (at == part.n)
		return SLICE_NONE;
	part = slice_skip(part, at + name.n);
	return slice_trim(slice_head(part, slice_find(part, '\n')));
}

/* ---- copies ------------------------------------------------------------------------------------------------------ */

static struct copy *add_copy(msg_id id, const struct mail_envelope *e, struct letter *letter)
{
	struct copy *c = sim_alloc(sizeof *c);

	*c = (struct copy){.next = ledger.buckets[id % BUCKETS],
			   .all = ledger.copies,
			   .id = id,
			   .letter = letter,
			   .sender = keep(e->sender),
			   .put_at = sim_now(),
			   .boots = sim_boots(),
			   .queue_lives = machine_role(0)->life};
	ledger.buckets[id % BUCKETS] = ledger.copies = c;
	c->count = e->rcpt_count;
	c->fates = sim_alloc(c->count * sizeof *c->fates);
	for (size_t i = 0; i < c->count; i++)
		c->fates[i] = (struct fate){.copy = c, .address = keep(e->rcpt[i].address)};
	return c;
}

static struct slice spool_content(msg_id id)
{
	char path[64];

	snprintf(path, sizeof path, "/data/spool/%02X/%s", (unsigned)(id % 256), text_of(id));
	return disk_content(path);
}

static void put_sent(struct role_instance *receiver, struct slice payload)
{
	struct arena arena;
	struct queue_put put;
	uint64_t tag;

	arena_init(&arena, 16 << 20);
	if (!wire_get_message(payload, &arena, &tag, &put)) {
		sim_fail("%s sends a message that cannot be read", receiver->name);
	} else if (find_copy(put.id)) {
		sim_fail("the id %s is given twice", text_of(put.id));
	} else {
		struct slice body = put.body_in_file ? spool_content(put.id) : put.body;
		struct letter *l = find_letter(serial_of(body));
		if (l) {
			struct copy *c = add_copy(put.id, put.envelope, l);
			c->receiver = receiver;
			c->receiver_life = receiver->life;
			c->tag = tag;
		} else {
			sim_fail("%s puts a message that no client sent", receiver->name);
		}
	}
	arena_free(&arena);
}

static void put_taken(struct slice payload)
{
	struct unpack u = {.in = payload};

	unpack_u64(&u);
	struct copy *c = find_copy(unpack_u64(&u));
	if (c) {
		c->taken = true;
		c->syncs = disk_log_syncs();
	}
}

/* Nothing may be said, or shown, of a message that is not durable. */
static void needs_commit(const struct copy *c, const char *what)
{
	if (!c->taken || disk_log_syncs() <= c->syncs)
		sim_fail("%s of %s before the commit that holds it", what, text_of(c->id));
}

static void answer_sent(struct role_instance *to, struct slice payload)
{
	struct wire_answer answer;

	if (!wire_get_answer(payload, &answer) || answer.result != STORE_OK)
		return;
	for (const struct copy *c = ledger.copies; c; c = c->all)
		if (c->receiver == to && c->tag == answer.tag && c->taken) {
			needs_commit(c, "the answer");
			return;
		}
	sim_fail("%s is told that a message is stored that it never put", to->name);
}

/* The same one, the process that put it. */
static void answer_taken(struct role_instance *to, struct slice payload)
{
	struct wire_answer answer;

	if (!wire_get_answer(payload, &answer) || answer.result != STORE_OK)
		return;
	for (struct copy *c = ledger.copies; c; c = c->all)
		if (c->receiver == to && c->receiver_life == to->life && c->tag == answer.tag && c->taken) {
			c->answered = true;
			return;
		}
	sim_fail("%s hears that a message is stored that an earlier process put", to->name);
}

/* Slack of the queue's clock: after a boot the wall clock is believed for an hour, after any start a second is added.
 */
static sim_us clock_slack(unsigned boots, unsigned lives)
{
	return (sim_us)((sim_boots() - boots) * HOUR + (machine_role(0)->life - lives) * 2 * SECOND + SECOND) * SIM_MS;
}

/* A job for this recipient goes out. */
static void give(struct fate *f, uint64_t job)
{
	const char *why = f->known                                                               ? "was delivered"
			  : f->failed                                                            ? "failed"
			  : f->not_again > sim_now() + clock_slack(f->said_boots, f->said_lives) ? "is not due yet"
												 : NULL;

	f->given++;
	f->job = job;
	if (why)
		sim_fail("a job for %s to %.*s, of which the queue has said that it %s", text_of(f->copy->id),
			 SLICE_ARGS(f->address), why);
}

static void job_sent(struct slice payload)
{
	struct arena arena;
	struct queue_job job;

	arena_init(&arena, 16 << 20);
	if (!wire_get_job(payload, &arena, &job)) {
		sim_fail("the queue sends a job that cannot be read");
	} else {
		struct copy *c = find_copy(job.id);
		if (!c && job.envelope.sender.n > 0)
			sim_fail("a job for %s, which nobody put", text_of(job.id));
		else if (!c)
			c = add_copy(job.id, &job.envelope, NULL);
		else if (c->letter)
			needs_commit(c, "a job");
		if (c && !c->letter && c->message_id.n == 0)
			c->message_id = keep(
				field_in(job.body_in_file ? spool_content(job.id) : job.body, SLICE("Message-ID:")));
		for (size_t i = 0; c && i < job.envelope.rcpt_count; i++)
			if (job.n[i] >= c->count || !slice_eq(c->fates[job.n[i]].address, job.envelope.rcpt[i].address))
				sim_fail("a job for %s to %.*s, which is no recipient of it", text_of(job.id),
					 SLICE_ARGS(job.envelope.rcpt[i].address));
			else
				give(&c->fates[job.n[i]], job.job);
	}
	arena_free(&arena);
}

/* ---- couriers ---------------------------------------------------------------------------------------------------- */

static struct errand **find_errand(const struct role_instance *courier, uint64_t job)
{
	struct errand **at = &ledger.errands;

	while (*at && ((*at)->courier != courier || (*at)->job != job))
		at = &(*at)->next;
	return at;
}

static void end_errand(struct errand **at)
{
	struct errand *e = *at;

	if (!e)
		return;
	*at = e->next;
	sim_free(e);
}

static void job_taken(struct role_instance *courier, struct slice payload)
{
	struct arena arena;
	struct queue_job job;

	arena_init(&arena, 16 << 20);
	if (wire_get_job(payload, &arena, &job)) {
		struct errand *e = sim_alloc(sizeof *e);
		*e = (struct errand){.next = ledger.errands,
				     .courier = courier,
				     .job = job.job,
				     .id = job.id,
				     .since = sim_now(),
				     .open = job.envelope.rcpt_count};
		ledger.errands = e;
	}
	arena_free(&arena);
}

/* A courier says something of a job; `lost`: it would have, and the channel closed. */
static void courier_said(struct role_instance *courier, uint16_t type, struct slice payload, bool lost)
{
	struct queue_outcome o;
	struct errand *e = NULL;

	if (type == WIRE_OUTCOME && wire_get_outcome(payload, &o))
		e = *find_errand(courier, o.job);
	if (e && e->open > 0)
		e->open--;
	if (e)
		e->excused |= lost;
	bool given_back = type == WIRE_JOB_RETURNED || type == WIRE_JOB_DAMAGED;
	if ((type != WIRE_JOB_DONE && !given_back) || payload.n != 8)
		return;
	struct unpack u = {.in = payload};
	struct errand **at = find_errand(courier, unpack_u64(&u));
	if (*at && (given_back || (*at)->open == 0 || (*at)->excused))
		end_errand(at);
}

static void forget_errands(const struct role_instance *courier)
{
	for (struct errand **at = &ledger.errands; *at;)
		if ((*at)->courier == courier)
			end_errand(at);
		else
			at = &(*at)->next;
}

void ledger_frame_lost(struct role_instance *from, uint16_t type, struct slice payload)
{
	courier_said(from, type, payload, true);
}

void ledger_role_ended(struct role_instance *r)
{
	forget_errands(r);
}

void ledger_close_errands(void)
{
	for (const struct errand *e = ledger.errands; e; e = e->next)
		if (e->open > 0 && !e->excused && (!e->orphaned || e->delivered) &&
		    e->since < sim_now() - ERRAND_LONGEST)
			sim_fail("%s took job %llx and never said what became of it", e->courier->name,
				 (unsigned long long)e->job);
}

/* ---- outcomes ---------------------------------------------------------------------------------------------------- */

static void close_settled(void)
{
	struct fate **at = &ledger.open;

	while (*at) {
		struct fate *f = *at;
		if (f->settled) {
			*at = f->next_open;
			f->listed = false;
		} else {
			at = &f->next_open;
		}
	}
}

static void open_fate(struct fate *f)
{
	f->settled = false;
	if (f->listed)
		return;
	f->listed = true;
	f->next_open = ledger.open;
	ledger.open = f;
}

static void outcome_taken(struct slice payload)
{
	struct queue_outcome o;

	if (!wire_get_outcome(payload, &o))
		return;
	struct copy *c = find_copy(o.id);
	if (!c || o.n >= c->count)
		return;
	/* Recipients keep the order in which they were put. */
	struct fate *f = &c->fates[o.n];
	f->back++;
	/* A failure has been reported: a late 250, of a job from before the queue died, does not undo that. */
	f->known |= o.outcome.verdict == SMTP_DELIVERED && !f->failed;
	if (o.outcome.verdict == SMTP_FAILED)
		f->fail_told = true;
	if (o.outcome.verdict != SMTP_DELIVERED && f->deliveries > 0 && !f->settled && f->maildir && !f->cause)
		f->cause = COUNT_TWICE_SYNC;
}

/* Long numbers by their end: enough to tell them apart. */
#define SHORT(number) ((unsigned)((number) & 0xffff))

/* Frames of receivers and auth. False: it is none. Nothing of a password is in the trace but what the client says. */
static bool show_auth_frame(const struct role_instance *from, const struct role_instance *to, uint16_t type,
			    struct slice payload, const char *arrow)
{
	static const char *const names[] = {
		[WIRE_AUTH_BEGIN] = "AUTH", [WIRE_AUTH_RESPONSE] = "a response", [WIRE_AUTH_FORGET] = "forget it",
		[WIRE_AUTH_SPEND] = "a user's message begins",
		[WIRE_AUTH_USED] = "a user's message was accepted", [WIRE_AUTH_HERE] = "auth is here",
		[WIRE_AUTH_CHALLENGE] = "a challenge", [WIRE_AUTH_DONE] = "AUTH is over",
		[WIRE_AUTH_SPENT] = "whether he may",
	};
	struct wire_auth_spent spent;
	static struct wire_auth_done done;

	if (type >= sizeof names / sizeof *names || !names[type])
		return false;
	if (type == WIRE_AUTH_DONE && wire_get_auth_done(payload, &done))
		sim_trace(from->name, "%s %s: AUTH is over: %s", arrow, to->name,
			  done.result == SASL_GOOD ? "good" : "refused");
	else if (type == WIRE_AUTH_SPENT && wire_get_auth_spent(payload, &spent))
		sim_trace(from->name, "%s %s: the user %s", arrow, to->name,
			  spent.allowance == WIRE_ALLOWED ? "may send it" : "may not send it now");
	else
		sim_trace(from->name, "%s %s: %s", arrow, to->name, names[type]);
	return true;
}

static void show_frame(const struct role_instance *from, const struct role_instance *to, uint16_t type,
		       struct slice payload, const char *arrow)
{
	static const char *const names[] = {
		[WIRE_SPOOL_OPEN] = "a file is wanted for",
		[WIRE_SPOOL_DROP] = "no file is wanted any more for",
		[WIRE_IDS_WANTED] = "ids are wanted,",
		[WIRE_SPOOL] = "a file for",
		[WIRE_IDS] = "ids of block",
		[WIRE_JOB_DONE] = "done is job",
		[WIRE_JOB_RETURNED] = "not begun is job",
		[WIRE_JOB_DAMAGED] = "damaged is job",
	};
	static const char *const verdicts[] = {
		[SMTP_DELIVERED] = "delivered", [SMTP_DEFERRED] = "deferred", [SMTP_FAILED] = "failed"};
	const char *name = type < sizeof names / sizeof *names && names[type] ? names[type] : "frame";
	struct unpack u = {.in = payload};
	uint64_t a = unpack_u64(&u), b = unpack_u64(&u);
	struct queue_outcome o;
	struct wire_answer answer;

	if (show_auth_frame(from, to, type, payload, arrow))
		return;
	if (type == WIRE_PUT)
		sim_trace(from->name, "%s %s: put the message %s, number %x", arrow, to->name, text_of(b), SHORT(a));
	else if (type == WIRE_JOB)
		sim_trace(from->name, "%s %s: job %04x, deliver %s", arrow, to->name, SHORT(a), text_of(b));
	else if (type == WIRE_ANSWER && wire_get_answer(payload, &answer))
		sim_trace(from->name, "%s %s: answer to number %x: %s", arrow, to->name, SHORT(answer.tag),
			  answer.result == STORE_OK ? "stored" : store_result_text(answer.result));
	else if (type == WIRE_PRESSURE && wire_get_answer(payload, &answer))
		sim_trace(from->name, "%s %s: %s", arrow, to->name,
			  answer.result == STORE_OK ? "messages may come" : "no messages now");
	else if (type == WIRE_OUTCOME && wire_get_outcome(payload, &o))
		sim_trace(from->name, "%s %s: outcome of job %04x: %s, recipient %u: %s", arrow, to->name, SHORT(o.job),
			  text_of(o.id), o.n, verdicts[o.outcome.verdict]);
	else
		sim_trace(from->name, "%s %s: %s %04x", arrow, to->name, name, SHORT(a));
}

/* The queue may die between the commit that holds what has no outcome yet and the line of its log. */
static void damage_taken(struct slice payload)
{
	struct unpack u = {.in = payload};
	uint64_t job = unpack_u64(&u);

	if (sim_counts[COUNT_FAULT_FLIP] == 0)
		sim_fail("a body is found damaged, though nothing damaged it");
	for (struct copy *c = ledger.copies; c; c = c->all)
		for (size_t i = 0; i < c->count; i++)
			c->fates[i].held_unsaid |= c->fates[i].job == job;
}

void ledger_frame(struct role_instance *from, struct role_instance *to, uint16_t type, struct slice payload,
		  enum ledger_moment moment)
{
	struct sim_heap *heap = sim_heap_use(NULL);

	show_frame(from, to, type, payload, moment == LEDGER_SENT ? ">" : ">>");
	if (moment == LEDGER_SENT) {
		if (type == WIRE_PUT)
			put_sent(from, payload);
		else if (type == WIRE_ANSWER)
			answer_sent(to, payload);
		else if (type == WIRE_JOB)
			job_sent(payload);
		else
			courier_said(from, type, payload, false);
	} else if (type == WIRE_PUT) {
		put_taken(payload);
	} else if (type == WIRE_ANSWER) {
		answer_taken(to, payload);
	} else if (type == WIRE_JOB) {
		job_taken(to, payload);
	} else if (type == WIRE_OUTCOME) {
		outcome_taken(payload);
	} else if (type == WIRE_JOB_DAMAGED) {
		damage_taken(payload);
	}
	sim_heap_use(heap);
}

static void explain_open(enum sim_count cause, bool (*which)(const struct fate *f, const struct role_instance *r),
			 const struct role_instance *r)
{
	for (struct fate *f = ledger.open; f; f = f->next_open)
		if (!f->cause && (!which || which(f, r)))
			f->cause = cause;
}

static void make_orphans(enum sim_count cause)
{
	for (struct copy *c = ledger.copies; c; c = c->all)
		for (size_t i = 0; i < c->count; i++)
			if (c->fates[i].given > c->fates[i].back) {
				c->fates[i].orphans = c->fates[i].given - c->fates[i].back;
				c->fates[i].orphan_cause = cause;
			}
}

/* The queue may have lost what it had heard. */
static void forget_known(void)
{
	for (struct copy *c = ledger.copies; c; c = c->all)
		for (size_t i = 0; i < c->count; i++)
			c->fates[i].known = false;
}

static bool was_by(const struct fate *f, const struct role_instance *r)
{
	return f->by == r->kind;
}

/* The next queue gives out again what no session had taken. NULL: of every courier. */
static void orphan_errands(const struct role_instance *courier)
{
	for (struct errand *e = ledger.errands; e; e = e->next)
		e->orphaned |= !courier || e->courier == courier;
}

void ledger_channel_closed(const struct role_instance *r)
{
	orphan_errands(r);
}

void ledger_memory_out(struct role_instance *r)
{
	if (r->kind == ROLE_QUEUE) {
		explain_open(COUNT_TWICE_MEMORY, NULL, r);
		forget_known();
	} else if (r->kind == ROLE_AUTH) {
		return; /* it has no part in deliveries */
	} else if (r->kind != ROLE_RECEIVER)
		explain_open(COUNT_TWICE_MEMORY, was_by, r);
	for (struct errand *e = ledger.errands; e; e = e->next)
		e->excused |= e->courier == r;
	/* A frame that there is no memory for ends the channel, and what is under way goes on. */
	make_orphans(COUNT_TWICE_MEMORY);
}

void ledger_role_died(struct role_instance *r)
{
	if (r->kind == ROLE_QUEUE) {
		explain_open(COUNT_TWICE_QUEUE, NULL, r);
		make_orphans(COUNT_TWICE_QUEUE);
		orphan_errands(NULL);
		forget_known();
	} else if (r->kind != ROLE_RECEIVER && r->kind != ROLE_AUTH) {
		explain_open(COUNT_TWICE_COURIER, was_by, r);
		forget_errands(r);
	}
}

void ledger_power_cut(void)
{
	explain_open(COUNT_TWICE_POWER, NULL, NULL);
}

/* ---- deliveries -------------------------------------------------------------------------------------------------- */

static bool reply_was_read(const struct fate *f)
{
	return f->end && f->end->peer->read >= f->reply_ends;
}

static void delivered_again(struct fate *f, const struct sim_end *end)
{
	enum sim_count cause = f->cause;

	if (!cause && !f->settled && f->end && !reply_was_read(f))
		cause = COUNT_TWICE_REPLY;
	/* The sender had given the session up, and the server took the message all the same. */
	if ((!cause || f->settled) && end && end->peer->closed)
		cause = COUNT_TWICE_REPLY;
	else if ((!cause || f->settled) && f->orphans > 0) {
		f->orphans--;
		cause = f->orphan_cause;
	} else if (!cause || f->settled) {
		sim_fail("%s is delivered to %.*s again, and nothing explains it", text_of(f->copy->id),
			 SLICE_ARGS(f->address));
		return;
	}
	sim_count(cause);
	sim_trace("ledger", "%s reaches %.*s again: %s", text_of(f->copy->id), SLICE_ARGS(f->address),
		  sim_count_text(cause));
	f->cause = 0;
}

/* As the files of a Maildir may have it. */
static struct slice with_lf(struct slice s)
{
	char *p = sim_alloc(s.n + 1);
	size_t n = 0;

	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] != '\r' || i + 1 == s.n || s.p[i + 1] != '\n')
			p[n++] = s.p[i];
	return slice_of(p, n);
}

static bool is_eight_bit(struct slice s)
{
	return !slice_is_ascii(s);
}

static void check_octets(const struct copy *c, const struct ledger_delivery *d, const char *what)
{
	const struct letter *l = c->letter;
	struct slice wanted = l->octets, copy = SLICE_NONE;

	/* A server without 8BITMIME gets it encoded; tests of mail/seven.h say that this is undone without loss. */
	if (d->end && is_eight_bit(l->octets) && slice_is_ascii(d->message))
		return;
	if (!d->end && machine_conf()->newlines == CONF_NEWLINES_LF)
		wanted = copy = with_lf(l->octets);
	if (!slice_ends(d->message, wanted))
		sim_fail("%s %s with other octets than it came with: %zu, of which %zu should be the message",
			 text_of(c->id), what, d->message.n, wanted.n);
	if (slice_search(slice_head(d->message, d->message.n - wanted.n), SLICE("X-Sim-")) < d->message.n - wanted.n)
		sim_fail("%s is delivered with a part of itself before it", text_of(c->id));
	if (copy.p)
		sim_free((void *)(uintptr_t)copy.p);
}

static bool is_report(struct slice message)
{
	return slice_isearch(slice_head(message, 8000), SLICE("report-type=delivery-status")) <
	       (message.n < 8000 ? message.n : 8000);
}

static void reported(struct copy *report, msg_id about, struct slice address, struct slice action)
{
	struct copy *c = find_copy(about);
	struct fate *f = c ? find_fate(c, address) : NULL;

	if (!f) {
		sim_fail("a report about %s and %.*s, which never were", text_of(about), SLICE_ARGS(address));
		return;
	}
	if (c->letter && c->letter->never) {
		sim_fail("a report about %s to %.*s, of which its sender wanted none", text_of(about),
			 SLICE_ARGS(address));
		return;
	}
	if (!slice_ieq(action, SLICE("failed"))) {
		if (f->warned && f->warning != report->id)
			sim_fail("that %s to %.*s is late is reported twice", text_of(about), SLICE_ARGS(address));
		if (slice_ieq(action, SLICE("delayed")) && !f->warned)
			sim_count(COUNT_WARNINGS);
		f->warned = true;
		f->warning = report->id;
		return;
	}
	if (f->reported && f->report != report->id)
		sim_fail("the failure of %s to %.*s is reported twice", text_of(about), SLICE_ARGS(address));
	/* The queue may have died before it could log what it had committed. */
	if (!f->failed)
		ledger_failed(about, address, !f->refused);
	if (!f->reported)
		sim_count(COUNT_REPORTS);
	f->reported = true;
	f->report = report->id;
}

static void read_report(struct copy *report, struct slice message)
{
	struct slice rest = slice_skip(message, slice_isearch(message, SLICE("Reporting-MTA:")));
	msg_id about = 0;

	/* The part for programs alone: what is returned may be a report, too. */
	size_t end = slice_search(rest, SLICE("\n--"));
	rest = slice_head(rest, end);
	msg_id_parse(field_in(rest, SLICE("X-Postrider-Message-Id:")), &about);
	for (;;) {
		size_t at = slice_isearch(rest, SLICE("Final-Recipient:"));
		if (at == rest.n)
			break;
		rest = slice_skip(rest, at);
		struct slice address = field_in(rest, SLICE("Final-Recipient:"));
		address = slice_trim(slice_skip(address, slice_find(address, ';') + 1));
		reported(report, about, address, field_in(rest, SLICE("Action:")));
		rest = slice_skip(rest, 10);
	}
}

static void note_delivery(struct copy *c, struct fate *f, const struct ledger_delivery *d)
{
	if (f->deliveries++ > 0)
		delivered_again(f, d->end);
	f->maildir = d->end == NULL;
	f->by = d->end && !d->lmtp ? ROLE_SENDER : ROLE_MAILBOX;
	f->cause = 0;
	f->end = d->end;
	f->reply_ends = d->reply_ends;
	open_fate(f);
	sim_count(!d->end ? COUNT_TO_MAILBOX : d->lmtp ? COUNT_TO_LMTP : COUNT_TO_PEER);
	sim_trace("ledger", "%s is delivered to %.*s", text_of(c->id), SLICE_ARGS(f->address));
	if (!c->delivered && c->letter) {
		c->letter->seen++;
		if (!c->promised && c->letter->seen > 1)
			sim_count(COUNT_TWICE_UNHEARD);
	}
	c->delivered = true;
}

/* A report has no Received field of ours. */
static struct copy *copy_of_report(const struct ledger_delivery *d)
{
	struct slice field = field_in(d->message, SLICE("Message-ID:"));

	for (struct copy *c = ledger.copies; c; c = c->all)
		if (!c->letter && slice_eq(c->message_id, field))
			return c;
	return NULL;
}

static void deliver(struct copy *c, const struct ledger_delivery *d)
{
	struct fate *f = c ? find_fate(c, d->rcpt) : NULL;

	if (!f) {
		sim_fail("a message reaches %.*s that nobody sent there", SLICE_ARGS(d->rcpt));
		return;
	}
	if (!slice_eq(c->sender, d->sender))
		sim_fail("%s comes with the sender %.*s", text_of(c->id), SLICE_ARGS(d->sender));
	note_delivery(c, f, d);
	if (c->letter)
		check_octets(c, d, "is delivered");
	else if (is_report(d->message))
		read_report(c, d->message);
}

/* Whose connection it came over still has the errand: where it has one for that message alone, it is this one. */
static void note_errand(const struct ledger_delivery *d, msg_id id)
{
	const struct role_instance *courier = d->end ? stream_owner(d->end->peer) : NULL;
	struct errand *found = NULL;

	for (struct errand *e = ledger.errands; courier && e; e = e->next)
		if (e->courier == courier && e->id == id) {
			if (found)
				return;
			found = e;
		}
	if (found)
		found->delivered = true;
}

void ledger_delivered(const struct ledger_delivery *d)
{
	struct sim_heap *heap = sim_heap_use(NULL);
	msg_id id = ledger_id_of(d->message);

	note_errand(d, id);
	deliver(id ? find_copy(id) : copy_of_report(d), d);
	sim_heap_use(heap);
}

/* MAILBOX/new/TIME.ID-N.HOST */
static struct fate *fate_of_file(const char *path)
{
	const char *name = strrchr(path, '/') + 1, *dot = strchr(name, '.');
	msg_id id;
	uint64_t n;

	if (strstr(path, "/tmp/") || !dot || !msg_id_parse(slice_head(slice_from_cstr(dot + 1), MSG_ID_TEXT), &id))
		return NULL;
	struct slice number = slice_from_cstr(dot + 2 + MSG_ID_TEXT);
	if (!slice_u64(slice_head(number, slice_find(number, '.')), UINT32_MAX, &n))
		return NULL;
	struct copy *c = find_copy(id);
	return c && n < c->count ? &c->fates[n] : NULL;
}

/* /data/mail/DOMAIN/LOCAL/new/... */
static bool is_in_mailbox(const char *path, struct slice address)
{
	struct slice local = address, rest = slice_skip(slice_from_cstr(path), sizeof MAIL - 1);
	size_t at = slice_rfind(address, '@');

	local = slice_head(address, at);
	address = slice_skip(address, at + 1);
	return slice_starts(rest, address) && slice_starts(slice_skip(rest, address.n + 1), local) &&
	       slice_starts(slice_skip(rest, address.n + 1 + local.n), SLICE("/new/"));
}

void ledger_renamed(const char *to, struct slice content)
{
	struct sim_heap *heap = sim_heap_use(NULL);

	if (strncmp(to, MAIL, sizeof MAIL - 1) == 0 && strstr(to, "/new/")) {
		struct fate *f = fate_of_file(to);
		if (!f)
			sim_fail("the file %s is for no recipient of any message", to);
		else if (!is_in_mailbox(to, f->address))
			sim_fail("%s for %.*s comes into the mailbox %s", text_of(f->copy->id), SLICE_ARGS(f->address),
				 to);
		else
			deliver(f->copy, &(struct ledger_delivery){
						 .sender = f->copy->sender, .rcpt = f->address, .message = content});
	}
	sim_heap_use(heap);
}

void ledger_refused(struct slice rcpt)
{
	for (struct copy *c = ledger.copies; c; c = c->all) {
		struct fate *f = find_fate(c, rcpt);
		if (f)
			f->refused = true;
	}
}

/* ---- the product's log ------------------------------------------------------------------------------------------- */

static void check_age(const struct copy *c, const struct fate *f)
{
	span_ms age = (sim_now() - c->put_at) / SIM_MS, lifetime = machine_conf()->queue.retry.lifetime;
	span_ms slack = clock_slack(c->boots, c->queue_lives) / SIM_MS;

	if (age + slack < lifetime)
		sim_fail("%s to %.*s is given up after %lld s of %lld", text_of(c->id), SLICE_ARGS(f->address),
			 (long long)(age / SECOND), (long long)(lifetime / SECOND));
}

void ledger_settled(msg_id id, struct slice rcpt)
{
	struct copy *c = find_copy(id);
	struct fate *f = c ? find_fate(c, rcpt) : NULL;

	if (!f || f->deliveries == 0) {
		sim_fail("%s to %.*s is on record as delivered, and is not", text_of(id), SLICE_ARGS(rcpt));
		return;
	}
	f->settled = true;
	close_settled();
}

static struct fate *nth_fate(msg_id id, uint32_t n)
{
	const struct copy *c = find_copy(id);

	return c && n < c->count ? &c->fates[n] : NULL;
}

void ledger_told_to_wait(msg_id id, uint32_t n)
{
	struct fate *f = nth_fate(id, n);

	if (f)
		f->waits = true;
}

bool ledger_is_taken_up(msg_id id, uint32_t n)
{
	struct fate *f = nth_fate(id, n);
	bool waited = f && f->waits;

	if (f)
		f->waits = false;
	return waited;
}

void ledger_deferred(msg_id id, struct slice rcpt, span_ms delay)
{
	struct copy *c = find_copy(id);
	struct fate *f = c ? find_fate(c, rcpt) : NULL;

	if (!f)
		return;
	f->not_again = sim_now() + delay * SIM_MS;
	f->said_boots = sim_boots();
	f->said_lives = machine_role(0)->life;
}

void ledger_report(msg_id id, struct slice to)
{
	struct mail_rcpt rcpt = {.address = to};
	struct mail_envelope e = {.rcpt = &rcpt, .rcpt_count = 1};

	if (!find_copy(id))
		add_copy(id, &e, NULL);
}

void ledger_failed(msg_id id, struct slice rcpt, bool given_up)
{
	struct copy *c = find_copy(id);
	struct fate *f = c ? find_fate(c, rcpt) : NULL;

	if (!f)
		return;
	if (!f->failed)
		sim_count(COUNT_FAILED);
	f->failed = true;
	f->given_up = given_up;
	if (given_up)
		check_age(c, f);
	else if (!f->refused)
		sim_fail("%s to %.*s fails for good, though no server refused it", text_of(id), SLICE_ARGS(rcpt));
}

void ledger_damaged(msg_id id)
{
	struct copy *c = find_copy(id);

	if (!c || c->damaged)
		return;
	c->damaged = true;
	sim_count(COUNT_DAMAGED);
	/* A bit that flipped may be told of later, when the store works again. */
	if (sim_counts[COUNT_FAULT_FLIP] == 0)
		sim_fail("%s is found damaged, though nothing damaged it", text_of(id));
}

void ledger_bounce_dropped(msg_id id)
{
	struct copy *c = find_copy(id);

	if (c)
		c->dropped = true;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static bool is_over(const struct fate *f)
{
	const struct copy *c = f->copy;

	if (f->deliveries > 0 || c->damaged || f->held_unsaid)
		return true;
	bool silent = !c->letter || c->letter->never || c->sender.n == 0;
	/* The queue may have died before it could log what it had committed. */
	return (f->failed && (f->reported || c->dropped || silent)) || (f->fail_told && silent);
}

bool ledger_is_settled(void)
{
	for (const struct copy *c = ledger.copies; c; c = c->all)
		for (size_t i = 0; i < c->count; i++) {
			if (!(c->letter ? c->fates[i].promised : true))
				continue;
			if (!is_over(&c->fates[i]))
				return false;
		}
	return true;
}

size_t ledger_waiting(struct slice domain, sim_us before)
{
	size_t count = 0;

	for (const struct copy *c = ledger.copies; c; c = c->all)
		for (size_t i = 0; i < c->count && c->put_at < before; i++)
			if ((c->letter ? c->fates[i].promised : true) && slice_iends(c->fates[i].address, domain))
				count += !is_over(&c->fates[i]);
	return count;
}

static void find_file(void *arg, const char *path, struct slice content)
{
	struct fate *f = fate_of_file(path);

	(void)arg;
	if (!f)
		return;
	f->in_maildir = true;
	if (f->copy->letter && f->settled)
		check_octets(f->copy, &(struct ledger_delivery){.message = content}, "is in the Maildir");
}

static void close_fate(const struct fate *f)
{
	const struct copy *c = f->copy;

	if (!is_over(f) || (f->held_unsaid && f->deliveries == 0 && !c->damaged && !f->failed && !f->on_record))
		sim_fail("%s to %.*s is neither delivered nor reported nor in the queue%s", text_of(c->id),
			 SLICE_ARGS(f->address), f->failed ? ": it failed, and no report came" : "");
	else if (f->deliveries > 0 && f->maildir && !f->in_maildir && (f->settled || (c->promised && !c->damaged)))
		sim_fail("%s to %.*s was delivered, and is not in the Maildir any more", text_of(c->id),
			 SLICE_ARGS(f->address));
	else if (f->deliveries > 0 && f->failed && f->settled)
		sim_fail("%s to %.*s is delivered, and failed as well", text_of(c->id), SLICE_ARGS(f->address));
}

void ledger_on_record(const struct store_message *m, const struct store_rcpt *r, unsigned attempts)
{
	const struct copy *c = find_copy(m->id);
	struct fate *f = c && r->n < c->count ? &c->fates[r->n] : NULL;

	if (f)
		f->on_record = true;
	if (r->attempts != attempts)
		sim_fail("%s to %.*s was tried %u times, and its history has %u attempts", text_of(m->id),
			 SLICE_ARGS(r->rcpt.address), r->attempts, attempts);
	if (f && r->state == STORE_DELIVERED && f->deliveries == 0)
		sim_fail("the store has %s to %.*s as delivered, and it is not", text_of(m->id),
			 SLICE_ARGS(r->rcpt.address));
	if (f && r->state == STORE_FAILED && f->deliveries > 0 && f->known)
		sim_fail("the store has %s to %.*s as failed, and it was delivered", text_of(m->id),
			 SLICE_ARGS(r->rcpt.address));
}

void ledger_close(void)
{
	disk_each("/data/mail", find_file, NULL);
	for (const struct letter *l = ledger.letters; l; l = l->all)
		if (l->seen > l->accepted + l->unheard)
			sim_fail("message %llu is there %u times: %u times promised, %u times without an answer",
				 (unsigned long long)l->serial, l->seen, l->accepted, l->unheard);
	for (const struct copy *c = ledger.copies; c; c = c->all)
		for (size_t i = 0; i < c->count; i++)
			if (c->letter ? c->fates[i].promised : true)
				close_fate(&c->fates[i]);
}
