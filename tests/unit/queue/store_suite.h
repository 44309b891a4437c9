/*
 * store_suite: what every implementation of queue/store.h must do, as tests against the interface.
 */
#ifndef STORE_SUITE_H
#define STORE_SUITE_H

#include "queue/store.h"

/* A place where a store lives, and how to get at it. */
struct store_place {
	/* Everything from nothing: an empty place. */
	void *(*make)(void);
	void (*remove)(void *place);
	/* Opens the store there, as a new server process would. */
	struct store *(*open)(void *place, span_ms recovery_grace, wall_ms wall);
	struct fs *(*fs)(void *place);
	void (*space)(void *place, uint64_t octets);
};
/* Free space at which the suite's stores refuse messages. */
#define SUITE_RESERVE 1000000

/* All tests, named; returns the number that failed. */
int store_suite_run(const char *name, const struct store_place *place);

/* ---- makers that other tests of stores use as well */

#define RCPTS_MAX 40
struct new_message {
	struct store_new m;
	struct mail_envelope envelope;
	struct mail_rcpt rcpt[RCPTS_MAX];
	uint64_t sites[RCPTS_MAX];
	char addresses[RCPTS_MAX][40];
};
/* A message with `rcpts` recipients "rN@SITE.example" of one site, waiting since `now`; change it before put. */
struct new_message *new_message(struct new_message *n, msg_id id, size_t rcpts, uint64_t site, uint64_t flow,
				queue_ms now);
/* An attempt with this end: WAITING (deferred, due at `due`), DELIVERED, FAILED. */
struct store_settle attempt(msg_id id, uint32_t n, enum store_state next, queue_ms now, queue_ms due, uint64_t site);
/* Everything that the store shows, as text, but for what a new owner does to claims. The caller frees it. */
char *store_dump(struct store *st);
/* Writes a body into the spool. */
void spool_write(struct fs *fs, msg_id id, struct slice body);
/* Its digest, as the writer gives it. */
struct store_digest spool_digest(msg_id id, struct slice body);

#define ops_of(st)                    (st)->ops
#define assert_ok(call)               assert_string_equal(store_result_text(call), store_result_text(STORE_OK))
#define assert_result(call, expected) assert_string_equal(store_result_text(call), store_result_text(expected))

#endif
