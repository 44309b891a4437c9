/*
 * A connection over a socket pair, whose other end does what a peer may do at any time.
 */
#include "test.h"

#include "net/conn.h"

#include <sys/socket.h>
#include <unistd.h>

struct party {
	struct loop *loop;
	struct conn *conn;
	struct loop_timer *over;
	int ends;
	const char *why;
};

static size_t take_all(void *arg, struct slice in)
{
	(void)arg;
	return in.n;
}

/* Says something more, then ends: as a session does that owes an answer. */
static void on_closed(void *arg, const char *why)
{
	struct party *p = arg;

	p->ends++;
	p->why = why;
	conn_write(p->conn, SLICE("221 2.0.0 bye\r\n"));
	conn_finish(p->conn, 10 * SECOND);
	loop_timer_set(p->over, loop_mono(p->loop));
}

static const struct conn_handler ends_well = {.input = take_all, .closed = on_closed};

static void stop(void *arg)
{
	struct party *p = arg;

	loop_stop(p->loop);
}

static void begin(struct party *p, int fd, const struct conn_handler *handler)
{
	*p = (struct party){.loop = loop_new()};
	p->over = loop_timer_new(p->loop, stop, p);
	p->conn = conn_new(p->loop, fd, handler, p);
	assert_non_null(p->conn);
}

static void end(struct party *p)
{
	loop_timer_free(p->over);
	loop_free(p->loop);
}

/* The end of the peer is seen first; what is written then meets a socket that is gone. */
static void test_a_peer_that_is_gone_when_it_is_answered_holds_nobody_up(void **state)
{
	struct party p;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	begin(&p, ends[0], &ends_well);
	close(ends[1]);
	loop_run(p.loop);
	assert_int_equal(p.ends, 1);
	assert_null(p.why);
	end(&p);
}

static void test_a_peer_that_only_ended_its_side_is_answered(void **state)
{
	struct party p;
	char heard[100];
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	begin(&p, ends[0], &ends_well);
	shutdown(ends[1], SHUT_WR);
	loop_run(p.loop);
	assert_int_equal(p.ends, 1);
	assert_int_equal(recv(ends[1], heard, sizeof heard, 0), 15);
	assert_int_equal(recv(ends[1], heard, sizeof heard, 0), 0);
	close(ends[1]);
	end(&p);
}

/* It waits for the end of a peer that says nothing more, and nobody but the loop knows it by then. */
static void test_what_is_not_finished_ends_with_the_loop(void **state)
{
	struct party p;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	begin(&p, ends[0], &ends_well);
	conn_finish(p.conn, 10 * SECOND);
	loop_timer_set(p.over, loop_mono(p.loop));
	loop_run(p.loop);
	assert_int_equal(send(ends[1], "x", 1, MSG_NOSIGNAL), 1);
	end(&p);
	assert_int_equal(send(ends[1], "x", 1, MSG_NOSIGNAL), -1);
	close(ends[1]);
}

static void go_on(void *arg)
{
	struct party *p = arg;

	assert_false(conn_write(p->conn, SLICE("end\r\n")));
}

static void on_torn(void *arg, const char *why)
{
	struct party *p = arg;

	p->ends++;
	p->why = why;
	conn_close(p->conn);
	loop_timer_set(p->over, loop_mono(p->loop));
}

/* Else what comes after it would be taken for the rest of what came before. */
static void test_nothing_follows_what_could_not_be_written(void **state)
{
	static const struct conn_handler handler = {.input = take_all, .closed = on_torn, .drained = go_on};
	size_t size = (size_t)17 << 20;
	char *too_much = calloc(1, size);
	struct party p;
	char heard[100];
	int ends[2];

	(void)state;
	assert_non_null(too_much);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	begin(&p, ends[0], &handler);
	assert_true(conn_write(p.conn, SLICE("begin\r\n")));
	assert_false(conn_write(p.conn, slice_of(too_much, size)));
	assert_false(conn_write(p.conn, SLICE("end\r\n")));
	loop_run(p.loop);
	assert_int_equal(p.ends, 1);
	assert_non_null(p.why);
	assert_int_equal(recv(ends[1], heard, sizeof heard, 0), 0);
	close(ends[1]);
	free(too_much);
	end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_peer_that_is_gone_when_it_is_answered_holds_nobody_up),
		cmocka_unit_test(test_a_peer_that_only_ended_its_side_is_answered),
		cmocka_unit_test(test_what_is_not_finished_ends_with_the_loop),
		cmocka_unit_test(test_nothing_follows_what_could_not_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
