/*
 * The receiver's parts: receiver.c (the role: listeners, the queue, the table of sessions), receiver_keys.c (what TLS
 * needs), receiver_auth.c (what AUTH needs), and session*.c (one session, see session_private.h).
 */
#ifndef ROLE_RECEIVER_PRIVATE_H
#define ROLE_RECEIVER_PRIVATE_H

#include "base/crc32c.h"
#include "net/channel.h"
#include "net/conn.h"
#include "net/resolver.h"
#include "policy/rate.h"
#include "role/role.h"
#include "role/wire_auth.h"

struct session;

struct receiver {
	struct loop *loop;
	const struct role_self *self;
	struct conf *conf;
	struct channel *queue; /* NULL while the queue is away */
	struct accepting *accepting[2 * CONF_LISTENER_MAX];
	size_t listener_count;
	bool listening; /* the queue and the keys are there, or were; until then sockets are kept and not heard */
	struct loop_timer *patience;
	struct buf busy; /* the 421 for who comes when descriptors have run out */

	/* Sessions by slot; a tag is slot and generation, so that an answer for a session that is gone finds nobody. */
	struct session **slots;
	uint32_t *generations;
	uint32_t slot_count, free_hint;
	size_t sessions;
	struct rate_table *counts, *own_counts; /* of clients: shared by all receivers, or our own */
	struct hash_key counts_key;
	size_t tarpitted; /* sessions that are held */
	struct crc32c crc; /* of bodies that go into files */
	uint64_t session_serial;

	/* Ids: the block in use and the next one. 0: none. */
	uint64_t next_id, end_id, spare_block;
	bool ids_wanted;

	/* TLS: `tls` may be NULL, and nobody gets it while `keys` is. */
	struct channel *keys;
	bool keys_heard; /* it said which certificates there are */
	struct tls_server *tls;
	struct tls_tickets tickets;
	struct tls_trust *trust; /* by whom certificates of clients are good; NULL: nobody is asked */

	struct channel *auth; /* NULL while it is away */
	bool auth_heard;
	uint64_t auth_serial; /* of questions to it */

	struct resolver *resolver; /* NULL: the DNS is not asked */
	mono_ms since;             /* when this process began */
	uint64_t accepted;         /* messages since then */

	enum store_result pressure; /* what the queue would answer to a message now */
	bool congested;             /* the queue holds as much as it may */
	bool stopping;
	struct buf frame; /* for encoding; kept to save allocations */
};

/* An id that no message has; 0 when the queue has not given any. */
msg_id receiver_take_id(struct receiver *r);
/* Whether there is one to take; if there is none, the queue is asked. */
bool receiver_has_ids(struct receiver *r);
bool receiver_send(struct receiver *r, uint16_t type, struct slice payload);

/* A place for a session; false when there is none. */
bool receiver_add_session(struct receiver *r, struct session *s, uint64_t *ret_tag);
void receiver_remove_session(struct receiver *r, uint64_t tag);
/* NULL when it is gone. */
struct session *receiver_find_session(const struct receiver *r, uint64_t tag);
/* Begins to listen when all is there that sessions need. */
void receiver_listen_if_ready(struct receiver *r);

/* ---- receiver_keys.c ---- */

/* Takes fd, a connection to the keys role. */
void receiver_use_keys(struct receiver *r, int fd);
void receiver_end_keys(struct receiver *r);
/* For a new session of TLS; NULL: there is none to be had now. */
struct tls_server *receiver_tls(const struct receiver *r);
/* False: nobody can sign now. The answer goes to session_signed. */
bool receiver_ask_signature(struct receiver *r, uint64_t tag, const struct tls_request *request);

/* ---- receiver_auth.c ---- */

/* Takes fd, a connection to the auth role. */
void receiver_use_auth(struct receiver *r, int fd);
void receiver_end_auth(struct receiver *r);
/* Sends what is in r->frame, and wipes it. False: nobody is there. */
bool receiver_tell_auth(struct receiver *r, uint16_t type);

/* ---- session.c ---- */

/* Takes fd. */
void session_open(struct receiver *r, const struct conf_listener *listener, int fd, const struct net_address *from);
void session_answer(struct session *s, enum store_result result);
/* The file for a large body, or why there is none. Takes fd. */
void session_spool(struct session *s, enum store_result result, int fd);
/* The answer of the DNS that the session waits for. */
void session_resolved(struct session *s, enum resolver_answer answer);
/* The signature that its handshake waits for, if it does; empty: there is none. */
void session_signed(struct session *s, struct slice signature);
/* These come from the auth role, perhaps for a question that is over. */
void session_challenge(struct session *s, uint64_t serial, struct slice challenge);
void session_authenticated(struct session *s, const struct wire_auth_done *done);
void session_spent(struct session *s, const struct wire_auth_spent *spent);
/* It is gone: what waits for it gets 454 or 451. */
void session_auth_lost(struct session *s);
/* The queue is gone: what waits for it gets 451. */
void session_queue_lost(struct session *s);
void session_shutdown(struct session *s);
/* The process ends at once, as when its supervisor is gone: nothing more is said. */
void session_abandon(struct session *s);
/* The message's id, when the session waits for a spool file; else 0. */
msg_id session_waits_for_spool(const struct session *s);

#endif
