#include "net/resolver.h"

#include "base/heap.h"
#include "mail/address.h"
#include "net/loop_private.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unbound-event.h>
#include <unbound.h>

#define TYPE_A         1
#define TYPE_PTR       12
#define TYPE_MX        15
#define TYPE_AAAA      28
#define CLASS_IN       1
#define RCODE_OK       0
#define RCODE_FAILURE  2
#define RCODE_NXDOMAIN 3
/* One for each question that waits for its answer. */
#define SOCKETS_MAX "1024"
/* With 15 the server was already taken for dead, by the end of them. */
#define HEALTH_SECONDS "10"

/* Is this address one of that name's? The names are asked for one after the other, until one has it. */
struct reverse {
	struct ip_address address;
	struct resolver_names names;
	size_t at;     /* the name to ask for next */
	bool has_list; /* the names are known */
	bool failed;   /* one of them could not be looked up */
};

struct question {
	TAILQ_ENTRY(question) link;
	struct resolver *resolver;
	struct loop_timer *timer; /* its deadline; then, once libunbound has answered, the next moment of the loop */
	mono_ms deadline;
	struct reverse *reverse; /* NULL: it is for MX records */
	uint64_t tag;
	enum resolver_answer answer;
	bool more;    /* the answer needs another look-up */
	bool told;    /* the asker has his answer */
	bool pending; /* libunbound still holds it */
};

struct resolver {
	struct loop *loop;
	struct ub_ctx *context;
	void (*answered)(void *arg, uint64_t tag, enum resolver_answer answer);
	void *arg;
	TAILQ_HEAD(, question) questions;
	size_t count;
};

static void question_free(struct question *q)
{
	TAILQ_REMOVE(&q->resolver->questions, q, link);
	q->resolver->count--;
	loop_timer_free(q->timer);
	heap_free(q->reverse);
	heap_free(q);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static enum resolver_answer digest_mx(int rcode, struct slice packet)
{
	if (rcode == RCODE_NXDOMAIN)
		return RESOLVER_NO_DOMAIN;
	return rcode == RCODE_OK ? resolver_read_mx(packet) : RESOLVER_FAILED;
}

/* Sets q->more while there are names left. */
static enum resolver_answer digest_reverse(struct question *q, int rcode, struct slice packet)
{
	struct reverse *r = q->reverse;
	bool found = false, good = rcode == RCODE_NXDOMAIN;

	if (rcode == RCODE_OK)
		good = r->has_list ? resolver_read_address(packet, &r->address, &found)
				   : resolver_read_names(packet, &r->names);
	if (found)
		return RESOLVER_CONFIRMED;
	if (!good && !r->has_list)
		r->names.count = 0;
	r->failed |= !good;
	r->has_list = true;
	q->more = r->at < r->names.count;
	return r->failed ? RESOLVER_FAILED : RESOLVER_UNCONFIRMED;
}

/* It is only noted here, and told from the loop: this is called from inside libunbound, even from a call that asks. */
static void on_result(void *arg, int rcode, void *packet, int length, int secure, char *why_bogus, int was_ratelimited)
{
	struct question *q = arg;
	struct slice octets = packet && length > 0 ? slice_of(packet, (size_t)length) : SLICE_NONE;

	(void)secure;
	(void)why_bogus;
	(void)was_ratelimited;
	/* The name server's own result stands in the packet; the argument tells what libunbound itself came to. */
	if (rcode == RCODE_OK)
		rcode = octets.n > 3 ? octets.p[3] & 15 : RCODE_FAILURE;
	q->pending = false;
	q->answer = q->reverse ? digest_reverse(q, rcode, octets) : digest_mx(rcode, octets);
	loop_timer_set(q->timer, loop_mono(q->resolver->loop));
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static bool ask(struct question *q, const char *name, int type)
{
	struct resolver *r = q->resolver;

	q->pending = true;
	q->more = false;
	if (ub_resolve_event(r->context, name, type, CLASS_IN, q, on_result, NULL) != 0) {
		q->pending = false;
		return false;
	}
	if (q->pending)
		loop_timer_set(q->timer, q->deadline);
	return true;
}

static bool ask_next_name(struct question *q)
{
	struct reverse *r = q->reverse;

	return ask(q, r->names.name[r->at++], r->address.size == 4 ? TYPE_A : TYPE_AAAA);
}

/* The deadline, or the moment after libunbound's answer. A question that libunbound still holds lives until it answers:
 * it gives up by itself in time. */
static void on_timer(void *arg)
{
	struct question *q = arg;
	struct resolver *r = q->resolver;

	while (!q->told && !q->pending && q->more && loop_mono(r->loop) < q->deadline) {
		if (ask_next_name(q))
			return;
		q->reverse->failed = true;
		q->answer = RESOLVER_FAILED;
		q->more = q->reverse->at < q->reverse->names.count;
	}
	bool told = q->told;
	uint64_t tag = q->tag;
	enum resolver_answer answer = q->pending || q->more ? RESOLVER_FAILED : q->answer;

	q->told = true;
	if (!q->pending)
		question_free(q);
	if (!told)
		r->answered(r->arg, tag, answer);
}

/* NULL without memory, or when too many are under way. */
static struct question *question_new(struct resolver *r, span_ms timeout, uint64_t tag)
{
	assert(timeout > 0);
	if (r->count >= RESOLVER_QUESTIONS_MAX)
		return NULL;
	struct question *q = heap_new(struct question);
	if (!q)
		return NULL;
	*q = (struct question){
		.resolver = r, .tag = tag, .answer = RESOLVER_FAILED, .deadline = loop_mono(r->loop) + timeout};
	TAILQ_INSERT_TAIL(&r->questions, q, link);
	r->count++;
	q->timer = loop_timer_new(r->loop, on_timer, q);
	if (q->timer)
		return q;
	question_free(q);
	return NULL;
}

bool resolver_ask_mx(struct resolver *r, struct slice domain, span_ms timeout, uint64_t tag)
{
	char name[MAIL_DOMAIN_MAX + 1];

	if (domain.n == 0 || domain.n > MAIL_DOMAIN_MAX)
		return false;
	memcpy(name, domain.p, domain.n);
	name[domain.n] = '\0';
	struct question *q = question_new(r, timeout, tag);
	if (q && ask(q, name, TYPE_MX))
		return true;
	if (q)
		question_free(q);
	return false;
}

#define REVERSE_NAME_MAX (16 * 4 + sizeof "ip6.arpa")

/* RFC 1035 3.5, RFC 3596 2.5 */
static void reverse_name(const struct ip_address *a, char text[REVERSE_NAME_MAX])
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *o = a->octets;
	size_t n = 0;

	if (a->size == 4) {
		snprintf(text, REVERSE_NAME_MAX, "%u.%u.%u.%u.in-addr.arpa", o[3], o[2], o[1], o[0]);
		return;
	}
	for (size_t i = 16; i-- > 0;) {
		text[n++] = digits[o[i] & 15];
		text[n++] = '.';
		text[n++] = digits[o[i] >> 4];
		text[n++] = '.';
	}
	memcpy(text + n, "ip6.arpa", sizeof "ip6.arpa");
}

bool resolver_ask_reverse(struct resolver *r, const struct ip_address *address, span_ms timeout, uint64_t tag)
{
	char name[REVERSE_NAME_MAX];
	struct question *q;

	if (address->size == 0 || !(q = question_new(r, timeout, tag)))
		return false;
	q->reverse = heap_new(struct reverse);
	if (q->reverse) {
		q->reverse->address = *address;
		reverse_name(address, name);
		if (ask(q, name, TYPE_PTR))
			return true;
	}
	question_free(q);
	return false;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static bool ask_server(struct ub_ctx *context, struct slice server)
{
	char text[64];

	if (server.n == 0 || server.n >= sizeof text)
		return false;
	memcpy(text, server.p, server.n);
	text[server.n] = '\0';
	return ub_ctx_set_fwd(context, text) == 0;
}

/* Lines "nameserver ADDRESS"; one that is no address is passed over, as the C library does. */
static void ask_servers_of(struct ub_ctx *context, struct slice resolv_conf)
{
	while (resolv_conf.n) {
		struct slice line = slice_trim(slice_split(&resolv_conf, '\n'));
		size_t word = sizeof "nameserver" - 1, n = 0;
		if (!slice_starts(line, SLICE("nameserver")) || line.n == word ||
		    (line.p[word] != ' ' && line.p[word] != '\t'))
			continue;
		line = slice_trim(slice_skip(line, word));
		while (n < line.n && line.p[n] != ' ' && line.p[n] != '\t')
			n++;
		ask_server(context, slice_head(line, n));
	}
}

static bool configure(struct ub_ctx *context, struct slice server, const struct loop_system *system)
{

	/* A server on this machine may be asked: the operator named it. */
	if (ub_ctx_set_option(context, "do-not-query-localhost:", "no") != 0)
		return false;
	/* Names of private addresses are for our name server to know, which libunbound would not ask by itself. */
	if (ub_ctx_set_option(context, "unblock-lan-zones:", "yes") != 0)
		return false;
	/*
	 * What is known of a server's health is forgotten soon. A server that has no answer about one domain would else
	 * be taken for dead for a quarter of an hour, with all other domains, after half a minute of mail from it.
	 * Forgotten at once, a dead server beside a living one would be asked again and again.
	 */
	if (ub_ctx_set_option(context, "infra-host-ttl:", HEALTH_SECONDS) != 0)
		return false;
	/* Its 16 sockets would be taken by as many questions that nobody answers, and all others would wait. */
	if (ub_ctx_set_option(context, "outgoing-range:", SOCKETS_MAX) != 0)
		return false;
	if (server.n == 0 && system->told) {
		ask_servers_of(context, buf_slice(&system->resolv_conf));
		return true;
	}
	if (server.n == 0)
		return ub_ctx_resolvconf(context, NULL) == 0;
	/* The one that the operator named knows them all, those of this machine included. */
	return ask_server(context, server) && ub_ctx_zone_remove(context, "127.in-addr.arpa.") == 0;
}

struct resolver *resolver_new(struct loop *l, struct slice server,
			      void (*answered)(void *arg, uint64_t tag, enum resolver_answer answer), void *arg)
{
	struct resolver *r = heap_new(struct resolver);

	if (!r)
		return NULL;
	*r = (struct resolver){.loop = l, .answered = answered, .arg = arg};
	TAILQ_INIT(&r->questions);
	r->context = ub_ctx_create_event(loop_base(l));
	if (!r->context || !configure(r->context, server, loop_system(l))) {
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
			r->answered(r->arg, tag, RESOLVER_FAILED);
	}
	heap_free(r);
}
