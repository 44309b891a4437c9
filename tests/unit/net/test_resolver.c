#include "test.h"

#include "net/resolver.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* clang-format off */
#define HEADER(questions, answers) "\x12\x34\x81\x80\0" questions "\0" answers "\0\0\0\0"
#define QUESTION                   "\7example\3net\0\0\xf\0\1"
#define MX(data_length, data)      "\xc0\xc\0\xf\0\1\0\0\0\x3c\0" data_length data
#define CNAME                      "\xc0\xc\0\5\0\1\0\0\0\x3c\0\2\xc0\xc"
#define PACKET(octets)             {(octets), sizeof(octets) - 1}

/* clang-format on */

static enum resolver_mx read_exact(struct slice packet)
{
	char *copy = test_exact_copy(packet);
	enum resolver_mx mx = resolver_read_mx(slice_of(copy, packet.n));

	free(copy);
	return mx;
}

static void only_a_single_mx_of_the_root_is_a_null_mx(void **state)
{
	(void)state;
	/* clang-format off */
	static const struct {
		struct slice packet;
		enum resolver_mx mx;
	} rows[] = {
		{PACKET(HEADER("\1", "\1") QUESTION MX("\3", "\0\0\0")), RESOLVER_MX_NULL},
		{PACKET(HEADER("\1", "\1") QUESTION MX("\3", "\0\12\0")), RESOLVER_MX_NULL},
		{PACKET(HEADER("\1", "\2") QUESTION CNAME MX("\3", "\0\0\0")), RESOLVER_MX_NULL},
		{PACKET(HEADER("\1", "\1") QUESTION MX("\5", "\0\0\1a\0")), RESOLVER_MX_OTHER},
		{PACKET(HEADER("\1", "\2") QUESTION MX("\3", "\0\0\0") MX("\5", "\0\0\1a\0")), RESOLVER_MX_OTHER},
		{PACKET(HEADER("\1", "\0") QUESTION), RESOLVER_MX_OTHER},
		{PACKET(HEADER("\1", "\1") QUESTION CNAME), RESOLVER_MX_OTHER},
		/* Not IN, and not MX. */
		{PACKET(HEADER("\1", "\1") QUESTION "\xc0\xc\0\xf\0\3\0\0\0\x3c\0\3\0\0\0"), RESOLVER_MX_OTHER},
		{PACKET(HEADER("\1", "\1") QUESTION "\xc0\xc\0\xe\0\1\0\0\0\x3c\0\3\0\0\0"), RESOLVER_MX_OTHER},
		/* A label of a length that there is not. */
		{PACKET(HEADER("\1", "\1") "\x41" QUESTION), RESOLVER_MX_FAILED},
		{PACKET(""), RESOLVER_MX_FAILED},
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (read_exact(rows[i].packet) != rows[i].mx)
			fail_msg("row %zu", i);
}

static void a_packet_that_ends_too_early_says_nothing(void **state)
{
	(void)state;
	static const struct slice whole = PACKET(HEADER("\1", "\2") QUESTION CNAME MX("\3", "\0\0\0"));

	assert_int_equal(read_exact(whole), RESOLVER_MX_NULL);
	for (size_t n = 0; n < whole.n; n++)
		assert_int_equal(read_exact(slice_head(whole, n)), RESOLVER_MX_FAILED);
}

/* ---- questions, to a name server that is not there ------------------------------------------------------------ */

struct asker {
	struct loop *loop;
	struct resolver *resolver;
	unsigned answers;
	bool asking;
	uint64_t tags;
	enum resolver_mx mx;
};

static void answered(void *arg, uint64_t tag, enum resolver_mx mx)
{
	struct asker *a = arg;

	assert_false(a->asking); /* never from inside the call that asks */
	a->answers++;
	a->tags += tag;
	a->mx = mx;
	if (a->answers == 2)
		loop_stop(a->loop);
}

static void ask(struct asker *a, const char *domain, span_ms timeout, uint64_t tag)
{
	a->asking = true;
	assert_true(resolver_ask_mx(a->resolver, slice_from_cstr(domain), timeout, tag));
	a->asking = false;
}

/* A socket that takes questions and never answers. */
static int silent_server(char *text, size_t size)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof at;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &length), 0);
	snprintf(text, size, "127.0.0.1@%u", ntohs(at.sin_port));
	return fd;
}

static int begin(void **state)
{
	struct asker *a = calloc(1, sizeof *a);
	char server[64];

	close(silent_server(server, sizeof server));
	a->loop = loop_new();
	int fd = silent_server(server, sizeof server);
	a->tags = (uint64_t)fd; /* closed at the end */
	a->resolver = resolver_new(a->loop, slice_from_cstr(server), answered, a);
	*state = a;
	return a->resolver ? 0 : -1;
}

static int end(void **state)
{
	struct asker *a = *state;

	resolver_free(a->resolver);
	loop_free(a->loop);
	free(a);
	return 0;
}

static void a_question_without_answer_fails_at_its_deadline(void **state)
{
	struct asker *a = *state;
	int fd = (int)a->tags;

	a->tags = 0;
	ask(a, "one.example", 100, 1);
	ask(a, "two.example", 200, 20);
	loop_run(a->loop);
	assert_int_equal(a->answers, 2);
	assert_int_equal(a->tags, 21);
	assert_int_equal(a->mx, RESOLVER_MX_FAILED);
	close(fd);
}

static void what_is_under_way_is_answered_when_the_resolver_goes(void **state)
{
	struct asker *a = *state;
	int fd = (int)a->tags;

	a->tags = 0;
	ask(a, "one.example", MINUTE, 1);
	ask(a, "one.example", MINUTE, 20);
	resolver_free(a->resolver);
	a->resolver = NULL;
	assert_int_equal(a->answers, 2);
	assert_int_equal(a->tags, 21);
	assert_int_equal(a->mx, RESOLVER_MX_FAILED);
	close(fd);
}

static void a_name_that_is_none_is_not_asked(void **state)
{
	struct asker *a = *state;
	char name[300];

	memset(name, 'x', sizeof name);
	assert_false(resolver_ask_mx(a->resolver, SLICE(""), MINUTE, 1));
	assert_false(resolver_ask_mx(a->resolver, slice_of(name, sizeof name), MINUTE, 1));
	assert_false(resolver_ask_mx(a->resolver, slice_of(name, 100), MINUTE, 1)); /* a label of 100 octets */
	close((int)a->tags);
}

static void a_server_that_is_no_address_is_refused(void **state)
{
	(void)state;
	struct loop *l = loop_new();

	assert_null(resolver_new(l, SLICE("not an address"), answered, NULL));
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_single_mx_of_the_root_is_a_null_mx),
		cmocka_unit_test(a_packet_that_ends_too_early_says_nothing),
		cmocka_unit_test_setup_teardown(a_question_without_answer_fails_at_its_deadline, begin, end),
		cmocka_unit_test_setup_teardown(what_is_under_way_is_answered_when_the_resolver_goes, begin, end),
		cmocka_unit_test_setup_teardown(a_name_that_is_none_is_not_asked, begin, end),
		cmocka_unit_test(a_server_that_is_no_address_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
