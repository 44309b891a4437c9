/*
 * Connections to sites where nobody answers, and what they leave to the others.
 */
#include "test.h"

#include "base/pack.h"
#include "net/socket.h"
#include "role/courier_private.h"

#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#define MOST   8
#define SILENT 4 /* of those */

struct world {
	struct loop *loop;
	struct courier *courier;
	struct role_self self;
	int queue, listener;
	unsigned port;
};

static void nothing(void *arg)
{
	(void)arg;
}

/* Connections to it stand, and nobody says a word: it makes no difference to when they are made. */
static int listen_somewhere(unsigned *ret_port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof address;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(fd, 100), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void begin(struct world *w)
{
	static struct conf_error error;
	const struct conf_host host = {.name = SLICE("mx.example.com"), .cores = 1};
	char text[500];
	int ends[2];

	*w = (struct world){.loop = loop_new()};
	w->self = (struct role_self){.arg = w, .queue_lost = nothing};
	w->listener = listen_somewhere(&w->port);
	w->courier = courier_new(w->loop, &w->self, NULL, NULL);
	assert_non_null(w->courier);
	assert_true(socket_pair(ends));
	w->queue = ends[1];
	courier_peer(w->courier, (struct wire_peer){.kind = ROLE_QUEUE}, ends[0]);
	snprintf(text, sizeof text,
		 "hostname = \"mx.example.com\"\ndata_dir = \"/tmp\"\nclient { connections_max = %d }\n"
		 "route \"example.net\" { hosts = {\"127.0.0.1:%u\"} }\n",
		 MOST, w->port);
	struct conf *c = conf_load_text(slice_from_cstr(text), "test.conf", &host, &error);
	assert_non_null(c);
	courier_configure(w->courier, c);
	conf_unref(c);
}

static void end(struct world *w)
{
	courier_free(w->courier);
	loop_free(w->loop);
	close(w->queue);
	close(w->listener);
}

/* A job for the site of this name, as if the queue had sent it so long ago. */
static struct site *give(struct world *w, const char *name, bool silent, span_ms ago)
{
	const struct mail_rcpt rcpt = {.address = SLICE("x@example.net")};
	const uint32_t n = 0;
	const struct queue_job job = {
		.job = 7,
		.id = 1,
		.route = {ROUTE_SMTP, .site = slice_from_cstr(name), .hosts = SLICE("example.net")},
		.envelope = {.rcpt = &rcpt, .rcpt_count = 1},
		.n = &n,
		.silent = silent,
	};
	struct buf payload;

	buf_init(&payload, 10000);
	wire_put_job(&payload, &job);
	struct courier_job *made = courier_decode_job(buf_slice(&payload));
	buf_free(&payload);
	assert_non_null(made);
	assert_int_equal(made->queue.silent, silent);
	struct site *site = courier_find_site(w->courier, slice_from_cstr(name), false);
	assert_non_null(site);
	w->courier->job_count++;
	site->allowed = 1;
	courier_set_silent(site, made->queue.silent);
	made->started = loop_mono(w->loop) - ago;
	TAILQ_INSERT_TAIL(&site->waiting, made, link);
	courier_serve_site(site);
	return site;
}

static void give_to_many(struct world *w, const char *kind, size_t count, bool silent, struct site **ret)
{
	char name[40];

	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof name, "%s%zu.example", kind, i);
		ret[i] = give(w, name, silent, 0);
	}
}

/* Whoever waits for a connection gets it, if there is one. */
static void serve(struct world *w)
{
	struct loop_timer *t = loop_timer_new(w->loop, (void (*)(void *))loop_stop, w->loop);

	loop_timer_set(t, loop_mono(w->loop) + 20);
	loop_run(w->loop);
	loop_timer_free(t);
}

static void give_up(struct world *w, struct site *site)
{
	struct link *k = TAILQ_FIRST(&site->links);

	assert_non_null(k);
	conn_close(k->conn);
	k->conn = NULL;
	courier_note_finding(k, (struct smtpcodes_status){4, 4, 1}, "cannot connect", "timed out");
	courier_give_up_link(k);
	serve(w);
}

static void assert_links(const struct world *w, size_t all, size_t silent)
{
	assert_int_equal(w->courier->link_count, all);
	assert_int_equal(w->courier->silent_links, silent);
}

static void silent_sites_have_half_of_the_connections(void **state)
{
	(void)state;
	struct site *quiet[6], *other[5];
	struct world w;

	begin(&w);
	give_to_many(&w, "silent", 6, true, quiet);
	assert_links(&w, SILENT, SILENT);
	assert_true(quiet[4]->is_starved && quiet[5]->is_starved);
	/* Those that wait for their half are in nobody's way. */
	give_to_many(&w, "other", 4, false, other);
	assert_links(&w, MOST, SILENT);
	give_to_many(&w, "more", 1, false, &other[4]);
	assert_true(other[4]->is_starved);
	/* The next connection is for the one that answers, though it came last, and then for the silent ones. */
	give_up(&w, quiet[0]);
	assert_links(&w, MOST, SILENT - 1);
	assert_false(other[4]->is_starved);
	assert_true(quiet[4]->is_starved);
	give_up(&w, other[0]);
	assert_links(&w, MOST, SILENT);
	assert_false(quiet[4]->is_starved);
	assert_true(quiet[5]->is_starved);
	end(&w);
}

static void sites_that_answer_leave_something_to_silent_ones(void **state)
{
	(void)state;
	struct site *quiet[2], *other[MOST + 3];
	struct world w;

	begin(&w);
	give_to_many(&w, "other", MOST + 3, false, other);
	give_to_many(&w, "silent", 2, true, quiet);
	assert_links(&w, MOST, 0);
	assert_true(other[MOST]->is_starved && quiet[0]->is_starved);
	give_up(&w, other[0]);
	assert_links(&w, MOST, 1);
	assert_false(quiet[0]->is_starved);
	give_up(&w, other[1]);
	assert_links(&w, MOST, 1);
	assert_true(quiet[1]->is_starved);
	assert_false(other[MOST]->is_starved);
	end(&w);
}

static void a_site_that_answers_is_silent_no_more(void **state)
{
	(void)state;
	struct site *quiet[6];
	struct world w;

	begin(&w);
	give_to_many(&w, "silent", 6, true, quiet);
	courier_set_silent(quiet[0], false);
	assert_links(&w, SILENT, SILENT - 1);
	courier_serve_starved(w.courier);
	assert_links(&w, SILENT + 1, SILENT);
	/* One that waits changes its line. */
	assert_true(quiet[5]->is_starved);
	courier_set_silent(quiet[5], false);
	courier_serve_starved(w.courier);
	assert_false(quiet[5]->is_starved);
	assert_links(&w, SILENT + 2, SILENT);
	end(&w);
}

/* The queue takes a site for silent by the time of an attempt. */
static void the_wait_for_a_connection_is_no_part_of_an_attempt(void **state)
{
	(void)state;
	struct queue_outcome outcome;
	char in[1000];
	struct world w;

	begin(&w);
	give_up(&w, give(&w, "one.example", true, HOUR));
	channel_flush(w.courier->queue, SECOND);
	ssize_t n = recv(w.queue, in, sizeof in, MSG_DONTWAIT);
	assert_true(n > 8);
	struct unpack u = {.in = slice_of(in, (size_t)n)};
	uint32_t length = unpack_u32(&u);
	assert_int_equal(unpack_u16(&u), WIRE_OUTCOME);
	assert_true(wire_get_outcome(slice_head(slice_skip(u.in, 2), length), &outcome));
	assert_true(outcome.site_failed);
	assert_in_range(outcome.took, 0, 10 * MINUTE);
	end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silent_sites_have_half_of_the_connections),
		cmocka_unit_test(sites_that_answer_leave_something_to_silent_ones),
		cmocka_unit_test(a_site_that_answers_is_silent_no_more),
		cmocka_unit_test(the_wait_for_a_connection_is_no_part_of_an_attempt),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
