#include "test.h"

#include "cli/submit.h"
#include "conf/conf.h"
#include "net/socket.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- a server that follows a script ------------------------------------------------------------------------ */

/* One line of the dialogue: what the client must say ("" at the greeting; "." takes lines up to the dot; a beginning is
 * enough), and the answer. An answer of NULL hangs up. */
struct turn {
	const char *client, *server;
};

static bool read_line(FILE *in, char line[2048])
{
	return fgets(line, 2048, in) != NULL;
}

/* The child's life. Its exit status says whether the client said what it must. */
static void serve(int fd, const struct turn *turns)
{
	FILE *in = fdopen(fd, "r");
	char line[2048] = "";

	signal(SIGPIPE, SIG_IGN);

	for (; turns->client; turns++) {
		if (strcmp(turns->client, ".") == 0) {
			while (read_line(in, line) && strcmp(line, ".\r\n") != 0)
				;
		} else if (turns->client[0] && !read_line(in, line)) {
			_exit(2);
		}
		if (strncmp(line, turns->client, strlen(turns->client)) != 0) {
			fprintf(stderr, "wanted %s, got %s", turns->client, line);
			_exit(3);
		}
		if (!turns->server)
			_exit(0);
		if (write(fd, turns->server, strlen(turns->server)) < 0)
			_exit(4);
	}
	/* QUIT, if it comes. */
	if (read_line(in, line) && write(fd, "221 bye\r\n", 9) < 0)
		_exit(0);
	_exit(0);
}

static pid_t start(const struct turn *turns, int *ret_fd)
{
	int ends[2];

	assert_true(socket_pair(ends));
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(ends[0]);
		serve(ends[1], turns);
	}
	close(ends[1]);
	*ret_fd = ends[0];
	return child;
}

static void assert_ended_well(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static const struct smtp_client_config config = {
	.name = {"me.example", 10},
	.greeting_timeout = 5 * SECOND,
	.command_timeout = 5 * SECOND,
	.data_timeout = 5 * SECOND,
	.block_timeout = 5 * SECOND,
	.end_timeout = 5 * SECOND,
	.output_max = 16384,
};

static const struct mail_rcpt rcpts[] = {{.address = {"a@x.example", 11}}, {.address = {"b@x.example", 11}}};

static void send_to(const struct turn *turns, size_t count, struct slice body, struct submit_result *ret)
{
	struct mail_envelope envelope = {.sender = SLICE("me@x.example"), .rcpt = rcpts, .rcpt_count = count};
	struct submit_message m = {.config = &config,
				   .envelope = &envelope,
				   .at_once = 100,
				   .head = SLICE("Subject: x\r\n\r\n"),
				   .body = body};
	struct submit_server nowhere = {.path = "/nonexistent/socket"};
	int fd;
	pid_t child = start(turns, &fd);

	assert_true(submit(&nowhere, fd, &m, ret));
	assert_int_equal(ret->count, count);
	assert_ended_well(child);
}

/* ---- outcomes ---------------------------------------------------------------------------------------------- */

#define OPENING                                                            \
	{"", "220 there ready\r\n"}, {"EHLO me.example", "250 there\r\n"}, \
	{                                                                  \
		"MAIL FROM:<me@x.example>", "250 ok\r\n"                   \
	}
#define THE_END            \
	{                  \
		NULL, NULL \
	}

static void test_an_accepted_message_keeps_the_words_of_its_reply(void **state)
{
	static const struct turn turns[] = {OPENING,
					    {"RCPT TO:<a@x.example>", "250 ok\r\n"},
					    {"DATA", "354 go\r\n"},
					    {".", "250 2.6.0 accepted as 8K2FBVFY5CNK\r\n"},
					    THE_END};
	struct submit_result r;

	(void)state;
	send_to(turns, 1, SLICE("body\r\n"), &r);
	assert_int_equal(r.outcome[0].verdict, SMTP_DELIVERED);
	assert_slice(r.outcome[0].text, "accepted as 8K2FBVFY5CNK");
	assert_slice(r.server, "there");
	assert_int_equal(submit_status(&r), EX_OK);
	submit_result_free(&r);
}

static void test_each_recipient_has_an_outcome_of_its_own(void **state)
{
	static const struct turn turns[] = {OPENING,
					    {"RCPT TO:<a@x.example>", "550 5.1.1 nobody\r\n"},
					    {"RCPT TO:<b@x.example>", "250 ok\r\n"},
					    {"DATA", "354 go\r\n"},
					    {".", "250 fine\r\n"},
					    THE_END};
	struct submit_result r;

	(void)state;
	send_to(turns, 2, SLICE("body\r\n"), &r);
	assert_int_equal(r.outcome[0].verdict, SMTP_FAILED);
	assert_int_equal(r.outcome[1].verdict, SMTP_DELIVERED);
	assert_int_equal(submit_status(&r), EX_NOUSER);
	submit_result_free(&r);
}

static void test_a_body_beyond_every_buffer_arrives(void **state)
{
	static const struct turn turns[] = {OPENING,
					    {"RCPT TO:<a@x.example>", "250 ok\r\n"},
					    {"DATA", "354 go\r\n"},
					    {".", "250 fine\r\n"},
					    THE_END};
	struct submit_result r;
	struct buf body;

	(void)state;
	buf_init(&body, (size_t)4 << 20);
	for (int i = 0; i < 60000; i++)
		buf_add_lit(&body, ".a line of the message, which is long\r\n");
	send_to(turns, 1, buf_slice(&body), &r);
	assert_int_equal(r.outcome[0].verdict, SMTP_DELIVERED);
	submit_result_free(&r);
	buf_free(&body);
}

static void test_a_server_that_refuses_at_the_door_speaks_for_every_recipient(void **state)
{
	static const struct turn turns[] = {{"", "554 5.7.1 not you\r\n"}, THE_END};
	struct submit_result r;

	(void)state;
	send_to(turns, 2, SLICE(""), &r);
	for (size_t i = 0; i < 2; i++) {
		assert_int_not_equal(r.outcome[i].verdict, SMTP_DELIVERED);
		assert_int_equal(r.outcome[i].stage, SMTP_STAGE_GREETING);
		assert_int_equal(r.outcome[i].code, 554);
	}
	submit_result_free(&r);
}

static void test_a_lost_connection_is_temporary_wherever_it_is_lost(void **state)
{
	static const struct turn full[] = {OPENING,
					   {"RCPT TO:<a@x.example>", "250 ok\r\n"},
					   {"DATA", "354 go\r\n"},
					   {".", "250 fine\r\n"},
					   THE_END};
	enum { TURNS = sizeof full / sizeof *full - 1 };

	(void)state;
	for (size_t at = 0; at < TURNS; at++) {
		struct turn turns[TURNS + 1];
		struct submit_result r;

		memcpy(turns, full, sizeof full);
		turns[at].server = NULL;
		send_to(turns, 1, SLICE("body\r\n"), &r);
		assert_int_equal(r.outcome[0].verdict, SMTP_DEFERRED);
		assert_int_equal(r.outcome[0].ambiguous, at == TURNS - 1);
		assert_int_equal(submit_status(&r), EX_TEMPFAIL);
		submit_result_free(&r);
	}
}

/* ---- more recipients than one transaction takes ------------------------------------------------------------ */

struct door {
	char path[64];
	pid_t child;
};

/* A server on a socket that takes one recipient for each transaction. */
static void open_door(struct door *d)
{
	static const struct turn second[] = {OPENING,
					     {"RCPT TO:<b@x.example>", "250 ok\r\n"},
					     {"DATA", "354 go\r\n"},
					     {".", "250 second\r\n"},
					     THE_END};
	int fd = (snprintf(d->path, sizeof d->path, "/tmp/test-cli-submit-%d", (int)getpid()),
		  socket_listen_unix(d->path, 0600));

	assert_true(fd >= 0);
	d->child = fork();
	assert_true(d->child >= 0);
	if (d->child == 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		int one = poll(&p, 1, 10000) == 1 ? accept(fd, NULL, NULL) : -1;
		serve(one, second);
	}
	close(fd);
}

static void test_recipients_beyond_the_limit_of_a_transaction_follow_in_another(void **state)
{
	static const struct turn first[] = {OPENING,
					    {"RCPT TO:<a@x.example>", "250 ok\r\n"},
					    {"RCPT TO:<b@x.example>", "452 4.5.3 too many\r\n"},
					    {"DATA", "354 go\r\n"},
					    {".", "250 first\r\n"},
					    THE_END};
	struct mail_envelope envelope = {.sender = SLICE("me@x.example"), .rcpt = rcpts, .rcpt_count = 2};
	struct submit_message m = {
		.config = &config, .envelope = &envelope, .at_once = 100, .head = SLICE("Subject: x\r\n\r\n")};
	struct submit_result r;
	struct door door;
	int fd;

	(void)state;
	open_door(&door);
	struct submit_server server = {.path = door.path};
	pid_t child = start(first, &fd);
	assert_true(submit(&server, fd, &m, &r));
	assert_ended_well(child);
	assert_ended_well(door.child);
	assert_slice(r.outcome[0].text, "first");
	assert_slice(r.outcome[1].text, "second");
	assert_int_equal(submit_status(&r), EX_OK);
	submit_result_free(&r);
	unlink(door.path);
}

static void test_a_transaction_has_no_more_recipients_than_was_said(void **state)
{
	static const struct turn first[] = {OPENING,
					    {"RCPT TO:<a@x.example>", "250 ok\r\n"},
					    {"DATA", "354 go\r\n"},
					    {".", "250 first\r\n"},
					    THE_END};
	struct mail_envelope envelope = {.sender = SLICE("me@x.example"), .rcpt = rcpts, .rcpt_count = 2};
	struct submit_message m = {
		.config = &config, .envelope = &envelope, .head = SLICE("A: b\r\n\r\n"), .at_once = 1};
	struct submit_result r;
	struct door door;
	int fd;

	(void)state;
	open_door(&door);
	struct submit_server server = {.path = door.path};
	pid_t child = start(first, &fd);
	assert_true(submit(&server, fd, &m, &r));
	assert_ended_well(child);
	assert_ended_well(door.child);
	assert_slice(r.outcome[0].text, "first");
	assert_slice(r.outcome[1].text, "second");
	submit_result_free(&r);
	/* And when the server is gone before the second, that one is told so. */
	unlink(door.path);
	child = start(first, &fd);
	assert_true(submit(&server, fd, &m, &r));
	assert_ended_well(child);
	assert_int_equal(r.outcome[0].verdict, SMTP_DELIVERED);
	assert_int_equal(r.outcome[1].verdict, SMTP_DEFERRED);
	assert_int_equal(r.outcome[1].stage, SMTP_STAGE_CONNECT);
	assert_int_equal(submit_status(&r), EX_TEMPFAIL);
	submit_result_free(&r);
}

static void test_a_server_that_takes_nobody_is_not_asked_for_ever(void **state)
{
	static const struct turn turns[] = {OPENING,
					    {"RCPT TO:<a@x.example>", "452 4.5.3 too many\r\n"},
					    {"RCPT TO:<b@x.example>", "452 4.5.3 too many\r\n"},
					    THE_END};
	struct submit_result r;

	(void)state;
	send_to(turns, 2, SLICE(""), &r);
	assert_int_equal(submit_status(&r), EX_TEMPFAIL);
	submit_result_free(&r);
}

/* ---- exit statuses and words ------------------------------------------------------------------------------- */

static void test_each_refusal_has_its_exit_status(void **state)
{
	static const struct {
		enum smtp_verdict verdict;
		unsigned code;
		struct smtpcodes_status status;
		int exit;
	} cases[] = {
		{SMTP_DELIVERED, 250, {2, 1, 5}, EX_OK},       {SMTP_DEFERRED, 450, {4, 2, 1}, EX_TEMPFAIL},
		{SMTP_DEFERRED, 0, {4, 4, 2}, EX_TEMPFAIL},    {SMTP_FAILED, 550, {5, 1, 1}, EX_NOUSER},
		{SMTP_FAILED, 550, {5, 1, 2}, EX_NOHOST},      {SMTP_FAILED, 550, {5, 7, 1}, EX_UNAVAILABLE},
		{SMTP_FAILED, 552, {5, 3, 4}, EX_UNAVAILABLE}, {SMTP_FAILED, 0, {5, 6, 7}, EX_UNAVAILABLE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct smtp_outcome o = {.verdict = cases[i].verdict, .code = cases[i].code, .status = cases[i].status};
		assert_int_equal(submit_outcome_status(&o), cases[i].exit);
	}
}

static void test_a_failure_for_good_outweighs_one_for_now(void **state)
{
	struct smtp_outcome o[] = {{.verdict = SMTP_DELIVERED},
				   {.verdict = SMTP_DEFERRED, .code = 450},
				   {.verdict = SMTP_FAILED, .code = 550, .status = {5, 1, 1}},
				   {.verdict = SMTP_FAILED, .code = 554}};
	struct submit_result r = {.outcome = o, .count = 4};

	(void)state;
	assert_int_equal(submit_status(&r), EX_NOUSER);
	r.count = 2;
	assert_int_equal(submit_status(&r), EX_TEMPFAIL);
	r.count = 1;
	assert_int_equal(submit_status(&r), EX_OK);
}

static void test_the_words_for_dsn_are_read_exactly(void **state)
{
	static const struct {
		const char *text;
		bool good;
		uint8_t notify;
	} cases[] = {
		{"never", true, MAIL_NOTIFY_NEVER},
		{"success", true, MAIL_NOTIFY_SUCCESS},
		{"Failure,DELAY,success", true, MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE | MAIL_NOTIFY_DELAY},
		{"never,success", false, 0},
		{"", false, 0},
		{"success,", false, 0},
		{"successful", false, 0},
	};
	enum mail_ret ret;
	struct buf envid;
	uint8_t notify;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		assert_int_equal(submit_parse_notify(cases[i].text, &notify), cases[i].good);
		if (cases[i].good)
			assert_int_equal(notify, cases[i].notify);
	}
	assert_true(submit_parse_ret("HDRS", &ret) && ret == MAIL_RET_HDRS);
	assert_true(submit_parse_ret("full", &ret) && ret == MAIL_RET_FULL);
	assert_false(submit_parse_ret("half", &ret));
	buf_init(&envid, 1024);
	assert_true(submit_parse_envid("a b+c=", &envid));
	assert_slice(buf_slice(&envid), "a+20b+2Bc+3D");
	assert_false(submit_parse_envid("", &envid));
	assert_false(submit_parse_envid("a\r\nRCPT", &envid));
	buf_free(&envid);
}

static void test_servers_are_written_as_routes_are(void **state)
{
	struct submit_server s = {0};
	const char *why;

	(void)state;
	assert_true(submit_server_parse("127.0.0.1:2525", &s, &why));
	assert_slice(s.host, "127.0.0.1");
	assert_int_equal(s.port, 2525);
	assert_true(submit_server_parse("[2001:db8::1]", &s, &why));
	assert_slice(s.host, "2001:db8::1");
	assert_int_equal(s.port, 25);
	assert_true(submit_server_parse("unix:/run/x", &s, &why));
	assert_string_equal(s.path, "/run/x");
	assert_false(submit_server_parse("host:0", &s, &why));
	assert_false(submit_server_parse("", &s, &why));
}

static void test_the_first_tcp_listener_is_the_default_server(void **state)
{
	struct conf_listener listeners[] = {
		{.socket = SLICE("/x")}, {.address = SLICE("*"), .port = 25}, {.address = SLICE("::"), .port = 26}};
	struct conf conf = {.listeners = listeners, .listener_count = 3};
	struct submit_server s;
	bool lmtp;

	(void)state;
	assert_true(submit_server_of_conf(&conf, &s, &lmtp));
	assert_slice(s.host, "127.0.0.1");
	assert_int_equal(s.port, 25);
	conf.listeners = listeners + 2;
	conf.listener_count = 1;
	assert_true(submit_server_of_conf(&conf, &s, &lmtp));
	assert_slice(s.host, "::1");
	conf.listeners = listeners;
	assert_false(submit_server_of_conf(&conf, &s, &lmtp));
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_accepted_message_keeps_the_words_of_its_reply),
		cmocka_unit_test(test_each_recipient_has_an_outcome_of_its_own),
		cmocka_unit_test(test_a_body_beyond_every_buffer_arrives),
		cmocka_unit_test(test_a_server_that_refuses_at_the_door_speaks_for_every_recipient),
		cmocka_unit_test(test_a_lost_connection_is_temporary_wherever_it_is_lost),
		cmocka_unit_test(test_recipients_beyond_the_limit_of_a_transaction_follow_in_another),
		cmocka_unit_test(test_a_transaction_has_no_more_recipients_than_was_said),
		cmocka_unit_test(test_a_server_that_takes_nobody_is_not_asked_for_ever),
		cmocka_unit_test(test_each_refusal_has_its_exit_status),
		cmocka_unit_test(test_a_failure_for_good_outweighs_one_for_now),
		cmocka_unit_test(test_the_words_for_dsn_are_read_exactly),
		cmocka_unit_test(test_servers_are_written_as_routes_are),
		cmocka_unit_test(test_the_first_tcp_listener_is_the_default_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
