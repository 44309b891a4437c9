/*
 * mem_store: the store's interface in memory, with faults on demand: what the engine's tests run on.
 *
 * It keeps the rules of queue/store.h (transactions, poison, reopen, claims of this owner that survive a reopen), so
 * that a test of the engine that passes here and fails on the real store shows a fault of one of the two.
 */
#ifndef MEM_STORE_H
#define MEM_STORE_H

#include "queue/store.h"

enum mem_op {
	MEM_PUT,
	MEM_SETTLE,
	MEM_NOTE,
	MEM_COMMIT,
	MEM_CLAIM,
	MEM_LOAD,
	MEM_LOAD_RCPT,
	MEM_BODY,
	MEM_LIST,
	MEM_REOPEN,
	MEM_ID_BLOCK,
	MEM_OPS
};

struct mem_fault {
	enum store_result result; /* what the call gives instead of working */
	unsigned skip;            /* calls that still work */
	unsigned times;           /* calls that fail then; 0 = none */
};

struct mem_rcpt {
	struct store_rcpt row;
};

struct mem_history {
	enum store_event event;
	uint32_t n;
	msg_id about;
	struct smtp_outcome outcome;
	char text[200];
};

struct mem_message {
	msg_id id;
	struct store_message row;
	struct mem_rcpt *rcpt;
	char *body;
	size_t body_n;
	struct mem_history *history;
	size_t history_n;
	char *texts;
	bool purged;
	queue_ms due; /* of the first that waits; NEVER: none does */
	queue_ms settled_at;
};

struct mem_store;

struct mem_store *mem_store_new(void);
struct store *mem_store_of(struct mem_store *st);
void mem_store_free(struct mem_store *st);
/* The process died and came back: the open transaction never was, and what was claimed waits. */
void mem_store_crash(struct mem_store *st, queue_ms now);
void mem_store_fail(struct mem_store *st, enum mem_op op, enum store_result result, unsigned skip, unsigned times);
/* Puts of messages that are no reports give STORE_FULL, as below the reserve. */
void mem_store_low_space(struct mem_store *st, bool low);
/* Its body cannot be read. */
void mem_store_damage(struct mem_store *st, msg_id id);
/* Its recipients cannot be settled: the database is damaged there. */
void mem_store_break(struct mem_store *st, msg_id id);
/* No transaction is open: what is there is committed. */
bool mem_store_is_clean(const struct mem_store *st);

/* What is there: with what the open transaction did so far. NULL: no such message. */
struct mem_message *mem_store_message(struct mem_store *st, msg_id id);
struct mem_message *mem_store_at(struct mem_store *st, size_t index);
/* Commits that had something to commit. */
unsigned mem_store_commits(const struct mem_store *st);
/* Calls of any kind. */
unsigned mem_store_calls(const struct mem_store *st);
struct slice mem_store_clock(const struct mem_store *st);
void mem_store_set_clock(struct mem_store *st, struct slice octets);

#endif
