/*
 * The server engine at its limits: sizes, counts, time, memory, early talkers, shutdown and loss.
 */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/heap.h"
#include "server_desk.h"

/* ---- a heap that counts, and that fails on demand (in place of base/heap.c) ---------------------------------------
 */

static size_t live, peak, calls, fail_at;
static bool failing;

struct header {
	size_t size;
	size_t pad;
};

static bool allowed(void)
{
	return !failing || ++calls != fail_at;
}

static void count(size_t more)
{
	live += more;
	if (live > peak)
		peak = live;
}

void *heap_alloc(size_t size)
{
	struct header *h = allowed() ? calloc(1, sizeof *h + size) : NULL;

	if (!h)
		return NULL;
	h->size = size;
	count(size);
	return h + 1;
}

void *heap_array(size_t n, size_t size)
{
	return heap_alloc(n * size);
}

void *heap_resize(void *block, size_t size)
{
	struct header *old = block ? (struct header *)block - 1 : NULL;
	size_t before = old ? old->size : 0;
	struct header *h = allowed() ? realloc(old, sizeof *h + size) : NULL;

	if (!h)
		return NULL;
	h->size = size;
	live -= before;
	count(size);
	return h + 1;
}

void heap_free(void *block)
{
	if (!block)
		return;
	live -= ((struct header *)block - 1)->size;
	free((struct header *)block - 1);
}

/* ---- helpers ------------------------------------------------------------------------------------------------------
 */

static void say(struct desk *d, const char *text)
{
	desk_feed(d, slice_from_cstr(text));
}

/* What came since the last time, as text. */
static struct slice hear(struct desk *d)
{
	static char text[200000];

	desk_flush(d);
	size_t n = buf_len(&d->out);
	assert_true(n < sizeof text);
	if (n)
		memcpy(text, buf_slice(&d->out).p, n);
	buf_reset(&d->out);
	return slice_of(text, n);
}

/* The code of each reply, in order, and nothing else. */
static void hear_codes(struct desk *d, const char *expected)
{
	struct smtpcodes_reply reply;
	struct buf codes;

	buf_init(&codes, 100000);
	for (struct slice out = hear(d); out.n; out = slice_skip(out, reply.octets)) {
		assert_int_equal(smtpcodes_reply_parse(out.p, out.n, SMTPCODES_STRICT, &reply), SMTPCODES_OK);
		buf_printf(&codes, "%s%u", buf_len(&codes) ? " " : "", reply.code);
	}
	assert_slice(buf_slice(&codes), expected);
	buf_free(&codes);
}

static void expect_log(struct desk *d, const char *expected)
{
	assert_slice(buf_slice(&d->log), expected);
	buf_reset(&d->log);
}

static void greet(struct desk *d)
{
	desk_start(d);
	desk_flush(d);
	say(d, d->config.lmtp ? "LHLO a.example\r\n" : "EHLO a.example\r\n");
	hear(d);
	buf_reset(&d->log);
}

/* A transaction with one recipient, up to 354. */
static void open_data(struct desk *d)
{
	say(d, "MAIL FROM:<s@a.example>\r\nRCPT TO:<r@example.com>\r\nDATA\r\n");
	hear_codes(d, "250 250 354");
	buf_reset(&d->log);
}

static void open_bdat(struct desk *d, const char *mail)
{
	say(d, mail);
	say(d, "RCPT TO:<r@example.com>\r\n");
	hear_codes(d, "250 250");
	buf_reset(&d->log);
}

static void repeat(struct buf *b, const char *text, size_t times)
{
	for (size_t i = 0; i < times; i++)
		assert_true(buf_add(b, slice_from_cstr(text)));
}

/* ---- early talkers (B1) -------------------------------------------------------------------------------------------
 */

static void B1_input_before_the_greeting_is_answered_with_554_in_its_place(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.silent = true;
	desk_start(&d);
	assert_int_equal(desk_feed(&d, SLICE("EHLO a.example\r\n")), 0);
	desk_answer_now(&d);
	desk_pull(&d);
	assert_slice(hear(&d),
		     "554 5.5.1 mx.example.com You must wait for the greeting before you send; closing connection\r\n");
	expect_log(&d, "CONNECT\nCLOSE\n");
	assert_int_equal(smtp_server_feed(d.s, SLICE("NOOP\r\n"), d.now), 0);
	desk_free(&d);
}

static void B1_input_before_the_greeting_was_fetched_is_early_too(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	desk_start(&d);
	say(&d, "E");
	hear_codes(&d, "220 554");
	expect_log(&d, "CONNECT\nCLOSE\n");
	desk_free(&d);
}

static void B1_input_while_the_answer_to_EHLO_is_awaited_is_early(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	d.silent = true;
	say(&d, "NOOP\r\nEHLO b.example\r\n");
	assert_true(d.waiting);
	hear_codes(&d, "250"); /* fetching another reply does not make it less early */
	assert_int_equal(desk_feed(&d, SLICE("MAIL FROM:<>\r\n")), 0);
	desk_answer_now(&d);
	desk_pull(&d);
	hear_codes(&d, "250 554");
	expect_log(&d, "EHLO b.example\nCLOSE\n");
	desk_free(&d);
}

static void B1_input_behind_QUIT_is_not_run(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	say(&d, "QUIT\r\nMAIL FROM:<>\r\n");
	hear_codes(&d, "221");
	expect_log(&d, "CLOSE\n");
	desk_free(&d);
}

static void B1_a_group_may_end_with_NOOP_VRFY_HELP_and_go_on(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	say(&d, "NOOP\r\nVRFY a\r\nHELP\r\nRSET\r\nMAIL FROM:<>\r\n");
	hear_codes(&d, "250 252 214 250 250");
	assert_false(d.closed);
	desk_free(&d);
}

static void B1_input_after_the_reply_was_fetched_is_not_early(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	open_data(&d);
	say(&d, "x\r\n.\r\nMAIL FROM:<>\r\n");
	hear_codes(&d, "250 250");
	desk_free(&d);
}

/* ---- command lines (B4) -------------------------------------------------------------------------------------------
 */

static size_t line_of(struct buf *b, size_t n)
{
	repeat(b, "NOOP ", 1);
	repeat(b, "x", n - 7);
	repeat(b, "\r\n", 1);
	return buf_len(b);
}

static void a_line_of_the_limit_is_taken_and_one_octet_more_is_not(void **state)
{
	(void)state;
	struct desk d;
	struct buf b;

	desk_init(&d);
	greet(&d);
	buf_init(&b, 100000);
	assert_int_equal(line_of(&b, SMTP_COMMAND_LINE_MAX), SMTP_COMMAND_LINE_MAX);
	for (size_t piece = 1; piece <= SMTP_COMMAND_LINE_MAX; piece += 511) {
		for (struct slice in = buf_slice(&b); in.n; in = slice_skip(in, piece))
			desk_feed(&d, slice_head(in, piece));
		hear_codes(&d, "250");
	}
	buf_reset(&b);
	line_of(&b, SMTP_COMMAND_LINE_MAX + 1);
	repeat(&b, "RSET\r\n", 1);
	for (size_t piece = 1; piece <= SMTP_COMMAND_LINE_MAX; piece += 511) {
		for (struct slice in = buf_slice(&b); in.n; in = slice_skip(in, piece))
			desk_feed(&d, slice_head(in, piece));
		assert_slice(hear(&d), "500 5.5.2 Command line is longer than 2048 octets\r\n250 2.0.0 OK\r\n");
	}
	buf_free(&b);
	desk_free(&d);
}

static void B4_an_endless_command_line_ends_the_session(void **state)
{
	(void)state;
	static const size_t pieces[] = {1, 4096, 1 << 20};

	for (size_t i = 0; i < 3; i++) {
		struct desk d;
		struct buf b;
		size_t taken = 0;
		desk_init(&d);
		greet(&d);
		buf_init(&b, 1 << 20);
		repeat(&b, "x", pieces[i]);
		while (!d.closed && taken < (1 << 22))
			taken += desk_feed(&d, buf_slice(&b));
		assert_true(taken <= SMTP_COMMAND_LINE_MAX + SMTP_LINE_DISCARD_MAX + pieces[i]);
		assert_slice(hear(&d), "421 4.7.0 mx.example.com Command line does not end, closing connection\r\n");
		expect_log(&d, "CLOSE\n");
		buf_free(&b);
		desk_free(&d);
	}
}

static void B4_lines_with_LF_alone_are_told_once_and_end_the_session_too(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	say(&d, "NOOP\n");
	assert_slice(hear(&d), "500 5.5.2 Lines must end in CR LF; a bare CR or LF was found\r\n");
	for (size_t i = 0; i < 20000 && !d.closed; i++)
		say(&d, "NOOP\n");
	hear_codes(&d, "421");
	desk_free(&d);
}

/* ---- chunks and messages (B4, B10) --------------------------------------------------------------------------------
 */

static void B4_a_huge_chunk_after_an_error_is_not_read(void **state)
{
	(void)state;
	struct desk d;
	struct buf b;

	desk_init(&d);
	greet(&d);
	buf_init(&b, 1 << 20);
	repeat(&b, "BDAT 2000000000\r\n", 1);
	size_t command = buf_len(&b);
	repeat(&b, "x", 500000);
	assert_int_equal(desk_feed(&d, buf_slice(&b)), command);
	hear_codes(&d, "503");
	expect_log(&d, "CLOSE\n");
	buf_free(&b);
	desk_free(&d);
}

static void B4_refused_chunks_are_read_up_to_a_limit_for_the_whole_session(void **state)
{
	(void)state;
	struct desk d;
	char command[40];
	uint64_t budget = SMTP_DATA_DISCARD_MAX + 100000;
	char *piece = calloc(1, 1 << 20);

	desk_init(&d);
	d.quiet = true;
	greet(&d);
	while (!d.closed) {
		snprintf(command, sizeof command, "BDAT %d\r\n", 1 << 20);
		say(&d, command);
		hear(&d);
		if (d.closed)
			break;
		assert_int_equal(desk_feed(&d, slice_of(piece, 1 << 20)), 1 << 20);
		hear_codes(&d, "503");
		assert_true(budget >= 1 << 20);
		budget -= 1 << 20;
		d.config.errors_max++;
	}
	assert_true(budget < 1 << 20);
	free(piece);
	desk_free(&d);
}

static void the_reply_to_a_refused_chunk_comes_behind_its_octets(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	say(&d, "NOOP\r\nBDAT 5\r\nabcd");
	hear_codes(&d, "250");
	say(&d, "eNOOP\r\n");
	hear_codes(&d, "503 250");
	say(&d, "BDAT 5\r\nabcd");
	d.now += d.config.data_timeout;
	smtp_server_tick(d.s, d.now);
	desk_pull(&d);
	hear_codes(&d, "421");
	desk_free(&d);
}

static void a_message_far_over_the_limit_is_refused_and_the_session_closed(void **state)
{
	(void)state;
	struct desk d;
	size_t n = 1 << 20;
	char *piece = malloc(n);

	memset(piece, 'x', n);
	desk_init(&d);
	d.quiet = true;
	greet(&d);
	open_data(&d);
	for (size_t i = 0; i < 200 && !d.closed; i++)
		desk_feed(&d, slice_of(piece, n));
	hear_codes(&d, "552");
	expect_log(&d, "RESET\nCLOSE\n");
	free(piece);
	desk_free(&d);
}

static void RESET_comes_as_soon_as_the_limit_is_passed(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.size_max = 10;
	greet(&d);
	open_data(&d);
	say(&d, "0123456789");
	expect_log(&d, "");
	say(&d, "0");
	expect_log(&d, "RESET\n");
	assert_int_equal(smtp_server_envelope(d.s)->rcpt_count, 0);
	hear_codes(&d, "");
	say(&d, "\r\n.\r\n");
	assert_slice(hear(&d), "552 5.3.4 Message is over the limit of 10 octets\r\n");
	desk_free(&d);
}

static void a_message_that_keeps_to_its_limits_passes_and_one_beyond_does_not(void **state)
{
	(void)state;
	static const struct {
		const char *what, *content, *reply;
		size_t more; /* this many 'x' stand in the place of '@' */
		bool binary;
	} rows[] = {
		{"a line of the limit", "A: b\r\n\r\n@\r\n", NULL, 998, false},
		{"a longer line", "A: b\r\n\r\n@\r\n", "554 5.6.0 Message has a line of more than 1000 octets\r\n", 999,
		 false},
		{"a longer line, binary", "A: b\r\n\r\n@\r\n", NULL, 5000, true},
		{"a header section of the limit", "A: b\r\nC: @\r\n\r\n", NULL, 4096 - 6 - 5, true},
		{"a larger one", "A: b\r\nC: @\r\n\r\n",
		 "552 5.3.4 Message header is over the limit of 4096 octets\r\n", 4097 - 6 - 5, true},
		{"a NUL-free 8-bit body without BODY=8BITMIME", "A: b\r\n\r\n\xff\xfe\r\n", NULL, 0, false},
		{"hops of the limit", "Received: a\r\nReceived: a\r\nReceived: a\r\nReceived: a\r\nReceived: a\r\n\r\n",
		 NULL, 0, false},
		{"one hop more",
		 "Received: a\r\nReceived: a\r\nReceived: a\r\nReceived: a\r\nReceived: a\r\nReceived: a\r\n\r\n",
		 "554 5.4.6 Mail loop: the message passed more than 5 hops\r\n", 0, false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct desk d;
		struct buf content;
		desk_init(&d);
		greet(&d);
		buf_init(&content, 100000);
		for (const char *c = rows[i].content; *c; c++) {
			if (*c == '@')
				repeat(&content, "x", rows[i].more);
			else
				buf_add_char(&content, *c);
		}
		open_bdat(&d, rows[i].binary ? "MAIL FROM:<> BODY=BINARYMIME\r\n" : "MAIL FROM:<>\r\n");
		char command[40];
		snprintf(command, sizeof command, "BDAT %zu LAST\r\n", buf_len(&content));
		say(&d, command);
		desk_feed(&d, buf_slice(&content));
		assert_slice(hear(&d), rows[i].reply ? rows[i].reply : "250 2.6.0 Message accepted as ID\r\n");
		buf_free(&content);
		desk_free(&d);
	}
}

static void header_lines_are_limited(void **state)
{
	(void)state;
	for (unsigned lines = 100; lines <= 101; lines++) {
		struct desk d;
		struct buf content;
		desk_init(&d);
		greet(&d);
		open_data(&d);
		buf_init(&content, 100000);
		repeat(&content, "A: b\r\n", lines);
		repeat(&content, "\r\n.\r\n", 1);
		desk_feed(&d, buf_slice(&content));
		assert_slice(hear(&d), lines == 100 ? "250 2.6.0 Message accepted as ID\r\n"
						    : "552 5.3.4 Message header is over the limit of 100 lines\r\n");
		buf_free(&content);
		desk_free(&d);
	}
}

static void NUL_is_refused_but_in_a_binary_body(void **state)
{
	(void)state;
	static const struct {
		const char *mail;
		struct slice chunk;
		const char *code;
	} rows[] = {
		{"MAIL FROM:<>\r\n", {"BDAT 8 LAST\r\nA: \0\r\n\r\n", 21}, "554"},
		{"MAIL FROM:<>\r\n", {"BDAT 9 LAST\r\nA: b\r\n\r\n\0", 22}, "554"},
		{"MAIL FROM:<> BODY=BINARYMIME\r\n", {"BDAT 8 LAST\r\nA: \0\r\n\r\n", 21}, "554"},
		{"MAIL FROM:<> BODY=BINARYMIME\r\n", {"BDAT 9 LAST\r\nA: b\r\n\r\n\0", 22}, "250"},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct desk d;
		desk_init(&d);
		greet(&d);
		open_bdat(&d, rows[i].mail);
		desk_feed(&d, rows[i].chunk);
		hear_codes(&d, rows[i].code);
		desk_free(&d);
	}
}

static void the_gravest_fault_is_named_whatever_came_first(void **state)
{
	(void)state;
	struct slice wire = SLICE("A\n: \0\r\n01234567890123456789\r\n.\r\n");

	for (size_t piece = 1; piece <= wire.n; piece++) {
		struct desk d;
		desk_init(&d);
		d.config.size_max = 20;
		greet(&d);
		open_data(&d);
		for (struct slice in = wire; in.n; in = slice_skip(in, piece))
			desk_feed(&d, slice_head(in, piece));
		hear_codes(&d, "552");
		expect_log(&d, "RESET\n");
		desk_free(&d);
	}
}

/* ---- counts -------------------------------------------------------------------------------------------------------
 */

static void too_many_recipients_draw_452_and_the_others_stay(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	say(&d, "MAIL FROM:<>\r\n");
	for (size_t i = 0; i < SMTP_RCPT_MIN; i++)
		say(&d, "RCPT TO:<r@example.com>\r\n");
	hear(&d);
	say(&d, "RCPT TO:<r@example.com>\r\n");
	assert_slice(hear(&d), "452 4.5.3 Too many recipients; send the message to these, then to the others\r\n");
	say(&d, "DATA\r\n");
	hear_codes(&d, "354");
	buf_reset(&d.log);
	say(&d, "\r\n.\r\n");
	hear_codes(&d, "250");
	assert_int_equal(d.ends, 1);
	desk_free(&d);
}

static void errors_end_the_session_at_the_next_command(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.errors_max = 3;
	greet(&d);
	say(&d, "X\r\nMAIL FROM:<x>\r\nRCPT TO:<x>\r\nNOOP\r\nNOOP\r\n");
	hear_codes(&d, "500 501 503 421");
	expect_log(&d, "CLOSE\n");
	desk_free(&d);

	desk_init(&d);
	d.config.errors_max = 3;
	greet(&d);
	say(&d, "X\r\nX\r\nX\r\nQUIT\r\n");
	hear_codes(&d, "500 500 500 221");
	desk_free(&d);
}

static void lines_that_are_no_command_count_as_errors_and_as_idle(void **state)
{
	(void)state;
	struct desk d;
	struct buf b;

	buf_init(&b, 1 << 20);
	repeat(&b, "x", SMTP_COMMAND_LINE_MAX);
	buf_add_lit(&b, "\r\n");
	desk_init(&d);
	d.config.errors_max = 2;
	greet(&d);
	desk_feed(&d, buf_slice(&b));
	say(&d, "NOOP\nNOOP\r\nNOOP\nQUIT\r\n");
	hear_codes(&d, "500 500 421");
	desk_free(&d);

	desk_init(&d);
	d.config.errors_max = 2;
	greet(&d);
	say(&d, "X\nX\r\nX\rX\r\n");
	desk_feed(&d, buf_slice(&b));
	hear_codes(&d, "500 500 421");
	desk_free(&d);

	desk_init(&d);
	d.config.idle_commands_max = 3; /* EHLO is the first */
	greet(&d);
	desk_feed(&d, buf_slice(&b));
	say(&d, "\n\r\n\r\r\n");
	hear_codes(&d, "500 500 421");
	desk_free(&d);
	buf_free(&b);
}

static void commands_without_a_message_end_the_session(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.idle_commands_max = 4; /* EHLO is the first */
	greet(&d);
	say(&d, "NOOP\r\n");
	hear(&d);
	open_data(&d);
	say(&d, ".\r\nNOOP\r\nRSET\r\nNOOP\r\nVRFY a\r\nHELP\r\n");
	hear_codes(&d, "250 250 250 250 252 421");
	desk_free(&d);
}

static void RCPT_beyond_the_limit_counts_as_idle(void **state)
{
	(void)state;
	struct desk d;
	size_t n = 0;

	desk_init(&d);
	greet(&d);
	say(&d, "MAIL FROM:<>\r\n");
	for (; !d.closed && n < 1000; n++) {
		say(&d, "RCPT TO:<later@example.com>\r\n");
		hear(&d);
	}
	assert_int_equal(n, SMTP_RCPT_MIN + 100 - 2 + 1); /* EHLO and MAIL were idle commands too */
	desk_free(&d);
}

static void empty_chunks_count_as_idle(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.idle_commands_max = 4;
	greet(&d);
	open_bdat(&d, "MAIL FROM:<>\r\n");
	say(&d, "BDAT 1\r\nxBDAT 0\r\nBDAT 1\r\nxBDAT 0\r\nBDAT 0\r\n");
	hear_codes(&d, "250 250 250 250 421");
	desk_free(&d);
}

static void messages_of_a_session_are_limited_at_MAIL(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.config.messages_max = 2;
	greet(&d);
	for (int i = 0; i < 2; i++) {
		open_data(&d);
		say(&d, ".\r\n");
		hear_codes(&d, "250");
	}
	say(&d, "NOOP\r\nMAIL FROM:<>\r\n");
	assert_slice(
		hear(&d),
		"250 2.0.0 OK\r\n421 4.3.2 mx.example.com Enough messages for one session; connect again for more\r\n");
	assert_true(d.closed);
	desk_free(&d);
}

static void output_that_is_not_fetched_stops_the_intake(void **state)
{
	(void)state;
	struct desk d;
	struct buf b;

	desk_init(&d);
	d.config.idle_commands_max = 1000000;
	greet(&d);
	buf_init(&b, 1 << 20);
	repeat(&b, "NOOP\r\n", 100000);
	size_t taken = smtp_server_feed(d.s, buf_slice(&b), d.now);
	assert_int_equal(taken % 6, 0);
	assert_true(taken < 6 * 2000);
	assert_true(smtp_server_output(d.s).n < SMTP_OUTPUT_BOUND + SMTP_REPLY_LINE_MAX);
	assert_int_equal(smtp_server_feed(d.s, slice_skip(buf_slice(&b), taken), d.now), 0);
	smtp_server_sent(d.s, 1000);
	assert_true(smtp_server_feed(d.s, slice_skip(buf_slice(&b), taken), d.now) > 0);
	buf_free(&b);
	desk_free(&d);
}

/* ---- a session that is refused ------------------------------------------------------------------------------------
 */

static void after_a_554_greeting_there_is_only_QUIT(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.greeting = REPLY_GREETING_REFUSED;
	desk_start(&d);
	assert_slice(hear(&d), "554 5.7.1 mx.example.com No SMTP service here for your address\r\n");
	say(&d, "EHLO a.example\r\n");
	hear_codes(&d, "503");
	say(&d, "NOOP\r\nRSET\r\nX\r\nBDAT 6\r\nQUIT\r\n");
	hear_codes(&d, "503 503 503 503");
	say(&d, "QUIT\r\n");
	hear_codes(&d, "221");
	expect_log(&d, "CONNECT\nCLOSE\n");
	desk_free(&d);
}

static void after_a_521_greeting_every_command_draws_521(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.greeting = REPLY_GREETING_NO_MAIL;
	desk_start(&d);
	say(&d, "");
	hear_codes(&d, "521");
	say(&d, "EHLO a.example\r\n");
	hear_codes(&d, "521");
	desk_free(&d);
}

static void a_421_greeting_closes(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.greeting = REPLY_GREETING_BUSY;
	desk_start(&d);
	hear_codes(&d, "421");
	expect_log(&d, "CONNECT\nCLOSE\n");
	desk_free(&d);
}

static void a_421_of_the_owner_closes_in_the_middle(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	d.data_reply = REPLY_SHUTDOWN;
	say(&d, "MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\nBDAT 10\r\n");
	hear_codes(&d, "250 250 421");
	expect_log(&d, "MAIL \nRCPT r@example.com\nDATA\nRESET\nCLOSE\n");
	desk_free(&d);
}

/* ---- time ---------------------------------------------------------------------------------------------------------
 */

static void times_out(struct desk *d, mono_ms at, const char *log)
{
	assert_int_equal(smtp_server_deadline(d->s), at);
	smtp_server_tick(d->s, at - 1);
	desk_pull(d);
	assert_false(d->closed);
	smtp_server_tick(d->s, at);
	desk_pull(d);
	assert_slice(hear(d), "421 4.4.2 mx.example.com You were silent for too long, closing connection\r\n");
	expect_log(d, log);
	assert_int_equal(smtp_server_deadline(d->s), NEVER);
}

static void a_command_has_to_come_in_time_as_a_whole(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	mono_ms begin = d.now;
	for (int i = 0; i < 4; i++) { /* an octet a minute does not help */
		d.now += MINUTE;
		say(&d, "x");
	}
	times_out(&d, begin + d.config.command_timeout, "CLOSE\n");
	desk_free(&d);
}

static void each_command_starts_the_clock_anew(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	for (int i = 0; i < 10; i++) {
		d.now += 4 * MINUTE;
		say(&d, "NOOP\r\n");
	}
	hear(&d);
	times_out(&d, d.now + d.config.command_timeout, "CLOSE\n");
	desk_free(&d);
}

static void data_has_a_limit_between_pieces_and_one_for_the_whole(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	open_data(&d);
	d.now += MINUTE;
	say(&d, "x");
	times_out(&d, d.now + d.config.data_timeout, "RESET\nCLOSE\n");
	desk_free(&d);

	desk_init(&d);
	greet(&d);
	open_data(&d);
	mono_ms begin = d.now;
	while (d.now + MINUTE < begin + d.config.message_timeout) {
		d.now += MINUTE;
		say(&d, "x");
	}
	times_out(&d, begin + d.config.message_timeout, "RESET\nCLOSE\n");
	desk_free(&d);
}

static void a_message_in_chunks_has_a_limit_for_the_whole(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	open_bdat(&d, "MAIL FROM:<>\r\n");
	mono_ms begin = d.now;
	say(&d, "BDAT 1\r\nx");
	while (d.now + MINUTE < begin + d.config.message_timeout) {
		d.now += MINUTE;
		say(&d, "BDAT 1\r\nx");
	}
	hear(&d);
	buf_reset(&d.log);
	times_out(&d, begin + d.config.message_timeout, "RESET\nCLOSE\n");
	desk_free(&d);
}

static void no_time_runs_while_the_owner_thinks(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	d.silent = true;
	say(&d, "MAIL FROM:<>\r\n");
	assert_int_equal(smtp_server_deadline(d.s), NEVER);
	d.now += HOUR;
	desk_answer_now(&d);
	hear_codes(&d, "250");
	/* The engine was not told when that was; the next call with a time shows it, and nothing has run out. */
	smtp_server_tick(d.s, d.now);
	desk_pull(&d);
	assert_false(d.closed);
	buf_reset(&d.log);
	times_out(&d, d.now + d.config.command_timeout, "RESET\nCLOSE\n");
	desk_free(&d);
}

static void the_time_of_a_message_begins_with_the_answer_to_DATA(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	say(&d, "MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\n");
	d.silent = true;
	say(&d, "DATA\r\n");
	d.now += 2 * HOUR;
	smtp_server_tick(d.s, d.now);
	d.silent = false;
	desk_answer_now(&d);
	hear_codes(&d, "250 250 354");
	buf_reset(&d.log);
	smtp_server_tick(d.s, d.now);
	times_out(&d, d.now + d.config.data_timeout, "RESET\nCLOSE\n");
	desk_free(&d);
}

/* ---- shutdown and loss --------------------------------------------------------------------------------------------
 */

static void stop(struct desk *d)
{
	smtp_server_shutdown(d->s);
	desk_pull(d);
}

static void shutdown_says_421_at_once_when_nothing_is_owed(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	stop(&d);
	assert_slice(hear(&d), "421 4.3.2 mx.example.com Service is shutting down, try again later\r\n");
	expect_log(&d, "CLOSE\n");
	desk_free(&d);

	desk_init(&d);
	greet(&d);
	open_data(&d);
	say(&d, "x");
	stop(&d);
	hear_codes(&d, "421");
	expect_log(&d, "RESET\nCLOSE\n");
	desk_free(&d);
}

static void shutdown_waits_for_the_answer_to_a_message(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	open_data(&d);
	d.silent = true;
	say(&d, "x\r\n.\r\n");
	stop(&d);
	hear_codes(&d, "");
	assert_false(d.closed);
	desk_answer_now(&d);
	desk_pull(&d);
	hear_codes(&d, "250 421");
	assert_true(d.closed);
	desk_free(&d);
}

static void shutdown_before_the_greeting_greets_with_421(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	d.silent = true;
	desk_start(&d);
	stop(&d);
	assert_false(d.closed);
	desk_answer_now(&d);
	desk_pull(&d);
	hear_codes(&d, "421");
	assert_true(d.closed);
	desk_free(&d);
}

static void loss_resets_what_the_owner_knows_of(void **state)
{
	(void)state;
	static const struct {
		const char *says, *log;
		bool silent;
	} rows[] = {
		{"NOOP\r\n", "CLOSE\n", false},
		{"MAIL FROM:<>\r\n", "MAIL \nRESET\nCLOSE\n", false},
		{"MAIL FROM:<>\r\n", "MAIL \nCLOSE\n", true},
		{"MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\nRCPT", "MAIL \nRCPT r@example.com\nRESET\nCLOSE\n", false},
		{"MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\nBDAT 3\r\nab",
		 "MAIL \nRCPT r@example.com\nDATA\nRESET\nCLOSE\n", false},
		{"MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\nBDAT 3\r\na\nbRSET\r\n",
		 "MAIL \nRCPT r@example.com\nDATA\nRESET\nCLOSE\n", false},
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct desk d;
		desk_init(&d);
		greet(&d);
		d.silent = rows[i].silent;
		say(&d, rows[i].says);
		smtp_server_lost(d.s);
		desk_pull(&d);
		expect_log(&d, rows[i].log);
		assert_int_equal(smtp_server_deadline(d.s), NEVER);
		smtp_server_lost(d.s); /* once is enough */
		desk_pull(&d);
		desk_free(&d);
	}
}

static void loss_behind_END_leaves_the_message_with_its_owner(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	open_data(&d);
	d.silent = true;
	say(&d, "x\r\n.\r\n");
	smtp_server_lost(d.s);
	struct smtp_event ev;
	assert_true(smtp_server_next(d.s, &ev));
	assert_int_equal(ev.type, SMTP_EV_CLOSE);
	assert_false(smtp_server_next(d.s, &ev));
	smtp_server_reply(d.s, (struct reply){REPLY_ACCEPTED, {SLICE("ID")}}); /* comes too late, harms nobody */
	assert_false(smtp_server_next(d.s, &ev));
	desk_free(&d);
}

static void a_chunk_that_is_cut_off_is_not_answered(void **state)
{
	(void)state;
	struct desk d;

	desk_init(&d);
	greet(&d);
	say(&d, "NOOP\r\nBDAT 5\r\nabcd");
	smtp_server_lost(d.s);
	desk_pull(&d);
	hear_codes(&d, "250");
	desk_free(&d);
}

static void an_END_that_nobody_pulled_never_happened(void **state)
{
	(void)state;
	struct desk d;
	struct smtp_event ev;

	desk_init(&d);
	greet(&d);
	open_data(&d);
	assert_int_equal(smtp_server_feed(d.s, SLICE(".\r\n"), d.now), 3);
	smtp_server_lost(d.s);
	assert_true(smtp_server_next(d.s, &ev));
	assert_int_equal(ev.type, SMTP_EV_RESET);
	assert_true(smtp_server_next(d.s, &ev));
	assert_int_equal(ev.type, SMTP_EV_CLOSE);
	desk_free(&d);
}

/* ---- memory (B5) --------------------------------------------------------------------------------------------------
 */

static void each_refusal_of_the_engine_is_told_once_with_its_sender(void **state)
{
	(void)state;
	static const struct {
		const char *from, *reply;
	} rows[] = {
		{"", "500 5.5.1 "},
		{"", "501 5.1.7 "},
		{"a@b.example", "501 5.1.3 "},
		/* RCPT TO:<unknown@...> is the owner's refusal, he knows of it. */
		{"a@b.example", "554 5.6.0 Message holds a bare CR or LF"},
		{"", "500 5.5.1 "},
	};
	struct smtp_refusal refusal;
	struct desk d;

	desk_init(&d);
	greet(&d);
	assert_false(smtp_server_refusal(d.s, &refusal));
	say(&d, "FOO\r\nMAIL FROM:<\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<\r\nRCPT TO:<unknown@example.com>\r\n"
		"RCPT TO:<r@example.com>\r\nDATA\r\n");
	hear(&d);
	say(&d, "A: b\nc\r\n.\r\nNOOP\r\nBAR\r\n");
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		assert_true(smtp_server_refusal(d.s, &refusal));
		assert_slice(refusal.from, rows[i].from);
		if (!slice_starts(refusal.reply, slice_from_cstr(rows[i].reply)))
			fail_msg("%.*s, not %s", SLICE_ARGS(refusal.reply), rows[i].reply);
	}
	assert_false(smtp_server_refusal(d.s, &refusal));
	desk_free(&d);
}

static void refusals_that_nobody_asks_for_are_bounded(void **state)
{
	(void)state;
	struct smtp_refusal refusal;
	struct desk d;
	size_t told = 0;

	desk_init(&d);
	d.config.errors_max = 100000;
	greet(&d);
	for (int i = 0; i < 10000; i++) {
		say(&d, "FOO\r\n");
		buf_reset(&d.out);
		smtp_server_sent(d.s, smtp_server_output(d.s).n);
	}
	while (smtp_server_refusal(d.s, &refusal))
		told++;
	assert_in_range(told, 10, SMTP_REFUSALS_MAX / 20);
	desk_free(&d);
}

static void an_idle_session_is_small(void **state)
{
	(void)state;
	struct desk d;
	struct buf b;

	size_t before = live;
	desk_init(&d);
	d.quiet = true;
	buf_init(&b, 1 << 20);
	d.s = smtp_server_new(&d.config);
	size_t at_rest = live - before;
	smtp_server_free(d.s);
	assert_int_equal(live, before);

	repeat(&b, "x", 50000);
	greet(&d);
	open_data(&d);
	for (int i = 0; i < 2; i++)
		desk_feed(&d, SLICE("A: b\r\n\r\nhi\r\n"));
	say(&d, ".\r\nMAIL FROM:<> ENVID=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n");
	for (int i = 0; i < 100; i++)
		say(&d, "RCPT TO:<r@example.com> "
			"ORCPT=rfc822;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
			"aaaaaaaaaaaaa\r\n");
	desk_feed(&d, slice_head(buf_slice(&b), 1500));
	say(&d, "\r\nRSET\r\n");
	desk_flush(&d);
	struct smtp_refusal refusal;
	while (smtp_server_refusal(d.s, &refusal))
		continue;
	size_t idle = live - (d.log.cap + d.out.cap + b.cap + d.message.cap);
	print_message("a new session takes %zu octets, an idle one after use %zu\n", at_rest, idle);
	assert_true(at_rest <= 1024);
	assert_true(idle <= 3500);
	buf_free(&b);
	desk_free(&d);
	assert_int_equal(live, before);
}

static void B5_memory_stays_flat_over_many_commands(void **state)
{
	(void)state;
	static const char *const rows[] = {
		"BDAT 1\r\nx",
		"NOOP\r\n",
		"RSET\r\nMAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\n",
		"RCPT TO:<r@example.com>\r\n",
		"EHLO a.example\r\n",
		"X\r\n",
		"VRFY a\r\n",
		"RCPT TO:<unknown@example.com>\r\n",
		"BDAT 6\r\nfailed",
		"MAIL FROM:<refused@a.example> ENVID=aaaaaaaaaaaaaaaaaaaaaaaaa\r\n",
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct desk d;
		desk_init(&d);
		d.quiet = true;
		d.config.idle_commands_max = d.config.errors_max = UINT32_MAX;
		greet(&d);
		say(&d, "MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\n");
		for (size_t k = 0; k < 200; k++) {
			say(&d, rows[i]);
			hear(&d);
		}
		peak = live;
		size_t before = live;
		for (size_t k = 0; k < 20000; k++) {
			say(&d, rows[i]);
			desk_flush(&d);
			buf_reset(&d.out);
			buf_reset(&d.log);
			assert_false(d.closed);
		}
		assert_true(peak - before <= 65536);
		desk_free(&d);
	}
}

/* One session with everything in it, with the nth allocation failing. Returns false when there was no nth. */
static bool session_with_failure(size_t nth)
{
	struct desk d;
	char big[600];
	size_t before = live;

	desk_init(&d);
	buf_reserve(&d.log, 1 << 16);
	buf_reserve(&d.out, 1 << 16);
	buf_reserve(&d.message, 1 << 16);
	calls = 0;
	fail_at = nth;
	failing = true;
	d.s = smtp_server_new(&d.config);
	if (d.s) {
		smtp_server_start(d.s, d.now);
		desk_pull(&d);
		desk_flush(&d);
		memset(big, 'a', sizeof big);
		snprintf(big + 500, 100, "@x\r\n");
		say(&d, "EHLO a.example\r\n");
		desk_flush(&d);
		say(&d, "MAIL FROM:<s@a.example> ENVID=abc\r\n");
		for (int i = 0; i < 40; i++)
			say(&d, "RCPT TO:<recipient-with-a-longer-name@example.com> "
				"ORCPT=rfc822;recipient-with-a-longer-name@example.com\r\n");
		say(&d, "VRFY ");
		desk_feed(&d, slice_of(big, 504));
		say(&d, "HELP\r\nEXPN list\r\nDATA\r\n");
		desk_flush(&d);
		say(&d, "A: b\r\n\r\n..x\r\n.\r\nQUIT\r\n");
		desk_flush(&d);
		assert_true(d.closed);
		/* Either all went well, or the client was told to come again, or nothing more could be said at all. */
		struct slice out = buf_slice(&d.out);
		bool accepted = slice_search(out, SLICE("250 2.6.0")) < out.n;
		assert_true(!accepted || d.ends == 1);
		assert_true(slice_ends(out, SLICE("closing connection\r\n")) || calls >= nth);
	}
	failing = false;
	desk_free(&d);
	assert_int_equal(live, before);
	return calls >= nth;
}

static void any_allocation_may_fail(void **state)
{
	(void)state;
	size_t n = 1;

	while (session_with_failure(n))
		n++;
	assert_true(n > 10);
}

/* ---- our own faults ------------------------------------------------------------------------------------------------
 */

static bool aborts(void (*what)(struct desk *))
{
	struct desk d;
	int status;

	desk_init(&d);
	greet(&d);
	pid_t child = fork();
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		fclose(stderr);
		what(&d);
		_exit(0);
	}
	waitpid(child, &status, 0);
	desk_free(&d);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void answers_nothing(struct desk *d)
{
	smtp_server_reply(d->s, (struct reply){.id = REPLY_OK});
}

static void answers_MAIL_with_354(struct desk *d)
{
	d->silent = true;
	say(d, "MAIL FROM:<>\r\n");
	smtp_server_reply(d->s, (struct reply){.id = REPLY_DATA_GO});
}

static void answers_DATA_with_250(struct desk *d)
{
	say(d, "MAIL FROM:<>\r\nRCPT TO:<r@example.com>\r\n");
	d->silent = true;
	say(d, "DATA\r\n");
	smtp_server_reply(d->s, (struct reply){.id = REPLY_OK});
}

static void answers_MAIL_well(struct desk *d)
{
	d->silent = true;
	say(d, "MAIL FROM:<>\r\n");
	smtp_server_reply(d->s, (struct reply){.id = REPLY_MAIL_OK});
}

static void a_reply_that_cannot_answer_is_a_fault_of_ours(void **state)
{
	(void)state;
	assert_true(aborts(answers_nothing));
	assert_true(aborts(answers_MAIL_with_354));
	assert_true(aborts(answers_DATA_with_250));
	assert_false(aborts(answers_MAIL_well));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(B1_input_before_the_greeting_is_answered_with_554_in_its_place),
		cmocka_unit_test(B1_input_before_the_greeting_was_fetched_is_early_too),
		cmocka_unit_test(B1_input_while_the_answer_to_EHLO_is_awaited_is_early),
		cmocka_unit_test(B1_input_behind_QUIT_is_not_run),
		cmocka_unit_test(B1_a_group_may_end_with_NOOP_VRFY_HELP_and_go_on),
		cmocka_unit_test(B1_input_after_the_reply_was_fetched_is_not_early),
		cmocka_unit_test(a_line_of_the_limit_is_taken_and_one_octet_more_is_not),
		cmocka_unit_test(B4_an_endless_command_line_ends_the_session),
		cmocka_unit_test(B4_lines_with_LF_alone_are_told_once_and_end_the_session_too),
		cmocka_unit_test(B4_a_huge_chunk_after_an_error_is_not_read),
		cmocka_unit_test(B4_refused_chunks_are_read_up_to_a_limit_for_the_whole_session),
		cmocka_unit_test(the_reply_to_a_refused_chunk_comes_behind_its_octets),
		cmocka_unit_test(a_message_far_over_the_limit_is_refused_and_the_session_closed),
		cmocka_unit_test(RESET_comes_as_soon_as_the_limit_is_passed),
		cmocka_unit_test(a_message_that_keeps_to_its_limits_passes_and_one_beyond_does_not),
		cmocka_unit_test(header_lines_are_limited),
		cmocka_unit_test(NUL_is_refused_but_in_a_binary_body),
		cmocka_unit_test(the_gravest_fault_is_named_whatever_came_first),
		cmocka_unit_test(too_many_recipients_draw_452_and_the_others_stay),
		cmocka_unit_test(errors_end_the_session_at_the_next_command),
		cmocka_unit_test(lines_that_are_no_command_count_as_errors_and_as_idle),
		cmocka_unit_test(commands_without_a_message_end_the_session),
		cmocka_unit_test(RCPT_beyond_the_limit_counts_as_idle),
		cmocka_unit_test(empty_chunks_count_as_idle),
		cmocka_unit_test(messages_of_a_session_are_limited_at_MAIL),
		cmocka_unit_test(output_that_is_not_fetched_stops_the_intake),
		cmocka_unit_test(after_a_554_greeting_there_is_only_QUIT),
		cmocka_unit_test(after_a_521_greeting_every_command_draws_521),
		cmocka_unit_test(a_421_greeting_closes),
		cmocka_unit_test(a_421_of_the_owner_closes_in_the_middle),
		cmocka_unit_test(a_command_has_to_come_in_time_as_a_whole),
		cmocka_unit_test(each_command_starts_the_clock_anew),
		cmocka_unit_test(data_has_a_limit_between_pieces_and_one_for_the_whole),
		cmocka_unit_test(a_message_in_chunks_has_a_limit_for_the_whole),
		cmocka_unit_test(no_time_runs_while_the_owner_thinks),
		cmocka_unit_test(the_time_of_a_message_begins_with_the_answer_to_DATA),
		cmocka_unit_test(shutdown_says_421_at_once_when_nothing_is_owed),
		cmocka_unit_test(shutdown_waits_for_the_answer_to_a_message),
		cmocka_unit_test(shutdown_before_the_greeting_greets_with_421),
		cmocka_unit_test(loss_resets_what_the_owner_knows_of),
		cmocka_unit_test(loss_behind_END_leaves_the_message_with_its_owner),
		cmocka_unit_test(a_chunk_that_is_cut_off_is_not_answered),
		cmocka_unit_test(an_END_that_nobody_pulled_never_happened),
		cmocka_unit_test(each_refusal_of_the_engine_is_told_once_with_its_sender),
		cmocka_unit_test(refusals_that_nobody_asks_for_are_bounded),
		cmocka_unit_test(an_idle_session_is_small),
		cmocka_unit_test(B5_memory_stays_flat_over_many_commands),
		cmocka_unit_test(any_allocation_may_fail),
		cmocka_unit_test(a_reply_that_cannot_answer_is_a_fault_of_ours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
