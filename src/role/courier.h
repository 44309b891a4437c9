/*
 * courier: what the sender and the mailbox role share: jobs from the queue, connections to next hops, outcomes back.
 *
 * Jobs of one site wait in one line and are served by as many connections as the queue allows that site. A connection
 * takes job after job and stays open for a while when there are none. Hosts of a site are tried in order of preference;
 * one that failed is passed over for a while. Every recipient of every job gets exactly one outcome; while the queue
 * is away, outcomes are kept and told to the next one.
 */
#ifndef ROLE_COURIER_H
#define ROLE_COURIER_H

#include "role/role.h"

#include <sys/queue.h>

struct courier;

/* A job as it came, with everything it lends. */
struct courier_job {
	TAILQ_ENTRY(courier_job) link;
	struct queue_job queue; /* texts are lent from `payload` */
	struct arena arena;
	struct file *file; /* the body, if it is in a file */
	uint64_t offset;   /* of the next octet to be read from it */
	uint32_t digest;   /* of those before */
	bool damaged;      /* the body is not as it was put */
	size_t open;       /* recipients without an outcome */
	mono_ms started;   /* of the attempt */
	char payload[];
};

/* `local` gets the jobs whose route is a mailbox; NULL: the role has none, they are refused. */
struct courier *courier_new(struct loop *l, const struct role_self *self,
			    void (*local)(void *arg, struct courier_job *job), void *arg);
void courier_free(struct courier *c);
/* A file that a route of the next configuration names. Takes fd; -1: there is none. */
void courier_file(struct courier *c, const struct wire_file *file, int fd);
void courier_configure(struct courier *c, struct conf *conf);
struct conf *courier_conf(const struct courier *c); /* NULL before the first */
/* What routes log in with from now on, by a frame WIRE_SECRETS; before the configuration that it belongs to. False: it
 * is no such frame. */
bool courier_secrets(struct courier *c, struct slice frame);
void courier_ready(struct courier *c);
/* Takes fd. */
void courier_peer(struct courier *c, struct wire_peer peer, int fd);
/* Ends with self->finished, after what is under way has ended or patience has. */
void courier_stop(struct courier *c);

/* Whether the message's octets are there as the queue promised them; whatever else is there is never delivered. If not,
 * the log says so, and *ret is the outcome for its recipients: 4.6.6, with a static text. */
bool courier_check_body(const struct courier_job *job, struct smtp_outcome *ret);
/* The same for a body that turned out to be unreadable later. */
struct smtp_outcome courier_body_lost(const struct courier_job *job, const char *reason);

/* For `local`: the outcome of one recipient, by its place in the job. After the last, the job is done and freed. */
void courier_outcome(struct courier *c, struct courier_job *job, size_t rcpt, const struct smtp_outcome *outcome,
		     struct slice remote, bool site_failed);
/* The same for a recipient that gets no outcome, because the body does not fit its digest: the queue will hold it. */
void courier_damaged(struct courier *c, struct courier_job *job);

#endif
