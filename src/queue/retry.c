#include "queue/retry.h"

#include <assert.h>

static span_ms shorter(span_ms a, span_ms b)
{
	return a < b ? a : b;
}

bool retry_policy_valid(const struct retry_policy *p)
{
	return p->first > 0 && p->longest >= p->first && p->warn >= 0 && p->lifetime > p->warn &&
	       p->growth_percent >= 100 && p->growth_percent <= 400 && p->longest <= 365 * DAY &&
	       p->lifetime <= 365 * DAY;
}

enum retry_pace retry_pace_of(const struct smtp_outcome *outcome)
{
	/* 4.2.2, mailbox full (RFC 3463 3.3): its owner has to tidy up first. */
	bool mailbox_full = outcome->status.klass == 4 && outcome->status.subject == 2 && outcome->status.detail == 2;

	return mailbox_full ? RETRY_PACE_SLOW : RETRY_PACE_NORMAL;
}

static span_ms grown(span_ms delay, span_ms longest, uint32_t attempts, unsigned percent)
{
	/* Ends early: with growth of at least 101 % it meets `longest` in some thousand steps, with 100 % at once. */
	for (uint32_t i = 1; i < attempts && delay < longest && percent > 100; i++)
		delay = delay / 100 * percent + delay % 100 * percent / 100 + 1;

	return shorter(delay, longest);
}

static span_ms paced(const struct retry_policy *p, const struct retry_attempt *a)
{
	span_ms normal = grown(p->first, p->longest, a->attempts, p->growth_percent);

	switch (a->pace) {
	case RETRY_PACE_SOON:
		return grown(shorter(RETRY_SOON, p->first), normal, a->attempts, 200);
	case RETRY_PACE_SLOW:
		return normal > p->longest / 4 ? normal : p->longest / 4;
	case RETRY_PACE_NORMAL:
		break;
	}
	return normal;
}

static span_ms spread(span_ms delay, uint32_t random)
{
	span_ms width = delay / 4;
	span_ms out = delay - width / 2 + (span_ms)(((uint64_t)random * (uint64_t)width) >> 32);

	return out > 0 ? out : 1;
}

struct retry_decision retry_decide(const struct retry_policy *policy, const struct retry_attempt *attempt)
{
	assert(retry_policy_valid(policy));
	assert(attempt->attempts >= 1);

	if (attempt->age >= policy->lifetime)
		return (struct retry_decision){.verdict = RETRY_GIVE_UP};

	span_ms age = attempt->age > 0 ? attempt->age : 0;
	span_ms delay = spread(paced(policy, attempt), attempt->random);

	/* One last attempt right at the end, rather than a report long before the time that we promised. */
	delay = shorter(delay, policy->lifetime - age);

	bool late = policy->warn > 0 && age >= policy->warn && !attempt->warned;

	assert(delay > 0);
	return (struct retry_decision){.verdict = late ? RETRY_WARN : RETRY_LATER, .delay = delay};
}
