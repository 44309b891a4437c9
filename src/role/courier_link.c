#include "role/courier_private.h"

#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define AVOID_HOST (60 * SECOND) /* a host that failed is tried again after this, if others work */
/* For the configuration that has the hosts of a job; it comes by another way than the job. */
#define HOSTS_PATIENCE (10 * SECOND)
#define HOSTS_AGAIN    50
#define NO_NAME    ((struct smtpcodes_status){4, 4, 3})

static_assert(CONF_HOSTS_MAX <= 32, "a link has a bit for each host");

static void try_next_address(struct link *k);

struct slice courier_remote(const struct link *k)
{
	return slice_from_cstr(k->remote);
}

void courier_free_link(struct link *k)
{
	struct site *site = k->site;

	if (k->gone)
		*k->gone = true;
	TAILQ_REMOVE(&site->links, k, link);
	site->link_count--;
	k->courier->link_count--;
	k->courier->silent_links -= site->silent;
	if (!TAILQ_EMPTY(&k->courier->starved[false]) || !TAILQ_EMPTY(&k->courier->starved[true]))
		loop_timer_set(k->courier->room, loop_mono(k->courier->loop));
	assert(TAILQ_EMPTY(&k->jobs));
	conn_lookup_cancel(k->lookup);
	conn_attempt_cancel(k->attempt);
	loop_timer_free(k->timer);
	courier_end_auth(k);
	smtp_client_free(k->client);
	conf_unref(k->conf);
	heap_free(k);
}

void courier_note_failure(struct link *k, const struct smtp_outcome *outcome)
{
	size_t n = outcome->text.n < sizeof k->failure_text ? outcome->text.n : sizeof k->failure_text;

	if (k->failure.status.klass == 4 && outcome->verdict == SMTP_FAILED)
		return;
	if (n)
		memcpy(k->failure_text, outcome->text.p, n);
	k->failure = *outcome;
	k->failure.text = slice_of(k->failure_text, n);
}

void courier_note_finding(struct link *k, struct smtpcodes_status status, const char *what, const char *why)
{
	char text[256];
	int n = snprintf(text, sizeof text, "%s%s%s", what, why ? ": " : "", why ? why : "");

	courier_note_failure(k, &(struct smtp_outcome){.verdict = SMTP_DEFERRED,
						       .stage = SMTP_STAGE_CONNECT,
						       .status = status,
						       .text = slice_of(text, (size_t)(n < 255 ? n : 255))});
}

/* X.4.1 is for a host that does not answer, X.3.0 for what we lack ourselves; all else is X.4.0. */
struct smtpcodes_status courier_connect_status(int error)
{
	static const struct {
		int error;
		uint16_t subject, detail;
	} rows[] = {
		{ECONNREFUSED, 4, 1}, {ETIMEDOUT, 4, 1},     {EHOSTDOWN, 4, 1},
		{ECONNRESET, 4, 1},   {ECONNABORTED, 4, 1},  {EAGAIN, 4, 1}, /* the line of a unix socket is full */
		{EMFILE, 3, 0},       {ENFILE, 3, 0},        {ENOMEM, 3, 0},
		{ENOBUFS, 3, 0},      {EADDRNOTAVAIL, 3, 0}, /* no port is left here */
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (rows[i].error == error)
			return (struct smtpcodes_status){4, rows[i].subject, rows[i].detail};
	return (struct smtpcodes_status){4, 4, 0};
}

void courier_give_up_link(struct link *k)
{
	struct site *site = k->site;
	struct courier *c = k->courier;
	struct courier_job *job;

	/* Where mail that demands TLS does not come through, all other may. */
	bool site_failed = !site->demands_tls || k->failure.stage != SMTP_STAGE_TLS;

	while (site->link_count == 1 && (job = TAILQ_FIRST(&site->waiting))) {
		TAILQ_REMOVE(&site->waiting, job, link);
		/* The attempt took as long as this connection was tried, not as long as the job waited for one. */
		if (job->started < k->opened)
			job->started = k->opened;
		courier_settle_job(c, job, &k->failure, courier_remote(k), site_failed);
	}
	courier_free_link(k);
	if (site->link_count > 0)
		site->allowed = site->link_count;
	courier_serve_site(site);
}

static const struct route_host *host_of(const struct link *k)
{
	return &k->group->hosts[k->host];
}

static void name_remote(struct link *k, const struct net_address *address)
{
	const struct route_host *h = host_of(k);
	char text[NET_ADDRESS_TEXT];

	if (h->kind == ROUTE_HOST_UNIX || !address) {
		snprintf(k->remote, sizeof k->remote, "%s%.*s", h->kind == ROUTE_HOST_UNIX ? "unix:" : "",
			 SLICE_ARGS(slice_head(h->name, 255)));
		return;
	}
	struct slice ip = net_address_text(address, text);
	if (h->kind == ROUTE_HOST_NAME)
		snprintf(k->remote, sizeof k->remote, "%.*s [%.*s]:%u", SLICE_ARGS(slice_head(h->name, 200)),
			 SLICE_ARGS(ip), h->port);
	else
		snprintf(k->remote, sizeof k->remote, "[%.*s]:%u", SLICE_ARGS(ip), h->port);
}

static void on_found(void *arg, const struct net_address *list, size_t count, const char *why)
{
	struct link *k = arg;

	k->lookup = NULL;
	if (count == 0)
		courier_note_finding(k, NO_NAME, "host name cannot be resolved", why);
	k->address = 0;
	k->address_count = count < 16 ? count : 16;
	memcpy(k->addresses, list, k->address_count * sizeof *list);
	try_next_address(k);
}

/* Finds the addresses of the host that the link has come to. */
static void begin_host(struct link *k)
{
	const struct route_host *h = host_of(k);

	name_remote(k, NULL);
	k->address = k->address_count = 0;
	if (h->kind == ROUTE_HOST_NAME) {
		k->lookup = conn_resolve(k->courier->loop, h->name, h->port, on_found, k);
		if (k->lookup)
			return;
		courier_note_finding(k, NO_NAME, "host name cannot be resolved", "no resolver");
	} else if (h->kind == ROUTE_HOST_UNIX ? net_address_unix(h->name, &k->addresses[0])
					      : net_address_ip(h->name, h->port, &k->addresses[0])) {
		k->address_count = 1;
	} else {
		courier_note_finding(k, (struct smtpcodes_status){4, 4, 4}, "the configured address cannot be used",
				     NULL);
	}
	try_next_address(k);
}

static bool find_host(struct link *k, bool avoid)
{
	mono_ms now = loop_mono(k->courier->loop);

	for (size_t i = 0; i < k->group->count; i++)
		if (!(k->tried & 1u << i) && !(avoid && k->site->avoid[i] > now)) {
			k->host = i;
			k->tried |= 1u << i;
			return true;
		}
	return false;
}

/*
 * The next host in order of preference, once for each link. Those that failed of late are passed over, unless all did,
 * or all others fail for good: mail is not returned before every host was asked. False when none is left.
 */
static bool next_host(struct link *k)
{
	assert(k->group->count <= CONF_HOSTS_MAX);
	if (find_host(k, true))
		return true;
	k->spares_none = k->spares_none || k->tried == 0;
	return (k->spares_none || k->failure.status.klass != 4) && find_host(k, false);
}

void courier_host_failed(struct link *k)
{
	k->site->avoid[k->host] = loop_mono(k->courier->loop) + AVOID_HOST;
	if (next_host(k))
		begin_host(k);
	else
		courier_give_up_link(k);
}

static void on_connected(void *arg, int fd, int error)
{
	struct link *k = arg;

	k->attempt = NULL;
	if (error) {
		courier_note_finding(k, courier_connect_status(error), "cannot connect", strerror(error));
		k->address++;
		try_next_address(k);
		return;
	}
	courier_start_session(k, fd);
}

static void connect_address(struct link *k)
{
	const struct net_address *address = &k->addresses[k->address];
	name_remote(k, address);
	k->attempt = conn_connect(k->courier->loop, address, k->conf->connect_timeout, on_connected, k);
	if (!k->attempt) {
		courier_note_finding(k, courier_connect_status(ENOMEM), "cannot connect", "out of memory");
		courier_host_failed(k);
	}
}

static struct link *new_link(struct site *site)
{
	struct courier *c = site->courier;
	struct link *k = heap_new(struct link);

	if (!k)
		return NULL;
	*k = (struct link){.courier = c, .site = site, .conf = conf_ref(c->conf), .opened = loop_mono(c->loop)};
	TAILQ_INIT(&k->jobs);
	k->timer = loop_timer_new(c->loop, courier_on_timer, k);
	TAILQ_INSERT_TAIL(&site->links, k, link);
	site->link_count++;
	c->link_count++;
	c->silent_links += site->silent;
	return k;
}

static void try_next_address(struct link *k)
{
	k->in_clear = false;
	k->secured[0] = '\0';
	if (k->address == k->address_count)
		courier_host_failed(k);
	else
		connect_address(k);
}

void courier_try_in_clear(struct link *k)
{
	k->in_clear = true;
	connect_address(k);
}

/* Nobody else would take the site's jobs up again. */
static void refuse_waiting(struct site *site)
{
	static const struct smtp_outcome no_memory = {
		.verdict = SMTP_DEFERRED,
		.stage = SMTP_STAGE_ROUTE,
		.status = {4, 3, 0},
		.text = {"out of memory", sizeof "out of memory" - 1},
	};
	struct courier_job *job;

	while (site->link_count == 0 && (job = TAILQ_FIRST(&site->waiting))) {
		TAILQ_REMOVE(&site->waiting, job, link);
		courier_settle_job(site->courier, job, &no_memory, SLICE_NONE, false);
	}
}

static void begin_group(struct link *k)
{
	k->awaits_hosts = 0;
	k->settings = k->group->lmtp ? k->conf->lmtp_client : k->conf->client;
	k->settings.refuses_own_name = !k->group->own_name;
	k->settings.mechanisms = k->group->auth.mechanisms;
	k->settings.mechanism_count = k->group->auth.mechanism_count;
	k->settings.auth_optional = !k->group->auth.required;
	if (next_host(k))
		begin_host(k);
	else
		courier_give_up_link(k);
}

/*
 * The queue may have a new configuration a moment before us, and its new routes with it: those are waited for. `hosts`
 * is empty when nothing waits any more.
 */
static void find_hosts(struct link *k, struct slice hosts)
{
	mono_ms now = loop_mono(k->courier->loop);

	k->group = hosts.n ? conf_hosts(k->conf, hosts) : NULL;
	if (k->timer && k->group) {
		begin_group(k);
		return;
	}
	if (k->timer && hosts.n && now < k->awaits_hosts) {
		loop_timer_set(k->timer, now + HOSTS_AGAIN);
		return;
	}
	courier_note_failure(k, &(struct smtp_outcome){
					.verdict = SMTP_DEFERRED,
					.stage = SMTP_STAGE_ROUTE,
					.status = {4, 3, 5},
					.text = k->timer ? SLICE("the route's hosts are not configured any more")
							 : SLICE("out of memory"),
				});
	courier_give_up_link(k);
}

void courier_open_link(struct site *site, struct slice hosts)
{
	struct link *k = new_link(site);

	if (!k) {
		refuse_waiting(site);
		return;
	}
	k->awaits_hosts = loop_mono(site->courier->loop) + HOSTS_PATIENCE;
	find_hosts(k, hosts);
}

void courier_find_hosts(struct link *k)
{
	const struct courier_job *job = TAILQ_FIRST(&k->site->waiting);

	conf_unref(k->conf);
	k->conf = conf_ref(k->courier->conf);
	find_hosts(k, job ? job->queue.route.hosts : SLICE_NONE);
}
