/*
 * ledger: what was promised, and what became of it. It stands outside of the code under test.
 *
 * Every message that a simulated client hands in carries a serial number in a header field. The ledger knows its
 * envelope and its octets, the 250 that the client heard, each delivery that a mailbox or a server of the world saw,
 * each report that arrived. It reads the frames between the roles to tell when an outcome was durable, so that a second
 * delivery is either explained by what happened before it, or a violation.
 */
#ifndef SIM_LEDGER_H
#define SIM_LEDGER_H

#include "base/id.h"
#include "queue/store.h"
#include "sim/kernel.h"

/* ---- clients ----------------------------------------------------------------------------------------------------- */

struct letter; /* one message as a client has it */

#define LETTER_RCPTS 8
/* Texts are copied. `octets` is the whole message as it goes over the line before dot stuffing. */
struct letter *ledger_letter(struct slice sender, const struct slice *rcpts, size_t count, bool never, uint64_t serial,
			     struct slice octets);
/* The client heard a 250 with this id; `rcpts`: a bit for each recipient that was taken. */
void ledger_accepted(struct letter *l, msg_id id, unsigned rcpts);
/* It sent the end of the message and heard nothing, or another reply than 250. */
void ledger_unheard(struct letter *l);

/* ---- the world's servers and mailboxes --------------------------------------------------------------------------- */

struct ledger_delivery {
	struct slice sender, rcpt; /* of the envelope */
	struct slice message;      /* as it came, dots taken away */
	bool lmtp;
	/* Where the reply that says so goes: it has arrived when the other end has read so much. NULL: a Maildir. */
	const struct sim_end *end;
	uint64_t reply_ends;
};
void ledger_delivered(const struct ledger_delivery *d);
/* A file was renamed: into a Maildir, its name says for which recipient of which message. */
void ledger_renamed(const char *to, struct slice content);
/* A server of the world refused the recipient for good. */
void ledger_refused(struct slice rcpt);
/* The id in the Received field at the top of a message; 0: it has none. */
msg_id ledger_id_of(struct slice message);

/* ---- the roles --------------------------------------------------------------------------------------------------- */

enum ledger_moment {
	LEDGER_SENT,
	LEDGER_TAKEN,
};
void ledger_frame(struct role_instance *from, struct role_instance *to, uint16_t type, struct slice payload,
		  enum ledger_moment moment);
/* One of its channels is gone, and it is about to hear of it. */
void ledger_channel_closed(const struct role_instance *r);
/* A frame that a role had gathered when it gave the channel up. */
void ledger_frame_lost(struct role_instance *from, uint16_t type, struct slice payload);
void ledger_role_died(struct role_instance *r);
void ledger_role_ended(struct role_instance *r);
void ledger_power_cut(void);
void ledger_memory_out(struct role_instance *r);
/* Events of the product's log. */
void ledger_settled(msg_id id, struct slice rcpt);
/* It is tried again after `delay`, not before. */
void ledger_deferred(msg_id id, struct slice rcpt, span_ms delay);
void ledger_failed(msg_id id, struct slice rcpt, bool given_up);
/* A report with this id goes to an address. */
void ledger_report(msg_id id, struct slice to);
void ledger_damaged(msg_id id);
/* Of the store: a recipient has to wait; it is handed over: whether it had been told to wait. */
void ledger_told_to_wait(msg_id id, uint32_t n);
bool ledger_is_taken_up(msg_id id, uint32_t n);
void ledger_bounce_dropped(msg_id id);

/* ---- at the end -------------------------------------------------------------------------------------------------- */

/* A recipient as the store has it, with so many attempts in its history. */
void ledger_on_record(const struct store_message *m, const struct store_rcpt *r, unsigned attempts);
/* Whether every recipient that was accepted has come to its end. */
bool ledger_is_settled(void);
/* Recipients of a domain (SLICE_NONE: of all) that were promised, were put before then, and have not come to their
 * end. */
size_t ledger_waiting(struct slice domain, sim_us before);
/* While the couriers live: what one of them found out is not kept from the queue for good. */
void ledger_close_errands(void);
/* All promises, once the world has healed and the queue is empty or has had its time. */
void ledger_close(void);

#endif
