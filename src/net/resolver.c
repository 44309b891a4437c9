#include "net/resolver.h"

#include "base/heap.h"
#include "mail/address.h"
#include "net/loop_private.h"

#include <assert.h>
#include <string.h>
#include <unbound-event.h>
#include <unbound.h>

#define TYPE_MX        15
#define CLASS_IN       1
#define RCODE_OK       0
#define RCODE_NXDOMAIN 3

struct question {
	TAILQ_ENTRY(question) link;
	struct resolver *resolver;
	struct loop_timer *timer; /* its deadline; then, once libunbound has answered, the next moment of the loop */
	uint64_t tag;
	enum resolver_mx mx;
	bool told;    /* the asker has his answer */
	bool pending; /* libunbound still holds it */
};

struct resolver {
	struct loop *loop;
	struct ub_ctx *context;
	void (*answered)(void *arg, uint64_t tag, enum resolver_mx mx);
	void *arg;
	TAILQ_HEAD(, question) questions;
	size_t count;
};

static void question_free(struct question *q)
{
	TAILQ_REMOVE(&q->resolver->questions, q, link);
	q->resolver->count--;
	loop_timer_free(q->timer);
	heap_free(q);
}

/* The deadline, or the moment after libunbound's answer. A question that libunbound still holds lives until it answers:
 * it gives up by itself in time. */
static void on_timer(void *arg)
{
	struct question *q = arg;
	struct resolver *r = q->resolver;
	bool told = q->told;
	uint64_t tag = q->tag;
	enum resolver_mx mx = q->mx;

	q->told = true;
	if (!q->pending)
		question_free(q);
	if (!told)
		r->answered(r->arg, tag, mx);
}

static void on_result(void *arg, int rcode, void *packet, int length, int secure, char *why_bogus, int was_ratelimited)
{
	struct question *q = arg;

	(void)secure;
	(void)why_bogus;
	(void)was_ratelimited;
	q->pending = false;
	if (rcode == RCODE_NXDOMAIN)
		q->mx = RESOLVER_MX_OTHER;
	else if (rcode == RCODE_OK && packet && length > 0)
		q->mx = resolver_read_mx(slice_of(packet, (size_t)length));
	loop_timer_set(q->timer, loop_mono(q->resolver->loop));
}

static bool configure(struct ub_ctx *context, struct slice server)
{
	char text[64];

	/* A server on this machine may be asked: the operator named it. */
	if (ub_ctx_set_option(context, "do-not-query-localhost:", "no") != 0)
		return false;
	if (server.n == 0)
		return ub_ctx_resolvconf(context, NULL) == 0;
	if (server.n >= sizeof text)
		return false;
	memcpy(text, server.p, server.n);
	text[server.n] = '\0';
	return ub_ctx_set_fwd(context, text) == 0;
}

struct resolver *resolver_new(struct loop *l, struct slice server,
			      void (*answered)(void *arg, uint64_t tag, enum resolver_mx mx), void *arg)
{
	struct resolver *r = heap_new(struct resolver);

	if (!r)
		return NULL;
	*r = (struct resolver){.loop = l, .answered = answered, .arg = arg};
	TAILQ_INIT(&r->questions);
	r->context = ub_ctx_create_event(loop_base(l));
	if (!r->context || !configure(r->context, server)) {
		resolver_free(r);
		return NULL;
	}
	return r;
}

void resolver_free(struct resolver *r)
{
	if (!r)
		return;
	if (r->context)
		ub_ctx_delete(r->context);
	for (struct question *q; (q = TAILQ_FIRST(&r->questions));) {
		bool told = q->told;
		uint64_t tag = q->tag;

		question_free(q);
		if (!told)
			r->answered(r->arg, tag, RESOLVER_MX_FAILED);
	}
	heap_free(r);
}

bool resolver_ask_mx(struct resolver *r, struct slice domain, span_ms timeout, uint64_t tag)
{
	char name[MAIL_DOMAIN_MAX + 1];

	assert(timeout > 0);
	if (domain.n == 0 || domain.n > MAIL_DOMAIN_MAX || r->count >= RESOLVER_QUESTIONS_MAX)
		return false;
	memcpy(name, domain.p, domain.n);
	name[domain.n] = '\0';
	struct question *q = heap_new(struct question);
	if (!q)
		return false;
	*q = (struct question){.resolver = r, .tag = tag, .mx = RESOLVER_MX_FAILED, .pending = true};
	TAILQ_INSERT_TAIL(&r->questions, q, link);
	r->count++;
	q->timer = loop_timer_new(r->loop, on_timer, q);
	/* The answer can come from inside this call: it is only noted then, and told from the loop. */
	if (!q->timer || ub_resolve_event(r->context, name, TYPE_MX, CLASS_IN, q, on_result, NULL) != 0) {
		question_free(q);
		return false;
	}
	if (q->pending)
		loop_timer_set(q->timer, loop_mono(r->loop) + timeout);
	return true;
}
