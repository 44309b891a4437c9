#include "test.h"

#include "base/buf.h"
#include "cli/proxy.h"

/*
 * A session as a program writes it, all at once, against a server that answers each group as it comes. The groups that
 * pass are written down, each behind what the server says.
 */
struct play {
	const char *const *replies; /* what the server says, in turn; NULL: nothing more */
	const char *program;
	const char *expected; /* what passes, with '|' where a reply was awaited */
};

/* Pieces of `size` octets; 0: whole. */
static void play(const struct play *p, size_t size, size_t first)
{
	struct proxy_step s = {0};
	struct slice program = slice_from_cstr(p->program);
	size_t there = first, passed = 0, reply = 0;
	struct buf out;

	buf_init(&out, 4096);
	for (;;) {
		size_t n = proxy_take(&s, slice_of(program.p + passed, there - passed), there == program.n);
		if (n) {
			buf_add(&out, slice_of(program.p + passed, n));
			passed += n;
		} else if (s.state == PROXY_REPLY && p->replies[reply]) {
			struct slice said = slice_from_cstr(p->replies[reply++]);
			for (size_t i = 0; i < said.n; i += size ? size : said.n)
				proxy_reply(&s, slice_head(slice_skip(said, i), size ? size : said.n));
			buf_add_char(&out, '|');
		} else if (there < program.n) {
			there += size && there + size < program.n ? size : program.n - there;
		} else {
			break;
		}
	}
	if (!slice_eq(buf_slice(&out), slice_from_cstr(p->expected)))
		fail_msg("size %zu, first %zu: %.*s", size, first, SLICE_ARGS(buf_slice(&out)));
	buf_free(&out);
}

static void assert_play(const struct play *p)
{
	size_t n = strlen(p->program);

	play(p, 0, n);
	play(p, 1, 0);
	for (size_t cut = 0; cut <= n; cut++)
		play(p, 0, cut);
}

static void test_a_session_written_at_once_is_held_in_step(void **state)
{
	static const char *const replies[] = {"220 hi\r\n",  "250-a\r\n250-b\r\n250 c\r\n",
					      "250 ok\r\n",  "250 ok\r\n",
					      "354 go\r\n",  "250 taken\r\n",
					      "221 bye\r\n", NULL};

	(void)state;
	assert_play(&(struct play){
		replies,
		"EHLO me\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\nS: x\r\n\r\nbody\r\n..dot\r\n.\r\nQUIT\r\n",
		"|EHLO me\r\n|MAIL FROM:<a@x>\r\n|RCPT TO:<b@x>\r\n|DATA\r\n|S: "
		"x\r\n\r\nbody\r\n..dot\r\n.\r\n|QUIT\r\n|"});
}

static void test_a_refused_data_is_followed_by_commands(void **state)
{
	static const char *const replies[] = {"220 hi\r\n", "554 no\r\n", "221 bye\r\n", NULL};

	(void)state;
	assert_play(&(struct play){replies, "data\r\nQUIT\r\n", "|data\r\n|QUIT\r\n|"});
}

static void test_only_a_dot_between_crlfs_ends_the_text(void **state)
{
	static const char *const replies[] = {"220 hi\r\n", "354 go\r\n", "250 ok\r\n", NULL};

	(void)state;
	assert_play(&(struct play){replies, "DATA\r\n.\r\n", "|DATA\r\n|.\r\n|"});
	assert_play(&(struct play){replies, "DATA\r\na\n.\n\r.\r\n\r\r\n.\n\r\n.x\r\n.\r\r\n.\r\n",
				   "|DATA\r\n|a\n.\n\r.\r\n\r\r\n.\n\r\n.x\r\n.\r\r\n.\r\n|"});
}

static void test_chunks_pass_by_their_length(void **state)
{
	static const char *const replies[] = {"220 hi\r\n", "250 ok\r\n", "250 ok\r\n",
					      "250 ok\r\n", "250 ok\r\n", NULL};

	(void)state;
	assert_play(&(struct play){replies, "BDAT 7\r\n.\r\nDATABDAT 2 LAST\r\n\r\nBDAT 0 LAST\r\nQUIT\r\n",
				   "|BDAT 7\r\n.\r\nDATA|BDAT 2 LAST\r\n\r\n|BDAT 0 LAST\r\n|QUIT\r\n|"});
	assert_play(&(struct play){replies, "BDAT x\r\nBDAT 99999999999999999999\r\nBDAT\r\nQUIT\r\n",
				   "|BDAT x\r\n|BDAT 99999999999999999999\r\n|BDAT\r\n|QUIT\r\n|"});
}

static void test_what_is_no_line_passes_when_nothing_follows(void **state)
{
	static const char *const replies[] = {"220 hi\r\n", NULL};

	(void)state;
	assert_play(&(struct play){replies, "EHLO me\nMAIL", "|EHLO me\nMAIL"});
}

static void test_the_goodbye_is_noticed(void **state)
{
	struct proxy_step s = {0};

	(void)state;
	proxy_reply(&s, SLICE("220-221 \r\n220 x\r\n"));
	assert_false(s.goodbye);
	assert_int_equal(s.state, PROXY_COMMAND);
	proxy_reply(&s, SLICE("221 2.0.0 bye\r\n"));
	assert_true(s.goodbye);
	proxy_reply(&s, SLICE("22"));
	proxy_reply(&s, SLICE("1"));
	assert_true(s.goodbye);
	proxy_reply(&s, SLICE("\r\n\n421\n"));
	assert_false(s.goodbye);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_session_written_at_once_is_held_in_step),
		cmocka_unit_test(test_a_refused_data_is_followed_by_commands),
		cmocka_unit_test(test_only_a_dot_between_crlfs_ends_the_text),
		cmocka_unit_test(test_chunks_pass_by_their_length),
		cmocka_unit_test(test_what_is_no_line_passes_when_nothing_follows),
		cmocka_unit_test(test_the_goodbye_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
