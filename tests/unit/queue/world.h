/*
 * world: an engine in a made-up world: virtual time, a store in memory, couriers that do as they are told.
 *
 * Routes: NAME@local.test is a Maildir here, but nobody@local.test is unknown; NAME@lmtp.test goes by LMTP; none.test
 * and all below it leads nowhere; every other domain is a site of its own. Reports to
 * team@local.test go to two others.
 */
#ifndef WORLD_H
#define WORLD_H

#include "mem_store.h"
#include "queue/engine.h"

#define WORLD_WALL ((wall_ms)1700000000 * 1000)

struct world_job {
	uint64_t job;
	uint32_t courier;
	msg_id id;
	enum route_kind kind;
	char site[80];
	unsigned connections, content;
	uint32_t n[256];
	char rcpt[256][80];
	size_t count;
	char sender[80];
	size_t body_n;
	bool with_mailboxes, silent;
	mono_ms at;
	bool done;
};

struct world_answer {
	uint64_t tag;
	enum store_result result;
	mono_ms at;
};

struct world_event {
	struct queue_event event; /* texts are gone but for these */
	char rcpt[80], text[120];
};

struct world {
	struct mem_store *mem;
	struct store *store;
	struct queue_engine *e;
	struct queue_config config;
	struct queue_times times;
	struct world_job *jobs;
	size_t job_n, job_cap;
	struct world_answer *answers;
	size_t answer_n, answer_cap;
	struct world_event *events;
	size_t event_n, event_cap;
	/* Called for each job as it is handed out. */
	void (*on_job)(struct world *w, struct world_job *job);
	void *arg;
	size_t turns;
};

/* One sender (courier 1), one mailbox role (courier 2), times as small as tests like them. */
struct world *world_new(void);
/* The same over another store, which the caller closes. */
struct world *world_new_on(struct store *store);
void world_free(struct world *w);
void world_engine_up(struct world *w);
/* kill -9: nothing is saved. The store in memory goes back to its last commit. */
void world_crash(struct world *w);

/* rcpts: addresses separated by blanks, each may end in "/NOTIFY" as a number. The tag is the id. */
void world_put(struct world *w, msg_id id, const char *sender, const char *rcpts);
void world_put_as(struct world *w, msg_id id, const char *sender, const char *rcpts, enum mail_ret ret,
		  const char *body);
/* With RET=FULL, and flags of store_content. */
void world_put_content(struct world *w, msg_id id, const char *sender, const char *rcpts, unsigned content,
		       const char *body);
/* Writes words at text[at]; where the next ones go. They must fit. */
size_t world_words(char *text, size_t size, size_t at, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* False when the engine could not even remember to answer. */
bool world_try_put(struct world *w, msg_id id, const char *sender, const char *rcpts);
void world_turn(struct world *w);
/* What a turn does with each action. */
void world_take(struct world *w, const struct queue_action *a);
/* Turns as the engine asks for them until so much time has passed. */
void world_pass(struct world *w, span_ms span);
mono_ms world_now(const struct world *w);

/* The job's recipient `index` had this outcome, "250 2.0.0 text" (no code: "4.4.1 text"). '!': the site failed, "!!":
 * after 30 s. '?': ambiguous. '+': with the DSN parameters. '~': lossy. */
void world_outcome(struct world *w, const struct world_job *job, size_t index, const char *words);
/* All of them, and the job is done. */
void world_finish(struct world *w, struct world_job *job, const char *words);
/* Each of these addresses gets a message and takes it, so that their sites are known to answer. It shows nowhere. */
void world_meet(struct world *w, const char *rcpts);
/* The last job handed out that is not done, or NULL. */
struct world_job *world_open_job(struct world *w);
struct world_job *world_job_of(struct world *w, msg_id id);
size_t world_open_jobs(struct world *w);

bool world_answered(const struct world *w, uint64_t tag, enum store_result *ret);
size_t world_count_events(const struct world *w, enum queue_event_type type);
struct mem_rcpt *world_rcpt(struct world *w, msg_id id, uint32_t n);
/* The index-th report about the message, or NULL. */
struct mem_message *world_report(struct world *w, msg_id about, size_t index);
size_t world_reports(struct world *w, msg_id about);
bool world_report_says(const struct mem_message *report, const char *text);

#endif
