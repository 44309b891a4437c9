/*
 * retry: when a deferred recipient is tried again, and when we give up.
 *
 * Pure: no clock, no randomness, no state. Ages are durations on the store's clock, which never jumps, so that a wrong
 * wall clock can neither bounce the queue nor stall it.
 *
 * RFC 5321 4.5.4.1: a few quick attempts, then no closer than 30 minutes; give up after 4 to 5 days at least.
 */
#ifndef QUEUE_RETRY_H
#define QUEUE_RETRY_H

#include "base/clock.h"
#include "smtp/outcome.h"

/* What to do with a recipient whose attempt ended in a temporary failure. */
enum retry_verdict {
	RETRY_LATER,   /* wait `delay`, then try again */
	RETRY_WARN,    /* the same, and tell the sender now that it is late (once per message) */
	RETRY_GIVE_UP, /* report it as failed: 4.4.7, delivery time expired */
};

/* Whose trouble it was decides how soon another attempt makes sense. */
enum retry_pace {
	RETRY_PACE_NORMAL,
	RETRY_PACE_SOON, /* ours, and soon over: a courier died. From RETRY_SOON, doubling, up to the normal delay */
	RETRY_PACE_SLOW, /* only a person can end it: a full mailbox. At least a quarter of the longest delay */
};

#define RETRY_SOON (5 * SECOND)

struct retry_policy {
	span_ms first;           /* before the second attempt; > 0 */
	span_ms longest;         /* no delay grows beyond this; >= first */
	span_ms warn;            /* age at which the sender is told; 0 = never */
	span_ms lifetime;        /* age at which we give up; > warn */
	unsigned growth_percent; /* each delay is this much of the one before; 100 to 400 */
};

struct retry_attempt {
	uint32_t attempts; /* failed ones so far, the last included; >= 1 */
	span_ms age;       /* of the message */
	bool warned;       /* the sender has been told already */
	enum retry_pace pace;
	uint32_t random; /* 32 uniform bits: they spread the delay over +-12.5 %, so that recipients deferred together
			    by one dead server do not come back together */
};

struct retry_decision {
	enum retry_verdict verdict;
	span_ms delay; /* 0 when verdict is RETRY_GIVE_UP, else > 0 */
};

/* Whether the policy keeps the bounds above; a configuration is checked with this. */
bool retry_policy_valid(const struct retry_policy *policy);

/* The pace that a temporary failure's status asks for. */
enum retry_pace retry_pace_of(const struct smtp_outcome *outcome);

/* Never fails. Asserts a valid policy. */
struct retry_decision retry_decide(const struct retry_policy *policy, const struct retry_attempt *attempt);

#endif
