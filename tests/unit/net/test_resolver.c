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

static enum resolver_answer read_exact(struct slice packet)
{
	char *copy = test_exact_copy(packet);
	enum resolver_answer mx = resolver_read_mx(slice_of(copy, packet.n));

	free(copy);
	return mx;
}

static void only_a_single_mx_of_the_root_is_a_null_mx(void **state)
{
	(void)state;
	/* clang-format off */
	static const struct {
		struct slice packet;
		enum resolver_answer answer;
	} rows[] = {
		{PACKET(HEADER("\1", "\1") QUESTION MX("\3", "\0\0\0")), RESOLVER_NULL_MX},
		{PACKET(HEADER("\1", "\1") QUESTION MX("\3", "\0\12\0")), RESOLVER_NULL_MX},
		{PACKET(HEADER("\1", "\2") QUESTION CNAME MX("\3", "\0\0\0")), RESOLVER_NULL_MX},
		{PACKET(HEADER("\1", "\1") QUESTION MX("\5", "\0\0\1a\0")), RESOLVER_OTHER},
		{PACKET(HEADER("\1", "\2") QUESTION MX("\3", "\0\0\0") MX("\5", "\0\0\1a\0")), RESOLVER_OTHER},
		{PACKET(HEADER("\1", "\0") QUESTION), RESOLVER_OTHER},
		{PACKET(HEADER("\1", "\1") QUESTION CNAME), RESOLVER_OTHER},
		/* Not IN, and not MX. */
		{PACKET(HEADER("\1", "\1") QUESTION "\xc0\xc\0\xf\0\3\0\0\0\x3c\0\3\0\0\0"), RESOLVER_OTHER},
		{PACKET(HEADER("\1", "\1") QUESTION "\xc0\xc\0\xe\0\1\0\0\0\x3c\0\3\0\0\0"), RESOLVER_OTHER},
		/* A label of a length that there is not. */
		{PACKET(HEADER("\1", "\1") "\x41" QUESTION), RESOLVER_FAILED},
		{PACKET(""), RESOLVER_FAILED},
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (read_exact(rows[i].packet) != rows[i].answer)
			fail_msg("row %zu", i);
}

static void a_packet_that_ends_too_early_says_nothing(void **state)
{
	(void)state;
	static const struct slice whole = PACKET(HEADER("\1", "\2") QUESTION CNAME MX("\3", "\0\0\0"));

	assert_int_equal(read_exact(whole), RESOLVER_NULL_MX);
	for (size_t n = 0; n < whole.n; n++)
		assert_int_equal(read_exact(slice_head(whole, n)), RESOLVER_FAILED);
}

#define PTR(data_length, data) "\xc0\xc\0\xc\0\1\0\0\0\x3c\0" data_length data
#define A(octets)              "\xc0\xc\0\1\0\1\0\0\0\x3c\0\4" octets

/* The names, with a space behind each; "bad" when the packet is damaged. */
static const char *read_names(struct slice packet)
{
	static char text[RESOLVER_NAMES_MAX * (MAIL_DOMAIN_MAX + 2)];
	struct resolver_names names;
	char *copy = test_exact_copy(packet);
	bool good = resolver_read_names(slice_of(copy, packet.n), &names);

	free(copy);
	text[0] = '\0';
	for (size_t i = 0; i < names.count; i++)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s ", names.name[i]);
	return good ? text : "bad";
}

/* attacks N1, N6: nothing is read beyond the answer, and no name that is none. */
static void host_names_are_read_with_their_pointers(void **state)
{
	(void)state;
	/* clang-format off */
	static const struct {
		struct slice packet;
		const char *names;
	} rows[] = {
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\5", "\1a\1b\0")), "a.b "},
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\4", "\1a\xc0\xc")), "a.example.net "},
		{PACKET(HEADER("\1", "\2") QUESTION PTR("\2", "\xc0\xc") PTR("\2", "\xc0\x14")), "example.net net "},
		{PACKET(HEADER("\1", "\2") QUESTION CNAME PTR("\2", "\xc0\xc")), "example.net "},
		{PACKET(HEADER("\1", "\0") QUESTION), ""},
		{PACKET(HEADER("\1", "\1") QUESTION CNAME), ""},
		/* No host names: the root, and octets that none has. */
		{PACKET(HEADER("\1", "\2") QUESTION PTR("\1", "\0") PTR("\4", "\2a.\0")), ""},
		{PACKET(HEADER("\1", "\2") QUESTION PTR("\4", "\2a\0\0") PTR("\2", "\xc0\xc")), "example.net "},
		/* Pointers forwards, to themselves, and beyond the end. */
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\2", "\xc0\x29")), "bad"},
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\4", "\1a\xc0\x29")), "bad"},
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\2", "\xff\xff")), "bad"},
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\1", "\xc0")), "bad"},
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\2", "\x3f" "a")), "bad"},
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\2", "\x80\0")), "bad"},
		{PACKET(HEADER("\1", "\1") QUESTION PTR("\0", "")), "bad"},
		{PACKET(HEADER("\1", "\2") QUESTION PTR("\2", "\xc0\xc")), "bad"},
		{PACKET(""), "bad"},
	};
	/* clang-format on */

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
		if (strcmp(read_names(rows[i].packet), rows[i].names) != 0)
			fail_msg("row %zu: %s", i, read_names(rows[i].packet));
}

static void only_so_many_names_are_read(void **state)
{
	(void)state;
	char packet[2000];
	struct resolver_names names;
	size_t n = sizeof HEADER("\1", "\40") QUESTION - 1;

	memcpy(packet, HEADER("\1", "\40") QUESTION, n);
	for (int i = 0; i < 32; i++, n += sizeof PTR("\2", "\xc0\xc") - 1)
		memcpy(packet + n, PTR("\2", "\xc0\xc"), sizeof PTR("\2", "\xc0\xc") - 1);
	assert_true(resolver_read_names(slice_of(packet, n), &names));
	assert_int_equal(names.count, RESOLVER_NAMES_MAX);
}

static void an_address_is_found_among_the_records(void **state)
{
	(void)state;
	/* clang-format off */
	static const struct {
		struct slice packet;
		bool good, found;
	} rows[] = {
		{PACKET(HEADER("\1", "\2") QUESTION A("\300\0\2\2") A("\300\0\2\1")), true, true},
		{PACKET(HEADER("\1", "\2") QUESTION CNAME A("\300\0\2\1")), true, true},
		{PACKET(HEADER("\1", "\1") QUESTION A("\300\0\2\2")), true, false},
		{PACKET(HEADER("\1", "\0") QUESTION), true, false},
		{PACKET(HEADER("\1", "\1") QUESTION "\xc0\xc\0\1\0\3\0\0\0\x3c\0\4\300\0\2\1"), true, false},
		{PACKET(HEADER("\1", "\1") QUESTION "\xc0\xc\0\1\0\1\0\0\0\x3c\0\3\300\0\2"), true, false},
		{PACKET(HEADER("\1", "\2") QUESTION A("\300\0\2\1")), false, true},
	};
	/* clang-format on */
	struct ip_address a;
	bool found;

	assert_true(ip_parse(SLICE("192.0.2.1"), &a));
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		char *copy = test_exact_copy(rows[i].packet);

		if (resolver_read_address(slice_of(copy, rows[i].packet.n), &a, &found) != rows[i].good ||
		    found != rows[i].found)
			fail_msg("row %zu", i);
		free(copy);
	}
}

/* ---- questions, to a name server that is not there ------------------------------------------------------------ */

struct asker {
	struct loop *loop;
	struct resolver *resolver;
	unsigned answers;
	bool asking;
	uint64_t tags;
	enum resolver_answer answer;
};

static void answered(void *arg, uint64_t tag, enum resolver_answer answer)
{
	struct asker *a = arg;

	assert_false(a->asking); /* never from inside the call that asks */
	a->answers++;
	a->tags += tag;
	a->answer = answer;
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
	assert_int_equal(a->answer, RESOLVER_FAILED);
	close(fd);
}

static void a_reverse_question_fails_at_its_deadline_too(void **state)
{
	struct asker *a = *state;
	int fd = (int)a->tags;
	struct ip_address address, none = {.size = 0};

	a->tags = 0;
	assert_true(ip_parse(SLICE("2001:db8::1"), &address));
	assert_false(resolver_ask_reverse(a->resolver, &none, MINUTE, 1));
	assert_true(resolver_ask_reverse(a->resolver, &address, 100, 1));
	ask(a, "two.example", 200, 20);
	loop_run(a->loop);
	assert_int_equal(a->answers, 2);
	assert_int_equal(a->tags, 21);
	assert_int_equal(a->answer, RESOLVER_FAILED);
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
	assert_int_equal(a->answer, RESOLVER_FAILED);
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
		cmocka_unit_test(host_names_are_read_with_their_pointers),
		cmocka_unit_test(only_so_many_names_are_read),
		cmocka_unit_test(an_address_is_found_among_the_records),
		cmocka_unit_test_setup_teardown(a_reverse_question_fails_at_its_deadline_too, begin, end),
		cmocka_unit_test_setup_teardown(what_is_under_way_is_answered_when_the_resolver_goes, begin, end),
		cmocka_unit_test_setup_teardown(a_name_that_is_none_is_not_asked, begin, end),
		cmocka_unit_test(a_server_that_is_no_address_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
