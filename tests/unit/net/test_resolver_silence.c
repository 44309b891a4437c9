#include "test.h"

#include "net/loop.h"
#include "net/loop_private.h"
#include "net/resolver.h"

#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A name server that says nothing about one domain and knows all others: mail of that domain must not cost the answers
 * about the others. Without help libunbound has 16 sockets, and takes the server for dead after some half a minute of
 * silence, for 15 minutes.
 */

enum {
	SILENT_QUESTIONS = 330,
	EVERY_MS = 100, /* the silence lasts longer than libunbound's patience, which ended between 21 and 31 s */
	AT_ONE_TIME = 200,
	TURNS = 2 * AT_ONE_TIME,
	QUERY_FLAGS = 2,
	QUERY_NAME = 12,
	GOOD = 100000, /* the tag of the question that has an answer */
};

struct world {
	struct loop *loop;
	struct resolver *resolver;
	struct event *readable, *tick;
	int fd;
	unsigned asked, silenced, failed, answers;
	enum resolver_answer last;
};

static void on_question(evutil_socket_t fd, short what, void *arg)
{
	(void)what;
	struct world *w = arg;
	unsigned char packet[1500];
	struct sockaddr_storage from;
	socklen_t length = sizeof from;
	ssize_t n = recvfrom(fd, packet, sizeof packet, 0, (struct sockaddr *)&from, &length);

	if (n <= QUERY_NAME)
		return;
	if (packet[QUERY_NAME] != strlen("good")) { /* the length of the first label */
		w->silenced++;
		return;
	}
	packet[QUERY_FLAGS] |= 0x80;
	packet[QUERY_FLAGS + 1] = 0x80;
	sendto(fd, packet, (size_t)n, 0, (struct sockaddr *)&from, length);
}

static void answered(void *arg, uint64_t tag, enum resolver_answer answer)
{
	struct world *w = arg;

	if (tag != GOOD) {
		w->failed++;
		return;
	}
	w->answers++;
	w->last = answer;
	loop_stop(w->loop);
}

static void ask_silent(struct world *w, span_ms timeout)
{
	char name[64];

	snprintf(name, sizeof name, "silent%u.example", w->asked);
	assert_true(resolver_ask_mx(w->resolver, slice_from_cstr(name), timeout, w->asked++));
}

static void ask_good(struct world *w)
{
	assert_true(resolver_ask_mx(w->resolver, SLICE("good.example"), MINUTE, GOOD));
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	struct world *w = arg;

	if (w->asked < SILENT_QUESTIONS) {
		ask_silent(w, MINUTE);
		return;
	}
	event_del(w->tick);
	ask_good(w);
}

static int begin(void **state)
{
	static struct world w;
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof at;
	char server[64];

	w = (struct world){.loop = loop_new(), .fd = socket(AF_INET, SOCK_DGRAM, 0)};
	if (bind(w.fd, (struct sockaddr *)&at, sizeof at) != 0 ||
	    getsockname(w.fd, (struct sockaddr *)&at, &length) != 0)
		return -1;
	snprintf(server, sizeof server, "127.0.0.1@%u", ntohs(at.sin_port));
	w.resolver = resolver_new(w.loop, slice_from_cstr(server), answered, &w);
	w.readable = event_new(loop_base(w.loop), w.fd, EV_READ | EV_PERSIST, on_question, &w);
	event_add(w.readable, NULL);
	w.tick = event_new(loop_base(w.loop), -1, EV_PERSIST, on_tick, &w);
	*state = &w;
	return w.resolver ? 0 : -1;
}

static int end(void **state)
{
	struct world *w = *state;

	event_free(w->readable);
	event_free(w->tick);
	resolver_free(w->resolver);
	loop_free(w->loop);
	close(w->fd);
	return 0;
}

/* attacks N3: a question goes out whatever waits for answers. */
static void many_questions_without_answer_hold_up_no_other(void **state)
{
	struct world *w = *state;

	while (w->asked < AT_ONE_TIME)
		ask_silent(w, MINUTE);
	/* Nothing is waited for. */
	for (unsigned i = 0; i < TURNS; i++)
		event_base_loop(loop_base(w->loop), EVLOOP_NONBLOCK);
	assert_true(w->silenced >= AT_ONE_TIME);
}

static void a_domain_without_answer_does_not_take_the_name_server_away(void **state)
{
	struct world *w = *state;

	event_add(w->tick, &(struct timeval){.tv_usec = EVERY_MS * 1000});
	loop_run(w->loop);
	assert_true(w->silenced > 0);
	assert_int_equal(w->answers, 1);
	assert_int_equal(w->last, RESOLVER_OTHER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(many_questions_without_answer_hold_up_no_other, begin, end),
		cmocka_unit_test_setup_teardown(a_domain_without_answer_does_not_take_the_name_server_away, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
