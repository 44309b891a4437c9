#include "conf/build_private.h"

#include "base/heap.h"

#include <assert.h>

#define SCRATCH_MAX 16384

/* ---- listeners ----------------------------------------------------------------------------------------------- */

static void check_listener(struct build *b, const struct conf_raw_section *raw, struct conf_listener *l)
{
	bool inet = build_key_given(raw, "address") || build_key_given(raw, "port");

	if (l->name.n == 0 || l->name.n > 64 || slice_eq(l->name, SLICE("submit")))
		conf_wrong(b->err, raw->at, "the name of a listener has 1 to 64 octets and is not \"submit\"");
	if (l->socket.n && inet)
		conf_wrong(b->err, raw->at, "a listener has a socket, or an address and port, but not both");
	if (l->socket.n) {
		l->address = SLICE("");
		l->port = 0;
	}
}

static struct networks build_networks(struct build *b, const struct conf_texts *texts)
{
	struct network *list = build_take(b, texts->count, sizeof *list);
	const char *why;

	if (!list)
		return (struct networks){0};
	for (size_t i = 0; i < texts->count; i++)
		network_parse(texts->list[i], &list[i], &why); /* was checked when the key was read */
	return (struct networks){list, texts->count};
}

static void finish_server(struct build *b, struct conf_listener *l, struct conf_place at)
{
	l->server.name = b->c->hostname;
	if (l->socket.n) /* whoever can listen there owns the machine */
		l->server.tls = SMTP_TLS_OFF;
	l->server.offer_binarymime = l->server.offer_binarymime && l->server.offer_chunking;
	l->server.offer_vrfy = b->c->vrfy != CONF_DISCLOSE_NOBODY && b->c->vrfy != CONF_DISCLOSE_OFF;
	l->server.offer_expn = b->c->expn != CONF_DISCLOSE_NOBODY;
	l->server.asks_status = b->c->status != CONF_DISCLOSE_NOBODY;
	l->server.suspended = l->suspend_parameters.list;
	l->server.suspended_count = l->suspend_parameters.count;
	l->clients = build_networks(b, &l->client_texts);
	l->proxies = build_networks(b, &l->proxy_texts);
	l->xclient = build_networks(b, &l->xclient_texts);
	l->xforward = build_networks(b, &l->xforward_texts);
	l->server.knows_xclient = l->xclient.count > 0;
	l->server.knows_xforward = l->xforward.count > 0;
	build_mechanisms(b, l, at);
}

/* "address port" or the path: no two may be at one place. */
static struct slice listener_place(struct build *b, const struct conf_listener *l)
{
	if (l->socket.n)
		return l->socket;
	buf_add(&b->scratch, l->address);
	buf_printf(&b->scratch, " port %u", l->port);
	return build_keep_scratch(b);
}

static void check_listeners(struct build *b, const struct conf_listener *list, size_t count)
{
	struct named *names = build_take(b, count + 1, sizeof *names),
		     *places = build_take(b, count + 1, sizeof *places);
	const struct conf_raw_section *raw = b->raw->first;
	size_t n = 0;

	if (!names || !places)
		return;
	for (; n < count; n++, raw = raw->next) {
		raw = build_next_section(raw, SECTION_LISTEN);
		names[n] = (struct named){list[n].name, raw->at};
		places[n] = (struct named){listener_place(b, &list[n]), raw->at};
	}
	if (b->c->submit_socket.n)
		places[n++] = (struct named){b->c->submit_socket, build_key_place(b->raw->first, "submit_socket")};
	build_check_twice(b, names, count, "listen");
	build_check_twice(b, places, n, "a listener at");
}

static void build_listeners(struct build *b)
{
	size_t count = b->raw->counts[SECTION_LISTEN], n = 0;
	struct conf *c = b->c;

	build_section(b, SECTION_SMTP, build_only_section(b, SECTION_SMTP), &c->listener_defaults);
	if (count > CONF_LISTENER_MAX)
		conf_wrong(b->err, b->raw->first->at, "there are more than %d listeners", CONF_LISTENER_MAX);
	struct conf_listener *list = build_take(b, count + 1, sizeof *list);
	if (!list || count > CONF_LISTENER_MAX)
		return;
	for (const struct conf_raw_section *s = build_next_section(b->raw->first, SECTION_LISTEN); s;
	     s = build_next_section(s->next, SECTION_LISTEN)) {
		struct conf_listener *l = &list[n++];

		*l = c->listener_defaults;
		l->name = build_keep(b, s->title);
		build_section(b, SECTION_LISTEN, s, l);
		check_listener(b, s, l);
		finish_server(b, l, s->at);
	}
	assert(n == count);
	check_listeners(b, list, count);
	if (c->submit_socket.n) {
		list[n] = c->listener_defaults;
		list[n].name = SLICE("submit");
		list[n].address = SLICE("");
		list[n].socket = c->submit_socket;
		finish_server(b, &list[n++], build_key_place(b->raw->first, "submit_socket"));
	}
	c->listeners = list;
	c->listener_count = n;
}

/* ---- certificates -------------------------------------------------------------------------------------------- */

/* A host name in canonical form, perhaps behind "*."; empty with an error. */
static struct slice certificate_name(struct build *b, const struct conf_raw_section *s)
{
	bool wild = slice_starts(s->title, SLICE("*."));
	struct slice host = slice_skip(s->title, wild ? 2 : 0);

	if (wild)
		buf_add_lit(&b->scratch, "*.");
	if (host.n > 0 && host.p[0] != '[' && mail_domain_canonical(host, &b->scratch) && !b->scratch.failed &&
	    buf_len(&b->scratch) <= MAIL_DOMAIN_MAX)
		return build_keep_scratch(b);
	buf_reset(&b->scratch);
	conf_wrong(b->err, s->at, "certificate \"%.*s\": it is no host name", SLICE_ARGS(slice_head(s->title, 200)));
	return SLICE("");
}

/* One with an RSA key and one with an EC key; of which kind they are stands in the files. */
static void check_thrice(struct build *b, const struct conf_certificate *list, size_t n,
			 const struct conf_raw_section *s)
{
	size_t same = 0;

	for (size_t i = 0; i < n; i++)
		same += list[i].name.n > 0 && slice_ieq(list[i].name, list[n].name);
	if (same > 1)
		conf_wrong(b->err, s->at, "certificate \"%.*s\" is there three times", SLICE_ARGS(list[n].name));
}

static void build_certificates(struct build *b)
{
	size_t count = b->raw->counts[SECTION_CERTIFICATE], n = 0;

	if (count > CONF_CERTIFICATE_MAX) {
		conf_wrong(b->err, b->raw->first->at, "there are more than %d certificates", CONF_CERTIFICATE_MAX);
		return;
	}
	struct conf_certificate *list = build_take(b, count, sizeof *list);
	if (!list)
		return;
	for (const struct conf_raw_section *s = build_next_section(b->raw->first, SECTION_CERTIFICATE); s;
	     s = build_next_section(s->next, SECTION_CERTIFICATE)) {
		list[n].name = certificate_name(b, s);
		check_thrice(b, list, n, s);
		build_section(b, SECTION_CERTIFICATE, s, &list[n++]);
	}
	b->c->certificates = list;
	b->c->certificate_count = n;
}

/* ---- the rest ------------------------------------------------------------------------------------------------ */

static void conf_router(const void *arg, struct slice address, struct route *ret)
{
	conf_route(arg, address, ret);
}

static size_t conf_expander(const void *arg, struct slice address, const struct slice **ret)
{
	struct directory_texts targets = conf_report_targets(arg, address);

	*ret = targets.list;
	return targets.count;
}

static struct slice double_bounces_to(struct build *b)
{
	if (b->c->postmaster.n)
		return b->c->postmaster;
	buf_add_lit(&b->scratch, "postmaster@");
	buf_add(&b->scratch, directory_first_domain(b->c->directory));
	return build_keep_scratch(b);
}

static void check_queue(struct build *b, const struct conf_raw_section *s)
{
	const struct queue_config *q = &b->c->queue;

	if (!s)
		return;
	if (q->retry.longest < q->retry.first)
		conf_wrong(b->err, build_key_place(s, "retry_longest"),
			   "retry_longest must not be less than retry_first");
	if (q->retry.lifetime <= q->retry.warn)
		conf_wrong(b->err, build_key_place(s, "lifetime"), "lifetime must be more than warn_after");
	if (q->site_connections_max < q->site_connections)
		conf_wrong(b->err, build_key_place(s, "site_connections_max"),
			   "site_connections_max must not be less than site_connections");
	if (b->c->inline_body_max > q->window_octets)
		conf_wrong(b->err, build_key_place(s, "window_octets"),
			   "window_octets must not be less than inline_body_max");
}

static void build_queue(struct build *b)
{
	const struct conf_raw_section *s = build_only_section(b, SECTION_QUEUE);
	unsigned before = b->err->errors;

	build_section(b, SECTION_QUEUE, s, b->c);
	if (b->err->errors == before) /* else what does not fit may be a consequence */
		check_queue(b, s);
}

/* Values that follow from others. */
static void finish(struct build *b)
{
	struct conf *c = b->c;

	c->client.name = c->hostname;
	c->lmtp_client = c->client;
	c->lmtp_client.lmtp = true;
	c->queue.name = c->hostname;
	c->queue.courier_connections_max = c->connections_max;
	c->queue.router = (struct queue_router){conf_router, conf_expander, c};
	c->queue.postmaster = double_bounces_to(b);
}

static void sort_routes(struct build *b)
{
	struct slice twice;

	/* Whatever is there twice was found before, with its line. */
	bool good = route_table_sort(&b->c->route_table, &twice);
	assert(good);
}

static void build_all(struct build *b)
{
	struct conf *c = b->c;
	static const enum conf_section_id once[] = {SECTION_TLS,    SECTION_ACCOUNTS, SECTION_OAUTH,
						    SECTION_CLIENT, SECTION_MAILBOX,  SECTION_LOG};

	/* data_dir comes before the sockets in the table, and is part of their presets. */
	const struct conf_key *data_dir = conf_key_find(SECTION_TOP, SLICE("data_dir"));
	const struct conf_raw_key *given = conf_raw_find(b->raw->first, data_dir);
	b->context = (struct conf_text_context){
		.host = b->host,
		.data_dir = given ? given->last->text : slice_from_cstr(data_dir->preset),
	};
	build_section(b, SECTION_TOP, b->raw->first, c);
	if (c->control_socket.n == 0)
		conf_wrong(b->err, build_key_place(b->raw->first, "control_socket"), "there must be a control_socket");
	for (size_t i = 0; i < sizeof once / sizeof *once; i++)
		build_section(b, once[i], build_only_section(b, once[i]), c);
	build_check_mechanisms(b, build_only_section(b, SECTION_ACCOUNTS));
	build_check_oauth(b, build_only_section(b, SECTION_OAUTH));
	build_queue(b);
	c->delimiter = c->delimiter_text.n ? c->delimiter_text.p[0] : 0;
	c->relay_networks = build_networks(b, &c->relay_texts);
	build_listeners(b);
	build_certificates(b);
	build_certificate_logins(b);
	build_rules(b);
	build_domains(b);
	build_routes(b);
	if (b->err->errors > 0)
		return;
	sort_routes(b);
	build_directory(b);
	if (b->err->errors == 0)
		finish(b);
}

struct conf *conf_build(const struct conf_raw *raw, const struct conf_host *host, struct conf_error *err)
{
	struct build b = {.raw = raw, .host = host, .err = err, .c = heap_new(struct conf)};

	if (!b.c) {
		build_no_memory(&b);
		return NULL;
	}
	b.c->refs = 1;
	arena_init(&b.c->arena, CONF_MEMORY_MAX);
	buf_init(&b.scratch, SCRATCH_MAX);
	build_all(&b);
	buf_free(&b.scratch);
	if (err->errors > 0) {
		conf_unref(b.c);
		return NULL;
	}
	return b.c;
}
